//! Whose packets nodes keep now, on whose behalf, and until when.
//!
//! Who triggers a rule decides how often it fires, so that what follows is bounded however often that
//! is: [`RUNNING_MAX`] captures at a time, [`RUNNING_PER_NODE_MAX`] on a node, [`RUNNING_PER_RULE_MAX`]
//! of a rule, and of a rule [`STARTED_PER_RULE_MAX`] in [`WINDOW_S`]. What is one too many is refused
//! and counted, never queued: packets of a moment that is over tell nothing.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use crate::event::Event;

/// Captures that run at the same time.
pub const RUNNING_MAX: usize = 1_000;
/// Captures that run on one node at the same time.
pub const RUNNING_PER_NODE_MAX: usize = 16;
/// Captures of one rule that run at the same time.
pub const RUNNING_PER_RULE_MAX: usize = 8;
/// Captures that one rule starts within [`WINDOW_S`].
pub const STARTED_PER_RULE_MAX: usize = 32;
/// Seconds.
pub const WINDOW_S: u64 = 600;
/// Captures that are over and still known; of more, the oldest are forgotten.
pub const ENDED_MAX: usize = 1_000;
/// Who starts captures by hand.
pub const OPERATOR: &str = "operator";

/// Whose packets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A connection's, both ways, on the node that saw it.
    Flow {
        /// The node.
        node: String,
        /// The node's number of it; 0 for none.
        id: u64,
        /// Its zone.
        zone: u32,
        /// IP protocol number.
        protocol: u8,
        /// Address and port of the client.
        client: (IpAddr, u16),
        /// Address and port of the server.
        server: (IpAddr, u16),
    },
    /// A workload's: "shop/photo-db".
    Workload(String),
}

/// One capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Letters and digits.
    pub id: String,
    /// [`OPERATOR`], or the rule: "shop/keep-evidence".
    pub by: String,
    /// Why, in a sentence.
    pub because: String,
    /// Whose packets.
    pub subject: Subject,
    /// On these nodes; empty: on all.
    pub nodes: Vec<String>,
    /// The most packets on each.
    pub packets_max: u32,
    /// The most bytes on each.
    pub bytes_max: u32,
    /// Since when, milliseconds since 1970.
    pub since_unix_ms: u64,
    /// Until when.
    pub until_unix_ms: u64,
}

/// Why a capture does not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CaptureRefusal {
    /// The same is being captured.
    Running,
    /// The rule has started as many as it may.
    Rule,
    /// A node captures as much as it may.
    Node,
    /// There are as many as there can be.
    Full,
}

/// All captures.
#[derive(Debug, Default)]
pub struct Captures {
    running: BTreeMap<String, Capture>,
    ended: VecDeque<Capture>,
    /// When each rule started captures, the newest last.
    started: BTreeMap<String, VecDeque<u64>>,
    refused: BTreeMap<CaptureRefusal, u64>,
    refused_total: u64,
}

impl Subject {
    /// The connection that an event is about, where it tells of one completely.
    pub fn flow_of(event: &Event) -> Option<Self> {
        let place = event.flow?;
        let end = |party: &crate::Party| Some((party.address?, party.port.unwrap_or_default()));
        Some(Self::Flow {
            node: event.node.clone(),
            id: place.id,
            zone: place.zone,
            protocol: place.protocol,
            client: end(&event.client)?,
            server: end(&event.server)?,
        })
    }

    /// For people.
    pub fn shown(&self) -> String {
        let end = |(address, port): &(IpAddr, u16)| match port {
            0 => address.to_string(),
            port => std::net::SocketAddr::new(*address, *port).to_string(),
        };
        match self {
            Self::Flow { client, server, .. } => format!("{}->{}", end(client), end(server)),
            Self::Workload(name) => name.clone(),
        }
    }
}

impl Capture {
    /// Whether it is made on this node.
    pub fn is_on(&self, node: &str) -> bool {
        self.nodes.is_empty() || self.nodes.iter().any(|name| name == node)
    }
}

impl CaptureRefusal {
    /// In words.
    pub fn why(self) -> &'static str {
        match self {
            Self::Running => "the same is being captured already",
            Self::Rule => "the rule has started as many captures as it may",
            Self::Node => "a node makes as many captures as it may",
            Self::Full => "as many captures are running as there can be",
        }
    }
}

impl Captures {
    /// Begins a capture, unless it is one too many.
    pub fn add(&mut self, capture: Capture) -> Result<(), CaptureRefusal> {
        let added = self.try_to_add(capture);
        if let Err(refusal) = added {
            *self.refused.entry(refusal).or_default() += 1;
            self.refused_total += 1;
        }
        added
    }

    fn try_to_add(&mut self, capture: Capture) -> Result<(), CaptureRefusal> {
        let by_rule = capture.by != OPERATOR;
        let running = || self.running.values();
        if running().any(|it| it.by == capture.by && it.subject == capture.subject) {
            return Err(CaptureRefusal::Running);
        }
        if by_rule && running().filter(|it| it.by == capture.by).count() >= RUNNING_PER_RULE_MAX {
            return Err(CaptureRefusal::Rule);
        }
        if self.running.len() >= RUNNING_MAX {
            return Err(CaptureRefusal::Full);
        }
        let meets = |it: &&Capture| {
            it.nodes.is_empty()
                || capture.nodes.is_empty()
                || it.nodes.iter().any(|node| capture.is_on(node))
        };
        if self.busiest(running().filter(meets), &capture) >= RUNNING_PER_NODE_MAX {
            return Err(CaptureRefusal::Node);
        }
        if by_rule && !self.may_start(&capture.by, capture.since_unix_ms / 1000) {
            return Err(CaptureRefusal::Rule);
        }
        self.running.insert(capture.id.clone(), capture);
        Ok(())
    }

    /// How many of these are made on that node of the capture where most are.
    fn busiest<'a>(
        &self,
        others: impl Iterator<Item = &'a Capture>,
        capture: &'a Capture,
    ) -> usize {
        let (mut everywhere, mut by_node) = (0, BTreeMap::<&str, usize>::new());
        for other in others {
            match other.nodes.is_empty() {
                true => everywhere += 1,
                false => {
                    for node in other.nodes.iter().filter(|node| capture.is_on(node)) {
                        *by_node.entry(node).or_default() += 1;
                    }
                }
            }
        }
        everywhere + by_node.values().max().copied().unwrap_or_default()
    }

    fn may_start(&mut self, rule: &str, now_unix_s: u64) -> bool {
        self.started.retain(|_, times| {
            times.retain(|time| time.saturating_add(WINDOW_S) > now_unix_s);
            !times.is_empty()
        });
        let times = self.started.entry(rule.to_owned()).or_default();
        if times.len() >= STARTED_PER_RULE_MAX {
            return false;
        }
        times.push_back(now_unix_s);
        true
    }

    /// Takes over what a node says is running, from a controller of before. One that was ended here is
    /// not taken over.
    pub fn adopt(&mut self, capture: Capture, node: &str) -> bool {
        if let Some(known) = self.running.get_mut(&capture.id) {
            let missing = !known.is_on(node);
            if missing {
                known.nodes.push(node.to_owned());
            }
            return missing;
        }
        let over = self.ended.iter().any(|it| it.id == capture.id);
        if over || self.running.len() >= RUNNING_MAX {
            return false;
        }
        self.running.insert(capture.id.clone(), capture);
        true
    }

    /// Ends a capture; none where it is not running.
    pub fn end(&mut self, id: &str) -> Option<Capture> {
        let ended = self.running.remove(id)?;
        self.keep(ended.clone());
        Some(ended)
    }

    /// Ends those whose time is over; whether there were any.
    pub fn expire(&mut self, now_unix_ms: u64) -> bool {
        let over = self
            .running
            .extract_if(.., |_, it| it.until_unix_ms <= now_unix_ms);
        let over: Vec<Capture> = over.map(|(_, capture)| capture).collect();
        let any = !over.is_empty();
        over.into_iter().for_each(|capture| self.keep(capture));
        any
    }

    fn keep(&mut self, capture: Capture) {
        if self.ended.len() >= ENDED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(capture);
    }

    /// Those that run.
    pub fn running(&self) -> impl Iterator<Item = &Capture> {
        self.running.values()
    }

    /// One that runs, or did.
    pub fn get(&self, id: &str) -> Option<&Capture> {
        let ended = || self.ended.iter().rev().find(|it| it.id == id);
        self.running.get(id).or_else(ended)
    }

    /// Whether it runs.
    pub fn is_running(&self, id: &str) -> bool {
        self.running.contains_key(id)
    }

    /// How many were refused, by why, since this was asked for last.
    pub fn take_refused(&mut self) -> BTreeMap<CaptureRefusal, u64> {
        std::mem::take(&mut self.refused)
    }

    /// How many were ever refused.
    pub fn refused_total(&self) -> u64 {
        self.refused_total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(number: u32, by: &str, nodes: &[&str]) -> Capture {
        Capture {
            id: format!("c{by}{number}"),
            by: by.to_owned(),
            because: String::new(),
            subject: Subject::Workload(format!("shop/w{number}")),
            nodes: nodes.iter().map(|&node| node.to_owned()).collect(),
            packets_max: 1,
            bytes_max: 1 << 20,
            since_unix_ms: 1_000,
            until_unix_ms: 61_000,
        }
    }

    #[test]
    fn ten_thousand_triggers_start_what_a_rule_may_and_the_rest_is_counted() {
        let mut captures = Captures::default();
        let mut begun = 0;
        for number in 0..10_000 {
            begun += usize::from(captures.add(capture(number, "shop/r", &["n"])).is_ok());
        }
        assert_eq!(begun, RUNNING_PER_RULE_MAX);
        assert_eq!(captures.refused_total(), 10_000 - begun as u64);
        let refused = captures.take_refused();
        assert_eq!(
            refused.get(&CaptureRefusal::Rule),
            Some(&(10_000 - begun as u64))
        );
        assert!(captures.take_refused().is_empty());
    }

    #[test]
    fn a_rule_whose_captures_end_quickly_starts_no_more_than_its_share() {
        let mut captures = Captures::default();
        let mut begun = 0;
        for number in 0..200 {
            let id = format!("cshop/r{number}");
            begun += usize::from(captures.add(capture(number, "shop/r", &["n"])).is_ok());
            captures.end(&id);
        }
        assert_eq!(begun, STARTED_PER_RULE_MAX);
        let mut later = capture(999, "shop/r", &["n"]);
        later.since_unix_ms += WINDOW_S * 1000;
        assert_eq!(captures.add(later), Ok(()));
    }

    #[test]
    fn a_node_has_its_bound_whoever_asks_and_other_nodes_theirs() {
        let mut captures = Captures::default();
        for number in 0..RUNNING_PER_NODE_MAX as u32 {
            let nodes: &[&str] = if number % 2 == 0 { &["a"] } else { &[] };
            assert_eq!(captures.add(capture(number, OPERATOR, nodes)), Ok(()));
        }
        let one_more = |nodes| capture(99, OPERATOR, nodes);
        let full = Err(CaptureRefusal::Node);
        assert_eq!(captures.add(one_more(&["a"])), full);
        assert_eq!(captures.add(one_more(&[])), full);
        assert_eq!(captures.add(one_more(&["b", "a"])), full);
        assert_eq!(captures.add(one_more(&["b"])), Ok(()));
        let again = Err(CaptureRefusal::Running);
        assert_eq!(captures.add(one_more(&["c"])), again);
    }

    #[test]
    fn what_ended_here_is_not_taken_over_from_a_node() {
        let mut captures = Captures::default();
        captures.add(capture(1, OPERATOR, &["a"])).unwrap();
        assert!(captures.end("coperator1").is_some());
        assert!(!captures.adopt(capture(1, OPERATOR, &["a"]), "a"));
        assert!(captures.adopt(capture(2, OPERATOR, &["a"]), "a"));
        assert!(!captures.adopt(capture(2, OPERATOR, &["a"]), "a"));
        assert!(captures.adopt(capture(2, OPERATOR, &["b"]), "b"));
        assert!(captures.get("coperator2").unwrap().is_on("b"));
        assert!(!captures.expire(60_999));
        assert!(captures.expire(61_000) && captures.running().next().is_none());
        assert!(!captures.is_running("coperator2"));
    }
}
