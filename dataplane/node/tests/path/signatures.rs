//! Signatures on the packet's way: each kind of question a rule asks, and another set of rules between
//! two packets.

use weir_policy::spec::Mode;

use crate::common::bench::{CLIENTS, prepared};
use crate::common::frames;
use crate::common::hosts::*;
use crate::common::{Bench, Shop, Talk, content::*};

fn bench(rules: &str) -> Bench {
    Bench::searching(&Shop::story(Mode::Monitor).build(), rules)
}

fn http() -> Talk {
    Talk::new(
        AI_MODEL.port(Family::V4, 40_000),
        FRONTEND.port(Family::V4, 5000),
    )
}

fn tls() -> Talk {
    Talk::new(
        AI_MODEL.port(Family::V4, 40_001),
        FRONTEND.port(Family::V4, 443),
    )
}

fn dns_says(bench: &mut Bench, message: &[u8]) {
    let (client, server) = (
        AI_MODEL.port(Family::V4, 5353),
        RESOLVER.port(Family::V4, 53),
    );
    let frame = frames::udp(client, server, message);
    assert!(bench.send(CLIENTS, &frame).is_passed(CLIENTS, &frame));
}

#[test]
fn several_buffers_of_one_request_make_a_match() {
    let mut bench = bench(
        r#"
alert http any any -> any any (http.uri; content:"/admin"; sid:1;)
alert http any any -> any any (http.method; content:"GET"; http.uri; content:"/admin"; sid:2;)
alert http any any -> any any (http.method; content:"POST"; http.uri; content:"/admin"; sid:3;)
"#,
    );
    let mut talk = http();
    assert!(talk.open(&mut bench));
    assert!(talk.client_passes(&mut bench, &http_get("/photo")));
    assert!(bench.alerts().is_empty());
    for part in http_get("/admin").chunks(7) {
        assert!(talk.client_passes(&mut bench, part));
    }
    assert_eq!(bench.alerts(), [1, 2]);
}

#[test]
fn what_one_rule_notes_another_asks() {
    let mut bench = bench(
        r#"
alert http any any -> any any (http.uri; content:"/login"; flowbits:set,seen; flowbits:noalert; sid:1;)
alert http any any -> any any (http.uri; content:"/admin"; flowbits:isset,seen; sid:2;)
"#,
    );
    let mut talk = http();
    assert!(talk.open(&mut bench));
    assert!(talk.client_passes(&mut bench, &http_get("/admin")));
    assert!(bench.alerts().is_empty());
    for path in ["/login", "/admin"] {
        assert!(talk.client_passes(&mut bench, &http_get(path)));
    }
    assert_eq!(bench.alerts(), [2]);
}

#[test]
fn a_threshold_tells_one_in_so_many() {
    let mut bench = bench(
        r#"alert http any any -> any any (http.uri; content:"/try"; threshold:type threshold, track by_src, count 3, seconds 60; sid:1;)"#,
    );
    let mut talk = http();
    assert!(talk.open(&mut bench));
    for _ in 0..7 {
        assert!(talk.client_passes(&mut bench, &http_get("/try")));
    }
    assert_eq!(bench.alerts(), [1, 1]);
}

#[test]
fn names_and_versions_of_tls() {
    let mut bench = bench(
        r#"
alert tls any any -> any any (tls.sni; content:"shop"; sid:1;)
alert tls any any -> any any (tls.sni; content:"other"; sid:2;)
alert tls any any -> any any (ssl_state:client_hello; ssl_version:tls1.3,tls1.2; sid:3;)
alert tls any any -> any any (ssl_version:sslv3; sid:4;)
alert tls any any -> any any (ssl_state:server_hello; sid:5;)
"#,
    );
    let mut talk = tls();
    assert!(talk.open(&mut bench));
    assert!(talk.client_passes(&mut bench, &tls_client_hello("photo.shop")));
    assert_eq!(bench.alerts(), [1, 3]);
    assert!(talk.server_passes(&mut bench, &tls_server_hello()));
    assert_eq!(bench.alerts(), [5]);
}

#[test]
fn names_types_and_objections_of_dns() {
    let mut bench = bench(
        r#"
alert dns any any -> any any (dns.query; content:"evil"; sid:1;)
alert dns any any -> any any (dns.rrtype:A; dns.opcode:0; sid:2;)
alert dns any any -> any any (dns.rrtype:TXT; sid:3;)
alert dns any any -> any any (app-layer-event:dns.malformed_data; sid:4;)
"#,
    );
    dns_says(&mut bench, &dns_query("evil.example.com"));
    assert_eq!(bench.alerts(), [1, 2]);
    dns_says(&mut bench, &dns_query("good.example.com"));
    assert_eq!(bench.alerts(), [2]);
    // A name that points at itself.
    let mut circle = dns_query("a");
    circle.truncate(12);
    circle.extend([0xc0, 12, 0, 1, 0, 1]);
    dns_says(&mut bench, &circle);
    assert_eq!(bench.alerts(), [4]);
}

#[test]
fn packets_and_counts_of_a_connection() {
    let mut bench = bench(
        r#"
alert tcp any any -> any 5000 (flags:S,12; sid:1;)
alert tcp any any -> any any (flow:to_server; flow.pkts:toserver,=4; sid:2;)
alert tcp any any -> any any (flow:to_server,established; content:"/two"; stream_size:client,>,20; sid:3;)
alert tcp any any -> any any (flow:to_server,established; content:"/two"; stream_size:server,>,0; sid:4;)
alert tcp any any -> any any (flow:to_server,established; content:"/two"; flow.age:>3; sid:5;)
"#,
    );
    let mut talk = http();
    assert!(talk.open(&mut bench));
    assert_eq!(bench.alerts(), [1]);
    assert!(talk.client_passes(&mut bench, &http_get("/one")));
    assert!(bench.alerts().is_empty());
    bench.wait(5_000);
    assert!(talk.client_passes(&mut bench, &http_get("/two")));
    assert_eq!(bench.alerts(), [2, 3, 5]);
}

#[test]
fn an_objection_of_http_completes_what_the_bytes_began() {
    let mut bench = bench(
        r#"
alert http any any -> any any (flow:established,to_server; app-layer-event:http.invalid_transfer_encoding_value_in_request; content:"secret"; sid:1;)
alert http any any -> any any (app-layer-event:http.invalid_content_length_field_in_request; sid:2;)
"#,
    );
    let mut talk = http();
    assert!(talk.open(&mut bench));
    let request = "POST /secret HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n";
    talk.client_says(&mut bench, request.as_bytes());
    assert_eq!(bench.alerts(), [1]);
    let mut talk = http();
    talk.client.set_port(40_002);
    assert!(talk.open(&mut bench));
    let request = "POST /secret HTTP/1.1\r\nHost: shop\r\nContent-Length: -4\r\n\r\n";
    talk.client_says(&mut bench, request.as_bytes());
    assert_eq!(bench.alerts(), [2]);
}

#[test]
fn other_rules_take_over_between_two_packets() {
    let mut bench = bench(
        r#"alert tcp any any -> any any (content:"one-two"; sid:1;)
alert http any any -> any any (http.uri; content:"/login"; flowbits:set,seen; sid:2;)"#,
    );
    let mut talk = http();
    assert!(talk.open(&mut bench));
    assert!(talk.client_passes(&mut bench, &http_get("/login")));
    assert_eq!(bench.alerts(), [2]);
    assert!(talk.client_passes(&mut bench, b"GET /one"));
    let old = bench.path.look_for(prepared(
        r#"alert tcp any any -> any any (content:"one-two"; sid:3;)
alert tcp any any -> any any (content:"-two"; flowbits:isset,seen; sid:4;)
alert tcp any any -> any any (content:"-two"; flowbits:isnotset,seen; sid:5;)
alert http any any -> any any (http.uri; content:"/one-two"; sid:6;)"#,
    ));
    assert!(old.is_some(), "what was used before is given back");
    assert!(talk.client_passes(&mut bench, b"-two HTTP/1.1\r\nHost: shop\r\n\r\n"));
    // The stream is looked at from the next byte on; a message that is read then is whole.
    assert_eq!(bench.alerts(), [5, 6]);
    assert!(talk.client_passes(&mut bench, &http_get("/login")));
    assert!(bench.alerts().is_empty());
}
