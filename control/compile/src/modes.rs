//! Modes, actions and settings in the words of the policy.

use std::collections::BTreeSet;

use weir_model::{LinkSettings, Settings};
use weir_policy::spec::{Action, DenyStyle, LinkSpec, Mode, UnknownSpec};

/// What the one settings document says, with its defaults.
#[derive(Default)]
pub(crate) struct Written {
    pub(crate) unknown: UnknownSpec,
    pub(crate) link: LinkSettings,
    pub(crate) deny_style: DenyStyle,
}

pub(crate) fn read(settings: &Settings) -> Written {
    let unknown = settings.spec.unknown.clone().unwrap_or_default();
    Written {
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
pub(crate) fn link(settings: LinkSettings, strictest: Option<Mode>) -> LinkSpec {
    let ether_types: BTreeSet<u16> = settings
        .ether_types
        .iter()
        .map(|ether_type| ether_type.0)
        .collect();
    LinkSpec {
        mode: settings
            .mode
            .map(policy_mode)
            .or(strictest)
            .unwrap_or(Mode::Discover),
        ether_types: ether_types.into_iter().collect(),
    }
}

pub(crate) fn policy_mode(mode: weir_model::Mode) -> Mode {
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
