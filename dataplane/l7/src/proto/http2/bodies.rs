//! The bodies that are under way, each on its stream: whether they are as long as their heads say.
//!
//! Memory: [`BODIES_MAX`] of both directions together; of more, the oldest are no longer measured.

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::violation;

/// Bodies at the same time; browsers and most clients of gRPC keep fewer under way.
const BODIES_MAX: usize = 48;
/// No length was told, or more than is counted.
const UNTOLD: u32 = u32::MAX;

/// The bodies under way, the oldest first.
#[derive(Default)]
pub(super) struct Bodies(ArrayVec<Body, BODIES_MAX>);

#[derive(Clone, Copy)]
struct Body {
    stream: u32,
    /// Bytes to come by what the head says.
    left: u32,
    direction: Direction,
}

impl Bodies {
    /// A head that a body follows.
    pub(super) fn begin(&mut self, direction: Direction, stream: u32, length: Option<u64>) {
        self.forget(direction, stream);
        if self.0.is_full() {
            self.0.remove(0);
        }
        let left = length
            .and_then(|length| u32::try_from(length).ok())
            .unwrap_or(UNTOLD);
        // There is room: it was made above.
        let _ = self.0.try_push(Body {
            stream,
            left,
            direction,
        });
    }

    /// A frame with so many bytes of a body, the last one or not.
    pub(super) fn take(
        &mut self,
        direction: Direction,
        stream: u32,
        length: usize,
        last: bool,
    ) -> Result<(), &'static str> {
        let Some(at) = self.position(direction, stream) else {
            return Ok(());
        };
        let body = &mut self.0[at];
        let mut fits = true;
        if body.left != UNTOLD {
            match u32::try_from(length)
                .ok()
                .and_then(|length| body.left.checked_sub(length))
            {
                Some(left) => body.left = left,
                None => fits = false,
            }
            fits &= !last || body.left == 0;
        }
        if last || !fits {
            self.0.remove(at);
        }
        fits.then_some(()).ok_or(violation::HTTP2_LENGTH)
    }

    /// A stream is broken off: nothing more comes in either direction.
    pub(super) fn reset(&mut self, stream: u32) {
        self.0.retain(|body| body.stream != stream);
    }

    /// Bytes of this direction were lost.
    pub(super) fn lose(&mut self, direction: Direction) {
        self.0.retain(|body| body.direction != direction);
    }

    fn forget(&mut self, direction: Direction, stream: u32) {
        if let Some(at) = self.position(direction, stream) {
            self.0.remove(at);
        }
    }

    fn position(&self, direction: Direction, stream: u32) -> Option<usize> {
        self.0
            .iter()
            .position(|body| body.stream == stream && body.direction == direction)
    }
}
