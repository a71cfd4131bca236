//! The cores on which workers run: there, each for itself, kept free of others, and at full speed.

use std::collections::BTreeSet;

use super::{Check, Examined};
use crate::machine::{Machine, Unread};
use crate::parse;

const CORES: &str = "/sys/devices/system/cpu";

pub(super) fn look(examined: &mut Examined<'_>) {
    let machine = examined.machine;
    let online = match set(machine, "online") {
        Ok(online) => online,
        Err(unread) => return examined.tell(Check::unread("cores", &unread)),
    };
    let wanted: BTreeSet<u32> = examined.wanted.cores.iter().copied().collect();
    let list = parse::list_text(&wanted);
    let missing: BTreeSet<u32> = wanted.difference(&online).copied().collect();
    if !missing.is_empty() {
        let says = format!(
            "worker core {} is not there or is switched off; there are {}",
            parse::list_text(&missing),
            parse::list_text(&online)
        );
        let fix = "sudoedit /etc/weir/node.toml   # workers.cores";
        return examined.tell(Check::failure("cores", says).fix(fix));
    }
    let says = match examined.wanted.configured {
        true => format!("workers on {list} of {}", parse::list_text(&online)),
        false => format!("{} of them", online.len()),
    };
    examined.tell(Check::ok("cores", says));
    look_at_siblings(examined, &wanted);
    look_at_isolation(examined, &wanted, &online);
    look_at_frequency(examined, &wanted);
}

/// What isolation of these cores asks of the kernel's command line.
pub(crate) fn isolation(cores: &BTreeSet<u32>, online: &BTreeSet<u32>) -> Vec<String> {
    let others: BTreeSet<u32> = online.difference(cores).copied().collect();
    let list = parse::list_text(cores);
    vec![
        format!("isolcpus=managed_irq,domain,{list}"),
        format!("nohz_full={list}"),
        format!("rcu_nocbs={list}"),
        format!("irqaffinity={}", parse::list_text(&others)),
    ]
}

/// The cores that are switched on.
pub(crate) fn online(machine: &Machine) -> Result<BTreeSet<u32>, Unread> {
    set(machine, "online")
}

/// The cores that the kernel keeps free.
pub(crate) fn isolated(machine: &Machine) -> BTreeSet<u32> {
    set(machine, "isolated").unwrap_or_default()
}

/// Two workers on the threads of one core share its units.
fn look_at_siblings(examined: &mut Examined<'_>, wanted: &BTreeSet<u32>) {
    let machine = examined.machine;
    let shared: BTreeSet<String> = wanted
        .iter()
        .filter_map(|core| {
            let siblings =
                set(machine, &format!("cpu{core}/topology/thread_siblings_list")).ok()?;
            let ours: BTreeSet<u32> = siblings.intersection(wanted).copied().collect();
            (ours.len() > 1).then(|| parse::list_text(&ours))
        })
        .collect();
    if !shared.is_empty() {
        let shared: Vec<String> = shared.into_iter().collect();
        let says = format!(
            "worker cores {} are threads of one core: together they do little more than one alone",
            shared.join(" and ")
        );
        let fix = "lscpu --extended   # then workers.cores: one CPU of each CORE";
        examined.tell(Check::warning("threads", says).fix(fix));
    }
}

fn look_at_isolation(examined: &mut Examined<'_>, wanted: &BTreeSet<u32>, online: &BTreeSet<u32>) {
    if !examined.wanted.configured {
        return;
    }
    let machine = examined.machine;
    let isolated = isolated(machine);
    let shared: BTreeSet<u32> = wanted.difference(&isolated).copied().collect();
    if shared.is_empty() {
        let says = format!(
            "{}: nothing else is scheduled there",
            parse::list_text(&isolated)
        );
        return examined.tell(Check::ok("isolated cores", says));
    }
    let says = format!(
        "other programs and interrupts run on worker core {} too: packets wait while they do",
        parse::list_text(&shared)
    );
    let check = Check::warning("isolated cores", says);
    // Somebody has to be left for everything else.
    examined.tell(match wanted.len() < online.len() {
        true => {
            let parameters = isolation(wanted, online);
            let parameters: Vec<&str> = parameters.iter().map(String::as_str).collect();
            check.fixes(super::kernel::parameters(machine, "cores", &parameters))
        }
        false => {
            check.fix("sudoedit /etc/weir/node.toml   # workers.idle = \"sleep\", or fewer cores")
        }
    });
}

fn look_at_frequency(examined: &mut Examined<'_>, wanted: &BTreeSet<u32>) {
    let machine = examined.machine;
    let slow = wanted.iter().filter_map(|core| {
        let path = format!("{CORES}/cpu{core}/cpufreq/scaling_governor");
        let governor = machine.word(&path).ok()?;
        (governor != "performance").then_some((*core, governor))
    });
    let slow: Vec<(u32, String)> = slow.collect();
    if let Some((_, governor)) = slow.first() {
        let cores = parse::list_text(&slow.iter().map(|(core, _)| *core).collect());
        let says =
            format!("cores {cores} are clocked by need ({governor}): the first packets are late");
        let fix = format!("sudo cpupower --cpu {cores} frequency-set --governor performance");
        examined.tell(Check::warning("frequency", says).fix(fix));
    }
}

fn set(machine: &Machine, name: &str) -> Result<BTreeSet<u32>, Unread> {
    let path = format!("{CORES}/{name}");
    let text = machine.text(&path)?;
    parse::list(&text).ok_or_else(|| Unread {
        path,
        why: crate::machine::Why::Failed("it is no list of cores".to_owned()),
    })
}
