//! What is asked of requests: `toPorts[].rules`.

use serde_json::{Map, Value, json};
use weir_model::{Condition, Rule};

use crate::condition::{exact, expression, from_expression, one_of};
use crate::loss::Report;
use crate::object::Object;

/// Applications, and the conditions on one of their requests.
pub(crate) type Requests = (Vec<String>, Vec<Condition>);

/// What a client that produces sends (Cilium, Kafka policy).
const PRODUCE: [&str; 3] = ["Produce", "Metadata", "ApiVersions"];
/// What a client that consumes sends.
const CONSUME: [&str; 11] = [
    "Fetch",
    "ListOffsets",
    "Metadata",
    "OffsetCommit",
    "OffsetFetch",
    "FindCoordinator",
    "JoinGroup",
    "Heartbeat",
    "LeaveGroup",
    "SyncGroup",
    "ApiVersions",
];
/// Those that name topics.
const WITH_TOPICS: [&str; 6] = [
    "Produce",
    "Fetch",
    "ListOffsets",
    "Metadata",
    "OffsetCommit",
    "OffsetFetch",
];
/// Cilium's name of an API and ours, where they differ in more than case.
const OTHER_NAMES: [(&str, &str); 2] = [
    ("offsets", "ListOffsets"),
    ("findcoordinator", "FindCoordinator"),
];

/// Reads the rules of a port; one entry for each request that is let through. None: no restriction.
pub(crate) fn read(mut rules: Object, report: &mut Report) -> Option<Vec<Requests>> {
    let mut requests = Vec::new();
    let mut restricted = false;
    for (key, reader) in [
        ("http", http as fn(Object, &mut Report) -> Vec<Requests>),
        ("kafka", kafka),
        ("dns", dns),
    ] {
        if let Some(entries) = rules.objects(key) {
            restricted = true;
            requests.extend(entries.into_iter().flat_map(|entry| reader(entry, report)));
        }
    }
    for field in rules.rest() {
        restricted = true;
        report.narrower(
            &field,
            "this cannot be said; what it lets through is left out",
        );
    }
    restricted.then_some(requests)
}

fn http(mut entry: Object, report: &mut Report) -> Vec<Requests> {
    let mut when = Vec::new();
    for (key, field) in [
        ("method", "http.method"),
        ("path", "http.path"),
        ("host", "http.host"),
    ] {
        let at = entry.at(key);
        let Some(written) = entry.text(key).filter(|text| !text.is_empty()) else {
            continue;
        };
        match from_expression(field, &written) {
            Some(condition) => when.push(condition),
            None => {
                report.narrower(&at, format!("the expression {written:?} cannot be said as prefix, suffix or glob; the request is left out"));
                return Vec::new();
            }
        }
    }
    if !entry.all_read(report, "the request") {
        return Vec::new();
    }
    vec![(vec!["http".to_owned()], when)]
}

fn kafka(mut entry: Object, report: &mut Report) -> Vec<Requests> {
    let role = entry.text("role");
    let key = entry.text("apiKey");
    let topic = entry.text("topic").filter(|topic| !topic.is_empty());
    if !entry.all_read(report, "the request") {
        return Vec::new();
    }
    let apis: Vec<String> = match (role.as_deref(), key.as_deref()) {
        (Some("produce"), _) => PRODUCE.map(str::to_owned).into(),
        (Some("consume"), _) => CONSUME.map(str::to_owned).into(),
        (_, Some(key)) => vec![api(key)],
        _ => Vec::new(),
    };
    let request = |apis: Vec<String>, topic: Option<&String>| {
        let apis = (!apis.is_empty()).then(|| one_of("kafka.api", apis));
        let topic = topic.map(|topic| one_of("kafka.topic", [topic.clone()]));
        (
            vec!["kafka".to_owned()],
            apis.into_iter().chain(topic).collect(),
        )
    };
    let Some(topic) = topic else {
        return vec![request(apis, None)];
    };
    // Cilium asks for the topic only of requests that have one.
    let (with, without): (Vec<String>, Vec<String>) = apis
        .into_iter()
        .partition(|api| WITH_TOPICS.contains(&api.as_str()));
    let mut requests = vec![request(with, Some(&topic))];
    if !without.is_empty() {
        requests.push(request(without, None));
    }
    requests
}

/// Cilium writes APIs in lower case.
fn api(key: &str) -> String {
    let lower = key.to_ascii_lowercase();
    let other = OTHER_NAMES.iter().find(|(theirs, _)| *theirs == lower);
    let known = PRODUCE
        .iter()
        .chain(&CONSUME)
        .find(|name| name.eq_ignore_ascii_case(key));
    match (other, known) {
        (Some((_, ours)), _) => (*ours).to_owned(),
        (None, Some(known)) => (*known).to_owned(),
        (None, None) => key.to_owned(),
    }
}

fn dns(mut entry: Object, report: &mut Report) -> Vec<Requests> {
    let name = entry.text("matchName");
    let at = entry.at("matchPattern");
    let pattern = entry.text("matchPattern");
    if !entry.all_read(report, "the question") {
        return Vec::new();
    }
    let bare = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
    let condition = match (name, pattern) {
        (Some(name), _) => Some(one_of("dns.name", [bare(&name)])),
        (None, Some(pattern)) if pattern == "*" => None,
        (None, Some(pattern)) => {
            report.wider(&at, "a * also stands for several labels here");
            Some(Condition {
                field: "dns.name".to_owned(),
                glob: vec![bare(&pattern)],
                ..Condition::default()
            })
        }
        (None, None) => {
            report.narrower(&at, "names nothing; the question is left out");
            return Vec::new();
        }
    };
    vec![(vec!["dns".to_owned()], condition.into_iter().collect())]
}

/// What Cilium can ask of the requests of a rule: an entry's key and value. None where it cannot look
/// into them.
pub(crate) fn write(
    rule: &Rule,
    field: &str,
    report: &mut Report,
) -> Option<(&'static str, Value)> {
    let [application] = rule.applications.as_slice() else {
        unchecked(
            rule,
            field,
            "requests of several applications on one port",
            report,
        );
        return None;
    };
    match application.as_str() {
        "http" | "http2" => http_entry(rule, field, report).map(|entry| ("http", json!([entry]))),
        "grpc" => grpc_entries(rule, field, report).map(|entries| ("http", entries)),
        "kafka" => kafka_entries(rule, field, report).map(|entries| ("kafka", entries)),
        "dns" => dns_entries(rule, field, report).map(|entries| ("dns", entries)),
        other => {
            unchecked(rule, field, &format!("whether it is {other}"), report);
            None
        }
    }
}

fn unchecked(rule: &Rule, field: &str, what: &str, report: &mut Report) {
    if !rule.applications.is_empty() {
        let message =
            format!("Cilium does not look into {what}; whatever is spoken on the ports passes");
        report.wider(&format!("{field}.applications"), message);
    }
}

/// A condition that has no place in an entry widens it.
fn lost_condition(field: &str, condition: &Condition, report: &mut Report) {
    let message = format!(
        "Cilium does not look at {}; every value passes",
        condition.field
    );
    report.wider(&format!("{field}.when"), message);
}

fn http_entry(rule: &Rule, field: &str, report: &mut Report) -> Option<Value> {
    let mut entry = Map::new();
    for condition in &rule.when {
        match condition.field.as_str() {
            "http.method" => entry.insert("method".to_owned(), json!(expression(condition))),
            "http.path" => entry.insert("path".to_owned(), json!(expression(condition))),
            "http.host" => entry.insert("host".to_owned(), json!(expression(condition))),
            _ => {
                lost_condition(field, condition, report);
                None
            }
        };
    }
    Some(Value::Object(entry))
}

fn grpc_entries(rule: &Rule, field: &str, report: &mut Report) -> Option<Value> {
    let find = |name: &str| rule.when.iter().find(|condition| condition.field == name);
    let part = |name: &str| {
        find(name).map_or_else(
            || "[^/]+".to_owned(),
            |condition| format!("({})", expression(condition)),
        )
    };
    for condition in &rule.when {
        if !matches!(condition.field.as_str(), "grpc.service" | "grpc.method") {
            lost_condition(field, condition, report);
        }
    }
    let path = format!("/{}/{}", part("grpc.service"), part("grpc.method"));
    Some(json!([{"method": "POST", "path": path}]))
}

fn kafka_entries(rule: &Rule, field: &str, report: &mut Report) -> Option<Value> {
    let (mut apis, mut topics) = (vec![None], vec![None]);
    for condition in &rule.when {
        let list = match condition.field.as_str() {
            "kafka.api" => &mut apis,
            "kafka.topic" => &mut topics,
            _ => {
                lost_condition(field, condition, report);
                continue;
            }
        };
        match exact(condition) {
            Some(texts) => *list = texts.iter().map(Some).collect(),
            None => lost_condition(field, condition, report),
        }
    }
    let mut entries = Vec::new();
    for api in &apis {
        for topic in &topics {
            let mut entry = Map::new();
            if let Some(api) = api {
                let theirs = OTHER_NAMES.iter().find(|(_, ours)| ours == api);
                let key =
                    theirs.map_or_else(|| api.to_ascii_lowercase(), |(key, _)| (*key).to_owned());
                entry.insert("apiKey".to_owned(), json!(key));
            }
            if let Some(topic) = topic {
                entry.insert("topic".to_owned(), json!(topic));
            }
            entries.push(Value::Object(entry));
        }
    }
    Some(Value::Array(entries))
}

fn dns_entries(rule: &Rule, field: &str, report: &mut Report) -> Option<Value> {
    let mut entries = Vec::new();
    for condition in &rule.when {
        if condition.field != "dns.name" {
            lost_condition(field, condition, report);
            continue;
        }
        entries.extend(
            condition
                .exact
                .iter()
                .map(|name| json!({"matchName": name})),
        );
        let patterns = condition.glob.iter().cloned();
        let patterns = patterns
            .chain(condition.prefix.iter().map(|prefix| format!("{prefix}*")))
            .chain(condition.suffix.iter().map(|suffix| format!("*{suffix}")));
        for pattern in patterns {
            report.narrower(
                &format!("{field}.when"),
                format!("Cilium lets a * of {pattern:?} stand for one label only"),
            );
            entries.push(json!({"matchPattern": pattern}));
        }
    }
    if entries.is_empty() {
        entries.push(json!({"matchPattern": "*"}));
    }
    Some(Value::Array(entries))
}
