//! Sensors: named sets of patterns for DLP and WAF, looked for in decoded content.
//!
//! [`SensorSet::compile`] turns specifications into databases, one for each set of patterns that
//! buffers share; [`SensorScanner`] is one worker's state. A match that Hyperscan finds is measured
//! (a reverse automaton finds where it begins), must pass its checks, is counted once per distinct
//! value, and together with the other patterns of its message makes a [`SensorHit`].
//!
//! Trusts: content is decoded, and the pieces of one content come in order. Distrusts: every byte.
//! Pure: time is an argument. Memory: databases and automata are bounded when compiled; a scanner
//! allocates everything in [`SensorScanner::new`] and nothing afterwards.

mod check;
mod compile;
mod count;
mod excerpt;
mod expression;
mod flow;
mod judge;
mod place;
mod scan;
mod trial;

pub use check::{Check, checks};
pub use compile::{EXPRESSIONS_MAX, SensorRefusal, SensorSet};
pub use excerpt::Excerpt;
pub use expression::WINDOW_BYTES;
pub use judge::SensorHit;
pub use place::places;
pub use scan::{SensorFlow, SensorScanner, SensorScannerError};
