//! From a regular expression to what finds it: the same expression in Hyperscan's words, and an
//! automaton that runs backwards from the end of a match to its beginning.
//!
//! The language is that of the crate `regex-syntax` over bytes: no look-around, no back references.
//! Both engines are made from its syntax tree, so that they cannot disagree about what is written.

use std::fmt::Write;

use hyperscan::{Builder, Pattern, PatternFlags};
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::{Anchored, Input, MatchKind};
use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// A match is looked at in so many bytes before its end; a longer one is cut at the front.
pub const WINDOW_BYTES: usize = 256;

/// Bounds of what one expression may compile to.
const NFA_BYTES_MAX: usize = 1 << 20;
const AUTOMATON_BYTES_MAX: usize = 1 << 20;
const DETERMINIZE_BYTES_MAX: usize = 8 << 20;
const NEST_MAX: u32 = 50;
/// The group that says which part of a match is the value.
const VALUE_GROUP: &str = "value";

/// Finds where a match begins.
pub(super) enum Finder {
    /// So many bytes before its end.
    Fixed(usize),
    /// Where the automaton says.
    Backwards(Box<Backwards>),
}

/// The automata of one expression.
pub(super) struct Backwards {
    whole: Reverse,
    /// The part in the group `value`.
    value: Option<Reverse>,
    /// A match may be longer than the window.
    is_long: bool,
}

type Reverse = dense::DFA<Vec<u32>>;

/// An expression, understood.
pub(super) struct Expression {
    /// In Hyperscan's words.
    pub(super) hyperscan: String,
    pub(super) finder: Finder,
    /// A match may be longer than the window.
    pub(super) is_long: bool,
}

/// Why an expression cannot be used, and what to do.
pub(super) type Refused = (String, &'static str);

impl Expression {
    pub(super) fn parse(text: &str, ignore_case: bool) -> Result<Self, Refused> {
        let hir = regex_syntax::ParserBuilder::new()
            .unicode(false)
            .utf8(false)
            .case_insensitive(ignore_case)
            .nest_limit(NEST_MAX)
            .build()
            .parse(text)
            .map_err(|error| (syntax_error(&error), "correct the expression"))?;
        let properties = hir.properties();
        let Some(least) = properties.minimum_len() else {
            return Err(("can never match".into(), "correct the expression"));
        };
        if least == 0 {
            let next_step = "let it demand at least one character";
            return Err(("matches where nothing is".into(), next_step));
        }
        if least > WINDOW_BYTES {
            let why =
                format!("matches nothing shorter than {least} bytes, more than {WINDOW_BYTES}");
            return Err((why, "look for a part of it"));
        }
        let is_long = properties
            .maximum_len()
            .is_none_or(|most| most > WINDOW_BYTES);
        let mut hyperscan = String::new();
        write_expression(&hir, &mut hyperscan)?;
        let value = value_part(&hir)?;
        // First the bounded automaton: what is too large for it is too large for Hyperscan, which
        // would take long to say so.
        let backwards = Backwards {
            whole: reverse(&hir)?,
            value: value.map(reverse).transpose()?,
            is_long,
        };
        check(&hyperscan)?;
        Ok(Self {
            hyperscan,
            finder: Finder::Backwards(Box::new(backwards)),
            is_long,
        })
    }

    /// A text, anywhere or as a whole word.
    pub(super) fn text(text: &str, whole_word: bool, ignore_case: bool) -> Self {
        let bytes = text.as_bytes();
        let boundary = |byte: Option<&u8>| {
            let in_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
            if whole_word && byte.is_some_and(in_word) {
                "\\b"
            } else {
                ""
            }
        };
        let mut hyperscan = boundary(bytes.first()).to_owned();
        for &byte in bytes {
            let other = byte ^ 0x20;
            if ignore_case && byte.is_ascii_alphabetic() {
                let _ = write!(hyperscan, "[{}{}]", char::from(byte), char::from(other));
            } else {
                write_byte(byte, &mut hyperscan);
            }
        }
        hyperscan.push_str(boundary(bytes.last()));
        Self {
            hyperscan,
            finder: Finder::Fixed(bytes.len()),
            is_long: false,
        }
    }
}

impl Finder {
    /// Where the match that ends at `end` begins, and where its value does. `first` is the first place
    /// to look at; what lies before it is context.
    pub(super) fn begin(&self, bytes: &[u8], first: usize, end: usize) -> Option<(usize, usize)> {
        match self {
            Finder::Fixed(length) => {
                let start = end.checked_sub(*length)?;
                Some((start, start))
            }
            Finder::Backwards(automata) => {
                let start = search(&automata.whole, bytes, first, end)
                    .or(automata.is_long.then_some(first))?;
                let value = match &automata.value {
                    Some(value) => search(value, bytes, start, end)?,
                    None => start,
                };
                Some((start, value))
            }
        }
    }
}

fn search(automaton: &Reverse, bytes: &[u8], first: usize, end: usize) -> Option<usize> {
    if first > end || end > bytes.len() {
        return None;
    }
    let input = Input::new(bytes).span(first..end).anchored(Anchored::Yes);
    Some(automaton.try_search_rev(&input).ok()??.offset())
}

fn reverse(hir: &Hir) -> Result<Reverse, Refused> {
    let too_large = |_| {
        let why = "needs more memory than one expression may have".to_owned();
        (why, "bound its repetitions lower, or divide it")
    };
    let nfa = thompson::Compiler::new()
        .configure(
            thompson::Config::new()
                .utf8(false)
                .reverse(true)
                .which_captures(thompson::WhichCaptures::None)
                .nfa_size_limit(Some(NFA_BYTES_MAX)),
        )
        .build_from_hir(hir)
        .map_err(|_| too_large(()))?;
    dense::Builder::new()
        .configure(
            dense::Config::new()
                .match_kind(MatchKind::All)
                .start_kind(StartKind::Anchored)
                .accelerate(false)
                .dfa_size_limit(Some(AUTOMATON_BYTES_MAX))
                .determinize_size_limit(Some(DETERMINIZE_BYTES_MAX)),
        )
        .build_from_nfa(&nfa)
        .map_err(|_| too_large(()))
}

fn check(hyperscan: &str) -> Result<(), Refused> {
    let refused = |error: hyperscan::Error| {
        let why = format!("cannot be looked for in streams: {error}");
        (why, "write it simpler")
    };
    let pattern = Pattern::with_flags(hyperscan, PatternFlags::empty()).map_err(refused)?;
    let database: Result<hyperscan::StreamingDatabase, _> = pattern.build();
    database.map(drop).map_err(refused)
}

/// The reason without the drawing that the crate makes of it.
fn syntax_error(error: &regex_syntax::Error) -> String {
    match error {
        regex_syntax::Error::Parse(error) => {
            let column = error.span().start.column;
            format!("at character {column}: {}", error.kind())
        }
        regex_syntax::Error::Translate(error) => error.kind().to_string(),
        _ => "cannot be read".to_owned(),
    }
}

/// The group `value`, which has to stand at the end.
fn value_part(hir: &Hir) -> Result<Option<&Hir>, Refused> {
    let is_value = |part: &Hir| matches!(part.kind(), HirKind::Capture(group) if group.name.as_deref() == Some(VALUE_GROUP));
    let last = match hir.kind() {
        HirKind::Concat(parts) => parts
            .iter()
            .rfind(|part| !matches!(part.kind(), HirKind::Look(_))),
        _ => Some(hir),
    };
    let last = last.filter(|part| is_value(part));
    if last.is_none() && has(hir, &is_value) {
        let why = format!("has the group {VALUE_GROUP} elsewhere than at its end");
        return Err((why, "end the expression with the group"));
    }
    Ok(last)
}

fn has(hir: &Hir, wanted: &impl Fn(&Hir) -> bool) -> bool {
    wanted(hir)
        || match hir.kind() {
            HirKind::Repetition(repetition) => has(&repetition.sub, wanted),
            HirKind::Capture(group) => has(&group.sub, wanted),
            HirKind::Concat(parts) | HirKind::Alternation(parts) => {
                parts.iter().any(|part| has(part, wanted))
            }
            _ => false,
        }
}

fn write_byte(byte: u8, out: &mut String) {
    if byte.is_ascii_alphanumeric() {
        out.push(char::from(byte));
    } else {
        let _ = write!(out, "\\x{byte:02x}");
    }
}

fn write_expression(hir: &Hir, out: &mut String) -> Result<(), Refused> {
    match hir.kind() {
        HirKind::Empty => out.push_str("(?:)"),
        HirKind::Literal(literal) => literal.0.iter().for_each(|byte| write_byte(*byte, out)),
        HirKind::Class(class) => write_class(class, out)?,
        HirKind::Look(look) => out.push_str(look_around(*look)?),
        HirKind::Repetition(repetition) => {
            out.push_str("(?:");
            write_expression(&repetition.sub, out)?;
            out.push(')');
            let _ = match (repetition.min, repetition.max) {
                (min, None) => write!(out, "{{{min},}}"),
                (min, Some(max)) => write!(out, "{{{min},{max}}}"),
            };
        }
        HirKind::Capture(group) => {
            out.push_str("(?:");
            write_expression(&group.sub, out)?;
            out.push(')');
        }
        HirKind::Concat(parts) => {
            for part in parts {
                write_expression(part, out)?;
            }
        }
        HirKind::Alternation(parts) => {
            out.push_str("(?:");
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    out.push('|');
                }
                write_expression(part, out)?;
            }
            out.push(')');
        }
    }
    Ok(())
}

fn write_class(class: &Class, out: &mut String) -> Result<(), Refused> {
    let class = match class {
        Class::Bytes(class) => class.clone(),
        Class::Unicode(class) => class.to_byte_class().ok_or_else(|| {
            let why = "has a class of characters beyond ASCII".to_owned();
            (why, "list the characters one by one: (?:ä|ö)")
        })?,
    };
    out.push('[');
    for range in class.ranges() {
        let _ = write!(out, "\\x{:02x}-\\x{:02x}", range.start(), range.end());
    }
    out.push(']');
    Ok(())
}

fn look_around(look: Look) -> Result<&'static str, Refused> {
    match look {
        Look::Start => Ok("\\A"),
        Look::End => Ok("\\z"),
        Look::StartLF => Ok("(?m:^)"),
        Look::EndLF => Ok("(?m:$)"),
        Look::WordAscii => Ok("\\b"),
        Look::WordAsciiNegate => Ok("\\B"),
        _ => Err((
            "has a kind of anchor or boundary that streams are not searched for".into(),
            "use \\A, \\z, \\b or \\B",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        match Expression::parse(text, false) {
            Ok(_) => String::new(),
            Err((why, _)) => why,
        }
    }

    #[test]
    fn what_cannot_be_enforced_is_refused_with_the_reason() {
        for (text, why) in [
            ("a(b", "unclosed group"),
            (r"(a)\1", "backreferences are not supported"),
            ("a(?=b)", "look-around"),
            ("a*", "matches where nothing is"),
            ("[a&&b]x", "can never match"),
            ("x{300}", "more than 256"),
            ("(?:a{1000}){1000}", "256"),
            ("(?:[ab]{1,30}x){1,200}.{0,200}", "memory"),
            (r"\b{start}a", "boundary"),
            ("[äö]", "Unicode"),
            ("(?<value>a)b", "elsewhere"),
        ] {
            let told = refusal(text);
            assert!(told.contains(why), "{text}: {told:?} does not say {why:?}");
        }
    }

    #[test]
    fn the_beginning_and_the_value_of_a_match_are_found() {
        let text = b"xx key = 'abc123'";
        let expression = Expression::parse(r"key {0,3}= {0,3}'?(?<value>[a-z0-9]{3,9})", false);
        let finder = expression.ok().map(|expression| expression.finder);
        let finder = finder.unwrap_or(Finder::Fixed(0));
        assert_eq!(finder.begin(text, 0, 16), Some((3, 10)));
        assert_eq!(finder.begin(text, 0, 13), Some((3, 10)));
        assert_eq!(finder.begin(text, 0, 12), None);
        assert_eq!(
            finder.begin(text, 4, 16),
            None,
            "begins before what is looked at"
        );
    }
}
