//! Why: of a flow that was seen, and of an imagined one.

use std::sync::Arc;

use tonic::Status;
use weir_api::v1;
use weir_policy::spec::UNKNOWN_IDENTITY;

use crate::flows::{FlowName, ip_address};
use crate::observe::server_port;
use crate::state::State;
use crate::view::Published;

/// An imagined flow.
pub async fn what_if(
    state: &Arc<State>,
    request: &v1::WhatIfRequest,
) -> Result<v1::Explanation, Status> {
    let explanation = weir_api::what_if(&state.policy().await.snapshot, request);
    explanation.map_err(|error| Status::invalid_argument(error.to_string()))
}

/// A flow as it was seen, judged by the policy of now.
pub async fn explain(
    state: &Arc<State>,
    request: &v1::ExplainRequest,
) -> Result<v1::Explanation, Status> {
    let name = FlowName::parse(&request.flow).map_err(Status::invalid_argument)?;
    let view = state.observed.find(&name).ok_or_else(|| {
        Status::not_found(format!(
            "no recent flow is {}; `weir flows` lists them, `weir what-if` explains an imagined one",
            request.flow
        ))
    })?;
    let Some(record) = &view.record else {
        return Err(Status::internal("a record without content"));
    };
    let policy = state.policy().await;
    let end = |id, name: &str, address: &[u8]| end(&policy, id, name, address);
    // The record may say "unknown" of a connection without a parser's fields; those are kept only
    // where the policy can ask for them.
    let fields = record
        .fields
        .iter()
        .filter(|(name, _)| askable(name, &record.application));
    let asked = v1::WhatIfRequest {
        client: end(record.client_identity, &view.client, &record.client_address),
        server: end(record.server_identity, &view.server, &record.server_address),
        application: record.application.clone(),
        port: server_port(record).into(),
        protocol: record.protocol,
        fields: fields
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    };
    let explanation = weir_api::what_if(&policy.snapshot, &asked);
    let explanation =
        explanation.map_err(|error| Status::failed_precondition(error.to_string()))?;
    Ok(v1::Explanation {
        seen: Some(v1::FlowView::clone(&view)),
        ..explanation
    })
}

/// The end by its name if that still exists, else by its address.
fn end(policy: &Published, id: u32, name: &str, address: &[u8]) -> String {
    if id != UNKNOWN_IDENTITY && policy.snapshot.identity_by_name(name).is_some() {
        return name.to_owned();
    }
    ip_address(address).map_or_else(|| "unknown".to_owned(), |address| address.to_string())
}

fn askable(field: &str, application: &str) -> bool {
    let found = weir_l7::registry::field(field);
    found.is_some_and(|found| weir_l7::registry::by_name(application) == Some(found.app))
}
