//! What a CRD may not be: its schema has to be structural, its names have to fit.

use serde_json::Value;

use crate::cel;
use crate::failure::Cause;

/// Everything that is wrong with a CRD.
pub(crate) fn check(definition: &Value, causes: &mut Vec<Cause>) {
    let spec = &definition["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (plural, group) = (text(&spec["names"]["plural"]), text(&spec["group"]));
    let name = &definition["metadata"]["name"];
    for (field, value) in [
        ("spec.group", &group),
        ("spec.names.plural", &plural),
        ("spec.scope", &text(&spec["scope"])),
    ] {
        if value.is_empty() {
            causes.push(Cause::required(field, ""));
        }
    }
    if *name != format!("{plural}.{group}") {
        causes.push(Cause::invalid(
            "metadata.name",
            name,
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    let versions: Vec<&Value> = spec["versions"].as_array().into_iter().flatten().collect();
    if versions
        .iter()
        .filter(|version| version["storage"] == true)
        .count()
        != 1
    {
        let why = "must have exactly one version marked as storage version";
        causes.push(Cause::invalid("spec.versions", &spec["versions"], why));
    }
    for (position, version) in versions.iter().enumerate() {
        // With one version the real server speaks of it as of the whole.
        let (at, schema_at) = if versions.len() == 1 {
            (
                "spec".to_owned(),
                "spec.validation.openAPIV3Schema".to_owned(),
            )
        } else {
            let at = format!("spec.versions[{position}]");
            (at.clone(), format!("{at}.schema.openAPIV3Schema"))
        };
        let schema = &version["schema"]["openAPIV3Schema"];
        if schema.is_null() {
            causes.push(Cause::required(schema_at, "schemas are required"));
            continue;
        }
        check_schema(schema, &schema_at, true, causes);
        check_columns(version, &at, causes);
        check_selectable(version, schema, &at, causes);
    }
}

/// Fields of JSON schema that have no meaning here.
const FORBIDDEN: [&str; 6] = [
    "definitions",
    "dependencies",
    "deprecated",
    "discriminator",
    "id",
    "patternProperties",
];

fn check_schema(schema: &Value, path: &str, root: bool, causes: &mut Vec<Cause>) {
    let kind = schema["type"].as_str().unwrap_or_default();
    let either = schema["x-kubernetes-int-or-string"] == true;
    let open = schema["x-kubernetes-preserve-unknown-fields"] == true;
    if kind.is_empty() && !either && !open {
        let where_ = if root {
            "must not be empty at the root"
        } else {
            "must not be empty for specified object fields"
        };
        causes.push(Cause::required(format!("{path}.type"), where_));
    }
    if root && !kind.is_empty() && kind != "object" {
        causes.push(Cause::invalid(
            format!("{path}.type"),
            &schema["type"],
            "must be object at the root",
        ));
    }
    for name in FORBIDDEN.iter().chain(&["$ref"]) {
        if !schema[*name].is_null() {
            causes.push(Cause::forbidden(
                format!("{path}.{name}"),
                format!("{name} is not supported"),
            ));
        }
    }
    if schema["uniqueItems"] == true {
        causes.push(Cause::forbidden(
            format!("{path}.uniqueItems"),
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ));
    }
    if schema["additionalProperties"] == false {
        causes.push(Cause::forbidden(
            format!("{path}.additionalProperties"),
            "additionalProperties cannot be set to false",
        ));
    }
    if schema["additionalProperties"].is_object() && schema["properties"].is_object() {
        causes.push(Cause::forbidden(
            format!("{path}.additionalProperties"),
            "additionalProperties and properties are mutual exclusive",
        ));
    }
    for (position, name) in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        // An unquoted `on` or `yes` in YAML is a truth to many readers, kubectl among them.
        if !name.is_string() {
            let why = "must be a string";
            causes.push(Cause::wrong_type(
                format!("{path}.required[{position}]"),
                &name.to_string(),
                why,
            ));
        }
    }
    check_list(schema, kind, path, causes);
    check_rules(schema, path, causes);
    for name in ["anyOf", "oneOf", "allOf"] {
        for (position, inner) in schema[name].as_array().into_iter().flatten().enumerate() {
            check_alternative(inner, &format!("{path}.{name}[{position}]"), either, causes);
        }
    }
    if schema["not"].is_object() {
        check_alternative(&schema["not"], &format!("{path}.not"), false, causes);
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        // What every object carries need not be described.
        if !(root && matches!(name.as_str(), "metadata" | "apiVersion" | "kind")) {
            check_schema(inner, &format!("{path}.properties[{name}]"), false, causes);
        }
    }
    if schema["additionalProperties"].is_object() {
        check_schema(
            &schema["additionalProperties"],
            &format!("{path}.additionalProperties"),
            false,
            causes,
        );
    }
    if schema["items"].is_object() {
        check_schema(&schema["items"], &format!("{path}.items"), false, causes);
    }
}

fn check_list(schema: &Value, kind: &str, path: &str, causes: &mut Vec<Cause>) {
    if kind == "array" && !schema["items"].is_object() {
        causes.push(Cause::required(
            format!("{path}.items"),
            "must be specified",
        ));
    }
    if schema["x-kubernetes-list-type"] != "map" {
        return;
    }
    let items = &schema["items"];
    for key in schema["x-kubernetes-list-map-keys"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        let own = &items["properties"][key];
        let required = items["required"]
            .as_array()
            .is_some_and(|list| list.iter().any(|one| one == key));
        if own.is_null() {
            let why = "entries must all be names of item properties";
            causes.push(Cause::invalid(
                format!("{path}.x-kubernetes-list-map-keys"),
                &Value::from(key),
                why,
            ));
        } else if !required && own["default"].is_null() {
            let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            causes.push(Cause::required(
                format!("{path}.items.properties[{key}].default"),
                why,
            ));
        }
    }
}

/// Alternatives only narrow what the schema around them says.
fn check_alternative(schema: &Value, path: &str, either: bool, causes: &mut Vec<Cause>) {
    for name in [
        "type",
        "description",
        "title",
        "default",
        "nullable",
        "additionalProperties",
    ] {
        let known_pattern = either && name == "type";
        if !schema[name].is_null() && !known_pattern {
            causes.push(Cause::forbidden(
                format!("{path}.{name}"),
                "must be empty to be structural",
            ));
        }
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        check_alternative(inner, &format!("{path}.properties[{name}]"), false, causes);
    }
    if schema["items"].is_object() {
        check_alternative(&schema["items"], &format!("{path}.items"), false, causes);
    }
}

fn check_rules(schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    for (position, rule) in schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let text = rule["rule"].as_str().unwrap_or_default();
        if let Err(why) = cel::compile(text) {
            let at = format!("{path}.x-kubernetes-validations[{position}].rule");
            causes.push(Cause::invalid(
                at,
                &rule["rule"],
                format!("compilation failed: {why}"),
            ));
        }
    }
}

fn check_columns(version: &Value, path: &str, causes: &mut Vec<Cause>) {
    const KINDS: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
    for (position, column) in version["additionalPrinterColumns"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let at = format!("{path}.additionalPrinterColumns[{position}]");
        if column["name"].as_str().is_none_or(str::is_empty) {
            causes.push(Cause::required(format!("{at}.name"), ""));
        }
        if !column["type"]
            .as_str()
            .is_some_and(|kind| KINDS.contains(&kind))
        {
            let why = format!("must be one of {}", KINDS.join(","));
            causes.push(Cause::invalid(format!("{at}.type"), &column["type"], why));
        }
        if column["jsonPath"].as_str().is_none_or(str::is_empty) {
            causes.push(Cause::required(format!("{at}.JSONPath"), ""));
        }
    }
}

fn check_selectable(version: &Value, schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    for (position, field) in version["selectableFields"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let named = field["jsonPath"].as_str().unwrap_or_default();
        let found = named
            .split('.')
            .skip(1)
            .fold(schema, |schema, name| &schema["properties"][name]);
        let scalar = matches!(
            found["type"].as_str(),
            Some("string" | "boolean" | "integer")
        );
        if !scalar {
            let why = "is an invalid path: does not refer to a valid field";
            causes.push(Cause::invalid(
                format!("{path}.selectableFields[{position}].jsonPath"),
                &field["jsonPath"],
                why,
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(spec_schema: Value) -> Vec<String> {
        let definition = json!({
            "metadata": {"name": "things.weir.dev"},
            "spec": {
                "group": "weir.dev", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {"spec": spec_schema}}}}],
            },
        });
        let mut causes = Vec::new();
        check(&definition, &mut causes);
        causes
            .into_iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect()
    }

    #[test]
    fn what_is_not_structural_is_refused_where_it_stands() {
        let at = "spec.validation.openAPIV3Schema.properties[spec]";
        assert_eq!(said(json!({"type": "object"})), Vec::<String>::new());
        assert_eq!(
            said(json!({})),
            [format!(
                "{at}.type: Required value: must not be empty for specified object fields"
            )]
        );
        let alternative = json!({"type": "object", "anyOf": [{"type": "object"}]});
        assert_eq!(
            said(alternative),
            [format!(
                "{at}.anyOf[0].type: Forbidden: must be empty to be structural"
            )]
        );
        let boolean = json!({"type": "object", "required": [true]});
        assert_eq!(
            said(boolean),
            [format!(
                "{at}.required[0]: Invalid value: true: must be a string"
            )]
        );
        let keyless = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}}}});
        assert!(said(keyless)[0].contains("must have a default or be a required property"));
        let rule = json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.x ==="}]});
        assert!(said(rule)[0].contains("compilation failed"));
    }
}
