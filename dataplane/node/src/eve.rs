//! Events as EVE JSON, the form that Suricata's users read, with Weir's identities and decider.
//!
//! One object per line: `timestamp`, `event_type` (`flow`, `drop`, `alert`, the application's name for
//! a request or response), the addresses, and under `weir` what only Weir knows. `rule_action`, `mode`
//! and `wire_action` are three fields everywhere.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use weir_api::v1;
use weir_l7::{AppId, PortUse};

use crate::agent::Described;
use crate::event::EventKind;

/// The end of the year 9999.
const TIMESTAMP_MAX_US: u64 = 253_402_300_799_999_999;

/// A file that events are appended to. A line that cannot be written is lost and counted.
#[derive(Clone)]
pub struct EveFile {
    file: Arc<Mutex<BufWriter<std::fs::File>>>,
    lost: u64,
}

impl EveFile {
    /// Opens it for appending.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self {
            file: Arc::new(Mutex::new(BufWriter::new(file))),
            lost: 0,
        })
    }

    /// Appends an event.
    pub fn write(&mut self, described: &Described) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if writeln!(file, "{}", eve(described)).is_err() {
            self.lost += 1;
        }
    }

    /// Lines and flushes that failed.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Lets readers see what was written.
    pub fn flush(&mut self) {
        if self
            .file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .flush()
            .is_err()
        {
            self.lost += 1;
        }
    }
}

/// An event as one EVE object.
pub fn eve(described: &Described) -> Value {
    let record = &described.record;
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
    put("timestamp", json!(timestamp(record.time_unix_us)));
    put("flow_id", json!(record.flow_id));
    put("event_type", json!(event_type(described)));
    put("src_ip", json!(described.addresses.0));
    put("src_port", json!(record.client_port));
    put("dest_ip", json!(described.addresses.1));
    put("dest_port", json!(record.server_port));
    put("proto", json!(protocol_name(record.protocol)));
    put("app_proto", json!(record.application));
    put("community_id", json!(record.community_id));
    if described.kind == EventKind::End {
        put("flow", flow(described));
    }
    if !record.fields.is_empty() {
        let fields = record.fields.iter().map(|(name, value)| {
            let name = name
                .split_once('.')
                .map_or(name.as_str(), |(_, field)| field);
            (name.to_owned(), json!(value))
        });
        put(&record.application, Value::Object(fields.collect()));
    }
    if let Some(told) = &record.alert {
        put("alert", alert(told, described));
        match told.kind() {
            v1::AlertKind::Threat => put("threat", threat(told)),
            v1::AlertKind::Sensor => put("sensor", sensor(told)),
            v1::AlertKind::Signature | v1::AlertKind::Unspecified => put(
                "evidence",
                json!({"excerpt": told.excerpt, "offset": told.excerpt_offset}),
            ),
        };
    }
    put("weir", weir(described));
    Value::Object(object)
}

/// The three fields that a verdict has everywhere.
pub struct Actions {
    /// What policy says.
    pub rule_action: String,
    /// The effective mode.
    pub mode: String,
    /// What the wire got.
    pub wire_action: String,
}

/// The verdict of a record in words.
pub fn actions(record: &v1::FlowRecord) -> Actions {
    Actions {
        rule_action: name_of(
            v1::Action::try_from(record.rule_action).map(|action| action.as_str_name()),
        ),
        mode: name_of(v1::Mode::try_from(record.mode).map(|mode| mode.as_str_name())),
        wire_action: name_of(
            v1::WireAction::try_from(record.wire_action).map(|action| action.as_str_name()),
        ),
    }
}

fn weir(described: &Described) -> Value {
    let record = &described.record;
    let actions = actions(record);
    json!({
        "client": described.client,
        "server": described.server,
        "rule_action": actions.rule_action,
        "mode": actions.mode,
        "wire_action": actions.wire_action,
        "decider": record.decider,
        "nearest": record.nearest,
        "reason": record.reason,
        "confidence": record.confidence,
        "evidence": described.evidence,
        "app_port": described.port_use.map(PortUse::name),
        "expected_app": described.port_use.and_then(PortUse::expected).map(AppId::name),
        "began_as": described.carried,
        "policy_version": record.policy_version,
        "zone": record.zone,
    })
}

fn flow(described: &Described) -> Value {
    let record = &described.record;
    json!({
        "pkts_toserver": record.packets_to_server,
        "pkts_toclient": record.packets_to_client,
        "bytes_toserver": record.bytes_to_server,
        "bytes_toclient": record.bytes_to_client,
        "start": timestamp(record.first_seen_unix_us),
        "from_start": described.from_start,
    })
}

/// An alert as Suricata tells it; a signature with the rule's metadata.
fn alert(alert: &v1::Alert, described: &Described) -> Value {
    let mut told = json!({
        "action": if alert.blocked { "blocked" } else { "allowed" },
        "gid": alert.generator,
        "signature_id": alert.id,
        "rev": alert.revision,
        "signature": alert.message,
        "category": alert.name,
        "severity": alert.severity,
    });
    let matched = described.alert.as_ref();
    if let Some(rule) = matched.and_then(|alert| alert.rules.rule(alert.hit.rule)) {
        let metadata = rule.metadata.iter();
        let metadata = metadata.map(|(key, value)| format!("{key} {value}"));
        told["metadata"] = metadata.collect();
    }
    told
}

fn threat(alert: &v1::Alert) -> Value {
    let mut threat = evidence(alert);
    threat["name"] = json!(alert.name);
    threat["technique"] = json!(alert.technique);
    threat
}

fn sensor(alert: &v1::Alert) -> Value {
    json!({
        "name": alert.name,
        "pattern": alert.sign,
        "count": alert.counters.values().next(),
        "excerpt": alert.excerpt,
    })
}

/// What shows a threat: its sign, counters, and the bytes as text.
pub fn evidence(alert: &v1::Alert) -> Value {
    json!({
        "sign": alert.sign,
        "counters": alert.counters,
        "excerpt": alert.excerpt,
    })
}

fn event_type(described: &Described) -> &str {
    match described.kind {
        EventKind::Identified => "app",
        EventKind::Verdict => "drop",
        EventKind::Request | EventKind::Response | EventKind::Answer => {
            &described.record.application
        }
        EventKind::Alert | EventKind::Threat | EventKind::Sensor => "alert",
        EventKind::End => "flow",
    }
}

/// `WIRE_ACTION_DROP` → `drop`: the enumerations' names without their prefix.
fn name_of<E>(name: Result<&'static str, E>) -> String {
    let name = name.unwrap_or_default();
    ["WIRE_ACTION_", "ACTION_", "MODE_"]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or_default()
        .to_lowercase()
}

/// The name of an IP protocol as EVE writes it.
pub fn protocol_name(protocol: u32) -> String {
    match protocol {
        1 => "ICMP".into(),
        6 => "TCP".into(),
        17 => "UDP".into(),
        47 => "GRE".into(),
        50 => "ESP".into(),
        58 => "IPv6-ICMP".into(),
        132 => "SCTP".into(),
        number => number.to_string(),
    }
}

/// RFC 3339 in UTC with microseconds, the offset written as Suricata does. Later times than it can
/// write, which a capture may claim, are written as the last.
pub fn timestamp(unix_us: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_micros(unix_us.min(TIMESTAMP_MAX_US));
    format!(
        "{}+0000",
        humantime::format_rfc3339_micros(time)
            .to_string()
            .trim_end_matches('Z')
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_suricata_writes_them() {
        assert_eq!(
            timestamp(951_782_399_000_001),
            "2000-02-28T23:59:59.000001+0000"
        );
        assert_eq!(timestamp(u64::MAX), "9999-12-31T23:59:59.999999+0000");
    }
}
