//! What is written reads back, at this crate and at etherparse.

mod frames;

use etherparse::{SlicedPacket, TransportSlice};
use frames::{Upper, ethernet, ipv4, ipv6, story, tcp, wrap};
use proptest::prelude::*;
use weir_wire::emit::{Toward, refresh_checksums, tcp_reset};
use weir_wire::{DecodeOptions, Packet, decode, tcp_flags, transport_checksum_ok};

fn options() -> DecodeOptions {
    DecodeOptions {
        tunnels_max: 3,
        verify_ipv4_checksum: true,
        ..DecodeOptions::default()
    }
}

fn macs_swapped(frame: &[u8]) -> Vec<u8> {
    [&frame[6..12], &frame[..6]].concat()
}

fn check_reset(frame: &[u8], packet: &Packet, toward: Toward) -> Result<(), TestCaseError> {
    let mut out = [0xaa; 512];
    let answer = tcp_reset(frame, packet, toward, &mut out);
    if toward == Toward::Source && packet.tcp.flags & tcp_flags::RST != 0 {
        prop_assert_eq!(answer, None);
        return Ok(());
    }
    let length = answer.unwrap();
    prop_assert!(length <= frame.len());
    let out = &out[..length];
    let reset = decode(out, &options()).unwrap();
    prop_assert!(transport_checksum_ok(out, &reset));
    prop_assert_eq!(reset.tunnels, packet.tunnels);
    prop_assert_eq!(reset.segment, packet.segment);
    prop_assert_eq!(reset.payload_offset, reset.payload_end);
    prop_assert_eq!(reset.payload_end as usize, length);
    let ends = |packet: &Packet| {
        (
            packet.source,
            packet.source_port,
            packet.destination,
            packet.destination_port,
        )
    };
    let turned = |packet: &Packet| {
        (
            packet.destination,
            packet.destination_port,
            packet.source,
            packet.source_port,
        )
    };
    let lengths = packet.payload_end - packet.payload_offset
        + u32::from(packet.tcp.flags & tcp_flags::SYN != 0)
        + u32::from(packet.tcp.flags & tcp_flags::FIN != 0);
    let acknowledges = packet.tcp.flags & tcp_flags::ACK != 0;
    match toward {
        Toward::Source => {
            prop_assert_eq!(ends(&reset), turned(packet));
            prop_assert_eq!(&out[..12], &macs_swapped(frame)[..]);
            if acknowledges {
                prop_assert_eq!(reset.tcp.flags, tcp_flags::RST);
                prop_assert_eq!(reset.tcp.sequence, packet.tcp.acknowledgement);
            } else {
                prop_assert_eq!(reset.tcp.flags, tcp_flags::RST | tcp_flags::ACK);
                prop_assert_eq!(reset.tcp.sequence, 0);
                prop_assert_eq!(
                    reset.tcp.acknowledgement,
                    packet.tcp.sequence.wrapping_add(lengths)
                );
            }
        }
        Toward::Destination => {
            prop_assert_eq!(ends(&reset), ends(packet));
            prop_assert_eq!(&out[..12], &frame[..12]);
            prop_assert_eq!(reset.tcp.sequence, packet.tcp.sequence);
            prop_assert_eq!(reset.tcp.flags & tcp_flags::ACK != 0, acknowledges);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn resets_read_back(
        story in story(),
        layers in proptest::collection::vec((wrap(), proptest::collection::vec(1u16..4096, 0..3), any::<bool>(), any::<bool>()), 0..3),
    ) {
        let mut frame = story.frame();
        for (wrap, tags, is_ipv4, checksums) in &layers {
            frame = wrap.around(&frame, tags, *is_ipv4, *checksums);
        }
        let packet = decode(&frame, &options()).unwrap();
        for toward in [Toward::Source, Toward::Destination] {
            match story.upper {
                Upper::Tcp { .. } => check_reset(&frame, &packet, toward)?,
                _ => prop_assert_eq!(tcp_reset(&frame, &packet, toward, &mut [0; 512]), None),
            }
        }
    }

    #[test]
    fn etherparse_reads_the_reset(mut story in story()) {
        story.tags.clear();
        let frame = story.frame();
        let packet = decode(&frame, &options()).unwrap();
        let mut out = [0; 512];
        let Some(length) = tcp_reset(&frame, &packet, Toward::Destination, &mut out) else { return Ok(()) };
        let theirs = SlicedPacket::from_ethernet(&out[..length]).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = theirs.transport else { panic!("no TCP") };
        prop_assert!(tcp.rst() && tcp.payload().is_empty());
        prop_assert_eq!(tcp.sequence_number(), packet.tcp.sequence);
    }

    /// A changed payload and zeroed checksums come out as the other implementation writes them.
    #[test]
    fn refreshing_restores_what_was_built(
        story in story(),
        layers in proptest::collection::vec((wrap(), Just(Vec::<u16>::new()), any::<bool>(), Just(true)), 0..3),
    ) {
        let mut frame = story.frame();
        for (wrap, tags, is_ipv4, checksums) in &layers {
            frame = wrap.around(&frame, tags, *is_ipv4, *checksums);
        }
        let packet = decode(&frame, &options()).unwrap();
        let place = packet.transport_offset as usize + match story.upper {
            Upper::Tcp { .. } => 16,
            Upper::Udp(..) => 6,
            Upper::Echo { .. } => 2,
        };
        let mut broken = frame.clone();
        broken[place] ^= 0x40;
        broken[place + 1] ^= 0x02;
        if broken[place..place + 2] == [0, 0] {
            return Ok(());
        }
        prop_assert!(!transport_checksum_ok(&broken, &packet));
        if packet.is_ipv4 {
            broken[packet.network_offset as usize + 10] ^= 0xff;
        }
        refresh_checksums(&mut broken, &packet);
        prop_assert_eq!(broken, frame);
    }
}

#[test]
fn too_short_a_buffer_is_refused() {
    let frame = ethernet(&[], 0x0800, &ipv4(6, &tcp(1, 2, 3, 4, 16, b"x")));
    let packet = decode(&frame, &options()).unwrap();
    assert_eq!(
        tcp_reset(&frame, &packet, Toward::Source, &mut [0; 53]),
        None
    );
    assert_eq!(
        tcp_reset(&frame, &packet, Toward::Source, &mut [0; 54]),
        Some(54)
    );
}

/// The whole datagram is known only after its fragments were put together; the frame is one of them.
#[test]
fn a_reset_is_made_from_a_fragment() {
    let segment = tcp(1000, 80, 7, 9, 16, &[1; 40]);
    let whole = ethernet(&[5], 0x0800, &ipv4(6, &segment));
    let packet = decode(&whole, &options()).unwrap();
    let mut fragment = ipv4(6, &segment[..32]);
    fragment[6] = 0x20;
    let sum = frames::slow_checksum(&[&fragment[..10], &[0, 0], &fragment[12..20]].concat());
    fragment[10..12].copy_from_slice(&sum.to_be_bytes());
    let fragment = ethernet(&[5], 0x0800, &fragment);
    assert!(decode(&fragment, &options()).unwrap().fragment.is_some());

    let (mut of_whole, mut of_fragment) = ([0; 512], [0; 512]);
    let length = tcp_reset(&whole, &packet, Toward::Source, &mut of_whole).unwrap();
    assert_eq!(
        tcp_reset(&fragment, &packet, Toward::Source, &mut of_fragment),
        Some(length)
    );
    assert_eq!(of_whole, of_fragment);
}

#[test]
fn extension_headers_are_left_out_of_a_reset() {
    let options_header = [6, 0, 1, 4, 0, 0, 0, 0];
    let packet = ipv6(
        60,
        &[&options_header[..], &tcp(1000, 80, 7, 9, 16, b"hello")].concat(),
    );
    let frame = ethernet(&[], 0x86dd, &packet);
    let packet = decode(&frame, &options()).unwrap();
    let mut out = [0; 512];
    let length = tcp_reset(&frame, &packet, Toward::Source, &mut out).unwrap();
    assert_eq!(length, 14 + 40 + 20);
    let reset = decode(&out[..length], &options()).unwrap();
    assert!(transport_checksum_ok(&out[..length], &reset));
    assert_eq!((reset.source, reset.tcp.sequence), (packet.destination, 9));
}

#[test]
fn a_frame_that_is_not_the_packets_is_left_alone() {
    let mut frame = ethernet(&[], 0x0800, &ipv4(6, &tcp(1, 2, 3, 4, 16, b"x")));
    let packet = decode(&frame, &options()).unwrap();
    for (place, damage) in [(29, 1), (33, 1), (12, 0xff)] {
        frame[place] ^= damage;
        let before = frame.clone();
        assert_eq!(
            tcp_reset(&frame, &packet, Toward::Source, &mut [0; 512]),
            None
        );
        refresh_checksums(&mut frame, &packet);
        assert_eq!(frame, before);
        frame[place] ^= damage;
    }
}
