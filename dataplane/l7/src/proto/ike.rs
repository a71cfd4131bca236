//! IKE: how IPsec tunnels are agreed, versions 1 and 2 (RFC 2408, RFC 7296; through NAT RFC 3947).
//!
//! Trusts nothing. Distrusts: a message whose length is not the datagram's, whose exchange its
//! version does not know, or whose payloads do not add up. Told is what is in the clear: who asks
//! for which exchange, the vendors, errors. ESP that shares port 4500 is passed over. Violations: a
//! datagram that is none of these. Memory: none.

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::read::cursor::Cursor;
use crate::{
    Application, Buffer, Event, EventKind, EventSink, Field, FieldSpec, Probe, ProbeInput, Step,
    Transport,
};

const HEADER_BYTES: usize = 28;
/// Stands before a message on port 4500, where ESP has its index (RFC 3948, 2.2).
const MARKER: [u8; 4] = [0; 4];
/// Keeps a mapping alive (RFC 3948, 2.3).
const KEEPALIVE: &[u8] = &[0xff];
const VERSION_1: u8 = 0x10;
const VERSION_2: u8 = 0x20;
const PAYLOAD_HEADER_BYTES: u16 = 4;
const PAYLOADS_MAX: usize = 64;
const VENDORS_MAX: usize = 8;
const VENDOR_BYTES_MAX: usize = 64;

const ENCRYPTED_1: u8 = 0x01;
const RESPONSE_2: u8 = 0x20;
/// Those that a message of version 2 may have: initiator, higher version, response.
const FLAGS_2: u8 = 0x38;
/// Those of version 1: encryption, commit, authentication only.
const FLAGS_1: u8 = 0x07;

const VENDOR_1: u8 = 13;
const NOTIFY_1: u8 = 11;
const NOTIFY_2: u8 = 41;
const VENDOR_2: u8 = 43;
const ENCRYPTED_2: u8 = 46;
const ENCRYPTED_FRAGMENT_2: u8 = 53;
/// Notifications below this one are errors (RFC 7296, 3.10.1).
const STATUS_FROM: u16 = 16_384;

const VERSION: u8 = 0;
const EXCHANGE: u8 = 1;
const INITIATOR: u8 = 2;
const RESPONDER: u8 = 3;
const VENDOR: u8 = 4;
const ERROR_CODE: u8 = 5;

/// The parser.
#[derive(Default)]
pub struct Ike;

struct Message<'a> {
    version: u8,
    exchange: &'static str,
    flags: u8,
    initiator: u64,
    responder: u64,
    first: u8,
    payloads: &'a [u8],
}

impl Application for Ike {
    const NAME: &'static str = "ike";
    const ABOUT: &'static str =
        "Internet Key Exchange of IPsec, versions 1 and 2 (RFC 2408, RFC 7296)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Udp];
    const PORTS: &'static [u16] = &[500, 4500];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::text("version", "IKEv1 or IKEv2"),
        FieldSpec::condition(
            "exchange",
            "Exchange (IANA IKEv2 Exchange Types; RFC 2408, 3.1)",
        )
        .looked_into_as(Buffer::IkeChosenExchange),
        FieldSpec::number("initiator", "Index of the initiator (RFC 7296, 3.1)"),
        FieldSpec::number(
            "responder",
            "Index of the responder; 0 as long as there is none (RFC 7296, 3.1)",
        ),
        FieldSpec::text(
            "vendor",
            "Vendor id in the clear, its first 64 bytes (RFC 7296, 3.12)",
        ),
        FieldSpec::number(
            "error_code",
            "Error in the clear (IANA IKEv2 Notify Message Error Types)",
        ),
    ];

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let sides = [input.to_server, input.to_client].map(|side| match side {
            [] => Probe::Unsure,
            _ if Message::find(side).is_some() => Probe::Certain,
            // What may come before it on the same ports.
            KEEPALIVE => Probe::Unsure,
            _ => Probe::NotMine,
        });
        match sides {
            [Probe::NotMine, _] | [_, Probe::NotMine] => Probe::NotMine,
            [Probe::Certain, _] | [_, Probe::Certain] => Probe::Certain,
            _ => Probe::Unsure,
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if let Some(message) = Message::find(input) {
            message.tell(direction, sink);
        } else if input != KEEPALIVE && input.starts_with(&MARKER) {
            return Step::Violation("ike: no message behind the marker");
        }
        Step::Consumed(input.len())
    }
}

impl<'a> Message<'a> {
    /// A message, perhaps behind the marker.
    fn find(datagram: &'a [u8]) -> Option<Self> {
        Self::read(datagram).or_else(|| Self::read(datagram.strip_prefix(&MARKER)?))
    }

    fn read(input: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(input);
        let initiator = cursor.array().map(u64::from_be_bytes)?;
        let responder = cursor.array().map(u64::from_be_bytes)?;
        let [first, version, exchange, flags] = cursor.array()?;
        let number = cursor.u32()?;
        let length = cursor.u32()?;
        let exchange = match version {
            VERSION_1 if flags & !FLAGS_1 == 0 => exchange_1(exchange)?,
            // The lower half may be a later version of the same kind.
            VERSION_2 if flags & !FLAGS_2 == 0 => exchange_2(exchange)?,
            _ => return None,
        };
        let message = Self {
            version,
            exchange,
            flags,
            initiator,
            responder,
            first,
            payloads: cursor.rest(),
        };
        let counted = version == VERSION_1 || number < 1 << 24;
        let sound = initiator != 0
            && counted
            && usize::try_from(length).ok()? == input.len()
            && input.len() > HEADER_BYTES
            && message.add_up();
        sound.then_some(message)
    }

    fn is_encrypted(&self) -> bool {
        self.version == VERSION_1 && self.flags & ENCRYPTED_1 != 0
    }

    /// Whether each payload is as long as it says, and the last one ends with the message.
    fn add_up(&self) -> bool {
        if self.is_encrypted() {
            return self.payloads.len().is_multiple_of(8) || self.payloads.len() >= 16;
        }
        let mut end = 0;
        for (_, content) in self.payloads() {
            end += usize::from(PAYLOAD_HEADER_BYTES) + content.len();
        }
        // Version 1 may be filled up to four bytes.
        let left = self.payloads.len().checked_sub(end);
        let filled = if self.version == VERSION_1 { 3 } else { 0 };
        end > 0 && left.is_some_and(|left| left <= filled)
    }

    /// Payloads in the clear: type and content.
    fn payloads(&self) -> impl Iterator<Item = (u8, &'a [u8])> {
        let mut cursor = Cursor::new(self.payloads);
        let mut next = self.first;
        let encrypted = self.is_encrypted();
        let payload = move || {
            let kind = next;
            if kind == 0 || encrypted {
                return None;
            }
            let [following, _reserved] = cursor.array()?;
            let length = cursor.u16()?.checked_sub(PAYLOAD_HEADER_BYTES)?;
            let content = cursor.take(length.into())?;
            // What is named behind encryption lies within it (RFC 7296, 3.14).
            next = match kind {
                ENCRYPTED_2 | ENCRYPTED_FRAGMENT_2 => 0,
                _ => following,
            };
            Some((kind, content))
        };
        std::iter::from_fn(payload).take(PAYLOADS_MAX)
    }

    fn tell(&self, direction: Direction, sink: &mut dyn EventSink) {
        let name = match self.version {
            VERSION_1 => "IKEv1",
            _ => "IKEv2",
        };
        let mut fields = ArrayVec::<Field<'_>, { 5 + VENDORS_MAX }>::new();
        let number = |index, value| Field::number(index, value);
        fields.push(Field::name(VERSION, name));
        fields.push(Field::name(EXCHANGE, self.exchange));
        fields.push(number(INITIATOR, self.initiator));
        fields.push(number(RESPONDER, self.responder));
        let mut error = None;
        for (kind, content) in self.payloads() {
            match kind {
                VENDOR_1 if self.version == VERSION_1 => vendor(content, &mut fields),
                VENDOR_2 if self.version == VERSION_2 => vendor(content, &mut fields),
                // Protocol, size of the index, type.
                NOTIFY_2 if self.version == VERSION_2 => {
                    error = error.or(content.get(2..4).and_then(code));
                }
                // Domain of interpretation, protocol, size of the index, type.
                NOTIFY_1 if self.version == VERSION_1 => {
                    error = error.or(content.get(6..8).and_then(code));
                }
                _ => {}
            }
        }
        if let Some(code) = error {
            let _full = fields.try_push(number(ERROR_CODE, code.into()));
        }
        let response = match self.version {
            VERSION_2 => self.flags & RESPONSE_2 != 0,
            _ => direction == Direction::ToClient,
        };
        sink.event(&Event {
            kind: match response {
                true => EventKind::Response,
                false => EventKind::Request,
            },
            fields: &fields,
        });
    }
}

fn code(bytes: &[u8]) -> Option<u16> {
    let code = bytes.first_chunk().copied().map(u16::from_be_bytes)?;
    (1..STATUS_FROM).contains(&code).then_some(code)
}

fn vendor<'a>(content: &'a [u8], fields: &mut ArrayVec<Field<'a>, { 5 + VENDORS_MAX }>) {
    if fields.remaining_capacity() > 1 {
        fields.push(Field::bytes(
            VENDOR,
            content.get(..VENDOR_BYTES_MAX).unwrap_or(content),
        ));
    }
}

/// RFC 2408, 3.1; RFC 2409, 5; draft-ietf-ipsec-isakmp-mode-cfg.
fn exchange_1(value: u8) -> Option<&'static str> {
    Some(match value {
        1 => "base",
        2 => "main mode",
        3 => "authentication only",
        4 => "aggressive mode",
        5 => "informational",
        6 => "transaction",
        32 => "quick mode",
        33 => "new group mode",
        _ => return None,
    })
}

/// IANA IKEv2 Exchange Types.
fn exchange_2(value: u8) -> Option<&'static str> {
    Some(match value {
        34 => "IKE_SA_INIT",
        35 => "IKE_AUTH",
        36 => "CREATE_CHILD_SA",
        37 => "INFORMATIONAL",
        38 => "IKE_SESSION_RESUME",
        39 => "GSA_AUTH",
        40 => "GSA_REGISTRATION",
        41 => "GSA_REKEY",
        43 => "IKE_INTERMEDIATE",
        44 => "IKE_FOLLOWUP_KE",
        _ => return None,
    })
}
