//! Databases: what has to be built, building it on several threads, and what came of it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyperscan::{
    BlockDatabase, BlockMode, Builder, Error, HsError, Mode, Pattern, PatternFlags, Patterns,
    SerializedDatabase, StreamingDatabase, StreamingMode,
};

use super::expression::Source;

/// A database to build.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Job {
    /// For whole buffers: numbered expressions.
    Block(Vec<(u32, Source)>),
    /// For streams.
    Stream(Vec<(u32, Source)>),
    /// One expression; approximately, where it does not go otherwise.
    Single(Source),
}

/// What came of it, as bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Built {
    /// The numbers of expressions that could not be taken in.
    pub left_out: Vec<u32>,
    /// It is an approximation.
    pub approximate: bool,
    /// The serialized database; empty where none could be built.
    pub bytes: Vec<u8>,
    /// Why none could be built.
    pub why: String,
}

/// Builds what is asked for, on so many threads.
pub(crate) fn build_all(jobs: &[Job], threads: usize) -> Vec<Built> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Built)>> = Mutex::new(Vec::with_capacity(jobs.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, 64) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(index) else { break };
                    let built = build(job);
                    if let Ok(mut done) = done.lock() {
                        done.push((index, built));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, built)| built).collect()
}

fn build(job: &Job) -> Built {
    match job {
        Job::Block(sources) => build_set::<BlockMode>(sources),
        Job::Stream(sources) => build_set::<StreamingMode>(sources),
        Job::Single(source) => build_single(source),
    }
}

/// All of them in one; those that do not go are left out.
fn build_set<M: Mode>(sources: &[(u32, Source)]) -> Built {
    let mut left_out = Vec::new();
    let mut patterns: Vec<Pattern> = sources
        .iter()
        .map(|(id, source)| pattern(source, *id, PatternFlags::empty()))
        .collect();
    if M::is_streaming() {
        patterns.extend((0..FILLERS).map(filler));
    }
    while !patterns.is_empty() {
        let set = Patterns(patterns);
        let error = match set.build::<M>().and_then(|database| database.serialize()) {
            Ok(bytes) => {
                return Built {
                    left_out,
                    bytes: bytes.to_vec(),
                    ..Built::default()
                };
            }
            Err(error) => error,
        };
        patterns = set.0;
        let culprit = match &error {
            Error::Hyperscan(HsError::CompileError(error)) => error.expression(),
            _ => None,
        };
        // Where it does not say which, it is the expressions rather than the literals.
        let gone: Vec<usize> = match culprit.filter(|&index| index < patterns.len()) {
            Some(index) => vec![index],
            None => (0..patterns.len())
                .filter(|&index| !is_literal(&patterns[index]))
                .collect(),
        };
        if gone.is_empty() {
            return Built {
                why: error.to_string(),
                ..Built::default()
            };
        }
        for index in gone.into_iter().rev() {
            let pattern = patterns.remove(index);
            left_out.extend(pattern.id.map(|id| id as u32));
        }
    }
    Built {
        left_out,
        ..Built::default()
    }
}

fn is_literal(pattern: &Pattern) -> bool {
    Source {
        expression: pattern.expression.clone(),
        flags: 0,
    }
    .is_literal()
}

/// Literals that nobody looks for, in each database for streams. With a few literals only it would be an
/// automaton that skips bytes, and that may overlook matches (see [`crate::library`]).
const FILLERS: usize = 24;
/// The number that a filler is told as: none that is asked for.
const FILLER: usize = u32::MAX as usize;

fn filler(index: usize) -> Pattern {
    let mut sum: u64 = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(index as u64 + 1);
    sum ^= sum >> 29;
    let source = Source::literal(
        &sum.wrapping_mul(0xbf58_476d_1ce4_e5b9).to_le_bytes(),
        false,
    );
    pattern(&source, FILLER as u32, PatternFlags::empty())
}

fn build_single(source: &Source) -> Built {
    let exact = pattern(source, 0, PatternFlags::ALLOWEMPTY).build::<BlockMode>();
    let why = match exact.and_then(|database| database.serialize()) {
        Ok(bytes) => {
            return Built {
                bytes: bytes.to_vec(),
                ..Built::default()
            };
        }
        Err(error) => error.to_string(),
    };
    let flags = PatternFlags::ALLOWEMPTY | PatternFlags::PREFILTER;
    let rough = pattern(source, 0, flags).build::<BlockMode>();
    Built {
        approximate: true,
        bytes: rough
            .and_then(|database| database.serialize())
            .map(|bytes| bytes.to_vec())
            .unwrap_or_default(),
        why,
        ..Built::default()
    }
}

fn pattern(source: &Source, id: u32, more: PatternFlags) -> Pattern {
    Pattern {
        expression: source.expression.clone(),
        flags: PatternFlags::from_bits_truncate(source.flags) | more,
        id: Some(id as usize),
        ext: Default::default(),
        som: None,
    }
}

/// The database in these bytes.
pub(crate) fn block(bytes: &[u8]) -> Result<Option<BlockDatabase>, Error> {
    match bytes {
        [] => Ok(None),
        bytes => bytes.deserialize::<BlockMode>().map(Some),
    }
}

/// The database in these bytes.
pub(crate) fn streaming(bytes: &[u8]) -> Result<Option<StreamingDatabase>, Error> {
    match bytes {
        [] => Ok(None),
        bytes => bytes.deserialize::<StreamingMode>().map(Some),
    }
}
