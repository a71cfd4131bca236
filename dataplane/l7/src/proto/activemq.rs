//! ActiveMQ: OpenWire's producers, consumers and messages with their destinations, and logins.
//!
//! Read after "OpenWire Version 2 Specification" and the marshallers of ActiveMQ 5 (versions 1 to
//! 12), loosely and tightly encoded, with and without its cache. Trusts nothing. Of a command only
//! its first fields are read. A destination that cannot be told (the cache held it before it was
//! seen, or holds more than is remembered) is empty, so that an allowing condition fails; each of
//! a composite destination is a request of its own. A producer of no destination is no request:
//! its messages name theirs. Passwords are never told.
//!
//! Violations: frames that are none. Memory: the latest cached destinations of the client.

mod wire;

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::read::cursor::Cursor;
use crate::told::Told;
use crate::{
    Application, ByteSet, EventKind, EventSink, FieldSpec, Openings, Probe, ProbeInput, Step,
    Transport,
};
use wire::{Destination, Wire};

/// What every connection begins with, behind a length and a type.
const MAGIC: &[u8] = b"ActiveMQ";
/// How much of a command is read.
const READ_MAX: usize = 4 << 10;
/// maxFrameSize is 100 MiB by default.
const FRAME_MAX: u32 = 1 << 30;
/// Destinations of the cache that are remembered, and how long they may be.
const CACHED: usize = 4;
const NAME_MAX: usize = 80;

const COMMAND: u8 = 0;
const DESTINATION: u8 = 1;
const KIND: u8 = 2;
const USER: u8 = 3;
const CLIENT: u8 = 4;
const PRODUCT: u8 = 5;
const PRODUCT_VERSION: u8 = 6;
const LOGIN: u8 = 7;
const ERROR: u8 = 8;

/// Types of commands (CommandTypes of ActiveMQ).
mod command {
    pub(super) const WIRE_FORMAT_INFO: u8 = 1;
    pub(super) const CONNECTION_INFO: u8 = 3;
    pub(super) const CONSUMER_INFO: u8 = 5;
    pub(super) const PRODUCER_INFO: u8 = 6;
    pub(super) const DESTINATION_INFO: u8 = 8;
    pub(super) const CONNECTION_ERROR: u8 = 16;
    pub(super) const MESSAGE_PULL: u8 = 20;
    pub(super) const MESSAGE_DISPATCH: u8 = 21;
    pub(super) const MESSAGE: u8 = 23;
    pub(super) const MESSAGE_LAST: u8 = 29;
    pub(super) const RESPONSE: u8 = 30;
    pub(super) const EXCEPTION_RESPONSE: u8 = 31;
}

/// The parser.
#[derive(Default)]
pub struct Activemq {
    /// What each side offered; None: its WireFormatInfo was not seen.
    offers: [Option<Offer>; 2],
    cached: ArrayVec<Cached, CACHED>,
    /// The command of the login.
    login: Option<u32>,
    picked_up: bool,
}

/// What a side can do (WireFormatInfo).
#[derive(Clone, Copy, Default)]
struct Offer {
    tight: bool,
    cache: bool,
    no_sizes: bool,
}

struct Cached {
    index: u16,
    kind: u8,
    name: ArrayVec<u8, NAME_MAX>,
}

impl Application for Activemq {
    const NAME: &'static str = "activemq";
    const ABOUT: &'static str =
        "ActiveMQ's OpenWire, versions 1 to 12 (activemq.apache.org, OpenWire)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[61616];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "command",
            "ConsumerInfo, ProducerInfo, Message, MessagePull or DestinationInfo of a client",
        ),
        FieldSpec::condition("destination", "Name of the queue or topic"),
        FieldSpec::text(
            "kind",
            "What the destination is: queue, topic, temp-queue or temp-topic",
        ),
        FieldSpec::text("user", "User of ConnectionInfo"),
        FieldSpec::text("client", "Client id of ConnectionInfo"),
        FieldSpec::text(
            "product",
            "Software of the server (WireFormatInfo, ProviderName)",
        ),
        FieldSpec::text(
            "product_version",
            "Version of the server (WireFormatInfo, ProviderVersion)",
        ),
        FieldSpec::text("login", "Outcome of the login: accepted or failed"),
        FieldSpec::text("error", "Message of an exception"),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[0]),
        to_client: ByteSet::of(&[0]),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        match (greeting(input.to_server), greeting(input.to_client)) {
            (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
            (Probe::Certain, _) | (_, Probe::Certain) => Probe::Certain,
            _ => Probe::Unsure,
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let agreed = self.agreed();
        if agreed.no_sizes {
            // Without lengths every field of every command would have to be known.
            return Step::Done;
        }
        let Some((&size, rest)) = input.split_first_chunk::<4>() else {
            return Step::Incomplete;
        };
        let size = u32::from_be_bytes(size);
        if !(1..=FRAME_MAX).contains(&size) {
            return match self.picked_up {
                true => Step::Done,
                false => Step::Violation("activemq: a length that is none"),
            };
        }
        let Some(bytes) = rest.get(..(size as usize).min(READ_MAX)) else {
            return Step::Incomplete;
        };
        let Some((&kind, fields)) = bytes.split_first() else {
            return Step::Incomplete;
        };
        if kind == command::WIRE_FORMAT_INFO {
            self.greeted(direction, fields, sink);
        } else if let Some(mut wire) = Wire::new(fields, agreed.tight, agreed.cache) {
            match direction {
                Direction::ToServer => self.client(kind, &mut wire, sink),
                Direction::ToClient => self.server(kind, &mut wire, sink),
            }
        }
        Step::Skip(4 + u64::from(size))
    }

    fn gap(&mut self, _direction: Direction, length: u64) -> bool {
        self.picked_up = true;
        length == 0
    }
}

/// Length, type and magic of a WireFormatInfo.
fn greeting(input: &[u8]) -> Probe {
    let mut cursor = Cursor::new(input);
    match cursor.u32() {
        // Below 16 MiB.
        None if input.first().is_some_and(|&byte| byte != 0) => return Probe::NotMine,
        None => return Probe::Unsure,
        Some(length) if !(14..=1 << 20).contains(&length) => return Probe::NotMine,
        Some(_) => {}
    }
    match cursor.u8() {
        None => return Probe::Unsure,
        Some(command::WIRE_FORMAT_INFO) => {}
        Some(_) => return Probe::NotMine,
    }
    let shown = cursor.rest();
    match shown.get(..MAGIC.len()) {
        Some(MAGIC) => Probe::Certain,
        None if MAGIC.starts_with(shown) => Probe::Unsure,
        _ => Probe::NotMine,
    }
}

impl Activemq {
    /// What both sides can do; where one was not seen, what the other offered.
    fn agreed(&self) -> Offer {
        match self.offers {
            [Some(one), Some(other)] => Offer {
                tight: one.tight && other.tight,
                cache: one.cache && other.cache,
                no_sizes: one.no_sizes && other.no_sizes,
            },
            [Some(one), None] | [None, Some(one)] => Offer {
                no_sizes: false,
                ..one
            },
            [None, None] => Offer::default(),
        }
    }

    fn greeted(&mut self, direction: Direction, fields: &[u8], sink: &mut dyn EventSink) {
        // Magic, version, whether there are properties, and their length.
        let map = fields.get(MAGIC.len() + 9..).unwrap_or_default();
        let set = |key: &[u8]| wire::property(map, key) == Some(&[1]);
        if let Some(offer) = self.offers.get_mut(direction as usize) {
            *offer = Some(Offer {
                tight: set(b"TightEncodingEnabled"),
                cache: set(b"CacheEnabled"),
                no_sizes: set(b"SizePrefixDisabled"),
            });
        }
        if direction == Direction::ToClient {
            let text = |key: &[u8]| wire::property(map, key).unwrap_or_default();
            Told::new()
                .bytes(PRODUCT, text(b"ProviderName"))
                .bytes(PRODUCT_VERSION, text(b"ProviderVersion"))
                .send(EventKind::Session, sink);
        }
    }

    fn client(&mut self, kind: u8, wire: &mut Wire<'_>, sink: &mut dyn EventSink) {
        let name = match kind {
            command::CONNECTION_INFO => {
                let _ = self.connection(wire, sink);
                return;
            }
            command::CONSUMER_INFO => "ConsumerInfo",
            command::PRODUCER_INFO => "ProducerInfo",
            command::DESTINATION_INFO => "DestinationInfo",
            command::MESSAGE_PULL => "MessagePull",
            command::MESSAGE..=command::MESSAGE_LAST => "Message",
            _ => return,
        };
        let read = wire
            .command()
            .and_then(|_| wire.destination(kind == command::CONSUMER_INFO));
        match read {
            Some(Destination::None) if kind == command::PRODUCER_INFO => {}
            Some(Destination::Known {
                index,
                kind,
                name: place,
            }) => {
                if let Some(index) = index {
                    self.remember(index, kind, place);
                }
                tell(name, kind, place, sink);
            }
            Some(Destination::Cached(index)) => {
                match self.cached.iter().find(|cached| cached.index == index) {
                    Some(cached) => tell(name, cached.kind, &cached.name, sink),
                    None => tell(name, 0, &[], sink),
                }
            }
            _ => tell(name, 0, &[], sink),
        }
    }

    fn remember(&mut self, index: u16, kind: u8, name: &[u8]) {
        self.cached.retain(|cached| cached.index != index);
        if let Ok(name) = ArrayVec::try_from(name) {
            if self.cached.is_full() {
                self.cached.remove(0);
            }
            self.cached.push(Cached { index, kind, name });
        }
    }

    fn connection(&mut self, wire: &mut Wire<'_>, sink: &mut dyn EventSink) -> Option<()> {
        let command = wire.command()?;
        wire.skip_cached()?;
        let client = wire.text()?;
        wire.text()?;
        let user = wire.text()?;
        self.login = Some(command);
        Told::new()
            .name(COMMAND, "ConnectionInfo")
            .bytes(USER, user)
            .bytes(CLIENT, client)
            .send(EventKind::Session, sink);
        Some(())
    }

    fn server(&mut self, kind: u8, wire: &mut Wire<'_>, sink: &mut dyn EventSink) {
        let _ = match kind {
            command::RESPONSE | command::EXCEPTION_RESPONSE => self.response(kind, wire, sink),
            command::CONNECTION_ERROR => wire.command().and_then(|_| {
                let error = wire.exception()?;
                Told::new()
                    .bytes(ERROR, error)
                    .send(EventKind::Response, sink);
                Some(())
            }),
            command::MESSAGE_DISPATCH => wire.command().and_then(|_| {
                if let Destination::Known { kind, name, .. } = wire.destination(false)? {
                    Told::new()
                        .name(COMMAND, "MessageDispatch")
                        .bytes(DESTINATION, name)
                        .name(KIND, word(kind))
                        .send(EventKind::Response, sink);
                }
                Some(())
            }),
            _ => None,
        };
    }

    fn response(&mut self, kind: u8, wire: &mut Wire<'_>, sink: &mut dyn EventSink) -> Option<()> {
        wire.command()?;
        let answered = Some(wire.number()?);
        let login = self.login.is_some() && answered == self.login;
        if login {
            self.login = None;
        }
        if kind == command::EXCEPTION_RESPONSE {
            let error = wire.exception()?;
            let told = Told::new().bytes(ERROR, error);
            let told = if login {
                told.name(LOGIN, "failed")
            } else {
                told
            };
            told.send(EventKind::Response, sink);
        } else if login {
            Told::new()
                .name(LOGIN, "accepted")
                .send(EventKind::Session, sink);
        }
        Some(())
    }
}

fn word(kind: u8) -> &'static str {
    match kind {
        wire::QUEUE => "queue",
        wire::TOPIC => "topic",
        wire::TEMPORARY_QUEUE => "temp-queue",
        wire::TEMPORARY_TOPIC => "temp-topic",
        _ => "",
    }
}

/// Tells a request about each part of a destination, which may say itself what it is.
fn tell(command: &'static str, kind: u8, name: &[u8], sink: &mut dyn EventSink) {
    for part in name.split(|&byte| byte == b',') {
        let part = part.trim_ascii();
        let prefixes: [(&[u8], u8); 4] = [
            (b"queue://", wire::QUEUE),
            (b"topic://", wire::TOPIC),
            (b"temp-queue://", wire::TEMPORARY_QUEUE),
            (b"temp-topic://", wire::TEMPORARY_TOPIC),
        ];
        let (kind, part) = prefixes
            .iter()
            .find_map(|(prefix, kind)| Some((*kind, part.strip_prefix(*prefix)?)))
            .unwrap_or((kind, part));
        Told::new()
            .name(COMMAND, command)
            .bytes(DESTINATION, part)
            .name(KIND, word(kind))
            .send(EventKind::Request, sink);
    }
}
