//! The compiled allowlist: identities, applications, one decision.
//!
//! [`Snapshot::build`] turns plain data ([`spec::SnapshotSpec`]) into something that answers
//! [`Snapshot::decide`] without allocating, at a cost that depends only on the rules which name the
//! two identities in question (or name anybody). [`Snapshot::explain`] walks the same code and
//! tells what it saw; a linear scan over the plain data stands beside it as oracle in the tests.
//!
//! # What is decided
//!
//! A connection from a client to a server is judged at each **managed** end: rules with
//! [`spec::End::Server`] bind the server's end, rules with [`spec::End::Client`] the client's. A
//! managed workload is thereby governed in both directions. Rules of an end that does not judge are
//! not looked at. From the highest precedence to the lowest:
//!
//! 1. **Quarantine** of either identity: denied and dropped without an answer, whatever the mode.
//! 2. **Explicit deny** by a rule of any judging end.
//! 3. **Explicit allow**: every judging end needs a rule of its own that names the peer, the
//!    application, the port, the protocol, and whose conditions hold.
//! 4. **The default** of the first end (the server's before the client's) that has none: denied, in
//!    every mode, so that discover and monitor can report it.
//!
//! The effective mode is the more permissive of the managed ends' modes. A denial shows on the wire
//! only where that mode is protect.
//!
//! Where **no end is managed**, both judge as unknown if [`spec::UnknownSpec::mode`] is given: with that
//! mode, with the rules that bind them, and with [`spec::UnknownSpec::action`] as their default. A
//! network or name that some rule mentions is nobody's workload either: mentioning it opens nothing. Where a managed end is there, that end decides
//! about addresses that nobody knows, in its own mode: the settings for unknown addresses never open
//! a protected workload. Where nobody judges, the connection is allowed
//! ([`Decider::Unmanaged`]). So it is where all managed ends are [`spec::IdentitySpec::elsewhere`]:
//! the packet only passes through, and the nodes of its ends know more. An identity that the snapshot does not have counts as unknown.
//!
//! # What may still change
//!
//! While the application is being recognised, the answer holds for the set of candidates: denied at
//! once if no candidate could ever be allowed; final if one rule per end allows every candidate;
//! otherwise allowed for now with [`Certainty::NeedsApplication`]. Rules with conditions wait for a
//! request ([`Certainty::PerRequest`]); until there is one the connection goes on.
//!
//! # Conditions
//!
//! A condition names a field of the rule's one application and holds when the field matches one of
//! its patterns, compared as text; an absent field counts as empty. A request without any field
//! stands for one that could not be read: it meets every deny rule's conditions. Where a request carries the
//! field several times, an allow rule wants all of them to match and a deny rule any of them, so
//! that repeating a field opens nothing.

mod addresses;
mod decide;
mod diff;
mod explain;
mod index;
mod memo;
mod names;
mod nearest;
mod pattern;
mod question;
mod rules;
mod snapshot;
pub mod spec;
mod text;
mod threats;
mod validate;
mod weigh;

pub use diff::{Change, PolicyChange};
pub use explain::{ExplainStep, Explanation};
pub use index::index_entries;
pub use memo::Memo;
pub use nearest::{Difference, Nearest};
pub use question::{Application, Certainty, Decider, Decision, Question, WireAction};
pub use snapshot::Snapshot;
pub use validate::{BuildError, INDEX_ENTRIES_MAX};
