//! What a person makes of proposals: accepted, rejected, or that two workloads are the same.

use std::sync::Arc;

use tonic::Status;
use weir_api::v1;
use weir_learn::{Decision, End, Verdict};

use crate::learning::{decide, rename};
use crate::operator::learn::{Reviewed, Stance, look, no_such};
use crate::operator::policy::learned_files;
use crate::policy::blocking;
use crate::source::Source;
use crate::state::State;
use crate::time::now_unix_us;

/// Longest reason for a rejection.
const REASON_BYTES_MAX: usize = 512;

/// Remembers what was accepted; the export then writes it.
pub async fn accept(
    state: &Arc<State>,
    request: v1::LearnAcceptRequest,
) -> Result<v1::LearnAcceptReply, Status> {
    let v1::LearnAcceptRequest { ids, all, above } = request;
    if ids.is_empty() && !all && above.is_none() {
        return Err(Status::invalid_argument(
            "nothing is named: give ids, all or a confidence",
        ));
    }
    let review = look(state).await?;
    let mut reply = v1::LearnAcceptReply::default();
    let mut wanted: Vec<&Reviewed> = Vec::new();
    for id in &ids {
        match review.find(id) {
            Some(found) => wanted.push(found),
            None => reply.refused.push(no_such(id)),
        }
    }
    let least = above.unwrap_or(0.0);
    let open = review.proposals.iter();
    let open = open.filter(|it| it.stance == Stance::Proposed);
    let sure = open.filter(|it| (all || above.is_some()) && it.proposal.confidence >= least);
    wanted.extend(sure);
    reply.accepted = remember(state, wanted, Verdict::Accepted, "").await?;
    reply.files = learned_files(state).await?;
    reply.writable = matches!(state.source, Source::Files(_));
    Ok(reply)
}

/// Remembers what was rejected: it is not proposed again until evidence of another kind comes.
pub async fn reject(
    state: &Arc<State>,
    request: v1::LearnRejectRequest,
) -> Result<v1::LearnRejectReply, Status> {
    let v1::LearnRejectRequest { ids, reason } = request;
    if ids.is_empty() {
        return Err(Status::invalid_argument("nothing is named: give ids"));
    }
    if reason.len() > REASON_BYTES_MAX {
        let why = format!("the reason is longer than {REASON_BYTES_MAX} bytes; say it shorter");
        return Err(Status::invalid_argument(why));
    }
    let review = look(state).await?;
    let mut reply = v1::LearnRejectReply::default();
    let mut wanted: Vec<&Reviewed> = Vec::new();
    for id in &ids {
        match review.find(id) {
            Some(found) if found.stance == Stance::Covered => reply.refused.push(format!(
                "{id}: the policy allows it; take the rule away instead (weir learn why {id} names it)"
            )),
            Some(found) => wanted.push(found),
            None => reply.refused.push(no_such(id)),
        }
    }
    reply.rejected = remember(state, wanted, Verdict::Rejected, &reason).await?;
    Ok(reply)
}

/// One workload goes on under another name: what it did and what was decided of it goes along.
pub async fn same(
    state: &Arc<State>,
    request: v1::LearnSameRequest,
) -> Result<v1::LearnSameReply, Status> {
    let v1::LearnSameRequest { old, new } = request;
    for name in [&old, &new] {
        if !End::of(name).is_workload() {
            let why = format!("{name:?} is no workload; write namespace/name");
            return Err(Status::invalid_argument(why));
        }
    }
    if old == new {
        return Err(Status::invalid_argument(format!(
            "{old} is the same already"
        )));
    }
    let policy = state.policy().await;
    if policy.snapshot.identity_by_name(&new).is_none() {
        let why = format!("there is no workload {new}; `weir status` lists those that are there");
        return Err(Status::not_found(why));
    }
    if policy.snapshot.identity_by_name(&old).is_some() {
        let why =
            format!("{old} is still there, so {new} has not taken its place; remove it first");
        return Err(Status::failed_precondition(why));
    }
    let renaming = state.clone();
    let names = (old.clone(), new.clone());
    let renamed = blocking(move || rename(&renaming, &names.0, &names.1, now_unix_us())).await;
    let (conversations, count) = renamed.map_err(|error| Status::internal(error.to_string()))?;
    tracing::info!(
        old,
        new,
        conversations,
        decisions = count,
        "goes on under another name"
    );
    Ok(v1::LearnSameReply {
        conversations,
        decisions: count,
    })
}

/// Returns what was decided, a line each.
async fn remember(
    state: &Arc<State>,
    wanted: Vec<&Reviewed>,
    verdict: Verdict,
    reason: &str,
) -> Result<Vec<String>, Status> {
    let now_us = now_unix_us();
    let decision = |it: &Reviewed| Decision::on(&it.proposal, verdict, reason, now_us);
    let mut decided: Vec<Decision> = wanted.into_iter().map(decision).collect();
    decided.sort_by(|one, other| one.key.cmp(&other.key));
    decided.dedup_by(|one, other| one.key == other.key);
    let line = |decision: &Decision| format!("{} {}", decision.key.id(), decision.key);
    let lines = decided.iter().map(line).collect();
    if !decided.is_empty() {
        let state = state.clone();
        let written = blocking(move || decide(&state, &decided, &[])).await;
        written.map_err(|error| Status::internal(error.to_string()))?;
    }
    Ok(lines)
}
