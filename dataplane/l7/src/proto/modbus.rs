//! Modbus over TCP (MODBUS Messaging on TCP/IP Implementation Guide V1.0b; MODBUS Application
//! Protocol Specification V1.1b3).
//!
//! Trusts nothing. The header has little to know it by: a name needs messages whose lengths, counts
//! and ranges agree, on the customary port one, elsewhere a question with its answer or three in a
//! row. Violations: a protocol identifier other than 0, an impossible length. Memory: a flag each
//! way.

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::read::cursor::Cursor;
use crate::read::framing::{Framing, Front, Look, count};
use crate::{
    Application, ByteSet, Event, EventKind, EventSink, Field, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport,
};

const PORT: u16 = 502;
/// Transaction, protocol, length.
const HEAD: usize = 6;
/// The unit and the largest message behind it (Application Protocol, 4.1).
const LENGTH_MAX: usize = 254;
/// Messages in one direction that suffice on any port.
const IN_A_ROW: usize = 3;

const FUNCTION: u8 = 0;
const ACCESS: u8 = 1;
const CODE: u8 = 2;
const UNIT: u8 = 3;
const ADDRESS: u8 = 4;
const QUANTITY: u8 = 5;
const EXCEPTION: u8 = 6;

/// The parser.
#[derive(Default)]
pub struct Modbus {
    framing: Framing,
}

/// A message without its length.
struct Message<'a> {
    transaction: u16,
    unit: u8,
    code: u8,
    data: &'a [u8],
}

/// Registers or coils that a question is about.
struct Range {
    address: u16,
    quantity: Option<u16>,
}

impl Application for Modbus {
    const NAME: &'static str = "modbus";
    const ABOUT: &'static str =
        "Modbus over TCP (Modbus Organization, Messaging on TCP/IP Implementation Guide V1.0b)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[PORT];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "function",
            "Function: read_coils, write_single_register … or other (Application Protocol V1.1b3, 5.1)",
        ),
        FieldSpec::condition(
            "access",
            "What the function does: read, write, read_write, or diagnose",
        ),
        FieldSpec::number("function_code", "Function code without the exception bit"),
        FieldSpec::number("unit", "Unit identifier: the device behind a gateway"),
        FieldSpec::number("address", "First coil or register, counted from 0"),
        FieldSpec::number("quantity", "Coils or registers from there on"),
        FieldSpec::text(
            "exception",
            "Why the device declined (Application Protocol V1.1b3, 7)",
        ),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::ANY,
        to_client: ByteSet::ANY,
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let strict_question = |bytes: &[u8], _: Look| strict(bytes, question_fits);
        let strict_answer = |bytes: &[u8], _: Look| strict(bytes, answer_fits);
        let question = count(input.to_server, strict_question);
        let answer = count(input.to_client, strict_answer);
        // What follows enough messages was not there yet when they came in smaller pieces.
        let certain = match (question.whole, answer.whole) {
            (0, 0) => false,
            _ if input.server_port == PORT => true,
            (rows, _) if input.to_client.is_empty() => rows >= IN_A_ROW,
            (_, rows) if input.to_server.is_empty() => rows >= IN_A_ROW,
            (_, rows) => rows > 0 && answers(input.to_server, input.to_client),
        };
        if certain {
            return Probe::Certain;
        }
        // A device answers odd questions too, so that only their heads must fit.
        match count(input.to_server, |bytes, _| loose(bytes)).broken || answer.broken {
            true => Probe::NotMine,
            false => Probe::Unsure,
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let front = match direction {
            Direction::ToServer => front_of_question,
            Direction::ToClient => front_of_answer,
        };
        let length = match self
            .framing
            .next(direction, input, front, "modbus: no Modbus header")
        {
            Ok(length) => length,
            Err(step) => return step,
        };
        let Some(message) = input.get(..length).and_then(Message::read) else {
            return Step::Incomplete;
        };
        match direction {
            Direction::ToServer => message.tell_question(sink),
            Direction::ToClient => message.tell_answer(sink),
        }
        Step::Consumed(length)
    }

    fn gap(&mut self, direction: Direction, _length: u64) -> bool {
        self.framing.lose(direction);
        true
    }
}

impl<'a> Message<'a> {
    /// A whole message.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        let transaction = cursor.u16()?;
        let _protocol = cursor.u16()?;
        let _length = cursor.u16()?;
        Some(Self {
            transaction,
            unit: cursor.u8()?,
            code: cursor.u8()?,
            data: cursor.rest(),
        })
    }

    fn function(&self) -> u8 {
        self.code & 0x7f
    }

    fn common(&self) -> ArrayVec<Field<'static>, 8> {
        let (function, access) = function_name(self.function());
        let mut fields = ArrayVec::new();
        fields.push(Field::name(FUNCTION, function));
        fields.push(Field::name(ACCESS, access));
        fields.push(Field::number(CODE, self.function().into()));
        fields.push(Field::number(UNIT, self.unit.into()));
        fields
    }

    fn tell_question(&self, sink: &mut dyn EventSink) {
        let mut fields = self.common();
        if let Some(range) = self.range() {
            fields.push(Field::number(ADDRESS, range.address.into()));
            if let Some(quantity) = range.quantity {
                fields.push(Field::number(QUANTITY, quantity.into()));
            }
        }
        sink.event(&Event {
            kind: EventKind::Request,
            fields: &fields,
        });
    }

    fn tell_answer(&self, sink: &mut dyn EventSink) {
        let mut fields = self.common();
        if self.code & 0x80 != 0 {
            let code = self.data.first().copied().unwrap_or_default();
            fields.push(Field::name(EXCEPTION, exception_name(code)));
        }
        sink.event(&Event {
            kind: EventKind::Response,
            fields: &fields,
        });
    }

    fn range(&self) -> Option<Range> {
        let mut cursor = Cursor::new(self.data);
        let address = cursor.u16()?;
        match self.code {
            1..=4 | 15 | 16 | 23 => Some(Range {
                address,
                quantity: cursor.u16(),
            }),
            5 | 6 | 22 => Some(Range {
                address,
                quantity: Some(1),
            }),
            24 => Some(Range {
                address,
                quantity: None,
            }),
            _ => None,
        }
    }
}

/// What a device would read as a message.
fn tolerant(bytes: &[u8]) -> Front {
    let mut cursor = Cursor::new(bytes);
    let (Some(_), Some(protocol), Some(length)) = (cursor.u16(), cursor.u16(), cursor.u16()) else {
        return match bytes.get(2..4) {
            Some([0, 0]) | None => Front::Partial,
            Some(_) => Front::Other,
        };
    };
    let length = usize::from(length);
    match protocol == 0 && (2..=LENGTH_MAX).contains(&length) {
        true => Front::Message(HEAD + length),
        false => Front::Other,
    }
}

/// What a device would answer, if only with an exception.
fn loose(bytes: &[u8]) -> Front {
    match tolerant(bytes) {
        Front::Message(_) if !known(bytes.get(HEAD + 1).copied()) => Front::Other,
        front => front,
    }
}

/// A message whose parts agree with each other.
fn strict(bytes: &[u8], fits: fn(&Message<'_>) -> bool) -> Front {
    match tolerant(bytes) {
        Front::Message(length) => match bytes.get(..length).and_then(Message::read) {
            Some(message) if fits(&message) => Front::Message(length),
            Some(_) => Front::Other,
            None if known(bytes.get(HEAD + 1).copied()) => Front::Partial,
            None => Front::Other,
        },
        front => front,
    }
}

fn front_of_question(bytes: &[u8], look: Look) -> Front {
    match look {
        Look::Expected => tolerant(bytes),
        Look::Searching => strict(bytes, question_fits),
    }
}

fn front_of_answer(bytes: &[u8], look: Look) -> Front {
    match look {
        Look::Expected => tolerant(bytes),
        Look::Searching => strict(bytes, answer_fits),
    }
}

/// Whether a function code, where it is there, is one that the specification names or leaves to
/// the user.
fn known(code: Option<u8>) -> bool {
    code.is_none_or(|code| matches!(code & 0x7f, 1..=8 | 11 | 12 | 15..=17 | 20..=24 | 43 | 65..=72 | 90 | 100..=110))
}

/// Ranges and counts of a question (Application Protocol, 6).
fn question_fits(message: &Message<'_>) -> bool {
    let data = message.data;
    let within = |most: u16| match data {
        [a, b, c, d, ..] => {
            let (address, quantity) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
            (1..=most).contains(&quantity) && u32::from(address) + u32::from(quantity) <= 65_536
        }
        _ => false,
    };
    let quantity = || match data {
        [_, _, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
        _ => 0,
    };
    // The count of bytes at `at` is that of the bytes behind it.
    let counted = |at: usize| {
        let rest = data.len().checked_sub(at + 1);
        rest.is_some_and(|rest| data.get(at).copied().map(usize::from) == Some(rest))
    };
    match message.code {
        1 | 2 => data.len() == 4 && within(2_000),
        3 | 4 => data.len() == 4 && within(125),
        5 => matches!(data, [_, _, 0 | 0xff, 0]),
        6 => data.len() == 4,
        7 | 11 | 12 | 17 => data.is_empty(),
        8 => matches!(data, [0, 0..=18, _, _, ..]),
        15 => within(1_968) && counted(4) && data.len() == 5 + quantity().div_ceil(8),
        16 => within(123) && counted(4) && data.len() == 5 + 2 * quantity(),
        20 | 21 => data.len() > 7 && counted(0),
        22 => data.len() == 6,
        23 => within(125) && counted(8) && data.len() > 10,
        24 => data.len() == 2,
        43 => matches!(data, [13, ..] | [14, 1..=4, _]),
        _ => false,
    }
}

/// Counts of an answer (Application Protocol, 6 and 7).
fn answer_fits(message: &Message<'_>) -> bool {
    let data = message.data;
    let counted = |even: bool| match data {
        [size, rest @ ..] => {
            !rest.is_empty()
                && usize::from(*size) == rest.len()
                && (!even || rest.len().is_multiple_of(2))
        }
        [] => false,
    };
    if message.code & 0x80 != 0 {
        return known(Some(message.code)) && matches!(data, [1..=8 | 10 | 11]);
    }
    match message.code {
        1 | 2 => counted(false),
        3 | 4 | 23 => counted(true),
        5 => matches!(data, [_, _, 0 | 0xff, 0]),
        6 | 11 => data.len() == 4,
        7 => data.len() == 1,
        8 => matches!(data, [0, 0..=18, _, _, ..]),
        12 | 17 | 20 | 21 => counted(false),
        15 | 16 => matches!(data, [_, _, _, _]),
        22 => data.len() == 6,
        24 => {
            matches!(data, [high, low, _, _, ..] if usize::from(u16::from_be_bytes([*high, *low])) == data.len() - 2)
        }
        43 => matches!(data, [13, ..] | [14, 1..=4, _, 0 | 0xff, _, _, ..]),
        _ => false,
    }
}

/// Whether the first answer belongs to a question that was asked.
fn answers(questions: &[u8], answers: &[u8]) -> bool {
    let first = |bytes: &[u8]| {
        let Front::Message(length) = tolerant(bytes) else {
            return None;
        };
        let message = bytes.get(..length).and_then(Message::read)?;
        Some((message.transaction, message.unit, message.function()))
    };
    let answer = first(answers);
    let mut rest = questions;
    while let Front::Message(length) = tolerant(rest) {
        if answer.is_some() && first(rest) == answer {
            return true;
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    false
}

/// Name and access of a function (Application Protocol, 5.1 and 6).
fn function_name(code: u8) -> (&'static str, &'static str) {
    match code {
        1 => ("read_coils", "read"),
        2 => ("read_discrete_inputs", "read"),
        3 => ("read_holding_registers", "read"),
        4 => ("read_input_registers", "read"),
        5 => ("write_single_coil", "write"),
        6 => ("write_single_register", "write"),
        7 => ("read_exception_status", "diagnose"),
        8 => ("diagnostics", "diagnose"),
        11 => ("get_comm_event_counter", "diagnose"),
        12 => ("get_comm_event_log", "diagnose"),
        15 => ("write_multiple_coils", "write"),
        16 => ("write_multiple_registers", "write"),
        17 => ("report_server_id", "diagnose"),
        20 => ("read_file_record", "read"),
        21 => ("write_file_record", "write"),
        22 => ("mask_write_register", "write"),
        23 => ("read_write_multiple_registers", "read_write"),
        24 => ("read_fifo_queue", "read"),
        43 => ("encapsulated_interface", "diagnose"),
        // It may do anything.
        _ => ("other", "write"),
    }
}

fn exception_name(code: u8) -> &'static str {
    match code {
        1 => "illegal_function",
        2 => "illegal_data_address",
        3 => "illegal_data_value",
        4 => "server_device_failure",
        5 => "acknowledge",
        6 => "server_device_busy",
        7 => "negative_acknowledge",
        8 => "memory_parity_error",
        10 => "gateway_path_unavailable",
        11 => "gateway_target_failed_to_respond",
        _ => "other",
    }
}
