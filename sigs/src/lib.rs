//! Patterns to look for in what is allowed: rules in Suricata's language, compiled to Hyperscan.
//!
//! What is understood today is one pattern a rule: `content` (with hexadecimal parts and `nocase`)
//! or `pcre` (flags `i`, `s`, `m`), over the stream of a TCP connection or a whole datagram, for one
//! direction or both, with the actions `alert` and `drop`. Every other rule is refused by name with
//! the reason; nothing is loaded that would match otherwise than it says.
//!
//! Streams are scanned as streams: a pattern that is split over segments matches.

mod pattern_rule;
pub mod rule;
mod ruleset;
mod scanner;

pub use pattern_rule::{Action, Refusal, Rule, parse_rules};
pub use ruleset::{LoadError, Loaded, RuleSet, load_paths};
pub use scanner::{Scanner, ScannerError, StreamId};
