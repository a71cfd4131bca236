//! defragment: fragments wait until their datagram is whole, are judged as one, and leave as they came.
//!
//! Trusts: decode's offsets. Distrusts: fragment offsets, lengths and order. Gives: the reasons
//! `fragment_*`. Memory: the defragmenter's limits; frames that wait count as held.

use weir_flow::FragmentOutcome;
use weir_wire::{Packet, Reason};

use crate::io::{Frame, FrameSource, Outbox, PortIndex, Role};
use crate::path::{Arrived, Fate, Path, Slot};

impl<S: FrameSource> Path<S> {
    /// Takes the fragments out of the burst; those of a datagram that became whole come back with
    /// the datagram's fate.
    #[inline(never)]
    pub(crate) fn defragment(&mut self, slots: &mut [Slot<S::Frame>], now_us: u64) {
        for slot in slots {
            let (Fate::Continue, Some(packet), Some(arrived)) =
                (slot.fate, &slot.packet, &slot.arrived)
            else {
                continue;
            };
            if packet.fragment.is_none() {
                continue;
            }
            if let Some(owner) = self.ownership.other(arrived, packet) {
                self.hand_over_slot(slot, owner);
                continue;
            }
            slot.fate = Fate::Held;
            if let Some(arrived) = slot.arrived.take() {
                self.take_fragment(arrived, packet, now_us);
            }
        }
        self.give_evicted_up(now_us);
    }

    fn take_fragment(&mut self, arrived: Arrived<S::Frame>, packet: &Packet, now_us: u64) {
        let zone = self.zone(arrived.port, packet);
        let enforceable = matches!(self.roles[usize::from(arrived.port)], Role::Inline { .. });
        // The defragmenter keeps the frame and reads it at the same time.
        let mut bytes = std::mem::take(&mut self.datagram);
        bytes.clear();
        bytes.extend_from_slice(arrived.frame.bytes());
        let outcome = self
            .defragmenter
            .fragment(arrived, &bytes, packet, zone, now_us);
        self.datagram = bytes;
        match outcome {
            FragmentOutcome::Held => {}
            FragmentOutcome::Complete => self.judge_datagram(packet, zone, enforceable, now_us),
            FragmentOutcome::GiveUp(reason) | FragmentOutcome::Drop(reason) => {
                let fate = self.object_between(reason, packet, zone, now_us);
                self.release_fragments(fate);
            }
        }
    }

    /// Takes the whole datagram along the rest of the way, here or at the worker that owns its flow.
    fn judge_datagram(&mut self, fragment: &Packet, zone: u32, enforceable: bool, now_us: u64) {
        let options = self.decode_options();
        let mut datagram = std::mem::take(&mut self.datagram);
        datagram.clear();
        datagram.extend_from_slice(self.defragmenter.datagram());
        let decoded =
            weir_wire::decode_datagram(&datagram, fragment.segment, fragment.tunnels, &options);
        match decoded.map(|packet| (packet, self.ownership.owner(&packet))) {
            Ok((packet, None)) => {
                if self.rules.foreign_tunnels {
                    self.open_foreign_datagram(&datagram, fragment, &packet);
                }
                let fate = self.follow_datagram(&datagram, &packet, zone, enforceable, now_us);
                self.release_fragments(fate);
            }
            Ok((_, Some(owner))) => self.hand_over_fragments(owner),
            Err(reason) => {
                let fate = self.object_between(reason, fragment, zone, now_us);
                self.release_fragments(fate);
            }
        }
        self.datagram = datagram;
    }

    /// The fragments of a whole datagram go to the worker that owns its flow, which puts them
    /// together again.
    fn hand_over_fragments(&mut self, owner: usize) {
        let first = self.late.len();
        self.release_fragments(Fate::Continue);
        for _ in first..self.late.len() {
            let (arrived, _) = self.late.remove(first);
            let refused = self.hand_over(owner, arrived).err();
            self.late.extend(refused);
        }
    }

    /// The fragments of the datagram just judged leave with its fate.
    fn release_fragments(&mut self, fate: Fate) {
        let late = &mut self.late;
        self.defragmenter
            .take_fragments(|arrived| late.push((arrived, fate)));
    }

    /// Gives up the datagrams whose fragments did not arrive in time.
    pub(crate) fn expire_fragments(&mut self, now_us: u64, out: &mut Outbox<S::Frame>) {
        self.give_evicted_up(now_us);
        let before = self.late.len();
        let late = &mut self.late;
        self.defragmenter
            .expire(now_us, |arrived| late.push((arrived, Fate::Forward)));
        self.object_to_late(before, Reason::FragmentTimeout, now_us);
        self.dispose_late(out);
    }

    /// Gives up the datagrams that had to make room for others.
    fn give_evicted_up(&mut self, now_us: u64) {
        let before = self.late.len();
        let late = &mut self.late;
        self.defragmenter
            .take_evicted(|arrived| late.push((arrived, Fate::Forward)));
        self.object_to_late(before, Reason::FragmentLimit, now_us);
    }

    /// Fragments that cannot be judged as a datagram: the mode between their addresses says what
    /// becomes of them.
    fn object_to_late(&mut self, first: usize, reason: Reason, now_us: u64) {
        let options = self.decode_options();
        for index in first..self.late.len() {
            let arrived = &self.late[index].0;
            self.late[index].1 = match weir_wire::decode(arrived.frame.bytes(), &options) {
                Ok(packet) => {
                    let zone = self.zone(arrived.port, &packet);
                    self.object_between(reason, &packet, zone, now_us)
                }
                Err(_) => self.refuse_malformed(reason),
            };
        }
    }

    /// Gives every waiting fragment up: the node stops.
    pub(crate) fn drop_fragments(&mut self, out: &mut Outbox<S::Frame>) {
        let late = &mut self.late;
        self.defragmenter
            .drain_all(|arrived| late.push((arrived, Fate::Drop(Reason::Shutdown))));
        self.dispose_late(out);
    }

    /// Frames whose fate was found outside their slot leave, in the order they came.
    pub(crate) fn dispose_late(&mut self, out: &mut Outbox<S::Frame>) {
        let mut late = std::mem::take(&mut self.late);
        if self.recorder.is_some() {
            self.record_late(&late);
        }
        for (arrived, fate) in late.drain(..) {
            self.dispose(arrived, fate, out);
        }
        self.late = late;
    }

    /// The number that keeps equal addresses of different networks apart: port pair and virtual network.
    pub(crate) fn zone(&self, port: PortIndex, packet: &Packet) -> u32 {
        let (Role::Inline { pair, .. } | Role::Tap { pair }) = self.roles[usize::from(port)];
        crate::zone::zone(pair, packet.segment)
    }
}
