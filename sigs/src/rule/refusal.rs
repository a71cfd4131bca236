//! Rules that are not loaded, and why.

use std::fmt;
use std::sync::Arc;

use super::ast::Rule;

/// A rule that is not loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its file.
    pub file: Arc<str>,
    /// The line where the trouble is, from 1.
    pub line: u32,
    /// The column, in characters, from 1.
    pub column: u32,
    /// Its number, where it could be read.
    pub sid: Option<u32>,
    /// What kind of trouble.
    pub cause: Cause,
    /// What is wrong and what to do.
    pub why: String,
}

/// What kind of trouble: refusals are counted by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// It is not written as the language wants it.
    Malformed,
    /// A keyword, or a use of one, that Weir does not honour.
    Keyword(String),
    /// A protocol that Weir does not know.
    Protocol(String),
    /// An action that Weir does not have.
    Action(String),
    /// A variable that has no value.
    Variable(String),
    /// It contradicts itself: it could never fire.
    Impossible,
    /// Another rule of this number has a higher revision, or came first.
    Superseded,
    /// An expression that no engine takes.
    Expression,
    /// A file it needs cannot be read.
    File,
    /// It does not fit.
    Memory,
}

impl Cause {
    /// As counted and shown.
    pub fn label(&self) -> String {
        match self {
            Self::Malformed => "malformed".to_owned(),
            Self::Keyword(name) => format!("keyword {name}"),
            Self::Protocol(name) => format!("protocol {name}"),
            Self::Action(name) => format!("action {name}"),
            Self::Variable(name) => format!("variable {name}"),
            Self::Impossible => "can never fire".to_owned(),
            Self::Superseded => "number taken".to_owned(),
            Self::Expression => "expression".to_owned(),
            Self::File => "file".to_owned(),
            Self::Memory => "memory".to_owned(),
        }
    }
}

impl Refusal {
    /// A rule that was read and cannot be loaded all the same.
    pub fn of(rule: &Rule, cause: Cause, why: impl Into<String>) -> Self {
        Self {
            file: Arc::clone(&rule.origin.file),
            line: rule.origin.line,
            column: 1,
            sid: Some(rule.sid),
            cause,
            why: why.into(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if let Some(sid) = self.sid {
            write!(out, "rule {sid} ")?;
        }
        write!(out, "is not loaded: {}", self.why)
    }
}

/// A mistake at a byte of a rule's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    /// Where.
    pub at: usize,
    /// What kind.
    pub cause: Cause,
    /// What is wrong and what to do.
    pub why: String,
}

impl Mistake {
    pub fn at(at: usize, cause: Cause, why: impl Into<String>) -> Self {
        Self {
            at,
            cause,
            why: why.into(),
        }
    }

    /// Not written as the language wants it.
    pub fn malformed(at: usize, why: impl Into<String>) -> Self {
        Self::at(at, Cause::Malformed, why)
    }

    /// Understood, and not honoured.
    pub fn unsupported(at: usize, keyword: &str, why: impl Into<String>) -> Self {
        Self::at(at, Cause::Keyword(keyword.to_owned()), why)
    }

    /// It could never fire.
    pub fn impossible(at: usize, why: impl Into<String>) -> Self {
        Self::at(at, Cause::Impossible, why)
    }
}
