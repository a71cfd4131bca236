//! How often rules decided, as nodes tell it: in all, and by node.
//!
//! Memory: a number for each of the [`DECIDERS_MAX`] deciders, and for as many documents on nodes.

use std::collections::{BTreeMap, HashMap};

/// Deciders whose hits are counted, and documents on nodes.
const DECIDERS_MAX: usize = 65_536;

/// The counts since the controller started.
#[derive(Debug, Default)]
pub struct Deciders {
    hits: HashMap<String, u64>,
    /// By the number of a node and the title of a document.
    of_nodes: HashMap<u32, BTreeMap<String, u64>>,
    /// Entries of these.
    count: usize,
}

impl Deciders {
    /// A rule ("allowlist shop/photo-db ingress[0]") decided once more on a node.
    pub fn count(&mut self, node: u32, decider: &str) {
        if let Some(hits) = self.hits.get_mut(decider) {
            *hits += 1;
        } else if self.hits.len() < DECIDERS_MAX {
            self.hits.insert(decider.to_owned(), 1);
        }
        let document = document_of(decider);
        let of_node = self.of_nodes.entry(node).or_default();
        if let Some(hits) = of_node.get_mut(document) {
            *hits += 1;
        } else if self.count < DECIDERS_MAX {
            of_node.insert(document.to_owned(), 1);
            self.count += 1;
        }
    }

    /// By the title of the document that the rules stand in.
    pub fn by_document(&self) -> HashMap<String, u64> {
        let mut by_document: HashMap<String, u64> = HashMap::new();
        for (decider, hits) in &self.hits {
            let document = document_of(decider).to_owned();
            *by_document.entry(document).or_default() += hits;
        }
        by_document
    }

    /// The same of one node.
    pub fn of_node(&self, node: u32) -> BTreeMap<String, u64> {
        self.of_nodes.get(&node).cloned().unwrap_or_default()
    }
}

fn document_of(decider: &str) -> &str {
    let parts = decider.rsplit_once(' ');
    parts.map_or(decider, |(document, _)| document)
}
