//! Each keyword: a case in which it fires and one close to it in which it does not.

mod support;

use support::{Wire, fires, fires_in};
use weir_l7::Buffer;
use weir_wire::Direction::{ToClient, ToServer};

#[test]
fn contents_and_their_places() {
    for (options, yes, no) in [
        (r#"content:"abc";"#, "xxabc", "xxABC"),
        (r#"content:"abc"; nocase;"#, "xxAbC", "xxAbd"),
        (r#"content:"a|00 ff|b";"#, "a\0\u{0}", "ab"),
        (r#"content:"abc"; offset:2;"#, "xxabc", "xabcx"),
        (r#"content:"abc"; depth:4;"#, "xabc", "xxabc"),
        (r#"content:"abc"; offset:1; depth:3;"#, "xabc", "xxabc"),
        (r#"content:"abc"; startswith;"#, "abcx", "xabc"),
        (r#"content:"abc"; endswith;"#, "xabc", "abcx"),
        (
            r#"content:"ab"; content:"cd"; distance:0;"#,
            "ab cd",
            "cd ab",
        ),
        (
            r#"content:"ab"; content:"cd"; distance:1;"#,
            "ab cd",
            "abcd",
        ),
        (
            r#"content:"ab"; content:"cd"; within:3;"#,
            "ab.cd ab..cd abcd"[..5].as_ref(),
            "ab..cd",
        ),
        (
            r#"content:"ab"; content:"cd"; distance:-4; within:4;"#,
            "cdab",
            "abcd",
        ),
        (r#"content:"ab"; content:!"cd";"#, "ab", "cd ab"),
        (
            r#"content:"ab"; content:!"cd"; within:4;"#,
            "ab....cd",
            "ab..cd",
        ),
        (
            r#"content:"ab"; content:!"cd"; distance:0;"#,
            "cdab",
            "ab.....cd",
        ),
        (r#"content:"ab"; isdataat:2,relative;"#, "ab12", "ab1"),
        (r#"content:"ab"; isdataat:!2,relative;"#, "ab1", "ab12"),
        (r#"content:"ab"; isdataat:4;"#, "ab123", "ab12"),
        // The second place of the first content is the one that serves.
        (
            r#"content:"a"; content:"b"; distance:0; within:1;"#,
            "a ab",
            "a b",
        ),
        (
            r#"content:"a"; content:"b"; within:2; content:"c"; within:1;"#,
            "a.b abc",
            "a.b a.bxc",
        ),
    ] {
        if yes.contains('\0') {
            assert!(fires(options, b"a\0\xffb"), "{options}");
            continue;
        }
        assert!(fires(options, yes.as_bytes()), "{options} of {yes:?}");
        assert!(!fires(options, no.as_bytes()), "{options} of {no:?}");
    }
}

#[test]
fn expressions() {
    for (options, yes, no) in [
        (r#"pcre:"/ab+c/";"#, "xabbbc", "xac"),
        (r#"pcre:"/^ab/";"#, "ab", "xab"),
        (r#"pcre:"/ab$/";"#, "xab", "abx"),
        (r#"pcre:"/AB/i";"#, "ab", "ac"),
        (r#"pcre:"/a.b/s";"#, "a\nb", "ab"),
        (r#"pcre:"/a.b/";"#, "a.b", "a\nb"),
        (r#"content:"k="; pcre:"/^[0-9]+x/R";"#, "k=12x", "12x k=x"),
        (
            r#"content:"k="; pcre:"/[0-9]+/R"; content:"z"; within:1;"#,
            "k=12z",
            "k=12 z",
        ),
        (r#"content:"k"; pcre:!"/[0-9]/";"#, "k", "k1"),
        // What Hyperscan refuses.
        (r#"pcre:"/(a|b)x\1/";"#, "axa", "axb"),
        (r#"pcre:"/foo(?!bar)/";"#, "foobaz", "foobar"),
        (r#"content:"k"; pcre:"/(?<=k)z/";"#, "kz", "k z"),
    ] {
        assert!(fires(options, yes.as_bytes()), "{options} of {yes:?}");
        assert!(!fires(options, no.as_bytes()), "{options} of {no:?}");
    }
}

#[test]
fn numbers_in_the_bytes() {
    for (options, yes, no) in [
        (
            r#"content:"L"; byte_test:2,>,256,0,relative;"#,
            &b"L\x02\x00"[..],
            &b"L\x01\x00"[..],
        ),
        (
            r#"content:"L"; byte_test:2,=,1,0,relative,little;"#,
            b"L\x01\x00",
            b"L\x00\x01",
        ),
        (
            r#"content:"L"; byte_test:1,&,4,0,relative;"#,
            b"L\x06",
            b"L\x03",
        ),
        (
            r#"content:"L"; byte_test:3,=,123,0,relative,string,dec;"#,
            b"L123",
            b"L124",
        ),
        (
            r#"content:"L"; byte_jump:1,0,relative; content:"x"; within:1;"#,
            b"L\x02..x",
            b"L\x02.x.",
        ),
        (
            r#"content:"L"; byte_extract:1,0,n,relative; content:"x"; distance:1; within:n;"#,
            b"L\x02.x",
            b"L\x02...x",
        ),
        (
            r#"content:"L"; byte_math:bytes 1,offset 0,oper +,rvalue 1,result n,relative; byte_test:1,=,n,1,relative;"#,
            b"L\x02\x03",
            b"L\x02\x02",
        ),
        (
            r#"content:"b="; base64_decode:relative; base64_data; content:"evil";"#,
            b"b=eGV2aWw=",
            b"b=ZXZpeGw=",
        ),
    ] {
        assert!(fires(options, yes), "{options}");
        assert!(!fires(options, no), "{options}");
    }
}

#[test]
fn what_waits_for_more_bytes_is_decided_by_the_answer() {
    let mut wire =
        Wire::new(r#"alert tcp any any -> any any (content:"MAIL"; content:!"good"; sid:1;)"#);
    assert!(wire.stream(ToServer, b"MAIL from").sids().is_empty());
    assert_eq!(wire.stream(ToClient, b"250 ok").sids(), [1]);
    let mut wire =
        Wire::new(r#"alert tcp any any -> any any (content:"MAIL"; content:!"good"; sid:1;)"#);
    wire.stream(ToServer, b"MAIL from")
        .stream(ToServer, b" good")
        .stream(ToClient, b"250 ok");
    assert!(wire.close().sids().is_empty());
}

#[test]
fn each_segment_is_looked_at_where_a_rule_counts_from_its_start() {
    let text = r#"alert tcp any any -> any any (content:"GET"; depth:3; sid:1;)"#;
    let mut wire = Wire::new(text);
    let header = [0; 20];
    wire.stream(ToServer, b"POST")
        .packet(ToServer, &header, b"GET");
    assert_eq!(wire.sids(), [1]);
    let mut wire = Wire::new(&text.replace("tcp", "tcp-stream"));
    wire.stream(ToServer, b"POST")
        .stream(ToServer, b"GET")
        .packet(ToServer, &header, b"GET");
    assert!(wire.sids().is_empty());
    let mut wire = Wire::new(&text.replace("tcp", "tcp-pkt"));
    wire.stream(ToServer, b"GET");
    assert!(wire.sids().is_empty());
    assert_eq!(wire.packet(ToServer, &header, b"GET").sids(), [1]);
}

#[test]
fn packets_and_their_headers() {
    let mut syn = [0_u8; 20];
    (syn[13], syn[15]) = (2, 9);
    let text = r#"
alert tcp any any -> any any (flags:S; sid:1;)
alert tcp any any -> any any (flags:SA; sid:2;)
alert tcp any any -> any any (ttl:64; window:9; sid:3;)
alert tcp any any -> any any (dsize:>2; content:"x"; sid:4;)
alert tcp any any -> any any (tcp.hdr; content:"|00 09|"; offset:14; depth:2; sid:5;)
alert udp any any -> any any (sid:6;)
"#;
    let mut wire = Wire::new(text);
    let mut found = wire.packet(ToServer, &syn, b"").sids();
    found.sort_unstable();
    assert_eq!(found, [1, 3, 5]);
    syn[13] = 0x18;
    assert_eq!(wire.packet(ToServer, &syn, b"x").sids(), [3, 5]);
    assert!(wire.packet(ToServer, &syn, b"xyz").sids().contains(&4));
    let mut icmp = Wire::new("alert icmp any any -> any any (itype:8; icode:0; icmp_id:5; sid:1;)");
    (icmp.facts.protocol, icmp.facts.client_port) = (1, 0);
    assert_eq!(
        icmp.packet(ToServer, &[8, 0, 0, 0, 0, 5, 0, 0], b"").sids(),
        [1]
    );
    assert!(
        icmp.packet(ToServer, &[0, 0, 0, 0, 0, 5, 0, 0], b"")
            .sids()
            .is_empty()
    );
}

#[test]
fn headers_of_rules() {
    let fires_on = |header: &str, direction| {
        let mut wire = Wire::new(&format!(r#"alert {header} (content:"x"; sid:1;)"#));
        !wire.stream(direction, b"x").sids().is_empty()
    };
    for (header, to_server, to_client) in [
        ("tcp any any -> any any", true, true),
        ("tcp any any -> any 80", true, false),
        ("tcp any 80 -> any any", false, true),
        ("tcp any any -> any !80", false, true),
        ("tcp any any <> any 80", true, true),
        ("tcp $HOME_NET any -> $EXTERNAL_NET any", true, false),
        ("tcp $EXTERNAL_NET any -> $HOME_NET any", false, true),
        ("tcp any any -> any [1:79,81:]", false, true),
        ("udp any any -> any any", false, false),
        ("http any any -> any any", true, true),
        ("tls any any -> any any", false, false),
        ("ip any any -> 192.0.2.0/24 any", true, false),
    ] {
        assert_eq!(fires_on(header, ToServer), to_server, "{header}");
        assert_eq!(fires_on(header, ToClient), to_client, "{header}");
    }
}

#[test]
fn flow() {
    let text = r#"
alert tcp any any -> any any (flow:to_server; content:"x"; sid:1;)
alert tcp any any -> any any (flow:to_client; content:"x"; sid:2;)
alert tcp any any -> any any (flow:established; content:"x"; sid:3;)
alert tcp any any -> any any (flow:not_established; content:"x"; sid:4;)
"#;
    let mut wire = Wire::new(text);
    assert_eq!(wire.stream(ToServer, b"x").sids(), [1, 3]);
    wire.facts.established = false;
    assert_eq!(wire.stream(ToClient, b"x").sids(), [2, 4]);
}

#[test]
fn datagrams_are_whole() {
    let mut wire = Wire::new(
        r#"
alert udp any any -> any 53 (content:"a"; startswith; content:"b"; endswith; sid:1;)
alert udp any any -> any any (dsize:3; content:!"a"; sid:2;)
"#,
    )
    .udp(53);
    assert_eq!(wire.datagram(b"a...b").sids(), [1]);
    assert!(wire.datagram(b"a...").sids().is_empty());
    assert!(wire.datagram(b"...b").sids().is_empty());
    assert_eq!(wire.datagram(b"xyz").sids(), [2]);
}

#[test]
fn sizes_transforms_and_buffers() {
    for (options, yes, no) in [
        (r#"http.uri; content:"/a"; bsize:2;"#, "/a", "/ab"),
        (r#"http.uri; bsize:>3;"#, "/abc", "/ab"),
        (r#"http.uri; to_lowercase; content:"/abc";"#, "/ABC", "/ABD"),
        (r#"http.uri; content:"/a"; endswith;"#, "/b/a", "/a/b"),
        (r#"http.uri; content:!"/a";"#, "/b", "/a"),
        (r#"http.uri; content:"/a"; content:!"b";"#, "/a", "/ab"),
        (
            r#"http.uri; to_md5; content:"|90 01 50 98 3c d2 4f b0|";"#,
            "abc",
            "abd",
        ),
        (r#"http.uri; pcre:"/^\/[a-z]{3}$/";"#, "/abc", "/abcd"),
        (r#"http.uri; url_decode; content:"a b";"#, "a%20b", "a%21b"),
    ] {
        let mut wire = Wire::new(&format!("alert http any any -> any any ({options} sid:1;)"));
        assert_eq!(
            wire.request(&[(Buffer::HttpUri, yes)]).sids(),
            [1],
            "{options}"
        );
        assert!(
            wire.request(&[(Buffer::HttpUri, no)]).sids().is_empty(),
            "{options}"
        );
        assert!(
            wire.request(&[(Buffer::HttpCookie, yes)]).sids().is_empty(),
            "{options}"
        );
    }
}

#[test]
fn long_contents_come_in_pieces() {
    let text = r#"
alert http any any -> any any (http.request_body; content:"needle"; sid:1;)
alert http any any -> any any (http.request_body; content:"end"; endswith; sid:2;)
alert http any any -> any any (http.request_body; to_lowercase; content:"needle"; sid:3;)
alert http any any -> any any (http.request_body; content:"ne"; startswith; sid:4;)
"#;
    let body = Buffer::HttpRequestBody;
    let mut wire = Wire::new(text);
    wire.pieces(ToServer, body, &[b"xxnee", b"dl", b"e"]);
    assert_eq!(wire.sids(), [1, 3]);
    wire.pieces(ToServer, body, &[b"NEED", b"LE e", b"nd"]);
    assert_eq!(wire.sids(), [2, 3]);
    wire.pieces(ToServer, body, &[b"n", b"e end", b"."]);
    assert_eq!(wire.sids(), [4]);
    assert_eq!(
        wire.buffer(ToServer, body, b"needle end").sids(),
        [1, 2, 3, 4]
    );
}

#[test]
fn a_content_may_be_cut_anywhere() {
    let options = r#"content:"GET "; startswith; content:"evil"; distance:2; within:40; pcre:"/x[0-9]{3}/R";"#;
    let bytes = b"GET /index.html?q=evil&y=x123";
    assert!(fires(options, bytes));
    for cut in 0..=bytes.len() {
        assert!(
            fires_in(options, &[&bytes[..cut], &bytes[cut..]]),
            "cut at {cut}"
        );
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert!(fires_in(options, &single));
}
