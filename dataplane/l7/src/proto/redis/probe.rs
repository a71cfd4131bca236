//! Whether the first bytes of a connection are Redis.

use super::{Length, length};
use crate::{Probe, ProbeInput};

/// Longer first lines are nobody's who types commands.
const PROBED_LINE_MAX: usize = 256;

/// Judges the first bytes of both sides.
pub(super) fn probe(input: &ProbeInput<'_>) -> Probe {
    // Picked up, the server's bytes may begin within a reply.
    let reply = if input.from_start {
        probe_reply(input.to_client)
    } else {
        Probe::Unsure
    };
    match (probe_command(input.to_server), reply) {
        (_, Probe::NotMine) => Probe::NotMine,
        (Inquiry::Array, _) => Probe::Certain,
        // Words that other line protocols know too: the reply tells.
        (Inquiry::Inline, Probe::Certain) => Probe::Certain,
        (Inquiry::Inline | Inquiry::Partial, _) => Probe::Unsure,
        (Inquiry::Other, _) => Probe::NotMine,
    }
}

/// What the client's first bytes are.
enum Inquiry {
    Array,
    Inline,
    Partial,
    Other,
}

fn probe_command(input: &[u8]) -> Inquiry {
    match input.first() {
        None => return Inquiry::Partial,
        Some(b'*') => return probe_array(input),
        Some(_) => {}
    }
    let end = input.iter().position(|&byte| byte == b'\n');
    let line = input.get(..end.unwrap_or(input.len())).unwrap_or_default();
    let text = |&byte: &u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\r');
    if line.len() >= PROBED_LINE_MAX || !line.iter().all(text) {
        return Inquiry::Other;
    }
    let word = line
        .split(|byte| byte.is_ascii_whitespace())
        .next()
        .unwrap_or_default();
    let ended = end.is_some() || word.len() < line.len();
    let known = INLINE_WORDS
        .iter()
        .any(|known| match known.get(..word.len()) {
            Some(front) => {
                word.eq_ignore_ascii_case(front) && (!ended || known.len() == word.len())
            }
            None => false,
        });
    match end {
        _ if !known => Inquiry::Other,
        Some(_) => Inquiry::Inline,
        None => Inquiry::Partial,
    }
}

fn probe_array(input: &[u8]) -> Inquiry {
    let at = match length(input, b'*') {
        Length::Read {
            number: 1..=1_048_576,
            used,
        } => used,
        Length::Partial => return Inquiry::Partial,
        _ => return Inquiry::Other,
    };
    let rest = input.get(at..).unwrap_or_default();
    let (size, used) = match length(rest, b'$') {
        Length::Read {
            number: number @ 1..=32,
            used,
        } => (number.unsigned_abs() as usize, used),
        Length::Partial => return Inquiry::Partial,
        _ => return Inquiry::Other,
    };
    let rest = rest.get(used..).unwrap_or_default();
    let word = rest.get(..size).unwrap_or(rest);
    // Modules name theirs "JSON.GET".
    let plausible = word
        .iter()
        .all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    match rest.get(size..).unwrap_or_default() {
        _ if !plausible || !word.first().is_none_or(u8::is_ascii_alphabetic) => Inquiry::Other,
        [b'\r', b'\n', ..] => Inquiry::Array,
        [] | [b'\r'] => Inquiry::Partial,
        _ => Inquiry::Other,
    }
}

const INLINE_WORDS: &[&[u8]] = &[
    b"PING",
    b"AUTH",
    b"HELLO",
    b"INFO",
    b"SET",
    b"GET",
    b"DEL",
    b"SELECT",
    b"CONFIG",
    b"KEYS",
    b"COMMAND",
    b"CLIENT",
    b"EXISTS",
    b"EXPIRE",
    b"INCR",
    b"FLUSHALL",
    b"FLUSHDB",
    b"SLAVEOF",
    b"REPLICAOF",
    b"DBSIZE",
    b"SAVE",
    b"BGSAVE",
    b"ECHO",
    b"MONITOR",
    b"EVAL",
    b"MODULE",
    b"SCAN",
    b"TYPE",
    b"TTL",
    b"PUBLISH",
    b"SUBSCRIBE",
    b"PSUBSCRIBE",
    b"LPUSH",
    b"RPUSH",
    b"LRANGE",
    b"HSET",
    b"HGET",
    b"HGETALL",
    b"SADD",
    b"ZADD",
    b"XADD",
    b"MULTI",
    b"MGET",
    b"MSET",
    b"SETEX",
    b"DECR",
    b"UNLINK",
    b"ROLE",
    b"CLUSTER",
    b"REPLCONF",
    b"PSYNC",
    b"SYNC",
    b"SCRIPT",
    b"EVALSHA",
    b"FCALL",
    b"ACL",
    b"SLOWLOG",
    b"SHUTDOWN",
    b"DEBUG",
];

fn probe_reply(input: &[u8]) -> Probe {
    let Some((&first, rest)) = input.split_first() else {
        return Probe::Unsure;
    };
    let whole = rest.iter().take(64).any(|&byte| byte == b'\n');
    match first {
        b'+' | b'-' => {
            let line = rest.split(|&byte| byte == b'\r').next().unwrap_or_default();
            let text = line
                .iter()
                .all(|&byte| byte == b' ' || byte.is_ascii_graphic() || byte >= 0x80);
            // POP3 and others answer "+OK …" and "-ERR …" too: the first word must be Redis's own.
            let own = [
                &b"+PONG\r\n"[..],
                b"+OK\r\n",
                b"-NOAUTH ",
                b"-ERR unknown command",
                b"-WRONGPASS ",
                b"-DENIED ",
            ];
            match own.iter().any(|own| input.starts_with(own)) {
                true => Probe::Certain,
                false if text => Probe::Unsure,
                false => Probe::NotMine,
            }
        }
        b':' | b'$' | b'*' | b'%' | b'~' | b'>' | b'=' | b'!' | b'|' => {
            match length(input, first) {
                Length::Read { .. } => Probe::Certain,
                Length::Partial => Probe::Unsure,
                Length::Bad => Probe::NotMine,
            }
        }
        b'_' | b'#' | b',' | b'(' if whole || rest.len() < 64 => Probe::Unsure,
        _ => Probe::NotMine,
    }
}
