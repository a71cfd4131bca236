//! Weir's own kinds as the API server has them: objects in, changes out.
//!
//! Distrusts every object: the API server checks a schema, but an older one may have let it in, or an
//! older version of Weir have written it. What cannot be read is told with all that is wrong; the last
//! good state of that object stays, and no other object waits for it.
//!
//! Memory bound: the documents themselves, shared with whoever was told of them, and for each that
//! cannot be read a list of problems.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use weir_model::{API_VERSION, Document, Kind, Located, Problem, from_object};
use weir_sources::{Change, DocumentKey};

/// Larger objects are not read: the API server takes no larger ones (its default is 1.5 MB).
const OBJECT_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Problems that are told of one object.
const PROBLEMS_MAX: usize = 20;

/// An object of one of Weir's kinds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct RawDocument(pub(crate) Value);

/// What was told of the objects of every kind.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    known: HashMap<DocumentKey, Known>,
    lists: HashMap<Kind, u32>,
}

#[derive(Debug)]
struct Known {
    listed: u32,
    revision: u64,
    /// The last good state.
    good: Option<Arc<Located<Document>>>,
    /// Why the newest state is none.
    problems: Vec<Problem>,
}

impl RawDocument {
    pub(crate) fn resource_version(&self) -> &str {
        self.text("resourceVersion")
    }

    fn text(&self, field: &str) -> &str {
        let text = self.0.get("metadata").and_then(|it| it.get(field));
        text.and_then(Value::as_str).unwrap_or_default()
    }

    fn key(&self, kind: Kind) -> DocumentKey {
        DocumentKey {
            kind,
            namespace: self.text("namespace").to_owned(),
            name: self.text("name").to_owned(),
        }
    }

    fn revision(&self) -> u64 {
        let generation = self.0.get("metadata").and_then(|it| it.get("generation"));
        generation.and_then(Value::as_u64).unwrap_or_default()
    }
}

impl Documents {
    pub(crate) fn list_begins(&mut self, kind: Kind) {
        let number = self.lists.entry(kind).or_default();
        *number = number.wrapping_add(1);
    }

    /// What the list did not bring is gone.
    pub(crate) fn list_ends(&mut self, kind: Kind) -> Vec<Change> {
        let number = self.lists.get(&kind).copied().unwrap_or_default();
        let old =
            |(key, known): &(&DocumentKey, &Known)| key.kind == kind && known.listed != number;
        let old = self.known.iter().filter(old);
        let mut old: Vec<DocumentKey> = old.map(|(key, _)| key.clone()).collect();
        old.sort();
        for key in &old {
            self.known.remove(key);
        }
        old.into_iter().map(Change::Remove).collect()
    }

    /// The object is like this now.
    pub(crate) fn upsert(&mut self, kind: Kind, object: RawDocument) -> Option<Change> {
        let key = object.key(kind);
        let revision = object.revision();
        let listed = self.lists.get(&kind).copied().unwrap_or_default();
        let read = read(kind, &key, object.0);
        let known = self.known.entry(key.clone()).or_insert_with(|| Known {
            listed,
            revision: 0,
            good: None,
            problems: Vec::new(),
        });
        known.listed = listed;
        let same_revision = known.revision == revision;
        known.revision = revision;
        match read {
            Ok(document) => {
                let told = known.good.as_ref().filter(|_| known.problems.is_empty());
                let same = told.is_some_and(|told| told.value == document.value);
                known.problems.clear();
                if same && same_revision {
                    return None;
                }
                let document = Arc::new(document);
                known.good = Some(document.clone());
                Some(Change::Upsert { document, revision })
            }
            Err(problems) => {
                if same_revision && known.problems == problems {
                    return None;
                }
                known.problems.clone_from(&problems);
                Some(Change::Invalid {
                    key,
                    revision,
                    problems,
                })
            }
        }
    }

    /// The object is gone.
    pub(crate) fn remove(&mut self, kind: Kind, object: &RawDocument) -> Option<Change> {
        let key = object.key(kind);
        self.known.remove(&key)?;
        Some(Change::Remove(key))
    }
}

fn read(
    kind: Kind,
    key: &DocumentKey,
    mut object: Value,
) -> Result<Located<Document>, Vec<Problem>> {
    let full_name = match key.namespace.as_str() {
        "" => key.name.clone(),
        namespace => format!("{namespace}/{}", key.name),
    };
    let origin = format!("{} {full_name}", kind.lower());
    if let Some(fields) = object.as_object_mut() {
        // The items of a list may come without.
        let mut given = |field: &str, value: &str| {
            let entry = fields.entry(field.to_owned());
            entry.or_insert_with(|| Value::from(value));
        };
        given("apiVersion", API_VERSION);
        given("kind", kind.name());
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            // A second copy of the whole object.
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    let bytes = object.to_string().len();
    if bytes > OBJECT_BYTES_MAX {
        let message = format!("has {bytes} bytes, more than {OBJECT_BYTES_MAX} are not read");
        return Err(vec![Problem::of_file(&origin, message, "split it")]);
    }
    match from_object(&object, &origin) {
        // Nobody sees lines of an object, so the tree that knows them is not kept.
        Ok(located) if located.value.kind() == kind => {
            Ok(Located::unplaced(located.value, &origin))
        }
        Ok(located) => {
            let message = format!("is a {}, not a {kind}", located.value.kind());
            Err(vec![Problem::of_file(&origin, message, "")])
        }
        Err(mut problems) => {
            problems.truncate(PROBLEMS_MAX);
            for problem in &mut problems {
                (problem.line, problem.column) = (0, 0);
            }
            Err(problems)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn allowlist(name: &str, generation: u64, spec: Value) -> RawDocument {
        RawDocument(json!({
            "metadata": {"name": name, "namespace": "shop", "generation": generation,
                         "resourceVersion": "7", "uid": "x", "managedFields": [],
                         "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
            "spec": spec,
            "status": {"conditions": []}
        }))
    }

    fn good() -> Value {
        json!({"target": {"workload": "db"}, "ingress": [{"from": [{"workload": "web"}]}]})
    }

    #[test]
    fn an_object_that_cannot_be_read_is_told_once_and_the_good_state_stays() {
        let mut documents = Documents::default();
        let kind = Kind::Allowlist;
        let first = documents.upsert(kind, allowlist("db", 1, good()));
        assert!(matches!(first, Some(Change::Upsert { revision: 1, .. })));
        assert!(documents.upsert(kind, allowlist("db", 1, good())).is_none());
        let mut bad = good();
        bad["ingres"] = json!([]);
        let told = documents.upsert(kind, allowlist("db", 2, bad.clone()));
        let Some(Change::Invalid {
            revision, problems, ..
        }) = told
        else {
            panic!("{told:?}");
        };
        assert_eq!(revision, 2);
        let said = problems[0].to_string();
        assert!(
            said.contains("ingres") && said.contains("allowlist shop/db"),
            "{said}"
        );
        assert!(
            !said.contains(":1:"),
            "no lines where nobody sees them: {said}"
        );
        assert!(documents.upsert(kind, allowlist("db", 2, bad)).is_none());
        // Back to what it was: told again, since it stands.
        let back = documents.upsert(kind, allowlist("db", 3, good()));
        assert!(matches!(back, Some(Change::Upsert { revision: 3, .. })));
        assert!(
            documents
                .remove(kind, &allowlist("db", 3, good()))
                .is_some()
        );
        assert!(
            documents
                .remove(kind, &allowlist("db", 3, good()))
                .is_none()
        );
    }

    #[test]
    fn a_list_removes_what_it_does_not_bring_of_its_kind_alone() {
        let mut documents = Documents::default();
        documents.list_begins(Kind::Allowlist);
        for name in ["a", "b"] {
            documents.upsert(Kind::Allowlist, allowlist(name, 1, good()));
        }
        assert!(documents.list_ends(Kind::Allowlist).is_empty());
        documents.list_begins(Kind::Mode);
        assert!(documents.list_ends(Kind::Mode).is_empty());
        documents.list_begins(Kind::Allowlist);
        documents.upsert(Kind::Allowlist, allowlist("b", 1, good()));
        let gone = documents.list_ends(Kind::Allowlist);
        let [Change::Remove(key)] = &gone[..] else {
            panic!("{gone:?}");
        };
        assert_eq!(key.name, "a");
    }

    #[test]
    fn an_object_of_a_megabyte_is_read_and_a_larger_one_refused() {
        let with = |rules: usize| {
            let rule = json!({"from": [{"workload": "w".repeat(60)}], "ports": [3306]});
            let rules: Vec<Value> = (0..rules).map(|_| rule.clone()).collect();
            let spec = json!({"target": {"workload": "db"}, "ingress": rules});
            Documents::default().upsert(Kind::Allowlist, allowlist("db", 1, spec))
        };
        assert!(matches!(with(10_000), Some(Change::Upsert { .. })));
        let Some(Change::Invalid { problems, .. }) = with(40_000) else {
            panic!("it was taken");
        };
        assert!(problems[0].message.contains("bytes"), "{problems:?}");
        assert!(problems.iter().all(|it| it.to_string().len() < 500));
    }
}
