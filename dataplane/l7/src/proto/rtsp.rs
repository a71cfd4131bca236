//! RTSP: requests and responses of the control connection (RFC 2326, RFC 7826), and the media that
//! it announces.
//!
//! Trusts nothing. Media between the messages (RFC 2326, 10.12) and bodies are passed over by their
//! lengths. Passwords and digests are never told. Violations: a first line that is none, a head
//! beyond what is kept, a length that is no number. After a loss it goes on at the next first line.
//! Memory: a flag for each direction.

use weir_wire::Direction;

use crate::read::head::{Head, Lost, Start, parameter};
use crate::read::lines::{self, Line};
use crate::told::Told;
use crate::{
    Announcement, Application, ByteSet, EventKind, EventSink, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport,
};

const MARK: &[u8] = b"RTSP/";
const LINE_MAX: usize = 1_024;
const TEXT_MAX: usize = 512;
/// A frame of media: `$`, channel, length.
const FRAME: &[u8; 1] = b"$";
const FRAME_HEAD: usize = 4;

const METHOD: u8 = 0;
const URL: u8 = 1;
const SESSION: u8 = 2;
const STATUS: u8 = 3;
const TEXT: u8 = 4;
const USER_AGENT: u8 = 5;
const SERVER: u8 = 6;
const USER: u8 = 7;
const TRANSPORT: u8 = 8;

const FIRST: ByteSet = ByteSet::NONE.and_range(b'A', b'Z');

/// The parser.
#[derive(Default)]
pub struct Rtsp {
    lost: [Lost; 2],
}

impl Application for Rtsp {
    const NAME: &'static str = "rtsp";
    const ABOUT: &'static str = "Real-Time Streaming Protocol (RFC 2326, RFC 7826)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[554, 8554];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition("method", "Method (RFC 2326, 10)"),
        FieldSpec::condition("url", "URL asked for, at most 512 bytes"),
        FieldSpec::text("session", "Session header, without its parameters"),
        FieldSpec::number("status", "Status code (RFC 2326, 7.1.1)"),
        FieldSpec::text("text", "What the response calls its status"),
        FieldSpec::text("user_agent", "User-Agent header"),
        FieldSpec::text("server", "Server header: the software that answers"),
        FieldSpec::text("user", "User of a Digest in the Authorization header"),
        FieldSpec::text(
            "transport",
            "Transport header: how the media come (RFC 2326, 12.39)",
        ),
    ];
    const OPENINGS: Openings = Openings {
        to_server: FIRST,
        to_client: FIRST,
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        match (
            probe(input.to_server, input.from_start),
            probe(input.to_client, input.from_start),
        ) {
            (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
            (Probe::Certain, _) | (_, Probe::Certain) => Probe::Certain,
            _ => Probe::Unsure,
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if let Some(step) = self.between(direction, input) {
            return step;
        }
        let Some(head) = Head::read(input) else {
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
            return Step::Violation("rtsp: a body of no length");
        };
        tell(start, &head, sink);
        announce(head.text(b"transport", None), sink);
        Step::Skip(length.saturating_add(head.used as u64))
    }

    fn overflow(
        &mut self,
        _direction: Direction,
        _input: &[u8],
        _sink: &mut dyn EventSink,
    ) -> Step {
        Step::Violation("rtsp: a head too long")
    }

    fn gap(&mut self, direction: Direction, length: u64) -> bool {
        if let Some(lost) = self.lost.get_mut(direction as usize) {
            *lost = Lost::behind(length);
        }
        true
    }
}

impl Rtsp {
    /// What stands between messages: media, or the rest of a message whose beginning was lost.
    fn between(&mut self, direction: Direction, input: &[u8]) -> Option<Step> {
        let lost = self.lost.get_mut(direction as usize)?;
        if let Some(step) = lost.seek(input, MARK, is_complete) {
            return Some(step);
        }
        let empty = input
            .iter()
            .take_while(|&&byte| matches!(byte, b'\r' | b'\n'))
            .count();
        match input.split_first_chunk::<FRAME_HEAD>() {
            _ if empty > 0 => Some(Step::Consumed(empty)),
            Some((&[first, _, high, low], _)) if [first] == *FRAME => {
                let length = u64::from(u16::from_be_bytes([high, low]));
                Some(Step::Skip(length + FRAME_HEAD as u64))
            }
            None if input.starts_with(FRAME) => Some(Step::Incomplete),
            _ => None,
        }
    }
}

const NO_MESSAGE: Step = Step::Violation("rtsp: a first line that is none");

fn tell(start: Start<'_>, head: &Head<'_>, sink: &mut dyn EventSink) {
    let (kind, fields) = match start {
        Start::Request(method, url) => (
            EventKind::Request,
            Told::new()
                .bytes(METHOD, method)
                .bytes(URL, url.get(..TEXT_MAX).unwrap_or(url)),
        ),
        Start::Response(status, text) => (
            EventKind::Response,
            Told::new().number(STATUS, status.into()).known(TEXT, text),
        ),
    };
    let session = head.text(b"session", None);
    let session = session.split(|&byte| byte == b';').next();
    let login = head
        .get(b"authorization", None)
        .and_then(|value| parameter(value, b"username"));
    fields
        .known(SESSION, session.unwrap_or_default())
        .known(USER_AGENT, head.text(b"user-agent", None))
        .known(SERVER, head.text(b"server", None))
        .known(USER, login.unwrap_or_default())
        .known(TRANSPORT, head.text(b"transport", None))
        .send(kind, sink);
}

/// The ports of both sides, RTP's and RTCP's.
fn announce(transport: &[u8], sink: &mut dyn EventSink) {
    let sides: [(&[u8], Direction); 2] = [
        (b"client_port", Direction::ToClient),
        (b"server_port", Direction::ToServer),
    ];
    for (name, side) in sides {
        let Some(ports) = parameter(transport, name) else {
            continue;
        };
        for port in ports.split(|&byte| byte == b'-').take(2) {
            let Some((port @ 1..=65_535, b"")) = lines::number(port) else {
                continue;
            };
            sink.announce(&Announcement {
                application: "rtp",
                transport: Transport::Udp,
                port: port as u16,
                side,
                address: None,
            });
        }
    }
}

/// What no message lacks.
fn is_complete(head: &Head<'_>) -> bool {
    head.get(b"cseq", None).is_some()
}

fn probe(bytes: &[u8], from_start: bool) -> Probe {
    if bytes.is_empty() {
        return Probe::Unsure;
    }
    match lines::first(bytes) {
        Line::Whole(text, _) if Start::read(text, MARK).is_some() => Probe::Certain,
        Line::Part(part) if part.len() < LINE_MAX && Start::may_begin(part, MARK) => Probe::Unsure,
        // Picked up among media, or in the middle of a message.
        _ if !from_start => match lines::whole(bytes).any(|text| Start::read(text, MARK).is_some())
        {
            true => Probe::Certain,
            false => Probe::Unsure,
        },
        _ => Probe::NotMine,
    }
}
