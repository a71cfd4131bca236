//! Files of rules on disk.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// More of a file is not read: rules are kilobytes, and what is named may be endless.
pub const FILE_BYTES_MAX: u64 = 256 << 20;

/// A file of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFile {
    /// Its path, as named.
    pub name: String,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// Why files of rules cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system says no.
    #[error("cannot read the rules {path}: {source}; check the path and its permissions")]
    System {
        /// What was named, or lies in it.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// It goes on too long.
    #[error("{path} holds more than {FILE_BYTES_MAX} bytes; divide it into several files")]
    TooLong {
        /// The file.
        path: String,
    },
}

/// Reads files, and the `*.rules` of directories in the order of their names.
pub fn read_files(paths: &[PathBuf]) -> Result<Vec<RuleFile>, ReadError> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            for path in of_directory(path)? {
                files.push(read_file(&path)?);
            }
        } else {
            files.push(read_file(path)?);
        }
    }
    Ok(files)
}

fn of_directory(directory: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let failed = |source| failure(directory, source);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|ending| ending == "rules") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read_file(path: &Path) -> Result<RuleFile, ReadError> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path);
    read.and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|source| failure(path, source))?;
    let name = path.display().to_string();
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= FILE_BYTES_MAX => Ok(RuleFile { name, bytes }),
        _ => Err(ReadError::TooLong { path: name }),
    }
}

fn failure(path: &Path, source: std::io::Error) -> ReadError {
    ReadError::System {
        path: path.display().to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_directories_come_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        assert_eq!(read_files(&[directory.path().to_owned()]).unwrap(), []);
        for name in ["b.rules", "a.rules", "c.txt"] {
            fs::write(path(name), name).unwrap();
        }
        let files = read_files(&[directory.path().to_owned(), path("c.txt")]).unwrap();
        let names: Vec<&[u8]> = files.iter().map(|file| file.bytes.as_slice()).collect();
        assert_eq!(names, [b"a.rules".as_slice(), b"b.rules", b"c.txt"]);
        let error = read_files(&[path("none")]).unwrap_err();
        assert!(error.to_string().contains("none"), "{error}");
    }
}
