//! A Kubernetes API server for tests, in this process, on 127.0.0.1 with a port of its own.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use weir_apiserver::{ApiServer, Fault, Options, User, Which};
//!
//! let server = ApiServer::start(Options::default()).await?;
//! let url = server.url();                              // https://127.0.0.1:PORT
//! let kubeconfig = server.kubeconfig("admin");         // for kube and kubectl: YAML
//! server.add_user(User::service_account("weir-system", "weir-control", "its-token"));
//!
//! server.faults().next(1, Which::path("/pods").only_watches(), Fault::Gone);
//! server.faults().drop_connections();                  // ends every connection
//! server.compact();                                    // older watches and lists get 410
//! server.stop().await;                                 // state is kept …
//! server.restart().await?;                             // … and served again at the same port
//! # Ok(())
//! # }
//! ```
//!
//! It serves what a cluster's API server serves to Weir, to `kube` and to `kubectl`: the API's own kinds
//! of `types/*.txt`, custom resources from their CRDs, list and watch with everything that clients build
//! on (paging, bookmarks, 410), all patch kinds with server-side apply, optimistic concurrency,
//! finalizers, graceful deletion of pods, RBAC, and webhooks. There are no controllers, as with envtest:
//! nobody makes pods of a Deployment or empties a namespace.
//!
//! Users of `Options::default()`: `admin` (`system:masters`), `weir`
//! (`system:serviceaccount:weir-system:weir-control`) and `nobody`, with the tokens `admin-token`,
//! `weir-token` and `nobody-token`. All but admin may do what RBAC objects allow.
//!
//! Whether it answers as a real server does is judged by recordings of one: see `tests/judge.rs`.
//!
//! Trusts its tests. Memory: the objects and the history since the last compaction.

mod admission;
mod cel;
mod certificate;
mod clock;
mod cluster;
mod custom;
mod decode;
mod defaults;
mod definition;
mod delete;
mod discovery;
mod establish;
mod failure;
mod faults;
mod fields;
mod identity;
mod kind;
mod openapi;
mod patch;
mod pods;
mod prepare;
mod protobuf;
mod read;
mod request;
mod reviews;
mod route;
mod schema;
mod selector;
mod server;
mod services;
mod shape;
mod state;
mod store;
mod table;
mod types;
mod validate;
mod view;
mod watch;
mod write;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub use faults::{Fault, Faults, Which};
pub use identity::User;

/// Who issues service account tokens: also their audience when nobody asks for another.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc";

/// What open watches get to end in order when the server stops.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// How a server is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who there is.
    pub users: Vec<User>,
    /// How often a quiet watch says where it stands. A real server takes about a minute.
    pub bookmark_every: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            users: vec![
                User::new("admin", "admin-token").in_groups(&["system:masters"]),
                User::new(
                    "system:serviceaccount:weir-system:weir-control",
                    "weir-token",
                )
                .in_groups(&["system:serviceaccounts"])
                .with_uid("u2"),
                User::new("nobody-user", "nobody-token")
                    .in_groups(&["viewers"])
                    .with_uid("u3"),
            ],
            bookmark_every: Duration::from_secs(60),
        }
    }
}

/// A running server. It ends when this is dropped.
pub struct ApiServer {
    state: Arc<state::State>,
    address: SocketAddr,
    tls: TlsAcceptor,
    authority: String,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    stop: tokio::sync::watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl ApiServer {
    /// Starts a server with the namespaces that every cluster has.
    ///
    /// # Errors
    /// When there is no port on 127.0.0.1.
    pub async fn start(options: Options) -> io::Result<ApiServer> {
        let state = Arc::new(state::State::new(options));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let certificate = certificate::make()?;
        let server = ApiServer {
            state,
            address,
            tls: certificate.acceptor,
            authority: certificate.authority,
            running: Mutex::new(None),
        };
        cluster::fill(&server.state, address);
        server.run(listener);
        Ok(server)
    }

    fn run(&self, listener: TcpListener) {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let task = tokio::spawn(server::serve(
            listener,
            self.tls.clone(),
            Arc::clone(&self.state),
            stopped,
        ));
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(Running { stop, task });
    }

    /// Ends the server: watches end as those of a server that was told to stop, then nothing listens and
    /// every connection is gone. What it keeps stays.
    pub async fn stop(&self) {
        let running = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(running) = running {
            self.state.faults.end_watches();
            tokio::time::sleep(LAST_WORDS).await;
            running.stop.send_replace(true);
            let _ = running.task.await;
        }
    }

    /// Serves again after `stop`, at the same address, with everything that was there.
    ///
    /// # Errors
    /// When somebody else took the port meanwhile.
    pub async fn restart(&self) -> io::Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        self.run(listener);
        Ok(())
    }

    /// Forgets the history: watches and lists from before get 410.
    pub fn compact(&self) {
        self.state.store().compact();
    }

    /// The newest revision.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.state.store().revision()
    }

    /// Where it serves. The same port takes plain HTTP too.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The authority that signed the server's certificate, as PEM.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Where it serves.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What can be made to go wrong.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.state.faults
    }

    /// Where a service is that webhooks of the cluster name: there is no network of the cluster here.
    pub fn route_service(&self, namespace: &str, name: &str, address: SocketAddr) {
        self.state.services.route(namespace, name, address);
    }

    /// Makes somebody known, or gives somebody with this token other rights.
    pub fn add_user(&self, user: User) {
        self.state.add_user(user);
    }

    /// Forgets somebody: their token is refused from now on.
    pub fn remove_user(&self, name: &str) {
        self.state.remove_user(name);
    }

    /// A kubeconfig for a user, as YAML (it is JSON). A user that is not known gets a token that is refused.
    #[must_use]
    pub fn kubeconfig(&self, user: &str) -> String {
        let token = self
            .state
            .named_user(user)
            .map_or_else(|| "no-such-token".to_owned(), |user| user.token);
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test", "preferences": {},
            "clusters": [{"name": "test", "cluster": {
                "server": self.url(), "certificate-authority-data": STANDARD.encode(&self.authority),
            }}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user, "namespace": "default"}}],
        })
        .to_string()
    }
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ApiServer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        if let Some(running) = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            running.stop.send_replace(true);
            running.task.abort();
        }
    }
}
