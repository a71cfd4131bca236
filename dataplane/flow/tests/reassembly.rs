//! Reassembly against sort-and-concatenate, and what its limits promise.

mod common;

use common::Random;
use proptest::prelude::*;
use weir_flow::{Reassembler, ReassemblyLimits, SegmentOutcome, StreamState};
use weir_wire::Reason;

/// Byte by byte: slow and obvious.
struct Oracle {
    held: Vec<Option<u8>>,
    next: usize,
    acknowledged: usize,
    unkept: u64,
}

impl Oracle {
    fn segment(&mut self, start: usize, payload: &[u8]) -> (SegmentOutcome, Vec<u8>) {
        let end = start + payload.len();
        let at = |position: usize| payload[position - start];
        let differs = (start.max(self.acknowledged)..end)
            .any(|position| self.held[position].is_some_and(|held| held != at(position)));
        if differs {
            return (SegmentOutcome::Drop(Reason::StreamMismatch), Vec::new());
        }
        if end <= self.next
            || (start..end).all(|position| start > self.next && self.held[position].is_some())
        {
            return (SegmentOutcome::Repeated, Vec::new());
        }
        if start > self.next {
            (start..end).for_each(|position| self.held[position] = Some(at(position)));
            return (SegmentOutcome::Buffered, Vec::new());
        }
        let fresh = self.next - start..payload.len();
        let mut bytes = payload[fresh.clone()].to_vec();
        for position in self.next..end {
            if self.unkept == 0 {
                self.held[position] = Some(at(position));
            }
            self.unkept = self.unkept.saturating_sub(1);
        }
        self.next = end;
        while let Some(byte) = self.held[self.next] {
            bytes.push(byte);
            self.next += 1;
            self.unkept = self.unkept.saturating_sub(1);
        }
        (SegmentOutcome::InOrder { fresh }, bytes)
    }

    fn acknowledge(&mut self, position: usize) {
        self.held[self.acknowledged..position].fill(None);
        self.acknowledged = position;
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Start relative to what is in order, length, and whether a byte is changed.
    Segment(i32, usize, bool),
    Acknowledge(u8),
    Skip(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (-3_000i32..6_000, 1usize..3_000, prop::bool::weighted(0.05)).prop_map(|(a, b, c)| Step::Segment(a, b, c)),
        3 => (1usize..5_000).prop_map(|length| Step::Segment(0, length, false)),
        2 => any::<u8>().prop_map(Step::Acknowledge),
        1 => (0u64..4_000).prop_map(Step::Skip),
    ];
    prop::collection::vec(step, 1..100)
}

fn content(position: usize) -> u8 {
    (position.wrapping_mul(0x9e37_79b1) >> 11) as u8
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn agrees_with_the_oracle(steps in steps(), first: u32) {
        let mut pool = Reassembler::new(ReassemblyLimits { pool_bytes: 64 << 20, ..ReassemblyLimits::default() });
        let mut stream = StreamState::default();
        pool.open(&mut stream, first);
        let mut oracle = Oracle { held: vec![None; 700_000], next: 0, acknowledged: 0, unkept: 0 };
        for step in steps {
            match step {
                Step::Segment(offset, length, changed) => {
                    let start = (oracle.next as i64 + i64::from(offset)).max(0) as usize;
                    let mut payload: Vec<u8> = (start..start + length).map(content).collect();
                    if changed {
                        payload[length / 2] ^= 1;
                    }
                    let (expected, bytes) = oracle.segment(start, &payload);
                    let outcome = pool.segment(&mut stream, first.wrapping_add(start as u32), &payload);
                    prop_assert_eq!(&outcome, &expected);
                    if let SegmentOutcome::InOrder { fresh } = outcome {
                        let mut got = payload[fresh].to_vec();
                        while let Some(run) = pool.next_buffered(&mut stream) {
                            got.extend_from_slice(run);
                        }
                        prop_assert!(got == bytes, "other bytes in order");
                    }
                    prop_assert_eq!(stream.next_sequence(), first.wrapping_add(oracle.next as u32));
                }
                Step::Acknowledge(part) => {
                    let open = oracle.next - oracle.acknowledged;
                    let position = oracle.acknowledged + open * usize::from(part) / 255;
                    oracle.acknowledge(position);
                    pool.acknowledged(&mut stream, first.wrapping_add(position as u32));
                }
                Step::Skip(length) => {
                    oracle.unkept = oracle.unkept.max(length);
                    pool.skip_kept(&mut stream, length);
                }
            }
        }
        pool.close(&mut stream);
        prop_assert_eq!(pool.used_bytes(), 0);
    }

    /// Cut anyhow, in any order, repeated and overlapping: what comes out is what was sent.
    #[test]
    fn any_order_gives_the_bytes_sent(seed: u64, first: u32, length in 1usize..60_000) {
        let mut random = Random::new(seed);
        let sent: Vec<u8> = (0..length).map(content).collect();
        let mut segments = Vec::new();
        let mut at = 0;
        while at < length {
            let end = (at + 1 + random.below(3_000) as usize).min(length);
            let early = at.saturating_sub(random.below(200) as usize);
            segments.push((early, end));
            if random.chance(20) {
                segments.push((at, end));
            }
            at = end;
        }
        for index in (1..segments.len()).rev() {
            segments.swap(index, random.below(index as u64 + 1) as usize);
        }
        let mut pool = Reassembler::new(ReassemblyLimits { pool_bytes: 64 << 20, ..ReassemblyLimits::default() });
        let mut stream = StreamState::default();
        pool.open(&mut stream, first);
        let mut got = Vec::new();
        for (start, end) in segments {
            let outcome = pool.segment(&mut stream, first.wrapping_add(start as u32), &sent[start..end]);
            prop_assert!(!matches!(outcome, SegmentOutcome::Drop(_)));
            if let SegmentOutcome::InOrder { fresh } = outcome {
                got.extend_from_slice(&sent[start..end][fresh]);
                while let Some(run) = pool.next_buffered(&mut stream) {
                    got.extend_from_slice(run);
                }
            }
        }
        prop_assert!(got == sent);
    }
}

fn small() -> Reassembler {
    Reassembler::new(ReassemblyLimits {
        pool_bytes: 16 << 20,
        per_stream_bytes: 256 << 10,
        unacked_bytes: 128 << 10,
    })
}

const SEGMENT: [u8; 1_000] = [7; 1_000];

#[test]
fn beyond_the_limit_is_dropped_and_the_gap_can_always_be_filled() {
    let mut pool = small();
    let mut stream = StreamState::default();
    pool.open(&mut stream, 0);
    let mut at = 1_000;
    while pool.segment(&mut stream, at, &SEGMENT) == SegmentOutcome::Buffered {
        at += 1_000;
    }
    assert_eq!(
        pool.segment(&mut stream, at, &SEGMENT),
        SegmentOutcome::Drop(Reason::StreamLimit)
    );
    assert!((120_000..=132_000).contains(&at), "{at}");
    assert_eq!(
        pool.segment(&mut stream, 300_000, &SEGMENT),
        SegmentOutcome::Drop(Reason::StreamLimit),
        "far beyond what the stream may have"
    );
    assert_eq!(
        pool.segment(&mut stream, 0, &SEGMENT),
        SegmentOutcome::InOrder { fresh: 0..1_000 }
    );
    while pool.next_buffered(&mut stream).is_some() {}
    assert_eq!(stream.next_sequence(), at);
    pool.acknowledged(&mut stream, at);
    assert_eq!(pool.used_bytes(), 0);
}

#[test]
fn without_acknowledgements_it_stops_and_with_them_it_goes_on() {
    let mut pool = small();
    let mut stream = StreamState::default();
    pool.open(&mut stream, u32::MAX - 50_000);
    let mut sent = 0u32;
    loop {
        let sequence = (u32::MAX - 50_000).wrapping_add(sent);
        match pool.segment(&mut stream, sequence, &SEGMENT) {
            SegmentOutcome::InOrder { .. } => sent += 1_000,
            other => {
                assert_eq!(other, SegmentOutcome::Drop(Reason::StreamLimit));
                break;
            }
        }
    }
    assert!((240_000..=260_000).contains(&sent), "{sent}");
    pool.acknowledged(&mut stream, (u32::MAX - 50_000).wrapping_add(sent - 10_000));
    let sequence = (u32::MAX - 50_000).wrapping_add(sent);
    assert_eq!(
        pool.segment(&mut stream, sequence, &SEGMENT),
        SegmentOutcome::InOrder { fresh: 0..1_000 }
    );
    pool.skip_kept(&mut stream, u64::MAX);
    for n in 1..2_000 {
        let outcome = pool.segment(&mut stream, sequence.wrapping_add(n * 1_000), &SEGMENT);
        assert_eq!(
            outcome,
            SegmentOutcome::InOrder { fresh: 0..1_000 },
            "opaque bytes need no memory"
        );
    }
}

#[test]
fn streams_out_of_order_cannot_take_the_memory_of_those_in_order() {
    let mut pool = small();
    let mut greedy: Vec<StreamState> = (0..20_000).map(|_| StreamState::default()).collect();
    for stream in &mut greedy {
        pool.open(stream, 0);
        pool.segment(stream, 10_000, &SEGMENT);
        pool.segment(stream, 20_000, &SEGMENT);
    }
    assert!(pool.used_bytes() <= (16 << 20) / 4 * 3);
    let mut honest = StreamState::default();
    pool.open(&mut honest, 0);
    for n in 0..1_000 {
        assert!(matches!(
            pool.segment(&mut honest, n * 1_000, &SEGMENT),
            SegmentOutcome::InOrder { .. }
        ));
        pool.acknowledged(&mut honest, (n + 1) * 1_000);
    }
    greedy.iter_mut().for_each(|stream| pool.close(stream));
    assert_eq!(pool.used_bytes(), 0);
}

#[test]
fn a_keepalive_with_a_byte_of_rubbish_passes() {
    let mut pool = small();
    let mut stream = StreamState::default();
    pool.open(&mut stream, 100);
    pool.segment(&mut stream, 100, b"hello");
    assert_eq!(
        pool.segment(&mut stream, 104, b"\0"),
        SegmentOutcome::Drop(Reason::StreamMismatch)
    );
    pool.acknowledged(&mut stream, 105);
    assert_eq!(
        pool.segment(&mut stream, 104, b"\0"),
        SegmentOutcome::Repeated
    );
    assert_eq!(
        pool.segment(&mut stream, 105, b""),
        SegmentOutcome::Repeated
    );
    assert_eq!(
        pool.segment(&mut stream, 103, b"??world"),
        SegmentOutcome::InOrder { fresh: 2..7 }
    );
}

#[test]
fn a_stream_all_of_which_was_acknowledged_holds_nothing() {
    let mut pool = small();
    let mut stream = StreamState::default();
    pool.open(&mut stream, 100);
    pool.segment(&mut stream, 100, b"hello");
    pool.acknowledged(&mut stream, 104);
    assert!(pool.used_bytes() > 0);
    pool.acknowledged(&mut stream, 105);
    assert_eq!(pool.used_bytes(), 0);
    pool.segment(&mut stream, 110, b"later");
    pool.acknowledged(&mut stream, 105);
    assert!(pool.used_bytes() > 0);
    pool.close(&mut stream);
}

#[test]
fn a_stream_given_up_passes_untracked_and_takes_nothing() {
    let mut pool = small();
    let mut stream = StreamState::default();
    pool.segment(&mut stream, 0, &SEGMENT);
    pool.segment(&mut stream, 5_000, &SEGMENT);
    pool.give_up(&mut stream);
    assert!(stream.is_given_up());
    assert_eq!(pool.used_bytes(), 0);
    assert_eq!(
        pool.segment(&mut stream, 1_000, &SEGMENT),
        SegmentOutcome::Untracked
    );
    pool.acknowledged(&mut stream, 9_000);
    assert_eq!(pool.next_buffered(&mut stream), None);
    assert_eq!(pool.jump_gap(&mut stream), 0);
    assert_eq!(pool.used_bytes(), 0);
}

#[test]
fn a_gap_that_the_receiver_acknowledged_is_jumped() {
    let mut pool = small();
    let mut stream = StreamState::default();
    pool.open(&mut stream, 0);
    pool.segment(&mut stream, 3_000, &SEGMENT);
    assert!(!stream.is_behind());
    pool.acknowledged(&mut stream, 2_000);
    assert!(stream.is_behind());
    assert_eq!(
        pool.jump_gap(&mut stream),
        2_000,
        "as far as the receiver has come"
    );
    assert_eq!(pool.next_buffered(&mut stream), None);
    pool.acknowledged(&mut stream, 9_000);
    assert_eq!(pool.jump_gap(&mut stream), 1_000, "to what is there");
    assert_eq!(
        pool.next_buffered(&mut stream).map(<[u8]>::len),
        Some(1_000)
    );
    assert_eq!(pool.jump_gap(&mut stream), 5_000);
    assert!(!stream.is_behind());
    assert_eq!(stream.next_sequence(), 9_000);
    assert_eq!(pool.used_bytes(), 0);
}

/// State per stream stays small: two of them are part of every flow.
#[test]
fn a_stream_is_small() {
    assert!(
        size_of::<StreamState>() <= 48,
        "{}",
        size_of::<StreamState>()
    );
}
