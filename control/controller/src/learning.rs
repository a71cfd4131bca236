//! What was learned and not seen any more is forgotten in time.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tracing::{info, warn};
use weir_learn::{ConversationKey, Verdict};

use crate::policy::blocking;
use crate::state::State;

/// How often is looked for what is over.
const INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Forgotten conversations that are named in the log.
const NAMED_MAX: usize = 5;

/// Forgets what is over, now and every hour, until the controller stops.
pub async fn age(state: Arc<State>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stopping = state.stopping();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        let state = state.clone();
        blocking(move || forget(&state)).await;
    }
}

fn forget(state: &State) {
    let ageing = state.observed.ageing();
    let decisions = match state.store.decisions() {
        Ok(decisions) => decisions,
        // What was accepted is not known, so nothing may go.
        Err(error) => return warn!(%error, "nothing is forgotten"),
    };
    let accepted = decisions
        .into_iter()
        .filter(|it| it.verdict == Verdict::Accepted);
    let accepted: HashSet<ConversationKey> = accepted.map(|it| it.key).collect();
    let over = state.observed.change_conversations(|all| {
        let newest_us = all.newest_us();
        all.age(&ageing, &accepted, newest_us)
    });
    if over.is_empty() {
        return;
    }
    let names: Vec<String> = over
        .iter()
        .take(NAMED_MAX)
        .map(ToString::to_string)
        .collect();
    info!(
        conversations = over.len(),
        unseen_days = ageing.forget_after_days,
        "forgotten, not seen for long: {}{}",
        names.join(", "),
        if over.len() > NAMED_MAX { ", …" } else { "" }
    );
}
