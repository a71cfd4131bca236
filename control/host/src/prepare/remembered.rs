//! What was before: a small file, written anew as a whole before every change.
//!
//! A restart of the machine undoes everything by itself: what is remembered from before it is forgotten.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Manner;
use super::action::Action;
use crate::addresses::{INTERFACES_FILE, Interface, write_interfaces};
use crate::machine::Machine;
use crate::pci::Address;

/// The form of the file.
const FORMAT: u32 = 1;
/// A file larger than this is not ours.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What was before.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remembered {
    format: u32,
    /// The start of the machine for which it holds.
    boot: String,
    /// Hugepages that were set.
    pub pages: Vec<SetPages>,
    /// Cards that were given away.
    pub devices: Vec<BoundDevice>,
    /// Cards may be given away without an IOMMU, and might not before.
    pub no_iommu: bool,
    #[serde(skip)]
    path: PathBuf,
    /// Where weir-node reads what interfaces had.
    #[serde(skip)]
    interfaces_path: PathBuf,
    /// Held as long as this lives: one at a time.
    #[serde(skip)]
    _lock: Option<File>,
}

/// Hugepages that were set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetPages {
    /// The memory node.
    pub node: u32,
    /// Their size.
    pub size_kb: u64,
    /// How many there were.
    pub before: u64,
    /// How many were asked for.
    pub set: u64,
}

/// A card that was given away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundDevice {
    /// The card.
    pub device: Address,
    /// The driver that had it.
    pub driver_before: Option<String>,
    /// What driver_override was.
    pub kept_for_before: Option<String>,
    /// The interfaces that it was.
    pub interfaces: Vec<String>,
    /// The driver that it was given to.
    pub driver: Option<String>,
    /// What its interfaces had.
    #[serde(default)]
    pub held: Vec<Interface>,
}

/// Why nothing can be remembered.
#[derive(Debug, thiserror::Error)]
pub enum RememberedError {
    /// The file or its directory.
    #[error("{path}: {why}; run it as root, or name another --state")]
    File {
        /// Its path.
        path: String,
        /// The system's error.
        why: io::Error,
    },
    /// Not what it should be.
    #[error(
        "{path} is damaged ({what}): what was before is not known; put cards and hugepages back by hand \
         (weir doctor shows them), or restart the machine, and remove the file"
    )]
    Damaged {
        /// Its path.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// Somebody else is at it.
    #[error("another weir host is at work; try again when it has ended")]
    Busy,
}

impl Remembered {
    /// Reads what was written down since the machine was started. Whoever is to do something has it for
    /// himself until this is dropped; nothing is written for a dry run.
    pub fn open(
        directory: &Path,
        machine: &Machine,
        manner: Manner,
    ) -> Result<Self, RememberedError> {
        let boot = machine.word("/proc/sys/kernel/random/boot_id");
        let boot = boot.unwrap_or_default();
        let path = directory.join("prepared.json");
        let lock = match manner {
            Manner::Do => Some(lock(directory)?),
            Manner::DryRun => None,
        };
        let nothing = Self {
            format: FORMAT,
            boot: boot.clone(),
            pages: Vec::new(),
            devices: Vec::new(),
            no_iommu: false,
            path: path.clone(),
            interfaces_path: PathBuf::new(),
            _lock: None,
        };
        let found = read(&path)?.unwrap_or(nothing);
        let mut found = Self {
            path,
            interfaces_path: machine.path(INTERFACES_FILE),
            _lock: lock,
            ..found
        };
        if found.boot != boot {
            found.boot = boot;
            found.pages.clear();
            found.devices.clear();
            found.no_iommu = false;
        }
        Ok(found)
    }

    /// Whether there is anything to put back.
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty() && self.devices.is_empty() && !self.no_iommu
    }

    /// What was set of these hugepages.
    pub fn pages_of(&self, node: u32, size_kb: u64) -> Option<&SetPages> {
        let mut pages = self.pages.iter();
        pages.find(|it| (it.node, it.size_kb) == (node, size_kb))
    }

    /// Writes down what an action is about to change. What is known of before already stays: the first
    /// knows best.
    pub(super) fn before(&mut self, action: &Action) -> Result<(), RememberedError> {
        match action {
            Action::Pages {
                node,
                size_kb,
                from,
                to,
            } => {
                let own = |it: &&mut SetPages| (it.node, it.size_kb) == (*node, *size_kb);
                match self.pages.iter_mut().find(own) {
                    // On the way back what was set has to stay known, until it is done.
                    Some(known) if *to == known.before => {}
                    Some(known) => known.set = *to,
                    None => self.pages.push(SetPages {
                        node: *node,
                        size_kb: *size_kb,
                        before: *from,
                        set: *to,
                    }),
                }
            }
            Action::Bind {
                device,
                interfaces,
                from,
                to,
                kept_for_before,
                held,
                ..
            } => {
                if !self.devices.iter().any(|it| it.device == *device) {
                    self.devices.push(BoundDevice {
                        device: *device,
                        driver_before: from.clone(),
                        kept_for_before: kept_for_before.clone(),
                        interfaces: interfaces.clone(),
                        driver: to.clone(),
                        held: held.clone(),
                    });
                }
            }
            Action::NoIommu { allow: true } => self.no_iommu = true,
            Action::NoIommu { allow: false }
            | Action::Load { .. }
            | Action::Give { .. }
            | Action::Dress { .. } => return Ok(()),
        }
        self.write()
    }

    /// Forgets what an action has put back.
    pub(super) fn after(&mut self, action: &Action) -> Result<(), RememberedError> {
        let known = (self.pages.len(), self.devices.len(), self.no_iommu);
        match action {
            Action::Pages {
                node, size_kb, to, ..
            } => self
                .pages
                .retain(|it| (it.node, it.size_kb, it.before) != (*node, *size_kb, *to)),
            // What its interface had is needed yet.
            Action::Bind { device, to, .. } => self.devices.retain(|it| {
                it.device != *device || it.driver_before != *to || !it.held.is_empty()
            }),
            Action::Dress { device, .. } => self.devices.retain(|it| it.device != *device),
            Action::NoIommu { allow: false } => self.no_iommu = false,
            Action::NoIommu { allow: true } | Action::Load { .. } | Action::Give { .. } => {}
        }
        match known == (self.pages.len(), self.devices.len(), self.no_iommu) {
            true => Ok(()),
            false => self.write(),
        }
    }

    /// Forgets everything: it was put back, or somebody else has changed it since.
    pub(super) fn forget(&mut self) -> Result<(), RememberedError> {
        self.pages.clear();
        self.devices.clear();
        self.no_iommu = false;
        self.write()
    }

    fn write(&self) -> Result<(), RememberedError> {
        let failed = |why| file_error(&self.path, why);
        let held = self.devices.iter().flat_map(|it| it.held.iter().cloned());
        let held: Vec<Interface> = held.collect();
        write_interfaces(&self.interfaces_path, &held)
            .map_err(|why| file_error(&self.interfaces_path, why))?;
        if self.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => Err(failed(why)),
                _ => Ok(()),
            };
        }
        let text = serde_json::to_string_pretty(self).map_err(|it| failed(it.into()))?;
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(directory).map_err(failed)?;
        let next = self.path.with_extension("next");
        let mut file = File::create(&next).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        fs::rename(&next, &self.path).map_err(failed)
    }
}

/// One at a time.
fn lock(directory: &Path) -> Result<File, RememberedError> {
    let failed = |why| file_error(directory, why);
    fs::create_dir_all(directory).map_err(failed)?;
    let file = File::create(directory.join("lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(RememberedError::Busy),
        Err(fs::TryLockError::Error(why)) => Err(failed(why)),
    }
}

fn read(path: &Path) -> Result<Option<Remembered>, RememberedError> {
    let length = match fs::metadata(path) {
        Ok(found) => found.len(),
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(file_error(path, why)),
    };
    let damaged = |what: String| RememberedError::Damaged {
        path: path.display().to_string(),
        what,
    };
    if length > FILE_BYTES_MAX {
        return Err(damaged("it is too long".to_owned()));
    }
    let text = fs::read_to_string(path).map_err(|why| file_error(path, why))?;
    let found: Remembered = serde_json::from_str(&text).map_err(|it| damaged(it.to_string()))?;
    match found.format == FORMAT {
        true => Ok(Some(found)),
        false => Err(damaged(format!("it has format {}", found.format))),
    }
}

fn file_error(path: &Path, why: io::Error) -> RememberedError {
    RememberedError::File {
        path: path.display().to_string(),
        why,
    }
}
