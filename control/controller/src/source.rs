//! Where documents come from: a directory of files, or a Kubernetes API server.
//!
//! Files are taken as a whole or not at all, since one person's change may span several. With the API
//! server each object stands for itself: one that cannot be read holds no other up.
//!
//! With the API server nothing here writes what people write: what the operator's commands would write
//! they answer with what to tell kubectl.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{info, warn};
use weir_api::v1;
use weir_guardrail::Guardrails;
use weir_kubernetes::{Claim, KubernetesSource};
use weir_model::{
    Document, Kind, Located, Metadata, Mode, ModeDocument, ModeSpec, Problem, Reference, Resource,
    Selector, to_yaml_stream,
};
use weir_sources::{Change, DocumentKey, FilesSource, News};

use crate::StartError;
use crate::guardrails::{ByKey, Gate};
use crate::policy::{PublishError, blocking};
use crate::state::State;
use crate::time::now_unix_us;

/// How soon publishing is tried again after the store failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// Claims that are raised as alerts, until they are gone: more come to light in the conditions.
const CLAIMS_MAX: usize = 1_000;

/// Which source a controller is started with.
#[derive(Clone, Debug)]
pub enum SourceConfig {
    /// A directory of YAML documents.
    Files(PathBuf),
    /// An API server.
    Kubernetes(Box<weir_kubernetes::Settings>),
}

/// A source.
#[derive(Debug)]
pub enum Source {
    /// A directory of YAML documents.
    Files(FilesSource),
    /// An API server.
    Kubernetes(KubernetesSource),
}

/// What a source tells, in its order.
#[derive(Debug)]
pub enum Feed {
    /// The state of the files, whenever it changes.
    Files(watch::Receiver<weir_sources::State>),
    /// What happens at the API server.
    Kubernetes(mpsc::Receiver<News>),
}

/// What a source has told of, to be judged by guardrails before it is taken.
#[derive(Debug, Default)]
struct Gathered {
    /// As they were taken last, by this process or the one before it.
    documents: BTreeMap<DocumentKey, Arc<Located<Document>>>,
    /// The newest states that guardrails refuse, with their revisions: judged again with other guardrails.
    refused: BTreeMap<DocumentKey, (Arc<Located<Document>>, u64)>,
    /// What is told of documents that are taken.
    advised: BTreeMap<DocumentKey, Vec<Problem>>,
    /// Everything has been told.
    begun: bool,
}

impl Source {
    /// Opens the directory, or begins to watch the API server, which need not answer yet.
    pub async fn open(config: SourceConfig) -> Result<(Self, Feed), StartError> {
        match config {
            SourceConfig::Files(directory) => {
                let open = move || FilesSource::open(directory);
                let source = crate::policy::blocking(open).await?;
                let changes = source.subscribe();
                if let Some(failure) = source.watch_failure() {
                    warn!("{failure}; changes are looked for every few seconds");
                }
                Ok((Self::Files(source), Feed::Files(changes)))
            }
            SourceConfig::Kubernetes(settings) => {
                let (source, news) = KubernetesSource::start(*settings).await?;
                Ok((Self::Kubernetes(source), Feed::Kubernetes(news)))
            }
        }
    }

    /// "files /etc/weir/policy", "kubernetes https://10.0.0.1:6443".
    pub fn describe(&self) -> String {
        match self {
            Self::Files(source) => format!("files {}", source.directory().display()),
            Self::Kubernetes(source) => format!("kubernetes {}", source.server()),
        }
    }

    /// The directory or the server, for messages.
    pub fn place(&self) -> String {
        match self {
            Self::Files(source) => source.directory().display().to_string(),
            Self::Kubernetes(source) => source.server().to_owned(),
        }
    }

    /// The files, or what to do instead of writing them.
    pub fn writable(
        &self,
        instead: impl FnOnce() -> String,
    ) -> Result<&FilesSource, tonic::Status> {
        match self {
            Self::Files(source) => Ok(source),
            Self::Kubernetes(source) => {
                let server = source.server();
                let text = format!(
                    "policy is what the API server {server} has, and only kubectl changes it: {}",
                    instead()
                );
                Err(tonic::Status::failed_precondition(text))
            }
        }
    }
}

/// The Mode documents that give workloads a mode, to be given to kubectl. Those that stand already
/// under the workload's name are changed.
pub fn mode_documents(
    standing: &[Arc<Located<Document>>],
    workloads: &[Reference],
    mode: Mode,
) -> String {
    let document = |workload: &Reference| {
        let namespace = workload.namespace().unwrap_or("default");
        let full_name = workload.resolve("default");
        let stands = standing.iter().find_map(|located| match &located.value {
            Document::Mode(stands) if stands.metadata.full_name() == full_name => Some(stands),
            _ => None,
        });
        let document = match stands {
            Some(stands) => {
                let mut document: ModeDocument = stands.clone();
                document.spec.mode = Some(mode);
                document
            }
            None => Resource {
                metadata: Metadata::new(namespace, workload.name()).ok()?,
                spec: ModeSpec {
                    target: Selector::Name(Reference::new(namespace, workload.name()).ok()?),
                    mode: Some(mode),
                    quarantine: false,
                },
            },
        };
        Some(Document::Mode(document))
    };
    let documents: Vec<Document> = workloads.iter().filter_map(document).collect();
    to_yaml_stream(&documents)
}

/// Every change of the documents becomes a version, or a problem.
pub async fn follow(state: Arc<State>, feed: Feed) {
    match feed {
        Feed::Files(changes) => follow_files(state, changes).await,
        Feed::Kubernetes(news) => follow_news(state, news).await,
    }
}

async fn follow_files(state: Arc<State>, mut changes: watch::Receiver<weir_sources::State>) {
    let mut stopping = state.stopping();
    let mut retry = false;
    loop {
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY_INTERVAL), if retry => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        let newest = changes.borrow_and_update().clone();
        retry = matches!(state.take(newest).await, Err(PublishError::Store(_)));
    }
}

async fn follow_news(state: Arc<State>, mut news: mpsc::Receiver<News>) {
    let mut stopping = state.stopping();
    let mut gathered = Gathered::remembered(&state);
    let mut retry = false;
    loop {
        let told = tokio::select! {
            told = news.recv() => match told {
                Some(told) => Some(told),
                None => return,
            },
            () = tokio::time::sleep(RETRY_INTERVAL), if retry => None,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        let Some(mut told) = told else {
            retry = matches!(state.publish_again().await, Err(PublishError::Store(_)));
            continue;
        };
        let mut apart = None;
        // What has come meanwhile becomes one version with it.
        while let News::Everything(changes) | News::Changes(changes) = &mut told
            && let Ok(next) = news.try_recv()
        {
            match next {
                News::Changes(more) => changes.extend(more),
                next => {
                    apart = Some(next);
                    break;
                }
            }
        }
        for told in std::iter::once(told).chain(apart) {
            let judging = state.clone();
            let (judged, advice);
            (gathered, judged, advice) = blocking(move || {
                let judged = gathered.take(told, &judging);
                let advice: Vec<Problem> = gathered.advised.values().flatten().cloned().collect();
                (gathered, judged, advice)
            })
            .await;
            state.set_advice(advice);
            retry = matches!(state.take_news(judged).await, Err(PublishError::Store(_)));
        }
    }
}

impl Gathered {
    /// With what the store remembers: what changed while no controller ran is judged against it.
    fn remembered(state: &State) -> Self {
        let in_force = state.pipeline.documents().into_iter();
        let documents = in_force.map(|document| (DocumentKey::of(&document.value), document));
        Self {
            documents: documents.collect(),
            ..Self::default()
        }
    }

    /// The same with what guardrails refuse marked as invalid.
    fn take(&mut self, news: News, state: &State) -> News {
        let first = !self.begun;
        // An earlier version of this software remembered a policy, but not what it came from.
        let trusted = first && state.version() > 0 && self.documents.is_empty();
        let everything = matches!(news, News::Everything(_));
        let mut changes = match news {
            News::Condition(problems) => return News::Condition(problems),
            News::Everything(changes) => {
                let told: BTreeSet<DocumentKey> = changes.iter().map(Change::key).collect();
                self.documents.retain(|key, _| told.contains(key));
                self.refused.retain(|key, _| told.contains(key));
                self.advised.retain(|key, _| told.contains(key));
                self.begun = true;
                changes
            }
            News::Changes(changes) => changes,
        };
        let others = changes
            .iter()
            .any(|change| change.key().kind == Kind::Guardrail);
        // Guardrails come first: they judge what comes with them.
        changes.sort_by_key(|change| change.key().kind != Kind::Guardrail);
        let mut guardrails = state.guardrails.guardrails(self.rails()).0;
        let mut judged = changes
            .first()
            .is_none_or(|it| it.key().kind != Kind::Guardrail);
        let mut taken = Vec::with_capacity(changes.len());
        for change in changes {
            if !judged && change.key().kind != Kind::Guardrail {
                guardrails = state.guardrails.guardrails(self.rails()).0;
                self.audit(&guardrails);
                judged = true;
            }
            taken.push(self.judge(change, &guardrails, trusted));
        }
        if others || first {
            let guardrails = state.guardrails.guardrails(self.rails()).0;
            for (document, revision) in std::mem::take(&mut self.refused).into_values() {
                let change = Change::Upsert { document, revision };
                taken.push(self.judge(change, &guardrails, false));
            }
            self.audit(&guardrails);
        }
        match everything {
            true => News::Everything(taken),
            false => News::Changes(taken),
        }
    }

    fn judge(&mut self, change: Change, guardrails: &Guardrails, trusted: bool) -> Change {
        let key = change.key();
        self.refused.remove(&key);
        let Change::Upsert { document, revision } = change else {
            if matches!(change, Change::Remove(_)) {
                self.advised.remove(&key);
                self.documents.remove(&key);
            }
            return change;
        };
        let known = match trusted {
            true => Some(&document),
            false => self.documents.get(&key),
        };
        let by_key = ByKey(&self.documents);
        let judgement = Gate::judge(guardrails, &by_key, known.map(|it| &**it), Some(&document));
        let mut problems = judgement.invalid;
        problems.extend(judgement.forbidden);
        // The last good state stays.
        if !problems.is_empty() {
            self.refused.insert(key.clone(), (document, revision));
            return Change::Invalid {
                key,
                revision,
                problems,
            };
        }
        if judgement.warnings.is_empty() {
            self.advised.remove(&key);
        } else {
            self.advised.insert(key, judgement.warnings);
        }
        let key = DocumentKey::of(&document.value);
        self.documents.insert(key, document.clone());
        Change::Upsert { document, revision }
    }

    /// Tells of what is in force although guardrails would refuse it today.
    fn audit(&mut self, guardrails: &Guardrails) {
        let mut advised: BTreeMap<DocumentKey, Vec<Problem>> = BTreeMap::new();
        for (key, located) in &self.documents {
            let one = std::iter::once(&**located);
            let problems = Gate::audit(guardrails, &ByKey(&self.documents), one);
            if !problems.is_empty() {
                advised.insert(key.clone(), problems);
            }
        }
        self.advised = advised;
    }

    /// The guardrails, found without going through everything: this is asked at every event of a pod.
    fn rails(&self) -> impl Iterator<Item = &Located<Document>> {
        let first = DocumentKey {
            kind: Kind::Guardrail,
            namespace: String::new(),
            name: String::new(),
        };
        let rails = self.documents.range(first..);
        let rails = rails.take_while(|(key, _)| key.kind == Kind::Guardrail);
        rails.map(|(_, document)| &**document)
    }
}

/// Raises an alert for each claim of a service that is not allowed, once as long as it stands.
pub async fn raise_claims(state: Arc<State>) {
    let Source::Kubernetes(source) = &state.source else {
        return;
    };
    let mut claims = source.claims();
    let mut stopping = state.stopping();
    let mut raised: BTreeSet<Claim> = BTreeSet::new();
    loop {
        tokio::select! {
            changed = claims.changed() => if changed.is_err() { return },
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        let standing: BTreeSet<Claim> = {
            let claims = claims.borrow_and_update();
            claims.iter().take(CLAIMS_MAX).cloned().collect()
        };
        let flows: Vec<v1::FlowRecord> = standing.difference(&raised).map(alert).collect();
        raised = standing;
        if flows.is_empty() {
            continue;
        }
        info!(claims = flows.len(), "services claim what is others'");
        let batch = v1::ObservationBatch {
            node: CONTROLLER.to_owned(),
            flows,
            ..v1::ObservationBatch::default()
        };
        state
            .observed
            .merge(batch, &state.policy_soon().await.snapshot, &state.source);
    }
}

/// Where an alert comes from that no node saw.
const CONTROLLER: &str = "controller";

/// As a node tells of the same threat when it sees traffic for the address.
fn alert(claim: &Claim) -> v1::FlowRecord {
    let now_unix_us = now_unix_us();
    let address = match claim.address {
        std::net::IpAddr::V4(address) => address.octets().to_vec(),
        std::net::IpAddr::V6(address) => address.octets().to_vec(),
    };
    v1::FlowRecord {
        event: v1::FlowEvent::Alert.into(),
        time_unix_us: now_unix_us,
        first_seen_unix_us: now_unix_us,
        client_address: address.clone(),
        server_address: address,
        alert: Some(v1::Alert {
            kind: v1::AlertKind::Threat.into(),
            generator: weir_api::THREAT_GENERATOR,
            id: EXTERNAL_IP,
            revision: 1,
            name: "k8s-mitm-external-ip".to_owned(),
            message: format!("{claim} (CVE-2020-8554)"),
            action: v1::AlertAction::Alert.into(),
            severity: 1,
            technique: "T1557".to_owned(),
            sign: "a service claims it".to_owned(),
            ..v1::Alert::default()
        }),
        ..v1::FlowRecord::default()
    }
}

/// The catalogue's number of `k8s-mitm-external-ip`.
const EXTERNAL_IP: u32 = 1160;
