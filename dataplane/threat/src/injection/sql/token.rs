//! Cuts a value into the tokens that a database would see.
//!
//! One tokenizer for the dialects of MySQL, PostgreSQL, SQL Server, Oracle and SQLite: where they
//! differ, the reading is taken that lets an attack go on. Trusts nothing; a token is a range of the
//! value; memory: the place of reading.

use super::word::Word;

/// One token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A literal number, also hexadecimal and in scientific notation.
    Number,
    /// A literal string. An open one has no end: the quote that the application writes ends it.
    Text {
        open: bool,
    },
    Word(Word),
    /// `@name`, `@@version`, `:name`, `?`, `$1`.
    Variable {
        system: bool,
    },
    /// `=`, `<>`, `>=`, `!=`, `<=>`, `~`, `==`.
    Compare,
    /// `+ - * / % ^ & |`; `!` where it stands alone.
    Arithmetic,
    /// `||`, which is *or* in MySQL and joins texts elsewhere, and `&&`.
    Logical,
    Comma,
    Open,
    Close,
    OpenBrace,
    CloseBrace,
    Semicolon,
    /// `::`
    Cast,
    /// Nothing that SQL knows.
    Strange,
    /// The end of the value.
    End(Ending),
}

/// How a value ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Between tokens.
    Plain,
    /// In a comment, which swallows the rest of the application's statement. Where it starts.
    Comment { from: usize },
    /// In an open string, which the application's own quote closes.
    Quote,
}

/// Reads tokens from a place on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens<'a> {
    value: &'a [u8],
    at: usize,
    in_version_comment: bool,
    open_quote: bool,
    /// Comments passed within the statement.
    pub(super) comments: u16,
    from: usize,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(value: &'a [u8], at: usize) -> Self {
        Self {
            value,
            at,
            in_version_comment: false,
            open_quote: false,
            comments: 0,
            from: at,
        }
    }

    /// Where the last token began.
    pub(super) fn from(&self) -> usize {
        self.from
    }

    /// Where the next one is looked for.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The bytes of the last token.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.value.get(self.from..self.at).unwrap_or_default()
    }

    fn byte(&self, ahead: usize) -> u8 {
        self.value.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// The next token; at the end, always the end.
    pub(super) fn next(&mut self) -> Token {
        if let Some(ending) = self.skip_blanks() {
            self.from = self.value.len();
            return Token::End(ending);
        }
        self.from = self.at;
        let byte = self.byte(0);
        match byte {
            b'\'' | b'"' => self.text(byte),
            b'`' => self.quoted_name(b'`'),
            b'[' => self.bracketed(),
            b'0'..=b'9' => self.number(),
            b'.' if self.byte(1).is_ascii_digit() => self.number(),
            b'@' | b':' | b'?' | b'$' => self.variable(byte),
            b'\\' if self.byte(1) == b'N' => self.take(2, Token::Word(Word::Constant)),
            b'(' => self.take(1, Token::Open),
            b')' => self.take(1, Token::Close),
            b'{' => self.take(1, Token::OpenBrace),
            b'}' => self.take(1, Token::CloseBrace),
            b',' => self.take(1, Token::Comma),
            b';' => self.take(1, Token::Semicolon),
            byte if is_operator(byte) => self.operator(),
            byte if is_word(byte) => self.word(),
            _ => self.take(1, Token::Strange),
        }
    }

    fn take(&mut self, bytes: usize, token: Token) -> Token {
        self.at += bytes;
        token
    }

    /// Passes blanks and comments; how the value ends where it ends in them.
    fn skip_blanks(&mut self) -> Option<Ending> {
        loop {
            let Some(rest) = self.value.get(self.at..).filter(|rest| !rest.is_empty()) else {
                let ending = if self.open_quote {
                    Ending::Quote
                } else {
                    Ending::Plain
                };
                return Some(ending);
            };
            match rest {
                // Many an application's language ends a text here.
                [0, ..] if rest.len() <= 8 && rest.iter().all(|byte| *byte == 0) => {
                    return Some(Ending::Comment { from: self.at });
                }
                [0..=b' ', ..] => self.at += 1,
                [0xc2, 0xa0, ..] => self.at += 2,
                [0xa0, ..] => self.at += 1,
                [b'-', b'-', ..] | [b'#', ..] => match memchr::memchr(b'\n', rest) {
                    Some(line) => {
                        self.at += line + 1;
                        self.comments = self.comments.saturating_add(1);
                    }
                    None => return Some(Ending::Comment { from: self.at }),
                },
                [b'/', b'*', b'!', ..] => self.open_version_comment(),
                [b'*', b'/', ..] if self.in_version_comment => {
                    self.in_version_comment = false;
                    self.at += 2;
                }
                [b'/', b'*', ..] => match memchr::memmem::find(&rest[2..], b"*/") {
                    Some(end) => {
                        self.at += end + 4;
                        self.comments = self.comments.saturating_add(1);
                    }
                    None => return Some(Ending::Comment { from: self.at }),
                },
                _ => return None,
            }
        }
    }

    /// `/*!50000 union */` is code to MySQL.
    fn open_version_comment(&mut self) {
        self.at += 3;
        while self.byte(0).is_ascii_digit() {
            self.at += 1;
        }
        self.in_version_comment = true;
        self.comments = self.comments.saturating_add(1);
    }

    /// A string; a doubled quote and one behind a backslash belong to it.
    fn text(&mut self, quote: u8) -> Token {
        self.at += 1;
        loop {
            let rest = self.value.get(self.at..).unwrap_or_default();
            let Some(found) = memchr::memchr2(quote, b'\\', rest) else {
                self.at = self.value.len();
                self.open_quote = true;
                return Token::Text { open: true };
            };
            self.at += found + 1;
            if rest[found] == b'\\' {
                self.at = (self.at + 1).min(self.value.len());
            } else if self.byte(0) == quote && self.at + 1 < self.value.len() {
                self.at += 1;
            } else {
                return Token::Text { open: false };
            }
        }
    }

    fn quoted_name(&mut self, quote: u8) -> Token {
        let rest = self.value.get(self.at + 1..).unwrap_or_default();
        match memchr::memchr(quote, rest) {
            Some(length) => {
                self.at += length + 2;
                self.more_of_name();
                Token::Word(Word::of(unquoted(self.bytes())))
            }
            None => self.take(1, Token::Strange),
        }
    }

    /// `[name]` of SQL Server; an index of PostgreSQL is passed as part of the name.
    fn bracketed(&mut self) -> Token {
        let rest = self.value.get(self.at + 1..).unwrap_or_default();
        let rest = rest.get(..64).unwrap_or(rest);
        match memchr::memchr2(b']', b'\'', rest) {
            Some(length) if rest[length] == b']' && length > 0 => {
                self.at += length + 2;
                self.more_of_name();
                Token::Word(Word::Name)
            }
            _ => self.take(1, Token::Strange),
        }
    }

    /// `a`.`b`, `a..b`
    fn more_of_name(&mut self) {
        while self.byte(0) == b'.' && (is_word(self.byte(1)) || self.byte(1) == b'.') {
            self.at += 1;
            while is_word(self.byte(0)) && self.at < self.value.len() {
                self.at += 1;
            }
        }
    }

    fn number(&mut self) -> Token {
        let hex = self.byte(0) == b'0' && matches!(self.byte(1), b'x' | b'X' | b'b' | b'B');
        if hex && self.byte(2).is_ascii_hexdigit() {
            self.at += 2;
            while self.byte(0).is_ascii_hexdigit() {
                self.at += 1;
            }
            return Token::Number;
        }
        while self.byte(0).is_ascii_digit() {
            self.at += 1;
        }
        if self.byte(0) == b'.' {
            self.at += 1;
            while self.byte(0).is_ascii_digit() {
                self.at += 1;
            }
        }
        self.exponent();
        Token::Number
    }

    /// `1e5`; MySQL also takes `1.e` before a parenthesis or a name.
    fn exponent(&mut self) {
        if !matches!(self.byte(0), b'e' | b'E') {
            return;
        }
        let sign = usize::from(matches!(self.byte(1), b'+' | b'-'));
        if self.byte(1 + sign).is_ascii_digit() {
            self.at += 1 + sign;
            while self.byte(0).is_ascii_digit() {
                self.at += 1;
            }
        } else if matches!(self.byte(1), b'(' | b'.' | b',' | b')') {
            self.at += 1;
        }
    }

    fn variable(&mut self, byte: u8) -> Token {
        match byte {
            b':' if self.byte(1) == b':' => return self.take(2, Token::Cast),
            b':' if self.byte(1) == b'=' => return self.take(2, Token::Compare),
            b'?' => return self.take(1, Token::Variable { system: false }),
            b'$' if self.byte(1) == b'$' => return self.dollar_text(),
            b'@' if self.byte(1) == b'@' && is_word(self.byte(2)) => {
                self.at += 2;
                self.name();
                return Token::Variable { system: true };
            }
            b'@' if matches!(self.byte(1), b'`' | b'\'' | b'"') => {
                self.at += 1;
                let quote = self.byte(0);
                let rest = self.value.get(self.at + 1..).unwrap_or_default();
                self.at += memchr::memchr(quote, rest).map_or(1, |length| length + 2);
                return Token::Variable { system: false };
            }
            _ => {}
        }
        self.at += 1;
        if is_word(self.byte(0)) {
            self.name();
            return Token::Variable { system: false };
        }
        // MySQL takes a lone @ as a variable without a name.
        if byte == b'@' {
            Token::Variable { system: false }
        } else {
            Token::Strange
        }
    }

    /// `$$text$$`
    fn dollar_text(&mut self) -> Token {
        let rest = self.value.get(self.at + 2..).unwrap_or_default();
        match memchr::memmem::find(rest, b"$$") {
            Some(length) => self.take(length + 4, Token::Text { open: false }),
            None => self.take(2, Token::Strange),
        }
    }

    fn name(&mut self) {
        while self.at < self.value.len() && (is_word(self.byte(0)) || self.byte(0) == b'.') {
            // Not a letter but a blank, alone or in UTF-8.
            let before = self
                .at
                .checked_sub(1)
                .map_or(b' ', |before| self.value[before]);
            if self.byte(0) == 0xa0 && before.is_ascii() && self.at > self.from
                || (self.byte(0), self.byte(1)) == (0xc2, 0xa0)
            {
                return;
            }
            self.at += 1;
        }
    }

    fn word(&mut self) -> Token {
        self.name();
        while self.bytes().ends_with(b".") {
            self.at -= 1;
        }
        let prefix = matches!(
            self.bytes(),
            [b'n' | b'N' | b'e' | b'E' | b'x' | b'X' | b'b' | b'B' | b'q' | b'Q']
        );
        if prefix && self.byte(0) == b'\'' {
            return self.text(b'\'');
        }
        // MySQL's names of character sets before a literal.
        if self.bytes().first() == Some(&b'_') && matches!(self.byte(0), b'\'' | b'"') {
            return self.text(self.byte(0));
        }
        Token::Word(Word::of(self.bytes()))
    }

    fn operator(&mut self) -> Token {
        let pair = [self.byte(0), self.byte(1)];
        match &pair {
            b"||" | b"&&" => self.take(2, Token::Logical),
            b"<=" if self.byte(2) == b'>' => self.take(3, Token::Compare),
            b"<=" | b">=" | b"<>" | b"!=" | b"==" | b"!<" | b"!>" | b"~*" | b"!~" | b"^=" => {
                self.take(2, Token::Compare)
            }
            [b'=' | b'<' | b'>' | b'~', _] => self.take(1, Token::Compare),
            _ => self.take(1, Token::Arithmetic),
        }
    }
}

fn is_operator(byte: u8) -> bool {
    matches!(
        byte,
        b'=' | b'<' | b'>' | b'!' | b'+' | b'-' | b'*' | b'/' | b'%' | b'^' | b'&' | b'|' | b'~'
    )
}

/// Whether a byte belongs to names. Letters beyond ASCII do.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..=0xff)
}

fn unquoted(name: &[u8]) -> &[u8] {
    name.strip_prefix(b"`")
        .and_then(|name| name.strip_suffix(b"`"))
        .unwrap_or(name)
}
