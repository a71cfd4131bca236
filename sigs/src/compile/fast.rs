//! Which literal of a group is looked for first: the one that tells the most, or the author's choice.

use super::chain::commonness;
use super::expression::Source;
use super::required::beginnings;
use crate::rule::{Content, Matcher, Pcre, Range, Value, pcre_text, quoted_bytes};

/// Longer literals tell no more, and cost a streaming database memory per stream.
pub(crate) const LONGEST: usize = 24;

/// What the databases are asked for on behalf of a group.
pub(crate) enum Fast<'a> {
    /// Bytes that must be there.
    Literal {
        bytes: &'a [u8],
        nocase: bool,
        /// How much it tells, comparable between groups.
        worth: u32,
    },
    /// Of these bytes one must be there.
    OneOf {
        literals: Vec<Vec<u8>>,
        nocase: bool,
    },
    /// There is no such literal, but an expression that must match.
    Expression(&'a Pcre),
    /// Nothing that must be there.
    Nothing,
}

impl Fast<'_> {
    /// How much finding it tells.
    pub fn worth(&self) -> u32 {
        match self {
            Self::Literal { worth, .. } => *worth,
            Self::OneOf { .. } | Self::Expression(_) => 1,
            Self::Nothing => 0,
        }
    }
}

/// The first thing to look for.
pub(crate) fn choose(matchers: &[Matcher]) -> Fast<'_> {
    let contents = matchers.iter().filter_map(|matcher| match matcher {
        Matcher::Content(content) if !content.negated => Some(content),
        _ => None,
    });
    let best = contents.max_by_key(|content| {
        // An author's choice counts before any other.
        (content.fast_pattern.is_some(), worth(content))
    });
    if let Some(content) = best {
        let bytes = part(content);
        let chosen = if content.fast_pattern.is_some() {
            1 << 16
        } else {
            0
        };
        return Fast::Literal {
            bytes,
            nocase: content.nocase,
            worth: worth(content) + chosen,
        };
    }
    if let [Matcher::Pcre(pcre)] = matchers
        && let Some(mut literals) = beginnings(pcre)
    {
        literals.iter_mut().for_each(|one| one.truncate(LONGEST));
        return Fast::OneOf {
            literals,
            nocase: pcre.caseless,
        };
    }
    let expression = matchers.iter().find_map(|matcher| match matcher {
        Matcher::Pcre(pcre) if !pcre.negated => Some(pcre),
        _ => None,
    });
    expression.map_or(Fast::Nothing, Fast::Expression)
}

/// What is looked for first in a group's buffer, in words; only where it is found the rest is asked.
pub fn sought_first(matchers: &[Matcher]) -> String {
    match choose(matchers) {
        Fast::Literal { bytes, nocase, .. } => {
            format!("\"{}\"{}", quoted_bytes(bytes), case(nocase))
        }
        Fast::OneOf { literals, nocase } => {
            let literals: Vec<String> = literals
                .iter()
                .map(|bytes| format!("\"{}\"", quoted_bytes(bytes)))
                .collect();
            format!("one of {}{}", literals.join(", "), case(nocase))
        }
        Fast::Expression(pcre) => pcre_text(pcre),
        Fast::Nothing => "nothing: the rule is asked of each such buffer".to_owned(),
    }
}

const fn case(nocase: bool) -> &'static str {
    match nocase {
        true => " in upper or lower case",
        false => "",
    }
}

/// The part of a content that is looked for.
fn part(content: &Content) -> &[u8] {
    let bytes = &content.bytes;
    let chosen = content.fast_pattern.and_then(|fast| fast.part);
    if let Some((from, length)) = chosen {
        let (from, length) = (usize::from(from), usize::from(length));
        if let Some(part) = bytes.get(from..from + length)
            && !part.is_empty()
        {
            return &part[..part.len().min(LONGEST)];
        }
    }
    let window = bytes.len().min(LONGEST);
    bytes
        .windows(window)
        .max_by_key(|part| weight(part))
        .unwrap_or(bytes)
}

fn worth(content: &Content) -> u32 {
    let place = match content.range {
        // Only found in one place: tells a little more.
        Range::Absolute {
            depth: Some(Value::Number(depth)),
            ..
        } if depth < 64 => 1,
        _ => 0,
    };
    weight(part_of(&content.bytes)) + place
}

fn part_of(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(LONGEST)]
}

/// Longer and rarer bytes weigh more; a byte that was there before adds little.
fn weight(bytes: &[u8]) -> u32 {
    let mut seen = [false; 256];
    bytes
        .iter()
        .map(|&byte| {
            let again = std::mem::replace(&mut seen[usize::from(byte)], true);
            if again {
                2
            } else {
                14 - u32::from(commonness(byte))
            }
        })
        .sum()
}

/// The contents of a group whose places do not matter, where there is nothing else in it: whether all of
/// it holds follows from which literals are there at all.
pub(crate) fn as_literals(matchers: &[Matcher]) -> Option<Vec<(Source, bool)>> {
    matchers
        .iter()
        .map(|matcher| match matcher {
            Matcher::Content(content)
                if content.range == Range::ANYWHERE
                    && !content.at_end
                    && content.bytes.len() <= LONGEST =>
            {
                let source = Source::literal(&content.bytes, content.nocase);
                Some((source, content.negated))
            }
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::FastPattern;

    fn content(bytes: &str) -> Content {
        Content {
            bytes: bytes.as_bytes().to_vec(),
            nocase: false,
            negated: false,
            range: Range::ANYWHERE,
            at_end: false,
            fast_pattern: None,
        }
    }

    fn chosen(matchers: &[Matcher]) -> &[u8] {
        match choose(matchers) {
            Fast::Literal { bytes, .. } => bytes,
            _ => b"",
        }
    }

    #[test]
    fn the_literal_that_tells_most_is_chosen() {
        let matchers = ["aaaaaaaa", "Qx7!", "ee"].map(|text| Matcher::Content(content(text)));
        assert_eq!(chosen(&matchers), b"Qx7!");
        let negated = Matcher::Content(Content {
            negated: true,
            ..content("longest of them all")
        });
        assert_eq!(chosen(&[negated, Matcher::Content(content("b"))]), b"b");
    }

    #[test]
    fn the_author_decides() {
        let part = Content {
            fast_pattern: Some(FastPattern {
                only: false,
                part: Some((1, 2)),
            }),
            ..content("abcd")
        };
        let matchers = [
            Matcher::Content(content("much longer")),
            Matcher::Content(part),
        ];
        assert_eq!(chosen(&matchers), b"bc");
    }
}
