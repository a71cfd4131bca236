//! From what the API server sends to [`crate::facts`]: only the fields that Weir needs are read, the
//! rest is skipped where it stands.
//!
//! Trusts the server to send what its own kinds look like; distrusts what users and nodes wrote into
//! them: an address that is none, that no host can have, or one too many is left out.

use std::net::IpAddr;

use serde::Deserialize;

use crate::facts::{
    Images, Labels, Meta, Namespace, Node, Object, ObjectName, Owner, OwnerKind, Pod, Service,
    Slice, Step, Template, Watched,
};

/// Addresses of one pod, node or service that are taken.
const ADDRESSES_MAX: usize = 16;
/// Endpoints of one slice that are taken; the API server allows 1,000.
const ENDPOINTS_MAX: usize = 1_000;
/// Images of one pod that are kept, and how long one may be.
const IMAGES_MAX: usize = 64;
const IMAGE_BYTES_MAX: usize = 1_024;
/// The label by which a slice names its service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The metadata of any object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RawMeta {
    pub(crate) name: String,
    pub(crate) namespace: String,
    uid: String,
    pub(crate) resource_version: String,
    creation_timestamp: Option<String>,
    deletion_timestamp: Option<String>,
    labels: Option<Labels>,
    owner_references: Option<Vec<RawOwner>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawOwner {
    api_version: String,
    kind: String,
    name: String,
    uid: String,
    controller: Option<bool>,
}

/// An object of one of the kinds that are watched: what one kind has, the others lack.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RawObject {
    pub(crate) kind: String,
    pub(crate) metadata: RawMeta,
    spec: Option<RawSpec>,
    status: Option<RawStatus>,
    endpoints: Option<Vec<RawEndpoint>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawSpec {
    // Pods.
    node_name: Option<String>,
    service_account_name: Option<String>,
    host_network: Option<bool>,
    containers: Option<Vec<RawContainer>>,
    // Services; the selector of workloads has another shape.
    selector: Option<serde_json::Value>,
    #[serde(rename = "type")]
    type_: Option<String>,
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Option<Vec<String>>,
    #[serde(rename = "externalIPs")]
    external_ips: Option<Vec<String>>,
    external_name: Option<String>,
    // Workloads.
    template: Option<RawTemplate>,
    job_template: Option<RawJobTemplate>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct RawTemplate {
    metadata: RawMeta,
    spec: Option<RawTemplateSpec>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawTemplateSpec {
    service_account_name: Option<String>,
    containers: Option<Vec<RawContainer>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct RawContainer {
    image: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct RawJobTemplate {
    spec: Option<RawJobSpec>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct RawJobSpec {
    template: Option<RawTemplate>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawStatus {
    phase: Option<String>,
    start_time: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<RawAddress>>,
    conditions: Option<Vec<RawCondition>>,
    addresses: Option<Vec<RawNodeAddress>>,
    load_balancer: Option<RawBalancer>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct RawAddress {
    ip: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawCondition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    last_transition_time: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct RawNodeAddress {
    #[serde(rename = "type")]
    type_: String,
    address: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct RawBalancer {
    ingress: Option<Vec<RawAddress>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct RawEndpoint {
    addresses: Option<Vec<String>>,
}

/// What Weir needs of an object.
pub(crate) fn read(kind: Watched, raw: RawObject) -> Object {
    let RawObject {
        metadata,
        spec,
        status,
        endpoints,
        kind: _,
    } = raw;
    let (spec, status) = (spec.unwrap_or_default(), status.unwrap_or_default());
    match kind {
        Watched::Pod => Object::Pod(pod(metadata, spec, status)),
        Watched::Namespace => Object::Namespace(Namespace {
            meta: meta(&metadata),
            labels: metadata.labels.unwrap_or_default(),
        }),
        Watched::Service => Object::Service(service(metadata, spec, status)),
        Watched::EndpointSlice => {
            let endpoints = endpoints.unwrap_or_default().into_iter();
            let texts = endpoints.flat_map(|endpoint| endpoint.addresses.unwrap_or_default());
            let labels = metadata.labels.as_ref();
            Object::Slice(Slice {
                meta: meta(&metadata),
                service: labels.and_then(|labels| labels.get(SERVICE_NAME)).cloned(),
                addresses: addresses(texts, ENDPOINTS_MAX),
            })
        }
        Watched::Node => {
            let known = status.addresses.unwrap_or_default().into_iter();
            let internal = known.filter(|it| it.type_ == "InternalIP");
            Object::Node(Node {
                meta: meta(&metadata),
                addresses: addresses(internal.map(|it| it.address), ADDRESSES_MAX),
                labels: metadata.labels.unwrap_or_default(),
            })
        }
        Watched::ServiceAccount => Object::Account(meta(&metadata)),
        Watched::ReplicaSet => Object::Step(step(&metadata, OwnerKind::ReplicaSet)),
        Watched::Job => Object::Step(step(&metadata, OwnerKind::Job)),
        Watched::Deployment => template(&metadata, OwnerKind::Deployment, spec.template),
        Watched::StatefulSet => template(&metadata, OwnerKind::StatefulSet, spec.template),
        Watched::DaemonSet => template(&metadata, OwnerKind::DaemonSet, spec.template),
        Watched::CronJob => {
            let job = spec.job_template.and_then(|job| job.spec);
            let of_job = job.and_then(|job| job.template);
            template(&metadata, OwnerKind::CronJob, of_job)
        }
    }
}

/// A uid as a number: they are UUIDs, and whatever else one is, is told apart by a hash.
pub(crate) fn uid(text: &str) -> u128 {
    let digits: String = text.chars().filter(|char| *char != '-').collect();
    if let (32, Ok(number)) = (digits.len(), u128::from_str_radix(&digits, 16)) {
        return number;
    }
    let digest = <sha2::Sha256 as sha2::Digest>::digest(text.as_bytes());
    let bytes = digest.iter().take(16);
    bytes.fold(0, |number, byte| number << 8 | u128::from(*byte))
}

fn meta(raw: &RawMeta) -> Meta {
    Meta {
        name: ObjectName {
            namespace: raw.namespace.clone(),
            name: raw.name.clone(),
        },
        uid: uid(&raw.uid),
        created_us: time_us(raw.creation_timestamp.as_deref()),
    }
}

fn pod(metadata: RawMeta, spec: RawSpec, status: RawStatus) -> Pod {
    let conditions = status.conditions.unwrap_or_default();
    let sandbox = conditions
        .iter()
        .find(|it| it.type_ == "PodReadyToStartContainers" && it.status == "True");
    let bound = sandbox.and_then(|it| it.last_transition_time.as_deref());
    let addresses_told = status.pod_ips.unwrap_or_default().into_iter();
    let all = addresses_told.filter_map(|it| it.ip).chain(status.pod_ip);
    let finished = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    Pod {
        meta: meta(&metadata),
        owner: controller(metadata.owner_references),
        labels: metadata.labels.unwrap_or_default(),
        service_account: spec.service_account_name.filter(|name| !name.is_empty()),
        images: images(spec.containers),
        node: spec.node_name.filter(|name| !name.is_empty()),
        host_network: spec.host_network.unwrap_or_default(),
        addresses: addresses(all, ADDRESSES_MAX),
        finished,
        terminating: metadata.deletion_timestamp.is_some(),
        bound_us: time_us(bound.or(status.start_time.as_deref())),
    }
}

/// A service as an API server writes it; None for what has not its shape.
pub fn service_of(object: &serde_json::Value) -> Option<Service> {
    let raw: RawObject = serde_json::from_value(object.clone()).ok()?;
    let (spec, status) = (raw.spec.unwrap_or_default(), raw.status.unwrap_or_default());
    Some(service(raw.metadata, spec, status))
}

fn service(metadata: RawMeta, spec: RawSpec, status: RawStatus) -> Service {
    let cluster = spec.cluster_ips.unwrap_or_default().into_iter();
    let balancer = status.load_balancer.and_then(|balancer| balancer.ingress);
    let balancer = balancer.unwrap_or_default().into_iter();
    let selector = match spec.selector {
        Some(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let pair = |(key, value): (String, serde_json::Value)| Some((key, value.as_str()?.to_owned()));
    let type_ = spec.type_.as_deref().unwrap_or("ClusterIP");
    Service {
        meta: meta(&metadata),
        selector: selector.into_iter().filter_map(pair).collect(),
        cluster_addresses: addresses(cluster.chain(spec.cluster_ip), ADDRESSES_MAX),
        external_addresses: addresses(spec.external_ips.unwrap_or_default(), ADDRESSES_MAX),
        balancer_addresses: addresses(balancer.filter_map(|it| it.ip), ADDRESSES_MAX),
        balanced: type_ == "LoadBalancer",
        external_name: spec.external_name.filter(|_| type_ == "ExternalName"),
    }
}

fn step(metadata: &RawMeta, kind: OwnerKind) -> Step {
    let references = metadata.owner_references.iter().flatten();
    Step {
        meta: meta(metadata),
        kind,
        owner: references.filter_map(RawOwner::controlling).next(),
    }
}

fn template(metadata: &RawMeta, kind: OwnerKind, template: Option<RawTemplate>) -> Object {
    let template = template.unwrap_or_default();
    let spec = template.spec.unwrap_or_default();
    let account = spec.service_account_name;
    let account = account.filter(|name| !name.is_empty());
    Object::Template(Template {
        meta: meta(metadata),
        kind,
        labels: template.metadata.labels.unwrap_or_default(),
        // Where none is written the pods get the namespace's own.
        service_account: Some(account.unwrap_or_else(|| "default".to_owned())),
        images: images(spec.containers),
    })
}

fn images(containers: Option<Vec<RawContainer>>) -> Images {
    let containers = containers.unwrap_or_default().into_iter();
    let images = containers.filter_map(|container| container.image);
    let bounded = |image: &String| !image.is_empty() && image.len() <= IMAGE_BYTES_MAX;
    images.filter(bounded).take(IMAGES_MAX).collect()
}

fn controller(references: Option<Vec<RawOwner>>) -> Option<Owner> {
    let references = references.unwrap_or_default();
    references.iter().find_map(RawOwner::controlling)
}

impl RawOwner {
    fn controlling(&self) -> Option<Owner> {
        self.controller.unwrap_or_default().then(|| Owner {
            kind: OwnerKind::of(&self.api_version, &self.kind),
            name: self.name.clone(),
            uid: uid(&self.uid),
        })
    }
}

/// Those of the texts that are addresses of hosts, each once.
fn addresses(texts: impl IntoIterator<Item = String>, most: usize) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for text in texts {
        let Ok(address) = text.parse::<IpAddr>() else {
            continue;
        };
        let address = address.to_canonical();
        let nobodys = address.is_unspecified() || address.is_loopback() || address.is_multicast();
        let broadcast = address == IpAddr::from([255, 255, 255, 255]);
        if !nobodys && !broadcast && !addresses.contains(&address) && addresses.len() < most {
            addresses.push(address);
        }
    }
    addresses
}

/// Microseconds since 1970; 0 for what is no time.
fn time_us(text: Option<&str>) -> u64 {
    let time = text.and_then(|text| humantime::parse_rfc3339(text).ok());
    let since = time.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    since.map_or(0, |since| {
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: Watched, json: serde_json::Value) -> Object {
        read(kind, serde_json::from_value(json).unwrap())
    }

    #[test]
    fn a_pod_is_read_with_what_matters() {
        let json = serde_json::json!({
            "metadata": {
                "name": "web-1-a", "namespace": "shop", "uid": "00000000-0000-0000-0000-00000000000a",
                "creationTimestamp": "1970-01-01T00:00:01Z",
                "managedFields": [{"anything": [1, 2, {"at": "all"}]}],
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1"},
                    {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "b",
                     "controller": true}
                ]
            },
            "spec": {"nodeName": "worker-1", "serviceAccountName": "web",
                     "containers": [{"image": "shop/web:1"}, {"name": "side"}]},
            "status": {
                "phase": "Running", "startTime": "1970-01-01T00:00:02Z",
                "conditions": [{"type": "PodReadyToStartContainers", "status": "True",
                                "lastTransitionTime": "1970-01-01T00:00:03Z"}],
                "podIP": "10.1.0.1",
                "podIPs": [{"ip": "10.1.0.1"}, {"ip": "fd00::1"}, {"ip": "no"}, {"ip": "0.0.0.0"},
                           {"ip": "127.0.0.1"}, {"ip": "::ffff:10.1.0.1"}, {"ip": "224.0.0.1"}]
            }
        });
        let Object::Pod(pod) = object(Watched::Pod, json) else {
            panic!("no pod");
        };
        assert_eq!((pod.meta.uid, pod.meta.created_us), (10, 1_000_000));
        assert_eq!(pod.bound_us, 3_000_000);
        assert_eq!(pod.images, ["shop/web:1".to_owned()].into());
        let owner = pod.owner.unwrap();
        assert_eq!((owner.kind, &*owner.name), (OwnerKind::ReplicaSet, "web-1"));
        let addresses: Vec<String> = pod.addresses.iter().map(IpAddr::to_string).collect();
        assert_eq!(addresses, ["10.1.0.1", "fd00::1"]);
    }

    #[test]
    fn what_is_missing_or_null_is_absent() {
        for kind in Watched::ALL {
            for json in [
                serde_json::json!({}),
                serde_json::json!({"metadata": {"labels": null}, "spec": null, "status": null}),
                serde_json::json!({"spec": {}, "status": {}, "endpoints": null}),
            ] {
                assert_eq!(object(kind, json).watched(), kind);
            }
        }
    }

    #[test]
    fn services_and_cron_jobs_have_shapes_of_their_own() {
        let json = serde_json::json!({
            "spec": {"type": "LoadBalancer", "clusterIP": "None", "clusterIPs": ["None"],
                     "externalIPs": ["8.8.8.8"], "selector": {"app": "web"}},
            "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}, {"hostname": "x"}]}}
        });
        let Object::Service(service) = object(Watched::Service, json) else {
            panic!("no service");
        };
        assert!(service.balanced && service.cluster_addresses.is_empty());
        assert_eq!(service.balancer_addresses.len(), 1);
        assert_eq!(service.selector.len(), 1);
        let json = serde_json::json!({
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "jobTemplate": {"spec": {"template": {
                "metadata": {"labels": {"app": "n"}}, "spec": {}}}}}
        });
        let Object::Template(template) = object(Watched::CronJob, json) else {
            panic!("no template");
        };
        assert_eq!(template.labels.len(), 1);
        assert_eq!(template.service_account.as_deref(), Some("default"));
    }

    #[test]
    fn uids_that_are_no_uuids_are_told_apart() {
        assert_eq!(uid("00000000-0000-0000-0000-0000000000ff"), 255);
        assert_ne!(uid("a"), uid("b"));
    }
}
