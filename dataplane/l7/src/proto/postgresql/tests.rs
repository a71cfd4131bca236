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

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 4).to_be_bytes();
    [&[kind], &length[..], body].concat()
}

fn untyped(code: u32, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 8).to_be_bytes();
    [&length[..], &code.to_be_bytes(), body].concat()
}

fn startup() -> Vec<u8> {
    untyped(
        3 << 16,
        b"user\0app\0database\0shop\0application_name\0web\0\0",
    )
}

const SSL: u32 = 80_877_103;

#[derive(Default)]
struct Talk {
    postgresql: Postgresql,
    told: Vec<String>,
}

impl Talk {
    fn new() -> Self {
        let mut talk = Self::default();
        talk.feed(Direction::ToServer, &startup(), 1_000);
        talk.told.clear();
        talk
    }

    fn feed(&mut self, direction: Direction, bytes: &[u8], cut: usize) -> Step {
        let mut told = Told(std::mem::take(&mut self.told));
        let (mut at, mut end) = (0, 0);
        let mut last = Step::Incomplete;
        while end < bytes.len() {
            end = (end + cut).min(bytes.len());
            while at < end {
                last = self.postgresql.parse(direction, &bytes[at..end], &mut told);
                match last {
                    Step::Consumed(used) => at += used,
                    Step::Skip(used) => at += used as usize,
                    Step::Incomplete => break,
                    _ => end = bytes.len(),
                }
                if !matches!(last, Step::Consumed(_) | Step::Skip(_)) {
                    break;
                }
            }
        }
        self.told = told.0;
        last
    }

    fn client(&mut self, bytes: &[u8]) -> Step {
        self.feed(Direction::ToServer, bytes, 1 << 20)
    }

    fn server(&mut self, bytes: &[u8]) -> Step {
        self.feed(Direction::ToClient, bytes, 1 << 20)
    }

    fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }
}

fn probe(to_server: &[u8], to_client: &[u8], from_start: bool) -> Probe {
    let transport = Transport::Tcp;
    Postgresql::probe(&ProbeInput {
        to_server,
        to_client,
        previous: &[],
        from_start,
        server_port: 9,
        transport,
    })
}

#[test]
fn startup_packets_are_certain() {
    assert_eq!(probe(&untyped(SSL, b""), &[], true), Probe::Certain);
    assert_eq!(probe(&startup(), &[], true), Probe::Certain);
    assert_eq!(probe(&startup()[..12], &[], true), Probe::Unsure);
    assert_eq!(
        probe(&untyped(3 << 16, b"name\0x\0\0"), &[], true),
        Probe::NotMine
    );
    assert_eq!(
        probe(&untyped(1 << 16, b"user\0x\0\0"), &[], true),
        Probe::NotMine
    );
    assert_eq!(probe(b"\0\0\0\x20smb", &[], true), Probe::Unsure);
    assert_eq!(
        probe(&message(b'Q', b"select 1\0"), &[], true),
        Probe::NotMine
    );
    let answer = [message(b'C', b"SELECT 1\0"), message(b'Z', b"I")].concat();
    assert_eq!(
        probe(&message(b'Q', b"select 1\0"), &answer, false),
        Probe::Certain
    );
    assert_eq!(
        probe(&message(b'Q', b"hello\0"), &answer, false),
        Probe::NotMine
    );
}

#[test]
fn encryption_is_asked_for_and_answered() {
    let mut talk = Talk::default();
    talk.client(&untyped(SSL, b""));
    assert_eq!(talk.server(b"S"), Step::Consumed(1));
    assert_eq!(talk.client(b"\x16\x03"), Step::StartTls);
    assert_eq!(talk.server(b"\x16\x03"), Step::StartTls);

    let mut talk = Talk::default();
    talk.client(&untyped(SSL, b""));
    assert_eq!(
        talk.client(b"\x16\x03"),
        Step::Incomplete,
        "the server's consent is not here yet"
    );

    let mut talk = Talk::default();
    talk.client(&untyped(SSL + 1, b""));
    talk.server(b"N");
    talk.client(&untyped(SSL, b""));
    talk.server(b"N");
    talk.client(&startup());
    talk.server(&[message(b'R', &[0; 4]), message(b'Z', b"I")].concat());
    assert_eq!(talk.take(), ["app|shop|web", "accepted|app"]);
}

#[test]
fn both_query_protocols_are_told() {
    let stream = [
        message(b'Q', b"select 1; drop table t\0"),
        message(b'P', b"s1\0delete from photo where id=$1\0\0\0"),
        message(b'B', b"\0s1\0\0\0\0\0\0\0"),
        message(b'D', b"P\0"),
        message(b'E', b"\0\0\0\0\0"),
        message(b'S', b""),
        message(b'P', b"\0select 2\0\0\0"),
        message(b'B', b"c1\0\0\0\0\0\0\0\0"),
        message(b'E', b"c1\0\0\0\0\0"),
        message(b'd', &[b'x'; 5_000]),
        message(b'X', b""),
    ]
    .concat();
    for cut in [1, 2, 5, 100, 100_000] {
        let mut talk = Talk::new();
        talk.feed(Direction::ToServer, &stream, cut);
        assert_eq!(
            talk.take(),
            [
                "QUERY|SELECT|select 1; drop table t|app|shop",
                "QUERY|DROP|select 1; drop table t|app|shop|t",
                "PARSE|DELETE|delete from photo where id=$1|app|shop|photo",
                "EXECUTE|DELETE||app|shop",
                "PARSE|SELECT|select 2|app|shop",
                "EXECUTE|SELECT||app|shop",
            ],
            "cut {cut}"
        );
    }
}

#[test]
fn statements_far_into_a_text_are_told() {
    let long = "y".repeat(9_000);
    let text = format!("select '{long};drop'; drop table t\0");
    let parse = format!("n\0/* {long} */ update t set a=1\0\0\0");
    let stream = [
        message(b'Q', text.as_bytes()),
        message(b'P', parse.as_bytes()),
        message(b'S', b""),
    ]
    .concat();
    for cut in [1, 1_000, 5_000, 100_000] {
        let mut talk = Talk::new();
        talk.feed(Direction::ToServer, &stream, cut);
        let first = format!("QUERY|SELECT|{}|app|shop", &text[..40]);
        assert_eq!(
            talk.take(),
            [&first, "QUERY|DROP||app|shop", "PARSE|UPDATE||app|shop"],
            "cut {cut}"
        );
        talk.client(
            &[
                message(b'B', b"\0n\0\0\0\0\0\0\0"),
                message(b'E', b"\0\0\0\0\0"),
            ]
            .concat(),
        );
        assert_eq!(talk.take(), ["EXECUTE|UPDATE||app|shop"]);
    }
}

#[test]
fn errors_and_refused_logins_are_told() {
    let mut talk = Talk::new();
    talk.server(&message(
        b'E',
        b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed\0\0",
    ));
    talk.server(&message(b'Z', b"I"));
    talk.server(&message(b'E', b"SFEHLER\0VERROR\0C42703\0Mno column\0\0"));
    assert_eq!(
        talk.take(),
        [
            "FATAL|28P01|password authentication failed|failed|app",
            "accepted|app",
            "ERROR|42703|no column"
        ]
    );
}

#[test]
fn backslashes_count_when_the_server_says_so() {
    let mut talk = Talk::new();
    let query = message(b'Q', b"select '\\'; drop table t -- '\0");
    talk.client(&query);
    assert_eq!(talk.take().len(), 2);
    talk.server(&message(b'S', b"standard_conforming_strings\0off\0"));
    talk.client(&query);
    assert_eq!(talk.take().len(), 1);
}

#[test]
fn impossible_messages_are_violations() {
    assert!(matches!(
        Talk::new().client(b"Q\0\0\0\x01xxxx"),
        Step::Violation(_)
    ));
    assert!(matches!(
        Talk::new().client(b"!\0\0\0\x08xxxx"),
        Step::Violation(_)
    ));
    assert!(matches!(
        Talk::new().server(b"HTTP/1.1 400"),
        Step::Violation(_)
    ));
    assert!(matches!(
        Talk::default().client(&untyped(9 << 16, b"")),
        Step::Violation(_)
    ));
}
