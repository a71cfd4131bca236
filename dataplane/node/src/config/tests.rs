//! What the configuration takes and refuses; the shipped file and the examples are among it.

use super::*;

#[test]
fn an_unknown_setting_is_named_with_its_line() {
    let error = toml::from_str::<Config>("[node]\nname = \"a\"\nnmae = \"b\"\n")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("line 3") && error.contains("nmae"),
        "{error}"
    );
}

#[test]
fn the_shipped_file_shows_the_defaults() {
    let shipped = include_str!("../../../../deploy/baremetal/node.toml");
    let shipped: Config = toml::from_str(shipped).unwrap();
    assert_eq!(shipped, Config::default());
    let refused = shipped.check().unwrap_err().to_string();
    assert!(refused.contains("no port is configured"), "{refused}");
}

#[test]
fn what_the_shipped_file_shows_is_understood() {
    let shipped = include_str!("../../../../deploy/baremetal/node.toml");
    // Every setting that stands there as a comment, sections too.
    let uncommented = |line: &str| match line.strip_prefix("# ") {
        Some(setting) if setting.starts_with('[') || setting.contains(" = ") => setting.to_owned(),
        _ => line.to_owned(),
    };
    let shown: Vec<String> = shipped.lines().map(uncommented).collect();
    let shown: Config = toml::from_str(&shown.join("\n")).unwrap();
    shown.check().unwrap();
    assert!(shown.controller.address.is_some() && shown.tap.len() == 1);
}

#[test]
fn contradictions_are_refused() {
    let pair = |name: &str, ports: [&str; 2]| Pair {
        name: name.into(),
        ports: ports.map(String::from),
        fail_mode: FailMode::Closed,
        learn_first: false,
        mtu: 1500,
    };
    let config = |pairs: Vec<Pair>, cores: Vec<usize>| Config {
        pair: pairs,
        workers: Workers {
            cores,
            idle: Idle::Spin,
        },
        ..Config::default()
    };
    assert!(config(vec![pair("a", ["x", "y"])], vec![0]).check().is_ok());
    assert!(config(vec![], vec![0]).check().is_err());
    assert!(
        config(vec![pair("a", ["x", "x"])], vec![0])
            .check()
            .is_err()
    );
    assert!(config(vec![pair("a", ["x", "y"])], vec![]).check().is_err());
    for (ports, right) in [
        (["x", "host:weir0"], true),
        (["host:weir0", "x"], true),
        (["host:weir0", "host:weir1"], false),
        (["x", "host:a/b"], false),
    ] {
        let checked = config(vec![pair("a", ports)], vec![0]).check();
        assert_eq!(checked.is_ok(), right, "{ports:?}");
    }
    assert!(
        config(vec![pair("a", ["x", "y"])], vec![1, 1])
            .check()
            .is_err()
    );
}

#[test]
fn a_pair_on_the_command_line() {
    let pair = parse_pair("db=net_af_packet0,net_af_packet1,open").unwrap();
    assert_eq!((pair.name.as_str(), pair.fail_mode), ("db", FailMode::Open));
    for wrong in ["db", "db=a", "db=a,b,c", "db=a,b,open,x", "db=,b"] {
        assert!(parse_pair(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn every_example_holds_together() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/baremetal/examples");
    let mut found = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let folder = entry.unwrap().path();
        let path = folder.join("node.toml");
        if !path.exists() {
            continue;
        }
        found += 1;
        let config = Config::read(&path).unwrap();
        config.check().unwrap();
        // Every card of a port is one that DPDK is given.
        for port in config.port_names().filter(|it| !it.starts_with("host:")) {
            let given = config
                .eal
                .devices
                .iter()
                .any(|it| it.split(',').next() == Some(port));
            assert!(given, "{}: {port}", path.display());
        }
        let told = std::fs::read_to_string(folder.join("README.md")).unwrap();
        for part in ["```", "weir-node check", "weir host prepare", "Limits"] {
            assert!(told.contains(part), "{}: {part}", folder.display());
        }
    }
    assert!(found >= 5, "{found} examples");
}
