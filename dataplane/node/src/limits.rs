//! What a worker may use, and how strictly it looks: everything that bounds memory in one place.

use std::sync::Arc;

use weir_flow::{FragmentLimits, ReassemblyLimits, TcpLimits, Timeouts};

/// Memory of one worker, allocated at start.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Flows in the table.
    pub flows: usize,
    /// Flows whose content is being read at a time.
    pub sessions: usize,
    /// Packets held for addresses that are not yet known.
    pub held_packets: usize,
    /// Addresses learned from DNS answers.
    pub learned_names: usize,
    /// Alerts and findings told in a second.
    pub alarms_per_second: u64,
    /// Defragmentation.
    pub fragments: FragmentLimits,
    /// Reassembly.
    pub reassembly: ReassemblyLimits,
    /// Keys the hashes; secret, or a sender could aim at one bucket.
    pub secret: [u64; 2],
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            flows: 1 << 18,
            sessions: 1 << 14,
            held_packets: 1024,
            learned_names: 4096,
            alarms_per_second: 1000,
            fragments: FragmentLimits::default(),
            reassembly: ReassemblyLimits::default(),
            secret: random_secret(),
        }
    }
}

/// How the stages look at packets.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Tunnels opened to reach the packet that policy judges.
    pub tunnels_max: u8,
    /// Look into tunnels that no container network uses. Off where packets are judged: whoever may send to
    /// such a port could claim any inner address. On for captures: what is found is told besides the
    /// outer flow.
    pub foreign_tunnels: bool,
    /// Verify IPv4 header, TCP, UDP and ICMP checksums: an endpoint does not read a packet whose
    /// checksum is wrong, so its bytes must not be taken for content. Off for captures, which
    /// often show packets before the NIC filled the checksum in.
    pub verify_checksums: bool,
    /// Pairs, one bit each by number, that only learn until the first policy was received, although they
    /// fail closed.
    pub learn_first: u64,
    /// What cannot be looked into passes and is counted, where otherwise it is dropped in protect.
    pub lenient: bool,
    /// Bytes per direction that signatures look at.
    pub scan_depth_bytes: u64,
    /// When the workers' clock began, in microseconds since 1970; 0 for captures, which have the time of day.
    pub zero_unix_us: u64,
    /// Tell every request, not only those that policy denies.
    pub tell_requests: bool,
    /// Tell every DNS answer with addresses: the controller learns from them who was looked up.
    pub tell_answers: bool,
    /// Which threats are looked for, and what they do.
    pub threats: Arc<weir_threat::Config>,
    /// TCP.
    pub tcp: TcpLimits,
    /// How long a silent flow is kept.
    pub timeouts: Timeouts,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            tunnels_max: 2,
            foreign_tunnels: false,
            verify_checksums: true,
            learn_first: 0,
            lenient: false,
            scan_depth_bytes: 1 << 20,
            zero_unix_us: 0,
            tell_requests: false,
            tell_answers: false,
            threats: Arc::default(),
            tcp: TcpLimits::default(),
            timeouts: Timeouts::default(),
        }
    }
}

/// A secret that a sender cannot guess. The standard library seeds its hash maps from the
/// operating system's random source.
pub fn random_secret() -> [u64; 2] {
    use std::hash::{BuildHasher, RandomState};
    [
        RandomState::new().hash_one(0_u8),
        RandomState::new().hash_one(1_u8),
    ]
}
