//! Rules as the decision reads them.

use weir_l7::{AppSet, Field, registry};

use crate::pattern::PatternSet;
use crate::spec::{Action, ConditionSpec, RuleSpec};
use crate::text::with_text;

/// A rule without its identities, which the index holds.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) action: Action,
    pub(crate) applications: AppSet,
    /// One bit for each protocol number.
    protocols: [u128; 2],
    /// Empty: any.
    ports: Box<[(u16, u16)]>,
    pub(crate) conditions: Box<[Condition]>,
}

#[derive(Debug)]
pub(crate) struct Condition {
    /// Index into the fields that the rule's applications share.
    field: u8,
    patterns: PatternSet,
}

impl Rule {
    /// `spec` has been validated: every name in it is known.
    pub(crate) fn new(spec: &RuleSpec) -> Self {
        let mut protocols = if spec.protocols.is_empty() {
            [u128::MAX; 2]
        } else {
            [0; 2]
        };
        for &protocol in &spec.protocols {
            protocols[usize::from(protocol >> 7)] |= 1 << (protocol & 127);
        }
        let applications = match spec.applications.as_slice() {
            [] => AppSet::ALL,
            names => names
                .iter()
                .filter_map(|name| registry::by_name(name))
                .map(registry::special_cases)
                .fold(AppSet::EMPTY, AppSet::union),
        };
        Self {
            action: spec.action,
            applications,
            protocols,
            ports: spec.ports.clone().into(),
            conditions: spec.conditions.iter().filter_map(Condition::new).collect(),
        }
    }

    pub(crate) fn has_protocol(&self, protocol: u8) -> bool {
        self.protocols[usize::from(protocol >> 7)] & 1 << (protocol & 127) != 0
    }

    pub(crate) fn has_port(&self, port: u16) -> bool {
        self.ports.is_empty()
            || self
                .ports
                .iter()
                .any(|&(first, last)| (first..=last).contains(&port))
    }

    /// Index of the first condition that the request does not meet. A request without any field is
    /// one that could not be read: it may be what a deny is meant for, so it meets every deny.
    pub(crate) fn unmet(&self, request: &[Field<'_>]) -> Option<usize> {
        if request.is_empty() && self.action == Action::Deny {
            return None;
        }
        self.conditions
            .iter()
            .position(|condition| !condition.holds(self.action, request))
    }
}

impl Condition {
    fn new(spec: &ConditionSpec) -> Option<Self> {
        let field = registry::field(&spec.field)?.index;
        Some(Self {
            field,
            patterns: PatternSet::new(&spec.patterns),
        })
    }

    /// Of a field that occurs several times an allow wants all to match and a deny any.
    fn holds(&self, action: Action, request: &[Field<'_>]) -> bool {
        let mut occurs = false;
        for field in request.iter().filter(|field| field.index == self.field) {
            occurs = true;
            let matches = with_text(field.value, |text| self.patterns.matches(text));
            match action {
                Action::Allow if !matches => return false,
                Action::Deny if matches => return true,
                _ => {}
            }
        }
        match occurs {
            true => action == Action::Allow,
            false => self.patterns.matches(b""),
        }
    }
}
