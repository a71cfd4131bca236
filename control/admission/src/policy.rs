//! Weir's own documents.

use serde_json::Value;
use weir_model::{Document, Located, Problem, from_object};

use crate::Knowledge;
use crate::review::Request;
use crate::verdict::{Cause, Verdict};

/// What the controller makes of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Why it would not take it: what does not compile.
    pub invalid: Vec<Problem>,
    /// Why it must not take it: what guardrails refuse.
    pub forbidden: Vec<Problem>,
    /// What is told although it would.
    pub warnings: Vec<Problem>,
}

/// Judges a document as the controller will.
pub(crate) fn validate(knowledge: &dyn Knowledge, request: &Request) -> Verdict {
    // The status is Weir's own, and what is on its way out must not be held up.
    let ours = request.kind.group == weir_model::GROUP;
    if !ours || !request.sub_resource.is_empty() || request.is_going() {
        return Verdict::allow();
    }
    let old = read(&request.old_object, request).and_then(Result::ok);
    let new = match read(&request.object, request) {
        Some(Ok(new)) => Some(new),
        None => None,
        Some(Err(problems)) => {
            return Verdict {
                causes: problems.iter().map(|it| Cause::of(it, false)).collect(),
                warnings: Vec::new(),
            };
        }
    };
    if new.is_none() && old.is_none() {
        return Verdict::allow();
    }
    let judgement = knowledge.judge(old.as_ref(), new.as_ref());
    let invalid = judgement.invalid.iter().map(|it| Cause::of(it, false));
    let forbidden = judgement.forbidden.iter().map(|it| Cause::of(it, true));
    let mut verdict = Verdict {
        causes: invalid.chain(forbidden).collect(),
        warnings: Vec::new(),
    };
    for warning in &judgement.warnings {
        verdict.warn(&Cause::of(warning, false));
    }
    verdict
}

/// An object with a name: one that the server is to make a name for has none yet.
fn read(object: &Value, request: &Request) -> Option<Result<Located<Document>, Vec<Problem>>> {
    if object.is_null() {
        return None;
    }
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
        && !metadata.contains_key("name")
        && let Some(prefix) = metadata.get("generateName").and_then(Value::as_str)
    {
        let name = format!("{prefix}x");
        metadata.insert("name".to_owned(), Value::from(name));
    }
    Some(from_object(&object, &request.title()))
}
