//! What happened to a flow, in one word: the same word in every answer, table and filter.

use std::fmt;
use std::str::FromStr;

use crate::v1;

/// Rule, mode and wire together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The policy allows it.
    Allowed,
    /// No rule allows it, and none has to: the mode is discover.
    Learning,
    /// The policy denies it, and the mode let it pass.
    WouldDeny,
    /// The policy denies it, and the wire got that.
    Denied,
}

/// Every verdict with its name.
const NAMES: [(Verdict, &str); 4] = [
    (Verdict::Allowed, "allowed"),
    (Verdict::Learning, "learning"),
    (Verdict::WouldDeny, "would-deny"),
    (Verdict::Denied, "denied"),
];

impl Verdict {
    /// Of a decision.
    pub fn of(rule: v1::Action, mode: v1::Mode, wire: v1::WireAction) -> Self {
        match (rule, wire, mode) {
            (v1::Action::Deny, v1::WireAction::Forward, v1::Mode::Discover) => Self::Learning,
            (v1::Action::Deny, v1::WireAction::Forward, _) => Self::WouldDeny,
            (v1::Action::Deny, ..) => Self::Denied,
            _ => Self::Allowed,
        }
    }

    /// "allowed", "learning", "would-deny", "denied".
    pub fn name(self) -> &'static str {
        let named = NAMES.iter().find(|(verdict, _)| *verdict == self);
        named.map_or("", |(_, name)| name)
    }

    /// Whether the policy's answer is no: it was, or would have been, stopped.
    pub fn is_denial(self) -> bool {
        matches!(self, Self::WouldDeny | Self::Denied)
    }
}

impl v1::FlowRecord {
    /// What happened to the flow.
    pub fn verdict(&self) -> Verdict {
        Verdict::of(self.rule_action(), self.mode(), self.wire_action())
    }
}

impl v1::Explanation {
    /// What would happen to the flow.
    pub fn verdict(&self) -> Verdict {
        Verdict::of(self.rule_action(), self.mode(), self.wire_action())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Verdict {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = NAMES.iter().find(|(_, name)| *name == text);
        named.map(|(verdict, _)| *verdict).ok_or_else(|| {
            let names: Vec<_> = NAMES.iter().map(|(_, name)| *name).collect();
            format!("{text:?} is no verdict; write one of {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_monitor_lets_pass_would_be_denied() {
        use v1::{Action, Mode, WireAction};
        let of = |mode, wire| Verdict::of(Action::Deny, mode, wire);
        assert_eq!(of(Mode::Discover, WireAction::Forward), Verdict::Learning);
        assert_eq!(of(Mode::Monitor, WireAction::Forward), Verdict::WouldDeny);
        // Quarantine bites in every mode.
        assert_eq!(of(Mode::Discover, WireAction::Drop), Verdict::Denied);
        assert_eq!(of(Mode::Protect, WireAction::Reset), Verdict::Denied);
        let allowed = Verdict::of(Action::Allow, Mode::Discover, WireAction::Forward);
        assert_eq!(allowed, Verdict::Allowed);
    }

    #[test]
    fn names_are_read_back() {
        for (verdict, name) in NAMES {
            assert_eq!(verdict.to_string().parse(), Ok(verdict));
            assert_eq!(verdict.name(), name);
        }
        assert!("forbidden".parse::<Verdict>().is_err());
    }
}
