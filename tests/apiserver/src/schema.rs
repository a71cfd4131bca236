//! Custom resources against their schema: types, bounds, required fields, and rules in CEL, refused in
//! the words of the real server.

use std::collections::HashSet;

use regex::Regex;
use serde_json::Value;

use crate::cel;
use crate::failure::Cause;

/// Everything that is wrong with an object. What an update leaves as it was is not looked at again.
pub(crate) fn check(schema: &Value, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    check_value(schema, "", object, old, &mut causes);
    if causes.is_empty() {
        cel::check(schema, "", object, old, &mut causes);
    } else if has_rules(schema) {
        let why = "some validation rules were not checked because the object was invalid; correct the existing \
                   errors to complete validation";
        causes.push(Cause::invalid("<nil>", &Value::Null, why));
    }
    causes
}

fn has_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => {
            map.contains_key("x-kubernetes-validations") || map.values().any(has_rules)
        }
        Value::Array(items) => items.iter().any(has_rules),
        _ => false,
    }
}

pub(crate) fn below(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// What the schema of a map says of one of its values.
pub(crate) fn schema_of<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    let own = schema["properties"].get(name);
    let own = own.unwrap_or(&schema["additionalProperties"]);
    own.is_object().then_some(own)
}

fn check_value(
    schema: &Value,
    path: &str,
    value: &Value,
    old: Option<&Value>,
    causes: &mut Vec<Cause>,
) {
    if old == Some(value) || value.is_null() && schema["nullable"] == true {
        return;
    }
    if !is_of_type(schema, value) {
        let wanted = schema["type"].as_str().unwrap_or("integer,string");
        let found = type_name(value);
        let why = format!("{path} in body must be of type {wanted}: {found:?}");
        causes.push(Cause::wrong_type(path, &shown(value), why));
        return;
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        let supported: Vec<String> = allowed
            .iter()
            .map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned))
            .collect();
        causes.push(Cause::unsupported(path, value, &supported));
    }
    match value {
        Value::Number(_) => check_number(schema, path, value, causes),
        Value::String(text) => check_text(schema, path, text, causes),
        Value::Array(items) => check_items(schema, path, items, old, causes),
        Value::Object(_) => check_fields(schema, path, value, old, causes),
        _ => {}
    }
    check_alternatives(schema, path, value, causes);
}

fn is_of_type(schema: &Value, value: &Value) -> bool {
    if schema["x-kubernetes-int-or-string"] == true {
        return value.is_string() || is_whole(value);
    }
    match schema["type"].as_str() {
        Some("string") => value.is_string(),
        Some("integer") => is_whole(value),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => true,
    }
}

fn is_whole(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_whole(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A value as an error shows it: what has parts is named by its type.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) => "\"array\"".to_owned(),
        Value::Object(_) => "\"object\"".to_owned(),
        Value::Null => "\"null\"".to_owned(),
        other => other.to_string(),
    }
}

fn check_number(schema: &Value, path: &str, value: &Value, causes: &mut Vec<Cause>) {
    let number = value.as_f64().unwrap_or_default();
    let mut bad =
        |why: String| causes.push(Cause::invalid(path, value, format!("{path} in body {why}")));
    if let Some(least) = schema["minimum"].as_f64() {
        let exclusive = schema["exclusiveMinimum"] == true;
        if exclusive && number <= least {
            bad(format!("should be greater than {least}"));
        } else if number < least {
            bad(format!("should be greater than or equal to {least}"));
        }
    }
    if let Some(most) = schema["maximum"].as_f64() {
        let exclusive = schema["exclusiveMaximum"] == true;
        if exclusive && number >= most {
            bad(format!("should be less than {most}"));
        } else if number > most {
            bad(format!("should be less than or equal to {most}"));
        }
    }
    if let Some(factor) = schema["multipleOf"].as_f64()
        && (number / factor).fract() != 0.0
    {
        bad(format!("should be a multiple of {factor}"));
    }
}

fn check_text(schema: &Value, path: &str, text: &str, causes: &mut Vec<Cause>) {
    let letters = text.chars().count() as u64;
    let value = Value::from(text);
    if let Some(most) = schema["maxLength"].as_u64()
        && letters > most
    {
        causes.push(Cause::too_long(path, most));
    }
    if let Some(least) = schema["minLength"].as_u64()
        && letters < least
    {
        causes.push(Cause::invalid(
            path,
            &value,
            format!("{path} in body should be at least {least} chars long"),
        ));
    }
    if let Some(pattern) = schema["pattern"].as_str()
        && !Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
    {
        causes.push(Cause::invalid(
            path,
            &value,
            format!("{path} in body should match '{pattern}'"),
        ));
    }
    let format = schema["format"].as_str().unwrap_or_default();
    let fits = match format {
        "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        _ => true,
    };
    if !fits {
        causes.push(Cause::invalid(
            path,
            &value,
            format!("{path} in body must be of type {format}: {text:?}"),
        ));
    }
}

fn check_items(
    schema: &Value,
    path: &str,
    items: &[Value],
    old: Option<&Value>,
    causes: &mut Vec<Cause>,
) {
    if let Some(most) = schema["maxItems"].as_u64()
        && items.len() as u64 > most
    {
        causes.push(Cause::too_many(path, items.len(), most));
    }
    if let Some(least) = schema["minItems"].as_u64()
        && (items.len() as u64) < least
    {
        let why = format!("{path} in body should have at least {least} items");
        causes.push(Cause::invalid(path, &Value::from(items.len()), why));
    }
    check_duplicates(schema, path, items, causes);
    let keys: Vec<&str> = keys_of(schema);
    for (position, item) in items.iter().enumerate() {
        let before = match old {
            Some(Value::Array(old)) if !keys.is_empty() => old
                .iter()
                .find(|one| keys.iter().all(|key| one[key] == item[key])),
            Some(Value::Array(old)) => old.get(position),
            _ => None,
        };
        check_value(
            &schema["items"],
            &format!("{path}[{position}]"),
            item,
            before,
            causes,
        );
    }
}

fn keys_of(schema: &Value) -> Vec<&str> {
    schema["x-kubernetes-list-map-keys"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

fn check_duplicates(schema: &Value, path: &str, items: &[Value], causes: &mut Vec<Cause>) {
    let keys = keys_of(schema);
    let name = |item: &Value| match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => Some(item.clone()),
        Some("map") => Some(
            keys.iter()
                .map(|&key| (key.to_owned(), item[key].clone()))
                .collect::<Value>(),
        ),
        _ => None,
    };
    let mut seen = HashSet::new();
    for (position, item) in items.iter().enumerate() {
        if let Some(name) = name(item)
            && !seen.insert(name.to_string())
        {
            causes.push(Cause::duplicate(format!("{path}[{position}]"), &name));
        }
    }
}

fn check_fields(
    schema: &Value,
    path: &str,
    value: &Value,
    old: Option<&Value>,
    causes: &mut Vec<Cause>,
) {
    let Some(map) = value.as_object() else { return };
    let count = map.len() as u64;
    if let Some(most) = schema["maxProperties"].as_u64()
        && count > most
    {
        causes.push(Cause::too_many(path, map.len(), most));
    }
    if let Some(least) = schema["minProperties"].as_u64()
        && count < least
    {
        let why = format!("{path} in body should have at least {least} properties");
        causes.push(Cause::invalid(path, &Value::from(count), why));
    }
    for (name, inner) in map {
        if let Some(own) = schema_of(schema, name) {
            let old = old.and_then(|old| old.get(name));
            check_value(own, &below(path, name), inner, old, causes);
        }
    }
    for name in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if !map.contains_key(name) {
            causes.push(Cause::required(below(path, name), ""));
        }
    }
}

fn check_alternatives(schema: &Value, path: &str, value: &Value, causes: &mut Vec<Cause>) {
    let fits = |schema: &Value| {
        let mut inner = Vec::new();
        check_value(schema, path, value, None, &mut inner);
        inner.is_empty()
    };
    let count = |name: &str| {
        schema[name]
            .as_array()
            .map(|list| list.iter().filter(|one| fits(one)).count())
    };
    let mut bad = |why: &str| {
        causes.push(Cause::invalid(path, value, format!("{path:?} {why}")));
    };
    if count("anyOf") == Some(0) {
        bad("must validate at least one schema (anyOf)");
    }
    if count("oneOf").is_some_and(|count| count != 1) {
        bad("must validate one and only one schema (oneOf)");
    }
    if let Some(all) = schema["allOf"].as_array()
        && count("allOf") != Some(all.len())
    {
        bad("must validate all the schemas (allOf)");
    }
    if schema["not"].is_object() && fits(&schema["not"]) {
        bad("must not validate the schema (not)");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(schema: Value, value: Value) -> Vec<String> {
        let schema = json!({"type": "object", "properties": {"x": schema}});
        check(&schema, &json!({"x": value}), None)
            .iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect()
    }

    #[test]
    fn what_a_schema_refuses_is_said_in_the_real_words() {
        assert_eq!(
            said(json!({"type": "integer", "minimum": 1}), json!(0)),
            ["x: Invalid value: 0: x in body should be greater than or equal to 1"]
        );
        assert_eq!(
            said(json!({"type": "integer", "maximum": 2}), json!(3)),
            ["x: Invalid value: 3: x in body should be less than or equal to 2"]
        );
        assert_eq!(
            said(json!({"type": "string", "enum": ["a", "b"]}), json!("c")),
            ["x: Unsupported value: \"c\": supported values: \"a\", \"b\""]
        );
        assert_eq!(
            said(json!({"type": "string", "maxLength": 1}), json!("cc")),
            ["x: Too long: may not be more than 1 bytes"]
        );
        assert_eq!(
            said(json!({"type": "string", "pattern": "^a$"}), json!("b")),
            ["x: Invalid value: \"b\": x in body should match '^a$'"]
        );
        assert_eq!(
            said(json!({"type": "string"}), json!(1)),
            ["x: Invalid value: 1: x in body must be of type string: \"integer\""]
        );
        assert_eq!(
            said(
                json!({"type": "array", "maxItems": 1, "items": {"type": "integer"}}),
                json!([1, 2])
            ),
            ["x: Too many: 2: must have at most 1 items"]
        );
        assert_eq!(
            said(
                json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "integer"}}),
                json!([1, 1])
            ),
            ["x[1]: Duplicate value: 1"]
        );
    }

    #[test]
    fn what_an_update_leaves_as_it_was_is_not_judged_again() {
        let schema = json!({"type": "object", "properties": {"x": {"type": "integer", "maximum": 1}, "y": {"type": "integer"}}});
        assert!(
            check(
                &schema,
                &json!({"x": 5, "y": 2}),
                Some(&json!({"x": 5, "y": 1}))
            )
            .is_empty()
        );
        assert_eq!(
            check(&schema, &json!({"x": 6}), Some(&json!({"x": 5}))).len(),
            1
        );
    }
}
