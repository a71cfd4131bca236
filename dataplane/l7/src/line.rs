//! Lines of text protocols.

/// The front of a stream as a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// Its text without the line end, and the bytes it took.
    Whole { text: &'a [u8], used: usize },
    /// Its end is not here yet.
    Partial,
    /// Longer than is read.
    Long,
}

/// The line at the front of `input`, which ends with a line feed, before it perhaps a carriage
/// return; `max` bytes of it are looked at.
pub(crate) fn line(input: &[u8], max: usize) -> Line<'_> {
    let front = input.get(..max).unwrap_or(input);
    match memchr::memchr(b'\n', front) {
        Some(end) => {
            let text = front.get(..end).unwrap_or_default();
            Line::Whole {
                text: text.strip_suffix(b"\r").unwrap_or(text),
                used: end + 1,
            }
        }
        None if input.len() < max => Line::Partial,
        None => Line::Long,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_a_line_feed() {
        let whole = |text: &'static [u8], used| Line::Whole { text, used };
        assert_eq!(line(b"a b\r\nc", 8), whole(b"a b", 5));
        assert_eq!(line(b"a\n", 8), whole(b"a", 2));
        assert_eq!(line(b"a\r", 8), Line::Partial);
        assert_eq!(line(b"aaaaaaaa\n", 8), Line::Long);
        assert_eq!(line(b"aaaaaaa\n", 8), whole(b"aaaaaaa", 8));
    }

    #[test]
    fn numbers_are_bounded() {
        assert_eq!(decimal(b"0123"), Some(123));
        for wrong in [&b""[..], b"-1", b"1a", b"1234567890123456789"] {
            assert_eq!(decimal(wrong), None);
        }
    }
}
