//! Objects that tests need, in a line each.

use std::fmt;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, Resource};
use serde_json::{Map, Value, json};

use crate::{Cluster, client_of};

/// A pod as its kubelet would tell of it.
#[derive(Debug, Clone)]
pub struct TestPod {
    namespace: String,
    name: String,
    labels: Map<String, Value>,
    owner: Option<Value>,
    service_account: String,
    node: String,
    addresses: Vec<String>,
    host_network: bool,
    phase: String,
    image: String,
    annotations: Map<String, Value>,
}

impl TestPod {
    /// A running pod without address, owner or node.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> TestPod {
        TestPod {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            labels: Map::new(),
            owner: None,
            service_account: "default".to_owned(),
            node: String::new(),
            addresses: Vec::new(),
            host_network: false,
            phase: "Running".to_owned(),
            image: "registry.example/web:1".to_owned(),
            annotations: Map::new(),
        }
    }

    /// With these labels.
    #[must_use]
    pub fn labels(mut self, labels: &[(&str, &str)]) -> TestPod {
        self.labels = map(labels);
        self
    }

    /// With these annotations.
    #[must_use]
    pub fn annotations(mut self, annotations: &[(&str, &str)]) -> TestPod {
        self.annotations = map(annotations);
        self
    }

    /// Made by this owner: what `Cluster::deployment` gives.
    #[must_use]
    pub fn owner(mut self, owner: Value) -> TestPod {
        self.owner = Some(owner);
        self
    }

    /// Runs as this service account.
    #[must_use]
    pub fn service_account(mut self, name: &str) -> TestPod {
        name.clone_into(&mut self.service_account);
        self
    }

    /// Runs on this node.
    #[must_use]
    pub fn node(mut self, name: &str) -> TestPod {
        name.clone_into(&mut self.node);
        self
    }

    /// Has these addresses, the first as `podIP`.
    #[must_use]
    pub fn addresses(mut self, addresses: &[&str]) -> TestPod {
        self.addresses = addresses
            .iter()
            .map(|&address| address.to_owned())
            .collect();
        self
    }

    /// In the network of its node.
    #[must_use]
    pub fn host_network(mut self) -> TestPod {
        self.host_network = true;
        self
    }

    /// In this phase.
    #[must_use]
    pub fn phase(mut self, phase: &str) -> TestPod {
        phase.clone_into(&mut self.phase);
        self
    }

    /// Of this image.
    #[must_use]
    pub fn image(mut self, image: &str) -> TestPod {
        image.clone_into(&mut self.image);
        self
    }

    /// What is created.
    #[must_use]
    pub fn object(&self) -> Value {
        let mut object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": self.name, "namespace": self.namespace, "labels": self.labels,
                "annotations": self.annotations,
            },
            "spec": {
                "serviceAccountName": self.service_account,
                "containers": [{"name": "main", "image": self.image}],
            },
        });
        if let Some(owner) = &self.owner {
            object["metadata"]["ownerReferences"] = json!([owner]);
        }
        if !self.node.is_empty() {
            object["spec"]["nodeName"] = json!(self.node);
        }
        if self.host_network {
            object["spec"]["hostNetwork"] = json!(true);
        }
        object
    }

    /// What its kubelet says.
    #[must_use]
    pub fn status(&self) -> Value {
        let mut status = json!({
            "phase": self.phase,
            "conditions": [{"type": "Ready", "status": if self.phase == "Running" { "True" } else { "False" }}],
        });
        if let Some(first) = self.addresses.first() {
            status["podIP"] = json!(first);
            status["podIPs"] = self
                .addresses
                .iter()
                .map(|address| json!({"ip": address}))
                .collect();
        }
        json!({"status": status})
    }
}

fn map(pairs: &[(&str, &str)]) -> Map<String, Value> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect()
}

fn typed<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object of this type")
}

/// A service account with a token.
#[derive(Clone)]
pub struct Account {
    /// A client that is this account.
    pub client: Client,
    /// A kubeconfig of this account, as YAML.
    pub kubeconfig: String,
}

impl fmt::Debug for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Account").finish_non_exhaustive()
    }
}

impl Cluster {
    /// Creates a namespace.
    ///
    /// # Panics
    /// When the server refuses; so do all that follow.
    pub async fn namespace(&self, name: &str, labels: &[(&str, &str)]) -> Namespace {
        let object = json!({"metadata": {"name": name, "labels": map(labels)}});
        Api::all(self.client())
            .create(&PostParams::default(), &typed(object))
            .await
            .expect("a namespace is created")
    }

    /// Creates a pod and tells what its kubelet would.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn pod(&self, pod: TestPod) -> Pod {
        let api: Api<Pod> = Api::namespaced(self.client(), &pod.namespace);
        api.create(&PostParams::default(), &typed(pod.object()))
            .await
            .expect("a pod is created");
        self.pod_status(&pod.namespace, &pod.name, pod.status())
            .await
    }

    /// Tells what a kubelet would: a merge patch, `{"status": …}`.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn pod_status(&self, namespace: &str, name: &str, status: Value) -> Pod {
        let api: Api<Pod> = Api::namespaced(self.client(), namespace);
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(status))
            .await
            .expect("a pod's status is written")
    }

    /// Ends a pod at once, as its kubelet does in the end.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn remove_pod(&self, namespace: &str, name: &str) {
        let api: Api<Pod> = Api::namespaced(self.client(), namespace);
        api.delete(name, &DeleteParams::default().grace_period(0))
            .await
            .expect("a pod is deleted");
    }

    /// Creates a Deployment with its ReplicaSet, as the controllers would, and gives what pods of it name as
    /// their owner.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn deployment(&self, namespace: &str, name: &str) -> Value {
        let spec = json!({
            "replicas": 1, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "registry.example/web:1"}]},
            },
        });
        let deployments: Api<Deployment> = Api::namespaced(self.client(), namespace);
        let made = json!({"metadata": {"name": name}, "spec": spec});
        let made = deployments
            .create(&PostParams::default(), &typed(made))
            .await
            .expect("a deployment is created");
        self.replica_set(
            namespace,
            &format!("{name}-5d4f8c7b9"),
            &reference(&made, "Deployment", "apps/v1"),
            &spec,
        )
        .await
    }

    async fn replica_set(&self, namespace: &str, name: &str, owner: &Value, spec: &Value) -> Value {
        let sets: Api<ReplicaSet> = Api::namespaced(self.client(), namespace);
        let set = json!({"metadata": {"name": name, "ownerReferences": [owner]}, "spec": spec});
        let made = sets
            .create(&PostParams::default(), &typed(set))
            .await
            .expect("a replica set is created");
        reference(&made, "ReplicaSet", "apps/v1")
    }

    /// Creates a node with addresses.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn node(&self, name: &str, addresses: &[&str]) -> Node {
        let api: Api<Node> = Api::all(self.client());
        api.create(
            &PostParams::default(),
            &typed(json!({"metadata": {"name": name}})),
        )
        .await
        .expect("a node is created");
        // One of a type: the list is told apart by types.
        let kinds = ["InternalIP", "ExternalIP"];
        let addresses: Vec<Value> = kinds
            .iter()
            .zip(addresses)
            .map(|(kind, address)| json!({"type": kind, "address": address}))
            .collect();
        let status = Patch::Merge(json!({"status": {"addresses": addresses}}));
        api.patch_status(name, &PatchParams::default(), &status)
            .await
            .expect("a node's status is written")
    }

    /// Creates a service: `spec` as people write it.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn service(&self, namespace: &str, name: &str, spec: Value) -> Service {
        let object = json!({"metadata": {"name": name}, "spec": spec});
        let api = Api::namespaced(self.client(), namespace);
        api.create(&PostParams::default(), &typed(object))
            .await
            .expect("a service is created")
    }

    /// Creates an endpoint slice of a service with ready endpoints.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn endpoints(
        &self,
        namespace: &str,
        service: &str,
        addresses: &[&str],
        port: u16,
    ) -> EndpointSlice {
        let six = addresses
            .first()
            .is_some_and(|address| address.contains(':'));
        let endpoints: Vec<Value> = addresses
            .iter()
            .map(|address| json!({"addresses": [address], "conditions": {"ready": true}}))
            .collect();
        let object = json!({
            "metadata": {
                "generateName": format!("{service}-"), "labels": {"kubernetes.io/service-name": service},
            },
            "addressType": if six { "IPv6" } else { "IPv4" },
            "endpoints": endpoints, "ports": [{"name": "", "port": port, "protocol": "TCP"}],
        });
        let api = Api::namespaced(self.client(), namespace);
        api.create(&PostParams::default(), &typed(object))
            .await
            .expect("an endpoint slice is created")
    }

    /// A rule for `service_account`: verbs on resources of an API group.
    #[must_use]
    pub fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
        json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
    }

    /// Creates a service account that may do this in the whole cluster, and nothing else. Its namespace is
    /// made when it is not there.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn service_account(&self, namespace: &str, name: &str, rules: Vec<Value>) -> Account {
        let namespaces: Api<Namespace> = Api::all(self.client());
        if namespaces
            .get_opt(namespace)
            .await
            .expect("namespaces are read")
            .is_none()
        {
            self.namespace(namespace, &[]).await;
        }
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let account = typed(json!({"metadata": {"name": name}}));
        accounts
            .create(&PostParams::default(), &account)
            .await
            .expect("a service account is created");
        self.allow(namespace, name, rules).await;
        let request = typed(json!({"spec": {"audiences": [], "expirationSeconds": 3600}}));
        let issued = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await;
        let token = issued
            .expect("a token is issued")
            .status
            .expect("an issued token")
            .token;
        let kubeconfig = self.kubeconfig_with(&token);
        Account {
            client: client_of(&kubeconfig).await,
            kubeconfig,
        }
    }

    /// What a service account may do from now on, in the whole cluster.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn allow(&self, namespace: &str, name: &str, rules: Vec<Value>) {
        let named = format!("{namespace}-{name}");
        let parameters = PatchParams::apply("weir-tests").force();
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": named},
            "rules": rules,
        });
        let roles: Api<ClusterRole> = Api::all(self.client());
        roles
            .patch(&named, &parameters, &Patch::Apply(role))
            .await
            .expect("a role is applied");
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": named},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": named},
            "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": name}],
        });
        let bindings: Api<ClusterRoleBinding> = Api::all(self.client());
        bindings
            .patch(&named, &parameters, &Patch::Apply(binding))
            .await
            .expect("a binding is applied");
    }

    /// The cluster's kubeconfig with another token.
    fn kubeconfig_with(&self, token: &str) -> String {
        let mut config: Value =
            serde_yaml_ng::from_str(self.kubeconfig()).expect("our own kubeconfig");
        config["users"][0]["user"] = json!({"token": token});
        config.to_string()
    }
}

/// What a dependent says of its owner.
fn reference<K: Resource>(owner: &K, kind: &str, version: &str) -> Value {
    json!({
        "apiVersion": version, "kind": kind, "name": owner.meta().name, "uid": owner.meta().uid, "controller": true,
    })
}
