//! The controller daemon: flags, log, signals.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;
use tracing_subscriber::EnvFilter;
use weir_api::{DEFAULT_OPERATOR_ENDPOINT, Endpoint, TlsFiles};
use weir_controller::{Config, Controller};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Holds workloads, allowlists and learned behaviour; brings policy to the nodes.
#[derive(Debug, Parser)]
#[command(name = "weir-controller", version)]
struct Arguments {
    /// Where workloads and allowlists come from.
    #[arg(long, env = "WEIR_SOURCE", value_enum, default_value_t = SourceKind::Files)]
    source: SourceKind,
    /// The directory of YAML documents, for --source files.
    #[arg(long, env = "WEIR_DIRECTORY", default_value = "/etc/weir/policy")]
    directory: PathBuf,
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
    /// What is logged: error, warn, info, debug, trace, or a filter for each module.
    #[arg(long, env = "WEIR_LOG", default_value = "info")]
    log: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SourceKind {
    /// A directory of YAML documents.
    Files,
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
    let filter = EnvFilter::try_new(&arguments.log).map_err(|error| {
        format!(
            "--log {:?} is no filter: {error}; write info, or weir_controller=debug",
            arguments.log
        )
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let SourceKind::Files = arguments.source;
    let tls = TlsFiles::from_options(
        arguments.tls_ca,
        arguments.tls_certificate,
        arguments.tls_key,
    );
    let config = Config {
        directory: arguments.directory,
        state: arguments.state,
        listen: endpoint("--listen", &arguments.listen)?,
        node_listen: endpoint("--node-listen", &arguments.node_listen)?,
        tls: tls.map_err(|error| error.to_string())?,
        operator_ca: arguments.operator_tls_ca,
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
        tokio::select! {
            _ = terminate.recv() => info!("terminated"),
            _ = interrupt.recv() => info!("interrupted"),
        }
        controller.stop().await;
        Ok(())
    })
}

fn endpoint(flag: &str, text: &str) -> Result<Endpoint, String> {
    text.parse().map_err(|error| format!("{flag}: {error}"))
}
