//! What cannot be enforced is refused where it is written; what is probably not meant is told.

use weir_compile::{Compiled, compile};
use weir_model::{Document, Located, parse_documents};
use weir_policy::Snapshot;

const WORKLOADS: &str = "
apiVersion: weir.dev/v1alpha1
kind: Workload
metadata: {name: photo-db, namespace: shop, labels: {tier: data}}
spec: {addresses: [10.91.0.3, 'fd91::3']}
---
apiVersion: weir.dev/v1alpha1
kind: Workload
metadata: {name: ai-model, namespace: shop, labels: {tier: model}}
spec: {addresses: [10.91.0.2, 'fd91::2']}
---
apiVersion: weir.dev/v1alpha1
kind: Service
metadata: {name: db, namespace: shop}
spec: {workload: photo-db, addresses: [10.96.0.10]}
";

fn read(file: &str, text: &str) -> Vec<Located<Document>> {
    let (documents, problems) = parse_documents(file, text);
    assert_eq!(problems, [], "{text}");
    documents
}

fn with(text: &str) -> Compiled {
    let mut documents = read("workloads.yaml", WORKLOADS);
    documents.extend(read("policy.yaml", text));
    let compiled = compile(&documents, None);
    if compiled.problems.is_empty() {
        Snapshot::build(compiled.spec.clone()).expect("what compiles can be built");
    } else {
        assert_eq!(compiled.spec, Default::default(), "nothing is half-applied");
    }
    compiled
}

fn allowlist(rule: &str) -> String {
    format!(
        "apiVersion: weir.dev/v1alpha1\nkind: Allowlist\nmetadata: {{name: photo-db, namespace: shop}}\n\
         spec:\n  target: {{workload: photo-db}}\n  ingress:\n    - from: [{{workload: ai-model}}]\n      {rule}\n"
    )
}

#[track_caller]
fn refused(text: &str, line: u32, field: &str, words: &[&str]) {
    let compiled = with(text);
    let [problem] = compiled.problems.as_slice() else {
        panic!("one problem: {:#?}", compiled.problems)
    };
    let told = problem.to_string();
    assert_eq!(
        (problem.line, problem.field.as_str()),
        (line, field),
        "{told}"
    );
    assert!(
        words.iter().all(|word| told.contains(word)),
        "{told:?} does not say {words:?}"
    );
}

#[track_caller]
fn warned(text: &str, field: &str, words: &[&str]) -> Compiled {
    let compiled = with(text);
    assert_eq!(compiled.problems, []);
    let [warning] = compiled.warnings.as_slice() else {
        panic!("one warning: {:#?}", compiled.warnings)
    };
    let told = warning.to_string();
    assert_eq!(warning.field, field, "{told}");
    assert!(
        words.iter().all(|word| told.contains(word)),
        "{told:?} does not say {words:?}"
    );
    compiled
}

#[test]
fn applications_and_fields_that_are_not_known() {
    refused(
        &allowlist("applications: [mysqll]"),
        8,
        "spec.ingress[0].applications[0]",
        &["did you mean mysql?"],
    );
    refused(
        &allowlist("applications: [something-of-ours]"),
        8,
        "spec.ingress[0].applications[0]",
        &["known are", "http"],
    );
    let field = "spec.ingress[0].when[0].field";
    refused(
        &allowlist("when: [{field: http.pth, in: [x]}]"),
        8,
        field,
        &["did you mean http.path?"],
    );
    refused(
        &allowlist("when: [{field: path, in: [x]}]"),
        8,
        field,
        &["application.field"],
    );
    assert_eq!(with(&allowlist("applications: [unknown]")).problems, []);
}

#[test]
fn conditions_that_cannot_be_enforced() {
    let field = "spec.ingress[0].when[0].field";
    let unenforceable = weir_l7::registry::applications()
        .iter()
        .find_map(|row| {
            row.fields
                .iter()
                .find(|spec| !spec.condition)
                .map(|spec| format!("{}.{}", row.name, spec.name))
        })
        .expect("some field occurs in answers only");
    let text = allowlist(&format!("when: [{{field: {unenforceable}, in: [x]}}]"));
    refused(&text, 8, field, &["cannot be enforced", &unenforceable]);
    refused(
        &allowlist("applications: [http, mysql]\n      when: [{field: http.path, in: [x]}]"),
        9,
        field,
        &["mysql has no http.path", "rule of its own"],
    );
    refused(
        &allowlist("when: [{field: http.path, in: [x]}, {field: mysql.statement, in: [SELECT]}]"),
        8,
        "spec.ingress[0].when[1].field",
        &["two rules"],
    );
    let long = "x".repeat(2000);
    refused(
        &allowlist(&format!("when: [{{field: http.path, prefix: [{long}]}}]")),
        8,
        "spec.ingress[0].when[0].prefix[0]",
        &["longer than 1024"],
    );
    let compiled = with(&allowlist(
        "when: [{field: http.path, in: [/], prefix: [/api/]}]",
    ));
    assert_eq!(
        compiled.spec.rules[0].applications,
        ["http"],
        "a condition implies its application"
    );
    assert_eq!(compiled.spec.rules[0].conditions[0].patterns.len(), 2);
}

#[test]
fn names_that_are_given_twice_are_told_with_both_places() {
    let text = allowlist("ports: [1]") + "---\n" + &allowlist("ports: [2]");
    refused(
        &text,
        12,
        "metadata.name",
        &["allowlist shop/photo-db", "policy.yaml:1"],
    );
}

#[test]
fn addresses_that_two_claim_are_told_with_both_places() {
    let other = |addresses: &str| {
        format!(
            "apiVersion: weir.dev/v1alpha1\nkind: Workload\nmetadata: {{name: other}}\nspec: {{{addresses}}}\n"
        )
    };
    let field = "spec.addresses[0]";
    let words = ["workload default/other already", "policy.yaml:1"];
    refused(&other("addresses: [10.9.9.9, 10.91.0.3]"), 5, field, &words);
    refused(
        &other("addresses: [10.9.9.9, 10.96.0.10]"),
        15,
        field,
        &words,
    );
    assert_eq!(with(&other("addresses: [10.91.0.3], zone: 4")).problems, []);
    assert_eq!(
        with(&other("addresses: [10.91.0.0/24, 10.9.9.9, 10.9.9.9]")).problems,
        []
    );
}

#[test]
fn settings_are_one_and_make_sense() {
    let settings = |name: &str, spec: &str| {
        format!(
            "apiVersion: weir.dev/v1alpha1\nkind: Settings\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
        )
    };
    let two = settings("a", "") + "---\n" + &settings("b", "");
    refused(&two, 7, "kind", &["settings in policy.yaml:1"]);
    refused(
        &settings("a", "unknown: {action: deny}"),
        4,
        "spec.unknown.action",
        &["give a mode"],
    );
}

#[test]
fn what_matches_nothing_is_told_and_does_not_match_everybody() {
    for (peer, words) in [
        (
            "{workload: ai-modl}",
            &["selects no workload", "did you mean shop/ai-model?"][..],
        ),
        (
            "{matchLabels: {tier: web}}",
            &["selects no workload", "compare"],
        ),
        (
            "{matchLabels: {tier: model}, namespace: other}",
            &["selects no workload"],
        ),
        (
            "{service: dp}",
            &["names no service", "did you mean shop/db?"],
        ),
    ] {
        let text = allowlist("ports: [1]").replace("{workload: ai-model}", peer);
        let compiled = warned(&text, "spec.ingress[0].from[0]", words);
        assert_eq!(
            compiled.spec.rules,
            [],
            "a rule for nobody is no rule for anybody"
        );
        let text = allowlist("ports: [1]").replace(
            "{workload: ai-model}",
            &format!("{peer}, {{workload: ai-model}}"),
        );
        assert_eq!(with(&text).spec.rules[0].clients.len(), 1);
    }
    let text = allowlist("ports: [1]").replace(
        "target: {workload: photo-db}",
        "target: {workload: photo-dp}",
    );
    let compiled = warned(
        &text,
        "spec.target",
        &["governs nobody", "did you mean shop/photo-db?"],
    );
    assert_eq!(compiled.spec.rules, []);
    let mode = "apiVersion: weir.dev/v1alpha1\nkind: Mode\nmetadata: {name: m}\nspec: {target: {workload: x}, mode: protect}\n";
    let compiled = warned(mode, "spec.target", &["nothing has this mode"]);
    assert_eq!(compiled.spec.link.mode, weir_policy::spec::Mode::Discover);
    let service = "apiVersion: weir.dev/v1alpha1\nkind: Service\nmetadata: {name: s}\nspec: {workload: x, addresses: [10.1.1.1]}\n";
    warned(service, "spec.workload", &["default/x", "belong to nobody"]);
}

#[test]
fn what_can_never_match_is_told() {
    warned(
        &allowlist("applications: [mysql]\n      protocols: [udp]"),
        "spec.ingress[0].applications[0]",
        &["none of the rule's protocols carries mysql"],
    );
    let text = allowlist("ports: [1]").replace("{workload: ai-model}", "{cidr: 10.91.0.0/31}");
    let compiled = with(&text);
    assert_eq!(compiled.warnings, [], "10.91.0.2 lies behind it");
    let text = allowlist("ports: [1]").replace("{workload: ai-model}", "{cidr: 10.91.0.2}");
    let compiled = warned(
        &text,
        "spec.ingress[0].from[0].cidr",
        &["only some", "shop/ai-model", "not allowed"],
    );
    assert!(
        compiled
            .spec
            .addresses
            .iter()
            .filter(|entry| entry.prefix_bits == 128)
            .count()
            == 5
    );
}

#[test]
fn several_mistakes_are_told_at_once_in_the_order_of_their_places() {
    let text = allowlist("applications: [mysqll, htp]") + "---\n" + &allowlist("ports: [2]");
    let problems = with(&text).problems;
    let fields: Vec<&str> = problems
        .iter()
        .map(|problem| problem.field.as_str())
        .collect();
    assert_eq!(
        fields,
        [
            "spec.ingress[0].applications[0]",
            "spec.ingress[0].applications[1]",
            "metadata.name"
        ]
    );
}

/// A sensor whose pattern stands in line 8.
fn sensor(pattern: &str) -> String {
    format!(
        "apiVersion: weir.dev/v1alpha1\nkind: Sensor\nmetadata: {{name: cards, namespace: shop}}\n\
         spec:\n  target: {{workload: photo-db}}\n  where: [body]\n  patterns:\n    - {pattern}\n"
    )
}

#[test]
fn a_sensor_that_no_node_could_look_for_is_refused() {
    for (pattern, field, words) in [
        ("{name: x, regex: 'a(b'}", "regex", &["unclosed group"][..]),
        (r"{name: x, regex: '(a)\1'}", "regex", &["backreferences"]),
        (r"{name: x, regex: 'a(?=b)'}", "regex", &["look-around"]),
        ("{name: x, regex: 'a*'}", "regex", &["where nothing is"]),
        (
            "{name: x, regex: '(?:x{999}){9}'}",
            "regex",
            &["more than 256"],
        ),
        (
            "{name: x, regex: 'x[0-9]+', checks: [luhn]}",
            "regex",
            &["more than 256 bytes", "bound its repetitions"],
        ),
        (
            "{name: x, regex: 'x', checks: [lunh]}",
            "checks[0]",
            &["lunh", "luhn"],
        ),
        (
            "{name: x, regex: 'x', where: [url, bodies]}",
            "where[1]",
            &["bodies", "statement"],
        ),
    ] {
        refused(
            &sensor(pattern),
            8,
            &format!("spec.patterns[0].{field}"),
            words,
        );
    }
}

#[test]
fn a_sensor_for_nobody_is_told_and_looks_at_nothing() {
    let text = sensor("{name: x, regex: 'x'}").replace("photo-db", "foto-db");
    let compiled = with(&text);
    assert_eq!(compiled.spec.sensors, []);
    let told = compiled.warnings[0].to_string();
    assert!(told.contains("looks at nothing"), "{told}");
}
