//! The one decision: who judges, what their rules say, what follows. Reads like the precedence in
//! the crate's documentation; the sums are in [`crate::weigh`].

use weir_l7::AppSet;
use weir_wire::{Reason, protocol};

use crate::rules::Rule;
use crate::spec::{Action, DenyStyle, End, IdentitySpec, Mode, UNKNOWN_IDENTITY};
use crate::weigh::{Heard, Outcome, Verdict};
use crate::{Application, Certainty, Decider, Decision, Question, Snapshot, WireAction};

/// Let through besides what the link settings list: without it no IPv4 address can be reached.
const ETHER_TYPE_ARP: u16 = 0x0806;

/// Watches the walk; what `decide` passes does nothing and costs nothing.
pub(crate) trait Watch {
    /// The rule was looked at for the end it binds.
    fn considered(&mut self, rule: u32, end: End, outcome: Outcome);
}

impl Watch for () {
    fn considered(&mut self, _: u32, _: End, _: Outcome) {}
}

/// An end that judges the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judge {
    pub(crate) end: End,
    pub(crate) identity: u32,
    pub(crate) peer: u32,
    pub(crate) default: Standing,
}

/// What applies where an end has no rule that allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A managed workload: what is not allowed is denied.
    Managed,
    /// Nobody knows the address, and nobody else judges: the settings decide.
    Unknown(Action),
}

/// Who judges, the server's end first, and the effective mode.
pub(crate) struct Bench {
    pub(crate) judges: [Option<Judge>; 2],
    pub(crate) mode: Mode,
}

/// The ends of a connection, as far as the snapshot knows them.
struct Ends<'s> {
    server: Option<&'s IdentitySpec>,
    client: Option<&'s IdentitySpec>,
}

impl Ends<'_> {
    fn known<'a>(&self, question: &Question<'a>) -> Question<'a> {
        let id = |end: Option<&IdentitySpec>| end.map_or(UNKNOWN_IDENTITY, |end| end.id);
        Question {
            client: id(self.client),
            server: id(self.server),
            ..*question
        }
    }

    fn quarantined(&self) -> Option<u32> {
        let ends = [self.server, self.client].into_iter().flatten();
        let mut quarantined = ends.filter(|identity| identity.quarantined);
        quarantined.next().map(|identity| identity.id)
    }
}

impl Snapshot {
    /// May this client reach this server? Neither allocates nor depends on rules that name others.
    pub fn decide(&self, question: &Question<'_>) -> Decision {
        self.walk(question, &mut ())
    }

    /// May a frame pass that is not IP?
    pub fn link_decision(&self, ether_type: u16) -> Decision {
        let link = &self.spec().link;
        if ether_type == ETHER_TYPE_ARP || link.ether_types.binary_search(&ether_type).is_ok() {
            return allow(link.mode, Decider::Link, Certainty::Final);
        }
        self.deny(link.mode, None, Decider::Link, Certainty::Final)
    }

    pub(crate) fn walk(&self, question: &Question<'_>, watch: &mut impl Watch) -> Decision {
        // Looked up once: asking for each end again and again was a quarter of a decision.
        let ends = self.ends(question);
        let question = &ends.known(question);
        let bench = self.bench_of(&ends);
        let protocol = Some(question.protocol);

        // Quarantine: no answer, whatever the mode.
        if let Some(quarantined) = ends.quarantined() {
            let denial = self.deny(
                bench.mode,
                protocol,
                Decider::Quarantine(quarantined),
                Certainty::Final,
            );
            return Decision {
                wire_action: WireAction::Drop,
                ..denial
            };
        }

        // Explicit deny, explicit allow, default: of the ends that judge.
        let mut heard = Heard::new(question.application.possible());
        for judge in bench.judges.into_iter().flatten() {
            heard.next_judge(judge);
            for index in self.index.concerning(judge.end, judge.identity, judge.peer) {
                let Some(rule) = self.rules.get(index as usize) else {
                    continue;
                };
                let outcome = compare(rule, question, heard.possible());
                watch.considered(index, judge.end, outcome);
                heard.take(index, rule, outcome);
            }
        }
        match heard.verdict(question.application) {
            Verdict::Allow(decider, certainty) => allow(bench.mode, decider, certainty),
            Verdict::Deny(decider, certainty) => {
                self.deny(bench.mode, protocol, decider, certainty)
            }
        }
    }

    fn ends(&self, question: &Question<'_>) -> Ends<'_> {
        Ends {
            server: self.identity(question.server),
            client: self.identity(question.client),
        }
    }

    /// The question with ends that the snapshot knows: others are unknown.
    pub(crate) fn with_known_ends<'a>(&self, question: &Question<'a>) -> Question<'a> {
        self.ends(question).known(question)
    }

    pub(crate) fn quarantined(&self, question: &Question<'_>) -> Option<u32> {
        self.ends(question).quarantined()
    }

    /// Who judges this connection: the managed ends; without one, both, as unknown, if unknown has a
    /// mode.
    pub(crate) fn bench(&self, question: &Question<'_>) -> Bench {
        self.bench_of(&self.ends(question))
    }

    fn bench_of(&self, known: &Ends<'_>) -> Bench {
        let id = |end: Option<&IdentitySpec>| end.map_or(UNKNOWN_IDENTITY, |end| end.id);
        let (server, client) = (id(known.server), id(known.client));
        let ends = [
            (End::Server, server, client, known.server),
            (End::Client, client, server, known.client),
        ];
        let managed = |spec: Option<&IdentitySpec>| {
            let facts = |identity: &IdentitySpec| (identity.mode, identity.elsewhere);
            spec.filter(|identity| identity.managed).map(facts)
        };
        let modes = ends.iter().filter_map(|&(.., spec)| Some(managed(spec)?.0));
        if let Some(mode) = modes.min() {
            let here = |spec| managed(spec).is_some_and(|(_, elsewhere)| !elsewhere);
            if !here(known.server) && !here(known.client) {
                return Bench {
                    judges: [None; 2],
                    mode,
                };
            }
            let judges = ends.map(|(end, identity, peer, spec)| {
                managed(spec).map(|_| Judge {
                    end,
                    identity,
                    peer,
                    default: Standing::Managed,
                })
            });
            return Bench { judges, mode };
        }
        // A network or a name that some rule mentions is nobody's workload either: mentioning it must
        // not open what is between strangers.
        let unknown = &self.spec().unknown;
        let default = Standing::Unknown(unknown.action);
        let judge = |(end, identity, peer, _)| Judge {
            end,
            identity,
            peer,
            default,
        };
        Bench {
            judges: ends.map(|end| unknown.mode.map(|_| judge(end))),
            mode: unknown.mode.unwrap_or(Mode::Discover),
        }
    }

    fn deny(
        &self,
        mode: Mode,
        protocol: Option<u8>,
        decider: Decider,
        certainty: Certainty,
    ) -> Decision {
        let wire_action = match (mode, self.spec().deny_style) {
            (Mode::Discover | Mode::Monitor, _) => WireAction::Forward,
            (Mode::Protect, DenyStyle::Reset) if protocol == Some(protocol::TCP) => {
                WireAction::Reset
            }
            (Mode::Protect, _) => WireAction::Drop,
        };
        let reason = match decider {
            Decider::Rule(_) => Reason::PolicyDenied,
            Decider::Default(_) | Decider::Unmanaged => Reason::PolicyDefault,
            Decider::Quarantine(_) => Reason::Quarantined,
            Decider::Unknown => Reason::UnknownIdentity,
            Decider::Link => Reason::LinkDenied,
        };
        Decision {
            rule_action: Action::Deny,
            mode,
            wire_action,
            decider,
            certainty,
            reason: Some(reason),
        }
    }
}

fn allow(mode: Mode, decider: Decider, certainty: Certainty) -> Decision {
    let wire_action = WireAction::Forward;
    Decision {
        rule_action: Action::Allow,
        mode,
        wire_action,
        decider,
        certainty,
        reason: None,
    }
}

/// What becomes of a rule that concerns the pair.
pub(crate) fn compare(rule: &Rule, question: &Question<'_>, possible: AppSet) -> Outcome {
    if !rule.has_protocol(question.protocol) {
        return Outcome::Protocol;
    }
    if !rule.has_port(question.server_port) {
        return Outcome::Port;
    }
    if !rule.applications.intersects(possible) {
        return Outcome::Application;
    }
    if rule.conditions.is_empty() {
        return Outcome::Applies;
    }
    match (question.application, question.request) {
        (Application::Known(_) | Application::OneOf(_), Some(request)) => rule
            .unmet(request)
            .map_or(Outcome::Applies, Outcome::Condition),
        _ => Outcome::Waits,
    }
}
