//! Telecontrol over TCP (IEC 60870-5-104; the messages are those of IEC 60870-5-101).
//!
//! Trusts nothing. A frame without data is known by four fixed octets; one with data by the sizes of
//! its objects, which the type tells. Violations: anything between frames. Memory: a flag each way.

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::read::cursor::Cursor;
use crate::read::framing::{Framing, Front, Look, Run, count};
use crate::{
    Application, ByteSet, Event, EventKind, EventSink, Field, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport,
};

const PORT: u16 = 2_404;
const START: u8 = 0x68;
/// Start and length.
const HEAD: usize = 2;
/// The control field alone, and the largest frame (104, 5).
const LENGTHS: std::ops::RangeInclusive<u8> = 4..=253;
/// Frames that only acknowledge, in a row, that suffice on any port.
const IN_A_ROW: usize = 3;

const TYPE: u8 = 0;
const CAUSE: u8 = 1;
const NEGATIVE: u8 = 2;
const STATION: u8 = 3;
const OBJECT: u8 = 4;
const OBJECTS: u8 = 5;
const CONTROL: u8 = 6;

/// The parser.
#[derive(Default)]
pub struct Iec104 {
    framing: Framing,
}

/// A frame by its control field (104, 5.1).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frame {
    /// Data.
    Information,
    /// An acknowledgement.
    Supervisory,
    /// Start, stop and test.
    Unnumbered(&'static str),
}

/// The head of data (101, 7.2).
struct Unit {
    type_id: u8,
    objects: u8,
    cause: u8,
    negative: bool,
    station: u16,
    object: u32,
}

impl Application for Iec104 {
    const NAME: &'static str = "iec104";
    const ABOUT: &'static str = "Telecontrol over TCP (IEC 60870-5-104)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[PORT];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "type",
            "Type of the data: M_SP_NA_1, C_SC_NA_1 … or other (IEC 60870-5-101, 7.2.1)",
        ),
        FieldSpec::condition(
            "cause",
            "Cause of transmission: spontaneous, activation … (IEC 60870-5-101, 7.2.3)",
        ),
        FieldSpec::text(
            "negative",
            "Whether a confirmation is negative: yes, or absent",
        ),
        FieldSpec::number("station", "Common address of the data"),
        FieldSpec::number("object", "Address of the first object"),
        FieldSpec::number("objects", "How many objects"),
        FieldSpec::text(
            "control",
            "Control of the connection: STARTDT act, STARTDT con, STOPDT act … (IEC 60870-5-104, 5.3)",
        ),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[START]),
        to_client: ByteSet::of(&[START]),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let client = count(input.to_server, front);
        let server = count(input.to_client, front);
        let certain = |bytes: &[u8], run: Run| {
            run.whole >= IN_A_ROW || run.whole > 0 && (input.server_port == PORT || telling(bytes))
        };
        if certain(input.to_server, client) || certain(input.to_client, server) {
            return Probe::Certain;
        }
        match client.broken || server.broken {
            true => Probe::NotMine,
            false => Probe::Unsure,
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let length =
            match self
                .framing
                .next(direction, input, front, "iec104: no frame where one begins")
            {
                Ok(length) => length,
                Err(step) => return step,
            };
        let Some(frame) = input.get(..length) else {
            return Step::Incomplete;
        };
        match control(frame) {
            Some(Frame::Information) => tell(direction, frame, sink),
            Some(Frame::Unnumbered(name)) => sink.event(&Event {
                kind: EventKind::Session,
                fields: &[Field::name(CONTROL, name)],
            }),
            Some(Frame::Supervisory) | None => {}
        }
        Step::Consumed(length)
    }

    fn gap(&mut self, direction: Direction, _length: u64) -> bool {
        self.framing.lose(direction);
        true
    }
}

/// Whether one of the frames that `bytes` begin with is hardly anything else.
fn telling(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Front::Message(length) = front(rest, Look::Searching) {
        let Some(frame) = rest.get(..length) else {
            return false;
        };
        match control(frame) {
            Some(Frame::Unnumbered(_)) => return true,
            Some(Frame::Information) if sized(frame) == Some(true) => return true,
            _ => {}
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    false
}

fn front(bytes: &[u8], look: Look) -> Front {
    match bytes {
        [START] => Front::Partial,
        [START, length, rest @ ..] if LENGTHS.contains(length) => {
            let whole = HEAD + usize::from(*length);
            if rest.len() < 4 {
                return Front::Partial;
            }
            if control(bytes).is_none() {
                return Front::Other;
            }
            match bytes.get(..whole) {
                // An endpoint asks no more than that the frame is one.
                _ if look == Look::Expected => Front::Message(whole),
                None => Front::Partial,
                Some(frame) => match control(frame) {
                    Some(Frame::Information) if sized(frame) == Some(false) => Front::Other,
                    _ => Front::Message(whole),
                },
            }
        }
        _ => Front::Other,
    }
}

fn control(frame: &[u8]) -> Option<Frame> {
    let [_, length, control @ ..] = frame else {
        return None;
    };
    match control {
        [1, 0, third, _, ..] if third & 1 == 0 && *length == 4 => Some(Frame::Supervisory),
        [first, _, third, _, ..] if first & 1 == 0 && third & 1 == 0 && *length >= 10 => {
            Some(Frame::Information)
        }
        [first, 0, 0, 0, ..] if *length == 4 => Some(Frame::Unnumbered(match first {
            0x07 => "STARTDT act",
            0x0b => "STARTDT con",
            0x13 => "STOPDT act",
            0x23 => "STOPDT con",
            0x43 => "TESTFR act",
            0x83 => "TESTFR con",
            _ => return None,
        })),
        _ => None,
    }
}

fn unit(frame: &[u8]) -> Option<Unit> {
    let mut cursor = Cursor::new(frame.get(6..)?);
    let [type_id, objects, cause, _originator] = cursor.array()?;
    let station = u16::from_le_bytes(cursor.array()?);
    // Data without objects is an error, but has been seen.
    let object = cursor
        .array()
        .map_or(0, |[a, b, c]| u32::from_le_bytes([a, b, c, 0]));
    Some(Unit {
        type_id,
        objects,
        cause: cause & 0x3f,
        negative: cause & 0x40 != 0,
        station,
        object,
    })
}

/// Whether the objects fill the frame and the cause is one; None for a type whose size is not
/// fixed.
fn sized(frame: &[u8]) -> Option<bool> {
    let unit = unit(frame)?;
    let count = usize::from(unit.objects & 0x7f);
    let Some(Some(size)) = SIZES.get(usize::from(unit.type_id)).copied() else {
        return (!matches!(unit.type_id, 120..=127)).then_some(false);
    };
    let size = usize::from(size);
    let sequence = unit.objects & 0x80 != 0;
    let expected = match sequence {
        true => 3 + count * size,
        false => count * (3 + size),
    };
    let data = frame.len().checked_sub(12)?;
    Some(count > 0 && data == expected && cause_name(unit.cause) != "other")
}

/// Octets of an object's data by type (101, 7.3).
const SIZES: [Option<u8>; 114] = {
    let mut sizes = [None; 114];
    let known: [(usize, u8); 60] = [
        (1, 1),
        (2, 4),
        (3, 1),
        (4, 4),
        (5, 2),
        (6, 5),
        (7, 5),
        (8, 8),
        (9, 3),
        (10, 6),
        (11, 3),
        (12, 6),
        (13, 5),
        (14, 8),
        (15, 5),
        (16, 8),
        (17, 6),
        (18, 7),
        (19, 7),
        (20, 5),
        (21, 2),
        (30, 8),
        (31, 8),
        (32, 9),
        (33, 12),
        (34, 10),
        (35, 10),
        (36, 12),
        (37, 12),
        (38, 10),
        (39, 11),
        (40, 11),
        (45, 1),
        (46, 1),
        (47, 1),
        (48, 3),
        (49, 3),
        (50, 5),
        (51, 4),
        (58, 8),
        (59, 8),
        (60, 8),
        (61, 10),
        (62, 10),
        (63, 12),
        (64, 11),
        (70, 1),
        (100, 1),
        (101, 1),
        (102, 0),
        (103, 7),
        (104, 2),
        (105, 1),
        (106, 2),
        (107, 9),
        (110, 3),
        (111, 3),
        (112, 5),
        (113, 1),
        (41, 11),
    ];
    let mut index = 0;
    while index < known.len() {
        sizes[known[index].0] = Some(known[index].1);
        index += 1;
    }
    sizes
};

fn tell(direction: Direction, frame: &[u8], sink: &mut dyn EventSink) {
    let Some(unit) = unit(frame) else { return };
    let mut fields: ArrayVec<Field<'_>, 6> = ArrayVec::new();
    fields.push(Field::name(TYPE, type_name(unit.type_id)));
    fields.push(Field::name(CAUSE, cause_name(unit.cause)));
    if unit.negative {
        fields.push(Field::name(NEGATIVE, "yes"));
    }
    fields.push(Field::number(STATION, unit.station.into()));
    fields.push(Field::number(OBJECT, unit.object.into()));
    fields.push(Field::number(OBJECTS, (unit.objects & 0x7f).into()));
    let kind = match direction {
        Direction::ToServer => EventKind::Request,
        Direction::ToClient => EventKind::Response,
    };
    sink.event(&Event {
        kind,
        fields: &fields,
    });
}

fn type_name(type_id: u8) -> &'static str {
    match type_id {
        1 => "M_SP_NA_1",
        2 => "M_SP_TA_1",
        3 => "M_DP_NA_1",
        4 => "M_DP_TA_1",
        5 => "M_ST_NA_1",
        6 => "M_ST_TA_1",
        7 => "M_BO_NA_1",
        8 => "M_BO_TA_1",
        9 => "M_ME_NA_1",
        10 => "M_ME_TA_1",
        11 => "M_ME_NB_1",
        12 => "M_ME_TB_1",
        13 => "M_ME_NC_1",
        14 => "M_ME_TC_1",
        15 => "M_IT_NA_1",
        16 => "M_IT_TA_1",
        17 => "M_EP_TA_1",
        18 => "M_EP_TB_1",
        19 => "M_EP_TC_1",
        20 => "M_PS_NA_1",
        21 => "M_ME_ND_1",
        30 => "M_SP_TB_1",
        31 => "M_DP_TB_1",
        32 => "M_ST_TB_1",
        33 => "M_BO_TB_1",
        34 => "M_ME_TD_1",
        35 => "M_ME_TE_1",
        36 => "M_ME_TF_1",
        37 => "M_IT_TB_1",
        38 => "M_EP_TD_1",
        39 => "M_EP_TE_1",
        40 => "M_EP_TF_1",
        41 => "S_IT_TC_1",
        45 => "C_SC_NA_1",
        46 => "C_DC_NA_1",
        47 => "C_RC_NA_1",
        48 => "C_SE_NA_1",
        49 => "C_SE_NB_1",
        50 => "C_SE_NC_1",
        51 => "C_BO_NA_1",
        58 => "C_SC_TA_1",
        59 => "C_DC_TA_1",
        60 => "C_RC_TA_1",
        61 => "C_SE_TA_1",
        62 => "C_SE_TB_1",
        63 => "C_SE_TC_1",
        64 => "C_BO_TA_1",
        70 => "M_EI_NA_1",
        100 => "C_IC_NA_1",
        101 => "C_CI_NA_1",
        102 => "C_RD_NA_1",
        103 => "C_CS_NA_1",
        104 => "C_TS_NA_1",
        105 => "C_RP_NA_1",
        106 => "C_CD_NA_1",
        107 => "C_TS_TA_1",
        110 => "P_ME_NA_1",
        111 => "P_ME_NB_1",
        112 => "P_ME_NC_1",
        113 => "P_AC_NA_1",
        120 => "F_FR_NA_1",
        121 => "F_SR_NA_1",
        122 => "F_SC_NA_1",
        123 => "F_LS_NA_1",
        124 => "F_AF_NA_1",
        125 => "F_SG_NA_1",
        126 => "F_DR_TA_1",
        127 => "F_SC_NB_1",
        _ => "other",
    }
}

fn cause_name(cause: u8) -> &'static str {
    match cause {
        1 => "periodic",
        2 => "background_scan",
        3 => "spontaneous",
        4 => "initialized",
        5 => "request",
        6 => "activation",
        7 => "activation_confirmation",
        8 => "deactivation",
        9 => "deactivation_confirmation",
        10 => "activation_termination",
        11 => "return_remote_command",
        12 => "return_local_command",
        13 => "file_transfer",
        14 => "authentication",
        15 => "session_key_maintenance",
        16 => "user_role_maintenance",
        20 => "interrogated_by_station",
        21..=36 => "interrogated_by_group",
        37 => "counter_general_request",
        38..=41 => "counter_group_request",
        44 => "unknown_type",
        45 => "unknown_cause",
        46 => "unknown_station",
        47 => "unknown_object",
        _ => "other",
    }
}
