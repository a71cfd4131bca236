//! The matchers of one group, prepared for evaluation: searchers built, expressions numbered, and for
//! each step whether what follows depends on where it matched.

use memchr::memmem::Finder;

use crate::rule::{Content, Matcher, Pcre, Range, Value};

/// Values that the matchers of a group may put aside.
pub(crate) const SLOTS: usize = 16;

/// The matchers of a group in order.
pub(crate) struct Chain {
    pub steps: Vec<Step>,
}

/// One matcher.
pub(crate) struct Step {
    pub matcher: Matcher,
    /// Of a content.
    pub needle: Option<Needle>,
    /// Of a pcre: its number.
    pub expression: u32,
    /// Of base64: what is looked for in the decoded bytes.
    pub inside: Option<Chain>,
    /// Whether a later step counts from where this one matched.
    pub followed: bool,
}

/// What finds a content.
pub(crate) enum Needle {
    /// As it is.
    Exact(Box<Finder<'static>>),
    /// In lower case; found by the one of its bytes that is rarest in text, which stands there.
    Caseless { lower: Vec<u8>, anchor: usize },
}

impl Needle {
    fn new(content: &Content) -> Self {
        let has_case = content.bytes.iter().any(u8::is_ascii_alphabetic);
        if !content.nocase || !has_case {
            return Self::Exact(Box::new(Finder::new(&content.bytes).into_owned()));
        }
        let lower = content.bytes.to_ascii_lowercase();
        let anchor = (0..lower.len())
            .min_by_key(|&index| commonness(lower[index]))
            .unwrap_or(0);
        Self::Caseless { lower, anchor }
    }

    /// Bytes of it.
    pub fn len(&self) -> usize {
        match self {
            Self::Exact(finder) => finder.needle().len(),
            Self::Caseless { lower, .. } => lower.len(),
        }
    }

    /// Where it begins first in `text`.
    pub fn find(&self, text: &[u8]) -> Option<usize> {
        let (lower, anchor) = match self {
            Self::Exact(finder) => return finder.find(text),
            Self::Caseless { lower, anchor } => (lower, *anchor),
        };
        let last = text.len().checked_sub(lower.len())?;
        let (low, high) = (lower[anchor], lower[anchor].to_ascii_uppercase());
        let mut from = 0;
        while from <= last {
            let found = memchr::memchr2(low, high, &text[from + anchor..last + anchor + 1])?;
            let start = from + found;
            if text[start..start + lower.len()].eq_ignore_ascii_case(lower) {
                return Some(start);
            }
            from = start + 1;
        }
        None
    }
}

/// How common a byte is in what travels: a rough order.
pub(crate) fn commonness(byte: u8) -> u8 {
    match byte {
        0 | b' ' => 9,
        b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' => 8,
        b'a'..=b'z' => 6,
        b'/' | b'.' | b'0'..=b'9' | b'\r' | b'\n' | 0xff => 5,
        b'=' | b'-' | b'"' | b':' | b'<' | b'>' => 4,
        b'A'..=b'Z' => 3,
        b' '..=b'~' => 2,
        _ => 1,
    }
}

impl Chain {
    /// Prepares matchers. `number` gives each expression a number.
    pub fn new(
        matchers: &[Matcher],
        number: &mut impl FnMut(&Pcre) -> Result<u32, String>,
    ) -> Result<Self, String> {
        let mut steps = Vec::with_capacity(matchers.len());
        for matcher in matchers {
            check_slots(matcher)?;
            steps.push(Step {
                matcher: matcher.clone(),
                needle: match matcher {
                    Matcher::Content(content) => Some(Needle::new(content)),
                    _ => None,
                },
                expression: match matcher {
                    Matcher::Pcre(pcre) => number(pcre)?,
                    _ => 0,
                },
                inside: match matcher {
                    Matcher::Base64(base64) => Some(Self::new(&base64.inside, number)?),
                    _ => None,
                },
                followed: false,
            });
        }
        let mut followed = false;
        for step in steps.iter_mut().rev() {
            step.followed = followed;
            followed = match use_of_cursor(&step.matcher) {
                Cursor::Counts => true,
                Cursor::Replaces => false,
                Cursor::Leaves => followed,
            };
        }
        Ok(Self { steps })
    }
}

/// What a matcher does with the cursor.
enum Cursor {
    /// Counts from it.
    Counts,
    /// Puts it elsewhere, wherever it was.
    Replaces,
    /// Neither.
    Leaves,
}

fn use_of_cursor(matcher: &Matcher) -> Cursor {
    let (relative, moves) = match matcher {
        Matcher::Content(content) => (
            content.is_relative() || uses_variables(content),
            !content.negated,
        ),
        Matcher::Pcre(pcre) => (pcre.relative, !pcre.negated),
        Matcher::IsDataAt(data) => (data.relative || variable(data.at), false),
        Matcher::ByteTest(test) => (
            test.read.relative || variable(test.value) || variable(test.read.offset),
            false,
        ),
        Matcher::ByteJump(jump) => (jump.read.relative || variable(jump.read.offset), true),
        Matcher::ByteExtract(extract) => (extract.read.relative, false),
        Matcher::ByteMath(math) => (math.read.relative || variable(math.value), false),
        Matcher::Base64(base64) => (base64.relative, false),
        Matcher::Size(_) | Matcher::Dataset(_) | Matcher::Entropy(_) | Matcher::Absent { .. } => {
            (false, false)
        }
    };
    match (relative, moves) {
        (true, _) => Cursor::Counts,
        (false, true) => Cursor::Replaces,
        (false, false) => Cursor::Leaves,
    }
}

const fn variable(value: Value) -> bool {
    matches!(value, Value::Variable(_))
}

fn uses_variables(content: &Content) -> bool {
    let (first, second) = match content.range {
        Range::Absolute { offset, depth } => (offset, depth),
        Range::Relative { distance, within } => (distance, within),
    };
    variable(first) || second.is_some_and(variable)
}

fn check_slots(matcher: &Matcher) -> Result<(), String> {
    let slot = match matcher {
        Matcher::ByteExtract(extract) => extract.slot,
        Matcher::ByteMath(math) => math.slot,
        _ => return Ok(()),
    };
    match usize::from(slot.0) < SLOTS {
        true => Ok(()),
        false => Err(format!("it puts more than {SLOTS} values aside")),
    }
}

/// The slots that matchers read, and those that they fill.
pub(crate) fn slots(matchers: &[Matcher]) -> (u32, u32) {
    let (mut read, mut filled) = (0_u32, 0_u32);
    let mut reads = |value: Value| {
        if let Value::Variable(slot) = value
            && slot.0 < 32
        {
            read |= 1 << slot.0;
        }
    };
    for matcher in matchers {
        match matcher {
            Matcher::Content(content) => match content.range {
                Range::Absolute { offset, depth } => {
                    reads(offset);
                    depth.map(&mut reads);
                }
                Range::Relative { distance, within } => {
                    reads(distance);
                    within.map(&mut reads);
                }
            },
            Matcher::IsDataAt(data) => reads(data.at),
            Matcher::ByteTest(test) => {
                reads(test.value);
                reads(test.read.offset);
                reads(test.read.count);
            }
            Matcher::ByteJump(jump) => {
                reads(jump.post_offset);
                reads(jump.read.offset);
                reads(jump.read.count);
            }
            Matcher::ByteExtract(extract) => {
                reads(extract.read.offset);
                filled |= 1 << (extract.slot.0 & 31);
            }
            Matcher::ByteMath(math) => {
                reads(math.value);
                reads(math.read.offset);
                filled |= 1 << (math.slot.0 & 31);
            }
            _ => {}
        }
    }
    (read, filled)
}
