//! PCI devices as sysfs shows them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::machine::{Machine, Unread};

/// Where sysfs lists them.
pub const DEVICES: &str = "/sys/bus/pci/devices";

/// `0000:01:00.0`: domain, bus, device, function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    domain: u32,
    bus: u8,
    device: u8,
    function: u8,
}

/// Text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no PCI address; write 0000:01:00.0 or 01:00.0, as lspci -D shows them")]
pub struct NoAddress(pub String);

/// A PCI device that is a network card, or stands beside one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Where it is.
    pub address: Address,
    /// Who made it.
    pub vendor: u16,
    /// Which one it is.
    pub device: u16,
    /// What it is: 0x020000 is an Ethernet card.
    pub class: u32,
    /// The kernel's driver that has it.
    pub driver: Option<String>,
    /// The driver that it is kept for.
    pub driver_override: Option<String>,
    /// The memory node it is next to.
    pub node: Option<u32>,
    /// The devices that the IOMMU cannot tell apart from it are in the same group.
    pub group: Option<u32>,
    /// The interfaces that the kernel's driver made of it.
    pub interfaces: Vec<String>,
}

impl Address {
    /// Where sysfs has it.
    pub fn directory(&self) -> String {
        format!("{DEVICES}/{self}")
    }
}

impl FromStr for Address {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let parse = || {
            let (rest, function) = text.rsplit_once('.')?;
            let (rest, device) = rest.rsplit_once(':')?;
            let (domain, bus) = rest.rsplit_once(':').unwrap_or(("0000", rest));
            let hex = |text: &str, digits: std::ops::RangeInclusive<usize>| {
                let fits = digits.contains(&text.len()) && !text.starts_with('+');
                u32::from_str_radix(text, 16).ok().filter(|_| fits)
            };
            let address = Self {
                domain: hex(domain, 4..=8)?,
                bus: u8::try_from(hex(bus, 2..=2)?).ok()?,
                device: u8::try_from(hex(device, 2..=2)?).ok()?,
                function: u8::try_from(hex(function, 1..=1)?).ok()?,
            };
            (address.device < 32 && address.function < 8).then_some(address)
        };
        parse().ok_or_else(|| NoAddress(text.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            domain,
            bus,
            device,
            function,
        } = self;
        write!(out, "{domain:04x}:{bus:02x}:{device:02x}.{function}")
    }
}

impl TryFrom<String> for Address {
    type Error = NoAddress;

    fn try_from(text: String) -> Result<Self, NoAddress> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl Device {
    /// Reads one. What cannot be read of it is as if it were not there.
    pub fn read(machine: &Machine, address: Address) -> Result<Self, Unread> {
        let directory = address.directory();
        let hex = |name: &str| {
            let word = machine.word(&format!("{directory}/{name}"))?;
            let number = u32::from_str_radix(word.trim_start_matches("0x"), 16);
            Ok(number.unwrap_or(0))
        };
        let class = hex("class")?;
        let number = |name: &str| u16::try_from(hex(name).unwrap_or(0)).unwrap_or(0);
        // The kernel writes (null) where there is none.
        let driver_override = machine.word(&format!("{directory}/driver_override")).ok();
        let group = machine.link_name(&format!("{directory}/iommu_group"));
        Ok(Self {
            address,
            vendor: number("vendor"),
            device: number("device"),
            class,
            driver: machine.link_name(&format!("{directory}/driver")).ok(),
            driver_override: driver_override.filter(|it| !it.is_empty() && it != "(null)"),
            // -1 where the machine has one node.
            node: machine.number(&format!("{directory}/numa_node")).ok(),
            group: group.ok().and_then(|group| group.parse().ok()),
            interfaces: Vec::new(),
        })
    }

    /// Ethernet, InfiniBand or another network card.
    pub fn is_network(&self) -> bool {
        matches!(self.class >> 8, 0x0200 | 0x0207 | 0x0280)
    }

    /// A bridge stands in a group with what is behind it and is nobody's to bind.
    pub fn is_bridge(&self) -> bool {
        self.class >> 16 == 0x06
    }

    /// Whether DPDK has it for itself.
    pub fn is_for_userspace(&self) -> bool {
        let driver = self.driver.as_deref();
        matches!(
            driver,
            Some("vfio-pci" | "mlx5_vfio_pci" | "uio_pci_generic" | "igb_uio")
        )
    }
}

/// All of them, with the interfaces of those that have any. Those that cannot be read are left out.
pub fn devices(machine: &Machine) -> Result<Vec<Device>, Unread> {
    let interfaces = interfaces(machine);
    let mut devices = Vec::new();
    for name in machine.entries(DEVICES)? {
        let read = name.parse().ok().map(|it| Device::read(machine, it));
        if let Some(Ok(mut device)) = read {
            device.interfaces = of_device(&interfaces, device.address);
            devices.push(device);
        }
    }
    devices.sort_by_key(|device| device.address);
    Ok(devices)
}

/// The interfaces that the kernel has made of a device.
pub fn interfaces_of(machine: &Machine, address: Address) -> Vec<String> {
    of_device(&interfaces(machine), address)
}

fn of_device(interfaces: &[(String, Address)], device: Address) -> Vec<String> {
    let own = interfaces.iter().filter(|(_, address)| *address == device);
    own.map(|(name, _)| name.clone()).collect()
}

/// The interfaces that are made of PCI devices.
fn interfaces(machine: &Machine) -> Vec<(String, Address)> {
    let names = machine.entries(crate::network::INTERFACES);
    let names = names.unwrap_or_default().into_iter();
    let found = |name: String| address_of(machine, &name).map(|address| (name, address));
    names.filter_map(found).collect()
}

/// The PCI device of an interface: `../../devices/pci0000:00/0000:00:03.0/virtio2/net/eth0`.
pub fn address_of(machine: &Machine, interface: &str) -> Option<Address> {
    if interface.is_empty() || interface.contains('/') || interface.starts_with('.') {
        return None;
    }
    let target = machine
        .link(&format!("{}/{interface}", crate::network::INTERFACES))
        .ok()?;
    let mut parts = target.rsplit('/');
    // pci0000:00 is no address, bridges before the device are.
    parts.find_map(|part| part.parse().ok().filter(|_| part.len() >= 12))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses() {
        let text = |text: &str| text.parse::<Address>().map(|it| it.to_string());
        assert_eq!(text("0000:01:00.0").unwrap(), "0000:01:00.0");
        assert_eq!(text("3b:1f.7").unwrap(), "0000:3b:1f.7");
        assert_eq!(text("10000:E1:00.1").unwrap(), "10000:e1:00.1");
        for wrong in [
            "",
            "eth0",
            "1:0.0",
            "00:20.0",
            "00:00.8",
            "00:00.00",
            "0000:+1:00.0",
            "00:0é.0",
        ] {
            assert!(text(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn addresses_come_back(domain in 0u32..0x1_0000, bus: u8, device in 0u8..32, function in 0u8..8) {
            let address = Address { domain, bus, device, function };
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }

        #[test]
        fn nothing_panics(text in any::<String>()) {
            let _ = text.parse::<Address>();
        }
    }
}
