//! No bytes make decode or emit panic, and what is accepted lies within the frame.

mod frames;

use frames::{ethernet, ipv4, story, udp, wrap};
use proptest::prelude::*;
use weir_wire::emit::{Toward, refresh_checksums, tcp_reset};
use weir_wire::{DecodeOptions, Segment, decode, decode_datagram, transport_checksum_ok};

/// Runs everything over a frame.
fn exercise(frame: &[u8]) {
    for (tunnels_max, foreign_tunnels) in [(0, false), (1, false), (2, true), (8, false), (8, true)]
    {
        let options = DecodeOptions {
            tunnels_max,
            verify_ipv4_checksum: false,
            foreign_tunnels,
        };
        for (answer, is_frame) in [
            (decode(frame, &options), true),
            (decode_datagram(frame, Segment::None, 1, &options), false),
        ] {
            let Ok(packet) = answer else { continue };
            assert!(packet.network_offset <= packet.transport_offset);
            assert!(packet.transport_offset <= packet.payload_offset);
            assert!(packet.payload_offset <= packet.payload_end);
            assert!(packet.payload_end as usize <= frame.len());
            assert!(packet.tunnels <= tunnels_max.max(1));
            packet.payload(frame);
            transport_checksum_ok(frame, &packet);
            let mut out = [0; 512];
            for toward in [Toward::Source, Toward::Destination] {
                tcp_reset(frame, &packet, toward, &mut out);
            }
            let mut copy = frame.to_vec();
            refresh_checksums(&mut copy, &packet);
            if is_frame && copy.len() == frame.len() {
                let again = decode(&copy, &options).expect("a refreshed frame reads as before");
                assert_eq!(
                    (again.source, again.payload_end),
                    (packet.source, packet.payload_end)
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_truncation(story in story(), around in proptest::option::of(wrap()), is_ipv4: bool) {
        let mut frame = story.frame();
        if let Some(wrap) = around {
            frame = wrap.around(&frame, &[], is_ipv4, true);
        }
        for length in 0..frame.len() {
            exercise(&frame[..length]);
        }
    }

    #[test]
    fn every_byte_flipped(mut story in story(), around in proptest::option::of(wrap()), is_ipv4: bool, mask in 1u8..) {
        story.payload.truncate(20);
        let mut frame = story.frame();
        if let Some(wrap) = around {
            frame = wrap.around(&frame, &[], is_ipv4, true);
        }
        for place in 0..frame.len() {
            frame[place] ^= mask;
            exercise(&frame);
            frame[place] ^= mask;
        }
    }

    #[test]
    fn anything(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..400),
        ether_type in prop_oneof![Just(0x0800u16), Just(0x86dd), Just(0x8100), Just(0x0806)],
    ) {
        exercise(&bytes);
        if bytes.len() > 60 {
            bytes[12..14].copy_from_slice(&ether_type.to_be_bytes());
            bytes[14] = if ether_type == 0x0800 { 0x45 + bytes[14] % 11 } else { 0x60 };
            bytes[16..18].copy_from_slice(&[0, 60]);
            if ether_type == 0x86dd {
                bytes[18..20].copy_from_slice(&[0, 6]);
            }
            exercise(&bytes);
        }
    }

    #[test]
    fn anything_in_a_foreign_tunnel(
        head in proptest::collection::vec(any::<u8>(), 0..40),
        inner in story(),
        port in prop_oneof![Just(2152u16), Just(3544), Just(4754), Just(5072)],
        gre in prop_oneof![Just(0x88beu16), Just(0x22eb), Just(0x894f)],
        sequence: bool,
        first: u8,
    ) {
        let inner = inner.frame();
        let mut udp_head = head.clone();
        if let Some(byte) = udp_head.first_mut() {
            *byte = first;
        }
        let message = [&udp_head[..], &inner].concat();
        exercise(&ethernet(&[], 0x0800, &ipv4(17, &udp(9, port, &message))));
        let flags = [if sequence { 0x10 } else { 0 }, 0];
        let message = [&flags[..], &gre.to_be_bytes(), &head, &inner].concat();
        exercise(&ethernet(&[], 0x0800, &ipv4(47, &message)));
        exercise(&ethernet(&[], gre, &[&head[..], &inner].concat()));
    }
}
