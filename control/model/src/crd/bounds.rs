//! Bounds for everything that can grow, and rules that no single field can state (CEL).
//!
//! An API server refuses a definition whose rules could cost more than its budget for the largest
//! object that fits the bounds, so the bounds of the lists around a rule and the rule's own length
//! belong together; the test of the definitions adds them up. Ports and protocols are text or a
//! number, which the API server counts as text of 3 MB: no rule can be put on them.

use serde_json::{Map, Value, json};

use crate::document::Kind;
use crate::{
    Capture, GuardrailSpec, LearnedConversation, LearnedStatus, ResponseRuleSpec, SensorSpec,
    ThreatPolicySpec, UnknownSettings,
};

/// A list, map or text that has no row of its own has at most these.
const ITEMS_MAX: usize = 64;
const PROPERTIES_MAX: usize = 64;
const LENGTH_MAX: usize = 256;

/// Where, and the most entries or characters there.
const LIMITS: &[(&str, usize)] = &[
    ("spec.about", 4096),
    ("spec.ingress", 256),
    ("spec.egress", 256),
    ("spec.ingress[].from", 512),
    ("spec.egress[].to", 512),
    ("spec.ingress[].when[].field", 128),
    ("spec.egress[].when[].field", 128),
    ("spec.addresses", 10_000),
    ("spec.externalAddresses", 1024),
    ("spec.workloads", 256),
    ("spec.nodes", 10_000),
    ("spec.images[]", 1024),
    ("spec.patterns", SensorSpec::PATTERNS_MAX),
    ("spec.patterns[].regex", 4 * SensorSpec::TEXT_BYTES_MAX),
    ("spec.patterns[].literals", SensorSpec::TEXTS_MAX),
    ("spec.patterns[].words", SensorSpec::TEXTS_MAX),
    ("spec.patterns[].dataset", SensorSpec::TEXTS_MAX),
    ("spec.examples.fires", 1024),
    ("spec.examples.passes", 1024),
    ("spec.examples.fires[]", 16_384),
    ("spec.examples.passes[]", 16_384),
    ("spec.rules", ThreatPolicySpec::RULES_MAX),
    ("spec.rules[].threats", ThreatPolicySpec::THREATS_MAX),
    ("spec.actions", ResponseRuleSpec::ACTIONS_MAX),
    (
        "spec.actions[].webhook.headers",
        ResponseRuleSpec::HEADERS_MAX,
    ),
    ("spec.actions[].webhook.headers[].name", 128),
    ("spec.actions[].webhook.headers[].value", 1024),
    ("spec.when.threat.names", ResponseRuleSpec::NAMES_MAX),
    ("spec.when.sensor.names", ResponseRuleSpec::NAMES_MAX),
    ("spec.when.event.names", ResponseRuleSpec::NAMES_MAX),
    (
        "spec.when.violation.applications",
        ResponseRuleSpec::NAMES_MAX,
    ),
    ("spec.rego", GuardrailSpec::REGO_BYTES_MAX),
    ("spec.admission.exemptNamespaces", 1024),
    ("spec.match.namespaces", 1024),
    ("spec.match.excludedNamespaces", 1024),
    ("status.conditions", 16),
    ("status.conditions[].type", 316),
    ("status.conditions[].reason", 1024),
    ("status.conditions[].message", 32_768),
    ("status.conversations", LearnedStatus::CONVERSATIONS_MAX),
    (
        "status.conversations[].points",
        LearnedConversation::POINTS_MAX,
    ),
    (
        "status.conversations[].clientReplicas",
        LearnedConversation::REPLICAS_MAX,
    ),
    (
        "status.conversations[].activity",
        LearnedConversation::ACTIVITY_MAX,
    ),
    (
        "status.conversations[].names",
        LearnedConversation::NAMES_MAX,
    ),
    (
        "status.conversations[].alertNames",
        LearnedConversation::NAMES_MAX,
    ),
    ("status.conversations[].client", 320),
    ("status.conversations[].server", 320),
    ("status.decisions", LearnedStatus::DECISIONS_MAX),
    ("status.decisions[].client", 320),
    ("status.decisions[].server", 320),
    ("status.decisions[].reason", 512),
    ("status.formerly", LearnedStatus::FORMERLY_MAX),
    ("status.workload", 320),
];

/// Where, and a list that has to have an entry: what is left out means any, what is empty nothing.
const FILLED: &[&str] = &[
    "spec.ingress[].from",
    "spec.ingress[].from[].except",
    "spec.ingress[].applications",
    "spec.ingress[].ports",
    "spec.ingress[].protocols",
    "spec.ingress[].when",
    "spec.ingress[].when[].in",
    "spec.ingress[].when[].prefix",
    "spec.ingress[].when[].suffix",
    "spec.ingress[].when[].glob",
    "spec.egress[].to",
    "spec.egress[].to[].except",
    "spec.egress[].applications",
    "spec.egress[].ports",
    "spec.egress[].protocols",
    "spec.egress[].when",
    "spec.egress[].when[].in",
    "spec.egress[].when[].prefix",
    "spec.egress[].when[].suffix",
    "spec.egress[].when[].glob",
    "spec.patterns",
    "spec.rules[].threats",
];

/// Where, and the least and the most a number can be.
const RANGES: &[(&str, u32, u32)] = &[
    ("spec.unknown.holdMs", 0, UnknownSettings::HOLD_MS_MAX),
    ("spec.threshold.flow", 1, SensorSpec::THRESHOLD_MAX),
    (
        "spec.threshold.source.matches",
        1,
        SensorSpec::THRESHOLD_MAX,
    ),
    ("spec.threshold.source.withinS", 1, SensorSpec::WINDOW_S_MAX),
    ("spec.actions[].capture.packets", 1, Capture::PACKETS_MAX),
    (
        "spec.actions[].capture.bytes",
        Capture::BYTES_MIN,
        Capture::BYTES_MAX,
    ),
];

const NAMESPACE: &str = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";
/// Up to an hour.
const CAPTURE_DURATION: &str = "^(1h|60m|[1-5]?[0-9]m([0-9]{1,2}s)?|[0-9]{1,4}s)$";
const FULL_NAME: &str = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9]([-a-z0-9.]*[a-z0-9])?$";

/// A rule, and what it says where it does not hold. Fields whose names are words of CEL stand
/// between underscores.
type Rule = (&'static str, &'static str);

const SELECTOR: &[Rule] = &[
    (
        "has(self.workload) != (has(self.matchLabels) || has(self.matchExpressions) || has(self.__namespace__) || has(self.namespaceSelector))",
        "give either workload, or labels of workloads (matchLabels, matchExpressions) and namespaces (namespace, namespaceSelector)",
    ),
    (
        "!has(self.__namespace__) || !has(self.namespaceSelector)",
        "give either namespace or namespaceSelector, not both",
    ),
];
const PEER: &[Rule] = &[
    (
        "(has(self.workload) ? 1 : 0) + (has(self.cidr) ? 1 : 0) + (has(self.domain) ? 1 : 0) + (has(self.service) ? 1 : 0) + (has(self.unknown) ? 1 : 0) + (has(self.any) ? 1 : 0) + (has(self.matchLabels) || has(self.matchExpressions) || has(self.__namespace__) || has(self.namespaceSelector) ? 1 : 0) == 1",
        "a peer is exactly one of workload, matchLabels (with matchExpressions, namespace, namespaceSelector), cidr, domain, service, unknown, any",
    ),
    (
        "!has(self.__namespace__) || !has(self.namespaceSelector)",
        "give either namespace or namespaceSelector, not both",
    ),
    (
        "!has(self.except) || has(self.cidr)",
        "except goes with cidr only",
    ),
];
const CLIENT: &[Rule] = &[(
    "!has(self.domain)",
    "a domain cannot be told from the addresses of those who connect; use domain in egress, and cidr or workload here",
)];
const EXPRESSION: &[Rule] = &[(
    "(self.operator == 'In' || self.operator == 'NotIn') == (has(self.values) && size(self.values) > 0)",
    "In and NotIn need values, Exists and DoesNotExist have none",
)];
const CONDITION: &[Rule] = &[(
    "has(self.__in__) || has(self.prefix) || has(self.suffix) || has(self.glob)",
    "a condition compares with nothing; give in, prefix, suffix or glob",
)];

/// Which kind (None: any), where, and the rules there.
const RULES: &[(Option<Kind>, &str, &[Rule])] = &[
    (None, "spec.target", SELECTOR),
    (None, "spec.target.matchExpressions[]", EXPRESSION),
    (
        None,
        "spec.target.namespaceSelector.matchExpressions[]",
        EXPRESSION,
    ),
    (
        None,
        "spec.match.namespaceSelector.matchExpressions[]",
        EXPRESSION,
    ),
    (None, "spec.ingress[].from[]", PEER),
    (None, "spec.ingress[].from[]", CLIENT),
    (None, "spec.egress[].to[]", PEER),
    (None, "spec.ingress[].when[]", CONDITION),
    (None, "spec.egress[].when[]", CONDITION),
    (
        Some(Kind::Service),
        "spec",
        &[(
            "has(self.externalName) ? !has(self.workload) && !has(self.workloads) : has(self.workload) != has(self.workloads)",
            "give either workload, workloads or externalName",
        )],
    ),
    (
        Some(Kind::Mode),
        "spec",
        &[(
            "has(self.mode) || (has(self.quarantine) && self.quarantine)",
            "the document sets nothing; write mode: discover, monitor or protect, or quarantine: true",
        )],
    ),
    (
        Some(Kind::Settings),
        "",
        &[(
            "self.metadata.name == 'settings'",
            "a cluster has one Settings, which holds for everything; name it settings",
        )],
    ),
    (
        Some(Kind::Settings),
        "spec.unknown",
        &[(
            "has(self.mode) || !has(self.action) || self.action != 'deny'",
            "deny without a mode would never take effect; give a mode: protect to block, monitor to report",
        )],
    ),
    (
        Some(Kind::Sensor),
        "spec",
        &[(
            "has(self.where) || self.patterns.all(pattern, has(pattern.where))",
            "a pattern looks nowhere; write where: [body] or another place, here or at each pattern",
        )],
    ),
    (
        Some(Kind::Sensor),
        "spec.patterns[]",
        &[
            (
                "(has(self.regex) ? 1 : 0) + (has(self.literals) ? 1 : 0) + (has(self.words) ? 1 : 0) == 1",
                "a pattern is exactly one of regex, literals, words",
            ),
            (
                "!has(self.dataset) || has(self.regex)",
                "dataset goes with regex only",
            ),
        ],
    ),
    (
        Some(Kind::Sensor),
        "spec.threshold",
        &[(
            "has(self.flow) || has(self.source)",
            "a threshold sets nothing; write flow: or source:, or leave it out",
        )],
    ),
    (
        Some(Kind::ThreatPolicy),
        "spec",
        &[(
            "has(self.rules) || has(self.thresholds)",
            "the document sets nothing; write rules: or thresholds:",
        )],
    ),
    (
        Some(Kind::ThreatPolicy),
        "spec.thresholds",
        &[(
            "!has(self.synOnPerS) || !has(self.synOffPerS) || self.synOffPerS <= self.synOnPerS",
            "synOffPerS is more than synOnPerS: a flood would end as it begins",
        )],
    ),
    (
        Some(Kind::ResponseRule),
        "spec",
        &[
            (
                "has(self.actions) || has(self.suppress)",
                "the rule does nothing; write actions:, or suppress: to keep quiet what matches",
            ),
            (
                "!has(self.suppress) || has(self.suppress.__for__) || has(self.expires)",
                "would keep things quiet for ever; write suppress.for, or give the rule an end with expires",
            ),
        ],
    ),
    (
        Some(Kind::ResponseRule),
        "spec.when",
        &[(
            "(has(self.threat) ? 1 : 0) + (has(self.violation) ? 1 : 0) + (has(self.sensor) ? 1 : 0) + (has(self.event) ? 1 : 0) == 1",
            "what has to happen is exactly one of threat, violation, sensor, event",
        )],
    ),
    (
        Some(Kind::ResponseRule),
        "spec.actions[]",
        &[(
            "(has(self.quarantine) ? 1 : 0) + (has(self.webhook) ? 1 : 0) + (has(self.syslog) ? 1 : 0) + (has(self.capture) ? 1 : 0) == 1",
            "an action is exactly one of quarantine, webhook, syslog, capture",
        )],
    ),
    (
        Some(Kind::ResponseRule),
        "spec.actions[].webhook.headers[]",
        &[(
            "has(self.value) != has(self.secretFile)",
            "a header has exactly one of value, secretFile",
        )],
    ),
];

/// Bounds a kind's schema and puts the rules into it.
pub(super) fn apply(kind: Kind, schema: &mut Value) {
    walk(kind, "", schema);
}

fn walk(kind: Kind, path: &str, schema: &mut Value) {
    let Value::Object(fields) = schema else {
        return;
    };
    // What everything has, the API server bounds itself.
    if matches!(path, "apiVersion" | "kind" | "metadata") {
        return;
    }
    bound(path, fields);
    particular(kind, path, fields);
    let rules: Vec<Value> = RULES
        .iter()
        .filter(|(of, place, _)| *place == path && of.is_none_or(|of| of == kind))
        .flat_map(|(_, _, rules)| *rules)
        .map(|(rule, message)| json!({"rule": rule, "message": message}))
        .collect();
    if !rules.is_empty() {
        fields.insert("x-kubernetes-validations".to_owned(), rules.into());
    }
    if let Some(items) = fields.get_mut("items") {
        walk(kind, &format!("{path}[]"), items);
    }
    if let Some(values) = fields.get_mut("additionalProperties") {
        walk(kind, &format!("{path}{{}}"), values);
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        for (name, property) in properties {
            let path = match path {
                "" => name.clone(),
                path => format!("{path}.{name}"),
            };
            walk(kind, &path, property);
        }
    }
}

fn bound(path: &str, fields: &mut Map<String, Value>) {
    let own = LIMITS.iter().find(|(place, _)| *place == path);
    let limit = |usual: usize| Value::from(own.map_or(usual, |(_, limit)| *limit));
    let form = fields.get("type").and_then(Value::as_str);
    match form {
        Some("array") => {
            fields.entry("maxItems").or_insert_with(|| limit(ITEMS_MAX));
        }
        Some("object") if fields.contains_key("additionalProperties") => {
            fields
                .entry("maxProperties")
                .or_insert_with(|| limit(PROPERTIES_MAX));
        }
        Some("string") if !fields.contains_key("enum") => {
            fields
                .entry("maxLength")
                .or_insert_with(|| limit(LENGTH_MAX));
        }
        _ => {}
    }
    if FILLED.contains(&path) {
        fields.insert("minItems".to_owned(), 1.into());
    }
    if let Some((_, least, most)) = RANGES.iter().find(|(place, ..)| *place == path) {
        fields.insert("minimum".to_owned(), (*least).into());
        fields.insert("maximum".to_owned(), (*most).into());
    }
}

/// What a place has beyond bounds.
fn particular(kind: Kind, path: &str, fields: &mut Map<String, Value>) {
    let last = path.rsplit('.').next().unwrap_or(path);
    match last {
        "matchLabels{}" | "values[]" if path.contains("match") => {
            fields.insert("maxLength".to_owned(), 63.into());
        }
        "key" if path.contains("matchExpressions") => {
            fields.insert("maxLength".to_owned(), 317.into());
        }
        "namespace" | "namespaces[]" | "excludedNamespaces[]" | "exemptNamespaces[]" => {
            fields.insert("maxLength".to_owned(), 63.into());
            fields.insert("pattern".to_owned(), NAMESPACE.into());
        }
        "unknown" | "any" if path.ends_with("[].unknown") || path.ends_with("[].any") => {
            fields.insert("enum".to_owned(), json!([true]));
        }
        "workload" | "service" if kind == Kind::ClusterAllowlist => {
            fields.insert("pattern".to_owned(), FULL_NAME.into());
        }
        _ => {}
    }
    if path == "spec.actions[].capture.duration" {
        fields.insert("pattern".to_owned(), CAPTURE_DURATION.into());
    }
    if path == "status.conditions" {
        fields.insert("x-kubernetes-list-type".to_owned(), "map".into());
        fields.insert("x-kubernetes-list-map-keys".to_owned(), json!(["type"]));
    }
    if path == "spec.patterns" {
        fields.insert("x-kubernetes-list-type".to_owned(), "map".into());
        fields.insert("x-kubernetes-list-map-keys".to_owned(), json!(["name"]));
    }
}
