//! What the machine itself needs of its network: the interfaces that carry the default route and SSH
//! sessions, and the ports that somebody listens on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::machine::{Machine, Unread};
use crate::processes;

/// Where sysfs lists interfaces.
pub const INTERFACES: &str = "/sys/class/net";
/// Where SSH listens.
const SSH_PORT: u16 = 22;
const ESTABLISHED: u8 = 1;
const LISTENING: u8 = 10;
const ROUTE_UP: u32 = 1;
const ROUTE_REJECT: u32 = 0x200;

/// A line of the main routing table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads out.
    pub interface: String,
    /// Whom it leads to.
    pub network: IpAddr,
    /// So many bits of them count.
    pub prefix: u8,
}

/// A TCP socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its own address.
    pub local: IpAddr,
    /// Its own port.
    pub port: u16,
    /// The other end's address.
    pub remote: IpAddr,
    /// The number of its state.
    pub state: u8,
    /// By which processes that hold it are found.
    pub inode: u64,
}

/// Who asks, so that nobody cuts off the branch that he sits on.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// The process that asks; 0 for none.
    pub process: u32,
}

impl Session {
    /// This process.
    pub fn own() -> Self {
        Self {
            process: std::process::id(),
        }
    }

    /// The client's address of the SSH session it runs in.
    fn client(&self, machine: &Machine) -> Option<IpAddr> {
        let value = processes::inherited(machine, self.process, "SSH_CONNECTION")?;
        let address = value.split_whitespace().next()?;
        // A link-local address carries its interface behind %.
        let address: IpAddr = address.split('%').next()?.parse().ok()?;
        Some(address.to_canonical())
    }
}

impl Route {
    /// Whether it leads there.
    fn fits(&self, address: IpAddr) -> bool {
        let (own, other, bits) = match (self.network, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (u128::from(own.to_bits()), u128::from(other.to_bits()), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
            _ => return false,
        };
        let differing = bits - u32::from(self.prefix.min(bits as u8));
        (own ^ other).checked_shr(differing).unwrap_or(0) == 0
    }

    /// Whether it leads to everybody.
    pub fn is_default(&self) -> bool {
        self.prefix == 0 && self.network.is_unspecified()
    }
}

/// The main routing table, of both families. What cannot be read is told; what is no route is left out.
pub fn routes(machine: &Machine) -> Result<Vec<Route>, Unread> {
    let mut routes: Vec<Route> = machine
        .text("/proc/net/route")?
        .lines()
        .skip(1)
        .filter_map(route_v4)
        .collect();
    // Where there is no IPv6 there is no such file.
    let v6 = machine.text("/proc/net/ipv6_route").unwrap_or_default();
    routes.extend(v6.lines().filter_map(route_v6));
    Ok(routes)
}

fn route_v4(line: &str) -> Option<Route> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [interface, network, _, flags, _, _, _, mask, ..] = fields[..] else {
        return None;
    };
    let number = |text| u32::from_str_radix(text, 16).ok();
    if number(flags)? & (ROUTE_UP | ROUTE_REJECT) != ROUTE_UP {
        return None;
    }
    Some(Route {
        interface: interface.to_owned(),
        network: Ipv4Addr::from(number(network)?.to_le_bytes()).into(),
        prefix: u8::try_from(number(mask)?.count_ones()).ok()?,
    })
}

fn route_v6(line: &str) -> Option<Route> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [network, prefix, _, _, _, _, _, _, flags, interface] = fields[..] else {
        return None;
    };
    let flags = u32::from_str_radix(flags, 16).ok()?;
    if flags & (ROUTE_UP | ROUTE_REJECT) != ROUTE_UP || interface == "lo" {
        return None;
    }
    Some(Route {
        interface: interface.to_owned(),
        network: Ipv6Addr::from(u128::from_str_radix(network, 16).ok()?).into(),
        prefix: u8::from_str_radix(prefix, 16)
            .ok()
            .filter(|it| *it <= 128)?,
    })
}

/// The machine's TCP sockets, of both families.
pub fn sockets(machine: &Machine) -> Result<Vec<Socket>, Unread> {
    let v4 = machine.text("/proc/net/tcp")?;
    let v6 = machine.text("/proc/net/tcp6").unwrap_or_default();
    let lines = v4.lines().skip(1).chain(v6.lines().skip(1));
    Ok(lines.filter_map(socket).collect())
}

fn socket(line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, local, remote, state, _, _, _, _, _, inode, ..] = fields[..] else {
        return None;
    };
    let (local, port) = end(local)?;
    Some(Socket {
        local,
        port,
        remote: end(remote)?.0,
        state: u8::from_str_radix(state, 16).ok()?,
        inode: inode.parse().ok()?,
    })
}

/// `0100007F:1F90`: groups of four bytes, each the wrong way round.
fn end(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let group = |index: usize| {
        let digits = address.get(8 * index..8 * index + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_le_bytes)
    };
    let address: IpAddr = match address.len() {
        8 => group(0)?.into(),
        32 => {
            let mut bytes = [0; 16];
            for (index, place) in bytes.chunks_exact_mut(4).enumerate() {
                place.copy_from_slice(&group(index)?);
            }
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    Some((address.to_canonical(), port))
}

/// Whoever listens on a port, by the sockets' inodes.
pub fn listening(sockets: &[Socket], port: u16) -> Vec<u64> {
    let on = sockets
        .iter()
        .filter(|it| it.state == LISTENING && it.port == port);
    on.map(|it| it.inode).collect()
}

/// The interfaces that this machine cannot do without, each with the reason; those below them (the ports
/// of a bond or a bridge, the card under a VLAN) too.
pub fn needed(machine: &Machine, session: &Session) -> Result<BTreeMap<String, String>, Unread> {
    let routes = routes(machine)?;
    let mut reasons = BTreeMap::new();
    for route in routes.iter().filter(|route| route.is_default()) {
        let reason = "carries the default route".to_owned();
        reasons.entry(route.interface.clone()).or_insert(reason);
    }
    for (client, reason) in ssh_clients(machine, session) {
        let best = routes.iter().filter(|route| route.fits(client));
        if let Some(route) = best.max_by_key(|route| route.prefix) {
            reasons.insert(route.interface.clone(), reason);
        }
    }
    let upper: Vec<(String, String)> = reasons.clone().into_iter().collect();
    for (interface, reason) in upper {
        for lower in below(machine, &interface) {
            let reason = format!("is part of {interface}, which {reason}");
            reasons.entry(lower).or_insert(reason);
        }
    }
    Ok(reasons)
}

/// Who is logged in by SSH. One's own session comes last, so that it names the reason.
fn ssh_clients(machine: &Machine, session: &Session) -> Vec<(IpAddr, String)> {
    let sockets = sockets(machine).unwrap_or_default();
    let others = sockets
        .iter()
        .filter(|it| it.state == ESTABLISHED && it.port == SSH_PORT);
    let others = others.map(|it| {
        (
            it.remote,
            format!("carries an SSH session from {}", it.remote),
        )
    });
    let own = session.client(machine);
    let own = own.map(|client| (client, format!("carries this SSH session from {client}")));
    let all = others.chain(own);
    all.filter(|(client, _)| !client.is_loopback()).collect()
}

/// Everything that an interface is made of.
fn below(machine: &Machine, interface: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![interface.to_owned()];
    while let Some(upper) = open.pop() {
        let entries = machine.entries(&format!("{INTERFACES}/{upper}"));
        for entry in entries.unwrap_or_default() {
            if let Some(lower) = entry.strip_prefix("lower_")
                && found.insert(lower.to_owned())
            {
                open.push(lower.to_owned());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::Record;

    const ROUTES: &str = "\
== /proc/net/route
|Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
|bond0.7\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
|bond0.7\t0002A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
|eno3\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0
== /proc/net/ipv6_route
|00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
|20010db8000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000400 00000001 00000000 00000001     eno4
== /sys/class/net/bond0.7/lower_bond0 -> ../bond0
== /sys/class/net/bond0/lower_eno1 -> ../eno1
== /sys/class/net/bond0/lower_eno2 -> ../eno2
";

    fn machine(text: &str) -> (tempfile::TempDir, Machine) {
        let directory = tempfile::tempdir().unwrap();
        Record::parse(text)
            .unwrap()
            .lay_out(directory.path())
            .unwrap();
        let machine = Machine::at(directory.path());
        (directory, machine)
    }

    #[test]
    fn the_cards_below_the_default_route_are_needed() {
        let (_directory, machine) = machine(ROUTES);
        let needed = needed(&machine, &Session::default()).unwrap();
        let names: Vec<_> = needed.keys().map(String::as_str).collect();
        assert_eq!(names, ["bond0", "bond0.7", "eno1", "eno2"]);
        assert_eq!(needed["bond0.7"], "carries the default route");
        assert_eq!(
            needed["eno2"],
            "is part of bond0.7, which carries the default route"
        );
    }

    #[test]
    fn the_card_of_an_ssh_session_is_needed() {
        // From 10.0.0.9 to 10.0.0.1:22, and from 2001:db8::9 to port 22 over IPv6.
        let sockets = "\
== /proc/net/tcp
|  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
|   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0
|   1: 0100000A:0016 0900000A:C350 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0
== /proc/net/tcp6
|  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
|   0: B80D0120000000000000000001000000:0016 B80D0120000000000000000009000000:C350 01 00000000:00000000 00:00000000 00000000     0        0 4713 1 0
";
        let (_directory, machine) = machine(&format!("{ROUTES}{sockets}"));
        let needed = needed(&machine, &Session::default()).unwrap();
        assert_eq!(needed["eno3"], "carries an SSH session from 10.0.0.9");
        assert_eq!(needed["eno4"], "carries an SSH session from 2001:db8::9");
        let sockets = super::sockets(&machine).unwrap();
        assert_eq!(listening(&sockets, 22), [4711]);
    }

    #[test]
    fn ones_own_session_counts_on_any_port() {
        let (directory, machine) = machine(ROUTES);
        std::fs::create_dir_all(directory.path().join("proc/50")).unwrap();
        let environment = "SSH_CONNECTION=10.1.2.3 5000 10.0.0.1 2222\0";
        std::fs::write(directory.path().join("proc/50/environ"), environment).unwrap();
        let needed = needed(&machine, &Session { process: 50 }).unwrap();
        assert_eq!(needed["eno3"], "carries this SSH session from 10.1.2.3");
    }

    #[test]
    fn no_routing_table_is_told() {
        let (_directory, machine) = machine("");
        assert!(needed(&machine, &Session::default()).is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(line in "[0-9A-Fa-f: \\téx]{0,200}", text in any::<String>()) {
            for line in [&line, &text] {
                let _ = (route_v4(line), route_v6(line), socket(line), end(line));
            }
        }

        #[test]
        fn a_route_fits_as_its_bits_say(own: u32, other: u32, prefix in 0u8..=32) {
            let network = Ipv4Addr::from(own).into();
            let route = Route { interface: String::new(), network, prefix };
            let same = (0..u32::from(prefix)).all(|bit| (own ^ other) & (1 << (31 - bit)) == 0);
            prop_assert_eq!(route.fits(Ipv4Addr::from(other).into()), same);
        }
    }
}
