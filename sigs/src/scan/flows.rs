//! What is kept of connections: their bits, and which conditions of a message hold already.
//!
//! Memory: [`Flows::new`] reserves all; a message takes a bit for each condition of rules with several.

use arrayvec::ArrayVec;
use weir_wire::Direction;

use super::facts::PacketNumbers;
use super::lane::NONE;

/// Rules that wait for their last condition, by message; with more all are asked.
const WAITING: usize = 16;
/// Messages of one connection at a time; the oldest makes place.
const MESSAGES_PER_FLOW: usize = 16;
/// The message that holds what is true of the whole stream.
pub(crate) const LASTING: u32 = u32::MAX;

/// A connection that is scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanFlow {
    index: u32,
    generation: u32,
}

/// One connection.
#[derive(Clone)]
pub(crate) struct Flow {
    generation: u32,
    /// The rule set that its state is of.
    pub epoch: u32,
    /// Never used again.
    pub number: u64,
    /// Its lanes.
    pub lanes: u32,
    /// Its messages, latest first.
    messages: u32,
    /// A rule let it pass: nothing more is looked for.
    pub passed: bool,
    /// By direction: what looks at addresses only was asked.
    pub asked_once: [bool; 2],
    /// Of the last stretch of its stream.
    pub last_direction: Option<Direction>,
    /// Bytes of its stream that passed, by direction.
    pub positions: [u64; 2],
    /// Of its last packet.
    pub packet: Option<PacketNumbers>,
}

/// What is known of one message.
#[derive(Clone)]
pub(crate) struct Message {
    next: u32,
    direction: u8,
    /// Stream of HTTP/2, or [`LASTING`].
    stream: u32,
    /// Rules whose trigger holds.
    waiting: ArrayVec<u32, WAITING>,
    /// More of them than are listed.
    more_waiting: bool,
}

/// All connections of a scanner.
pub(crate) struct Flows {
    flows: Vec<Flow>,
    free: Vec<u32>,
    bits: Vec<u64>,
    bit_words: usize,
    messages: Vec<Message>,
    free_messages: Vec<u32>,
    /// Conditions that hold.
    held: Vec<u64>,
    held_words: usize,
    opened: u64,
    /// Messages for which there was no place.
    pub without_message: u64,
}

impl Flows {
    /// So many connections and messages, with so many bits.
    pub fn new(flows: usize, flow_bits: usize, messages: usize, conditions: u32) -> Self {
        let flow = Flow {
            generation: 0,
            epoch: 0,
            number: 0,
            lanes: NONE,
            messages: NONE,
            passed: false,
            asked_once: [false; 2],
            last_direction: None,
            positions: [0; 2],
            packet: None,
        };
        let message = Message {
            next: NONE,
            direction: 0,
            stream: 0,
            waiting: ArrayVec::new(),
            more_waiting: false,
        };
        let messages = if conditions == 0 { 0 } else { messages };
        let (bit_words, held_words) = (flow_bits.div_ceil(64), (conditions as usize).div_ceil(64));
        Self {
            flows: vec![flow; flows],
            free: (0..flows as u32).rev().collect(),
            bits: vec![0; flows * bit_words],
            bit_words,
            messages: vec![message; messages],
            free_messages: (0..messages as u32).rev().collect(),
            held: vec![0; messages * held_words],
            held_words,
            opened: 0,
            without_message: 0,
        }
    }

    /// Takes over which connections are open.
    pub fn adopt(&mut self, old: &mut Self) {
        std::mem::swap(&mut self.flows, &mut old.flows);
        std::mem::swap(&mut self.free, &mut old.free);
        std::mem::swap(&mut self.opened, &mut old.opened);
        let bits = self.flows.len() * self.bit_words;
        self.bits.resize(bits, 0);
    }

    /// A connection; None where all are in use.
    pub fn open(&mut self, epoch: u32) -> Option<ScanFlow> {
        let index = self.free.pop()?;
        self.opened += 1;
        let flow = &mut self.flows[index as usize];
        flow.generation = flow.generation.wrapping_add(1);
        flow.number = self.opened;
        flow.positions = [0; 2];
        flow.packet = None;
        let generation = flow.generation;
        self.begin(index, epoch);
        Some(ScanFlow { index, generation })
    }

    /// Where a connection is; None where it was closed.
    pub fn find(&self, id: ScanFlow) -> Option<u32> {
        let flow = self.flows.get(id.index as usize)?;
        (flow.generation == id.generation).then_some(id.index)
    }

    /// Everything that a rule set left in a connection is forgotten.
    pub fn begin(&mut self, index: u32, epoch: u32) {
        let flow = &mut self.flows[index as usize];
        flow.epoch = epoch;
        flow.lanes = NONE;
        flow.messages = NONE;
        flow.passed = false;
        flow.asked_once = [false; 2];
        flow.last_direction = None;
        self.bits_mut(index).fill(0);
    }

    /// Gives a connection back; its lanes are given back before.
    pub fn close(&mut self, index: u32) {
        let mut message = self.flows[index as usize].messages;
        while message != NONE {
            self.free_messages.push(message);
            message = self.messages[message as usize].next;
        }
        let flow = &mut self.flows[index as usize];
        flow.messages = NONE;
        flow.generation = flow.generation.wrapping_add(1);
        self.free.push(index);
    }

    /// A connection.
    pub fn get(&self, index: u32) -> &Flow {
        &self.flows[index as usize]
    }

    /// A connection.
    pub fn get_mut(&mut self, index: u32) -> &mut Flow {
        &mut self.flows[index as usize]
    }

    /// Its bits.
    pub fn bits_mut(&mut self, index: u32) -> &mut [u64] {
        &mut self.bits[index as usize * self.bit_words..][..self.bit_words]
    }

    /// Whether one of its bits is set.
    pub fn has_bit(&self, index: u32, bit: u32) -> bool {
        let bits = &self.bits[index as usize * self.bit_words..][..self.bit_words];
        let word = bits.get(bit as usize / 64);
        word.is_some_and(|word| word >> (bit % 64) & 1 != 0)
    }

    /// A message of a connection that is known.
    pub fn message(&self, flow: u32, direction: usize, stream: u32) -> Option<u32> {
        self.messages_of(flow, direction)
            .find(|&index| self.messages[index as usize].stream == stream)
    }

    /// The messages of a direction.
    pub fn messages_of(&self, flow: u32, direction: usize) -> impl Iterator<Item = u32> + '_ {
        let mut next = self.flows[flow as usize].messages;
        std::iter::from_fn(move || {
            while next != NONE {
                let index = next;
                next = self.messages[index as usize].next;
                if usize::from(self.messages[index as usize].direction) == direction {
                    return Some(index);
                }
            }
            None
        })
    }

    /// A message of a connection; a new one where it is not known.
    pub fn message_or_new(&mut self, flow: u32, direction: usize, stream: u32) -> Option<u32> {
        if let Some(known) = self.message(flow, direction, stream) {
            return Some(known);
        }
        let index = match self.free_messages.pop() {
            Some(index) if self.count(flow) < MESSAGES_PER_FLOW => index,
            other => {
                self.free_messages.extend(other);
                let Some(oldest) = self.unlink_oldest(flow) else {
                    self.without_message += 1;
                    return None;
                };
                oldest
            }
        };
        let first = self.flows[flow as usize].messages;
        self.messages[index as usize] = Message {
            next: first,
            direction: direction as u8,
            stream,
            waiting: ArrayVec::new(),
            more_waiting: false,
        };
        self.held_mut(index).fill(0);
        self.flows[flow as usize].messages = index;
        Some(index)
    }

    fn count(&self, flow: u32) -> usize {
        self.messages_of(flow, 0).count() + self.messages_of(flow, 1).count()
    }

    /// Takes the oldest message but the lasting ones out of a connection.
    fn unlink_oldest(&mut self, flow: u32) -> Option<u32> {
        let (mut before, mut oldest) = (NONE, None);
        let mut at = self.flows[flow as usize].messages;
        while at != NONE {
            if self.messages[at as usize].stream != LASTING {
                oldest = Some((before, at));
            }
            before = at;
            at = self.messages[at as usize].next;
        }
        let (before, oldest) = oldest?;
        let next = self.messages[oldest as usize].next;
        match before {
            NONE => self.flows[flow as usize].messages = next,
            before => self.messages[before as usize].next = next,
        }
        Some(oldest)
    }

    /// Another message begins in place of the last one.
    pub fn renew(&mut self, message: u32) {
        self.held_mut(message).fill(0);
        let message = &mut self.messages[message as usize];
        message.waiting.clear();
        message.more_waiting = false;
    }

    fn held_mut(&mut self, message: u32) -> &mut [u64] {
        &mut self.held[message as usize * self.held_words..][..self.held_words]
    }

    /// Whether a condition holds in a message.
    pub fn holds(&self, message: u32, condition: u32) -> bool {
        let word = message as usize * self.held_words + condition as usize / 64;
        self.held[word] >> (condition % 64) & 1 != 0
    }

    /// A condition holds in a message. False where that was known.
    pub fn hold(&mut self, message: u32, condition: u32) -> bool {
        let word = &mut self.held_mut(message)[condition as usize / 64];
        let mask = 1 << (condition % 64);
        let is_new = *word & mask == 0;
        *word |= mask;
        is_new
    }

    /// A rule's trigger holds; it waits for the rest.
    pub fn wait(&mut self, message: u32, rule: u32) {
        let message = &mut self.messages[message as usize];
        if !message.waiting.contains(&rule) && message.waiting.try_push(rule).is_err() {
            message.more_waiting = true;
        }
    }

    /// The rules that wait, and whether there are more.
    pub fn waiting(&self, message: u32) -> (&[u32], bool) {
        let message = &self.messages[message as usize];
        (&message.waiting, message.more_waiting)
    }

    /// A rule waits no more.
    pub fn release(&mut self, message: u32, rule: u32) {
        self.messages[message as usize]
            .waiting
            .retain(|waiting| *waiting != rule);
    }

    /// Memory of all of it.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&self.flows[..])
            + size_of_val(&self.messages[..])
            + 8 * (self.bits.len() + self.held.len())
    }
}
