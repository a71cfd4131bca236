//! weir-node: sits on a node's ports, follows every connection, lets through what policy allows.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{CommandFactory, Parser, Subcommand};
use mimalloc::MiMalloc;
use weir_manual::Configuration;
use weir_metrics::{Listen, ask_readiness};
use weir_node::config::{Config, HugePages, Pair, Tap, parse_pair};
use weir_node::inspect::InspectArguments;
use weir_node::worker::Idle;
use weir_node::{daemon, inspect};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Sits on a node's ports, follows every connection, lets through what policy allows.
#[derive(Parser)]
#[command(name = "weir-node", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the node.
    Run(Box<RunArguments>),
    /// Read a configuration, say whether it holds together, and start nothing.
    Check(CheckArguments),
    /// Ask the node that runs here whether it does its work; fails where it does not.
    Health(CheckArguments),
    /// Take captures along the packet's way: flows, applications, verdicts.
    Inspect(InspectArguments),
    /// Write man pages and completions below a directory, for packages.
    #[command(hide = true)]
    Manual {
        /// The directory, which is made.
        directory: PathBuf,
    },
}

/// The page of the configuration file.
const CONFIGURATION: Configuration<'_> = Configuration {
    name: "weir-node.toml",
    path: "/etc/weir/node.toml",
    about: "configuration of weir-node",
    text: include_str!("../../../deploy/baremetal/node.toml"),
    see_also: "weir-node(1), weir-doctor(1), weir-host(1)",
};

#[derive(clap::Args)]
struct CheckArguments {
    /// The configuration file (TOML).
    #[arg(short, long, default_value = "/etc/weir/node.toml")]
    config: PathBuf,
}

impl CheckArguments {
    fn check(&self) -> Result<()> {
        let config = Config::read(&self.config)?;
        config.check()?;
        let pairs = config.pair.iter().map(|pair| {
            let [first, second] = &pair.ports;
            format!("pair {}: {first} and {second}", pair.name)
        });
        let taps = config.tap.iter().map(|tap| format!("tap {}", tap.port));
        for line in pairs.chain(taps) {
            println!("{line}");
        }
        println!(
            "{} holds together; whether the ports are there, weir doctor knows",
            self.config.display()
        );
        Ok(())
    }

    fn health(&self) -> Result<bool> {
        let Listen::At(address) = Config::read(&self.config)?.metrics.listen else {
            bail!("metrics.listen is off: nobody can be asked; give it an address");
        };
        let (is_ready, says) = ask_readiness(address)
            .with_context(|| format!("no answer of weir-node at {address}"))?;
        println!("{says}");
        Ok(is_ready)
    }
}

/// Each flag replaces the setting of the configuration file.
#[derive(clap::Args)]
struct RunArguments {
    /// The configuration file (TOML).
    #[arg(short, long)]
    config: Option<PathBuf>,
    /// node.name
    #[arg(long)]
    name: Option<String>,
    /// node.state_directory
    #[arg(long)]
    state: Option<PathBuf>,
    /// A DPDK virtual device (repeatable): net_af_packet0,iface=eth0
    #[arg(long = "vdev")]
    virtual_devices: Vec<String>,
    /// A PCI device (repeatable): 0000:01:00.0
    #[arg(long = "device")]
    devices: Vec<String>,
    /// A pair (repeatable): NAME=PORT,PORT[,open|closed]
    #[arg(long = "pair", value_parser = parse_pair)]
    pairs: Vec<Pair>,
    /// A port that only listens (repeatable).
    #[arg(long = "tap")]
    taps: Vec<String>,
    /// Take over from the process at the other end of standard input.
    #[arg(long = "take-over", hide = true)]
    take_over: bool,
    /// workers.cores
    #[arg(long, value_delimiter = ',')]
    cores: Vec<usize>,
    /// Sleep when nothing comes: for machines whose cores are shared.
    #[arg(long)]
    sleep: bool,
    /// eal.huge_pages
    #[arg(long)]
    huge_pages: Option<HugePages>,
    /// Same as --huge-pages never.
    #[arg(long)]
    no_huge: bool,
    /// eal.memory_mb
    #[arg(long)]
    memory_mb: Option<u32>,
    /// controller.address: unix:/path, http://host:port, https://host:port
    #[arg(long)]
    controller: Option<String>,
    /// metrics.listen: address:port, or off
    #[arg(long)]
    metrics_listen: Option<Listen>,
}

impl RunArguments {
    fn config(&self) -> Result<Config> {
        let mut config = self
            .config
            .as_deref()
            .map(Config::read)
            .transpose()?
            .unwrap_or_default();
        replace(&mut config.node.name, &self.name);
        replace(&mut config.node.state_directory, &self.state);
        replace(&mut config.eal.huge_pages, &self.huge_pages);
        replace(&mut config.eal.memory_mb, &self.memory_mb);
        replace(&mut config.metrics.listen, &self.metrics_listen);
        if self.no_huge {
            config.eal.huge_pages = HugePages::Never;
        }
        if self.controller.is_some() {
            config.controller.address.clone_from(&self.controller);
        }
        if !self.cores.is_empty() {
            config.workers.cores.clone_from(&self.cores);
        }
        if self.sleep {
            config.workers.idle = Idle::Sleep;
        }
        config
            .eal
            .virtual_devices
            .extend(self.virtual_devices.iter().cloned());
        config.eal.devices.extend(self.devices.iter().cloned());
        config.pair.extend(self.pairs.iter().cloned());
        config
            .tap
            .extend(self.taps.iter().map(|port| Tap::on(port)));
        Ok(config)
    }
}

fn replace<T: Clone>(setting: &mut T, flag: &Option<T>) {
    if let Some(value) = flag {
        setting.clone_from(value);
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.command {
        Command::Run(run) => {
            start_log();
            run.config()
                .and_then(|config| daemon::run(&config, &|| run.config(), run.take_over))
                .map(|()| true)
        }
        Command::Check(check) => check.check().map(|()| true),
        Command::Health(check) => check.health(),
        Command::Inspect(inspect) => inspect::run(inspect),
        Command::Manual { directory } => {
            weir_manual::write(&Arguments::command(), Some(&CONFIGURATION), directory)
                .with_context(|| format!("cannot write below {}", directory.display()))
                .map(|()| true)
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("weir-node: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_log() {
    let filter =
        tracing_subscriber::EnvFilter::try_from_env("WEIR_LOG").unwrap_or_else(|_| "info".into());
    weir_service::log::start("weir-node", filter);
}
