//! XMPP: stream, login and stanzas with their addresses.
//!
//! Read after RFC 6120 and RFC 6121. Trusts nothing. The stream is read tag by tag; texts are
//! passed over, whatever they hold. What a login sends is never told, only its mechanism.
//!
//! Violations: tags that are none, closed ones that were not open, what RFC 6120, 11.1 forbids
//! (comments, document types). Memory: depth and a few flags for each side.

use weir_wire::Direction;

use crate::read::weigh;
use crate::{
    Application, ByteSet, Event, EventKind, EventSink, Field, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport,
};

/// A tag with its attributes.
const TAG_MAX: usize = 8 << 10;
const DEPTH_MAX: u16 = 1_024;

const STANZA: u8 = 0;
const TO: u8 = 1;
const FROM: u8 = 2;
const TYPE: u8 = 3;
const NAMESPACE: u8 = 4;
const VERSION: u8 = 5;
const MECHANISM: u8 = 6;
const LOGIN: u8 = 7;
const ERROR: u8 = 8;

/// The parser.
#[derive(Default)]
pub struct Xmpp {
    sides: [Side; 2],
    phase: Phase,
    picked_up: bool,
}

#[derive(Clone, Copy, Default)]
struct Side {
    /// Open elements; 1 within the stream.
    depth: u16,
    within: Within,
    /// Within a section of characters (CDATA).
    characters: bool,
}

/// What the element below the stream is, where its children tell something.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Within {
    #[default]
    Other,
    StreamError,
    Failure,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Plain,
    Tls,
    Compressed,
}

/// A tag taken apart.
struct Tag<'a> {
    name: &'a [u8],
    attributes: &'a [u8],
    closing: bool,
    empty: bool,
}

/// What stands at the front.
enum Token<'a> {
    /// Characters up to the next tag, or all there are.
    Text(usize),
    Tag(Tag<'a>, usize),
    /// An XML declaration.
    Declaration(usize),
    /// The start of a section of characters.
    Characters(usize),
    Partial,
    Bad(&'static str),
}

impl Application for Xmpp {
    const NAME: &'static str = "xmpp";
    const ABOUT: &'static str = "Extensible Messaging and Presence Protocol (RFC 6120, RFC 6121)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[5222, 5269, 5223];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition("stanza", "message, presence or iq (RFC 6120, 8)"),
        FieldSpec::text("to", "Address of the receiver; of a stream the domain"),
        FieldSpec::text("from", "Address of the sender"),
        FieldSpec::text("type", "Type of the stanza: get, set, chat, …"),
        FieldSpec::text(
            "namespace",
            "Namespace of the stream: jabber:client or jabber:server",
        ),
        FieldSpec::text("version", "Version of the stream"),
        FieldSpec::text(
            "mechanism",
            "Authentication mechanism that the client chose (RFC 6120, 6)",
        ),
        FieldSpec::text("login", "Outcome of the login: accepted or failed"),
        FieldSpec::text("error", "Condition of a stream error or a failed login"),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(b"< \r\n\t\xef"),
        to_client: ByteSet::of(b"< \r\n\t\xef"),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        if !weigh::opens(&Self::OPENINGS, input) {
            return Probe::NotMine;
        }
        match (sight(input.to_server), sight(input.to_client)) {
            (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
            (Probe::Certain, _) | (_, Probe::Certain) => Probe::Certain,
            _ => Probe::Unsure,
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        match self.phase {
            Phase::Plain => {}
            Phase::Tls => return Step::StartTls,
            Phase::Compressed => return Step::Done,
        }
        let Some(side) = self.sides.get_mut(direction as usize) else {
            return Step::Done;
        };
        if side.characters {
            return match memchr::memmem::find(input, b"]]>") {
                Some(end) => {
                    side.characters = false;
                    Step::Consumed(end + 3)
                }
                None if input.len() > 2 => Step::Consumed(input.len() - 2),
                None => Step::Incomplete,
            };
        }
        match token(input) {
            Token::Text(used) => Step::Consumed(used),
            Token::Declaration(used) => {
                side.depth = 0;
                Step::Consumed(used)
            }
            Token::Characters(used) => {
                side.characters = true;
                Step::Consumed(used)
            }
            Token::Tag(tag, used) => match self.tag(direction, &tag, sink) {
                Some(what) if !self.picked_up => Step::Violation(what),
                Some(_) => Step::Done,
                None => Step::Consumed(used),
            },
            Token::Partial => Step::Incomplete,
            Token::Bad(_) if self.picked_up => Step::Done,
            Token::Bad(what) => Step::Violation(what),
        }
    }

    fn overflow(
        &mut self,
        _direction: Direction,
        _input: &[u8],
        _sink: &mut dyn EventSink,
    ) -> Step {
        Step::Violation("xmpp: tag too long")
    }

    fn gap(&mut self, direction: Direction, length: u64) -> bool {
        // A stream that is picked up is within its element already.
        if let Some(side) = self.sides.get_mut(direction as usize) {
            side.depth = 1;
        }
        self.picked_up = true;
        length == 0
    }
}

impl Xmpp {
    /// Takes a tag; returns what is wrong with it.
    fn tag(
        &mut self,
        direction: Direction,
        tag: &Tag<'_>,
        sink: &mut dyn EventSink,
    ) -> Option<&'static str> {
        let stream = local(tag.name) == b"stream";
        let side = self.sides.get_mut(direction as usize)?;
        if tag.closing {
            let Some(depth) = side.depth.checked_sub(1) else {
                return Some("xmpp: a closing tag without an opening one");
            };
            side.depth = depth;
            return None;
        }
        // A stream begins anew after the login, within itself (RFC 6120, 4.3.3).
        if stream && side.depth <= 1 {
            side.depth = 1;
            tell_stream(tag, sink);
            return None;
        }
        match side.depth {
            0 => return Some("xmpp: an element outside of a stream"),
            1 => {
                side.within = Within::Other;
                self.below_stream(direction, tag, sink);
            }
            2 => child(&mut side.within, tag, sink),
            DEPTH_MAX.. => return Some("xmpp: elements too deep"),
            _ => {}
        }
        if !tag.empty {
            let side = self.sides.get_mut(direction as usize)?;
            side.depth += 1;
        }
        None
    }

    fn below_stream(&mut self, direction: Direction, tag: &Tag<'_>, sink: &mut dyn EventSink) {
        let name = local(tag.name);
        let mut within = Within::Other;
        let session = |sink: &mut dyn EventSink, field: Field<'_>| {
            sink.event(&Event {
                kind: EventKind::Session,
                fields: &[field],
            });
        };
        match (direction, name) {
            (_, b"message" | b"presence" | b"iq") => tell_stanza(direction, tag, sink),
            (Direction::ToServer, b"auth" | b"authenticate") => {
                session(sink, Field::bytes(MECHANISM, tag.attribute(b"mechanism")));
            }
            (Direction::ToClient, b"success") => session(sink, Field::name(LOGIN, "accepted")),
            (Direction::ToClient, b"proceed") if tag.attribute(b"xmlns") == TLS => {
                self.phase = Phase::Tls;
            }
            (Direction::ToClient, b"compressed") => self.phase = Phase::Compressed,
            (_, b"failure") if tag.attribute(b"xmlns") != TLS => within = Within::Failure,
            (_, b"error") => within = Within::StreamError,
            _ => {}
        }
        if let Some(side) = self.sides.get_mut(direction as usize) {
            side.within = within;
        }
    }
}

const TLS: &[u8] = b"urn:ietf:params:xml:ns:xmpp-tls";

/// The child that names an error's condition.
fn child(within: &mut Within, tag: &Tag<'_>, sink: &mut dyn EventSink) {
    let error = Field::bytes(ERROR, local(tag.name));
    let fields = [error, Field::name(LOGIN, "failed")];
    let count = match std::mem::take(within) {
        Within::Other => return,
        Within::StreamError => 1,
        Within::Failure => 2,
    };
    sink.event(&Event {
        kind: EventKind::Response,
        fields: fields.get(..count).unwrap_or_default(),
    });
}

fn tell_stream(tag: &Tag<'_>, sink: &mut dyn EventSink) {
    sink.event(&Event {
        kind: EventKind::Session,
        fields: &[
            Field::bytes(TO, tag.attribute(b"to")),
            Field::bytes(FROM, tag.attribute(b"from")),
            Field::bytes(NAMESPACE, tag.attribute(b"xmlns")),
            Field::bytes(VERSION, tag.attribute(b"version")),
        ],
    });
}

fn tell_stanza(direction: Direction, tag: &Tag<'_>, sink: &mut dyn EventSink) {
    let stanza = match local(tag.name) {
        b"message" => "message",
        b"presence" => "presence",
        _ => "iq",
    };
    let kind = match direction {
        Direction::ToServer => EventKind::Request,
        Direction::ToClient => EventKind::Response,
    };
    sink.event(&Event {
        kind,
        fields: &[
            Field::name(STANZA, stanza),
            Field::bytes(TO, tag.attribute(b"to")),
            Field::bytes(FROM, tag.attribute(b"from")),
            Field::bytes(TYPE, tag.attribute(b"type")),
        ],
    });
}

impl Tag<'_> {
    /// The value of an attribute, as it is written.
    fn attribute(&self, name: &[u8]) -> &[u8] {
        attributes(self.attributes)
            .find(|(key, _)| *key == name)
            .map_or(&[], |(_, value)| value)
    }
}

/// Names and values, until something is none.
fn attributes(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let equals = memchr::memchr(b'=', rest)?;
        let (name, behind) = (rest.get(..equals)?, rest.get(equals + 1..)?);
        let (&quote, value) = behind.trim_ascii_start().split_first()?;
        if !matches!(quote, b'"' | b'\'') {
            return None;
        }
        let end = memchr::memchr(quote, value)?;
        rest = value.get(end + 1..)?;
        Some((name.trim_ascii(), value.get(..end)?))
    })
}

/// A name without its prefix.
fn local(name: &[u8]) -> &[u8] {
    name.rsplit(|&byte| byte == b':').next().unwrap_or(name)
}

fn token(input: &[u8]) -> Token<'_> {
    match memchr::memchr(b'<', input) {
        Some(0) => {}
        Some(end) => return Token::Text(end),
        None => return Token::Text(input.len()),
    }
    let Some(&second) = input.get(1) else {
        return Token::Partial;
    };
    if second == b'!' {
        let mark = b"<![CDATA[";
        let shown = input.len().min(mark.len());
        return match (input.get(..shown) == mark.get(..shown), shown == mark.len()) {
            (false, _) => Token::Bad("xmpp: a comment or document type"),
            (true, true) => Token::Characters(shown),
            (true, false) => Token::Partial,
        };
    }
    let named = second.is_ascii_alphabetic() || matches!(second, b'/' | b'?' | b'_' | 0x80..);
    let end = match tag_end(input) {
        _ if !named => return Token::Bad("xmpp: no tag"),
        Some(end) => end,
        None if input.len() < TAG_MAX => return Token::Partial,
        None => return Token::Bad("xmpp: tag too long"),
    };
    let inner = input.get(1..end).unwrap_or_default();
    if second == b'?' {
        return match inner.starts_with(b"?xml") {
            true => Token::Declaration(end + 1),
            false => Token::Bad("xmpp: a processing instruction"),
        };
    }
    let (inner, closing) = inner
        .strip_prefix(b"/")
        .map_or((inner, false), |rest| (rest, true));
    let (inner, empty) = inner
        .strip_suffix(b"/")
        .map_or((inner, false), |rest| (rest, true));
    let length = inner
        .iter()
        .position(u8::is_ascii_whitespace)
        .unwrap_or(inner.len());
    let (name, attributes) = inner.split_at_checked(length).unwrap_or((inner, &[]));
    if name.is_empty()
        || name
            .iter()
            .any(|byte| matches!(byte, 0..=b' ' | b'<' | b'=' | b'\'' | b'"'))
    {
        return Token::Bad("xmpp: no tag");
    }
    Token::Tag(
        Tag {
            name,
            attributes,
            closing,
            empty,
        },
        end + 1,
    )
}

/// Where the tag at the front ends; within quotes `>` is a character.
fn tag_end(input: &[u8]) -> Option<usize> {
    let mut quote = None;
    for (at, &byte) in input.iter().enumerate().take(TAG_MAX) {
        match (quote, byte) {
            (None, b'>') => return Some(at),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

/// What the first tags say.
fn sight(input: &[u8]) -> Probe {
    let mut rest = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input);
    // A declaration, then one tag; blanks between them, and as keep-alives.
    for _ in 0..4 {
        if rest.is_empty() || b"\xef\xbb\xbf".starts_with(rest) {
            return Probe::Unsure;
        }
        match token(rest) {
            Token::Text(used) => {
                let (text, behind) = rest.split_at_checked(used).unwrap_or((rest, &[]));
                if !text.iter().all(u8::is_ascii_whitespace) {
                    return Probe::NotMine;
                }
                rest = behind;
            }
            Token::Declaration(used) => rest = rest.get(used..).unwrap_or_default(),
            Token::Tag(tag, _) => return tag_sight(&tag),
            Token::Partial if likely(rest) => return Probe::Unsure,
            _ => return Probe::NotMine,
        }
    }
    Probe::NotMine
}

/// Whether a tag that has not ended may be one of these.
fn likely(rest: &[u8]) -> bool {
    let names: &[&[u8]] = &[
        b"<?xml",
        b"<stream:",
        b"</stream:",
        b"<iq",
        b"<message",
        b"<presence",
    ];
    names.iter().any(|name| {
        let shown = rest.len().min(name.len());
        rest.get(..shown) == name.get(..shown)
    })
}

fn tag_sight(tag: &Tag<'_>) -> Probe {
    let certain = |yes: bool| if yes { Probe::Certain } else { Probe::NotMine };
    let kinds: &[&[u8]] = match tag.name {
        b"stream:stream" if tag.closing => return Probe::Certain,
        b"stream:stream" => {
            let namespace = tag.attribute(b"xmlns:stream");
            return certain(
                namespace == b"http://etherx.jabber.org/streams"
                    || tag.attribute(b"xmlns").starts_with(b"jabber:"),
            );
        }
        b"stream:features" | b"stream:error" => return Probe::Certain,
        b"iq" => &[b"get", b"set", b"result", b"error"],
        b"message" => &[b"chat", b"groupchat", b"headline", b"normal", b"error"],
        b"presence" if tag.empty && tag.attributes.is_empty() => return Probe::Certain,
        b"presence" => &[
            b"",
            b"unavailable",
            b"subscribe",
            b"subscribed",
            b"unsubscribe",
            b"unsubscribed",
            b"probe",
            b"error",
        ],
        _ => return Probe::NotMine,
    };
    let known: &[&[u8]] = &[b"type", b"to", b"from", b"id", b"xml:lang", b"xmlns"];
    let mut own = 0;
    for (name, _) in attributes(tag.attributes) {
        own += usize::from(known.contains(&name));
    }
    certain(!tag.closing && own > 0 && kinds.contains(&tag.attribute(b"type")))
}
