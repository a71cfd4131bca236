//! What an interface has that others rely on: MAC address, MTU, addresses and routes. `weir host prepare`
//! writes it down before a card leaves the kernel, weir-node puts it on the host interface that stands for
//! the card, and `weir host restore` puts it on the interface that comes back.
//!
//! Distrusts the file: what is in it becomes words of `ip` only after it was read as addresses and
//! numbers. What the kernel makes by itself of the rest (link-local addresses, routes of networks, what
//! routers advertise) is left out. Memory: the file has 1 MiB at most.

use std::fs;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::machine::{Machine, Unread, Why};
use crate::pci::Address;

/// Where weir-node finds what the interfaces had whose cards it drives; anybody may read it.
pub const INTERFACES_FILE: &str = "/run/weir-host/interfaces.json";
const FILE_BYTES_MAX: u64 = 1 << 20;
/// What `ip` writes for "for ever".
const FOR_EVER: u32 = u32::MAX;
/// The main table's name, which is what is meant without one.
const MAIN: &str = "main";

/// An interface as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// The card it was, where it was one on the PCI bus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Address>,
    /// Its name.
    pub name: String,
    /// Its MAC address.
    pub mac: String,
    /// Bytes of the longest packet.
    pub mtu: u32,
    /// Its addresses, without link-local ones of IPv6.
    #[serde(default)]
    pub addresses: Vec<InterfaceAddress>,
    /// The routes that led out of it, without those that its addresses bring along.
    #[serde(default)]
    pub routes: Vec<InterfaceRoute>,
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// So many bits of it are the network's.
    pub prefix: u8,
    /// Where broadcasts go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broadcast: Option<IpAddr>,
    /// Seconds for which a DHCP server lent it, when it was read; None: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_s: Option<u32>,
}

/// A route out of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterfaceRoute {
    /// Whom it leads to.
    pub network: IpAddr,
    /// So many bits of them count.
    pub prefix: u8,
    /// The router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The sender's address that it suggests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// What it costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// The number of its table; None: the main one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// The router is on this link whatever the addresses say.
    #[serde(default)]
    pub on_link: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InterfacesFile {
    interfaces: Vec<Interface>,
}

/// What `ip -json address` says of an interface.
#[derive(Deserialize)]
struct Told {
    address: String,
    mtu: u32,
    #[serde(default)]
    addr_info: Vec<ToldAddress>,
}

#[derive(Deserialize)]
struct ToldAddress {
    local: IpAddr,
    prefixlen: u8,
    broadcast: Option<IpAddr>,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    dynamic: bool,
    valid_life_time: Option<u32>,
}

/// What `ip -json route` says of a route.
#[derive(Deserialize)]
struct ToldRoute {
    dst: String,
    gateway: Option<IpAddr>,
    prefsrc: Option<IpAddr>,
    metric: Option<u32>,
    table: Option<String>,
    protocol: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    flags: Vec<String>,
}

impl Interface {
    /// Reads what an interface has, by `ip`.
    pub fn read(machine: &Machine, name: &str, device: Option<Address>) -> Result<Self, Unread> {
        let told: Vec<Told> = ask(machine, &["-json", "address", "show", "dev", name])?;
        let Some(told) = told.into_iter().find(|told| !told.address.is_empty()) else {
            return Err(nothing(&format!("interface {name}")));
        };
        let mut routes = Vec::new();
        for family in ["-4", "-6"] {
            let words = [
                "-json", family, "route", "show", "table", "all", "dev", name,
            ];
            let told: Vec<ToldRoute> = ask(machine, &words)?;
            routes.extend(told.iter().filter_map(|told| route(told, family)));
        }
        // A router must be reachable before a route leads by it.
        routes.sort_by_key(|route| route.gateway.is_some());
        Ok(Self {
            device,
            name: name.to_owned(),
            mac: told.address,
            mtu: told.mtu,
            addresses: told.addr_info.iter().filter_map(address).collect(),
            routes,
        })
    }

    /// The lines of `ip -batch` that put addresses and routes on an interface; again and again.
    pub fn commands(&self, on: &str) -> Vec<String> {
        let addresses = self.addresses.iter().map(|it| it.command(on));
        let routes = self.routes.iter().map(|it| it.command(on));
        addresses.chain(routes).collect()
    }

    /// Whether a DHCP server lent it an address, which somebody has to ask for again.
    pub fn is_lent(&self) -> bool {
        self.addresses.iter().any(|it| it.valid_s.is_some())
    }

    /// Its addresses for people: `192.0.2.1/24, 2001:db8::1/64 and 2 routes`.
    pub fn summary(&self) -> String {
        let addresses = self.addresses.iter();
        let addresses: Vec<String> = addresses
            .map(|it| format!("{}/{}", it.address, it.prefix))
            .collect();
        let addresses = match addresses.is_empty() {
            true => "no address".to_owned(),
            false => addresses.join(", "),
        };
        match self.routes.len() {
            0 => addresses,
            1 => format!("{addresses} and a route"),
            routes => format!("{addresses} and {routes} routes"),
        }
    }
}

impl InterfaceAddress {
    fn command(&self, on: &str) -> String {
        let mut line = format!("address replace {}/{} dev {on}", self.address, self.prefix);
        if let Some(broadcast) = self.broadcast {
            line.push_str(&format!(" broadcast {broadcast}"));
        }
        if let Some(valid_s) = self.valid_s {
            line.push_str(&format!(" valid_lft {valid_s} preferred_lft {valid_s}"));
        }
        // It was this machine's a moment ago: nobody has to be asked whether it is free.
        if self.address.is_ipv6() {
            line.push_str(" nodad");
        }
        line
    }
}

impl InterfaceRoute {
    fn command(&self, on: &str) -> String {
        let mut line = format!("route replace {}/{}", self.network, self.prefix);
        if let Some(gateway) = self.gateway {
            line.push_str(&format!(" via {gateway}"));
        }
        line.push_str(&format!(" dev {on}"));
        if let Some(source) = self.source {
            line.push_str(&format!(" src {source}"));
        }
        if let Some(metric) = self.metric {
            line.push_str(&format!(" metric {metric}"));
        }
        if let Some(table) = self.table {
            line.push_str(&format!(" table {table}"));
        }
        if self.on_link {
            line.push_str(" onlink");
        }
        line
    }
}

/// Reads what `weir host prepare` wrote down, on this machine; nothing where it wrote nothing.
pub fn read_interfaces(path: &Path) -> Result<Vec<Interface>, String> {
    let told = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let file = match fs::File::open(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(why) => return Err(told(&why)),
        Ok(file) => file,
    };
    let mut text = String::new();
    let mut bounded = file.take(FILE_BYTES_MAX);
    bounded.read_to_string(&mut text).map_err(|it| told(&it))?;
    parse(&text).map_err(|why| told(&why))
}

fn parse(text: &str) -> Result<Vec<Interface>, serde_json::Error> {
    serde_json::from_str(text).map(|found: InterfacesFile| found.interfaces)
}

/// The same on another machine's recording.
pub fn remembered(machine: &Machine) -> Result<Vec<Interface>, String> {
    match machine.text(INTERFACES_FILE) {
        Err(unread) if unread.why == Why::Missing => Ok(Vec::new()),
        Err(unread) => Err(unread.to_string()),
        Ok(text) => parse(&text).map_err(|why| format!("{INTERFACES_FILE}: {why}")),
    }
}

/// Writes it down, as a whole; nothing to write down is no file.
pub fn write_interfaces(path: &Path, interfaces: &[Interface]) -> io::Result<()> {
    if interfaces.is_empty() {
        return match fs::remove_file(path) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
            _ => Ok(()),
        };
    }
    let interfaces = interfaces.to_vec();
    let text = serde_json::to_string_pretty(&InterfacesFile { interfaces })?;
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let next = path.with_extension("next");
    fs::File::create(&next)?.write_all(text.as_bytes())?;
    // weir-node is another user, and services have a mask that lets nobody else read.
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(&next, readable)?;
    fs::rename(&next, path)
}

/// Has `ip` do what these lines say; the rest is done too where one fails. What it objected to is the
/// error.
pub fn ip(lines: &[String]) -> Result<(), String> {
    let failed = |why: io::Error| match why.kind() {
        io::ErrorKind::NotFound => "ip is not installed; apt-get install iproute2".to_owned(),
        _ => format!("ip: {why}"),
    };
    let mut child = Command::new("ip")
        .args(["-force", "-batch", "-"])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        let text = lines.join("\n") + "\n";
        input.write_all(text.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.trim().replace('\n', "; "))
}

fn ask<T: for<'a> Deserialize<'a>>(machine: &Machine, words: &[&str]) -> Result<Vec<T>, Unread> {
    let printed = machine.tool("ip", words)?;
    if printed.trim().is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(&printed).map_err(|why| Unread {
        path: format!("ip {}", words.join(" ")),
        why: Why::Failed(why.to_string()),
    })
}

fn nothing(of: &str) -> Unread {
    Unread {
        path: of.to_owned(),
        why: Why::Missing,
    }
}

fn address(told: &ToldAddress) -> Option<InterfaceAddress> {
    // The kernel makes the first by itself, the routers' advertisements the second.
    let own = told.scope == "link" && told.local.is_ipv6();
    let advertised = told.dynamic && told.local.is_ipv6();
    (!own && !advertised).then(|| InterfaceAddress {
        address: told.local,
        prefix: told.prefixlen,
        broadcast: told.broadcast,
        valid_s: told.valid_life_time.filter(|it| *it != FOR_EVER),
    })
}

fn route(told: &ToldRoute, family: &str) -> Option<InterfaceRoute> {
    let by_itself = |protocol: &str| matches!(protocol, "kernel" | "ra");
    let ordinary = told.kind.as_deref().is_none_or(|kind| kind == "unicast");
    if told.protocol.as_deref().is_some_and(by_itself) || !ordinary {
        return None;
    }
    let everybody = if family == "-6" { "::/0" } else { "0.0.0.0/0" };
    let to = match told.dst.as_str() {
        "default" => everybody,
        other => other,
    };
    let (network, prefix) = to.split_once('/').unwrap_or((to, ""));
    let network: IpAddr = network.parse().ok()?;
    let whole = if network.is_ipv6() { 128 } else { 32 };
    let table = told.table.as_deref().filter(|table| *table != MAIN);
    Some(InterfaceRoute {
        network,
        prefix: prefix.parse().unwrap_or(whole),
        gateway: told.gateway,
        source: told.prefsrc,
        metric: told.metric,
        table: match table {
            None => None,
            Some(table) => Some(table.parse().ok()?),
        },
        on_link: told.flags.iter().any(|flag| flag == "onlink"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    const PRINTED: &str = r#"
== /tools/ip -json address show dev eno1
|[{"ifname":"eno1","mtu":9000,"address":"02:00:00:00:00:01","addr_info":[
| {"family":"inet","local":"192.0.2.1","prefixlen":24,"broadcast":"192.0.2.255","scope":"global","label":"eno1","valid_life_time":4294967295},
| {"family":"inet","local":"192.0.2.7","prefixlen":32,"scope":"global","dynamic":true,"valid_life_time":600},
| {"family":"inet6","local":"2001:db8::1","prefixlen":64,"scope":"global","valid_life_time":4294967295},
| {"family":"inet6","local":"2001:db8::2","prefixlen":64,"scope":"global","dynamic":true,"valid_life_time":86400},
| {"family":"inet6","local":"fe80::1","prefixlen":64,"scope":"link"}]}]
== /tools/ip -json -4 route show table all dev eno1
|[{"dst":"default","gateway":"192.0.2.254","prefsrc":"192.0.2.1","metric":100,"flags":["onlink"]},
| {"dst":"10.0.0.0/8","gateway":"192.0.2.253","table":"100","flags":[]},
| {"dst":"203.0.113.9","scope":"link","protocol":"static","flags":[]},
| {"dst":"192.0.2.0/24","protocol":"kernel","scope":"link","prefsrc":"192.0.2.1","flags":[]},
| {"type":"local","dst":"192.0.2.1","table":"local","protocol":"kernel","flags":[]}]
== /tools/ip -json -6 route show table all dev eno1
|[{"dst":"default","gateway":"fe80::9","protocol":"ra","metric":1024,"flags":[]},
| {"dst":"2001:db8:1::/48","gateway":"2001:db8::9","metric":1024,"flags":[]}]
"#;

    fn interface() -> Interface {
        let directory = tempfile::tempdir().unwrap();
        Record::parse(PRINTED)
            .unwrap()
            .lay_out(directory.path())
            .unwrap();
        Interface::read(&Machine::at(directory.path()), "eno1", None).unwrap()
    }

    #[test]
    fn what_others_rely_on_is_kept_and_what_the_kernel_makes_is_not() {
        let found = interface();
        assert_eq!((found.mac.as_str(), found.mtu), ("02:00:00:00:00:01", 9000));
        assert!(found.is_lent());
        assert_eq!(
            found.commands("weir0"),
            [
                "address replace 192.0.2.1/24 dev weir0 broadcast 192.0.2.255",
                "address replace 192.0.2.7/32 dev weir0 valid_lft 600 preferred_lft 600",
                "address replace 2001:db8::1/64 dev weir0 nodad",
                "route replace 203.0.113.9/32 dev weir0",
                "route replace 0.0.0.0/0 via 192.0.2.254 dev weir0 src 192.0.2.1 metric 100 onlink",
                "route replace 10.0.0.0/8 via 192.0.2.253 dev weir0 table 100",
                "route replace 2001:db8:1::/48 via 2001:db8::9 dev weir0 metric 1024",
            ]
        );
    }

    #[test]
    fn the_file_comes_back_as_it_was_and_a_wrong_one_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/interfaces.json");
        assert_eq!(read_interfaces(&path), Ok(Vec::new()));
        write_interfaces(&path, &[interface()]).unwrap();
        assert_eq!(read_interfaces(&path), Ok(vec![interface()]));
        // What is no address never becomes a word of ip.
        let wrong = fs::read_to_string(&path).unwrap();
        let wrong = wrong.replace("192.0.2.254", "192.0.2.254\\nlink delete lo");
        fs::write(&path, wrong).unwrap();
        assert!(
            read_interfaces(&path)
                .unwrap_err()
                .contains("interfaces.json")
        );
        write_interfaces(&path, &[]).unwrap();
        assert!(!path.exists());
    }
}
