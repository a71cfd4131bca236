//! Which tunnel is opened by which file, and what may be inside.
//!
//! A tunnel is opened where its receiver would open it. What a receiver would discard or hand to
//! something else than a tunnel stays the packet that it is, and is judged by its outer addresses.

use crate::bytes::{at, be16};
use crate::network::Network;
use crate::trace::{Layer, Trace};
use crate::{Reason, Segment, geneve, gre, ipip, protocol, udp, udp_port, vxlan};

/// What a tunnel carries, and where that starts.
#[derive(Clone, Copy)]
pub(crate) enum Inside {
    /// An Ethernet frame; within this virtual network if the tunnel names one.
    Ethernet(usize, Option<Segment>),
    /// A packet of this EtherType; within this virtual network if the tunnel names one.
    Packet(u16, usize, Option<Segment>),
}

/// What is inside of the packet with this IP header, if it is a tunnel. `scope` ends where the IP
/// packet ends.
#[inline(always)]
pub(crate) fn open(
    scope: &[u8],
    network: &Network,
    trace: &mut impl Trace,
) -> Result<Option<Inside>, Reason> {
    match network.protocol {
        protocol::TCP => Ok(None),
        protocol::UDP => open_udp(scope, network.upper, trace),
        protocol::GRE => {
            let inside = gre::open(scope, network.upper)?;
            if inside.is_some() {
                trace.layer(Layer::Gre {
                    start: network.upper,
                    end: scope.len(),
                });
            }
            Ok(inside)
        }
        upper => Ok(ipip::open(upper, network.upper)),
    }
}

/// Tunnels over UDP are told by the destination port and a plausible header.
#[inline(always)]
fn open_udp(scope: &[u8], start: usize, trace: &mut impl Trace) -> Result<Option<Inside>, Reason> {
    let Some(head) = at::<4>(scope, start) else {
        return Ok(None);
    };
    let port = be16(head, 2);
    if !is_tunnel_port(port) {
        return Ok(None);
    }
    let end = udp::read(scope, start)?.end;
    let payload = start + udp::HEADER_LENGTH;
    let inside = match port {
        udp_port::GENEVE => geneve::open(&scope[..end], payload)?,
        _ => vxlan::open(&scope[..end], payload)?,
    };
    if inside.is_some() {
        trace.layer(Layer::Udp { start, end });
    }
    Ok(inside)
}

/// Whether a tunnel is looked for behind this destination port of UDP.
#[inline(always)]
pub(crate) fn is_tunnel_port(port: u16) -> bool {
    matches!(
        port,
        udp_port::VXLAN | udp_port::VXLAN_LINUX | udp_port::GENEVE
    )
}
