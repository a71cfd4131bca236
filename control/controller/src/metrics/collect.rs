//! From the controller's state to the metrics.

use std::time::{Duration, Instant, UNIX_EPOCH};

use weir_metrics::{Reading, Told};
use weir_service::Standing;

use super::{ControllerMetric, Telling};
use crate::source::Source;

/// How often what was learned is looked at as a whole.
const COVERAGE_INTERVAL: Duration = Duration::from_secs(60);

/// How many workloads are known well enough.
#[derive(Clone, Copy, Debug, Default)]
pub struct Coverage {
    looked: Option<Instant>,
    ready: u64,
    learning: u64,
}

type Metrics = Reading<ControllerMetric>;

impl Telling {
    /// What the metrics are worth now.
    pub(super) fn reading(&self) -> Metrics {
        let mut reading = Reading::default();
        self.process(&mut reading);
        self.policy(&mut reading);
        self.nodes(&mut reading);
        self.election(&mut reading);
        self.learned(&mut reading);
        for ((what, verdict), histogram) in self.state.meters.reviews() {
            reading.put_by(ControllerMetric::Reviews, &[what, verdict], &histogram);
        }
        reading
    }

    fn process(&self, reading: &mut Metrics) {
        let source = match &self.state.source {
            Source::Files(_) => "files",
            Source::Kubernetes(_) => "kubernetes",
        };
        let version = env!("CARGO_PKG_VERSION");
        reading.put_by(ControllerMetric::BuildInfo, &[version, source], true);
        let ready = matches!(self.standing(), Standing::Working(_));
        reading.put(ControllerMetric::Ready, ready);
        if let Some(bytes) = weir_metrics::resident_bytes() {
            reading.put(ControllerMetric::ResidentMemory, bytes);
        }
        let ends = self.certificate.as_deref();
        let ends = ends.and_then(weir_metrics::certificate_ends);
        if let Some(ends) = ends.and_then(|it| it.duration_since(UNIX_EPOCH).ok()) {
            reading.put(ControllerMetric::CertificateExpiry, ends);
        }
    }

    fn policy(&self, reading: &mut Metrics) {
        let (state, meters) = (&self.state, &self.state.meters);
        reading.put(ControllerMetric::SourceSynced, state.is_synced());
        if let Source::Kubernetes(source) = &state.source {
            reading.put(ControllerMetric::WatchFailures, source.watch_failures());
        }
        for ((kind, standing), count) in state.pipeline.standings.counts() {
            let labels = [kind.name(), standing];
            reading.put_by(ControllerMetric::Documents, &labels, count);
        }
        let problems = state.problems();
        let warnings = problems.iter().filter(|problem| problem.warning).count();
        let errors = problems.len() - warnings;
        for (severity, count) in [("error", errors), ("warning", warnings)] {
            reading.put_by(ControllerMetric::Problems, &[severity], count);
        }
        reading.put(ControllerMetric::PolicyVersion, state.version());
        reading.put(ControllerMetric::Publish, meters.publish());
        reading.put(ControllerMetric::PublishFailures, meters.unpublished());
        let (changes, documents) = state.pipeline.waiting();
        for (what, count) in [("changes", changes), ("documents", documents)] {
            reading.put_by(ControllerMetric::Waiting, &[what], count);
        }
    }

    fn nodes(&self, reading: &mut Metrics) {
        let counts = self.state.nodes.counts(self.state.version());
        for (label, count) in [
            ("connected", counts.connected),
            ("behind", counts.behind),
            ("refusing", counts.refusing),
            ("absent", counts.absent),
        ] {
            reading.put_by(ControllerMetric::Nodes, &[label], count);
        }
        let lost = counts.lost_records;
        reading.put(ControllerMetric::NodeRecordsLost, lost);
        reading.put(ControllerMetric::Push, self.state.meters.push());
    }

    fn election(&self, reading: &mut Metrics) {
        let cluster = &self.state.cluster;
        let (leads, known) = match self.state.source {
            Source::Files(_) => (true, true),
            Source::Kubernetes(_) => {
                let leader = cluster.leader();
                (leader == Some(cluster.identity()), leader.is_some())
            }
        };
        reading.put(ControllerMetric::Leader, leads);
        reading.put(ControllerMetric::LeaderKnown, known);
    }

    fn learned(&self, reading: &mut Metrics) {
        let observed = &self.state.observed;
        let conversations = observed.with_conversations(|all| all.count());
        reading.put(ControllerMetric::Conversations, conversations);
        let coverage = self.coverage();
        for (label, count) in [("ready", coverage.ready), ("learning", coverage.learning)] {
            reading.put_by(ControllerMetric::LearnedWorkloads, &[label], count);
        }
        let alerts = observed.alert_counts();
        for (what, count) in [
            ("raised", alerts.raised),
            ("refused", alerts.refused),
            ("forgotten", alerts.forgotten),
        ] {
            reading.put_by(ControllerMetric::Alerts, &[what], count);
        }
        if let Some(bytes) = self.state.store.bytes() {
            reading.put(ControllerMetric::StoreBytes, bytes);
        }
        let usable = self.state.store_problem().is_none();
        reading.put(ControllerMetric::StoreUsable, usable);
    }

    fn coverage(&self) -> Coverage {
        let mut kept = crate::lock(&self.coverage);
        if kept
            .looked
            .is_some_and(|it| it.elapsed() < COVERAGE_INTERVAL)
        {
            return *kept;
        }
        let (summaries, newest_us) = {
            let observed = &self.state.observed;
            observed.with_conversations(|all| (all.summaries(), all.newest_us()))
        };
        let ready = summaries.values();
        let ready = ready
            .filter(|it| it.tally.coverage(newest_us).ready)
            .count() as u64;
        *kept = Coverage {
            looked: Some(Instant::now()),
            ready,
            learning: summaries.len() as u64 - ready,
        };
        *kept
    }
}
