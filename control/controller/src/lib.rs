//! The controller: sources → compile → push, and observations → learn.
//!
//! Start at [`Controller::start`]. [`pipeline`] makes versions, [`push`] brings them to nodes,
//! [`view`] is the whole as people ask about it,
//! [`observe`] takes what nodes saw, [`operator`] answers people. [`state::State`] is what they
//! share, [`store::Store`] what survives a restart.

pub mod admission;
pub mod alerts;
pub mod bundle;
pub mod capture;
pub mod certificate;
pub mod cluster;
pub mod connections;
pub mod conversation;
mod counted;
pub mod deciders;
pub mod drafts;
pub mod flows;
pub mod guardrails;
pub mod impact;
pub mod judge;
pub mod learning;
pub mod metrics;
pub mod names;
pub mod nodes;
pub mod observe;
pub mod operator;
pub mod pipeline;
pub mod policy;
pub mod push;
pub mod response;
pub mod service;
pub mod source;
pub mod state;
pub mod store;
mod time;
pub mod view;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tonic::transport::Server;
use tracing::{error, info, warn};
use weir_api::v1::captures_server::CapturesServer;
use weir_api::v1::observations_server::ObservationsServer;
use weir_api::v1::operator_server::OperatorServer;
use weir_api::v1::policy_distribution_server::PolicyDistributionServer;
use weir_api::{Endpoint, EndpointError, Listener, MESSAGE_BYTES_MAX, ServerTls, TlsFiles};
use weir_learn::Ageing;

use crate::admission::AdmissionConfig;
use crate::certificate::Gate;
use crate::conversation::Conversations;
use crate::observe::Observed;
use crate::pipeline::Pipeline;
use crate::push::rate::Rate;
use crate::source::{Source, SourceConfig};
use crate::state::State;
use crate::store::{Store, StoreError};
use crate::view::Published;

/// How often learned conversations are written.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// How long open connections have when the controller stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// A dead node is noticed after the sum of both.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// A node has three streams, an operator a few.
const STREAMS_MAX: u32 = 64;
/// So many refused connections are told of at once, then one a second.
const REFUSALS_TOLD: u64 = 10;

/// What a controller is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where documents come from.
    pub source: SourceConfig,
    /// The directory of the store.
    pub state: PathBuf,
    /// Where signed policy is, to be carried to the nodes.
    pub bundle: Option<bundle::BundleFrom>,
    /// What response rules are carried out with.
    pub response: ResponseConfig,
    /// Where operators ask.
    pub listen: Endpoint,
    /// Where nodes subscribe and report.
    pub node_listen: Endpoint,
    /// Mutual TLS wherever that is no unix socket.
    pub tls: Option<TlsFiles>,
    /// The authority of the operators' certificates, which must not be that of the nodes.
    pub operator_ca: Option<PathBuf>,
    /// How what was learned fades and is forgotten.
    pub ageing: Ageing,
    /// The admission webhook, where it is to run.
    pub admission: Option<AdmissionConfig>,
}

/// What response rules are carried out with.
#[derive(Clone, Debug, Default)]
pub struct ResponseConfig {
    /// The directory of the secrets that webhooks name.
    pub secrets: PathBuf,
    /// Where other programs report events, as `address:port`.
    pub events_listen: Option<String>,
    /// The file of the token that they have to know.
    pub events_token: Option<PathBuf>,
}

/// Why the controller cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The documents' directory.
    #[error(transparent)]
    Source(#[from] weir_sources::SourceError),
    /// The way to the API server.
    #[error(transparent)]
    Connect(#[from] weir_kubernetes::ConnectError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the store remembers is of no use.
    #[error("{0}; move the store away to start anew, which forgets what was learned")]
    Remembered(String),
    /// A place to listen.
    #[error(transparent)]
    Listen(#[from] EndpointError),
    /// Nodes could act as operators.
    #[error("{0} with TLS needs an authority of its own for operators (--operator-tls-ca): {1}")]
    OperatorAuthority(Endpoint, &'static str),
    /// The webhook's place to listen.
    #[error("cannot listen for admission reviews on {0}: {1}; give another --admission-listen")]
    Admission(std::net::SocketAddr, std::io::Error),
    /// ConfigMaps without a cluster.
    #[error(
        "signed policy is to come from ConfigMaps, but only with --source kubernetes is there a cluster; \
         give --bundle a file (./configmaps for one that is called so)"
    )]
    Bundle,
    /// What response rules need.
    #[error("responses cannot be set up: {0}")]
    Response(String),
}

/// A running controller.
#[derive(Debug)]
pub struct Controller {
    /// Where operators ask; a port 0 has become a real one.
    pub listen: Endpoint,
    /// Where nodes subscribe and report.
    pub node_listen: Endpoint,
    /// Where the API server asks for admission, where it can.
    pub admission_listen: Option<std::net::SocketAddr>,
    state: Arc<State>,
    tasks: Vec<JoinHandle<()>>,
}

impl Controller {
    /// Starts everything: when it returns, both endpoints answer, and documents of files have been
    /// compiled; an API server is waited for while the last policy holds. Mistakes in documents do not
    /// keep it from starting.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let Config {
            source,
            state,
            response,
            listen,
            node_listen,
            tls,
            operator_ca,
            ageing,
            admission,
            bundle,
        } = config;
        let directory = state.clone();
        let operator_tls = operator_tls(&listen, tls.as_ref(), operator_ca)?;
        let node_tls = tls.filter(|_| !matches!(node_listen, Endpoint::Unix(_)));
        let operator_tls = tls_server(operator_tls.as_ref())?;
        let node_tls = tls_server(node_tls.as_ref())?;
        // The store is locked before anything is listened on: of two controllers with one state
        // directory the second touches nothing.
        let store = policy::blocking(move || Store::open(&state)).await?;
        let (source, feed) = Source::open(source).await?;
        let state = policy::blocking(move || open(store, source, ageing)).await?;
        // Before the first node comes: one that wants signatures would refuse what comes without.
        let carrier = match bundle {
            Some(from) => Some(bundle::Carrier::start(from, &state).await?),
            None => None,
        };
        let listener = listen.listen().await?;
        let node_listener = node_listen.listen().await?;
        if let Source::Files(files) = &state.source {
            // What is wrong with them is in the log and the status; it keeps nobody from starting.
            let _ = state.take(files.state()).await;
        }
        let (listen, node_listen) = (listener.endpoint(), node_listener.endpoint());
        for (endpoint, tls, who) in [
            (&listen, &operator_tls, "operators"),
            (&node_listen, &node_tls, "nodes"),
        ] {
            info!(%endpoint, tls = tls.is_some(), "listening for {who}");
            if tls.is_none() && endpoint.is_exposed() {
                warn!(
                    "without TLS whoever reaches {endpoint} can act as one of the {who}; \
                     give TLS files, a loopback address or a unix socket"
                );
            }
        }
        let gate = Gate {
            tls: node_tls.clone(),
        };
        let operator = OperatorServer::new(operator::Operator::new(state.clone()))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let push = PolicyDistributionServer::new(push::Push::new(state.clone(), gate.clone()))
            .max_decoding_message_size(push::NODE_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let follow = CapturesServer::new(capture::Follow::new(state.clone(), gate.clone()));
        let observe = ObservationsServer::new(observe::Observe::new(state.clone(), gate))
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        // What one endpoint serves the other does not: a node is no operator.
        let operator_router = server().add_service(operator);
        let node_router = server()
            .add_service(push)
            .add_service(observe)
            .add_service(follow);
        let delivery = response::Delivery::of(&response);
        let desk = response::desk(&response, state.clone()).await;
        let desk = desk.map_err(StartError::Response)?;
        let mut tasks = vec![
            tokio::spawn(response::serve(state.clone(), delivery)),
            tokio::spawn(serve(
                listener,
                operator_router,
                operator_tls,
                state.clone(),
            )),
            tokio::spawn(serve(node_listener, node_router, node_tls, state.clone())),
            tokio::spawn(source::follow(state.clone(), feed)),
            tokio::spawn(source::raise_claims(state.clone())),
            tokio::spawn(view::follow(state.clone())),
            tokio::spawn(flush_often(state.clone())),
            tokio::spawn(learning::age(state.clone())),
            tokio::spawn(cluster::run(state.clone())),
        ];
        let mut admission_listen = None;
        if let Some(admission) = admission {
            let wanted = admission.listen;
            let started = admission::start(state.clone(), directory, admission).await;
            let failed = |error| StartError::Admission(wanted, error);
            let (listen, webhook) = started.map_err(failed)?;
            admission_listen = Some(listen);
            tasks.extend(webhook);
        }
        tasks.extend(desk);
        tasks.extend(carrier.map(|carrier| tokio::spawn(carrier.follow(state.clone()))));
        Ok(Self {
            listen,
            node_listen,
            admission_listen,
            state,
            tasks,
        })
    }

    /// The published version.
    pub fn version(&self) -> u64 {
        self.state.version()
    }

    /// What its parts share.
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Ends the streams, writes what was learned, and returns.
    pub async fn stop(self) {
        self.state.stop();
        for task in self.tasks {
            let abort = task.abort_handle();
            if tokio::time::timeout(STOP_TIMEOUT, task).await.is_err() {
                abort.abort();
            }
        }
        let state = self.state;
        policy::blocking(move || {
            state.flush();
            if let Err(error) = state.pipeline.close() {
                warn!("{error}");
            }
        })
        .await;
        info!("stopped");
    }
}

/// TLS for operators: with a certificate of the nodes' authority a node could change its own policy.
fn operator_tls(
    listen: &Endpoint,
    tls: Option<&TlsFiles>,
    ca: Option<PathBuf>,
) -> Result<Option<TlsFiles>, StartError> {
    let (Endpoint::Tcp { .. }, Some(files)) = (listen, tls) else {
        return Ok(None);
    };
    let refuse = |why| StartError::OperatorAuthority(listen.clone(), why);
    let ca = ca.ok_or_else(|| {
        refuse("give it, or listen for operators on a unix socket, as is the default")
    })?;
    let operators = TlsFiles {
        ca,
        ..files.clone()
    };
    let authority = |files: &TlsFiles| files.authority_text().map_err(EndpointError::from);
    if authority(&operators)? == authority(files)? {
        return Err(refuse("what is given is the authority of the nodes"));
    }
    Ok(Some(operators))
}

fn tls_server(files: Option<&TlsFiles>) -> Result<Option<Arc<ServerTls>>, StartError> {
    let opened = files.map(ServerTls::open).transpose();
    Ok(opened.map_err(EndpointError::from)?.map(Arc::new))
}

fn server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .max_concurrent_streams(STREAMS_MAX)
}

fn open(store: Store, source: Source, ageing: Ageing) -> Result<Arc<State>, StartError> {
    let conversations = Conversations::from_store(store.conversations()?, store.renames()?);
    let store = Arc::new(store);
    let pipeline = Pipeline::open(store.clone())?;
    let published = Published::new(pipeline.whole().unwrap_or_default())
        .map_err(|problem| StartError::Remembered(problem.to_string()))?;
    info!(
        version = pipeline.version(),
        conversations = conversations.count(),
        "remembered from before"
    );
    let observed = Observed::new(conversations, ageing);
    Ok(Arc::new(State::new(
        store, observed, source, pipeline, published,
    )))
}

async fn serve(
    listener: Listener,
    router: tonic::transport::server::Router,
    tls: Option<Arc<ServerTls>>,
    state: Arc<State>,
) {
    let mut stopping = state.stopping();
    let stop = async move {
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    let served = match tls {
        Some(tls) => {
            let watching = tokio::spawn(watch_files(tls.clone()));
            let told = Mutex::new(Rate::new(REFUSALS_TOLD, 1));
            let refused = move |from, why| {
                // Whoever reaches the port can fail as often as he likes.
                if lock(&told).take(1).is_ok() {
                    warn!(%from, why, "a connection is refused");
                }
            };
            let served = listener.serve_tls(router, tls, stop, refused).await;
            watching.abort();
            served
        }
        None => listener.serve(router, stop).await,
    };
    if let Err(problem) = served {
        error!("{problem}");
    }
}

/// Tells of TLS files that cannot be used, once: those of before stay in use.
async fn watch_files(tls: Arc<ServerTls>) {
    let mut told = None;
    loop {
        tokio::time::sleep(KEEP_ALIVE_INTERVAL).await;
        let problem = tls.problem();
        if problem != told
            && let Some(problem) = &problem
        {
            warn!("{problem}; the TLS files of before stay in use");
        }
        told = problem;
    }
}

async fn flush_often(state: Arc<State>) {
    let mut ticks = tokio::time::interval(FLUSH_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stopping = state.stopping();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        let flushing = state.clone();
        policy::blocking(move || flushing.flush()).await;
    }
}

/// Locks; what a panicking holder left is taken as it is, since every update is small and whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
