//! Forms, JSON, multipart bodies and mails against what they were made of, in any cut.

mod common;

use common::{Whole, part, parts};
use proptest::prelude::*;
use weir_content::PartKind::{Body, Field, File, Header, Key, Text};
use weir_content::{Decoders, Form, Limits, Part};

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(any::<usize>(), 0..8)
}

fn cases() -> ProptestConfig {
    ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

#[test]
fn fields_of_a_form_are_told_one_by_one() {
    let found = parts(
        FORM,
        b"a=1&&b%5B%5D=%27+or+1%3D1--&c&=d&e=&%u003c=%c0%ae",
        &[],
    );
    let expected = [
        part(Key, "", "a"),
        part(Field, "a", "1"),
        part(Key, "", "b[]"),
        part(Field, "b[]", "' or 1=1--"),
        part(Key, "", "c"),
        part(Key, "", ""),
        part(Field, "", "d"),
        part(Key, "", "e"),
        part(Field, "e", ""),
        part(Key, "", "<"),
        part(Field, "<", "."),
    ];
    assert_eq!(found, expected);
}

#[test]
fn strings_and_numbers_of_json_are_named_by_their_keys() {
    let text =
        br#"{"user": {"na\u006de": "x\n", "tags": ["a", {"b": 1}, "c"]}, "n": -1.5e3, "t":true}"#;
    let found = parts("application/json; charset=utf-8", text, &[]);
    let expected = [
        part(Key, "", "user"),
        part(Key, "", "name"),
        part(Field, "user.name", "x\n"),
        part(Key, "", "tags"),
        part(Field, "user.tags", "a"),
        part(Key, "", "b"),
        part(Field, "user.tags.b", "1"),
        part(Field, "user.tags", "c"),
        part(Key, "", "n"),
        part(Field, "n", "-1.5e3"),
        part(Key, "", "t"),
        part(Field, "t", "true"),
    ];
    assert_eq!(found, expected);
    let wide: Vec<u8> = String::from_utf8_lossy(text)
        .encode_utf16()
        .flat_map(u16::to_be_bytes)
        .collect();
    assert_eq!(
        parts("text/json", &wide, &[7]),
        expected,
        "as its first bytes show"
    );
    let deep = [
        &b"[".repeat(300)[..],
        b"\"x\"",
        &b"]".repeat(300),
        b",\"y\"",
    ]
    .concat();
    assert_eq!(
        parts("application/json", &deep, &[]),
        [part(Field, "", "x"), part(Field, "", "y")]
    );
}

/// The parts that JSON has, by its crate.
fn told(value: &serde_json::Value, path: &str, out: &mut Vec<Whole>) {
    match value {
        serde_json::Value::String(text) => out.push(part(Field, path, text)),
        serde_json::Value::Array(items) => items.iter().for_each(|item| told(item, path, out)),
        serde_json::Value::Object(members) => {
            for (key, value) in members {
                out.push(part(Key, "", key));
                let name = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                told(value, &name, out);
            }
        }
        other => out.push(part(Field, path, other.to_string())),
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        any::<String>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<bool>().prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
            prop::collection::btree_map("[a-z\"\\\\é]{1,8}", inner, 0..5)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

#[test]
fn parts_of_a_form_are_fields_and_files() {
    let content = b"preamble\r\n--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--X \r\n\
        content-disposition: form-data;\r\n name=\"f\"; filename=\"a.php\"\r\nContent-Type: text/html\r\n\r\n\
        <?php \xc0\xaf &lt;\r\n\r\n--X\r\nContent-Disposition: form-data; name=h\r\n\
        Content-Type: text/html\r\n\r\n&lt;b--X\r\n--XY\r\n--X-\r\n--X\n\
        Content-Disposition: form-data; name=j\nContent-Type: application/json\n\n{\"k\":\"\\u003c\"}\n--X\r\n\
        Content-Disposition: form-data; name=\"e\"; filename=\"\"\r\nContent-Transfer-Encoding: base64\r\n\r\n\
        Zm9v\r\nYmFy\r\n--X--\r\nepilogue\r\n--X\r\n\r\nlate";
    let expected = [
        part(Field, "a", "one"),
        part(File, "a.php", b"<?php \xc0\xaf &lt;\r\n"),
        part(Field, "h", "<b--X\r\n--XY\r\n--X-"),
        part(Key, "", "k"),
        part(Field, "k", "<"),
        part(File, "e", "foobar"),
        // After the last delimiter, which some servers read on beyond.
        part(Field, "", "late"),
    ];
    for cut in 0..content.len() {
        let found = parts(
            "multipart/form-data; charset=x; boundary=\"X\"",
            content,
            &[cut],
        );
        assert_eq!(found, expected, "{cut}");
    }
}

#[test]
fn an_encoding_that_a_form_only_claims_hides_nothing() {
    let head = "--X\r\nContent-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64\r\n\r\n";
    let found = |value: &str, cut| {
        let content = format!("{head}{value}\r\n--X--");
        parts(
            "multipart/form-data; x-boundary=X",
            content.as_bytes(),
            &[cut],
        )
    };
    for cut in 0..head.len() + 30 {
        assert_eq!(found("Zm9v\r\nYmFy", cut), [part(Field, "a", "foobar")]);
        assert_eq!(
            found("' or 1=1 -- Zm9v", cut),
            [part(Field, "a", "' or 1=1 -- Zm9v")]
        );
        assert_eq!(
            found("Zm9vYg <script>", cut),
            [part(Field, "a", "foob <script>")]
        );
    }
}

#[test]
fn a_mail_is_its_head_its_text_and_its_attachments() {
    let mail = b"From: a@example.com\r\nSubject: =?utf-8?B?w6Q=?=\r\n =?utf-8?q?_b?= c\r\n\
        Content-Type: multipart/mixed;\r\n\tboundary=outer\r\n\r\nmime\r\n--outer\r\n\
        Content-Type: multipart/alternative; boundary=\"outer-1\"\r\n\r\n--outer-1\r\n\
        Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
        caf=C3=A9 =\r\nau lait\r\n--outer-1\r\nContent-Type: text/html; charset=utf-16le\r\n\
        Content-Transfer-Encoding: base64\r\n\r\nPABiAD4AJgBnAHQAOwA=\r\n--outer-1--\r\n\r\n--outer\r\n\
        Content-Type: application/octet-stream; name=x.exe\r\nContent-Transfer-Encoding: BASE64\r\n\
        Content-Disposition: attachment; filename*=utf-8''%e2%82%ac.exe\r\n\r\nTVpA\r\nAAA=\r\n--outer\r\n\
        Content-Type: message/rfc822\r\n\r\nSubject: inner\r\nFrom: b\r\n\r\nhello\r\n--outer--\r\n";
    let expected = [
        part(Header, "From", "a@example.com"),
        part(Header, "Subject", "ä b c"),
        part(Header, "Content-Type", "multipart/mixed; boundary=outer"),
        part(Text, "", "café au lait"),
        part(Text, "", "<b>>"),
        part(File, "€.exe", b"MZ@\0\0"),
        part(Header, "Subject", "inner"),
        part(Header, "From", "b"),
        part(Text, "", "hello"),
    ];
    for cut in 0..mail.len() {
        let found = parts("message/rfc822", mail, &[cut, cut / 2]);
        assert_eq!(found, expected, "{cut}");
    }
}

#[test]
fn bodies_without_an_end_are_read_to_theirs() {
    let found = |content: &str| parts("multipart/form-data; boundary=X", content.as_bytes(), &[3]);
    let head = "--X\r\nContent-Disposition: form-data; name=a\r\n\r\n";
    assert_eq!(
        found(&format!("{head}one\r\n--X")),
        [part(Field, "a", "one")]
    );
    assert_eq!(
        found(&format!("{head}one\r\n--")),
        [part(Field, "a", "one\r\n--")]
    );
    assert_eq!(
        found(&format!("{head}one\r\n--X-")),
        [part(Field, "a", "one\r\n--X-")]
    );
    assert_eq!(found(&format!("{head}one\r")), [part(Field, "a", "one\r")]);
    assert_eq!(found(head), [part(Field, "a", "")]);
    let junk = found(&format!("{head}one\r\n--X \t or 1=1\r\n--X\t \r\n"));
    assert_eq!(junk, [part(Field, "a", "one\r\n--X or 1=1")]);
    assert_eq!(found("--X\r\nContent-Disposition: form-data"), []);
    assert_eq!(
        parts("message/rfc822", b"Subject: x", &[]),
        [part(Header, "Subject", "x")]
    );
    // Without a boundary, or with one that is too long, there are no parts.
    assert_eq!(parts("multipart/form-data", b"--\r\n\r\nx", &[]), []);
    let long = format!("multipart/form-data; boundary={}", "x".repeat(129));
    assert_eq!(parts(&long, b"x", &[]), []);
}

#[test]
fn text_is_told_where_it_is_not_what_the_body_is() {
    assert_eq!(parts("text/plain", b"abc", &[]), []);
    assert_eq!(
        parts("text/plain; charset=utf-16be", b"\0a\0b", &[1]),
        [part(Text, "", "ab")]
    );
    assert_eq!(
        parts("text/plain", b"\xff\xfea\0b\0", &[1]),
        [part(Text, "", "ab")]
    );
    assert_eq!(
        parts("text/html; charset=utf-7", b"+ADw-&lt;", &[2]),
        [part(Text, "", "<<")]
    );
    let xml = "application/xml";
    assert_eq!(
        parts(xml, b"<a>&#x3c;script</a>", &[9]),
        [part(Text, "", "<a><script</a>")]
    );
    assert_eq!(parts(xml, b"<\0a\0>\0", &[1]), [part(Text, "", "<a>")]);
    assert_eq!(parts("text/html", b"a", &[]), [part(Text, "", "a")]);
    assert_eq!(parts("image/png", b"\x89PNG", &[]), []);
}

#[test]
fn what_is_called_plain_or_nothing_is_looked_at() {
    let json = br#" {"a": "\u003c"}"#;
    let expected = [part(Key, "", "a"), part(Field, "a", "<")];
    for media_type in ["", "text/plain;charset=UTF-8"] {
        for cut in 0..json.len() {
            assert_eq!(parts(media_type, json, &[cut]), expected, "{cut}");
        }
        let marked = [b"\xef\xbb\xbf", &json[..]].concat();
        assert_eq!(parts(media_type, &marked, &[1, 2]), expected);
        assert_eq!(
            parts(media_type, b"\n<a>&lt;", &[1]),
            [part(Text, "", "<a><")]
        );
        assert_eq!(parts(media_type, b"a {}", &[]), []);
    }
    assert_eq!(parts("image/png", json, &[]), []);
}

#[test]
fn characters_of_a_form_are_decoded_after_its_percent_signs() {
    let found = parts(
        &format!("{FORM}; charset=ibm037"),
        b"%81=%4c%a2&%82",
        &[2, 5],
    );
    assert_eq!(
        found,
        [
            part(Key, "", "a"),
            part(Field, "a", "<s"),
            part(Key, "", "b")
        ]
    );
    let found = parts(
        &format!("{FORM}; charset=utf-16le"),
        b"%61%00=%3c%00%3e",
        &[9],
    );
    assert_eq!(found, [part(Key, "", "a"), part(Field, "a", "<\u{fffd}")]);
}

#[test]
fn half_a_character_at_the_end_of_a_part_is_part_of_it() {
    let found = parts(FORM, b"a=x%c3&b=%af", &[]);
    let fields: Vec<_> = found
        .into_iter()
        .filter(|part| part.kind == Field)
        .collect();
    assert_eq!(
        fields,
        [part(Field, "a", b"x\xc3"), part(Field, "b", b"\xaf")]
    );
}

#[test]
fn levels_end_somewhere() {
    let mut content = Vec::new();
    for level in 0..20 {
        let head = format!(
            "--b{level}\r\nContent-Type: multipart/mixed; boundary=b{}\r\n\r\n",
            level + 1
        );
        content.extend_from_slice(head.as_bytes());
    }
    let found = parts("multipart/mixed; boundary=b0", &content, &[]);
    assert_eq!(found.len(), 1, "what is too deep is given as it stands");
    assert!(found[0].bytes.starts_with(b"--b6\r\nContent-Type"));
}

/// Content that nearly contains the delimiter.
fn near_delimiters() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "\r", "\n", "\r\n", "-", "--", "--bo", "--bounda", "x", "boundary",
    ];
    let piece = prop_oneof![
        prop::sample::select(pieces.to_vec()).prop_map(|piece| piece.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(piece, 0..20)
        .prop_map(|pieces| pieces.concat())
        .prop_filter("no delimiter", |content| {
            let content = [b"\n", content.as_slice(), b"\r\n"].concat();
            !content.windows(11).any(|window| window == b"\n--boundary")
        })
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn json_is_read_as_its_crate_reads_it(value in json(), pretty in any::<bool>(), cuts in cuts()) {
        let text = match pretty {
            true => serde_json::to_string_pretty(&value).unwrap(),
            false => value.to_string(),
        };
        let mut expected = Vec::new();
        told(&value, "", &mut expected);
        prop_assert_eq!(parts("application/json", text.as_bytes(), &cuts), expected);
    }

    #[test]
    fn forms_are_read_as_they_were_written(
        pairs in prop::collection::vec(("[a-zé& =%+]{1,9}", any::<String>()), 0..6), cuts in cuts(),
    ) {
        let encode = |text: &str| {
            let set = percent_encoding::NON_ALPHANUMERIC;
            percent_encoding::utf8_percent_encode(text, set).to_string().replace("%20", "+")
        };
        let pair = |(name, value): &(String, String)| format!("{}={}", encode(name), encode(value));
        let text = pairs.iter().map(pair).collect::<Vec<_>>().join("&");
        let told = |(name, value): &(String, String)| [part(Key, "", name), part(Field, name, value)];
        let expected: Vec<Whole> = pairs.iter().flat_map(told).collect();
        prop_assert_eq!(parts(FORM, text.as_bytes(), &cuts), expected);
    }

    #[test]
    fn multipart_bodies_are_cut_where_they_were_joined(
        files in prop::collection::vec((near_delimiters(), any::<bool>()), 0..5), cuts in cuts(), bare in any::<bool>(),
    ) {
        use base64::Engine;
        let newline = if bare { "\n" } else { "\r\n" };
        let mut content = Vec::new();
        for (at, (bytes, encoded)) in files.iter().enumerate() {
            let encoding = if *encoded { "base64" } else { "binary" };
            let lines = [
                "--boundary".to_owned(),
                format!("Content-Disposition: form-data; name=x; filename=\"{at}\""),
                format!("Content-Transfer-Encoding: {encoding}"),
                String::new(),
                String::new(),
            ];
            content.extend_from_slice(lines.join(newline).as_bytes());
            match encoded {
                true => content.extend(base64::engine::general_purpose::STANDARD.encode(bytes).bytes()),
                false => content.extend_from_slice(bytes),
            }
            // A carriage return before a bare line feed would be taken with it.
            content.extend_from_slice(b"\r\n");
        }
        content.extend_from_slice(b"--boundary--");
        let expected: Vec<Whole> = files
            .iter()
            .enumerate()
            .map(|(at, (bytes, _))| part(File, &at.to_string(), bytes))
            .collect();
        let media_type = "multipart/form-data; boundary=boundary";
        prop_assert_eq!(parts(media_type, &content, &cuts), expected);
    }

    #[test]
    fn any_cut_gives_the_same_parts(
        content in r#"(--X|--Y|\r\n|\n|\r|:|"|\\|\{|\[|\}|,|[a-z]|%4|=|&|&lt;|Content-Type: |multipart/mixed; boundary=Y|message/rfc822|text/html|Content-Transfer-Encoding: |base64|quoted-printable|; filename\*=|\u{0}|é){0,60}"#,
        cuts in cuts(),
    ) {
        for media_type in [
            FORM, "application/json", "text/html", "text/plain", "message/rfc822",
            "multipart/form-data; boundary=X", "text/plain; charset=utf-7",
        ] {
            let whole = parts(media_type, content.as_bytes(), &[]);
            prop_assert_eq!(parts(media_type, content.as_bytes(), &cuts), whole, "{}", media_type);
        }
    }
}

#[test]
fn nothing_is_allocated_after_the_start() {
    let limits = Limits {
        messages: 2,
        inflate: 0,
        brotli: 0,
        zstd: 0,
        ..Limits::default()
    };
    let mut decoders = Decoders::new(limits);
    let fields = b"a=%27+or&".repeat(1000);
    let json = b"[{\"key\": \"va\\u006cue\"}],".repeat(1000);
    let mail = b"Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
        Content-Type: message/rfc822\r\n\r\nSubject: y\r\nContent-Transfer-Encoding: base64\r\n\r\nZm9v\r\n"
        .repeat(50);
    let contents = [
        (FORM, fields),
        ("application/json", json),
        ("message/rfc822", mail.clone()),
        ("multipart/mixed; boundary=b", mail),
    ];
    let mut told = 0;
    let counted = allocation_counter::measure(|| {
        for (media_type, content) in &contents {
            let form = Form {
                coding: b"",
                media_type: media_type.as_bytes(),
            };
            let id = decoders.begin(&form).unwrap();
            let mut sink = |part: &Part<'_>| told += usize::from(part.kind != Body);
            for piece in content.chunks(100) {
                decoders.piece(id, piece, false, &mut sink);
            }
            decoders.piece(id, b"", true, &mut sink);
            decoders.close(id);
        }
    });
    assert!(told > 4000);
    assert_eq!(counted.count_total, 0, "{counted:?}");
}
