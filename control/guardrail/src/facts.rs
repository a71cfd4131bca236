//! What is tedious to find out in Rego: the rules of an allowlist, widened.
//!
//! Reads the document's JSON as written, so that it knows as much of a kind as the model writes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde_json::{Value, json};

/// Where the metadata services of clouds listen.
const METADATA: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    // Alibaba Cloud.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    // Oracle Cloud.
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    // AWS.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// Networks whose addresses nobody outside has: RFC 1918, 6598, 3927, 1122, 4193, 4291.
fn is_private(network: &IpNet) -> bool {
    let v4 = |a, b, c, d, length| {
        let address = Ipv4Addr::new(a, b, c, d);
        Ipv4Net::new(address, length).is_ok_and(|net| IpNet::V4(net).contains(network))
    };
    let v6 = |first, length| {
        let address = Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0);
        Ipv6Net::new(address, length).is_ok_and(|net| IpNet::V6(net).contains(network))
    };
    v4(10, 0, 0, 0, 8)
        || v4(172, 16, 0, 0, 12)
        || v4(192, 168, 0, 0, 16)
        || v4(100, 64, 0, 0, 10)
        || v4(169, 254, 0, 0, 16)
        || v4(127, 0, 0, 0, 8)
        || v6(0xfc00, 7)
        || v6(0xfe80, 10)
        || Ipv6Net::new(Ipv6Addr::LOCALHOST, 128).is_ok_and(|net| IpNet::V6(net).contains(network))
}

/// `input.facts`.
pub(crate) fn facts(object: &Value, old: &Value, target: Value) -> Value {
    let (mode, old_mode) = (mode(object), mode(old));
    let rank = |mode: &Value| match mode.as_str() {
        Some("protect") => 3,
        Some("monitor") => 2,
        Some("discover") => 1,
        _ => 0,
    };
    json!({
        "loosened": rank(&mode) < rank(&old_mode),
        "mode": mode,
        "old_mode": old_mode,
        "target": target,
        "rules": rules(object),
        "old_rules": rules(old),
    })
}

/// What a document asks of its target: `spec.mode` of a Mode, `spec.stage` of an allowlist.
fn mode(document: &Value) -> Value {
    let spec = &document["spec"];
    match (&spec["mode"], &spec["stage"]) {
        (Value::String(mode), _) => json!(mode),
        (_, Value::String(stage)) => json!(stage),
        _ => Value::Null,
    }
}

fn rules(document: &Value) -> Vec<Value> {
    let directions = [("ingress", "from"), ("egress", "to")];
    let mut rules = Vec::new();
    for (direction, peers) in directions {
        let written = document["spec"][direction].as_array();
        for (index, written) in written.into_iter().flatten().enumerate() {
            let field = format!("spec.{direction}[{index}]");
            rules.push(rule(written, direction, peers, &field));
        }
    }
    rules
}

fn rule(written: &Value, direction: &str, peers: &str, field: &str) -> Value {
    let list = |name: &str| written[name].as_array().cloned().unwrap_or_default();
    let each = list(peers);
    let each = each.iter().enumerate();
    let peers: Vec<Value> = each
        .map(|(index, written)| peer(written, &format!("{field}.{peers}[{index}]")))
        .collect();
    let some = |fact: &str| peers.iter().any(|peer| peer[fact] == json!(true));
    let kind = |kind: &str| peers.iter().any(|peer| peer["kind"] == json!(kind));
    json!({
        "direction": direction,
        "field": field,
        "action": written["action"].as_str().unwrap_or("allow"),
        "applications": list("applications"),
        "ports": list("ports"),
        "protocols": list("protocols"),
        "any_application": written["applications"].is_null(),
        "any_port": written["ports"].is_null(),
        "conditions": list("when").len(),
        "any": kind("any"),
        "unknown": kind("unknown"),
        "external": some("external"),
        "metadata_address": some("metadata_address"),
        "peers": peers,
    })
}

fn peer(written: &Value, field: &str) -> Value {
    let kinds = ["any", "unknown", "cidr", "domain", "service"];
    let kind = kinds.into_iter().find(|kind| !written[*kind].is_null());
    let kind = kind.unwrap_or("workload");
    let text = match &written[kind] {
        Value::String(text) => text.clone(),
        Value::Bool(_) => kind.to_owned(),
        _ => written["matchLabels"].to_string(),
    };
    let domain_wildcard = kind == "domain" && text.contains('*');
    let (external, metadata, world) = match kind {
        // Whoever is not known can be anybody.
        "any" | "unknown" => (true, true, kind == "any"),
        "domain" => (true, false, domain_wildcard),
        "cidr" => network(&text, &written["except"]),
        _ => (false, false, false),
    };
    json!({
        "field": field,
        "kind": kind,
        "text": text,
        "external": external,
        "metadata_address": metadata,
        "wildcard": world,
    })
}

/// External, metadata, world. What cannot be read is taken for everything.
fn network(text: &str, except: &Value) -> (bool, bool, bool) {
    let parsed = |text: &str| {
        let network = IpNet::from_str(text);
        network.or_else(|_| IpAddr::from_str(text).map(IpNet::from))
    };
    let Ok(network) = parsed(text) else {
        return (true, true, true);
    };
    let except: Vec<IpNet> = except
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|text| parsed(text.as_str()?).ok())
        .collect();
    let left_out = |address: &IpAddr| except.iter().any(|net| net.contains(address));
    let metadata = METADATA
        .iter()
        .any(|address| network.contains(address) && !left_out(address));
    (!is_private(&network), metadata, network.prefix_len() == 0)
}
