//! SQL without its comments, whitespace folded: `UN/**/ION/*!50000 SELECT*/` is not read as written.
//!
//! A comment separates words, so one space stands for it. What MySQL executes (`/*!50000 … */`) stays.
//! Text in quotes is not looked into where [`SqlRules::quotes`] says so; a fragment that is put into
//! somebody else's statement opens quotes it never closes, and is read without that.

use super::{Emit, Output, Written};

/// How comments and quotes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SqlRules {
    /// Text in quotes stays as it is.
    pub quotes: bool,
    /// A backslash in quotes takes the next byte with it.
    pub backslash: bool,
    /// `#` begins a comment.
    pub hash: bool,
    /// `--` begins a comment only before a space or at the end.
    pub dashes_need_space: bool,
    /// Comments stand within comments.
    pub nested: bool,
    /// `/*!50000 … */` and `/*M! … */` are executed.
    pub executed: bool,
}

impl SqlRules {
    /// MySQL and MariaDB.
    pub const MYSQL: Self = Self {
        quotes: true,
        backslash: true,
        hash: true,
        dashes_need_space: true,
        nested: false,
        executed: true,
    };
    /// PostgreSQL, SQL Server: nested comments, nothing else special.
    pub const NESTING: Self = Self {
        quotes: true,
        backslash: false,
        hash: false,
        dashes_need_space: false,
        nested: true,
        executed: false,
    };
    /// Oracle, and the standard.
    pub const STANDARD: Self = Self {
        nested: false,
        ..Self::NESTING
    };
    /// A value that may end up in any statement.
    pub const FRAGMENT: Self = Self {
        quotes: false,
        dashes_need_space: false,
        ..Self::MYSQL
    };
}

/// Where reading is, and what was written.
struct Reader<'a, 'b> {
    input: &'a [u8],
    at: usize,
    out: Output<'b>,
    /// The last thing written was a space for whitespace or a comment.
    spaced: bool,
    /// Within a comment that is executed.
    executed: bool,
    rules: SqlRules,
}

/// Removes comments and folds whitespace outside of quotes into single spaces.
pub fn sql_without_comments(input: &[u8], rules: SqlRules, output: &mut [u8]) -> Written {
    let mut reader = Reader {
        input,
        at: 0,
        out: Output::new(output),
        spaced: false,
        executed: false,
        rules,
    };
    while reader.at < input.len() {
        reader.step();
    }
    reader.out.written(input)
}

impl Reader<'_, '_> {
    fn rest(&self) -> &[u8] {
        self.input.get(self.at..).unwrap_or_default()
    }

    fn step(&mut self) {
        match self.rest() {
            [b'/', b'*', rest @ ..] => match self.execution(rest) {
                Some(length) => {
                    self.executed = true;
                    self.space(2 + length);
                }
                None => {
                    let length = self.comment_length();
                    self.space(length);
                }
            },
            [b'*', b'/', ..] if self.executed => {
                self.executed = false;
                self.space(2);
            }
            [b'-', b'-', after @ ..] if self.is_dashes(after) => self.line(),
            [b'#', ..] if self.rules.hash => self.line(),
            [quote @ (b'\'' | b'"' | b'`'), ..] if self.rules.quotes => self.quoted(*quote),
            [byte, ..] if is_space(*byte) => self.space(1),
            [0xa0, ..] if self.is_after_ascii() => self.space(1),
            _ => self.word(),
        }
    }

    /// A byte that means nothing here, and the letters and digits after it.
    fn word(&mut self) {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let more = rest
            .iter()
            .skip(1)
            .take_while(|byte| byte.is_ascii_alphanumeric());
        let word = rest.get(..1 + more.count()).unwrap_or_default();
        self.out.bytes(word);
        self.spaced = false;
        self.at += word.len().max(1);
    }

    /// The length of what follows `/*` and makes the comment an executed one.
    fn execution(&self, rest: &[u8]) -> Option<usize> {
        let mark = match rest {
            _ if !self.rules.executed => return None,
            [b'!', ..] => 1,
            [b'M' | b'm', b'!', ..] => 2,
            _ => return None,
        };
        let digits = rest.iter().skip(mark).take(6);
        Some(mark + digits.take_while(|byte| byte.is_ascii_digit()).count())
    }

    /// The length of the comment that begins here; one that never ends takes all.
    fn comment_length(&self) -> usize {
        let rest = self.rest();
        let (mut at, mut depth) = (2, 1);
        while let Some(after) = rest.get(at..).filter(|after| !after.is_empty()) {
            match after {
                [b'*', b'/', ..] => {
                    at += 2;
                    depth -= 1;
                    if depth == 0 {
                        return at;
                    }
                }
                [b'/', b'*', ..] if self.rules.nested => {
                    at += 2;
                    depth += 1;
                }
                _ => at += 1,
            }
        }
        rest.len()
    }

    fn is_dashes(&self, after: &[u8]) -> bool {
        !self.rules.dashes_need_space
            || after
                .first()
                .is_none_or(|byte| byte.is_ascii_control() || is_space(*byte))
    }

    /// Whether a no-break space of Latin 1, which MySQL may take for a space, can stand here: after
    /// other bytes it is part of a character of UTF-8.
    fn is_after_ascii(&self) -> bool {
        let before = self.at.checked_sub(1).and_then(|at| self.input.get(at));
        before.is_none_or(u8::is_ascii)
    }

    /// A comment up to the end of the line.
    fn line(&mut self) {
        let rest = self.rest();
        let length = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        self.space(length);
    }

    /// One space for so many bytes of input.
    fn space(&mut self, length: usize) {
        self.at += length;
        if !std::mem::replace(&mut self.spaced, true) {
            self.out.byte(b' ');
        }
    }

    /// Text in quotes, as it stands.
    fn quoted(&mut self, quote: u8) {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let mut length = 1;
        while let Some(byte) = rest.get(length) {
            length += 1;
            if *byte == b'\\' && self.rules.backslash {
                length += 1;
            } else if *byte == quote {
                break;
            }
        }
        let text = rest.get(..length).unwrap_or(rest);
        self.out.bytes(text);
        self.at += text.len();
        self.spaced = false;
    }
}

/// Whitespace of the databases.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(input: &str, rules: SqlRules) -> String {
        let mut output = [0; 128];
        let written = sql_without_comments(input.as_bytes(), rules, &mut output);
        String::from_utf8_lossy(&output[..written.length]).into_owned()
    }

    #[test]
    fn comments_become_one_space() {
        let mysql = |input| clean(input, SqlRules::MYSQL);
        assert_eq!(mysql("UNION/**/SELECT/*a*/ \t\n1"), "UNION SELECT 1");
        assert_eq!(mysql("1 -- rest\nor 2 # rest"), "1 or 2 ");
        assert_eq!(mysql("1--1"), "1--1");
        assert_eq!(mysql("à la"), "à la");
        let mut output = [0; 16];
        let written = sql_without_comments(b"or\xa01", SqlRules::MYSQL, &mut output);
        assert_eq!(&output[..written.length], b"or 1");
        assert_eq!(mysql("1 /* open"), "1 ");
        assert_eq!(
            mysql("/*!50000UNION*//*!SELECT*/1/*M!100201 x */"),
            " UNION SELECT 1 x "
        );
        assert_eq!(mysql("a/*!50000b/*c*/d*/e"), "a b d e");
        assert_eq!(clean("1/*!2*/#a", SqlRules::STANDARD), "1 #a");
        assert_eq!(clean("1/*a/*b*/c*/--x", SqlRules::NESTING), "1 ");
        assert_eq!(clean("1/*a/*b*/c*/", SqlRules::STANDARD), "1 c*/");
    }

    #[test]
    fn quotes_protect_what_is_in_them() {
        let mysql = |input| clean(input, SqlRules::MYSQL);
        assert_eq!(mysql("'a /* b */ -- c'  x"), "'a /* b */ -- c' x");
        assert_eq!(mysql(r"'it\'s  /*' /*x*/"), r"'it\'s  /*' ");
        assert_eq!(mysql("`a#b` \"#\" #"), "`a#b` \"#\" ");
        assert_eq!(mysql("'open  #"), "'open  #");
        assert_eq!(clean(r"'a\' -- b", SqlRules::STANDARD), r"'a\' ");
        assert_eq!(clean("' or 1/**/=1-- x", SqlRules::FRAGMENT), "' or 1 =1 ");
    }
}
