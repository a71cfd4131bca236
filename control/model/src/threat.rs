//! What is done about threats, per target.

use serde::{Deserialize, Serialize};

use crate::{Located, Problem, Resource, Selector};

/// What is done about threats (`kind: ThreatPolicy`). What no such document names is done as the
/// node's configuration says.
pub type ThreatPolicy = Resource<ThreatPolicySpec>;

/// For whom, and what. Of several documents that name a threat for a workload the strictest action
/// wins and the lowest threshold; `ignore` of a rule that names the threat is stronger than `*`.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ThreatPolicySpec {
    /// For readers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// The workloads at either end of which threats are judged by this.
    pub target: Selector,
    /// What is done. Of two that name a threat the first one holds; `*` stands behind names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<ThreatRule>,
    /// From where on something is told, where it differs from the node's configuration.
    #[serde(default, skip_serializing_if = "ThreatThresholds::is_empty")]
    pub thresholds: ThreatThresholds,
}

/// What is done about some threats.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ThreatRule {
    /// Names or numbers of the catalogue (`weir threats`), or `*` for all that no other rule of the
    /// document names. At least one.
    pub threats: Vec<ThreatName>,
    /// What is done.
    pub action: ThreatAction,
}

/// "syn-flood", "1001", or "*".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThreatName(String);

/// What is done about a threat.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ThreatAction {
    /// It is neither told nor stopped.
    Ignore,
    /// It is told.
    Alert,
    /// It is told, and stopped where the mode is protect.
    Drop,
}

/// One field a threshold: its name in the node's `[threats.network]`, its bounds, what it counts.
macro_rules! thresholds {
    ($($field:ident $least:literal ..= $most:literal $about:literal,)*) => {
        /// From where on something is told; what is left out stays as the node has it.
        #[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "camelCase")]
        pub struct ThreatThresholds {
            $(
                #[doc = $about]
                #[cfg_attr(feature = "crd", schemars(range(min = $least, max = $most)))]
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $field: Option<u32>,
            )*
        }

        impl ThreatThresholds {
            /// Each threshold: its name in the node's configuration, and the least and the most
            /// that can be written.
            pub const ALL: &[(&str, u32, u32)] = &[$((stringify!($field), $least, $most),)*];

            /// Those that are given, by their names in the node's configuration, in the order of
            /// [`Self::ALL`].
            pub fn given(&self) -> impl Iterator<Item = (&'static str, u32)> {
                [$((stringify!($field), self.$field),)*]
                    .into_iter()
                    .filter_map(|(name, value)| value.map(|value| (name, value)))
            }
        }
    };
}

thresholds! {
    repeat_s 1..=86_400 "What lasts is told at its beginning and then at most this often.",
    syn_on_per_s 1..=10_000_000 "A SYN flood begins at so many unfinished handshakes a second.",
    syn_off_per_s 1..=10_000_000 "A SYN flood ends below so many unfinished handshakes a second.",
    syn_burst 1..=10_000_000 "So many unfinished handshakes are a flood however short.",
    icmp_pair_per_s 1..=10_000_000 "ICMP messages a second from one source to the target.",
    icmp_target_per_s 1..=10_000_000 "ICMP messages a second to the target from all sources.",
    udp_unanswered_per_s 1..=10_000_000 "New UDP flows a second to the target that get no answer.",
    udp_one_way_per_s 1..=10_000_000 "Datagrams a second to the target that never answers.",
    dns_pair_per_s 1..=10_000_000 "DNS questions a second from one source to the target.",
    dns_target_per_s 1..=10_000_000 "DNS questions a second to the target from all sources.",
    sessions_per_source 1..=10_000_000 "Connections that one source holds.",
    session_rate_per_s 1..=10_000_000 "Connections that one source begins a second.",
    scan_points 1..=10_000 "Points that make a scan.",
    scan_window_s 1..=86_400 "Over how many seconds points of a scan are gathered.",
    small_window_bytes 1..=65_535 "Windows below this many bytes are shut.",
    shut_window_ms 1..=3_600_000 "How long a window may be shut in all, in milliseconds.",
    mss_min 1..=65_535 "The smallest honest maximum segment size.",
    icmp_max_bytes 64..=65_535 "The longest honest ICMP message.",
    incomplete_per_s 1..=10_000_000 "Datagrams a second whose fragments do not all arrive.",
    beacon_connections 3..=10_000 "Connections in equal intervals that make a beacon.",
    beacon_jitter_percent 1..=50 "How far an interval of a beacon may be off.",
    beacon_min_s 1..=86_400 "Shorter intervals are no beacon.",
}

impl ThreatPolicySpec {
    /// The most rules of one document.
    pub const RULES_MAX: usize = 64;
    /// The most threats of one rule.
    pub const THREATS_MAX: usize = 256;
}

impl ThreatName {
    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for every threat.
    pub fn is_all(&self) -> bool {
        self.0 == "*"
    }

    /// Its number in the catalogue, where one is written.
    pub fn id(&self) -> Option<u16> {
        self.0.parse().ok()
    }
}

impl ThreatThresholds {
    /// Whether nothing is given.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What no single field can say of itself.
pub(crate) fn check<T>(located: &Located<T>, policy: &ThreatPolicy, problems: &mut Vec<Problem>) {
    let spec = &policy.spec;
    let mut tell = |field: &str, message: String, next_step: &str| {
        problems.push(located.problem(field, message, next_step));
    };
    if spec.rules.is_empty() && spec.thresholds.is_empty() {
        let next_step = "write rules: or thresholds:";
        tell("spec", "the document sets nothing".to_owned(), next_step);
    }
    if spec.rules.len() > ThreatPolicySpec::RULES_MAX {
        let message = format!(
            "has {} rules, more than {}",
            spec.rules.len(),
            ThreatPolicySpec::RULES_MAX
        );
        tell("spec.rules", message, "one rule can name many threats");
    }
    let mut named = std::collections::BTreeMap::new();
    for (index, rule) in spec.rules.iter().enumerate() {
        let field = format!("spec.rules[{index}].threats");
        if !(1..=ThreatPolicySpec::THREATS_MAX).contains(&rule.threats.len()) {
            let message = format!(
                "names {} threats, where 1 to {} are possible",
                rule.threats.len(),
                ThreatPolicySpec::THREATS_MAX
            );
            tell(&field, message, "name threats, or write [\"*\"] for all");
        }
        for (place, threat) in rule.threats.iter().enumerate() {
            if let Some(first) = named.insert(threat, index) {
                let message = format!("{} is named in spec.rules[{first}] already", threat.0);
                tell(&format!("{field}[{place}]"), message, "keep one of them");
            }
        }
    }
    let bounds = ThreatThresholds::ALL.iter();
    for (name, value) in spec.thresholds.given() {
        let known = bounds.clone().find(|(known, ..)| *known == name);
        if let Some((_, least, most)) = known
            && !(least..=most).contains(&&value)
        {
            let field = format!("spec.thresholds.{}", camel(name));
            let message = format!("{value} is not within {least} to {most}");
            tell(&field, message, "write a number within");
        }
    }
    if let (Some(on), Some(off)) = (spec.thresholds.syn_on_per_s, spec.thresholds.syn_off_per_s)
        && off > on
    {
        let message =
            format!("{off} is more than synOnPerS ({on}): a flood would end as it begins");
        tell(
            "spec.thresholds.synOffPerS",
            message,
            "write a smaller number",
        );
    }
}

/// "syn_on_per_s" as it is written in documents: "synOnPerS".
fn camel(name: &str) -> String {
    let mut upper = false;
    let letters = name.chars().filter_map(|letter| {
        let was_upper = std::mem::replace(&mut upper, letter == '_');
        (letter != '_').then(|| match was_upper {
            true => letter.to_ascii_uppercase(),
            false => letter,
        })
    });
    letters.collect()
}

impl std::str::FromStr for ThreatName {
    type Err = crate::ScalarError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let named = (1..=64).contains(&text.len()) && text.bytes().all(fits);
        if named || text == "*" {
            return Ok(Self(text.to_owned()));
        }
        Err(crate::ScalarError::new(format!(
            "{:?} is no name of a threat; `weir threats` lists them, \"*\" stands for all",
            crate::name::Shortened(text)
        )))
    }
}

impl std::fmt::Display for ThreatName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}
