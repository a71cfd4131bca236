//! Patterns to look for in what is allowed
