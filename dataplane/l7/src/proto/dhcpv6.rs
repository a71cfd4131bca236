//! DHCP for IPv6 (RFC 8415).
//!
//! Trusts nothing. There is no magic number: the options must walk exactly to the end, each known
//! one with the length it must have, and an identifier or an information request among them; away
//! from its ports at least three of them must be such that only DHCP has them. Answers to relays
//! and multicast may be flows of their own, so both kinds of message are read in both directions.
//! Violations: options that run over the end. Memory: none.

use std::net::{IpAddr, Ipv6Addr};

use arrayvec::ArrayVec;
use weir_wire::Direction;

use super::dhcp::{MacText, mac_text};
use crate::fields::Fields;
use crate::read::cursor::Cursor;
use crate::read::sides::{judge, kind};
use crate::{
    Application, ByteSet, EventKind, EventSink, FieldSpec, Openings, Probe, ProbeInput, Step,
    Transport,
};

const PORTS: [u16; 2] = [546, 547];
/// Message type, hop count, two addresses (RFC 8415, 9).
const RELAY_HEADER: usize = 34;
/// Message type and transaction id.
const HEADER: usize = 4;
/// RFC 8415 allows 8 hops by default.
const RELAYS_MAX: usize = 8;
/// Options that must be just so before content alone is proof.
const SOUND_MIN: u32 = 3;

/// Option codes (RFC 8415, 21).
mod option {
    pub(super) const CLIENT_ID: u16 = 1;
    pub(super) const SERVER_ID: u16 = 2;
    pub(super) const ADDRESSES: u16 = 3;
    pub(super) const TEMPORARY_ADDRESSES: u16 = 4;
    pub(super) const ADDRESS: u16 = 5;
    pub(super) const REQUEST: u16 = 6;
    pub(super) const PREFERENCE: u16 = 7;
    pub(super) const ELAPSED_TIME: u16 = 8;
    pub(super) const RELAY_MESSAGE: u16 = 9;
    pub(super) const STATUS: u16 = 13;
    pub(super) const RAPID_COMMIT: u16 = 14;
    pub(super) const VENDOR_CLASS: u16 = 16;
    pub(super) const NAME_SERVERS: u16 = 23;
    pub(super) const PREFIXES: u16 = 25;
    pub(super) const PREFIX: u16 = 26;
    pub(super) const CLIENT_NAME: u16 = 39;
}

const MESSAGE_TYPE: u8 = 0;
const CLIENT_MAC: u8 = 1;
const CLIENT_ID: u8 = 2;
const HOSTNAME: u8 = 3;
const REQUESTED_ADDRESS: u8 = 4;
const ASSIGNED_ADDRESS: u8 = 5;
const PREFIX: u8 = 6;
const PREFIX_LENGTH: u8 = 7;
const STATUS: u8 = 8;
const VENDOR_CLASS: u8 = 9;
const TRANSACTION_ID: u8 = 10;
const RELAYED_FROM: u8 = 11;

/// The parser: every message stands alone.
#[derive(Default)]
pub struct Dhcpv6;

/// A DUID of at most 130 bytes as hexadecimal digits (RFC 8415, 11.1).
type Digits = ArrayVec<u8, 260>;

impl Application for Dhcpv6 {
    const NAME: &'static str = "dhcpv6";
    const ABOUT: &'static str = "Dynamic Host Configuration Protocol for IPv6 (RFC 8415)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Udp];
    const PORTS: &'static [u16] = &PORTS;
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "message_type",
            "Message type: solicit, request, reply, ... (RFC 8415, 7.3); of a relayed message its own",
        ),
        FieldSpec::condition(
            "client_mac",
            "Client's hardware address, as 02:00:5e:10:00:01, where its DUID tells (RFC 8415, 11)",
        ),
        FieldSpec::condition(
            "client_id",
            "Client's DUID in hexadecimal digits (RFC 8415, 21.2)",
        ),
        FieldSpec::text("hostname", "Client's domain name (RFC 4704)"),
        FieldSpec::address("requested_address", "Address asked for (RFC 8415, 21.6)"),
        FieldSpec::address("assigned_address", "Address given (RFC 8415, 21.6)"),
        FieldSpec::address("prefix", "Prefix asked for or given (RFC 8415, 21.22)"),
        FieldSpec::number("prefix_length", "Its length in bits (RFC 8415, 21.22)"),
        FieldSpec::text(
            "status",
            "Status: Success, NoAddrsAvail, ... (RFC 8415, 21.13)",
        ),
        FieldSpec::text("vendor_class", "First vendor class data (RFC 8415, 21.16)"),
        FieldSpec::number("transaction_id", "Transaction id (RFC 8415, 8)"),
        FieldSpec::address(
            "relayed_from",
            "Peer address that the first relay tells (RFC 8415, 9)",
        ),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::NONE.and_range(1, 36),
        to_client: ByteSet::NONE.and_range(1, 36),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let at_home = PORTS.contains(&input.server_port);
        let side = |message: &[u8]| match weigh(message) {
            Some(sound) if at_home || sound >= SOUND_MIN => Probe::Certain,
            _ => Probe::NotMine,
        };
        judge(input, side, side)
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if weigh(input).is_none() {
            return Step::Violation("dhcpv6: header or options that are cut off");
        }
        tell(kind(direction), input, sink);
        Step::Consumed(input.len())
    }

    fn gap(&mut self, _direction: Direction, _length: u64) -> bool {
        true
    }
}

fn is_relay(message: &[u8]) -> bool {
    matches!(message.first(), Some(12 | 13))
}

fn options(message: &[u8]) -> Option<&[u8]> {
    let header = match message.first()? {
        12 | 13 => RELAY_HEADER,
        1..=11 | 14..=36 => HEADER,
        _ => return None,
    };
    message.get(header..)
}

/// How many options are as only DHCP has them; none: this is no DHCP.
fn weigh(message: &[u8]) -> Option<u32> {
    let mut rest = options(message)?;
    let mut sound = 0;
    let mut identified = matches!(message.first(), Some(11));
    while !rest.is_empty() {
        let (code, value, tail) = take(rest)?;
        identified |= matches!(
            code,
            option::CLIENT_ID | option::SERVER_ID | option::RELAY_MESSAGE
        );
        sound += u32::from(is_sound(code, value)?);
        rest = tail;
    }
    identified.then_some(sound)
}

/// Whether an option proves something; none: it cannot be.
fn is_sound(code: u16, value: &[u8]) -> Option<bool> {
    let length = value.len();
    let (possible, telling) = match code {
        option::CLIENT_ID | option::SERVER_ID => {
            let known = matches!(value, [0, 1 | 3, 0, _, ..] if length >= 8)
                || matches!(value, [0, 2, ..] if length >= 7)
                || matches!(value, [0, 4, ..] if length == 18);
            ((3..=130).contains(&length), known)
        }
        option::ADDRESSES | option::PREFIXES => (length >= 12, true),
        option::TEMPORARY_ADDRESSES => (length >= 4, false),
        option::REQUEST => (length.is_multiple_of(2), length > 0),
        option::PREFERENCE => (length == 1, false),
        option::ELAPSED_TIME => (length == 2, true),
        option::RELAY_MESSAGE => (length >= HEADER, weigh_inner(value)),
        option::STATUS => (length >= 2, matches!(value, [0, _, ..])),
        option::RAPID_COMMIT => (length == 0, false),
        option::VENDOR_CLASS => (length >= 4, false),
        option::NAME_SERVERS => (length.is_multiple_of(16), length > 0),
        0 => (false, false),
        _ => (true, false),
    };
    possible.then_some(telling)
}

/// A relayed message, without going deeper: that would be as deep as the sender likes.
fn weigh_inner(message: &[u8]) -> bool {
    let Some(mut rest) = options(message) else {
        return false;
    };
    while !rest.is_empty() {
        match take(rest) {
            Some((_, _, tail)) => rest = tail,
            None => return false,
        }
    }
    true
}

/// Code and value of the first option, and what follows it.
fn take(rest: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let mut cursor = Cursor::new(rest);
    let code = cursor.u16()?;
    let value = cursor.vector16()?.rest();
    Some((code, value, cursor.rest()))
}

fn find(mut rest: &[u8], wanted: u16) -> Option<&[u8]> {
    while let Some((code, value, tail)) = take(rest) {
        if code == wanted {
            return Some(value);
        }
        rest = tail;
    }
    None
}

fn tell(kind: EventKind, message: &[u8], sink: &mut dyn EventSink) {
    // Policy cares for what the client asks, not for the envelopes around it.
    let mut inner = message;
    for _ in 0..RELAYS_MAX {
        let relayed = is_relay(inner)
            .then(|| find(options(inner)?, option::RELAY_MESSAGE))
            .flatten();
        match relayed {
            Some(message) if options(message).is_some() => inner = message,
            _ => break,
        }
    }
    let number = inner.first().copied().unwrap_or_default();
    let options = options(inner).unwrap_or_default();
    let client = find(options, option::CLIENT_ID).unwrap_or_default();
    let mac = match client {
        // DUID-LLT and DUID-LL over Ethernet (RFC 8415, 11.2 and 11.4).
        [0, 1, 0, 1, _, _, _, _, mac @ ..] | [0, 3, 0, 1, mac @ ..] if mac.len() == 6 => {
            mac_text(mac)
        }
        _ => MacText::new(),
    };
    let client = digits(client);
    let mut hostname = [0; 255];
    let length = find(options, option::CLIENT_NAME).map_or(0, |value| {
        domain_text(value.get(1..).unwrap_or_default(), &mut hostname)
    });
    let granted = find(options, option::ADDRESSES)
        .and_then(|association| find(association.get(12..)?, option::ADDRESS));
    let prefix = find(options, option::PREFIXES)
        .and_then(|association| find(association.get(12..)?, option::PREFIX));
    let status = [
        find(options, option::STATUS),
        granted.and_then(|address| find(address.get(24..)?, option::STATUS)),
    ];
    let status = status.into_iter().flatten().find_map(status_name);
    let class = find(options, option::VENDOR_CLASS)
        .and_then(|value| Cursor::new(value.get(4..)?).vector16());

    let mut fields = Fields::<12>::new();
    fields
        .name(MESSAGE_TYPE, message_type(number))
        .bytes(CLIENT_MAC, &mac)
        .bytes(CLIENT_ID, &client)
        .some_bytes(HOSTNAME, hostname.get(..length).unwrap_or_default());
    let index = match number {
        2 | 7 => ASSIGNED_ADDRESS,
        _ => REQUESTED_ADDRESS,
    };
    fields
        .some_address(index, granted.and_then(|value| address_at(value, 0)))
        .some_address(PREFIX, prefix.and_then(|value| address_at(value, 9)))
        .some_number(
            PREFIX_LENGTH,
            prefix.and_then(|value| value.get(8).copied()),
        );
    if let Some(status) = status {
        fields.name(STATUS, status);
    }
    fields.some_bytes(
        VENDOR_CLASS,
        class.map(|class| class.rest()).unwrap_or_default(),
    );
    if !is_relay(inner) {
        let id = Cursor::new(inner.get(1..).unwrap_or_default()).u24();
        fields.some_number(TRANSACTION_ID, id);
    }
    if is_relay(message) {
        fields.some_address(RELAYED_FROM, address_at(message, 18));
    }
    fields.tell(kind, sink);
}

fn address_at(bytes: &[u8], at: usize) -> Option<IpAddr> {
    let bytes = bytes.get(at..)?.first_chunk::<16>()?;
    Some(IpAddr::V6(Ipv6Addr::from(*bytes)))
}

fn digits(bytes: &[u8]) -> Digits {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let pairs = bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|half| DIGITS[usize::from(half)]);
    pairs.take(260).collect()
}

/// A domain name in DNS form as text (RFC 4704, 4.2); returns its length.
fn domain_text(mut rest: &[u8], out: &mut [u8; 255]) -> usize {
    let mut end = 0;
    while let Some((&length, tail)) = rest.split_first() {
        let length = usize::from(length);
        let (Some(label), true) = (tail.get(..length), (1..64).contains(&length)) else {
            break;
        };
        let dot = usize::from(end > 0);
        let Some(room) = out.get_mut(end..end + dot + length) else {
            break;
        };
        if let (1, Some(first)) = (dot, room.first_mut()) {
            *first = b'.';
        }
        if let Some(place) = room.get_mut(dot..) {
            place.copy_from_slice(label);
        }
        end += dot + length;
        rest = tail.get(length..).unwrap_or_default();
    }
    end
}

fn status_name(value: &[u8]) -> Option<&'static str> {
    let &[high, low, ..] = value else {
        return None;
    };
    Some(match u16::from_be_bytes([high, low]) {
        0 => "Success",
        1 => "UnspecFail",
        2 => "NoAddrsAvail",
        3 => "NoBinding",
        4 => "NotOnLink",
        5 => "UseMulticast",
        6 => "NoPrefixAvail",
        _ => "other",
    })
}

fn message_type(number: u8) -> &'static str {
    const NAMES: [&str; 24] = [
        "other",
        "solicit",
        "advertise",
        "request",
        "confirm",
        "renew",
        "rebind",
        "reply",
        "release",
        "decline",
        "reconfigure",
        "information-request",
        "relay-forward",
        "relay-reply",
        "lease-query",
        "lease-query-reply",
        "lease-query-done",
        "lease-query-data",
        "reconfigure-request",
        "reconfigure-reply",
        "dhcpv4-query",
        "dhcpv4-response",
        "active-lease-query",
        "tls",
    ];
    NAMES.get(usize::from(number)).copied().unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::sides;

    fn probe(message: &[u8], port: u16) -> Probe {
        Dhcpv6::probe(&sides::input(Transport::Udp, port, message, &[]))
    }

    #[test]
    fn elsewhere_three_options_must_agree() {
        let mut message = vec![1, 0, 1, 2];
        message.extend([0, 1, 0, 10, 0, 3, 0, 1, 2, 0, 0x5e, 0x10, 0, 1]);
        assert_eq!(probe(&message, 547), Probe::Certain);
        assert_eq!(probe(&message, 9547), Probe::NotMine);
        message.extend([0, 8, 0, 2, 0, 0, 0, 6, 0, 2, 0, 23]);
        assert_eq!(probe(&message, 9547), Probe::Certain);
        message.push(0);
        assert_eq!(probe(&message, 547), Probe::NotMine);
    }

    #[test]
    fn without_an_identifier_only_information_is_asked_for() {
        assert_eq!(probe(&[1, 0, 1, 2, 0, 8, 0, 2, 0, 0], 547), Probe::NotMine);
        assert_eq!(probe(&[11, 0, 1, 2, 0, 8, 0, 2, 0, 0], 547), Probe::Certain);
    }
}
