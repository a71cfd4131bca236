//! reassemble: segments become stretches of bytes in order, and each is read as soon as it is whole.
//!
//! Trusts: track found the right flow. Distrusts: sequence numbers. Gives: `stream_mismatch`, `stream_limit`,
//! `urgent_data`. Memory: the reassembler's pool.

use weir_flow::{FlowId, SegmentOutcome, payload_sequence};
use weir_l7::{AppId, Transport};
use weir_wire::{Direction, Packet, Reason, tcp_flags};

use crate::connection::Mark;
use crate::counters::Stage;
use crate::io::FrameSource;
use crate::path::{Fate, Path};

impl<S: FrameSource> Path<S> {
    /// Takes a segment, and reads what is in order with it.
    pub(super) fn reassemble(
        &mut self,
        id: FlowId,
        direction: Direction,
        packet: &Packet,
        payload: &[u8],
        now_us: u64,
    ) -> Fate {
        let cold = self.flows.table.cold_mut(id);
        let other = direction.reverse();
        if let Some(reading) = &mut cold.reading
            && packet.tcp.flags & tcp_flags::ACK != 0
            && reading.streams_open[other as usize]
        {
            self.reassembler.acknowledged(
                &mut reading.streams[other as usize],
                packet.tcp.acknowledgement,
            );
        }
        // What the receiver acknowledged and we did not see will never come by here.
        while self.flows.table.cold(id).is_behind(other) {
            self.jump_gap(id, other, now_us);
        }
        let sequence = payload_sequence(&packet.tcp);
        let cold = self.flows.table.cold_mut(id);
        if packet.tcp.flags & tcp_flags::URG != 0
            && !payload.is_empty()
            && !cold.application().is_some_and(has_urgent_data)
        {
            self.detect_objection_in(id, Reason::UrgentData, packet, now_us);
            if let fate @ Fate::Drop(_) = self.object_unreadable(id, Reason::UrgentData) {
                return fate;
            }
        }
        let cold = self.flows.table.cold_mut(id);
        if cold.reading.is_none() && (payload.is_empty() || cold.is(Mark::SessionOver)) {
            // Nothing to read yet, or not any more.
            return self.without_reading(id, payload, now_us);
        }
        // Segments without content go by before there is memory to note where they stood.
        let begins = match cold.is(Mark::FromStart) {
            true => cold.tcp.first_sequence(direction),
            false => sequence,
        };
        let Some(reading) = self.inspection.readings.begin(cold) else {
            return self.without_reading(id, payload, now_us);
        };
        let stream = &mut reading.streams[direction as usize];
        if !std::mem::replace(&mut reading.streams_open[direction as usize], true) {
            self.reassembler.open(stream, begins);
            reading.stream_begins[direction as usize] = begins;
        }
        if packet.tcp.flags & tcp_flags::FIN != 0 {
            self.reassembler
                .finish(stream, sequence.wrapping_add(payload.len() as u32));
        }
        if payload.is_empty() {
            return self.fate_of(id);
        }
        let outcome = self.reassembler.segment(stream, sequence, payload);
        self.stages.lap(Stage::Reassemble, 1);
        match outcome {
            SegmentOutcome::InOrder { fresh } => {
                let fate = self.read(id, direction, Transport::Tcp, &payload[fresh], now_us);
                match fate {
                    Fate::Forward if self.flows.table.cold(id).has_gap(direction) => {
                        self.read_buffered(id, direction, now_us)
                    }
                    fate => fate,
                }
            }
            SegmentOutcome::Buffered | SegmentOutcome::Repeated | SegmentOutcome::Untracked => {
                self.fate_of(id)
            }
            SegmentOutcome::Drop(reason) => {
                self.detect_objection_in(id, reason, packet, now_us);
                self.object(id, reason)
            }
        }
    }

    /// A segment of a flow that has no memory to be read with.
    fn without_reading(&mut self, id: FlowId, payload: &[u8], now_us: u64) -> Fate {
        let cold = self.flows.table.cold_mut(id);
        if !payload.is_empty() && !cold.is(Mark::Over) {
            cold.set(Mark::SessionOver, true);
            let application = cold.application().unwrap_or(AppId::UNKNOWN);
            self.name_application(id, application, now_us);
        }
        self.fate_of(id)
    }

    /// Reads the stretches that were kept and are in order now.
    fn read_buffered(&mut self, id: FlowId, direction: Direction, now_us: u64) -> Fate {
        let mut stretch = std::mem::take(&mut self.stretch);
        let mut fate = self.fate_of(id);
        while fate == Fate::Forward {
            let Some(reading) = &mut self.flows.table.cold_mut(id).reading else {
                break;
            };
            let stream = &mut reading.streams[direction as usize];
            let Some(bytes) = self.reassembler.next_buffered(stream) else {
                break;
            };
            stretch.clear();
            stretch.extend_from_slice(bytes);
            fate = self.read(id, direction, Transport::Tcp, &stretch, now_us);
        }
        self.stretch = stretch;
        fate
    }

    /// Moves a stream over bytes that passed before it was picked up, or that a capture lost.
    fn jump_gap(&mut self, id: FlowId, direction: Direction, now_us: u64) {
        let Some(reading) = &mut self.flows.table.cold_mut(id).reading else {
            return;
        };
        let stream = &mut reading.streams[direction as usize];
        let lost = self.reassembler.jump_gap(stream);
        if let (Some(scan), Some(scanner)) = (reading.scan, &mut self.inspection.scanner) {
            scanner.gap(scan, direction, lost);
        }
        reading.granted_by = None;
        if let Some(session) = reading.session {
            self.inspection.l7.gap(session, direction, lost);
            self.heed(id, session);
            self.note_identification(id, true, None, now_us);
            self.judge_unreadable(id, now_us);
        }
        self.read_buffered(id, direction, now_us);
    }
}

/// Whether the application itself marks bytes as urgent: Telnet's Synch (RFC 854), which FTP shares
/// (RFC 959, 4.1.3). A server of any other may or may not see such a byte in its stream (RFC 6093).
fn has_urgent_data(application: AppId) -> bool {
    matches!(application.name(), "telnet" | "ftp")
}
