//! What the rules of the judging ends come to.
//!
//! While the application is being recognised the answer must hold for every candidate. Instead of
//! deciding candidate by candidate, the sets of applications that are denied and allowed are summed
//! over the rules once: the cost is that of one application.

use weir_l7::AppSet;

use crate::decide::{Judge, Standing};
use crate::rules::Rule;
use crate::spec::Action;
use crate::{Application, Certainty, Decider};

/// What became of a rule that concerns the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is for other protocols.
    Protocol,
    /// It is for other ports.
    Port,
    /// It is for none of the applications that are possible.
    Application,
    /// The condition of that number does not hold.
    Condition(usize),
    /// Its conditions wait for a request.
    Waits,
    /// It says its word, for some or all of the possible applications.
    Applies,
}

/// What follows for the connection, before the mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allow(Decider, Certainty),
    Deny(Decider, Certainty),
}

/// The sum of all that was heard.
pub(crate) struct Heard {
    possible: AppSet,
    denials: Denials,
    /// In the order of the judges: the server's end first.
    grants: [Option<Grants>; 2],
}

/// What the explicit denies of all ends say.
#[derive(Default)]
struct Denials {
    /// Denied whatever is requested.
    always: AppSet,
    always_by: Option<u32>,
    /// Denied for some requests.
    sometimes: AppSet,
    /// Denies the request at hand.
    request_by: Option<u32>,
}

/// What the explicit allows of one end, and its default, say.
struct Grants {
    judge: Judge,
    /// Allowed whatever is requested.
    always: AppSet,
    /// The first rule that says so, and what it allows.
    always_by: Option<(u32, AppSet)>,
    /// Allowed for some requests.
    sometimes: AppSet,
    /// Of these, allowed now: the request at hand meets a rule, or there is no request yet.
    now: AppSet,
    now_by: Option<u32>,
}

impl Heard {
    pub(crate) fn new(possible: AppSet) -> Self {
        Self {
            possible,
            denials: Denials::default(),
            grants: [None, None],
        }
    }

    pub(crate) fn possible(&self) -> AppSet {
        self.possible
    }

    /// What is taken from here on is said by the rules of this judge.
    pub(crate) fn next_judge(&mut self, judge: Judge) {
        let place = usize::from(self.grants[0].is_some());
        self.grants[place] = Some(Grants::new(judge, self.possible));
    }

    /// Rules of one judge come in ascending order.
    pub(crate) fn take(&mut self, index: u32, rule: &Rule, outcome: Outcome) {
        let applications = rule.applications.intersection(self.possible);
        let conditional = !rule.conditions.is_empty();
        match rule.action {
            Action::Deny => self.denials.take(index, applications, conditional, outcome),
            Action::Allow => {
                if let Some(grants) = self.grants.iter_mut().rev().flatten().next() {
                    grants.take(index, applications, conditional, outcome);
                }
            }
        }
    }

    pub(crate) fn verdict(&self, application: Application) -> Verdict {
        let mut ends = self.grants.iter().flatten();
        let Some(first) = ends.next() else {
            return Verdict::Allow(Decider::Unmanaged, Certainty::Final);
        };
        let ends = || self.grants.iter().flatten();

        // Whatever it turns out to be and to request, it is denied.
        let not_denied = self.possible.difference(self.denials.always);
        let open = ends().fold(not_denied, |open, end| open.intersection(end.ever()));
        if open.is_empty() {
            let explicit = self
                .denials
                .always_by
                .or(self.denials.request_by)
                .map(Decider::Rule);
            let lacking = || {
                ends()
                    .find(|end| end.ever() != self.possible)
                    .unwrap_or(first)
            };
            return Verdict::Deny(
                explicit.unwrap_or_else(|| lacking().default_decider()),
                Certainty::Final,
            );
        }
        // This request is denied.
        if let Some(rule) = self.denials.request_by {
            return Verdict::Deny(Decider::Rule(rule), Certainty::PerRequest);
        }
        let allows = |end: &&Grants| end.always.union(end.now).intersection(open);
        let now = ends().fold(open, |now, end| now.intersection(allows(&end)));
        if now.is_empty() {
            let lacking = ends().find(|end| allows(end).is_empty()).unwrap_or(first);
            return Verdict::Deny(lacking.default_decider(), Certainty::PerRequest);
        }
        // It is allowed: for good, for this request, or until the application is known.
        let never_denied = not_denied.difference(self.denials.sometimes);
        let settled = ends().fold(never_denied, |settled, end| {
            settled.intersection(end.always)
        }) == self.possible;
        let certainty = match application {
            Application::Known(_) if settled => Certainty::Final,
            Application::Known(_) => Certainty::PerRequest,
            Application::Candidates(_) | Application::OneOf(_)
                if settled && first.speaks_with_one_voice(self.possible) =>
            {
                Certainty::Final
            }
            Application::OneOf(_) if self.depends_on_requests() => Certainty::PerRequest,
            Application::Candidates(_) | Application::OneOf(_) => Certainty::NeedsApplication,
        };
        Verdict::Allow(first.decider(), certainty)
    }

    fn depends_on_requests(&self) -> bool {
        let conditional = |end: &Grants| !end.sometimes.is_empty();
        !self.denials.sometimes.is_empty() || self.grants.iter().flatten().any(conditional)
    }
}

impl Denials {
    fn take(&mut self, index: u32, applications: AppSet, conditional: bool, outcome: Outcome) {
        match outcome {
            Outcome::Applies if !conditional => {
                self.always = self.always.union(applications);
                self.always_by = lowest(self.always_by, index);
            }
            Outcome::Applies => {
                self.sometimes = self.sometimes.union(applications);
                self.request_by = lowest(self.request_by, index);
            }
            Outcome::Waits | Outcome::Condition(_) => {
                self.sometimes = self.sometimes.union(applications)
            }
            Outcome::Protocol | Outcome::Port | Outcome::Application => {}
        }
    }
}

impl Grants {
    fn new(judge: Judge, possible: AppSet) -> Self {
        let always = match judge.default {
            Standing::Unknown(Action::Allow) => possible,
            Standing::Unknown(Action::Deny) | Standing::Managed => AppSet::EMPTY,
        };
        let none = AppSet::EMPTY;
        Self {
            judge,
            always,
            always_by: None,
            sometimes: none,
            now: none,
            now_by: None,
        }
    }

    fn take(&mut self, index: u32, applications: AppSet, conditional: bool, outcome: Outcome) {
        match outcome {
            Outcome::Applies if !conditional => {
                self.always = self.always.union(applications);
                self.always_by = self.always_by.or(Some((index, applications)));
            }
            Outcome::Applies | Outcome::Waits => {
                self.sometimes = self.sometimes.union(applications);
                self.now = self.now.union(applications);
                self.now_by = lowest(self.now_by, index);
            }
            Outcome::Condition(_) => self.sometimes = self.sometimes.union(applications),
            Outcome::Protocol | Outcome::Port | Outcome::Application => {}
        }
    }

    /// What this end may ever allow.
    fn ever(&self) -> AppSet {
        self.always.union(self.sometimes)
    }

    /// Who decides where this end allows: a rule without conditions before one with, so that a
    /// final answer never changes its name.
    fn decider(&self) -> Decider {
        match (self.always_by, self.judge.default) {
            (Some((rule, _)), _) => Decider::Rule(rule),
            (None, Standing::Unknown(Action::Allow)) => Decider::Unknown,
            (None, _) => self.now_by.map_or(self.default_decider(), Decider::Rule),
        }
    }

    fn default_decider(&self) -> Decider {
        match self.judge.default {
            Standing::Managed => Decider::Default(self.judge.identity),
            Standing::Unknown(_) => Decider::Unknown,
        }
    }

    /// Whether the same rule allows every candidate.
    fn speaks_with_one_voice(&self, possible: AppSet) -> bool {
        self.always_by
            .is_none_or(|(_, applications)| applications == possible)
    }
}

fn lowest(before: Option<u32>, index: u32) -> Option<u32> {
    Some(before.map_or(index, |before| before.min(index)))
}
