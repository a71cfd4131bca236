//! Whether everything that one written thing can mean is meant by another, whatever the cluster holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use weir_model::{Condition, Network, Peer, PortRange, Rule, Selector};

/// A selector, seen from its document's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope<'a> {
    /// "shop/photo-db".
    Name(String),
    /// All of these labels, in this namespace.
    Labels {
        namespace: &'a str,
        labels: &'a BTreeMap<String, String>,
    },
}

impl<'a> Scope<'a> {
    pub(super) fn of(selector: &'a Selector, namespace: &'a str) -> Self {
        match selector {
            Selector::Name(name) => Self::Name(name.resolve(namespace)),
            Selector::Labels {
                match_labels,
                namespace: other,
            } => Self::Labels {
                namespace: other.as_deref().unwrap_or(namespace),
                labels: match_labels,
            },
        }
    }

    /// Whether this selects whatever `narrow` selects.
    pub(super) fn covers(&self, narrow: &Self) -> bool {
        match (self, narrow) {
            (Self::Name(wide), Self::Name(name)) => wide == name,
            (
                Self::Labels { namespace, labels },
                Self::Labels {
                    namespace: other,
                    labels: more,
                },
            ) => {
                namespace == other
                    && labels
                        .iter()
                        .all(|(key, value)| more.get(key) == Some(value))
            }
            // Labels come from the cluster; that all of a namespace are meant does not.
            (Self::Labels { namespace, labels }, Self::Name(name)) => {
                let of_name = name.split_once('/').map(|(namespace, _)| namespace);
                labels.is_empty() && of_name == Some(*namespace)
            }
            (Self::Name(_), Self::Labels { .. }) => false,
        }
    }
}

impl fmt::Display for Scope<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => formatter.write_str(name),
            Self::Labels { namespace, labels } if labels.is_empty() => {
                write!(formatter, "all of {namespace}")
            }
            Self::Labels { namespace, labels } => {
                let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
                write!(formatter, "{} in {namespace}", labels.join(","))
            }
        }
    }
}

/// Whether `wide` means whoever `narrow` means, [`Peer::Unknown`] apart, which depends on what else the
/// allowlist names. Each is seen from the namespace of its document.
pub(super) fn peer((wide, near): (&Peer, &str), (narrow, far): (&Peer, &str)) -> bool {
    match (wide, narrow) {
        (Peer::Any, _) => true,
        (Peer::Workload(wide), Peer::Workload(narrow)) => {
            Scope::of(wide, near).covers(&Scope::of(narrow, far))
        }
        (
            Peer::Network { cidr, except },
            Peer::Network {
                cidr: part,
                except: without,
            },
        ) => network((cidr, except), (part, without)),
        (Peer::Domain(wide), Peer::Domain(narrow)) => wide.contains(narrow),
        (Peer::Service(wide), Peer::Service(narrow)) => wide.resolve(near) == narrow.resolve(far),
        _ => false,
    }
}

/// What the wide one leaves out, the narrow one leaves out too.
fn network(wide: (&Network, &[Network]), narrow: (&Network, &[Network])) -> bool {
    let (cidr, except) = wide;
    let (part, without) = narrow;
    let left_out = |hole: &Network| without.iter().any(|other| other.contains(hole));
    cidr.contains(part)
        && except
            .iter()
            .all(|hole| !hole.overlaps(part) || left_out(hole))
}

/// Whether the rule names both address families as a whole, which means every domain too.
pub(super) fn whole_families(rule: &Rule) -> bool {
    let whole = |ipv4: bool| {
        rule.peers.iter().any(|peer| match peer {
            Peer::Network { cidr, except } => {
                let net = cidr.net();
                net.prefix_len() == 0 && net.addr().is_ipv4() == ipv4 && except.is_empty()
            }
            _ => false,
        })
    };
    whole(true) && whole(false)
}

/// The applications a rule may stand for: those named, and those whose fields its conditions name.
/// None: any.
pub(super) fn applications(wide: &Rule, narrow: &Rule) -> bool {
    let named =
        |rule: &'_ Rule| -> BTreeSet<String> { rule.applications.iter().cloned().collect() };
    let implied = |rule: &'_ Rule| -> BTreeSet<String> {
        let fields = rule.when.iter();
        fields
            .map(|condition| match condition.field.split_once('.') {
                Some((application, _)) => application.to_owned(),
                None => condition.field.clone(),
            })
            .collect()
    };
    let any = |rule: &Rule| rule.applications.is_empty() && rule.when.is_empty();
    if any(wide) {
        return true;
    }
    if any(narrow) {
        return false;
    }
    // Of several, the special case is meant, and which one that is stands in no document.
    let sure = match implied(wide) {
        one if one.len() <= 1 => one,
        _ => BTreeSet::new(),
    };
    let wide_names: BTreeSet<String> = named(wide).union(&sure).cloned().collect();
    let narrow_names: BTreeSet<String> = named(narrow).union(&implied(narrow)).cloned().collect();
    narrow_names.is_subset(&wide_names)
        || (named(narrow) == named(wide) && implied(narrow) == implied(wide))
}

/// Lists where empty means any.
pub(super) fn list<T: PartialEq>(wide: &[T], narrow: &[T]) -> bool {
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|item| wide.contains(item)))
}

pub(super) fn ports(wide: &[PortRange], narrow: &[PortRange]) -> bool {
    let within = |part: &PortRange| {
        wide.iter()
            .any(|range| range.first() <= part.first() && part.last() <= range.last())
    };
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(within))
}

/// Whether a request that meets all conditions of the narrow rule meets all of the wide one.
pub(super) fn conditions(wide: &[Condition], narrow: &[Condition]) -> bool {
    wide.iter()
        .all(|condition| narrow.iter().any(|other| implies(other, condition)))
}

fn implies(narrow: &Condition, wide: &Condition) -> bool {
    let begins = |text: &str| wide.prefix.iter().any(|prefix| text.starts_with(prefix));
    let ends = |text: &str| wide.suffix.iter().any(|suffix| text.ends_with(suffix));
    let exact = |text: &String| wide.exact.contains(text) || begins(text) || ends(text);
    narrow.field == wide.field
        && narrow.exact.iter().all(exact)
        && narrow.prefix.iter().all(|text| begins(text))
        && narrow.suffix.iter().all(|text| ends(text))
        && narrow.glob.iter().all(|text| wide.glob.contains(text))
}
