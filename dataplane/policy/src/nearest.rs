//! For a denial by default: the rule that came nearest to allowing it, and what it lacked.

use weir_l7::registry;

use crate::pattern::describe;
use crate::spec::{Action, End, RuleSpec};
use crate::text::with_text;
use crate::{Application, Decider, Decision, Question, Snapshot};

/// What the question and a rule disagree in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Difference {
    /// The rule names other peers.
    pub peer: bool,
    /// The rule names other applications.
    pub application: bool,
    /// The rule names other ports.
    pub port: bool,
    /// The rule names other IP protocols.
    pub protocol: bool,
    /// The first condition of the rule that does not hold for the request.
    pub condition: Option<u16>,
}

/// The rule that came nearest to allowing what was denied. Small and free of allocations: its
/// sentence can be written later, by [`Snapshot::nearest_sentence`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nearest {
    /// Index into the snapshot's rules.
    pub rule: u32,
    /// What it lacked.
    pub difference: Difference,
}

impl Difference {
    /// Agreement in more things counts first; of equal number, the peer, then the application, then
    /// the port. None where only the subject agrees: such a rule is not near.
    fn agreement(self) -> Option<u32> {
        let port = !self.port && !self.protocol;
        let [peer, application, port, condition] = [
            !self.peer,
            !self.application,
            port,
            self.condition.is_none(),
        ]
        .map(u32::from);
        let count = peer + application + port + condition;
        (peer + application + port > 0)
            .then_some(count * 16 + peer * 8 + application * 4 + port * 2 + condition)
    }
}

impl Snapshot {
    /// The allow rule that came nearest, for a denial by an end's default; none for any other
    /// decision, and none where no rule of that end agrees in peer, application or port. Costs as
    /// much as that end has rules: ask once for a flow, not for a packet.
    pub fn nearest(&self, question: &Question<'_>, decision: &Decision) -> Option<Nearest> {
        let Decider::Default(identity) = decision.decider else {
            return None;
        };
        let question = &self.with_known_ends(question);
        let mut best: Option<(u32, Nearest)> = None;
        let judges = self.bench(question).judges.into_iter().flatten();
        for judge in judges.filter(|judge| judge.identity == identity) {
            for index in self.index.binding(judge.end, judge.identity) {
                let Some(difference) = self.difference(index, judge.peer, question) else {
                    continue;
                };
                // A rule that differs in nothing allows it at its own end; the other one lacks.
                let near = difference
                    .agreement()
                    .filter(|_| difference != Difference::default());
                let Some(agreement) = near else { continue };
                if best.is_none_or(|(best, _)| agreement > best) {
                    best = Some((
                        agreement,
                        Nearest {
                            rule: index,
                            difference,
                        },
                    ));
                }
            }
        }
        best.map(|(_, nearest)| nearest)
    }

    /// "allowlist shop/photo-db ingress[0] comes nearest: it is for mysql, not redis".
    pub fn nearest_sentence(&self, nearest: &Nearest, question: &Question<'_>) -> String {
        let Some(rule) = self.spec().rules.get(nearest.rule as usize) else {
            return String::new();
        };
        let differences = self.differences(rule, nearest.difference, question);
        format!("{} comes nearest: {}", rule.name, differences.join("; "))
    }

    /// None for a rule that denies.
    fn difference(&self, index: u32, peer: u32, question: &Question<'_>) -> Option<Difference> {
        let rule = self
            .rules
            .get(index as usize)
            .filter(|rule| rule.action == Action::Allow)?;
        let peers = peers_of(self.spec().rules.get(index as usize)?);
        let application = !rule
            .applications
            .intersects(question.application.possible());
        let condition = match question.request {
            _ if application && !rule.conditions.is_empty() => Some(0),
            Some(request) if !matches!(question.application, Application::Candidates(_)) => {
                rule.unmet(request)
            }
            _ => None,
        };
        Some(Difference {
            peer: !peers.is_empty() && peers.binary_search(&peer).is_err(),
            application,
            port: !rule.has_port(question.server_port),
            protocol: !rule.has_protocol(question.protocol),
            condition: condition.map(|number| u16::try_from(number).unwrap_or(u16::MAX)),
        })
    }

    fn differences(
        &self,
        rule: &RuleSpec,
        difference: Difference,
        question: &Question<'_>,
    ) -> Vec<String> {
        let mut sentences = Vec::new();
        if difference.peer {
            let (word, peer) = match rule.end {
                End::Server => ("clients", question.client),
                End::Client => ("servers", question.server),
            };
            let named = self.identity_names(peers_of(rule));
            sentences.push(format!(
                "its {word} are {named}, not {}",
                self.identity_name(peer)
            ));
        }
        if difference.application {
            sentences.push(application_sentence(rule, question.application));
        }
        if difference.protocol {
            sentences.push(protocol_sentence(rule, question.protocol));
        }
        if difference.port {
            sentences.push(port_sentence(rule, question.server_port));
        }
        // Where the application differs its conditions say nothing.
        if let Some(number) = difference.condition.filter(|_| !difference.application) {
            sentences.push(condition_sentence(rule, usize::from(number), question));
        }
        sentences
    }

    fn identity_names(&self, identities: &[u32]) -> String {
        some_of(identities, |&id| self.identity_name(id).to_string())
    }
}

fn peers_of(rule: &RuleSpec) -> &[u32] {
    match rule.end {
        End::Server => &rule.clients,
        End::Client => &rule.servers,
    }
}

/// The first few of a list, and how many more.
fn some_of<T>(list: &[T], name: impl Fn(&T) -> String) -> String {
    const SHOWN: usize = 4;
    let mut words: Vec<String> = list.iter().take(SHOWN).map(name).collect();
    if list.len() > SHOWN {
        words.push(format!("{} more", list.len() - SHOWN));
    }
    words.join(", ")
}

pub(crate) fn application_sentence(rule: &RuleSpec, application: Application) -> String {
    let found = match application {
        Application::Known(app) => registry::name(app).to_string(),
        Application::Candidates(set) | Application::OneOf(set) => {
            let names: Vec<_> = set.iter().map(registry::name).collect();
            format!("any of {} (still being recognised)", names.join(", "))
        }
    };
    format!(
        "it is for {}, not {found}",
        some_of(&rule.applications, String::clone)
    )
}

pub(crate) fn protocol_sentence(rule: &RuleSpec, protocol: u8) -> String {
    let named = some_of(&rule.protocols, |&number| protocol_name(number));
    format!(
        "it is for protocol {named}, not {}",
        protocol_name(protocol)
    )
}

fn protocol_name(number: u8) -> String {
    use weir_wire::protocol;
    match number {
        protocol::TCP => "tcp".into(),
        protocol::UDP => "udp".into(),
        protocol::ICMP => "icmp".into(),
        protocol::ICMPV6 => "icmpv6".into(),
        protocol::SCTP => "sctp".into(),
        other => other.to_string(),
    }
}

pub(crate) fn port_sentence(rule: &RuleSpec, port: u16) -> String {
    let named = some_of(&rule.ports, |&(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    format!("it is for port {named}, not {port}")
}

pub(crate) fn condition_sentence(
    rule: &RuleSpec,
    number: usize,
    question: &Question<'_>,
) -> String {
    let Some(condition) = rule.conditions.get(number) else {
        return String::new();
    };
    let index = registry::field(&condition.field).map(|field| field.index);
    let fields = question
        .request
        .unwrap_or_default()
        .iter()
        .filter(|field| Some(field.index) == index);
    let found: Vec<String> = fields
        .map(|field| with_text(field.value, |text| format!("\"{}\"", text.escape_ascii())))
        .collect();
    let found = if found.is_empty() {
        "absent".to_string()
    } else {
        found.join(", ")
    };
    format!(
        "{} is {found}, the rule has {}",
        condition.field,
        describe(&condition.patterns)
    )
}
