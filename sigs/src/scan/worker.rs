//! The work of scanning under one rule set: everything that is allocated for it, and the steps that a
//! call of [`super::Scanner`] is made of: look for literals, ask conditions, gather rules, settle them.

use std::sync::Arc;

use weir_wire::Direction;

use super::ahead::Ahead;
use super::evaluate::{DECODED_BYTES, Evaluation, PADDED_BYTES, Tools};
use super::flows::{Flows, LASTING};
use super::gate::{Occasion, fits, tests_hold};
use super::head::Head;
use super::hits::{Excerpt, Hit, Hits, Where};
use super::lane::{Lanes, NONE};
use super::remember::{Counted, Memory, Own};
use super::table::Table;
use super::text::{Answer, End, Text};
use super::transform::Transformer;
use super::{Limits, ScannerError, Stats};
use crate::compile::{Condition, Field, Member, RuleSet};
use crate::library::{END_MARK, pad};
use crate::rule::{Action, ThresholdKind};

/// Conditions that one call can find fulfilled before they are gone through.
const FULFILLED: usize = 256;
/// Rules that one call can fire.
const FIRED: usize = 256;
/// A condition of more rules is asked without looking at their headers first.
const FEW_RULES: usize = 4;

/// On what a call is asked, and where what it finds belongs.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub on: Occasion<'a>,
    /// The connection.
    pub flow: Option<u32>,
    /// The stream of HTTP/2, or [`LASTING`].
    pub message: u32,
}

/// A condition that holds.
struct Fulfilled {
    condition: u32,
    excerpt: Excerpt,
}

/// A rule all of whose conditions hold.
struct Fired {
    rank: u32,
    rule: u32,
    excerpt: Excerpt,
}

/// Everything that scanning under one rule set needs.
pub(crate) struct Worker {
    pub set: Arc<RuleSet>,
    pub flows: Flows,
    pub lanes: Lanes,
    pub tools: Tools,
    pub stats: Stats,
    memory: Memory,
    transformer: Transformer,
    pub ahead: Ahead,
    pub head: Head,
    /// By literal: the scan that saw it last.
    seen: Vec<u32>,
    scan: u32,
    /// Literals of this scan.
    touched: Vec<u32>,
    fulfilled: Vec<Fulfilled>,
    fired: Vec<Fired>,
}

impl Worker {
    /// Allocates all of it.
    pub fn new(set: Arc<RuleSet>, limits: &Limits) -> Result<Self, ScannerError> {
        let failed = |source| ScannerError {
            flows: limits.flows,
            source,
        };
        let scratch = set.scratch().map_err(failed)?;
        let lanes = Lanes::new(&set, 2 * limits.flows + limits.streamed, limits.flows);
        let on_wire = set
            .joints
            .wires
            .iter()
            .map(|wire| wire.literals.len())
            .max();
        let in_heads = set
            .joints
            .heads
            .iter()
            .map(|heads| heads.literals.len())
            .max();
        let literals = set
            .groups
            .iter()
            .map(|group| group.asked.triggered.len())
            .max();
        let literals = literals.unwrap_or(0);
        Ok(Self {
            flows: Flows::new(
                limits.flows,
                set.vocabulary.flow_bits.len(),
                limits.messages,
                set.shared,
            ),
            lanes: lanes.map_err(failed)?,
            tools: Tools {
                scratch,
                padded: vec![0; PADDED_BYTES],
                decoded: vec![0; DECODED_BYTES],
                sets: Table::new(limits.remembered),
                secret: limits.secret,
                overruns: 0,
                backtracked: 0,
            },
            stats: Stats::default(),
            memory: Memory {
                hosts: Table::new(limits.remembered),
                counts: Table::new(limits.counted),
                secret: limits.secret,
                told_per_second: limits.told_per_second,
            },
            transformer: Transformer::new(),
            ahead: Ahead::new(on_wire.unwrap_or(0)),
            head: Head::new(in_heads.unwrap_or(0)),
            seen: vec![0; literals],
            scan: 0,
            touched: Vec::with_capacity(literals),
            fulfilled: Vec::with_capacity(FULFILLED),
            fired: Vec::with_capacity(FIRED),
            set,
        })
    }

    /// Memory of what is kept by connection, without the library's streams.
    pub fn memory_bytes(&self) -> usize {
        self.flows.memory_bytes() + self.lanes.memory_bytes() + self.transformer.memory_bytes()
    }

    /// What was counted.
    pub fn stats(&self) -> Stats {
        Stats {
            overruns: self.tools.overruns,
            backtracked: self.tools.backtracked,
            forgotten: self.memory.hosts.evicted
                + self.memory.counts.evicted
                + self.tools.sets.evicted,
            without_message: self.flows.without_message,
            cut: self.transformer.cut,
            ..self.stats
        }
    }

    /// Asks every group of a field about a buffer that is here whole.
    pub fn whole(&mut self, call: &Call<'_>, field: Field, bytes: &[u8]) {
        let groups = self.set.groups_of(field, call.on.direction as usize).len();
        for place in 0..groups {
            let group = self.set.groups_of(field, call.on.direction as usize)[place];
            self.block(call, group, bytes);
            self.note(call);
        }
    }

    /// Asks one group about a buffer.
    fn block(&mut self, call: &Call<'_>, index: u16, bytes: &[u8]) {
        let Self {
            set,
            tools,
            stats,
            transformer,
            ahead,
            head,
            seen,
            scan,
            touched,
            fulfilled,
            ..
        } = self;
        let set: &RuleSet = set;
        let group = &set.groups[usize::from(index)];
        let wire = &set.joints.wires[call.on.direction as usize];
        let part = call.part(ahead, bytes);
        let part = part.filter(|_| wire.takes(index) && ahead.is_whole());
        let direction = call.on.direction as usize;
        let heads = &set.joints.heads[direction];
        let in_head = match heads.takes(index) {
            true => head.part(direction, bytes),
            false => None,
        };
        let bytes = transformer.apply(&group.asked.transforms, bytes);
        *scan = scan.wrapping_add(1);
        if *scan == 0 {
            seen.fill(0);
            *scan = 1;
        }
        touched.clear();
        let mut touch = |id: u32| {
            let last = &mut seen[id as usize];
            if *last != *scan {
                *last = *scan;
                touched.push(id);
            }
        };
        if let Some(part) = part {
            ahead.each(wire, index, part, 0, &mut touch);
        } else if let Some(part) = in_head {
            head.found.each(&heads.literals, index, part, 0, &mut touch);
        } else if let Some(database) = &group.block
            && bytes.len() >= group.shortest
        {
            let (last, marked) = (bytes.len() as u64, (bytes.len() + END_MARK.len()) as u64);
            let on_match = |id: u32, _: u64, end: u64, _: u32| {
                if end <= last || end == marked {
                    touch(id);
                }
                hyperscan::Matching::Continue
            };
            // The only errors are of misuse.
            let padded = pad(&mut tools.padded, bytes);
            let _ = database.scan(padded, &tools.scratch, on_match);
            stats.scanned_bytes += bytes.len() as u64;
        }
        let text = Text::whole(bytes);
        let triggered = touched
            .iter()
            .flat_map(|&id| &group.asked.triggered[id as usize]);
        for &member in triggered.chain(&group.asked.always) {
            let Member {
                condition,
                literals,
            } = &group.asked.members[member as usize];
            let asked = &set.conditions[*condition as usize];
            let found = match literals {
                Some(literals) => literals
                    .iter()
                    .all(|&(id, wanted)| (seen[id as usize] == *scan) == wanted)
                    .then(|| first_needle(asked, bytes)),
                None if !worth_asking(set, asked, &call.on, Answer::More) => None,
                None => {
                    stats.evaluations += 1;
                    let session = call.on.facts.session;
                    let mut evaluation = Evaluation::new(set, tools, session, call.on.now_us);
                    let answer = evaluation.ask(&asked.chain, &text);
                    (answer == Answer::Yes).then_some(evaluation.found)
                }
            };
            if let Some((start, _)) = found
                && fulfilled.len() < FULFILLED
            {
                let shown = text.from(start).unwrap_or_default();
                fulfilled.push(Fulfilled {
                    condition: *condition,
                    excerpt: Excerpt::new(place_of(group.asked.field), start, shown),
                });
            }
        }
    }

    /// The groups of a lane's field that look at something made of it.
    pub fn transformed(&mut self, call: &Call<'_>, lane: u32) {
        let direction = call.on.direction as usize;
        let field = self.set.groups[usize::from(self.lanes.lanes[lane as usize].group)]
            .asked
            .field;
        let groups = self.set.groups_of(field, direction).len();
        for place in 0..groups {
            let group = self.set.groups_of(field, direction)[place];
            if self.set.groups[usize::from(group)]
                .asked
                .transforms
                .is_empty()
            {
                continue;
            }
            let mut kept = [0; 3 * super::lane::SPAN];
            let body = self.lanes.text(lane, NONE, End::Closed).body;
            let kept = &mut kept[..body.len()];
            kept.copy_from_slice(body);
            self.block(call, group, kept);
            self.note(call);
        }
    }

    /// Asks the conditions of a lane that may have come to hold.
    pub fn ask_lane(&mut self, call: &Call<'_>, lane: u32, end: End, before_only: bool) {
        let Self {
            set,
            lanes,
            tools,
            stats,
            fulfilled,
            ..
        } = self;
        let set: &RuleSet = set;
        let group = &set.groups[usize::from(lanes.lanes[lane as usize].group)];
        let mut from = 0;
        while let Some(member) = lanes.next_candidate(lane, from, before_only) {
            from = member + 1;
            let condition = group.asked.members[member as usize].condition;
            let asked = &set.conditions[condition as usize];
            // While the application is open a rule of another one may still be meant.
            if !worth_asking(set, asked, &call.on, Answer::No) {
                if !worth_asking(set, asked, &call.on, Answer::More) {
                    lanes.clear_candidate(lane, member);
                }
                continue;
            }
            stats.evaluations += 1;
            let text = lanes.text(lane, condition, end);
            let mut evaluation = Evaluation::new(set, tools, call.on.facts.session, call.on.now_us);
            let answer = evaluation.ask(&asked.chain, &text);
            let (start, length) = evaluation.found;
            match answer {
                Answer::Yes if fulfilled.len() < FULFILLED => {
                    let shown = text.from(start).unwrap_or_default();
                    let shown = &shown[..shown.len().min(length.max(super::EXCERPT_BYTES))];
                    fulfilled.push(Fulfilled {
                        condition,
                        excerpt: Excerpt::new(place_of(group.asked.field), start, shown),
                    });
                    lanes.clear_candidate(lane, member);
                    lanes.fulfil(lane, condition);
                }
                // What does not hold where the stream pauses may hold with what follows.
                Answer::No if end == End::Open => lanes.clear_candidate(lane, member),
                Answer::Yes | Answer::No | Answer::More => {}
            }
        }
        self.note(call);
    }

    /// Goes through the conditions that hold: which rules are complete.
    fn note(&mut self, call: &Call<'_>) {
        while let Some(Fulfilled { condition, excerpt }) = self.fulfilled.pop() {
            let set = Arc::clone(&self.set);
            let asked = &set.conditions[condition as usize];
            for &rule in &asked.alone {
                self.fire(rule, excerpt);
            }
            if let (Some(shared), Some(flow)) = (asked.shared, call.flow) {
                self.hold(&set, call, (flow, shared), asked, excerpt);
            }
        }
    }

    /// A condition of rules with several holds in a message.
    fn hold(
        &mut self,
        set: &RuleSet,
        call: &Call<'_>,
        (flow, shared): (u32, u32),
        asked: &Condition,
        excerpt: Excerpt,
    ) {
        let direction = call.on.direction as usize;
        let Some(message) = self.flows.message_or_new(flow, direction, call.message) else {
            return;
        };
        if !self.flows.hold(message, shared) {
            return;
        }
        for &rule in &asked.triggers {
            self.flows.wait(message, rule);
        }
        // What is true of the stream completes any message of it, and the other way round.
        let lasting = self.flows.message(flow, direction, LASTING);
        let mut next = match call.message {
            LASTING => self.flows.messages_of(flow, direction).next(),
            _ => Some(message),
        };
        while let Some(at) = next {
            for waiting in [Some(at), lasting.filter(|&lasting| lasting != at)]
                .into_iter()
                .flatten()
            {
                self.complete(set, asked, at, lasting, waiting, excerpt);
            }
            next = match call.message {
                LASTING => self
                    .flows
                    .messages_of(flow, direction)
                    .skip_while(|&other| other != at)
                    .nth(1),
                _ => None,
            };
        }
    }

    /// Fires the rules that wait in `waiting` and are complete with what holds in `message`.
    fn complete(
        &mut self,
        set: &RuleSet,
        asked: &Condition,
        message: u32,
        lasting: Option<u32>,
        waiting: u32,
        excerpt: Excerpt,
    ) {
        let holds = |flows: &Flows, condition: u32| {
            flows.holds(message, condition)
                || lasting.is_some_and(|lasting| flows.holds(lasting, condition))
        };
        let mut index = 0;
        while let Some(&rule) = self.flows.waiting(waiting).0.get(index) {
            let needed = &set.plans[rule as usize].shared;
            if needed
                .iter()
                .all(|&condition| holds(&self.flows, condition))
            {
                self.flows.release(waiting, rule);
                self.fire(rule, excerpt);
            } else {
                index += 1;
            }
        }
        if self.flows.waiting(waiting).1 {
            for &rule in &asked.parts {
                let needed = &set.plans[rule as usize].shared;
                if needed
                    .iter()
                    .all(|&condition| holds(&self.flows, condition))
                {
                    self.fire(rule, excerpt);
                }
            }
        }
    }

    /// A rule without conditions is asked, or one is complete.
    pub fn fire(&mut self, rule: u32, excerpt: Excerpt) {
        if self.fired.len() < FIRED {
            self.fired.push(Fired {
                rank: self.set.plans[rule as usize].rank,
                rule,
                excerpt,
            });
        } else {
            self.stats.lost_hits += 1;
        }
    }

    /// Settles what has fired, in its order: state, thresholds, hits.
    pub fn settle(&mut self, call: &Call<'_>, hits: &mut Hits) {
        if self.fired.is_empty() {
            return;
        }
        let mut fired = std::mem::take(&mut self.fired);
        fired.sort_unstable_by_key(|fired| (fired.rank, fired.rule));
        fired.dedup_by_key(|fired| fired.rule);
        for fired in fired.drain(..) {
            if call.flow.is_some_and(|flow| self.flows.get(flow).passed) {
                continue;
            }
            if self.settle_one(call, &fired, hits) == Action::Pass {
                break;
            }
        }
        fired.clear();
        self.fired = fired;
        self.stats.lost_hits += u64::from(hits.lost);
    }

    /// What comes of one rule; `Pass` where nothing after it counts.
    fn settle_one(&mut self, call: &Call<'_>, fired: &Fired, hits: &mut Hits) -> Action {
        let set = Arc::clone(&self.set);
        let (Some(rule), Some(plan)) = (set.rule(fired.rule), set.plans.get(fired.rule as usize))
        else {
            return Action::Alert;
        };
        if fits(rule, &call.on) != Answer::Yes || !tests_hold(rule, &set, &call.on) {
            return Action::Alert;
        }
        let (number, bits): (u64, &mut [u64]) = match call.flow {
            Some(flow) => (self.flows.get(flow).number, self.flows.bits_mut(flow)),
            None => (0, &mut []),
        };
        let mut own = Own { number, bits };
        if !self.memory.asks(&plan.state, &call.on, &own) {
            return Action::Alert;
        }
        let counted = match &rule.threshold {
            None => Counted::Told,
            Some(threshold) => self.memory.count(fired.rule, threshold, &call.on, &own),
        };
        let filtered = rule
            .threshold
            .is_some_and(|threshold| threshold.kind == ThresholdKind::Filter);
        if filtered && counted != Counted::Told {
            return Action::Alert;
        }
        self.memory.does(&plan.state, &call.on, &mut own);
        if rule.action == Action::Pass {
            if let (Some(flow), true) = (call.flow, plan.passes_flow) {
                self.flows.get_mut(flow).passed = true;
            }
            return Action::Pass;
        }
        if rule.silent || counted == Counted::Nothing {
            return Action::Alert;
        }
        let may = counted == Counted::Told && self.memory.may_tell(fired.rule, &call.on, &own);
        self.stats.suppressed += u64::from(!may);
        if may || rule.action != Action::Alert {
            hits.push(Hit {
                rule: fired.rule,
                action: rule.action,
                told: may,
                direction: call.on.direction,
                excerpt: fired.excerpt,
            });
            self.stats.hits += 1;
        }
        rule.action
    }

    /// Asks rules of a list that have no conditions.
    pub fn ask_listed(&mut self, call: &Call<'_>, list: impl Fn(&RuleSet) -> &[u32]) {
        let set = Arc::clone(&self.set);
        let asked_once = call
            .flow
            .is_some_and(|flow| self.flows.get(flow).asked_once[call.on.direction as usize]);
        for &index in list(&set) {
            if asked_once && set.plans[index as usize].once {
                continue;
            }
            let Some(rule) = set.rule(index) else {
                continue;
            };
            if fits(rule, &call.on) == Answer::Yes && tests_hold(rule, &set, &call.on) {
                self.fire(index, Excerpt::default());
            }
        }
    }
}

/// Whether the bytes are worth looking at: of a few rules that are all there is to a condition, one
/// fits. `below` says which answer is not enough.
fn worth_asking(set: &RuleSet, condition: &Condition, on: &Occasion<'_>, below: Answer) -> bool {
    if condition.shared.is_some() || condition.alone.len() > FEW_RULES {
        return true;
    }
    condition.alone.iter().any(|&rule| {
        set.rule(rule).is_some_and(|rule| match fits(rule, on) {
            Answer::Yes => true,
            Answer::More => below == Answer::More,
            Answer::No => false,
        })
    })
}

/// Where the first content of a condition lies that asks for nothing but literals.
fn first_needle(condition: &Condition, bytes: &[u8]) -> (u64, usize) {
    let needles = condition
        .chain
        .steps
        .iter()
        .filter_map(|step| step.needle.as_ref());
    needles
        .filter_map(|needle| Some((needle.find(bytes)? as u64, needle.len())))
        .next()
        .unwrap_or((0, 0))
}

const fn place_of(field: Field) -> Where {
    match field {
        Field::Stream => Where::Buffer(weir_l7::Buffer::Payload),
        Field::Segment | Field::Datagram => Where::Packet,
        Field::Header(header) => Where::Header(header),
        Field::Buffer(buffer) => Where::Buffer(buffer),
    }
}

/// What a packet is scanned as.
pub(crate) fn packet_field(protocol: u8) -> Field {
    match protocol {
        6 => Field::Segment,
        _ => Field::Datagram,
    }
}

/// The list of rules for packets of this protocol.
pub(crate) const fn packet_list(protocol: u8) -> usize {
    match protocol {
        6 => 0,
        17 => 1,
        1 | 58 => 2,
        _ => 3,
    }
}

/// The number of a direction.
pub(crate) const fn number(direction: Direction) -> u8 {
    direction as u8
}
