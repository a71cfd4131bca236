//! Vulnerability reports, as trivy-operator and the like write them
//! (`vulnerabilityreports.aquasecurity.github.io`, v1alpha1), found by image.
//!
//! Distrusts the reports: whoever may write one may hide or invent vulnerabilities; of several for one
//! image the newest counts, of equally new ones the worse. Bounded by [`REPORTS_MAX`].

use std::collections::HashMap;

use serde_json::Value;

use crate::image::{Image, split_registry};

/// Reports beyond these are not looked at.
pub const REPORTS_MAX: usize = 100_000;

/// What a report says of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Of the highest severity.
    pub critical: u64,
    /// Of the next.
    pub high: u64,
    /// "shop/replicaset-web-6d4-nginx": the report's namespace and name.
    pub report: String,
    updated: String,
}

/// All reports, by image.
#[derive(Clone, Debug, Default)]
pub struct Reports {
    by_tag: HashMap<(String, String), Summary>,
    by_digest: HashMap<String, Summary>,
    count: usize,
}

impl Reports {
    /// Takes one report; what is none is passed over.
    pub fn add(&mut self, report: &Value) {
        let Some((name, tag, digest, summary)) = read(report) else {
            return;
        };
        if self.count >= REPORTS_MAX {
            return;
        }
        self.count += 1;
        let newer = |old: &Summary| {
            (&old.updated, old.critical, old.high)
                < (&summary.updated, summary.critical, summary.high)
        };
        if let Some(digest) = digest
            && self.by_digest.get(&digest).is_none_or(newer)
        {
            self.by_digest.insert(digest, summary.clone());
        }
        if let Some(tag) = tag {
            let key = (name, tag);
            if self.by_tag.get(&key).is_none_or(newer) {
                self.by_tag.insert(key, summary);
            }
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// What is known of an image: by its digest, or by its tag where it has no digest.
    pub fn find(&self, image: &Image) -> Option<&Summary> {
        match &image.digest {
            Some(digest) => self.by_digest.get(digest),
            None => {
                let tag = image.effective_tag()?.to_owned();
                self.by_tag.get(&(image.name(), tag))
            }
        }
    }
}

type Read = (String, Option<String>, Option<String>, Summary);

fn read(object: &Value) -> Option<Read> {
    let report = &object["report"];
    let text = |value: &Value| {
        let text = value.as_str().filter(|text| !text.is_empty());
        text.map(str::to_owned)
    };
    let artifact = &report["artifact"];
    let repository = text(&artifact["repository"])?;
    let full = match text(&report["registry"]["server"]) {
        Some(server) => format!("{server}/{repository}"),
        None => repository,
    };
    let (registry, repository) = split_registry(&full);
    let metadata = &object["metadata"];
    let of = |value: &Value| text(value).unwrap_or_default();
    let summary = Summary {
        critical: report["summary"]["criticalCount"].as_u64()?,
        high: report["summary"]["highCount"].as_u64().unwrap_or(0),
        report: format!("{}/{}", of(&metadata["namespace"]), of(&metadata["name"])),
        updated: of(&report["updateTimestamp"]),
    };
    Some((
        format!("{registry}/{repository}"),
        text(&artifact["tag"]),
        text(&artifact["digest"]),
        summary,
    ))
}
