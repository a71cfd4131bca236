//! Network cards: driver, firmware, queues and hashing, link, and the slot they are in.

use super::{Check, Examined, State};
use crate::machine::Machine;
use crate::network;
use crate::nic::{self, Family, Way};
use crate::parse;
use crate::pci::Device;

/// What a card is there for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use<'a> {
    /// The configuration names it, and the machine may not be able to do without it.
    Wanted(Option<&'a str>),
    /// The machine cannot do without it, because of this.
    Needed(&'a str),
    /// Nobody asked for it.
    Spare,
}

pub(super) fn look(examined: &mut Examined<'_>) {
    let devices = match &examined.devices {
        Ok(devices) => devices.clone(),
        Err(unread) => {
            let check = Check::unread("nic", unread);
            return examined.tell(check);
        }
    };
    look_for_missing(examined, &devices);
    let needed = match network::needed(examined.machine, examined.session) {
        Ok(needed) => needed,
        Err(unread) => {
            examined.tell(Check::unread("routes", &unread));
            Default::default()
        }
    };
    let cards: Vec<Device> = devices.into_iter().filter(Device::is_network).collect();
    if cards.is_empty() {
        let says = "there is no network card on the PCI bus; virtual devices work without \
                    (eal.virtual_devices)";
        examined.tell(Check::warning("nic", says));
    }
    for device in &cards {
        let wanted = examined
            .wanted_devices()
            .iter()
            .any(|it| it.address == device.address);
        let reason = device.interfaces.iter().find_map(|it| needed.get(it));
        let purpose = match (wanted, reason) {
            (true, reason) => Use::Wanted(reason.map(String::as_str)),
            (false, Some(reason)) => Use::Needed(reason),
            (false, None) => Use::Spare,
        };
        look_at(examined, device, purpose);
    }
}

/// What the configuration names and the machine does not have.
fn look_for_missing(examined: &mut Examined<'_>, devices: &[Device]) {
    for name in examined.wanted.devices.clone() {
        let check = match name.parse() {
            Err(wrong) => {
                let wrong: crate::pci::NoAddress = wrong;
                Check::failure("nic", wrong.to_string())
                    .fix("sudoedit /etc/weir/node.toml   # eal.devices")
            }
            Ok(address) if devices.iter().any(|it| it.address == address) => continue,
            Ok(_) => Check::failure(
                "nic",
                "the configuration names it, the machine does not have it",
            )
            .fix("lspci -D | grep -iE 'ethernet|network'"),
        };
        examined.tell(check.of(name));
    }
    for name in examined.wanted.interfaces.clone() {
        if !examined
            .machine
            .exists(&format!("{}/{name}", network::INTERFACES))
        {
            let says = "a virtual device names this interface, the machine does not have it";
            let check = Check::failure("nic", says).fix("ip -brief link");
            examined.tell(check.of(name));
        }
    }
}

fn look_at(examined: &mut Examined<'_>, device: &Device, purpose: Use<'_>) {
    let machine = examined.machine;
    let name = name(device);
    let family = nic::family(device);
    examined.tell(driver(machine, device, family, purpose).of(&name));
    // What nobody will use need not be right.
    if !matches!(purpose, Use::Wanted(_)) {
        return;
    }
    examined.tell(firmware(machine, device).of(&name));
    let workers = examined.wanted.cores.len();
    examined.tell(queues(machine, device, family, workers).of(&name));
    examined.tell(link(machine, device).of(&name));
    if let Some(check) = slot(machine, device) {
        examined.tell(check.of(&name));
    }
}

/// Address, and interface where it has one.
fn name(device: &Device) -> String {
    match device.interfaces.is_empty() {
        true => device.address.to_string(),
        false => format!("{} {}", device.address, device.interfaces.join(",")),
    }
}

fn driver(machine: &Machine, device: &Device, family: Option<&Family>, purpose: Use<'_>) -> Check {
    let model = nic::model(machine, device);
    let node = device.node.map(|node| format!(", node{node}"));
    let driver = device.driver.as_deref().unwrap_or("no driver");
    let what = format!("{model}, {driver}{}", node.unwrap_or_default());
    let Some(family) = family else {
        let says = format!("{what}: no driver of DPDK is known for it");
        return match purpose {
            Use::Wanted(_) => Check::warning("nic", says).fix("dpdk-devbind.py --status-dev net"),
            _ => Check::ok("nic", says),
        };
    };
    let poll_mode = family.poll_mode;
    match (purpose, family.way) {
        (Use::Needed(reason), _) => Check::ok(
            "nic",
            format!("{what}: it {reason} and is left to the kernel"),
        ),
        (Use::Spare, _) if device.is_for_userspace() => Check::ok(
            "nic",
            format!("{what}: for {poll_mode}, not in the configuration"),
        ),
        (Use::Spare, _) => Check::ok("nic", format!("{what}: {poll_mode} could take it")),
        (Use::Wanted(_), Way::Shared) if device.driver.as_deref() == Some(family.kernel) => {
            Check::ok(
                "nic",
                format!("{what}: {poll_mode} uses it beside the kernel"),
            )
        }
        (Use::Wanted(_), Way::Shared) => Check::failure(
            "nic",
            format!("{what}: {poll_mode} wants it to be with {}", family.kernel),
        )
        .fix(format!(
            "echo {} | sudo tee /sys/bus/pci/drivers/{}/bind",
            device.address, family.kernel
        )),
        (Use::Wanted(_), Way::Bound) if device.is_for_userspace() => {
            Check::ok("nic", format!("{what}: {poll_mode} takes it"))
        }
        (Use::Wanted(Some(reason)), Way::Bound) => Check::failure(
            "nic",
            format!("{what}: the configuration names it, but it {reason}: choose another card"),
        )
        .fix("sudoedit /etc/weir/node.toml   # eal.devices")
        .fix("sudo weir host prepare --force   # from the machine's own console"),
        (Use::Wanted(None), Way::Bound) => {
            let says = format!("{what}: the kernel has it, {poll_mode} cannot take it yet");
            Check::failure("nic", says).fix("sudo weir host prepare")
        }
    }
}

fn firmware(machine: &Machine, device: &Device) -> Check {
    let Some(interface) = device.interfaces.first() else {
        let says = "known only while the kernel's driver has the card";
        return Check::ok("firmware", says);
    };
    let printed = match machine.tool("ethtool", &["-i", interface]) {
        Ok(printed) => printed,
        Err(unread) => return no_ethtool("firmware", &unread),
    };
    let fields = parse::fields(&printed);
    let field = |name| fields.get(name).copied().filter(|value| !value.is_empty());
    match field("firmware-version") {
        Some(firmware) => {
            let version = field("version").unwrap_or("not told");
            Check::ok("firmware", format!("{firmware}; driver version {version}"))
        }
        None => Check::ok("firmware", "the card names none"),
    }
}

fn queues(machine: &Machine, device: &Device, family: Option<&Family>, workers: usize) -> Check {
    let hashing = family.map_or(1, |family| usize::from(family.queues_max));
    let now = device.interfaces.first().map(|interface| {
        let path = format!("{}/{interface}/queues", network::INTERFACES);
        let queues = machine.entries(&path).unwrap_or_default();
        let of = |kind| queues.iter().filter(|it| it.starts_with(kind)).count();
        format!(
            "; the kernel uses {} to receive, {} to send",
            of("rx-"),
            of("tx-")
        )
    });
    let now = now.unwrap_or_default();
    match family {
        None => Check::warning("queues", format!("how many DPDK can use is not known{now}")),
        Some(_) if workers <= 1 => Check::ok(
            "queues",
            format!("one worker needs one, there are {hashing}{now}"),
        ),
        Some(_) if hashing >= workers => Check::ok(
            "queues",
            format!("{workers} workers, up to {hashing} queues by hash (RSS){now}"),
        ),
        Some(_) => {
            let queues = match hashing {
                1 => "one queue, without hashing (RSS)".to_owned(),
                _ => format!("{hashing} queues by hash (RSS)"),
            };
            Check::warning(
                "queues",
                format!(
                    "{workers} workers, {queues}: the worker that receives hands the rest over to the \
                     others, at a cost{now}"
                ),
            )
            .fix(format!("sudoedit /etc/weir/node.toml   # workers.cores: {hashing} of them"))
        }
    }
}

fn link(machine: &Machine, device: &Device) -> Check {
    let Some(interface) = device.interfaces.first() else {
        return Check::ok("link", "known to weir-node alone: weir status");
    };
    let path = format!("{}/{interface}", network::INTERFACES);
    // Of an interface that is down the kernel does not say whether it has a carrier.
    let carrier = machine.word(&format!("{path}/carrier"));
    let speed = machine.number::<i64>(&format!("{path}/speed"));
    match carrier.as_deref() {
        Ok("1") => {
            let speed = speed.ok().filter(|it| *it > 0);
            let speed = speed.map_or("speed unknown".to_owned(), |it| format!("{it} Mb/s"));
            Check::ok("link", format!("up, {speed}"))
        }
        Ok(_) => Check::warning("link", "no carrier: the cable, or the other end")
            .fix(format!("sudo ethtool {interface}")),
        Err(_) => Check::warning(
            "link",
            "the interface is switched off: whether a cable is in is not known",
        )
        .fix(format!("sudo ip link set {interface} up")),
    }
}

/// A card in a slot narrower than itself never reaches its rate.
fn slot(machine: &Machine, device: &Device) -> Option<Check> {
    let directory = device.address.directory();
    let word = |name: &str| machine.word(&format!("{directory}/{name}")).ok();
    let (width, width_max) = (word("current_link_width")?, word("max_link_width")?);
    let (speed, speed_max) = (word("current_link_speed")?, word("max_link_speed")?);
    let number = |text: &str| -> Option<f64> { text.split(' ').next()?.parse().ok() };
    let rate = number(&speed)? * number(&width)?;
    let rate_max = number(&speed_max)? * number(&width_max)?;
    if rate <= 0.0 {
        return None;
    }
    let says = format!("{speed} by {width} lanes");
    Some(match rate < rate_max {
        false => Check::ok("slot", says),
        true => {
            let says = format!(
                "{says}, where the card can do {speed_max} by {width_max}: try another slot"
            );
            Check::warning("slot", says)
                .fix(format!("sudo lspci -vvs {} | grep -i lnk", device.address))
        }
    })
}

fn no_ethtool(name: &'static str, unread: &crate::machine::Unread) -> Check {
    match unread.why {
        crate::machine::Why::Missing => {
            Check::new(State::Warning, name, "not known without ethtool")
                .fix("sudo apt-get install ethtool")
        }
        _ => Check::unread(name, unread),
    }
}
