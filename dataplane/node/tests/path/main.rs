//! The packet's way, frame by frame: what comes in, what leaves, and what the counters say.

#[path = "../common/mod.rs"]
mod common;

mod alerts;
mod announced;
mod bounds;
mod capture;
mod changes;
mod conditions;
mod conservation;
mod datagrams;
mod endings;
mod floods;
mod judgement;
mod neighbours;
mod owners;
mod quiet;
mod requests;
mod sensors;
mod settle;
mod short_way;
mod signatures;
mod streams;
mod takeover;
