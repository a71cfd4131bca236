//! How far policy goes, per target and for everything.

use serde::{Deserialize, Serialize};

use crate::{Action, AdmissionSettings, EtherType, Resource, Selector};

/// A mode for a target (`kind: Mode`).
pub type ModeDocument = Resource<ModeSpec>;

/// What holds for everything (`kind: Settings`); one per directory.
pub type Settings = Resource<SettingsSpec>;

/// How far policy goes. Ordered from the most to the least permissive.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Learn; never block.
    Discover,
    /// Report what would be blocked; never block.
    Monitor,
    /// Block.
    Protect,
}

/// How the wire learns of a denial of TCP.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DenyStyle {
    /// A reset to both ends.
    Reset,
    /// Silence.
    Drop,
}

/// The mode of a target. The strictest of several that select a workload wins.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ModeSpec {
    /// The workloads it is for.
    pub target: Selector,
    /// The mode; may be left out by a document that only quarantines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Nothing from or to the target passes, whatever its mode.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quarantine: bool,
}

/// What holds for everything; what is left out has the default stated at each field.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SettingsSpec {
    /// Addresses that nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<UnknownSettings>,
    /// Frames that are not IP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkSettings>,
    /// How denial of TCP shows on the wire; default `reset`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny_style: Option<DenyStyle>,
    /// What the admission webhook asks of workloads and services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admission: Option<AdmissionSettings>,
}

/// What happens to addresses that nobody knows.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct UnknownSettings {
    /// Packets wait this long for the address to become known; default 0, at most
    /// [`UnknownSettings::HOLD_MS_MAX`].
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "deserialize_hold_ms"
    )]
    pub hold_ms: Option<u32>,
    /// The mode of `unknown` as an end; without one it is not managed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Where no rule names `unknown` and the other end does not decide; default `allow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
}

/// What happens to frames that are not IP.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LinkSettings {
    /// The mode; without one the strictest mode of any workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Let through besides ARP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ether_types: Vec<EtherType>,
}

impl Mode {
    /// As written.
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Discover => "discover",
            Mode::Monitor => "monitor",
            Mode::Protect => "protect",
        }
    }
}

impl UnknownSettings {
    /// A packet that waits longer than this helps nobody: its sender has long tried again.
    pub const HOLD_MS_MAX: u32 = 10_000;
}

fn deserialize_hold_ms<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u32>, D::Error> {
    let hold_ms = u32::deserialize(deserializer)?;
    if hold_ms > UnknownSettings::HOLD_MS_MAX {
        return Err(serde::de::Error::custom(format_args!(
            "{hold_ms} ms is longer than packets may be held; at most {} ms",
            UnknownSettings::HOLD_MS_MAX
        )));
    }
    Ok(Some(hold_ms))
}
