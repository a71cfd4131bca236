//! The detectors of attacks in values: no bytes make them panic, and how a content is cut into pieces
//! makes no difference.

use std::cell::RefCell;

use bolero::{TypeGenerator, check};
use weir_l7::Buffer;
use weir_threat::injection::{Injection, Piece, Place, Source};
use weir_threat::{Config, Found, Threat};

use crate::{ITERATIONS, TEST_TIME};

#[derive(Clone, Debug, TypeGenerator)]
struct Value {
    /// Pieces that mean something to a detector, and bytes between them.
    #[generator(bolero::generator::produce_with::<Vec<(u8, u8)>>().len(0usize..120))]
    parts: Vec<(u8, u8)>,
    #[generator(bolero::generator::produce_with::<Vec<u8>>().len(0usize..80))]
    name: Vec<u8>,
    place: u8,
    media_type: u8,
    /// So often over: longer than a window.
    repeat: u8,
    #[generator(bolero::generator::produce_with::<Vec<u16>>().len(0usize..6))]
    cuts: Vec<u16>,
}

const PARTS: &[&[u8]] = &[
    b"'",
    b"\"",
    b"`",
    b"(",
    b")",
    b"/*",
    b"*/",
    b"/*!50000",
    b"--",
    b"#",
    b";",
    b" or ",
    b" union ",
    b" select ",
    b"1",
    b"=",
    b"${",
    b"}",
    b"jndi:",
    b"lower:",
    b":-",
    b"<",
    b">",
    b" onload",
    b"script",
    b"../",
    b"..\\",
    b"%2e",
    b"%25",
    b"&#39;",
    b"\\u0027",
    b"$(",
    b"|",
    b"cat ",
    b"/etc/passwd",
    b"${IFS}",
    b"[",
    b"]",
    b"@",
    b"0x",
    b"{",
    b"\0",
    b"\xa0",
    b"\xc2\xa0",
    b" case ",
    b" when ",
    b" if ",
    b"javascript:",
    b"http://",
    b"169.254.",
    b" in ",
    b" not ",
    b"&a=",
    b"\r\n--x\r\n",
    b"%u0027",
    b"\xef\xbc\x87",
    b"() {",
    b"#_memberAccess",
    b"class.module.",
    b"{{",
    b" waitfor delay ",
    b"sleep(",
];

const MEDIA_TYPES: &[&[u8]] = &[
    b"",
    b"application/x-www-form-urlencoded",
    b"application/json",
    b"multipart/form-data; boundary=x",
    b"text/xml",
    b"image/png",
];

const PLACES: [Place; 6] = [
    Place::Path,
    Place::Parameter,
    Place::Header,
    Place::Grammar,
    Place::MediaType,
    Place::Statement,
];

impl Value {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (part, between) in &self.parts {
            bytes.extend(PARTS[usize::from(*part) % PARTS.len()]);
            // Every other gap has a byte of its own.
            bytes.extend((between % 2 == 0).then_some(between / 2 + (between & 0x80)));
        }
        bytes
    }
}

thread_local! {
    static DETECTORS: RefCell<(Injection, Config)> =
        RefCell::new((Injection::new(), Config::default().telling_everything()));
}

/// The threats of a content that comes in these pieces.
fn told(
    injection: &mut Injection,
    config: &Config,
    media_type: &[u8],
    content: &[u8],
    cuts: &[u16],
) -> Vec<Threat> {
    let mut places: Vec<usize> = cuts
        .iter()
        .map(|cut| usize::from(*cut) % (content.len() + 1))
        .collect();
    places.extend([0, content.len()]);
    places.sort_unstable();
    let mut found = Found::new();
    let last = places.len() - 2;
    for (index, ends) in places.windows(2).enumerate() {
        let piece = Piece {
            source: Source {
                connection: 1,
                stream: 0,
                buffer: Buffer::HttpRequestBody,
            },
            begins: (index == 0).then_some(media_type),
            bytes: &content[ends[0]..ends[1]],
            ends: index == last,
        };
        injection.content(config, &piece, &mut found);
    }
    let mut threats: Vec<_> = found.iter().map(|finding| finding.threat).collect();
    threats.sort();
    threats
}

fn run(value: &Value, injection: &mut Injection, config: &Config) {
    let bytes = value.bytes();
    let mut found = Found::new();
    let place = PLACES[usize::from(value.place) % PLACES.len()];
    injection.look(config, place, &value.name, &bytes, &mut found);
    injection.look_request_target(config, &bytes, &mut found);
    injection.look_header(config, &bytes, &mut found);
    let content = bytes.repeat(usize::from(value.repeat) + 1);
    let media_type = MEDIA_TYPES[usize::from(value.media_type) % MEDIA_TYPES.len()];
    let whole = told(injection, config, media_type, &content, &[]);
    let cut = told(injection, config, media_type, &content, &value.cuts);
    assert_eq!(whole, cut, "pieces make a difference");
}

#[test]
fn injection() {
    check!()
        .with_type::<Value>()
        .with_test_time(TEST_TIME)
        .with_iterations(ITERATIONS)
        .for_each(|value| {
            DETECTORS.with_borrow_mut(|(injection, config)| run(value, injection, config));
        });
}
