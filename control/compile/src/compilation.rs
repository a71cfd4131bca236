//! Documents and what they compile to, changed document by document.
//!
//! Changes are taken in three steps: who may have the places that only one can have
//! ([`crate::places`]); what the documents say of the world, which stirs the selectors that this
//! concerns ([`crate::atoms`]); and, of what was stirred alone, what the policy is now
//! ([`crate::settle`]). Memory: documents, selectors and policy, each once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_model::{Document, Kind, Located, Problem};
use weir_policy::spec::{RuleSpec, SnapshotSpec};

use crate::Assignments;
use crate::atoms::{AtomId, Atoms};
use crate::change::{Change, Effect, Key, Outcome, SpecChange};
use crate::check;
use crate::lists::List;
use crate::places::{Claims, Place, Places, collision};
use crate::settle::{Marks, Outputs};
use crate::world::World;

/// Documents in force and the policy that they come to.
///
/// What [`Compilation::spec`] gives is at any time what [`crate::compile`] gives for
/// [`Compilation::documents`] and [`Compilation::assignments`].
#[derive(Clone, Debug)]
pub struct Compilation {
    pub(crate) documents: BTreeMap<Arc<Key>, Held>,
    refused: BTreeMap<Arc<Key>, Refused>,
    pub(crate) places: Places,
    pub(crate) world: World,
    pub(crate) atoms: Atoms,
    pub(crate) lists: BTreeMap<Arc<Key>, List>,
    /// Of modes, sensors and threat policies.
    pub(crate) targets: BTreeMap<Arc<Key>, AtomId>,
    pub(crate) marks: Marks,
    pub(crate) outputs: Outputs,
    /// Whether the numbers of names that did not come again have been put aside.
    begun: bool,
}

/// A document in force.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) located: Arc<Located<Document>>,
    /// What is probably not meant, whatever else there is.
    own_warnings: Vec<Problem>,
    /// All that was told last.
    pub(crate) warnings: Vec<Problem>,
}

/// The newest state of a document, where it was not taken.
#[derive(Clone, Debug)]
struct Refused {
    located: Arc<Located<Document>>,
    problems: Vec<Problem>,
}

/// A change on its way.
struct Coming {
    key: Arc<Key>,
    located: Option<Arc<Located<Document>>>,
    own_warnings: Vec<Problem>,
    before: Claims,
    after: Claims,
    /// The places that others have.
    taken: Vec<(Place, String, Arc<Key>)>,
    refused: bool,
}

impl Default for Compilation {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Compilation {
    /// Without documents. `previous` are the numbers of a compilation before: the first changes that
    /// are applied are taken for everything there is, so that numbers of names that do not come again
    /// are put aside.
    pub fn new(previous: Option<&Assignments>) -> Self {
        let assignments = previous.cloned().unwrap_or_default();
        Self {
            documents: BTreeMap::new(),
            refused: BTreeMap::new(),
            places: Places::default(),
            world: World::new(assignments),
            atoms: Atoms::default(),
            lists: BTreeMap::new(),
            targets: BTreeMap::new(),
            marks: Marks::default(),
            outputs: Outputs::new(),
            begun: false,
        }
    }

    /// Takes changes, in their order. A document that cannot be taken leaves everything as it was:
    /// its last good state stays in force, and it is tried again when what it collides with goes.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = Change>) -> Effect {
        let mut outcomes = BTreeMap::new();
        let mut together: Vec<Coming> = Vec::new();
        let mut keys = BTreeSet::new();
        for change in changes {
            let key = Arc::new(change.key());
            if !keys.insert(key.clone()) {
                self.take_all(std::mem::take(&mut together), &mut outcomes);
                keys = BTreeSet::from([key.clone()]);
            }
            let located = match change {
                Change::Put(document) => Some(document),
                Change::Remove(_) => None,
            };
            together.push(self.coming(key, located));
        }
        self.take_all(together, &mut outcomes);
        self.put_numbers_aside();
        let mut effect = self.outputs.changes();
        for key in std::mem::take(&mut self.marks.warned) {
            if let Some(held) = self.documents.get(&key) {
                let outcome = outcomes.entry((*key).clone()).or_insert_with(|| Outcome {
                    refused: self
                        .refused
                        .get(&key)
                        .map_or(Vec::new(), |one| one.problems.clone()),
                    ..Outcome::default()
                });
                outcome.warnings.clone_from(&held.warnings);
            }
        }
        effect.outcomes = outcomes;
        effect
    }

    /// The policy as one piece, with version 0. Slow: it copies everything.
    pub fn spec(&self) -> SnapshotSpec {
        self.items().into_spec()
    }

    /// The policy as the change that leads to it from nothing: its items are shared, not copied.
    pub fn items(&self) -> SpecChange {
        self.outputs.items()
    }

    /// The rules of drafts, sorted by id. Slow: it copies everything.
    pub fn drafts(&self) -> Vec<RuleSpec> {
        self.outputs.drafts()
    }

    /// Everything as the effect that leads to it from nothing.
    pub fn everything(&self) -> Effect {
        let mut effect = self.outputs.everything();
        for (key, held) in &self.documents {
            let outcome: &mut Outcome = effect.outcomes.entry((**key).clone()).or_default();
            outcome.warnings.clone_from(&held.warnings);
        }
        for (key, refused) in &self.refused {
            let outcome: &mut Outcome = effect.outcomes.entry((**key).clone()).or_default();
            outcome.refused.clone_from(&refused.problems);
        }
        effect
    }

    /// The documents in force.
    pub fn documents(&self) -> impl Iterator<Item = (&Key, &Arc<Located<Document>>)> {
        let documents = self.documents.iter();
        documents.map(|(key, held)| (&**key, &held.located))
    }

    /// The documents of one kind that are in force.
    pub fn documents_of(&self, kind: Kind) -> impl Iterator<Item = &Arc<Located<Document>>> {
        let first = Key {
            kind,
            namespace: String::new(),
            name: String::new(),
        };
        let from = self.documents.range(Arc::new(first)..);
        let all = from.take_while(move |(key, _)| key.kind == kind);
        all.map(|(_, held)| &held.located)
    }

    /// A document in force.
    pub fn document(&self, key: &Key) -> Option<&Arc<Located<Document>>> {
        self.documents.get(key).map(|held| &held.located)
    }

    /// How many identities a document in force is for; none where it has no target.
    pub fn targets(&self, key: &Key) -> Option<usize> {
        let atom = match self.lists.get(key) {
            Some(list) => list.target(),
            None => *self.targets.get(key)?,
        };
        Some(self.atoms.get(atom)?.members().len())
    }

    /// Documents whose newest state was not taken, and why.
    pub fn refused(&self) -> impl Iterator<Item = (&Key, &[Problem])> {
        let refused = self.refused.iter();
        refused.map(|(key, one)| (&**key, one.problems.as_slice()))
    }

    /// What is probably not meant by the documents in force; sorted by place. What it advises is made
    /// out anew.
    pub fn warnings(&self) -> Vec<Problem> {
        let warned = self
            .documents
            .iter()
            .filter(|(_, held)| !held.warnings.is_empty());
        let mut warnings: Vec<Problem> = warned
            .flat_map(|(key, held)| self.warnings_of(key, held))
            .collect();
        warnings.sort();
        warnings.dedup();
        warnings
    }

    /// The numbers of the identities, to be given to the next compilation.
    pub fn assignments(&self) -> &Assignments {
        &self.world.assignments
    }

    pub(crate) fn own_warnings(held: &Held) -> &[Problem] {
        &held.own_warnings
    }

    fn coming(&self, key: Arc<Key>, located: Option<Arc<Located<Document>>>) -> Coming {
        let claims = |located: Option<&Arc<Located<Document>>>| match located {
            Some(located) => Claims::of(&located.value),
            None => Claims::none(),
        };
        Coming {
            before: claims(self.documents.get(&key).map(|held| &held.located)),
            after: claims(located.as_ref()),
            key,
            located,
            own_warnings: Vec::new(),
            taken: Vec::new(),
            refused: false,
        }
    }

    /// Takes what came together, then those whose turn has come by that.
    fn take_all(&mut self, mut together: Vec<Coming>, outcomes: &mut BTreeMap<Key, Outcome>) {
        let mut again = false;
        while !together.is_empty() {
            let freed = self.take_together(together, again, outcomes);
            let waiting = freed.iter().flat_map(|place| self.places.waiting(place));
            let waiting: BTreeSet<Arc<Key>> = waiting.cloned().collect();
            let next = waiting.into_iter().filter_map(|key| {
                let located = self.refused.get(&key)?.located.clone();
                Some(self.coming(key, Some(located)))
            });
            together = next.collect();
            again = true;
        }
    }

    /// Returns the places that became free.
    fn take_together(
        &mut self,
        mut together: Vec<Coming>,
        again: bool,
        outcomes: &mut BTreeMap<Key, Outcome>,
    ) -> BTreeSet<Place> {
        let mut before: BTreeMap<Arc<Key>, Vec<Problem>> = BTreeMap::new();
        for one in &together {
            self.places.stop_waiting(&one.key);
            if let Some(refused) = self.refused.remove(&one.key) {
                before.insert(one.key.clone(), refused.problems);
            }
        }
        together.retain_mut(|one| {
            let Some(located) = &one.located else {
                return true;
            };
            match check::document(located) {
                Ok(warnings) => {
                    one.own_warnings = warnings;
                    true
                }
                Err(problems) => {
                    self.refuse(&one.key, located.clone(), problems, outcomes);
                    false
                }
            }
        });
        self.check_sensors(&mut together, outcomes);
        self.share_out(&mut together);
        let mut freed = BTreeSet::new();
        let rules_before = self.outputs.pairs();
        let mut taken: Vec<(Arc<Key>, Option<Held>)> = Vec::new();
        for one in &together {
            let (key, Some(located)) = (&one.key, &one.located) else {
                freed.extend(freed_by(one));
                self.take(&one.key, None);
                outcomes.remove(&*one.key);
                continue;
            };
            if one.refused {
                let problems = self.collisions(one, located, &together);
                let same = again && before.get(key) == Some(&problems);
                self.refuse(key, located.clone(), problems, outcomes);
                if same {
                    outcomes.remove(&**key);
                }
                let places = one.taken.iter().map(|(place, ..)| *place).collect();
                self.places.wait(key, places);
                continue;
            }
            freed.extend(freed_by(one));
            let held = Held {
                located: located.clone(),
                own_warnings: one.own_warnings.clone(),
                warnings: Vec::new(),
            };
            taken.push((key.clone(), self.documents.get(key).cloned()));
            self.take(key, Some(held));
            outcomes.entry((**key).clone()).or_default().refused.clear();
            self.marks.warned.insert(key.clone());
        }
        self.settle();
        self.hold_rules_in_bounds(taken, outcomes);
        if self.outputs.pairs() < rules_before {
            freed.insert(Place::Rules);
        }
        freed
    }

    /// Who gets the places that they want: whoever has them, then whoever comes first. One that gets
    /// not all stays as it was, which may cost others theirs.
    fn share_out(&mut self, together: &mut [Coming]) {
        let places_of: BTreeMap<Arc<Key>, usize> = (together.iter().enumerate())
            .map(|(index, one)| (one.key.clone(), index))
            .collect();
        for one in together.iter() {
            self.places.leave(&one.key, &one.before);
        }
        for index in 0..together.len() {
            let Some(one) = together.get(index) else {
                continue;
            };
            if one.refused {
                continue;
            }
            let taken = self.taken_by_others(one, &one.after);
            if taken.is_empty() {
                self.places.hold(&one.key, &one.after);
                continue;
            }
            let mut back = vec![(index, taken)];
            while let Some((index, taken)) = back.pop() {
                let Some(one) = together.get_mut(index) else {
                    continue;
                };
                one.refused = true;
                one.taken.extend(taken);
                self.places.leave(&one.key, &one.after);
                let key = one.key.clone();
                let Some(one) = together.get(index) else {
                    continue;
                };
                for (place, _, holder) in self.taken_by_others(one, &one.before) {
                    let Some(&other) = places_of.get(&holder) else {
                        continue;
                    };
                    let Some(losing) = together.get(other) else {
                        continue;
                    };
                    self.places.leave(&losing.key, &losing.after);
                    let fields = losing.after.places.iter();
                    let field = fields.clone().find(|(theirs, _)| *theirs == place);
                    let field = field.map_or(String::new(), |(_, field)| field.clone());
                    back.push((other, vec![(place, field, key.clone())]));
                }
                if let Some(one) = together.get(index) {
                    self.places.hold(&one.key, &one.before);
                }
            }
        }
    }

    fn taken_by_others(&self, one: &Coming, claims: &Claims) -> Vec<(Place, String, Arc<Key>)> {
        let places = claims.places.iter();
        places
            .filter_map(|(place, field)| {
                let holder = self.places.other(*place, claims, &one.key)?;
                Some((*place, field.clone(), holder.clone()))
            })
            .collect()
    }

    fn collisions(
        &self,
        one: &Coming,
        located: &Arc<Located<Document>>,
        together: &[Coming],
    ) -> Vec<Problem> {
        let in_force = |key: &Arc<Key>| {
            let coming = together
                .iter()
                .find(|other| other.key == *key && !other.refused);
            let coming = coming.and_then(|other| other.located.as_ref());
            coming.or_else(|| self.documents.get(key).map(|held| &held.located))
        };
        let taken = one.taken.iter();
        taken
            .map(|(place, field, holder)| {
                let first = in_force(holder).unwrap_or(located);
                collision(located, *place, field, first)
            })
            .collect()
    }

    /// Sensors are compiled all together once, and only those refused of which this says so.
    fn check_sensors(&mut self, together: &mut Vec<Coming>, outcomes: &mut BTreeMap<Key, Outcome>) {
        let is_new = |one: &&Coming| one.key.kind == Kind::Sensor && one.located.is_some();
        while together.iter().any(|one| is_new(&one)) {
            let mut all: BTreeMap<&Arc<Key>, &Arc<Located<Document>>> = self
                .documents
                .iter()
                .filter(|(key, _)| key.kind == Kind::Sensor)
                .map(|(key, held)| (key, &held.located))
                .collect();
            for one in together.iter().filter(|one| one.key.kind == Kind::Sensor) {
                match &one.located {
                    Some(located) => all.insert(&one.key, located),
                    None => all.remove(&one.key),
                };
            }
            let mut refused = check::sensors(&all);
            if refused.is_empty() {
                return;
            }
            let mut ours: Vec<Arc<Key>> = together
                .iter()
                .filter(is_new)
                .map(|one| one.key.clone())
                .collect();
            let mut waits = false;
            if !ours.iter().any(|key| refused.contains_key(key)) {
                // There is no room left: the last one goes without, and waits.
                let told = refused.into_values().next().unwrap_or_default();
                refused = ours.pop().map(|last| (last, told)).into_iter().collect();
                waits = true;
            }
            together.retain(|one| {
                let (Some(problems), Some(located)) = (refused.remove(&one.key), &one.located)
                else {
                    return true;
                };
                self.refuse(&one.key, located.clone(), problems, outcomes);
                if waits {
                    self.places.wait(&one.key, vec![Place::Sensors]);
                }
                false
            });
        }
    }

    /// Takes back what came last as long as the rules are too many.
    fn hold_rules_in_bounds(
        &mut self,
        mut taken: Vec<(Arc<Key>, Option<Held>)>,
        outcomes: &mut BTreeMap<Key, Outcome>,
    ) {
        while let Some(problem) = self.outputs.too_many_rules() {
            let Some((key, before)) = taken.pop() else {
                return;
            };
            let Some(held) = self.documents.get(&key) else {
                continue;
            };
            let held = held.clone();
            let located = held.located.clone();
            let (after, restored) = (Claims::of(&located.value), before.as_ref());
            let pairs = self.outputs.pairs();
            let claims = restored.map_or(Claims::none(), |held| Claims::of(&held.located.value));
            self.take(&key, before);
            self.settle();
            if self.outputs.pairs() >= pairs {
                // It was not this one.
                self.take(&key, Some(held));
                self.settle();
                continue;
            }
            self.places.leave(&key, &after);
            self.places.hold(&key, &claims);
            let problem = located.problem("spec", problem.0, problem.1);
            self.refuse(&key, located, vec![problem], outcomes);
            self.places.wait(&key, vec![Place::Rules]);
        }
    }

    fn refuse(
        &mut self,
        key: &Arc<Key>,
        located: Arc<Located<Document>>,
        problems: Vec<Problem>,
        outcomes: &mut BTreeMap<Key, Outcome>,
    ) {
        let outcome = outcomes.entry((**key).clone()).or_default();
        outcome.refused.clone_from(&problems);
        if let Some(held) = self.documents.get(key) {
            outcome.warnings.clone_from(&held.warnings);
        }
        self.refused
            .insert(key.clone(), Refused { located, problems });
    }

    /// The numbers of names that are gone are kept for their return.
    fn put_numbers_aside(&mut self) {
        let mut gone = std::mem::take(&mut self.marks.retired);
        if !self.begun {
            self.begun = true;
            gone = self.world.assignments.in_use().map(str::to_owned).collect();
        }
        let there = self.world.bracketed();
        gone.retain(|name| self.world.id(name).is_none() && !there(name));
        drop(there);
        let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
        self.world.assignments.retire(gone);
    }
}

/// The places that a change gives up.
fn freed_by(one: &Coming) -> Vec<Place> {
    let mut freed: Vec<Place> = one.before.places.iter().map(|(place, _)| *place).collect();
    if one.before.owners == one.after.owners {
        freed.retain(|place| one.after.places.iter().all(|(kept, _)| kept != place));
    }
    if one.key.kind == Kind::Sensor {
        freed.push(Place::Sensors);
    }
    freed
}
