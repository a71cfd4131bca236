//! `weir manual`, hidden: what the package installs beside the program.

use std::path::Path;

use clap::CommandFactory;

use crate::Answer;
use crate::args::Arguments;
use crate::error::Failure;

/// Writes man pages and completions below a directory.
pub fn run(directory: &Path) -> Result<Answer, Failure> {
    weir_manual::write(&Arguments::command(), None, directory).map_err(|error| {
        Failure::Failed(format!(
            "cannot write below {}: {error}",
            directory.display()
        ))
    })?;
    Ok(Answer::Yes)
}
