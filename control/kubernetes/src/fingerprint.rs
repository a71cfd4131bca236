//! Which documents a controller has, as a number: two controllers with the same number were told the
//! same of every object that people wrote.
//!
//! Kept document by document. What follows from pods is not in it: it changes all the time, and no
//! object's conditions speak of it. Memory: a number for each document.

use std::collections::HashMap;

use sha2::{Digest, Sha256};
use weir_model::{Kind, to_yaml};
use weir_sources::{Change, DocumentKey};

/// The documents that people wrote, as a number.
#[derive(Debug, Default)]
pub struct Fingerprint {
    documents: HashMap<DocumentKey, u64>,
    sum: u64,
}

/// Whether what a cluster says of itself has documents of this kind, too.
pub fn is_cluster_kind(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Workload | Kind::Service | Kind::Namespace | Kind::LearnedProfile
    )
}

impl Fingerprint {
    /// Takes what a source told.
    pub fn take(&mut self, changes: &[Change], everything: bool) {
        if everything {
            *self = Self::default();
        }
        for change in changes {
            let key = change.key();
            if is_cluster_kind(key.kind) {
                continue;
            }
            let number = match change {
                Change::Remove(_) => None,
                Change::Upsert { document, revision } => {
                    Some(digest(&key, *revision, &to_yaml(&document.value)))
                }
                Change::Invalid { revision, .. } => Some(digest(&key, *revision, "")),
            };
            let before = match number {
                Some(number) => self.documents.insert(key, number),
                None => self.documents.remove(&key),
            };
            let without = self.sum.wrapping_sub(before.unwrap_or_default());
            self.sum = without.wrapping_add(number.unwrap_or_default());
        }
    }

    /// "3c0f…"
    pub fn text(&self) -> String {
        format!("{:016x}-{}", self.sum, self.documents.len())
    }
}

fn digest(key: &DocumentKey, revision: u64, text: &str) -> u64 {
    let mut hash = Sha256::new();
    for part in [key.kind.name(), &key.namespace, &key.name, text] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update(revision.to_be_bytes());
    let digest = hash.finalize();
    let first = digest.iter().take(8);
    first.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use weir_model::parse_documents;

    fn change(name: &str, port: u16, revision: u64) -> Change {
        let text = format!(
            "apiVersion: weir.dev/v1alpha1\nkind: Allowlist\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec:\n  target: {{workload: db}}\n  ingress:\n    - from: [{{any: true}}]\n      ports: [{port}]\n"
        );
        let document = parse_documents("test", &text).0.remove(0);
        Change::Upsert {
            document: Arc::new(document),
            revision,
        }
    }

    #[test]
    fn the_same_documents_have_the_same_number_in_whatever_order_they_came() {
        let mut one = Fingerprint::default();
        one.take(&[change("a", 1, 1), change("b", 2, 1)], true);
        let mut other = Fingerprint::default();
        other.take(&[change("b", 3, 1), change("c", 1, 1)], true);
        other.take(&[change("a", 1, 1)], false);
        other.take(&[Change::Remove(change("c", 1, 1).key())], false);
        assert_ne!(one.text(), other.text());
        other.take(&[change("b", 2, 1)], false);
        assert_eq!(one.text(), other.text());
        one.take(&[change("b", 2, 2)], false);
        assert_ne!(one.text(), other.text(), "another generation");
        one.take(&[change("a", 1, 1), change("b", 2, 1)], true);
        assert_eq!(one.text(), other.text());
    }
}
