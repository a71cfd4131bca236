//! Which workloads are meant: by name, or by their labels and those of their namespaces.
//!
//! Labels select as Kubernetes has it: all of `matchLabels` and all of `matchExpressions` must hold.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Metadata, Reference, name};

/// The label that every namespace has, with its name as the value, whether somebody wrote it or not.
pub const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Selects workloads: `{workload: name}`, or `{matchLabels: {…}, matchExpressions: […]}` with
/// `namespace: name` or `namespaceSelector: {…}`.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawSelector", into = "RawSelector")]
pub enum Selector {
    /// The workload of this name.
    Name(Reference),
    /// Every workload of the namespaces that has these labels.
    Labels {
        /// The labels of the workload; empty selects every workload of the namespaces.
        labels: LabelSelector,
        /// The namespaces.
        namespaces: Namespaces,
    },
}

/// In which namespaces a selector looks.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Namespaces {
    /// The document's own; every namespace, where the document belongs to none (ClusterAllowlist).
    #[default]
    Own,
    /// `namespace:`, this one.
    Named(String),
    /// `namespaceSelector:`, those whose labels match; `{}` is every namespace.
    Selected(LabelSelector),
}

/// Labels as Kubernetes selects by them. Empty matches everything.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LabelSelector {
    /// All must be equal.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "name::deserialize_labels"
    )]
    pub match_labels: BTreeMap<String, String>,
    /// All must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Expression>,
}

/// What is asked of one label: `{key: tier, operator: In, values: [web, api]}`.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawExpression", into = "RawExpression")]
pub struct Expression {
    /// The label.
    pub key: String,
    /// What of it.
    pub operator: Operator,
    /// For `In` and `NotIn`: at least one. Empty for the others.
    pub values: Vec<String>,
}

/// What an expression asks.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Operator {
    /// The label is there, with one of the values.
    In,
    /// The label is not there, or has none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

/// As written.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawSelector {
    /// The workload of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) workload: Option<Reference>,
    /// Workloads with all of these labels.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "name::deserialize_optional_labels"
    )]
    pub(crate) match_labels: Option<BTreeMap<String, String>>,
    /// Workloads for whose labels all of these hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) match_expressions: Option<Vec<Expression>>,
    /// In this namespace; without it and `namespaceSelector`, in the document's own, or in all where it has none.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "name::deserialize_optional_namespace"
    )]
    pub(crate) namespace: Option<String>,
    /// In namespaces with these labels; `{}` is every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) namespace_selector: Option<LabelSelector>,
}

#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExpression {
    /// The label.
    #[serde(deserialize_with = "name::deserialize_label_key")]
    key: String,
    /// What is asked of it.
    operator: Operator,
    /// For In and NotIn; at least one.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "name::deserialize_label_values"
    )]
    values: Vec<String>,
}

impl Selector {
    /// The workload of this namespace and name.
    pub fn workload(reference: Reference) -> Self {
        Self::Name(reference)
    }

    /// Workloads of the document's own namespace that have all of these labels.
    pub fn labels(match_labels: BTreeMap<String, String>) -> Self {
        Self::Labels {
            labels: LabelSelector {
                match_labels,
                match_expressions: Vec::new(),
            },
            namespaces: Namespaces::Own,
        }
    }

    /// Whether a document in `own` (empty: in no namespace) means this workload. `labels_of` gives
    /// the labels that are known of a namespace.
    pub fn selects<'a>(
        &self,
        own: &str,
        workload: &Metadata,
        labels_of: impl FnOnce(&str) -> Option<&'a BTreeMap<String, String>>,
    ) -> bool {
        match self {
            Self::Name(name) => {
                name.name() == workload.name
                    && name.namespace().unwrap_or(own) == workload.namespace
            }
            Self::Labels { labels, namespaces } => {
                labels.matches(&workload.labels)
                    && namespaces.contains(own, &workload.namespace, labels_of)
            }
        }
    }
}

impl Namespaces {
    /// Whether a document in `own` (empty: in no namespace) means this namespace.
    pub fn contains<'a>(
        &self,
        own: &str,
        namespace: &str,
        labels_of: impl FnOnce(&str) -> Option<&'a BTreeMap<String, String>>,
    ) -> bool {
        match self {
            Self::Own => own.is_empty() || own == namespace,
            Self::Named(name) => name == namespace,
            Self::Selected(selector) => selector.matches_namespace(namespace, labels_of(namespace)),
        }
    }
}

impl LabelSelector {
    /// Whether it asks for nothing, so that everything matches.
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    /// Whether something with these labels is meant.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.holds(|key| labels.get(key).map(String::as_str))
    }

    /// Whether a namespace with these labels is meant; [`NAMESPACE_NAME_LABEL`] is its name.
    pub fn matches_namespace(&self, name: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
        self.holds(|key| match key {
            NAMESPACE_NAME_LABEL => Some(name),
            key => labels?.get(key).map(String::as_str),
        })
    }

    fn holds<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        let equal = |(key, wanted): (&String, &String)| value(key) == Some(wanted.as_str());
        self.match_labels.iter().all(equal)
            && (self.match_expressions.iter())
                .all(|expression| expression.holds(value(&expression.key)))
    }
}

impl Expression {
    /// Whether it holds for the label's value, None where the label is not there.
    pub fn holds(&self, value: Option<&str>) -> bool {
        let listed = || value.is_some_and(|value| self.values.iter().any(|one| one == value));
        match self.operator {
            Operator::In => listed(),
            Operator::NotIn => !listed(),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

impl Operator {
    /// As written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::In => "In",
            Self::NotIn => "NotIn",
            Self::Exists => "Exists",
            Self::DoesNotExist => "DoesNotExist",
        }
    }

    const fn has_values(self) -> bool {
        matches!(self, Self::In | Self::NotIn)
    }
}

impl TryFrom<RawSelector> for Selector {
    type Error = String;

    fn try_from(raw: RawSelector) -> Result<Self, String> {
        let by_labels = raw.match_labels.is_some() || raw.match_expressions.is_some();
        let by_namespace = raw.namespace.is_some() || raw.namespace_selector.is_some();
        let Some(name) = raw.workload else {
            if !by_labels && !by_namespace {
                return Err("selects nothing; give workload or matchLabels".to_owned());
            }
            return Ok(Self::Labels {
                labels: LabelSelector {
                    match_labels: raw.match_labels.unwrap_or_default(),
                    match_expressions: raw.match_expressions.unwrap_or_default(),
                },
                namespaces: match (raw.namespace, raw.namespace_selector) {
                    (None, None) => Namespaces::Own,
                    (Some(name), None) => Namespaces::Named(name),
                    (None, Some(selector)) => Namespaces::Selected(selector),
                    (Some(_), Some(_)) => {
                        return Err(
                            "give either namespace or namespaceSelector, not both".to_owned()
                        );
                    }
                },
            });
        };
        if by_labels {
            return Err("give either workload or matchLabels, not both".to_owned());
        }
        match (raw.namespace, raw.namespace_selector) {
            (None, None) => Ok(Self::Name(name)),
            (Some(namespace), _) => Err(format!(
                "write the namespace into the name: workload: {namespace}/{}",
                name.name()
            )),
            (None, Some(_)) => Err(
                "a workload has one namespace; write workload: namespace/name, or matchLabels"
                    .to_owned(),
            ),
        }
    }
}

impl From<Selector> for RawSelector {
    fn from(selector: Selector) -> Self {
        match selector {
            Selector::Name(name) => Self {
                workload: Some(name),
                ..Self::default()
            },
            Selector::Labels { labels, namespaces } => {
                let LabelSelector {
                    match_labels,
                    match_expressions,
                } = labels;
                let (namespace, namespace_selector) = match namespaces {
                    Namespaces::Own => (None, None),
                    Namespaces::Named(name) => (Some(name), None),
                    Namespaces::Selected(selector) => (None, Some(selector)),
                };
                // Something has to be written where everything is meant.
                let needless = match_labels.is_empty() && !match_expressions.is_empty();
                Self {
                    workload: None,
                    match_labels: (!needless).then_some(match_labels),
                    match_expressions: Some(match_expressions).filter(|list| !list.is_empty()),
                    namespace,
                    namespace_selector,
                }
            }
        }
    }
}

impl TryFrom<RawExpression> for Expression {
    type Error = String;

    fn try_from(raw: RawExpression) -> Result<Self, String> {
        let RawExpression {
            key,
            operator,
            values,
        } = raw;
        let word = operator.name();
        match (operator.has_values(), values.is_empty()) {
            (true, true) => Err(format!("{word} compares {key} with nothing; list values")),
            (false, false) => Err(format!(
                "{word} compares with no values; leave values out, or write In or NotIn"
            )),
            _ => Ok(Self {
                key,
                operator,
                values,
            }),
        }
    }
}

impl From<Expression> for RawExpression {
    fn from(expression: Expression) -> Self {
        let Expression {
            key,
            operator,
            values,
        } = expression;
        Self {
            key,
            operator,
            values,
        }
    }
}

/// For messages and tables: "app=web,tier in (a, b) in every namespace".
impl std::fmt::Display for Selector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => name.fmt(formatter),
            Self::Labels { labels, namespaces } => {
                if labels.is_empty() {
                    formatter.write_str("everything")?;
                } else {
                    labels.fmt(formatter)?;
                }
                match namespaces {
                    Namespaces::Own => Ok(()),
                    Namespaces::Named(name) => write!(formatter, " in {name}"),
                    Namespaces::Selected(selector) if selector.is_empty() => {
                        formatter.write_str(" in every namespace")
                    }
                    Namespaces::Selected(selector) => {
                        write!(formatter, " in namespaces with {selector}")
                    }
                }
            }
        }
    }
}

/// As kubectl takes it after `-l`.
impl std::fmt::Display for LabelSelector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut comma = "";
        for (key, value) in &self.match_labels {
            write!(formatter, "{comma}{key}={value}")?;
            comma = ",";
        }
        for expression in &self.match_expressions {
            let Expression {
                key,
                operator,
                values,
            } = expression;
            formatter.write_str(comma)?;
            match operator {
                Operator::In => write!(formatter, "{key} in ({})", values.join(", "))?,
                Operator::NotIn => write!(formatter, "{key} notin ({})", values.join(", "))?,
                Operator::Exists => formatter.write_str(key)?,
                Operator::DoesNotExist => write!(formatter, "!{key}")?,
            }
            comma = ",";
        }
        Ok(())
    }
}
