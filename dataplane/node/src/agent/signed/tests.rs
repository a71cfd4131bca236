//! A node with keys takes what was signed, and nothing else.

use std::path::PathBuf;

use tempfile::TempDir;
use weir_api::{to_message, v1};
use weir_bundle::{Algorithm, Bundle, PrivateKey, SignedBundle, generate, may_be_signed};
use weir_compile::compile;
use weir_model::{Document, Located, parse_documents};
use weir_policy::spec::{Action, Mode, SensorAction, SnapshotSpec};

use super::*;

const NOW: u64 = 1_760_000_000;

const CLUSTER: &str = "\
apiVersion: weir.dev/v1alpha1
kind: Namespace
metadata: {name: shop, labels: {env: prod}}
---
apiVersion: weir.dev/v1alpha1
kind: Workload
metadata: {name: photo-db, namespace: shop, labels: {tier: data}}
spec: {addresses: [10.91.0.3, 'fd91::3']}
---
apiVersion: weir.dev/v1alpha1
kind: Workload
metadata: {name: ai-model, namespace: shop}
spec: {addresses: [10.91.0.2]}
---
apiVersion: weir.dev/v1alpha1
kind: Service
metadata: {name: db, namespace: shop}
spec: {workload: photo-db, addresses: [172.20.0.1]}
---
";
const POLICY: &str = "\
apiVersion: weir.dev/v1alpha1
kind: Allowlist
metadata: {name: photo-db, namespace: shop}
spec:
  target: {matchLabels: {tier: data}, namespaceSelector: {matchLabels: {env: prod}}}
  ingress:
    - {from: [{workload: ai-model}], applications: [mysql], ports: [3306]}
    - {from: [{cidr: 192.0.2.0/24}], action: deny}
  egress:
    - {to: [{cidr: 10.0.0.0/8}, {domain: '*.example.com'}], applications: [tls]}
---
apiVersion: weir.dev/v1alpha1
kind: Allowlist
metadata: {name: ai-model, namespace: shop}
spec: {target: {workload: ai-model}, egress: [{to: [{service: db}, {cidr: 10.0.0.0/8}]}, {to: [{unknown: true}]}]}
---
apiVersion: weir.dev/v1alpha1
kind: Mode
metadata: {name: all, namespace: shop}
spec: {target: {matchLabels: {}}, mode: protect}
---
apiVersion: weir.dev/v1alpha1
kind: Settings
metadata: {name: settings}
spec: {unknown: {mode: protect, action: deny}}
---
apiVersion: weir.dev/v1alpha1
kind: Sensor
metadata: {name: tokens, namespace: shop}
spec: {target: {workload: photo-db}, action: drop, where: [body], patterns: [{name: t, literals: [tok_]}]}
";

/// A node's state directory and the keys of two people.
struct Place {
    directory: TempDir,
    keys: [PrivateKey; 2],
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let keys = ["one", "two"].map(|name| {
            let made = generate(Algorithm::Ed25519).unwrap();
            std::fs::write(directory.path().join(name), &made.public_pem).unwrap();
            PrivateKey::from_pem(&made.private_pem).unwrap()
        });
        Self { directory, keys }
    }

    fn settings(&self, keys: &[&str]) -> PolicySettings {
        let paths = keys.iter().map(|key| self.directory.path().join(key));
        PolicySettings {
            public_keys: paths.collect::<Vec<PathBuf>>(),
            ..PolicySettings::default()
        }
    }

    fn open(&self, settings: &PolicySettings) -> Trust {
        Trust::open(settings, self.directory.path())
            .unwrap()
            .unwrap()
    }

    /// Trusts both keys.
    fn trust(&self) -> Trust {
        self.open(&self.settings(&["one", "two"]))
    }

    /// Of a policy, signed by these keys.
    fn bundle(&self, policy: &str, sequence: u64, keys: &[usize]) -> SignedBundle {
        let bundle = Bundle::new("shop", sequence, NOW, None, signable(policy)).unwrap();
        self.sign(&bundle, keys)
    }

    fn sign(&self, bundle: &Bundle, keys: &[usize]) -> SignedBundle {
        let mut signed = SignedBundle::new(bundle.payload().unwrap());
        for &key in keys {
            signed.sign(&self.keys[key]).unwrap();
        }
        signed
    }
}

fn documents(text: &str) -> Vec<Located<Document>> {
    let (documents, problems) = parse_documents("x.yaml", text);
    assert_eq!(problems, []);
    documents
}

fn signable(text: &str) -> Vec<Document> {
    let documents = documents(text).into_iter().map(|located| located.value);
    documents
        .filter(|document| may_be_signed(document.kind()))
        .collect()
}

/// What a controller makes of documents.
fn policy(text: &str) -> SnapshotSpec {
    let compiled = compile(&documents(text), None);
    assert_eq!(compiled.problems, []);
    compiled.spec
}

/// What it sends.
fn message(spec: &SnapshotSpec, signed: Option<&SignedBundle>) -> v1::Snapshot {
    let mut message = to_message(spec);
    message.bundle = signed.map(|signed| v1::SignedBundle {
        payload: signed.payload.clone(),
        signatures: signed
            .signatures
            .iter()
            .map(|one| v1::Signature {
                key_id: one.key_id.clone(),
                signature: one.signature.clone(),
            })
            .collect(),
    });
    message
}

/// Judges and, where it is good, takes it.
fn put(trust: &mut Trust, spec: &SnapshotSpec, signed: &SignedBundle) -> Result<(), String> {
    put_at(trust, spec, signed, NOW)
}

fn put_at(
    trust: &mut Trust,
    spec: &SnapshotSpec,
    signed: &SignedBundle,
    now: u64,
) -> Result<(), String> {
    let message = message(spec, Some(signed));
    // What goes over the wire is what is judged.
    let spec = weir_api::from_message(&message).unwrap();
    let accepted = trust.judge(&message, &spec, now)?;
    trust.taken(accepted);
    trust.save().unwrap();
    Ok(())
}

#[track_caller]
fn refused(outcome: Result<(), String>, words: &str) {
    let why = outcome.expect_err("it must not be taken");
    assert!(why.contains(words), "{why}");
}

fn all(policy: &str) -> String {
    format!("{CLUSTER}{policy}")
}

#[test]
fn what_is_signed_is_taken_and_what_is_not_is_refused() {
    let place = Place::new();
    let mut trust = place.trust();
    let spec = policy(&all(POLICY));
    let unsigned = trust.judge(&message(&spec, None), &spec, NOW).unwrap_err();
    assert!(unsigned.contains("is not signed"), "{unsigned}");
    refused(
        put(&mut trust, &spec, &place.bundle(POLICY, 1, &[])),
        "not signed",
    );
    put(&mut trust, &spec, &place.bundle(POLICY, 1, &[0])).unwrap();
    put(&mut trust, &spec, &place.bundle(POLICY, 1, &[0])).unwrap();
    assert!(
        Trust::open(&PolicySettings::default(), place.directory.path())
            .unwrap()
            .is_none()
    );
}

#[test]
fn every_alteration_is_named() {
    type Alter = fn(&mut SnapshotSpec);
    let place = Place::new();
    let signed = place.bundle(POLICY, 1, &[0]);
    let alterations: [(&str, Alter); 16] = [
        (
            "allowlist shop/photo-db ingress[0] is not signed (opens)",
            |spec| {
                let rule = spec
                    .rules
                    .iter_mut()
                    .find(|rule| rule.name.ends_with("photo-db ingress[0]"));
                rule.unwrap().ports.clear();
            },
        ),
        (
            "allowlist shop/photo-db ingress[1] is missing (opens)",
            |spec| {
                spec.rules.retain(|rule| rule.action != Action::Deny);
            },
        ),
        ("is not signed (opens)", |spec| {
            let mut rule = spec.rules[0].clone();
            (rule.id, rule.name) = (u32::MAX - 5, "extra".into());
            rule.clients.clear();
            spec.rules.push(rule);
        }),
        (
            "mode of shop/photo-db: protect to monitor is altered (opens)",
            |spec| {
                let mut all = spec.identities.iter_mut();
                all.find(|one| one.name == "shop/photo-db").unwrap().mode = Mode::Monitor;
            },
        ),
        ("is not signed (opens)", |spec| {
            let mut all = spec.identities.iter_mut();
            all.find(|one| one.name == "shop/photo-db").unwrap().managed = false;
        }),
        ("sensor shop/tokens is missing (opens)", |spec| {
            spec.sensors.clear()
        }),
        ("sensor shop/tokens is altered (opens)", |spec| {
            spec.sensors[0].action = SensorAction::Alert;
        }),
        ("unknown addresses", |spec| {
            spec.unknown.action = Action::Allow
        }),
        ("settings differ", |spec| spec.unknown.hold_ms = 9),
        ("frames that are not IP: protect to discover", |spec| {
            spec.link.mode = Mode::Discover
        }),
        ("EtherType 0x88cc", |spec| {
            spec.link.ether_types = vec![0x88cc]
        }),
        ("the addresses of identities differ", |spec| {
            // 192.0.2.0/24 shrinks to half of it.
            let network = weir_wire::from_ip_address("192.0.2.0".parse().unwrap());
            let mut all = spec.addresses.iter_mut();
            all.find(|one| one.network == network).unwrap().prefix_bits += 1;
        }),
        ("the domain names of identities differ", |spec| {
            spec.names.clear()
        }),
        ("is not signed", |spec| {
            let mut one = spec.identities[0].clone();
            (one.id, one.name, one.managed) = (u32::MAX - 5, "[10.9.0.0/16]".into(), false);
            spec.identities.push(one);
        }),
        ("is there twice", |spec| {
            let mut one = spec.identities[0].clone();
            one.id = u32::MAX - 5;
            spec.identities.push(one);
        }),
        ("settings differ", |spec| {
            spec.deny_style = weir_policy::spec::DenyStyle::Drop
        }),
    ];
    for (words, alter) in alterations {
        let mut trust = place.trust();
        let mut spec = policy(&all(POLICY));
        alter(&mut spec);
        refused(put(&mut trust, &spec, &signed), words);
        put(&mut trust, &policy(&all(POLICY)), &signed).unwrap();
    }
}

#[test]
fn who_there_is_comes_from_the_cluster_and_quarantine_may_be_added() {
    let place = Place::new();
    let mut trust = place.trust();
    let signed = place.bundle(POLICY, 1, &[0]);
    put(&mut trust, &policy(&all(POLICY)), &signed).unwrap();
    for (from, to) in [
        ("10.91.0.3", "10.91.0.77"),
        ("[10.91.0.2]", "[10.91.0.2, 192.168.7.7]"),
        ("172.20.0.1", "172.20.0.9"),
        ("addresses: [172.20.0.1]", "addresses: []"),
        ("labels: {tier: data}", "labels: {tier: web}"),
        ("labels: {env: prod}", "labels: {env: test}"),
    ] {
        assert!(CLUSTER.contains(from));
        let cluster = CLUSTER.replacen(from, to, 1);
        put(&mut trust, &policy(&format!("{cluster}{POLICY}")), &signed).unwrap();
    }
    let quarantine = "---\napiVersion: weir.dev/v1alpha1\nkind: Mode\nmetadata: {name: q, namespace: shop}\n\
                      spec: {target: {workload: ai-model}, quarantine: true}\n";
    put(
        &mut trust,
        &policy(&format!("{}{quarantine}", all(POLICY))),
        &signed,
    )
    .unwrap();
    let lifted = place.bundle(&format!("{POLICY}{quarantine}"), 2, &[0]);
    refused(
        put(&mut trust, &policy(&all(POLICY)), &lifted),
        "quarantine of shop/ai-model ends",
    );
}

#[test]
fn what_was_altered_after_signing_or_signed_by_others_is_refused() {
    let place = Place::new();
    let spec = policy(&all(POLICY));
    let mut altered = place.bundle(POLICY, 1, &[0]);
    let text = String::from_utf8(altered.payload).unwrap();
    altered.payload = text.replace("3306", "3307").into();
    refused(put(&mut place.trust(), &spec, &altered), "altered");
    let mut only_two = place.open(&place.settings(&["two"]));
    refused(
        put(&mut only_two, &spec, &place.bundle(POLICY, 1, &[0])),
        "is signed by",
    );
    // Keys are exchanged: nodes trust both, then the new one alone.
    let mut both = place.trust();
    put(&mut both, &spec, &place.bundle(POLICY, 1, &[0])).unwrap();
    put(&mut both, &spec, &place.bundle(POLICY, 2, &[1])).unwrap();
    put(&mut only_two, &spec, &place.bundle(POLICY, 2, &[1])).unwrap();
}

#[test]
fn older_bundles_are_replays_also_after_a_restart() {
    let place = Place::new();
    let mut trust = place.trust();
    let wider = POLICY.replace("ports: [3306]", "ports: [3306, 3307]");
    let (old, new) = (place.bundle(&wider, 1, &[0]), place.bundle(POLICY, 5, &[0]));
    put(&mut trust, &policy(&all(&wider)), &old).unwrap();
    put(&mut trust, &policy(&all(POLICY)), &new).unwrap();
    let same = place.bundle(&wider, 5, &[0]);
    for mut trust in [trust, place.trust()] {
        refused(put(&mut trust, &policy(&all(&wider)), &old), "a replay");
        refused(
            put(&mut trust, &policy(&all(&wider)), &same),
            "other documents",
        );
        put(&mut trust, &policy(&all(POLICY)), &new).unwrap();
    }
    let other = Bundle::new("staging", 9, NOW, None, signable(&wider)).unwrap();
    let other = place.sign(&other, &[0]);
    refused(
        put(&mut place.trust(), &policy(&all(&wider)), &other),
        "staging",
    );
    std::fs::remove_file(place.directory.path().join("policy.seen")).unwrap();
    let named = PolicySettings {
        bundle: Some("shop".into()),
        ..place.settings(&["one"])
    };
    refused(
        put(&mut place.open(&named), &policy(&all(&wider)), &other),
        "staging",
    );
    put(&mut place.trust(), &policy(&all(&wider)), &other).unwrap();
    std::fs::write(place.directory.path().join("policy.seen"), "{").unwrap();
    let error = Trust::open(&named, place.directory.path()).unwrap_err();
    assert!(error.to_string().contains("policy.seen"), "{error}");
}

#[test]
fn what_has_expired_is_not_taken_but_stays_in_force() {
    let place = Place::new();
    let expires = NOW + 1_000;
    let bundle = Bundle::new("shop", 1, NOW, Some(expires), signable(POLICY)).unwrap();
    let signed = place.sign(&bundle, &[0]);
    let spec = policy(&all(POLICY));
    let late = expires + CLOCK_TOLERANCE_S + 1;
    let mut trust = place.trust();
    refused(
        put_at(&mut trust, &spec, &signed, late),
        "has expired 301 s ago",
    );
    refused(
        put_at(&mut trust, &spec, &signed, NOW - CLOCK_TOLERANCE_S - 1),
        "301 s from now",
    );
    put_at(&mut trust, &spec, &signed, late - 1).unwrap();
    put_at(&mut trust, &spec, &signed, late).unwrap();
    put_at(&mut place.trust(), &spec, &signed, late).unwrap();
}

#[test]
fn what_opens_needs_the_second_signature_where_that_is_asked_for() {
    let place = Place::new();
    let settings = PolicySettings {
        weakening_threshold: 2,
        ..place.settings(&["one", "two"])
    };
    let mut trust = place.open(&settings);
    put(
        &mut trust,
        &policy(&all(POLICY)),
        &place.bundle(POLICY, 1, &[0]),
    )
    .unwrap();
    let looser = POLICY.replace("mode: protect}\n---", "mode: monitor}\n---");
    let spec = policy(&all(&looser));
    let why = put(&mut trust, &spec, &place.bundle(&looser, 2, &[0]));
    refused(why.clone(), "1 of the 2 signatures");
    refused(
        why,
        "mode shop/all mode no longer holds all of shop to protect",
    );
    put(&mut trust, &spec, &place.bundle(&looser, 2, &[0, 1])).unwrap();
    put(
        &mut trust,
        &policy(&all(POLICY)),
        &place.bundle(POLICY, 3, &[1]),
    )
    .unwrap();
    let both = PolicySettings {
        threshold: 2,
        ..settings
    };
    let mut trust = place.open(&both);
    refused(
        put(
            &mut trust,
            &policy(&all(POLICY)),
            &place.bundle(POLICY, 3, &[1]),
        ),
        "1 of the 2",
    );
}

#[test]
fn signed_workloads_are_what_they_say() {
    let place = Place::new();
    let mut trust = place.trust();
    let signed = place.bundle(&all(POLICY), 1, &[0]);
    put(&mut trust, &policy(&all(POLICY)), &signed).unwrap();
    for (from, to) in [
        ("10.91.0.3", "10.91.0.77"),
        ("labels: {tier: data}", "labels: {tier: web}"),
    ] {
        let cluster = CLUSTER.replacen(from, to, 1);
        refused(
            put(&mut trust, &policy(&format!("{cluster}{POLICY}")), &signed),
            "the policy is not what bundle",
        );
    }
    // Others may come and go.
    let more = "---\napiVersion: weir.dev/v1alpha1\nkind: Workload\nmetadata: {name: new, namespace: shop}\n\
                spec: {addresses: [10.91.0.50]}\n";
    put(
        &mut trust,
        &policy(&format!("{}{more}", all(POLICY))),
        &signed,
    )
    .unwrap();
}

#[test]
fn what_is_sent_to_one_node_is_held_against_what_that_node_needs() {
    let place = Place::new();
    let whole = policy(&all(POLICY));
    let id = |name: &str| {
        whole
            .identities
            .iter()
            .find(|one| one.name == name)
            .unwrap()
            .id
    };
    for local in [
        vec!["shop/photo-db"],
        vec!["shop/ai-model"],
        vec!["shop/photo-db", "shop/ai-model"],
        vec![],
    ] {
        let local = local.into_iter().map(id).collect();
        let spec = weir_compile::scope(&whole, &local);
        let signed = place.bundle(POLICY, 1, &[0]);
        put(&mut place.trust(), &spec, &signed).unwrap();
        let mut without = spec.clone();
        without.rules.retain(|rule| rule.action != Action::Deny);
        if without.rules.len() < spec.rules.len() {
            refused(put(&mut place.trust(), &without, &signed), "is missing");
        }
    }
}
