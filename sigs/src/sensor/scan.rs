//! Looking for sensors on one worker.

use std::sync::Arc;

use arrayvec::ArrayVec;
use hyperscan::{Scratch, Stream};
use weir_l7::{BufferSet, Content};
use weir_wire::Direction;

use super::compile::{Group, SensorBits, SensorSet};
use super::count::{Sources, Values};
use super::flow::{CONTENTS_MAX, ContentKey, FlowState, OpenContent, Recent, message_key};
use super::judge::{JOINT_BYTES, Judge, Searched, SensorHit};
use crate::library;

/// A flow that is looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SensorFlow {
    index: u32,
    /// Which scanner gave it out.
    generation: u32,
}

/// Why looking for sensors cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error(
    "the memory for {streams} streams of sensors cannot be had: {source}; lower limits.sessions or attach fewer sensors"
)]
pub struct SensorScannerError {
    streams: usize,
    source: hyperscan::Error,
}

/// One worker's search for the sensors of a set. Memory: for each of `flows` about a kilobyte and a
/// stream a database, and one megabyte of counters.
pub struct SensorScanner {
    set: Arc<SensorSet>,
    generation: u32,
    scratch: Scratch,
    lanes: Vec<Lane>,
    flows: Vec<FlowState>,
    free_flows: Vec<u32>,
    contents: Vec<OpenContent>,
    free_contents: Vec<u32>,
    tables: Tables,
    flows_opened: u64,
    starved: u64,
}

/// The streams of one database; the last is for contents that have none of their own: those that are
/// here whole, and those for which none is free.
struct Lane {
    streams: Vec<Stream>,
    free: Vec<u32>,
}

struct Tables {
    values: Values,
    sources: Sources,
    joint: ArrayVec<u8, JOINT_BYTES>,
}

impl SensorScanner {
    /// A scanner for so many flows at a time. `seed` hides from senders how values are counted;
    /// `generation` tells flows of this scanner from those of the one before.
    pub fn new(
        set: Arc<SensorSet>,
        flows: usize,
        seed: u64,
        generation: u32,
    ) -> Result<Self, SensorScannerError> {
        let failed = |source| SensorScannerError {
            streams: flows,
            source,
        };
        let scratch = scratch_for(&set).map_err(failed)?;
        let lanes = set.groups.iter().map(|group| Lane::new(group, flows));
        let lanes = lanes
            .collect::<hyperscan::Result<Vec<_>>>()
            .map_err(failed)?;
        let by_source = set.sensors.iter().any(|sensor| sensor.source.is_some());
        Ok(Self {
            scratch,
            lanes,
            flows: std::iter::repeat_with(FlowState::default)
                .take(flows)
                .collect(),
            free_flows: (0..flows as u32).rev().collect(),
            contents: std::iter::repeat_with(OpenContent::free)
                .take(flows)
                .collect(),
            free_contents: (0..flows as u32).rev().collect(),
            tables: Tables {
                values: Values::new(seed),
                sources: Sources::new(by_source),
                joint: ArrayVec::new(),
            },
            flows_opened: 0,
            starved: 0,
            set,
            generation,
        })
    }

    /// Tells its flows from those of the one before, where it was made without knowing that one.
    pub fn renumber(&mut self, generation: u32) {
        self.generation = generation;
    }

    /// The sensors it looks for.
    pub fn set(&self) -> &Arc<SensorSet> {
        &self.set
    }

    /// Contents whose pieces were searched one by one, for want of a stream: what is split between
    /// two pieces was not found in them.
    pub fn starved(&self) -> u64 {
        self.starved
    }

    /// A flow between these identities and addresses; None where no sensor is attached to either, or
    /// too many flows are looked into.
    pub fn open(&mut self, client: (u32, u128), server: (u32, u128)) -> Option<SensorFlow> {
        let applies = self.set.attached(client.0, server.0);
        if applies.iter().all(SensorBits::is_empty) {
            return None;
        }
        let Some(index) = self.free_flows.pop() else {
            self.starved += 1;
            return None;
        };
        self.flows_opened += 1;
        let flow = &mut self.flows[index as usize];
        flow.number = self.flows_opened;
        flow.applies = applies;
        flow.wants = applies.map(|sensors| self.set.buffers(sensors));
        flow.senders[Direction::ToServer as usize] = client.1;
        flow.senders[Direction::ToClient as usize] = server.1;
        flow.counts.clear();
        Some(SensorFlow {
            index,
            generation: self.generation,
        })
    }

    /// Whether this scanner gave the flow out; one of a scanner before is to be opened anew.
    pub fn owns(&self, flow: SensorFlow) -> bool {
        flow.generation == self.generation
    }

    /// What the flow's sensors look into, in content that travels this way.
    pub fn wants(&self, flow: SensorFlow, direction: Direction) -> BufferSet {
        match self.owns(flow) {
            true => self.flows[flow.index as usize].wants[direction as usize],
            false => BufferSet::EMPTY,
        }
    }

    /// A message begins: what was found in the one before is concluded.
    pub fn message(
        &mut self,
        flow: SensorFlow,
        direction: Direction,
        stream: u32,
        now_us: u64,
        on_hit: &mut dyn FnMut(SensorHit),
    ) {
        if self.owns(flow) {
            let (mut judge, _) = self.judge(flow.index, direction, stream, now_us, on_hit);
            judge.conclude();
        }
    }

    /// The next piece of a content.
    pub fn content(
        &mut self,
        flow: SensorFlow,
        direction: Direction,
        content: &Content<'_>,
        now_us: u64,
        on_hit: &mut dyn FnMut(SensorHit),
    ) {
        if !self.wants(flow, direction).contains(content.buffer) {
            return;
        }
        let Some(group) = self.set.group_of(content.buffer) else {
            return;
        };
        let set = Arc::clone(&self.set);
        if !set.groups[usize::from(group)].is_streamed {
            self.alone(flow.index, group, direction, content, now_us, on_hit);
            return;
        }
        let key = (direction, content.stream, content.buffer);
        if content.begins.is_some() {
            self.finish_content(flow.index, key, now_us, on_hit);
        }
        match self.open_content(flow.index, group, key) {
            Some(place) => self.piece(flow.index, place, content.bytes, now_us, on_hit),
            None => {
                self.starved += u64::from(content.begins.is_some());
                self.alone(flow.index, group, direction, content, now_us, on_hit);
            }
        }
        if content.ends {
            self.finish_content(flow.index, key, now_us, on_hit);
        }
    }

    /// The flow is over: what waited for the end of a message is told now.
    pub fn close(&mut self, flow: SensorFlow, now_us: u64, on_hit: &mut dyn FnMut(SensorHit)) {
        if !self.owns(flow) {
            return;
        }
        while let Some(&place) = self.flows[flow.index as usize].contents.last() {
            let key = self.contents[place as usize].key;
            self.finish_content(flow.index, key, now_us, on_hit);
        }
        for (direction, stream) in self.flows[flow.index as usize].message_keys() {
            let direction = match direction == Direction::ToServer as u8 {
                true => Direction::ToServer,
                false => Direction::ToClient,
            };
            self.message(flow, direction, stream, now_us, on_hit);
        }
        self.free_flows.push(flow.index);
    }

    /// A buffer that is here whole, or a piece of a content that has no stream of its own.
    fn alone(
        &mut self,
        flow: u32,
        group: u16,
        direction: Direction,
        content: &Content<'_>,
        now_us: u64,
        on_hit: &mut dyn FnMut(SensorHit),
    ) {
        let (mut judge, parts) = self.judge(flow, direction, content.stream, now_us, on_hit);
        let Some(spare) = parts.lanes[usize::from(group)].streams.last() else {
            return;
        };
        let searched = Searched::whole(content.bytes);
        let mut recent = Recent::default();
        let mut found = |expression, to| judge.found(&searched, &mut recent, expression, to);
        library::read(spare, content.bytes, parts.scratch, &mut found);
        library::end(spare, parts.scratch, &mut found);
    }

    /// The content's slot; None where all are taken.
    fn open_content(&mut self, flow: u32, group: u16, key: ContentKey) -> Option<u32> {
        let open = &self.flows[flow as usize].contents;
        let known = open
            .iter()
            .find(|place| self.contents[**place as usize].key == key);
        if let Some(place) = known {
            return Some(*place);
        }
        let lane = &mut self.lanes[usize::from(group)];
        if open.len() == CONTENTS_MAX || self.free_contents.is_empty() {
            return None;
        }
        let slot = lane.free.pop()?;
        let place = self.free_contents.pop()?;
        let content = &mut self.contents[place as usize];
        content.key = key;
        content.group = group;
        content.slot = slot;
        content.offset = 0;
        content.history.clear();
        content.recent = Recent::default();
        self.flows[flow as usize].contents.push(place);
        Some(place)
    }

    fn piece(
        &mut self,
        flow: u32,
        place: u32,
        bytes: &[u8],
        now_us: u64,
        on_hit: &mut dyn FnMut(SensorHit),
    ) {
        let (direction, stream, _) = self.contents[place as usize].key;
        let (mut judge, parts) = self.judge(flow, direction, stream, now_us, on_hit);
        let content = &mut parts.contents[place as usize];
        let searched = Searched::after(content, bytes, parts.joint);
        let mut recent = content.recent;
        let mut found = |expression, to| judge.found(&searched, &mut recent, expression, to);
        let lane = &parts.lanes[usize::from(content.group)];
        let slot = &lane.streams[content.slot as usize];
        library::read(slot, bytes, parts.scratch, &mut found);
        content.recent = recent;
        content.remember(bytes);
    }

    /// The content is over; expressions that wait for its end are told.
    fn finish_content(
        &mut self,
        flow: u32,
        key: ContentKey,
        now_us: u64,
        on_hit: &mut dyn FnMut(SensorHit),
    ) {
        let open = &self.flows[flow as usize].contents;
        let known = |place: &u32| self.contents[*place as usize].key == key;
        let Some(position) = open.iter().position(known) else {
            return;
        };
        let place = self.flows[flow as usize].contents.remove(position);
        let (mut judge, parts) = self.judge(flow, key.0, key.1, now_us, on_hit);
        let content = &mut parts.contents[place as usize];
        let searched = Searched::after(content, &[], parts.joint);
        let mut recent = content.recent;
        let mut found = |expression, to| judge.found(&searched, &mut recent, expression, to);
        let lane = &mut parts.lanes[usize::from(content.group)];
        let slot = &lane.streams[content.slot as usize];
        if library::end(slot, parts.scratch, &mut found) {
            lane.free.push(content.slot);
        }
        self.free_contents.push(place);
    }

    /// The judge of a search, and what the search itself needs.
    fn judge<'a>(
        &'a mut self,
        flow: u32,
        direction: Direction,
        stream: u32,
        now_us: u64,
        on_hit: &'a mut dyn FnMut(SensorHit),
    ) -> (Judge<'a>, Parts<'a>) {
        let flow = &mut self.flows[flow as usize];
        let judge = Judge {
            set: &self.set,
            applies: flow.applies[direction as usize],
            sender: flow.senders[direction as usize],
            flow,
            values: &mut self.tables.values,
            sources: &mut self.tables.sources,
            key: message_key(direction, stream),
            now_us,
            on_hit,
        };
        let parts = Parts {
            scratch: &self.scratch,
            lanes: &mut self.lanes,
            contents: &mut self.contents,
            joint: &mut self.tables.joint,
        };
        (judge, parts)
    }
}

impl Lane {
    fn new(group: &Group, flows: usize) -> hyperscan::Result<Self> {
        let flows = if group.is_streamed { flows } else { 0 };
        let streams = (0..=flows).map(|_| group.database.open_stream());
        Ok(Self {
            streams: streams.collect::<hyperscan::Result<_>>()?,
            free: (0..flows as u32).rev().collect(),
        })
    }
}

impl Drop for SensorScanner {
    fn drop(&mut self) {
        let lanes = self.lanes.iter_mut();
        library::close(lanes.flat_map(|lane| lane.streams.drain(..)), &self.scratch);
    }
}

/// What a search needs beside its judge.
struct Parts<'a> {
    scratch: &'a Scratch,
    lanes: &'a mut [Lane],
    contents: &'a mut [OpenContent],
    joint: &'a mut ArrayVec<u8, JOINT_BYTES>,
}

/// Scratch that serves every database of the set.
fn scratch_for(set: &SensorSet) -> hyperscan::Result<Scratch> {
    let mut scratch: Option<Scratch> = None;
    for group in &set.groups {
        match &mut scratch {
            Some(scratch) => {
                group.database.realloc_scratch(scratch)?;
            }
            None => scratch = Some(group.database.alloc_scratch()?),
        }
    }
    scratch.ok_or_else(|| hyperscan::Error::from(hyperscan::HsError::Invalid))
}
