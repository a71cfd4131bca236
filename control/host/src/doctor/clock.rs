//! The clock: cheap to read, steady, and right. Signed policy and evidence go by it.

use super::{Check, Examined};
use crate::parse;
use crate::processes;

const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0";
/// Those that keep the clock right.
const KEEPERS: [&str; 7] = [
    "chronyd",
    "ntpd",
    "systemd-timesyn",
    "ptp4l",
    "phc2sys",
    "openntpd",
    "ntpsec",
];

pub(super) fn look(examined: &mut Examined<'_>) {
    let machine = examined.machine;
    let arm = machine.text("/proc/cpuinfo").unwrap_or_default();
    let arm = parse::fields(&arm).contains_key("Features");
    let check = match machine.word(&format!("{SOURCE}/current_clocksource")) {
        Err(unread) => Check::unread("clock", &unread),
        Ok(source) if source == "tsc" || (arm && source == "arch_sys_counter") => {
            Check::ok("clock", format!("{source}: read without asking the kernel"))
        }
        Ok(source) => {
            let available = machine.word(&format!("{SOURCE}/available_clocksource"));
            let says = format!("{source}: every look at it costs more than a packet");
            let check = Check::warning("clock", says);
            match available.is_ok_and(|it| it.split(' ').any(|it| it == "tsc")) {
                true => check.fix(format!("echo tsc | sudo tee {SOURCE}/current_clocksource")),
                // The kernel found it unsteady, or the hypervisor hides it.
                false => {
                    check.fix("sudo dmesg | grep -i tsc   # says why the kernel does not use it")
                }
            }
        }
    };
    examined.tell(check);
    let synchronized = machine.exists("/run/systemd/timesync/synchronized");
    let keepers = processes::named(machine, &KEEPERS);
    examined.tell(match keepers.first() {
        Some(keeper) => Check::ok("time", format!("kept right by {}", keeper.name)),
        None if synchronized => Check::ok("time", "kept right by systemd-timesyncd"),
        None => {
            let says =
                "nobody keeps the clock right: signed policy and certificates are judged by it";
            Check::warning("time", says).fix("sudo timedatectl set-ntp true")
        }
    });
}
