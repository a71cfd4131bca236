//! FTP's data connections (RFC 959, 3.2): known by the control connection that announces them, or by
//! the listing of a folder, which leaves little doubt.
//!
//! Trusts nothing, and reads nothing but the first line: the rest is somebody's file, handed on where
//! somebody looks into files. Memory: a flag each way.

use weir_wire::Direction;

use crate::read::content;
use crate::read::lines::{self, Line};
use crate::{
    Application, Buffer, BufferSet, EventSink, FieldSpec, Probe, ProbeInput, Step, Transport,
};

const LINE_MAX: usize = 512;
const MONTHS: &[&[u8]] = &[
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// The parser.
#[derive(Default)]
pub struct FtpData {
    told: [Told; 2],
}

/// What was handed on of one direction.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Told {
    #[default]
    Nothing,
    Begun,
    /// A part of it was lost.
    Torn,
}

impl Application for FtpData {
    const NAME: &'static str = "ftp-data";
    const ABOUT: &'static str = "Data connection of FTP: listings and files (RFC 959, 3.2)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[20];
    const FIELDS: &'static [FieldSpec] = &[];
    const CONTENTS: BufferSet = BufferSet::EMPTY.with(Buffer::FileData);

    fn probe(input: &ProbeInput<'_>) -> Probe {
        // One side speaks, the other only listens.
        let bytes = match (input.to_server, input.to_client) {
            (b"", bytes) | (bytes, b"") => bytes,
            _ => return Probe::NotMine,
        };
        if bytes.is_empty() {
            return Probe::Unsure;
        }
        match listing(bytes) {
            Probe::NotMine if input.server_port == 20 => Probe::Unsure,
            // Picked up, a line may be the rest of one: the next is whole.
            Probe::NotMine if !input.from_start => match lines::first(bytes) {
                Line::Whole(text, used) if is_text(text) => {
                    match listing(bytes.get(used..).unwrap_or_default()) {
                        Probe::Certain => Probe::Certain,
                        _ => Probe::NotMine,
                    }
                }
                _ => Probe::NotMine,
            },
            said => said,
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let told = match self.told.get_mut(direction as usize) {
            Some(told) if *told != Told::Torn && sink.wants(Buffer::FileData) => told,
            _ => return Step::Done,
        };
        let begins = *told == Told::Nothing;
        *told = Told::Begun;
        content::piece(Buffer::FileData, begins, input, false, sink);
        Step::Consumed(input.len())
    }

    fn gap(&mut self, direction: Direction, length: u64) -> bool {
        if let Some(told) = self.told.get_mut(direction as usize)
            && length > 0
        {
            *told = Told::Torn;
        }
        true
    }
}

/// Judges the first line, or the second where the first counts blocks (`total 8`).
fn listing(bytes: &[u8]) -> Probe {
    match lines::first(bytes) {
        Line::Whole(text, used) if is_total(text) => {
            match lines::first(bytes.get(used..).unwrap_or_default()) {
                Line::Whole(text, _) if may_be_unix(text) && is_unix(text) => Probe::Certain,
                Line::Part(part) if part.len() < LINE_MAX && may_be_unix(part) => Probe::Unsure,
                _ => Probe::NotMine,
            }
        }
        Line::Whole(text, _)
            if may_begin(text) && (is_unix(text) || is_dos(text) || is_facts(text)) =>
        {
            Probe::Certain
        }
        Line::Part(part) if part.len() < LINE_MAX && may_begin(part) => Probe::Unsure,
        _ => Probe::NotMine,
    }
}

fn is_text(text: &[u8]) -> bool {
    text.len() < LINE_MAX && lines::is_text(text)
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b' ')
        .filter(|word| !word.is_empty())
}

fn is_total(text: &[u8]) -> bool {
    text.strip_prefix(b"total ")
        .is_some_and(|rest| !rest.is_empty() && rest.iter().all(u8::is_ascii_digit))
}

/// `-rw-r--r--   1 owner group    1024 Jan  1 10:30 name`, as `ls -l` has written it for ever.
fn is_unix(text: &[u8]) -> bool {
    let mut words = words(text);
    let (Some(mode), Some(links)) = (words.next(), words.next()) else {
        return false;
    };
    is_mode(mode)
        && links.iter().all(u8::is_ascii_digit)
        && is_text(text)
        && words.take(5).any(|word| MONTHS.contains(&word))
}

fn is_mode(mode: &[u8]) -> bool {
    let rights = mode.get(1..10).unwrap_or_default();
    rights.len() == 9
        && mode.len() <= 11
        && mode.get(10).is_none_or(|mark| b"@+.".contains(mark))
        && b"-dlbcps".contains(mode.first().unwrap_or(&0))
        && rights.iter().zip(b"rwxrwxrwx").all(|(&byte, &right)| {
            byte == b'-' || byte == right || right == b'x' && b"sStT".contains(&byte)
        })
}

fn may_be_unix(part: &[u8]) -> bool {
    let (mode, rest) = lines::word(part);
    let first = mode.first().is_none_or(|first| b"-dlbcps".contains(first));
    match rest.is_empty() {
        true => {
            first
                && mode
                    .iter()
                    .skip(1)
                    .all(|byte| b"-rwxsStT@+.".contains(byte))
        }
        false => is_mode(mode),
    }
}

/// `01-31-26  10:30AM       <DIR>          name`.
fn is_dos(text: &[u8]) -> bool {
    let mut words = words(text);
    let (Some(date), Some(time), Some(size)) = (words.next(), words.next(), words.next()) else {
        return false;
    };
    let date = shape(date, b"00-00-00") || shape(date, b"00-00-0000");
    let time = shape(time, b"00:00AM") || shape(time, b"00:00PM");
    date && time
        && (size == b"<DIR>" || size.iter().all(u8::is_ascii_digit))
        && words.next().is_some()
        && is_text(text)
}

/// Digits where `shape` has a zero, else the same byte.
fn shape(text: &[u8], shape: &[u8]) -> bool {
    text.len() == shape.len()
        && text.iter().zip(shape).all(|(&byte, &shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            _ => byte == shape,
        })
}

/// `type=file;size=1024;modify=20260131103000; name` (RFC 3659, 7.2).
fn is_facts(text: &[u8]) -> bool {
    let (facts, name) = lines::word(text);
    let Some(facts) = facts.strip_suffix(b";") else {
        return false;
    };
    let mut known = 0;
    for fact in facts.split(|&byte| byte == b';') {
        let Some(equals) = fact.iter().position(|&byte| byte == b'=') else {
            return false;
        };
        let (kind, value) = fact.split_at(equals);
        let value = value.get(1..).unwrap_or_default();
        known += usize::from(match lines::upper::<8>(kind).as_slice() {
            b"TYPE" => lines::is_one_of(&[b"FILE", b"DIR", b"CDIR", b"PDIR"], value, true),
            b"MODIFY" => value.len() >= 14 && value.iter().take(14).all(u8::is_ascii_digit),
            _ => false,
        });
    }
    known == 2 && !name.is_empty() && is_text(text)
}

fn may_begin(part: &[u8]) -> bool {
    let front = |front: &[u8]| {
        let compared = part.len().min(front.len());
        part.get(..compared) == front.get(..compared)
    };
    let text = is_text(part.strip_suffix(b"\r").unwrap_or(part));
    text && (may_be_unix(part) || front(b"total ") || may_be_dos(part) || may_be_facts(part))
}

fn may_be_dos(part: &[u8]) -> bool {
    let date = b"00-00-00";
    let compared = part.len().min(date.len());
    shape(
        part.get(..compared).unwrap_or_default(),
        date.get(..compared).unwrap_or_default(),
    )
}

/// The name of the first fact, which clients may ask for in any order.
fn may_be_facts(part: &[u8]) -> bool {
    const FACTS: &[&[u8]] = &[b"TYPE", b"MODIFY", b"SIZE", b"PERM", b"UNIQUE", b"CREATE"];
    let equals = part.iter().position(|&byte| byte == b'=');
    let name = part.get(..equals.unwrap_or(part.len())).unwrap_or_default();
    lines::is_one_of(FACTS, name, equals.is_some()) || name.starts_with(b"UNIX.")
}
