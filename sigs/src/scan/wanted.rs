//! What rules still want of a connection when its application's parser tells no more of it, each way.
//!
//! *Nothing* is said only where no rule can come to fire by anything that still passes in that direction: not
//! by the stream, not by a packet, not by what waits for more bytes. Addresses, ports and the application
//! say which rules fit at all, bits of the connection which may have been led to, the first bytes of a stream
//! which it does not begin like; a stream that is further than a rule reaches is left alone by that rule.
//! The work is bounded: where more rules would have to be asked than [`ASKED_MAX`], everything is wanted.

use std::sync::Arc;

use weir_wire::Direction;

use super::evaluate::Evaluation;
use super::facts::Facts;
use super::gate::may_fit;
use super::text::{Answer, End, Text};
use super::worker::packet_list;
use super::{ScanFlow, Scanner, stream_key};
use crate::compile::{By, RuleSet, State, StreamPart};
use crate::rule::BitKind;

/// Rules asked at one connection at a time.
const ASKED_MAX: usize = 256;

/// What rules want of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// Nothing that comes can make a rule fire.
    Nothing,
    /// More of it; before so many bytes of the stream have passed there is no use in asking again.
    Until(u64),
}

const ALL: Wanted = Wanted::Until(u64::MAX);

/// At whom it is asked, and how many rules were.
struct Asking<'a> {
    flow: Option<u32>,
    facts: &'a Facts<'a>,
    told: bool,
    asked: usize,
}

impl Scanner {
    /// Whether rules without anything from the parser look at packets of this protocol that carry nothing.
    pub fn asks_of_empty_packets(&self, protocol: u8) -> bool {
        let set = &self.worker.set;
        protocol != super::TCP
            || !set.packet_rules[packet_list(protocol)].is_empty()
            || set.asks_of_headers()
    }

    /// What rules want of a direction of which the parser tells no more. `told`: nor does it of the other one.
    pub fn wanted(
        &mut self,
        flow: Option<ScanFlow>,
        facts: &Facts<'_>,
        direction: Direction,
        told: bool,
    ) -> Wanted {
        let index = flow.and_then(|flow| self.enter(flow));
        if index.is_some_and(|index| self.worker.flows.get(index).passed) {
            return Wanted::Nothing;
        }
        if !told && self.worker.set.lasting.tests_packets {
            return ALL;
        }
        let mut asking = Asking {
            flow: index,
            facts,
            told,
            asked: 0,
        };
        let wanted = self.wanted_of(&mut asking, direction, false);
        match wanted {
            // What waits in the other direction for more bytes is decided when this one answers.
            Wanted::Nothing if self.worker.set.lasting.waits => {
                match self.wanted_of(&mut asking, direction.reverse(), true) {
                    Wanted::Nothing => Wanted::Nothing,
                    Wanted::Until(_) => ALL,
                }
            }
            wanted => wanted,
        }
    }

    /// What all rules want of a direction, or only those with groups that wait.
    fn wanted_of(
        &mut self,
        asking: &mut Asking<'_>,
        direction: Direction,
        only_waiting: bool,
    ) -> Wanted {
        let lane = asking
            .flow
            .and_then(|flow| self.lane(flow, stream_key(direction)));
        if lane.is_some_and(|lane| self.worker.lanes.has_candidates(lane)) {
            return Wanted::Until(0);
        }
        let set = Arc::clone(&self.worker.set);
        let list = packet_list(asking.facts.protocol);
        let mut wanted = Wanted::Nothing;
        for &rule in &set.lasting.lists[list] {
            let (Some(by), Some(header)) = (set.lasting.by(rule, list), set.rule(rule)) else {
                continue;
            };
            let parts = set.lasting.parts(rule);
            if only_waiting && !parts.iter().any(|part| part.waits) {
                continue;
            }
            asking.asked += 1;
            if asking.asked > ASKED_MAX {
                return ALL;
            }
            if !may_fit(header, &set, asking.facts, direction)
                || !self.may_be_led_to(&set, asking, rule)
            {
                continue;
            }
            wanted = wanted.max(match by {
                By::Stream => self.of_stream(&set, asking.flow, lane, parts, direction),
                By::Packets => ALL,
                By::Once => self.once(asking.flow, direction),
            });
            if wanted == ALL {
                return ALL;
            }
        }
        wanted
    }

    /// What is asked of the first packet each way alone.
    fn once(&self, flow: Option<u32>, direction: Direction) -> Wanted {
        let asked =
            flow.is_some_and(|flow| self.worker.flows.get(flow).asked_once[direction as usize]);
        if asked {
            Wanted::Nothing
        } else {
            Wanted::Until(0)
        }
    }

    /// A rule over the stream: what it demands of the first bytes, and how far it reaches.
    fn of_stream(
        &mut self,
        set: &RuleSet,
        flow: Option<u32>,
        lane: Option<u32>,
        parts: &[StreamPart],
        direction: Direction,
    ) -> Wanted {
        let position = flow.map_or(0, |flow| {
            self.worker.flows.get(flow).positions[direction as usize]
        });
        let mut undecided = None;
        for part in parts {
            if let (Some((chain, bytes)), Some(lane)) = (&part.start, lane)
                && let Some(first) = self.worker.lanes.first_bytes(lane)
            {
                let text = Text {
                    end: End::Open,
                    ..Text::whole(first)
                };
                let mut evaluation = Evaluation::new(set, &mut self.worker.tools, None, 0);
                match evaluation.ask(chain, &text) {
                    Answer::No => return Wanted::Nothing,
                    Answer::More => undecided = Some(Wanted::Until(*bytes)),
                    Answer::Yes => {}
                }
            } else if let Some((_, bytes)) = &part.start
                && position == 0
            {
                undecided = Some(Wanted::Until(*bytes));
            }
        }
        if let Some(undecided) = undecided {
            return undecided;
        }
        let mut wanted = Wanted::Nothing;
        for part in parts {
            wanted = wanted.max(match part.reach {
                Some(reach) if reach <= position => Wanted::Nothing,
                Some(reach) => Wanted::Until(reach),
                None => ALL,
            });
        }
        wanted
    }

    /// Whether the bits of the connection that a rule asks for are set or may still be: by a rule that fits.
    fn may_be_led_to(&self, set: &RuleSet, asking: &mut Asking<'_>, rule: u32) -> bool {
        let Some(plan) = set.plans.get(rule as usize) else {
            return false;
        };
        plan.state.iter().all(|step| match step {
            State::Flow {
                kind: BitKind::IsSet,
                bits,
            } => bits.iter().any(|&bit| self.may_be_set(set, asking, bit)),
            _ => true,
        })
    }

    fn may_be_set(&self, set: &RuleSet, asking: &mut Asking<'_>, bit: u32) -> bool {
        let flows = &self.worker.flows;
        if asking.flow.is_some_and(|flow| flows.has_bit(flow, bit)) {
            return true;
        }
        let facts = asking.facts;
        let list = packet_list(facts.protocol);
        set.lasting.setters(bit).iter().any(|&setter| {
            asking.asked += 1;
            let lasts = !asking.told || set.lasting.by(setter, list).is_some();
            let fits = |direction| {
                let rule = set.rule(setter);
                rule.is_some_and(|rule| may_fit(rule, set, facts, direction))
            };
            asking.asked > ASKED_MAX
                || lasts && (fits(Direction::ToServer) || fits(Direction::ToClient))
        })
    }
}
