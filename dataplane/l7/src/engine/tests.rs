use super::*;
use crate::{EventKind, Step, Value};

const TO_SERVER: Direction = Direction::ToServer;
const TO_CLIENT: Direction = Direction::ToClient;
const LIMITS: Limits = Limits {
    sessions: 4,
    probe_bytes: 256,
    probe_packets: 4,
    pending_bytes: 1_024,
    pending_pool_bytes: 4_096,
    blocks: 1,
};

/// Counts requests and keeps the values of their second and third field.
#[derive(Default)]
struct Heard(Vec<String>);

impl AppEventSink for Heard {
    fn event(&mut self, speaker: Speaker, event: &Event<'_>) {
        let app = speaker.parser;
        let mut line = format!("{app}");
        for field in event.fields.iter().take(3) {
            match field.value {
                Value::Bytes(bytes) => line += &format!(" {}", bytes.escape_ascii()),
                Value::Name(name) => line += &format!(" {name}"),
                Value::Number(number) => line += &format!(" {number}"),
                Value::Address(address) => line += &format!(" {address}"),
            }
        }
        if event.kind != EventKind::Session {
            self.0.push(line);
        }
    }
}

fn app(name: &str) -> Option<AppId> {
    Some(registry::by_name(name).expect("a registered application"))
}

/// A session whose parser does as `script` says.
fn scripted(engine: &mut Engine, script: fn(&[u8]) -> Step) -> SessionId {
    let id = engine
        .open(Transport::Tcp, [1, 80], true)
        .expect("a session");
    let session = &mut engine.sessions[id.0 as usize];
    session.phase = Phase::Parsing;
    session.app = app("http");
    session.confidence = Confidence::Content;
    session.parser = Parser::Scripted(script);
    id
}

#[test]
fn a_parser_that_lies_about_its_progress_is_stopped() {
    let scripts: [fn(&[u8]) -> Step; 4] = [
        |_| Step::Consumed(0),
        |input| Step::Consumed(input.len() + 1),
        |_| Step::Skip(0),
        |_| Step::Consumed(usize::MAX),
    ];
    for script in scripts {
        let mut engine = Engine::new(LIMITS);
        let id = scripted(&mut engine, script);
        let outcome = engine.data(id, TO_SERVER, b"abc", &mut Heard::default());
        assert_eq!(outcome.violation, Some("the parser made no progress"));
        assert_eq!(outcome.interest, Interest::Done);
        assert_eq!(engine.identification(id).violation, outcome.violation);
        assert_eq!(engine.identification(id).app, app("http"));
        let after = engine.data(id, TO_CLIENT, b"abc", &mut Heard::default());
        assert_eq!((after.interest, after.violation), (Interest::Done, None));
    }
}

#[test]
fn what_nobody_completes_is_bounded() {
    let mut engine = Engine::new(LIMITS);
    let id = scripted(&mut engine, |_| Step::Incomplete);
    let mut given = 0;
    loop {
        let outcome = engine.data(id, TO_SERVER, &[b'x'; 100], &mut Heard::default());
        given += 100;
        assert!(engine.pending_bytes_used() <= LIMITS.pending_bytes);
        if outcome.violation.is_some() {
            assert_eq!(outcome.violation, Some("a message larger than is kept"));
            break;
        }
        assert!(given < LIMITS.pending_bytes);
    }
    assert_eq!(engine.pending_bytes_used(), 0);
}

#[test]
fn without_memory_a_message_in_parts_is_a_violation() {
    let mut engine = Engine::new(Limits {
        pending_pool_bytes: 2_048,
        ..LIMITS
    });
    let one = scripted(&mut engine, |_| Step::Incomplete);
    let other = scripted(&mut engine, |_| Step::Incomplete);
    assert_eq!(
        engine
            .data(one, TO_SERVER, &[0; 1_000], &mut Heard::default())
            .violation,
        None
    );
    let outcome = engine.data(other, TO_SERVER, &[0; 1_000], &mut Heard::default());
    assert_eq!(
        outcome.violation,
        Some("no memory to keep a message that came in parts")
    );
    assert_eq!(
        engine
            .data(one, TO_CLIENT, &[0; 200], &mut Heard::default())
            .violation,
        None
    );
    engine.close(one);
    engine.close(other);
    assert_eq!(engine.pending_bytes_used(), 0);
}

#[test]
fn an_application_may_change_but_not_for_ever() {
    let mut engine = Engine::new(LIMITS);
    let id = scripted(&mut engine, |_| Step::Becomes("redis"));
    let mut heard = Heard::default();
    let outcome = engine.data(id, TO_SERVER, b"*1\r\n$4\r\nPING\r\n", &mut heard);
    assert!(outcome.identified);
    assert_eq!(engine.identification(id).app, app("redis"));
    assert_eq!(engine.identification(id).carried, app("http"));
    assert_eq!(
        heard.0.len(),
        1,
        "the bytes behind the change are the new application's"
    );

    let id = scripted(&mut engine, |_| Step::Becomes("nothing that is known"));
    let outcome = engine.data(id, TO_SERVER, b"abc", &mut heard);
    assert_eq!(
        (outcome.interest, outcome.identified),
        (Interest::Done, true)
    );
    assert_eq!(engine.identification(id).app, Some(AppId::UNKNOWN));

    let id = scripted(&mut engine, |_| Step::Becomes("redis"));
    engine.sessions[id.0 as usize].changes = 4;
    let outcome = engine.data(id, TO_SERVER, b"abc", &mut heard);
    assert_eq!(outcome.violation, Some("the application changes too often"));
}

#[test]
fn sessions_are_bounded_and_come_back() {
    let mut engine = Engine::new(LIMITS);
    let ids: Vec<_> = (0..4)
        .map(|_| engine.open(Transport::Tcp, [1, 80], true))
        .collect();
    assert!(ids.iter().all(Option::is_some));
    assert_eq!(engine.open(Transport::Tcp, [1, 80], true), None);
    let id = ids[2].expect("a session");
    engine.data(id, TO_SERVER, b"GET ", &mut Heard::default());
    engine.close(id);
    engine.close(id);
    assert_eq!(engine.open_sessions(), 3);
    assert_eq!(engine.pending_bytes_used(), 0);
    let after = engine.data(
        id,
        TO_SERVER,
        b"GET / HTTP/1.1\r\n\r\n",
        &mut Heard::default(),
    );
    assert_eq!((after.interest, after.identified), (Interest::Done, false));
    assert!(engine.open(Transport::Tcp, [1, 80], true).is_some());
}

#[test]
fn candidates_shrink_and_unknown_stays_among_them() {
    let mut engine = Engine::new(LIMITS);
    let id = engine
        .open(Transport::Tcp, [1, 1], true)
        .expect("a session");
    let before = engine.identification(id);
    assert_eq!(before.app, None);
    assert!(before.candidates.contains(app("tls").expect("tls")));
    assert!(
        !before.candidates.contains(app("ntp").expect("ntp")),
        "carried by UDP only"
    );
    engine.data(id, TO_SERVER, b"G", &mut Heard::default());
    let after = engine.identification(id);
    assert!(after.candidates.contains(app("http").expect("http")));
    assert!(!after.candidates.contains(app("tls").expect("tls")));
    assert!(after.candidates.contains(AppId::UNKNOWN));
}

#[test]
fn at_the_limit_the_port_speaks_until_the_bytes_contradict_it() {
    let mut engine = Engine::new(LIMITS);
    let mut heard = Heard::default();
    // A method nobody knows, and a target without end: possible, no more.
    let unsure = [&b"FOO /"[..], &[b'a'; 300]].concat();
    let id = engine
        .open(Transport::Tcp, [1, 80], true)
        .expect("a session");
    let outcome = engine.data(id, TO_SERVER, &unsure, &mut heard);
    assert!(outcome.identified);
    assert_eq!(engine.identification(id).app, app("http"));
    assert_eq!(engine.identification(id).confidence, Confidence::Port);
    let outcome = engine.data(id, TO_SERVER, b"\r\n", &mut heard);
    assert_eq!((outcome.violation, outcome.identified), (None, true));
    assert_eq!(engine.identification(id).app, Some(AppId::UNKNOWN));

    let id = engine
        .open(Transport::Tcp, [1, 1], true)
        .expect("a session");
    engine.data(id, TO_SERVER, &unsure, &mut heard);
    assert_eq!(engine.identification(id).app, Some(AppId::UNKNOWN));
    assert!(heard.0.is_empty());
}

#[test]
fn small_segments_do_not_hide_an_application() {
    let mut engine = Engine::new(LIMITS);
    let mut heard = Heard::default();
    let id = engine
        .open(Transport::Tcp, [1, 1], true)
        .expect("a session");
    for byte in b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" {
        engine.data(id, TO_SERVER, &[*byte], &mut heard);
    }
    assert_eq!(heard.0, ["http GET a /slow"]);
}

#[test]
fn losses_within_a_body_do_no_harm() {
    let mut engine = Engine::new(LIMITS);
    let mut heard = Heard::default();
    let id = engine
        .open(Transport::Tcp, [1, 1], true)
        .expect("a session");
    let head = b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n";
    let outcome = engine.data(id, TO_SERVER, head, &mut heard);
    assert_eq!(outcome.interest, Interest::Skip(1_000));
    engine.skipped(id, TO_SERVER, 300);
    assert_eq!(engine.gap(id, TO_SERVER, 600).interest, Interest::Skip(100));
    engine.data(id, TO_SERVER, &[b'x'; 100], &mut heard);
    engine.data(
        id,
        TO_SERVER,
        b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n",
        &mut heard,
    );
    assert_eq!(heard.0, ["http PUT a /a", "http GET a /b"]);
}

#[test]
fn a_stream_is_picked_up_where_a_message_begins() {
    let mut engine = Engine::new(LIMITS);
    let mut heard = Heard::default();
    let id = engine
        .open(Transport::Tcp, [1, 1], false)
        .expect("a session");
    engine.data(
        id,
        TO_SERVER,
        b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n",
        &mut heard,
    );
    assert_eq!(engine.identification(id).confidence, Confidence::Content);
    assert_eq!(heard.0, ["http GET a /b"]);

    // In the middle of a body only the port can tell.
    let id = engine
        .open(Transport::Tcp, [1, 80], false)
        .expect("a session");
    engine.data(id, TO_SERVER, &[b'x'; 300], &mut heard);
    assert_eq!(engine.identification(id).app, app("http"));
    assert_eq!(engine.identification(id).confidence, Confidence::Port);
    engine.data(
        id,
        TO_SERVER,
        b"xxx\r\nGET /c HTTP/1.1\r\nHost: a\r\n\r\n",
        &mut heard,
    );
    assert_eq!(heard.0, ["http GET a /b", "http GET a /c"]);

    let id = engine
        .open(Transport::Tcp, [1, 1], false)
        .expect("a session");
    let records = [&[23, 3, 3, 0, 2, 0, 0][..]; 3].concat();
    engine.data(id, TO_CLIENT, &records, &mut heard);
    assert_eq!(engine.identification(id).app, app("tls"));
    assert_eq!(engine.interest(id, TO_CLIENT), Interest::Done);
}

#[test]
fn datagrams_stand_alone() {
    let mut engine = Engine::new(LIMITS);
    let mut heard = Heard::default();
    let query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01";
    let id = engine
        .open(Transport::Udp, [1, 1], true)
        .expect("a session");
    engine.data(id, TO_SERVER, query, &mut heard);
    let outcome = engine.data(id, TO_SERVER, &query[..15], &mut heard);
    assert!(outcome.violation.is_some());
    assert_eq!(outcome.interest, Interest::Feed);
    engine.data(id, TO_SERVER, query, &mut heard);
    assert_eq!(heard.0, ["dns a A QUERY", "dns a A QUERY"]);

    let id = engine
        .open(Transport::Udp, [1, 53], true)
        .expect("a session");
    let outcome = engine.data(id, TO_SERVER, &[0xff; 40], &mut heard);
    assert_eq!(outcome.interest, Interest::Done);
    assert_eq!(engine.identification(id).app, Some(AppId::UNKNOWN));
}

#[test]
fn what_is_tunnelled_is_identified_anew_wherever_the_stream_is_cut() {
    let within = b"GET /photos HTTP/1.1\r\nHost: b\r\n\r\n";
    for cut in 1..within.len() {
        let mut engine = Engine::new(LIMITS);
        let id = scripted(&mut engine, |input| Step::Consumed(input.len()));
        engine.sessions[id.0 as usize].app = app("ssh");
        let mut heard = Heard::default();
        engine.data(id, TO_SERVER, b"hello", &mut heard);
        engine.sessions[id.0 as usize].parser = Parser::Scripted(|_| Step::Tunnel);
        engine.data(id, TO_SERVER, &within[..cut], &mut heard);
        engine.data(id, TO_SERVER, &within[cut..], &mut heard);
        let known = engine.identification(id);
        assert_eq!(
            (known.app, known.carried),
            (app("http"), app("ssh")),
            "cut at {cut}"
        );
        assert_eq!(heard.0, ["http GET b /photos"], "cut at {cut}");
        engine.close(id);
        assert_eq!(engine.pending_bytes_used(), 0);
    }
}

#[test]
fn tls_within_an_application_keeps_its_name() {
    let mut engine = Engine::new(LIMITS);
    let id = scripted(&mut engine, |_| Step::StartTls);
    engine.sessions[id.0 as usize].app = app("postgresql");
    let outcome = engine.data(id, TO_SERVER, &[0x16, 3, 1, 0], &mut Heard::default());
    assert_eq!(outcome.interest, Interest::Feed);
    let known = engine.identification(id);
    assert_eq!((known.app, known.carried), (app("postgresql"), None));
    assert_eq!(
        engine.sessions[id.0 as usize].reader,
        app("tls").expect("registered")
    );
}

#[test]
fn an_answer_that_comes_first_turns_the_roles_round() {
    let answer = b"\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0\x01a\x04test\0\0\x01\0\x01\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x01";
    let question = b"\x12\x35\x01\x00\0\x01\0\0\0\0\0\0\x01a\x04test\0\0\x01\0\x01";
    let mut engine = Engine::new(LIMITS);
    let id = engine
        .open(Transport::Udp, [1, 40_000], true)
        .expect("a session");
    let mut heard = Heard::default();
    engine.data(id, TO_SERVER, answer, &mut heard);
    assert_eq!(engine.identification(id).app, app("dns"));
    let before = heard.0.len();
    let outcome = engine.data(id, TO_CLIENT, question, &mut heard);
    assert_eq!((before, heard.0.len(), outcome.violation), (1, 2, None));
}

#[test]
fn a_tunnel_in_a_tunnel_in_a_tunnel_ends() {
    let mut engine = Engine::new(LIMITS);
    let id = scripted(&mut engine, |_| Step::Tunnel);
    for _ in 0..16 {
        engine.data(id, TO_SERVER, b"SSH-2.0-x\r\n", &mut Heard::default());
        let session = &mut engine.sessions[id.0 as usize];
        if session.phase == Phase::Parsing {
            session.parser = Parser::Scripted(|_| Step::Tunnel);
        }
    }
    assert_eq!(engine.interest(id, TO_SERVER), Interest::Done);
    engine.close(id);
    assert_eq!(
        (engine.pending_bytes_used(), engine.blocks.free()),
        (0, LIMITS.blocks)
    );
}
