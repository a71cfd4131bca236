//! Names the statements of an SQL text, for MySQL and PostgreSQL: what policy conditions ask for.
//!
//! The text is read once, in any cuts, with a few bytes of state. Every statement of a text is
//! told, since a condition that only saw the first could be walked around with `SELECT 1; DROP …`.
//! Where a text can be read in two ways (version comments), both readings are told: naming a
//! statement too many denies one that could have passed; naming one too few opens the gate.
//!
//! Trusts nothing. Memory: [`Scanner`], a few dozen bytes.

mod kind;
mod prepared;
mod scanner;
mod statements;
#[cfg(test)]
mod tests;

pub(crate) use kind::Kind;
pub(crate) use prepared::Prepared;
pub(crate) use scanner::{Dialect, Found, Scanner};
pub(crate) use statements::{Statements, identifier};

pub(crate) use scanner::is_word;
