//! What rules do beside matching: order, state, thresholds, bounds, and going on under another set.

mod support;

use support::{Wire, compile, limits};
use weir_l7::{Buffer, Content};
use weir_sigs::rule::{SessionField, TlsState};
use weir_sigs::scan::{Session, Where};
use weir_sigs::{Action, Hits, Prepared, Scanner};
use weir_wire::Direction::{ToClient, ToServer};

#[test]
fn pass_goes_before_drop_before_reject_before_alert() {
    let text = r#"
alert tcp any any -> any any (content:"x"; sid:4;)
reject tcp any any -> any any (content:"x"; sid:3;)
drop tcp any any -> any any (content:"x"; sid:2;)
pass tcp any any -> any any (content:"xpass"; sid:1;)
"#;
    let mut wire = Wire::new(text);
    wire.stream(ToServer, b"x");
    let actions: Vec<Action> = wire.hits.iter().map(|hit| hit.action).collect();
    assert!(
        matches!(
            actions[..],
            [Action::Drop, Action::Reject(_), Action::Alert]
        ),
        "{actions:?}"
    );
    let mut wire = Wire::new(text);
    assert!(wire.stream(ToServer, b"xpass").sids().is_empty());
    assert!(
        wire.stream(ToServer, b"x")
            .stream(ToClient, b"x")
            .sids()
            .is_empty()
    );
    wire.close();
    assert_eq!(wire.stream(ToServer, b"x").sids(), [2, 3, 4]);
}

#[test]
fn bits_of_a_connection_lead_from_rule_to_rule() {
    let text = r#"
alert tcp any any -> any any (content:"second"; flowbits:isset,first; sid:2;)
alert tcp any any -> any any (content:"first"; flowbits:set,first; flowbits:noalert; sid:1;)
alert tcp any any -> any any (content:"second"; flowbits:isnotset,first; sid:3;)
"#;
    let mut wire = Wire::new(text);
    assert_eq!(wire.stream(ToServer, b"second").sids(), [3]);
    wire.close();
    assert!(wire.stream(ToServer, b"first").sids().is_empty());
    assert_eq!(wire.stream(ToClient, b"second").sids(), [2]);
    wire.close();
    assert_eq!(
        wire.stream(ToServer, b"second first").sids(),
        [2],
        "set before it is asked for"
    );
}

#[test]
fn bits_of_hosts_and_numbers_of_connections() {
    let text = r#"
alert tcp any any -> any any (content:"mark"; xbits:set,seen,track ip_src,expire 10; noalert; sid:1;)
alert tcp any any -> any any (content:"ask"; xbits:isset,seen,track ip_src; sid:2;)
alert tcp any any -> any any (content:"more"; flowint:count,+,1; noalert; sid:3;)
alert tcp any any -> any any (content:"many"; flowint:count,>,1; sid:4;)
"#;
    let mut wire = Wire::new(text);
    assert!(
        wire.stream(ToServer, b"ask")
            .stream(ToServer, b"mark")
            .sids()
            .is_empty()
    );
    wire.close();
    assert_eq!(wire.stream(ToServer, b"ask").sids(), [2]);
    assert!(
        wire.stream(ToClient, b"ask").sids().is_empty(),
        "of another host"
    );
    wire.now_us += 10_000_000;
    assert!(
        wire.stream(ToServer, b"ask").sids().is_empty(),
        "its time is over"
    );
    wire.stream(ToServer, b"more").stream(ToServer, b"many");
    assert!(wire.sids().is_empty());
    assert_eq!(
        wire.stream(ToServer, b"more")
            .stream(ToServer, b"many")
            .sids(),
        [4]
    );
}

#[test]
fn thresholds() {
    let told = |threshold: &str, times: usize, apart_us: u64| -> Vec<usize> {
        let mut wire = Wire::new(&format!(
            r#"alert udp any any -> any any (content:"x"; {threshold} sid:1;)"#
        ))
        .udp(53);
        (1..=times)
            .filter(|_| {
                wire.now_us += apart_us;
                !wire.datagram(b"x").sids().is_empty()
            })
            .collect()
    };
    for (threshold, apart_us, wanted) in [
        (
            "threshold:type limit,track by_src,count 2,seconds 60;",
            1,
            vec![1, 2],
        ),
        (
            "threshold:type limit,track by_src,count 1,seconds 2;",
            1_000_000,
            vec![1, 3, 5, 7],
        ),
        (
            "threshold:type threshold,track by_dst,count 3,seconds 60;",
            1,
            vec![3, 6],
        ),
        (
            "threshold:type both,track by_src,count 3,seconds 60;",
            1,
            vec![3],
        ),
        (
            "detection_filter:track by_src,count 3,seconds 60;",
            1,
            vec![4, 5, 6, 7, 8],
        ),
        (
            "detection_filter:track by_src,count 3,seconds 2;",
            1_000_000,
            vec![],
        ),
    ] {
        assert_eq!(told(threshold, 8, apart_us), wanted, "{threshold}");
    }
}

#[test]
fn a_drop_acts_though_it_is_told_once() {
    let mut wire = Wire::new(
        r#"drop udp any any -> any any (content:"x"; threshold:type limit,track by_src,count 1,seconds 60; sid:1;)"#,
    )
    .udp(53);
    wire.datagram(b"x").datagram(b"x").datagram(b"x");
    assert_eq!(wire.hits.len(), 3);
    assert!(wire.hits.iter().all(|hit| hit.action == Action::Drop));
    assert_eq!(wire.sids().len(), 1);
}

#[test]
fn ten_thousand_a_second_are_told_a_few_times() {
    let set = compile(r#"alert udp any any -> any any (content:"x"; sid:1;)"#);
    let limits = weir_sigs::Limits {
        told_per_second: 5,
        ..limits()
    };
    let mut wire = Wire::with(std::sync::Arc::clone(&set)).udp(9);
    wire.scanner = Scanner::new(set, &limits).unwrap();
    wire.flow = wire.scanner.open().unwrap();
    for _ in 0..10_000 {
        wire.now_us += 100;
        wire.datagram(b"x");
    }
    let told = wire.sids().len();
    assert!((5..=10).contains(&told), "{told}");
    assert_eq!(wire.scanner.stats().suppressed, 10_000 - told as u64);
}

#[test]
fn messages_do_not_complete_one_another() {
    let text = r#"alert http any any -> any any (http.method; content:"POST"; http.uri; content:"/x"; sid:1;)"#;
    let mut wire = Wire::new(text);
    let get = [(Buffer::HttpMethod, "GET"), (Buffer::HttpUri, "/x")];
    let post = [(Buffer::HttpMethod, "POST"), (Buffer::HttpUri, "/y")];
    assert!(wire.request(&post).request(&get).sids().is_empty());
    let both = [(Buffer::HttpUri, "/x"), (Buffer::HttpMethod, "POST")];
    assert_eq!(wire.request(&both).sids(), [1]);
    // Streams of HTTP/2 are messages side by side.
    wire.message(ToServer, 1).message(ToServer, 3);
    let one = Content::whole(Buffer::HttpMethod, 1, b"POST");
    let other = Content::whole(Buffer::HttpUri, 3, b"/x");
    assert!(
        wire.content(ToServer, &one)
            .content(ToServer, &other)
            .sids()
            .is_empty()
    );
    let rest = Content::whole(Buffer::HttpUri, 1, b"/x");
    assert_eq!(wire.content(ToServer, &rest).sids(), [1]);
}

#[test]
fn a_rule_may_ask_of_the_stream_and_of_a_buffer() {
    let text = r#"alert http any any -> any any (content:"raw"; http.uri; content:"/x"; sid:1;)"#;
    let uri = [(Buffer::HttpUri, "/x")];
    let mut wire = Wire::new(text);
    assert_eq!(wire.request(&uri).stream(ToServer, b".raw.").sids(), [1]);
    let mut wire = Wire::new(text);
    assert_eq!(wire.stream(ToServer, b".raw.").request(&uri).sids(), [1]);
    let mut wire = Wire::new(text);
    assert!(
        wire.stream(ToClient, b".raw.")
            .request(&uri)
            .sids()
            .is_empty()
    );
}

#[test]
fn numbers_of_the_application() {
    struct Dns(u64);
    impl Session for Dns {
        fn number(&self, field: SessionField) -> Option<u64> {
            (field == SessionField::DnsOpcode).then_some(self.0)
        }
        fn objection(&self) -> Option<&'static str> {
            (self.0 == 0).then_some(weir_l7::violation::DNS_LOOP)
        }
        fn tls_version(&self) -> Option<u16> {
            None
        }
        fn tls_state(&self) -> Option<TlsState> {
            None
        }
        fn certificate_expired(&self) -> Option<bool> {
            None
        }
        fn certificate_validity(&self) -> Option<(u64, u64)> {
            None
        }
        fn dce_interface(&self) -> Option<[u8; 16]> {
            None
        }
        fn dce_operation(&self) -> Option<u16> {
            None
        }
        fn dce_is_little(&self) -> Option<bool> {
            None
        }
    }
    let text = r"
alert dns any any -> any any (dns.opcode:4; sid:1;)
alert dns any any -> any any (app-layer-event:dns.malformed_data; sid:2;)
alert dns any any -> any any (app-layer-event:dns.name_too_long; sid:3;)
";
    for (opcode, fires) in [(4, [1]), (0, [2])] {
        let session = Dns(opcode);
        let mut wire = Wire::new(text).udp(53).session(&session);
        wire.facts.application = weir_l7::registry::by_name("dns");
        assert_eq!(wire.message(ToServer, 0).sids(), fires, "{opcode}");
    }
}

#[test]
fn hits_show_what_matched_and_where() {
    let mut wire = Wire::new(
        r#"alert http any any -> any any (http.uri; content:"/etc"; content:"wd"; distance:0; sid:1;)"#,
    );
    wire.request(&[(Buffer::HttpUri, "/a/etc/passwd")]);
    let excerpt = wire.hits[0].excerpt;
    assert_eq!(
        (excerpt.place, excerpt.offset, excerpt.bytes()),
        (Where::Buffer(Buffer::HttpUri), 2, &b"/etc/passwd"[..])
    );
}

#[test]
fn another_set_takes_over_connections_that_are_open() {
    let one = compile(r#"alert tcp any any -> any any (content:"one"; flowbits:set,a; sid:1;)"#);
    let two = compile(
        r#"
alert tcp any any -> any any (content:"two"; sid:2;)
alert tcp any any -> any any (content:"t"; startswith; sid:3;)
alert http any any -> any any (http.method; content:"P"; http.uri; content:"/"; sid:4;)
"#,
    );
    let mut wire = Wire::with(one);
    assert_eq!(wire.stream(ToServer, b"one tw").sids(), [1]);
    let old = wire.scanner.install(Prepared::new(two, &limits()).unwrap());
    drop(old);
    assert_eq!(
        wire.stream(ToServer, b"o two one").sids(),
        [2],
        "from the next byte on"
    );
    wire.request(&[(Buffer::HttpMethod, "P"), (Buffer::HttpUri, "/")]);
    assert_eq!(wire.sids(), [4]);
    wire.close();
    assert_eq!(wire.stream(ToServer, b"two").sids(), [2, 3]);
    for _ in 0..10 {
        wire.close();
        assert_eq!(
            wire.stream(ToServer, b"two").sids(),
            [2, 3],
            "what is given back is used again"
        );
    }
}

#[test]
fn connections_are_bounded_and_ids_end() {
    let mut wire = Wire::new(r#"alert tcp any any -> any any (content:"x"; sid:1;)"#);
    let opened: Vec<_> = (0..9).map_while(|_| wire.scanner.open()).collect();
    assert_eq!(opened.len(), limits().flows - 1);
    wire.scanner.abandon(opened[0]);
    let mut hits = Hits::new();
    wire.scanner
        .stream(opened[0], &support::facts(), ToServer, b"x", 1, &mut hits);
    assert!(hits.is_empty());
    assert!(wire.scanner.open().is_some());
}

#[test]
fn a_gap_keeps_what_was_before_from_being_joined_to_what_is_behind() {
    let mut wire = Wire::new(r#"alert tcp-stream any any -> any any (content:"abcd"; sid:1;)"#);
    wire.stream(ToServer, b"ab");
    wire.scanner.gap(wire.flow, ToServer, 10);
    assert!(wire.stream(ToServer, b"cd").sids().is_empty());
    assert_eq!(wire.stream(ToServer, b"abcd").sids(), [1]);
}

#[test]
fn nothing_is_allocated_by_a_call() {
    let text = r#"
alert http any any -> any any (http.method; content:"POST"; http.uri; content:"/x"; pcre:"/^\/x[0-9]+$/"; sid:1;)
alert http any any -> any any (http.request_body; content:"a"; content:"b"; distance:1; sid:2;)
alert tcp any any -> any any (content:"raw"; flowbits:set,x; threshold:type limit,track by_src,count 5,seconds 9; sid:3;)
alert tcp any any -> any any (content:"x"; offset:1; flowbits:isset,x; sid:4;)
alert http any any -> any any (http.uri; to_lowercase; content:"/x"; sid:5;)
"#;
    let mut wire = Wire::new(text);
    let mut hits = Hits::new();
    let mut found = 0;
    let scanner = &mut wire.scanner;
    let facts = support::facts();
    let measured = allocation_counter::measure(|| {
        for round in 0..50_u64 {
            let Some(flow) = scanner.open() else { break };
            scanner.message(flow, &facts, ToServer, 0, round, &mut hits);
            for (buffer, bytes) in [(Buffer::HttpMethod, "POST"), (Buffer::HttpUri, "/x12")] {
                let content = Content::whole(buffer, 0, bytes.as_bytes());
                scanner.buffer(flow, &facts, ToServer, &content, round, &mut hits);
            }
            let content = Content {
                ends: false,
                ..Content::whole(Buffer::HttpRequestBody, 0, b"a..b")
            };
            scanner.buffer(flow, &facts, ToServer, &content, round, &mut hits);
            scanner.stream(flow, &facts, ToServer, b"..raw x", round, &mut hits);
            scanner.stream(flow, &facts, ToServer, &[b'x'; 1_400], round, &mut hits);
            scanner.close(flow, &facts, round, &mut hits);
            found += hits.len();
            hits.clear();
        }
    });
    assert!(found > 200, "{found}");
    assert_eq!(measured.count_total, 0);
}
