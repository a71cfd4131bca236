//! Observations from nodes: `weir.v1.Observations`.
//!
//! Trusts a node's records to be what it saw; distrusts their size and number, and,
//! with TLS, its name. A flow is told of
//! several times and counts once: what was counted of it is remembered for the
//! [`TRACKED_MAX`] flows told of last. A record told again (a node repeats a batch that was not
//! acknowledged) adds nothing. Beside that the memory is that of [`crate::flows`], [`crate::alerts`] and
//! [`crate::conversation`], and one number for each of the [`DECIDERS_MAX`] deciders.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::debug;
use weir_api::{Verdict, v1};
use weir_learn::{Confidence, ConversationKey, Observation};
use weir_policy::Snapshot;

use crate::alerts::{AlertFilter, Alerts};
use crate::certificate::{Gate, Peer};
use crate::conversation::{Conversations, Unwritten};
use crate::flows::{Filter, FlowName, Recent, bounded, has_ports, ip_address};
use crate::state::State;
use crate::time::now_unix_us;

/// Flows whose counts are remembered.
const TRACKED_MAX: usize = 131_072;
/// Deciders whose hits are counted.
const DECIDERS_MAX: usize = 65_536;
/// Records that wait for someone who follows them.
const FOLLOW_MAX: usize = 4_096;
/// Acknowledgements that wait for a node.
const ACKNOWLEDGEMENTS_MAX: usize = 16;
const TCP: u8 = 6;

/// Everything that nodes have reported.
#[derive(Debug)]
pub struct Observed {
    inner: Mutex<Inner>,
    live: broadcast::Sender<Arc<v1::FlowView>>,
}

/// What the lock guards.
#[derive(Debug, Default)]
struct Inner {
    recent: Recent,
    alerts: Alerts,
    conversations: Conversations,
    tracked: HashMap<FlowKey, Counted>,
    tracked_order: VecDeque<FlowKey>,
    node_numbers: HashMap<String, u32>,
    hits: HashMap<String, u64>,
}

/// A flow of a node; the time tells flows of different runs of the node apart.
type FlowKey = (u32, u64, u64);

/// What was counted of a flow.
#[derive(Debug, Default)]
struct Counted {
    conversation: Option<ConversationKey>,
    /// Whether it counts among the connections of that conversation.
    connected: bool,
    bytes: u64,
    /// Alerts that no conversation has yet.
    alerts: u64,
    denial: bool,
    decider: String,
    last_verdict_unix_us: u64,
}

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
            loop {
                let batch = tokio::select! {
                    batch = incoming.message() => batch,
                    _ = stopping.wait_for(|stopping| *stopping) => return,
                };
                let Ok(Some(batch)) = batch else { return };
                let answer = take(&state, &peer, batch);
                let refused = answer.is_err();
                if outgoing.send(answer).await.is_err() || refused {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

fn take(
    state: &State,
    peer: &Peer,
    batch: v1::ObservationBatch,
) -> Result<v1::ObservationAck, Status> {
    peer.check(&batch.node).map_err(Status::permission_denied)?;
    let known = state.nodes.observed(&batch);
    known.map_err(Status::invalid_argument)?;
    let sequence = batch.sequence;
    state.observed.merge(batch, &state.policy().snapshot);
    Ok(v1::ObservationAck { sequence })
}

impl Observed {
    /// Starts from what the store has.
    pub fn new(conversations: Conversations) -> Self {
        let inner = Mutex::new(Inner {
            conversations,
            ..Inner::default()
        });
        Self {
            inner,
            live: broadcast::Sender::new(FOLLOW_MAX),
        }
    }

    /// Takes a batch.
    pub fn merge(&self, batch: v1::ObservationBatch, snapshot: &Snapshot) {
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
            let view = Arc::new(v1::FlowView {
                client: snapshot.identity_name(record.client_identity).to_owned(),
                server: snapshot.identity_name(record.server_identity).to_owned(),
                record: Some(bounded(record)),
                node: node.clone(),
                skipped: 0,
            });
            if raised && (!inner.alerts.push(view.clone()) || is_apart(&view)) {
                continue;
            }
            inner.count(&view);
            inner.recent.push(view.clone());
            // Nobody following is no error.
            let _ = self.live.send(view);
        }
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

    /// How often rules decided, by the title of the document that they stand in:
    /// "allowlist shop/photo-db" of "allowlist shop/photo-db ingress[0]".
    pub fn hits(&self) -> HashMap<String, u64> {
        let inner = crate::lock(&self.inner);
        let mut by_document: HashMap<String, u64> = HashMap::new();
        for (decider, hits) in &inner.hits {
            let document = decider
                .rsplit_once(' ')
                .map_or(decider.as_str(), |(document, _)| document);
            *by_document.entry(document.to_owned()).or_default() += hits;
        }
        by_document
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
        counted.alerts += u64::from(record.alert.is_some());
        if !record.decider.is_empty() && counted.decider != record.decider {
            counted.decider.clone_from(&record.decider);
            if let Some(hits) = self.hits.get_mut(&record.decider) {
                *hits += 1;
            } else if self.hits.len() < DECIDERS_MAX {
                self.hits.insert(record.decider.clone(), 1);
            }
        }
        // Which conversation it belongs to is open until the application is known, or never will be.
        let settled = !record.application.is_empty()
            || record.event() == v1::FlowEvent::End
            || record.verdict() == Verdict::Denied;
        if settled {
            let key = ConversationKey {
                client: view.client.clone(),
                server: view.server.clone(),
                application: record.application.clone(),
                port: server_port(record),
                protocol: u8::try_from(record.protocol).unwrap_or_default(),
            };
            let seen = counted.observation(&key, &view.node, record, denial);
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

impl Counted {
    fn observation(
        &mut self,
        key: &ConversationKey,
        node: &str,
        record: &v1::FlowRecord,
        (denied, would_deny): (u64, u64),
    ) -> Observation {
        // A flow that was told of without an application does not become a second connection.
        let known_before = key.application.is_empty() && self.conversation.is_some();
        if self.conversation.as_ref() != Some(key) && !known_before {
            self.conversation = Some(key.clone());
            self.connected = false;
        }
        let made = record.packets_to_client > 0 || key.protocol != TCP;
        let connected = !self.connected && made && record.verdict() != Verdict::Denied;
        self.connected |= connected;
        let bytes = record
            .bytes_to_server
            .saturating_add(record.bytes_to_client);
        let further = bytes.saturating_sub(self.bytes);
        self.bytes = self.bytes.max(bytes);
        Observation {
            node: node.to_owned(),
            zone: record.zone,
            time_unix_us: record.time_unix_us.min(now_unix_us()),
            client_address: ip_address(&record.client_address).unwrap_or(IpAddr::from([0; 4])),
            connections: connected.into(),
            bytes: further,
            denied,
            would_deny,
            alerts: std::mem::take(&mut self.alerts),
            confidence: match record.confidence.as_str() {
                "content" => Confidence::Content,
                "port" => Confidence::Port,
                _ => Confidence::None,
            },
            from_start: !record.picked_up,
        }
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

/// How many denials and would-be denials this record adds: one for each verdict on a request, one
/// for the flow as a whole.
fn denials(counted: &mut Counted, record: &v1::FlowRecord) -> (u64, u64) {
    let verdict = record.verdict();
    let is_verdict = record.event() == v1::FlowEvent::Verdict;
    let new = if is_verdict {
        record.time_unix_us > counted.last_verdict_unix_us || !counted.denial
    } else {
        !counted.denial
    };
    if !verdict.is_denial() || !new {
        return (0, 0);
    }
    counted.denial = true;
    if is_verdict {
        counted.last_verdict_unix_us = record.time_unix_us;
    }
    if verdict == Verdict::Denied {
        (1, 0)
    } else {
        (0, 1)
    }
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
        let observed = Observed::new(Conversations::default());
        let snapshot = Snapshot::build(Default::default()).unwrap();
        let batch = v1::ObservationBatch {
            node: "n".into(),
            flows: records,
            ..Default::default()
        };
        observed.merge(batch, &snapshot);
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
