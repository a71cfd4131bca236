//! How well the ranking of proposals tells what is legitimate in simulated clusters that it was not
//! fitted to, beside "everything seen is allowed". `perf/learning` runs it.
//!
//! `ranking`              prints precision and recall on the seeds kept for that
//! `ranking --fit`        fits weights to the other seeds and prints a table for `src/evidence.rs`
//! `ranking --wrong CONFIDENCE`  lists what is not legitimate and yet that sure, and the reasons

#[path = "../tests/simulation/mod.rs"]
mod simulation;

use std::collections::BTreeMap;

use simulation::Size;
use simulation::score::{Labelled, THRESHOLDS, at, simulate};
use weir_learn::{BIAS, EVIDENCE_COUNT, Evidence, Weights};

/// Weights are fitted to these seeds; nothing is reported of them.
const FITTED: std::ops::Range<u64> = 1000..1012;
/// What is reported.
const REPORTED: std::ops::Range<u64> = 1..21;
const SIZE: Size = Size {
    applications: 36,
    intrusions: 30,
};
/// When a person reviews: soon, after two weeks, after two months.
const DAYS: [u64; 3] = [3, 14, 60];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [] => report(),
        ["--fit"] => fit(),
        ["--wrong", confidence] => wrong(confidence.parse().expect("a number from 0 to 1")),
        _ => panic!("usage: ranking [--fit | --wrong CONFIDENCE]"),
    }
}

fn reviews(seeds: std::ops::Range<u64>) -> Vec<Vec<Labelled>> {
    let mut by_day: Vec<Vec<Labelled>> = DAYS.iter().map(|_| Vec::new()).collect();
    for seed in seeds {
        for (all, found) in by_day.iter_mut().zip(simulate(seed, SIZE, &DAYS)) {
            all.extend(found);
        }
    }
    by_day
}

fn report() {
    let seeds = REPORTED.end - REPORTED.start;
    println!(
        "{} applications of six services and more, {} campaigns of intruders, {seeds} seeds; \
weights fitted to other seeds",
        SIZE.applications, SIZE.intrusions
    );
    for (day, labelled) in DAYS.iter().zip(reviews(REPORTED)) {
        let naive = at(&labelled, 0.0);
        println!(
            "\nafter {day} days: {} proposals, {} of them not legitimate",
            naive.all,
            naive.all - naive.all_legitimate
        );
        println!("accepted            precision  recall  intrusions let through");
        println!(
            "everything seen        {:.4}  {:.4}  {:6.1} %",
            naive.precision(),
            naive.recall(),
            naive.let_through() * 100.0
        );
        for threshold in THRESHOLDS {
            let score = at(&labelled, threshold);
            println!(
                "confidence ≥ {threshold:<4}      {:.4}  {:.4}  {:6.1} %",
                score.precision(),
                score.recall(),
                score.let_through() * 100.0
            );
        }
        calibration(&labelled);
    }
}

/// Of proposals with a confidence, how many are legitimate.
fn calibration(labelled: &[Labelled]) {
    let mut words = Vec::new();
    for (from, until) in [
        (0.0, 0.1),
        (0.1, 0.3),
        (0.3, 0.5),
        (0.5, 0.7),
        (0.7, 0.9),
        (0.9, 1.01),
    ] {
        let within: Vec<&Labelled> = labelled
            .iter()
            .filter(|it| (from..until).contains(&it.proposal.confidence))
            .collect();
        let legitimate = within.iter().filter(|it| it.legitimate).count();
        let share = legitimate as f64 / within.len().max(1) as f64;
        words.push(format!(
            "{from}–{:.1}: {share:.3} of {}",
            f64::min(until, 1.0),
            within.len()
        ));
    }
    println!(
        "calibration (legitimate of those so sure): {}",
        words.join(", ")
    );
}

fn wrong(confidence: f64) {
    for (day, labelled) in DAYS.iter().zip(reviews(FITTED)) {
        println!("after {day} days");
        let sure = |it: &&Labelled| !it.legitimate && it.proposal.confidence >= confidence;
        for Labelled { proposal, .. } in labelled.iter().filter(sure).take(40) {
            let reasons: Vec<String> = proposal
                .reasons
                .iter()
                .map(|reason| format!("{} {:+.1}", reason.sentence, reason.weight()))
                .collect();
            println!(
                "{:.3} {}: {}",
                proposal.confidence,
                proposal.key,
                reasons.join("; ")
            );
        }
        let mut missed: BTreeMap<String, usize> = BTreeMap::new();
        for Labelled { proposal, .. } in labelled
            .iter()
            .filter(|it| it.legitimate && it.proposal.confidence < confidence)
        {
            let client = proposal.key.client.rsplit('/').next().unwrap_or_default();
            *missed
                .entry(format!("{client} {}", proposal.key.application))
                .or_default() += 1;
        }
        println!("legitimate and less sure: {missed:?}");
    }
}

/// Logistic regression by gradient descent, pulled towards the weights that stand, signs kept.
fn fit() {
    const ROUNDS: usize = 3_000;
    const STEP: f64 = 0.3;
    const PULL: f64 = 0.002;
    let rows: Vec<(Weights, f64)> = reviews(FITTED)
        .into_iter()
        .flatten()
        .map(|it| row(&it))
        .collect();
    let prior: Vec<f64> = Evidence::all().map(Evidence::weight).collect();
    let (mut weights, mut bias) = (prior.clone(), BIAS);
    // What is not legitimate is rare: it counts as much as all the rest, by a third.
    let wrong = rows.iter().filter(|row| row.1 == 0.0).count().max(1) as f64;
    let scale = (rows.len() as f64 - wrong) / wrong / 3.0;
    for _ in 0..ROUNDS {
        let (mut slope, mut slope_of_bias) = ([0.0; EVIDENCE_COUNT], 0.0);
        for (amounts, label) in &rows {
            let odds: f64 = bias
                + amounts
                    .iter()
                    .zip(&weights)
                    .map(|(one, other)| one * other)
                    .sum::<f64>();
            let error = label - 1.0 / (1.0 + (-odds).exp());
            let error = if *label == 0.0 { error * scale } else { error };
            slope_of_bias += error;
            slope
                .iter_mut()
                .zip(amounts)
                .for_each(|(slope, amount)| *slope += error * amount);
        }
        let count = rows.len() as f64;
        bias += STEP * slope_of_bias / count;
        for (place, evidence) in Evidence::all().enumerate() {
            let pull = PULL * (prior[place] - weights[place]);
            let next = weights[place] + STEP * (slope[place] / count + pull);
            weights[place] = if evidence.is_for() {
                next.max(0.0)
            } else {
                next.min(0.0)
            };
        }
    }
    println!("BIAS {bias:.2}");
    for (evidence, weight) in Evidence::all().zip(weights) {
        println!("({evidence:?}, \"{}\", {weight:.2}),", evidence.name());
    }
}

fn row(labelled: &Labelled) -> (Weights, f64) {
    let mut amounts = [0.0; EVIDENCE_COUNT];
    for reason in &labelled.proposal.reasons {
        let amount = &mut amounts[reason.evidence as usize];
        *amount = f64::max(*amount, reason.amount);
    }
    (amounts, f64::from(u8::from(labelled.legitimate)))
}
