//! Whether this is POP3: Redis answers `+OK` too, FTP and IRC know USER, SMTP AUTH.

use crate::read::lines::{self, Line};
use crate::{Probe, ProbeInput};

const LINES_MAX: usize = 16;
const LINE_MAX: usize = 512;
/// An MD5 digest in hexadecimal digits.
const DIGEST: usize = 32;

/// Commands in upper case (RFC 1939, 2449, 2595, 5034; XTND of Qpopper).
const COMMANDS: &[&[u8]] = &[
    b"USER", b"PASS", b"CAPA", b"APOP", b"AUTH", b"STLS", b"QUIT", b"STAT", b"LIST", b"RETR",
    b"DELE", b"NOOP", b"RSET", b"TOP", b"UIDL", b"UTF8", b"LANG", b"XTND",
];

const STATUS: [&[u8]; 2] = [b"+OK", b"-ERR"];

/// What a side's lines say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    /// Only POP3 says so.
    Own,
    /// POP3, if the other side agrees.
    Likely,
    Open,
    Other,
}

pub(super) fn probe(input: &ProbeInput<'_>) -> Probe {
    let server = server(input.to_client, input.from_start);
    let agreed = server == Said::Likely;
    match (client(input.to_server, agreed), server) {
        (Said::Other, _) | (_, Said::Other) => Probe::NotMine,
        (Said::Own, _) | (_, Said::Own) => Probe::Certain,
        _ => Probe::Unsure,
    }
}

/// Lines of the client; what is likely settles it once the server agreed.
fn client(input: &[u8], agreed: bool) -> Said {
    let mut rest = input;
    // Answers within a login are no commands: behind AUTH they prove nothing.
    let mut logs_in = false;
    for _ in 0..LINES_MAX {
        let (text, used) = match lines::first(rest) {
            Line::Whole(text, used) => (text, used),
            Line::Part(text) => {
                let possible = logs_in || lines::may_become(COMMANDS, text);
                return match text.len() < LINE_MAX && possible && lines::are_text(text) {
                    true => Said::Open,
                    false => Said::Other,
                };
            }
        };
        rest = rest.get(used..).unwrap_or_default();
        let (word, argument) = lines::word(text);
        if text.len() > LINE_MAX || !lines::is_text(text) {
            return Said::Other;
        }
        if !lines::is_one_of(COMMANDS, word, true) {
            return match logs_in {
                true => Said::Open,
                false => Said::Other,
            };
        }
        logs_in |= word.eq_ignore_ascii_case(b"AUTH");
        match command(word, argument.trim_ascii()) {
            Said::Own => return Said::Own,
            Said::Likely if agreed => return Said::Own,
            Said::Other => return Said::Other,
            _ => {}
        }
    }
    Said::Open
}

fn command(word: &[u8], argument: &[u8]) -> Said {
    let command = lines::upper::<4>(word);
    let words = argument.split(|&byte| byte == b' ').count();
    match command.as_slice() {
        b"CAPA" | b"STLS" if argument.is_empty() => Said::Own,
        b"UIDL" if argument.iter().all(u8::is_ascii_digit) => Said::Own,
        b"APOP" => match argument.split(|&byte| byte == b' ').nth(1) {
            Some(digest)
                if words == 2
                    && digest.len() == DIGEST
                    && digest.iter().all(u8::is_ascii_hexdigit) =>
            {
                Said::Own
            }
            _ => Said::Likely,
        },
        // IRC's has four arguments.
        b"USER" if words > 3 || argument.is_empty() => Said::Other,
        b"USER" | b"QUIT" | b"AUTH" => Said::Likely,
        _ => Said::Open,
    }
}

fn server(input: &[u8], from_start: bool) -> Said {
    let (text, ended) = match lines::first(input) {
        Line::Whole(text, _) => (text, true),
        Line::Part(text) => (text, false),
    };
    let (word, rest) = lines::word(text);
    let possible = match ended {
        true => lines::is_one_of(&STATUS, word, true),
        false => lines::may_become(&STATUS, text),
    };
    if !possible || text.len() > LINE_MAX {
        return match from_start || input.is_empty() {
            true if input.is_empty() => Said::Open,
            // Picked up within a mail.
            false if lines::is_text(text.trim_ascii_end()) => Said::Open,
            _ => Said::Other,
        };
    }
    if !ended || !lines::is_text(text) {
        return Said::Open;
    }
    match greets(rest) {
        _ if word == b"-ERR" => Said::Open,
        true => Said::Own,
        // Redis says no more than the word.
        false if !rest.is_empty() => Said::Likely,
        false => Said::Open,
    }
}

/// Names the protocol, or shows APOP's timestamp (RFC 1939, 7).
fn greets(text: &[u8]) -> bool {
    let timestamp = text
        .iter()
        .position(|&byte| byte == b'<')
        .and_then(|at| text.get(at + 1..))
        .and_then(|rest| rest.split(|&byte| byte == b'>').next())
        .is_some_and(|stamp| {
            stamp.contains(&b'@')
                && stamp.contains(&b'.')
                && stamp.first().is_some_and(u8::is_ascii_alphanumeric)
        });
    timestamp && text.ends_with(b">") || lines::find(text, b"pop3").is_some()
}
