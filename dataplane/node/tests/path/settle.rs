//! When flows settle although signatures are looked for: as soon as no rule can match any more, each way by
//! itself, and never earlier.

use proptest::prelude::*;
use weir_node::counters::Stage;
use weir_node::event::EventKind;
use weir_policy::spec::{Mode, ThreatAction, ThreatPolicySpec};
use weir_wire::Reason;

use crate::common::bench::{CLIENTS, SERVERS, prepared, small_limits};
use crate::common::frames::{self, ACK};
use crate::common::hosts::*;
use crate::common::{Bench, Shop, Talk, content::*};

/// Never fires, and wants every packet: with it no flow settles before the depth.
const WANTS_ALL: &str = "alert ip any any -> any any (dsize:>65000; sid:999999;)\n";

fn policy() -> Shop {
    Shop::new(Mode::Protect).allow_any(AI_MODEL.identity(), PHOTO_DB.identity())
}

fn bench(rules: &str) -> Bench {
    Bench::searching(&policy().build(), rules)
}

/// The rules that Weir brings.
fn shipped() -> String {
    let files = weir_sigs::shipped_rules();
    files
        .into_iter()
        .map(|file| String::from_utf8(file.bytes).unwrap())
        .collect()
}

fn talk(bench: &mut Bench, port: u16) -> Talk {
    let mut talk = Talk::new(
        AI_MODEL.port(Family::V4, port),
        PHOTO_DB.port(Family::V4, 9999),
    );
    assert!(talk.open(bench));
    talk
}

fn datagram(port: u16, payload: &[u8]) -> Vec<u8> {
    frames::udp(
        AI_MODEL.port(Family::V4, port),
        PHOTO_DB.port(Family::V4, 9999),
        payload,
    )
}

/// How many packets came to the stages behind track while this was done.
fn looked_at(bench: &mut Bench, what: impl FnOnce(&mut Bench)) -> u64 {
    let packets = |bench: &Bench| {
        let stages = [
            Stage::Reassemble,
            Stage::Identify,
            Stage::Parse,
            Stage::Scan,
        ];
        stages
            .map(|stage| bench.path.stages().packets[stage as usize])
            .iter()
            .sum::<u64>()
    };
    let before = packets(bench);
    what(bench);
    packets(bench) - before
}

#[test]
fn flows_settle_under_the_rules_that_weir_brings() {
    let mut bench = bench(&shipped());
    let send = |bench: &mut Bench, count: usize| {
        for _ in 0..count {
            let frame = datagram(40_000, &[0x99; 30]);
            assert!(bench.send(CLIENTS, &frame).is_passed(CLIENTS, &frame));
        }
    };
    send(&mut bench, 8);
    assert_eq!(
        looked_at(&mut bench, |bench| send(bench, 20)),
        0,
        "datagrams one way"
    );
    let mut talk = talk(&mut bench, 40_001);
    for _ in 0..4 {
        assert!(talk.client_passes(&mut bench, &[0x99; 600]));
        assert!(talk.server_passes(&mut bench, &[0x98; 600]));
    }
    let looked_at = looked_at(&mut bench, |bench| {
        for _ in 0..10 {
            assert!(talk.client_passes(bench, &[0x99; 600]));
            assert!(talk.server_passes(bench, &[0x98; 600]));
        }
    });
    assert_eq!(looked_at, 0, "a connection");
    assert_eq!(bench.gauge("reassembly_bytes"), 0);
}

#[test]
fn one_direction_settles_while_the_other_is_looked_into() {
    let mut bench =
        bench(r#"alert tcp any any -> any any (flow:to_client; content:"secret"; sid:1;)"#);
    let mut talk = talk(&mut bench, 40_000);
    for _ in 0..4 {
        assert!(talk.client_passes(&mut bench, &[0x99; 600]));
        assert!(talk.server_passes(&mut bench, &[0x98; 600]));
    }
    let uploaded = looked_at(&mut bench, |bench| {
        for _ in 0..20 {
            assert!(talk.client_passes(bench, &[0x99; 600]));
        }
    });
    assert_eq!(uploaded, 0);
    for part in ["a sec", "ret"] {
        assert!(talk.server_passes(&mut bench, part.as_bytes()));
    }
    assert_eq!(bench.alerts(), [1]);
}

/// A hole in the direction that is read is found by what the other one acknowledges, which is settled.
#[test]
fn what_never_came_is_passed_over_although_its_receiver_is_settled() {
    let mut bench =
        bench(r#"alert tcp any any -> any any (flow:to_client; content:"secret"; sid:1;)"#);
    let mut talk = talk(&mut bench, 40_000);
    for _ in 0..4 {
        assert!(talk.client_passes(&mut bench, &[0x99; 600]));
        assert!(talk.server_passes(&mut bench, &[0x98; 600]));
    }
    talk.server_next = talk.server_next.wrapping_add(100);
    assert!(talk.server_passes(&mut bench, b"the secret"));
    assert!(talk.client_passes(&mut bench, &[0x99; 60]));
    assert_eq!(bench.alerts(), [1]);
    for _ in 0..2_000 {
        assert!(talk.server_passes(&mut bench, &[0x98; 600]));
    }
    assert_eq!(bench.gauge("reassembly_bytes"), 0);
}

#[test]
fn rules_that_come_later_see_what_passes_on_settled_flows() {
    let mut bench = bench("alert tcp any any -> any 81 (content:\"x\"; sid:1;)");
    let mut talk = talk(&mut bench, 40_000);
    for _ in 0..4 {
        assert!(talk.client_passes(&mut bench, &[0x99; 600]));
        assert!(talk.server_passes(&mut bench, &[0x98; 600]));
    }
    let settled = looked_at(&mut bench, |bench| {
        assert!(talk.client_passes(bench, b"a secret"));
    });
    assert_eq!(settled, 0);
    let rule = r#"alert tcp any any -> any any (flow:to_server; content:"secret"; sid:2;)"#;
    drop(bench.path.look_for(prepared(rule)));
    for part in ["another sec", "ret"] {
        assert!(talk.client_passes(&mut bench, part.as_bytes()));
    }
    assert_eq!(bench.alerts(), [2]);
}

/// Far more connections than are scanned at a time settle one after the other, and as many only begin; what comes
/// then is scanned all the same.
#[test]
fn a_settled_flow_takes_no_memory_of_signatures() {
    let mut bench = bench(&shipped());
    let sessions = small_limits().sessions as u16;
    for port in 0..2 * sessions {
        let mut talk = talk(&mut bench, 40_000 + port);
        for _ in 0..4 {
            assert!(talk.client_passes(&mut bench, &[0x99; 600]));
            assert!(talk.server_passes(&mut bench, &[0x98; 600]));
        }
    }
    for port in 0..sessions {
        let begun = Talk::new(
            AI_MODEL.port(Family::V4, 50_000 + port),
            PHOTO_DB.port(Family::V4, 9999),
        );
        let syn = begun.syn();
        assert!(bench.send(CLIENTS, &syn).is_passed(CLIENTS, &syn));
    }
    let mut talk = talk(&mut bench, 60_000);
    bench.events();
    // A threat, too, which ends the connection.
    talk.client_says(&mut bench, &http_get("/cgi-bin/.%2e/.%2e/bin/sh"));
    let (alerts, missed) = (bench.alerts(), bench.gauge("signatures_not_looked_for"));
    assert!(
        alerts.contains(&9_000_001),
        "{alerts:?}, {missed} not looked for"
    );
}

/// Packets of settled flows are shown to the threat detectors now and then: one that drops ends its flow, on the
/// spot, and nothing else of the burst.
#[test]
fn a_threat_in_a_settled_flow_ends_it_and_no_other() {
    let blocks = ThreatPolicySpec {
        id: 1,
        name: "threatpolicy shop/windows".to_owned(),
        targets: vec![PHOTO_DB.identity()],
        actions: vec![("tcp-small-window".to_owned(), ThreatAction::Drop)],
        others: None,
        thresholds: Vec::new(),
    };
    let mut bench = Bench::watching(&policy().threats(blocks).build(), small_limits());
    let mut talks = [40_000, 40_001].map(|port| talk(&mut bench, port));
    for talk in &mut talks {
        for _ in 0..4 {
            assert!(talk.client_passes(&mut bench, &[0x99; 600]));
            assert!(talk.server_passes(&mut bench, &[0x98; 600]));
        }
    }
    bench.events();
    let acknowledges = |talk: &Talk| talk.of_client(ACK, talk.client_next, b"");
    let (mut attack, honest) = (acknowledges(&talks[0]), acknowledges(&talks[1]));
    // Open by a byte. The checksum of what is not read is not looked at.
    attack[48..50].copy_from_slice(&[0, 1]);
    let (mut attacks, mut passed) = (0, 0);
    for _ in 0..400 {
        bench.now_us += 100_000;
        let sent = bench.send_all(&[(CLIENTS, attack.clone()), (CLIENTS, honest.clone())]);
        passed += sent.0.iter().filter(|(_, frame)| *frame == honest).count();
        attacks += sent.0.iter().filter(|(_, frame)| *frame == attack).count();
    }
    assert_eq!(passed, 400);
    assert!((80..200).contains(&attacks), "{attacks} passed");
    assert_eq!(bench.dropped(Reason::Threat), 1);
    assert_eq!(bench.dropped(Reason::Terminated), 399 - attacks as u64);
    assert_eq!(bench.events_of(EventKind::Threat).len(), 1);
}

/// What comes next, of one of a few flows.
#[derive(Clone, Debug)]
struct Next {
    flow: usize,
    from_client: bool,
    payload: Vec<u8>,
}

fn next() -> impl Strategy<Value = Next> {
    let words = prop::sample::select(vec![
        "abc",
        "secret",
        "GET /a HTTP/1.1\r\n\r\n",
        "\u{1}",
        "........",
        "ab",
        "x",
    ]);
    let payload = prop::collection::vec(words, 1..5).prop_map(|words| words.concat().into_bytes());
    (0..4_usize, any::<bool>(), payload).prop_map(|(flow, from_client, payload)| Next {
        flow,
        from_client,
        payload,
    })
}

fn rule() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "tcp any any -> any any (flow:to_client; content:\"secret\";",
        "tcp any any -> any 9999 (flow:to_server; content:\"abc\"; content:\"secret\"; distance:0;",
        "tcp any any -> any 9998 (content:\"abc\";",
        "tcp-stream any any -> any any (content:\"abc\"; startswith; content:\"secret\"; distance:0;",
        "tcp-stream any any -> any any (content:\"secret\"; depth:40;",
        "tcp any any -> any any (content:\"x\"; flowbits:isset,seen;",
        "tcp any any -> any 9999 (flow:to_server; content:\"ab\"; flowbits:set,seen; flowbits:noalert;",
        "tcp any any -> any any (content:\"secret\"; content:!\"x\"; distance:0;",
        "http any any -> any any (http.uri; content:\"/a\";",
        "udp any any -> any any (flow:to_client; content:\"abc\";",
        "udp any any -> any 9999 (content:\"secret\"; startswith;",
        "ip any any -> any any (msg:\"any\";",
        "dns any any -> any any (content:\"abc\";",
    ])
    .prop_map(str::to_owned)
}

/// The alerts of all that passes; how much of it was looked into.
fn alerts(rules: &str, nexts: &[Next]) -> (Vec<u32>, u64) {
    let mut bench = bench(rules);
    let mut talks: Vec<Talk> = (0..2).map(|port| talk(&mut bench, 40_000 + port)).collect();
    let mut sids = Vec::new();
    let looked_at = looked_at(&mut bench, |bench| {
        for next in nexts {
            match (talks.get_mut(next.flow), next.from_client) {
                (Some(talk), true) => assert!(talk.client_passes(bench, &next.payload)),
                (Some(talk), false) => assert!(talk.server_passes(bench, &next.payload)),
                (None, from_client) => {
                    let ends = [
                        AI_MODEL.port(Family::V4, 40_000 + next.flow as u16),
                        PHOTO_DB.port(Family::V4, 9999),
                    ];
                    let (port, from, to) = match from_client {
                        true => (CLIENTS, ends[0], ends[1]),
                        false => (SERVERS, ends[1], ends[0]),
                    };
                    bench.send(port, &frames::udp(from, to, &next.payload));
                }
            }
            sids.extend(bench.alerts());
        }
    });
    let (now_us, out) = (bench.now_us, &mut bench.out);
    bench.path.shut_down(now_us, out);
    sids.extend(bench.alerts());
    sids.sort_unstable();
    (sids, looked_at)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// A node that leaves flows alone tells what one tells that looks at everything.
    #[test]
    fn a_node_that_settles_early_tells_the_same(
        rules in prop::collection::vec(rule(), 1..5),
        nexts in prop::collection::vec(next(), 1..60),
    ) {
        let rules: String = (1..).zip(&rules).map(|(sid, rule)| format!("alert {rule} sid:{sid};)\n")).collect();
        let (patient, all) = alerts(&format!("{rules}{WANTS_ALL}"), &nexts);
        let (early, some) = alerts(&rules, &nexts);
        prop_assert_eq!(early, patient, "{}", rules);
        prop_assert!(some <= all);
    }
}
