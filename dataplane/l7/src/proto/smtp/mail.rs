//! The mail itself: up to its lone dot (RFC 5321, 4.5.2), or in chunks of a size (RFC 3030).
//!
//! It is passed over unless somebody looks into it when it begins.

use super::{Client, Smtp};
use crate::read::content;
use crate::read::lines;
use crate::read::lines::LoneDot;
use crate::{Buffer, EventSink, Step};

/// What was told of the mail at hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing yet.
    #[default]
    Nothing,
    Begun,
    /// A part of it was lost: nothing more is told.
    Lost,
}

impl Told {
    /// Tells a piece, if somebody looks.
    fn piece(&mut self, bytes: &[u8], ends: bool, sink: &mut dyn EventSink) {
        if *self == Self::Lost || !sink.wants(Buffer::Mail) {
            return;
        }
        content::piece(Buffer::Mail, *self == Self::Nothing, bytes, ends, sink);
        *self = Self::Begun;
    }

    /// A part of it was lost.
    pub(super) fn lose(&mut self) {
        *self = Self::Lost;
    }
}

impl Smtp {
    /// Within a mail that a lone dot ends.
    pub(super) fn body(
        &mut self,
        mut dot: LoneDot,
        bare: bool,
        input: &[u8],
        sink: &mut dyn EventSink,
    ) -> Step {
        let mut mail = self.mail;
        let end = dot.hand_on(input, bare, &mut |piece| mail.piece(piece, false, sink));
        self.mail = mail;
        if let Client::Body { dot: kept, .. } = &mut self.client {
            *kept = dot;
        }
        let Some(used) = end else {
            return Step::Consumed(input.len());
        };
        self.mail.piece(&[], true, sink);
        self.mail = Told::Nothing;
        self.client = Client::Command;
        self.asked = self.asked.saturating_add(1);
        Step::Consumed(used)
    }

    /// A command that a chunk of this size follows.
    pub(super) fn chunk(&mut self, rest: &[u8], used: usize, sink: &mut dyn EventSink) -> Step {
        let (left, last) = match lines::number(rest) {
            Some((left, b"")) => (left, false),
            Some((left, [b' ', last @ ..])) => {
                (left, last.trim_ascii().eq_ignore_ascii_case(b"LAST"))
            }
            _ => return Step::Violation("smtp: a chunk without a size"),
        };
        if self.mail == Told::Lost || !sink.wants(Buffer::Mail) {
            return Step::Skip(left.saturating_add(used as u64));
        }
        match left {
            0 => self.end_of_chunk(last, &[], sink),
            _ => self.client = Client::Chunk { left, last },
        }
        Step::Consumed(used)
    }

    /// Within a chunk that somebody looks into.
    pub(super) fn chunk_piece(
        &mut self,
        left: u64,
        last: bool,
        input: &[u8],
        sink: &mut dyn EventSink,
    ) -> Step {
        if self.mail == Told::Lost {
            self.client = Client::Command;
            return Step::Skip(left);
        }
        let here = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
        let piece = input.get(..here).unwrap_or_default();
        let left = left - here as u64;
        if left == 0 {
            self.client = Client::Command;
            self.end_of_chunk(last, piece, sink);
        } else {
            self.client = Client::Chunk { left, last };
            self.mail.piece(piece, false, sink);
        }
        Step::Consumed(here)
    }

    fn end_of_chunk(&mut self, last: bool, piece: &[u8], sink: &mut dyn EventSink) {
        self.mail.piece(piece, last, sink);
        if last {
            self.mail = Told::Nothing;
        }
    }

    /// Whether all that was lost is of a chunk: then the next command is where it was.
    pub(super) fn within_chunk(&mut self, length: u64) -> bool {
        let Client::Chunk { left, .. } = &mut self.client else {
            return false;
        };
        if length > *left {
            return false;
        }
        *left -= length;
        if *left == 0 {
            self.client = Client::Command;
        }
        self.mail.lose();
        true
    }
}
