//! `weir host prepare` and `weir host restore`: hugepages, and cards given to vfio-pci.
//!
//! First everything is looked at and a plan is made ([`plan`]); if any part of it is refused, nothing is
//! done. What was before is written down before it is changed ([`Remembered`]), so that whatever
//! happens in between, restore finds the way back. Both may be run again and again.
//!
//! Distrusts: that what was set has come to be (it is read again), that a card is nobody's (a card that
//! carries the default route or an SSH session, or that a process holds, is left alone), and that what
//! is found at restore is what was left (what somebody else has changed since stays).

mod action;
mod hand;
mod host_interfaces;
mod plan;
mod remembered;

use std::path::Path;

use serde::Serialize;

use crate::machine::Machine;
use crate::network::Session;
use crate::wanted::Wanted;

pub use action::Action;
pub use hand::{Hand, Kernel};
pub use plan::{Plan, plan_prepare, plan_restore};
pub use remembered::{BoundDevice, Remembered, RememberedError, SetPages};

/// Where what was before is written down.
pub const STATE_DIRECTORY: &str = "/var/lib/weir/host";

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// What the node is configured to use.
    pub wanted: Wanted,
    /// Cards beside those of the configuration: PCI addresses or interfaces.
    pub devices: Vec<String>,
    /// The driver that cards are given to.
    pub driver: String,
    /// The size of hugepages, in KiB; None: the kernel's default.
    pub page_size_kb: Option<u64>,
    /// Give cards away without an IOMMU.
    pub no_iommu: bool,
    /// Take cards too that the machine needs itself, and memory that it may need.
    pub force: bool,
    /// Whom the cards' device files are given to: a user's name.
    pub owner: Option<String>,
}

/// What became of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Done {
    /// It was as it should be.
    Kept,
    /// It was done.
    Done,
    /// It would be done.
    Planned,
    /// It was tried, and failed.
    Failed,
    /// It was not tried, since another failed.
    Skipped,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What became of it.
    pub state: Done,
    /// What it is about, and why it failed.
    pub says: String,
    /// The same as commands.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
}

/// What people may do beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hint {
    /// What is the matter.
    pub says: String,
    /// The commands.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
}

/// What became of everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Why nothing was done; empty where something was, or nothing had to be.
    pub refused: Vec<String>,
    /// What was done, would be done, or was so already.
    pub steps: Vec<Step>,
    /// What else is worth doing.
    pub hints: Vec<Hint>,
}

/// How to go about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Do it.
    Do,
    /// Say what would be done.
    DryRun,
}

impl Outcome {
    /// Whether everything is as it was asked.
    pub fn succeeded(&self) -> bool {
        self.refused.is_empty() && self.steps.iter().all(|step| step.state != Done::Failed)
    }

    fn of_refused(refused: Vec<String>) -> Self {
        Self {
            refused,
            ..Self::default()
        }
    }
}

/// Makes a machine ready.
pub fn prepare(
    machine: &Machine,
    hand: &mut dyn Hand,
    request: &Request,
    session: &Session,
    directory: &Path,
    manner: Manner,
) -> Result<Outcome, RememberedError> {
    let mut remembered = Remembered::open(directory, machine, manner)?;
    match plan_prepare(machine, request, session, &remembered) {
        Err(refused) => Ok(Outcome::of_refused(refused)),
        Ok(plan) => carry_out(machine, hand, plan, &mut remembered, manner),
    }
}

/// Puts a machine back to what it was before the first `prepare` since it was started.
pub fn restore(
    machine: &Machine,
    hand: &mut dyn Hand,
    directory: &Path,
    manner: Manner,
) -> Result<Outcome, RememberedError> {
    let mut remembered = Remembered::open(directory, machine, manner)?;
    match plan_restore(machine, &remembered) {
        Err(refused) => Ok(Outcome::of_refused(refused)),
        Ok(plan) => {
            let outcome = carry_out(machine, hand, plan, &mut remembered, manner)?;
            if manner == Manner::Do && outcome.succeeded() {
                remembered.forget()?;
            }
            Ok(outcome)
        }
    }
}

/// Does what is planned, in order, until something fails.
fn carry_out(
    machine: &Machine,
    hand: &mut dyn Hand,
    plan: Plan,
    remembered: &mut Remembered,
    manner: Manner,
) -> Result<Outcome, RememberedError> {
    let mut outcome = Outcome {
        refused: Vec::new(),
        steps: plan.kept.iter().map(|says| Step::kept(says)).collect(),
        hints: plan.hints,
    };
    let mut failed = false;
    for action in plan.actions {
        let mut step = Step {
            state: Done::Planned,
            says: action.to_string(),
            commands: action.commands(machine),
        };
        if failed {
            step.state = Done::Skipped;
        } else if manner == Manner::Do {
            remembered.before(&action)?;
            match action.perform(machine, hand) {
                Ok(()) => {
                    remembered.after(&action)?;
                    step.state = Done::Done;
                }
                Err(why) => {
                    step.says = format!("{}: {why}", step.says);
                    step.state = Done::Failed;
                    failed = true;
                }
            }
        }
        outcome.steps.push(step);
    }
    Ok(outcome)
}

impl Step {
    fn kept(says: &str) -> Self {
        Self {
            state: Done::Kept,
            says: says.to_owned(),
            commands: Vec::new(),
        }
    }
}
