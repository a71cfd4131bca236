//! Whatever comes in, in whatever order: every frame is accounted for at every moment (the bench
//! asks after each step), what does not block drops nothing, and a tap sends nothing.

use std::sync::Arc;

use proptest::prelude::*;
use weir_node::handover::Ownership;
use weir_policy::Snapshot;
use weir_policy::spec::Mode;

use crate::common::bench::{inline, small_limits, tap};
use crate::common::frames::{self, Segment, WRAPS, Wrap, wrapped};
use crate::common::hosts::*;
use crate::common::{Bench, Shop, content::*};

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Burst(Vec<(u8, Vec<u8>)>),
    Wait(u64),
    Install(Mode, u8),
}

fn host() -> impl Strategy<Value = Host> {
    prop::sample::select(vec![AI_MODEL, PHOTO_DB, FRONTEND, RESOLVER, STRANGER])
}

fn family() -> impl Strategy<Value = Family> {
    prop::sample::select(BOTH.to_vec())
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(vec![]),
        Just(mysql_greeting()),
        Just(mysql_login(false)),
        Just(http_get("/api/1")),
        Just(http_ok("a photo")),
        Just(REDIS.to_vec()),
        Just(dns_query("api.example.com")),
        Just(dns_answer(
            "api.example.com",
            STRANGER.address(Family::V4),
            1
        )),
        prop::collection::vec(any::<u8>(), 0..200),
    ]
}

/// Few ports and near sequence numbers, so that packets meet in flows.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    let port = || prop::sample::select(vec![53_u16, 3306, 5000, 40_000, 40_001]);
    let flags = prop_oneof![
        4 => Just(frames::ACK),
        2 => Just(frames::SYN),
        2 => Just(frames::SYN | frames::ACK),
        1 => any::<u8>(),
    ];
    let tcp = (flags, 0_u32..1000, 0_u32..1000);
    (
        (family(), host(), host(), port(), port()),
        content(),
        prop_oneof![
            4 => tcp.prop_map(Some),
            2 => Just(None),
        ],
        any::<Option<u8>>(),
    )
        .prop_map(
            |((family, from, to, source, destination), payload, tcp, other)| {
                let ends = (from.port(family, source), to.port(family, destination));
                match (tcp, other) {
                    (Some((flags, sequence, acknowledgement)), _) => frames::tcp(
                        ends.0,
                        ends.1,
                        &Segment {
                            flags,
                            sequence,
                            acknowledgement,
                            payload: &payload,
                        },
                    ),
                    (None, Some(0)) => {
                        frames::echo_request(from.address(family), to.address(family), source)
                    }
                    (None, Some(number)) if number < 32 => frames::protocol(
                        from.address(family),
                        to.address(family),
                        number * 8,
                        &payload,
                    ),
                    (None, _) => frames::udp(ends.0, ends.1, &payload),
                }
            },
        )
}

/// One frame or the fragments of one, wrapped, perhaps damaged.
fn frames_of_one() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let damage = prop_oneof![
        6 => Just(None),
        1 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(Some),
    ];
    let cuts = prop_oneof![
        3 => Just(vec![]),
        1 => prop::collection::btree_set(1_usize..16, 1..4)
            .prop_map(|cuts| cuts.into_iter().map(|cut| cut * 8).collect::<Vec<_>>()),
    ];
    let wrap = prop_oneof![
        3 => Just(Wrap::None),
        1 => prop::sample::select(WRAPS.to_vec()),
    ];
    let truncation = prop_oneof![6 => Just(None), 1 => any::<prop::sample::Index>().prop_map(Some)];
    let whole = (
        packet(),
        cuts,
        wrap,
        damage,
        truncation,
        0_u16..4,
        any::<u8>(),
    )
        .prop_map(
            |(packet, cuts, wrap, damage, truncation, identification, lost)| {
                let mut pieces = match cuts.is_empty() {
                    true => vec![packet],
                    false => frames::fragments(&packet, &cuts, identification),
                };
                if lost % 4 == 0 && pieces.len() > 1 {
                    pieces.remove(usize::from(lost / 4) % pieces.len());
                }
                for piece in &mut pieces {
                    *piece = wrapped(piece, wrap);
                    if let Some((at, byte)) = &damage {
                        let at = at.index(piece.len());
                        piece[at] = *byte;
                    }
                    if let Some(end) = &truncation {
                        piece.truncate(end.index(piece.len()));
                    }
                }
                pieces
            },
        );
    prop_oneof![
        8 => whole,
        1 => Just(vec![frames::arp_request()]),
        1 => (any::<u16>(), content())
            .prop_map(|(kind, payload)| vec![frames::link(kind, &payload)]),
        1 => prop::collection::vec(any::<u8>(), 0..100).prop_map(|bytes| vec![bytes]),
    ]
}

fn burst() -> impl Strategy<Value = Step> {
    prop::collection::vec((0_u8..2, frames_of_one()), 1..24)
        .prop_shuffle()
        .prop_map(|frames| {
            let frames = frames
                .into_iter()
                .flat_map(|(port, pieces)| pieces.into_iter().map(move |piece| (port, piece)));
            Step::Burst(frames.collect())
        })
}

fn steps(modes: &[Mode]) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => burst(),
        2 => (0_u64..15_000).prop_map(Step::Wait),
        1 => (prop::sample::select(modes.to_vec()), any::<u8>())
            .prop_map(|(mode, kind)| Step::Install(mode, kind)),
    ];
    prop::collection::vec(step, 1..12)
}

fn policy(mode: Mode, kind: u8) -> Arc<Snapshot> {
    let story = Shop::story(mode);
    let policy = match kind % 5 {
        0 => story,
        1 => story.hold(1000),
        2 => story.silent().know_stranger(RESOLVER.identity()),
        3 => Shop::new(mode)
            .allow(AI_MODEL.identity(), FRONTEND.identity(), "http", 5000)
            .when("http.path", "/admin"),
        _ => story.allow_any(AI_MODEL.identity(), PHOTO_DB.identity()),
    };
    policy.build()
}

fn play(bench: &mut Bench, steps: &[Step]) -> Vec<(u8, Vec<u8>)> {
    let mut left = Vec::new();
    for step in steps {
        match step {
            Step::Burst(frames) => left.extend(bench.send_all(frames).0),
            Step::Wait(milliseconds) => left.extend(bench.wait(*milliseconds).0),
            Step::Install(mode, kind) => bench.install(&policy(*mode, *kind)),
        }
        bench.events();
    }
    // Longer than anything is held.
    for _ in 0..20 {
        left.extend(bench.wait(1000).0);
    }
    left
}

fn came(steps: &[Step]) -> Vec<(u8, Vec<u8>)> {
    let bursts = steps.iter().filter_map(|step| match step {
        Step::Burst(frames) => Some(frames),
        _ => None,
    });
    bursts.flatten().cloned().collect()
}

const ALL: [Mode; 3] = [Mode::Discover, Mode::Monitor, Mode::Protect];
const SEEING: [Mode; 2] = [Mode::Discover, Mode::Monitor];

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_frame_is_accounted_for(steps in steps(&ALL), mode in prop::sample::select(ALL.to_vec())) {
        let mut bench = Bench::new(&policy(mode, 1));
        play(&mut bench, &steps);
        prop_assert_eq!(bench.path.held(), 0);
    }

    #[test]
    fn what_only_sees_drops_nothing(steps in steps(&SEEING)) {
        let mut bench = Bench::new(&policy(Mode::Discover, 0));
        let mut left = play(&mut bench, &steps);
        let mut expected: Vec<_> = came(&steps)
            .into_iter()
            .map(|(port, frame)| (1 - port, frame))
            .collect();
        left.sort();
        expected.sort();
        prop_assert_eq!(left, expected);
        prop_assert_eq!(bench.path.counts().dropped_total(), 0);
        prop_assert_eq!(bench.path.counts().injected, 0);
    }

    #[test]
    fn a_tap_never_sends(steps in steps(&ALL)) {
        let mut bench = Bench::with(tap(), small_limits(), Ownership::alone());
        let left = play(&mut bench, &steps);
        prop_assert!(left.is_empty());
        let counts = bench.path.counts();
        prop_assert_eq!(counts.tapped, came(&steps).len() as u64);
        prop_assert_eq!(counts.injected, 0);
    }

    #[test]
    fn what_passes_is_what_came(steps in steps(&ALL)) {
        let mut bench = Bench::with(inline(true), small_limits(), Ownership::alone());
        let left = play(&mut bench, &steps);
        let mut came = came(&steps);
        // Each frame leaves at most once, and nothing else does but resets.
        let mut own = 0;
        for (port, frame) in left {
            match came.iter().position(|known| *known == (1 - port, frame.clone())) {
                Some(place) => drop(came.swap_remove(place)),
                None => own += 1,
            }
        }
        prop_assert_eq!(own, bench.path.counts().injected);
    }
}
