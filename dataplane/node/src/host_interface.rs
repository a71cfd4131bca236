//! Host interfaces: the port `host:weir0` of a pair is an interface of this machine that Weir makes, so that
//! the host and its pods reach the wire through the NIC at the other end of the pair, and only so.
//!
//! The interface is the kernel's end of a device that lives as long as this process: vhost-net, which
//! moves frames in the kernel, or a TAP. Neither is offered any offload, so that the kernel fills checksums
//! in and cuts segments before a frame comes here. It gets the MAC address of the port it stands for,
//! and what `weir host prepare` wrote down of that port's interface: MTU, addresses, routes.
//!
//! Distrusts that the rights for any of it are there: what cannot be had is told, with what to do.

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;
use tracing::{error, info, warn};
use weir_dpdk::Eal;
use weir_host::addresses::{self, Interface};

use crate::config::{Config, Pair};

pub use weir_host::HOST_PORT;

const VHOST_NET: &str = "/dev/vhost-net";
/// The longest name that the kernel gives an interface.
const NAME_BYTES_MAX: usize = 15;

/// `[host_interface]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// `auto`, `vhost`, `tap`.
    pub backend: Backend,
    /// What `weir host prepare` wrote down of interfaces.
    pub remembered: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            backend: Backend::Auto,
            remembered: addresses::INTERFACES_FILE.into(),
        }
    }
}

/// What makes a host interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// vhost-net where this process may use it, a TAP otherwise.
    #[default]
    Auto,
    /// vhost-net, or the node does not start.
    Vhost,
    /// A TAP.
    Tap,
}

/// A host interface of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostInterface {
    /// Its name: `weir0`.
    pub name: String,
    /// The port at the other end of the pair, by its name in the configuration.
    pub stands_for: String,
}

/// The interface's name, where a port's name is that of a host interface.
pub fn name_of(port: &str) -> Option<&str> {
    port.strip_prefix(HOST_PORT)
}

/// Whether the kernel takes it as the name of an interface.
pub fn is_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(letter)
        && !name.starts_with(['.', '-'])
}

/// The host interface of a pair.
pub fn of(pair: &Pair) -> Option<HostInterface> {
    let [first, second] = &pair.ports;
    [(first, second), (second, first)]
        .into_iter()
        .find_map(|(port, other)| {
            Some(HostInterface {
                name: name_of(port)?.to_owned(),
                stands_for: other.clone(),
            })
        })
}

/// Makes the device of each host interface, by the MAC address of the port that it stands for.
pub fn make(config: &Config, eal: &Eal) -> Result<()> {
    let queues = config.workers.cores.len();
    for interface in config.pair.iter().filter_map(of) {
        let other = &interface.stands_for;
        let mac = eal.find_port(other).and_then(|port| eal.mac_of(port));
        let mac = mac.with_context(|| {
            format!(
                "port {other} is not there, for which {} stands",
                interface.name
            )
        })?;
        interface.attach(eal, config.host_interface.backend, mac, queues)?;
    }
    Ok(())
}

/// Puts on each host interface what the one had that it stands for. What cannot be put is told. `mtus` are
/// those of the ports, as they were given.
pub fn dress(config: &Config, mtus: &[u16]) {
    let path = &config.host_interface.remembered;
    let remembered = addresses::read_interfaces(path).unwrap_or_else(|why| {
        error!(%why, "what interfaces had is not known: host interfaces get no address; weir host prepare writes it down");
        Vec::new()
    });
    for interface in config.pair.iter().filter_map(of) {
        let known = remembered
            .iter()
            .find(|it| stood(it, &interface.stands_for, config));
        let mut lines = Vec::new();
        // The host must send nothing that the device does not carry.
        let port = format!("{HOST_PORT}{}", interface.name);
        let at = config.port_names().position(|it| it == port);
        if let Some(mtu) = at.and_then(|at| mtus.get(at)) {
            lines.push(format!("link set dev {} mtu {mtu}", interface.name));
        }
        lines.push(format!("link set dev {} up", interface.name));
        lines.extend(known.iter().flat_map(|it| it.commands(&interface.name)));
        match addresses::ip(&lines) {
            Err(why) => error!(
                interface = interface.name, %why,
                "the host interface did not get all that it should have; see `ip address show {}`", interface.name
            ),
            Ok(()) => match known {
                Some(known) => info!(
                    interface = interface.name,
                    of = known.name,
                    has = known.summary(),
                    "the host interface has what the NIC's had"
                ),
                None => info!(
                    interface = interface.name,
                    "the host interface has no address of Weir's: none was remembered for its NIC"
                ),
            },
        }
    }
}

impl HostInterface {
    /// The port's name in DPDK.
    fn port_name(&self, backend: Backend) -> String {
        match backend {
            Backend::Tap => format!("net_tap_{}", self.name),
            Backend::Vhost | Backend::Auto => format!("net_virtio_user_{}", self.name),
        }
    }

    fn attach(&self, eal: &Eal, backend: Backend, mac: [u8; 6], queues: usize) -> Result<()> {
        let vhost = || {
            File::options()
                .read(true)
                .write(true)
                .open(VHOST_NET)
                .map(drop)
                .map_err(|why| anyhow!("{VHOST_NET}: {why}"))
                .and_then(|()| Ok(eal.attach(&self.device(Backend::Vhost, mac, queues))?))
        };
        let tap = || -> Result<_> { Ok(eal.attach(&self.device(Backend::Tap, mac, queues))?) };
        let name = &self.name;
        let advice =
            "load vhost_net and tun (weir host prepare does), and run weir-node with CAP_NET_ADMIN";
        let cannot = || format!("the host interface {name} cannot be made; {advice}");
        let by = match backend {
            Backend::Tap => tap().map(|_| "TAP").with_context(cannot)?,
            Backend::Vhost => vhost().map(|_| "vhost-net").with_context(cannot)?,
            Backend::Auto => match vhost() {
                Ok(_) => "vhost-net",
                Err(why) => {
                    warn!(interface = name, why = %format!("{why:#}"), "no vhost-net: the host interface is a TAP, which carries about 100,000 packets a second");
                    tap().map(|_| "TAP").with_context(cannot)?
                }
            },
        };
        info!(
            interface = name,
            by,
            stands_for = self.stands_for,
            mac = mac_text(mac),
            "host interface made"
        );
        Ok(())
    }

    /// As DPDK takes it.
    fn device(&self, backend: Backend, mac: [u8; 6], queues: usize) -> String {
        let (device, name, mac) = (self.port_name(backend), &self.name, mac_text(mac));
        match backend {
            Backend::Tap => format!("{device},iface={name},mac={mac}"),
            Backend::Vhost | Backend::Auto => format!(
                "{device},path={VHOST_NET},iface={name},mac={mac},queues={queues},queue_size=1024"
            ),
        }
    }
}

/// The number of a port of the configuration, which may be a host interface.
pub fn find_port(eal: &Eal, name: &str) -> Option<u16> {
    let Some(interface) = name_of(name) else {
        return eal.find_port(name);
    };
    let interface = HostInterface {
        name: interface.to_owned(),
        stands_for: String::new(),
    };
    [Backend::Vhost, Backend::Tap]
        .into_iter()
        .find_map(|backend| eal.find_port(&interface.port_name(backend)))
}

/// Whether a port is what an interface was made of: its card, or the virtual device over it.
fn stood(remembered: &Interface, port: &str, config: &Config) -> bool {
    if let Some(device) = remembered.device {
        return port.split(',').next().and_then(|it| it.parse().ok()) == Some(device);
    }
    interface_below(port, config) == Some(&remembered.name)
}

/// The kernel's interface that a virtual device is made over.
pub(crate) fn interface_below<'a>(port: &str, config: &'a Config) -> Option<&'a str> {
    config.eal.virtual_devices.iter().find_map(|device| {
        let mut parts = device.split(',');
        let own = parts.next() == Some(port);
        parts
            .find_map(|part| part.strip_prefix("iface="))
            .filter(|_| own)
    })
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_pair;

    #[test]
    fn a_port_of_a_pair_may_be_made_on_the_host() {
        for text in ["up=0000:01:00.0,host:weir0", "up=host:weir0,0000:01:00.0"] {
            let found = of(&parse_pair(text).unwrap()).unwrap();
            assert_eq!(
                (found.name.as_str(), found.stands_for.as_str()),
                ("weir0", "0000:01:00.0")
            );
            assert_eq!(
                found.device(Backend::Tap, [2, 0, 0, 0, 0, 0xab], 2),
                "net_tap_weir0,iface=weir0,mac=02:00:00:00:00:ab"
            );
        }
        assert!(of(&parse_pair("up=a,b").unwrap()).is_none());
        for wrong in ["", "a/b", "sixteen-letters-", "-x", "a b", "..", "é"] {
            assert!(!is_name(wrong), "{wrong}");
        }
        assert!(is_name("weir0") && is_name("eth0.7"));
    }

    #[test]
    fn what_an_interface_had_is_found_by_its_card_or_its_name() {
        let interface = |device: Option<&str>| Interface {
            device: device.map(|it| it.parse().unwrap()),
            name: "eth1".into(),
            mac: String::new(),
            mtu: 1500,
            addresses: Vec::new(),
            routes: Vec::new(),
        };
        let mut config = Config::default();
        config.eal.virtual_devices = vec!["net_af_packet3,iface=eth1,qpairs=2".into()];
        assert!(stood(&interface(None), "net_af_packet3", &config));
        assert!(!stood(&interface(None), "net_af_packet4", &config));
        // With and without the domain.
        for name in ["0000:01:00.0", "01:00.0"] {
            assert!(stood(&interface(Some("0000:01:00.0")), name, &config));
        }
        assert!(!stood(&interface(Some("0000:01:00.0")), "01:00.1", &config));
    }
}
