//! DHCP for IPv4 (RFC 2131, options RFC 2132).
//!
//! Trusts nothing. Known by its header and magic cookie. Answers may come as a flow of their own
//! (to a broadcast address), so both kinds of message are read in both directions. Violations: a
//! message without its header. Memory: none.

use std::net::{IpAddr, Ipv4Addr};

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::read::sides::kind;
use crate::{
    Application, ByteSet, Event, EventKind, EventSink, Field, FieldKind, FieldSpec, Openings,
    Probe, ProbeInput, Step, Transport,
};

/// RFC 2131, 3.
const COOKIE: [u8; 4] = [0x63, 0x82, 0x53, 0x63];
const COOKIE_AT: usize = 236;
const HARDWARE_AT: usize = 28;

const MESSAGE_TYPE: u8 = 0;
const CLIENT_MAC: u8 = 1;
const HOSTNAME: u8 = 2;
const REQUESTED_ADDRESS: u8 = 3;
const ASSIGNED_ADDRESS: u8 = 4;
const SERVER_ID: u8 = 5;
const VENDOR_CLASS: u8 = 6;
const TRANSACTION_ID: u8 = 7;

/// The parser: every message stands alone.
#[derive(Default)]
pub struct Dhcp;

/// "02:00:5e:10:00:01".
pub(super) type MacText = ArrayVec<u8, 17>;
type Fields<'a> = ArrayVec<Field<'a>, 8>;

impl Application for Dhcp {
    const NAME: &'static str = "dhcp";
    const ABOUT: &'static str =
        "Dynamic Host Configuration Protocol for IPv4, BOOTP included (RFC 2131)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Udp];
    const PORTS: &'static [u16] = &[67, 68];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec {
            name: "message_type",
            kind: FieldKind::Text,
            condition: true,
            buffer: None,
            about: "Message type: discover, request, ack, … (RFC 2132, 9.6); bootp without any",
        },
        FieldSpec {
            name: "client_mac",
            kind: FieldKind::Text,
            condition: true,
            buffer: None,
            about: "Client's hardware address, as 02:00:5e:10:00:01 (RFC 2131 chaddr)",
        },
        field(
            "hostname",
            FieldKind::Text,
            "Host name or client FQDN (RFC 2132, 3.14; RFC 4702)",
        ),
        field(
            "requested_address",
            FieldKind::Address,
            "Address asked for (RFC 2132, 9.1)",
        ),
        field(
            "assigned_address",
            FieldKind::Address,
            "Address given (RFC 2131 yiaddr)",
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
            "Transaction id (RFC 2131 xid)",
        ),
    ];

    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[1, 2]),
        to_client: ByteSet::of(&[1, 2]),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let known = |message: &[u8]| message.is_empty() || is_v4(message);
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
        if !is_v4(input) {
            return Step::Violation("dhcp: message without its header or cookie");
        }
        tell(kind(direction), input, sink);
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

fn tell(kind: EventKind, message: &[u8], sink: &mut dyn EventSink) {
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
    fields.push(Field::name(MESSAGE_TYPE, name));
    fields.push(Field::bytes(CLIENT_MAC, &mac));
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

fn push_bytes<'a>(fields: &mut Fields<'a>, index: u8, value: Option<&'a [u8]>) {
    if let Some(value) = value {
        fields.push(Field::bytes(index, value));
    }
}

fn push_address(fields: &mut Fields<'_>, index: u8, address: Option<IpAddr>) {
    if let Some(address) = address {
        fields.push(Field::address(index, address));
    }
}

fn push_number(fields: &mut Fields<'_>, index: u8, bytes: Option<&[u8]>) {
    let number = bytes
        .unwrap_or_default()
        .iter()
        .fold(0, |number, &byte| number << 8 | u64::from(byte));
    fields.push(Field::number(index, number));
}

pub(super) fn mac_text(bytes: &[u8]) -> MacText {
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

const fn field(name: &'static str, kind: FieldKind, about: &'static str) -> FieldSpec {
    FieldSpec {
        name,
        kind,
        condition: false,
        buffer: None,
        about,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

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
    fn known_by_its_cookie_on_any_port() {
        let mut message = discover();
        assert_eq!(probe(&message, 9999), Probe::Certain);
        assert_eq!(
            tell(&message),
            "message_type=discover client_mac=02:00:5e:10:00:01 hostname=photo requested_address=10.0.0.7 transaction_id=258"
        );
        message[COOKIE_AT] = 0;
        assert_eq!(probe(&message, 67), Probe::NotMine);
    }

    #[test]
    fn options_that_run_over_the_end_are_left_out() {
        let mut message = discover();
        message.truncate(COOKIE_AT + 4 + 3 + 5);
        assert_eq!(
            tell(&message),
            "message_type=discover client_mac=02:00:5e:10:00:01 transaction_id=258"
        );
        assert!(matches!(
            Dhcp.parse(Direction::ToServer, &[1, 1], &mut Told(Vec::new())),
            Step::Violation(_)
        ));
    }
}
