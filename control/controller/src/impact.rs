//! What a policy would have done to what was seen: dropped or not, conversation by conversation.
//!
//! Pure: it is given a policy, conversations, and the records that are still kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_api::v1;
use weir_learn::{Conversation, ConversationKey};
use weir_policy::spec::{Action, Mode};
use weir_policy::{Certainty, Decider, Decision, Question, Snapshot, WireAction};

use crate::judge::Ends;
use crate::observe::server_port;

/// Records that are asked for requests; the newest.
const REQUESTS_MAX: usize = 20_000;

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// From that day on, counted from 1970.
    pub since_day: u32,
    /// Only conversations with this workload; empty for all.
    pub workload: &'a str,
}

/// What would have happened.
#[derive(Debug, Default)]
pub struct Impact {
    /// What would have been dropped, by who decides, then the most connections first.
    pub rows: Vec<Row>,
    /// Conversations looked at.
    pub conversations: u64,
    /// Their connections in these days.
    pub connections: u64,
    /// Connections that rules would have denied, but that a more permissive mode of the other end would
    /// have let pass, by that end.
    pub let_pass: BTreeMap<String, u64>,
    /// Conversations that are allowed request by request.
    pub by_request: u64,
}

/// A conversation that would have been dropped, whole or in part.
#[derive(Debug)]
pub struct Row {
    /// Which.
    pub key: ConversationKey,
    /// The rule or default that decides.
    pub decider: String,
    /// Whose policy it is; empty where nobody's.
    pub workload: String,
    /// In these days.
    pub connections: u64,
    /// On how many of them.
    pub days: u32,
    /// The last one.
    pub last_seen_us: u64,
    /// Where single requests would have been dropped: the last of those that are still known, and how
    /// many.
    pub requests: Option<(String, u64)>,
}

/// The policy with this mode in place of those that workloads have: of all of them, or of one.
pub fn with_mode(snapshot: &Snapshot, mode: Mode, workload: &str) -> Result<Snapshot, String> {
    let mut spec = snapshot.spec().clone();
    let managed = spec.identities.iter_mut().filter(|it| it.managed);
    for identity in managed.filter(|it| workload.is_empty() || it.name == workload) {
        identity.mode = mode;
    }
    Snapshot::build(spec).map_err(|error| error.to_string())
}

/// What the policy would have done.
pub fn impact(
    snapshot: &Snapshot,
    conversations: &[(ConversationKey, Conversation)],
    recent: &[Arc<v1::FlowView>],
    scope: Scope<'_>,
) -> Impact {
    let ends = Ends::of(snapshot);
    let mut found = Impact::default();
    let mut asked: BTreeSet<&ConversationKey> = BTreeSet::new();
    let mut parts: BTreeMap<&ConversationKey, &Conversation> = BTreeMap::new();
    for (key, seen) in conversations {
        let wanted = [&key.client, &key.server].contains(&&scope.workload.to_owned());
        let days = seen.activity.since(scope.since_day);
        let is_recent = seen.days.last() >= scope.since_day;
        if !is_recent || !(scope.workload.is_empty() || wanted) {
            continue;
        }
        found.conversations += 1;
        found.connections += days.connections;
        let decision = match ends.decide(snapshot, key) {
            Ok(decision) => decision,
            // It is gone: nothing of it will be dropped.
            Err(_) => continue,
        };
        parts.insert(key, seen);
        if decision.certainty == Certainty::PerRequest {
            found.by_request += 1;
            asked.insert(key);
        }
        if decision.wire_action != WireAction::Forward {
            let row = row(snapshot, key, seen, &decision, scope);
            found.rows.push(row);
        } else if decision.rule_action == Action::Deny && decision.mode != Mode::Protect {
            let permissive = [&key.client, &key.server].into_iter().find(|name| {
                let identity = snapshot
                    .identity_by_name(name)
                    .and_then(|id| snapshot.identity(id));
                identity.is_some_and(|it| it.managed && it.mode == decision.mode)
            });
            if let Some(name) = permissive {
                *found.let_pass.entry(name.clone()).or_default() += days.connections;
            }
        }
    }
    let refused = requests(snapshot, &ends, recent, &asked);
    for (key, (decision, request, count)) in refused {
        let Some((key, seen)) = parts.get_key_value(&key) else {
            continue;
        };
        let mut row = row(snapshot, key, seen, &decision, scope);
        row.requests = Some((request, count));
        found.rows.push(row);
    }
    found.rows.sort_by(|one, other| {
        (&one.workload, &one.decider, other.connections, &one.key).cmp(&(
            &other.workload,
            &other.decider,
            one.connections,
            &other.key,
        ))
    });
    found
}

fn row(
    snapshot: &Snapshot,
    key: &ConversationKey,
    seen: &Conversation,
    decision: &Decision,
    scope: Scope<'_>,
) -> Row {
    let decider = snapshot.rule_name(decision.decider).into_owned();
    let workload = match decision.decider {
        Decider::Default(identity) | Decider::Quarantine(identity) => {
            snapshot.identity_name(identity).to_owned()
        }
        // "allowlist shop/photo-db ingress[0]".
        _ => decider.split(' ').nth(1).unwrap_or_default().to_owned(),
    };
    let days = seen
        .days
        .newest_first()
        .take_while(|day| *day >= scope.since_day);
    Row {
        key: key.clone(),
        workload,
        decider,
        connections: seen.activity.since(scope.since_day).connections,
        days: u32::try_from(days.count()).unwrap_or(u32::MAX),
        last_seen_us: seen.last_seen_us,
        requests: None,
    }
}

/// Requests of these conversations that would have been dropped, as far as their records are kept.
fn requests(
    snapshot: &Snapshot,
    ends: &Ends,
    recent: &[Arc<v1::FlowView>],
    asked: &BTreeSet<&ConversationKey>,
) -> BTreeMap<ConversationKey, (Decision, String, u64)> {
    let mut refused: BTreeMap<ConversationKey, (Decision, String, u64)> = BTreeMap::new();
    if asked.is_empty() {
        return refused;
    }
    let with_fields = recent.iter().rev().filter_map(|view| {
        let record = view.record.as_ref()?;
        (!record.fields.is_empty()).then_some((view, record))
    });
    for (view, record) in with_fields.take(REQUESTS_MAX) {
        let key = ConversationKey {
            client: view.client.clone(),
            server: view.server.clone(),
            application: record.application.clone(),
            port: server_port(record),
            protocol: u8::try_from(record.protocol).unwrap_or_default(),
        };
        if !asked.contains(&key) {
            continue;
        }
        let Ok(question) = ends.question(snapshot, &key) else {
            continue;
        };
        let fields = weir_api::request_fields(&record.fields, &record.application);
        let decision = snapshot.decide(&Question {
            request: Some(&fields),
            ..question
        });
        if decision.wire_action != WireAction::Forward {
            let known = refused.entry(key);
            known.or_insert((decision, record.detail.clone(), 0)).2 += 1;
        }
    }
    refused
}
