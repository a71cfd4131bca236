//! What was learned and not seen any more is forgotten in time; what another controller knows, and what
//! people say of it, is added.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tracing::{info, warn};
use weir_learn::{Ageing, ConversationKey, DAY_US, Decision, Profile, Renames, Verdict, home};

use crate::conversation::Conversations;
use crate::policy::blocking;
use crate::state::State;
use crate::store::StoreError;

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

/// Remembers decisions and forgets those on other keys.
pub fn decide(
    state: &State,
    decisions: &[Decision],
    forgotten: &[ConversationKey],
) -> Result<(), StoreError> {
    state.store.decide(decisions, forgotten)?;
    let decided = decisions.iter().map(|decision| &decision.key);
    state.observed.change_conversations(|all| {
        for key in decided.chain(forgotten) {
            all.mark_said(home(key));
        }
    });
    Ok(())
}

/// One workload goes on under another name since then. Returns how many conversations and decisions
/// have gone along.
pub fn rename(state: &State, old: &str, new: &str, at_us: u64) -> Result<(u64, u64), StoreError> {
    let said = [(old.to_owned(), new.to_owned(), at_us)];
    state.store.rename(&said, &[])?;
    let renaming = |all: &mut Conversations| {
        let moved = all.rename(old, new, at_us);
        (moved, all.renames().clone())
    };
    let (conversations, renames) = state.observed.change_conversations(renaming);
    let decisions = state.store.decisions()?;
    let moved = decisions.iter().map(|it| (it, renames.decision(it)));
    let moved = moved.filter(|(before, after)| before.key != after.key);
    let (before, mut after): (Vec<ConversationKey>, Vec<Decision>) = moved
        .map(|(before, after)| (before.key.clone(), after))
        .unzip();
    // What was said of the new one meanwhile may be later.
    for decision in &mut after {
        if let Some(known) = decisions.iter().find(|it| it.key == decision.key) {
            decision.join(known);
        }
    }
    let count = after.len() as u64;
    if count > 0 {
        decide(state, &after, &before)?;
    }
    Ok((conversations, count))
}

/// Adds what another controller knows of a workload. What is over is left out once `weeding`: before
/// everything was heard it is not known what is.
pub fn join(state: &State, mut profile: Profile, weeding: bool) -> Result<(), StoreError> {
    let workload = profile.workload.clone();
    for (old, at_us) in &profile.formerly {
        let known = |all: &Conversations| all.renames().formerly(&workload).get(old) == Some(at_us);
        if !state.observed.with_conversations(known) {
            rename(state, old, &workload, *at_us)?;
        }
    }
    let renames = |all: &Conversations| (all.renames().clone(), all.newest_us());
    let (renames, newest_us) = state.observed.with_conversations(renames);
    join_decisions(state, &profile.decisions, &renames)?;
    if weeding {
        let ageing = state.observed.ageing();
        weed(&mut profile, &ageing, newest_us);
    }
    state
        .observed
        .change_conversations(|all| all.join(&profile));
    Ok(())
}

/// Takes out what is over.
pub fn weed(profile: &mut Profile, ageing: &Ageing, newest_us: u64) {
    let accepted = profile.decisions.iter();
    let accepted = accepted.filter(|it| it.verdict == Verdict::Accepted);
    let accepted: HashSet<&ConversationKey> = accepted.map(|it| &it.key).collect();
    profile
        .conversations
        .retain(|it| !ageing.is_over(&it.seen, accepted.contains(&it.key), newest_us));
}

fn join_decisions(state: &State, heard: &[Decision], renames: &Renames) -> Result<(), StoreError> {
    if heard.is_empty() {
        return Ok(());
    }
    let known = state.store.decisions()?;
    let mut news = Vec::new();
    for decision in heard {
        let mut decision = renames.decision(decision);
        let own = known.iter().find(|own| own.key == decision.key);
        if let Some(own) = own {
            decision.join(own);
        }
        if own != Some(&decision) {
            news.push(decision);
        }
    }
    match news.is_empty() {
        true => Ok(()),
        false => decide(state, &news, &[]),
    }
}

/// Forgets what is over.
pub fn forget(state: &State) {
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
    let unseen_us = u64::from(ageing.forget_after_days) * DAY_US;
    let former = state.observed.change_conversations(|all| {
        let before_us = all.newest_us().saturating_sub(unseen_us);
        all.forget_renames(before_us)
    });
    if !former.is_empty()
        && let Err(error) = state.store.rename(&[], &former)
    {
        warn!(%error, "former names are still in the store");
    }
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
