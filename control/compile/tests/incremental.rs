//! Whatever the way, the end is the same: documents taken one by one come to what they come to from
//! nothing.

mod history;

use std::collections::{BTreeMap, BTreeSet};

use history::{Dice, change};
use proptest::prelude::*;
use weir_compile::{Change, Compilation, Effect, Scopes, SpecChange, compile, scope};
use weir_model::{Document, Located};
use weir_policy::spec::SnapshotSpec;

fn in_force(compilation: &Compilation) -> Vec<Located<Document>> {
    let documents = compilation.documents();
    documents.map(|(_, located)| (**located).clone()).collect()
}

fn agrees(compilation: &Compilation) -> Result<(), TestCaseError> {
    let documents = in_force(compilation);
    let fresh = compile(&documents, Some(compilation.assignments()));
    prop_assert_eq!(&fresh.problems, &vec![]);
    prop_assert_eq!(&fresh.spec, &compilation.spec());
    prop_assert_eq!(&fresh.drafts, &compilation.drafts());
    prop_assert_eq!(&fresh.warnings, &compilation.warnings());
    prop_assert_eq!(&fresh.assignments, compilation.assignments());
    Ok(())
}

/// What somebody knows who hears effects alone.
#[derive(Default)]
struct Mirror {
    spec: SnapshotSpec,
    drafts: SnapshotSpec,
    nodes: BTreeMap<u32, Vec<String>>,
}

impl Mirror {
    fn hear(&mut self, effect: &Effect) {
        effect.spec.apply_to(&mut self.spec);
        effect.drafts.apply_to(&mut self.drafts);
        for id in &effect.spec.removed_identities {
            self.nodes.remove(id);
        }
        let placements = effect.placements.iter();
        self.nodes
            .extend(placements.map(|(id, nodes)| (*id, nodes.to_vec())));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_history_comes_to_what_its_documents_come_to(seed: u64, steps in 1usize..120) {
        let mut dice = Dice::new(seed);
        let mut compilation = Compilation::new(None);
        let mut mirror = Mirror::default();
        for _ in 0..steps {
            let before = compilation.spec();
            let documents = in_force(&compilation);
            let changes: Vec<Change> = (0..1 + dice.below(3)).map(|_| change(&mut dice)).collect();
            let effect = compilation.apply(changes.clone());
            agrees(&compilation)?;
            // What it says is what happened, and no more.
            prop_assert_eq!(&effect.spec, &SpecChange::between(&before, &compilation.spec()));
            mirror.hear(&effect);
            prop_assert_eq!(&mirror.spec, &compilation.spec());
            prop_assert_eq!(&mirror.drafts.rules, &compilation.drafts());
            // With two states of one document the first may hold, or one that waited before.
            let keys: BTreeSet<_> = changes.iter().map(Change::key).collect();
            for change in changes.iter().filter(|_| keys.len() == changes.len()) {
                let Change::Put(document) = change else { continue };
                let key = change.key();
                let Some(outcome) = effect.outcomes.get(&key) else { continue };
                let holds = compilation.document(&key);
                match outcome.refused.is_empty() {
                    true => prop_assert_eq!(holds, Some(document)),
                    false => {
                        let old = documents.iter().find(|old| weir_compile::Key::of(&old.value) == key);
                        prop_assert_eq!(holds.map(|one| &**one), old, "the last good state holds");
                    }
                }
            }
        }
        // Nobody waits for what nobody has.
        let refused = compilation.refused().map(|(key, _)| key.clone());
        let refused: Vec<_> = refused.filter(|key| compilation.document(key).is_none()).collect();
        let all: Vec<Change> = compilation.documents().map(|(key, _)| Change::Remove(key.clone())).collect();
        compilation.apply(all);
        agrees(&compilation)?;
        for key in refused {
            let waits = compilation.refused().any(|(other, _)| *other == key);
            let taken = compilation.document(&key).is_some();
            prop_assert!(waits != taken, "{:?} is neither in force nor told as refused", key);
        }
        let mut from_nothing = SnapshotSpec::default();
        compilation.everything().spec.apply_to(&mut from_nothing);
        prop_assert_eq!(from_nothing, compilation.spec());
    }
}

/// What runs on a node, as effects tell it.
fn local(mirror: &Mirror, node: &str) -> BTreeSet<u32> {
    let nodes = mirror.nodes.iter();
    let here = nodes.filter(|(_, nodes)| nodes.is_empty() || nodes.iter().any(|one| one == node));
    here.map(|(id, _)| *id).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn each_node_has_its_scope_at_any_time(seed: u64, steps in 1usize..100) {
        let mut dice = Dice::new(seed);
        let mut compilation = Compilation::new(None);
        let (mut scopes, mut mirror) = (Scopes::default(), Mirror::default());
        let mut nodes: BTreeMap<&str, SnapshotSpec> = BTreeMap::new();
        if dice.below(4) > 0 {
            // With everybody protected, scopes differ most.
            let effect = compilation.apply([Change::Put(history::read(history::ALL_PROTECTED))]);
            mirror.hear(&effect);
            scopes.apply(&effect);
        }
        for _ in 0..steps {
            match dice.below(12) {
                0 => {
                    let name = ["n1", "n2", "n3"][dice.below(3)];
                    scopes.add_node(name);
                    nodes.insert(name, scopes.spec(name).unwrap());
                }
                1 => {
                    let name = ["n1", "n2", "n3"][dice.below(3)];
                    scopes.remove_node(name);
                    nodes.remove(name);
                }
                _ => {}
            }
            let changes: Vec<Change> = (0..1 + dice.below(3)).map(|_| change(&mut dice)).collect();
            let effect = compilation.apply(changes);
            mirror.hear(&effect);
            let mut told: BTreeMap<_, _> = scopes.apply(&effect).into_iter().collect();
            for (name, spec) in &mut nodes {
                let wanted = scope(&mirror.spec, &local(&mirror, name));
                let change = told.remove(*name).unwrap_or_default();
                prop_assert_eq!(&change, &SpecChange::between(spec, &wanted), "{}", name);
                change.apply_to(spec);
                prop_assert_eq!(&*spec, &wanted, "{}", name);
                prop_assert_eq!(scopes.spec(name).unwrap(), wanted, "{}", name);
            }
            prop_assert_eq!(told.len(), 0);
        }
    }
}
