//! Numbers assigned by IANA and IEEE, under the names used in this project.

/// EtherTypes (IEEE 802 numbers).
pub mod ether_type {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// A bridged Ethernet frame, in GRE and Geneve.
    pub const BRIDGED: u16 = 0x6558;
    /// A mirrored frame in GRE, ERSPAN types I and II.
    pub const ERSPAN: u16 = 0x88be;
    /// A mirrored frame in GRE, ERSPAN type III.
    pub const ERSPAN_3: u16 = 0x22eb;
    /// Network service header.
    pub const NSH: u16 = 0x894f;
    /// 802.1Q tag.
    pub const VLAN: u16 = 0x8100;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// PPP over Ethernet, session stage.
    pub const PPPOE_SESSION: u16 = 0x8864;
    /// 802.1ad service tag.
    pub const SERVICE_VLAN: u16 = 0x88a8;
    /// Service tag as used before 802.1ad.
    pub const OLD_SERVICE_VLAN: u16 = 0x9100;
    /// Smaller values are an 802.3 length.
    pub const SMALLEST: u16 = 0x0600;
}

/// IP protocol numbers.
pub mod protocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// IGMP.
    pub const IGMP: u8 = 2;
    /// IPv4 in IP.
    pub const IPIP: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 in IP.
    pub const IPV6: u8 = 41;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// Generic routing encapsulation.
    pub const GRE: u8 = 47;
    /// Encapsulating security payload.
    pub const ESP: u8 = 50;
    /// Authentication header.
    pub const AH: u8 = 51;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// IPv6: nothing follows.
    pub const NO_NEXT: u8 = 59;
    /// IPv6 destination options.
    pub const DESTINATION_OPTIONS: u8 = 60;
    /// SCTP.
    pub const SCTP: u8 = 132;
    /// IPv6 mobility header.
    pub const MOBILITY: u8 = 135;
    /// UDP-Lite.
    pub const UDP_LITE: u8 = 136;
    /// Host identity protocol.
    pub const HIP: u8 = 139;
    /// Shim6.
    pub const SHIM6: u8 = 140;
}

/// TCP flags as in [`crate::TcpFields::flags`] (RFC 9293, 3.1).
pub mod tcp_flags {
    /// No more data from the sender.
    pub const FIN: u8 = 1;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 2;
    /// Reset.
    pub const RST: u8 = 4;
    /// Push.
    pub const PSH: u8 = 8;
    /// The acknowledgement number holds.
    pub const ACK: u8 = 16;
    /// The urgent pointer holds.
    pub const URG: u8 = 32;
    /// Congestion echo.
    pub const ECE: u8 = 64;
    /// Congestion window reduced.
    pub const CWR: u8 = 128;
}

/// Ports of UDP by which a tunnel is looked for.
pub mod udp_port {
    /// VXLAN (RFC 7348).
    pub const VXLAN: u16 = 4789;
    /// VXLAN as Linux numbered it before the RFC; flannel and Cilium still do.
    pub const VXLAN_LINUX: u16 = 8472;
    /// Geneve (RFC 8926).
    pub const GENEVE: u16 = 6081;
    /// GTP-U (3GPP TS 29.281).
    pub const GTP_U: u16 = 2152;
    /// Teredo (RFC 4380).
    pub const TEREDO: u16 = 3544;
    /// GRE in UDP (RFC 8086).
    pub const GRE: u16 = 4754;
    /// AYIYA (draft-massar-v6ops-ayiya).
    pub const AYIYA: u16 = 5072;
}
