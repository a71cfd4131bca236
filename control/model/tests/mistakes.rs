//! Every mistake is told with its line, its field, what is wrong and what to write instead.

use weir_model::{
    DEPTH_MAX, Document, FILE_BYTES_MAX, Located, NODES_MAX, Problem, parse_documents,
};

fn problems(text: &str) -> Vec<Problem> {
    let (_, problems) = parse_documents("shop.yaml", text);
    for problem in &problems {
        assert_eq!(problem.file, "shop.yaml");
        assert!(!problem.message.is_empty());
        assert!(problem.to_string().len() < 1000, "{problem}");
    }
    problems
}

/// The document with one line put in the place of the one that says `HERE`.
fn allowlist(rule: &str) -> String {
    format!(
        "apiVersion: weir.dev/v1alpha1\nkind: Allowlist\nmetadata: {{name: photo-db, namespace: shop}}\n\
         spec:\n  target: {{workload: photo-db}}\n  ingress:\n    - from: [{{workload: ai-model}}]\n      {rule}\n"
    )
}

#[track_caller]
fn expect(text: &str, line: u32, field: &str, words: &[&str]) {
    let problems = problems(text);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    let told = problems[0].to_string();
    assert_eq!(
        (problems[0].line, problems[0].field.as_str()),
        (line, field),
        "{told}"
    );
    for word in words {
        assert!(told.contains(word), "{told:?} does not say {word:?}");
    }
}

#[test]
fn a_whole_story_is_read() {
    let text = include_str!("shop.yaml");
    let (documents, problems) = parse_documents("shop.yaml", text);
    assert_eq!(problems, []);
    let titles: Vec<String> = documents
        .iter()
        .map(|located| located.value.title())
        .collect();
    assert_eq!(
        titles,
        [
            "workload shop/photo-db",
            "workload shop/ai-model",
            "allowlist shop/photo-db",
            "mode shop/shop-modes",
            "settings settings",
            "service shop/api"
        ]
    );
    assert_eq!(documents[1].line, 8);
    let Document::Allowlist(allowlist) = &documents[2].value else {
        panic!("an allowlist")
    };
    assert_eq!(allowlist.spec.ingress[0].when.len(), 2);
    assert_eq!(
        documents[2].position("spec.ingress[0].from[0].workload"),
        (18, 17)
    );
    assert_eq!(documents[2].position("spec.ingress[0].nothing"), (18, 6));
}

#[test]
fn unknown_fields_are_told_with_the_field_that_was_meant() {
    expect(
        &allowlist("aplications: [mysql]"),
        8,
        "spec.ingress[0].aplications",
        &["unknown field", "did you mean applications?"],
    );
    expect(
        &allowlist("to: [{any: true}]"),
        8,
        "spec.ingress[0].to",
        &["unknown field"],
    );
    expect(
        "apiVersion: weir.dev/v1alpha1\nkind: Workload\nmetadata: {name: a}\nspec: {}\nstatus: {}\n",
        5,
        "status",
        &["unknown field"],
    );
    expect(
        "apiVersion: weir.dev/v1alpha1\nkind: Workload\nmetadata:\n  name: a\n  nameSpace: b\nspec: {}\n",
        5,
        "metadata.nameSpace",
        &["did you mean namespace?"],
    );
}

#[test]
fn kinds_and_versions_that_are_not_read_are_told() {
    expect(
        "apiVersion: weir.dev/v1alpha1\nkind: Allowlst\nmetadata: {name: a}\nspec: {}\n",
        2,
        "kind",
        &["did you mean Allowlist?"],
    );
    expect(
        "apiVersion: weir.dev/v9\nkind: Workload\nmetadata: {name: a}\nspec: {}\n",
        1,
        "apiVersion",
        &["weir.dev/v9", "weir.dev/v1alpha1"],
    );
    expect(
        "kind: Workload\nmetadata: {name: a}\nspec: {}\n",
        1,
        "apiVersion",
        &["is missing"],
    );
    expect("just text\n", 1, "", &["no document"]);
}

#[test]
fn values_that_do_not_fit_are_told() {
    for (rule, field, words) in [
        ("ports: [70000]", "ports[0]", &["70000", "65535"][..]),
        ("ports: ['9-8']", "ports[0]", &["backwards", "8-9"]),
        ("ports: 3306", "ports", &["expected a list", "[ … ]"]),
        ("ports: []", "ports", &["neither any nor none"]),
        ("ports:", "ports", &["expected a list"]),
        ("protocols: [tpc]", "protocols[0]", &["did you mean tcp?"]),
        ("protocols: [tcp, 256]", "protocols[1]", &["256"]),
        ("action: alow", "action", &["did you mean allow?"]),
        (
            "applications: [[mysql]]",
            "applications[0]",
            &["expected", "a list"],
        ),
        (
            "when: [{field: http.path}]",
            "when[0]",
            &["http.path", "prefix"],
        ),
        (
            "when: [{field: http.path, regex: [x]}]",
            "when[0].regex",
            &["unknown field"],
        ),
        ("when: [{in: [x]}]", "when[0].field", &["is missing"]),
        ("{}: x", "", &["name of a field"]),
    ] {
        let field = if field.is_empty() {
            String::new()
        } else {
            format!("spec.ingress[0].{field}")
        };
        expect(&allowlist(rule), 8, &field, words);
    }
    expect(
        &allowlist("protocols: [icmp]\n      ports: [80]"),
        9,
        "spec.ingress[0].ports",
        &["has ports"],
    );
}

#[test]
fn a_peer_is_exactly_one_thing() {
    for (peer, words) in [
        ("{}", &["exactly one", "none"][..]),
        ("{workload: a, any: true}", &["workload and any"]),
        ("{any: false}", &["only true"]),
        ("{workload: a, namespace: b}", &["b/a"]),
        (
            "{cidr: 10.0.0.0/8, except: [11.0.0.0/24]}",
            &["11.0.0.0/24", "does not lie within"],
        ),
        ("{any: true, except: [11.0.0.0/24]}", &["cidr only"]),
        ("{service: x, namespace: b}", &["b/x"]),
        ("{cidr: 10.0.0.0/8, namespace: b}", &["cidr and namespace"]),
        (
            "{matchLabels: {}, cidr: 10.0.0.0/8}",
            &["cidr and matchLabels"],
        ),
        (
            "{workload: a, namespaceSelector: {}}",
            &["workload and namespaceSelector"],
        ),
        ("{namespace: a, namespaceSelector: {}}", &["not both"]),
    ] {
        let text = allowlist("").replace("{workload: ai-model}", peer);
        expect(&text, 7, "spec.ingress[0].from[0]", words);
    }
    for (peer, field, words) in [
        (
            "{cidr: 10.0.0.1/8}",
            "cidr",
            &["host bits", "10.0.0.0/8"][..],
        ),
        ("{cidr: 10.0.0.0/40}", "cidr", &["10.0.0.0/40"]),
        ("{workload: Photo_DB}", "workload", &["a-z"]),
        ("{domain: api.example.com}", "domain", &["egress"]),
        ("{wrkload: a}", "wrkload", &["did you mean workload?"]),
    ] {
        let text = allowlist("").replace("{workload: ai-model}", peer);
        expect(&text, 7, &format!("spec.ingress[0].from[0].{field}"), words);
    }
    let text = allowlist("").replace("[{workload: ai-model}]", "[]");
    expect(&text, 7, "spec.ingress[0].from", &["neither any nor none"]);
    let text = allowlist("ports: [1]").replace("- from: [{workload: ai-model}]\n      ", "- ");
    expect(&text, 7, "spec.ingress[0].from", &["is missing"]);
}

#[test]
fn modes_and_settings_are_checked() {
    let mode = |spec: &str| {
        format!(
            "apiVersion: weir.dev/v1alpha1\nkind: Mode\nmetadata: {{name: m}}\nspec: {{{spec}}}\n"
        )
    };
    expect(
        &mode("target: {workload: a}, mode: protct"),
        4,
        "spec.mode",
        &["did you mean protect?"],
    );
    expect(
        &mode("target: {workload: a}"),
        4,
        "spec.mode",
        &["sets nothing"],
    );
    expect(&mode("mode: protect"), 4, "spec.target", &["is missing"]);
    expect(
        &mode("target: {workload: a}, quarantine: 'true'"),
        4,
        "spec.quarantine",
        &["true or false"],
    );
    expect(
        &mode("target: {workload: a}, mode: "),
        4,
        "spec.mode",
        &["has no value"],
    );
    let settings = |spec: &str| {
        format!(
            "apiVersion: weir.dev/v1alpha1\nkind: Settings\nmetadata: {{name: s}}\nspec:\n  {spec}\n"
        )
    };
    expect(
        &settings("unknown: {holdMs: 60000}"),
        5,
        "spec.unknown.holdMs",
        &["10000 ms"],
    );
    expect(
        &settings("unknown: {holdMs: -1}"),
        5,
        "spec.unknown.holdMs",
        &["-1"],
    );
    expect(
        &settings("link: {etherTypes: [0x0800]}"),
        5,
        "spec.link.etherTypes[0]",
        &["IP"],
    );
    expect(&settings("denyStyle: rst"), 5, "spec.denyStyle", &["reset"]);
}

#[test]
fn two_mistakes_in_two_documents_are_both_told_and_the_third_document_is_read() {
    let text = format!(
        "{}---\n{}---\n{}",
        allowlist("ports: [x]"),
        allowlist("port: [1]"),
        allowlist("ports: [1]")
    );
    let (documents, problems) = parse_documents("shop.yaml", &text);
    assert_eq!(documents.len(), 1);
    let lines: Vec<u32> = problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [8, 17]);
}

#[test]
fn what_is_not_yaml_is_told_with_its_line() {
    expect(
        "apiVersion: weir.dev/v1alpha1\nkind: [Workload\nmetadata: {name: a}\n",
        3,
        "",
        &["not YAML"],
    );
    expect("a: 1\nb: 2\na: 3\n", 3, "", &["given twice", "line 1"]);
    expect("a: !!str x\n", 1, "", &["tag"]);
    expect("a: *b\n", 1, "", &[]);
    let tab = problems("a:\n\tb: 1\n");
    assert_eq!((tab.len(), tab[0].line), (1, 2), "{tab:?}");
}

#[test]
fn bombs_are_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let before = level - 1;
        let aliases = vec![format!("*a{before}"); 9].join(", ");
        bomb += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    let told = problems(&bomb);
    assert_eq!(told.len(), 1);
    assert!(
        told[0].message.contains("more than") && told[0].line > 1,
        "{told:?}"
    );

    let mut deep = "a0: &a0 [x]\n".to_owned();
    for level in 1..1000 {
        deep += &format!("a{level}: &a{level} [*a{}]\n", level - 1);
    }
    assert!(problems(&deep)[0].message.contains("nested"));

    assert!(
        problems(&"[".repeat(100_000))[0]
            .to_string()
            .contains("shop.yaml:1")
    );
    assert!(
        problems(&"- ".repeat(100_000))[0]
            .message
            .contains(&DEPTH_MAX.to_string())
    );
    assert!(
        problems(&"- a\n".repeat(NODES_MAX))[0]
            .message
            .contains("values")
    );
    let large = problems(&" ".repeat(FILE_BYTES_MAX + 1));
    assert!(large[0].message.contains("bytes") && large[0].next_step.contains("split"));
    let many = problems(&"---\nx\n".repeat(100_000));
    assert_eq!(many.len(), 101);
}

#[test]
fn aliases_within_reason_are_read() {
    let text = allowlist("ports: &ports [1, 2]\n      applications: [mysql]")
        + "    - {from: [{any: true}], ports: *ports}\n";
    let (documents, problems) = parse_documents("shop.yaml", &text);
    assert_eq!(problems, []);
    let [
        Located {
            value: Document::Allowlist(allowlist),
            ..
        },
    ] = documents.as_slice()
    else {
        panic!("one allowlist: {documents:?}")
    };
    assert_eq!(
        allowlist.spec.ingress[0].ports,
        allowlist.spec.ingress[1].ports
    );
}

#[test]
fn nothing_is_nothing() {
    for text in ["", "\n", "# only a comment\n", "---\n---\n", "\u{feff}"] {
        let (documents, problems) = parse_documents("shop.yaml", text);
        assert!(
            documents.is_empty() && problems.is_empty(),
            "{text:?}: {problems:?}"
        );
    }
}

/// A sensor whose pattern stands in line 6 and whose other fields stand in line 7.
fn sensor(pattern: &str, rest: &str) -> String {
    format!(
        "apiVersion: weir.dev/v1alpha1\nkind: Sensor\nmetadata: {{name: cards}}\n\
         spec:\n  patterns:\n    - {pattern}\n  {rest}\n"
    )
}

#[test]
fn mistakes_in_sensors_are_told() {
    let good = "{name: number, regex: x, where: [body]}";
    assert_eq!(problems(&sensor(good, "action: drop")), []);
    for (pattern, field, words) in [
        (
            "{name: number, where: [body]}",
            "",
            &["exactly one of regex, literals, words"][..],
        ),
        (
            "{name: number, regex: x, literals: [y], where: [body]}",
            "",
            &["exactly one"],
        ),
        ("{name: number, regex: x}", "", &["looks nowhere", "where:"]),
        ("{name: Number, regex: x, where: [body]}", ".name", &["a-z"]),
        (
            "{name: number, literals: [''], where: [body]}",
            ".literals[0]",
            &["1 to 256 bytes"],
        ),
        (
            "{name: number, words: [x], dataset: [y], where: [body]}",
            ".dataset",
            &["regex only"],
        ),
        (
            "{name: number, regex: x, entropy: 9, where: [body]}",
            ".entropy",
            &["0.001 to 8"],
        ),
        (
            "{name: number, regex: x, mask: all, where: [body]}",
            ".mask",
            &["card"],
        ),
        (
            "{name: number, regx: x, where: [body]}",
            ".regx",
            &["did you mean regex?"],
        ),
    ] {
        let field = format!("spec.patterns[0]{field}");
        expect(&sensor(pattern, "action: drop"), 6, &field, words);
    }
    let long = format!(
        "{{name: number, regex: {}, where: [body]}}",
        "x".repeat(1025)
    );
    expect(
        &sensor(&long, "action: drop"),
        6,
        "spec.patterns[0].regex",
        &["1025"],
    );
    for (rest, field, words) in [
        ("action: block", "spec.action", &["block", "drop"][..]),
        ("direction: out", "spec.direction", &["from"]),
        ("match: nummer", "spec.match", &["did you mean number?"]),
        ("match: {not: number}", "spec.match", &["always fire"]),
        ("match: {all: []}", "spec.match", &["always fire"]),
        (
            "match: {all: [number, {any: []}]}",
            "spec.match.all[1].any",
            &["says nothing"],
        ),
        ("match: {one: [number]}", "spec.match", &["unknown field"]),
        (
            "match: {all: [number], any: [number]}",
            "spec.match",
            &["exactly one"],
        ),
        ("threshold: {}", "spec.threshold", &["sets nothing"]),
        ("threshold: {flow: 0}", "spec.threshold.flow", &["1 to"]),
        (
            "threshold: {source: {matches: 2}}",
            "spec.threshold.source.withinS",
            &["is missing"],
        ),
        (
            "threshold: {source: {matches: 2, withinS: 90000}}",
            "spec.threshold.source.withinS",
            &["86400"],
        ),
    ] {
        let told = problems(&sensor(good, rest));
        let first = told.iter().find(|problem| problem.field == field);
        let Some(first) = first else {
            panic!("{rest}: {told:#?}");
        };
        assert_eq!(first.line, 7, "{first}");
        for word in words {
            assert!(
                told.iter().any(|one| one.to_string().contains(word)),
                "{told:#?}"
            );
        }
    }
}

#[test]
fn an_object_of_a_namespace_governs_that_namespace_alone() {
    let read = |kind: &str, namespace: &str, target: &str| {
        let mut object = serde_json::json!({
            "apiVersion": "weir.dev/v1alpha1", "kind": kind,
            "metadata": {"name": "a", "uid": "1", "managedFields": [{}]},
            "spec": {"target": serde_yaml_ng::from_str::<serde_json::Value>(target).unwrap()},
            "status": {"conditions": []},
        });
        if !namespace.is_empty() {
            object["metadata"]["namespace"] = namespace.into();
        }
        weir_model::from_object(&object, "allowlists/shop/a")
    };
    for target in [
        "{workload: a}",
        "{workload: shop/a}",
        "{matchLabels: {}}",
        "{namespace: shop}",
    ] {
        assert!(read("Allowlist", "shop", target).is_ok(), "{target}");
    }
    for target in [
        "{workload: bank/a}",
        "{namespace: bank}",
        "{namespaceSelector: {}}",
    ] {
        let told = read("Allowlist", "shop", target).unwrap_err()[0].to_string();
        for words in [
            "allowlists/shop/a: spec.target.",
            "belongs to namespace shop",
            "ClusterAllowlist",
        ] {
            assert!(told.contains(words), "{told}");
        }
        assert!(read("ClusterAllowlist", "", target).is_ok(), "{target}");
    }
    assert!(read("ClusterAllowlist", "", "{workload: a}").is_err());
    assert!(read("ClusterAllowlist", "shop", "{workload: shop/a}").is_err());
}
