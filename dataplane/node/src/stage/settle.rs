//! settle: when nobody wants to see more of a flow's content, or of one direction of it.
//!
//! Trusts: the parser for when it is done, signatures and sensors for what they want. Distrusts: nothing
//! that it has not been told by them. Gives: nothing of its own; what waited in signatures and sensors for more
//! bytes is decided here. Memory: what a settled flow was read with goes back.
//!
//! A flow is settled when policy's answer is final, its application known, and of both directions the parser,
//! signatures and sensors are done. Where that is so of one direction alone, its packets take the short way,
//! but for those that acknowledge what the other direction has outstanding.
//!
//! A connection that has ended is not read either; its flow stays for stragglers, with what policy said.

use weir_flow::FlowId;
use weir_policy::Certainty;
use weir_sigs::Wanted;
use weir_wire::Direction;

use crate::connection::{Connection, Mark, Standing};
use crate::inspection::{Inspection, close, conclude};
use crate::io::FrameSource;
use crate::path::{Fate, Path};
use crate::readings::SCANNED;
use crate::session::Known;

const BOTH: [Direction; 2] = [Direction::ToServer, Direction::ToClient];

impl<S: FrameSource> Path<S> {
    /// Settles a flow under inspection, or one direction of it, when nothing of it is left to see. The fate is
    /// that of the packet at hand.
    #[inline]
    pub(crate) fn settle_if_done(&mut self, id: FlowId, now_us: u64) -> Fate {
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        // Where nothing more is read, requests were judged as far as there will be any.
        let decided = cold
            .decision
            .is_some_and(|decision| decision.certainty != Certainty::NeedsApplication);
        let done = BOTH.map(|direction| cold.is_done(direction));
        let may = decided && cold.application().is_some() && done != [false; 2];
        if !may || Standing::of(hot) != Standing::Inspect {
            return Fate::Forward;
        }
        let depth_bytes = self.rules.scan_depth_bytes;
        let mut over = BOTH.map(|direction| {
            done[direction as usize] && !self.inspection.senses_stream(cold, direction, depth_bytes)
        });
        for direction in BOTH {
            let over = &mut over[direction as usize];
            *over = *over && !self.want_signatures(id, direction, now_us);
        }
        // What is wanted of one direction may have been wanted for the sake of the other.
        if over == [true, false] && done == [true; 2] {
            over[1] = !self.want_signatures(id, Direction::ToClient, now_us);
        }
        match over {
            [true, true] => return self.settle(id, now_us),
            [true, false] => self.settle_one_way(id, Direction::ToServer),
            [false, true] => self.settle_one_way(id, Direction::ToClient),
            [false, false] => {}
        }
        Fate::Forward
    }

    fn settle(&mut self, id: FlowId, now_us: u64) -> Fate {
        // What waits for bytes that nobody will look at is decided on those that were.
        let matched = self.end_scan(id, now_us);
        self.sense_ending(id, now_us);
        if matched {
            self.judge_matched(id);
        }
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        if Standing::of(hot) != Standing::Inspect {
            return self.fate_of(id);
        }
        if let Some(reading) = &mut cold.reading {
            for stream in &mut reading.streams {
                self.reassembler.give_up(stream);
            }
            if let Some(session) = reading.session.take() {
                self.inspection.l7.close(session);
            }
            reading.scanned = [SCANNED; 2];
        }
        cold.set(Mark::SessionOver, true);
        let depth_bytes = self.rules.scan_depth_bytes;
        self.inspection.readings.end(cold, depth_bytes);
        hot.verdict = Standing::Forward as u8;
        Fate::Forward
    }

    /// A connection has ended: what it was read with goes back at once, not when it is forgotten; many short ones
    /// would take all there is. Nobody takes anything for its content any more: both ends have acknowledged each
    /// other's last byte, or it was reset, and payloads behind that are dropped. Where they are not, since the mode
    /// does not block, a reset may be one that never came as far as the receiver: it is read on.
    pub(super) fn end_if_over(&mut self, id: FlowId, fate: Fate, now_us: u64) -> Fate {
        let cold = self.flows.table.cold(id);
        if cold.tcp.is_reset() && !(self.rules.tcp.strict && cold.is_blocked()) {
            return fate;
        }
        let matched = self.end_reading(id, now_us);
        match fate {
            Fate::Forward if matched => self.judge_matched(id),
            _ => fate,
        }
    }

    /// Decides what waits for more of a flow, and gives back what it was read with. Returns whether a signature
    /// that drops has matched.
    pub(super) fn end_reading(&mut self, id: FlowId, now_us: u64) -> bool {
        let matched = self.end_scan(id, now_us);
        if !self.flows.table.cold_mut(id).set(Mark::Over, true) {
            self.detect_ending(id, now_us);
        }
        self.sense_ending(id, now_us);
        let cold = self.flows.table.cold_mut(id);
        conclude(&mut self.inspection, cold);
        close(&mut self.reassembler, &mut self.inspection, cold);
        self.inspection.readings.forget(cold);
        cold.set(Mark::SessionOver, true);
        matched
    }

    fn settle_one_way(&mut self, id: FlowId, direction: Direction) {
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        if let Some(reading) = &mut cold.reading {
            self.reassembler
                .give_up(&mut reading.streams[direction as usize]);
        }
        Standing::settle_one_way(hot, direction);
    }

    /// Whether signatures want more of a direction that the parser is done with. Asked once for so many bytes
    /// as they want at least, and anew when the flow turns out to be something else.
    fn want_signatures(&mut self, id: FlowId, direction: Direction, now_us: u64) -> bool {
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        let asked_as = (cold.application(), cold.is_all_done());
        // Without memory to read the flow with nothing was looked for, nor will be.
        let (Some(_), Some(reading)) = (&self.inspection.scanner, &mut cold.reading) else {
            return false;
        };
        let at = direction as usize;
        if reading.asked_as != asked_as {
            reading.asked_as = asked_as;
            reading.ask_signatures_at = [0; 2];
        }
        if reading.scanned[at] >= self.rules.scan_depth_bytes {
            return false;
        }
        if reading.scanned[at] < reading.ask_signatures_at[at] {
            return true;
        }
        let known = Known::of(cold, now_us, self.rules.zero_unix_us);
        let facts = cold.scan_facts(hot, &known);
        let wanted = self.inspection.wanted(cold, &facts, direction);
        let Some(reading) = &mut cold.reading else {
            return false;
        };
        match wanted {
            Wanted::Nothing => {
                reading.scanned[at] = SCANNED;
                reading.ask_signatures_at = [0; 2];
                false
            }
            Wanted::Until(bytes) => {
                reading.ask_signatures_at[at] = bytes;
                true
            }
        }
    }

    /// Other signatures are looked for since policy was asked about a flow: what was said for those before
    /// holds no more. Whether they want to see what passes unread.
    pub(super) fn forget_signatures(&mut self, id: FlowId, was_short: bool, now_us: u64) -> bool {
        let (hot, cold) = self.flows.table.hot_and_cold_mut(id);
        cold.forget_scanned();
        if !was_short {
            return false;
        }
        let known = Known::of(cold, now_us, self.rules.zero_unix_us);
        let facts = cold.scan_facts(hot, &known);
        let Some(scanner) = &mut self.inspection.scanner else {
            return false;
        };
        BOTH.iter()
            .any(|&direction| scanner.wanted(None, &facts, direction, true) != Wanted::Nothing)
    }
}

impl Inspection {
    fn wanted(
        &mut self,
        cold: &Connection,
        facts: &weir_sigs::Facts<'_>,
        direction: Direction,
    ) -> Wanted {
        let Some(scanner) = &mut self.scanner else {
            return Wanted::Nothing;
        };
        scanner.wanted(cold.scan(), facts, direction, cold.is_all_done())
    }
}
