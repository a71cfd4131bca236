//! What would have been dropped, had a policy been in force.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tonic::Status;
use weir_api::v1;
use weir_learn::{ACTIVITY_DAYS_MAX, ConversationKey, DAY_US, day_of};
use weir_model::{Document, Located, Problem, parse_documents};
use weir_policy::Snapshot;
use weir_policy::spec::Mode;
use weir_sources::DocumentKey;

use crate::conversation::Conversations;
use crate::drafts::enforced;
use crate::flows::names;
use crate::impact::{Impact, Row, Scope, impact, with_mode};
use crate::operator::learn::{Review, look};
use crate::policy::{blocking, problem_message};
use crate::state::State;
use crate::view::{Documents, Published};

/// Without a number of days in the request.
const DAYS_DEFAULT: u32 = 7;

/// What would have been dropped in the last days.
pub async fn policy_impact(
    state: &Arc<State>,
    request: v1::PolicyImpactRequest,
) -> Result<v1::PolicyImpactReply, Status> {
    let days = days(request.days)?;
    let mode = match request.mode() {
        v1::Mode::Unspecified => None,
        _ => {
            let mode = weir_api::mode_from_message(request.mode, "mode");
            Some(mode.map_err(|error| Status::invalid_argument(error.to_string()))?)
        }
    };
    let published = state.policy().await;
    let workload = full_name(&published, &request.workload)?;
    let review = look(state).await?;
    let state = state.clone();
    blocking(move || {
        let look = |all: &Conversations| (all.all(), all.newest_us());
        let (conversations, newest_us) = state.observed.with_conversations(look);
        let scope = Scope {
            since_day: day_of(newest_us).saturating_sub(days - 1),
            workload: &workload,
        };
        let snapshot = match policy(&state, &published, &request, mode, &workload) {
            Ok(snapshot) => snapshot,
            Err(problems) => {
                let problems = problems
                    .iter()
                    .map(|problem| problem_message(problem, false));
                return Ok(v1::PolicyImpactReply {
                    problems: problems.collect(),
                    ..Default::default()
                });
            }
        };
        let found = impact(&snapshot, &conversations, &state.observed.recent(), scope);
        Ok(reply(found, scope, &review, &workload))
    })
    .await
}

fn days(asked: u32) -> Result<u32, Status> {
    let most = u32::try_from(ACTIVITY_DAYS_MAX).unwrap_or(u32::MAX);
    match asked {
        0 => Ok(DAYS_DEFAULT),
        days if days <= most => Ok(days),
        days => Err(Status::invalid_argument(format!(
            "what was seen is counted by day for {most} days, not for {days}"
        ))),
    }
}

fn full_name(policy: &Published, written: &str) -> Result<String, Status> {
    if written.is_empty() {
        return Ok(String::new());
    }
    let identities = policy.snapshot.spec().identities.iter();
    let mut found: Vec<&str> = identities
        .filter(|it| it.managed && names(written, &it.name))
        .map(|it| it.name.as_str())
        .collect();
    found.sort_unstable();
    found.dedup();
    match found.as_slice() {
        [name] => Ok((*name).to_owned()),
        [] => Err(Status::not_found(format!(
            "there is no workload {written:?}; `weir status` lists them"
        ))),
        several => Err(Status::invalid_argument(format!(
            "{written:?} is in several namespaces; write one of {}",
            several.join(", ")
        ))),
    }
}

/// The policy that is asked about.
fn policy(
    state: &State,
    published: &Published,
    request: &v1::PolicyImpactRequest,
    mode: Option<Mode>,
    workload: &str,
) -> Result<Snapshot, Vec<Problem>> {
    let other = |problem: String| vec![Problem::of_file("", problem, "")];
    if request.files.is_empty() && !request.drafts {
        let mode = mode.map(|mode| with_mode(&published.snapshot, mode, workload));
        return match mode {
            Some(changed) => changed.map_err(other),
            None => Snapshot::build(published.snapshot.spec().clone())
                .map_err(|error| other(error.to_string())),
        };
    }
    let documents = documents(request, &published.documents)?;
    let documents = match request.drafts {
        true => enforced(documents.into_iter()),
        false => documents,
    };
    let compiled = weir_compile::compile(&documents, Some(&state.assignments())).checked()?;
    let snapshot = Snapshot::build(compiled.spec).map_err(|error| other(error.to_string()))?;
    match mode {
        Some(mode) => with_mode(&snapshot, mode, workload).map_err(other),
        None => Ok(snapshot),
    }
}

/// The documents as they stand, with those of the request in place of their namesakes.
fn documents(
    request: &v1::PolicyImpactRequest,
    standing: &Documents,
) -> Result<Vec<Located<Document>>, Vec<Problem>> {
    let mut documents: BTreeMap<DocumentKey, Located<Document>> = BTreeMap::new();
    for located in standing.iter() {
        documents.insert(DocumentKey::of(&located.value), (**located).clone());
    }
    let mut problems = Vec::new();
    for file in &request.files {
        let (found, mistakes) = parse_documents(&file.name, &file.content);
        problems.extend(mistakes);
        for located in found {
            documents.insert(DocumentKey::of(&located.value), located);
        }
    }
    match problems.is_empty() {
        true => Ok(documents.into_values().collect()),
        false => Err(problems),
    }
}

fn reply(
    found: Impact,
    scope: Scope<'_>,
    review: &Review,
    workload: &str,
) -> v1::PolicyImpactReply {
    let by_key: HashMap<&ConversationKey, _> = review
        .proposals
        .iter()
        .map(|it| (&it.proposal.key, it))
        .collect();
    let whole = || found.rows.iter().filter(|row| row.requests.is_none());
    let row = |row: &Row| {
        let proposal = by_key.get(&row.key);
        let (request, requests) = row.requests.clone().unwrap_or_default();
        v1::ImpactRow {
            decider: row.decider.clone(),
            workload: row.workload.clone(),
            client: row.key.client.clone(),
            server: row.key.server.clone(),
            application: row.key.application.clone(),
            port: row.key.port.into(),
            protocol: row.key.protocol.into(),
            connections: row.connections,
            days: row.days,
            last_seen_unix_us: row.last_seen_us,
            proposal: proposal.map_or_else(String::new, |it| it.proposal.key.id()),
            confidence: proposal.map_or(0.0, |it| it.proposal.confidence),
            state: proposal.map_or_else(String::new, |it| it.stance.name().to_owned()),
            request,
            requests,
        }
    };
    v1::PolicyImpactReply {
        rows: found.rows.iter().map(row).collect(),
        since_unix_us: u64::from(scope.since_day) * DAY_US,
        conversations: found.conversations,
        connections: found.connections,
        dropped_conversations: whole().count() as u64,
        dropped_connections: whole().map(|row| row.connections).sum(),
        problems: Vec::new(),
        notes: notes(&found, workload),
    }
}

/// What the figures cannot say.
fn notes(found: &Impact, workload: &str) -> Vec<String> {
    let mut notes = Vec::new();
    for (name, connections) in &found.let_pass {
        if name != workload {
            notes.push(format!(
                "{connections} connections are denied by rules but pass, since {name} is in a more permissive mode"
            ));
        }
    }
    if found.by_request > 0 {
        notes.push(format!(
            "{} conversations are allowed request by request: of requests, those are known that were \
denied or would have been, while their records are kept",
            found.by_request
        ));
    }
    notes
}
