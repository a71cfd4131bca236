//! What was seen: flow by flow, and as conversations.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use weir_api::v1;
use weir_learn::{Conversation, ConversationKey};
use weir_policy::spec::Action;

use crate::connections::News;
use crate::flows::{Filter, RECENT_MAX, names};
use crate::policy::Published;
use crate::state::State;

/// Records on their way to one reader.
const SENDING_MAX: usize = 256;
/// Without a limit in the request.
const LIMIT_DEFAULT: usize = 100;

/// The newest record of each recent connection, and with `follow` what changes; or every record.
pub fn flows(
    state: &Arc<State>,
    request: &v1::FlowsRequest,
) -> Result<ReceiverStream<Result<v1::FlowView, Status>>, Status> {
    let filter = Filter::of(request).map_err(Status::invalid_argument)?;
    let limit = match usize::try_from(request.limit) {
        Ok(0) | Err(_) => LIMIT_DEFAULT,
        Ok(limit) => limit.min(RECENT_MAX),
    };
    let follow = request.follow;
    let (recent, mut live) = state.observed.recent_and_live(&filter, limit);
    let mut stopping = state.stopping();
    let (sender, stream) = mpsc::channel(SENDING_MAX);
    tokio::spawn(async move {
        let mut news = News::default();
        for view in recent {
            news.is_new(&view);
            if sender.send(Ok(v1::FlowView::clone(&view))).await.is_err() {
                return;
            }
        }
        if !follow {
            return;
        }
        let mut skipped = 0;
        loop {
            let next = tokio::select! {
                next = live.recv() => next,
                () = sender.closed() => return,
                _ = stopping.wait_for(|stopping| *stopping) => return,
            };
            match next {
                Ok(view) if filter.matches(&view) && (filter.every || news.is_new(&view)) => {
                    let view = v1::FlowView {
                        skipped,
                        ..v1::FlowView::clone(&view)
                    };
                    skipped = 0;
                    if sender.send(Ok(view)).await.is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                Err(RecvError::Lagged(number)) => skipped += number,
                Err(RecvError::Closed) => return,
            }
        }
    });
    Ok(ReceiverStream::new(stream))
}

/// The conversations, each with what the policy says of it now.
pub fn map(state: &State, request: &v1::MapRequest) -> v1::MapReply {
    let policy = state.policy();
    let wanted = |(key, _): &(&ConversationKey, &Conversation)| {
        let workload = &request.workload;
        workload.is_empty() || names(workload, &key.client) || names(workload, &key.server)
    };
    let mut conversations: Vec<(ConversationKey, Conversation)> =
        state.observed.with_conversations(|all| {
            all.iter()
                .filter(wanted)
                .map(|(key, seen)| (key.clone(), seen.clone()))
                .collect()
        });
    conversations.sort_by(|one, other| one.0.cmp(&other.0));
    let view = |(key, seen)| view(&policy, key, &seen);
    v1::MapReply {
        conversations: conversations.into_iter().map(view).collect(),
    }
}

fn view(policy: &Published, key: ConversationKey, seen: &Conversation) -> v1::ConversationView {
    let (action, decider) = policy.judge(&key);
    v1::ConversationView {
        client: key.client,
        server: key.server,
        application: key.application,
        port: key.port.into(),
        protocol: key.protocol.into(),
        connections: seen.connections,
        bytes: seen.bytes,
        first_seen_unix_us: seen.first_seen_us,
        last_seen_unix_us: seen.last_seen_us,
        days: seen.days.count(),
        denied: seen.denied,
        would_deny: seen.would_deny,
        allowed: action == Action::Allow,
        decider,
    }
}
