//! Two honest ends speak through the tracker and the reassembler over lines that lose, repeat and
//! reorder. Nothing that the receiver could have used is ever dropped for its numbers, the ends get
//! done, and what was inspected is what was sent.

mod common;

use common::Random;
use proptest::prelude::*;
use weir_flow::{
    Life, Reassembler, ReassemblyLimits, SegmentOutcome, StreamState, TcpConnection, TcpLimits,
    TcpVerdict, payload_sequence,
};
use weir_wire::tcp_flags::{ACK, FIN, SYN};
use weir_wire::{Direction, Reason, TcpFields};

/// What the ends and the lines are like.
#[derive(Clone, Debug)]
struct World {
    seed: u64,
    /// Bytes to send, each way.
    lengths: [u64; 2],
    /// Receive buffers.
    buffers: [u64; 2],
    scales: [Option<u8>; 2],
    loss_percent: u64,
    repeat_percent: u64,
    /// Segments are delayed by up to that many steps, each for itself.
    delay_max: u64,
    both_open: bool,
    /// Segments that pass before anybody looks: more than zero makes it a pick-up.
    unseen: u64,
}

fn worlds(unseen: impl Strategy<Value = u64>) -> impl Strategy<Value = World> {
    let scale = prop::option::of(0u8..15);
    let length = prop_oneof![0u64..200, 0u64..30_000];
    (
        any::<u64>(),
        [length.clone(), length],
        [200u64..100_000, 200u64..3_000],
        [scale.clone(), scale],
        (0u64..25, 0u64..15, 1u64..12),
        any::<bool>(),
        unseen,
    )
        .prop_map(
            |(
                seed,
                lengths,
                buffers,
                scales,
                (loss_percent, repeat_percent, delay_max),
                both_open,
                unseen,
            )| {
                // A window that its own scale rounds down to nothing is no honest offer.
                let buffer = |side: usize| {
                    scales[side].map_or(buffers[side], |scale| buffers[side].max(3 << scale))
                };
                World {
                    seed,
                    lengths,
                    buffers: [buffer(0), buffer(1)],
                    scales,
                    loss_percent,
                    repeat_percent,
                    delay_max,
                    // Half of two SYNs that crossed looks like one that nobody answered.
                    both_open: both_open && unseen == 0,
                    unseen,
                }
            },
        )
}

/// Byte at an offset of a direction's stream.
fn content(direction: Direction, offset: u64) -> u8 {
    (offset
        .wrapping_mul(0x9e37_79b9)
        .wrapping_add(direction as u64 * 77)
        >> 9) as u8
}

#[derive(Clone)]
struct Segment {
    direction: Direction,
    tcp: TcpFields,
    payload: Vec<u8>,
}

impl Segment {
    fn length(&self) -> u64 {
        self.payload.len() as u64
            + u64::from(self.tcp.flags & SYN != 0)
            + u64::from(self.tcp.flags & FIN != 0)
    }
}

/// One end. Offsets count sequence numbers from its SYN: SYN is 0, data begins at 1, FIN is behind it.
struct End {
    direction: Direction,
    first: u32,
    data: u64,
    scale: Option<u8>,
    buffer: u64,
    unacknowledged: u64,
    next: u64,
    /// Highest offset ever sent.
    sent: u64,
    /// What the peer lets it send, exclusive.
    edge: u64,
    /// The largest window that the peer offered.
    peer_window: u64,
    peer_first: Option<u32>,
    peer_scale: Option<u8>,
    /// Offsets of the peer's that were received.
    received: Vec<bool>,
    expected: u64,
    read: u64,
    answer: bool,
    opens: bool,
    quiet: u64,
}

impl End {
    fn new(world: &World, direction: Direction, random: &mut Random) -> Self {
        let side = direction as usize;
        Self {
            direction,
            first: random.next() as u32,
            data: world.lengths[side],
            scale: world.scales[side],
            buffer: world.buffers[side],
            unacknowledged: 0,
            next: 0,
            sent: 0,
            edge: 1,
            peer_window: 1,
            peer_first: None,
            peer_scale: None,
            received: vec![false; world.lengths[1 - side] as usize + 2],
            expected: 0,
            read: 1,
            answer: false,
            opens: direction == Direction::ToServer || world.both_open,
            quiet: 0,
        }
    }

    fn end(&self) -> u64 {
        self.data + 2
    }

    fn is_done(&self) -> bool {
        self.unacknowledged == self.end() && self.expected == self.received.len() as u64
    }

    fn make(&self, offset: u64, length: u64) -> Segment {
        let until = offset + length;
        let mut flags = if self.peer_first.is_some() { ACK } else { 0 };
        if offset == 0 && length > 0 {
            flags |= SYN;
        }
        if length > 0 && until == self.end() {
            flags |= FIN;
        }
        let bytes = offset.max(1)..until.min(self.data + 1).max(offset.max(1));
        let shift = match (flags & SYN != 0, self.scale, self.peer_scale) {
            (false, Some(own), Some(_)) => own.min(14),
            _ => 0,
        };
        let room = (self.read + self.buffer).saturating_sub(self.expected.max(1));
        Segment {
            direction: self.direction,
            tcp: TcpFields {
                sequence: self.first.wrapping_add(offset as u32),
                acknowledgement: self
                    .peer_first
                    .map_or(0, |first| first.wrapping_add(self.expected as u32)),
                flags,
                window: (room >> shift).min(65_535) as u16,
                window_scale: if flags & SYN != 0 { self.scale } else { None },
            },
            payload: bytes
                .map(|offset| content(self.direction, offset))
                .collect(),
        }
    }

    fn receive(&mut self, segment: &Segment) {
        let tcp = &segment.tcp;
        if tcp.flags & SYN != 0 {
            self.peer_first = Some(tcp.sequence);
            self.peer_scale = tcp.window_scale;
            self.answer = true;
        }
        let Some(peer_first) = self.peer_first else {
            return;
        };
        if self.is_too_old(tcp) {
            return;
        }
        self.accept_acknowledgement(tcp);
        // A segment one behind the SYN's (a keepalive) counts from there too.
        let start = i64::from(tcp.sequence.wrapping_sub(peer_first) as i32);
        let limit = self.read + self.buffer + 1;
        for offset in start..start + segment.length() as i64 {
            if offset >= 0 && (offset as u64) < limit && (offset as usize) < self.received.len() {
                self.received[offset as usize] = true;
            }
        }
        while self.received.get(self.expected as usize) == Some(&true) {
            self.expected += 1;
        }
        self.answer |= segment.length() > 0 || (start as u64) < self.expected;
    }

    /// RFC 5961, 5.2: such a segment is discarded, whatever else it holds.
    fn is_too_old(&self, tcp: &TcpFields) -> bool {
        let behind = (self.first.wrapping_add(self.unacknowledged as u32))
            .wrapping_sub(tcp.acknowledgement) as i32;
        tcp.flags & ACK != 0 && i64::from(behind) > self.peer_window as i64
    }

    fn accept_acknowledgement(&mut self, tcp: &TcpFields) {
        if tcp.flags & ACK == 0 {
            return;
        }
        let acknowledged = u64::from(tcp.acknowledgement.wrapping_sub(self.first));
        if acknowledged > self.sent || acknowledged + (1 << 30) < self.sent {
            return;
        }
        self.unacknowledged = self.unacknowledged.max(acknowledged);
        self.next = self.next.max(self.unacknowledged);
        let shift = match (tcp.flags & SYN != 0, self.scale, self.peer_scale) {
            (false, Some(_), Some(peer)) => peer.min(14),
            _ => 0,
        };
        let window = u64::from(tcp.window) << shift;
        self.peer_window = self.peer_window.max(window);
        self.edge = self.edge.max(acknowledged + window);
    }

    /// What it sends in one step.
    fn speak(&mut self, random: &mut Random, out: &mut Vec<Segment>) {
        if !self.opens && self.peer_first.is_none() {
            return;
        }
        self.read += random.below(self.expected.saturating_sub(self.read) + 1);
        self.quiet += 1;
        let length = if self.unacknowledged == 0 {
            // SYN, again and again.
            if self.sent > 0 && self.quiet < 30 && !self.answer {
                0
            } else {
                1
            }
        } else if self.quiet > 30 + random.below(30) {
            self.repeat_or_probe(random, out);
            0
        } else {
            let until = self.edge.min(self.data + 1);
            let whole = until.saturating_sub(self.next).min(1 + random.below(1_460));
            // FIN goes with the last data, or alone, whatever the window.
            whole + u64::from(self.next + whole == self.data + 1)
        };
        if length > 0 {
            self.quiet = 0;
            out.push(self.make(self.next, length));
            self.sent = self.sent.max(self.next + length);
            if self.unacknowledged > 0 {
                self.next += length;
            }
        } else if self.unacknowledged > 0 && (self.answer || random.chance(2)) {
            out.push(self.make(self.next, 0));
        }
        self.answer = false;
    }

    fn repeat_or_probe(&mut self, random: &mut Random, out: &mut Vec<Segment>) {
        self.quiet = 0;
        if self.unacknowledged < self.sent {
            // Cut otherwise than the first time.
            let length = (self.sent - self.unacknowledged).min(1 + random.below(2_000));
            out.push(self.make(self.unacknowledged, length));
        } else if self.next < self.end() {
            out.push(self.make(self.next, 1));
            self.sent = self.next + 1;
        } else {
            out.push(self.make(self.unacknowledged - 1, 0));
        }
    }
}

/// The appliance between the ends.
struct Middle {
    connection: Option<TcpConnection>,
    pool: Reassembler,
    streams: [StreamState; 2],
    /// What was inspected: position and byte agree with what the sender sends there.
    inspected: [u64; 2],
    lost: [u64; 2],
    /// Offsets of bytes that were let on, and where looking began.
    shown: [Vec<bool>; 2],
    began: [Option<u64>; 2],
}

impl Middle {
    fn new(world: &World) -> Self {
        let limits = ReassemblyLimits {
            pool_bytes: 8 << 20,
            per_stream_bytes: 0,
            unacked_bytes: 0,
        };
        Self {
            connection: None,
            pool: Reassembler::new(limits),
            streams: Default::default(),
            inspected: [0; 2],
            lost: [0; 2],
            shown: world.lengths.map(|length| vec![false; length as usize + 2]),
            began: [None; 2],
        }
    }

    /// None: forward. Otherwise the reason to drop.
    fn pass(&mut self, segment: &Segment, ends: &[End; 2]) -> Option<Reason> {
        let (direction, tcp, length) = (
            segment.direction,
            &segment.tcp,
            segment.payload.len() as u32,
        );
        // The smallest slack there may be, so that the windows alone decide.
        let limits = TcpLimits {
            acknowledgement_slack_bytes: 0,
            ..TcpLimits::default()
        };
        let verdict = match &mut self.connection {
            None => TcpVerdict::Reopen,
            Some(connection) => connection.segment(direction, tcp, length, &limits),
        };
        match verdict {
            TcpVerdict::Drop(reason) => return Some(reason),
            TcpVerdict::Reopen => {
                assert!(
                    self.connection.as_ref().is_none_or(|old| old.picked_up()),
                    "a whole connection is not opened twice: {segment:?}",
                    segment = (direction, tcp)
                );
                self.connection = Some(TcpConnection::open_from(direction, tcp, length));
                self.streams
                    .iter_mut()
                    .for_each(|stream| self.pool.close(stream));
                self.inspected = [0; 2];
                self.lost = [0; 2];
                self.began = [None; 2];
                self.shown.iter_mut().for_each(|shown| shown.fill(false));
            }
            TcpVerdict::Accept | TcpVerdict::AcceptLife(_) => {}
        }
        self.reassemble(segment, ends)
    }

    fn reassemble(&mut self, segment: &Segment, ends: &[End; 2]) -> Option<Reason> {
        let (direction, tcp) = (segment.direction, &segment.tcp);
        if tcp.flags & ACK != 0 {
            let other = direction.reverse() as usize;
            self.pool
                .acknowledged(&mut self.streams[other], tcp.acknowledgement);
            while self.streams[other].is_behind() {
                self.jump(direction.reverse(), ends);
                self.drain(direction.reverse(), ends);
            }
        }
        let stream = &mut self.streams[direction as usize];
        if segment.payload.is_empty() && tcp.flags & (SYN | FIN) == 0 {
            return None;
        }
        let sequence = payload_sequence(tcp);
        if tcp.flags & FIN != 0 {
            self.pool
                .finish(stream, sequence.wrapping_add(segment.payload.len() as u32));
        }
        match self.pool.segment(stream, sequence, &segment.payload) {
            SegmentOutcome::InOrder { fresh } => {
                let at = sequence.wrapping_add(fresh.start as u32);
                self.inspect(direction, at, &segment.payload[fresh], ends);
                self.drain(direction, ends);
            }
            SegmentOutcome::Drop(Reason::StreamLimit) => return Some(Reason::StreamLimit),
            SegmentOutcome::Buffered | SegmentOutcome::Repeated => {}
            other => panic!("{other:?}"),
        }
        let (side, offset) = (
            direction as usize,
            sequence.wrapping_sub(ends[direction as usize].first) as usize,
        );
        self.began[side].get_or_insert(offset as u64);
        self.shown[side][offset..offset + segment.payload.len()].fill(true);
        None
    }

    fn jump(&mut self, direction: Direction, ends: &[End; 2]) {
        let side = direction as usize;
        let from = self.streams[side]
            .next_sequence()
            .wrapping_sub(ends[side].first) as usize;
        let lost = self.pool.jump_gap(&mut self.streams[side]);
        assert!(
            self.shown[side][from..from + lost as usize]
                .iter()
                .all(|shown| !shown),
            "jumped over what was let on"
        );
        self.lost[side] += lost;
    }

    fn drain(&mut self, direction: Direction, ends: &[End; 2]) {
        loop {
            let at = self.streams[direction as usize].next_sequence();
            let Some(run) = self
                .pool
                .next_buffered(&mut self.streams[direction as usize])
            else {
                return;
            };
            let run = run.to_vec();
            self.inspect(direction, at, &run, ends);
        }
    }

    fn inspect(&mut self, direction: Direction, sequence: u32, bytes: &[u8], ends: &[End; 2]) {
        let offset = u64::from(sequence.wrapping_sub(ends[direction as usize].first));
        for (index, &byte) in bytes.iter().enumerate() {
            assert_eq!(
                byte,
                content(direction, offset + index as u64),
                "inspected at the wrong place"
            );
        }
        self.inspected[direction as usize] += bytes.len() as u64;
    }
}

/// True when nobody has a use for the segment: the receiver discards it, or the sender knows that all of it arrived, and so does the
/// receiver of what it acknowledges.
fn is_useless(segment: &Segment, ends: &[End; 2]) -> bool {
    let receiver = &ends[segment.direction.reverse() as usize];
    let sender = &ends[segment.direction as usize];
    let end =
        u64::from(segment.tcp.sequence.wrapping_sub(sender.first)).wrapping_add(segment.length());
    let acknowledged = u64::from(segment.tcp.acknowledgement.wrapping_sub(receiver.first));
    receiver.is_too_old(&segment.tcp)
        || end <= sender.unacknowledged && acknowledged <= receiver.unacknowledged
}

/// Plays it and returns the appliance.
fn play(world: &World) -> Middle {
    let mut random = Random::new(world.seed);
    let mut ends = [Direction::ToServer, Direction::ToClient]
        .map(|direction| End::new(world, direction, &mut random));
    let mut middle = Middle::new(world);
    let mut lines: [Vec<(u64, Segment)>; 2] = Default::default();
    let mut passed = 0;
    for step in 0..100_000u64 {
        let mut spoken = Vec::new();
        ends.iter_mut()
            .for_each(|end| end.speak(&mut random, &mut spoken));
        send(world, &mut random, step, spoken, &mut lines[0]);
        let mut forwarded = Vec::new();
        for segment in due(&mut lines[0], step) {
            passed += 1;
            let reason = if passed > world.unseen {
                middle.pass(&segment, &ends)
            } else {
                None
            };
            match reason {
                None => forwarded.push(segment),
                Some(Reason::StreamLimit) => {}
                Some(reason) => assert!(
                    is_useless(&segment, &ends),
                    "dropped ({reason:?}) what was of use: {:?} {:?}\n{:?}",
                    segment.direction,
                    segment.tcp,
                    middle.connection
                ),
            }
        }
        send(world, &mut random, step, forwarded, &mut lines[1]);
        for segment in due(&mut lines[1], step) {
            ends[segment.direction.reverse() as usize].receive(&segment);
        }
        if ends.iter().all(End::is_done) {
            return middle;
        }
    }
    panic!(
        "the ends did not get done: {:?}",
        ends.map(|end| (end.unacknowledged, end.next, end.edge, end.expected))
    );
}

fn send(
    world: &World,
    random: &mut Random,
    step: u64,
    segments: Vec<Segment>,
    line: &mut Vec<(u64, Segment)>,
) {
    for segment in segments {
        if random.chance(world.repeat_percent) {
            line.push((step + random.below(world.delay_max * 4), segment.clone()));
        }
        if !random.chance(world.loss_percent) {
            line.push((step + random.below(world.delay_max), segment));
        }
    }
}

fn due(line: &mut Vec<(u64, Segment)>, step: u64) -> Vec<Segment> {
    let (now, later) = std::mem::take(line)
        .into_iter()
        .partition(|(at, _)| *at <= step);
    *line = later;
    let now: Vec<(u64, Segment)> = now;
    now.into_iter().map(|(_, segment)| segment).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn honest_ends_are_never_disturbed(world in worlds(Just(0))) {
        let middle = play(&world);
        prop_assert_eq!(middle.inspected, world.lengths, "every byte is inspected once");
        prop_assert_eq!(middle.lost, [0, 0]);
        let connection = middle.connection.expect("was opened");
        prop_assert!(!connection.picked_up());
        prop_assert!(matches!(connection.life(), Life::Closed | Life::Closing), "{:?}", connection);
    }

    #[test]
    fn nor_are_those_picked_up_in_their_middle(world in worlds(1u64..60)) {
        let middle = play(&world);
        for side in 0..2 {
            if let Some(began) = middle.began[side] {
                let looked_at = began + middle.inspected[side] + middle.lost[side];
                let let_on = middle.shown[side].iter().rposition(|&shown| shown).map_or(0, |last| last as u64 + 1);
                prop_assert!(looked_at >= let_on, "let on to {} but looked at to {}", let_on, looked_at);
            }
        }
    }
}
