//! Signed policy on its way to the nodes. The controller only carries it: it holds no key, and a node
//! believes the signatures, not the controller.
//!
//! Distrusts the file, or the ConfigMaps: what is no bundle changes nothing, and the status says why.
//! Memory: one bundle, and the objects that it was read from.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::{info, warn};
use weir_api::v1;
use weir_bundle::{Bundle, FILE_BYTES_MAX, PART_LABEL, SignedBundle, join, part_of, weakening};
use weir_kubernetes::{BundleObject, BundleObjects, Trouble};
use weir_model::Problem;

use crate::StartError;
use crate::policy::blocking;
use crate::source::Source;
use crate::state::State;

/// The name, where a file's could stand, of what the cluster itself holds.
const CONFIG_MAPS: &str = "configmaps";
/// What of its work a problem is about.
const PART: &str = "signed policy";
/// How often it is looked at.
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

/// Where signed policy comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BundleFrom {
    /// The file that `weir bundle sign` wrote.
    File(PathBuf),
    /// The ConfigMaps that `weir bundle manifest` printed, in the controller's own namespace.
    ConfigMaps,
}

/// Reads it and hands it on whenever it changes.
#[derive(Debug)]
pub struct Carrier {
    origin: Origin,
    /// What was read last, good or not.
    looked_at: Option<Mark>,
    carried: Option<Carried>,
}

#[derive(Debug)]
enum Origin {
    File(PathBuf),
    Objects(BundleObjects),
}

/// What tells one state from another.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mark {
    File(SystemTime, u64),
    Objects(Vec<BundleObject>),
}

impl From<PathBuf> for BundleFrom {
    fn from(path: PathBuf) -> Self {
        match path.as_os_str() == CONFIG_MAPS {
            true => Self::ConfigMaps,
            false => Self::File(path),
        }
    }
}

impl Carrier {
    /// Reads it for the first time.
    pub async fn start(from: BundleFrom, state: &Arc<State>) -> Result<Self, StartError> {
        let origin = match (from, &state.source) {
            (BundleFrom::File(path), _) => Origin::File(path),
            (BundleFrom::ConfigMaps, Source::Kubernetes(source)) => Origin::Objects(
                BundleObjects::new(source.client(), source.namespace(), source.timeout()),
            ),
            (BundleFrom::ConfigMaps, Source::Files(_)) => return Err(StartError::Bundle),
        };
        let mut carrier = Self {
            origin,
            looked_at: None,
            carried: None,
        };
        carrier.look(state).await;
        Ok(carrier)
    }

    /// Until the controller stops.
    pub async fn follow(mut self, state: Arc<State>) {
        let mut stopping = state.stopping();
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
            self.look(&state).await;
        }
    }

    async fn look(&mut self, state: &Arc<State>) {
        let problem = match self.found().await {
            Ok(found) if found.is_some() && found == self.looked_at => return,
            Ok(found) => {
                self.looked_at = found.clone();
                self.take(found, state)
                    .await
                    .err()
                    .map(|why| self.unread(why))
            }
            Err(trouble) => {
                self.looked_at = None;
                Some(trouble.problem)
            }
        };
        state.cluster.set_problem(PART, problem);
    }

    /// What is there now.
    async fn found(&self) -> Result<Option<Mark>, Trouble> {
        match &self.origin {
            Origin::File(path) => Ok(mark_of(path)),
            Origin::Objects(objects) => {
                let found = objects.read(&format!("{PART_LABEL}=part")).await?;
                Ok(Some(Mark::Objects(found)))
            }
        }
    }

    async fn take(&mut self, found: Option<Mark>, state: &Arc<State>) -> Result<(), String> {
        let next = match (&self.origin, found) {
            (Origin::File(path), _) => {
                let path = path.clone();
                blocking(move || read_file(&path)).await?
            }
            (Origin::Objects(_), Some(Mark::Objects(found))) => read(joined(&found)?.as_bytes())?,
            (Origin::Objects(_), _) => return Ok(()),
        };
        if let Some(old) = &self.carried
            && old.message == next.message
        {
            return Ok(());
        }
        if let Err(error) = state.carry(next.message.clone()).await {
            self.looked_at = None;
            return Err(format!("the signed policy is not given out: {error}"));
        }
        tell(self.carried.as_ref().map(|old| &old.bundle), &next.bundle);
        self.carried = Some(next);
        Ok(())
    }

    fn unread(&self, why: String) -> Problem {
        let (place, next) = match &self.origin {
            Origin::File(path) => (
                path.display().to_string(),
                "put there what weir bundle sign writes".to_owned(),
            ),
            Origin::Objects(objects) => (
                format!("configmaps in namespace {}", objects.namespace()),
                format!(
                    "weir bundle manifest BUNDLE --namespace {0} | kubectl apply -f -",
                    objects.namespace()
                ),
            ),
        };
        Problem::of_file(
            &place,
            why,
            format!("{next}. What was carried before stays"),
        )
    }
}

/// The text of the bundle whose parts these are.
fn joined(objects: &[BundleObject]) -> Result<String, String> {
    let part = |object: &BundleObject| {
        let part = part_of(&object.annotations, &object.data);
        part.map_err(|error| format!("ConfigMap {}: {error}", object.name))
    };
    let parts = objects.iter().map(part).collect::<Result<Vec<_>, _>>()?;
    join(&parts).map_err(|error| error.to_string())
}

/// What tells one state of a file from another.
fn mark_of(path: &Path) -> Option<Mark> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(Mark::File(metadata.modified().ok()?, metadata.len()))
}
