//! How far policy goes for each workload, and what holds for everything.

use std::collections::{BTreeMap, BTreeSet};

use weir_model::{Allowlist, Document, LinkSettings, Located, Settings, Stage};
use weir_policy::spec::{Action, DenyStyle, LinkSpec, Mode, UnknownSpec};

use crate::inventory::Inventory;
use crate::{Documents, Report};

/// The modes by number of the workload.
#[derive(Default)]
pub(crate) struct Modes {
    modes: BTreeMap<u32, Mode>,
    quarantined: BTreeSet<u32>,
}

/// What the one settings document says, with its defaults.
#[derive(Default)]
pub(crate) struct Global {
    pub(crate) unknown: UnknownSpec,
    pub(crate) link: LinkSettings,
    pub(crate) deny_style: DenyStyle,
}

impl Modes {
    /// The strictest of the modes that name a workload; discover where none does.
    pub(crate) fn of(
        documents: &Documents<'_>,
        inventory: &Inventory<'_>,
        report: &mut Report,
    ) -> Self {
        let mut modes = Self::default();
        for located in &documents.sorted {
            let document = match &located.value {
                Document::Mode(document) => document,
                Document::Allowlist(allowlist) | Document::ClusterAllowlist(allowlist) => {
                    modes.staged(allowlist, inventory);
                    continue;
                }
                _ => continue,
            };
            let namespace = &document.metadata.namespace;
            let targets = inventory.select(&document.spec.target, namespace);
            if targets.is_empty() {
                report.warnings.push(located.problem(
                    "spec.target",
                    "selects no workload, so nothing has this mode",
                    inventory.advice(&document.spec.target, namespace),
                ));
            }
            for target in targets {
                if let Some(mode) = document.spec.mode {
                    modes.at_least(target, mode);
                }
                if document.spec.quarantine {
                    modes.quarantined.insert(target);
                }
            }
        }
        modes
    }

    /// The mode that an allowlist's stage asks for.
    fn staged(&mut self, allowlist: &Allowlist, inventory: &Inventory<'_>) {
        let Some(mode) = allowlist.spec.stage.and_then(Stage::mode) else {
            return;
        };
        let namespace = &allowlist.metadata.namespace;
        for target in inventory.select(&allowlist.spec.target, namespace) {
            self.at_least(target, mode);
        }
    }

    fn at_least(&mut self, target: u32, mode: weir_model::Mode) {
        let strictest = self.modes.entry(target).or_insert(Mode::Discover);
        *strictest = (*strictest).max(policy_mode(mode));
    }

    pub(crate) fn mode(&self, id: u32) -> Mode {
        self.modes.get(&id).copied().unwrap_or(Mode::Discover)
    }

    pub(crate) fn quarantined(&self, id: u32) -> bool {
        self.quarantined.contains(&id)
    }
}

/// The settings; of several none could be chosen.
pub(crate) fn settings(documents: &Documents<'_>, report: &mut Report) -> Global {
    let mut first: Option<&Located<Document>> = None;
    let mut global = Global::default();
    for located in &documents.sorted {
        let Document::Settings(settings) = &located.value else {
            continue;
        };
        match first {
            Some(first) => report.problems.push(located.problem(
                "kind",
                format!("there are settings in {} already", first.place()),
                "put everything into one of the two: settings hold for everything",
            )),
            None => global = read(located, settings, report),
        }
        first.get_or_insert(located);
    }
    global
}

fn read(located: &Located<Document>, settings: &Settings, report: &mut Report) -> Global {
    let unknown = settings.spec.unknown.clone().unwrap_or_default();
    if unknown.mode.is_none() && unknown.action == Some(weir_model::Action::Deny) {
        report.problems.push(located.problem(
            "spec.unknown.action",
            "deny without a mode would never take effect",
            "give a mode: protect to block, monitor to report",
        ));
    }
    Global {
        unknown: UnknownSpec {
            hold_ms: unknown.hold_ms.unwrap_or(0),
            mode: unknown.mode.map(policy_mode),
            action: unknown.action.map_or(Action::Allow, policy_action),
        },
        link: settings.spec.link.clone().unwrap_or_default(),
        deny_style: match settings.spec.deny_style {
            None | Some(weir_model::DenyStyle::Reset) => DenyStyle::Reset,
            Some(weir_model::DenyStyle::Drop) => DenyStyle::Drop,
        },
    }
}

/// What is not IP cannot be told to belong to a workload, so the strictest of them decides.
pub(crate) fn link(settings: LinkSettings, inventory: &Inventory<'_>, modes: &Modes) -> LinkSpec {
    let strictest = || {
        inventory
            .workloads
            .values()
            .map(|member| modes.mode(member.id))
            .max()
    };
    let ether_types: BTreeSet<u16> = settings
        .ether_types
        .iter()
        .map(|ether_type| ether_type.0)
        .collect();
    LinkSpec {
        mode: settings
            .mode
            .map(policy_mode)
            .or_else(strictest)
            .unwrap_or(Mode::Discover),
        ether_types: ether_types.into_iter().collect(),
    }
}

fn policy_mode(mode: weir_model::Mode) -> Mode {
    match mode {
        weir_model::Mode::Discover => Mode::Discover,
        weir_model::Mode::Monitor => Mode::Monitor,
        weir_model::Mode::Protect => Mode::Protect,
    }
}

pub(crate) fn policy_action(action: weir_model::Action) -> Action {
    match action {
        weir_model::Action::Allow => Action::Allow,
        weir_model::Action::Deny => Action::Deny,
    }
}
