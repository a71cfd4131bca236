//! Writing parts: one at a time, in pieces worth handing over.

use crate::piecewise::{Canonical, Emit, Piecewise};
use crate::{NAME_BYTES, Part, PartKind, Sink};

/// Small pieces are gathered up to this.
const GATHERED_BYTES: usize = 1024;

/// A name, cut to what is told of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name {
    bytes: [u8; NAME_BYTES],
    length: usize,
}

impl Default for Name {
    fn default() -> Self {
        Self {
            bytes: [0; NAME_BYTES],
            length: 0,
        }
    }
}

impl Name {
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(crate) fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    pub(crate) fn set(&mut self, name: &[u8]) {
        self.length = 0;
        self.bytes(name);
    }
}

impl Emit for Name {
    fn bytes(&mut self, bytes: &[u8]) {
        let room = self.bytes.get_mut(self.length..).unwrap_or_default();
        for (place, byte) in room.iter_mut().zip(bytes) {
            *place = *byte;
            self.length += 1;
        }
    }
}

/// The part that is being written, if one is.
pub(crate) struct Leaf {
    kind: Option<PartKind>,
    name: Name,
    begun: bool,
    canonical: Canonical,
    gathered: [u8; GATHERED_BYTES],
    used: usize,
}

impl Default for Leaf {
    fn default() -> Self {
        Self {
            kind: None,
            name: Name::default(),
            begun: false,
            canonical: Canonical::default(),
            gathered: [0; GATHERED_BYTES],
            used: 0,
        }
    }
}

impl Leaf {
    /// Forgets what was being written.
    pub(crate) fn reset(&mut self) {
        self.kind = None;
        self.canonical = Canonical::default();
        self.used = 0;
    }
}

/// Writes to the current part.
pub(crate) struct Writer<'a> {
    leaf: &'a mut Leaf,
    sink: &'a mut dyn Sink,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(leaf: &'a mut Leaf, sink: &'a mut dyn Sink) -> Self {
        Self { leaf, sink }
    }

    /// Another part begins; the one before it ends.
    pub(crate) fn open(&mut self, kind: PartKind, name: &[u8]) {
        self.close();
        self.leaf.kind = Some(kind);
        self.leaf.name.set(name);
        self.leaf.begun = false;
    }

    /// The part ends.
    pub(crate) fn close(&mut self) {
        if self.leaf.kind.is_some() {
            let mut canonical = std::mem::take(&mut self.leaf.canonical);
            canonical.end(&mut Gather(self));
            let used = self.leaf.used;
            self.give(used, None, true);
            self.leaf.kind = None;
        }
    }

    /// Hands over what was gathered: the input has no more for now.
    pub(crate) fn flush(&mut self) {
        if self.leaf.used > 0 {
            let used = self.leaf.used;
            self.give(used, None, false);
        }
    }

    fn gather(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let leaf = &mut *self.leaf;
            if leaf.used == 0 && rest.len() >= GATHERED_BYTES {
                return self.give(0, Some(rest), false);
            }
            let room = leaf.gathered.get_mut(leaf.used..).unwrap_or_default();
            let taken = rest.len().min(room.len());
            let (now, after) = rest.split_at(taken);
            if let Some(room) = room.get_mut(..taken) {
                room.copy_from_slice(now);
            }
            leaf.used += taken;
            rest = after;
            if leaf.used == GATHERED_BYTES {
                self.give(GATHERED_BYTES, None, false);
            }
        }
    }

    /// Hands over `bytes`, or as many gathered ones.
    fn give(&mut self, gathered: usize, bytes: Option<&[u8]>, ends: bool) {
        let leaf = &mut *self.leaf;
        let Some(kind) = leaf.kind else { return };
        let gathered = leaf.gathered.get(..gathered).unwrap_or_default();
        self.sink.part(&Part {
            kind,
            name: leaf.name.as_slice(),
            bytes: bytes.unwrap_or(gathered),
            begins: !leaf.begun,
            ends,
        });
        leaf.begun = true;
        leaf.used = 0;
    }
}

impl Emit for Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        match self.leaf.kind {
            None => {}
            // A file is no text.
            Some(PartKind::File) => self.gather(bytes),
            Some(_) => {
                let mut canonical = self.leaf.canonical;
                canonical.piece(bytes, &mut Gather(self));
                self.leaf.canonical = canonical;
            }
        }
    }
}

/// What the shortest UTF-8 is written to.
struct Gather<'a, 'b>(&'a mut Writer<'b>);

impl Emit for Gather<'_, '_> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.gather(bytes);
    }
}

/// Writes to the current part, and keeps the front as a name.
pub(crate) struct Named<'a, 'b> {
    pub(crate) name: &'a mut Name,
    pub(crate) writer: &'a mut Writer<'b>,
}

impl Emit for Named<'_, '_> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.name.bytes(bytes);
        self.writer.bytes(bytes);
    }
}
