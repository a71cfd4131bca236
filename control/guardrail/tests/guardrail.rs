//! What a guardrail may be made of, what its mistakes are told as, and that it is bounded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use weir_guardrail::bundle::Bundle;
use weir_guardrail::testing::{self, Outcome};
use weir_guardrail::{
    Definition, FINDINGS_MAX, Findings, Guardrail, Guardrails, MESSAGE_CHARS_MAX, Module,
    NoInventory, evaluate, input,
};
use weir_model::{Document, Enforcement, Problem, parse_documents};

fn document() -> Document {
    let text = "apiVersion: weir.dev/v1alpha1\nkind: Allowlist\n\
        metadata: {name: db, namespace: shop, labels: {team: a}}\n\
        spec: {target: {matchLabels: {app: db}}, ingress: [{from: [{workload: web}], ports: [443]}]}\n";
    let (mut documents, problems) = parse_documents("a.yaml", text);
    assert_eq!(problems, []);
    documents.remove(0).value
}

fn definition(rego: &str) -> Definition {
    Definition {
        name: "g".to_owned(),
        modules: vec![Module {
            path: "g.rego".to_owned(),
            text: rego.to_owned(),
        }],
        ..Definition::default()
    }
}

fn rules(body: &str) -> String {
    format!("package weir.guardrail\n\n{body}\n")
}

fn ask(definition: Definition) -> Findings {
    let rail = Guardrail::compile(definition).expect("it compiles");
    let rails = Guardrails::new([Arc::new(rail)]);
    evaluate(&rails, &NoInventory, None, Some(&document()))
}

fn said(rego: &str) -> Vec<String> {
    let refused = ask(definition(&rules(rego))).refused;
    refused.into_iter().map(|it| it.message).collect()
}

fn mistake(rego: &str) -> Problem {
    let mistakes = Guardrail::compile(definition(&rules(rego))).expect_err("it is wrong");
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    mistakes[0].clone()
}

#[test]
fn every_usual_form_of_a_rule_is_read() {
    // Rego v1, v0, and v0 with keywords.
    assert_eq!(said("deny contains msg if { msg := input.name }"), ["db"]);
    assert_eq!(said("deny[msg] { msg := input.namespace }"), ["shop"]);
    assert_eq!(
        said("import future.keywords\ndeny contains msg if { msg := \"x\" }"),
        ["x"]
    );
    assert_eq!(
        said("import rego.v1\ndeny contains \"y\" if input.operation == \"CREATE\""),
        ["y"]
    );
    // Gatekeeper.
    let gatekeeper = "violation[{\"msg\": msg}] { input.review.object.metadata.labels.team == \"a\"; \
        msg := sprintf(\"%v %v\", [input.review.kind.kind, input.review.operation]) }";
    assert_eq!(said(gatekeeper), ["Allowlist CREATE"]);
    // conftest, complete rules.
    assert_eq!(said("deny_names contains input.kind"), ["Allowlist"]);
    assert_eq!(said("deny := \"never\""), ["never"]);
    assert_eq!(
        said("deny if input.object.spec.ingress[0].ports[0] == 443"),
        ["deny holds"]
    );
    assert_eq!(said("deny if input.name == \"other\""), [""; 0]);
    let warns = ask(definition(&rules("warn contains \"careful\"")));
    assert!(warns.accepted());
    assert_eq!(warns.warnings[0].message, "careful");
}

#[test]
fn only_warning_and_only_some_kinds() {
    let deny = rules("deny contains \"no\"");
    let warned = ask(Definition {
        enforcement: Enforcement::Warn,
        ..definition(&deny)
    });
    assert!(warned.accepted());
    assert_eq!(warned.warnings.len(), 1);
    let elsewhere = ask(Definition {
        matching: weir_model::GuardrailMatch {
            kinds: vec![weir_model::Kind::Sensor],
            ..Default::default()
        },
        ..definition(&deny)
    });
    assert_eq!(elsewhere, Findings::default());
}

#[test]
fn packages_below_count_and_others_only_help() {
    let module = |path: &str, text: &str| Module {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let findings = ask(Definition {
        modules: vec![
            module(
                "lib.rego",
                "package lib.names\nbad(name) if startswith(name, data.prefix)\ndeny contains 1",
            ),
            module(
                "a.rego",
                "package weir.guardrail.no_db\nimport data.lib.names\n\
                 deny contains \"named so\" if names.bad(input.name)",
            ),
        ],
        data: json!({ "prefix": "d" }),
        by_package: true,
        ..definition("")
    });
    assert_eq!(findings.refused.len(), 1);
    assert_eq!(findings.refused[0].sentence(), "guardrail no-db: named so");
}

#[test]
fn mistakes_have_a_place() {
    let problem = mistake("deny contains msg if {\n  input.x = = 3\n}");
    assert_eq!(
        (problem.file.as_str(), problem.line, problem.column),
        ("g.rego", 4, 13)
    );
    assert_eq!(problem.message, "expecting expression");

    let problem = mistake("deny contains msg if {\n  input.x == y\n  msg := \"\"\n}");
    assert_eq!((problem.line, problem.column), (4, 14));
    assert!(problem.message.contains("`y` is unsafe"), "{problem}");

    let problem =
        mistake("deny contains msg if {\n  starts_with(input.x, \"a\")\n  msg := \"\"\n}");
    assert_eq!((problem.line, problem.column), (4, 3));
    assert_eq!(problem.next_step, "did you mean startswith?");

    let problem = mistake("x := 1");
    assert!(
        problem.message.contains("deny, violation or warn"),
        "{problem}"
    );
    let problem = mistake("warn[x] { x = = 1 }");
    assert_eq!((problem.line, problem.column), (3, 9));
}

#[test]
fn what_reaches_out_or_never_ends_is_refused_when_it_is_written() {
    let problem = mistake("deny contains \"x\" if {\n  http.send({\"url\": \"http://a\"})\n}");
    assert_eq!((problem.line, problem.column), (4, 3));
    assert!(problem.message.contains("not available"), "{problem}");
    let problem = mistake("deny contains \"x\" if f(1)\nf(x) if f(x + 1)");
    assert_eq!((problem.line, problem.column), (4, 9));
    assert!(problem.message.contains("calls itself"), "{problem}");
    mistake("deny contains \"x\" if f(1)\nf(x) if g(x)\ng(x) if data.weir.guardrail.f(x)");
    mistake("deny contains sprintf(\"%99999999d\", [1])");
    let many: String = (0..=weir_guardrail::RULES_MAX)
        .map(|index| format!("r{index} := {index}\n"))
        .collect();
    mistake(&format!("{many}deny contains \"x\""));
    let long = "#".repeat(weir_guardrail::MODULE_BYTES_MAX);
    mistake(&long);
}

#[test]
fn evaluation_is_bounded_and_what_cannot_be_judged_is_refused() {
    let begin = Instant::now();
    let findings = said(
        "deny contains \"x\" if { some a in numbers.range(1, 90000); some b in numbers.range(1, 90000); a * b < 0 }",
    );
    assert_eq!(
        findings,
        ["deny could not be evaluated: takes too long to answer"]
    );
    assert!(begin.elapsed() < Duration::from_secs(30));

    let findings = said("deny contains \"x\" if count(numbers.range(1, 2000000000)) > 0");
    assert!(findings[0].contains("at most"), "{findings:?}");
    let findings =
        said("deny contains \"x\" if {\n  1 / (input.facts.rules[0].conditions) == 1\n}");
    assert_eq!(
        findings,
        ["deny could not be evaluated: divide by zero (g.rego:4:5)"]
    );
    // Rules that ask each other in a circle.
    let findings = said("deny contains \"x\" if a\na if b\nb if a");
    assert!(findings[0].contains("recursion"), "{findings:?}");
    // As long a chain of rules as can be.
    let last = weir_guardrail::RULES_MAX - 2;
    let chain: String = (0..last)
        .map(|index| format!("r{index} if r{}\n", index + 1))
        .collect();
    assert_eq!(
        said(&format!(
            "deny contains \"end\" if r0\n{chain}r{last} if true"
        )),
        ["end"]
    );
    let calls: String = (0..last)
        .map(|index| format!("f{index}(x) := f{}(x + 1)\n", index + 1))
        .collect();
    let called = said(&format!("deny contains f0(0)\n{calls}f{last}(x) := x"));
    assert_eq!(called, [last.to_string()]);
}

#[test]
fn answers_are_bounded() {
    let findings = said(
        "deny contains msg if { some i in numbers.range(1, 5000); msg := sprintf(\"%05d\", [i]) }",
    );
    assert_eq!(findings.len(), FINDINGS_MAX + 1);
    assert!(
        findings.iter().any(|it| it == "and 4980 more findings"),
        "{findings:?}"
    );
    let long = said(&format!("deny contains \"{}\"", "ü".repeat(2000)));
    assert_eq!(long[0].chars().count(), MESSAGE_CHARS_MAX + 1);
}

#[test]
fn the_input_is_as_promised() {
    let shown = input::show(&NoInventory, Some(&document()), None);
    assert_eq!(shown["operation"], "DELETE");
    assert!(shown["object"].is_null());
    assert_eq!(
        shown["old"]["spec"]["ingress"][0]["from"][0]["workload"],
        "web"
    );
    let shown = input::show(&NoInventory, None, Some(&document()));
    let rule = &shown["facts"]["rules"][0];
    assert_eq!(rule["direction"], "ingress");
    assert_eq!(rule["action"], "allow");
    assert_eq!(rule["any_application"], true);
    assert_eq!(rule["external"], false);
    assert_eq!(rule["peers"][0]["kind"], "workload");
    assert_eq!(shown["facts"]["target"]["labels"]["app"], "db");
    assert_eq!(shown["review"]["object"], shown["object"]);
}

#[test]
fn bundles_have_roots_data_and_tests() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    write(
        ".manifest",
        r#"{"revision": "7", "roots": ["weir/guardrail", "teams"]}"#,
    );
    write("teams/data.json", r#"{"known": ["a"]}"#);
    write("teams/more/data.yaml", "x: 1\n");
    write(
        "policy/team.rego",
        "package weir.guardrail.team\n\
         deny contains \"unknown team\" if not input.object.metadata.labels.team in data.teams.known\n",
    );
    write(
        "policy/team_test.rego",
        "package weir.guardrail.team_test\nimport data.weir.guardrail.team\n\
         test_unknown if team.deny with input as {\"object\": {}}\n\
         test_fails if count(team.deny) == 7\n\
         test_errs if 1 / 0 == 1\n\
         todo_test_later if true\n",
    );
    let bundle = Bundle::read(directory.path()).expect("it is read");
    assert_eq!(bundle.revision, "7");
    assert_eq!(
        bundle.data,
        json!({"teams": {"known": ["a"], "more": {"x": 1}}})
    );
    let tests = testing::run_bundle(&bundle).expect("they run");
    let outcomes: Vec<_> = tests.iter().map(|test| &test.outcome).collect();
    assert_eq!(*outcomes[0], Outcome::Pass);
    assert_eq!(*outcomes[1], Outcome::Fail);
    assert!(matches!(outcomes[2], Outcome::Error(text) if text.contains("divide by zero")));
    assert_eq!(*outcomes[3], Outcome::Skipped);
    let rail = bundle.guardrail("teams").expect("it compiles");
    let rails = Guardrails::new([Arc::new(rail)]);
    assert!(evaluate(&rails, &NoInventory, None, Some(&document())).accepted());

    write("policy/other.rego", "package other\nx := 1\n");
    write("data.json", "{\"teams\": {\"known\": [\"b\"]}}");
    let problems = Bundle::read(directory.path()).expect_err("outside the roots, and twice");
    let text = problems
        .iter()
        .map(Problem::to_string)
        .collect::<Vec<_>>()
        .join("\n");
    assert!(text.contains("package other lies outside"), "{text}");
    assert!(text.contains("data.teams.known is given twice"), "{text}");
    write("data.json", "{\n  x\n}");
    let problems = Bundle::read(directory.path()).expect_err("no JSON");
    assert!(
        problems
            .iter()
            .any(|it| it.line == 2 && it.file.ends_with("data.json"))
    );
}

const RAILS: &str = "\
apiVersion: weir.dev/v1alpha1
kind: Guardrail
metadata: {name: team-known}
spec:
  match: {kinds: [Allowlist], namespaceSelector: {matchLabels: {guarded: 'yes'}}}
  parameters: {teams: [b]}
  rego: |
    package weir.guardrail
    deny contains msg if {
      not input.object.metadata.labels.team in input.parameters.teams
      msg := sprintf(\"%s is unknown\", [input.object.metadata.labels.team])
    }
---
apiVersion: weir.dev/v1alpha1
kind: Namespace
metadata: {name: shop, labels: {guarded: 'yes'}}
spec: {}
---
";

#[test]
fn documents_hold_guardrails_for_the_others() {
    let (mut documents, problems) = parse_documents("rails.yaml", RAILS);
    assert_eq!(problems, []);
    let (rails, problems) = Guardrails::of_documents(&documents);
    assert_eq!((rails.count(), problems), (1, Vec::new()));
    let findings = evaluate(&rails, &documents[..], None, Some(&document()));
    assert_eq!(
        findings.refused[0].sentence(),
        "guardrail team-known: a is unknown"
    );
    // Where the namespace does not have the label.
    assert!(evaluate(&rails, &NoInventory, None, Some(&document())).accepted());

    documents.push(weir_model::Located::unplaced(document(), "new"));
    let judged = weir_guardrail::judge(&rails, &documents[..], &documents[..2], &documents, false);
    assert_eq!(judged.refused.len(), 1);
    let judged = weir_guardrail::judge(&rails, &documents[..], &documents, &documents, false);
    assert_eq!(judged, Default::default());
    let audited = weir_guardrail::judge(&rails, &documents[..], &documents, &documents, true);
    assert_eq!(audited.refused, []);
    assert!(
        audited.warnings[0]
            .message
            .contains("is in force, but guardrail team-known")
    );

    let (broken, _) = parse_documents("rails.yaml", &RAILS.replace(":= sprintf", ":= sprint"));
    let (rails, problems) = Guardrails::of_documents(&broken);
    assert!(rails.is_empty());
    assert_eq!(
        (problems[0].field.as_str(), problems[0].line),
        ("spec.rego", 7)
    );
    assert_eq!(
        problems[0].message,
        "line 4, column 10: unknown function sprint"
    );
    assert_eq!(problems[0].next_step, "did you mean sprintf?");
}

#[test]
fn shipped_guardrails_can_be_applied_as_documents() {
    for shipped in weir_guardrail::library::SHIPPED {
        let (documents, problems) = parse_documents(shipped.name, &shipped.document());
        assert_eq!(problems, [], "{}", shipped.name);
        let (rails, problems) = Guardrails::of_documents(&documents);
        assert_eq!(
            (rails.count(), problems),
            (1, Vec::new()),
            "{}",
            shipped.name
        );
    }
}
