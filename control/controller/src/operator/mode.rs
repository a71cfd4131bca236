//! How far policy goes for a workload.

use std::sync::Arc;

use tonic::Status;
use weir_api::v1;
use weir_compile::compile;
use weir_model::{Document, Mode, Problem, Reference};
use weir_policy::spec;
use weir_sources::Plan;

use crate::operator::policy::write;
use crate::operator::status::workloads;
use crate::policy::blocking;
use crate::state::State;

/// The modes of all workloads, or of those with this name.
pub fn get(state: &State, request: &v1::ModeGetRequest) -> Result<v1::ModeReply, Status> {
    let found = workloads(state, &state.policy(), &request.workload);
    if found.is_empty() && !request.workload.is_empty() {
        return Err(nobody(&request.workload));
    }
    Ok(v1::ModeReply { workloads: found })
}

/// Writes the mode into the source's documents. Refused where a stricter document would win.
pub async fn set(
    state: &Arc<State>,
    request: &v1::ModeSetRequest,
) -> Result<v1::ModeReply, Status> {
    let wanted = weir_api::mode_from_message(request.mode, "mode");
    let wanted = wanted.map_err(|error| Status::invalid_argument(error.to_string()))?;
    let turn = state.changing.lock().await;
    let named = if request.all {
        ""
    } else {
        request.workload.as_str()
    };
    if named.is_empty() && !request.all {
        return Err(Status::invalid_argument(
            "no workload is named; name one, or say all",
        ));
    }
    let found = workloads(state, &state.policy(), named);
    let found_nobody = found.is_empty();
    let changing: Vec<String> = found
        .into_iter()
        .filter(|it| it.mode() != weir_api::mode_message(wanted))
        .map(|it| it.name)
        .collect();
    if found_nobody {
        return Err(nobody(named));
    }
    if changing.is_empty() {
        drop(turn);
        return get(
            state,
            &v1::ModeGetRequest {
                workload: named.to_owned(),
            },
        );
    }
    for name in changing {
        let planning = state.clone();
        let plan = blocking(move || plan(&planning, &name, wanted)).await;
        let plan = plan.map_err(|problems| refused(&problems))?;
        write(state, plan)
            .await
            .map_err(|problems| refused(&problems))?;
    }
    drop(turn);
    get(
        state,
        &v1::ModeGetRequest {
            workload: named.to_owned(),
        },
    )
}

fn plan(state: &State, workload: &str, wanted: spec::Mode) -> Result<Plan, Vec<Problem>> {
    let mode = match wanted {
        spec::Mode::Discover => Mode::Discover,
        spec::Mode::Monitor => Mode::Monitor,
        spec::Mode::Protect => Mode::Protect,
    };
    let reference: Reference = workload.parse().map_err(|_| {
        vec![Problem::of_file(
            "",
            format!("{workload} cannot be named in a document"),
            "",
        )]
    })?;
    let plan = state.source.plan_mode(&reference, mode);
    let plan = plan.map_err(weir_sources::WriteError::into_problems)?;
    let compiled = compile(plan.documents(), Some(&state.assignments()));
    if !compiled.problems.is_empty() {
        return Err(compiled.problems);
    }
    let identity = compiled
        .spec
        .identities
        .iter()
        .find(|identity| identity.name == workload);
    match identity {
        Some(identity) if identity.mode > wanted => {
            let stricter = plan
                .documents()
                .iter()
                .filter(|located| match &located.value {
                    Document::Mode(document) => {
                        document.spec.mode.is_some_and(|other| other > mode)
                    }
                    _ => false,
                });
            let stricter: Vec<String> = stricter
                .map(|located| format!("{} ({})", located.value.title(), located.place()))
                .collect();
            let message = format!(
                "{workload} would stay in {}: the strictest of several modes wins, and there is {}",
                weir_api::mode_message(identity.mode)
                    .as_str_name()
                    .trim_start_matches("MODE_")
                    .to_lowercase(),
                stricter.join(", ")
            );
            Err(vec![Problem::of_file("", message, "change that document")])
        }
        _ => Ok(plan),
    }
}

fn nobody(workload: &str) -> Status {
    Status::not_found(format!(
        "no workload is named {workload:?}; `weir mode get` lists them"
    ))
}

fn refused(problems: &[Problem]) -> Status {
    let problems: Vec<String> = problems
        .iter()
        .map(|problem| problem.to_string().trim_start_matches(": ").to_owned())
        .collect();
    Status::failed_precondition(problems.join("\n"))
}
