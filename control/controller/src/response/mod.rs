//! Response rules at work: what nodes and other programs report, and what is done about it.
//!
//! Events wait in a queue of [`EVENTS_MAX`], messages in one of [`MESSAGES_MAX`]: what does not fit is
//! lost and counted, and nothing that is sent or fails to be sent is an event itself. A quarantine is
//! a Mode document that the controller adds to those of its source: it goes the way of every other
//! change and survives a restart with them.

mod deliver;
mod outside;
mod seen;
mod syslog;
mod webhook;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tracing::{info, warn};
use weir_api::v1;
use weir_compile::{Change, Key};
use weir_model::{Document, Kind, Located, Metadata};
use weir_respond::{
    Engine, Event, EventKind, Facts, Order, OrderAction, Party, Quarantine, QuarantineError,
    Quarantines, message,
};

use crate::policy::PublishError;
use crate::state::State;
use crate::time::now_unix_us;

pub use deliver::Delivery;
pub use outside::desk;

/// Events that wait to be looked at.
const EVENTS_MAX: usize = 4_096;
/// Messages that wait to be sent.
const MESSAGES_MAX: usize = 1_024;
/// How often silences and quarantines are looked at for their ends.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// In messages, where quarantines come from.
const ORIGIN: &str = "quarantine";

/// What response rules are at.
#[derive(Debug)]
pub struct Response {
    engine: Mutex<Engine>,
    quarantines: Mutex<Quarantines>,
    /// Whether there is any rule: without one no event is made.
    any: AtomicBool,
    events: mpsc::Sender<Event>,
    /// Taken by the task that serves them.
    waiting: Mutex<Option<mpsc::Receiver<Event>>>,
    lost: AtomicU64,
}

/// Why a quarantine was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CutOffError {
    /// It cannot be.
    #[error(transparent)]
    Quarantine(#[from] QuarantineError),
    /// The policy could not be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// The two ends of an event.
struct Known {
    workloads: BTreeMap<String, Metadata>,
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
}

impl Response {
    /// With the quarantines and rules among the documents that are in force.
    pub fn new(documents: &[Arc<Located<Document>>]) -> Self {
        let (events, waiting) = mpsc::channel(EVENTS_MAX);
        let quarantines = Quarantines::of(documents.iter().map(|located| &located.value));
        let response = Self {
            engine: Mutex::default(),
            quarantines: Mutex::new(quarantines),
            any: AtomicBool::new(false),
            events,
            waiting: Mutex::new(Some(waiting)),
            lost: AtomicU64::new(0),
        };
        response.take_rules(documents);
        response
    }

    /// Who is cut off.
    pub fn quarantines(&self) -> Vec<Quarantine> {
        crate::lock(&self.quarantines).iter().cloned().collect()
    }

    /// Takes the rules among these documents in place of those of before.
    pub fn take_rules(&self, documents: &[Arc<Located<Document>>]) {
        let rules = documents.iter().filter_map(|located| match &located.value {
            Document::ResponseRule(rule) => Some(rule),
            _ => None,
        });
        let rules: Vec<_> = rules.collect();
        self.any.store(!rules.is_empty(), Ordering::Relaxed);
        crate::lock(&self.engine).set_rules(rules);
    }

    /// An event, to be looked at soon.
    pub fn happened(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What a node reported, where a rule may care.
    fn told(&self, view: Result<Arc<v1::FlowView>, RecvError>) -> Option<Event> {
        match view {
            Ok(view) if self.any.load(Ordering::Relaxed) => seen::event(&view),
            Ok(_) | Err(RecvError::Closed) => None,
            Err(RecvError::Lagged(lost)) => {
                self.lost.fetch_add(lost, Ordering::Relaxed);
                None
            }
        }
    }

    /// Tells how many events and messages were lost since the last time, if any.
    fn tell_lost(&self) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            warn!(
                lost,
                "events came, or messages left, faster than they can be served"
            );
        }
    }
}

impl State {
    /// Cuts a workload off on every node.
    pub async fn cut_off(self: &Arc<Self>, quarantine: Quarantine) -> Result<(), CutOffError> {
        let workload = quarantine.workload.clone();
        let (by, because) = (quarantine.by.clone(), quarantine.because.clone());
        let document = {
            let mut quarantines = crate::lock(&self.response.quarantines);
            quarantines.add(quarantine)?;
            quarantines.get(&workload).and_then(Quarantine::document)
        };
        if let Some(document) = document {
            let located = Located::unplaced(document, ORIGIN);
            self.apply_own(vec![Change::Put(Arc::new(located))]).await?;
            warn!(workload, by, because, "cut off");
        }
        Ok(())
    }

    /// Lets a workload in again; none where it was not cut off.
    pub async fn let_in(
        self: &Arc<Self>,
        workload: &str,
    ) -> Result<Option<Quarantine>, PublishError> {
        let lifted = crate::lock(&self.response.quarantines).lift(workload);
        let document = lifted.as_ref().and_then(Quarantine::document);
        if let Some(document) = document {
            let key = Key::of(&document);
            self.apply_own(vec![Change::Remove(key)]).await?;
            info!(workload, "let in again");
        }
        Ok(lifted)
    }

    async fn carry_out(self: &Arc<Self>, order: Order, messages: &mpsc::Sender<Order>) {
        match &order.action {
            OrderAction::Quarantine {
                workload,
                duration_s,
            } => {
                let now_unix_s = now_unix_us() / 1_000_000;
                let quarantine = Quarantine {
                    workload: workload.clone(),
                    since_unix_s: now_unix_s,
                    until_unix_s: duration_s.map(|length| now_unix_s.saturating_add(length)),
                    by: format!("response rule {}", order.rule),
                    because: message::sentence(&order),
                };
                if let Err(error) = self.cut_off(quarantine).await {
                    warn!(rule = order.rule, workload, %error, "not cut off");
                }
            }
            OrderAction::Withheld { workload } => {
                warn!(
                    rule = order.rule,
                    workload,
                    "not cut off: the rule has cut off as many as it may; look at what it matches"
                );
            }
            OrderAction::Capture { subject, limits } => {
                let because = message::sentence(&order);
                let started = self.start_capture(&order.rule, because, subject.clone(), limits);
                // What is refused is counted, and told of in the next sweep.
                if let Ok(capture) = started {
                    let of = capture.subject.shown();
                    info!(
                        rule = order.rule,
                        capture = capture.id,
                        of,
                        "packets are captured"
                    );
                }
            }
            OrderAction::Post(_) | OrderAction::Log(_) => {
                if messages.try_send(order).is_err() {
                    self.response.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn known(&self, event: &Event) -> Known {
        let mut known = Known {
            workloads: BTreeMap::new(),
            namespaces: BTreeMap::new(),
        };
        for party in [&event.client, &event.server] {
            let Some((namespace, name)) =
                party.workload.as_deref().and_then(|it| it.split_once('/'))
            else {
                continue;
            };
            if let Some(located) = self.document(Kind::Workload, namespace, name) {
                let metadata = located.value.metadata().clone();
                known.workloads.insert(metadata.full_name(), metadata);
            }
            if let Some(located) = self.document(Kind::Namespace, "", namespace) {
                let labels = located.value.metadata().labels.clone();
                known.namespaces.insert(namespace.to_owned(), labels);
            }
        }
        known
    }

    /// The event with the class that the sensor's document says.
    fn classified(&self, mut event: Event) -> Event {
        if let EventKind::Sensor { class } = &mut event.kind
            && let Some((namespace, name)) = event.name.split_once('/')
            && let Some(located) = self.document(Kind::Sensor, namespace, name)
            && let Document::Sensor(sensor) = &located.value
        {
            *class = sensor.spec.class();
        }
        event
    }

    pub(crate) fn document(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<Located<Document>>> {
        self.pipeline.document(&Key {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    /// The workload of a pod: that of its address, or the one whose pods have names like it.
    fn workload_of_pod(&self, namespace: &str, pod: &str) -> Option<String> {
        // A pod's name is its owner's with one or two parts behind it.
        let mut name = pod;
        for _ in 0..3 {
            if self.document(Kind::Workload, namespace, name).is_some() {
                return Some(format!("{namespace}/{name}"));
            }
            name = name.rsplit_once('-')?.0;
        }
        None
    }

    /// What another program reported.
    pub fn reported(&self, report: weir_respond::outside::Report) {
        let workload = self.workload_of_pod(&report.namespace, &report.pod);
        self.response.happened(Event {
            kind: EventKind::Outside {
                source: report.source,
            },
            name: report.name,
            id: None,
            severity: report.severity,
            message: report.message,
            client: Party {
                workload,
                ..Party::default()
            },
            server: Party::default(),
            application: String::new(),
            node: report.node,
            blocked: false,
            community_id: String::new(),
            time_unix_us: now_unix_us(),
            flow: None,
        });
    }
}

impl Facts for Known {
    fn workload(&self, full_name: &str) -> Option<&Metadata> {
        self.workloads.get(full_name)
    }

    fn namespace(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.namespaces.get(name)
    }
}

/// Looks at events and carries out what follows, until the controller stops.
pub async fn serve(state: Arc<State>, delivery: Delivery) {
    let Some(mut events) = crate::lock(&state.response.waiting).take() else {
        return;
    };
    let (messages, waiting) = mpsc::channel(MESSAGES_MAX);
    let delivering = tokio::spawn(delivery.run(waiting));
    let (mut flows, mut alerts) = state.observed.live();
    let mut stopping = state.stopping();
    let mut sweeps = tokio::time::interval(SWEEP_INTERVAL);
    loop {
        let stop = async {
            let _ = stopping.wait_for(|stopping| *stopping).await;
        };
        let event = tokio::select! {
            event = events.recv() => event,
            view = flows.recv() => state.response.told(view),
            view = alerts.recv() => state.response.told(view),
            _ = sweeps.tick() => {
                for order in sweep(&state).await {
                    state.carry_out(order, &messages).await;
                }
                None
            }
            () = stop => break,
        };
        let Some(event) = event else { continue };
        let event = state.classified(event);
        let known = state.known(&event);
        let now_unix_s = now_unix_us() / 1_000_000;
        let orders = crate::lock(&state.response.engine).take(&event, &known, now_unix_s);
        for order in orders {
            state.carry_out(order, &messages).await;
        }
    }
    delivering.abort();
}

/// Ends what is over; the summaries of silences.
async fn sweep(state: &Arc<State>) -> Vec<Order> {
    let now_unix_s = now_unix_us() / 1_000_000;
    let over = crate::lock(&state.response.quarantines).expire(now_unix_s);
    let gone = over.iter().filter_map(Quarantine::document);
    let gone: Vec<Change> = gone
        .map(|document| Change::Remove(Key::of(&document)))
        .collect();
    if !gone.is_empty() {
        match state.apply_own(gone).await {
            Ok(_) => over
                .iter()
                .for_each(|it| info!(workload = it.workload, "let in again: the time is over")),
            Err(error) => {
                warn!(%error, "a quarantine that is over could not be lifted; trying again");
                let mut quarantines = crate::lock(&state.response.quarantines);
                for quarantine in over {
                    let _ = quarantines.add(quarantine);
                }
            }
        }
    }
    state.response.tell_lost();
    for (refusal, captures) in state.capturing.sweep() {
        let why = refusal.why();
        warn!(captures, why, "captures that rules asked for are not made");
    }
    crate::lock(&state.response.engine).sweep(now_unix_s)
}
