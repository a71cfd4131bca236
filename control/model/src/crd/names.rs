//! How kubectl calls and shows each kind.

use serde_json::{Value, json};

use crate::document::Kind;

pub(super) struct Names {
    pub(super) singular: &'static str,
    pub(super) short: &'static [&'static str],
    pub(super) categories: &'static [&'static str],
    pub(super) columns: Vec<Column>,
}

/// A column of `kubectl get`; wide ones show with `-o wide` only.
pub(super) struct Column {
    name: &'static str,
    form: &'static str,
    path: &'static str,
    wide: bool,
    about: &'static str,
}

const ALL: &[&str] = &["weir"];
const POLICY: &[&str] = &["weir", "weir-policy"];

const ACCEPTED: Column = Column {
    name: "Accepted",
    form: "string",
    path: r#".status.conditions[?(@.type=="Accepted")].status"#,
    wide: false,
    about: "Whether Weir took it as it is.",
};
const PROGRAMMED: Column = Column {
    name: "Programmed",
    form: "string",
    path: ".status.programmed",
    wide: false,
    about: "Nodes that enforce it, of those that need it.",
};
const AGE: Column = Column {
    name: "Age",
    form: "date",
    path: ".metadata.creationTimestamp",
    wide: false,
    about: "Since it was made.",
};
const RULES: Column = wide(
    "Rules",
    "integer",
    ".status.rules",
    "Rules that came of it.",
);
const TARGETS: Column = wide(
    "Targets",
    "integer",
    ".status.targets",
    "Workloads that it is for.",
);
const HITS: Column = wide(
    "Hits",
    "integer",
    ".status.hits",
    "Connections and requests that it decided.",
);
const RESOLVED: Column = wide(
    "Resolved",
    "string",
    r#".status.conditions[?(@.type=="ResolvedRefs")].status"#,
    "Whether everything that it names exists.",
);
const DEGRADED: Column = wide(
    "Degraded",
    "string",
    r#".status.conditions[?(@.type=="Degraded")].status"#,
    "Whether it holds in part only.",
);
const REASON: Column = wide(
    "Message",
    "string",
    r#".status.conditions[?(@.type=="Accepted")].message"#,
    "Why it was not accepted.",
);

const fn wide(
    name: &'static str,
    form: &'static str,
    path: &'static str,
    about: &'static str,
) -> Column {
    Column {
        wide: true,
        ..shown(name, form, path, about)
    }
}

const fn shown(
    name: &'static str,
    form: &'static str,
    path: &'static str,
    about: &'static str,
) -> Column {
    Column {
        name,
        form,
        path,
        wide: false,
        about,
    }
}

impl Column {
    pub(super) fn object(&self) -> Value {
        let mut object = json!({
            "name": self.name,
            "type": self.form,
            "jsonPath": self.path,
            "description": self.about,
        });
        if self.wide {
            object["priority"] = 1.into();
        }
        object
    }
}

/// The row of a kind.
pub(super) fn of(kind: Kind) -> Names {
    let text = |name, path, about| shown(name, "string", path, about);
    let (short, categories, own): (&[&str], _, Vec<Column>) = match kind {
        Kind::Namespace => (&[], ALL, vec![]),
        Kind::Workload => (
            &["wwl"],
            ALL,
            vec![
                text("Owner", ".spec.owner", "The kind that owns its pods."),
                text("Account", ".spec.serviceAccount", "The account it runs as."),
            ],
        ),
        Kind::Service => (
            &["wsvc"],
            ALL,
            vec![text("Workload", ".spec.workload", "Who answers.")],
        ),
        Kind::Allowlist => (&["wal"], POLICY, vec![stage()]),
        Kind::ClusterAllowlist => (&["wcal"], POLICY, vec![stage()]),
        Kind::Mode => (
            &["wmode"],
            POLICY,
            vec![
                text("Mode", ".spec.mode", "How far policy goes."),
                shown(
                    "Quarantine",
                    "boolean",
                    ".spec.quarantine",
                    "Nothing passes.",
                ),
            ],
        ),
        Kind::Settings => (&["wset"], POLICY, vec![]),
        Kind::Sensor => (
            &["wsen"],
            POLICY,
            vec![text(
                "Action",
                ".spec.action",
                "What it does when it fires.",
            )],
        ),
        Kind::ThreatPolicy => (&["wtp"], POLICY, vec![]),
        Kind::ResponseRule => (
            &["wrr"],
            POLICY,
            vec![text(
                "Expires",
                ".spec.expires",
                "From then on it does nothing.",
            )],
        ),
        Kind::Guardrail => (
            &["wgr"],
            POLICY,
            vec![text(
                "Enforcement",
                ".spec.enforcement",
                "What happens to a document that it refuses.",
            )],
        ),
        Kind::LearnedProfile => (
            &["wlp"],
            ALL,
            vec![
                text("Owner", ".status.owner", "The kind that owns the pods."),
                shown(
                    "Conversations",
                    "integer",
                    ".status.known",
                    "How many it takes part in.",
                ),
                text(
                    "Coverage",
                    ".status.coverage",
                    "How likely the next conversation was seen before.",
                ),
                shown(
                    "Ready",
                    "boolean",
                    ".status.ready",
                    "Whether nothing is missing for protect.",
                ),
                shown(
                    "Last-Seen",
                    "date",
                    ".status.lastSeen",
                    "When any of its conversations was seen last.",
                ),
            ],
        ),
    };
    let common = match kind {
        Kind::LearnedProfile => vec![AGE],
        Kind::Guardrail | Kind::ResponseRule => vec![ACCEPTED, AGE, HITS, REASON],
        Kind::Workload | Kind::Service => vec![ACCEPTED, PROGRAMMED, AGE, REASON],
        _ => vec![
            ACCEPTED, PROGRAMMED, AGE, TARGETS, RULES, HITS, RESOLVED, DEGRADED, REASON,
        ],
    };
    Names {
        // kubectl would otherwise have two words for one.
        singular: match kind {
            Kind::Settings => "setting",
            kind => kind.lower(),
        },
        short,
        categories,
        columns: own.into_iter().chain(common).collect(),
    }
}

fn stage() -> Column {
    shown(
        "Stage",
        "string",
        ".spec.stage",
        "How far it goes; without one, Mode documents say.",
    )
}
