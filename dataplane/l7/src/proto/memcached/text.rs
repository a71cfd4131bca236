//! The text protocol and its meta commands (`protocol.txt`).

use super::KEY_MAX;

/// Longest line that is read; only multigets are longer.
pub(super) const LINE_MAX: usize = 2_048;

/// What the front of a stream looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    Certain,
    /// Others may say the same.
    Plausible,
    Partial,
    Foreign,
}

/// What a line of the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Sight(Sight),
    /// A value of this many bytes follows, and a line end.
    Value {
        size: u64,
    },
}

/// What follows a command's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Key, flags, expiry, size; a data block.
    Store,
    /// The same and a unique number.
    Cas,
    /// Keys.
    Keys,
    /// Expiry, keys.
    Gat,
    /// Key, perhaps more.
    Key,
    /// Key and a number.
    KeyNumber,
    /// Key, size, flags; a data block.
    MetaSet,
    /// Words of its own.
    Other,
    /// Nothing that reads or changes data.
    Session,
}

pub(super) const COMMANDS: &[(&str, Form)] = &[
    ("add", Form::Store),
    ("append", Form::Store),
    ("cache_memlimit", Form::Other),
    ("cas", Form::Cas),
    ("decr", Form::KeyNumber),
    ("delete", Form::Key),
    ("flush_all", Form::Other),
    ("gat", Form::Gat),
    ("gats", Form::Gat),
    ("get", Form::Keys),
    ("gets", Form::Keys),
    ("incr", Form::KeyNumber),
    ("lru", Form::Other),
    ("lru_crawler", Form::Other),
    ("ma", Form::Key),
    ("md", Form::Key),
    ("me", Form::Key),
    ("mg", Form::Key),
    ("mn", Form::Session),
    ("ms", Form::MetaSet),
    ("prepend", Form::Store),
    ("quit", Form::Session),
    ("replace", Form::Store),
    ("set", Form::Store),
    ("shutdown", Form::Other),
    ("slabs", Form::Other),
    ("stats", Form::Other),
    ("touch", Form::KeyNumber),
    ("verbosity", Form::Other),
    ("version", Form::Session),
    ("watch", Form::Other),
];

/// A line of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) command: &'static str,
    pub(super) form: Form,
    /// What stands behind the command.
    pub(super) rest: &'a [u8],
    /// Bytes of the data block, its line end not counted.
    pub(super) data: Option<u64>,
}

/// Words of a line.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b' ')
        .filter(|word| !word.is_empty())
}

/// Reads a line without its end; none: no command of memcached's, or not as it must be.
pub(super) fn line(line: &[u8]) -> Option<Line<'_>> {
    let mut words = words(line);
    let word = words.next()?;
    let &(command, form) = COMMANDS.iter().find(|(name, _)| name.as_bytes() == word)?;
    let start = line.iter().position(|&byte| byte != b' ')? + word.len();
    let rest = line.get(start..)?;
    let first = words.next();
    let key = |word: Option<&[u8]>| word.is_some_and(|word| word.len() <= KEY_MAX);
    let mut data = None;
    let fits = match form {
        Form::Store | Form::Cas => {
            let numbers = number(words.next()?).is_some() && signed(words.next()?);
            data = Some(number(words.next()?)?);
            let unique = form == Form::Store || number(words.next()?).is_some();
            key(first) && numbers && unique && matches!(words.next(), None | Some(b"noreply"))
        }
        Form::Keys => key(first),
        Form::Gat => signed(first?) && key(words.next()),
        Form::Key => key(first),
        Form::KeyNumber => key(first) && signed(words.next()?),
        Form::MetaSet => {
            data = Some(number(words.next()?)?);
            key(first)
        }
        Form::Session => first.is_none(),
        Form::Other => first.is_none_or(|word| word.iter().all(u8::is_ascii_graphic)),
    };
    fits.then_some(Line {
        command,
        form,
        rest,
        data,
    })
}

/// Judges the client's first line.
pub(super) fn ask(input: &[u8]) -> Sight {
    let front = input.get(..LINE_MAX).unwrap_or(input);
    let end = memchr::memchr(b'\n', front);
    let text = front.get(..end.unwrap_or(front.len())).unwrap_or_default();
    let ended = text.strip_suffix(b"\r");
    let body = ended.unwrap_or(text);
    if !body.iter().all(|&byte| byte >= b' ' && byte != 0x7f) {
        return Sight::Foreign;
    }
    if end.is_none() {
        let word = body.split(|&byte| byte == b' ').next().unwrap_or_default();
        let more = word.len() < body.len();
        let known = COMMANDS.iter().any(|(name, _)| match more {
            true => name.as_bytes() == word,
            false => name.as_bytes().starts_with(word),
        });
        return if known && front.len() < LINE_MAX {
            Sight::Partial
        } else {
            Sight::Foreign
        };
    }
    match line(body) {
        // Four numbers in their places, and a strict line end.
        Some(line) if matches!(line.form, Form::Store | Form::Cas) && ended.is_some() => {
            Sight::Certain
        }
        Some(_) => Sight::Plausible,
        None => Sight::Foreign,
    }
}

/// Whole lines of the server.
const STATUSES: &[(&[u8], Sight)] = &[
    (b"STORED", Sight::Certain),
    (b"NOT_STORED", Sight::Certain),
    (b"NOT_FOUND", Sight::Plausible),
    (b"EXISTS", Sight::Plausible),
    (b"DELETED", Sight::Plausible),
    (b"TOUCHED", Sight::Plausible),
    (b"OK", Sight::Plausible),
    (b"END", Sight::Plausible),
    (b"RESET", Sight::Plausible),
    (b"ERROR", Sight::Plausible),
    (b"EN", Sight::Plausible),
    (b"MN", Sight::Plausible),
];

/// Lines that go on behind a blank.
const HEADS: &[&[u8]] = &[
    b"CLIENT_ERROR",
    b"SERVER_ERROR",
    b"STAT",
    b"VERSION",
    b"HD",
    b"NS",
    b"EX",
    b"NF",
    b"ME",
    b"VA",
    b"VALUE",
];

/// Judges a line of the server at the front of some input.
pub(super) fn reply(input: &[u8]) -> Reply {
    let front = input.get(..LINE_MAX).unwrap_or(input);
    let Some(end) = memchr::memchr(b'\n', front) else {
        let text = front.strip_suffix(b"\r").unwrap_or(front);
        let word = text.split(|&byte| byte == b' ').next().unwrap_or_default();
        let more = word.len() < text.len();
        let heads = HEADS.iter().copied();
        let known = heads.clone().any(|head| match more {
            true => head == word,
            false => head.starts_with(word),
        }) || (!more && STATUSES.iter().any(|(status, _)| status.starts_with(word)))
            || (!more && word.len() <= 20 && word.iter().all(u8::is_ascii_digit));
        let partial = known && front.len() < LINE_MAX;
        return Reply::Sight(if partial {
            Sight::Partial
        } else {
            Sight::Foreign
        });
    };
    let text = front.get(..end).unwrap_or_default();
    let Some(text) = text.strip_suffix(b"\r") else {
        return Reply::Sight(Sight::Foreign);
    };
    Reply::Sight(match STATUSES.iter().find(|(status, _)| *status == text) {
        Some((_, sight)) => *sight,
        None if number(text).is_some() => Sight::Plausible,
        None => {
            let mut words = words(text);
            let head = words.next().unwrap_or_default();
            match head {
                b"VALUE" | b"VA" => match size(head, words) {
                    Some(size) => return Reply::Value { size },
                    None => Sight::Foreign,
                },
                _ if HEADS.contains(&head) => Sight::Plausible,
                _ => Sight::Foreign,
            }
        }
    })
}

/// VALUE key flags size [unique], or VA size flags….
fn size<'a>(head: &[u8], mut words: impl Iterator<Item = &'a [u8]>) -> Option<u64> {
    if head == b"VA" {
        return number(words.next()?);
    }
    if words.next()?.len() > KEY_MAX {
        return None;
    }
    number(words.next()?)?;
    let size = number(words.next()?)?;
    match words.next() {
        None => Some(size),
        Some(unique) if number(unique).is_some() && words.next().is_none() => Some(size),
        Some(_) => None,
    }
}

/// A number as the server takes it.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 20 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Whether it is a number, perhaps below zero.
fn signed(digits: &[u8]) -> bool {
    number(digits.strip_prefix(b"-").unwrap_or(digits)).is_some()
}
