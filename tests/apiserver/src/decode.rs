//! From what a client sent to an object of its kind: unknown fields dropped or refused, empty fields as
//! the API's own types write them, defaults filled in.

use serde_json::{Map, Value};

use crate::custom;
use crate::defaults;
use crate::failure::Failure;
use crate::kind::Kind;
use crate::request::Request;

/// What becomes of fields that the kind does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UnknownFields {
    Ignore,
    Warn,
    Refuse,
}

impl UnknownFields {
    fn of(request: &Request) -> Result<UnknownFields, Failure> {
        match request.query.get("fieldValidation") {
            "" | "Warn" => Ok(UnknownFields::Warn),
            "Ignore" => Ok(UnknownFields::Ignore),
            "Strict" => Ok(UnknownFields::Refuse),
            other => Err(Failure::bad_request(format!(
                "fieldValidation: Unsupported value: {other:?}"
            ))),
        }
    }
}

/// The body of a create or an update: of the right kind and version.
pub(crate) fn body(kind: &Kind, request: &Request) -> Result<Value, Failure> {
    let mut body = match request.content_type() {
        "" | "application/json" | "application/yaml" | "application/apply-patch+yaml" => {
            parse(kind, request)?
        }
        _ => return Err(unsupported_media_type()),
    };
    let version = body["apiVersion"].as_str().unwrap_or_default();
    let named = body["kind"].as_str().unwrap_or_default();
    if !version.is_empty() && version != kind.api_version() {
        return Err(Failure::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({})",
            kind.api_version()
        )));
    }
    if !named.is_empty() && named != kind.kind {
        return Err(Failure::bad_request(wrong_kind(kind, named)));
    }
    if kind.custom.is_some() && (version.is_empty() || named.is_empty()) {
        return Err(Failure::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: Object 'Kind' is missing in the body",
            kind.kind, kind.version, kind.kind
        )));
    }
    body["apiVersion"] = Value::from(kind.api_version());
    body["kind"] = Value::from(kind.kind.as_str());
    Ok(body)
}

fn parse(kind: &Kind, request: &Request) -> Result<Value, Failure> {
    if request.content_type().ends_with("yaml") {
        return request.object().and_then(|value| object_only(kind, value));
    }
    match serde_json::from_slice::<Value>(&request.body) {
        Ok(value) => object_only(kind, value),
        Err(error) => {
            let start: String = String::from_utf8_lossy(&request.body)
                .chars()
                .take(30)
                .collect();
            let why = if error.is_eof() {
                "unexpected end of JSON input".to_owned()
            } else {
                error.to_string()
            };
            Err(Failure::bad_request(format!(
                "the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse \
                 error: {why} ({start} ...)",
                kind.kind
            )))
        }
    }
}

fn object_only(kind: &Kind, value: Value) -> Result<Value, Failure> {
    if value.is_object() {
        return Ok(value);
    }
    Err(Failure::bad_request(format!(
        "the object provided is unrecognized (must be of type {})",
        kind.kind
    )))
}

fn wrong_kind(kind: &Kind, named: &str) -> String {
    let internal = kind
        .group
        .split('.')
        .next()
        .filter(|group| !group.is_empty())
        .unwrap_or("core");
    format!(
        "{named} in version {version:?} cannot be handled as a {expected}: converting ({version}.{named}) to \
         ({internal}.{expected}): unknown conversion",
        version = kind.version,
        expected = kind.kind
    )
}

pub(crate) fn unsupported_media_type() -> Failure {
    let mut failure = Failure::new(415, "UnsupportedMediaType", "415: Unsupported Media Type");
    failure.details = Some(Value::Object(Map::new()));
    failure
}

/// Brings an object into the form in which its kind is kept. Gives the warnings for the client.
pub(crate) fn decode(
    kind: &Kind,
    object: &mut Value,
    request: &Request,
) -> Result<Vec<String>, Failure> {
    let unknown_fields = UnknownFields::of(request)?;
    let mut unknown = Vec::new();
    if !object["metadata"].is_object() {
        object["metadata"] = Value::Object(Map::new());
    }
    if let Err(why) = kind.shape.check(object, "", &kind.kind) {
        return Err(cannot_be_handled(kind, &why));
    }
    kind.shape.normalise(object, "", &mut unknown);
    let named: Vec<String> = unknown
        .iter()
        .map(|path| format!("unknown field {path:?}"))
        .collect();
    if unknown_fields == UnknownFields::Refuse && !named.is_empty() {
        return Err(cannot_be_handled(
            kind,
            &format!("strict decoding error: {}", named.join(", ")),
        ));
    }
    if let Some(custom) = &kind.custom {
        custom::fill(&custom.schema, object);
    } else {
        kind.shape.fill(object);
        defaults::fill(kind, object);
    }
    Ok(if unknown_fields == UnknownFields::Warn {
        named
    } else {
        Vec::new()
    })
}

fn cannot_be_handled(kind: &Kind, why: &str) -> Failure {
    Failure::bad_request(format!(
        "{kind} in version {version:?} cannot be handled as a {kind}: {why}",
        kind = kind.kind,
        version = kind.version
    ))
}
