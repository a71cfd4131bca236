//! Observations to the controller: events out of the workers' rings, in words, in batches that the
//! controller acknowledges.
//!
//! Memory bound: [`BATCHES_WAITING`] batches of [`RECORDS_PER_BATCH`] records. When the controller
//! does not take them the oldest batch makes way; what is lost is counted and reported.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Mutex, Notify, mpsc};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::transport::Channel;
use tracing::warn;
use weir_api::v1::observations_client::ObservationsClient;
use weir_api::v1::{NodeCounters, ObservationBatch, StageCounters};
use weir_policy::Snapshot;
use weir_wire::Reason;

use super::answers::Answers;
use super::policy::stopped;
use super::records::{Clock, describe};
use super::{Agent, Alarms, ControllerAddress, EvidenceFiles, Tally, captures, names};
use crate::capture::CaptureDesk;
use crate::counters::STAGE_NAMES;
use crate::eve::EveFile;
use crate::event::{EventKind, EventRing};
use crate::status::Status;
use crate::worker::Shared;

/// Most records in a batch.
const RECORDS_PER_BATCH: usize = 1024;
/// Most batches that wait for the controller.
const BATCHES_WAITING: usize = 256;
/// How often the rings are emptied.
const DRAIN_INTERVAL: Duration = Duration::from_millis(20);
/// Counters go along this often, in drain intervals.
const COUNTERS_EVERY: u32 = 25;
/// How long to wait before the report stream is opened again.
const RETRY: Duration = Duration::from_millis(500);

/// Batches on their way to the controller.
#[derive(Clone)]
pub struct Batches {
    waiting: Arc<Mutex<VecDeque<ObservationBatch>>>,
    more: Arc<Notify>,
    tally: Arc<Tally>,
}

impl Batches {
    fn new(tally: Arc<Tally>) -> Self {
        Self {
            waiting: Arc::default(),
            more: Arc::default(),
            tally,
        }
    }

    async fn add(&self, batch: ObservationBatch) {
        let mut waiting = self.waiting.lock().await;
        if waiting.len() >= BATCHES_WAITING
            && let Some(oldest) = waiting.pop_front()
        {
            let records = oldest.flows.len() as u64;
            self.tally
                .records_lost
                .fetch_add(records, Ordering::Relaxed);
        }
        waiting.push_back(batch);
        self.count(&waiting);
        self.more.notify_one();
    }

    /// The batch with the lowest sequence number above `sent`.
    async fn next_after(&self, sent: u64) -> Option<ObservationBatch> {
        self.waiting
            .lock()
            .await
            .iter()
            .find(|batch| batch.sequence > sent)
            .cloned()
    }

    async fn acknowledged(&self, sequence: u64) {
        let mut waiting = self.waiting.lock().await;
        waiting.retain(|batch| batch.sequence > sequence);
        self.count(&waiting);
    }

    fn count(&self, waiting: &VecDeque<ObservationBatch>) {
        let count = waiting.len() as u64;
        self.tally.batches_waiting.store(count, Ordering::Relaxed);
    }
}

/// Empties the rings.
pub struct Observer {
    node: String,
    shared: Arc<Shared>,
    rings: Vec<EventRing>,
    status: Arc<dyn Status>,
    eve: Option<EveFile>,
    evidence: Option<EvidenceFiles>,
    alarms: Alarms,
    batches: Batches,
    to_controller: bool,
    clock: Clock,
    no_policy: Arc<Snapshot>,
    sequence: u64,
    answers: Answers,
}

impl Observer {
    /// The observer of an agent, and the batches that it fills.
    pub fn new(agent: &Agent, evidence: Option<EvidenceFiles>) -> (Self, Batches) {
        let batches = Batches::new(Arc::clone(&agent.tally));
        let observer = Self {
            node: agent.node.clone(),
            shared: Arc::clone(&agent.shared),
            rings: agent.rings.clone(),
            status: Arc::clone(&agent.status),
            eve: agent.eve.clone(),
            evidence,
            alarms: agent.alarms.clone(),
            batches: batches.clone(),
            to_controller: agent.controller.is_some(),
            clock: Clock::started_at(agent.shared.started),
            no_policy: Arc::new(Snapshot::empty()),
            sequence: 0,
            answers: Answers::default(),
        };
        (observer, batches)
    }

    /// Empties the rings until the node stops, and once more then.
    pub async fn run(mut self) {
        let mut rounds = 0_u32;
        loop {
            let last = stopped(&self.shared);
            names::pass_on(&self.rings, &self.shared);
            rounds = rounds.wrapping_add(1);
            let counters = last || rounds.is_multiple_of(COUNTERS_EVERY);
            while self.drain_batch(counters).await {}
            self.drain_evidence();
            // What workers gave back is dropped here, where it delays nobody.
            while self.shared.retired.pop().is_some() {}
            while self.shared.retired_sensing.pop().is_some() {}
            if last {
                return;
            }
            tokio::time::sleep(DRAIN_INTERVAL).await;
        }
    }

    /// Writes the packets that raised alerts.
    fn drain_evidence(&mut self) {
        let Some(evidence) = &mut self.evidence else {
            return;
        };
        let queues = self.rings.iter().filter_map(|ring| ring.packets.as_ref());
        for queue in queues {
            while let Some(packet) = queue.pop() {
                evidence.write(&packet, self.clock.unix_us(packet.time_us));
            }
        }
        evidence.flush();
    }

    /// Takes up to a batch of events; returns whether there may be more.
    async fn drain_batch(&mut self, counters: bool) -> bool {
        let snapshot = self
            .shared
            .snapshot
            .load_full()
            .unwrap_or_else(|| Arc::clone(&self.no_policy));
        let mut flows = Vec::new();
        for ring in &self.rings {
            while flows.len() < RECORDS_PER_BATCH
                && let Some(event) = ring.events.pop()
            {
                let mut described = describe(&event, &snapshot, &self.clock);
                self.batches.tally.event(&event, &described);
                if let Some(eve) = &mut self.eve
                    && event.kind != EventKind::Answer
                {
                    eve.write(&described);
                }
                let told = match event.kind {
                    EventKind::Request => false,
                    EventKind::Response | EventKind::Answer => {
                        self.answers.is_news(&event.detail, &mut described.record)
                    }
                    _ => true,
                };
                if told {
                    flows.push(described.record);
                }
            }
        }
        for alarm in self.alarms.take() {
            self.batches.tally.alert(&alarm);
            if let Some(eve) = &mut self.eve {
                eve.write(&alarm);
            }
            flows.push(alarm.record);
        }
        if let Some(eve) = &mut self.eve {
            eve.flush();
            let lost = &self.batches.tally.eve_lost;
            lost.store(eve.lost(), Ordering::Relaxed);
        }
        let full = flows.len() >= RECORDS_PER_BATCH;
        if self.to_controller && (counters || !flows.is_empty()) {
            self.sequence += 1;
            let lost_in_rings: u64 = self
                .rings
                .iter()
                .map(|ring| ring.lost.load(Ordering::Relaxed))
                .sum();
            let batch = ObservationBatch {
                node: self.node.clone(),
                sequence: self.sequence,
                policy_version: snapshot.version(),
                flows,
                counters: counters.then(|| node_counters(&self.shared, &*self.status)),
                lost: lost_in_rings + self.batches.tally.records_lost.load(Ordering::Relaxed),
            };
            self.batches.add(batch).await;
        }
        full
    }
}

/// All workers' counters as one message.
fn node_counters(shared: &Shared, status: &dyn Status) -> NodeCounters {
    let pages: Vec<_> = (0..shared.pages.len())
        .map(|worker| shared.page(worker))
        .collect();
    let stages = STAGE_NAMES
        .iter()
        .enumerate()
        .map(|(stage, name)| StageCounters {
            stage: (*name).to_owned(),
            packets: pages.iter().map(|page| page.stages.packets[stage]).sum(),
            cycles: pages.iter().map(|page| page.stages.cycles[stage]).sum(),
        });
    let mut drops_by_reason = BTreeMap::new();
    let mut gauges = BTreeMap::new();
    for page in &pages {
        for reason in Reason::ALL {
            let dropped = page.counts.dropped[*reason as usize];
            if dropped > 0 {
                *drops_by_reason.entry(reason.name().to_owned()).or_default() += dropped;
            }
        }
        for (name, value) in &page.gauges {
            *gauges.entry((*name).to_owned()).or_default() += value;
        }
        *gauges.entry("spared".to_owned()).or_default() += page.counts.spared.iter().sum::<u64>();
        *gauges.entry("received".to_owned()).or_default() += page.counts.received;
        *gauges.entry("transmitted".to_owned()).or_default() += page.counts.transmitted;
        *gauges.entry("refused".to_owned()).or_default() += page.refused;
    }
    let residence = |index: usize| {
        pages
            .iter()
            .map(|page| page.residence_ns[index])
            .max()
            .unwrap_or(0)
    };
    NodeCounters {
        time_unix_us: Clock::started_at(shared.started).unix_us(shared.now_us()),
        stages: stages.collect(),
        ports: status.ports(),
        drops_by_reason,
        gauges,
        residence_percentiles_ns: (0..4).map(residence).collect(),
        workers: status.workers(),
    }
}

/// Sends the batches until the node stops, and follows which captures are wanted.
pub async fn report(
    controller: &ControllerAddress,
    batches: Batches,
    (node, desk): (&str, Option<&CaptureDesk>),
    (shared, tally): (&Arc<Shared>, &Tally),
) {
    while !stopped(shared) {
        let reported = match controller.channel() {
            // By the same connection: of several controllers the one that hears of an event is then the
            // one that can have its packets captured.
            Ok((channel, _)) => tokio::select! {
                reported = report_session(channel.clone(), &batches, shared) => reported,
                never = captures::follow(channel, node, desk) => match never {},
            },
            Err(error) => Err(error.to_string()),
        };
        tally.observations_stream.store(false, Ordering::Relaxed);
        if let Err(why) = reported {
            warn!(controller = %controller.endpoint, %why, "observations wait; trying again");
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// One stream. Whatever was not acknowledged on an earlier one is sent again.
async fn report_session(
    channel: Channel,
    batches: &Batches,
    shared: &Arc<Shared>,
) -> Result<(), String> {
    let mut client = ObservationsClient::new(channel);
    let (outgoing, receiver) = mpsc::channel(4);
    let response = client
        .report(ReceiverStream::new(receiver))
        .await
        .map_err(|status| super::policy::told(&status))?;
    let mut acknowledgements = response.into_inner();
    let stream = &batches.tally.observations_stream;
    stream.store(true, Ordering::Relaxed);
    let mut sent = 0;
    while !stopped(shared) {
        while let Some(batch) = batches.next_after(sent).await {
            sent = batch.sequence;
            outgoing
                .send(batch)
                .await
                .map_err(|_| "the stream is closed".to_owned())?;
        }
        tokio::select! {
            acknowledgement = acknowledgements.next() => match acknowledgement {
                Some(Ok(acknowledgement)) => batches.acknowledged(acknowledgement.sequence).await,
                Some(Err(status)) => return Err(status.message().to_owned()),
                None => return Err("the controller ended the stream".into()),
            },
            () = batches.more.notified() => {}
            () = tokio::time::sleep(RETRY) => {}
        }
    }
    Ok(())
}
