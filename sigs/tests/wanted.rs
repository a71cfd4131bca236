//! That a connection is never left alone too early: whatever rules and traffic there are, the same rules fire
//! whether or not a direction is passed over from the moment on that nothing of it is wanted.

mod support;

use std::cell::Cell;
use std::sync::Arc;

use proptest::prelude::*;
use support::{Wire, compile};
use weir_l7::{Buffer, registry};
use weir_sigs::rule::{self, RuleReader};
use weir_sigs::{Options, RuleSet, Wanted};
use weir_wire::Direction::{self, ToClient, ToServer};

/// What comes next on the connection.
#[derive(Clone, Debug)]
struct Next {
    direction: Direction,
    payload: Vec<u8>,
    /// A message of the application with this target comes first, while its parser tells any.
    uri: Option<Vec<u8>>,
}

fn word() -> impl Strategy<Value = String> {
    "[abc]{1,3}"
}

fn option() -> impl Strategy<Value = String> {
    let place = prop_oneof![
        4 => Just(String::new()),
        2 => Just("startswith;".to_owned()),
        2 => (0..6_u32, 3..12_u32).prop_map(|(offset, depth)| format!("offset:{offset}; depth:{depth};")),
        1 => (0..4_u32).prop_map(|offset| format!("offset:{offset};")),
        1 => Just("distance:0;".to_owned()),
        1 => (3..9_u32).prop_map(|within| format!("distance:0; within:{within};")),
    ];
    prop_oneof![
        12 => (word(), any::<bool>(), place).prop_map(|(word, not, place)| {
            let not = if not && !place.contains("startswith") { "!" } else { "" };
            format!("content:{not}\"{word}\"; {place}")
        }),
        1 => (0..120_u32, 0..8_u32).prop_map(|(value, at)| format!("byte_test:1,<,{value},{at};")),
        1 => word().prop_map(|word| format!("pcre:\"/{word}.{{0,3}}a/\";")),
        1 => (0..8_u32).prop_map(|bytes| format!("isdataat:{bytes};")),
        1 => (0..9_u32).prop_map(|bytes| format!("dsize:>{bytes};")),
        1 => word().prop_map(|word| format!("http.uri; content:\"{word}\";")),
    ]
}

fn rule() -> impl Strategy<Value = String> {
    let protocol = prop::sample::select(vec![
        "tcp",
        "tcp",
        "tcp-stream",
        "tcp-stream",
        "tcp-pkt",
        "http",
        "dns",
        "udp",
        "ip",
    ]);
    let ports = prop::sample::select(vec!["any -> any", "any -> 80", "any -> 81", "80 -> any"]);
    let flow = prop::sample::select(vec![
        "",
        "",
        "flow:to_server;",
        "flow:established;",
        "flow:to_client;",
        "flow:not_established;",
    ]);
    let state = prop::sample::select(vec![
        "",
        "",
        "",
        "",
        "flowbits:set,x;",
        "flowbits:isset,x;",
        "flowbits:isset,x; flowbits:set,y;",
        "flowbits:isset,y;",
        "flowbits:isnotset,x;",
        "flowbits:set,x; flowbits:noalert;",
        "threshold:type limit, track by_src, count 1, seconds 60;",
        "app-layer-protocol:!http;",
    ]);
    let options = prop::collection::vec(option(), 0..4);
    (protocol, ports, flow, state, options).prop_map(|(protocol, ports, flow, state, options)| {
        let ports = ports.replace(" -> ", " -> any ");
        format!(
            "alert {protocol} any {ports} ({flow} {} {state} ",
            options.concat()
        )
    })
}

fn next() -> impl Strategy<Value = Next> {
    let payload = prop::collection::vec(prop::sample::select(b"aabbc.".to_vec()), 0..12);
    let long = (0..1_500_usize).prop_map(|length| vec![b'.'; length]);
    let payload = prop_oneof![12 => payload, 1 => long];
    let uri = prop::option::of(prop::collection::vec(
        prop::sample::select(b"abc".to_vec()),
        1..5,
    ));
    (any::<bool>(), payload, uri).prop_map(|(back, payload, uri)| Next {
        direction: if back { ToClient } else { ToServer },
        payload,
        uri,
    })
}

/// The rules of these texts that are possible, numbered by place.
fn set(texts: &[String]) -> Arc<RuleSet> {
    let mut reader = RuleReader::new(rule::Options::default());
    for (index, text) in texts.iter().enumerate() {
        reader.read("law", format!("{text} sid:{};)\n", index + 1).as_bytes());
    }
    Arc::new(
        RuleSet::compile(reader.finish().0, &Options::default())
            .unwrap()
            .0,
    )
}

/// What a connection is, and when its parser falls silent.
#[derive(Clone, Debug)]
struct Case {
    protocol: u8,
    port: u16,
    application: &'static str,
    silent_from: usize,
}

thread_local! {
    static LEFT: Cell<[u32; 2]> = const { Cell::new([0; 2]) };
}

/// The rules that fire, sorted; how much was passed over.
fn fired(set: &Arc<RuleSet>, case: &Case, nexts: &[Next], leaves: bool) -> (Vec<u32>, usize) {
    let mut wire = Wire::with(Arc::clone(set));
    (wire.facts.protocol, wire.facts.server_port) = (case.protocol, case.port);
    let (mut sids, mut left, mut seen) = (Vec::new(), [false; 2], [false; 2]);
    let mut passed_over = 0;
    for (at, next) in nexts.iter().enumerate() {
        let silent = at >= case.silent_from;
        wire.facts.application = silent
            .then(|| registry::by_name(case.application))
            .flatten();
        seen[next.direction as usize] = true;
        wire.facts.established = case.protocol == 6 || seen == [true; 2];
        if left[next.direction as usize] {
            passed_over += 1;
            continue;
        }
        if let (Some(uri), false, 6) = (&next.uri, silent, case.protocol) {
            wire.facts.application = registry::by_name("http");
            wire.message(next.direction, 0);
            wire.buffer(next.direction, Buffer::HttpUri, uri);
        }
        if case.protocol == 6 {
            wire.stream(next.direction, &next.payload);
        }
        let transport = if case.protocol == 6 {
            vec![0x50; 20]
        } else {
            vec![0; 8]
        };
        wire.packet(next.direction, &transport, &next.payload);
        sids.extend(wire.sids());
        if !leaves || !silent {
            continue;
        }
        for direction in [ToServer, ToClient] {
            let wanted = wire
                .scanner
                .wanted(Some(wire.flow), &wire.facts, direction, true);
            left[direction as usize] |= wanted == Wanted::Nothing;
        }
    }
    wire.close();
    sids.extend(wire.sids());
    sids.sort_unstable();
    (sids, passed_over)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_direction_that_nothing_is_wanted_of_makes_no_rule_fire(
        rules in prop::collection::vec(rule(), 1..6),
        nexts in prop::collection::vec(next(), 1..24),
        protocol in prop::sample::select(vec![6_u8, 6, 6, 17]),
        port in prop::sample::select(vec![80_u16, 443]),
        application in prop::sample::select(vec!["http", "dns", "tls"]),
        silent_from in 0..8_usize,
    ) {
        let set = set(&rules);
        let case = Case { protocol, port, application, silent_from };
        let (all, _) = fired(&set, &case, &nexts, false);
        let (early, passed_over) = fired(&set, &case, &nexts, true);
        prop_assert_eq!(early, all, "{:#?}", rules);
        LEFT.set([LEFT.get()[0] + 1, LEFT.get()[1] + u32::from(passed_over > 0)]);
    }
}

#[test]
fn many_connections_are_left_alone_in_that_law() {
    a_direction_that_nothing_is_wanted_of_makes_no_rule_fire();
    let [cases, left] = LEFT.get();
    assert!(
        left * 4 > cases,
        "in {left} of {cases} cases something was passed over"
    );
}

fn wanted(wire: &mut Wire<'_>) -> [Wanted; 2] {
    [ToServer, ToClient].map(|direction| {
        wire.scanner
            .wanted(Some(wire.flow), &wire.facts, direction, true)
    })
}

const MORE: Wanted = Wanted::Until(u64::MAX);

#[test]
fn rules_of_another_application_want_nothing() {
    let mut wire = Wire::new(
        r#"
alert http any any -> any any (http.uri; content:"x"; sid:1;)
alert dns any any -> any any (content:"x"; sid:2;)
alert udp any any -> any any (content:"x"; sid:3;)
alert tcp any any -> any 81 (content:"x"; sid:4;)
"#,
    );
    assert_eq!(wanted(&mut wire), [Wanted::Nothing; 2]);
    wire.facts.server_port = 81;
    assert_eq!(wanted(&mut wire), [MORE, Wanted::Nothing]);
    wire = wire.udp(53);
    assert_eq!(wanted(&mut wire), [MORE; 2], "each packet may be the one");
}

#[test]
fn the_first_bytes_decide_what_counts_from_them() {
    let text = r#"alert tcp-stream any any -> any any (flow:to_server; content:"ab"; startswith; content:"x"; sid:1;)"#;
    let mut wire = Wire::new(text);
    assert_eq!(wanted(&mut wire), [Wanted::Until(2), Wanted::Nothing]);
    wire.stream(ToServer, b"a");
    assert_eq!(wanted(&mut wire)[0], Wanted::Until(2));
    wire.stream(ToServer, b"b");
    assert_ne!(wanted(&mut wire)[0], Wanted::Nothing);
    let mut wire = Wire::new(text);
    wire.stream(ToServer, b"ax");
    assert_eq!(wanted(&mut wire)[0], Wanted::Nothing);
}

#[test]
fn a_rule_that_reaches_so_far_wants_so_much() {
    let mut wire = Wire::new(
        r#"
alert tcp-stream any any -> any any (content:"ab"; depth:2000; content:"x"; distance:0; within:50; sid:1;)
alert tcp-stream any any -> any any (content:"cd"; depth:3000; sid:2;)
"#,
    );
    wire.stream(ToServer, &[b'.'; 1_999]);
    assert_eq!(wanted(&mut wire), [Wanted::Until(3_000); 2]);
    wire.stream(ToServer, &[b'.'; 1_001]);
    assert_eq!(wanted(&mut wire), [Wanted::Nothing, Wanted::Until(3_000)]);
}

#[test]
fn a_bit_that_nothing_can_set_is_not_waited_for() {
    let text = r#"
alert tcp-stream any any -> any any (flow:to_client; content:"x"; flowbits:isset,a; sid:1;)
alert tcp-stream any any -> any 81 (content:"y"; flowbits:set,a; flowbits:noalert; sid:2;)
"#;
    let mut wire = Wire::new(text);
    assert_eq!(wanted(&mut wire), [Wanted::Nothing; 2]);
    wire.facts.server_port = 81;
    assert_eq!(wanted(&mut wire), [MORE; 2]);
}

#[test]
fn what_only_addresses_decide_is_asked_once_each_way() {
    let mut wire = Wire::new("alert tcp any any -> any any (msg:\"any\"; sid:1;)");
    wire.packet(ToServer, &[0x50; 20], b"x");
    assert_eq!(wire.sids(), [1]);
    assert_eq!(wanted(&mut wire), [Wanted::Nothing, Wanted::Until(0)]);
    wire.packet(ToClient, &[0x50; 20], b"x");
    assert_eq!(wanted(&mut wire), [Wanted::Nothing; 2]);
}

#[test]
fn too_many_rules_to_ask_want_everything() {
    let text: String = (1..=300)
        .map(|sid| format!("alert tcp any any -> any 81 (content:\"x{sid}\"; sid:{sid};)\n"))
        .collect();
    let mut wire = Wire::with(compile(&text));
    assert_eq!(wanted(&mut wire), [MORE; 2]);
}
