//! Random documents that meet often: few names, few networks, everything that can be written.

use std::sync::Arc;

use weir_compile::{Change, Key};
use weir_model::{Document, Located, parse_documents};

/// Throws of dice: what comes of equal ones is equal.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % sides
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    fn some(&mut self, choices: &[&str], most: usize) -> String {
        let mut all: Vec<&str> = (0..self.below(most + 1))
            .map(|_| self.of(choices))
            .collect();
        all.dedup();
        all.join(", ")
    }
}

/// Everybody's mode, as long as nothing takes it away.
pub const ALL_PROTECTED: &str = "
apiVersion: weir.dev/v1alpha1
kind: ClusterAllowlist
metadata: {name: everybody}
spec: {target: {matchLabels: {}}, stage: protect}
";

const SPACES: [&str; 2] = ["red", "blue"];
const NAMES: [&str; 3] = ["a", "b", "c"];
const PLACES: [&str; 9] = [
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.3",
    "10.0.0.4",
    "10.0.0.0/30",
    "10.0.0.4/31",
    "'fd00::1'",
    "'fd00::2'",
    "10.0.0.0/8",
];
const NETWORKS: [&str; 7] = [
    "10.0.0.0/8",
    "10.0.0.0/30",
    "10.0.0.2",
    "10.0.0.4/31",
    "'fd00::/64'",
    "0.0.0.0/0",
    "'::/0'",
];
const LABELS: [&str; 5] = ["x: '1'", "x: '2'", "y: '1'", "x: '1', y: '1'", ""];
const EXPRESSIONS: [&str; 4] = [
    "{key: x, operator: In, values: ['1', '2']}",
    "{key: x, operator: NotIn, values: ['1']}",
    "{key: y, operator: Exists}",
    "{key: y, operator: DoesNotExist}",
];

fn selector(dice: &mut Dice, cluster: bool) -> String {
    let named = |dice: &mut Dice| match cluster || dice.below(3) == 0 {
        true => format!("workload: {}/{}", dice.of(&SPACES), dice.of(&NAMES)),
        false => format!("workload: {}", dice.of(&NAMES)),
    };
    let labels = |dice: &mut Dice| format!("matchLabels: {{{}}}", dice.of(&LABELS));
    match dice.below(7) {
        0 | 1 => named(dice),
        2 => labels(dice),
        3 => format!("{}, namespace: {}", labels(dice), dice.of(&SPACES)),
        4 => format!("matchExpressions: [{}]", dice.of(&EXPRESSIONS)),
        5 => format!(
            "{}, namespaceSelector: {{matchLabels: {{{}}}}}",
            labels(dice),
            dice.of(&LABELS)
        ),
        _ => format!(
            "matchExpressions: [{}], namespaceSelector: {{matchExpressions: [{}]}}",
            dice.of(&EXPRESSIONS),
            dice.of(&EXPRESSIONS)
        ),
    }
}

fn peer(dice: &mut Dice, cluster: bool, egress: bool) -> String {
    match dice.below(10) {
        0..=3 => format!("{{{}}}", selector(dice, cluster)),
        4 | 5 => {
            let network = dice.of(&NETWORKS);
            match (network, dice.below(2)) {
                ("10.0.0.0/8" | "0.0.0.0/0", 0) => {
                    format!(
                        "{{cidr: {network}, except: [{}]}}",
                        dice.of(&["10.0.0.1", "10.0.0.0/30"])
                    )
                }
                _ => format!("{{cidr: {network}}}"),
            }
        }
        6 => format!("{{service: {}/{}}}", dice.of(&SPACES), dice.of(&NAMES)),
        7 => "{unknown: true}".to_owned(),
        8 if egress => format!(
            "{{domain: '{}'}}",
            dice.of(&["*.com", "a.com", "*.b.com", "org"])
        ),
        _ => "{any: true}".to_owned(),
    }
}

fn rules(dice: &mut Dice, cluster: bool, egress: bool) -> String {
    let word = if egress { "to" } else { "from" };
    let rules = (0..dice.below(3)).map(|_| {
        let peers: Vec<String> = (0..1 + dice.below(2))
            .map(|_| peer(dice, cluster, egress))
            .collect();
        let action = dice.of(&["allow", "allow", "deny"]);
        let terms = dice.of(&[
            "",
            ", ports: [80]",
            ", applications: [mysql]",
            ", applications: [nonsense]",
        ]);
        format!(
            "{{{word}: [{}], action: {action}{terms}}}",
            peers.join(", ")
        )
    });
    let rules: Vec<String> = rules.collect();
    rules.join(", ")
}

fn metadata(dice: &mut Dice) -> String {
    format!("name: {}, namespace: {}", dice.of(&NAMES), dice.of(&SPACES))
}

/// A document that can be read, though not always taken.
pub fn document(dice: &mut Dice) -> String {
    let (kind, metadata, spec) = match dice.below(17) {
        0..=4 => {
            let zone = dice.of(&["", "", "", ", zone: 1", ", zone: 2"]);
            let nodes = dice.of(&["", ", nodes: [n1]", ", nodes: [n2]", ", nodes: [n1, n2]"]);
            let account = dice.of(&["", ", serviceAccount: robot"]);
            let spec = format!(
                "addresses: [{}]{zone}{nodes}{account}",
                dice.some(&PLACES, 3)
            );
            let metadata = format!("{}, labels: {{{}}}", metadata(dice), dice.of(&LABELS));
            ("Workload", metadata, spec)
        }
        5 => (
            "Namespace",
            format!(
                "name: {}, labels: {{{}}}",
                dice.of(&SPACES),
                dice.of(&LABELS)
            ),
            String::new(),
        ),
        6 | 7 => {
            let workloads = match dice.below(7) {
                2 => format!("externalName: {}", dice.of(&["a.com", "x.b.com"])),
                0 | 1 => format!(
                    "workloads: [{}, {}]",
                    dice.of(&NAMES),
                    dice.of(&["red/a", "blue/b"])
                ),
                _ => format!("workload: {}", dice.of(&NAMES)),
            };
            let disputed = dice.of(&["", "", ", disputedAddresses: [8.8.8.8, 'fd00::1']"]);
            let spec = format!(
                "{workloads}, addresses: [{}]{disputed}",
                dice.some(&PLACES, 1)
            );
            ("Service", metadata(dice), spec)
        }
        kind @ 8..=11 => {
            let cluster = kind == 11;
            let stage = dice.of(&[
                "",
                "",
                ", stage: draft",
                ", stage: monitor",
                ", stage: protect",
            ]);
            let spec = format!(
                "target: {{{}}}{stage}, ingress: [{}], egress: [{}]",
                selector(dice, cluster),
                rules(dice, cluster, false),
                rules(dice, cluster, true)
            );
            match cluster {
                true => (
                    "ClusterAllowlist",
                    format!("name: {}", dice.of(&NAMES)),
                    spec,
                ),
                false => ("Allowlist", metadata(dice), spec),
            }
        }
        12 | 13 => {
            let spec = format!(
                "target: {{{}}}, mode: {}, quarantine: {}",
                selector(dice, false),
                dice.of(&["discover", "monitor", "protect", "protect"]),
                dice.of(&["false", "false", "true"])
            );
            ("Mode", metadata(dice), spec)
        }
        14 => (
            "Settings",
            format!("name: {}", dice.of(&NAMES)),
            dice.of(&[
                "denyStyle: drop",
                "unknown: {mode: protect, action: deny}",
                "unknown: {action: deny}",
            ])
            .to_owned(),
        ),
        15 => {
            let target = match dice.below(2) {
                0 => String::new(),
                _ => format!("target: {{{}}}, ", selector(dice, false)),
            };
            let spec = format!("{target}where: [body], patterns: [{{name: p, literals: [k]}}]");
            ("Sensor", metadata(dice), spec)
        }
        _ => {
            let spec = format!(
                "target: {{{}}}, rules: [{{threats: [{}], action: {}}}]",
                selector(dice, false),
                dice.of(&["heartbleed", "'1001'", "'*'", "nonsense"]),
                dice.of(&["alert", "drop", "ignore"])
            );
            ("ThreatPolicy", metadata(dice), spec)
        }
    };
    format!(
        "apiVersion: weir.dev/v1alpha1\nkind: {kind}\nmetadata: {{{metadata}}}\nspec: {{{spec}}}\n"
    )
}

/// As a source tells it.
pub fn read(text: &str) -> Arc<Located<Document>> {
    let (documents, problems) = parse_documents("history.yaml", text);
    assert_eq!(problems, [], "{text}");
    Arc::new(documents.into_iter().next().unwrap())
}

/// A change: most of them put something, some take away what may be there.
pub fn change(dice: &mut Dice) -> Change {
    let document = read(&document(dice));
    match dice.below(4) {
        0 => Change::Remove(Key::of(&document.value)),
        _ => Change::Put(document),
    }
}
