//! Who is cut off, since when, until when, and why.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_model::{Document, Metadata, ModeDocument, ModeSpec, Reference, Selector};

/// Workloads that can be cut off at the same time.
pub const QUARANTINES_MAX: usize = 1_000;

/// The beginning of the names of the Mode documents that cut workloads off.
const PREFIX: &str = "quarantine.";

/// One workload that is cut off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// "shop/photo-db"
    pub workload: String,
    /// Since when, seconds since 1970.
    pub since_unix_s: u64,
    /// Until when; none: until somebody lifts it.
    #[serde(default)]
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
    /// Those that were kept.
    pub fn of(kept: impl IntoIterator<Item = Quarantine>) -> Self {
        let by_workload = kept.into_iter().map(|it| (it.workload.clone(), it));
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

    /// When the next one ends.
    pub fn next_end_unix_s(&self) -> Option<u64> {
        self.iter().filter_map(|it| it.until_unix_s).min()
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
    /// The document that cuts the workload off, for the compiler; nobody writes or reads it.
    pub fn document(&self) -> Option<Document> {
        let workload = reference(&self.workload)?;
        let name = format!("{PREFIX}{}", workload.name());
        let namespace = workload.namespace().unwrap_or_default().to_owned();
        Some(Document::Mode(ModeDocument {
            metadata: Metadata {
                name,
                namespace,
                labels: BTreeMap::new(),
                annotations: BTreeMap::new(),
            },
            spec: ModeSpec {
                target: Selector::Name(workload),
                mode: None,
                quarantine: true,
            },
        }))
    }
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
        assert_eq!(all.next_end_unix_s(), Some(100));
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
        let document = quarantine("shop/photo-db", None).document().unwrap();
        let text = weir_model::to_yaml(&document);
        let (read, problems) = weir_model::parse_documents("test", &text);
        assert_eq!(problems, []);
        assert_eq!(read[0].value, document);
    }
}
