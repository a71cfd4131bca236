//! Defragmentation against cutting up and putting together again.

mod common;

use common::{Random, packet};
use proptest::prelude::*;
use weir_flow::{Defragmenter, FragmentLimits, FragmentOutcome};
use weir_wire::{Fragment, Packet, Reason};

const ETHERNET: usize = 14;

/// A frame's bytes and what decode says of them.
#[derive(Clone)]
struct Piece {
    frame: Vec<u8>,
    packet: Packet,
}

fn checksum(header: &[u8]) -> u16 {
    let mut sum: u32 = header
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !sum as u16
}

fn ipv4_header(id: u16, options: usize, total: usize, flags_and_offset: u16) -> Vec<u8> {
    let mut header = vec![
        0x45 + (options / 4) as u8,
        0,
        (total >> 8) as u8,
        total as u8,
    ];
    header.extend_from_slice(&id.to_be_bytes());
    header.extend_from_slice(&flags_and_offset.to_be_bytes());
    header.extend_from_slice(&[64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    header.extend(std::iter::repeat_n(1, options));
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

fn ipv4(id: u16, options: usize, payload: &[u8], offset: usize, more: bool) -> Piece {
    let field = (offset / 8) as u16 | if more { 0x2000 } else { 0 };
    let header = ipv4_header(id, options, 20 + options + payload.len(), field);
    piece(
        header,
        payload,
        Fragment {
            id: u32::from(id),
            offset: offset as u16,
            more,
        },
        true,
    )
}

/// With a hop-by-hop header before the fragment header, as long as `options` says (0: none).
fn ipv6_header(id: u32, options: usize, payload: usize, fragment: Option<u16>) -> Vec<u8> {
    let next_of_last = if fragment.is_some() { 44 } else { 17 };
    let length = options + payload + if fragment.is_some() { 8 } else { 0 };
    let mut header = vec![0x60, 0, 0, 0, (length >> 8) as u8, length as u8];
    header.extend_from_slice(&[if options > 0 { 0 } else { next_of_last }, 64]);
    header.extend_from_slice(&[0xfd; 16]);
    header.extend_from_slice(&[0xfe; 16]);
    if options > 0 {
        header.extend_from_slice(&[next_of_last, (options / 8 - 1) as u8]);
        header.extend(std::iter::repeat_n(0, options - 2));
    }
    if let Some(field) = fragment {
        header.extend_from_slice(&[17, 0]);
        header.extend_from_slice(&field.to_be_bytes());
        header.extend_from_slice(&id.to_be_bytes());
    }
    header
}

fn ipv6(id: u32, options: usize, payload: &[u8], offset: usize, more: bool) -> Piece {
    let header = ipv6_header(
        id,
        options,
        payload.len(),
        Some(offset as u16 | u16::from(more)),
    );
    piece(
        header,
        payload,
        Fragment {
            id,
            offset: offset as u16,
            more,
        },
        false,
    )
}

fn piece(header: Vec<u8>, payload: &[u8], fragment: Fragment, is_ipv4: bool) -> Piece {
    let mut frame = vec![0; ETHERNET];
    frame.extend_from_slice(&header);
    frame.extend_from_slice(payload);
    let payload_end = frame.len() as u32;
    frame.extend_from_slice(&[0xee; 7]); // padding that is not the datagram's
    let transport_offset = (ETHERNET + header.len()) as u32;
    let packet = Packet {
        protocol: 17,
        is_ipv4,
        fragment: Some(fragment),
        network_offset: ETHERNET as u32,
        transport_offset,
        payload_offset: transport_offset,
        payload_end,
        ..packet()
    };
    Piece { frame, packet }
}

fn content(length: usize, salt: u64) -> Vec<u8> {
    (0..length as u64)
        .map(|at| (at.wrapping_mul(0x9e37_79b9).wrapping_add(salt) >> 7) as u8)
        .collect()
}

fn defragmenter() -> Defragmenter<u32> {
    Defragmenter::new(FragmentLimits::default(), [5, 6])
}

fn give(
    defragmenter: &mut Defragmenter<u32>,
    handle: u32,
    piece: &Piece,
) -> (FragmentOutcome, Vec<u32>) {
    let outcome = defragmenter.fragment(handle, &piece.frame, &piece.packet, 9, 0);
    let mut taken = Vec::new();
    defragmenter.take_fragments(|handle| taken.push(handle));
    (outcome, taken)
}

/// Cuts a payload at random multiples of eight.
fn cut(random: &mut Random, length: usize) -> Vec<(usize, usize)> {
    let mut cuts = vec![0];
    while let Some(&at) = cuts.last()
        && at < length
    {
        let step = (length / 40 / 8 + 1 + random.below(length as u64 / 60 + 3) as usize) * 8;
        cuts.push((at + step).min(length));
    }
    cuts.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_was_cut_comes_together(seed: u64, count in 1usize..8, is_ipv4: bool, options in 0usize..3) {
        let mut random = Random::new(seed);
        let options = options * 8;
        let mut payloads = Vec::new();
        let mut pieces = Vec::new();
        for datagram in 0..count {
            let longest = if random.chance(20) { 65_400 } else { 6_000 };
            let payload = content(9 + random.below(longest) as usize, seed ^ datagram as u64);
            for (start, end) in cut(&mut random, payload.len()) {
                let more = end < payload.len();
                // Only the first fragment's options count.
                let options = if start == 0 { options } else { 0 };
                let make = if is_ipv4 {
                    ipv4(datagram as u16, options, &payload[start..end], start, more)
                } else {
                    ipv6(datagram as u32, options, &payload[start..end], start, more)
                };
                pieces.push((datagram, make));
            }
            payloads.push(payload);
        }
        for index in (1..pieces.len()).rev() {
            pieces.swap(index, random.below(index as u64 + 1) as usize);
        }
        let mut table = defragmenter();
        let mut complete = 0;
        let mut waiting: Vec<Vec<u32>> = vec![Vec::new(); count];
        for (handle, (datagram, piece)) in pieces.iter().enumerate() {
            let (outcome, taken) = give(&mut table, handle as u32, piece);
            waiting[*datagram].push(handle as u32);
            match outcome {
                FragmentOutcome::Held => {
                    prop_assert!(taken.is_empty());
                    if random.chance(10) {
                        let repeated = give(&mut table, 9_999, piece);
                        prop_assert_eq!(repeated, (FragmentOutcome::Drop(Reason::FragmentRepeated), vec![9_999]));
                    }
                }
                FragmentOutcome::Complete => {
                    complete += 1;
                    prop_assert_eq!(&taken, &waiting[*datagram]);
                    let payload = &payloads[*datagram];
                    let mut expected = if is_ipv4 {
                        ipv4_header(*datagram as u16, options, 20 + options + payload.len(), 0)
                    } else {
                        ipv6_header(*datagram as u32, options, payload.len(), None)
                    };
                    expected.extend_from_slice(payload);
                    prop_assert!(table.datagram() == expected);
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert_eq!(complete, count);
        prop_assert_eq!(table.held(), 0);
    }

    /// Whatever comes: as many handles go in as come out or are held, and nobody is completed by
    /// overlapping fragments.
    #[test]
    fn nothing_is_lost_and_overlaps_never_complete(
        parts in prop::collection::vec((0u16..3, 0usize..24, 1usize..5, any::<bool>()), 1..200),
        datagrams in 1usize..4,
    ) {
        let limits = FragmentLimits { datagrams, bytes: 0, ..FragmentLimits::default() };
        let mut table: Defragmenter<u32> = Defragmenter::new(limits, [1, 2]);
        let (mut given, mut back) = (0, Vec::new());
        for (id, start, length, more) in parts {
            let payload = vec![id as u8; length * 8];
            let piece = ipv4(id, 0, &payload, start * 8, more);
            given += 1;
            let outcome = table.fragment(given, &piece.frame, &piece.packet, 0, u64::from(given));
            if outcome == FragmentOutcome::Complete {
                let bytes = &table.datagram()[20..];
                prop_assert!(bytes.iter().all(|&byte| byte == id as u8));
            }
            let before = back.len();
            table.take_fragments(|handle| back.push(handle));
            prop_assert_eq!(outcome == FragmentOutcome::Held, back.len() == before);
            table.take_evicted(|handle| back.push(handle));
            prop_assert_eq!(back.len() + table.held(), given as usize);
        }
        table.expire(u64::MAX, |handle| back.push(handle));
        prop_assert_eq!(table.held(), 0);
        back.sort_unstable();
        prop_assert_eq!(back, (1..=given).collect::<Vec<u32>>());
    }
}

#[test]
fn a_repetition_with_other_bytes_is_told_apart() {
    let mut table = defragmenter();
    let first = |byte| ipv4(1, 0, &[byte; 16], 0, true);
    assert_eq!(give(&mut table, 1, &first(1)).0, FragmentOutcome::Held);
    for (byte, reason) in [(1, Reason::FragmentRepeated), (2, Reason::FragmentOverlap)] {
        assert_eq!(
            give(&mut table, 2, &first(byte)),
            (FragmentOutcome::Drop(reason), vec![2])
        );
    }
}

#[test]
fn an_overlap_gives_the_datagram_up_until_its_time_is_over() {
    for make in [
        ipv4 as fn(u16, usize, &[u8], usize, bool) -> Piece,
        |id, options, payload, offset, more| ipv6(u32::from(id), options, payload, offset, more),
    ] {
        let mut table = defragmenter();
        assert_eq!(
            give(&mut table, 1, &make(1, 0, &[1; 16], 0, true)).0,
            FragmentOutcome::Held
        );
        let overlap = make(1, 0, &[2; 16], 8, false);
        assert_eq!(
            give(&mut table, 2, &overlap),
            (FragmentOutcome::GiveUp(Reason::FragmentOverlap), vec![1, 2])
        );
        let honest = make(1, 0, &[1; 8], 16, false);
        assert_eq!(
            give(&mut table, 3, &honest),
            (FragmentOutcome::Drop(Reason::FragmentOverlap), vec![3])
        );
        assert_eq!(table.held(), 0);
        table.expire(10_000_000, |_| panic!("nothing is held"));
        assert_eq!(
            give(&mut table, 4, &make(1, 0, &[1; 16], 0, true)).0,
            FragmentOutcome::Held
        );
        assert_eq!(
            give(&mut table, 5, &honest),
            (FragmentOutcome::Complete, vec![4, 5])
        );
    }
}

#[test]
fn contradictions_about_the_end_give_the_datagram_up() {
    let stories: [&[(usize, usize, bool)]; 4] = [
        &[(16, 8, false), (24, 8, true)],
        &[(16, 8, false), (32, 8, false)],
        &[(16, 8, true), (8, 8, false)],
        &[(8, 16, false), (24, 8, false)],
    ];
    for story in stories {
        let mut table = defragmenter();
        let mut last = FragmentOutcome::Held;
        for &(start, length, more) in story {
            last = give(&mut table, 0, &ipv4(1, 0, &vec![0; length], start, more)).0;
        }
        assert_eq!(
            last,
            FragmentOutcome::GiveUp(Reason::FragmentMalformed),
            "{story:?}"
        );
    }
    // The same place, but one says it is the last.
    let mut table = defragmenter();
    give(&mut table, 0, &ipv4(1, 0, &[0; 8], 8, true));
    let (outcome, _) = give(&mut table, 1, &ipv4(1, 0, &[0; 8], 8, false));
    assert_eq!(outcome, FragmentOutcome::GiveUp(Reason::FragmentOverlap));
}

#[test]
fn impossible_fragments_leave_no_trace() {
    let mut table = defragmenter();
    let empty = ipv4(1, 0, &[], 8, true);
    assert_eq!(
        give(&mut table, 1, &empty),
        (FragmentOutcome::Drop(Reason::FragmentMalformed), vec![1])
    );
    let uneven = ipv4(1, 0, &[0; 9], 8, true);
    assert_eq!(
        give(&mut table, 2, &uneven),
        (FragmentOutcome::Drop(Reason::FragmentMalformed), vec![2])
    );
    let death = ipv4(1, 0, &[0; 1_400], 65_528, false);
    assert_eq!(
        give(&mut table, 3, &death),
        (FragmentOutcome::Drop(Reason::FragmentTooBig), vec![3])
    );
    let beyond = Piece {
        packet: Packet {
            payload_end: 9_999,
            ..uneven.packet
        },
        ..uneven
    };
    assert_eq!(
        give(&mut table, 4, &beyond),
        (FragmentOutcome::Drop(Reason::FragmentMalformed), vec![4])
    );
    assert_eq!(table.held(), 0);
}

#[test]
fn a_datagram_too_big_with_its_header_is_given_up() {
    let mut table = defragmenter();
    let mut start = 0;
    while start + 8_000 < 65_520 {
        assert_eq!(
            give(&mut table, 1, &ipv4(1, 0, &[0; 8_000], start, true)).0,
            FragmentOutcome::Held
        );
        start += 8_000;
    }
    let (outcome, taken) = give(
        &mut table,
        2,
        &ipv4(1, 0, &vec![0; 65_534 - start], start, false),
    );
    assert_eq!(outcome, FragmentOutcome::GiveUp(Reason::FragmentTooBig));
    assert_eq!(taken.len(), 9);
}

#[test]
fn an_atomic_fragment_stands_for_itself() {
    let mut table = defragmenter();
    assert_eq!(
        give(&mut table, 1, &ipv6(1, 0, &[1; 16], 0, true)).0,
        FragmentOutcome::Held
    );
    assert_eq!(
        give(&mut table, 2, &ipv6(1, 0, &[2; 11], 0, false)),
        (FragmentOutcome::Complete, vec![2])
    );
    let mut expected = ipv6_header(1, 0, 11, None);
    expected.extend_from_slice(&[2; 11]);
    assert_eq!(table.datagram(), expected);
    assert_eq!(
        give(&mut table, 3, &ipv6(1, 0, &[1; 3], 16, false)),
        (FragmentOutcome::Complete, vec![1, 3])
    );
}

#[test]
fn too_many_fragments_give_the_datagram_up() {
    let mut table = defragmenter();
    for n in 0..64 {
        assert_eq!(
            give(&mut table, n, &ipv4(1, 0, &[0; 8], n as usize * 16, true)).0,
            FragmentOutcome::Held
        );
    }
    let (outcome, taken) = give(&mut table, 64, &ipv4(1, 0, &[0; 8], 8, true));
    assert_eq!(outcome, FragmentOutcome::GiveUp(Reason::FragmentLimit));
    assert_eq!(taken, (0..=64).collect::<Vec<u32>>());
}

#[test]
fn the_oldest_datagram_gives_way_to_a_flood_and_memory_stays() {
    let limits = FragmentLimits {
        datagrams: 100,
        bytes: 1 << 20,
        ..FragmentLimits::default()
    };
    let mut table: Defragmenter<u32> = Defragmenter::new(limits, [1, 2]);
    let mut back = 0;
    for n in 0..5_000u32 {
        let piece = ipv4(n as u16, 0, &[0; 8], 8, true);
        assert_eq!(
            table.fragment(n, &piece.frame, &piece.packet, n, 0),
            FragmentOutcome::Held
        );
        if n % 64 == 0 {
            table.take_evicted(|_| back += 1);
        }
        // An honest datagram passes in the midst of it.
        let (first, second) = (ipv4(7, 0, &[1; 8], 0, true), ipv4(7, 0, &[1; 8], 8, false));
        assert_eq!(
            table.fragment(n, &first.frame, &first.packet, 0xffff_ffff, 0),
            FragmentOutcome::Held
        );
        assert_eq!(
            table.fragment(n, &second.frame, &second.packet, 0xffff_ffff, 0),
            FragmentOutcome::Complete
        );
        table.take_fragments(|_| ());
    }
    table.take_evicted(|_| back += 1);
    assert_eq!(table.evicted(), back);
    assert!(back >= 4_900 && table.held() <= 100);
    let mut rest = 0u64;
    table.drain_all(|_| rest += 1);
    assert_eq!(rest + back, 5_000);
}

#[test]
fn a_flood_whose_fragments_nobody_takes_back_is_refused_not_hoarded() {
    let limits = FragmentLimits {
        datagrams: 1,
        bytes: 0,
        ..FragmentLimits::default()
    };
    let mut table: Defragmenter<u32> = Defragmenter::new(limits, [1, 2]);
    let mut refused = 0;
    for n in 0..6_000u32 {
        let piece = ipv4(n as u16, 0, &[0; 8], 8, true);
        refused += u32::from(
            table.fragment(n, &piece.frame, &piece.packet, 0, 0)
                == FragmentOutcome::Drop(Reason::FragmentLimit),
        );
        table.take_fragments(|_| ());
    }
    assert_eq!(refused, 6_000 - 1 - 64 * 64);
}

#[test]
fn zones_protocols_and_identifications_stay_apart() {
    let mut table = defragmenter();
    let first = ipv4(1, 0, &[1; 8], 0, true);
    let last = ipv4(1, 0, &[2; 8], 8, false);
    table.fragment(1, &first.frame, &first.packet, 1, 0);
    assert_eq!(
        table.fragment(2, &last.frame, &last.packet, 2, 0),
        FragmentOutcome::Held
    );
    let other = Packet {
        protocol: 6,
        ..last.packet
    };
    assert_eq!(
        table.fragment(3, &last.frame, &other, 1, 0),
        FragmentOutcome::Held
    );
    assert_eq!(table.held(), 3);
    let mut late = Vec::new();
    table.expire(9_999_999, |handle| late.push(handle));
    assert!(late.is_empty());
    table.expire(10_000_000, |handle| late.push(handle));
    assert_eq!(late, [1, 2, 3]);
}

#[test]
fn when_the_bytes_are_used_up_the_oldest_datagram_gives_way() {
    // Room for one datagram of the largest size, no more.
    let limits = FragmentLimits {
        bytes: 0,
        ..FragmentLimits::default()
    };
    let mut table: Defragmenter<u32> = Defragmenter::new(limits, [1, 2]);
    let payload = content(60_000, 3);
    let mut evicted = Vec::new();
    for id in 0..3u32 {
        let halves = [(0, 32_000), (32_000, 60_000)];
        // The first two stay incomplete.
        for (part, (start, end)) in halves
            .into_iter()
            .enumerate()
            .take(if id == 2 { 2 } else { 1 })
        {
            let piece = ipv4(id as u16, 0, &payload[start..end], start, part == 0);
            let outcome = table.fragment(id, &piece.frame, &piece.packet, 0, u64::from(id));
            let complete = id == 2 && part == 1;
            assert_eq!(
                outcome == FragmentOutcome::Complete,
                complete,
                "{outcome:?}"
            );
            table.take_evicted(|handle| evicted.push(handle));
        }
    }
    assert_eq!(evicted, [0, 1]);
    assert_eq!(&table.datagram()[20..], payload);
}
