//! Decode, its checksums and the frames made from what it found: no bytes make them panic, and what is
//! accepted lies within the frame.

use bolero::{TypeGenerator, check};
use weir_wire::emit::{Toward, refresh_checksums, tcp_reset};
use weir_wire::{DecodeOptions, Packet, Segment, decode, decode_datagram, transport_checksum_ok};

use crate::frames::{Wrap, ethernet, ipv4, ipv6, tcp, udp};
use crate::{ITERATIONS, TEST_TIME};

/// A frame that is right but for some bytes.
#[derive(Clone, Debug, TypeGenerator)]
struct Frame {
    is_ipv4: bool,
    tagged: bool,
    /// Next header of a chain, each of eight bytes and more; only for IPv6.
    #[generator(bolero::generator::produce_with::<Vec<(u8, u8)>>().len(0usize..4))]
    extensions: Vec<(u8, u8)>,
    upper: Upper,
    #[generator(bolero::generator::produce_with::<Vec<u8>>().len(0usize..80))]
    payload: Vec<u8>,
    #[generator(bolero::generator::produce_with::<Vec<(Tunnel, bool, bool)>>().len(0usize..4))]
    tunnels: Vec<(Tunnel, bool, bool)>,
    #[generator(bolero::generator::produce_with::<Vec<(u16, u8)>>().len(0usize..5))]
    damage: Vec<(u16, u8)>,
    cut: Option<u16>,
}

#[derive(Clone, Debug, TypeGenerator)]
enum Upper {
    Tcp { flags: u8, words: u8 },
    Udp { port: u16 },
    Other { protocol: u8 },
}

#[derive(Clone, Copy, Debug, TypeGenerator)]
enum Tunnel {
    Vxlan,
    VxlanOfLinux,
    Geneve {
        words: u8,
    },
    GreEthernet,
    Gre {
        checksum: bool,
        key: bool,
        sequence: bool,
    },
    IpInIp,
}

impl Tunnel {
    fn wrap(self) -> Wrap {
        match self {
            Self::Vxlan => Wrap::Vxlan(4789),
            Self::VxlanOfLinux => Wrap::Vxlan(8472),
            Self::Geneve { words } => Wrap::Geneve {
                words: words & 0x3f,
            },
            Self::GreEthernet => Wrap::GreEthernet,
            Self::Gre {
                checksum,
                key,
                sequence,
            } => Wrap::GreIp {
                checksum,
                key,
                sequence,
            },
            Self::IpInIp => Wrap::IpInIp,
        }
    }
}

impl Frame {
    fn bytes(&self) -> Vec<u8> {
        let (mut next, mut packet) = match self.upper {
            Upper::Tcp { flags, words } => {
                let mut segment = tcp(1000, 2000, 3, 4, flags, &self.payload);
                segment[12] = words << 4;
                (6, segment)
            }
            Upper::Udp { port } => (17, udp(1000, port, &self.payload)),
            Upper::Other { protocol } => (protocol, self.payload.clone()),
        };
        if !self.is_ipv4 {
            for (kind, length) in &self.extensions {
                let units = usize::from(length & 3);
                let mut header = vec![next, units as u8];
                header.resize(8 + 8 * units, *length);
                packet = [header, packet].concat();
                next = [0, 43, 44, 51, 60, 135, 139, 140][usize::from(kind & 7)];
            }
        }
        let tags: &[u16] = if self.tagged { &[7] } else { &[] };
        let mut frame = match self.is_ipv4 {
            true => ethernet(tags, 0x0800, &ipv4(next, &packet)),
            false => ethernet(tags, 0x86dd, &ipv6(next, &packet)),
        };
        for (tunnel, is_ipv4, checksums) in &self.tunnels {
            frame = tunnel.wrap().around(&frame, tags, *is_ipv4, *checksums);
        }
        for (place, value) in &self.damage {
            let place = usize::from(*place) % frame.len();
            frame[place] = *value;
        }
        if let Some(cut) = self.cut {
            frame.truncate(usize::from(cut) % (frame.len() + 1));
        }
        frame
    }
}

/// What holds of every packet that was accepted.
fn check_packet(frame: &[u8], packet: &Packet) {
    let offsets = [
        packet.network_offset,
        packet.transport_offset,
        packet.payload_offset,
        packet.payload_end,
        frame.len() as u32,
    ];
    assert!(offsets.is_sorted(), "{offsets:?}");
    packet.payload(frame);
    transport_checksum_ok(frame, packet);
}

fn exercise(frame: &[u8]) {
    for (tunnels_max, foreign_tunnels) in [(0, false), (2, true), (5, false), (5, true)] {
        let options = DecodeOptions {
            tunnels_max,
            verify_ipv4_checksum: false,
            foreign_tunnels,
        };
        if let Ok(packet) = decode_datagram(frame, Segment::None, 0, &options) {
            check_packet(frame, &packet);
        }
        let Ok(packet) = decode(frame, &options) else {
            continue;
        };
        check_packet(frame, &packet);
        let mut out = [0; 1024];
        for toward in [Toward::Source, Toward::Destination] {
            if let Some(length) = tcp_reset(frame, &packet, toward, &mut out) {
                let reset = decode(&out[..length], &options).expect("a reset can be read");
                assert_eq!(
                    (reset.tunnels, reset.segment),
                    (packet.tunnels, packet.segment)
                );
                assert!(transport_checksum_ok(&out[..length], &reset));
            }
        }
        let mut copy = frame.to_vec();
        refresh_checksums(&mut copy, &packet);
        let refreshed = decode(&copy, &options).expect("only checksums were changed");
        assert_eq!(refreshed.payload_end, packet.payload_end);
    }
}

#[test]
fn decode_bytes() {
    check!()
        .with_test_time(TEST_TIME)
        .with_iterations(ITERATIONS)
        .for_each(exercise);
}

#[test]
fn decode_damaged_frames() {
    check!()
        .with_type::<Frame>()
        .with_test_time(TEST_TIME)
        .with_iterations(ITERATIONS)
        .for_each(|frame| exercise(&frame.bytes()));
}
