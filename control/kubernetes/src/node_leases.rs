//! What each node enforces, kept at the API server: a Lease for each node, held by the controller that
//! serves it, and one for each controller that says which documents it has.
//!
//! So what nodes acknowledged survives the controller that heard it, and one of several controllers can
//! say of an object how many nodes enforce it. `kubectl get leases -n weir-system` shows who serves whom.
//!
//! Who is cut off is in leases as well, so that all controllers cut the same workloads off.
//!
//! Trusts whoever may write leases in Weir's own namespace as far as conditions and quarantines go, and no
//! further: nothing that is allowed depends on a lease. Distrusts their size: a report names a bounded
//! number of documents.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::time::timeout;
use weir_model::Problem;

use crate::trouble::Trouble;
use crate::watch::{Item, Listener, Target, Told as Watched, Watch};

/// Where a lease has its report.
const ANNOTATION: &str = "weir.dev/report";
/// What leases of this sort are found by.
const LABEL: &str = "weir.dev/report";
/// Documents that a report names.
pub const NAMED_MAX: usize = 100;
/// Documents of which a report counts the hits: those with most.
pub const HITS_MAX: usize = 200;
/// The longest reason of a node.
const REASON_CHARS_MAX: usize = 1_024;
/// The longest name of an object.
const NAME_BYTES_MAX: usize = 253;
/// What it means that a lease cannot be written.
const MEANWHILE: &str =
    "Nodes are served all the same; who leads counts those that it serves itself";
/// Reports ahead of who reads them.
const AHEAD: usize = 256;

/// What a lease says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "of")]
pub enum Report {
    /// One node, as the controller knows it that serves it.
    Node(NodeReport),
    /// The documents that a controller has given out, as a number.
    #[serde(rename_all = "camelCase")]
    Controller {
        /// Equal where the documents are.
        documents: String,
    },
    /// A workload that is cut off as long as the lease is there.
    Quarantine(QuarantineReport),
}

/// Who is cut off, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuarantineReport {
    /// "shop/photo-db"
    pub workload: String,
    /// Since when, seconds since 1970.
    pub since_unix_s: u64,
    /// Until when; none: until somebody lifts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_unix_s: Option<u64>,
    /// Who did it.
    #[serde(default)]
    pub by: String,
    /// Why, in a sentence.
    #[serde(default)]
    pub because: String,
}

/// How far a node has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReport {
    /// The node.
    pub node: String,
    /// The version that it enforces, as its controller numbers them.
    pub version: u64,
    /// Documents whose newest state it has not acknowledged: "allowlist shop/db".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<String>,
    /// There are more of them than can be named.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// Why it refuses them, if it does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub refusal: String,
    /// How often rules decided there, by document, since it was served first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hits: BTreeMap<String, u64>,
}

/// What is told of the leases.
#[derive(Clone, Debug)]
pub enum Told {
    /// A lease says this.
    Report {
        /// The lease's name.
        lease: String,
        /// The controller that wrote it.
        holder: String,
        /// What it says.
        report: Report,
    },
    /// A lease is gone.
    Gone {
        /// The lease's name.
        lease: String,
    },
    /// All that there were have been told.
    Complete,
    /// They cannot be read, or can again.
    Condition(Option<Problem>),
}

/// What became of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// It is written.
    Written,
    /// Another controller holds the lease now.
    Anothers,
}

/// Reads and writes the leases.
#[derive(Clone)]
pub struct NodeLeases {
    client: Client,
    namespace: String,
    identity: String,
    timeout: Duration,
    /// What was read or written last of each lease.
    known: Arc<Mutex<HashMap<String, Lease>>>,
}

impl Report {
    /// The name of its lease.
    pub fn lease_name(&self, identity: &str) -> String {
        match self {
            Self::Node(report) => object_name("weir-node", &report.node),
            Self::Controller { .. } => object_name("weir-controller", identity),
            Self::Quarantine(report) => object_name("weir-quarantine", &report.workload),
        }
    }
}

impl NodeReport {
    /// With as much of it as a lease takes.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.more |= self.waiting.len() > NAMED_MAX;
        self.waiting.truncate(NAMED_MAX);
        self.refusal = self.refusal.chars().take(REASON_CHARS_MAX).collect();
        if self.hits.len() > HITS_MAX {
            let mut counts: Vec<u64> = self.hits.values().copied().collect();
            counts.sort_unstable_by_key(|count| std::cmp::Reverse(*count));
            let least = counts.get(HITS_MAX).copied().unwrap_or(0);
            self.hits.retain(|_, count| *count > least);
        }
        self
    }
}

/// The name of an object that stands for something with any name.
fn object_name(prefix: &str, name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let inside = name.bytes().all(plain);
    let ends = name.ends_with(|last: char| last != '-');
    let short = prefix.len() + 1 + name.len() <= NAME_BYTES_MAX;
    if inside && ends && short {
        return format!("{prefix}-{name}");
    }
    // Two that are written alike never meet: no plain name has a point.
    let readable = name.bytes().map(|byte| match byte.to_ascii_lowercase() {
        byte if plain(byte) => char::from(byte),
        _ => '-',
    });
    let readable: String = readable.take(63).collect();
    let readable = readable.trim_matches('-');
    let digest = Sha256::digest(name.as_bytes());
    let digest: String = digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    match readable {
        "" => format!("{prefix}.{digest}"),
        readable => format!("{prefix}-{readable}.{digest}"),
    }
}

impl NodeLeases {
    /// Those of the controllers in this namespace, written as this one.
    pub fn new(client: Client, namespace: &str, identity: &str, timeout: Duration) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
            identity: identity.to_owned(),
            timeout,
            known: Arc::default(),
        }
    }

    /// Everything that the leases say, then what changes. Ends when the receiver is dropped.
    pub fn watch(&self) -> mpsc::Receiver<Told> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let path = format!(
            "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
            self.namespace
        );
        let target = Target {
            path,
            kind: "Lease",
            metadata: false,
        };
        let listener = Teller {
            leases: self.clone(),
            sender,
            listed: Mutex::default(),
        };
        let watch = Watch::new(self.client.clone(), target, self.timeout, listener);
        tokio::spawn(watch.run::<RawLease>());
        receiver
    }

    /// Writes a report. `takes`: the lease may be another's.
    pub async fn write(&self, report: &Report, takes: bool) -> Result<Wrote, Trouble> {
        let name = report.lease_name(&self.identity);
        let doing = format!(
            "update leases.coordination.k8s.io {name} in namespace {}",
            self.namespace
        );
        let api = self.api();
        let mut known = self.known(&name);
        for _ in 0..3 {
            if let Some(holder) = known.as_ref().and_then(holder)
                && holder != self.identity
                && !takes
            {
                return Ok(Wrote::Anothers);
            }
            let lease = self.lease(&name, report, known.as_ref());
            let sent = async {
                match known {
                    Some(_) => api.replace(&name, &PostParams::default(), &lease).await,
                    None => api.create(&PostParams::default(), &lease).await,
                }
            };
            let trouble = match timeout(self.timeout, sent).await {
                Ok(Ok(lease)) => {
                    self.remember(&name, Some(lease));
                    return Ok(Wrote::Written);
                }
                Ok(Err(error)) => Trouble::of(&doing, MEANWHILE, error),
                Err(_) => Trouble::slow(&doing, MEANWHILE, self.timeout),
            };
            if !(trouble.conflict || trouble.absent && known.is_some()) {
                return Err(trouble);
            }
            let read = timeout(self.timeout, api.get_opt(&name)).await;
            known = match read {
                Ok(Ok(lease)) => lease,
                Ok(Err(error)) => return Err(Trouble::of(&doing, MEANWHILE, error)),
                Err(_) => return Err(Trouble::slow(&doing, MEANWHILE, self.timeout)),
            };
            self.remember(&name, known.clone());
        }
        Ok(Wrote::Anothers)
    }

    /// Removes a lease that nobody renews, unless somebody just does.
    pub async fn remove(&self, name: &str) -> Result<(), Trouble> {
        let doing = format!(
            "delete leases.coordination.k8s.io {name} in namespace {}",
            self.namespace
        );
        let version = self.known(name).and_then(|it| it.metadata.resource_version);
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                resource_version: version,
                uid: None,
            }),
            ..DeleteParams::default()
        };
        let api = self.api();
        let trouble = match timeout(self.timeout, api.delete(name, &parameters)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => Trouble::of(&doing, MEANWHILE, error),
            Err(_) => Trouble::slow(&doing, MEANWHILE, self.timeout),
        };
        match trouble.absent || trouble.conflict {
            true => Ok(()),
            false => Err(trouble),
        }
    }

    fn api(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn known(&self, name: &str) -> Option<Lease> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(name).cloned()
    }

    fn remember(&self, name: &str, lease: Option<Lease>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match lease {
            Some(lease) => known.insert(name.to_owned(), lease),
            None => known.remove(name),
        };
    }

    fn lease(&self, name: &str, report: &Report, known: Option<&Lease>) -> Lease {
        let now = MicroTime(Timestamp::now());
        let before = known
            .and_then(|lease| lease.spec.clone())
            .unwrap_or_default();
        let own = before.holder_identity.as_deref() == Some(&*self.identity);
        let transitions = before.lease_transitions.unwrap_or_default();
        let text = serde_json::to_string(report).unwrap_or_default();
        Lease {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(self.namespace.clone()),
                resource_version: known.and_then(|it| it.metadata.resource_version.clone()),
                labels: Some([(LABEL.to_owned(), report.sort().to_owned())].into()),
                annotations: Some([(ANNOTATION.to_owned(), text)].into()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                acquire_time: before.acquire_time.filter(|_| own).or(Some(now.clone())),
                renew_time: Some(now),
                lease_transitions: Some(match own || known.is_none() {
                    true => transitions,
                    false => transitions.saturating_add(1),
                }),
                ..LeaseSpec::default()
            }),
        }
    }
}

impl Report {
    fn sort(&self) -> &'static str {
        match self {
            Self::Node(_) => "node",
            Self::Controller { .. } => "controller",
            Self::Quarantine(_) => "quarantine",
        }
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    let spec = lease.spec.as_ref()?;
    spec.holder_identity.as_deref().filter(|it| !it.is_empty())
}

#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
struct RawLease(Lease);

impl Item for RawLease {
    fn resource_version(&self) -> &str {
        self.0
            .metadata
            .resource_version
            .as_deref()
            .unwrap_or_default()
    }

    fn kind(&self) -> &str {
        // Another could not be read as one.
        ""
    }
}

struct Teller {
    leases: NodeLeases,
    sender: mpsc::Sender<Told>,
    /// While a list is read, what it brought.
    listed: Mutex<Option<std::collections::HashSet<String>>>,
}

impl Teller {
    fn upsert(&self, lease: Lease) -> Option<Told> {
        let name = lease.metadata.name.clone()?;
        let annotations = lease.metadata.annotations.as_ref()?;
        let report = serde_json::from_str(annotations.get(ANNOTATION)?).ok()?;
        let holder = holder(&lease)?.to_owned();
        if let Some(listed) = &mut *self.listed() {
            listed.insert(name.clone());
        }
        self.leases.remember(&name, Some(lease));
        Some(Told::Report {
            lease: name,
            holder,
            report,
        })
    }

    /// Those of which the list said nothing are gone.
    fn missing(&self) -> Vec<String> {
        let listed = self.listed().take().unwrap_or_default();
        let mut known = self
            .leases
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let missing = known.keys().filter(|name| !listed.contains(*name));
        let missing: Vec<String> = missing.cloned().collect();
        for name in &missing {
            known.remove(name);
        }
        missing
    }

    fn listed(&self) -> std::sync::MutexGuard<'_, Option<std::collections::HashSet<String>>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener<RawLease> for Teller {
    async fn tell(&self, told: Watched<RawLease>) -> bool {
        let told = match told {
            Watched::ListBegins => {
                *self.listed() = Some(std::collections::HashSet::new());
                return true;
            }
            Watched::ListEnds => {
                for lease in self.missing() {
                    if self.sender.send(Told::Gone { lease }).await.is_err() {
                        return false;
                    }
                }
                Some(Told::Complete)
            }
            Watched::Upsert(RawLease(lease)) => self.upsert(lease),
            Watched::Remove(RawLease(lease)) => lease.metadata.name.map(|lease| {
                self.leases.remember(&lease, None);
                Told::Gone { lease }
            }),
            Watched::Well => Some(Told::Condition(None)),
            Watched::Failing(failure) => {
                let namespace = &self.leases.namespace;
                let doing = format!("watch leases.coordination.k8s.io in namespace {namespace}");
                let trouble = Trouble::tell(&doing, MEANWHILE, &failure, 0);
                Some(Told::Condition(Some(trouble.problem)))
            }
        };
        match told {
            Some(told) => self.sender.send(told).await.is_ok(),
            None => !self.sender.is_closed(),
        }
    }
}

impl std::fmt::Debug for NodeLeases {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("NodeLeases")
            .field("namespace", &self.namespace)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_node_has_a_lease_and_no_two_have_the_same() {
        assert_eq!(object_name("weir-node", "worker-1"), "weir-node-worker-1");
        let names = ["Worker_1", "worker-1.", "worker.1", "é", "-", "worker-1-"];
        let mut seen = std::collections::BTreeSet::new();
        for name in names
            .iter()
            .map(|name| (*name).to_owned())
            .chain(["a".repeat(400)])
        {
            let lease = object_name("weir-node", &name);
            assert!(lease.len() <= NAME_BYTES_MAX, "{lease}");
            let labels = lease.split('.').all(|label| {
                let fits =
                    |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
                !label.is_empty()
                    && label.bytes().all(fits)
                    && !label.starts_with('-')
                    && !label.ends_with('-')
            });
            assert!(labels, "{lease} of {name:?}");
            assert!(seen.insert(lease), "{name}");
        }
    }

    #[test]
    fn a_report_is_bounded_and_comes_back_as_it_was() {
        let report = NodeReport {
            node: "worker-1".into(),
            version: 7,
            waiting: (0..1_000)
                .map(|it| format!("allowlist shop/{it}"))
                .collect(),
            refusal: "x".repeat(1 << 20),
            more: false,
            hits: (0..1_000)
                .map(|it| (format!("allowlist shop/{it}"), it))
                .collect(),
        }
        .bounded();
        assert!(report.more && report.waiting.len() == NAMED_MAX);
        assert_eq!(report.hits.len(), HITS_MAX);
        let report = Report::Node(report);
        let text = serde_json::to_string(&report).unwrap();
        assert!(text.len() < 24 << 10);
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
