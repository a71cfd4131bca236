//! Captures: which are wanted of whom, and what nodes say of theirs.
//!
//! A capture is wanted until its time is over, somebody ends it, or every node that makes it has all
//! it may have. Nothing of it is stored: a controller that begins anew takes over what nodes say is
//! running. Memory: captures as [`weir_respond::capture`] bounds them, and of each node the
//! [`STATUSES_MAX`] newest that it tells.

mod follow;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;

use tokio::sync::{mpsc, watch};
use tonic::Status;
use weir_api::v1::wanted_capture::What;
use weir_api::v1::{self, CaptureState};
use weir_model::{Document, Kind};
use weir_respond::{Capture, CaptureRefusal, Captures, Subject};

use crate::flows::ip_address;
use crate::state::State;
use crate::time::now_unix_us;

pub use follow::Follow;

/// Captures of one node that are known.
const STATUSES_MAX: usize = 512;
/// The longest text of a node.
const TEXT_BYTES_MAX: usize = 1_024;
/// Nodes that are known.
const NODES_MAX: usize = 10_000;
/// Failures that are told among the problems, and for how long.
const PROBLEMS_MAX: usize = 16;
const PROBLEM_LASTS_US: u64 = 3_600_000_000;
/// Networks of a workload, as nodes take them.
const NETWORKS_MAX: usize = 4_096;

/// What captures are at.
#[derive(Debug)]
pub struct Capturing {
    captures: Mutex<Captures>,
    nodes: Mutex<BTreeMap<String, NodeCaptures>>,
    changed: watch::Sender<u64>,
    last_id: Mutex<u64>,
}

/// What a node said.
#[derive(Debug, Default)]
struct NodeCaptures {
    /// Counts its streams up; a newer one replaces it.
    stream: u64,
    connected: bool,
    told: v1::CaptureStatuses,
    reads: Option<mpsc::Sender<Read>>,
}

/// Somebody who wants a file.
#[derive(Debug)]
pub struct Read {
    file: String,
    pieces: mpsc::Sender<Result<v1::CapturePiece, Status>>,
}

impl Default for Capturing {
    fn default() -> Self {
        Self {
            captures: Mutex::default(),
            nodes: Mutex::default(),
            changed: watch::Sender::new(0),
            last_id: Mutex::default(),
        }
    }
}

impl Capturing {
    /// How many triggers of rules were one too many.
    pub fn refused(&self) -> u64 {
        crate::lock(&self.captures).refused_total()
    }

    /// Those that run.
    pub fn running(&self) -> Vec<Capture> {
        crate::lock(&self.captures).running().cloned().collect()
    }

    /// Ends a capture; `Err` where there is none, or it is over.
    pub fn end(&self, id: &str) -> Result<(), &'static str> {
        let mut captures = crate::lock(&self.captures);
        match captures.end(id) {
            Some(_) => {
                drop(captures);
                self.tell();
                Ok(())
            }
            None if captures.get(id).is_some() || self.is_known(id) => Err("is over already"),
            None => Err("is no capture; weir capture list shows them"),
        }
    }

    /// Ends those whose time is over; gives how many were refused, by why, since the last time.
    pub fn sweep(&self) -> BTreeMap<CaptureRefusal, u64> {
        let mut captures = crate::lock(&self.captures);
        let over = captures.expire(now_unix_us() / 1000);
        let refused = captures.take_refused();
        drop(captures);
        if over {
            self.tell();
        }
        refused
    }

    /// What every node said, and what it has not said yet.
    pub fn views(&self) -> (Vec<v1::CaptureView>, Vec<v1::CaptureNode>) {
        let running = self.running();
        let nodes = crate::lock(&self.nodes);
        let mut views = Vec::new();
        for (name, node) in nodes.iter() {
            let view = |status: &v1::CaptureStatus| v1::CaptureView {
                node: name.clone(),
                status: Some(status.clone()),
                connected: node.connected,
            };
            views.extend(node.told.captures.iter().map(view));
        }
        for capture in &running {
            let everybody = || nodes.iter().filter(|(_, node)| node.connected);
            let targets: Vec<&String> = match capture.nodes.is_empty() {
                true => everybody().map(|(name, _)| name).collect(),
                false => capture.nodes.iter().collect(),
            };
            for name in targets {
                let node = nodes.get(name);
                if node.is_some_and(|node| node.status(&capture.id).is_some()) {
                    continue;
                }
                views.push(v1::CaptureView {
                    node: name.clone(),
                    status: Some(v1::CaptureStatus {
                        id: capture.id.clone(),
                        state: CaptureState::Waiting.into(),
                        since_unix_us: capture.since_unix_ms * 1000,
                        wanted: Some(described(capture)),
                        ..Default::default()
                    }),
                    connected: node.is_some_and(|node| node.connected),
                });
            }
        }
        let since = |view: &v1::CaptureView| {
            let status = view.status.as_ref();
            status.map_or(0, |it| it.since_unix_us.max(it.until_unix_us))
        };
        views.sort_by_key(|view| (since(view), view.node.clone()));
        let node = |(name, node): (&String, &NodeCaptures)| v1::CaptureNode {
            node: name.clone(),
            connected: node.connected,
            directory: node.told.directory.clone(),
            kept_bytes: node.told.kept_bytes,
            kept_bytes_max: node.told.kept_bytes_max,
        };
        (views, nodes.iter().map(node).collect())
    }

    /// What has failed on nodes lately.
    pub fn problems(&self) -> Vec<v1::SourceProblem> {
        let now_unix_us = now_unix_us();
        let nodes = crate::lock(&self.nodes);
        let mut problems = Vec::new();
        for (name, node) in nodes.iter() {
            let lately = |it: &&v1::CaptureStatus| {
                it.state() == CaptureState::Failed
                    && it.until_unix_us.saturating_add(PROBLEM_LASTS_US) > now_unix_us
            };
            problems.extend(node.told.captures.iter().filter(lately).map(|status| {
                v1::SourceProblem {
                    message: format!(
                        "capture {} on node {name} has failed: {}",
                        status.id, status.why
                    ),
                    next_step: "weir capture list tells what there is of it".to_owned(),
                    warning: true,
                    ..Default::default()
                }
            }));
        }
        problems.truncate(PROBLEMS_MAX);
        problems
    }

    /// The pieces of a node's file of a capture.
    pub fn read(
        &self,
        id: &str,
        node: &str,
    ) -> Result<mpsc::Receiver<Result<v1::CapturePiece, Status>>, Status> {
        let nodes = crate::lock(&self.nodes);
        let has = |(_, it): &(&String, &NodeCaptures)| it.status(id).is_some();
        let mut having = nodes.iter().filter(has);
        let found = match node {
            "" => {
                let first = having.next();
                if having.next().is_some() {
                    let told =
                        format!("capture {id} was made on several nodes; name one with --node");
                    return Err(Status::invalid_argument(told));
                }
                first
            }
            node => having.find(|(name, _)| *name == node),
        };
        let (name, node) = found.ok_or_else(|| {
            Status::not_found(format!(
                "no node has told of a capture {id:?}; weir capture list shows them"
            ))
        })?;
        let file = node.status(id).map(|status| status.file.clone());
        let file = file.filter(|file| !file.is_empty()).ok_or_else(|| {
            let told =
                format!("capture {id} on node {name} has no file: weir capture list says why");
            Status::failed_precondition(told)
        })?;
        let away = || Status::failed_precondition(format!("node {name} is not connected now"));
        let reads = node.reads.as_ref().filter(|_| node.connected);
        let (pieces, receiver) = mpsc::channel(follow::PIECES_WAITING);
        let read = Read { file, pieces };
        let sent = reads.ok_or_else(away)?.try_send(read);
        sent.map_err(|_| {
            Status::resource_exhausted(format!("node {name} is being read by others; try again"))
        })?;
        Ok(receiver)
    }

    fn is_known(&self, id: &str) -> bool {
        let nodes = crate::lock(&self.nodes);
        nodes.values().any(|node| node.status(id).is_some())
    }

    fn tell(&self) {
        self.changed.send_modify(|changes| *changes += 1);
    }

    /// Letters and digits that sort by time and come once.
    fn next_id(&self) -> String {
        let mut last = crate::lock(&self.last_id);
        *last = now_unix_us().max(*last + 1);
        format!("{:x}", *last)
    }

    /// A node opens a stream; its number.
    fn connect(&self, node: &str, reads: mpsc::Sender<Read>) -> Result<u64, &'static str> {
        let mut nodes = crate::lock(&self.nodes);
        if nodes.len() >= NODES_MAX && !nodes.contains_key(node) {
            return Err("the controller knows as many nodes as it can");
        }
        let known = nodes.entry(node.to_owned()).or_default();
        known.stream += 1;
        known.connected = true;
        known.reads = Some(reads);
        Ok(known.stream)
    }

    /// A node's stream is over.
    fn disconnect(&self, node: &str, stream: u64) {
        let mut nodes = crate::lock(&self.nodes);
        if let Some(known) = nodes.get_mut(node).filter(|known| known.stream == stream) {
            known.connected = false;
            known.reads = None;
        }
    }

    fn is_current(&self, node: &str, stream: u64) -> bool {
        let nodes = crate::lock(&self.nodes);
        nodes.get(node).is_some_and(|known| known.stream == stream)
    }

    /// What a node tells of its captures; with the first of a stream those that run are taken over.
    fn told(&self, node: &str, mut told: v1::CaptureStatuses, first: bool) {
        let many = told.captures.len().saturating_sub(STATUSES_MAX);
        told.captures.drain(..many);
        told.directory
            .truncate(told.directory.floor_char_boundary(TEXT_BYTES_MAX));
        for status in &mut told.captures {
            bound(status);
        }
        let mut captures = crate::lock(&self.captures);
        if first {
            let running = told.captures.iter();
            let running = running.filter(|it| it.state() == CaptureState::Running);
            for capture in running.filter_map(|status| taken_over(node, status)) {
                captures.adopt(capture, node);
            }
        }
        let mut nodes = crate::lock(&self.nodes);
        if let Some(known) = nodes.get_mut(node) {
            known.told = told;
        }
        let over = |name: &String, id: &str| {
            let status = nodes.get(name).and_then(|node| node.status(id));
            status.is_some_and(|it| matches!(it.state(), CaptureState::Done | CaptureState::Failed))
        };
        let done = captures.running().filter(|it| {
            it.is_on(node) && !it.nodes.is_empty() && it.nodes.iter().all(|name| over(name, &it.id))
        });
        let done: Vec<String> = done.map(|it| it.id.clone()).collect();
        drop(nodes);
        for id in &done {
            captures.end(id);
        }
        drop(captures);
        if !done.is_empty() {
            self.tell();
        }
    }
}

impl NodeCaptures {
    fn status(&self, id: &str) -> Option<&v1::CaptureStatus> {
        self.told
            .captures
            .iter()
            .rev()
            .find(|status| status.id == id)
    }
}

impl State {
    /// Begins a capture, unless it is one too many.
    pub fn start_capture(
        &self,
        by: &str,
        because: String,
        subject: Subject,
        limits: &weir_model::Capture,
    ) -> Result<Capture, CaptureRefusal> {
        let now_unix_ms = now_unix_us() / 1000;
        let nodes = match &subject {
            Subject::Flow { node, .. } => vec![node.clone()],
            Subject::Workload(name) => self.nodes_of(name),
        };
        let capture = Capture {
            id: self.capturing.next_id(),
            by: by.to_owned(),
            because: because.chars().take(500).collect(),
            subject,
            nodes,
            packets_max: limits.packets_max(),
            bytes_max: limits.bytes_max(),
            since_unix_ms: now_unix_ms,
            until_unix_ms: now_unix_ms.saturating_add(limits.seconds().saturating_mul(1000)),
        };
        crate::lock(&self.capturing.captures).add(capture.clone())?;
        self.capturing.tell();
        Ok(capture)
    }

    /// Where a workload runs; empty: anywhere.
    fn nodes_of(&self, workload: &str) -> Vec<String> {
        let name = workload.split_once('/');
        let located = name.and_then(|(space, name)| self.document(Kind::Workload, space, name));
        match located.as_ref().map(|located| &located.value) {
            Some(Document::Workload(workload)) => workload.spec.nodes.clone(),
            _ => Vec::new(),
        }
    }

    /// All that is wanted of a node now.
    fn wanted_of(&self, node: &str) -> Vec<v1::WantedCapture> {
        let now_unix_ms = now_unix_us() / 1000;
        let running = self.capturing.running().into_iter();
        let here = running.filter(|it| it.is_on(node) && it.until_unix_ms > now_unix_ms);
        here.map(|capture| v1::WantedCapture {
            what: Some(self.what(&capture.subject)),
            left_ms: capture.until_unix_ms - now_unix_ms,
            ..described(&capture)
        })
        .collect()
    }

    fn what(&self, subject: &Subject) -> What {
        match subject {
            Subject::Flow {
                id,
                zone,
                protocol,
                client,
                server,
                ..
            } => What::Flow(v1::CaptureFlow {
                client_address: octets(client.0),
                server_address: octets(server.0),
                client_port: client.1.into(),
                server_port: server.1.into(),
                protocol: (*protocol).into(),
                zone: *zone,
                flow_id: *id,
            }),
            Subject::Workload(name) => {
                let name = name.split_once('/');
                let found =
                    name.and_then(|(space, name)| self.document(Kind::Workload, space, name));
                let Some(Document::Workload(workload)) = found.as_ref().map(|it| &it.value) else {
                    return What::Workload(v1::CaptureWorkload::default());
                };
                let network = |network: &weir_model::Network| v1::CaptureNetwork {
                    network: octets(network.net().addr()),
                    prefix_bits: network.net().prefix_len().into(),
                };
                let networks = workload.spec.addresses.iter().take(NETWORKS_MAX);
                What::Workload(v1::CaptureWorkload {
                    networks: networks.map(network).collect(),
                    zone: workload.spec.zone,
                })
            }
        }
    }
}

/// What is said of a capture beside whose packets, and how long it has.
fn described(capture: &Capture) -> v1::WantedCapture {
    v1::WantedCapture {
        id: capture.id.clone(),
        by: capture.by.clone(),
        because: capture.because.clone(),
        of: capture.subject.shown(),
        packets_max: capture.packets_max,
        bytes_max: capture.bytes_max,
        ..Default::default()
    }
}

/// What a node makes for a controller of before.
fn taken_over(node: &str, status: &v1::CaptureStatus) -> Option<Capture> {
    let wanted = status.wanted.as_ref()?;
    let subject = match wanted.what.as_ref()? {
        What::Flow(flow) => Subject::Flow {
            node: node.to_owned(),
            id: flow.flow_id,
            zone: flow.zone,
            protocol: u8::try_from(flow.protocol).ok()?,
            client: (
                ip_address(&flow.client_address)?,
                u16::try_from(flow.client_port).ok()?,
            ),
            server: (
                ip_address(&flow.server_address)?,
                u16::try_from(flow.server_port).ok()?,
            ),
        },
        What::Workload(_) => Subject::Workload(wanted.of.clone()),
    };
    let now_unix_ms = now_unix_us() / 1000;
    let left_ms = wanted.left_ms.min(weir_model::Capture::SECONDS_MAX * 1000);
    let since_unix_ms = (status.since_unix_us / 1000).min(now_unix_ms);
    Some(Capture {
        id: wanted.id.clone(),
        by: wanted.by.clone(),
        because: wanted.because.clone(),
        subject,
        nodes: vec![node.to_owned()],
        packets_max: wanted.packets_max,
        bytes_max: wanted.bytes_max,
        since_unix_ms,
        until_unix_ms: since_unix_ms.saturating_add(left_ms),
    })
}

fn bound(status: &mut v1::CaptureStatus) {
    let wanted = status.wanted.iter_mut();
    let of_wanted = wanted.flat_map(|it| [&mut it.id, &mut it.by, &mut it.because, &mut it.of]);
    let own = [&mut status.id, &mut status.file, &mut status.why];
    for text in own.into_iter().chain(of_wanted) {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    }
    if let Some(What::Workload(workload)) = status
        .wanted
        .as_mut()
        .and_then(|wanted| wanted.what.as_mut())
    {
        workload.networks = Vec::new();
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}
