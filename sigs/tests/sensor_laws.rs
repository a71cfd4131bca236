//! What holds for every sensor: cuts change nothing, counting is by distinct value, nothing is
//! allocated while looking.

use std::sync::{Arc, OnceLock};

use proptest::prelude::*;
use weir_l7::{Buffer, Content, Form};
use weir_policy::spec::{
    Combination, SensorAction, SensorDirection, SensorMask, SensorPatternSpec, SensorSpec,
    SensorWhat, SourceThreshold,
};
use weir_sigs::sensor::{SensorFlow, SensorHit, SensorScanner, SensorSet};
use weir_wire::Direction::{self, ToClient, ToServer};

const SECOND: u64 = 1_000_000;

fn pattern(name: &str, what: SensorWhat) -> SensorPatternSpec {
    SensorPatternSpec {
        name: name.to_owned(),
        places: vec!["body".to_owned(), "stream".to_owned()],
        what,
        mask: SensorMask::None,
        ..SensorPatternSpec::default()
    }
}

fn regex(text: &str) -> SensorWhat {
    SensorWhat::Expression(text.to_owned())
}

fn words(texts: &[&str]) -> SensorWhat {
    SensorWhat::Words(texts.iter().map(|text| (*text).to_owned()).collect())
}

fn sensor(patterns: Vec<SensorPatternSpec>) -> SensorSpec {
    let places = 0..patterns.len() as u16;
    SensorSpec {
        id: 1,
        name: "sensor default/test".to_owned(),
        action: SensorAction::Alert,
        direction: SensorDirection::Both,
        targets: vec![],
        combination: Combination::Any(places.map(Combination::Pattern).collect()),
        patterns,
        flow_matches: None,
        source: None,
    }
}

fn scanner(sensors: &[SensorSpec]) -> SensorScanner {
    let set = SensorSet::compile(sensors).unwrap_or_else(|refused| panic!("{refused:?}"));
    SensorScanner::new(Arc::new(set), 4, 7, 1).expect("memory")
}

/// [`several`], compiled once: that takes longer than a search.
fn several_scanner() -> SensorScanner {
    static SET: OnceLock<Arc<SensorSet>> = OnceLock::new();
    let set = SET.get_or_init(|| Arc::new(SensorSet::compile(&several()).expect("compiles")));
    SensorScanner::new(Arc::clone(set), 4, 7, 1).expect("memory")
}

fn open(scanner: &mut SensorScanner) -> SensorFlow {
    scanner.open((1, 11), (2, 22)).expect("a free flow")
}

/// One content in these pieces; what fires.
fn told(
    scanner: &mut SensorScanner,
    flow: SensorFlow,
    buffer: Buffer,
    pieces: &[&[u8]],
) -> Vec<SensorHit> {
    told_at(scanner, flow, buffer, pieces, 0)
}

fn told_at(
    scanner: &mut SensorScanner,
    flow: SensorFlow,
    buffer: Buffer,
    pieces: &[&[u8]],
    now_us: u64,
) -> Vec<SensorHit> {
    let mut hits = Vec::new();
    let last = pieces.len().saturating_sub(1);
    for (index, bytes) in pieces.iter().enumerate() {
        let content = Content {
            buffer,
            stream: 0,
            begins: (index == 0).then(Form::default),
            bytes,
            ends: index == last,
        };
        scanner.content(flow, ToServer, &content, now_us, &mut |hit| hits.push(hit));
    }
    hits
}

fn next_message(scanner: &mut SensorScanner, flow: SensorFlow) -> Vec<SensorHit> {
    let mut hits = Vec::new();
    scanner.message(flow, ToServer, 0, 0, &mut |hit| hits.push(hit));
    hits
}

fn several() -> Vec<SensorSpec> {
    let card = SensorPatternSpec {
        checks: vec!["payment-card".to_owned()],
        ..pattern("card", regex(r"\b[0-9](?:[ -]?[0-9]){11,18}\b"))
    };
    let long = pattern("long", regex(r"<[^>]{0,600}>"));
    let mut counted = sensor(vec![
        card.clone(),
        pattern("word", words(&["card", "visa"])),
    ]);
    counted.combination = Combination::All(vec![Combination::Pattern(0), Combination::Pattern(1)]);
    counted.flow_matches = Some(2);
    let mut sensors = vec![sensor(vec![card, long]), counted];
    sensors[1].id = 2;
    sensors
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn cuts_change_nothing(
        parts in prop::collection::vec(
            prop_oneof![
                Just("4000001234567899".to_owned()),
                Just("4111 1111 1111 1111".to_owned()),
                Just(" visa ".to_owned()),
                Just("<".to_owned()),
                "[0-9 -]{0,20}",
                "[a-z ]{0,300}",
                Just(">".to_owned()),
            ],
            0..12,
        ),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let text = parts.concat().into_bytes();
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        places.extend([0, text.len()]);
        places.sort_unstable();
        let pieces: Vec<&[u8]> = places.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        let whole = {
            let mut scanner = several_scanner();
            let flow = open(&mut scanner);
            told(&mut scanner, flow, Buffer::HttpRequestBody, &[&text])
        };
        let mut cut = several_scanner();
        let flow = open(&mut cut);
        prop_assert_eq!(told(&mut cut, flow, Buffer::HttpRequestBody, &pieces), whole);
    }

    #[test]
    fn no_bytes_panic(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..700), 1..5)) {
        let mut scanner = several_scanner();
        let flow = open(&mut scanner);
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let _ = told(&mut scanner, flow, Buffer::Payload, &pieces);
        scanner.close(flow, 0, &mut |_| {});
    }
}

#[test]
fn a_number_split_at_every_place_is_found_and_its_near_miss_is_not() {
    for (text, expected) in [
        ("number=4000001234567899&x=1", 1),
        ("number=4000001234567898&x=1", 0),
        ("number=40000012345678990&x=1", 0),
        ("4000 0012 3456 7899", 1),
    ] {
        for cut in 0..=text.len() {
            let mut scanner = several_scanner();
            let flow = open(&mut scanner);
            let (front, back) = text.as_bytes().split_at(cut);
            let hits = told(&mut scanner, flow, Buffer::HttpRequestBody, &[front, back]);
            assert_eq!(hits.len(), expected, "{text} cut at {cut}");
        }
    }
}

#[test]
fn patterns_of_one_message_go_together_and_those_of_two_do_not() {
    let mut both = sensor(vec![
        pattern("number", regex("[0-9]{4}")),
        pattern("word", words(&["pin"])),
    ]);
    both.combination = Combination::All(vec![Combination::Pattern(0), Combination::Pattern(1)]);
    let mut scanner = scanner(&[both]);
    let flow = open(&mut scanner);
    assert_eq!(told(&mut scanner, flow, Buffer::Form, &[b"1234"]), []);
    assert_eq!(next_message(&mut scanner, flow), []);
    assert_eq!(
        told(&mut scanner, flow, Buffer::Form, &[b"spinning pin"]),
        []
    );
    let hits = told(&mut scanner, flow, Buffer::Form, &[b"1234"]);
    assert_eq!(hits.len(), 1);
    assert_eq!((hits[0].pattern, hits[0].excerpt.as_str()), (0, "1234"));
    assert_eq!(
        told(&mut scanner, flow, Buffer::Form, &[b"5678 pin"]),
        [],
        "told once"
    );
}

#[test]
fn what_must_not_be_found_is_known_at_the_end_of_the_message() {
    let mut without = sensor(vec![
        pattern("secret", words(&["secret"])),
        pattern("released", words(&["released"])),
    ]);
    let not = Combination::Not(Box::new(Combination::Pattern(1)));
    without.combination = Combination::All(vec![Combination::Pattern(0), not]);
    let mut scanner = scanner(&[without]);
    let flow = open(&mut scanner);
    assert_eq!(
        told(&mut scanner, flow, Buffer::Form, &[b"secret, released"]),
        []
    );
    assert_eq!(next_message(&mut scanner, flow), []);
    assert_eq!(told(&mut scanner, flow, Buffer::Form, &[b"secret"]), []);
    assert_eq!(next_message(&mut scanner, flow).len(), 1);
    assert_eq!(told(&mut scanner, flow, Buffer::Form, &[b"secret"]), []);
    let mut hits = Vec::new();
    scanner.close(flow, 0, &mut |hit| hits.push(hit));
    assert_eq!(hits.len(), 1);
}

#[test]
fn thresholds_count_distinct_values() {
    let mut bulk = sensor(vec![pattern(
        "mail",
        regex(r"\b[a-z0-9]{1,20}@example\.org\b"),
    )]);
    bulk.flow_matches = Some(3);
    let mut scanner = scanner(&[bulk]);
    let flow = open(&mut scanner);
    let body = Buffer::HttpResponseBody;
    assert_eq!(
        told(
            &mut scanner,
            flow,
            body,
            &[b"a1@example.org a1@example.org b2@example.org"]
        ),
        []
    );
    assert_eq!(next_message(&mut scanner, flow), []);
    let hits = told(
        &mut scanner,
        flow,
        body,
        &[b"c3@example.org d4@example.org"],
    );
    assert_eq!(hits.len(), 1);
    assert_eq!(hits[0].count, 3);
    scanner.close(flow, 0, &mut |_| {});
    let other = open(&mut scanner);
    assert_eq!(
        told(
            &mut scanner,
            other,
            body,
            &[b"a1@example.org c3@example.org"]
        ),
        []
    );
}

#[test]
fn a_sender_is_counted_over_its_flows_within_the_window() {
    let mut slow = sensor(vec![pattern(
        "mail",
        regex(r"\b[a-z0-9]{1,20}@example\.org\b"),
    )]);
    slow.source = Some(SourceThreshold {
        matches: 3,
        window_s: 60,
    });
    let texts: [&[u8]; 4] = [
        b"a@example.org",
        b"b@example.org",
        b"b@example.org",
        b"c@example.org",
    ];
    let fired = |seconds_between: u64| {
        let mut scanner = scanner(std::slice::from_ref(&slow));
        let mut hits = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let flow = open(&mut scanner);
            let now_us = index as u64 * seconds_between * SECOND;
            hits.extend(told_at(
                &mut scanner,
                flow,
                Buffer::HttpRequestBody,
                &[text],
                now_us,
            ));
            scanner.close(flow, now_us, &mut |_| {});
        }
        hits.iter().map(|hit| hit.count).collect::<Vec<_>>()
    };
    assert_eq!(fired(10), [3]);
    assert_eq!(fired(25), [] as [u32; 0]);
}

#[test]
fn a_sensor_looks_only_where_and_for_whom_it_is_attached() {
    let of = |direction, targets: &[u32]| SensorSpec {
        direction,
        targets: targets.to_vec(),
        ..sensor(vec![pattern("x", words(&["needle"]))])
    };
    let fires = |sensor: SensorSpec, direction: Direction, buffer: Buffer| {
        let mut scanner = scanner(&[sensor]);
        let flow = scanner.open((1, 11), (2, 22))?;
        let mut hits = 0;
        let content = Content::whole(buffer, 0, b"a needle");
        scanner.content(flow, direction, &content, 0, &mut |_| hits += 1);
        Some(hits)
    };
    let form = Buffer::Form;
    assert_eq!(
        fires(of(SensorDirection::To, &[2]), ToServer, form),
        Some(1)
    );
    assert_eq!(
        fires(of(SensorDirection::To, &[2]), ToClient, form),
        Some(0)
    );
    assert_eq!(
        fires(of(SensorDirection::To, &[1]), ToClient, form),
        Some(1)
    );
    assert_eq!(
        fires(of(SensorDirection::From, &[2]), ToClient, form),
        Some(1)
    );
    assert_eq!(
        fires(of(SensorDirection::From, &[2]), ToServer, form),
        Some(0)
    );
    assert_eq!(
        fires(of(SensorDirection::Both, &[2]), ToServer, form),
        Some(1)
    );
    assert_eq!(fires(of(SensorDirection::To, &[3]), ToServer, form), None);
    assert_eq!(fires(of(SensorDirection::To, &[]), ToClient, form), Some(1));
    assert_eq!(
        fires(of(SensorDirection::To, &[]), ToServer, Buffer::HttpUri),
        Some(0)
    );
}

#[test]
fn datasets_entropy_and_groups_narrow_what_counts() {
    let member = SensorPatternSpec {
        dataset: vec!["Ab12".to_owned(), "cd34".to_owned()],
        ignore_case: true,
        ..pattern("customer", regex("[a-z]{2}[0-9]{2}"))
    };
    let random = SensorPatternSpec {
        entropy_millibits: 3000,
        mask: SensorMask::Secret,
        ..pattern("key", regex("key=(?<value>[a-z0-9]{16})"))
    };
    let mut scanner = scanner(&[sensor(vec![member]), sensor(vec![random])]);
    for (text, expected) in [
        ("zz99", ""),
        ("AB12", "AB12"),
        ("key=aaaaaaaaaaaaaaaa", ""),
        ("key=q8w3e5r7t9y2u4i6", "q8w3************"),
    ] {
        let flow = open(&mut scanner);
        let hits = told(&mut scanner, flow, Buffer::Form, &[text.as_bytes()]);
        let shown: Vec<&str> = hits.iter().map(|hit| hit.excerpt.as_str()).collect();
        assert_eq!(shown.concat(), expected, "{text}");
        scanner.close(flow, 0, &mut |_| {});
    }
}

#[test]
fn memory_is_taken_at_the_start_and_given_back() {
    let mut scanner = several_scanner();
    let text = [b"x ".repeat(700), b"4000001234567899 visa <".to_vec()].concat();
    let mut hits = 0;
    let mut run = || {
        for _ in 0..20 {
            let Some(flow) = scanner.open((1, 11), (2, 22)) else {
                return;
            };
            for ends in [false, false, true] {
                for buffer in [Buffer::HttpRequestBody, Buffer::Payload, Buffer::Form] {
                    let content = Content {
                        ends,
                        ..Content::whole(buffer, 0, &text)
                    };
                    let content = Content {
                        begins: None,
                        ..content
                    };
                    scanner.content(flow, ToServer, &content, 0, &mut |_| hits += 1);
                }
            }
            scanner.close(flow, 0, &mut |_| {});
        }
    };
    let allocated = allocation_counter::measure(&mut run);
    assert_eq!(allocated.count_total, 0);
    assert!(hits >= 20, "{hits}");
    assert_eq!(scanner.starved(), 0);
}

#[test]
fn without_a_free_stream_pieces_are_searched_one_by_one_and_counted() {
    let mut scanner = several_scanner();
    let flow = open(&mut scanner);
    for stream in 0..6 {
        let begin = Content {
            ends: false,
            ..Content::whole(Buffer::HttpRequestBody, stream, b"4000001234567899 ")
        };
        let mut hits = 0;
        scanner.content(flow, ToServer, &begin, 0, &mut |_| hits += 1);
        assert_eq!(hits, 1, "stream {stream}");
    }
    assert_eq!(scanner.starved(), 2);
}
