//! Signed policy on its way to the nodes. The controller only carries it: it holds no key, and a node
//! believes the signatures, not the controller.
//!
//! Distrusts the file: one that is no bundle changes nothing, and the log says why. Memory: one bundle.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::{info, warn};
use weir_api::v1;
use weir_bundle::{Bundle, FILE_BYTES_MAX, SignedBundle, weakening};

use crate::policy::blocking;
use crate::state::State;

/// How often the file is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A bundle that is carried.
#[derive(Clone, Debug)]
pub struct Carried {
    /// As nodes get it.
    pub message: v1::SignedBundle,
    /// What it says, if the signatures are to be believed.
    pub bundle: Bundle,
}

/// Reads the text of a bundle, as a file or the parts of an object of Kubernetes hold it.
pub fn read(text: &[u8]) -> Result<Carried, String> {
    let signed = SignedBundle::from_file(text).map_err(|error| error.to_string())?;
    let bundle = Bundle::read(&signed.payload).map_err(|error| error.to_string())?;
    if signed.signatures.is_empty() {
        return Err("it is not signed; sign it with weir bundle sign --key".to_owned());
    }
    let signatures = signed.signatures.into_iter().map(|one| v1::Signature {
        key_id: one.key_id,
        signature: one.signature,
    });
    Ok(Carried {
        message: v1::SignedBundle {
            payload: signed.payload,
            signatures: signatures.collect(),
        },
        bundle,
    })
}

/// Reads a file.
pub fn read_file(path: &Path) -> Result<Carried, String> {
    use std::io::Read;
    let mut text = Vec::new();
    let limit = FILE_BYTES_MAX as u64 + 1;
    let file = std::fs::File::open(path);
    file.and_then(|file| file.take(limit).read_to_end(&mut text))
        .map_err(|error| format!("{error}; check the path and its permissions"))?;
    read(&text)
}

/// Says in the log what a bundle is, and what it opens compared with the one before.
pub fn tell(before: Option<&Bundle>, now: &Bundle) {
    let (name, sequence) = (&now.name, now.sequence);
    let Some(before) = before else {
        info!(name, sequence, "carrying signed policy");
        return;
    };
    let opens = weakening(before.documents(), now.documents());
    info!(
        name,
        sequence,
        opens = opens.len(),
        "carrying new signed policy"
    );
    for one in opens {
        warn!(sequence, "weakens: {one}");
    }
}

/// Reads a file and hands it on whenever it changes.
#[derive(Debug)]
pub struct Carrier {
    path: PathBuf,
    looked_at: Option<(SystemTime, u64)>,
    carried: Option<Carried>,
}

impl Carrier {
    /// Reads the file for the first time.
    pub async fn start(path: PathBuf, state: &Arc<State>) -> Self {
        let mut carrier = Self {
            looked_at: mark_of(&path),
            carried: None,
            path,
        };
        carrier.read(state).await;
        carrier
    }

    /// Until the controller stops.
    pub async fn follow(mut self, state: Arc<State>) {
        let mut stopping = state.stopping();
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
            let found = mark_of(&self.path);
            if found != self.looked_at {
                self.looked_at = found;
                self.read(&state).await;
            }
        }
    }

    async fn read(&mut self, state: &Arc<State>) {
        let path = self.path.clone();
        let next = match blocking(move || read_file(&path)).await {
            Ok(next) => next,
            Err(why) => {
                warn!(
                    "{}: {why}; what was carried before stays",
                    self.path.display()
                );
                return;
            }
        };
        if self
            .carried
            .as_ref()
            .is_some_and(|old| old.message == next.message)
        {
            return;
        }
        if let Err(error) = state.carry(next.message.clone()).await {
            warn!("the signed policy is not given out: {error}; it is tried again");
            self.looked_at = None;
            return;
        }
        tell(self.carried.as_ref().map(|old| &old.bundle), &next.bundle);
        self.carried = Some(next);
    }
}

/// What tells one state of a file from another.
fn mark_of(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
