//! The messages that are being decoded, each in a slot that was made at the start.

use crate::coding::Codecs;
use crate::message::Message;
use crate::{Form, Limits, Outcome, Sink};

/// Which message a piece belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContentId {
    slot: u32,
    generation: u32,
}

/// The decoders of one worker.
pub struct Decoders {
    limits: Limits,
    codecs: Codecs,
    slots: Vec<Slot>,
    free: Vec<u32>,
}

struct Slot {
    generation: u32,
    message: Message,
}

impl Decoders {
    /// Reserves all memory that there will be.
    pub fn new(limits: Limits) -> Self {
        let count = u32::try_from(limits.messages).unwrap_or(u32::MAX);
        let slot = |_| Slot {
            generation: 0,
            message: Message::default(),
        };
        Self {
            codecs: Codecs::new(&limits),
            slots: (0..count).map(slot).collect(),
            free: (0..count).rev().collect(),
            limits,
        }
    }

    /// Bytes of memory that these decoders may come to use; the system gives most of them only when
    /// they are first needed.
    pub fn memory_bytes(&self) -> usize {
        self.codecs.memory_bytes() + self.slots.len() * (size_of::<Slot>() + size_of::<u32>())
    }

    /// Messages that have begun and were not closed.
    pub fn in_use(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// A message begins; [`Outcome::Undecoded`] if it cannot be decoded.
    pub fn begin(&mut self, form: &Form<'_>) -> Result<ContentId, Outcome> {
        let none = Outcome::Undecoded("too many messages");
        let slot = *self.free.last().ok_or(none)?;
        let place = self.slots.get_mut(slot as usize).ok_or(none)?;
        let chain = self.codecs.chain(form.coding)?;
        self.free.pop();
        place.message.begin(chain, form.media_type);
        Ok(ContentId {
            slot,
            generation: place.generation,
        })
    }

    /// The next bytes of a message, after transfer codings; `ends` with the last of them.
    pub fn piece(
        &mut self,
        id: ContentId,
        bytes: &[u8],
        ends: bool,
        sink: &mut impl Sink,
    ) -> Outcome {
        match self.slot(id) {
            Some((slot, limits)) => slot.message.piece(bytes, ends, limits, sink),
            None => Outcome::Over,
        }
    }

    /// Gives the memory of a message back, whether it ended or not.
    pub fn close(&mut self, id: ContentId) {
        if let Some((slot, _)) = self.slot(id) {
            slot.generation = slot.generation.wrapping_add(1);
            let chain = slot.message.close();
            self.codecs.give_back(chain);
            self.free.push(id.slot);
        }
    }

    fn slot(&mut self, id: ContentId) -> Option<(&mut Slot, &Limits)> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        let open = slot.generation == id.generation && slot.message.is_open();
        open.then_some((slot, &self.limits))
    }
}
