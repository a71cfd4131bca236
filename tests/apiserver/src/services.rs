//! Addresses of services.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::failure::{Cause, Failure};
use crate::state::State;

/// The addresses that services get: 10.96.0.0/16, the first of which is the API server's own.
const FIRST: u32 = u32::from_be_bytes([10, 96, 0, 10]);
const LAST: u32 = u32::from_be_bytes([10, 96, 255, 254]);

/// Gives a service its cluster address and says of which family it is.
pub(crate) fn allocate(
    state: &Arc<State>,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<(), Failure> {
    let spec = &mut object["spec"];
    let kind = spec["type"].as_str().unwrap_or("ClusterIP").to_owned();
    if kind == "ExternalName" {
        return Ok(());
    }
    if let Some(old) = old {
        for name in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if spec.get(name).is_none_or(Value::is_null) && !old["spec"][name].is_null() {
                spec[name] = old["spec"][name].clone();
            }
        }
    }
    if spec["clusterIP"].as_str().is_none_or(str::is_empty)
        && let Some(first) = spec["clusterIPs"][0].as_str()
    {
        spec["clusterIP"] = json!(first);
    }
    let own = object["metadata"]["uid"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let taken: HashSet<String> = state
        .list("services", None)
        .iter()
        .filter(|(_, service)| service["metadata"]["uid"] != own.as_str())
        .flat_map(|(_, service)| {
            service["spec"]["clusterIPs"]
                .as_array()
                .cloned()
                .unwrap_or_default()
        })
        .filter_map(|address| address.as_str().map(str::to_owned))
        .collect();
    let wanted = object["spec"]["clusterIP"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    if !wanted.is_empty() && wanted != "None" && taken.contains(&wanted) {
        return Err(already_taken(object, &wanted));
    }
    let spec = &mut object["spec"];
    if wanted.is_empty() {
        let free = (FIRST..LAST)
            .map(|bits| Ipv4Addr::from(bits).to_string())
            .find(|one| !taken.contains(one));
        let free =
            free.ok_or_else(|| Failure::internal("failed to allocate a serviceIP: range is full"))?;
        spec["clusterIP"] = Value::from(free);
    }
    if spec["clusterIPs"].as_array().is_none_or(Vec::is_empty) {
        spec["clusterIPs"] = json!([spec["clusterIP"]]);
    }
    if spec["ipFamilies"].as_array().is_none_or(Vec::is_empty) {
        let six = |address: &Value| address.as_str().is_some_and(|text| text.contains(':'));
        let families: Vec<&str> = spec["clusterIPs"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| if six(one) { "IPv6" } else { "IPv4" })
            .collect();
        spec["ipFamilies"] = json!(families);
    }
    if spec["ipFamilyPolicy"].is_null() {
        let both = spec["ipFamilies"]
            .as_array()
            .is_some_and(|families| families.len() > 1);
        spec["ipFamilyPolicy"] = json!(if both {
            "PreferDualStack"
        } else {
            "SingleStack"
        });
    }
    Ok(())
}

fn already_taken(object: &Value, wanted: &str) -> Failure {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let why = format!("failed to allocate IP {wanted}: provided IP is already allocated");
    let cause = Cause::invalid("spec.clusterIPs", &json!([wanted]), why);
    Failure::invalid_as(
        "Service",
        json!({"name": name, "kind": "Service"}),
        name,
        &[cause],
    )
}
