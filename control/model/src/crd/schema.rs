//! From what schemars makes of a type to a structural schema.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::bounds;
use crate::document::Kind;
use crate::{
    AllowlistSpec, GuardrailSpec, LearnedStatus, ModeSpec, ObjectStatus, ResponseRuleSpec,
    SensorSpec, ServiceSpec, SettingsSpec, ThreatPolicySpec, WorkloadSpec,
};

/// The schema of a kind's objects.
pub(super) fn of(kind: Kind) -> Value {
    let spec = match kind {
        Kind::Namespace => json!({"type": "object"}),
        Kind::Workload => made::<WorkloadSpec>(),
        Kind::Service => made::<ServiceSpec>(),
        Kind::Allowlist | Kind::ClusterAllowlist => made::<AllowlistSpec>(),
        Kind::Mode => made::<ModeSpec>(),
        Kind::Settings => made::<SettingsSpec>(),
        Kind::Sensor => made::<SensorSpec>(),
        Kind::ThreatPolicy => made::<ThreatPolicySpec>(),
        Kind::ResponseRule => made::<ResponseRuleSpec>(),
        Kind::Guardrail => made::<GuardrailSpec>(),
        Kind::LearnedProfile => made::<LearnedStatus>(),
    };
    let text = |about: &str| json!({"type": "string", "description": about});
    let mut schema = json!({
        "type": "object",
        "description": kind.about(),
        "properties": {
            "apiVersion": text("The version of this form of the object: weir.dev/v1alpha1."),
            "kind": text(&format!("{kind}.")),
            "metadata": {"type": "object"},
        },
    });
    if kind.body() == "spec" {
        schema["required"] = json!(["spec"]);
        schema["properties"]["spec"] = spec;
        schema["properties"]["status"] = made::<ObjectStatus>();
    } else {
        schema["properties"]["status"] = spec;
    }
    bounds::apply(kind, &mut schema);
    schema
}

fn made<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::openapi3()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    structural(&mut schema);
    schema
}

/// Rewrites a schema and everything within it.
fn structural(schema: &mut Value) {
    if let Value::Bool(_) = schema {
        *schema = json!({"x-kubernetes-preserve-unknown-fields": true});
    }
    let Value::Object(fields) = schema else {
        return;
    };
    for word in ["anyOf", "oneOf", "allOf"] {
        if let Some(Value::Array(forms)) = fields.remove(word) {
            take_in(fields, forms);
        }
    }
    // Defaults would be written into people's objects; `nullable` would let null through, which the
    // reader does not take; the others are words that API servers refuse.
    for word in [
        "$schema",
        "title",
        "default",
        "nullable",
        "uniqueItems",
        "components",
        "propertyNames",
    ] {
        fields.remove(word);
    }
    let open = |value: &Value| matches!(value, Value::Bool(_));
    if fields.get("additionalProperties").is_some_and(open) {
        fields.remove("additionalProperties");
    }
    one_type(fields);
    known_format(fields);
    for word in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get_mut(word) {
            structural(inner);
        }
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.values_mut().for_each(structural);
    }
}

/// Several forms become one: null is no form, and words become an enumeration that says what each
/// of them means.
fn take_in(fields: &mut Map<String, Value>, forms: Vec<Value>) {
    let null = |form: &Value| {
        form["type"] == "null"
            || form["enum"] == json!([null])
            || form["const"].is_null() && form.get("const").is_some()
    };
    let mut words = Vec::new();
    let mut about = Vec::new();
    for form in forms.into_iter().filter(|form| !null(form)) {
        let Value::Object(form) = form else { continue };
        let named: Vec<Value> = match (form.get("const"), form.get("enum")) {
            (Some(word), _) => vec![word.clone()],
            (None, Some(Value::Array(words))) => words.clone(),
            _ => vec![],
        };
        if named.is_empty() {
            for (key, value) in form {
                fields.entry(key).or_insert(value);
            }
            continue;
        }
        if let (Some(Value::String(text)), [Value::String(word)]) =
            (form.get("description"), named.as_slice())
        {
            about.push(format!("{word}: {}", text.replace('\n', " ")));
        }
        words.extend(named.into_iter().filter(|word| !word.is_null()));
    }
    if words.is_empty() {
        return;
    }
    fields.insert("type".to_owned(), "string".into());
    fields.insert("enum".to_owned(), words.into());
    if !about.is_empty() {
        let before = fields
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or("");
        let text = format!("{before}\n{}", about.join("\n"));
        fields.insert("description".to_owned(), text.trim().into());
    }
}

/// `[text, null]` is text.
fn one_type(fields: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = fields.get("type") {
        let kept = types.iter().find(|one| *one != "null").cloned();
        fields.insert("type".to_owned(), kept.unwrap_or_else(|| "object".into()));
    }
    if let Some(Value::Array(words)) = fields.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    if let Some(word) = fields.remove("const") {
        fields.insert("enum".to_owned(), json!([word]));
    }
}

/// API servers know whole numbers of 32 and 64 bits with a sign, and bound them by those.
fn known_format(fields: &mut Map<String, Value>) {
    let Some(format) = fields.get("format").and_then(Value::as_str) else {
        return;
    };
    let (format, most) = match format {
        "uint8" => ("int32", Some(0xff)),
        "uint16" => ("int32", Some(0xffff)),
        "uint32" => ("int64", Some(0xffff_ffff_u32)),
        "uint64" | "int64" => ("int64", None),
        "double" => ("double", None),
        "date-time" => ("date-time", None),
        _ => {
            fields.remove("format");
            return;
        }
    };
    fields.insert("format".to_owned(), format.into());
    if let Some(most) = most {
        fields.entry("maximum").or_insert_with(|| most.into());
    }
}
