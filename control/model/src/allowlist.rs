//! Who may reach a target, and whom it may reach.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::selector::RawSelector;
use crate::{
    DomainPattern, Expression, LabelSelector, Mode, Network, PortRange, Protocol, Reference,
    Resource, Selector, name,
};

/// The policy document: which peers may reach a target or be reached by it. An allowlist for the
/// whole cluster (`kind: ClusterAllowlist`) is one whose metadata has no namespace.
pub type Allowlist = Resource<AllowlistSpec>;

/// The target and its rules.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AllowlistSpec {
    /// The workloads that the rules govern.
    pub target: Selector,
    /// How far it goes. Without one its rules hold, and Mode documents say how far policy goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// Connections to the target.
    #[cfg_attr(feature = "crd", schemars(with = "Vec<ingress::Written>"))]
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "ingress")]
    pub ingress: Vec<Rule>,
    /// Connections of the target to others.
    #[cfg_attr(feature = "crd", schemars(with = "Vec<egress::Written>"))]
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "egress")]
    pub egress: Vec<Rule>,
}

/// How far an allowlist goes.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Evaluated against what was seen, and counted; no effect.
    Draft,
    /// Its rules hold, and its targets have at least mode monitor.
    Monitor,
    /// Its rules hold, and its targets have mode protect.
    Protect,
}

/// The other end of a rule.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawPeer", into = "RawPeer")]
pub enum Peer {
    /// `workload:`, or labels of workloads and namespaces.
    Workload(Selector),
    /// `cidr:` with `except:`. A workload is meant too when all of its addresses lie within.
    Network {
        /// The network.
        cidr: Network,
        /// Parts of it that are not meant.
        except: Vec<Network>,
    },
    /// `domain:`, only in egress; its addresses are learned from DNS answers.
    Domain(DomainPattern),
    /// `service:`, the workloads that answer for it.
    Service(Reference),
    /// `unknown: true`: addresses of no workload that the same allowlist does not name otherwise.
    Unknown,
    /// `any: true`: everybody.
    Any,
}

/// One rule. Lists other than `peers` that are empty stand for any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// `from:` of an ingress rule, `to:` of an egress rule; at least one.
    pub peers: Vec<Peer>,
    /// Registry names.
    pub applications: Vec<String>,
    /// Server ports.
    pub ports: Vec<PortRange>,
    /// IP protocols.
    pub protocols: Vec<Protocol>,
    /// What the rule says.
    pub action: Action,
    /// Conditions on each request; all must hold.
    pub when: Vec<Condition>,
}

/// What a rule says.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Let through.
    #[default]
    Allow,
    /// Stop.
    Deny,
}

/// Holds when the field of the request matches at least one of the patterns.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "RawCondition")]
pub struct Condition {
    /// "http.path".
    pub field: String,
    /// `in:`, whole values.
    #[serde(rename = "in", skip_serializing_if = "Vec::is_empty")]
    pub exact: Vec<String>,
    /// Beginnings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefix: Vec<String>,
    /// Ends.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub suffix: Vec<String>,
    /// `*` any run, `?` any one byte.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub glob: Vec<String>,
}

impl Peer {
    /// The workload of this namespace and name.
    pub fn workload(reference: Reference) -> Self {
        Peer::Workload(Selector::Name(reference))
    }
}

impl Stage {
    /// As written.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Draft => "draft",
            Stage::Monitor => "monitor",
            Stage::Protect => "protect",
        }
    }

    /// The mode that its targets have at least; none while it is a draft.
    pub const fn mode(self) -> Option<Mode> {
        match self {
            Stage::Draft => None,
            Stage::Monitor => Some(Mode::Monitor),
            Stage::Protect => Some(Mode::Protect),
        }
    }
}

impl Action {
    /// As written.
    pub const fn name(self) -> &'static str {
        match self {
            Action::Allow => "allow",
            Action::Deny => "deny",
        }
    }

    fn is_allow(&self) -> bool {
        *self == Action::Allow
    }
}

/// Reads a list that must not be written empty: for a list whose absence means "any", `[]` could
/// be meant as "none", and for peers it could be meant as either.
fn filled<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let list = Vec::deserialize(deserializer)?;
    if list.is_empty() {
        return Err(serde::de::Error::custom(
            "an empty list says neither any nor none; list what is meant or leave the field out",
        ));
    }
    Ok(list)
}

#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawPeer {
    /// The workload of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workload: Option<Reference>,
    /// Workloads with all of these labels.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "name::deserialize_optional_labels"
    )]
    match_labels: Option<BTreeMap<String, String>>,
    /// Workloads for whose labels all of these hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    match_expressions: Option<Vec<Expression>>,
    /// In this namespace; without it and `namespaceSelector`, in the document's own, or in all where it has none.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "name::deserialize_optional_namespace"
    )]
    namespace: Option<String>,
    /// In namespaces with these labels; `{}` is every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    namespace_selector: Option<LabelSelector>,
    /// Addresses within this network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cidr: Option<Network>,
    /// Parts of the network that are not meant.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "filled"
    )]
    except: Vec<Network>,
    /// Addresses that DNS gave for this name; only in egress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    domain: Option<DomainPattern>,
    /// The workloads that answer for this service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<Reference>,
    /// Addresses of no workload that the same allowlist does not name otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unknown: Option<bool>,
    /// Everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    any: Option<bool>,
}

#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawCondition {
    /// What is looked at: "http.path".
    field: String,
    /// Whole values.
    #[serde(default, rename = "in", deserialize_with = "filled")]
    exact: Vec<String>,
    /// Beginnings.
    #[serde(default, deserialize_with = "filled")]
    prefix: Vec<String>,
    /// Ends.
    #[serde(default, deserialize_with = "filled")]
    suffix: Vec<String>,
    /// `*` any run, `?` any one byte.
    #[serde(default, deserialize_with = "filled")]
    glob: Vec<String>,
}

impl RawPeer {
    /// The part that selects workloads.
    fn selector(&mut self) -> RawSelector {
        RawSelector {
            workload: self.workload.take(),
            match_labels: self.match_labels.take(),
            match_expressions: self.match_expressions.take(),
            namespace: self.namespace.take(),
            namespace_selector: self.namespace_selector.take(),
        }
    }

    /// The forms that are given; those that select by labels are one.
    fn forms(&self) -> Vec<&'static str> {
        let labels = [
            ("matchLabels", self.match_labels.is_some()),
            ("matchExpressions", self.match_expressions.is_some()),
            ("namespaceSelector", self.namespace_selector.is_some()),
            ("namespace", self.namespace.is_some()),
        ];
        let labels = labels.into_iter().find(|(_, given)| *given);
        [
            ("workload", self.workload.is_some()),
            ("cidr", self.cidr.is_some()),
            ("domain", self.domain.is_some()),
            ("service", self.service.is_some()),
            ("unknown", self.unknown.is_some()),
            ("any", self.any.is_some()),
        ]
        .into_iter()
        .chain(labels)
        .filter_map(|(name, given)| given.then_some(name))
        .collect()
    }
}

impl TryFrom<RawPeer> for Peer {
    type Error = String;

    fn try_from(mut raw: RawPeer) -> Result<Self, String> {
        let forms = raw.forms();
        let named = raw.workload.is_some() || raw.service.is_some();
        if let (true, Some(namespace)) = (named, &raw.namespace) {
            return Err(format!(
                "namespace goes with labels only; write the namespace into the name: {namespace}/{}",
                (raw.workload.as_ref().or(raw.service.as_ref())).map_or("name", Reference::name)
            ));
        }
        if forms.len() != 1 {
            return Err(format!(
                "a peer is exactly one of workload, matchLabels (with matchExpressions, namespace, \
                 namespaceSelector), cidr, domain, service, unknown, any; here {}",
                if forms.is_empty() {
                    "is none".to_owned()
                } else {
                    format!("are {}", forms.join(" and "))
                }
            ));
        }
        if raw.cidr.is_none() && !raw.except.is_empty() {
            return Err("except goes with cidr only".to_owned());
        }
        if raw.unknown == Some(false) || raw.any == Some(false) {
            return Err(
                "only true can be written here; leave the peer out instead of false".to_owned(),
            );
        }
        if let Some(cidr) = raw.cidr {
            if let Some(outside) = raw.except.iter().find(|except| !cidr.contains(except)) {
                return Err(format!("except {outside} does not lie within {cidr}"));
            }
            return Ok(Peer::Network {
                cidr,
                except: raw.except,
            });
        }
        if let Some(domain) = raw.domain {
            return Ok(Peer::Domain(domain));
        }
        if let Some(service) = raw.service {
            return Ok(Peer::Service(service));
        }
        if raw.unknown.is_some() {
            return Ok(Peer::Unknown);
        }
        if raw.any.is_some() {
            return Ok(Peer::Any);
        }
        Selector::try_from(raw.selector()).map(Peer::Workload)
    }
}

impl From<Peer> for RawPeer {
    fn from(peer: Peer) -> Self {
        let mut raw = RawPeer::default();
        match peer {
            Peer::Workload(selector) => {
                let selector = RawSelector::from(selector);
                raw.workload = selector.workload;
                raw.match_labels = selector.match_labels;
                raw.match_expressions = selector.match_expressions;
                raw.namespace = selector.namespace;
                raw.namespace_selector = selector.namespace_selector;
            }
            Peer::Network { cidr, except } => {
                raw.cidr = Some(cidr);
                raw.except = except;
            }
            Peer::Domain(domain) => raw.domain = Some(domain),
            Peer::Service(service) => raw.service = Some(service),
            Peer::Unknown => raw.unknown = Some(true),
            Peer::Any => raw.any = Some(true),
        }
        raw
    }
}

impl TryFrom<RawCondition> for Condition {
    type Error = String;

    fn try_from(raw: RawCondition) -> Result<Self, String> {
        let RawCondition {
            field,
            exact,
            prefix,
            suffix,
            glob,
        } = raw;
        if exact.is_empty() && prefix.is_empty() && suffix.is_empty() && glob.is_empty() {
            return Err(format!(
                "compares {field} with nothing; give in, prefix, suffix or glob"
            ));
        }
        Ok(Self {
            field,
            exact,
            prefix,
            suffix,
            glob,
        })
    }
}

/// The two written forms of a rule differ in one word, `from` or `to`.
macro_rules! written_rule {
    ($module:ident, $peers:ident, $about:literal) => {
        mod $module {
            use serde::{Deserialize, Deserializer, Serialize, Serializer};

            use super::{Action, Condition, Peer, PortRange, Protocol, Rule, filled};

            /// One rule. What is left out stands for any.
            #[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
            #[derive(Serialize, Deserialize)]
            #[serde(deny_unknown_fields, rename_all = "camelCase")]
            pub(super) struct Written {
                #[doc = $about]
                #[serde(deserialize_with = "filled")]
                $peers: Vec<Peer>,
                /// Names of applications (`weir apps` lists them).
                #[serde(
                    default,
                    skip_serializing_if = "Vec::is_empty",
                    deserialize_with = "filled"
                )]
                applications: Vec<String>,
                /// Ports of the server.
                #[serde(
                    default,
                    skip_serializing_if = "Vec::is_empty",
                    deserialize_with = "filled"
                )]
                ports: Vec<PortRange>,
                /// IP protocols.
                #[serde(
                    default,
                    skip_serializing_if = "Vec::is_empty",
                    deserialize_with = "filled"
                )]
                protocols: Vec<Protocol>,
                /// What the rule says; default allow.
                #[serde(default, skip_serializing_if = "Action::is_allow")]
                action: Action,
                /// Conditions on each request; all must hold.
                #[serde(
                    default,
                    skip_serializing_if = "Vec::is_empty",
                    deserialize_with = "filled"
                )]
                when: Vec<Condition>,
            }

            pub(super) fn serialize<S: Serializer>(
                rules: &[Rule],
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(rules.iter().cloned().map(|rule| {
                    let Rule {
                        peers,
                        applications,
                        ports,
                        protocols,
                        action,
                        when,
                    } = rule;
                    Written {
                        $peers: peers,
                        applications,
                        ports,
                        protocols,
                        action,
                        when,
                    }
                }))
            }

            pub(super) fn deserialize<'de, D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Vec<Rule>, D::Error> {
                let written = Vec::<Written>::deserialize(deserializer)?;
                Ok(written
                    .into_iter()
                    .map(|rule| {
                        let Written {
                            $peers: peers,
                            applications,
                            ports,
                            protocols,
                            action,
                            when,
                        } = rule;
                        Rule {
                            peers,
                            applications,
                            ports,
                            protocols,
                            action,
                            when,
                        }
                    })
                    .collect())
            }
        }
    };
}

written_rule!(ingress, from, "Who connects; at least one.");
written_rule!(egress, to, "Who is connected to; at least one.");
