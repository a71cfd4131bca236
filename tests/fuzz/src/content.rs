//! Contents in every form, encoded and then harmed. Nothing panics, output stays within its bound, every part
//! that begins ends, and how the content is cut changes nothing. Transformations write no more than they have
//! room for.

use std::cell::RefCell;
use std::io::Write;

use bolero::{TypeGenerator, check};
use weir_content::transform::{self, Base64Rules, SqlRules, Written};
use weir_content::{Decoders, Form, Limits, Outcome, Part, PartKind};

use crate::{ITERATIONS, TEST_TIME};

const MEDIA_TYPES: &[&str] = &[
    "multipart/form-data; boundary=X",
    "message/rfc822",
    "application/json",
    "application/x-www-form-urlencoded",
    "text/html",
    "text/plain",
    "text/xml; charset=utf-16",
    "text/plain; charset=utf-7",
];

const CODINGS: &[&str] = &["", "gzip", "deflate", "br", "zstd", "gzip, gzip"];

/// What means something to one of the readers.
const WORDS: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "--X",
    "--X--",
    "--Y",
    ":",
    ";",
    "=",
    "\"",
    "\\",
    "\\u003c",
    "\\x3",
    "{",
    "}",
    "[",
    "]",
    ",",
    "&",
    "&lt;",
    "&#x3c",
    "%3c",
    "%u003c",
    "%",
    "+",
    "+ADw-",
    "\0",
    "Content-Type: ",
    "text/html",
    "multipart/mixed; boundary=Y",
    "message/rfc822",
    "application/json",
    "Content-Transfer-Encoding: base64",
    "Content-Transfer-Encoding: quoted-printable",
    "Content-Disposition: form-data; name=",
    "; filename*=",
    "=?utf-8?B?",
    "?=",
    "/*!50000",
    "*/",
    "-- ",
    "#",
    "'",
];

const LIMITS: Limits = Limits {
    messages: 1,
    inflate: 2,
    brotli: 1,
    brotli_window_bytes: 1 << 20,
    zstd: 1,
    zstd_window_bytes: 1 << 20,
    ratio: 50,
    ratio_from_bytes: 16 << 10,
    decoded_bytes: 256 << 10,
};

#[derive(Clone, Debug, TypeGenerator)]
struct Story {
    media: u8,
    coding: u8,
    /// The content is encoded as it says; otherwise it is whatever comes.
    encoded: bool,
    #[generator(bolero::generator::produce_with::<Vec<Word>>().len(0usize..40))]
    words: Vec<Word>,
    harms: [(u16, u8); 2],
    harmed: bool,
    cuts: [u8; 4],
}

#[derive(Clone, Debug, TypeGenerator)]
enum Word {
    Known(u8),
    Repeated(u8, u8),
    Bytes([u8; 4]),
}

fn pick<'a>(from: &[&'a str], at: u8) -> &'a str {
    from[usize::from(at) % from.len()]
}

fn written(story: &Story) -> Vec<u8> {
    let mut plain = Vec::new();
    for word in &story.words {
        match word {
            Word::Known(at) => plain.extend_from_slice(pick(WORDS, *at).as_bytes()),
            Word::Repeated(byte, times) => plain.extend(vec![*byte; usize::from(*times) * 64]),
            Word::Bytes(bytes) => plain.extend_from_slice(bytes),
        }
    }
    let mut content = match story.encoded {
        true => encode(pick(CODINGS, story.coding), &plain),
        false => plain,
    };
    for (place, byte) in story.harms.iter().filter(|_| story.harmed) {
        let length = content.len().max(1);
        if let Some(place) = content.get_mut(usize::from(*place) % length) {
            *place = *byte;
        }
    }
    content
}

fn encode(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let level = flate2::Compression::fast();
    match coding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "gzip, gzip" => encode("gzip", &encode("gzip", bytes)),
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "br" => {
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 2, 16);
            encoder.write_all(bytes).unwrap();
            encoder.into_inner()
        }
        "zstd" => zstd::encode_all(bytes, 1).unwrap(),
        _ => bytes.to_vec(),
    }
}

/// A part put together again.
#[derive(Debug, PartialEq, Eq)]
struct Whole {
    kind: PartKind,
    name: Vec<u8>,
    bytes: Vec<u8>,
    ended: bool,
}

fn decode(story: &Story, content: &[u8], cuts: &[u8; 4]) -> (Vec<Whole>, Outcome) {
    thread_local! {
        static DECODERS: RefCell<Decoders> = RefCell::new(Decoders::new(LIMITS));
    }
    let mut parts: Vec<Whole> = Vec::new();
    let mut sink = |part: &Part<'_>| {
        if part.begins {
            parts.push(Whole {
                kind: part.kind,
                name: part.name.to_vec(),
                bytes: Vec::new(),
                ended: false,
            });
        }
        let is_same = |whole: &&mut Whole| whole.kind == part.kind && !whole.ended;
        let whole = parts
            .iter_mut()
            .rev()
            .find(is_same)
            .expect("what goes on has begun");
        assert_eq!(whole.name, part.name);
        whole.bytes.extend_from_slice(part.bytes);
        whole.ended = part.ends;
    };
    let form = Form {
        coding: pick(CODINGS, story.coding).as_bytes(),
        media_type: pick(MEDIA_TYPES, story.media).as_bytes(),
    };
    let last = DECODERS.with_borrow_mut(|decoders| {
        let id = decoders.begin(&form).expect("all decoders are free");
        let (mut rest, mut last) = (content, Outcome::More);
        for cut in cuts.iter().cycle() {
            let taken = usize::from(*cut)
                .min(rest.len())
                .max(usize::from(!rest.is_empty()));
            let (piece, after) = rest.split_at(taken);
            last = decoders.piece(id, piece, after.is_empty(), &mut sink);
            rest = after;
            if rest.is_empty() || last != Outcome::More {
                break;
            }
        }
        decoders.close(id);
        assert_eq!(decoders.in_use(), 0);
        last
    });
    assert!(parts.iter().all(|part| part.ended), "every part ends");
    (parts, last)
}

fn run(story: &Story) {
    let content = written(story);
    let (whole, outcome) = decode(story, &content, &[u8::MAX; 4]);
    let (cut, cut_outcome) = decode(story, &content, &story.cuts);
    assert_eq!(outcome, cut_outcome);
    // Of a command that goes beyond its block brotli gives as much as it had read.
    let is_brotli = pick(CODINGS, story.coding) == "br";
    if !(is_brotli && matches!(outcome, Outcome::Corrupt(_))) {
        assert_eq!(whole, cut);
    }
    // The order of the parts is by their beginning: the body first, if there is one.
    let body = whole.iter().find(|part| part.kind == PartKind::Body);
    let decoded = body.map_or(0, |body| body.bytes.len());
    let coded = !pick(CODINGS, story.coding).is_empty();
    assert!(!coded || decoded as u64 <= LIMITS.decoded_bytes);
    let told: usize = whole.iter().map(|part| part.bytes.len()).sum();
    assert!(told <= 8 * decoded + 64, "{told} of {decoded}");
}

type Transformation = fn(&[u8], &mut [u8]) -> Written;

const TRANSFORMATIONS: &[Transformation] = &[
    |input, out| transform::percent_decode_repeated(input, Default::default(), out),
    transform::entities_decode,
    transform::escapes_decode,
    transform::quoted_decode,
    transform::utf8_canonical,
    |input, out| transform::utf16_decode(input, Default::default(), out),
    |input, out| transform::base64_decode(input, Base64Rules::default(), out),
    |input, out| transform::sql_without_comments(input, SqlRules::MYSQL, out),
    |input, out| transform::sql_without_comments(input, SqlRules::NESTING, out),
    |input, out| transform::sql_without_comments(input, SqlRules::FRAGMENT, out),
    transform::compress_whitespace,
    transform::hex_decode,
    transform::hex_encode,
    transform::gunzip,
    transform::zlib_decompress,
    |input, out| transform::xor(input, &input[..input.len().min(3)], out),
];

#[test]
fn content() {
    check!()
        .with_type::<Story>()
        .with_test_time(TEST_TIME)
        .with_iterations(ITERATIONS)
        .for_each(run);
}

#[test]
fn transformations() {
    check!()
        .with_type::<(Story, u8)>()
        .with_test_time(TEST_TIME)
        .with_iterations(ITERATIONS)
        .for_each(|(story, room)| {
            let content = written(story);
            let mut large = vec![0; content.len() * 4 + 64 * 1024];
            let mut small = vec![0; usize::from(*room)];
            for transformation in TRANSFORMATIONS {
                let whole = transformation(&content, &mut large);
                let front = transformation(&content, &mut small);
                assert!(front.length <= small.len());
                assert!(front.cut || front.length == whole.length);
                let same = large.starts_with(&small[..front.length.min(whole.length)]);
                assert!(same, "a small output holds the front");
            }
        });
}
