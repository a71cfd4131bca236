//! Every application of the registry: its samples, each over and over as a new flow.

use std::collections::VecDeque;

use anyhow::{Result, ensure};
use weir_l7::Transport;
use weir_node::io::BURST;
use weir_node::io::memory::MemoryFrame;
use weir_node::path::Arrived;
use weir_samples::Sample;
use weir_wire::Direction;

use crate::frames::{Connection, Sender, arrived, udp};
use crate::loads::Load;

/// Bytes of a segment.
const SEGMENT_BYTES: usize = 1_460;
/// Conversations that go on at a time: a burst holds one packet of each.
const CONVERSATIONS: usize = BURST;

/// One conversation of each sample, then again as new flows.
pub struct Mixed {
    samples: Vec<Sample>,
    begun: usize,
    going_on: Vec<VecDeque<(Sender, Vec<u8>)>>,
}

impl Mixed {
    /// Of one application or of all: what TCP and UDP carry and no parser objects to.
    pub fn new(application: Option<&str>) -> Result<Self> {
        let mut samples = weir_samples::all();
        samples.retain(|sample| {
            is_honest(sample) && application.is_none_or(|wanted| wanted == sample.app.name())
        });
        ensure!(
            !samples.is_empty(),
            "no samples of {application:?} over TCP or UDP"
        );
        Ok(Self {
            samples,
            begun: 0,
            going_on: vec![VecDeque::new(); CONVERSATIONS],
        })
    }

    fn begin(&mut self) -> VecDeque<(Sender, Vec<u8>)> {
        let flow = self.begun;
        let sample = &self.samples[flow % self.samples.len()];
        self.begun += 1;
        let pieces = sample.pieces.iter().map(|(direction, piece)| {
            let sender = match direction {
                Direction::ToServer => Sender::Client,
                Direction::ToClient => Sender::Server,
            };
            (sender, piece)
        });
        if sample.transport == Transport::Udp {
            return pieces
                .map(|(sender, piece)| (sender, udp(flow, sample.port, sender, piece)))
                .collect();
        }
        let mut connection = Connection::new(flow, sample.port);
        let mut frames = VecDeque::new();
        for sender in [Sender::Client, Sender::Server] {
            frames.push_back((sender, connection.open(sender)));
        }
        frames.push_back((Sender::Client, connection.send(Sender::Client, &[])));
        for (sender, piece) in pieces {
            for segment in piece.chunks(SEGMENT_BYTES) {
                frames.push_back((sender, connection.send(sender, segment)));
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
    fn warm_up_packets(&self) -> usize {
        0
    }

    fn burst(&mut self, into: &mut Vec<Arrived<MemoryFrame>>) {
        for index in 0..CONVERSATIONS {
            let next = loop {
                if let Some(next) = self.going_on[index].pop_front() {
                    break next;
                }
                self.going_on[index] = self.begin();
            };
            into.push(arrived(next.0, next.1));
        }
    }
}
