//! The bodies that are under way, each on its stream: whether they are as long as their heads say, and
//! whether somebody looks into them.
//!
//! Memory: [`BODIES_MAX`] of both directions together. Of more, the oldest that nobody looks into is no
//! longer measured; where there is none, the new one is not looked into.

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::violation;

/// Bodies at the same time; browsers and most clients of gRPC keep fewer under way.
pub(super) const BODIES_MAX: usize = 48;
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
    looked: bool,
}

impl Bodies {
    /// A head that a body follows; returns whether there was room for it.
    pub(super) fn begin(
        &mut self,
        direction: Direction,
        stream: u32,
        length: Option<u64>,
        looked: bool,
    ) -> bool {
        if let Some(at) = self.position(direction, stream) {
            self.0.remove(at);
        }
        if self.0.is_full()
            && let Some(at) = self.0.iter().position(|body| !body.looked)
        {
            self.0.remove(at);
        }
        let left = length
            .and_then(|length| u32::try_from(length).ok())
            .unwrap_or(UNTOLD);
        let body = Body {
            stream,
            left,
            direction,
            looked,
        };
        self.0.try_push(body).is_ok()
    }

    /// A frame with so many bytes of a body, the last one or not; returns whether somebody looks into
    /// it.
    pub(super) fn take(
        &mut self,
        direction: Direction,
        stream: u32,
        length: usize,
        last: bool,
    ) -> Result<bool, &'static str> {
        let Some(at) = self.position(direction, stream) else {
            return Ok(false);
        };
        let body = &mut self.0[at];
        let looked = body.looked;
        let mut fits = true;
        if body.left != UNTOLD {
            let length = u32::try_from(length).unwrap_or(UNTOLD);
            match body.left.checked_sub(length) {
                Some(left) => body.left = left,
                None => fits = false,
            }
            fits &= !last || body.left == 0;
        }
        if last || !fits {
            self.0.remove(at);
        }
        fits.then_some(looked).ok_or(violation::HTTP2_LENGTH)
    }

    /// Whether a body of this stream is under way.
    pub(super) fn knows(&self, direction: Direction, stream: u32) -> bool {
        self.position(direction, stream).is_some()
    }

    /// Bytes of a body were lost: nothing more of it is looked into.
    pub(super) fn look_away(&mut self, direction: Direction, stream: u32) {
        if let Some(at) = self.position(direction, stream) {
            self.0[at].looked = false;
        }
    }

    /// A stream is broken off: nothing more comes in either direction. Returns whether somebody looked
    /// into its body of this one.
    pub(super) fn reset(&mut self, direction: Direction, stream: u32) -> bool {
        let at = self.position(direction, stream);
        let looked = at.is_some_and(|at| self.0[at].looked);
        self.0.retain(|body| body.stream != stream);
        looked
    }

    /// Bytes of this direction were lost.
    pub(super) fn lose(&mut self, direction: Direction) {
        self.0.retain(|body| body.direction != direction);
    }

    fn position(&self, direction: Direction, stream: u32) -> Option<usize> {
        self.0
            .iter()
            .position(|body| body.stream == stream && body.direction == direction)
    }
}
