//! Memory to look into flows with, for as many as are looked into at a time.
//!
//! A settled flow has none: that is what lets a table hold ten million of them. Memory: allocated at the
//! start, a [`Reading`] for each; where all are taken a flow is judged as speaking an unknown application, as
//! where no session can be had.

use weir_flow::StreamState;
use weir_l7::{AppId, SessionId};
use weir_policy::Decision;
use weir_sigs::ScanFlow;
use weir_sigs::sensor::SensorFlow;
use weir_threat::Watch;

use crate::announced::Part;
use crate::connection::Connection;
use crate::session::Told;

/// What is needed while a flow is looked into, and what few flows need at all. Comes from a pool and goes back
/// when the flow is settled or over.
#[derive(Default)]
pub struct Reading {
    /// Reassembly, by direction.
    pub streams: [StreamState; 2],
    /// Whether `streams` were opened, by direction.
    pub streams_open: [bool; 2],
    /// Identification and parsing.
    pub session: Option<SessionId>,
    /// Where the bytes of the streams begin.
    pub stream_begins: [u32; 2],
    /// What its application said, as far as rules ask for it.
    pub told_by_application: Told,
    /// Signature scanning.
    pub scan: Option<ScanFlow>,
    /// Bytes scanned, by direction; [`SCANNED`] where signatures want nothing of it.
    pub scanned: [u64; 2],
    /// Bytes to be scanned before it is of use to ask what signatures want, by direction.
    pub ask_signatures_at: [u64; 2],
    /// As what, and whether the parser was done with both directions, signatures were asked.
    pub asked_as: (Option<AppId>, bool),
    /// The connection that announced this one, which it is a part of.
    pub part_of: Option<Part>,
    /// The decision that was last told as a denial.
    pub told: Option<Decision>,
    /// The id of the rule that allowed the last request; None before the first, and after bytes that
    /// were not seen.
    pub granted_by: Option<u32>,
    /// What threat detectors remember of it.
    pub watch: weir_threat::Watch,
    /// Content of it may be being decoded.
    pub decoding: bool,
    /// The flow as its sensors know it; None where none looks into it.
    pub sensed: Option<SensorFlow>,
    /// Under which policy that was decided.
    pub sensed_epoch: Option<u32>,
    /// Bytes of the stream that sensors looked at, by direction.
    pub sensed_bytes: [u64; 2],
}

/// More bytes than any depth.
pub(crate) const SCANNED: u64 = u64::MAX >> 1;

impl Reading {
    /// Whether it holds nothing that has to be given back or is still to be asked for.
    pub(crate) fn is_over(&self) -> bool {
        self.streams.iter().all(StreamState::is_empty)
            && self.session.is_none()
            && self.scan.is_none()
            && self.sensed.is_none()
            && !self.decoding
            && self.part_of.is_none()
            && self.granted_by.is_none()
    }
}

/// What is not in use.
#[expect(
    clippy::vec_box,
    reason = "a flow keeps the box: handing one over moves a pointer"
)]
pub struct Readings(Vec<Box<Reading>>);

impl Readings {
    /// For so many flows at a time.
    pub fn new(flows: usize) -> Self {
        Self((0..flows).map(|_| Box::default()).collect())
    }

    /// How many more can be had.
    pub fn free(&self) -> usize {
        self.0.len()
    }

    /// The flow's, which is taken where it has none. None: all are in use.
    pub fn begin<'a>(&mut self, cold: &'a mut Connection) -> Option<&'a mut Reading> {
        if cold.reading.is_none() {
            cold.go_on_with(self.0.pop()?);
        }
        cold.reading.as_deref_mut()
    }

    /// Takes it back from a flow that is settled or denied, unless something of it is still needed.
    pub fn end(&mut self, cold: &mut Connection, depth_bytes: u64) {
        if let Some(reading) = cold.take_over(depth_bytes) {
            self.take_back(reading);
        }
    }

    /// Takes it back from a flow that is over, whatever it holds: [`crate::inspection::close`] comes first.
    pub fn forget(&mut self, cold: &mut Connection) {
        if let Some(reading) = cold.take_at_end() {
            self.take_back(reading);
        }
    }

    /// Lets the flow remember this of what threat detectors saw. Where all are in use only the little is
    /// remembered that every flow has room for.
    pub fn remember(&mut self, cold: &mut Connection, watch: Watch) {
        match watch.quiet() {
            Some(quiet) if cold.reading.is_none() => cold.watch = quiet,
            _ => {
                if let Some(reading) = self.begin(cold) {
                    reading.watch = watch;
                }
            }
        }
    }

    /// Lets the flow remember that this was told as a denial. What is not the decision in force needs memory;
    /// where all is in use it will be told again.
    pub fn note_told(&mut self, cold: &mut Connection, decision: Decision) {
        if cold.decision != Some(decision) {
            self.begin(cold);
        }
        cold.set_told(Some(decision));
    }

    fn take_back(&mut self, mut reading: Box<Reading>) {
        *reading = Reading::default();
        self.0.push(reading);
    }
}
