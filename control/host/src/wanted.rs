//! What of `node.toml` concerns the machine. The node reads the whole of it, and strictly; here only
//! what is looked for has to make sense.

use std::path::Path;

use toml::{Table, Value};

/// What a port's name begins with that weir-node makes as an interface of the host.
pub const HOST_PORT: &str = "host:";

/// What the node is configured to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// `eal.devices`, as they are written, without DPDK's options behind them.
    pub devices: Vec<String>,
    /// The interfaces that virtual devices name: `net_af_packet0,iface=eth1`.
    pub interfaces: Vec<String>,
    /// The interfaces that weir-node makes itself: `host:weir0` in a pair.
    pub host_interfaces: Vec<HostInterface>,
    /// `eal.memory_mb`
    pub memory_mb: u64,
    /// `eal.huge_pages`
    pub huge_pages: HugePages,
    /// `workers.cores`
    pub cores: Vec<u32>,
    /// Whether there is a configuration at all.
    pub configured: bool,
}

/// An interface that weir-node makes, and the port that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostInterface {
    /// Its name: `weir0`.
    pub name: String,
    /// The other port of the pair: a PCI address, or a virtual device's name.
    pub stands_for: String,
}

/// `eal.huge_pages`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HugePages {
    /// Hugepages when there are enough.
    #[default]
    Auto,
    /// The node does not start without.
    Required,
    /// It does without.
    Never,
}

/// Why a configuration says nothing.
#[derive(Debug, thiserror::Error)]
pub enum WantedError {
    /// The file cannot be read.
    #[error("cannot read {path}: {why}; name the node's configuration with --config")]
    Read {
        /// Its path.
        path: String,
        /// The system's error.
        why: std::io::Error,
    },
    /// It is no TOML, or what concerns the machine has another form.
    #[error("{path}: {what}")]
    Form {
        /// Its path.
        path: String,
        /// What is wrong.
        what: String,
    },
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            devices: Vec::new(),
            interfaces: Vec::new(),
            host_interfaces: Vec::new(),
            memory_mb: 512,
            huge_pages: HugePages::Auto,
            cores: vec![0],
            configured: false,
        }
    }
}

impl Wanted {
    /// Reads the node's configuration.
    pub fn read(path: &Path) -> Result<Self, WantedError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|why| WantedError::Read {
            path: name.clone(),
            why,
        })?;
        Self::parse(&text).map_err(|what| WantedError::Form { path: name, what })
    }

    /// What a configuration wants.
    pub fn parse(text: &str) -> Result<Self, String> {
        let table: Table = toml::from_str(text).map_err(|error| error.to_string())?;
        let eal = section(&table, "eal")?;
        let workers = section(&table, "workers")?;
        let mut wanted = Self {
            configured: true,
            ..Self::default()
        };
        if let Some(devices) = eal.get("devices") {
            let devices = strings("eal.devices", devices)?;
            // What follows a comma is for DPDK's driver.
            let bare = |text: String| text.split(',').next().unwrap_or_default().to_owned();
            wanted.devices = devices.into_iter().map(bare).collect();
        }
        if let Some(devices) = eal.get("virtual_devices") {
            let devices = strings("eal.virtual_devices", devices)?;
            let parts = devices.iter().flat_map(|device| device.split(','));
            let interfaces = parts.filter_map(|part| part.strip_prefix("iface="));
            wanted.interfaces = interfaces.map(str::to_owned).collect();
        }
        wanted.host_interfaces = host_interfaces(&table)?;
        if let Some(memory) = eal.get("memory_mb") {
            wanted.memory_mb = number("eal.memory_mb", memory)?;
        }
        if let Some(cores) = workers.get("cores") {
            let cores = cores.as_array().ok_or("workers.cores is no list")?;
            let core = |core| number("workers.cores", core);
            wanted.cores = cores.iter().map(core).collect::<Result<_, _>>()?;
        }
        wanted.huge_pages = match eal.get("huge_pages").map(Value::as_str) {
            None | Some(Some("auto")) => HugePages::Auto,
            Some(Some("required")) => HugePages::Required,
            Some(Some("never")) => HugePages::Never,
            Some(_) => return Err("eal.huge_pages is none of auto, required, never".into()),
        };
        Ok(wanted)
    }
}

/// The pairs of which one port is made by weir-node.
fn host_interfaces(table: &Table) -> Result<Vec<HostInterface>, String> {
    let mut found = Vec::new();
    let pairs = match table.get("pair") {
        None => return Ok(found),
        Some(pairs) => pairs.as_array().ok_or("pair is no list: write [[pair]]")?,
    };
    for pair in pairs {
        let ports = pair.get("ports").ok_or("a pair has no ports")?;
        let ports = strings("pair.ports", ports)?;
        let [first, second] = ports.as_slice() else {
            return Err("pair.ports are not two".to_owned());
        };
        for (port, other) in [(first, second), (second, first)] {
            if let Some(name) = port.strip_prefix(HOST_PORT) {
                found.push(HostInterface {
                    name: name.to_owned(),
                    stands_for: other.clone(),
                });
            }
        }
    }
    Ok(found)
}

fn section(table: &Table, name: &str) -> Result<Table, String> {
    match table.get(name) {
        None => Ok(Table::new()),
        Some(Value::Table(section)) => Ok(section.clone()),
        Some(_) => Err(format!("{name} is no section")),
    }
}

fn strings(name: &str, value: &Value) -> Result<Vec<String>, String> {
    let words = value.as_array().and_then(|words| {
        let words = words.iter().map(|word| word.as_str().map(str::to_owned));
        words.collect::<Option<_>>()
    });
    words.ok_or_else(|| format!("{name} is no list of strings"))
}

fn number<T: TryFrom<i64>>(name: &str, value: &Value) -> Result<T, String> {
    let number = value.as_integer().and_then(|it| T::try_from(it).ok());
    number.ok_or_else(|| format!("{name}: {value} is no number that fits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_configuration_is_understood() {
        let shipped = include_str!("../../../deploy/baremetal/node.toml");
        let expected = Wanted {
            configured: true,
            ..Wanted::default()
        };
        assert_eq!(Wanted::parse(shipped), Ok(expected));
    }

    #[test]
    fn what_concerns_the_machine_is_taken() {
        let text = "[eal]\ndevices = [\"0000:01:00.0,rx_vec_en=1\"]\nmemory_mb = 2048\n\
                    huge_pages = \"required\"\nvirtual_devices = [\"net_af_packet0,iface=eth1,qpairs=2\"]\n\
                    [workers]\ncores = [2, 3]\n[something]\nelse = 1\n\
                    [[pair]]\nports = [\"0000:01:00.0\", \"host:weir0\"]\n[[pair]]\nports = [\"a\", \"b\"]\n";
        let wanted = Wanted::parse(text).unwrap();
        assert_eq!(wanted.devices, ["0000:01:00.0"]);
        assert_eq!(wanted.interfaces, ["eth1"]);
        let host = HostInterface {
            name: "weir0".into(),
            stands_for: "0000:01:00.0".into(),
        };
        assert_eq!(wanted.host_interfaces, [host]);
        assert_eq!(
            (wanted.memory_mb, wanted.huge_pages),
            (2048, HugePages::Required)
        );
        assert_eq!(wanted.cores, [2, 3]);
    }

    #[test]
    fn what_has_another_form_is_named() {
        for (text, name) in [
            ("eal = 1", "eal"),
            ("[eal]\ndevices = 1", "eal.devices"),
            ("[eal]\nmemory_mb = -1", "eal.memory_mb"),
            ("[eal]\nhuge_pages = \"some\"", "eal.huge_pages"),
            ("[workers]\ncores = [\"a\"]", "workers.cores"),
            ("pair = 1", "pair is no list"),
            ("[[pair]]\nports = [\"a\"]", "not two"),
            ("[", "expected"),
        ] {
            let told = Wanted::parse(text).unwrap_err();
            assert!(told.contains(name), "{text}: {told}");
        }
    }
}
