//! Big transfers over TLS: after the hellos two full segments of the server, an acknowledgement of the client, for
//! ever; 1,029 bytes a frame in the mean.

use super::noise;
use super::tls::{client_hello, record, server_flight};
use crate::load::Sender;
use crate::load::dialogue::Dialogue;

/// Two segments over IPv4, less the head of the record.
const RECORD_BYTES: usize = 2 * 1_460 - 5;

/// One download a flow.
pub(in crate::load) struct Bulk {
    noise: Vec<u8>,
}

impl Bulk {
    pub fn new(seed: u64) -> Self {
        Self {
            noise: noise(seed, 1 << 16),
        }
    }
}

impl Dialogue for Bulk {
    fn server_port(&self, _flow: u64) -> u16 {
        443
    }

    fn turns(&self) -> Option<u32> {
        None
    }

    fn opening_turns(&self) -> u32 {
        16
    }

    fn say(&self, flow: u64, turn: u32, said: &mut Vec<u8>) -> Sender {
        match turn {
            0 => {
                said.extend(client_hello(flow));
                Sender::Client
            }
            1 => {
                said.extend(server_flight(flow, &self.noise));
                Sender::Server
            }
            2 => {
                record(&self.noise[..200], said);
                Sender::Client
            }
            _ => {
                let at = (flow.wrapping_add(u64::from(turn)) * 64 % 60_000) as usize;
                record(&self.noise[at..at + RECORD_BYTES], said);
                Sender::Server
            }
        }
    }
}
