//! Whether everything that one written thing can mean is meant by another, whatever the cluster holds.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use weir_model::{
    Condition, Expression, LabelSelector, NAMESPACE_NAME_LABEL, Namespaces, Network, Operator,
    Peer, PortRange, Rule, Selector,
};

/// A selector, seen from its document's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope<'a> {
    /// "shop/photo-db".
    Name(String),
    /// All that have these labels, in these namespaces.
    Labels {
        labels: &'a LabelSelector,
        /// None: in any namespace.
        namespaces: Option<Cow<'a, LabelSelector>>,
    },
}

impl<'a> Scope<'a> {
    /// `namespace` is empty for documents that belong to none.
    pub(super) fn of(selector: &'a Selector, namespace: &str) -> Self {
        let (labels, namespaces) = match selector {
            Selector::Name(name) => return Self::Name(name.resolve(namespace)),
            Selector::Labels { labels, namespaces } => (labels, namespaces),
        };
        let namespaces = match namespaces {
            Namespaces::Own if namespace.is_empty() => None,
            Namespaces::Own => Some(Cow::Owned(named(namespace))),
            Namespaces::Named(name) => Some(Cow::Owned(named(name))),
            Namespaces::Selected(selector) if selector.is_empty() => None,
            Namespaces::Selected(selector) => Some(Cow::Borrowed(selector)),
        };
        Self::Labels { labels, namespaces }
    }

    /// Whether this selects whatever `narrow` selects.
    pub(super) fn covers(&self, narrow: &Self) -> bool {
        match (self, narrow) {
            (Self::Name(wide), Self::Name(name)) => wide == name,
            (
                Self::Labels { labels, namespaces },
                Self::Labels {
                    labels: more,
                    namespaces: fewer,
                },
            ) => {
                asks_no_more(labels, more)
                    && match (namespaces, fewer) {
                        (None, _) => true,
                        (Some(_), None) => false,
                        (Some(wide), Some(narrow)) => asks_no_more(wide, narrow),
                    }
            }
            // Labels come from the cluster; that all of a namespace are meant does not.
            (Self::Labels { labels, namespaces }, Self::Name(name)) => {
                let of_name = name.split_once('/').map(|(namespace, _)| named(namespace));
                let within = match (namespaces, of_name) {
                    (None, _) => true,
                    (Some(wide), Some(narrow)) => asks_no_more(wide, &narrow),
                    (Some(_), None) => false,
                };
                labels.is_empty() && within
            }
            (Self::Name(_), Self::Labels { .. }) => false,
        }
    }
}

/// The selector of one namespace.
fn named(namespace: &str) -> LabelSelector {
    LabelSelector {
        match_labels: [(NAMESPACE_NAME_LABEL.to_owned(), namespace.to_owned())].into(),
        match_expressions: Vec::new(),
    }
}

/// Whether everything that the narrow selector selects is selected by the wide one: each thing that the
/// wide one asks for follows from what the narrow one asks for.
fn asks_no_more(wide: &LabelSelector, narrow: &LabelSelector) -> bool {
    let given = |key: &str| narrow.match_labels.get(key).map(String::as_str);
    let equal = |(key, value): (&String, &String)| given(key) == Some(value.as_str());
    let follows = |wanted: &Expression| {
        let of_label = given(&wanted.key).is_some_and(|value| wanted.holds(Some(value)));
        of_label
            || narrow
                .match_expressions
                .iter()
                .any(|one| implies_expression(one, wanted))
    };
    wide.match_labels.iter().all(equal) && wide.match_expressions.iter().all(follows)
}

fn implies_expression(narrow: &Expression, wide: &Expression) -> bool {
    let all = |these: &[String], those: &[String]| {
        let those: BTreeSet<&String> = those.iter().collect();
        these.iter().all(|one| those.contains(one))
    };
    narrow.key == wide.key
        && match (narrow.operator, wide.operator) {
            (Operator::In, Operator::In) => all(&narrow.values, &wide.values),
            (Operator::NotIn, Operator::NotIn) => all(&wide.values, &narrow.values),
            (Operator::In, Operator::NotIn) => {
                !narrow.values.iter().any(|one| wide.values.contains(one))
            }
            (Operator::In | Operator::Exists, Operator::Exists)
            | (Operator::DoesNotExist, Operator::DoesNotExist | Operator::NotIn) => true,
            _ => false,
        }
}

impl fmt::Display for Scope<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => formatter.write_str(name),
            Self::Labels { labels, namespaces } => {
                match labels.is_empty() {
                    true => formatter.write_str("all of ")?,
                    false => write!(formatter, "{} in ", in_words(labels))?,
                }
                match namespaces {
                    None => formatter.write_str("every namespace"),
                    Some(selector) => match selector.match_labels.get(NAMESPACE_NAME_LABEL) {
                        Some(name) => formatter.write_str(name),
                        None => write!(formatter, "namespaces with {}", in_words(selector)),
                    },
                }
            }
        }
    }
}

fn in_words(selector: &LabelSelector) -> String {
    let labels = selector
        .match_labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"));
    let expressions = selector.match_expressions.iter().map(|one| {
        let values = one.values.join(",");
        format!("{} {} {values}", one.key, one.operator.name())
            .trim_end()
            .to_owned()
    });
    labels.chain(expressions).collect::<Vec<_>>().join(", ")
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
