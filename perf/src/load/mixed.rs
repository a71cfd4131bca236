//! Every application of the registry: its samples, each over and over as a new flow. Memory: the samples, and
//! 32 conversations.

use std::collections::VecDeque;

use anyhow::{Result, ensure};
use weir_l7::Transport;
use weir_samples::Sample;
use weir_wire::Direction;

use super::frames::{Connection, Flag, ends, udp};
use super::{Family, Load, Sender, Shape};

/// Bytes of a segment.
const SEGMENT_BYTES: usize = 1_440;
/// Conversations that go on at a time: a burst holds one packet of each.
const CONVERSATIONS: usize = 32;

/// One conversation of each sample, then again as new flows.
pub(super) struct Mixed {
    shape: Shape,
    samples: Vec<Sample>,
    begun: u64,
    made: usize,
    going_on: Vec<VecDeque<(Sender, Vec<u8>)>>,
}

impl Mixed {
    /// Of one application or of all: what TCP and UDP carry and no parser objects to.
    pub fn new(shape: &Shape, application: Option<&str>) -> Result<Self> {
        let mut samples = weir_samples::all();
        samples.retain(|sample| {
            is_honest(sample) && application.is_none_or(|wanted| wanted == sample.app.name())
        });
        ensure!(
            !samples.is_empty(),
            "no samples of {application:?} over TCP or UDP"
        );
        Ok(Self {
            shape: *shape,
            samples,
            begun: 0,
            made: 0,
            going_on: vec![VecDeque::new(); CONVERSATIONS],
        })
    }

    fn begin(&mut self) -> VecDeque<(Sender, Vec<u8>)> {
        let flow = self.begun;
        let sample = &self.samples[flow as usize % self.samples.len()];
        self.begun += 1;
        let pieces = sample.pieces.iter().map(|(direction, piece)| {
            let sender = match direction {
                Direction::ToServer => Sender::Client,
                Direction::ToClient => Sender::Server,
            };
            (sender, piece)
        });
        // Where both families are wanted a sample changes every time: the number of samples may be even.
        let family = match (self.shape.family, flow + flow / self.samples.len() as u64) {
            (Family::Both, turn) if turn % 2 == 1 => Family::V6,
            (Family::Both, _) => Family::V4,
            (family, _) => family,
        };
        let between = ends(flow, family);
        let mut frames = VecDeque::new();
        if sample.transport == Transport::Udp {
            for (sender, piece) in pieces {
                let mut frame = Vec::new();
                udp(&between, sample.port, sender, piece, &mut frame);
                frames.push_back((sender, frame));
            }
            return frames;
        }
        let mut connection = Connection::new(flow, self.shape.seed);
        let mut send = |sender, flag, content: &[u8]| {
            let mut frame = Vec::new();
            connection.segment((&between, sample.port), sender, flag, content, &mut frame);
            frames.push_back((sender, frame));
        };
        send(Sender::Client, Flag::Syn, &[]);
        send(Sender::Server, Flag::Syn, &[]);
        send(Sender::Client, Flag::None, &[]);
        for (sender, piece) in pieces {
            for segment in piece.chunks(SEGMENT_BYTES) {
                send(sender, Flag::None, segment);
            }
        }
        frames
    }
}

/// Whether policy lets all of it pass: no parser objects, and the client speaks first.
fn is_honest(sample: &Sample) -> bool {
    let client_first = sample
        .pieces
        .first()
        .is_some_and(|(direction, _)| *direction == Direction::ToServer);
    sample.violation.is_none()
        && match sample.transport {
            Transport::Tcp => true,
            Transport::Udp => client_first,
            Transport::Icmp | Transport::Icmpv6 | Transport::Esp => false,
        }
}

impl Load for Mixed {
    fn next(&mut self, frame: &mut Vec<u8>) -> Sender {
        let index = self.made % CONVERSATIONS;
        self.made += 1;
        loop {
            if let Some((sender, next)) = self.going_on[index].pop_front() {
                *frame = next;
                return sender;
            }
            self.going_on[index] = self.begin();
        }
    }

    fn turn_packets(&self) -> u64 {
        let segments = |sample: &Sample| {
            let cut = sample
                .pieces
                .iter()
                .map(|(_, piece)| piece.len().div_ceil(SEGMENT_BYTES).max(1));
            3 + cut.sum::<usize>() as u64
        };
        self.samples.iter().map(segments).sum()
    }
}
