//! What the webhook says of an object.

use serde_json::{Value, json};
use weir_model::Problem;

use crate::review::Request;

/// The API server cuts warnings that are longer.
const WARNING_CHARS_MAX: usize = 256;
/// It takes 4,096 bytes of them in all.
const WARNINGS_MAX: usize = 15;
/// More causes are counted.
const CAUSES_MAX: usize = 50;

/// A verdict: an object without causes is let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Why it is refused; empty where it is not.
    pub causes: Vec<Cause>,
    /// What is told although it is let in.
    pub warnings: Vec<String>,
}

/// Why an object is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// "spec.ingress[0].from[1]"; empty for the whole.
    pub field: String,
    /// What is wrong, and what to do.
    pub message: String,
    /// Whether the object could be read and is not permitted, as opposed to one with a mistake.
    pub forbidden: bool,
}

impl Cause {
    /// A mistake in a document, or what is not permitted of it.
    pub fn of(problem: &Problem, forbidden: bool) -> Self {
        let message = match problem.next_step.as_str() {
            "" => problem.message.clone(),
            next => format!("{}; {next}", problem.message),
        };
        Self {
            field: problem.field.clone(),
            message,
            forbidden,
        }
    }

    fn line(&self) -> String {
        match self.field.as_str() {
            "" => self.message.clone(),
            field => format!("{field}: {}", self.message),
        }
    }
}

impl Verdict {
    /// Let in without a word.
    pub fn allow() -> Self {
        Self::default()
    }

    /// Adds what is only told of.
    pub fn warn(&mut self, cause: &Cause) {
        self.warnings.push(cause.line());
    }

    /// The answer to a request.
    pub fn response(&self, request: &Request) -> Value {
        let mut response = json!({
            "uid": request.uid,
            "allowed": self.causes.is_empty(),
        });
        if !self.causes.is_empty() {
            response["status"] = self.status(request);
        }
        if !self.warnings.is_empty() {
            response["warnings"] = json!(self.shown_warnings());
        }
        json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "response": response,
        })
    }

    fn status(&self, request: &Request) -> Value {
        let forbidden = self.causes.iter().all(|cause| cause.forbidden);
        let (code, reason) = if forbidden {
            (403, "Forbidden")
        } else {
            (422, "Invalid")
        };
        let mut lines: Vec<String> = self.causes.iter().map(Cause::line).collect();
        if lines.len() > CAUSES_MAX {
            let more = lines.len() - CAUSES_MAX;
            lines.truncate(CAUSES_MAX);
            lines.push(format!("and {more} more"));
        }
        let message = match &lines[..] {
            [line] => format!("{}: {line}", request.title()),
            lines => format!("{}:\n  {}", request.title(), lines.join("\n  ")),
        };
        let cause = |cause: &Cause| {
            json!({
                "reason": if cause.forbidden { "FieldValueForbidden" } else { "FieldValueInvalid" },
                "message": cause.message,
                "field": cause.field,
            })
        };
        let causes: Vec<Value> = self.causes.iter().take(CAUSES_MAX).map(cause).collect();
        json!({
            "status": "Failure",
            "code": code,
            "reason": reason,
            "message": message,
            "details": {
                "group": request.kind.group,
                "kind": request.kind.kind,
                "name": request.name,
                "causes": causes,
            },
        })
    }

    /// Each on one line, none longer than the server shows, the last one counting the rest.
    fn shown_warnings(&self) -> Vec<String> {
        let shown = |text: &String| {
            let printable = text
                .chars()
                .map(|it| if it.is_control() { ' ' } else { it });
            let printable: String = printable.take(WARNING_CHARS_MAX + 1).collect();
            match printable.char_indices().nth(WARNING_CHARS_MAX - 1) {
                Some((end, last)) if printable.len() > end + last.len_utf8() => {
                    format!("{}…", &printable[..end])
                }
                _ => printable,
            }
        };
        let mut all: Vec<String> = self.warnings.iter().take(WARNINGS_MAX).map(shown).collect();
        if self.warnings.len() > WARNINGS_MAX {
            all.push(format!("and {} more", self.warnings.len() - WARNINGS_MAX));
        }
        all
    }
}
