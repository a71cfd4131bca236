//! Network cards: which DPDK driver takes them, and how.
//!
//! One row a family. What a card is called comes from the machine's pci.ids, where it has it.

use crate::machine::Machine;
use crate::pci::Device;

/// The cards that one driver of the kernel, and one of DPDK, take.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// The kernel's driver.
    pub kernel: &'static str,
    /// DPDK's driver.
    pub poll_mode: &'static str,
    /// How DPDK gets at the card.
    pub way: Way,
    /// So many receive queues can share the connections of a port by hashing; 1: the card cannot hash.
    pub queues_max: u16,
    /// Vendor, and devices of it, where the family is not known by its driver.
    pub ids: &'static [(u16, &'static [u16])],
}

/// How DPDK gets at a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The card is taken from the kernel and given to vfio-pci.
    Bound,
    /// The kernel keeps it, and DPDK uses it beside the kernel.
    Shared,
}

macro_rules! families {
    ($($kernel:literal $poll_mode:literal $way:ident $queues:literal { $($vendor:literal: $($device:literal)*);* })*) => {
        &[$(Family {
            kernel: $kernel,
            poll_mode: $poll_mode,
            way: Way::$way,
            queues_max: $queues,
            ids: &[$(($vendor, &[$($device),*])),*],
        },)*]
    };
}

/// Queues are those that DPDK's driver spreads by hash, as of DPDK 22.11.
const FAMILIES: &[Family] = families! {
    "e1000" "net_e1000_em" Bound 1 { 0x8086: 0x100e 0x100f 0x1004 0x1010 0x1026 0x1079 }
    "e1000e" "net_e1000_em" Bound 1 { 0x8086: 0x10d3 0x10ea 0x1502 0x1503 0x150c 0x153a 0x153b 0x155a
        0x1559 0x156f 0x1570 0x15b7 0x15b8 0x15b9 0x15bb 0x15bc 0x15bd 0x15be 0x15d7 0x15d8 0x15e3 }
    "igb" "net_e1000_igb" Bound 8 { 0x8086: 0x10a7 0x10c9 0x10e6 0x10e7 0x10e8 0x150a 0x150e 0x150f
        0x1510 0x1511 0x1521 0x1522 0x1523 0x1524 0x1533 0x1536 0x1537 0x1538 0x1539 0x157b 0x157c
        0x1f40 0x1f41 0x1f45 }
    "igbvf" "net_e1000_igb_vf" Bound 2 { 0x8086: 0x10ca 0x1520 }
    "igc" "net_igc" Bound 4 { 0x8086: 0x125b 0x125c 0x125d 0x15f2 0x15f3 0x15f4 0x15f5 0x3101 0x5502 }
    "ixgbe" "net_ixgbe" Bound 16 { 0x8086: 0x10c6 0x10c7 0x10fb 0x10fc 0x1507 0x1514 0x151c 0x1528
        0x154d 0x1557 0x1558 0x1560 0x1563 0x15aa 0x15ab 0x15ac 0x15ad 0x15ae 0x15c2 0x15c4 0x15c8
        0x15ce 0x15d1 0x15e4 0x15e5 }
    "ixgbevf" "net_ixgbe_vf" Bound 4 { 0x8086: 0x10ed 0x1515 0x1565 0x15a8 0x15c5 }
    "i40e" "net_i40e" Bound 64 { 0x8086: 0x0cf8 0x101f 0x104e 0x104f 0x1572 0x1580 0x1581 0x1583 0x1584
        0x1585 0x1586 0x1587 0x1588 0x1589 0x158a 0x158b 0x15ff 0x37ce 0x37cf 0x37d0 0x37d1 0x37d2
        0x37d3 }
    "iavf" "net_iavf" Bound 16 { 0x8086: 0x154c 0x1571 0x1889 0x37cd }
    "ice" "net_ice" Bound 64 { 0x8086: 0x124c 0x124d 0x124e 0x124f 0x151d 0x1591 0x1592 0x1593 0x1599
        0x159a 0x159b 0x188a 0x188b 0x188c 0x188d 0x188e 0x1890 0x1891 0x1892 0x1893 0x1894 0x1897
        0x1898 0x1899 0x189a }
    "mlx4_core" "net_mlx4" Shared 16 { 0x15b3: 0x1003 0x1004 0x1007 }
    "mlx5_core" "mlx5_pci" Shared 64 { 0x15b3: 0x1013 0x1014 0x1015 0x1016 0x1017 0x1018 0x1019 0x101a
        0x101b 0x101c 0x101d 0x101e 0x101f 0x1021 0x1023 0xa2d2 0xa2d3 0xa2d6 0xa2dc }
    "bnxt_en" "net_bnxt" Bound 64 { 0x14e4: 0x1614 0x16c9 0x16d6 0x16d7 0x16d8 0x16dc 0x16e1 0x1750
        0x1751 0x1752 0x1806 0x1807 }
    "qede" "net_qede" Bound 16 { 0x1077: 0x1634 0x1644 0x1654 0x1656 0x1664 0x1666 0x8070 0x8090 }
    "cxgb4" "net_cxgbe" Bound 16 { 0x1425: }
    "enic" "net_enic" Bound 16 { 0x1137: 0x0043 0x0071 0x02b7 }
    "sfc" "net_sfc_efx" Bound 16 { 0x1924: 0x0903 0x0923 0x0a03 0x0b03 }
    "nfp" "net_nfp_pf" Bound 16 { 0x19ee: 0x4000 0x6000 }
    "hns3" "net_hns3" Bound 16 { 0x19e5: 0xa220 0xa221 0xa222 0xa224 0xa226 0xa228 }
    "ena" "net_ena" Bound 32 { 0x1d0f: 0x0ec2 0x1ec2 0xec20 0xec21 }
    "gve" "net_gve" Bound 16 { 0x1ae0: 0x0042 }
    "vmxnet3" "net_vmxnet3" Bound 16 { 0x15ad: 0x07b0 }
    "virtio-pci" "net_virtio" Bound 1 { 0x1af4: 0x1000 0x1041 }
};

/// The family of a card: by what it is, else by the kernel's driver that has it.
pub fn family(device: &Device) -> Option<&'static Family> {
    let known = |family: &&Family| {
        let ids = family.ids.iter();
        ids.filter(|(vendor, _)| *vendor == device.vendor)
            .any(|(_, devices)| devices.contains(&device.device))
    };
    let by_driver = |family: &&Family| device.driver.as_deref() == Some(family.kernel);
    let mut families = FAMILIES.iter();
    let found = families.find(known);
    found.or_else(|| FAMILIES.iter().find(by_driver))
}

/// What a card is called: as in pci.ids, else by its numbers.
pub fn model(machine: &Machine, device: &Device) -> String {
    let numbers = format!("{:04x}:{:04x}", device.vendor, device.device);
    let files = ["/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids"];
    let found = files.iter().find_map(|path| {
        let text = machine.peek(path).ok()?;
        name_in(&text, device.vendor, device.device)
    });
    match found {
        Some(name) => format!("{name} ({numbers})"),
        None => numbers,
    }
}

/// The file is a list of vendors, each followed by its devices behind a tab.
fn name_in(text: &str, vendor: u16, device: u16) -> Option<String> {
    let (vendor, device) = (format!("{vendor:04x}  "), format!("\t{device:04x}  "));
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&vendor));
    let maker = lines.next()?[vendor.len()..].trim();
    let mut devices = lines.take_while(|line| line.starts_with(['\t', '#']));
    let model = devices.find_map(|line| line.strip_prefix(&device))?;
    // Intel Corporation is Intel.
    let short = maker.split_whitespace().next().unwrap_or(maker);
    Some(format!("{short} {}", model.trim()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nobody_belongs_to_two_families() {
        let mut ids = Vec::new();
        for family in FAMILIES {
            for (vendor, devices) in family.ids {
                ids.extend(devices.iter().map(|device| (*vendor, *device)));
            }
        }
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all);
    }

    #[test]
    fn a_model_is_looked_up() {
        let text = "# comment\n8086  Intel Corporation\n\t1521  I350 Gigabit Network Connection\n\
                    \t\t8086 0001  a board\n\t1533  I210\n15b3  Mellanox Technologies\n\t1017  MT27800\n";
        let name = |vendor, device| name_in(text, vendor, device);
        assert_eq!(
            name(0x8086, 0x1521).unwrap(),
            "Intel I350 Gigabit Network Connection"
        );
        assert_eq!(name(0x8086, 0x1533).unwrap(), "Intel I210");
        assert_eq!(name(0x15b3, 0x1017).unwrap(), "Mellanox MT27800");
        assert_eq!(name(0x8086, 0x1017), None);
        assert_eq!(name(0x1af4, 0x1041), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[0-9a-f\\t \\né]{0,200}", vendor: u16, device: u16) {
            let _ = name_in(&text, vendor, device);
        }
    }
}
