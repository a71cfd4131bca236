//! From what a person wrote to what a node enforces.
//!
//! [`compile`] is pure: equal documents and equal [`Assignments`] give an equal [`Compiled`],
//! whatever the order of files and documents.
//!
//! # What a peer matches
//!
//! * `workload`, `matchLabels`: the identities of those workloads, and of a service's addresses those of a
//!   service that one workload alone answers.
//! * `service`: the workloads that answer, the service's own addresses, and the domain name that it stands
//!   for (`externalName`), whose addresses nodes learn from DNS.
//! * `cidr`: every network that any allowlist names and that lies within it (each is an identity),
//!   without those that lie within an `except`; and every workload whose addresses all lie within
//!   the networks of the rule. A workload that lies partly within is not allowed by the rule, but is
//!   denied by it, and a warning says so: an identity is not divided.
//! * `domain`: every domain name that any allowlist names and that it contains. A rule that names
//!   both whole address families (`0.0.0.0/0` and `::/0`) means every domain name too.
//! * `unknown`: addresses of no workload that the same allowlist does not name as network or domain.
//!   That another allowlist names a network takes nothing away from it.
//! * A peer that matches nothing makes the rule match nobody, never anybody.
//!
//! A network that a rule names never takes addresses away from a workload.
//!
//! # Addresses of services
//!
//! What is sent to a service's virtual address is seen before the cluster has chosen who answers, and
//! after it with the address of the pod that was chosen, which is judged by itself. Where one workload
//! answers, the virtual address is that workload's. Where several do, or nobody whom Weir knows, it is
//! nobody's: an identity of its own, like a network that rules name, and the client's end alone judges
//! it. A rule that allows the service allows its address. A rule that allows one of the workloads does
//! not, although the address may lead there: it may lead to the others too. A rule that denies one of
//! them denies the address. Rules for networks mean it as any other address.
//!
//! Whoever may write services in a namespace decides where they lead: to name a service of another
//! namespace as a peer is to trust that namespace.
//!
//! # Sensors
//!
//! A sensor is attached to the workloads that its target selects, and without one to all of its
//! namespace: whoever writes it there looks into nobody else's connections. One that a node could not
//! look for (an expression, a check, a place) is refused.
//!
//! # What it refuses
//!
//! Any entry in [`Compiled::problems`] means that nothing of the documents is to be used: the caller
//! keeps what it enforced before.

mod assignments;
mod atoms;
mod bits;
mod change;
mod check;
mod compilation;
mod lists;
mod modes;
mod nest;
mod networks;
mod places;
mod report;
mod rescope;
mod rules;
mod scope;
mod scopes;
mod sensors;
mod settle;
mod slots;
mod take;
mod threats;
mod tracked;
mod warn;
mod world;

use std::sync::Arc;

use weir_model::{Document, Located, Problem};
use weir_policy::Snapshot;
use weir_policy::spec::{RuleSpec, SnapshotSpec};

pub use assignments::Assignments;
pub use change::{AddressKey, Change, Effect, Global, Key, Outcome, SpecChange, address_key};
pub use compilation::Compilation;
pub use scope::scope;
pub use scopes::Scopes;

/// What came of the documents.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// What a node enforces, canonical, with version 0: the caller numbers it. Empty where there
    /// are problems.
    pub spec: SnapshotSpec,
    /// The rules of drafts, sorted by id: no node gets them. Their identities are those of `spec`.
    pub drafts: Vec<RuleSpec>,
    /// Why the documents cannot be used; sorted by place.
    pub problems: Vec<Problem>,
    /// What is probably not meant, but can be enforced; sorted by place.
    pub warnings: Vec<Problem>,
    /// The numbers of the identities, to be given to the next compilation; those of before where
    /// there are problems.
    pub assignments: Assignments,
}

/// Compiles all documents of a source: all of them or none. `previous` are the
/// [`Compiled::assignments`] of the last compilation: names keep their numbers.
pub fn compile(documents: &[Located<Document>], previous: Option<&Assignments>) -> Compiled {
    let (sorted, mut problems) = sorted(documents);
    let mut compilation = Compilation::new(previous);
    let changes = sorted
        .into_iter()
        .map(|one| Change::Put(Arc::new(one.clone())));
    compilation.apply(changes);
    problems.extend(
        compilation
            .refused()
            .flat_map(|(_, problems)| problems)
            .cloned(),
    );
    let spec = compilation.spec();
    if problems.is_empty()
        && let Err(error) = Snapshot::build(spec.clone())
    {
        problems.push(Problem::of_file(
            &error.item,
            error.problem,
            error.next_step,
        ));
    }
    problems.sort();
    problems.dedup();
    let warnings = compilation.warnings();
    if problems.is_empty() {
        return Compiled {
            spec,
            drafts: compilation.drafts(),
            problems,
            warnings,
            assignments: compilation.assignments().clone(),
        };
    }
    Compiled {
        spec: SnapshotSpec::default(),
        drafts: Vec::new(),
        problems,
        warnings,
        assignments: previous.cloned().unwrap_or_default(),
    }
}

/// The documents by key and place, each key once; and what is wrong with those that come twice.
fn sorted(documents: &[Located<Document>]) -> (Vec<&Located<Document>>, Vec<Problem>) {
    let mut sorted: Vec<(Key, &Located<Document>)> = documents
        .iter()
        .map(|located| (Key::of(&located.value), located))
        .collect();
    sorted.sort_by(|(a, one), (b, two)| {
        a.cmp(b)
            .then_with(|| (&one.file, one.line).cmp(&(&two.file, two.line)))
    });
    let mut problems = Vec::new();
    let mut first: Option<(&Key, &Located<Document>)> = None;
    let mut once = Vec::new();
    for (key, located) in &sorted {
        match first {
            Some((same, first)) if same == key => problems.push(located.problem(
                "metadata.name",
                format!(
                    "{} is defined twice, first in {}",
                    located.value.title(),
                    first.place()
                ),
                "rename or remove one of the two",
            )),
            _ => {
                first = Some((key, located));
                once.push(*located);
            }
        }
    }
    (once, problems)
}

impl Compiled {
    /// This, or the problems where there are any.
    pub fn checked(self) -> Result<Self, Vec<Problem>> {
        if self.problems.is_empty() {
            Ok(self)
        } else {
            Err(self.problems)
        }
    }
}
