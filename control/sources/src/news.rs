//! What a source tells the controller, and what the controller tells back of each document.

use std::sync::Arc;

use weir_model::{Document, Kind, Located, Problem};

/// Which document: kind, namespace, name. Kinds that belong to no namespace have an empty one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentKey {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// One message of a source. The first one is [`News::Everything`].
#[derive(Clone, Debug)]
pub enum News {
    /// All documents, in place of whatever was told before.
    Everything(Vec<Change>),
    /// What changed since; the rest is as it was.
    Changes(Vec<Change>),
    /// What is wrong with the source as a whole: a missing permission, a server out of reach.
    /// In place of those told before; an empty list says that it is well.
    Condition(Vec<Problem>),
}

/// One document that came, changed or went.
#[derive(Clone, Debug)]
pub enum Change {
    /// It is like this now.
    Upsert {
        /// The document.
        document: Arc<Located<Document>>,
        /// The source's own mark of this state (Kubernetes: the generation); comes back in [`Standing`].
        revision: u64,
    },
    /// It cannot be read: its last good state stays in force.
    Invalid {
        /// Which.
        key: DocumentKey,
        /// As for an upsert.
        revision: u64,
        /// Why.
        problems: Vec<Problem>,
    },
    /// It is gone.
    Remove(DocumentKey),
}

/// What became of a document, for whoever shows it at the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The state of the document that this is about.
    pub revision: u64,
    /// Why it was not taken; empty where it was. The last good state is in force meanwhile.
    pub refused: Vec<Problem>,
    /// What it names that does not exist, or what is probably not meant.
    pub unresolved: Vec<Problem>,
    /// Nodes that enforce it, and why others do not.
    pub programmed: Programmed,
}

/// How far a document has come on the nodes that need it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Programmed {
    /// Nodes that acknowledged a policy with it.
    pub enforcing: u32,
    /// Nodes that need it.
    pub wanted: u32,
    /// What nodes said that refused it, each once, by node.
    pub refusals: Vec<(String, String)>,
}

impl DocumentKey {
    /// The key of a document.
    pub fn of(document: &Document) -> Self {
        let metadata = document.metadata();
        Self {
            kind: document.kind(),
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
        }
    }
}

impl Change {
    /// Which document it is about.
    pub fn key(&self) -> DocumentKey {
        match self {
            Self::Upsert { document, .. } => DocumentKey::of(&document.value),
            Self::Invalid { key, .. } | Self::Remove(key) => key.clone(),
        }
    }
}
