//! Numbers of people and companies outside Europe.

use super::numbers::is_verhoeff;
use super::{characters, exactly, is_date, number, weighted};

/// Numbers that were printed in advertisements and never given.
const SSN_PRINTED: [u64; 3] = [78_051_120, 219_099_999, 457_555_462];

/// First two digits of a place in China.
const CN_PROVINCES: [u64; 34] = [
    11, 12, 13, 14, 15, 21, 22, 23, 31, 32, 33, 34, 35, 36, 37, 41, 42, 43, 44, 45, 46, 50, 51, 52,
    53, 54, 61, 62, 63, 64, 65, 71, 81, 82,
];

pub(super) fn us_ssn(value: &[u8]) -> bool {
    let Some(digits) = exactly::<9>(value) else {
        return false;
    };
    let (area, group, serial) = (
        number(&digits[..3]),
        number(&digits[3..5]),
        number(&digits[5..]),
    );
    let given = area != 0 && area != 666 && area < 900 && group != 0 && serial != 0;
    given && !SSN_PRINTED.contains(&number(&digits)) && digits.iter().any(|one| *one != digits[0])
}

pub(super) fn cn_id(value: &[u8]) -> bool {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let characters = characters(value);
    let Some((check, others)) = characters.split_last() else {
        return false;
    };
    let Some(digits) = exactly::<17>(others) else {
        return false;
    };
    let year = number(&digits[6..10]);
    CN_PROVINCES.contains(&number(&digits[..2]))
        && (1850..2100).contains(&year)
        && is_date(number(&digits[10..12]), number(&digits[12..14]))
        && b"10X98765432"[(weighted(&digits, &WEIGHTS) % 11) as usize] == *check
}

/// A check digit of Brazil: 11 less the remainder, from 10 on 0.
fn brazilian(digits: &[u8], weights: &[u32]) -> u8 {
    let rest = weighted(digits, weights) % 11;
    if rest < 2 { 0 } else { (11 - rest) as u8 }
}

pub(super) fn br_cpf(value: &[u8]) -> bool {
    const WEIGHTS: [u32; 10] = [11, 10, 9, 8, 7, 6, 5, 4, 3, 2];
    exactly::<11>(value).is_some_and(|digits| {
        digits.iter().any(|digit| *digit != digits[0])
            && brazilian(&digits[..9], &WEIGHTS[1..]) == digits[9]
            && brazilian(&digits[..10], &WEIGHTS) == digits[10]
    })
}

pub(super) fn br_cnpj(value: &[u8]) -> bool {
    const WEIGHTS: [u32; 13] = [6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2];
    exactly::<14>(value).is_some_and(|digits| {
        digits.iter().any(|digit| *digit != digits[0])
            && brazilian(&digits[..12], &WEIGHTS[1..]) == digits[12]
            && brazilian(&digits[..13], &WEIGHTS) == digits[13]
    })
}

pub(super) fn in_aadhaar(value: &[u8]) -> bool {
    exactly::<12>(value).is_some_and(|digits| {
        let palindrome = digits.iter().eq(digits.iter().rev());
        digits[0] > 1 && !palindrome && is_verhoeff(&digits)
    })
}

/// Five letters, of which the fourth is the kind of holder; four digits; a letter.
pub(super) fn in_pan(value: &[u8]) -> bool {
    let Ok(characters) = <[u8; 10]>::try_from(characters(value).as_slice()) else {
        return false;
    };
    let letters = characters[..5].iter().chain(&characters[9..]);
    letters.copied().all(|byte| byte.is_ascii_uppercase())
        && b"ABCFGHJLPT".contains(&characters[3])
        && characters[5..9].iter().all(u8::is_ascii_digit)
        && characters[5..9] != *b"0000"
}
