//! Every keyword by an example, every kind of mistake by its column, and the way from text to rule
//! and back.

use proptest::prelude::*;

use super::keyword::{keyword_names, sticky_names};
use super::*;

/// An example of each keyword: what stands before it, and the option itself.
const EXAMPLES: &[(&str, &str)] = &[
    ("", r#"msg:"a \"b\"\; c""#),
    ("", "gid:3"),
    ("", "rev:7"),
    ("", "classtype:trojan-activity"),
    ("", "priority:2"),
    ("", "reference:cve,2021-44228"),
    ("", "metadata:created_at 2020_01_01, affected_product Any"),
    ("", "target:src_ip"),
    ("", "tag:session,5,packets"),
    ("", "tag:host,5,seconds,dst"),
    ("", "noalert"),
    ("", "alert"),
    ("", "requires:version >= 7.0.3"),
    ("", "prefilter"),
    ("", r#"content:"GET |0d 0A|\"\;\:\\x""#),
    ("", r#"content:!"needle""#),
    ("", r#"uricontent:"/x""#),
    (r#"content:"a";"#, "nocase"),
    (r#"content:"a";"#, "offset:4"),
    (r#"content:"abc"; offset:1;"#, "depth:4"),
    (r#"content:"a";"#, "distance:-4"),
    (r#"content:"a"; distance:2;"#, "within:9"),
    (r#"content:"abc";"#, "startswith"),
    (r#"content:"abc";"#, "endswith"),
    (r#"content:"abc";"#, "fast_pattern"),
    (r#"content:"abc";"#, "fast_pattern:only"),
    (r#"content:"abc";"#, "fast_pattern:1,2"),
    (r#"content:"abc";"#, "rawbytes"),
    ("", r#"pcre:"/^a["']\d\x2f\/+/smixAEGRB""#),
    ("", r#"pcre:!"/a/U""#),
    ("", "isdataat:!1"),
    (r#"content:"a";"#, "isdataat:20,relative"),
    ("", "byte_test:4,!>,0x10,2,little,bitmask 0xff00"),
    ("", "byte_test:0,>=,450,0,string,dec"),
    ("", "byte_test:8,>,0x7fffffffffffffff,0"),
    ("", "byte_test:1,!&,128,6,relative"),
    (
        "",
        "byte_jump:2,-2,relative,multiplier 2,align,post_offset -3",
    ),
    ("", "byte_jump:0,0,from_end,post_offset -8"),
    ("", "byte_jump:4,1,from_beginning,string,hex"),
    ("", "byte_extract:2,1,length,relative,multiplier 4,align 2"),
    ("byte_extract:2,1,n; content:\"a\";", "offset:n"),
    ("byte_extract:2,1,n;", "byte_test:n,=,n,n"),
    (
        "",
        "byte_math:bytes 2,offset 1,oper <<,rvalue 3,result r,endian little",
    ),
    ("http.uri;", "bsize:3<>9"),
    ("http.referer;", "absent"),
    ("http.referer;", "absent:or_else"),
    ("file.data;", "entropy:bytes 10, offset 2, value >= 7.25"),
    (
        r#"content:"a";"#,
        "base64_decode:bytes 9, offset 1, relative",
    ),
    (
        "base64_decode;",
        r#"base64_data; content:"a"; content:"b"; distance:1"#,
    ),
    ("http.uri;", "pkt_data"),
    (r#"content:"a";"#, "http_uri"),
    (r#"content:"a";"#, "http_raw_uri"),
    (r#"content:"a";"#, "http_method"),
    (r#"content:"a";"#, "http_header"),
    (r#"content:"a";"#, "http_raw_header"),
    (r#"content:"a";"#, "http_cookie"),
    (r#"content:"a";"#, "http_client_body"),
    (r#"content:"a";"#, "http_server_body"),
    (r#"content:"a";"#, "http_stat_code"),
    (r#"content:"a";"#, "http_stat_msg"),
    (r#"content:"a";"#, "http_user_agent"),
    (r#"content:"a";"#, "http_host"),
    (r#"content:"a";"#, "http_raw_host"),
    ("", "urilen:>31,raw"),
    ("", "tls.version:1.2"),
    ("", r#"tls.subject:"CN=a""#),
    ("", r#"tls.issuerdn:!"CN=a""#),
    ("", r#"tls.fingerprint:"4a:01""#),
    ("", "ssh.protoversion:2_compat"),
    ("", r#"ssh.softwareversion:"PuTTY""#),
    ("http.uri;", "to_lowercase"),
    ("http.uri;", "to_uppercase"),
    ("http.uri;", "to_md5"),
    ("http.uri;", "to_sha1"),
    ("http.uri;", "to_sha256"),
    ("http.uri;", "strip_whitespace"),
    ("http.uri;", "compress_whitespace"),
    ("http.uri;", "strip_pseudo_headers"),
    ("http.uri;", "header_lowercase"),
    ("dns.query;", "dotprefix"),
    ("http.uri;", "url_decode"),
    ("dns.query;", "domain"),
    ("dns.query;", "tld"),
    ("http.uri;", r#"xor:"0d0ac8ff""#),
    ("http.uri;", "xor:offset 1,extract 1 0"),
    ("http.uri;", "from_base64:bytes 9, offset 2, mode rfc2045"),
    ("http.uri;", r#"pcrexform:"[a-z]+\s+(.*)\s+HTTP""#),
    ("http.uri;", "gunzip:max-size 99"),
    ("http.uri;", "zlib_deflate"),
    ("http.uri;", "subslice:-20,5,truncate"),
    ("", "dsize:300<>400"),
    ("", "ttl:<10"),
    ("", "tos:!x88"),
    ("", "id:0"),
    ("", "fragoffset:>0"),
    ("", "ip_proto:!tcp"),
    ("", "itype:3"),
    ("", "icode:>0"),
    ("", "icmp_id:7"),
    ("", "icmp_seq:7"),
    ("", "icmpv6.mtu:<1280"),
    ("", "seq:0"),
    ("", "tcp.seq:0"),
    ("", "ack:0"),
    ("", "tcp.ack:0"),
    ("", "window:!0"),
    ("", "tcp.window:55808"),
    ("", "tcp.mss:<536"),
    ("", "tcp.wscale:>14"),
    ("", "flags:!A,12"),
    ("", "tcp.flags:*FSR,CE"),
    ("", "flags:0"),
    ("", "flags:SF+"),
    ("", "fragbits:M+"),
    ("", "ipopts:lsrr"),
    ("", "ipopts:any"),
    ("", "sameip"),
    ("", "l3_proto:ipv6"),
    ("", "decode-event:ipv6.rh_type_0"),
    ("", "engine-event:ipv4.pkt_too_small"),
    ("", "stream-event:3whs_wrong_seq_wrong_ack"),
    ("", "rpc:100000,2,*"),
    ("", "flow:established,from_server,no_stream,only_frag"),
    ("", "app-layer-protocol:!http"),
    ("", "app-layer-protocol:failed"),
    (
        "",
        "app-layer-event:http.invalid_content_length_field_in_request",
    ),
    ("", "stream_size:client,<,10000"),
    ("", "flow.age:>3600"),
    ("", "flow.pkts:either,>=2"),
    ("", "flow.bytes:toserver,<2000"),
    ("", "flow.pkts_toserver:>2"),
    ("", "flow.pkts_toclient:>2"),
    ("", "flow.bytes_toserver:>2"),
    ("", "flow.bytes_toclient:>2"),
    ("", "filesize:>100MB"),
    ("", "dns.opcode:!0"),
    ("", "dns_opcode:4"),
    ("", "dns.rcode:nxdomain"),
    ("", "dns.rrtype:!TXT"),
    ("", "snmp.version:3"),
    ("", "snmp.pdu_type:set_request"),
    ("", "krb5_msg_type:10"),
    ("", "krb5_err_code:6"),
    ("", "tls.cert_chain_len:>3"),
    ("", "http2.frametype:GOAWAY"),
    ("", "http2.errorcode:11"),
    ("", "rfb.sectype:>1"),
    ("", "mqtt.type:CONNECT"),
    ("", "mqtt.protocol_version:5"),
    ("", "mqtt.reason_code:!0"),
    ("", "ssl_version:!tls1.2,tls1.3"),
    ("", "ssl_version:sslv2,sslv3"),
    ("", "ssl_state:client_hello|server_hello"),
    ("", "tls_cert_expired"),
    ("", "tls_cert_valid"),
    ("", "tls_cert_notbefore:1998-05-01<>2008-05-01"),
    ("", "tls_cert_notafter:>2015"),
    (
        "",
        "dce_iface:367abb81-9844-35f1-ad32-98f038001003,>1,any_frag",
    ),
    ("", "dcerpc.iface:367abb81-9844-35f1-ad32-98f038001003"),
    ("", "dce_opnum:12,18-24"),
    ("", "dcerpc.opnum:15"),
    ("", "iprep:dst,CnC,>,30"),
    ("", "iprep:src,Good,isnotset"),
    ("", "flowbits:isset,a|b"),
    ("", "flowbits:set,a"),
    ("", "flowbits:noalert"),
    ("", "xbits:set,a,track ip_pair,expire 60"),
    ("", "hostbits:isnotset,a,dst"),
    ("", "flowint:a,+,1"),
    ("", "flowint:a,>=,b"),
    ("", "flowint:a,notset"),
    (
        "",
        "threshold:type limit, track by_src, count 1, seconds 60",
    ),
    (
        "",
        "threshold:type backoff, track by_flow, count 1, multiplier 10",
    ),
    ("", "detection_filter:track by_dst, count 5, seconds 60"),
    ("", r#"filename:"secret""#),
    ("", r#"fileext:"exe""#),
    ("", "filemd5:bad.lst"),
    ("", "filesha1:!good.lst"),
    ("", "filesha256:bad.lst"),
    ("", "filestore:request,file"),
    ("", "filesize:100<>200"),
    (
        "dns.query;",
        "dataset:isset,bad,type string,load bad.lst,match subdomain",
    ),
    ("dns.query;", "datarep:bad,>,200,load bad.rep,type sha256"),
];

fn read(options: &str) -> Result<Rule, Refusal> {
    let text = format!("alert tcp any any -> any any ({options} sid:1;)");
    parse_rule(&text, &Options::default())
}

fn sid_last(before: &str, option: &str) -> Rule {
    match read(&format!("{before} {option};")) {
        Ok(rule) => rule,
        Err(refusal) => panic!("{before} {option}: {refusal}"),
    }
}

/// The rule without where it stands and what is said of how it was written.
fn bare(mut rule: Rule) -> Rule {
    rule.origin.line = 1;
    rule.notes.clear();
    rule
}

fn assert_round(rule: Rule) {
    let text = rule.to_string();
    match parse_rule(&text, &Options::default()) {
        Ok(again) => assert_eq!(bare(again), bare(rule), "{text}"),
        Err(refusal) => panic!("{refusal}\n{text}"),
    }
}

#[test]
fn each_keyword_has_an_example_that_is_read_and_written_back() {
    let examples: Vec<&str> = EXAMPLES.iter().map(|row| row.1).collect();
    for name in keyword_names() {
        let of_it = |option: &&str| option.split(':').next() == Some(name);
        let shown = examples.iter().copied().any(|option| of_it(&option));
        let composed = ["content", "base64_data", "sid"].contains(&name);
        assert!(shown || composed, "{name} has no example");
    }
    for (before, option) in EXAMPLES {
        assert_round(sid_last(before, option));
    }
}

#[test]
fn each_sticky_buffer_is_selected_by_its_name() {
    for name in sticky_names() {
        let rule = sid_last("", &format!("{name}; content:\"a\""));
        let [group] = rule.groups.as_slice() else {
            panic!("{name}: {:?}", rule.groups);
        };
        assert!(
            group.place != Place::Buffer(weir_l7::Buffer::Payload),
            "{name}"
        );
        assert_round(rule);
    }
}

#[test]
fn older_and_newer_spellings_are_one_rule() {
    for (older, newer) in [
        (
            r#"content:"a"; http_uri; nocase;"#,
            r#"http.uri; content:"a"; nocase;"#,
        ),
        (r#"uricontent:"a";"#, r#"http.uri; content:"a";"#),
        (r#"pcre:"/a/Ui";"#, r#"http.uri; pcre:"/a/i";"#),
        (
            r#"content:"a"; http_header; content:"b"; http_header; distance:1;"#,
            r#"http.header; content:"a"; content:"b"; distance:1;"#,
        ),
        (
            r#"content:"a"; http_uri; isdataat:1,relative;"#,
            r#"http.uri; content:"a"; isdataat:1,relative;"#,
        ),
        (
            r#"file_data; content:"a"; pkt_data; content:"b";"#,
            r#"file.data; content:"a"; pkt_data; content:"b";"#,
        ),
        ("urilen:5;", "http.uri; bsize:5;"),
        (
            r#"content:"ab"; offset:0; depth:2;"#,
            r#"content:"ab"; startswith;"#,
        ),
        (
            r#"fileext:"exe";"#,
            r#"file.name; content:".exe"; nocase; endswith;"#,
        ),
        ("flags:S,12;", "tcp.flags:=S,CE;"),
        (
            "http.uri; content:\"a\"; http.method; content:\"b\"; http.uri; content:\"c\"; distance:0;",
            "http.uri; content:\"a\"; content:\"c\"; distance:0; http.method; content:\"b\";",
        ),
    ] {
        assert_eq!(
            read(older).unwrap(),
            read(newer).unwrap(),
            "{older} | {newer}"
        );
    }
}

#[test]
fn several_of_a_repeated_buffer_are_several_groups() {
    let rule = read(r#"dns.query; content:"a"; dns.query; content:"b";"#).unwrap();
    assert_eq!(rule.groups.len(), 2);
}

/// What stands at the mistake begins with the last word of the row.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "alert tcp any any -> any any",
        "parentheses are missing",
        "",
    ),
    ("alert tcp any any any any (sid:1;)", "a header is", ""),
    (
        "alert tcp any any <- any any (sid:1;)",
        "exchange the two ends",
        "<-",
    ),
    (
        "notify tcp any any -> any any (sid:1;)",
        "no action",
        "notify",
    ),
    (
        "config ip any any -> any any (sid:1;)",
        "config rules",
        "config",
    ),
    (
        "alert gopher any any -> any any (sid:1;)",
        "not known",
        "gopher",
    ),
    (
        "alert tcp $NOWHERE any -> any any (sid:1;)",
        "--variable NOWHERE=",
        "$NOWHERE",
    ),
    (
        "alert tcp 10.0.0.0/33 any -> any any (sid:1;)",
        "longer than an address",
        "33",
    ),
    (
        "alert tcp 10.0.0.256 any -> any any (sid:1;)",
        "no address",
        "10.0.0.256",
    ),
    (
        "alert tcp [1.2.3.4,[1.2.3.5] any -> any any (sid:1;)",
        "not closed",
        "[",
    ),
    (
        "alert tcp any 80:70 -> any any (sid:1;)",
        "in order",
        "80:70",
    ),
    (
        "alert tcp any 70000 -> any any (sid:1;)",
        "no port",
        "70000",
    ),
    (
        "alert tcp !any any -> any any (sid:1;)",
        "never fire",
        "!any",
    ),
    (
        "alert tcp any any -> any any (sid:1;",
        "closing parenthesis",
        "",
    ),
    ("alert tcp any any -> any any (sid:1)", "semicolon", "sid"),
    (
        "alert tcp any any -> any any (msg:\"a\";)",
        "sid is missing",
        ")",
    ),
    ("alert tcp any any -> any any (sid:x;)", "no number", "x"),
    (
        "alert tcp any any -> any any (sid:1; sid:2;)",
        "twice",
        "sid:2",
    ),
    (
        "alert tcp any any -> any any (contend:\"a\"; sid:1;)",
        "is it content?",
        "contend",
    ),
    (
        "alert tcp any any -> any any (lua:x.lua; sid:1;)",
        "no program",
        "lua",
    ),
    (
        "alert tcp any any -> any any (content:\"a; sid:1;)",
        "not closed",
        "\"a",
    ),
    (
        "alert tcp any any -> any any (content:\"a|0|\"; sid:1;)",
        "two hexadecimal digits",
        "0|",
    ),
    (
        "alert tcp any any -> any any (content:\"a|0g|\"; sid:1;)",
        "no hexadecimal digit",
        "g",
    ),
    (
        "alert tcp any any -> any any (content:\"a|00\"; sid:1;)",
        "not closed",
        "|00",
    ),
    (
        "alert tcp any any -> any any (content:\"\\a\"; sid:1;)",
        "backslash",
        "\\a",
    ),
    (
        "alert tcp any any -> any any (content:\"\"; sid:1;)",
        "empty",
        "\"",
    ),
    (
        "alert tcp any any -> any any (nocase; sid:1;)",
        "follows the content",
        "nocase",
    ),
    (
        "alert tcp any any -> any any (nocase:1; sid:1;)",
        "nothing behind a colon",
        "1",
    ),
    (
        "alert tcp any any -> any any (content; sid:1;)",
        "something behind a colon",
        "content",
    ),
    (
        "alert tcp any any -> any any (content:\"abc\"; depth:2; sid:1;)",
        "never be found",
        "2;",
    ),
    (
        "alert tcp any any -> any any (content:\"a\"; depth:2; distance:1; sid:1;)",
        "one pair",
        "distance",
    ),
    (
        "alert tcp any any -> any any (content:\"a\"; offset:len; sid:1;)",
        "byte_extract",
        "len",
    ),
    (
        "alert tcp any any -> any any (pcre:\"a\"; sid:1;)",
        "slashes",
        "a\"",
    ),
    (
        "alert tcp any any -> any any (pcre:\"/a/q\"; sid:1;)",
        "no flag",
        "q",
    ),
    (
        "alert tcp any any -> any any (byte_test:9,>,1,0; sid:1;)",
        "1 to 8",
        "9",
    ),
    (
        "alert tcp any any -> any any (byte_test:1,~,1,0; sid:1;)",
        "operator",
        "~",
    ),
    (
        "alert tcp any any -> any any (to_md5; sid:1;)",
        "sticky buffer",
        "to_md5",
    ),
    (
        "alert tcp any any -> any any (http.uri; content:\"a\"; to_md5; sid:1;)",
        "directly behind",
        "to_md5",
    ),
    (
        "alert tcp any any -> any any (http.uri; content:\"a\"; http_header; sid:1;)",
        "pkt_data",
        "http_header",
    ),
    (
        "alert tcp any any -> any any (bsize:4; sid:1;)",
        "sticky buffer",
        "bsize",
    ),
    (
        "alert tcp any any -> any any (base64_data; sid:1;)",
        "base64_decode",
        "base64_data",
    ),
    (
        "alert tcp any any -> any any (flow:to_server,to_client; sid:1;)",
        "contradicts",
        "to_client",
    ),
    (
        "alert tcp any any -> any any (flow:sideways; sid:1;)",
        "flow is",
        "sideways",
    ),
    (
        "alert tcp any any -> any any (flags:X; sid:1;)",
        "no flag of TCP",
        "X",
    ),
    (
        "alert tcp any any -> any any (ttl:>300; sid:1;)",
        "too large",
        "300",
    ),
    (
        "alert tcp any any -> any any (threshold:type limit, track by_src, seconds 1; sid:1;)",
        "count is missing",
        "type",
    ),
    (
        "alert tcp any any -> any any (geoip:src,XX; sid:1;)",
        "no table of countries",
        "geoip",
    ),
    (
        "alert tcp any any -> any any (dns.query; dataset:isset,x; sid:1;)",
        "type is missing",
        "isset",
    ),
    (
        "alert tcp any any -> any any (xbits:set,x,track tx; sid:1;)",
        "track tx",
        "xbits",
    ),
];

#[test]
fn mistakes_say_what_and_where() {
    for (text, what, at) in MISTAKES {
        let refusal = parse_rule(text, &Options::default()).expect_err(text);
        assert!(refusal.why.contains(what), "{text}: {refusal}");
        let index = usize::try_from(refusal.column).unwrap() - 1;
        let rest: String = text.chars().skip(index).collect();
        assert!(rest.starts_with(at), "{text}: {refusal} stands at {rest:?}");
    }
}

#[test]
fn the_rest_of_a_file_is_read() {
    let mut reader = RuleReader::new(Options::default());
    reader.read(
        "a.rules",
        b"# words\nalert tcp any any -> any any (msg:\"a\"; \\\n  sid:1;)\n\
          alert tcp any any -> any any (content:\"a\"; \\\n  depht:3; sid:22;)\n\
          #alert tcp any any -> any any (sid:3;)\n\
          alert tcp any any -> any any (sid:1; rev:2;)\n\xff\n",
    );
    let (rules, refused) = reader.finish();
    assert_eq!(rules.len(), 1);
    assert_eq!((rules[0].revision, rules[0].origin.line), (2, 7));
    let places: Vec<_> = refused.iter().map(|r| (r.line, r.column, r.sid)).collect();
    assert_eq!(places, [(5, 3, Some(22)), (2, 1, Some(1)), (8, 1, None)]);
    assert_eq!(refused[1].cause, Cause::Superseded);
    assert!(
        refused[0]
            .to_string()
            .starts_with("a.rules:5:3: rule 22 is not loaded: ")
    );
    assert!(refused[0].why.contains("is it depth?"));
}

#[test]
fn rules_behind_a_mark_are_read_when_asked() {
    let options = Options {
        commented: true,
        ..Options::default()
    };
    let mut reader = RuleReader::new(options);
    reader.read(
        "a",
        b"#  alert tcp any any -> any any (sid:3;)\n# alert people (now)\n",
    );
    let (rules, refused) = reader.finish();
    assert_eq!((rules.len(), refused.len()), (1, 1));
    assert_eq!(
        (refused[0].line, refused[0].column),
        (2, 1 + 2 + "alert people ".len() as u32)
    );
}

#[test]
fn actions_are_in_the_order_of_their_precedence() {
    assert!(Action::Pass < Action::Drop && Action::Drop < Action::Reject(RejectTo::Source));
    assert!(Action::Reject(RejectTo::Both) < Action::Alert);
}

proptest! {
    #[test]
    fn any_choice_of_options_is_written_back(picks in prop::collection::vec(0..EXAMPLES.len(), 0..8)) {
        let mut text = String::new();
        for pick in picks {
            let (before, option) = EXAMPLES[pick];
            text.push_str(&format!("pkt_data; {before} {option}; "));
        }
        if let Ok(rule) = read(&text) {
            assert_round(rule);
        }
    }

    #[test]
    fn any_content_is_written_back(
        bytes in prop::collection::vec(any::<u8>(), 1..20),
        nocase: bool, negated: bool, at_end: bool, relative: bool,
        start in 0_i64..50, length in prop::option::of(20_i64..90),
    ) {
        let mut rule = read(r#"content:"x";"#).unwrap();
        let (start, length) = (Value::Number(start), length.map(Value::Number));
        let range = match relative {
            true => Range::Relative { distance: start, within: length },
            false => Range::Absolute { offset: start, depth: length },
        };
        let content = Content { bytes, nocase, negated, range, at_end, fast_pattern: None };
        rule.groups[0].matchers = vec![Matcher::Content(content)];
        assert_round(rule);
    }

    #[test]
    fn no_text_is_too_much(text in "\\PC{0,200}") {
        let _ = parse_rule(&text, &Options::default());
        let _ = read(&text);
    }
}
