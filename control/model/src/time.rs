//! Lengths and points of time as they are written: "1h30m", "2026-11-30T12:00:00Z". Whole seconds.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ScalarError;
use crate::name::Shortened;

/// A length of time: "90s", "10m", "1h30m", "7d". At least one second, at most ten years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    seconds: u64,
}

/// A point of time, in UTC: "2026-11-30T12:00:00Z".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    unix_s: u64,
}

/// Longest first, as they are written.
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

impl Span {
    /// The longest that can be written.
    pub const SECONDS_MAX: u64 = 10 * 366 * 86_400;

    /// So many seconds; None for none, and beyond [`Self::SECONDS_MAX`].
    pub fn from_seconds(seconds: u64) -> Option<Self> {
        (1..=Self::SECONDS_MAX)
            .contains(&seconds)
            .then_some(Self { seconds })
    }

    /// In seconds.
    pub const fn seconds(self) -> u64 {
        self.seconds
    }

    fn read(text: &str) -> Option<Self> {
        let mut seconds: u64 = 0;
        let mut units = UNITS.iter();
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(|character: char| !character.is_ascii_digit())?;
            let (digits, unit) = rest.split_at(end);
            let letter = unit.chars().next()?;
            let (_, length) = units.find(|(known, _)| *known == letter)?;
            let count: u64 = digits.parse().ok()?;
            seconds = seconds.checked_add(count.checked_mul(*length)?)?;
            rest = unit.strip_prefix(letter)?;
        }
        Self::from_seconds(seconds)
    }
}

impl FromStr for Span {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        Self::read(text).ok_or_else(|| {
            ScalarError::new(format!(
                "{:?} is no length of time from 1s to ten years; write it like 90s, 10m, 1h30m or 7d",
                Shortened(text)
            ))
        })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.seconds;
        for (unit, length) in UNITS {
            if rest >= length {
                write!(formatter, "{}{unit}", rest / length)?;
                rest %= length;
            }
        }
        Ok(())
    }
}

impl Timestamp {
    /// The last that has a year of four digits.
    pub const UNIX_S_MAX: u64 = 253_402_300_799;

    /// So many seconds after 1970; None beyond the year 9999.
    pub fn from_unix_s(unix_s: u64) -> Option<Self> {
        (unix_s <= Self::UNIX_S_MAX).then_some(Self { unix_s })
    }

    /// Seconds since 1970.
    pub const fn unix_s(self) -> u64 {
        self.unix_s
    }
}

impl FromStr for Timestamp {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        humantime::parse_rfc3339(text)
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .and_then(|since| Self::from_unix_s(since.as_secs()))
            .ok_or_else(|| {
                ScalarError::new(format!(
                    "{:?} is no time in UTC; write it like 2026-11-30T12:00:00Z",
                    Shortened(text)
                ))
            })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time: SystemTime = UNIX_EPOCH + std::time::Duration::from_secs(self.unix_s);
        humantime::format_rfc3339_seconds(time).fmt(formatter)
    }
}

macro_rules! as_text {
    ($($type:ident)*) => {
        $(
            impl<'de> Deserialize<'de> for $type {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    String::deserialize(deserializer)?
                        .parse()
                        .map_err(D::Error::custom)
                }
            }

            impl Serialize for $type {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.collect_str(self)
                }
            }
        )*
    };
}

as_text!(Span Timestamp);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_canonical() {
        for (text, seconds, canonical) in [
            ("90s", 90, "1m30s"),
            ("10m", 600, "10m"),
            ("1h30m", 5400, "1h30m"),
            ("7d", 604_800, "7d"),
            ("36h", 129_600, "1d12h"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.seconds(), seconds);
            assert_eq!(span.to_string(), canonical);
            assert_eq!(canonical.parse::<Span>().unwrap(), span);
        }
        for bad in [
            "",
            "0s",
            "10",
            "m",
            "1s1m",
            "1m1m",
            "-1s",
            "1.5h",
            "1 h",
            "100ms",
            "99999999999999999999d",
            "4000d",
            "1ü",
        ] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn timestamps_are_utc() {
        let time: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        assert_eq!(time.unix_s(), 1_796_040_000);
        assert_eq!(time.to_string(), "2026-11-30T12:00:00Z");
        for bad in [
            "",
            "2026-11-30",
            "2026-11-30T12:00:00+01:00",
            "2026-13-30T12:00:00Z",
            "tomorrow",
        ] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }
}
