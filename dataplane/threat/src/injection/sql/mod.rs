//! SQL injection: does a value, put where an application puts values, become SQL of its own?
//!
//! A value is read three ways: as it stands (the application wrote no quotes around it), behind the
//! first `'`, and behind the first `"` or backtick. What follows the break-out has to *parse* as the
//! continuation of an expression, and what was found in it has to be more than prose or a search
//! phrase could say: literals compared with each other, a union with columns, a second statement, a
//! tail that the value cuts off by a comment or leaves open for the application's own quote.
//!
//! Statements as a database receives them are judged apart, see [`statement`].
//!
//! Trusts nothing. Time: a bounded number of readings of at most 512 tokens each. Memory: none.

mod expression;
mod grammar;
mod signs;
pub(super) mod statement;
mod token;
mod verbs;
mod word;

use self::grammar::{Grammar, Operand};
use self::signs::{Sign, Signs};
use self::token::{Ending, Token};
use self::word::{Verb, Word};
use super::sighting::Sighting;

/// Quotes tried as the end of the application's literal, of each kind.
const MAX_BREAKS: usize = 12;

const ABUSE: &str = "call of a function that waits, reads files or tells by errors";

/// What was read behind a break-out.
struct Reading<'a> {
    value: &'a [u8],
    signs: Signs,
    /// It parsed to its end.
    whole: bool,
    ending: Option<Ending>,
    comments: bool,
    to: usize,
}

impl<'a> Reading<'a> {
    fn has(&self, sign: Sign) -> bool {
        self.signs.has(sign)
    }

    fn any(&self, signs: &[Sign]) -> bool {
        self.signs.any(signs)
    }

    /// The value takes care of what the application writes behind it.
    fn closes(&self) -> bool {
        self.cuts() || self.ending == Some(Ending::Quote)
    }

    fn cuts(&self) -> bool {
        matches!(self.ending, Some(Ending::Comment { .. }))
    }

    /// The value cuts off what the application writes behind it, and says nothing more.
    fn cuts_short(&self) -> bool {
        let Some(Ending::Comment { from }) = self.ending else {
            return false;
        };
        let comment = self.value.get(from..).unwrap_or_default();
        comment.len() <= 8
            && comment
                .iter()
                .all(|byte| matches!(byte, b'-' | b'#' | b'/' | b'*' | b'+' | 0..=b' '))
    }

    fn of(value: &'a [u8], mut grammar: Grammar<'a>, first: Option<Operand>) -> Self {
        let whole = match first {
            None if grammar.begins_with_operand() => grammar
                .logical(None)
                .and_then(|_| grammar.continuation(None)),
            first => grammar.continuation(first),
        }
        .is_ok();
        Self {
            value,
            signs: grammar.signs,
            whole,
            ending: grammar.ending(),
            comments: grammar.had_comments(),
            to: grammar.at(),
        }
    }

    /// What no expression of an application's user contains, quoted or not.
    fn loud(&self) -> Option<&'static str> {
        let joined = self.any(&[
            Sign::Logical,
            Sign::Joined,
            Sign::Arithmetic,
            Sign::Union,
            Sign::Subselect,
            Sign::Stacked,
        ]);
        let apart = self.any(&[Sign::Union, Sign::Subselect, Sign::Stacked, Sign::Tautology]);
        if self.has(Sign::Abuse) && joined && (self.whole || apart) {
            return Some(ABUSE);
        }
        if self.has(Sign::File) {
            return Some("query that writes a file");
        }
        if self.has(Sign::Union)
            && (self.whole || self.any(&[Sign::Catalog, Sign::Abuse, Sign::Asking]))
        {
            return Some("union with another query");
        }
        if !self.whole {
            return None;
        }
        if self.has(Sign::Stacked) {
            return Some("second statement");
        }
        if self.has(Sign::Tautology) {
            return Some("condition of literals");
        }
        None
    }

    /// A subselect or a question about the server, joined to the application's expression.
    fn asks(&self) -> Option<&'static str> {
        let joined = self.any(&[
            Sign::Logical,
            Sign::Joined,
            Sign::Arithmetic,
            Sign::Compared,
        ]);
        if !self.whole {
            return None;
        }
        if self.has(Sign::Subselect) && joined {
            return Some("query within the expression");
        }
        let linked = self.any(&[Sign::Joined, Sign::Arithmetic, Sign::Function])
            || (self.has(Sign::Compared) && (self.has(Sign::Logical) || !self.has(Sign::Named)));
        if self.has(Sign::Asking) && linked {
            return Some("question about the server");
        }
        if self.has(Sign::Case) && (joined || self.any(&[Sign::Subselect, Sign::Function])) {
            return Some("conditional expression");
        }
        if self.has(Sign::FaintUnion) && (self.comments || self.cuts()) {
            return Some("union with another query");
        }
        None
    }

    /// The value stands where the application wrote no quotes.
    fn judge_bare(&self) -> Option<&'static str> {
        if let Some(sign) = self.loud().or_else(|| self.asks()) {
            return Some(sign);
        }
        if !self.whole {
            return None;
        }
        let logical = self.any(&[Sign::Logical, Sign::Joined]);
        let named = self.has(Sign::Named);
        if logical && self.has(Sign::Compared) && self.has(Sign::Function) && !named {
            return Some("condition with a function");
        }
        if logical
            && self.any(&[Sign::Compared, Sign::Constant])
            && (self.cuts_short() || (self.cuts() && !named))
        {
            return Some("condition before a comment");
        }
        if self.has(Sign::Abuse) && self.has(Sign::Compared) && !named {
            return Some(ABUSE);
        }
        if self.any(&[Sign::Order, Sign::Clause]) && (self.cuts_short() || !named) {
            return Some("clause of a query");
        }
        None
    }

    /// The value ended the application's literal.
    fn judge_quoted(&self) -> Option<&'static str> {
        if let Some(sign) = self.loud().or_else(|| self.asks()) {
            return Some(sign);
        }
        if self.has(Sign::Abuse) && self.any(&[Sign::Compared, Sign::Order]) {
            return Some(ABUSE);
        }
        if !self.whole {
            return None;
        }
        let logical = self.any(&[Sign::Logical, Sign::Joined]);
        let called = self.any(&[Sign::Function, Sign::Case, Sign::Asking]);
        let closes = self.cuts() || (self.closes() && (logical || !self.has(Sign::Named)));
        if called && (closes || (logical && self.has(Sign::Compared))) {
            return Some("condition with a function");
        }
        if logical && self.any(&[Sign::Compared, Sign::Constant]) && self.closes() {
            return Some("condition behind a closed literal");
        }
        let clause = self.any(&[Sign::Order, Sign::Clause]) && self.cuts();
        if clause || (self.has(Sign::FaintUnion) && self.cuts()) {
            return Some("clause of a query");
        }
        if self.has(Sign::Compared) && self.cuts_short() {
            return Some("comparison before a comment");
        }
        None
    }
}

impl Grammar<'_> {
    /// Whether an operand comes first, rather than what would follow one of the application's.
    fn begins_with_operand(&self) -> bool {
        !matches!(
            self.ahead,
            Token::Close
                | Token::Logical
                | Token::Semicolon
                | Token::End(_)
                | Token::Word(
                    Word::Logical
                        | Word::Union
                        | Word::Order
                        | Word::Group
                        | Word::Having
                        | Word::Where
                        | Word::Limit
                        | Word::Into
                        | Word::Procedure
                )
        )
    }

    /// Whether this is a statement as a whole, such as a field of an administrator's tool holds.
    fn begins_a_statement(&self) -> bool {
        matches!(
            self.ahead,
            Token::Word(
                Word::Select
                    | Word::Begin(
                        Verb::Insert
                            | Verb::Update
                            | Verb::Delete
                            | Verb::Create
                            | Verb::Alter
                            | Verb::Drop
                            | Verb::With
                            | Verb::Grant
                            | Verb::Set
                            | Verb::Use
                            | Verb::Describe
                            | Verb::Replace
                            | Verb::Begin
                            | Verb::Copy
                    )
            )
        )
    }
}

/// What is telling in `value`, if it injects SQL.
pub(super) fn look(value: &[u8]) -> Option<Sighting> {
    let grammar = Grammar::new(value, 0);
    let is_statement = grammar.begins_a_statement();
    if is_statement {
        if let Some(sighting) = statement::look_within(value) {
            return Some(sighting);
        }
    } else if let Some(sighting) = bare(value, grammar) {
        return Some(sighting);
    }
    [b'\'', b'"', b'`']
        .into_iter()
        .find_map(|quote| quoted(value, quote, is_statement))
}

fn bare(value: &[u8], grammar: Grammar<'_>) -> Option<Sighting> {
    let from = grammar.from();
    let is_call = grammar.word_ahead() == Some(Word::Abuse);
    let parenthesis = grammar.ahead == Token::Open;
    let reading = Reading::of(value, grammar, None);
    let sign = reading.judge_bare().or_else(|| {
        let alone = reading.whole
            && ((is_call
                && reading.has(Sign::Abuse)
                && !reading.has(Sign::Named)
                && reading.ending == Some(Ending::Plain))
                || (parenthesis && reading.has(Sign::Subselect))
                || (reading.any(&[Sign::Function, Sign::Subselect]) && reading.has(Sign::Abuse)));
        alone.then_some("call or query in place of a value")
    })?;
    Some(Sighting::new(sign, from, reading.to.min(value.len())))
}

fn quoted(value: &[u8], quote: u8, is_statement: bool) -> Option<Sighting> {
    let mut plain = 0;
    let breaks = memchr::memchr_iter(quote, value).take(MAX_BREAKS);
    for from in breaks {
        let escaped = from > 0 && value[from - 1] == b'\\';
        let first = if quote == b'`' {
            Operand::Name
        } else {
            Operand::Text
        };
        let reading = Reading::of(value, Grammar::new(value, from + 1), Some(first));
        let sign = if plain == 0 {
            reading
                .judge_quoted()
                .or_else(|| cut_or_probe(value, from, &reading))
        } else if is_statement {
            return None;
        } else {
            reading.loud().filter(|_| reading.closes())
        };
        if let Some(sign) = sign {
            return Some(Sighting::new(sign, from, reading.to.min(value.len())));
        }
        plain += usize::from(!escaped);
    }
    None
}

/// `admin'--`, and `'='`.
fn cut_or_probe(value: &[u8], from: usize, reading: &Reading) -> Option<&'static str> {
    if value.trim_ascii() == b"'='" || value.trim_ascii() == b"\"=\"" {
        return Some("comparison with the application's literal");
    }
    let Some(Ending::Comment { from: comment }) = reading.ending else {
        return None;
    };
    let before = &value[..from];
    let between = value.get(from + 1..comment)?;
    let is_word = before.len() <= 64 && !before.iter().any(u8::is_ascii_whitespace);
    let closes = between
        .iter()
        .all(|byte| matches!(byte, b')' | b';') || byte.is_ascii_whitespace());
    (reading.whole && is_word && closes && reading.cuts_short())
        .then_some("comment behind a closed literal")
}

/// What `drop`, `create` and `alter` are about.
fn is_kind_of_object(word: &[u8]) -> bool {
    const KINDS: &[&[u8]] = &[
        b"table",
        b"database",
        b"schema",
        b"view",
        b"user",
        b"login",
        b"index",
        b"function",
        b"procedure",
        b"trigger",
        b"role",
        b"extension",
        b"column",
        b"sequence",
        b"proc",
        b"tablespace",
        b"assembly",
        b"alias",
    ];
    KINDS.iter().any(|kind| word.eq_ignore_ascii_case(kind))
}

/// Questions that are asked without parentheses.
fn needs_no_call(word: &[u8]) -> bool {
    const WORDS: &[&[u8]] = &[b"current_user", b"session_user", b"system_user"];
    WORDS.iter().any(|known| word.eq_ignore_ascii_case(known))
}

fn is_file_word(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"outfile") || word.eq_ignore_ascii_case(b"dumpfile")
}

fn is_drop_option(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"cascade") || word.eq_ignore_ascii_case(b"restrict")
}

fn is_stored_procedure(name: &[u8]) -> bool {
    let last = name.rsplit(|byte| *byte == b'.').next().unwrap_or(name);
    name.contains(&b'.')
        || name.eq_ignore_ascii_case(b"immediate")
        || [b"sp_", b"xp_"].iter().any(|start| {
            last.get(..3)
                .is_some_and(|name| name.eq_ignore_ascii_case(*start))
        })
}

/// Words that show a statement to be one: `copy t from program`, `load data infile`.
fn is_telling(verb: Verb, word: &[u8]) -> bool {
    let words: &[&[u8]] = match verb {
        Verb::Copy => &[b"from", b"to"],
        Verb::Load => &[b"infile"],
        Verb::Grant => &[b"to", b"on"],
        Verb::Begin => &[b"declare", b"tran", b"transaction", b"execute"],
        _ => &[b"$$", b"database", b"log", b"reconfigure", b"table"],
    };
    words
        .iter()
        .any(|telling| word.eq_ignore_ascii_case(telling))
}
