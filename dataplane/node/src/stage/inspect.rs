//! identify → parse → scan → decide: what a packet's content says, and what follows.
//!
//! Trusts: track found the right flow, and reassemble the order of bytes. Distrusts: every byte of content. Gives:
//! `application_changed`, `signature`, and the denials of policy. Memory: the engine's sessions, the scanner's
//! streams; a flow that cannot have one is judged as speaking an unknown application.

use weir_flow::{FlowId, Life};
use weir_l7::{AppId, EventKind as MessageKind, Interest, SessionId, Transport};
use weir_policy::{Application, Decision, Question, WireAction, spec::Action};
use weir_sigs::Facts;
use weir_wire::{Direction, Packet, Reason, protocol};

use crate::connection::{Connection, Mark, Standing};
use crate::counters::Stage;
use crate::event::{Detail, Event, EventKind};
use crate::heard::{Heard, Lookers, Searcher, Watcher};
use crate::inspection::{Brought, Findings, close, learned_name, plain_event};
use crate::io::FrameSource;
use crate::path::{Fate, Path, Slot};
use crate::session::Known;
use crate::stage::sense::Sensing;

impl<S: FrameSource> Path<S> {
    /// Looks inside the packets whose flow is not settled.
    #[inline(never)]
    pub(crate) fn inspect(&mut self, slots: &mut [Slot<S::Frame>], now_us: u64) {
        for slot in slots {
            let (Fate::Continue, Some((id, direction)), Some(packet), Some(arrived)) =
                (slot.fate, slot.flow, &slot.packet, &slot.arrived)
            else {
                continue;
            };
            let fate = self.look_inside(
                id,
                direction,
                packet,
                crate::io::Frame::bytes(&arrived.frame),
                now_us,
            );
            self.show_evidence(crate::io::Frame::bytes(&arrived.frame), now_us);
            if let Fate::Drop(_) = fate {
                self.answer_denied(id, direction, packet, arrived);
            }
            slot.fate = fate;
        }
    }

    /// The stages behind track, for one packet of a flow under inspection. `bytes` is the frame (or
    /// the datagram) that `packet` describes.
    pub(crate) fn look_inside(
        &mut self,
        id: FlowId,
        direction: Direction,
        packet: &Packet,
        bytes: &[u8],
        now_us: u64,
    ) -> Fate {
        let payload = packet.payload(bytes);
        if let Some(scanner) = &mut self.inspection.scanner {
            scanner.forget_ahead();
        }
        let fate = match packet.protocol {
            protocol::TCP => self.reassemble(id, direction, packet, payload, now_us),
            protocol::UDP => self.read(id, direction, Transport::Udp, payload, now_us),
            other if let Some(transport) = Transport::of(other) => {
                let message = &bytes[packet.transport_offset as usize..packet.payload_end as usize];
                self.read(id, direction, transport, message, now_us)
            }
            _ => {
                self.name_application(id, AppId::UNKNOWN, now_us);
                self.fate_of(id)
            }
        };
        let fate = match fate {
            Fate::Forward => self.scan_packet(id, direction, packet, bytes, now_us),
            other => other,
        };
        let fate = match fate {
            Fate::Forward => self.settle_if_done(id, now_us),
            other => other,
        };
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        if Standing::of(hot) == Standing::Drop {
            // What was denied is not read any more: its memory is for others.
            close(&mut self.reassembler, &mut self.inspection, cold);
            let depth_bytes = self.rules.scan_depth_bytes;
            self.inspection.readings.end(cold, depth_bytes);
        } else if hot.life == Life::Closed && cold.reading.is_some() {
            return self.end_if_over(id, fate, now_us);
        }
        fate
    }

    /// identify → parse → scan → decide, for a stretch of content.
    pub(super) fn read(
        &mut self,
        id: FlowId,
        direction: Direction,
        transport: Transport,
        content: &[u8],
        now_us: u64,
    ) -> Fate {
        let mut brought = self.inspection.brought.take().unwrap_or_default();
        brought.clear();
        let fate = self.read_into(&mut brought, id, direction, transport, content, now_us);
        self.inspection.brought = Some(brought);
        fate
    }

    fn read_into(
        &mut self,
        brought: &mut Brought,
        id: FlowId,
        direction: Direction,
        transport: Transport,
        content: &[u8],
        now_us: u64,
    ) -> Fate {
        if transport == Transport::Tcp && self.pass_over(id, direction, content, now_us) {
            return self.fate_of(id);
        }
        self.look_at(id);
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        let candidates = self.inspection.candidates(cold, hot.key.protocol());
        let question = cold.question(&hot.key, hot, candidates);
        let (_, client_port, _, server_port) = hot.key.endpoints(hot.initiator_is_low);
        let ports = [client_port, server_port];
        let Some(session) = self.inspection.session(cold, transport, ports) else {
            let application = cold.application().unwrap_or(AppId::UNKNOWN);
            self.name_application(id, application, now_us);
            return self.fate_of(id);
        };
        let stage = if cold.application().is_none() {
            Stage::Identify
        } else {
            Stage::Parse
        };
        let tell = (self.rules.tell_requests, self.rules.tell_answers);
        let is_part = cold.part_of().is_some();
        let is_in_force = hot.epoch == self.policy.epoch();
        let epoch = self.policy.epoch();
        let asking = self.policy.asking();
        brought.allowed = cold.allowed().filter(|_| is_in_force);
        let (mut findings, alarms) =
            Findings::new(brought, asking, question, is_part, direction, tell);
        let connection = cold.watched(hot);
        let sensed = self.inspection.sensed(cold, hot, epoch);
        let scan_flow = self.inspection.scan_flow(cold);
        if let (Some(scanner), Some(flow)) = (&mut self.inspection.scanner, scan_flow)
            && transport == Transport::Tcp
        {
            let length = cold.length_to_scan(direction, content, self.rules.scan_depth_bytes);
            scanner.ahead(flow, direction, &content[..length]);
        }
        let mut known = scan_flow.map(|_| Known::of(cold, now_us, self.rules.zero_unix_us));
        let searcher = match (self.inspection.scanner.as_mut().zip(scan_flow), &mut known) {
            (Some((scanner, flow)), Some(known)) => Some(Searcher {
                scanner,
                flow,
                // What the application says is added while it is read.
                facts: Facts {
                    session: None,
                    ..cold.scan_facts(hot, known)
                },
                known,
                hits: alarms.hits,
                now_us,
            }),
            _ => None,
        };
        let threats = self.inspection.threats.as_mut();
        let mut heard = Heard {
            findings: &mut findings,
            listener: self.inspection.listener.as_mut(),
            lookers: Lookers {
                watcher: threats
                    .zip(cold.reading.as_mut())
                    .map(|(threats, reading)| Watcher {
                        threats,
                        watch: &mut reading.watch,
                        connection,
                        found: alarms.found,
                        now_us,
                    }),
                searcher,
                sensing: self
                    .inspection
                    .sensors
                    .as_mut()
                    .zip(sensed)
                    .map(|(scanner, flow)| Sensing {
                        scanner,
                        flow,
                        hits: alarms.sensor_hits,
                        now_us,
                    }),
            },
            decoding: &mut self.inspection.decoding,
            flow: connection.number,
            decoded: false,
            unreadable: None,
        };
        let outcome = self
            .inspection
            .l7
            .data(session, direction, content, &mut heard);
        let (unreadable, decoded) = (heard.unreadable, heard.decoded);
        if let Some(reading) = &mut cold.reading {
            reading.decoding |= decoded;
            if let Some(known) = known {
                reading.told_by_application = known.told;
            }
        }
        self.stages.lap(stage, 1);
        if let (Some(what), Some(threats)) = (outcome.violation, &mut self.inspection.threats) {
            let known = self.inspection.l7.identification(session);
            let application = known.app.unwrap_or(AppId::UNKNOWN);
            threats.violation(&connection, application, what, &mut brought.found);
        }
        self.sense_stream(
            id,
            direction,
            transport,
            content,
            now_us,
            &mut brought.sensor_hits,
        );
        if let Some(what) = outcome.violation {
            self.search_objection(id, direction, what, now_us, &mut brought.hits);
        }
        let attacked = self.heed_found(id, &mut brought.found, now_us);
        let leaked = self.heed_sensed(id, &mut brought.sensor_hits, now_us);
        self.heed(id, session);
        if let Some(fate) = attacked
            .or(leaked)
            .or_else(|| self.judge_undecoded(id, unreadable))
        {
            self.heed_hits(id, &brought.hits, now_us);
            return fate;
        }
        if outcome.violation.is_some() && transport != Transport::Tcp {
            self.heed_hits(id, &brought.hits, now_us);
            self.note_identification(id, true, None, now_us);
            return self.judge_strange_datagram(id, now_us);
        }
        if outcome.violation.is_some() {
            let known = self.inspection.l7.identification(session);
            self.flows.table.cold_mut(id).contradict(&known);
            self.name_application(id, AppId::UNKNOWN, now_us);
        } else {
            self.note_identification(id, outcome.identified, brought.allowed, now_us);
        }
        let matched = self.scan(id, direction, content, &mut brought.hits, now_us);
        self.learn(id, brought, now_us);
        self.expect_announced(id, &brought.announcements, now_us);
        let fate = self.judge_content(id, brought, matched, now_us);
        self.stages.lap(Stage::Decide, 1);
        fate
    }

    /// Whether all of this is within what the parser asked to be passed over, and nobody else looks into streams: a
    /// packet within a body, of whose reading nothing would come.
    fn pass_over(&mut self, id: FlowId, direction: Direction, content: &[u8], now_us: u64) -> bool {
        let inspection = &mut self.inspection;
        if inspection.scanner.is_some() || inspection.sensors.is_some() {
            return false;
        }
        let Some(session) = self.flows.table.cold(id).session() else {
            return false;
        };
        let length = content.len() as u64;
        let is_body = matches!(inspection.l7.interest(session, direction), Interest::Skip(rest) if rest >= length);
        if is_body {
            inspection.l7.skipped(session, direction, length);
            self.judge_unreadable(id, now_us);
        }
        is_body
    }

    /// Content could not be decoded. Towards a server, where attacks are hidden in it, it is dropped by
    /// the node's strictness, and the flow with it.
    fn judge_undecoded(
        &mut self,
        id: FlowId,
        unreadable: Option<(&'static str, Direction)>,
    ) -> Option<Fate> {
        let (_, direction) = unreadable?;
        let fate = match direction {
            Direction::ToServer => self.object_unreadable(id, Reason::NotInspectable),
            Direction::ToClient => self.spare(Reason::NotInspectable),
        };
        if let Fate::Drop(_) = fate {
            self.flows.table.hot_mut(id).verdict = Standing::Drop as u8;
            return Some(fate);
        }
        None
    }

    /// What the parser is still interested in decides what must be kept and when the flow settles.
    pub(crate) fn heed(&mut self, id: FlowId, session: SessionId) {
        let cold = self.flows.table.cold_mut(id);
        for direction in [Direction::ToServer, Direction::ToClient] {
            match self.inspection.l7.interest(session, direction) {
                Interest::Feed => {}
                Interest::Skip(length) => {
                    if let Some(reading) = &mut cold.reading {
                        let stream = &mut reading.streams[direction as usize];
                        self.reassembler.skip_kept(stream, length);
                    }
                }
                Interest::Done => cold.set_done(direction),
            }
        }
    }

    /// A datagram that contradicts its flow's application is judged alone, as speaking none that is
    /// known; the flow stays what it is.
    fn judge_strange_datagram(&mut self, id: FlowId, now_us: u64) -> Fate {
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        let question = Question {
            application: Application::Known(AppId::UNKNOWN),
            ..cold.question(&hot.key, hot, weir_l7::AppSet::EMPTY)
        };
        let decision = self.policy.decide(&question);
        let stops = decision.wire_action != WireAction::Forward && cold.is(Mark::Enforceable);
        if decision.rule_action == Action::Deny {
            self.tell_verdict(id, decision, Detail::default(), now_us);
        }
        if stops {
            Fate::Drop(Reason::ApplicationChanged)
        } else {
            Fate::Forward
        }
    }

    /// Takes over what the engine knows of the application; policy is asked again when it is news. Where it was
    /// asked about its first request, and `allowed` all of them, that was the answer already. `changed`: this
    /// piece of content may have made it another.
    pub(super) fn note_identification(
        &mut self,
        id: FlowId,
        changed: bool,
        allowed: Option<(AppId, Decision)>,
        now_us: u64,
    ) {
        let cold = self.flows.table.cold_mut(id);
        let Some(session) = cold.session() else {
            return;
        };
        if cold.is(Mark::Contradicted) {
            return;
        }
        let is_known = cold.application().is_some() && !cold.is(Mark::Refinable);
        if !changed && is_known && self.inspection.l7.application(session) == cold.application() {
            return;
        }
        let identification = self.inspection.l7.identification(session);
        // A flow that is read anew keeps its name until it has another.
        let application = identification.app.or(cold.application());
        let known_as = (application, identification.refinable);
        let news = (cold.application(), cold.is(Mark::Refinable)) != known_as;
        if cold.application() != application {
            cold.set(Mark::IdentifiedTold, false);
        }
        cold.set_application(application, identification.refinable);
        cold.set_carried(identification.carried);
        cold.set_evidence(identification.confidence, identification.evidence);
        // While undecided the candidates may have become fewer: perhaps none is allowed any more.
        let answered = allowed.filter(|&(app, _)| {
            application == Some(app) && !identification.refinable && cold.part_of().is_none()
        });
        match answered {
            Some((_, decision)) if news => self.let_stand(id, decision, now_us),
            _ if news || identification.app.is_none() => self.ask(id, now_us),
            _ => {}
        }
    }

    /// The application is known without the engine.
    pub(super) fn name_application(&mut self, id: FlowId, application: AppId, now_us: u64) {
        let cold = self.flows.table.cold_mut(id);
        cold.set_done(Direction::ToServer);
        cold.set_done(Direction::ToClient);
        if cold.application() != Some(application) {
            cold.set_carried(cold.application());
            cold.set_application(Some(application), false);
            self.ask(id, now_us);
        }
        self.judge_unreadable(id, now_us);
    }

    fn learn(&mut self, id: FlowId, brought: &mut Brought, now_us: u64) {
        if brought.names.is_empty() {
            return;
        }
        // An answer counts only from a server that is known and that policy lets the client ask.
        let cold = self.flows.table.cold(id);
        let trusted = cold.server != weir_policy::spec::UNKNOWN_IDENTITY
            && cold
                .decision
                .is_some_and(|decision| decision.rule_action == weir_policy::spec::Action::Allow);
        for found in brought.names.drain(..) {
            if trusted {
                let name = learned_name(found, now_us);
                self.policy.learn(name);
                self.events.learned(name);
                self.hold.retry();
            }
        }
    }

    /// decide: what the findings mean for this packet and for the flow.
    fn judge_content(
        &mut self,
        id: FlowId,
        brought: &mut Brought,
        matched: bool,
        now_us: u64,
    ) -> Fate {
        if !brought.messages.is_empty() {
            self.tell_messages(id, brought, now_us);
        }
        if let Some((decision, _, detail)) = brought.denied.take() {
            if self.deny(id, decision, detail, now_us) {
                return Fate::Drop(decision.reason.unwrap_or(Reason::PolicyDenied));
            }
        } else if brought.granted_by.is_some() {
            let cold = self.flows.table.cold_mut(id);
            if let Some(reading) = self.inspection.readings.begin(cold) {
                reading.granted_by = brought.granted_by;
            }
        }
        self.judge_unreadable(id, now_us);
        if matched {
            return self.judge_matched(id);
        }
        self.fate_of(id)
    }

    fn tell_messages(&mut self, id: FlowId, brought: &mut Brought, now_us: u64) {
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        let Some(flow) = cold.facts(hot) else {
            return;
        };
        for (kind, _, detail) in brought.messages.drain(..) {
            let kind = match kind {
                MessageKind::Request => EventKind::Request,
                _ if self.rules.tell_requests => EventKind::Response,
                _ => EventKind::Answer,
            };
            self.events.emit(Event {
                detail,
                ..plain_event(kind, now_us, flow)
            });
        }
    }

    /// The fate of a packet by the standing of its flow.
    pub(super) fn fate_of(&self, id: FlowId) -> Fate {
        match Standing::of(self.flows.table.hot(id)) {
            Standing::Drop => Fate::Drop(denial_reason(self.flows.table.cold(id))),
            Standing::Forward | Standing::Inspect => Fate::Forward,
        }
    }
}

fn denial_reason(cold: &Connection) -> Reason {
    match cold.is(Mark::Contradicted) {
        true => Reason::ApplicationChanged,
        false => cold
            .decision
            .and_then(|decision| decision.reason)
            .unwrap_or(Reason::Terminated),
    }
}
