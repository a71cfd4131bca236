//! Finds the delimiter lines of a multipart body (RFC 2046, section 5.1.1).
//!
//! A delimiter is a whole line: `--boundary`, blanks, and its end; the end of the line before it is part
//! of it. Lines may end without a carriage return, which receivers accept. A line that goes on otherwise is
//! data, and delimiters after the last one count, since there are receivers that read them so. Nothing is kept but how much
//! of a delimiter was seen, since what was seen is known.

use arrayvec::ArrayVec;
use memchr::memchr2;

/// The longest boundary of the standard is 70; some write longer ones.
const BOUNDARY_BYTES: usize = 128;

/// Beyond the length of a delimiter: one dash was seen after it, or blanks.
const DASH: usize = 1;
const BLANK: usize = 2;

/// What stands at the front of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// So much of a part.
    Data(&'a [u8]),
    /// The end of a line, and so many bytes of the delimiter, that turned out to be part of the data.
    Line(Newline, usize),
    /// A delimiter: another part begins.
    Delimiter,
    /// The last delimiter.
    Close,
    /// Nothing yet.
    Nothing,
}

/// How the line before a delimiter ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Newline {
    /// There was none: the delimiter is the first line.
    None,
    /// A carriage return, and no more so far.
    Cr,
    Lf,
    CrLf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Within a line.
    Text,
    /// After a carriage return.
    Cr,
    /// At the start of a line, or after so many bytes of the delimiter.
    Line(Newline, usize),
    /// After the delimiter; one dash may have been seen.
    Suffix(Newline, bool),
    /// Blanks on the line of a delimiter.
    Blanks(Newline),
    /// The input is over.
    Over,
}

#[derive(Clone, Debug)]
pub(super) struct Delimiter {
    /// With its two dashes.
    line: ArrayVec<u8, { BOUNDARY_BYTES + 2 }>,
    place: Place,
}

impl Newline {
    pub(super) fn bytes(self) -> &'static [u8] {
        match self {
            Self::None => b"",
            Self::Cr => b"\r",
            Self::Lf => b"\n",
            Self::CrLf => b"\r\n",
        }
    }
}

impl Delimiter {
    /// None for a boundary that is empty or too long.
    pub(super) fn new(boundary: &[u8]) -> Option<Self> {
        if boundary.is_empty() || boundary.len() > BOUNDARY_BYTES {
            return None;
        }
        let line = b"--".iter().chain(boundary).copied().collect();
        let place = Place::Line(Newline::None, 0);
        Some(Self { line, place })
    }

    /// So many bytes of the delimiter.
    pub(super) fn seen(&self, length: usize) -> ArrayVec<u8, { BOUNDARY_BYTES + 3 }> {
        // What followed the delimiter and made it none: a dash, or blanks, of which one is given.
        let after = match length.checked_sub(self.line.len()) {
            Some(DASH) => Some(b'-'),
            Some(BLANK) => Some(b' '),
            _ => None,
        };
        self.line
            .iter()
            .take(length)
            .copied()
            .chain(after)
            .collect()
    }

    /// What `input` begins with, and how much of it that takes. Call again with the rest until it is
    /// empty; what is found may take nothing.
    pub(super) fn next<'a>(&mut self, input: &'a [u8]) -> (Found<'a>, usize) {
        let Some(first) = input.first() else {
            return (Found::Nothing, 0);
        };
        match self.place {
            Place::Text => {
                let end = memchr2(b'\r', b'\n', input);
                let (text, after) = input.split_at(end.unwrap_or(input.len()));
                self.place = match after.first() {
                    None => Place::Text,
                    Some(b'\r') => Place::Cr,
                    Some(_) => Place::Line(Newline::Lf, 0),
                };
                (
                    Found::Data(text),
                    text.len() + usize::from(!after.is_empty()),
                )
            }
            Place::Cr if *first == b'\n' => {
                self.place = Place::Line(Newline::CrLf, 0);
                (Found::Nothing, 1)
            }
            Place::Cr => {
                self.place = Place::Text;
                (Found::Line(Newline::Cr, 0), 0)
            }
            Place::Line(newline, seen) => self.line(newline, seen, *first),
            Place::Suffix(newline, dash) => self.suffix(newline, dash, *first),
            Place::Blanks(newline) => match *first {
                b'\n' => {
                    self.place = Place::Line(Newline::None, 0);
                    (Found::Delimiter, 1)
                }
                b' ' | b'\t' | b'\r' => (Found::Nothing, 1),
                _ => {
                    self.place = Place::Text;
                    (Found::Line(newline, self.line.len() + BLANK), 0)
                }
            },
            Place::Over => (Found::Nothing, input.len()),
        }
    }

    fn line<'a>(&mut self, newline: Newline, seen: usize, byte: u8) -> (Found<'a>, usize) {
        if self.line.get(seen) != Some(&byte) {
            self.place = Place::Text;
            return (Found::Line(newline, seen), 0);
        }
        let seen = seen + 1;
        self.place = match seen == self.line.len() {
            true => Place::Suffix(newline, false),
            false => Place::Line(newline, seen),
        };
        (Found::Nothing, 1)
    }

    fn suffix<'a>(&mut self, newline: Newline, dash: bool, byte: u8) -> (Found<'a>, usize) {
        match (dash, byte) {
            (false, b'-') => {
                self.place = Place::Suffix(newline, true);
                (Found::Nothing, 1)
            }
            (true, b'-') => {
                self.place = Place::Text;
                (Found::Close, 1)
            }
            (false, b' ' | b'\t' | b'\r' | b'\n') => {
                self.place = Place::Blanks(newline);
                (Found::Nothing, 0)
            }
            _ => {
                self.place = Place::Text;
                let dash = if dash { DASH } else { 0 };
                (Found::Line(newline, self.line.len() + dash), 0)
            }
        }
    }

    /// The input is over: what was taken for the beginning of a delimiter.
    pub(super) fn end(&mut self) -> Found<'static> {
        match std::mem::replace(&mut self.place, Place::Over) {
            Place::Cr => Found::Line(Newline::Cr, 0),
            Place::Line(newline, seen) => Found::Line(newline, seen),
            // Without the end of its line it is taken for one still.
            Place::Suffix(_, false) | Place::Blanks(_) => Found::Delimiter,
            Place::Suffix(newline, true) => Found::Line(newline, self.line.len() + DASH),
            Place::Text | Place::Over => Found::Nothing,
        }
    }
}
