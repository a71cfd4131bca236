use super::*;
use crate::Value;

struct Told(Vec<String>);

impl EventSink for Told {
    fn event(&mut self, event: &Event<'_>) {
        let values = event.fields.iter().map(|field| match field.value {
            Value::Bytes(value) => String::from_utf8_lossy(value).into_owned(),
            value => format!("{value:?}"),
        });
        self.0.push(values.collect::<Vec<_>>().join("|"));
    }
}

fn probe(to_server: &[u8], to_client: &[u8]) -> Probe {
    let transport = Transport::Tcp;
    Redis::probe(&ProbeInput {
        to_server,
        to_client,
        previous: &[],
        from_start: true,
        server_port: 3306,
        transport,
    })
}

/// Feeds `stream` in pieces of `cut`, as the engine would.
fn tell(direction: Direction, stream: &[u8], cut: usize) -> Vec<String> {
    let (mut told, mut redis) = (Told(Vec::new()), Redis::default());
    let (mut at, mut end) = (0, 0);
    while end < stream.len() {
        end = (end + cut).min(stream.len());
        while at < end {
            match redis.parse(direction, &stream[at..end], &mut told) {
                Step::Consumed(used) => at += used,
                Step::Skip(used) => at += used as usize,
                Step::Incomplete => break,
                step => panic!("{step:?} {:?}", told.0),
            }
        }
    }
    told.0
}

#[test]
fn only_well_formed_commands_are_certain() {
    assert_eq!(probe(b"*1\r\n$4\r\nPING\r\n", b""), Probe::Certain);
    assert_eq!(probe(b"*2\r\n$3\r\nG", b""), Probe::Unsure);
    assert_eq!(probe(b"*2\r\n$3\r\nGETX", b""), Probe::NotMine);
    assert_eq!(probe(b"*2\r\n:3\r\n", b""), Probe::NotMine);
    assert_eq!(probe(b"PING\r\n", b""), Probe::Unsure);
    assert_eq!(probe(b"PING\r\n", b"+PONG\r\n"), Probe::Certain);
    assert_eq!(
        probe(b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n"),
        Probe::NotMine
    );
    assert_eq!(probe(b"", b"+OK POP3 ready\r\n"), Probe::Unsure);
}

#[test]
fn commands_are_told_in_any_cut() {
    let mut stream = b"*3\r\n$3\r\nset\r\n$1\r\nk\r\n$3000\r\n".to_vec();
    stream.extend([b'x'; 3000]);
    stream.extend(b"\r\n*1\r\n$4\r\nPING\r\nget k\r\n\r\n*0\r\n");
    stream
        .extend(b"*3\r\n$4\r\nAUTH\r\n$3\r\nann\r\n$6\r\nsecret\r\n*2\r\n$3\r\nGET\r\n$1\r\nz\r\n");
    stream.extend(b"*5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$3\r\nbob\r\n$1\r\np\r\n");
    let expected = [
        "SET|k|",
        "PING||",
        "GET|k|",
        "AUTH||ann",
        "GET|z|ann",
        "HELLO||bob|3",
    ];
    for cut in [1, 2, 7, 100, stream.len()] {
        assert_eq!(
            tell(Direction::ToServer, &stream, cut),
            expected,
            "cut {cut}"
        );
    }
}

#[test]
fn errors_are_told_and_values_skipped() {
    let stream = b"+OK\r\n$5\r\n-ERR!\r\n*2\r\n:1\r\n$-1\r\n-WRONGTYPE x\r\n!3\r\nbad\r\n_\r\n%1\r\n+a\r\n#t\r\n";
    for cut in [1, 3, stream.len()] {
        assert_eq!(
            tell(Direction::ToClient, stream, cut),
            ["WRONGTYPE x", "bad"]
        );
    }
}

#[test]
fn hidden_names_are_refused() {
    let mut told = Told(Vec::new());
    for bytes in [
        &b"\"FLUSHALL\"\r\n"[..],
        b"\x16\x03\x01\n",
        b"*1\r\n:1\r\n",
        b"*1\r\n$99\r\n",
    ] {
        assert!(matches!(
            Redis::default().parse(Direction::ToServer, bytes, &mut told),
            Step::Violation(_)
        ));
    }
}
