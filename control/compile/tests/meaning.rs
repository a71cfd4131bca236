//! What documents come to.

use weir_compile::{Assignments, Compiled, compile};
use weir_model::{Document, Located, parse_documents};
use weir_policy::Snapshot;
use weir_policy::spec::{
    Action, Combination, DenyStyle, End, Mode, SensorAction, SensorDirection, SnapshotSpec,
};

fn read(text: &str) -> Vec<Located<Document>> {
    let (documents, problems) = parse_documents("policy.yaml", text);
    assert_eq!(problems, [], "{text}");
    documents
}

/// Documents in short: one a line, "Kind namespace/name [labels] {spec}".
fn short(text: &str) -> Vec<Located<Document>> {
    let documents = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| {
        let mut words = line.splitn(3, ' ');
        let (kind, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        let (namespace, name) = name.split_once('/').unwrap();
        let (labels, spec) = rest.split_once('|').unwrap_or(("{}", rest));
        format!(
            "apiVersion: weir.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}, labels: {labels}}}\nspec: {spec}\n"
        )
    });
    read(&documents.collect::<Vec<_>>().join("---\n"))
}

#[track_caller]
fn good(documents: &[Located<Document>], previous: Option<&Assignments>) -> Compiled {
    let compiled = compile(documents, previous);
    assert_eq!(compiled.problems, []);
    compiled
}

fn build(spec: &SnapshotSpec) -> Snapshot {
    Snapshot::build(spec.clone()).unwrap()
}

fn who(snapshot: &Snapshot, zone: u32, address: &str) -> String {
    let address = weir_wire::from_ip_address(address.parse().unwrap());
    snapshot
        .identity_name(snapshot.identity_of(zone, address))
        .to_owned()
}

/// The names of the clients of the rules, per rule.
fn clients(spec: &SnapshotSpec) -> Vec<(String, Vec<String>)> {
    let snapshot = build(spec);
    let names = |ids: &[u32]| {
        ids.iter()
            .map(|id| snapshot.identity_name(*id).to_owned())
            .collect::<Vec<_>>()
    };
    let mut rules: Vec<(String, Vec<String>)> = spec
        .rules
        .iter()
        .map(|rule| {
            let mut peers = names(if rule.end == End::Server {
                &rule.clients
            } else {
                &rule.servers
            });
            peers.sort();
            (rule.name.clone(), peers)
        })
        .collect();
    rules.sort();
    rules
}

#[test]
fn the_story() {
    let documents = short(
        "Workload shop/photo-db {app: db}|{addresses: [10.91.0.3, 'fd91::3']}
         Workload shop/ai-model {addresses: [10.91.0.2]}
         Service shop/db {workload: photo-db, addresses: [10.96.0.10]}
         Allowlist shop/photo-db {target: {workload: photo-db}, ingress: [{from: [{workload: ai-model}], applications: [mysql], ports: [3306, '8000-8100'], protocols: [tcp]}]}
         Allowlist shop/ai {target: {workload: ai-model}, egress: [{to: [{service: db}], action: deny}, {to: [{any: true}]}]}
         Mode shop/modes {target: {matchLabels: {}}, mode: monitor}
         Mode shop/more {target: {matchLabels: {app: db}}, mode: protect}
         Mode shop/less {target: {workload: photo-db}, mode: discover}
         Mode shop/stop {target: {workload: ai-model}, quarantine: true}
         Settings shop/settings {unknown: {holdMs: 5, mode: monitor, action: deny}, link: {etherTypes: [0x893a, 0x88cc, 0x88cc]}, denyStyle: drop}",
    );
    let compiled = good(&documents, None);
    assert_eq!(compiled.warnings, []);
    let spec = &compiled.spec;
    let snapshot = build(spec);
    let photo_db = snapshot
        .identity(snapshot.identity_by_name("shop/photo-db").unwrap())
        .unwrap();
    let ai_model = snapshot
        .identity(snapshot.identity_by_name("shop/ai-model").unwrap())
        .unwrap();
    assert_eq!(
        (photo_db.mode, photo_db.quarantined, photo_db.managed),
        (Mode::Protect, false, true)
    );
    assert_eq!(photo_db.labels, [("app".to_owned(), "db".to_owned())]);
    assert_eq!((ai_model.mode, ai_model.quarantined), (Mode::Monitor, true));
    assert_eq!(who(&snapshot, 0, "10.96.0.10"), "shop/photo-db");
    assert_eq!(who(&snapshot, 9, "fd91::3"), "shop/photo-db");
    assert_eq!(who(&snapshot, 0, "10.91.0.4"), "unknown");
    assert_eq!(spec.unknown.hold_ms, 5);
    assert_eq!(
        (spec.unknown.mode, spec.unknown.action),
        (Some(Mode::Monitor), Action::Deny)
    );
    assert_eq!(
        (spec.link.mode, spec.link.ether_types.as_slice()),
        (Mode::Protect, &[0x88cc, 0x893a][..])
    );
    assert_eq!(spec.deny_style, DenyStyle::Drop);
    let rule = spec
        .rules
        .iter()
        .find(|rule| rule.name == "allowlist shop/photo-db ingress[0]")
        .unwrap();
    assert_eq!((rule.end, rule.action), (End::Server, Action::Allow));
    assert_eq!(
        (rule.clients.as_slice(), rule.servers.as_slice()),
        (&[ai_model.id][..], &[photo_db.id][..])
    );
    assert_eq!(
        (rule.ports.as_slice(), rule.protocols.as_slice()),
        (&[(3306, 3306), (8000, 8100)][..], &[6][..])
    );
    assert_eq!(
        clients(spec),
        [
            (
                "allowlist shop/ai egress[0]".to_owned(),
                vec!["shop/photo-db".to_owned()]
            ),
            ("allowlist shop/ai egress[1]".to_owned(), vec![]),
            (
                "allowlist shop/photo-db ingress[0]".to_owned(),
                vec!["shop/ai-model".to_owned()]
            ),
        ]
    );
}

#[test]
fn without_documents_nothing_is_governed() {
    let spec = good(&[], None).spec;
    assert_eq!(spec, SnapshotSpec::default());
    let spec = good(&short("Workload a/b {addresses: [10.0.0.1]}"), None).spec;
    assert_eq!(
        (spec.identities[0].mode, spec.link.mode),
        (Mode::Discover, Mode::Discover)
    );
}

#[test]
fn networks_hold_what_lies_within_and_is_not_excepted() {
    let documents = short(
        "Workload a/t {addresses: [192.168.0.1]}
         Workload a/inside {addresses: [10.1.2.3]}
         Workload a/excepted {addresses: [10.2.0.1]}
         Workload a/dual {addresses: [10.3.0.1, 'fd00::1']}
         Allowlist a/wide {target: {workload: t}, ingress: [{from: [{cidr: 10.0.0.0/8, except: [10.2.0.0/16]}]}]}
         Allowlist a/both {target: {workload: t}, ingress: [{from: [{cidr: 10.3.0.0/16}, {cidr: 'fd00::/8'}]}]}
         Allowlist a/narrow {target: {workload: t}, ingress: [{from: [{cidr: 10.1.0.0/16}, {cidr: 10.2.3.0/24}]}]}
         Allowlist a/deny {target: {workload: t}, ingress: [{from: [{cidr: 'fd00::/64'}], action: deny}]}",
    );
    let compiled = good(&documents, None);
    let named = |rule: &str| {
        let name = format!("allowlist a/{rule} ingress[0]");
        clients(&compiled.spec)
            .into_iter()
            .find(|(found, _)| *found == name)
            .unwrap()
            .1
    };
    assert_eq!(
        named("wide"),
        ["[10.0.0.0/8]", "[10.1.0.0/16]", "[10.3.0.0/16]", "a/inside"]
    );
    assert_eq!(
        named("both"),
        ["[10.3.0.0/16]", "[fd00::/64]", "[fd00::/8]", "a/dual"]
    );
    assert_eq!(
        named("narrow"),
        ["[10.1.0.0/16]", "[10.2.3.0/24]", "a/inside"]
    );
    assert_eq!(
        named("deny"),
        ["[fd00::/64]", "a/dual"],
        "what is denied is as wide as it can be"
    );
    let told: Vec<String> = compiled.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told.iter().all(|told| told.contains("a/dual")));
    let snapshot = build(&compiled.spec);
    assert_eq!(who(&snapshot, 0, "10.2.9.9"), "[10.2.0.0/16]");
    assert_eq!(who(&snapshot, 0, "10.2.3.9"), "[10.2.3.0/24]");
    assert_eq!(who(&snapshot, 0, "10.9.9.9"), "[10.0.0.0/8]");
}

#[test]
fn a_network_in_a_rule_takes_no_address_from_a_workload() {
    let documents = short(
        "Workload a/net {addresses: [10.1.0.0/16]}
         Workload a/zoned {addresses: [10.2.0.0/16], zone: 7}
         Allowlist a/x {target: {workload: net}, ingress: [{from: [{cidr: 10.1.2.0/24}, {cidr: 10.1.0.0/16}, {cidr: 10.2.3.0/24}]}]}",
    );
    let snapshot = build(&good(&documents, None).spec);
    assert_eq!(who(&snapshot, 0, "10.1.2.3"), "a/net");
    assert_eq!(who(&snapshot, 0, "10.1.9.9"), "a/net");
    assert_eq!(who(&snapshot, 7, "10.2.3.3"), "a/zoned");
    assert_eq!(who(&snapshot, 7, "10.2.9.9"), "a/zoned");
    assert_eq!(who(&snapshot, 8, "10.2.3.3"), "[10.2.3.0/24]");
    assert_eq!(who(&snapshot, 8, "10.2.9.9"), "unknown");
}

#[test]
fn whole_families_stay_apart() {
    let documents = short(
        "Workload a/t {addresses: [192.168.0.1]}
         Allowlist a/six {target: {workload: t}, ingress: [{from: [{cidr: '::/0'}]}]}",
    );
    let snapshot = build(&good(&documents, None).spec);
    assert_eq!(who(&snapshot, 0, "10.0.0.1"), "unknown");
    assert_eq!(who(&snapshot, 0, "2001:db8::1"), "[::/0]");
}

#[test]
fn unknown_is_what_the_allowlist_itself_does_not_name() {
    let documents = short(
        "Workload a/t {addresses: [192.168.0.1]}
         Allowlist a/open {target: {workload: t}, ingress: [{from: [{unknown: true}]}]}
         Allowlist a/other {target: {workload: t}, ingress: [{from: [{unknown: true}], action: deny}, {from: [{cidr: 10.0.0.0/8}]}], egress: [{to: [{domain: a.example.com}]}]}",
    );
    let rules = clients(&good(&documents, None).spec);
    assert_eq!(rules[0].1, ["[10.0.0.0/8]", "[a.example.com]", "unknown"]);
    assert_eq!(
        rules[2],
        (
            "allowlist a/other ingress[0]".to_owned(),
            vec!["unknown".to_owned()]
        )
    );
}

#[test]
fn domains_hold_the_domains_within() {
    let documents = short(
        "Workload a/t {addresses: [192.168.0.1]}
         Allowlist a/one {target: {workload: t}, egress: [{to: [{domain: API.example.com.}]}]}
         Allowlist a/two {target: {workload: t}, egress: [{to: [{domain: '*.example.com'}]}]}
         Allowlist a/web {target: {workload: t}, egress: [{to: [{cidr: 0.0.0.0/0}, {cidr: '::/0'}]}]}",
    );
    let compiled = good(&documents, None);
    let rules = clients(&compiled.spec);
    assert_eq!(rules[0].1, ["[api.example.com]"]);
    assert_eq!(rules[1].1, ["[*.example.com]", "[api.example.com]"]);
    assert_eq!(
        rules[2].1,
        [
            "[*.example.com]",
            "[0.0.0.0/0]",
            "[::/0]",
            "[api.example.com]",
            "a/t"
        ]
    );
    let patterns: Vec<&str> = compiled
        .spec
        .names
        .iter()
        .map(|name| name.pattern.as_str())
        .collect();
    assert_eq!(patterns, ["*.example.com", "api.example.com"]);
}

#[test]
fn numbers_stay_with_names_and_rules_with_their_text() {
    let first = short(
        "Workload a/b {addresses: [10.0.0.1]}
         Workload a/d {addresses: [10.0.0.2]}
         Allowlist a/l {target: {workload: d}, ingress: [{from: [{workload: b}]}, {from: [{any: true}], ports: [1]}]}",
    );
    let one = good(&first, None);
    let mut more = short("Workload a/a {addresses: [10.0.0.3]}");
    more.extend(first.clone());
    let two = good(&more, Some(&one.assignments));
    assert_eq!(&two.spec.identities[..2], one.spec.identities.as_slice());
    assert_eq!(two.spec.rules, one.spec.rules);
    let three = good(&first, Some(&two.assignments));
    assert_eq!(three.spec, one.spec);
    let four = good(&more, Some(&three.assignments));
    assert_eq!(
        four.spec, two.spec,
        "a name that comes back has its number back"
    );
    let changed = short(
        "Workload a/b {addresses: [10.0.0.1]}
         Workload a/d {addresses: [10.0.0.2]}
         Allowlist a/l {target: {workload: d}, ingress: [{from: [{workload: b}]}, {from: [{any: true}], ports: [2]}]}",
    );
    let five = good(&changed, Some(&one.assignments));
    let ids = |compiled: &Compiled| {
        compiled
            .spec
            .rules
            .iter()
            .map(|rule| rule.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        ids(&five)
            .iter()
            .filter(|id| ids(&one).contains(id))
            .count(),
        1
    );
}

#[test]
fn after_a_mistake_the_numbers_are_those_of_before() {
    let good_one = good(&short("Workload a/b {addresses: [10.0.0.1]}"), None);
    let bad = short(
        "Workload a/c {addresses: [10.0.0.1]}
         Workload a/d {addresses: [10.0.0.1]}",
    );
    let compiled = compile(&bad, Some(&good_one.assignments));
    assert_eq!(compiled.problems.len(), 1);
    assert_eq!(compiled.assignments, good_one.assignments);
}

#[test]
fn a_sensor_is_attached_to_the_identities_that_its_target_selects() {
    let documents = short(
        "Workload shop/a {tier: data}|{addresses: [10.0.0.1]}
         Workload shop/b {tier: data}|{addresses: [10.0.0.2]}
         Workload shop/c {addresses: [10.0.0.3]}
         Workload other/d {tier: data}|{addresses: [10.0.0.4]}
         Sensor shop/keys {direction: from, action: drop, target: {matchLabels: {tier: data}}, where: [body], patterns: [{name: key, literals: [k]}, {name: word, words: [w], where: [url]}], match: {all: [key, {not: word}]}, threshold: {source: {matches: 3, withinS: 60}}}
         Sensor shop/all {where: [stream], patterns: [{name: x, regex: xyz, mask: none, checks: [luhn], entropy: 2.5}]}",
    );
    let compiled = good(&documents, None);
    let snapshot = build(&compiled.spec);
    let sensor = |name: &str| {
        let sensors = compiled.spec.sensors.iter();
        sensors.clone().find(|sensor| sensor.name == name).unwrap()
    };
    let keys = sensor("sensor shop/keys");
    let targets = keys.targets.iter().map(|id| snapshot.identity_name(*id));
    assert_eq!(targets.collect::<Vec<_>>(), ["shop/a", "shop/b"]);
    assert_eq!(keys.direction, SensorDirection::From);
    assert_eq!(keys.action, SensorAction::Drop);
    assert_eq!(keys.patterns[0].places, ["body"]);
    assert_eq!(keys.patterns[1].places, ["url"]);
    let not = Combination::Not(Box::new(Combination::Pattern(1)));
    let combination = Combination::All(vec![Combination::Pattern(0), not]);
    assert_eq!(keys.combination, combination);
    assert_eq!(
        keys.source.map(|source| (source.matches, source.window_s)),
        Some((3, 60))
    );
    assert_eq!(keys.flow_matches, None);
    let all = sensor("sensor shop/all");
    let targets = all.targets.iter().map(|id| snapshot.identity_name(*id));
    let own = ["shop/a", "shop/b", "shop/c"];
    assert_eq!(targets.collect::<Vec<_>>(), own, "its namespace alone");
    assert_eq!(all.patterns[0].entropy_millibits, 2500);
    assert_eq!(
        all.combination,
        Combination::Any(vec![Combination::Pattern(0)])
    );
    let again = good(&documents, Some(&compiled.assignments));
    assert_eq!(again.spec, compiled.spec, "numbers stay");
}

/// A node that verifies signed policy compiles it over the identities that it is sent.
#[test]
fn identities_tell_what_the_compiler_looked_at() {
    let documents = [
        "apiVersion: weir.dev/v1alpha1\nkind: Namespace\nmetadata: {name: shop, labels: {env: prod}}\n",
        "apiVersion: weir.dev/v1alpha1\nkind: Workload\nmetadata: {name: db, namespace: shop, labels: {x: '1'}}\n\
         spec: {addresses: [10.0.0.1, 10.96.0.2], serviceAccount: reader}\n",
        "apiVersion: weir.dev/v1alpha1\nkind: Service\nmetadata: {name: front, namespace: shop}\n\
         spec: {workload: db, addresses: [10.96.0.1, 10.96.0.2]}\n",
    ];
    let compiled = good(&read(&documents.join("---\n")), None);
    let identity = &compiled.spec.identities[0];
    let pair = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
    assert_eq!(identity.namespace_labels, pair("env", "prod"));
    assert_eq!(identity.labels, pair("x", "1"));
    assert_eq!(identity.services, ["shop/front"]);
    assert_eq!(identity.service_account.as_deref(), Some("reader"));
    let address = weir_wire::from_ip_address("10.96.0.1".parse().unwrap());
    assert_eq!(identity.service_addresses, [(address, 128, None)]);
}
