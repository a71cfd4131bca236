//! SIP: requests and responses over UDP and TCP (RFC 3261), and the media that they announce.
//!
//! Trusts nothing. A message is taken for SIP by its whole first line. Bodies are passed over by
//! their length; a session description is read for the ports of its media. Digests are never told.
//! Violations: a first line that is none, a head beyond what is kept, a length that is no number.
//! After a loss it goes on at the next first line. Memory: a flag for each direction.

use weir_wire::Direction;

use crate::read::content;
use crate::read::head::{Head, Lost, Start, parameter};
use crate::read::lines::{self, Line};
use crate::read::sdp;
use crate::told::Told;
use crate::{
    Application, Buffer, BufferSet, ByteSet, EventKind, EventSink, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport,
};

const MARK: &[u8] = b"SIP/";
/// Longer first lines are nobody's.
const LINE_MAX: usize = 1_024;
/// Session descriptions beyond this are passed over.
const DESCRIPTION_MAX: u64 = 8_192;
const TEXT_MAX: usize = 512;

const METHOD: u8 = 0;
const URI: u8 = 1;
const FROM: u8 = 2;
const TO: u8 = 3;
const USER_AGENT: u8 = 4;
const CALL_ID: u8 = 5;
const STATUS: u8 = 6;
const TEXT: u8 = 7;
const USER: u8 = 8;
const SERVER: u8 = 9;
const CONTENT_TYPE: u8 = 10;

/// First bytes: methods, keep-alives.
const FIRST: ByteSet = ByteSet::of(b"\r\n\0").and_range(b'A', b'Z');

/// The parser.
#[derive(Default)]
pub struct Sip {
    stream: bool,
    lost: [Lost; 2],
}

impl Application for Sip {
    const NAME: &'static str = "sip";
    const ABOUT: &'static str = "Session Initiation Protocol (RFC 3261)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Udp, Transport::Tcp];
    const PORTS: &'static [u16] = &[5060];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "method",
            "Method (RFC 3261, 7.1); of responses the one of CSeq",
        ),
        FieldSpec::condition("uri", "Request-URI").looked_into_as(Buffer::SipUri),
        FieldSpec::condition("from", "URI of the From header, without its parameters"),
        FieldSpec::condition("to", "URI of the To header, without its parameters"),
        FieldSpec::text("user_agent", "User-Agent header").looked_into_as(Buffer::SipUserAgent),
        FieldSpec::text("call_id", "Call-ID header"),
        FieldSpec::number("status", "Status code (RFC 3261, 7.2)"),
        FieldSpec::text("text", "What the response calls its status")
            .looked_into_as(Buffer::SipStatusMessage),
        FieldSpec::text(
            "user",
            "User of the Authorization or Proxy-Authorization header",
        ),
        FieldSpec::text("server", "Server header: the software that answers"),
        FieldSpec::text("content_type", "Content-Type header")
            .looked_into_as(Buffer::SipContentType),
    ];
    const CONTENTS: BufferSet = BufferSet::EMPTY
        .with(Buffer::SipFrom)
        .with(Buffer::SipTo)
        .with(Buffer::SipRequestLine)
        .with(Buffer::SipResponseLine)
        .with(Buffer::SipMethod)
        .with(Buffer::SipProtocol)
        .with(Buffer::SipStatusCode);
    const OPENINGS: Openings = Openings {
        to_server: FIRST,
        to_client: FIRST,
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let one = probe(input.to_server, input);
        let other = probe(input.to_client, input);
        match (one, other) {
            (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
            (Probe::Certain, _) | (_, Probe::Certain) => Probe::Certain,
            _ => Probe::Unsure,
        }
    }

    fn open(transport: Transport, _blocks: &mut crate::Blocks) -> Self {
        Self {
            stream: transport == Transport::Tcp,
            ..Self::default()
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if let Some(step) = self.between(direction, input) {
            return step;
        }
        let head = match self.stream {
            true => Head::read(input),
            false => Head::of_datagram(input),
        };
        let Some(head) = head else {
            return match lines::first(input) {
                Line::Part(part) if !Start::may_begin(part, MARK) => NO_MESSAGE,
                Line::Whole(text, _) if Start::read(text, MARK).is_none() => NO_MESSAGE,
                _ => Step::Incomplete,
            };
        };
        let Some(start) = Start::read(head.start, MARK) else {
            return NO_MESSAGE;
        };
        let Ok(length) = head.content_length() else {
            return Step::Violation("sip: a body of no length");
        };
        let body = input.get(head.used..).unwrap_or_default();
        let kind = head.text(b"content-type", Some(b'c'));
        let described = lines::find(kind, b"application/sdp").is_some();
        let body = match self.stream {
            false => body,
            true if !described || length > DESCRIPTION_MAX => b"",
            true => match body.get(..length as usize) {
                Some(body) => body,
                None => return Step::Incomplete,
            },
        };
        tell(start, &head, sink);
        if described {
            sdp::announce(body, direction.reverse(), sink);
        }
        match self.stream {
            true => Step::Skip(length.saturating_add(head.used as u64)),
            false => Step::Consumed(input.len()),
        }
    }

    fn overflow(
        &mut self,
        _direction: Direction,
        _input: &[u8],
        _sink: &mut dyn EventSink,
    ) -> Step {
        Step::Violation("sip: a head too long")
    }

    fn gap(&mut self, direction: Direction, length: u64) -> bool {
        if let Some(lost) = self.lost.get_mut(direction as usize) {
            *lost = Lost::behind(length);
        }
        true
    }
}

impl Sip {
    /// What stands between messages: keep-alives (RFC 5626, 3.5.1), or the rest of one whose
    /// beginning was lost.
    fn between(&mut self, direction: Direction, input: &[u8]) -> Option<Step> {
        if !self.stream {
            let idle = input.iter().all(|byte| b"\r\n\0 ".contains(byte));
            return idle.then_some(Step::Consumed(input.len()));
        }
        let empty = input
            .iter()
            .take_while(|&&byte| matches!(byte, b'\r' | b'\n'))
            .count();
        if empty > 0 {
            return Some(Step::Consumed(empty));
        }
        let lost = self.lost.get_mut(direction as usize)?;
        lost.seek(input, MARK, is_complete)
    }
}

const NO_MESSAGE: Step = Step::Violation("sip: a first line that is none");

fn tell(start: Start<'_>, head: &Head<'_>, sink: &mut dyn EventSink) {
    let from = address(head.text(b"from", Some(b'f')));
    let to = address(head.text(b"to", Some(b't')));
    let (kind, fields) = match start {
        Start::Request(method, uri) => (
            EventKind::Request,
            Told::new()
                .bytes(METHOD, method)
                .bytes(URI, uri.get(..TEXT_MAX).unwrap_or(uri)),
        ),
        Start::Response(status, text) => (
            EventKind::Response,
            Told::new()
                .known(METHOD, lines::word(head.text(b"cseq", None)).1)
                .number(STATUS, status.into())
                .known(TEXT, text),
        ),
    };
    let login = head
        .get(b"authorization", None)
        .or_else(|| head.get(b"proxy-authorization", None))
        .and_then(|value| parameter(value, b"username"))
        .unwrap_or_default();
    fields
        .bytes(FROM, from)
        .bytes(TO, to)
        .known(CALL_ID, head.text(b"call-id", Some(b'i')))
        .known(USER_AGENT, head.text(b"user-agent", None))
        .known(SERVER, head.text(b"server", None))
        .known(USER, login)
        .known(CONTENT_TYPE, head.text(b"content-type", Some(b'c')))
        .send(kind, sink);
    for (buffer, name, compact) in [
        (Buffer::SipFrom, &b"from"[..], b'f'),
        (Buffer::SipTo, b"to", b't'),
    ] {
        if let Some(value) = head.get(name, Some(compact)) {
            content::whole(buffer, value, sink);
        }
    }
    let mut words = head.start.splitn(3, |&byte| byte == b' ');
    let [first, second, third] =
        [words.next(), words.next(), words.next()].map(Option::unwrap_or_default);
    let told = match start {
        Start::Request(..) => [
            (Buffer::SipRequestLine, head.start),
            (Buffer::SipMethod, first),
            (Buffer::SipProtocol, third),
        ],
        Start::Response(..) => [
            (Buffer::SipResponseLine, head.start),
            (Buffer::SipProtocol, first),
            (Buffer::SipStatusCode, second),
        ],
    };
    for (buffer, value) in told {
        content::whole(buffer, value, sink);
    }
}

/// The URI of `"Name" <sip:a@b;transport=udp>;tag=1`, without parameters.
fn address(value: &[u8]) -> &[u8] {
    // A quoted name may hold anything.
    let value = match value.strip_prefix(b"\"") {
        Some(rest) => rest
            .splitn(2, |&byte| byte == b'"')
            .nth(1)
            .unwrap_or_default(),
        None => value,
    };
    let uri = match value.iter().position(|&byte| byte == b'<') {
        Some(at) => value.get(at + 1..).unwrap_or_default(),
        None => value,
    };
    uri.split(|&byte| matches!(byte, b'>' | b';'))
        .next()
        .unwrap_or_default()
        .trim_ascii()
}

/// What no message lacks.
fn is_complete(head: &Head<'_>) -> bool {
    head.get(b"call-id", Some(b'i')).is_some() && head.get(b"cseq", None).is_some()
}

fn probe(bytes: &[u8], input: &ProbeInput<'_>) -> Probe {
    let idle = bytes
        .iter()
        .take_while(|byte| b"\r\n\0".contains(byte))
        .count();
    let rest = bytes.get(idle..).unwrap_or_default();
    if rest.is_empty() {
        let short = idle <= 8 && (input.transport == Transport::Udp || !bytes.contains(&0));
        return match short {
            true => Probe::Unsure,
            false => Probe::NotMine,
        };
    }
    let stream = input.transport == Transport::Tcp;
    if idle > 8 || stream && bytes.first() == Some(&0) {
        return Probe::NotMine;
    }
    match lines::first(rest) {
        Line::Whole(text, _) if Start::read(text, MARK).is_some() => Probe::Certain,
        Line::Part(part) if stream && part.len() < LINE_MAX && Start::may_begin(part, MARK) => {
            Probe::Unsure
        }
        // Picked up in the middle of a message.
        Line::Whole(text, _) if stream && !input.from_start && lines::is_text(text) => {
            match lines::whole(rest).any(|text| Start::read(text, MARK).is_some()) {
                true => Probe::Certain,
                false => Probe::Unsure,
            }
        }
        _ => Probe::NotMine,
    }
}
