//! Contents as a listener puts them together, and the laws that hold for each of them.

use std::fmt;

use weir_l7::{Buffer, Content, Speaker};
use weir_wire::Direction;

/// A content, all that was told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// Where it went.
    pub direction: Direction,
    /// How many events of its direction were told before it.
    pub event: usize,
    /// What it is.
    pub buffer: Buffer,
    /// Its stream.
    pub stream: u32,
    /// Content-Encoding and Content-Type.
    pub form: (Vec<u8>, Vec<u8>),
    /// Its pieces, joined.
    pub bytes: Vec<u8>,
    /// The last one was told.
    pub ended: bool,
}

impl Whole {
    /// What it is of, whatever it holds.
    pub fn key(&self) -> (Direction, usize, Buffer, u32) {
        (self.direction, self.event, self.buffer, self.stream)
    }

    /// Whether this is the beginning of `other`.
    pub fn begins(&self, other: &Self) -> bool {
        self.key() == other.key()
            && self.form == other.form
            && other.bytes.starts_with(&self.bytes)
            && (!self.ended || self.bytes == other.bytes)
    }
}

/// As a line of a sample.
impl fmt::Display for Whole {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.buffer)?;
        if self.stream != 0 {
            write!(out, " {}", self.stream)?;
        }
        let (coding, media_type) = &self.form;
        if !coding.is_empty() {
            write!(out, " coding={}", coding.escape_ascii())?;
        }
        if !media_type.is_empty() {
            write!(out, " type={}", media_type.escape_ascii())?;
        }
        write!(out, " \"{}\"", self.bytes.escape_ascii())?;
        if !self.ended {
            write!(out, " ...")?;
        }
        Ok(())
    }
}

/// Contents as they come.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) whole: Vec<Whole>,
    /// Events of each direction.
    events: [usize; 2],
}

impl Contents {
    pub(crate) fn event(&mut self, direction: Direction) {
        self.events[direction as usize] += 1;
    }

    /// Puts a piece where it belongs; what breaks a law is the parser's fault.
    pub(crate) fn take(&mut self, speaker: Speaker, content: &Content<'_>) {
        let Content { buffer, stream, .. } = *content;
        let event = self.events[speaker.direction as usize];
        if let Some(form) = content.begins {
            // A file may have a connection of its own, and a comment may stand before a statement.
            assert!(
                event > 0 || matches!(buffer, Buffer::FileData | Buffer::Mail | Buffer::Statement),
                "{buffer} before any event"
            );
            assert!(
                content.ends || buffer.is_streamed(),
                "{buffer} comes in pieces"
            );
            self.whole.push(Whole {
                direction: speaker.direction,
                event,
                buffer,
                stream,
                form: (form.coding.to_vec(), form.media_type.to_vec()),
                bytes: content.bytes.to_vec(),
                ended: content.ends,
            });
            return;
        }
        let begun = self.whole.iter_mut().rev().find(|whole| {
            whole.direction == speaker.direction && whole.buffer == buffer && whole.stream == stream
        });
        let Some(begun) = begun else {
            panic!("{buffer} goes on without a beginning");
        };
        assert!(!begun.ended, "{buffer} goes on behind its end");
        begun.bytes.extend_from_slice(content.bytes);
        begun.ended = content.ends;
    }
}
