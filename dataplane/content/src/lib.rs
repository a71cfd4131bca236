//! From what travels to what the application reads.
//!
//! An attacker chooses how a payload is written down: percent signs, entities, escapes, base64. What is
//! inspected has to be what the receiver will read, or a word list is all it takes to pass. Everything
//! here is total (any bytes give some answer), bounded by what the caller hands in, and gives the same
//! bytes whichever way the input was cut into pieces.
//!
//! * [`transform`]: one buffer in, one buffer out; for rules, detectors and sensors.
//! * [`piecewise`]: the decoders below it, which go on where a piece ends.

pub mod piecewise;
pub mod transform;
