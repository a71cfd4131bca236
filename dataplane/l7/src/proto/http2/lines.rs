//! A decoded header block as HTTP/1 would write it, for those who look into heads.
//!
//! Memory: on the stack, [`HEADERS_BYTES_MAX`] and some; what is longer is cut off.

use arrayvec::ArrayVec;
use weir_wire::Direction;

use super::hpack::Text;
use crate::proto::http::content::{self, HEADERS_BYTES_MAX};
use crate::{BufferSet, EventSink};

/// Method, scheme, authority and path.
const PSEUDO_BYTES_MAX: usize = 8_192;
/// The first line that HTTP/1 would have.
const FIRST_LINE_BYTES_MAX: usize = 8_192;

/// The headers of one block, a line each.
pub(super) struct Lines {
    wanted: BufferSet,
    pseudo: ArrayVec<u8, PSEUDO_BYTES_MAX>,
    regular: ArrayVec<u8, HEADERS_BYTES_MAX>,
}

impl Lines {
    pub(super) fn new(sink: &dyn EventSink) -> Self {
        Self {
            wanted: content::wanted(sink),
            pseudo: ArrayVec::new(),
            regular: ArrayVec::new(),
        }
    }

    /// The next field of the block; what was not seen is left out.
    pub(super) fn take(&mut self, name: Text<'_>, value: Text<'_>) {
        let (Text::Bytes(name), Text::Bytes(value)) = (name, value) else {
            return;
        };
        if self.wanted.is_empty() {
            return;
        }
        match name.first() {
            Some(b':') => append(&mut self.pseudo, name, value),
            _ => append(&mut self.regular, name, value),
        }
    }

    /// Tells of headers behind a body.
    pub(super) fn tell_trailers(
        &self,
        direction: Direction,
        stream: u32,
        sink: &mut dyn EventSink,
    ) {
        let told = Told {
            is_request: direction == Direction::ToServer,
            ..Told::default()
        };
        self.tell(told, stream, sink);
    }

    /// Tells of a message, whose first line would have these parts; none: trailers.
    pub(super) fn tell(&self, told: Told<'_>, stream: u32, sink: &mut dyn EventSink) {
        let mut first = ArrayVec::<u8, FIRST_LINE_BYTES_MAX>::new();
        let parts = told.parts.iter().enumerate();
        for (at, part) in parts.filter(|(_, part)| !part.is_empty()) {
            let space: &[u8] = if at > 0 { b" " } else { b"" };
            let fits = first.remaining_capacity();
            first.extend(space.iter().chain(part.iter()).copied().take(fits));
        }
        content::Told {
            is_request: told.is_request,
            first: &first,
            lines: &self.regular,
            start: &[],
            rows: None,
            pseudo: &self.pseudo,
            authority: told.authority,
            stream,
        }
        .tell(self.wanted, sink);
    }
}

/// What stands in the first line, and the host.
#[derive(Clone, Copy, Default)]
pub(super) struct Told<'a> {
    pub(super) is_request: bool,
    pub(super) parts: [&'a [u8]; 3],
    pub(super) authority: &'a [u8],
}

/// Adds a line, where there is room for all of it; what would end it early becomes a space.
fn append<const ROOM: usize>(lines: &mut ArrayVec<u8, ROOM>, name: &[u8], value: &[u8]) {
    if name.len() + value.len() + 4 > lines.remaining_capacity() {
        return;
    }
    let plain = |&byte: &u8| match byte {
        b'\r' | b'\n' => b' ',
        byte => byte,
    };
    lines.extend(name.iter().map(plain));
    lines.extend(*b": ");
    lines.extend(value.iter().map(plain));
    lines.extend(*b"\r\n");
}
