//! Which rules to propose, how sure, and why.

use weir_l7::registry;

use crate::evidence::{BIAS, Evidence, Reason};
use crate::survey::{Survey, is_fleeting};
use crate::{
    Ageing, Confidence, Conversation, ConversationKey, End, Rhythm, Workloads, days::day_of,
    obstacle,
};

/// Applications by which people and intruders take hold of a machine.
const REMOTE_CONTROL: [&str; 6] = ["ssh", "rdp", "telnet", "vnc", "smb", "x11"];

/// What there is to know beside the conversations.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Now, microseconds since 1970.
    pub now_us: u64,
    /// Labels and images.
    pub workloads: &'a Workloads,
    /// How evidence fades.
    pub ageing: Ageing,
}

/// A rule that could be written, with what speaks for and against it.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// Who, with whom, in what.
    pub key: ConversationKey,
    /// From 0 to 1.
    pub confidence: f64,
    /// What is left of the evidence since it was seen last, 0 to 1; a factor of the confidence.
    pub left: f64,
    /// Everything that speaks for or against it, what speaks for it first.
    pub reasons: Vec<Reason>,
}

/// What is weighed of one conversation.
struct Weighing<'a> {
    key: &'a ConversationKey,
    seen: &'a Conversation,
    survey: &'a Survey<'a>,
    now_us: u64,
    reasons: Vec<Reason>,
}

/// Proposes a rule for every conversation that a rule can be written for, the surest first; equals in
/// the order of their keys.
pub fn propose(
    conversations: &[(ConversationKey, Conversation)],
    context: &Context<'_>,
) -> Vec<Proposal> {
    let survey = Survey::of(conversations, context);
    let mut proposals: Vec<Proposal> = conversations
        .iter()
        .filter(|(key, _)| obstacle(key).is_none())
        .map(|(key, seen)| weigh(key, seen, &survey, context))
        .collect();
    proposals.sort_by(|a, b| {
        b.confidence
            .total_cmp(&a.confidence)
            .then_with(|| a.key.cmp(&b.key))
    });
    proposals
}

impl Proposal {
    /// What speaks for it, as sentences.
    pub fn reasons_for(&self) -> impl Iterator<Item = &str> {
        self.sentences(true)
    }

    /// What speaks against it, as sentences.
    pub fn reasons_against(&self) -> impl Iterator<Item = &str> {
        self.sentences(false)
    }

    fn sentences(&self, wanted: bool) -> impl Iterator<Item = &str> {
        let reasons = self.reasons.iter();
        reasons
            .filter(move |reason| reason.evidence.is_for() == wanted)
            .map(|reason| reason.sentence.as_str())
    }
}

fn weigh(
    key: &ConversationKey,
    seen: &Conversation,
    survey: &Survey<'_>,
    context: &Context<'_>,
) -> Proposal {
    let mut weighing = Weighing {
        key,
        seen,
        survey,
        now_us: context.now_us,
        reasons: Vec::new(),
    };
    weighing.how_often();
    weighing.by_whom();
    weighing.in_what();
    weighing.with_whom();
    weighing.as_others();
    weighing.since_when();
    weighing.what_happened();
    weighing.what_the_client_does();
    let mut reasons = weighing.reasons;
    reasons.sort_by_key(|reason| !reason.evidence.is_for());
    let odds: f64 = BIAS + reasons.iter().map(Reason::weight).sum::<f64>();
    let left = context.ageing.left(seen, context.now_us);
    Proposal {
        key: key.clone(),
        confidence: left / (1.0 + (-odds).exp()),
        left,
        reasons,
    }
}

impl Weighing<'_> {
    fn add(&mut self, evidence: Evidence, amount: f64, sentence: impl Into<String>) {
        if amount > 0.0 {
            self.reasons.push(Reason {
                evidence,
                amount: amount.min(1.0),
                sentence: sentence.into(),
            });
        }
    }

    fn how_often(&mut self) {
        let seen = self.seen;
        match seen.connections {
            0 => self.add(Evidence::NotCompleted, 1.0, "no connection was completed"),
            1 => self.add(Evidence::Once, 1.0, "seen only once"),
            often => {
                // Many within an hour are one occasion.
                let one_hour = seen.days.count() <= 1 && seen.activity.hours() <= 1;
                let amount = saturating(often - 1, 10.0) * if one_hour { 0.5 } else { 1.0 };
                self.add(Evidence::Often, amount, format!("seen {often} times"));
                if one_hour && often <= 5 {
                    self.add(Evidence::Once, 0.5, "seen within one hour only");
                }
            }
        }
        let days = seen.days.count();
        if days > 1 {
            let amount = saturating(u64::from(days - 1), 3.0);
            self.add(Evidence::Days, amount, format!("on {days} days"));
        }
        let today = day_of(self.now_us);
        match Rhythm::of(&seen.days, today) {
            Rhythm::None => {}
            rhythm => self.add(
                Evidence::Rhythm,
                1.0,
                format!("it comes back {}", rhythm.name()),
            ),
        }
        let unseen = Ageing::unseen_days(seen, self.now_us);
        if days == 1 && unseen > 7 {
            let sentence = format!("it has not come back in {unseen} days");
            self.add(Evidence::NotAgain, 1.0, sentence);
        }
    }

    fn by_whom(&mut self) {
        let Some((replicas, known)) = self.survey.replicas(self.key, self.seen) else {
            return;
        };
        if known < 2 || !self.key.client_end().is_workload() {
            return;
        }
        let share = replicas as f64 / known as f64;
        if replicas == known {
            let sentence = format!("by all {known} replicas of the client");
            self.add(Evidence::AllReplicas, 1.0, sentence);
        } else if share >= 0.5 {
            let sentence = format!("by {replicas} of {known} replicas of the client");
            self.add(Evidence::AllReplicas, 2.0 * share - 1.0, sentence);
        } else {
            let sentence = format!("by only {replicas} of {known} replicas of the client");
            self.add(Evidence::FewReplicas, 1.0 - 2.0 * share, sentence);
        }
    }

    fn in_what(&mut self) {
        let ConversationKey {
            application, port, ..
        } = self.key;
        let row = registry::by_name(application).and_then(registry::info);
        let Some(row) = row else {
            return self.add(
                Evidence::Unrecognised,
                1.0,
                "the application was not recognised",
            );
        };
        match self.seen.confidence {
            Confidence::Content => {
                self.add(
                    Evidence::Content,
                    1.0,
                    format!("{application} by its content"),
                );
            }
            Confidence::Port | Confidence::None => {
                self.add(
                    Evidence::OnlyPort,
                    1.0,
                    format!("{application} only by its port"),
                );
            }
        }
        if row.ports.contains(port) {
            let sentence = format!("port {port} is customary for {application}");
            self.add(Evidence::CustomaryPort, 1.0, sentence);
        } else if let Some(other) = customary(*port) {
            let sentence = format!("port {port} is customary for {other}, not for {application}");
            self.add(Evidence::OtherPort, 1.0, sentence);
        }
        if REMOTE_CONTROL.contains(&application.as_str()) {
            let sentence = format!("{application} gives control of the server");
            self.add(Evidence::RemoteControl, 1.0, sentence);
        }
    }

    fn with_whom(&mut self) {
        let (key, seen) = (self.key, self.seen);
        if let (End::Workload(client, _), End::Workload(server, _)) =
            (key.client_end(), key.server_end())
            && client == server
        {
            let sentence = format!("both ends are in namespace {client}");
            self.add(Evidence::SameNamespace, 1.0, sentence);
        }
        match key.client_end() {
            End::Workload(..) => {}
            End::Named(_) => {
                let sentence = format!("the client {} is outside", key.client);
                self.add(Evidence::ClientOutside, 0.5, sentence);
            }
            End::Unknown => self.add(
                Evidence::ClientOutside,
                1.0,
                "nobody knows the client's address",
            ),
        }
        match key.server_end() {
            End::Workload(..) => {}
            End::Named(_) => {
                let sentence = format!("the server {} is outside", key.server);
                self.add(Evidence::ServerOutside, 1.0, sentence);
            }
            End::Unknown => self.add(
                Evidence::ServerUnknown,
                1.0,
                "nobody knows the server's address",
            ),
        }
        if seen.resolved > 0 {
            let amount = seen.resolved as f64 / seen.connections.max(1) as f64;
            let name = seen.names.first().map_or("", String::as_str);
            let sentence = format!("the client looked it up before, as {name}");
            self.add(Evidence::Resolved, amount.max(0.25), sentence);
        } else if !key.server_end().is_workload() && self.survey.resolves(&key.client) {
            let sentence = "the client looks up names, but never looked up this server";
            self.add(Evidence::NotResolved, 1.0, sentence);
        }
    }

    fn as_others(&mut self) {
        match self.survey.siblings(self.key) {
            0 => {}
            siblings => {
                let verb = if siblings == 1 {
                    "workload does"
                } else {
                    "workloads do"
                };
                let sentence = format!("{siblings} similar {verb} the same");
                self.add(
                    Evidence::Siblings,
                    saturating(siblings as u64, 0.5),
                    sentence,
                );
            }
        }
        match self.survey.other_users(self.key) {
            0 => {}
            users => {
                let sentence = format!("the service has {users} other kinds of client");
                self.add(
                    Evidence::OtherUsers,
                    saturating(users as u64, 2.0),
                    sentence,
                );
            }
        }
    }

    fn since_when(&mut self) {
        let (key, seen) = (self.key, self.seen);
        if !key.client_end().is_workload() {
            return;
        }
        if self.survey.began_with_client(key, seen) {
            self.add(Evidence::WithClient, 1.0, "it began with the client");
        } else if self.survey.began_with_release(key, seen) {
            self.add(
                Evidence::WithRelease,
                1.0,
                "it began with new replicas of the client",
            );
        } else {
            let age = self.survey.client_age_days(key, seen);
            let sentence = format!("it began {age:.0} days after the client was first seen");
            self.add(Evidence::Late, age / (age + 4.0), sentence);
        }
        if let Some(age) = self.survey.new_port_days(key, seen)
            && key.server_end().is_workload()
        {
            let sentence = format!("nobody else asks {} at port {}", key.server, key.port);
            self.add(Evidence::NewPort, age / (age + 4.0), sentence);
        }
        let burst = self.survey.burst(key, seen);
        if burst > 4 {
            let sentence = format!("it began with {} others of the client at once", burst - 1);
            self.add(Evidence::Burst, saturating(burst as u64 - 4, 6.0), sentence);
        }
        if let Some(hours) = self.survey.hours_after_alert(key, seen) {
            let amount = 24.0 / (24.0 + hours as f64);
            let sentence = match hours {
                0 => "it began within an hour of an alert on the client".to_owned(),
                hours => format!("it began {hours} hours after an alert on the client"),
            };
            self.add(Evidence::AfterAlert, amount, sentence);
        }
    }

    fn what_happened(&mut self) {
        let seen = self.seen;
        if seen.denied > 0 {
            let sentence = format!("denied {} times before", seen.denied);
            self.add(Evidence::Denied, saturating(seen.denied, 1.0), sentence);
        }
        if seen.alerts > 0 {
            let share = seen.alerts as f64 / seen.connections.max(1) as f64;
            let sentence = match seen.alerts {
                1 => "an alert was raised on it".to_owned(),
                alerts => format!("{alerts} alerts were raised on it"),
            };
            self.add(Evidence::Alerts, 0.5 + 0.5 * share.min(1.0), sentence);
        }
        if !seen.from_start {
            let sentence = "never seen from the start of a connection";
            self.add(Evidence::NotFromStart, 1.0, sentence);
        }
        let received = seen.bytes.saturating_sub(seen.bytes_sent).max(1);
        if !self.key.server_end().is_workload() && seen.bytes_sent / received >= 4 {
            let amount = saturating(seen.bytes_sent, 20e6);
            let sentence = "it sends much outside and gets little back";
            if amount > 0.05 {
                self.add(Evidence::SendsOut, amount, sentence);
            }
        }
    }

    fn what_the_client_does(&mut self) {
        if !self.key.client_end().is_workload() {
            return;
        }
        let client = &self.key.client;
        let silent = self.survey.silent(client);
        if silent > 3 {
            let sentence = format!("{silent} servers and ports did not answer the client");
            self.add(
                Evidence::Unanswered,
                saturating(silent as u64 - 3, 8.0),
                sentence,
            );
        }
        let fleeting = self.survey.fleeting(client);
        if fleeting > 3 && is_fleeting(self.seen) {
            let sentence = format!("the client met {fleeting} servers once and not again");
            self.add(
                Evidence::Fleeting,
                saturating(fleeting as u64 - 3, 4.0),
                sentence,
            );
        }
    }
}

/// 0 for nothing, towards 1 for much; one half at `half`.
fn saturating(count: u64, half: f64) -> f64 {
    count as f64 / (count as f64 + half)
}

/// The application that a port is customary for.
fn customary(port: u16) -> Option<&'static str> {
    registry::applications()
        .iter()
        .find(|row| row.ports.contains(&port))
        .map(|row| row.name)
}
