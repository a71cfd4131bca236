//! Every keyword by an example, every kind of mistake by its column, and the way from text to rule
//! and back.

mod examples;

use proptest::prelude::*;

use super::keyword::{keyword_names, sticky_names};
use super::*;
use examples::EXAMPLES;

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
