//! What there is to do, and what must not be done.

use std::collections::{BTreeMap, BTreeSet};

use super::action::{Action, NO_IOMMU};
use super::remembered::{BoundDevice, Remembered, SetPages};
use super::{Hint, Request};
use crate::addresses::Interface;
use crate::doctor::{self, size_text};
use crate::machine::Machine;
use crate::network::{self, Session};
use crate::nic::{self, Way};
use crate::parse;
use crate::pci::{self, Address, Device};
use crate::processes;
use crate::wanted::HugePages;

/// Memory that the machine keeps for itself, whatever is asked.
const MEMORY_KEPT_MB: u64 = 256;

/// What there is to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order.
    pub actions: Vec<Action>,
    /// What is so already.
    pub kept: Vec<String>,
    /// What else is worth doing.
    pub hints: Vec<Hint>,
}

/// What the machine is judged by.
pub(super) struct Looked<'a> {
    pub(super) machine: &'a Machine,
    pub(super) request: &'a Request,
    remembered: &'a Remembered,
    devices: Vec<Device>,
    /// Interfaces that the machine cannot do without, with the reasons.
    needed: BTreeMap<String, String>,
    pub(super) plan: Plan,
    refused: Vec<String>,
}

/// Plans to make a machine ready, or says everything that stands against it.
pub fn plan_prepare(
    machine: &Machine,
    request: &Request,
    session: &Session,
    remembered: &Remembered,
) -> Result<Plan, Vec<String>> {
    let devices = pci::devices(machine);
    let needed = network::needed(machine, session);
    let mut refused = Vec::new();
    let names = request.wanted.devices.iter().chain(&request.devices);
    let names: BTreeSet<&String> = names.collect();
    // Without both nobody can say which card is safe to take.
    if !names.is_empty() {
        refused.extend(devices.as_ref().err().map(ToString::to_string));
        refused.extend(needed.as_ref().err().map(ToString::to_string));
    }
    let mut looked = Looked {
        machine,
        request,
        remembered,
        devices: devices.unwrap_or_default(),
        needed: needed.unwrap_or_default(),
        plan: Plan::default(),
        refused,
    };
    let chosen = looked.choose(&names);
    looked.plan_pages(&chosen);
    looked.plan_devices(&chosen);
    looked.plan_host_interfaces();
    looked.hint_at_cores();
    match looked.refused.is_empty() {
        true => Ok(looked.plan),
        false => Err(looked.refused),
    }
}

impl Looked<'_> {
    /// The cards that are named.
    fn choose(&mut self, names: &BTreeSet<&String>) -> Vec<Device> {
        let mut chosen: Vec<Device> = Vec::new();
        for name in names {
            let address = name.parse().ok();
            let address = address.or_else(|| pci::address_of(self.machine, name));
            let found = address.and_then(|address: Address| {
                self.devices
                    .iter()
                    .find(|it| it.address == address)
                    .cloned()
            });
            match found {
                None => self.refused.push(format!(
                    "{name}: the machine has no such card; lspci -D and ip link name them"
                )),
                Some(device) if !device.is_network() => self.refused.push(format!(
                    "{name}: this is no network card (class {:06x}); lspci -D names them",
                    device.class
                )),
                Some(device) if chosen.contains(&device) => {}
                Some(device) => chosen.push(device),
            }
        }
        chosen.sort_by_key(|device| device.address);
        chosen
    }

    fn plan_pages(&mut self, chosen: &[Device]) {
        let wanted = &self.request.wanted;
        if wanted.huge_pages == HugePages::Never {
            return self
                .plan
                .kept
                .push("no hugepages: the configuration does without".to_owned());
        }
        let machine = self.machine;
        let mut more_mb = 0;
        for node in self.nodes(chosen) {
            let pages = doctor::pages(machine, node);
            let size_kb = self
                .request
                .page_size_kb
                .unwrap_or_else(|| default_size_kb(machine));
            let Some(pages) = pages.iter().find(|it| it.size_kb == size_kb) else {
                let sizes: Vec<String> = pages.iter().map(|it| size_text(it.size_kb)).collect();
                let sizes = match sizes.is_empty() {
                    true => "it has none".to_owned(),
                    false => format!("it has {}", sizes.join(", ")),
                };
                let size = size_text(size_kb);
                self.refused.push(format!(
                    "node{node}: the kernel has no hugepages of {size}; {sizes}"
                ));
                continue;
            };
            let count = (wanted.memory_mb << 10).div_ceil(size_kb);
            // What others use is not for the node. A second run finds what the first one set.
            let to = match self.remembered.pages_of(node, size_kb) {
                Some(known) if known.set - known.before.min(known.set) >= count => known.set,
                Some(known) => known.before + count,
                None => pages.total - pages.free.min(pages.total) + count,
            };
            if pages.total >= to {
                let says = format!(
                    "hugepages of {} on node{node}: {}",
                    size_text(size_kb),
                    pages.total
                );
                self.plan.kept.push(says);
                continue;
            }
            more_mb += ((to - pages.total) * size_kb) >> 10;
            self.plan.actions.push(Action::Pages {
                node,
                size_kb,
                from: pages.total,
                to,
            });
        }
        self.have_memory(more_mb);
    }

    /// The nodes of the cards and of the workers.
    fn nodes(&self, chosen: &[Device]) -> BTreeSet<u32> {
        let all = doctor::memory_nodes(self.machine);
        let of_worker = |node: &u32| {
            let cores = doctor::cores_of(self.machine, *node);
            self.request
                .wanted
                .cores
                .iter()
                .any(|core| cores.contains(core))
        };
        let workers = all.iter().copied().filter(of_worker);
        let cards = chosen.iter().filter_map(|device| device.node);
        let mut nodes: BTreeSet<u32> = workers.chain(cards.filter(|it| all.contains(it))).collect();
        if nodes.is_empty() {
            nodes.extend(all.first());
        }
        nodes
    }

    fn have_memory(&mut self, more_mb: u64) {
        let text = self.machine.text("/proc/meminfo").unwrap_or_default();
        let available = parse::fields(&text).get("MemAvailable").copied();
        let available = available.and_then(|it| it.split(' ').next()?.parse::<u64>().ok());
        let Some(available_mb) = available.map(|kilobytes| kilobytes >> 10) else {
            return;
        };
        if more_mb + MEMORY_KEPT_MB > available_mb && more_mb > 0 && !self.request.force {
            self.refused.push(format!(
                "{more_mb} MiB more hugepages are wanted, {available_mb} MiB of memory are available: the \
                 machine would be left without; set a smaller eal.memory_mb, or give --force"
            ));
        }
    }

    fn plan_devices(&mut self, chosen: &[Device]) {
        let mut binding = Vec::new();
        for device in chosen {
            let family = nic::family(device);
            let driver = device.driver.as_deref();
            if let Some(family) = family.filter(|family| family.way == Way::Shared) {
                let says = format!(
                    "{}: stays with {}, {} uses it beside the kernel",
                    device.address,
                    driver.unwrap_or("no driver"),
                    family.poll_mode
                );
                self.plan.kept.push(says);
            } else if driver == Some(self.request.driver.as_str()) {
                let says = format!("{}: with {} already", device.address, self.request.driver);
                self.plan.kept.push(says);
                self.plan_owner(device);
            } else {
                self.judge(device, chosen);
                binding.push(device.clone());
            }
        }
        if binding.is_empty() {
            return;
        }
        self.plan_vfio();
        for device in binding {
            let held = self.held(&device);
            self.plan.actions.push(Action::Bind {
                device: device.address,
                interfaces: device.interfaces.clone(),
                from: device.driver.clone(),
                to: Some(self.request.driver.clone()),
                kept_for: Some(self.request.driver.clone()),
                kept_for_before: device.driver_override.clone(),
                held,
            });
            self.plan_owner(&device);
        }
    }

    /// What the interfaces of a card have that is about to go.
    fn held(&mut self, device: &Device) -> Vec<Interface> {
        let mut held = Vec::new();
        for name in &device.interfaces {
            match Interface::read(self.machine, name, Some(device.address)) {
                Err(unread) => self.plan.hints.push(Hint {
                    says: format!("what {name} has is not remembered: {unread}"),
                    commands: vec!["apt-get install iproute2".to_owned()],
                }),
                Ok(interface) => {
                    self.hint_at(&interface, device.address);
                    held.push(interface);
                }
            }
        }
        held
    }

    /// What becomes of addresses and routes.
    fn hint_at(&mut self, interface: &Interface, device: Address) {
        if interface.addresses.is_empty() && interface.routes.is_empty() {
            return;
        }
        let stands = self.request.wanted.host_interfaces.iter();
        let mut stands = stands.filter(|it| it.stands_for.parse() == Ok(device));
        let (name, summary) = (&interface.name, interface.summary());
        let Some(host) = stands.next() else {
            return self.plan.hints.push(Hint {
                says: format!(
                    "{name} goes, and with it {summary}; a pair of {device} and host:weir0 in node.toml \
                     keeps them, on an interface behind Weir"
                ),
                commands: vec![format!("ip address show {name}")],
            });
        };
        self.plan.hints.push(Hint {
            says: format!("{name} goes; weir-node puts {summary} on {}", host.name),
            commands: Vec::new(),
        });
        if interface.is_lent() {
            self.plan.hints.push(Hint {
                says: format!(
                    "a DHCP server lent {name} an address: have its client ask on {} from now on",
                    host.name
                ),
                commands: Vec::new(),
            });
        }
    }

    /// Whether a card may be taken.
    fn judge(&mut self, device: &Device, chosen: &[Device]) {
        let address = device.address;
        for interface in &device.interfaces {
            if let Some(reason) = self.needed.get(interface)
                && !self.request.force
            {
                self.refused.push(format!(
                    "{address}: {interface} {reason}; without it this machine may not be reached any more: \
                     choose another card, or give --force"
                ));
            }
        }
        let Some(group) = device.group else { return };
        let others = self.devices.iter().filter(|other| {
            other.group == Some(group)
                && !chosen.iter().any(|it| it.address == other.address)
                && !other.is_bridge()
                && other.driver.is_some()
                && !other.is_for_userspace()
        });
        let others: Vec<String> = others
            .map(|it| {
                format!(
                    "{} ({})",
                    it.address,
                    it.driver.as_deref().unwrap_or("nobody")
                )
            })
            .collect();
        if !others.is_empty() {
            self.refused.push(format!(
                "{address}: the IOMMU cannot tell it from {} (group {group}): they go together or not at \
                 all; name them too (--device), or put the card into another slot",
                others.join(", ")
            ));
        }
    }

    fn plan_vfio(&mut self) {
        let machine = self.machine;
        let driver = &self.request.driver;
        if !machine.exists(&format!("/sys/bus/pci/drivers/{driver}")) {
            self.plan.actions.push(Action::Load {
                module: driver.clone(),
            });
        }
        if doctor::has_iommu(machine) || driver != "vfio-pci" {
            return;
        }
        if !self.request.no_iommu {
            return self.refused.push(
                "this machine has no IOMMU, or it is off (weir doctor says which): vfio-pci cannot take \
                 cards. --no-iommu takes them all the same; whoever controls weir-node then controls the \
                 machine"
                    .to_owned(),
            );
        }
        match machine.word(NO_IOMMU).as_deref() {
            Ok("Y") => self
                .plan
                .kept
                .push("cards may be given away without an IOMMU already".to_owned()),
            _ => self.plan.actions.push(Action::NoIommu { allow: true }),
        }
    }

    fn plan_owner(&mut self, device: &Device) {
        let Some(name) = &self.request.owner else {
            return;
        };
        let Some((user, group)) = account(self.machine, name) else {
            let says = format!("there is no user {name} (--owner); /etc/passwd names them");
            if !self.refused.contains(&says) {
                self.refused.push(says);
            }
            return;
        };
        // Without an IOMMU the file is of no use to anybody but root.
        let number = device.group.filter(|_| doctor::has_iommu(self.machine));
        let path = number.map(|number| format!("/dev/vfio/{number}"));
        match path {
            Some(path) if self.machine.owner(&path) == Some((user, group)) => {
                let says = format!("{path}: of user {name} already");
                self.plan.kept.push(says);
            }
            Some(path) => self.plan.actions.push(Action::Give {
                path,
                name: name.clone(),
                user,
                group,
            }),
            None => {}
        }
    }

    fn hint_at_cores(&mut self) {
        let wanted: BTreeSet<u32> = self.request.wanted.cores.iter().copied().collect();
        let online = doctor::cores_online(self.machine).unwrap_or_default();
        let isolated = doctor::cores_isolated(self.machine);
        let configured = self.request.wanted.configured && wanted.is_subset(&online);
        if !configured || wanted.is_subset(&isolated) || wanted.len() >= online.len() {
            return;
        }
        let parameters = doctor::isolation(&wanted, &online);
        let parameters: Vec<&str> = parameters.iter().map(String::as_str).collect();
        self.plan.hints.push(Hint {
            says: format!(
                "worker cores {} are shared with other programs; a restart keeps them free with",
                parse::list_text(&wanted)
            ),
            commands: doctor::kernel_parameters(self.machine, "cores", &parameters),
        });
    }
}

/// Plans to put back what was before, or says what stands against it.
pub fn plan_restore(machine: &Machine, remembered: &Remembered) -> Result<Plan, Vec<String>> {
    let mut plan = Plan::default();
    let mut refused = Vec::new();
    for known in &remembered.devices {
        match Device::read(machine, known.device) {
            Err(_) => plan
                .kept
                .push(format!("{}: is not there any more", known.device)),
            Ok(device)
                if device.driver == known.driver_before
                    && device.driver_override == known.kept_for_before =>
            {
                plan.kept
                    .push(format!("{}: was given back already", known.device));
                plan.actions.extend(dressing(known));
            }
            Ok(device)
                if ![&None, &known.driver, &known.driver_before].contains(&&device.driver) =>
            {
                plan.kept.push(format!(
                    "{}: somebody gave it to {} since, and it stays there",
                    known.device,
                    device.driver.unwrap_or_default()
                ));
            }
            Ok(device) => match held(machine, &device) {
                Some(by) => refused.push(format!(
                    "{}: {by} uses it; stop it first: systemctl stop weir-node",
                    known.device
                )),
                None => {
                    plan.actions.push(give_back(known, &device));
                    plan.actions.extend(dressing(known));
                }
            },
        }
    }
    for known in &remembered.pages {
        plan_pages_back(machine, known, &mut plan);
    }
    if remembered.no_iommu {
        plan.actions.push(Action::NoIommu { allow: false });
    }
    if remembered.is_empty() {
        let says = "nothing was prepared since this machine was started";
        plan.kept.push(says.to_owned());
    }
    match refused.is_empty() {
        true => Ok(plan),
        false => Err(refused),
    }
}

/// Its interfaces get back what they had; again and again.
fn dressing(known: &BoundDevice) -> impl Iterator<Item = Action> + '_ {
    let device = known.device;
    let held = known.held.iter().cloned();
    held.map(move |held| Action::Dress { device, held })
}

fn give_back(known: &BoundDevice, device: &Device) -> Action {
    Action::Bind {
        device: known.device,
        interfaces: known.interfaces.clone(),
        from: device.driver.clone(),
        to: known.driver_before.clone(),
        kept_for: known.kept_for_before.clone(),
        kept_for_before: device.driver_override.clone(),
        held: Vec::new(),
    }
}

fn plan_pages_back(machine: &Machine, known: &SetPages, plan: &mut Plan) {
    let pages = doctor::pages(machine, known.node);
    let now = pages.iter().find(|it| it.size_kb == known.size_kb);
    let what = format!(
        "hugepages of {} on node{}",
        size_text(known.size_kb),
        known.node
    );
    match now.map(|it| it.total) {
        None => plan.kept.push(format!("{what}: there are none any more")),
        Some(total) if total <= known.before => {
            plan.kept.push(format!("{what}: {total}, as before"));
        }
        Some(total) if total > known.set => plan.kept.push(format!(
            "{what}: somebody made {total} of the {} that were set, and they stay",
            known.set
        )),
        Some(total) => plan.actions.push(Action::Pages {
            node: known.node,
            size_kb: known.size_kb,
            from: total,
            to: known.before,
        }),
    }
}

/// Who has a card open: the kernel would wait for him for ever.
fn held(machine: &Machine, device: &Device) -> Option<String> {
    let group = device.group?;
    let files = [
        format!("/dev/vfio/{group}"),
        format!("/dev/vfio/noiommu-{group}"),
    ];
    let holders = processes::holders(machine, |target| files.iter().any(|it| it == target));
    let first = holders.first()?;
    Some(format!("{} ({})", first.name, first.id))
}

/// A user's number and his group's.
pub(super) fn account(machine: &Machine, name: &str) -> Option<(u32, u32)> {
    let text = machine.text("/etc/passwd").ok()?;
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [user, _, number, group, ..] = fields[..] else {
            return None;
        };
        (user == name).then_some((number.parse().ok()?, group.parse().ok()?))
    })
}

/// The size that the kernel means by hugepage.
fn default_size_kb(machine: &Machine) -> u64 {
    let text = machine.text("/proc/meminfo").unwrap_or_default();
    let size = parse::fields(&text).get("Hugepagesize").copied();
    let size = size.and_then(|it| it.split(' ').next()?.parse().ok());
    size.unwrap_or(2048)
}
