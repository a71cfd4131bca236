//! Community ID: one name for a flow that other tools compute too
//! (<https://github.com/corelight/community-id-spec>, version 1, seed 0).

use std::net::IpAddr;

use base64::{Engine, prelude::BASE64_STANDARD};
use sha1::{Digest, Sha1};

/// The id of a flow between two addresses and ports, whichever way round. ICMP flows are named by
/// their addresses and protocol alone.
pub fn community_id(addresses: (IpAddr, IpAddr), ports: (u16, u16), protocol: u8) -> String {
    let has_ports = crate::connection::has_ports(protocol);
    let ports = if has_ports { ports } else { (0, 0) };
    let (first, second) = (
        (octets(addresses.0), ports.0),
        (octets(addresses.1), ports.1),
    );
    let (low, high) = if first <= second {
        (first, second)
    } else {
        (second, first)
    };
    let mut hash = Sha1::new();
    hash.update([0, 0]);
    hash.update(&low.0);
    hash.update(&high.0);
    hash.update([protocol, 0]);
    if has_ports {
        hash.update(low.1.to_be_bytes());
        hash.update(high.1.to_be_bytes());
    }
    format!("1:{}", BASE64_STANDARD.encode(hash.finalize()))
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_example() {
        let addresses = (
            "128.232.110.120".parse().unwrap(),
            "66.35.250.204".parse().unwrap(),
        );
        let id = community_id(addresses, (34855, 80), 6);
        assert_eq!(id, "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
        assert_eq!(community_id((addresses.1, addresses.0), (80, 34855), 6), id);
    }
}
