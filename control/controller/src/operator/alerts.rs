//! Alerts: those that were, and those that come.

use std::sync::Arc;

use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use weir_api::v1;

use super::flows::{limit, send};
use crate::alerts::{ALERTS_MAX, AlertFilter};
use crate::state::State;

/// The newest alerts, and with `follow` every one that comes.
pub fn alerts(
    state: &Arc<State>,
    request: &v1::AlertsRequest,
) -> ReceiverStream<Result<v1::FlowView, Status>> {
    let filter = AlertFilter::of(request);
    let limit = limit(request.limit, ALERTS_MAX);
    let (recent, live) = state.observed.recent_and_live_alerts(&filter, limit);
    let live = request.follow.then_some(live);
    send(state, recent, live, move |view| filter.matches(view))
}
