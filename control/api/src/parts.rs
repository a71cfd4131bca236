//! Messages that are too large to travel as one: cut into parts, and put together again.
//!
//! Trusts nothing: a part out of order, one too many or one that promises too much ends the message.
//! Memory: at the sender one part beside the items themselves, at the receiver what has come of one
//! message, [`ASSEMBLED_BYTES_MAX`] at most.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::contents::{Contents, Item, ItemKey};
use crate::v1::wire::{self, controller_message};
use crate::v1::{self};

/// A message above this travels in parts of this size.
pub const PART_BYTES_MAX: usize = 1 << 20;
/// More than this in one message is refused by whoever puts it together.
pub const ASSEMBLED_BYTES_MAX: u64 = 512 << 20;

/// A policy on its way as a snapshot: its items, and how far it has come.
#[derive(Debug)]
pub struct Parts {
    version: u64,
    total_bytes: u64,
    index: u32,
    sent_bytes: u64,
    /// What has been encoded and not sent.
    buffer: BytesMut,
    items: std::vec::IntoIter<(u8, Item)>,
}

/// What has come of a message.
#[derive(Debug, Default)]
pub struct Assembly {
    version: u64,
    next_index: u32,
    total_bytes: u64,
    buffer: BytesMut,
    /// A part was out of place: nothing counts until a message begins.
    broken: bool,
}

/// What a part came to.
#[derive(Debug)]
pub enum Assembled {
    /// More is to come.
    More,
    /// It was the last one.
    Whole(Box<wire::ControllerMessage>),
    /// The message cannot be put together; told once.
    Broken(String),
}

impl Parts {
    /// Cuts this policy. The items are shared, not copied.
    pub fn of(contents: &Contents, version: u64) -> Self {
        let items: Vec<(u8, Item)> = (contents.items())
            .map(|(key, item)| (key.tag(), item.clone()))
            .collect();
        let head = wire::Snapshot {
            version,
            checksum: contents.checksum(),
            ..wire::Snapshot::default()
        };
        let body_bytes: usize = items
            .iter()
            .map(|(tag, item)| field_bytes(*tag, item))
            .sum();
        let snapshot_bytes = head.encoded_len() + body_bytes;
        let mut buffer = BytesMut::new();
        // ControllerMessage.snapshot is its field 1.
        encode_key(1, WireType::LengthDelimited, &mut buffer);
        encode_varint(snapshot_bytes as u64, &mut buffer);
        let total_bytes = (buffer.len() + snapshot_bytes) as u64;
        // BytesMut grows as needed.
        let _ = head.encode(&mut buffer);
        Self {
            version,
            total_bytes,
            index: 0,
            sent_bytes: 0,
            buffer,
            items: items.into_iter(),
        }
    }

    /// Bytes of all parts together.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// The whole of it as one message, where it is no larger than a part.
    pub fn is_one(&self) -> bool {
        self.total_bytes <= PART_BYTES_MAX as u64
    }
}

impl Iterator for Parts {
    type Item = v1::Part;

    fn next(&mut self) -> Option<v1::Part> {
        if self.sent_bytes >= self.total_bytes {
            return None;
        }
        while self.buffer.len() < PART_BYTES_MAX {
            let Some((tag, item)) = self.items.next() else {
                break;
            };
            put_field(tag, &item, &mut self.buffer);
        }
        let length = self.buffer.len().min(PART_BYTES_MAX);
        let piece = self.buffer.split_to(length).freeze();
        self.sent_bytes += length as u64;
        let part = v1::Part {
            version: self.version,
            index: self.index,
            last: self.sent_bytes >= self.total_bytes,
            total_bytes: self.total_bytes,
            piece,
        };
        self.index += 1;
        Some(part)
    }
}

fn is_number(tag: u8) -> bool {
    tag == ItemKey::DenyStyle.tag()
}

fn field_bytes(tag: u8, item: &Item) -> usize {
    let length = item.bytes().len();
    let counted = match is_number(tag) {
        true => 0,
        false => encoded_len_varint(length as u64),
    };
    key_len(tag.into()) + counted + length
}

fn put_field(tag: u8, item: &Item, buffer: &mut BytesMut) {
    match is_number(tag) {
        true => encode_key(tag.into(), WireType::Varint, buffer),
        false => {
            encode_key(tag.into(), WireType::LengthDelimited, buffer);
            encode_varint(item.bytes().len() as u64, buffer);
        }
    }
    buffer.put_slice(item.bytes());
}

/// A message as it travels: itself, or in parts where it is large.
pub fn cut(version: u64, message: wire::ControllerMessage) -> Vec<wire::ControllerMessage> {
    if message.encoded_len() <= PART_BYTES_MAX {
        return vec![message];
    }
    let mut encoded = Bytes::from(message.encode_to_vec());
    let total_bytes = encoded.len() as u64;
    let mut messages = Vec::new();
    while !encoded.is_empty() {
        let piece = encoded.split_to(encoded.len().min(PART_BYTES_MAX));
        messages.push(part_message(v1::Part {
            version,
            index: messages.len() as u32,
            last: encoded.is_empty(),
            total_bytes,
            piece,
        }));
    }
    messages
}

/// A part as a message.
pub fn part_message(part: v1::Part) -> wire::ControllerMessage {
    wire::ControllerMessage {
        message: Some(controller_message::Message::Part(part)),
    }
}

impl Assembly {
    /// Takes the next part.
    pub fn take(&mut self, part: v1::Part) -> Assembled {
        if part.index == 0 {
            *self = Self {
                version: part.version,
                total_bytes: part.total_bytes,
                ..Self::default()
            };
        }
        if self.broken {
            return Assembled::More;
        }
        match self.add(part) {
            Ok(assembled) => assembled,
            Err(why) => {
                *self = Self {
                    broken: true,
                    ..Self::default()
                };
                Assembled::Broken(why)
            }
        }
    }

    /// Forgets what has come.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn add(&mut self, part: v1::Part) -> Result<Assembled, String> {
        let fits = part.version == self.version && part.total_bytes == self.total_bytes;
        if part.index != self.next_index || !fits {
            let (index, wanted) = (part.index, self.next_index);
            return Err(format!("part {index} came instead of part {wanted}"));
        }
        let bytes = self.buffer.len() as u64 + part.piece.len() as u64;
        if self.total_bytes > ASSEMBLED_BYTES_MAX || bytes > self.total_bytes {
            let most = self.total_bytes.min(ASSEMBLED_BYTES_MAX);
            return Err(format!("the message is larger than {most} bytes"));
        }
        self.buffer.extend_from_slice(&part.piece);
        self.next_index += 1;
        if !part.last {
            return Ok(Assembled::More);
        }
        if bytes != self.total_bytes {
            return Err(format!(
                "{bytes} bytes came instead of {}",
                self.total_bytes
            ));
        }
        let whole = std::mem::take(self).buffer.freeze();
        let message = wire::ControllerMessage::decode(whole)
            .map_err(|error| format!("the message cannot be read: {error}"))?;
        Ok(Assembled::Whole(Box::new(message)))
    }
}
