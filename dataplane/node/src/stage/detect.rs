//! Threats on the way: the detectors are told what each stage saw, and what they find is told and
//! heeded.
//!
//! Trusts: [`weir_threat`] decides what a threat is and what it does. Distrusts: how often one shows.
//! Gives: `threat`. Memory: none of its own.

use weir_flow::FlowId;
use weir_policy::spec::Mode;
use weir_policy::{Application, Question};
use weir_threat::{Action, Evidence, Finding, Found, Threat};
use weir_wire::{Direction, Packet, Reason, protocol};

use crate::alarm::Telling;
use crate::connection::{Mark, Standing};
use crate::event::{Event, EventKind, FlowFacts};
use crate::inspection::plain_event;
use crate::io::{FrameSource, PortIndex};
use crate::path::{Fate, Path};

impl<S: FrameSource> Path<S> {
    /// Has the detectors look as policy wants it between the ends of a flow.
    pub(crate) fn look_at(&mut self, id: FlowId) {
        if self.threat_policies.is_any() {
            let cold = self.flows.table.cold(id);
            self.look_between([cold.client, cold.server]);
        }
    }

    /// The same for a packet that has no flow.
    fn look_at_packet(&mut self, packet: &Packet, zone: u32, now_us: u64) {
        if self.threat_policies.is_any() {
            let ends = [packet.source, packet.destination];
            self.look_between(ends.map(|end| self.policy.identity_of(zone, end, now_us)));
        }
    }

    fn look_between(&mut self, ends: [u32; 2]) {
        if let Some(threats) = &mut self.inspection.threats {
            self.threat_policies
                .look(threats, self.policy.snapshot(), ends);
        }
    }

    /// A packet that would begin a flow. Some: it ends here, and no flow is made.
    pub(crate) fn detect_arrival(
        &mut self,
        packet: &Packet,
        frame: &[u8],
        zone: u32,
        enforceable: bool,
        now_us: u64,
    ) -> Option<Fate> {
        self.look_at_packet(packet, zone, now_us);
        let threats = self.inspection.threats.as_mut()?;
        let mut found = Found::new();
        threats.arriving(zone, packet, frame, now_us, &mut found);
        if found.is_empty() {
            return None;
        }
        self.tell_apart(&mut found, packet, zone, enforceable, now_us)
    }

    /// A stage objected to a packet that has no flow.
    pub(crate) fn detect_objection(
        &mut self,
        reason: Reason,
        packet: &Packet,
        zone: u32,
        now_us: u64,
    ) {
        self.look_at_packet(packet, zone, now_us);
        let Some(threats) = &mut self.inspection.threats else {
            return;
        };
        let mut found = Found::new();
        threats.objection(reason, zone, packet, now_us, &mut found);
        if !found.is_empty() {
            self.tell_apart(&mut found, packet, zone, false, now_us);
        }
    }

    /// A frame could not be decoded.
    pub(crate) fn detect_malformed(
        &mut self,
        reason: Reason,
        port: PortIndex,
        frame: &[u8],
        now_us: u64,
    ) {
        if self.inspection.threats.is_none() {
            return;
        }
        if let Some(packet) = weir_wire::envelope(frame) {
            let zone = self.zone(port, &packet);
            self.detect_objection(reason, &packet, zone, now_us);
        }
    }

    /// An ICMP error says that the server of a flow cannot be reached.
    pub(crate) fn detect_unreachable(&mut self, id: FlowId, now_us: u64) {
        self.look_at(id);
        let Some(threats) = &mut self.inspection.threats else {
            return;
        };
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        let connection = cold.watched(hot);
        let mut found = Found::new();
        let mut watch = cold.watch();
        threats.unreachable(&mut watch, &connection, now_us, &mut found);
        self.inspection.readings.remember(cold, watch);
        self.heed_found(id, &mut found, now_us);
    }

    /// A stage objected to a packet of a flow.
    pub(crate) fn detect_objection_in(
        &mut self,
        id: FlowId,
        reason: Reason,
        packet: &Packet,
        now_us: u64,
    ) {
        self.look_at(id);
        let Some(threats) = &mut self.inspection.threats else {
            return;
        };
        let zone = self.flows.table.hot(id).key.zone();
        let mut found = Found::new();
        threats.objection(reason, zone, packet, now_us, &mut found);
        // Only this packet is at fault, and anybody may have sent it: the flow goes on.
        self.tell_found(id, &mut found, false, now_us);
    }

    /// A packet of a flow. Some: it is dropped.
    pub(crate) fn detect_packet(
        &mut self,
        id: FlowId,
        direction: Direction,
        packet: &Packet,
        frame: &[u8],
        now_us: u64,
    ) -> Option<Fate> {
        self.look_at(id);
        let threats = self.inspection.threats.as_mut()?;
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        let brief = weir_threat::Brief {
            application: cold.application(),
            from_start: cold.is(Mark::FromStart),
            packets: cold.packets,
        };
        let mut apart = weir_threat::Watch::from(cold.watch);
        if packet.protocol == protocol::TCP
            && let Some(reading) = &mut cold.reading
            && threats.is_routine(&mut reading.watch, &brief, direction, packet, frame, now_us)
        {
            return None;
        }
        let connection = cold.watched(hot);
        let mut found = Found::new();
        let watch = match &mut cold.reading {
            Some(reading) => &mut reading.watch,
            None => &mut apart,
        };
        threats.packet(
            watch,
            &connection,
            direction,
            packet,
            frame,
            now_us,
            &mut found,
        );
        if cold.reading.is_none() {
            self.inspection.readings.remember(cold, apart);
        }
        self.heed_found(id, &mut found, now_us)
    }

    /// A flow is over.
    pub(crate) fn detect_ending(&mut self, id: FlowId, now_us: u64) {
        self.look_at(id);
        let Some(threats) = &mut self.inspection.threats else {
            return;
        };
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        let connection = cold.watched(hot);
        let ending = cold.ending(hot);
        let mut found = Found::new();
        let mut watch = cold.watch();
        threats.closed(&mut watch, &connection, &ending, now_us, &mut found);
        self.heed_found(id, &mut found, now_us);
    }

    /// Tells what was found in a flow. Some: what drops it applies.
    pub(crate) fn heed_found(
        &mut self,
        id: FlowId,
        found: &mut Found,
        now_us: u64,
    ) -> Option<Fate> {
        if found.is_empty() {
            return None;
        }
        let (drops, sheds) = (found.drops(), found.sheds());
        let blocks = self.flows.table.cold(id).is_blocked();
        self.tell_found(id, found, blocks, now_us);
        if !drops && !sheds {
            return None;
        }
        let fate = self.object(id, Reason::Threat);
        let Fate::Drop(_) = fate else { return None };
        if drops {
            self.flows.table.hot_mut(id).verdict = Standing::Drop as u8;
        }
        Some(fate)
    }

    /// Tells what was found in a flow; `blocks`: what drops it applies.
    fn tell_found(&mut self, id: FlowId, found: &mut Found, blocks: bool, now_us: u64) {
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        if let Some(flow) = cold.facts(hot) {
            for finding in found.drain() {
                let telling = self.alarms.take(&mut cold.alarms, now_us);
                let finding = match telling {
                    Telling::Tell => finding,
                    Telling::LastOfFlow => flood_of(finding.threat),
                    Telling::Count => continue,
                };
                let dropped = blocks && finding.action == Action::Drop;
                self.alarmed = Some(flow.number);
                self.events
                    .emit(threat_event(finding, flow, dropped, now_us));
            }
        }
    }

    /// Tells what was found at a packet without a flow. Some: what drops it applies.
    fn tell_apart(
        &mut self,
        found: &mut Found,
        packet: &Packet,
        zone: u32,
        enforceable: bool,
        now_us: u64,
    ) -> Option<Fate> {
        let drops = (found.drops() || found.sheds()) && enforceable;
        let flow = self.facts_apart(packet, zone, now_us);
        let dropped = drops && flow.decision.mode == Mode::Protect;
        // Each is the first of a flow that is never made: the worker's own budget bounds them.
        for finding in found.drain() {
            if self.alarms.take(&mut 0, now_us) == Telling::Tell {
                let dropped = dropped && finding.action == Action::Drop;
                self.alarmed = Some(flow.number);
                self.events
                    .emit(threat_event(finding, flow, dropped, now_us));
            }
        }
        match (drops, flow.decision.mode) {
            (true, Mode::Protect) => Some(Fate::Drop(Reason::Threat)),
            (true, Mode::Discover | Mode::Monitor) => {
                self.spare(Reason::Threat);
                None
            }
            (false, _) => None,
        }
    }

    /// Time passed: some attacks are that nothing happens. What is found is between the hosts that the
    /// evidence names, and drops nothing.
    pub(crate) fn detect_passing(&mut self, now_us: u64) {
        let Some(threats) = &mut self.inspection.threats else {
            return;
        };
        let mut found = Found::new();
        self.threat_policies.look_everywhere(threats);
        threats.tick(now_us, &mut found);
        for mut finding in found.drain() {
            let hosts = [finding.evidence.source, finding.evidence.target];
            let hosts = hosts.map(Option::unwrap_or_default);
            let flow = self.facts_between(hosts, [0; 2], protocol::TCP, 0, now_us);
            finding.action = self.threat_policies.action(
                self.policy.snapshot(),
                [flow.client, flow.server],
                finding.threat,
            );
            if finding.action != Action::Off && self.alarms.take(&mut 0, now_us) == Telling::Tell {
                self.events.emit(threat_event(finding, flow, false, now_us));
            }
        }
    }

    /// The facts of a packet as if it were a flow.
    fn facts_apart(&self, packet: &Packet, zone: u32, now_us: u64) -> FlowFacts {
        let hosts = [packet.source, packet.destination];
        let ports = [packet.source_port, packet.destination_port];
        FlowFacts {
            packets: [1, 0],
            bytes: [u64::from(packet.payload_end), 0],
            ..self.facts_between(hosts, ports, packet.protocol, zone, now_us)
        }
    }

    /// The facts of a flow that there is not, between these hosts.
    fn facts_between(
        &self,
        [source, destination]: [u128; 2],
        [source_port, destination_port]: [u16; 2],
        protocol: u8,
        zone: u32,
        now_us: u64,
    ) -> FlowFacts {
        let client = self.policy.identity_of(zone, source, now_us);
        let server = self.policy.identity_of(zone, destination, now_us);
        let snapshot = self.policy.snapshot();
        FlowFacts {
            number: 0,
            zone,
            client_address: source,
            server_address: destination,
            client_port: source_port,
            server_port: destination_port,
            protocol,
            client,
            server,
            application: None,
            carried: None,
            confidence: weir_l7::Confidence::None,
            evidence: "",
            from_start: false,
            decision: snapshot.decide(&Question {
                client,
                server,
                protocol,
                server_port: 0,
                application: Application::Candidates(weir_l7::AppSet::ALL),
                request: None,
            }),
            policy_version: snapshot.version(),
            packets: [0; 2],
            bytes: [0; 2],
            first_seen_us: now_us,
            last_seen_us: now_us,
        }
    }
}

fn threat_event(finding: Finding, flow: FlowFacts, dropped: bool, now_us: u64) -> Event {
    Event {
        reason: dropped.then_some(Reason::Threat),
        finding: Some(finding),
        ..plain_event(EventKind::Threat, now_us, flow)
    }
}

/// Stands for all further findings of a flow.
fn flood_of(threat: Threat) -> Finding {
    Finding {
        threat: Threat::AlertFlood,
        action: Action::Alert,
        evidence: Evidence::sign(threat.name()),
    }
}
