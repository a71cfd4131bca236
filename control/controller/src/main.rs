//! The controller daemon: flags, log, signals.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;
use tracing_subscriber::EnvFilter;
use weir_api::{DEFAULT_OPERATOR_ENDPOINT, Endpoint, TlsFiles};
use weir_controller::admission::AdmissionConfig;
use weir_controller::source::SourceConfig;
use weir_controller::{Config, Controller, ResponseConfig, metrics, service};
use weir_kubernetes::{ClaimAction, ExternalAddresses, Settings};
use weir_learn::Ageing;
use weir_manual::Configuration;
use weir_metrics::Listen;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Holds workloads, allowlists and learned behaviour; brings policy to the nodes.
#[derive(Debug, Parser)]
#[command(
    name = "weir-controller",
    version,
    args_conflicts_with_subcommands = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Where workloads and allowlists come from.
    #[arg(long, env = "WEIR_SOURCE", value_enum, default_value_t = SourceKind::Files)]
    source: SourceKind,
    /// The directory of YAML documents, for --source files.
    #[arg(long, env = "WEIR_DIRECTORY", default_value = "/etc/weir/policy")]
    directory: PathBuf,
    /// The kubeconfig, for --source kubernetes; without one $KUBECONFIG, ~/.kube/config, or what a pod is
    /// given.
    #[arg(long, env = "WEIR_KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig, if not its current one.
    #[arg(long, env = "WEIR_CONTEXT")]
    context: Option<String>,
    /// The controller's own namespace, if not that of the context or of its pod.
    #[arg(long, env = "WEIR_NAMESPACE")]
    namespace: Option<String>,
    /// How long the API server may take to answer: 10s, 500ms.
    #[arg(long, env = "WEIR_KUBERNETES_API_TIMEOUT", default_value = "10s", value_parser = humantime::parse_duration)]
    kubernetes_api_timeout: Duration,
    /// Networks from which services are given external and load-balancer addresses, for --source
    /// kubernetes; several with commas. What a service claims beside them is somebody else's
    /// (CVE-2020-8554). Without any, every external address is, and a load balancer's is the service's
    /// own unless a node, a workload or another service has it.
    #[arg(long, env = "WEIR_EXTERNAL_ADDRESSES", value_delimiter = ',')]
    external_addresses: Vec<IpNet>,
    /// What becomes of such a claim; an alert is raised in either case.
    #[arg(long, env = "WEIR_EXTERNAL_CLAIMS", value_enum, default_value_t = ExternalClaims::Refuse)]
    external_claims: ExternalClaims,
    /// The trust domain of the SPIFFE ids of service accounts.
    #[arg(long, env = "WEIR_TRUST_DOMAIN", default_value = "cluster.local")]
    trust_domain: String,
    /// The directory that survives restarts: versions, learned conversations.
    #[arg(long, env = "WEIR_STATE", default_value = "/var/lib/weir/controller")]
    state: PathBuf,
    /// Where operators ask: unix:/path or host:port.
    #[arg(long, env = "WEIR_LISTEN", default_value = DEFAULT_OPERATOR_ENDPOINT)]
    listen: String,
    /// Where nodes subscribe and report: host:port or unix:/path.
    #[arg(long, env = "WEIR_NODE_LISTEN", default_value = "127.0.0.1:7443")]
    node_listen: String,
    /// The authorities that clients' certificates must come from (PEM). With the other two: TLS,
    /// and clients without a certificate are refused.
    #[arg(long, env = "WEIR_TLS_CA")]
    tls_ca: Option<PathBuf>,
    /// The controller's certificate (PEM).
    #[arg(long, env = "WEIR_TLS_CERTIFICATE")]
    tls_certificate: Option<PathBuf>,
    /// The key of the certificate (PEM).
    #[arg(long, env = "WEIR_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// The authorities of operators' certificates (PEM), for a --listen with TLS: others than those
    /// of nodes.
    #[arg(long, env = "WEIR_OPERATOR_TLS_CA")]
    operator_tls_ca: Option<PathBuf>,
    /// The directory of the secrets that webhooks of response rules name.
    #[arg(long, env = "WEIR_SECRETS", default_value = "/etc/weir/secrets")]
    secrets: PathBuf,
    /// Where Falco, Tetragon and the like report (POST /events), as address:port; without it, nowhere.
    #[arg(long, env = "WEIR_EVENTS_LISTEN")]
    events_listen: Option<String>,
    /// The file of the token that they have to send; needed beyond loopback.
    #[arg(long, env = "WEIR_EVENTS_TOKEN_FILE", requires = "events_listen")]
    events_token_file: Option<PathBuf>,
    /// After so many days of absence (beyond its rhythm) what was learned counts half.
    #[arg(long, env = "WEIR_HALF_LIFE_DAYS", default_value_t = Ageing::default().half_life_days, value_parser = clap::value_parser!(u32).range(1..))]
    half_life_days: u32,
    /// After so many days unseen a conversation is forgotten, unless it was accepted.
    #[arg(long, env = "WEIR_FORGET_AFTER_DAYS", default_value_t = Ageing::default().forget_after_days, value_parser = clap::value_parser!(u32).range(1..))]
    forget_after_days: u32,
    /// Where the API server asks for admission: host:port, 0.0.0.0:9443. The certificate is made and
    /// renewed by the controller and kept in Secret weir-webhook, with --source files below --state.
    #[arg(long, env = "WEIR_ADMISSION_LISTEN")]
    admission_listen: Option<std::net::SocketAddr>,
    /// Names and addresses by which the API server calls, besides those of the service weir-controller;
    /// several with commas.
    #[arg(long, env = "WEIR_ADMISSION_NAMES", value_delimiter = ',')]
    admission_names: Vec<String>,
    /// The ValidatingWebhookConfiguration that is told which authorities to believe.
    #[arg(long, env = "WEIR_ADMISSION_CONFIGURATION", default_value = "weir")]
    admission_configuration: String,
    /// Signed policy to be carried to the nodes: the file that weir bundle sign wrote, or configmaps for
    /// what weir bundle manifest printed and kubectl applied to the controller's namespace. It is read
    /// again when it changes.
    #[arg(long, env = "WEIR_BUNDLE", value_name = "FILE|configmaps")]
    bundle: Option<PathBuf>,
    /// Where /metrics, /healthz and /readyz are served: address:port, or off.
    #[arg(long, env = "WEIR_METRICS_LISTEN", default_value = "127.0.0.1:9471")]
    metrics_listen: Listen,
    /// What is logged: error, warn, info, debug, trace, or a filter for each module.
    #[arg(long, env = "WEIR_LOG", default_value = "info")]
    log: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write man pages and completions below a directory, for packages.
    #[command(hide = true)]
    Manual {
        /// The directory, which is made.
        directory: PathBuf,
    },
}

/// The page of the file that the service takes its settings from.
const CONFIGURATION: Configuration<'_> = Configuration {
    name: "weir-controller.env",
    path: "/etc/weir/controller.env",
    about: "settings of the service weir-controller",
    text: include_str!("../../../deploy/baremetal/controller.env"),
    see_also: "weir-controller(1), weir(1)",
};

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SourceKind {
    /// A directory of YAML documents.
    Files,
    /// A Kubernetes API server: its pods are the workloads, its custom resources the policy.
    Kubernetes,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ExternalClaims {
    /// The address is not the service's.
    Refuse,
    /// The address is the service's unless somebody in the cluster has it.
    Alert,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("weir-controller: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), String> {
    if let Some(Command::Manual { directory }) = &arguments.command {
        return weir_manual::write(&Arguments::command(), Some(&CONFIGURATION), directory)
            .map_err(|error| format!("cannot write below {}: {error}", directory.display()));
    }
    // What the client would say of each attempt the source says once.
    let filter =
        EnvFilter::try_new(format!("kube_client=off,{}", arguments.log)).map_err(|error| {
            format!(
                "--log {:?} is no filter: {error}; write info, or weir_controller=debug",
                arguments.log
            )
        })?;
    weir_service::log::start("weir-controller", filter);
    let source = source(&arguments);
    let admission = admission(&arguments)?;
    let (listen, certificate) = (arguments.metrics_listen, arguments.tls_certificate.clone());
    let tls = TlsFiles::from_options(
        arguments.tls_ca,
        arguments.tls_certificate,
        arguments.tls_key,
    );
    let config = Config {
        source,
        response: ResponseConfig {
            secrets: arguments.secrets,
            events_listen: arguments.events_listen,
            events_token: arguments.events_token_file,
        },
        state: arguments.state,
        listen: endpoint("--listen", &arguments.listen)?,
        node_listen: endpoint("--node-listen", &arguments.node_listen)?,
        tls: tls.map_err(|error| error.to_string())?,
        operator_ca: arguments.operator_tls_ca,
        ageing: Ageing {
            half_life_days: arguments.half_life_days,
            forget_after_days: arguments.forget_after_days,
        },
        admission,
        bundle: arguments.bundle.map(Into::into),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
        let controller = Controller::start(config)
            .await
            .map_err(|error| error.to_string())?;
        let supervision = service::watched(&controller);
        metrics::serve(controller.state().clone(), certificate, listen);
        tokio::select! {
            _ = terminate.recv() => info!("terminated"),
            _ = interrupt.recv() => info!("interrupted"),
        }
        drop(supervision);
        controller.stop().await;
        Ok(())
    })
}

fn source(arguments: &Arguments) -> SourceConfig {
    match arguments.source {
        SourceKind::Files => SourceConfig::Files(arguments.directory.clone()),
        SourceKind::Kubernetes => SourceConfig::Kubernetes(Box::new(Settings {
            kubeconfig: arguments.kubeconfig.clone(),
            context: arguments.context.clone(),
            namespace: arguments.namespace.clone(),
            timeout: arguments.kubernetes_api_timeout,
            trust_domain: arguments.trust_domain.clone(),
            external: ExternalAddresses {
                allowed: arguments.external_addresses.clone(),
                action: match arguments.external_claims {
                    ExternalClaims::Refuse => ClaimAction::Refuse,
                    ExternalClaims::Alert => ClaimAction::Alert,
                },
            },
        })),
    }
}

fn admission(arguments: &Arguments) -> Result<Option<AdmissionConfig>, String> {
    let names = &arguments.admission_names;
    if let Some(wrong) = names
        .iter()
        .find(|it| !weir_admission::authority::is_name(it))
    {
        return Err(format!(
            "--admission-names: {wrong:?} is neither a DNS name nor an address"
        ));
    }
    Ok(arguments.admission_listen.map(|listen| AdmissionConfig {
        listen,
        names: names.clone(),
        configuration: arguments.admission_configuration.clone(),
    }))
}

fn endpoint(flag: &str, text: &str) -> Result<Endpoint, String> {
    text.parse().map_err(|error| format!("{flag}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_settings_are_flags_and_their_defaults() {
        let command = Arguments::command();
        let lines = CONFIGURATION.text.lines();
        let settings = lines.filter_map(|line| line.strip_prefix("# ")?.split_once('='));
        let mut known = 0;
        for (name, value) in settings.filter(|(name, _)| name.starts_with("WEIR_")) {
            let mut arguments = command.get_arguments();
            let argument = arguments.find(|it| it.get_env().is_some_and(|env| env == name));
            let argument = argument.unwrap_or_else(|| panic!("{name} is no flag"));
            if let Some(default) = argument.get_default_values().first() {
                assert_eq!(default, value, "{name}");
                known += 1;
            }
        }
        assert!(known > 5);
    }
}
