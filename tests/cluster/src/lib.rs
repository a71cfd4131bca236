//! A cluster's API server for tests of Weir, whichever there is.
//!
//! ```no_run
//! # async fn example() {
//! use weir_cluster::{Cluster, TestPod};
//!
//! let cluster = Cluster::start().await;               // Weir's CRDs are applied; `backend: …` is printed
//! cluster.namespace("shop", &[("team", "blue")]).await;
//! let owner = cluster.deployment("shop", "web").await; // Deployment → ReplicaSet; what pods name as owner
//! cluster.pod(TestPod::new("shop", "web-0").owner(owner).addresses(&["10.1.0.7", "fd00::7"])).await;
//! let account = cluster.service_account("weir-system", "weir", vec![Cluster::rule("", &["pods"], &["get", "list", "watch"])]).await;
//! if let Some(kubectl) = cluster.kubectl("name_of_the_test") {
//!     kubectl.run(&["get", "pods", "-A"]).await.ok();
//! }
//! if let Some(server) = cluster.faults_or_skip("name_of_the_test") {
//!     server.faults().drop_connections();
//! }
//! # }
//! ```
//!
//! With `KUBEBUILDER_ASSETS` (the directory of `setup-envtest use -p path`) etcd and kube-apiserver are
//! started from there, each cluster with its own ports, files and keys; a directory in which one is
//! missing is an error, never a silent change of the backend. Without it the server of
//! `weir_apiserver` runs in this process. Either ends with its `Cluster`.
//!
//! A test whose faults only the server in this process can show asks with `faults_or_skip` and is
//! skipped by name otherwise.

mod crds;
mod kubectl;
mod objects;
mod real;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tempfile::TempDir;
use weir_apiserver::{ApiServer, Options};

pub use kubectl::{Kubectl, Said};
pub use objects::{Account, TestPod};
pub use real::AssetError;

/// Where the programs of a real API server are, as `setup-envtest` says it.
pub const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// How long anything of a cluster may take to come about.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// An API server, and who may do everything there.
pub struct Cluster {
    backend: Backend,
    kubeconfig: String,
    client: Client,
    folder: TempDir,
}

#[derive(Debug)]
enum Backend {
    InProcess(ApiServer),
    Real(real::Processes),
}

impl Cluster {
    /// A cluster with Weir's CRDs.
    ///
    /// # Panics
    /// When it does not start; the message says why.
    pub async fn start() -> Cluster {
        let cluster = Cluster::bare().await;
        cluster.apply_crds().await;
        cluster
    }

    /// A cluster that has never heard of Weir.
    ///
    /// # Panics
    /// When it does not start; the message says why.
    pub async fn bare() -> Cluster {
        Cluster::bare_with(Options::default()).await
    }

    /// As bare; the options hold for the server in this process only.
    ///
    /// # Panics
    /// When it does not start; the message says why.
    pub async fn bare_with(options: Options) -> Cluster {
        let folder = tempfile::Builder::new()
            .prefix("weir-cluster-")
            .tempdir()
            .expect("a temporary directory");
        let (backend, kubeconfig) = match std::env::var_os(ASSETS).filter(|path| !path.is_empty()) {
            Some(assets) => {
                let processes = real::start(Path::new(&assets), folder.path()).await;
                let processes = processes.unwrap_or_else(|error| {
                    panic!("the API server of {ASSETS} did not start: {error}")
                });
                let kubeconfig = processes.kubeconfig();
                (Backend::Real(processes), kubeconfig)
            }
            None => {
                let server = ApiServer::start(options)
                    .await
                    .expect("a port on 127.0.0.1");
                let kubeconfig = server.kubeconfig("admin");
                (Backend::InProcess(server), kubeconfig)
            }
        };
        let client = client_of(&kubeconfig).await;
        let cluster = Cluster {
            backend,
            kubeconfig,
            client,
            folder,
        };
        println!("backend: {}", cluster.backend());
        std::fs::write(cluster.kubeconfig_path(), &cluster.kubeconfig)
            .expect("the kubeconfig is written");
        cluster
    }

    /// Which server this is: `in-process`, or `kube-apiserver` and where it is from.
    #[must_use]
    pub fn backend(&self) -> String {
        match &self.backend {
            Backend::InProcess(_) => "in-process".to_owned(),
            Backend::Real(processes) => {
                format!("kube-apiserver of {}", processes.assets().display())
            }
        }
    }

    /// The server in this process, whose faults a test needs; says that the test is skipped otherwise.
    #[must_use]
    pub fn faults_or_skip(&self, test: &str) -> Option<&ApiServer> {
        match &self.backend {
            Backend::InProcess(server) => Some(server),
            Backend::Real(_) => {
                println!(
                    "skipped: {test}: needs faults that only the in-process backend can show (unset {ASSETS})"
                );
                None
            }
        }
    }

    /// A client that may do everything.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A kubeconfig of who may do everything, as YAML.
    #[must_use]
    pub fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }

    /// The same as a file.
    #[must_use]
    pub fn kubeconfig_path(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// A directory that goes with the cluster.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// kubectl with this cluster's kubeconfig; says that the test is skipped when there is none.
    #[must_use]
    pub fn kubectl(&self, test: &str) -> Option<Kubectl> {
        Kubectl::find(test, &self.kubeconfig_path(), self.folder.path())
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Cluster")
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}

/// A client for a kubeconfig.
///
/// # Panics
/// When the kubeconfig is none.
pub async fn client_of(kubeconfig: &str) -> Client {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).expect("a kubeconfig is YAML");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("the kubeconfig is whole")).expect("a client of it")
}
