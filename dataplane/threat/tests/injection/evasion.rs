//! However an attack is written down, it is found; whatever the bytes are, nothing breaks.

use proptest::prelude::*;
use weir_threat::injection::Place;

use crate::{Bench, FAMILIES, values};

/// A way to write a value that some layer undoes.
#[derive(Clone, Copy, Debug)]
enum Coding {
    Percent,
    PercentAll,
    PercentUnicode,
    Entities,
    Escapes,
}

fn encode(value: &str, coding: Coding) -> String {
    let special = |letter: char| !letter.is_ascii_alphanumeric();
    value
        .chars()
        .map(|letter| match coding {
            Coding::Percent if special(letter) => percent(letter),
            Coding::PercentAll => percent(letter),
            Coding::PercentUnicode if special(letter) && (letter as u32) < 0x10000 => {
                format!("%u{:04x}", letter as u32)
            }
            Coding::Entities if special(letter) => format!("&#{};", letter as u32),
            Coding::Escapes if special(letter) && (letter as u32) < 0x10000 => {
                format!("\\u{:04x}", letter as u32)
            }
            _ => letter.to_string(),
        })
        .collect()
}

fn percent(letter: char) -> String {
    let mut bytes = [0; 4];
    letter
        .encode_utf8(&mut bytes)
        .bytes()
        .map(|byte| format!("%{byte:02X}"))
        .collect()
}

fn coding() -> impl Strategy<Value = Coding> {
    prop::sample::select(
        &[
            Coding::Percent,
            Coding::PercentAll,
            Coding::PercentUnicode,
            Coding::Entities,
            Coding::Escapes,
        ][..],
    )
}

/// An attack that is written down plainly, and where.
fn plain_attack() -> impl Strategy<Value = (usize, String)> {
    (0..FAMILIES.len()).prop_flat_map(|family| {
        let (name, _, place) = FAMILIES[family];
        let plain: Vec<_> = values(&format!("{name}-attacks.txt"))
            .into_iter()
            // Some are encoded already, and a statement never is.
            .filter(|value| !value.contains(['%', '&', '\\', '+']) && value.is_ascii())
            .filter(|_| place == Place::Parameter)
            .collect();
        let plain = if plain.is_empty() {
            vec![String::new()]
        } else {
            plain
        };
        (Just(family), prop::sample::select(plain))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn chains_of_encodings_hide_nothing(
        (family, attack) in plain_attack(),
        codings in prop::collection::vec(coding(), 0..3),
    ) {
        let (_, threat, place) = FAMILIES[family];
        let mut bench = Bench::new();
        // The backslash of an escape is undone in one layer only.
        let escapes = codings.iter().filter(|coding| matches!(coding, Coding::Escapes)).count();
        prop_assume!(escapes < 2 && !attack.is_empty());
        let written = codings.iter().fold(attack.clone(), |value, coding| encode(&value, *coding));
        prop_assume!(written.len() < 8_000);
        prop_assert!(bench.finds(threat, place, written.as_bytes()), "{attack} as {written}");
    }

    /// Case and comments between the words make no difference to a database.
    #[test]
    fn case_and_comments_hide_nothing(
        attack in prop::sample::select(values("sql-attacks.txt")),
        upper in prop::collection::vec(any::<bool>(), 64),
        blanks in prop::collection::vec(0usize..5, 16),
    ) {
        let special = ['%', '&', '\\', '+', '#', '\t', '$'];
        let mut chars = attack.chars();
        prop_assume!(!attack.contains(special) && !attack.contains("--") && !attack.contains("/*"));
        prop_assume!(chars.all(|letter| letter.is_ascii()));
        let mut blank = 0;
        let written: String = attack
            .chars()
            .enumerate()
            .map(|(place, letter)| match letter {
                ' ' => {
                    blank += 1;
                    ["/**/", " /* x */ ", "\t", "\n", " "][blanks[blank % blanks.len()]].to_owned()
                }
                letter if upper[place % upper.len()] => letter.to_ascii_uppercase().to_string(),
                letter => letter.to_string(),
            })
            .collect();
        let mut bench = Bench::new();
        prop_assert!(
            bench.finds(weir_threat::Threat::SqlInjection, Place::Parameter, written.as_bytes()),
            "{} as {}", attack, written
        );
    }

    #[test]
    fn any_bytes_are_read(value in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut bench = Bench::new();
        for place in [Place::Path, Place::Parameter, Place::Header, Place::MediaType, Place::Statement] {
            bench.look(place, &value, &value);
        }
    }

    /// Bytes that mean something to one of the detectors.
    #[test]
    fn any_mixture_of_telling_bytes_is_read(
        parts in prop::collection::vec(
            prop::sample::select(&[
                "'", "\"", "`", "(", ")", "/*", "*/", "/*!", "--", "#", ";", "or", "union", "select", "1",
                " ", "=", "${", "}", "jndi:", "lower:", ":-", "<", ">", "on", "script", "../", "..\\", "%2e",
                "%", "&#", "\\u", "$(", "|", "cat", "/etc/passwd", "${IFS}", "[", "]", "@", "0x", "{", "\0",
                "\u{a0}", "'", "case", "when", "if", "javascript:", "http://", "169.254", "in", "not",
            ][..]),
            0..80,
        ),
    ) {
        let value = parts.concat();
        let mut bench = Bench::new();
        for place in [Place::Path, Place::Parameter, Place::Header, Place::MediaType, Place::Statement] {
            bench.look(place, value.as_bytes(), value.as_bytes());
        }
        bench.body("application/json", value.as_bytes());
        bench.body("multipart/form-data", value.as_bytes());
    }
}

/// What is nested deeper than anybody reads it.
#[test]
fn depth_is_bounded() {
    let mut bench = Bench::new();
    for unit in [
        "(",
        "if(",
        "select(",
        "' or (",
        "${",
        "${lower:",
        "case when ",
        "not ",
        "if 1 ",
        "union select (",
        "$(",
        "<a ",
        "../",
        "{{",
        "`",
    ] {
        let value = unit.repeat(8_192 / unit.len());
        for place in [
            Place::Path,
            Place::Parameter,
            Place::Header,
            Place::Statement,
        ] {
            bench.look(place, b"", value.as_bytes());
        }
    }
}

/// Nothing is allocated once the detectors are made.
#[test]
fn nothing_is_allocated() {
    let mut bench = Bench::new();
    let attacks: Vec<_> = FAMILIES
        .iter()
        .flat_map(|(name, _, place)| {
            values(&format!("{name}-attacks.txt"))
                .into_iter()
                .map(|value| (*place, value))
        })
        .collect();
    let allocated = allocation_counter::measure(|| {
        for (place, attack) in &attacks {
            bench.look(*place, b"name", attack.as_bytes());
        }
    });
    assert_eq!(allocated.count_total, 0);
}
