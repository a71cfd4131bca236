//! Random rules, and what they mean said as plainly as possible: every place is tried, over all the
//! bytes at once.

use proptest::prelude::*;
use regex::bytes::Regex;

/// Expressions that are tried: Hyperscan takes some, and tracks back for none of the others.
pub const EXPRESSIONS: [&str; 7] = [
    "a+b",
    "b[aA]",
    "a.?b",
    "(?:ab)+",
    "A|bb",
    r"a{2,3}b?",
    r"b\x01",
];

/// Where a content may lie.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    Anywhere,
    From { offset: i64, depth: Option<i64> },
    Behind { distance: i64, within: Option<i64> },
    Start,
}

/// One matcher.
#[derive(Clone, Debug)]
pub enum Item {
    Content {
        bytes: Vec<u8>,
        nocase: bool,
        negated: bool,
        place: Place,
        at_end: bool,
    },
    Pcre {
        which: usize,
        relative: bool,
        negated: bool,
    },
    IsDataAt {
        at: i64,
        relative: bool,
        negated: bool,
    },
    ByteTest {
        offset: i64,
        relative: bool,
        above: u8,
    },
    ByteJump {
        offset: i64,
        relative: bool,
    },
    ByteExtract {
        offset: i64,
    },
    /// A content within so many bytes as were extracted.
    WithinExtracted {
        bytes: Vec<u8>,
    },
}

pub fn bytes(length: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(vec![b'a', b'b', b'A', 1, 2]), length)
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        3 => Just(Place::Anywhere),
        1 => Just(Place::Start),
        2 => (0_i64..6, prop::option::of(3_i64..12))
            .prop_map(|(offset, depth)| Place::From { offset, depth }),
        4 => (-3_i64..5, prop::option::of(3_i64..9))
            .prop_map(|(distance, within)| Place::Behind { distance, within }),
    ]
}

fn content() -> impl Strategy<Value = Item> {
    (bytes(1..4), any::<bool>(), 0..5, place(), 0..8).prop_map(
        |(bytes, nocase, negated, place, at_end)| Item::Content {
            bytes,
            nocase,
            negated: negated == 0,
            place,
            at_end: at_end == 0,
        },
    )
}

pub fn items() -> impl Strategy<Value = Vec<Item>> {
    let item = prop_oneof![
        6 => content(),
        2 => (0..EXPRESSIONS.len(), any::<bool>(), 0..4).prop_map(|(which, relative, negated)| {
            Item::Pcre { which, relative, negated: negated == 0 }
        }),
        1 => (0_i64..8, any::<bool>(), any::<bool>())
            .prop_map(|(at, relative, negated)| Item::IsDataAt { at, relative, negated }),
        1 => (0_i64..4, any::<bool>(), 0_u8..4)
            .prop_map(|(offset, relative, above)| Item::ByteTest { offset, relative, above }),
        1 => (0_i64..4, any::<bool>())
            .prop_map(|(offset, relative)| Item::ByteJump { offset, relative }),
        1 => (0_i64..3).prop_map(|offset| Item::ByteExtract { offset }),
        1 => bytes(1..2).prop_map(|bytes| Item::WithinExtracted { bytes }),
    ];
    prop::collection::vec(item, 1..5)
}

/// The options of a rule with these matchers.
pub fn options(items: &[Item]) -> String {
    let mut text = String::new();
    for item in items {
        let relative = |relative: bool| if relative { ",relative" } else { "" };
        let not = |negated: bool| if negated { "!" } else { "" };
        text.push_str(&match item {
            Item::Content {
                bytes,
                nocase,
                negated,
                place,
                at_end,
            } => {
                let place = match place {
                    Place::Anywhere => String::new(),
                    Place::Start => "startswith;".into(),
                    Place::From { offset, depth } => {
                        let depth = depth.map(|depth| format!("depth:{depth};"));
                        format!("offset:{offset};{}", depth.unwrap_or_default())
                    }
                    Place::Behind { distance, within } => {
                        let within = within.map(|within| format!("within:{within};"));
                        format!("distance:{distance};{}", within.unwrap_or_default())
                    }
                };
                format!(
                    "content:{}\"{}\";{place}{}{}",
                    not(*negated),
                    written(bytes),
                    if *nocase { "nocase;" } else { "" },
                    if *at_end { "endswith;" } else { "" },
                )
            }
            Item::Pcre {
                which,
                relative,
                negated,
            } => format!(
                "pcre:{}\"/{}/s{}\";",
                not(*negated),
                EXPRESSIONS[*which],
                if *relative { "R" } else { "" }
            ),
            Item::IsDataAt {
                at,
                relative: from,
                negated,
            } => format!("isdataat:{}{at}{};", not(*negated), relative(*from)),
            Item::ByteTest {
                offset,
                relative: from,
                above,
            } => format!("byte_test:1,>,{above},{offset}{};", relative(*from)),
            Item::ByteJump {
                offset,
                relative: from,
            } => format!("byte_jump:1,{offset}{};", relative(*from)),
            Item::ByteExtract { offset } => format!("byte_extract:1,{offset},n,relative;"),
            Item::WithinExtracted { bytes } => {
                format!("content:\"{}\";distance:0;within:n;", written(bytes))
            }
        });
    }
    text
}

fn written(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("|{byte:02x}|")).collect()
}

/// Whether the matchers hold over all the bytes.
pub fn holds(items: &[Item], text: &[u8]) -> bool {
    from_here(items, text, 0, None)
}

fn from_here(items: &[Item], text: &[u8], cursor: usize, extracted: Option<u8>) -> bool {
    let Some((item, rest)) = items.split_first() else {
        return true;
    };
    let next = |cursor| from_here(rest, text, cursor, extracted);
    let byte_at = |offset: i64, relative: bool| {
        let place = if relative { cursor as i64 } else { 0 } + offset;
        Some((place as usize, *text.get(usize::try_from(place).ok()?)?))
    };
    match item {
        Item::Content {
            bytes,
            nocase,
            negated,
            place,
            at_end,
        } => {
            let fits = |&start: &usize| {
                let end = start + bytes.len();
                let found = &text[start..end];
                let equal = if *nocase {
                    found.eq_ignore_ascii_case(bytes)
                } else {
                    found == bytes
                };
                equal && lies(*place, cursor, start, end) && (!at_end || end == text.len())
            };
            let mut places = (0..=text.len().saturating_sub(bytes.len()))
                .filter(|start| start + bytes.len() <= text.len())
                .filter(fits);
            match negated {
                true => places.next().is_none() && next(cursor),
                false => places.any(|start| next(start + bytes.len())),
            }
        }
        Item::WithinExtracted { bytes } => (cursor..text.len()).any(|start| {
            let end = start + bytes.len();
            let within = cursor + usize::from(extracted.unwrap_or(0));
            end <= within && text.get(start..end) == Some(bytes) && next(end)
        }),
        Item::Pcre {
            which,
            relative,
            negated,
        } => {
            let whole = Regex::new(&format!(r"(?s-u)\A(?:{})\z", EXPRESSIONS[*which])).unwrap();
            let from = if *relative { cursor } else { 0 };
            let mut ends = (from..=text.len())
                .filter(|&end| (from..=end).any(|start| whole.is_match(&text[start..end])));
            match negated {
                true => ends.next().is_none() && next(cursor),
                false => ends.any(next),
            }
        }
        Item::IsDataAt {
            at,
            relative,
            negated,
        } => {
            let there = match relative {
                true => cursor as i64 + at <= text.len() as i64,
                false => *at < text.len() as i64,
            };
            there != *negated && next(cursor)
        }
        Item::ByteTest {
            offset,
            relative,
            above,
        } => byte_at(*offset, *relative).is_some_and(|(_, byte)| byte > *above) && next(cursor),
        Item::ByteJump { offset, relative } => {
            byte_at(*offset, *relative).is_some_and(|(place, byte)| {
                let to = place + 1 + usize::from(byte);
                to < text.len() && next(to)
            })
        }
        Item::ByteExtract { offset } => byte_at(*offset, true)
            .is_some_and(|(_, byte)| from_here(rest, text, cursor, Some(byte))),
    }
}

fn lies(place: Place, cursor: usize, start: usize, end: usize) -> bool {
    let (start, end) = (start as i64, end as i64);
    let within = |from: i64, length: Option<i64>| {
        start >= from && length.is_none_or(|length| end <= from + length)
    };
    match place {
        Place::Anywhere => true,
        Place::Start => start == 0,
        Place::From { offset, depth } => within(offset, depth),
        Place::Behind {
            distance,
            within: length,
        } => within(cursor as i64 + distance, length),
    }
}
