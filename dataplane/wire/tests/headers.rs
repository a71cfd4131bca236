//! One sentence of a header's rules, one test.

mod frames;

use frames::{VNI, Wrap, ethernet, ipv4, ipv6, ipv6_between, tcp, udp};
use weir_wire::{
    DecodeOptions, Fragment, Kind, Packet, Reason, Segment, decode, decode_datagram, protocol,
    transport_checksum_ok,
};

fn read(frame: &[u8]) -> Result<Packet, Reason> {
    decode(frame, &DecodeOptions::default())
}

fn read_v4(protocol: u8, payload: &[u8]) -> Result<Packet, Reason> {
    read(&ethernet(&[], 0x0800, &ipv4(protocol, payload)))
}

fn read_v6(next: u8, payload: &[u8]) -> Result<Packet, Reason> {
    read(&ethernet(&[], 0x86dd, &ipv6(next, payload)))
}

/// An IPv4 packet with its header changed and its checksum made right again.
fn changed_v4(protocol: u8, payload: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut packet = ipv4(protocol, payload);
    change(&mut packet);
    let length = usize::from(packet[0] & 15) * 4;
    packet[10..12].fill(0);
    let sum = frames::slow_checksum(&packet[..length.min(packet.len())]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    ethernet(&[], 0x0800, &packet)
}

/// An IPv4 packet with options.
fn with_options(options: &[u8]) -> Vec<u8> {
    changed_v4(6, &[], |packet| {
        packet[0] = 0x45 + (options.len() / 4) as u8;
        packet.extend(options);
        packet.extend(tcp(1, 2, 3, 4, 16, b"data"));
        let length = packet.len() as u16;
        packet[2..4].copy_from_slice(&length.to_be_bytes());
    })
}

fn segment_of(tags: &[u16]) -> Segment {
    read(&ethernet(tags, 0x0800, &ipv4(6, &tcp(1, 2, 3, 4, 16, b""))))
        .unwrap()
        .segment
}

#[test]
fn a_priority_tag_names_no_network() {
    assert_eq!(segment_of(&[]), Segment::None);
    assert_eq!(segment_of(&[0]), Segment::None);
    assert_eq!(segment_of(&[0xe000]), Segment::None);
    assert_eq!(segment_of(&[0x6005]), Segment::Vlan(5));
    assert_eq!(segment_of(&[0, 7]), Segment::Vlan(7));
    assert_eq!(segment_of(&[7, 0]), Segment::Vlan(7));
    assert_eq!(segment_of(&[7, 8]), Segment::QinQ(7, 8));
}

#[test]
fn a_third_tag_is_too_deep() {
    let mut frame = ethernet(&[1, 2], 0x9100, &[0, 3, 0x08, 0x00]);
    frame.extend(ipv4(6, &tcp(1, 2, 3, 4, 16, b"")));
    assert_eq!(read(&frame).unwrap_err(), Reason::VlanTooDeep);
}

#[test]
fn what_is_not_ip_is_other() {
    for (ether_type, length) in [(0x88cc, 40), (0x0026, 38), (0x8847, 46)] {
        let packet = read(&ethernet(&[9], ether_type, &vec![0; length])).unwrap();
        assert_eq!(
            (packet.kind, packet.ether_type, packet.segment),
            (Kind::Other, ether_type, Segment::Vlan(9))
        );
        assert_eq!(packet.payload_end - packet.payload_offset, length as u32);
    }
}

#[test]
fn arp_passes_only_as_arp() {
    let arp = |operation: u8, length: usize| {
        let mut message = vec![0, 1, 8, 0, 6, 4, 0, operation];
        message.resize(length, 0);
        read(&ethernet(&[], 0x0806, &message)).unwrap().kind
    };
    assert_eq!(arp(1, 28), Kind::Neighbour);
    assert_eq!(arp(2, 46), Kind::Neighbour);
    assert_eq!(arp(3, 46), Kind::Other);
    assert_eq!(arp(1, 27), Kind::Other);
    assert_eq!(arp(1, 300), Kind::Other, "ARP is no way to carry data");
}

#[test]
fn neighbour_discovery_is_told_by_its_hop_limit() {
    let mut link_local = [0; 16];
    link_local[..2].copy_from_slice(&[0xfe, 0x80]);
    let kind = |source: [u8; 16], hop_limit: u8, icmp_type: u8, code: u8| {
        let message = [icmp_type, code, 0, 0, 0, 0, 0, 0];
        let packet = ipv6_between(source, [0xff; 16], hop_limit, 58, &message);
        let packet = read(&ethernet(&[], 0x86dd, &packet)).unwrap();
        assert_eq!((packet.protocol, packet.hop_limit), (58, hop_limit));
        assert_eq!(
            packet.source_port,
            u16::from(icmp_type) << 8 | u16::from(code)
        );
        packet.kind
    };
    for icmp_type in 133..=137 {
        assert_eq!(kind(frames::SOURCE_V6, 255, icmp_type, 0), Kind::Neighbour);
        assert_eq!(kind(frames::SOURCE_V6, 254, icmp_type, 0), Kind::Ip);
        assert_eq!(kind(frames::SOURCE_V6, 255, icmp_type, 1), Kind::Ip);
    }
    for icmp_type in [130, 131, 132, 143] {
        assert_eq!(kind(link_local, 1, icmp_type, 0), Kind::Neighbour);
        assert_eq!(kind([0; 16], 1, icmp_type, 0), Kind::Neighbour);
        assert_eq!(kind(frames::SOURCE_V6, 1, icmp_type, 0), Kind::Ip);
        assert_eq!(kind(link_local, 2, icmp_type, 0), Kind::Ip);
    }
    assert_eq!(kind(link_local, 255, 128, 0), Kind::Ip);
    // MLD travels behind a router alert.
    let alert = [&[58, 0, 5, 2, 0, 0, 1, 0][..], &[143, 0, 0, 0, 0, 0, 0, 0]].concat();
    let packet = read(&ethernet(
        &[],
        0x86dd,
        &ipv6_between(link_local, [0xff; 16], 1, 0, &alert),
    ))
    .unwrap();
    assert_eq!(packet.kind, Kind::Neighbour);
}

#[test]
fn ipv4_lengths_must_add_up() {
    let segment = tcp(1, 2, 3, 4, 16, b"data");
    for (change, reason) in [
        (
            &(|p: &mut Vec<u8>| p[0] = 0x55) as &dyn Fn(&mut Vec<u8>),
            Reason::Ipv4Malformed,
        ),
        (&|p| p[0] = 0x44, Reason::Ipv4Malformed),
        (&|p| p[3] = 19, Reason::Ipv4Malformed),
        (&|p| p[3] += 1, Reason::Ipv4Malformed),
        (&|p| p[12] ^= 1, Reason::Ipv4Checksum),
    ] {
        let frame = match reason {
            Reason::Ipv4Checksum => {
                let mut frame = ethernet(&[], 0x0800, &ipv4(6, &segment));
                frame[26] ^= 1;
                frame
            }
            _ => changed_v4(6, &segment, |packet| change(packet)),
        };
        assert_eq!(read(&frame).unwrap_err(), reason);
    }
    let mut frame = ethernet(&[], 0x0800, &ipv4(6, &segment));
    frame[24] ^= 1;
    let unchecked = DecodeOptions {
        verify_ipv4_checksum: false,
        ..DecodeOptions::default()
    };
    assert!(decode(&frame, &unchecked).is_ok());
}

#[test]
fn ipv4_options_are_stepped_over() {
    let packet = read(&with_options(&[148, 4, 0, 0])).unwrap();
    assert_eq!((packet.transport_offset, packet.source_port), (14 + 24, 1));
    assert!(read(&with_options(&[1, 1, 1, 0])).is_ok());
    assert_eq!(
        read(&with_options(&[148, 1, 0, 0])).unwrap_err(),
        Reason::Ipv4Malformed
    );
    assert_eq!(
        read(&with_options(&[148, 9, 0, 0])).unwrap_err(),
        Reason::Ipv4Malformed
    );
    assert_eq!(
        read(&with_options(&[1, 1, 1, 148])).unwrap_err(),
        Reason::Ipv4Malformed
    );
}

#[test]
fn source_routes_with_hops_left_are_refused() {
    for kind in [131, 137] {
        assert_eq!(
            read(&with_options(&[kind, 7, 4, 10, 0, 0, 9, 0])).unwrap_err(),
            Reason::SourceRoute
        );
        assert!(
            read(&with_options(&[kind, 7, 8, 10, 0, 0, 9, 0])).is_ok(),
            "all hops done"
        );
    }
    let routing = |next: u8, left: u8| [&[next, 2, 4, left, 0, 0, 0, 0][..], &[0xfd; 16]].concat();
    let segment = tcp(1, 2, 3, 4, 16, b"data");
    assert_eq!(
        read_v6(43, &[routing(6, 1), segment.clone()].concat()).unwrap_err(),
        Reason::SourceRoute
    );
    assert!(read_v6(43, &[routing(6, 0), segment.clone()].concat()).is_ok());
    // On the way to a tunnel's end it is what segment routing does: the inner packet is judged.
    let tunnel = [routing(41, 1), ipv6(6, &segment)].concat();
    assert_eq!(read_v6(43, &tunnel).unwrap().tunnels, 1);
}

#[test]
fn mapped_addresses_never_travel() {
    let mut mapped = [0; 16];
    mapped[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 0, 1]);
    let segment = tcp(1, 2, 3, 4, 16, b"");
    for (source, destination) in [
        (mapped, frames::DESTINATION_V6),
        (frames::SOURCE_V6, mapped),
    ] {
        let frame = ethernet(
            &[],
            0x86dd,
            &ipv6_between(source, destination, 9, 6, &segment),
        );
        assert_eq!(read(&frame).unwrap_err(), Reason::Ipv6Mapped);
    }
}

#[test]
fn every_extension_header_is_walked() {
    let segment = tcp(5, 6, 7, 8, 16, b"data");
    let header = |next: u8, kind: u8| -> Vec<u8> {
        match kind {
            protocol::FRAGMENT => vec![next, 0, 0, 0, 0, 0, 0, 9],
            protocol::AH => [&[next, 4][..], &[0; 22]].concat(),
            _ => [&[next, 1][..], &[0; 14]].concat(),
        }
    };
    for kind in [0, 43, 44, 51, 60, 135, 139, 140] {
        let packet = read_v6(kind, &[header(6, kind), segment.clone()].concat()).unwrap();
        assert_eq!(
            (packet.protocol, packet.source_port, packet.fragment),
            (6, 5, None),
            "header {kind}"
        );
    }
    let chain = [
        header(60, 0),
        header(43, 60),
        header(44, 43),
        header(51, 44),
        header(60, 51),
        header(6, 60),
    ]
    .concat();
    let packet = read_v6(0, &[chain, segment.clone()].concat()).unwrap();
    assert_eq!((packet.protocol, packet.destination_port), (6, 6));

    assert_eq!(
        read_v6(60, &[header(0, 60), header(6, 0), segment.clone()].concat()).unwrap_err(),
        Reason::Ipv6Extension
    );
    assert_eq!(
        read_v6(60, &[6, 9, 0, 0, 0, 0, 0, 0]).unwrap_err(),
        Reason::Ipv6Extension
    );
    assert_eq!(read_v6(60, &[6, 0, 0]).unwrap_err(), Reason::Ipv6Extension);
    let many = |count: usize| {
        [
            header(60, 60).repeat(count - 1),
            header(6, 60),
            segment.clone(),
        ]
        .concat()
    };
    assert!(read_v6(60, &many(8)).is_ok());
    assert_eq!(read_v6(60, &many(9)).unwrap_err(), Reason::Ipv6Extension);
    // A mobility message is itself the upper layer; nothing after nothing.
    assert_eq!(read_v6(135, &header(59, 135)).unwrap().protocol, 135);
    assert_eq!(read_v6(60, &header(59, 60)).unwrap().protocol, 59);
}

#[test]
fn authentication_is_looked_behind_in_both_versions() {
    let header = [&[6, 4][..], &[0; 22]].concat();
    let payload = [header, tcp(5, 6, 7, 8, 16, b"data")].concat();
    assert_eq!(read_v4(51, &payload).unwrap().destination_port, 6);
    assert_eq!(read_v6(51, &payload).unwrap().destination_port, 6);
    assert_eq!(
        read_v4(51, &payload[..20]).unwrap_err(),
        Reason::Ipv4Malformed
    );
}

#[test]
fn fragments_of_ipv4() {
    let fragment = |field: u16, payload: &[u8]| {
        read(&changed_v4(6, payload, |packet| {
            packet[4..6].copy_from_slice(&[0x12, 0x34]);
            packet[6..8].copy_from_slice(&field.to_be_bytes());
        }))
    };
    let first = tcp(1, 2, 3, 4, 16, &[0; 12]);
    let packet = fragment(0x2000, &first).unwrap();
    assert_eq!(
        packet.fragment,
        Some(Fragment {
            id: 0x1234,
            offset: 0,
            more: true
        })
    );
    assert_eq!(
        (
            packet.source_port,
            packet.transport_offset,
            packet.payload_offset
        ),
        (0, 34, 34)
    );
    assert_eq!(
        fragment(0x0003, b"tail").unwrap().fragment,
        Some(Fragment {
            id: 0x1234,
            offset: 24,
            more: false
        })
    );
    assert_eq!(
        fragment(0x2000, &first[..16]).unwrap_err(),
        Reason::FragmentTiny
    );
    let mut long = first.clone();
    long[12] = 0x90;
    assert_eq!(fragment(0x2000, &long).unwrap_err(), Reason::FragmentTiny);
    assert_eq!(
        fragment(0x2001, b"tail").unwrap_err(),
        Reason::FragmentMalformed
    );
    assert_eq!(
        fragment(0x2001, b"").unwrap_err(),
        Reason::FragmentMalformed
    );
    assert_eq!(
        fragment(0x1fff, &[0; 8]).unwrap_err(),
        Reason::FragmentTooBig
    );
    assert!(fragment(0x1fff, &[0; 7]).is_ok());
}

#[test]
fn fragments_of_ipv6() {
    let header =
        |next: u8, field: u16| [&[next, 0][..], &field.to_be_bytes(), &[0, 0, 0xab, 0xcd]].concat();
    let first = [
        header(60, 1),
        vec![6, 0, 1, 4, 0, 0, 0, 0],
        tcp(1, 2, 3, 4, 16, &[0; 4]),
    ]
    .concat();
    let packet = read_v6(44, &first).unwrap();
    assert_eq!(
        packet.fragment,
        Some(Fragment {
            id: 0xabcd,
            offset: 0,
            more: true
        })
    );
    assert_eq!(
        (packet.protocol, packet.transport_offset),
        (60, 14 + 40 + 8)
    );
    let last = read_v6(44, &[header(60, 32), b"tail".to_vec()].concat()).unwrap();
    assert_eq!((last.protocol, last.fragment.unwrap().offset), (60, 32));
    // The whole chain must be in the first one.
    assert_eq!(read_v6(44, &first[..24]).unwrap_err(), Reason::FragmentTiny);
    assert_eq!(
        read_v6(44, &[header(60, 1), vec![6, 3, 0, 0, 0, 0, 0, 0]].concat()).unwrap_err(),
        Reason::FragmentTiny
    );
    assert_eq!(
        read_v6(44, &[header(6, 9), vec![0; 7]].concat()).unwrap_err(),
        Reason::FragmentMalformed
    );
    assert_eq!(
        read_v6(44, &[header(44, 0), header(99, 1), vec![0; 8]].concat())
            .unwrap()
            .protocol,
        99
    );
    assert_eq!(
        read_v6(
            44,
            &[header(44, 1), header(6, 1), tcp(1, 2, 3, 4, 0, &[0; 4])].concat()
        )
        .unwrap_err(),
        Reason::Ipv6Extension,
    );
}

#[test]
fn udp_length_rules_the_payload() {
    let mut datagram = udp(1000, 53, b"question");
    datagram.extend(b"trailer");
    let frame = ethernet(&[], 0x0800, &ipv4(17, &datagram));
    assert_eq!(read(&frame).unwrap().payload(&frame), b"question");
    for length in [0u16, 7, 30] {
        datagram[4..6].copy_from_slice(&length.to_be_bytes());
        assert_eq!(read_v4(17, &datagram).unwrap_err(), Reason::UdpMalformed);
        assert_eq!(read_v6(17, &datagram).unwrap_err(), Reason::UdpMalformed);
    }
}

#[test]
fn tcp_is_malformed_only_by_its_header_length() {
    let mut segment = tcp(1, 2, 3, 4, 2, &[3, 3, 20, 0]);
    segment[12] = 0x60;
    assert_eq!(read_v4(6, &segment).unwrap().tcp.window_scale, Some(14));
    segment[20] = 99;
    segment[21] = 200;
    assert_eq!(read_v4(6, &segment).unwrap().tcp.window_scale, None);
    for offset in [0x40, 0x70] {
        segment[12] = offset;
        assert_eq!(read_v4(6, &segment).unwrap_err(), Reason::TcpMalformed);
    }
}

#[test]
fn queries_have_an_identifier_and_errors_none() {
    let message = |icmp_type: u8| [icmp_type, 3, 0, 0, 0xbe, 0xef, 0, 1];
    for (icmp_type, identifier) in [(8, 0xbeef), (0, 0xbeef), (13, 0xbeef), (3, 0), (11, 0)] {
        let packet = read_v4(1, &message(icmp_type)).unwrap();
        assert_eq!(
            (packet.source_port, packet.destination_port),
            (u16::from(icmp_type) << 8 | 3, identifier)
        );
    }
    for (icmp_type, identifier) in [(128, 0xbeef), (129, 0xbeef), (1, 0)] {
        assert_eq!(
            read_v6(58, &message(icmp_type)).unwrap().destination_port,
            identifier
        );
    }
    assert_eq!(
        read_v4(1, &message(8)[..7]).unwrap_err(),
        Reason::IcmpMalformed
    );
    assert_eq!(read_v4(132, &[0; 11]).unwrap_err(), Reason::SctpMalformed);
    assert_eq!(read_v4(132, &[7; 12]).unwrap().source_port, 0x0707);
}

#[test]
fn other_udp_on_tunnel_ports_is_not_opened() {
    let inner = ethernet(&[], 0x0800, &ipv4(6, &tcp(1, 2, 3, 4, 16, b"")));
    let opened = |port: u16, head: [u8; 4], frame: &[u8]| {
        let payload = [&head[..], &(VNI << 8).to_be_bytes(), frame].concat();
        read_v4(17, &udp(9, port, &payload)).map(|packet| packet.tunnels)
    };
    for port in [4789, 8472] {
        assert_eq!(opened(port, [0x08, 0, 0, 0], &inner), Ok(1));
        assert_eq!(
            opened(port, [0x88, 0, 0, 7], &inner),
            Ok(1),
            "group policy extension"
        );
        assert_eq!(opened(port, [0x00, 0, 0, 0], &inner), Ok(0));
        assert_eq!(opened(port, [0x08, 0, 0, 0], &inner[..13]), Ok(0));
        assert_eq!(
            opened(port, [0x0c, 0, 0, 1], &inner),
            Err(Reason::TunnelMalformed)
        );
        assert_eq!(
            opened(port, [0x08, 0, 0, 0], &inner[..20]),
            Err(Reason::Ipv4Malformed)
        );
    }
    assert_eq!(opened(6081, [0, 0, 0x65, 0x58], &inner), Ok(1));
    assert_eq!(opened(6081, [0, 0, 0x08, 0x00], &inner[14..]), Ok(1));
    assert_eq!(opened(6081, [0x40, 0, 0x65, 0x58], &inner), Ok(0));
    assert_eq!(opened(6081, [0, 0, 0x88, 0x47], &inner), Ok(0));
    assert_eq!(
        opened(6081, [0x3f, 0, 0x65, 0x58], &inner),
        Err(Reason::TunnelMalformed)
    );
}

#[test]
fn other_gre_stays_gre() {
    let inner = ipv4(6, &tcp(1, 2, 3, 4, 16, b""));
    for head in [
        [0x30, 1, 0x88, 0x0b],
        [0x40, 0, 0x08, 0x00],
        [0, 0, 0x88, 0x3e],
    ] {
        let packet = read_v4(47, &[&head[..], &inner].concat()).unwrap();
        assert_eq!(
            (packet.protocol, packet.tunnels, packet.source_port),
            (47, 0, 0)
        );
    }
    assert_eq!(
        read_v4(47, &[0, 0, 8]).unwrap_err(),
        Reason::TunnelMalformed
    );
    assert_eq!(
        read_v4(47, &[0xb0, 0, 8, 0, 0, 0]).unwrap_err(),
        Reason::TunnelMalformed
    );
}

#[test]
fn what_a_vni_carries_is_judged_by_its_own_ether_type() {
    let frame = Wrap::Vxlan(4789).around(&ethernet(&[5], 0x88cc, &[0; 30]), &[77], true, false);
    let packet = read(&frame).unwrap();
    assert_eq!(
        (packet.kind, packet.ether_type, packet.segment),
        (Kind::Other, 0x88cc, Segment::Vni(VNI))
    );
}

#[test]
fn an_inner_fragment_is_the_inner_datagrams() {
    let mut inner = ipv4(17, &[0; 16]);
    inner[6..8].copy_from_slice(&[0, 2]);
    let sum = frames::slow_checksum(&[&inner[..10], &[0, 0], &inner[12..20]].concat());
    inner[10..12].copy_from_slice(&sum.to_be_bytes());
    let frame = Wrap::Vxlan(8472).around(&ethernet(&[], 0x0800, &inner), &[], false, false);
    let packet = read(&frame).unwrap();
    assert_eq!(
        (
            packet.tunnels,
            packet.is_ipv4,
            packet.fragment.unwrap().offset
        ),
        (1, true, 16)
    );
    assert_eq!(packet.segment, Segment::Vni(VNI));
}

#[test]
fn a_datagram_opens_its_tunnel() {
    let inner = ethernet(&[], 0x0800, &ipv4(6, &tcp(1, 2, 3, 4, 16, &[9; 3000])));
    let whole = Wrap::Vxlan(4789).around(&inner, &[], true, true);
    let mut datagram = whole[14..].to_vec();
    datagram[10..12].fill(0xee);
    let options = DecodeOptions::default();
    let packet = decode_datagram(&datagram, Segment::Vlan(3), 0, &options).unwrap();
    assert_eq!(
        (packet.tunnels, packet.segment, packet.protocol),
        (1, Segment::Vni(VNI), 6)
    );
    assert_eq!(packet.payload(&datagram), &[9; 3000][..]);
    assert_eq!(
        decode_datagram(&datagram, Segment::None, 2, &options).unwrap_err(),
        Reason::TunnelTooDeep
    );
    datagram[20 + 8 + 8 + 14 + 10] ^= 1;
    let inner_damaged = decode_datagram(&datagram, Segment::None, 0, &options);
    assert_eq!(inner_damaged.unwrap_err(), Reason::Ipv4Checksum);
    let plain = decode_datagram(&inner[14..], Segment::Vlan(3), 2, &options).unwrap();
    assert_eq!(
        (plain.tunnels, plain.segment, plain.ether_type),
        (2, Segment::Vlan(3), 0x0800)
    );
}

#[test]
fn a_tunnels_own_checksum_counts() {
    let story = ethernet(&[], 0x0800, &ipv4(50, b"encrypted"));
    for is_ipv4 in [true, false] {
        let mut frame = Wrap::Vxlan(4789).around(&story, &[], is_ipv4, true);
        let packet = read(&frame).unwrap();
        assert!(transport_checksum_ok(&frame, &packet));
        let header = if is_ipv4 { 34 } else { 54 };
        frame[header + 6] ^= 1;
        assert!(!transport_checksum_ok(&frame, &packet));
        frame[header + 6..header + 8].fill(0);
        assert!(transport_checksum_ok(&frame, &packet), "left out");
    }
    let gre = Wrap::GreIp {
        checksum: true,
        key: true,
        sequence: false,
    };
    let mut frame = gre.around(&story, &[], true, false);
    let packet = read(&frame).unwrap();
    assert!(transport_checksum_ok(&frame, &packet));
    frame[14 + 20 + 4] ^= 1;
    assert!(!transport_checksum_ok(&frame, &packet));
}

#[test]
fn udp_over_ipv6_needs_a_checksum() {
    let check = |frame: Vec<u8>| transport_checksum_ok(&frame, &read(&frame).unwrap());
    assert!(check(ethernet(&[], 0x0800, &ipv4(17, &udp(1, 2, b"x")))));
    assert!(!check(ethernet(&[], 0x86dd, &ipv6(17, &udp(1, 2, b"x")))));
    assert!(check(ethernet(&[], 0x86dd, &ipv6(17, &udp(1, 4789, b"x")))));
}
