//! Where a rule stands in its file: lines joined, comments left out, and the way back from a byte of
//! the joined text to line and column.
//!
//! Trusts nothing: any bytes are a file. Memory: one rule at a time, at most [`RULE_BYTES_MAX`].

use super::refusal::{Cause, Mistake};

/// A longer rule is refused.
pub(super) const RULE_BYTES_MAX: usize = 128 * 1024;

/// A rule's text, lines joined.
#[derive(Debug)]
pub(super) struct Statement {
    /// The text; without the backslashes and line ends.
    pub text: String,
    pieces: Vec<Piece>,
    /// Why it is no text at all.
    pub unreadable: Option<Mistake>,
}

/// What one line gave to the text.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// Where it begins in the text.
    start: usize,
    line: u32,
    /// The column of its first character, from 1.
    column: u32,
}

impl Statement {
    /// Line and column, both from 1, of a byte of the text.
    pub fn position(&self, at: usize) -> (u32, u32) {
        let behind = self.pieces.partition_point(|piece| piece.start <= at);
        let Some(piece) = self.pieces.get(behind.saturating_sub(1)) else {
            return (1, 1);
        };
        let at = at.min(self.text.len());
        let before = self.text.get(piece.start..at).unwrap_or_default();
        let characters = u32::try_from(before.chars().count()).unwrap_or(u32::MAX);
        (piece.line, piece.column.saturating_add(characters))
    }

    /// Where it begins.
    pub fn line(&self) -> u32 {
        self.pieces.first().map_or(1, |piece| piece.line)
    }

    fn push(&mut self, line: u32, column: usize, text: &[u8]) {
        let column = u32::try_from(column).unwrap_or(u32::MAX);
        let start = self.text.len();
        self.pieces.push(Piece {
            start,
            line,
            column,
        });
        if self.unreadable.is_some() {
            return;
        }
        if start + text.len() > RULE_BYTES_MAX {
            let why = format!(
                "the rule is longer than {RULE_BYTES_MAX} bytes: end it with `)`, or divide it"
            );
            self.unreadable = Some(Mistake::at(start, Cause::Malformed, why));
            return;
        }
        match std::str::from_utf8(text) {
            Ok(text) => self.text.push_str(text),
            Err(error) => {
                let valid = text.get(..error.valid_up_to()).unwrap_or_default();
                self.text.push_str(&String::from_utf8_lossy(valid));
                let why = "this byte is no UTF-8: write it in hexadecimal, |ff|";
                self.unreadable = Some(Mistake::at(self.text.len(), Cause::Malformed, why));
            }
        }
    }
}

/// Lines and their indices.
type Lines<'a> = std::iter::Enumerate<std::slice::Split<'a, u8, fn(&u8) -> bool>>;

/// The rules of a file, one after the other.
pub(super) struct Statements<'a> {
    lines: Lines<'a>,
    commented: bool,
}

impl<'a> Statements<'a> {
    /// Of these bytes; with `commented`, rules behind `#` too.
    pub fn new(bytes: &'a [u8], commented: bool) -> Self {
        let is_end: fn(&u8) -> bool = |&byte| byte == b'\n';
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        Self {
            lines: bytes.split(is_end).enumerate(),
            commented,
        }
    }
}

impl Iterator for Statements<'_> {
    type Item = Statement;

    fn next(&mut self) -> Option<Statement> {
        let mut statement = Statement {
            text: String::new(),
            pieces: Vec::new(),
            unreadable: None,
        };
        for (index, line) in self.lines.by_ref() {
            let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
            let continues = !statement.pieces.is_empty();
            let line = line.trim_ascii_end();
            let mut rest = line.trim_ascii_start();
            if rest.first() == Some(&b'#') {
                let behind = behind_marks(rest);
                if !self.commented || !(continues || is_rule(behind)) {
                    continue;
                }
                rest = behind;
            } else if continues {
                rest = line;
            }
            if rest.is_empty() && !continues {
                continue;
            }
            let column = line.len() - rest.len() + 1;
            let (text, goes_on) = match rest.strip_suffix(b"\\") {
                Some(text) => (text, true),
                None => (rest, false),
            };
            statement.push(number, column, text);
            if !goes_on {
                return Some(statement);
            }
        }
        (!statement.pieces.is_empty()).then_some(statement)
    }
}

/// What follows the marks of a comment.
fn behind_marks(line: &[u8]) -> &[u8] {
    let is_mark = |byte: &u8| *byte == b'#' || byte.is_ascii_whitespace();
    let marks = line.iter().take_while(|byte| is_mark(byte)).count();
    line.get(marks..).unwrap_or_default()
}

/// Whether a comment is a rule rather than prose: an action, a protocol, and options.
fn is_rule(text: &[u8]) -> bool {
    let mut words = text.split(u8::is_ascii_whitespace);
    let action = words.next().unwrap_or_default();
    const ACTIONS: [&[u8]; 8] = [
        b"alert",
        b"drop",
        b"pass",
        b"reject",
        b"rejectsrc",
        b"rejectdst",
        b"rejectboth",
        b"config",
    ];
    ACTIONS.contains(&action) && (text.contains(&b'(') || text.ends_with(b"\\"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statements(text: &str, commented: bool) -> Vec<(String, u32)> {
        Statements::new(text.as_bytes(), commented)
            .map(|statement| (statement.text.clone(), statement.line()))
            .collect()
    }

    #[test]
    fn lines_are_joined_and_comments_left_out() {
        let text = "\u{feff}# words\r\n\nalert a \\\r\n  b\n#alert tcp x (c)\n# alert me (when)\n";
        assert_eq!(statements(text, false), [("alert a   b".to_owned(), 3)]);
        assert_eq!(
            statements(text, true)[1..],
            [
                ("alert tcp x (c)".to_owned(), 5),
                ("alert me (when)".to_owned(), 6)
            ]
        );
    }

    #[test]
    fn a_byte_leads_back_to_line_and_column() {
        let text = "\n  alert é x\\\n   y z";
        let statement = Statements::new(text.as_bytes(), false).next().unwrap();
        let at = |word: &str| statement.position(statement.text.find(word).unwrap());
        assert_eq!(at("alert"), (2, 3));
        assert_eq!(at("x"), (2, 11));
        assert_eq!(at("y"), (3, 4));
        assert_eq!(at("z"), (3, 6));
        assert_eq!(statement.position(1000), (3, 7));
    }

    #[test]
    fn what_is_no_text_and_what_never_ends_is_told() {
        let statement = Statements::new(b"alert \xff", false).next().unwrap();
        let mistake = statement.unreadable.as_ref().unwrap();
        assert_eq!(statement.position(mistake.at), (1, 7));
        let endless = "x\\\n".repeat(RULE_BYTES_MAX + 10);
        let statement = Statements::new(endless.as_bytes(), false).next().unwrap();
        assert!(statement.unreadable.is_some() && statement.text.len() <= RULE_BYTES_MAX);
    }
}
