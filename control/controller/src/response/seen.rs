//! What nodes report, as events.

use weir_api::{Verdict, v1};
use weir_model::{SensorClass, ViolationResult};
use weir_respond::{Event, EventKind, Party};

use crate::flows::{has_ports, ip_address};
use crate::operator::capture::place;

/// The event that a record tells of; none where it tells of an ordinary connection.
pub fn event(view: &v1::FlowView) -> Option<Event> {
    let record = view.record.as_ref()?;
    let (kind, name, id, severity, message, blocked) = match &record.alert {
        Some(alert) => {
            let kind = match alert.kind() {
                v1::AlertKind::Signature => EventKind::Signature,
                // Which class it is, its document says.
                v1::AlertKind::Sensor => EventKind::Sensor {
                    class: SensorClass::Dlp,
                },
                _ => EventKind::Threat,
            };
            let name = alert.name.strip_prefix("sensor ").unwrap_or(&alert.name);
            let (id, severity) = (Some(alert.id), alert.severity.clamp(1, 4));
            (
                kind,
                name.to_owned(),
                id,
                severity,
                alert.message.clone(),
                alert.blocked,
            )
        }
        None => {
            let result = match record.verdict() {
                Verdict::Denied => ViolationResult::Denied,
                Verdict::WouldDeny => ViolationResult::WouldDeny,
                _ => return None,
            };
            let blocked = result == ViolationResult::Denied;
            let kind = EventKind::Violation { result };
            (
                kind,
                record.decider.clone(),
                None,
                2,
                record.nearest.clone(),
                blocked,
            )
        }
    };
    let party = |workload: &str, address: &[u8], port: u32| Party {
        workload: workload.contains('/').then(|| workload.to_owned()),
        address: ip_address(address),
        port: u16::try_from(port).ok().filter(|_| has_ports(record)),
    };
    Some(Event {
        kind,
        name,
        id,
        severity,
        message,
        client: party(&view.client, &record.client_address, record.client_port),
        server: party(&view.server, &record.server_address, record.server_port),
        application: record.application.clone(),
        node: view.node.clone(),
        blocked,
        community_id: record.community_id.clone(),
        time_unix_us: record.time_unix_us,
        flow: place(record),
    })
}
