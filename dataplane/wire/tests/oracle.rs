//! Decode against the etherparse crate, which knows nothing of this one.

mod frames;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use frames::{Story, Upper, VNI, story, wrap};
use proptest::prelude::*;
use weir_wire::{DecodeOptions, Kind, Packet, Reason, Segment, decode, transport_checksum_ok};

fn address(is_ipv4: bool, bytes: [u8; 16]) -> u128 {
    match is_ipv4 {
        true => 0xffff_0000_0000 | u128::from(u32::from_be_bytes(frames::first4(bytes))),
        false => u128::from_be_bytes(bytes),
    }
}

fn segment(tags: &[u16]) -> Segment {
    match tags
        .iter()
        .copied()
        .filter(|tag| *tag != 0)
        .collect::<Vec<_>>()[..]
    {
        [] => Segment::None,
        [id] => Segment::Vlan(id),
        [outer, inner] => Segment::QinQ(outer, inner),
        _ => unreachable!("a story has two tags at most"),
    }
}

/// Everything the story says is found in the packet.
fn check_story(story: &Story, frame: &[u8], packet: &Packet) -> Result<(), TestCaseError> {
    prop_assert_eq!(packet.kind, Kind::Ip);
    prop_assert_eq!(packet.is_ipv4, story.is_ipv4);
    prop_assert_eq!(packet.source, address(story.is_ipv4, story.source));
    prop_assert_eq!(
        packet.destination,
        address(story.is_ipv4, story.destination)
    );
    prop_assert_eq!(packet.hop_limit, story.hop_limit);
    prop_assert_eq!(packet.fragment, None);
    prop_assert_eq!(packet.payload(frame), &story.payload[..]);
    prop_assert!(transport_checksum_ok(frame, packet));
    match &story.upper {
        Upper::Tcp {
            ports,
            sequence,
            acknowledgement,
            window,
            flags,
            scale,
        } => {
            prop_assert_eq!(packet.protocol, 6);
            prop_assert_eq!((packet.source_port, packet.destination_port), *ports);
            prop_assert_eq!(packet.tcp.sequence, *sequence);
            prop_assert_eq!(packet.tcp.acknowledgement, acknowledgement.unwrap_or(0));
            prop_assert_eq!(packet.tcp.window, *window);
            prop_assert_eq!(
                packet.tcp.flags,
                flags | if acknowledgement.is_some() { 16 } else { 0 }
            );
            prop_assert_eq!(
                packet.tcp.window_scale,
                if flags & 2 != 0 { *scale } else { None }
            );
        }
        Upper::Udp(source, destination) => {
            prop_assert_eq!(packet.protocol, 17);
            prop_assert_eq!(
                (packet.source_port, packet.destination_port),
                (*source, *destination)
            );
        }
        Upper::Echo {
            identifier, reply, ..
        } => {
            let kind: u16 = match (story.is_ipv4, reply) {
                (true, false) => 8,
                (true, true) => 0,
                (false, false) => 128,
                (false, true) => 129,
            };
            prop_assert_eq!(packet.protocol, if story.is_ipv4 { 1 } else { 58 });
            prop_assert_eq!(
                (packet.source_port, packet.destination_port),
                (kind << 8, *identifier)
            );
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn finds_what_was_built(story in story(), padding in 0usize..40) {
        let mut frame = story.frame();
        frame.extend(vec![0x55; padding]);
        let packet = decode(&frame, &DecodeOptions::default()).unwrap();
        prop_assert_eq!(packet.ether_type, if story.is_ipv4 { 0x0800 } else { 0x86dd });
        prop_assert_eq!(packet.segment, segment(&story.tags));
        prop_assert_eq!(packet.tunnels, 0);
        check_story(&story, &frame, &packet)?;
    }

    #[test]
    fn finds_what_was_tunnelled(
        story in story(),
        layers in proptest::collection::vec((wrap(), proptest::collection::vec(1u16..4096, 0..3), any::<bool>(), any::<bool>()), 1..4),
    ) {
        let mut frame = story.frame();
        let mut expected = Segment::None;
        for (wrap, tags, is_ipv4, checksums) in &layers {
            frame = wrap.around(&frame, tags, *is_ipv4, *checksums);
        }
        // From the outside in: the last name wins, but within a VNI tags name nothing.
        let mut tags = &layers.last().unwrap().1;
        for (index, (wrap, ..)) in layers.iter().enumerate().rev() {
            let named = segment(tags);
            if named != Segment::None && !matches!(expected, Segment::Vni(_)) {
                expected = named;
            }
            tags = match index {
                0 => &story.tags,
                _ => &layers[index - 1].1,
            };
            match wrap {
                frames::Wrap::Vxlan(_) | frames::Wrap::Geneve { .. } => expected = Segment::Vni(VNI),
                frames::Wrap::GreEthernet => {}
                _ => tags = const { &Vec::new() },
            }
        }
        if segment(tags) != Segment::None && !matches!(expected, Segment::Vni(_)) {
            expected = segment(tags);
        }

        let options = DecodeOptions { tunnels_max: 3, ..DecodeOptions::default() };
        let packet = decode(&frame, &options).unwrap();
        prop_assert_eq!(usize::from(packet.tunnels), layers.len());
        prop_assert_eq!(packet.segment, expected);
        check_story(&story, &frame, &packet)?;

        let too_few = DecodeOptions { tunnels_max: layers.len() as u8 - 1, ..options };
        match (layers.len(), decode(&frame, &too_few)) {
            (1, Ok(packet)) => prop_assert!(packet.tunnels == 0 && matches!(packet.protocol, 4 | 41 | 17 | 47)),
            (_, answer) => prop_assert_eq!(answer.unwrap_err(), Reason::TunnelTooDeep),
        }
    }

    /// Whatever both accept, both read alike.
    #[test]
    fn agrees_on_damaged_frames(story in story(), damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut frame = story.frame();
        for (place, value) in damage {
            // The headers are where damage matters.
            let place = place.index(frame.len().min(90));
            frame[place] = value;
        }
        let options = DecodeOptions { verify_ipv4_checksum: false, tunnels_max: 0, ..DecodeOptions::default() };
        let (Ok(ours), Ok(theirs)) = (decode(&frame, &options), SlicedPacket::from_ethernet(&frame)) else {
            return Ok(());
        };
        match &theirs.net {
            Some(NetSlice::Ipv4(ip)) => {
                prop_assert!(ours.is_ipv4 && ours.kind == Kind::Ip);
                prop_assert_eq!(ours.source, address(true, widen(ip.header().source())));
                prop_assert_eq!(ours.destination, address(true, widen(ip.header().destination())));
                prop_assert_eq!(ours.fragment.is_some(), ip.header().is_fragmenting_payload());
            }
            Some(NetSlice::Ipv6(ip)) => {
                prop_assert!(!ours.is_ipv4);
                prop_assert_eq!(ours.source, u128::from_be_bytes(ip.header().source()));
                prop_assert_eq!(ours.destination, u128::from_be_bytes(ip.header().destination()));
                prop_assert_eq!(ours.fragment.is_some(), ip.is_payload_fragmented());
            }
            _ => prop_assert_ne!(ours.kind, Kind::Ip),
        }
        if ours.fragment.is_some() || ours.kind != Kind::Ip {
            return Ok(());
        }
        match &theirs.transport {
            Some(TransportSlice::Tcp(tcp)) => {
                prop_assert_eq!(ours.protocol, 6);
                prop_assert_eq!((ours.source_port, ours.destination_port), (tcp.source_port(), tcp.destination_port()));
                prop_assert_eq!(ours.tcp.sequence, tcp.sequence_number());
                prop_assert_eq!(ours.payload(&frame), tcp.payload());
            }
            Some(TransportSlice::Udp(udp)) => {
                prop_assert_eq!(ours.protocol, 17);
                prop_assert_eq!((ours.source_port, ours.destination_port), (udp.source_port(), udp.destination_port()));
                prop_assert_eq!(ours.payload(&frame), udp.payload());
            }
            _ => prop_assert!(!matches!(ours.protocol, 6 | 17)),
        }
    }
}

fn widen(bytes: [u8; 4]) -> [u8; 16] {
    let mut wide = [0; 16];
    wide[..4].copy_from_slice(&bytes);
    wide
}
