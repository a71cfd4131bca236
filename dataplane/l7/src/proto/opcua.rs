//! OPC Unified Architecture over TCP (OPC 10000-6, 6.7 and 7.1; the services are those of OPC
//! 10000-4).
//!
//! Trusts nothing. Each chunk names its kind in letters and states its length. Once a channel is
//! opened with encryption, services cannot be told any more. Violations: anything between chunks.
//! Memory: flags each way.

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::read::cursor::Cursor;
use crate::read::framing::{Framing, Front, Look, count};
use crate::{
    Application, ByteSet, Event, EventKind, EventSink, Field, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport,
};

/// Kind, how it ends, and length (7.1.2.2).
const HEAD: usize = 8;
/// Larger chunks are nobody's: servers take 64 KiB unless told otherwise.
const LENGTH_MAX: u32 = 64 << 20;
/// Of a chunk so much is read; the rest is skipped.
const READ_MAX: usize = 512;
/// Smallest buffers that both ends must have (7.1.2.3).
const BUFFER_MIN: u32 = 1_024;
/// Longest endpoint (7.1.2.3).
const ENDPOINT_MAX: usize = 4_096;

/// First letters of all kinds of chunks.
const KINDS: ByteSet = ByteSet::of(b"HAEROCM");

const SERVICE: u8 = 0;
const ENDPOINT: u8 = 1;
const SECURITY: u8 = 2;
const ERROR: u8 = 3;

/// The parser.
#[derive(Default)]
pub struct Opcua {
    framing: Framing,
    /// The next chunk goes on with a message that was told.
    goes_on: [bool; 2],
}

/// Kinds of chunks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hello,
    Acknowledge,
    Error,
    ReverseHello,
    Open,
    Close,
    Message,
}

impl Application for Opcua {
    const NAME: &'static str = "opcua";
    const ABOUT: &'static str = "OPC Unified Architecture over TCP (OPC 10000-6)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[4_840];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "service",
            "Service: read, write, call, create_session … ; encrypted, or other (OPC 10000-4, 5)",
        ),
        FieldSpec::text("endpoint", "Endpoint that the client asks for (7.1.2.3)"),
        FieldSpec::text(
            "security_policy",
            "Security policy of the channel, a URI (6.7.2.3)",
        ),
        FieldSpec::number("error", "Status code of an error message (7.1.2.5)"),
    ];
    // Either end may open the connection (7.1.3), so either may say any of them first.
    const OPENINGS: Openings = Openings {
        to_server: KINDS,
        to_client: KINDS,
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let sides = [input.to_server, input.to_client];
        if sides.iter().any(|bytes| telling(bytes)) {
            return Probe::Certain;
        }
        match sides.iter().any(|bytes| count(bytes, front).broken) {
            true => Probe::NotMine,
            false => Probe::Unsure,
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let wrong = "opcua: no chunk where one begins";
        let length = match self.framing.next(direction, input, front, wrong) {
            Ok(length) => length,
            Err(step) => return step,
        };
        let Some(chunk) = input.get(..length.min(READ_MAX)) else {
            return Step::Incomplete;
        };
        if let Some((kind, last)) = kind(chunk) {
            self.chunk(direction, kind, last, chunk, sink);
        }
        Step::Skip(length as u64)
    }

    fn gap(&mut self, direction: Direction, _length: u64) -> bool {
        self.framing.lose(direction);
        // What comes first may go on with a message that was lost.
        self.goes_on[direction as usize] = true;
        true
    }
}

impl Opcua {
    fn chunk(
        &mut self,
        direction: Direction,
        kind: Kind,
        last: bool,
        chunk: &[u8],
        sink: &mut dyn EventSink,
    ) {
        let body = chunk.get(HEAD..).unwrap_or_default();
        let goes_on = std::mem::replace(&mut self.goes_on[direction as usize], !last);
        let mut fields: ArrayVec<Field<'_>, 3> = ArrayVec::new();
        let event = match kind {
            Kind::Hello => {
                let endpoint = body
                    .get(20..)
                    .and_then(|rest| string(&mut Cursor::new(rest)));
                fields.push(Field::name(SERVICE, "hello"));
                fields.push(Field::bytes(ENDPOINT, endpoint.unwrap_or_default()));
                EventKind::Request
            }
            Kind::Acknowledge | Kind::ReverseHello => return,
            Kind::Error => {
                let status = Cursor::new(body).array().map(u32::from_le_bytes);
                fields.push(Field::number(ERROR, status.unwrap_or_default().into()));
                EventKind::Session
            }
            Kind::Message if goes_on => return,
            Kind::Open => {
                let policy = body
                    .get(4..)
                    .and_then(|rest| string(&mut Cursor::new(rest)));
                let policy = policy.unwrap_or_default();
                fields.push(Field::name(SERVICE, "open_secure_channel"));
                fields.push(Field::bytes(SECURITY, policy));
                asked(direction)
            }
            Kind::Close => {
                fields.push(Field::name(SERVICE, "close_secure_channel"));
                asked(direction)
            }
            Kind::Message => {
                fields.push(Field::name(SERVICE, service(body)));
                asked(direction)
            }
        };
        sink.event(&Event {
            kind: event,
            fields: &fields,
        });
    }
}

/// The service of a message, behind channel, token, sequence and request. What is only signed can be
/// read; what is encrypted begins with no type.
fn service(body: &[u8]) -> &'static str {
    match body.get(16..) {
        // Encodings of a numeric node (5.2.2.9), in the namespace of the standard.
        Some([0, number, ..]) => service_name((*number).into()).unwrap_or("other"),
        Some([1, 0, low, high, ..]) => {
            service_name(u16::from_le_bytes([*low, *high])).unwrap_or("other")
        }
        _ => "encrypted",
    }
}

fn asked(direction: Direction) -> EventKind {
    match direction {
        Direction::ToServer => EventKind::Request,
        Direction::ToClient => EventKind::Response,
    }
}

/// Kind of chunk, and whether it ends its message.
fn kind(bytes: &[u8]) -> Option<(Kind, bool)> {
    let (kind, end) = bytes.split_at_checked(3)?;
    let kind = match kind {
        b"HEL" => Kind::Hello,
        b"ACK" => Kind::Acknowledge,
        b"ERR" => Kind::Error,
        b"RHE" => Kind::ReverseHello,
        b"OPN" => Kind::Open,
        b"CLO" => Kind::Close,
        b"MSG" => Kind::Message,
        _ => return None,
    };
    match end.first()? {
        b'F' | b'A' => Some((kind, true)),
        b'C' if kind == Kind::Message => Some((kind, false)),
        _ => None,
    }
}

fn front(bytes: &[u8], _look: Look) -> Front {
    let Some((head, _)) = bytes.split_first_chunk::<HEAD>() else {
        let begins = |kind: &[u8; 3]| kind.iter().zip(bytes).all(|(wanted, byte)| wanted == byte);
        let known = [b"HEL", b"ACK", b"ERR", b"RHE", b"OPN", b"CLO", b"MSG"];
        let known = known.into_iter().any(begins);
        return match bytes.get(3) {
            _ if !known => Front::Other,
            Some(b'F' | b'A' | b'C') | None => Front::Partial,
            Some(_) => Front::Other,
        };
    };
    let [_, _, _, _, length @ ..] = head;
    let length = u32::from_le_bytes(*length);
    let fits = |kind: Kind| {
        let least = match kind {
            Kind::Hello => 32,
            Kind::Acknowledge => 28,
            Kind::Error | Kind::ReverseHello => 16,
            Kind::Open | Kind::Close | Kind::Message => 24,
        };
        let most = match kind {
            Kind::Hello | Kind::Error | Kind::ReverseHello => 2 * ENDPOINT_MAX as u32 + 32,
            Kind::Acknowledge => 28,
            Kind::Open | Kind::Close | Kind::Message => LENGTH_MAX,
        };
        (least..=most).contains(&length)
    };
    match kind(bytes) {
        Some((kind, _)) if fits(kind) => Front::Message(length as usize),
        _ => Front::Other,
    }
}

/// Whether the chunk that `bytes` begin with is hardly anything else.
fn telling(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let mut messages = 0;
    while let Front::Message(length) = front(rest, Look::Searching) {
        let Some((kind, _)) = kind(rest) else {
            return false;
        };
        let body = rest.get(HEAD..).unwrap_or_default();
        let tells = match kind {
            Kind::Hello => {
                let endpoint = body.get(20..24).and_then(|size| Cursor::new(size).array());
                buffers(body)
                    && endpoint.is_some_and(|size| {
                        let size = u32::from_le_bytes(size);
                        size == u32::MAX && length == 32 || size as usize + 32 == length
                    })
            }
            Kind::Acknowledge => body.len() >= 20 && buffers(body),
            Kind::Open => body
                .get(4..)
                .and_then(|rest| string(&mut Cursor::new(rest)))
                .is_some_and(|policy| policy.starts_with(b"http://opcfoundation.org/")),
            // Channel and token are not 0, numbers grow, and a type follows.
            Kind::Message | Kind::Close => {
                messages += u8::from(body.len() >= 16 && length <= rest.len());
                matches!(body.get(16..20), Some([1, 0, _, _])) && length <= rest.len()
                    || messages >= 2
            }
            // Status codes of errors have the high bit set.
            Kind::Error => {
                let reason = body.get(4..8).and_then(|size| Cursor::new(size).array());
                body.get(3).is_some_and(|high| high & 0x80 != 0)
                    && reason.is_some_and(|size| {
                        let size = u32::from_le_bytes(size);
                        size == u32::MAX && length == 16 || size as usize + 16 == length
                    })
            }
            Kind::ReverseHello => string(&mut Cursor::new(body))
                .is_some_and(|uri| uri.len() <= ENDPOINT_MAX && uri.starts_with(b"urn:")),
        };
        if tells {
            return true;
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    false
}

/// Version 0, and buffers that are large enough (7.1.2.3).
fn buffers(body: &[u8]) -> bool {
    let mut cursor = Cursor::new(body);
    let mut number = || cursor.array().map(u32::from_le_bytes);
    let (version, receive, send) = (number(), number(), number());
    version == Some(0) && receive >= Some(BUFFER_MIN) && send >= Some(BUFFER_MIN)
}

/// A string behind its length; absent ones have the length -1.
fn string<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    match u32::from_le_bytes(cursor.array()?) {
        u32::MAX => Some(&[]),
        length => cursor.take(usize::try_from(length).ok()?),
    }
}

/// By the identifiers of the binary encodings (OPC 10000-6, A.3); an answer's is its question's
/// and 3.
fn service_name(number: u16) -> Option<&'static str> {
    let name = |number| {
        Some(match number {
            422 => "find_servers",
            428 => "get_endpoints",
            437 => "register_server",
            446 => "open_secure_channel",
            452 => "close_secure_channel",
            461 => "create_session",
            467 => "activate_session",
            473 => "close_session",
            479 => "cancel",
            488 => "add_nodes",
            494 => "add_references",
            500 => "delete_nodes",
            506 => "delete_references",
            527 => "browse",
            533 => "browse_next",
            554 => "translate_browse_paths",
            560 => "register_nodes",
            566 => "unregister_nodes",
            615 => "query_first",
            621 => "query_next",
            631 => "read",
            664 => "history_read",
            673 => "write",
            700 => "history_update",
            712 => "call",
            751 => "create_monitored_items",
            763 => "modify_monitored_items",
            769 => "set_monitoring_mode",
            775 => "set_triggering",
            781 => "delete_monitored_items",
            787 => "create_subscription",
            793 => "modify_subscription",
            799 => "set_publishing_mode",
            826 => "publish",
            832 => "republish",
            841 => "transfer_subscriptions",
            847 => "delete_subscriptions",
            _ => return None,
        })
    };
    match number {
        397 => Some("fault"),
        number => name(number).or_else(|| name(number.checked_sub(3)?)),
    }
}
