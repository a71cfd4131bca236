//! The documents: listed, applied, exported.

use std::collections::BTreeMap;
use std::sync::Arc;

use tonic::Status;
use weir_api::v1;
use weir_compile::compile;
use weir_learn::allowlists;
use weir_model::{
    Allowlist, Document, Kind, Located, Problem, Reference, Selector, Stage, to_yaml,
};
use weir_policy::{Change, Snapshot};
use weir_sources::{Plan, PolicyFile};

use crate::operator::learn::accepted;
use crate::policy::{blocking, problem_message};
use crate::source::Source;
use crate::state::State;
use crate::view::Published;

/// Every document, by kind and name.
pub async fn list(state: &Arc<State>) -> v1::PolicyListReply {
    let policy = state.policy().await;
    let refused = !state.own_problems().is_empty();
    let hits = state.observed.hits();
    let drafts = state.observed.drafts(&policy.documents);
    let view = |located: &Arc<Located<Document>>| {
        let metadata = located.value.metadata();
        let (rules, targets) = match &located.value {
            Document::Allowlist(Allowlist { spec, .. })
            | Document::ClusterAllowlist(Allowlist { spec, .. }) => {
                let rules = spec.ingress.len() + spec.egress.len();
                let rules = u32::try_from(rules).unwrap_or(u32::MAX);
                (rules, spec.target.to_string())
            }
            Document::Mode(mode) => (0, mode.spec.target.to_string()),
            Document::Service(service) => (0, names(&service.spec.workloads)),
            Document::Sensor(sensor) => {
                let target = sensor.spec.target.as_ref();
                (
                    0,
                    target.map_or_else(|| "every connection".to_owned(), Selector::to_string),
                )
            }
            Document::ThreatPolicy(policy) => (0, policy.spec.target.to_string()),
            Document::ResponseRule(rule) => {
                let target = rule.spec.target.as_ref();
                (0, target.map_or_else(String::new, Selector::to_string))
            }
            Document::Workload(_)
            | Document::Namespace(_)
            | Document::Settings(_)
            | Document::Guardrail(_)
            | Document::LearnedProfile(_) => (0, String::new()),
        };
        let draft = drafts.get(&located.value.title()).copied();
        let stands = match (refused, draft) {
            (true, _) => "last good",
            (false, Some(_)) => "draft",
            (false, None) => "enforced",
        };
        let draft = draft.unwrap_or_default();
        v1::PolicyView {
            kind: located.value.kind().name().to_owned(),
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
            file: located.place(),
            rules,
            targets,
            state: stands.to_owned(),
            hits: hits
                .get(&located.value.title())
                .copied()
                .unwrap_or(draft.hits),
            stage: stage(&located.value).to_owned(),
            would_allow: draft.would_allow,
            would_deny: draft.would_deny,
        }
    };
    let mut policies: Vec<v1::PolicyView> = policy.documents.iter().map(view).collect();
    let key =
        |view: &v1::PolicyView| (view.kind.clone(), view.namespace.clone(), view.name.clone());
    policies.sort_by_key(key);
    v1::PolicyListReply { policies }
}

/// Checks documents and writes them, all or none.
pub async fn apply(
    state: &Arc<State>,
    request: v1::PolicyApplyRequest,
) -> Result<v1::PolicyApplyReply, Status> {
    let file = |file: v1::PolicyFile| PolicyFile {
        name: file.name,
        content: file.content,
    };
    let files: Vec<PolicyFile> = request.files.into_iter().map(file).collect();
    state
        .source
        .writable(|| kubectl_apply(&files, request.dry_run))?;
    let turn = state.changing.lock().await;
    let (planning, policy) = (state.clone(), state.policy().await);
    let planned = blocking(move || {
        let Source::Files(source) = &planning.source else {
            return Err(Vec::new());
        };
        let plan = source
            .plan(&files)
            .map_err(weir_sources::WriteError::into_problems)?;
        let changes = judge(&planning, &policy, &plan)?;
        Ok::<_, Vec<Problem>>((plan, changes))
    })
    .await;
    let (plan, mut reply) = match planned {
        Ok((plan, changes)) => {
            let reply = v1::PolicyApplyReply {
                accepted: true,
                policy_version: state.version(),
                changed: plan.changed().to_vec(),
                ..changes
            };
            (plan, reply)
        }
        Err(problems) => return Ok(refused(state, &problems)),
    };
    if !request.dry_run {
        match write(state, plan).await {
            Ok(version) => reply.policy_version = version,
            Err(problems) => return Ok(refused(state, &problems)),
        }
    }
    drop(turn);
    Ok(reply)
}

/// What says the same to kubectl.
fn kubectl_apply(files: &[PolicyFile], dry_run: bool) -> String {
    let dry_run = if dry_run { " --dry-run=server" } else { "" };
    let files: Vec<String> = files
        .iter()
        .map(|file| format!(" -f {:?}", file.name))
        .collect();
    format!("`kubectl apply{dry_run}{}`", files.concat())
}

/// The documents as they stand, or those that follow from what was accepted.
pub async fn export(
    state: &Arc<State>,
    request: &v1::PolicyExportRequest,
) -> Result<v1::PolicyExportReply, Status> {
    if request.learned {
        return Ok(v1::PolicyExportReply {
            files: learned_files(state).await?,
        });
    }
    let documents = state.pipeline.documents();
    let mut files: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for located in documents.iter() {
        files
            .entry(&located.file)
            .or_default()
            .push(to_yaml(&located.value));
    }
    let file = |(name, documents): (&str, Vec<String>)| v1::PolicyFile {
        name: name.to_owned(),
        content: documents.join("---\n"),
    };
    Ok(v1::PolicyExportReply {
        files: files.into_iter().map(file).collect(),
    })
}

/// The allowlists that follow from what was accepted.
pub async fn learned_files(state: &Arc<State>) -> Result<Vec<v1::PolicyFile>, Status> {
    let accepted = accepted(state).await?;
    let documents = state.pipeline.documents_of(Kind::Allowlist);
    let learned = allowlists(&accepted)
        .into_iter()
        .map(|learned| beside(&documents, learned));
    let file = |learned: Allowlist| v1::PolicyFile {
        name: format!(
            "{}-{}.yaml",
            learned.metadata.namespace, learned.metadata.name
        ),
        content: to_yaml(&Document::Allowlist(learned)),
    };
    Ok(learned.map(file).collect())
}

/// Carries a plan out and publishes what came of it.
pub async fn write(state: &Arc<State>, plan: Plan) -> Result<u64, Vec<Problem>> {
    let writing = state.clone();
    let written = blocking(move || match &writing.source {
        Source::Files(source) => source.write(&plan),
        // Nothing plans to write there.
        Source::Kubernetes(_) => Ok(weir_sources::State::default()),
    });
    let written = written
        .await
        .map_err(weir_sources::WriteError::into_problems)?;
    state.take(written).await.map_err(|error| match error {
        crate::policy::PublishError::Documents(problems) => problems,
        other => vec![Problem::of_file("", other.to_string(), "")],
    })
}

/// What a plan's documents come to, compared with what is published.
fn judge(
    state: &State,
    policy: &Published,
    plan: &Plan,
) -> Result<v1::PolicyApplyReply, Vec<Problem>> {
    let advised = state.judge(plan.documents())?;
    let mut compiled = compile(plan.documents(), Some(&state.assignments()));
    if !compiled.problems.is_empty() {
        return Err(compiled.problems);
    }
    compiled.warnings.extend(advised);
    let next = Snapshot::build(compiled.spec).map_err(|error| {
        let next = "this is a mistake in the compiler; please report it with the documents";
        vec![Problem::of_file("", error.to_string(), next)]
    })?;
    let change = |change: weir_policy::PolicyChange| v1::PolicyChange {
        change: match change.change {
            Change::Added => "added",
            Change::Removed => "removed",
            Change::Altered => "altered",
        }
        .to_owned(),
        rule: change.rule,
        weakens: change.weakens,
    };
    Ok(v1::PolicyApplyReply {
        changes: policy
            .snapshot
            .diff(&next)
            .into_iter()
            .map(change)
            .collect(),
        problems: compiled
            .warnings
            .iter()
            .map(|problem| problem_message(problem, true))
            .collect(),
        ..Default::default()
    })
}

fn refused(state: &State, problems: &[Problem]) -> v1::PolicyApplyReply {
    v1::PolicyApplyReply {
        accepted: false,
        policy_version: state.version(),
        problems: problems
            .iter()
            .map(|problem| problem_message(problem, false))
            .collect(),
        ..Default::default()
    }
}

/// A learned allowlist under a name that takes nothing away: that of the workload where no document
/// has it or all of that document's rules are in the learned one, another where a person wrote more.
fn beside(documents: &[Arc<Located<Document>>], mut learned: Allowlist) -> Allowlist {
    let same_name = |located: &&Arc<Located<Document>>| match &located.value {
        Document::Allowlist(stands) => stands.metadata.full_name() == learned.metadata.full_name(),
        _ => false,
    };
    if let Some(Document::Allowlist(stands)) = documents.iter().find(same_name).map(|it| &it.value)
    {
        let contained = stands.spec.target == learned.spec.target
            && stands
                .spec
                .ingress
                .iter()
                .all(|rule| covered(rule, &learned.spec.ingress))
            && stands
                .spec
                .egress
                .iter()
                .all(|rule| covered(rule, &learned.spec.egress));
        if contained {
            learned.metadata.labels.clone_from(&stands.metadata.labels);
            learned
                .metadata
                .annotations
                .clone_from(&stands.metadata.annotations);
        } else {
            learned.metadata.name.push_str("-learned");
        }
    }
    learned
}

/// Whether one of the rules says all that this rule says.
fn covered(rule: &weir_model::Rule, rules: &[weir_model::Rule]) -> bool {
    rules.iter().any(|other| {
        let peers = rule.peers.iter().all(|peer| other.peers.contains(peer));
        peers
            && weir_model::Rule {
                peers: rule.peers.clone(),
                ..other.clone()
            } == *rule
    })
}

fn names(references: &[Reference]) -> String {
    let names: Vec<String> = references.iter().map(Reference::to_string).collect();
    names.join(", ")
}

/// Of an allowlist, how far it goes; empty where it does not say.
fn stage(document: &Document) -> &'static str {
    let (Document::Allowlist(it) | Document::ClusterAllowlist(it)) = document else {
        return "";
    };
    match it.spec.stage {
        None => "",
        Some(Stage::Draft) => "draft",
        Some(Stage::Monitor) => "monitor",
        Some(Stage::Protect) => "protect",
    }
}
