//! The last good policy on disk: what a node enforces when the controller is gone, from its first packet.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use weir_api::Contents;

/// The file that holds it.
#[derive(Clone, Debug)]
pub struct LastGood {
    path: PathBuf,
}

/// Why it cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum LastGoodError {
    /// The system refuses.
    #[error(
        "cannot {what} the last good policy {path}: {source}; check the directory, its permissions and free space"
    )]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// It is not what was signed.
    #[error(
        "the last good policy {path} is not put in force: {why}; it is left in place for inspection, and the fail mode holds until the controller sends a signed policy"
    )]
    Untrusted {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// It is damaged.
    #[error(
        "the last good policy {path} is damaged: {why}; it is left in place for inspection, and the fail mode holds until the controller sends a policy"
    )]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
}

impl LastGood {
    /// Kept at this path.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// The policy and its version; None when there is none yet. Its checksum is verified.
    pub fn read(&self) -> Result<Option<(u64, Contents)>, LastGoodError> {
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.file("read", source)),
        };
        let kept = Contents::read(&bytes).map_err(|why| self.damaged(why))?;
        Ok(Some(kept))
    }

    /// Keeps a policy: written beside, synced, renamed, so that a crash at any moment leaves the old
    /// or the new one.
    pub fn keep(&self, version: u64, contents: &Contents) -> Result<(), LastGoodError> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(directory)
            .map_err(|error| self.file("make the directory of", error))?;
        let beside = self.path.with_extension("new");
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&beside)?;
            file.write_all(&contents.write(version))?;
            file.sync_all()?;
            std::fs::rename(&beside, &self.path)?;
            File::open(directory)?.sync_all()
        };
        write().map_err(|error| self.file("write", error))
    }

    /// The error for a policy that was not signed as it stands there.
    pub fn untrusted(&self, why: String) -> LastGoodError {
        LastGoodError::Untrusted {
            path: self.path.display().to_string(),
            why,
        }
    }

    /// The error for a file whose content is of no use.
    pub fn damaged(&self, why: String) -> LastGoodError {
        LastGoodError::Damaged {
            path: self.path.display().to_string(),
            why,
        }
    }

    fn file(&self, what: &'static str, source: std::io::Error) -> LastGoodError {
        LastGoodError::File {
            what,
            path: self.path.display().to_string(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use weir_api::{Item, first, v1};

    fn contents() -> Contents {
        let (key, item) = Item::rule(&v1::Rule {
            id: 1,
            ..v1::Rule::default()
        });
        let mut contents = Contents::default();
        contents.put(key, Some(item));
        contents
    }

    #[test]
    fn what_was_kept_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let kept = LastGood::at(directory.path().join("deep/policy"));
        assert!(kept.read().unwrap().is_none());
        for version in [3, 4] {
            kept.keep(version, &contents()).unwrap();
            assert_eq!(kept.read().unwrap(), Some((version, contents())));
        }
    }

    #[test]
    fn what_an_older_node_kept_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policy");
        let older = first::snapshot(contents().message(7).unwrap());
        std::fs::write(&path, older.encode_to_vec()).unwrap();
        assert_eq!(LastGood::at(path).read().unwrap(), Some((7, contents())));
    }

    #[test]
    fn a_damaged_file_is_told_and_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policy");
        let mut wrong = contents().message(7).unwrap();
        wrong.checksum ^= 1;
        for bytes in [wrong.encode_to_vec(), vec![0xff; 40]] {
            std::fs::write(&path, &bytes).unwrap();
            assert!(matches!(
                LastGood::at(path.clone()).read(),
                Err(LastGoodError::Damaged { .. })
            ));
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }
    }
}
