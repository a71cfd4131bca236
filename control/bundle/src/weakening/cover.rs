//! Whether everything that one written thing can mean is meant by another, whatever the cluster holds.

use std::collections::BTreeSet;
use std::fmt;

use weir_model::{Condition, LabelSelector, Namespaces, Network, Peer, PortRange, Rule, Selector};

/// A selector, seen from its document's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope<'a> {
    /// "shop/photo-db".
    Name(String),
    /// All of these labels, in these namespaces.
    Labels {
        places: Places<'a>,
        labels: &'a LabelSelector,
    },
}

/// The namespaces that a selector looks in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Places<'a> {
    One(&'a str),
    /// Those with these labels; every namespace where there are none.
    Selected(Option<&'a LabelSelector>),
}

impl<'a> Scope<'a> {
    pub(super) fn of(selector: &'a Selector, namespace: &'a str) -> Self {
        match selector {
            Selector::Name(name) => Self::Name(name.resolve(namespace)),
            Selector::Labels { labels, namespaces } => Self::Labels {
                places: match namespaces {
                    Namespaces::Own if namespace.is_empty() => Places::Selected(None),
                    Namespaces::Own => Places::One(namespace),
                    Namespaces::Named(name) => Places::One(name),
                    Namespaces::Selected(labels) => {
                        Places::Selected(Some(labels).filter(|labels| !labels.is_empty()))
                    }
                },
                labels,
            },
        }
    }

    /// Whether this selects whatever `narrow` selects.
    pub(super) fn covers(&self, narrow: &Self) -> bool {
        match (self, narrow) {
            (Self::Name(wide), Self::Name(name)) => wide == name,
            (
                Self::Labels { places, labels },
                Self::Labels {
                    places: other,
                    labels: more,
                },
            ) => places.covers(other) && asks_less(labels, more),
            // Labels come from the cluster; that all of a namespace are meant does not.
            (Self::Labels { places, labels }, Self::Name(name)) => {
                let of_name = name.split_once('/').map_or("", |(namespace, _)| namespace);
                labels.is_empty() && places.covers(&Places::One(of_name))
            }
            (Self::Name(_), Self::Labels { .. }) => false,
        }
    }
}

impl Places<'_> {
    fn covers(&self, narrow: &Self) -> bool {
        match (self, narrow) {
            (Self::Selected(None), _) => true,
            (Self::One(wide), Self::One(narrow)) => wide == narrow,
            (Self::Selected(Some(wide)), Self::Selected(Some(narrow))) => asks_less(wide, narrow),
            _ => false,
        }
    }
}

/// Whether everything that the wide selector asks for is asked for by the narrow one too.
fn asks_less(wide: &LabelSelector, narrow: &LabelSelector) -> bool {
    wide.match_labels
        .iter()
        .all(|(key, value)| narrow.match_labels.get(key) == Some(value))
        && wide
            .match_expressions
            .iter()
            .all(|expression| narrow.match_expressions.contains(expression))
}

impl fmt::Display for Scope<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (places, labels) = match self {
            Self::Name(name) => return formatter.write_str(name),
            Self::Labels { places, labels } => (places, labels),
        };
        match (labels.is_empty(), places) {
            (true, Places::One(namespace)) => return write!(formatter, "all of {namespace}"),
            (true, _) => formatter.write_str("all")?,
            (false, _) => labels.fmt(formatter)?,
        }
        match places {
            Places::One(namespace) => write!(formatter, " in {namespace}"),
            Places::Selected(None) => formatter.write_str(" in every namespace"),
            Places::Selected(Some(selector)) => {
                write!(formatter, " in namespaces with {selector}")
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
