//! What guardrails say of a document.

use regorus::Value;
use weir_model::{Document, Located, Problem};

/// More findings of one guardrail about one document are counted, not listed.
pub const FINDINGS_MAX: usize = 20;
/// Longer messages are cut.
pub const MESSAGE_CHARS_MAX: usize = 600;

/// One thing that a guardrail objects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The guardrail's name.
    pub guardrail: String,
    /// What it says.
    pub message: String,
    /// The field it is about, "spec.ingress[0].from[1]"; empty where it does not say.
    pub field: String,
    /// What to do; empty where it does not say.
    pub next_step: String,
}

/// Everything that guardrails say of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Why the document is refused; empty where it is not.
    pub refused: Vec<Finding>,
    /// What is only told.
    pub warnings: Vec<Finding>,
}

impl Finding {
    /// As a problem of a document: with the guardrail's name, and the place of the field.
    pub fn problem(&self, located: &Located<Document>) -> Problem {
        located.problem(&self.field, self.sentence(), &self.next_step)
    }

    /// "guardrail no-any: …".
    pub fn sentence(&self) -> String {
        format!("guardrail {}: {}", self.guardrail, self.message)
    }
}

impl Findings {
    /// Whether nothing is refused.
    pub fn accepted(&self) -> bool {
        self.refused.is_empty()
    }
}

/// What the value of a rule says: nothing, or messages. A set or an array holds one each; a text is
/// a message; `true` says so without words.
pub(crate) fn read(guardrail: &str, rule: &str, value: &Value) -> Vec<Finding> {
    let silent = || plain(guardrail, format!("{rule} holds"));
    let (several, count): (Box<dyn Iterator<Item = &Value>>, usize) = match value {
        Value::Undefined | Value::Null | Value::Bool(false) => return Vec::new(),
        Value::Bool(true) => return vec![silent()],
        Value::Set(items) => (Box::new(items.iter()), items.len()),
        Value::Array(items) => (Box::new(items.iter()), items.len()),
        // An object without a message is a partial rule that found nothing.
        Value::Object(fields) if fields.is_empty() => return Vec::new(),
        one => (Box::new(std::iter::once(one)), 1),
    };
    let mut findings: Vec<_> = several
        .take(FINDINGS_MAX)
        .map(|value| message(guardrail, value))
        .collect();
    if count > FINDINGS_MAX {
        let more = count - FINDINGS_MAX;
        findings.push(plain(guardrail, format!("and {more} more findings")));
    }
    findings
}

/// A text; an object with `msg`, as Gatekeeper has it, perhaps with `field` and `next`; anything
/// else as JSON.
fn message(guardrail: &str, value: &Value) -> Finding {
    if let Ok(text) = value.as_string() {
        return plain(guardrail, text.to_string());
    }
    let text = |name: &str| match &value[name] {
        Value::String(text) => Some(cut(text)),
        _ => None,
    };
    match text("msg").or_else(|| text("message")) {
        Some(message) => Finding {
            guardrail: guardrail.to_owned(),
            message,
            field: text("field").unwrap_or_default(),
            next_step: text("next").unwrap_or_default(),
        },
        None => plain(guardrail, value.to_json_str().unwrap_or_default()),
    }
}

pub(crate) fn plain(guardrail: &str, message: String) -> Finding {
    Finding {
        guardrail: guardrail.to_owned(),
        message: cut(&message),
        field: String::new(),
        next_step: String::new(),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
