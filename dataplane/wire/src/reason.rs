//! Why a packet was passed, dropped or held: one closed table, name and sentence side by side.

macro_rules! reasons {
    ($($variant:ident, $name:literal, $sentence:literal;)*) => {
        /// Why a packet was passed, dropped or held.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Reason { $(#[doc = $sentence] $variant,)* }

        impl Reason {
            /// Every reason, in the order of its number.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)*];

            /// The name used in metrics, events and documentation.
            pub const fn name(self) -> &'static str {
                match self { $(Reason::$variant => $name,)* }
            }

            /// One sentence for people.
            pub const fn sentence(self) -> &'static str {
                match self { $(Reason::$variant => $sentence,)* }
            }
        }
    };
}

reasons! {
    // decode
    EthernetTruncated, "ethernet_truncated", "The frame ends within its Ethernet header or VLAN tags.";
    VlanTooDeep, "vlan_too_deep", "The frame carries more than two VLAN tags.";
    Ipv4Malformed, "ipv4_malformed", "The IPv4 header's version, length or total length contradicts the frame.";
    Ipv4Checksum, "ipv4_checksum", "The IPv4 header checksum is wrong.";
    Ipv6Malformed, "ipv6_malformed", "The IPv6 header's version or payload length contradicts the frame.";
    Ipv6Extension, "ipv6_extension", "An IPv6 extension header is truncated, repeated or out of order beyond what hosts accept, or there are too many.";
    Ipv6Mapped, "ipv6_mapped", "An IPv6 header carries an IPv4-mapped address, which must not appear on the wire.";
    SourceRoute, "source_route", "The packet carries a source route with hops left: where it would end cannot be judged by its destination address.";
    FragmentMalformed, "fragment_malformed", "A fragment's length or offset is impossible.";
    TcpMalformed, "tcp_malformed", "The TCP header is truncated or its data offset is impossible.";
    UdpMalformed, "udp_malformed", "The UDP header is truncated or its length contradicts the packet.";
    IcmpMalformed, "icmp_malformed", "The ICMP or ICMPv6 header is truncated.";
    SctpMalformed, "sctp_malformed", "The SCTP header is truncated.";
    TunnelMalformed, "tunnel_malformed", "A VXLAN, Geneve, GRE or IP-in-IP header is malformed.";
    TunnelTooDeep, "tunnel_too_deep", "More tunnels are nested than the limit allows.";
    TransportChecksum, "transport_checksum", "The TCP, UDP or ICMP checksum is wrong: the endpoint would not read this packet.";
    // defragment
    FragmentOverlap, "fragment_overlap", "Fragments of one datagram overlap; the datagram is given up (RFC 5722).";
    FragmentRepeated, "fragment_repeated", "A fragment with the place and the bytes of one before it; the first counts.";
    FragmentTimeout, "fragment_timeout", "The datagram's fragments did not all arrive in time.";
    FragmentLimit, "fragment_limit", "The memory or count limit for fragments is reached.";
    FragmentTooBig, "fragment_too_big", "The fragments add up to more than 65,535 bytes.";
    FragmentTiny, "fragment_tiny", "A first fragment does not hold the whole upper-layer header (RFC 7112).";
    // track
    TcpFlags, "tcp_flags", "A combination of TCP flags that no honest sender uses.";
    TcpWindow, "tcp_window", "The segment lies outside the receiver's window.";
    TcpState, "tcp_state", "The segment does not fit the connection's state.";
    // reassemble
    StreamMismatch, "stream_mismatch", "Retransmitted bytes differ from those that were inspected.";
    StreamLimit, "stream_limit", "The memory limit for out-of-order data is reached; the sender will send again.";
    UrgentData, "urgent_data", "Urgent data, which the endpoint may read out of its order or not at all: what it will see cannot be told.";
    NotInspectable, "not_inspectable", "Content that cannot be looked into: a coding that is unknown, broken or a bomb, or no memory for it.";
    // decide
    PolicyDenied, "policy_denied", "A rule denies it.";
    PolicyDefault, "policy_default", "No rule allows it and the target is in protect mode.";
    Quarantined, "quarantined", "One end is quarantined.";
    UnknownIdentity, "unknown_identity", "The address belongs to nobody known and the policy for unknown addresses denies it.";
    LinkDenied, "link_denied", "The frame is not IP and its EtherType is not allowed.";
    ApplicationChanged, "application_changed", "The connection began as one application and turned to another.";
    Signature, "signature", "A signature whose action is drop matched.";
    Sensor, "sensor", "A sensor whose action is drop fired.";
    Threat, "threat", "A threat detector whose action is drop found an attack.";
    NoPolicy, "no_policy", "No policy has been received yet and the fail mode is closed.";
    // tx
    FailClosed, "fail_closed", "The worker is gone and the pair's fail mode is closed.";
    TransmitFull, "transmit_full", "The transmit queue was full.";
    HandoverFull, "handover_full", "The ring to the owning worker was full.";
    Terminated, "terminated", "The connection was already denied; what belongs to it is dropped.";
    Shutdown, "shutdown", "The packet was still held when the node stopped.";
}
