//! Checks: whether what an expression found can be what it looks like. One table; one file per family.

mod europe;
mod numbers;
mod world;

use arrayvec::ArrayVec;

/// One check.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Its name in documents.
    pub name: &'static str,
    /// What passes it, in a sentence.
    pub about: &'static str,
    /// Whether a match passes.
    pub(super) holds: fn(&[u8]) -> bool,
}

macro_rules! checks {
    ($($name:literal $holds:path, $about:literal;)*) => {
        const CHECKS: &[Check] = &[$(Check { name: $name, about: $about, holds: $holds },)*];
    };
}

checks! {
    "luhn" numbers::luhn, "Digits whose last is the check digit of Luhn.";
    "verhoeff" numbers::verhoeff, "Digits whose last is the check digit of Verhoeff.";
    "mod97" numbers::mod97, "Letters and digits with 1 as remainder of 97 (ISO 7064).";
    "mod11-10" numbers::mod11_10, "Digits whose last is the check digit of ISO 7064, MOD 11,10.";
    "payment-card" numbers::payment_card, "A number in an issuer's range, of its length, with Luhn's digit.";
    "iban" numbers::iban, "An account number with its country's length and remainder 1 of 97.";
    "no-placeholder" numbers::no_placeholder, "No example, and not the same few characters over and over.";
    "us-ssn" world::us_ssn, "United States: a social security number that can have been given.";
    "cn-id" world::cn_id, "China: resident identity number (GB 11643).";
    "br-cpf" world::br_cpf, "Brazil: number of a person.";
    "br-cnpj" world::br_cnpj, "Brazil: number of a company.";
    "in-aadhaar" world::in_aadhaar, "India: Aadhaar.";
    "in-pan" world::in_pan, "India: permanent account number, by its kinds of holder.";
    "at-svnr" europe::at_svnr, "Austria: social insurance number.";
    "be-national" europe::be_national, "Belgium: national register number.";
    "bg-egn" europe::bg_egn, "Bulgaria: civil number.";
    "cy-tic" europe::cy_tic, "Cyprus: tax identification code.";
    "cz-sk-rc" europe::cz_sk_rc, "Czechia and Slovakia: birth number.";
    "de-tax-id" europe::de_tax_id, "Germany: tax identification number.";
    "dk-cpr" europe::dk_cpr, "Denmark: civil registration number with check digit.";
    "ee-lt-id" europe::ee_lt_id, "Estonia and Lithuania: personal code.";
    "es-dni" europe::es_dni, "Spain: DNI or NIE.";
    "fi-hetu" europe::fi_hetu, "Finland: personal identity code.";
    "fr-nir" europe::fr_nir, "France: social security number.";
    "gr-amka" europe::gr_amka, "Greece: social security number.";
    "gr-afm" europe::gr_afm, "Greece: tax number.";
    "hr-oib" europe::hr_oib, "Croatia: personal identification number.";
    "hu-taj" europe::hu_taj, "Hungary: social security number.";
    "hu-tax" europe::hu_tax, "Hungary: tax number of a person.";
    "ie-pps" europe::ie_pps, "Ireland: personal public service number.";
    "it-codice-fiscale" europe::it_codice_fiscale, "Italy: fiscal code of a person.";
    "lu-national" europe::lu_national, "Luxembourg: national number.";
    "lv-pk" europe::lv_pk, "Latvia: personal code with a date of birth.";
    "nl-bsn" europe::nl_bsn, "Netherlands: citizen service number.";
    "pl-pesel" europe::pl_pesel, "Poland: PESEL.";
    "pt-nif" europe::pt_nif, "Portugal: tax number.";
    "ro-cnp" europe::ro_cnp, "Romania: personal numerical code.";
    "se-personnummer" europe::se_personnummer, "Sweden: personal identity or coordination number.";
    "si-emso" europe::si_emso, "Slovenia: unique citizen number.";
}

/// Every check.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    CHECKS.iter()
}

pub(super) fn by_name(name: &str) -> Option<Check> {
    CHECKS.iter().find(|check| check.name == name).copied()
}

/// Shannon's entropy of the bytes, in thousandths of a bit each.
pub(super) fn entropy_millibits(value: &[u8]) -> u32 {
    let mut counts = [0u32; 256];
    for byte in value {
        counts[usize::from(*byte)] += 1;
    }
    let total = value.len().max(1) as f64;
    let bits: f64 = counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = f64::from(*count) / total;
            -share * share.log2()
        })
        .sum();
    (bits * 1000.0).round() as u32
}

/// Digits, as numbers; more than an identity number has are no identity number.
type Digits = ArrayVec<u8, 40>;

/// The digits of a value that holds nothing else but what separates groups.
fn digits(value: &[u8]) -> Option<Digits> {
    let mut found = Digits::new();
    for byte in value {
        match byte {
            b'0'..=b'9' => found.try_push(byte - b'0').ok()?,
            b' ' | b'-' | b'.' | b'/' | b'+' => {}
            _ => return None,
        }
    }
    Some(found)
}

/// Exactly so many digits.
fn exactly<const COUNT: usize>(value: &[u8]) -> Option<[u8; COUNT]> {
    digits(value)?.as_slice().try_into().ok()
}

/// Letters in upper case and digits, without what separates groups.
fn characters(value: &[u8]) -> ArrayVec<u8, 40> {
    value
        .iter()
        .filter(|byte| byte.is_ascii_alphanumeric())
        .map(u8::to_ascii_uppercase)
        .take(40)
        .collect()
}

/// The sum of digits times weights.
fn weighted(digits: &[u8], weights: &[u32]) -> u32 {
    digits
        .iter()
        .zip(weights)
        .map(|(digit, weight)| u32::from(*digit) * weight)
        .sum()
}

/// Digits as one number.
fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |sum: u64, digit| {
        sum.wrapping_mul(10).wrapping_add(u64::from(*digit))
    })
}

/// Whether there is such a day in some year.
fn is_date(month: u64, day: u64) -> bool {
    let days = match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for check in checks() {
            let same = checks().filter(|other| other.name == check.name);
            assert_eq!(same.count(), 1, "{}", check.name);
            assert!(check.about.ends_with('.'), "{}", check.name);
        }
    }

    #[test]
    fn no_bytes_make_a_check_panic_and_the_empty_value_passes_none_but_placeholders() {
        let values: [&[u8]; 7] = [
            b"",
            b"0",
            b"00000000000000000000",
            b"AAAAAAAAAAAAAAAAAAAA",
            &[b'9'; 300],
            &[0xff; 50],
            b"99999999999",
        ];
        for check in checks() {
            for value in values {
                let _ = (check.holds)(value);
            }
            assert!(!(check.holds)(b""), "{}", check.name);
        }
    }

    #[test]
    fn entropy_is_shannons() {
        assert_eq!(entropy_millibits(b""), 0);
        assert_eq!(entropy_millibits(b"aaaa"), 0);
        assert_eq!(entropy_millibits(b"0123456789abcdef"), 4000);
    }
}
