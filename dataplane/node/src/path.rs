//! ★ Start here: the packet's way, as a list of calls in order.
//!
//! ```text
//! rx → decode → defragment → track → reassemble → identify → parse → scan → decide → tx
//! ```
//!
//! A worker owns one [`Path`] and everything in it; nothing is shared. [`Path::run`] takes a burst
//! of frames along the way; each stage is one file in `stage/`, which opens with what it trusts and
//! what it distrusts. A frame leaves as soon as its [`Fate`] is known: a settled flow's packets go
//! from track to tx, a denied flow's end at track. Plain packets of settled flows do not even come
//! that far: `stage/short.rs` does for them in one go what decode, track and tx would do.
//!
//! Memory: everything is allocated by [`Path::new`] from [`Limits`]; nothing is allocated per packet.
//! Every frame that comes in is transmitted, tapped, handed over, dropped under a [`Reason`], or held;
//! [`FrameCounts::balances`] says so and the tests ask it.

use std::sync::Arc;

use arrayvec::ArrayVec;
use weir_flow::{Defragmenter, FlowId, Oriented, Reassembler};
use weir_policy::Snapshot;
use weir_sigs::sensor::SensorScanner;
use weir_sigs::{Prepared, Scanner};
use weir_threat::protocols::kubernetes::ExternalAddresses;
use weir_wire::{Direction, Packet, Reason};

use crate::alarm::AlarmBudget;
use crate::capture::Recorder;
use crate::counters::{Stage, Stages};
use crate::event::Events;
use crate::flows::Flows;
use crate::handover::Ownership;
use crate::hold::Hold;
use crate::inspection::Inspection;
use crate::io::{BURST, FrameCounts, FrameSource, Outbox, PortIndex, Role};
use crate::limits::{Limits, Rules};
use crate::policy::Policy;
use crate::stage::short::{Places, Plain};
use crate::threat_policies::ThreatPolicies;

/// Most flows looked at by one [`Path::tick`].
pub(crate) const EXPIRE_BUDGET: usize = 1024;

/// A frame and the port it came in by.
pub struct Arrived<F> {
    /// The frame.
    pub frame: F,
    /// Its port.
    pub port: PortIndex,
    /// When it was received, microseconds on the worker's clock.
    pub received_us: u64,
    /// It is already on the worker that owns its flow: not to be handed over again.
    pub at_owner: bool,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The next stage looks at it.
    Continue,
    /// To the peer port.
    Forward,
    /// It ends here.
    Drop(Reason),
    /// It is kept for later: a fragment that waits for its datagram, a packet of an unknown address.
    Held,
}

/// A frame on its way.
pub(crate) struct Slot<F> {
    /// None once the frame is held or handed over.
    pub arrived: Option<Arrived<F>>,
    /// None where decode refused it.
    pub packet: Option<Packet>,
    /// Set by track's first pass, or on the short way before: key, orientation, hash.
    pub key: Option<(Oriented, u64)>,
    /// Set by track's second pass: the flow that had this key then.
    pub known: Option<FlowId>,
    /// Set by track for packets that the following stages look at.
    pub flow: Option<(FlowId, Direction)>,
    pub fate: Fate,
}

impl<F> Slot<F> {
    pub fn new(arrived: Arrived<F>) -> Self {
        Self {
            arrived: Some(arrived),
            packet: None,
            key: None,
            known: None,
            flow: None,
            fate: Fate::Continue,
        }
    }
}

/// The way of packets on one worker.
pub struct Path<S: FrameSource> {
    pub(crate) rules: Rules,
    pub(crate) roles: Vec<Role>,
    pub(crate) frames: S,
    /// The burst on its way, at most [`BURST`]; a vector, which [`Self::walk`] can take out for nothing.
    pub(crate) slots: Vec<Slot<S::Frame>>,
    /// The plain packets of the burst; a vector for the same reason.
    pub(crate) plain: Vec<Plain>,
    /// Those of the burst that took the short way and end on it: threat detectors drop them.
    pub(crate) short_dropped: Places,
    /// Counts bursts: a flow that bears its number waits for a packet on the long way.
    pub(crate) short_bursts: u8,
    pub(crate) defragmenter: Defragmenter<Arrived<S::Frame>>,
    pub(crate) datagram: Vec<u8>,
    /// Packets found inside of foreign tunnels, as frames; none are looked for inline.
    pub(crate) inside: Vec<Vec<u8>>,
    /// A stretch of buffered content while it is read.
    pub(crate) stretch: Vec<u8>,
    /// Frames whose fate was found outside their slot.
    pub(crate) late: Vec<(Arrived<S::Frame>, Fate)>,
    pub(crate) due: Vec<FlowId>,
    pub(crate) ownership: Ownership<S::Frame>,
    pub(crate) flows: Flows,
    pub(crate) reassembler: Reassembler,
    pub(crate) inspection: Inspection,
    pub(crate) policy: Policy,
    /// The policy's epoch in which these signatures came.
    pub(crate) signatures_since: u32,
    pub(crate) threat_policies: ThreatPolicies,
    pub(crate) hold: Hold<S::Frame>,
    pub(crate) alarms: AlarmBudget,
    /// The flow that the packet on its way raised an alert in.
    pub(crate) alarmed: Option<u64>,
    /// Copies packets that somebody wants to see; mostly nobody does.
    pub(crate) recorder: Option<Recorder>,
    pub(crate) events: Box<dyn Events>,
    pub(crate) resets: ArrayVec<(PortIndex, S::Frame), { 2 * BURST }>,
    pub(crate) counts: FrameCounts,
    pub(crate) stages: Stages,
}

impl<S: FrameSource> Path<S> {
    /// Allocates everything this worker will use. `roles` has one entry per port.
    pub fn new(
        limits: &Limits,
        rules: Rules,
        roles: Vec<Role>,
        frames: S,
        ownership: Ownership<S::Frame>,
        inspection: Inspection,
        events: Box<dyn Events>,
    ) -> Self {
        Self {
            defragmenter: Defragmenter::new(limits.fragments, limits.secret),
            datagram: Vec::with_capacity(usize::from(u16::MAX) + 64),
            inside: Vec::new(),
            late: Vec::with_capacity(4 * BURST),
            due: Vec::with_capacity(EXPIRE_BUDGET),
            stretch: Vec::with_capacity(usize::from(u16::MAX)),
            flows: Flows::new(limits, ownership.index()),
            reassembler: Reassembler::new(limits.reassembly),
            hold: Hold::new(limits.held_packets),
            policy: Policy::new(limits.learned_names),
            threat_policies: ThreatPolicies::new(match &inspection.threats {
                Some(threats) => Arc::clone(threats.config()),
                None => Arc::clone(&rules.threats),
            }),
            signatures_since: 0,
            alarmed: None,
            recorder: None,
            alarms: AlarmBudget::new(limits.alarms_per_second),
            slots: Vec::with_capacity(BURST),
            plain: Vec::with_capacity(BURST),
            short_dropped: 0,
            short_bursts: 0,
            resets: ArrayVec::new(),
            counts: FrameCounts::default(),
            stages: Stages::default(),
            rules,
            roles,
            frames,
            ownership,
            inspection,
            events,
        }
    }

    /// Takes frames along the way, [`BURST`] at a time. `burst` is empty afterwards; what leaves is in
    /// `out`.
    pub fn run(
        &mut self,
        burst: &mut Vec<Arrived<S::Frame>>,
        now_us: u64,
        out: &mut Outbox<S::Frame>,
    ) {
        while !burst.is_empty() {
            self.stages.start();
            let taken = burst.len().min(BURST);
            self.counts.received += taken as u64;
            let short = self.short_way(&burst[..taken], now_us);
            if short.count_ones() as usize == taken && self.short_dropped == 0 {
                self.forward_all(burst, taken, out);
                self.stages.all_short(taken);
                continue;
            }
            self.receive(burst, taken, short);
            self.stages.lap(Stage::Receive, taken);
            self.walk(now_us, out);
        }
    }

    /// decode … tx, for the frames in the slots.
    pub(crate) fn walk(&mut self, now_us: u64, out: &mut Outbox<S::Frame>) {
        // Out of the path, so that a stage can look at a slot while it changes the rest.
        let mut slots = std::mem::take(&mut self.slots);
        self.decode(&mut slots, now_us);
        self.stages.lap(Stage::Decode, slots.len());
        self.defragment(&mut slots, now_us);
        self.stages.lap(Stage::Defragment, 0);
        self.track(&mut slots, now_us);
        self.stages.lap(Stage::Track, slots.len());
        // reassemble → identify → parse → scan → decide: only where a flow is not settled.
        self.inspect(&mut slots, now_us);
        if self.recorder.is_some() {
            self.record_burst(&slots, now_us);
        }
        self.transmit(&mut slots, out);
        self.stages.lap(Stage::Transmit, slots.len());
        slots.clear();
        self.slots = slots;
    }

    /// Which ports spread flows over the workers by themselves, where that was not known at the start.
    pub fn spread_by(&mut self, device: &[bool]) {
        self.ownership.spread_by(device);
    }

    /// What time alone brings about: flows that end, fragments and held packets that waited long
    /// enough. Call it about every millisecond; the work of one call is bounded.
    pub fn tick(&mut self, now_us: u64, out: &mut Outbox<S::Frame>) {
        self.expire_fragments(now_us, out);
        self.release_held(now_us, out);
        self.expire_flows(now_us);
        self.detect_passing(now_us);
    }

    /// Puts a new policy in force. Call it between bursts. Every flow is asked again at its next
    /// packet; packets held for unknown addresses are asked again at the next tick.
    pub fn install(&mut self, snapshot: Arc<Snapshot>) {
        let claimed = snapshot.spec().claims != self.policy.snapshot().spec().claims;
        self.policy.install(snapshot);
        self.look_for_threats(self.threat_policies.node());
        if let Some(threats) = &mut self.inspection.threats
            && claimed
        {
            let claims = self.policy.snapshot().spec().claims.iter();
            let claims = claims.map(|claim| (claim.address, claim.service.as_str()));
            threats.claim(ExternalAddresses::new(claims));
        }
        self.hold.retry();
    }

    /// Looks for sensors with this from now on: those of the policy in force. Returns what was used
    /// before. Call it between bursts.
    pub fn sense_with(&mut self, scanner: Option<SensorScanner>) -> Option<SensorScanner> {
        self.inspection.sense_with(scanner)
    }

    /// Looks at packets by these rules from now on. Call it between bursts.
    pub fn look_by(&mut self, rules: Rules) {
        self.look_for_threats(Arc::clone(&rules.threats));
        self.rules = rules;
    }

    /// The node's configuration of threats, or what policy says of them, is another one.
    fn look_for_threats(&mut self, node: Arc<weir_threat::Config>) {
        if let Some(threats) = &mut self.inspection.threats {
            threats.configure(Arc::clone(&node));
        }
        self.threat_policies.renew(node, self.policy.snapshot());
    }

    /// Looks for other signatures from now on; returns what was used for those before. Call it between
    /// bursts. Settled flows are asked again at their next packet: some of it may be wanted now.
    pub fn look_for(&mut self, prepared: Prepared) -> Option<Prepared> {
        self.policy.renew();
        self.signatures_since = self.policy.epoch();
        self.inspection.install(prepared)
    }

    /// Ends every flow and gives every held frame up: the node stops.
    pub fn shut_down(&mut self, now_us: u64, out: &mut Outbox<S::Frame>) {
        self.drop_fragments(out);
        self.drop_held(out);
        self.end_flows(now_us);
    }

    /// Frames of the outbox that a full transmit queue refused: they were dropped after all.
    pub fn transmit_refused(&mut self, frames: u64) {
        self.counts.transmitted -= frames;
        self.counts.dropped[Reason::TransmitFull as usize] += frames;
    }

    /// Frames by fate so far.
    pub fn counts(&self) -> &FrameCounts {
        &self.counts
    }

    /// Per-stage counters.
    pub fn stages(&self) -> &Stages {
        &self.stages
    }

    /// Frames inside: fragments that wait, packets of unknown addresses.
    pub fn held(&self) -> u64 {
        (self.defragmenter.held() + self.hold.len()) as u64
    }

    /// Sizes for people and metrics: name, value.
    pub fn gauges(&self) -> [(&'static str, u64); 11] {
        let signatures = self.inspection.scanner.as_ref().map(Scanner::stats);
        let signatures = signatures.unwrap_or_default();
        let sensors = self.inspection.sensors.as_ref();
        [
            ("flows", self.flows.table.len() as u64),
            ("flow_capacity", self.flows.table.capacity() as u64),
            ("flows_made", self.flows.made()),
            ("flows_evicted", self.flows.table.evicted()),
            ("held_packets", self.hold.len() as u64),
            ("held_fragments", self.defragmenter.held() as u64),
            ("reassembly_bytes", self.reassembler.used_bytes() as u64),
            ("alarms_suppressed", self.alarms.suppressed()),
            ("signatures_suppressed", signatures.suppressed),
            ("signatures_not_looked_for", signatures.not_looked_for()),
            (
                "sensors_not_looked_for",
                sensors.map_or(0, SensorScanner::starved),
            ),
        ]
    }

    /// For how many more flows there is memory to look into.
    pub fn free_readings(&self) -> usize {
        self.inspection.readings.free()
    }

    /// Lets another worker's learned name count here.
    pub fn learn_name(&mut self, name: crate::event::LearnedName) {
        self.policy.learn(name);
        self.hold.retry();
    }

    /// The frames that other workers handed over, as many as fit a burst.
    pub fn take_handed_over(&mut self, into: &mut Vec<Arrived<S::Frame>>) {
        self.ownership.take(into, BURST);
    }

    /// rx: frames enter the way. Those that took the short way only wait for their turn to leave.
    #[inline(never)]
    fn receive(&mut self, burst: &mut Vec<Arrived<S::Frame>>, taken: usize, short: Places) {
        for (index, arrived) in burst.drain(..taken).enumerate() {
            let mut slot = Slot::new(arrived);
            if self.short_dropped & 1 << index != 0 {
                slot.fate = Fate::Drop(Reason::Threat);
            } else if short & 1 << index != 0 {
                slot.fate = Fate::Forward;
            }
            self.slots.push(slot);
        }
        self.hand_keys_on(short);
    }

    /// tx: each frame goes where its fate says, and is counted there.
    #[inline(never)]
    fn transmit(&mut self, slots: &mut [Slot<S::Frame>], out: &mut Outbox<S::Frame>) {
        self.dispose_late(out);
        for slot in slots {
            if let Some(arrived) = slot.arrived.take() {
                self.dispose(arrived, slot.fate, out);
            }
        }
        for (port, frame) in self.resets.drain(..) {
            self.counts.injected += 1;
            self.counts.transmitted += 1;
            out.transmit[usize::from(port)].push(frame);
        }
    }

    /// Shows the frame that raised an alert.
    pub(crate) fn show_evidence(&mut self, frame: &[u8], now_us: u64) {
        if let Some(flow) = self.alarmed.take() {
            self.events.evidence(now_us, flow, frame);
        }
    }

    /// Ends one frame's way.
    pub(crate) fn dispose(
        &mut self,
        arrived: Arrived<S::Frame>,
        fate: Fate,
        out: &mut Outbox<S::Frame>,
    ) {
        match (fate, self.roles[usize::from(arrived.port)]) {
            (Fate::Drop(reason), Role::Inline { .. }) => {
                self.counts.dropped[reason as usize] += 1;
                out.finished.push(arrived.frame);
            }
            (_, Role::Inline { peer, .. }) => {
                self.counts.transmitted += 1;
                out.transmit[usize::from(peer)].push(arrived.frame);
            }
            (fate, Role::Tap { .. }) => {
                if let Fate::Drop(reason) = fate {
                    self.counts.spared[reason as usize] += 1;
                }
                self.counts.tapped += 1;
                out.finished.push(arrived.frame);
            }
        }
    }
}
