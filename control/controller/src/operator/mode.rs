//! How far policy goes for a workload.

use std::sync::Arc;

use tonic::Status;
use weir_api::v1;
use weir_compile::compile;
use weir_model::{Document, Kind, Mode, Problem, Reference};
use weir_policy::spec;
use weir_sources::Plan;

use crate::operator::policy::write;
use crate::operator::status::workloads;
use crate::policy::blocking;
use crate::source::{Source, mode_documents};
use crate::state::State;
use crate::view::Published;

/// The modes of all workloads, or of those with this name.
pub async fn get(
    state: &Arc<State>,
    request: &v1::ModeGetRequest,
) -> Result<v1::ModeReply, Status> {
    let policy = state.policy().await;
    let workloads = match request.workload.as_str() {
        "" => workloads(state, &policy, ""),
        name => named(state, &policy, &[name.to_owned()])?,
    };
    Ok(v1::ModeReply { workloads })
}

/// Writes the mode of all the workloads into the source's documents, in one version. Refused where a
/// stricter document would win.
pub async fn set(state: &Arc<State>, request: v1::ModeSetRequest) -> Result<v1::ModeReply, Status> {
    let wanted = weir_api::mode_from_message(request.mode, "mode");
    let wanted = wanted.map_err(|error| Status::invalid_argument(error.to_string()))?;
    let v1::ModeSetRequest {
        workloads: names,
        all,
        ..
    } = request;
    if names.is_empty() != all {
        return Err(Status::invalid_argument("name workloads, or say all"));
    }
    let find = async || {
        let policy = state.policy().await;
        if all {
            Ok(workloads(state, &policy, ""))
        } else {
            named(state, &policy, &names)
        }
    };
    let turn = state.changing.lock().await;
    let found = find().await?;
    if found.is_empty() {
        return Err(Status::failed_precondition(
            "there are no workloads; write Workload documents first",
        ));
    }
    let changing: Vec<String> = found
        .into_iter()
        .filter(|it| it.mode() != weir_api::mode_message(wanted))
        .map(|it| it.name)
        .collect();
    if !changing.is_empty() {
        state
            .source
            .writable(|| kubectl(state, &changing, wanted))?;
        let planning = state.clone();
        let plan = blocking(move || plan(&planning, &changing, wanted)).await;
        let plan = plan.map_err(|problems| refused(&problems))?;
        write(state, plan)
            .await
            .map_err(|problems| refused(&problems))?;
    }
    drop(turn);
    let workloads = find().await?;
    Ok(v1::ModeReply { workloads })
}

/// The workloads of these names, each once.
fn named(
    state: &State,
    policy: &Published,
    names: &[String],
) -> Result<Vec<v1::WorkloadStatus>, Status> {
    let mut found = Vec::new();
    for name in names {
        let of_name = workloads(state, policy, name);
        if of_name.is_empty() {
            return Err(Status::not_found(format!(
                "no workload is named {name:?}; `weir mode get` lists them"
            )));
        }
        found.extend(of_name);
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found.dedup_by(|one, other| one.name == other.name);
    Ok(found)
}

fn plan(state: &State, workloads: &[String], wanted: spec::Mode) -> Result<Plan, Vec<Problem>> {
    let mode = of_spec(wanted);
    let Source::Files(source) = &state.source else {
        return Err(Vec::new());
    };
    let reference = |workload: &String| {
        workload.parse::<Reference>().map_err(|error| {
            let message = format!("{workload} cannot be named in a document: {error}");
            vec![Problem::of_file("", message, "")]
        })
    };
    let references: Vec<Reference> = workloads.iter().map(reference).collect::<Result<_, _>>()?;
    let plan = source.plan_mode(&references, mode);
    let plan = plan.map_err(weir_sources::WriteError::into_problems)?;
    let compiled = compile(plan.documents(), Some(&state.assignments()));
    if !compiled.problems.is_empty() {
        return Err(compiled.problems);
    }
    let stricter = compiled
        .spec
        .identities
        .iter()
        .filter(|identity| identity.mode > wanted && workloads.contains(&identity.name));
    let problems: Vec<Problem> = stricter
        .map(|identity| stays(&identity.name, identity.mode, &plan, mode))
        .collect();
    if problems.is_empty() {
        Ok(plan)
    } else {
        Err(problems)
    }
}

fn of_spec(mode: spec::Mode) -> Mode {
    match mode {
        spec::Mode::Discover => Mode::Discover,
        spec::Mode::Monitor => Mode::Monitor,
        spec::Mode::Protect => Mode::Protect,
    }
}

/// What says the same to kubectl.
fn kubectl(state: &State, workloads: &[String], wanted: spec::Mode) -> String {
    let references = workloads.iter().filter_map(|name| name.parse().ok());
    let references: Vec<Reference> = references.collect();
    let standing = state.pipeline.documents_of(Kind::Mode);
    let documents = mode_documents(&standing, &references, of_spec(wanted));
    format!("give this to `kubectl apply -f -`\n---\n{documents}")
}

/// Why a workload would not get the mode.
fn stays(workload: &str, stays_in: spec::Mode, plan: &Plan, wanted: Mode) -> Problem {
    let stricter = plan.documents().iter().filter(
        |located| matches!(&located.value, Document::Mode(other) if other.spec.mode.is_some_and(|mode| mode > wanted)),
    );
    let stricter: Vec<String> = stricter
        .map(|located| format!("{} ({})", located.value.title(), located.place()))
        .collect();
    let stays_in = weir_api::mode_message(stays_in).as_str_name();
    let message = format!(
        "{workload} would stay in {}: the strictest of several modes wins, and there is {}",
        stays_in.trim_start_matches("MODE_").to_lowercase(),
        stricter.join(", ")
    );
    Problem::of_file("", message, "change that document")
}

fn refused(problems: &[Problem]) -> Status {
    let problems: Vec<String> = problems.iter().map(Problem::to_string).collect();
    Status::failed_precondition(problems.join("\n"))
}
