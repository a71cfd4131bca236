//! From what a person wrote to what a node enforces
