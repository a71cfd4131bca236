//! Samples: conversations of every application with the events that they must give, for the laws of
//! parsers, for fuzzing and as a load. The files and their form are in `dataplane/l7/tests/samples`.

mod content;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use weir_l7::{
    AppEventSink, AppId, Buffer, Content, Engine, Event, EventKind, Identification, Interest,
    Limits, Speaker, Transport, Value, registry,
};
use weir_wire::Direction;

use content::Contents;
pub use content::Whole;

/// A conversation.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its file.
    pub path: PathBuf,
    /// What it begins as.
    pub app: AppId,
    /// What carries it.
    pub transport: Transport,
    /// The server's port: a hint.
    pub port: u16,
    /// The bytes alone do not tell: the port is a part of the proof.
    pub port_tells: bool,
    /// What is said, in order.
    pub pieces: Vec<(Direction, Vec<u8>)>,
    /// What the parser must tell.
    pub events: Vec<String>,
    /// The contents that it must tell, where the sample says.
    pub contents: Option<Vec<String>>,
    /// What it must object to.
    pub violation: Option<String>,
    /// What it ends as.
    pub ends_as: AppId,
}

impl Sample {
    /// A port that is nobody's where the bytes alone must tell.
    pub fn probed_port(&self) -> u16 {
        if self.port_tells { self.port } else { 1 }
    }
}

/// What the engine made of a conversation.
#[derive(Debug, PartialEq)]
pub struct Heard {
    /// What the parser told.
    pub events: Vec<String>,
    /// The contents, where somebody looked.
    pub contents: Vec<Whole>,
    /// What it objected to.
    pub violation: Option<String>,
    /// What the connection was known as in the end.
    pub identification: Identification,
}

/// Writes events as text, and checks that each is as it was declared.
#[derive(Default)]
pub struct Listener {
    /// One line each.
    pub events: Vec<String>,
    /// Whether everything is looked into.
    pub looks: bool,
    contents: Contents,
}

impl Listener {
    /// Looks into everything.
    pub fn looking() -> Self {
        Self {
            looks: true,
            ..Self::default()
        }
    }

    /// What was looked into.
    pub fn contents(&self) -> &[Whole] {
        &self.contents.whole
    }
}

/// Every sample of every application.
pub fn all() -> Vec<Sample> {
    registry::applications()
        .iter()
        .flat_map(|row| of(row.id))
        .collect()
}

/// The samples of an application.
pub fn of(app: AppId) -> Vec<Sample> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../dataplane/l7/tests/samples")
        .join(app.name());
    let Ok(entries) = std::fs::read_dir(&folder) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    paths.iter().map(|path| read(path, app)).collect()
}

fn read(path: &Path, app: AppId) -> Sample {
    let text = std::fs::read_to_string(path).expect("a readable sample");
    let mut lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let head = lines.next().unwrap_or_default();
    let (transport, port) = head.split_once(' ').unwrap_or((head, "0"));
    let (port, port_tells) = match port.trim().strip_suffix("needed") {
        Some(port) => (port, true),
        None => (port, false),
    };
    let mut sample = Sample {
        path: path.to_owned(),
        app,
        transport: match transport {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            "icmp" => Transport::Icmp,
            "icmpv6" => Transport::Icmpv6,
            "esp" => Transport::Esp,
            other => panic!("{}: no transport {other:?}", path.display()),
        },
        port: port.trim().parse().expect("a port"),
        port_tells,
        pieces: Vec::new(),
        events: Vec::new(),
        contents: None,
        violation: None,
        ends_as: app,
    };
    for line in lines {
        let (mark, rest) = line.split_at(1);
        match mark {
            ">" => sample.pieces.push((Direction::ToServer, piece(rest, path))),
            "<" => sample.pieces.push((Direction::ToClient, piece(rest, path))),
            "=" => sample.events.push(rest.trim().to_owned()),
            "+" => sample
                .contents
                .get_or_insert_default()
                .push(rest.trim().to_owned()),
            "!" => sample.violation = Some(rest.trim().to_owned()),
            "~" => sample.ends_as = registry::by_name(rest.trim()).expect("an application"),
            _ if mark.trim().is_empty() => {
                let last = sample.pieces.last_mut().expect("a piece to go on with");
                last.1.extend(piece(rest, path));
            }
            _ => panic!("{}: a line that is not understood: {line}", path.display()),
        }
    }
    sample
}

fn piece(text: &str, path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            rest = string(&rest[1..], &mut bytes);
        } else if let Some((count, after)) = rest.split_once("*\"")
            && let Ok(count) = count.parse::<usize>()
        {
            let mut once = Vec::new();
            rest = string(after, &mut once);
            bytes.extend(once.repeat(count));
        } else {
            let pair = rest.get(..2).unwrap_or_default();
            let byte = u8::from_str_radix(pair, 16)
                .unwrap_or_else(|_| panic!("{}: not a pair of digits: {rest}", path.display()));
            bytes.push(byte);
            rest = &rest[2..];
        }
        rest = rest.trim_start();
    }
    bytes
}

/// Reads up to the closing quote; returns what follows it.
fn string<'a>(text: &'a str, bytes: &mut Vec<u8>) -> &'a str {
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return &text[at + 1..],
            '\\' => match characters.next().map(|(_, escaped)| escaped) {
                Some('r') => bytes.push(b'\r'),
                Some('n') => bytes.push(b'\n'),
                Some('t') => bytes.push(b'\t'),
                Some('0') => bytes.push(0),
                Some('x') => {
                    let digits: String = characters
                        .by_ref()
                        .take(2)
                        .map(|(_, digit)| digit)
                        .collect();
                    bytes.push(u8::from_str_radix(&digits, 16).expect("two hexadecimal digits"));
                }
                Some(escaped @ ('\\' | '"')) => bytes.push(escaped as u8),
                other => panic!("no escape {other:?} in {text}"),
            },
            character => bytes.extend(character.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    panic!("a string without end: {text}");
}

impl AppEventSink for Listener {
    fn event(&mut self, speaker: Speaker, event: &Event<'_>) {
        let app = speaker.parser;
        self.contents.event(speaker.direction);
        let row = registry::info(app).expect("events come from applications");
        let kind = match event.kind {
            EventKind::Request => "request",
            EventKind::Response => "response",
            EventKind::Session => "session",
        };
        let mut line = kind.to_owned();
        for field in event.fields {
            let spec = row
                .fields
                .get(usize::from(field.index))
                .expect("every field is declared");
            assert!(
                fits(spec.kind, &field.value),
                "{app}.{} is not {:?}",
                spec.name,
                spec.kind
            );
            let _ = match field.value {
                Value::Bytes(bytes) => write!(line, " {}=\"{}\"", spec.name, bytes.escape_ascii()),
                Value::Name(name) => write!(line, " {}=\"{name}\"", spec.name),
                Value::Number(number) => write!(line, " {}={number}", spec.name),
                Value::Address(address) => write!(line, " {}={address}", spec.name),
            };
        }
        if event.kind == EventKind::Request {
            for (index, spec) in row
                .fields
                .iter()
                .enumerate()
                .filter(|(_, spec)| spec.condition)
            {
                let there = event
                    .fields
                    .iter()
                    .any(|field| usize::from(field.index) == index);
                assert!(there, "{app}: a request without {}: {line}", spec.name);
            }
        }
        self.events.push(line);
    }

    fn wants(&self, _buffer: Buffer) -> bool {
        self.looks
    }

    fn content(&mut self, speaker: Speaker, content: &Content<'_>) {
        assert!(self.looks, "{} that nobody wants", content.buffer);
        let row = registry::info(speaker.parser).expect("contents come from applications");
        assert!(
            row.contents.contains(content.buffer),
            "{}: {} is not declared",
            row.name,
            content.buffer
        );
        self.contents.take(speaker, content);
    }
}

fn fits(kind: weir_l7::FieldKind, value: &Value<'_>) -> bool {
    use weir_l7::FieldKind::{Address, Number, Text};
    matches!(
        (kind, value),
        (Text, Value::Bytes(_) | Value::Name(_))
            | (Number, Value::Number(_))
            | (Address, Value::Address(_))
    )
}

/// The limits that samples run with: little memory, and as many packets as it takes.
pub fn limits() -> Limits {
    Limits {
        sessions: 1,
        probe_packets: u16::MAX,
        pending_pool_bytes: 128 << 10,
        blocks: 4,
        ..Limits::default()
    }
}

/// Feeds pieces to a fresh engine, and looks into everything; `obey` looks into nothing, and leaves
/// out what the engine says need not be fed.
pub fn hear(sample: &Sample, pieces: &[(Direction, &[u8])], obey: bool) -> Heard {
    let mut engine = Engine::new(limits());
    let id = engine
        .open(sample.transport, [1, sample.probed_port()], true)
        .expect("a session");
    let mut listener = match obey {
        true => Listener::default(),
        false => Listener::looking(),
    };
    let mut violation = None;
    for &(direction, piece) in pieces {
        let mut piece = piece;
        if obey && let Interest::Skip(count) = engine.interest(id, direction) {
            let skipped = usize::try_from(count)
                .unwrap_or(usize::MAX)
                .min(piece.len());
            engine.skipped(id, direction, skipped as u64);
            piece = &piece[skipped..];
        }
        let outcome = engine.data(id, direction, piece, &mut listener);
        violation = violation.or(outcome.violation);
    }
    let identification = engine.identification(id);
    engine.close(id);
    assert_eq!(
        engine.pending_bytes_used(),
        0,
        "closing gives all memory back"
    );
    Heard {
        events: listener.events,
        contents: listener.contents.whole,
        violation: violation.map(str::to_owned),
        identification,
    }
}

/// Bytes that nobody sends, cut in two ways: what one hears the other hears too, until it gives up, and
/// neither takes them for another application. How far reading goes before a fault is told, and what
/// of the two directions is read first, may depend on how much was kept while the application was
/// not known yet. Of a content one may have heard more than the other.
pub fn assert_consistent(one: &Heard, other: &Heard, context: &str) {
    let (fewer, more) = match one.events.len() <= other.events.len() {
        true => (&one.events, &other.events),
        false => (&other.events, &one.events),
    };
    let mut left: Vec<_> = more.iter().collect();
    for event in fewer {
        let Some(found) = left.iter().position(|other| *other == event) else {
            panic!("{context}: {event} is told one way, not the other");
        };
        left.swap_remove(found);
    }
    for content in &one.contents {
        let same = |found: &&Whole| found.key() == content.key();
        let mut alike = other.contents.iter().filter(same).peekable();
        let consistent = alike.peek().is_none()
            || alike.any(|found| found.begins(content) || content.begins(found));
        assert!(
            consistent,
            "{context}: {content} is told one way, not the other"
        );
    }
    let name = |heard: &Heard| {
        heard
            .identification
            .app
            .filter(|app| *app != AppId::UNKNOWN)
    };
    if let (Some(one), Some(other)) = (name(one), name(other)) {
        assert_eq!(one, other, "{context}");
    }
}

/// The sample as it is written.
pub fn hear_whole(sample: &Sample) -> Heard {
    let pieces: Vec<_> = sample
        .pieces
        .iter()
        .map(|(direction, piece)| (*direction, piece.as_slice()))
        .collect();
    hear(sample, &pieces, false)
}

/// Writes the events, the violation and the last name into the sample's file.
pub fn update(sample: &Sample, heard: &Heard) {
    let text = std::fs::read_to_string(&sample.path).expect("a readable sample");
    let mut kept: String = text
        .lines()
        .filter(|line| !line.starts_with(['=', '+', '!', '~']))
        .map(|line| format!("{line}\n"))
        .collect();
    for event in &heard.events {
        let _ = writeln!(kept, "= {event}");
    }
    if sample.contents.is_some() {
        for content in &heard.contents {
            let _ = writeln!(kept, "+ {content}");
        }
    }
    if let Some(violation) = &heard.violation {
        let _ = writeln!(kept, "! {violation}");
    }
    if let Some(app) = heard.identification.app.filter(|app| *app != sample.app) {
        let _ = writeln!(kept, "~ {app}");
    }
    std::fs::write(&sample.path, kept).expect("a writable sample");
}
