//! Access to the metadata service of a cloud, where credentials lie about.

use std::net::IpAddr;

use serde::Deserialize;
use weir_wire::{from_ip_address, protocol};

use super::Watch;
use crate::{Config, Connection, Evidence, Found, Threat};

/// Names that lead there.
const HOSTS: &[&[u8]] = &[
    b"metadata.google.internal",
    b"metadata.goog",
    b"instance-data",
    b"instance-data.ec2.internal",
    b"metadata.tencentyun.com",
    b"metadata.azure.internal",
];

/// Clouds answer DNS at the same address.
const DNS_PORT: u16 = 53;

/// `[threats.protocols.metadata]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where metadata services listen.
    pub addresses: Vec<IpAddr>,
}

impl Default for Settings {
    fn default() -> Self {
        // AWS, Azure, Google, OpenStack, Oracle, DigitalOcean; AWS over IPv6; ECS tasks; EKS pod
        // identity; Google over IPv6; Alibaba; Azure's wire server; Oracle at Equinix.
        let addresses = [
            "169.254.169.254",
            "fd00:ec2::254",
            "169.254.170.2",
            "169.254.170.23",
            "fd20:ce::254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
        ];
        Self {
            addresses: addresses.iter().flat_map(|text| text.parse()).collect(),
        }
    }
}

/// A connection began.
pub(super) fn opened(
    config: &Config,
    watch: &mut Watch,
    connection: &Connection,
    found: &mut Found,
) {
    if connection.protocol != protocol::TCP || connection.server_port == DNS_PORT {
        return;
    }
    let addresses = &config.protocols.metadata.addresses;
    if addresses
        .iter()
        .any(|&address| from_ip_address(address) == connection.server)
    {
        let port = connection.server_port.into();
        watch.once(config, Threat::MetadataAccess, found, || {
            Evidence::sign("address").counter("port", port)
        });
    }
}

/// Whether a request is for it, by name.
pub(super) fn is_host(host: &[u8]) -> bool {
    let host = host.split(|&byte| byte == b':').next().unwrap_or(host);
    let host = host.strip_suffix(b".").unwrap_or(host);
    HOSTS.iter().any(|name| name.eq_ignore_ascii_case(host))
}
