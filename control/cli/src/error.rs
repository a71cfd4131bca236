//! What can go wrong, and the exit code that says so.

use weir_api::EndpointError;

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Wrong usage that the command line's grammar does not catch.
    #[error("{0}")]
    Usage(String),
    /// Nobody answers.
    #[error("{0}; give --controller or WEIR_CONTROLLER where it listens elsewhere")]
    Unreachable(String),
    /// It was tried and failed, or the controller refused.
    #[error("{0}")]
    Failed(String),
    /// The reader of the output is gone.
    #[error("the output was closed")]
    PipeClosed,
}

impl Failure {
    /// As documented in the help.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::PipeClosed => 0,
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
        }
    }
}

impl From<EndpointError> for Failure {
    fn from(error: EndpointError) -> Self {
        match error {
            EndpointError::Text { .. } | EndpointError::Scheme { .. } | EndpointError::Tls(_) => {
                Self::Usage(error.to_string())
            }
            _ => Self::Unreachable(error.to_string()),
        }
    }
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        match status.code() {
            tonic::Code::Unavailable => Self::Unreachable(format!(
                "the connection to the controller was lost: {}",
                status.message()
            )),
            tonic::Code::Unimplemented => Self::Failed(
                "what listens there does not serve this command: name the controller's --listen \
                 endpoint, not that of nodes, or update the controller to this version"
                    .to_owned(),
            ),
            tonic::Code::Unknown if status.message().is_empty() => {
                Self::Failed(format!("the controller failed: {status}"))
            }
            _ => Self::Failed(status.message().to_owned()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::PipeClosed,
            _ => Self::Failed(format!("cannot write the output: {error}")),
        }
    }
}
