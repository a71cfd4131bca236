//! The contract between controller, nodes and command line.
//!
//! [`v1`] is the generated code of `control/proto/weir/v1`. Around it: validated conversion between
//! messages and [`weir_policy::spec`] ([`to_message`], [`from_message`]), the difference of two
//! snapshots ([`delta`], [`apply`]), an imagined connection judged ([`what_if`]), a
//! decision in one word ([`Verdict`]), what became of an alert ([`Outcome`]), and where to listen and connect ([`Endpoint`], [`TlsFiles`]).

mod alert;
mod convert;
mod delta;
mod endpoint;
mod question;
mod tls;
mod verdict;

pub use alert::{Outcome, SENSOR_GENERATOR, THREAT_GENERATOR, is_technique};
pub use convert::{
    FieldError, action_from_message, action_message, from_message, mode_from_message, mode_message,
    to_message,
};
pub use delta::{ApplyError, apply, checksum, delta};
pub use endpoint::{Endpoint, EndpointError, Listener, innermost};
pub use question::{application_of, what_if, wire_action_message};
pub use tls::{TlsError, TlsFiles};
pub use verdict::Verdict;

/// The generated messages, clients and servers of package `weir.v1`.
pub mod v1 {
    #![allow(missing_docs, clippy::all)]
    tonic::include_proto!("weir.v1");
}

/// The version of the contract that this crate speaks: the files in `control/proto/weir/v1`.
pub const PROTOCOL_VERSION: u32 = 1;

/// The largest message either side takes: a snapshot of some hundred thousand addresses and rules.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// The socket on which the controller answers the operator, unless configured otherwise.
pub const DEFAULT_OPERATOR_ENDPOINT: &str = "unix:/run/weir/controller.sock";
