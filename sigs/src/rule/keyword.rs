//! The keywords: one table of rows, a file for each family.
//!
//! Add a keyword: one row (name, what its argument is, who reads it), and its example in the tests.

mod buffer;
mod bytes;
mod content;
mod file;
mod meta;
mod packet;
mod session;
mod state;
mod transform;
mod unsupported;

use std::collections::HashMap;
use std::sync::LazyLock;

use super::build::Builder;
use super::classes::Classes;
use super::refusal::Mistake;
use super::word::Word;

pub(super) use buffer::sticky_name;
#[cfg(test)]
pub(super) use {buffer::sticky_names, names as keyword_names};

/// One keyword.
pub(super) struct Keyword {
    /// As written in rules.
    name: &'static str,
    argument: Argument,
    read: Reader,
}

/// Whether a keyword takes something behind a colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Argument {
    None,
    Optional,
    Needed,
}

/// Puts what an option says into the rule.
type Reader = fn(&mut Builder, &Given<'_>) -> Result<(), Mistake>;

/// An option as written.
pub(super) struct Given<'a> {
    /// The keyword's row.
    name: &'static str,
    /// The keyword, and where it stands.
    keyword: Word<'a>,
    /// What is behind the colon; empty where nothing is.
    value: Word<'a>,
    classes: &'a Classes,
}

/// Families, in the order in which they are looked through; a name stands in one only.
const FAMILIES: [&[Keyword]; 9] = [
    meta::KEYWORDS,
    content::KEYWORDS,
    bytes::KEYWORDS,
    buffer::KEYWORDS,
    transform::KEYWORDS,
    packet::KEYWORDS,
    session::KEYWORDS,
    state::KEYWORDS,
    file::KEYWORDS,
];

static BY_NAME: LazyLock<HashMap<&'static str, &'static Keyword>> = LazyLock::new(|| {
    let rows = FAMILIES.iter().flat_map(|family| family.iter());
    rows.map(|row| (row.name, row)).collect()
});

/// A row.
const fn row(name: &'static str, argument: Argument, read: Reader) -> Keyword {
    Keyword {
        name,
        argument,
        read,
    }
}

/// Reads one option: `nocase` or `depth:4`.
pub(super) fn read_option(
    builder: &mut Builder,
    option: Word<'_>,
    classes: &Classes,
) -> Result<(), Mistake> {
    let (name, value) = match option.split_once(':') {
        Some((name, value)) => (name, Some(value)),
        None => (option, None),
    };
    let Some(keyword) = BY_NAME.get(name.text) else {
        return unsupported::read(builder, name);
    };
    let value = match (keyword.argument, value) {
        (Argument::None, Some(value)) if !value.text.is_empty() => {
            return Err(value.malformed(format!("{} takes nothing behind a colon", name.text)));
        }
        (Argument::Needed, None) => {
            let why = format!("{} takes something behind a colon", name.text);
            return Err(name.malformed(why));
        }
        (Argument::Needed, Some(value)) if value.text.is_empty() => {
            return Err(value.malformed(format!("what {} is to be is missing", name.text)));
        }
        (_, Some(value)) => value,
        (_, None) => name.behind(name.text.len()),
    };
    let given = Given {
        name: keyword.name,
        keyword: name,
        value,
        classes,
    };
    (keyword.read)(builder, &given)
}

/// The names of all keywords, for suggestions and documents.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FAMILIES
        .iter()
        .flat_map(|family| family.iter())
        .map(|row| row.name)
}

impl<'a> Given<'a> {
    /// What stands in the quotation marks, and whether `!` stands before them.
    fn quoted(&self) -> Result<(Word<'a>, bool), Mistake> {
        let (value, negated) = self.negated();
        let Some(open) = value.strip_prefix_untrimmed("\"") else {
            return Err(value.malformed(format!("{} stands in quotation marks", self.name)));
        };
        let inner = open.strip_suffix_untrimmed("\"").ok_or_else(|| {
            value.malformed(
                "the quotation mark is not closed before the semicolon; a semicolon inside is written \\; or |3b|",
            )
        })?;
        Ok((inner, negated))
    }

    /// The value without a `!` before it.
    fn negated(&self) -> (Word<'a>, bool) {
        match self.value.strip_prefix("!") {
            Some(rest) => (rest, true),
            None => (self.value, false),
        }
    }

    /// Without quotation marks, which may stand around it.
    fn unquoted(&self) -> Word<'a> {
        let open = self.value.strip_prefix_untrimmed("\"");
        let inner = open.and_then(|open| open.strip_suffix_untrimmed("\""));
        inner.unwrap_or(self.value)
    }

    fn unsupported(&self, why: impl Into<String>) -> Mistake {
        Mistake::unsupported(self.keyword.at, self.name, why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_stands_once() {
        let count = names().count();
        assert_eq!(BY_NAME.len(), count);
    }
}
