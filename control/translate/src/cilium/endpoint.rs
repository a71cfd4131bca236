//! Endpoint selectors: labels of pods, with those of their namespaces mixed in under prefixes.

use serde_json::{Map, Value, json};
use weir_model::{Expression, LabelSelector, NAMESPACE_NAME_LABEL, Namespaces, Operator, Selector};

use crate::labels;
use crate::loss::Report;
use crate::network_policy::namespaces;
use crate::object::Object;
use crate::workloads::{Selected, Within};

const NAMESPACE: &str = "io.kubernetes.pod.namespace";
const NAMESPACE_LABEL: &str = "io.cilium.k8s.namespace.labels.";
const CLUSTER: &str = "io.cilium.k8s.policy.cluster";
const ACCOUNT: &str = "io.cilium.k8s.policy.serviceaccount";

/// What a label asks about.
enum About {
    Pod(String),
    Namespace(String),
    /// Why it cannot be said.
    Nothing(&'static str),
}

/// Reads a selector of a policy; none where a part of it cannot be said.
pub(crate) fn read(mut object: Object, report: &mut Report) -> Option<Selector> {
    let path = object.path().to_owned();
    let (mut pods, mut of_namespaces) = (Object::empty(&path), Object::empty(&path));
    let (mut pod_expressions, mut namespace_expressions) = (Vec::new(), Vec::new());
    let (mut pod_labels, mut namespace_labels) = (Map::new(), Map::new());
    let mut refuse = |key: &str, why: &str| {
        report.narrower(&path, format!("{key}: {why}; what it selects is left out"));
    };
    for (key, value) in object
        .object("matchLabels")
        .map(Object::labels)
        .unwrap_or_default()
    {
        match about(&key) {
            About::Pod(label) => pod_labels.insert(label, value.into()),
            About::Namespace(label) => namespace_labels.insert(label, value.into()),
            About::Nothing(why) => {
                refuse(&key, why);
                return None;
            }
        };
    }
    for mut expression in object.objects("matchExpressions").unwrap_or_default() {
        let key = expression.text("key").unwrap_or_default();
        let mut map = expression.into_map();
        match about(&key) {
            About::Pod(label) => {
                map.insert("key".to_owned(), label.into());
                pod_expressions.push(Value::Object(map));
            }
            About::Namespace(label) => {
                map.insert("key".to_owned(), label.into());
                namespace_expressions.push(Value::Object(map));
            }
            About::Nothing(why) => {
                refuse(&key, why);
                return None;
            }
        }
    }
    let elsewhere = !namespace_labels.is_empty() || !namespace_expressions.is_empty();
    for (object, labels, expressions) in [
        (&mut pods, pod_labels, pod_expressions),
        (&mut of_namespaces, namespace_labels, namespace_expressions),
    ] {
        object.put("matchLabels", Value::Object(labels));
        object.put("matchExpressions", Value::Array(expressions));
    }
    if !object.all_read(report, "what it selects") {
        return None;
    }
    Some(Selector::Labels {
        labels: labels::read(pods, report)?,
        namespaces: match elsewhere {
            true => namespaces(labels::read(of_namespaces, report)?),
            false => Namespaces::Own,
        },
    })
}

/// As Cilium writes it. `own` is the namespace of the policy, empty for the whole cluster.
pub(crate) fn write(selected: &Selected, own: &str) -> Value {
    let mut labels = Map::new();
    let mut expressions = Vec::new();
    for (key, value) in &selected.labels.match_labels {
        labels.insert(key.clone(), json!(value));
    }
    for expression in &selected.labels.match_expressions {
        expressions.push(written(&expression.key, expression));
    }
    match &selected.namespaces {
        Within::One(name) if name == own => {}
        Within::One(name) => {
            labels.insert(NAMESPACE.to_owned(), json!(name));
        }
        Within::Labelled(namespaces) if *namespaces == LabelSelector::default() => {
            if !own.is_empty() {
                expressions.push(json!({"key": NAMESPACE, "operator": "Exists"}));
            }
        }
        Within::Labelled(namespaces) => {
            let key = |key: &str| match key {
                NAMESPACE_NAME_LABEL => NAMESPACE.to_owned(),
                key => format!("{NAMESPACE_LABEL}{key}"),
            };
            for (label, value) in &namespaces.match_labels {
                labels.insert(key(label), json!(value));
            }
            for expression in &namespaces.match_expressions {
                expressions.push(written(&key(&expression.key), expression));
            }
        }
    }
    let mut selector = Map::new();
    if !labels.is_empty() {
        selector.insert("matchLabels".to_owned(), Value::Object(labels));
    }
    if !expressions.is_empty() {
        selector.insert("matchExpressions".to_owned(), Value::Array(expressions));
    }
    Value::Object(selector)
}

fn written(key: &str, expression: &Expression) -> Value {
    let operator = json!(expression.operator);
    match expression.operator {
        Operator::In | Operator::NotIn => {
            json!({"key": key, "operator": operator, "values": expression.values})
        }
        Operator::Exists | Operator::DoesNotExist => json!({"key": key, "operator": operator}),
    }
}

fn about(key: &str) -> About {
    if let Some(rest) = key
        .strip_prefix("reserved:")
        .or(key.strip_prefix("reserved."))
    {
        return match rest {
            "" => About::Nothing("reserved labels cannot be said"),
            _ => About::Nothing("Cilium's own identities cannot be said"),
        };
    }
    let key = key
        .strip_prefix("k8s:")
        .or(key.strip_prefix("any:"))
        .or(key.strip_prefix("k8s."))
        .unwrap_or(key);
    match key {
        NAMESPACE => About::Namespace(NAMESPACE_NAME_LABEL.to_owned()),
        CLUSTER => About::Nothing("other clusters cannot be named"),
        ACCOUNT => About::Nothing("service accounts cannot be selected"),
        key => match key.strip_prefix(NAMESPACE_LABEL) {
            Some(label) => About::Namespace(label.to_owned()),
            None => About::Pod(key.to_owned()),
        },
    }
}
