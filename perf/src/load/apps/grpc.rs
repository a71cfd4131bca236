//! gRPC over HTTP/2 in the clear: unary calls, one after the other, on one connection.

use crate::load::Sender;
use crate::load::dialogue::Dialogue;
use crate::load::mix;

const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const SETTINGS_ACKNOWLEDGED: [u8; 9] = [0, 0, 0, 4, 1, 0, 0, 0, 0];
const END_HEADERS: u8 = 4;
const END_STREAM: u8 = 1;
const DATA: u8 = 0;
const HEADERS: u8 = 1;

/// Calls and answers, over and over.
pub(in crate::load) struct Grpc;

impl Dialogue for Grpc {
    fn server_port(&self, _flow: u64) -> u16 {
        50_051
    }

    fn turns(&self) -> Option<u32> {
        None
    }

    fn opening_turns(&self) -> u32 {
        4
    }

    fn say(&self, flow: u64, turn: u32, said: &mut Vec<u8>) -> Sender {
        let stream = turn / 2 * 2 + 1;
        let number = mix(flow << 32 ^ u64::from(stream));
        if turn.is_multiple_of(2) {
            match turn {
                0 => {
                    said.extend(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
                    said.extend(SETTINGS);
                }
                2 => said.extend(SETTINGS_ACKNOWLEDGED),
                _ => {}
            }
            frame(HEADERS, END_HEADERS, stream, &call(), said);
            frame(
                DATA,
                END_STREAM,
                stream,
                &message(number, 40 + number as usize % 200),
                said,
            );
            return Sender::Client;
        }
        if turn == 1 {
            said.extend(SETTINGS);
            said.extend(SETTINGS_ACKNOWLEDGED);
        }
        frame(HEADERS, END_HEADERS, stream, &answer(), said);
        frame(
            DATA,
            0,
            stream,
            &message(number, 300 + number as usize % 700),
            said,
        );
        let mut trailers = Vec::new();
        literal("grpc-status", "0", &mut trailers);
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &trailers, said);
        Sender::Server
    }
}

fn frame(kind: u8, flags: u8, stream: u32, body: &[u8], said: &mut Vec<u8>) {
    let [_, high, middle, low] = (body.len() as u32).to_be_bytes();
    said.extend([high, middle, low, kind, flags]);
    said.extend(stream.to_be_bytes());
    said.extend(body);
}

/// A header field that goes into no table, its name in full.
fn literal(name: &str, value: &str, block: &mut Vec<u8>) {
    block.push(0);
    for text in [name, value] {
        block.push(text.len() as u8);
        block.extend(text.as_bytes());
    }
}

fn call() -> Vec<u8> {
    // From the static table: :method POST, :scheme http.
    let mut block = vec![0x83, 0x86];
    literal(":path", "/shop.Catalogue/Describe", &mut block);
    literal(":authority", "catalogue:50051", &mut block);
    literal("te", "trailers", &mut block);
    literal("content-type", "application/grpc", &mut block);
    literal("user-agent", "grpc-go/1.60.1", &mut block);
    block
}

fn answer() -> Vec<u8> {
    // From the static table: :status 200.
    let mut block = vec![0x88];
    literal("content-type", "application/grpc", &mut block);
    block
}

/// A message of gRPC: not compressed, its length, one field of protobuf that is text.
fn message(number: u64, length: usize) -> Vec<u8> {
    let text: String = format!("item {number} ")
        .chars()
        .cycle()
        .take(length)
        .collect();
    let mut field = vec![0x0a];
    if length > 127 {
        field.extend([(length & 0x7f) as u8 | 0x80, (length >> 7) as u8]);
    } else {
        field.push(length as u8);
    }
    field.extend(text.as_bytes());
    let mut message = vec![0];
    message.extend((field.len() as u32).to_be_bytes());
    message.extend(field);
    message
}
