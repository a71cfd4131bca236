//! From rules to what is asked of the bytes: equal groups of different rules become one condition, every
//! condition a member of the groups of databases over which it is asked.

use std::collections::HashMap;

use weir_l7::{Buffer, BufferSet};

use super::Flaw;
use super::chain::{Chain, slots};
use super::database::Job;
use super::expression::Source;
use super::fast::{Fast, as_literals, choose};
use super::names::{State, Vocabulary};
use crate::rule::{
    Action, BitKind, Cause, Content, Group, Matcher, PacketHeader, Pcre, Place, Rule, SessionField,
    SessionTest, Toward, Transform, Transport, Unit,
};

/// Bytes over which databases are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Field {
    /// A direction of a TCP connection, in order.
    Stream,
    /// The payload of one TCP segment.
    Segment,
    /// The payload of any other packet.
    Datagram,
    /// A header of a packet.
    Header(PacketHeader),
    /// A buffer of an application.
    Buffer(Buffer),
}

impl Field {
    /// How many there are.
    pub const COUNT: usize = 9 + Buffer::ALL.len();

    /// Its number.
    pub const fn index(self) -> usize {
        match self {
            Self::Stream => 0,
            Self::Segment => 1,
            Self::Datagram => 2,
            Self::Header(header) => 3 + header as usize,
            Self::Buffer(buffer) => 9 + buffer as usize,
        }
    }

    /// Whether it may come in pieces.
    pub const fn is_streamed(self) -> bool {
        match self {
            Self::Stream => true,
            Self::Buffer(buffer) => buffer.is_streamed(),
            Self::Segment | Self::Datagram | Self::Header(_) => false,
        }
    }
}

/// One group of matchers, of all rules that have it.
pub(crate) struct Condition {
    pub chain: Chain,
    /// The rules that it is all of.
    pub alone: Vec<u32>,
    /// Its number among the conditions of rules with several.
    pub shared: Option<u32>,
    /// The rules with several for which it is the one that tells most.
    pub triggers: Vec<u32>,
    /// All rules with several that it is a part of.
    pub parts: Vec<u32>,
    /// How much its first literal tells.
    worth: u32,
}

/// Everything asked of one field in one direction.
pub(crate) struct Databases {
    pub field: Field,
    /// 0 to the server, 1 to the client.
    pub direction: usize,
    pub transforms: Vec<Transform>,
    pub members: Vec<Member>,
    /// Members without anything that must be there: asked always.
    pub always: Vec<u32>,
    /// By number of the literal: the members that it is looked for on behalf of.
    pub triggered: Vec<Vec<u32>>,
    sources: HashMap<Source, u32>,
    ordered: Vec<Source>,
}

/// A condition in its place.
pub(crate) struct Member {
    pub condition: u32,
    /// All that it asks, where that is only which literals are there: by number, false where it must
    /// not be there.
    pub literals: Option<Vec<(u32, bool)>>,
}

/// What a rule became.
pub(crate) struct Plan {
    /// Its conditions' numbers among the shared ones; empty where it has one or none.
    pub shared: Vec<u32>,
    /// The order among rules that fire at once: lower first.
    pub rank: u32,
    pub state: Vec<State>,
    /// It looks at no more than addresses and ports: once per flow and direction is enough.
    pub once: bool,
    /// It passes the connection rather than the packet.
    pub passes_flow: bool,
}

/// Gathers rules.
#[derive(Default)]
pub(crate) struct Planner {
    pub conditions: Vec<Condition>,
    pub databases: Vec<Databases>,
    pub expressions: Vec<Pcre>,
    pub plans: Vec<Plan>,
    /// Rules that are asked of every packet: TCP, UDP, ICMP, other.
    pub packet_rules: [Vec<u32>; 4],
    /// Rules that are asked of every message.
    pub message_rules: Vec<u32>,
    pub shared: u32,
    /// By direction.
    pub wants: [BufferSet; 2],
    pub vocabulary: Vocabulary,
    known: HashMap<String, u32>,
    expression_numbers: HashMap<Pcre, u32>,
}

impl Planner {
    /// Takes a rule in; it gets the next number.
    pub fn add(&mut self, rule: &Rule, file: &super::ReadFile<'_>) -> Result<(), Flaw> {
        check(rule)?;
        let sets = self.vocabulary.load_sets(rule, file);
        sets.map_err(|why| (Cause::File, why))?;
        let index = self.plans.len() as u32;
        // Nothing of a rule that turns out to be impossible may stay behind: chains first.
        let mut conditions = Vec::with_capacity(rule.groups.len());
        for group in &rule.groups {
            let condition = self.condition(rule, group)?;
            if !conditions.contains(&condition) {
                conditions.push(condition);
            }
        }
        let state = self.vocabulary.steps(rule);
        let mut shared = Vec::new();
        match conditions[..] {
            [] => self.list(rule, index),
            [alone] => self.conditions[alone as usize].alone.push(index),
            _ => shared = self.share(&conditions, index),
        }
        let once = rule.groups.is_empty()
            && rule.packet.is_empty()
            && rule.session.is_empty()
            && rule.state.is_empty();
        self.plans.push(Plan {
            shared,
            rank: rank(rule, &state),
            state,
            once: once && rule.threshold.is_none(),
            passes_flow: rule.action == Action::Pass
                && rule.packet.is_empty()
                && (once || !rule.groups.is_empty()),
        });
        Ok(())
    }

    /// A rule without groups: where it is asked.
    fn list(&mut self, rule: &Rule, index: u32) {
        let of_messages = rule.packet.is_empty() && rule.session.iter().any(is_of_message);
        if of_messages {
            self.message_rules.push(index);
            return;
        }
        for &list in lists(rule.header.protocol.transport) {
            self.packet_rules[list].push(index);
        }
    }

    /// A rule with several conditions: each gets a number, and the one that tells most triggers it.
    fn share(&mut self, conditions: &[u32], rule: u32) -> Vec<u32> {
        let best = conditions
            .iter()
            .copied()
            .max_by_key(|&condition| self.conditions[condition as usize].worth);
        for &condition in conditions {
            let condition = &mut self.conditions[condition as usize];
            condition.parts.push(rule);
        }
        if let Some(best) = best {
            self.conditions[best as usize].triggers.push(rule);
        }
        let number = |&condition: &u32| {
            let next = self.shared;
            let number = self.conditions[condition as usize]
                .shared
                .get_or_insert(next);
            self.shared += u32::from(*number == next);
            *number
        };
        conditions.iter().map(number).collect()
    }

    /// The condition that a group is, new or known.
    fn condition(&mut self, rule: &Rule, group: &Group) -> Result<u32, Flaw> {
        let fields = fields(rule, group);
        let directions = match rule.flow.direction {
            Some(Toward::Server) => [true, false],
            Some(Toward::Client) => [false, true],
            None => [true, true],
        };
        let plain: Vec<Matcher> = group.matchers.iter().map(without_choice).collect();
        let key = format!("{fields:?} {directions:?} {:?} {plain:?}", group.transforms);
        if let Some(&known) = self.known.get(&key) {
            return Ok(known);
        }
        let (expressions, numbers) = (&mut self.expressions, &mut self.expression_numbers);
        let mut number = |pcre: &Pcre| {
            let next = expressions.len() as u32;
            let number = *numbers.entry(pcre.clone()).or_insert(next);
            if number == next {
                expressions.push(pcre.clone());
            }
            Ok(number)
        };
        let chain = Chain::new(&group.matchers, &mut number);
        let chain = chain.map_err(|why| (Cause::Memory, why))?;
        let condition = self.conditions.len() as u32;
        self.conditions.push(Condition {
            chain,
            alone: Vec::new(),
            shared: None,
            triggers: Vec::new(),
            parts: Vec::new(),
            worth: choose(&group.matchers).worth(),
        });
        for field in fields {
            for direction in (0..2).filter(|&direction| directions[direction]) {
                // Servers alone answer.
                if field == Field::Buffer(Buffer::HttpResponseBody) && direction == 0 {
                    continue;
                }
                let wants = &mut self.wants[direction];
                if let Field::Buffer(buffer) = field {
                    *wants = wants.with(buffer);
                } else if field == Field::Stream {
                    *wants = wants.with(Buffer::Payload);
                }
                self.enter(field, direction, group, condition);
            }
        }
        self.known.insert(key, condition);
        Ok(condition)
    }

    /// Makes a condition a member of its field's databases.
    fn enter(&mut self, field: Field, direction: usize, group: &Group, condition: u32) {
        let here = |databases: &Databases| {
            (databases.field, databases.direction) == (field, direction)
                && databases.transforms == group.transforms
        };
        let index = match self.databases.iter().position(here) {
            Some(index) => index,
            None => {
                self.databases.push(Databases {
                    field,
                    direction,
                    transforms: group.transforms.clone(),
                    members: Vec::new(),
                    always: Vec::new(),
                    triggered: Vec::new(),
                    sources: HashMap::new(),
                    ordered: Vec::new(),
                });
                self.databases.len() - 1
            }
        };
        let databases = &mut self.databases[index];
        let member = databases.members.len() as u32;
        let literals = as_literals(&group.matchers).map(|literals| {
            let of = |(source, negated): (Source, bool)| (databases.number(source), !negated);
            literals.into_iter().map(of).collect()
        });
        match choose(&group.matchers) {
            Fast::Literal { bytes, nocase, .. } => {
                databases.look_for(Source::literal(bytes, nocase), member);
            }
            Fast::OneOf { literals, nocase } => {
                for bytes in &literals {
                    databases.look_for(Source::literal(bytes, nocase), member);
                }
            }
            // What counts from the cursor is no expression of its own; for streams only literals are
            // looked for (see [`crate::library`]).
            Fast::Expression(pcre) if !pcre.relative && !field.is_streamed() => {
                databases.look_for(Source::of(pcre), member);
            }
            Fast::Expression(_) | Fast::Nothing => databases.always.push(member),
        }
        databases.members.push(Member {
            condition,
            literals,
        });
    }
}

impl Databases {
    fn number(&mut self, source: Source) -> u32 {
        let next = self.ordered.len() as u32;
        let number = *self.sources.entry(source.clone()).or_insert(next);
        if number == next {
            self.ordered.push(source);
            self.triggered.push(Vec::new());
        }
        number
    }

    fn look_for(&mut self, source: Source, member: u32) {
        let number = self.number(source);
        let members = &mut self.triggered[number as usize];
        if !members.contains(&member) {
            members.push(member);
        }
    }

    /// The database to build for what is here whole; what is a stream is found along the way.
    pub fn job(&self) -> Option<Job> {
        let is_stream = self.field == Field::Stream && self.transforms.is_empty();
        let all = (0..).zip(self.ordered.iter().cloned());
        (!is_stream && !self.ordered.is_empty()).then(|| Job::Block(all.collect()))
    }

    /// How many bytes there must be at least for anything to be found.
    pub fn shortest(&self) -> usize {
        let literals = self.ordered.iter().map(|source| match source.is_literal() {
            true => source.literal_bytes() as usize,
            false => 0,
        });
        literals.min().unwrap_or(0)
    }

    /// Whether its bytes are those that a connection carries, and literals are all that is looked for in them.
    pub fn is_on_wire(&self) -> bool {
        let bodies = [Buffer::HttpRequestBody, Buffer::HttpResponseBody].map(Field::Buffer);
        let is_plain =
            matches!(self.field, Field::Stream | Field::Segment) || bodies.contains(&self.field);
        is_plain && self.transforms.is_empty() && self.ordered.iter().all(Source::is_literal)
    }

    /// Whether its bytes are a part of a head as it was sent, and literals are all that is looked for in them.
    pub fn is_of_head(&self) -> bool {
        matches!(self.field, Field::Buffer(buffer) if buffer.is_of_head())
            && self.transforms.is_empty()
            && self.ordered.iter().all(Source::is_literal)
    }

    /// What is looked for, by number; of a stream only what leads to a condition.
    pub fn sought(&self) -> impl Iterator<Item = (u32, &Source)> {
        let is_stream = self.field == Field::Stream;
        let all = (0..).zip(&self.ordered).zip(&self.triggered);
        let sought = all.filter(move |(_, members)| !is_stream || !members.is_empty());
        sought.map(|(source, _)| source)
    }

    /// An expression could not be taken into the database: what it was for is asked always.
    pub fn leave_out(&mut self, id: u32) {
        let members = std::mem::take(&mut self.triggered[id as usize]);
        for member in members {
            if !self.always.contains(&member) {
                self.always.push(member);
            }
        }
    }
}

/// The lists of packets that rules of a transport are asked on: TCP, UDP, ICMP, other.
pub(super) const fn lists(transport: Transport) -> &'static [usize] {
    match transport {
        Transport::Any => &[0, 1, 2, 3],
        Transport::Tcp => &[0],
        Transport::Udp => &[1],
        Transport::TcpOrUdp => &[0, 1],
        Transport::Icmp | Transport::IcmpV4 | Transport::IcmpV6 => &[2],
        Transport::Sctp => &[3],
    }
}

/// The fields that a group of this rule is asked of.
pub(super) fn fields(rule: &Rule, group: &Group) -> Vec<Field> {
    let buffer = match group.place {
        Place::Header(header) => return vec![Field::Header(header)],
        Place::Buffer(buffer) => buffer,
    };
    match buffer {
        Buffer::Payload => {}
        // What a server sends is a file to whoever receives it. It is told once: scanning it as either was a
        // quarter of what a thousand rules cost.
        Buffer::FileData => {
            return [Buffer::FileData, Buffer::HttpResponseBody]
                .map(Field::Buffer)
                .to_vec();
        }
        other => return vec![Field::Buffer(other)],
    }
    let transport = rule.header.protocol.transport;
    let mut fields = Vec::new();
    if matches!(
        transport,
        Transport::Tcp | Transport::TcpOrUdp | Transport::Any
    ) {
        match rule.payload_unit() {
            Unit::Stream => fields.push(Field::Stream),
            Unit::Packet => fields.push(Field::Segment),
            Unit::Either => fields.extend([Field::Stream, Field::Segment]),
        }
    }
    if transport != Transport::Tcp && rule.payload_unit() != Unit::Stream
        || !matches!(transport, Transport::Tcp)
    {
        fields.push(Field::Datagram);
    }
    fields
}

/// What cannot be kept as promised.
fn check(rule: &Rule) -> Result<(), Flaw> {
    let keyword = |name: &str, why: &str| Err((Cause::Keyword(name.to_owned()), why.to_owned()));
    let mut filled_elsewhere = 0;
    for group in &rule.groups {
        let (read, filled) = slots(&group.matchers);
        if read & !filled & filled_elsewhere != 0 {
            let why = "it uses a value that was put aside in another buffer";
            return keyword("byte_extract", why);
        }
        filled_elsewhere |= filled;
        let absent = |matcher: &Matcher| matches!(matcher, Matcher::Absent { .. });
        if group.matchers.iter().any(absent) {
            return keyword("absent", "that there is no such buffer is not asked");
        }
        for transform in &group.transforms {
            match transform {
                Transform::Domain => return keyword("domain", "there is no list of domains"),
                Transform::PublicSuffix => return keyword("tld", "there is no list of domains"),
                Transform::Capture(_) => {
                    return keyword(
                        "pcrexform",
                        "what an expression captured is not looked into",
                    );
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Whether it is asked of what the application says, rather than of the connection.
const fn is_of_message(test: &SessionTest) -> bool {
    use SessionField::{FlowAge, FlowBytes, FlowPackets, StreamSize};
    !matches!(
        test,
        SessionTest::Application { .. }
            | SessionTest::Reputation { .. }
            | SessionTest::Number(FlowAge | FlowBytes(_) | FlowPackets(_) | StreamSize(_), _)
    )
}

/// Equal but for the author's choice of what to look for first.
fn without_choice(matcher: &Matcher) -> Matcher {
    match matcher {
        Matcher::Content(content) => Matcher::Content(Content {
            fast_pattern: None,
            ..content.clone()
        }),
        other => other.clone(),
    }
}

/// pass before drop before reject before alert; those that set bits before those that ask for them;
/// then by urgency.
fn rank(rule: &Rule, state: &[State]) -> u32 {
    let action = match rule.action {
        Action::Pass => 0,
        Action::Drop => 1,
        Action::Reject(_) => 2,
        Action::Alert => 3,
    };
    let kind = |step: &State| match step {
        State::Flow { kind, .. } | State::Host { kind, .. } => Some(*kind),
        State::Integer { .. } => None,
    };
    let asks = state.iter().any(State::is_test);
    let sets = state
        .iter()
        .filter_map(kind)
        .any(|kind| matches!(kind, BitKind::Set | BitKind::Unset | BitKind::Toggle));
    let bits = match (sets, asks) {
        (true, false) => 0,
        (true, true) => 1,
        (false, true) => 2,
        (false, false) => 3,
    };
    action << 16 | bits << 8 | u32::from(rule.priority)
}
