//! Tunnels that are looked into only where a capture is analysed: a well-formed one is opened with
//! the switch and not without it; a cut or odd one stays what it is outside.

mod frames;

use frames::{Wrap, ethernet, ipv4, ipv6, tcp, udp};
use weir_wire::emit::{Toward, tcp_reset};
use weir_wire::{DecodeOptions, Kind, Packet, Segment, decode, transport_checksum_ok};

const OPENING: DecodeOptions = DecodeOptions {
    tunnels_max: 2,
    verify_ipv4_checksum: true,
    foreign_tunnels: true,
};

fn segment() -> Vec<u8> {
    tcp(1111, 2222, 3, 4, 16, b"data")
}

fn inner_v4() -> Vec<u8> {
    ipv4(6, &segment())
}

fn inner_v6() -> Vec<u8> {
    ipv6(6, &segment())
}

fn over_udp(source: u16, destination: u16, message: &[&[u8]]) -> Vec<u8> {
    ethernet(
        &[],
        0x0800,
        &ipv4(17, &udp(source, destination, &message.concat())),
    )
}

fn over_gre(message: &[&[u8]]) -> Vec<u8> {
    ethernet(&[], 0x0800, &ipv4(47, &message.concat()))
}

fn is_inner(packet: &Packet) -> bool {
    (packet.protocol, packet.source_port, packet.destination_port) == (6, 1111, 2222)
}

/// Read with the switch and not without; and no cut makes it anything but closed or refused.
fn check_opened(frame: &[u8]) -> Packet {
    let closed = decode(frame, &DecodeOptions::default()).unwrap();
    assert!(!is_inner(&closed) && closed.tunnels == 0);
    let packet = decode(frame, &OPENING).unwrap();
    assert!(is_inner(&packet), "{packet:?}");
    assert_eq!(packet.tunnels, 1);
    assert_eq!(packet.payload(frame), b"data");
    assert!(transport_checksum_ok(frame, &closed));
    let none = DecodeOptions {
        tunnels_max: 0,
        ..OPENING
    };
    assert!(!is_inner(&decode(frame, &none).unwrap()));
    for toward in [Toward::Source, Toward::Destination] {
        assert_eq!(tcp_reset(frame, &packet, toward, &mut [0; 512]), None);
    }
    packet
}

fn check_closed(frame: &[u8]) {
    let with = decode(frame, &OPENING).unwrap();
    let without = decode(frame, &DecodeOptions::default()).unwrap();
    assert_eq!(with.tunnels, 0, "{with:?}");
    assert_eq!(format!("{with:?}"), format!("{without:?}"));
}

/// Every shorter message stays closed.
fn check_cuts(message: &[u8], around: impl Fn(&[u8]) -> Vec<u8>) {
    for length in 4..message.len() {
        check_closed(&around(&message[..length]));
    }
}

#[test]
fn erspan_types_one_to_three() {
    let mirrored = ethernet(&[7], 0x0800, &inner_v4());
    let type_1 = [&[0, 0, 0x88, 0xbe][..], &mirrored].concat();
    let type_2 = [
        &[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1][..],
        &[0x10, 7, 0, 5, 0, 0, 0, 1],
        &mirrored,
    ]
    .concat();
    let type_3 = |last: u8, platform: &[u8], inner: &[u8]| {
        let mut header = vec![0x10, 0, 0x22, 0xeb, 0, 0, 0, 1];
        header.extend([
            0x20,
            7,
            0,
            5,
            1,
            2,
            3,
            4,
            0,
            0,
            if last & 2 != 0 { 8 } else { 0 },
        ]);
        header.push(last & 1);
        [&header[..], platform, inner].concat()
    };
    for message in [
        type_1,
        type_2.clone(),
        type_3(0, &[], &mirrored),
        type_3(1, &[9; 8], &mirrored),
    ] {
        let packet = check_opened(&over_gre(&[&message]));
        assert_eq!(packet.segment, Segment::Vlan(7));
        check_cuts(&message, |cut| over_gre(&[cut]));
    }
    assert_eq!(
        check_opened(&over_gre(&[&type_3(2, &[], &inner_v6())])).segment,
        Segment::None
    );
    for version in [0x00, 0x20] {
        let mut odd = type_2.clone();
        odd[8] = version;
        check_closed(&over_gre(&[&odd]));
    }
}

fn gtp(flags: u8, kind: u8, rest: &[&[u8]]) -> Vec<u8> {
    let rest = rest.concat();
    let mut message = vec![flags, kind];
    message.extend((rest.len() as u16).to_be_bytes());
    message.extend([0, 0, 0, 9]);
    message.extend(rest);
    message
}

#[test]
fn gtp_u_with_and_without_options() {
    let message = gtp(0x30, 255, &[&inner_v4()]);
    check_opened(&over_udp(2152, 2152, &[&message]));
    check_opened(&over_udp(
        9,
        2152,
        &[&gtp(0x32, 255, &[&[0, 1, 0, 0], &inner_v6()])],
    ));
    let extended = gtp(
        0x34,
        255,
        &[
            &[0, 0, 0, 0x85],
            &[1, 0, 9, 0xc0],
            &[2, 0, 0, 0, 0, 0, 0, 0],
            &inner_v4(),
        ],
    );
    check_opened(&over_udp(9, 2152, &[&extended]));
    for whole in [message.clone(), extended] {
        check_cuts(&whole, |cut| over_udp(2152, 2152, &[cut]));
    }
    for odd in [
        gtp(0x10, 255, &[&inner_v4()]),
        gtp(0x50, 255, &[&inner_v4()]),
        gtp(0x30, 1, &[&inner_v4()]),
        gtp(0x30, 255, &[b"no packet"]),
        gtp(0x34, 255, &[&[0, 0, 0, 0x85], &[0, 0, 0, 0], &inner_v4()]),
        gtp(
            0x34,
            255,
            &[&[0, 0, 0, 0x85], &[1, 0, 0, 0x85].repeat(9), &inner_v4()],
        ),
        [&message[..], &[0]].concat(),
    ] {
        check_closed(&over_udp(2152, 2152, &[&odd]));
    }
    check_closed(&over_udp(2152, 53, &[&message]));
}

#[test]
fn teredo_with_and_without_indications() {
    let authentication = [&[0, 1, 2, 3][..], b"id", b"mac", &[7; 9]].concat();
    let origin = [0, 0, 0x12, 0x34, 0xf5, 0xff, 0xff, 0xfe];
    let inner = inner_v6();
    for ports in [(9, 3544), (3544, 9)] {
        for indications in [
            vec![],
            authentication.clone(),
            origin.to_vec(),
            [&authentication[..], &origin].concat(),
        ] {
            let message = [&indications[..], &inner].concat();
            check_opened(&over_udp(ports.0, ports.1, &[&message]));
            check_cuts(&message, |cut| over_udp(ports.0, ports.1, &[cut]));
        }
    }
    // A trailer may follow; another order is nobody's.
    check_opened(&over_udp(9, 3544, &[&inner, &[1, 4, 0, 0, 0, 0]]));
    check_closed(&over_udp(9, 3544, &[&origin, &authentication, &inner]));
    check_closed(&over_udp(9, 3544, &[&inner_v4()]));
    check_closed(&over_udp(9, 3545, &[&inner]));
}

#[test]
fn teredo_between_peers() {
    let mut client = frames::SOURCE_V6;
    client[..4].copy_from_slice(&[0x20, 1, 0, 0]);
    let other = frames::DESTINATION_V6;
    for (source, destination) in [(client, other), (other, client)] {
        let inner = frames::ipv6_between(source, destination, 9, 6, &segment());
        check_opened(&over_udp(1587, 50000, &[&inner]));
        check_cuts(&inner, |cut| over_udp(1587, 50000, &[cut]));
        check_closed(&over_udp(1587, 50000, &[&inner, &[0]]));
    }
    check_closed(&over_udp(1587, 50000, &[&inner_v6()]));
}

#[test]
fn gre_within_udp() {
    let key = [0x20, 0, 0x08, 0, 0, 0, 0, 9];
    let message = [&key[..], &inner_v4()].concat();
    check_opened(&over_udp(50000, 4754, &[&message]));
    check_cuts(&message, |cut| over_udp(50000, 4754, &[cut]));
    let mirrored = ethernet(&[], 0x86dd, &inner_v6());
    check_opened(&over_udp(50000, 4754, &[&[0, 0, 0x65, 0x58], &mirrored]));
    check_opened(&over_udp(50000, 4754, &[&[0, 0, 0x88, 0xbe], &mirrored]));
    check_closed(&over_udp(50000, 4754, &[&[0, 1, 0x08, 0], &inner_v4()]));
    check_closed(&over_udp(4754, 50000, &[&message]));
}

#[test]
fn ayiya_that_forwards() {
    let message = |head: [u8; 4]| {
        let mut message = head.to_vec();
        message.extend([0; 4]);
        message.extend([1; 16]);
        message.extend([2; 20]);
        message.extend(inner_v6());
        message
    };
    let usual = [0x42, 0x52, 0x11, 41];
    for ports in [(9, 5072), (5072, 9)] {
        check_opened(&over_udp(ports.0, ports.1, &[&message(usual)]));
    }
    check_cuts(&message(usual), |cut| over_udp(9, 5072, &[cut]));
    for odd in [
        [0x43, 0x52, 0x11, 41],
        [0x42, 0x54, 0x11, 41],
        [0x42, 0x52, 0x31, 41],
        [0x42, 0x52, 0x10, 41],
        [0x42, 0x52, 0x11, 59],
        [0x32, 0x52, 0x11, 41],
        [0xf2, 0xf2, 0x11, 41],
    ] {
        check_closed(&over_udp(9, 5072, &[&message(odd)]));
    }
}

#[test]
fn service_chains() {
    let header =
        |base: [u8; 4], context: usize| [&base[..], &[0, 0, 1, 255], &vec![0; context]].concat();
    let mirrored = ethernet(&[], 0x0800, &inner_v4());
    for (head, inner) in [
        (header([0x0f, 0xc6, 1, 1], 16), inner_v4()),
        (header([0x0f, 0xc2, 2, 2], 0), inner_v6()),
        (header([0x0f, 0xc4, 2, 3], 8), mirrored),
    ] {
        let message = [&head[..], &inner].concat();
        check_opened(&ethernet(&[], 0x894f, &message));
        check_cuts(&message, |cut| ethernet(&[], 0x894f, cut));
        check_opened(&over_gre(&[&[0, 0, 0x89, 0x4f], &message]));
    }
    for odd in [
        header([0x4f, 0xc2, 2, 1], 0),
        header([0x2f, 0xc2, 2, 1], 0),
        header([0x0f, 0xc2, 1, 1], 0),
        header([0x0f, 0xc1, 2, 1], 0),
        header([0x0f, 0xc2, 3, 1], 0),
        header([0x0f, 0xc2, 2, 5], 0),
    ] {
        let frame = ethernet(&[], 0x894f, &[&odd[..], &inner_v4()].concat());
        check_closed(&frame);
        assert_eq!(decode(&frame, &OPENING).unwrap().kind, Kind::Other);
    }
}

#[test]
fn nesting_is_bounded() {
    let v6_datagram = ipv6(17, &udp(9, 3544, &inner_v6()));
    let frame = over_udp(9, 2152, &[&gtp(0x30, 255, &[&v6_datagram])]);
    let packet = decode(&frame, &OPENING).unwrap();
    assert!(is_inner(&packet) && packet.tunnels == 2);
    let one = DecodeOptions {
        tunnels_max: 1,
        ..OPENING
    };
    let packet = decode(&frame, &one).unwrap();
    assert_eq!((packet.tunnels, packet.destination_port), (1, 3544));
    let mut chain = Vec::new();
    for _ in 0..100 {
        chain.extend([0x0f, 0xc2, 2, 4, 0, 0, 1, 255]);
    }
    let packet = decode(&ethernet(&[], 0x894f, &chain), &OPENING).unwrap();
    assert_eq!((packet.tunnels, packet.ether_type), (2, 0x894f));
}

#[test]
fn what_a_container_network_wraps_is_opened_too() {
    let frame = over_udp(9, 2152, &[&gtp(0x30, 255, &[&inner_v4()])]);
    let wrapped = Wrap::Vxlan(4789).around(&frame, &[], true, false);
    assert_eq!(
        decode(&wrapped, &DecodeOptions::default())
            .unwrap()
            .destination_port,
        2152
    );
    let packet = decode(&wrapped, &OPENING).unwrap();
    assert!(is_inner(&packet) && packet.tunnels == 2);
    assert_eq!(
        (packet.segment, packet.ether_type),
        (Segment::Vni(frames::VNI), 0x0800)
    );
}
