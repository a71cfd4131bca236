//! The highest bundle that a node has taken, on disk: older ones are replays.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use weir_bundle::Bundle;

use super::TrustError;

/// Which bundle that was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seen {
    name: String,
    sequence: u64,
    documents_digest: String,
}

/// Where it is kept.
#[derive(Debug)]
pub(super) struct SeenFile {
    path: PathBuf,
    /// What it holds.
    kept: Option<Seen>,
}

impl Seen {
    pub(super) fn of(bundle: &Bundle) -> Self {
        Self {
            name: bundle.name.clone(),
            sequence: bundle.sequence,
            documents_digest: bundle.documents_digest().to_owned(),
        }
    }

    /// Whether this is the very bundle (true), a later one (false), or one that must not be taken.
    pub(super) fn allows(&self, bundle: &Bundle) -> Result<bool, String> {
        let (sequence, seen) = (bundle.sequence, self.sequence);
        if bundle.name != self.name {
            // Sequences of two names do not compare: an old bundle of another name could be a replay.
            return Err(format!(
                "the bundle is for {:?}, and this node has taken those for {:?}; to change the name on \
                 purpose, stop the node and remove its policy.seen",
                bundle.name, self.name
            ));
        }
        if sequence < seen {
            return Err(format!(
                "bundle {} {sequence} is older than {seen}, which this node has taken: a replay; sign with \
                 a higher --sequence to go back on purpose",
                bundle.name
            ));
        }
        if sequence == seen && bundle.documents_digest() != self.documents_digest {
            return Err(format!(
                "bundle {} {sequence} holds other documents than the one of that number that this node \
                 has taken; sign with a higher --sequence",
                bundle.name
            ));
        }
        Ok(sequence == seen)
    }
}

impl SeenFile {
    pub(super) fn in_directory(state: &Path) -> Self {
        Self {
            path: state.join("policy.seen"),
            kept: None,
        }
    }

    pub(super) fn read(&self) -> Result<Option<Seen>, TrustError> {
        let wrong = |why: String| TrustError::Seen {
            path: self.path.display().to_string(),
            why,
        };
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(wrong(error.to_string())),
        };
        let seen = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        Ok(Some(seen))
    }

    /// Written beside, synced, renamed.
    pub(super) fn keep(&mut self, seen: &Seen) -> std::io::Result<()> {
        if self.kept.as_ref() == Some(seen) {
            return Ok(());
        }
        let directory = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(directory)?;
        let beside = self.path.with_extension("seen.new");
        let mut file = File::create(&beside)?;
        file.write_all(serde_json::to_string(seen)?.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, &self.path)?;
        File::open(directory)?.sync_all()?;
        self.kept = Some(seen.clone());
        Ok(())
    }
}
