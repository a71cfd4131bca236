//! The API server as a source: watches → the cluster's world and Weir's objects → news.
//!
//! One task reads what all watches tell and writes news; what comes while the controller is busy is
//! told together. The first news is everything, once every kind has been listed; a kind that may not be
//! seen, or that the server does not have, is named in a condition instead, and where policy or pods
//! cannot be seen nothing is told at all: what was last known holds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tracing::{info, warn};
use weir_model::{API_VERSION, Kind, Problem};
use weir_sources::{Change, DocumentKey, News};

use crate::beside::Beside;
use crate::claims::{Claim, external_claims};
use crate::connect::{ConnectError, Settings, connect};
use crate::documents::{Documents, RawDocument};
use crate::facts::{Event, Service, Watched};
use crate::failure::{Failure, INSTALL, Verb};
use crate::object::{RawObject, read};
use crate::resources::Resource;
use crate::watch::{Item, Listener, Told, Watch};
use crate::world::{Note, World, WorldCounts};

/// What watches tell ahead of the task that reads it.
const AHEAD: usize = 1_024;
/// What is taken together at most.
const TOGETHER: usize = 8_192;
/// News ahead of the controller.
const NEWS_AHEAD: usize = 4;
/// Conditions of one sort that are told.
const PROBLEMS_MAX: usize = 100;
/// How often the server is asked which of Weir's kinds it has: as long as some are missing, and then.
const DISCOVER_SOON: Duration = Duration::from_secs(2);
const DISCOVER: Duration = Duration::from_secs(60);

/// A running source. It ends when this is dropped.
#[derive(Debug)]
pub struct KubernetesSource {
    server: String,
    namespace: String,
    timeout: Duration,
    client: ClientHandle,
    world: Arc<RwLock<World>>,
    claims: watch::Receiver<Vec<Claim>>,
    watch_failures: Arc<AtomicU64>,
    tasks: Vec<AbortHandle>,
}

/// A client, which says nothing of itself.
#[derive(Clone)]
struct ClientHandle(Client);

/// What one of the watches told.
enum Message {
    Cluster(Event),
    Custom(Kind, Told<RawDocument>),
    Well(Resource),
    Failing(Resource, Failure),
    /// Which of Weir's kinds the server has.
    Served(Result<BTreeSet<Kind>, Failure>),
}

impl KubernetesSource {
    /// Begins to watch. The server need not answer yet. Has to be called within a Tokio runtime.
    pub async fn start(settings: Settings) -> Result<(Self, mpsc::Receiver<News>), ConnectError> {
        let (client, server, namespace) = connect(&settings).await?;
        let world = World::new(&settings.trust_domain, settings.external.clone());
        let world = Arc::new(RwLock::new(world));
        let (messages, received) = mpsc::channel(AHEAD);
        let (news, told) = mpsc::channel(NEWS_AHEAD);
        let (claims_told, claims) = watch::channel(Vec::new());
        let watcher = Watcher {
            client: client.clone(),
            timeout: settings.timeout,
            messages,
        };
        for watched in Watched::ALL {
            watcher.cluster(watched);
        }
        let watch_failures = Arc::new(AtomicU64::new(0));
        let reader = Reader {
            watch_failures: watch_failures.clone(),
            server: server.clone(),
            world: world.clone(),
            documents: Documents::default(),
            beside: Beside::default(),
            states: BTreeMap::new(),
            served: None,
            begun: false,
            conditions: None,
            claims: claims_told,
            watcher: watcher.clone(),
        };
        let discover = tokio::spawn(watcher.discover());
        let read = tokio::spawn(reader.run(received, news));
        info!(server, namespace, "watching the API server");
        let source = Self {
            server,
            namespace,
            timeout: settings.timeout,
            client: ClientHandle(client),
            world,
            claims,
            watch_failures,
            tasks: vec![discover.abort_handle(), read.abort_handle()],
        };
        Ok((source, told))
    }

    /// "https://10.0.0.1:6443"
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The namespace of the controller itself.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A client of the same server.
    pub fn client(&self) -> Client {
        self.client.0.clone()
    }

    /// The workload that had the address at that time: "shop/photo-db". What a node saw then is to be
    /// told of that one, whoever has the address now.
    pub fn who_had(&self, address: IpAddr, time: SystemTime) -> Option<Arc<str>> {
        self.world().who_had(address, since_epoch_us(time))
    }

    /// What a service claims that is not its own, judged by the cluster as it is.
    pub fn claims_of(&self, service: &Service) -> Vec<Claim> {
        external_claims(service, &*self.world())
    }

    /// The claims of all services that are not allowed; changes with the cluster.
    pub fn claims(&self) -> watch::Receiver<Vec<Claim>> {
        self.claims.clone()
    }

    /// Whether the cluster itself has a workload, service or namespace of this name, so that the
    /// document is no object of Weir's.
    pub fn is_of_cluster(&self, key: &DocumentKey) -> bool {
        self.world().has(key)
    }

    /// Watches that failed and were begun anew.
    pub fn watch_failures(&self) -> u64 {
        self.watch_failures.load(Ordering::Relaxed)
    }

    /// How long an answer of the server may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// How large the cluster is.
    pub fn counts(&self) -> WorldCounts {
        self.world().counts()
    }

    fn world(&self) -> RwLockReadGuard<'_, World> {
        self.world.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for KubernetesSource {
    fn drop(&mut self) {
        // Without a reader the watches end by themselves.
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl std::fmt::Debug for ClientHandle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Client")
    }
}

impl Item for RawObject {
    fn resource_version(&self) -> &str {
        &self.metadata.resource_version
    }

    fn kind(&self) -> &str {
        &self.kind
    }
}

impl Item for RawDocument {
    fn resource_version(&self) -> &str {
        RawDocument::resource_version(self)
    }

    fn kind(&self) -> &str {
        self.0["kind"].as_str().unwrap_or_default()
    }
}

/// Begins watches.
#[derive(Clone)]
struct Watcher {
    client: Client,
    timeout: Duration,
    messages: mpsc::Sender<Message>,
}

struct ToReader<M> {
    messages: mpsc::Sender<Message>,
    message: M,
}

impl<T: Send + 'static, M: Fn(Told<T>) -> Message + Send + Sync> Listener<T> for ToReader<M> {
    async fn tell(&self, told: Told<T>) -> bool {
        self.messages.send((self.message)(told)).await.is_ok()
    }
}

impl Watcher {
    fn cluster(&self, watched: Watched) {
        let resource = Resource::Cluster(watched);
        self.watch(resource, move |told: Told<RawObject>| match told {
            Told::Upsert(raw) => Message::Cluster(Event::Upsert(Box::new(read(watched, raw)))),
            Told::Remove(raw) => {
                let name = read(watched, raw).meta().name.clone();
                Message::Cluster(Event::Remove(watched, name))
            }
            Told::ListBegins => Message::Cluster(Event::ListBegins(watched)),
            Told::ListEnds => Message::Cluster(Event::ListEnds(watched)),
            Told::Well => Message::Well(resource),
            Told::Failing(failure) => Message::Failing(resource, failure),
        });
    }

    fn custom(&self, kind: Kind) {
        let resource = Resource::Custom(kind);
        self.watch(resource, move |told: Told<RawDocument>| match told {
            Told::Well => Message::Well(resource),
            Told::Failing(failure) => Message::Failing(resource, failure),
            told => Message::Custom(kind, told),
        });
    }

    fn watch<T: Item>(
        &self,
        resource: Resource,
        message: impl Fn(Told<T>) -> Message + Send + Sync + 'static,
    ) {
        let listener = ToReader {
            messages: self.messages.clone(),
            message,
        };
        let watch = Watch::new(
            self.client.clone(),
            resource.target(),
            self.timeout,
            listener,
        );
        tokio::spawn(watch.run::<T>());
    }

    /// Tells again and again which of Weir's kinds the server has.
    async fn discover(self) {
        loop {
            let served = self.served().await;
            let all =
                |served: &BTreeSet<Kind>| Resource::customs().all(|kind| served.contains(&kind));
            let pause = match served.as_ref().is_ok_and(all) {
                true => DISCOVER,
                false => DISCOVER_SOON,
            };
            if self.messages.send(Message::Served(served)).await.is_err() {
                return;
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn served(&self) -> Result<BTreeSet<Kind>, Failure> {
        let asked = self.client.list_api_group_resources(API_VERSION);
        let failure = match tokio::time::timeout(self.timeout, asked).await {
            Ok(Ok(list)) => {
                let kinds = list.resources.iter();
                let kinds = kinds.filter(|resource| !resource.name.contains('/'));
                let kinds = kinds.filter_map(|resource| Kind::by_name(&resource.kind));
                return Ok(kinds.collect());
            }
            Ok(Err(error)) => Failure::of(Verb::List, error),
            Err(_) => Failure::slow(Verb::List, self.timeout),
        };
        if failure.is_absent() {
            return Ok(BTreeSet::new());
        }
        Err(failure)
    }
}

/// How a kind stands.
#[derive(Default)]
struct State {
    synced: bool,
    failure: Option<Failure>,
}

/// Reads what the watches tell.
struct Reader {
    watch_failures: Arc<AtomicU64>,
    server: String,
    world: Arc<RwLock<World>>,
    documents: Documents,
    beside: Beside,
    states: BTreeMap<Resource, State>,
    /// The kinds of Weir that the server has; unknown before it answered.
    served: Option<Result<BTreeSet<Kind>, Failure>>,
    /// Everything has been told.
    begun: bool,
    conditions: Option<Vec<Problem>>,
    claims: watch::Sender<Vec<Claim>>,
    watcher: Watcher,
}

impl Reader {
    async fn run(mut self, mut received: mpsc::Receiver<Message>, news: mpsc::Sender<News>) {
        let mut early = BTreeMap::new();
        let mut messages = Vec::new();
        while received.recv_many(&mut messages, TOGETHER).await > 0 {
            let now_us = since_epoch_us(SystemTime::now());
            let mut changes = Vec::new();
            for message in messages.drain(..) {
                self.take(message, now_us, &mut changes);
            }
            if !self.begun {
                // Of what is told before everything is known the newest state counts.
                for change in changes.drain(..) {
                    match &change {
                        Change::Remove(key) => early.remove(key),
                        _ => early.insert(change.key(), change),
                    };
                }
            }
            let told = match self.begun || self.is_ready() {
                true => self.look(now_us, changes, &mut early),
                false => None,
            };
            let conditions = self.conditions();
            if self.conditions.as_ref() != Some(&conditions) {
                self.conditions = Some(conditions.clone());
                if news.send(News::Condition(conditions)).await.is_err() {
                    return;
                }
            }
            if let Some(told) = told
                && news.send(told).await.is_err()
            {
                return;
            }
        }
    }

    fn take(&mut self, message: Message, now_us: u64, changes: &mut Vec<Change>) {
        match message {
            Message::Cluster(event) => {
                if let Event::ListEnds(watched) = event {
                    self.synced(Resource::Cluster(watched));
                }
                let mut world = self.world.write().unwrap_or_else(PoisonError::into_inner);
                world.apply(event, now_us);
            }
            Message::Custom(kind, told) => match told {
                Told::Upsert(raw) => changes.extend(self.documents.upsert(kind, raw)),
                Told::Remove(raw) => changes.extend(self.documents.remove(kind, &raw)),
                Told::ListBegins => self.documents.list_begins(kind),
                Told::ListEnds => {
                    self.synced(Resource::Custom(kind));
                    changes.extend(self.documents.list_ends(kind));
                }
                Told::Well | Told::Failing(_) => {}
            },
            Message::Well(resource) => self.well(resource),
            Message::Failing(resource, failure) => self.failing(resource, failure),
            Message::Served(served) => {
                if let Ok(kinds) = &served {
                    for kind in Resource::customs().filter(|kind| kinds.contains(kind)) {
                        if let std::collections::btree_map::Entry::Vacant(entry) =
                            self.states.entry(Resource::Custom(kind))
                        {
                            entry.insert(State::default());
                            self.watcher.custom(kind);
                        }
                    }
                }
                self.served = Some(served);
            }
        }
    }

    fn synced(&mut self, resource: Resource) {
        self.states.entry(resource).or_default().synced = true;
    }

    fn well(&mut self, resource: Resource) {
        let state = self.states.entry(resource).or_default();
        if state.failure.take().is_some() {
            info!(resource = resource.title(), "watched again");
        }
    }

    fn failing(&mut self, resource: Resource, failure: Failure) {
        self.watch_failures.fetch_add(1, Ordering::Relaxed);
        let problem = |of: Resource, failure: &Failure| failure.problem(&of.title(), &self.server);
        let new = problem(resource, &failure);
        // A server that is gone fails for every kind: said once.
        let mut said = self
            .states
            .iter()
            .filter_map(|(of, state)| Some((*of, state.failure.as_ref()?)));
        if !said.any(|(of, failure)| problem(of, failure) == new) {
            warn!("{new}");
        }
        self.states.entry(resource).or_default().failure = Some(failure);
    }

    /// Whether everything that can be seen has been seen.
    fn is_ready(&self) -> bool {
        let Some(Ok(served)) = &self.served else {
            return false;
        };
        let cluster = Watched::ALL.into_iter().map(Resource::Cluster);
        let customs = Resource::customs().map(Resource::Custom);
        cluster.chain(customs).all(|resource| {
            let state = self.states.get(&resource);
            if state.is_some_and(|state| state.synced) {
                return true;
            }
            let failure = state.and_then(|state| state.failure.as_ref());
            match resource {
                _ if resource.is_essential() => false,
                Resource::Custom(kind) => !served.contains(&kind),
                // What may not be seen is named, and the rest does without.
                Resource::Cluster(_) => {
                    failure.is_some_and(|it| it.is_forbidden() || it.is_absent())
                }
            }
        })
    }

    /// What is wrong with the source as a whole.
    fn conditions(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        match &self.served {
            Some(Ok(served)) => {
                let missing: Vec<&str> = Resource::customs()
                    .filter(|kind| !served.contains(kind))
                    .map(Kind::plural)
                    .collect();
                if !missing.is_empty() {
                    problems.push(self.not_installed(&missing));
                }
            }
            Some(Err(failure)) => {
                problems.push(failure.problem("the kinds of weir.dev", &self.server));
            }
            None => {}
        }
        for (resource, state) in &self.states {
            let Some(failure) = &state.failure else {
                continue;
            };
            let problem = failure.problem(&resource.title(), &self.server);
            // One server that is gone is one problem, not one for each kind.
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        problems.extend(self.beside.problems().take(PROBLEMS_MAX).cloned());
        let claims = self.claims.borrow();
        let claims = claims.iter().take(PROBLEMS_MAX);
        problems.extend(claims.map(|claim| {
            let origin = format!("service {}", claim.service);
            Problem::of_file(&origin, claim.to_string(), claim.next_step())
        }));
        problems
    }

    fn not_installed(&self, missing: &[&str]) -> Problem {
        let server = &self.server;
        let missing_all = missing.len() == Resource::customs().count();
        let which = match missing_all {
            true => "none of Weir's kinds".to_owned(),
            false => format!(
                "not all of Weir's kinds: {} are missing",
                missing.join(", ")
            ),
        };
        let meanwhile = match missing_all {
            true => "; until then the last good policy holds",
            false => "",
        };
        Problem::of_file(
            "kubernetes",
            format!("the API server {server} has {which}"),
            format!("{INSTALL}{meanwhile}"),
        )
    }

    /// What the events come to; nothing where that is nothing new.
    fn look(
        &mut self,
        now_us: u64,
        changes: Vec<Change>,
        early: &mut BTreeMap<DocumentKey, Change>,
    ) -> Option<News> {
        let mut world = self.world.write().unwrap_or_else(PoisonError::into_inner);
        let mut all = world.changes(now_us);
        let changes = changes
            .into_iter()
            .chain(std::mem::take(early).into_values());
        let written = changes.filter_map(|change| self.beside.take(change, &world));
        let written: Vec<Change> = written.collect();
        let beside = self.beside.settle(&all, &world);
        let claims = world.claims();
        let notes = world.notes();
        drop(world);
        if let Some(claims) = claims {
            self.claims.send_replace(claims);
        }
        self.log(notes);
        all.extend(written);
        all.extend(beside);
        if self.begun {
            return (!all.is_empty()).then_some(News::Changes(all));
        }
        self.begun = true;
        info!(documents = all.len(), "the cluster is known");
        Some(News::Everything(all))
    }

    fn log(&self, notes: Vec<Note>) {
        for note in notes {
            let Note::Overlap {
                address,
                holder,
                other,
            } = note;
            warn!(
                %address,
                holder = &*holder,
                other = &*other,
                "two workloads claim one address; it is the holder's"
            );
        }
    }
}

fn since_epoch_us(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
