//! ICMP: tunnels, and pings that are none.

use super::bench::{Bench, Fate, address, icmp, udp};
use crate::Threat;

const CLIENT: [u8; 4] = [10, 0, 0, 1];
const SERVER: [u8; 4] = [10, 0, 0, 2];
const REQUEST: u8 = 8;
const REPLY: u8 = 0;

fn ask(bench: &mut Bench, sequence: u16, content: &[u8]) -> Fate {
    bench.wait_ms(50);
    bench.send(&icmp(CLIENT, SERVER, REQUEST, 7, sequence, content))
}

fn answer(bench: &mut Bench, sequence: u16, content: &[u8]) -> Fate {
    bench.send(&icmp(SERVER, CLIENT, REPLY, 7, sequence, content))
}

/// A ping as it should be: time, then a pattern.
fn ping(time: u8) -> Vec<u8> {
    [time; 16].into_iter().chain(16..56).collect()
}

#[test]
fn ordinary_pings_are_no_tunnel() {
    let mut bench = Bench::new();
    for sequence in 0..200 {
        let content = ping(sequence as u8);
        ask(&mut bench, sequence, &content);
        // Some are lost, some come twice, some are cut, some late.
        match sequence % 10 {
            0 => continue,
            1 => drop(answer(&mut bench, sequence, &content)),
            2 => {
                answer(&mut bench, sequence, &content[..32]);
                continue;
            }
            3 => {
                answer(
                    &mut bench,
                    sequence.wrapping_sub(2),
                    &ping(sequence as u8 - 2),
                );
            }
            _ => {}
        }
        answer(&mut bench, sequence, &content);
    }
    bench.end();
    assert!(bench.findings.is_empty(), "{:?}", bench.findings);
}

#[test]
fn sizes_and_fillings_that_change_are_no_tunnel() {
    let mut bench = Bench::new();
    for sequence in 0..100 {
        let content: Vec<u8> = (0..56 + sequence).map(|byte| byte as u8).collect();
        ask(&mut bench, sequence, &content);
        answer(&mut bench, sequence, &content);
        let filling = vec![sequence as u8; 64];
        bench.send(&icmp(CLIENT, SERVER, REQUEST, 8, sequence, &filling));
        bench.send(&icmp(SERVER, CLIENT, REPLY, 8, sequence, &filling));
    }
    assert!(bench.findings.is_empty(), "{:?}", bench.findings);
}

#[test]
fn answers_that_differ_are_a_tunnel() {
    let mut bench = Bench::new();
    for sequence in 0..5 {
        ask(&mut bench, sequence, &ping(1));
        answer(
            &mut bench,
            sequence,
            b"total 48\ndrwxr-xr-x 2 root root 4096 .. and much more of the kind",
        );
    }
    assert_eq!(bench.sign(Threat::IcmpTunnel), Some("answers that differ"));
}

#[test]
fn answers_to_nothing_are_a_tunnel() {
    let mut bench = Bench::new();
    ask(&mut bench, 0, &ping(1));
    for sequence in 0..6 {
        answer(&mut bench, sequence, &ping(1));
    }
    assert_eq!(bench.told(Threat::IcmpTunnel), 1);
}

#[test]
fn a_packet_within_is_a_tunnel_at_once() {
    let mut bench = Bench::new();
    let within = udp((CLIENT, 1), (SERVER, 2), b"carried");
    ask(&mut bench, 0, &within[14..]);
    assert_eq!(bench.sign(Threat::IcmpTunnel), Some("a packet within"));
    let mut bench = Bench::new();
    let mut longer = within[14..].to_vec();
    longer.push(0);
    ask(&mut bench, 0, &longer);
    assert_eq!(bench.told(Threat::IcmpTunnel), 0, "to the byte");
}

#[test]
fn questions_whose_content_changes_are_a_tunnel() {
    for kind in [REQUEST, REPLY] {
        let mut bench = Bench::new();
        for sequence in 0..20_u16 {
            let content: Vec<u8> = (0..64_u8)
                .map(|byte| byte.wrapping_mul(3 + sequence as u8))
                .collect();
            bench.wait_ms(50);
            bench.send(&icmp(CLIENT, SERVER, kind, 7, sequence, &content));
        }
        assert_eq!(
            bench.sign(Threat::IcmpTunnel),
            Some("contents that change"),
            "{kind}"
        );
    }
}

#[test]
fn queries_that_hold_data_are_a_tunnel() {
    let told = |content: &[u8]| {
        let mut bench = Bench::new();
        for sequence in 0..5 {
            bench.send(&icmp(CLIENT, SERVER, 13, 7, sequence, content));
        }
        bench.told(Threat::IcmpTunnel)
    };
    assert_eq!((told(&[0; 12]), told(&[0; 40])), (0, 1));
}

#[test]
fn a_message_beyond_all_measure_is_found() {
    let told = |length: usize| {
        let mut bench = Bench::new();
        ask(&mut bench, 0, &vec![1; length]);
        answer(&mut bench, 0, &vec![1; length]);
        bench.told(Threat::PingOfDeath) > 0
    };
    assert_eq!((told(32_000), told(32_001)), (false, true));
}

#[test]
fn a_ping_to_everybody_is_dropped() {
    let mut bench = Bench::new();
    for destination in [[255; 4], [239, 1, 1, 1], [224, 0, 0, 1]] {
        let frame = icmp(CLIENT, destination, REQUEST, 7, 0, &[1; 8]);
        assert_eq!(bench.send(&frame), Fate::Dropped, "{destination:?}");
    }
    assert_eq!(bench.told(Threat::Smurf), 3);
    let mut small = icmp(CLIENT, [10, 0, 0, 255], REQUEST, 7, 0, &[1; 8]);
    assert_eq!(bench.send(&small), Fate::Passed);
    bench.end();
    small[..6].fill(0xff);
    assert_eq!(bench.send(&small), Fate::Dropped, "the frame says so");
    assert_ne!(address(CLIENT), address(SERVER));
}
