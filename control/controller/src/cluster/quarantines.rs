//! Who is cut off, shared by all controllers of a cluster: a lease for each, so that it holds on every node,
//! whichever controller serves it, and is lifted everywhere by one command.
//!
//! A lease that appears cuts off, one that goes lets in. What is cut off here and has no lease gets one;
//! what has one and was let in here (by command, or since its time is over) loses it. All of that may
//! happen twice, or at two controllers at once, and comes to the same: of two reasons the longer counts.
//! A controller that was away takes what it remembered and finds no lease for as lifted meanwhile. Where
//! leases cannot be read, each controller cuts off what it knows of.
//!
//! Memory: a copy of each quarantine, which are bounded ([`weir_respond`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tracing::{info, warn};
use weir_kubernetes::{LeaseTold, NodeLeases, QuarantineReport, Report};
use weir_respond::Quarantine;

use crate::state::State;

/// How often is looked for what is to be told; also how late others may hear of it.
const LOOK: Duration = Duration::from_millis(50);
/// How soon the same is written again that is not heard of.
const AGAIN: Duration = Duration::from_secs(5);
/// What of it is a problem.
const PART: &str = "the leases of quarantines";

/// What the leases say.
#[derive(Debug, Default)]
pub struct Quarantines {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By lease.
    heard: BTreeMap<String, Quarantine>,
    /// All leases have been read once.
    complete: bool,
    /// Workloads that were cut off when this controller started.
    remembered: BTreeSet<String>,
}

/// What is to be done at the API server.
#[derive(Debug, PartialEq, Eq)]
enum Act {
    Write(Quarantine),
    Remove(String),
}

impl Quarantines {
    /// None heard of; those that the store remembered are in force already.
    pub fn remembered(state: &State) -> Self {
        let remembered = state.response.quarantines().into_iter();
        let inner = Inner {
            remembered: remembered.map(|it| it.workload).collect(),
            ..Inner::default()
        };
        Self {
            inner: Mutex::new(inner),
        }
    }

    /// Takes what is told of a lease; whether it is one of a quarantine.
    pub async fn hear(&self, state: &Arc<State>, told: &LeaseTold) -> bool {
        match told {
            LeaseTold::Report {
                lease,
                report: Report::Quarantine(report),
                ..
            } => {
                let quarantine = quarantine(report);
                if self.news(lease, &quarantine)
                    && !holds(state, &quarantine)
                    && let Err(error) = state.cut_off(quarantine).await
                {
                    warn!(lease, %error, "another controller cut it off, and this one cannot");
                }
                true
            }
            LeaseTold::Gone { lease } => {
                let gone = crate::lock(&self.inner).heard.remove(lease);
                let Some(gone) = gone else { return false };
                let_in(state, &gone.workload).await;
                true
            }
            LeaseTold::Complete => {
                for workload in self.lifted_meanwhile() {
                    info!(workload, "lifted while this controller was away");
                    let_in(state, &workload).await;
                }
                false
            }
            LeaseTold::Report { .. } | LeaseTold::Condition(_) => false,
        }
    }

    /// Remembers that the lease says this; whether it did not before. What this controller wrote itself
    /// comes back as an event, when it may have been lifted already.
    fn news(&self, lease: &str, quarantine: &Quarantine) -> bool {
        let mut inner = crate::lock(&self.inner);
        let before = inner.heard.insert(lease.to_owned(), quarantine.clone());
        before.as_ref() != Some(quarantine)
    }

    /// Of what was remembered, what no lease says when all were read for the first time.
    fn lifted_meanwhile(&self) -> BTreeSet<String> {
        let mut inner = crate::lock(&self.inner);
        inner.complete = true;
        let mut lifted = std::mem::take(&mut inner.remembered);
        lifted.retain(|workload| inner.heard.values().all(|it| it.workload != *workload));
        lifted
    }

    /// What differs between what holds here and what the leases say.
    fn differences(&self, standing: &[Quarantine]) -> Vec<Act> {
        let inner = crate::lock(&self.inner);
        if !inner.complete {
            return Vec::new();
        }
        // Why it is cut off each may know otherwise.
        let tells = |heard: &Quarantine, one: &Quarantine| {
            heard.workload == one.workload && end(heard) >= end(one)
        };
        let told = |one: &&Quarantine| inner.heard.values().any(|heard| tells(heard, one));
        let untold = standing.iter().filter(|one| !told(one));
        let stands = |heard: &Quarantine| standing.iter().any(|it| it.workload == heard.workload);
        let over = inner.heard.iter().filter(|(_, heard)| !stands(heard));
        let writes = untold.cloned().map(Act::Write);
        writes
            .chain(over.map(|(lease, _)| Act::Remove(lease.clone())))
            .collect()
    }
}

/// Tells the other controllers what this one does.
pub async fn write(state: Arc<State>, leases: NodeLeases, quarantines: Arc<Quarantines>) {
    let mut sent: BTreeMap<String, (Act, Instant)> = BTreeMap::new();
    loop {
        tokio::time::sleep(LOOK).await;
        sent.retain(|_, (_, at)| at.elapsed() < AGAIN);
        let mut problem = None;
        for act in quarantines.differences(&state.response.quarantines()) {
            let lease = match &act {
                Act::Write(quarantine) => report(quarantine).lease_name(""),
                Act::Remove(lease) => lease.clone(),
            };
            if sent.get(&lease).is_some_and(|(before, _)| *before == act) {
                continue;
            }
            let done = match &act {
                Act::Write(quarantine) => {
                    let written = leases.write(&report(quarantine), true).await;
                    written.map(|_| {
                        quarantines.news(&lease, quarantine);
                    })
                }
                Act::Remove(lease) => leases.remove(lease).await,
            };
            problem = done.err().map(|trouble| trouble.problem).or(problem);
            sent.insert(lease, (act, Instant::now()));
        }
        if problem.is_some() || sent.is_empty() {
            state.cluster.set_problem(PART, problem);
        }
    }
}

fn end(quarantine: &Quarantine) -> u64 {
    quarantine.until_unix_s.unwrap_or(u64::MAX)
}

/// Whether it is cut off here for at least as long.
fn holds(state: &State, quarantine: &Quarantine) -> bool {
    let standing = state.response.quarantines();
    let mut standing = standing.iter();
    standing.any(|it| it.workload == quarantine.workload && end(it) >= end(quarantine))
}

async fn let_in(state: &Arc<State>, workload: &str) {
    if let Err(error) = state.let_in(workload).await {
        warn!(workload, %error, "another controller let it in, and this one cannot");
    }
}

fn report(quarantine: &Quarantine) -> Report {
    Report::Quarantine(QuarantineReport {
        workload: quarantine.workload.clone(),
        since_unix_s: quarantine.since_unix_s,
        until_unix_s: quarantine.until_unix_s,
        by: quarantine.by.clone(),
        because: quarantine.because.clone(),
    })
}

fn quarantine(report: &QuarantineReport) -> Quarantine {
    Quarantine {
        workload: report.workload.clone(),
        since_unix_s: report.since_unix_s,
        until_unix_s: report.until_unix_s,
        by: report.by.clone(),
        because: report.because.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_off(workload: &str, until_unix_s: Option<u64>) -> Quarantine {
        Quarantine {
            workload: workload.into(),
            since_unix_s: 10,
            until_unix_s,
            by: "operator".into(),
            because: "because".into(),
        }
    }

    fn heard(quarantines: &Quarantines, one: &Quarantine) -> String {
        let lease = report(one).lease_name("");
        let mut inner = quarantines.inner.lock().unwrap();
        inner.heard.insert(lease.clone(), one.clone());
        lease
    }

    #[test]
    fn leases_follow_what_holds_once_they_are_known() {
        let quarantines = Quarantines::default();
        let (own, longer) = (cut_off("shop/a", Some(50)), cut_off("shop/b", Some(90)));
        let standing = [own.clone(), longer.clone()];
        assert_eq!(quarantines.differences(&standing), []);
        quarantines.lifted_meanwhile();
        heard(&quarantines, &own);
        // Another said that it ends earlier.
        heard(&quarantines, &cut_off("shop/b", Some(20)));
        let over = heard(&quarantines, &cut_off("shop/c", None));
        let acts = quarantines.differences(&standing);
        assert_eq!(
            acts,
            [Act::Write(longer.clone()), Act::Remove(over.clone())]
        );
        heard(&quarantines, &longer);
        quarantines.inner.lock().unwrap().heard.remove(&over);
        assert_eq!(quarantines.differences(&standing), []);
    }

    #[test]
    fn what_was_lifted_meanwhile_is_told_once() {
        let quarantines = Quarantines::default();
        quarantines.inner.lock().unwrap().remembered =
            ["shop/a", "shop/b"].map(str::to_owned).into();
        heard(&quarantines, &cut_off("shop/b", None));
        assert_eq!(quarantines.lifted_meanwhile(), ["shop/a".to_owned()].into());
        assert!(quarantines.lifted_meanwhile().is_empty());
    }
}
