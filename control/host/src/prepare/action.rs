//! The things that can be done to a machine, each with its command for people, its doing, and the
//! question whether it came to be.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::hand::Hand;
use crate::addresses::Interface;
use crate::doctor::{pages_directory, size_text};
use crate::machine::Machine;
use crate::pci::{self, Address, Device};

/// Whether cards may be given away without an IOMMU.
pub(crate) const NO_IOMMU: &str = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";

/// How long an interface may take to come back with its driver.
const INTERFACE_TIMEOUT: Duration = Duration::from_secs(10);

/// One thing that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A module is loaded. It stays: it does nothing by itself.
    Load {
        /// Its name.
        module: String,
    },
    /// Cards may be given away without an IOMMU, or may no more.
    NoIommu {
        /// Whether they may.
        allow: bool,
    },
    /// The number of hugepages of a node changes.
    Pages {
        /// The memory node.
        node: u32,
        /// Their size.
        size_kb: u64,
        /// How many there are.
        from: u64,
        /// How many there shall be.
        to: u64,
    },
    /// A card changes its driver.
    Bind {
        /// The card.
        device: Address,
        /// The interfaces that go, or None where nothing is known to go.
        interfaces: Vec<String>,
        /// The driver that has it.
        from: Option<String>,
        /// The driver that gets it; None: nobody.
        to: Option<String>,
        /// What driver_override is afterwards.
        kept_for: Option<String>,
        /// What driver_override was.
        kept_for_before: Option<String>,
        /// What the interfaces have that go: addresses, routes.
        held: Vec<Interface>,
    },
    /// What an interface had before comes back to it.
    Dress {
        /// The card.
        device: Address,
        /// What its interface had.
        held: Interface,
    },
    /// A device file gets another owner.
    Give {
        /// The file.
        path: String,
        /// The user's name.
        name: String,
        /// His number.
        user: u32,
        /// His group's number.
        group: u32,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load { module } => write!(out, "load the module {module}"),
            Self::NoIommu { allow: true } => {
                write!(out, "let cards be given away without an IOMMU")
            }
            Self::NoIommu { allow: false } => {
                write!(out, "let no card be given away without an IOMMU")
            }
            Self::Pages {
                node,
                size_kb,
                from,
                to,
            } => write!(
                out,
                "hugepages of {} on node{node}: {to} (there are {from})",
                size_text(*size_kb)
            ),
            Self::Bind {
                device, from, to, ..
            } if from == to => write!(out, "{device}: kept for no other driver any more"),
            Self::Bind {
                device,
                interfaces,
                from,
                to,
                ..
            } => {
                let name = |driver: &Option<String>| driver.clone().unwrap_or("nobody".to_owned());
                write!(out, "{device}: from {} to {}", name(from), name(to))?;
                match interfaces.is_empty() {
                    true => Ok(()),
                    false => write!(out, " (interface {})", interfaces.join(", ")),
                }
            }
            Self::Dress { device, held } => {
                write!(out, "{device}: {} gets back {}", held.name, held.summary())
            }
            Self::Give { path, name, .. } => write!(out, "{path}: to user {name}"),
        }
    }
}

impl Action {
    /// The same by hand, as root.
    pub fn commands(&self, machine: &Machine) -> Vec<String> {
        match self {
            Self::Load { module } => vec![format!("modprobe {module}")],
            Self::Give {
                path, user, group, ..
            } => vec![format!("chown {user}:{group} {path}")],
            Self::Dress { held, .. } => {
                let lines = dressing(held, &held.name);
                lines.iter().map(|line| format!("ip {line}")).collect()
            }
            _ => {
                let echo = |(path, text): &(String, String)| {
                    let text = text.trim_end();
                    format!("echo {text} > {path}").replace("echo  >", "echo >")
                };
                self.writes(machine).iter().map(echo).collect()
            }
        }
    }

    /// Does it, and looks whether it is done.
    pub fn perform(&self, machine: &Machine, hand: &mut dyn Hand) -> Result<(), String> {
        match self {
            Self::Load { module } => {
                let loaded = hand.load(module);
                return loaded.map_err(|error| format!("modprobe {module} failed: {error}"));
            }
            Self::Give {
                path, user, group, ..
            } => {
                let given = hand.give(path, *user, *group);
                return given.map_err(|error| refused(path, &error));
            }
            Self::Dress { device, held } => return dress(machine, hand, *device, held),
            Self::NoIommu { .. } | Self::Pages { .. } | Self::Bind { .. } => {}
        }
        for (path, text) in self.writes(machine) {
            hand.write(&path, &text)
                .map_err(|error| refused(&path, &error))?;
        }
        match self {
            Self::Pages {
                node, size_kb, to, ..
            } => have_pages(machine, hand, (*node, *size_kb), *to),
            Self::Bind { device, to, .. } => is_bound(machine, *device, to.as_deref()),
            _ => Ok(()),
        }
    }

    /// The files that are written, in order.
    fn writes(&self, machine: &Machine) -> Vec<(String, String)> {
        match self {
            Self::Load { .. } | Self::Give { .. } | Self::Dress { .. } => Vec::new(),
            Self::NoIommu { allow } => {
                let letter = if *allow { "Y\n" } else { "N\n" };
                vec![(NO_IOMMU.to_owned(), letter.to_owned())]
            }
            Self::Pages {
                node, size_kb, to, ..
            } => vec![(pages_path(machine, *node, *size_kb), format!("{to}\n"))],
            Self::Bind {
                device,
                from,
                to,
                kept_for,
                ..
            } => {
                let directory = device.directory();
                let override_text = kept_for.clone().unwrap_or_default();
                let mut writes = vec![(
                    format!("{directory}/driver_override"),
                    format!("{override_text}\n"),
                )];
                if from == to {
                    return writes;
                }
                if from.is_some() {
                    writes.push((format!("{directory}/driver/unbind"), format!("{device}\n")));
                }
                if to.is_some() {
                    let probe = "/sys/bus/pci/drivers_probe".to_owned();
                    writes.push((probe, format!("{device}\n")));
                }
                writes
            }
        }
    }
}

/// The interface goes up first: what is down takes no routes.
fn dressing(held: &Interface, name: &str) -> Vec<String> {
    let mut lines = vec![
        format!("link set dev {name} mtu {}", held.mtu),
        format!("link set dev {name} up"),
    ];
    lines.extend(held.commands(name));
    lines
}

/// The driver makes the interface a moment after it has the card, and may give it another name.
fn dress(
    machine: &Machine,
    hand: &mut dyn Hand,
    device: Address,
    held: &Interface,
) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let names = pci::interfaces_of(machine, device);
        let same = names.iter().find(|name| **name == held.name);
        if let Some(name) = same.or(names.first()) {
            return hand.ip(&dressing(held, name));
        }
        if begun.elapsed() > INTERFACE_TIMEOUT {
            return Err(format!(
                "its interface did not come back; `ip link` shows those there are, then: ip {}",
                held.commands(&held.name).join("; ip ")
            ));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn pages_path(machine: &Machine, node: u32, size_kb: u64) -> String {
    let directory = pages_directory(machine, node);
    format!("{directory}/hugepages-{size_kb}kB/nr_hugepages")
}

/// The kernel gives as many as it finds. Where memory is in pieces it is put together, once.
fn have_pages(
    machine: &Machine,
    hand: &mut dyn Hand,
    (node, size_kb): (u32, u64),
    wanted: u64,
) -> Result<(), String> {
    let path = pages_path(machine, node, size_kb);
    let count = || machine.number::<u64>(&path).map_err(|it| it.to_string());
    if count()? < wanted {
        let _ = hand.write("/proc/sys/vm/compact_memory", "1\n");
        hand.write(&path, &format!("{wanted}\n"))
            .map_err(|error| refused(&path, &error))?;
    }
    let found = count()?;
    if found < wanted {
        return Err(format!(
            "the kernel found memory for {found} only; free some, or have them reserved at start: \
             hugepagesz={size_kb}K hugepages={wanted} on its command line"
        ));
    }
    Ok(())
}

fn is_bound(machine: &Machine, device: Address, wanted: Option<&str>) -> Result<(), String> {
    let found = Device::read(machine, device).map_err(|unread| unread.to_string())?;
    match found.driver.as_deref() {
        driver if driver == wanted => Ok(()),
        driver => Err(format!(
            "it is with {} now; `dmesg | tail` says why, weir host restore gives it back",
            driver.unwrap_or("nobody")
        )),
    }
}

fn refused(path: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!("{path} may not be written; run it as root"),
        io::ErrorKind::ReadOnlyFilesystem => {
            format!("{path} is read-only here; run it on the host, not in a container")
        }
        _ => format!("{path}: {error}"),
    }
}
