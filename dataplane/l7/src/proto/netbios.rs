//! NetBIOS over UDP: the name service and the datagram service (RFC 1001, RFC 1002). The session
//! service on TCP 139 carries SMB, as some datagrams do, and is named so.
//!
//! Trusts nothing. Known on any port by names in their own encoding: 32 letters from A to P behind
//! their length. Violations: messages without one. Memory: none.

use std::net::{IpAddr, Ipv4Addr};

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::fields::Fields;
use crate::read::cursor::Cursor;
use crate::read::sides::{judge, kind};
use crate::{Application, EventSink, FieldSpec, Probe, ProbeInput, Step, Transport};

/// An encoded name (RFC 1001, 14.1).
const ENCODED: usize = 32;
const NAME_HEADER: usize = 12;
/// Up to the names (RFC 1002, 4.4.2).
const DATAGRAM_HEADER: usize = 14;
/// What mailslots begin with.
const SMB: &[u8] = b"\xffSMB";
const TYPE_NB: u16 = 0x20;
const TYPE_NBSTAT: u16 = 0x21;

const SERVICE: u8 = 0;
const OPERATION: u8 = 1;
const NAME: u8 = 2;
const SUFFIX: u8 = 3;
const RCODE: u8 = 4;
const ADDRESS: u8 = 5;
const SOURCE_NAME: u8 = 6;
const TTL: u8 = 7;

/// The parser: every message stands alone.
#[derive(Default)]
pub struct Netbios;

/// A decoded name without its spaces.
struct Name {
    text: ArrayVec<u8, 15>,
    suffix: u8,
}

impl Application for Netbios {
    const NAME: &'static str = "netbios";
    const ABOUT: &'static str = "NetBIOS name and datagram services over UDP (RFC 1002)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Udp];
    const PORTS: &'static [u16] = &[137, 138];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition("service", "name or datagram"),
        FieldSpec::condition(
            "operation",
            "What is asked or told: query, status, registration, release, refresh, wait; direct, broadcast, error (RFC 1002, 4.2 and 4.4)",
        ),
        FieldSpec::condition("name", "Name asked for or sent to, without its spaces"),
        FieldSpec::number(
            "suffix",
            "The name's last byte: what kind of service it names",
        ),
        FieldSpec::number("rcode", "Result of a response (RFC 1002, 4.2.1.1)"),
        FieldSpec::address(
            "address",
            "First address of the name, or the sender's of a datagram",
        ),
        FieldSpec::text("source_name", "Sender of a datagram (RFC 1002, 4.4.2)"),
        FieldSpec::number(
            "ttl",
            "Seconds for which the name holds (RFC 1002, 4.2.1.3)",
        ),
    ];

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let side = |bytes: &[u8]| match is_name_service(bytes) || is_datagram(bytes, false) {
            true => Probe::Certain,
            false => Probe::NotMine,
        };
        judge(input, side, side)
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let told = if is_datagram(input, true) {
            tell_datagram(direction, input, sink)
        } else {
            tell_name_service(direction, input, sink)
        };
        match told {
            Some(()) => Step::Consumed(input.len()),
            None => Step::Violation("netbios: a message without a NetBIOS name"),
        }
    }

    fn gap(&mut self, _direction: Direction, _length: u64) -> bool {
        true
    }
}

/// Reads the encoded name at the front; its scope is passed over.
fn name(cursor: &mut Cursor<'_>) -> Option<Name> {
    let encoded = cursor.vector8()?.rest();
    (encoded.len() == ENCODED).then_some(())?;
    let mut bytes = ArrayVec::<u8, 16>::new();
    for pair in encoded.chunks_exact(2) {
        let &[high @ b'A'..=b'P', low @ b'A'..=b'P'] = pair else {
            return None;
        };
        bytes.push((high - b'A') << 4 | (low - b'A'));
    }
    loop {
        match cursor.u8()? {
            0 => break,
            // A pointer to a scope that was told before.
            0xc0.. => {
                cursor.u8()?;
                break;
            }
            label => {
                cursor.take(label.into())?;
            }
        }
    }
    let suffix = bytes.pop()?;
    while matches!(bytes.last(), Some(b' ' | 0)) {
        bytes.pop();
    }
    Some(Name {
        text: bytes.into_iter().collect(),
        suffix,
    })
}

fn is_name_service(message: &[u8]) -> bool {
    let mut cursor = Cursor::new(message);
    let Some([_, _, flags, _, counts @ ..]) = cursor.array::<NAME_HEADER>() else {
        return false;
    };
    let few = |counts: &[u8]| matches!(counts, [0, 0..=8]);
    // RFC 1002, 4.2.1.1: query, registration, release, wait, refresh (8 or 9), multi-homed.
    let operation = matches!(flags >> 3 & 15, 0 | 5..=9 | 15);
    operation
        && counts.chunks_exact(2).all(few)
        && name(&mut cursor).is_some()
        && matches!(cursor.u16(), Some(TYPE_NB | TYPE_NBSTAT | 1 | 2 | 10))
        && cursor.u16() == Some(1)
}

fn tell_name_service(direction: Direction, message: &[u8], sink: &mut dyn EventSink) -> Option<()> {
    let mut cursor = Cursor::new(message);
    let [_, _, flags, low, _, questions, _, answers, _, _, _, more] =
        cursor.array::<NAME_HEADER>()?;
    let name = name(&mut cursor)?;
    let asked = cursor.u16()?;
    let _class = cursor.u16()?;
    let response = flags & 0x80 != 0;
    let operation = match flags >> 3 & 15 {
        0 if asked == TYPE_NBSTAT => "status",
        0 => "query",
        5 | 15 => "registration",
        6 => "release",
        7 => "wait",
        8 | 9 => "refresh",
        _ => "other",
    };
    let mut fields = Fields::<8>::new();
    fields
        .name(SERVICE, "name")
        .name(OPERATION, operation)
        .bytes(NAME, &name.text)
        .number(SUFFIX, name.suffix);
    if response {
        fields.number(RCODE, low & 15);
    }
    // The record behind a question points back at its name.
    if questions > 0 && answers == 0 && more > 0 && cursor.u16()? >> 14 == 3 {
        cursor.u16()?;
        cursor.u16()?;
    }
    if asked == TYPE_NB && (response || more > 0) {
        let mut record = || {
            let ttl = cursor.u32()?;
            let mut data = cursor.vector16()?;
            let _flags = data.u16()?;
            Some((ttl, data.array::<4>()?))
        };
        if let Some((ttl, address)) = record() {
            fields
                .address(ADDRESS, IpAddr::V4(Ipv4Addr::from(address)))
                .number(TTL, ttl);
        }
    }
    fields.tell(kind(direction), sink);
    Some(())
}

/// RFC 1002, 4.4.1. One that carries SMB is SMB's, unless it is to be `told` among others.
fn is_datagram(message: &[u8], told: bool) -> bool {
    let Some((&[kind, flags, ..], rest)) = message.split_first_chunk::<10>() else {
        return false;
    };
    if flags & 0xf0 != 0 {
        return false;
    }
    match kind {
        0x10..=0x12 => {
            let length = match rest {
                [high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
                _ => return false,
            };
            let mut names = Cursor::new(message.get(DATAGRAM_HEADER..).unwrap_or_default());
            // Some senders count the header as well.
            (length <= message.len())
                && name(&mut names).is_some()
                && name(&mut names).is_some()
                && (told || !names.rest().starts_with(SMB))
        }
        0x14..=0x16 => name(&mut Cursor::new(rest)).is_some(),
        _ => false,
    }
}

fn tell_datagram(direction: Direction, message: &[u8], sink: &mut dyn EventSink) -> Option<()> {
    let mut header = Cursor::new(message);
    let [kind_byte, _, _, _] = header.array()?;
    let sender: [u8; 4] = header.array()?;
    let _port = header.u16()?;
    let operation = match kind_byte {
        0x10 => "direct-unique",
        0x11 => "direct-group",
        0x12 => "broadcast",
        0x14 => "query",
        _ => "query-response",
    };
    let mut source = None;
    if kind_byte <= 0x12 {
        header.array::<4>()?;
        source = Some(name(&mut header)?);
    }
    let name = name(&mut header)?;
    let mut fields = Fields::<8>::new();
    fields
        .name(SERVICE, "datagram")
        .name(OPERATION, operation)
        .bytes(NAME, &name.text)
        .number(SUFFIX, name.suffix)
        .address(ADDRESS, IpAddr::V4(Ipv4Addr::from(sender)));
    if let Some(source) = &source {
        fields.bytes(SOURCE_NAME, &source.text);
    }
    fields.tell(kind(direction), sink);
    Some(())
}
