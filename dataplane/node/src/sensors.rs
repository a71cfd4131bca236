//! The sensors of a policy, compiled off the workers and shared by them.

use std::sync::Arc;

use weir_policy::Snapshot;
use weir_sigs::sensor::{SensorRefusal, SensorScanner, SensorScannerError, SensorSet};

use crate::limits::random_secret;

/// The sensors of this policy; None where it has none. Those in force are kept where they are the
/// same, with all that the workers counted for them.
pub fn compile(
    snapshot: &Snapshot,
    in_force: Option<Arc<SensorSet>>,
) -> Result<Option<Arc<SensorSet>>, String> {
    let sensors = &snapshot.spec().sensors;
    if sensors.is_empty() {
        return Ok(None);
    }
    if let Some(same) = in_force.filter(|set| set.sensors() == sensors) {
        return Ok(Some(same));
    }
    match SensorSet::compile(sensors) {
        Ok(set) => Ok(Some(Arc::new(set))),
        Err(refused) => {
            let told: Vec<String> = refused.iter().map(SensorRefusal::to_string).collect();
            Err(told.join("; "))
        }
    }
}

/// All memory for looking for these sensors in so many flows at a time, for one worker; made off it.
pub fn prepare(
    sensors: Option<&Arc<SensorSet>>,
    sessions: usize,
) -> Result<Option<SensorScanner>, SensorScannerError> {
    let [seed, _] = random_secret();
    // The worker numbers it when it takes it.
    let scanner = |set| SensorScanner::new(Arc::clone(set), sessions, seed, 0);
    sensors.map(scanner).transpose()
}
