//! Bodies: where they end, and what of them is handed on (RFC 9112, 6 and 7).
//!
//! A body is passed over, unless somebody looks into it when it begins.

use weir_wire::Direction;

use super::head::{self, Coding, Headers};
use super::{Http, Phase, content, path};
use crate::{Application as _, EventSink, Form, Step, violation};

/// Longest line that gives a chunk's size.
const CHUNK_LINE_BYTES_MAX: usize = 4_096;

impl Http {
    /// Whether all that was lost is of a body: then what follows it is where it was.
    pub(super) fn within_body(&mut self, direction: Direction, length: u64) -> bool {
        let side = self.side(direction);
        match &mut side.phase {
            Phase::Body(left, _) if length <= *left => *left -= length,
            Phase::Rest => {}
            _ => return false,
        }
        side.looked = false;
        true
    }

    pub(super) fn body(
        &mut self,
        direction: Direction,
        headers: &Headers<'_>,
        head_bytes: usize,
        sink: &mut dyn EventSink,
    ) -> Step {
        let consumed = Step::Consumed(head_bytes);
        match (headers.coding, headers.length.unwrap_or(0)) {
            (Coding::Chunked, _) => {
                self.look(direction, headers, sink);
                self.go(direction, Phase::ChunkSize, consumed)
            }
            (_, 0) => consumed,
            (_, length) if self.look(direction, headers, sink) => {
                self.go(direction, Phase::Body(length, false), consumed)
            }
            (_, length) => Step::Skip(length.saturating_add(head_bytes as u64)),
        }
    }

    /// A body begins; returns whether somebody looks into it.
    pub(super) fn look(
        &mut self,
        direction: Direction,
        headers: &Headers<'_>,
        sink: &mut dyn EventSink,
    ) -> bool {
        let looked = content::wants_body(direction, sink);
        if looked {
            let form = Form {
                coding: headers.content_coding.unwrap_or_default(),
                media_type: headers.content_type.unwrap_or_default(),
            };
            content::begin(content::body(direction), 0, form, sink);
        }
        self.side(direction).looked = looked;
        looked
    }

    /// Hands on what comes of a body that somebody looks into.
    fn tell_body(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        ends: bool,
        sink: &mut dyn EventSink,
    ) {
        let side = self.side(direction);
        let looked = side.looked;
        side.looked &= !ends;
        if looked {
            content::piece(content::body(direction), 0, bytes, ends, sink);
        }
    }

    pub(super) fn body_piece(
        &mut self,
        direction: Direction,
        input: &[u8],
        left: u64,
        chunk: bool,
        sink: &mut dyn EventSink,
    ) -> Step {
        let behind = match chunk {
            true => Phase::ChunkEnd,
            false => Phase::Head,
        };
        if left == 0 {
            // The end of it was lost.
            self.go(direction, behind, Step::Incomplete);
            return self.parse(direction, input, sink);
        }
        if !self.side(direction).looked {
            return self.go(direction, behind, Step::Skip(left));
        }
        let here = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
        let left = left - here as u64;
        self.tell_body(direction, &input[..here], left == 0 && !chunk, sink);
        let next = match left {
            0 => behind,
            _ => Phase::Body(left, chunk),
        };
        self.go(direction, next, Step::Consumed(here))
    }

    /// What comes until the connection closes.
    pub(super) fn rest(
        &mut self,
        direction: Direction,
        input: &[u8],
        sink: &mut dyn EventSink,
    ) -> Step {
        if !self.side(direction).looked {
            return self.go(direction, Phase::Over, Step::Done);
        }
        self.tell_body(direction, input, false, sink);
        Step::Consumed(input.len())
    }

    /// A header behind a body, or the line that ends them.
    pub(super) fn trailer(
        &mut self,
        direction: Direction,
        input: &[u8],
        sink: &mut dyn EventSink,
    ) -> Step {
        let Some((line, rest)) = head::line(input) else {
            return Step::Incomplete;
        };
        let used = input.len() - rest.len();
        let next = match line {
            [] => Phase::Head,
            _ => Phase::Trailer,
        };
        let told = content::Told {
            is_request: direction == Direction::ToServer,
            lines: &input[..used],
            ..content::Told::default()
        };
        told.tell(content::wanted(sink), sink);
        self.go(direction, next, Step::Consumed(used))
    }

    /// Behind a chunk.
    pub(super) fn chunk_end(&mut self, direction: Direction, input: &[u8]) -> Step {
        match input {
            [b'\n', ..] => self.go(direction, Phase::ChunkSize, Step::Consumed(1)),
            [b'\r', b'\n', ..] => self.go(direction, Phase::ChunkSize, Step::Consumed(2)),
            [b'\r'] => Step::Incomplete,
            _ => Step::Violation(violation::HTTP_CHUNK_END),
        }
    }

    pub(super) fn chunk_size(
        &mut self,
        direction: Direction,
        input: &[u8],
        sink: &mut dyn EventSink,
    ) -> Step {
        // However the bytes come, a line is too long at the same place.
        let before_end = memchr::memchr(b'\n', input).unwrap_or(input.len());
        if before_end > CHUNK_LINE_BYTES_MAX {
            return Step::Violation(violation::HTTP_CHUNK_LINE);
        }
        let Some((line, rest)) = head::line(input) else {
            return Step::Incomplete;
        };
        let end = line
            .iter()
            .position(|&byte| byte == b';')
            .unwrap_or(line.len());
        let digits = line[..end].trim_ascii();
        if digits.is_empty() || digits.len() > 16 {
            return Step::Violation(violation::HTTP_CHUNK_SIZE);
        }
        let size = digits.iter().try_fold(0_u64, |size, &byte| {
            Some(size << 4 | u64::from(path::hex(byte)?))
        });
        let used = input.len() - rest.len();
        match size {
            None => Step::Violation(violation::HTTP_CHUNK_SIZE),
            Some(0) => {
                self.tell_body(direction, &[], true, sink);
                self.go(direction, Phase::Trailer, Step::Consumed(used))
            }
            Some(size) if self.side(direction).looked => {
                self.go(direction, Phase::Body(size, true), Step::Consumed(used))
            }
            Some(size) => {
                let skip = size.saturating_add(used as u64);
                self.go(direction, Phase::ChunkEnd, Step::Skip(skip))
            }
        }
    }
}
