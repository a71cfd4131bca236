//! What a request is refused with: the API's own Status objects, word for word where clients read them.

use serde_json::{Map, Value, json};

use crate::kind::Kind;

/// A refused request.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) details: Option<Value>,
    pub(crate) retry_after_s: Option<u64>,
    /// A `continue` with which a list can be gone on with.
    pub(crate) resume: Option<String>,
    /// Text instead of a Status, as for paths that nobody serves.
    pub(crate) plain: bool,
}

/// One thing that is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) field: String,
}

impl Cause {
    fn new(reason: &'static str, field: impl Into<String>, message: String) -> Cause {
        Cause {
            reason,
            message,
            field: field.into(),
        }
    }

    pub(crate) fn required(field: impl Into<String>, detail: &str) -> Cause {
        let message = if detail.is_empty() {
            "Required value".to_owned()
        } else {
            format!("Required value: {detail}")
        };
        Cause::new("FieldValueRequired", field, message)
    }

    pub(crate) fn invalid(
        field: impl Into<String>,
        value: &Value,
        detail: impl AsRef<str>,
    ) -> Cause {
        Cause::new(
            "FieldValueInvalid",
            field,
            format!("Invalid value: {value}: {}", detail.as_ref()),
        )
    }

    /// As invalid, of a field that has a type of its own: no quotes around the value.
    pub(crate) fn wrong_type(
        field: impl Into<String>,
        value: &str,
        detail: impl AsRef<str>,
    ) -> Cause {
        Cause::new(
            "FieldValueTypeInvalid",
            field,
            format!("Invalid value: {value}: {}", detail.as_ref()),
        )
    }

    pub(crate) fn unsupported(
        field: impl Into<String>,
        value: &Value,
        supported: &[String],
    ) -> Cause {
        let supported: Vec<String> = supported.iter().map(|one| format!("{one:?}")).collect();
        let message = format!(
            "Unsupported value: {value}: supported values: {}",
            supported.join(", ")
        );
        Cause::new("FieldValueNotSupported", field, message)
    }

    pub(crate) fn forbidden(field: impl Into<String>, detail: impl AsRef<str>) -> Cause {
        Cause::new(
            "FieldValueForbidden",
            field,
            format!("Forbidden: {}", detail.as_ref()),
        )
    }

    pub(crate) fn duplicate(field: impl Into<String>, value: &Value) -> Cause {
        Cause::new(
            "FieldValueDuplicate",
            field,
            format!("Duplicate value: {value}"),
        )
    }

    pub(crate) fn too_many(field: impl Into<String>, count: usize, limit: u64) -> Cause {
        Cause::new(
            "FieldValueTooMany",
            field,
            format!("Too many: {count}: must have at most {limit} items"),
        )
    }

    pub(crate) fn too_long(field: impl Into<String>, limit: u64) -> Cause {
        Cause::new(
            "FieldValueTooLong",
            field,
            format!("Too long: may not be more than {limit} bytes"),
        )
    }
}

impl Failure {
    pub(crate) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Failure {
        Failure {
            code,
            reason,
            message: message.into(),
            details: None,
            retry_after_s: None,
            resume: None,
            plain: false,
        }
    }

    fn with_details(mut self, details: Value) -> Failure {
        self.details = Some(details);
        self
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Failure {
        Failure::new(400, "BadRequest", message)
    }

    pub(crate) fn unauthorized() -> Failure {
        Failure::new(401, "Unauthorized", "Unauthorized")
    }

    /// Nobody serves this path: plain text, as the real server writes it.
    pub(crate) fn no_such_path() -> Failure {
        let mut failure = Failure::new(404, "NotFound", "404 page not found\n");
        failure.plain = true;
        failure
    }

    pub(crate) fn not_found(kind: &Kind, name: &str) -> Failure {
        Failure::new(
            404,
            "NotFound",
            format!("{} {name:?} not found", kind.resource()),
        )
        .with_details(about(kind, name, &kind.plural))
    }

    pub(crate) fn already_exists(kind: &Kind, name: &str) -> Failure {
        Failure::new(
            409,
            "AlreadyExists",
            format!("{} {name:?} already exists", kind.resource()),
        )
        .with_details(about(kind, name, &kind.plural))
    }

    /// The object changed since the caller read it.
    pub(crate) fn modified(kind: &Kind, name: &str) -> Failure {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Failure::conflict(kind, name, why)
    }

    pub(crate) fn conflict(kind: &Kind, name: &str, why: &str) -> Failure {
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: {why}",
            kind.resource()
        );
        Failure::new(409, "Conflict", message).with_details(about(kind, name, &kind.plural))
    }

    /// What the caller asked to hold does not hold any more.
    pub(crate) fn precondition(kind: &Kind, name: &str, why: &str) -> Failure {
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: {why}",
            kind.qualified()
        );
        Failure::new(409, "Conflict", message).with_details(about(kind, name, &kind.kind))
    }

    pub(crate) fn forbidden(kind: &Kind, name: &str, why: &str) -> Failure {
        let named = if name.is_empty() {
            String::new()
        } else {
            format!(" {name:?}")
        };
        Failure::new(
            403,
            "Forbidden",
            format!("{}{named} is forbidden: {why}", kind.resource()),
        )
        .with_details(about(kind, name, &kind.plural))
    }

    pub(crate) fn invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Failure {
        Failure::invalid_as(
            &kind.qualified(),
            about(kind, name, &kind.kind),
            name,
            causes,
        )
    }

    /// As invalid, where the real server knows the resource and not the kind.
    pub(crate) fn invalid_resource(kind: &Kind, name: &str, causes: &[Cause]) -> Failure {
        Failure::invalid_as(
            &kind.resource(),
            about(kind, name, &kind.plural),
            name,
            causes,
        )
    }

    pub(crate) fn invalid_as(
        subject: &str,
        mut details: Value,
        name: &str,
        causes: &[Cause],
    ) -> Failure {
        // What is said twice is listed twice and told once.
        let mut each: Vec<String> = Vec::new();
        for cause in causes {
            let told = format!("{}: {}", cause.field, cause.message);
            if !each.contains(&told) {
                each.push(told);
            }
        }
        let all = if each.len() == 1 {
            each.remove(0)
        } else {
            format!("[{}]", each.join(", "))
        };
        details["causes"] = causes
            .iter()
            .map(|cause| json!({"reason": cause.reason, "message": cause.message, "field": cause.field}))
            .collect();
        Failure::new(
            422,
            "Invalid",
            format!("{subject} {name:?} is invalid: {all}"),
        )
        .with_details(details)
    }

    pub(crate) fn method_not_allowed() -> Failure {
        Failure::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
        .with_details(json!({}))
    }

    pub(crate) fn too_old(message: &str) -> Failure {
        Failure::new(410, "Expired", message)
    }

    pub(crate) fn too_many_requests(retry_after_s: u64) -> Failure {
        let mut failure = Failure::new(
            429,
            "TooManyRequests",
            "too many requests, please try again later",
        )
        .with_details(json!({"retryAfterSeconds": retry_after_s}));
        failure.retry_after_s = Some(retry_after_s);
        failure
    }

    pub(crate) fn internal(why: &str) -> Failure {
        Failure::new(
            500,
            "InternalError",
            format!("Internal error occurred: {why}"),
        )
        .with_details(json!({"causes": [{"message": why}]}))
    }

    /// The object that the client gets.
    pub(crate) fn status(&self) -> Value {
        let mut metadata = Map::new();
        if let Some(resume) = &self.resume {
            metadata.insert("continue".to_owned(), Value::from(resume.as_str()));
        }
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if self.reason.is_empty() {
            status.as_object_mut().expect("an object").remove("reason");
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status
    }
}

/// What a Status says about its object. An empty name or group is left out.
pub(crate) fn about(kind: &Kind, name: &str, called: &str) -> Value {
    let mut details = json!({"kind": called});
    if !name.is_empty() {
        details["name"] = Value::from(name);
    }
    if !kind.group.is_empty() {
        details["group"] = Value::from(kind.group.as_str());
    }
    details
}

/// What stands after something was done that leaves no object to show.
pub(crate) fn success(kind: &Kind, name: &str, uid: &Value) -> Value {
    let mut details = about(kind, name, &kind.plural);
    details["uid"] = uid.clone();
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
