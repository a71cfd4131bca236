//! Which thread runs where: a worker alone on its core, everything else of this process beside them.
//!
//! A thread inherits the cores of the one that starts it, so that this is settled once, before DPDK or anybody else starts
//! threads. Measured on a core that both shared: looking after one worker took 13 % of its time from it.

use anyhow::{Result, bail};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tracing::warn;

/// Every worker core must be one that this process may use.
pub(crate) fn check(workers: &[usize]) -> Result<()> {
    let usable = sched_getaffinity(None)?;
    for &core in workers {
        if core >= CpuSet::MAX_CPU || !usable.is_set(core) {
            bail!(
                "core {core} cannot be used by this process; choose workers.cores among those that `taskset -p $$` shows"
            );
        }
    }
    Ok(())
}

/// Keeps this thread, and those that it starts from now on, off the workers' cores, unless there are no others.
pub(crate) fn leave_to_workers(workers: &[usize]) {
    let kept = sched_getaffinity(None).and_then(|usable| match without(&usable, workers) {
        Some(others) => sched_setaffinity(None, &others),
        None => Ok(()),
    });
    if let Err(why) = kept {
        warn!(%why, "other threads of this process may run on the workers' cores");
    }
}

/// Gives the workers' cores to this thread as well, and so to a process that it starts: that one has workers of its own.
pub(crate) fn share_with_workers(workers: &[usize]) {
    let shared = sched_getaffinity(None).and_then(|mut usable| {
        let cores = workers.iter().filter(|&&core| core < CpuSet::MAX_CPU);
        cores.for_each(|&core| usable.set(core));
        sched_setaffinity(None, &usable)
    });
    if let Err(why) = shared {
        warn!(%why, "what this thread starts may not run on the workers' cores");
    }
}

/// The cores that are left; None: none is.
fn without(usable: &CpuSet, workers: &[usize]) -> Option<CpuSet> {
    let mut others = *usable;
    for &core in workers.iter().filter(|&&core| core < CpuSet::MAX_CPU) {
        others.unset(core);
    }
    (others.count() > 0).then_some(others)
}

/// Runs this thread on one core; false: it cannot.
pub(crate) fn stay_on(core: usize) -> bool {
    core_affinity::set_for_current(core_affinity::CoreId { id: core })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(cores: &[usize]) -> CpuSet {
        let mut set = CpuSet::new();
        cores.iter().for_each(|&core| set.set(core));
        set
    }

    #[test]
    fn workers_have_their_cores_for_themselves_where_others_are_left() {
        assert!(without(&set(&[0, 1, 5]), &[1, 5]) == Some(set(&[0])));
        assert!(without(&set(&[0, 1]), &[0, 1]).is_none());
        assert!(without(&set(&[2]), &[7, CpuSet::MAX_CPU]) == Some(set(&[2])));
    }

    #[test]
    fn a_core_that_is_not_there_is_refused() {
        let error = check(&[CpuSet::MAX_CPU]).unwrap_err().to_string();
        assert!(error.contains("taskset"), "{error}");
    }

    #[test]
    fn threads_inherit_what_is_left() {
        let usable = sched_getaffinity(None).unwrap();
        let cores: Vec<_> = (0..CpuSet::MAX_CPU)
            .filter(|&core| usable.is_set(core))
            .collect();
        let cores_of = || {
            std::thread::spawn(|| sched_getaffinity(None).unwrap())
                .join()
                .unwrap()
        };
        std::thread::spawn(move || {
            let (&worker, others) = cores.split_last().unwrap();
            leave_to_workers(&[worker]);
            let left = if others.is_empty() {
                vec![worker]
            } else {
                others.to_vec()
            };
            assert!(cores_of() == set(&left));
            share_with_workers(&[worker]);
            assert!(cores_of() == usable);
            assert!(stay_on(worker) && cores_of() == set(&[worker]));
        })
        .join()
        .unwrap();
    }
}
