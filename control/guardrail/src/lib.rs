//! Rules about rules: Rego policies that every document must satisfy before it is compiled.
//!
//! A [`Guardrail`] is a set of Rego modules with data and parameters. [`evaluate`] asks all of them
//! about one change of one document and says what they refuse and what they warn of; the webhook, the
//! controller and the command line call this one function and so come to one verdict. What a rule
//! is asked about is described at [`input`].
//!
//! Rules stand in `package weir.guardrail` or below it and are named `deny`, `violation` or `warn`
//! (or `deny_…`, as conftest allows); each gives messages, or objects with a `msg`, and with a
//! `field` and a `next` where these are known. Both languages are read: Rego v1, and v0 where a
//! module can only be that. A rule that fails while it is asked (a builtin that gets the wrong type,
//! an evaluation that takes too long) refuses the document: what cannot be judged is not let in.
//!
//! Trusts those who write guardrails not to exhaust memory with large values, and nobody else.
//! Time is bounded by [`EVALUATION_TIME_MAX`] for each rule, text by [`MODULE_BYTES_MAX`] and
//! [`RULES_MAX`], answers by [`FINDINGS_MAX`]; nothing here reaches the network, the disk (but
//! [`bundle`] and [`testing`], which read the directory they are given) or the environment.

pub mod bundle;
mod documents;
mod facts;
mod finding;
mod guardrail;
pub mod input;
pub mod library;
mod module;
mod names;
mod set;
pub mod testing;

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_model::{Document, Kind, Selector};

pub use finding::{FINDINGS_MAX, Finding, Findings, MESSAGE_CHARS_MAX};
pub use guardrail::{Definition, EVALUATION_TIME_MAX, Guardrail};
pub use module::{MODULE_BYTES_MAX, Module, RULES_MAX};
pub use set::{Judged, judge};

/// All guardrails that are in force. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Guardrails {
    list: Arc<[Arc<Guardrail>]>,
}

/// What is known of the workloads that a document can select.
pub trait Inventory {
    /// The workloads that a selector of a document in this namespace selects, at most
    /// [`input::TARGETS_MAX`] of them; None where it is not known.
    fn selected(&self, namespace: &str, selector: &Selector) -> Option<Vec<Target>>;

    /// The labels of a namespace; None where they are not known.
    fn namespace_labels(&self, _namespace: &str) -> Option<&BTreeMap<String, String>> {
        None
    }
}

/// A workload that a document's target selects.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Target {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// For where no workloads are known.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoInventory;

impl Inventory for NoInventory {
    fn selected(&self, _: &str, _: &Selector) -> Option<Vec<Target>> {
        None
    }
}

impl Guardrails {
    /// These guardrails, in the order of their names.
    pub fn new(guardrails: impl IntoIterator<Item = Arc<Guardrail>>) -> Self {
        let mut list: Vec<_> = guardrails.into_iter().collect();
        list.sort_by(|a, b| a.name().cmp(b.name()));
        Self { list: list.into() }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Guardrail>> {
        self.list.iter()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none, and so nothing to ask.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// Whether guardrails are asked about documents of this kind: about policy, not about what is merely
/// observed of the cluster.
pub fn governs(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::Workload | Kind::Service | Kind::Namespace | Kind::LearnedProfile
    )
}

/// What the guardrails say of one change: of `new` in place of `old`. Without `old` the document is
/// new, without `new` it is being removed. Neither, or a kind that guardrails do not govern, is no
/// change at all.
pub fn evaluate(
    guardrails: &Guardrails,
    inventory: &(impl Inventory + ?Sized),
    old: Option<&Document>,
    new: Option<&Document>,
) -> Findings {
    let mut findings = Findings::default();
    let Some(kind) = new.or(old).map(Document::kind) else {
        return findings;
    };
    if !governs(kind) {
        return findings;
    }
    let namespace = new.or(old).map_or("", |it| &it.metadata().namespace);
    let asked = guardrails
        .iter()
        .filter(|it| it.asks_about(kind, namespace, |name| inventory.namespace_labels(name)));
    let mut asked = asked.peekable();
    if asked.peek().is_none() {
        return findings;
    }
    let input = input::Change::new(inventory, old, new);
    for guardrail in asked {
        guardrail.evaluate(&input, &mut findings);
    }
    findings
}
