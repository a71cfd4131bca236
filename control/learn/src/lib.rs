//! From conversations seen to rules proposed. Pure: no clock, no store; time is an argument.
//!
//! A [`Conversation`] gathers evidence by [`Conversation::merge`]; [`propose`] ranks what no rule
//! covers yet and says what speaks for and against it; [`coverage`] tells how likely the next
//! conversation of a workload is a new one; [`allowlists`] writes what was accepted as documents,
//! a rule for each end.

mod allowlist;
mod conversation;
mod coverage;
mod days;
mod key;
mod propose;

pub use allowlist::{allowlists, obstacle};
pub use conversation::{
    Confidence, Conversation, Observation, POINTS_MAX, PointCounts, REPLICAS_MAX,
};
pub use coverage::{Coverage, READY_BELOW, coverage};
pub use days::Days;
pub use key::{ConversationKey, End};
pub use propose::{Proposal, propose};
