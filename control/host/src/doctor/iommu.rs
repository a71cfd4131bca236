//! The IOMMU, and vfio, by which a card is given to a program without giving it all memory.

use super::{Check, Examined};
use crate::machine::Machine;
use crate::parse;

/// What has to be on the kernel's command line.
const INTEL: &[&str] = &["intel_iommu=on", "iommu=pt"];
const AMD: &[&str] = &["iommu=pt"];

pub(super) fn look(examined: &mut Examined<'_>) {
    look_at_iommu(examined);
    look_at_vfio(examined);
}

/// How the IOMMU stands.
pub(crate) fn is_on(machine: &Machine) -> bool {
    let groups = machine.entries("/sys/kernel/iommu_groups");
    groups.is_ok_and(|groups| !groups.is_empty())
}

fn look_at_iommu(examined: &mut Examined<'_>) {
    let machine = examined.machine;
    let state = Examined::if_needed(examined.needs_vfio());
    if is_on(machine) {
        let groups = machine.entries("/sys/kernel/iommu_groups");
        let says = format!("on: {} groups of devices", groups.unwrap_or_default().len());
        return examined.tell(Check::ok("iommu", says));
    }
    let check = |says: &str| Check::new(state, "iommu", says);
    let tables = "/sys/firmware/acpi/tables";
    let (intel, amd) = (
        machine.exists(&format!("{tables}/DMAR")),
        machine.exists(&format!("{tables}/IVRS")),
    );
    let parameters = machine.text("/proc/cmdline").unwrap_or_default();
    let parameters = parse::parameters(&parameters);
    let off = ["intel_iommu", "amd_iommu", "iommu"]
        .into_iter()
        .find(|name| {
            parameters
                .get(*name)
                .is_some_and(|it| it.split(',').any(|it| it == "off"))
        });
    let processor = machine.text("/proc/cpuinfo").unwrap_or_default();
    let virtual_machine = parse::fields(&processor)
        .get("flags")
        .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor"));
    examined.tell(match (intel, amd) {
        _ if off.is_some() => {
            let says = format!(
                "switched off by {}=off on the kernel's command line",
                off.unwrap_or_default()
            );
            let fixes = super::kernel::parameters(machine, "iommu", if amd { AMD } else { INTEL });
            check(&says).fixes(fixes)
        }
        (true, _) => check("the firmware offers one, the kernel does not use it")
            .fixes(super::kernel::parameters(machine, "iommu", INTEL)),
        (_, true) => check("the firmware offers one, the kernel does not use it")
            .fixes(super::kernel::parameters(machine, "iommu", AMD)),
        _ if virtual_machine => check(
            "this virtual machine has none: give it one, or take cards without protection \
             (--no-iommu: whoever controls weir-node then controls the machine)",
        )
        .fix("virt-xml DOMAIN --add-device --iommu model=intel   # on the hypervisor")
        .fix("sudo weir host prepare --no-iommu"),
        _ if !machine.exists(tables) => {
            check("there is none; whether the firmware offers one is not known here")
        }
        _ => check("the firmware offers none: switch on VT-d or AMD-Vi in its settings")
            .fix("sudo systemctl reboot --firmware-setup"),
    });
}

fn look_at_vfio(examined: &mut Examined<'_>) {
    let machine = examined.machine;
    let needed = examined.needs_vfio();
    if machine.exists("/sys/bus/pci/drivers/vfio-pci") {
        let mode = machine.word("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode");
        let check = match mode.as_deref() {
            Ok("Y") => Check::warning(
                "vfio",
                "vfio-pci is there, and gives cards away without an IOMMU: whoever controls weir-node \
                 controls the machine",
            )
            .fix("sudo weir host restore"),
            _ => Check::ok("vfio", "vfio-pci is there"),
        };
        return examined.tell(check);
    }
    let release = match machine.word("/proc/sys/kernel/osrelease") {
        Ok(release) => release,
        Err(unread) => return examined.tell(Check::unread("vfio", &unread)),
    };
    let modules = format!("/lib/modules/{release}");
    let builtin = machine.text(&format!("{modules}/modules.builtin"));
    let available = builtin.is_ok_and(|text| text.contains("/vfio-pci.ko"))
        || ["", ".xz", ".zst", ".gz"].iter().any(|packed| {
            machine.exists(&format!(
                "{modules}/kernel/drivers/vfio/pci/vfio-pci.ko{packed}"
            ))
        });
    let state = Examined::if_needed(needed);
    examined.tell(match available {
        true if needed => {
            let check = Check::failure("vfio", "the kernel has vfio-pci, it is not loaded");
            check.fix("sudo modprobe vfio-pci")
        }
        true => Check::ok(
            "vfio",
            "the kernel has vfio-pci, which is loaded when a card needs it",
        ),
        false => Check::new(
            state,
            "vfio",
            format!("the kernel {release} has no vfio-pci: cards cannot be taken from it"),
        )
        .fix("sudo apt-get install linux-image-amd64   # Debian's cloud kernels lack it"),
    });
}
