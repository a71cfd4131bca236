//! What the processor can do: the instructions that Weir is built for, and those that make it fast.

use std::collections::BTreeSet;

use super::{Check, Examined};
use crate::parse;

/// Without these the programs end with an illegal instruction.
const NEEDED_X86: [&str; 3] = ["ssse3", "sse4_2", "popcnt"];
/// Without these something is slower.
const WISHED_X86: [(&str, &str); 3] = [
    ("avx2", "signatures and DPDK's drivers at half their speed"),
    ("aes", "TLS and QUIC openings are costly"),
    ("bmi2", "Hyperscan falls back to slower code"),
];
const NEEDED_ARM: [&str; 2] = ["asimd", "crc32"];
const WISHED_ARM: [(&str, &str); 1] = [("aes", "TLS and QUIC openings are costly")];

pub(super) fn look(examined: &mut Examined<'_>) {
    let text = match examined.machine.text("/proc/cpuinfo") {
        Ok(text) => text,
        Err(unread) => return examined.tell(Check::unread("processor", &unread)),
    };
    let fields = parse::fields(&text);
    let (flags, needed, wished) = match (fields.get("flags"), fields.get("Features")) {
        (Some(flags), _) => (*flags, &NEEDED_X86[..], &WISHED_X86[..]),
        (None, Some(flags)) => (*flags, &NEEDED_ARM[..], &WISHED_ARM[..]),
        (None, None) => {
            let says = "/proc/cpuinfo names no features: what the processor can do is not known";
            return examined.tell(Check::warning("processor", says));
        }
    };
    let flags: BTreeSet<&str> = flags.split_whitespace().collect();
    let model = fields.get("model name").copied().unwrap_or("a processor");
    let virtual_machine = flags.contains("hypervisor");
    let within = match virtual_machine {
        true => " (in a virtual machine)",
        false => "",
    };
    let missing: Vec<&str> = needed
        .iter()
        .copied()
        .filter(|flag| !flags.contains(flag))
        .collect();
    if !missing.is_empty() {
        let says = format!(
            "{model}{within} lacks {}, for which Weir is built: it cannot run here",
            missing.join(", ")
        );
        let check = Check::failure("processor", says);
        return examined.tell(with_hint(check, virtual_machine));
    }
    let extra = match flags.contains("avx512f") {
        true => ", AVX-512",
        false => "",
    };
    examined.tell(Check::ok(
        "processor",
        format!("{model}{within}: all instructions that Weir is built for{extra}"),
    ));
    for (flag, without) in wished {
        if !flags.contains(flag) {
            let says = format!("{flag} is missing: {without}");
            let check = Check::warning("processor", says).of(*flag);
            examined.tell(with_hint(check, virtual_machine));
        }
    }
}

/// What a virtual machine may use is said by whoever runs it.
fn with_hint(check: Check, virtual_machine: bool) -> Check {
    match virtual_machine {
        true => check.fix("virt-xml DOMAIN --edit --cpu host-passthrough   # on the hypervisor"),
        false => check,
    }
}
