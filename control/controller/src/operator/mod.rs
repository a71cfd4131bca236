//! The operator's questions: `weir.v1.Operator`, one file per group.

mod alerts;
pub mod capture;
mod decide;
mod explain;
mod flows;
mod impact;
mod learn;
mod mode;
mod policy;
mod quarantine;
mod status;

use std::sync::Arc;

use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use weir_api::v1;

use crate::state::State;

/// The service.
#[derive(Clone, Debug)]
pub struct Operator {
    state: Arc<State>,
}

type Answer<T> = Result<Response<T>, Status>;

impl Operator {
    /// Answers for this controller.
    pub fn new(state: Arc<State>) -> Self {
        Self { state }
    }
}

#[tonic::async_trait]
impl v1::operator_server::Operator for Operator {
    type FlowsStream = ReceiverStream<Result<v1::FlowView, Status>>;
    type AlertsStream = ReceiverStream<Result<v1::FlowView, Status>>;
    type CaptureFetchStream = ReceiverStream<Result<v1::CapturePiece, Status>>;

    async fn status(&self, _: Request<v1::StatusRequest>) -> Answer<v1::StatusReply> {
        Ok(Response::new(status::status(&self.state).await))
    }

    async fn flows(&self, request: Request<v1::FlowsRequest>) -> Answer<Self::FlowsStream> {
        flows::flows(&self.state, &request.into_inner()).map(Response::new)
    }

    async fn alerts(&self, request: Request<v1::AlertsRequest>) -> Answer<Self::AlertsStream> {
        let alerts = alerts::alerts(&self.state, &request.into_inner());
        Ok(Response::new(alerts))
    }

    async fn map(&self, request: Request<v1::MapRequest>) -> Answer<v1::MapReply> {
        let (state, request) = (self.state.clone(), request.into_inner());
        let policy = state.policy().await;
        let reply = crate::policy::blocking(move || flows::map(&state, &policy, &request)).await;
        Ok(Response::new(reply))
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Answer<v1::Explanation> {
        explain::explain(&self.state, &request.into_inner())
            .await
            .map(Response::new)
    }

    async fn what_if(&self, request: Request<v1::WhatIfRequest>) -> Answer<v1::Explanation> {
        explain::what_if(&self.state, &request.into_inner())
            .await
            .map(Response::new)
    }

    async fn learn_review(
        &self,
        request: Request<v1::LearnReviewRequest>,
    ) -> Answer<v1::LearnReviewReply> {
        learn::review(&self.state, &request.into_inner())
            .await
            .map(Response::new)
    }

    async fn learn_accept(
        &self,
        request: Request<v1::LearnAcceptRequest>,
    ) -> Answer<v1::LearnAcceptReply> {
        decide::accept(&self.state, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn learn_reject(
        &self,
        request: Request<v1::LearnRejectRequest>,
    ) -> Answer<v1::LearnRejectReply> {
        decide::reject(&self.state, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn learn_why(&self, request: Request<v1::LearnWhyRequest>) -> Answer<v1::LearnWhyReply> {
        learn::why(&self.state, &request.into_inner())
            .await
            .map(Response::new)
    }

    async fn learn_same(
        &self,
        request: Request<v1::LearnSameRequest>,
    ) -> Answer<v1::LearnSameReply> {
        decide::same(&self.state, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn policy_impact(
        &self,
        request: Request<v1::PolicyImpactRequest>,
    ) -> Answer<v1::PolicyImpactReply> {
        impact::policy_impact(&self.state, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn quarantine_list(
        &self,
        _: Request<v1::QuarantineListRequest>,
    ) -> Answer<v1::QuarantineReply> {
        Ok(Response::new(quarantine::list(&self.state)))
    }

    async fn quarantine_add(
        &self,
        request: Request<v1::QuarantineAddRequest>,
    ) -> Answer<v1::QuarantineReply> {
        quarantine::add(&self.state, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn quarantine_lift(
        &self,
        request: Request<v1::QuarantineLiftRequest>,
    ) -> Answer<v1::QuarantineReply> {
        quarantine::lift(&self.state, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn capture_list(&self, _: Request<v1::CaptureListRequest>) -> Answer<v1::CaptureReply> {
        Ok(Response::new(capture::list(&self.state)))
    }

    async fn capture_start(
        &self,
        request: Request<v1::CaptureStartRequest>,
    ) -> Answer<v1::CaptureReply> {
        capture::start(&self.state, request.into_inner()).map(Response::new)
    }

    async fn capture_stop(
        &self,
        request: Request<v1::CaptureStopRequest>,
    ) -> Answer<v1::CaptureReply> {
        capture::stop(&self.state, request.into_inner()).map(Response::new)
    }

    async fn capture_fetch(
        &self,
        request: Request<v1::CaptureFetchRequest>,
    ) -> Answer<Self::CaptureFetchStream> {
        let pieces = capture::fetch(&self.state, &request.into_inner())?;
        Ok(Response::new(ReceiverStream::new(pieces)))
    }

    async fn policy_list(&self, _: Request<v1::PolicyListRequest>) -> Answer<v1::PolicyListReply> {
        Ok(Response::new(policy::list(&self.state).await))
    }

    async fn policy_apply(
        &self,
        request: Request<v1::PolicyApplyRequest>,
    ) -> Answer<v1::PolicyApplyReply> {
        policy::apply(&self.state, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn policy_export(
        &self,
        request: Request<v1::PolicyExportRequest>,
    ) -> Answer<v1::PolicyExportReply> {
        policy::export(&self.state, &request.into_inner())
            .await
            .map(Response::new)
    }

    async fn mode_get(&self, request: Request<v1::ModeGetRequest>) -> Answer<v1::ModeReply> {
        mode::get(&self.state, &request.into_inner())
            .await
            .map(Response::new)
    }

    async fn mode_set(&self, request: Request<v1::ModeSetRequest>) -> Answer<v1::ModeReply> {
        mode::set(&self.state, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn path(&self, request: Request<v1::PathRequest>) -> Answer<v1::PathReply> {
        status::path(&self.state, &request.into_inner()).map(Response::new)
    }
}
