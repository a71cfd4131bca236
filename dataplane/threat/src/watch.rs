//! What the detectors are told of a connection, and what they remember of it.

use weir_l7::AppId;

use crate::{network, protocols};

/// A connection, client first.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// Unique on this node since it started.
    pub number: u64,
    /// Keeps equal addresses of different networks apart.
    pub zone: u32,
    /// Addresses, IPv4 mapped into IPv6.
    pub client: u128,
    /// See `client`.
    pub server: u128,
    /// Ports; see [`weir_wire::Packet`] for ICMP.
    pub client_port: u16,
    /// See `client_port`.
    pub server_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// What it speaks; None while undecided.
    pub application: Option<AppId>,
    /// Whether its first packet was seen.
    pub from_start: bool,
    /// When that was, microseconds.
    pub first_seen_us: u64,
    /// Packets by direction so far.
    pub packets: [u64; 2],
}

/// What can be told of a TCP connection without looking far.
#[derive(Clone, Copy, Debug)]
pub struct Brief {
    /// See [`Connection::application`].
    pub application: Option<AppId>,
    /// See [`Connection::from_start`].
    pub from_start: bool,
    /// See [`Connection::packets`].
    pub packets: [u64; 2],
}

/// What detectors remember of one connection. Plain data; nothing to give back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {
    /// Of its packets.
    pub network: network::Watch,
    /// Of its messages.
    pub protocols: protocols::Watch,
}

/// A [`Watch`] with next to nothing in it, as that of nearly every connection is: small enough to be kept for
/// all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quiet(network::Quiet);

impl Watch {
    /// What counts of it where nothing more of the connection is read.
    pub fn at_rest(&self) -> Self {
        Self {
            network: self.network,
            protocols: self.protocols.at_rest(),
        }
    }

    /// What counts of it when the connection is over.
    pub fn at_end(&self) -> Quiet {
        Quiet(self.network.at_end())
    }

    /// All that it remembers, where that is next to nothing.
    pub fn quiet(&self) -> Option<Quiet> {
        let quiet = Quiet(self.network.quiet()?);
        self.protocols.is_empty().then_some(quiet)
    }
}

impl From<Quiet> for Watch {
    fn from(quiet: Quiet) -> Self {
        Self {
            network: quiet.0.into(),
            protocols: protocols::Watch::default(),
        }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// TCP: both sides had answered. Otherwise: the server had answered.
    pub was_established: bool,
    /// Bytes of frames by direction.
    pub bytes: [u64; 2],
}
