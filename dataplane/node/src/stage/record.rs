//! record: packets that somebody wants to see are copied as they leave.
//!
//! Trusts: the fates that the stages before gave. Distrusts: nothing; it changes nothing. Memory: none of
//! its own, see [`crate::capture`]. Looks at every frame that decode could read, those that Weir makes
//! among them; a frame that is held is copied when it leaves.

use weir_flow::FlowKey;
use weir_wire::Packet;

use crate::capture::{Outcome, Recorder};
use crate::io::{Frame, FrameSource, PortIndex, Role};
use crate::path::{Arrived, Fate, Path, Slot};

impl<S: FrameSource> Path<S> {
    /// Copies packets with this from now on. Call it between bursts. Returns what was used before.
    pub fn record(&mut self, recorder: Option<Recorder>) -> Option<Recorder> {
        std::mem::replace(&mut self.recorder, recorder)
    }

    /// What leaves with this burst. Out of line, so that the way without captures stays short.
    #[cold]
    #[inline(never)]
    pub(crate) fn record_burst(&mut self, slots: &[Slot<S::Frame>], now_us: u64) {
        let Some(recorder) = self.recorder.take() else {
            return;
        };
        for slot in slots {
            if let (Some(arrived), Some(packet)) = (&slot.arrived, &slot.packet) {
                self.record_frame(&recorder, arrived, packet, slot.fate);
            }
        }
        for (port, frame) in &self.resets {
            self.record_made(&recorder, *port, frame.bytes(), now_us);
        }
        self.recorder = Some(recorder);
    }

    /// Frames that leave outside of their slot.
    #[cold]
    #[inline(never)]
    pub(crate) fn record_late(&mut self, late: &[(Arrived<S::Frame>, Fate)]) {
        let Some(recorder) = self.recorder.take() else {
            return;
        };
        let options = self.decode_options();
        for (arrived, fate) in late {
            if let Ok(packet) = weir_wire::decode(arrived.frame.bytes(), &options) {
                self.record_frame(&recorder, arrived, &packet, *fate);
            }
        }
        self.recorder = Some(recorder);
    }

    fn record_frame(
        &self,
        recorder: &Recorder,
        arrived: &Arrived<S::Frame>,
        packet: &Packet,
        fate: Fate,
    ) {
        let zone = self.zone(arrived.port, packet);
        let captures = recorder.matching(packet, zone);
        if captures == 0 {
            return;
        }
        let outcome = match (fate, self.roles[usize::from(arrived.port)]) {
            (_, Role::Tap { .. }) => Outcome::Seen,
            (Fate::Drop(reason), Role::Inline { .. }) => Outcome::Dropped(reason),
            (_, Role::Inline { .. }) => Outcome::Forwarded,
        };
        let place = (
            arrived.port,
            arrived.received_us,
            self.flow_number(packet, zone),
        );
        recorder.copy(captures, arrived.frame.bytes(), place, outcome);
    }

    fn record_made(&self, recorder: &Recorder, port: PortIndex, frame: &[u8], now_us: u64) {
        let Ok(packet) = weir_wire::decode(frame, &self.decode_options()) else {
            return;
        };
        let zone = self.zone(port, &packet);
        let captures = recorder.matching(&packet, zone);
        if captures != 0 {
            let place = (port, now_us, self.flow_number(&packet, zone));
            recorder.copy(captures, frame, place, Outcome::Made);
        }
    }

    /// The number of the packet's flow, if it has one now.
    fn flow_number(&self, packet: &Packet, zone: u32) -> u64 {
        let key = FlowKey::of(packet, zone).key;
        let hash = self.flows.table.hash(&key);
        let found = self.flows.table.find(&key, hash);
        found.map_or(0, |id| self.flows.table.cold(id).number)
    }
}
