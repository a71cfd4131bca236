//! decode: what the frame is.
//!
//! Trusts: the device gave whole frames. Distrusts: every byte. Gives: the reasons of
//! [`weir_wire::decode`], `link_denied`, `no_policy`. Memory: none.

use weir_policy::{WireAction, spec::Mode};
use weir_wire::{DecodeOptions, Kind, Reason};

use crate::io::{Frame, FrameSource, Role};
use crate::path::{Arrived, Fate, Path, Slot};

impl<S: FrameSource> Path<S> {
    /// Decodes the burst. Frames that are not IP find their fate here.
    #[inline(never)]
    pub(crate) fn decode(&mut self, slots: &mut [Slot<S::Frame>], now_us: u64) {
        let options = self.decode_options();
        for slot in slots {
            let (Fate::Continue, Some(arrived)) = (slot.fate, &slot.arrived) else {
                continue;
            };
            if !self.may_pass_without_policy(arrived) {
                slot.fate = Fate::Drop(Reason::NoPolicy);
                continue;
            }
            match weir_wire::decode(arrived.frame.bytes(), &options) {
                Ok(packet) => {
                    if self.rules.foreign_tunnels {
                        self.open_foreign(arrived.frame.bytes(), &packet);
                    }
                    slot.fate = match packet.kind {
                        Kind::Ip => Fate::Continue,
                        // Without ARP and neighbour discovery no address can be reached.
                        Kind::Neighbour => {
                            if let Some(listener) = &mut self.inspection.listener {
                                let bytes = arrived.frame.bytes().len();
                                listener.apart(&packet, bytes, arrived.received_us);
                            }
                            Fate::Forward
                        }
                        Kind::Other => self.judge_link(packet.ether_type),
                    };
                    slot.packet = Some(packet);
                }
                Err(reason) => {
                    self.detect_malformed(reason, arrived.port, arrived.frame.bytes(), now_us);
                    slot.fate = self.refuse_malformed(reason);
                }
            }
        }
    }

    /// How frames are decoded, by the rules in force.
    pub(crate) fn decode_options(&self) -> DecodeOptions {
        DecodeOptions {
            tunnels_max: self.rules.tunnels_max,
            verify_ipv4_checksum: self.rules.verify_checksums,
            foreign_tunnels: false,
        }
    }

    /// Before the first policy only pairs that fail open, or are to learn first, let anything pass.
    fn may_pass_without_policy(&self, arrived: &Arrived<S::Frame>) -> bool {
        if self.policy.is_received() {
            return true;
        }
        match self.roles[usize::from(arrived.port)] {
            Role::Inline {
                fail_open, pair, ..
            } => fail_open || self.rules.learn_first & (1 << pair) != 0,
            Role::Tap { .. } => true,
        }
    }

    /// A frame that is not IP has no identities: the link policy judges it by its EtherType.
    fn judge_link(&mut self, ether_type: u16) -> Fate {
        let decision = self.policy.snapshot().link_decision(ether_type);
        match decision.reason {
            Some(reason) if decision.wire_action != WireAction::Forward => Fate::Drop(reason),
            Some(reason) => self.spare(reason),
            None => Fate::Forward,
        }
    }

    /// A malformed frame cannot be tied to a workload: the strictest mode on the node, which is the
    /// link policy's, says whether it is dropped.
    pub(crate) fn refuse_malformed(&mut self, reason: Reason) -> Fate {
        match self.policy.snapshot().spec().link.mode {
            Mode::Protect => Fate::Drop(reason),
            Mode::Discover | Mode::Monitor => self.spare(reason),
        }
    }

    /// A stage objects, but the mode does not block: the frame goes on and the objection is counted.
    pub(crate) fn spare(&mut self, reason: Reason) -> Fate {
        self.counts.spared[reason as usize] += 1;
        Fate::Forward
    }
}
