//! The flags of `weir doctor` and `weir host`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Where the node's configuration is.
const CONFIGURATION: &str = "/etc/weir/node.toml";

#[derive(Debug, Args)]
pub struct DoctorArguments {
    /// The same as --output json.
    #[arg(long)]
    pub json: bool,
    /// Warnings fail too.
    #[arg(long)]
    pub strict: bool,
    /// Only what is not ok.
    #[arg(long)]
    pub wrong: bool,
    #[command(flatten)]
    pub configuration: Configuration,
    /// Examine what is below this directory instead of this machine.
    #[arg(
        long,
        value_name = "DIRECTORY",
        default_value = "/",
        hide_default_value = true
    )]
    pub root: PathBuf,
    /// Examine a machine that was recorded.
    #[arg(long, value_name = "FILE", conflicts_with = "root")]
    pub recorded: Option<PathBuf>,
    /// Write what was looked at to a file, to be examined elsewhere: models, addresses and routes of this
    /// machine are in it, no environment and no content.
    #[arg(long, value_name = "FILE", conflicts_with = "recorded")]
    pub record: Option<PathBuf>,
}

/// The node's configuration.
#[derive(Debug, Args)]
pub struct Configuration {
    /// The node's configuration: what it wants of the machine [default: /etc/weir/node.toml, where it is]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum HostCommand {
    /// Hugepages as the node's configuration wants them, its cards to vfio-pci, and what is said of its
    /// cores. What was before is remembered.
    ///
    /// May be run again and again; a restart of the machine undoes it. A card that carries the default
    /// route or an SSH session is refused, and if anything is refused nothing is done.
    Prepare(PrepareArguments),
    /// Puts hugepages and cards back to what they were before the first prepare since the machine was
    /// started. What somebody else has changed since stays.
    Restore(RestoreArguments),
}

#[derive(Debug, Args)]
pub struct PrepareArguments {
    #[command(flatten)]
    pub configuration: Configuration,
    /// A card beside those of the configuration: PCI address or interface. Repeatable.
    #[arg(long = "device", value_name = "ADDRESS|INTERFACE")]
    pub devices: Vec<String>,
    /// The driver that cards are given to.
    #[arg(long, default_value = "vfio-pci")]
    pub driver: String,
    /// MiB of hugepages for the node, in place of eal.memory_mb; on each memory node with a worker or a
    /// card.
    #[arg(long, value_name = "MIB")]
    pub memory_mb: Option<u64>,
    /// The size of hugepages: 2M or 1G; by default the kernel's.
    #[arg(long, value_name = "SIZE", value_parser = page_size)]
    pub page_size: Option<u64>,
    /// Take cards without an IOMMU: whoever controls weir-node then controls the machine.
    #[arg(long)]
    pub no_iommu: bool,
    /// Give the cards' device files (/dev/vfio/…) to this user, so that weir-node needs not be root.
    #[arg(long, value_name = "USER")]
    pub owner: Option<String>,
    /// Take cards too that carry the default route or an SSH session, and memory that is short.
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub place: Place,
}

#[derive(Debug, Args)]
pub struct RestoreArguments {
    #[command(flatten)]
    pub place: Place,
}

/// Where and how.
#[derive(Debug, Args)]
pub struct Place {
    /// Say what would be done, as commands; do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Where what was before is remembered.
    #[arg(long, value_name = "DIRECTORY", default_value = weir_host::prepare::STATE_DIRECTORY)]
    pub state: PathBuf,
    /// Work below this directory instead of on this machine.
    #[arg(
        long,
        value_name = "DIRECTORY",
        default_value = "/",
        hide_default_value = true
    )]
    pub root: PathBuf,
}

impl Configuration {
    /// The file to be read, if there is one.
    pub fn file(&self) -> Option<PathBuf> {
        let usual = || Some(PathBuf::from(CONFIGURATION)).filter(|path| path.exists());
        self.config.clone().or_else(usual)
    }
}

/// Pages have the sizes that the kernel has them in.
fn page_size(text: &str) -> Result<u64, String> {
    let (number, factor) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1),
        Some((at, 'm' | 'M')) => (&text[..at], 1 << 10),
        Some((at, 'g' | 'G')) => (&text[..at], 1 << 20),
        _ => return Err("write 2M or 1G".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "write 2M or 1G".to_owned())?;
    let size = number
        .checked_mul(factor)
        .filter(|size| size.is_power_of_two());
    size.ok_or_else(|| "write 2M or 1G".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_sizes() {
        assert_eq!(page_size("2M"), Ok(2048));
        assert_eq!(page_size("1G"), Ok(1 << 20));
        assert_eq!(page_size("64k"), Ok(64));
        for wrong in ["", "2", "M", "3M", "-1G", "é"] {
            assert!(page_size(wrong).is_err(), "{wrong}");
        }
    }
}
