//! Memory to look into flows with, for as many as are looked into at a time.
//!
//! A settled flow has none: that is what lets a table hold ten million of them. Memory: allocated at the
//! start, a [`Reading`] for each; where all are taken a flow is judged as speaking an unknown application, as
//! where no session can be had.

use weir_policy::Decision;
use weir_threat::Watch;

use crate::connection::{Connection, Reading};

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
