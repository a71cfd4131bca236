//! What is wrong as events, so that `kubectl` shows it: a permission that is missing, a kind that is not
//! installed, a server that does not answer.
//!
//! Each problem is told when it comes, again every half an hour as long as it stands (the API server forgets
//! events after an hour), and once more when it is over. Memory and writes are bounded by
//! [`PROBLEMS_MAX`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use weir_kubernetes::{EventType, Events};
use weir_model::Problem;

use crate::source::Source;
use crate::state::State;
use crate::time::now_unix_us;

/// How often is looked for problems.
const LOOK: Duration = Duration::from_secs(2);
/// How often one that stands is told.
const AGAIN_US: u64 = 30 * 60 * 1_000_000;
/// Problems that are told of at most: of more than these the first say enough.
const PROBLEMS_MAX: usize = 32;
/// After a failure.
const PAUSE: Duration = Duration::from_secs(10);
/// What of it is a problem.
const PART: &str = "events";

/// Tells until the controller stops.
pub async fn tell(state: Arc<State>, identity: String) {
    let Source::Kubernetes(source) = &state.source else {
        return;
    };
    let mut events = Events::new(
        source.client(),
        source.namespace(),
        &identity,
        source.timeout(),
    );
    // By what is said, in which period it was said last.
    let mut told: BTreeMap<String, u64> = BTreeMap::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let mut problems = state.conditions();
        problems.extend(state.cluster.problems_but(PART));
        problems.truncate(PROBLEMS_MAX);
        let period = now_unix_us() / AGAIN_US;
        let mut sent = Ok(());
        let standing: BTreeSet<String> = problems.iter().map(note).collect();
        for problem in &problems {
            let note = note(problem);
            if told.get(&note) == Some(&period) {
                continue;
            }
            sent = events
                .tell(EventType::Warning, reason(problem), &note, period)
                .await;
            if sent.is_err() {
                break;
            }
            told.insert(note, period);
        }
        let over = told.keys().filter(|note| !standing.contains(*note));
        for note in over.cloned().collect::<Vec<_>>() {
            if sent.is_err() {
                break;
            }
            let over = format!("no longer: {note}");
            sent = events
                .tell(EventType::Normal, "Recovered", &over, now_unix_us())
                .await;
            told.remove(&note);
        }
        let pause = match &sent {
            Ok(()) => Duration::ZERO,
            Err(trouble) => trouble.retry_after.unwrap_or(PAUSE),
        };
        let problem = sent.err().map(|trouble| trouble.problem);
        state.cluster.set_problem(PART, problem);
        tokio::time::sleep(pause).await;
    }
}

fn note(problem: &Problem) -> String {
    match problem.next_step.as_str() {
        "" => problem.message.clone(),
        next_step => format!("{}; {next_step}", problem.message),
    }
}

fn reason(problem: &Problem) -> &'static str {
    match problem.message.starts_with("may not ") {
        true => "Forbidden",
        false => "Degraded",
    }
}
