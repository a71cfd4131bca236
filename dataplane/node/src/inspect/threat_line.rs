//! A threat found in a capture, as one JSON line.

use serde::Serialize;
use serde_json::Value;

use crate::agent::Described;
use crate::eve;

/// One finding.
#[derive(Clone, Debug, Serialize)]
pub struct ThreatLine {
    /// File name.
    pub capture: String,
    /// The threat's name.
    pub threat: String,
    /// When, as EVE writes it.
    pub timestamp: String,
    /// Who began it.
    pub src_ip: String,
    /// Client port.
    pub src_port: u32,
    /// Server.
    pub dst_ip: String,
    /// Server port.
    pub dst_port: u32,
    /// `tcp`, `udp`, or the protocol's name.
    pub proto: String,
    /// What the flow speaks; "" where that was not known.
    pub app: String,
    /// Technique of MITRE ATT&CK.
    pub technique: String,
    /// What shows it.
    pub evidence: Value,
}

impl ThreatLine {
    /// None where the event is no alert.
    pub fn of(capture: &str, described: &Described) -> Option<Self> {
        let record = &described.record;
        let alert = record.alert.as_ref()?;
        Some(Self {
            capture: capture.to_owned(),
            threat: alert.name.clone(),
            timestamp: eve::timestamp(record.time_unix_us),
            src_ip: described.addresses.0.to_string(),
            src_port: record.client_port,
            dst_ip: described.addresses.1.to_string(),
            dst_port: record.server_port,
            proto: eve::protocol_name(record.protocol).to_lowercase(),
            app: record.application.clone(),
            technique: alert.technique.clone(),
            evidence: eve::evidence(alert),
        })
    }
}
