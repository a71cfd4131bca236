//! The last good policy on disk: what a node enforces when the controller is gone, from its first packet.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use prost::Message;
use weir_api::v1::Snapshot;

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

    /// The policy; None when there is none yet. Its checksum is verified.
    pub fn read(&self) -> Result<Option<Snapshot>, LastGoodError> {
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.file("read", source)),
        };
        let snapshot =
            Snapshot::decode(bytes.as_slice()).map_err(|error| self.damaged(error.to_string()))?;
        if weir_api::checksum(&snapshot) != snapshot.checksum {
            return Err(self.damaged("its checksum does not fit its content".into()));
        }
        Ok(Some(snapshot))
    }

    /// Keeps a policy: written beside, synced, renamed, so that a crash at any moment leaves the old
    /// or the new one.
    pub fn keep(&self, snapshot: &Snapshot) -> Result<(), LastGoodError> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(directory)
            .map_err(|error| self.file("make the directory of", error))?;
        let beside = self.path.with_extension("new");
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&beside)?;
            file.write_all(&snapshot.encode_to_vec())?;
            file.sync_all()?;
            std::fs::rename(&beside, &self.path)?;
            File::open(directory)?.sync_all()
        };
        write().map_err(|error| self.file("write", error))
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

    fn snapshot(version: u64) -> Snapshot {
        let mut snapshot = Snapshot {
            version,
            ..Snapshot::default()
        };
        snapshot.checksum = weir_api::checksum(&snapshot);
        snapshot
    }

    #[test]
    fn what_was_kept_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let kept = LastGood::at(directory.path().join("deep/policy"));
        assert!(kept.read().unwrap().is_none());
        for version in [3, 4] {
            kept.keep(&snapshot(version)).unwrap();
            assert_eq!(kept.read().unwrap().unwrap().version, version);
        }
    }

    #[test]
    fn a_damaged_file_is_told_and_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policy");
        let mut wrong = snapshot(7);
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
