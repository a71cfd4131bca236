//! What cannot be enforced is refused with its item, its problem and the next step.

use weir_policy::Snapshot;
use weir_policy::spec::*;

fn good() -> SnapshotSpec {
    let identity = |id: u32| IdentitySpec {
        id,
        name: format!("shop/w{id}"),
        labels: vec![("app".into(), "w".into()), ("tier".into(), "web".into())],
        managed: true,
        mode: Mode::Protect,
        quarantined: false,
        ..IdentitySpec::default()
    };
    let rule = |id| RuleSpec {
        id,
        name: format!("allowlist shop/w1 ingress[{id}]"),
        action: Action::Allow,
        end: End::Server,
        clients: vec![0, 2],
        servers: vec![1],
        applications: vec!["http".into()],
        protocols: vec![6, 17],
        ports: vec![(80, 80), (8000, 8100)],
        conditions: vec![ConditionSpec {
            field: "http.path".into(),
            patterns: vec![Pattern::Prefix("/".into())],
        }],
    };
    let address = |network: u128| AddressSpec {
        network,
        prefix_bits: 120,
        zone: None,
        identity: 1,
    };
    SnapshotSpec {
        identities: vec![identity(1), identity(2)],
        addresses: vec![address(0xffff_0a00_0000), address(0xffff_0a00_0100)],
        names: vec![NameSpec {
            pattern: "*.example.com".into(),
            identity: 2,
        }],
        rules: vec![rule(1), rule(2)],
        link: LinkSpec {
            mode: Mode::Protect,
            ether_types: vec![0x8847, 0x88cc],
        },
        ..Default::default()
    }
}

#[track_caller]
fn refused(spoil: impl FnOnce(&mut SnapshotSpec), parts: &[&str]) {
    let mut spec = good();
    spoil(&mut spec);
    let error = Snapshot::build(spec)
        .expect_err("must be refused")
        .to_string();
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
}

#[test]
fn the_good_one_is_taken() {
    assert!(Snapshot::build(good()).is_ok());
    assert!(Snapshot::build(SnapshotSpec::default()).is_ok());
}

#[test]
fn lists_are_canonical() {
    refused(
        |spec| spec.identities.swap(0, 1),
        &["list of identities", "not sorted", "id 1"],
    );
    refused(
        |spec| spec.identities[1].id = 1,
        &["list of identities", "id 1 occurs twice"],
    );
    refused(
        |spec| spec.identities[1].labels.swap(0, 1),
        &["identity 2 (shop/w2)", "label app"],
    );
    refused(
        |spec| spec.addresses.swap(0, 1),
        &["list of addresses", "10.0.0.0/24"],
    );
    refused(
        |spec| spec.addresses[1] = spec.addresses[0].clone(),
        &["10.0.0.0/24 occurs twice"],
    );
    refused(
        |spec| spec.names.push(spec.names[0].clone()),
        &["list of names", "*.example.com", "twice"],
    );
    refused(
        |spec| spec.rules[1].id = 1,
        &["list of rules", "id 1 occurs twice"],
    );
    refused(
        |spec| spec.rules[1].clients.swap(0, 1),
        &["rule 2 (allowlist shop/w1 ingress[2])", "client 0"],
    );
    refused(
        |spec| spec.rules[1].servers = vec![1, 1],
        &["rule 2", "server 1 occurs twice"],
    );
    refused(
        |spec| spec.rules[0].protocols.swap(0, 1),
        &["rule 1", "protocol 6"],
    );
    refused(
        |spec| spec.rules[0].ports.swap(0, 1),
        &["rule 1", "ports 80-80"],
    );
    refused(
        |spec| spec.link.ether_types.swap(0, 1),
        &["EtherTypes", "0x8847"],
    );
}

#[test]
fn names_and_numbers_are_known() {
    refused(
        |spec| spec.identities[0].id = 0,
        &["identity 0", "reserved"],
    );
    refused(|spec| spec.identities[1].id = u32::MAX, &["reserved"]);
    refused(
        |spec| spec.identities[1].name.clear(),
        &["identity 2", "no name"],
    );
    refused(
        |spec| spec.rules[0].clients.push(9),
        &["rule 1", "identity 9"],
    );
    refused(
        |spec| spec.rules[0].servers.push(9),
        &["rule 1", "identity 9"],
    );
    refused(
        |spec| spec.addresses[0].identity = 9,
        &["address 10.0.0.0/24", "identity 9"],
    );
    refused(
        |spec| spec.addresses[0].identity = 0,
        &["address 10.0.0.0/24", "no identity"],
    );
    refused(|spec| spec.addresses[1].prefix_bits = 129, &["128 bits"]);
    refused(
        |spec| spec.addresses[1].prefix_bits = 100,
        &["10.0.1.0/4", "host bits"],
    );
    refused(
        |spec| spec.names[0].identity = 9,
        &["*.example.com", "identity 9"],
    );
    refused(
        |spec| spec.names[0].pattern = "a.*".into(),
        &["a.*", "first label"],
    );
    refused(
        |spec| spec.rules[0].applications = vec!["gopher".into()],
        &["rule 1", "gopher", "use one of: http"],
    );
    refused(
        |spec| spec.rules[0].ports = vec![(90, 80)],
        &["rule 1", "90-80", "empty"],
    );
}

#[test]
fn conditions_can_be_enforced() {
    let field = |name: &'static str| {
        move |spec: &mut SnapshotSpec| spec.rules[0].conditions[0].field = name.into()
    };
    refused(
        field("http.colour"),
        &["rule 1", "http.colour", "use one of: http."],
    );
    refused(field("nonsense"), &["rule 1", "nonsense"]);
    refused(
        field("http.status"),
        &["rule 1", "http.status", "not every request"],
    );
    refused(field("tls.sni"), &["rule 1", "tls.sni", "is not for tls"]);
    refused(
        |spec| spec.rules[0].applications.clear(),
        &["http.path", "is not for http"],
    );
    let beside = ["http.path", "beside", "a rule of its own"];
    refused(
        |spec| spec.rules[0].applications = vec!["http".into(), "tls".into()],
        &beside,
    );
    refused(
        |spec| spec.rules[0].conditions[0].patterns.clear(),
        &["without a pattern"],
    );
    let long = || vec![Pattern::Glob("*".repeat(2000))];
    refused(
        |spec| spec.rules[0].conditions[0].patterns = long(),
        &["longer than 1024 bytes"],
    );
}

#[test]
fn settings_take_effect() {
    refused(
        |spec| spec.unknown.action = Action::Deny,
        &["unknown addresses", "without a mode", "protect"],
    );
}

#[test]
fn the_index_is_bounded() {
    refused(
        |spec| {
            let identity = spec.identities[0].clone();
            spec.identities = (1..=3000)
                .map(|id| IdentitySpec {
                    id,
                    ..identity.clone()
                })
                .collect();
            spec.rules[0].clients = (1..=3000).collect();
            spec.rules[0].servers = (1..=3000).collect();
            let wide = spec.rules[0].clone();
            spec.rules = (1..=800)
                .map(|id| RuleSpec { id, ..wide.clone() })
                .collect();
        },
        &["list of rules", "identities, more than"],
    );
}
