//! What speaks for and against a conversation, and how much each weighs.
//!
//! A weight is in natural log-odds: the confidence is the logistic function of [`BIAS`] and of all
//! weights times their amounts (0 to 1). Evidence for never lowers it, evidence against never raises
//! it. The weights were fitted to simulated clusters with these signs kept, then rounded, and drawn
//! towards caution where a simulation cannot know (what begins with a client, what was looked up).
//! `perf/learning` tells how well they do on clusters that they were not fitted to.

/// One kind of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Evidence {
    /// Many connections.
    Often,
    /// On several days.
    Days,
    /// Daily, weekly or monthly.
    Rhythm,
    /// By all replicas of the client.
    AllReplicas,
    /// The application was recognised by its content.
    Content,
    /// The port is customary for the application.
    CustomaryPort,
    /// A DNS answer led the client to the server.
    Resolved,
    /// Similar workloads do the same.
    Siblings,
    /// Others use the same service.
    OtherUsers,
    /// Both ends are of one namespace.
    SameNamespace,
    /// It began with the client.
    WithClient,
    /// It began with a new release of the client.
    WithRelease,
    /// Seen once or nearly so.
    Once,
    /// It did not come back in more than a week.
    NotAgain,
    /// Only by few of many replicas.
    FewReplicas,
    /// The application was not recognised.
    Unrecognised,
    /// The application is told only by its port.
    OnlyPort,
    /// The port is customary for another application.
    OtherPort,
    /// The client's address is known to nobody, or outside.
    ClientOutside,
    /// The server is outside, by name or network.
    ServerOutside,
    /// The server's address is known to nobody.
    ServerUnknown,
    /// The client finds others by DNS, but not this server outside.
    NotResolved,
    /// It began long after the client.
    Late,
    /// Nobody else asks the server at this port, and it began long after the server.
    NewPort,
    /// It began with many others at once.
    Burst,
    /// It began after an alert on the client.
    AfterAlert,
    /// Alerts were raised on it.
    Alerts,
    /// It was denied before.
    Denied,
    /// No connection was completed.
    NotCompleted,
    /// Many servers did not answer the client.
    Unanswered,
    /// One of many that the client met once.
    Fleeting,
    /// It sends much outside and gets little back.
    SendsOut,
    /// A remote shell or desktop.
    RemoteControl,
    /// Never seen from the start of a connection.
    NotFromStart,
}

/// Kinds of evidence.
pub const EVIDENCE_COUNT: usize = Evidence::NotFromStart as usize + 1;

/// Weights by kind.
pub type Weights = [f64; EVIDENCE_COUNT];

/// The log-odds of a conversation of which nothing is known.
pub const BIAS: f64 = -0.4;

/// Kind, name in output, weight; in the order of the kinds.
const TABLE: [(Evidence, &str, f64); EVIDENCE_COUNT] = {
    use Evidence::*;
    [
        (Often, "often", 1.2),
        (Days, "days", 2.0),
        (Rhythm, "rhythm", 0.3),
        (AllReplicas, "all-replicas", 1.4),
        (Content, "content", 0.4),
        (CustomaryPort, "customary-port", 0.6),
        (Resolved, "resolved", 1.0),
        (Siblings, "siblings", 1.5),
        (OtherUsers, "other-users", 1.0),
        (SameNamespace, "same-namespace", 0.3),
        (WithClient, "with-client", 1.2),
        (WithRelease, "with-release", 0.8),
        (Once, "once", -0.8),
        (NotAgain, "not-again", -1.4),
        (FewReplicas, "few-replicas", -2.5),
        (Unrecognised, "unrecognised", -1.7),
        (OnlyPort, "only-port", -0.3),
        (OtherPort, "other-port", -1.0),
        (ClientOutside, "client-outside", -0.2),
        (ServerOutside, "server-outside", -1.6),
        (ServerUnknown, "server-unknown", -1.7),
        (NotResolved, "not-resolved", -1.3),
        (Late, "late", -1.8),
        (NewPort, "new-port", -0.5),
        (Burst, "burst", -2.1),
        (AfterAlert, "after-alert", -2.5),
        (Alerts, "alerts", -4.3),
        (Denied, "denied", -1.0),
        (NotCompleted, "not-completed", -1.0),
        (Unanswered, "unanswered", -2.6),
        (Fleeting, "fleeting", -0.8),
        (SendsOut, "sends-out", -2.1),
        (RemoteControl, "remote-control", -0.5),
        (NotFromStart, "not-from-start", -0.2),
    ]
};

impl Evidence {
    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.0)
    }

    /// As it stands in output: "after-alert".
    pub fn name(self) -> &'static str {
        TABLE[self as usize].1
    }

    /// Its weight, in log-odds.
    pub fn weight(self) -> f64 {
        TABLE[self as usize].2
    }

    /// Whether it speaks for the conversation.
    pub fn is_for(self) -> bool {
        self < Self::Once
    }
}

/// One reason, as it applies to a conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    /// What kind of evidence.
    pub evidence: Evidence,
    /// How much of it there is, 0 to 1.
    pub amount: f64,
    /// For people.
    pub sentence: String,
}

impl Reason {
    /// What it adds to the log-odds.
    pub fn weight(&self) -> f64 {
        self.evidence.weight() * self.amount
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_each_kind_in_its_place_with_its_sign() {
        for (place, (evidence, name, weight)) in TABLE.iter().enumerate() {
            assert_eq!(*evidence as usize, place, "{name}");
            assert!(weight.is_finite());
            assert!(evidence.is_for() == (*weight >= 0.0), "{name}");
        }
        let names: std::collections::BTreeSet<_> = TABLE.iter().map(|row| row.1).collect();
        assert_eq!(names.len(), EVIDENCE_COUNT);
    }
}
