//! The kernel, and its command line.

use super::{Check, Examined};
use crate::machine::Machine;
use crate::parse;

/// The oldest kernel that is tested.
const OLDEST: (u32, u32) = (5, 10);
/// The parameters that matter to Weir.
const SHOWN: [&str; 12] = [
    "intel_iommu",
    "amd_iommu",
    "iommu",
    "isolcpus",
    "nohz_full",
    "rcu_nocbs",
    "irqaffinity",
    "hugepagesz",
    "hugepages",
    "default_hugepagesz",
    "mitigations",
    "transparent_hugepage",
];

pub(super) fn look(examined: &mut Examined<'_>) {
    let machine = examined.machine;
    let check = match machine.word("/proc/sys/kernel/osrelease") {
        Err(unread) => Check::unread("kernel", &unread),
        Ok(release) => match parse::release(&release) {
            Some(version) if version >= OLDEST => Check::ok("kernel", release),
            Some(_) => Check::warning(
                "kernel",
                format!("{release} is older than what Weir is tested with (5.10)"),
            )
            .fix("sudo apt-get update && sudo apt-get dist-upgrade"),
            None => Check::warning("kernel", format!("{release:?} is no release that is known")),
        },
    };
    examined.tell(check);
    let check = match machine.text("/proc/cmdline") {
        Err(unread) => Check::unread("command line", &unread),
        Ok(text) => {
            let parameters = parse::parameters(&text);
            let shown = SHOWN.iter().filter_map(|name| {
                let value = parameters.get(*name)?;
                Some(format!("{name}={value}"))
            });
            let shown: Vec<String> = shown.collect();
            match shown.is_empty() {
                true => Check::ok("command line", "nothing that concerns Weir"),
                false => Check::ok("command line", shown.join(" ")),
            }
        }
    };
    examined.tell(check);
    lockdown(examined);
}

/// A locked kernel gives no card away without an IOMMU, and no physical addresses.
fn lockdown(examined: &mut Examined<'_>) {
    let text = examined.machine.word("/sys/kernel/security/lockdown");
    let text = text.unwrap_or_default();
    let chosen = text.split(['[', ']']).nth(1).unwrap_or("none");
    if chosen != "none" && !super::iommu::is_on(examined.machine) && examined.needs_vfio() {
        let says = format!(
            "the kernel is locked down ({chosen}): cards can be taken from it only with an IOMMU"
        );
        let fix = "mokutil --sb-state   # Secure Boot locks it; the IOMMU is the better way";
        examined.tell(Check::failure("lockdown", says).fix(fix));
    }
}

/// The commands that add parameters to the kernel's command line, in a file of their own for each
/// purpose, so that they can be taken away again.
pub(crate) fn parameters(machine: &Machine, purpose: &str, parameters: &[&str]) -> Vec<String> {
    let text = parameters.join(" ");
    if machine.exists("/usr/sbin/grubby") {
        return vec![
            format!("sudo grubby --update-kernel=ALL --args='{text}'"),
            "sudo reboot".to_owned(),
        ];
    }
    vec![
        format!(
            "echo 'GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX {text}\"' | \
             sudo tee /etc/default/grub.d/weir-{purpose}.cfg"
        ),
        "sudo update-grub && sudo reboot".to_owned(),
    ]
}
