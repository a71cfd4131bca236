//! What is sent: JSON for webhooks, text for Slack, lines for syslog.

use serde::Serialize;
use serde_json::{Value, json};
use weir_model::{Timestamp, WebhookFormat};

use crate::engine::{Order, OrderAction};
use crate::event::{Event, EventKind};

/// The form of the generic message; a change that breaks readers counts it up.
pub const MESSAGE_VERSION: u32 = 1;
/// The longest line: what RFC 5426 wants every receiver to take is 480, and what most take is this.
pub const LINE_BYTES_MAX: usize = 8_192;

/// Facility local0 (RFC 5424, 6.2.1).
const FACILITY: u32 = 16;

/// The generic message.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    version: u32,
    rule: &'a str,
    time: String,
    #[serde(flatten)]
    event: &'a Event,
    #[serde(skip_serializing_if = "is_zero")]
    repeated: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    withheld: Option<String>,
}

/// The body of a message to a webhook, as JSON.
pub fn body(order: &Order, format: WebhookFormat) -> Value {
    match format {
        WebhookFormat::Generic => generic(order),
        WebhookFormat::Slack => json!({"text": slack(order)}),
    }
}

/// A line as RFC 5424 has it, with the generic message as its text. Without a line feed at its end.
pub fn line(order: &Order, hostname: &str) -> String {
    let event = &order.event;
    // Critical, warning, notice, informational (RFC 5424, 6.2.1).
    let severity = match event.severity {
        0 | 1 => 2,
        2 => 4,
        3 => 5,
        _ => 6,
    };
    let priority = FACILITY * 8 + severity;
    let time = time(event.time_unix_us);
    let host = token(hostname, 255);
    let id = token(kind(event.kind), 32);
    let text = generic(order).to_string();
    let mut line = format!("<{priority}>1 {time} {host} weir - {id} - {text}");
    line.truncate(line.floor_char_boundary(LINE_BYTES_MAX));
    line
}

/// A sentence for people.
pub fn sentence(order: &Order) -> String {
    let event = &order.event;
    let what = match event.message.as_str() {
        "" => event.name.clone(),
        message => format!("{}: {message}", event.name),
    };
    let ends = match event.server.workload.is_some() || event.server.address.is_some() {
        true => format!("{} → {}", event.client.shown(), event.server.shown()),
        false => event.client.shown(),
    };
    let done = if event.blocked { ", stopped" } else { "" };
    let again = match order.repeated {
        0 => String::new(),
        times => format!(", {times} times more while it was kept quiet"),
    };
    let withheld = match &order.action {
        OrderAction::Withheld { workload } => {
            format!("; {workload} was not cut off, since the rule has cut off as many as it may")
        }
        _ => String::new(),
    };
    format!(
        "{} {what} ({ends}{done}){again}{withheld}",
        kind(event.kind)
    )
}

fn generic(order: &Order) -> Value {
    let message = Message {
        version: MESSAGE_VERSION,
        rule: &order.rule,
        time: time(order.event.time_unix_us),
        event: &order.event,
        repeated: order.repeated,
        withheld: match &order.action {
            OrderAction::Withheld { workload } => Some(workload.clone()),
            _ => None,
        },
    };
    serde_json::to_value(message).unwrap_or(Value::Null)
}

/// The three characters that Slack takes for markup are escaped: names come from the wire.
fn slack(order: &Order) -> String {
    let text = sentence(order)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    format!("*Weir* {text} [{}]", order.rule)
}

fn kind(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Threat => "threat",
        EventKind::Signature => "signature",
        EventKind::Violation { .. } => "violation",
        EventKind::Sensor { .. } => "sensor",
        EventKind::Outside { .. } => "event",
    }
}

/// RFC 3339 with microseconds.
fn time(unix_us: u64) -> String {
    let (seconds, fraction_us) = (unix_us / 1_000_000, unix_us % 1_000_000);
    let whole = Timestamp::from_unix_s(seconds).map(|time| time.to_string());
    let whole = whole.unwrap_or_else(|| "1970-01-01T00:00:00Z".to_owned());
    format!("{}.{fraction_us:06}Z", whole.trim_end_matches('Z'))
}

/// Printable ASCII without spaces, or "-".
fn token(text: &str, bytes_max: usize) -> String {
    let fits = |letter: &char| letter.is_ascii_graphic();
    let token: String = text.chars().filter(fits).take(bytes_max).collect();
    match token.is_empty() {
        true => "-".to_owned(),
        false => token,
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
