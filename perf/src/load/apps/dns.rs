//! DNS: a question and its answer from a port of its own each time.

use crate::load::Sender;
use crate::load::dialogue::{Carrier, Dialogue};

/// A question and its answer.
pub(in crate::load) struct Dns;

impl Dialogue for Dns {
    fn server_port(&self, _flow: u64) -> u16 {
        53
    }

    fn carrier(&self, _flow: u64) -> Carrier {
        Carrier::Udp
    }

    fn turns(&self) -> Option<u32> {
        Some(2)
    }

    fn say(&self, flow: u64, turn: u32, said: &mut Vec<u8>) -> Sender {
        let sender = [Sender::Client, Sender::Server][turn as usize % 2];
        message(flow, 0, sender == Sender::Server, said);
        sender
    }
}

/// A question for an address, or its answer.
pub(in crate::load) fn message(flow: u64, id: u64, answer: bool, said: &mut Vec<u8>) {
    said.extend(((flow * 3 + id) as u16).to_be_bytes());
    said.extend(if answer { [0x81, 0x80] } else { [0x01, 0x00] });
    said.extend([0, 1, 0, u8::from(answer), 0, 0, 0, 0]);
    let label = format!("w{flow}");
    for part in [label.as_str(), "example", "com"] {
        said.push(part.len() as u8);
        said.extend(part.as_bytes());
    }
    said.extend([0, 0, 1, 0, 1]);
    if answer {
        said.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 128, 0, 1]);
    }
}
