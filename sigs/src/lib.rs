//! Patterns to look for in what is allowed: rules in Suricata's language, compiled to Hyperscan.
//!
//! * [`rule`]: the language: text → [`rule::Rule`], or a refusal that says where and why.
//! * [`compile`]: rules → [`RuleSet`]: for each buffer a database of the literals and expressions that
//!   must be there for a rule to match.
//! * [`scan`]: bytes → [`Hits`]: what the databases find is asked in full; what a rule asks of several
//!   buffers is kept by message; state, thresholds and the order of actions follow.
//! * [`sensor`]: named sets of patterns for DLP and WAF: checks, thresholds, combinations.
//!
//! Streams are scanned as streams: what matches, matches however the bytes were cut on their way.

pub mod compile;
mod files;
mod library;
mod load;
pub mod rule;
pub mod scan;
pub mod sensor;
mod shipped;

pub use compile::{CompileError, Options, Report, RuleSet};
pub use files::{FILE_BYTES_MAX, ReadError, RuleFile, read_files};
pub use load::{LoadError, Loaded, load_files, load_paths};
pub use rule::{Action, Refusal, Rule};
pub use scan::{
    Facts, Hit, Hits, Limits, PacketFacts, Prepared, ScanFlow, Scanner, ScannerError, Session,
    Wanted,
};
pub use shipped::shipped_rules;
