use super::*;
use crate::Value;

struct Told(Vec<String>);

impl EventSink for Told {
    fn event(&mut self, event: &Event<'_>) {
        let values = event.fields.iter().map(|field| match field.value {
            Value::Bytes(value) => {
                String::from_utf8_lossy(&value[..value.len().min(40)]).into_owned()
            }
            Value::Name(value) => value.to_owned(),
            value => format!("{value:?}"),
        });
        self.0.push(values.collect::<Vec<_>>().join("|"));
    }
}

/// A packet: length, sequence number, payload.
fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = (payload.len() as u32).to_le_bytes().to_vec();
    packet[3] = sequence;
    packet.extend(payload);
    packet
}

fn greeting() -> Vec<u8> {
    let mut payload = b"\x0a8.0.36\0\x05\0\0\0saltsalt\0".to_vec();
    payload.extend([0xff, 0xff, 8, 2, 0, 0xff, 0xdf, 21]);
    payload.extend([0; 10]);
    payload.extend(b"saltsaltsalt\0caching_sha2_password\0");
    packet(0, &payload)
}

fn login(flags: u32) -> Vec<u8> {
    let mut payload = (flags | 0x8200 | 1 << 3 | 1 << 19 | 1)
        .to_le_bytes()
        .to_vec();
    payload.extend([0, 0, 0, 1, 45]);
    payload.extend([0; 23]);
    payload.extend(b"app\0\x02xxshop\0caching_sha2_password\0");
    packet(1, &payload)
}

const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];

fn query(text: &str) -> Vec<u8> {
    packet(0, &[b"\x03", text.as_bytes()].concat())
}

struct Talk {
    mysql: Mysql,
    told: Told,
}

impl Talk {
    /// Logged in.
    fn new(flags: u32) -> Self {
        let mut talk = Self {
            mysql: Mysql::default(),
            told: Told(Vec::new()),
        };
        talk.server(&greeting());
        talk.client(&login(flags));
        talk.server(&packet(2, OK));
        talk.told.0.clear();
        talk
    }

    fn feed(&mut self, direction: Direction, bytes: &[u8], cut: usize) -> Step {
        let (mut at, mut end) = (0, 0);
        while end < bytes.len() {
            end = (end + cut).min(bytes.len());
            while at < end {
                match self.mysql.parse(direction, &bytes[at..end], &mut self.told) {
                    Step::Consumed(used) => at += used,
                    Step::Skip(used) => at += used as usize,
                    Step::Incomplete => break,
                    step => return step,
                }
            }
        }
        if at < end {
            Step::Incomplete
        } else {
            Step::Consumed(at)
        }
    }

    fn client(&mut self, bytes: &[u8]) -> Step {
        self.feed(Direction::ToServer, bytes, usize::MAX >> 1)
    }

    fn server(&mut self, bytes: &[u8]) -> Step {
        self.feed(Direction::ToClient, bytes, usize::MAX >> 1)
    }

    fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told.0)
    }
}

fn probe(to_server: &[u8], to_client: &[u8], from_start: bool) -> Probe {
    let transport = Transport::Tcp;
    Mysql::probe(&ProbeInput {
        to_server,
        to_client,
        previous: &[],
        from_start,
        server_port: 9,
        transport,
    })
}

#[test]
fn greetings_are_certain_and_little_else_is() {
    let greeting = greeting();
    assert_eq!(probe(&[], &greeting, true), Probe::Certain);
    for end in 1..20 {
        assert_eq!(probe(&[], &greeting[..end], true), Probe::Unsure, "{end}");
    }
    assert_eq!(probe(&[], b"220 mail\r\n", true), Probe::NotMine);
    assert_eq!(probe(&[], b"SSH-2.0-x\r\n", true), Probe::NotMine);
    assert_eq!(probe(&login(0), &[], true), Probe::Certain);
    assert_eq!(probe(b"GET / HTTP/1.1\r\n", &[], true), Probe::NotMine);
    assert_eq!(
        probe(&query("select 1"), &packet(1, OK), false),
        Probe::Certain
    );
    // A whole query, and one that is cut off.
    assert_eq!(probe(&query("select 1"), &[], false), Probe::Certain);
    assert_eq!(probe(&query("select 1")[..11], &[], false), Probe::Unsure);
    assert_eq!(
        probe(&query("hello"), &packet(1, OK), false),
        Probe::NotMine
    );
}

#[test]
fn a_login_is_told_with_its_outcome() {
    let mut talk = Talk {
        mysql: Mysql::default(),
        told: Told(Vec::new()),
    };
    talk.server(&greeting());
    talk.client(&login(0));
    talk.server(&packet(2, b"\xff\x15\x04#28000Access denied"));
    assert_eq!(
        talk.take(),
        [
            "8.0.36|caching_sha2_password",
            "app|shop|caching_sha2_password|",
            "Number(1045)|28000|Access denied|failed|app"
        ]
    );
}

#[test]
fn the_replay_may_begin_with_the_client() {
    let mut talk = Talk {
        mysql: Mysql::default(),
        told: Told(Vec::new()),
    };
    talk.client(&login(0));
    talk.server(&[greeting(), packet(2, OK)].concat());
    assert_eq!(talk.take().len(), 3);
    talk.client(&query("select 1"));
    assert_eq!(talk.take(), ["QUERY|SELECT|select 1|app|shop"]);
}

#[test]
fn tls_is_handed_over() {
    let mut talk = Talk {
        mysql: Mysql::default(),
        told: Told(Vec::new()),
    };
    talk.server(&greeting());
    let mut request = vec![0x05, 0xae, 0, 0];
    request.extend([0; 28]);
    assert_eq!(talk.client(&packet(1, &request)), Step::Consumed(36));
    assert_eq!(talk.client(b"\x16\x03\x01"), Step::StartTls);
    assert_eq!(talk.server(b"\x16\x03\x01"), Step::StartTls);
}

#[test]
fn compression_ends_in_a_request_that_conditions_see() {
    let mut talk = Talk::new(1 << 5);
    assert_eq!(talk.client(b"\x10\0\0\0\0\0\0"), Step::Done);
    assert_eq!(talk.take(), ["COMPRESSED|OTHER||app|shop"]);
    assert_eq!(talk.server(b"\x10\0\0\0\0\0\0"), Step::Done);
}

#[test]
fn every_statement_of_a_long_text_is_told() {
    let text = format!(
        "insert into t values ('{};drop'); drop table t; {}",
        "x".repeat(9_000),
        " ".repeat(50)
    );
    let expected = format!("QUERY|INSERT|{}|app|shop|t", &text[..40]);
    for cut in [1, 7, 1_000, 5_000, 20_000] {
        let mut talk = Talk::new(1 << 16);
        talk.feed(Direction::ToServer, &query(&text), cut);
        assert_eq!(
            talk.take(),
            [expected.as_str(), "QUERY|DROP||app|shop"],
            "cut {cut}"
        );
    }
    // Without several statements the server refuses the second: the rest is not read.
    let mut talk = Talk::new(0);
    talk.client(&query(&text));
    assert_eq!(talk.take().len(), 1);
}

#[test]
fn prepared_statements_keep_their_kind() {
    let mut talk = Talk::new(1 << 24);
    talk.client(&packet(0, b"\x16delete from t where id=?"));
    // Number 7, no columns, one parameter.
    talk.server(&packet(1, &[0, 7, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]));
    talk.server(&packet(2, b"\x03def"));
    talk.client(&packet(0, &[0x17, 7, 0, 0, 0, 0, 1, 0, 0, 0]));
    talk.server(&packet(1, OK));
    talk.client(&packet(0, b"\x02other"));
    talk.server(&packet(1, b"\xff\x14\x04#42000no"));
    talk.client(&query("select 1"));
    assert_eq!(
        talk.take(),
        [
            "STMT_PREPARE|DELETE|delete from t where id=?|app|shop|t",
            "STMT_EXECUTE|DELETE||app|shop",
            "INIT_DB|USE||app|other",
            "Number(1044)|42000|no",
            "QUERY|SELECT|select 1|app|shop",
        ]
    );
}

#[test]
fn results_are_skipped_to_the_next_answer() {
    for flags in [0, 1 << 24] {
        let mut talk = Talk::new(flags);
        talk.client(&query("select a, b from t"));
        let mut answer = [
            packet(1, &[2]),
            packet(2, b"\x03def"),
            packet(3, b"\x03def"),
        ]
        .concat();
        if flags == 0 {
            answer.extend(packet(4, &[0xfe, 0, 0, 2, 0]));
        }
        answer.extend(packet(5, b"\x011\xff"));
        answer.extend(packet(6, b"\xfb\x00"));
        answer.extend(packet(
            7,
            &[0xfe, 0, 0, 2, 0, 0, 0][..if flags == 0 { 5 } else { 7 }],
        ));
        talk.feed(Direction::ToClient, &answer, 3);
        talk.take();
        talk.client(&query("x"));
        talk.server(&packet(1, b"\xff\x28\x04#42000syntax"));
        assert_eq!(
            talk.take(),
            ["QUERY|OTHER|x|app|shop", "Number(1064)|42000|syntax"]
        );
    }
}

#[test]
fn a_file_that_the_server_asks_for_is_no_command() {
    let mut talk = Talk::new(0);
    talk.client(&query("load data local infile 'f' into table t"));
    talk.server(&packet(1, b"\xfbf"));
    talk.client(&packet(0, b"\x03drop table t"));
    talk.client(&packet(3, b""));
    talk.server(&packet(4, OK));
    assert_eq!(
        talk.take(),
        [
            "QUERY|LOAD|load data local infile 'f' into table t|app|shop|t",
            "f"
        ]
    );
    talk.client(&query("select 1"));
    assert_eq!(talk.take().len(), 1);
}

#[test]
fn what_is_out_of_order_is_a_violation() {
    let mut talk = Talk::new(0);
    assert!(matches!(
        talk.client(&packet(5, b"\x03select 1")),
        Step::Violation(_)
    ));
    assert!(matches!(
        Talk::new(0).client(&packet(0, b"\x77")),
        Step::Violation(_)
    ));
    assert!(matches!(
        Talk::new(0).client(&packet(0, b"")),
        Step::Violation(_)
    ));
    assert!(matches!(
        Talk::new(0).client(b"*1\r\n$4\r\nPING\r\n"),
        Step::Violation(_) | Step::Incomplete
    ));
}

#[test]
fn charsets_that_hide_quotes_name_nothing_for_certain() {
    let mut talk = Talk::new(0);
    talk.mysql.opaque_charset = true;
    talk.client(&query("select 1"));
    assert_eq!(
        talk.take(),
        [
            "QUERY|SELECT|select 1|app|shop",
            "QUERY|OTHER|select 1|app|shop"
        ]
    );
}

#[test]
fn query_attributes_are_passed_over() {
    let mut talk = Talk::new(0);
    talk.mysql.capabilities |= capability::QUERY_ATTRIBUTES;
    talk.client(&packet(0, b"\x03\x00\x01delete from t"));
    talk.client(&packet(
        0,
        b"\x03\x01\x01\x00\x01\x08\x00\x01n\x01\x02\x03\x04\x05\x06\x07\x08drop table t",
    ));
    assert_eq!(
        talk.take(),
        [
            "QUERY|DELETE|delete from t|app|shop|t",
            "QUERY|DROP|drop table t|app|shop|t"
        ]
    );
}
