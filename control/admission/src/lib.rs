//! The validating admission webhook: asked by the API server before an object is let in.
//!
//! | path | objects | refuses |
//! |---|---|---|
//! | `/validate/policy` | Weir's own documents | what the controller would not take: mistakes, what does not compile, what guardrails refuse |
//! | `/validate/services` | services | addresses that are not theirs (CVE-2020-8554) |
//! | `/validate/workloads` | pods and what has templates of them | images, and pods without an allowlist, as `spec.admission` of Settings asks |
//!
//! What it knows of the cluster and of policy comes through [`Knowledge`], so that the verdict on a
//! document is the one the controller comes to itself. It has no side effects: a dry run is judged
//! as any other request.
//!
//! # When it is down
//!
//! All of it is registered with `failurePolicy: Ignore`: a cluster has to start, its namespaces have
//! to go, and it has to be repaired when nothing of Weir runs yet or any more. What went in meanwhile
//! the controller judges by the same function when it sees it, and keeps the last good state. Policy
//! alone may be registered with `Fail`: without a controller no change of it would take effect, so
//! that nothing is lost by refusing it, and none goes in that nobody looked at.
//!
//! Distrusts every request: its size ([`server::BODY_BYTES_MAX`]), its form, the number of
//! connections and their slowness are bounded, and any JSON gets an answer.

pub mod authority;
pub mod cluster;
mod image;
pub mod keeper;
mod policy;
mod report;
mod review;
pub mod server;
mod services;
mod verdict;
mod workloads;

use std::time::Duration;

use serde_json::Value;
use weir_model::{AdmissionSettings, Document, Located};

pub use image::{Image, ImageError};
pub use policy::Judgement;
pub use report::{REPORTS_MAX, Reports, Summary};
pub use review::{BadReview, Request};
pub use services::Claim;
pub use verdict::{Cause, Verdict};

/// Namespaces that are never asked of, besides Weir's own and those that Settings name: without what
/// runs there nothing else can start.
pub const EXEMPT_NAMESPACES: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

/// What the webhook has to know.
pub trait Knowledge: Send + Sync {
    /// What the controller would make of this change; the same function as it uses itself.
    fn judge(&self, old: Option<&Located<Document>>, new: Option<&Located<Document>>) -> Judgement;

    /// What is asked of workloads and services.
    fn settings(&self) -> AdmissionSettings;

    /// Whether an allowlist can govern workloads of this namespace; None where policy is not known.
    fn has_allowlist(&self, namespace: &str) -> Option<bool>;

    /// The addresses that a service claims although they are not its own.
    fn external_claims(&self, service: &Value) -> Vec<Claim>;

    /// What is known of the vulnerabilities of an image.
    fn vulnerabilities(&self, image: &Image) -> Option<Summary>;

    /// Weir's own namespace.
    fn own_namespace(&self) -> &str;

    /// A review of policy, services or workloads was answered: allowed, refused or failed.
    fn reviewed(&self, _what: &'static str, _verdict: &'static str, _took: Duration) {}
}

/// Answers a review sent to `path` ("/validate/policy"); JSON. None for a path that nobody serves.
pub fn answer(
    knowledge: &dyn Knowledge,
    path: &str,
    body: &[u8],
) -> Option<Result<Value, BadReview>> {
    let judge: fn(&dyn Knowledge, &Request) -> Verdict = match path {
        "/validate/policy" => policy::validate,
        "/validate/services" => services::validate,
        "/validate/workloads" => workloads::validate,
        _ => return None,
    };
    let answer = Request::read(body).map(|request| judge(knowledge, &request).response(&request));
    Some(answer)
}

/// Whether workloads and services of the namespace are not looked at.
fn is_exempt(knowledge: &dyn Knowledge, settings: &AdmissionSettings, namespace: &str) -> bool {
    EXEMPT_NAMESPACES.contains(&namespace)
        || namespace == knowledge.own_namespace()
        || settings.exempt_namespaces.iter().any(|it| it == namespace)
}
