//! What is asked of the policy, and what it answers.

use weir_l7::{AppId, AppSet, Field};
use weir_wire::Reason;

use crate::spec::{Action, Mode};

/// What is known of a connection's application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Application {
    /// Still deciding: any of these remain possible. That it ends as [`AppId::UNKNOWN`] always is,
    /// whether the set says so or not.
    Candidates(AppSet),
    /// Decided, but it may still turn out to be a special case: exactly one of these.
    OneOf(AppSet),
    /// Decided; [`AppId::UNKNOWN`] included.
    Known(AppId),
}

impl Application {
    /// The applications that this may still turn out to be.
    pub fn possible(self) -> AppSet {
        match self {
            Self::Candidates(set) => set.with(AppId::UNKNOWN),
            Self::OneOf(set) => set,
            Self::Known(app) => AppSet::of(app),
        }
    }
}

/// May this client reach this server?
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Identity of the end that opened the connection.
    pub client: u32,
    /// Identity of the other end.
    pub server: u32,
    /// IP protocol number.
    pub protocol: u8,
    /// The port at the server; 0 where the protocol has none.
    pub server_port: u16,
    /// What the bytes speak.
    pub application: Application,
    /// Fields of the request at hand, of the known application; None: no request yet; empty: there was
    /// one that could not be read.
    pub request: Option<&'a [Field<'a>]>,
}

/// Whether the answer may still change while the snapshot stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Certainty {
    /// Nothing that follows on this flow changes it, unless a known application turns into another.
    Final,
    /// It depends on the application: ask again when it is known.
    NeedsApplication,
    /// It depends on each request: ask again for every one.
    PerRequest,
}

/// What the wire gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WireAction {
    /// The packet goes on.
    Forward,
    /// Silence.
    Drop,
    /// A TCP reset to both ends.
    Reset,
}

/// Who decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decider {
    /// A rule: index into [`crate::spec::SnapshotSpec::rules`].
    Rule(u32),
    /// The default of this managed identity: no rule of its document allows the connection.
    Default(u32),
    /// This identity is quarantined.
    Quarantine(u32),
    /// The policy for addresses that nobody knows.
    Unknown,
    /// Neither end is managed.
    Unmanaged,
    /// The policy for frames that are not IP.
    Link,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What the policy says, whatever the mode.
    pub rule_action: Action,
    /// The effective mode of the connection.
    pub mode: Mode,
    /// What follows from both.
    pub wire_action: WireAction,
    /// Who decided. For an allow by both ends' rules: the server's. For an allow that is not
    /// final: the rule that will have decided if nothing speaks against it.
    pub decider: Decider,
    /// Whether it may still change.
    pub certainty: Certainty,
    /// Set for a denial, in every mode.
    pub reason: Option<Reason>,
}

impl Decision {
    /// Whether the policy denies but the mode lets it pass.
    pub fn would_deny(&self) -> bool {
        self.rule_action == Action::Deny && self.wire_action == WireAction::Forward
    }
}
