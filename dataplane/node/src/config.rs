//! The node's configuration: one TOML file, every setting of which a flag may replace.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::host_interface;
use crate::metrics::MetricsSettings;
use crate::takeover::UpgradeSettings;
use crate::worker::Idle;

/// The configuration file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// This node.
    pub node: Node,
    /// DPDK.
    pub eal: Eal,
    /// Workers.
    pub workers: Workers,
    /// Pairs of ports: what comes in at one and may pass leaves at the other.
    pub pair: Vec<Pair>,
    /// Ports that only listen.
    pub tap: Vec<Tap>,
    /// Ports that are made as interfaces of the host.
    pub host_interface: host_interface::Settings,
    /// Where policy comes from.
    pub controller: Controller,
    /// Whose signatures policy needs.
    pub policy: PolicySettings,
    /// Memory.
    pub limits: LimitSettings,
    /// How strictly to look.
    pub inspection: InspectionSettings,
    /// Threats: what each does, and from where on.
    pub threats: weir_threat::Settings,
    /// Events for other programs.
    pub events: EventSettings,
    /// Packets that response rules and operators want to see.
    pub capture: CaptureSettings,
    /// What is left to the next process.
    pub upgrade: UpgradeSettings,
    /// What it tells over HTTP.
    pub metrics: MetricsSettings,
}

/// `[node]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Node {
    /// Its name at the controller.
    pub name: String,
    /// Where it keeps the last good policy.
    pub state_directory: PathBuf,
    /// Milliseconds without progress after which a worker counts as stuck.
    pub stuck_after_ms: u64,
}

impl Default for Node {
    fn default() -> Self {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = if name.trim().is_empty() {
            "node"
        } else {
            name.trim()
        };
        Self {
            name: name.to_owned(),
            state_directory: "/var/lib/weir/node".into(),
            stuck_after_ms: 2000,
        }
    }
}

/// `[eal]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Eal {
    /// `auto`, `required`, `never`.
    pub huge_pages: HugePages,
    /// MiB for pools and devices.
    pub memory_mb: u32,
    /// Devices by PCI address.
    pub devices: Vec<String>,
    /// Virtual devices, as for DPDK's `--vdev`.
    pub virtual_devices: Vec<String>,
    /// Frame buffers.
    pub frame_buffers: u32,
    /// Tells processes on one machine apart; by default made from the process id.
    pub file_prefix: Option<String>,
    /// Passed on to DPDK as they are.
    pub extra: Vec<String>,
}

impl Default for Eal {
    fn default() -> Self {
        Self {
            huge_pages: HugePages::Auto,
            memory_mb: 512,
            devices: Vec::new(),
            virtual_devices: Vec::new(),
            frame_buffers: 32_767,
            file_prefix: None,
            extra: Vec::new(),
        }
    }
}

/// Where DPDK's memory comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum HugePages {
    /// Hugepages when there are enough, ordinary memory otherwise.
    Auto,
    /// Do not start without.
    Required,
    /// Ordinary memory.
    Never,
}

/// `[workers]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workers {
    /// One worker on each of these cores.
    pub cores: Vec<usize>,
    /// What they do when nothing comes.
    pub idle: Idle,
}

impl Default for Workers {
    fn default() -> Self {
        Self {
            cores: vec![0],
            idle: Idle::Spin,
        }
    }
}

/// `[[pair]]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// For people.
    pub name: String,
    /// PCI address, name of the virtual device, or `host:` and the name of an interface to be made.
    pub ports: [String; 2],
    /// What holds when no worker looks.
    #[serde(default)]
    pub fail_mode: FailMode,
    /// Until the first policy was received everything passes, and is learned from, although the pair
    /// fails closed: for a pair that the way to the controller leads through.
    #[serde(default)]
    pub learn_first: bool,
    /// Bytes of the largest IP packet.
    #[serde(default = "default_mtu")]
    pub mtu: u16,
}

/// What a pair does when no worker looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailMode {
    /// Nothing passes.
    #[default]
    Closed,
    /// Everything passes uninspected.
    Open,
}

/// `[[tap]]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tap {
    /// PCI address or name of the virtual device.
    pub port: String,
    /// Bytes of the largest IP packet.
    #[serde(default = "default_mtu")]
    pub mtu: u16,
}

impl Tap {
    /// A tap on this port with everything else as usual.
    pub fn on(port: &str) -> Self {
        Self {
            port: port.to_owned(),
            mtu: default_mtu(),
        }
    }
}

fn default_mtu() -> u16 {
    1500
}

/// `[controller]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Controller {
    /// `unix:/path`, `http://host:port`, `https://host:port`; none: enforce the last good policy only.
    pub address: Option<String>,
    /// Authorities of the controller's certificate.
    pub tls_ca: Option<PathBuf>,
    /// This node's certificate.
    pub tls_certificate: Option<PathBuf>,
    /// Its key.
    pub tls_key: Option<PathBuf>,
    /// The name in the controller's certificate, where it is not the host of the address.
    pub tls_server_name: Option<String>,
}

/// `[policy]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicySettings {
    /// Public keys (PEM). With any, only policy that follows from documents they signed is taken.
    pub public_keys: Vec<PathBuf>,
    /// So many of them must have signed.
    pub threshold: usize,
    /// So many must have signed where the documents open what those in force keep shut.
    pub weakening_threshold: usize,
    /// The name of the bundles that are taken; none: of any.
    pub bundle: Option<String>,
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self {
            public_keys: Vec::new(),
            threshold: 1,
            weakening_threshold: 1,
            bundle: None,
        }
    }
}

/// `[limits]`, per worker.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    /// Flows in the table.
    pub flows: usize,
    /// Flows under inspection at a time.
    pub sessions: usize,
    /// Packets held for unknown addresses.
    pub held_packets: usize,
    /// MiB for content that waits or may be repeated.
    pub reassembly_mb: usize,
    /// Events that wait to be read.
    pub events: usize,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            flows: 1 << 17,
            sessions: 1 << 14,
            held_packets: 1024,
            reassembly_mb: 64,
            events: 8192,
        }
    }
}

/// `[inspection]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InspectionSettings {
    /// Tunnels opened to reach the packet that policy judges.
    pub tunnels: u8,
    /// Verify checksums of packets whose content is read.
    pub verify_checksums: bool,
    /// What becomes of content that cannot be looked into.
    pub strictness: Strictness,
    /// Look by Weir's own rules as well.
    pub shipped_rules: bool,
    /// Rule files or directories of signatures.
    pub signatures: Vec<PathBuf>,
    /// Values of variables in rules: `HOME_NET = "10.0.0.0/8"`.
    pub variables: BTreeMap<String, String>,
    /// KiB per direction that signatures look at.
    pub scan_depth_kb: u64,
}

impl Default for InspectionSettings {
    fn default() -> Self {
        Self {
            tunnels: 2,
            verify_checksums: true,
            strictness: Strictness::Strict,
            shipped_rules: true,
            signatures: Vec::new(),
            variables: BTreeMap::new(),
            scan_depth_kb: 1024,
        }
    }
}

/// What becomes of content that cannot be looked into: urgent data, a coding that is unknown, broken or
/// a bomb.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strictness {
    /// It is dropped where the mode is protect.
    #[default]
    Strict,
    /// It passes and is counted.
    Lenient,
}

/// `[events]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventSettings {
    /// EVE JSON, one line per event, appended; none: only the controller is told.
    pub file: Option<PathBuf>,
    /// Also one line per request and response.
    pub requests: bool,
    /// Directory of the packets that raised alerts, as pcapng; none: they are not kept.
    pub packets: Option<PathBuf>,
    /// MiB of them.
    pub packets_mb: u64,
}

impl Default for EventSettings {
    fn default() -> Self {
        Self {
            file: None,
            requests: false,
            packets: None,
            packets_mb: 64,
        }
    }
}

/// `[capture]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CaptureSettings {
    /// Directory of the files; by default `captures` below `node.state_directory`.
    pub directory: Option<PathBuf>,
    /// MiB of them at most, the oldest making way; 0: this node captures nothing.
    pub megabytes: u64,
    /// Files at most.
    pub files: usize,
    /// Whether the controller may read them: without, they are for those who may log in here.
    pub fetch: bool,
}

impl Default for CaptureSettings {
    fn default() -> Self {
        Self {
            directory: None,
            megabytes: 256,
            files: 1_000,
            fetch: true,
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {why}; check the path and its permissions")]
    Read {
        /// Its path.
        path: String,
        /// The system's error.
        why: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{path}: {why}")]
    Parse {
        /// Its path.
        path: String,
        /// Line, column and what is wrong.
        why: String,
    },
    /// The settings contradict each other.
    #[error("{what}; {next_step}")]
    Contradiction {
        /// What is wrong.
        what: String,
        /// What to do.
        next_step: &'static str,
    },
}

impl Config {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|why| ConfigError::Read {
            path: name.clone(),
            why,
        })?;
        toml::from_str(&text).map_err(|error| ConfigError::Parse {
            path: name,
            why: error.to_string(),
        })
    }

    /// Checks what a type cannot say.
    pub fn check(&self) -> Result<(), ConfigError> {
        let contradiction =
            |what: String, next_step| Err(ConfigError::Contradiction { what, next_step });
        if self.pair.is_empty() && self.tap.is_empty() {
            return contradiction(
                "no port is configured".into(),
                "add a [[pair]] or a [[tap]], or give --pair",
            );
        }
        if self.pair.len() + self.tap.len() > 64 {
            return contradiction(
                "more than 64 pairs and taps are configured".into(),
                "run a second node for the others",
            );
        }
        if self.workers.cores.is_empty() {
            return contradiction(
                "no worker core is configured".into(),
                "set workers.cores, or give --cores",
            );
        }
        let keys = self.policy.public_keys.len();
        let wanted = (self.policy.threshold).max(self.policy.weakening_threshold);
        if self.policy.threshold == 0 || self.policy.weakening_threshold == 0 {
            return contradiction(
                "policy.threshold and policy.weakening_threshold are at least 1".into(),
                "leave public_keys empty where policy needs no signature",
            );
        }
        if wanted > 1 && wanted > keys {
            return contradiction(
                format!("policy needs {wanted} signatures, and policy.public_keys has {keys} keys"),
                "name more keys, or ask for fewer signatures",
            );
        }
        if let Err(unknown) = weir_threat::Config::new(&self.threats) {
            return contradiction(unknown.to_string(), "mend the name");
        }
        self.check_host_interfaces()?;
        let mut names: Vec<_> = self.port_names().collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return contradiction(
                format!("port {} is used twice", pair[0]),
                "a port belongs to one pair or is one tap",
            );
        }
        let mut cores = self.workers.cores.clone();
        cores.sort_unstable();
        if let Some(pair) = cores.windows(2).find(|pair| pair[0] == pair[1]) {
            return contradiction(
                format!("core {} is listed twice", pair[0]),
                "one worker runs on a core",
            );
        }
        Ok(())
    }

    fn check_host_interfaces(&self) -> Result<(), ConfigError> {
        let contradiction =
            |what: String, next_step| Err(ConfigError::Contradiction { what, next_step });
        for name in self.port_names().filter_map(host_interface::name_of) {
            if !host_interface::is_name(name) {
                return contradiction(
                    format!("{name:?} is no name of an interface"),
                    "1 to 15 letters, digits, dots, dashes and underscores",
                );
            }
        }
        let is_made = |port: &String| host_interface::name_of(port).is_some();
        if let Some(pair) = self.pair.iter().find(|it| it.ports.iter().all(is_made)) {
            return contradiction(
                format!("both ports of pair {} are host interfaces", pair.name),
                "a host interface stands for the port at the other end of its pair",
            );
        }
        if let Some(tap) = self.tap.iter().find(|tap| is_made(&tap.port)) {
            return contradiction(
                format!("{} is a tap", tap.port),
                "a host interface is one port of a pair",
            );
        }
        Ok(())
    }

    /// The sections that differ in `next` and that a running node cannot change: all but
    /// `[inspection]`, `[threats]` and `events.requests`.
    pub fn restart_needed(&self, next: &Self) -> Vec<&'static str> {
        let kept = |events: &EventSettings| (events.packets.clone(), events.packets_mb);
        let packets = kept(&self.events) != kept(&next.events);
        let differs = [
            ("node", self.node != next.node),
            ("eal", self.eal != next.eal),
            ("workers", self.workers != next.workers),
            ("pair", self.pair != next.pair),
            ("tap", self.tap != next.tap),
            ("host_interface", self.host_interface != next.host_interface),
            ("controller", self.controller != next.controller),
            ("policy", self.policy != next.policy),
            ("limits", self.limits != next.limits),
            ("events.file", self.events.file != next.events.file),
            ("events.packets", packets),
            ("capture", self.capture != next.capture),
            ("upgrade", self.upgrade != next.upgrade),
            ("metrics", self.metrics != next.metrics),
        ];
        differs
            .into_iter()
            .filter(|(_, differs)| *differs)
            .map(|(name, _)| name)
            .collect()
    }

    /// The names of all ports, pairs first: the order of [`crate::io::PortIndex`].
    pub fn port_names(&self) -> impl Iterator<Item = &str> {
        let pairs = self.pair.iter().flat_map(|pair| pair.ports.iter());
        pairs
            .chain(self.tap.iter().map(|tap| &tap.port))
            .map(String::as_str)
    }
}

/// Reads `name=first,second`, as `--pair` takes it; with `,open` or `,closed` behind.
pub fn parse_pair(text: &str) -> Result<Pair, String> {
    let usage = || format!("{text:?} is not NAME=PORT,PORT[,open|closed]");
    let (name, rest) = text.split_once('=').ok_or_else(usage)?;
    let parts: Vec<&str> = rest.split(',').collect();
    let fail_mode = match parts.get(2) {
        None | Some(&"closed") => FailMode::Closed,
        Some(&"open") => FailMode::Open,
        Some(_) => return Err(usage()),
    };
    match parts[..] {
        [first, second, ..] if parts.len() <= 3 && !first.is_empty() && !second.is_empty() => {
            Ok(Pair {
                name: name.to_owned(),
                ports: [first.to_owned(), second.to_owned()],
                fail_mode,
                learn_first: false,
                mtu: default_mtu(),
            })
        }
        _ => Err(usage()),
    }
}

#[cfg(test)]
mod tests;
