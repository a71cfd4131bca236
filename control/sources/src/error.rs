//! What goes wrong with directories and files: what, where, why, what next.

use std::io;
use std::path::{Path, PathBuf};

use weir_model::Problem;

/// Why a directory cannot be a source.
#[derive(Debug, thiserror::Error)]
#[error("the policy directory {} {what}; {next_step}", path.display())]
pub struct SourceError {
    /// The directory.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
    /// What to do.
    pub next_step: String,
}

/// Why documents were not written. Whatever stood in the directory still stands there.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The documents have mistakes, or do not fit those that stand in the directory.
    #[error("nothing was written: {}", list(.0))]
    Problems(Vec<Problem>),
    /// The directory cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The file system refused.
    #[error("{} could not be {doing}: {error}; {outcome}; {next_step}", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// "written", "renamed" …
        doing: &'static str,
        /// What the system said.
        error: io::Error,
        /// What stands there now.
        outcome: String,
        /// What to do.
        next_step: &'static str,
    },
}

impl SourceError {
    pub(crate) fn new(path: &Path, what: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            what: what.into(),
            next_step: next_step.into(),
        }
    }

    pub(crate) fn io(path: &Path, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => {
                Self::new(path, "does not exist", "create it or correct the setting")
            }
            io::ErrorKind::NotADirectory => Self::new(
                path,
                "is not a directory",
                "name the directory that holds the files",
            ),
            _ => Self::new(path, format!("cannot be read: {error}"), next_step(error)),
        }
    }
}

impl WriteError {
    pub(crate) fn file(path: &Path, doing: &'static str, error: io::Error) -> Self {
        let next_step = next_step(&error);
        let outcome = "nothing was changed".to_owned();
        Self::File {
            path: path.to_owned(),
            doing,
            error,
            outcome,
            next_step,
        }
    }

    /// The mistakes, as problems in any case.
    pub fn into_problems(self) -> Vec<Problem> {
        match self {
            WriteError::Problems(problems) => problems,
            WriteError::Source(error) => {
                vec![Problem::of_file(
                    &error.path.display().to_string(),
                    error.what,
                    error.next_step,
                )]
            }
            WriteError::File {
                path,
                doing,
                error,
                outcome,
                next_step,
            } => {
                let message = format!("could not be {doing}: {error}; {outcome}");
                vec![Problem::of_file(
                    &path.display().to_string(),
                    message,
                    next_step,
                )]
            }
        }
    }
}

/// What helps against an error of the file system.
pub(crate) fn next_step(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space on that device and try again"
        }
        io::ErrorKind::NotFound => "remove the link that leads nowhere, or put back what it names",
        io::ErrorKind::PermissionDenied => "give the user that this runs as access to it",
        io::ErrorKind::ReadOnlyFilesystem => "mount it writable, or use another directory",
        io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::AlreadyExists => "something else has that name: move it away",
        _ => "look at the device and its file system, and try again",
    }
}

fn list(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(Problem::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}
