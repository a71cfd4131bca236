//! S7 communication, Siemens' protocol for controllers (no public specification; as Wireshark's
//! s7comm and the Snap7 library read it), over ISO transport (RFC 1006). Its successor S7comm-plus
//! is named, and its functions are told.
//!
//! Trusts nothing. Others use the same transport: a name needs a message of S7 whose lengths add up,
//! or, on the customary port, a connection request to a rack and slot. Violations: anything but
//! transport packets. Memory: flags each way.

use std::fmt::Write as _;

use arrayvec::{ArrayString, ArrayVec};
use weir_wire::Direction;

use crate::read::cursor::Cursor;
use crate::read::framing::{Framing, Front, Look};
use crate::read::tpkt::{self, Transport as Packet};
use crate::{
    Application, ByteSet, Event, EventKind, EventSink, Field, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport,
};

const PORT: u16 = 102;
/// Of a packet so much is read; the rest is skipped.
const READ_MAX: usize = 256;
/// The called end, in a connection request (X.224, 13.3.4).
const CALLED: u8 = 0xc2;
/// First octets of S7 messages.
const CLASSIC: u8 = 0x32;
const PLUS: u8 = 0x72;
/// What the head of a classic message is long, without and with the octets for errors.
const HEAD: usize = 10;
const HEAD_WITH_ERROR: usize = 12;

const FUNCTION: u8 = 0;
const ACCESS: u8 = 1;
const AREA: u8 = 2;
const ERROR: u8 = 3;
const SERVICE: u8 = 4;
const RACK: u8 = 5;
const SLOT: u8 = 6;

/// The parser.
#[derive(Default)]
pub struct S7comm {
    framing: Framing,
    /// The next packet goes on with a message that was told.
    goes_on: [bool; 2],
}

/// A classic message.
struct Message<'a> {
    kind: u8,
    error: u16,
    parameters: &'a [u8],
}

impl Application for S7comm {
    const NAME: &'static str = "s7comm";
    const ABOUT: &'static str =
        "S7 communication of Siemens' controllers, also S7comm-plus (as Wireshark reads it)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[PORT];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "function",
            "Function: read_var, write_var, plc_stop, request_download … or other",
        ),
        FieldSpec::condition(
            "access",
            "What the function does: read, write, control, or other",
        ),
        FieldSpec::text(
            "area",
            "Memory of the first item: inputs, outputs, flags, \"DB7\" …",
        ),
        FieldSpec::number(
            "error",
            "Error class in the high byte, error code in the low",
        ),
        FieldSpec::text(
            "service",
            "Service that a control function names: P_PROGRAM, _INSE …",
        ),
        FieldSpec::number("rack", "Rack in the connection request"),
        FieldSpec::number("slot", "Slot in the connection request"),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[3]),
        to_client: ByteSet::of(&[3]),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        match (
            judge(input.to_server, input.server_port),
            judge(input.to_client, input.server_port),
        ) {
            (Probe::Certain, _) | (_, Probe::Certain) => Probe::Certain,
            (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
            _ => Probe::Unsure,
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let wrong = "s7comm: no transport packet where one begins";
        let length = match self.framing.next(direction, input, front, wrong) {
            Ok(length) => length,
            Err(step) => return step,
        };
        let Some(packet) = input.get(..length.min(READ_MAX)) else {
            return Step::Incomplete;
        };
        let goes_on = &mut self.goes_on[direction as usize];
        match tpkt::open(packet) {
            Some(Packet::Request(options)) => tell_request(options, sink),
            Some(Packet::Data { last, data }) => {
                if !*goes_on {
                    tell(direction, data, sink);
                }
                *goes_on = !last;
            }
            Some(Packet::Confirm(_) | Packet::Other) => {}
            None => return Step::Violation(wrong),
        }
        Step::Skip(length as u64)
    }

    fn gap(&mut self, direction: Direction, length: u64) -> bool {
        self.framing.lose(direction);
        // What comes first may go on with a message that was lost.
        self.goes_on[direction as usize] = length > 0;
        true
    }
}

fn front(bytes: &[u8], look: Look) -> Front {
    let begins = [3, 0]
        .iter()
        .zip(bytes)
        .all(|(wanted, byte)| wanted == byte);
    if !begins {
        return Front::Other;
    }
    // The length, and the code of the message within.
    if bytes.len() < 6 {
        return Front::Partial;
    }
    let indicator = bytes.get(4).copied().map(usize::from).unwrap_or_default();
    let code = bytes.get(5).copied().unwrap_or_default();
    match tpkt::length(bytes) {
        Some(length) if indicator + 5 <= length => match (look, code & 0xf0) {
            (Look::Searching, 0xf0) if indicator != 2 => Front::Other,
            (_, 0xe0 | 0xd0 | 0xf0 | 0x80 | 0x70) => Front::Message(length),
            _ => Front::Other,
        },
        _ => Front::Other,
    }
}

/// Reads packets until one shows what rides on the transport.
fn judge(bytes: &[u8], server_port: u16) -> Probe {
    let mut rest = bytes;
    while !rest.is_empty() {
        let length = match front(rest, Look::Searching) {
            Front::Message(length) => length,
            Front::Partial => return Probe::Unsure,
            Front::Other => return Probe::NotMine,
        };
        let Some(packet) = rest
            .get(..length.min(READ_MAX))
            .filter(|packet| packet.len() >= length.min(READ_MAX))
        else {
            return Probe::Unsure;
        };
        match tpkt::open(packet) {
            Some(Packet::Request(options)) => match called(options) {
                Some((1..=3, _, _)) if server_port == PORT => return Probe::Certain,
                // Others name their ends differently, or not at all.
                _ => {}
            },
            // Fragments too small for a head show nothing.
            Some(Packet::Data { data, .. }) if data.len() >= HEAD => {
                return match carries(data, length) {
                    true => Probe::Certain,
                    false => Probe::NotMine,
                };
            }
            Some(_) => {}
            None => return Probe::NotMine,
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    Probe::Unsure
}

/// Whether the data of a packet of this length is a message of S7.
fn carries(data: &[u8], length: usize) -> bool {
    match data {
        [CLASSIC, ..] => {
            let Some((head, parameters, values)) = classic_lengths(data) else {
                return false;
            };
            head + parameters + values + tpkt::HEAD + 3 == length
        }
        [PLUS, 1..=3 | 0xfe, high, low, ..] => {
            let stated = usize::from(u16::from_be_bytes([*high, *low]));
            // A trailer follows; the largest messages come in several packets.
            stated + 4 + tpkt::HEAD + 3 <= length
        }
        _ => false,
    }
}

/// Lengths of head, parameters and values.
fn classic_lengths(data: &[u8]) -> Option<(usize, usize, usize)> {
    let mut cursor = Cursor::new(data);
    let [CLASSIC, kind, 0, 0] = cursor.array()? else {
        return None;
    };
    let head = match kind {
        1 | 7 => HEAD,
        2 | 3 => HEAD_WITH_ERROR,
        _ => return None,
    };
    let _reference = cursor.u16()?;
    Some((head, cursor.u16()?.into(), cursor.u16()?.into()))
}

/// Kind of connection, rack and slot that a request asks for.
fn called(options: &[u8]) -> Option<(u8, u8, u8)> {
    match tpkt::option(options, CALLED)? {
        [kind, place] => Some((*kind, place >> 5, place & 0x1f)),
        _ => None,
    }
}

fn tell_request(options: &[u8], sink: &mut dyn EventSink) {
    let Some((_, rack, slot)) = called(options) else {
        return;
    };
    sink.event(&Event {
        kind: EventKind::Session,
        fields: &[
            Field::number(RACK, rack.into()),
            Field::number(SLOT, slot.into()),
        ],
    });
}

fn tell(direction: Direction, data: &[u8], sink: &mut dyn EventSink) {
    match data {
        [CLASSIC, ..] => {
            if let Some(message) = classic(data) {
                message.tell(direction, sink);
            }
        }
        [PLUS, version, _, _, rest @ ..] => tell_plus(direction, *version, rest, sink),
        _ => {}
    }
}

fn classic(data: &[u8]) -> Option<Message<'_>> {
    let (head, parameters, _) = classic_lengths(data)?;
    let error = match head {
        HEAD_WITH_ERROR => Cursor::new(data.get(HEAD..)?).u16()?,
        _ => 0,
    };
    let rest = data.get(head..)?;
    Some(Message {
        kind: *data.get(1)?,
        error,
        parameters: rest.get(..parameters).unwrap_or(rest),
    })
}

impl Message<'_> {
    fn tell(&self, direction: Direction, sink: &mut dyn EventSink) {
        let (function, access) = self.function();
        let area = self.area();
        let mut fields: ArrayVec<Field<'_>, 5> = ArrayVec::new();
        fields.push(Field::name(FUNCTION, function));
        fields.push(Field::name(ACCESS, access));
        if let Some(area) = &area {
            fields.push(Field::bytes(AREA, area.as_bytes()));
        }
        if self.error != 0 {
            fields.push(Field::number(ERROR, self.error.into()));
        }
        if let Some(service) = self.service() {
            fields.push(Field::bytes(SERVICE, service));
        }
        let kind = match direction {
            Direction::ToServer => EventKind::Request,
            Direction::ToClient => EventKind::Response,
        };
        sink.event(&Event {
            kind,
            fields: &fields,
        });
    }

    fn function(&self) -> (&'static str, &'static str) {
        match (self.kind, self.parameters) {
            (7, [0, 1, 0x12, _, _, group, ..]) => user_data(group & 0x0f),
            (_, [code, ..]) => function_name(*code),
            _ => ("acknowledge", "other"),
        }
    }

    /// Of the first item of a question (S7 "any" addressing).
    fn area(&self) -> Option<ArrayString<8>> {
        let (1, [4 | 5, _, 0x12, 0x0a, 0x10, _, _, _, high, low, area, ..]) =
            (self.kind, self.parameters)
        else {
            return None;
        };
        let mut text = ArrayString::new();
        let name = match area {
            0x81 => "inputs",
            0x82 => "outputs",
            0x83 => "flags",
            0x1c => "counters",
            0x1d => "timers",
            0x80 => "periph",
            0x84..=0x86 => {
                let block = u16::from_be_bytes([*high, *low]);
                let _ = write!(text, "DB{block}");
                return Some(text);
            }
            _ => "other",
        };
        let _ = text.try_push_str(name);
        Some(text)
    }

    /// The name at the end of a control function's parameters.
    fn service(&self) -> Option<&[u8]> {
        let (1, [code @ (0x28 | 0x29), rest @ ..]) = (self.kind, self.parameters) else {
            return None;
        };
        let name = match code {
            // Seven octets, then a parameter block.
            0x28 => {
                let mut cursor = Cursor::new(rest.get(7..)?);
                let _block = cursor.vector16()?;
                cursor.vector8()?.rest()
            }
            _ => Cursor::new(rest.get(5..)?).vector8()?.rest(),
        };
        let plain = name.iter().all(u8::is_ascii_graphic);
        (plain && !name.is_empty()).then_some(name)
    }
}

fn function_name(code: u8) -> (&'static str, &'static str) {
    match code {
        0x00 => ("cpu_services", "other"),
        0x04 => ("read_var", "read"),
        0x05 => ("write_var", "write"),
        0x1a => ("request_download", "write"),
        0x1b => ("download_block", "write"),
        0x1c => ("download_ended", "write"),
        0x1d => ("start_upload", "read"),
        0x1e => ("upload", "read"),
        0x1f => ("end_upload", "read"),
        0x28 => ("plc_control", "control"),
        0x29 => ("plc_stop", "control"),
        0xf0 => ("setup_communication", "other"),
        _ => ("other", "other"),
    }
}

/// Groups of functions of user data messages.
fn user_data(group: u8) -> (&'static str, &'static str) {
    match group {
        0 => ("mode_transition", "control"),
        1 => ("programmer_commands", "control"),
        2 => ("cyclic_data", "read"),
        3 => ("block_functions", "read"),
        4 => ("cpu_functions", "read"),
        5 => ("security", "control"),
        6 => ("pbc", "other"),
        7 => ("time", "other"),
        15 => ("nc_programming", "write"),
        _ => ("other", "other"),
    }
}

/// S7comm-plus: an operation and a function, behind a digest since version 3.
fn tell_plus(direction: Direction, version: u8, rest: &[u8], sink: &mut dyn EventSink) {
    let body = match (version, rest) {
        (3, [digest, rest @ ..]) => rest.get(usize::from(*digest)..).unwrap_or_default(),
        _ => rest,
    };
    let mut cursor = Cursor::new(body);
    let (Some(operation), Some(_reserved), Some(code)) = (cursor.u8(), cursor.u16(), cursor.u16())
    else {
        return;
    };
    let (function, access) = match operation {
        0x31 | 0x32 => plus_function(code),
        0x33 => ("notification", "read"),
        _ => return,
    };
    let kind = match direction {
        Direction::ToServer => EventKind::Request,
        Direction::ToClient => EventKind::Response,
    };
    sink.event(&Event {
        kind,
        fields: &[Field::name(FUNCTION, function), Field::name(ACCESS, access)],
    });
}

fn plus_function(code: u16) -> (&'static str, &'static str) {
    match code {
        0x04bb => ("explore", "read"),
        0x04ca => ("create_object", "write"),
        0x04d4 => ("delete_object", "write"),
        0x04f2 => ("set_variable", "write"),
        0x0524 => ("get_link", "read"),
        0x0542 => ("set_multi_variables", "write"),
        0x054c => ("get_multi_variables", "read"),
        0x0556 => ("begin_sequence", "other"),
        0x0560 => ("end_sequence", "other"),
        0x056b => ("invoke", "control"),
        0x0586 => ("get_variables_substreamed", "read"),
        _ => ("other", "other"),
    }
}
