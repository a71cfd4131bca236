//! What rules make of events.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weir_model::{
    Document, Metadata, ResponseRule, SensorClass, ViolationResult, WebhookFormat, parse_documents,
};
use weir_respond::{
    Engine, Event, EventKind, Facts, FlowPlace, Order, OrderAction, Party, QUARANTINE_WINDOW_S,
    QUARANTINES_PER_RULE_MAX, message,
};

/// Every workload of the namespaces shop and front, labelled by its name.
struct Cluster {
    workloads: BTreeMap<String, Metadata>,
}

impl Cluster {
    fn new() -> Self {
        let mut workloads = BTreeMap::new();
        for namespace in ["shop", "front"] {
            for number in 0..20 {
                let mut metadata = Metadata::new(namespace, &format!("w{number}")).unwrap();
                metadata.labels.insert("app".into(), format!("w{number}"));
                workloads.insert(metadata.full_name(), metadata);
            }
        }
        Self { workloads }
    }
}

impl Facts for Cluster {
    fn workload(&self, full_name: &str) -> Option<&Metadata> {
        self.workloads.get(full_name)
    }

    fn namespace(&self, _: &str) -> Option<&BTreeMap<String, String>> {
        None
    }
}

fn rules(text: &str) -> Engine {
    let header =
        "apiVersion: weir.dev/v1alpha1\nkind: ResponseRule\nmetadata: {namespace: shop, name: ";
    let text: Vec<String> = text
        .split('|')
        .enumerate()
        .map(|(index, spec)| format!("{header}r{index}}}\nspec: {spec}\n"))
        .collect();
    let (documents, problems) = parse_documents("test", &text.join("---\n"));
    assert_eq!(problems, []);
    let rules: Vec<ResponseRule> = documents
        .into_iter()
        .map(|located| match located.value {
            Document::ResponseRule(rule) => rule,
            other => panic!("{other:?}"),
        })
        .collect();
    let mut engine = Engine::default();
    engine.set_rules(&rules);
    engine
}

fn event(kind: EventKind, name: &str, client: &str, server: &str) -> Event {
    let party = |name: &str| Party {
        workload: Some(name.to_owned()),
        ..Party::default()
    };
    Event {
        kind,
        name: name.to_owned(),
        id: Some(1146),
        severity: 1,
        message: "a <message>".to_owned(),
        client: party(client),
        server: party(server),
        application: "http".to_owned(),
        node: "node-1".to_owned(),
        blocked: false,
        community_id: "1:x".to_owned(),
        time_unix_us: 1_795_000_000_123_456,
        flow: None,
    }
}

fn threat() -> Event {
    event(EventKind::Threat, "log4shell", "front/w1", "shop/w2")
}

fn cut_off(orders: &[Order]) -> Vec<&str> {
    orders
        .iter()
        .filter_map(|order| match &order.action {
            OrderAction::Quarantine { workload, .. } => Some(workload.as_str()),
            _ => None,
        })
        .collect()
}

#[test]
fn triggers_look_at_kind_name_and_severity() {
    let denied = EventKind::Violation {
        result: ViolationResult::Denied,
    };
    let card = EventKind::Sensor {
        class: SensorClass::Dlp,
    };
    for (on, event, fires) in [
        ("{threat: {}}", threat(), true),
        ("{threat: {names: [log4*]}}", threat(), true),
        ("{threat: {names: ['1146']}}", threat(), true),
        ("{threat: {names: [heartbleed]}}", threat(), false),
        (
            "{threat: {severity: high}}",
            Event {
                severity: 2,
                ..threat()
            },
            false,
        ),
        (
            "{threat: {severity: medium}}",
            Event {
                severity: 2,
                ..threat()
            },
            true,
        ),
        ("{violation: {}}", threat(), false),
        (
            "{violation: {results: [denied]}}",
            event(denied, "x", "shop/w1", "shop/w2"),
            true,
        ),
        (
            "{violation: {results: [would-deny]}}",
            event(denied, "x", "shop/w1", "shop/w2"),
            false,
        ),
        (
            "{sensor: {class: dlp, names: [cards]}}",
            event(card, "shop/cards", "shop/w1", "shop/w2"),
            true,
        ),
        (
            "{sensor: {class: waf}}",
            event(card, "shop/cards", "shop/w1", "shop/w2"),
            false,
        ),
    ] {
        let mut engine = rules(&format!("{{when: {on}, actions: [{{quarantine: {{}}}}]}}"));
        let orders = engine.take(&event, &Cluster::new(), 0);
        assert_eq!(!orders.is_empty(), fires, "{on} {event:?}");
    }
}

#[test]
fn the_end_that_the_target_selects_is_cut_off() {
    for (rest, wanted) in [
        ("", Some("shop/w2")),
        (", side: server", Some("shop/w2")),
        (", side: client", None),
        (", target: {matchLabels: {app: w2}}", Some("shop/w2")),
        (", target: {matchLabels: {app: w9}}", None),
        (
            ", target: {matchLabels: {}, namespaceSelector: {}}",
            Some("front/w1"),
        ),
    ] {
        let mut engine = rules(&format!(
            "{{when: {{threat: {{}}}}, actions: [{{quarantine: {{}}}}]{rest}}}"
        ));
        let orders = engine.take(&threat(), &Cluster::new(), 0);
        assert_eq!(cut_off(&orders), Vec::from_iter(wanted), "{rest}");
    }
}

#[test]
fn what_is_the_same_again_is_quiet_and_summed_up() {
    let mut engine = rules(
        "{when: {threat: {}}, actions: [{webhook: {url: 'http://127.0.0.1:1/'}}], suppress: {for: 10s}}",
    );
    let cluster = Cluster::new();
    assert_eq!(engine.take(&threat(), &cluster, 100).len(), 1);
    for now in 101..110 {
        assert_eq!(engine.take(&threat(), &cluster, now), []);
    }
    assert_eq!(engine.sweep(109), []);
    let summaries = engine.sweep(110);
    assert_eq!(summaries.len(), 1);
    assert_eq!(summaries[0].repeated, 9);
    assert!(message::sentence(&summaries[0]).contains("9 times more"));
    assert_eq!(engine.take(&threat(), &cluster, 110).len(), 1);
}

#[test]
fn a_rule_without_actions_keeps_others_quiet_until_it_expires() {
    let mut engine = rules(
        "{when: {threat: {}}, actions: [{quarantine: {}}]}|{when: {threat: {names: [log4shell]}}, suppress: {}, expires: '1970-01-01T00:01:40Z'}",
    );
    assert_eq!(engine.take(&threat(), &Cluster::new(), 99), []);
    assert_eq!(engine.take(&threat(), &Cluster::new(), 100).len(), 1);
}

#[test]
fn messages_say_it_in_every_form() {
    let mut engine =
        rules("{when: {threat: {}}, actions: [{webhook: {url: 'http://127.0.0.1:1/'}}]}");
    let order = &engine.take(&threat(), &Cluster::new(), 0)[0];
    let body = message::body(order, WebhookFormat::Generic);
    assert_eq!(body["version"], 1);
    assert_eq!(body["kind"], "threat");
    assert_eq!(body["server"]["workload"], "shop/w2");
    assert_eq!(body["time"], "2026-11-18T11:06:40.123456Z");
    let slack = message::body(order, WebhookFormat::Slack);
    assert!(
        slack["text"]
            .as_str()
            .unwrap()
            .contains("a &lt;message&gt;")
    );
    let line = message::line(order, "con troller");
    assert!(
        line.starts_with("<130>1 2026-11-18T11:06:40.123456Z controller weir - threat - {"),
        "{line}"
    );
}

proptest! {
    /// However events come, no rule cuts off more workloads in a window than it may.
    #[test]
    fn no_rule_stops_the_cluster(events in prop::collection::vec((0..20usize, 0u64..400), 0..200)) {
        let mut engine = rules("{when: {threat: {}}, actions: [{quarantine: {}}]}");
        let cluster = Cluster::new();
        let (mut now, mut done) = (0, Vec::new());
        for (server, pause) in events {
            now += pause;
            let event = event(EventKind::Threat, "x", "front/w1", &format!("shop/w{server}"));
            let orders = engine.take(&event, &cluster, now);
            done.extend(cut_off(&orders).into_iter().map(|workload| (now, workload.to_owned())));
            let recent = done.iter().filter(|(time, _)| time + QUARANTINE_WINDOW_S > now);
            let different: std::collections::BTreeSet<_> = recent.map(|(_, workload)| workload).collect();
            // One that was cut off before the window began and again within it counts once.
            prop_assert!(different.len() <= 2 * QUARANTINES_PER_RULE_MAX);
            let since = done.iter().filter(|(time, _)| *time == now).count();
            prop_assert!(since <= QUARANTINES_PER_RULE_MAX);
        }
    }
}

#[test]
fn packets_are_kept_of_the_connection_or_else_of_the_workload() {
    let cluster = Cluster::new();
    let place = FlowPlace {
        id: 7,
        protocol: 6,
        zone: 0,
    };
    let mut with_flow = threat();
    with_flow.flow = Some(place);
    for (party, last, port) in [
        (&mut with_flow.client, 1, Some(4_000)),
        (&mut with_flow.server, 2, Some(80)),
    ] {
        (party.address, party.port) = (Some([10, 0, 0, last].into()), port);
    }
    let of = |rule: &str, event: &Event| {
        let orders = rules(rule).take(event, &cluster, 0);
        let subject = |order: &Order| match &order.action {
            OrderAction::Capture { subject, .. } => Some(subject.shown()),
            _ => None,
        };
        orders.iter().filter_map(subject).collect::<Vec<_>>()
    };
    let flow = "{when: {threat: {}}, actions: [{capture: {}}]}";
    assert_eq!(of(flow, &with_flow), ["10.0.0.1:4000->10.0.0.2:80"]);
    // The rule is of the server's namespace.
    assert_eq!(of(flow, &threat()), ["shop/w2"]);
    let workload = "{when: {threat: {}}, actions: [{capture: {of: workload}}]}";
    assert_eq!(of(workload, &with_flow), ["shop/w2"]);
    let mut nobody = with_flow.clone();
    nobody.server.workload = None;
    assert_eq!(of(flow, &nobody), Vec::<String>::new());
}
