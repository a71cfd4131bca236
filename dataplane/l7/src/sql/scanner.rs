//! The lexer: quotes, comments and the first words of statements.

use super::Kind;

/// Whose lexical rules apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// MySQL and MariaDB.
    #[default]
    MySql,
    /// PostgreSQL.
    PostgreSql,
    /// Microsoft SQL Server: statements need nothing between them.
    SqlServer,
}

/// Words that begin statements of Transact-SQL and are reserved: nothing else bears their names.
const VERBS: &[&[u8]] = &[
    b"ALTER",
    b"BACKUP",
    b"BULK",
    b"CREATE",
    b"DBCC",
    b"DELETE",
    b"DENY",
    b"DROP",
    b"EXEC",
    b"EXECUTE",
    b"GRANT",
    b"INSERT",
    b"KILL",
    b"MERGE",
    b"RECONFIGURE",
    b"RESTORE",
    b"REVOKE",
    b"SELECT",
    b"SHUTDOWN",
    b"TRUNCATE",
    b"UPDATE",
    b"USE",
];

/// Longest word that matters, and one more to tell longer ones.
const WORD_MAX: usize = 16;

/// What a scan tells, with offsets from the start of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A statement begins.
    Statement(Kind),
    /// A table name follows, after blanks, at this offset.
    Table(u64),
}

/// Reads a text in pieces.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scanner {
    dialect: Dialect,
    lex: Lex,
    head: Head,
    /// Bytes read so far.
    offset: u64,
    depth: u16,
    word: [u8; WORD_MAX],
    word_length: u8,
    /// Backslash is an ordinary character within '…' (and "…").
    plain_backslash: bool,
    /// Inside `/*! … */`.
    executable: bool,
    /// The statement's first word stood in an executable comment.
    head_executable: bool,
    /// The last token was an opening parenthesis.
    opened: bool,
    /// A quote or comment inside an executable comment holds `*`: the next `/` makes it ambiguous.
    star: bool,
    /// Transact-SQL: the statement that was told last, since a verb may go on with it.
    last: Kind,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Lex {
    #[default]
    Normal,
    Word,
    Quote {
        mark: u8,
        escapes: bool,
    },
    Escaped {
        mark: u8,
    },
    Dash,
    DashDash,
    Line,
    Slash,
    SlashStar,
    SlashStarM,
    Version,
    Star,
    Block {
        depth: u8,
    },
    BlockStar {
        depth: u8,
    },
    BlockSlash {
        depth: u8,
    },
    DollarOpen {
        tag: u32,
        length: u8,
    },
    Dollar {
        tag: u32,
        length: u8,
    },
    DollarClose {
        tag: u32,
        length: u8,
        seen: u32,
        seen_length: u8,
    },
}

/// Where in a statement the scan is, as far as it may still name something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Head {
    /// Before its first word.
    #[default]
    Start,
    /// Named.
    Named,
    /// After WITH: the verb outside parentheses is the statement's.
    With,
    /// EXPLAIN: runs its statement only when ANALYZE follows.
    Explain,
    /// ANALYZE, or SET STATEMENT … FOR: a verb that follows is run.
    Carries,
    /// SET, BEGIN: the second word decides.
    Set,
    Begin,
    /// An executable comment named it and has ended: servers that skip it start here.
    Again,
}

impl Scanner {
    /// Begins a text. `plain_backslash`: the session gives backslash no meaning in strings.
    pub(crate) fn new(dialect: Dialect, plain_backslash: bool) -> Self {
        Self {
            dialect,
            plain_backslash,
            ..Self::default()
        }
    }

    /// Whether the rest of a text that holds one statement cannot name anything more.
    pub(crate) fn settled(&self) -> bool {
        self.head == Head::Named && !self.head_executable
    }

    /// Reads on.
    pub(crate) fn feed(&mut self, bytes: &[u8], found: &mut dyn FnMut(Found)) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if let Lex::Quote { mark, escapes } = self.lex
                && !self.executable
            {
                // Long literals are the bulk of large texts.
                let rest = bytes.get(at..).unwrap_or_default();
                let run = rest
                    .iter()
                    .position(|&b| b == mark || (escapes && b == b'\\'))
                    .unwrap_or(rest.len());
                if run > 0 {
                    at += run;
                    self.offset += run as u64;
                    continue;
                }
            }
            self.byte(byte, found);
            at += 1;
            self.offset += 1;
        }
    }

    /// The text has ended.
    pub(crate) fn finish(&mut self, found: &mut dyn FnMut(Found)) {
        if self.lex == Lex::Word {
            self.end_word(found);
        }
        self.end_statement(found);
    }

    fn byte(&mut self, byte: u8, found: &mut dyn FnMut(Found)) {
        let mysql = self.dialect == Dialect::MySql;
        let postgresql = self.dialect == Dialect::PostgreSql;
        match self.lex {
            Lex::Normal => self.normal(byte, found),
            Lex::Word => {
                // `a$b` is one identifier; `1$b$` is not.
                if is_word(byte) || (byte == b'$' && !self.word[0].is_ascii_digit()) {
                    self.push(byte);
                } else {
                    let escape_string = postgresql
                        && byte == b'\''
                        && self.word_length == 1
                        && self.word[0] == b'E';
                    self.end_word(found);
                    self.lex = Lex::Normal;
                    if escape_string {
                        self.lex = Lex::Quote {
                            mark: byte,
                            escapes: true,
                        };
                    } else {
                        self.normal(byte, found);
                    }
                }
            }
            Lex::Quote { mark, escapes } => {
                self.ambiguous(byte, found);
                if byte == mark {
                    self.lex = Lex::Normal;
                } else if escapes && byte == b'\\' {
                    self.lex = Lex::Escaped { mark };
                }
            }
            Lex::Escaped { mark } => {
                self.ambiguous(byte, found);
                self.lex = Lex::Quote {
                    mark,
                    escapes: true,
                };
            }
            Lex::Dash if byte == b'-' => self.lex = if mysql { Lex::DashDash } else { Lex::Line },
            // MySQL: a comment only when a blank or control character follows.
            Lex::DashDash if byte <= b' ' => {
                self.lex = if byte == b'\n' {
                    Lex::Normal
                } else {
                    Lex::Line
                }
            }
            Lex::Slash if byte == b'*' => {
                self.lex = if mysql {
                    Lex::SlashStar
                } else {
                    Lex::Block { depth: 1 }
                };
            }
            Lex::Star if byte == b'/' && self.executable => self.end_executable(),
            Lex::Dash | Lex::DashDash | Lex::Slash | Lex::Star => self.again(byte, found),
            Lex::Line => {
                self.ambiguous(byte, found);
                if byte == b'\n' || (!mysql && byte == b'\r') {
                    self.lex = Lex::Normal;
                }
            }
            Lex::SlashStar | Lex::SlashStarM | Lex::Version => self.comment_head(byte, found),
            Lex::Block { .. } | Lex::BlockStar { .. } | Lex::BlockSlash { .. } => self.block(byte),
            Lex::DollarOpen { .. } | Lex::Dollar { .. } | Lex::DollarClose { .. } => {
                self.dollar(byte, found)
            }
        }
    }

    /// The token before was an operator after all: reads the byte afresh.
    fn again(&mut self, byte: u8, found: &mut dyn FnMut(Found)) {
        self.lex = Lex::Normal;
        self.symbol(found);
        self.normal(byte, found);
    }

    fn normal(&mut self, byte: u8, found: &mut dyn FnMut(Found)) {
        let mysql = self.dialect == Dialect::MySql;
        match byte {
            b'[' if self.dialect == Dialect::SqlServer => {
                self.symbol(found);
                self.lex = Lex::Quote {
                    mark: b']',
                    escapes: false,
                };
            }
            b'\'' | b'"' | b'`' => {
                self.symbol(found);
                let escapes = !self.plain_backslash && (byte == b'\'' || (mysql && byte == b'"'));
                self.star = false;
                self.lex = Lex::Quote {
                    mark: byte,
                    escapes,
                };
            }
            b'-' => self.lex = Lex::Dash,
            b'/' => self.lex = Lex::Slash,
            b'*' => self.lex = Lex::Star,
            b'#' if mysql => {
                self.star = false;
                self.lex = Lex::Line;
            }
            b'$' if self.dialect == Dialect::PostgreSql => {
                self.lex = Lex::DollarOpen { tag: 0, length: 0 }
            }
            b';' => self.end_statement(found),
            b'(' => {
                self.depth = self.depth.saturating_add(1);
                self.opened = true;
            }
            b')' => {
                self.depth = self.depth.saturating_sub(1);
                self.opened = false;
            }
            _ if byte <= b' ' => {}
            _ if is_word(byte) => {
                self.word_length = 0;
                self.push(byte);
                self.lex = Lex::Word;
            }
            _ => self.symbol(found),
        }
    }

    /// A token that is no word: a statement that begins with one is none that we know.
    fn symbol(&mut self, found: &mut dyn FnMut(Found)) {
        self.opened = false;
        if self.head == Head::Start {
            self.head = Head::Named;
            found(Found::Statement(Kind::OTHER));
        }
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.word.get_mut(usize::from(self.word_length)) {
            *place = byte.to_ascii_uppercase();
            self.word_length += 1;
        }
    }

    fn end_word(&mut self, found: &mut dyn FnMut(Found)) {
        let buffer = self.word;
        let word = buffer
            .get(..usize::from(self.word_length))
            .unwrap_or_default();
        let opened = std::mem::take(&mut self.opened);
        let first = self.head == Head::Start;
        if first {
            self.first_word(word, found);
        } else {
            self.further_word(word, opened, found);
        }
        if matches!(word, b"FROM" | b"JOIN" | b"INTO" | b"TABLE")
            || (word == b"UPDATE" && (first || self.dialect == Dialect::SqlServer))
        {
            found(Found::Table(self.offset));
        }
    }

    fn first_word(&mut self, word: &[u8], found: &mut dyn FnMut(Found)) {
        let kind = Kind::of_word(word).unwrap_or(Kind::OTHER);
        self.head_executable = self.executable;
        self.head = match word {
            b"WITH" => Head::With,
            b"EXPLAIN" | b"DESCRIBE" | b"DESC" => Head::Explain,
            b"ANALYZE" => Head::Carries,
            b"SET" => Head::Set,
            b"BEGIN" => Head::Begin,
            _ => Head::Named,
        };
        // A parenthesis around the whole statement does not hide the verb of its WITH.
        self.depth = 0;
        if self.head != Head::With {
            self.last = kind;
            found(Found::Statement(kind));
        }
    }

    /// A verb of Transact-SQL, wherever it stands: unquoted it is nothing else, and it may begin a
    /// statement. `INSERT … SELECT` is told as both, and so is a subquery in an `UPDATE`.
    fn transact(&mut self, word: &[u8], found: &mut dyn FnMut(Found)) {
        if !VERBS.contains(&word) {
            return;
        }
        let kind = Kind::of_word(word).unwrap_or(Kind::OTHER);
        if self.head == Head::With || kind != self.last {
            self.last = kind;
            found(Found::Statement(kind));
        }
        self.head = Head::Named;
    }

    fn further_word(&mut self, word: &[u8], opened: bool, found: &mut dyn FnMut(Found)) {
        if self.dialect == Dialect::SqlServer {
            return self.transact(word, found);
        }
        let changes = matches!(word, b"INSERT" | b"UPDATE" | b"DELETE" | b"MERGE");
        let verb = changes
            || matches!(
                word,
                b"SELECT" | b"REPLACE" | b"VALUES" | b"TABLE" | b"EXECUTE" | b"CREATE"
            );
        let kind = Kind::of_word(word);
        match self.head {
            Head::With if self.depth == 0 && verb => {
                self.head = Head::Named;
                found(Found::Statement(kind.unwrap_or(Kind::OTHER)));
            }
            Head::Carries if verb && word != b"TABLE" => {
                self.head = Head::Named;
                found(Found::Statement(kind.unwrap_or(Kind::OTHER)));
            }
            Head::Explain if matches!(word, b"ANALYZE" | b"ANALYSE") => self.head = Head::Carries,
            Head::Set => {
                self.head = if word == b"STATEMENT" {
                    Head::Carries
                } else {
                    Head::Named
                }
            }
            Head::Begin => {
                self.head = Head::Named;
                if word == b"NOT" {
                    found(Found::Statement(Kind::OTHER));
                }
            }
            Head::Again => {
                self.head = Head::Named;
                if let Some(kind) = kind {
                    found(Found::Statement(kind));
                }
            }
            // WITH x AS (DELETE …), COPY (DELETE …) TO: run too.
            _ if opened && changes => found(Found::Statement(kind.unwrap_or(Kind::OTHER))),
            _ => {}
        }
    }

    fn end_statement(&mut self, found: &mut dyn FnMut(Found)) {
        if self.head == Head::With {
            found(Found::Statement(
                Kind::of_word(b"WITH").unwrap_or(Kind::OTHER),
            ));
        }
        self.head = Head::Start;
        self.depth = 0;
        self.opened = false;
        self.head_executable = false;
    }

    /// Within an executable comment a literal or comment that holds `*/` ends elsewhere for a
    /// server that skips the comment: what follows cannot be told.
    fn ambiguous(&mut self, byte: u8, found: &mut dyn FnMut(Found)) {
        if self.executable {
            if self.star && byte == b'/' {
                found(Found::Statement(Kind::OTHER));
            }
            self.star = byte == b'*';
        }
    }

    fn comment_head(&mut self, byte: u8, found: &mut dyn FnMut(Found)) {
        match (self.lex, byte) {
            (Lex::SlashStar, b'M') => self.lex = Lex::SlashStarM,
            (Lex::SlashStar | Lex::SlashStarM, b'!') => {
                self.executable = true;
                self.lex = Lex::Version;
            }
            (Lex::Version, b'0'..=b'9') => {}
            (Lex::Version, _) => {
                self.lex = Lex::Normal;
                self.normal(byte, found);
            }
            _ => {
                self.lex = Lex::Block { depth: 1 };
                self.block(byte);
            }
        }
    }

    fn end_executable(&mut self) {
        self.executable = false;
        self.lex = Lex::Normal;
        if self.head_executable && self.head == Head::Named {
            self.head = Head::Again;
        }
    }

    fn block(&mut self, byte: u8) {
        let nests = self.dialect != Dialect::MySql;
        self.lex = match (self.lex, byte) {
            (Lex::BlockStar { depth }, b'/') if depth <= 1 => Lex::Normal,
            (Lex::BlockStar { depth }, b'/') => Lex::Block { depth: depth - 1 },
            (Lex::BlockSlash { depth }, b'*') => Lex::Block {
                depth: depth.saturating_add(1),
            },
            (Lex::Block { depth } | Lex::BlockStar { depth } | Lex::BlockSlash { depth }, _) => {
                match byte {
                    b'*' => Lex::BlockStar { depth },
                    b'/' if nests => Lex::BlockSlash { depth },
                    _ => Lex::Block { depth },
                }
            }
            (other, _) => other,
        };
    }

    /// PostgreSQL's `$tag$ … $tag$`; the tag is kept as a hash and its length.
    fn dollar(&mut self, byte: u8, found: &mut dyn FnMut(Found)) {
        self.lex = match self.lex {
            Lex::DollarOpen { tag, length } if byte == b'$' => {
                self.symbol(found);
                Lex::Dollar { tag, length }
            }
            // `$1` is a parameter, not a quote.
            Lex::DollarOpen { tag, length }
                if is_word(byte) && !(length == 0 && byte.is_ascii_digit()) =>
            {
                Lex::DollarOpen {
                    tag: mix(tag, byte),
                    length: length.saturating_add(1),
                }
            }
            Lex::DollarOpen { .. } => return self.again(byte, found),
            Lex::Dollar { tag, length } if byte == b'$' => Lex::DollarClose {
                tag,
                length,
                seen: 0,
                seen_length: 0,
            },
            Lex::DollarClose {
                tag,
                length,
                seen,
                seen_length,
            } if byte == b'$' => {
                if seen == tag && seen_length == length {
                    Lex::Normal
                } else {
                    Lex::DollarClose {
                        tag,
                        length,
                        seen: 0,
                        seen_length: 0,
                    }
                }
            }
            Lex::DollarClose {
                tag,
                length,
                seen,
                seen_length,
            } if is_word(byte) => Lex::DollarClose {
                tag,
                length,
                seen: mix(seen, byte),
                seen_length: seen_length.saturating_add(1),
            },
            Lex::DollarClose { tag, length, .. } => Lex::Dollar { tag, length },
            other => other,
        };
    }
}

/// Whether `byte` may stand in an identifier without quotes.
pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn mix(hash: u32, byte: u8) -> u32 {
    (hash ^ u32::from(byte))
        .wrapping_mul(0x0100_0193)
        .rotate_left(5)
        .wrapping_add(0x9e37_79b9)
}
