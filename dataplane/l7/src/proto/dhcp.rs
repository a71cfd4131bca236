//! DHCP for IPv4 (RFC 2131, options RFC 2132) and IPv6 (RFC 8415).
//!
//! Trusts nothing. Version 4 is known by its magic cookie; version 6 has none, so its ports and
//! an exact walk over its options must agree. Answers may come as a flow of their own (to a
//! broadcast address), so both kinds of message are read in both directions. Violations: a
//! message without its header. Memory: none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::{
    Application, Event, EventKind, EventSink, Field, FieldKind, FieldSpec, Probe, ProbeInput, Step,
    Transport, Value,
};

/// RFC 2131, 3.
const COOKIE: [u8; 4] = [0x63, 0x82, 0x53, 0x63];
const COOKIE_AT: usize = 236;
const HARDWARE_AT: usize = 28;
const PORTS_V6: [u16; 2] = [546, 547];
/// Message type, hop count, two addresses (RFC 8415, 9).
const RELAY_HEADER_V6: usize = 34;
const RELAY_OPTION_V6: u16 = 9;
/// A relayed message within a relayed message …: RFC 8415 allows 8 hops by default.
const RELAYS_MAX: usize = 8;

const VERSION: u8 = 0;
const MESSAGE_TYPE: u8 = 1;
const CLIENT_MAC: u8 = 2;
const HOSTNAME: u8 = 3;
const REQUESTED_ADDRESS: u8 = 4;
const ASSIGNED_ADDRESS: u8 = 5;
const SERVER_ID: u8 = 6;
const VENDOR_CLASS: u8 = 7;
const TRANSACTION_ID: u8 = 8;

/// The parser: every message stands alone.
#[derive(Default)]
pub struct Dhcp;

/// "02:00:5e:10:00:01".
type MacText = ArrayVec<u8, 17>;
type Fields<'a> = ArrayVec<Field<'a>, 12>;

impl Application for Dhcp {
    const NAME: &'static str = "dhcp";
    const ABOUT: &'static str =
        "Dynamic Host Configuration Protocol for IPv4 and IPv6 (RFC 2131, RFC 8415)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Udp];
    const PORTS: &'static [u16] = &[67, 68, 546, 547];
    const FIELDS: &'static [FieldSpec] = &[
        field("version", FieldKind::Number, "4 or 6"),
        FieldSpec {
            name: "message_type",
            kind: FieldKind::Text,
            condition: true,
            about: "Message type: discover, request, ack, solicit, … (RFC 2132, 9.6; RFC 8415, 7.3)",
        },
        FieldSpec {
            name: "client_mac",
            kind: FieldKind::Text,
            condition: true,
            about: "Client's hardware address, as 02:00:5e:10:00:01 (RFC 2131 chaddr; RFC 8415 DUID)",
        },
        field(
            "hostname",
            FieldKind::Text,
            "Host name or client FQDN (RFC 2132, 3.14; RFC 4702; RFC 4704)",
        ),
        field(
            "requested_address",
            FieldKind::Address,
            "Address asked for (RFC 2132, 9.1; RFC 8415, 21.6)",
        ),
        field(
            "assigned_address",
            FieldKind::Address,
            "Address given (RFC 2131 yiaddr; RFC 8415, 21.6)",
        ),
        field(
            "server_id",
            FieldKind::Address,
            "Server identifier (RFC 2132, 9.7)",
        ),
        field(
            "vendor_class",
            FieldKind::Text,
            "Vendor class identifier (RFC 2132, 9.13)",
        ),
        field(
            "transaction_id",
            FieldKind::Number,
            "Transaction id (RFC 2131 xid; RFC 8415, 8)",
        ),
    ];

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let version6 = PORTS_V6.contains(&input.server_port);
        let known =
            |message: &[u8]| message.is_empty() || is_v4(message) || version6 && is_v6(message);
        if input.to_server.is_empty() && input.to_client.is_empty() {
            return Probe::Unsure;
        }
        if known(input.to_server) && known(input.to_client) {
            Probe::Certain
        } else {
            Probe::NotMine
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let kind = match direction {
            Direction::ToServer => EventKind::Request,
            Direction::ToClient => EventKind::Response,
        };
        if is_v4(input) {
            version4(kind, input, sink);
        } else if is_v6(input) {
            version6(kind, input, sink);
        } else {
            return Step::Violation("dhcp: message without its header or options");
        }
        Step::Consumed(input.len())
    }

    fn gap(&mut self, _direction: Direction, _length: u64) -> bool {
        true
    }
}

fn is_v4(message: &[u8]) -> bool {
    let header = matches!(message, [1 | 2, 1..=38, 0..=16, 0..=64, ..]);
    header && message.get(COOKIE_AT..COOKIE_AT + 4) == Some(&COOKIE)
}

fn version4(kind: EventKind, message: &[u8], sink: &mut dyn EventSink) {
    let options = message.get(COOKIE_AT + 4..).unwrap_or_default();
    let option = |wanted: u8| {
        options4(options)
            .find(|(code, _)| *code == wanted)
            .map(|(_, value)| value)
    };
    let address = |bytes: &[u8]| {
        let &[a, b, c, d] = bytes else { return None };
        let address = Ipv4Addr::new(a, b, c, d);
        (!address.is_unspecified()).then_some(IpAddr::V4(address))
    };
    let name = match option(53) {
        Some(&[number]) => message_type4(number),
        Some(_) => "other",
        None => "bootp",
    };
    let length = usize::from(message.get(2).copied().unwrap_or_default()).min(6);
    let mac = mac_text(
        message
            .get(HARDWARE_AT..HARDWARE_AT + length)
            .unwrap_or_default(),
    );
    let mut fields = Fields::new();
    begin(&mut fields, 4, name, &mac);
    let hostname = option(12).or_else(|| option(81).and_then(|value| value.get(3..)));
    push_bytes(&mut fields, HOSTNAME, hostname);
    push_address(&mut fields, REQUESTED_ADDRESS, option(50).and_then(address));
    push_address(
        &mut fields,
        ASSIGNED_ADDRESS,
        message.get(16..20).and_then(address),
    );
    push_address(&mut fields, SERVER_ID, option(54).and_then(address));
    push_bytes(&mut fields, VENDOR_CLASS, option(60));
    push_number(&mut fields, TRANSACTION_ID, message.get(4..8));
    sink.event(&Event {
        kind,
        fields: &fields,
    });
}

/// Walks (code, value), stopping at the end option or the first that does not fit.
fn options4(mut rest: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        while let Some((0, tail)) = rest.split_first() {
            rest = tail;
        }
        let (&[code, length], tail) = rest.split_first_chunk::<2>()?;
        if code == 255 {
            return None;
        }
        let value = tail.get(..usize::from(length))?;
        rest = tail.get(usize::from(length)..)?;
        Some((code, value))
    })
}

fn is_v6(message: &[u8]) -> bool {
    let header = match message.first() {
        Some(12 | 13) => RELAY_HEADER_V6,
        Some(1..=11 | 14..=36) => 4,
        _ => return false,
    };
    let Some(mut rest) = message.get(header..) else {
        return false;
    };
    let mut identified = false;
    while !rest.is_empty() {
        let Some((code, value, tail)) = option6(rest) else {
            return false;
        };
        identified |=
            matches!(code, 1 | 2) && (4..=130).contains(&value.len()) || code == RELAY_OPTION_V6;
        rest = tail;
    }
    // An information request may do without identifiers.
    identified || message.first() == Some(&11)
}

fn option6(rest: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (&[code_high, code_low, high, low], tail) = rest.split_first_chunk::<4>()?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    Some((
        u16::from_be_bytes([code_high, code_low]),
        tail.get(..length)?,
        tail.get(length..)?,
    ))
}

fn find6(mut rest: &[u8], wanted: u16) -> Option<&[u8]> {
    while let Some((code, value, tail)) = option6(rest) {
        if code == wanted {
            return Some(value);
        }
        rest = tail;
    }
    None
}

fn version6(kind: EventKind, message: &[u8], sink: &mut dyn EventSink) {
    // Policy cares for what the client asks, not for the envelopes around it.
    let mut inner = message;
    for _ in 0..RELAYS_MAX {
        let relayed = matches!(inner.first(), Some(12 | 13))
            .then(|| inner.get(RELAY_HEADER_V6..))
            .flatten();
        match relayed.and_then(|options| find6(options, RELAY_OPTION_V6)) {
            Some(message) if !message.is_empty() => inner = message,
            _ => break,
        }
    }
    let number = inner.first().copied().unwrap_or_default();
    let options = inner.get(4..).unwrap_or_default();
    let mac = match find6(options, 1) {
        // DUID-LLT and DUID-LL over Ethernet (RFC 8415, 11.2 and 11.4).
        Some([0, 1, 0, 1, _, _, _, _, mac @ ..]) | Some([0, 3, 0, 1, mac @ ..])
            if mac.len() == 6 =>
        {
            mac_text(mac)
        }
        _ => MacText::new(),
    };
    let mut name = [0; 255];
    let mut fields = Fields::new();
    begin(&mut fields, 6, message_type6(number), &mac);
    let length = find6(options, 39).map_or(0, |value| {
        domain_text(value.get(1..).unwrap_or_default(), &mut name)
    });
    push_bytes(
        &mut fields,
        HOSTNAME,
        name.get(..length).filter(|name| !name.is_empty()),
    );
    let address = find6(options, 3)
        .and_then(|association| find6(association.get(12..)?, 5))
        .and_then(|value| value.first_chunk::<16>())
        .map(|bytes| IpAddr::V6(Ipv6Addr::from(*bytes)));
    let index = if matches!(number, 2 | 7) {
        ASSIGNED_ADDRESS
    } else {
        REQUESTED_ADDRESS
    };
    push_address(&mut fields, index, address);
    push_number(&mut fields, TRANSACTION_ID, inner.get(1..4));
    sink.event(&Event {
        kind,
        fields: &fields,
    });
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

fn begin<'a>(fields: &mut Fields<'a>, version: u64, name: &'static str, mac: &'a MacText) {
    fields.push(Field {
        index: VERSION,
        value: Value::Number(version),
    });
    fields.push(Field {
        index: MESSAGE_TYPE,
        value: Value::Name(name),
    });
    fields.push(Field {
        index: CLIENT_MAC,
        value: Value::Bytes(mac),
    });
}

fn push_bytes<'a>(fields: &mut Fields<'a>, index: u8, value: Option<&'a [u8]>) {
    if let Some(value) = value {
        fields.push(Field {
            index,
            value: Value::Bytes(value),
        });
    }
}

fn push_address(fields: &mut Fields<'_>, index: u8, address: Option<IpAddr>) {
    if let Some(address) = address {
        fields.push(Field {
            index,
            value: Value::Address(address),
        });
    }
}

fn push_number(fields: &mut Fields<'_>, index: u8, bytes: Option<&[u8]>) {
    let number = bytes
        .unwrap_or_default()
        .iter()
        .fold(0, |number, &byte| number << 8 | u64::from(byte));
    fields.push(Field {
        index,
        value: Value::Number(number),
    });
}

fn mac_text(bytes: &[u8]) -> MacText {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = MacText::new();
    for (place, byte) in bytes.iter().take(6).enumerate() {
        if place > 0 {
            text.push(b':');
        }
        text.push(DIGITS[usize::from(byte >> 4)]);
        text.push(DIGITS[usize::from(byte & 15)]);
    }
    text
}

fn message_type4(number: u8) -> &'static str {
    const NAMES: [&str; 19] = [
        "other",
        "discover",
        "offer",
        "request",
        "decline",
        "ack",
        "nak",
        "release",
        "inform",
        "force-renew",
        "lease-query",
        "lease-unassigned",
        "lease-unknown",
        "lease-active",
        "bulk-lease-query",
        "lease-query-done",
        "active-lease-query",
        "lease-query-status",
        "tls",
    ];
    NAMES.get(usize::from(number)).copied().unwrap_or("other")
}

fn message_type6(number: u8) -> &'static str {
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

const fn field(name: &'static str, kind: FieldKind, about: &'static str) -> FieldSpec {
    FieldSpec {
        name,
        kind,
        condition: false,
        about,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Told(Vec<String>);

    impl EventSink for Told {
        fn event(&mut self, event: &Event<'_>) {
            let fields = event.fields.iter().map(|field| {
                let name = Dhcp::FIELDS[usize::from(field.index)].name;
                match field.value {
                    Value::Bytes(value) => format!("{name}={}", String::from_utf8_lossy(value)),
                    Value::Name(value) => format!("{name}={value}"),
                    Value::Address(value) => format!("{name}={value}"),
                    Value::Number(value) => format!("{name}={value}"),
                }
            });
            self.0.push(fields.collect::<Vec<_>>().join(" "));
        }
    }

    fn tell(message: &[u8]) -> String {
        let mut told = Told(Vec::new());
        assert_eq!(
            Dhcp.parse(Direction::ToServer, message, &mut told),
            Step::Consumed(message.len())
        );
        told.0.concat()
    }

    fn probe(to_server: &[u8], server_port: u16) -> Probe {
        let transport = Transport::Udp;
        Dhcp::probe(&ProbeInput {
            to_server,
            to_client: &[],
            previous: &[],
            from_start: true,
            server_port,
            transport,
        })
    }

    fn discover() -> Vec<u8> {
        let mut message = vec![0; COOKIE_AT];
        message[..8].copy_from_slice(&[1, 1, 6, 0, 0, 0, 1, 2]);
        message[28..34].copy_from_slice(&[2, 0, 0x5e, 0x10, 0, 1]);
        message.extend(COOKIE);
        message.extend(b"\x35\x01\x01\x00\x0c\x05photo\x32\x04\x0a\x00\x00\x07\xff\x00\x00");
        message
    }

    #[test]
    fn version_4_is_known_by_its_cookie_on_any_port() {
        let mut message = discover();
        assert_eq!(probe(&message, 9999), Probe::Certain);
        assert_eq!(
            tell(&message),
            "version=4 message_type=discover client_mac=02:00:5e:10:00:01 hostname=photo requested_address=10.0.0.7 transaction_id=258"
        );
        message[COOKIE_AT] = 0;
        assert_eq!(probe(&message, 67), Probe::NotMine);
    }

    #[test]
    fn version_6_needs_its_port_and_options_to_the_end() {
        let mut message = vec![1, 0, 1, 2];
        message.extend([0, 1, 0, 10, 0, 3, 0, 1, 2, 0, 0x5e, 0x10, 0, 1]);
        message.extend(b"\x00\x27\x00\x0c\x00\x05photo\x04shop");
        assert_eq!(probe(&message, 547), Probe::Certain);
        assert_eq!(probe(&message, 548), Probe::NotMine);
        let expected = "version=6 message_type=solicit client_mac=02:00:5e:10:00:01 hostname=photo.shop transaction_id=258";
        assert_eq!(tell(&message), expected);
        let mut relayed = vec![12; 1];
        relayed.extend([0; 33]);
        relayed.extend([0, 9, 0, message.len() as u8]);
        relayed.extend(&message);
        assert_eq!(probe(&relayed, 547), Probe::Certain);
        assert_eq!(tell(&relayed), expected);
        message.push(0);
        assert_eq!(probe(&message, 547), Probe::NotMine);
    }

    #[test]
    fn options_that_run_over_the_end_are_left_out() {
        let mut message = discover();
        message.truncate(COOKIE_AT + 4 + 3 + 5);
        assert_eq!(
            tell(&message),
            "version=4 message_type=discover client_mac=02:00:5e:10:00:01 transaction_id=258"
        );
        assert!(matches!(
            Dhcp.parse(Direction::ToServer, &[1, 1], &mut Told(Vec::new())),
            Step::Violation(_)
        ));
    }
}
