//! The walk over a frame, header by header.
//!
//! Trusts nothing but the length of the slice. Every length in a header is compared with what is
//! left of the frame before it is used; from then on reading is infallible. Gives the reasons
//! listed under `decode` in [`Reason`]; the files of the headers say which is whose. Bounded by two
//! VLAN tags an Ethernet header, eight IPv6 extension headers and [`DecodeOptions::tunnels_max`].

use crate::glance::glance;
use crate::network::Network;
use crate::trace::{IpLayer, Layer, NoTrace, Trace};
use crate::transport::Upper;
use crate::tunnel::Inside;
use crate::{Kind, Packet, Reason, Segment, TcpFields};
use crate::{
    ether_type, ethernet, foreign, ipv4, ipv6, neighbour, pppoe, protocol, transport, tunnel,
};

/// How far decode goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeOptions {
    /// How many tunnels may be nested; a packet with more is refused. 0: tunnels are not opened,
    /// and judged by their outer header.
    pub tunnels_max: u8,
    /// Whether a wrong IPv4 header checksum is a reason to refuse. False where the network card
    /// has checked it.
    pub verify_ipv4_checksum: bool,
    /// Whether tunnels that no container network uses are opened too: ERSPAN, GTP-U, Teredo, GRE in
    /// UDP, AYIYA, NSH. False where packets are judged: whoever may send to such a port could claim any
    /// inner address, so they are judged by their outer header. True for who analyses a capture.
    pub foreign_tunnels: bool,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self {
            tunnels_max: 2,
            verify_ipv4_checksum: true,
            foreign_tunnels: false,
        }
    }
}

/// Reads an Ethernet frame down to the innermost payload.
#[inline]
pub fn decode(frame: &[u8], options: &DecodeOptions) -> Result<Packet, Reason> {
    // Nearly all are plain: seen at a glance they cost two thirds of the walk.
    if !options.foreign_tunnels
        && let Some(seen) = glance(frame, options.verify_ipv4_checksum)
        && let Some(packet) = seen.packet(frame)
    {
        return Ok(packet);
    }
    walk(
        frame,
        Inside::Ethernet(0, None),
        Segment::None,
        0,
        None,
        options,
        &mut NoTrace,
    )
}

/// Reads a datagram put together from fragments. It starts at its IP header, whose own checksum is
/// not looked at (it was never on the wire); `segment` and `tunnels` are those of its fragments.
pub fn decode_datagram(
    datagram: &[u8],
    segment: Segment,
    tunnels: u8,
    options: &DecodeOptions,
) -> Result<Packet, Reason> {
    walk(
        datagram,
        datagram_inside(datagram),
        segment,
        tunnels,
        None,
        options,
        &mut NoTrace,
    )
}

/// A datagram as the content of a frame, told by its version.
pub(crate) fn datagram_inside(datagram: &[u8]) -> Inside {
    let is_ipv6 = datagram.first().is_some_and(|first| first >> 4 == 6);
    Inside::Packet(
        if is_ipv6 {
            ether_type::IPV6
        } else {
            ether_type::IPV4
        },
        0,
        None,
    )
}

/// Reads from `inside` on. `segment`, `tunnels` and `outermost`, an EtherType, are what is known from
/// before.
#[inline(always)]
pub(crate) fn walk(
    frame: &[u8],
    mut inside: Inside,
    mut segment: Segment,
    mut tunnels: u8,
    mut outermost: Option<u16>,
    options: &DecodeOptions,
    trace: &mut impl Trace,
) -> Result<Packet, Reason> {
    let mut scope = frame;
    // A datagram's header was made up, not received.
    let is_made_up = outermost.is_none() && matches!(inside, Inside::Packet(..));
    let mut verify = options.verify_ipv4_checksum && !is_made_up;
    loop {
        // The link: an Ethernet header, or none within a tunnel that carries IP.
        let (carried, start) = link(scope, inside, &mut segment, trace)?;
        let outer_ether_type = *outermost.get_or_insert(carried);

        // The network.
        let network = match carried {
            ether_type::IPV4 => ipv4::read(scope, start, verify)?,
            ether_type::IPV6 => ipv6::read(scope, start)?,
            _ => {
                let within = options.foreign_tunnels.then(|| {
                    let opened = foreign::open_link(scope, carried, start)?;
                    within(scope, opened, segment, tunnels, outer_ether_type, options)
                });
                let other = || not_ip(scope, start, carried, segment, tunnels);
                return Ok(within.flatten().unwrap_or_else(other));
            }
        };
        verify = options.verify_ipv4_checksum;
        scope = &scope[..network.end];
        trace.layer(Layer::Ip(IpLayer::from(&network)));
        if network.fragment.is_some() {
            return Ok(packet(
                Kind::Ip,
                outer_ether_type,
                segment,
                tunnels,
                &network,
                whole(&network),
            ));
        }

        // A tunnel: begin again inside of it.
        if options.tunnels_max > 0
            && let Some(opened) = tunnel::open(scope, &network, trace)?
        {
            if tunnels >= options.tunnels_max {
                return Err(Reason::TunnelTooDeep);
            }
            tunnels += 1;
            inside = opened;
            continue;
        }
        if options.foreign_tunnels
            && let Some(opened) = foreign::open(scope, &network)
            && let Some(packet) = within(scope, opened, segment, tunnels, outer_ether_type, options)
        {
            return Ok(packet);
        }
        // An outer source route leads to the tunnel's end, an innermost one past the judgement.
        if network.source_routed {
            return Err(Reason::SourceRoute);
        }

        // The upper layer.
        let upper = transport::read(scope, network.upper, network.protocol)?;
        let kind = match neighbour::is_icmpv6(&network, upper.source_port) {
            true => Kind::Neighbour,
            false => Kind::Ip,
        };
        return Ok(packet(
            kind,
            outer_ether_type,
            segment,
            tunnels,
            &network,
            upper,
        ));
    }
}

/// Reads what a foreign tunnel carries, to the end of its message. None where that does not read to its
/// end, and where no more tunnels are opened.
#[cold]
#[inline(never)]
fn within(
    scope: &[u8],
    (inside, end): (Inside, usize),
    segment: Segment,
    tunnels: u8,
    outermost: u16,
    options: &DecodeOptions,
) -> Option<Packet> {
    if tunnels >= options.tunnels_max {
        return None;
    }
    walk(
        scope.get(..end)?,
        inside,
        segment,
        tunnels + 1,
        Some(outermost),
        options,
        &mut NoTrace,
    )
    .ok()
}

/// The EtherType of what follows and where it starts.
#[inline(always)]
fn link(
    scope: &[u8],
    inside: Inside,
    segment: &mut Segment,
    trace: &mut impl Trace,
) -> Result<(u16, usize), Reason> {
    let (carried, start, found) = match inside {
        Inside::Packet(carried, start, network) => {
            (carried, start, network.unwrap_or(Segment::None))
        }
        Inside::Ethernet(start, network) => {
            trace.layer(Layer::Ethernet { start });
            let link = ethernet::read(scope, start)?;
            let (mut carried, mut payload) = (link.ether_type, link.payload);
            if carried == ether_type::PPPOE_SESSION
                && let Some(within) = pppoe::read(scope, payload)
            {
                trace.layer(Layer::Pppoe { start: payload });
                (carried, payload) = within;
            }
            (carried, payload, network.unwrap_or(link.segment))
        }
    };
    match (*segment, found) {
        (_, Segment::None) => {}
        // Tags within a VNI are the sender's free choice and name no network of ours.
        (Segment::Vni(_), Segment::Vlan(_) | Segment::QinQ(..)) => {}
        (_, found) => *segment = found,
    }
    Ok((carried, start))
}

/// The payload of a fragment: no header of the upper layer is read.
fn whole(network: &Network) -> Upper {
    Upper {
        source_port: 0,
        destination_port: 0,
        tcp: TcpFields::default(),
        payload: network.upper,
        end: network.end,
    }
}

#[inline(always)]
fn packet(
    kind: Kind,
    ether_type: u16,
    segment: Segment,
    tunnels: u8,
    network: &Network,
    upper: Upper,
) -> Packet {
    Packet {
        kind,
        ether_type,
        segment,
        tunnels,
        source: network.source,
        destination: network.destination,
        is_ipv4: network.is_ipv4,
        protocol: network.protocol,
        hop_limit: network.hop_limit,
        fragment: network.fragment,
        source_port: upper.source_port,
        destination_port: upper.destination_port,
        tcp: upper.tcp,
        network_offset: network.start as u32,
        transport_offset: network.upper as u32,
        payload_offset: upper.payload as u32,
        payload_end: upper.end as u32,
    }
}

/// A frame that carries no IP.
#[cold]
fn not_ip(scope: &[u8], start: usize, carried: u16, segment: Segment, tunnels: u8) -> Packet {
    let is_neighbour = carried == ether_type::ARP && neighbour::is_arp(scope, start);
    Packet {
        kind: if is_neighbour {
            Kind::Neighbour
        } else {
            Kind::Other
        },
        ether_type: carried,
        segment,
        tunnels,
        source: 0,
        destination: 0,
        is_ipv4: false,
        protocol: protocol::NO_NEXT,
        hop_limit: 0,
        fragment: None,
        source_port: 0,
        destination_port: 0,
        tcp: TcpFields::default(),
        network_offset: start as u32,
        transport_offset: start as u32,
        payload_offset: start as u32,
        payload_end: scope.len() as u32,
    }
}

impl From<&Network> for IpLayer {
    #[inline(always)]
    fn from(network: &Network) -> Self {
        Self {
            is_ipv4: network.is_ipv4,
            source: network.source,
            destination: network.destination,
            start: network.start,
            upper: network.upper,
            plain: network.plain,
        }
    }
}
