//! What Weir does of itself when something happens: a workload is cut off, somebody is told, packets
//! are kept.

mod capture;

use serde::{Deserialize, Serialize};

pub use capture::{Capture, CaptureOf};

use crate::{HostPort, Located, Problem, Resource, Selector, Span, Timestamp, WebhookUrl, name};

/// What follows an event (`kind: ResponseRule`).
pub type ResponseRule = Resource<ResponseRuleSpec>;

/// When, for whom, and what is done.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ResponseRuleSpec {
    /// For readers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// What has to happen.
    pub when: Trigger,
    /// The workload that it has to concern. Without one: any workload of the document's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Selector>,
    /// Which end of the connection the target has to be; default either.
    #[serde(default, skip_serializing_if = "Side::is_either")]
    pub side: Side,
    /// What is done, in this order. Without any, what matches is only kept quiet: see `suppress`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<ResponseAction>,
    /// What matches again is not acted on again for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppress: Option<Suppress>,
    /// From then on the rule does nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

/// What has to happen: one of `threat:`, `violation:`, `sensor:`, `event:`.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawTrigger", into = "RawTrigger")]
pub enum Trigger {
    /// A threat of the catalogue or a signature was found.
    Threat(OnThreat),
    /// A connection or request was stopped by policy, or would have been.
    Violation(OnViolation),
    /// A sensor fired.
    Sensor(OnSensor),
    /// Another program reported something (Falco, Tetragon).
    Event(OnEvent),
}

/// Which threats.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OnThreat {
    /// Names or numbers of the catalogue; `*` in a name stands for any run. Empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// At least this severe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
}

/// Which violations.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OnViolation {
    /// Stopped, or only reported; empty: both.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<ViolationResult>,
    /// Names of applications; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub applications: Vec<String>,
}

/// What became of a violation.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ViolationResult {
    /// It was stopped.
    Denied,
    /// The mode let it pass; protect would have stopped it.
    WouldDeny,
}

/// Which sensors.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OnSensor {
    /// Of this class; without one: of either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<SensorClass>,
    /// Their names ("payment-cards", or "shop/payment-cards"); `*` in a name stands for any run.
    /// Empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// At least this severe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
}

/// What a sensor protects from.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SensorClass {
    /// Data that must not leave.
    Dlp,
    /// Attacks that must not arrive.
    Waf,
}

/// Which events of other programs.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OnEvent {
    /// From these programs; empty: from any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<EventSource>,
    /// Names of the program's rules or policies; `*` in a name stands for any run. Empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// At least this severe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
}

/// Who reports events.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventSource {
    /// Falco's JSON output.
    Falco,
    /// Tetragon's JSON export.
    Tetragon,
}

/// How bad. Events say 3, 2 and 1.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// 3
    Low,
    /// 2
    Medium,
    /// 1
    High,
}

/// An end of a connection.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Either.
    #[default]
    Either,
    /// The one that connects.
    Client,
    /// The one that is connected to.
    Server,
}

/// What is done: one of `quarantine:`, `webhook:`, `syslog:`, `capture:`.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawAction", into = "RawAction")]
pub enum ResponseAction {
    /// Nothing from or to the workload passes, on every node.
    Quarantine(Quarantine),
    /// A message is posted to a web server.
    Webhook(Webhook),
    /// A line is sent to a log server.
    Syslog(Syslog),
    /// Packets are kept on the nodes.
    Capture(Capture),
}

/// Whom, and for how long.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Quarantine {
    /// For so long; without one, until somebody lifts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Span>,
    /// Which end; without one, the end that the rule's target and side selected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
}

/// Where to, and in which form.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Webhook {
    /// `https://…` or `http://…`, without a password in it.
    pub url: WebhookUrl,
    /// What is posted; default generic.
    #[serde(default, skip_serializing_if = "WebhookFormat::is_generic")]
    pub format: WebhookFormat,
    /// Sent with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<WebhookHeader>,
}

/// What is posted to a webhook.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WebhookFormat {
    /// The event as JSON.
    #[default]
    Generic,
    /// What Slack shows, and those that understand the same.
    Slack,
}

/// A header: its name, and either its value or the secret that holds it.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct WebhookHeader {
    /// "Authorization".
    pub name: String,
    /// The value, where anybody may read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The name of a file in the controller's directory of secrets, whose content is the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<String>,
}

/// Where to.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Syslog {
    /// "logs.example.com:514", "[fd91::1]:6514".
    pub address: HostPort,
    /// How; default udp.
    #[serde(default, skip_serializing_if = "SyslogProtocol::is_udp")]
    pub protocol: SyslogProtocol,
}

/// How lines travel to a log server.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyslogProtocol {
    /// RFC 5426.
    #[default]
    Udp,
    /// RFC 6587, counted.
    Tcp,
    /// RFC 5425.
    Tls,
}

/// What counts as the same again, and for how long it is kept quiet.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Suppress {
    /// For so long; without it always, and then the rule has to expire.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub duration: Option<Span>,
    /// What has to be equal; empty: name, client and server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<SuppressKey>,
}

/// What can be compared.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SuppressKey {
    /// The name of the threat, sensor, rule or event.
    Name,
    /// The client's workload or address.
    Client,
    /// The server's workload or address.
    Server,
    /// The application.
    Application,
    /// The node that reported it.
    Node,
}

impl ResponseRuleSpec {
    /// The most actions of one rule.
    pub const ACTIONS_MAX: usize = 16;
    /// The most names that one trigger lists.
    pub const NAMES_MAX: usize = 256;
    /// The most headers of a webhook.
    pub const HEADERS_MAX: usize = 16;
}

impl Severity {
    /// As events have it: 1 is the most urgent.
    pub const fn level(self) -> u32 {
        match self {
            Self::Low => 3,
            Self::Medium => 2,
            Self::High => 1,
        }
    }
}

impl Side {
    fn is_either(&self) -> bool {
        *self == Self::Either
    }
}

impl WebhookFormat {
    fn is_generic(&self) -> bool {
        *self == Self::Generic
    }
}

impl SyslogProtocol {
    fn is_udp(&self) -> bool {
        *self == Self::Udp
    }
}

/// What is one of several forms, each under a word of its own.
macro_rules! one_of {
    ($type:ident as $raw:ident, $what:literal: $($variant:ident $field:ident $word:literal $inner:ty, $about:literal;)*) => {
        #[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
        #[derive(Default, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "camelCase")]
        struct $raw {
            $(
                #[doc = $about]
                #[serde(default, skip_serializing_if = "Option::is_none")]
                $field: Option<$inner>,
            )*
        }

        impl TryFrom<$raw> for $type {
            type Error = String;

            fn try_from(raw: $raw) -> Result<Self, String> {
                let mut given: Vec<(&str, Self)> = Vec::new();
                $(given.extend(raw.$field.map(|inner| ($word, Self::$variant(inner))));)*
                if given.len() > 1 {
                    let words: Vec<&str> = given.iter().map(|(word, _)| *word).collect();
                    return Err(format!(
                        concat!($what, " is exactly one of {}, here are {}; write one for each"),
                        [$($word),*].join(", "), words.join(" and ")
                    ));
                }
                given.pop().map(|(_, form)| form).ok_or_else(|| format!(
                    concat!($what, " is exactly one of {}, here is none; write one"),
                    [$($word),*].join(", ")
                ))
            }
        }

        impl From<$type> for $raw {
            fn from(form: $type) -> Self {
                match form {
                    $($type::$variant(inner) => Self { $field: Some(inner), ..Self::default() },)*
                }
            }
        }
    };
}

one_of! { Trigger as RawTrigger, "what has to happen":
    Threat threat "threat" OnThreat,
        "A threat of the catalogue or a signature was found.";
    Violation violation "violation" OnViolation,
        "A connection or request was stopped by policy, or would have been.";
    Sensor sensor "sensor" OnSensor,
        "A sensor fired.";
    Event event "event" OnEvent,
        "Another program reported something (Falco, Tetragon).";
}

one_of! { ResponseAction as RawAction, "an action":
    Quarantine quarantine "quarantine" Quarantine,
        "Nothing from or to the workload passes, on every node.";
    Webhook webhook "webhook" Webhook,
        "A message is posted to a web server.";
    Syslog syslog "syslog" Syslog,
        "A line is sent to a log server.";
    Capture capture "capture" Capture,
        "Packets are kept on the nodes.";
}

/// What no single field can say of itself.
pub(crate) fn check<T>(located: &Located<T>, rule: &ResponseRule, problems: &mut Vec<Problem>) {
    let spec = &rule.spec;
    let mut tell = |field: &str, message: String, next_step: &str| {
        problems.push(located.problem(field, message, next_step));
    };
    let keeps_quiet = match &spec.suppress {
        Some(suppress) => {
            if suppress.duration.is_none() && spec.expires.is_none() {
                let message = "would keep things quiet for ever".to_owned();
                tell(
                    "spec.suppress",
                    message,
                    "write for:, or give the rule an end with expires:",
                );
            }
            true
        }
        None => false,
    };
    if spec.actions.is_empty() && !keeps_quiet {
        let next_step = "write actions:, or suppress: to keep quiet what matches";
        tell(
            "spec.actions",
            "the rule does nothing".to_owned(),
            next_step,
        );
    }
    if spec.actions.len() > ResponseRuleSpec::ACTIONS_MAX {
        let message = format!(
            "has {} actions, more than {}",
            spec.actions.len(),
            ResponseRuleSpec::ACTIONS_MAX
        );
        tell("spec.actions", message, "make several rules of it");
    }
    check_trigger(&spec.when, &mut tell);
    for (index, action) in spec.actions.iter().enumerate() {
        let field = format!("spec.actions[{index}]");
        match action {
            ResponseAction::Quarantine(_) | ResponseAction::Syslog(_) => {}
            ResponseAction::Capture(capture) => {
                for (name, message, next_step) in capture.mistakes() {
                    tell(&format!("{field}.capture.{name}"), message, next_step);
                }
            }
            ResponseAction::Webhook(webhook) => check_webhook(webhook, &field, &mut tell),
        }
    }
}

fn check_trigger(trigger: &Trigger, tell: &mut impl FnMut(&str, String, &str)) {
    let (word, names) = match trigger {
        Trigger::Threat(on) => ("threat.names", &on.names),
        Trigger::Sensor(on) => ("sensor.names", &on.names),
        Trigger::Event(on) => ("event.names", &on.names),
        Trigger::Violation(on) => ("violation.applications", &on.applications),
    };
    let field = format!("spec.when.{word}");
    if names.len() > ResponseRuleSpec::NAMES_MAX {
        let message = format!(
            "lists {} names, more than {}",
            names.len(),
            ResponseRuleSpec::NAMES_MAX
        );
        tell(
            &field,
            message,
            "make several rules of it, or use * in names",
        );
    }
    let unfit = |name: &String| name.is_empty() || name.len() > 256;
    if let Some(index) = names.iter().position(unfit) {
        let message = "a name has 1 to 256 bytes".to_owned();
        tell(&format!("{field}[{index}]"), message, "write the name");
    }
}

fn check_webhook(webhook: &Webhook, field: &str, tell: &mut impl FnMut(&str, String, &str)) {
    if webhook.headers.len() > ResponseRuleSpec::HEADERS_MAX {
        let message = format!("more than {} headers", ResponseRuleSpec::HEADERS_MAX);
        tell(
            &format!("{field}.webhook.headers"),
            message,
            "leave some out",
        );
    }
    for (index, header) in webhook.headers.iter().enumerate() {
        let field = format!("{field}.webhook.headers[{index}]");
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if !(1..=128).contains(&header.name.len()) || !header.name.bytes().all(token) {
            let message = format!("{:?} is no name of a header", name::Shortened(&header.name));
            tell(
                &format!("{field}.name"),
                message,
                "write it like Authorization",
            );
        }
        match (&header.value, &header.secret_file) {
            (Some(_), Some(_)) | (None, None) => {
                let message = "is exactly one of value, secretFile".to_owned();
                tell(&field, message, "write one of them");
            }
            (Some(value), None) => {
                let visible = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
                if value.len() > 1024 || !value.bytes().all(visible) {
                    let message = "has characters that no header may have, or more than 1024";
                    tell(
                        &format!("{field}.value"),
                        message.to_owned(),
                        "shorten or encode it",
                    );
                }
            }
            (None, Some(file)) => {
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                let plain = (1..=253).contains(&file.len())
                    && file.bytes().all(fits)
                    && !file.starts_with('.');
                if !plain {
                    let message = format!("{:?} is no plain file name", name::Shortened(file));
                    let next_step =
                        "name a file of the controller's directory of secrets, without its path";
                    tell(&format!("{field}.secretFile"), message, next_step);
                }
            }
        }
    }
}
