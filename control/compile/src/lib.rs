//! From what a person wrote to what a node enforces.
//!
//! [`compile`] is pure: equal documents and equal [`Assignments`] give an equal [`Compiled`],
//! whatever the order of files and documents.
//!
//! # What a peer matches
//!
//! * `workload`, `matchLabels`, `service`: the identities of those workloads.
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
//! # Sensors
//!
//! A sensor is attached to the workloads that its target selects, and to every connection without
//! one. One that a node could not look for (an expression, a check, a place) is refused.
//!
//! # What it refuses
//!
//! Any entry in [`Compiled::problems`] means that nothing of the documents is to be used: the caller
//! keeps what it enforced before.

mod assignments;
mod change;
mod compilation;
mod inventory;
mod modes;
mod nest;
mod peers;
mod report;
mod rules;
mod scope;
mod scopes;
mod sensors;

use weir_model::{Document, Kind, Located, Problem};
use weir_policy::Snapshot;
use weir_policy::spec::SnapshotSpec;

use crate::inventory::Inventory;
use crate::report::Report;

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
    /// Why the documents cannot be used; sorted by place.
    pub problems: Vec<Problem>,
    /// What is probably not meant, but can be enforced; sorted by place.
    pub warnings: Vec<Problem>,
    /// The numbers of the identities, to be given to the next compilation; those of before where
    /// there are problems.
    pub assignments: Assignments,
}

/// The documents of a compilation, sorted by kind, name and place.
pub(crate) struct Documents<'a> {
    pub(crate) sorted: Vec<&'a Located<Document>>,
}

/// Compiles all documents of a source. `previous` are the [`Compiled::assignments`] of the last
/// compilation: names keep their numbers.
pub fn compile(documents: &[Located<Document>], previous: Option<&Assignments>) -> Compiled {
    let mut report = Report::default();
    let documents = Documents::sort(documents, &mut report);
    let mut assignments = previous.cloned().unwrap_or_default();
    let inventory = Inventory::take(&documents, &mut assignments, &mut report);
    let modes = modes::Modes::of(&documents, &inventory, &mut report);
    let rules = rules::compile(&documents, &inventory, &mut report);
    let settings = modes::settings(&documents, &mut report);
    let spec = SnapshotSpec {
        version: 0,
        identities: inventory.identities(&modes),
        addresses: inventory.addresses(),
        names: inventory.names(),
        rules,
        unknown: settings.unknown,
        link: modes::link(settings.link, &inventory, &modes),
        deny_style: settings.deny_style,
        sensors: sensors::compile(&documents, &inventory, &mut report),
        threat_policies: Vec::new(),
    };
    if report.problems.is_empty()
        && let Err(error) = Snapshot::build(spec.clone())
    {
        report.problems.push(Problem::of_file(
            &error.item,
            error.problem,
            error.next_step,
        ));
    }
    let Report {
        mut problems,
        mut warnings,
    } = report;
    problems.sort();
    problems.dedup();
    warnings.sort();
    warnings.dedup();
    if problems.is_empty() {
        return Compiled {
            spec,
            problems,
            warnings,
            assignments,
        };
    }
    let assignments = previous.cloned().unwrap_or_default();
    Compiled {
        spec: SnapshotSpec::default(),
        problems,
        warnings,
        assignments,
    }
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

impl<'a> Documents<'a> {
    fn sort(documents: &'a [Located<Document>], report: &mut Report) -> Self {
        let mut sorted: Vec<&Located<Document>> = documents.iter().collect();
        sorted.sort_by(|a, b| {
            Self::key(a)
                .cmp(&Self::key(b))
                .then_with(|| (&a.file, a.line).cmp(&(&b.file, b.line)))
        });
        for pair in sorted.windows(2) {
            let [first, second] = pair else { continue };
            if Self::key(first) == Self::key(second) {
                report.problems.push(second.problem(
                    "metadata.name",
                    format!(
                        "{} is defined twice, first in {}",
                        second.value.title(),
                        first.place()
                    ),
                    "rename or remove one of the two",
                ));
            }
        }
        Self { sorted }
    }

    fn key(located: &Located<Document>) -> (Kind, &str, &str) {
        let metadata = located.value.metadata();
        (located.value.kind(), &metadata.namespace, &metadata.name)
    }
}
