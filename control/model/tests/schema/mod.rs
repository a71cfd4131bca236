//! What an API server does with an object and its definition, as far as these definitions go.

use std::sync::LazyLock;

use serde_json::{Map, Value};
use weir_model::crd::{Definition, definitions};

/// Words of CEL: fields of these names stand between underscores.
const RESERVED: [&str; 3] = ["namespace", "in", "for"];

/// The field that a name in a rule means.
#[allow(dead_code, reason = "each test uses a part")]
pub(crate) fn unescaped(name: &str) -> &str {
    let inner = name
        .strip_prefix("__")
        .and_then(|rest| rest.strip_suffix("__"));
    inner.unwrap_or(name)
}

/// At most what a rule costs where everything that it asks is looked at.
#[allow(dead_code, reason = "each test uses a part")]
pub(crate) fn cost(rule: &str) -> u64 {
    let words = [
        "has(", "has(", "&&", "||", "==", "!=", "<=", "+", "?", "size(", "!", ">",
    ];
    let plain: usize = words.iter().map(|word| rule.matches(word).count()).sum();
    let lists = rule.matches(".all(").count();
    (plain + lists * 64 * 5) as u64
}

/// What the definition of a kind finds wrong with an object.
pub(crate) fn validate(kind: &str, object: &Value) -> Vec<String> {
    static DEFINITIONS: LazyLock<Vec<Definition>> = LazyLock::new(definitions);
    let named = |one: &&Definition| one.object["spec"]["names"]["kind"] == kind;
    let definition = DEFINITIONS.iter().find(named).unwrap();
    let schema = &definition.object["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut told = Vec::new();
    node(schema, object, "", &mut told);
    told
}

fn node(schema: &Value, value: &Value, path: &str, told: &mut Vec<String>) {
    if path == ".metadata" || schema["x-kubernetes-preserve-unknown-fields"] == true {
        return;
    }
    let mut tell = |what: &str| told.push(format!("{path}: {what}: {value}"));
    let number = value.is_number();
    let fits = match schema["type"].as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => number,
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => value.is_i64() || value.is_u64() || value.is_string(),
    };
    if !fits {
        return tell("has another type");
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        tell("is none of the words");
    }
    let size = match value {
        Value::String(text) => Some(("minLength", "maxLength", text.chars().count())),
        Value::Array(items) => Some(("minItems", "maxItems", items.len())),
        Value::Object(fields) => Some(("minProperties", "maxProperties", fields.len())),
        _ => None,
    };
    if let Some((least, most, size)) = size
        && (schema[least]
            .as_u64()
            .is_some_and(|least| (size as u64) < least)
            || schema[most]
                .as_u64()
                .is_some_and(|most| (size as u64) > most))
    {
        tell("has another size");
    }
    if let Some(number) = value.as_f64()
        && (schema["minimum"]
            .as_f64()
            .is_some_and(|least| number < least)
            || schema["maximum"].as_f64().is_some_and(|most| number > most))
    {
        tell("is out of range");
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
        && !regex::Regex::new(pattern).unwrap().is_match(text)
    {
        tell("does not fit the pattern");
    }
    rules(schema, value, path, told);
    within(schema, value, path, told);
}

fn within(schema: &Value, value: &Value, path: &str, told: &mut Vec<String>) {
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        node(&schema["items"], item, &format!("{path}[{index}]"), told);
    }
    let Some(fields) = value.as_object() else {
        return;
    };
    for required in schema["required"].as_array().into_iter().flatten() {
        if !fields.contains_key(required.as_str().unwrap()) {
            told.push(format!("{path}: lacks {required}"));
        }
    }
    for (name, field) in fields {
        let path = format!("{path}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Null) => told.push(format!("{path}: unknown field")),
            (Value::Null, values) => node(values, field, &path, told),
            (known, _) => node(known, field, &path, told),
        }
    }
}

fn rules(schema: &Value, value: &Value, path: &str, told: &mut Vec<String>) {
    for rule in schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let text = rule["rule"].as_str().unwrap();
        let program = cel::Program::compile(text).unwrap();
        let mut context = cel::Context::default();
        context.add_variable("self", escaped(value)).unwrap();
        match program.execute(&context) {
            Ok(cel::Value::Bool(true)) => {}
            Ok(cel::Value::Bool(false)) => told.push(format!("{path}: {}", rule["message"])),
            other => panic!("{path}: {text}: {other:?}"),
        }
    }
}

fn escaped(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, field)| {
                let name = match RESERVED.contains(&name.as_str()) {
                    true => format!("__{name}__"),
                    false => name.clone(),
                };
                (name, escaped(field))
            });
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(escaped).collect(),
        other => other.clone(),
    }
}
