//! The nodes that have reported, and what each of them enforces.
//!
//! Bounded by [`NODES_MAX`]: node names come from the network.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost::Message;
use tokio::sync::watch;
use weir_api::v1;
use weir_model::Problem;

use crate::push::rate::Rate;
use crate::push::target::Target;
use crate::time::now_unix_us;

/// More nodes than this are refused.
const NODES_MAX: usize = 10_000;
/// Longest node name, as DNS has it.
const NAME_BYTES_MAX: usize = 253;
/// How often a node may subscribe: at once, and a second in the long run.
const SUBSCRIPTIONS_AT_ONCE: u64 = 20;
const SUBSCRIPTIONS_PER_SECOND: u64 = 1;
/// What a node may report, at once and a second in the long run: batches, and bytes of them.
const BATCHES_AT_ONCE: u64 = 2_000;
const BATCHES_PER_SECOND: u64 = 400;
const REPORT_BYTES_AT_ONCE: u64 = 256 << 20;
const REPORT_BYTES_PER_SECOND: u64 = 32 << 20;

/// More problems are not told at a time.
const PROBLEMS_MAX: usize = 20;
/// A node whose clock is further ahead than this is told of; nothing that it reports is from later than now.
const CLOCK_TOLERANCE_S: u64 = 300;

/// Every node that has reported since the start.
#[derive(Debug, Default)]
pub struct Nodes {
    nodes: Mutex<BTreeMap<String, Node>>,
}

/// How many nodes there are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeCounts {
    /// Subscribed here now.
    pub connected: u64,
    /// Of these, not at the newest version.
    pub behind: u64,
    /// Of these, refusing what they were sent last.
    pub refusing: u64,
    /// Known, and not subscribed here.
    pub absent: u64,
    /// Records that they lost.
    pub lost_records: u64,
}

/// One subscription of a node; a newer one replaces it.
#[derive(Debug)]
pub struct Subscription {
    /// The node's name.
    pub node: String,
    number: u64,
    newest: watch::Receiver<u64>,
}

#[derive(Debug)]
struct Node {
    /// The number of the newest.
    subscriptions: watch::Sender<u64>,
    subscription_rate: Rate,
    batch_rate: Rate,
    byte_rate: Rate,
    /// What it is to have.
    target: Option<Arc<Target>>,
    connected: bool,
    enforced_version: u64,
    refusal: String,
    last_seen_unix_us: u64,
    lost_records: u64,
    software: String,
    counters: Option<v1::NodeCounters>,
    /// How far its clock is ahead of this one's, by what it reported last.
    ahead_s: u64,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            subscriptions: watch::Sender::new(0),
            subscription_rate: Rate::new(SUBSCRIPTIONS_AT_ONCE, SUBSCRIPTIONS_PER_SECOND),
            batch_rate: Rate::new(BATCHES_AT_ONCE, BATCHES_PER_SECOND),
            byte_rate: Rate::new(REPORT_BYTES_AT_ONCE, REPORT_BYTES_PER_SECOND),
            target: None,
            connected: false,
            enforced_version: 0,
            refusal: String::new(),
            last_seen_unix_us: 0,
            lost_records: 0,
            software: String::new(),
            counters: None,
            ahead_s: 0,
        }
    }
}

impl Subscription {
    /// Completes when the node has subscribed once more.
    pub async fn replaced(&self) {
        let mut newest = self.newest.clone();
        let number = self.number;
        if newest.wait_for(|newest| *newest != number).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Nodes {
    /// Takes a node's hello.
    pub fn subscribe(&self, hello: &v1::Hello) -> Result<Subscription, &'static str> {
        self.with(&hello.node, |node| {
            if node.subscription_rate.take(1).is_err() {
                return Err("the node subscribes too often");
            }
            let number = *node.subscriptions.borrow() + 1;
            node.subscriptions.send_replace(number);
            node.target = None;
            node.connected = true;
            node.enforced_version = hello.enforced_version;
            node.refusal.clear();
            node.software = hello.software.chars().take(64).collect();
            Ok(Subscription {
                node: hello.node.clone(),
                number,
                newest: node.subscriptions.subscribe(),
            })
        })?
    }

    /// What the node of this subscription is to have.
    pub fn serves(&self, subscription: &Subscription, target: Arc<Target>) {
        self.current(subscription, |node| node.target = Some(target));
    }

    /// The subscription has ended.
    pub fn unsubscribe(&self, subscription: &Subscription) {
        self.current(subscription, |node| node.connected = false);
    }

    /// The node enforces this version now.
    pub fn applied(&self, subscription: &Subscription, version: u64) {
        self.current(subscription, |node| {
            node.enforced_version = version;
            node.refusal.clear();
        });
    }

    /// The node refused a version.
    pub fn refused(&self, subscription: &Subscription, refused: &v1::Refused) {
        self.current(subscription, |node| {
            node.enforced_version = refused.enforced_version;
            let reason: String = refused.reason.chars().take(1024).collect();
            node.refusal = format!("version {}: {reason}", refused.version);
        });
    }

    /// The node reported observations: taken, or to be taken after a while, since it reports more
    /// than it may.
    pub fn observed(&self, batch: &v1::ObservationBatch) -> Result<Option<Duration>, &'static str> {
        let bytes = batch.encoded_len() as u64;
        self.with(&batch.node, |node| {
            let batches = node.batch_rate.take(1).err();
            let bytes = node.byte_rate.take(bytes).err();
            node.lost_records = batch.lost;
            if let Some(counters) = &batch.counters {
                node.counters = Some(counters.clone());
            }
            if let Some(newest_us) = batch.flows.iter().map(|it| it.time_unix_us).max() {
                node.ahead_s = newest_us.saturating_sub(now_unix_us()) / 1_000_000;
            }
            batches.max(bytes)
        })
    }

    /// Whose clock cannot be right, or this controller's own.
    pub fn problems(&self) -> Vec<Problem> {
        let nodes = crate::lock(&self.nodes);
        let ahead = nodes
            .iter()
            .filter(|(_, node)| node.ahead_s > CLOCK_TOLERANCE_S);
        let problem = |(name, node): (&String, &Node)| {
            let ahead = Duration::from_secs(node.ahead_s);
            let message = format!(
                "the clock of node {name} is {} ahead of this controller's",
                humantime::format_duration(ahead)
            );
            let next = "set both by NTP (chronyc tracking tells); meanwhile what it reports counts as \
                        seen now, and it may refuse certificates and signed policy";
            Problem::of_file("nodes", message, next)
        };
        ahead.take(PROBLEMS_MAX).map(problem).collect()
    }

    /// The nodes that are subscribed now: name, number of the subscription, and the version that it
    /// enforces, which is `newest` where nothing changed for it.
    pub fn subscribed(&self, newest: u64) -> Vec<(String, u64, u64)> {
        let nodes = crate::lock(&self.nodes);
        let subscribed = nodes.iter().filter(|(_, node)| node.connected);
        let told = subscribed.map(|(name, node)| {
            let number = *node.subscriptions.borrow();
            (name.clone(), number, node.enforced(newest))
        });
        told.collect()
    }

    /// How many nodes there are in each state.
    pub fn counts(&self, newest: u64) -> NodeCounts {
        let nodes = crate::lock(&self.nodes);
        let mut counts = NodeCounts::default();
        for node in nodes.values() {
            counts.lost_records += node.lost_records;
            if !node.connected {
                counts.absent += 1;
                continue;
            }
            counts.connected += 1;
            counts.behind += u64::from(node.enforced(newest) < newest);
            counts.refusing += u64::from(!node.refusal.is_empty());
        }
        counts
    }

    /// All nodes, sorted by name. What changed nothing for a node was not sent to it: such a node
    /// enforces `newest`.
    pub fn status(&self, newest: u64) -> Vec<v1::NodeStatus> {
        let nodes = crate::lock(&self.nodes);
        let status = |(name, node): (&String, &Node)| v1::NodeStatus {
            node: name.clone(),
            connected: node.connected,
            enforced_version: node.enforced(newest),
            refusal: node.refusal.clone(),
            last_seen_unix_us: node.last_seen_unix_us,
            lost_records: node.lost_records,
            software: node.software.clone(),
            counters: node.counters.clone(),
        };
        nodes.iter().map(status).collect()
    }

    fn with<T>(&self, name: &str, body: impl FnOnce(&mut Node) -> T) -> Result<T, &'static str> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(char::is_control) {
            return Err("the node's name is empty, too long or not printable");
        }
        let mut nodes = crate::lock(&self.nodes);
        if nodes.len() >= NODES_MAX && !nodes.contains_key(name) {
            return Err("the controller knows as many nodes as it can");
        }
        let node = nodes.entry(name.to_owned()).or_default();
        node.last_seen_unix_us = now_unix_us();
        Ok(body(node))
    }

    fn current(&self, subscription: &Subscription, body: impl FnOnce(&mut Node)) {
        let mut nodes = crate::lock(&self.nodes);
        let Some(node) = nodes.get_mut(&subscription.node) else {
            return;
        };
        if *node.subscriptions.borrow() == subscription.number {
            node.last_seen_unix_us = now_unix_us();
            body(node);
        }
    }
}

impl Node {
    fn enforced(&self, newest: u64) -> u64 {
        let mark = self.target.as_ref().map(|target| target.mark());
        match mark {
            Some(mark) if mark.version > 0 && self.enforced_version >= mark.version => {
                self.enforced_version.max(newest)
            }
            _ => self.enforced_version,
        }
    }
}
