//! Knowing AMQP: by its header, or by frames that begin and end as they must.

use weir_wire::Direction;

use super::classic::{self, Sender, kind};
use super::one::{self, Value, performative};
use super::{Amqp, HEADER, version};
use crate::read::cursor::Cursor;
use crate::read::weigh::{self, ENOUGH, Sight, weigh};
use crate::{Application, Probe, ProbeInput};

/// Methods that are longer are not looked at as a whole.
const METHOD_MAX: usize = 1_500;
/// Frames are larger than this nowhere.
const FRAME_MAX: usize = 16 << 20;

pub(super) fn probe(input: &ProbeInput<'_>) -> Probe {
    if !weigh::opens(&Amqp::OPENINGS, input) {
        return Probe::NotMine;
    }
    weigh::verdict(
        weigh(input.to_server, |input| sight(input, Direction::ToServer)),
        weigh(input.to_client, |input| sight(input, Direction::ToClient)),
        Amqp::PORTS.contains(&input.server_port),
    )
}

fn sight(input: &[u8], direction: Direction) -> Sight {
    match input.first() {
        Some(b'A') => header(input),
        Some(0) => frame_of_one(input),
        _ => frame(input, direction),
    }
}

fn header(input: &[u8]) -> Sight {
    let shown = input.len().min(4);
    if input.get(..shown) != b"AMQP".get(..shown) {
        return Sight::Foreign;
    }
    match input.get(4..).and_then(|numbers| numbers.first_chunk()) {
        None => Sight::Partial,
        Some(&numbers) if version(numbers).is_some() => Sight::Message {
            bits: ENOUGH,
            length: HEADER,
        },
        Some(_) => Sight::Foreign,
    }
}

/// A frame of 0-9-1.
fn frame(input: &[u8], direction: Direction) -> Sight {
    let mut cursor = Cursor::new(input);
    let kind = cursor.u8().unwrap_or_default();
    if !matches!(
        kind,
        kind::METHOD | kind::HEADER | kind::BODY | kind::HEARTBEAT
    ) {
        return Sight::Foreign;
    }
    let (Some(channel), Some(length)) = (cursor.u16(), cursor.u32()) else {
        return Sight::Partial;
    };
    let length = length as usize;
    let own = match direction {
        Direction::ToServer => Sender::Client,
        Direction::ToClient => Sender::Server,
    };
    let bits = match kind {
        kind::METHOD => {
            if !(4..=FRAME_MAX).contains(&length) {
                return Sight::Foreign;
            }
            let (Some(class), Some(number)) = (cursor.u16(), cursor.u16()) else {
                return Sight::Partial;
            };
            match classic::method(class, number) {
                Some((_, sender)) if sender == own || sender == Sender::Both => 28,
                _ => return Sight::Foreign,
            }
        }
        kind::HEADER => match (cursor.u16(), cursor.u16()) {
            _ if !(14..=METHOD_MAX).contains(&length) => return Sight::Foreign,
            (Some(60), Some(0)) => 28,
            (Some(_), Some(_)) => return Sight::Foreign,
            _ => return Sight::Partial,
        },
        kind::BODY if (1..=FRAME_MAX).contains(&length) && channel > 0 => 8,
        kind::HEARTBEAT if length == 0 && channel == 0 => 28,
        _ => return Sight::Foreign,
    };
    let whole = classic::HEAD + length + 1;
    match input.get(whole - 1) {
        Some(&classic::END) => Sight::Message {
            bits: bits + 8,
            length: whole,
        },
        Some(_) => Sight::Foreign,
        None => Sight::Partial,
    }
}

/// A frame of 1.0.
fn frame_of_one(input: &[u8]) -> Sight {
    let Some((length, kind, body)) = one::frame(input) else {
        // A length below 16 MiB.
        return Sight::Partial;
    };
    let whole = length as usize;
    if !(8..=FRAME_MAX).contains(&whole) || kind > 1 || input.get(4) != Some(&2) {
        return Sight::Foreign;
    }
    if whole == 8 {
        return Sight::Message {
            bits: 24,
            length: whole,
        };
    }
    if input.len() < whole.min(METHOD_MAX) {
        return Sight::Partial;
    }
    let body = body.get(..METHOD_MAX - 8).unwrap_or(body);
    let names = match kind {
        0 => performative::OPEN..=performative::CLOSE,
        _ => performative::SASL_MECHANISMS..=performative::SASL_OUTCOME,
    };
    match one::value(&mut Cursor::new(body)) {
        Some(Value::Described(name, _)) if names.contains(&name) => Sight::Message {
            bits: ENOUGH,
            length: whole,
        },
        _ => Sight::Foreign,
    }
}
