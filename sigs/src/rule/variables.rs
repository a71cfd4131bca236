//! Variables of rules: groups of addresses (`$HOME_NET`) and of ports (`$HTTP_PORTS`).
//!
//! Every customary group of addresses is `any` until it is set: between the workloads of a cluster
//! there is no inside and outside. Ports are what the services they are named for use.

use std::collections::BTreeMap;

use super::header::{parse_addresses, parse_ports};
use super::number::{AddressSet, PortSet};
use super::refusal::Mistake;
use super::word::Word;

/// How deep variables and lists may lie in one another.
pub(super) const DEPTH_MAX: usize = 16;

/// Groups of addresses that rules name by custom.
const ADDRESSES: [&str; 26] = [
    "HOME_NET",
    "EXTERNAL_NET",
    "HTTP_SERVERS",
    "SMTP_SERVERS",
    "SQL_SERVERS",
    "DNS_SERVERS",
    "TELNET_SERVERS",
    "SNMP_SERVERS",
    "FTP_SERVERS",
    "SSH_SERVERS",
    "POP_SERVERS",
    "IMAP_SERVERS",
    "SIP_SERVERS",
    "NTP_SERVERS",
    "RPC_SERVERS",
    "WWW_SERVERS",
    "AIM_SERVERS",
    "DC_SERVERS",
    "DNP3_SERVER",
    "DNP3_CLIENT",
    "MODBUS_SERVER",
    "MODBUS_CLIENT",
    "ENIP_SERVER",
    "ENIP_CLIENT",
    "PROXY_SERVERS",
    "VPN_SERVERS",
];

/// Groups of ports that rules name by custom.
const PORTS: [(&str, &str); 22] = [
    (
        "HTTP_PORTS",
        "[80,591,3000,5000,8000,8008,8080:8090,8888,9000,9090]",
    ),
    ("SHELLCODE_PORTS", "!80"),
    ("ORACLE_PORTS", "[1521,1522,1526]"),
    ("SSH_PORTS", "22"),
    ("DNP3_PORTS", "20000"),
    ("MODBUS_PORTS", "502"),
    ("FILE_DATA_PORTS", "[$HTTP_PORTS,110,143]"),
    ("FTP_PORTS", "21"),
    ("GENEVE_PORTS", "6081"),
    ("VXLAN_PORTS", "[4789,8472]"),
    ("TEREDO_PORTS", "3544"),
    ("SIP_PORTS", "[5060,5061]"),
    ("SMTP_PORTS", "[25,465,587,2525]"),
    ("POP3_PORTS", "[110,995]"),
    ("IMAP_PORTS", "[143,993]"),
    ("DNS_PORTS", "53"),
    ("SMB_PORTS", "[139,445]"),
    ("MYSQL_PORTS", "3306"),
    ("MSSQL_PORTS", "1433"),
    ("TELNET_PORTS", "23"),
    ("TLS_PORTS", "[443,465,636,853,989:995,5061,8443]"),
    ("RPC_PORTS", "[111,135]"),
];

/// The values of variables.
#[derive(Clone, Debug)]
pub struct Variables {
    addresses: BTreeMap<String, AddressSet>,
    ports: BTreeMap<String, PortSet>,
}

/// Why a variable cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the variable {name} cannot be {value:?}: {why}")]
pub struct VariableError {
    name: String,
    value: String,
    why: String,
}

impl Default for Variables {
    fn default() -> Self {
        let mut variables = Self {
            addresses: BTreeMap::new(),
            ports: BTreeMap::new(),
        };
        for name in ADDRESSES {
            variables
                .addresses
                .insert(name.to_owned(), AddressSet::any());
        }
        for (name, value) in PORTS {
            if let Ok((ports, _)) = parse_ports(Word::new(value, 0), &variables) {
                variables.ports.insert(name.to_owned(), ports);
            }
        }
        variables
    }
}

impl Variables {
    /// Sets one: `HOME_NET` to `[10.0.0.0/8,!10.1.0.0/16]`, `HTTP_PORTS` to `[80,8000:8999]`. A name is of
    /// ports if it ends in `PORTS` or `PORT`, as it is by custom; else of addresses.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), VariableError> {
        let name = name.strip_prefix('$').unwrap_or(name);
        let failed = |mistake: Mistake| VariableError {
            name: name.to_owned(),
            value: value.to_owned(),
            why: mistake.why,
        };
        let letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        if name.is_empty() || !name.chars().all(letter) {
            return Err(failed(Mistake::malformed(
                0,
                "a name is made of letters, digits and underscores",
            )));
        }
        let word = Word::new(value, 0).trim();
        if is_ports(name) {
            let (ports, _) = parse_ports(word, self).map_err(failed)?;
            self.ports.insert(name.to_owned(), ports);
        } else {
            let (addresses, _) = parse_addresses(word, self).map_err(failed)?;
            self.addresses.insert(name.to_owned(), addresses);
        }
        Ok(())
    }

    /// The names and values, as rules would write them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, String)> {
        let addresses = self.addresses.iter();
        let ports = self.ports.iter();
        let addresses = addresses.map(|(name, set)| (name.as_str(), set.to_string()));
        addresses.chain(ports.map(|(name, set)| (name.as_str(), set.to_string())))
    }

    pub(super) fn addresses(&self, name: &str) -> Option<&AddressSet> {
        self.addresses.get(name)
    }

    pub(super) fn ports(&self, name: &str) -> Option<&PortSet> {
        self.ports.get(name)
    }
}

fn is_ports(name: &str) -> bool {
    name.ends_with("PORTS") || name.ends_with("PORT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_all_readable() {
        let variables = Variables::default();
        assert_eq!(variables.iter().count(), ADDRESSES.len() + PORTS.len());
        assert!(variables.ports("FILE_DATA_PORTS").unwrap().contains(8080));
        assert!(!variables.ports("SHELLCODE_PORTS").unwrap().contains(80));
        assert!(variables.addresses("HOME_NET").unwrap().is_any());
    }

    #[test]
    fn they_can_be_set_and_name_one_another() {
        let mut variables = Variables::default();
        variables.set("HOME_NET", "[10.0.0.0/8, fd00::/8]").unwrap();
        variables.set("$EXTERNAL_NET", "!$HOME_NET").unwrap();
        let outside = variables.addresses("EXTERNAL_NET").unwrap();
        assert!(outside.contains("11.0.0.1".parse().unwrap()));
        assert!(!outside.contains("10.0.0.1".parse().unwrap()));
        variables.set("MY_PORTS", "[1:3,!2]").unwrap();
        assert_eq!(
            variables.ports("MY_PORTS").unwrap().as_slice(),
            [(1, 1), (3, 3)]
        );
        let error = variables.set("X", "10.0.0.0/33").unwrap_err();
        assert!(error.to_string().contains("10.0.0.0/33"), "{error}");
        assert!(variables.set("A B", "any").is_err());
    }
}
