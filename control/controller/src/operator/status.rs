//! How things stand.

use tonic::Status;
use weir_api::v1;
use weir_model::Document;
use weir_policy::spec::{End, IdentitySpec};
use weir_wire::to_ip_address;

use crate::flows::names;
use crate::policy::Published;
use crate::state::State;

/// Everything at a glance.
pub fn status(state: &State) -> v1::StatusReply {
    let policy = state.policy();
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
        policy_version: policy.message.version,
        nodes: state.nodes.status(),
        problems: state.problems(),
        workloads: u32::try_from(workload_status.len()).unwrap_or(u32::MAX),
        allowlists: count(|document| matches!(document, Document::Allowlist(_))),
        conversations: state.observed.with_conversations(|all| all.count() as u64),
        workload_status,
        source: format!("files {}", state.source.directory().display()),
    }
}

/// The nodes with their counters.
pub fn path(state: &State, request: &v1::PathRequest) -> Result<v1::PathReply, Status> {
    let mut nodes = state.nodes.status();
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
    let mut found: Vec<v1::WorkloadStatus> = Vec::new();
    for identity in spec.identities.iter().filter(wanted) {
        let addresses = spec
            .addresses
            .iter()
            .filter(|address| address.identity == identity.id);
        let addresses = addresses.map(|it| network(it.network, it.prefix_bits));
        let binds = |end: End, clients: &[u32], servers: &[u32]| match end {
            End::Client => clients.contains(&identity.id),
            End::Server => servers.contains(&identity.id),
        };
        let rules = spec
            .rules
            .iter()
            .filter(|rule| binds(rule.end, &rule.clients, &rule.servers));
        let (denied, would_deny) = state
            .observed
            .with_conversations(|all| all.denials(&identity.name));
        found.push(v1::WorkloadStatus {
            name: identity.name.clone(),
            mode: weir_api::mode_message(identity.mode).into(),
            addresses: addresses.collect(),
            rules: u32::try_from(rules.count()).unwrap_or(u32::MAX),
            denied,
            would_deny,
            quarantined: identity.quarantined,
        });
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
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
