//! The way to the API server: a kubeconfig, or what a pod is given.

use std::path::PathBuf;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::claims::ExternalAddresses;

/// How the API server is found and read.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The kubeconfig; without one `$KUBECONFIG`, `~/.kube/config`, or what a pod is given.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; without one the current one.
    pub context: Option<String>,
    /// The namespace of the controller itself; without one that of the context or the pod.
    pub namespace: Option<String>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// The trust domain of SPIFFE ids.
    pub trust_domain: String,
    /// What services may claim.
    pub external: ExternalAddresses,
}

/// Why there is no way to an API server. That it does not answer is none: it is waited for.
#[derive(Debug, thiserror::Error)]
#[error("{what}; {next_step}")]
pub struct ConnectError {
    what: String,
    next_step: &'static str,
}

/// The client, the server's address, and the controller's namespace.
pub(crate) async fn connect(settings: &Settings) -> Result<(Client, String, String), ConnectError> {
    let mut config = config(settings).await?;
    // Pauses are the watches' own: they know what is urgent.
    config.default_retry = false;
    config.connect_timeout = Some(settings.timeout);
    let server = config.cluster_url.to_string();
    let server = server.trim_end_matches('/').to_owned();
    let namespace = settings.namespace.clone();
    let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).map_err(|error| ConnectError {
        what: format!("cannot prepare to connect to {server}: {error}"),
        next_step: "see that certificate, key and authority are readable and belong together",
    })?;
    Ok((client, server, namespace))
}

async fn config(settings: &Settings) -> Result<Config, ConnectError> {
    let options = KubeConfigOptions {
        context: settings.context.clone(),
        ..KubeConfigOptions::default()
    };
    let found = match &settings.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path).map_err(|error| ConnectError {
                what: format!("--kubeconfig {}: {}", path.display(), error),
                next_step: "name a kubeconfig that can be read",
            })?;
            Config::from_custom_kubeconfig(kubeconfig, &options).await
        }
        None if settings.context.is_some() => Config::from_kubeconfig(&options).await,
        None => {
            return Config::infer().await.map_err(|error| ConnectError {
                what: format!("no way to an API server is configured: {error}"),
                next_step: "give --kubeconfig, or run as a pod with a service account",
            });
        }
    };
    found.map_err(|error| ConnectError {
        what: format!("the kubeconfig cannot be used: {error}"),
        next_step: "`kubectl config get-contexts` lists the contexts; name one with --context",
    })
}
