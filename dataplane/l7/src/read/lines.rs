//! Reading the line protocols: lines, numbered replies, bodies that end with a lone dot, products
//! named in a greeting. Memory: none but what its callers keep.

use arrayvec::ArrayVec;

use crate::Step;

/// The front of some input, up to its first line feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// The line without its end, and its bytes with it.
    Whole(&'a [u8], usize),
    /// No end yet: what there is.
    Part(&'a [u8]),
}

/// The first line.
pub(crate) fn first(input: &[u8]) -> Line<'_> {
    let Some(end) = memchr::memchr(b'\n', input) else {
        return Line::Part(input);
    };
    let line = input.get(..end).unwrap_or_default();
    Line::Whole(line.strip_suffix(b"\r").unwrap_or(line), end + 1)
}

/// The first line, of which `max` bytes are looked at: a part as long as that is too long.
pub(crate) fn within(input: &[u8], max: usize) -> Line<'_> {
    first(input.get(..max).unwrap_or(input))
}

/// The whole lines of some input, without their ends.
pub(crate) fn whole(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = input;
    std::iter::from_fn(move || match first(rest) {
        Line::Whole(line, used) => {
            rest = rest.get(used..).unwrap_or_default();
            Some(line)
        }
        Line::Part(_) => None,
    })
}

/// The word in front, and what follows the spaces behind it.
pub(crate) fn word(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line.iter().position(|&byte| byte == b' ');
    let (word, rest) = line.split_at(end.unwrap_or(line.len()));
    (word, rest.trim_ascii_start())
}

/// No control character but the tab: what people and programs type.
pub(crate) fn is_text(line: &[u8]) -> bool {
    line.iter()
        .all(|&byte| byte >= b' ' && byte != 0x7f || byte == b'\t')
}

/// The same of any number of lines.
pub(crate) fn are_text(lines: &[u8]) -> bool {
    lines
        .iter()
        .all(|&byte| byte >= b' ' && byte != 0x7f || matches!(byte, b'\t' | b'\r' | b'\n'))
}

/// A word in upper case, as far as it fits.
pub(crate) fn upper<const N: usize>(word: &[u8]) -> ArrayVec<u8, N> {
    word.iter().take(N).map(u8::to_ascii_uppercase).collect()
}

/// Copies what fits whole, else nothing: half a name could be somebody else's.
pub(crate) fn keep<const N: usize>(place: &mut ArrayVec<u8, N>, bytes: &[u8]) {
    place.clear();
    if bytes.len() <= N {
        place.extend(bytes.iter().copied());
    }
}

/// Where `needle` (in lower case) occurs, whatever its case.
pub(crate) fn find(line: &[u8], needle: &[u8]) -> Option<usize> {
    line.windows(needle.len().max(1))
        .position(|window| window.eq_ignore_ascii_case(needle))
}

/// Whether a word, or the beginning of one, is one of the list (in upper case).
pub(crate) fn is_one_of(list: &[&[u8]], word: &[u8], ended: bool) -> bool {
    list.iter().any(|known| {
        known
            .get(..word.len())
            .is_some_and(|front| front.eq_ignore_ascii_case(word))
            && (!ended || known.len() == word.len())
    })
}

/// Whether a line that has no end yet may become one that begins with a word of the list.
pub(crate) fn may_become(list: &[&[u8]], part: &[u8]) -> bool {
    let (word, _) = word(part);
    match (word, word.len() < part.len()) {
        (b"", _) => part.is_empty(),
        (_, true) => is_one_of(list, word, true),
        ([whole @ .., b'\r'], _) => is_one_of(list, whole, true),
        _ => is_one_of(list, word, false),
    }
}

/// The number in decimal digits, and what follows them.
pub(crate) fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit());
    let (digits, rest) = text.split_at(end.unwrap_or(text.len()));
    let value = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((value, rest))
}

/// The words of a line, parted by blanks and tabs.
pub(crate) fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    text.split(|&byte| matches!(byte, b' ' | b'\t'))
        .filter(|word| !word.is_empty())
}

/// A decimal number below 10^18.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        digits
            .iter()
            .fold(0, |value, digit| value * 10 + u64::from(digit - b'0')),
    )
}

/// A line of a reply with a number (RFC 959, 4.2; RFC 5321, 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reply<'a> {
    /// Three digits, 100 to 599.
    pub(crate) code: u16,
    /// More lines of this reply follow.
    pub(crate) more: bool,
    /// What stands behind them.
    pub(crate) text: &'a [u8],
}

impl<'a> Reply<'a> {
    /// None: this line begins with no code.
    pub(crate) fn read(line: &'a [u8]) -> Option<Self> {
        let (&[a @ b'1'..=b'6', b @ b'0'..=b'9', c @ b'0'..=b'9'], rest) =
            line.split_first_chunk::<3>()?
        else {
            return None;
        };
        let code = [a, b, c]
            .iter()
            .fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
        let (more, text) = match rest {
            [] => (false, rest),
            [b' ', text @ ..] => (false, text),
            [b'-', text @ ..] => (true, text),
            _ => return None,
        };
        Some(Self { code, more, text })
    }

    /// Whether `front` may be the beginning of such a line.
    pub(crate) fn may_begin(front: &[u8]) -> bool {
        front.iter().zip(0..4).all(|(&byte, place)| match place {
            0 => (b'1'..=b'6').contains(&byte),
            1 | 2 => byte.is_ascii_digit(),
            _ => matches!(byte, b' ' | b'-' | b'\r' | b'\n'),
        })
    }
}

/// Finds the end of a body that a lone dot on a line ends (RFC 5321, 4.1.1.4; RFC 1939, 3),
/// wherever the stream is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LoneDot {
    /// At the start of a line.
    #[default]
    Start,
    /// Behind a dot at the start of a line.
    Dot,
    /// Behind a dot and a carriage return.
    DotReturn,
    /// Within a line.
    Within,
    /// Behind a carriage return within a line.
    Return,
}

impl LoneDot {
    /// How many bytes belong to the body and its end; None: all, and it goes on. With `bare`, a
    /// line feed alone ends a line. `each` is handed the body, without the dots that mark it as no
    /// end.
    pub(crate) fn hand_on(
        &mut self,
        input: &[u8],
        bare: bool,
        each: &mut dyn FnMut(&[u8]),
    ) -> Option<usize> {
        let mut at = 0;
        // What was not handed on yet.
        let mut from = 0;
        while let Some(&byte) = input.get(at) {
            let before = *self;
            *self = match (before, byte) {
                (Self::DotReturn, b'\n') => return Some(at + 1),
                (Self::Dot, b'\n') if bare => return Some(at + 1),
                (Self::Start, b'.') => Self::Dot,
                (Self::Dot, b'\r') => Self::DotReturn,
                (Self::Return, b'\n') => Self::Start,
                (_, b'\n') if bare => Self::Start,
                (_, b'\r') => Self::Return,
                _ => {
                    // Most of a body is within lines: on to the next end.
                    let rest = input.get(at + 1..).unwrap_or_default();
                    at += memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                    Self::Within
                }
            };
            if before == Self::DotReturn {
                each(b"\r");
            }
            at += 1;
            if matches!(*self, Self::Dot | Self::DotReturn) {
                let whole = input.get(from..at - 1).unwrap_or_default();
                if !whole.is_empty() {
                    each(whole);
                }
                from = at;
            }
        }
        let rest = input.get(from..).unwrap_or_default();
        if !rest.is_empty() {
            each(rest);
        }
        None
    }
}

/// The product that a greeting names, and its version where that follows; both may be empty.
pub(crate) fn product<'a>(greeting: &'a [u8], known: &[&'static str]) -> (&'static str, &'a [u8]) {
    let found = known.iter().find_map(|&name| {
        let at = find(greeting, name.as_bytes())?;
        Some((name, at + name.len()))
    });
    let Some((name, at)) = found else {
        return ("", &[]);
    };
    let rest = greeting.get(at..).unwrap_or_default();
    // What stands in brackets is a timestamp or an address.
    let rest = rest.split(|&byte| byte == b'<' || byte == b'[').next();
    let mut words = rest
        .unwrap_or_default()
        .split(|byte| !byte.is_ascii_alphanumeric() && !b".+-_".contains(byte))
        .filter(|word| !word.is_empty())
        .map(|word| match word {
            [b'v' | b'V' | b'-', rest @ ..] => rest,
            _ => word,
        })
        .take(3);
    let version = words.find(|word| word.first().is_some_and(u8::is_ascii_digit));
    (name, version.unwrap_or_default())
}

/// The command line at the front and how much it takes; else what to answer: `refused` where it is
/// no text, as soon as that is seen.
pub(crate) fn command(input: &[u8], refused: Step) -> Result<(&[u8], usize), Step> {
    match first(input) {
        Line::Whole(text, used) if is_text(text) => Ok((text, used)),
        Line::Whole(..) => Err(refused),
        _ => match input.first() {
            Some(&byte) if byte != b'\r' && !is_text(&[byte]) => Err(refused),
            _ => Err(Step::Incomplete),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_dot_is_found_wherever_the_stream_is_cut() {
        for (body, bare, end) in [
            (&b".\r\nQUIT"[..], false, Some(3)),
            (b"a\r\n.\r\nQUIT", false, Some(6)),
            (b"a\r\n..\r\n.b\r\n.\r\n", false, Some(14)),
            (b"a\n.\nQUIT", false, None),
            (b"a\n.\nQUIT", true, Some(4)),
            (b"a\r.\r\n", false, None),
            (b"a\r\r\n.\r\n", false, Some(7)),
            (b"a.\r\n", false, None),
        ] {
            for cut in 0..=body.len() {
                let (front, back) = body.split_at(cut);
                let mut dot = LoneDot::default();
                let found = dot
                    .hand_on(front, bare, &mut |_| {})
                    .or_else(|| dot.hand_on(back, bare, &mut |_| {}).map(|at| at + cut));
                assert_eq!(found, end, "{} cut at {cut}", body.escape_ascii());
            }
        }
    }

    #[test]
    fn a_body_is_handed_on_without_its_marks() {
        for (body, meant) in [
            (&b"a\r\n..b\r\n.c\r\n.\r\n"[..], &b"a\r\n.b\r\nc\r\n"[..]),
            (b".\r\nQUIT", b""),
            (b"a\r\n.\rb\r\n.\r\n", b"a\r\n\rb\r\n"),
            (b".\r\r\n.\r\n", b"\r\r\n"),
        ] {
            for cut in 0..=body.len() {
                let (front, back) = body.split_at(cut);
                let (mut dot, mut told) = (LoneDot::default(), Vec::new());
                let mut each = |piece: &[u8]| told.extend_from_slice(piece);
                if dot.hand_on(front, false, &mut each).is_none() {
                    dot.hand_on(back, false, &mut each);
                }
                assert_eq!(told, meant, "{} cut at {cut}", body.escape_ascii());
            }
        }
    }

    #[test]
    fn replies_have_a_code() {
        let reply = Reply::read(b"250-PIPELINING").expect("a reply");
        assert_eq!(
            (reply.code, reply.more, reply.text),
            (250, true, &b"PIPELINING"[..])
        );
        assert_eq!(Reply::read(b"226").map(|reply| reply.code), Some(226));
        for other in [&b"25"[..], b"2500 a", b"abc d", b" 250 a", b"999 a"] {
            assert_eq!(Reply::read(other), None);
        }
        assert!(Reply::may_begin(b"") && Reply::may_begin(b"22") && Reply::may_begin(b"220-a"));
        assert!(!Reply::may_begin(b"2a") && !Reply::may_begin(b"220a"));
    }

    #[test]
    fn products_are_read_from_greetings() {
        for (greeting, product, version) in [
            (&b"(vsFTPd 3.0.3)"[..], "vsFTPd", &b"3.0.3"[..]),
            (b"ProFTPD 1.3.5e Server (x)", "ProFTPD", b"1.3.5e"),
            (b"mx ESMTP Exim 4.96 Tue", "Exim", b"4.96"),
            (b"mx ESMTP Postfix (Debian/GNU)", "Postfix", b""),
        ] {
            let known = ["vsFTPd", "ProFTPD", "Exim", "Postfix"];
            assert_eq!(super::product(greeting, &known), (product, version));
        }
    }

    #[test]
    fn lines_end_with_a_line_feed() {
        assert_eq!(within(b"a b\r\nc", 8), Line::Whole(b"a b", 5));
        assert_eq!(within(b"a\n", 8), Line::Whole(b"a", 2));
        assert_eq!(within(b"a\r", 8), Line::Part(b"a\r"));
        assert_eq!(within(b"aaaaaaaa\n", 8), Line::Part(b"aaaaaaaa"));
        assert_eq!(within(b"aaaaaaa\n", 8), Line::Whole(b"aaaaaaa", 8));
    }

    #[test]
    fn numbers_are_bounded() {
        assert_eq!(decimal(b"0123"), Some(123));
        for wrong in [&b""[..], b"-1", b"1a", b"1234567890123456789"] {
            assert_eq!(decimal(wrong), None);
        }
    }
}
