//! `weir map`: who speaks to whom.

use serde::Serialize;
use weir_api::v1;

use crate::Answer;
use crate::args::Client;
use crate::error::Failure;
use crate::output::{Output, Page, Tone, View};
use crate::text;

#[derive(Serialize)]
struct Map {
    conversations: Vec<ConversationView>,
}

#[derive(Serialize)]
struct ConversationView {
    client: String,
    server: String,
    application: String,
    port: u32,
    protocol: String,
    connections: u64,
    bytes: u64,
    first_seen: String,
    last_seen: String,
    days: u32,
    denied: u64,
    would_deny: u64,
    alerts: u64,
    allowed: bool,
    decider: String,
    #[serde(skip)]
    service: String,
    #[serde(skip)]
    last_seen_ago: String,
}

impl View for Map {
    fn table(&self, page: &mut Page) {
        let row = |conversation: &ConversationView| {
            let application = match conversation.application.as_str() {
                "" => format!("{} (no data)", conversation.protocol),
                name => name.to_owned(),
            };
            let (tone, policy) = match conversation.allowed {
                true => (Tone::Plain, "allows"),
                false => (Tone::Warning, "denies"),
            };
            let cells = vec![
                conversation.client.clone(),
                conversation.server.clone(),
                application,
                conversation.service.clone(),
                conversation.connections.to_string(),
                text::bytes(conversation.bytes),
                conversation.denied.to_string(),
                conversation.would_deny.to_string(),
                conversation.alerts.to_string(),
                conversation.last_seen_ago.clone(),
                format!("{policy}: {}", conversation.decider),
            ];
            (tone, cells)
        };
        let headers = [
            "client",
            "server",
            "application",
            "port",
            "connections",
            "bytes",
            "denied",
            "would deny",
            "alerts",
            "last seen",
            "policy",
        ];
        page.columns(
            &headers,
            self.conversations.iter().map(row).collect(),
            "nothing seen yet",
        );
    }
}

/// Asks and prints.
pub async fn run(
    client: &mut Client,
    workload: Option<String>,
    output: &mut Output,
) -> Result<Answer, Failure> {
    let request = v1::MapRequest {
        workload: workload.unwrap_or_default(),
    };
    let reply = client.map(request).await?.into_inner();
    let view = |conversation: v1::ConversationView| ConversationView {
        client: conversation.client,
        server: conversation.server,
        application: conversation.application,
        service: text::service(conversation.port, conversation.protocol),
        port: conversation.port,
        protocol: text::protocol(conversation.protocol),
        connections: conversation.connections,
        bytes: conversation.bytes,
        first_seen: text::time(conversation.first_seen_unix_us),
        last_seen: text::time(conversation.last_seen_unix_us),
        last_seen_ago: text::ago(conversation.last_seen_unix_us),
        days: conversation.days,
        denied: conversation.denied,
        would_deny: conversation.would_deny,
        alerts: conversation.alerts,
        allowed: conversation.allowed,
        decider: conversation.decider,
    };
    output.print(&Map {
        conversations: reply.conversations.into_iter().map(view).collect(),
    })?;
    Ok(Answer::Yes)
}
