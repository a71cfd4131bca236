//! DATA frames: bodies are measured, and handed on where somebody looks into them.

use weir_wire::Direction;

use super::frames::{HEAD_BYTES, Head};
use super::headers::{Fields, Kept};
use super::lines::Lines;
use super::{Http2, Outcome};
use crate::proto::http::content;
use crate::{Content, EventSink, Form, Step};

/// What is to come of a frame.
#[derive(Clone, Copy)]
pub(super) struct Data {
    stream: u32,
    left: u32,
    padding: u32,
    /// It is the stream's last.
    ends: bool,
    looked: bool,
}

impl Http2 {
    /// A head was told; a body follows, unless the head's frame is the stream's last.
    pub(super) fn begin(
        &mut self,
        direction: Direction,
        head: Head,
        length: Option<u64>,
        kept: &Fields,
        may_look: bool,
        sink: &mut dyn EventSink,
    ) -> Result<(), &'static str> {
        let ends = head.ends_stream();
        let looked = may_look && !ends && content::wants_body(direction, sink);
        let told = self.bodies.begin(direction, head.stream, length, looked);
        if looked {
            let buffer = content::body(direction);
            let form = Form {
                coding: kept.get(Kept::Coding).unwrap_or_default(),
                media_type: kept.get(Kept::ContentType).unwrap_or_default(),
            };
            match told {
                true => content::begin(buffer, head.stream, form, sink),
                false => sink.content(&Content {
                    begins: Some(Form::UNREAD),
                    ..Content::whole(buffer, head.stream, &[])
                }),
            }
        }
        self.bodies
            .take(direction, head.stream, 0, ends)
            .map(|_| ())
    }

    /// Headers behind a body, which may be the end of it; `lines` of those that no event told of.
    pub(super) fn end(
        &mut self,
        direction: Direction,
        head: Head,
        lines: Option<&Lines>,
        sink: &mut dyn EventSink,
    ) -> Result<(), &'static str> {
        let ends = head.ends_stream();
        if let Some(lines) = lines
            && self.bodies.knows(direction, head.stream)
        {
            lines.tell_trailers(direction, head.stream, sink);
        }
        if self.bodies.take(direction, head.stream, 0, ends)? && ends {
            content::piece(content::body(direction), head.stream, &[], true, sink);
        }
        Ok(())
    }

    /// A stream is broken off.
    pub(super) fn reset(&mut self, direction: Direction, stream: u32, sink: &mut dyn EventSink) {
        if self.bodies.reset(direction, stream) {
            content::piece(content::body(direction), stream, &[], true, sink);
        }
    }

    /// At the head of a frame.
    pub(super) fn data(
        &mut self,
        direction: Direction,
        head: Head,
        input: &[u8],
        sink: &mut dyn EventSink,
    ) -> Outcome {
        let Some(length) = head.data_length(input.get(HEAD_BYTES)) else {
            return Ok(Step::Incomplete);
        };
        let length = length?;
        let ends = head.ends_stream();
        let looked = self.bodies.take(direction, head.stream, length, ends)?;
        if !looked {
            return Ok(Step::Skip((HEAD_BYTES + head.length) as u64));
        }
        if length == 0 {
            if ends {
                content::piece(content::body(direction), head.stream, &[], true, sink);
            }
            return Ok(Step::Skip((HEAD_BYTES + head.length) as u64));
        }
        // A frame is shorter than 2^24 bytes. Padding stands behind its length and the data.
        let before = usize::from(head.is_padded());
        let padding = head.length - before - length;
        self.side(direction).data = Some(Data {
            stream: head.stream,
            left: length as u32,
            padding: padding as u32,
            ends,
            looked,
        });
        Ok(Step::Consumed(HEAD_BYTES + before))
    }

    /// Within a frame.
    pub(super) fn body(
        &mut self,
        direction: Direction,
        data: Data,
        input: &[u8],
        sink: &mut dyn EventSink,
    ) -> Step {
        let rest = u64::from(data.left) + u64::from(data.padding);
        if !data.looked {
            return Step::Skip(rest);
        }
        let here = input.len().min(data.left as usize);
        let left = data.left - here as u32;
        let ends = data.ends && left == 0;
        content::piece(
            content::body(direction),
            data.stream,
            &input[..here],
            ends,
            sink,
        );
        if left == 0 {
            return match data.padding {
                0 => Step::Consumed(here),
                _ => Step::Skip(rest),
            };
        }
        self.side(direction).data = Some(Data { left, ..data });
        Step::Consumed(here)
    }

    /// Whether all that was lost is of a frame at hand: then the next one is where it was.
    pub(super) fn within_body(&mut self, direction: Direction, length: u64) -> bool {
        let side = self.side(direction);
        let Some(data) = &mut side.data else {
            return false;
        };
        let rest = u64::from(data.left) + u64::from(data.padding);
        if length > rest {
            return false;
        }
        data.looked = false;
        let stream = data.stream;
        let lost = u32::try_from(length).unwrap_or(u32::MAX);
        let of_padding = lost.saturating_sub(data.left);
        data.left = data.left.saturating_sub(lost);
        data.padding -= of_padding;
        if length == rest {
            side.data = None;
        }
        self.bodies.look_away(direction, stream);
        true
    }
}
