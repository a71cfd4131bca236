//! Rules compiled to databases: one per direction, once for streams and once for datagrams.

use std::fmt;
use std::path::{Path, PathBuf};

use hyperscan::{BlockDatabase, Builder, Pattern, PatternFlags, Patterns, StreamingDatabase};
use weir_wire::Direction;

use crate::pattern_rule::{Action, Refusal, Rule, parse_rules};

/// Compiled rules. Immutable; shared by the workers.
pub struct RuleSet {
    rules: Vec<Rule>,
    /// By direction; None where no rule looks.
    pub(crate) streams: [Option<StreamingDatabase>; 2],
    /// By direction; None where no rule looks.
    pub(crate) blocks: [Option<BlockDatabase>; 2],
}

/// Rules that were loaded, and those that were not.
#[derive(Debug)]
pub struct Loaded {
    /// Compiled.
    pub rules: RuleSet,
    /// Left out, each with the reason.
    pub refused: Vec<Refusal>,
}

/// Why rules cannot be loaded at all.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file cannot be read.
    #[error("cannot read the rules {path}: {source}; check the path and its permissions")]
    Read {
        /// The file.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The rules do not compile together.
    #[error("the rules do not compile into one database: {0}; load fewer or simpler ones")]
    Compile(String),
}

impl fmt::Debug for RuleSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RuleSet")
            .field("rules", &self.rules.len())
            .finish_non_exhaustive()
    }
}

impl RuleSet {
    /// Compiles rules. Those that Hyperscan does not take alone are returned with its reason.
    pub fn compile(rules: Vec<Rule>) -> Result<(Self, Vec<(Rule, String)>), LoadError> {
        let (mut taken, mut refused) = (Vec::new(), Vec::new());
        for rule in rules {
            match pattern(&rule, 0).and_then(|pattern| one_stream(pattern).map(drop)) {
                Ok(()) => taken.push(rule),
                Err(why) => refused.push((rule, why)),
            }
        }
        let of = |direction: Direction,
                  wanted: fn(&Rule) -> bool|
         -> Result<Option<Patterns>, LoadError> {
            let looks =
                |rule: &Rule| wanted(rule) && rule.direction.is_none_or(|only| only == direction);
            let patterns = taken
                .iter()
                .enumerate()
                .filter(|(_, rule)| looks(rule))
                .map(|(index, rule)| pattern(rule, index));
            let patterns = patterns
                .collect::<Result<Vec<_>, _>>()
                .map_err(LoadError::Compile)?;
            Ok((!patterns.is_empty()).then_some(Patterns(patterns)))
        };
        let compile_error = |error: hyperscan::Error| LoadError::Compile(error.to_string());
        let stream = |direction| {
            of(direction, |rule| rule.tcp)?
                .map(|patterns| patterns.build().map_err(compile_error))
                .transpose()
        };
        let block = |direction| {
            of(direction, |rule| rule.datagrams)?
                .map(|patterns| patterns.build().map_err(compile_error))
                .transpose()
        };
        let streams = [stream(Direction::ToServer)?, stream(Direction::ToClient)?];
        let blocks = [block(Direction::ToServer)?, block(Direction::ToClient)?];
        Ok((
            Self {
                rules: taken,
                streams,
                blocks,
            },
            refused,
        ))
    }

    /// How many rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// A rule by its number, as a match gives it.
    pub fn rule(&self, index: u32) -> Option<&Rule> {
        self.rules.get(index as usize)
    }

    /// What a match of this rule does.
    pub fn action(&self, index: u32) -> Action {
        self.rule(index).map_or(Action::Alert, |rule| rule.action)
    }

    /// A rule in words: id and message.
    pub fn describe(&self, index: u32) -> String {
        self.rule(index)
            .map(|rule| format!("{} {}", rule.sid, rule.message))
            .unwrap_or_default()
    }
}

fn pattern(rule: &Rule, index: usize) -> Result<Pattern, String> {
    // One match per stream is enough to tell it, and keeps a repeated pattern cheap.
    let mut flags = PatternFlags::SINGLEMATCH;
    flags.set(PatternFlags::CASELESS, rule.caseless);
    flags.set(PatternFlags::DOTALL, rule.dot_all);
    flags.set(PatternFlags::MULTILINE, rule.multi_line);
    let mut pattern =
        Pattern::with_flags(rule.expression.clone(), flags).map_err(|error| error.to_string())?;
    pattern.id = Some(index);
    Ok(pattern)
}

fn one_stream(pattern: Pattern) -> Result<StreamingDatabase, String> {
    pattern.build().map_err(|error| error.to_string())
}

/// Loads rule files, and the `*.rules` files of directories.
pub fn load_paths(paths: &[PathBuf]) -> Result<Loaded, LoadError> {
    let (mut rules, mut refused) = (Vec::new(), Vec::new());
    for file in rule_files(paths)? {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(&file).map_err(|source| LoadError::Read {
            path: name.clone(),
            source,
        })?;
        let (read, unread) = parse_rules(&name, &text);
        rules.extend(read);
        refused.extend(unread);
    }
    let (rules, uncompiled) = RuleSet::compile(rules)?;
    refused.extend(uncompiled.into_iter().map(|(rule, why)| Refusal {
        file: String::new(),
        line: 0,
        sid: Some(rule.sid),
        why,
    }));
    Ok(Loaded { rules, refused })
}

fn rule_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, LoadError> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let read = |source| LoadError::Read {
            path: path.display().to_string(),
            source,
        };
        let mut found = Vec::new();
        for entry in std::fs::read_dir(path).map_err(read)? {
            let file = entry.map_err(read)?.path();
            if Path::extension(&file).is_some_and(|ending| ending == "rules") {
                found.push(file);
            }
        }
        found.sort();
        files.extend(found);
    }
    Ok(files)
}
