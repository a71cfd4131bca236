//! Commands and flags; help and completions come from here.

mod host;
mod policy;

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use tonic::transport::Channel;
use weir_api::v1::operator_client::OperatorClient;
use weir_api::{DEFAULT_OPERATOR_ENDPOINT, Endpoint, MESSAGE_BYTES_MAX, TlsFiles};

use crate::command::bundle::BundleCommand;
use crate::error::Failure;
use crate::plugin::{Cluster, Forward};
use crate::text;

pub use host::{DoctorArguments, HostCommand, PrepareArguments};
pub use policy::{GuardrailArguments, GuardrailCommand, ImpactArguments, PolicyCommand};

/// The connection to the controller.
pub type Client = OperatorClient<Channel>;

/// See who speaks to whom, learn the allowlist, and enforce it.
#[derive(Debug, Parser)]
#[command(
    name = "weir",
    version,
    after_help = "Exit codes: 0 done, or the answer is yes; 1 failed, or the answer is no (denied, \
different, not accepted); 2 wrong usage; 3 the controller cannot be reached."
)]
pub struct Arguments {
    /// How to print.
    #[arg(short, long, value_enum, global = true, default_value_t = Format::Table)]
    pub output: Format,
    #[command(flatten)]
    pub controller: Controller,
    #[command(flatten)]
    pub cluster: Cluster,
    #[command(subcommand)]
    pub command: Command,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people.
    Table,
    /// JSON; what is followed comes one object per line.
    Json,
    /// YAML; what is followed comes one document each.
    Yaml,
}

/// Where the controller is.
#[derive(Debug, Args)]
pub struct Controller {
    /// The controller: unix:/path, http://host:port or https://host:port; by default
    /// unix:/run/weir/controller.sock, or through the cluster where one is named.
    #[arg(long, env = "WEIR_CONTROLLER", global = true, value_name = "ENDPOINT")]
    controller: Option<String>,
    /// The authorities that the controller's certificate must come from (PEM).
    #[arg(long, env = "WEIR_TLS_CA", global = true, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// One's own certificate (PEM).
    #[arg(long, env = "WEIR_TLS_CERTIFICATE", global = true, value_name = "FILE")]
    tls_certificate: Option<PathBuf>,
    /// The key of the certificate (PEM).
    #[arg(long, env = "WEIR_TLS_KEY", global = true, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// The name in the controller's certificate, where it is not the host's.
    #[arg(long, env = "WEIR_TLS_SERVER_NAME", global = true, value_name = "NAME")]
    tls_server_name: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Nodes, workloads, policy version and problems at a glance.
    Status,
    /// Connections as the nodes saw them, newest last.
    Flows(FlowsArguments),
    /// Threats, signatures and sensors that fired, newest last.
    Alerts(AlertsArguments),
    /// Who speaks to whom, in which application.
    Map {
        /// Only conversations of this workload.
        workload: Option<String>,
    },
    /// Why a connection that was seen was allowed or denied.
    Explain {
        /// Community id, node/flow-id, or 10.0.0.1:4000->10.0.0.2:3306.
        flow: String,
    },
    /// What the policy says of an imagined connection; exit code 1 if it denies.
    WhatIf(WhatIfArguments),
    /// What was learned: review proposals and accept them.
    Learn {
        #[command(subcommand)]
        command: LearnCommand,
    },
    /// The documents: list, test, apply, export, compare.
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// Signatures in Suricata's rule language: check files, explain a rule.
    Sigs {
        #[command(subcommand)]
        command: SigsCommand,
    },
    /// Sensors: what is looked for in content, for DLP and WAF.
    Sensor {
        #[command(subcommand)]
        command: SensorCommand,
    },
    /// Guardrails: Rego policies that every document must satisfy.
    Guardrail {
        #[command(subcommand)]
        command: GuardrailCommand,
    },
    /// Signed policy: what nodes with a public key insist on.
    Bundle {
        #[command(subcommand)]
        command: BundleCommand,
    },
    /// The attacks that nodes look for by themselves: names, default actions, what they are.
    Threats,
    /// How far policy goes for a workload: discover, monitor, protect.
    Mode {
        #[command(subcommand)]
        command: ModeCommand,
    },
    /// Who is cut off from everything, on every node, whatever policy says: list, add, lift.
    Quarantine {
        #[command(subcommand)]
        command: QuarantineCommand,
    },
    /// Packets of a connection or a workload, kept on the nodes as pcapng: list, start, stop, fetch.
    Capture {
        #[command(subcommand)]
        command: CaptureCommand,
    },
    /// The packet's way through each node, stage by stage, with its counters.
    Path {
        /// Only this node.
        node: Option<String>,
    },
    /// What is right and wrong with this machine for weir-node, each with the command that mends it; exit
    /// code 1 if anything fails.
    Doctor(DoctorArguments),
    /// This machine made ready for weir-node, and put back: hugepages, cards, cores.
    Host {
        #[command(subcommand)]
        command: HostCommand,
    },
    /// The applications Weir recognises, the fields that conditions can name, and how many conversations
    /// speak each.
    Apps,
    /// Prints the custom resources of Kubernetes: weir crds | kubectl apply -f -
    Crds {
        /// Only these: allowlists, sensors …
        kinds: Vec<String>,
    },
    /// Prints completions for a shell.
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Writes man pages and completions below a directory, for packages.
    #[command(hide = true)]
    Manual {
        /// The directory, which is made.
        directory: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct FlowsArguments {
    /// Go on with what changes.
    #[arg(short, long)]
    pub follow: bool,
    /// Every record that tells of a connection, not only its newest state.
    #[arg(long)]
    pub every: bool,
    /// How many recent ones at most.
    #[arg(short = 'n', long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Only with this workload at either end.
    #[arg(short, long)]
    pub workload: Option<String>,
    /// Only this application.
    #[arg(short, long)]
    pub application: Option<String>,
    /// Only this verdict: allowed, learning (no rule yet, in discover), would-deny or denied.
    #[arg(long, value_parser = PossibleValuesParser::new(["allowed", "learning", "would-deny", "denied"]))]
    pub verdict: Option<String>,
}

#[derive(Debug, Args)]
pub struct AlertsArguments {
    /// Go on with those that come.
    #[arg(short, long)]
    pub follow: bool,
    /// How many recent ones at most.
    #[arg(short = 'n', long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Only this threat, signature or sensor: its name, or its number.
    #[arg(short, long, value_name = "NAME|ID")]
    pub threat: Option<String>,
    /// Only with this workload at either end.
    #[arg(short, long)]
    pub workload: Option<String>,
    /// Only since then: 90s, 15m, 1h 30m, 2d, or a time as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "AGE|TIME", value_parser = text::since)]
    pub since: Option<u64>,
}

#[derive(Debug, Args)]
pub struct WhatIfArguments {
    /// The client: a workload, an address or "unknown".
    #[arg(long, value_name = "WORKLOAD|ADDRESS")]
    pub from: String,
    /// The server.
    #[arg(long, value_name = "WORKLOAD|ADDRESS")]
    pub to: String,
    /// What the bytes speak; without it, not known yet.
    #[arg(long)]
    pub application: Option<String>,
    /// The server's port, where the protocol has ports.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// IP protocol: tcp, udp, icmp, icmpv6, sctp or a number.
    #[arg(long, default_value = "tcp", value_parser = protocol)]
    pub protocol: u8,
    /// A field of the request: http.path=/api. Repeatable.
    #[arg(long = "field", value_name = "NAME=VALUE", value_parser = key_value)]
    pub fields: Vec<(String, String)>,
}

#[derive(Debug, Subcommand)]
pub enum LearnCommand {
    /// What was seen, as proposals with the reasons for and against.
    Review {
        /// Only proposals for this workload.
        workload: Option<String>,
        /// The same, as a flag.
        #[arg(
            short = 'w',
            long = "workload",
            value_name = "WORKLOAD",
            conflicts_with = "workload"
        )]
        of: Option<String>,
        /// Only proposals with at least this confidence, 0 to 1.
        #[arg(long, value_name = "CONFIDENCE", value_parser = confidence)]
        above: Option<f64>,
        /// Also what the policy covers already.
        #[arg(long, conflicts_with = "rejected")]
        all: bool,
        /// What was rejected, with the reasons given.
        #[arg(long)]
        rejected: bool,
    },
    /// Everything that is known of a proposal: each reason with its weight, a calendar, replicas, alerts.
    Why {
        /// The id, from the review.
        id: String,
    },
    /// Rejects proposals: they are kept, and not proposed again until evidence of another kind comes.
    Reject {
        /// Ids from the review.
        #[arg(required = true)]
        ids: Vec<String>,
        /// Why, for those who look later.
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Confirms that a workload goes on under another name: what was learned of it goes along.
    Same {
        /// The name that is not there any more: namespace/workload.
        old: String,
        /// The name that it has now.
        new: String,
    },
    /// Prints the allowlists that follow from accepted proposals, as YAML to apply or commit.
    Export {
        /// Write the files here instead of printing them.
        #[arg(long, value_name = "DIRECTORY")]
        directory: Option<PathBuf>,
    },
    /// Accepts proposals; `weir learn export` then writes them.
    ///
    /// Nothing is enforced by accepting. Where documents come from a cluster, Weir writes none: the
    /// allowlists are printed, to be applied with kubectl or committed.
    #[command(group = ArgGroup::new("which").required(true))]
    Accept {
        /// Ids from the review.
        #[arg(group = "which")]
        ids: Vec<String>,
        /// Every proposal.
        #[arg(long, group = "which")]
        all: bool,
        /// Every proposal with at least this confidence, 0 to 1.
        #[arg(long, value_name = "CONFIDENCE", group = "which", value_parser = confidence)]
        above: Option<f64>,
    },
}

#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// Who is cut off, since when, until when, by whom and why.
    List,
    /// Cuts workloads off: nothing from or to them passes, on any node.
    Add {
        /// namespace/name, as weir status shows them.
        #[arg(required = true)]
        workloads: Vec<String>,
        /// For so long, like 30m or 2h; without it until somebody lifts it.
        #[arg(long = "for", value_name = "LENGTH", value_parser = humantime::parse_duration)]
        length: Option<std::time::Duration>,
        /// Why, for those who find it later.
        #[arg(long, default_value = "")]
        because: String,
    },
    /// Lets workloads in again.
    Lift {
        /// namespace/name.
        #[arg(required_unless_present = "all")]
        workloads: Vec<String>,
        /// Everybody.
        #[arg(long, conflicts_with = "workloads")]
        all: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum CaptureCommand {
    /// Those that are running and those that nodes keep, with the file and what is in it.
    List,
    /// Captures from now on, until the first of the limits is reached. What was sent before is gone; the
    /// packets that raised alerts are kept by nodes with events.packets.
    #[command(group = ArgGroup::new("whose").required(true).args(["flow", "workload"]))]
    Start {
        /// A connection that was seen: community id, node/flow-id, or 10.0.0.1:4000->10.0.0.2:3306.
        #[arg(long)]
        flow: Option<String>,
        /// Everything from and to a workload (namespace/name), on the nodes where it runs.
        #[arg(long)]
        workload: Option<String>,
        /// At most so many packets on each node.
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        packets: u32,
        /// At most so many bytes of them on each node.
        #[arg(long, default_value_t = 10 << 20, value_parser = clap::value_parser!(u32).range(65_536..=1 << 30))]
        bytes: u32,
        /// For so long, like 30s or 10m, up to 1h.
        #[arg(long = "for", value_name = "LENGTH", default_value = "60s", value_parser = humantime::parse_duration)]
        length: std::time::Duration,
        /// Why, for those who find it later.
        #[arg(long, default_value = "")]
        because: String,
    },
    /// Ends captures; what they have stays on the nodes.
    Stop {
        /// As weir capture list shows them.
        #[arg(required_unless_present = "all")]
        ids: Vec<String>,
        /// All that are running.
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
    /// Brings the files of a capture here.
    Fetch {
        /// As weir capture list shows it.
        id: String,
        /// Only of this node.
        #[arg(long)]
        node: Option<String>,
        /// Into this directory.
        #[arg(long, default_value = ".", value_name = "DIRECTORY")]
        to: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub enum SigsCommand {
    /// Says of each rule whether it is loaded, or exactly why not.
    Test(SigsTestArguments),
    /// Explains what a rule needs to fire, and what it then does.
    Why {
        /// The rule's number.
        #[arg(value_parser = clap::value_parser!(u32).range(1..))]
        sid: u32,
        /// Files of rules, and directories of *.rules; Weir's own where none are named.
        files: Vec<PathBuf>,
        #[command(flatten)]
        reading: SigsReading,
    },
}

#[derive(Debug, Args)]
pub struct SigsTestArguments {
    /// Files of rules, and directories of *.rules; Weir's own where none are named.
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub reading: SigsReading,
    /// Only the language: nothing is compiled.
    #[arg(long)]
    pub syntax: bool,
    /// Exit code 1 if any rule is refused.
    #[arg(long)]
    pub strict: bool,
    /// Only the rules that are not loaded, and the summary.
    #[arg(long)]
    pub refused: bool,
}

/// How rules are read.
#[derive(Debug, Args)]
pub struct SigsReading {
    /// The value of a variable: HOME_NET=10.0.0.0/8, 'HTTP_PORTS=[80,8080]'. Repeatable.
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = variable)]
    pub variables: Vec<(String, String)>,
    /// More classes: a file of lines `config classification: name,words,priority`. Repeatable.
    #[arg(long, value_name = "FILE")]
    pub classification: Vec<PathBuf>,
    /// Rules behind # too.
    #[arg(long)]
    pub commented: bool,
}

#[derive(Debug, Subcommand)]
pub enum SensorCommand {
    /// Compiles the sensors in documents and tries their examples, without a controller.
    ///
    /// With --value or --file, also says which of them fire on that content.
    Test {
        /// Files and directories of YAML.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Content to try them with.
        #[arg(long, value_name = "TEXT", conflicts_with = "file")]
        value: Option<String>,
        /// A file with content to try them with.
        #[arg(long, value_name = "PATH")]
        file: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub enum ModeCommand {
    /// The modes of all workloads, or of one.
    Get { workload: Option<String> },
    /// Sets the mode: `weir mode set shop/photo-db protect`, or `weir mode set --all monitor`.
    Set {
        /// The workloads and the mode: discover, monitor or protect.
        #[arg(required = true, value_name = "WORKLOAD… MODE")]
        words: Vec<String>,
        /// Every workload.
        #[arg(long)]
        all: bool,
    },
}

impl Controller {
    /// Through a cluster, unless an endpoint was named. What forwards the port must outlive the
    /// connection.
    pub fn through(&mut self, cluster: &Cluster) -> Result<Option<Forward>, Failure> {
        if self.controller.is_some() {
            return Ok(None);
        }
        let forward = cluster.forward()?;
        let scheme = match self.tls_ca {
            Some(_) => "https",
            None => "http",
        };
        self.controller = Some(format!("{scheme}://{}", forward.authority));
        Ok(Some(forward))
    }

    /// Connects, or says why not.
    pub async fn connect(self) -> Result<Client, Failure> {
        let tls = TlsFiles::from_options(self.tls_ca, self.tls_certificate, self.tls_key);
        let tls = tls.map_err(|error| Failure::Usage(error.to_string()))?;
        let endpoint: Endpoint = self
            .controller
            .as_deref()
            .unwrap_or(DEFAULT_OPERATOR_ENDPOINT)
            .parse()
            .map_err(|error: weir_api::EndpointError| Failure::Usage(error.to_string()))?;
        let channel = endpoint
            .connect(tls.as_ref(), self.tls_server_name.as_deref())
            .await?;
        Ok(OperatorClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }
}

fn protocol(text: &str) -> Result<u8, String> {
    match text.parse::<weir_model::Protocol>() {
        Ok(protocol) => Ok(protocol.0),
        Err(error) => Err(error.to_string()),
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or("write name=value, for instance http.path=/api")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("write NAME=VALUE, for instance HOME_NET=10.0.0.0/8")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn confidence(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("give a number from 0 to 1".to_owned()),
    }
}
