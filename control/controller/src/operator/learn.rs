//! From what was seen to what is allowed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tonic::Status;
use weir_api::v1;
use weir_learn::{Conversation, ConversationKey, Proposal, coverage, propose};
use weir_policy::spec::Action;

use crate::flows::names;
use crate::policy::{Published, blocking};
use crate::state::State;

/// Everything there is to say about what was seen.
struct Review {
    proposals: Vec<(Proposal, &'static str, u64)>,
    coverage: Vec<v1::Coverage>,
}

/// The proposals, and how much of each workload's behaviour is known.
pub async fn review(
    state: &Arc<State>,
    request: &v1::LearnReviewRequest,
) -> Result<v1::LearnReviewReply, Status> {
    let review = look(state).await?;
    let workload = request.workload.as_str();
    let wanted = |name: &str| workload.is_empty() || names(workload, name);
    let proposals = review.proposals.into_iter();
    let proposals = proposals
        .filter(|(proposal, ..)| wanted(&proposal.key.client) || wanted(&proposal.key.server));
    let proposal = |(proposal, state, connections): (Proposal, &str, u64)| v1::Proposal {
        id: proposal.key.id(),
        client: proposal.key.client,
        server: proposal.key.server,
        application: proposal.key.application,
        port: proposal.key.port.into(),
        protocol: proposal.key.protocol.into(),
        confidence: proposal.confidence,
        reasons_for: proposal.reasons_for,
        reasons_against: proposal.reasons_against,
        connections,
        state: state.to_owned(),
    };
    Ok(v1::LearnReviewReply {
        proposals: proposals.map(proposal).collect(),
        coverage: review
            .coverage
            .into_iter()
            .filter(|it| wanted(&it.workload))
            .collect(),
    })
}

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
    let mut keys = Vec::new();
    for id in &ids {
        match review
            .proposals
            .iter()
            .find(|(proposal, ..)| proposal.key.id() == *id)
        {
            Some((proposal, ..)) => keys.push(proposal.key.clone()),
            None => reply
                .refused
                .push(format!("{id}: no such proposal; see weir learn review")),
        }
    }
    let least = above.unwrap_or(0.0);
    let open = review
        .proposals
        .iter()
        .filter(|(_, state, _)| *state == "proposed");
    let sure =
        open.filter(|(proposal, ..)| (all || above.is_some()) && proposal.confidence >= least);
    keys.extend(sure.map(|(proposal, ..)| proposal.key.clone()));
    keys.sort();
    keys.dedup();
    reply.accepted = keys
        .iter()
        .map(|key| format!("{} {key}", key.id()))
        .collect();
    if !keys.is_empty() {
        let state = state.clone();
        let accepted = blocking(move || state.store.accept(&keys)).await;
        accepted.map_err(|error| Status::internal(error.to_string()))?;
    }
    Ok(reply)
}

/// What was accepted so far.
pub async fn accepted(state: &Arc<State>) -> Result<Vec<ConversationKey>, Status> {
    let state = state.clone();
    let accepted = blocking(move || state.store.accepted()).await;
    accepted.map_err(|error| Status::internal(error.to_string()))
}

async fn look(state: &Arc<State>) -> Result<Review, Status> {
    let accepted = accepted(state).await?;
    let state = state.clone();
    Ok(blocking(move || {
        let all = |(key, seen): (&ConversationKey, &Conversation)| (key.clone(), seen.clone());
        let conversations: Vec<_> = state
            .observed
            .with_conversations(|them| them.iter().map(all).collect());
        weigh(&state.policy(), &conversations, &accepted)
    })
    .await)
}

fn weigh(
    policy: &Published,
    conversations: &[(ConversationKey, Conversation)],
    accepted: &[ConversationKey],
) -> Review {
    let accepted: HashSet<&ConversationKey> = accepted.iter().collect();
    let covered = |key: &ConversationKey| policy.judge(key).0 == Action::Allow;
    let connections: HashMap<&ConversationKey, u64> = conversations
        .iter()
        .map(|(key, seen)| (key, seen.connections))
        .collect();
    let stated = |proposal: Proposal| {
        let state = match (covered(&proposal.key), accepted.contains(&proposal.key)) {
            (true, _) => "covered",
            (false, true) => "accepted",
            (false, false) => "proposed",
        };
        let connections = connections.get(&proposal.key).copied().unwrap_or_default();
        (proposal, state, connections)
    };
    let mut proposals: Vec<_> = propose(conversations).into_iter().map(stated).collect();
    // What waits for an answer first; within that the surest first, as proposed.
    let rank = |state: &str| {
        ["proposed", "accepted", "covered"]
            .iter()
            .position(|it| *it == state)
    };
    proposals.sort_by_key(|(_, state, _)| rank(state));
    Review {
        proposals,
        coverage: coverages(policy, conversations),
    }
}

fn coverages(
    policy: &Published,
    conversations: &[(ConversationKey, Conversation)],
) -> Vec<v1::Coverage> {
    let identities = policy.snapshot.spec().identities.iter();
    let mut workloads: Vec<&str> = identities
        .filter(|it| it.managed)
        .map(|it| it.name.as_str())
        .collect();
    workloads.sort_unstable();
    workloads.dedup();
    let mut parts: HashMap<&str, Vec<&Conversation>> = HashMap::new();
    for (key, seen) in conversations {
        parts.entry(&key.client).or_default().push(seen);
        if key.server != key.client {
            parts.entry(&key.server).or_default().push(seen);
        }
    }
    let of = |workload: &str| {
        let found = coverage(parts.get(workload).into_iter().flatten().copied());
        v1::Coverage {
            workload: workload.to_owned(),
            next_is_new: found.next_is_new,
            connections: found.connections,
            ready: found.ready,
        }
    };
    workloads.into_iter().map(of).collect()
}
