//! What the caller knows of a connection and a packet, beside the bytes.

use std::net::IpAddr;

use weir_l7::AppId;
use weir_wire::Direction;

use crate::rule::{PacketField, SessionField, TlsState};

/// What is known of a connection.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Who opened it.
    pub client: IpAddr,
    /// The other end.
    pub server: IpAddr,
    /// The client's port; 0 where the protocol has none.
    pub client_port: u16,
    /// The server's port; 0 where the protocol has none.
    pub server_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// What is spoken; None while that is open.
    pub application: Option<AppId>,
    /// Both ends have spoken (of TCP: the handshake is complete).
    pub established: bool,
    /// What the application's parser and the flow table know beyond that.
    pub session: Option<&'a dyn Session>,
}

impl Facts<'_> {
    /// Source and destination of what travels in this direction.
    pub(crate) const fn ends(&self, direction: Direction) -> ((IpAddr, u16), (IpAddr, u16)) {
        let client = (self.client, self.client_port);
        let server = (self.server, self.server_port);
        match direction {
            Direction::ToServer => (client, server),
            Direction::ToClient => (server, client),
        }
    }
}

/// Answers about a connection and its last message. What is not known does not pass any test.
pub trait Session {
    /// A number. Of a number of either or both ends each end's is asked.
    fn number(&self, field: SessionField) -> Option<u64>;

    /// What the parser objected to, in the words of [`weir_l7::violation`].
    fn objection(&self) -> Option<&'static str>;

    /// Version of TLS as in the record: 0x0303.
    fn tls_version(&self) -> Option<u16>;

    /// The hello of TLS that was the last message.
    fn tls_state(&self) -> Option<TlsState>;

    /// Whether the certificate holds no more.
    fn certificate_expired(&self) -> Option<bool>;

    /// From when and until when the certificate holds, in seconds since 1970.
    fn certificate_validity(&self) -> Option<(u64, u64)>;

    /// Interface of DCE/RPC that is called, or is being bound.
    fn dce_interface(&self) -> Option<[u8; 16]>;

    /// Operation of DCE/RPC that is called.
    fn dce_operation(&self) -> Option<u16>;

    /// Whether numbers of DCE/RPC come with their least significant byte first.
    fn dce_is_little(&self) -> Option<bool>;
}

/// A packet.
#[derive(Clone, Copy)]
pub struct PacketFacts<'a> {
    /// Its way.
    pub direction: Direction,
    /// The header of IP, with options or extension headers.
    pub network: &'a [u8],
    /// The header above it: of TCP with options, of UDP, the first eight bytes of ICMP; empty in a
    /// fragment behind the first.
    pub transport: &'a [u8],
    /// Bytes of payload: as in the packet.
    pub payload_bytes: u32,
    /// It came in fragments.
    pub fragmented: bool,
}

/// Numbers of a packet's headers, taken out so that they can be kept.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PacketNumbers {
    pub payload_bytes: u32,
    pub protocol: u8,
    pub ttl: Option<u8>,
    pub tos: Option<u8>,
    pub id: Option<u16>,
    pub fragment: Option<u16>,
    pub fragment_bits: u8,
    pub options: [u8; 8],
    pub fragmented: bool,
    pub tcp: Option<TcpNumbers>,
    pub icmp: Option<IcmpNumbers>,
}

/// Of a header of TCP.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TcpNumbers {
    pub sequence: u32,
    pub acknowledgment: u32,
    pub flags: u8,
    pub window: u16,
    pub mss: Option<u16>,
    pub window_scale: Option<u8>,
}

/// Of a header of ICMP.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IcmpNumbers {
    pub kind: u8,
    pub code: u8,
    pub rest: [u8; 4],
    pub is_v6: bool,
}

const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

impl PacketNumbers {
    /// Takes them out. What is missing stays 0 or None.
    pub fn of(packet: &PacketFacts<'_>, protocol: u8) -> Self {
        let mut numbers = Self {
            payload_bytes: packet.payload_bytes,
            protocol,
            fragmented: packet.fragmented,
            ..Self::default()
        };
        let ip = packet.network;
        match ip.first().map(|first| first >> 4) {
            Some(4) if ip.len() >= 20 => {
                numbers.tos = Some(ip[1]);
                numbers.id = Some(u16::from_be_bytes([ip[4], ip[5]]));
                let word = u16::from_be_bytes([ip[6], ip[7]]);
                numbers.fragment = Some(word & 0x1fff);
                numbers.fragment_bits = (word >> 13) as u8;
                numbers.ttl = Some(ip[8]);
                numbers.note_options(&ip[20..]);
            }
            Some(6) if ip.len() >= 40 => {
                numbers.tos = Some(ip[0] << 4 | ip[1] >> 4);
                numbers.ttl = Some(ip[7]);
            }
            _ => {}
        }
        match protocol {
            TCP => numbers.tcp = TcpNumbers::of(packet.transport),
            ICMP | ICMPV6 => numbers.icmp = IcmpNumbers::of(packet.transport, protocol == ICMPV6),
            _ => {}
        }
        numbers
    }

    /// The options of IPv4 that are there; more than eight tell nothing new.
    fn note_options(&mut self, mut options: &[u8]) {
        for place in &mut self.options {
            let Some(&kind) = options.first() else { break };
            *place = kind;
            let length = match kind {
                0 => break,
                1 => 1,
                _ => options.get(1).map_or(0, |&length| usize::from(length)),
            };
            if length == 0 || length > options.len() {
                break;
            }
            options = &options[length..];
        }
    }

    /// A number; None where this packet has none.
    pub fn get(&self, field: PacketField) -> Option<u64> {
        let icmp = |read: fn(&IcmpNumbers) -> u64| self.icmp.as_ref().map(read);
        let tcp = |read: fn(&TcpNumbers) -> u64| self.tcp.as_ref().map(read);
        match field {
            PacketField::PayloadSize => Some(self.payload_bytes.into()),
            PacketField::Ttl => self.ttl.map(u64::from),
            PacketField::Tos => self.tos.map(u64::from),
            PacketField::Id => self.id.map(u64::from),
            PacketField::FragmentOffset => self.fragment.map(u64::from),
            PacketField::IpProtocol => Some(self.protocol.into()),
            PacketField::IcmpType => icmp(|icmp| icmp.kind.into()),
            PacketField::IcmpCode => icmp(|icmp| icmp.code.into()),
            PacketField::IcmpId => {
                icmp(|icmp| u16::from_be_bytes([icmp.rest[0], icmp.rest[1]]).into())
            }
            PacketField::IcmpSequence => {
                icmp(|icmp| u16::from_be_bytes([icmp.rest[2], icmp.rest[3]]).into())
            }
            PacketField::IcmpMtu => {
                let too_big = self.icmp.filter(|icmp| icmp.is_v6 && icmp.kind == 2)?;
                Some(u32::from_be_bytes(too_big.rest).into())
            }
            PacketField::Sequence => tcp(|tcp| tcp.sequence.into()),
            PacketField::Acknowledgment => tcp(|tcp| tcp.acknowledgment.into()),
            PacketField::Window => tcp(|tcp| tcp.window.into()),
            PacketField::MaximumSegment => self.tcp?.mss.map(u64::from),
            PacketField::WindowScale => self.tcp?.window_scale.map(u64::from),
        }
    }
}

impl TcpNumbers {
    fn of(header: &[u8]) -> Option<Self> {
        let fixed = header.first_chunk::<20>()?;
        let word = |at: usize| {
            u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]])
        };
        let mut numbers = Self {
            sequence: word(4),
            acknowledgment: word(8),
            flags: fixed[13],
            window: u16::from_be_bytes([fixed[14], fixed[15]]),
            ..Self::default()
        };
        let mut options = &header[20..];
        while let Some(&kind) = options.first() {
            let length = match kind {
                0 => break,
                1 => 1,
                _ => options.get(1).map_or(0, |&length| usize::from(length)),
            };
            if length == 0 || length > options.len() {
                break;
            }
            match (kind, &options[..length]) {
                (2, [_, _, high, low]) => numbers.mss = Some(u16::from_be_bytes([*high, *low])),
                (3, [_, _, scale]) => numbers.window_scale = Some(*scale),
                _ => {}
            }
            options = &options[length..];
        }
        Some(numbers)
    }
}

impl IcmpNumbers {
    fn of(header: &[u8], is_v6: bool) -> Option<Self> {
        let &[kind, code, _, _, ..] = header else {
            return None;
        };
        let rest = header.get(4..8).and_then(|rest| rest.try_into().ok());
        Some(Self {
            kind,
            code,
            rest: rest.unwrap_or_default(),
            is_v6,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_where_the_headers_have_them() {
        let mut ip = [0_u8; 24];
        ip[0] = 0x46;
        ip[1] = 0x10;
        ip[4..10].copy_from_slice(&[0x12, 0x34, 0x20, 0x05, 64, 6]);
        ip[20] = 148;
        ip[21] = 4;
        let mut tcp = vec![0_u8; 20];
        tcp[13] = 2;
        tcp[15] = 9;
        tcp.extend([2, 4, 5, 0xb4, 1, 3, 3, 7]);
        let packet = PacketFacts {
            direction: Direction::ToServer,
            network: &ip,
            transport: &tcp,
            payload_bytes: 3,
            fragmented: false,
        };
        let numbers = PacketNumbers::of(&packet, 6);
        for (field, wanted) in [
            (PacketField::PayloadSize, Some(3)),
            (PacketField::Ttl, Some(64)),
            (PacketField::Tos, Some(16)),
            (PacketField::Id, Some(0x1234)),
            (PacketField::FragmentOffset, Some(5)),
            (PacketField::Window, Some(9)),
            (PacketField::MaximumSegment, Some(1460)),
            (PacketField::WindowScale, Some(7)),
            (PacketField::IcmpType, None),
        ] {
            assert_eq!(numbers.get(field), wanted, "{field:?}");
        }
        assert_eq!(numbers.options[0], 148);
        assert_eq!(numbers.fragment_bits, 1);
    }
}
