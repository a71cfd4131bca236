//! Pieces of a rule's text that know where they stand, and the numbers and tests written in them.

use super::number::NumberTest;
use super::refusal::Mistake;

/// A piece of the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'a> {
    /// What it says.
    pub text: &'a str,
    /// Where it begins.
    pub at: usize,
}

impl<'a> Word<'a> {
    pub const fn new(text: &'a str, at: usize) -> Self {
        Self { text, at }
    }

    /// Without white space around it.
    pub fn trim(self) -> Self {
        let text = self.text.trim_start();
        let at = self.at + (self.text.len() - text.len());
        Self::new(text.trim_end(), at)
    }

    /// What follows its first `bytes`, which end at a character.
    pub fn behind(self, bytes: usize) -> Self {
        Self::new(self.text.get(bytes..).unwrap_or_default(), self.at + bytes)
    }

    /// Its first `bytes`, which end at a character.
    pub fn before(self, bytes: usize) -> Self {
        Self::new(self.text.get(..bytes).unwrap_or_default(), self.at)
    }

    /// Its parts between separators, trimmed.
    pub fn split(self, separator: char) -> impl Iterator<Item = Self> {
        let base = self.text.as_ptr() as usize;
        self.text.split(separator).map(move |part| {
            let offset = part.as_ptr() as usize - base;
            Self::new(part, self.at + offset).trim()
        })
    }

    /// What stands before and behind the first separator, trimmed.
    pub fn split_once(self, separator: char) -> Option<(Self, Self)> {
        let found = self.text.find(separator)?;
        let behind = self.behind(found + separator.len_utf8());
        Some((self.before(found).trim(), behind.trim()))
    }

    /// What follows this prefix, trimmed.
    pub fn strip_prefix(self, prefix: &str) -> Option<Self> {
        let rest = self.text.strip_prefix(prefix)?;
        Some(Self::new(rest, self.at + prefix.len()).trim())
    }

    /// What stands before this suffix, trimmed.
    pub fn strip_suffix(self, suffix: &str) -> Option<Self> {
        let rest = self.text.strip_suffix(suffix)?;
        Some(Self::new(rest, self.at).trim())
    }

    /// What follows this prefix, as it stands.
    pub fn strip_prefix_untrimmed(self, prefix: &str) -> Option<Self> {
        let rest = self.text.strip_prefix(prefix)?;
        Some(Self::new(rest, self.at + prefix.len()))
    }

    /// What stands before this suffix, as it stands.
    pub fn strip_suffix_untrimmed(self, suffix: &str) -> Option<Self> {
        let rest = self.text.strip_suffix(suffix)?;
        Some(Self::new(rest, self.at))
    }

    /// The first word and the rest: `offset 4`.
    pub fn first_word(self) -> (Self, Self) {
        let end = self.text.find(char::is_whitespace);
        let end = end.unwrap_or(self.text.len());
        (self.before(end), self.behind(end).trim())
    }

    /// A mistake here.
    pub fn malformed(self, why: impl Into<String>) -> Mistake {
        Mistake::malformed(self.at, why)
    }

    /// As a number: decimal, `0x…`, with `kb`, `mb`, `gb` behind it.
    pub fn number(self) -> Result<u64, Mistake> {
        parse_unsigned(self.text).ok_or_else(|| {
            let text = self.text;
            self.malformed(format!(
                "{text:?} is no number: write it in decimal or as 0x…"
            ))
        })
    }

    /// As a number that fits.
    pub fn number_to(self, highest: u64) -> Result<u64, Mistake> {
        let number = self.number()?;
        if number > highest {
            return Err(self.malformed(format!("{number} is too large: at most {highest}")));
        }
        Ok(number)
    }

    /// As a number that fits 32 bits.
    pub fn number_u32(self) -> Result<u32, Mistake> {
        let number = self.number_to(u64::from(u32::MAX))?;
        Ok(u32::try_from(number).unwrap_or(u32::MAX))
    }

    /// As a number with a sign.
    pub fn signed(self) -> Result<i64, Mistake> {
        let (negative, digits) = match self.text.strip_prefix('-') {
            Some(digits) => (true, Self::new(digits, self.at + 1)),
            None => (false, self.strip_prefix("+").unwrap_or(self)),
        };
        let number = digits.number_to(u64::from(u32::MAX))?;
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        Ok(if negative { -number } else { number })
    }

    /// As a test: `5`, `=5`, `!5`, `<5`, `>=5`, `5<>9`, `5-9`, `!5-9`, `&0xc0=0x80`. Ranges leave out
    /// their ends.
    pub fn test(self, highest: u64) -> Result<NumberTest, Mistake> {
        let word = self.trim();
        if word.text.is_empty() {
            return Err(word.malformed("a number is missing"));
        }
        if let Some(rest) = word.strip_prefix("&") {
            return rest.mask_test(highest);
        }
        let operators = ["<=", ">=", "!=", "<", ">", "=", "!"];
        for operator in operators {
            let Some(rest) = word.strip_prefix(operator) else {
                continue;
            };
            if operator == "!"
                && let Some((low, high)) = rest.ends()
            {
                let (low, high) = (low.number_to(highest)?, high.number_to(highest)?);
                return Ok(exclusive(low, high)
                    .map_or(NumberTest::Within(0, u64::MAX), |(low, high)| {
                        NumberTest::Outside(low, high)
                    }));
            }
            let number = rest.number_to(highest)?;
            return compare(operator, number).ok_or_else(|| {
                let why = format!("no number is {}{number}: it can never hold", operator);
                Mistake::impossible(word.at, why)
            });
        }
        if let Some((low, high)) = word.ends() {
            let (low, high) = (low.number_to(highest)?, high.number_to(highest)?);
            let Some((low, high)) = exclusive(low, high) else {
                let why = format!(
                    "nothing lies between {low} and {high}: the ends of a range are not part of it"
                );
                return Err(Mistake::impossible(word.at, why));
            };
            return Ok(NumberTest::Within(low, high));
        }
        Ok(NumberTest::equals(word.number_to(highest)?))
    }

    /// The ends of a range.
    fn ends(self) -> Option<(Self, Self)> {
        if let Some(found) = self.text.find("<>") {
            return Some((self.before(found).trim(), self.behind(found + 2).trim()));
        }
        self.split_once('-')
    }

    fn mask_test(self, highest: u64) -> Result<NumberTest, Mistake> {
        let Some((mask, value)) = self.split_once('=') else {
            return Err(self.malformed("a mask is compared with a number: &0xc0=0x80"));
        };
        let (mask, equal) = match mask.strip_suffix("!") {
            Some(mask) => (mask, false),
            None => (mask, true),
        };
        let (mask, value) = (mask.number_to(highest)?, value.number_to(highest)?);
        if value & !mask != 0 {
            let why = format!("{value} has bits outside of the mask {mask}: it can never hold");
            return Err(Mistake::impossible(self.at, why));
        }
        Ok(NumberTest::Masked { mask, value, equal })
    }
}

/// The ends of a range with its ends, for one without.
fn exclusive(low: u64, high: u64) -> Option<(u64, u64)> {
    let (low, high) = (low.checked_add(1)?, high.checked_sub(1)?);
    (low <= high).then_some((low, high))
}

/// A comparison as a test; None where it never holds or is none.
pub(super) fn compare(operator: &str, number: u64) -> Option<NumberTest> {
    match operator {
        "=" | "==" => Some(NumberTest::equals(number)),
        "!" | "!=" => Some(NumberTest::Outside(number, number)),
        "<" => Some(NumberTest::Within(0, number.checked_sub(1)?)),
        "<=" => Some(NumberTest::Within(0, number)),
        ">" => Some(NumberTest::Within(number.checked_add(1)?, u64::MAX)),
        ">=" => Some(NumberTest::Within(number, u64::MAX)),
        _ => None,
    }
}

fn parse_unsigned(text: &str) -> Option<u64> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        // Not from_str_radix alone: it takes a sign.
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        return plain.then(|| u64::from_str_radix(digits, 16).ok())?;
    }
    let end = text.find(|letter: char| !letter.is_ascii_digit());
    let (digits, unit) = text.split_at(end.unwrap_or(text.len()));
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" => 1,
        "kb" | "kib" => 1 << 10,
        "mb" | "mib" => 1 << 20,
        "gb" | "gib" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(text: &str) -> Result<NumberTest, Mistake> {
        Word::new(text, 7).test(255)
    }

    #[test]
    fn tests_of_numbers() {
        use NumberTest::{Outside, Within};
        for (text, meant) in [
            ("5", Within(5, 5)),
            (" = 0x10", Within(16, 16)),
            ("!5", Outside(5, 5)),
            ("!=5", Outside(5, 5)),
            ("<5", Within(0, 4)),
            ("<= 5", Within(0, 5)),
            (">5", Within(6, u64::MAX)),
            (">=5", Within(5, u64::MAX)),
            ("5<>9", Within(6, 8)),
            ("5 - 9", Within(6, 8)),
            ("!5-9", Outside(6, 8)),
        ] {
            assert_eq!(test(text), Ok(meant), "{text}");
        }
        let mask = NumberTest::Masked {
            mask: 0xc0,
            value: 0x80,
            equal: false,
        };
        assert_eq!(test("&0xc0!=0x80"), Ok(mask));
        assert_eq!(Word::new("2kb", 0).number().unwrap(), 2048);
    }

    #[test]
    fn mistakes_say_where() {
        for (text, at) in [
            ("", 7),
            ("x", 7),
            ("> 300", 9),
            ("5<>6", 7),
            ("<0", 7),
            ("&0x40=0x80", 8),
            ("0x+1", 7),
            ("99999999999999999999", 7),
            ("99999999999gb", 7),
        ] {
            assert_eq!(test(text).map_err(|mistake| mistake.at), Err(at), "{text}");
        }
    }
}
