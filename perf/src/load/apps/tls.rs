//! TLS 1.3: hello both ways, then records that nobody reads.

use super::noise;
use crate::load::Sender;
use crate::load::dialogue::Dialogue;

/// Change cipher spec, as TLS 1.3 sends it for others' sake.
const CHANGE_CIPHER_SPEC: [u8; 6] = [20, 3, 3, 0, 1, 1];

/// Hellos, then requests and answers as records.
pub(in crate::load) struct Tls {
    noise: Vec<u8>,
}

impl Tls {
    pub fn new(seed: u64) -> Self {
        Self {
            noise: noise(seed, 1 << 14),
        }
    }
}

impl Dialogue for Tls {
    fn server_port(&self, _flow: u64) -> u16 {
        443
    }

    fn turns(&self) -> Option<u32> {
        None
    }

    fn opening_turns(&self) -> u32 {
        5
    }

    fn say(&self, flow: u64, turn: u32, said: &mut Vec<u8>) -> Sender {
        match turn {
            0 => said.extend(client_hello(flow)),
            1 => said.extend(server_flight(flow, &self.noise)),
            2 => {
                said.extend(CHANGE_CIPHER_SPEC);
                record(&self.noise[..53], said);
            }
            _ if turn % 2 == 1 => record(&self.noise[200..200 + 900 + (flow % 400) as usize], said),
            _ => record(&self.noise[..150 + (turn % 7) as usize * 20], said),
        }
        [Sender::Client, Sender::Server][turn as usize % 2]
    }
}

/// Application data of TLS.
pub(super) fn record(content: &[u8], said: &mut Vec<u8>) {
    said.extend([23, 3, 3]);
    said.extend((content.len() as u16).to_be_bytes());
    said.extend(content);
}

fn with_length(bytes: &[u8]) -> Vec<u8> {
    let mut counted = (bytes.len() as u16).to_be_bytes().to_vec();
    counted.extend(bytes);
    counted
}

fn handshake(kind: u8, version: u8, body: &[u8]) -> Vec<u8> {
    let mut handshake = vec![kind, 0];
    handshake.extend(with_length(body));
    let mut record = vec![22, 3, version];
    record.extend(with_length(&handshake));
    record
}

/// Extensions that every client sends: groups, point formats, signature algorithms, ALPN, versions, ways to resume, and some
/// that say nothing.
#[rustfmt::skip]
const EXTENSIONS: &[u8] = &[
    0, 10, 0, 8, 0, 6, 0, 29, 0, 23, 0, 24,
    0, 11, 0, 2, 1, 0,
    0, 13, 0, 14, 0, 12, 4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1,
    0, 16, 0, 14, 0, 12, 2, b'h', b'2', 8, b'h', b't', b't', b'p', b'/', b'1', b'.', b'1',
    0, 43, 0, 5, 4, 3, 4, 3, 3,
    0, 45, 0, 2, 1, 1,
    0, 5, 0, 5, 1, 0, 0, 0, 0,
    0, 18, 0, 0,
    0, 23, 0, 0,
    0xff, 1, 0, 1, 0,
];
#[rustfmt::skip]
const CIPHER_SUITES: [u8; 32] = [
    0x13, 0x01, 0x13, 0x02, 0x13, 0x03, 0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x2c, 0xc0, 0x30, 0xcc, 0xa9,
    0xcc, 0xa8, 0xc0, 0x13, 0xc0, 0x14, 0x00, 0x9c, 0x00, 0x9d, 0x00, 0x2f, 0x00, 0x35, 0x00, 0xff,
];

/// A ClientHello of TLS 1.3 with a server name.
pub(in crate::load) fn client_hello(flow: u64) -> Vec<u8> {
    let name = format!("w{flow}.example.com");
    let mut entry = vec![0];
    entry.extend(with_length(name.as_bytes()));
    let mut extension = vec![0, 0];
    extension.extend(with_length(&with_length(&entry)));
    extension.extend(EXTENSIONS);
    // A key for X25519.
    extension.extend([0, 51, 0, 38, 0, 36, 0, 29, 0, 32]);
    extension.extend([0x3c; 32]);
    let mut body = vec![3, 3];
    body.extend([0x5a; 32]);
    body.push(0);
    body.extend(with_length(&CIPHER_SUITES));
    body.extend([1, 0]);
    body.extend(with_length(&extension));
    handshake(1, 1, &body)
}

/// ServerHello of TLS 1.3, and what follows it in records.
pub(super) fn server_flight(flow: u64, noise: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend(&noise[..32]);
    body.extend([0, 0x13, 0x01, 0]);
    let mut extensions = vec![0, 43, 0, 2, 3, 4];
    extensions.extend([0, 51, 0, 36, 0, 29, 0, 32]);
    let key_at = (flow % 1_000) as usize;
    extensions.extend(&noise[key_at..key_at + 32]);
    body.extend(with_length(&extensions));
    let mut flight = handshake(2, 3, &body);
    flight.extend(CHANGE_CIPHER_SPEC);
    record(&noise[..1_100], &mut flight);
    flight
}
