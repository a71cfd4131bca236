//! `weir path`: the packet's way through each node.

use std::collections::BTreeMap;

use serde::Serialize;
use weir_api::v1;

use crate::Answer;
use crate::args::Client;
use crate::error::Failure;
use crate::output::{Output, Page, Tone, View};
use crate::text;

#[derive(Serialize)]
struct Path {
    nodes: Vec<NodeView>,
}

#[derive(Serialize)]
struct NodeView {
    node: String,
    connected: bool,
    counted_at: String,
    stages: Vec<StageView>,
    ports: Vec<PortView>,
    workers: Vec<WorkerView>,
    drops_by_reason: BTreeMap<String, u64>,
    gauges: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    residence_ns: Option<Residence>,
}

#[derive(Serialize)]
struct StageView {
    stage: String,
    packets: u64,
    cycles: u64,
    cycles_per_packet: u64,
}

#[derive(Serialize)]
struct PortView {
    port: String,
    role: String,
    pair: String,
    link_up: bool,
    received: u64,
    transmitted: u64,
    dropped: u64,
    missed: u64,
}

#[derive(Serialize)]
struct WorkerView {
    worker: u32,
    core: u32,
    state: String,
}

#[derive(Serialize)]
struct Residence {
    p50: u64,
    p99: u64,
    p999: u64,
    max: u64,
}

impl NodeView {
    fn of(status: v1::NodeStatus) -> Self {
        let counters = status.counters.unwrap_or_default();
        let stage = |stage: v1::StageCounters| StageView {
            cycles_per_packet: stage.cycles.checked_div(stage.packets).unwrap_or(0),
            stage: stage.stage,
            packets: stage.packets,
            cycles: stage.cycles,
        };
        let port = |port: v1::PortCounters| PortView {
            port: port.port,
            role: port.role,
            pair: port.pair,
            link_up: port.link_up,
            received: port.received,
            transmitted: port.transmitted,
            dropped: port.dropped,
            missed: port.missed,
        };
        let worker = |worker: v1::WorkerState| WorkerView {
            worker: worker.worker,
            core: worker.core,
            state: worker.state,
        };
        Self {
            node: status.node,
            connected: status.connected,
            counted_at: text::time(counters.time_unix_us),
            stages: counters.stages.into_iter().map(stage).collect(),
            ports: counters.ports.into_iter().map(port).collect(),
            workers: counters.workers.into_iter().map(worker).collect(),
            drops_by_reason: counters.drops_by_reason,
            gauges: counters.gauges,
            residence_ns: match counters.residence_percentiles_ns.as_slice() {
                &[p50, p99, p999, max] => Some(Residence {
                    p50,
                    p99,
                    p999,
                    max,
                }),
                _ => None,
            },
        }
    }

    fn print(&self, page: &mut Page) {
        let gone = if self.connected { "" } else { " (gone)" };
        if self.counted_at.is_empty() {
            page.line(format!("node {}{gone}: no counters yet", self.node));
            return;
        }
        page.line(format!(
            "node {}{gone}, counted at {}",
            self.node, self.counted_at
        ));
        page.gap();
        let names: Vec<&str> = self
            .stages
            .iter()
            .map(|stage| stage.stage.as_str())
            .collect();
        page.line(names.join(" → "));
        let row = |stage: &StageView| {
            let cells = [stage.packets, stage.cycles_per_packet].map(|number| number.to_string());
            (
                Tone::Plain,
                [vec![stage.stage.clone()], cells.to_vec()].concat(),
            )
        };
        let rows = self.stages.iter().map(row).collect();
        page.columns(
            &["stage", "packets", "cycles/packet"],
            rows,
            "no stages reported",
        );
        page.gap();
        let row = |port: &PortView| {
            let tone = if port.link_up { Tone::Plain } else { Tone::Bad };
            let link = if port.link_up { "up" } else { "down" }.to_owned();
            let counts = [port.received, port.transmitted, port.dropped, port.missed];
            let words = vec![
                port.port.clone(),
                port.role.clone(),
                port.pair.clone(),
                link,
            ];
            (
                tone,
                [words, counts.map(|number| number.to_string()).to_vec()].concat(),
            )
        };
        let headers = [
            "port",
            "role",
            "pair",
            "link",
            "received",
            "transmitted",
            "dropped",
            "missed",
        ];
        page.columns(
            &headers,
            self.ports.iter().map(row).collect(),
            "no ports reported",
        );
        self.print_counts(page, "dropped because", &self.drops_by_reason);
        self.print_counts(page, "now", &self.gauges);
        if let Some(Residence {
            p50,
            p99,
            p999,
            max,
        }) = self.residence_ns
        {
            page.gap();
            page.line(format!(
                "a packet stays p50 {p50} ns, p99 {p99} ns, p99.9 {p999} ns, at most {max} ns"
            ));
        }
        if !self.workers.is_empty() {
            page.gap();
            let row = |worker: &WorkerView| {
                let tone = if worker.state == "running" {
                    Tone::Plain
                } else {
                    Tone::Warning
                };
                let (number, core) = (worker.worker.to_string(), worker.core.to_string());
                (tone, vec![number, core, worker.state.clone()])
            };
            page.columns(
                &["worker", "core", "state"],
                self.workers.iter().map(row).collect(),
                "",
            );
        }
    }

    fn print_counts(&self, page: &mut Page, header: &str, counts: &BTreeMap<String, u64>) {
        if counts.is_empty() {
            return;
        }
        page.gap();
        let row =
            |(name, count): (&String, &u64)| (Tone::Plain, vec![name.clone(), count.to_string()]);
        page.columns(&[header, "count"], counts.iter().map(row).collect(), "");
    }
}

impl View for Path {
    fn table(&self, page: &mut Page) {
        if self.nodes.is_empty() {
            page.line("no node has reported");
        }
        for node in &self.nodes {
            page.gap();
            node.print(page);
        }
    }
}

/// Asks and prints.
pub async fn run(
    client: &mut Client,
    node: Option<String>,
    output: &mut Output,
) -> Result<Answer, Failure> {
    let request = v1::PathRequest {
        node: node.unwrap_or_default(),
    };
    let reply = client.path(request).await?.into_inner();
    output.print(&Path {
        nodes: reply.nodes.into_iter().map(NodeView::of).collect(),
    })?;
    Ok(Answer::Yes)
}
