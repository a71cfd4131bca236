//! The law of every format: what is written to it and read again lets nothing more through than
//! before, unless a loss says so; where nothing was lost, exactly the same.

use proptest::prelude::*;
use weir_model::{Document, Located, parse_documents};
use weir_policy::spec::Action;
use weir_policy::{Application, Question, Snapshot};
use weir_translate::{Effect, Format, ImportOptions, export, import};

/// Four workloads in two namespaces, with labels, and addresses of which some lie in the networks
/// that rules name.
const WORKLOADS: &str = r#"
apiVersion: weir.dev/v1alpha1
kind: Workload
metadata: {name: web, namespace: front, labels: {app: web, tier: front}}
spec: {addresses: [10.1.0.1]}
---
apiVersion: weir.dev/v1alpha1
kind: Workload
metadata: {name: api, namespace: shop, labels: {app: api, tier: back}}
spec: {addresses: [10.1.0.2]}
---
apiVersion: weir.dev/v1alpha1
kind: Workload
metadata: {name: db, namespace: shop, labels: {app: db, tier: back}}
spec: {addresses: [10.2.0.3, "fd00::3"]}
---
apiVersion: weir.dev/v1alpha1
kind: Workload
metadata: {name: job, namespace: shop, labels: {app: job}}
spec: {addresses: [10.2.0.4]}
---
"#;

fn peer() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "{any: true}",
        "{workload: front/web}",
        "{matchLabels: {app: api}}",
        "{matchLabels: {tier: back}, namespace: shop}",
        "{matchLabels: {}, namespaceSelector: {}}",
        "{matchExpressions: [{key: app, operator: In, values: [api, job]}]}",
        "{matchExpressions: [{key: tier, operator: DoesNotExist}]}",
        "{cidr: 10.1.0.0/16}",
        "{cidr: 10.0.0.0/8, except: [10.2.0.0/16]}",
        "{unknown: true}",
    ])
}

fn rule(side: &'static str) -> impl Strategy<Value = String> {
    let part = |texts: &[&'static str]| prop::sample::select(texts.to_vec());
    (
        prop::collection::vec(peer(), 1..3),
        part(&[
            "",
            ", ports: [80]",
            ", ports: [53, \"8000-8010\"]",
            ", protocols: [tcp]",
            ", ports: [53], protocols: [tcp, udp]",
            ", protocols: [icmp]",
            ", applications: [http]",
            ", applications: [http, mysql], ports: [80]",
            ", applications: [mysql]",
            ", applications: [dns], protocols: [udp]",
        ]),
        part(&["", "", "", ", action: deny"]),
    )
        .prop_map(move |(peers, what, action)| {
            let peers = peers.join(", ");
            format!("{{{side}: [{peers}]{what}{action}}}")
        })
}

fn allowlists() -> impl Strategy<Value = String> {
    let targets = prop::sample::select(vec![
        "{workload: shop/db}",
        "{matchLabels: {app: api}}",
        "{matchLabels: {}}",
        "{matchLabels: {app: web}, namespace: front}",
    ]);
    let one = (
        targets,
        prop::collection::vec(rule("from"), 0..3),
        prop::collection::vec(rule("to"), 0..3),
    );
    prop::collection::vec(one, 1..3).prop_map(|all| {
        let mut text = WORKLOADS.to_owned();
        for (index, (target, ingress, egress)) in all.into_iter().enumerate() {
            let (ingress, egress) = (ingress.join(", "), egress.join(", "));
            text += &format!(
                "apiVersion: weir.dev/v1alpha1\nkind: Allowlist\nmetadata: {{name: list-{index}, namespace: shop}}\n\
                 spec: {{target: {target}{}{}}}\n---\n",
                if ingress.is_empty() { String::new() } else { format!(", ingress: [{ingress}]") },
                if egress.is_empty() { String::new() } else { format!(", egress: [{egress}]") },
            );
        }
        text
    })
}

fn documents(text: &str) -> Vec<Located<Document>> {
    let (documents, problems) = parse_documents("test", text);
    assert_eq!(problems, []);
    documents
}

/// The answers for every pair of ends, some ports, protocols and applications.
fn answers(documents: &[Located<Document>]) -> Vec<(String, Action)> {
    let compiled = weir_compile::compile(documents, None)
        .checked()
        .expect("compiles");
    let names: Vec<(String, u32)> = ["front/web", "shop/api", "shop/db", "shop/job"]
        .iter()
        .filter_map(|name| {
            let mut all = compiled.spec.identities.iter();
            Some(((*name).to_owned(), all.find(|it| it.name == *name)?.id))
        })
        .chain([("unknown".to_owned(), weir_policy::spec::UNKNOWN_IDENTITY)])
        .collect();
    let snapshot = Snapshot::build(compiled.spec).expect("builds");
    let mut answers = Vec::new();
    for (client_name, client) in &names {
        for (server_name, server) in &names {
            for (protocol, port) in [(6, 80), (6, 53), (6, 8005), (6, 3306), (17, 53), (1, 0)] {
                for application in ["http", "mysql", "dns", "redis"] {
                    let Some(known) = weir_l7::registry::by_name(application) else {
                        continue;
                    };
                    let decision = snapshot.decide(&Question {
                        client: *client,
                        server: *server,
                        protocol,
                        server_port: port,
                        application: Application::Known(known),
                        request: None,
                    });
                    let name =
                        format!("{client_name} {server_name} {protocol}/{port} {application}");
                    answers.push((name, decision.rule_action));
                }
            }
        }
    }
    answers
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn nothing_more_passes_after_a_trip(text in allowlists()) {
        let original = documents(&text);
        let plain: Vec<Document> = original.iter().map(|located| located.value.clone()).collect();
        let before = answers(&original);
        for format in [Format::NetworkPolicy, Format::Cilium, Format::NeuVector] {
            let exported = export(format, &plain);
            if exported.text.is_empty() {
                continue;
            }
            let imported = import(format, "trip", &exported.text, ImportOptions::default()).unwrap();
            let mut again = documents(WORKLOADS);
            again.extend(imported.documents.iter().map(|it| Located::unplaced(it.clone(), "trip")));
            let after = answers(&again);
            let losses: Vec<_> = exported.losses.iter().chain(&imported.losses).collect();
            let any = |effect: Effect| losses.iter().any(|loss| loss.effect == effect);
            for ((question, was), (_, is)) in before.iter().zip(&after) {
                let (was, is) = (*was == Action::Allow, *is == Action::Allow);
                prop_assert!(is <= was || any(Effect::Wider), "{format}: {question} opened\n{}\n{losses:?}", exported.text);
                prop_assert!(was <= is || any(Effect::Narrower), "{format}: {question} closed\n{}\n{losses:?}", exported.text);
            }
        }
    }

    #[test]
    fn our_own_form_says_everything(text in allowlists()) {
        let plain: Vec<Document> = documents(&text).into_iter().map(|located| located.value).collect();
        let exported = export(Format::Weir, &plain);
        let imported = import(Format::Weir, "trip", &exported.text, ImportOptions::default()).unwrap();
        prop_assert_eq!(imported.documents, plain);
        prop_assert_eq!((exported.losses, imported.losses), (vec![], vec![]));
    }
}
