//! Whatever the way, the end is the same: documents taken one by one come to what they come to from
//! nothing.

mod history;

use std::collections::BTreeMap;

use history::{Dice, change};
use proptest::prelude::*;
use weir_compile::{Change, Compilation, Effect, SpecChange, compile};
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
            for change in &changes {
                let Change::Put(document) = change else { continue };
                let key = change.key();
                let Some(outcome) = effect.outcomes.get(&key) else { continue };
                let holds = compilation.document(&key);
                if changes.iter().filter(|other| other.key() == key).count() > 1 {
                    continue;
                }
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
