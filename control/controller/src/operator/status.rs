//! How things stand.

use std::collections::HashMap;
use std::sync::Arc;

use tonic::Status;
use weir_api::v1;
use weir_compile::Key;
use weir_model::{Document, Kind};
use weir_policy::spec::{End, IdentitySpec};
use weir_wire::to_ip_address;

use crate::flows::names;
use crate::state::State;
use crate::view::Published;

/// Everything at a glance.
pub async fn status(state: &Arc<State>) -> v1::StatusReply {
    let policy = state.policy().await;
    let count = |is: fn(&Document) -> bool| {
        let number = policy
            .documents
            .iter()
            .filter(|document| is(&document.value))
            .count();
        u32::try_from(number).unwrap_or(u32::MAX)
    };
    let workload_status = workloads(state, &policy, "");
    v1::StatusReply {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        policy_version: state.version(),
        nodes: state.nodes.status(state.version()),
        problems: state.problems(),
        workloads: u32::try_from(workload_status.len()).unwrap_or(u32::MAX),
        allowlists: count(|document| matches!(document, Document::Allowlist(_))),
        conversations: state.observed.with_conversations(|all| all.count() as u64),
        workload_status,
        alerts: Some(state.observed.alert_counts()),
        source: state.source.describe(),
        controller: state.cluster.identity(),
        leader: state.cluster.leader().unwrap_or_default(),
    }
}

/// The nodes with their counters.
pub fn path(state: &State, request: &v1::PathRequest) -> Result<v1::PathReply, Status> {
    let mut nodes = state.nodes.status(state.version());
    if !request.node.is_empty() {
        nodes.retain(|node| node.node == request.node);
        if nodes.is_empty() {
            return Err(Status::not_found(format!(
                "no node named {:?} has reported; `weir status` lists those that have",
                request.node
            )));
        }
    }
    Ok(v1::PathReply { nodes })
}

/// The managed workloads, or those of this name.
pub fn workloads(state: &State, policy: &Published, name: &str) -> Vec<v1::WorkloadStatus> {
    let spec = policy.snapshot.spec();
    let wanted = |identity: &&IdentitySpec| {
        identity.managed && (name.is_empty() || names(name, &identity.name))
    };
    let mut addresses: HashMap<u32, Vec<String>> = HashMap::new();
    for it in &spec.addresses {
        let address = network(it.network, it.prefix_bits);
        addresses.entry(it.identity).or_default().push(address);
    }
    let mut rules: HashMap<u32, u32> = HashMap::new();
    for rule in &spec.rules {
        let bound = match rule.end {
            End::Client => &rule.clients,
            End::Server => &rule.servers,
        };
        bound
            .iter()
            .for_each(|&id| *rules.entry(id).or_default() += 1);
    }
    let status = |identity: &IdentitySpec| {
        let (denied, would_deny) = state
            .observed
            .with_conversations(|all| all.denials(&identity.name));
        v1::WorkloadStatus {
            name: identity.name.clone(),
            mode: weir_api::mode_message(identity.mode).into(),
            addresses: addresses.remove(&identity.id).unwrap_or_default(),
            rules: rules.get(&identity.id).copied().unwrap_or(0),
            denied,
            would_deny,
            quarantined: identity.quarantined,
            spiffe_id: spiffe_id(state, &identity.name),
        }
    };
    let mut found: Vec<v1::WorkloadStatus> =
        spec.identities.iter().filter(wanted).map(status).collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

/// What a workload of a cluster is called by others, as its document says.
fn spiffe_id(state: &State, full_name: &str) -> String {
    let (namespace, name) = full_name.split_once('/').unwrap_or_default();
    let document = state.pipeline.document(&Key {
        kind: Kind::Workload,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    });
    let annotations = document.map(|document| document.value.metadata().annotations.clone());
    let id = annotations.and_then(|mut all| all.remove(weir_kubernetes::SPIFFE_ID));
    id.unwrap_or_default()
}

fn network(network: u128, prefix_bits: u8) -> String {
    let address = to_ip_address(network);
    let (bits, whole) = match address.is_ipv4() && prefix_bits >= 96 {
        true => (prefix_bits - 96, 32),
        false => (prefix_bits, 128),
    };
    if bits == whole {
        address.to_string()
    } else {
        format!("{address}/{bits}")
    }
}
