//! IP in PPPoE sessions: what is found there, and resets that fit in.

mod frames;

use frames::{ethernet, ipv4, ipv6, tcp};
use weir_wire::{DecodeOptions, Kind, Packet, Reason, Segment, decode, transport_checksum_ok};

fn read(frame: &[u8]) -> Result<Packet, Reason> {
    decode(frame, &DecodeOptions::default())
}

/// IP in a PPPoE session, and what PPP carries besides.
fn in_pppoe(tags: &[u16], ppp: u16, payload: &[u8]) -> Vec<u8> {
    let mut session = vec![0x11, 0, 0x12, 0x34];
    session.extend((payload.len() as u16 + 2).to_be_bytes());
    session.extend(ppp.to_be_bytes());
    session.extend(payload);
    ethernet(tags, 0x8864, &session)
}

#[test]
fn ip_is_found_in_a_pppoe_session() {
    let v4 = ipv4(6, &tcp(1, 2, 3, 4, 16, b"data"));
    let v6 = ipv6(6, &tcp(1, 2, 3, 4, 16, b"data"));
    for (ppp, inner) in [(0x21, v4), (0x57, v6)] {
        let plain = read(&ethernet(
            &[],
            if ppp == 0x21 { 0x0800 } else { 0x86dd },
            &inner,
        ))
        .unwrap();
        let frame = in_pppoe(&[7], ppp, &inner);
        let packet = read(&frame).unwrap();
        assert_eq!(packet.segment, Segment::Vlan(7));
        assert_eq!((packet.kind, packet.source), (Kind::Ip, plain.source));
        assert_eq!((packet.source_port, packet.destination_port), (1, 2));
    }
    // Link control, discovery codes and cut headers are no IP: the link policy judges them.
    let mut other_code = in_pppoe(&[], 0x21, &ipv4(6, &[]));
    other_code[15] = 0xa7;
    for frame in [in_pppoe(&[], 0xc021, &[1, 1, 0, 4]), other_code] {
        let packet = read(&frame).unwrap();
        assert_eq!((packet.kind, packet.ether_type), (Kind::Other, 0x8864));
    }
    let cut = ethernet(&[], 0x8864, &[0x11, 0, 0, 1]);
    assert_eq!(read(&cut).unwrap().kind, Kind::Other);
}

#[test]
fn a_reset_fits_its_pppoe_session() {
    let inner = ipv4(6, &tcp(1, 2, 3, 4, 16, b"a longer payload than none"));
    let frame = in_pppoe(&[], 0x21, &inner);
    let packet = read(&frame).unwrap();
    let mut out = [0; 512];
    let length =
        weir_wire::emit::tcp_reset(&frame, &packet, weir_wire::emit::Toward::Source, &mut out)
            .unwrap();
    let reset = read(&out[..length]).unwrap();
    assert_eq!(
        (reset.source, reset.destination),
        (packet.destination, packet.source)
    );
    assert!(transport_checksum_ok(&out[..length], &reset));
    let told = u16::from_be_bytes([out[18], out[19]]);
    assert_eq!(usize::from(told), length - 20);
}
