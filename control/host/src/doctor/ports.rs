//! The ports that a controller listens on: free, or its own.

use super::{Check, Examined};
use crate::network;
use crate::processes;

/// Port, and what listens there.
const PORTS: [(u16, &str); 2] = [
    (7443, "where nodes subscribe (--node-listen)"),
    (9443, "where the API server asks (--admission-listen)"),
];
/// Whose they may be.
const OWN: &str = "weir-controller";

pub(super) fn look(examined: &mut Examined<'_>) {
    let machine = examined.machine;
    let sockets = match network::sockets(machine) {
        Ok(sockets) => sockets,
        Err(unread) => return examined.tell(Check::unread("port", &unread)),
    };
    for (port, what) in PORTS {
        let inodes = network::listening(&sockets, port);
        let check = if inodes.is_empty() {
            Check::ok("port", format!("free: {what}"))
        } else {
            let links: Vec<String> = inodes.iter().map(|it| format!("socket:[{it}]")).collect();
            let holders = processes::holders(machine, |it| links.iter().any(|link| link == it));
            taken(port, what, &holders)
        };
        examined.tell(check.of(port.to_string()));
    }
}

fn taken(port: u16, what: &str, holders: &[processes::Process]) -> Check {
    let by = |it: &processes::Process| format!("{} ({})", it.name, it.id);
    let by: Vec<String> = holders.iter().map(by).collect();
    // A process's name is 15 letters long.
    let own = holders
        .iter()
        .all(|it| OWN.starts_with(&it.name) && !it.name.is_empty());
    match holders.is_empty() {
        true => Check::warning("port", format!("somebody listens there: {what}"))
            .fix(format!("sudo ss -lptn 'sport = :{port}'")),
        false if own => Check::ok("port", format!("held by {}: {what}", by.join(", "))),
        false => Check::warning("port", format!("taken by {}: {what}", by.join(", ")))
            .fix("sudo systemctl edit weir-controller   # listen on another port"),
    }
}
