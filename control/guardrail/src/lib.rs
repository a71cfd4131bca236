//! Rules about rules: Rego policies that every document must satisfy before it is compiled.
