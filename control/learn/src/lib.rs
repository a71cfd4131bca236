//! From conversations seen to rules proposed. Pure: no clock, no store; time is an argument.
//!
//! A [`Conversation`] gathers evidence by [`Conversation::merge`], and [`Conversation::join`] brings
//! together what several controllers know of it. [`propose`] ranks what a rule could be written for and
//! says what speaks for and against it ([`Evidence`] is the table); [`Decision`] is what a person made
//! of that. [`coverage`] tells how likely the next conversation of a workload is a new one, [`Ageing`]
//! how evidence fades, [`successions`] which workload goes on under another name, and
//! [`allowlists`] writes what was accepted as documents, a rule for each end. [`Profile`] is the form
//! in which all of it is kept and exchanged, [`evidence`] and [`from_status`] its way into an object of
//! the cluster and back.

mod ageing;
mod allowlist;
mod conversation;
mod coverage;
mod days;
mod decision;
mod evidence;
mod key;
mod object;
mod profile;
mod propose;
mod renames;
mod replicas;
mod rhythm;
mod succession;
mod survey;
mod workloads;

pub use ageing::Ageing;
pub use allowlist::{allowlists, obstacle};
pub use conversation::{Confidence, Conversation, NAMES_MAX, Observation, POINTS_MAX, PointCounts};
pub use coverage::{Coverage, READY_AFTER_DAYS, READY_BELOW, READY_UPPER_BELOW, Tally, coverage};
pub use days::{ACTIVITY_DAYS_MAX, Activity, DAY_US, DAYS_MAX, DayCounts, Days, day_of};
pub use decision::{Decision, Verdict};
pub use evidence::{BIAS, EVIDENCE_COUNT, Evidence, Reason, Weights};
pub use key::{ConversationKey, End};
pub use object::{evidence, from_status};
pub use profile::{Learned, Profile, home, to_profiles};
pub use propose::{Context, Proposal, propose};
pub use renames::Renames;
pub use replicas::{REPLICAS_MAX, Replicas, Span};
pub use rhythm::Rhythm;
pub use succession::{Succession, successions};
pub use workloads::{Traits, Workloads, family, image_name, stem};
