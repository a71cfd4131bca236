//! The law behind the comparison: what a node compiles over the part of the cluster that it was sent is
//! that node's part of what was compiled over the whole, so that honest policy is never refused; and a
//! rule that was touched always is.

use std::collections::BTreeSet;

use proptest::prelude::*;
use weir_bundle::{Bundle, is_policy};
use weir_compile::{compile, scope};
use weir_model::parse_documents;
use weir_policy::spec::{Action, SnapshotSpec};

use super::compare::Expected;

const PEERS: [&str; 15] = [
    "{any: true}",
    "{unknown: true}",
    "{workload: blue/w0}",
    "{workload: red/w1}",
    "{matchLabels: {x: '1'}, namespace: red}",
    "{matchLabels: {}, namespaceSelector: {matchLabels: {env: prod}}}",
    "{service: red/s1}",
    "{service: blue/s0}",
    "{service: red/shared}",
    "{service: red/far}",
    "{cidr: 10.0.0.0/16}",
    "{cidr: 10.0.0.0/8, except: [10.0.1.0/24]}",
    "{cidr: 192.0.2.0/24}",
    "{domain: '*.example.com'}",
    "{domain: api.example.com}",
];
const TARGETS: [&str; 5] = [
    "{workload: red/w0}",
    "{matchLabels: {x: '1'}, namespace: red}",
    "{matchLabels: {}, namespace: blue}",
    "{matchLabels: {}, namespaceSelector: {}}",
    "{matchLabels: {}, namespaceSelector: {matchLabels: {env: prod}}}",
];
const MODES: [&str; 4] = ["discover", "monitor", "protect", "protect"];
const SETTINGS: [&str; 3] = [
    "{}",
    "{unknown: {mode: protect, action: deny}}",
    "{link: {mode: monitor}, denyStyle: drop}",
];

/// Workloads, services and namespaces: labels, a second address, a network of addresses, services' ones.
fn cluster(choices: &[(bool, bool, u8, bool)]) -> String {
    let mut text = document("Namespace", "name: blue, labels: {env: prod}", "{}");
    for (index, (labelled, dual, network, elsewhere)) in choices.iter().enumerate() {
        let namespace = ["red", "blue"][index % 2];
        let labels = if *labelled { ", labels: {x: '1'}" } else { "" };
        let mut addresses = match network {
            0 => format!("10.0.{index}.0/24"),
            1 => format!("192.0.2.{index}"),
            _ => format!("10.0.{index}.1"),
        };
        if *dual {
            addresses.push_str(&format!(", 'fd00::{index}'"));
        }
        let zone = if *network == 3 { ", zone: 7" } else { "" };
        let metadata = format!("name: w{index}, namespace: {namespace}{labels}");
        let spec = format!("{{addresses: [{addresses}]{zone}}}");
        text.push_str(&document("Workload", &metadata, &spec));
        // A service's address often lies in no network of its workload's.
        let metadata = format!("name: s{index}, namespace: {namespace}");
        let address = if *elsewhere {
            format!("172.20.0.{index}")
        } else {
            format!("10.0.200.{index}")
        };
        let spec = format!("{{workload: w{index}, addresses: [{address}]}}");
        text.push_str(&document("Service", &metadata, &spec));
    }
    // One that two answer, so that its address is nobody's, and one that stands for a name.
    let spec = "{workloads: [w0, blue/w1], addresses: [172.21.0.1]}";
    text.push_str(&document("Service", "name: shared, namespace: red", spec));
    let spec = "{externalName: far.example.com}";
    text.push_str(&document("Service", "name: far, namespace: red", spec));
    text
}

fn document(kind: &str, metadata: &str, spec: &str) -> String {
    format!(
        "apiVersion: weir.dev/v1alpha1\nkind: {kind}\nmetadata: {{{metadata}}}\nspec: {spec}\n---\n"
    )
}

type RuleChoice = (Vec<usize>, bool, bool);

fn policy(
    lists: &[(usize, Vec<RuleChoice>)],
    modes: &[(usize, usize, bool)],
    settings: usize,
) -> String {
    let mut text = String::new();
    for (index, (target, rules)) in lists.iter().enumerate() {
        let written = |egress: bool| {
            let of = rules.iter().filter(|(_, _, out)| *out == egress);
            let of: Vec<String> = of
                .map(|(peers, deny, _)| rule(peers, *deny, egress))
                .collect();
            of.join(", ")
        };
        let (ingress, egress) = (written(false), written(true));
        let spec = format!(
            "{{target: {}, ingress: [{ingress}], egress: [{egress}]}}",
            TARGETS[*target]
        );
        text.push_str(&document(
            "Allowlist",
            &format!("name: l{index}, namespace: red"),
            &spec,
        ));
    }
    for (index, (target, mode, quarantine)) in modes.iter().enumerate() {
        let spec = format!(
            "{{target: {}, mode: {}, quarantine: {quarantine}}}",
            TARGETS[*target], MODES[*mode]
        );
        text.push_str(&document(
            "Mode",
            &format!("name: m{index}, namespace: red"),
            &spec,
        ));
    }
    text.push_str(&document("Settings", "name: settings", SETTINGS[settings]));
    text
}

fn rule(peers: &[usize], deny: bool, egress: bool) -> String {
    let peers = peers.iter().map(|&peer| match PEERS[peer] {
        peer if egress || !peer.contains("domain") => peer,
        _ => PEERS[12],
    });
    let peers: Vec<&str> = peers.collect();
    let (word, action) = (
        if egress { "to" } else { "from" },
        if deny { "deny" } else { "allow" },
    );
    format!("{{{word}: [{}], action: {action}}}", peers.join(", "))
}

fn compiled(text: &str) -> SnapshotSpec {
    let (documents, problems) = parse_documents("x.yaml", text);
    assert_eq!(problems, []);
    let compiled = compile(&documents, None);
    assert_eq!(compiled.problems, [], "{text}");
    compiled.spec
}

fn bundle(text: &str) -> Bundle {
    let (documents, _) = parse_documents("x.yaml", text);
    let documents = documents.into_iter().map(|located| located.value);
    let documents = documents.filter(|document| is_policy(document.kind()));
    Bundle::new("shop", 1, 1, None, documents.collect()).unwrap()
}

/// Over the wire and back.
fn sent(spec: &SnapshotSpec) -> SnapshotSpec {
    weir_api::from_message(&weir_api::to_message(spec)).unwrap()
}

fn choices() -> impl Strategy<Value = (String, String)> {
    let workload = (any::<bool>(), any::<bool>(), 0..4u8, any::<bool>());
    let peers = proptest::collection::vec(0..PEERS.len(), 1..3);
    let rules = proptest::collection::vec((peers, any::<bool>(), any::<bool>()), 0..4);
    let lists = proptest::collection::vec((0..TARGETS.len(), rules), 0..4);
    let modes = (0..TARGETS.len(), 0..MODES.len(), 0..8);
    let modes = modes.prop_map(|(target, mode, quarantine)| (target, mode, quarantine == 0));
    let modes = proptest::collection::vec(modes, 0..3);
    let cluster_of = proptest::collection::vec(workload, 2..7);
    (cluster_of, lists, modes, 0..SETTINGS.len()).prop_map(|(workloads, lists, modes, settings)| {
        (cluster(&workloads), policy(&lists, &modes, settings))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_follows_from_signed_documents_is_never_refused((cluster, policy) in choices(), here: u8) {
        let whole = compiled(&format!("{cluster}{policy}"));
        let bundle = bundle(&policy);
        let mut expected = Expected::default();
        prop_assert_eq!(expected.compare(&bundle, &sent(&whole)), Ok(()));
        let managed = whole.identities.iter().filter(|one| one.managed).enumerate();
        let local: BTreeSet<u32> = managed
            .filter(|(index, _)| here >> (index % 8) & 1 == 1)
            .map(|(_, one)| one.id)
            .collect();
        let scoped = scope(&whole, &local);
        prop_assert_eq!(expected.compare(&bundle, &sent(&scoped)), Ok(()), "{}{}", cluster, policy);
    }

    #[test]
    fn a_rule_that_was_touched_is_refused((cluster, policy) in choices(), here: u8, which: usize, how in 0..4u8) {
        let whole = compiled(&format!("{cluster}{policy}"));
        let managed = whole.identities.iter().filter(|one| one.managed).enumerate();
        let local = managed.filter(|(index, _)| here >> (index % 8) & 1 == 1).map(|(_, one)| one.id);
        let mut spec = scope(&whole, &local.collect());
        if spec.rules.is_empty() {
            return Ok(());
        }
        let place = which % spec.rules.len();
        match how {
            0 => drop(spec.rules.remove(place)),
            1 => spec.rules[place].ports = vec![(22, 22)],
            2 => {
                let rule = &mut spec.rules[place];
                rule.action = if rule.action == Action::Allow { Action::Deny } else { Action::Allow };
            }
            _ => {
                let rule = &mut spec.rules[place];
                if rule.clients.is_empty() {
                    return Ok(());
                }
                rule.clients.clear();
            }
        }
        let compared = Expected::default().compare(&bundle(&policy), &sent(&spec));
        prop_assert!(compared.is_err(), "{}{}", cluster, policy);
    }
}
