//! The fields of each flow's messages, gathered while a capture is read.
//!
//! Memory bound: [`VALUES_PER_FLOW`] values of [`VALUE_BYTES_MAX`] bytes for each flow; what finds no
//! room is counted.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value as Json;
use weir_l7::{AppId, Event as Message, Value, registry};

use weir_wire::Packet;

use super::apart::Apart;
use super::capture::FlowReport;
use crate::inspection::Listener;

/// Distinct values of one field.
const VALUES_PER_FIELD: usize = 16;
/// Distinct values of all fields of a flow.
const VALUES_PER_FLOW: usize = 64;
/// Longest value; the rest is cut off.
const VALUE_BYTES_MAX: usize = 1024;

/// What the messages of one flow held.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FlowFields {
    /// "http.host": its distinct values, in the order they came.
    pub values: BTreeMap<String, Vec<Json>>,
    /// Values that found no room.
    pub left_out: u64,
    /// The server's software, where a message named it.
    pub product: Option<String>,
    /// Its version.
    pub product_version: Option<String>,
    kept: usize,
}

impl FlowFields {
    fn message(&mut self, application: AppId, message: &Message<'_>) {
        let Some(info) = registry::info(application) else {
            return;
        };
        for field in message.fields {
            let Some(spec) = info.fields.get(usize::from(field.index)) else {
                continue;
            };
            let value = json(&field.value);
            if value.as_str().is_some_and(str::is_empty) {
                continue;
            }
            match spec.name {
                "product" => note(&mut self.product, &value),
                "product_version" => note(&mut self.product_version, &value),
                _ => {}
            }
            self.keep(format!("{}.{}", info.name, spec.name), value);
        }
    }

    fn keep(&mut self, name: String, value: Json) {
        let values = self.values.get(&name);
        if values.is_some_and(|values| values.contains(&value)) {
            return;
        }
        if values.map_or(0, Vec::len) >= VALUES_PER_FIELD || self.kept >= VALUES_PER_FLOW {
            self.left_out += 1;
            return;
        }
        self.kept += 1;
        self.values.entry(name).or_default().push(value);
    }
}

/// The first that was told stands.
fn note(noted: &mut Option<String>, value: &Json) {
    if noted.is_none() {
        *noted = value.as_str().map(str::to_owned);
    }
}

fn json(value: &Value<'_>) -> Json {
    match value {
        Value::Bytes(bytes) => {
            let cut = bytes.get(..VALUE_BYTES_MAX).unwrap_or(bytes);
            String::from_utf8_lossy(cut).into()
        }
        Value::Name(name) => (*name).into(),
        Value::Number(number) => (*number).into(),
        Value::Address(address) => address.to_string().into(),
    }
}

/// Gathers the fields of every flow, by the flow's number, and what has no flow.
#[derive(Clone, Default)]
pub(super) struct Gathered(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    flows: HashMap<u64, FlowFields>,
    apart: Apart,
}

impl Gathered {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a flow that is over held.
    pub(super) fn take(&self, flow: u64) -> FlowFields {
        self.inner().flows.remove(&flow).unwrap_or_default()
    }

    /// What had no flow.
    pub(super) fn apart(&self) -> Vec<FlowReport> {
        self.inner().apart.reports().collect()
    }
}

impl Listener for Gathered {
    fn message(&mut self, flow: u64, application: AppId, message: &Message<'_>) {
        let mut inner = self.inner();
        let fields = inner.flows.entry(flow).or_default();
        fields.message(application, message);
    }

    fn apart(&mut self, packet: &Packet, frame_bytes: usize, time_us: u64) {
        self.inner().apart.add(packet, frame_bytes, time_us);
    }
}

#[cfg(test)]
mod tests {
    use weir_l7::{EventKind, Field};

    use super::*;

    fn hosts(fields: &mut FlowFields, hosts: impl IntoIterator<Item = String>) {
        let field = registry::field("http.host").unwrap();
        for host in hosts {
            let message = Message {
                kind: EventKind::Request,
                fields: &[Field {
                    index: field.index,
                    value: Value::Bytes(host.as_bytes()),
                }],
            };
            fields.message(field.app, &message);
        }
    }

    #[test]
    fn values_are_distinct_and_in_order() {
        let mut fields = FlowFields::default();
        hosts(&mut fields, ["b", "a", "", "b"].map(String::from));
        assert_eq!(fields.values["http.host"], ["b", "a"]);
        assert_eq!(fields.left_out, 0);
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let mut fields = FlowFields::default();
        hosts(&mut fields, (0..20).map(|number| number.to_string()));
        assert_eq!(fields.values["http.host"].len(), VALUES_PER_FIELD);
        assert_eq!(fields.left_out, 4);
        let mut fields = FlowFields::default();
        for number in 0..100 {
            fields.keep(format!("field{number}"), number.into());
        }
        assert_eq!(fields.values.len(), VALUES_PER_FLOW);
        assert_eq!(fields.left_out, 36);
    }

    #[test]
    fn a_long_value_is_cut() {
        let mut fields = FlowFields::default();
        hosts(&mut fields, ["a".repeat(2 * VALUE_BYTES_MAX)]);
        let host = fields.values["http.host"][0].as_str().unwrap();
        assert_eq!(host.len(), VALUE_BYTES_MAX);
    }
}
