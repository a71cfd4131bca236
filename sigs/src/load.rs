//! From files to a rule set.

use std::path::{Path, PathBuf};

use crate::compile::{CompileError, Options, RuleSet};
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
    #[error("cannot read the rules {path}: {source}; check the path and its permissions")]
    Read {
        /// The file.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
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
    let mut reader = RuleReader::new(reading);
    for file in rule_files(paths)? {
        let name = file.display().to_string();
        let bytes = std::fs::read(&file).map_err(|source| LoadError::Read {
            path: name.clone(),
            source,
        })?;
        reader.read(&name, &bytes);
    }
    let (rules, mut refused) = reader.finish();
    let (rules, uncompiled) = RuleSet::compile(rules, compiling)?;
    refused.extend(uncompiled);
    Ok(Loaded { rules, refused })
}

fn rule_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, LoadError> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let read = |source| LoadError::Read {
            path: path.display().to_string(),
            source,
        };
        let mut found = Vec::new();
        for entry in std::fs::read_dir(path).map_err(read)? {
            let file = entry.map_err(read)?.path();
            if Path::extension(&file).is_some_and(|ending| ending == "rules") {
                found.push(file);
            }
        }
        found.sort();
        files.extend(found);
    }
    Ok(files)
}
