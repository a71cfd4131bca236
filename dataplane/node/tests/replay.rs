//! Captures as others write them: what can be read is read, the rest is said.

use std::io::Write;

use proptest::prelude::*;
use weir_node::io::replay::{Captured, Replay};

const FRAME: &[u8] = &[
    2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1,
];
const SECONDS: u32 = 1_700_000_000;
const ETHERNET: u32 = 1;

/// What a file gives: its packets, and why there are no more.
fn read(file: &[u8]) -> (Vec<Captured>, Option<String>) {
    let mut named = tempfile::NamedTempFile::new().unwrap();
    named.write_all(file).unwrap();
    let mut replay = match Replay::open(named.path()) {
        Ok(replay) => replay,
        Err(error) => return (vec![], Some(error.to_string())),
    };
    let mut packets = Vec::new();
    while let Some(next) = replay.next_packet() {
        match next {
            Ok(packet) => packets.push(packet),
            Err(error) => {
                assert!(replay.next_packet().is_none());
                return (packets, Some(error.to_string()));
            }
        }
    }
    (packets, None)
}

/// Numbers in the byte order of a file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn words(self, words: &[u32]) -> Vec<u8> {
        let word = |word: &u32| match self {
            Self::Little => word.to_le_bytes(),
            Self::Big => word.to_be_bytes(),
        };
        words.iter().flat_map(word).collect()
    }

    fn halves(self, first: u16, second: u16) -> Vec<u8> {
        match self {
            Self::Little => [first.to_le_bytes(), second.to_le_bytes()].concat(),
            Self::Big => [first.to_be_bytes(), second.to_be_bytes()].concat(),
        }
    }

    fn pcap(self, magic: u32, link: u32) -> Vec<u8> {
        let mut file = self.words(&[magic]);
        file.extend(self.halves(2, 4));
        file.extend(self.words(&[0, 0, 65_535, link]));
        file
    }

    fn packet(self, fraction: u32, data: &[u8], original_length: u32) -> Vec<u8> {
        let mut record = self.words(&[SECONDS, fraction, data.len() as u32, original_length]);
        record.extend(data);
        record
    }

    fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let padded = body.len().next_multiple_of(4);
        let length = padded as u32 + 12;
        let mut block = self.words(&[kind, length]);
        block.extend(body);
        block.resize(8 + padded, 0);
        block.extend(self.words(&[length]));
        block
    }

    fn section(self) -> Vec<u8> {
        let mut body = self.words(&[0x1a2b_3c4d]);
        body.extend(self.halves(1, 0));
        body.extend([0xff; 8]);
        self.block(0x0a0d_0d0a, &body)
    }

    fn interface(self, link: u16, resolution: Option<u8>) -> Vec<u8> {
        let mut body = self.halves(link, 0);
        body.extend(self.words(&[0]));
        if let Some(resolution) = resolution {
            body.extend(self.halves(9, 1));
            body.extend([resolution, 0, 0, 0]);
            body.extend([0; 4]);
        }
        self.block(1, &body)
    }

    fn enhanced(self, interface: u32, ticks: u64, data: &[u8]) -> Vec<u8> {
        let length = data.len() as u32;
        let mut body = self.words(&[
            interface,
            (ticks >> 32) as u32,
            ticks as u32,
            length,
            length,
        ]);
        body.extend(data);
        self.block(6, &body)
    }
}

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;

fn at(fraction_us: u64) -> u64 {
    u64::from(SECONDS) * 1_000_000 + fraction_us
}

#[test]
fn pcap_in_both_byte_orders_and_resolutions() {
    for order in [Order::Little, Order::Big] {
        for (magic, fraction) in [(MICROSECONDS, 250_000), (NANOSECONDS, 250_000_999)] {
            let mut file = order.pcap(magic, ETHERNET);
            file.extend(order.packet(fraction, FRAME, FRAME.len() as u32));
            let (packets, error) = read(&file);
            assert_eq!(error, None, "{order:?}");
            assert_eq!(packets.len(), 1);
            assert_eq!(packets[0].frame, FRAME);
            assert_eq!(packets[0].time_us, at(250_000));
        }
    }
}

#[test]
fn lengths_and_fractions_that_others_read_too() {
    let order = Order::Little;
    let mut file = order.pcap(MICROSECONDS, ETHERNET);
    file.extend(order.packet(1, FRAME, 1_000_000));
    // More than a second of microseconds; shorter on the wire than in the file.
    file.extend(order.packet(2_000_000, FRAME, 1));
    // Back in time.
    file.extend(order.packet(0, FRAME, FRAME.len() as u32));
    let (packets, error) = read(&file);
    assert_eq!(error, None);
    let times: Vec<_> = packets.iter().map(|packet| packet.time_us).collect();
    assert_eq!(times, [at(1), at(2_000_000), at(2_000_000)]);
}

#[test]
fn a_capture_that_ends_within_a_packet_gives_those_before() {
    let order = Order::Little;
    let mut pcap = order.pcap(MICROSECONDS, ETHERNET);
    let mut pcapng = [order.section(), order.interface(1, None)].concat();
    for _ in 0..3 {
        pcap.extend(order.packet(0, FRAME, FRAME.len() as u32));
        pcapng.extend(order.enhanced(0, 0, FRAME));
    }
    for file in [pcap, pcapng] {
        for lost in [1, 5, FRAME.len(), FRAME.len() + 7] {
            let (packets, error) = read(&file[..file.len() - lost]);
            assert_eq!(packets.len(), 2, "{lost}");
            let error = error.unwrap();
            assert!(
                error.contains("packet 3: the capture ends within it"),
                "{error}"
            );
        }
        assert_eq!(read(&file).1, None);
    }
}

#[test]
fn pcapng_with_all_its_blocks() {
    for order in [Order::Little, Order::Big] {
        let mut file = [
            order.section(),
            order.interface(1, Some(9)),
            order.interface(1, Some(0x80 | 10)),
            order.block(4, &[0; 4]),
            order.enhanced(0, at(7) * 1000, FRAME),
            // Of 1024 ticks a second.
            order.enhanced(1, u64::from(SECONDS + 1) << 10, FRAME),
        ]
        .concat();
        let length = FRAME.len() as u32;
        file.extend(order.block(3, &[&order.words(&[length])[..], FRAME].concat()));
        let mut old = order.halves(1, 0);
        let ticks = u64::from(SECONDS + 2) << 10;
        old.extend(order.words(&[(ticks >> 32) as u32, ticks as u32, length, length]));
        old.extend(FRAME);
        file.extend(order.block(2, &old));
        // A second section describes its interfaces anew, perhaps in the other byte order.
        file.extend(Order::Big.section());
        file.extend(Order::Big.interface(101, None));
        file.extend(Order::Big.enhanced(0, at(5_000_000), b"\x60rest"));
        let (packets, error) = read(&file);
        assert_eq!(error, None, "{order:?}");
        let times: Vec<_> = packets.iter().map(|packet| packet.time_us).collect();
        let last = at(2_000_000);
        assert_eq!(
            times,
            [at(7), at(1_000_000), at(1_000_000), last, at(5_000_000)],
            "{order:?}"
        );
        assert!(packets[..4].iter().all(|packet| packet.frame == FRAME));
        assert_eq!(packets[4].frame[12..], *b"\x86\xdd\x60rest");
    }
}

#[test]
fn other_links_get_an_ethernet_header() {
    let cases: [(u32, &[u8], &[u8]); 9] = [
        (101, b"\x45rest", b"\x08\0\x45rest"),
        (229, b"\x60rest", b"\x86\xdd\x60rest"),
        (0, b"\x02\0\0\0\x45rest", b"\x08\0\x45rest"),
        (
            113,
            b"\0\0\0\x01\0\x06\0\0\0\0\0\0\0\0\x86\xddrest",
            b"\x86\xddrest",
        ),
        (
            276,
            b"\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0rest",
            b"\x08\0rest",
        ),
        (104, b"\x0f\0\x08\0rest", b"\x08\0rest"),
        (9, b"\xff\x03\0\x21\x45rest", b"\x08\0\x45rest"),
        (50, b"\xff\x03\0\x57\x60rest", b"\x86\xdd\x60rest"),
        (9, b"\xc0\x21rest", b"\x88\x0b\xc0\x21rest"),
    ];
    for (link, captured, expected) in cases {
        let order = Order::Little;
        let mut file = order.pcap(MICROSECONDS, link);
        file.extend(order.packet(0, captured, captured.len() as u32));
        let (packets, error) = read(&file);
        assert_eq!(error, None, "{link}");
        assert_eq!(packets[0].frame[12..], *expected, "{link}");
    }
}

/// What a capture of one packet gives.
fn read_one(link: u32, captured: &[u8]) -> Vec<u8> {
    let order = Order::Little;
    let mut file = order.pcap(MICROSECONDS, link);
    file.extend(order.packet(0, captured, captured.len() as u32));
    let (mut packets, error) = read(&file);
    assert_eq!(error, None, "{link}");
    packets.remove(0).frame
}

/// A wireless frame of these control bytes, its stations named 1 to 4.
fn wireless(control: [u8; 2], behind: &[&[u8]]) -> Vec<u8> {
    let stations = [[1; 6], [2; 6], [3; 6]].concat();
    let header = [&control[..], &[0, 0], &stations, &[0x10, 0]].concat();
    [&header[..], &behind.concat()].concat()
}

const LLC: &[u8] = &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0];
const CLOSED: [u8; 2] = [0, 0];

#[test]
fn wireless_data_gets_an_ethernet_header() {
    let quality: &[u8] = &[0, 0];
    type Case<'a> = ([u8; 2], &'a [&'a [u8]], u8, u8);
    let cases: [Case<'_>; 9] = [
        ([0x08, 0], &[LLC], 1, 2),
        ([0x08, 1], &[LLC], 3, 2),
        ([0x08, 2], &[LLC], 1, 3),
        ([0x08, 3], &[&[4; 6], LLC], 3, 4),
        ([0x88, 1], &[quality, LLC], 3, 2),
        ([0x88, 1], &[quality, &[0, 0], LLC], 3, 2),
        ([0x88, 0x82], &[quality, &[0; 4], LLC], 1, 3),
        ([0x88, 3], &[&[4; 6], quality, LLC], 3, 4),
        ([0x28, 1], &[&[0xaa, 0xaa, 3, 0, 0, 0xf8, 8, 0]], 3, 2),
    ];
    for (control, behind, destination, source) in cases {
        let frame = wireless(control, &[&behind.concat(), b"\x45rest"]);
        let expected = [&[destination; 6], &[source; 6], &b"\x08\0\x45rest"[..]].concat();
        assert_eq!(read_one(105, &frame), expected, "{control:x?}");
        let radiotap = [&[0, 0, 10, 0, 1, 2, 3, 4, 5, 6][..], &frame].concat();
        assert_eq!(read_one(127, &radiotap), expected, "{control:x?}");
    }
}

#[test]
fn other_wireless_frames_stay_closed() {
    let quality: &[u8] = &[0, 0];
    let mut piece = wireless([0x08, 1], &[LLC, b"rest"]);
    piece[22] = 1;
    let plain = wireless([0x08, 1], &[LLC, b"rest"]);
    for frame in [
        piece,
        wireless([0x80, 0], &[LLC]),
        wireless([0xb4, 0], &[LLC]),
        wireless([0x09, 0], &[LLC]),
        wireless([0x48, 1], &[LLC]),
        wireless([0xc8, 1], &[quality, LLC]),
        wireless([0x08, 0x41], &[LLC]),
        wireless([0x08, 5], &[LLC]),
        wireless([0x88, 1], &[&[0x80, 0], LLC]),
        wireless([0x08, 1], &[&[0x42, 0x42, 3, 0, 0, 0, 8, 0]]),
        wireless([0x08, 1], &[&LLC[..7]]),
        plain[..23].to_vec(),
    ] {
        assert_eq!(read_one(105, &frame)[12..14], CLOSED);
    }
    for radiotap in [&[1, 0, 4, 0][..], &[0, 0, 200, 0], &[0, 0, 4]] {
        let frame = [radiotap, &plain].concat();
        assert_eq!(read_one(127, &frame)[12..14], CLOSED);
    }
}

#[test]
fn netfilter_logs_hold_packets_in_either_byte_order() {
    for order in [Order::Little, Order::Big] {
        let attributes = [
            order.halves(7, 1),
            b"abc\0".to_vec(),
            order.halves(9, 9),
            b"\x45rest\0\0\0".to_vec(),
            order.halves(8, 5),
            vec![0; 4],
        ]
        .concat();
        for (family, expected) in [(2, b"\x08\0\x45rest"), (10, b"\x86\xdd\x45rest")] {
            let log = [&[family, 0, 0, 30][..], &attributes].concat();
            assert_eq!(read_one(239, &log)[12..], expected[..]);
        }
        for head in [[7, 0, 0, 30], [2, 1, 0, 30]] {
            let log = [&head[..], &attributes].concat();
            assert_eq!(read_one(239, &log)[12..14], CLOSED);
        }
        for length in 0..16 {
            let log = [&[2, 0, 0, 30][..], &attributes[..length]].concat();
            assert_eq!(read_one(239, &log)[12..14], CLOSED, "{length}");
        }
    }
    let endless = [2, 0, 0, 30, 0, 0, 1, 0, 0, 0, 0, 0];
    assert_eq!(read_one(239, &endless)[12..14], CLOSED);
}

proptest! {
    #[test]
    fn no_bytes_harm_what_reads_links(
        head in prop_oneof![Just(vec![]), Just(vec![0x88, 3]), Just(vec![0, 0, 8, 0]), Just(vec![2, 0])],
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
        link in prop_oneof![Just(105u32), Just(127), Just(239)],
    ) {
        let captured = [&head[..], &bytes].concat();
        prop_assert!(read_one(link, &captured).len() >= 14);
    }
}

/// As senders show them that leave segmentation to their NIC.
#[test]
fn packets_of_length_zero_get_the_length_of_their_frame() {
    let order = Order::Little;
    let v4 = [&[0x45, 0, 0, 0][..], &[7; 2000]].concat();
    let v6 = [&[0x60, 0, 0, 0, 0, 0, 6, 64][..], &[7; 2000]].concat();
    let jumbogram = [&[0x60, 0, 0, 0, 0, 0, 0, 64][..], &[7; 2000]].concat();
    for (packet, field, expected) in [(v4, 2, 2004), (v6, 4, 1968), (jumbogram, 4, 0)] {
        let mut file = order.pcap(MICROSECONDS, 101);
        file.extend(order.packet(0, &packet, packet.len() as u32));
        let (packets, _) = read(&file);
        let length = &packets[0].frame[14 + field..14 + field + 2];
        assert_eq!(length, u16::to_be_bytes(expected));
    }
}

#[test]
fn what_cannot_be_read_is_said() {
    let order = Order::Little;
    let mut wireless = order.pcap(MICROSECONDS, 163);
    wireless.extend(order.packet(0, FRAME, 1));
    let mut long = order.pcap(MICROSECONDS, ETHERNET);
    long.extend(order.packet(0, &vec![0; (256 << 10) + 1], 1));
    let mut longest = order.pcap(MICROSECONDS, ETHERNET);
    longest.extend(order.words(&[0, 0, u32::MAX, 1]));
    longest.extend(vec![0; 20 << 20]);
    let undescribed = [order.section(), order.enhanced(0, 0, FRAME)].concat();
    let cases: [(&[u8], &str); 8] = [
        (b"", "too short to be a capture"),
        (b"\xd4\xc3", "too short to be a capture"),
        (b"GET / HTTP/1.1\r\n\r\n and more", "no capture"),
        (
            &order.pcap(MICROSECONDS, ETHERNET)[..20],
            "too short to be a capture",
        ),
        (&wireless, "link type 163"),
        (&long, "more than the 262144"),
        (&longest, "longer than 16 MiB"),
        (&undescribed, "interface 0 is not described"),
    ];
    for (file, expected) in cases {
        let (packets, error) = read(file);
        assert!(packets.is_empty());
        let error = error.unwrap();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn long_blocks_that_are_no_packets_are_passed_over() {
    let order = Order::Little;
    let file = [
        order.section(),
        order.block(0x0bad, &vec![7; 5 << 20]),
        order.interface(1, None),
        order.enhanced(0, 0, FRAME),
    ]
    .concat();
    let (packets, error) = read(&file);
    assert_eq!(error, None);
    assert_eq!(packets.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_captures_end(
        big in any::<bool>(),
        ng in any::<bool>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        end in any::<prop::sample::Index>(),
    ) {
        let order = if big { Order::Big } else { Order::Little };
        let mut file = if ng {
            [order.section(), order.interface(1, Some(9))].concat()
        } else {
            order.pcap(MICROSECONDS, ETHERNET)
        };
        for _ in 0..4 {
            file.extend(if ng {
                order.enhanced(0, 1, FRAME)
            } else {
                order.packet(0, FRAME, 1)
            });
        }
        for (place, byte) in damage {
            let place = place.index(file.len());
            file[place] = byte;
        }
        file.truncate(end.index(file.len()) + 1);
        let (packets, _) = read(&file);
        prop_assert!(packets.len() <= file.len() / 12);
    }
}
