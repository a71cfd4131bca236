//! The scopes of all nodes, kept while the policy changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use weir_policy::spec::SnapshotSpec;

use crate::change::{Effect, SpecChange};
use crate::scope::scope;

/// What each node needs, and what changes for whom.
///
/// Begins with the effect of [`crate::Compilation::everything`] or with nothing, and is given every effect after
/// that: [`Scopes::spec`] is at any time what [`scope`] gives for the whole policy and what runs on
/// the node.
#[derive(Clone, Debug, Default)]
pub struct Scopes {
    whole: SnapshotSpec,
    placements: HashMap<u32, Arc<[String]>>,
    nodes: BTreeMap<Arc<str>, SnapshotSpec>,
}

impl Scopes {
    /// Takes what changed; returns what that changes on which nodes, by name. Nodes for which
    /// nothing changes do not occur.
    pub fn apply(&mut self, effect: &Effect) -> Vec<(Arc<str>, SpecChange)> {
        effect.spec.apply_to(&mut self.whole);
        for id in &effect.spec.removed_identities {
            self.placements.remove(id);
        }
        self.placements.extend(effect.placements.iter().cloned());
        let names: Vec<Arc<str>> = self.nodes.keys().cloned().collect();
        let changes = names.into_iter().map(|name| {
            let new = self.scope(&name);
            let old = self.nodes.insert(name.clone(), new).unwrap_or_default();
            let change = SpecChange::between(&old, self.nodes.get(&name).unwrap_or(&old));
            (name, change)
        });
        changes.filter(|(_, change)| !change.is_empty()).collect()
    }

    /// Begins to keep the scope of a node.
    pub fn add_node(&mut self, name: &str) {
        let scope = self.scope(name);
        self.nodes.entry(name.into()).or_insert(scope);
    }

    /// Forgets a node.
    pub fn remove_node(&mut self, name: &str) {
        self.nodes.remove(name);
    }

    /// The nodes whose scopes are kept, in the order of their names.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<str>> {
        self.nodes.keys()
    }

    /// Everything that a node needs, as the change that leads to it from nothing: items that it has in
    /// common with other nodes are shared.
    pub fn everything(&self, node: &str) -> Option<SpecChange> {
        let spec = self.nodes.get(node)?;
        Some(SpecChange::between(&SnapshotSpec::default(), spec))
    }

    /// Everything that a node needs as one piece, with version 0.
    pub fn spec(&self, node: &str) -> Option<SnapshotSpec> {
        self.nodes.get(node).cloned()
    }

    fn scope(&self, node: &str) -> SnapshotSpec {
        let here = |id: &u32| match self.placements.get(id) {
            Some(nodes) if !nodes.is_empty() => nodes.iter().any(|one| one == node),
            _ => true,
        };
        let ids = self.whole.identities.iter().map(|one| one.id);
        let local: BTreeSet<u32> = ids.filter(here).collect();
        scope(&self.whole, &local)
    }
}
