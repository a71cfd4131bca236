//! Numbers of people in the European Union. Malta's identity cards have no check digit.

use super::numbers::{is_luhn, is_mod11_10, is_verhoeff};
use super::{characters, digits, exactly, is_date, number, weighted};

/// The pairs of a date, as most numbers begin: `digits[from..from + 2]`.
fn pair(digits: &[u8], from: usize) -> u64 {
    digits.get(from..from + 2).map_or(0, number)
}

pub(super) fn at_svnr(value: &[u8]) -> bool {
    exactly::<10>(value).is_some_and(|digits| {
        let sum = weighted(&digits, &[3, 7, 9, 0, 5, 8, 4, 2, 1, 6]);
        // Months 13 to 15 are given where a day has run out of numbers.
        let month = pair(&digits, 6);
        let dated = is_date(month, pair(&digits, 4)) || (13..=15).contains(&month);
        digits[0] != 0 && dated && sum % 11 == u32::from(digits[3])
    })
}

pub(super) fn be_national(value: &[u8]) -> bool {
    exactly::<11>(value).is_some_and(|digits| {
        let (others, check) = (number(&digits[..9]), number(&digits[9..]));
        // 20 and 40 are added to the months of those who are not registered.
        let month = pair(&digits, 2) % 20;
        let dated = month == 0 || pair(&digits, 4) == 0 || is_date(month, pair(&digits, 4));
        let of = |number: u64| 97 - number % 97 == check;
        dated && others != 0 && (of(others) || of(2_000_000_000 + others))
    })
}

pub(super) fn bg_egn(value: &[u8]) -> bool {
    exactly::<10>(value).is_some_and(|digits| {
        let sum = weighted(&digits[..9], &[2, 4, 8, 5, 10, 9, 7, 3, 6]);
        // 20: born in the nineteenth century, 40: in the twenty-first.
        let month = pair(&digits, 2);
        let month = if month > 40 { month - 40 } else { month % 20 };
        is_date(month, pair(&digits, 4)) && sum % 11 % 10 == u32::from(digits[9])
    })
}

pub(super) fn cy_tic(value: &[u8]) -> bool {
    const ODD: [u32; 10] = [1, 0, 5, 7, 9, 13, 15, 17, 19, 21];
    let characters = characters(value);
    let Some((check, others)) = characters.split_last() else {
        return false;
    };
    exactly::<8>(others).is_some_and(|digits| {
        let sum: u32 = digits
            .iter()
            .enumerate()
            .map(|(index, digit)| match index % 2 {
                0 => ODD[usize::from(*digit)],
                _ => u32::from(*digit),
            })
            .sum();
        u32::from(check.wrapping_sub(b'A')) == sum % 26
    })
}

pub(super) fn cz_sk_rc(value: &[u8]) -> bool {
    exactly::<10>(value).is_some_and(|digits| {
        // 50: a woman; 20: a day that has run out of numbers.
        let month = pair(&digits, 2) % 50;
        let month = if month > 20 { month - 20 } else { month };
        let whole = number(&digits);
        // Until 1985 a remainder of ten was written as 0.
        let old = number(&digits[..9]) % 11 == 10 && digits[9] == 0;
        is_date(month, pair(&digits, 4)) && (whole.is_multiple_of(11) || old)
    })
}

/// Of the first ten digits one occurs twice or three times, never three times in a row.
pub(super) fn de_tax_id(value: &[u8]) -> bool {
    exactly::<11>(value).is_some_and(|digits| {
        let mut counts = [0u8; 10];
        for digit in &digits[..10] {
            counts[usize::from(*digit)] += 1;
        }
        let repeated = counts.iter().filter(|count| **count > 1).count();
        let most = counts.iter().max().copied().unwrap_or(0);
        let in_a_row = digits[..10]
            .windows(3)
            .any(|three| three.iter().all(|one| *one == three[0]));
        digits[0] != 0 && repeated == 1 && most <= 3 && !in_a_row && is_mod11_10(&digits)
    })
}

pub(super) fn dk_cpr(value: &[u8]) -> bool {
    exactly::<10>(value).is_some_and(|digits| {
        is_date(pair(&digits, 2), pair(&digits, 0))
            && weighted(&digits, &[4, 3, 2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11)
    })
}

pub(super) fn ee_lt_id(value: &[u8]) -> bool {
    exactly::<11>(value).is_some_and(|digits| {
        let others = &digits[..10];
        let check = match weighted(others, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 1]) % 11 {
            10 => weighted(others, &[3, 4, 5, 6, 7, 8, 9, 1, 2, 3]) % 11 % 10,
            check => check,
        };
        (1..=8).contains(&digits[0])
            && is_date(pair(&digits, 3), pair(&digits, 5))
            && check == u32::from(digits[10])
    })
}

pub(super) fn es_dni(value: &[u8]) -> bool {
    let mut characters = characters(value);
    let Some(first) = characters.first_mut() else {
        return false;
    };
    // NIE: X, Y and Z stand for 0, 1 and 2.
    if let b'X'..=b'Z' = first {
        *first = *first - b'X' + b'0';
    }
    let Some((check, others)) = characters.split_last() else {
        return false;
    };
    exactly::<8>(others).is_some_and(|digits| {
        let whole = number(&digits);
        whole != 0 && b"TRWAGMYFPDXBNJZSQVHLCKE"[(whole % 23) as usize] == *check
    })
}

pub(super) fn fi_hetu(value: &[u8]) -> bool {
    let Ok(mut value) = <[u8; 11]>::try_from(value) else {
        return false;
    };
    value.make_ascii_uppercase();
    let century = b"+-ABCDEFUVWXY".contains(&value[6]);
    let (Some(date), Some(serial)) = (exactly::<6>(&value[..6]), exactly::<3>(&value[7..10]))
    else {
        return false;
    };
    let rest = (number(&date) * 1000 + number(&serial)) % 31;
    century
        && number(&serial) >= 2
        && is_date(pair(&date, 2), pair(&date, 0))
        && b"0123456789ABCDEFHJKLMNPRSTUVWXY"[rest as usize] == value[10]
}

pub(super) fn fr_nir(value: &[u8]) -> bool {
    let characters = characters(value);
    // Corsica: 2A counts as 19, 2B as 18.
    let mut plain = characters.clone();
    match characters.get(5..7) {
        Some(b"2A") => plain[5..7].copy_from_slice(b"19"),
        Some(b"2B") => plain[5..7].copy_from_slice(b"18"),
        _ => {}
    }
    exactly::<15>(&plain).is_some_and(|digits| {
        let month = pair(&digits, 3);
        let known = matches!(month, 1..=12 | 20 | 30..=42 | 50..=99);
        matches!(digits[0], 1..=4 | 7 | 8)
            && known
            && 97 - number(&digits[..13]) % 97 == number(&digits[13..])
    })
}

pub(super) fn gr_amka(value: &[u8]) -> bool {
    exactly::<11>(value)
        .is_some_and(|digits| is_date(pair(&digits, 2), pair(&digits, 0)) && is_luhn(&digits))
}

pub(super) fn gr_afm(value: &[u8]) -> bool {
    exactly::<9>(value).is_some_and(|digits| {
        let sum = weighted(&digits[..8], &[256, 128, 64, 32, 16, 8, 4, 2]);
        sum != 0 && sum % 11 % 10 == u32::from(digits[8])
    })
}

pub(super) fn hr_oib(value: &[u8]) -> bool {
    exactly::<11>(value).is_some_and(|digits| number(&digits) != 0 && is_mod11_10(&digits))
}

pub(super) fn hu_taj(value: &[u8]) -> bool {
    exactly::<9>(value).is_some_and(|digits| {
        let sum = weighted(&digits[..8], &[3, 7, 3, 7, 3, 7, 3, 7]);
        sum != 0 && sum % 10 == u32::from(digits[8])
    })
}

pub(super) fn hu_tax(value: &[u8]) -> bool {
    exactly::<10>(value).is_some_and(|digits| {
        let sum = weighted(&digits[..9], &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        digits[0] == 8 && sum % 11 == u32::from(digits[9])
    })
}

pub(super) fn ie_pps(value: &[u8]) -> bool {
    let characters = characters(value);
    let Some((first, rest)) = characters.split_at_checked(7) else {
        return false;
    };
    let second = match rest {
        [_] => 0,
        [_, b'W'] => 0,
        [_, second @ b'A'..=b'I'] => u32::from(second - b'A') + 1,
        _ => return false,
    };
    exactly::<7>(first).is_some_and(|digits| {
        let sum = weighted(&digits, &[8, 7, 6, 5, 4, 3, 2]) + 9 * second;
        b"WABCDEFGHIJKLMNOPQRSTUV"[(sum % 23) as usize] == rest[0]
    })
}

/// Six letters, year, month, day, place, check; letters may stand for digits where two people would
/// have the same code.
pub(super) fn it_codice_fiscale(value: &[u8]) -> bool {
    const ODD: [u32; 26] = [
        1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24,
        23,
    ];
    const DIGITS: [usize; 7] = [6, 7, 9, 10, 12, 13, 14];
    let Ok(code) = <[u8; 16]>::try_from(characters(value).as_slice()) else {
        return false;
    };
    let worth = |byte: u8| match byte {
        b'0'..=b'9' => usize::from(byte - b'0'),
        letter => usize::from(letter - b'A'),
    };
    let sum: u32 = code[..15]
        .iter()
        .enumerate()
        .map(|(index, byte)| match index % 2 {
            0 => ODD[worth(*byte)],
            _ => worth(*byte) as u32,
        })
        .sum();
    let digit = |place: usize| match code[place] {
        digit @ b'0'..=b'9' => Some(u64::from(digit - b'0')),
        letter => b"LMNPQRSTUV"
            .iter()
            .position(|one| *one == letter)
            .map(|at| at as u64),
    };
    let (Some(tens), Some(ones)) = (digit(9), digit(10)) else {
        return false;
    };
    let month = b"ABCDEHLMPRST".iter().position(|letter| *letter == code[8]);
    // 40 is added to the day of a woman.
    let day = (10 * tens + ones) % 40;
    let dated = month.is_some_and(|month| is_date(month as u64 + 1, day));
    dated
        && DIGITS.iter().all(|place| digit(*place).is_some())
        && [0, 1, 2, 3, 4, 5, 11, 15]
            .iter()
            .all(|place| code[*place].is_ascii_uppercase())
        && u32::from(code[15] - b'A') == sum % 26
}

/// The twelfth digit is Luhn's, the thirteenth Verhoeff's, both over the first eleven.
pub(super) fn lu_national(value: &[u8]) -> bool {
    exactly::<13>(value).is_some_and(|digits| {
        let mut verhoeff = [0; 12];
        verhoeff[..11].copy_from_slice(&digits[..11]);
        verhoeff[11] = digits[12];
        (1850..2100).contains(&number(&digits[..4]))
            && is_date(pair(&digits, 4), pair(&digits, 6))
            && is_luhn(&digits[..12])
            && is_verhoeff(&verhoeff)
    })
}

pub(super) fn lv_pk(value: &[u8]) -> bool {
    exactly::<11>(value).is_some_and(|digits| {
        let sum = 1 + weighted(&digits[..10], &[10, 5, 8, 4, 2, 1, 6, 3, 7, 9]);
        digits[6] <= 2
            && is_date(pair(&digits, 2), pair(&digits, 0))
            && sum % 11 % 10 == u32::from(digits[10])
    })
}

pub(super) fn nl_bsn(value: &[u8]) -> bool {
    exactly::<9>(value).is_some_and(|digits| {
        let sum = weighted(&digits[..8], &[9, 8, 7, 6, 5, 4, 3, 2]);
        sum != 0 && sum % 11 == u32::from(digits[8])
    })
}

pub(super) fn pl_pesel(value: &[u8]) -> bool {
    exactly::<11>(value).is_some_and(|digits| {
        let sum = weighted(&digits[..10], &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3]);
        // 20 is added for each century.
        is_date(pair(&digits, 2) % 20, pair(&digits, 4))
            && (10 - sum % 10) % 10 == u32::from(digits[10])
    })
}

pub(super) fn pt_nif(value: &[u8]) -> bool {
    exactly::<9>(value).is_some_and(|digits| {
        let rest = weighted(&digits[..8], &[9, 8, 7, 6, 5, 4, 3, 2]) % 11;
        let check = if rest < 2 { 0 } else { 11 - rest };
        // 4 begins only the numbers of people from abroad: 45.
        let given = !matches!(digits[0], 0 | 4) || pair(&digits, 0) == 45;
        given && check == u32::from(digits[8])
    })
}

pub(super) fn ro_cnp(value: &[u8]) -> bool {
    exactly::<13>(value).is_some_and(|digits| {
        let sum = weighted(&digits[..12], &[2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9]);
        let check = match sum % 11 {
            10 => 1,
            check => check,
        };
        digits[0] != 0
            && is_date(pair(&digits, 3), pair(&digits, 5))
            && check == u32::from(digits[12])
    })
}

/// Ten digits, or twelve with the century; 60 is added to the day of a coordination number.
pub(super) fn se_personnummer(value: &[u8]) -> bool {
    let Some(all) = digits(value) else {
        return false;
    };
    let ten = match all.len() {
        10 => all.as_slice(),
        12 if (18..=21).contains(&pair(&all, 0)) => &all[2..],
        _ => return false,
    };
    let day = pair(ten, 4);
    let day = if day > 60 { day - 60 } else { day };
    is_date(pair(ten, 2), day) && is_luhn(ten)
}

pub(super) fn si_emso(value: &[u8]) -> bool {
    exactly::<13>(value).is_some_and(|digits| {
        let rest = weighted(&digits[..12], &[7, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
        let check = if rest == 0 { 0 } else { 11 - rest };
        is_date(pair(&digits, 2), pair(&digits, 0))
            // 50 to 59: Slovenia.
            && (50..=59).contains(&pair(&digits, 7))
            && check == u32::from(digits[12])
    })
}
