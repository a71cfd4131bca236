//! The shipped guardrails: their own tests pass, and real documents are judged as they promise.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_guardrail::library::{self, SHIPPED};
use weir_guardrail::testing::{self, Outcome};
use weir_guardrail::{
    Definition, Findings, Guardrail, Guardrails, Inventory, NoInventory, Target, evaluate,
};
use weir_model::{Document, Located, Selector, parse_documents};

fn read(text: &str) -> Vec<Located<Document>> {
    let (documents, problems) = parse_documents("shop.yaml", text);
    assert_eq!(problems, []);
    documents
}

fn guardrails(names: &[&str]) -> Guardrails {
    Guardrails::new(names.iter().map(|name| {
        let shipped = library::find(name).expect("it is shipped");
        Arc::new(Guardrail::compile(shipped.definition()).expect("it compiles"))
    }))
}

fn allowlist(metadata: &str, spec: &str) -> String {
    format!(
        "apiVersion: weir.dev/v1alpha1\nkind: Allowlist\nmetadata: {{name: db, namespace: shop{metadata}}}\n\
         spec: {{target: {{workload: db}}, {spec}}}\n"
    )
}

fn judge(names: &[&str], old: Option<&str>, new: Option<&str>) -> Findings {
    let (old, new) = (old.map(read), new.map(read));
    let first = |documents: &Option<Vec<Located<Document>>>| {
        documents
            .as_ref()
            .map(|documents| documents[0].value.clone())
    };
    evaluate(
        &guardrails(names),
        &NoInventory,
        first(&old).as_ref(),
        first(&new).as_ref(),
    )
}

/// (field, message) of what is refused.
fn refused(names: &[&str], old: Option<&str>, new: Option<&str>) -> Vec<(String, String)> {
    let findings = judge(names, old, new);
    let pair = |it: weir_guardrail::Finding| (it.field, it.message);
    findings.refused.into_iter().map(pair).collect()
}

/// One workload that every target selects.
struct Store;

impl Inventory for Store {
    fn selected(&self, _: &str, _: &Selector) -> Option<Vec<Target>> {
        Some(vec![Target {
            namespace: "shop".to_owned(),
            name: "db".to_owned(),
            labels: [("tier".to_owned(), "store".to_owned())].into(),
        }])
    }
}

#[test]
fn their_own_tests_pass() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("library");
    let tests = testing::run(&[directory]).expect("the library is read");
    assert!(tests.len() > 40, "{} tests", tests.len());
    for test in &tests {
        assert_eq!(
            test.outcome,
            Outcome::Pass,
            "{}.{}",
            test.package,
            test.name
        );
    }
    for shipped in SHIPPED {
        let package = format!(
            "data.weir.guardrail.{}_test",
            shipped.name.replace('-', "_")
        );
        let has_tests = tests.iter().any(|test| test.package == package);
        assert!(has_tests, "{} has no tests", shipped.name);
        assert!(shipped.summary().ends_with('.'), "{}", shipped.name);
        let file = format!("{}.rego", shipped.name.replace('-', "_"));
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("library")
            .join(file);
        assert!(path.exists(), "{}", path.display());
    }
}

#[test]
fn every_file_of_the_library_is_shipped() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("library");
    let files = std::fs::read_dir(directory).expect("the library").count();
    assert_eq!(files, 2 * SHIPPED.len());
}

#[test]
fn a_store_may_not_be_reached_from_outside() {
    let documents = read(&allowlist(
        "",
        "ingress: [{from: [{cidr: 10.0.0.0/8}, {cidr: 198.51.100.0/24}, {unknown: true}]}]",
    ));
    let rails = guardrails(&["no-external-to-stores"]);
    let findings = evaluate(&rails, &Store, None, Some(&documents[0].value));
    let fields: Vec<_> = findings
        .refused
        .iter()
        .map(|it| it.field.as_str())
        .collect();
    assert_eq!(
        fields,
        ["spec.ingress[0].from[1]", "spec.ingress[0].from[2]"]
    );
    let problem = findings.refused[0].problem(&documents[0]);
    assert!(problem.line == 4, "{problem}");
    assert!(
        problem
            .message
            .starts_with("guardrail no-external-to-stores: 198.51.100.0/24")
    );
    assert!(!problem.next_step.is_empty());
    // Of another workload nothing is refused.
    let other = read(&allowlist("", "ingress: [{from: [{unknown: true}]}]"));
    assert!(evaluate(&rails, &NoInventory, None, Some(&other[0].value)).accepted());
}

#[test]
fn protect_is_not_left_without_a_reason() {
    let mode = |mode: &str, metadata: &str| {
        format!(
            "apiVersion: weir.dev/v1alpha1\nkind: Mode\nmetadata: {{name: db, namespace: shop{metadata}}}\n\
             spec: {{target: {{workload: db}}, mode: {mode}}}\n"
        )
    };
    let names = ["protect-stays"];
    let protect = mode("protect", "");
    let back = refused(&names, Some(&protect), Some(&mode("monitor", "")));
    assert_eq!(
        back,
        [(
            "spec.mode".to_owned(),
            "Mode shop/db goes from protect to monitor".to_owned()
        )]
    );
    assert_eq!(refused(&names, Some(&protect), None).len(), 1);
    let excused = mode("discover", ", annotations: {weir.dev/loosen: migration}");
    assert_eq!(refused(&names, Some(&protect), Some(&excused)), []);
    assert_eq!(refused(&names, None, Some(&mode("discover", ""))), []);
    assert_eq!(
        refused(
            &names,
            Some(&mode("monitor", "")),
            Some(&mode("discover", ""))
        ),
        []
    );
}

#[test]
fn any_and_the_metadata_service_are_refused() {
    let open = allowlist("", "ingress: [{from: [{any: true}], ports: [443]}]");
    let fields = refused(&["no-any-in-protect"], None, Some(&open));
    assert_eq!(fields[0].0, "spec.ingress[0].from[0]");

    let names = ["no-metadata-address"];
    let to = |peers: &str| allowlist("", &format!("egress: [{{to: [{peers}], ports: [80]}}]"));
    assert_eq!(
        refused(&names, None, Some(&to("{cidr: 169.254.0.0/16}"))).len(),
        1
    );
    assert_eq!(refused(&names, None, Some(&to("{any: true}"))).len(), 1);
    assert_eq!(refused(&names, None, Some(&to("{cidr: 10.0.0.0/8}"))), []);
    let except =
        to("{cidr: 0.0.0.0/0, except: [169.254.169.254/32, 100.100.100.200/32, 192.0.0.192/32]}");
    assert_eq!(refused(&names, None, Some(&except)), []);
    let beside = allowlist(
        "",
        "egress: [{to: [{any: true}]}, {to: [{cidr: 169.254.169.254/32}], action: deny}]",
    );
    assert_eq!(refused(&names, None, Some(&beside)), []);
}

#[test]
fn a_deny_is_not_taken_away() {
    let with = allowlist(
        "",
        "ingress: [{from: [{workload: web}]}, {from: [{cidr: 198.51.100.0/24}], action: deny}]",
    );
    let without = allowlist("", "ingress: [{from: [{workload: web}]}]");
    let moved = allowlist(
        "",
        "ingress: [{from: [{cidr: 198.51.100.0/24}], action: deny}, {from: [{workload: web}]}]",
    );
    let names = ["deny-stays"];
    assert_eq!(refused(&names, Some(&with), Some(&without)).len(), 1);
    assert_eq!(refused(&names, Some(&with), None).len(), 1);
    assert_eq!(refused(&names, Some(&with), Some(&moved)), []);
    assert_eq!(refused(&names, Some(&without), None), []);
}

#[test]
fn ports_applications_owners_and_wildcards() {
    let names = ["ports-named", "owner-named", "no-wildcard-egress"];
    let wide = allowlist(
        "",
        "egress: [{to: [{cidr: 0.0.0.0/0}], ports: [1-65535]}, {to: [{workload: mail}]}]",
    );
    let fields: Vec<_> = refused(&names, None, Some(&wide))
        .into_iter()
        .map(|it| it.0)
        .collect();
    assert_eq!(
        fields,
        [
            "spec.egress[0].to[0]",
            "metadata.annotations",
            "spec.egress[0].ports[0]",
            "spec.egress[1]",
        ]
    );
    let narrow = allowlist(
        ", annotations: {weir.dev/owner: payments}",
        "egress: [{to: [{domain: '*.example.com'}], ports: [443], applications: [tls]}]",
    );
    assert_eq!(refused(&names, None, Some(&narrow)), []);
    let warned = judge(&["applications-named"], None, Some(&wide));
    assert!(warned.accepted());
    assert_eq!(warned.warnings.len(), 2);
}

#[test]
fn parameters_reach_the_rules() {
    let shipped = library::find("owner-named").expect("it is shipped");
    let rail = Guardrail::compile(Definition {
        parameters: serde_json::json!({ "annotations": ["team"] }),
        ..shipped.definition()
    });
    let rails = Guardrails::new([Arc::new(rail.expect("it compiles"))]);
    let documents = read(&allowlist(
        ", annotations: {team: a}",
        "ingress: [{from: [{workload: web}]}]",
    ));
    assert!(evaluate(&rails, &NoInventory, None, Some(&documents[0].value)).accepted());
}
