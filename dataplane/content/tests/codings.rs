//! Codings against the crates that make them: whatever the cut, what was encoded is what is decoded.

use std::cell::RefCell;
use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;
use weir_content::{Decoders, Form, Limits, Outcome, Part, PartKind, Sink};

const LIMITS: Limits = Limits {
    messages: 4,
    inflate: 4,
    brotli: 2,
    brotli_window_bytes: 8 << 20,
    zstd: 2,
    zstd_window_bytes: 1 << 20,
    ratio: 200,
    ratio_from_bytes: 64 << 10,
    decoded_bytes: 1 << 20,
};

thread_local! {
    static DECODERS: RefCell<Decoders> = RefCell::new(Decoders::new(LIMITS));
}

/// The body of a message that comes in pieces, and what became of it.
fn decode(coding: &str, encoded: &[u8], cuts: &[usize]) -> (Vec<u8>, Outcome) {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (encoded.len() + 1)).collect();
    cuts.extend([0, encoded.len()]);
    cuts.sort_unstable();
    DECODERS.with_borrow_mut(|decoders| {
        let form = Form {
            coding: coding.as_bytes(),
            media_type: b"image/png",
        };
        let id = match decoders.begin(&form) {
            Ok(id) => id,
            Err(outcome) => return (Vec::new(), outcome),
        };
        let (mut body, mut last, mut begun, mut ended) = (Vec::new(), Outcome::More, false, false);
        for pair in cuts.windows(2) {
            let ends = pair[1] == encoded.len();
            let mut sink = |part: &Part<'_>| {
                assert_eq!(part.kind, PartKind::Body);
                assert_eq!(part.begins, !begun, "the body begins once");
                assert!(!ended, "nothing follows the end");
                begun = true;
                ended = part.ends;
                body.extend_from_slice(part.bytes);
            };
            last = decoders.piece(id, &encoded[pair[0]..pair[1]], ends, &mut sink);
            if last != Outcome::More {
                let again = decoders.piece(id, b"x", true, &mut |_: &Part<'_>| panic!("over"));
                assert_eq!(again, Outcome::Over);
                break;
            }
        }
        assert!(begun && ended);
        decoders.close(id);
        assert_eq!(decoders.in_use(), 0);
        (body, last)
    })
}

fn written<W: Write>(mut writer: W, bytes: &[u8], finish: impl Fn(W) -> Vec<u8>) -> Vec<u8> {
    writer.write_all(bytes).unwrap();
    finish(writer)
}

fn gzip(bytes: &[u8], level: u32) -> Vec<u8> {
    let encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    written(encoder, bytes, |encoder| encoder.finish().unwrap())
}

fn gzip_with_everything(bytes: &[u8]) -> Vec<u8> {
    let encoder = flate2::GzBuilder::new()
        .filename("a.txt")
        .comment("nothing")
        .extra(vec![7; 300])
        .write(Vec::new(), Compression::fast());
    written(encoder, bytes, |encoder| encoder.finish().unwrap())
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    written(encoder, bytes, |encoder| encoder.finish().unwrap())
}

fn raw(bytes: &[u8], level: u32) -> Vec<u8> {
    let encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
    written(encoder, bytes, |encoder| encoder.finish().unwrap())
}

fn br(bytes: &[u8], window: u32) -> Vec<u8> {
    let encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, window);
    written(encoder, bytes, |encoder| encoder.into_inner())
}

fn zstd(bytes: &[u8], level: i32) -> Vec<u8> {
    zstd::encode_all(bytes, level).unwrap()
}

/// Content with repetitions near and far, and some that has none.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        ("[a-z ]{1,12}", 1..80_usize).prop_map(|(text, times)| text.repeat(times).into_bytes()),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(any::<usize>(), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_encoded_is_decoded(content in content(), cuts in cuts(), level in 0..10_u32) {
        let whole = (content.clone(), Outcome::Whole);
        prop_assert_eq!(&decode("gzip", &gzip(&content, level), &cuts), &whole);
        prop_assert_eq!(&decode(" X-GZIP ", &gzip_with_everything(&content), &cuts), &whole);
        prop_assert_eq!(&decode("deflate", &zlib(&content), &cuts), &whole);
        prop_assert_eq!(&decode("deflate", &raw(&content, level), &cuts), &whole);
        prop_assert_eq!(&decode("br", &br(&content, 16 + level / 2), &cuts), &whole);
        prop_assert_eq!(&decode("zstd", &zstd(&content, 1), &cuts), &whole);
        prop_assert_eq!(&decode("identity", &content, &cuts), &whole);
        let twice = br(&gzip(&zstd(&content, 1), level), 20);
        prop_assert_eq!(&decode("zstd, gzip,, br", &twice, &cuts), &whole);
    }

    #[test]
    fn members_and_frames_follow_each_other(
        first in content(), second in content(), cuts in cuts(),
    ) {
        let both = ([first.as_slice(), &second].concat(), Outcome::Whole);
        let members = [gzip(&first, 6), gzip_with_everything(&second)].concat();
        prop_assert_eq!(&decode("gzip", &members, &cuts), &both);
        let garbage = [members.as_slice(), b"\0\0garbage"].concat();
        prop_assert_eq!(&decode("gzip", &garbage, &cuts), &both);
        let frames = [zstd(&first, 1), zstd(&second, 1)].concat();
        prop_assert_eq!(&decode("zstd", &frames, &cuts), &both);
    }

    #[test]
    fn damage_gives_the_same_whatever_the_cut(
        content in content(), cuts in cuts(), at in any::<usize>(), with in any::<u8>(), keep in any::<usize>(),
    ) {
        let all = [
            ("gzip", gzip(&content, 6)),
            ("deflate", raw(&content, 6)),
            ("br", br(&content, 18)),
            ("zstd", zstd(&content, 1)),
        ];
        for (coding, mut encoded) in all {
            let place = at % encoded.len();
            encoded[place] = with;
            encoded.truncate(1 + keep % encoded.len());
            let (cut, cut_outcome) = decode(coding, &encoded, &cuts);
            let (whole, outcome) = decode(coding, &encoded, &[]);
            // What is given as it stands follows what was decoded.
            let [cut, whole] =
                [&cut, &whole].map(|body| body.strip_suffix(&encoded[..]).unwrap_or(body));
            prop_assert_eq!(cut_outcome, outcome, "{}", coding);
            // Of a command that goes beyond its block brotli gives as much as it had read.
            let same = cut == whole
                || coding == "br" && (cut.starts_with(whole) || whole.starts_with(cut));
            prop_assert!(same, "{}", coding);
        }
    }

    #[test]
    fn what_stands_before_the_end_is_given(content in content(), missing in 1..20_usize) {
        prop_assume!(content.len() > 40);
        for (coding, encoded) in [("gzip", gzip(&content, 6)), ("br", br(&content, 18))] {
            let short = &encoded[..encoded.len().saturating_sub(missing + 8).max(2)];
            let (body, outcome) = decode(coding, short, &[]);
            let decoded = body.strip_suffix(short).unwrap_or(&body);
            prop_assert!(content.starts_with(decoded));
            prop_assert_eq!(body.len() > decoded.len(), short.len() <= 4096);
            prop_assert_eq!(outcome, Outcome::Corrupt("truncated"));
        }
    }
}

#[test]
fn a_bomb_stops_at_its_bound_whatever_the_cut() {
    let zeros = vec![0; 3 << 20];
    for (coding, encoded) in [
        ("gzip", gzip(&zeros, 9)),
        ("br", br(&zeros, 22)),
        ("zstd", zstd(&zeros, 1)),
    ] {
        assert!(encoded.len() < 4096);
        let (body, outcome) = decode(coding, &encoded, &[]);
        assert_eq!(
            (body.len(), outcome),
            (200 * 4096, Outcome::Bomb),
            "{coding}"
        );
        let (body, outcome) = decode(coding, &encoded, &[1, 7, 9, 100]);
        assert_eq!(
            (body.len(), outcome),
            (200 * 4096, Outcome::Bomb),
            "{coding}"
        );
    }
    let nested = gzip(&gzip(&gzip(&vec![0; 8 << 20], 9), 9), 9);
    let (body, outcome) = decode("gzip, gzip, gzip", &nested, &[]);
    assert_eq!((body.len(), outcome), (200 * 4096, Outcome::Bomb));
}

#[test]
fn a_large_content_is_decoded_up_to_the_limit() {
    let mut seed = 1_u32;
    let noise = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    });
    let content: Vec<u8> = noise.take((1 << 20) + 9).collect();
    for (coding, encoded) in [
        ("gzip", gzip(&content, 1)),
        ("br", br(&content, 22)),
        ("zstd", zstd(&content, 1)),
    ] {
        let (body, outcome) = decode(coding, &encoded, &[9, 1 << 18]);
        assert_eq!(outcome, Outcome::Limit, "{coding}");
        assert!(body == content[..1 << 20], "{coding}");
    }
}

#[test]
fn what_cannot_be_decoded_is_told() {
    let undecoded = |why| (Vec::new(), Outcome::Undecoded(why));
    assert_eq!(decode("compress", b"abc", &[]), undecoded("unknown coding"));
    assert_eq!(
        decode("gzip, rot13", b"abc", &[]),
        undecoded("unknown coding")
    );
    assert_eq!(
        decode("br,br,br", b"abc", &[]),
        undecoded("no decoder free")
    );
    assert_eq!(
        decode("br,gzip,gzip,gzip", b"abc", &[]),
        undecoded("too many codings")
    );
    let large = zstd::stream::Encoder::new(Vec::new(), 1).and_then(|mut encoder| {
        encoder.window_log(24)?;
        encoder.write_all(&[7; 100])?;
        encoder.finish()
    });
    assert_eq!(
        decode("zstd", &large.unwrap(), &[]),
        undecoded("window too large")
    );
    // What says it is gzip and is not is shown as it is.
    assert_eq!(
        decode("gzip", b"plain", &[1]),
        (b"plain".to_vec(), Outcome::Whole)
    );
    assert_eq!(
        decode("gzip", b"\x1fplain", &[1]),
        (b"\x1fplain".to_vec(), Outcome::Whole)
    );
    assert_eq!(decode("gzip", b"", &[]), (Vec::new(), Outcome::Whole));
    let damaged = (b"\xff\xff".to_vec(), Outcome::Corrupt("deflate"));
    assert_eq!(decode("deflate", b"\xff\xff", &[]), damaged);
}

#[test]
fn what_was_never_encoded_is_read_as_it_stands() {
    let plain = b"a=%27+or+1%3D1&b=x";
    for coding in ["deflate", "br", "zstd", "gzip, br"] {
        for cut in 0..plain.len() {
            let (body, outcome) = decode(coding, plain, &[cut]);
            assert!(
                body.ends_with(plain) && matches!(outcome, Outcome::Corrupt(_)),
                "{coding}"
            );
        }
        DECODERS.with_borrow_mut(|decoders| {
            let form = Form {
                coding: coding.as_bytes(),
                media_type: b"application/x-www-form-urlencoded",
            };
            let id = decoders.begin(&form).unwrap();
            let mut found = Vec::new();
            let mut sink = |part: &Part<'_>| {
                if part.kind == PartKind::Field {
                    found.extend_from_slice(part.bytes);
                }
            };
            assert_eq!(
                decoders.piece(id, &plain[..9], false, &mut sink),
                Outcome::More
            );
            decoders.piece(id, &plain[9..], true, &mut sink);
            decoders.close(id);
            assert_eq!(found, b"' or 1=1x", "{coding}");
        });
    }
}

#[test]
fn nothing_of_an_older_message_is_told() {
    let (_, outcome) = decode("gzip", &gzip(&[b'x'; 70_000], 1), &[]);
    assert_eq!(outcome, Outcome::Whole);
    // Three bytes from one place before the beginning.
    let (body, _) = decode("deflate", &[3, 2, 0], &[]);
    assert!(!body.contains(&b'x'));
}

#[test]
fn only_the_body_is_told_to_those_who_want_no_more() {
    struct Body(usize);
    impl Sink for Body {
        fn part(&mut self, part: &Part<'_>) {
            assert_eq!(part.kind, PartKind::Body);
            self.0 += part.bytes.len();
        }

        fn wants_parts(&self) -> bool {
            false
        }
    }
    DECODERS.with_borrow_mut(|decoders| {
        let form = Form {
            coding: b"",
            media_type: b"application/json",
        };
        let id = decoders.begin(&form).unwrap();
        let mut body = Body(0);
        assert_eq!(
            decoders.piece(id, br#"["a"]"#, true, &mut body),
            Outcome::Whole
        );
        assert_eq!(body.0, 5);
        decoders.close(id);
    });
}

#[test]
fn decoders_are_lent_and_come_back() {
    let mut decoders = Decoders::new(LIMITS);
    let form = |coding| Form {
        coding,
        media_type: b"image/png",
    };
    let ids: Vec<_> = (0..4)
        .map(|_| decoders.begin(&form(b"")).unwrap())
        .collect();
    let none = Err(Outcome::Undecoded("too many messages"));
    assert_eq!(decoders.begin(&form(b"")), none);
    decoders.close(ids[0]);
    assert_eq!(
        decoders.piece(ids[0], b"x", true, &mut |_: &Part<'_>| panic!("closed")),
        Outcome::Over
    );
    for _ in 0..9 {
        let id = decoders.begin(&form(b"br, br")).unwrap();
        decoders.close(id);
        decoders.close(id);
    }
    assert_eq!(decoders.in_use(), 3);
}

/// Every kind of decoder, several times over, after a first round has made the pages theirs.
#[test]
fn nothing_is_allocated_after_the_start() {
    let mut seed = 7_u32;
    let text: Vec<u8> = (0..600_000)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b"etaoin shrdlu"[(seed >> 24) as usize % 13]
        })
        .collect();
    let messages = [
        ("gzip", gzip(&text, 6)),
        ("deflate", zlib(&text)),
        ("br", br(&text, 22)),
        ("zstd", zstd(&text, 1)),
        ("gzip, br", br(&gzip(&text, 6), 18)),
    ];
    let mut decoders = Decoders::new(LIMITS);
    let mut given = 0;
    let counted = allocation_counter::measure(|| {
        for (coding, encoded) in messages.iter().chain(&messages) {
            let form = Form {
                coding: coding.as_bytes(),
                media_type: b"image/png",
            };
            let id = decoders.begin(&form).unwrap();
            for piece in encoded.chunks(1460) {
                let outcome = decoders.piece(id, piece, false, &mut |part: &Part<'_>| {
                    given += part.bytes.len()
                });
                assert_eq!(outcome, Outcome::More);
            }
            let last = decoders.piece(id, b"", true, &mut |_: &Part<'_>| {});
            assert_eq!(last, Outcome::Whole);
            decoders.close(id);
        }
    });
    assert_eq!(given, 2 * messages.len() * text.len());
    assert_eq!(counted.count_total, 0, "{counted:?}");
}
