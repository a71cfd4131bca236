//! What was seen: flow by flow, and as conversations.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use weir_api::v1;
use weir_learn::{Conversation, ConversationKey};
use weir_policy::spec::Action;

use crate::connections::News;
use crate::flows::{Filter, RECENT_MAX, names};
use crate::state::State;
use crate::view::Published;

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
    let limit = limit(request.limit, RECENT_MAX);
    let (recent, live) = state.observed.recent_and_live(&filter, limit);
    let mut news = News::default();
    for view in &recent {
        news.is_new(view);
    }
    let live = request.follow.then_some(live);
    Ok(send(state, recent, live, move |view| {
        filter.matches(view) && (filter.every || news.is_new(view))
    }))
}

/// The limit of a request, up to what is kept.
pub fn limit(asked: u32, max: usize) -> usize {
    match usize::try_from(asked) {
        Ok(0) | Err(_) => LIMIT_DEFAULT,
        Ok(limit) => limit.min(max),
    }
}

/// Sends what was, and then what comes and is wanted, until the reader or the controller ends.
pub fn send(
    state: &State,
    recent: Vec<Arc<v1::FlowView>>,
    live: Option<broadcast::Receiver<Arc<v1::FlowView>>>,
    mut wanted: impl FnMut(&v1::FlowView) -> bool + Send + 'static,
) -> ReceiverStream<Result<v1::FlowView, Status>> {
    let mut stopping = state.stopping();
    let (sender, stream) = mpsc::channel(SENDING_MAX);
    tokio::spawn(async move {
        for view in recent {
            if sender.send(Ok(v1::FlowView::clone(&view))).await.is_err() {
                return;
            }
        }
        let Some(mut live) = live else { return };
        let mut skipped = 0;
        loop {
            let next = tokio::select! {
                next = live.recv() => next,
                () = sender.closed() => return,
                _ = stopping.wait_for(|stopping| *stopping) => return,
            };
            match next {
                Ok(view) if wanted(&view) => {
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
    ReceiverStream::new(stream)
}

/// The conversations, each with what the policy says of it now.
pub fn map(state: &State, policy: &Published, request: &v1::MapRequest) -> v1::MapReply {
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
    let view = |(key, seen)| view(policy, key, &seen);
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
        alerts: seen.alerts,
        allowed: action == Action::Allow,
        decider,
    }
}
