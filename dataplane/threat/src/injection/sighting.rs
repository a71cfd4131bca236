//! What was seen in a value.

/// What in a value made it an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The observation, in a few words.
    pub sign: &'static str,
    /// First byte of what matched, in the reading of the value that was judged.
    pub from: usize,
    /// Behind its last byte.
    pub to: usize,
}

impl Sighting {
    pub(super) fn new(sign: &'static str, from: usize, to: usize) -> Self {
        Self { sign, from, to }
    }
}
