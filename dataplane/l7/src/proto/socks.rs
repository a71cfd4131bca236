//! SOCKS 4, 4a and 5: a client asks a proxy for a connection (RFC 1928, RFC 1929; "SOCKS: a
//! protocol for TCP proxy across firewalls", Y. Lee; "SOCKS 4A", Y. Lee).
//!
//! Trusts nothing. The messages are short and hardly marked: the name needs the proxy's answer, or
//! a second message of the client, or the customary port. After the proxy has agreed, the bytes are
//! another connection's. Violations: messages that no version knows. Memory: a user's name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::read::cursor::Cursor;
use crate::read::sides::both;
use crate::{
    Application, ByteSet, Event, EventKind, EventSink, Field, FieldSpec, Openings, Probe,
    ProbeInput, Seen, Step, Transport,
};

const PORT: u16 = 1080;
const V4: u8 = 4;
const V5: u8 = 5;
const CONNECT: u8 = 1;
/// RFC 1928, 3.
const NO_METHOD: u8 = 0xff;
const PASSWORD: u8 = 2;
/// Longest user or host name.
const TEXT_MAX: usize = 255;
/// Version, command, port, address.
const V4_HEAD: usize = 8;

const VERSION: u8 = 0;
const METHOD: u8 = 1;
const COMMAND: u8 = 2;
const USER: u8 = 3;
const HOST: u8 = 4;
const ADDRESS: u8 = 5;
const DESTINATION_PORT: u8 = 6;
const STATUS: u8 = 7;

/// The parser.
#[derive(Default)]
pub struct Socks {
    client: ClientStage,
    server: ServerStage,
    version: u8,
    /// What the proxy asked for.
    method: Option<u8>,
    /// The command that the client gave.
    command: u8,
    user: ArrayVec<u8, 64>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum ClientStage {
    #[default]
    Greeting,
    /// Behind the greeting: what comes depends on the method.
    Method,
    Request,
    Asked,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum ServerStage {
    #[default]
    Greeting,
    Login,
    Reply,
    /// BIND: told where; who came is told when somebody does.
    SecondReply,
    Agreed,
    Over,
}

/// Where a client wants to go.
struct Destination<'a> {
    host: &'a [u8],
    address: Option<IpAddr>,
    port: u16,
}

impl Application for Socks {
    const NAME: &'static str = "socks";
    const ABOUT: &'static str = "SOCKS proxy, versions 4, 4a and 5 (RFC 1928, RFC 1929)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[PORT];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::number("version", "4 or 5 (RFC 1928, 3)"),
        FieldSpec::text(
            "method",
            "Login that the proxy asks for: none, password, gssapi … (RFC 1928, 3)",
        ),
        FieldSpec::condition("command", "connect, bind or udp-associate (RFC 1928, 4)"),
        FieldSpec::condition("user", "User's name (RFC 1929, 2; version 4: USERID)"),
        FieldSpec::condition(
            "host",
            "Host name asked for; empty where an address was (RFC 1928, 5)",
        ),
        FieldSpec::address(
            "address",
            "Address asked for, or bound by the proxy (RFC 1928, 5)",
        ),
        FieldSpec::number(
            "port",
            "Port asked for, or bound by the proxy (RFC 1928, 4)",
        ),
        FieldSpec::text("status", "The proxy's answer (RFC 1928, 6; RFC 1929, 2)"),
    ];
    const TURNS: bool = true;
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[V4, V5]),
        to_client: ByteSet::of(&[0, V5]),
    };
    const SEEN: Seen = Seen::Live;

    fn probe(input: &ProbeInput<'_>) -> Probe {
        match input.to_server.first() {
            // The proxy never speaks first, and its answers alone are too little to go by.
            None if matches!(input.to_client, [] | [0 | V5, ..]) => Probe::Unsure,
            Some(&V5) if matches!(input.to_client, [] | [V5, ..]) => probe_v5(input),
            Some(&V4) if matches!(input.to_client, [] | [0, ..]) => probe_v4(input),
            _ => Probe::NotMine,
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if self.server == ServerStage::Agreed {
            return Step::Tunnel;
        }
        let step = match direction {
            Direction::ToServer => self.client(input, sink),
            Direction::ToClient => self.server(input, sink),
        };
        step.unwrap_or(Step::Incomplete)
    }
}

/// Methods that anybody offers: assigned (RFC 1928, 3 and IANA), or private.
fn plausible_methods(methods: &[u8]) -> bool {
    let known = |method: &u8| matches!(method, 0..=9 | 0x80..=0xfe);
    let distinct = |(at, method): (usize, &u8)| {
        methods
            .get(..at)
            .is_some_and(|before| !before.contains(method))
    };
    methods.iter().all(known) && methods.iter().enumerate().all(distinct)
}

fn probe_v5(input: &ProbeInput<'_>) -> Probe {
    let count = match input.to_server.get(1) {
        None => return Probe::Unsure,
        Some(&count) if (1..=16).contains(&count) => usize::from(count),
        Some(_) => return Probe::NotMine,
    };
    let rest = input.to_server.get(2..).unwrap_or_default();
    let Some((methods, next)) = rest.split_at_checked(count) else {
        return match plausible_methods(rest) {
            true => Probe::Unsure,
            false => Probe::NotMine,
        };
    };
    if !plausible_methods(methods) {
        return Probe::NotMine;
    }
    let answer = match input.to_client {
        [] | [V5] => Probe::Unsure,
        [V5, NO_METHOD] => Probe::Certain,
        [V5, method, ..] if methods.contains(method) => Probe::Certain,
        _ => Probe::NotMine,
    };
    match answer {
        // Nobody else's greeting on this port is like this, whatever follows it.
        Probe::Unsure if input.server_port == PORT => Probe::Certain,
        answer => both(answer, probe_v5_next(next)),
    }
}

/// What a client says after its greeting: user and password, or what it wants.
fn probe_v5_next(next: &[u8]) -> Probe {
    match next {
        [] => Probe::Unsure,
        [V5, rest @ ..] => {
            let fits = [1..=3, 0..=0, 1..=4]
                .iter()
                .zip(rest)
                .all(|(range, byte)| range.contains(byte));
            match fits {
                false => Probe::NotMine,
                true if rest.len() >= 3 => Probe::Certain,
                true => Probe::Unsure,
            }
        }
        // A login, or GSSAPI's first token (RFC 1961, 3.3): both begin alike and tell too little.
        [1, ..] => Probe::Unsure,
        _ => Probe::NotMine,
    }
}

fn probe_v4(input: &ProbeInput<'_>) -> Probe {
    let fits = match input.to_server {
        [_, CONNECT | 2, rest @ ..] => !rest.starts_with(&[0, 0]),
        [_] => true,
        _ => false,
    };
    let answer = match input.to_client {
        [] | [0] => Probe::Unsure,
        [0, 0x5a..=0x5d, rest @ ..] if rest.len() >= 6 => Probe::Certain,
        [0, 0x5a..=0x5d, ..] => Probe::Unsure,
        _ => Probe::NotMine,
    };
    if !fits || answer == Probe::NotMine {
        return Probe::NotMine;
    }
    let Some(head) = input.to_server.first_chunk::<V4_HEAD>() else {
        return Probe::Unsure;
    };
    let mut rest = input.to_server.get(V4_HEAD..).unwrap_or_default();
    // The user, and of version 4a the host.
    let texts = if is_4a(head) { 2 } else { 1 };
    for _ in 0..texts {
        let end = rest.iter().take(TEXT_MAX + 1).position(|&byte| byte == 0);
        let text = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        if text.len() > TEXT_MAX || !text.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            return Probe::NotMine;
        }
        let Some(end) = end else {
            return Probe::Unsure;
        };
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    match answer {
        _ if input.server_port == PORT => Probe::Certain,
        answer => answer,
    }
}

fn is_4a(head: &[u8; V4_HEAD]) -> bool {
    matches!(head, [_, _, _, _, 0, 0, 0, 1..=255])
}

/// None: too few bytes, or what the other side says must come first.
impl Socks {
    fn client(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Option<Step> {
        let mut cursor = Cursor::new(input);
        let step = match self.client {
            ClientStage::Greeting if input.first() == Some(&V4) => self.ask_v4(input, sink)?,
            ClientStage::Greeting => {
                self.version = cursor.u8()?;
                let methods = cursor.vector8()?;
                if self.version != V5 {
                    return Some(Step::Violation("socks: no known version"));
                }
                self.client = ClientStage::Method;
                Step::Consumed(2 + methods.rest().len())
            }
            // Some do not wait for the proxy's answer: a request tells itself.
            ClientStage::Method if input.first() == Some(&V5) => self.ask_v5(&mut cursor, sink)?,
            ClientStage::Method => match self.method? {
                PASSWORD => self.log_in(&mut cursor)?,
                0 => Step::Violation("socks: no request"),
                // GSSAPI and its like wrap everything that follows.
                _ => Step::Done,
            },
            ClientStage::Request => self.ask_v5(&mut cursor, sink)?,
            ClientStage::Asked if self.server == ServerStage::Over => Step::Done,
            // Bytes for the far end that did not wait for the proxy's answer.
            ClientStage::Asked => return None,
        };
        Some(step)
    }

    fn ask_v4(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Option<Step> {
        let head = *input.first_chunk::<V4_HEAD>()?;
        let [_, command, high, low, address @ ..] = head;
        let user = text(input.get(V4_HEAD..)?)?;
        let mut used = V4_HEAD + user.len() + 1;
        let mut host: &[u8] = &[];
        if is_4a(&head) {
            host = text(input.get(used..)?)?;
            used += host.len() + 1;
        }
        self.version = V4;
        self.remember(user);
        self.command = command;
        let destination = Destination {
            host,
            address: host.is_empty().then(|| Ipv4Addr::from(address).into()),
            port: u16::from_be_bytes([high, low]),
        };
        self.ask(&destination, sink);
        self.server = ServerStage::Reply;
        Some(Step::Consumed(used))
    }

    fn log_in(&mut self, cursor: &mut Cursor<'_>) -> Option<Step> {
        if cursor.u8()? != 1 {
            return Some(Step::Violation("socks: no login"));
        }
        let user = cursor.vector8()?;
        let password = cursor.vector8()?;
        self.remember(user.rest());
        self.client = ClientStage::Request;
        Some(Step::Consumed(
            3 + user.rest().len() + password.rest().len(),
        ))
    }

    /// A name that does not fit is left empty: half a name could be somebody else's.
    fn remember(&mut self, user: &[u8]) {
        self.user.clear();
        if user.len() <= self.user.capacity() {
            self.user.extend(user.iter().copied());
        }
    }

    fn ask_v5(&mut self, cursor: &mut Cursor<'_>, sink: &mut dyn EventSink) -> Option<Step> {
        let before = cursor.rest().len();
        let [V5, command @ 1..=3, 0] = cursor.array()? else {
            return Some(Step::Violation("socks: no request"));
        };
        let Some(destination) = destination(cursor)? else {
            return Some(Step::Violation("socks: no such kind of address"));
        };
        self.command = command;
        self.ask(&destination, sink);
        Some(Step::Consumed(before - cursor.rest().len()))
    }

    fn ask(&mut self, destination: &Destination<'_>, sink: &mut dyn EventSink) {
        self.client = ClientStage::Asked;
        let command = match self.command {
            CONNECT => "connect",
            2 => "bind",
            3 => "udp-associate",
            _ => "other",
        };
        let mut fields: ArrayVec<Field<'_>, 8> = ArrayVec::new();
        fields.push(Field::number(VERSION, self.version.into()));
        fields.push(Field::name(COMMAND, command));
        fields.push(Field::bytes(USER, &self.user));
        fields.push(Field::bytes(HOST, destination.host));
        destination.push(&mut fields);
        sink.event(&Event {
            kind: EventKind::Request,
            fields: &fields,
        });
    }

    fn server(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Option<Step> {
        let mut cursor = Cursor::new(input);
        let step = match self.server {
            ServerStage::Greeting => {
                let [V5, method] = cursor.array()? else {
                    return Some(Step::Violation("socks: no known version"));
                };
                self.method = Some(method);
                let fields = [
                    Field::number(VERSION, V5.into()),
                    Field::name(METHOD, method_name(method)),
                ];
                sink.event(&Event {
                    kind: EventKind::Session,
                    fields: &fields,
                });
                self.server = match method {
                    0 => ServerStage::Reply,
                    PASSWORD => ServerStage::Login,
                    _ => ServerStage::Over,
                };
                Step::Consumed(2)
            }
            ServerStage::Login => {
                let [_, status] = cursor.array()?;
                let status_name = if status == 0 {
                    "login-ok"
                } else {
                    "login-failed"
                };
                let fields = [
                    Field::name(STATUS, status_name),
                    Field::bytes(USER, &self.user),
                ];
                sink.event(&Event {
                    kind: EventKind::Response,
                    fields: &fields,
                });
                self.server = match status {
                    0 => ServerStage::Reply,
                    _ => ServerStage::Over,
                };
                Step::Consumed(2)
            }
            ServerStage::Reply | ServerStage::SecondReply => {
                // What was asked tells how it is answered.
                if self.client != ClientStage::Asked {
                    return None;
                }
                match self.version {
                    V4 => self.reply_v4(&mut cursor, sink)?,
                    _ => self.reply_v5(&mut cursor, sink)?,
                }
            }
            ServerStage::Agreed | ServerStage::Over => Step::Done,
        };
        Some(step)
    }

    fn reply_v4(&mut self, cursor: &mut Cursor<'_>, sink: &mut dyn EventSink) -> Option<Step> {
        let [0, code, high, low, address @ ..] = cursor.array::<V4_HEAD>()? else {
            return Some(Step::Violation("socks: no reply"));
        };
        let status = match code {
            0x5a => "succeeded",
            0x5b => "failed",
            0x5c => "no-identd",
            0x5d => "wrong-user",
            _ => "other",
        };
        let bound = Destination {
            host: &[],
            address: Some(Ipv4Addr::from(address).into()),
            port: u16::from_be_bytes([high, low]),
        };
        self.answer(status, &bound, sink);
        Some(Step::Consumed(V4_HEAD))
    }

    fn reply_v5(&mut self, cursor: &mut Cursor<'_>, sink: &mut dyn EventSink) -> Option<Step> {
        let before = cursor.rest().len();
        let [V5, code, _] = cursor.array()? else {
            return Some(Step::Violation("socks: no reply"));
        };
        let Some(bound) = destination(cursor)? else {
            return Some(Step::Violation("socks: no such kind of address"));
        };
        let used = before - cursor.rest().len();
        self.answer(reply_name(code), &bound, sink);
        Some(Step::Consumed(used))
    }

    fn answer(&mut self, status: &'static str, bound: &Destination<'_>, sink: &mut dyn EventSink) {
        let mut fields: ArrayVec<Field<'_>, 8> = ArrayVec::new();
        fields.push(Field::name(STATUS, status));
        if !bound.host.is_empty() {
            fields.push(Field::bytes(HOST, bound.host));
        }
        if bound.port != 0 {
            bound.push(&mut fields);
        }
        sink.event(&Event {
            kind: EventKind::Response,
            fields: &fields,
        });
        self.server = match (status, self.command) {
            ("succeeded", CONNECT) => ServerStage::Agreed,
            ("succeeded", 2) if self.server == ServerStage::SecondReply => ServerStage::Agreed,
            ("succeeded", 2) => ServerStage::SecondReply,
            _ => ServerStage::Over,
        };
    }
}

impl<'a> Destination<'a> {
    fn push(&self, fields: &mut ArrayVec<Field<'a>, 8>) {
        if let Some(address) = self.address {
            fields.push(Field::address(ADDRESS, address));
        }
        fields.push(Field::number(DESTINATION_PORT, self.port.into()));
    }
}

/// Reads kind of address, address, port (RFC 1928, 5). Outer none: too few bytes; inner none: no
/// such kind.
fn destination<'a>(cursor: &mut Cursor<'a>) -> Option<Option<Destination<'a>>> {
    let mut host: &[u8] = &[];
    let address = match cursor.u8()? {
        1 => Some(IpAddr::V4(Ipv4Addr::from(cursor.array::<4>()?))),
        3 => {
            host = cursor.vector8()?.rest();
            None
        }
        4 => Some(IpAddr::V6(Ipv6Addr::from(cursor.array::<16>()?))),
        _ => return Some(None),
    };
    Some(Some(Destination {
        host,
        address,
        port: cursor.u16()?,
    }))
}

/// Text up to a zero byte. A longer one than anybody has is never complete.
fn text(input: &[u8]) -> Option<&[u8]> {
    let end = input.iter().position(|&byte| byte == 0)?;
    input.get(..end)
}

fn method_name(method: u8) -> &'static str {
    match method {
        0 => "none",
        1 => "gssapi",
        PASSWORD => "password",
        3 => "chap",
        5 => "challenge-response",
        6 => "tls",
        NO_METHOD => "refused",
        _ => "other",
    }
}

/// RFC 1928, 6.
fn reply_name(code: u8) -> &'static str {
    match code {
        0 => "succeeded",
        1 => "failed",
        2 => "not-allowed",
        3 => "network-unreachable",
        4 => "host-unreachable",
        5 => "refused",
        6 => "expired",
        7 => "command-not-supported",
        8 => "address-not-supported",
        _ => "other",
    }
}
