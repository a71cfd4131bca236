//! Memory nodes and hugepages.

use std::collections::BTreeSet;

use super::{Check, Examined, State};
use crate::machine::Machine;
use crate::parse;
use crate::wanted::HugePages;

const NODES: &str = "/sys/devices/system/node";

/// The hugepages of one size on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pages {
    pub size_kb: u64,
    pub total: u64,
    pub free: u64,
}

/// The machine's memory nodes; where the kernel knows of none there is one.
pub(crate) fn nodes(machine: &Machine) -> Vec<u32> {
    let online = machine.text(&format!("{NODES}/online"));
    let nodes = online.ok().and_then(|text| parse::list(&text));
    let nodes = nodes.filter(|nodes| !nodes.is_empty());
    nodes
        .unwrap_or_else(|| BTreeSet::from([0]))
        .into_iter()
        .collect()
}

/// Where the hugepages of a node are; the machine's own where it has no nodes.
pub(crate) fn directory(machine: &Machine, node: u32) -> String {
    let of_node = format!("{NODES}/node{node}/hugepages");
    match machine.exists(&of_node) {
        true => of_node,
        false => "/sys/kernel/mm/hugepages".to_owned(),
    }
}

/// The hugepages of a node, by size.
pub(crate) fn pages(machine: &Machine, node: u32) -> Vec<Pages> {
    let directory = directory(machine, node);
    let names = machine.entries(&directory).unwrap_or_default();
    let read = |name: String| {
        let size_kb = name.strip_prefix("hugepages-")?.strip_suffix("kB")?;
        Some(Pages {
            size_kb: size_kb.parse().ok()?,
            total: machine
                .number(&format!("{directory}/{name}/nr_hugepages"))
                .ok()?,
            free: machine
                .number(&format!("{directory}/{name}/free_hugepages"))
                .ok()?,
        })
    };
    names.into_iter().filter_map(read).collect()
}

/// The cores of a node.
pub(crate) fn cores(machine: &Machine, node: u32) -> BTreeSet<u32> {
    let text = machine.text(&format!("{NODES}/node{node}/cpulist"));
    let cores = text.ok().and_then(|text| parse::list(&text));
    cores.unwrap_or_default()
}

pub(super) fn look(examined: &mut Examined<'_>) {
    look_at_nodes(examined);
    look_at_pages(examined);
}

fn look_at_nodes(examined: &mut Examined<'_>) {
    let machine = examined.machine;
    let nodes = nodes(machine);
    let describe = |node: &u32| {
        let cores = cores(machine, *node);
        let memory = machine.text(&format!("{NODES}/node{node}/meminfo"));
        let memory = memory.ok().and_then(|text| {
            let line = text.lines().find(|line| line.contains("MemTotal:"))?;
            let kilobytes: u64 = line.split_whitespace().rev().nth(1)?.parse().ok()?;
            Some(format!(", {} GiB", kilobytes >> 20))
        });
        let cores = match cores.is_empty() {
            true => "no core".to_owned(),
            false => format!("cores {}", parse::list_text(&cores)),
        };
        format!("node{node}: {cores}{}", memory.unwrap_or_default())
    };
    let all: Vec<String> = nodes.iter().map(describe).collect();
    let all = all.join("; ");
    let wanted: Vec<u32> = examined
        .wanted_devices()
        .iter()
        .filter_map(|it| it.node)
        .collect();
    let far: Vec<u32> = examined
        .wanted
        .cores
        .iter()
        .copied()
        .filter(|core| {
            let near = wanted
                .iter()
                .any(|node| cores(machine, *node).contains(core));
            nodes.len() > 1 && !wanted.is_empty() && !near
        })
        .collect();
    if far.is_empty() {
        return examined.tell(Check::ok("numa", all));
    }
    let near: BTreeSet<u32> = wanted
        .iter()
        .flat_map(|node| cores(machine, *node))
        .collect();
    let says = format!(
        "the configured cards are on node {}, the worker cores {} are not: every packet crosses \
         between the sockets ({all})",
        parse::list_text(&wanted.iter().copied().collect()),
        parse::list_text(&far.into_iter().collect()),
    );
    let fix = format!(
        "sudoedit /etc/weir/node.toml   # workers.cores: some of {}",
        parse::list_text(&near)
    );
    examined.tell(Check::warning("numa", says).fix(fix));
}

fn look_at_pages(examined: &mut Examined<'_>) {
    let machine = examined.machine;
    let mut found = false;
    let mut free_mb = 0;
    for node in nodes(machine) {
        let pages = pages(machine, node);
        found |= !pages.is_empty();
        free_mb += pages
            .iter()
            .map(|it| (it.free * it.size_kb) >> 10)
            .sum::<u64>();
        let some = pages.iter().filter(|pages| pages.total > 0);
        let describe =
            |it: &Pages| format!("{} of {} free, {}", it.free, it.total, size(it.size_kb));
        let some: Vec<String> = some.map(describe).collect();
        if !some.is_empty() {
            let check = Check::ok("hugepages", some.join("; "));
            examined.tell(check.of(format!("node{node}")));
        }
    }
    if !found {
        let says = "this kernel shows no hugepages: DPDK uses ordinary memory, at 1.5 to 2.5 times the \
                    cost per packet";
        return examined.tell(Check::warning("hugepages", says));
    }
    let (wanted_mb, use_of) = (examined.wanted.memory_mb, examined.wanted.huge_pages);
    let check = match use_of {
        HugePages::Never => Check::ok(
            "hugepages",
            "the configuration does without (eal.huge_pages)",
        ),
        _ if examined.running => Check::ok("hugepages", "weir-node runs and holds its own"),
        _ if free_mb >= wanted_mb => Check::ok(
            "hugepages",
            format!("{free_mb} MiB free, {wanted_mb} wanted"),
        ),
        _ => {
            let what = match use_of {
                HugePages::Required => "the node does not start without (eal.huge_pages)",
                _ => "without, DPDK uses ordinary memory, at 1.5 to 2.5 times the cost per packet",
            };
            let says = format!("{free_mb} MiB free, {wanted_mb} wanted; {what}");
            let state = Examined::if_needed(use_of == HugePages::Required);
            Check::new(state, "hugepages", says).fix("sudo weir host prepare")
        }
    };
    let short = check.state != State::Ok;
    examined.tell(check);
    if short {
        look_at_fragmentation(examined, wanted_mb.saturating_sub(free_mb));
    }
}

/// Hugepages are made of free memory in one piece.
fn look_at_fragmentation(examined: &mut Examined<'_>, missing_mb: u64) {
    let Ok(text) = examined.machine.text("/proc/meminfo") else {
        return;
    };
    let available = parse::fields(&text).get("MemAvailable").copied();
    let kilobytes = available.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    if let Some(kilobytes) = kilobytes
        && kilobytes >> 10 < missing_mb + 256
    {
        let says = format!(
            "{} MiB of memory are available, {missing_mb} more are wanted as hugepages: there is not \
             enough memory for them",
            kilobytes >> 10
        );
        let fix = "sudoedit /etc/weir/node.toml   # a smaller eal.memory_mb";
        examined.tell(Check::warning("memory", says).fix(fix));
    }
}

/// 2 MiB, 1 GiB.
pub(crate) fn size(kilobytes: u64) -> String {
    match kilobytes {
        _ if kilobytes >= 1 << 20 => format!("{} GiB", kilobytes >> 20),
        _ if kilobytes >= 1 << 10 => format!("{} MiB", kilobytes >> 10),
        _ => format!("{kilobytes} KiB"),
    }
}
