//! SNMP: versions 1, 2c and 3 (RFC 1157, RFC 1905, RFC 3412).
//!
//! Trusts nothing. A message is known by its BER on any port: version, community or headers of
//! version 3, and a PDU whose parts have the types they must have; on its own ports version and
//! community are enough, so that malformed messages do not pass for something else. The community
//! and the parameters of authentication are secrets and never told. Violations: a message without
//! that form. Memory: none.

use std::net::{IpAddr, Ipv4Addr};

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::fields::Fields;
use crate::read::ber::{Ber, OCTETS, OID, SEQUENCE};
use crate::read::content;
use crate::read::sides::judge;
use crate::{
    Application, Buffer, BufferSet, ByteSet, EventKind, EventSink, FieldSpec, Openings, Probe,
    ProbeInput, Seen, Step, Transport,
};

/// "IpAddress" of a version 1 trap (RFC 1155, 6).
const IP_ADDRESS: u8 = 0x40;
const TIME_TICKS: u8 = 0x43;
const PDU_TRAP_V1: u8 = 0xa4;
/// What is told of an object's name.
const OID_TEXT_MAX: usize = 128;
/// Communities are longer nowhere.
const COMMUNITY_MAX: usize = 255;

const VERSION: u8 = 0;
const PDU: u8 = 1;
const OBJECT: u8 = 2;
const USER: u8 = 3;
const ERROR_STATUS: u8 = 4;
const CONTEXT: u8 = 5;
const SECURITY_LEVEL: u8 = 6;
const REQUEST_ID: u8 = 7;
const AGENT: u8 = 8;
const GENERIC_TRAP: u8 = 9;

/// The parser: every message stands alone.
#[derive(Default)]
pub struct Snmp;

struct Message<'a> {
    version: &'static str,
    community: Option<&'a [u8]>,
    user: &'a [u8],
    level: Option<&'static str>,
    context: &'a [u8],
    /// None: encrypted.
    pdu: Option<Pdu<'a>>,
}

#[derive(Default)]
struct Pdu<'a> {
    tag: u8,
    request: Option<i64>,
    error: Option<i64>,
    generic_trap: Option<i64>,
    agent: Option<IpAddr>,
    /// First object, or the enterprise of a version 1 trap.
    object: &'a [u8],
}

impl Application for Snmp {
    const NAME: &'static str = "snmp";
    const ABOUT: &'static str =
        "Simple Network Management Protocol, versions 1, 2c and 3 (RFC 1157, RFC 3416, RFC 3412)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Udp];
    const PORTS: &'static [u16] = &[161, 162];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition("version", "Version: 1, 2c or 3"),
        FieldSpec::condition(
            "pdu",
            "What is asked or told: get, get-next, get-bulk, set, response, trap, inform, report; encrypted (RFC 3416, 3)",
        ),
        FieldSpec::condition(
            "object",
            "Identifier of the first object, or the enterprise of a version 1 trap: 1.3.6.1.2.1.1.5.0",
        ),
        FieldSpec::condition("user", "User of version 3 (RFC 3414, 2.4)")
            .looked_into_as(Buffer::SnmpUser),
        FieldSpec::text(
            "error_status",
            "Error of a response: noSuchName, ... (RFC 3416, 3)",
        ),
        FieldSpec::text("context", "Context name of version 3 (RFC 3412, 6.8)"),
        FieldSpec::text(
            "security_level",
            "Security of version 3: noAuthNoPriv, authNoPriv, authPriv (RFC 3412, 6.4)",
        ),
        FieldSpec::number("request_id", "Request id (RFC 3416, 3)"),
        FieldSpec::address(
            "agent",
            "Agent that a version 1 trap names (RFC 1157, 4.1.6)",
        ),
        FieldSpec::number(
            "generic_trap",
            "Generic trap of version 1 (RFC 1157, 4.1.6)",
        ),
    ];
    const CONTENTS: BufferSet = BufferSet::EMPTY.with(Buffer::SnmpCommunity);
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[SEQUENCE]),
        to_client: ByteSet::of(&[SEQUENCE]),
    };
    const SEEN: Seen = Seen::Live;

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let at_home = Self::PORTS.contains(&input.server_port);
        let side = |bytes: &[u8]| match read(bytes).is_some() && is_exact(bytes)
            || at_home && is_begun(bytes)
        {
            true => Probe::Certain,
            false => Probe::NotMine,
        };
        judge(input, side, side)
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let Some(message) = read(input) else {
            return Step::Violation("snmp: no message of a known version");
        };
        tell(direction, &message, sink);
        Step::Consumed(input.len())
    }

    fn gap(&mut self, _direction: Direction, _length: u64) -> bool {
        true
    }
}

/// Whether the message is as long as it says.
fn is_exact(input: &[u8]) -> bool {
    let mut outer = Ber::new(input);
    outer.enter(SEQUENCE).is_some() && outer.is_empty()
}

/// Whether version and community, or version and headers, are there.
fn is_begun(input: &[u8]) -> bool {
    let Some(mut message) = Ber::new(input).enter_cut(SEQUENCE) else {
        return false;
    };
    match message.integer() {
        Some(0 | 1) => message.expect(OCTETS).is_some(),
        Some(3) => message.enter(SEQUENCE).is_some(),
        _ => false,
    }
}

fn read(input: &[u8]) -> Option<Message<'_>> {
    let mut message = Ber::new(input).enter_cut(SEQUENCE)?;
    match message.integer()? {
        version @ (0 | 1) => {
            let community = message.expect(OCTETS)?;
            (community.len() <= COMMUNITY_MAX).then_some(())?;
            let pdu = read_pdu(&mut message)?;
            // Traps of version 1 and bulk requests belong to one version each.
            let fits = match pdu.tag {
                0xa0..=0xa3 => true,
                PDU_TRAP_V1 => version == 0,
                _ => version == 1,
            };
            fits.then_some(Message {
                version: if version == 0 { "1" } else { "2c" },
                community: Some(community),
                user: &[],
                level: None,
                context: &[],
                pdu: Some(pdu),
            })
        }
        3 => read_v3(message),
        _ => None,
    }
}

/// RFC 3412, 6 and RFC 3414, 2.4.
fn read_v3(mut message: Ber<'_>) -> Option<Message<'_>> {
    let mut global = message.enter(SEQUENCE)?;
    let _id = global.integer()?;
    let _most = global.integer()?;
    let &[flags] = global.expect(OCTETS)? else {
        return None;
    };
    let model = global.integer()?;
    let security = message.expect(OCTETS)?;
    let mut user: &[u8] = &[];
    if model == 3 {
        let mut parameters = Ber::new(security).enter(SEQUENCE)?;
        let _engine = parameters.expect(OCTETS)?;
        let _boots = parameters.integer()?;
        let _time = parameters.integer()?;
        user = parameters.expect(OCTETS)?;
    }
    let mut context: &[u8] = &[];
    let pdu = match message.peek()? {
        // RFC 3412, 7.1: encrypted.
        OCTETS if flags & 2 != 0 => None,
        SEQUENCE => {
            let mut scoped = message.enter(SEQUENCE)?;
            let _engine = scoped.expect(OCTETS)?;
            context = scoped.expect(OCTETS)?;
            Some(read_pdu(&mut scoped)?)
        }
        _ => return None,
    };
    let level = match flags & 3 {
        0 => "noAuthNoPriv",
        1 => "authNoPriv",
        3 => "authPriv",
        _ => "other",
    };
    Some(Message {
        community: None,
        version: "3",
        user,
        level: Some(level),
        context,
        pdu,
    })
}

fn read_pdu<'a>(message: &mut Ber<'a>) -> Option<Pdu<'a>> {
    let tag = message.peek()?;
    let mut body = message.enter_cut(tag)?;
    if tag == PDU_TRAP_V1 {
        return read_trap(body);
    }
    (0xa0..=0xa8).contains(&tag).then_some(())?;
    let request = body.integer()?;
    let error = body.integer()?;
    let _index = body.integer()?;
    let bindings = body.enter_cut(SEQUENCE)?;
    Some(Pdu {
        tag,
        request: Some(request),
        error: (tag == 0xa2).then_some(error),
        object: first_object(bindings, tag).unwrap_or_default(),
        ..Pdu::default()
    })
}

fn read_trap(mut body: Ber<'_>) -> Option<Pdu<'_>> {
    let object = body.expect(OID)?;
    let agent: [u8; 4] = body.expect(IP_ADDRESS)?.try_into().ok()?;
    let generic = body.integer()?;
    let _specific = body.integer()?;
    body.expect(TIME_TICKS)?;
    body.enter_cut(SEQUENCE)?;
    Some(Pdu {
        tag: PDU_TRAP_V1,
        generic_trap: Some(generic),
        agent: Some(IpAddr::V4(Ipv4Addr::from(agent))),
        object,
        ..Pdu::default()
    })
}

/// Name of the first object, of a trap or an inform of the trap itself (RFC 3416, 4.2.6); empty:
/// there is none. None: what is there is no name.
fn first_object(mut bindings: Ber<'_>, tag: u8) -> Option<&[u8]> {
    let mut object: &[u8] = &[];
    for _ in 0..3 {
        if bindings.is_empty() {
            break;
        }
        let mut binding = bindings.enter_cut(SEQUENCE)?;
        let name = binding.expect(OID)?;
        if object.is_empty() {
            object = name;
        }
        // snmpTrapOID.0 = the trap.
        let names_trap = matches!(tag, 0xa6 | 0xa7)
            && name == [0x2b, 6, 1, 6, 3, 1, 1, 4, 1, 0]
            && binding.peek() == Some(OID);
        if names_trap {
            return binding.expect(OID);
        }
    }
    Some(object)
}

fn tell(direction: Direction, message: &Message<'_>, sink: &mut dyn EventSink) {
    let none = Pdu::default();
    let pdu = message.pdu.as_ref().unwrap_or(&none);
    let object = oid_text(pdu.object);
    let mut fields = Fields::<10>::new();
    fields
        .name(VERSION, message.version)
        .name(PDU, pdu_name(pdu.tag))
        .bytes(OBJECT, &object)
        .bytes(USER, message.user);
    if let Some(error) = pdu.error {
        fields.name(ERROR_STATUS, error_name(error));
    }
    fields.some_bytes(CONTEXT, message.context);
    if let Some(level) = message.level {
        fields.name(SECURITY_LEVEL, level);
    }
    let request = pdu.request.map(|request| u64::from(request as u32));
    fields
        .some_number(REQUEST_ID, request)
        .some_address(AGENT, pdu.agent)
        .some_number(
            GENERIC_TRAP,
            pdu.generic_trap.map(|trap| trap.cast_unsigned()),
        );
    let kind = match direction {
        Direction::ToServer => EventKind::Request,
        Direction::ToClient => EventKind::Response,
    };
    fields.tell(kind, sink);
    if let Some(community) = message.community {
        content::whole(Buffer::SnmpCommunity, community, sink);
    }
}

/// An identifier as people write it; what does not fit or is malformed is left out.
fn oid_text(oid: &[u8]) -> ArrayVec<u8, OID_TEXT_MAX> {
    let mut text = ArrayVec::new();
    let mut value = 0_u64;
    let mut first = true;
    for &byte in oid {
        if value > u64::MAX >> 8 {
            break;
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        let whole = if first {
            let top = (value / 40).min(2);
            push_number(&mut text, top).and_then(|()| push_number(&mut text, value - top * 40))
        } else {
            push_number(&mut text, value)
        };
        if whole.is_none() {
            break;
        }
        first = false;
        value = 0;
    }
    text
}

fn push_number(text: &mut ArrayVec<u8, OID_TEXT_MAX>, mut value: u64) -> Option<()> {
    let mut digits = ArrayVec::<u8, 20>::new();
    loop {
        digits.try_push(b'0' + (value % 10) as u8).ok()?;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    if text.remaining_capacity() <= digits.len() {
        return None;
    }
    if !text.is_empty() {
        text.push(b'.');
    }
    text.extend(digits.into_iter().rev());
    Some(())
}

fn pdu_name(tag: u8) -> &'static str {
    match tag {
        0xa0 => "get",
        0xa1 => "get-next",
        0xa2 => "response",
        0xa3 => "set",
        0xa4 | 0xa7 => "trap",
        0xa5 => "get-bulk",
        0xa6 => "inform",
        0xa8 => "report",
        _ => "encrypted",
    }
}

fn error_name(number: i64) -> &'static str {
    const NAMES: [&str; 19] = [
        "noError",
        "tooBig",
        "noSuchName",
        "badValue",
        "readOnly",
        "genErr",
        "noAccess",
        "wrongType",
        "wrongLength",
        "wrongEncoding",
        "wrongValue",
        "noCreation",
        "inconsistentValue",
        "resourceUnavailable",
        "commitFailed",
        "undoFailed",
        "authorizationError",
        "notWritable",
        "inconsistentName",
    ];
    let place = usize::try_from(number).unwrap_or(usize::MAX);
    NAMES.get(place).copied().unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_written_out() {
        let text = |oid: &[u8]| String::from_utf8(oid_text(oid).to_vec()).expect("text");
        assert_eq!(text(&[0x2b, 6, 1, 2, 1]), "1.3.6.1.2.1");
        assert_eq!(text(&[0x88, 0x37, 3]), "2.999.3");
        assert_eq!(
            text(&[0x2b, 0x8f, 0xff, 0xff, 0xff, 0x7f]),
            "1.3.4294967295"
        );
        assert_eq!(text(&[]), "");
        assert_eq!(text(&[0xff; 40]), "");
        assert!(oid_text(&[0x2b; 400]).len() <= OID_TEXT_MAX);
    }
}
