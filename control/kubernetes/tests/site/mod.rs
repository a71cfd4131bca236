//! An API server in this process, a source that reads it, and what that told.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, timeout};
use weir_apiserver::{ApiServer, Options};
use weir_kubernetes::{ClaimAction, ExternalAddresses, KubernetesSource, Settings};
use weir_model::{Document, Kind, Workload};
use weir_sources::{Change, DocumentKey, News};

/// Nothing in these tests takes longer than this unless it is broken.
const PATIENCE: Duration = Duration::from_secs(240);
pub const WEIR: &str = "/apis/weir.dev/v1alpha1";

pub struct Site {
    pub server: ApiServer,
    pub action: ClaimAction,
    client: kube::Client,
    root: TempDir,
}

/// A source and what it told.
pub struct Told {
    pub source: KubernetesSource,
    news: mpsc::Receiver<News>,
    pub told: BTreeMap<DocumentKey, Document>,
    pub revisions: BTreeMap<DocumentKey, u64>,
    pub conditions: String,
    /// Of objects that cannot be read, the problems of the newest one.
    pub invalid: String,
    pub everythings: usize,
    pub removed: Vec<String>,
}

impl Site {
    pub async fn start() -> Self {
        let server = ApiServer::start(Options::default()).await.unwrap();
        let root = tempfile::tempdir().unwrap();
        let kubeconfig = root.path().join("admin.yaml");
        std::fs::write(&kubeconfig, server.kubeconfig("admin")).unwrap();
        let site = Self {
            client: client(kubeconfig).await,
            server,
            action: ClaimAction::Refuse,
            root,
        };
        site.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}))
            .await;
        site
    }

    /// Weir's kinds, with schemas that let everything in.
    pub async fn install(&self) {
        for kind in Kind::ALL
            .into_iter()
            .filter(|kind| *kind != Kind::Namespace)
        {
            let plural = kind.plural();
            let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
            self.create(json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": format!("{plural}.weir.dev")},
                "spec": {
                    "group": "weir.dev",
                    "scope": if kind.is_namespaced() { "Namespaced" } else { "Cluster" },
                    "names": {"plural": plural, "singular": kind.lower(), "kind": kind.name(),
                              "listKind": format!("{}List", kind.name())},
                    "versions": [{"name": "v1alpha1", "served": true, "storage": true,
                                  "subresources": {"status": {}},
                                  "schema": {"openAPIV3Schema": open}}]
                }
            }))
            .await;
        }
        let patience = Instant::now() + PATIENCE;
        while !self.is_installed().await {
            assert!(Instant::now() < patience, "the kinds are never served");
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn is_installed(&self) -> bool {
        let served = self
            .client
            .list_api_group_resources("weir.dev/v1alpha1")
            .await;
        served.is_ok_and(|served| {
            served
                .resources
                .iter()
                .any(|it| it.kind == "LearnedProfile")
        })
    }

    pub async fn source(&self, user: &str) -> Told {
        let path = self
            .root
            .path()
            .join(format!("{}.yaml", user.replace(':', "-")));
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(self.server.kubeconfig(user).as_bytes())
            .unwrap();
        let mut settings = settings(path);
        settings.external.action = self.action;
        Told::start(settings).await
    }

    pub async fn create(&self, object: Value) {
        self.try_create(&object).await.unwrap();
    }

    /// As often as it takes until the server took it.
    pub async fn create_patiently(&self, object: Value) {
        let patience = Instant::now() + PATIENCE;
        while let Err(error) = self.try_create(&object).await {
            if matches!(&error, kube::Error::Api(status) if status.code == 409) {
                return;
            }
            assert!(Instant::now() < patience, "never created: {error}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn try_create(&self, object: &Value) -> Result<Value, kube::Error> {
        self.send("POST", &collection(object), "application/json", object)
            .await
    }

    /// In place of what is there.
    pub async fn apply(&self, object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap();
        let path = format!("{}/{name}", collection(&object));
        let standing: Value = self.client.request(get(&path)).await.unwrap();
        let mut object = object;
        object["metadata"]["resourceVersion"] = standing["metadata"]["resourceVersion"].clone();
        self.send("PUT", &path, "application/json", &object)
            .await
            .unwrap();
    }

    /// The pod gets addresses, as from its kubelet.
    pub async fn bind(&self, pod: &str, addresses: &[&str]) {
        let path = format!("/api/v1/namespaces/shop/pods/{pod}/status");
        let ips: Vec<Value> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
        let status = json!({"status": {"phase": "Running", "podIP": addresses[0], "podIPs": ips}});
        let patience = Instant::now() + PATIENCE;
        let merge = "application/merge-patch+json";
        while let Err(error) = self.send("PATCH", &path, merge, &status).await {
            assert!(Instant::now() < patience, "never bound: {error}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The node has this address, as its kubelet says.
    pub async fn address(&self, node: &str, address: &str) {
        let path = format!("/api/v1/nodes/{node}/status");
        let addresses = json!([{"type": "InternalIP", "address": address}]);
        let status = json!({"status": {"addresses": addresses}});
        let merge = "application/merge-patch+json";
        self.send("PATCH", &path, merge, &status).await.unwrap();
    }

    pub async fn delete(&self, path: &str) {
        let now = json!({"gracePeriodSeconds": 0});
        self.send("DELETE", path, "application/json", &now)
            .await
            .unwrap();
    }

    /// These are the rights of the account `weir-system/weir-control`.
    pub async fn grant(&self, rules: Value) {
        let group = "/apis/rbac.authorization.k8s.io/v1";
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                          "metadata": {"name": "weir"}, "rules": rules});
        if self
            .client
            .request::<Value>(get(&format!("{group}/clusterroles/weir")))
            .await
            .is_ok()
        {
            return self.apply(role).await;
        }
        self.create(role).await;
        self.create(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "weir"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "weir"},
            "subjects": [{"kind": "ServiceAccount", "namespace": "weir-system", "name": "weir-control"}]
        }))
        .await;
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        content: &str,
        body: &Value,
    ) -> Result<Value, kube::Error> {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content)
            .body(body.to_string().into_bytes())
            .unwrap();
        self.client.request(request).await
    }
}

impl Told {
    pub async fn start(settings: Settings) -> Self {
        let (source, news) = KubernetesSource::start(settings).await.unwrap();
        Self {
            source,
            news,
            told: BTreeMap::new(),
            revisions: BTreeMap::new(),
            conditions: String::new(),
            invalid: String::new(),
            everythings: 0,
            removed: Vec::new(),
        }
    }

    /// Reads news until this holds.
    pub async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let patience = Instant::now() + PATIENCE;
        while !holds(self) {
            let left = patience.saturating_duration_since(Instant::now());
            match timeout(left, self.news.recv()).await {
                Ok(Some(news)) => self.take(news),
                Ok(None) => panic!("{what}: the source ended"),
                Err(_) => panic!(
                    "{what}: never; conditions {:?}, documents {:?}",
                    self.conditions,
                    self.told.values().map(Document::title).collect::<Vec<_>>()
                ),
            }
        }
    }

    fn take(&mut self, news: News) {
        let changes = match news {
            News::Everything(changes) => {
                self.everythings += 1;
                self.told.clear();
                changes
            }
            News::Changes(changes) => changes,
            News::Condition(problems) => {
                let lines = problems.iter().map(ToString::to_string);
                self.conditions = lines.collect::<Vec<_>>().join("\n");
                return;
            }
        };
        for change in changes {
            match change {
                Change::Upsert { document, revision } => {
                    let key = DocumentKey::of(&document.value);
                    if self.invalid.contains(&document.value.title()) {
                        self.invalid.clear();
                    }
                    self.told.insert(key.clone(), document.value.clone());
                    self.revisions.insert(key, revision);
                }
                Change::Invalid { problems, .. } => {
                    let lines = problems.iter().map(ToString::to_string);
                    self.invalid = lines.collect::<Vec<_>>().join("\n");
                }
                Change::Remove(key) => {
                    let document = self.told.remove(&key).expect("it was told");
                    self.removed.push(document.title());
                }
            }
        }
    }

    pub fn has(&self, title: &str) -> bool {
        self.told.values().any(|document| document.title() == title)
    }

    pub fn workload(&self, full_name: &str) -> Workload {
        let mut found = self.told.values().filter_map(|document| match document {
            Document::Workload(it) if it.metadata.full_name() == full_name => Some(it.clone()),
            _ => None,
        });
        found
            .next()
            .unwrap_or_else(|| panic!("no workload {full_name}"))
    }

    pub fn addresses_of(&self, full_name: &str) -> Vec<String> {
        let of = self.told.values().find_map(|document| match document {
            Document::Workload(it) if it.metadata.full_name() == full_name => Some(addresses(it)),
            _ => None,
        });
        of.unwrap_or_default()
    }
}

pub fn addresses(workload: &Workload) -> Vec<String> {
    workload
        .spec
        .addresses
        .iter()
        .map(ToString::to_string)
        .collect()
}

pub fn weir_sources_revision(told: &Told, title: &str) -> u64 {
    let key = told
        .told
        .iter()
        .find(|(_, document)| document.title() == title);
    key.and_then(|(key, _)| told.revisions.get(key).copied())
        .unwrap_or_default()
}

pub fn settings(kubeconfig: PathBuf) -> Settings {
    Settings {
        kubeconfig: Some(kubeconfig),
        context: None,
        namespace: None,
        timeout: Duration::from_secs(2),
        trust_domain: "cluster.local".to_owned(),
        external: ExternalAddresses::default(),
    }
}

async fn client(kubeconfig: PathBuf) -> kube::Client {
    let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
    let options = kube::config::KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options);
    kube::Client::try_from(config.await.unwrap()).unwrap()
}

fn get(path: &str) -> http::Request<Vec<u8>> {
    http::Request::get(path).body(Vec::new()).unwrap()
}

fn collection(object: &Value) -> String {
    let version = object["apiVersion"].as_str().unwrap();
    let kind = object["kind"].as_str().unwrap().to_lowercase();
    let root = if version.contains('/') {
        "/apis"
    } else {
        "/api"
    };
    let plural = match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{kind}s"),
    };
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{root}/{version}/namespaces/{namespace}/{plural}"),
        None => format!("{root}/{version}/{plural}"),
    }
}

pub fn node(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
}

pub fn replica_set(name: &str, deployment: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
           "metadata": {"name": name, "namespace": "shop", "ownerReferences": [
               {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment, "uid": "d",
                "controller": true}]},
           "spec": {"replicas": 1, "selector": {"matchLabels": {"app": deployment}},
                    "template": {"metadata": {"labels": {"app": deployment}},
                                 "spec": {"containers": [{"name": "c", "image": "example.invalid/c:1"}]}}}})
}

/// Its ReplicaSet is named by the hash that its pods have as a label.
pub fn pod(name: &str, replica_set: Option<&str>) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": "web"}},
        "spec": {"nodeName": "worker-1", "serviceAccountName": "default",
                 "containers": [{"name": "c", "image": "example.invalid/c:1"}]}
    });
    if let Some(set) = replica_set {
        let hash = set.rsplit('-').next().unwrap();
        pod["metadata"]["labels"]["pod-template-hash"] = hash.into();
        pod["metadata"]["ownerReferences"] = json!([
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set, "uid": "r", "controller": true}
        ]);
    }
    pod
}

pub fn service(name: &str, mut spec: Value) -> Value {
    spec["ports"] = json!([{"port": 80}]);
    json!({"apiVersion": "v1", "kind": "Service",
           "metadata": {"name": name, "namespace": "shop"}, "spec": spec})
}

pub fn allowlist(name: &str, workload: &str) -> Value {
    json!({"apiVersion": "weir.dev/v1alpha1", "kind": "Allowlist",
           "metadata": {"name": name, "namespace": "shop"},
           "spec": {"target": {"workload": workload},
                    "ingress": [{"from": [{"workload": "client"}], "ports": [80]}]}})
}

/// A server that has been restored from a backup: its versions begin anew, and a watch from a version
/// that it has not reached is silent.
pub struct Backwards {
    pub kubeconfig: PathBuf,
    went_back: Arc<AtomicBool>,
    end_watches: Arc<Notify>,
    _root: TempDir,
}

impl Backwards {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let root = tempfile::tempdir().unwrap();
        let kubeconfig = root.path().join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": url}}],
            "users": [{"name": "test", "user": {}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}]
        });
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        let went_back = Arc::new(AtomicBool::new(false));
        let end_watches = Arc::new(Notify::new());
        let (flag, end) = (went_back.clone(), end_watches.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, flag.clone(), end.clone()));
            }
        });
        Self {
            kubeconfig,
            went_back,
            end_watches,
            _root: root,
        }
    }

    pub fn go_back(&self) {
        self.went_back.store(true, Ordering::SeqCst);
        self.end_watches.notify_waiters();
    }
}

/// One request of a connection.
async fn answer(mut stream: TcpStream, went_back: Arc<AtomicBool>, end: Arc<Notify>) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(read) if read > 0 => request.extend_from_slice(&buffer[..read]),
            _ => return,
        }
    }
    let line = String::from_utf8_lossy(&request);
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    if path.contains("watch=true") {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
        let _ = stream.write_all(head.as_bytes()).await;
        return end.notified().await;
    }
    let back = went_back.load(Ordering::SeqCst);
    let (version, name) = if back {
        ("50", "after")
    } else {
        ("100", "before")
    };
    let mut items = json!([]);
    if path.starts_with("/api/v1/pods") {
        items = json!([{"metadata": {"name": name, "namespace": "shop", "uid": name}}]);
    }
    let mut body = json!({"metadata": {"resourceVersion": version}, "items": items});
    if path == WEIR {
        let kind = |kind: Kind| {
            json!({"name": kind.plural(), "singularName": kind.lower(),
            "namespaced": kind.is_namespaced(), "kind": kind.name(), "verbs": ["list", "watch"]})
        };
        body = json!({"kind": "APIResourceList", "apiVersion": "v1",
            "groupVersion": "weir.dev/v1alpha1",
            "resources": Kind::ALL.into_iter().map(kind).collect::<Vec<_>>()});
    }
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
}
