//! Scans, and fan-out that is none.

use weir_wire::tcp_flags::{ACK, FIN, RST, SYN};

use super::bench::{Bench, End, PSH_URG, icmp, segment, tcp, udp};
use crate::Threat;

const SCANNER: [u8; 4] = [10, 9, 9, 9];
const TARGET: [u8; 4] = [10, 0, 0, 2];

fn scans(bench: &Bench) -> (bool, bool) {
    (
        bench.told(Threat::PortScan) > 0,
        bench.told(Threat::HostScan) > 0,
    )
}

fn host(number: u16) -> [u8; 4] {
    let [a, b] = number.to_be_bytes();
    [10, 0, a, b]
}

#[test]
fn ports_that_refuse_are_a_scan_however_slowly() {
    for wait_ms in [0, 60_000, 300_000] {
        let mut bench = Bench::new();
        for port in 1..=10 {
            bench.refuse((SCANNER, 50_000 + port), (TARGET, port));
            bench.wait_ms(wait_ms);
        }
        assert_eq!(scans(&bench), (true, false), "{wait_ms}");
    }
}

#[test]
fn failures_are_forgotten_after_their_window() {
    let mut bench = Bench::new();
    for port in 1..=30 {
        bench.refuse((SCANNER, 50_000 + port), (TARGET, port));
        bench.wait_ms(700_000);
    }
    assert_eq!(scans(&bench), (false, false), "six in an hour");
}

#[test]
fn one_port_that_refuses_again_and_again_is_no_scan() {
    let mut bench = Bench::new();
    for port in 0..500 {
        bench.refuse((SCANNER, 50_000 + port), (TARGET, 8080));
    }
    assert_eq!(scans(&bench), (false, false));
}

#[test]
fn silence_is_a_scan_when_the_flows_end() {
    let mut bench = Bench::new();
    for port in 1..=20 {
        bench.send(&tcp((SCANNER, 50_000), (TARGET, port), segment(SYN)));
    }
    assert_eq!(scans(&bench), (false, false));
    bench.end();
    assert_eq!(scans(&bench), (true, false));
}

#[test]
fn a_half_open_scan_is_found_by_what_is_closed() {
    let mut bench = Bench::new();
    for port in 1..=12 {
        let (client, server) = ((SCANNER, 50_000 + port), (TARGET, port));
        if port % 4 != 0 {
            bench.refuse(client, server);
        } else {
            bench.send(&tcp(client, server, segment(SYN)));
            bench.send(&tcp(server, client, segment(SYN | ACK)));
            bench.send(&tcp(client, server, segment(RST)));
        }
    }
    assert_eq!(scans(&bench), (true, false));
}

#[test]
fn stealth_probes_open_nothing_and_are_found() {
    for flags in [0, FIN, FIN | PSH_URG] {
        let mut bench = Bench::new();
        for port in 1..=3 {
            bench.send(&tcp((SCANNER, 50_000), (TARGET, port), segment(flags)));
        }
        assert_eq!(bench.flows(), 0);
        assert_eq!(scans(&bench), (true, false), "{flags}");
    }
}

#[test]
fn segments_out_of_nowhere_that_are_reset_are_a_scan() {
    for flags in [ACK, FIN | ACK] {
        let mut bench = Bench::new();
        for port in 1..=10 {
            let (client, server): (End, End) = ((SCANNER, 50_000 + port), (TARGET, port));
            bench.send(&tcp(client, server, segment(flags)));
            bench.send(&tcp(server, client, segment(RST)));
        }
        assert_eq!(scans(&bench), (true, false), "{flags}");
    }
}

#[test]
fn udp_ports_that_cannot_be_reached_are_a_scan() {
    let mut bench = Bench::new();
    for port in 1..=10 {
        let frame = udp((SCANNER, 50_000), (TARGET, port), b"");
        bench.send(&frame);
        bench.unreachable(&frame);
    }
    assert_eq!(scans(&bench), (true, false));
}

#[test]
fn a_route_that_is_traced_is_no_scan() {
    let mut bench = Bench::new();
    for port in 33_434..33_530 {
        let frame = udp((SCANNER, 50_000), (TARGET, port), b"");
        bench.send(&frame);
        bench.unreachable(&frame);
    }
    bench.end();
    assert_eq!(scans(&bench), (false, false));
}

#[test]
fn one_port_of_many_hosts_is_a_scan_of_hosts() {
    let mut bench = Bench::new();
    for number in 1..=10 {
        bench.refuse((SCANNER, 50_000), (host(number), 22));
    }
    assert_eq!(scans(&bench), (false, true));
}

#[test]
fn two_ports_of_many_hosts_are_both() {
    let mut bench = Bench::new();
    for number in 1..=10 {
        bench.refuse((SCANNER, 50_000), (host(number), 80));
        bench.refuse((SCANNER, 50_001), (host(number), 443));
    }
    assert_eq!(scans(&bench), (true, true));
}

#[test]
fn hosts_that_do_not_answer_to_pings_are_a_scan() {
    let mut bench = Bench::new();
    for number in 1..=20 {
        bench.send(&icmp(SCANNER, host(number), 8, 7, number, &[1; 56]));
    }
    bench.end();
    assert_eq!(scans(&bench), (false, true));
}

#[test]
fn who_watches_or_balances_many_hosts_of_which_some_are_dead_is_no_scanner() {
    let mut bench = Bench::new();
    for round in 0..10 {
        for number in 0..60 {
            let (client, server) = (
                (SCANNER, 10_000 + round * 100 + number),
                (host(number), 8080),
            );
            match number % 5 {
                0 => bench.refuse(client, server),
                _ => {
                    // A health check: connect and reset.
                    bench.connect(client, server);
                    bench.send(&tcp(client, server, segment(RST | ACK)));
                }
            }
        }
        bench.wait_ms(10_000);
    }
    assert_eq!(scans(&bench), (false, false));
}

#[test]
fn a_swarm_of_peers_of_which_most_are_gone_is_no_scan() {
    let mut bench = Bench::new();
    for number in 0..200 {
        let port = 20_000 + number * 37;
        bench.refuse((SCANNER, 50_000), (host(number), port));
    }
    assert_eq!(scans(&bench), (false, false));
}

#[test]
fn calls_to_everybody_are_no_scan() {
    let mut bench = Bench::new();
    for port in 1..=100 {
        bench.send(&udp((SCANNER, 50_000), ([239, 255, 255, 250], port), b"x"));
        bench.send(&udp((SCANNER, 50_000), ([255; 4], port), b"x"));
    }
    bench.end();
    assert_eq!(scans(&bench), (false, false));
}

#[test]
fn a_long_scan_is_told_once_a_minute_with_what_went_untold() {
    let mut bench = Bench::new();
    for number in 1..=60_u16 {
        for port in 0..40 {
            bench.refuse((SCANNER, 50_000 + port), (host(number), 1 + port));
        }
    }
    // Each target's ports by itself at most, and the sweep over them.
    assert!(
        bench.told(Threat::PortScan) <= 21,
        "twenty a second: {}",
        bench.told(Threat::PortScan)
    );
    assert!(bench.told(Threat::HostScan) <= 1);
}
