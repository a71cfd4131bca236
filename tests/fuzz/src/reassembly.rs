//! Reassembly against an oracle that keeps every byte: sort and concatenate.

use std::cell::RefCell;

use bolero::{TypeGenerator, check};
use weir_flow::{Reassembler, ReassemblyLimits, SegmentOutcome, StreamState};
use weir_wire::Reason;

use crate::{ITERATIONS, TEST_TIME};

/// What happens to a stream.
#[derive(Clone, Debug, TypeGenerator)]
struct Story {
    first_sequence: u32,
    /// A pool that is soon exhausted.
    tight: bool,
    #[generator(bolero::generator::produce_with::<Vec<Act>>().len(0usize..60))]
    acts: Vec<Act>,
}

#[derive(Clone, Copy, Debug, TypeGenerator)]
enum Act {
    /// A segment near the next byte: this far before or behind.
    Near {
        from: i8,
        length: u8,
        damage: Option<u8>,
    },
    /// A segment anywhere.
    Any {
        from: u16,
        length: u16,
        damage: Option<u16>,
    },
    /// The receiver acknowledges this share of what was handed out.
    Acknowledge {
        share: u8,
    },
    /// The receiver acknowledges bytes that did not come by, and the gap is jumped.
    AcknowledgeBeyond {
        by: u8,
    },
    SkipKept {
        length: u8,
    },
}

/// Further than any segment reaches.
const STREAM_BYTES: usize = 1 << 18;

#[derive(Clone, Copy)]
struct Known {
    byte: u8,
    /// A second version must be refused, as long as the receiver may still take it.
    compared: bool,
}

/// Everything that was accepted, by its place in the stream.
struct Oracle {
    known: Vec<Option<Known>>,
    next: usize,
    acknowledged: usize,
    unkept: usize,
}

impl Oracle {
    fn new() -> Self {
        Self {
            known: vec![None; STREAM_BYTES],
            next: 0,
            acknowledged: 0,
            unkept: 0,
        }
    }

    /// Whether `payload` differs from what the receiver may not have yet: in bytes that must be
    /// compared, and in any.
    fn differs(&self, from: usize, payload: &[u8]) -> (bool, bool) {
        let first = self.next.min(self.acknowledged);
        let known = payload
            .iter()
            .enumerate()
            .filter(|(index, _)| from + index >= first);
        let mut differing = known
            .filter_map(|(index, byte)| {
                self.known[from + index].filter(|known| known.byte != *byte)
            })
            .peekable();
        let any = differing.peek().is_some();
        (differing.any(|known| known.compared), any)
    }

    fn accept(&mut self, from: usize, payload: &[u8]) {
        for (place, byte) in (from..).zip(payload) {
            self.known[place].get_or_insert(Known {
                byte: *byte,
                compared: true,
            });
        }
    }

    /// Bytes were handed out.
    fn deliver(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let known = self.known[self.next]
                .as_mut()
                .expect("handed out, but never came");
            assert_eq!(known.byte, *byte, "other bytes than came, at {}", self.next);
            if self.unkept > 0 {
                self.unkept -= 1;
                known.compared = false;
            }
            self.next += 1;
        }
    }
}

struct Run<'a> {
    oracle: Oracle,
    stream: StreamState,
    reassembler: &'a mut Reassembler,
    story: &'a Story,
}

impl Run<'_> {
    fn sequence(&self, place: usize) -> u32 {
        self.story.first_sequence.wrapping_add(place as u32)
    }

    fn segment(&mut self, from: usize, length: usize, damage: Option<usize>) {
        let mut payload: Vec<u8> = (from..from + length)
            .map(|place| ((place * 31) >> 3) as u8)
            .collect();
        if let Some(byte) = damage.and_then(|place| payload.get_mut(place % length.max(1))) {
            *byte ^= 0x80;
        }
        let sequence = self.sequence(from);
        let (must_refuse, may_refuse) = self.oracle.differs(from, &payload);
        let outcome = self
            .reassembler
            .segment(&mut self.stream, sequence, &payload);
        if let SegmentOutcome::Drop(reason) = outcome {
            match reason {
                Reason::StreamMismatch => assert!(may_refuse, "nothing differs"),
                Reason::StreamLimit => assert!(self.story.tight, "there is memory enough"),
                other => panic!("{other:?} is none of its reasons"),
            }
            return;
        }
        assert!(!must_refuse, "a second version was accepted at {from}");
        match outcome {
            SegmentOutcome::InOrder { fresh } => {
                assert_eq!(from + fresh.start, self.oracle.next);
                assert_eq!(fresh.end, payload.len());
                self.oracle.accept(from, &payload);
                self.oracle.deliver(&payload[fresh]);
                self.drain();
            }
            SegmentOutcome::Buffered => {
                assert!(from > self.oracle.next);
                self.oracle.accept(from, &payload);
            }
            SegmentOutcome::Repeated => {
                let new = (from..from + length)
                    .any(|place| place >= self.oracle.next && self.oracle.known[place].is_none());
                assert!(!new, "new bytes are called a repetition");
            }
            other => panic!("{other:?} of a stream that is open"),
        }
    }

    fn drain(&mut self) {
        while let Some(bytes) = self.reassembler.next_buffered(&mut self.stream) {
            assert!(!bytes.is_empty());
            self.oracle.deliver(bytes);
        }
        assert!(
            self.oracle.known[self.oracle.next].is_none(),
            "bytes in order were not handed out"
        );
        assert_eq!(self.stream.next_sequence(), self.sequence(self.oracle.next));
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Near {
                from,
                length,
                damage,
            } => {
                let from = self.oracle.next.saturating_add_signed(from.into());
                self.segment(from, length.into(), damage.map(usize::from));
            }
            Act::Any {
                from,
                length,
                damage,
            } => {
                self.segment(from.into(), (length % 9000).into(), damage.map(usize::from));
            }
            Act::Acknowledge { share } => {
                self.acknowledge(self.oracle.next * usize::from(share) / 255);
            }
            Act::AcknowledgeBeyond { by } => {
                self.acknowledge(self.oracle.next + usize::from(by));
                self.jump();
            }
            Act::SkipKept { length } => {
                self.oracle.unkept = self.oracle.unkept.max(length.into());
                self.reassembler.skip_kept(&mut self.stream, length.into());
            }
        }
    }

    fn acknowledge(&mut self, place: usize) {
        self.oracle.acknowledged = self.oracle.acknowledged.max(place);
        let number = self.sequence(place);
        self.reassembler.acknowledged(&mut self.stream, number);
    }

    fn jump(&mut self) {
        assert_eq!(
            self.stream.is_behind(),
            self.oracle.acknowledged > self.oracle.next
        );
        while self.stream.is_behind() {
            let first = (self.oracle.next..self.oracle.acknowledged)
                .find(|place| self.oracle.known[*place].is_some())
                .unwrap_or(self.oracle.acknowledged);
            let lost = self.reassembler.jump_gap(&mut self.stream) as usize;
            assert_eq!(lost, first - self.oracle.next);
            assert!(lost > 0);
            self.oracle.unkept = self.oracle.unkept.saturating_sub(lost);
            self.oracle.next = first;
            self.drain();
        }
    }
}

fn reassembler(pool_bytes: usize) -> RefCell<Reassembler> {
    let limits = ReassemblyLimits {
        pool_bytes,
        per_stream_bytes: STREAM_BYTES * 2,
        unacked_bytes: STREAM_BYTES,
    };
    RefCell::new(Reassembler::new(limits))
}

thread_local! {
    static WIDE: RefCell<Reassembler> = reassembler(64 << 20);
    static TIGHT: RefCell<Reassembler> = reassembler(0);
}

fn run(story: &Story, reassembler: &mut Reassembler) {
    let mut run = Run {
        oracle: Oracle::new(),
        stream: StreamState::default(),
        reassembler,
        story,
    };
    run.reassembler.open(&mut run.stream, story.first_sequence);
    for act in &story.acts {
        run.act(*act);
    }
    run.reassembler.close(&mut run.stream);
    assert_eq!(run.reassembler.used_bytes(), 0, "memory was not given back");
}

#[test]
fn reassembly() {
    check!()
        .with_type::<Story>()
        .with_test_time(TEST_TIME)
        .with_iterations(ITERATIONS)
        .for_each(|story| {
            let pool = if story.tight { &TIGHT } else { &WIDE };
            pool.with_borrow_mut(|reassembler| run(story, reassembler));
        });
}
