//! Bytes on their way into lanes: what was found along the wire is taken from there, the rest is read by itself.
//!
//! Trusts nothing. Memory: on the stack, a span and a literal.

use std::sync::Arc;

use weir_wire::Direction;

use super::ahead::{Ahead, Part};
use super::lane::SPAN;
use super::text::End;
use super::worker::{Call, Worker};
use crate::compile::{LITERAL_BYTES, RuleSet};
use crate::library::pad;

impl Call<'_> {
    /// Where bytes of the connection are among those that were read ahead.
    pub fn part(&self, ahead: &Ahead, bytes: &[u8]) -> Option<Part> {
        ahead.part((self.flow?, self.on.direction as usize), bytes)
    }
}

impl Worker {
    /// Reads the head of a message, before buffers that are cut from it.
    pub fn read_head(&mut self, direction: Direction, bytes: &[u8]) {
        let way = direction as usize;
        if let Some(database) = &self.set.joints.heads[way].database {
            self.head.read(way, bytes, database, &self.tools.scratch);
            self.stats.scanned_bytes += bytes.len() as u64;
        }
    }

    /// Reads the next bytes of a direction, before anybody asks of them.
    pub fn read_ahead(&mut self, key: (u32, usize), lane: u32, bytes: &[u8]) {
        let Some(stream) = self.lanes.stream(lane) else {
            return;
        };
        let read = self.lanes.lanes[lane as usize].read;
        self.ahead
            .read(key, read, bytes, stream, &self.tools.scratch);
        self.lanes.lanes[lane as usize].read += bytes.len() as u64;
        self.stats.scanned_bytes += bytes.len() as u64;
    }

    /// Reads the next bytes of a lane.
    pub fn feed(&mut self, call: &Call<'_>, lane: u32, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(self.lanes.room(lane).min(bytes.len()));
            self.read(call, lane, piece);
            self.ask_lane(call, lane, End::Open, false);
            if self.lanes.ends_span(lane) {
                self.ask_lane(call, lane, End::Cut, true);
                self.transformed(call, lane);
                self.lanes.next_span(lane);
            }
            bytes = rest;
        }
    }

    /// Reads a piece that lies within one span. Conditions whose literals are found may come to hold.
    fn read(&mut self, call: &Call<'_>, lane: u32, piece: &[u8]) {
        let set = Arc::clone(&self.set);
        let index = self.lanes.lanes[lane as usize].group;
        let asked = &set.groups[usize::from(index)].asked;
        let wire = &set.joints.wires[call.on.direction as usize];
        let part = call.part(&self.ahead, piece).filter(|_| wire.takes(index));
        let run = part.and_then(|part| self.lanes.run(lane, &part));
        let lanes = &mut self.lanes;
        let mut mark = |id: u32| {
            let members = asked.triggered.get(id as usize);
            lanes.mark(lane, members.map_or(&[], Vec::as_slice));
        };
        if let Some(part) = part {
            self.ahead
                .each(wire, index, part, run.unwrap_or(0), &mut mark);
        }
        match (part, run) {
            (Some(_), Some(_)) => {}
            // What begins before the piece lies elsewhere: where they meet is read by itself.
            (Some(_), None) => self.join(&set, lane, &piece[..piece.len().min(LITERAL_BYTES)]),
            (None, _) => self.join(&set, lane, piece),
        }
        self.lanes.mark(lane, &asked.always);
        self.lanes.take(lane, piece, part);
    }

    /// Reads a piece of a lane with what is right before it.
    fn join(&mut self, set: &RuleSet, lane: u32, piece: &[u8]) {
        let index = self.lanes.lanes[lane as usize].group;
        let group = &set.groups[usize::from(index)];
        let Some(database) = &group.block else { return };
        let mut joint = [0; LITERAL_BYTES + SPAN];
        let before = self.lanes.last(lane, LITERAL_BYTES - 1);
        let (length, end) = (before.len(), before.len() + piece.len());
        joint[..length].copy_from_slice(before);
        joint[length..end].copy_from_slice(piece);
        let lanes = &mut self.lanes;
        let on_match = |id: u32, _: u64, to: u64, _: u32| {
            if (length as u64 + 1..=end as u64).contains(&to) {
                let members = group.asked.triggered.get(id as usize);
                lanes.mark(lane, members.map_or(&[], Vec::as_slice));
            }
            hyperscan::Matching::Continue
        };
        // The only errors are of misuse.
        let padded = pad(&mut self.tools.padded, &joint[..end]);
        let _ = database.scan(padded, &self.tools.scratch, on_match);
        self.stats.scanned_bytes += end as u64;
    }
}
