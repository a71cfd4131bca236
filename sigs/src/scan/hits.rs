//! What is found.

use arrayvec::ArrayVec;
use weir_l7::Buffer;
use weir_wire::Direction;

use crate::rule::{Action, PacketHeader};

/// Bytes of evidence.
pub const EXCERPT_BYTES: usize = 64;
/// Hits of one call; more are counted.
pub const HITS_PER_CALL: usize = 32;

/// A rule that fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Its number in the rule set.
    pub rule: u32,
    /// What it does. Never [`Action::Pass`], which is not told.
    pub action: Action,
    /// Whether it is to be told; else only the action counts (`threshold`, or too many of them).
    pub told: bool,
    /// The way of what it fired on.
    pub direction: Direction,
    /// What matched.
    pub excerpt: Excerpt,
}

/// Where bytes were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Where {
    /// No bytes: the rule asks for none.
    #[default]
    Nowhere,
    /// A buffer of the connection.
    Buffer(Buffer),
    /// The payload of one packet.
    Packet,
    /// A header of a packet.
    Header(PacketHeader),
}

/// Evidence: bytes and their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// Where they were.
    pub place: Where,
    /// Place of the first of them, in bytes from the start of the buffer (after its transforms).
    pub offset: u64,
    length: u8,
    bytes: [u8; EXCERPT_BYTES],
}

impl Default for Excerpt {
    fn default() -> Self {
        Self {
            place: Where::Nowhere,
            offset: 0,
            length: 0,
            bytes: [0; EXCERPT_BYTES],
        }
    }
}

impl Excerpt {
    /// Of these bytes as many as fit.
    pub(crate) fn new(place: Where, offset: u64, bytes: &[u8]) -> Self {
        let length = bytes.len().min(EXCERPT_BYTES);
        let mut excerpt = Self {
            place,
            offset,
            length: length as u8,
            ..Self::default()
        };
        excerpt.bytes[..length].copy_from_slice(&bytes[..length]);
        excerpt
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// The hits of one call, those that stop the packet first.
#[derive(Clone, Debug, Default)]
pub struct Hits {
    list: ArrayVec<Hit, HITS_PER_CALL>,
    /// Hits that found no place.
    pub lost: u32,
}

impl Hits {
    /// None yet.
    pub const fn new() -> Self {
        Self {
            list: ArrayVec::new_const(),
            lost: 0,
        }
    }

    /// Takes them out.
    pub fn clear(&mut self) {
        self.list.clear();
        self.lost = 0;
    }

    pub(crate) fn push(&mut self, hit: Hit) {
        if self.list.try_push(hit).is_err() {
            self.lost += 1;
        }
    }
}

impl std::ops::Deref for Hits {
    type Target = [Hit];

    fn deref(&self) -> &[Hit] {
        &self.list
    }
}
