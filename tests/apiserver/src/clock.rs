//! Times and names that nobody chose.

use jiff::{Timestamp, ToSpan};
use ring::rand::{SecureRandom, SystemRandom};

/// Letters that the real server uses for generated names: none that make words.
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Now, as metadata has it.
pub(crate) fn now() -> String {
    in_seconds(0)
}

/// A time from now, as metadata has it.
pub(crate) fn in_seconds(seconds: i64) -> String {
    let time = Timestamp::now()
        .checked_add(seconds.seconds())
        .unwrap_or(Timestamp::MAX);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// How long ago a time of metadata was.
pub(crate) fn seconds_since(time: &str) -> i64 {
    time.parse::<Timestamp>().map_or(0, |time| {
        (Timestamp::now().as_second() - time.as_second()).max(0)
    })
}

/// A time in seconds since 1970.
pub(crate) fn unix_seconds() -> i64 {
    Timestamp::now().as_second()
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the system has random numbers");
    bytes
}

/// A UUID, version 4.
pub(crate) fn uid() -> String {
    let mut bytes = random::<16>();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// What follows a `generateName`.
pub(crate) fn suffix() -> String {
    random::<5>()
        .iter()
        .map(|byte| LETTERS[usize::from(*byte) % LETTERS.len()] as char)
        .collect()
}

/// Whether a time of an object is written as its type asks: what is wrong is said as the real server
/// says it.
pub(crate) fn check(text: &str, micro: bool) -> Result<(), String> {
    let layout = if micro {
        "2006-01-02T15:04:05.000000Z07:00"
    } else {
        "2006-01-02T15:04:05Z07:00"
    };
    let cannot = |rest: &str, part: &str| {
        Err(format!(
            "parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {part:?}"
        ))
    };
    let mut rest = text;
    let numbers = [
        (4, "2006", "-"),
        (2, "01", "-"),
        (2, "02", "T"),
        (2, "15", ":"),
        (2, "04", ":"),
        (2, "05", ""),
    ];
    for (digits, part, sign) in numbers {
        if rest.len() < digits || !rest.as_bytes()[..digits].iter().all(u8::is_ascii_digit) {
            return cannot(rest, part);
        }
        rest = &rest[digits..];
        let Some(after) = rest.strip_prefix(sign) else {
            return cannot(rest, sign);
        };
        rest = after;
    }
    if micro {
        let digits = rest
            .strip_prefix('.')
            .map(|rest| rest.bytes().take_while(u8::is_ascii_digit).count());
        match digits {
            Some(6..) => rest = &rest[7..],
            _ => return cannot(rest, ".000000"),
        }
    } else if let Some(fraction) = rest.strip_prefix('.') {
        rest = fraction.trim_start_matches(|letter: char| letter.is_ascii_digit());
    }
    let offset = rest.len() == 6
        && (rest.starts_with('+') || rest.starts_with('-'))
        && rest.as_bytes()[3] == b':';
    if rest == "Z" || offset {
        Ok(())
    } else {
        cannot(rest, "Z07:00")
    }
}
