//! Takes part in the election: reads and writes the Lease as [`Election`] says.
//!
//! Who acts as the leader asks [`Leadership::leads`] before each act: it is never true for two at a time.
//! What a process does between asking and acting may be late all the same, so everything a leader writes
//! is harmless when written twice.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};
use weir_model::Problem;

use crate::lease::{Election, Seen, Step, Timing};
use crate::trouble::Trouble;

/// What everybody does who cannot lead.
const MEANWHILE: &str = "Nodes are served all the same; conditions of objects are not written";

/// A part in the election; it ends when this is dropped, without giving the lease away.
#[derive(Debug)]
pub struct Leadership {
    shared: Arc<Shared>,
    leads: watch::Receiver<bool>,
    stop: watch::Sender<bool>,
    task: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    identity: String,
    start: Instant,
    election: Mutex<Election>,
    problem: Mutex<Option<Problem>>,
}

struct Candidate {
    shared: Arc<Shared>,
    api: Api<Lease>,
    name: String,
    namespace: String,
    timing: Timing,
    leads: watch::Sender<bool>,
    /// What is in the object beside what this writes.
    known: Option<Lease>,
    rival: String,
}

/// A name for this process that no other has: the host's name and a random number.
pub fn own_identity() -> String {
    let host = std::env::var("HOSTNAME").ok();
    let host = host.or_else(|| std::fs::read_to_string("/etc/hostname").ok());
    let host = host.unwrap_or_default();
    let host = match host.trim() {
        "" => "weir-controller",
        host => host,
    };
    let number = RandomState::new().hash_one(std::process::id());
    format!("{host}_{number:016x}")
}

impl Leadership {
    /// Takes part under this identity in the election for the lease of this name.
    pub fn start(
        client: Client,
        (namespace, name): (&str, &str),
        identity: &str,
        timing: Timing,
    ) -> Self {
        let (leads_told, leads) = watch::channel(false);
        let (stop, stopping) = watch::channel(false);
        let shared = Arc::new(Shared {
            identity: identity.to_owned(),
            start: Instant::now(),
            election: Mutex::new(Election::new(identity, timing)),
            problem: Mutex::default(),
        });
        let candidate = Candidate {
            shared: shared.clone(),
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            timing,
            leads: leads_told,
            known: None,
            rival: String::new(),
        };
        let task = tokio::spawn(candidate.run(stopping));
        Self {
            shared,
            leads,
            stop,
            task: Mutex::new(Some(task)),
        }
    }

    /// Whether this one leads now.
    pub fn leads(&self) -> bool {
        let now = self.shared.now();
        self.shared.election().leads(now)
    }

    /// Told when that changes, a moment later; the last says so when the lease runs out, too.
    pub fn changes(&self) -> watch::Receiver<bool> {
        self.leads.clone()
    }

    /// What this one is called.
    pub fn identity(&self) -> &str {
        &self.shared.identity
    }

    /// Who holds the lease, as far as is known.
    pub fn holder(&self) -> Option<String> {
        self.shared.election().holder().map(str::to_owned)
    }

    /// Why this one can take no part.
    pub fn problem(&self) -> Option<Problem> {
        let problem = self.shared.problem.lock();
        problem.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends leading, and gives the lease away so that another need not wait.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let task = {
            let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
            task.take()
        };
        if let Some(task) = task {
            let _ = task.await;
        }
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
        }
    }
}

impl Shared {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn election(&self) -> MutexGuard<'_, Election> {
        self.election.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Candidate {
    async fn run(mut self, mut stopping: watch::Receiver<bool>) {
        loop {
            let step = self.shared.election().step(self.shared.now());
            tokio::select! {
                () = self.take(step) => {}
                _ = stopping.wait_for(|stopping| *stopping) => break,
            }
            self.tell();
        }
        self.release().await;
    }

    async fn take(&mut self, step: Step) {
        if let Step::Wait(wait) = step {
            // Whoever waits for changes hears of a lease that has run out.
            let until = self.shared.election().leads_until();
            let left = until.saturating_sub(self.shared.now());
            let wait = match left.is_zero() {
                true => wait,
                false => wait.min(left),
            };
            return sleep(wait).await;
        }
        let now = self.shared.now();
        self.shared.election().sends(now);
        let patience = self.timing.believed / 2;
        let parameters = PostParams::default();
        let (verb, answer) = match &step {
            Step::Wait(_) | Step::Read => {
                ("get", timeout(patience, self.api.get_opt(&self.name)).await)
            }
            Step::Create => {
                let lease = self.lease(None, 0, true);
                let create = self.api.create(&parameters, &lease);
                let made = timeout(patience, create).await;
                ("create", made.map(|made| made.map(Some)))
            }
            Step::Write {
                version,
                transitions,
                taken,
            } => {
                let lease = self.lease(Some(version.clone()), *transitions, *taken);
                let replace = self.api.replace(&self.name, &parameters, &lease);
                let made = timeout(patience, replace).await;
                ("update", made.map(|made| made.map(Some)))
            }
        };
        let doing = format!(
            "{verb} leases.coordination.k8s.io {} in namespace {}",
            self.name, self.namespace
        );
        let answer = match answer {
            Ok(Ok(lease)) => Ok(lease),
            Ok(Err(error)) => Err(Trouble::of(&doing, MEANWHILE, error)),
            Err(_) => Err(Trouble::slow(&doing, MEANWHILE, patience)),
        };
        self.answered(&step, answer);
    }

    fn answered(&mut self, step: &Step, answer: Result<Option<Lease>, Trouble>) {
        let now = self.shared.now();
        let mut election = self.shared.election();
        let problem = match answer {
            Ok(lease) => {
                let seen = lease.as_ref().map(seen);
                self.known = lease;
                match (step, seen) {
                    (Step::Create | Step::Write { .. }, Some(seen)) => election.written(now, seen),
                    (_, seen) => election.read(now, seen),
                }
                None
            }
            // Another was quicker, or it has been deleted: both are ordinary.
            Err(trouble) if trouble.conflict || trouble.absent => {
                election.conflict(now);
                None
            }
            Err(trouble) => {
                election.failed(now);
                Some(trouble.problem)
            }
        };
        drop(election);
        let told = self.shared.problem.lock();
        let mut told = told.unwrap_or_else(PoisonError::into_inner);
        if *told != problem
            && let Some(problem) = &problem
        {
            warn!("{problem}");
        }
        *told = problem;
    }

    /// Tells what has become of it.
    fn tell(&mut self) {
        let now = self.shared.now();
        let (leads, holder) = {
            let election = self.shared.election();
            (election.leads(now), election.holder().map(str::to_owned))
        };
        let changed = self.leads.send_if_modified(|told| {
            let changed = *told != leads;
            *told = leads;
            changed
        });
        let identity = &self.shared.identity;
        match (changed, leads) {
            (true, true) => info!(identity, lease = self.name, "leads"),
            (true, false) => warn!(identity, lease = self.name, "leads no more"),
            _ => {}
        }
        let rival = holder
            .filter(|holder| holder != identity)
            .unwrap_or_default();
        if !rival.is_empty() && rival != self.rival {
            info!(leader = rival, lease = self.name, "another leads");
        }
        self.rival = rival;
    }

    async fn release(&mut self) {
        let released = self.shared.election().release();
        self.leads.send_replace(false);
        let Some(released) = released else { return };
        let mut lease = self.lease(Some(released.version), released.transitions, false);
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
        }
        let parameters = PostParams::default();
        let replace = self.api.replace(&self.name, &parameters, &lease);
        // Who does not hear of it waits until it has run out.
        let _ = timeout(self.timing.retry, replace).await;
    }

    /// The lease as this one writes it; what others put into the object stays.
    fn lease(&self, version: Option<String>, transitions: i32, taken: bool) -> Lease {
        let now = MicroTime(Timestamp::now());
        let known = self.known.clone().filter(|_| version.is_some());
        let mut lease = known.unwrap_or_else(|| Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: None,
        });
        lease.metadata.resource_version = version;
        lease.metadata.managed_fields = None;
        let before = lease.spec.take().unwrap_or_default();
        let acquired = before.acquire_time.clone().filter(|_| !taken);
        let seconds = self.timing.lasts.as_secs().max(1);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.shared.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(seconds).unwrap_or(i32::MAX)),
            acquire_time: Some(acquired.unwrap_or_else(|| now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..before
        });
        lease
    }
}

fn seen(lease: &Lease) -> Seen {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.unwrap_or_default();
    Seen {
        holder: spec.holder_identity.unwrap_or_default(),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        transitions: spec.lease_transitions.unwrap_or_default(),
        lasts: Duration::from_secs(u64::try_from(seconds).unwrap_or_default()),
    }
}
