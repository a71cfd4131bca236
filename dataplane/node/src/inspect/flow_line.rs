//! A flow as one JSON line: what `inspect --flows` prints.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use weir_l7::{TURNED, registry};

use super::capture::FlowReport;
use crate::eve::timestamp;

/// A flow of a capture, client first.
#[derive(Debug, Serialize)]
pub struct FlowLine<'a> {
    capture: &'a str,
    src_ip: &'a str,
    src_port: u32,
    dst_ip: &'a str,
    dst_port: u32,
    proto: &'a str,
    /// The outermost application: what it began as, or the special case of it that it proved to be.
    app: &'a str,
    /// What it turned into on the way, or carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    carries: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    product: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    product_version: Option<&'a str>,
    /// Both in one, as servers write it: "nginx/1.24.0".
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    confidence: &'a str,
    evidence: &'a str,
    /// Whether the server's port is a customary one of the application's.
    #[serde(skip_serializing_if = "Option::is_none")]
    app_port: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_app: Option<&'a str>,
    bytes: u64,
    packets: u64,
    first_seen: String,
    last_seen: String,
    fields: &'a BTreeMap<String, Vec<Value>>,
    fields_left_out: u64,
}

impl<'a> FlowLine<'a> {
    /// The line of a flow in this capture.
    pub fn of(capture: &'a str, flow: &'a FlowReport) -> Self {
        let turned = flow.evidence == TURNED;
        let (app, carries) = outermost(&flow.app, flow.began_as, turned);
        Self {
            capture,
            src_ip: &flow.src_ip,
            src_port: flow.src_port,
            dst_ip: &flow.dst_ip,
            dst_port: flow.dst_port,
            proto: &flow.proto,
            app,
            carries,
            product: flow.fields.product.as_deref(),
            product_version: flow.fields.product_version.as_deref(),
            server: server(
                flow.fields.product.as_deref(),
                flow.fields.product_version.as_deref(),
            ),
            confidence: &flow.confidence,
            evidence: flow.evidence,
            app_port: flow.app_port,
            expected_app: flow.expected_app,
            bytes: flow.bytes,
            packets: flow.packets,
            first_seen: timestamp(flow.first_seen_us),
            last_seen: timestamp(flow.last_seen_us),
            fields: &flow.fields.values,
            fields_left_out: flow.fields.left_out,
        }
    }
}

fn server(product: Option<&str>, version: Option<&str>) -> Option<String> {
    let product = product?;
    Some(match version {
        Some(version) => format!("{product}/{version}"),
        None => product.to_owned(),
    })
}

/// Application and what it carries, from what a flow is now and what it began as: one that turned
/// into a special case of itself is that, and so is what STUN has found the way for.
fn outermost<'a>(
    now: &'a str,
    began_as: Option<&'a str>,
    turned: bool,
) -> (&'a str, Option<&'a str>) {
    let now = if now.is_empty() { "unknown" } else { now };
    match began_as {
        Some("stun") if turned && now != "unknown" => (now, None),
        Some(began_as) if began_as != now && !(turned && is_case_of(now, began_as)) => {
            (began_as, Some(now))
        }
        _ => (now, None),
    }
}

fn is_case_of(now: &str, general: &str) -> bool {
    match (registry::by_name(now), registry::by_name(general)) {
        (Some(now), Some(general)) => registry::refines(now, general),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outermost_application_comes_first() {
        assert_eq!(outermost("", None, true), ("unknown", None));
        assert_eq!(outermost("http", None, true), ("http", None));
        assert_eq!(outermost("dtls", Some("stun"), true), ("dtls", None));
        assert_eq!(
            outermost("tls", Some("mysql"), true),
            ("mysql", Some("tls"))
        );
        assert_eq!(
            outermost("grpc", Some("http"), false),
            ("http", Some("grpc"))
        );
        assert_eq!(
            outermost("websocket", Some("http"), true),
            ("websocket", None)
        );
    }
}
