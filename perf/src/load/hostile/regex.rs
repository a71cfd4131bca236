//! HTTP full of what patterns begin with and none ends with: runs that expressions go back in, beginnings of attacks,
//! escapes within escapes. Every look ahead is in vain.

use std::io::Write;

use crate::load::dialogue::Dialogue;
use crate::load::{Sender, mix};

/// Beginnings, each without what would complete it.
const ALMOST: [&str; 12] = [
    "union%20all%20selec",
    "..%2f..%2f..%2fetc%2fpassw",
    "%3cscrip",
    "%2525252527",
    "((((((((((((((((",
    "sleep%28999999",
    "aaaaaaaaaaaaaaaaaaaaaaaa!",
    "%24%7bjndi%3",
    "0x4444444444444444444",
    "4111%201111%201111%20111",
    "xp_cmdshel",
    "%2f%2a%2f%2a%2f%2a%2f%2a",
];
/// Bytes of an answer.
const ANSWER_BYTES: usize = 2_400;

/// Requests and answers, over and over.
pub(in crate::load) struct RegexHostile;

impl Dialogue for RegexHostile {
    fn server_port(&self, _flow: u64) -> u16 {
        80
    }

    fn turns(&self) -> Option<u32> {
        None
    }

    fn opening_turns(&self) -> u32 {
        4
    }

    fn say(&self, flow: u64, turn: u32, said: &mut Vec<u8>) -> Sender {
        let seed = mix(flow << 32 ^ u64::from(turn));
        let almost = (0_u64..).map(|place| ALMOST[(mix(seed ^ place) % 12) as usize]);
        if turn.is_multiple_of(2) {
            let _ = write!(said, "GET /search?");
            for (place, text) in almost.take(24).enumerate() {
                let _ = write!(said, "p{place}={text}&");
            }
            let _ = write!(
                said,
                "z=1 HTTP/1.1\r\nHost: shop.example.com\r\nAccept: */*\r\n\r\n"
            );
            return Sender::Client;
        }
        let _ = write!(
            said,
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {ANSWER_BYTES}\r\n\r\n"
        );
        let end = said.len() + ANSWER_BYTES;
        for text in almost {
            said.extend(text.as_bytes());
            if said.len() >= end {
                break;
            }
        }
        said.truncate(end);
        Sender::Server
    }
}
