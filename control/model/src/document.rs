//! The envelope that every document has: kind, metadata, spec.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Allowlist, ModeDocument, NameError, Sensor, Service, Settings, Workload, name};

/// The `apiVersion` of every document that this version of Weir reads and writes.
pub const API_VERSION: &str = "weir.dev/v1alpha1";

/// One document, by its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// Who owns which addresses.
    Workload(Workload),
    /// Who may reach a target, and whom it may reach.
    Allowlist(Allowlist),
    /// How far policy goes for a target.
    Mode(ModeDocument),
    /// What holds for everything.
    Settings(Settings),
    /// A name and addresses that clients use for a workload.
    Service(Service),
    /// What is looked for in content.
    Sensor(Sensor),
}

/// The kinds of documents, as written in `kind:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `Workload`
    Workload,
    /// `Allowlist`
    Allowlist,
    /// `Mode`
    Mode,
    /// `Settings`
    Settings,
    /// `Service`
    Service,
    /// `Sensor`
    Sensor,
}

/// A document's metadata and what it specifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource<S> {
    /// Its name and labels.
    pub metadata: Metadata,
    /// What it says.
    pub spec: S,
}

/// Name, namespace, labels and annotations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Metadata {
    /// Unique among the documents of its kind and namespace; a DNS label.
    #[serde(deserialize_with = "name::deserialize_name")]
    pub name: String,
    /// `default` where none is written.
    #[serde(
        default = "default_namespace",
        deserialize_with = "name::deserialize_name"
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
    /// Every kind.
    pub const ALL: [Kind; 6] = [
        Kind::Workload,
        Kind::Service,
        Kind::Allowlist,
        Kind::Mode,
        Kind::Settings,
        Kind::Sensor,
    ];

    /// As written in `kind:`.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Workload => "Workload",
            Kind::Allowlist => "Allowlist",
            Kind::Mode => "Mode",
            Kind::Settings => "Settings",
            Kind::Service => "Service",
            Kind::Sensor => "Sensor",
        }
    }

    /// In lower case, as in rule and file names.
    pub const fn lower(self) -> &'static str {
        match self {
            Kind::Workload => "workload",
            Kind::Allowlist => "allowlist",
            Kind::Mode => "mode",
            Kind::Settings => "settings",
            Kind::Service => "service",
            Kind::Sensor => "sensor",
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
        name::check_name(namespace)?;
        name::check_name(name)?;
        Ok(Self {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        })
    }

    /// "shop/photo-db".
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

impl Document {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Document::Workload(_) => Kind::Workload,
            Document::Allowlist(_) => Kind::Allowlist,
            Document::Mode(_) => Kind::Mode,
            Document::Settings(_) => Kind::Settings,
            Document::Service(_) => Kind::Service,
            Document::Sensor(_) => Kind::Sensor,
        }
    }

    /// Its metadata.
    pub const fn metadata(&self) -> &Metadata {
        match self {
            Document::Workload(document) => &document.metadata,
            Document::Allowlist(document) => &document.metadata,
            Document::Mode(document) => &document.metadata,
            Document::Settings(document) => &document.metadata,
            Document::Service(document) => &document.metadata,
            Document::Sensor(document) => &document.metadata,
        }
    }

    /// "allowlist shop/photo-db": how messages and rule names call it.
    pub fn title(&self) -> String {
        format!("{} {}", self.kind().lower(), self.metadata().full_name())
    }
}

pub(crate) fn default_namespace() -> String {
    "default".to_owned()
}
