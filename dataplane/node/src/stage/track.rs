//! track: to which flow the packet belongs, and whether it fits there.
//!
//! Trusts: decode. Distrusts: TCP flags and numbers, the number of flows a sender may open. Gives:
//! `tcp_*`, `terminated`, `transport_checksum`, and for a new flow what policy says at once.
//! Memory: the flow table, the timers; a full table evicts by the order that [`weir_flow`] states.

use weir_dpdk::prefetch;
use weir_flow::{
    FlowId, FlowKey, Life, Oriented, TcpConnection, TcpLimits, TcpVerdict, sender_is_client,
};
use weir_policy::spec::UNKNOWN_IDENTITY;
use weir_threat::network::SAMPLE;
use weir_wire::{Direction, Packet, Reason, protocol, tcp_flags};

use crate::connection::{Connection, Mark, Standing};
use crate::event::EventKind;
use crate::inspection::{close, conclude};
use crate::io::{Frame, FrameSource, Role};
use crate::path::{Arrived, EXPIRE_BUDGET, Fate, Path, Slot};

impl<S: FrameSource> Path<S> {
    /// Finds or makes the flow of every packet. The first pass makes the keys and touches the
    /// buckets, the second finds the entries and has loaded what detectors count of new ones; side by
    /// side their cache misses overlap. The third follows each packet, with what was found as long as no
    /// flow has come or gone.
    #[inline(never)]
    pub(crate) fn track(&mut self, slots: &mut [Slot<S::Frame>], now_us: u64) {
        for slot in slots.iter_mut() {
            self.key(slot);
        }
        let found_at = self.flows.table.changes();
        for slot in slots.iter_mut() {
            if let Some((oriented, hash)) = &slot.key {
                slot.known = self.flows.table.find(&oriented.key, *hash);
                if let (None, Some(packet), Some(threats)) =
                    (slot.known, &slot.packet, &self.inspection.threats)
                {
                    threats.ahead(oriented.key.zone(), packet, prefetch);
                }
            }
        }
        for slot in slots {
            let (Some((oriented, hash)), Some(packet), Some(arrived)) =
                (&slot.key, &slot.packet, &slot.arrived)
            else {
                continue;
            };
            let known = if self.flows.table.changes() == found_at {
                slot.known
            } else {
                self.flows.table.find(&oriented.key, *hash)
            };
            let (flow, fate) = self.follow(known, arrived, packet, oriented, *hash, now_us);
            self.show_evidence(arrived.frame.bytes(), now_us);
            slot.flow = flow;
            slot.fate = fate;
            if fate == Fate::Held
                && let Some(arrived) = slot.arrived.take()
            {
                self.hold.keep(arrived);
            }
        }
    }

    fn key(&mut self, slot: &mut Slot<S::Frame>) {
        // What is not followed here must not have a key.
        let known = slot.key.take();
        let (Fate::Continue, Some(packet), Some(arrived)) =
            (slot.fate, &slot.packet, &slot.arrived)
        else {
            return;
        };
        if let Some(owner) = self.ownership.other(arrived, packet) {
            self.hand_over_slot(slot, owner);
            return;
        }
        slot.key = known.or_else(|| {
            let oriented = FlowKey::of(packet, self.zone(arrived.port, packet));
            let hash = self.flows.table.hash(&oriented.key);
            prefetch(self.flows.table.bucket(hash));
            Some((oriented, hash))
        });
    }

    /// Gives a slot's frame to the worker that owns its flow.
    pub(crate) fn hand_over_slot(&mut self, slot: &mut Slot<S::Frame>, owner: usize) {
        let Some(arrived) = slot.arrived.take() else {
            return;
        };
        (slot.arrived, slot.fate) = match self.hand_over(owner, arrived) {
            Ok(()) => (None, Fate::Held),
            Err((arrived, fate)) => (Some(arrived), fate),
        };
    }

    /// Gives a frame to the worker that owns its flow. It comes back when the ring is full, and where
    /// that worker is lost: then the pair's fail mode holds.
    pub(crate) fn hand_over(
        &mut self,
        owner: usize,
        arrived: Arrived<S::Frame>,
    ) -> Result<(), (Arrived<S::Frame>, Fate)> {
        if !self.ownership.is_alive(owner) {
            let fate = match self.roles[usize::from(arrived.port)] {
                Role::Inline {
                    fail_open: true, ..
                } => Fate::Forward,
                _ => Fate::Drop(Reason::FailClosed),
            };
            return Err((arrived, fate));
        }
        self.ownership
            .give(owner, arrived)
            .map(|()| self.counts.handed_over += 1)
            .map_err(|arrived| (arrived, Fate::Drop(Reason::HandoverFull)))
    }

    /// One packet at its flow: the flow where the following stages must look, and the fate.
    fn follow(
        &mut self,
        known: Option<FlowId>,
        arrived: &Arrived<S::Frame>,
        packet: &Packet,
        oriented: &Oriented,
        hash: u64,
        now_us: u64,
    ) -> (Option<(FlowId, Direction)>, Fate) {
        let bytes = arrived.frame.bytes();
        let enforceable = matches!(self.roles[usize::from(arrived.port)], Role::Inline { .. });
        if let Some(fate) = self.related(bytes, packet, oriented.key.zone(), now_us) {
            if let Some(listener) = &mut self.inspection.listener {
                listener.apart(packet, bytes.len(), arrived.received_us);
            }
            return (None, fate);
        }
        if known.is_none()
            && enforceable
            && self.must_wait(packet, oriented.key.zone(), now_us)
            && self.may_wait(arrived, now_us)
        {
            return (None, Fate::Held);
        }
        let (id, direction, fate) =
            match self.at_flow(known, packet, bytes, oriented, hash, enforceable, now_us) {
                Ok(found) => found,
                Err(fate) => return (None, fate),
            };
        if let Fate::Drop(_) = fate {
            self.answer_denied(id, direction, packet, arrived);
        }
        (Some((id, direction)), fate)
    }

    /// A whole datagram, put together from fragments, at its flow and on through all stages.
    pub(crate) fn follow_datagram(
        &mut self,
        datagram: &[u8],
        packet: &Packet,
        zone: u32,
        enforceable: bool,
        now_us: u64,
    ) -> Fate {
        let oriented = FlowKey::of(packet, zone);
        let hash = self.flows.table.hash(&oriented.key);
        let known = self.flows.table.find(&oriented.key, hash);
        match self.at_flow(
            known,
            packet,
            datagram,
            &oriented,
            hash,
            enforceable,
            now_us,
        ) {
            Ok((id, direction, Fate::Continue)) => {
                self.look_inside(id, direction, packet, datagram, now_us)
            }
            Ok((_, _, fate)) | Err(fate) => fate,
        }
    }

    /// The packet's flow, made where there is none, and what the flow says of the packet.
    #[expect(
        clippy::too_many_arguments,
        reason = "what track knows of a packet; a struct would be made for this call alone"
    )]
    fn at_flow(
        &mut self,
        known: Option<FlowId>,
        packet: &Packet,
        bytes: &[u8],
        oriented: &Oriented,
        hash: u64,
        enforceable: bool,
        now_us: u64,
    ) -> Result<(FlowId, Direction, Fate), Fate> {
        let mut id = match known {
            Some(id) => id,
            None if !self.is_intact(packet, bytes) => {
                let (reason, zone) = (Reason::TransportChecksum, oriented.key.zone());
                return Err(self.object_between(reason, packet, zone, now_us));
            }
            None => self.open(packet, bytes, oriented, hash, enforceable, now_us)?,
        };
        let mut direction = self.flows.table.hot(id).direction(oriented.from_low);
        let fate = match self.pass(id, direction, packet, bytes, now_us) {
            Some(fate) => fate,
            None => {
                // A SYN that begins a new connection between the same ports.
                self.end_flow(id, now_us);
                id = self.open(packet, bytes, oriented, hash, enforceable, now_us)?;
                direction = self.flows.table.hot(id).direction(oriented.from_low);
                self.pass(id, direction, packet, bytes, now_us)
                    .unwrap_or(Fate::Drop(Reason::TcpState))
            }
        };
        Ok((id, direction, fate))
    }

    /// Whether the endpoint would read the packet: its checksum is right.
    fn is_intact(&self, packet: &Packet, bytes: &[u8]) -> bool {
        !self.rules.verify_checksums || weir_wire::transport_checksum_ok(bytes, packet)
    }

    /// Whether one of the packet's addresses is nobody's.
    fn must_wait(&self, packet: &Packet, zone: u32, now_us: u64) -> bool {
        let unknown = |address| self.policy.identity_of(zone, address, now_us) == UNKNOWN_IDENTITY;
        self.policy.snapshot().spec().unknown.hold_ms > 0
            && (unknown(packet.source) || unknown(packet.destination))
    }

    /// Makes a flow and asks policy for the first time.
    fn open(
        &mut self,
        packet: &Packet,
        bytes: &[u8],
        oriented: &Oriented,
        hash: u64,
        enforceable: bool,
        now_us: u64,
    ) -> Result<FlowId, Fate> {
        let zone = oriented.key.zone();
        if packet.protocol == protocol::TCP
            && let Some(reason) = weir_flow::check_flags(packet.tcp.flags)
        {
            return Err(self.object_between(reason, packet, zone, now_us));
        }
        if let Some(fate) = self.detect_arrival(packet, bytes, zone, enforceable, now_us) {
            return Err(fate);
        }
        let source_is_client = sender_is_client(packet);
        let initiator_is_low = oriented.from_low == source_is_client;
        let source = (packet.source, packet.source_port);
        let destination = (packet.destination, packet.destination_port);
        let ends = match source_is_client {
            true => [source, destination],
            false => [destination, source],
        };
        let [client, server] =
            ends.map(|(address, _)| self.policy.identity_of(zone, address, now_us));
        let from_start = packet.protocol != protocol::TCP || packet.tcp.flags & tcp_flags::SYN != 0;
        let part_of = self
            .ownership
            .announced()
            .take(zone, packet.protocol, ends, now_us);
        let number = self.flows.number();
        let (reassembler, inspection, events) = (
            &mut self.reassembler,
            &mut self.inspection,
            &mut self.events,
        );
        let id =
            self.flows
                .table
                .insert(oriented.key, hash, initiator_is_low, now_us, |hot, cold| {
                    if let (Some(threats), false) = (&mut inspection.threats, cold.is(Mark::Over)) {
                        // What it ends shows once more elsewhere; what it holds is to be given back.
                        let (connection, ending) = (cold.watched(hot), cold.ending(hot));
                        let mut found = weir_threat::Found::new();
                        let mut watch = cold.watch();
                        threats.closed(&mut watch, &connection, &ending, now_us, &mut found);
                    }
                    conclude(inspection, cold);
                    close(reassembler, inspection, cold);
                    inspection.readings.forget(cold);
                    if let Some(flow) = cold.facts(hot) {
                        events.emit(crate::inspection::plain_event(EventKind::End, now_us, flow));
                    }
                });
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        *cold = Connection::new(number, [client, server], now_us);
        cold.set(Mark::FromStart, from_start);
        cold.set(Mark::Enforceable, enforceable);
        if part_of.is_some()
            && let Some(reading) = self.inspection.readings.begin(cold)
        {
            reading.part_of = part_of;
        }
        if packet.protocol == protocol::TCP {
            let direction = hot.direction(oriented.from_low);
            cold.tcp = TcpConnection::open_from(
                direction,
                &packet.tcp,
                packet.payload_end - packet.payload_offset,
            );
        }
        let timeout_us = self.rules.timeouts.for_flow(packet.protocol, hot.life);
        self.flows.timers.schedule(id, now_us + timeout_us);
        self.ask(id, now_us);
        Ok(id)
    }

    /// A packet at its flow: counted, checked against the connection's state, and sent the short way
    /// where the flow's standing is settled. None: it is the first of a new connection.
    fn pass(
        &mut self,
        id: FlowId,
        direction: Direction,
        packet: &Packet,
        bytes: &[u8],
        now_us: u64,
    ) -> Option<Fate> {
        let opening = self.flows.table.cold(id).packets == [0, 0];
        if !opening && !self.is_intact_enough(id, packet, bytes) {
            return Some(self.object(id, Reason::TransportChecksum));
        }
        if !opening && self.begins_after_denial(id, packet) {
            return None;
        }
        if self.flows.table.hot(id).epoch != self.policy.epoch() {
            self.ask_again(id, now_us);
        }
        let standing = Standing::of(self.flows.table.hot(id));
        if packet.protocol == protocol::TCP && !opening {
            let fate = self.follow_tcp(id, direction, packet, standing, now_us)?;
            if fate != Fate::Continue {
                self.flows.table.cold_mut(id).count(direction, bytes.len());
                return Some(fate);
            }
        }
        // Only what belongs to the flow keeps it alive.
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        hot.last_seen_us = now_us;
        if packet.protocol != protocol::TCP && direction == Direction::ToClient {
            hot.life = Life::Established;
        }
        cold.count(direction, bytes.len());
        let sampled = cold.packets[direction as usize].is_multiple_of(SAMPLE);
        if (standing == Standing::Inspect || sampled && standing == Standing::Forward)
            && let Some(fate) = self.detect_packet(id, direction, packet, bytes, now_us)
        {
            return Some(fate);
        }
        let cold = self.flows.table.cold(id);
        Some(match standing {
            Standing::Inspect => Fate::Continue,
            Standing::Forward => Fate::Forward,
            Standing::Drop if opening => Fate::Drop(
                cold.decision
                    .and_then(|decision| decision.reason)
                    .unwrap_or(Reason::Terminated),
            ),
            Standing::Drop => Fate::Drop(Reason::Terminated),
        })
    }

    /// A checksum is looked at where the packet is read or changes the connection's state.
    fn is_intact_enough(&self, id: FlowId, packet: &Packet, bytes: &[u8]) -> bool {
        let changes = packet.tcp.flags & (tcp_flags::SYN | tcp_flags::FIN | tcp_flags::RST) != 0;
        let read = Standing::of(self.flows.table.hot(id)) == Standing::Inspect;
        !(read || changes) || self.is_intact(packet, bytes)
    }

    /// Whether a SYN comes where a connection was denied after its handshake, or by another policy
    /// than the one in force: nothing of the old one is worth keeping.
    fn begins_after_denial(&self, id: FlowId, packet: &Packet) -> bool {
        let (hot, cold) = (self.flows.table.hot(id), self.flows.table.cold(id));
        packet.protocol == protocol::TCP
            && packet.tcp.flags & (tcp_flags::SYN | tcp_flags::ACK) == tcp_flags::SYN
            && Standing::of(hot) == Standing::Drop
            && (cold.tcp.is_established() || hot.epoch != self.policy.epoch())
    }

    /// What the connection says of a segment; None: it begins a new one. Where the mode does not
    /// block, an objection is counted and the segment followed all the same: else everything behind
    /// it would go unread.
    fn follow_tcp(
        &mut self,
        id: FlowId,
        direction: Direction,
        packet: &Packet,
        standing: Standing,
        now_us: u64,
    ) -> Option<Fate> {
        let length = packet.payload_end - packet.payload_offset;
        let strict = self.rules.tcp;
        let lenient = TcpLimits {
            strict: false,
            ..strict
        };
        let tcp = &mut self.flows.table.cold_mut(id).tcp;
        let mut verdict = tcp.segment(direction, &packet.tcp, length, &strict);
        if let TcpVerdict::Drop(reason) = verdict {
            let fate = match standing {
                Standing::Drop => Fate::Drop(Reason::Terminated),
                Standing::Inspect | Standing::Forward => {
                    self.detect_objection_in(id, reason, packet, now_us);
                    self.object(id, reason)
                }
            };
            if let Fate::Drop(_) = fate {
                return Some(fate);
            }
            let tcp = &mut self.flows.table.cold_mut(id).tcp;
            verdict = tcp.segment(direction, &packet.tcp, length, &lenient);
        }
        match verdict {
            TcpVerdict::Accept => Some(Fate::Continue),
            TcpVerdict::AcceptLife(life) => {
                self.flows.table.hot_mut(id).life = life;
                let timeout_us = self.rules.timeouts.for_flow(protocol::TCP, life);
                self.flows.timers.schedule(id, now_us + timeout_us);
                Some(Fate::Continue)
            }
            TcpVerdict::Reopen => None,
            TcpVerdict::Drop(_) => Some(Fate::Forward),
        }
    }

    /// Looks at the flows whose timer is due: those that were silent long enough end.
    pub(crate) fn expire_flows(&mut self, now_us: u64) {
        let due = &mut self.due;
        due.clear();
        self.flows
            .timers
            .advance(now_us, EXPIRE_BUDGET, |id| due.push(id));
        for index in 0..self.due.len() {
            let id = self.due[index];
            let hot = self.flows.table.hot(id);
            let ends_us =
                hot.last_seen_us + self.rules.timeouts.for_flow(hot.key.protocol(), hot.life);
            if ends_us > now_us {
                self.flows.timers.schedule(id, ends_us);
            } else {
                self.end_flow(id, now_us);
            }
        }
    }

    /// Ends every flow: the node stops.
    pub(crate) fn end_flows(&mut self, now_us: u64) {
        let ids: Vec<FlowId> = self.flows.table.ids().collect();
        for id in ids {
            self.end_flow(id, now_us);
        }
    }

    fn end_flow(&mut self, id: FlowId, now_us: u64) {
        self.end_reading(id, now_us);
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        if let Some(flow) = cold.facts(hot) {
            self.events
                .emit(crate::inspection::plain_event(EventKind::End, now_us, flow));
        }
        self.flows.timers.cancel(id);
        self.flows.table.remove(id);
    }
}
