//! The ranking tells what is legitimate in a simulated cluster. `perf/learning` measures more of them;
//! a change of weights that ruins the ranking shows here.

mod simulation;

use simulation::Size;
use simulation::score::{Score, at, simulate};

const SIZE: Size = Size {
    applications: 12,
    intrusions: 20,
};

#[test]
fn what_is_sure_is_legitimate_and_most_of_what_is_legitimate_is_sure() {
    let mut sure = Score::default();
    let mut naive = Score::default();
    let add = |sum: &mut Score, one: Score| {
        sum.accepted += one.accepted;
        sum.legitimate += one.legitimate;
        sum.all += one.all;
        sum.all_legitimate += one.all_legitimate;
    };
    for seed in [501, 502] {
        let reviews = simulate(seed, SIZE, &[21]);
        add(&mut sure, at(&reviews[0], 0.9));
        add(&mut naive, at(&reviews[0], 0.0));
    }
    assert!(naive.precision() < 0.95, "the task is none: {naive:?}");
    assert!(sure.precision() > 0.99, "{sure:?}");
    assert!(sure.recall() > 0.85, "{sure:?}");
    assert!(sure.let_through() < 0.1, "{sure:?}");
}

#[test]
fn the_same_seed_gives_the_same_cluster() {
    let size = Size {
        applications: 2,
        intrusions: 4,
    };
    let keys = |seed: u64| {
        let reviews = simulate(seed, size, &[4]);
        let keys = reviews[0]
            .iter()
            .map(|it| (it.proposal.key.clone(), it.legitimate));
        keys.collect::<Vec<_>>()
    };
    assert_eq!(keys(7), keys(7));
    assert_ne!(keys(7), keys(8));
}
