//! What somebody sends who wants the node to work hard or to remember much.

mod colliding;
mod fragments;
mod out_of_order;
mod regex;
mod syn_flood;

pub(super) use colliding::Colliding;
pub use colliding::LEAKED_SECRET;
pub(super) use fragments::TinyFragments;
pub(super) use out_of_order::OutOfOrder;
pub(super) use regex::RegexHostile;
pub(super) use syn_flood::SynFlood;
