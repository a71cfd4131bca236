//! The whole policy, as it answers questions.
//!
//! Nodes get theirs from the [`crate::pipeline`] and never wait for this. It follows by itself in a
//! share of the time, for those who must not wait; who asks a question waits until it is no older than
//! what nodes had been given when he asked, so that who sees a version enforced sees what it is.
//! Memory: the policy once more, and while a newer one is made again once more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, oneshot};
use weir_learn::ConversationKey;
use weir_model::{Document, Located, Problem};
use weir_policy::Snapshot;
use weir_policy::spec::{Action, SnapshotSpec};

use crate::judge::Ends;
use crate::pipeline::Whole;
use crate::policy::blocking;
use crate::state::State;

/// What follows by itself leaves the processor to the nodes for so long after a change,
const NODES_FIRST: Duration = Duration::from_millis(100);
/// and takes one part in so many of the time.
const SHARE: u32 = 10;
/// How much others go before it: as far as it goes.
const IDLE: i32 = 19;
/// But is never older than this because of it.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A policy of so many items is made in a moment, so that even who must not wait long has the newest.
const SMALL_ITEMS: usize = 5_000;

/// The documents of a source.
pub type Documents = Arc<[Arc<Located<Document>>]>;

/// The whole policy at one moment.
#[derive(Debug)]
pub struct Published {
    /// Its version.
    pub version: u64,
    /// As it answers questions.
    pub snapshot: Snapshot,
    /// What it was compiled from.
    pub documents: Documents,
    /// What is probably not meant by them.
    pub warnings: Vec<Problem>,
    /// Identities by name.
    ends: Ends,
    /// See [`crate::pipeline::Pipeline::state`].
    state: u64,
    /// How long it took to make.
    took: Duration,
}

/// The newest whole policy that was made.
#[derive(Debug)]
pub struct View {
    latest: ArcSwap<Published>,
    /// Held while a newer one is made for somebody who waits.
    making: Arc<Mutex<()>>,
}

impl Published {
    /// Of everything at one moment.
    pub fn new(whole: Whole) -> Result<Self, Problem> {
        let began = Instant::now();
        let Whole {
            state,
            version,
            items,
            warnings,
            documents,
        } = whole;
        let spec = SnapshotSpec {
            version,
            ..items.into_spec()
        };
        let snapshot = Snapshot::build(spec).map_err(|error| {
            let next = "this is a mistake in the compiler; please report it with the documents";
            Problem::of_file("", error.to_string(), next)
        })?;
        Ok(Self {
            version,
            ends: Ends::of(&snapshot),
            snapshot,
            documents: documents.into(),
            warnings,
            state,
            took: began.elapsed(),
        })
    }

    fn is_small(&self) -> bool {
        let spec = self.snapshot.spec();
        spec.identities.len() + spec.addresses.len() + spec.rules.len() <= SMALL_ITEMS
    }

    /// What the policy says of a conversation now, and who decides.
    pub fn judge(&self, key: &ConversationKey) -> (Action, String) {
        match self.ends.decide(&self.snapshot, key) {
            Ok(decision) => (
                decision.rule_action,
                self.snapshot.rule_name(decision.decider).into_owned(),
            ),
            Err(why) => (Action::Deny, why),
        }
    }
}

impl View {
    /// Begins with this one.
    pub fn new(published: Published) -> Self {
        Self {
            latest: ArcSwap::from_pointee(published),
            making: Arc::default(),
        }
    }

    /// Takes one that was made, unless a newer one is there.
    fn keep(&self, published: Published) {
        let published = Arc::new(published);
        self.latest
            .rcu(|latest| match latest.state < published.state {
                true => published.clone(),
                false => latest.clone(),
            });
    }
}

impl State {
    /// The whole policy, no older than what nodes had been given when this was asked. Where it cannot
    /// be made, which is a problem that is told, or waits for the store, as it was before.
    pub async fn policy(self: &Arc<Self>) -> Arc<Published> {
        let wanted = *self.pipeline.state().borrow();
        if let Some(latest) = self.policy_since(wanted) {
            return latest;
        }
        let turn = self.view.making.clone().lock_owned().await;
        if let Some(latest) = self.policy_since(wanted) {
            return latest;
        }
        let state = self.clone();
        blocking(move || {
            if let Some(whole) = state.pipeline.whole() {
                state.make_policy(whole);
            }
            drop(turn);
            state.policy_of_late()
        })
        .await
    }

    /// The same where it is there in a moment, else as it was made last.
    pub async fn policy_soon(self: &Arc<Self>) -> Arc<Published> {
        let latest = self.policy_of_late();
        match latest.is_small() {
            true => self.policy().await,
            false => latest,
        }
    }

    /// The whole policy as it was made last.
    pub fn policy_of_late(&self) -> Arc<Published> {
        self.view.latest.load_full()
    }

    fn policy_since(&self, wanted: u64) -> Option<Arc<Published>> {
        let latest = self.policy_of_late();
        (latest.state >= wanted).then_some(latest)
    }

    fn make_policy(&self, whole: Whole) {
        match Published::new(whole) {
            Ok(published) => self.view.keep(published),
            Err(problem) => self.set_problems(vec![problem]),
        }
    }
}

/// Makes it while nobody else wants the processor.
async fn make_idly(state: &Arc<State>) {
    let taking = state.clone();
    // What others wait for is not done idly.
    let Some(whole) = blocking(move || taking.pipeline.whole()).await else {
        return;
    };
    let (done, made) = oneshot::channel();
    let state = state.clone();
    let idle = std::thread::Builder::new().name("whole policy".to_owned());
    let started = idle.spawn(move || {
        // Of this thread alone. Where it cannot be had it is made all the same.
        let _ = rustix::process::nice(IDLE);
        state.make_policy(whole);
        let _ = done.send(());
    });
    if started.is_ok() {
        let _ = made.await;
    }
}

/// Follows what nodes are given, until the controller stops.
pub async fn follow(state: Arc<State>) {
    let mut given = state.pipeline.state();
    let mut stopping = state.stopping();
    let following = async {
        while given.changed().await.is_ok() {
            tokio::time::sleep(NODES_FIRST).await;
            given.mark_unchanged();
            make_idly(&state).await;
            let took = state.policy_of_late().took;
            tokio::time::sleep((took * (SHARE - 1)).min(PAUSE_MAX)).await;
        }
    };
    tokio::select! {
        () = following => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
}
