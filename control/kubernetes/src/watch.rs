//! Lists one kind of objects and watches it for ever.
//!
//! Own, where kube-runtime's watcher has a state machine too, for two things that it does not tell: at
//! which version it stands, without which a server whose memory went back in time (an etcd restored
//! from a backup) is never noticed, since a watch from the future is silent; and whether it gets
//! through, which the conditions say.
//!
//! Trusts the order of events within a watch. Distrusts everything about the connection: lists may
//! break off between pages, watches end without a word, say 410, or stay silent; a server may throttle,
//! forbid, or send what cannot be read. Nothing of that is a deletion. Memory bound: a page of a list.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use futures::StreamExt;
use kube::Client;
use kube::core::WatchEvent;
use kube::core::params::{ListParams, WatchParams};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use crate::failure::{Failure, Verb};

/// Objects of one page of a list.
const PAGE: u32 = 500;
/// A watch is ended by the server after this long, and resumed.
const WATCH_SECONDS: u32 = 290;
/// One that ends earlier was not ended by the time.
const WATCH_MIN: Duration = Duration::from_secs(280);
/// The server sends a bookmark about every minute: after longer silence than this it is asked.
const QUIET: Duration = Duration::from_secs(75);
/// After a connection was lost it is asked earlier: another server may be there now.
const QUIET_AFTER_FAILURE: Duration = Duration::from_secs(3);
/// A watch that lasted this long, or brought something, was a good one.
const GOOD: Duration = Duration::from_secs(5);
/// The first pause after a failure, and the longest: how old what Weir knows may be at most once the
/// server is back.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// The longest pause where a person has to do something, or the server asks for one.
const PAUSE_REFUSED_MAX: Duration = Duration::from_secs(10);

/// What is watched.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// "/apis/apps/v1/replicasets"
    pub(crate) path: String,
    /// "ReplicaSet"
    pub(crate) kind: &'static str,
    /// Only metadata is wanted.
    pub(crate) metadata: bool,
}

/// What a watch tells.
#[derive(Clone, Debug)]
pub(crate) enum Told<T> {
    /// As [`crate::Event::ListBegins`].
    ListBegins,
    /// An object came or changed.
    Upsert(T),
    /// An object is gone.
    Remove(T),
    /// As [`crate::Event::ListEnds`].
    ListEnds,
    /// It gets through.
    Well,
    /// It does not.
    Failing(Failure),
}

/// What can be watched.
pub(crate) trait Item: DeserializeOwned + Clone + Send + Sync + 'static {
    fn resource_version(&self) -> &str;

    /// As the object itself says it; those of a list need not.
    fn kind(&self) -> &str;
}

/// Where it is told. False: nobody listens any more.
pub(crate) trait Listener<T>: Send + Sync {
    fn tell(&self, told: Told<T>) -> impl Future<Output = bool> + Send;
}

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: PageMeta,
    items: Option<Vec<T>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageMeta {
    resource_version: Option<String>,
    #[serde(rename = "continue")]
    continue_: Option<String>,
}

/// Nothing of interest.
#[derive(Clone, Debug, Default, Deserialize)]
struct Ignored {}

/// Why a watch ended.
enum End {
    /// As watches do; it goes on from where it was.
    Closed,
    /// What happened since is forgotten: everything has to be listed anew.
    Expired,
    Failed(Failure),
    /// Nobody listens.
    Deaf,
}

/// One kind's watch.
pub(crate) struct Watch<L> {
    client: Client,
    target: Target,
    /// How long an answer may take to begin, and a page of a list to arrive.
    timeout: Duration,
    listener: L,
    pause: Pause,
    told: Option<Failure>,
    well: bool,
}

/// The pauses between attempts.
#[derive(Default)]
struct Pause {
    attempts: u32,
    random: RandomState,
}

impl Target {
    /// What its objects are called in an answer.
    fn item(&self) -> &'static str {
        match self.metadata {
            true => "PartialObjectMetadata",
            false => self.kind,
        }
    }

    fn listed(&self) -> String {
        format!("{}List", self.item())
    }

    /// "apps/v1"
    fn api_version(&self) -> String {
        let parts: Vec<&str> = self.path.split('/').skip(1).collect();
        match (self.metadata, parts.as_slice()) {
            (true, _) => "meta.k8s.io/v1".to_owned(),
            (_, ["api", version, ..]) => (*version).to_owned(),
            (_, ["apis", group, version, ..]) => format!("{group}/{version}"),
            _ => String::new(),
        }
    }
}

impl<L> Watch<L> {
    pub(crate) fn new(client: Client, target: Target, timeout: Duration, listener: L) -> Self {
        Self {
            client,
            target,
            timeout,
            listener,
            pause: Pause::default(),
            told: None,
            well: false,
        }
    }

    /// Ends when nobody listens any more.
    pub(crate) async fn run<T: Item>(mut self)
    where
        L: Listener<T>,
    {
        let mut limit = Some(PAGE);
        loop {
            let version = match self.list::<T>(limit).await {
                Ok(Some(version)) => version,
                Ok(None) => return,
                Err(failure) => {
                    // Pages that expire before they are read: then all in one.
                    limit = (!failure.is_gone()).then_some(PAGE);
                    if !self.failed::<T>(failure).await {
                        return;
                    }
                    continue;
                }
            };
            limit = Some(PAGE);
            if !self.watch_from::<T>(version).await {
                return;
            }
        }
    }

    /// Tells all objects; returns the version that they had, or nothing where nobody listens.
    async fn list<T: Item>(&mut self, limit: Option<u32>) -> Result<Option<String>, Failure>
    where
        L: Listener<T>,
    {
        let mut continue_token: Option<String> = None;
        loop {
            let mut parameters = ListParams {
                limit,
                ..ListParams::default()
            };
            let first = continue_token.is_none();
            parameters.continue_token = continue_token.take();
            let page = self.page::<T>(&parameters).await?;
            if first && !self.listener.tell(Told::ListBegins).await {
                return Ok(None);
            }
            for item in page.items.unwrap_or_default() {
                if !self.listener.tell(Told::Upsert(item)).await {
                    return Ok(None);
                }
            }
            continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if continue_token.is_some() {
                continue;
            }
            let version = page.metadata.resource_version;
            let version = version.filter(|version| !version.is_empty());
            let version = version.ok_or_else(|| {
                Failure::unreadable(Verb::List, "a list without a resourceVersion")
            })?;
            let told = self.listener.tell(Told::ListEnds).await;
            return Ok(told.then_some(version));
        }
    }

    async fn page<T: DeserializeOwned>(&self, parameters: &ListParams) -> Result<Page<T>, Failure> {
        let request = kube::core::Request::new(&self.target.path);
        let request = match self.target.metadata {
            true => request.list_metadata(parameters),
            false => request.list(parameters),
        };
        let request = request.map_err(|error| Failure::unreadable(Verb::List, error))?;
        let page: Page<T> = match timeout(self.timeout, self.client.request(request)).await {
            Ok(page) => page.map_err(|error| Failure::of(Verb::List, error))?,
            Err(_) => return Err(Failure::slow(Verb::List, self.timeout)),
        };
        // An empty list of something else is no deletion.
        let (wanted, group) = (self.target.listed(), self.target.api_version());
        match [(&page.kind, &wanted), (&page.api_version, &group)] {
            said if said.iter().all(|(said, it)| said.is_empty() || said == it) => Ok(page),
            _ => {
                let what = format!("{} {:?} instead of {wanted}", page.api_version, page.kind);
                Err(Failure::unreadable(Verb::List, what))
            }
        }
    }

    /// Watches until everything has to be listed anew; false where nobody listens.
    async fn watch_from<T: Item>(&mut self, mut version: String) -> bool
    where
        L: Listener<T>,
    {
        let mut quiet = QUIET;
        loop {
            let before = version.clone();
            let began = Instant::now();
            let end = self.watch(&mut version, quiet).await;
            quiet = QUIET;
            let good = began.elapsed() >= GOOD || version != before;
            if good {
                self.pause.attempts = 0;
            }
            match end {
                End::Deaf => return false,
                End::Closed => {
                    if began.elapsed() < WATCH_MIN {
                        // It was not the server's clock that ended it.
                        quiet = QUIET_AFTER_FAILURE;
                    }
                    if !good {
                        sleep(self.pause.next(PAUSE_MAX)).await;
                    }
                }
                End::Expired => {
                    debug!(path = self.target.path, version, "the version has expired");
                    sleep(self.pause.next(PAUSE_MAX)).await;
                    return true;
                }
                End::Failed(failure) => {
                    quiet = QUIET_AFTER_FAILURE;
                    // An event that was not understood is lost: only a list brings it back.
                    let anew = failure.needs_list();
                    if !self.failed(failure).await {
                        return false;
                    }
                    if anew {
                        return true;
                    }
                }
            }
        }
    }

    async fn watch<T: Item>(&mut self, version: &mut String, quiet: Duration) -> End
    where
        L: Listener<T>,
    {
        let parameters = WatchParams {
            timeout: Some(WATCH_SECONDS),
            bookmarks: true,
            ..WatchParams::default()
        };
        let request = kube::core::Request::new(&self.target.path);
        let request = match self.target.metadata {
            true => request.watch_metadata(&parameters, version),
            false => request.watch(&parameters, version),
        };
        let request = match request {
            Ok(request) => request,
            Err(error) => return End::Failed(Failure::unreadable(Verb::Watch, error)),
        };
        let opened = timeout(self.timeout, self.client.request_events::<T>(request)).await;
        let stream = match opened {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return ended(error),
            Err(_) => return End::Failed(Failure::slow(Verb::Watch, self.timeout)),
        };
        let mut stream = Box::pin(stream);
        if !self.is_well().await {
            return End::Deaf;
        }
        let mut quiet = quiet;
        loop {
            let event = match timeout(quiet, stream.next()).await {
                Ok(Some(Ok(event))) => event,
                Ok(Some(Err(error))) => return ended(error),
                Ok(None) => return End::Closed,
                Err(_) => match self.stands_behind(version).await {
                    Ok(true) => return End::Expired,
                    // It answers, but this watch may be on a connection that is dead.
                    Ok(false) if quiet == QUIET => return End::Closed,
                    Ok(false) => {
                        quiet = QUIET;
                        continue;
                    }
                    Err(failure) => return End::Failed(failure),
                },
            };
            quiet = QUIET;
            if let WatchEvent::Added(item) | WatchEvent::Modified(item) | WatchEvent::Deleted(item) =
                &event
                && ![self.target.item(), ""].contains(&item.kind())
            {
                let what = format!("{:?} instead of {}", item.kind(), self.target.item());
                return End::Failed(Failure::unreadable(Verb::Watch, what));
            }
            let told = match event {
                WatchEvent::Added(item) | WatchEvent::Modified(item) => {
                    advance(version, item.resource_version());
                    Told::Upsert(item)
                }
                WatchEvent::Deleted(item) => {
                    advance(version, item.resource_version());
                    Told::Remove(item)
                }
                WatchEvent::Bookmark(bookmark) => {
                    advance(version, &bookmark.metadata.resource_version);
                    continue;
                }
                WatchEvent::Error(status) => return ended(kube::Error::Api(status)),
            };
            if !self.listener.tell(told).await {
                return End::Deaf;
            }
        }
    }

    /// Whether the server's newest version is older than the one that is watched from.
    async fn stands_behind(&self, version: &str) -> Result<bool, Failure> {
        let parameters = ListParams {
            limit: Some(1),
            ..ListParams::default()
        };
        let page = self.page::<Ignored>(&parameters).await?;
        let newest = page.metadata.resource_version.unwrap_or_default();
        Ok(match (newest.parse::<u64>(), version.parse::<u64>()) {
            (Ok(newest), Ok(version)) => newest < version,
            // Versions that are no numbers cannot be compared: what is known is listed anew.
            _ => newest != version,
        })
    }

    async fn is_well<T>(&mut self) -> bool
    where
        L: Listener<T>,
    {
        if self.well {
            return true;
        }
        self.well = true;
        self.told = None;
        self.listener.tell(Told::Well).await
    }

    /// Tells of a failure that is more than a hiccup, and waits.
    async fn failed<T>(&mut self, failure: Failure) -> bool
    where
        L: Listener<T>,
    {
        debug!(path = self.target.path, %failure, "failed");
        let longest = match failure.is_refusal() {
            true => PAUSE_REFUSED_MAX,
            false => PAUSE_MAX,
        };
        let mut pause = self.pause.next(longest);
        if let Some(wanted) = failure.retry_after() {
            pause = pause.max(wanted).min(PAUSE_REFUSED_MAX);
        }
        // A connection that is lost and found again at once is nothing to tell.
        let hiccup = self.well && self.pause.attempts < 2 && !failure.is_refusal();
        if !hiccup && self.told.as_ref() != Some(&failure) {
            self.well = false;
            self.told = Some(failure.clone());
            if !self.listener.tell(Told::Failing(failure)).await {
                return false;
            }
        }
        sleep(pause).await;
        true
    }
}

fn ended(error: kube::Error) -> End {
    let failure = Failure::of(Verb::Watch, error);
    if failure.is_gone() {
        End::Expired
    } else {
        End::Failed(failure)
    }
}

fn advance(version: &mut String, to: &str) {
    if !to.is_empty() {
        to.clone_into(version);
    }
}

impl Pause {
    /// Doubles from time to time, between half and all of it: not all who wait come back at once.
    fn next(&mut self, longest: Duration) -> Duration {
        let doubled = PAUSE_FIRST.saturating_mul(1 << self.attempts.min(16));
        self.attempts = self.attempts.saturating_add(1);
        let pause = doubled.min(longest);
        let dice = self.random.hash_one(Instant::now()) % 1024;
        pause / 2 + pause.mul_f64(dice as f64 / 2048.0)
    }
}
