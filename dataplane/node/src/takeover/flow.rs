//! A worker's flows: left by one, taken over by another.
//!
//! Trusts: numbers and windows of an estate that was read whole. Distrusts: nothing is allowed because the
//! process before allowed it; policy in force decides each flow anew, and again at its first packet.
//! Memory: that of the worker; what finds no room in it is picked up in the middle.

use weir_flow::{FlowId, Life};
use weir_l7::{AppId, AppSet, Confidence, RESUMED, Resumed, Transport, registry};
use weir_policy::spec::{Action, Mode};
use weir_policy::{Application, Certainty, Decision, Question, WireAction};
use weir_wire::{Direction, protocol};

use super::Midway;
use super::estate::{Left, LeftFlow, LeftName, LeftStanding, NUMBER_OF_WORKER};
use crate::connection::{Connection, Mark, Standing};
use crate::event::LearnedName;
use crate::io::FrameSource;
use crate::path::Path;

/// What became of flows that were taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// They go on.
    pub allowed: usize,
    /// They stay denied, or are.
    pub denied: usize,
    /// Of the denied, those that were within a request which policy would have had to judge.
    pub ended_midway: usize,
    /// There was no room for them.
    pub no_room: usize,
}

impl Taken {
    /// Of several workers.
    pub fn plus(self, other: Self) -> Self {
        Self {
            allowed: self.allowed + other.allowed,
            denied: self.denied + other.denied,
            ended_midway: self.ended_midway + other.ended_midway,
            no_room: self.no_room + other.no_room,
        }
    }
}

impl<S: FrameSource> Path<S> {
    /// Leaves every flow to the next process; this one has none afterwards. That they end is not told, since
    /// they do not.
    pub fn leave(&mut self, worker: usize, now_us: u64) -> Left {
        let ids: Vec<FlowId> = self.flows.table.ids().collect();
        let flows = ids.iter().map(|&id| self.left_flow(id)).collect();
        for id in ids {
            self.flows.timers.cancel(id);
            self.flows.table.remove(id);
        }
        let name = |name: &LearnedName| LeftName {
            address: name.address,
            identity: name.identity,
            left_us: name.expires_us.saturating_sub(now_us),
        };
        Left {
            worker: worker as u16,
            last_number: self.flows.last_number(),
            names: self.policy.learned().map(name).collect(),
            flows,
        }
    }

    fn left_flow(&self, id: FlowId) -> LeftFlow {
        let (hot, cold) = (self.flows.table.hot(id), self.flows.table.cold(id));
        let l7 = &self.inspection.l7;
        let session = cold.session().filter(|_| !cold.is_all_done());
        let reading = cold.reading.as_deref();
        let next = [Direction::ToServer, Direction::ToClient].map(|direction| {
            let side = direction as usize;
            // Where packets take the short way nobody reads along.
            let is_read = !Standing::is_short(hot, direction);
            let reading = reading.filter(|reading| is_read && reading.streams_open[side])?;
            let stream = &reading.streams[side];
            (!stream.is_given_up()).then(|| stream.next_sequence())
        });
        let mut rest_in = session.map_or([None; 2], |session| l7.rest_in(session));
        for direction in [Direction::ToServer, Direction::ToClient] {
            // What lies beyond a gap will not be sent again, and was not read yet.
            let side = direction as usize;
            rest_in[side] =
                rest_in[side].filter(|_| next[side] == Some(cold.tcp.sent_until(direction)));
        }
        LeftFlow {
            key: hot.key,
            initiator_is_low: hot.initiator_is_low,
            life: hot.life,
            number: cold.number,
            packets: cold.packets,
            bytes: cold.bytes,
            tcp: cold.tcp.clone(),
            marks: cold.marks(),
            alarms: cold.alarms,
            standing: match Standing::of(hot) {
                Standing::Inspect => LeftStanding::Inspected,
                Standing::Forward => LeftStanding::Settled,
                Standing::Drop => match cold.decision {
                    Some(decision) if decision.rule_action == Action::Deny => LeftStanding::Denied,
                    _ => LeftStanding::Stopped,
                },
            },
            application: cold.application(),
            carried: cold.carried(),
            confidence: cold.confidence(),
            granted_by: cold.granted_by(),
            part_of: cold.part_of(),
            reader: session.map(|session| l7.reader(session)),
            reversed: session.is_some_and(|session| l7.is_reversed(session)),
            rest_in,
            acknowledged: next[0] == Some(cold.tcp.next_sequence(Direction::ToServer)),
            next,
        }
    }

    /// Takes over what another process left. Call it before the first frame, when policy is in force.
    pub fn take_over(&mut self, left: &Left, midway: Midway, now_us: u64) -> Taken {
        for name in &left.names {
            self.policy.learn(LearnedName {
                address: name.address,
                identity: name.identity,
                expires_us: now_us.saturating_add(name.left_us),
            });
        }
        self.flows.go_on_from(left.last_number & NUMBER_OF_WORKER);
        let mut taken = Taken::default();
        for flow in &left.flows {
            if self.flows.table.len() == self.flows.table.capacity() {
                taken.no_room += 1;
                continue;
            }
            let id = self.take_flow(flow, now_us);
            match self.judge_taken(id, flow, midway) {
                Judged::GoesOn => taken.allowed += 1,
                Judged::Denied => taken.denied += 1,
                Judged::EndedMidway => {
                    taken.denied += 1;
                    taken.ended_midway += 1;
                }
            }
        }
        taken
    }

    /// Puts a flow into the table as it was, but for what is read and decided of it.
    fn take_flow(&mut self, flow: &LeftFlow, now_us: u64) -> FlowId {
        let hash = self.flows.table.hash(&flow.key);
        let readings = &mut self.inspection.readings;
        let from_low = flow.initiator_is_low;
        let id = (self.flows.table).insert(flow.key, hash, from_low, now_us, |_, cold| {
            readings.forget(cold);
        });
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        let (client, _, server, _) = hot.endpoints();
        let zone = flow.key.zone();
        let ends = [client, server].map(|end| self.policy.identity_of(zone, end, now_us));
        *cold = Connection::new(flow.number, ends, now_us);
        hot.life = flow.life;
        (cold.packets, cold.bytes) = (flow.packets, flow.bytes);
        cold.tcp = flow.tcp.clone();
        cold.alarms = flow.alarms;
        cold.set_marks(flow.marks);
        // Nothing more of it was of interest: no session is to be opened for the rest.
        let is_over = flow.life == Life::Closed && !flow.tcp.is_reset();
        cold.set(Mark::Over, is_over);
        cold.set(Mark::SessionOver, is_over || cold.is_all_done());
        cold.set_application(flow.application, cold.is(Mark::Refinable));
        cold.set_carried(flow.carried);
        if let Some(confidence) = flow.confidence {
            cold.set_evidence(confidence, RESUMED);
        }
        if (flow.part_of.is_some() || flow.granted_by.is_some())
            && let Some(reading) = self.inspection.readings.begin(cold)
        {
            reading.part_of = flow.part_of;
            reading.granted_by = flow.granted_by;
        }
        let timeout_us = (self.rules.timeouts).for_flow(flow.key.protocol(), flow.life);
        self.flows.timers.schedule(id, now_us + timeout_us);
        id
    }

    /// What policy in force says of a flow that was taken over.
    fn judge_taken(&mut self, id: FlowId, flow: &LeftFlow, midway: Midway) -> Judged {
        let decision = self.decide_taken(id);
        let cold = self.flows.table.cold_mut(id);
        cold.decision = Some(decision);
        if stays_denied(flow.standing, &decision, cold.is(Mark::Enforceable)) {
            self.keep_denied(id, decision);
            return Judged::Denied;
        }
        let was_denied = !matches!(
            flow.standing,
            LeftStanding::Inspected | LeftStanding::Settled
        );
        if was_denied {
            // As a flow that another policy opens: what it says now tells what it is.
            cold.set_application(None, false);
            cold.reopen();
        } else if !cold.is(Mark::Over) && (cold.application().is_none() || !cold.is_all_done()) {
            if midway == Midway::End && self.may_hide_a_request(id, flow, &decision) {
                self.keep_denied(id, decision);
                return Judged::EndedMidway;
            }
            self.read_on(id, flow);
        }
        let epoch = self.policy.epoch();
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        // Asked at its first packet like every flow of another policy.
        hot.epoch = epoch.wrapping_sub(1);
        let settled = flow.standing == LeftStanding::Settled && cold.is_all_done();
        hot.verdict = match settled {
            true => Standing::Forward,
            false => Standing::Inspect,
        } as u8;
        Judged::GoesOn
    }

    /// Whether something that policy would have to judge may lie across the change, its beginning read by the
    /// process before: what its rest looks like, its sender chose. That is a request, and what turns a connection
    /// into another one, as CONNECT does.
    fn may_hide_a_request(&self, id: FlowId, flow: &LeftFlow, decision: &Decision) -> bool {
        let (hot, cold) = (self.flows.table.hot(id), self.flows.table.cold(id));
        let spans =
            flow.key.protocol() == protocol::TCP || flow.application.is_some_and(spans_datagrams);
        let can_be_stopped = spans
            && decision.mode == Mode::Protect
            && cold.is(Mark::Enforceable)
            && cold.part_of().is_none();
        // Nor does the rest of a connection that has ended come.
        if !can_be_stopped || cold.tcp.is_unspoken() || hot.life == Life::Closed {
            return false;
        }
        let whole = flow.rest_in[Direction::ToServer as usize].is_some();
        let judged = decision.certainty != Certainty::Final;
        let turns = (flow.reader).is_some_and(|app| registry::info(app).is_some_and(|it| it.turns));
        let hides = judged && !(whole && flow.acknowledged) || turns && !whole;
        let anything = Question {
            application: Application::Candidates(AppSet::ALL),
            ..cold.question(&hot.key, hot, AppSet::EMPTY)
        };
        let anything = self.policy.snapshot().decide(&anything);
        hides && !allows_all(&anything)
    }

    fn decide_taken(&self, id: FlowId) -> Decision {
        let (hot, cold) = (self.flows.table.hot(id), self.flows.table.cold(id));
        let candidates = self.inspection.candidates(cold, hot.key.protocol());
        let question = cold.question(&hot.key, hot, candidates);
        self.policy.snapshot().decide(&question)
    }

    /// It was told as a denial by the process before, or ends without a packet to tell of.
    fn keep_denied(&mut self, id: FlowId, decision: Decision) {
        let epoch = self.policy.epoch();
        let version = self.policy.snapshot().version();
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        hot.epoch = epoch;
        hot.verdict = Standing::Drop as u8;
        cold.policy_version = version;
        self.inspection.readings.forget(cold);
        cold.set_told(Some(decision));
    }

    /// Has the content of a flow read on: at the very byte where it was, as far as that is known.
    fn read_on(&mut self, id: FlowId, flow: &LeftFlow) {
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        let transport = Transport::of(hot.key.protocol());
        let (_, client_port, _, server_port) = hot.endpoints();
        let unspoken = cold.application().is_none() && cold.tcp.is_unspoken();
        let granted_by = cold.granted_by().filter(|_| flow.rest_in[0].is_some());
        cold.reopen();
        cold.set(Mark::FromStart, unspoken);
        let (Some(transport), false) = (transport, unspoken) else {
            return;
        };
        let Some(reading) = self.inspection.readings.begin(cold) else {
            return;
        };
        reading.granted_by = granted_by;
        for (side, next) in flow.next.iter().enumerate() {
            if let (protocol::TCP, Some(next)) = (flow.key.protocol(), *next) {
                self.reassembler.open(&mut reading.streams[side], next);
                reading.streams_open[side] = true;
                reading.stream_begins[side] = next;
            }
        }
        let (Some(app), Some(reader)) = (flow.application, flow.reader) else {
            return;
        };
        let known = Resumed {
            app,
            refinable: flow.marks & Mark::Refinable as u16 != 0,
            reader,
            confidence: flow.confidence.unwrap_or(Confidence::Content),
            reversed: flow.reversed,
            rest_in: flow.rest_in,
        };
        let l7 = &mut self.inspection.l7;
        reading.session = l7.open_resumed(transport, [client_port, server_port], known);
        if let Some(session) = reading.session {
            self.heed(id, session);
        }
    }
}

/// What became of one flow.
enum Judged {
    GoesOn,
    Denied,
    EndedMidway,
}

/// Whether a flow is dropped from its first packet on. A denial falls only where another policy allows the
/// whole of its application, or would not enforce it.
fn stays_denied(standing: LeftStanding, decision: &Decision, enforceable: bool) -> bool {
    let enforced = decision.mode == Mode::Protect;
    let opens = allows_all(decision);
    enforceable
        && match standing {
            LeftStanding::Inspected | LeftStanding::Settled => false,
            LeftStanding::Denied => {
                enforced && !opens || decision.wire_action != WireAction::Forward
            }
            LeftStanding::Stopped => enforced || decision.wire_action != WireAction::Forward,
        }
}

fn allows_all(decision: &Decision) -> bool {
    decision.rule_action == Action::Allow && decision.certainty == Certainty::Final
}

/// Whether a request may lie in several datagrams: what begins with a handshake of TLS. Those of all others stand
/// for themselves.
fn spans_datagrams(application: AppId) -> bool {
    matches!(application.name(), "quic" | "dtls")
}
