//! What a process may have: locked memory, files.

use super::{Check, Examined};
use crate::parse;
use crate::processes;

/// A node opens few files, a controller one for each node.
const FILES_MIN: u64 = 1024;

pub(super) fn look(examined: &mut Examined<'_>) {
    // The node's own limits where it runs, else those that it would get from this shell.
    let nodes = processes::named(examined.machine, &["weir-node"]);
    let (path, whose) = match nodes.first() {
        Some(node) => (
            format!("/proc/{}/limits", node.id),
            "of the running weir-node",
        ),
        None => ("/proc/self/limits".to_owned(), "of this shell"),
    };
    let text = match examined.machine.text(&path) {
        Ok(text) => text,
        Err(unread) => return examined.tell(Check::unread("limits", &unread)),
    };
    let wanted = examined.wanted.memory_mb << 20;
    examined.tell(match parse::limit(&text, "Max locked memory") {
        None => Check::warning("locked memory", format!("{path} does not tell the limit")),
        Some((None, _)) => Check::ok("locked memory", format!("unlimited, {whose}")),
        Some((Some(soft), _)) if soft >= wanted => {
            Check::ok("locked memory", format!("{} MiB, {whose}", soft >> 20))
        }
        Some((Some(soft), _)) => Check::warning(
            "locked memory",
            format!(
                "{} MiB, {whose}; DPDK locks {}. weir-node.service sets its own limit, a node started by \
                 hand needs it raised",
                soft >> 20,
                wanted >> 20
            ),
        )
        .fix("sudo prlimit --pid $$ --memlock=unlimited"),
    });
    examined.tell(match parse::limit(&text, "Max open files") {
        None => Check::warning("open files", format!("{path} does not tell the limit")),
        Some((None, _)) => Check::ok("open files", format!("unlimited, {whose}")),
        Some((Some(soft), _)) if soft >= FILES_MIN => {
            Check::ok("open files", format!("{soft}, {whose}"))
        }
        Some((Some(soft), _)) => {
            let says = format!("{soft}, {whose}; {FILES_MIN} are wanted");
            Check::warning("open files", says).fix("ulimit -n 65536")
        }
    });
}
