//! The envelope that every document has: kind, metadata, spec.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Allowlist, Guardrail, LearnedProfile, ModeDocument, NameError, Namespace, ResponseRule, Sensor,
    Service, Settings, ThreatPolicy, Workload, name,
};

/// The group of Weir's custom resources.
pub const GROUP: &str = "weir.dev";

/// The version of Weir's custom resources.
pub const VERSION: &str = "v1alpha1";

/// The `apiVersion` of every document that this version of Weir reads and writes.
pub const API_VERSION: &str = "weir.dev/v1alpha1";

/// One row a kind: its documents' type, its name as written and in lower case, the plural by which
/// an API server knows it, whether its documents belong to a namespace, and what it is.
macro_rules! kinds {
    ($($kind:ident $type:ident $name:literal $lower:literal $plural:literal $namespaced:literal $about:literal,)*) => {
        /// One document, by its kind.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Document {
            $(#[doc = $about] $kind($type),)*
        }

        /// The kinds of documents, as written in `kind:`.
        #[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum Kind {
            $(#[doc = $about] $kind,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: [Kind; [$(Kind::$kind),*].len()] = [$(Kind::$kind),*];

            /// As written in `kind:`.
            pub const fn name(self) -> &'static str {
                match self { $(Kind::$kind => $name,)* }
            }

            /// In lower case, as in rule and file names.
            pub const fn lower(self) -> &'static str {
                match self { $(Kind::$kind => $lower,)* }
            }

            /// As an API server has it in paths: "allowlists".
            pub const fn plural(self) -> &'static str {
                match self { $(Kind::$kind => $plural,)* }
            }

            /// Whether its documents belong to a namespace. Others hold for the whole cluster, and
            /// the namespace of their metadata is empty.
            pub const fn is_namespaced(self) -> bool {
                match self { $(Kind::$kind => $namespaced,)* }
            }

            /// What it is, in a sentence.
            pub const fn about(self) -> &'static str {
                match self { $(Kind::$kind => $about,)* }
            }
        }

        impl Document {
            /// Its kind.
            pub const fn kind(&self) -> Kind {
                match self { $(Document::$kind(_) => Kind::$kind,)* }
            }

            /// Its metadata.
            pub const fn metadata(&self) -> &Metadata {
                match self { $(Document::$kind(document) => &document.metadata,)* }
            }

            /// Its metadata, to be changed.
            pub const fn metadata_mut(&mut self) -> &mut Metadata {
                match self { $(Document::$kind(document) => &mut document.metadata,)* }
            }
        }
    };
}

// In the order in which documents are looked at: those that others name come first.
kinds! {
    Namespace Namespace "Namespace" "namespace" "namespaces" false
        "The labels of a namespace, for selectors that ask for them.",
    Workload Workload "Workload" "workload" "workloads" true
        "Who owns which addresses: a named host, address set or pod owner.",
    Service Service "Service" "service" "services" true
        "A name and addresses that clients use for workloads.",
    Allowlist Allowlist "Allowlist" "allowlist" "allowlists" true
        "Who may reach a target, and whom it may reach.",
    ClusterAllowlist Allowlist "ClusterAllowlist" "clusterallowlist" "clusterallowlists" false
        "Who may reach a target, and whom it may reach, over all namespaces.",
    Mode ModeDocument "Mode" "mode" "modes" true
        "How far policy goes for a target.",
    Settings Settings "Settings" "settings" "settings" false
        "What holds for everything.",
    Sensor Sensor "Sensor" "sensor" "sensors" true
        "What is looked for in content.",
    ThreatPolicy ThreatPolicy "ThreatPolicy" "threatpolicy" "threatpolicies" true
        "What is done about threats, per target.",
    ResponseRule ResponseRule "ResponseRule" "responserule" "responserules" true
        "What is done of itself when something happens.",
    Guardrail Guardrail "Guardrail" "guardrail" "guardrails" false
        "What no document may say, however it came.",
    LearnedProfile LearnedProfile "LearnedProfile" "learnedprofile" "learnedprofiles" true
        "What was learned of a workload; written by Weir.",
}

/// A document's metadata and what it specifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource<S> {
    /// Its name and labels.
    pub metadata: Metadata,
    /// What it says; written under `status` where Weir itself is the author (LearnedProfile).
    pub spec: S,
}

/// Name, namespace, labels and annotations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Metadata {
    /// Unique among the documents of its kind and namespace; a DNS subdomain.
    #[serde(deserialize_with = "name::deserialize_name")]
    pub name: String,
    /// `default` where none is written; empty for kinds that belong to no namespace.
    #[serde(
        default = "default_namespace",
        skip_serializing_if = "String::is_empty",
        deserialize_with = "name::deserialize_namespace"
    )]
    pub namespace: String,
    /// What selectors match.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "name::deserialize_labels"
    )]
    pub labels: BTreeMap<String, String>,
    /// Notes that Weir does not read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Kind {
    /// The kind of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The field that holds what the document says.
    pub const fn body(self) -> &'static str {
        match self {
            Self::LearnedProfile => "status",
            _ => "spec",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Metadata {
    /// Metadata with nothing but a namespace and a name, both checked.
    pub fn new(namespace: &str, name: &str) -> Result<Self, NameError> {
        name::check_namespace(namespace)?;
        Ok(Self {
            namespace: namespace.to_owned(),
            ..Self::of_cluster(name)?
        })
    }

    /// Metadata of a document that belongs to no namespace, with nothing but a name, checked.
    pub fn of_cluster(name: &str) -> Result<Self, NameError> {
        name::check_name(name)?;
        Ok(Self {
            name: name.to_owned(),
            namespace: String::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        })
    }

    /// "shop/photo-db"; the name alone where it belongs to no namespace.
    pub fn full_name(&self) -> String {
        if self.namespace.is_empty() {
            return self.name.clone();
        }
        format!("{}/{}", self.namespace, self.name)
    }
}

impl Document {
    /// "allowlist shop/photo-db": how messages and rule names call it.
    pub fn title(&self) -> String {
        format!("{} {}", self.kind().lower(), self.metadata().full_name())
    }
}

fn default_namespace() -> String {
    "default".to_owned()
}
