//! What `weir bundle` prints.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::json;
use weir_bundle::{
    Bundle, DIGEST_ANNOTATION, PART_ANNOTATION, PART_KEY, PART_LABEL, Signature, SignedBundle,
    Weakening, short, split, weakening,
};
use weir_model::Document;

use crate::output::{Page, Tone, View};
use crate::text;

/// The header of a bundle.
#[derive(Serialize)]
pub struct Header {
    name: String,
    sequence: u64,
    created: String,
    /// Empty: never.
    expires: String,
    documents: usize,
    documents_digest: String,
}

/// What was written.
#[derive(Serialize)]
pub struct Made {
    #[serde(flatten)]
    header: Header,
    signers: Vec<String>,
    file: String,
    /// What it opens, compared with the previous one.
    opens: Vec<String>,
}

/// Whether a bundle is good.
#[derive(Serialize)]
pub struct Verdict {
    pub verified: bool,
    pub header: Option<Header>,
    pub signers: Vec<String>,
    pub opens: Vec<String>,
    pub problems: Vec<String>,
}

/// What a bundle holds.
#[derive(Serialize)]
pub struct Shown {
    #[serde(flatten)]
    header: Header,
    titles: Vec<String>,
    signatures: Vec<String>,
}

/// What differs.
#[derive(Serialize)]
pub struct Changes {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
    opens: Vec<String>,
}

/// A pair of keys.
#[derive(Serialize)]
pub struct NewPair {
    pub id: String,
    pub algorithm: &'static str,
    pub private: String,
    pub public: String,
}

impl Header {
    pub fn of(bundle: &Bundle) -> Self {
        let time = |unix_s: u64| text::time(unix_s.saturating_mul(1_000_000));
        Self {
            name: bundle.name.clone(),
            sequence: bundle.sequence,
            created: time(bundle.created_unix_s),
            expires: bundle.expires_unix_s.map(time).unwrap_or_default(),
            documents: bundle.documents().len(),
            documents_digest: bundle.documents_digest().to_owned(),
        }
    }

    fn print(&self, page: &mut Page) {
        let expires = match self.expires.as_str() {
            "" => "never",
            time => time,
        };
        page.line(format!("name       {}", self.name));
        page.line(format!("sequence   {}", self.sequence));
        page.line(format!("created    {}", self.created));
        page.line(format!("expires    {expires}"));
        page.line(format!(
            "documents  {}  {}",
            self.documents, self.documents_digest
        ));
    }
}

impl Made {
    pub fn of(
        bundle: &Bundle,
        signatures: &[Signature],
        file: &Path,
        opens: Vec<Weakening>,
    ) -> Self {
        Self {
            header: Header::of(bundle),
            signers: signatures.iter().map(|one| one.key_id.clone()).collect(),
            file: file.display().to_string(),
            opens: lines(&opens),
        }
    }
}

impl Shown {
    pub fn of(bundle: &Bundle, signatures: &[Signature]) -> Self {
        Self {
            header: Header::of(bundle),
            titles: bundle.documents().iter().map(Document::title).collect(),
            signatures: signatures.iter().map(|one| one.key_id.clone()).collect(),
        }
    }
}

impl Changes {
    pub fn between(old: &[Document], new: &[Document]) -> Self {
        let by_title = |documents: &[Document]| -> BTreeMap<String, Document> {
            let each = documents.iter();
            each.map(|document| (document.title(), document.clone()))
                .collect()
        };
        let (before, after) = (by_title(old), by_title(new));
        let missing = |these: &BTreeMap<String, Document>, those: &BTreeMap<String, Document>| {
            let titles = these.keys().filter(|title| !those.contains_key(*title));
            titles.cloned().collect()
        };
        let differs = |(title, document): (&String, &Document)| {
            let other = after.get(title).filter(|other| *other != document);
            other.map(|_| title.clone())
        };
        Self {
            added: missing(&after, &before),
            removed: missing(&before, &after),
            changed: before.iter().filter_map(differs).collect(),
            opens: lines(&weakening(old, new)),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// Each as a sentence.
pub fn lines(opens: &[Weakening]) -> Vec<String> {
    opens.iter().map(ToString::to_string).collect()
}

fn print_opens(opens: &[String], page: &mut Page) {
    if opens.is_empty() {
        return;
    }
    page.toned(Tone::Warning, "weakens:");
    for line in opens {
        page.toned(Tone::Warning, &format!("  {line}"));
    }
}

impl View for Made {
    fn table(&self, page: &mut Page) {
        self.header.print(page);
        for signer in &self.signers {
            page.line(format!("signed by  {signer}"));
        }
        print_opens(&self.opens, page);
        if !self.opens.is_empty() && self.signers.len() < 2 {
            let next = "nodes that want two signatures on what weakens will refuse it: have a second \
                        person sign the file too (weir bundle sign FILE --key)";
            page.toned(Tone::Warning, next);
        }
        page.line(format!("written to {}", self.file));
    }
}

impl View for Verdict {
    fn table(&self, page: &mut Page) {
        if let Some(header) = &self.header {
            header.print(page);
        }
        for signer in &self.signers {
            page.line(format!("signed by  {signer}"));
        }
        print_opens(&self.opens, page);
        for problem in &self.problems {
            page.toned(Tone::Bad, &format!("NOT GOOD   {problem}"));
        }
        if self.verified {
            page.toned(Tone::Good, "good");
        }
    }
}

impl View for Shown {
    fn table(&self, page: &mut Page) {
        self.header.print(page);
        for signature in &self.signatures {
            page.line(format!("signature  {signature}, not verified"));
        }
        page.gap();
        self.titles.iter().for_each(|title| page.line(title));
    }
}

impl View for Changes {
    fn table(&self, page: &mut Page) {
        for (sign, titles) in [
            ("-", &self.removed),
            ("+", &self.added),
            ("~", &self.changed),
        ] {
            for title in titles {
                page.line(format!("{sign} {title}"));
            }
        }
        if self.is_empty() {
            page.line("no document differs");
        }
        print_opens(&self.opens, page);
    }
}

impl View for NewPair {
    fn table(&self, page: &mut Page) {
        let Self {
            id,
            algorithm,
            private,
            public,
        } = self;
        page.line(format!("{id} ({algorithm})"));
        page.line(format!(
            "sign with  {private}: keep it where the cluster cannot read it"
        ));
        page.line(format!(
            "nodes      {public}: name it in [policy] public_keys of node.toml"
        ));
    }
}

/// ConfigMaps that carry a bundle, as YAML.
pub fn manifest(signed: &SignedBundle, namespace: &str) -> String {
    let parts = split(&signed.to_file());
    let objects = parts.iter().map(|part| {
        let object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": format!("weir-bundle-{}", part.number),
                "namespace": namespace,
                "labels": {PART_LABEL: "part"},
                "annotations": {
                    PART_ANNOTATION: format!("{}/{}", part.number, part.count),
                    DIGEST_ANNOTATION: part.digest,
                },
            },
            "data": {PART_KEY: part.text},
        });
        serde_yaml_ng::to_string(&object).unwrap_or_default()
    });
    let objects: Vec<String> = objects.collect();
    let first = parts
        .first()
        .map(|part| short(&part.digest))
        .unwrap_or_default();
    format!("# bundle {first}\n{}", objects.join("---\n"))
}
