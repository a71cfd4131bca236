//! DNP3, the Distributed Network Protocol over TCP and UDP (IEEE 1815-2012).
//!
//! Trusts nothing. A frame is known by its start and the checksum of its head, on any port and from
//! either end: master and outstation may both open the connection. Of a message in several segments
//! the first is told. Violations: anything between frames. Memory: flags.

use std::fmt::Write as _;

use arrayvec::{ArrayString, ArrayVec};
use weir_wire::Direction;

use crate::read::cursor::Cursor;
use crate::read::framing::{Framing, Front, Look, count};
use crate::{
    Application, Blocks, ByteSet, Event, EventKind, EventSink, Field, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport,
};

const PORT: u16 = 20_000;
/// Start, length, control, destination, source, and their checksum (9.2.4.1).
const HEAD: usize = 10;
/// What the length counts of the head: control, destination and source.
const COUNTED: usize = 5;
/// User data in a block, and its checksum.
const BLOCK: usize = 16;
const CHECKSUM: usize = 2;
/// First segment of a message (8.2.1).
const FIRST: u8 = 0x40;

const FUNCTION: u8 = 0;
const SOURCE: u8 = 1;
const DESTINATION: u8 = 2;
const OBJECT: u8 = 3;
const INDICATIONS: u8 = 4;
const LINK_FUNCTION: u8 = 5;

/// The parser.
#[derive(Default)]
pub struct Dnp3 {
    framing: Framing,
    datagrams: bool,
}

impl Application for Dnp3 {
    const NAME: &'static str = "dnp3";
    const ABOUT: &'static str = "Distributed Network Protocol (IEEE 1815-2012)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp, Transport::Udp];
    const PORTS: &'static [u16] = &[PORT];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "function",
            "Function: read, write, operate, cold_restart … or response (IEEE 1815, 4.4)",
        ),
        FieldSpec::number("source", "Link address of the sender (IEEE 1815, 9.2.4)"),
        FieldSpec::number(
            "destination",
            "Link address of the receiver (IEEE 1815, 9.2.4)",
        ),
        FieldSpec::text(
            "object",
            "Group and variation of the first object, \"12.1\" (IEEE 1815, 11)",
        ),
        FieldSpec::number(
            "indications",
            "Internal indications of a response, the second octet in the low byte (IEEE 1815, 4.5)",
        ),
        FieldSpec::text(
            "link_function",
            "Function of a frame without user data (IEEE 1815, 9.2.4)",
        ),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[0x05]),
        to_client: ByteSet::of(&[0x05]),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        // Of a stream picked up the first bytes may lie within a frame.
        if !input.from_start && input.transport == Transport::Tcp {
            let found = [input.to_server, input.to_client]
                .iter()
                .any(|bytes| found_within(bytes));
            return if found { Probe::Certain } else { Probe::Unsure };
        }
        let client = count(input.to_server, front);
        let server = count(input.to_client, front);
        let by_length = input.transport != Transport::Tcp
            && input.server_port == PORT
            && [input.to_server, input.to_client]
                .iter()
                .any(|datagram| adds_up(datagram));
        if begun(input.to_server) || begun(input.to_client) || by_length {
            Probe::Certain
        } else if client.broken || server.broken {
            Probe::NotMine
        } else {
            Probe::Unsure
        }
    }

    fn open(transport: Transport, _blocks: &mut Blocks) -> Self {
        Self {
            datagrams: transport != Transport::Tcp,
            ..Self::default()
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if self.datagrams && adds_up(input) && !begun(input) {
            // The receiver throws a frame with a wrong checksum away.
            return Step::Consumed(input.len());
        }
        let length =
            match self
                .framing
                .next(direction, input, front, "dnp3: no frame where one begins")
            {
                Ok(length) => length,
                Err(step) => return step,
            };
        let Some(frame) = input.get(..length) else {
            return Step::Incomplete;
        };
        if tell(frame, sink).is_none() {
            return Step::Violation("dnp3: no frame where one begins");
        }
        Step::Consumed(length)
    }

    fn gap(&mut self, direction: Direction, _length: u64) -> bool {
        self.framing.lose(direction);
        true
    }
}

/// Whether the head of a frame is there, checksum and all.
fn begun(bytes: &[u8]) -> bool {
    matches!(front(bytes, Look::Searching), Front::Message(_))
}

/// Whether a datagram is one frame by its length. On the customary port it is meant to be, even with
/// a wrong checksum.
fn adds_up(datagram: &[u8]) -> bool {
    match datagram {
        [0x05, 0x64, length, ..] => usize::from(*length)
            .checked_sub(COUNTED)
            .is_some_and(|data| framed(data) == datagram.len()),
        _ => false,
    }
}

/// Bytes of a frame with so much user data.
fn framed(data: usize) -> usize {
    HEAD + data + CHECKSUM * data.div_ceil(BLOCK)
}

fn found_within(bytes: &[u8]) -> bool {
    bytes
        .windows(HEAD)
        .any(|head| head.starts_with(&[0x05, 0x64]) && begun(head))
}

fn front(bytes: &[u8], _look: Look) -> Front {
    if !bytes.starts_with(&[0x05, 0x64]) {
        return match bytes {
            [0x05] => Front::Partial,
            _ => Front::Other,
        };
    }
    let Some((head, _)) = bytes.split_first_chunk::<HEAD>() else {
        return Front::Partial;
    };
    let [covered @ .., low, high] = head;
    let Some(data) = usize::from(head[2]).checked_sub(COUNTED) else {
        return Front::Other;
    };
    if checksum(covered) != u16::from_le_bytes([*low, *high]) {
        return Front::Other;
    }
    Front::Message(framed(data))
}

/// CRC-16 of DNP (IEEE 1815, annex E).
fn checksum(bytes: &[u8]) -> u16 {
    let mut remainder = 0_u16;
    for &byte in bytes {
        remainder ^= u16::from(byte);
        for _ in 0..8 {
            let carry = remainder & 1 != 0;
            remainder >>= 1;
            if carry {
                remainder ^= 0xa6bc;
            }
        }
    }
    !remainder
}

/// A whole frame.
fn tell(frame: &[u8], sink: &mut dyn EventSink) -> Option<()> {
    let mut cursor = Cursor::new(frame);
    let [_, _, length, control] = cursor.array()?;
    let destination = u16::from_le_bytes(cursor.array()?);
    let source = u16::from_le_bytes(cursor.array()?);
    let _checksum = cursor.u16()?;
    let mut object = ArrayString::<8>::new();
    let mut fields: ArrayVec<Field<'_>, 6> = ArrayVec::new();
    fields.push(Field::number(SOURCE, source.into()));
    fields.push(Field::number(DESTINATION, destination.into()));
    let data = usize::from(length).checked_sub(COUNTED)?;
    if data == 0 {
        fields.push(Field::name(LINK_FUNCTION, link_function(control)));
        sink.event(&Event {
            kind: EventKind::Session,
            fields: &fields,
        });
        return Some(());
    }
    // The first block holds everything that is told.
    let block = cursor.take(data.min(BLOCK))?;
    let mut cursor = Cursor::new(block);
    let transport = cursor.u8()?;
    if transport & FIRST == 0 {
        return Some(());
    }
    let (Some(_control), Some(code)) = (cursor.u8(), cursor.u8()) else {
        return Some(());
    };
    fields.push(Field::name(FUNCTION, function_name(code)));
    let response = code & 0x80 != 0;
    if response && let Some(indications) = cursor.u16() {
        fields.push(Field::number(INDICATIONS, indications.into()));
    }
    if let Some([group, variation]) = cursor.array() {
        let _ = write!(object, "{group}.{variation}");
        fields.push(Field::bytes(OBJECT, object.as_bytes()));
    }
    let kind = match response {
        true => EventKind::Response,
        false => EventKind::Request,
    };
    sink.event(&Event {
        kind,
        fields: &fields,
    });
    Some(())
}

/// By the bit that says who sends: primary or secondary (9.2.4.1.3.5).
fn link_function(control: u8) -> &'static str {
    match (control & 0x40 != 0, control & 0x0f) {
        (true, 0) => "reset_link_states",
        (true, 2) => "test_link_states",
        (true, 3) => "confirmed_user_data",
        (true, 4) => "unconfirmed_user_data",
        (true, 9) => "request_link_status",
        (false, 0) => "ack",
        (false, 1) => "nack",
        (false, 11) => "link_status",
        (false, 15) => "not_supported",
        _ => "other",
    }
}

fn function_name(code: u8) -> &'static str {
    const NAMES: [&str; 34] = [
        "confirm",
        "read",
        "write",
        "select",
        "operate",
        "direct_operate",
        "direct_operate_no_ack",
        "immediate_freeze",
        "immediate_freeze_no_ack",
        "freeze_clear",
        "freeze_clear_no_ack",
        "freeze_at_time",
        "freeze_at_time_no_ack",
        "cold_restart",
        "warm_restart",
        "initialize_data",
        "initialize_application",
        "start_application",
        "stop_application",
        "save_configuration",
        "enable_unsolicited",
        "disable_unsolicited",
        "assign_class",
        "delay_measurement",
        "record_current_time",
        "open_file",
        "close_file",
        "delete_file",
        "get_file_information",
        "authenticate_file",
        "abort_file",
        "activate_configuration",
        "authentication_request",
        "authentication_request_no_ack",
    ];
    match code {
        129 => "response",
        130 => "unsolicited_response",
        131 => "authentication_response",
        code => NAMES.get(usize::from(code)).copied().unwrap_or("other"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        // IEEE 1815, annex E: a reset of the link.
        assert_eq!(
            checksum(&[0x05, 0x64, 0x05, 0xc0, 0x01, 0x00, 0x00, 0x04]),
            0x21e9
        );
    }
}
