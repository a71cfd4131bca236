//! Packets that are kept when something happens: whose, and how many.

use serde::{Deserialize, Serialize};

use crate::Span;

/// Which packets, and how many. Whatever is reached first ends it.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Capture {
    /// Of the connection (default), or of everything that the workload says and hears. Where the
    /// event tells of no connection, as those of Falco and Tetragon, always of the workload.
    #[serde(default, skip_serializing_if = "CaptureOf::is_flow")]
    pub of: CaptureOf,
    /// At most so many packets on each node; default 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets: Option<u32>,
    /// At most so many bytes of them on each node; default 10 MiB (10485760).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u32>,
    /// For so long, up to 1h; default 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Span>,
}

/// Whose packets.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaptureOf {
    /// The connection's, both ways.
    #[default]
    Flow,
    /// All of the workload that the rule's target and side selected.
    Workload,
}

impl Capture {
    /// The most packets.
    pub const PACKETS_MAX: u32 = 1_000_000;
    /// The least bytes: a frame of the largest size.
    pub const BYTES_MIN: u32 = 65_536;
    /// The most bytes: 1 GiB.
    pub const BYTES_MAX: u32 = 1 << 30;
    /// The longest, in seconds.
    pub const SECONDS_MAX: u64 = 3_600;

    /// The most packets of this one.
    pub fn packets_max(&self) -> u32 {
        self.packets.unwrap_or(1_000)
    }

    /// The most bytes of this one.
    pub fn bytes_max(&self) -> u32 {
        self.bytes.unwrap_or(10 << 20)
    }

    /// How long this one lasts.
    pub fn seconds(&self) -> u64 {
        self.duration.map_or(60, Span::seconds)
    }

    /// Every limit that is out of bounds: field, what is wrong, what to do.
    pub fn mistakes(&self) -> Vec<(&'static str, String, &'static str)> {
        let mut mistakes = Vec::new();
        if !(1..=Self::PACKETS_MAX).contains(&self.packets_max()) {
            let told = format!("a capture has 1 to {} packets", Self::PACKETS_MAX);
            mistakes.push(("packets", told, "write a number between, or leave it out"));
        }
        if !(Self::BYTES_MIN..=Self::BYTES_MAX).contains(&self.bytes_max()) {
            let (least, most) = (Self::BYTES_MIN, Self::BYTES_MAX);
            let told = format!("a capture has {least} to {most} bytes");
            mistakes.push(("bytes", told, "write a number between, or leave it out"));
        }
        if !(1..=Self::SECONDS_MAX).contains(&self.seconds()) {
            let told = "a capture lasts at most 1h".to_owned();
            mistakes.push(("duration", told, "write it like 60s or 10m"));
        }
        mistakes
    }
}

impl CaptureOf {
    fn is_flow(&self) -> bool {
        *self == Self::Flow
    }
}
