//! The hosts of the reference story.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Everything is tested over both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

pub const BOTH: [Family; 2] = [Family::V4, Family::V6];

/// A host: the last byte of its addresses, and, but for strangers, its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host(pub u8);

pub const AI_MODEL: Host = Host(2);
pub const PHOTO_DB: Host = Host(3);
pub const FRONTEND: Host = Host(4);
/// Known, but nobody's workload.
pub const RESOLVER: Host = Host(53);
/// What `api.example.com` is called; it has no address until an answer names one.
pub const API: u32 = 100;
/// Nobody knows it.
pub const STRANGER: Host = Host(200);

impl Host {
    pub fn identity(self) -> u32 {
        if self == STRANGER { 0 } else { self.0.into() }
    }

    pub fn address(self, family: Family) -> IpAddr {
        match family {
            Family::V4 => Ipv4Addr::new(10, 91, 0, self.0).into(),
            Family::V6 => Ipv6Addr::new(0xfd91, 0, 0, 0, 0, 0, 0, self.0.into()).into(),
        }
    }

    pub fn port(self, family: Family, port: u16) -> SocketAddr {
        (self.address(family), port).into()
    }
}
