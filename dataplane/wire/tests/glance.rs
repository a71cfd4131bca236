//! What a glance says is what decode says, and of plain packets it says it.

mod frames;

use frames::{Story, Upper, story};
use proptest::prelude::*;
use weir_wire::{DecodeOptions, Ends, Glance, Kind, Packet, decode, glance, glance_at_tcp};

/// One of the frames that a glance is made for.
fn is_plain(story: &Story) -> bool {
    story.tags.len() <= 1 && !matches!(story.upper, Upper::Echo { .. })
}

fn ends(packet: &Packet) -> Ends {
    match packet.is_ipv4 {
        true => Ends::V4(packet.source as u32, packet.destination as u32),
        false => Ends::V6(packet.source, packet.destination),
    }
}

/// Options with which decode walks from header to header, whatever it sees.
fn walking(verify_ipv4_checksum: bool) -> DecodeOptions {
    DecodeOptions {
        verify_ipv4_checksum,
        foreign_tunnels: true,
        tunnels_max: 0,
    }
}

fn check(frame: &[u8], seen: &Glance, verify_ipv4_checksum: bool) -> Result<(), TestCaseError> {
    let packet = &decode(frame, &walking(verify_ipv4_checksum)).unwrap();
    let usual = DecodeOptions {
        verify_ipv4_checksum,
        ..DecodeOptions::default()
    };
    let usually = decode(frame, &usual).unwrap();
    prop_assert_eq!(format!("{usually:?}"), format!("{packet:?}"));
    prop_assert_eq!(packet.kind, Kind::Ip);
    prop_assert_eq!((packet.fragment, packet.tunnels), (None, 0));
    prop_assert_eq!(seen.segment, packet.segment);
    prop_assert_eq!(seen.ends, ends(packet));
    prop_assert_eq!(seen.protocol, packet.protocol);
    prop_assert_eq!(
        (seen.source_port, seen.destination_port),
        (packet.source_port, packet.destination_port)
    );
    prop_assert_eq!(seen.transport_offset, packet.transport_offset);
    prop_assert_eq!(
        seen.payload_bytes,
        packet.payload_end - packet.payload_offset
    );
    if packet.protocol == 6 {
        let flags = packet.tcp.flags & 0b11_0111;
        let expected = (flags == 0b01_0000).then_some(packet.tcp);
        prop_assert_eq!(glance_at_tcp(frame, seen.transport_offset), expected);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn plain_packets_are_seen(story in story(), padding in 0usize..40) {
        let mut frame = story.frame();
        frame.extend(vec![0x55; padding]);
        let seen = glance(&frame, true);
        prop_assert_eq!(seen.is_some(), is_plain(&story));
        if let Some(seen) = seen {
            check(&frame, &seen, true)?;
        }
    }

    /// Whatever it says of a damaged frame, decode says too; what decode refuses it does not see.
    #[test]
    fn it_never_disagrees(
        story in story(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        length in any::<prop::sample::Index>(),
        cut: bool,
        verify_ipv4_checksum: bool,
    ) {
        let mut frame = story.frame();
        for (place, value) in damage {
            let place = place.index(frame.len().min(80));
            frame[place] = value;
        }
        if cut {
            frame.truncate(length.index(frame.len().min(100)));
        }
        if let Some(seen) = glance(&frame, verify_ipv4_checksum) {
            check(&frame, &seen, verify_ipv4_checksum)?;
        }
    }
}
