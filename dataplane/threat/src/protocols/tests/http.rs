//! HTTP: framing, hanging requests, Kubernetes, metadata, malware.

use weir_l7::Transport;
use weir_wire::from_ip_address;

use super::super::kubernetes::ExternalAddresses;
use super::{Bench, ToClient, ToServer};
use crate::Threat;

fn send(request: &str) -> Vec<Threat> {
    let mut bench = Bench::new(80);
    bench
        .open(Transport::Tcp)
        .packet(ToServer, request.as_bytes());
    bench.threats()
}

#[test]
fn framing_that_servers_read_differently_is_told() {
    let with = |headers: &str| send(&format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n"));
    assert_eq!(with("Content-Length: -1"), [Threat::NegativeContentLength]);
    assert_eq!(
        with("Content-Length: 4\r\nContent-Length: 5"),
        [Threat::Smuggling]
    );
    assert_eq!(
        with("Content-Length: 4\r\nTransfer-Encoding: chunked"),
        [Threat::Smuggling]
    );
    assert_eq!(with("Transfer-Encoding: xchunked"), [Threat::Smuggling]);
    assert_eq!(with("Transfer-Encoding:\r\n chunked"), [Threat::Smuggling]);
    assert_eq!(with("Content-Length: 0"), []);
    assert_eq!(with("Transfer-Encoding: chunked"), []);
    assert_eq!(with("Content-Length: 4, 4"), []);
}

#[test]
fn writes_of_services_that_claim_addresses_are_told() {
    let write = |method: &str, path: &str, body: &str| {
        let length = body.len();
        send(&format!(
            "{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    };
    let services = "/api/v1/namespaces/default/services";
    let claims = r#"{"kind":"Service","spec":{"externalIPs":["203.0.113.7"]}}"#;
    assert_eq!(write("POST", services, claims), [Threat::ExternalIp]);
    assert_eq!(
        write("POST", "/api/v1/namespaces/default/configmaps", claims),
        []
    );
    assert_eq!(
        write(
            "POST",
            services,
            r#"{"kind":"Service","spec":{"externalIPs":[]}}"#
        ),
        []
    );
}

#[test]
fn traffic_to_a_claimed_address_is_told() {
    let mut bench = Bench::new(80);
    bench.open(Transport::Tcp).packet(ToServer, b"");
    assert_eq!(bench.threats(), []);
    bench.protocols.claim(ExternalAddresses::new([(
        bench.connection.server,
        "shop/web",
    )]));
    bench
        .open(Transport::Tcp)
        .packet(ToServer, b"")
        .packet(ToServer, b"");
    assert_eq!(bench.threats(), [Threat::ExternalIp]);
}

#[test]
fn metadata_services_are_told_by_address_and_name() {
    let mut bench = Bench::new(80);
    bench.connection.server = from_ip_address("169.254.169.254".parse().expect("an address"));
    bench
        .open(Transport::Tcp)
        .packet(ToServer, b"")
        .packet(ToClient, b"");
    assert_eq!(bench.threats(), [Threat::MetadataAccess]);
    // Clouds answer names at the same address.
    bench.open(Transport::Udp).packet(ToServer, b"");
    bench.connection.server_port = 53;
    bench.open(Transport::Tcp).packet(ToServer, b"");
    assert_eq!(bench.threats(), []);
    let host = |host: &str| send(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    assert_eq!(host("metadata.google.internal"), [Threat::MetadataAccess]);
    assert_eq!(host("metadata.example.com"), []);
}

/// Many connections begin like this; after a while each sends more.
fn hang(first: &str, more: &str, milliseconds: u64, connections: usize) -> Vec<Threat> {
    let mut bench = Bench::new(80);
    let mut kept = Vec::new();
    for _ in 0..connections {
        bench.open_another();
        bench
            .packet(ToServer, first.as_bytes())
            .packet(ToClient, b"");
        kept.push((bench.connection, bench.watch));
    }
    bench.pass_ms(milliseconds);
    if more.is_empty() {
        bench.sweep();
    }
    for (connection, watch) in kept {
        (bench.connection, bench.watch) = (connection, watch);
        bench.raw_packet(more.len());
    }
    bench.threats()
}

impl Bench {
    /// Another connection, the one before being left open.
    fn open_another(&mut self) {
        self.session = None;
        self.engine = weir_l7::Engine::new(weir_l7::Limits {
            sessions: 1,
            pending_pool_bytes: 1 << 20,
            blocks: 1,
            ..weir_l7::Limits::default()
        });
        self.connection.application = None;
        self.connection.number += 1;
        self.connection.client_port += 1;
        self.connection.packets = [0; 2];
        self.watch = crate::Watch::default();
        let ports = [self.connection.client_port, self.connection.server_port];
        self.session = self.engine.open(Transport::Tcp, ports, true);
    }

    /// Enough ticks to look at every server.
    fn sweep(&mut self) {
        for _ in 0..64 {
            self.tick();
        }
    }

    /// A packet whose bytes nobody reads.
    fn raw_packet(&mut self, length: usize) {
        self.session = None;
        let payload = vec![b'x'; length];
        self.packet(ToServer, &payload);
    }
}

#[test]
fn heads_that_do_not_end_are_told_when_they_are_many() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\n";
    assert_eq!(hang(head, "X-a: b\r\n", 5_000, 20), [Threat::Slowloris]);
    // Also where not a byte follows.
    assert_eq!(hang(head, "", 5_000, 20), [Threat::Slowloris]);
    // Few, or not for long, or complete.
    assert_eq!(hang(head, "X-a: b\r\n", 5_000, 5), []);
    assert_eq!(hang(head, "X-a: b\r\n", 1_000, 20), []);
    assert_eq!(hang("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "", 5_000, 20), []);
}

#[test]
fn bodies_that_hardly_come_are_told_when_they_are_many() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    assert_eq!(hang(head, "", 40_000, 20), [Threat::SlowBody]);
    assert_eq!(
        hang(&format!("{head}abc"), "d", 40_000, 20),
        [Threat::SlowBody]
    );
    assert_eq!(hang(&format!("{head}abc"), "d", 10_000, 20), []);
    let whole = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!(hang(whole, "", 40_000, 20), []);
}

#[test]
fn requests_of_malware_are_told() {
    let post = |target: &str, host: &str, agent: &str| {
        send(&format!(
            "POST {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\na=b"
        ))
    };
    let aged = "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0)";
    let random = "/OK21pqJAtyyGBEo00sk";
    assert_eq!(
        post(random, "203.0.113.9:7080", aged),
        [Threat::CommandAndControl]
    );
    assert_eq!(post(random, "www.example.com", aged), []);
    assert_eq!(post("/login", "203.0.113.9", aged), []);
    assert_eq!(post(random, "203.0.113.9", "curl/8.5.0"), []);
    assert_eq!(
        post("/", "example.com", "vBKbaQgjyvRRbcgfvlsc"),
        [Threat::CommandAndControl]
    );
    assert_eq!(post("/", "example.com", "MyCompanyBackupAgent"), []);
}
