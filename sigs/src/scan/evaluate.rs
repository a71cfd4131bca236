//! Full evaluation of a condition: its matchers in order over a text, with alternatives.
//!
//! Trusts nothing of the bytes. What is relative to a match is tried at each place of that match until
//! one serves, within [`STEPS_PER_CONDITION`]; an evaluation that would take more is given up and counted.
//! Over bytes that are still coming the answer is one of three, and *yes* and *no* hold whatever comes.
//! Memory: one buffer for decoded base64; nothing is allocated, but by the engine that tracks back.

use arrayvec::ArrayVec;
use hyperscan::{Matching, Scratch};

use super::facts::Session;
use super::numbers::{Reading, Slots, align, calculate, compare, read, value};
use super::table::{Table, key_of};
use super::text::{Answer, End, Text};
use crate::compile::{Chain, Engine, Expression, Needle, RuleSet, SLOTS, Step};
use crate::library::{END_MARK, pad};
use crate::rule::{
    Base64, Base64Mode, ByteJump, Content, Dataset, DatasetOperation, Entropy, IsDataAt, JumpFrom,
    Matcher, Pcre, Range,
};

/// Places and numbers looked at for one condition over one text.
const STEPS_PER_CONDITION: u32 = 4_096;
/// Ends of one expression that what follows is tried at.
const ENDS: usize = 64;
/// Bytes of base64 that are decoded at most.
pub(crate) const DECODED_BYTES: usize = 4_096;

/// What evaluation needs beside the text; one per scanner.
pub(crate) struct Tools {
    pub scratch: Scratch,
    /// Bytes, the mark of their end, and padding.
    pub padded: Vec<u8>,
    pub decoded: Vec<u8>,
    pub sets: Table<u32>,
    pub secret: [u64; 2],
    /// Evaluations given up for their length.
    pub overruns: u64,
    /// Searches by the engine that tracks back.
    pub backtracked: u64,
}

/// The longest buffer that expressions are searched in.
pub(crate) const PADDED_BYTES: usize = 256 << 10;

/// One evaluation.
pub(crate) struct Evaluation<'a> {
    pub set: &'a RuleSet,
    pub tools: &'a mut Tools,
    pub session: Option<&'a dyn Session>,
    pub now_us: u64,
    /// Place and length of the first thing that matched.
    pub found: (u64, usize),
    steps: u32,
    slots: Slots,
}

impl<'a> Evaluation<'a> {
    /// Ready to ask one condition.
    pub fn new(
        set: &'a RuleSet,
        tools: &'a mut Tools,
        session: Option<&'a dyn Session>,
        now_us: u64,
    ) -> Self {
        Self {
            set,
            tools,
            session,
            now_us,
            found: (0, 0),
            steps: 0,
            slots: [0; SLOTS],
        }
    }

    /// Whether the text fulfils the chain.
    pub fn ask(&mut self, chain: &Chain, text: &Text<'_>) -> Answer {
        self.steps = 0;
        let answer = self.run(&chain.steps, text, 0);
        self.tools.overruns += u64::from(self.steps > STEPS_PER_CONDITION);
        answer
    }

    fn run(&mut self, steps: &[Step], text: &Text<'_>, cursor: u64) -> Answer {
        let Some((step, rest)) = steps.split_first() else {
            return Answer::Yes;
        };
        self.steps += 1;
        if self.steps > STEPS_PER_CONDITION {
            return Answer::No;
        }
        match &step.matcher {
            Matcher::Content(content) => self.content(step, content, rest, text, cursor),
            Matcher::Pcre(pcre) => self.pcre(step, pcre, rest, text, cursor),
            Matcher::IsDataAt(data) => {
                let answer = self.is_data_at(data, text, cursor);
                self.then(answer, rest, text, cursor)
            }
            Matcher::ByteJump(jump) => match self.jump(jump, text, cursor) {
                Ok(cursor) => self.run(rest, text, cursor),
                Err(answer) => answer,
            },
            Matcher::Size(test) => {
                let answer = match text.end {
                    End::Closed => holds(test.holds(text.total())),
                    End::Open => Answer::More,
                    End::Cut => Answer::No,
                };
                self.then(answer, rest, text, cursor)
            }
            Matcher::Entropy(entropy) => {
                let answer = match (text.end, text.base) {
                    (End::Closed, 0) => holds(entropy.test.holds(entropy_of(entropy, text.body))),
                    (End::Open, _) => Answer::More,
                    _ => Answer::No,
                };
                self.then(answer, rest, text, cursor)
            }
            Matcher::Dataset(dataset) => {
                let answer = match (text.end, text.base) {
                    (End::Closed, 0) => holds(self.datasets(dataset, text.body)),
                    (End::Open, _) => Answer::More,
                    _ => Answer::No,
                };
                self.then(answer, rest, text, cursor)
            }
            Matcher::Base64(base64) => {
                let answer = self.base64(step, base64, text, cursor);
                self.then(answer, rest, text, cursor)
            }
            Matcher::ByteTest(_) => {
                let answer = self.number(&step.matcher, text, cursor);
                self.then(answer, rest, text, cursor)
            }
            // The rest asks with the number that they put aside: it says nothing before that is known.
            Matcher::ByteExtract(_) | Matcher::ByteMath(_) => {
                match self.number(&step.matcher, text, cursor) {
                    Answer::Yes => self.run(rest, text, cursor),
                    answer => answer,
                }
            }
            // Rules with it are refused.
            Matcher::Absent { .. } => Answer::No,
        }
    }

    /// What the rest makes of a matcher that leaves the cursor.
    fn then(&mut self, answer: Answer, rest: &[Step], text: &Text<'_>, cursor: u64) -> Answer {
        match answer {
            Answer::No => Answer::No,
            Answer::Yes => self.run(rest, text, cursor),
            // Open, unless the rest closes it.
            Answer::More => match self.run(rest, text, cursor) {
                Answer::No => Answer::No,
                Answer::Yes | Answer::More => Answer::More,
            },
        }
    }

    /// Where a content may begin, and where it must have ended.
    fn range(&self, content: &Content, cursor: u64) -> (u64, Option<u64>) {
        let (from, skipped, length) = match content.range {
            Range::Absolute { offset, depth } => (0, offset, depth),
            Range::Relative { distance, within } => (cursor, distance, within),
        };
        let place = |delta: i64| i128::from(from) + i128::from(delta);
        let clamp = |place: i128| u64::try_from(place.max(0)).unwrap_or(u64::MAX);
        let low = place(value(skipped, &self.slots));
        let high = length.map(|length| clamp(low + i128::from(value(length, &self.slots))));
        (clamp(low), high)
    }

    fn content(
        &mut self,
        step: &Step,
        content: &Content,
        rest: &[Step],
        text: &Text<'_>,
        cursor: u64,
    ) -> Answer {
        let Some(needle) = &step.needle else {
            return Answer::No;
        };
        let (low, high) = self.range(content, cursor);
        let limit = high.unwrap_or(u64::MAX).min(text.total());
        let open = text.end == End::Open && high.is_none_or(|high| high > text.total());
        if content.at_end {
            return self.content_at_end(content, needle, (low, high), rest, text, cursor);
        }
        if content.negated {
            let answer = match find(text, low, limit, needle) {
                Some(_) => Answer::No,
                None if open => Answer::More,
                None => Answer::Yes,
            };
            return self.then(answer, rest, text, cursor);
        }
        let mut answer = if open { Answer::More } else { Answer::No };
        let mut from = low;
        while let Some(start) = find(text, from, limit, needle) {
            match self.run(rest, text, start + needle.len() as u64) {
                Answer::Yes => {
                    self.found = (start, needle.len());
                    return Answer::Yes;
                }
                Answer::More => answer = Answer::More,
                Answer::No if !step.followed => return Answer::No,
                Answer::No => {}
            }
            if !step.followed || self.steps > STEPS_PER_CONDITION {
                break;
            }
            self.steps += 1;
            from = start + 1;
        }
        answer
    }

    /// A content whose last byte must be the last.
    fn content_at_end(
        &mut self,
        content: &Content,
        needle: &Needle,
        (low, high): (u64, Option<u64>),
        rest: &[Step],
        text: &Text<'_>,
        cursor: u64,
    ) -> Answer {
        let length = needle.len() as u64;
        let there = |text: &Text<'_>| {
            let start = text
                .total()
                .checked_sub(length)
                .filter(|&start| start >= low)?;
            let fits = high.is_none_or(|high| start + length <= high);
            (fits && find(text, start, start + length, needle) == Some(start)).then_some(start)
        };
        let found = match text.end {
            End::Closed => there(text),
            End::Cut => None,
            End::Open if content.negated => return self.then(Answer::More, rest, text, cursor),
            // Bytes behind where it may end settle it.
            End::Open if high.is_some_and(|high| text.total() > high) => return Answer::No,
            End::Open => return Answer::More,
        };
        match (found, content.negated) {
            (None, true) => self.run(rest, text, cursor),
            (Some(_), true) | (None, false) => Answer::No,
            (Some(start), false) => {
                let answer = self.run(rest, text, start + length);
                if answer == Answer::Yes {
                    self.found = (start, needle.len());
                }
                answer
            }
        }
    }

    fn is_data_at(&self, data: &IsDataAt, text: &Text<'_>, cursor: u64) -> Answer {
        let at = value(data.at, &self.slots);
        // As Suricata counts: behind the cursor so many bytes, from the start one more.
        let (from, more) = if data.relative { (cursor, 0) } else { (0, 1) };
        let needed = from
            .checked_add_signed(at)
            .unwrap_or(0)
            .saturating_add(more);
        match (needed <= text.total(), data.negated) {
            (true, negated) => holds(!negated),
            (false, negated) if text.end != End::Cut => text.beyond(negated),
            (false, negated) => holds(negated),
        }
    }

    fn jump(&self, jump: &ByteJump, text: &Text<'_>, cursor: u64) -> Result<u64, Answer> {
        let (number, end) = match self.read(&jump.read, text, cursor) {
            Reading::Number(number, end) => (number, end),
            Reading::Beyond => return Err(text.beyond(false)),
            Reading::Nothing => return Err(Answer::No),
        };
        let number = number.saturating_mul(jump.multiplier.into());
        let number = align(number, if jump.align { 4 } else { 0 });
        let from = match jump.from {
            JumpFrom::Here => end,
            JumpFrom::Beginning => 0,
            JumpFrom::End if text.end == End::Closed => text.total(),
            JumpFrom::End => return Err(text.beyond(false)),
        };
        let post = value(jump.post_offset, &self.slots);
        let place = from.saturating_add(number).checked_add_signed(post);
        match place {
            None => Err(Answer::No),
            Some(place) if place < text.total() => Ok(place),
            Some(_) => Err(text.beyond(false)),
        }
    }

    fn read(&self, what: &crate::rule::ByteRead, text: &Text<'_>, cursor: u64) -> Reading {
        let little = self.session.and_then(|session| session.dce_is_little());
        read(what, text, cursor, &self.slots, little.unwrap_or(true))
    }

    /// byte_test, byte_extract, byte_math.
    fn number(&mut self, matcher: &Matcher, text: &Text<'_>, cursor: u64) -> Answer {
        let what = match matcher {
            Matcher::ByteTest(test) => &test.read,
            Matcher::ByteExtract(extract) => &extract.read,
            Matcher::ByteMath(math) => &math.read,
            _ => return Answer::No,
        };
        let number = match self.read(what, text, cursor) {
            Reading::Number(number, _) => number,
            Reading::Beyond => return text.beyond(false),
            Reading::Nothing => return Answer::No,
        };
        let (slot, result) = match matcher {
            Matcher::ByteTest(test) => {
                let with = value(test.value, &self.slots) as u64;
                return holds(compare(number, test.operator, with) != test.negated);
            }
            Matcher::ByteExtract(extract) => {
                let number = number.saturating_mul(extract.multiplier.into());
                (extract.slot, Some(align(number, extract.align.into())))
            }
            Matcher::ByteMath(math) => {
                let with = value(math.value, &self.slots) as u64;
                (math.slot, calculate(number, math.operator, with))
            }
            _ => return Answer::No,
        };
        match (result, self.slots.get_mut(usize::from(slot.0))) {
            (Some(result), Some(place)) => {
                *place = result;
                Answer::Yes
            }
            _ => Answer::No,
        }
    }

    fn pcre(
        &mut self,
        step: &Step,
        pcre: &Pcre,
        rest: &[Step],
        text: &Text<'_>,
        cursor: u64,
    ) -> Answer {
        let Some(expression) = self.set.expressions.get(step.expression as usize) else {
            return Answer::No;
        };
        let parts = match pcre.relative {
            true => [(cursor, text.from(cursor)), (0, None)],
            false => text.parts().map(|(base, part)| (base, Some(part))),
        };
        let mut answer = match text.end {
            End::Open => Answer::More,
            End::Cut | End::Closed => Answer::No,
        };
        let one = pcre.negated || !step.followed;
        for (base, part) in parts {
            let Some(part) = part else { continue };
            let is_last = base + part.len() as u64 == text.total();
            if (part.is_empty() && !is_last)
                || (expression.looks_at_start && base > 0 && !pcre.relative)
            {
                continue;
            }
            // At the end of what is here it cannot be said what looks beyond it.
            let unsure = expression.looks_at_end && text.end != End::Closed && is_last;
            let ends = self.ends(expression, part, one, unsure);
            if pcre.negated {
                if !ends.is_empty() {
                    return Answer::No;
                }
                continue;
            }
            for end in ends {
                match self.run(rest, text, base + u64::from(end)) {
                    Answer::Yes => {
                        let shown = (end as usize).min(64);
                        self.found = (base + u64::from(end) - shown as u64, shown);
                        return Answer::Yes;
                    }
                    Answer::More => answer = Answer::More,
                    Answer::No if !step.followed => return Answer::No,
                    Answer::No => {}
                }
            }
        }
        match (pcre.negated, text.end) {
            (false, _) => answer,
            (true, End::Open) => self.then(Answer::More, rest, text, cursor),
            (true, _) => self.run(rest, text, cursor),
        }
    }

    /// Where the expression may end in `part`; with `one` a single end will do. With `unsure` ends at
    /// the end of the part do not count.
    fn ends(
        &mut self,
        Expression {
            engine,
            looks_at_end,
            ..
        }: &Expression,
        part: &[u8],
        one: bool,
        unsure: bool,
    ) -> ArrayVec<u32, ENDS> {
        let mut ends = ArrayVec::new();
        let last = part.len() as u64;
        let marked = last + END_MARK.len() as u64;
        let mut tell = |end: u64| {
            if !(ends.contains(&(end as u32)) || unsure && end == last) {
                let _ = ends.try_push(end as u32);
            }
            one && !ends.is_empty() || ends.is_full()
        };
        let looks_at_end = *looks_at_end;
        let (database, regex) = match engine {
            Engine::Exact(database) => (Some(database), None),
            Engine::Confirmed(rough, regex) => (rough.as_ref(), Some(regex)),
        };
        let mut seen = regex.is_some() && database.is_none();
        if let Some(database) = database {
            let on_match = |_: u32, _: u64, end: u64, _: u32| {
                let place = match end {
                    end if end <= last => end,
                    end if end == marked && looks_at_end => last,
                    _ => return Matching::Continue,
                };
                seen = true;
                match regex.is_some() || tell(place) {
                    true => Matching::Terminate,
                    false => Matching::Continue,
                }
            };
            // The only errors are of misuse, and that it was ended here.
            let padded = pad(&mut self.tools.padded, part);
            let _ = database.scan(padded, &self.tools.scratch, on_match);
        }
        if let (Some(regex), true) = (regex, seen) {
            self.tools.backtracked += 1;
            let mut from = 0;
            while let Ok(Some(found)) = regex.find_from_pos(part, from) {
                self.steps += 1;
                if tell(found.end() as u64) || self.steps > STEPS_PER_CONDITION {
                    break;
                }
                from = found.start() + 1;
                if from > part.len() {
                    break;
                }
            }
        }
        ends.sort_unstable();
        ends
    }

    /// The whole buffer, and with `subdomains` what is behind each of its full stops.
    fn datasets(&mut self, dataset: &Dataset, bytes: &[u8]) -> bool {
        let whole = self.dataset(dataset, bytes);
        let negated = dataset.operation == DatasetOperation::IsNotSet;
        // A parent can only take the answer back that a negation gave, or give the one that is missing.
        if !dataset.subdomains || whole != negated {
            return whole;
        }
        let mut parents = memchr::memchr_iter(b'.', bytes);
        match negated {
            true => parents.all(|at| self.dataset(dataset, &bytes[at..])),
            false => parents.any(|at| self.dataset(dataset, &bytes[at..])),
        }
    }

    fn dataset(&mut self, dataset: &Dataset, bytes: &[u8]) -> bool {
        let Some(number) = self.set.vocabulary.sets.get(&dataset.name) else {
            return false;
        };
        let known = self.set.vocabulary.members.get(number as usize);
        let known = known.and_then(|members| members.get(bytes).copied());
        let key = key_of(self.tools.secret, &(number, bytes));
        // 0 was taken out, 1 was put in; forgotten at last when others need the place.
        let changed = self.tools.sets.get(key, self.now_us).copied();
        let is_member = changed.map_or(known.is_some(), |changed| changed != 0);
        match dataset.operation {
            DatasetOperation::IsSet => is_member,
            DatasetOperation::IsNotSet => !is_member,
            DatasetOperation::Set | DatasetOperation::Unset => {
                let put = u32::from(dataset.operation == DatasetOperation::Set);
                self.tools.sets.put(key, put, u64::MAX, self.now_us);
                true
            }
            DatasetOperation::Reputation(test) => {
                known.is_some_and(|reputation| test.holds(reputation.into()))
            }
        }
    }

    fn base64(&mut self, step: &Step, base64: &Base64, text: &Text<'_>, cursor: u64) -> Answer {
        let Some(inside) = &step.inside else {
            return Answer::No;
        };
        let from = if base64.relative { cursor } else { 0 } + u64::from(base64.offset);
        let Some(bytes) = text.from(from).filter(|bytes| !bytes.is_empty()) else {
            return text.beyond(false);
        };
        let wanted = base64.bytes.map_or(usize::MAX, |bytes| bytes as usize);
        let open = text.end == End::Open && bytes.len() < wanted;
        let mut decoded = std::mem::take(&mut self.tools.decoded);
        let rules = weir_content::transform::Base64Rules {
            bytes: wanted,
            ..base64_rules(Base64Mode::Rfc4648)
        };
        let written = weir_content::transform::base64_decode(bytes, rules, &mut decoded);
        let inner = Text {
            end: match (open, text.end) {
                (true, _) => End::Open,
                (false, End::Cut) if bytes.len() < wanted => End::Cut,
                _ => End::Closed,
            },
            ..Text::whole(&decoded[..written.length])
        };
        let answer = match written.length {
            0 => text.beyond(false),
            _ => self.run(&inside.steps, &inner, 0),
        };
        self.tools.decoded = decoded;
        answer
    }
}

/// How base64 is read in this mode.
pub(crate) fn base64_rules(mode: Base64Mode) -> weir_content::transform::Base64Rules {
    use weir_content::piecewise::Base64Mode as Mode;
    use weir_content::transform::Base64Rules;
    Base64Rules {
        mode: match mode {
            Base64Mode::Rfc4648 | Base64Mode::Strict => Mode::Rfc4648,
            Base64Mode::Rfc2045 => Mode::Rfc2045,
        },
        strict: mode == Base64Mode::Strict,
        ..Base64Rules::default()
    }
}

/// The first place from `low` on where the needle lies before `limit`.
fn find(text: &Text<'_>, low: u64, limit: u64, needle: &Needle) -> Option<u64> {
    for (base, part) in text.parts() {
        let start = low.max(base) - base;
        let end = limit.saturating_sub(base).min(part.len() as u64);
        if start >= end {
            continue;
        }
        if let Some(found) = needle.find(&part[start as usize..end as usize]) {
            return Some(base + start + found as u64);
        }
    }
    None
}

const fn holds(outcome: bool) -> Answer {
    if outcome { Answer::Yes } else { Answer::No }
}

/// Bits a byte, in thousandths (Shannon).
fn entropy_of(entropy: &Entropy, bytes: &[u8]) -> u64 {
    let bytes = bytes.get(entropy.offset as usize..).unwrap_or_default();
    let most = entropy.bytes.map_or(bytes.len(), |most| most as usize);
    let bytes = &bytes[..bytes.len().min(most)];
    let mut counts = [0_u32; 256];
    for &byte in bytes {
        counts[usize::from(byte)] += 1;
    }
    let total = bytes.len() as f64;
    let bits: f64 = counts
        .iter()
        .filter(|&&count| count > 0)
        .map(|&count| {
            let share = f64::from(count) / total;
            -share * share.log2()
        })
        .sum();
    (bits * 1_000.0) as u64
}
