//! Preparing and restoring, on laid-out machines with a stand-in for the kernel that reacts to what is
//! written as the kernel does.

mod addresses;
mod bench;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use bench::{Bench, PAGES, PCI, request, says, with_iommu};
use proptest::prelude::*;
use weir_host::HugePages;
use weir_host::prepare::{Done, Hand, Manner, RememberedError, Request, restore};

#[test]
fn cards_and_pages_are_prepared_and_put_back() {
    let mut bench = with_iommu("bare-metal-ixgbe");
    let before = bench.picture();
    // One by interface, one by address.
    let request = request(&["ens5f0", "af:00.1"], 256);
    let outcome = bench.prepare(&request);
    assert!(outcome.succeeded(), "{outcome:#?}");
    let expected = [
        "Done hugepages of 2 MiB on node0: 128 (there are 0)",
        "Done hugepages of 2 MiB on node1: 128 (there are 0)",
        "Done load the module vfio-pci",
        "Done 0000:af:00.0: from ixgbe to vfio-pci (interface ens5f0)",
        "Done 0000:af:00.1: from ixgbe to vfio-pci (interface ens5f1)",
    ];
    assert_eq!(says(&outcome), expected);
    assert_eq!(bench.driver("0000:af:00.0").as_deref(), Some("vfio-pci"));
    assert!(!bench.path("sys/class/net/ens5f0").exists());

    // By address, since the interfaces are gone.
    let again = Request {
        devices: vec!["0000:af:00.0".into(), "0000:af:00.1".into()],
        ..request
    };
    bench.writes.clear();
    let outcome = bench.prepare(&again);
    assert!(
        outcome.steps.iter().all(|step| step.state == Done::Kept),
        "{outcome:#?}"
    );
    assert_eq!(bench.writes, [""; 0]);

    let outcome = bench.restore();
    assert!(outcome.succeeded(), "{outcome:#?}");
    assert_eq!(bench.picture(), before);
    assert!(
        bench
            .path("sys/class/net")
            .join("ens5f0")
            .symlink_metadata()
            .is_ok()
    );
    assert_eq!(
        says(&bench.restore()),
        ["Kept nothing was prepared since this machine was started"]
    );
}

#[test]
fn a_dry_run_changes_nothing_and_says_it_as_commands() {
    let mut bench = with_iommu("bare-metal-ixgbe");
    let before = bench.picture();
    let outcome = bench.prepare_in(&request(&["ens5f0"], 64), Manner::DryRun);
    assert_eq!(bench.picture(), before);
    assert!(bench.writes.is_empty());
    let last = outcome.steps.last().unwrap();
    assert_eq!(last.state, Done::Planned);
    assert_eq!(
        last.commands,
        [
            "echo vfio-pci > /sys/bus/pci/devices/0000:af:00.0/driver_override",
            "echo 0000:af:00.0 > /sys/bus/pci/devices/0000:af:00.0/driver/unbind",
            "echo 0000:af:00.0 > /sys/bus/pci/drivers_probe",
        ]
    );
    assert_eq!(files(bench.state.path()), 0);
}

#[test]
fn the_branch_one_sits_on_is_not_cut_off() {
    // eno1 has the default route and an SSH session; in the other machine two ports are a bond that has.
    for (name, device, reason) in [
        (
            "bare-metal-igb",
            "eno1",
            "carries an SSH session from 10.0.0.9",
        ),
        (
            "bare-metal-ixgbe",
            "eno2",
            "is part of bond0, which carries the default route",
        ),
    ] {
        let mut bench = with_iommu(name);
        let before = bench.picture();
        let outcome = bench.prepare(&request(&[device], 64));
        assert!(says(&outcome)[0].contains(reason), "{outcome:#?}");
        assert!(!outcome.succeeded());
        // Not even what nothing stood against.
        assert_eq!(bench.picture(), before);
        let forced = Request {
            force: true,
            ..request(&[device], 64)
        };
        assert!(bench.prepare(&forced).succeeded());
        assert_ne!(bench.picture(), before);
        assert!(bench.restore().succeeded());
        assert_eq!(bench.picture(), before);
    }
}

#[test]
fn without_the_routing_table_no_card_is_taken() {
    let mut bench = with_iommu("bare-metal-ixgbe");
    fs::remove_file(bench.path("proc/net/route")).unwrap();
    let outcome = bench.prepare(&request(&["ens5f0"], 64));
    assert_eq!(says(&outcome), ["refused /proc/net/route is not there"]);
    assert!(bench.writes.is_empty());
}

#[test]
fn without_an_iommu_it_has_to_be_asked_for() {
    let mut bench = Bench::of("virtual-machine-e1000e");
    fs::create_dir_all(bench.path(PAGES)).unwrap();
    fs::write(bench.path(&format!("{PAGES}/nr_hugepages")), "0\n").unwrap();
    fs::write(bench.path(&format!("{PAGES}/free_hugepages")), "0\n").unwrap();
    bench.load("vfio-pci").unwrap();
    let before = bench.picture();
    let outcome = bench.prepare(&request(&["enp2s0"], 64));
    assert!(says(&outcome)[0].contains("--no-iommu"), "{outcome:#?}");
    assert_eq!(bench.picture(), before);
    let request = Request {
        no_iommu: true,
        ..request(&["enp2s0"], 64)
    };
    assert!(bench.prepare(&request).succeeded());
    assert_eq!(bench.driver("0000:02:00.0").as_deref(), Some("vfio-pci"));
    assert_eq!(bench.picture()["no iommu"], "Y\n");
    assert!(bench.restore().succeeded());
    assert_eq!(bench.picture(), before);
}

#[test]
fn cards_that_the_iommu_cannot_tell_apart_go_together() {
    let mut bench = with_iommu("bare-metal-ixgbe");
    for address in ["0000:af:00.0", "0000:af:00.1"] {
        let link = bench.path(&format!("{PCI}/devices/{address}/iommu_group"));
        symlink("../../../../kernel/iommu_groups/7", link).unwrap();
    }
    let outcome = bench.prepare(&request(&["ens5f0"], 64));
    let told = &says(&outcome)[0];
    assert!(
        told.contains("cannot tell it from 0000:af:00.1 (ixgbe) (group 7)"),
        "{told}"
    );
    assert!(
        bench
            .prepare(&request(&["ens5f0", "ens5f1"], 64))
            .succeeded()
    );
}

#[test]
fn a_card_that_the_kernel_and_dpdk_share_stays() {
    let mut bench = Bench::of("bare-metal-mlx5");
    let outcome = bench.prepare(&request(&["enp65s0f0np0"], 8));
    let expected = "Kept 0000:41:00.0: stays with mlx5_core, mlx5_pci uses it beside the kernel";
    assert!(
        says(&outcome).contains(&expected.to_owned()),
        "{outcome:#?}"
    );
}

#[test]
fn what_is_no_card_is_refused() {
    let mut bench = with_iommu("bare-metal-igb");
    let outcome = bench.prepare(&request(&["00:01.0", "eno9", "../x", "0000:77:00.0"], 64));
    let told = says(&outcome).join("\n");
    for line in [
        "00:01.0: this is no network card (class 060400)",
        "eno9: the machine has no such card",
        "../x: the machine has no such card",
        "0000:77:00.0: the machine has no such card",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
}

#[test]
fn the_files_of_cards_are_given_to_a_user() {
    let mut bench = with_iommu("bare-metal-igb");
    fs::create_dir_all(bench.path("etc")).unwrap();
    let passwd = "root:x:0:0::/:/bin/sh\nweir-node:x:998:997::/:/usr/sbin/nologin\n";
    fs::write(bench.path("etc/passwd"), passwd).unwrap();
    let mut request = request(&["01:00.2", "eno2"], 64);
    request.owner = Some("nobody".into());
    assert!(says(&bench.prepare(&request))[0].contains("there is no user nobody"));
    request.owner = Some("weir-node".into());
    assert!(bench.prepare(&request).succeeded());
    assert_eq!(
        bench.given,
        ["/dev/vfio/14 998:997", "/dev/vfio/13 998:997"]
    );
}

#[test]
fn a_card_in_use_is_not_taken_back() {
    let mut bench = with_iommu("bare-metal-igb");
    assert!(bench.prepare(&request(&["eno2"], 64)).succeeded());
    let open = bench.path("proc/77/fd");
    fs::create_dir_all(&open).unwrap();
    fs::write(bench.path("proc/77/comm"), "weir-node\n").unwrap();
    symlink("/dev/vfio/13", open.join("30")).unwrap();
    let outcome = bench.restore();
    let told = &says(&outcome)[0];
    assert!(
        told.contains("weir-node (77) uses it; stop it first"),
        "{told}"
    );
    assert_eq!(bench.driver("0000:01:00.1").as_deref(), Some("vfio-pci"));
    fs::remove_file(open.join("30")).unwrap();
    assert!(bench.restore().succeeded());
    assert_eq!(bench.driver("0000:01:00.1").as_deref(), Some("igb"));
}

#[test]
fn what_somebody_else_changed_since_stays() {
    let mut bench = with_iommu("bare-metal-ixgbe");
    assert!(bench.prepare(&request(&["ens5f0"], 64)).succeeded());
    fs::write(bench.path(&format!("{PAGES}/nr_hugepages")), "900\n").unwrap();
    let uio = bench.path(&format!("{PCI}/drivers/uio_pci_generic"));
    fs::create_dir_all(uio).unwrap();
    bench.unbind("0000:af:00.0");
    let link = bench.path(&format!("{PCI}/devices/0000:af:00.0/driver"));
    symlink("../../../../bus/pci/drivers/uio_pci_generic", link).unwrap();
    let outcome = bench.restore();
    let told = says(&outcome).join("\n");
    assert!(
        told.contains("somebody gave it to uio_pci_generic since"),
        "{told}"
    );
    assert!(told.contains("somebody made 900 of the 32"), "{told}");
    assert_eq!(bench.pages(), 900);
}

#[test]
fn too_little_memory_is_told() {
    let mut bench = with_iommu("bare-metal-igb");
    bench.pages_max = 700;
    // 640 are there and free: more are wanted than the kernel finds.
    let outcome = bench.prepare(&request(&[], 2048));
    let told = &says(&outcome)[0];
    assert!(
        told.starts_with("Failed hugepages of 2 MiB on node0: 1024"),
        "{told}"
    );
    assert!(
        told.contains("the kernel found memory for 700 only"),
        "{told}"
    );
    assert!(bench.writes.iter().any(|it| it.contains("compact_memory")));
    assert!(bench.restore().succeeded());
    assert_eq!(bench.pages(), 640);
    let outcome = bench.prepare(&request(&[], 1 << 20));
    assert!(
        says(&outcome)[0].contains("the machine would be left without"),
        "{outcome:#?}"
    );
    assert_eq!(bench.pages(), 640);
}

#[test]
fn the_size_of_pages_is_one_the_kernel_has() {
    let mut bench = with_iommu("bare-metal-igb");
    let mut request = request(&[], 2048);
    request.page_size_kb = Some(512);
    let told = &says(&bench.prepare(&request))[0];
    assert!(
        told.contains("no hugepages of 512 KiB; it has 2 MiB, 1 GiB"),
        "{told}"
    );
    request.page_size_kb = Some(1 << 20);
    let outcome = bench.prepare(&request);
    assert_eq!(
        says(&outcome),
        ["Done hugepages of 1 GiB on node0: 2 (there are 0)"]
    );
    request.wanted.huge_pages = HugePages::Never;
    let outcome = bench.prepare(&request);
    assert_eq!(
        says(&outcome),
        ["Kept no hugepages: the configuration does without"]
    );
}

#[test]
fn a_restart_of_the_machine_is_a_new_beginning() {
    let mut bench = with_iommu("bare-metal-ixgbe");
    assert!(bench.prepare(&request(&["ens5f0"], 64)).succeeded());
    // It comes up as it was at first, with other pages.
    let mut again = with_iommu("bare-metal-ixgbe");
    std::mem::swap(&mut bench.state, &mut again.state);
    fs::write(again.path("proc/sys/kernel/random/boot_id"), "second\n").unwrap();
    fs::write(again.path(&format!("{PAGES}/nr_hugepages")), "5\n").unwrap();
    let outcome = again.restore();
    assert_eq!(
        says(&outcome),
        ["Kept nothing was prepared since this machine was started"]
    );
    assert_eq!(again.pages(), 5);
    assert!(again.prepare(&request(&["ens5f0"], 64)).succeeded());
    assert!(again.restore().succeeded());
    assert_eq!(again.pages(), 5);
}

#[test]
fn damaged_memory_is_told_and_nothing_is_done() {
    let mut bench = with_iommu("bare-metal-igb");
    for text in [
        "{",
        "{}",
        "{\"format\": 9, \"boot\": \"\", \"pages\": [], \"devices\": [], \"no_iommu\": false}",
    ] {
        fs::write(bench.state.path().join("prepared.json"), text).unwrap();
        let (machine, state) = (bench.machine(), bench.state.path().to_owned());
        let failed = restore(&machine, &mut bench, &state, Manner::Do).unwrap_err();
        assert!(
            matches!(failed, RememberedError::Damaged { .. }),
            "{failed}"
        );
    }
    assert!(bench.writes.is_empty());
}

#[test]
fn two_at_once_are_one_too_many() {
    let mut bench = with_iommu("bare-metal-igb");
    let lock = fs::File::create(bench.state.path().join("lock")).unwrap();
    lock.lock().unwrap();
    let (machine, state) = (bench.machine(), bench.state.path().to_owned());
    let failed = restore(&machine, &mut bench, &state, Manner::Do).unwrap_err();
    assert!(matches!(failed, RememberedError::Busy), "{failed}");
}

#[test]
fn free_cores_are_hinted_at() {
    let mut bench = with_iommu("bare-metal-igb");
    let mut request = request(&[], 64);
    request.wanted.configured = true;
    request.wanted.cores = vec![2, 5];
    let outcome = bench.prepare(&request);
    let hint = &outcome.hints[0];
    assert!(
        hint.says.contains("worker cores 2,5 are shared"),
        "{hint:?}"
    );
    let command =
        "isolcpus=managed_irq,domain,2,5 nohz_full=2,5 rcu_nocbs=2,5 irqaffinity=0-1,3-4,6-7";
    assert!(hint.commands[0].contains(command), "{hint:?}");
    // Those that are kept free already need nothing.
    request.wanted.cores = vec![2, 3];
    assert!(bench.prepare(&request).hints.is_empty());
}

fn files(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Wherever preparing breaks off, and however often it is tried again, restoring brings back what was.
    #[test]
    fn restore_finds_the_way_back(
        runs in proptest::collection::vec((0usize..4, 16u64..200, prop::option::of(0usize..8)), 1..4),
        restore_fails_at in prop::option::of(0usize..8),
    ) {
        let mut bench = with_iommu("bare-metal-ixgbe");
        let before = bench.picture();
        for (devices, memory_mb, fails_at) in runs {
            let devices: &[&str] = match devices {
                0 => &[],
                1 => &["0000:af:00.0"],
                2 => &["0000:af:00.1"],
                _ => &["0000:af:00.1", "0000:af:00.0"],
            };
            bench.fails_at = fails_at.map(|more| bench.writes.len() + more);
            bench.prepare(&request(devices, memory_mb));
        }
        bench.fails_at = restore_fails_at.map(|more| bench.writes.len() + more);
        bench.restore();
        bench.fails_at = None;
        let outcome = bench.restore();
        prop_assert!(outcome.succeeded(), "{:#?}", outcome);
        prop_assert_eq!(bench.picture(), before);
        // Only the lock is left.
        prop_assert_eq!(files(bench.state.path()), 1);
    }
}
