//! Who is cut off.

use std::sync::Arc;

use tonic::Status;
use weir_api::v1;
use weir_model::Kind;
use weir_respond::Quarantine;

use crate::response::CutOffError;
use crate::state::State;
use crate::time::now_unix_us;

/// The longest reason that is kept.
const BECAUSE_CHARS_MAX: usize = 500;

/// Everybody who is cut off.
pub fn list(state: &State) -> v1::QuarantineReply {
    let view = |quarantine: Quarantine| v1::QuarantineView {
        known: is_known(state, &quarantine.workload),
        workload: quarantine.workload,
        since_unix_s: quarantine.since_unix_s,
        until_unix_s: quarantine.until_unix_s.unwrap_or_default(),
        by: quarantine.by,
        because: quarantine.because,
    };
    v1::QuarantineReply {
        quarantines: state.response.quarantines().into_iter().map(view).collect(),
        policy_version: state.version(),
    }
}

/// Cuts workloads off.
pub async fn add(
    state: &Arc<State>,
    request: v1::QuarantineAddRequest,
) -> Result<v1::QuarantineReply, Status> {
    // All of them or none: somebody who is mistyped is not the one who has to be cut off.
    for workload in &request.workloads {
        if !is_known(state, workload) {
            let told = format!(
                "there is no workload {workload:?}; weir status lists them, with their namespaces"
            );
            return Err(Status::not_found(told));
        }
    }
    let now_unix_s = now_unix_us() / 1_000_000;
    let length_s = (request.duration_s > 0).then_some(request.duration_s);
    let because: String = request.because.chars().take(BECAUSE_CHARS_MAX).collect();
    for workload in request.workloads {
        let quarantine = Quarantine {
            workload,
            since_unix_s: now_unix_s,
            until_unix_s: length_s.map(|length| now_unix_s.saturating_add(length)),
            by: "operator".to_owned(),
            because: because.clone(),
        };
        state.cut_off(quarantine).await.map_err(refused)?;
    }
    Ok(list(state))
}

/// Lets workloads in again.
pub async fn lift(
    state: &Arc<State>,
    request: v1::QuarantineLiftRequest,
) -> Result<v1::QuarantineReply, Status> {
    let all = state
        .response
        .quarantines()
        .into_iter()
        .map(|it| it.workload);
    let workloads = match request.all {
        true => all.collect(),
        false => request.workloads,
    };
    for workload in workloads {
        let lifted = state.let_in(&workload).await;
        let lifted = lifted.map_err(|error| Status::unavailable(error.to_string()))?;
        if lifted.is_none() {
            let told = format!("{workload:?} is not cut off; weir quarantine list tells who is");
            return Err(Status::not_found(told));
        }
    }
    Ok(list(state))
}

fn is_known(state: &State, workload: &str) -> bool {
    let name = workload.split_once('/');
    name.is_some_and(|(namespace, name)| state.document(Kind::Workload, namespace, name).is_some())
}

fn refused(error: CutOffError) -> Status {
    match error {
        CutOffError::Quarantine(error) => Status::failed_precondition(error.to_string()),
        CutOffError::Publish(error) => Status::unavailable(error.to_string()),
    }
}
