//! Whether this is IMAP: an untagged greeting, or a tag and a command that only IMAP has.

use crate::read::lines::{self, Line};
use crate::{Probe, ProbeInput};

const LINE_MAX: usize = 1_024;
const TAG_MAX: usize = 16;

/// Commands that name a mailbox first.
pub(super) const NAMES_MAILBOX: &[&[u8]] = &[
    b"SELECT",
    b"EXAMINE",
    b"CREATE",
    b"DELETE",
    b"RENAME",
    b"SUBSCRIBE",
    b"UNSUBSCRIBE",
    b"STATUS",
    b"APPEND",
    b"SETACL",
    b"GETACL",
    b"MYRIGHTS",
    b"GETQUOTAROOT",
];

/// Commands that clients begin with, in upper case, and whether they have arguments.
const BEGINNINGS: &[(&[u8], bool)] = &[
    (b"CAPABILITY", false),
    (b"LOGIN", true),
    (b"AUTHENTICATE", true),
    (b"STARTTLS", false),
    (b"ID", true),
    (b"LOGOUT", false),
];

/// The status words (RFC 9051, 7.1).
pub(super) fn status(word: &[u8]) -> Option<&'static str> {
    ["OK", "NO", "BAD", "PREAUTH", "BYE"]
        .into_iter()
        .find(|status| status.as_bytes().eq_ignore_ascii_case(word))
}

pub(super) fn probe(input: &ProbeInput<'_>) -> Probe {
    match (
        client(input.to_server, input.from_start),
        server(input.to_client, input.from_start),
    ) {
        (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
        (Probe::Certain, _) | (_, Probe::Certain) => Probe::Certain,
        _ => Probe::Unsure,
    }
}

fn client(input: &[u8], from_start: bool) -> Probe {
    let (text, ended) = match lines::first(input) {
        Line::Whole(text, _) => (text, true),
        Line::Part(text) => (text.trim_ascii_end(), false),
    };
    let otherwise = match from_start || !lines::is_text(text) {
        true => Probe::NotMine,
        false => Probe::Unsure,
    };
    if input.is_empty() {
        return Probe::Unsure;
    }
    let (tag, rest) = lines::word(text);
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b".#-_".contains(byte);
    let numbered = tag.last().is_some_and(u8::is_ascii_digit);
    if tag.is_empty() || tag.len() > TAG_MAX || !tag.iter().all(plain) || text.len() > LINE_MAX {
        return otherwise;
    }
    if !ended && tag.len() == text.len() {
        return Probe::Unsure;
    }
    let (word, arguments) = lines::word(rest);
    let word_ended = ended || word.len() < rest.len();
    let fitting = BEGINNINGS.iter().any(|&(known, more)| {
        lines::is_one_of(&[known], word, word_ended) && (!ended || more != arguments.is_empty())
    });
    match fitting {
        true if ended && numbered => Probe::Certain,
        true if lines::are_text(input) => Probe::Unsure,
        _ => otherwise,
    }
}

fn server(input: &[u8], from_start: bool) -> Probe {
    if input.is_empty() {
        return Probe::Unsure;
    }
    let mut first = true;
    for text in lines::whole(input).take(8) {
        let (tag, rest) = lines::word(text);
        let (word, rest) = lines::word(rest);
        let greeting = tag == b"*" && status(word).is_some();
        if greeting && (from_start || lines::find(rest, b"imap").is_some()) {
            return Probe::Certain;
        }
        // A server that was picked up: data that no other line protocol sends.
        let data = tag == b"*"
            && (matches!(
                word,
                b"CAPABILITY" | b"FLAGS" | b"LIST" | b"LSUB" | b"SEARCH"
            ) && !rest.is_empty()
                || word.iter().all(u8::is_ascii_digit)
                    && matches!(
                        lines::word(rest).0,
                        b"EXISTS" | b"RECENT" | b"FETCH" | b"EXPUNGE"
                    ));
        if data && !from_start {
            return Probe::Certain;
        }
        if first && from_start {
            return Probe::NotMine;
        }
        first = false;
    }
    let front = input
        .split(|&byte| byte == b'\n')
        .next()
        .unwrap_or_default();
    let front = front.trim_ascii_end();
    let possible = match from_start {
        true => front.len() < LINE_MAX && (front.starts_with(b"* ") || front == b"*"),
        false => lines::is_text(front),
    };
    match possible {
        true => Probe::Unsure,
        false => Probe::NotMine,
    }
}
