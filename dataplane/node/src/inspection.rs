//! What looks into content: identification and parsing, and the signatures.

use std::sync::Arc;

use weir_flow::Reassembler;
use weir_l7::{
    Announcement, AppEventSink, AppId, AppSet, BufferSet, Engine, Event as Message,
    EventKind as MessageKind, Field, SessionId, Speaker, Transport, registry,
};
use weir_policy::{
    Application, Certainty, Decider, Decision, Memo, Question, Snapshot, WireAction, spec::Action,
};
use weir_sigs::sensor::SensorScanner;
use weir_sigs::{Hits, Prepared, RuleSet, ScanFlow, Scanner, ScannerError};
use weir_threat::{Found, Threats};
use weir_wire::{Direction, Packet};

use crate::connection::{Connection, Mark};
use crate::content::ContentDecoding;
use crate::dns::DnsAnswers;
use crate::event::{Detail, Event, EventKind, FlowFacts, LearnedName};
use crate::readings::Readings;
use crate::stage::sense::SensorHits;

/// Most names learned from one piece of content; a longer answer is cut.
const NAMES_PER_CALL: usize = 32;
/// Most connections announced by one piece of content; a call has a few media streams.
const ANNOUNCEMENTS_PER_CALL: usize = 8;

/// Hears every message that is parsed, whole; [`Detail`] is what a worker tells of one.
pub trait Listener: Send {
    /// A message of the flow with this number.
    fn message(&mut self, flow: u64, application: AppId, message: &Message<'_>);

    /// A packet that has no flow of its own: neighbour discovery, and errors about another flow.
    fn apart(&mut self, packet: &Packet, frame_bytes: usize, time_us: u64);
}

/// Identification, parsing and scanning of one worker.
pub struct Inspection {
    /// Names applications and reads their fields.
    pub l7: Engine,
    /// Looks for signatures; None where none are loaded.
    pub scanner: Option<Scanner>,
    /// Looks for threats; None where none is looked for.
    pub threats: Option<Threats>,
    /// Looks for sensors; None where the policy has none.
    pub sensors: Option<SensorScanner>,
    /// Decodes content for those who look into it.
    pub decoding: ContentDecoding,
    /// Memory to read flows with.
    pub readings: Readings,
    /// Counts the scanners of sensors.
    generation: u32,
    /// Who wants messages whole; nobody on a node.
    pub listener: Option<Box<dyn Listener>>,
    /// What the piece of content at hand brings to light; out while one is read.
    pub brought: Option<Box<Brought>>,
}

/// What a piece of content brings to light. Twelve kilobytes, nearly always empty: made once and handed on by
/// reference, since copies of it were most of what a worker copied (8 % of the instructions of HTTP).
#[derive(Default)]
pub struct Brought {
    /// The first request that policy denies.
    pub denied: Option<(Decision, AppId, Detail)>,
    /// The last message, where messages are to be told.
    pub messages: arrayvec::ArrayVec<(MessageKind, AppId, Detail), 8>,
    /// The id of the rule that allowed the last request.
    pub granted_by: Option<u32>,
    /// An application, all of whose requests policy allows from here on.
    pub allowed: Option<(AppId, Decision)>,
    /// Addresses that DNS answers gave to names which policy has an identity for.
    pub names: arrayvec::ArrayVec<(u128, u32, u64), NAMES_PER_CALL>,
    /// Connections that will follow.
    pub announcements: arrayvec::ArrayVec<Announcement, ANNOUNCEMENTS_PER_CALL>,
    /// Threats.
    pub found: Found,
    /// Signatures.
    pub hits: Hits,
    /// Sensors.
    pub sensor_hits: SensorHits,
}

impl Brought {
    /// Takes everything out.
    pub fn clear(&mut self) {
        self.denied = None;
        self.messages.clear();
        self.granted_by = None;
        self.allowed = None;
        self.names.clear();
        self.announcements.clear();
        self.found.clear();
        self.hits.clear();
        self.sensor_hits.clear();
    }
}

impl Inspection {
    /// With so many flows under inspection at a time.
    pub fn new(sessions: usize, rules: Option<Arc<RuleSet>>) -> Result<Self, ScannerError> {
        let limits = weir_l7::Limits::default();
        let limits = weir_l7::Limits {
            sessions,
            // Half of it is in large buffers, of which a session takes one each way.
            pending_pool_bytes: limits
                .pending_pool_bytes
                .min(sessions.saturating_mul(4 * limits.pending_bytes)),
            // Few protocols need one, and those mostly at their beginning.
            blocks: limits.blocks.min(sessions.div_ceil(4)),
            ..limits
        };
        let scanner = rules
            .map(|rules| Scanner::new(rules, &scan_limits(sessions)))
            .transpose()?;
        Ok(Self {
            l7: Engine::new(limits),
            scanner,
            threats: None,
            sensors: None,
            readings: Readings::new(sessions),
            generation: 0,
            decoding: ContentDecoding::none(),
            listener: None,
            brought: Some(Box::default()),
        })
    }

    /// Looks for threats as well, in content that is decoded within these limits.
    pub fn watch(&mut self, threats: Threats, content: weir_content::Limits) {
        self.decoding = ContentDecoding::new(content, [BufferSet::EMPTY; 2]);
        self.threats = Some(threats);
        self.say_what_is_wanted();
    }

    /// Looks for other signatures from now on. Returns what was used for those before.
    pub fn install(&mut self, prepared: Prepared) -> Option<Prepared> {
        let old = match &mut self.scanner {
            Some(scanner) => Some(scanner.install(prepared)),
            none => {
                *none = Some(Scanner::with(prepared));
                None
            }
        };
        self.say_what_is_wanted();
        old
    }

    fn say_what_is_wanted(&mut self) {
        let threats = self.threats.as_ref().map(Threats::wants);
        let rules = self.scanner.as_ref().map(Scanner::wants);
        let sensors = self
            .sensors
            .as_ref()
            .map(|scanner| [scanner.set().all_buffers(); 2]);
        let all = [threats, rules, sensors].into_iter().flatten();
        self.decoding.want(
            all.fold([BufferSet::EMPTY; 2], |[one, other], [more, others]| {
                [one.union(more), other.union(others)]
            }),
        );
    }

    /// Looks for sensors with this from now on, or for none. Returns what was used before: dropping it
    /// takes time, which is not the worker's.
    pub fn sense_with(&mut self, mut scanner: Option<SensorScanner>) -> Option<SensorScanner> {
        self.generation = self.generation.wrapping_add(1);
        if let Some(scanner) = &mut scanner {
            scanner.renumber(self.generation);
        }
        let old = std::mem::replace(&mut self.sensors, scanner);
        self.say_what_is_wanted();
        old
    }

    /// The session of a flow; opened at its first content. None when none can be had: the flow is
    /// then judged as speaking an unknown application.
    pub fn session(
        &mut self,
        cold: &mut Connection,
        transport: Transport,
        ports: [u16; 2],
    ) -> Option<SessionId> {
        if cold.is(Mark::SessionOver) {
            return None;
        }
        let from_start = cold.is(Mark::FromStart);
        let l7 = &mut self.l7;
        let session = self.readings.begin(cold).and_then(|reading| {
            let open = || match reading.part_of {
                Some(part) => l7.open_announced(transport, ports, part.application),
                None => l7.open(transport, ports, from_start),
            };
            reading.session = reading.session.or_else(open);
            reading.session
        });
        cold.set(Mark::SessionOver, session.is_none());
        session
    }

    /// What the flow may still turn out to speak; nobody asks of one that is named.
    pub fn candidates(&self, cold: &Connection, protocol_number: u8) -> AppSet {
        match cold.session() {
            _ if cold.application().is_some() => AppSet::EMPTY,
            Some(session) => self.l7.candidates(session),
            None => Transport::of(protocol_number).map_or(AppSet::EMPTY, registry::carried_by),
        }
    }

    /// The flow as signatures know it; opened at its first content.
    pub fn scan_flow(&mut self, cold: &mut Connection) -> Option<ScanFlow> {
        let scanner = self.scanner.as_mut()?;
        let reading = self.readings.begin(cold)?;
        if reading.scan.is_none() {
            reading.scan = scanner.open();
        }
        reading.scan
    }
}

/// Memory for the signatures of so many flows at a time.
pub fn scan_limits(sessions: usize) -> weir_sigs::Limits {
    weir_sigs::Limits {
        flows: sessions,
        streamed: sessions.div_ceil(8).max(16),
        messages: sessions.saturating_mul(2),
        secret: crate::limits::random_secret(),
        ..weir_sigs::Limits::default()
    }
}

/// Gives everything back that a flow holds outside its entry, but for the memory to read it with.
pub fn close(reassembler: &mut Reassembler, inspection: &mut Inspection, cold: &mut Connection) {
    let number = cold.number;
    let Some(reading) = &mut cold.reading else {
        return;
    };
    for stream in &mut reading.streams {
        reassembler.close(stream);
    }
    if std::mem::take(&mut reading.decoding) {
        inspection.decoding.close(number);
    }
    if let Some(session) = reading.session.take() {
        inspection.l7.close(session);
    }
    if let (Some(flow), Some(scanner)) = (reading.sensed.take(), &mut inspection.sensors) {
        scanner.close(flow, 0, &mut |_| {});
    }
    if let (Some(scan), Some(scanner)) = (reading.scan.take(), &mut inspection.scanner) {
        scanner.abandon(scan);
    }
}

/// The flow is over: where its content did not tell the application in time, the port may.
pub fn conclude(inspection: &mut Inspection, cold: &mut Connection) {
    if let (None, Some(session)) = (cold.application(), cold.session()) {
        let known = inspection.l7.conclude(session);
        cold.set_application(known.app, cold.is(Mark::Refinable));
        cold.set_evidence(known.confidence, known.evidence);
    }
}

/// An event that carries nothing but the flow.
pub fn plain_event(kind: EventKind, time_us: u64, flow: FlowFacts) -> Event {
    Event {
        kind,
        time_us,
        flow,
        reason: None,
        alert: None,
        detail: Detail::default(),
        finding: None,
        sensed: None,
    }
}

/// Judges and takes down what parsers tell.
pub struct Findings<'a> {
    snapshot: &'a Snapshot,
    memo: &'a mut Memo,
    question: Question<'static>,
    /// The decision that holds for every request of this application.
    settled: &'a mut Option<(AppId, Decision)>,
    /// The flow is a part of another one, whose requests are judged there.
    is_part: bool,
    /// This may be DNS's answer to the client.
    may_name: bool,
    /// Every message is told.
    tell: bool,
    /// DNS answers with addresses are.
    tell_answers: bool,
    denied: &'a mut Option<(Decision, AppId, Detail)>,
    messages: &'a mut arrayvec::ArrayVec<(MessageKind, AppId, Detail), 8>,
    granted_by: &'a mut Option<u32>,
    names: &'a mut arrayvec::ArrayVec<(u128, u32, u64), NAMES_PER_CALL>,
    announcements: &'a mut arrayvec::ArrayVec<Announcement, ANNOUNCEMENTS_PER_CALL>,
}

/// What is found in messages beside what policy says of them.
pub struct Alarms<'a> {
    /// See [`Brought::found`].
    pub found: &'a mut Found,
    /// See [`Brought::hits`].
    pub hits: &'a mut Hits,
    /// See [`Brought::sensor_hits`].
    pub sensor_hits: &'a mut SensorHits,
}

impl<'a> Findings<'a> {
    /// Requests will be judged as part of `question`'s flow.
    pub fn new(
        brought: &'a mut Brought,
        (snapshot, memo): (&'a Snapshot, &'a mut Memo),
        question: Question<'static>,
        is_part: bool,
        direction: Direction,
        (tell, tell_answers): (bool, bool),
    ) -> (Self, Alarms<'a>) {
        // A client that sends itself an answer must not be believed. Nor is what the engine kept
        // until it knew the application, which may be of either end.
        let may_name = direction == Direction::ToClient
            && DnsAnswers::application()
                .is_some_and(|dns| question.application == Application::Known(dns));
        let findings = Self {
            snapshot,
            memo,
            question,
            settled: &mut brought.allowed,
            is_part,
            may_name,
            tell,
            tell_answers,
            denied: &mut brought.denied,
            messages: &mut brought.messages,
            granted_by: &mut brought.granted_by,
            names: &mut brought.names,
            announcements: &mut brought.announcements,
        };
        let alarms = Alarms {
            found: &mut brought.found,
            hits: &mut brought.hits,
            sensor_hits: &mut brought.sensor_hits,
        };
        (findings, alarms)
    }

    /// Judges a request of the application that the flow is known as. What TLS says within
    /// another application is no request of that one.
    fn judge(&mut self, speaker: Speaker, message: &Message<'_>) {
        if self.is_part || !registry::refines(speaker.app, registry::root(speaker.parser)) {
            return;
        }
        let question = Question {
            application: match speaker.refinable {
                true => Application::OneOf(registry::special_cases(speaker.app)),
                false => Application::Known(speaker.app),
            },
            request: Some(message.fields),
            ..self.question
        };
        let decision = match *self.settled {
            Some((app, decision)) if question.application == Application::Known(app) => decision,
            _ => self.memo.decide(self.snapshot, &question),
        };
        if decision.rule_action == Action::Allow && decision.certainty == Certainty::Final {
            *self.settled = (!speaker.refinable).then_some((speaker.app, decision));
        }
        if let (Action::Allow, Decider::Rule(rule)) = (decision.rule_action, decision.decider) {
            let rule = self.snapshot.spec().rules.get(rule as usize);
            *self.granted_by = rule.map(|rule| rule.id);
        }
        let worse = match &self.denied {
            None => decision.rule_action == Action::Deny,
            Some((known, ..)) => {
                known.wire_action == WireAction::Forward
                    && decision.wire_action != WireAction::Forward
            }
        };
        if worse {
            let detail = Detail::of(speaker.parser, message);
            *self.denied = Some((decision, speaker.app, detail));
        }
    }

    /// Answers of DNS: groups of answer name, address and time to live, behind the question's name.
    /// Only answers to the question that was asked are believed.
    fn learn_names(&mut self, fields: &[Field<'_>]) {
        let answers = DnsAnswers::of(fields);
        let Some(identity) = answers
            .question()
            .and_then(|name| self.snapshot.name_identity(name))
        else {
            return;
        };
        for (address, ttl_s) in answers.addresses().take(self.names.remaining_capacity()) {
            self.names.push((address, identity, ttl_s));
        }
    }
}

impl AppEventSink for Findings<'_> {
    fn event(&mut self, speaker: Speaker, message: &Message<'_>) {
        match message.kind {
            MessageKind::Request => self.judge(speaker, message),
            MessageKind::Response if self.may_name => self.learn_names(message.fields),
            MessageKind::Response | MessageKind::Session => {}
        }
        let answer = self.tell_answers
            && self.may_name
            && message.kind == MessageKind::Response
            && DnsAnswers::of(message.fields).addresses().next().is_some();
        if answer || self.tell && message.kind != MessageKind::Session {
            let _ = self.messages.try_push((
                message.kind,
                speaker.parser,
                Detail::of(speaker.parser, message),
            ));
        }
    }

    fn announce(&mut self, announcement: &Announcement) {
        let _ = self.announcements.try_push(*announcement);
    }
}

/// A learned name with its end on the workers' clock; an answer counts for at least a second, or a
/// client that just asked could not use it, and for at most a day.
pub fn learned_name(found: (u128, u32, u64), now_us: u64) -> LearnedName {
    let (address, identity, ttl_s) = found;
    LearnedName {
        address,
        identity,
        expires_us: now_us + ttl_s.clamp(1, 86_400) * 1_000_000,
    }
}
