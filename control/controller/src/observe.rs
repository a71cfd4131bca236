//! Observations from nodes: `weir.v1.Observations`.
//!
//! Trusts a node's records to be what it saw; distrusts their size and number, and,
//! with TLS, its name. A flow is told of
//! several times and counts once: what was counted of it is remembered for the
//! [`TRACKED_MAX`] flows told of last. A record told again (a node repeats a batch that was not
//! acknowledged) adds nothing. Beside that the memory is that of [`crate::flows`], [`crate::alerts`],
//! [`crate::names`], [`crate::conversation`] and [`crate::deciders`].

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::RandomState;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::debug;
use weir_api::{Verdict, v1};
use weir_learn::{Ageing, ConversationKey, End};
use weir_policy::Snapshot;

use crate::alerts::{AlertFilter, Alerts};
use crate::certificate::{Gate, Peer};
use crate::conversation::{Conversations, Unwritten};
use crate::counted::{Counted, denials};
use crate::deciders::Deciders;
use crate::drafts::{DraftCounts, Drafts, is_draft};
use crate::flows::{Filter, FlowName, Recent, bounded, has_ports};
use crate::names::{Answers, WhoHad, end_name};
use crate::state::State;
use crate::time::now_unix_us;
use crate::view::Documents;

/// Flows whose counts are remembered.
const TRACKED_MAX: usize = 131_072;
/// Records that wait for someone who follows them.
const FOLLOW_MAX: usize = 4_096;
/// Acknowledgements that wait for a node.
const ACKNOWLEDGEMENTS_MAX: usize = 16;

/// Records as they come.
type Records = broadcast::Receiver<Arc<v1::FlowView>>;

/// Everything that nodes have reported.
#[derive(Debug)]
pub struct Observed {
    inner: Mutex<Inner>,
    live: broadcast::Sender<Arc<v1::FlowView>>,
    ageing: Ageing,
    drafts: Drafts,
}

/// What the lock guards.
#[derive(Debug, Default)]
struct Inner {
    recent: Recent,
    alerts: Alerts,
    conversations: Conversations,
    tracked: HashMap<FlowKey, Counted>,
    tracked_order: VecDeque<FlowKey>,
    /// Of what flows are known again by.
    hasher: RandomState,
    answers: Answers,
    node_numbers: HashMap<String, u32>,
    deciders: Deciders,
}

/// A flow of a node; the time tells flows of different runs of the node apart.
type FlowKey = (u32, u64, u64);

/// The service.
#[derive(Clone, Debug)]
pub struct Observe {
    state: Arc<State>,
    gate: Gate,
}

impl Observe {
    /// Takes observations for this controller.
    pub fn new(state: Arc<State>, gate: Gate) -> Self {
        Self { state, gate }
    }
}

#[tonic::async_trait]
impl v1::observations_server::Observations for Observe {
    type ReportStream = ReceiverStream<Result<v1::ObservationAck, Status>>;

    async fn report(
        &self,
        request: Request<Streaming<v1::ObservationBatch>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        let peer = self.gate.peer(&request)?;
        let (outgoing, stream) = mpsc::channel(ACKNOWLEDGEMENTS_MAX);
        let (state, mut incoming) = (self.state.clone(), request.into_inner());
        let mut stopping = state.stopping();
        tokio::spawn(async move {
            let mut expired = std::pin::pin!(peer.expired());
            loop {
                let batch = tokio::select! {
                    batch = incoming.message() => batch,
                    why = &mut expired => Err(Status::unauthenticated(why)),
                    _ = stopping.wait_for(|stopping| *stopping) => return,
                };
                let batch = match batch {
                    Ok(Some(batch)) => batch,
                    Ok(None) => return,
                    Err(status) => {
                        let _ = outgoing.send(Err(status)).await;
                        return;
                    }
                };
                let answer = match take(&state, &peer, batch).await {
                    Ok((answer, wait)) => {
                        // Who reports more than it may is read more slowly.
                        tokio::time::sleep(wait).await;
                        Ok(answer)
                    }
                    Err(refused) => Err(refused),
                };
                let refused = answer.is_err();
                if outgoing.send(answer).await.is_err() || refused {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

async fn take(
    state: &Arc<State>,
    peer: &Peer,
    mut batch: v1::ObservationBatch,
) -> Result<(v1::ObservationAck, Duration), Status> {
    peer.check(&batch.node).map_err(Status::permission_denied)?;
    let known = state.nodes.observed(&batch);
    let wait = known.map_err(Status::invalid_argument)?;
    // Of a clock that is ahead nothing is believed: it would keep alive for ever what it once saw.
    let now_us = now_unix_us();
    for record in &mut batch.flows {
        record.time_unix_us = record.time_unix_us.min(now_us);
        record.first_seen_unix_us = record.first_seen_unix_us.min(now_us);
    }
    let sequence = batch.sequence;
    let policy = state.policy_soon().await;
    state.observed.merge(batch, &policy.snapshot, &state.source);
    Ok((v1::ObservationAck { sequence }, wait.unwrap_or_default()))
}

impl Observed {
    /// Starts from what the store has.
    pub fn new(conversations: Conversations, ageing: Ageing) -> Self {
        let inner = Mutex::new(Inner {
            conversations,
            ..Inner::default()
        });
        Self {
            inner,
            live: broadcast::Sender::new(FOLLOW_MAX),
            ageing,
            drafts: Drafts::default(),
        }
    }

    /// Takes a batch. Who had an address that the node does not know is asked of `history`, then of the
    /// policy.
    pub fn merge(&self, batch: v1::ObservationBatch, snapshot: &Snapshot, history: &dyn WhoHad) {
        let v1::ObservationBatch { node, flows, .. } = batch;
        debug!(node, flows = flows.len(), "observations");
        let mut inner = crate::lock(&self.inner);
        for record in flows {
            let raised = match record.raised() {
                Ok(alert) => alert.is_some(),
                Err(error) => {
                    debug!(node, %error, "a record is refused");
                    inner.alerts.refuse();
                    continue;
                }
            };
            let name = |identity: u32, address: &[u8]| {
                end_name(identity, address, &record, snapshot, history)
            };
            let view = Arc::new(v1::FlowView {
                client: name(record.client_identity, &record.client_address),
                server: name(record.server_identity, &record.server_address),
                record: Some(bounded(record)),
                node: node.clone(),
                skipped: 0,
            });
            if raised && (!inner.alerts.push(view.clone()) || is_apart(&view)) {
                continue;
            }
            inner.answers.take(&view, snapshot);
            inner.count(&view);
            inner.recent.push(view.clone());
            // Nobody following is no error.
            let _ = self.live.send(view);
        }
    }

    /// Every record of a connection from now on, and every alert.
    pub fn live(&self) -> (Records, Records) {
        let alerts = crate::lock(&self.inner).alerts.live();
        (self.live.subscribe(), alerts)
    }

    /// The newest matching records, and every record from then on.
    pub fn recent_and_live(
        &self,
        filter: &Filter,
        limit: usize,
    ) -> (
        Vec<Arc<v1::FlowView>>,
        broadcast::Receiver<Arc<v1::FlowView>>,
    ) {
        let inner = crate::lock(&self.inner);
        (inner.recent.newest(filter, limit), self.live.subscribe())
    }

    /// The newest matching alerts, and every alert from then on.
    pub fn recent_and_live_alerts(
        &self,
        filter: &AlertFilter,
        limit: usize,
    ) -> (
        Vec<Arc<v1::FlowView>>,
        broadcast::Receiver<Arc<v1::FlowView>>,
    ) {
        let inner = crate::lock(&self.inner);
        (inner.alerts.newest(filter, limit), inner.alerts.live())
    }

    /// How many alerts there were.
    pub fn alert_counts(&self) -> v1::AlertCounts {
        crate::lock(&self.inner).alerts.counts()
    }

    /// The record that tells most of a flow.
    pub fn find(&self, name: &FlowName) -> Option<Arc<v1::FlowView>> {
        crate::lock(&self.inner).recent.find(name)
    }

    /// Looks at the conversations. Nodes wait meanwhile: be quick.
    pub fn with_conversations<T>(&self, look: impl FnOnce(&Conversations) -> T) -> T {
        look(&crate::lock(&self.inner).conversations)
    }

    /// How what was learned fades.
    pub fn ageing(&self) -> Ageing {
        self.ageing
    }

    /// What each allowlist in stage draft would do to the connections that were seen, by its title
    /// ("allowlist shop/photo-db"). Empty, and cheap, without drafts.
    pub fn drafts(&self, documents: &Documents) -> HashMap<String, DraftCounts> {
        if !documents.iter().any(|located| is_draft(&located.value)) {
            return HashMap::new();
        }
        let all = self.with_conversations(Conversations::all);
        self.drafts.counts(documents, &all)
    }

    /// Changes the conversations. Nodes wait meanwhile: be quick.
    pub fn change_conversations<T>(&self, change: impl FnOnce(&mut Conversations) -> T) -> T {
        change(&mut crate::lock(&self.inner).conversations)
    }

    /// The records that are kept, oldest first.
    pub fn recent(&self) -> Vec<Arc<v1::FlowView>> {
        crate::lock(&self.inner).recent.all()
    }

    /// How often rules decided, by the title of the document that they stand in:
    /// "allowlist shop/photo-db" of "allowlist shop/photo-db ingress[0]".
    pub fn hits(&self) -> HashMap<String, u64> {
        crate::lock(&self.inner).deciders.by_document()
    }

    /// The same of one node.
    pub fn node_hits(&self, node: &str) -> BTreeMap<String, u64> {
        let inner = crate::lock(&self.inner);
        let number = inner.node_numbers.get(node);
        number.map_or_else(BTreeMap::new, |number| inner.deciders.of_node(*number))
    }

    /// Takes what the store does not have yet.
    pub fn take_unwritten(&self) -> Unwritten {
        crate::lock(&self.inner).conversations.take_unwritten()
    }

    /// Writing failed: keep it for the next time.
    pub fn put_back(&self, unwritten: Unwritten) {
        crate::lock(&self.inner).conversations.put_back(unwritten);
    }
}

impl Inner {
    fn count(&mut self, view: &v1::FlowView) {
        let Some(record) = &view.record else { return };
        let flow = self.flow_key(&view.node, record);
        let counted = self.tracked.entry(flow).or_insert_with(|| {
            self.tracked_order.push_back(flow);
            Counted::default()
        });
        let denial = denials(counted, record);
        if let Some(alert) = &record.alert {
            counted.raise(alert);
        }
        if counted.is_news(&record.decider, &self.hasher) {
            self.deciders.count(flow.0, &record.decider);
        }
        // Which conversation it belongs to is open until the application is known, or never will be.
        let settled = !record.application.is_empty()
            || record.event() == v1::FlowEvent::End
            || record.verdict() == Verdict::Denied;
        if settled {
            let resolved = self.answers.name_for(view);
            let outside = match (&resolved, End::of(&view.server), End::of(&view.client)) {
                (Some(name), End::Unknown, End::Workload(..)) => {
                    self.answers.outside(&view.client, name)
                }
                _ => None,
            };
            let key = ConversationKey {
                client: view.client.clone(),
                server: outside.unwrap_or_else(|| view.server.clone()),
                application: record.application.clone(),
                port: server_port(record),
                protocol: u8::try_from(record.protocol).unwrap_or_default(),
            };
            let seen =
                counted.observation((&key, &self.hasher), &view.node, record, denial, resolved);
            self.conversations.merge(&key, &seen);
        } else {
            counted.denial = false;
        }
        if self.tracked_order.len() > TRACKED_MAX
            && let Some(oldest) = self.tracked_order.pop_front()
        {
            self.tracked.remove(&oldest);
        }
    }

    fn flow_key(&mut self, node: &str, record: &v1::FlowRecord) -> FlowKey {
        let number = match self.node_numbers.get(node) {
            Some(&number) => number,
            None => {
                let number = u32::try_from(self.node_numbers.len()).unwrap_or(u32::MAX);
                self.node_numbers.insert(node.to_owned(), number);
                number
            }
        };
        (number, record.flow_id, record.first_seen_unix_us)
    }
}

/// Whether an alert is about a packet of which no flow was made.
fn is_apart(view: &v1::FlowView) -> bool {
    view.record
        .as_ref()
        .is_some_and(|record| record.flow_id == 0)
}

/// The server's port; 0 where the protocol has none (a node may put the echo id there).
pub fn server_port(record: &v1::FlowRecord) -> u16 {
    if !has_ports(record) {
        return 0;
    }
    u16::try_from(record.server_port).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_learn::Conversation;

    fn record(event: v1::FlowEvent, application: &str, bytes: u64) -> v1::FlowRecord {
        v1::FlowRecord {
            event: event.into(),
            flow_id: 7,
            first_seen_unix_us: 1,
            time_unix_us: bytes,
            application: application.into(),
            server_port: 80,
            protocol: 6,
            packets_to_client: u64::from(bytes > 0),
            bytes_to_server: bytes,
            rule_action: v1::Action::Allow.into(),
            wire_action: v1::WireAction::Forward.into(),
            decider: "allowlist a/b ingress[0]".into(),
            ..Default::default()
        }
    }

    fn observe(records: Vec<v1::FlowRecord>) -> Vec<(ConversationKey, Conversation)> {
        let observed = Observed::new(Conversations::default(), Ageing::default());
        let snapshot = Snapshot::build(Default::default()).unwrap();
        let batch = v1::ObservationBatch {
            node: "n".into(),
            flows: records,
            ..Default::default()
        };
        observed.merge(batch, &snapshot, &snapshot);
        assert!(observed.hits().contains_key("allowlist a/b"));
        let all = |all: &Conversations| {
            all.iter()
                .map(|(key, seen)| (key.clone(), seen.clone()))
                .collect()
        };
        let mut all: Vec<(ConversationKey, Conversation)> = observed.with_conversations(all);
        all.sort_by(|one, other| one.0.cmp(&other.0));
        all
    }

    #[test]
    fn a_flow_told_of_many_times_is_one_connection() {
        use v1::FlowEvent::{End, New, Update};
        let story = vec![
            record(New, "", 0),
            record(Update, "http", 100),
            record(Update, "http", 300),
            record(End, "http", 400),
            // A repeated batch.
            record(Update, "http", 300),
            record(End, "http", 400),
        ];
        let seen = observe(story);
        assert_eq!(seen.len(), 1);
        assert_eq!((seen[0].1.connections, seen[0].1.bytes), (1, 400));
        assert_eq!(seen[0].0.application, "http");
    }

    #[test]
    fn a_flow_without_an_application_is_told_at_its_end() {
        assert!(observe(vec![record(v1::FlowEvent::New, "", 0)]).is_empty());
        let seen = observe(vec![
            record(v1::FlowEvent::New, "", 0),
            record(v1::FlowEvent::End, "", 0),
        ]);
        assert_eq!(
            (seen[0].1.connections, seen[0].0.application.as_str()),
            (0, "")
        );
    }

    #[test]
    fn pings_are_one_conversation() {
        let ping = |flow_id: u32| v1::FlowRecord {
            protocol: 1,
            flow_id: flow_id.into(),
            server_port: flow_id,
            ..record(v1::FlowEvent::End, "icmp", 64)
        };
        let seen = observe((1..9).map(ping).collect());
        assert_eq!(
            (seen.len(), seen[0].0.port, seen[0].1.connections),
            (1, 0, 8)
        );
    }

    #[test]
    fn denials_count_once_per_flow_and_once_per_request() {
        use v1::FlowEvent::{End, New, Verdict};
        let denied = |event, time| v1::FlowRecord {
            rule_action: v1::Action::Deny.into(),
            mode: v1::Mode::Monitor.into(),
            wire_action: v1::WireAction::Reset.into(),
            time_unix_us: time,
            ..record(event, "http", 5)
        };
        let seen = observe(vec![denied(New, 1), denied(End, 2)]);
        assert_eq!((seen[0].1.denied, seen[0].1.would_deny), (1, 0));
        let seen = observe(vec![
            denied(Verdict, 1),
            denied(Verdict, 2),
            denied(Verdict, 2),
            denied(End, 3),
        ]);
        assert_eq!((seen[0].1.denied, seen[0].1.connections), (2, 0));
        let would = v1::FlowRecord {
            wire_action: v1::WireAction::Forward.into(),
            ..denied(New, 1)
        };
        let seen = observe(vec![would.clone(), would.clone()]);
        assert_eq!((seen[0].1.denied, seen[0].1.would_deny), (0, 1));
        let learning = v1::FlowRecord {
            mode: v1::Mode::Discover.into(),
            ..would.clone()
        };
        let seen = observe(vec![learning.clone()]);
        assert_eq!((seen[0].1.denied, seen[0].1.would_deny), (0, 0));
        let seen = observe(vec![learning, would]);
        assert_eq!(seen[0].1.would_deny, 1, "the mode changed under it");
    }

    #[test]
    fn a_would_be_denial_before_the_application_is_known_is_not_lost() {
        let would = |event, application| v1::FlowRecord {
            rule_action: v1::Action::Deny.into(),
            ..record(event, application, 5)
        };
        let seen = observe(vec![
            would(v1::FlowEvent::New, ""),
            would(v1::FlowEvent::Update, "http"),
        ]);
        assert_eq!((seen.len(), seen[0].1.would_deny), (1, 1));
    }
}
