//! Syslog: the old form (RFC 3164) and the new one (RFC 5424), in datagrams (RFC 5426) and on
//! streams, behind octet counts or ended by newlines (RFC 6587).
//!
//! Trusts nothing. A message begins with a priority in angle brackets; with a time stamp in either
//! form behind it, it is known on any port. Without one, the whole must be text, and nobody
//! answers. Long messages are told by their heads. Violations: on a stream, bytes without a
//! priority. Memory: [`Syslog`], a few bytes.

use weir_wire::Direction;

use crate::fields::Fields;
use crate::{
    Application, Blocks, ByteSet, EventKind, EventSink, FieldSpec, Openings, Probe, ProbeInput,
    Seen, Step, Transport,
};

const PRIORITY_MAX: u16 = 191;
/// What is told of a message's text.
const TEXT_MAX: usize = 256;
/// What is read of a message's head before its text.
const HEAD_MAX: usize = 1_024;
/// "123456 "
const COUNT_MAX: usize = 7;

const FACILITY: u8 = 0;
const SEVERITY: u8 = 1;
const HOST: u8 = 2;
const PROGRAM: u8 = 3;
const PROCESS: u8 = 4;
const MESSAGE_ID: u8 = 5;
const FORM: u8 = 6;
const TEXT: u8 = 7;

/// The parser.
#[derive(Default)]
pub struct Syslog {
    stream: bool,
    /// Bytes were lost: the next line must be found.
    lost: bool,
    /// Messages stand behind their length.
    counted: bool,
}

#[derive(Default)]
struct Message<'a> {
    priority: u16,
    rfc5424: bool,
    host: &'a [u8],
    program: &'a [u8],
    process: &'a [u8],
    id: &'a [u8],
    text: &'a [u8],
}

/// What the front of a message looks like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sight {
    /// A priority and a time stamp.
    Stamped,
    /// A priority and text.
    Plain,
    Partial,
    Foreign,
}

impl Application for Syslog {
    const NAME: &'static str = "syslog";
    const ABOUT: &'static str = "Syslog over UDP and TCP (RFC 3164, RFC 5424, RFC 6587)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Udp, Transport::Tcp];
    const PORTS: &'static [u16] = &[514, 601];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "facility",
            "Facility: kern, user, auth, local0, ... (RFC 5424, 6.2.1)",
        ),
        FieldSpec::condition("severity", "Severity: emerg to debug (RFC 5424, 6.2.1)"),
        FieldSpec::condition("host", "Host that the message names (RFC 5424, 6.2.4)"),
        FieldSpec::condition("program", "Program: APP-NAME, or the tag of the old form"),
        FieldSpec::text("process", "Process id (RFC 5424, 6.2.6)"),
        FieldSpec::text("message_id", "Kind of message (RFC 5424, 6.2.7)"),
        FieldSpec::text("form", "rfc3164 or rfc5424"),
        FieldSpec::text("text", "First 256 bytes of the text"),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(b"<").and_range(b'1', b'9'),
        to_client: ByteSet::NONE,
    };
    const SEEN: Seen = Seen::Live;

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let bytes = input.to_server;
        if !input.to_client.is_empty() {
            return Probe::NotMine;
        }
        if input.transport == Transport::Udp {
            let whole = without_end(bytes);
            return match look(whole) {
                Sight::Stamped => Probe::Certain,
                Sight::Plain if is_text(whole) => Probe::Certain,
                _ => Probe::NotMine,
            };
        }
        match bytes.first() {
            None => Probe::Unsure,
            Some(b'<') => probe_line(bytes),
            Some(_) => probe_counted(bytes),
        }
    }

    fn open(transport: Transport, _blocks: &mut Blocks) -> Self {
        Self {
            stream: transport == Transport::Tcp,
            ..Self::default()
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if direction == Direction::ToClient {
            return Step::Done;
        }
        if !self.stream {
            return match read(without_end(input)) {
                Some(message) => {
                    tell(&message, sink);
                    Step::Consumed(input.len())
                }
                None => Step::Violation("syslog: message without a priority"),
            };
        }
        if self.lost {
            return self.look_on(input);
        }
        match input.first() {
            // Between messages some senders leave more than one end.
            Some(b'\n' | b'\r' | 0 | b' ') => Step::Consumed(1),
            Some(b'<') => self.line(input, sink),
            Some(b'1'..=b'9') => self.behind_count(input, sink),
            _ => Step::Violation("syslog: bytes without a priority"),
        }
    }

    /// A line longer than is kept: its front is told, its end looked for.
    fn overflow(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        match read(input) {
            Some(message) if direction == Direction::ToServer && !self.counted => {
                tell(&message, sink);
                self.lost = true;
                Step::Consumed(input.len())
            }
            _ => Step::Done,
        }
    }

    /// Behind counts there is no telling where the next message begins.
    fn gap(&mut self, _direction: Direction, length: u64) -> bool {
        self.lost = length > 0;
        !self.stream || !self.counted
    }
}

impl Syslog {
    /// Looks for the end of the line that was lost.
    fn look_on(&mut self, input: &[u8]) -> Step {
        match input.iter().position(|&byte| matches!(byte, b'\n' | 0)) {
            Some(end) => {
                self.lost = false;
                Step::Consumed(end + 1)
            }
            None => Step::Consumed(input.len()),
        }
    }

    fn line(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let Some(end) = input.iter().position(|&byte| matches!(byte, b'\n' | 0)) else {
            return Step::Incomplete;
        };
        match read(without_end(input.get(..end).unwrap_or_default())) {
            Some(message) => {
                tell(&message, sink);
                Step::Consumed(end + 1)
            }
            None => Step::Violation("syslog: message without a priority"),
        }
    }

    fn behind_count(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let (head, length) = match count(input) {
            Some(Some(counted)) => counted,
            Some(None) => return Step::Incomplete,
            None => return Step::Violation("syslog: bytes without a priority"),
        };
        self.counted = true;
        let wanted = length.min(HEAD_MAX);
        let Some(front) = input.get(head..head + wanted) else {
            return Step::Incomplete;
        };
        match read(without_end(front)) {
            Some(message) => {
                tell(&message, sink);
                Step::Skip((head + length) as u64)
            }
            None => Step::Violation("syslog: message without a priority"),
        }
    }
}

/// Length of the count with its space, and what it counts; some none: not all of it is there.
fn count(input: &[u8]) -> Option<Option<(usize, usize)>> {
    let digits = input
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if digits == 0 || digits >= COUNT_MAX || input.first() == Some(&b'0') {
        return None;
    }
    match input.get(digits) {
        Some(b' ') => {
            let number = input.get(..digits)?.iter();
            let length = number.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
            (length > 3).then_some(Some((digits + 1, length)))
        }
        Some(_) => None,
        None => Some(None),
    }
}

fn probe_counted(bytes: &[u8]) -> Probe {
    let (head, length) = match count(bytes) {
        Some(Some(counted)) => counted,
        Some(None) => return Probe::Unsure,
        None => return Probe::NotMine,
    };
    let rest = bytes.get(head..).unwrap_or_default();
    let message = rest.get(..length).unwrap_or(rest);
    match look(message) {
        Sight::Stamped => Probe::Certain,
        Sight::Partial if rest.len() < length => Probe::Unsure,
        _ => Probe::NotMine,
    }
}

fn probe_line(bytes: &[u8]) -> Probe {
    let end = bytes.iter().position(|&byte| matches!(byte, b'\n' | 0));
    let line = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
    match look(line) {
        Sight::Stamped => Probe::Certain,
        Sight::Plain if !is_text(line) => Probe::NotMine,
        Sight::Plain if end.is_some() => Probe::Certain,
        Sight::Partial | Sight::Plain if end.is_none() => Probe::Unsure,
        _ => Probe::NotMine,
    }
}

/// Priority, and how many bytes it took: digits without leading zeros (RFC 5424, 6.2.1).
fn priority(bytes: &[u8]) -> Option<Option<(u16, usize)>> {
    let Some((b'<', rest)) = bytes.split_first() else {
        return if bytes.is_empty() { Some(None) } else { None };
    };
    let digits = rest
        .iter()
        .take(4)
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let number = rest.get(..digits)?;
    if digits > 3 || digits > 1 && number.first() == Some(&b'0') {
        return None;
    }
    let value = number
        .iter()
        .fold(0, |value, digit| value * 10 + u16::from(digit - b'0'));
    match rest.get(digits) {
        _ if value > PRIORITY_MAX => None,
        Some(b'>') if digits > 0 => Some(Some((value, digits + 2))),
        Some(_) => None,
        None => Some(None),
    }
}

fn look(bytes: &[u8]) -> Sight {
    let used = match priority(bytes) {
        Some(Some((_, used))) => used,
        Some(None) => return Sight::Partial,
        None => return Sight::Foreign,
    };
    let rest = bytes.get(used..).unwrap_or_default();
    // "1 2003-10-11T22:14:15.003Z " or "1 - ", and "Oct 11 22:14:15 ": the digits are zeros here.
    for form in [&b"1 0000-00-00T00:00:00"[..], b"1 - ", b"Aaa x0 00:00:00 "] {
        match fits(rest, form) {
            Some(true) => return Sight::Stamped,
            Some(false) if rest.len() < form.len() => return Sight::Partial,
            _ => {}
        }
    }
    match rest.first() {
        None => Sight::Partial,
        Some(b'\n' | 0) => Sight::Foreign,
        Some(_) => Sight::Plain,
    }
}

/// Whether bytes begin in a form; some false: so far.
fn fits(bytes: &[u8], form: &[u8]) -> Option<bool> {
    let agree = bytes.iter().zip(form).all(|(byte, form)| match form {
        b'0' => byte.is_ascii_digit(),
        b'A' => byte.is_ascii_uppercase(),
        b'a' => byte.is_ascii_lowercase(),
        b'x' => *byte == b' ' || byte.is_ascii_digit(),
        other => byte == other,
    });
    agree.then_some(bytes.len() >= form.len())
}

fn is_text(bytes: &[u8]) -> bool {
    bytes.len() > 4
        && bytes
            .iter()
            .all(|&byte| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n' | 0x80..))
}

fn without_end(bytes: &[u8]) -> &[u8] {
    let end = bytes
        .iter()
        .rposition(|&byte| !matches!(byte, b'\n' | b'\r' | 0));
    bytes
        .get(..end.map_or(0, |end| end + 1))
        .unwrap_or_default()
}

fn read(bytes: &[u8]) -> Option<Message<'_>> {
    let (priority, used) = priority(bytes)??;
    let rest = bytes.get(used..)?;
    let mut message = Message {
        priority,
        ..Message::default()
    };
    if rest.starts_with(b"1 ") {
        message.rfc5424 = true;
        let mut words = rest.splitn(8, |&byte| byte == b' ').skip(2);
        let mut word = || match words.next() {
            None | Some(b"-") => &[][..],
            Some(word) => word,
        };
        message.host = word();
        message.program = word();
        message.process = word();
        message.id = word();
        let data = words.next().unwrap_or_default();
        let behind = words.next().unwrap_or_default();
        // Structured data may have spaces in it: then its text begins somewhere behind.
        message.text = if data == b"-" { behind } else { &[] };
        return Some(message);
    }
    message.text = rest;
    if fits(rest, b"Aaa x0 00:00:00 ") == Some(true) {
        read_old(rest.get(16..).unwrap_or_default(), &mut message);
    }
    Some(message)
}

/// RFC 3164, 4.1.2: host, tag with its process in brackets, text. Programs on the same host leave
/// the host out.
fn read_old<'a>(rest: &'a [u8], message: &mut Message<'a>) {
    let is_tag = |word: &[u8]| word.ends_with(b":") || word.contains(&b'[');
    let mut words = rest.splitn(3, |&byte| byte == b' ');
    let first = words.next().unwrap_or_default();
    let second = words.next().unwrap_or_default();
    let tag = if is_tag(first) {
        first
    } else {
        message.host = first;
        second
    };
    if !is_tag(tag) {
        message.text = rest.get(first.len() + 1..).unwrap_or_default();
        return;
    }
    let used = if message.host.is_empty() {
        first.len()
    } else {
        first.len() + 1 + second.len()
    };
    message.text = rest.get(used..).unwrap_or_default().trim_ascii_start();
    let tag = tag.strip_suffix(b":").unwrap_or(tag);
    let bracket = tag.iter().position(|&byte| byte == b'[');
    message.program = tag.get(..bracket.unwrap_or(tag.len())).unwrap_or_default();
    if let Some(process) = bracket.and_then(|bracket| tag.get(bracket + 1..)) {
        let end = process.iter().position(|&byte| byte == b']');
        message.process = process
            .get(..end.unwrap_or(process.len()))
            .unwrap_or_default();
    }
}

fn tell(message: &Message<'_>, sink: &mut dyn EventSink) {
    const SEVERITIES: [&str; 8] = [
        "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
    ];
    const FACILITIES: [&str; 24] = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron",
        "authpriv", "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2",
        "local3", "local4", "local5", "local6", "local7",
    ];
    let severity = SEVERITIES.get(usize::from(message.priority & 7));
    let facility = FACILITIES.get(usize::from(message.priority >> 3));
    let form = if message.rfc5424 {
        "rfc5424"
    } else {
        "rfc3164"
    };
    let mut fields = Fields::<8>::new();
    fields
        .name(FACILITY, facility.unwrap_or(&"other"))
        .name(SEVERITY, severity.unwrap_or(&"other"))
        .bytes(HOST, message.host)
        .bytes(PROGRAM, message.program)
        .some_bytes(PROCESS, message.process)
        .some_bytes(MESSAGE_ID, message.id)
        .name(FORM, form)
        .some_bytes(TEXT, message.text.get(..TEXT_MAX).unwrap_or(message.text));
    fields.tell(EventKind::Request, sink);
}
