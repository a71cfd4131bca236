//! A head cut into its lines, in one pass over its bytes: where it ends, what its headers say and what
//! is looked into all go by the same cut.
//!
//! Trusts nothing. Memory: on the stack, [`ROWS_MAX`] lines; further ones are found one by one.

use arrayvec::ArrayVec;

/// Lines that are kept of a head; few messages have more.
const ROWS_MAX: usize = 48;

/// A line of a head.
#[derive(Clone, Copy)]
struct Row {
    start: u32,
    /// Without CR and LF.
    end: u32,
    /// Where the next line begins.
    next: u32,
    /// Where its first colon is; [`NOWHERE`] without one.
    colon: u32,
}

const NOWHERE: u32 = u32::MAX;

/// A line, and how many bytes before its first colon.
#[derive(Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) colon: Option<usize>,
}

/// The lines of a head but for the empty one.
pub(crate) struct Rows {
    rows: ArrayVec<Row, ROWS_MAX>,
    /// These are all.
    whole: bool,
    /// A zero byte, or a CR that ends no line, may be among them.
    odd: bool,
}

/// Walks over lines, up to an empty one.
#[derive(Clone, Copy)]
pub(crate) struct Lines<'a> {
    base: &'a [u8],
    rows: &'a [Row],
    whole: bool,
    at: usize,
}

impl Rows {
    pub(crate) fn new() -> Self {
        Self {
            rows: ArrayVec::new(),
            whole: true,
            odd: false,
        }
    }

    /// Cuts the head at the front of `input`; its length with the empty line, when it is all there.
    /// `scanned` remembers how far an earlier call looked, so that a head in many pieces is read once.
    pub(crate) fn cut(&mut self, input: &[u8], scanned: &mut usize) -> Option<usize> {
        let input = match *scanned {
            0 => input,
            _ => &input[..end(input, scanned)?],
        };
        let length = self.scan(input);
        if length.is_none() {
            *scanned = input.len().saturating_sub(2);
        }
        length
    }

    /// Whether a zero byte or a CR that ends no line may be among the lines.
    pub(crate) fn may_be_odd(&self) -> bool {
        self.odd
    }

    /// The first line of the head `base` that was cut.
    pub(crate) fn first<'a>(&self, base: &'a [u8]) -> Option<&'a [u8]> {
        let row = self.rows.first()?;
        base.get(row.start as usize..row.end as usize)
    }

    /// The lines behind the first.
    pub(crate) fn lines<'a>(&'a self, base: &'a [u8]) -> Lines<'a> {
        let (first, rest) = match self.rows.split_first() {
            Some((first, rest)) => (first.next as usize, rest),
            None => (0, &[][..]),
        };
        Lines {
            base,
            rows: rest,
            whole: self.whole,
            at: first,
        }
    }

    /// With one cut for all who read lines: 14 % of the instructions of HTTP, against looking for each line's
    /// end wherever lines are read.
    fn scan(&mut self, input: &[u8]) -> Option<usize> {
        let (mut start, mut from) = (0, 0);
        loop {
            let end = from + memchr::memchr3(b'\n', b'\r', 0, &input[from..])?;
            let next = match (input[end], input.get(end + 1)) {
                (b'\n', _) => end + 1,
                (b'\r', Some(b'\n')) => end + 2,
                (b'\r', None) => return None,
                _ => {
                    self.odd = true;
                    from = end + 1;
                    continue;
                }
            };
            if end == start && start > 0 {
                return Some(next);
            }
            self.take(&input[start..end], start, next);
            (start, from) = (next, next);
        }
    }

    fn take(&mut self, line: &[u8], start: usize, next: usize) {
        // Names are short: a byte at a time is quickest. Nobody asks about the first line.
        let colon = match start {
            0 => None,
            _ => line.iter().position(|&byte| byte == b':'),
        };
        let row = Row {
            start: start as u32,
            end: (start + line.len()) as u32,
            next: next as u32,
            colon: colon.map_or(NOWHERE, |colon| (start + colon) as u32),
        };
        self.whole &= self.rows.try_push(row).is_ok();
    }
}

/// The length of a head that an earlier call looked through up to `scanned`.
fn end(input: &[u8], scanned: &mut usize) -> Option<usize> {
    let mut from = (*scanned).min(input.len());
    while let Some(offset) = memchr::memchr(b'\n', &input[from..]) {
        let after = from + offset + 1;
        match &input[after..] {
            [b'\n', ..] => return Some(after + 1),
            [b'\r', b'\n', ..] => return Some(after + 2),
            _ => from = after,
        }
    }
    *scanned = input.len().saturating_sub(2);
    None
}

impl<'a> Lines<'a> {
    /// Over lines that were not cut.
    pub(crate) fn of(base: &'a [u8]) -> Self {
        Self {
            base,
            rows: &[],
            whole: false,
            at: 0,
        }
    }

    /// What follows the lines walked over.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.base.get(self.at..).unwrap_or_default()
    }

    /// The next line, by its places in `base`.
    fn next_row(&mut self) -> Option<Row> {
        if let Some((row, rest)) = self.rows.split_first() {
            self.rows = rest;
            self.at = row.next as usize;
            return Some(*row);
        }
        if self.whole {
            return None;
        }
        let start = self.at;
        let rest = self.rest();
        let newline = memchr::memchr(b'\n', rest)?;
        let line = &rest[..newline];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return None;
        }
        self.at = start + newline + 1;
        let colon = memchr::memchr(b':', line).map_or(NOWHERE, |colon| (start + colon) as u32);
        Some(Row {
            start: start as u32,
            end: (start + line.len()) as u32,
            next: self.at as u32,
            colon,
        })
    }

    fn line(&self, row: Row) -> Option<Line<'a>> {
        Some(Line {
            bytes: self.base.get(row.start as usize..row.end as usize)?,
            colon: (row.colon != NOWHERE).then(|| (row.colon - row.start) as usize),
        })
    }

    /// The next line, and with it those that it is folded over: all of it, and the first of them.
    pub(crate) fn next_folded(&mut self) -> Option<(&'a [u8], Line<'a>)> {
        let row = self.next_row()?;
        let mut end = row.end as usize;
        while let Some(b' ' | b'\t') = self.base.get(self.at)
            && let Some(further) = self.next_row()
        {
            end = further.end as usize;
        }
        Some((self.base.get(row.start as usize..end)?, self.line(row)?))
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        let row = self.next_row()?;
        self.line(row)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Slow and obvious.
    fn lines(head: &[u8]) -> Vec<&[u8]> {
        let lines = head.split(|&byte| byte == b'\n');
        lines
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
            .collect()
    }

    fn told(line: Line<'_>) -> (&[u8], Option<usize>) {
        (line.bytes, line.colon)
    }

    proptest! {
        #[test]
        fn a_head_is_cut_as_one_would_by_hand(
            words in prop::collection::vec(prop::sample::select(vec![
                &b"\r\n"[..], b"\n", b"\r", b"a: b", b" folded", b"x", b"\0", b"12345678",
            ]), 0..90),
        ) {
            let mut input = b"GET / HTTP/1.1".to_vec();
            input.extend(words.concat());
            let mut rows = Rows::new();
            let mut scanned = 0;
            let cut = rows.cut(&input, &mut scanned);
            let mut expected = 0;
            prop_assert_eq!(cut, end(&input, &mut expected));
            if let Some(length) = cut {
                let all = lines(&input[..length]);
                let all = &all[..all.iter().position(|line| line.is_empty()).unwrap_or(all.len())];
                prop_assert_eq!(rows.first(&input), all.first().copied());
                let walked: Vec<_> = rows.lines(&input[..length]).map(told).collect();
                let by_hand = |line: &&[u8]| line.iter().position(|&byte| byte == b':');
                let expected: Vec<_> = all[1..].iter().map(|line| (*line, by_hand(line))).collect();
                prop_assert_eq!(&walked, &expected);
                let odd = all.iter().any(|line| line.iter().any(|byte| matches!(byte, 0 | b'\r')));
                prop_assert!(rows.may_be_odd() || !odd);
                let behind = input.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
                let again: Vec<_> = Lines::of(&input[behind..length]).map(told).collect();
                prop_assert_eq!(again, walked);
            }
        }

        #[test]
        fn a_head_in_pieces_is_cut_the_same(cut in 0..60_usize) {
            let input = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: b\r\n c\r\n\r\nbody";
            let mut scanned = 0;
            let early = Rows::new().cut(&input[..cut.min(input.len())], &mut scanned);
            let mut rows = Rows::new();
            let length = rows.cut(input, &mut scanned);
            prop_assert_eq!(length, Some(input.len() - 4));
            prop_assert!(early.is_none() || early == length);
            prop_assert_eq!(rows.lines(input).count(), 3);
        }
    }
}
