//! decide: policy is asked, the answer put into the flow, the verdict told, the denial answered.
//!
//! Trusts: the snapshot, the identities. Distrusts: nothing that it has not been told by the stages
//! before. Gives: the reasons of [`weir_policy::Decision`]. Memory: none.

use weir_flow::FlowId;
use weir_policy::{
    Application, Certainty, Decider, Decision, Question, WireAction,
    spec::{Action, Mode},
};
use weir_wire::emit::{Toward, tcp_reset};
use weir_wire::{Direction, Packet, Reason, protocol, tcp_flags};

use crate::connection::{Connection, Mark, Standing};
use crate::event::{Detail, Event, EventKind};
use crate::inspection::{close, plain_event};
use crate::io::{Frame, FrameSource, Role};
use crate::path::{Arrived, Fate, Path};

/// Bytes that hold any reset: headers of two tunnels and TCP without options.
const RESET_BYTES: usize = 512;

impl<S: FrameSource> Path<S> {
    /// Asks policy about a flow as far as it is known, and lets the answer stand.
    pub(crate) fn ask(&mut self, id: FlowId, now_us: u64) {
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        let question = cold.question(
            &hot.key,
            hot,
            self.inspection.candidates(cold, hot.key.protocol()),
        );
        let decision = self.policy.decide(&question);
        self.let_stand(id, decision, now_us);
    }

    /// Puts policy's answer about a flow into it, and tells what is news.
    pub(crate) fn let_stand(&mut self, id: FlowId, decision: Decision, now_us: u64) {
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        if cold.decision.replace(decision) != Some(decision) {
            cold.set(Mark::Told, false);
        }
        cold.policy_version = self.policy.snapshot().version();
        hot.epoch = self.policy.epoch();
        let stops = decision.wire_action != WireAction::Forward && cold.is(Mark::Enforceable);
        hot.verdict = if stops {
            Standing::Drop
        } else {
            Standing::Inspect
        } as u8;
        if let Some(application) = cold.application()
            && !cold.set(Mark::IdentifiedTold, true)
            && application != weir_l7::AppId::UNKNOWN
        {
            self.tell(id, EventKind::Identified, now_us);
        }
        if decision.rule_action == Action::Deny {
            self.tell_verdict(id, decision, Detail::default(), now_us);
        }
    }

    /// The policy has changed since this flow was decided: identities are looked up again, and
    /// what was settled is open again. The application stays known, unless what it speaks went by
    /// unread meanwhile.
    pub(crate) fn ask_again(&mut self, id: FlowId, now_us: u64) {
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        let (client, _, server, _) = hot.endpoints();
        let zone = hot.key.zone();
        let before = Standing::of(hot);
        let was_short = Standing::is_any_short(hot);
        // Later than the epoch that the flow was asked in, as far as numbers that go round tell.
        let other_signatures = self.signatures_since.wrapping_sub(hot.epoch).cast_signed() > 0;
        cold.client = self.policy.identity_of(zone, client, now_us);
        cold.server = self.policy.identity_of(zone, server, now_us);
        cold.set_told(None);
        if before == Standing::Drop {
            self.read_anew(id);
            let cold = self.flows.table.cold_mut(id);
            cold.set_application(None, false);
        }
        self.ask(id, now_us);
        let other_lookers = other_signatures && self.forget_signatures(id, was_short, now_us);
        if before == Standing::Forward && self.lacks_request(id) || other_lookers {
            self.read_anew(id);
        }
    }

    /// What passed lately was not read: the streams begin anew, wherever they are now.
    fn read_anew(&mut self, id: FlowId) {
        let cold = self.flows.table.cold_mut(id);
        close(&mut self.reassembler, &mut self.inspection, cold);
        cold.reopen();
    }

    /// Whether each request is to be judged, and none was that the policy in force still allows.
    fn lacks_request(&self, id: FlowId) -> bool {
        let cold = self.flows.table.cold(id);
        let rules = &self.policy.snapshot().spec().rules;
        let granted = cold
            .granted_by()
            .is_some_and(|id| rules.binary_search_by_key(&id, |rule| rule.id).is_ok());
        let per_request = cold
            .decision
            .is_some_and(|decision| decision.certainty == Certainty::PerRequest);
        per_request && !granted && cold.part_of().is_none()
    }

    /// Each request is to be judged, but none was and none will be read any more: compression,
    /// encryption, bytes that were missed. An empty request stands for them, so that conditions
    /// are not met.
    pub(crate) fn judge_unreadable(&mut self, id: FlowId, now_us: u64) {
        let cold = self.flows.table.cold(id);
        if !cold.is_done(Direction::ToServer) || !self.lacks_request(id) {
            return;
        }
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        let candidates = self.inspection.candidates(cold, hot.key.protocol());
        let question = Question {
            request: Some(&[]),
            ..cold.question(&hot.key, hot, candidates)
        };
        let decision = self.policy.decide(&question);
        if decision.rule_action == Action::Deny {
            self.deny(id, decision, Detail::default(), now_us);
        }
    }

    /// A denial that what was read has brought about: told, and on TCP, where nothing can go on
    /// behind a hole, it stands for the flow. Returns whether the wire is to follow it.
    pub(crate) fn deny(
        &mut self,
        id: FlowId,
        decision: Decision,
        detail: Detail,
        now_us: u64,
    ) -> bool {
        self.tell_verdict(id, decision, detail, now_us);
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        let stops = decision.wire_action != WireAction::Forward && cold.is(Mark::Enforceable);
        if stops && hot.key.protocol() == protocol::TCP {
            cold.decision = Some(decision);
            hot.verdict = Standing::Drop as u8;
        }
        stops
    }

    /// A stage objects to a packet of a flow: the flow's mode says whether it is dropped.
    pub(crate) fn object(&mut self, id: FlowId, reason: Reason) -> Fate {
        match self.flows.table.cold(id).is_blocked() {
            true => Fate::Drop(reason),
            false => self.spare(reason),
        }
    }

    /// What a packet of a flow carries cannot be looked into: by the node's strictness it is objected
    /// to, or counted.
    pub(crate) fn object_unreadable(&mut self, id: FlowId, reason: Reason) -> Fate {
        match self.rules.lenient {
            true => self.spare(reason),
            false => self.object(id, reason),
        }
    }

    /// A stage objects to a packet that has no flow: the mode between its addresses says whether it
    /// is dropped.
    pub(crate) fn object_between(
        &mut self,
        reason: Reason,
        packet: &Packet,
        zone: u32,
        now_us: u64,
    ) -> Fate {
        self.detect_objection(reason, packet, zone, now_us);
        let question = Question {
            client: self.policy.identity_of(zone, packet.source, now_us),
            server: self.policy.identity_of(zone, packet.destination, now_us),
            protocol: packet.protocol,
            server_port: 0,
            application: Application::Candidates(weir_l7::AppSet::ALL),
            request: None,
        };
        let decision = self.policy.decide(&question);
        match (decision.decider, decision.mode) {
            (Decider::Quarantine(_), _) => Fate::Drop(Reason::Quarantined),
            (_, Mode::Protect) => Fate::Drop(reason),
            (_, Mode::Discover | Mode::Monitor) => self.spare(reason),
        }
    }

    /// Tells a denial, or what would have been one; once per flow and decision. In discover
    /// nothing is told: everything is still to be learned.
    pub(crate) fn tell_verdict(
        &mut self,
        id: FlowId,
        decision: Decision,
        detail: Detail,
        now_us: u64,
    ) {
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        if decision.mode == Mode::Discover && decision.wire_action == WireAction::Forward {
            return;
        }
        // What every request of the flow would get is told once.
        let once = detail.is_empty() || decision.certainty == Certainty::Final;
        if once && cold.told() == Some(decision) {
            return;
        }
        self.inspection.readings.note_told(cold, decision);
        let reason = if cold.is(Mark::Contradicted) {
            Some(Reason::ApplicationChanged)
        } else {
            decision.reason
        };
        if let Some(mut flow) = cold.facts(hot) {
            flow.decision = decision;
            self.events.emit(Event {
                reason,
                detail,
                ..plain_event(EventKind::Verdict, now_us, flow)
            });
        }
    }

    fn tell(&mut self, id: FlowId, kind: EventKind, now_us: u64) {
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        if let Some(flow) = cold.facts(hot) {
            self.events.emit(plain_event(kind, now_us, flow));
        }
    }

    /// Where policy says so, a dropped TCP segment is answered by a reset: to both ends when the
    /// flow is first denied, later only to whoever sends on.
    pub(crate) fn answer_denied(
        &mut self,
        id: FlowId,
        direction: Direction,
        packet: &Packet,
        arrived: &Arrived<S::Frame>,
    ) {
        let cold = self.flows.table.cold_mut(id);
        let resets = cold
            .decision
            .is_some_and(|decision| decision.wire_action == WireAction::Reset);
        let dropped = Standing::of(self.flows.table.hot(id)) == Standing::Drop;
        if !resets
            || !dropped
            || packet.protocol != protocol::TCP
            || packet.tcp.flags & tcp_flags::RST != 0
        {
            return;
        }
        let Role::Inline { peer, .. } = self.roles[usize::from(arrived.port)] else {
            return;
        };
        let bytes = arrived.frame.bytes();
        self.send_reset(bytes, packet, Toward::Source, arrived.port);
        let cold = self.flows.table.cold_mut(id);
        // A server that never saw the SYN has nothing to reset.
        let server_knows = cold.packets[Direction::ToClient as usize] > 0;
        let first = !cold.set(Mark::ResetSent, true);
        if first && (direction == Direction::ToClient || server_knows) {
            self.send_reset(bytes, packet, Toward::Destination, peer);
        }
    }

    fn send_reset(&mut self, bytes: &[u8], packet: &Packet, toward: Toward, port: u8) {
        let mut reset = [0; RESET_BYTES];
        let Some(length) = tcp_reset(bytes, packet, toward, &mut reset) else {
            return;
        };
        if self.resets.is_full() {
            return;
        }
        if let Some(frame) = self.frames.frame(&reset[..length]) {
            self.resets.push((port, frame));
        }
    }
}

impl Connection {
    /// Forgets what was read of the content; it is read on from wherever the streams are now.
    pub fn reopen(&mut self) {
        for mark in [
            Mark::SessionOver,
            Mark::DoneToServer,
            Mark::DoneToClient,
            Mark::Contradicted,
            Mark::FromStart,
            Mark::ResetSent,
            Mark::Scanned,
        ] {
            self.set(mark, false);
        }
        if let Some(reading) = &mut self.reading {
            reading.streams_open = [false; 2];
            reading.scanned = [0; 2];
            reading.ask_signatures_at = [0; 2];
            reading.granted_by = None;
        }
    }
}
