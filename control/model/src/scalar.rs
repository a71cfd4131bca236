//! Networks, ports, protocols and EtherTypes as they are written.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv6Net};
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::Shortened;
use crate::{ThreatName, did_you_mean};

/// Why a value cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScalarError(String);

impl ScalarError {
    pub(crate) fn new(message: String) -> Self {
        Self(message)
    }
}

/// An address or a network: "10.91.0.3", "fd91::/64". Host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network(IpNet);

/// Inclusive: 3306, or "8000-8100".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    first: u16,
    last: u16,
}

/// An IP protocol, by IANA number or name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(pub u8);

/// The type of a frame that is not IP: 0x88cc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EtherType(pub u16);

/// The names that can be written for protocols (IANA keywords in lower case).
const PROTOCOLS: &[(&str, u8)] = &[
    ("icmp", 1),
    ("igmp", 2),
    ("ipip", 4),
    ("tcp", 6),
    ("egp", 8),
    ("udp", 17),
    ("dccp", 33),
    ("ipv6", 41),
    ("rsvp", 46),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmpv6", 58),
    ("eigrp", 88),
    ("ospf", 89),
    ("pim", 103),
    ("vrrp", 112),
    ("l2tp", 115),
    ("sctp", 132),
    ("udplite", 136),
];

impl Network {
    /// The network of this address and prefix; host bits must be zero.
    pub fn new(network: IpNet) -> Result<Self, ScalarError> {
        if network.trunc() != network {
            return Err(ScalarError(format!(
                "{network} has host bits set; write {} for the network or {} for the host",
                network.trunc(),
                network.addr()
            )));
        }
        if let IpNet::V6(v6) = network
            && mapped().contains(&v6)
        {
            return Err(ScalarError(format!(
                "{network} is an IPv4 address mapped into IPv6; write the IPv4 address"
            )));
        }
        Ok(Self(network))
    }

    /// The network of one address.
    pub fn host(address: IpAddr) -> Self {
        Self(IpNet::from(address.to_canonical()))
    }

    /// As the `ipnet` type.
    pub const fn net(&self) -> IpNet {
        self.0
    }

    /// Whether every address of `other` lies within; families never contain one another.
    pub fn contains(&self, other: &Network) -> bool {
        self.0.contains(&other.0)
    }

    /// The range, in the order of networks, that holds exactly the networks within this one.
    pub fn within(&self) -> std::ops::RangeInclusive<Network> {
        let last = match self.0 {
            IpNet::V4(net) => IpAddr::V4(net.broadcast()),
            IpNet::V6(net) => IpAddr::V6(net.broadcast()),
        };
        *self..=Self(IpNet::from(last))
    }

    /// The networks around this one, itself first, the whole family last.
    pub fn around(&self) -> impl Iterator<Item = Network> {
        std::iter::successors(Some(self.0), IpNet::supernet).map(Network)
    }

    /// Whether they have an address in common.
    pub fn overlaps(&self, other: &Network) -> bool {
        self.contains(other) || other.contains(self)
    }
}

/// ::ffff:0:0/96
fn mapped() -> Ipv6Net {
    Ipv6Net::new_assert(std::net::Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96)
}

impl FromStr for Network {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Self::new(IpNet::from(address));
        }
        match text.parse::<IpNet>() {
            Ok(network) => Self::new(network),
            Err(_) => Err(ScalarError(format!(
                "{:?} is neither an address nor a network; write it like 10.91.0.3, 10.91.0.0/24 or fd91::/64",
                Shortened(text)
            ))),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            self.0.addr().fmt(formatter)
        } else {
            self.0.fmt(formatter)
        }
    }
}

impl PortRange {
    /// From the first to the last port, both included.
    pub fn new(first: u16, last: u16) -> Result<Self, ScalarError> {
        if first > last {
            return Err(ScalarError(format!(
                "ports {first}-{last} run backwards; write {last}-{first}"
            )));
        }
        Ok(Self { first, last })
    }

    /// One port.
    pub const fn single(port: u16) -> Self {
        Self {
            first: port,
            last: port,
        }
    }

    /// The first port.
    pub const fn first(&self) -> u16 {
        self.first
    }

    /// The last port, included.
    pub const fn last(&self) -> u16 {
        self.last
    }
}

impl FromStr for PortRange {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let port = |text: &str| {
            let digits = text.trim();
            (digits.bytes().all(|byte| byte.is_ascii_digit()))
                .then(|| digits.parse::<u16>().ok())
                .flatten()
        };
        let range = match text.split_once('-') {
            Some((first, last)) => port(first).zip(port(last)),
            None => port(text).map(|port| (port, port)),
        };
        match range {
            Some((first, last)) => Self::new(first, last),
            None => Err(ScalarError(format!(
                "{:?} is no port; write a number up to 65535 or a range like 8000-8100",
                Shortened(text)
            ))),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            self.first.fmt(formatter)
        } else {
            write!(formatter, "{}-{}", self.first, self.last)
        }
    }
}

impl Protocol {
    /// Its name, where it has one.
    pub fn name(self) -> Option<&'static str> {
        PROTOCOLS
            .iter()
            .find(|(_, number)| *number == self.0)
            .map(|(name, _)| *name)
    }

    /// Whether its packets carry ports.
    pub const fn has_ports(self) -> bool {
        matches!(self.0, 6 | 17 | 132)
    }
}

impl FromStr for Protocol {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        if let Some((_, number)) = PROTOCOLS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text))
        {
            return Ok(Self(*number));
        }
        if let Ok(number) = text.parse::<u8>() {
            return Ok(Self(number));
        }
        let hint = did_you_mean(text, PROTOCOLS.iter().map(|(name, _)| *name)).map_or_else(
            || "write its IANA number (0-255)".to_owned(),
            |name| format!("did you mean {name}?"),
        );
        Err(ScalarError(format!(
            "{:?} is no IP protocol that has a name here; {hint}",
            Shortened(text)
        )))
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => formatter.write_str(name),
            None => self.0.fmt(formatter),
        }
    }
}

impl EtherType {
    /// Types of 1536 and more; smaller numbers are lengths (IEEE 802.3). IP and ARP are not
    /// governed as links.
    fn new(number: u64) -> Result<Self, ScalarError> {
        match u16::try_from(number) {
            Ok(0x0800 | 0x86dd) => Err(ScalarError(format!(
                "EtherType {number:#06x} is IP, which allowlists govern; leave it out"
            ))),
            Ok(number) if number >= 0x0600 => Ok(Self(number)),
            _ => Err(ScalarError(format!(
                "{number} is no EtherType; those are 0x0600 to 0xffff"
            ))),
        }
    }
}

impl FromStr for EtherType {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse::<u64>(),
        };
        match number {
            Ok(number) => Self::new(number),
            Err(_) => Err(ScalarError(format!(
                "{:?} is no EtherType; write it like 0x88cc",
                Shortened(text)
            ))),
        }
    }
}

impl fmt::Display for EtherType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#06x}", self.0)
    }
}

/// Reads what may be written as text or as a number.
struct TextOrNumber<T>(std::marker::PhantomData<T>, &'static str);

impl<T: FromStr<Err = ScalarError>> Visitor<'_> for TextOrNumber<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.1)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

macro_rules! text_or_number {
    ($type:ident, $expecting:literal, |$value:ident, $serializer:ident| $serialize:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(TextOrNumber(std::marker::PhantomData, $expecting))
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, $serializer: S) -> Result<S::Ok, S::Error> {
                let $value = self;
                $serialize
            }
        }
    };
}

text_or_number!(
    PortRange,
    "a port or a range of ports",
    |range, serializer| {
        if range.first == range.last {
            serializer.serialize_u16(range.first)
        } else {
            serializer.collect_str(range)
        }
    }
);
text_or_number!(
    Protocol,
    "the name or number of an IP protocol",
    |protocol, serializer| {
        match protocol.name() {
            Some(name) => serializer.serialize_str(name),
            None => serializer.serialize_u8(protocol.0),
        }
    }
);
text_or_number!(EtherType, "an EtherType", |ether_type, serializer| {
    serializer.collect_str(ether_type)
});
text_or_number!(
    ThreatName,
    "the name or number of a threat",
    |threat, serializer| {
        match threat.id() {
            Some(id) if id.to_string() == threat.as_str() => serializer.serialize_u16(id),
            _ => serializer.serialize_str(threat.as_str()),
        }
    }
);

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_canonical_and_stay_in_their_family() {
        let parse = |text: &str| text.parse::<Network>();
        assert_eq!(parse("10.91.0.3").unwrap().to_string(), "10.91.0.3");
        assert_eq!(parse("10.91.0.3/32").unwrap(), parse("10.91.0.3").unwrap());
        assert_eq!(parse("FD91:0::/64").unwrap().to_string(), "fd91::/64");
        assert!(!parse("::/0").unwrap().contains(&parse("10.0.0.1").unwrap()));
        for (bad, told) in [
            ("10.0.0.1/8", "10.0.0.0/8"),
            ("::ffff:10.0.0.1", "IPv4"),
            ("10.0.0.0/33", "neither"),
            ("10.0.0", "neither"),
            ("", "neither"),
            ("fe80::1%eth0", "neither"),
        ] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(error.contains(told), "{bad}: {error}");
        }
    }

    #[test]
    fn order_groups_networks_by_what_they_lie_within() {
        let networks: std::collections::BTreeSet<Network> = [
            "0.0.0.0/0",
            "9.255.255.255",
            "10.0.0.0/7",
            "10.0.0.0/8",
            "10.0.0.0",
            "10.0.0.0/9",
            "10.255.255.255",
            "11.0.0.0",
            "::/0",
            "::a00:0/8",
            "::a00:0",
            "ff00::/8",
            "ffff::",
            "255.255.255.255",
        ]
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect();
        assert!(networks.len() > 10);
        for network in &networks {
            let ranged: Vec<_> = networks.range(network.within()).collect();
            let scanned: Vec<_> = networks
                .iter()
                .filter(|other| network.contains(other))
                .collect();
            assert_eq!(ranged, scanned, "{network}");
            let around: Vec<_> = network
                .around()
                .filter(|other| networks.contains(other))
                .collect();
            let mut scanned: Vec<_> = networks
                .iter()
                .filter(|other| other.contains(network))
                .copied()
                .collect();
            scanned.sort_by_key(|other| std::cmp::Reverse(other.net().prefix_len()));
            assert_eq!(around, scanned, "{network}");
        }
    }

    #[test]
    fn ports_protocols_and_ether_types() {
        assert_eq!(
            "8000-8100".parse::<PortRange>().unwrap().to_string(),
            "8000-8100"
        );
        for bad in [
            "", "-", "1-", "-1", "70000", "9-8", "1-2-3", "+1", "http", "0x50",
        ] {
            assert!(bad.parse::<PortRange>().is_err(), "{bad}");
        }
        assert_eq!("TCP".parse::<Protocol>().unwrap(), Protocol(6));
        assert_eq!("253".parse::<Protocol>().unwrap(), Protocol(253));
        assert!(
            "tpc"
                .parse::<Protocol>()
                .unwrap_err()
                .to_string()
                .contains("tcp")
        );
        assert!("256".parse::<Protocol>().is_err());
        assert_eq!("0x88cc".parse::<EtherType>().unwrap().to_string(), "0x88cc");
        assert_eq!("35020".parse::<EtherType>().unwrap(), EtherType(0x88cc));
        for bad in ["0x0800", "1", "0x10000", "lldp", ""] {
            assert!(bad.parse::<EtherType>().is_err(), "{bad}");
        }
        for (name, number) in PROTOCOLS {
            assert_eq!(Protocol(*number).name(), Some(*name));
        }
    }
}
