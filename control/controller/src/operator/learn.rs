//! From what was seen to what is proposed: the review, and everything that is known of one proposal.

use std::collections::HashMap;
use std::sync::Arc;

use tonic::Status;
use weir_api::v1;
use weir_learn::{
    Ageing, BIAS, Context, Conversation, ConversationKey, Coverage, Decision, Proposal, Traits,
    Verdict, Workloads, coverage, image_name, propose, successions,
};
use weir_model::{Document, Located};
use weir_policy::spec::Action;

use crate::conversation::Conversations;
use crate::flows::names;
use crate::policy::blocking;
use crate::state::State;
use crate::view::Published;

/// Names of a workload's images, separated by commas, beside those that its document names itself.
pub const IMAGES_ANNOTATION: &str = "weir.dev/images";

/// How a proposal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stance {
    /// It waits for an answer.
    Proposed,
    /// A rule is wanted that is not there yet.
    Accepted,
    /// The policy allows it already.
    Covered,
    /// None is wanted.
    Rejected,
}

/// A proposal with what was decided of it.
#[derive(Clone, Debug)]
pub struct Reviewed {
    /// The proposal.
    pub proposal: Proposal,
    /// The evidence.
    pub seen: Conversation,
    /// How it stands.
    pub stance: Stance,
    /// What was said of it last.
    pub decision: Option<Decision>,
    /// Why it is proposed again after a rejection.
    pub news: Vec<String>,
}

/// Everything there is to say about what was seen.
pub struct Review {
    /// What waits for an answer first; within that the surest first.
    pub proposals: Vec<Reviewed>,
    conversations: Vec<(ConversationKey, Conversation)>,
    workloads: Workloads,
    newest_us: u64,
    ageing: Ageing,
    policy: Arc<Published>,
}

impl Stance {
    /// As it stands in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Accepted => "accepted",
            Self::Covered => "covered",
            Self::Rejected => "rejected",
        }
    }
}

/// The proposals, and how much of each workload's behaviour is known.
pub async fn review(
    state: &Arc<State>,
    request: &v1::LearnReviewRequest,
) -> Result<v1::LearnReviewReply, Status> {
    let request = request.clone();
    let review = look(state).await?;
    Ok(blocking(move || {
        let workload = request.workload.as_str();
        let wanted = |name: &str| workload.is_empty() || names(workload, name);
        let least = request.above.unwrap_or(0.0);
        let proposals = review.proposals.iter().filter(|it| {
            let key = &it.proposal.key;
            (wanted(&key.client) || wanted(&key.server))
                && it.proposal.confidence >= least
                && (it.stance == Stance::Rejected) == request.rejected
        });
        let proposals = proposals.map(Reviewed::message).collect();
        let coverage = coverages(&review).into_iter();
        let coverage = coverage.filter(|it| wanted(&it.workload)).collect();
        let found = successions(&review.conversations, &review.context());
        let found = found
            .into_iter()
            .filter(|it| wanted(&it.old) || wanted(&it.new));
        let succession = |it: weir_learn::Succession| v1::Succession {
            old: it.old,
            new: it.new,
            similarity: it.similarity,
            because: it.because,
        };
        v1::LearnReviewReply {
            proposals,
            coverage,
            successions: found.map(succession).collect(),
        }
    })
    .await)
}

/// Everything that is known of one proposal.
pub async fn why(
    state: &Arc<State>,
    request: &v1::LearnWhyRequest,
) -> Result<v1::LearnWhyReply, Status> {
    let review = look(state).await?;
    let found = review
        .find(&request.id)
        .ok_or_else(|| Status::not_found(no_such(&request.id)))?;
    let Reviewed { proposal, seen, .. } = found;
    let (action, decider) = review.policy.judge(&proposal.key);
    let reason = |reason: &weir_learn::Reason| v1::Reason {
        name: reason.evidence.name().to_owned(),
        weight: reason.weight(),
        amount: reason.amount,
        sentence: reason.sentence.clone(),
    };
    let mut reasons: Vec<v1::Reason> = proposal.reasons.iter().map(reason).collect();
    reasons.sort_by(|one, other| other.weight.abs().total_cmp(&one.weight.abs()));
    let replica = |(address, span): (std::net::IpAddr, weir_learn::Span)| v1::Replica {
        address: address.to_string(),
        first_day: span.first,
        last_day: span.last,
    };
    let day = |counts: &weir_learn::DayCounts| v1::DayActivity {
        day: counts.day,
        hours: counts.hours,
        connections: counts.connections,
        denied: counts.denied,
        would_deny: counts.would_deny,
    };
    Ok(v1::LearnWhyReply {
        proposal: Some(found.message()),
        reasons,
        bias: BIAS,
        left: proposal.left,
        replicas: seen.client_replicas.iter().map(replica).collect(),
        activity: seen.activity.days().iter().map(day).collect(),
        days: seen.days.newest_first().collect(),
        alerts: seen.alert_names.clone().into_iter().collect(),
        names: seen.names.iter().cloned().collect(),
        bytes: seen.bytes,
        bytes_sent: seen.bytes_sent,
        unanswered: seen.unanswered,
        denied: seen.denied,
        would_deny: seen.would_deny,
        decider,
        allowed: action == Action::Allow,
    })
}

/// That there is no proposal of this id, and what to do.
pub fn no_such(id: &str) -> String {
    format!("{id}: no such proposal; see weir learn review")
}

/// What was decided so far.
pub async fn decisions(state: &Arc<State>) -> Result<Vec<Decision>, Status> {
    let state = state.clone();
    let decisions = blocking(move || state.store.decisions()).await;
    decisions.map_err(|error| Status::internal(error.to_string()))
}

/// What was accepted so far.
pub async fn accepted(state: &Arc<State>) -> Result<Vec<ConversationKey>, Status> {
    let accepted = decisions(state).await?.into_iter();
    let accepted = accepted.filter(|decision| decision.verdict == Verdict::Accepted);
    Ok(accepted.map(|decision| decision.key).collect())
}

/// Looks at everything.
pub async fn look(state: &Arc<State>) -> Result<Review, Status> {
    let decisions = decisions(state).await?;
    let (state, policy) = (state.clone(), state.policy().await);
    Ok(blocking(move || Review::of(&state, policy, decisions)).await)
}

/// What is known of workloads beside their conversations.
pub fn workloads(documents: &[Arc<Located<Document>>]) -> Workloads {
    let workload = |located: &Arc<Located<Document>>| {
        let Document::Workload(workload) = &located.value else {
            return None;
        };
        let metadata = &workload.metadata;
        let images = metadata.annotations.get(IMAGES_ANNOTATION);
        let images = images.into_iter().flat_map(|images| images.split(','));
        let images = images.chain(workload.spec.images.iter().map(String::as_str));
        let traits = Traits {
            labels: metadata.labels.clone(),
            images: images
                .map(|image| image_name(image.trim()).to_owned())
                .collect(),
        };
        Some((metadata.full_name(), traits))
    };
    documents.iter().filter_map(workload).collect()
}

impl Review {
    fn of(state: &State, policy: Arc<Published>, decisions: Vec<Decision>) -> Self {
        let look = |all: &Conversations| (all.all(), all.newest_us());
        let (conversations, newest_us) = state.observed.with_conversations(look);
        let workloads = workloads(&policy.documents);
        let decisions: HashMap<ConversationKey, Decision> = decisions
            .into_iter()
            .map(|it| (it.key.clone(), it))
            .collect();
        let seen: HashMap<&ConversationKey, &Conversation> = conversations
            .iter()
            .map(|(key, seen)| (key, seen))
            .collect();
        let ageing = state.observed.ageing();
        let context = Context {
            now_us: newest_us,
            workloads: &workloads,
            ageing,
        };
        let proposals = propose(&conversations, &context).into_iter();
        let mut proposals: Vec<Reviewed> = proposals
            .map(|proposal| {
                let seen = seen
                    .get(&proposal.key)
                    .copied()
                    .cloned()
                    .unwrap_or_default();
                let decision = decisions.get(&proposal.key).cloned();
                Reviewed::of(proposal, seen, decision, &policy)
            })
            .collect();
        proposals.sort_by_key(|it| it.stance);
        Self {
            proposals,
            conversations,
            workloads,
            newest_us,
            ageing,
            policy,
        }
    }

    fn context(&self) -> Context<'_> {
        Context {
            now_us: self.newest_us,
            workloads: &self.workloads,
            ageing: self.ageing,
        }
    }

    /// The proposal of this id.
    pub fn find(&self, id: &str) -> Option<&Reviewed> {
        self.proposals.iter().find(|it| it.proposal.key.id() == id)
    }
}

impl Reviewed {
    fn of(
        proposal: Proposal,
        seen: Conversation,
        decision: Option<Decision>,
        policy: &Published,
    ) -> Self {
        let covered = policy.judge(&proposal.key).0 == Action::Allow;
        let rejected = decision
            .as_ref()
            .filter(|it| it.verdict == Verdict::Rejected);
        let news = rejected.map_or_else(Vec::new, |decision| decision.news(&proposal));
        let stance = match &decision {
            _ if covered => Stance::Covered,
            Some(it) if it.verdict == Verdict::Accepted => Stance::Accepted,
            Some(_) if news.is_empty() => Stance::Rejected,
            _ => Stance::Proposed,
        };
        Self {
            proposal,
            seen,
            stance,
            decision,
            news,
        }
    }

    fn message(&self) -> v1::Proposal {
        let Self {
            proposal,
            seen,
            stance,
            decision,
            news,
        } = self;
        let key = proposal.key.clone();
        v1::Proposal {
            id: key.id(),
            client: key.client,
            server: key.server,
            application: key.application,
            port: key.port.into(),
            protocol: key.protocol.into(),
            confidence: proposal.confidence,
            reasons_for: proposal.reasons_for().map(str::to_owned).collect(),
            reasons_against: proposal.reasons_against().map(str::to_owned).collect(),
            connections: seen.connections,
            state: stance.name().to_owned(),
            days: seen.days.count(),
            first_seen_unix_us: seen.first_seen_us,
            last_seen_unix_us: seen.last_seen_us,
            rejected_because: decision
                .as_ref()
                .filter(|it| it.verdict == Verdict::Rejected)
                .map_or_else(String::new, |it| it.reason.clone()),
            decided_unix_us: decision.as_ref().map_or(0, |it| it.at_us),
            news: news.clone(),
        }
    }
}

fn coverages(review: &Review) -> Vec<v1::Coverage> {
    let identities = review.policy.snapshot.spec().identities.iter();
    let mut workloads: Vec<&str> = identities
        .filter(|it| it.managed)
        .map(|it| it.name.as_str())
        .collect();
    workloads.sort_unstable();
    workloads.dedup();
    let mut parts: HashMap<&str, Vec<&Conversation>> = HashMap::new();
    for (key, seen) in &review.conversations {
        parts.entry(&key.client).or_default().push(seen);
        if key.server != key.client {
            parts.entry(&key.server).or_default().push(seen);
        }
    }
    let mut open: HashMap<&str, u64> = HashMap::new();
    for it in &review.proposals {
        if it.stance == Stance::Proposed {
            let key = &it.proposal.key;
            let server = Some(&key.server).filter(|server| **server != key.client);
            for end in std::iter::once(&key.client).chain(server) {
                *open.entry(end).or_default() += 1;
            }
        }
    }
    let of = |workload: &str| {
        let seen = parts.get(workload).into_iter().flatten().copied();
        let waiting = open.get(workload).copied().unwrap_or(0);
        message(workload, coverage(seen, review.newest_us), waiting)
    };
    workloads.into_iter().map(of).collect()
}

fn message(workload: &str, found: Coverage, waiting: u64) -> v1::Coverage {
    let mut missing = found.missing;
    if waiting > 0 {
        let verb = if waiting == 1 {
            "proposal waits"
        } else {
            "proposals wait"
        };
        missing.push(format!("{waiting} {verb} for an answer"));
    }
    v1::Coverage {
        workload: workload.to_owned(),
        next_is_new: found.next_is_new,
        connections: found.connections,
        ready: missing.is_empty(),
        lower: found.lower,
        upper: found.upper,
        next_day_is_new: found.next_day_is_new,
        conversations: found.conversations,
        days: found.days,
        missing,
    }
}
