//! Why something of Weir's own cannot be read or written at the API server, in words for a person.

use weir_model::Problem;

use crate::failure::{Failure, INSTALL, Verb};

/// What went wrong with a request, and what of it is of use to who sent it.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// For a person.
    pub problem: Problem,
    /// Somebody else wrote it meanwhile, or made it.
    pub conflict: bool,
    /// There is no such object, or no such kind.
    pub absent: bool,
    /// The server asks for patience.
    pub retry_after: Option<std::time::Duration>,
}

impl Trouble {
    /// `doing`: "update leases.coordination.k8s.io in weir-system"; `meanwhile` says what that means.
    pub(crate) fn of(doing: &str, meanwhile: &str, error: kube::Error) -> Self {
        let code = match &error {
            kube::Error::Api(status) => status.code,
            _ => 0,
        };
        let failure = Failure::of(Verb::List, error);
        Self::tell(doing, meanwhile, &failure, code)
    }

    pub(crate) fn slow(doing: &str, meanwhile: &str, timeout: std::time::Duration) -> Self {
        Self::tell(doing, meanwhile, &Failure::slow(Verb::List, timeout), 0)
    }

    pub(crate) fn tell(doing: &str, meanwhile: &str, failure: &Failure, code: u16) -> Self {
        let why = failure.message();
        let (message, next_step) = match () {
            () if failure.is_forbidden() => (
                format!("may not {doing}: {why}"),
                "grant it as deploy/baremetal/kustomize/rbac.yaml does; outside of a pod --namespace \
                 says where Weir's own roles are (weir-system)",
            ),
            () if failure.is_absent() => (format!("cannot {doing}: {why}"), INSTALL),
            () => (
                format!("cannot {doing}: {why}"),
                "it is tried again; see the API server's log if it stays",
            ),
        };
        Self {
            problem: Problem::of_file("kubernetes", message, format!("{next_step}. {meanwhile}")),
            conflict: code == 409,
            absent: code == 404,
            retry_after: failure.retry_after(),
        }
    }
}
