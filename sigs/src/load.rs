//! From files to a rule set.

use std::path::PathBuf;

use crate::compile::{CompileError, Options, RuleSet};
use crate::files::{ReadError, RuleFile, read_files};
use crate::rule::{self, Refusal, RuleReader};

/// Rules that were loaded, and those that were not.
#[derive(Debug)]
pub struct Loaded {
    /// Compiled.
    pub rules: RuleSet,
    /// Left out, each with the reason.
    pub refused: Vec<Refusal>,
}

/// Why rules cannot be loaded at all.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The rules do not compile together.
    #[error(transparent)]
    Compile(#[from] CompileError),
}

/// Loads rule files, and the `*.rules` files of directories.
pub fn load_paths(
    paths: &[PathBuf],
    reading: rule::Options,
    compiling: &Options<'_>,
) -> Result<Loaded, LoadError> {
    load_files(&read_files(paths)?, reading, compiling)
}

/// Loads rule files that were read.
pub fn load_files(
    files: &[RuleFile],
    reading: rule::Options,
    compiling: &Options<'_>,
) -> Result<Loaded, LoadError> {
    let mut reader = RuleReader::new(reading);
    for file in files {
        reader.read(&file.name, &file.bytes);
    }
    let (rules, mut refused) = reader.finish();
    let (rules, uncompiled) = RuleSet::compile(rules, compiling)?;
    refused.extend(uncompiled);
    Ok(Loaded { rules, refused })
}
