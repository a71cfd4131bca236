//! Whether this is FTP's control connection: SMTP, POP3, NNTP and IRC have words in common with it.

use super::announce;
use crate::proto::smtp::names_ftp;
use crate::read::lines::{self, Line, Reply};
use crate::{Probe, ProbeInput};

/// Lines that are looked at.
const LINES_MAX: usize = 32;
const LINE_MAX: usize = 1_024;

/// Commands that name a file or a folder.
pub(super) const NAMES_FILE: &[&[u8]] = &[
    b"RETR", b"STOR", b"STOU", b"APPE", b"RNFR", b"RNTO", b"DELE", b"RMD", b"XRMD", b"MKD",
    b"XMKD", b"CWD", b"XCWD", b"SMNT", b"SIZE", b"MDTM", b"MLSD", b"MLST", b"MFMT",
];

/// Commands in upper case (RFC 959, 1123, 2228, 2389, 2428, 2640, 3659, 7151).
const COMMANDS: &[&[u8]] = &[
    b"USER", b"PASS", b"ACCT", b"CWD", b"CDUP", b"SMNT", b"QUIT", b"REIN", b"PORT", b"PASV",
    b"TYPE", b"STRU", b"MODE", b"RETR", b"STOR", b"STOU", b"APPE", b"ALLO", b"REST", b"RNFR",
    b"RNTO", b"ABOR", b"DELE", b"RMD", b"MKD", b"PWD", b"LIST", b"NLST", b"SITE", b"SYST", b"STAT",
    b"HELP", b"NOOP", b"XCUP", b"XMKD", b"XPWD", b"XRMD", b"XCWD", b"AUTH", b"ADAT", b"PBSZ",
    b"PROT", b"CCC", b"MIC", b"CONF", b"ENC", b"FEAT", b"OPTS", b"EPRT", b"EPSV", b"LPRT", b"LPSV",
    b"LANG", b"MDTM", b"MLSD", b"MLST", b"SIZE", b"MFMT", b"HOST", b"CLNT",
];

/// What the client's lines say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Client {
    /// A line that only FTP has.
    Own,
    /// USER, which FTP shares with POP3, or AUTH of a kind that FTP shares.
    LogsIn,
    /// Nothing yet, or lines that others have too.
    Open,
    Other,
}

pub(super) fn probe(input: &ProbeInput<'_>) -> Probe {
    let (server, greeted) = match input.from_start {
        true => server(input.to_client),
        false => server_within(input.to_client),
    };
    match (client(input.to_server, input.from_start, greeted), server) {
        (Client::Other, _) | (_, Probe::NotMine) => Probe::NotMine,
        (Client::Own, _) | (_, Probe::Certain) => Probe::Certain,
        _ => Probe::Unsure,
    }
}

fn client(input: &[u8], from_start: bool, greeted: bool) -> Client {
    let mut rest = input;
    for _ in 0..LINES_MAX {
        let (text, used) = match lines::first(rest) {
            Line::Whole(text, used) => (text, used),
            Line::Part(text) => return part(text, from_start),
        };
        rest = rest.get(used..).unwrap_or_default();
        if text.is_empty() && from_start {
            continue;
        }
        let (word, argument) = lines::word(text);
        if text.len() > LINE_MAX || !lines::is_text(text) || !lines::is_one_of(COMMANDS, word, true)
        {
            // Picked up, the first may be the end of a line.
            if from_start || !lines::is_text(text) {
                return Client::Other;
            }
            continue;
        }
        match own(word, argument) {
            Client::Open => {}
            Client::Other => return Client::Other,
            Client::Own => return Client::Own,
            Client::LogsIn if greeted => return Client::Own,
            Client::LogsIn => {}
        }
    }
    Client::Open
}

fn part(text: &[u8], from_start: bool) -> Client {
    let possible = lines::may_become(COMMANDS, text) && text.len() < LINE_MAX || text == b"\r";
    let possible = possible && lines::are_text(text);
    match possible || !from_start && lines::is_text(text.trim_ascii_end()) {
        true => Client::Open,
        false => Client::Other,
    }
}

/// A whole line with a known command.
fn own(word: &[u8], argument: &[u8]) -> Client {
    let command = lines::upper::<4>(word);
    let bare = argument.trim_ascii().is_empty();
    let own = match command.as_slice() {
        b"PASV" | b"SYST" | b"FEAT" | b"XPWD" => bare,
        b"EPSV" => bare || matches!(argument, b"1" | b"2" | b"ALL"),
        b"PORT" => announce::six(argument).is_some(),
        b"EPRT" => announce::extended(argument).is_some(),
        b"PBSZ" => argument.iter().all(u8::is_ascii_digit) && !bare,
        b"PROT" => matches!(argument, b"P" | b"C" | b"S" | b"E"),
        b"AUTH" => {
            let tls = [&b"TLS"[..], b"TLS-C", b"TLS-P", b"SSL"];
            return match tls.iter().any(|name| name.eq_ignore_ascii_case(argument)) {
                true => Client::Own,
                false if argument.eq_ignore_ascii_case(b"GSSAPI") => Client::LogsIn,
                false => Client::Other,
            };
        }
        b"USER" => {
            // IRC's has four arguments.
            return match argument.split(|&byte| byte == b' ').count() < 4 {
                true if !bare => Client::LogsIn,
                true => Client::Open,
                false => Client::Other,
            };
        }
        _ => false,
    };
    match own {
        true => Client::Own,
        false => Client::Open,
    }
}

/// From the greeting on; also whether there was one.
fn server(input: &[u8]) -> (Probe, bool) {
    if !Reply::may_begin(input) || matches!(input.first(), Some(b'3' | b'6')) {
        return (Probe::NotMine, false);
    }
    let mut greeted = false;
    let mut within = 0;
    for text in lines::whole(input).take(LINES_MAX) {
        let reply = match Reply::read(text) {
            Some(reply) if within == 0 || within == reply.code => reply,
            _ if within > 0 => {
                if names_ftp(text) {
                    return (Probe::Certain, greeted);
                }
                continue;
            }
            _ => return (Probe::NotMine, false),
        };
        within = if reply.more { reply.code } else { 0 };
        if greeted {
            match reply.code {
                // Answers to USER, SYST, FEAT, AUTH TLS, which SMTP and NNTP do not give here.
                331 | 332 | 230 | 232 | 211 | 215 | 234 | 257 | 227 | 229 => {
                    return (Probe::Certain, true);
                }
                250 => return (Probe::NotMine, true),
                _ => continue,
            }
        }
        if !matches!(reply.code, 120 | 220 | 421 | 530 | 550 | 500) {
            return (Probe::NotMine, false);
        }
        if lines::find(reply.text, b"smtp").is_some() {
            return (Probe::NotMine, false);
        }
        if reply.code == 220 && names_ftp(reply.text) {
            return (Probe::Certain, true);
        }
        greeted = reply.code == 220 && !reply.more;
    }
    let plausible = lines::is_text(input.get(..4).unwrap_or_default());
    match plausible {
        true => (Probe::Unsure, greeted),
        false => (Probe::NotMine, false),
    }
}

/// Within a session: replies that carry ports, or the words that servers have used since RFC 959.
fn server_within(input: &[u8]) -> (Probe, bool) {
    let (mut whole, mut replies) = (0, 0);
    for text in lines::whole(input).take(LINES_MAX) {
        whole += 1;
        let Some(reply) = Reply::read(text) else {
            continue;
        };
        replies += 1;
        let says = |words: &[u8]| lines::find(reply.text, words).is_some();
        let own = match reply.code {
            220 => names_ftp(reply.text) && !says(b"smtp"),
            227 => says(b"passive mode"),
            229 => says(b"extended passive mode"),
            230 => says(b"logged in") || says(b"login successful"),
            331 => says(b"password") || says(b"guest login"),
            150 | 125 => says(b"data connection"),
            226 => says(b"transfer complete"),
            250 => says(b"cwd command successful") || says(b"directory successfully changed"),
            257 => reply.text.first() == Some(&b'"'),
            _ => false,
        };
        if own {
            return (Probe::Certain, true);
        }
    }
    let front = input.split(|&byte| matches!(byte, b'\r' | b'\n')).next();
    let plausible = replies > 0 || whole == 0;
    match plausible && lines::is_text(front.unwrap_or_default()) {
        true => (Probe::Unsure, false),
        false => (Probe::NotMine, false),
    }
}
