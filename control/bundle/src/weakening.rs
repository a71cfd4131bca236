//! What a change of documents opens, document by document, without knowing who there is: whatever the
//! cluster holds, a connection that the old documents stop and the new ones let pass has a sentence here.
//!
//! It errs to the side of telling: a rule is compared with single rules, so that what only several
//! together covered counts as opened; selectors are compared by what is written, never by what they
//! select now; of a sensor or threat policy that changed it cannot be told what it no longer finds.

mod cover;
mod rules;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;
use weir_model::{
    Action, Document, LinkSettings, Mode, Selector, SensorAction, SensorSpec, Settings,
    SettingsSpec, Stage, ThreatAction, UnknownSettings,
};

use self::cover::Scope;
use crate::payload::is_policy;

/// One thing that becomes looser.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weakening {
    /// The title of the document: "allowlist shop/photo-db".
    pub document: String,
    /// Where in it: "ingress[0]"; empty for the whole.
    pub field: String,
    /// What becomes looser, as the rest of a sentence.
    pub what: String,
}

impl fmt::Display for Weakening {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.document)?;
        if !self.field.is_empty() {
            write!(formatter, " {}", self.field)?;
        }
        write!(formatter, " {}", self.what)
    }
}

impl Weakening {
    fn new(document: &str, field: &str, what: impl Into<String>) -> Self {
        Self {
            document: document.to_owned(),
            field: field.to_owned(),
            what: what.into(),
        }
    }
}

/// What becomes looser from the documents of before to those of now; sorted.
pub fn weakening(old: &[Document], new: &[Document]) -> Vec<Weakening> {
    let (settings_old, settings_new) = (settings_of(old), settings_of(new));
    let unknown = settings_old.1.unknown.clone().unwrap_or_default();
    let unknown_denied =
        unknown.mode == Some(Mode::Protect) && unknown.action == Some(Action::Deny);
    let mut found = rules::weakening(old, new, unknown_denied);
    modes(old, new, &mut found);
    settings(&settings_old, &settings_new, &mut found);
    sensors(old, new, &mut found);
    others(old, new, &mut found);
    found.sort();
    found.dedup();
    found
}

/// "This holds for these workloads at least."
struct Requirement<'a> {
    document: String,
    scope: Scope<'a>,
    mode: Mode,
    quarantine: bool,
}

fn requirements(documents: &[Document]) -> Vec<Requirement<'_>> {
    let mut found = Vec::new();
    for document in documents {
        let namespace = &document.metadata().namespace;
        let (target, mode, quarantine) = match document {
            Document::Mode(mode) => {
                let spec = &mode.spec;
                (&spec.target, spec.mode, spec.quarantine)
            }
            Document::Allowlist(allowlist) | Document::ClusterAllowlist(allowlist) => {
                let spec = &allowlist.spec;
                (&spec.target, spec.stage.and_then(Stage::mode), false)
            }
            _ => continue,
        };
        found.push(Requirement {
            document: document.title(),
            scope: Scope::of(target, namespace),
            mode: mode.unwrap_or(Mode::Discover),
            quarantine,
        });
    }
    found
}

fn modes(old: &[Document], new: &[Document], found: &mut Vec<Weakening>) {
    let now = requirements(new);
    for before in requirements(old) {
        let covering = || now.iter().filter(|one| one.scope.covers(&before.scope));
        let strictest = covering().map(|one| one.mode).max();
        let strictest = strictest.unwrap_or(Mode::Discover);
        if strictest < before.mode {
            let what = format!(
                "no longer holds {} to {}: {} is what is left",
                before.scope,
                before.mode.name(),
                strictest.name()
            );
            found.push(Weakening::new(&before.document, "mode", what));
        }
        if before.quarantine && !covering().any(|one| one.quarantine) {
            let what = format!("no longer keeps {} in quarantine", before.scope);
            found.push(Weakening::new(&before.document, "quarantine", what));
        }
    }
}

/// The settings with their name; defaults where there are none.
fn settings_of(documents: &[Document]) -> (String, SettingsSpec) {
    let of = |document: &Document| match document {
        Document::Settings(Settings { spec, .. }) => Some((document.title(), spec.clone())),
        _ => None,
    };
    let found = documents.iter().find_map(of);
    found.unwrap_or_else(|| ("settings".to_owned(), SettingsSpec::default()))
}

fn settings(
    (_, old): &(String, SettingsSpec),
    (title, new): &(String, SettingsSpec),
    found: &mut Vec<Weakening>,
) {
    let mut tell = |field: &str, what: String| found.push(Weakening::new(title, field, what));
    let unknown = |settings: &SettingsSpec| settings.unknown.clone().unwrap_or_default();
    let (before, after): (UnknownSettings, UnknownSettings) = (unknown(old), unknown(new));
    if after.mode < before.mode {
        let (before, after) = (mode_name(before.mode), mode_name(after.mode));
        tell("unknown.mode", format!("goes from {before} to {after}"));
    }
    let denies = |settings: &UnknownSettings| settings.action == Some(Action::Deny);
    if denies(&before) && !denies(&after) {
        tell("unknown.action", "goes from deny to allow".to_owned());
    }
    if after.hold_ms.unwrap_or(0) < before.hold_ms.unwrap_or(0) {
        tell(
            "unknown.holdMs",
            "is shorter: packets of addresses that are not known yet pass earlier".to_owned(),
        );
    }
    let link = |settings: &SettingsSpec| settings.link.clone().unwrap_or_default();
    let (before, after): (LinkSettings, LinkSettings) = (link(old), link(new));
    // Without a mode it is that of the strictest workload, which may be any.
    let looser = match (before.mode, after.mode) {
        (Some(before), Some(after)) => after < before,
        (Some(before), None) => before > Mode::Discover,
        (None, Some(after)) => after < Mode::Protect,
        (None, None) => false,
    };
    if looser {
        let name = |mode: Option<Mode>| mode.map_or("the strictest workload's", Mode::name);
        let (before, after) = (name(before.mode), name(after.mode));
        tell("link.mode", format!("goes from {before} to {after}"));
    }
    for ether_type in &after.ether_types {
        if !before.ether_types.contains(ether_type) {
            tell("link.etherTypes", format!("lets {ether_type} through"));
        }
    }
}

fn mode_name(mode: Option<Mode>) -> &'static str {
    mode.map_or("unmanaged", Mode::name)
}

fn sensors(old: &[Document], new: &[Document], found: &mut Vec<Weakening>) {
    let of = |document: &Document| match document {
        Document::Sensor(sensor) => Some((document.title(), sensor.clone())),
        _ => None,
    };
    let now: BTreeMap<_, _> = new.iter().filter_map(of).collect();
    for (title, before) in old.iter().filter_map(of) {
        let mut tell = |field: &str, what: &str| found.push(Weakening::new(&title, field, what));
        let Some(after) = now.get(&title) else {
            tell("", "is gone: nobody looks for its patterns any more");
            continue;
        };
        let namespace = &before.metadata.namespace;
        if before.spec.action == SensorAction::Drop && after.spec.action == SensorAction::Alert {
            tell("action", "goes from drop to alert");
        }
        // Without a target it looks into its namespace.
        let own = Selector::labels(BTreeMap::new());
        let target = |spec: &SensorSpec| spec.target.clone().unwrap_or_else(|| own.clone());
        let (wide, narrow) = (target(&after.spec), target(&before.spec));
        let narrower = !Scope::of(&wide, namespace).covers(&Scope::of(&narrow, namespace));
        if narrower {
            tell("target", "is another: some are no longer looked into");
        }
        if sought(&before.spec) != sought(&after.spec) {
            tell(
                "",
                "looks for something else: what it no longer finds cannot be told",
            );
        }
    }
}

/// What a sensor looks for, without what is compared apart or means nothing.
fn sought(spec: &SensorSpec) -> SensorSpec {
    SensorSpec {
        about: String::new(),
        target: None,
        action: SensorAction::Alert,
        examples: None,
        ..spec.clone()
    }
}

/// What is compared as a whole: what it said it no longer says.
fn others(old: &[Document], new: &[Document], found: &mut Vec<Weakening>) {
    let by_title = |documents| -> BTreeMap<String, &Document> {
        let others = <[Document]>::iter(documents).filter(|document| is_other(document));
        others
            .map(|document| (document.title(), document))
            .collect()
    };
    let (before, now) = (by_title(old), by_title(new));
    for (title, document) in &before {
        let who = !is_policy(document.kind());
        let what = match now.get(title) {
            None if who => "is no longer signed: the cluster says who it is",
            None => "is gone: what it guarded against is open",
            Some(same) if said(same) == said(document) => continue,
            Some(_) if who => "is someone else: labels or addresses differ",
            Some(_) => "says something else: what it no longer guards cannot be told",
        };
        found.push(Weakening::new(title, "", what));
    }
    for (title, document) in now.iter().filter(|(title, _)| !before.contains_key(*title)) {
        if let Some(what) = opened_by(document) {
            found.push(Weakening::new(title, "", what));
        }
    }
}

fn is_other(document: &Document) -> bool {
    !matches!(
        document,
        Document::Allowlist(_)
            | Document::ClusterAllowlist(_)
            | Document::Mode(_)
            | Document::Settings(_)
            | Document::Sensor(_)
    )
}

/// Labels and spec, without what is for readers.
fn said(document: &Document) -> (Value, Value) {
    let mut value = serde_json::to_value(document).unwrap_or_default();
    let spec = value.get_mut("spec").map(Value::take);
    let mut spec = spec.unwrap_or_default();
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("about");
    }
    let who = !is_policy(document.kind());
    let labels = value.get("metadata").and_then(|it| it.get("labels"));
    (labels.filter(|_| who).cloned().unwrap_or_default(), spec)
}

/// What a document that was not there before opens; None: nothing.
fn opened_by(document: &Document) -> Option<&'static str> {
    match document {
        Document::Guardrail(_) => None,
        Document::ThreatPolicy(policy) => {
            let strict = |action| action == ThreatAction::Drop;
            let strict = policy.spec.rules.iter().all(|rule| strict(rule.action));
            let looser = "is new, and may do less about threats than nodes did";
            (!strict || policy.spec.thresholds.given().next().is_some()).then_some(looser)
        }
        Document::ResponseRule(rule) => {
            let quiet = "is new, and keeps quiet what was told";
            (rule.spec.actions.is_empty() || rule.spec.suppress.is_some()).then_some(quiet)
        }
        other if is_policy(other.kind()) => Some("is new: what it opens cannot be told"),
        _ => Some("is new: rules that name it hold for its addresses"),
    }
}
