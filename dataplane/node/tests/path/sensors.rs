//! Sensors: what leaves or arrives is told in monitor and stopped in protect, wherever it is cut.

use weir_node::event::EventKind;
use weir_policy::spec::{
    Combination, Mode, SensorAction, SensorDirection, SensorMask, SensorPatternSpec, SensorSpec,
    SensorWhat,
};
use weir_wire::Reason;

use crate::common::hosts::*;
use crate::common::{Bench, Shop, Talk, content::*};

pub const CARD: &str = "4000001234567899";
/// The same shape with another check digit.
const NO_CARD: &str = "4000001234567898";

pub fn cards(place: &str, direction: SensorDirection, target: Host) -> SensorSpec {
    SensorSpec {
        id: 7,
        name: "sensor shop/cards".to_owned(),
        action: SensorAction::Drop,
        direction,
        targets: vec![target.identity()],
        patterns: vec![SensorPatternSpec {
            name: "number".to_owned(),
            places: vec![place.to_owned()],
            what: SensorWhat::Expression(r"\b[0-9](?:[ -]?[0-9]){11,18}\b".to_owned()),
            checks: vec!["payment-card".to_owned()],
            mask: SensorMask::Card,
            ..SensorPatternSpec::default()
        }],
        combination: Combination::Pattern(0),
        flow_matches: None,
        source: None,
    }
}

fn bench(mode: Mode, sensor: SensorSpec) -> Bench {
    let shop = Shop::story(mode).sensor(sensor);
    Bench::new(&shop.build())
}

fn talk(family: Family) -> Talk {
    Talk::new(AI_MODEL.port(family, 40_000), FRONTEND.port(family, 5000))
}

/// A request whose body is told in two segments, cut within the number. Whether the second passed.
pub fn post(bench: &mut Bench, family: Family, number: &str, cut: usize) -> bool {
    let mut talk = talk(family);
    assert!(talk.open(bench));
    let body = format!("card={number}&name=x");
    let head = format!(
        "POST /pay HTTP/1.1\r\nHost: shop\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let (front, back) = body.split_at(cut);
    assert!(talk.client_passes(bench, format!("{head}{front}").as_bytes()));
    talk.client_passes(bench, back.as_bytes())
}

#[test]
fn a_card_cut_in_two_is_told_in_monitor_and_stopped_in_protect() {
    for place in ["body", "stream"] {
        for family in BOTH {
            for cut in [6, 13, 20] {
                for mode in [Mode::Discover, Mode::Monitor, Mode::Protect] {
                    let sensor = || cards(place, SensorDirection::From, AI_MODEL);
                    let mut bench = bench(mode, sensor());
                    let passed = post(&mut bench, family, CARD, cut);
                    let case = format!("{place} {mode:?} cut at {cut}");
                    assert_eq!(passed, mode != Mode::Protect, "{case}");
                    let told = bench.events_of(EventKind::Sensor);
                    assert_eq!(told.len(), 1, "{case}");
                    let sensed = told[0].sensed.as_ref().unwrap();
                    assert_eq!(sensed.sensor, 7);
                    assert_eq!(sensed.hit.excerpt.as_str(), "400000******7899", "{case}");
                    let blocked = u64::from(mode == Mode::Protect);
                    assert_eq!(told[0].reason.is_some(), blocked == 1, "{case}");
                    assert_eq!(bench.spared(Reason::Sensor), 1 - blocked, "{case}");
                    // The two segments were one packet each; what follows a denial is terminated.
                    assert_eq!(bench.dropped(Reason::Sensor), blocked, "{case}");
                }
            }
        }
    }
}

#[test]
fn the_same_shape_without_its_check_digit_passes() {
    for mode in [Mode::Monitor, Mode::Protect] {
        let mut bench = bench(mode, cards("body", SensorDirection::From, AI_MODEL));
        assert!(post(&mut bench, Family::V4, NO_CARD, 13));
        assert_eq!(bench.events_of(EventKind::Sensor).len(), 0);
        assert_eq!(bench.spared(Reason::Sensor), 0);
    }
}

#[test]
fn a_sensor_looks_the_way_it_is_attached() {
    for (direction, target, fires) in [
        (SensorDirection::From, FRONTEND, false),
        (SensorDirection::To, FRONTEND, true),
        (SensorDirection::To, AI_MODEL, false),
        (SensorDirection::Both, PHOTO_DB, false),
    ] {
        let mut bench = bench(Mode::Protect, cards("body", direction, target));
        assert_eq!(
            post(&mut bench, Family::V4, CARD, 13),
            !fires,
            "{direction:?}"
        );
    }
}

#[test]
fn what_a_server_answers_is_looked_into_on_every_request_of_the_connection() {
    let mut bench = bench(
        Mode::Monitor,
        cards("body", SensorDirection::From, FRONTEND),
    );
    let mut talk = talk(Family::V4);
    assert!(talk.open(&mut bench));
    for _ in 0..3 {
        assert!(talk.client_passes(&mut bench, &http_get("/cards")));
        assert!(talk.server_passes(&mut bench, &http_ok(CARD)));
        assert!(talk.client_passes(&mut bench, &http_get("/none")));
        assert!(talk.server_passes(&mut bench, &http_ok(NO_CARD)));
    }
    assert_eq!(bench.events_of(EventKind::Sensor).len(), 3);
}

#[test]
fn a_new_policy_asks_anew_which_sensors_look() {
    let mut bench = Bench::new(&Shop::story(Mode::Protect).build());
    let mut talk = talk(Family::V4);
    assert!(talk.open(&mut bench));
    assert!(talk.client_passes(&mut bench, &http_get("/cards")));
    assert!(talk.server_passes(&mut bench, &http_ok(CARD)));
    let sensor = cards("body", SensorDirection::From, FRONTEND);
    bench.install(&Shop::story(Mode::Protect).sensor(sensor).build());
    assert!(talk.client_passes(&mut bench, &http_get("/cards")));
    assert!(!talk.server_passes(&mut bench, &http_ok(CARD)));
    assert_eq!(bench.dropped(Reason::Sensor), 1);
}

#[test]
fn a_policy_with_other_sensors_costs_a_worker_no_memory() {
    let shop = |sensor| Shop::story(Mode::Monitor).sensor(sensor).build();
    let before = cards("body", SensorDirection::From, AI_MODEL);
    let mut after = before.clone();
    after.patterns[0].checks.clear();
    let mut bench = Bench::new(&shop(before));
    assert!(post(&mut bench, Family::V4, NO_CARD, 13));
    assert_eq!(bench.events_of(EventKind::Sensor).len(), 0);
    let snapshot = shop(after);
    let sensors = weir_node::sensors::compile(&snapshot, None).expect("sensors compile");
    let scanner = weir_node::sensors::prepare(sensors.as_ref(), 64).expect("memory for sensors");
    let mut old = None;
    let allocated = allocation_counter::measure(|| {
        old = bench.path.sense_with(scanner);
    });
    assert_eq!(allocated.count_total, 0);
    assert!(old.is_some(), "what was used before is dropped elsewhere");
    bench.path.install(snapshot);
    assert!(post(&mut bench, Family::V6, NO_CARD, 13));
    assert_eq!(bench.events_of(EventKind::Sensor).len(), 1);
}

#[test]
fn flows_without_a_place_are_shown() {
    let mut bench = bench(
        Mode::Monitor,
        cards("body", SensorDirection::From, AI_MODEL),
    );
    let sensors = bench
        .path
        .sense_with(None)
        .map(|scanner| scanner.set().clone());
    let scanner = weir_node::sensors::prepare(sensors.as_ref(), 0).expect("memory for sensors");
    bench.path.sense_with(scanner);
    assert_eq!(bench.gauge("sensors_not_looked_for"), 0);
    assert!(post(&mut bench, Family::V4, CARD, 13));
    assert!(bench.gauge("sensors_not_looked_for") > 0);
}
