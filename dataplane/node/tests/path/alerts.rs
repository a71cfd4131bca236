//! What fires on the way is told in the words of the contract, to the controller and in EVE alike.

use std::sync::Arc;

use serde_json::json;
use weir_api::{Outcome, v1};
use weir_node::agent::{Clock, Described, describe};
use weir_node::eve::eve;
use weir_node::event::{Alert, Event, EventKind};
use weir_policy::spec::{Mode, SensorDirection};
use weir_sigs::rule::parse_rule;
use weir_sigs::{Action, Hit, RuleSet};
use weir_wire::{Direction, Reason};

use super::sensors::{CARD, cards, post};
use crate::common::bench::CLIENTS;
use crate::common::frames;
use crate::common::hosts::*;
use crate::common::{Bench, Shop, Talk};

const RULE: &str = r#"drop tcp any any -> any any (msg:"a word"; content:"word"; sid:9; rev:3; \
    classtype:web-application-attack; metadata:mitre_technique_id T1190, mitre_technique_id T1;)"#;

/// An event of the shop in protect: a card that a sensor stopped.
fn sensed() -> Event {
    let snapshot = shop().build();
    let mut bench = Bench::new(&snapshot);
    assert!(!post(&mut bench, Family::V4, CARD, 13));
    bench.events_of(EventKind::Sensor).remove(0)
}

fn shop() -> Shop {
    Shop::story(Mode::Protect).sensor(cards("body", SensorDirection::From, AI_MODEL))
}

fn described(event: &Event) -> Described {
    describe(event, &shop().build(), &Clock::of_capture())
}

/// The alert as the controller takes it.
fn alert(described: &Described) -> &v1::Alert {
    described.record.raised().unwrap().unwrap()
}

#[test]
fn a_sensor_is_told_with_its_names_and_masked() {
    let told = described(&sensed());
    let alert = alert(&told);
    assert_eq!(alert.kind(), v1::AlertKind::Sensor);
    assert_eq!(
        (alert.id, &*alert.name, &*alert.sign),
        (7, "shop/cards", "number")
    );
    assert_eq!(alert.excerpt, "400000******7899");
    assert_eq!(alert.outcome(), Outcome::Blocked);
    assert_ne!(told.record.flow_id, 0);
    let line = eve(&told);
    assert_eq!(line["alert"]["action"], "blocked");
    assert_eq!(line["alert"]["signature"], "sensor shop/cards");
    assert_eq!(
        line["sensor"],
        json!({"name": "shop/cards", "pattern": "number", "count": 1, "excerpt": "400000******7899"})
    );
}

#[test]
fn a_threat_is_told_with_its_technique_also_without_a_flow() {
    let mut bench = Bench::watching(&shop().build(), crate::common::bench::small_limits());
    let talk = Talk::new(
        AI_MODEL.port(Family::V4, 40_000),
        PHOTO_DB.port(Family::V4, 3306),
    );
    bench.send(CLIENTS, &frames::fragment(&talk.syn(), 7, 0, true, &[0; 8]));
    let told = described(&bench.events_of(EventKind::Threat)[0]);
    let alert = alert(&told);
    assert_eq!(alert.kind(), v1::AlertKind::Threat);
    assert_eq!((alert.id, &*alert.name), (1031, "ip-tiny-fragment"));
    assert_eq!((&*alert.technique, alert.severity), ("T1027", 1));
    assert_eq!(alert.action(), v1::AlertAction::Drop);
    assert_eq!(told.record.flow_id, 0);
    let line = eve(&told);
    assert_eq!(line["alert"]["gid"], 900);
    assert_eq!(line["threat"]["name"], "ip-tiny-fragment");
    assert_eq!(line["threat"]["technique"], "T1027");
}

#[test]
fn a_signature_is_told_with_its_number_class_and_technique() {
    let rule = parse_rule(RULE, &Default::default()).unwrap();
    let (rules, refused) = RuleSet::compile(vec![rule], &Default::default()).unwrap();
    assert!(refused.is_empty());
    let hit = Hit {
        rule: 0,
        action: Action::Drop,
        told: true,
        direction: Direction::ToServer,
        excerpt: Default::default(),
    };
    let rules = Arc::new(rules);
    let mut event = Event {
        kind: EventKind::Alert,
        reason: None,
        sensed: None,
        alert: Some(Alert { rules, hit }),
        ..sensed()
    };
    let told = described(&event);
    let found = alert(&told);
    assert_eq!((found.generator, found.id, found.revision), (1, 9, 3));
    assert_eq!(found.name, "web-application-attack");
    assert_eq!((&*found.message, &*found.technique), ("a word", "T1190"));
    assert_eq!(found.outcome(), Outcome::WouldBlock);
    let line = eve(&told);
    assert_eq!(line["alert"]["category"], "web-application-attack");
    assert_eq!(line["alert"]["metadata"][0], "mitre_technique_id T1190");
    event.reason = Some(Reason::Signature);
    assert_eq!(alert(&described(&event)).outcome(), Outcome::Blocked);
}
