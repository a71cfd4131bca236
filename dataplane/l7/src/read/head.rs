//! Messages of a start line, header lines and an empty line, as SIP (RFC 3261, 7) and RTSP
//! (RFC 2326, 4) write them. Memory: none.

use crate::Step;
use crate::read::lines::{self, Line};

/// Header lines that are looked at.
const LINES_MAX: usize = 128;
/// Longer first lines are nobody's.
const LINE_MAX: usize = 1_024;

/// The front of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a> {
    /// The first line.
    pub(crate) start: &'a [u8],
    /// The header lines, each with its end.
    lines: &'a [u8],
    /// Bytes up to the body.
    pub(crate) used: usize,
}

/// What was lost of a direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lost {
    #[default]
    Nothing,
    /// Perhaps the beginning of a line: no first line is looked for before the next.
    Line,
    /// The beginning of a message.
    Message,
}

impl Lost {
    /// Behind a loss of `length` bytes; 0: picked up, most likely where a line begins.
    pub(crate) fn behind(length: u64) -> Self {
        match length {
            0 => Self::Message,
            _ => Self::Line,
        }
    }

    /// Looks for the next message; None: it is here. `is_complete` says whether a head has all
    /// that every message has, since a body may well hold a first line.
    pub(crate) fn seek(
        &mut self,
        input: &[u8],
        mark: &[u8],
        is_complete: fn(&Head<'_>) -> bool,
    ) -> Option<Step> {
        match (*self, lines::first(input)) {
            (Self::Nothing, _) => None,
            (_, Line::Part(part)) if part.len() > LINE_MAX => Some(Step::Consumed(part.len())),
            (_, Line::Part(_)) => Some(Step::Incomplete),
            (Self::Line, Line::Whole(_, used)) => {
                *self = Self::Message;
                Some(Step::Consumed(used))
            }
            (Self::Message, Line::Whole(text, used)) => {
                if Start::read(text, mark).is_none() {
                    return Some(Step::Consumed(used));
                }
                match Head::read(input) {
                    None => Some(Step::Incomplete),
                    Some(head) if !is_complete(&head) => Some(Step::Consumed(used)),
                    Some(_) => {
                        *self = Self::Nothing;
                        None
                    }
                }
            }
        }
    }
}

/// A start line (RFC 3261, 7.1 and 7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start<'a> {
    /// Method and target.
    Request(&'a [u8], &'a [u8]),
    /// Status code and what it is called.
    Response(u16, &'a [u8]),
}

impl<'a> Start<'a> {
    /// Reads a start line of the protocol whose versions begin with `mark` ("SIP/").
    pub(crate) fn read(line: &'a [u8], mark: &[u8]) -> Option<Self> {
        if !lines::is_text(line) {
            return None;
        }
        if let Some(rest) = line.strip_prefix(mark) {
            let (version, rest) = lines::word(rest);
            let (status, phrase) = lines::number(rest)?;
            let plausible = is_version(version) && (100..700).contains(&status);
            let ends = phrase.is_empty() || phrase.first() == Some(&b' ');
            return (plausible && ends).then(|| Self::Response(status as u16, phrase.trim_ascii()));
        }
        let mut words = line.split(|&byte| byte == b' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        let plausible = words.next().is_none()
            && (3..=32).contains(&method.len())
            && is_method(method)
            && !target.is_empty()
            && is_version(version.strip_prefix(mark)?);
        plausible.then_some(Self::Request(method, target))
    }

    /// Whether the beginning of a line may become one.
    pub(crate) fn may_begin(part: &[u8], mark: &[u8]) -> bool {
        let compared = part.len().min(mark.len());
        if part.get(..compared) == mark.get(..compared) {
            return lines::is_text(part.strip_suffix(b"\r").unwrap_or(part));
        }
        let mut words = part.split(|&byte| byte == b' ');
        let method = words.next().unwrap_or_default();
        let target = words.next();
        let version = words.next().unwrap_or_default();
        let compared = version.len().min(mark.len());
        is_method(method)
            && (if target.is_some() { 3 } else { 0 }..=32).contains(&method.len())
            && target.is_none_or(lines::is_text)
            && version.get(..compared) == mark.get(..compared)
            && words.next().is_none()
    }
}

/// Upper case, as all methods are, with marks between.
fn is_method(method: &[u8]) -> bool {
    method.first().is_none_or(u8::is_ascii_uppercase)
        && method
            .iter()
            .all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'_' | b'-'))
}

fn is_version(version: &[u8]) -> bool {
    matches!(version, [b'1' | b'2', b'.', b'0'..=b'9'])
}

impl<'a> Head<'a> {
    /// None: the empty line is not there yet.
    pub(crate) fn read(input: &'a [u8]) -> Option<Self> {
        let Line::Whole(start, first) = lines::first(input) else {
            return None;
        };
        let mut used = first;
        loop {
            let Line::Whole(text, length) = lines::first(input.get(used..)?) else {
                return None;
            };
            let lines = input.get(first..used)?;
            used += length;
            if text.is_empty() {
                return Some(Self { start, lines, used });
            }
        }
    }

    /// All of a datagram, whose empty line may be missing.
    pub(crate) fn of_datagram(input: &'a [u8]) -> Option<Self> {
        Self::read(input).or_else(|| match lines::first(input) {
            Line::Whole(start, first) => Some(Self {
                start,
                lines: input.get(first..)?,
                used: input.len(),
            }),
            Line::Part(_) => None,
        })
    }

    /// The value of the first header of this name (in lower case) or of its compact form.
    pub(crate) fn get(&self, name: &[u8], compact: Option<u8>) -> Option<&'a [u8]> {
        lines::whole(self.lines).take(LINES_MAX).find_map(|text| {
            let colon = text.iter().position(|&byte| byte == b':')?;
            let (front, value) = text.split_at(colon);
            let front = front.trim_ascii_end();
            let is = front.eq_ignore_ascii_case(name)
                || compact.is_some_and(|compact| front.eq_ignore_ascii_case(&[compact]));
            is.then(|| value.get(1..).unwrap_or_default().trim_ascii())
        })
    }

    /// The same, empty where there is none.
    pub(crate) fn text(&self, name: &[u8], compact: Option<u8>) -> &'a [u8] {
        self.get(name, compact).unwrap_or_default()
    }

    /// The body's length, where it is told. Err: it cannot be read.
    pub(crate) fn content_length(&self) -> Result<u64, ()> {
        match self.get(b"content-length", Some(b'l')) {
            None => Ok(0),
            Some(value) => match lines::number(value) {
                Some((length, b"")) => Ok(length),
                _ => Err(()),
            },
        }
    }
}

/// The value of `name=value` or `name="value"` among the parameters of a header.
pub(crate) fn parameter<'a>(value: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    value.split(|byte| b";, ".contains(byte)).find_map(|part| {
        let equals = part.iter().position(|&byte| byte == b'=')?;
        let (front, value) = part.split_at(equals);
        let value = value.get(1..)?;
        let value = value.strip_prefix(b"\"").unwrap_or(value);
        front
            .eq_ignore_ascii_case(name)
            .then(|| value.split(|&byte| byte == b'"').next().unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_lines_are_told_apart() {
        let read = |line| Start::read(line, b"SIP/");
        assert_eq!(
            read(b"INVITE sip:a@b SIP/2.0"),
            Some(Start::Request(b"INVITE", b"sip:a@b"))
        );
        assert_eq!(
            read(b"SIP/2.0 180 Ringing"),
            Some(Start::Response(180, b"Ringing"))
        );
        for other in [
            &b"GET / HTTP/1.1"[..],
            b"INVITE sip:a@b",
            b"invite sip:a@b SIP/2.0",
            b"SIP/2.0 9 x",
            b"SIP/2.0 200OK",
            b"SIP/x 200 OK",
            b"INVITE  SIP/2.0",
            b"INVITE a b SIP/2.0",
        ] {
            assert_eq!(read(other), None, "{}", other.escape_ascii());
        }
        let line = b"INVITE sip:a@b SIP/2.0\r";
        for end in 0..line.len() {
            assert!(Start::may_begin(&line[..end], b"SIP/"));
        }
        for other in [&b"GET / H"[..], b"inv", b"IN\0", b"SIP/\x01"] {
            assert!(
                !Start::may_begin(other, b"SIP/"),
                "{}",
                other.escape_ascii()
            );
        }
    }

    #[test]
    fn headers_are_found() {
        let head = Head::read(b"X\r\nFrom : a\r\nl: 5\r\nA: u=\"b c\";client_port=4-5\r\n\r\nbody")
            .expect("a head");
        assert_eq!(
            (head.start, head.text(b"from", Some(b'f'))),
            (&b"X"[..], &b"a"[..])
        );
        assert_eq!(head.content_length(), Ok(5));
        assert_eq!(
            parameter(head.text(b"a", None), b"client_port"),
            Some(&b"4-5"[..])
        );
        assert!(Head::read(b"X\r\nFrom: a\r\n").is_none());
    }
}
