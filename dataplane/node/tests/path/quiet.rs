//! What honest conversations raise, with every detector as it is by default and Weir's own rules in
//! force, where the mode is protect: nothing but what is listed here with its reason.

use std::collections::BTreeSet;

use weir_node::event::{Event, EventKind};
use weir_node::inspection::scan_limits;
use weir_node::limits::Limits;
use weir_policy::spec::Mode;
use weir_sigs::Prepared;
use weir_wire::Reason;

use super::conditions::{play, samples};
use crate::common::bench::{CLIENTS, compiled, small_limits};
use crate::common::content::*;
use crate::common::frames;
use crate::common::hosts::*;
use crate::common::{Bench, Shop, Talk};

/// Sample, what is told of it, and why that is right.
const TOLD: &[(&str, &str, &str)] = &[
    ("dns/zone-transfer", "dns-zone-transfer", "it is one"),
    ("mysql/refused", "mysql-access-denied", "the server refuses"),
    ("ssh/version-1", "ssh-version-1", "it is offered"),
    ("ssh/version-3", "ssh-version-3", "it is claimed"),
    ("tls/heartbeats", "heartbleed", "the attack itself"),
    ("tls/old-hello", "sslv2-hello", "it is one"),
    ("tls/old-hello", "tls10-use", "it is chosen"),
];

/// Samples of which something is stopped, and why that is right.
const STOPPED: &[(&str, &str)] = &[
    (
        "http/coded-transfer",
        "its gzip ends after a byte: nothing of it can be read",
    ),
    ("tls/heartbeats", "the attack itself"),
];

/// One bench for all: what detectors count over connections adds up as it would on a node.
fn bench() -> Bench {
    let limits = Limits {
        flows: 8192,
        sessions: 1024,
        ..small_limits()
    };
    let policy = Shop::new(Mode::Protect).allow_any(AI_MODEL.identity(), FRONTEND.identity());
    let mut bench = Bench::watching(&policy.build(), limits);
    let own: Vec<u8> = weir_sigs::shipped_rules()
        .into_iter()
        .flat_map(|file| file.bytes)
        .collect();
    let rules = compiled(&String::from_utf8(own).unwrap());
    let prepared = Prepared::new(rules, &scan_limits(1024)).unwrap();
    assert!(bench.path.look_for(prepared).is_none());
    bench
}

fn stopped(bench: &Bench) -> u64 {
    [Reason::Threat, Reason::Signature, Reason::NotInspectable]
        .map(|reason| bench.dropped(reason))
        .iter()
        .sum()
}

#[test]
fn honest_conversations_raise_nothing_but_what_is_listed() {
    let mut bench = bench();
    let (mut told, mut halted) = (BTreeSet::new(), BTreeSet::new());
    for (sample, port) in samples().zip(20_000..) {
        let name = sample.path.with_extension("");
        let name: Vec<_> = name
            .iter()
            .rev()
            .take(2)
            .map(|part| part.to_string_lossy())
            .collect();
        let name = format!("{}/{}", name[1], name[0]);
        let before = stopped(&bench);
        play(&sample, port, &mut bench);
        bench.wait(200);
        if stopped(&bench) > before {
            halted.insert(name.clone());
        }
        for event in bench.events() {
            let what = match event.kind {
                EventKind::Threat => event
                    .finding
                    .map(|finding| finding.threat.name().to_owned()),
                EventKind::Alert => event
                    .alert
                    .map(|alert| alert.rules.describe(alert.hit.rule)),
                _ => None,
            };
            told.extend(what.map(|what| (name.clone(), what)));
        }
    }
    let listed: BTreeSet<_> = TOLD
        .iter()
        .map(|&(sample, what, _)| (sample.to_owned(), what.to_owned()))
        .collect();
    assert_eq!(told, listed, "told and listed differ");
    let listed: BTreeSet<_> = STOPPED
        .iter()
        .map(|&(sample, _)| sample.to_owned())
        .collect();
    assert_eq!(halted, listed, "stopped and listed differ");
}

const TERMS: [&str; 16] = [
    "O'Reilly and sons",
    "select a gift or two",
    "rock 'n' roll -- the best of 1975",
    "Müller & Söhne",
    "drop leaf table 120x80",
    "l'été à la plage",
    "union jack mug; large",
    "50% off (today only!)",
    "C++ <vector> in a nutshell",
    "what's new?",
    "1=1 band live",
    "black/white photo: framed",
    "where to buy tea",
    "¿dónde está?",
    "北京 地图",
    "tom@example.com",
];

fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let written = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(written).collect()
}

/// A request of an ordinary shop, drawn by its number.
fn request(number: usize) -> String {
    let term = TERMS[number % TERMS.len()];
    let head = "Host: shop.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0)\r\nAccept: */*\r\nReferer: https://shop.example/list?sort=price&page=2\r\nCookie: session=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dGVzdA; theme=dark\r\n";
    let post = |path: &str, kind: &str, body: String| {
        format!(
            "POST {path} HTTP/1.1\r\n{head}Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let json = term.replace('"', "\\\"");
    match (number / TERMS.len()) % 9 {
        0 => format!(
            "GET /search?q={}&page={} HTTP/1.1\r\n{head}\r\n",
            percent(term),
            number % 7
        ),
        1 => post(
            "/api/orders",
            "application/json",
            format!(
                r#"{{"id":{number},"name":"{json}","items":[{{"sku":"A-{number}","price":9.5}}]}}"#
            ),
        ),
        2 => post(
            "/login",
            "application/x-www-form-urlencoded",
            format!(
                "user={}&password={}",
                percent(term),
                percent("p4ss'w--rd;1")
            ),
        ),
        3 => post(
            "/upload",
            "multipart/form-data; boundary=b",
            format!(
                "--b\r\nContent-Disposition: form-data; name=\"note\"; filename=\"notes.txt\"\r\nContent-Type: text/plain\r\n\r\n{term}\nsecond line; and more\r\n--b--\r\n"
            ),
        ),
        4 => format!(
            "GET /static/app.{number:08x}.js HTTP/1.1\r\n{head}If-None-Match: \"{number:x}\"\r\n\r\n"
        ),
        5 => format!("GET /metrics HTTP/1.1\r\n{head}\r\n"),
        6 => post(
            "/graphql",
            "application/json",
            format!(
                r#"{{"query":"query($q: String) {{ users(where: {{name: {{_eq: $q}}}}) {{ id name }} }}","variables":{{"q":"{json}"}}}}"#
            ),
        ),
        7 => post(
            "/products/_search",
            "application/json",
            format!(
                r#"{{"query":{{"bool":{{"must":[{{"match":{{"title":"{json}"}}}}],"filter":[{{"range":{{"price":{{"gte":1}}}}}}]}}}},"size":20}}"#
            ),
        ),
        _ => format!("GET /healthz HTTP/1.1\r\n{head}\r\n"),
    }
}

#[test]
fn an_hour_of_a_shop_raises_nothing() {
    let mut bench = bench();
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"result\":\"ok\"}";
    let mut told = Vec::new();
    for connection in 0..450_u16 {
        let client = AI_MODEL.port(Family::V4, 20_000 + connection);
        let mut talk = Talk::new(client, FRONTEND.port(Family::V4, 5000));
        assert!(talk.open(&mut bench));
        for turn in 0..16 {
            let request = request(usize::from(connection) * 16 + turn);
            assert!(
                talk.client_passes(&mut bench, request.as_bytes()),
                "{request}"
            );
            assert!(talk.server_passes(&mut bench, answer.as_bytes()));
            bench.wait(500);
            let loud = |event: &Event| matches!(event.kind, EventKind::Threat | EventKind::Alert);
            let loud = bench.events().into_iter().filter(loud);
            told.extend(loud.map(|event| (request.clone(), format!("{:?}", event.finding))));
        }
        talk.close(&mut bench);
    }
    assert!(told.is_empty(), "{told:#?}");
    assert_eq!(stopped(&bench), 0);
}

#[test]
fn an_hour_of_statements_and_look_ups_raises_nothing() {
    let mut bench = bench();
    let mut talk = Talk::new(
        AI_MODEL.port(Family::V4, 30_000),
        FRONTEND.port(Family::V4, 3306),
    );
    assert!(talk.open(&mut bench));
    assert!(talk.server_passes(&mut bench, &mysql_greeting()));
    assert!(talk.client_passes(&mut bench, &mysql_login(false)));
    assert!(talk.server_passes(&mut bench, &mysql_ok(2)));
    for number in 0..3_600_u16 {
        let term = TERMS[usize::from(number) % TERMS.len()].replace('\'', "''");
        let statement = match number % 3 {
            0 => format!(
                "SELECT p.id, p.title FROM photos p LEFT JOIN users u ON u.id = p.owner WHERE p.title LIKE '%{term}%' AND (u.age > 18 OR u.guest = 1) ORDER BY p.id LIMIT 20 /* list */"
            ),
            1 => format!("INSERT INTO notes (id, text) VALUES ({number}, '{term}')"),
            _ => format!("UPDATE photos SET title = '{term}' WHERE id = {number}"),
        };
        assert!(talk.client_passes(&mut bench, &mysql_query(&statement)));
        assert!(talk.server_passes(&mut bench, &mysql_ok(1)));
        let service = ["photo-db", "frontend.shop", "api.example.com"][usize::from(number) % 3];
        for domain in [".shop.svc.cluster.local", ".svc.cluster.local", ""] {
            let query = dns_query(&format!("{service}{domain}"));
            let client = AI_MODEL.port(Family::V4, 31_000 + number % 500);
            let frame = frames::udp(client, FRONTEND.port(Family::V4, 53), &query);
            assert!(bench.send(CLIENTS, &frame).is_passed(CLIENTS, &frame));
        }
        bench.wait(1_000);
        let loud = |event: &Event| matches!(event.kind, EventKind::Threat | EventKind::Alert);
        let told: Vec<_> = bench.events().into_iter().filter(loud).collect();
        assert!(told.is_empty(), "{statement}: {told:#?}");
    }
    assert_eq!(stopped(&bench), 0);
}
