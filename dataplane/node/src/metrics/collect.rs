//! From what others read anyway to the metrics.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::watch;
use weir_api::v1;
use weir_metrics::Reading;
use weir_wire::Reason;

use super::NodeMetric;
use crate::agent::{Clock, Tally};
use crate::config::{Config, FailMode};
use crate::counters::STAGE_NAMES;
use crate::event::EventRing;
use crate::status::Status;
use crate::worker::{Page, Shared};

/// Of which packets the residence is known.
const QUANTILES: [&str; 4] = ["0.5", "0.99", "0.999", "1"];

/// Where metrics are read.
pub struct Sources {
    /// The configuration of the start.
    pub config: Config,
    /// What the workers tell.
    pub shared: Arc<Shared>,
    /// Their rings.
    pub rings: Vec<EventRing>,
    /// What the agent counts.
    pub tally: Arc<Tally>,
    /// Ports and buffers.
    pub status: Arc<dyn Status>,
    /// Captures; None where none are made.
    pub captures: Option<watch::Receiver<v1::CaptureStatuses>>,
    /// Whether DPDK's memory is hugepages.
    pub huge_pages: bool,
}

impl Sources {
    /// What the metrics are worth now. `silent`: how long each worker has made no progress.
    pub fn reading(&self, silent: &[Duration]) -> Reading<NodeMetric> {
        let mut reading = Reading::default();
        let workers = self.shared.pages.len();
        // Each is a moment of its worker: in each, and so in their sum, frames balance.
        let pages: Vec<Page> = (0..workers).map(|it| self.shared.page(it)).collect();
        self.process(&mut reading);
        frames(&pages, &mut reading);
        self.fail_mode(&mut reading);
        self.ports(&mut reading);
        self.bounded(&pages, &mut reading);
        stages(&pages, &mut reading);
        self.workers(&pages, silent, &mut reading);
        self.told(&pages, &mut reading);
        self.policy(&mut reading);
        self.looked_for(&mut reading);
        reading
    }

    fn process(&self, reading: &mut Reading<NodeMetric>) {
        let version = env!("CARGO_PKG_VERSION");
        reading.put_by(NodeMetric::BuildInfo, &[version], true);
        let started = Clock::started_at(self.shared.started).unix_us(0);
        reading.put(NodeMetric::StartTime, started as f64 / 1e6);
        reading.put(NodeMetric::HugepagesUsed, self.huge_pages);
        if let Some(bytes) = weir_metrics::resident_bytes() {
            reading.put(NodeMetric::ResidentMemory, bytes);
        }
    }

    fn fail_mode(&self, reading: &mut Reading<NodeMetric>) {
        for (action, frames) in ["forwarded", "dropped"].iter().zip(&self.shared.bypassed) {
            let frames = frames.load(Ordering::Relaxed);
            reading.put_by(NodeMetric::FailModeFrames, &[action], frames);
        }
        for pair in &self.config.pair {
            let open = pair.fail_mode == FailMode::Open;
            reading.put_by(NodeMetric::PairFailOpen, &[&pair.name], open);
        }
    }

    fn ports(&self, reading: &mut Reading<NodeMetric>) {
        for device in self.status.devices() {
            let (port, stats) = (device.port.as_str(), &device.stats);
            let info = [port, &device.pair, device.role, &device.driver];
            reading.put_by(NodeMetric::PortInfo, &info, true);
            reading.put_by(NodeMetric::PortUp, &[port], device.up);
            for (metric, received, transmitted) in [
                (NodeMetric::PortPackets, stats.received, stats.transmitted),
                (
                    NodeMetric::PortBytes,
                    stats.received_bytes,
                    stats.transmitted_bytes,
                ),
                (
                    NodeMetric::PortErrors,
                    stats.receive_errors,
                    stats.transmit_errors,
                ),
            ] {
                reading.put_by(metric, &[port, "receive"], received);
                reading.put_by(metric, &[port, "transmit"], transmitted);
            }
            reading.put_by(NodeMetric::PortMissed, &[port], stats.missed);
            reading.put_by(NodeMetric::PortNoBuffer, &[port], stats.no_buffer);
        }
    }

    /// What there is, and how much of it there can be.
    fn bounded(&self, pages: &[Page], reading: &mut Reading<NodeMetric>) {
        if let Some((free, buffers)) = self.status.frame_buffers() {
            reading.put(NodeMetric::FrameBuffers, buffers);
            reading.put(NodeMetric::FrameBuffersFree, free);
        }
        for (metric, name) in [
            (NodeMetric::Flows, "flows"),
            (NodeMetric::FlowsLimit, "flow_capacity"),
            (NodeMetric::FlowsMade, "flows_made"),
            (NodeMetric::FlowsEvicted, "flows_evicted"),
            (NodeMetric::HeldPackets, "held_packets"),
            (NodeMetric::HeldFragments, "held_fragments"),
            (NodeMetric::ReassemblyBytes, "reassembly_bytes"),
        ] {
            reading.put(metric, gauge(pages, name));
        }
        let (limits, workers) = (&self.config.limits, pages.len());
        let reassembly = (limits.reassembly_mb << 20) * workers;
        reading.put(NodeMetric::ReassemblyLimit, reassembly);
        reading.put(NodeMetric::HeldPacketsLimit, limits.held_packets * workers);
    }

    fn workers(&self, pages: &[Page], silent: &[Duration], reading: &mut Reading<NodeMetric>) {
        for (worker, (page, core)) in pages.iter().zip(&self.config.workers.cores).enumerate() {
            let (name, core) = (worker.to_string(), core.to_string());
            let alive = self.shared.alive[worker].load(Ordering::Relaxed);
            reading.put_by(NodeMetric::WorkerUp, &[&name, &core], alive);
            let polls = self.shared.heartbeat[worker].load(Ordering::Relaxed);
            reading.put_by(NodeMetric::WorkerPolls, &[&name], polls);
            let busy = seconds(page.stages.cycles.iter().sum());
            reading.put_by(NodeMetric::WorkerBusy, &[&name], busy);
            if let Some(silent) = silent.get(worker) {
                reading.put_by(NodeMetric::WorkerSilent, &[&name], *silent);
            }
        }
    }

    fn told(&self, pages: &[Page], reading: &mut Reading<NodeMetric>) {
        let waiting: usize = self.rings.iter().map(|ring| ring.events.len()).sum();
        let limit: usize = self.rings.iter().map(|ring| ring.events.capacity()).sum();
        reading.put(NodeMetric::EventsWaiting, waiting);
        reading.put(NodeMetric::EventsLimit, limit);
        let rings = self.rings.iter().map(|ring| &*ring.lost);
        let rings: u64 = rings.map(|lost| lost.load(Ordering::Relaxed)).sum();
        let tally = &self.tally;
        let eve = tally.eve_lost.load(Ordering::Relaxed);
        let controller = tally.records_lost.load(Ordering::Relaxed);
        for (boundary, lost) in [("ring", rings), ("controller", controller), ("eve", eve)] {
            reading.put_by(NodeMetric::EventsLost, &[boundary], lost);
        }
        let waiting = tally.batches_waiting.load(Ordering::Relaxed);
        reading.put(NodeMetric::BatchesWaiting, waiting);
        for (label, name) in [
            ("budget", "alarms_suppressed"),
            ("threshold", "signatures_suppressed"),
        ] {
            reading.put_by(NodeMetric::AlarmsSuppressed, &[label], gauge(pages, name));
        }
        for (label, name) in [
            ("signatures", "signatures_not_looked_for"),
            ("sensors", "sensors_not_looked_for"),
        ] {
            reading.put_by(NodeMetric::NotLookedFor, &[label], gauge(pages, name));
        }
        for (kind, severity, count) in tally.alerts() {
            reading.put_by(NodeMetric::Alerts, &[kind, &severity.to_string()], count);
        }
        for ((threat, blocked), count) in tally.threats() {
            let blocked = if blocked { "true" } else { "false" };
            reading.put_by(NodeMetric::Threats, &[&threat, blocked], count);
        }
        for (action, mode, count) in tally.verdicts() {
            reading.put_by(NodeMetric::Verdicts, &[action, mode], count);
        }
    }

    fn policy(&self, reading: &mut Reading<NodeMetric>) {
        let snapshot = self.shared.snapshot.load_full();
        let spec = snapshot.as_ref().map(|snapshot| snapshot.spec());
        let version = snapshot.as_ref().map_or(0, |it| it.version());
        reading.put(NodeMetric::PolicyVersion, version);
        let generation = self.shared.generation.load(Ordering::Relaxed);
        reading.put(NodeMetric::PolicyGeneration, generation);
        reading.put(NodeMetric::PolicyRules, spec.map_or(0, |it| it.rules.len()));
        let identities = spec.map_or(0, |it| it.identities.len());
        reading.put(NodeMetric::PolicyIdentities, identities);
        let became = self.tally.applications();
        reading.put(NodeMetric::PolicyApplied, became.applied);
        reading.put(NodeMetric::PolicyRefused, became.refused);
        reading.put(NodeMetric::PolicyLastApplied, became.applied_unix_s);
        reading.put(NodeMetric::PolicyLastApplyOk, !became.newest_refused);
        let unsaved = self.tally.unsaved.load(Ordering::Relaxed);
        reading.put(NodeMetric::PolicySaved, !unsaved);
        if self.config.controller.address.is_none() {
            return;
        }
        let streams = [
            ("policy", &self.tally.policy_stream),
            ("observations", &self.tally.observations_stream),
        ];
        for (stream, stands) in streams {
            let stands = stands.load(Ordering::Relaxed);
            reading.put_by(NodeMetric::ControllerConnected, &[stream], stands);
        }
        let certificate = self.config.controller.tls_certificate.as_ref();
        if let Some(ends) = certificate.and_then(|file| expiry(file)) {
            reading.put(NodeMetric::CertificateExpiry, ends);
        }
    }

    fn looked_for(&self, reading: &mut Reading<NodeMetric>) {
        let [loaded, refused] = &self.shared.signature_counts;
        reading.put(NodeMetric::SignaturesLoaded, loaded.load(Ordering::Relaxed));
        reading.put(
            NodeMetric::SignaturesRefused,
            refused.load(Ordering::Relaxed),
        );
        let Some(captures) = &self.captures else {
            return;
        };
        let captures = captures.borrow();
        let running = captures.captures.iter();
        let running = running.filter(|it| it.state() == v1::CaptureState::Running);
        reading.put(NodeMetric::CapturesRunning, running.count());
        let lost: u64 = captures.captures.iter().map(|it| it.lost).sum();
        reading.put(NodeMetric::CaptureLost, lost);
        reading.put(NodeMetric::CaptureBytes, captures.kept_bytes);
        reading.put(NodeMetric::CaptureLimit, captures.kept_bytes_max);
    }
}

/// received + injected = transmitted + tapped + handed over + dropped + held.
fn frames(pages: &[Page], reading: &mut Reading<NodeMetric>) {
    let sum = |of: fn(&Page) -> u64| pages.iter().map(of).sum::<u64>();
    reading.put(NodeMetric::FramesReceived, sum(|it| it.counts.received));
    reading.put(NodeMetric::FramesInjected, sum(|it| it.counts.injected));
    reading.put(
        NodeMetric::FramesTransmitted,
        sum(|it| it.counts.transmitted),
    );
    reading.put(NodeMetric::FramesTapped, sum(|it| it.counts.tapped));
    reading.put(
        NodeMetric::FramesHandedOver,
        sum(|it| it.counts.handed_over),
    );
    reading.put(NodeMetric::FramesHeld, sum(|it| it.held));
    reading.put(NodeMetric::FramesRefused, sum(|it| it.refused));
    for reason in Reason::ALL {
        let index = *reason as usize;
        let dropped: u64 = pages.iter().map(|it| it.counts.dropped[index]).sum();
        let spared: u64 = pages.iter().map(|it| it.counts.spared[index]).sum();
        reading.put_by(NodeMetric::FramesDropped, &[reason.name()], dropped);
        reading.put_by(NodeMetric::FramesSpared, &[reason.name()], spared);
    }
}

fn stages(pages: &[Page], reading: &mut Reading<NodeMetric>) {
    for (stage, name) in STAGE_NAMES.iter().enumerate() {
        let packets: u64 = pages.iter().map(|it| it.stages.packets[stage]).sum();
        let cycles: u64 = pages.iter().map(|it| it.stages.cycles[stage]).sum();
        reading.put_by(NodeMetric::StagePackets, &[name], packets);
        reading.put_by(NodeMetric::StageBusy, &[name], seconds(cycles));
    }
    for (index, quantile) in QUANTILES.iter().enumerate() {
        let slowest = pages.iter().map(|it| it.residence_ns[index]).max();
        let slowest = Duration::from_nanos(slowest.unwrap_or(0));
        reading.put_by(NodeMetric::Residence, &[quantile], slowest);
    }
}

/// A gauge of the pages by its name, over all workers.
fn gauge(pages: &[Page], name: &str) -> u64 {
    let gauges = pages.iter().flat_map(|page| &page.gauges);
    gauges
        .filter(|(it, _)| *it == name)
        .map(|(_, value)| value)
        .sum()
}

fn seconds(cycles: u64) -> f64 {
    match weir_dpdk::cycles_per_second() {
        0 => 0.0,
        hz => cycles as f64 / hz as f64,
    }
}

/// When the certificate in this file ends, in seconds since 1970.
fn expiry(file: &Path) -> Option<f64> {
    let ends = weir_metrics::certificate_ends(file)?;
    Some(ends.duration_since(UNIX_EPOCH).ok()?.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Device;

    struct Ports;

    impl Status for Ports {
        fn ports(&self) -> Vec<v1::PortCounters> {
            Vec::new()
        }

        fn workers(&self) -> Vec<v1::WorkerState> {
            Vec::new()
        }

        fn devices(&self) -> Vec<Device> {
            vec![Device {
                port: "wire \"0\"".into(),
                pair: "uplink".into(),
                role: "inline",
                stats: weir_dpdk::PortStats {
                    missed: 7,
                    ..Default::default()
                },
                ..Device::default()
            }]
        }

        fn frame_buffers(&self) -> Option<(u32, u32)> {
            Some((3, 8))
        }
    }

    fn sources(workers: usize) -> Sources {
        let mut config = Config::default();
        config.workers.cores = (0..workers).collect();
        config.controller.address = Some("unix:/nowhere".into());
        Sources {
            config,
            shared: Shared::new(workers, 16),
            rings: vec![EventRing::new(8)],
            tally: Arc::default(),
            status: Arc::new(Ports),
            captures: None,
            huge_pages: false,
        }
    }

    /// The sum of the samples that begin with this.
    fn sum(text: &str, begin: &str) -> u64 {
        let samples = text.lines().filter(|line| line.starts_with(begin));
        let value = |line: &str| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap();
        samples.map(value).sum()
    }

    #[test]
    fn frames_of_all_workers_balance() {
        let sources = sources(2);
        for worker in 0..2 {
            let mut page = sources.shared.pages[worker].lock().unwrap();
            let counts = &mut page.counts;
            (counts.received, counts.injected, counts.transmitted) = (100, 4, 50);
            (counts.tapped, counts.handed_over) = (6, 7);
            counts.dropped[Reason::PolicyDefault as usize] = 30;
            counts.dropped[Reason::TcpWindow as usize] = 9;
            counts.spared[Reason::TcpWindow as usize] = 5;
            page.held = 2;
            page.gauges = vec![("flows", 11), ("flows_made", 20)];
        }
        let text = sources.reading(&[]).text();
        let of = |name: &str| sum(&text, &format!("weir_node_frames_{name}"));
        assert_eq!(of("received_total"), 200);
        let went = [
            "transmitted_total",
            "tapped_total",
            "handed_over_total",
            "dropped_total",
            "held",
        ];
        let went: u64 = went.iter().map(|name| of(name)).sum();
        assert_eq!(of("received_total") + of("injected_total"), went);
        assert_eq!(of("dropped_total{reason=\"policy_default\"}"), 60);
        assert_eq!(of("spared_total"), 10);
        assert_eq!(sum(&text, "weir_node_flows "), 22);
        assert_eq!(sum(&text, "weir_node_flows_made_total "), 40);
    }

    #[test]
    fn every_metric_of_the_table_is_told() {
        let mut sources = sources(1);
        let statuses = v1::CaptureStatuses::default();
        sources.captures = Some(watch::channel(statuses).1);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("node.pem");
        std::fs::write(&file, CERTIFICATE).unwrap();
        sources.config.controller.tls_certificate = Some(file);
        sources.config.pair = vec![crate::config::parse_pair("uplink=a,b,open").unwrap()];
        let alarms = crate::agent::Alarms::default();
        alarms.forged_policy("forged", 1, 1);
        sources.tally.alert(&alarms.take()[0]);
        let text = sources.reading(&[Duration::from_secs(1)]).text();
        let missing = <NodeMetric as weir_metrics::Table>::ALL
            .iter()
            .filter(|metric| !text.lines().any(|line| line.starts_with(metric.name)))
            .map(|metric| metric.name);
        assert_eq!(missing.collect::<Vec<_>>(), Vec::<&str>::new());
        assert!(text.contains("weir_node_port_missed_packets_total{port=\"wire \\\"0\\\"\"} 7\n"));
        assert!(text.contains("weir_node_pair_fail_open{pair=\"uplink\"} 1\n"));
        assert!(
            text.contains("weir_node_certificate_expiry_timestamp_seconds 4102418648.0\n"),
            "{text}"
        );
        assert!(text.contains("weir_node_worker_silent_seconds{worker=\"0\"} 1.0\n"));
    }

    /// Valid until the end of 2099; its key is gone.
    const CERTIFICATE: &str = include_str!("certificate.pem");
}
