//! What an interface had when its card was taken: for the host interface that stands for it, and for itself
//! when the card comes back.

use std::fs;

use super::bench::{Bench, request, says, with_iommu};
use weir_host::addresses::{INTERFACES_FILE, read_interfaces};
use weir_host::prepare::{Done, Request};
use weir_host::{HostInterface, Wanted};

/// As it is in the recording `bare-metal-igb`: the second port, beside the one with the default route.
const CARD: &str = "0000:01:00.1";

fn bench() -> Bench {
    let bench = with_iommu("bare-metal-igb");
    let tools = bench.path("tools");
    fs::create_dir_all(&tools).unwrap();
    let printed = [
        (
            "address show dev eno2",
            r#"[{"ifname":"eno2","mtu":9000,"address":"02:00:00:00:00:02","addr_info":[
                {"family":"inet","local":"192.0.2.1","prefixlen":24,"scope":"global","dynamic":true,
                 "valid_life_time":600}]}]"#,
        ),
        (
            "-4 route show table all dev eno2",
            r#"[{"dst":"default","gateway":"192.0.2.254","metric":100,"flags":[]}]"#,
        ),
        ("-6 route show table all dev eno2", ""),
    ];
    for (words, text) in printed {
        fs::write(tools.join(format!("ip -json {words}")), text).unwrap();
    }
    fs::create_dir_all(bench.path("proc/sys/kernel")).unwrap();
    fs::write(bench.path("proc/sys/kernel/osrelease"), "6.1\n").unwrap();
    bench
}

fn with_host_interface() -> Request {
    let host = HostInterface {
        name: "weir0".into(),
        stands_for: CARD.into(),
    };
    let plain = request(&["eno2"], 64);
    Request {
        wanted: Wanted {
            host_interfaces: vec![host],
            ..plain.wanted.clone()
        },
        ..plain
    }
}

#[test]
fn they_are_written_down_for_the_node_and_come_back_with_the_card() {
    let mut bench = bench();
    let outcome = bench.prepare(&with_host_interface());
    assert!(outcome.succeeded(), "{outcome:#?}");
    let hints: Vec<&str> = outcome.hints.iter().map(|it| it.says.as_str()).collect();
    assert!(
        hints.contains(&"eno2 goes; weir-node puts 192.0.2.1/24 and a route on weir0"),
        "{hints:?}"
    );
    assert!(
        hints
            .iter()
            .any(|it| it.starts_with("a DHCP server lent eno2"))
    );
    let path = bench.path(INTERFACES_FILE);
    let found = read_interfaces(&path).unwrap();
    assert_eq!(found[0].device, Some(CARD.parse().unwrap()));
    assert_eq!((found[0].mtu, found[0].addresses.len()), (9000, 1));

    // A second run finds no interface, and what is known of it stays.
    let again = Request {
        devices: vec![CARD.into()],
        ..with_host_interface()
    };
    assert!(bench.prepare(&again).succeeded());
    assert_eq!(read_interfaces(&path).unwrap(), found);

    assert!(bench.ip.is_empty());
    let outcome = bench.restore();
    assert!(outcome.succeeded(), "{outcome:#?}");
    let last = outcome.steps.last().unwrap();
    assert_eq!(
        last.says,
        format!("{CARD}: eno2 gets back 192.0.2.1/24 and a route")
    );
    assert_eq!(
        bench.ip,
        [
            "link set dev eno2 mtu 9000",
            "link set dev eno2 up",
            "address replace 192.0.2.1/24 dev eno2 valid_lft 600 preferred_lft 600",
            "route replace 0.0.0.0/0 via 192.0.2.254 dev eno2 metric 100",
        ]
    );
    assert!(!path.exists());
}

#[test]
fn without_a_host_interface_it_is_said_what_goes() {
    let mut bench = bench();
    let outcome = bench.prepare(&request(&["eno2"], 64));
    let told = &outcome.hints[0].says;
    assert!(
        told.starts_with("eno2 goes, and with it 192.0.2.1/24 and a route; a pair of 0000:01:00.1"),
        "{told}"
    );
}

#[test]
fn vhost_net_is_loaded_and_given_where_the_kernel_has_it() {
    let mut bench = bench();
    fs::create_dir_all(bench.path("etc")).unwrap();
    let passwd = "weir-node:x:998:997::/:/usr/sbin/nologin\n";
    fs::write(bench.path("etc/passwd"), passwd).unwrap();
    let request = Request {
        owner: Some("weir-node".into()),
        ..with_host_interface()
    };
    let outcome = bench.prepare_in(&request, weir_host::prepare::Manner::DryRun);
    let without =
        "Kept no vhost-net in this kernel: host interfaces will be TAPs, which carry less";
    assert!(says(&outcome).contains(&without.to_owned()), "{outcome:#?}");

    let modules = bench.path("lib/modules/6.1");
    fs::create_dir_all(&modules).unwrap();
    let dep = "kernel/drivers/vhost/vhost_net.ko: kernel/drivers/net/tun.ko\n";
    fs::write(modules.join("modules.dep"), dep).unwrap();
    let outcome = bench.prepare(&request);
    for line in [
        "load the module tun",
        "load the module vhost_net",
        "/dev/vhost-net: to user weir-node",
    ] {
        let step = outcome.steps.iter().find(|step| step.says == line);
        assert_eq!(step.map(|it| it.state), Some(Done::Done), "{line}");
    }
    assert!(bench.given.contains(&"/dev/vhost-net 998:0".to_owned()));
}
