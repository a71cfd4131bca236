use weir_wire::Direction::{ToClient, ToServer};

use super::*;
use crate::{Event, Value, violation};

#[derive(Default)]
struct Heard {
    events: Vec<String>,
    refined: Vec<&'static str>,
}

impl EventSink for Heard {
    fn event(&mut self, event: &Event<'_>) {
        let values = event.fields.iter().map(|field| match field.value {
            Value::Bytes(bytes) => bytes.escape_ascii().to_string(),
            Value::Number(number) => number.to_string(),
            other => format!("{other:?}"),
        });
        let line: Vec<_> = values.collect();
        self.events.push(line.join(" "));
    }

    fn refine(&mut self, application: &'static str) {
        self.refined.push(application);
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let lengths = [name.len() as u8, value.len() as u8];
    [&[0x40, lengths[0]], name, &[lengths[1]], value].concat()
}

/// Parses all of the input; what is skipped is there.
fn read(parser: &mut Http2, direction: Direction, mut input: &[u8], heard: &mut Heard) -> Step {
    while !input.is_empty() {
        match parser.parse(direction, input, heard) {
            Step::Consumed(count) => input = &input[count..],
            Step::Skip(count) => input = &input[(count as usize).min(input.len())..],
            step => return step,
        }
    }
    Step::Consumed(0)
}

fn opened() -> (Http2, Heard) {
    let mut parser = Http2::open(Transport::Tcp, &mut Blocks::new(1));
    let mut heard = Heard::default();
    let beginning = [&PREFACE[..], &frame(frames::SETTINGS, 0, 0, &[])].concat();
    assert_eq!(
        read(&mut parser, ToServer, &beginning, &mut heard),
        Step::Consumed(0)
    );
    (parser, heard)
}

const GET: &[u8] = &[0x82, 0x86, 0x84, 0x41, 1, b'a'];

#[test]
fn a_body_is_as_long_as_its_head_says() {
    let post = |flags, length: &[u8]| {
        let length = literal(b"content-length", length);
        frame(frames::HEADERS, flags, 1, &[GET, &length].concat())
    };
    let data = |flags, payload: &[u8]| frame(frames::DATA, flags, 1, payload);
    let wrong = Step::Violation(violation::HTTP2_LENGTH);
    let fine = Step::Consumed(0);
    for (bytes, expected) in [
        (
            [post(4, b"3"), data(0, b"ab"), data(1, b"c")].concat(),
            fine,
        ),
        // Padding does not count.
        ([post(4, b"1"), data(9, b"\x02c\0\0")].concat(), fine),
        ([post(4, b"3"), data(1, b"ab")].concat(), wrong),
        ([post(4, b"3"), data(0, b"abcd")].concat(), wrong),
        (post(5, b"3"), wrong),
        (post(5, b"0"), fine),
        (
            [post(4, b"9"), frame(frames::RST_STREAM, 0, 1, &[0; 4])].concat(),
            fine,
        ),
        (
            post(4, b"-3"),
            Step::Violation(violation::HTTP_NEGATIVE_LENGTH),
        ),
        (data(8, b""), Step::Violation(frames::PADDING)),
    ] {
        let (mut parser, mut heard) = opened();
        let step = read(&mut parser, ToServer, &bytes, &mut heard);
        assert_eq!(step, expected, "{}", bytes.escape_ascii());
    }
}

#[test]
fn what_contradicts_the_protocol_is_a_violation() {
    let continued = frame(frames::HEADERS, 0, 1, GET);
    let empty = frame(frames::CONTINUATION, 0, 1, &[]);
    for (what, bytes) in [
        (
            "a frame on the wrong stream",
            frame(frames::DATA, 0, 0, b"x"),
        ),
        (
            "a frame of the wrong length",
            frame(frames::PING, 0, 0, b"x"),
        ),
        (
            "a continuation of nothing",
            frame(frames::CONTINUATION, 4, 1, GET),
        ),
        (
            "a promise of a client",
            frame(frames::PUSH_PROMISE, 4, 1, &[0; 8]),
        ),
        (
            "a client's request on a server's stream",
            frame(frames::HEADERS, 5, 2, GET),
        ),
        (
            "padding beyond the frame",
            frame(frames::HEADERS, 0x0d, 1, &[9, 0x82]),
        ),
        (
            "a request without a path",
            frame(frames::HEADERS, 5, 1, &[0x82, 0x86]),
        ),
        (
            "a request without a method",
            frame(frames::HEADERS, 5, 1, &[0x84, 0x86]),
        ),
        (
            "a request on a stream that was used",
            [
                frame(frames::HEADERS, 5, 3, GET),
                frame(frames::HEADERS, 5, 1, GET),
            ]
            .concat(),
        ),
        (
            "another frame amid a header block",
            [continued.clone(), frame(frames::DATA, 0, 1, b"x")].concat(),
        ),
        (
            "more continuations than anybody needs",
            [continued, empty.repeat(CONTINUATIONS_MAX)].concat(),
        ),
        (
            "a target for another host than the Host header",
            frame(
                frames::HEADERS,
                5,
                1,
                &[GET, &literal(b"host", b"b")].concat(),
            ),
        ),
        (
            "a header twice that may be there once",
            frame(frames::HEADERS, 5, 1, &[GET, &[0x84]].concat()),
        ),
        (
            violation::HTTP2_CONTROL,
            frame(
                frames::HEADERS,
                5,
                1,
                &[GET, &literal(b"x", b"a\r\nb")].concat(),
            ),
        ),
        (
            violation::HTTP_HEADER_NAME,
            frame(frames::HEADERS, 5, 1, &[GET, &literal(b"X", b"a")].concat()),
        ),
        (
            "a pseudo-header behind a header",
            frame(frames::HEADERS, 5, 1, &[&literal(b"x", b"a"), GET].concat()),
        ),
    ] {
        let (mut parser, mut heard) = opened();
        let step = read(&mut parser, ToServer, &bytes, &mut heard);
        assert_eq!(step, Step::Violation(what));
    }
}

#[test]
fn a_connection_may_not_begin_with_anything_but_settings() {
    let mut parser = Http2::open(Transport::Tcp, &mut Blocks::new(1));
    let bytes = [&PREFACE[..], &frame(frames::HEADERS, 5, 1, GET)].concat();
    let step = read(&mut parser, ToServer, &bytes, &mut Heard::default());
    assert_eq!(
        step,
        Step::Violation("frames that do not begin with settings")
    );
}

#[test]
fn picked_up_in_the_middle_what_is_whole_is_told() {
    let mut parser = Http2::open(Transport::Tcp, &mut Blocks::new(1));
    let mut heard = Heard::default();
    assert!(parser.gap(ToServer, 0) && parser.gap(ToClient, 0));
    // The user agent was given before.
    let grpc = [
        &[
            0x83, 0x86, 0x44, 4, b'/', b's', b'/', b'm', 0x41, 1, b'a', 0xc5,
        ][..],
        &literal(b"content-type", b"application/grpc"),
    ]
    .concat();
    let step = read(
        &mut parser,
        ToServer,
        &frame(frames::HEADERS, 4, 41, &grpc),
        &mut heard,
    );
    assert_eq!(
        (step, &heard.refined[..]),
        (Step::Consumed(0), &["grpc"][..])
    );
    assert_eq!(heard.events.len(), 1);
    // The path was given before: nobody can say what is asked for.
    let lost = frame(frames::HEADERS, 5, 43, &[0x83, 0x86, 0xc6]);
    assert_eq!(read(&mut parser, ToServer, &lost, &mut heard), Step::Done);
    let answer = frame(frames::HEADERS, 4, 41, &[0x88]);
    assert_eq!(
        read(&mut parser, ToClient, &answer, &mut heard),
        Step::Consumed(0)
    );
    assert_eq!(heard.events.len(), 2);
}

#[test]
fn without_memory_for_a_table_nothing_is_made_up() {
    let mut parser = Http2::open(Transport::Tcp, &mut Blocks::new(0));
    let mut heard = Heard::default();
    let beginning = [&PREFACE[..], &frame(frames::SETTINGS, 0, 0, &[])].concat();
    read(&mut parser, ToServer, &beginning, &mut heard);
    let first = frame(frames::HEADERS, 5, 1, GET);
    assert_eq!(
        read(&mut parser, ToServer, &first, &mut heard),
        Step::Consumed(0)
    );
    let second = frame(frames::HEADERS, 5, 3, &[0x82, 0x86, 0x84, 0xbe]);
    assert_eq!(read(&mut parser, ToServer, &second, &mut heard), Step::Done);
    assert_eq!(heard.events.len(), 1);
}

#[test]
fn blocks_are_given_back() {
    let mut blocks = Blocks::new(1);
    let mut parser = Http2::open(Transport::Tcp, &mut blocks);
    assert_eq!(blocks.free(), 0);
    parser.close(&mut blocks);
    assert_eq!(blocks.free(), 1);
}
