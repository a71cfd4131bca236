//! Sensors as plain data. What an expression, a place or a check means is written in `weir-sigs`,
//! which also says whether they can be enforced.

/// A named set of patterns for DLP or WAF, attached to targets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SensorSpec {
    /// Unique; stable while the sensor's name stays.
    pub id: u32,
    /// "sensor shop/payment-cards".
    pub name: String,
    /// What it does when it fires.
    pub action: SensorAction,
    /// Which way the content travels, seen from the target.
    pub direction: SensorDirection,
    /// Identities, sorted; empty means every connection, also of ends that nobody knows.
    pub targets: Vec<u32>,
    /// At least one; at most [`SensorSpec::PATTERNS_MAX`].
    pub patterns: Vec<SensorPatternSpec>,
    /// Which patterns have to be found in one message.
    pub combination: Combination,
    /// Fires from so many distinct matches in one flow; none: not by flow.
    pub flow_matches: Option<u32>,
    /// Fires from so many distinct matches of one sender; none: not by sender.
    pub source: Option<SourceThreshold>,
}

/// What a sensor does when it fires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SensorAction {
    /// Tells.
    #[default]
    Alert,
    /// Tells, and stops the connection where the mode is protect.
    Drop,
}

/// Which way the content travels, seen from the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SensorDirection {
    /// Both ways.
    #[default]
    Both,
    /// To the target: attacks.
    To,
    /// From the target: data that leaves it.
    From,
}

/// One pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SensorPatternSpec {
    /// Unique within the sensor.
    pub name: String,
    /// "url", "body" …, or names of buffers; sorted, at least one.
    pub places: Vec<String>,
    /// What is looked for.
    pub what: SensorWhat,
    /// Upper and lower case are equal.
    pub ignore_case: bool,
    /// A match counts only where it is one of these (beside an expression); sorted.
    pub dataset: Vec<String>,
    /// Names of checks that a match must pass.
    pub checks: Vec<String>,
    /// The least entropy of a match in thousandths of a bit a character; 0: any.
    pub entropy_millibits: u32,
    /// How a match is shown.
    pub mask: SensorMask,
}

/// What a pattern looks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SensorWhat {
    /// A regular expression.
    Expression(String),
    /// Any of these texts, anywhere.
    Literals(Vec<String>),
    /// Any of these texts, as whole words.
    Words(Vec<String>),
}

/// How a match is shown in events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SensorMask {
    /// Its beginning, never more than a quarter of it.
    #[default]
    Secret,
    /// The first six and the last four digits.
    Card,
    /// As it is.
    None,
}

/// Which patterns have to be found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Combination {
    /// The pattern at this place in the list.
    Pattern(u16),
    /// Each of these.
    All(Vec<Combination>),
    /// One of these.
    Any(Vec<Combination>),
    /// Not this.
    Not(Box<Combination>),
}

/// A threshold over all flows of one sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceThreshold {
    /// Distinct matches.
    pub matches: u32,
    /// Within so many seconds.
    pub window_s: u32,
}

impl SensorSpec {
    /// The most patterns of one sensor.
    pub const PATTERNS_MAX: usize = 64;
    /// The most sensors of one policy.
    pub const SENSORS_MAX: usize = 256;
}

impl Combination {
    /// Combinations nest no deeper.
    pub const DEPTH_MAX: usize = 8;

    /// Whether it holds where the patterns of these bits, and no others, were found.
    pub fn holds(&self, found: u64) -> bool {
        match self {
            Combination::Pattern(index) => found & (1 << (index & 63)) != 0,
            Combination::All(parts) => parts.iter().all(|part| part.holds(found)),
            Combination::Any(parts) => parts.iter().any(|part| part.holds(found)),
            Combination::Not(part) => !part.holds(found),
        }
    }

    /// Whether a `Not` is in it: only the end of a message tells that nothing more was found.
    pub fn has_not(&self) -> bool {
        match self {
            Combination::Pattern(_) => false,
            Combination::All(parts) | Combination::Any(parts) => parts.iter().any(Self::has_not),
            Combination::Not(_) => true,
        }
    }

    /// Whether each pattern is one of the first `patterns`, and the depth is kept.
    pub fn is_sound(&self, patterns: usize) -> bool {
        self.is_sound_within(patterns, Self::DEPTH_MAX)
    }

    fn is_sound_within(&self, patterns: usize, depth: usize) -> bool {
        let Some(depth) = depth.checked_sub(1) else {
            return false;
        };
        match self {
            Combination::Pattern(index) => usize::from(*index) < patterns,
            Combination::All(parts) | Combination::Any(parts) => {
                !parts.is_empty()
                    && parts
                        .iter()
                        .all(|part| part.is_sound_within(patterns, depth))
            }
            Combination::Not(part) => part.is_sound_within(patterns, depth),
        }
    }
}

impl Default for SensorWhat {
    fn default() -> Self {
        SensorWhat::Literals(Vec::new())
    }
}
