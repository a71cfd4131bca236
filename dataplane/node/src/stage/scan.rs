//! scan: signatures over streams, datagrams, packets, and what is decided when a flow ends.
//!
//! Trusts: the rules. Distrusts: how often one matches: the alarm budget bounds what is told. Gives:
//! `signature`. Memory: the scanner's.

use weir_flow::FlowId;
use weir_policy::spec::Mode;
use weir_sigs::{Action as SignatureAction, Facts, Hits, PacketFacts};
use weir_wire::{Direction, Packet, Reason, protocol};

use crate::alarm::Telling;
use crate::connection::{Connection, Mark, Standing};
use crate::counters::Stage;
use crate::event::{Alert, Event, EventKind};
use crate::inspection::{Inspection, plain_event};
use crate::io::FrameSource;
use crate::path::{Fate, Path};
use crate::session::Known;

impl<S: FrameSource> Path<S> {
    /// scan: signatures over the stream up to the depth, over each datagram whole. Returns whether
    /// a signature that drops has matched.
    pub(super) fn scan(
        &mut self,
        id: FlowId,
        direction: Direction,
        content: &[u8],
        hits: &mut Hits,
        now_us: u64,
    ) -> bool {
        if self.inspection.scanner.is_none() {
            return false;
        }
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        let length = cold.length_to_scan(direction, content, self.rules.scan_depth_bytes);
        if length > 0 && hot.key.protocol() == protocol::TCP {
            if let Some(reading) = &mut cold.reading {
                reading.scanned[direction as usize] += length as u64;
            }
            let known = Known::of(cold, now_us, self.rules.zero_unix_us);
            let facts = cold.scan_facts(hot, &known);
            let content = &content[..length];
            self.inspection
                .search(cold, &facts, direction, content, now_us, hits);
        }
        self.stages.lap(Stage::Scan, 1);
        self.heed_hits(id, hits, now_us)
    }

    /// Looks for signatures that ask for what a parser objected to.
    pub(super) fn search_objection(
        &mut self,
        id: FlowId,
        direction: Direction,
        what: &'static str,
        now_us: u64,
        hits: &mut Hits,
    ) {
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        if let Some(reading) = &mut cold.reading {
            reading.told_by_application.object(what);
        }
        let known = Known::of(cold, now_us, self.rules.zero_unix_us);
        let session = cold.session();
        let engine = &self.inspection.l7;
        let told = session.and_then(|session| engine.identification(session).app);
        let facts = cold.scan_facts(hot, &known);
        let facts = Facts {
            application: told.or(facts.application),
            ..facts
        };
        if let (Some(flow), Some(scanner)) = (cold.scan(), &mut self.inspection.scanner) {
            scanner.told(flow, &facts, direction, now_us, hits);
        }
    }

    /// scan: what signatures ask of a packet by itself.
    pub(super) fn scan_packet(
        &mut self,
        id: FlowId,
        direction: Direction,
        packet: &Packet,
        bytes: &[u8],
        now_us: u64,
    ) -> Fate {
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        let Some(scanner) = &self.inspection.scanner else {
            return Fate::Forward;
        };
        let payload = packet.payload(bytes);
        // Nothing of it is wanted, or there is nothing to look at: a mere SYN takes no memory.
        if cold.is_scanned(direction, self.rules.scan_depth_bytes)
            || payload.is_empty() && !scanner.asks_of_empty_packets(packet.protocol)
        {
            return Fate::Forward;
        }
        let flow = self.inspection.scan_flow(cold);
        let Some(scanner) = &mut self.inspection.scanner else {
            return Fate::Forward;
        };
        let part = |from: u32, to: u32| &bytes[from as usize..to as usize];
        let facts = PacketFacts {
            direction,
            network: part(packet.network_offset, packet.transport_offset),
            transport: part(packet.transport_offset, packet.payload_offset),
            payload_bytes: packet.payload_end - packet.payload_offset,
            fragmented: packet.fragment.is_some(),
        };
        let mut hits = Hits::new();
        if packet.protocol != protocol::TCP
            && let Some(reading) = &mut cold.reading
        {
            reading.scanned[direction as usize] += payload.len() as u64;
        }
        let known = Known::of(cold, now_us, self.rules.zero_unix_us);
        scanner.packet(
            flow,
            &cold.scan_facts(hot, &known),
            &facts,
            payload,
            now_us,
            &mut hits,
        );
        match self.heed_hits(id, &hits, now_us) {
            true => self.judge_matched(id),
            false => Fate::Forward,
        }
    }

    /// A flow is over, or nothing more of it is looked at: what signatures waited for is decided. Returns
    /// whether a signature that drops has matched.
    pub(crate) fn end_scan(&mut self, id: FlowId, now_us: u64) -> bool {
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        let known = Known::of(cold, now_us, self.rules.zero_unix_us);
        let reading = cold.reading.as_mut();
        let flow = reading.and_then(|reading| reading.scan.take());
        let facts = cold.scan_facts(hot, &known);
        if let (Some(flow), Some(scanner)) = (flow, &mut self.inspection.scanner) {
            let mut hits = Hits::new();
            scanner.close(flow, &facts, now_us, &mut hits);
            return self.heed_hits(id, &hits, now_us);
        }
        false
    }

    /// A signature that drops has matched: the packet, and the flow with it.
    pub(super) fn judge_matched(&mut self, id: FlowId) -> Fate {
        let fate = self.object(id, Reason::Signature);
        if let Fate::Drop(_) = fate {
            self.flows.table.hot_mut(id).verdict = Standing::Drop as u8;
        }
        fate
    }

    /// Tells the signatures that matched; returns whether one of them drops.
    pub(crate) fn heed_hits(&mut self, id: FlowId, hits: &Hits, now_us: u64) -> bool {
        let Some(scanner) = self
            .inspection
            .scanner
            .as_ref()
            .filter(|_| !hits.is_empty())
        else {
            return false;
        };
        let drops = hits.iter().any(|hit| hit.action != SignatureAction::Alert);
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        let Some(flow) = cold.facts(hot) else {
            return drops;
        };
        let blocks = cold.is(Mark::Enforceable) && flow.decision.mode == Mode::Protect;
        for &hit in hits.iter().filter(|hit| hit.told) {
            if self.alarms.take(&mut cold.alarms, now_us) == Telling::Count {
                continue;
            }
            let dropped = blocks && hit.action != SignatureAction::Alert;
            self.alarmed = Some(flow.number);
            self.events.emit(Event {
                reason: dropped.then_some(Reason::Signature),
                alert: Some(Alert {
                    rules: scanner.rules_shared(),
                    hit,
                }),
                ..plain_event(EventKind::Alert, now_us, flow)
            });
        }
        drops
    }
}

impl Inspection {
    /// Looks for signatures in the bytes of a stream.
    fn search(
        &mut self,
        cold: &mut Connection,
        facts: &Facts<'_>,
        direction: Direction,
        content: &[u8],
        now_us: u64,
        hits: &mut Hits,
    ) {
        let flow = self.scan_flow(cold);
        if let (Some(scanner), Some(flow)) = (&mut self.scanner, flow) {
            scanner.stream(flow, facts, direction, content, now_us, hits);
        }
    }
}
