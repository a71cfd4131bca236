//! What must hold for every rule and all bytes: the same matches however a stream was cut, as a slow
//! and plain reading of all its bytes has them; and the same rules in whatever order buffers come.

#[path = "support/oracle.rs"]
mod oracle;
mod support;

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use regex::bytes::Regex;
use weir_l7::{Buffer, Content, Form};
use weir_sigs::rule::{self, RuleReader};
use weir_sigs::{Hits, Options, RuleSet};
use weir_wire::Direction::ToServer;

use oracle::{Item, bytes, holds, items, options};
use support::Wire;

/// Rules of these chains, numbered by place; those that the language calls impossible are left out.
fn rules(chains: &[Vec<Item>]) -> Arc<RuleSet> {
    let mut reader = RuleReader::new(rule::Options::default());
    for (index, chain) in chains.iter().enumerate() {
        let text = format!(
            "alert tcp-stream any any -> any any ({} sid:{};)\n",
            options(chain),
            index + 1
        );
        reader.read("law", text.as_bytes());
    }
    let (set, refused) = RuleSet::compile(reader.finish().0, &Options::default()).unwrap();
    assert!(
        refused.is_empty() || refused.iter().all(|one| one.why.contains("value")),
        "{refused:?}"
    );
    Arc::new(set)
}

fn fired(set: &Arc<RuleSet>, text: &[u8], cuts: &[usize]) -> Vec<u32> {
    let mut wire = Wire::with(Arc::clone(set));
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    for pair in cuts.windows(2) {
        wire.stream(ToServer, &text[pair[0]..pair[1]]);
    }
    wire.close();
    let mut sids = wire.sids();
    sids.sort_unstable();
    sids.dedup();
    sids
}

/// Texts with a stretch of nothing in them, so that spans begin and end.
fn long_text() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec((bytes(0..30), 0_usize..1_200), 1..6).prop_map(|parts| {
        let mut text = Vec::new();
        for (bytes, gap) in parts {
            text.extend(bytes);
            text.extend(std::iter::repeat_n(b'.', gap));
        }
        text
    })
}

/// Rules of one expression each that begins with one of a few literals, and slow searches for the same.
static LITERAL_EXPRESSIONS: LazyLock<(Arc<RuleSet>, Vec<Regex>)> = LazyLock::new(|| {
    let expressions = [
        "abcd(?:e|f[12])-.{0,900}z",
        "abc[de]f|WXYZ$",
        "^abcde?",
        "ab[de.]cd{2}",
    ];
    let mut text = String::new();
    for (sid, expression) in (1..).zip(expressions) {
        text += &format!(
            "alert tcp-stream any any -> any any (pcre:\"/{expression}/i\"; sid:{sid};)\n"
        );
    }
    let slow = expressions.map(|text| Regex::new(&format!("(?i-u){text}")).unwrap());
    (support::compile(&text), slow.to_vec())
});

/// What fires for buffers that are cut from a head, which is told before them or not.
fn cut_from(set: &Arc<RuleSet>, head: &[u8], cuts: &[(usize, usize)], is_told: bool) -> Vec<u32> {
    let mut wire = Wire::with(Arc::clone(set));
    wire.message(ToServer, 0);
    if is_told {
        wire.buffer(ToServer, Buffer::HttpStart, head);
    }
    for (buffer, (one, other)) in OF_HEAD.into_iter().zip(cuts) {
        let (one, other) = (one % (head.len() + 1), other % (head.len() + 1));
        let cut = &head[one.min(other)..one.max(other)];
        let elsewhere = cut.to_vec();
        wire.buffer(ToServer, buffer, if is_told { cut } else { &elsewhere });
    }
    let mut sids = wire.sids();
    sids.sort_unstable();
    sids
}

const OF_HEAD: [Buffer; 3] = [Buffer::HttpUserAgent, Buffer::HttpUri, Buffer::HttpHeader];

/// Rules of each chain for each of these buffers.
fn rules_of_heads(chains: &[Vec<Item>]) -> Arc<RuleSet> {
    let mut reader = RuleReader::new(rule::Options::default());
    for (index, chain) in chains.iter().enumerate() {
        for (place, buffer) in OF_HEAD.iter().enumerate() {
            let text = format!(
                "alert http any any -> any any (flow:to_server; {}; {} sid:{};)\n",
                buffer.name(),
                options(chain),
                10 * index + place + 1
            );
            reader.read("law", text.as_bytes());
        }
    }
    let (set, _) = RuleSet::compile(reader.finish().0, &Options::default()).unwrap();
    Arc::new(set)
}

/// What of a connection's bytes is a body that came in two chunks.
type Chunks = [std::ops::Range<usize>; 2];

/// Rules of each chain for segments, the stream and the body.
fn rules_of_all(chains: &[Vec<Item>]) -> Arc<RuleSet> {
    let places = [
        ("tcp-pkt", ""),
        ("tcp-stream", ""),
        ("http", "flow:to_server; http.request_body; "),
    ];
    let mut reader = RuleReader::new(rule::Options::default());
    for (index, chain) in chains.iter().enumerate() {
        for (place, (protocol, buffer)) in places.iter().enumerate() {
            let text = format!(
                "alert {protocol} any any -> any any ({buffer}{} sid:{};)\n",
                options(chain),
                10 * index + place + 1
            );
            reader.read("law", text.as_bytes());
        }
    }
    let (set, _) = RuleSet::compile(reader.finish().0, &Options::default()).unwrap();
    Arc::new(set)
}

/// What fires when segments are told with the chunks of a body in them, read ahead or each by itself.
fn told(
    set: &Arc<RuleSet>,
    text: &[u8],
    cuts: &[usize],
    chunks: &Chunks,
    is_ahead: bool,
) -> Vec<u32> {
    let mut wire = Wire::with(Arc::clone(set));
    wire.message(ToServer, 0);
    let mut begun = false;
    let mut body = |wire: &mut Wire<'_>, bytes: &[u8], ends: bool| {
        let content = Content {
            buffer: Buffer::HttpRequestBody,
            stream: 0,
            begins: (!std::mem::replace(&mut begun, true)).then(Form::default),
            bytes,
            ends,
        };
        let (facts, now_us) = (wire.facts, wire.now_us);
        let mut hits = Hits::new();
        wire.scanner
            .buffer(wire.flow, &facts, ToServer, &content, now_us, &mut hits);
        wire.hits.extend(hits.iter().copied());
    };
    for pair in cuts.windows(2) {
        let segment = &text[pair[0]..pair[1]];
        if is_ahead {
            wire.scanner.forget_ahead();
            wire.scanner.ahead(wire.flow, ToServer, segment);
        }
        for chunk in chunks {
            let (from, to) = (chunk.start.max(pair[0]), chunk.end.min(pair[1]));
            if from < to {
                let chunk = &text[from..to];
                let elsewhere = chunk.to_vec();
                body(&mut wire, if is_ahead { chunk } else { &elsewhere }, false);
            }
        }
        wire.stream(ToServer, segment);
        wire.packet(ToServer, &[0; 20], segment);
    }
    body(&mut wire, &[], true);
    wire.close();
    let mut sids = wire.sids();
    sids.sort_unstable();
    sids.dedup();
    sids
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn streams_match_as_all_their_bytes_do(
        chains in prop::collection::vec(items(), 1..8),
        text in bytes(1..40),
        cuts in prop::collection::vec(prop::collection::vec(any::<usize>(), 0..6), 4),
    ) {
        let set = rules(&chains);
        let wanted: Vec<u32> = (1..=chains.len() as u32)
            .filter(|sid| (0..set.len() as u32).any(|index| set.rule(index).unwrap().sid == *sid))
            .filter(|sid| holds(&chains[*sid as usize - 1], &text))
            .collect();
        for cuts in &cuts {
            prop_assert_eq!(
                fired(&set, &text, cuts), &wanted[..], "{:?}", chains.iter().map(|chain| options(chain)).collect::<Vec<_>>()
            );
        }
        let single: Vec<usize> = (0..text.len()).collect();
        prop_assert_eq!(fired(&set, &text, &single), wanted);
    }

    #[test]
    fn long_streams_match_alike_however_they_are_cut(
        chains in prop::collection::vec(items(), 1..8),
        text in long_text(),
        cuts in prop::collection::vec(prop::collection::vec(any::<usize>(), 0..12), 4),
    ) {
        let set = rules(&chains);
        let wanted = fired(&set, &text, &[]);
        for cuts in &cuts {
            prop_assert_eq!(
                fired(&set, &text, cuts), &wanted[..], "{:?}", chains.iter().map(|chain| options(chain)).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn what_is_read_ahead_is_found_as_if_each_was_read_by_itself(
        chains in prop::collection::vec(items(), 1..8),
        text in long_text(),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
        chunks in prop::collection::vec(any::<usize>(), 4),
    ) {
        let set = rules_of_all(&chains);
        let place = |at: &usize| at % (text.len() + 1);
        let mut cuts: Vec<usize> = cuts.iter().map(place).chain([0, text.len()]).collect();
        cuts.sort_unstable();
        let mut ends: Vec<usize> = chunks.iter().map(place).collect();
        ends.sort_unstable();
        let chunks = [ends[0]..ends[1], ends[2]..ends[3]];
        let apart = told(&set, &text, &cuts, &chunks, false);
        prop_assert_eq!(told(&set, &text, &cuts, &chunks, true), &apart[..]);
        // The body is what it would be alone.
        let alone = [text[chunks[0].clone()].to_vec(), text[chunks[1].clone()].to_vec()].concat();
        let of_body = |sids: &[u32]| sids.iter().copied().filter(|sid| sid % 10 == 3).collect::<Vec<_>>();
        let whole = told(&set, &alone, &[0, alone.len()], &[0..alone.len(), 0..0], true);
        prop_assert_eq!(of_body(&whole), of_body(&apart));
    }

    #[test]
    fn what_is_cut_from_a_head_is_found_as_if_each_was_read_by_itself(
        chains in prop::collection::vec(items(), 1..8),
        head in bytes(0..60),
        cuts in prop::collection::vec(any::<(usize, usize)>(), OF_HEAD.len()),
    ) {
        let set = rules_of_heads(&chains);
        prop_assert_eq!(cut_from(&set, &head, &cuts, true), cut_from(&set, &head, &cuts, false));
    }

    #[test]
    fn what_lies_within_a_span_of_a_stream_is_found(
        before in 0_usize..5_000,
        gap in 0_usize..1_000,
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let set = rules(&[vec![
            Item::Content { bytes: b"aAb".to_vec(), nocase: false, negated: false, place: oracle::Place::Anywhere, at_end: false },
            Item::Content { bytes: b"bA".to_vec(), nocase: false, negated: false, place: oracle::Place::Behind { distance: 0, within: None }, at_end: false },
        ]]);
        let text = [vec![b'.'; before], b"aAb".to_vec(), vec![b'.'; gap], b"bA".to_vec()].concat();
        prop_assert_eq!(fired(&set, &text, &cuts), [1]);
    }

    #[test]
    fn expressions_of_literals_are_found_wherever_they_are(
        parts in prop::collection::vec((0_usize..8, 0_usize..900), 1..8),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let texts = ["abcdF1-", "ABCDe-", "z", "abcdf", "abced", "ab.CDD", "wxyz", "abcc"];
        let text: Vec<u8> = parts
            .iter()
            .flat_map(|&(which, gap)| [texts[which].as_bytes().to_vec(), vec![b'.'; gap]].concat())
            .collect();
        let (set, slow) = &*LITERAL_EXPRESSIONS;
        let wanted: Vec<u32> = (1..).zip(slow).filter(|(_, slow)| slow.is_match(&text)).map(|(sid, _)| sid).collect();
        prop_assert_eq!(fired(set, &text, &cuts), wanted);
    }

    #[test]
    fn buffers_complete_a_rule_in_any_order(
        chosen in prop::collection::vec((0_usize..5, any::<bool>()), 1..5),
        order in Just(vec![0_usize, 1, 2, 3, 4]).prop_shuffle(),
        texts in prop::collection::vec(prop::sample::select(vec!["x", "xy", "y", ""]), 5),
        in_pieces in any::<bool>(),
    ) {
        let buffers = [
            Buffer::HttpMethod, Buffer::HttpUri, Buffer::HttpHost, Buffer::HttpUserAgent, Buffer::HttpRequestBody,
        ];
        let options: String = chosen
            .iter()
            .map(|(buffer, negated)| {
                let not = if *negated { "!" } else { "" };
                format!("{}; content:{not}\"x\"; ", buffers[*buffer].name())
            })
            .collect();
        // A buffer that does not come holds nothing, not even the absence of something.
        let wanted = chosen.iter().all(|(buffer, negated)| texts[*buffer].contains('x') != *negated);
        let text = format!("alert http any any -> any any ({options} sid:1;)");
        let mut reader = RuleReader::new(rule::Options::default());
        reader.read("law", text.as_bytes());
        let (read, refused) = reader.finish();
        prop_assume!(refused.is_empty());
        let (set, _) = RuleSet::compile(read, &Options::default()).unwrap();
        let mut wire = Wire::with(Arc::new(set));
        for _ in 0..2 {
            wire.message(ToServer, 0);
            for &index in &order {
                let (buffer, text) = (buffers[index], texts[index].as_bytes());
                let streamed = buffer == Buffer::HttpRequestBody && in_pieces;
                match streamed {
                    true => {
                        let (one, other) = text.split_at(text.len() / 2);
                        wire.pieces(ToServer, buffer, &[one, other, b""])
                    }
                    false => wire.buffer(ToServer, buffer, text),
                };
            }
            let found = wire.sids();
            prop_assert_eq!(!found.is_empty(), wanted, "{}", options);
            prop_assert!(found.len() < 2);
        }
    }
}

/// Trailers may come to lie where a head lay.
#[test]
fn other_bytes_in_the_place_of_a_head_are_not_taken_for_it() {
    let set = support::compile(
        r#"alert http any any -> any any (http.user_agent; content:"other"; sid:1;)"#,
    );
    let mut wire = Wire::with(set);
    let mut head = b"GET / HTTP/1.1\r\nUser-Agent: agent\r\n\r\n".to_vec();
    wire.buffer(ToServer, Buffer::HttpStart, &head).buffer(
        ToServer,
        Buffer::HttpUserAgent,
        &head[28..33],
    );
    assert_eq!(wire.sids(), []);
    head[28..33].copy_from_slice(b"other");
    wire.buffer(ToServer, Buffer::HttpUserAgent, &head[28..33]);
    assert_eq!(wire.sids(), [1]);
}

/// Vectorscan before 5.4.13 overlooks matches near the end of what it is given (AVX-512), most of all
/// with a few short literals and with single expressions.
#[test]
fn nothing_is_overlooked_near_the_end_of_a_piece() {
    let set = support::compile(
        r#"
alert tcp-stream any any -> any any (content:"aA"; sid:1;)
alert tcp-stream any any -> any any (content:"A"; endswith; sid:2;)
alert tcp-pkt any any -> any any (content:"aA"; sid:3;)
alert tcp-pkt any any -> any any (content:"Ax"; sid:4;)
alert tcp-pkt any any -> any any (content:"."; pcre:"/a+A/"; sid:5;)
"#,
    );
    for length in [100, 300, 1_024, 1_460] {
        let mut wire = Wire::with(Arc::clone(&set));
        for at in (0..length - 1).rev().take(130) {
            let mut text = vec![b'.'; length];
            text[at..at + 2].copy_from_slice(b"aA");
            wire.stream(ToServer, &text)
                .packet(ToServer, &[0; 20], &text);
            let mut sids = wire.sids();
            sids.sort_unstable();
            assert_eq!(sids, [1, 3, 5], "{at} of {length}");
        }
    }
}
