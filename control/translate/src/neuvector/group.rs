//! Groups: who is meant.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use weir_model::{
    DomainPattern, Expression, LabelSelector, Namespaces, Network, Operator, Peer, Reference,
    Selector,
};

use crate::loss::Report;
use crate::object::Object;
use crate::workloads::{Selected, Within};

/// Everything that is not in the cluster.
const EXTERNAL: &str = "external";
/// Every container.
const CONTAINERS: &str = "containers";
/// Everybody.
const ANY: &str = "any";

/// Criteria by key, with the values that are asked for and those that must not be.
#[derive(Default)]
struct Criteria {
    is: BTreeMap<String, BTreeSet<String>>,
    is_not: BTreeMap<String, BTreeSet<String>>,
}

/// Reads whom a group means; nobody where that cannot be said.
pub(crate) fn read(mut group: Object, report: &mut Report) -> Vec<Peer> {
    let path = group.path().to_owned();
    let name = group.text("name").unwrap_or_default();
    group.skip(&["comment", "original_name"]);
    match name.as_str() {
        EXTERNAL => return vec![Peer::Unknown],
        ANY | "all" => return vec![Peer::Any],
        CONTAINERS => return vec![Peer::Workload(everybody())],
        _ => {}
    }
    let Some(criteria) = criteria(&mut group, report) else {
        return Vec::new();
    };
    if !group.all_read(report, "the group") {
        return Vec::new();
    }
    let peers = criteria.peers(&path, report);
    if peers.is_empty() {
        report.narrower(
            &path,
            format!("whom group {name} means cannot be said; it is left out"),
        );
    }
    peers
}

/// As NeuVector writes them.
pub(crate) fn named(name: &str, criteria: Value) -> Value {
    json!({"name": name, "comment": "", "criteria": criteria})
}

pub(crate) fn any() -> Value {
    named(ANY, json!([]))
}

pub(crate) fn external() -> Value {
    named(EXTERNAL, json!([]))
}

/// The group of a workload, as it is learned.
pub(crate) fn of_workload(full_name: &str) -> Value {
    let (namespace, name) = full_name.split_once('/').unwrap_or(("default", full_name));
    let criteria = json!([
        {"key": "service", "op": "=", "value": format!("{name}.{namespace}")},
        {"key": "domain", "op": "=", "value": namespace},
    ]);
    named(&format!("nv.{name}.{namespace}"), criteria)
}

/// A group of addresses or names.
pub(crate) fn of_address(name: &str, address: &str) -> Value {
    named(
        name,
        json!([{"key": "address", "op": "=", "value": address}]),
    )
}

/// A group of labels; none where they cannot be asked for.
pub(crate) fn of_labels(name: &str, selected: &Selected) -> Option<Value> {
    let mut criteria = Vec::new();
    match &selected.namespaces {
        Within::One(namespace) => {
            criteria.push(json!({"key": "domain", "op": "=", "value": namespace}));
        }
        Within::Labelled(labels) if *labels == LabelSelector::default() => {}
        Within::Labelled(_) => return None,
    }
    for (key, value) in &selected.labels.match_labels {
        criteria.push(json!({"key": key, "op": "=", "value": value}));
    }
    for Expression {
        key,
        operator,
        values,
    } in &selected.labels.match_expressions
    {
        let sign = match operator {
            Operator::In => "=",
            Operator::NotIn => "!=",
            Operator::Exists | Operator::DoesNotExist => return None,
        };
        criteria.extend(
            values
                .iter()
                .map(|value| json!({"key": key, "op": sign, "value": value})),
        );
    }
    match criteria.is_empty() {
        true => Some(named(CONTAINERS, json!([]))),
        false => Some(named(name, Value::Array(criteria))),
    }
}

fn everybody() -> Selector {
    Selector::Labels {
        labels: LabelSelector::default(),
        namespaces: Namespaces::Selected(LabelSelector::default()),
    }
}

fn criteria(group: &mut Object, report: &mut Report) -> Option<Criteria> {
    let mut criteria = Criteria::default();
    for mut entry in group.objects("criteria").unwrap_or_default() {
        let at = entry.path().to_owned();
        let key = entry.text("key").unwrap_or_default();
        let sign = entry.text("op").unwrap_or_else(|| "=".to_owned());
        let value = entry.text("value").unwrap_or_default();
        let by_key = match sign.as_str() {
            "=" if !value.contains(['*', '?']) || key == "address" => &mut criteria.is,
            "!=" => &mut criteria.is_not,
            sign => {
                report.narrower(
                    &at,
                    format!("{key} {sign} {value:?} cannot be said; the group is left out"),
                );
                return None;
            }
        };
        if matches!(
            key.as_str(),
            "image" | "node" | "container" | "application" | "user"
        ) {
            report.narrower(
                &at,
                format!("{key} cannot be selected by; the group is left out"),
            );
            return None;
        }
        by_key.entry(key).or_default().insert(value);
    }
    Some(criteria)
}

impl Criteria {
    fn peers(mut self, at: &str, report: &mut Report) -> Vec<Peer> {
        if let Some(addresses) = self.is.remove("address") {
            return addresses
                .iter()
                .flat_map(|address| of_text(address, at, report))
                .collect();
        }
        let domains = self.is.remove("domain").unwrap_or_default();
        if let Some(services) = self.is.remove("service") {
            return services
                .iter()
                .filter_map(|service| workload(service, &domains))
                .map(Peer::workload)
                .collect();
        }
        if self.is.is_empty() && self.is_not.is_empty() && domains.is_empty() {
            return Vec::new();
        }
        let labels = self.labels();
        let namespaces: Vec<Namespaces> = match domains.is_empty() {
            true => vec![Namespaces::Selected(LabelSelector::default())],
            false => domains.into_iter().map(Namespaces::Named).collect(),
        };
        let each = namespaces.into_iter();
        each.map(|namespaces| {
            Peer::Workload(Selector::Labels {
                labels: labels.clone(),
                namespaces,
            })
        })
        .collect()
    }

    fn labels(&self) -> LabelSelector {
        let mut labels = LabelSelector::default();
        for (key, values) in &self.is {
            match values.iter().next() {
                Some(value) if values.len() == 1 => {
                    labels.match_labels.insert(key.clone(), value.clone());
                }
                _ => labels
                    .match_expressions
                    .push(expression(key, Operator::In, values)),
            }
        }
        for (key, values) in &self.is_not {
            let expression = expression(key, Operator::NotIn, values);
            labels.match_expressions.push(expression);
        }
        labels
    }
}

fn expression(key: &str, operator: Operator, values: &BTreeSet<String>) -> Expression {
    Expression {
        key: key.to_owned(),
        operator,
        values: values.iter().cloned().collect(),
    }
}

/// "photo-db.shop", or "photo-db" with the domain beside it.
fn workload(service: &str, domains: &BTreeSet<String>) -> Option<Reference> {
    let domain = domains.iter().next().map(String::as_str);
    let (name, namespace) = match service.rsplit_once('.') {
        Some((name, namespace)) => (name, namespace),
        None => (service, domain.unwrap_or("default")),
    };
    Reference::new(namespace, name).ok()
}

/// An address, a network, a range of addresses or a name.
fn of_text(text: &str, at: &str, report: &mut Report) -> Vec<Peer> {
    let network = |cidr: Network| Peer::Network {
        cidr,
        except: Vec::new(),
    };
    if let Ok(cidr) = text.parse::<Network>() {
        return vec![network(cidr)];
    }
    if let Some((first, last)) = text.split_once('-')
        && let (Ok(first), Ok(last)) = (first.trim().parse(), last.trim().parse())
        && let Some(networks) = range(first, last)
    {
        return networks.into_iter().map(network).collect();
    }
    match text.parse::<DomainPattern>() {
        Ok(domain) => vec![Peer::Domain(domain)],
        Err(error) => {
            report.narrower(at, format!("{error}; the address is left out"));
            Vec::new()
        }
    }
}

/// The networks that make up a range of addresses.
fn range(first: std::net::IpAddr, last: std::net::IpAddr) -> Option<Vec<Network>> {
    use ipnet::{Ipv4Subnets, Ipv6Subnets};
    use std::net::IpAddr::{V4, V6};
    let nets: Vec<ipnet::IpNet> = match (first, last) {
        (V4(first), V4(last)) => Ipv4Subnets::new(first, last, 0).map(Into::into).collect(),
        (V6(first), V6(last)) => Ipv6Subnets::new(first, last, 0).map(Into::into).collect(),
        _ => return None,
    };
    nets.into_iter().map(|net| Network::new(net).ok()).collect()
}
