//! What other programs report: Falco's alerts and Tetragon's events, as they post them.
//!
//! Falco: `json_output: true`, one object with `rule`, `priority`, `output`, `output_fields`; what
//! falcosidekick forwards is the same with a `uuid` and more. Tetragon: one object with one of
//! `process_exec`, `process_exit`, `process_kprobe`, `process_tracepoint`, `process_lsm` …, a
//! `process` with its `pod`.
//!
//! Trusts nothing: text is cut to [`TEXT_BYTES_MAX`], what is no such object is refused by name.

use serde_json::Value;
use weir_model::EventSource;

/// The longest text that is kept of a report.
pub const TEXT_BYTES_MAX: usize = 1_024;

/// What another program reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which program.
    pub source: EventSource,
    /// The name of its rule or policy, or the kind of event.
    pub name: String,
    /// A sentence.
    pub message: String,
    /// 1 is the most urgent.
    pub severity: u32,
    /// The pod it is about, where it names one.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// The machine.
    pub node: String,
}

/// Reads one object.
pub fn read(object: &Value) -> Result<Report, &'static str> {
    if object.get("output_fields").is_some() || object.get("priority").is_some() {
        return falco(object);
    }
    tetragon(object)
}

fn falco(object: &Value) -> Result<Report, &'static str> {
    let rule = text(object, "rule");
    if rule.is_empty() {
        return Err("a report of Falco names its rule");
    }
    let fields = object.get("output_fields").unwrap_or(&Value::Null);
    let priority = text(object, "priority").to_ascii_lowercase();
    Ok(Report {
        source: EventSource::Falco,
        name: rule,
        message: text(object, "output"),
        severity: match priority.as_str() {
            "emergency" | "alert" | "critical" => 1,
            "error" | "warning" => 2,
            _ => 3,
        },
        namespace: text(fields, "k8s.ns.name"),
        pod: text(fields, "k8s.pod.name"),
        node: text(object, "hostname"),
    })
}

fn tetragon(object: &Value) -> Result<Report, &'static str> {
    let kinds = object.as_object().into_iter().flatten();
    let event = kinds
        .filter(|(key, _)| key.starts_with("process_"))
        .find_map(|(key, event)| Some((key.as_str(), event, event.get("process")?)));
    let Some((kind, event, process)) = event else {
        return Err(
            "this is neither a report of Falco (rule, priority, output) nor an event of Tetragon \
             (process_exec, process_kprobe …)",
        );
    };
    let policy = text(event, "policy_name");
    let function = text(event, "function_name");
    let command = text(process, "binary") + " " + &text(process, "arguments");
    // An action of a policy (a signal, an error returned) says that it is meant seriously.
    let acted = text(event, "action").to_ascii_uppercase();
    let severe = ["KILL", "OVERRIDE", "SIGNAL", "ENFORCE"];
    Ok(Report {
        source: EventSource::Tetragon,
        name: if policy.is_empty() {
            kind.to_owned()
        } else {
            policy.clone()
        },
        message: cut(format!("{kind} {function} {command}")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")),
        severity: match (
            severe.iter().any(|word| acted.contains(word)),
            policy.is_empty(),
        ) {
            (true, _) => 1,
            (false, false) => 2,
            (false, true) => 3,
        },
        namespace: text(process.get("pod").unwrap_or(&Value::Null), "namespace"),
        pod: text(process.get("pod").unwrap_or(&Value::Null), "name"),
        node: text(object, "node_name"),
    })
}

fn text(object: &Value, key: &str) -> String {
    let text = object.get(key).and_then(Value::as_str);
    cut(text.unwrap_or_default().to_owned())
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn falco_is_read_as_it_posts() {
        let report = read(&json!({
            "hostname": "node-1",
            "output": "21:33:05.1 Notice A shell was spawned in a container (user=root shell=sh)",
            "priority": "Critical",
            "rule": "Terminal shell in container",
            "source": "syscall",
            "tags": ["container", "shell"],
            "time": "2026-11-22T08:00:00.000000000Z",
            "output_fields": {"k8s.ns.name": "shop", "k8s.pod.name": "web-7d9f-abcde", "proc.name": "sh", "evt.time": 1},
        }));
        let report = report.unwrap();
        assert_eq!((report.source, report.severity), (EventSource::Falco, 1));
        assert_eq!(report.name, "Terminal shell in container");
        assert_eq!(
            (report.namespace.as_str(), report.pod.as_str()),
            ("shop", "web-7d9f-abcde")
        );
    }

    #[test]
    fn tetragon_is_read_as_it_exports() {
        let report = read(&json!({
            "process_kprobe": {
                "process": {"binary": "/usr/bin/curl", "arguments": "http://x", "pod": {"namespace": "shop", "name": "web-0"}},
                "parent": {"binary": "/bin/sh"},
                "function_name": "tcp_connect",
                "policy_name": "egress-watch",
                "action": "KPROBE_ACTION_SIGKILL",
            },
            "node_name": "node-1",
            "time": "2026-11-22T08:00:00Z",
        }));
        let report = report.unwrap();
        assert_eq!((report.name.as_str(), report.severity), ("egress-watch", 1));
        assert_eq!(
            report.message,
            "process_kprobe tcp_connect /usr/bin/curl http://x"
        );
        assert_eq!(
            (report.namespace.as_str(), report.pod.as_str()),
            ("shop", "web-0")
        );
    }

    #[test]
    fn what_is_neither_is_refused() {
        for object in [
            json!({}),
            json!(7),
            json!({"priority": "x"}),
            json!({"process_exec": 1}),
        ] {
            assert!(read(&object).is_err(), "{object}");
        }
        let long = read(&json!({"rule": "ä".repeat(5000), "priority": "error"})).unwrap();
        assert_eq!(long.name.len(), TEXT_BYTES_MAX);
    }
}
