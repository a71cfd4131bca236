//! One end of a connection: what it has sent, what it may send, what it has acknowledged.

use weir_wire::TcpFields;
use weir_wire::tcp_flags::{ACK, FIN, SYN};

use super::TcpLimits;
use mark::{ACKNOWLEDGES, BEGAN, FINISH_ACKNOWLEDGED, FINISHED, OFFERS_SCALE, SEEN};

/// The largest shift there is (RFC 7323, 2.3); also assumed where the option was not seen.
pub(super) const SCALE_MAX: u8 = 14;

/// True when `a` comes after `b` in sequence space.
#[inline]
pub(super) fn after(a: u32, b: u32) -> bool {
    (b.wrapping_sub(a) as i32) < 0
}

/// The sequence number behind a segment; SYN and FIN take one each.
#[inline]
pub(super) fn end_of(tcp: &TcpFields, payload_len: u32) -> u32 {
    let taken = u32::from(tcp.flags & SYN != 0) + u32::from(tcp.flags & FIN != 0);
    tcp.sequence.wrapping_add(payload_len).wrapping_add(taken)
}

/// What is known of one end, as a sender and as a receiver.
#[derive(Clone, Debug, Default)]
pub(super) struct Side {
    /// The first sequence number behind its SYN, or the first seen.
    pub first: u32,
    /// Behind the last byte it sent.
    pub end: u32,
    /// Behind the last byte it may send: the farthest edge that the other end offered.
    pub max_end: u32,
    /// The largest window it offered, at least one byte (a zero window may be probed).
    pub max_window: u32,
    /// The highest acknowledgement it sent; holds once `acknowledges`.
    pub highest_acknowledgement: u32,
    /// Shift of the windows it offers.
    pub scale: u8,
    /// What was seen of it: the constants of [`mark`].
    pub marks: u8,
}

const _: () = assert!(size_of::<Side>() == 24);

/// Bits of [`Side::marks`].
pub(super) mod mark {
    /// It was heard.
    pub const SEEN: u8 = 1;
    /// Its SYN was seen.
    pub const BEGAN: u8 = 2;
    /// Its SYN offered to scale windows.
    pub const OFFERS_SCALE: u8 = 4;
    /// It has acknowledged something.
    pub const ACKNOWLEDGES: u8 = 8;
    /// Its FIN was seen; it is the last thing before `end`.
    pub const FINISHED: u8 = 16;
    /// Its FIN was acknowledged.
    pub const FINISH_ACKNOWLEDGED: u8 = 32;
}

impl Side {
    /// Whether all of these marks are there.
    #[inline]
    pub fn is(&self, marks: u8) -> bool {
        self.marks & marks == marks
    }

    pub fn begin_with_syn(&mut self, tcp: &TcpFields, payload_len: u32) {
        self.marks = SEEN | BEGAN | self.marks & !OFFERS_SCALE;
        if tcp.window_scale.is_some() {
            self.marks |= OFFERS_SCALE;
        }
        self.first = tcp.sequence.wrapping_add(1);
        self.end = end_of(tcp, payload_len);
        self.max_end = self.end;
        self.max_window = u32::from(tcp.window).max(1);
        self.scale = tcp.window_scale.unwrap_or(0).min(SCALE_MAX);
    }

    /// A SYN sent again may carry other options or data than the first.
    pub fn repeat_syn(&mut self, tcp: &TcpFields, payload_len: u32) {
        let end = end_of(tcp, payload_len);
        if !self.is(ACKNOWLEDGES) && after(end, self.end) {
            self.end = end;
            self.max_end = end;
        }
    }

    /// Scaling counts only when both SYNs offered it (RFC 7323, 2.2).
    pub fn settle_scale(one: &mut Side, other: &mut Side) {
        if !(one.is(OFFERS_SCALE) && other.is(OFFERS_SCALE)) {
            one.scale = 0;
            other.scale = 0;
        }
    }

    /// First heard in the middle of the connection; what the other end's acknowledgements told stays.
    pub fn pick_up(&mut self, tcp: &TcpFields, payload_len: u32) {
        let end = end_of(tcp, payload_len);
        let known = self.is_known();
        if !known {
            self.scale = SCALE_MAX;
        }
        self.marks |= SEEN;
        self.first = tcp.sequence;
        let window = self.window_of(tcp).max(1);
        if !known || after(end, self.end) {
            self.end = end;
        }
        if !known || after(end, self.max_end) {
            self.max_end = end.wrapping_add(window);
        }
        self.max_window = window;
    }

    /// Heard, or known by the other end's acknowledgements.
    pub fn is_known(&self) -> bool {
        self.max_window != 0
    }

    /// The other end's SYN offered this much from the first byte on.
    pub fn may_fill(&mut self, window: u32) {
        let edge = self.first.wrapping_add(window);
        if after(edge, self.max_end) {
            self.max_end = edge;
        }
    }

    /// Not heard yet, but the other end has acknowledged what it sent.
    pub fn known_by_acknowledgement(&mut self, tcp: &TcpFields, window: u32) {
        let edge = tcp.acknowledgement.wrapping_add(window.max(1));
        let known = self.is_known();
        if !known {
            self.scale = SCALE_MAX;
        }
        if !known || after(tcp.acknowledgement, self.end) {
            self.end = tcp.acknowledgement;
        }
        if !known || after(edge, self.max_end) {
            self.max_end = edge;
        }
        // Marks the others as known; replaced as soon as it is heard.
        self.max_window = 1;
    }

    /// The window of a segment of this side, in bytes. In a SYN it is never scaled.
    #[inline]
    pub fn window_of(&self, tcp: &TcpFields) -> u32 {
        let scale = if tcp.flags & SYN != 0 { 0 } else { self.scale };
        u32::from(tcp.window) << scale
    }

    /// True for an acknowledgement of this side's SYN and of nothing that it has not sent.
    pub fn covers(&self, acknowledgement: u32) -> bool {
        !after(self.first, acknowledgement) && !after(acknowledgement, self.end)
    }

    /// One of the two was heard, by its SYN alone. True when this segment belongs to the connection
    /// that the SYN began: it goes on from the SYN's number, or acknowledges it.
    pub fn goes_on_from_syn(&self, receiver: &Side, tcp: &TcpFields) -> bool {
        // A repeated SYN is late by a round trip, not by a long transfer.
        const NEAR: u32 = 1 << 20;
        if self.is(BEGAN) {
            tcp.sequence.wrapping_sub(self.first) < NEAR
        } else {
            tcp.acknowledgement.wrapping_sub(receiver.first) < NEAR
        }
    }

    /// Rules 1 and 2. A FIN takes no room in the window and may stand behind its edge; what
    /// follows from there is no further beyond.
    #[inline]
    pub fn may_send(&self, sequence: u32, payload_len: u32, end: u32, receiver: &Side) -> bool {
        let oldest = self.end.wrapping_sub(receiver.max_window);
        let edge = if after(self.end, self.max_end) {
            self.end
        } else {
            self.max_end
        };
        !after(sequence.wrapping_add(payload_len), edge) && !after(oldest, end.wrapping_add(1))
    }

    /// Rules 3 and 4, for what `by` acknowledges of this side.
    #[inline]
    pub fn may_be_acknowledged(
        &self,
        acknowledgement: u32,
        by: &Side,
        picked_up: bool,
        limits: &TcpLimits,
    ) -> bool {
        let known = !after(acknowledgement, self.end);
        let under_way_before = picked_up && !after(acknowledgement, self.max_end);
        let slack = by
            .max_window
            .saturating_mul(2)
            .min(1 << 30)
            .max(limits.acknowledgement_slack_bytes);
        (known || under_way_before) && !after(self.end.wrapping_sub(slack), acknowledgement)
    }

    /// The sender's part of an accepted segment.
    #[inline]
    pub fn follow(&mut self, tcp: &TcpFields, payload_len: u32) {
        let end = end_of(tcp, payload_len);
        if after(end, self.end) {
            self.end = end;
        }
        if tcp.flags & FIN != 0 {
            self.marks |= FINISHED;
        }
        self.max_window = self.max_window.max(self.window_of(tcp));
        self.acknowledge(tcp);
    }

    /// Notes what it acknowledged.
    #[inline]
    pub fn acknowledge(&mut self, tcp: &TcpFields) {
        if tcp.flags & ACK == 0 {
            return;
        }
        if !self.is(ACKNOWLEDGES) || after(tcp.acknowledgement, self.highest_acknowledgement) {
            self.highest_acknowledgement = tcp.acknowledgement;
        }
        self.marks |= ACKNOWLEDGES;
    }

    /// The receiver's part: what the other end has acknowledged and offers.
    #[inline]
    pub fn follow_acknowledgement(&mut self, tcp: &TcpFields, window: u32) {
        let acknowledgement = tcp.acknowledgement;
        if !self.is(SEEN) {
            self.known_by_acknowledgement(tcp, window);
            return;
        }
        let edge = acknowledgement.wrapping_add(window.max(1));
        if after(edge, self.max_end) {
            self.max_end = edge;
        }
        if self.is(FINISHED) && !after(self.end, acknowledgement) {
            self.marks |= FINISH_ACKNOWLEDGED;
        }
    }
}
