//! Who is cut off, since when, until when, and why.

use std::collections::BTreeMap;

use serde::Serialize;
use weir_model::{
    Document, Kind, Metadata, ModeDocument, ModeSpec, Reference, Selector, Timestamp,
};

/// Workloads that can be cut off at the same time.
pub const QUARANTINES_MAX: usize = 1_000;

/// The beginning of the names of the Mode documents that cut workloads off.
const PREFIX: &str = "quarantine.";
/// What such a document notes.
const SINCE: &str = "weir.dev/since";
const UNTIL: &str = "weir.dev/until";
const BY: &str = "weir.dev/by";
const BECAUSE: &str = "weir.dev/because";

/// One workload that is cut off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quarantine {
    /// "shop/photo-db"
    pub workload: String,
    /// Since when, seconds since 1970.
    pub since_unix_s: u64,
    /// Until when; none: until somebody lifts it.
    pub until_unix_s: Option<u64>,
    /// "operator", or the rule that did it.
    pub by: String,
    /// Why, in a sentence.
    pub because: String,
}

/// Everybody who is cut off, by workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quarantines {
    by_workload: BTreeMap<String, Quarantine>,
}

/// Why a workload cannot be cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuarantineError {
    /// Too many are.
    Full,
    /// That is no workload's name.
    Name(String),
}

impl std::fmt::Display for QuarantineError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Full => write!(
                formatter,
                "{QUARANTINES_MAX} workloads are cut off already; lift some of them first"
            ),
            Self::Name(name) => write!(
                formatter,
                "{name:?} is no workload; write namespace/name as weir status shows it"
            ),
        }
    }
}

impl std::error::Error for QuarantineError {}

impl Quarantines {
    /// Those that documents cut off.
    pub fn of<'a>(documents: impl IntoIterator<Item = &'a Document>) -> Self {
        let kept = documents.into_iter().filter_map(Quarantine::of);
        let by_workload = kept.map(|it| (it.workload.clone(), it));
        Self {
            by_workload: by_workload.collect(),
        }
    }

    /// Cuts a workload off. Of two reasons the one that holds longer counts.
    pub fn add(&mut self, quarantine: Quarantine) -> Result<(), QuarantineError> {
        if reference(&quarantine.workload).is_none() {
            return Err(QuarantineError::Name(quarantine.workload));
        }
        let end = |it: &Quarantine| it.until_unix_s.unwrap_or(u64::MAX);
        match self.by_workload.get(&quarantine.workload) {
            Some(standing) if end(standing) >= end(&quarantine) => Ok(()),
            None if self.by_workload.len() >= QUARANTINES_MAX => Err(QuarantineError::Full),
            _ => {
                self.by_workload
                    .insert(quarantine.workload.clone(), quarantine);
                Ok(())
            }
        }
    }

    /// Lets a workload in again; none where it was not cut off.
    pub fn lift(&mut self, workload: &str) -> Option<Quarantine> {
        self.by_workload.remove(workload)
    }

    /// Lets those in again whose time is over, and tells them.
    pub fn expire(&mut self, now_unix_s: u64) -> Vec<Quarantine> {
        let over = |it: &Quarantine| it.until_unix_s.is_some_and(|until| until <= now_unix_s);
        let ended: Vec<Quarantine> = self.iter().filter(|it| over(it)).cloned().collect();
        self.by_workload.retain(|_, it| !over(it));
        ended
    }

    /// All of them, by workload.
    pub fn iter(&self) -> impl Iterator<Item = &Quarantine> {
        self.by_workload.values()
    }

    /// Whether the workload is cut off.
    pub fn get(&self, workload: &str) -> Option<&Quarantine> {
        self.by_workload.get(workload)
    }
}

impl Quarantine {
    /// The document that cuts the workload off. The controller makes it, beside those of its source.
    pub fn document(&self) -> Option<Document> {
        let workload = reference(&self.workload)?;
        let seconds = |unix_s: u64| Timestamp::from_unix_s(unix_s).map(|time| time.to_string());
        let notes = [
            (SINCE, seconds(self.since_unix_s)),
            (UNTIL, self.until_unix_s.and_then(seconds)),
            (BY, Some(self.by.clone())),
            (BECAUSE, Some(self.because.clone())),
        ];
        let notes = notes.into_iter();
        let annotations = notes.filter_map(|(key, note)| Some((key.to_owned(), note?)));
        let name = format!("{PREFIX}{}", workload.name());
        Some(Document::Mode(ModeDocument {
            metadata: Metadata {
                name,
                namespace: workload.namespace().unwrap_or_default().to_owned(),
                labels: BTreeMap::new(),
                annotations: annotations.collect(),
            },
            spec: ModeSpec {
                target: Selector::Name(workload),
                mode: None,
                quarantine: true,
            },
        }))
    }

    /// What such a document says; none of any other.
    pub fn of(document: &Document) -> Option<Self> {
        let Document::Mode(mode) = document else {
            return None;
        };
        let Selector::Name(workload) = &mode.spec.target else {
            return None;
        };
        let metadata = &mode.metadata;
        if !is_quarantine(Kind::Mode, &metadata.name) || !mode.spec.quarantine {
            return None;
        }
        let note = |key: &str| metadata.annotations.get(key).cloned();
        let time = |key: &str| Some(note(key)?.parse::<Timestamp>().ok()?.unix_s());
        Some(Self {
            workload: workload.resolve(&metadata.namespace),
            since_unix_s: time(SINCE).unwrap_or_default(),
            until_unix_s: time(UNTIL),
            by: note(BY).unwrap_or_default(),
            because: note(BECAUSE).unwrap_or_default(),
        })
    }
}

/// Whether a document of this kind and name is one that cuts off: a source that does not tell of it
/// has not removed it.
pub fn is_quarantine(kind: Kind, name: &str) -> bool {
    kind == Kind::Mode && name.starts_with(PREFIX)
}

fn reference(workload: &str) -> Option<Reference> {
    let (namespace, name) = workload.split_once('/')?;
    Reference::new(namespace, name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quarantine(workload: &str, until_unix_s: Option<u64>) -> Quarantine {
        Quarantine {
            workload: workload.into(),
            since_unix_s: 10,
            until_unix_s,
            by: "operator".into(),
            because: "because".into(),
        }
    }

    #[test]
    fn the_longer_reason_counts_and_time_ends_it() {
        let mut all = Quarantines::default();
        all.add(quarantine("shop/a", Some(100))).unwrap();
        all.add(quarantine("shop/a", Some(50))).unwrap();
        all.add(quarantine("shop/b", None)).unwrap();
        all.add(quarantine("shop/b", Some(60))).unwrap();
        assert_eq!(all.expire(99), []);
        assert_eq!(all.expire(100).len(), 1);
        assert!(all.get("shop/a").is_none() && all.get("shop/b").is_some());
        assert!(all.lift("shop/b").is_some() && all.lift("shop/b").is_none());
    }

    #[test]
    fn how_many_can_be_cut_off_is_bounded() {
        let mut all = Quarantines::default();
        for number in 0..QUARANTINES_MAX {
            all.add(quarantine(&format!("shop/w{number}"), None))
                .unwrap();
        }
        assert_eq!(
            all.add(quarantine("shop/x", None)),
            Err(QuarantineError::Full)
        );
        assert_eq!(all.add(quarantine("shop/w1", None)), Ok(()));
        let wrong = QuarantineError::Name("10.0.0.1".into());
        assert_eq!(all.add(quarantine("10.0.0.1", None)), Err(wrong));
    }

    #[test]
    fn the_document_is_one_that_can_be_read() {
        for until_unix_s in [None, Some(77)] {
            let quarantine = quarantine("shop/photo-db", until_unix_s);
            let document = quarantine.document().unwrap();
            let text = weir_model::to_yaml(&document);
            let (read, problems) = weir_model::parse_documents("test", &text);
            assert_eq!(problems, []);
            assert_eq!(read[0].value, document);
            assert_eq!(Quarantine::of(&document), Some(quarantine));
        }
    }
}
