//! HTTP between services: small requests, answers of one segment, on one connection; 550 bytes a frame in the mean.

use std::io::Write;

use crate::load::Sender;
use crate::load::dialogue::Dialogue;

/// A request and its answer, over and over.
pub(in crate::load) struct Http {
    /// Turns after which a connection ends.
    pub turns: Option<u32>,
}

impl Dialogue for Http {
    fn server_port(&self, _flow: u64) -> u16 {
        80
    }

    fn turns(&self) -> Option<u32> {
        self.turns
    }

    fn opening_turns(&self) -> u32 {
        4
    }

    fn say(&self, flow: u64, turn: u32, said: &mut Vec<u8>) -> Sender {
        match turn % 2 {
            0 => {
                let _ = write!(
                    said,
                    "GET /api/v1/items/{flow}?page={turn} HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: \
                     load/1.0\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\nCookie: session={flow:032x}\r\n\r\n"
                );
                Sender::Client
            }
            _ => {
                said.extend(
                    b"HTTP/1.1 200 OK\r\nServer: shop\r\nContent-Type: application/json\r\n\
                      Cache-Control: no-cache\r\nContent-Length: 1280\r\n\r\n",
                );
                said.extend([b'x'; 1280]);
                Sender::Server
            }
        }
    }
}
