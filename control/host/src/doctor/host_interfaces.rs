//! Host interfaces: what they are made with, whom they stand for, and what they have.

use super::{Check, Examined, State};
use crate::addresses::{self, Interface};
use crate::machine::Machine;
use crate::network::INTERFACES;
use crate::wanted::HostInterface;

const NAME: &str = "host interface";
const VHOST_NET: &str = "/dev/vhost-net";
const TUN: &str = "/dev/net/tun";
/// Where iproute2 has its command.
const IP: [&str; 4] = ["/usr/sbin/ip", "/usr/bin/ip", "/sbin/ip", "/bin/ip"];

pub(super) fn look(examined: &mut Examined<'_>) {
    let machine = examined.machine;
    let wanted = examined.wanted.host_interfaces.clone();
    examined.tell(vhost_net(machine, !wanted.is_empty()));
    if wanted.is_empty() {
        let says = "none is wanted: the host's own traffic passes Weir only where a pair has a port like \
                    host:weir0";
        return examined.tell(Check::ok(NAME, says));
    }
    let lacks = |paths: &[&str]| !paths.iter().any(|path| machine.exists(path));
    if lacks(&[TUN]) {
        let says = format!("{TUN} is not there: neither vhost-net nor a TAP can be made");
        examined.tell(Check::failure("tun", says).fix("sudo modprobe tun"));
    }
    if lacks(&IP) {
        let says = "ip is not installed: weir-node puts addresses on host interfaces by it";
        let check = Check::failure("iproute2", says);
        examined.tell(check.fix("sudo apt-get install iproute2"));
    }
    let remembered = addresses::remembered(machine);
    for interface in wanted {
        for check in one(machine, &interface, &remembered, examined.running) {
            examined.tell(check.of(&interface.name));
        }
    }
}

fn vhost_net(machine: &Machine, wanted: bool) -> Check {
    match (machine.exists(VHOST_NET), wanted) {
        (true, _) => Check::ok("vhost-net", format!("{VHOST_NET} is there")),
        (false, false) => Check::ok("vhost-net", "not there, and not wanted"),
        (false, true) => Check::warning(
            "vhost-net",
            format!(
                "{VHOST_NET} is not there: host interfaces are TAPs, which carry a tenth of it"
            ),
        )
        .fix("sudo modprobe vhost_net"),
    }
}

/// Whom it stands for, and whether it is as it should be.
fn one(
    machine: &Machine,
    interface: &HostInterface,
    remembered: &Result<Vec<Interface>, String>,
    running: bool,
) -> Vec<Check> {
    let mut checks = vec![stands(interface, remembered)];
    let directory = format!("{INTERFACES}/{}", interface.name);
    let there = machine.exists(&directory);
    let carrier = machine.word(&format!("{directory}/carrier"));
    checks.push(match (there, running) {
        (false, false) => Check::ok(NAME, "made when weir-node runs"),
        (false, true) => Check::failure(NAME, "weir-node runs, and the interface is not there")
            .fix("journalctl -u weir-node | grep 'host interface'"),
        (true, false) => Check::warning(
            NAME,
            "there without weir-node: somebody else made it, and weir-node will use it if it may",
        )
        .fix(format!("ip -details link show {}", interface.name)),
        (true, true) if carrier.as_deref() == Ok("1") => Check::ok(NAME, "there, with carrier"),
        (true, true) => Check::warning(
            NAME,
            format!(
                "there, without carrier: {} has no link, or it was set down",
                interface.stands_for
            ),
        )
        .fix(format!("sudo ip link set {} up", interface.name)),
    });
    checks
}

fn stands(interface: &HostInterface, remembered: &Result<Vec<Interface>, String>) -> Check {
    let of = &interface.stands_for;
    let known = match remembered {
        Err(why) => return Check::new(State::Failure, NAME, why.clone()),
        Ok(known) => known,
    };
    let card = of.parse().ok();
    let known = known
        .iter()
        .find(|it| it.device.is_some() && it.device == card);
    match known {
        Some(known) => Check::ok(
            NAME,
            format!("stands for {of} ({}): {}", known.name, known.summary()),
        ),
        // A card that the kernel still has keeps its addresses until it is prepared.
        None => Check::ok(
            NAME,
            format!(
                "stands for {of}, of which no address is remembered: weir host prepare does it when it takes \
                 the card; else configure {} itself",
                interface.name
            ),
        ),
    }
}
