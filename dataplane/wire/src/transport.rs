//! Which upper-layer header is read by which file.

use crate::{Reason, TcpFields, icmp, protocol, sctp, tcp, udp};

/// An upper-layer header, read.
pub(crate) struct Upper {
    pub source_port: u16,
    pub destination_port: u16,
    pub tcp: TcpFields,
    /// Where the payload starts.
    pub payload: usize,
    /// Where it ends.
    pub end: usize,
}

/// Reads the upper-layer header at `start`; a protocol not known here is all payload.
#[inline(always)]
pub(crate) fn read(scope: &[u8], start: usize, protocol: u8) -> Result<Upper, Reason> {
    match protocol {
        protocol::TCP => tcp::read(scope, start),
        protocol::UDP => udp::read(scope, start),
        protocol::ICMP => icmp::read(scope, start, false),
        protocol::ICMPV6 => icmp::read(scope, start, true),
        protocol::SCTP => sctp::read(scope, start),
        _ => Ok(Upper {
            source_port: 0,
            destination_port: 0,
            tcp: TcpFields::default(),
            payload: start,
            end: scope.len(),
        }),
    }
}
