//! Numbers in the bytes: what byte_test, byte_jump, byte_extract and byte_math read.

use super::text::Text;
use crate::compile::SLOTS;
use crate::rule::{Arithmetic, ByteRead, Comparison, NumberForm, Value};

/// Values that were put aside.
pub(crate) type Slots = [u64; SLOTS];

/// What reading came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The number, and the place behind it.
    Number(u64, u64),
    /// Its bytes are behind the last one.
    Beyond,
    /// There is no such number.
    Nothing,
}

/// The value of a number that is written or was put aside.
pub(crate) fn value(value: Value, slots: &Slots) -> i64 {
    match value {
        Value::Number(number) => number,
        Value::Variable(slot) => {
            let number = slots.get(usize::from(slot.0)).copied().unwrap_or(0);
            i64::try_from(number).unwrap_or(i64::MAX)
        }
    }
}

/// Reads a number.
pub(crate) fn read(
    read: &ByteRead,
    text: &Text<'_>,
    cursor: u64,
    slots: &Slots,
    dce_is_little: bool,
) -> Reading {
    let from = if read.relative { cursor } else { 0 };
    let Some(start) = from.checked_add_signed(value(read.offset, slots)) else {
        return Reading::Nothing;
    };
    let Ok(count) = usize::try_from(value(read.count, slots)) else {
        return Reading::Nothing;
    };
    if let (0, NumberForm::Text(base)) = (count, read.form) {
        return digits(text, start, base.into());
    }
    let end = start.saturating_add(count as u64);
    let Some(bytes) = text.get(start, count) else {
        return match end > text.total() {
            true => Reading::Beyond,
            false => Reading::Nothing,
        };
    };
    let number = match read.form {
        NumberForm::Big => binary(bytes.iter()),
        NumberForm::Little => binary(bytes.iter().rev()),
        NumberForm::Dce if dce_is_little => binary(bytes.iter().rev()),
        NumberForm::Dce => binary(bytes.iter()),
        NumberForm::Text(base) => written(bytes, base.into()),
    };
    let Some(number) = number else {
        return Reading::Nothing;
    };
    let number = match read.bitmask.map(u64::from) {
        Some(0) => 0,
        Some(mask) => (number & mask) >> mask.trailing_zeros(),
        None => number,
    };
    Reading::Number(number, end)
}

/// As many digits as there are; more may come.
fn digits(text: &Text<'_>, start: u64, base: u32) -> Reading {
    let Some(bytes) = text.from(start) else {
        return match start >= text.total() {
            true => Reading::Beyond,
            false => Reading::Nothing,
        };
    };
    let bytes = &bytes[..bytes.len().min(23)];
    let last = |byte: &u8| char::from(*byte).is_digit(base);
    let length = bytes.iter().take_while(|byte| last(byte)).count();
    let is_cut = length == bytes.len() && length < 23 && text.end == super::text::End::Open;
    match written(&bytes[..length], base) {
        _ if is_cut => Reading::Beyond,
        Some(number) => Reading::Number(number, start + length as u64),
        None => Reading::Nothing,
    }
}

fn binary<'a>(bytes: impl ExactSizeIterator<Item = &'a u8>) -> Option<u64> {
    (bytes.len() <= 8).then(|| bytes.fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

/// A number as text: blanks before it and what follows its digits are passed over, as strtoull does.
fn written(bytes: &[u8], base: u32) -> Option<u64> {
    let digits = bytes.trim_ascii_start();
    let digits = match digits {
        [b'0', b'x' | b'X', digits @ ..]
            if base == 16 && digits.first().is_some_and(u8::is_ascii_hexdigit) =>
        {
            digits
        }
        digits => digits,
    };
    let mut number = None;
    for &byte in digits {
        let Some(digit) = char::from(byte).to_digit(base) else {
            break;
        };
        let so_far: u64 = number.unwrap_or(0);
        number = Some(
            so_far
                .saturating_mul(base.into())
                .saturating_add(digit.into()),
        );
    }
    number
}

/// Compares.
pub(crate) const fn compare(number: u64, operator: Comparison, with: u64) -> bool {
    match operator {
        Comparison::Less => number < with,
        Comparison::LessOrEqual => number <= with,
        Comparison::Equal => number == with,
        Comparison::GreaterOrEqual => number >= with,
        Comparison::Greater => number > with,
        Comparison::And => number & with != 0,
        Comparison::Xor => number & with == 0,
    }
}

/// Calculates; None where there is no result.
pub(crate) fn calculate(number: u64, operator: Arithmetic, with: u64) -> Option<u64> {
    let shift = u32::try_from(with).ok();
    match operator {
        Arithmetic::Add => number.checked_add(with),
        Arithmetic::Subtract => number.checked_sub(with),
        Arithmetic::Multiply => number.checked_mul(with),
        Arithmetic::Divide => number.checked_div(with),
        Arithmetic::ShiftLeft => number.checked_shl(shift?),
        Arithmetic::ShiftRight => number.checked_shr(shift?),
    }
}

/// The next multiple of `to`; 0 and 1 leave it.
pub(crate) fn align(number: u64, to: u64) -> u64 {
    match to {
        0 => number,
        to => number.checked_next_multiple_of(to).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(form: NumberForm, count: i64, offset: i64) -> ByteRead {
        ByteRead {
            count: Value::Number(count),
            offset: Value::Number(offset),
            relative: false,
            form,
            bitmask: None,
        }
    }

    fn of(bytes: &[u8], what: ByteRead) -> Reading {
        read(&what, &Text::whole(bytes), 0, &[0; SLOTS], true)
    }

    #[test]
    fn numbers_are_read_as_they_are_written() {
        let bytes = b"\x01\x02\x03\x04 0x1fz";
        for (what, wanted) in [
            (form(NumberForm::Big, 2, 0), Reading::Number(0x0102, 2)),
            (
                form(NumberForm::Little, 4, 0),
                Reading::Number(0x0403_0201, 4),
            ),
            (form(NumberForm::Dce, 2, 1), Reading::Number(0x0302, 3)),
            (form(NumberForm::Text(16), 6, 4), Reading::Number(0x1f, 10)),
            (form(NumberForm::Text(10), 6, 4), Reading::Number(0, 10)),
            (form(NumberForm::Text(10), 1, 9), Reading::Nothing),
            (form(NumberForm::Big, 8, 3), Reading::Beyond),
            (form(NumberForm::Big, 1, -1), Reading::Nothing),
        ] {
            assert_eq!(of(bytes, what), wanted, "{what:?}");
        }
        let masked = ByteRead {
            bitmask: Some(0xf0),
            ..form(NumberForm::Big, 1, 3)
        };
        assert_eq!(of(b"\0\0\0\xab", masked), Reading::Number(0xa, 4));
    }
}
