//! Check digits that are nobody's alone, cards and accounts.

use super::{Digits, characters, digits};

/// First digits of an issuer's range (as many as both bounds have), and its shortest and longest number.
const CARDS: &[(u64, u64, usize, usize)] = &[
    (4, 4, 13, 13),       // Visa, the old length
    (4, 4, 16, 16),       // Visa
    (4, 4, 19, 19),       // Visa
    (51, 55, 16, 16),     // Mastercard
    (2221, 2720, 16, 16), // Mastercard
    (34, 34, 15, 15),     // American Express
    (37, 37, 15, 15),     // American Express
    (6011, 6011, 16, 19), // Discover
    (644, 649, 16, 19),   // Discover
    (65, 65, 16, 19),     // Discover, RuPay
    (62, 62, 16, 19),     // UnionPay
    (3528, 3589, 16, 19), // JCB
    (300, 305, 14, 19),   // Diners Club
    (3095, 3095, 14, 19), // Diners Club
    (36, 36, 14, 19),     // Diners Club
    (38, 39, 14, 19),     // Diners Club
    (2200, 2204, 16, 19), // Mir
    (60, 60, 16, 16),     // RuPay
    (81, 82, 16, 16),     // RuPay
    (508, 508, 16, 16),   // RuPay
    (9792, 9792, 16, 16), // Troy
    (5018, 5018, 12, 19), // Maestro
    (5020, 5020, 12, 19), // Maestro
    (5038, 5038, 12, 19), // Maestro
    (5893, 5893, 12, 19), // Maestro
    (6304, 6304, 12, 19), // Maestro
    (6759, 6759, 12, 19), // Maestro
    (6761, 6763, 12, 19), // Maestro
];

/// Country and length of its account numbers (SWIFT's registry).
const IBAN_LENGTHS: &str = "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 \
CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 \
HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 \
MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 \
SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30";

const VERHOEFF_PRODUCT: [[u8; 10]; 10] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
    [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
    [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
    [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
    [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
    [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
    [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
    [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
    [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
];

/// How the digits of each position are exchanged; repeats every eight.
const VERHOEFF_EXCHANGE: [[u8; 10]; 8] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    [1, 5, 7, 6, 2, 8, 3, 0, 9, 4],
    [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
    [8, 9, 1, 6, 0, 4, 3, 5, 2, 7],
    [9, 4, 5, 3, 1, 2, 6, 8, 7, 0],
    [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
    [2, 7, 9, 3, 8, 0, 6, 4, 1, 5],
    [7, 0, 4, 6, 9, 1, 3, 2, 5, 8],
];

pub(super) fn luhn(value: &[u8]) -> bool {
    digits(value).is_some_and(|digits| is_luhn(&digits))
}

pub(super) fn is_luhn(digits: &[u8]) -> bool {
    let doubled = |digit: u8| if digit < 5 { 2 * digit } else { 2 * digit - 9 };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, digit)| {
            u32::from(if index % 2 == 0 {
                *digit
            } else {
                doubled(*digit)
            })
        })
        .sum();
    digits.len() > 1 && sum.is_multiple_of(10)
}

pub(super) fn verhoeff(value: &[u8]) -> bool {
    digits(value).is_some_and(|digits| is_verhoeff(&digits))
}

pub(super) fn is_verhoeff(digits: &[u8]) -> bool {
    let exchange = VERHOEFF_EXCHANGE.iter().cycle();
    let check = digits
        .iter()
        .rev()
        .zip(exchange)
        .fold(0u8, |check, (digit, row)| {
            VERHOEFF_PRODUCT[usize::from(check)][usize::from(row[usize::from(*digit)])]
        });
    digits.len() > 1 && check == 0
}

pub(super) fn mod97(value: &[u8]) -> bool {
    let characters = characters(value);
    characters.len() > 2 && remainder_of_97(characters.iter()) == 1
}

/// Letters count 10 to 35.
fn remainder_of_97<'a>(characters: impl Iterator<Item = &'a u8>) -> u32 {
    characters.fold(0, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        letter => (rest * 100 + u32::from(letter.saturating_sub(b'A')) + 10) % 97,
    })
}

pub(super) fn mod11_10(value: &[u8]) -> bool {
    digits(value).is_some_and(|digits| is_mod11_10(&digits))
}

pub(super) fn is_mod11_10(digits: &[u8]) -> bool {
    let Some((check, others)) = digits.split_last() else {
        return false;
    };
    let product = others.iter().fold(10u32, |product, digit| {
        let sum = (product + u32::from(*digit)) % 10;
        2 * (if sum == 0 { 10 } else { sum }) % 11
    });
    !others.is_empty() && (product + u32::from(*check)) % 10 == 1
}

pub(super) fn payment_card(value: &[u8]) -> bool {
    let Some(digits) = digits(value) else {
        return false;
    };
    let all_equal = digits.windows(2).all(|pair| pair[0] == pair[1]);
    !all_equal && CARDS.iter().any(|row| in_range(&digits, *row)) && is_luhn(&digits)
}

fn in_range(digits: &Digits, (first, last, shortest, longest): (u64, u64, usize, usize)) -> bool {
    let prefix_digits = first.ilog10() as usize + 1;
    let prefix = digits.get(..prefix_digits).map(super::number);
    (shortest..=longest).contains(&digits.len())
        && prefix.is_some_and(|prefix| (first..=last).contains(&prefix))
}

pub(super) fn iban(value: &[u8]) -> bool {
    let characters = characters(value);
    let (Some(country), Some(rest)) = (characters.get(..2), characters.get(4..)) else {
        return false;
    };
    let length = IBAN_LENGTHS
        .split_ascii_whitespace()
        .filter_map(|row| row.split_at_checked(2))
        .find(|(name, _)| name.as_bytes() == country)
        .and_then(|(_, length)| length.parse::<usize>().ok());
    length == Some(characters.len()) && remainder_of_97(rest.iter().chain(&characters[..4])) == 1
}

pub(super) fn no_placeholder(value: &[u8]) -> bool {
    const WORDS: [&[u8]; 7] = [
        b"example",
        b"xxxx",
        b"placeholder",
        b"changeme",
        b"dummy",
        b"your_",
        b"your-",
    ];
    let has = |word: &[u8]| {
        let equal = |part: &[u8]| part.eq_ignore_ascii_case(word);
        value.windows(word.len()).any(equal)
    };
    let mut seen = [false; 256];
    for byte in value {
        seen[usize::from(*byte)] = true;
    }
    let different = seen.iter().filter(|seen| **seen).count();
    different >= 6.min(value.len().max(1)) && !WORDS.iter().any(|word| has(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_by_luhn_and_verhoeff() {
        assert!(luhn(b"79927398713") && !luhn(b"79927398710"));
        assert!(verhoeff(b"2363") && !verhoeff(b"2364"));
        assert!(mod11_10(b"794623") && !mod11_10(b"794624"));
    }

    #[test]
    fn one_wrong_digit_is_always_found() {
        for position in 0..12usize {
            for add in 1..10u8 {
                let mut card = *b"4000001234567899";
                assert!(payment_card(&card));
                let digit = &mut card[position + 4];
                *digit = b'0' + (*digit - b'0' + add) % 10;
                assert!(!payment_card(&card), "{}", String::from_utf8_lossy(&card));
            }
        }
    }

    #[test]
    fn accounts_have_their_countrys_length() {
        assert!(iban(b"DE89 3704 0044 0532 0130 00"));
        assert!(iban(b"GB82WEST12345698765432"));
        assert!(!iban(b"DE88 3704 0044 0532 0130 00"));
        assert!(!iban(b"XX89370400440532013000"));
        assert!(!iban(b"DE8937040044053201300"));
    }

    #[test]
    fn placeholders_are_told_from_secrets() {
        assert!(no_placeholder(b"AKIAQ3EGRZ7TKLM2V5WD"));
        assert!(!no_placeholder(b"AKIAIOSFODNN7EXAMPLE"));
        assert!(!no_placeholder(b"aaaaaaaaaaaaaaaaaaaa"));
    }
}
