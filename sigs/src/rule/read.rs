//! Files of rules → rules and refusals.
//!
//! Trusts nothing: any bytes are a file, no byte makes it panic, and a rule that is not understood
//! whole is refused with line and column while the others are read. Memory: in proportion to the text,
//! one rule bounded by what `text` and `build` allow.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::ast::{Origin, Rule};
use super::build::Builder;
use super::classes::Classes;
use super::header::parse_header;
use super::keyword::read_option;
use super::refusal::{Cause, Mistake, Refusal};
use super::text::{Statement, Statements};
use super::variables::Variables;
use super::word::Word;

/// How rules are read.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The values of variables.
    pub variables: Variables,
    /// The classes and their priorities.
    pub classes: Classes,
    /// Rules behind `#` are read too.
    pub commented: bool,
}

/// Reads files of rules, one after the other.
#[derive(Debug, Default)]
pub struct RuleReader {
    options: Options,
    rules: Vec<Rule>,
    refused: Vec<Refusal>,
    /// By group and number: where the rule is.
    numbers: HashMap<(u32, u32), usize>,
}

impl RuleReader {
    /// A reader.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            ..Self::default()
        }
    }

    /// Reads a file; `name` is what refusals call it.
    pub fn read(&mut self, name: &str, bytes: &[u8]) {
        let file: Arc<str> = name.into();
        for statement in Statements::new(bytes, self.options.commented) {
            match parse_statement(&file, &statement, &self.options) {
                Ok(rule) => self.take(rule),
                Err(mistake) => {
                    let (line, column) = statement.position(mistake.at);
                    self.refused.push(Refusal {
                        file: Arc::clone(&file),
                        line,
                        column,
                        sid: sid_of(&statement.text),
                        cause: mistake.cause,
                        why: mistake.why,
                    });
                }
            }
        }
    }

    /// Of two rules with a number the higher revision counts, else the first.
    fn take(&mut self, rule: Rule) {
        let entry = self.numbers.entry((rule.gid, rule.sid));
        let Entry::Occupied(place) = entry else {
            entry.or_insert(self.rules.len());
            self.rules.push(rule);
            return;
        };
        let Some(kept) = self.rules.get_mut(*place.get()) else {
            return;
        };
        let newer = rule.revision > kept.revision;
        let lost = if newer {
            std::mem::replace(kept, rule)
        } else {
            rule
        };
        let why = format!(
            "{}:{} has this number too, with revision {}: the higher one counts, else the first; give each rule a number of its own",
            kept.origin.file, kept.origin.line, kept.revision
        );
        self.refused
            .push(Refusal::of(&lost, Cause::Superseded, why));
    }

    /// What was read: the rules, and the refusals in the order of the files.
    pub fn finish(self) -> (Vec<Rule>, Vec<Refusal>) {
        (self.rules, self.refused)
    }
}

/// Reads one rule that stands alone.
pub fn parse_rule(text: &str, options: &Options) -> Result<Rule, Refusal> {
    let mut reader = RuleReader::new(options.clone());
    reader.read("rule", text.as_bytes());
    let (rules, refused) = reader.finish();
    match (rules.into_iter().next(), refused.into_iter().next()) {
        (_, Some(refusal)) => Err(refusal),
        (Some(rule), None) => Ok(rule),
        (None, None) => Err(Refusal {
            file: "rule".into(),
            line: 1,
            column: 1,
            sid: None,
            cause: Cause::Malformed,
            why: "there is no rule".to_owned(),
        }),
    }
}

fn parse_statement(
    file: &Arc<str>,
    statement: &Statement,
    options: &Options,
) -> Result<Rule, Mistake> {
    if let Some(mistake) = &statement.unreadable {
        return Err(mistake.clone());
    }
    let text = Word::new(&statement.text, 0).trim();
    let Some(open) = text.text.find('(') else {
        let end = text.at + text.text.len();
        // What is wrong with the header tells more than that the options are missing.
        parse_header(text, &options.variables)?;
        return Err(Mistake::malformed(
            end,
            "the options in parentheses are missing",
        ));
    };
    let header = parse_header(text.before(open), &options.variables)?;
    let body = text.behind(open + 1);
    let end = body.at + body.text.len();
    let Some(body) = body.strip_suffix_untrimmed(")") else {
        return Err(Mistake::malformed(
            end,
            "the closing parenthesis is missing: a rule ends with `)`, and goes on in the next line only behind a backslash",
        ));
    };
    let origin = Origin {
        file: Arc::clone(file),
        line: statement.line(),
    };
    let mut builder = Builder::new(origin, header);
    let mut rest = body;
    loop {
        rest = rest.trim();
        if rest.text.is_empty() {
            return builder.finish(end - 1);
        }
        let Some(length) = option_length(rest.text) else {
            return Err(rest.malformed("the last option does not end with a semicolon"));
        };
        let option = rest.before(length).trim();
        if !option.text.is_empty() {
            read_option(&mut builder, option, &options.classes)?;
        }
        rest = rest.behind(length + 1);
    }
}

/// Up to the first semicolon that no backslash quotes.
fn option_length(text: &str) -> Option<usize> {
    let mut quoted = false;
    text.bytes().position(|byte| match byte {
        _ if quoted => {
            quoted = false;
            false
        }
        b'\\' => {
            quoted = true;
            false
        }
        byte => byte == b';',
    })
}

/// The number of a rule that may be otherwise unreadable.
fn sid_of(text: &str) -> Option<u32> {
    let behind = text
        .rsplit("sid:")
        .next()
        .filter(|rest| rest.len() < text.len())?;
    let digits = behind.trim_start();
    let end = digits.find(|letter: char| !letter.is_ascii_digit());
    digits.get(..end.unwrap_or(digits.len()))?.parse().ok()
}
