//! The short way of settled flows, and that packets cost no allocation.

use proptest::prelude::*;
use weir_node::counters::Stage;
use weir_node::io::memory::MemoryFrame;
use weir_node::path::Arrived;
use weir_policy::spec::Mode;

use crate::common::bench::{CLIENTS, SERVERS, Sent};
use crate::common::frames::{ACK, FIN, RST, SYN};
use crate::common::hosts::*;
use crate::common::{Bench, Shop, Talk, content::*};

fn any(host: Host) -> Shop {
    Shop::new(Mode::Protect).allow_any(AI_MODEL.identity(), host.identity())
}

/// A connection that says nothing known, and a way to go on: an exchange as frames.
fn settled(bench: &mut Bench) -> Talk {
    settled_from(bench, Family::V4, 40_000)
}

fn settled_from(bench: &mut Bench, family: Family, port: u16) -> Talk {
    let mut talk = Talk::new(AI_MODEL.port(family, port), PHOTO_DB.port(family, 9999));
    assert!(talk.open(bench));
    for _ in 0..4 {
        assert!(talk.client_passes(bench, &[0x99; 600]));
        assert!(talk.server_passes(bench, &[0x98; 600]));
    }
    talk
}

/// A request and its answer, each acknowledged, as four frames.
fn exchange(talk: &mut Talk, request: &[u8], answer: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let asks = talk.of_client(ACK, talk.client_next, request);
    talk.client_next = talk.client_next.wrapping_add(request.len() as u32);
    let heard = talk.of_server(ACK, talk.server_next, b"");
    let answers = talk.of_server(ACK, talk.server_next, answer);
    talk.server_next = talk.server_next.wrapping_add(answer.len() as u32);
    let thanks = talk.of_client(ACK, talk.client_next, b"");
    vec![
        (CLIENTS, asks),
        (SERVERS, heard),
        (SERVERS, answers),
        (CLIENTS, thanks),
    ]
}

/// Allocations while so many bursts of an exchange go along the way.
fn allocations(bench: &mut Bench, bursts: Vec<Vec<(u8, Vec<u8>)>>) -> u64 {
    let mut bursts: Vec<Vec<_>> = bursts
        .into_iter()
        .map(|burst| {
            let arrive = |(port, frame)| Arrived {
                frame: MemoryFrame(frame),
                port,
                received_us: bench.now_us,
                at_owner: false,
            };
            burst.into_iter().map(arrive).collect()
        })
        .collect();
    let expected: usize = bursts.iter().map(Vec::len).sum();
    let mut left = 0;
    let counted = allocation_counter::measure(|| {
        for burst in &mut bursts {
            bench.now_us += 10;
            bench.path.run(burst, bench.now_us, &mut bench.out);
            bench.path.tick(bench.now_us, &mut bench.out);
            for frames in &mut bench.out.transmit {
                left += frames.len();
                frames.clear();
            }
        }
    });
    assert_eq!(left, expected);
    counted.count_total
}

#[test]
fn a_settled_flow_meets_no_stage_behind_track() {
    let mut bench = Bench::new(&any(PHOTO_DB).build());
    let mut talk = settled(&mut bench);
    let before = bench.path.stages().clone();
    for _ in 0..10 {
        assert!(talk.client_passes(&mut bench, &[0x99; 600]));
        assert!(talk.server_passes(&mut bench, &[0x98; 600]));
    }
    let after = bench.path.stages();
    let passed = |stage: Stage| after.packets[stage as usize] - before.packets[stage as usize];
    assert_eq!(passed(Stage::Track), 40);
    assert_eq!(passed(Stage::Transmit), 40);
    for stage in [
        Stage::Reassemble,
        Stage::Identify,
        Stage::Parse,
        Stage::Scan,
        Stage::Decide,
    ] {
        assert_eq!(passed(stage), 0, "{stage:?}");
    }
    assert_eq!(bench.gauge("reassembly_bytes"), 0);
}

#[test]
fn a_policy_change_takes_it_off_the_short_way() {
    let mut bench = Bench::new(&any(PHOTO_DB).build());
    let mut talk = settled(&mut bench);
    bench.install(&Shop::story(Mode::Protect).build());
    let sent = talk.client_says(&mut bench, &[0x99; 600]);
    assert!(talk.is_reset_at_both_ends(&sent), "{sent:?}");
}

#[test]
fn nothing_is_allocated_for_packets_of_a_settled_flow() {
    let mut bench = Bench::new(&any(PHOTO_DB).build());
    let mut talk = settled(&mut bench);
    let bursts = (0..1100)
        .map(|_| {
            (0..8)
                .flat_map(|_| exchange(&mut talk, &[0x99; 400], &[0x98; 400]))
                .collect()
        })
        .collect::<Vec<Vec<_>>>();
    let (warm, measured) = bursts.split_at(100);
    allocations(&mut bench, warm.to_vec());
    assert_eq!(allocations(&mut bench, measured.to_vec()), 0);
}

#[test]
fn nothing_is_allocated_for_requests_that_are_judged() {
    let policy = Shop::new(Mode::Protect)
        .allow(AI_MODEL.identity(), FRONTEND.identity(), "http", 5000)
        .when("http.path", "/api/");
    let mut bench = Bench::new(&policy.build());
    let mut talk = Talk::new(
        AI_MODEL.port(Family::V6, 40_000),
        FRONTEND.port(Family::V6, 5000),
    );
    assert!(talk.open(&mut bench));
    let (request, answer) = (http_get("/api/1"), http_ok("a photo"));
    let bursts = (0..1100)
        .map(|_| {
            (0..4)
                .flat_map(|_| exchange(&mut talk, &request, &answer))
                .collect()
        })
        .collect::<Vec<Vec<_>>>();
    let (warm, measured) = bursts.split_at(100);
    allocations(&mut bench, warm.to_vec());
    assert_eq!(allocations(&mut bench, measured.to_vec()), 0);
}

#[test]
fn nothing_is_allocated_for_what_is_denied_or_in_fragments() {
    use crate::common::frames;
    let mut bench = Bench::new(&Shop::story(Mode::Protect).silent().build());
    let (client, server) = (
        AI_MODEL.port(Family::V4, 5353),
        RESOLVER.port(Family::V4, 53),
    );
    let round = |identification: u16| {
        let denied = Talk::new(
            FRONTEND.port(Family::V4, 1000 + identification % 500),
            PHOTO_DB.port(Family::V4, 3306),
        );
        let query = frames::udp(client, server, &dns_query("a.example.com"));
        let mut burst = vec![(CLIENTS, denied.syn())];
        let pieces = frames::fragments(&query, &[16], identification);
        burst.extend(pieces.into_iter().map(|piece| (CLIENTS, piece)));
        burst
    };
    let send = |bench: &mut Bench, rounds: std::ops::Range<u16>| {
        let mut bursts: Vec<Vec<_>> = rounds
            .map(|identification| {
                let arrive = |(port, frame)| Arrived {
                    frame: MemoryFrame(frame),
                    port,
                    received_us: bench.now_us,
                    at_owner: false,
                };
                round(identification).into_iter().map(arrive).collect()
            })
            .collect();
        allocation_counter::measure(|| {
            for burst in &mut bursts {
                bench.path.run(burst, bench.now_us, &mut bench.out);
                bench.out.transmit.iter_mut().for_each(Vec::clear);
                bench.out.finished.clear();
                while bench.ring.events.pop().is_some() {}
            }
        })
        .count_total
    };
    send(&mut bench, 0..600);
    assert_eq!(send(&mut bench, 600..1600), 0);
}

/// Far more connections than are read at a time settle one after the other, others only begin; what
/// comes then is read all the same.
#[test]
fn a_settled_flow_takes_no_memory_to_read_with() {
    let policy = any(PHOTO_DB)
        .allow(AI_MODEL.identity(), FRONTEND.identity(), "http", 5000)
        .when("http.path", "/api/");
    let mut bench = Bench::new(&policy.build());
    for port in 0..150 {
        settled_from(&mut bench, Family::V4, 40_000 + port);
    }
    for port in 0..80 {
        let client = AI_MODEL.port(Family::V4, 50_000 + port);
        let begun = Talk::new(client, PHOTO_DB.port(Family::V4, 9999));
        let syn = begun.syn();
        assert!(bench.send(CLIENTS, &syn).is_passed(CLIENTS, &syn));
    }
    let (client, server) = (AI_MODEL, FRONTEND.port(Family::V4, 5000));
    let mut talk = Talk::new(client.port(Family::V4, 60_000), server);
    assert!(talk.open(&mut bench));
    assert!(talk.client_passes(&mut bench, &http_get("/api/1")));
    let sent = talk.client_says(&mut bench, &http_get("/secret"));
    assert!(talk.is_reset_at_both_ends(&sent), "{sent:?}");
    assert_eq!(bench.gauge("flows_evicted"), 0);
}

/// What one of some connections does next.
#[derive(Clone, Debug)]
struct Next {
    talk: usize,
    from_client: bool,
    flags: u8,
    /// From where its end has got to.
    off: i32,
    length: usize,
}

fn next() -> impl Strategy<Value = Next> {
    let flags = prop_oneof![
        24 => Just(ACK),
        1 => Just(ACK | FIN),
        1 => Just(RST),
        1 => Just(SYN),
        1 => Just(SYN | ACK),
        1 => Just(0),
    ];
    let off = prop_oneof![12 => Just(0), 1 => -2_000..2_000, 1 => -500_000..500_000];
    (0..4usize, proptest::bool::ANY, flags, off, 0..300usize).prop_map(
        |(talk, from_client, flags, off, length)| Next {
            talk,
            from_client,
            flags,
            off,
            length,
        },
    )
}

impl Next {
    fn frame(&self, talks: &mut [Talk]) -> (u8, Vec<u8>) {
        let talk = &mut talks[self.talk];
        let payload = vec![0x99; self.length];
        let own = match self.from_client {
            true => talk.client_next,
            false => talk.server_next,
        };
        let sequence = own.wrapping_add_signed(self.off);
        // Were the server to begin anew, which is denied, what is still inspected of the same burst would
        // be judged by that.
        let flags = match self.flags {
            SYN if !self.from_client => ACK,
            flags => flags,
        };
        let goes_on = flags == ACK && self.off == 0;
        let length = if goes_on { self.length as u32 } else { 0 };
        if self.from_client {
            let frame = talk.of_client(flags, sequence, &payload);
            talk.client_next = own.wrapping_add(length);
            (CLIENTS, frame)
        } else {
            let frame = talk.of_server(flags, sequence, &payload);
            talk.server_next = own.wrapping_add(length);
            (SERVERS, frame)
        }
    }
}

/// Three settled connections and one that begins.
fn talks(bench: &mut Bench) -> Vec<Talk> {
    let mut talks = vec![
        settled_from(bench, Family::V4, 40_000),
        settled_from(bench, Family::V6, 40_001),
        settled_from(bench, Family::V4, 40_002),
    ];
    let new = AI_MODEL.port(Family::V4, 40_003);
    talks.push(Talk::new(new, PHOTO_DB.port(Family::V4, 9999)));
    talks
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// However packets that take the short way and such that cannot are mixed in a burst, the same packets
    /// leave by each port in the same order, and the same are dropped for the same reasons, as if each had
    /// come alone. Only resets are left out: those that Weir makes leave behind the burst.
    #[test]
    fn a_burst_is_judged_as_its_packets_are_one_by_one(
        nexts in proptest::collection::vec(next(), 1..80),
        burst in 1..40usize,
    ) {
        let sent = |sent: Sent| {
            let mut left = [const { Vec::new() }; 2];
            for (port, frame) in sent.0 {
                let packet = weir_wire::decode(&frame, &Default::default()).unwrap();
                if packet.tcp.flags & RST == 0 {
                    left[usize::from(port)].push(frame);
                }
            }
            left
        };
        let [mut alone, mut together] = [(); 2].map(|()| Bench::new(&any(PHOTO_DB).build()));
        let mut talks_now = talks(&mut alone);
        talks(&mut together);
        let frames: Vec<_> = nexts.iter().map(|next| next.frame(&mut talks_now)).collect();
        for burst in frames.chunks(burst) {
            let mut expected = [const { Vec::new() }; 2];
            for (port, frame) in burst {
                let left = sent(alone.send(*port, frame));
                for (expected, left) in expected.iter_mut().zip(left) {
                    expected.extend(left);
                }
            }
            prop_assert_eq!(sent(together.send_all(burst)), expected);
            prop_assert_eq!(&alone.path.counts().dropped, &together.path.counts().dropped);
        }
    }
}
