//! A worker's event in words: names for identities and rules, and for a denial the rule that came nearest.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use weir_api::v1::{self, FlowRecord};
use weir_l7::{Confidence, Field, PortUse, Transport, Value, registry};
use weir_policy::{Application, Question, Snapshot, WireAction};
use weir_wire::to_ip_address;

use super::alert::alert;
use crate::community_id::community_id;
use crate::event::{Alert, Event, EventKind, FlowFacts};

/// From the workers' clock to the time of day.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    zero_unix_us: u64,
}

impl Clock {
    /// For a workers' clock that began at `started`.
    pub fn started_at(started: Instant) -> Self {
        let now_us = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_micros();
        let zero = now_us.saturating_sub(started.elapsed().as_micros());
        Self {
            zero_unix_us: u64::try_from(zero).unwrap_or(0),
        }
    }

    /// For a capture, whose packets carry the time of day.
    pub fn of_capture() -> Self {
        Self { zero_unix_us: 0 }
    }

    /// Microseconds since 1970.
    pub fn unix_us(&self, time_us: u64) -> u64 {
        self.zero_unix_us + time_us
    }
}

/// An event in words.
#[derive(Clone, Debug)]
pub struct Described {
    /// What happened.
    pub kind: EventKind,
    /// The record that the controller gets.
    pub record: FlowRecord,
    /// Client and server by name.
    pub client: String,
    /// See `client`.
    pub server: String,
    /// What it began as, where it turned to another application.
    pub carried: Option<&'static str>,
    /// What gave the application away.
    pub evidence: &'static str,
    /// Whether the application is where one would look for it.
    pub port_use: Option<PortUse>,
    /// Whether its beginning was seen.
    pub from_start: bool,
    /// Client and server address as people write them.
    pub addresses: (IpAddr, IpAddr),
    /// The signature that matched; what the controller gets of it is in `record`.
    pub alert: Option<Alert>,
}

/// Puts an event into words. `snapshot` should be the one that decided; a later one is close.
pub fn describe(event: &Event, snapshot: &Snapshot, clock: &Clock) -> Described {
    let flow = &event.flow;
    let addresses = (
        to_ip_address(flow.client_address),
        to_ip_address(flow.server_address),
    );
    let fields: BTreeMap<String, String> = match flow.application {
        Some(application) => event
            .detail
            .fields()
            .map(|(name, value)| {
                (
                    format!("{}.{name}", registry::name(application)),
                    value.to_owned(),
                )
            })
            .collect(),
        None => BTreeMap::new(),
    };
    let denied = flow.decision.rule_action == weir_policy::spec::Action::Deny;
    let record = FlowRecord {
        event: flow_event(event.kind) as i32,
        flow_id: flow.number,
        community_id: community_id(
            addresses,
            (flow.client_port, flow.server_port),
            flow.protocol,
        ),
        time_unix_us: clock.unix_us(event.time_us),
        first_seen_unix_us: clock.unix_us(flow.first_seen_us),
        client_address: octets(addresses.0),
        server_address: octets(addresses.1),
        client_port: u32::from(flow.client_port),
        server_port: u32::from(flow.server_port),
        protocol: u32::from(flow.protocol),
        zone: flow.zone,
        client_identity: flow.client,
        server_identity: flow.server,
        application: flow
            .application
            .map(registry::name)
            .unwrap_or_default()
            .to_owned(),
        confidence: confidence_name(flow.confidence).to_owned(),
        rule_action: weir_api::action_message(flow.decision.rule_action) as i32,
        mode: weir_api::mode_message(flow.decision.mode) as i32,
        wire_action: wire_action(flow.decision.wire_action) as i32,
        decider: snapshot.rule_name(flow.decision.decider).into_owned(),
        nearest: if denied {
            nearest(event, snapshot)
        } else {
            String::new()
        },
        reason: event
            .reason
            .map(|reason| reason.name())
            .unwrap_or_default()
            .to_owned(),
        packets_to_server: flow.packets[0],
        packets_to_client: flow.packets[1],
        bytes_to_server: flow.bytes[0],
        bytes_to_client: flow.bytes[1],
        detail: fields
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join(" "),
        fields,
        policy_version: flow.policy_version,
        picked_up: !flow.from_start,
        alert: alert(event, snapshot),
    };
    Described {
        kind: event.kind,
        record,
        client: snapshot.identity_name(flow.client).to_owned(),
        server: snapshot.identity_name(flow.server).to_owned(),
        carried: flow.carried.map(registry::name),
        evidence: flow.evidence,
        port_use: port_use_of(flow),
        from_start: flow.from_start,
        addresses,
        alert: event.alert.clone(),
    }
}

/// Judges the outermost application by its port.
fn port_use_of(flow: &FlowFacts) -> Option<PortUse> {
    let application = flow.carried.or(flow.application)?;
    weir_l7::port_use(application, Transport::of(flow.protocol)?, flow.server_port)
}

/// The rule that came nearest to allowing it, and what differed.
fn nearest(event: &Event, snapshot: &Snapshot) -> String {
    let flow = &event.flow;
    let fields = request_fields(event);
    let question = Question {
        request: fields.as_deref(),
        ..question(flow)
    };
    match snapshot.nearest(&question, &flow.decision) {
        Some(nearest) => snapshot.nearest_sentence(&nearest, &question),
        None => String::new(),
    }
}

/// What policy was asked about a flow.
pub fn question(flow: &FlowFacts) -> Question<'static> {
    let application = match flow.application {
        Some(application) => Application::Known(application),
        None => Application::Candidates(weir_l7::AppSet::ALL),
    };
    let server_port = if crate::connection::has_ports(flow.protocol) {
        flow.server_port
    } else {
        0
    };
    Question {
        client: flow.client,
        server: flow.server,
        protocol: flow.protocol,
        server_port,
        application,
        request: None,
    }
}

/// The request's fields, as far as the event kept them.
fn request_fields(event: &Event) -> Option<Vec<Field<'_>>> {
    if event.detail.is_empty() {
        return None;
    }
    let info = registry::info(event.flow.application?)?;
    let fields = event.detail.fields().filter_map(|(name, value)| {
        let index = info.fields.iter().position(|spec| spec.name == name)?;
        Some(Field {
            index: u8::try_from(index).ok()?,
            value: Value::Bytes(value.as_bytes()),
        })
    });
    Some(fields.collect())
}

fn flow_event(kind: EventKind) -> v1::FlowEvent {
    match kind {
        EventKind::Identified => v1::FlowEvent::New,
        EventKind::Verdict => v1::FlowEvent::Verdict,
        EventKind::Request | EventKind::Response | EventKind::Answer => v1::FlowEvent::Update,
        EventKind::Alert | EventKind::Threat | EventKind::Sensor => v1::FlowEvent::Alert,
        EventKind::End => v1::FlowEvent::End,
    }
}

fn wire_action(action: WireAction) -> v1::WireAction {
    match action {
        WireAction::Forward => v1::WireAction::Forward,
        WireAction::Drop => v1::WireAction::Drop,
        WireAction::Reset => v1::WireAction::Reset,
    }
}

fn confidence_name(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::None => "none",
        Confidence::Port => "port",
        Confidence::Content => "content",
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}
