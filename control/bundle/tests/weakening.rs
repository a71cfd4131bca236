//! What a change opens is told, in words that name it; and whatever the documents, a connection that the
//! old ones stop and the new ones let pass never goes untold: decisions of the compiled policy are the
//! judge.

use proptest::prelude::*;
use weir_bundle::weakening;
use weir_compile::compile;
use weir_l7::{Field, Value, registry};
use weir_model::{Document, Located, parse_documents};
use weir_policy::{Application, Question, Snapshot, WireAction};

const LIST: &str = "\
apiVersion: weir.dev/v1alpha1
kind: Allowlist
metadata: {name: db, namespace: shop}
spec:
  target: {workload: db}
  ingress:
    - from: [{workload: ai}, {cidr: 10.0.0.0/8, except: [10.9.0.0/16]}]
      applications: [mysql]
      ports: [3306]
    - {from: [{workload: old}], action: deny}
  egress:
    - {to: [{domain: '*.example.com'}], applications: [tls]}
    - {to: [{any: true}], applications: [http], when: [{field: http.path, prefix: [/api/]}]}
";
const MODE: &str = "\
apiVersion: weir.dev/v1alpha1
kind: Mode
metadata: {name: all, namespace: shop}
spec: {target: {matchLabels: {}}, mode: protect}
";
const SETTINGS: &str = "\
apiVersion: weir.dev/v1alpha1
kind: Settings
metadata: {name: settings}
spec: {unknown: {mode: protect, action: deny, holdMs: 100}, link: {mode: protect, etherTypes: [0x88cc]}}
";
const SENSOR: &str = "\
apiVersion: weir.dev/v1alpha1
kind: Sensor
metadata: {name: tokens, namespace: shop}
spec: {about: Tokens, target: {matchLabels: {}}, action: drop, where: [body], patterns: [{name: t, literals: [tok_]}]}
";

fn documents(text: &str) -> Vec<Document> {
    let (documents, problems) = parse_documents("x.yaml", text);
    assert_eq!(problems, [], "{text}");
    documents.into_iter().map(|located| located.value).collect()
}

/// What is told of a text in which `from` becomes `to`.
fn told(text: &str, from: &str, to: &str) -> Vec<String> {
    assert!(text.contains(from), "{from}");
    let changed = text.replacen(from, to, 1);
    let found = weakening(&documents(text), &documents(&changed));
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn what_opens_is_named() {
    let list = "allowlist shop/db";
    for (text, from, to, sentence) in [
        (LIST, "[3306]", "[3306, 3307]", format!("{list} ingress[0] allows more than before: wider ports")),
        (LIST, "      ports: [3306]\n", "", format!("{list} ingress[0] allows more than before: wider ports")),
        (LIST, "[mysql]", "[mysql, http]", format!("{list} ingress[0] allows more than before: wider applications")),
        (LIST, "10.0.0.0/8", "0.0.0.0/0", format!("{list} ingress[0] allows more than before: wider peers")),
        (LIST, ", except: [10.9.0.0/16]", "", format!("{list} ingress[0] allows more than before: wider peers")),
        (LIST, "{workload: ai}", "{matchLabels: {}}", format!("{list} ingress[0] allows more than before: wider peers")),
        (LIST, "/api/", "/", format!("{list} egress[1] allows more than before: wider conditions")),
        (LIST, "'*.example.com'", "'*.com'", format!("{list} egress[0] allows more than before: wider peers")),
        (LIST, ", action: deny", "", format!("{list} ingress[1] allows what it denied before")),
        (LIST, "{workload: db}", "{matchLabels: {}}", format!("{list} ingress[0] allows more than before: wider target")),
        (LIST, "    - {from: [{workload: old}], action: deny}\n", "", format!("{list} ingress[1] denied what no rule denies as widely now")),
        (LIST, "    - {from: [{workload: old}]", "    - {from: [{workload: old}], ports: [1]", format!("{list} ingress[1] denied what no rule denies as widely now")),
        (MODE, "protect", "monitor", "mode shop/all mode no longer holds all of shop to protect: monitor is what is left".into()),
        (MODE, "matchLabels: {}", "workload: db", "mode shop/all mode no longer holds all of shop to protect: discover is what is left".into()),
        (SETTINGS, "action: deny", "action: allow", "settings settings unknown.action goes from deny to allow".into()),
        (SETTINGS, "unknown: {mode: protect, action: deny, holdMs: 100}, ", "", "settings settings unknown.mode goes from protect to unmanaged".into()),
        (SETTINGS, "holdMs: 100", "holdMs: 10", "settings settings unknown.holdMs is shorter: packets of addresses that are not known yet pass earlier".into()),
        (SETTINGS, "link: {mode: protect", "link: {mode: monitor", "settings settings link.mode goes from protect to monitor".into()),
        (SETTINGS, "0x88cc", "0x88cc, 0x88e5", "settings settings link.etherTypes lets 0x88e5 through".into()),
        (SENSOR, "action: drop", "action: alert", "sensor shop/tokens action goes from drop to alert".into()),
        (SENSOR, "target: {matchLabels: {}}", "target: {workload: db}", "sensor shop/tokens target is another: some are no longer looked into".into()),
        (SENSOR, "tok_", "token_", "sensor shop/tokens looks for something else: what it no longer finds cannot be told".into()),
    ] {
        let told = told(text, from, to);
        assert!(told.contains(&sentence), "{from} to {to}: {told:?}");
    }
    let gone = |text: &str| weakening(&documents(text), &[]);
    assert_eq!(
        gone(SENSOR)[0].what,
        "is gone: nobody looks for its patterns any more"
    );
    assert_eq!(gone(MODE).len(), 1);
    let quarantine = MODE.replace("mode: protect", "quarantine: true");
    assert_eq!(
        gone(&quarantine)[0].what,
        "no longer keeps all of shop in quarantine"
    );
}

#[test]
fn what_only_closes_is_not() {
    for (text, from, to) in [
        (LIST, "[3306]", "[3306]  # as ever"),
        (LIST, "[{workload: ai}, ", "["),
        (LIST, "10.0.0.0/8", "10.0.0.0/9"),
        (LIST, "[/api/]", "[/api/v1/]"),
        (LIST, "prefix: [/api/]", "in: [/api/items]"),
        (
            LIST,
            "    - {from: [{workload: old}]",
            "    - {from: [{workload: old}, {workload: older}]",
        ),
        (
            LIST,
            "    - {to: [{domain",
            "    - {to: [{unknown: true}], action: deny}\n    - {to: [{domain",
        ),
        (SETTINGS, "0x88cc", ""),
        (SENSOR, "target: {matchLabels: {}}, ", ""),
        (SENSOR, "about: Tokens", "about: Tokens of the shop"),
    ] {
        assert_eq!(told(text, from, to), Vec::<String>::new(), "{from} to {to}");
    }
    let by_name = LIST.replace(", {cidr: 10.0.0.0/8, except: [10.9.0.0/16]}", "");
    assert_eq!(
        told(&by_name, "'*.example.com'", "api.example.com"),
        [""; 0]
    );
    assert_eq!(weakening(&[], &documents(MODE)), []);
    assert_eq!(weakening(&[], &documents(SENSOR)), []);
    let all = [LIST, MODE, SETTINGS, SENSOR].join("---\n");
    let mut turned = documents(&all);
    turned.reverse();
    assert_eq!(weakening(&documents(&all), &turned), []);
}

#[test]
fn naming_the_unknown_takes_it_out_of_their_policy() {
    let empty = "spec: {target: {workload: db}}\n";
    let head = LIST.split("spec:").next().unwrap();
    let before = format!("{SETTINGS}---\n{head}{empty}");
    let denied =
        "spec: {target: {workload: db}, ingress: [{from: [{cidr: 192.0.2.0/24}], action: deny}]}\n";
    let sentence =
        "allowlist shop/db names 192.0.2.0/24, whose addresses are no longer unknown and denied";
    assert_eq!(told(&before, empty, denied), [sentence]);
    assert_eq!(
        told(
            &before.replace("action: deny", "action: allow"),
            empty,
            denied
        ),
        [""; 0]
    );
}

/// Taking an allow away opens, where what it named becomes unknown to another rule of its allowlist.
#[test]
fn what_is_no_longer_named_may_be_unknown() {
    let text = LIST.replace(
        "    - {from: [{workload: old}], action: deny}\n",
        "    - from: [{unknown: true}]\n",
    );
    let told = told(&text, ", {cidr: 10.0.0.0/8, except: [10.9.0.0/16]}", "");
    assert_eq!(
        told,
        ["allowlist shop/db ingress[1] allows more than before: wider peers"]
    );
}

#[test]
fn addresses_that_change_their_world_are_told() {
    let addresses = "\
apiVersion: weir.dev/v1alpha1
kind: Allowlist
metadata: {name: jobs, namespace: shop}
spec: {target: {workload: jobs}, egress: [{to: [{cidr: 192.0.2.0/24}]}]}
---
";
    let text = format!("{addresses}{LIST}");
    let gone = told(
        &text,
        "    - {to: [{domain: '*.example.com'}], applications: [tls]}\n",
        "",
    );
    assert_eq!(
        gone,
        [
            "allowlist shop/jobs egress[0] holds for the addresses of *.example.com too, which is no longer named"
        ]
    );
}

#[test]
fn who_signed_workloads_are_is_part_of_policy() {
    let host = "\
apiVersion: weir.dev/v1alpha1
kind: Workload
metadata: {name: billing, namespace: outside}
spec: {addresses: [192.0.2.7]}
";
    let sentence = told(host, "192.0.2.7", "192.0.2.8");
    assert_eq!(
        sentence,
        ["workload outside/billing is someone else: labels or addresses differ"]
    );
    assert_eq!(weakening(&documents(host), &[]).len(), 1);
    assert_eq!(weakening(&[], &documents(host)).len(), 1);
}

// --- the law

const WORKLOADS: &str = "\
apiVersion: weir.dev/v1alpha1
kind: Namespace
metadata: {name: blue, labels: {env: prod}}
---
apiVersion: weir.dev/v1alpha1
kind: Workload
metadata: {name: a, namespace: red, labels: {x: '1'}}
spec: {addresses: [10.0.0.1, 'fd00::1']}
---
apiVersion: weir.dev/v1alpha1
kind: Workload
metadata: {name: b, namespace: red, labels: {x: '1', y: '1'}}
spec: {addresses: [10.0.1.1]}
---
apiVersion: weir.dev/v1alpha1
kind: Workload
metadata: {name: a, namespace: blue}
spec: {addresses: [10.0.0.2]}
---
apiVersion: weir.dev/v1alpha1
kind: Service
metadata: {name: front, namespace: red}
spec: {workload: b, addresses: [10.96.0.1]}
---
";
const PEERS: [&str; 14] = [
    "{any: true}",
    "{unknown: true}",
    "{workload: red/a}",
    "{workload: blue/a}",
    "{matchLabels: {}}",
    "{matchLabels: {x: '1'}}",
    "{matchLabels: {x: '1', y: '1'}}",
    "{service: red/front}",
    "{cidr: 10.0.0.0/16}",
    "{cidr: 10.0.0.0/24, except: [10.0.0.2/32]}",
    "{cidr: 192.0.2.0/24}",
    "{cidr: 0.0.0.0/0}",
    "{cidr: '::/0'}",
    "{domain: '*.example.com'}",
];
const DOMAIN: &str = "{domain: api.example.com}";
const TARGETS: [&str; 8] = [
    "{workload: red/a}",
    "{matchLabels: {}, namespace: red}",
    "{matchLabels: {x: '1'}, namespace: red}",
    "{workload: blue/a}",
    "{matchExpressions: [{key: x, operator: Exists}], namespaceSelector: {}}",
    "{matchExpressions: [{key: x, operator: In, values: ['1', '2']}], namespace: red}",
    "{matchExpressions: [{key: y, operator: DoesNotExist}], namespace: red}",
    "{matchLabels: {}, namespaceSelector: {matchExpressions: [{key: env, operator: NotIn, values: [test]}]}}",
];
const TERMS: [&str; 7] = [
    "",
    ", applications: [http]",
    ", applications: [mysql, http]",
    ", applications: [mysql], ports: [3306]",
    ", ports: ['80-8080']",
    ", protocols: [tcp], ports: [80]",
    ", protocols: [udp]",
];
const WHENS: [&str; 4] = [
    "",
    ", when: [{field: http.path, prefix: [/api]}]",
    ", when: [{field: http.path, prefix: [/api/v1, /pub]}]",
    ", when: [{field: http.path, in: [/api/v1/x], suffix: [x]}]",
];
const STAGES: [&str; 6] = [
    "",
    "",
    "",
    "stage: draft, ",
    "stage: monitor, ",
    "stage: protect, ",
];
const MODES: [&str; 3] = ["discover", "monitor", "protect"];
const SETTINGS_SPECS: [&str; 4] = [
    "{}",
    "{unknown: {mode: protect, action: deny}}",
    "{unknown: {mode: monitor, action: deny}}",
    "{unknown: {mode: protect}}",
];

#[derive(Clone, Debug)]
struct RuleChoice {
    peers: Vec<usize>,
    terms: usize,
    when: usize,
    deny: bool,
    egress: bool,
}

#[derive(Clone, Debug)]
struct Policy {
    /// Target, stage, rules.
    lists: Vec<(usize, usize, Vec<RuleChoice>)>,
    modes: Vec<(usize, usize, bool)>,
    settings: usize,
}

fn rule_choice() -> impl Strategy<Value = RuleChoice> {
    let peers = proptest::collection::vec(0..=PEERS.len(), 1..3);
    (
        peers,
        0..TERMS.len(),
        0..WHENS.len() * 2,
        0..4,
        any::<bool>(),
    )
        .prop_map(|(peers, terms, when, deny, egress)| RuleChoice {
            peers,
            terms,
            when: if when < WHENS.len() { when } else { 0 },
            deny: deny == 0,
            egress,
        })
}

fn policy() -> impl Strategy<Value = Policy> {
    let list = (
        0..TARGETS.len(),
        0..STAGES.len(),
        proptest::collection::vec(rule_choice(), 0..4),
    );
    let mode = (0..TARGETS.len(), 0..MODES.len() * 2, 0..8);
    (
        proptest::collection::vec(list, 1..3),
        proptest::collection::vec(mode, 1..3),
        0..SETTINGS_SPECS.len(),
    )
        .prop_map(|(lists, modes, settings)| Policy {
            lists,
            modes: modes
                .into_iter()
                .map(|(target, mode, quarantine)| {
                    (target, mode.min(MODES.len() - 1), quarantine == 0)
                })
                .collect(),
            settings,
        })
}

/// A few small changes: most of them close, or move things about.
fn changed(mut policy: Policy, changes: &[(usize, usize, RuleChoice)]) -> Policy {
    for (place, what, other) in changes {
        let place = *place;
        match what % 10 {
            9 => {
                let index = place % policy.lists.len();
                policy.lists[index].1 = place / 3 % STAGES.len();
            }
            0 => policy.settings = place % SETTINGS_SPECS.len(),
            1 => {
                let index = place % policy.modes.len();
                policy.modes[index] = (place / 3 % TARGETS.len(), place % MODES.len(), other.deny);
            }
            2 => {
                let index = place % policy.lists.len();
                policy.lists[index].0 = place / 3 % TARGETS.len();
            }
            3 => {
                let index = place % policy.lists.len();
                policy.lists[index].2.push(other.clone());
            }
            change => {
                let index = place % policy.lists.len();
                let rules = &mut policy.lists[index].2;
                if rules.is_empty() {
                    continue;
                }
                let index = place / 7 % rules.len();
                match change {
                    4 => drop(rules.remove(index)),
                    5 => rules[index].peers = other.peers.clone(),
                    6 => rules[index].terms = other.terms,
                    7 => rules[index].when = other.when,
                    _ => rules[index].deny = other.deny,
                }
            }
        }
    }
    policy
}

fn text(policy: &Policy) -> String {
    let mut text = String::new();
    let head = |kind: &str, name: String| {
        format!(
            "apiVersion: weir.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}, namespace: red}}\n"
        )
    };
    for (index, (target, stage, rules)) in policy.lists.iter().enumerate() {
        let written = |egress: bool| {
            let of = rules.iter().filter(|rule| rule.egress == egress);
            let of: Vec<String> = of.map(|rule| rule_text(rule, egress)).collect();
            of.join(", ")
        };
        // The second of them is for the whole cluster.
        text.push_str(&match index {
            1 => head("ClusterAllowlist", "list1".into()).replace(", namespace: red", ""),
            _ => head("Allowlist", format!("list{index}")),
        });
        text.push_str(&format!(
            "spec: {{target: {}, {}ingress: [{}], egress: [{}]}}\n---\n",
            TARGETS[*target],
            STAGES[*stage],
            written(false),
            written(true)
        ));
    }
    for (index, (target, mode, quarantine)) in policy.modes.iter().enumerate() {
        text.push_str(&head("Mode", format!("mode{index}")));
        let (target, mode) = (TARGETS[*target], MODES[*mode]);
        text.push_str(&format!(
            "spec: {{target: {target}, mode: {mode}, quarantine: {quarantine}}}\n---\n"
        ));
    }
    text.push_str(&head("Settings", "settings".into()).replace(", namespace: red", ""));
    text.push_str(&format!("spec: {}\n", SETTINGS_SPECS[policy.settings]));
    text
}

fn rule_text(rule: &RuleChoice, egress: bool) -> String {
    let peers = rule.peers.iter().map(|&peer| match PEERS.get(peer) {
        Some(peer) if egress || !peer.contains("domain") => *peer,
        None if egress => DOMAIN,
        _ => PEERS[10],
    });
    let peers: Vec<&str> = peers.collect();
    // Conditions imply http, which is all that such a rule may name.
    let (terms, when) = match WHENS[rule.when] {
        "" => (TERMS[rule.terms], ""),
        when => (TERMS[rule.terms % 2], when),
    };
    let (word, action) = (
        if egress { "to" } else { "from" },
        if rule.deny { "deny" } else { "allow" },
    );
    format!(
        "{{{word}: [{}]{terms}{when}, action: {action}}}",
        peers.join(", ")
    )
}

fn snapshot(policy: &Policy) -> Snapshot {
    let documents = documents(&format!("{WORKLOADS}{}", text(policy)));
    let located = documents
        .into_iter()
        .map(|document| Located::unplaced(document, "test"));
    let compiled = compile(&located.collect::<Vec<_>>(), None);
    assert_eq!(compiled.problems, []);
    Snapshot::build(compiled.spec).unwrap()
}

/// Who that is for this policy: a workload, an address, or the address of a domain.
fn identity(snapshot: &Snapshot, end: &str) -> u32 {
    if let Ok(address) = end.parse() {
        return snapshot.identity_of(0, weir_wire::from_ip_address(address));
    }
    if end.contains('/') {
        return snapshot.identity_by_name(end).unwrap();
    }
    let known = snapshot.name_identity(end.as_bytes());
    known.unwrap_or_else(|| identity(snapshot, "192.0.2.1"))
}

fn stopped(snapshot: &Snapshot, client: &str, server: &str, asked: (&str, u8, u16, &str)) -> bool {
    let (application, protocol, server_port, path) = asked;
    let field = registry::field("http.path").unwrap();
    let fields = [Field {
        index: field.index,
        value: Value::Bytes(path.as_bytes()),
    }];
    let question = Question {
        client: identity(snapshot, client),
        server: identity(snapshot, server),
        protocol,
        server_port,
        application: Application::Known(registry::by_name(application).unwrap()),
        request: (application == "http").then_some(&fields),
    };
    snapshot.decide(&question).wire_action != WireAction::Forward
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn nothing_opens_untold(
        old in policy(),
        changes in proptest::collection::vec((any::<usize>(), any::<usize>(), rule_choice()), 0..3),
    ) {
        let new = changed(old.clone(), &changes);
        let told = weakening(&documents(&text(&old)), &documents(&text(&new)));
        if !told.is_empty() {
            return Ok(());
        }
        let (before, after) = (snapshot(&old), snapshot(&new));
        let ends = ["red/a", "red/b", "blue/a", "10.0.0.77", "10.96.0.9", "192.0.2.1", "203.0.113.1", "fd77::1", "api.example.com", "b.example.com", "example.org"];
        let asked = [
            ("mysql", 6, 3306, ""), ("mysql", 6, 80, ""), ("unknown", 17, 53, ""), ("unknown", 1, 0, ""),
            ("http", 6, 80, "/"), ("http", 6, 8080, "/api/v1/x"), ("http", 6, 80, "/public"),
        ];
        for client in ends {
            for server in ends {
                for asked in asked {
                    let opens = stopped(&before, client, server, asked) && !stopped(&after, client, server, asked);
                    prop_assert!(!opens, "{client} to {server} {asked:?}\n{}\nbecomes\n{}", text(&old), text(&new));
                }
            }
        }
    }
}
