//! Telling contents that are whole, or come in pieces on no stream.

use crate::{Buffer, Content, EventSink, Form, Step};

/// Tells a buffer that is here whole, if somebody looks into it.
pub(crate) fn whole(buffer: Buffer, bytes: &[u8], sink: &mut dyn EventSink) {
    if sink.wants(buffer) {
        sink.content(&Content::whole(buffer, 0, bytes));
    }
}

/// Tells a piece of a buffer that somebody looks into; `begins` with the first one.
pub(crate) fn piece(
    buffer: Buffer,
    begins: bool,
    bytes: &[u8],
    ends: bool,
    sink: &mut dyn EventSink,
) {
    sink.content(&Content {
        buffer,
        stream: 0,
        begins: begins.then(Form::default),
        bytes,
        ends,
    });
}

/// Bytes of a known number that are handed on as they come: a content, or a part of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Run {
    left: u64,
    begins: bool,
    ends: bool,
    /// Some were lost: the others are passed over.
    lost: bool,
}

impl Run {
    /// So many bytes, which begin and end the content or do not. Told at once where there are none.
    pub(crate) fn new(
        buffer: Buffer,
        length: u64,
        (begins, ends): (bool, bool),
        sink: &mut dyn EventSink,
    ) -> Self {
        if length == 0 && (begins || ends) {
            piece(buffer, begins, &[], ends, sink);
        }
        Self {
            left: length,
            begins,
            ends,
            lost: false,
        }
    }

    /// Whether more is to come.
    pub(crate) fn goes_on(&self) -> bool {
        self.left > 0
    }

    /// Hands on what is there.
    pub(crate) fn hand_on(
        &mut self,
        buffer: Buffer,
        input: &[u8],
        sink: &mut dyn EventSink,
    ) -> Step {
        if self.lost {
            return Step::Skip(std::mem::take(&mut self.left));
        }
        let here = usize::try_from(self.left).map_or(input.len(), |left| left.min(input.len()));
        self.left -= here as u64;
        let bytes = input.get(..here).unwrap_or_default();
        let ends = self.ends && self.left == 0;
        piece(buffer, std::mem::take(&mut self.begins), bytes, ends, sink);
        Step::Consumed(here)
    }

    /// Whether all that was lost is of the run: then what follows it is where it was.
    pub(crate) fn covers(&mut self, lost: u64) -> bool {
        let covered = lost > 0 && lost <= self.left;
        if covered {
            self.left -= lost;
            self.lost = true;
        }
        covered
    }
}
