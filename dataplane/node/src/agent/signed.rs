//! Signed policy: a node with public keys puts in force only what follows from documents that these keys
//! signed, whoever sends it.
//!
//! Trusts the keys in its configuration, its own state directory and its clock. Distrusts the controller:
//! rules, modes, settings, sensors and threat policies must be exactly those that the compiler makes of the
//! signed documents over the identities and addresses that were sent. A quarantine may be added, for it
//! only closes.
//!
//! What is not covered: who there is. Names, labels and addresses of workloads, labels of namespaces,
//! which addresses are services' and where workloads run follow from the cluster, unless Workload and
//! Service documents are signed along (`weir bundle sign --workloads`).
//!
//! # When a bundle is taken
//!
//! * Enough of the keys signed it, and more where it opens what the one in force keeps shut.
//! * Its sequence is not below the highest that this node has seen, and equal only for equal documents.
//! * When it first comes it has not expired, with [`CLOCK_TOLERANCE_S`] for clocks that differ. One that is
//!   in force stays in force: that nobody signs in time must not open or close anything.
//!
//! Memory: the bundle in force, and while one is judged the policy compiled once more.

mod compare;
mod facts;
mod seen;

use std::collections::BTreeSet;
use std::path::Path;

use weir_api::v1;
use weir_bundle::{Bundle, PublicKey, Signature, SignedBundle, weakening};
use weir_policy::spec::SnapshotSpec;

use self::compare::Expected;
use self::seen::{Seen, SeenFile};
use crate::config::PolicySettings;

/// How far a bundle's times may be off this node's clock.
pub const CLOCK_TOLERANCE_S: u64 = 300;
/// The most weakenings and differences that a reason names.
const NAMED_MAX: usize = 3;

/// Whose signatures policy needs, and what was taken before.
#[derive(Debug)]
pub struct Trust {
    keys: Vec<PublicKey>,
    threshold: usize,
    weakening_threshold: usize,
    name: Option<String>,
    file: SeenFile,
    /// The highest that was taken, on disk or about to be.
    seen: Option<Seen>,
    /// What is in force.
    current: Option<Current>,
    expected: Expected,
}

/// A bundle that was verified.
#[derive(Debug)]
struct Current {
    signed: SignedBundle,
    bundle: Bundle,
}

/// A policy that may be put in force; to be given to [`Trust::taken`] once it is.
#[derive(Debug)]
pub struct Accepted {
    /// None: the bundle is the one that is in force.
    next: Option<Current>,
}

/// Why the keys or what was taken before cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A key.
    #[error("policy.public_keys: {path} {why}")]
    Key {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The record of what was taken before.
    #[error(
        "cannot read {path}, which says what signed policy was taken before: {why}; mend it or, if this \
         node may take any signed policy, remove it"
    )]
    Seen {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
}

impl Trust {
    /// None where no key is configured: then policy needs no signature.
    pub fn open(settings: &PolicySettings, state: &Path) -> Result<Option<Self>, TrustError> {
        if settings.public_keys.is_empty() {
            return Ok(None);
        }
        let keys = settings.public_keys.iter().map(|path| read_key(path));
        let keys: Vec<PublicKey> = keys.collect::<Result<_, _>>()?;
        let distinct: BTreeSet<_> = keys.iter().map(PublicKey::id).collect();
        let wanted = settings.threshold.max(settings.weakening_threshold);
        if distinct.len() < wanted {
            let paths = settings.public_keys.iter();
            let paths: Vec<_> = paths.map(|path| path.display().to_string()).collect();
            return Err(TrustError::Key {
                path: paths.join(", "),
                why: format!("hold fewer different keys than the {wanted} that must sign"),
            });
        }
        let file = SeenFile::in_directory(state);
        let seen = file.read()?;
        Ok(Some(Self {
            keys,
            threshold: settings.threshold,
            weakening_threshold: settings.weakening_threshold,
            name: settings.bundle.clone(),
            file,
            seen,
            current: None,
            expected: Expected::default(),
        }))
    }

    /// Judges what a controller sent, or what was kept on disk. `spec` is what `message` holds.
    pub fn judge(
        &mut self,
        message: &v1::Snapshot,
        spec: &SnapshotSpec,
        now_unix_s: u64,
    ) -> Result<Accepted, String> {
        let signed = signed(message)?;
        let same = self.current.as_ref();
        if let Some(current) = same.filter(|current| current.signed == signed) {
            self.expected.compare(&current.bundle, spec)?;
            return Ok(Accepted { next: None });
        }
        let bundle = self.verify(&signed, now_unix_s)?;
        self.expected.compare(&bundle, spec)?;
        Ok(Accepted {
            next: Some(Current { signed, bundle }),
        })
    }

    /// What was judged is in force now.
    pub fn taken(&mut self, accepted: Accepted) {
        if let Some(next) = accepted.next {
            self.seen = Some(Seen::of(&next.bundle));
            self.current = Some(next);
        }
    }

    /// Remembers across restarts what was taken. Only once the policy itself is on disk: one that is
    /// older than what was seen would not be put in force again.
    pub fn save(&mut self) -> std::io::Result<()> {
        match &self.seen {
            Some(seen) => self.file.keep(seen),
            None => Ok(()),
        }
    }

    /// The bundle, if it may be taken now.
    fn verify(&self, signed: &SignedBundle, now_unix_s: u64) -> Result<Bundle, String> {
        let verified = signed.verify(&self.keys, self.threshold);
        let verified =
            verified.map_err(|error| format!("the signed policy is refused: {error}"))?;
        let bundle = verified.bundle;
        if let Some(name) = self.name.as_ref().filter(|name| **name != bundle.name) {
            let other = &bundle.name;
            return Err(format!(
                "the bundle is for {other:?}, and this node takes those for {name:?}"
            ));
        }
        let again = match &self.seen {
            Some(seen) => seen.allows(&bundle)?,
            None => false,
        };
        // One that this node took before has not come now.
        if !again {
            self.timely(&bundle, now_unix_s)?;
        }
        if let Some(current) = &self.current {
            let opens = weakening(current.bundle.documents(), bundle.documents());
            let (found, wanted) = (verified.signers.len(), self.weakening_threshold);
            if !opens.is_empty() && found < wanted {
                return Err(format!(
                    "bundle {} {} opens what the policy in force keeps shut, and {found} of the {wanted} \
                     signatures that this needs are good: {}",
                    bundle.name,
                    bundle.sequence,
                    listed(opens.iter().map(ToString::to_string).collect())
                ));
            }
        }
        Ok(bundle)
    }

    fn timely(&self, bundle: &Bundle, now_unix_s: u64) -> Result<(), String> {
        let (name, sequence) = (&bundle.name, bundle.sequence);
        let ahead = bundle.created_unix_s.saturating_sub(now_unix_s);
        if ahead > CLOCK_TOLERANCE_S {
            return Err(format!(
                "bundle {name} {sequence} was made {ahead} s from now; set the clock of this node, or of \
                 the machine that signs"
            ));
        }
        match bundle.expires_unix_s {
            Some(expires) if expires.saturating_add(CLOCK_TOLERANCE_S) < now_unix_s => {
                Err(format!(
                    "bundle {name} {sequence} has expired {} s ago; sign it again, with a higher sequence",
                    now_unix_s.saturating_sub(expires)
                ))
            }
            _ => Ok(()),
        }
    }
}

/// The first few, and how many more there are.
fn listed(mut sentences: Vec<String>) -> String {
    let more = sentences.len().saturating_sub(NAMED_MAX);
    sentences.truncate(NAMED_MAX);
    let mut text = sentences.join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    text
}

fn signed(message: &v1::Snapshot) -> Result<SignedBundle, String> {
    let bundle = message.bundle.as_ref().ok_or(
        "the policy is not signed, and this node takes only signed policy; give the controller the bundle \
         that weir bundle sign wrote (--bundle)",
    )?;
    let signatures = bundle.signatures.iter().map(|one| Signature {
        key_id: one.key_id.clone(),
        signature: one.signature.clone(),
    });
    Ok(SignedBundle {
        payload: bundle.payload.clone(),
        signatures: signatures.collect(),
    })
}

fn read_key(path: &Path) -> Result<PublicKey, TrustError> {
    let wrong = |why: String| TrustError::Key {
        path: path.display().to_string(),
        why,
    };
    let text = std::fs::read_to_string(path)
        .map_err(|error| wrong(format!("cannot be read: {error}; check the path")))?;
    PublicKey::from_pem(&text).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
