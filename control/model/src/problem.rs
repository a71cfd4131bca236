//! What is wrong with a document, and where it stands.

use std::fmt;
use std::sync::Arc;

use crate::yaml::Node;

/// One mistake: what, where, why and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Problem {
    /// The file, as the reader named it.
    pub file: String,
    /// From 1; 0 where no line can be named.
    pub line: u32,
    /// From 1; 0 where no column can be named.
    pub column: u32,
    /// "spec.ingress[0].applications[0]"; empty for the whole file.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do; may be empty where the message says it.
    pub next_step: String,
}

/// A document and where its parts stand.
#[derive(Clone, Debug)]
pub struct Located<T> {
    /// The document.
    pub value: T,
    /// The file, as the reader named it.
    pub file: String,
    /// The document's first line, from 1; 0 for one that was not read from text.
    pub line: u32,
    tree: Option<Arc<Node>>,
}

impl Problem {
    /// A problem with the file as a whole.
    pub fn of_file(file: &str, message: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            field: String::new(),
            message: message.into(),
            next_step: next_step.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            formatter.write_str(&self.file)?;
            if self.line > 0 {
                write!(formatter, ":{}:{}", self.line, self.column)?;
            }
            formatter.write_str(": ")?;
        }
        if !self.field.is_empty() {
            write!(formatter, "{}: ", self.field)?;
        }
        formatter.write_str(&self.message)?;
        if !self.next_step.is_empty() {
            write!(formatter, "; {}", self.next_step)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

impl<T> Located<T> {
    pub(crate) fn new(value: T, file: &str, tree: Node) -> Self {
        Self {
            value,
            file: file.to_owned(),
            line: tree.line,
            tree: Some(Arc::new(tree)),
        }
    }

    /// A document that was not read from text: `origin` stands for the file in messages.
    pub fn unplaced(value: T, origin: &str) -> Self {
        Self {
            value,
            file: origin.to_owned(),
            line: 0,
            tree: None,
        }
    }

    /// Line and column of a field ("spec.ingress[0].from[1]"), or of the nearest thing around it
    /// that was written.
    pub fn position(&self, field: &str) -> (u32, u32) {
        match &self.tree {
            Some(tree) => tree.position(field),
            None => (self.line, u32::from(self.line > 0)),
        }
    }

    /// A problem with a field of this document.
    pub fn problem(
        &self,
        field: &str,
        message: impl Into<String>,
        next_step: impl Into<String>,
    ) -> Problem {
        let (line, column) = self.position(field);
        Problem {
            file: self.file.clone(),
            line,
            column,
            field: field.to_owned(),
            message: message.into(),
            next_step: next_step.into(),
        }
    }

    /// "shop.yaml:12": for naming this document in a message about another.
    pub fn place(&self) -> String {
        if self.line > 0 {
            format!("{}:{}", self.file, self.line)
        } else {
            self.file.clone()
        }
    }
}

impl<T: PartialEq> PartialEq for Located<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value && self.file == other.file && self.line == other.line
    }
}
