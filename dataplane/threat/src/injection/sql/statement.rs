//! Whole statements, as a database receives them: was one of the application's changed by a value?
//!
//! Applications write comments, unions, constants and several statements in one themselves, so nothing
//! of that is telling by itself. What is: a condition of literals that *or* joins on, a union that asks
//! for the database's own tables where the first query did not, a comment that cuts off the rest of a
//! literal's quote, a second statement that destroys behind a first that looks up, a condition that waits.
//!
//! Precision comes first here: the administrator who waits, dumps and drops is not looked for. One pass
//! over the tokens with a few dozen bytes of state.

use super::super::sighting::Sighting;
use super::token::{Ending, Token, Tokens};
use super::word::{Verb, Word};

/// A token that was read, and its place.
#[derive(Clone, Copy, Debug)]
struct Read {
    token: Token,
    from: usize,
    to: usize,
}

const NOTHING: Read = Read {
    token: Token::Semicolon,
    from: 0,
    to: 0,
};

/// Tokens that are looked back at.
const BACK: usize = 5;

/// What is known of the statement so far.
struct Scan<'a> {
    text: &'a [u8],
    /// The last tokens, the latest first.
    back: [Read; BACK],
    /// Between `where`, `having`, `on` and the next clause.
    in_condition: bool,
    had_condition: bool,
    /// The first statement looks up or changes rows.
    first_is_of_rows: bool,
    is_first: bool,
    /// The first query asks for the database's own tables.
    first_is_catalog: bool,
    union: Option<Union>,
    /// An error function whose arguments are being read: where it began, and tokens to go.
    telling_error: Option<(usize, u8)>,
    /// What is telling, should the statement's tail be cut off.
    waits_for_cut: Option<Sighting>,
}

/// A union's list of columns.
#[derive(Clone, Copy)]
struct Union {
    from: usize,
    /// Columns that count: 1, 2, 3.
    counting: u64,
    in_list: bool,
    nulls: u8,
    other: bool,
}

/// Whether a value of a request is a statement that is telling even in an administrator's tool.
pub(super) fn look_within(value: &[u8]) -> Option<Sighting> {
    look(value)
}

/// What is telling in a statement, if it was injected into.
pub(in super::super) fn look(text: &[u8]) -> Option<Sighting> {
    let mut tokens = Tokens::new(text, 0);
    let mut scan = Scan {
        text,
        back: [NOTHING; BACK],
        in_condition: false,
        had_condition: false,
        first_is_of_rows: false,
        is_first: true,
        first_is_catalog: false,
        union: None,
        telling_error: None,
        waits_for_cut: None,
    };
    loop {
        let token = tokens.next();
        let read = Read {
            token,
            from: tokens.from(),
            to: tokens.at(),
        };
        if let Some(sighting) = scan.token(read) {
            return Some(sighting);
        }
        if let Token::End(ending) = token {
            return scan.end(ending);
        }
        scan.back.rotate_right(1);
        scan.back[0] = read;
    }
}

impl<'a> Scan<'a> {
    fn bytes(&self, read: Read) -> &'a [u8] {
        self.text.get(read.from..read.to).unwrap_or_default()
    }

    fn token(&mut self, read: Read) -> Option<Sighting> {
        if let Some(sighting) = self.literals(read) {
            return Some(sighting);
        }
        self.count_tokens_of_error(read);
        match read.token {
            Token::Word(word) => self.word(word, read),
            Token::Open => self.call(read),
            Token::Comma | Token::Number => {
                self.column(read);
                None
            }
            Token::Semicolon => {
                self.is_first = false;
                self.in_condition = false;
                self.union = None;
                None
            }
            Token::Variable { system: true } => {
                self.union.filter(|union| union.in_list).map(|union| {
                    Sighting::new("union that asks about the server", union.from, read.to)
                })
            }
            _ => None,
        }
    }

    fn word(&mut self, word: Word, read: Read) -> Option<Sighting> {
        let begins = matches!(self.back[0].token, Token::Semicolon);
        match word {
            Word::Where | Word::Having => {
                self.in_condition = true;
                self.had_condition = true;
                self.end_list();
            }
            Word::Order | Word::Group | Word::Limit => self.end_list(),
            Word::Select if begins => {
                self.first_is_of_rows |= self.is_first;
                return None;
            }
            Word::Select => {
                if let Some(union) = &mut self.union {
                    union.in_list = true;
                }
            }
            Word::Union if self.is_union(read) => {
                self.in_condition = false;
                self.union = Some(Union {
                    from: read.from,
                    counting: 0,
                    in_list: false,
                    nulls: 0,
                    other: false,
                });
            }
            Word::From => return self.end_of_list(read),
            Word::Catalog => return self.catalog(read),
            Word::Constant => self.column(read),
            Word::Into => {}
            Word::Begin(verb) if begins || matches!(verb, Verb::WaitFor | Verb::Execute) => {
                return self.verb(verb, read, begins);
            }
            Word::Abuse if runs_commands(self.bytes(read)) => {
                return self.procedure(read);
            }
            _ => self.other_word(read),
        }
        self.file(read)
    }

    fn other_word(&mut self, _: Read) {
        if let Some(union) = &mut self.union
            && union.in_list
        {
            union.other = true;
        }
    }

    fn is_union(&self, read: Read) -> bool {
        let word = self.bytes(read);
        word.eq_ignore_ascii_case(b"union")
    }

    fn end_list(&mut self) {
        if let Some(union) = &mut self.union {
            union.in_list = false;
        }
    }

    /// `1,2,3` and `null,null`: columns of nobody's.
    fn column(&mut self, read: Read) {
        let number = std::str::from_utf8(self.bytes(read))
            .ok()
            .and_then(|text| text.parse::<u64>().ok());
        let Some(union) = self.union.as_mut().filter(|union| union.in_list) else {
            return;
        };
        match read.token {
            Token::Number if number == Some(union.counting + 1) => union.counting += 1,
            Token::Word(Word::Constant) => union.nulls = union.nulls.saturating_add(1),
            Token::Number => union.other = true,
            _ => {}
        }
    }

    fn end_of_list(&mut self, read: Read) -> Option<Sighting> {
        let union = self.union?;
        self.end_list();
        let sighting = Sighting::new("union with counted columns", union.from, read.to);
        (union.in_list && union.counting >= 3 && self.first_is_of_rows).then_some(sighting)
    }

    fn catalog(&mut self, read: Read) -> Option<Sighting> {
        match self.union {
            Some(union) if !self.first_is_catalog && self.first_is_of_rows => Some(Sighting::new(
                "union with the database's own tables",
                union.from,
                read.to,
            )),
            Some(_) => None,
            None if self.in_condition && !self.first_is_catalog && self.is_first => Some(
                Sighting::new("condition on the database's own tables", read.from, read.to),
            ),
            None => {
                self.first_is_catalog |= self.is_first;
                None
            }
        }
    }

    /// A verb behind a semicolon, or one that SQL Server takes without.
    fn verb(&mut self, verb: Verb, read: Read, begins: bool) -> Option<Sighting> {
        if self.is_first && begins {
            self.first_is_of_rows = matches!(verb, Verb::Insert | Verb::Update | Verb::Delete);
            return None;
        }
        let behind_lookup = self.first_is_of_rows && self.had_condition;
        let sighting = Sighting::new("second statement", read.from, read.to);
        let destroys = matches!(verb, Verb::Drop | Verb::Truncate | Verb::Shutdown);
        let waits = verb == Verb::WaitFor;
        if behind_lookup && (destroys && begins || waits) {
            return Some(sighting);
        }
        if behind_lookup && begins {
            self.waits_for_cut = Some(sighting);
        }
        None
    }

    /// `xp_cmdshell` and its kin are no application's.
    fn procedure(&mut self, read: Read) -> Option<Sighting> {
        let runs = matches!(self.back[0].token, Token::Word(Word::Begin(Verb::Execute)));
        runs.then(|| Sighting::new("procedure that runs commands", read.from, read.to))
    }

    fn file(&mut self, read: Read) -> Option<Sighting> {
        let word = self.bytes(read);
        let writes = super::is_file_word(word) && self.back[0].token == Token::Word(Word::Into);
        let program = word.eq_ignore_ascii_case(b"program")
            && matches!(self.back[0].token, Token::Word(Word::From | Word::Name));
        if program && self.bytes(self.back[0]).eq_ignore_ascii_case(b"from") {
            return Some(Sighting::new("copy from a program", read.from, read.to));
        }
        if !writes {
            return None;
        }
        let sighting = Sighting::new("query that writes a file", read.from, read.to);
        let is_script = [b"<?".as_slice(), b"<%", b"3c3f"]
            .into_iter()
            .any(|mark| memchr::memmem::find(self.text, mark).is_some());
        if self.union.is_some() || is_script {
            return Some(sighting);
        }
        self.waits_for_cut = Some(sighting);
        None
    }

    /// A parenthesis: of a call, when a name stands before it.
    fn call(&mut self, read: Read) -> Option<Sighting> {
        let Token::Word(word) = self.back[0].token else {
            return None;
        };
        let name = self.bytes(self.back[0]);
        let from = self.back[0].from;
        match word {
            Word::Abuse if is_timer(name) => {
                let applies = self.in_condition || self.union.is_some() || self.behind_rows();
                applies.then(|| Sighting::new("condition that waits", from, read.to))
            }
            Word::Abuse if reaches_out(name) => {
                let applies = self.in_condition || self.union.is_some();
                applies.then(|| Sighting::new("condition that reaches out", from, read.to))
            }
            Word::Abuse => {
                self.telling_error = Some((from, 24));
                None
            }
            Word::Asking => self
                .union
                .filter(|union| union.in_list && self.first_is_of_rows && !self.first_is_catalog)
                .filter(|_| is_about_server(name))
                .map(|union| {
                    Sighting::new("union that asks about the server", union.from, read.to)
                }),
            _ => None,
        }
    }

    fn behind_rows(&self) -> bool {
        !self.is_first && self.first_is_of_rows && self.had_condition
    }

    /// An error that tells has the question among its arguments.
    fn count_tokens_of_error(&mut self, read: Read) {
        let Some((from, left)) = self.telling_error else {
            return;
        };
        let asks = match read.token {
            Token::Word(Word::Select | Word::Asking) => true,
            Token::Word(Word::Function) => self.bytes(read).eq_ignore_ascii_case(b"concat"),
            _ => false,
        };
        if asks {
            self.waits_for_cut = None;
            self.telling_error = Some((from, 0));
        } else {
            self.telling_error = left
                .checked_sub(1)
                .filter(|left| *left > 0)
                .map(|left| (from, left));
        }
    }

    /// `or 1=1`, `and 'a'='a'`, without parentheses of their own.
    fn literals(&mut self, read: Read) -> Option<Sighting> {
        if let Some((from, 0)) = self.telling_error {
            return Some(Sighting::new("error that tells", from, read.from.max(from)));
        }
        let [right, compare, left, joins, ..] = self.back;
        let is_literal = |read: Read| matches!(read.token, Token::Number | Token::Text { .. });
        if !is_literal(right) || !is_literal(left) || !self.in_condition {
            return None;
        }
        let is_or = match joins.token {
            Token::Word(Word::Logical) => self.bytes(joins).eq_ignore_ascii_case(b"or"),
            Token::Logical => true,
            _ => return None,
        };
        // What follows may make more of the right side: `or 1 = 1 + x`.
        if matches!(
            read.token,
            Token::Arithmetic | Token::Cast | Token::Text { .. }
        ) {
            return None;
        }
        if !matches!(compare.token, Token::Compare | Token::Word(Word::Compare)) {
            return None;
        }
        let (left_text, right_text) = (self.bytes(left), self.bytes(right));
        let equal = is_same(left_text, right_text);
        let equals = self.bytes(compare) == b"=" || compare.token != Token::Compare;
        let is_true = equal == equals;
        let closes = read.token == Token::Close;
        let sighting = Sighting::new("condition of literals", joins.from, right.to);
        let is_empty = matches!(left_text, b"''" | b"0" | b"\"\"");
        if is_or && is_true && !(closes && is_empty) {
            return Some(sighting);
        }
        // Generated queries say `and 1=1`; nobody says `and 4823=4823`.
        let odd =
            equals && equal && left_text.len() > 2 && right.token != Token::Text { open: true };
        if !is_or && odd {
            return Some(sighting);
        }
        self.waits_for_cut = Some(sighting);
        None
    }

    fn end(&mut self, ending: Ending) -> Option<Sighting> {
        let counts = |least| {
            self.union
                .filter(|union| self.first_is_of_rows && !union.other && union.counting >= least)
                .map(|union| {
                    Sighting::new("union with counted columns", union.from, self.text.len())
                })
        };
        let Ending::Comment { from } = ending else {
            return counts(3);
        };
        let comment = self.text.get(from..).unwrap_or_default();
        let body = comment
            .iter()
            .position(|byte| {
                !matches!(
                    byte,
                    b'-' | b'#' | b'/' | b'*' | b'+' | b')' | b'%' | 0..=b' '
                )
            })
            .map_or(&[] as &[u8], |start| &comment[start..]);
        let last = self.back[0];
        // The quote that was to close the literal is the first thing behind the comment's mark.
        if matches!(body.first(), Some(b'\'' | b'"'))
            && last.token != Token::Semicolon
            && self.had_condition
        {
            return Some(Sighting::new(
                "comment that cuts off a literal's end",
                last.from,
                self.text.len(),
            ));
        }
        let nulls = self.union.is_some_and(|union| union.nulls >= 2);
        counts(if nulls { 0 } else { 2 }).or_else(|| self.waits_for_cut.take())
    }
}

/// The same literal, whichever way it ends: what is open, the application closes.
fn is_same(left: &[u8], right: &[u8]) -> bool {
    let plain = |text: &[u8]| -> (usize, usize) {
        let quoted = matches!(text.first(), Some(b'\'' | b'"'));
        let closed = quoted && text.len() > 1 && text.last() == text.first();
        (usize::from(quoted), text.len() - usize::from(closed))
    };
    let (from, to) = plain(left);
    let (other_from, other_to) = plain(right);
    left.get(from..to) == right.get(other_from..other_to)
}

/// `xp_cmdshell`, `master..xp_dirtree`, `sp_oacreate`
fn runs_commands(name: &[u8]) -> bool {
    let last = name.rsplit(|byte| *byte == b'.').next().unwrap_or(name);
    starts_with_any(last, &[b"xp_", b"sp_oa"])
}

fn is_timer(name: &[u8]) -> bool {
    const TIMERS: &[&[u8]] = &[
        b"sleep",
        b"benchmark",
        b"pg_sleep",
        b"pg_catalog.pg_sleep",
        b"dbms_pipe",
        b"dbms_lock",
        b"dbms_session.sleep",
        b"sys.dbms_",
    ];
    starts_with_any(name, TIMERS)
}

fn reaches_out(name: &[u8]) -> bool {
    const FUNCTIONS: &[&[u8]] = &[
        b"load_file",
        b"utl_",
        b"ctxsys.drithsx",
        b"httpuritype",
        b"dbms_ldap",
        b"pg_read_file",
        b"pg_ls_dir",
        b"lo_import",
        b"load_extension",
        b"openrowset",
        b"sys_exec",
        b"sys_eval",
        b"randomblob",
    ];
    starts_with_any(name, FUNCTIONS)
}

fn is_about_server(name: &[u8]) -> bool {
    const QUESTIONS: &[&[u8]] = &[
        b"version",
        b"database",
        b"user",
        b"current_user",
        b"session_user",
        b"system_user",
        b"current_database",
        b"schema",
    ];
    QUESTIONS
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

fn starts_with_any(name: &[u8], starts: &[&[u8]]) -> bool {
    starts.iter().any(|start| {
        name.get(..start.len())
            .is_some_and(|front| front.eq_ignore_ascii_case(start))
    })
}
