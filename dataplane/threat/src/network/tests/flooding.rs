//! Floods, and crowds that are none.

use weir_wire::tcp_flags::{ACK, RST, SYN};

use super::bench::{Bench, End, Fate, icmp, segment, tcp, udp};
use crate::network::Settings;
use crate::{Action, Threat};

const SERVER: End = ([10, 0, 0, 80], 80);
const ECHO: u8 = 8;

fn random(state: &mut u32) -> u32 {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    *state
}

fn stranger(state: &mut u32) -> End {
    let number = random(state);
    let [_, b, c, d] = number.to_be_bytes();
    (
        [100 + (number >> 30) as u8, b, c, d],
        1024 + (number >> 8) as u16 % 50_000,
    )
}

/// SYNs of strangers who answer nothing, so many a second; how many passed.
fn flood(bench: &mut Bench, per_s: u64, for_ms: u64) -> u64 {
    let mut state = bench.now_us as u32;
    let mut passed = 0;
    for index in 0..per_s * for_ms / 1000 {
        let before = index * 1000 / per_s;
        let frame = tcp(stranger(&mut state), SERVER, segment(SYN));
        passed += u64::from(bench.send(&frame) == Fate::Passed);
        bench.wait_ms((index + 1) * 1000 / per_s - before);
    }
    passed
}

#[test]
fn a_flood_of_made_up_senders_is_found_within_a_second_and_turned_away() {
    let mut bench = Bench::new();
    flood(&mut bench, 5000, 1000);
    assert_eq!(bench.told(Threat::SynFlood), 1);
    assert_eq!(bench.sign(Threat::SynFlood), Some("of many sources"));
    let before = bench.flows();
    let passed = flood(&mut bench, 5000, 4000);
    // A hundred a second are admitted, and the flow table lives.
    assert!(passed <= 4 * 110, "{passed}");
    assert!(bench.flows() - before <= 440);
    assert_eq!(bench.told(Threat::SynFlood), 1, "told once a minute");
}

#[test]
fn below_its_threshold_there_is_no_flood() {
    let mut bench = Bench::new();
    assert_eq!(flood(&mut bench, 700, 5000), 3500);
    assert_eq!(bench.told(Threat::SynFlood), 0);
}

#[test]
fn a_flood_of_one_source_is_found_while_it_is_young() {
    let mut bench = Bench::new();
    for port in 0..200 {
        bench.send(&tcp(([192, 0, 2, 1], 40_000 + port), SERVER, segment(SYN)));
        bench.wait_ms(1);
    }
    assert_eq!(bench.sign(Threat::SynFlood), Some("of one source"));
}

#[test]
fn a_source_whose_stack_resets_what_it_did_not_open_floods_all_the_same() {
    let mut bench = Bench::new();
    for port in 0..4000 {
        let client = ([192, 0, 2, 1], 2000 + port);
        if bench.send(&tcp(client, SERVER, segment(SYN))) == Fate::Passed {
            bench.send(&tcp(SERVER, client, segment(SYN | ACK)));
            bench.send(&tcp(client, SERVER, segment(RST)));
        }
        bench.now_us += 400;
    }
    // Of the source, and in time of the target.
    assert_eq!(bench.told(Threat::SynFlood), 2);
    assert!(bench.flows() < 800, "{}", bench.flows());
    assert_eq!(
        bench.told(Threat::PortScan) + bench.told(Threat::HostScan),
        0
    );
}

/// Three thousand newcomers a second, whose handshakes take a fifth of a second.
#[test]
fn a_crowd_of_newcomers_passes() {
    let mut bench = Bench::new();
    let mut state = 7;
    let mut waiting = std::collections::VecDeque::new();
    for _ in 0..9000 {
        let client = stranger(&mut state);
        assert_eq!(bench.send(&tcp(client, SERVER, segment(SYN))), Fate::Passed);
        bench.send(&tcp(SERVER, client, segment(SYN | ACK)));
        waiting.push_back((bench.now_us + 200_000, client));
        bench.now_us += 333;
        while waiting
            .front()
            .is_some_and(|(due_us, _)| *due_us <= bench.now_us)
        {
            let (_, client) = waiting.pop_front().unwrap();
            bench.send(&tcp(client, SERVER, segment(ACK)));
        }
    }
    assert_eq!(bench.told(Threat::SynFlood), 0);
}

/// A load generator that opens 800 connections at once and waits.
#[test]
fn a_client_that_opens_many_at_once_passes() {
    let mut bench = Bench::new();
    let client = |port: u16| ([10, 0, 0, 9], 10_000 + port);
    for _ in 0..5 {
        for port in 0..800 {
            assert_eq!(
                bench.send(&tcp(client(port), SERVER, segment(SYN))),
                Fate::Passed
            );
        }
        bench.wait_ms(300);
        for port in 0..800 {
            bench.send(&tcp(SERVER, client(port), segment(SYN | ACK)));
            bench.send(&tcp(client(port), SERVER, segment(ACK)));
        }
        bench.end();
    }
    assert_eq!(bench.told(Threat::SynFlood), 0);
}

#[test]
fn known_clients_and_patient_strangers_come_through_a_flood() {
    let mut bench = Bench::new();
    let known = ([10, 0, 0, 9], 1000);
    bench.connect(known, SERVER);
    flood(&mut bench, 5000, 2000);
    assert_eq!(bench.connect((known.0, 1001), SERVER), Fate::Passed);
    // Admitted by chance are the first of each tenth of a second only.
    flood(&mut bench, 5000, 50);
    let stranger = tcp(([198, 51, 100, 7], 5000), SERVER, segment(SYN));
    assert_eq!(bench.send(&stranger), Fate::Dropped);
    flood(&mut bench, 5000, 1050);
    assert_eq!(
        bench.send(&stranger),
        Fate::Passed,
        "sent again as stacks do"
    );
    let other = SERVER.0.map(|byte| byte + 1);
    assert_eq!(
        bench.connect(([198, 51, 100, 8], 1), (other, 80)),
        Fate::Passed,
        "nobody else suffers"
    );
}

/// Whoever floods with each SYN sent twice gains little.
#[test]
fn a_flood_that_comes_again_is_still_one() {
    let mut bench = Bench::new();
    flood(&mut bench, 5000, 1000);
    let again: Vec<Vec<u8>> = (0..5000_u16)
        .map(|port| tcp(([198, 51, 100, 7], port), SERVER, segment(SYN)))
        .collect();
    for frame in &again {
        bench.send(frame);
        bench.now_us += 200;
    }
    let passed = again
        .iter()
        .filter(|frame| {
            bench.now_us += 200;
            bench.send(frame) == Fate::Passed
        })
        .count();
    // Three hundred that come again and a hundred by chance, beside those that passed the first time.
    assert!((300..=520).contains(&passed), "{passed}");
}

#[test]
fn a_flood_that_is_over_is_over() {
    let mut bench = Bench::new();
    flood(&mut bench, 5000, 2000);
    bench.wait_ms(6000);
    let mut state = 99;
    for _ in 0..300 {
        assert_eq!(bench.connect(stranger(&mut state), SERVER), Fate::Passed);
        bench.wait_ms(4);
    }
}

#[test]
fn a_flood_that_is_only_told_drops_nothing() {
    let mut bench = Bench::new();
    bench.config.actions[Threat::SynFlood as usize] = Action::Alert;
    assert_eq!(flood(&mut bench, 5000, 2000), 10_000);
    assert_eq!(bench.told(Threat::SynFlood), 1);
}

#[test]
fn pings_that_never_wait_are_a_flood() {
    let mut bench = Bench::new();
    let dropped = (0..1500)
        .filter(|&sequence| {
            bench.now_us += 40;
            let asked = bench.send(&icmp(
                [10, 0, 0, 1],
                [10, 0, 0, 2],
                ECHO,
                7,
                sequence,
                &[0; 56],
            ));
            bench.send(&icmp(
                [10, 0, 0, 2],
                [10, 0, 0, 1],
                0,
                7,
                sequence,
                &[0; 56],
            ));
            asked == Fate::Dropped
        })
        .count();
    assert_eq!(bench.told(Threat::IcmpFlood), 1);
    assert_eq!(dropped, 1400, "all beyond the first hundred");
}

#[test]
fn who_watches_a_thousand_hosts_is_not_flooded_by_their_answers() {
    let mut bench = Bench::new();
    for round in 0..5 {
        for host in 0..1000_u16 {
            let [a, b] = host.to_be_bytes();
            let host = [10, 1, a, b];
            bench.send(&icmp([10, 0, 0, 1], host, ECHO, 7, round, &[1; 56]));
            bench.send(&icmp(host, [10, 0, 0, 1], 0, 7, round, &[1; 56]));
        }
        bench.wait_ms(1000);
    }
    bench.end();
    assert!(bench.findings.is_empty(), "{:?}", bench.findings);
}

#[test]
fn datagrams_that_nobody_answers_are_a_flood() {
    let mut bench = Bench::new();
    for index in 0..3000_u16 {
        bench.send(&udp(
            ([10, 0, 0, 1], 2000 + index),
            ([10, 0, 0, 2], 7777),
            &[0; 100],
        ));
        bench.now_us += 400;
    }
    assert_eq!(bench.sign(Threat::UdpFlood), Some("flows without answer"));
}

#[test]
fn a_busy_server_is_not_flooded() {
    let mut bench = Bench::new();
    for index in 0..6000_u16 {
        let client = ([10, 0, index.to_be_bytes()[0], 1], 2000 + index);
        bench.send(&udp(client, ([10, 0, 0, 2], 3478), &[0; 100]));
        bench.send(&udp(([10, 0, 0, 2], 3478), client, &[0; 100]));
        bench.now_us += 300;
    }
    assert_eq!(bench.told(Threat::UdpFlood), 0);
}

#[test]
fn one_stream_without_answers_may_have_its_rate_but_no_more() {
    let send = |per_s: u64| {
        let mut bench = Bench::new();
        for _ in 0..per_s * 3 {
            bench.send(&udp(
                ([10, 0, 0, 1], 5004),
                ([10, 0, 0, 2], 5004),
                &[0; 100],
            ));
            bench.now_us += 1_000_000 / per_s;
        }
        bench.sign(Threat::UdpFlood)
    };
    assert_eq!(send(4000), None);
    assert_eq!(send(8000), Some("datagrams without answer"));
}

#[test]
fn questions_to_a_name_server_have_a_threshold() {
    let ask = |per_s: u64| {
        let mut bench = Bench::new();
        for index in 0..per_s * 3 {
            let client = ([10, 0, 0, 1], 2000 + index as u16);
            bench.send(&udp(client, ([10, 0, 0, 53], 53), &[0; 30]));
            bench.send(&udp(([10, 0, 0, 53], 53), client, &[0; 60]));
            bench.now_us += 1_000_000 / per_s;
        }
        bench.told(Threat::DnsFlood)
    };
    assert_eq!((ask(750), ask(1200)), (0, 1));
}

#[test]
fn a_network_asks_for_so_many_leases_only() {
    let ask = |per_s: u64| {
        let mut bench = Bench::new();
        for _ in 0..per_s * 10 {
            // All of one flow: nobody has an address yet.
            bench.send(&udp(([0; 4], 68), ([255; 4], 67), &[1; 240]));
            bench.now_us += 1_000_000 / per_s;
        }
        bench.told(Threat::DhcpFlood)
    };
    assert_eq!((ask(15), ask(40)), (0, 1));
}

#[test]
fn a_source_holds_and_begins_so_many_connections_only() {
    let mut bench = Bench::new();
    let connect = |bench: &mut Bench, from: u16, to: u16, wait_us: u64| {
        for port in from..to {
            bench.connect(([10, 0, 0, 1], port), SERVER);
            bench.now_us += wait_us;
        }
    };
    connect(&mut bench, 1000, 2999, 2000);
    assert_eq!(bench.told(Threat::SessionLimit), 0);
    bench.end();
    connect(&mut bench, 1000, 2999, 2000);
    assert_eq!(
        bench.told(Threat::SessionLimit),
        0,
        "those that ended are given back"
    );
    connect(&mut bench, 2999, 3001, 2000);
    assert_eq!(bench.told(Threat::SessionLimit), 1);
    assert_eq!(bench.told(Threat::SessionRate), 0);
    bench.wait_ms(2000);
    connect(&mut bench, 4000, 5500, 500);
    assert_eq!(bench.told(Threat::SessionRate), 1);
}

/// Made-up senders neither cost more than others nor push a known client out.
#[test]
fn a_million_senders_cost_no_memory() {
    let mut bench = Bench::with(Settings {
        sources: 1024,
        ..Settings::default()
    });
    let known = ([10, 0, 0, 9], 1000);
    bench.connect(known, SERVER);
    let packet = |frame: &[u8]| weir_wire::decode(frame, &Default::default()).unwrap();
    let mut state = 5;
    let template = tcp(known, SERVER, segment(SYN));
    let mut syn = packet(&template);
    let (mut shed, mut found) = (0, crate::Found::new());
    let allocated = allocation_counter::measure(|| {
        for index in 0..1_000_000_u64 {
            syn.source = 0xffff_0000_0000 | u128::from(random(&mut state));
            syn.tcp.sequence = random(&mut state);
            let now_us = bench.now_us + index * 10;
            found = crate::Found::new();
            bench
                .network
                .arriving(&bench.config, 0, &syn, &template, now_us, &mut found);
            shed += u32::from(found.sheds());
        }
    });
    assert_eq!(allocated.count_total, 0);
    assert!(shed > 990_000, "{shed}");
    bench.now_us += 10_000_000;
    assert_eq!(bench.connect((known.0, 1001), SERVER), Fate::Passed);
}
