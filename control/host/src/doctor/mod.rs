//! What is right and wrong with a machine for Weir.
//!
//! Each file here looks at one matter. None fails: what cannot be read becomes a line that says so.

mod clock;
mod cores;
mod host_interfaces;
mod iommu;
mod kernel;
mod limits;
mod memory;
mod nics;
mod ports;
mod processor;

use std::fmt;

use serde::Serialize;

use crate::machine::{Machine, Unread, Why};
use crate::network::Session;
use crate::pci::{self, Device};
use crate::wanted::Wanted;

pub(crate) use cores::{isolated as cores_isolated, isolation, online as cores_online};
pub(crate) use iommu::is_on as has_iommu;
pub(crate) use kernel::parameters as kernel_parameters;
pub(crate) use memory::{
    cores as cores_of, directory as pages_directory, nodes as memory_nodes, pages,
    size as size_text,
};

/// How a matter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// Weir runs, but slower, or less safely, or it could not be seen.
    Warning,
    /// Weir does not run as it is configured.
    Failure,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// How it stands.
    pub state: State,
    /// What was looked at: `hugepages`.
    pub name: &'static str,
    /// Which of them: `node0`; empty where there is only one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub of: String,
    /// What was found, and what it means.
    pub says: String,
    /// Commands that mend it, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fix: Vec<String>,
}

/// Everything that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The lines.
    pub checks: Vec<Check>,
    /// How many of them are ok.
    pub ok: usize,
    /// How many are warnings.
    pub warnings: usize,
    /// How many are failures.
    pub failures: usize,
}

/// What every matter is looked at with.
struct Examined<'a> {
    machine: &'a Machine,
    wanted: &'a Wanted,
    session: &'a Session,
    devices: Result<Vec<Device>, Unread>,
    /// The node runs: it holds pages and devices.
    running: bool,
    checks: Vec<Check>,
}

impl Check {
    fn new(state: State, name: &'static str, says: impl Into<String>) -> Self {
        Self {
            state,
            name,
            of: String::new(),
            says: says.into(),
            fix: Vec::new(),
        }
    }

    fn ok(name: &'static str, says: impl Into<String>) -> Self {
        Self::new(State::Ok, name, says)
    }

    fn warning(name: &'static str, says: impl Into<String>) -> Self {
        Self::new(State::Warning, name, says)
    }

    fn failure(name: &'static str, says: impl Into<String>) -> Self {
        Self::new(State::Failure, name, says)
    }

    /// What could not be seen.
    fn unread(name: &'static str, unread: &Unread) -> Self {
        let check = Self::warning(name, unread.to_string());
        match unread.why {
            Why::Denied => check.fix("sudo weir doctor"),
            Why::Missing | Why::Failed(_) => check,
        }
    }

    fn of(mut self, of: impl Into<String>) -> Self {
        self.of = of.into();
        self
    }

    fn fix(mut self, command: impl Into<String>) -> Self {
        self.fix.push(command.into());
        self
    }

    fn fixes(mut self, commands: impl IntoIterator<Item = String>) -> Self {
        self.fix.extend(commands);
        self
    }
}

impl fmt::Display for Check {
    /// State, what was looked at, and what was found.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Failure => "failure",
        };
        write!(out, "{word:8} {}", self.name)?;
        if !self.of.is_empty() {
            write!(out, " {}", self.of)?;
        }
        write!(out, ": {}", self.says)
    }
}

impl Examined<'_> {
    fn tell(&mut self, check: Check) {
        self.checks.push(check);
    }

    /// The devices that the configuration names, as far as they are there.
    fn wanted_devices(&self) -> Vec<&Device> {
        let devices = self.devices.as_ref().map_or(&[][..], Vec::as_slice);
        let wanted = |device: &&Device| {
            let mut names = self.wanted.devices.iter();
            names.any(|name| name.parse() == Ok(device.address))
        };
        devices.iter().filter(wanted).collect()
    }

    /// Whether a card has to be taken from the kernel.
    fn needs_vfio(&self) -> bool {
        let bound = |device: &&Device| {
            crate::nic::family(device).is_none_or(|family| family.way == crate::nic::Way::Bound)
        };
        self.wanted_devices().iter().any(bound)
    }

    /// Worse where the configuration cannot do without.
    fn if_needed(needed: bool) -> State {
        match needed {
            true => State::Failure,
            false => State::Warning,
        }
    }
}

/// Looks at everything.
pub fn examine(machine: &Machine, wanted: &Wanted, session: &Session) -> Report {
    let mut examined = Examined {
        machine,
        wanted,
        session,
        devices: pci::devices(machine),
        running: !crate::processes::named(machine, &["weir-node"]).is_empty(),
        checks: Vec::new(),
    };
    for look in [
        processor::look,
        memory::look,
        iommu::look,
        nics::look,
        host_interfaces::look,
        cores::look,
        clock::look,
        kernel::look,
        limits::look,
        ports::look,
    ] {
        look(&mut examined);
    }
    let checks = examined.checks;
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    Report {
        ok: count(State::Ok),
        warnings: count(State::Warning),
        failures: count(State::Failure),
        checks,
    }
}
