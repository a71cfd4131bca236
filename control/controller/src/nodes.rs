//! The nodes that have reported, and what each of them enforces.
//!
//! Bounded by [`NODES_MAX`]: node names come from the network.

use std::collections::BTreeMap;
use std::sync::Mutex;

use weir_api::v1;

use crate::time::now_unix_us;

/// More nodes than this are refused.
const NODES_MAX: usize = 10_000;
/// Longest node name, as DNS has it.
const NAME_BYTES_MAX: usize = 253;

/// Every node that has reported since the start.
#[derive(Debug, Default)]
pub struct Nodes {
    nodes: Mutex<BTreeMap<String, Node>>,
}

/// One subscription of a node; a newer one replaces it.
#[derive(Debug)]
pub struct Subscription {
    /// The node's name.
    pub node: String,
    number: u64,
}

#[derive(Debug, Default)]
struct Node {
    subscriptions: u64,
    connected: bool,
    enforced_version: u64,
    refusal: String,
    last_seen_unix_us: u64,
    lost_records: u64,
    software: String,
    counters: Option<v1::NodeCounters>,
}

impl Nodes {
    /// Takes a node's hello.
    pub fn subscribe(&self, hello: &v1::Hello) -> Result<Subscription, &'static str> {
        self.with(&hello.node, |node| {
            node.subscriptions += 1;
            node.connected = true;
            node.enforced_version = hello.enforced_version;
            node.refusal.clear();
            node.software = hello.software.chars().take(64).collect();
            Subscription {
                node: hello.node.clone(),
                number: node.subscriptions,
            }
        })
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

    /// The node reported observations.
    pub fn observed(&self, batch: &v1::ObservationBatch) -> Result<(), &'static str> {
        self.with(&batch.node, |node| {
            node.lost_records = batch.lost;
            if let Some(counters) = &batch.counters {
                node.counters = Some(counters.clone());
            }
        })
    }

    /// All nodes, sorted by name.
    pub fn status(&self) -> Vec<v1::NodeStatus> {
        let nodes = crate::lock(&self.nodes);
        let status = |(name, node): (&String, &Node)| v1::NodeStatus {
            node: name.clone(),
            connected: node.connected,
            enforced_version: node.enforced_version,
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
        if node.subscriptions == subscription.number {
            node.last_seen_unix_us = now_unix_us();
            body(node);
        }
    }
}
