//! `weir apps`: the registry, as this version has it, and how often each application was seen. The
//! registry is printed without a controller too.

use std::collections::BTreeMap;

use serde::Serialize;
use weir_api::v1;
use weir_l7::{FieldKind, Seen, Transport, registry};

use crate::Answer;
use crate::args::Controller;
use crate::error::Failure;
use crate::output::{Output, Page, Tone, View};
use crate::text;

#[derive(Serialize)]
struct Applications {
    applications: Vec<Application>,
    /// Conversations without an application: none was recognised, or nothing was said.
    unknown_conversations: Option<u64>,
    /// Why there are no counts.
    #[serde(skip)]
    uncounted: Option<String>,
}

#[derive(Serialize)]
struct Application {
    name: &'static str,
    about: &'static str,
    transports: Vec<String>,
    ports: Vec<u16>,
    /// What its parser was shown to work on.
    seen: &'static str,
    /// What it is a special case of.
    refines: Option<&'static str>,
    /// Kept by the controller; None where there is no controller to ask.
    conversations: Option<u64>,
    fields: Vec<FieldView>,
}

#[derive(Serialize)]
struct FieldView {
    name: String,
    kind: &'static str,
    condition: bool,
    about: &'static str,
}

impl View for Applications {
    fn table(&self, page: &mut Page) {
        let row = |application: &Application| {
            let ports: Vec<String> = application.ports.iter().map(u16::to_string).collect();
            let conditions = application.fields.iter().filter(|field| field.condition);
            let conditions: Vec<&str> = conditions.map(|field| field.name.as_str()).collect();
            let cells = vec![
                application.name.to_owned(),
                application.transports.join(" "),
                ports.join(" "),
                application
                    .conversations
                    .map_or("-".to_owned(), |count| count.to_string()),
                application.seen.to_owned(),
                conditions.join(" "),
                application.about.to_owned(),
            ];
            (Tone::Plain, cells)
        };
        let headers = [
            "application",
            "over",
            "usual ports",
            "conversations",
            "seen",
            "conditions on",
            "about",
        ];
        page.columns(
            &headers,
            self.applications.iter().map(row).collect(),
            "no applications",
        );
        page.gap();
        if let Some(count) = self.unknown_conversations {
            let conversations = text::count(count, "conversation");
            page.line(format!("{conversations} without a known application"));
        }
        if let Some(why) = &self.uncounted {
            page.line(format!("conversations are not counted: {why}"));
        }
    }
}

/// Asks, where there is somebody to ask, and prints.
pub async fn run(controller: Controller, output: &mut Output) -> Result<Answer, Failure> {
    let (counts, uncounted) = match conversations(controller).await {
        Ok(counts) => (Some(counts), None),
        Err(failure @ Failure::Usage(_)) => return Err(failure),
        Err(failure) => (None, Some(failure.to_string())),
    };
    let rows = registry::applications().iter();
    let mut applications: Vec<_> = rows
        .map(|info| application(info, counts.as_ref()))
        .collect();
    applications.sort_by_key(|application| application.name);
    output.print(&Applications {
        applications,
        unknown_conversations: counts.map(|counts| {
            let unknown = counts.iter();
            unknown
                .filter(|(name, _)| matches!(name.as_str(), "" | "unknown"))
                .map(|(_, count)| count)
                .sum()
        }),
        uncounted,
    })?;
    Ok(Answer::Yes)
}

/// Conversations by application.
async fn conversations(controller: Controller) -> Result<BTreeMap<String, u64>, Failure> {
    let mut client = controller.connect().await?;
    let reply = client.map(v1::MapRequest::default()).await?.into_inner();
    let mut counts = BTreeMap::new();
    for conversation in reply.conversations {
        *counts.entry(conversation.application).or_default() += 1;
    }
    Ok(counts)
}

fn application(
    info: &registry::ApplicationInfo,
    counts: Option<&BTreeMap<String, u64>>,
) -> Application {
    let transport = |transport: &Transport| transport.name().to_lowercase();
    let field = |field: &weir_l7::FieldSpec| FieldView {
        name: format!("{}.{}", info.name, field.name),
        kind: match field.kind {
            FieldKind::Text => "text",
            FieldKind::Number => "number",
            FieldKind::Address => "address",
        },
        condition: field.condition,
        about: field.about,
    };
    Application {
        name: info.name,
        about: info.about,
        transports: info.transports.iter().map(transport).collect(),
        ports: info.ports.to_vec(),
        seen: match info.seen {
            Seen::Live => "live",
            Seen::Captures => "captures",
            Seen::Specification => "specification",
        },
        refines: info.refines,
        conversations: counts.map(|counts| counts.get(info.name).copied().unwrap_or(0)),
        fields: info.fields.iter().map(field).collect(),
    }
}
