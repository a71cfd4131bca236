//! Why the API server does not answer as it should, in words for a person.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use weir_model::Problem;

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verb {
    List,
    Watch,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    verb: Verb,
    kind: FailureKind,
    message: String,
    retry_after: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FailureKind {
    /// No answer.
    Unreachable,
    /// Not this soon: HTTP 429.
    Throttled,
    /// HTTP 403.
    Forbidden,
    /// HTTP 401.
    Unauthorized,
    /// HTTP 404: the server has no such kind.
    Absent,
    /// HTTP 410.
    Gone,
    /// Another status.
    Refused,
    /// An answer that cannot be read.
    Unreadable,
}

/// Longest part of a message that comes from the server.
const MESSAGE_CHARS_MAX: usize = 300;

impl Failure {
    pub(crate) fn of(verb: Verb, error: kube::Error) -> Self {
        let kube::Error::Api(status) = error else {
            let unreadable = matches!(
                error,
                kube::Error::SerdeError(_)
                    | kube::Error::FromUtf8(_)
                    | kube::Error::LinesCodecMaxLineLengthExceeded
            );
            let kind = match unreadable {
                true => FailureKind::Unreadable,
                false => FailureKind::Unreachable,
            };
            return Self {
                verb,
                kind,
                message: bounded(&innermost(&error)),
                retry_after: None,
            };
        };
        let kind = match (status.code, &*status.reason) {
            (429, _) => FailureKind::Throttled,
            (403, _) | (_, "Forbidden") => FailureKind::Forbidden,
            (401, _) => FailureKind::Unauthorized,
            (404, _) => FailureKind::Absent,
            (410, _) | (_, "Expired" | "Gone") => FailureKind::Gone,
            _ => FailureKind::Refused,
        };
        let details = status.details.as_ref();
        let seconds = details.map_or(0, |details| details.retry_after_seconds);
        let code = status.code;
        let message = match status.message.as_str() {
            "" => format!("HTTP {code}"),
            message => bounded(message),
        };
        let retry_after = (seconds > 0).then(|| Duration::from_secs(seconds.into()));
        Self {
            verb,
            kind,
            message,
            retry_after,
        }
    }

    pub(crate) fn slow(verb: Verb, timeout: Duration) -> Self {
        Self {
            verb,
            kind: FailureKind::Unreachable,
            message: format!("no answer within {} ms", timeout.as_millis()),
            retry_after: None,
        }
    }

    pub(crate) fn unreadable(verb: Verb, what: impl fmt::Display) -> Self {
        Self {
            verb,
            kind: FailureKind::Unreadable,
            message: bounded(&what.to_string()),
            retry_after: None,
        }
    }

    /// What the version belongs to is forgotten.
    pub(crate) fn is_gone(&self) -> bool {
        self.kind == FailureKind::Gone
    }

    /// A person has to do something.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self.kind,
            FailureKind::Forbidden | FailureKind::Unauthorized | FailureKind::Absent
        )
    }

    pub(crate) fn is_forbidden(&self) -> bool {
        self.kind == FailureKind::Forbidden
    }

    /// The server has no such kind.
    pub(crate) fn is_absent(&self) -> bool {
        self.kind == FailureKind::Absent
    }

    /// Going on from the same version would miss something, or is not allowed.
    pub(crate) fn needs_list(&self) -> bool {
        self.is_refusal() || self.kind == FailureKind::Unreadable
    }

    /// What the server said.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The pause that the server asks for.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// As a condition. `resource` is as kubectl has it: "replicasets.apps"; `server` where it is.
    pub(crate) fn problem(&self, resource: &str, server: &str) -> Problem {
        let verb = self.verb;
        let (message, next_step) = match self.kind {
            FailureKind::Forbidden => (
                format!("may not {verb} {resource} in the whole cluster: {}", self.message),
                format!(
                    "grant it in Weir's ClusterRole (deploy/baremetal/kustomize/rbac.yaml); `kubectl auth can-i {verb} {resource} \
                     --all-namespaces{}` then says yes. Until then Weir goes on with what it may see",
                    self.user()
                ),
            ),
            FailureKind::Unauthorized => (
                format!("the API server {server} does not know who asks: {}", self.message),
                "renew the token or certificate of the kubeconfig; the last good policy holds".to_owned(),
            ),
            FailureKind::Absent => (
                format!("the API server {server} has no {resource}"),
                format!("`kubectl api-resources` lists what it has; {INSTALL}"),
            ),
            FailureKind::Throttled => (
                format!("the API server {server} asks for patience with {resource}: {}", self.message),
                "nothing, if it passes; otherwise look at the server's priority levels. The last good \
                 policy holds"
                    .to_owned(),
            ),
            FailureKind::Unreachable => (
                format!("the API server {server} cannot be reached: {}", self.message),
                "see whether it runs and whether this host may connect; the last good policy holds"
                    .to_owned(),
            ),
            FailureKind::Gone | FailureKind::Refused => (
                format!("the API server {server} does not {verb} {resource}: {}", self.message),
                "see the server's log; the last good policy holds".to_owned(),
            ),
            FailureKind::Unreadable => (
                format!(
                    "the API server {server} answers to {verb} {resource} with what cannot be read: {}",
                    self.message
                ),
                "see what stands between; the last good policy holds".to_owned(),
            ),
        };
        Problem::of_file("kubernetes", message, next_step)
    }

    /// " --as system:serviceaccount:…", as the server says who asked.
    fn user(&self) -> String {
        let named = self.message.split_once("User \"");
        let user = named.and_then(|(_, rest)| rest.split_once('"'));
        let plain = |user: &&str| {
            user.chars()
                .all(|char| char.is_ascii_graphic() && char != '\'')
        };
        let user = user.map(|(user, _)| user).filter(plain);
        user.map_or(String::new(), |user| format!(" --as '{user}'"))
    }
}

/// What brings the custom resources.
pub(crate) const INSTALL: &str =
    "install Weir's custom resources with `kubectl apply -k deploy/baremetal/crds`";

impl fmt::Display for Verb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::List => "list",
            Self::Watch => "watch",
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.verb, self.message)
    }
}

/// The cause at the bottom: "Connection refused (os error 111)".
fn innermost(error: &kube::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    match error.source() {
        None => error.to_string(),
        Some(_) => cause.to_string(),
    }
}

fn bounded(text: &str) -> String {
    let text = text.chars().map(|char| match char.is_control() {
        true => ' ',
        false => char,
    });
    text.take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_permission_is_named_with_the_command_that_shows_it() {
        let status: kube::core::Status = serde_json::from_value(serde_json::json!({
            "status": "Failure", "code": 403, "reason": "Forbidden",
            "message": "replicasets.apps is forbidden: User \"system:serviceaccount:weir:weir\" cannot \
                        list resource \"replicasets\" in API group \"apps\" at the cluster scope"
        }))
        .unwrap();
        let failure = Failure::of(Verb::List, kube::Error::Api(Box::new(status)));
        assert!(failure.is_forbidden() && failure.needs_list());
        let problem = failure
            .problem("replicasets.apps", "https://server")
            .to_string();
        let command = "kubectl auth can-i list replicasets.apps --all-namespaces \
                       --as 'system:serviceaccount:weir:weir'";
        assert!(problem.contains(command), "{problem}");
        assert!(
            problem.contains("may not list replicasets.apps"),
            "{problem}"
        );
    }

    #[test]
    fn the_server_says_how_long_to_wait() {
        let status = |json| {
            let status: kube::core::Status = serde_json::from_value(json).unwrap();
            Failure::of(Verb::Watch, kube::Error::Api(Box::new(status)))
        };
        let throttled = status(serde_json::json!({
            "code": 429, "message": "storage is (re)initializing",
            "details": {"retryAfterSeconds": 1}
        }));
        assert_eq!(throttled.retry_after(), Some(Duration::from_secs(1)));
        assert!(!throttled.is_refusal());
        let gone = status(serde_json::json!({"code": 410, "reason": "Expired"}));
        assert!(gone.is_gone());
        let hostile = status(serde_json::json!({
            "code": 403, "message": format!("User \"x'; rm\" {}", "y".repeat(1 << 20))
        }));
        let problem = hostile.problem("pods", "https://server");
        assert!(problem.message.len() < 1_000 && !problem.next_step.contains("rm"));
    }
}
