//! Regular expressions: what each becomes, and who evaluates it.
//!
//! Hyperscan evaluates every expression that it takes: in linear time, without allocating. What it
//! refuses (look-around, back-references) is first asked of Hyperscan's approximation, which never says
//! no where the answer is yes, and only then of an engine that tracks back, within a limit of steps.

use hyperscan::{BlockDatabase, Pattern, PatternFlags};

use crate::library::END_MARK;
use crate::rule::Pcre;

/// Steps that an expression may take which tracks back, per search.
const BACKTRACK_STEPS: usize = 50_000;

/// An expression, ready to search with.
pub(crate) struct Expression {
    /// Who searches.
    pub engine: Engine,
    /// Whether it says something of the place where the bytes begin: `^`, `\A`, `\b`, looking behind.
    pub looks_at_start: bool,
    /// Whether it says something of the place where the bytes end.
    pub looks_at_end: bool,
}

/// Who searches.
pub(crate) enum Engine {
    /// Hyperscan alone.
    Exact(BlockDatabase),
    /// The limited engine, where Hyperscan's approximation (if it has one) finds something.
    Confirmed(Option<BlockDatabase>, fancy_regex::Regex),
}

/// An expression as Hyperscan reads it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    pub expression: String,
    pub flags: u32,
}

impl Source {
    /// What Hyperscan is given for a `pcre`: as written, but that the end is [`END_MARK`].
    pub fn of(pcre: &Pcre) -> Self {
        let mut flags = PatternFlags::empty();
        flags.set(PatternFlags::CASELESS, pcre.caseless);
        flags.set(PatternFlags::DOTALL, pcre.dot_all);
        flags.set(PatternFlags::MULTILINE, pcre.multi_line);
        Self {
            expression: marked_end(&text_of(pcre), pcre.multi_line),
            flags: flags.bits(),
        }
    }

    /// Whether it is a literal.
    pub fn is_literal(&self) -> bool {
        self.expression.len().is_multiple_of(4)
            && self
                .expression
                .as_bytes()
                .chunks(4)
                .all(|part| part.starts_with(b"\\x") && part[2..].iter().all(u8::is_ascii_hexdigit))
    }

    /// Of a literal, its length.
    pub fn literal_bytes(&self) -> u32 {
        self.expression.len() as u32 / 4
    }

    /// Whether Hyperscan reads it without approximation; it may still be too large for it.
    pub fn is_understood(&self) -> bool {
        let flags = PatternFlags::from_bits_truncate(self.flags) | PatternFlags::ALLOWEMPTY;
        Pattern::with_flags(self.expression.clone(), flags)
            .and_then(|pattern| pattern.info())
            .is_ok()
    }

    /// What Hyperscan is given for a literal: each byte written as `\xNN`.
    pub fn literal(bytes: &[u8], nocase: bool) -> Self {
        let mut flags = PatternFlags::DOTALL;
        flags.set(PatternFlags::CASELESS, nocase);
        Self {
            expression: bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect(),
            flags: flags.bits(),
        }
    }
}

/// The expression with what its letters say that Hyperscan has no flag for.
fn text_of(pcre: &Pcre) -> String {
    let mut text = pcre.expression.replace("\\/", "/");
    if pcre.dollar_is_end {
        text = dollar_as_end(&text);
    }
    if pcre.extended {
        // A line end closes what could be a comment.
        text = format!("(?x:{text}\n)");
    }
    if pcre.anchored {
        text = format!("\\A(?:{text})");
    }
    text
}

/// Every anchor at the end becomes [`END_MARK`].
fn marked_end(text: &str, multi_line: bool) -> String {
    let mark: String = END_MARK
        .iter()
        .map(|byte| format!("\\x{byte:02x}"))
        .collect();
    let mut out = String::with_capacity(text.len() + mark.len());
    for part in tokens(text) {
        match part {
            Token::Plain("\\z") => out.push_str(&mark),
            Token::Plain("$") if multi_line => out.push_str(&format!("(?:\\n|{mark})")),
            Token::Plain("$" | "\\Z") => out.push_str(&format!("(?:\\n?{mark})")),
            Token::Plain(text) | Token::Class(text) => out.push_str(text),
        }
    }
    out
}

/// Every `$` outside a class becomes `\z`.
fn dollar_as_end(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    for part in tokens(text) {
        match part {
            Token::Plain("$") => out.push_str("\\z"),
            Token::Plain(text) | Token::Class(text) => out.push_str(text),
        }
    }
    out
}

/// A character (with the backslash before it), or a whole class.
enum Token<'a> {
    Plain(&'a str),
    Class(&'a str),
}

/// Cuts an expression where its meaning needs it for finding anchors.
fn tokens(text: &str) -> impl Iterator<Item = Token<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let length = match first {
            '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            '[' => class_length(rest),
            other => other.len_utf8(),
        };
        let (token, behind) = rest.split_at(length);
        rest = behind;
        Some(if first == '[' {
            Token::Class(token)
        } else {
            Token::Plain(token)
        })
    })
}

fn class_length(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1).peekable();
    let mut at_start = true;
    while let Some((index, character)) = characters.next() {
        match character {
            '^' if at_start => continue,
            ']' if !at_start => return index + 1,
            '\\' => {
                characters.next();
            }
            '[' if text[index..].starts_with("[:") => {
                while let Some((_, inner)) = characters.next() {
                    if inner == ':' && characters.peek().is_some_and(|next| next.1 == ']') {
                        characters.next();
                        break;
                    }
                }
            }
            _ => {}
        }
        at_start = false;
    }
    text.len()
}

/// Whether the expression says something of the place where the bytes begin, and where they end.
pub(crate) fn looks_at_ends(pcre: &Pcre) -> (bool, bool) {
    let text = &pcre.expression;
    let (mut start, mut end) = (pcre.anchored, false);
    for token in tokens(text) {
        match token {
            Token::Plain("^" | "\\A" | "\\G") => start = true,
            Token::Plain("$" | "\\z" | "\\Z") => end = true,
            Token::Plain("\\b" | "\\B") => (start, end) = (true, true),
            _ => {}
        }
    }
    start |= text.contains("(?<=") || text.contains("(?<!");
    end |= text.contains("(?=") || text.contains("(?!") || text.contains("(?>");
    (start, end)
}

/// The engine that tracks back, for an expression that Hyperscan refuses.
pub(crate) fn backtracking(pcre: &Pcre) -> Result<fancy_regex::Regex, String> {
    fancy_regex::RegexBuilder::new(&text_of(pcre))
        .case_insensitive(pcre.caseless)
        .dot_matches_new_line(pcre.dot_all)
        .multi_line(pcre.multi_line)
        .unicode_mode(false)
        .bytes_mode(fancy_regex::BytesMode::Ascii)
        .backtrack_limit(BACKTRACK_STEPS)
        .delegate_size_limit(1 << 20)
        .build()
        .map_err(|error| error.to_string().lines().last().unwrap_or("").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pcre(expression: &str) -> Pcre {
        Pcre {
            expression: expression.to_owned(),
            caseless: false,
            dot_all: false,
            multi_line: false,
            extended: false,
            anchored: false,
            dollar_is_end: false,
            ungreedy: false,
            relative: false,
            negated: false,
        }
    }

    #[test]
    fn anchors_are_found_outside_classes_only() {
        for (text, ends) in [
            ("abc", (false, false)),
            ("^abc", (true, false)),
            ("abc$", (false, true)),
            ("[^$]", (false, false)),
            ("[]^$]a", (false, false)),
            (r"\$\^", (false, false)),
            (r"a\b", (true, true)),
            ("[[:alpha:]$]x", (false, false)),
            ("a(?!b)", (false, true)),
        ] {
            assert_eq!(looks_at_ends(&pcre(text)), ends, "{text}");
        }
    }

    #[test]
    fn a_dollar_that_is_the_end_is_written_so() {
        let end = Pcre {
            dollar_is_end: true,
            ..pcre(r"a[$]\$$")
        };
        assert_eq!(text_of(&end), r"a[$]\$\z");
    }
}
