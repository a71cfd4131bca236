//! Nothing is overlooked at the end of what sensors are given: sets so small that the library skips
//! bytes, and matches at every distance from the end of a content and of each piece of it, against the
//! crate `regex`, which is made by others.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use regex::bytes::{Regex, RegexBuilder};
use weir_l7::{Buffer, Content, Form};
use weir_policy::spec::{
    Combination, SensorAction, SensorDirection, SensorPatternSpec, SensorSpec, SensorWhat,
};
use weir_sigs::sensor::{SensorScanner, SensorSet};
use weir_wire::Direction::ToServer;

/// What is looked for, and what matches it.
const FAMILIES: &[(&str, &[&str])] = &[
    ("needle", &["needle"]),
    ("xy", &["xy"]),
    ("~", &["~"]),
    ("ab|cd", &["ab", "cd"]),
    ("needle|thread|button", &["needle", "thread", "button"]),
    ("[0-9]{4}", &["1234"]),
    (r"\b[0-9]{4}\b", &["1234"]),
    ("<[^>]{0,600}>", &["<>", "<.........>"]),
    ("<[^>]*>", &["<>", "<..................................>"]),
    (
        "(?s)key.*=",
        &["key=", "key ............................ ="],
    ),
    ("(?i)secret", &["SeCRet", "secret"]),
    (r"needle\z", &["needle"]),
    (r"\bword\b", &["word"]),
    (r"x[0-9]{1,3}y", &["x1y", "x123y"]),
    ("(?:foo|ba[rz])[!?]+", &["foo!", "baz?!"]),
    (
        "<[a-z]+ [^>]*on[a-z]+=",
        &["<img onload=", "<a .......... onclick="],
    ),
];

/// A set of these expressions, each a sensor.
fn set(families: &[usize]) -> Arc<SensorSet> {
    let one = |(index, family): (usize, &usize)| SensorSpec {
        id: index as u32 + 1,
        name: format!("sensor default/{index}"),
        action: SensorAction::Alert,
        direction: SensorDirection::Both,
        targets: vec![],
        combination: Combination::Any(vec![Combination::Pattern(0)]),
        patterns: vec![SensorPatternSpec {
            name: "one".to_owned(),
            places: vec!["url".to_owned(), "body".to_owned()],
            what: SensorWhat::Expression(FAMILIES[*family].0.to_owned()),
            ..SensorPatternSpec::default()
        }],
        flow_matches: None,
        source: None,
    };
    let sensors: Vec<SensorSpec> = families.iter().enumerate().map(one).collect();
    Arc::new(SensorSet::compile(&sensors).unwrap_or_else(|refused| panic!("{refused:?}")))
}

/// Which sensors fire at a content in these pieces.
fn fired(scanner: &mut SensorScanner, buffer: Buffer, pieces: &[&[u8]]) -> BTreeSet<u16> {
    let flow = scanner.open((1, 11), (2, 22)).expect("a free flow");
    let mut fired = BTreeSet::new();
    for (index, bytes) in pieces.iter().enumerate() {
        let content = Content {
            buffer,
            stream: 0,
            begins: (index == 0).then(Form::default),
            bytes,
            ends: index + 1 == pieces.len(),
        };
        scanner.content(flow, ToServer, &content, 0, &mut |hit| {
            fired.insert(hit.sensor);
        });
    }
    scanner.close(flow, 0, &mut |_| {});
    fired
}

/// The same expressions as the crate `regex` reads them.
fn oracle(families: &[usize]) -> Vec<Regex> {
    let read = |family: &usize| {
        let regex = RegexBuilder::new(FAMILIES[*family].0)
            .unicode(false)
            .build();
        regex.expect("reads the same")
    };
    families.iter().map(read).collect()
}

fn expected(oracle: &[Regex], text: &[u8]) -> BTreeSet<u16> {
    let found = (0..oracle.len()).filter(|&index| oracle[index].is_match(text));
    found.map(|index| index as u16).collect()
}

/// Contents that end shortly behind what matches, of lengths around those by which the library reads.
fn texts(matching: &str) -> Vec<Vec<u8>> {
    let mut texts = Vec::new();
    for filling in [b'.', b'a', b' '] {
        for before in [0, 1, 7, 31, 57, 63, 64, 65, 100, 127, 129, 200, 300] {
            for behind in [0, 1, 2, 5, 17, 40, 63, 64, 70] {
                let mut text = vec![filling; before];
                text.extend(matching.as_bytes());
                text.extend(vec![filling; behind]);
                texts.push(text);
            }
        }
    }
    texts
}

/// Of how many contents something else was told than is there: whole buffers, streams in one piece,
/// streams in two.
fn mistakes(families: &[usize]) -> Vec<String> {
    let mut scanner = SensorScanner::new(set(families), 2, 7, 1).expect("memory");
    let oracle = oracle(families);
    let mut mistakes = Vec::new();
    for matching in families.iter().flat_map(|&family| FAMILIES[family].1) {
        for text in texts(matching) {
            let expected = expected(&oracle, &text);
            let (front, back) = text.split_at(text.len() / 2);
            let (most, last) = text.split_at(text.len() - 1);
            for (how, buffer, pieces) in [
                ("whole", Buffer::HttpUri, &[&text[..]][..]),
                ("one piece", Buffer::HttpRequestBody, &[&text[..]]),
                ("halves", Buffer::HttpRequestBody, &[front, back]),
                ("last byte alone", Buffer::HttpRequestBody, &[most, last]),
            ] {
                let found = fired(&mut scanner, buffer, pieces);
                if found != expected {
                    let names: Vec<&str> = families.iter().map(|&one| FAMILIES[one].0).collect();
                    let text = String::from_utf8_lossy(&text);
                    mistakes.push(format!(
                        "{names:?} {how}: {text:?}: {found:?}, not {expected:?}"
                    ));
                }
            }
        }
    }
    mistakes
}

#[test]
fn each_expression_alone_is_found_wherever_the_content_ends() {
    for family in 0..FAMILIES.len() {
        assert_eq!(mistakes(&[family]), [] as [String; 0]);
    }
}

#[test]
fn few_expressions_together_are_found_wherever_the_content_ends() {
    for families in [[0, 1], [0, 7], [2, 3], [5, 8], [9, 10], [11, 12], [13, 14]] {
        assert_eq!(mistakes(&families), [] as [String; 0]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Where one automaton waits for another, the library ends its reading in the middle of a piece.
    #[test]
    fn expressions_that_wait_for_each_other_are_found_in_any_text(
        families in prop::collection::vec(0..FAMILIES.len(), 1..5),
        texts in prop::collection::vec(
            prop::collection::vec(
                prop_oneof![
                    (0..FAMILIES.len(), any::<prop::sample::Index>()).prop_map(|(family, one)| {
                        let (_, matching) = FAMILIES[family];
                        matching[one.index(matching.len())].as_bytes().to_vec()
                    }),
                    ("[.a 7z<]", 0..120_usize).prop_map(|(byte, times)| byte.into_bytes().repeat(times)),
                ],
                1..8,
            ),
            60,
        ),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut scanner = SensorScanner::new(set(&families), 2, 7, 1).expect("memory");
        let oracle = oracle(&families);
        for parts in &texts {
            let text = parts.concat();
            let expected = expected(&oracle, &text);
            let (front, back) = text.split_at(cut.index(text.len() + 1));
            for (buffer, pieces) in [
                (Buffer::HttpUri, &[&text[..]][..]),
                (Buffer::HttpRequestBody, &[&text[..]]),
                (Buffer::HttpRequestBody, &[front, back]),
            ] {
                prop_assert_eq!(&fired(&mut scanner, buffer, pieces), &expected);
            }
        }
    }
}
