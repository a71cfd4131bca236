//! Whether this is SMTP: what FTP's replies, which look alike, never are.

use crate::read::lines::{self, Line, Reply};
use crate::{Probe, ProbeInput};

/// Lines of a reply that are looked at.
const LINES_MAX: usize = 24;
/// A first line beyond this is nobody's who mails (RFC 5321, 4.5.3.1.4, with room).
const LINE_MAX: usize = 1_024;

/// Commands in upper case (RFC 5321, 3030, 3207, 4954, 1985, 2033; XCLIENT, XFORWARD of Postfix).
pub(super) const COMMANDS: &[&[u8]] = &[
    b"EHLO",
    b"HELO",
    b"LHLO",
    b"MAIL",
    b"RCPT",
    b"DATA",
    b"RSET",
    b"NOOP",
    b"QUIT",
    b"HELP",
    b"VRFY",
    b"EXPN",
    b"STARTTLS",
    b"AUTH",
    b"BDAT",
    b"ETRN",
    b"TURN",
    b"XCLIENT",
    b"XFORWARD",
];

pub(super) fn probe(input: &ProbeInput<'_>) -> Probe {
    let server = match input.from_start {
        true => server(input.to_client),
        false => server_within(input.to_client),
    };
    match (client(input.to_server, input.from_start), server) {
        (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
        (Probe::Certain, _) | (_, Probe::Certain) => Probe::Certain,
        _ => Probe::Unsure,
    }
}

fn client(input: &[u8], from_start: bool) -> Probe {
    let (text, ended) = match lines::first(input) {
        Line::Whole(text, _) => (text, true),
        Line::Part(text) => (text, false),
    };
    if text.is_empty() && !ended {
        return Probe::Unsure;
    }
    let (word, rest) = lines::word(text);
    let possible = match ended {
        true => lines::is_one_of(COMMANDS, word, true),
        false => lines::may_become(COMMANDS, text),
    };
    if text.len() > LINE_MAX || !possible {
        // Picked up, these may be the lines of a mail.
        return if from_start || !lines::is_text(text.trim_ascii_end()) {
            Probe::NotMine
        } else {
            Probe::Unsure
        };
    }
    let open = match lines::are_text(input) {
        true => Probe::Unsure,
        false => Probe::NotMine,
    };
    if !ended {
        return open;
    }
    let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
    let named = [&b"EHLO"[..], b"HELO", b"LHLO"].into_iter().any(is);
    let envelope = is(b"MAIL") && starts(rest, b"FROM:") || is(b"RCPT") && starts(rest, b"TO:");
    match envelope || named && !rest.is_empty() && lines::is_text(rest) {
        true => Probe::Certain,
        false => open,
    }
}

/// From the greeting on: the word itself, or an answer that FTP does not give at this point.
fn server(input: &[u8]) -> Probe {
    if !Reply::may_begin(input) || matches!(input.first(), Some(b'1' | b'3' | b'6')) {
        return Probe::NotMine;
    }
    let mut greeted = false;
    for text in lines::whole(input).take(LINES_MAX) {
        let Some(reply) = Reply::read(text) else {
            return Probe::NotMine;
        };
        if greeted {
            match reply.code {
                // Before a login FTP changes no directory.
                250 => return Probe::Certain,
                421 | 454 | 500..=504 | 530 | 550 | 554 | 221 | 214 | 252 | 334 => continue,
                _ => return Probe::NotMine,
            }
        }
        if !matches!(reply.code, 220 | 421 | 450 | 521 | 550 | 554) {
            return Probe::NotMine;
        }
        if lines::find(reply.text, b"smtp").is_some() {
            return Probe::Certain;
        }
        if names_ftp(reply.text) {
            return Probe::NotMine;
        }
        greeted = !reply.more;
    }
    match input.len() > LINE_MAX * 2 {
        true => Probe::NotMine,
        false => Probe::Unsure,
    }
}

/// Within a session an enhanced status code (RFC 3463) repeats the reply's first digit.
fn server_within(input: &[u8]) -> Probe {
    const EXTENSIONS: &[&[u8]] = &[
        b"PIPELINING",
        b"8BITMIME",
        b"STARTTLS",
        b"ENHANCEDSTATUSCODES",
        b"CHUNKING",
    ];
    let (mut whole, mut replies) = (0, 0);
    for text in lines::whole(input).take(LINES_MAX) {
        whole += 1;
        let Some(reply) = Reply::read(text) else {
            continue;
        };
        replies += 1;
        let class = (reply.code / 100) as u8 + b'0';
        let enhanced = matches!(reply.text, [first, b'.', b'0'..=b'9', b'.' | b'0'..=b'9', ..]
            if *first == class && matches!(class, b'2' | b'4' | b'5'));
        let extension = reply.code == 250 && lines::is_one_of(EXTENSIONS, reply.text, true);
        let greeting = reply.code == 220 && lines::find(reply.text, b"smtp").is_some();
        if enhanced || extension || greeting {
            return Probe::Certain;
        }
    }
    // The first line may be the rest of one.
    let plausible = replies > 0 || whole == 0 && input.len() < LINE_MAX;
    match plausible && lines::is_text(first_text(input)) {
        true => Probe::Unsure,
        false => Probe::NotMine,
    }
}

fn first_text(input: &[u8]) -> &[u8] {
    match lines::first(input) {
        Line::Whole(text, _) => text,
        Line::Part(text) => text.trim_ascii_end(),
    }
}

/// A word with "FTP" that is no part of a host's name.
pub(crate) fn names_ftp(text: &[u8]) -> bool {
    text.split(|byte| byte.is_ascii_whitespace() || b"()[]".contains(byte))
        .filter(|word| !word.contains(&b'.'))
        .any(|word| lines::find(word, b"ftp").is_some())
}

fn starts(text: &[u8], front: &[u8]) -> bool {
    text.get(..front.len())
        .is_some_and(|text| text.eq_ignore_ascii_case(front))
}
