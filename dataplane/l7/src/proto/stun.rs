//! STUN and TURN: which address a client has, and which relay it is given (RFC 8489, RFC 8656; the
//! older form without a cookie in RFC 3489).
//!
//! Trusts nothing. Distrusts: short messages without the cookie, which need an attribute that only
//! STUN has, their answer, or the port. What shares the addresses with STUN (RTP, DTLS, relayed
//! data, RFC 7983) is passed over. Violations, on streams only: what is neither a message nor
//! relayed data. Memory: none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::read::cursor::Cursor;
use crate::{
    Application, Blocks, ByteSet, Event, EventKind, EventSink, Field, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport,
};

const PORT: u16 = 3478;
const COOKIE: u32 = 0x2112_a442;
const COOKIE_AT: usize = 4;
const HEADER_BYTES: usize = 20;
/// Of a message's length, where it stands before it (RFC 4571, 2).
const LENGTH_BYTES: usize = 2;
/// RFC 8489, 14 sets no limit; real messages fit into a datagram of the internet.
const MESSAGE_BYTES_MAX: usize = 2_048;
const ATTRIBUTES_MAX: usize = 32;
/// Channel numbers (RFC 8656, 12).
const CHANNEL_FIRST: u8 = 0x40;
const CHANNEL_LAST: u8 = 0x4f;
const CHANNEL_HEADER_BYTES: usize = 4;

const METHOD: u8 = 0;
const USERNAME: u8 = 1;
const REALM: u8 = 2;
const SOFTWARE: u8 = 3;
const MAPPED_ADDRESS: u8 = 4;
const MAPPED_PORT: u8 = 5;
const PEER_ADDRESS: u8 = 6;
const PEER_PORT: u8 = 7;
const RELAYED_ADDRESS: u8 = 8;
const RELAYED_PORT: u8 = 9;
const ERROR_CODE: u8 = 10;
const ERROR: u8 = 11;
const CLASS: u8 = 12;

/// The parser.
#[derive(Default)]
pub struct Stun {
    stream: bool,
    /// On a stream: whether each message stands behind its length (RFC 4571), once that is known.
    framed: [Option<bool>; 2],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Request,
    Indication,
    Success,
    Error,
}

/// A message whose attributes add up to its length.
struct Message<'a> {
    class: Class,
    method: &'static str,
    cookie: bool,
    transaction: &'a [u8],
    attributes: &'a [u8],
}

impl Application for Stun {
    const NAME: &'static str = "stun";
    const ABOUT: &'static str = "Session traversal and relays: STUN and TURN (RFC 8489, RFC 8656)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Udp, Transport::Tcp];
    const PORTS: &'static [u16] = &[PORT];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "method",
            "What is asked for: binding, allocate, refresh … (IANA)",
        ),
        FieldSpec::text("username", "User, or both ends' fragments (RFC 8489, 14.3)"),
        FieldSpec::text("realm", "Realm of the user (RFC 8489, 14.9)"),
        FieldSpec::text("software", "What sent the message (RFC 8489, 14.14)"),
        FieldSpec::address(
            "mapped_address",
            "The client's address, as seen from outside (RFC 8489, 14.2)",
        ),
        FieldSpec::number("mapped_port", "The client's port, as seen from outside"),
        FieldSpec::address(
            "peer_address",
            "Whom the relay shall exchange data with (RFC 8656, 18.3)",
        ),
        FieldSpec::number(
            "peer_port",
            "The port of whom the relay shall exchange data with",
        ),
        FieldSpec::address(
            "relayed_address",
            "The address that the relay gives (RFC 8656, 18.5)",
        ),
        FieldSpec::number("relayed_port", "The port that the relay gives"),
        FieldSpec::number("error_code", "Error code (RFC 8489, 14.8)"),
        FieldSpec::text("error", "Reason phrase of an error"),
        FieldSpec::text(
            "class",
            "request, indication, success or error (RFC 8489, 5)",
        ),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::NONE.and_range(0, 7),
        to_client: ByteSet::NONE.and_range(0, 7),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let stream = input.transport == Transport::Tcp;
        let sides = [input.to_server, input.to_client].map(|side| probe_side(side, stream));
        match sides {
            [Probe::NotMine, _] | [_, Probe::NotMine] => Probe::NotMine,
            [Probe::Certain, _] | [_, Probe::Certain] => Probe::Certain,
            _ if answered(input) => Probe::Certain,
            _ => Probe::Unsure,
        }
    }

    fn open(transport: Transport, _blocks: &mut Blocks) -> Self {
        Self {
            stream: transport == Transport::Tcp,
            framed: [None; 2],
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if self.stream {
            return self.stream(direction, input, sink);
        }
        if let Some(message) = Message::read(input) {
            message.tell(sink);
        } else if super::dtls::is_records(input) {
            // The addresses are found: what they were sought for begins.
            return Step::Becomes("dtls");
        }
        Step::Consumed(input.len())
    }
}

impl Stun {
    fn stream(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let Some(framed) = self.framed.get_mut(direction as usize) else {
            return Step::Done;
        };
        if framed.is_none() {
            let Some(front) = input.get(..COOKIE_AT + LENGTH_BYTES + 4) else {
                return Step::Incomplete;
            };
            let behind = front.get(COOKIE_AT + LENGTH_BYTES..);
            *framed = Some(behind == Some(&COOKIE.to_be_bytes()[..]));
        }
        match framed {
            Some(true) => framed_stream(input, sink),
            _ => plain_stream(input, sink),
        }
    }
}

/// Messages and relayed data, one behind the other (RFC 8489, 6.2.2; RFC 8656, 12.5).
fn plain_stream(input: &[u8], sink: &mut dyn EventSink) -> Step {
    let &[first, _, high, low, ..] = input else {
        return Step::Incomplete;
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if (CHANNEL_FIRST..=CHANNEL_LAST).contains(&first) {
        return Step::Skip((CHANNEL_HEADER_BYTES + length.next_multiple_of(4)) as u64);
    }
    if HEADER_BYTES + length > MESSAGE_BYTES_MAX {
        return Step::Violation("stun: a message that is too long");
    }
    let Some(whole) = input.get(..HEADER_BYTES + length) else {
        return Step::Incomplete;
    };
    match Message::read(whole) {
        Some(message) => message.tell(sink),
        None => return Step::Violation("stun: neither a message nor relayed data"),
    }
    Step::Consumed(whole.len())
}

/// Messages and media, each behind its length (RFC 4571, 2; RFC 6544, 3).
fn framed_stream(input: &[u8], sink: &mut dyn EventSink) -> Step {
    let &[high, low, ref rest @ ..] = input else {
        return Step::Incomplete;
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let whole = LENGTH_BYTES + length;
    match rest.first() {
        None if length > 0 => Step::Incomplete,
        Some(0..=1) if (HEADER_BYTES..=MESSAGE_BYTES_MAX).contains(&length) => {
            let Some(message) = rest.get(..length) else {
                return Step::Incomplete;
            };
            if let Some(message) = Message::read(message) {
                message.tell(sink);
            }
            Step::Consumed(whole)
        }
        _ => Step::Skip(whole as u64),
    }
}

fn probe_side(input: &[u8], stream: bool) -> Probe {
    if input.is_empty() {
        return Probe::Unsure;
    }
    if !stream {
        return match Message::read(input) {
            Some(message) if message.cookie || message.is_marked() => Probe::Certain,
            Some(_) => Probe::Unsure,
            None => Probe::NotMine,
        };
    }
    // On a stream only the form with a cookie is known, perhaps behind its length.
    let framed = input.get(LENGTH_BYTES..).unwrap_or_default();
    match (probe_message(input), probe_message(framed)) {
        (Probe::Certain, _) => Probe::Certain,
        (_, Probe::Certain) if is_length(input) => Probe::Certain,
        (Probe::NotMine, Probe::NotMine) => Probe::NotMine,
        (Probe::NotMine, _) if !is_length(input) => Probe::NotMine,
        _ => Probe::Unsure,
    }
}

/// Whether the first two bytes are the length of the message behind them, as far as can be seen.
fn is_length(input: &[u8]) -> bool {
    match *input {
        [high, low, _, _, inner_high, inner_low, ..] => {
            let length = usize::from(u16::from_be_bytes([high, low]));
            length == HEADER_BYTES + usize::from(u16::from_be_bytes([inner_high, inner_low]))
        }
        [high, ..] => high < 8,
        [] => true,
    }
}

fn probe_message(input: &[u8]) -> Probe {
    let sound = |index: usize, byte: u8| match index {
        0 => byte <= 1,
        2 => byte < 8,
        3 => byte.is_multiple_of(4),
        4..8 => COOKIE.to_be_bytes().get(index - COOKIE_AT) == Some(&byte),
        _ => true,
    };
    let front = input.get(..HEADER_BYTES).unwrap_or(input);
    if !front
        .iter()
        .enumerate()
        .all(|(index, &byte)| sound(index, byte))
    {
        return Probe::NotMine;
    }
    let kind = match input {
        [high, low, ..] => kind(u16::from_be_bytes([*high, *low])).is_some(),
        _ => true,
    };
    match (kind, front.len() >= HEADER_BYTES) {
        (false, _) => Probe::NotMine,
        (true, true) => Probe::Certain,
        (true, false) => Probe::Unsure,
    }
}

/// Without a cookie: the answer repeats the transaction. Or the port speaks for it.
fn answered(input: &ProbeInput<'_>) -> bool {
    if input.transport == Transport::Tcp {
        return false;
    }
    match (
        Message::read(input.to_server),
        Message::read(input.to_client),
    ) {
        (Some(asked), Some(answer)) => {
            asked.class == Class::Request
                && asked.method == answer.method
                && matches!(answer.class, Class::Success | Class::Error)
                && asked.transaction == answer.transaction
        }
        (Some(_), None) | (None, Some(_)) => input.server_port == PORT,
        (None, None) => false,
    }
}

impl<'a> Message<'a> {
    fn read(input: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(input);
        let (class, method) = kind(cursor.u16()?)?;
        let length = cursor.u16()?;
        let transaction = cursor.take(16)?;
        let attributes = cursor.rest();
        let cookie = transaction.starts_with(&COOKIE.to_be_bytes());
        // Some that send the cookie do not fill their attributes up to four bytes.
        let older = || {
            walk(attributes).all(|attribute| attribute.is_some())
                && matches!(method, "binding" | "allocate" | "shared secret")
        };
        let sound = usize::from(length) == attributes.len() && (cookie || older());
        sound.then_some(Self {
            class,
            method,
            cookie,
            transaction,
            attributes,
        })
    }

    fn attributes(&self) -> impl Iterator<Item = (u16, &'a [u8])> {
        walk(self.attributes).flatten()
    }

    /// Without a cookie: an attribute of RFC 3489 whose content is as that demands.
    fn is_marked(&self) -> bool {
        self.attributes().any(|(kind, content)| match kind {
            // Addresses: a zero, the family, port and address.
            1 | 2 | 4 | 5 | 11 => matches!(content, [0, 1, _, _, _, _, _, _]),
            // The request to answer from elsewhere.
            3 => matches!(content, [0, 0, 0, flags] if flags & !6 == 0),
            // The cookie of early TURN.
            0x0f => content == [0x72, 0xc6, 0x4b, 0xc6],
            8 => content.len() == 20,
            _ => false,
        })
    }

    fn tell(&self, sink: &mut dyn EventSink) {
        let mut fields = ArrayVec::<Field<'_>, ATTRIBUTES_MAX>::new();
        let class = match self.class {
            Class::Request => "request",
            Class::Indication => "indication",
            Class::Success => "success",
            Class::Error => "error",
        };
        fields.push(Field::name(METHOD, self.method));
        fields.push(Field::name(CLASS, class));
        for (kind, content) in self.attributes() {
            if fields.remaining_capacity() < 2 {
                break;
            }
            match kind {
                0x0006 => fields.push(Field::bytes(USERNAME, content)),
                0x0014 => fields.push(Field::bytes(REALM, content)),
                0x8022 => fields.push(Field::bytes(SOFTWARE, content)),
                0x0009 => {
                    if let [_, _, hundreds, rest, reason @ ..] = content {
                        let code = u64::from(hundreds & 7) * 100 + u64::from(*rest);
                        fields.push(Field::number(ERROR_CODE, code));
                        fields.push(Field::bytes(ERROR, reason));
                    }
                }
                0x0001 => self.address(content, false, (MAPPED_ADDRESS, MAPPED_PORT), &mut fields),
                0x0020 | 0x8020 => {
                    self.address(content, true, (MAPPED_ADDRESS, MAPPED_PORT), &mut fields);
                }
                0x0012 => self.address(content, true, (PEER_ADDRESS, PEER_PORT), &mut fields),
                0x0016 => self.address(content, true, (RELAYED_ADDRESS, RELAYED_PORT), &mut fields),
                _ => {}
            }
        }
        let kind = match self.class {
            Class::Request | Class::Indication => EventKind::Request,
            Class::Success | Class::Error => EventKind::Response,
        };
        sink.event(&Event {
            kind,
            fields: &fields,
        });
    }

    /// An address and a port, which may be combined with cookie and transaction (RFC 8489, 14.2).
    fn address(
        &self,
        content: &[u8],
        masked: bool,
        (address_field, port_field): (u8, u8),
        fields: &mut ArrayVec<Field<'_>, ATTRIBUTES_MAX>,
    ) {
        let mut cursor = Cursor::new(content);
        let (Some([_, family]), Some(port)) = (cursor.array(), cursor.array::<2>()) else {
            return;
        };
        let mask = |at: usize| match masked {
            true => self.transaction.get(at).copied().unwrap_or_default(),
            false => 0,
        };
        let address = match (family, cursor.rest()) {
            (1, &[a, b, c, d]) => {
                let octets = [a ^ mask(0), b ^ mask(1), c ^ mask(2), d ^ mask(3)];
                IpAddr::V4(Ipv4Addr::from(octets))
            }
            (2, rest) => match <[u8; 16]>::try_from(rest) {
                Ok(mut octets) => {
                    for (at, octet) in octets.iter_mut().enumerate() {
                        *octet ^= mask(at);
                    }
                    IpAddr::V6(Ipv6Addr::from(octets))
                }
                Err(_) => return,
            },
            _ => return,
        };
        let port = u16::from_be_bytes([port[0] ^ mask(0), port[1] ^ mask(1)]);
        fields.push(Field::address(address_field, address));
        fields.push(Field::number(port_field, port.into()));
    }
}

/// Class and method of a message type (RFC 8489, 5; IANA STUN Methods).
fn kind(value: u16) -> Option<(Class, &'static str)> {
    let class = match value & 0x0110 {
        0x0000 => Class::Request,
        0x0010 => Class::Indication,
        0x0100 => Class::Success,
        _ => Class::Error,
    };
    let method = match value & !0x0110 {
        0x001 => "binding",
        0x002 => "shared secret",
        0x003 => "allocate",
        0x004 => "refresh",
        0x006 => "send",
        0x007 => "data",
        0x008 => "create permission",
        0x009 => "channel bind",
        0x00a => "connect",
        0x00b => "connection bind",
        0x00c => "connection attempt",
        0x080 => "goog ping",
        _ => return None,
    };
    Some((class, method))
}

/// The attributes one by one, each filled up to four bytes; None once they do not add up.
fn walk(attributes: &[u8]) -> impl Iterator<Item = Option<(u16, &[u8])>> {
    let mut rest = Cursor::new(attributes);
    let mut sound = true;
    std::iter::from_fn(move || {
        if rest.is_empty() || !sound {
            return None;
        }
        let attribute = attribute(&mut rest);
        sound = attribute.is_some();
        Some(attribute)
    })
}

fn attribute<'a>(rest: &mut Cursor<'a>) -> Option<(u16, &'a [u8])> {
    let kind = rest.u16()?;
    let content = rest.vector16()?.rest();
    rest.take(content.len().next_multiple_of(4) - content.len())?;
    Some((kind, content))
}
