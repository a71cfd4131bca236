//! `weir completions`.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::Answer;
use crate::args::Arguments;
use crate::error::Failure;

/// Prints the completions for a shell.
pub fn run(shell: Shell) -> Result<Answer, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "weir", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(Answer::Yes)
}
