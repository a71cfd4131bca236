//! DNS.

use weir_l7::Transport;

use super::{Bench, ToClient, ToServer};
use crate::Threat;

const A: u16 = 1;
const NULL: u16 = 10;
const TXT: u16 = 16;
const IXFR: u16 = 251;
const AXFR: u16 = 252;

fn question(id: u16, name: &[u8], kind: u16) -> Vec<u8> {
    message(id, 0x0100, name, kind, &[])
}

fn message(id: u16, flags: u16, name: &[u8], kind: u16, answers: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in [id, flags, 1, answers.len() as u16, 0, 0] {
        bytes.extend(part.to_be_bytes());
    }
    for label in name.split(|&byte| byte == b'.') {
        bytes.push(label.len() as u8);
        bytes.extend(label);
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    for answer in answers {
        bytes.extend([0xc0, 12]);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1, 0, 0, 0, 60]);
        bytes.extend((answer.len() as u16).to_be_bytes());
        bytes.extend(*answer);
    }
    bytes
}

/// Asks and answers on a connection of its own.
fn ask(bench: &mut Bench, name: &[u8], kind: u16, answers: &[&[u8]]) -> Vec<Threat> {
    bench.open(Transport::Udp);
    bench.packet(ToServer, &question(7, name, kind));
    bench.packet(ToClient, &message(7, 0x8180, name, kind, answers));
    bench.threats()
}

#[test]
fn zones_and_null_records_are_told() {
    let mut bench = Bench::new(53);
    assert_eq!(
        ask(&mut bench, b"example.com", AXFR, &[]),
        [Threat::DnsZoneTransfer]
    );
    assert_eq!(
        ask(&mut bench, b"example.com", IXFR, &[]),
        [Threat::DnsZoneTransfer]
    );
    assert_eq!(
        ask(&mut bench, b"example.com", NULL, &[]),
        [Threat::DnsNullType]
    );
    assert_eq!(ask(&mut bench, b"example.com", A, &[&[192, 0, 2, 1]]), []);
    bench.config.protocols.dns.secondaries = vec!["10.0.0.1".parse().expect("an address")];
    assert_eq!(ask(&mut bench, b"example.com", AXFR, &[]), []);
}

#[test]
fn an_answer_must_have_number_and_name_of_a_question() {
    let mut bench = Bench::new(53);
    for (id, name, expected) in [
        (7, b"example.com", &[][..]),
        (8, b"example.com", &[Threat::DnsUnasked]),
        (7, b"examine.com", &[Threat::DnsUnasked]),
    ] {
        bench.open(Transport::Udp);
        bench.packet(ToServer, &question(7, b"example.com", A));
        bench.packet(ToClient, &message(id, 0x8180, name, A, &[&[192, 0, 2, 1]]));
        // Once more, as where a packet is sent twice.
        bench.packet(ToClient, &message(id, 0x8180, name, A, &[&[192, 0, 2, 1]]));
        assert_eq!(bench.threats(), expected);
    }
}

#[test]
fn answers_to_nobody_are_told_when_they_are_many() {
    let mut bench = Bench::new(53);
    let mut told = Vec::new();
    for round in 0..12 {
        bench.open(Transport::Udp);
        bench.packet(
            ToClient,
            &message(round, 0x8180, b"example.com", A, &[&[192, 0, 2, 1]]),
        );
        told.extend(bench.threats());
    }
    assert_eq!(told, [Threat::DnsUnasked]);
}

#[test]
fn a_name_that_leads_outside_and_then_inside_is_rebound() {
    let mut bench = Bench::new(53);
    assert_eq!(ask(&mut bench, b"a.evil.com", A, &[&[192, 0, 2, 1]]), []);
    assert_eq!(
        ask(&mut bench, b"a.evil.com", A, &[&[10, 0, 0, 9]]),
        [Threat::DnsRebinding]
    );
    // An inside resolver's names may lead inside; those of one's own domains always.
    assert_eq!(
        ask(&mut bench, b"mail.example.com", A, &[&[10, 0, 0, 9]]),
        []
    );
    bench.config.protocols.dns.trust_inside_resolvers = false;
    assert_eq!(
        ask(&mut bench, b"b.evil.com", A, &[&[127, 0, 0, 1]]),
        [Threat::DnsRebinding]
    );
    assert_eq!(
        ask(
            &mut bench,
            b"db.shop.svc.cluster.local",
            A,
            &[&[10, 0, 0, 9]]
        ),
        []
    );
    // Lists of bad senders answer so.
    assert_eq!(
        ask(
            &mut bench,
            b"4.3.2.10.list.example.org",
            A,
            &[&[127, 0, 0, 2]]
        ),
        []
    );
}

/// Letters and digits without order.
fn random(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        b"abcdefghijklmnopqrstuvwxyz234567"[(state >> 59) as usize]
    };
    (0..length).map(|_| next()).collect()
}

/// Asks for this many names below a domain.
fn ask_many(domain: &[u8], kind: u16, count: u64, length: usize, answer: &[u8]) -> Vec<Threat> {
    let mut bench = Bench::new(53);
    let mut told = Vec::new();
    for round in 0..count {
        let mut name = random(round, length);
        name.extend(format!("{round}").as_bytes());
        name.extend(domain);
        told.extend(ask(&mut bench, &name, kind, &[answer]));
        bench.pass_ms(100);
    }
    told
}

#[test]
fn tunnels_show_by_names_types_and_volume() {
    let text = [b'x'; 200];
    assert_eq!(
        ask_many(b".tun.test", TXT, 30, 8, &text),
        [Threat::DnsTunnel]
    );
    assert_eq!(
        ask_many(b".tun.test", A, 40, 50, &[192, 0, 2, 1]),
        [Threat::DnsTunnel]
    );
    let mut bench = Bench::new(53);
    let odd = b"h4sicn03*2qaa3rlc3qudhh0aavjycxwakjehelu5kluegw0zjxulgage-.4s2fgaaaa==-.test.txt";
    assert_eq!(ask(&mut bench, odd, A, &[]), [Threat::DnsTunnel]);
    assert_eq!(ask(&mut bench, b"1qaz2wsx", TXT, &[]), [Threat::DnsTunnel]);
}

#[test]
fn what_is_close_to_a_tunnel_is_none() {
    let text = [b'x'; 200];
    let address = [192, 0, 2, 1];
    // Short names of a delivery network, few texts, look-ups of files, one's own names.
    assert_eq!(ask_many(b".cdn.example.net", A, 60, 12, &address), []);
    assert_eq!(ask_many(b".example.org", TXT, 5, 20, &text), []);
    assert_eq!(ask_many(b".avqs.mcafee.com", A, 60, 50, &address), []);
    assert_eq!(
        ask_many(b".shop.svc.cluster.local", A, 60, 50, &address),
        []
    );
    let mut bench = Bench::new(53);
    let mut told = Vec::new();
    for round in 0..60 {
        let listed = format!("{round}.2.0.192.zen.example.org");
        told.extend(ask(&mut bench, listed.as_bytes(), TXT, &[&text]));
        let service = format!("_ldap._tcp.site{round}._sites.example.com");
        told.extend(ask(&mut bench, service.as_bytes(), TXT, &[&text]));
    }
    assert_eq!(told, []);
}

#[test]
fn forged_lengths_and_pointers_are_told() {
    let mut bench = Bench::new(53);
    bench
        .open(Transport::Udp)
        .packet(ToServer, &question(1, b"a.example", A));
    let mut looped = question(2, b"a", A);
    looped.splice(12..15, [0xc0, 12]);
    bench.packet(ToServer, &looped);
    assert_eq!(bench.threats(), [Threat::DnsCompressionLoop]);
    bench
        .open(Transport::Udp)
        .packet(ToServer, &question(1, b"a.example", A));
    let mut long = message(1, 0x8180, b"a.example", A, &[&[192, 0, 2, 1]]);
    let length = long.len() - 6;
    long[length] = 0xff;
    bench.packet(ToClient, &long);
    assert_eq!(bench.threats(), [Threat::DnsOverflow]);
}
