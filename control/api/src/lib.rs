//! The contract between controller, nodes and command line.
//!
//! [`v1`] is the generated code of `control/proto/weir/v1`. Around it: validated conversion between
//! messages and [`weir_policy::spec`] ([`to_message`], [`from_message`]), a policy as it travels and its
//! checksum ([`Contents`]), what is too large for one message ([`Parts`]), the node's side of the push
//! protocol ([`Follower`]), version 1 of it ([`first`]), an imagined connection judged ([`what_if`]), a
//! decision in one word ([`Verdict`]), what became of an alert ([`Outcome`]), and where to listen and connect ([`Endpoint`], [`TlsFiles`]).

mod alert;
mod connect;
mod contents;
mod convert;
mod endpoint;
pub mod first;
mod follower;
mod parts;
mod question;
mod rotate;
mod tls;
mod verdict;

pub use alert::{Outcome, SENSOR_GENERATOR, THREAT_GENERATOR, is_technique};
pub use connect::Server;
pub use contents::{AddressKey, ApplyError, Contents, Item, ItemKey, Undo, checksum};
pub use convert::{
    FieldError, action_from_message, action_message, from_message, mode_from_message, mode_message,
    to_message,
};
pub use endpoint::{Endpoint, EndpointError, Listener, innermost};
pub use follower::{Follower, Step, retyped};
pub use parts::{
    ASSEMBLED_BYTES_MAX, Assembled, Assembly, PART_BYTES_MAX, Parts, cut, part_message,
};
pub use question::{application_of, request_fields, what_if, wire_action_message};
pub use rotate::{ClientTls, ServerTls, explained};
pub use tls::{TlsError, TlsFiles};
pub use verdict::Verdict;

/// The generated messages, clients and servers of package `weir.v1`.
pub mod v1 {
    #![allow(missing_docs, clippy::all)]
    tonic::include_proto!("weir.v1");

    /// The messages that carry policy with its items left encoded: the same bytes as those above.
    pub mod wire {
        tonic::include_proto!("weir.v1.wire");
    }
}

/// The newest version of the contract that this crate speaks, beside [`first`]: the files in `control/proto/weir/v1`.
pub const PROTOCOL_VERSION: u32 = 2;

/// The largest message either side takes: a snapshot of some hundred thousand addresses and rules.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// The socket on which the controller answers the operator, unless configured otherwise.
pub const DEFAULT_OPERATOR_ENDPOINT: &str = "unix:/run/weir/controller.sock";
