//! Which workload a pod belongs to, and what a workload is called.
//!
//! A pod says who owns it, and anybody who may create pods in a namespace can make it say so: within
//! one namespace Weir believes what the API server accepted, across namespaces an owner means nothing.

use sha2::{Digest, Sha256};
use weir_model::check_name;

use crate::facts::{Labels, Owner, OwnerKind, Pod};

/// The namespace of the hosts' workloads: `nodes/worker-1`.
pub const NODES_NAMESPACE: &str = "nodes";

/// Labels that tell one pod from its siblings, or one version of a template from the next. They would
/// take a workload apart that is one.
const VOLATILE: [&str; 15] = [
    "pod-template-hash",
    "pod-template-generation",
    "controller-revision-hash",
    "rollouts-pod-template-hash",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/job-name",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-completion-index",
    "job-name",
    "controller-uid",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
];

/// The workload of a pod: the kind and name of the controller at the top, as far as Weir knows the way
/// there. `above` is what a ReplicaSet or Job that owns the pod says of its own owner, where it is known.
///
/// A Deployment, StatefulSet, DaemonSet or CronJob is a workload even where an operator's resource owns
/// it: one such resource often has several, which do different things.
pub fn workload_of(pod: &Pod, above: Option<(OwnerKind, String)>) -> (OwnerKind, String) {
    let Some(owner) = &pod.owner else {
        return (OwnerKind::Pod, pod.meta.name.name.clone());
    };
    match owner.kind {
        OwnerKind::Node => static_pod(pod, &owner.name),
        OwnerKind::ReplicaSet | OwnerKind::Job => {
            above.unwrap_or_else(|| guessed(owner, &pod.labels))
        }
        _ => (owner.kind.clone(), owner.name.clone()),
    }
}

/// A ReplicaSet that has not been seen, or may not be: its name ends with the hash that its pods have
/// as a label, and what stands before is the name of the Deployment or Rollout.
fn guessed(owner: &Owner, labels: &Labels) -> (OwnerKind, String) {
    let makers = [
        (
            "rollouts-pod-template-hash",
            OwnerKind::Other("Rollout".to_owned()),
        ),
        ("pod-template-hash", OwnerKind::Deployment),
    ];
    for (label, kind) in makers {
        let hash = labels
            .get(label)
            .filter(|_| owner.kind == OwnerKind::ReplicaSet);
        let name = hash.and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-'));
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            return (kind, name.to_owned());
        }
    }
    (owner.kind.clone(), owner.name.clone())
}

/// A node's kubelet adds the node's name to that of a static pod: without it, the same one on several
/// nodes is one workload.
fn static_pod(pod: &Pod, node: &str) -> (OwnerKind, String) {
    let name = &pod.meta.name.name;
    let plain = name.strip_suffix(node).and_then(|it| it.strip_suffix('-'));
    let plain = plain.filter(|plain| !plain.is_empty());
    (OwnerKind::Pod, plain.unwrap_or(name).to_owned())
}

/// The labels that say what a pod is, not which one it is.
pub fn lasting_labels(labels: &Labels) -> Labels {
    labels
        .iter()
        .filter(|(key, _)| !VOLATILE.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// A name that a document can have, for one that Kubernetes allows: other characters become hyphens,
/// what is too long is cut, and where either happened a hash of the whole name keeps it apart from
/// others.
pub fn document_name(name: &str) -> String {
    if check_name(name).is_ok() {
        return name.to_owned();
    }
    let plain: String = name
        .chars()
        .map(|char| match char {
            'a'..='z' | '0'..='9' => char,
            _ => '-',
        })
        .take(54)
        .collect();
    let plain = plain.trim_matches('-');
    let plain = if plain.is_empty() { "x" } else { plain };
    format!("{plain}-{}", mark(name))
}

/// The name of a workload whose name another one has already.
pub fn second_name(kind: &OwnerKind, name: &str) -> String {
    let kind = kind.lower();
    document_name(&format!(
        "{name}-{kind}-{}",
        mark(&format!("{kind} {name}"))
    ))
}

/// The SPIFFE id of a service account.
pub fn spiffe_id(trust_domain: &str, namespace: &str, service_account: &str) -> String {
    format!("spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}")
}

/// Eight digits, the same in every version of Weir.
fn mark(of: &str) -> String {
    let digest = Sha256::digest(of.as_bytes());
    digest
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Meta, ObjectName};

    fn pod(name: &str, owner: Option<(OwnerKind, &str, u128)>, labels: &[(&str, &str)]) -> Pod {
        Pod {
            meta: meta(name, 1),
            labels: labels
                .iter()
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect(),
            owner: owner.map(|(kind, name, uid)| Owner {
                kind,
                name: name.to_owned(),
                uid,
            }),
            service_account: None,
            images: Default::default(),
            node: None,
            host_network: false,
            addresses: Vec::new(),
            finished: false,
            terminating: false,
            bound_us: 0,
        }
    }

    fn meta(name: &str, uid: u128) -> Meta {
        Meta {
            name: ObjectName {
                namespace: "shop".to_owned(),
                name: name.to_owned(),
            },
            uid,
            created_us: 0,
        }
    }

    fn found(pod: &Pod, above: Option<(OwnerKind, &str)>) -> String {
        let above = above.map(|(kind, name)| (kind, name.to_owned()));
        let (kind, name) = workload_of(pod, above);
        format!("{} {name}", kind.lower())
    }

    #[test]
    fn a_workload_is_the_top_of_the_known_owners() {
        use OwnerKind::{CronJob, Deployment, Job, Node, Other, ReplicaSet, StatefulSet};
        let of_set = pod("web-5d-x", Some((ReplicaSet, "web-5d", 5)), &[]);
        assert_eq!(found(&of_set, Some((Deployment, "web"))), "deployment web");
        let rollout = Some((Other("Rollout".into()), "web"));
        assert_eq!(found(&of_set, rollout), "rollout web");
        assert_eq!(found(&of_set, None), "replicaset web-5d");
        let hashed = |label| pod("p", Some((ReplicaSet, "web-5d", 5)), &[(label, "5d")]);
        assert_eq!(found(&hashed("pod-template-hash"), None), "deployment web");
        let canary = hashed("rollouts-pod-template-hash");
        assert_eq!(found(&canary, None), "rollout web");
        let nightly = pod("n-1-x", Some((Job, "n-1", 7)), &[]);
        assert_eq!(found(&nightly, Some((CronJob, "n"))), "cronjob n");
        assert_eq!(found(&nightly, None), "job n-1");
        assert_eq!(
            found(&pod("db-0", Some((StatefulSet, "db", 1)), &[]), None),
            "statefulset db"
        );
        assert_eq!(found(&pod("debug", None, &[]), None), "pod debug");
        let control = pod("etcd-cp-1", Some((Node, "cp-1", 1)), &[]);
        assert_eq!(found(&control, None), "pod etcd");
    }

    #[test]
    fn every_name_of_kubernetes_becomes_one_of_a_document() {
        let names = [
            "web",
            "ip-10-0-0-1.eu-west-1.compute.internal",
            "ip-10-0-0-1-eu-west-1.compute.internal",
            &"x".repeat(253),
            &format!("{}y", "x".repeat(252)),
            "...",
            "",
        ];
        let made: std::collections::BTreeSet<String> =
            names.iter().map(|name| document_name(name)).collect();
        assert_eq!(made.len(), names.len());
        for name in &made {
            assert!(check_name(name).is_ok(), "{name}");
        }
        assert!(made.contains("web"));
        let second = second_name(&OwnerKind::StatefulSet, "web");
        assert!(second.starts_with("web-statefulset-") && check_name(&second).is_ok());
        let long = second_name(&OwnerKind::Other("X".repeat(63)), &"y".repeat(253));
        assert!(check_name(&long).is_ok(), "{long}");
    }

    #[test]
    fn labels_that_tell_siblings_apart_are_no_part_of_an_identity() {
        let labels = [
            ("app", "web"),
            ("pod-template-hash", "5d"),
            ("controller-revision-hash", "x"),
            ("statefulset.kubernetes.io/pod-name", "web-0"),
        ];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let lasting = lasting_labels(&labels.into_iter().collect());
        assert_eq!(lasting.keys().collect::<Vec<_>>(), ["app"]);
        assert_eq!(
            spiffe_id("cluster.local", "shop", "db"),
            "spiffe://cluster.local/ns/shop/sa/db"
        );
    }
}
