//! What somebody may write to make the compiler work: bounded, and told.

use std::fmt::Write;
use std::sync::Arc;

use weir_compile::{Change, Compilation, Scopes};
use weir_l7::AppId;
use weir_model::{Document, Located, parse_documents};
use weir_policy::spec::Action;
use weir_policy::{Application, Question, Snapshot};

fn read(text: &str) -> Vec<Change> {
    let (documents, problems) = parse_documents("bounds.yaml", text);
    assert_eq!(problems, []);
    let put = |one: Located<Document>| Change::Put(Arc::new(one));
    documents.into_iter().map(put).collect()
}

fn workloads(count: usize) -> Vec<Change> {
    let mut text = String::new();
    for number in 0..count {
        write!(
            text,
            "---\napiVersion: weir.dev/v1alpha1\nkind: Workload\nmetadata: {{name: w{number}, namespace: n{}, labels: {{v: v{number}}}}}\n\
             spec: {{addresses: [10.0.{}.{}]}}\n",
            number % 7,
            number / 250,
            number % 250
        )
        .unwrap();
    }
    read(&text)
}

fn list(target: &str, from: &str) -> Vec<Change> {
    read(&format!(
        "apiVersion: weir.dev/v1alpha1\nkind: ClusterAllowlist\nmetadata: {{name: wide}}\n\
         spec: {{target: {{{target}}}, ingress: [{{from: [{{{from}}}]}}]}}\n"
    ))
}

#[test]
fn ten_thousand_values_select_whom_they_name() {
    let mut compilation = Compilation::new(None);
    compilation.apply(workloads(3000));
    let values: Vec<String> = (0..10_000).map(|number| format!("v{number}")).collect();
    let selector = format!(
        "matchExpressions: [{{key: v, operator: In, values: [{}]}}]",
        values.join(", ")
    );
    let effect = compilation.apply(list("workload: n0/w0", &selector));
    assert_eq!(effect.spec.rules.len(), 1);
    assert_eq!(effect.spec.rules[0].clients.len(), 3000);
    // One more workload asks only what may mean it, and what is told is the rule that does.
    let more = "apiVersion: weir.dev/v1alpha1\nkind: Workload\nmetadata: {name: more, namespace: n0, labels: {v: v9999}}\nspec: {}\n";
    assert_eq!(
        compilation.apply(read(more)).spec.rules[0].clients.len(),
        3001
    );
}

#[test]
fn a_selector_that_matches_everything_is_held_at_ten_thousand_workloads() {
    let mut compilation = Compilation::new(None);
    compilation.apply(workloads(10_000));
    let wide = list("matchLabels: {}", "matchLabels: {}");
    let key = wide[0].key();
    let effect = compilation.apply(wide);
    assert_eq!(effect.outcomes[&key].refused, []);
    let rule = &effect.spec.rules[0];
    assert_eq!((rule.clients.len(), rule.servers.len()), (10_000, 10_000));
    let snapshot = Snapshot::build(compilation.spec()).unwrap();
    let id = |name: &str| snapshot.identity_by_name(name).unwrap();
    let ask = |client, server| {
        let decision = snapshot.decide(&Question {
            client,
            server,
            protocol: 6,
            server_port: 80,
            application: Application::Known(AppId::UNKNOWN),
            request: None,
        });
        // Nothing lets a client out, so that the server's end is told apart by what is nearest.
        let nearest = snapshot.explain(&Question {
            client,
            server,
            protocol: 6,
            server_port: 80,
            application: Application::Known(AppId::UNKNOWN),
            request: None,
        });
        let heard = nearest
            .steps
            .iter()
            .any(|step| step.rule.starts_with("clusterallowlist"));
        (decision.rule_action, heard)
    };
    assert_eq!(ask(id("n0/w0"), id("n3/w9999")), (Action::Deny, true));
    assert_eq!(ask(0, id("n3/w9999")), (Action::Deny, false));
    // One more workload is one more name in the rule.
    let more = "apiVersion: weir.dev/v1alpha1\nkind: Workload\nmetadata: {name: more, namespace: n0}\nspec: {}\n";
    let effect = compilation.apply(read(more));
    assert_eq!(effect.spec.rules[0].servers.len(), 10_001);
}

#[test]
fn rules_that_no_node_could_hold_are_refused_until_there_is_room() {
    let mut compilation = Compilation::new(None);
    compilation.apply(workloads(3000));
    let before = compilation.spec();
    // 400 rules of 3,000 × 3,000 name 2.4 million; of twice as many none is taken.
    let wide = |rules: usize| {
        let rule = "{from: [{matchLabels: {}}]}";
        read(&format!(
            "apiVersion: weir.dev/v1alpha1\nkind: ClusterAllowlist\nmetadata: {{name: wide}}\n\
             spec: {{target: {{matchLabels: {{}}}}, ingress: [{}]}}\n",
            vec![rule; rules].join(", ")
        ))
    };
    let key = wide(1)[0].key();
    let effect = compilation.apply(wide(800));
    let refused = &effect.outcomes[&key].refused;
    assert!(refused[0].message.contains("more than"), "{refused:?}");
    assert!(refused[0].next_step.contains("any peer"), "{refused:?}");
    assert_eq!(compilation.spec(), before, "nothing is half-applied");
    assert!(compilation.document(&key).is_none());
    let effect = compilation.apply(wide(10));
    assert_eq!(effect.outcomes[&key].refused, []);
    assert_eq!(effect.spec.rules[0].servers.len(), 3000);
}

#[test]
fn what_waited_comes_into_force_when_its_place_is_free() {
    let workload = |name: &str, address: &str| {
        read(&format!(
            "apiVersion: weir.dev/v1alpha1\nkind: Workload\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{addresses: [{address}]}}\n"
        ))
    };
    let mut compilation = Compilation::new(None);
    compilation.apply(workload("one", "10.0.0.1"));
    let two = workload("two", "10.0.0.1");
    let key = two[0].key();
    let refused = compilation.apply(two).outcomes[&key].refused.clone();
    assert!(
        refused[0]
            .message
            .contains("belongs to workload shop/one already"),
        "{refused:?}"
    );
    // Something else changes: nothing is said of it again.
    let effect = compilation.apply(workload("three", "10.0.0.3"));
    assert!(!effect.outcomes.contains_key(&key));
    let effect = compilation.apply(workload("one", "10.0.0.9"));
    assert_eq!(effect.outcomes[&key].refused, [], "its turn has come");
    assert_eq!(effect.spec.addresses.len(), 2);
    // Two that change places do so at once.
    let mut swap = workload("one", "10.0.0.1");
    swap.extend(workload("two", "10.0.0.9"));
    let effect = compilation.apply(swap);
    assert!(
        effect
            .outcomes
            .values()
            .all(|outcome| outcome.refused.is_empty()),
        "{:?}",
        effect.outcomes
    );
    assert_eq!(effect.spec.addresses.len(), 2);
}

#[test]
fn a_pod_event_says_no_more_than_what_moved() {
    let mut compilation = Compilation::new(None);
    let mut scopes = Scopes::default();
    scopes.apply(&compilation.apply(workloads(500)));
    scopes.apply(&compilation.apply(list("matchLabels: {}", "matchLabels: {}")));
    scopes.add_node("n1");
    let moved = "apiVersion: weir.dev/v1alpha1\nkind: Workload\nmetadata: {name: w7, namespace: n0, labels: {v: v7}}\nspec: {addresses: [10.9.9.9]}\n";
    let effect = compilation.apply(read(moved));
    let spec = &effect.spec;
    assert_eq!((spec.addresses.len(), spec.removed_addresses.len()), (1, 1));
    assert_eq!((spec.rules.len(), spec.identities.len()), (0, 0));
    let told = scopes.apply(&effect);
    assert_eq!(told.len(), 1);
    assert_eq!(&told[0].1, spec);
}
