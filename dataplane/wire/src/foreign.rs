//! Tunnels that no container network uses: mirrored traffic, mobile networks, IPv6 transition,
//! service chains. Looked into only where [`crate::DecodeOptions::foreign_tunnels`] says so.
//!
//! Distrusts every byte. Gives no reasons: a message that does not fit, or whose inner packet does not
//! read to its end, stays the packet that it is.

use crate::network::Network;
use crate::tunnel::Inside;
use crate::{ayiya, erspan, ether_type, gre, gtp_u, nsh, protocol, teredo, udp, udp_port};

/// What is inside of the packet with this IP header, and where the tunnel's message ends. `scope`
/// ends where the IP packet ends.
#[cold]
pub(crate) fn open(scope: &[u8], network: &Network) -> Option<(Inside, usize)> {
    match network.protocol {
        protocol::GRE => Some((within_gre(scope, network.upper)?, scope.len())),
        protocol::UDP => {
            let upper = udp::read(scope, network.upper).ok()?;
            let ports = (upper.source_port, upper.destination_port);
            let message = scope.get(..upper.end)?;
            Some((within_udp(ports, message, upper.payload)?, upper.end))
        }
        _ => None,
    }
}

/// What is inside of a frame of this EtherType, whose payload starts at `start`.
#[cold]
pub(crate) fn open_link(scope: &[u8], carried: u16, start: usize) -> Option<(Inside, usize)> {
    match carried {
        ether_type::NSH => Some((nsh::open(scope, start)?, scope.len())),
        _ => None,
    }
}

/// Of GRE what [`gre::open`] leaves: mirrored frames, and service chains.
fn within_gre(scope: &[u8], start: usize) -> Option<Inside> {
    let header = gre::read(scope, start).ok()??;
    match header.carried {
        ether_type::NSH => nsh::open(scope, header.inner),
        _ => erspan::open(scope, &header),
    }
}

/// Told by the port that names the protocol; servers of Teredo and AYIYA answer from theirs, and
/// Teredo's clients have any.
fn within_udp(ports: (u16, u16), message: &[u8], start: usize) -> Option<Inside> {
    match ports {
        (_, udp_port::GTP_U) => gtp_u::open(message, start),
        // GRE in UDP (RFC 8086): its header follows as it would follow IP.
        (_, udp_port::GRE) => match gre::open(message, start).ok()? {
            Some(inside) => Some(inside),
            None => within_gre(message, start),
        },
        (_, udp_port::TEREDO) | (udp_port::TEREDO, _) => teredo::open(message, start),
        (_, udp_port::AYIYA) | (udp_port::AYIYA, _) => ayiya::open(message, start),
        _ => teredo::open_between_peers(message, start),
    }
}

/// A packet of IPv6 at `start`, where its version says so.
pub(crate) fn ipv6_at(message: &[u8], start: usize) -> Option<Inside> {
    let inside = ip_at(message, start)?;
    matches!(inside, Inside::Packet(ether_type::IPV6, ..)).then_some(inside)
}

/// A packet of IP at `start`, told by its version.
pub(crate) fn ip_at(message: &[u8], start: usize) -> Option<Inside> {
    let carried = match message.get(start)? >> 4 {
        4 => ether_type::IPV4,
        6 => ether_type::IPV6,
        _ => return None,
    };
    Some(Inside::Packet(carried, start, None))
}
