//! How a match is shown: enough to find it again, never enough to use it.

use std::fmt;

use arrayvec::ArrayVec;
use weir_policy::spec::SensorMask;

/// Bytes of an excerpt.
const EXCERPT_BYTES: usize = 64;
/// The most characters of a secret that are shown.
const SECRET_SHOWN_MAX: usize = 4;
/// A shorter number is no card's.
const CARD_DIGITS_MIN: usize = 12;

/// A match as it may be told: printable ASCII.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excerpt(ArrayVec<u8, EXCERPT_BYTES>);

impl Excerpt {
    pub(super) fn of(value: &[u8], mask: SensorMask) -> Self {
        let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
        match mask {
            SensorMask::None => Self::masked(value, |_, _| true),
            SensorMask::Card if digits >= CARD_DIGITS_MIN => {
                let mut before = 0;
                Self::masked(value, |_, byte| {
                    let position = before;
                    before += usize::from(byte.is_ascii_digit());
                    !byte.is_ascii_alphanumeric() || position < 6 || position + 4 >= digits
                })
            }
            SensorMask::Card | SensorMask::Secret => {
                let shown = (value.len() / 4).min(SECRET_SHOWN_MAX);
                Self::masked(value, |index, _| index < shown)
            }
        }
    }

    fn masked(value: &[u8], mut shown: impl FnMut(usize, u8) -> bool) -> Self {
        let byte = |(index, &byte): (usize, &u8)| match byte {
            byte if !shown(index, byte) => b'*',
            b' ' | b'!'..=b'~' => byte,
            _ => b'.',
        };
        Self(
            value
                .iter()
                .take(EXCERPT_BYTES)
                .enumerate()
                .map(byte)
                .collect(),
        )
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_shows_six_and_four_and_a_secret_its_beginning() {
        let shown = |value: &[u8], mask| Excerpt::of(value, mask).to_string();
        assert_eq!(
            shown(b"4111 1111 1111 1111", SensorMask::Card),
            "4111 11** **** 1111"
        );
        assert_eq!(
            shown(b"378282246310005", SensorMask::Card),
            "378282*****0005"
        );
        assert_eq!(shown(b"12345", SensorMask::Card), "1****");
        assert_eq!(
            shown(b"AKIAABCDEFGHIJKLMNOP", SensorMask::Secret),
            "AKIA****************"
        );
        assert_eq!(shown(b"abc", SensorMask::Secret), "***");
        assert_eq!(shown(b"a\n\xffb", SensorMask::None), "a..b");
        assert_eq!(shown(&[b'x'; 200], SensorMask::None).len(), 64);
    }
}
