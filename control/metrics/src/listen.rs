//! Where metrics are served: `address:port`, or `off`.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::Deserialize;

/// Where metrics are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Listen {
    /// Nowhere.
    Off,
    /// Here.
    At(SocketAddr),
}

impl Listen {
    /// On this port of the loopback.
    pub const fn local(port: u16) -> Self {
        let loopback = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
        Self::At(SocketAddr::new(loopback, port))
    }
}

impl FromStr for Listen {
    type Err = String;

    /// An IPv6 address may come without brackets, as Kubernetes gives a pod's: what stands behind the
    /// last colon is the port in any case.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let bare = || {
            let (address, port) = text.rsplit_once(':')?;
            let address: IpAddr = address.parse().ok()?;
            Some(SocketAddr::new(address, port.parse().ok()?))
        };
        let address = text.parse().ok().or_else(bare);
        address
            .map(Self::At)
            .ok_or_else(|| format!("{text:?} is no place for metrics; write address:port, or off"))
    }
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_and_without_brackets() {
        let at = |text: &str| Listen::At(text.parse().unwrap());
        for (text, expected) in [
            ("off", Listen::Off),
            ("127.0.0.1:9470", Listen::local(9470)),
            ("[::1]:9470", at("[::1]:9470")),
            ("fd00::1:9470", at("[fd00::1]:9470")),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for wrong in [
            "",
            "on",
            "9470",
            "localhost:9470",
            "10.0.0.1:",
            "10.0.0.1:70000",
        ] {
            assert!(wrong.parse::<Listen>().is_err(), "{wrong}");
        }
    }
}
