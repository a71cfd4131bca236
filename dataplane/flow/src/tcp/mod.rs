//! TCP connections as someone in the middle can follow them: RFC 9293, with the window tracking of
//! Guido van Rooij, "Real Stateful TCP Packet Filtering in IP Filter" (2000).
//!
//! Trusts: the decoded header fields. Distrusts: both ends; a segment is let on only where an honest
//! receiver could take it. Reasons: `TcpFlags`, `TcpWindow`, `TcpState`. Memory: one
//! [`TcpConnection`] of 56 bytes.
//!
//! A segment passes when
//!
//! 1. its first byte past the last is within what the receiver ever offered (acknowledgement +
//!    window),
//! 2. it is not older than the receiver's largest window,
//! 3. it acknowledges nothing that was not sent,
//! 4. its acknowledgement is not older than twice the sender's own largest window (or 66,000 bytes): what is
//!    older than that even the receiver discards (RFC 5961, 5.2), which counts one window from
//!    the last acknowledgement it got.
//!
//! **Picking up.** A connection whose handshake was not seen (after a restart) is followed from its
//! first segment on. Until both ends were heard nothing is refused for its numbers. Then the four
//! rules hold, with two allowances that stay: the window scale is taken to be the largest there is,
//! since its option went by unseen, and bytes that were under way before the pick-up become known by
//! their acknowledgement. A SYN that was seen while its answer was not (the SYN came late, the
//! handshake was over) is followed in the same way by the segments that go on from it. [`sender_is_client`] says which end is taken for the client.
//!
//! **SYN.** On a closed connection (unless it is its own SYN, come late), on one whose handshake was never answered or on a picked-up one of which one
//! end is unheard, it begins a new connection: [`TcpVerdict::Reopen`]. On a living one it passes
//! without a payload and changes nothing: the receiver answers with a challenge ACK (RFC 5961, 4). Should
//! the receiver have lost the connection and answer with SYN+ACK, that answer is dropped and
//! the connection counts as closed, so that the SYN's repetition begins the new one.
//!
//! **RST** ends the connection only when it stands exactly where the receiver is or the sender has
//! got to; elsewhere in the window it passes and changes nothing (the receiver answers with a
//! challenge ACK, RFC 5961, 3). After a reset payloads are dropped, bare segments within the
//! window pass: what was inspected is at its end, and a challenge ACK still finds its way.

mod kept;
mod side;

use weir_wire::protocol::TCP;
use weir_wire::tcp_flags::{ACK, FIN, RST, SYN};
use weir_wire::{Direction, Packet, Reason, TcpFields};

use crate::table::Life;
pub use kept::KEPT_BYTES;
use side::mark::{ACKNOWLEDGES, BEGAN, FINISH_ACKNOWLEDGED, FINISHED, SEEN};
use side::{SCALE_MAX, Side};

/// How strictly segments are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpLimits {
    /// Drop what lies outside the window or does not fit the state. Where it is false (a tap, which
    /// may lose packets; routes that differ per direction) such segments are accepted and learned
    /// from; flags and resets are judged all the same.
    pub strict: bool,
    /// How old an acknowledgement may be at least, however small the window. The default of
    /// 66,000 bytes allows for segments that overtook each other.
    pub acknowledgement_slack_bytes: u32,
}

impl Default for TcpLimits {
    fn default() -> Self {
        Self {
            strict: true,
            acknowledgement_slack_bytes: 66_000,
        }
    }
}

/// What is to happen to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpVerdict {
    /// It belongs to the connection.
    Accept,
    /// It belongs to the connection and changed its state: the life to store in [`crate::Hot`].
    AcceptLife(Life),
    /// It opens a new connection between the same endpoints. The old one is over: end what was
    /// known of the flow (streams, session, verdict) and begin anew with this segment as the
    /// first, its sender being the client. The old connection was not changed.
    Reopen,
    /// It does not belong to the connection.
    Drop(Reason),
}

/// A connection as seen from the middle. The default has seen nothing; its first segment then opens it.
#[derive(Clone, Debug, Default)]
pub struct TcpConnection {
    /// By the direction of what it sends: client, server.
    sides: [Side; 2],
    /// The sender of a SYN on the living connection that was let through.
    pending_syn: Option<Direction>,
    /// The handshake was not seen from its first SYN on.
    picked_up: bool,
    reset: bool,
    /// The sequence behind that SYN.
    pending_sequence: u32,
}

const _: () = assert!(size_of::<TcpConnection>() == 56);

/// The flags of a segment that no honest sender makes (no flags at all, SYN+FIN, SYN+RST, FIN+RST,
/// FIN without ACK, a bare PSH or URG …). To be asked before [`TcpConnection::open`];
/// [`TcpConnection::segment`] asks itself.
pub fn check_flags(flags: u8) -> Option<Reason> {
    let kind = flags & (FIN | SYN | RST | ACK);
    let honest =
        matches!(kind, SYN | RST | ACK) || kind & ACK != 0 && (kind & !ACK).count_ones() <= 1;
    (!honest).then_some(Reason::TcpFlags)
}

/// The sequence number of the first payload byte: SYN takes one for itself.
pub fn payload_sequence(tcp: &TcpFields) -> u32 {
    tcp.sequence.wrapping_add(u32::from(tcp.flags & SYN != 0))
}

/// Whether the sender of a flow's first packet is its client.
///
/// A SYN comes from the client, a SYN+ACK from the server. Where a TCP connection is picked up in its
/// middle, the end with the lower port is taken for the server. That guess cannot be abused to open a
/// connection under a false name: a SYN begins anew with its sender as the client. For every other
/// protocol the sender is the client: with nothing like a SYN to correct it, a guess by port would let an
/// attacker pass for the answering end by its choice of source port.
pub fn sender_is_client(packet: &Packet) -> bool {
    if packet.protocol != TCP || packet.fragment.is_some() {
        return true;
    }
    match packet.tcp.flags & (SYN | ACK) {
        flags if flags == SYN | ACK => false,
        SYN => true,
        _ => packet.source_port >= packet.destination_port,
    }
}

impl TcpConnection {
    /// Begins with a first segment, the client's: a SYN, or any other, which picks the connection up.
    /// The segment need not be given to [`Self::segment`] again, though that does no harm.
    /// [`check_flags`] comes first.
    pub fn open(tcp: &TcpFields, payload_len: u32) -> Self {
        Self::open_from(Direction::ToServer, tcp, payload_len)
    }

    /// [`Self::open`] with a first segment from either end (see [`sender_is_client`]).
    pub fn open_from(direction: Direction, tcp: &TcpFields, payload_len: u32) -> Self {
        let mut connection = Self::default();
        let [sender, receiver] = connection.sides_mut(direction);
        if tcp.flags & SYN != 0 {
            sender.begin_with_syn(tcp, payload_len);
        } else {
            sender.pick_up(tcp, payload_len);
        }
        if tcp.flags & ACK != 0 && tcp.flags & RST == 0 {
            sender.acknowledge(tcp);
            receiver.known_by_acknowledgement(tcp, sender.window_of(tcp));
            if tcp.flags & SYN != 0 && tcp.window_scale.is_none() {
                // A SYN+ACK without the option settles it for both.
                receiver.scale = 0;
            }
        }
        if tcp.flags & FIN != 0 {
            sender.marks |= FINISHED;
        }
        connection.picked_up = tcp.flags & (SYN | ACK) != SYN;
        connection.reset = tcp.flags & RST != 0;
        connection
    }

    /// Follows a plain segment (ACK and none of SYN, FIN, RST, URG) of a connection in which both ends take part
    /// and none has finished, where it keeps the four rules. False: nothing was changed, and
    /// [`Self::segment`] has to judge. True: that would have said [`TcpVerdict::Accept`] and done the same.
    #[inline]
    pub fn plain_segment(
        &mut self,
        direction: Direction,
        tcp: &TcpFields,
        payload_len: u32,
        limits: &TcpLimits,
    ) -> bool {
        if !self.is_quiet() {
            return false;
        }
        // No other flag is set that anything here looks at: said to the compiler, it saves a tenth.
        let tcp = &TcpFields { flags: ACK, ..*tcp };
        let [sender, receiver] = self.sides_mut(direction);
        if judge(sender, receiver, tcp, payload_len, false, limits).is_err() {
            return false;
        }
        sender.follow(tcp, payload_len);
        receiver.follow_acknowledgement(tcp, sender.window_of(tcp));
        true
    }

    /// Both ends take part, and neither a FIN nor a reset was seen.
    #[inline]
    fn is_quiet(&self) -> bool {
        const TAKES_PART: u8 = SEEN | ACKNOWLEDGES;
        let [client, server] = self.sides.each_ref().map(|side| side.marks);
        client & server & TAKES_PART == TAKES_PART
            && (client | server) & FINISHED == 0
            && !self.reset
    }

    /// Judges a segment and follows it.
    pub fn segment(
        &mut self,
        direction: Direction,
        tcp: &TcpFields,
        payload_len: u32,
        limits: &TcpLimits,
    ) -> TcpVerdict {
        if let Some(reason) = check_flags(tcp.flags) {
            return TcpVerdict::Drop(reason);
        }
        if !self.sides[0].is(SEEN) && !self.sides[1].is(SEEN) {
            *self = Self::open_from(direction, tcp, payload_len);
            return TcpVerdict::AcceptLife(self.life());
        }
        let before = self.life();
        let outcome = match tcp.flags & (SYN | RST | ACK) {
            SYN => return self.on_syn(direction, tcp, payload_len),
            flags if flags & RST != 0 => self.on_reset(direction, tcp, limits),
            flags if flags & SYN != 0 => self.on_syn_ack(direction, tcp, payload_len, limits),
            _ => self.on_other(direction, tcp, payload_len, limits),
        };
        match outcome {
            Err(reason) => TcpVerdict::Drop(reason),
            Ok(()) if self.life() == before => TcpVerdict::Accept,
            Ok(()) => TcpVerdict::AcceptLife(self.life()),
        }
    }

    /// How far the connection has come.
    pub fn life(&self) -> Life {
        let [client, server] = &self.sides;
        if self.reset || client.is(FINISH_ACKNOWLEDGED) && server.is(FINISH_ACKNOWLEDGED) {
            Life::Closed
        } else if client.is(FINISHED) || server.is(FINISHED) {
            Life::Closing
        } else if self.both_took_part() {
            Life::Established
        } else {
            Life::Opening
        }
    }

    /// It was reset; otherwise one that is closed was finished by both ends.
    pub fn is_reset(&self) -> bool {
        self.reset
    }

    /// The connection was not seen from its first SYN on.
    pub fn picked_up(&self) -> bool {
        self.picked_up
    }

    /// Both ends took part and it has not ended (one of them may have finished sending).
    pub fn is_established(&self) -> bool {
        self.both_took_part() && self.life() != Life::Closed
    }

    /// The sequence number of the first byte of this direction: behind its SYN, or where it was first heard.
    pub fn first_sequence(&self, direction: Direction) -> u32 {
        self.sides[direction as usize].first
    }

    /// The sequence number that the receiver of this direction expects next, as far as it said so: the one for
    /// a reset made out of nothing.
    pub fn next_sequence(&self, direction: Direction) -> u32 {
        let receiver = &self.sides[direction.reverse() as usize];
        if receiver.is(ACKNOWLEDGES) {
            receiver.highest_acknowledgement
        } else {
            self.sides[direction as usize].end
        }
    }

    fn both_took_part(&self) -> bool {
        self.sides[0].is(ACKNOWLEDGES) && self.sides[1].is(ACKNOWLEDGES)
    }

    fn both_seen(&self) -> bool {
        self.sides[0].is(SEEN) && self.sides[1].is(SEEN)
    }

    /// Sender and receiver.
    #[inline]
    fn sides_mut(&mut self, direction: Direction) -> [&mut Side; 2] {
        let [client, server] = &mut self.sides;
        match direction {
            Direction::ToServer => [client, server],
            Direction::ToClient => [server, client],
        }
    }

    fn on_syn(&mut self, direction: Direction, tcp: &TcpFields, payload_len: u32) -> TcpVerdict {
        let (closed, reset) = (self.life() == Life::Closed, self.reset);
        let half_heard = !self.both_seen();
        let picked_up = self.picked_up;
        let [sender, receiver] = self.sides_mut(direction);
        let repeated = sender.is(BEGAN) && tcp.sequence.wrapping_add(1) == sender.first;
        if closed && (reset || !repeated) {
            return TcpVerdict::Reopen;
        }
        if repeated && !closed {
            sender.repeat_syn(tcp, payload_len);
            return TcpVerdict::Accept;
        }
        if !sender.is(SEEN) && receiver.is(BEGAN) && !receiver.is(ACKNOWLEDGES) {
            // Both opened at once (RFC 9293, 3.5), or a split handshake, which looks the same.
            sender.begin_with_syn(tcp, payload_len);
            Side::settle_scale(sender, receiver);
            sender.may_fill(receiver.max_window);
            receiver.may_fill(sender.max_window);
            return TcpVerdict::Accept;
        }
        if half_heard && (picked_up || sender.is(BEGAN)) {
            return TcpVerdict::Reopen;
        }
        if payload_len > 0 {
            // Were the receiver to take it after all, these bytes would be read uninspected.
            return TcpVerdict::Drop(Reason::TcpState);
        }
        self.pending_syn = Some(direction);
        self.pending_sequence = tcp.sequence.wrapping_add(1);
        TcpVerdict::Accept
    }

    fn on_syn_ack(
        &mut self,
        direction: Direction,
        tcp: &TcpFields,
        payload_len: u32,
        limits: &TcpLimits,
    ) -> Result<(), Reason> {
        let answers_pending = self.pending_syn == Some(direction.reverse())
            && self.pending_sequence == tcp.acknowledgement;
        let picked_up = self.picked_up;
        let [sender, receiver] = self.sides_mut(direction);
        let repeated = sender.is(BEGAN) && tcp.sequence.wrapping_add(1) == sender.first;
        // Of a connection picked up shortly after its handshake this may be a repetition too.
        if repeated || picked_up && !sender.is(BEGAN) && !answers_pending {
            return self.on_other(direction, tcp, payload_len, limits);
        }
        if !sender.is(SEEN) && receiver.is(BEGAN) {
            if !receiver.covers(tcp.acknowledgement) {
                return Err(Reason::TcpWindow);
            }
            sender.begin_with_syn(tcp, payload_len);
            Side::settle_scale(sender, receiver);
            sender.may_fill(receiver.max_window);
            return self.on_other(direction, tcp, payload_len, limits);
        }
        if answers_pending {
            self.reset = true;
        }
        Err(Reason::TcpState)
    }

    fn on_reset(
        &mut self,
        direction: Direction,
        tcp: &TcpFields,
        limits: &TcpLimits,
    ) -> Result<(), Reason> {
        let [sender, receiver] = self.sides_mut(direction);
        let (exact, within) = if !sender.is(SEEN) && !sender.is_known() {
            // The answer to a SYN is known by its acknowledgement (RFC 9293, 3.10.7.3).
            let answers = tcp.flags & ACK != 0 && receiver.covers(tcp.acknowledgement);
            (answers, answers)
        } else if !receiver.is(SEEN) {
            (tcp.sequence == sender.end, true)
        } else {
            let expected =
                receiver.is(ACKNOWLEDGES) && tcp.sequence == receiver.highest_acknowledgement;
            (
                expected || tcp.sequence == sender.end,
                sender.may_send(tcp.sequence, 0, tcp.sequence, receiver),
            )
        };
        if exact {
            self.reset = true;
            return Ok(());
        }
        if within || !limits.strict {
            Ok(())
        } else {
            Err(Reason::TcpWindow)
        }
    }

    /// Every segment with ACK and without RST, but for a SYN+ACK that is new.
    fn on_other(
        &mut self,
        direction: Direction,
        tcp: &TcpFields,
        payload_len: u32,
        limits: &TcpLimits,
    ) -> Result<(), Reason> {
        let (picked_up, reset) = (self.picked_up, self.reset);
        let [sender, receiver] = self.sides_mut(direction);
        let new = !sender.is(SEEN);
        // Only one end was heard, by its SYN, and now someone speaks as if it had been answered.
        let unanswered =
            !picked_up && (new && receiver.is(BEGAN) || !receiver.is(SEEN) && sender.is(BEGAN));
        if unanswered && limits.strict && !sender.goes_on_from_syn(receiver, tcp) {
            // The challenge ACK of an end that thinks an older connection is still there.
            let bare = payload_len == 0 && tcp.flags & (FIN | SYN) == 0;
            return if new && bare {
                Ok(())
            } else {
                Err(Reason::TcpState)
            };
        }
        if new {
            sender.pick_up(tcp, payload_len);
        }
        if limits.strict {
            if reset && payload_len > 0 {
                return Err(Reason::TcpState);
            }
            if receiver.is(SEEN) && !new {
                judge(sender, receiver, tcp, payload_len, picked_up, limits)?;
            }
        }
        sender.follow(tcp, payload_len);
        receiver.follow_acknowledgement(tcp, sender.window_of(tcp));
        self.picked_up |= unanswered;
        Ok(())
    }
}

/// The four rules above, and that nothing follows a FIN.
#[inline]
fn judge(
    sender: &Side,
    receiver: &Side,
    tcp: &TcpFields,
    payload_len: u32,
    picked_up: bool,
    limits: &TcpLimits,
) -> Result<(), Reason> {
    let end = side::end_of(tcp, payload_len);
    if !sender.may_send(tcp.sequence, payload_len, end, receiver)
        || !receiver.may_be_acknowledged(tcp.acknowledgement, sender, picked_up, limits)
    {
        return Err(Reason::TcpWindow);
    }
    let beyond_finish = sender.is(FINISHED) && side::after(end, sender.end);
    let finish_before_end = tcp.flags & FIN != 0 && side::after(sender.end, end);
    if beyond_finish || finish_before_end {
        return Err(Reason::TcpState);
    }
    Ok(())
}
