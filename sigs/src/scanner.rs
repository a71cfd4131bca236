//! Scanning on one worker: streams and scratch, all allocated at the start.

use std::sync::Arc;

use hyperscan::{Matching, Scratch, Stream};
use weir_wire::Direction;

use crate::pattern_rule::Action;
use crate::ruleset::RuleSet;

/// A stream that is being scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamId {
    direction: Direction,
    index: u32,
}

/// Looks for the rules of one set. Memory: `streams` Hyperscan streams per direction.
pub struct Scanner {
    rules: Arc<RuleSet>,
    scratch: Scratch,
    lanes: [Lane; 2],
}

/// The streams of one direction.
#[derive(Default)]
struct Lane {
    streams: Vec<Stream>,
    free: Vec<u32>,
}

/// Why scanning cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error(
    "the memory for {streams} streams of signatures cannot be had: {source}; lower limits.sessions or load fewer rules"
)]
pub struct ScannerError {
    streams: usize,
    source: hyperscan::Error,
}

impl Scanner {
    /// A scanner for so many streams per direction at a time.
    pub fn new(rules: Arc<RuleSet>, streams: usize) -> Result<Self, ScannerError> {
        let failed = |source| ScannerError { streams, source };
        let scratch = scratch_for(&rules).map_err(failed)?;
        let lane = |direction: Direction| -> hyperscan::Result<Lane> {
            let Some(database) = &rules.streams[direction as usize] else {
                return Ok(Lane::default());
            };
            let opened = (0..streams)
                .map(|_| database.open_stream())
                .collect::<hyperscan::Result<Vec<_>>>()?;
            Ok(Lane {
                streams: opened,
                free: (0..streams as u32).rev().collect(),
            })
        };
        let lanes = [
            lane(Direction::ToServer).map_err(failed)?,
            lane(Direction::ToClient).map_err(failed)?,
        ];
        Ok(Self {
            rules,
            scratch,
            lanes,
        })
    }

    /// A stream in its initial state; None when all are in use or no rule looks in this direction.
    pub fn open(&mut self, direction: Direction) -> Option<StreamId> {
        let index = self.lanes[direction as usize].free.pop()?;
        Some(StreamId { direction, index })
    }

    /// Gives a stream back.
    pub fn close(&mut self, id: StreamId) {
        let lane = &mut self.lanes[id.direction as usize];
        // What a reset could fail of is a stream or scratch in use, which ownership rules out; a
        // stream that is not reset is not given out again.
        let ignore = |_: u32, _: u64, _: u64, _: u32| Matching::Terminate;
        if lane.streams[id.index as usize]
            .reset(&self.scratch, ignore)
            .is_ok()
        {
            lane.free.push(id.index);
        }
    }

    /// Scans the next bytes of a stream. `on_match` is told each rule that matches, once per stream.
    pub fn scan_stream(
        &mut self,
        id: StreamId,
        bytes: &[u8],
        on_match: &mut dyn FnMut(u32, Action),
    ) {
        let rules = &self.rules;
        let tell = |index: u32, _: u64, _: u64, _: u32| {
            on_match(index, rules.action(index));
            Matching::Continue
        };
        let stream = &self.lanes[id.direction as usize].streams[id.index as usize];
        // The only errors are of misuse; what was found until then has been told.
        let _ = stream.scan(bytes, &self.scratch, tell);
    }

    /// Scans a whole datagram.
    pub fn scan_block(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        on_match: &mut dyn FnMut(u32, Action),
    ) {
        let Some(database) = &self.rules.blocks[direction as usize] else {
            return;
        };
        let rules = &self.rules;
        let tell = |index: u32, _: u64, _: u64, _: u32| {
            on_match(index, rules.action(index));
            Matching::Continue
        };
        let _ = database.scan(bytes, &self.scratch, tell);
    }
}

/// Scratch that serves every database of the set.
fn scratch_for(rules: &RuleSet) -> hyperscan::Result<Scratch> {
    let mut scratch: Option<Scratch> = None;
    for database in rules.streams.iter().flatten() {
        match &mut scratch {
            Some(scratch) => drop(database.realloc_scratch(scratch)?),
            None => scratch = Some(database.alloc_scratch()?),
        }
    }
    for database in rules.blocks.iter().flatten() {
        match &mut scratch {
            Some(scratch) => drop(database.realloc_scratch(scratch)?),
            None => scratch = Some(database.alloc_scratch()?),
        }
    }
    scratch.ok_or_else(|| hyperscan::Error::from(hyperscan::HsError::Invalid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern_rule::parse_rules;

    fn scanner(text: &str) -> Scanner {
        let (rules, refused) = parse_rules("test", text);
        assert!(refused.is_empty(), "{refused:?}");
        let (rules, refused) = RuleSet::compile(rules).unwrap();
        assert!(refused.is_empty(), "{refused:?}");
        Scanner::new(Arc::new(rules), 4).unwrap()
    }

    fn matches(scanner: &mut Scanner, parts: &[&[u8]]) -> Vec<u32> {
        let mut found = Vec::new();
        let stream = scanner.open(Direction::ToServer).unwrap();
        for part in parts {
            scanner.scan_stream(stream, part, &mut |rule, _| found.push(rule));
        }
        scanner.close(stream);
        found
    }

    const RULES: &str = r#"
alert tcp any any -> any any (msg:"split"; content:"needle|00|"; nocase; sid:1;)
drop ip any any -> any any (msg:"both"; pcre:"/ab+c/"; flow:to_server; sid:2;)
"#;

    #[test]
    fn a_pattern_split_over_segments_matches_at_every_cut() {
        let mut scanner = scanner(RULES);
        let text = b"xxNEEdle\0 abbbbc";
        for cut in 0..=text.len() {
            let mut found = matches(&mut scanner, &[&text[..cut], &text[cut..]]);
            found.sort_unstable();
            assert_eq!(found, [0, 1], "cut at {cut}");
        }
    }

    #[test]
    fn a_stream_begins_anew_for_its_next_user() {
        let mut scanner = scanner(RULES);
        for _ in 0..20 {
            assert!(matches(&mut scanner, &[b"nee"]).is_empty());
            assert!(matches(&mut scanner, &[b"dle\0"]).is_empty());
        }
    }

    #[test]
    fn directions_and_datagrams() {
        let mut scanner = scanner(RULES);
        let mut found = Vec::new();
        scanner.scan_block(Direction::ToServer, b"abc needle\0", &mut |rule, action| {
            found.push((rule, action))
        });
        scanner.scan_block(Direction::ToClient, b"abc", &mut |rule, action| {
            found.push((rule, action))
        });
        assert_eq!(found, [(1, Action::Drop)]);
    }

    #[test]
    fn streams_are_bounded() {
        let mut scanner = scanner(RULES);
        let opened: Vec<_> = (0..5).map(|_| scanner.open(Direction::ToServer)).collect();
        assert_eq!(opened.iter().flatten().count(), 4);
    }
}
