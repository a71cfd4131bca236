//! What is signed: a header and the policy documents, in one form only.
//!
//! Trusts nothing in a payload: it is bounded by [`PAYLOAD_BYTES_MAX`], must be in its canonical form
//! (so that no two readers see two things in it), and each document passes the reader that every other
//! document passes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_model::{API_VERSION, Document, Kind, Located, Problem, check_name, parse_documents};

use crate::canonical::{NotCanonical, canonical};
use crate::key::digest;

/// The largest payload.
pub const PAYLOAD_BYTES_MAX: usize = 32 << 20;
/// The `kind` of a payload: no other signed text can be taken for one.
const PAYLOAD_KIND: &str = "PolicyBundle";
/// The version of what this file describes.
const FORMAT: u32 = 1;

/// Policy documents and their header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// What it is for: "shop", "production". Nodes may insist on one.
    pub name: String,
    /// Rises from one bundle of a name to the next; nodes take none below the highest they have seen.
    pub sequence: u64,
    /// When it was made, in seconds since 1970.
    pub created_unix_s: u64,
    /// From when on no node takes it any more; None: never.
    pub expires_unix_s: Option<u64>,
    /// Sorted by kind, namespace and name, each once.
    documents: Vec<Document>,
    documents_digest: String,
}

/// Why a bundle cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It is no bundle.
    #[error("this is no policy bundle: {0}; make one with weir bundle sign")]
    NotABundle(String),
    /// It is of a later Weir.
    #[error(
        "the bundle has format {0}, and this version of Weir reads format {FORMAT}; update Weir"
    )]
    Format(u32),
    /// The text has another form than the one that is signed.
    #[error("the payload is not in its canonical form; sign again with weir bundle sign")]
    NotCanonical,
    /// The digest in the header is that of other documents.
    #[error("the header names other documents ({header}) than follow it ({found})")]
    Digest {
        /// What the header says.
        header: String,
        /// What was found.
        found: String,
    },
    /// A number that has no canonical form.
    #[error(transparent)]
    Number(#[from] NotCanonical),
    /// A document cannot be read.
    #[error("{0}")]
    Document(Problem),
    /// A document has no place in a bundle.
    #[error("{0}")]
    Content(String),
}

/// How it is written; the fields in the order of their names.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Written {
    api_version: String,
    created_unix_s: u64,
    documents: Vec<Value>,
    documents_digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_unix_s: Option<u64>,
    format: u32,
    kind: String,
    name: String,
    sequence: u64,
}

/// Enough to tell what a file is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: String,
    kind: String,
    format: u32,
}

/// Whether documents of a kind say what is allowed, and so belong into every bundle. Who there is
/// (workloads, services, namespaces) follows from the cluster, and what was learned is no policy.
pub fn is_policy(kind: Kind) -> bool {
    match kind {
        Kind::Workload | Kind::Service | Kind::Namespace | Kind::LearnedProfile => false,
        Kind::Allowlist
        | Kind::ClusterAllowlist
        | Kind::Mode
        | Kind::Settings
        | Kind::Sensor
        | Kind::ThreatPolicy
        | Kind::ResponseRule
        | Kind::Guardrail => true,
    }
}

/// Whether documents of a kind may be signed. A signed workload is what its document says: its name has
/// these labels and addresses on every node, whatever the cluster says.
pub fn may_be_signed(kind: Kind) -> bool {
    is_policy(kind) || matches!(kind, Kind::Workload | Kind::Service)
}

impl Bundle {
    /// Of these documents, in any order.
    pub fn new(
        name: &str,
        sequence: u64,
        created_unix_s: u64,
        expires_unix_s: Option<u64>,
        documents: Vec<Document>,
    ) -> Result<Self, BundleError> {
        check_name(name).map_err(|error| BundleError::Content(format!("the name: {error}")))?;
        if expires_unix_s.is_some_and(|expires| expires <= created_unix_s) {
            let what = "it would expire before it is made; choose a later time";
            return Err(BundleError::Content(what.to_owned()));
        }
        let mut documents = documents;
        documents.sort_by(|a, b| key(a).cmp(&key(b)));
        for document in &documents {
            if !may_be_signed(document.kind()) {
                let title = document.title();
                let what = format!("{title} says nothing that could be allowed; leave it out");
                return Err(BundleError::Content(what));
            }
        }
        if let Some(pair) = documents
            .windows(2)
            .find(|pair| key(&pair[0]) == key(&pair[1]))
        {
            let title = pair[0].title();
            let what = format!("{title} is there twice; rename or remove one of the two");
            return Err(BundleError::Content(what));
        }
        let values = values(&documents)?;
        let documents_digest = digest(canonical(&Value::Array(values))?.as_bytes());
        Ok(Self {
            name: name.to_owned(),
            sequence,
            created_unix_s,
            expires_unix_s,
            documents,
            documents_digest,
        })
    }

    /// The bytes that are signed.
    pub fn payload(&self) -> Result<Vec<u8>, BundleError> {
        let written = Written {
            api_version: API_VERSION.to_owned(),
            created_unix_s: self.created_unix_s,
            documents: values(&self.documents)?,
            documents_digest: self.documents_digest.clone(),
            expires_unix_s: self.expires_unix_s,
            format: FORMAT,
            kind: PAYLOAD_KIND.to_owned(),
            name: self.name.clone(),
            sequence: self.sequence,
        };
        let value = serde_json::to_value(written)
            .map_err(|error| BundleError::NotABundle(error.to_string()))?;
        let payload = canonical(&value)?.into_bytes();
        if payload.len() > PAYLOAD_BYTES_MAX {
            let what = format!("the documents need more than {PAYLOAD_BYTES_MAX} bytes");
            return Err(BundleError::Content(what));
        }
        Ok(payload)
    }

    /// Reads what [`Bundle::payload`] wrote.
    pub fn read(payload: &[u8]) -> Result<Self, BundleError> {
        let refuse = |why: String| BundleError::NotABundle(why);
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(refuse(format!(
                "it has more than {PAYLOAD_BYTES_MAX} bytes"
            )));
        }
        let value: Value =
            serde_json::from_slice(payload).map_err(|error| refuse(error.to_string()))?;
        let head = Head::deserialize(&value).map_err(|error| refuse(error.to_string()))?;
        if head.api_version != API_VERSION || head.kind != PAYLOAD_KIND {
            let (version, kind) = (shortened(&head.api_version), shortened(&head.kind));
            return Err(refuse(format!("it is a {kind:?} of {version:?}")));
        }
        if head.format != FORMAT {
            return Err(BundleError::Format(head.format));
        }
        // A field that occurs twice, or a number in two spellings, could mean another thing to another
        // reader of what was signed.
        if canonical(&value)?.as_bytes() != payload {
            return Err(BundleError::NotCanonical);
        }
        let written: Written =
            serde_json::from_value(value).map_err(|error| refuse(error.to_string()))?;
        let found = digest(canonical(&Value::Array(written.documents.clone()))?.as_bytes());
        if found != written.documents_digest {
            return Err(BundleError::Digest {
                header: written.documents_digest,
                found,
            });
        }
        let documents = written.documents.iter().map(document);
        let bundle = Self::new(
            &written.name,
            written.sequence,
            written.created_unix_s,
            written.expires_unix_s,
            documents.collect::<Result<_, _>>()?,
        )?;
        // What another version of Weir wrote keeps its digest, should this one write it otherwise.
        Ok(Self {
            documents_digest: found,
            ..bundle
        })
    }

    /// Sorted by kind, namespace and name.
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// For the compiler, which wants to know where each stands.
    pub fn located(&self) -> Vec<Located<Document>> {
        let place = format!("bundle {} {}", self.name, self.sequence);
        let documents = self.documents.iter().cloned();
        documents
            .map(|document| Located::unplaced(document, &place))
            .collect()
    }

    /// Names the documents: equal documents have equal digests, whatever text they were written in.
    pub fn documents_digest(&self) -> &str {
        &self.documents_digest
    }

    /// The titles of signed workloads and services.
    pub fn pinned(&self) -> BTreeSet<String> {
        let documents = self.documents.iter();
        documents
            .filter(|document| !is_policy(document.kind()))
            .map(Document::title)
            .collect()
    }
}

fn key(document: &Document) -> (&'static str, &str, &str) {
    let metadata = document.metadata();
    (document.kind().name(), &metadata.namespace, &metadata.name)
}

fn values(documents: &[Document]) -> Result<Vec<Value>, BundleError> {
    documents
        .iter()
        .map(|document| {
            let value = serde_json::to_value(document);
            value.map_err(|error| BundleError::NotABundle(error.to_string()))
        })
        .collect()
}

fn document(value: &Value) -> Result<Document, BundleError> {
    let (documents, problems) = parse_documents("bundle", &value.to_string());
    if let Some(problem) = problems.into_iter().next() {
        return Err(BundleError::Document(problem));
    }
    let mut documents = documents.into_iter();
    match (documents.next(), documents.next()) {
        (Some(only), None) => Ok(only.value),
        _ => Err(BundleError::NotABundle(
            "an entry is no document".to_owned(),
        )),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}
