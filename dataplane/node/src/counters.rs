//! Counters per stage: packets and cycles, kept by the worker, read by copying.

/// The stages, in the order of the packet's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Stage {
    /// rx
    Receive,
    /// decode
    Decode,
    /// defragment
    Defragment,
    /// track
    Track,
    /// reassemble
    Reassemble,
    /// identify
    Identify,
    /// parse
    Parse,
    /// scan
    Scan,
    /// decide
    Decide,
    /// tx
    Transmit,
}

/// How many stages there are.
pub const STAGES: usize = 10;

/// The names of the stages, everywhere.
pub const STAGE_NAMES: [&str; STAGES] = [
    "rx",
    "decode",
    "defragment",
    "track",
    "reassemble",
    "identify",
    "parse",
    "scan",
    "decide",
    "tx",
];

/// Packets and cycles per stage since the start.
#[derive(Clone, Debug, Default)]
pub struct Stages {
    /// Packets (for stages behind track: stretches of content) that passed.
    pub packets: [u64; STAGES],
    /// Time stamp counter cycles spent.
    pub cycles: [u64; STAGES],
    last: u64,
}

impl Stages {
    /// Begins a burst.
    pub fn start(&mut self) {
        self.last = weir_dpdk::cycles();
    }

    /// Books a burst that took the short way as a whole; its cycles since the last call go to tx.
    pub fn all_short(&mut self, packets: usize) {
        for stage in [Stage::Receive, Stage::Decode, Stage::Track] {
            self.packets[stage as usize] += packets as u64;
        }
        self.lap(Stage::Transmit, packets);
    }

    /// Books the cycles since the last call on this stage.
    pub fn lap(&mut self, stage: Stage, packets: usize) {
        let now = weir_dpdk::cycles();
        self.packets[stage as usize] += packets as u64;
        self.cycles[stage as usize] += now.wrapping_sub(self.last);
        self.last = now;
    }
}
