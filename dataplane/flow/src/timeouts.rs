//! How long a flow may be quiet.

use weir_wire::protocol::{ICMP, ICMPV6, TCP, UDP};

use crate::table::Life;

const SECOND_US: u64 = 1_000_000;

/// How long a flow is kept without a packet, by protocol and life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP, handshake not finished. 20 s.
    pub tcp_opening_us: u64,
    /// TCP, both ends taking part. 1,200 s.
    pub tcp_established_us: u64,
    /// TCP, one end has finished. 90 s.
    pub tcp_half_closed_us: u64,
    /// TCP, both ends have finished or it was reset. 15 s.
    pub tcp_closing_us: u64,
    /// UDP with no answer yet. 30 s.
    pub udp_us: u64,
    /// UDP with traffic both ways. 120 s.
    pub udp_stream_us: u64,
    /// ICMP and ICMPv6. 5 s.
    pub icmp_us: u64,
    /// Every other protocol. 30 s.
    pub other_us: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            tcp_opening_us: 20 * SECOND_US,
            tcp_established_us: 1_200 * SECOND_US,
            tcp_half_closed_us: 90 * SECOND_US,
            tcp_closing_us: 15 * SECOND_US,
            udp_us: 30 * SECOND_US,
            udp_stream_us: 120 * SECOND_US,
            icmp_us: 5 * SECOND_US,
            other_us: 30 * SECOND_US,
        }
    }
}

impl Timeouts {
    /// How long a flow of that protocol (IANA number) may be quiet at that point of its life.
    pub fn for_flow(&self, protocol: u8, life: Life) -> u64 {
        match (protocol, life) {
            (TCP, Life::Opening) => self.tcp_opening_us,
            (TCP, Life::Established) => self.tcp_established_us,
            (TCP, Life::Closing) => self.tcp_half_closed_us,
            (TCP, Life::Closed) => self.tcp_closing_us,
            (UDP, Life::Opening) => self.udp_us,
            (UDP, _) => self.udp_stream_us,
            (ICMP | ICMPV6, _) => self.icmp_us,
            _ => self.other_us,
        }
    }
}
