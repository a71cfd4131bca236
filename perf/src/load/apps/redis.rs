//! Redis: commands and answers, pipelined by two.

use std::io::Write;

use crate::load::Sender;
use crate::load::dialogue::Dialogue;
use crate::load::mix;

/// Commands and answers, over and over.
pub(in crate::load) struct Redis;

impl Dialogue for Redis {
    fn server_port(&self, _flow: u64) -> u16 {
        6379
    }

    fn turns(&self) -> Option<u32> {
        None
    }

    fn opening_turns(&self) -> u32 {
        4
    }

    fn say(&self, flow: u64, turn: u32, said: &mut Vec<u8>) -> Sender {
        let number = mix(flow << 32 ^ u64::from(turn / 2));
        let key = format!("cart:{flow}:{}", number % 1_000);
        let value = format!("{{\"item\":{},\"count\":{}}}", number % 100_000, number % 9);
        if turn.is_multiple_of(2) {
            command(&["SET", &key, &value], said);
            command(&["HGETALL", &key], said);
            return Sender::Client;
        }
        let _ = write!(
            said,
            "+OK\r\n*2\r\n$5\r\nvalue\r\n${}\r\n{value}\r\n",
            value.len()
        );
        Sender::Server
    }
}

fn command(words: &[&str], said: &mut Vec<u8>) {
    let _ = write!(said, "*{}\r\n", words.len());
    for word in words {
        let _ = write!(said, "${}\r\n{word}\r\n", word.len());
    }
}
