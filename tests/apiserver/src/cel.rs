//! Rules of a schema in CEL: `x-kubernetes-validations`.
//!
//! Programs are kept by their text, so that a rule is read once. Memory: the rules of the CRDs of a test.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use cel::{Context, Program};
use serde_json::Value;

use crate::failure::Cause;
use crate::schema::{below, schema_of};

type Compiled = Result<Arc<Program>, String>;

static PROGRAMS: LazyLock<Mutex<HashMap<String, Compiled>>> = LazyLock::new(Mutex::default);

/// Reads a rule.
pub(crate) fn compile(rule: &str) -> Compiled {
    let mut programs = PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(program) = programs.get(rule) {
        return program.clone();
    }
    let program = Program::compile(rule)
        .map(Arc::new)
        .map_err(|error| error.to_string());
    programs.insert(rule.to_owned(), program.clone());
    program
}

/// Asks every rule that looks at a value or at something in it.
pub(crate) fn check(
    schema: &Value,
    path: &str,
    value: &Value,
    old: Option<&Value>,
    causes: &mut Vec<Cause>,
) {
    for rule in schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
    {
        ask(schema, rule, path, value, old, causes);
    }
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                if let Some(own) = schema_of(schema, name) {
                    let old = old.and_then(|old| old.get(name));
                    check(own, &below(path, name), inner, old, causes);
                }
            }
        }
        Value::Array(items) => {
            for (position, item) in items.iter().enumerate() {
                check(
                    &schema["items"],
                    &format!("{path}[{position}]"),
                    item,
                    None,
                    causes,
                );
            }
        }
        _ => {}
    }
}

fn ask(
    schema: &Value,
    rule: &Value,
    path: &str,
    value: &Value,
    old: Option<&Value>,
    causes: &mut Vec<Cause>,
) {
    let text = rule["rule"].as_str().unwrap_or_default();
    let compares = text.contains("oldSelf");
    if compares && old.is_none() && rule["optionalOldSelf"] != true
        || !compares && old == Some(value)
    {
        return;
    }
    let at = match rule["fieldPath"].as_str() {
        Some(field) => format!("{path}{field}").trim_start_matches('.').to_owned(),
        None => path.to_owned(),
    };
    let kind = Value::from(schema["type"].as_str().unwrap_or("object"));
    match evaluate(text, schema, value, old) {
        Ok(cel::Value::Bool(true)) => {}
        Ok(cel::Value::Bool(false)) => {
            let why =
                message(rule, schema, value, old).unwrap_or_else(|| format!("failed rule: {text}"));
            let cause = match rule["reason"].as_str() {
                Some("FieldValueForbidden") => Cause::forbidden(at, why),
                Some("FieldValueRequired") => Cause::required(at, &why),
                _ => Cause::invalid(at, &kind, why),
            };
            causes.push(cause);
        }
        Ok(_) => causes.push(Cause::invalid(
            at,
            &kind,
            format!("rule evaluation error: {text} is no condition"),
        )),
        Err(why) => causes.push(Cause::invalid(
            at,
            &kind,
            format!("rule evaluation error: {why}"),
        )),
    }
}

fn message(rule: &Value, schema: &Value, value: &Value, old: Option<&Value>) -> Option<String> {
    if let Some(expression) = rule["messageExpression"].as_str()
        && let Ok(cel::Value::String(text)) = evaluate(expression, schema, value, old)
    {
        return Some(text.to_string());
    }
    rule["message"].as_str().map(str::to_owned)
}

fn evaluate(
    text: &str,
    schema: &Value,
    value: &Value,
    old: Option<&Value>,
) -> Result<cel::Value, String> {
    let program = compile(text)?;
    let mut context = Context::default();
    context.add_variable_from_value("self", as_cel(schema, value));
    if let Some(old) = old {
        context.add_variable_from_value("oldSelf", as_cel(schema, old));
    }
    add_functions(&mut context).map_err(|error| format!("{error:?}"))?;
    program.execute(&context).map_err(|error| error.to_string())
}

/// Words of CEL that a field may be called and a rule cannot write.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// How a rule names a field.
fn escaped(name: &str) -> String {
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    let name = name.replace("__", "__underscores__");
    name.replace('.', "__dot__")
        .replace('-', "__dash__")
        .replace('/', "__slash__")
}

/// A value as rules see it: fields under names that a rule can write, keys of maps as they are. JSON knows
/// no unsigned numbers, and neither do rules.
fn as_cel(schema: &Value, value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => cel::Value::Int(whole),
            None => cel::Value::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => cel::Value::String(Arc::new(text.clone())),
        Value::Array(items) => cel::Value::List(Arc::new(
            items
                .iter()
                .map(|item| as_cel(&schema["items"], item))
                .collect(),
        )),
        Value::Object(map) => {
            let fields = map
                .iter()
                .map(|(name, inner)| match schema["properties"].get(name) {
                    Some(own) => (escaped(name), as_cel(own, inner)),
                    None => (name.clone(), as_cel(&schema["additionalProperties"], inner)),
                });
            cel::Value::Map(fields.collect::<HashMap<String, cel::Value>>().into())
        }
    }
}

/// What Kubernetes has besides CEL's own functions.
fn add_functions(context: &mut Context) -> Result<(), cel::DeclarationError> {
    context.add_function("isIP", |text: Arc<String>| {
        text.parse::<std::net::IpAddr>().is_ok()
    })?;
    context.add_function("isCIDR", |text: Arc<String>| is_network(&text))?;
    context.add_function("isURL", |text: Arc<String>| text.contains("://"))?;
    Ok(())
}

/// An address and a prefix that is not longer than it.
fn is_network(text: &str) -> bool {
    let Some((address, prefix)) = text.split_once('/') else {
        return false;
    };
    let most = match address.parse() {
        Ok(std::net::IpAddr::V4(_)) => 32,
        Ok(std::net::IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    prefix.parse::<u8>().is_ok_and(|prefix| prefix <= most)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(rule: Value, value: Value, old: Option<&Value>) -> Vec<String> {
        let mut causes = Vec::new();
        check(
            &json!({"type": "object", "x-kubernetes-validations": [rule]}),
            "spec",
            &value,
            old,
            &mut causes,
        );
        causes
            .into_iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect()
    }

    #[test]
    fn a_rule_that_fails_is_named_by_its_message() {
        let rule = json!({"rule": "!self.host.contains('://')", "message": "host must not carry a scheme"});
        assert_eq!(
            said(rule.clone(), json!({"host": "https://x"}), None),
            ["spec: Invalid value: \"object\": host must not carry a scheme"]
        );
        assert!(said(rule, json!({"host": "x"}), None).is_empty());
    }

    #[test]
    fn what_kubernetes_adds_to_cel_is_there() {
        for rule in [
            "isCIDR(self.net) && !isCIDR(self.host)",
            "isIP('::1')",
            "!has(self.none)",
            "self.list.all(x, x > 0)",
            "self.list.exists_one(x, x == 2)",
            "self.host.matches('^[a-z.]+$')",
            "size(self.list) == 2",
            "self.host.startsWith('a') && self.host.endsWith('b')",
            "self.list.map(x, x * 2)[1] == 4",
            "has(self.host) != has(self.other)",
            "self.host in ['a.b']",
            "self.list.filter(x, x > 1).size() == 1",
        ] {
            let value = json!({"net": "10.0.0.0/8", "host": "a.b", "list": [1, 2]});
            assert_eq!(
                said(json!({"rule": rule}), value, None),
                Vec::<String>::new(),
                "{rule}"
            );
        }
    }

    #[test]
    fn fields_that_are_words_of_cel_are_named_as_kubernetes_names_them() {
        let schema = json!({"type": "object", "properties": {"namespace": {"type": "string"}, "a-b": {"type": "string"},
            "map": {"type": "object", "additionalProperties": {"type": "string"}}},
            "x-kubernetes-validations": [
                {"rule": "has(self.__namespace__) && self.a__dash__b == 'x' && self.map['in'] == 'y'"}]});
        let mut causes = Vec::new();
        check(
            &schema,
            "",
            &json!({"namespace": "n", "a-b": "x", "map": {"in": "y"}}),
            None,
            &mut causes,
        );
        assert_eq!(causes, []);
    }

    #[test]
    fn a_rule_about_a_change_waits_for_one() {
        let rule = json!({"rule": "self.a == oldSelf.a", "message": "a is immutable"});
        assert!(said(rule.clone(), json!({"a": 1}), None).is_empty());
        assert_eq!(
            said(rule, json!({"a": 2}), Some(&json!({"a": 1}))),
            ["spec: Invalid value: \"object\": a is immutable"]
        );
    }
}
