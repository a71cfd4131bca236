//! Allowlists in stage draft: evaluated against what was seen, and counted; no node hears of them.
//!
//! What they would do is judged with all of them in force beside the rest, in mode protect. Compiled
//! once for each state of the documents.
//!
//! Memory bound: one more policy, and only while there are drafts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use weir_learn::{Conversation, ConversationKey};
use weir_model::{Document, Located, Stage};
use weir_policy::spec::Action;
use weir_policy::{Decider, Snapshot};

use crate::judge::Ends;
use crate::view::Documents;

/// What one draft would do to the connections that were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DraftCounts {
    /// Connections that one of its rules would allow.
    pub would_allow: u64,
    /// Connections that one of its rules, or for want of one the default of its target, would deny.
    pub would_deny: u64,
    /// Conversations of either sort.
    pub hits: u64,
}

/// The drafts in force, compiled.
#[derive(Debug, Default)]
pub struct Drafts {
    compiled: Mutex<Option<(Documents, Arc<Compiled>)>>,
}

#[derive(Debug)]
struct Compiled {
    snapshot: Snapshot,
    ends: Ends,
    /// By identity: the titles of the drafts that govern it.
    targets: HashMap<u32, Vec<String>>,
    titles: Vec<String>,
}

/// Whether it is an allowlist that is only tried.
pub fn is_draft(document: &Document) -> bool {
    match document {
        Document::Allowlist(it) | Document::ClusterAllowlist(it) => {
            it.spec.stage == Some(Stage::Draft)
        }
        _ => false,
    }
}

/// The same documents with every draft in force.
pub fn enforced(documents: impl Iterator<Item = Located<Document>>) -> Vec<Located<Document>> {
    let mut documents: Vec<Located<Document>> = documents.collect();
    for located in &mut documents {
        if is_draft(&located.value)
            && let Document::Allowlist(it) | Document::ClusterAllowlist(it) = &mut located.value
        {
            it.spec.stage = Some(Stage::Protect);
        }
    }
    documents
}

impl Drafts {
    /// What each draft would do, by its title ("allowlist shop/photo-db"); empty without drafts.
    pub fn counts(
        &self,
        documents: &Documents,
        conversations: &[(ConversationKey, Conversation)],
    ) -> HashMap<String, DraftCounts> {
        match self.compiled(documents) {
            Some(compiled) => compiled.counts(conversations),
            None => HashMap::new(),
        }
    }

    fn compiled(&self, documents: &Documents) -> Option<Arc<Compiled>> {
        if !documents.iter().any(|located| is_draft(&located.value)) {
            *crate::lock(&self.compiled) = None;
            return None;
        }
        if let Some((of, compiled)) = &*crate::lock(&self.compiled)
            && Arc::ptr_eq(of, documents)
        {
            return Some(compiled.clone());
        }
        let compiled = Arc::new(Compiled::of(documents)?);
        *crate::lock(&self.compiled) = Some((documents.clone(), compiled.clone()));
        Some(compiled)
    }
}

impl Compiled {
    /// None where the drafts cannot be compiled together.
    fn of(documents: &Documents) -> Option<Self> {
        let compiled =
            weir_compile::compile(&enforced(documents.iter().map(|it| (**it).clone())), None);
        let snapshot = Snapshot::build(compiled.spec).ok()?;
        let titles: Vec<String> = documents
            .iter()
            .filter(|located| is_draft(&located.value))
            .map(|located| located.value.title())
            .collect();
        // A rule of a draft names whom it governs; so does its target where it has no rules.
        let mut targets: HashMap<u32, Vec<String>> = HashMap::new();
        for located in documents.iter().filter(|located| is_draft(&located.value)) {
            for identity in governed(&located.value, documents, &snapshot) {
                targets
                    .entry(identity)
                    .or_default()
                    .push(located.value.title());
            }
        }
        Some(Self {
            ends: Ends::of(&snapshot),
            snapshot,
            targets,
            titles,
        })
    }

    fn counts(
        &self,
        conversations: &[(ConversationKey, Conversation)],
    ) -> HashMap<String, DraftCounts> {
        let titles = self.titles.iter().cloned();
        let mut counts: HashMap<String, DraftCounts> = titles
            .map(|title| (title, DraftCounts::default()))
            .collect();
        for (key, seen) in conversations {
            let Ok(decision) = self.ends.decide(&self.snapshot, key) else {
                continue;
            };
            let decider = self.snapshot.rule_name(decision.decider);
            let of_rule = decider
                .rsplit_once(' ')
                .map(|(document, _)| document.to_owned());
            let titles = match decision.decider {
                Decider::Default(identity) => {
                    self.targets.get(&identity).cloned().unwrap_or_default()
                }
                _ => of_rule.into_iter().collect(),
            };
            for title in titles {
                let Some(counts) = counts.get_mut(&title) else {
                    continue;
                };
                counts.hits += 1;
                match decision.rule_action {
                    Action::Allow => counts.would_allow += seen.connections,
                    Action::Deny => counts.would_deny += seen.connections,
                }
            }
        }
        counts
    }
}

/// The identities of the workloads that an allowlist governs.
fn governed(
    allowlist: &Document,
    documents: &[Arc<Located<Document>>],
    snapshot: &Snapshot,
) -> Vec<u32> {
    let (Document::Allowlist(it) | Document::ClusterAllowlist(it)) = allowlist else {
        return Vec::new();
    };
    let labels_of = |namespace: &str| {
        documents.iter().find_map(|located| match &located.value {
            Document::Namespace(it) if it.metadata.name == namespace => Some(&it.metadata.labels),
            _ => None,
        })
    };
    let selected = documents.iter().filter_map(|located| match &located.value {
        Document::Workload(workload) => {
            let selects =
                it.spec
                    .target
                    .selects(&it.metadata.namespace, &workload.metadata, labels_of);
            selects.then(|| workload.metadata.full_name())
        }
        _ => None,
    });
    selected
        .filter_map(|name| snapshot.identity_by_name(&name))
        .collect()
}
