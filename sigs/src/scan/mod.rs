//! From bytes to matches, on one worker.
//!
//! A connection gets a [`ScanFlow`] and is told as it goes: [`Scanner::message`] when the parser tells one,
//! [`Scanner::buffer`] for what is in it, then [`Scanner::stream`] for the bytes of TCP in order or
//! [`Scanner::packet`] for each packet, [`Scanner::close`] at its end. What is found is put into [`Hits`].
//!
//! Trusts: the facts. Distrusts: every byte. Memory: all of it is allocated by [`Prepared::new`], in
//! proportion to [`Limits`]; a call allocates nothing, but in the engine that tracks back for the few
//! expressions that no other takes ([`Stats::backtracked`]).

mod ahead;
mod evaluate;
mod facts;
mod feed;
mod flows;
mod found;
mod gate;
mod head;
mod hits;
mod lane;
mod numbers;
mod remember;
mod table;
mod text;
mod transform;
mod wanted;
mod worker;

use std::sync::Arc;

use weir_l7::{Buffer, BufferSet, Content};
use weir_wire::Direction;

use crate::compile::{Field, RuleSet};
use crate::rule::PacketHeader;
use facts::PacketNumbers;
use flows::LASTING;
use gate::Occasion;
use lane::{LaneKey, NONE};
use text::End;
use worker::{Call, Worker, number, packet_field, packet_list};

pub use facts::{Facts, PacketFacts, Session};
pub use flows::ScanFlow;
pub use hits::{EXCERPT_BYTES, Excerpt, HITS_PER_CALL, Hit, Hits, Where};
pub use wanted::Wanted;

/// Memory of one scanner.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at a time. Each direction has 4 KiB and its streaming state reserved.
    pub flows: usize,
    /// Long contents (bodies, files) at a time, beside the streams themselves.
    pub streamed: usize,
    /// Messages at a time about which something is known.
    pub messages: usize,
    /// Bits of hosts, numbers of connections and members put into sets.
    pub remembered: usize,
    /// Counts of thresholds.
    pub counted: usize,
    /// How often one rule is told of one connection in a second.
    pub told_per_second: u32,
    /// Keys the tables; secret, or a sender could aim at one bucket.
    pub secret: [u64; 2],
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            flows: 1 << 14,
            streamed: 1 << 11,
            messages: 1 << 15,
            remembered: 1 << 15,
            counted: 1 << 16,
            told_per_second: 20,
            secret: [0; 2],
        }
    }
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes looked at, once for each database.
    pub scanned_bytes: u64,
    /// Conditions asked in full.
    pub evaluations: u64,
    /// Of these, given up because they took too many steps.
    pub overruns: u64,
    /// Searches by the engine that tracks back.
    pub backtracked: u64,
    /// Rules that fired and were told or act.
    pub hits: u64,
    /// Rules that fired and were not told because they were too many.
    pub suppressed: u64,
    /// Rules that fired and found no place.
    pub lost_hits: u64,
    /// Contents that were looked at piece by piece, for there was no place for them.
    pub without_lane: u64,
    /// Messages of which rules with several buffers were not asked, for there was no place for them.
    pub without_message: u64,
    /// What was remembered and was forgotten before its time.
    pub forgotten: u64,
    /// Buffers that were cut because their transform became too long.
    pub cut: u64,
}

impl Stats {
    /// How often something was not looked at, or not in full, or what was found got lost, for want of
    /// place or steps.
    pub fn not_looked_for(&self) -> u64 {
        self.without_lane
            + self.without_message
            + self.lost_hits
            + self.forgotten
            + self.overruns
            + self.cut
    }
}

/// Why scanning cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error(
    "the memory for scanning {flows} connections cannot be had: {source}; lower limits.sessions or load fewer rules"
)]
pub struct ScannerError {
    flows: usize,
    source: hyperscan::Error,
}

/// A rule set with all memory for scanning under it; made off the workers, and handed to one.
pub struct Prepared(Box<Worker>);

impl Prepared {
    /// Allocates everything.
    pub fn new(set: Arc<RuleSet>, limits: &Limits) -> Result<Self, ScannerError> {
        Worker::new(set, limits).map(|worker| Self(Box::new(worker)))
    }
}

/// Looks for rules.
pub struct Scanner {
    worker: Box<Worker>,
    epoch: u32,
}

impl Scanner {
    /// A scanner for one rule set.
    pub fn new(set: Arc<RuleSet>, limits: &Limits) -> Result<Self, ScannerError> {
        Prepared::new(set, limits).map(Self::with)
    }

    /// A scanner with what was prepared.
    pub fn with(prepared: Prepared) -> Self {
        Self {
            worker: prepared.0,
            epoch: 0,
        }
    }

    /// Goes on under another rule set of the same limits. Connections that are open stay so; what
    /// was begun of them is looked for anew from their next byte on. The old one is given back: dropping
    /// it takes time, which is not the worker's.
    pub fn install(&mut self, prepared: Prepared) -> Prepared {
        let mut old = std::mem::replace(&mut self.worker, prepared.0);
        self.worker.flows.adopt(&mut old.flows);
        self.epoch = self.epoch.wrapping_add(1);
        Prepared(old)
    }

    /// The rule set, to be kept.
    pub fn rules_shared(&self) -> Arc<RuleSet> {
        Arc::clone(&self.worker.set)
    }

    /// The rule set.
    pub fn rules(&self) -> &RuleSet {
        &self.worker.set
    }

    /// The buffers that its rules look into, by direction.
    pub fn wants(&self) -> [BufferSet; 2] {
        self.worker.set.wants()
    }

    /// What was counted since the rule set was installed.
    pub fn stats(&self) -> Stats {
        self.worker.stats()
    }

    /// Memory of what is kept by connection; to this comes [`crate::Report::stream_bytes`] for each.
    pub fn memory_bytes(&self) -> usize {
        self.worker.memory_bytes()
    }

    /// A connection; None where all are in use.
    pub fn open(&mut self) -> Option<ScanFlow> {
        self.worker.flows.open(self.epoch)
    }

    /// Where a connection is; forgets what an older rule set left in it.
    fn enter(&mut self, flow: ScanFlow) -> Option<u32> {
        let index = self.worker.flows.find(flow)?;
        if self.worker.flows.get(index).epoch != self.epoch {
            self.worker.flows.begin(index, self.epoch);
        }
        Some(index)
    }

    fn call<'a>(
        &self,
        flow: Option<u32>,
        facts: &'a Facts<'a>,
        direction: Direction,
        message: u32,
        now_us: u64,
    ) -> Call<'a> {
        Call {
            on: Occasion {
                facts,
                direction,
                now_us,
                packet: flow.and_then(|flow| self.worker.flows.get(flow).packet),
                this_packet: None,
            },
            flow,
            message,
        }
    }

    /// A packet with its payload: of TCP a segment as it came, of anything else a datagram. Where a
    /// parser reads it, tell this behind what it told.
    pub fn packet(
        &mut self,
        flow: Option<ScanFlow>,
        facts: &Facts<'_>,
        packet: &PacketFacts<'_>,
        payload: &[u8],
        now_us: u64,
        hits: &mut Hits,
    ) {
        let flow = flow.and_then(|flow| self.enter(flow));
        let numbers = PacketNumbers::of(packet, facts.protocol);
        let direction = packet.direction;
        if let Some(flow) = flow {
            self.worker.flows.get_mut(flow).packet = Some(numbers);
            if self.worker.flows.get(flow).passed {
                return;
            }
            let lasting = self.worker.flows.message(flow, direction as usize, LASTING);
            if let (Some(lasting), true) = (lasting, facts.protocol != TCP) {
                // What was true of the last datagram is not true of this one.
                self.worker.flows.renew(lasting);
            }
        }
        let mut call = self.call(flow, facts, direction, LASTING, now_us);
        call.on.packet = Some(numbers);
        call.on.this_packet = Some(packet);
        self.worker
            .ask_listed(&call, |set| &set.packet_rules[packet_list(facts.protocol)]);
        if let Some(flow) = flow {
            self.worker.flows.get_mut(flow).asked_once[direction as usize] = true;
        }
        self.headers(&call, packet);
        if !payload.is_empty() || facts.protocol != TCP {
            self.worker
                .whole(&call, packet_field(facts.protocol), payload);
        }
        self.worker.settle(&call, hits);
    }

    fn headers(&mut self, call: &Call<'_>, packet: &PacketFacts<'_>) {
        let network = match call.on.facts.client.is_ipv4() {
            true => PacketHeader::Ipv4,
            false => PacketHeader::Ipv6,
        };
        self.worker
            .whole(call, Field::Header(network), packet.network);
        let transport = match call.on.facts.protocol {
            TCP => PacketHeader::Tcp,
            17 => PacketHeader::Udp,
            1 => PacketHeader::IcmpV4,
            58 => PacketHeader::IcmpV6,
            _ => return,
        };
        self.worker
            .whole(call, Field::Header(transport), packet.transport);
    }

    /// The bytes given to [`Self::ahead`] will not stay where they are. Call it before each packet.
    pub fn forget_ahead(&mut self) {
        self.worker.ahead.forget();
    }

    /// The next bytes of a direction, before their parser reads them; they must stay where they are in memory until
    /// [`Self::forget_ahead`]. What is in them is found for streams, segments and bodies at once, where these are
    /// the same bytes. Without it each is read by itself.
    pub fn ahead(&mut self, flow: ScanFlow, direction: Direction, bytes: &[u8]) {
        let Some(index) = self.enter(flow) else {
            return;
        };
        let state = self.worker.flows.get(index);
        if state.passed || bytes.is_empty() {
            return;
        }
        let position = state.positions[direction as usize];
        let lane = self.lane_or_new(index, Field::Stream, stream_key(direction), position);
        if let Some(lane) = lane {
            let key = (index, direction as usize);
            self.worker.read_ahead(key, lane, bytes);
        }
    }

    /// The next bytes of a direction of a TCP connection, in order.
    pub fn stream(
        &mut self,
        flow: ScanFlow,
        facts: &Facts<'_>,
        direction: Direction,
        bytes: &[u8],
        now_us: u64,
        hits: &mut Hits,
    ) {
        let Some(index) = self.enter(flow) else {
            return;
        };
        let state = self.worker.flows.get_mut(index);
        if state.passed || bytes.is_empty() {
            return;
        }
        let position = state.positions[direction as usize];
        state.positions[direction as usize] += bytes.len() as u64;
        let turned = state.last_direction.replace(direction) == Some(direction.reverse());
        if turned {
            let call = self.call(Some(index), facts, direction.reverse(), LASTING, now_us);
            if let Some(lane) = self.lane(index, stream_key(direction.reverse())) {
                // The other end answers: what waited for more bytes is decided on what is here.
                self.worker.ask_lane(&call, lane, End::Closed, false);
                self.worker.settle(&call, hits);
            }
        }
        let call = self.call(Some(index), facts, direction, LASTING, now_us);
        let lane = self.lane_or_new(index, Field::Stream, stream_key(direction), position);
        if let Some(lane) = lane {
            let key = (index, direction as usize);
            let was_read = self.worker.ahead.part(key, bytes).is_some();
            if !was_read {
                self.worker.read_ahead(key, lane, bytes);
            }
            self.worker.feed(&call, lane, bytes);
            if !was_read {
                // Where the caller keeps these bytes is not known.
                self.worker.ahead.forget();
            }
            self.worker.settle(&call, hits);
        }
    }

    /// So many bytes of a direction never came: what was begun before them is given up.
    pub fn gap(&mut self, flow: ScanFlow, direction: Direction, bytes: u64) {
        let Some(index) = self.enter(flow) else {
            return;
        };
        let state = self.worker.flows.get_mut(index);
        state.positions[direction as usize] += bytes;
        self.close_lane(index, stream_key(direction));
    }

    /// A new message begins: what holds of the last one counts no more.
    pub fn message(
        &mut self,
        flow: ScanFlow,
        facts: &Facts<'_>,
        direction: Direction,
        stream: u32,
        now_us: u64,
        hits: &mut Hits,
    ) {
        let Some(index) = self.enter(flow) else {
            return;
        };
        if self.worker.flows.get(index).passed {
            return;
        }
        if let Some(message) = self.worker.flows.message(index, direction as usize, stream) {
            self.worker.flows.renew(message);
        }
        let call = self.call(Some(index), facts, direction, stream, now_us);
        self.worker.ask_listed(&call, |set| &set.message_rules);
        self.worker.settle(&call, hits);
    }

    /// The application has said something that begins no message, or its parser objects.
    pub fn told(
        &mut self,
        flow: ScanFlow,
        facts: &Facts<'_>,
        direction: Direction,
        now_us: u64,
        hits: &mut Hits,
    ) {
        let Some(index) = self.enter(flow) else {
            return;
        };
        if self.worker.flows.get(index).passed {
            return;
        }
        let call = self.call(Some(index), facts, direction, LASTING, now_us);
        self.worker.ask_listed(&call, |set| &set.message_rules);
        self.worker.settle(&call, hits);
    }

    /// A buffer of the message, or a piece of one. The head of a message of HTTP is told before what is cut from it
    /// ([`Buffer::HttpStart`]): it is read for all of these at once.
    pub fn buffer(
        &mut self,
        flow: ScanFlow,
        facts: &Facts<'_>,
        direction: Direction,
        content: &Content<'_>,
        now_us: u64,
        hits: &mut Hits,
    ) {
        let Some(index) = self.enter(flow) else {
            return;
        };
        if self.worker.flows.get(index).passed {
            return;
        }
        if content.buffer == Buffer::HttpStart {
            self.worker.read_head(direction, content.bytes);
        }
        let field = Field::Buffer(content.buffer);
        let asked = self.worker.set.groups_of(field, direction as usize);
        if asked.is_empty() {
            return;
        }
        let call = self.call(Some(index), facts, direction, content.stream, now_us);
        let key = LaneKey {
            field: field.index() as u16,
            direction: number(direction),
            message: content.stream,
        };
        if content.begins.is_some() {
            self.close_lane(index, key);
        }
        if content.begins.is_some() && content.ends || !field.is_streamed() {
            self.worker.whole(&call, field, content.bytes);
        } else {
            self.piece(&call, index, key, content);
        }
        self.worker.settle(&call, hits);
    }

    fn piece(&mut self, call: &Call<'_>, flow: u32, key: LaneKey, content: &Content<'_>) {
        let field = Field::Buffer(content.buffer);
        let lane = match content.begins {
            Some(_) => self.lane_or_new(flow, field, key, 0),
            None => self.lane(flow, key),
        };
        let Some(lane) = lane else {
            self.worker.stats.without_lane += u64::from(content.begins.is_some());
            self.worker.whole(call, field, content.bytes);
            return;
        };
        self.worker.feed(call, lane, content.bytes);
        if content.ends {
            self.worker.ask_lane(call, lane, End::Closed, false);
            self.worker.transformed(call, lane);
            self.close_lane(flow, key);
        }
    }

    /// The connection is over: what waited for more bytes is decided, and its memory given back.
    pub fn close(&mut self, flow: ScanFlow, facts: &Facts<'_>, now_us: u64, hits: &mut Hits) {
        let Some(index) = self.enter(flow) else {
            return;
        };
        for direction in [Direction::ToServer, Direction::ToClient] {
            if self.worker.flows.get(index).passed {
                break;
            }
            let call = self.call(Some(index), facts, direction, LASTING, now_us);
            if let Some(lane) = self.lane(index, stream_key(direction)) {
                self.worker.ask_lane(&call, lane, End::Closed, false);
                self.worker.transformed(&call, lane);
            }
            self.worker.settle(&call, hits);
        }
        self.abandon(flow);
    }

    /// As [`Self::close`], without asking anything any more.
    pub fn abandon(&mut self, flow: ScanFlow) {
        let Some(index) = self.enter(flow) else {
            return;
        };
        let mut lane = self.worker.flows.get(index).lanes;
        while lane != NONE {
            let next = self.worker.lanes.lanes[lane as usize].next;
            self.worker.lanes.close(lane, &self.worker.tools.scratch);
            lane = next;
        }
        self.worker.flows.close(index);
    }

    fn lane(&self, flow: u32, key: LaneKey) -> Option<u32> {
        let mut lane = self.worker.flows.get(flow).lanes;
        while lane != NONE {
            let found = &self.worker.lanes.lanes[lane as usize];
            if found.key == key {
                return Some(lane);
            }
            lane = found.next;
        }
        None
    }

    /// A lane of the connection; a new one that begins at `position` where there is none.
    fn lane_or_new(&mut self, flow: u32, field: Field, key: LaneKey, position: u64) -> Option<u32> {
        if let Some(lane) = self.lane(flow, key) {
            return Some(lane);
        }
        let set = &self.worker.set;
        let groups = set.groups_of(field, usize::from(key.direction));
        let plain = groups
            .iter()
            .find(|&&group| set.groups[usize::from(group)].asked.transforms.is_empty());
        let group = *plain.or(groups.first())?;
        let lane = self.worker.lanes.open(key, group, set, position)?;
        let state = self.worker.flows.get_mut(flow);
        self.worker.lanes.lanes[lane as usize].next = state.lanes;
        state.lanes = lane;
        Some(lane)
    }

    fn close_lane(&mut self, flow: u32, key: LaneKey) {
        let (mut before, mut lane) = (NONE, self.worker.flows.get(flow).lanes);
        while lane != NONE {
            let Lane { next, key: its, .. } = self.worker.lanes.lanes[lane as usize];
            if its == key {
                match before {
                    NONE => self.worker.flows.get_mut(flow).lanes = next,
                    before => self.worker.lanes.lanes[before as usize].next = next,
                }
                self.worker.lanes.close(lane, &self.worker.tools.scratch);
                return;
            }
            before = lane;
            lane = next;
        }
    }
}

use lane::Lane;

/// IP protocol number.
const TCP: u8 = 6;

const fn stream_key(direction: Direction) -> LaneKey {
    LaneKey {
        field: Field::Stream.index() as u16,
        direction: number(direction),
        message: LASTING,
    }
}

/// Whether a buffer is looked at in pieces.
pub const fn is_piecewise(buffer: Buffer) -> bool {
    buffer.is_streamed()
}
