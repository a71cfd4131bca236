//! The custom resources: the files are what the types say, and an API server takes them.
//!
//! `UPDATE_CRDS=1 cargo test -p weir-model --test crds` writes the files anew.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;
use weir_model::crd::definitions;
use weir_model::{Kind, from_object};

#[path = "schema/mod.rs"]
mod schema;

/// What the API server grants one rule, and all rules of a definition.
const RULE_COST_MAX: u64 = 10_000_000;
const COST_MAX: u64 = 100_000_000;

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy/baremetal/crds")
}

#[test]
fn the_files_are_what_the_types_say() {
    let directory = directory();
    let update = std::env::var_os("UPDATE_CRDS").is_some();
    if update {
        std::fs::create_dir_all(&directory).unwrap();
    }
    let mut expected = BTreeSet::from(["Kustomization".to_owned()]);
    for definition in definitions() {
        let path = directory.join(&definition.file_name);
        let text = definition.to_yaml();
        if update {
            std::fs::write(&path, &text).unwrap();
        }
        let stands = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            stands == text,
            "{} is not what the types say; UPDATE_CRDS=1 cargo test -p weir-model --test crds",
            path.display()
        );
        expected.insert(definition.file_name);
    }
    let there: BTreeSet<String> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(there, expected);
    let list = std::fs::read_to_string(directory.join("Kustomization")).unwrap();
    for name in expected.iter().filter(|name| name.starts_with("weir.dev")) {
        assert!(
            list.contains(name),
            "the Kustomization does not list {name}"
        );
    }
}

/// `deploy/` in each definition; the root schema of the first version.
fn root(definition: &Value) -> &Value {
    &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

#[test]
fn schemas_are_structural_and_bounded() {
    for definition in definitions() {
        let mut checked = Checked::default();
        checked.node(root(&definition.object), "", 1);
        assert_eq!(
            checked.mistakes,
            Vec::<String>::new(),
            "{}",
            definition.file_name
        );
        assert!(
            checked.cost <= COST_MAX,
            "{} costs {}",
            definition.file_name,
            checked.cost
        );
    }
}

#[derive(Default)]
struct Checked {
    mistakes: Vec<String>,
    cost: u64,
}

/// The words that a node of a structural schema may have here.
const WORDS: [&str; 22] = [
    "type",
    "description",
    "properties",
    "required",
    "items",
    "additionalProperties",
    "enum",
    "format",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "x-kubernetes-validations",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
];

impl Checked {
    fn tell(&mut self, path: &str, what: &str) {
        self.mistakes.push(format!("{path}: {what}"));
    }

    /// `count`: how often the node can occur in one object.
    fn node(&mut self, node: &Value, path: &str, count: u64) {
        let Value::Object(fields) = node else {
            return self.tell(path, "is no schema");
        };
        for word in fields.keys().filter(|word| !WORDS.contains(&word.as_str())) {
            self.tell(path, &format!("has {word}"));
        }
        let form = node["type"].as_str();
        let is = |word: &str| node[word] == true;
        let any = is("x-kubernetes-preserve-unknown-fields");
        let either = is("x-kubernetes-int-or-string");
        if form.is_none() != (any || either) {
            self.tell(path, "has neither a type nor a reason to have none");
        }
        if fields.contains_key("properties") && fields.contains_key("additionalProperties") {
            self.tell(path, "has properties and additionalProperties");
        }
        let described = ["", "metadata"].contains(&path) || path.ends_with(['}', ']']);
        if !described && node["description"].as_str().is_none_or(str::is_empty) {
            self.tell(path, "has no description");
        }
        if let Some(pattern) = node["pattern"].as_str()
            && let Err(error) = regex::Regex::new(pattern)
        {
            self.tell(path, &error.to_string());
        }
        let bounded = match form {
            Some("string") => fields.contains_key("maxLength") || fields.contains_key("enum"),
            Some("array") => fields.contains_key("maxItems"),
            Some("object") if fields.contains_key("additionalProperties") => {
                fields.contains_key("maxProperties")
            }
            _ => true,
        };
        if !bounded && !["apiVersion", "kind"].contains(&path) {
            self.tell(path, "is not bounded");
        }
        for required in node["required"].as_array().into_iter().flatten() {
            if !node["properties"][required.as_str().unwrap()].is_object() {
                self.tell(
                    path,
                    &format!("requires {required}, which it does not have"),
                );
            }
        }
        self.rules(node, path, count);
        self.within(node, path, count);
    }

    fn within(&mut self, node: &Value, path: &str, count: u64) {
        if let Some(Value::Object(properties)) = node.get("properties") {
            for (name, property) in properties {
                let path = format!("{path}.{name}");
                self.node(property, path.trim_start_matches('.'), count);
            }
        }
        let times = |word: &str| count.saturating_mul(node[word].as_u64().unwrap_or(u64::MAX));
        if let Some(items) = node.get("items") {
            self.node(items, &format!("{path}[]"), times("maxItems"));
        }
        if let Some(values) = node.get("additionalProperties") {
            self.node(values, &format!("{path}{{}}"), times("maxProperties"));
        }
    }

    /// Each rule is CEL, names fields that are there, and is cheap enough for the largest object.
    fn rules(&mut self, node: &Value, path: &str, count: u64) {
        let names = regex::Regex::new(r"self((?:\.\w+)+)").unwrap();
        for rule in node["x-kubernetes-validations"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let text = rule["rule"].as_str().unwrap();
            if rule["message"].as_str().is_none_or(str::is_empty) {
                self.tell(path, "has a rule without a message");
            }
            if let Err(error) = cel::Program::compile(text) {
                self.tell(path, &format!("{text}: {error}"));
            }
            for found in names.captures_iter(text) {
                let mut at = node;
                for name in found[1].split('.').filter(|name| !name.is_empty()) {
                    let name = schema::unescaped(name);
                    at = match (&at["properties"][name], name) {
                        (Value::Null, "all" | "metadata" | "name") => break,
                        (Value::Null, _) => {
                            self.tell(path, &format!("{text}: there is no {name}"));
                            break;
                        }
                        (inner, _) => inner,
                    };
                }
            }
            let cost = count.saturating_mul(schema::cost(text));
            if cost > RULE_COST_MAX {
                self.tell(path, &format!("{text}: costs {cost}"));
            }
            self.cost += cost;
        }
    }
}

#[test]
fn names_do_not_meet_and_columns_show_what_is_there() {
    let mut names = BTreeSet::new();
    for definition in definitions() {
        let spec = &definition.object["spec"];
        let own = &spec["names"];
        let short = own["shortNames"].as_array().unwrap();
        for name in [&own["plural"], &own["singular"]].into_iter().chain(short) {
            assert!(
                names.insert(name.as_str().unwrap().to_owned()),
                "{name} twice"
            );
        }
        let version = &spec["versions"][0];
        for column in version["additionalPrinterColumns"].as_array().unwrap() {
            let path = column["jsonPath"].as_str().unwrap();
            let plain = path.replace("[?(@.type==\"", "[").replace("\")]", "]");
            let mut at = root(&definition.object);
            for name in plain.split('.').filter(|name| !name.is_empty()) {
                if path == ".metadata.creationTimestamp" {
                    break;
                }
                let field = name.split('[').next().unwrap();
                at = &at["properties"][field];
                assert!(at.is_object(), "{} has no {path}", definition.file_name);
                if name.contains('[') {
                    at = &at["items"];
                }
            }
        }
    }
}

/// Each mistake that no single field shows is found by the server, and by the reader as well.
#[test]
fn what_cannot_be_meant_is_refused_by_schema_and_reader() {
    let allow = |rule: &str| ("Allowlist", format!("{{target: {{workload: a}}, {rule}}}"));
    let cases = [
        allow("ingress: [{from: [{}]}]"),
        allow("ingress: [{from: []}]"),
        allow("ingress: [{ports: [1]}]"),
        allow("ingress: [{from: [{any: false}]}]"),
        allow("ingress: [{from: [{any: true, workload: b}]}]"),
        allow("ingress: [{from: [{domain: example.com}]}]"),
        allow("ingress: [{from: [{any: true, except: [10.0.0.0/8]}]}]"),
        allow("egress: [{from: [{any: true}]}]"),
        allow("egress: [{to: [{namespace: b, namespaceSelector: {}}]}]"),
        allow("egress: [{to: [{workload: b, namespace: c}]}]"),
        allow("egress: [{to: [{any: true}], ports: [70000]}]"),
        allow("egress: [{to: [{any: true}], ports: [x]}]"),
        allow("egress: [{to: [{any: true}], when: [{field: http.path}]}]"),
        allow("stage: enforce"),
        ("Allowlist", "{ingress: []}".to_owned()),
        ("Allowlist", "{target: {}}".to_owned()),
        (
            "Allowlist",
            "{target: {workload: a, matchLabels: {}}}".to_owned(),
        ),
        (
            "Allowlist",
            "{target: {matchExpressions: [{key: a, operator: In}]}}".to_owned(),
        ),
        (
            "Allowlist",
            "{target: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}".to_owned(),
        ),
        (
            "Allowlist",
            "{target: {matchExpressions: [{key: a, operator: Equals, values: [b]}]}}".to_owned(),
        ),
        ("ClusterAllowlist", "{target: {workload: a}}".to_owned()),
        (
            "ClusterAllowlist",
            "{target: {workload: b/a}, ingress: [{from: [{service: c}]}]}".to_owned(),
        ),
        ("Service", "{}".to_owned()),
        ("Service", "{workload: a, workloads: [b]}".to_owned()),
        ("Mode", "{target: {workload: a}}".to_owned()),
        (
            "Mode",
            "{target: {workload: a}, quarantine: false}".to_owned(),
        ),
        ("Sensor", "{patterns: []}".to_owned()),
        ("Sensor", "{patterns: [{name: a, words: [b]}]}".to_owned()),
        (
            "Sensor",
            "{where: [body], patterns: [{name: a, words: [b], regex: c}]}".to_owned(),
        ),
        (
            "Sensor",
            "{where: [body], patterns: [{name: a, words: [b], dataset: [c]}]}".to_owned(),
        ),
        (
            "Sensor",
            "{where: [body], patterns: [{name: a, words: [b]}], threshold: {}}".to_owned(),
        ),
        ("ThreatPolicy", "{target: {workload: a}}".to_owned()),
        (
            "ThreatPolicy",
            "{target: {workload: a}, rules: [{threats: [], action: drop}]}".to_owned(),
        ),
        (
            "ThreatPolicy",
            "{target: {workload: a}, rules: [{threats: [SYN], action: drop}]}".to_owned(),
        ),
        (
            "ThreatPolicy",
            "{target: {workload: a}, thresholds: {beaconJitterPercent: 80}}".to_owned(),
        ),
        (
            "ThreatPolicy",
            "{target: {workload: a}, thresholds: {synOnPerS: 5, synOffPerS: 6}}".to_owned(),
        ),
        (
            "ResponseRule",
            "{when: {}, actions: [{quarantine: {}}]}".to_owned(),
        ),
        (
            "ResponseRule",
            "{when: {threat: {}, sensor: {}}, actions: [{quarantine: {}}]}".to_owned(),
        ),
        ("ResponseRule", "{when: {threat: {}}}".to_owned()),
        (
            "ResponseRule",
            "{when: {threat: {}}, suppress: {}}".to_owned(),
        ),
        (
            "ResponseRule",
            "{when: {threat: {}}, actions: [{}]}".to_owned(),
        ),
        (
            "ResponseRule",
            "{when: {threat: {}}, actions: [{quarantine: {duration: 1 week}}]}".to_owned(),
        ),
        (
            "ResponseRule",
            "{when: {threat: {}}, actions: [{webhook: {url: 'ftp://x'}}]}".to_owned(),
        ),
        (
            "ResponseRule",
            "{when: {threat: {}}, actions: [{webhook: {url: 'http://x', headers: [{name: A}]}}]}"
                .to_owned(),
        ),
        (
            "ResponseRule",
            "{when: {threat: {}}, actions: [{syslog: {address: x}}]}".to_owned(),
        ),
        (
            "ResponseRule",
            "{when: {threat: {}}, actions: [{capture: {packets: 0}}]}".to_owned(),
        ),
        (
            "ResponseRule",
            "{when: {threat: {}}, actions: [{capture: {packets: 2000000}}]}".to_owned(),
        ),
        (
            "ResponseRule",
            "{when: {threat: {}}, actions: [{capture: {bytes: 64}}]}".to_owned(),
        ),
        (
            "ResponseRule",
            "{when: {threat: {}}, actions: [{capture: {bytes: 4000000000}}]}".to_owned(),
        ),
        (
            "ResponseRule",
            "{when: {threat: {}}, actions: [{capture: {duration: 2h}}]}".to_owned(),
        ),
        (
            "ResponseRule",
            "{when: {threat: {}}, actions: [{capture: {duration: 1d}}]}".to_owned(),
        ),
        (
            "ResponseRule",
            "{when: {threat: {}}, actions: [{capture: {of: node}}]}".to_owned(),
        ),
        (
            "ResponseRule",
            "{when: {threat: {}}, actions: [{capture: {seconds: 5}}]}".to_owned(),
        ),
        (
            "ResponseRule",
            "{when: {threat: {}}, actions: [{capture: {}, quarantine: {}}]}".to_owned(),
        ),
        ("Guardrail", "{rego: x, match: {kinds: [Pod]}}".to_owned()),
        (
            "Guardrail",
            "{rego: x, match: {namespaces: [A]}}".to_owned(),
        ),
        ("Guardrail", "{}".to_owned()),
    ];
    for (kind, spec) in cases {
        let object = object(kind, &spec);
        let read = from_object(&object, "test");
        assert!(read.is_err(), "the reader takes {kind} {spec}");
        let told = schema::validate(kind, &object);
        assert!(!told.is_empty(), "the schema takes {kind} {spec}");
    }
}

fn object(kind: &str, spec: &str) -> Value {
    let mut metadata = serde_json::json!({"name": "settings"});
    if Kind::by_name(kind).unwrap().is_namespaced() {
        metadata["namespace"] = "default".into();
    }
    serde_json::json!({
        "apiVersion": "weir.dev/v1alpha1",
        "kind": kind,
        "metadata": metadata,
        "spec": serde_yaml_ng::from_str::<Value>(spec).unwrap(),
    })
}
