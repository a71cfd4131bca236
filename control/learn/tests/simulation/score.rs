//! How well a ranking tells what is legitimate.

use weir_learn::{Ageing, Context, Proposal, propose};

use super::{Cluster, Size};

/// Confidences at which a person might accept.
pub const THRESHOLDS: [f64; 5] = [0.5, 0.7, 0.8, 0.9, 0.95];

/// A proposal, and whether it is legitimate.
pub struct Labelled {
    pub proposal: Proposal,
    pub legitimate: bool,
}

/// What accepting at a threshold comes to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Score {
    pub accepted: usize,
    pub legitimate: usize,
    pub all_legitimate: usize,
    pub all: usize,
}

impl Score {
    /// Of what was accepted, the share that is legitimate.
    pub fn precision(&self) -> f64 {
        share(self.legitimate, self.accepted)
    }

    /// Of what is legitimate, the share that was accepted.
    pub fn recall(&self) -> f64 {
        share(self.legitimate, self.all_legitimate)
    }

    /// Of what is not legitimate, the share that was let through.
    pub fn let_through(&self) -> f64 {
        share(
            self.accepted - self.legitimate,
            self.all - self.all_legitimate,
        )
    }
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        1.0
    } else {
        part as f64 / whole as f64
    }
}

pub fn at(labelled: &[Labelled], threshold: f64) -> Score {
    let mut score = Score::default();
    for Labelled {
        proposal,
        legitimate,
    } in labelled
    {
        let accepted = proposal.confidence >= threshold;
        score.all += 1;
        score.all_legitimate += usize::from(*legitimate);
        score.accepted += usize::from(accepted);
        score.legitimate += usize::from(accepted && *legitimate);
    }
    score
}

/// The proposals at the end of each of these days, with their labels.
pub fn simulate(seed: u64, size: Size, days: &[u64]) -> Vec<Vec<Labelled>> {
    let last = days.iter().copied().max().unwrap_or(0);
    let mut cluster = Cluster::new(seed, size, last);
    let mut all = Vec::new();
    for &day in days {
        cluster.run_until(day);
        all.push(review(&cluster));
    }
    all
}

fn review(cluster: &Cluster) -> Vec<Labelled> {
    let context = Context {
        now_us: cluster.now_us(),
        workloads: &cluster.workloads,
        ageing: Ageing::default(),
    };
    let labelled = |proposal: Proposal| Labelled {
        legitimate: cluster.legitimate.contains(&proposal.key),
        proposal,
    };
    let proposals = propose(&cluster.seen(), &context);
    proposals.into_iter().map(labelled).collect()
}
