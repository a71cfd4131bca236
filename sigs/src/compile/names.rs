//! What rules name and remember by: bits and numbers of connections and hosts, sets of values, and
//! reputations. Names become numbers here, so that nothing is looked up by name for a packet.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;

use crate::rule::{
    BitKind, BitOperation, Dataset, DatasetKind, IntegerOperation, IntegerValue, Matcher, Rule,
    StateStep, Track,
};

/// Names in the order of their numbers.
#[derive(Default)]
pub(crate) struct Names(HashMap<Arc<str>, u32>);

impl Names {
    /// The number of this name.
    pub fn number(&mut self, name: &Arc<str>) -> u32 {
        let next = self.0.len() as u32;
        *self.0.entry(name.clone()).or_insert(next)
    }

    /// The number of a name that has one.
    pub fn get(&self, name: &Arc<str>) -> Option<u32> {
        self.0.get(name).copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// A [`StateStep`] with numbers for names.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// Bits of the connection.
    Flow { kind: BitKind, bits: Box<[u32]> },
    /// Bits of hosts.
    Host {
        kind: BitKind,
        bits: Box<[u32]>,
        track: Track,
        expire_s: u32,
    },
    /// A number of the connection.
    Integer { number: u32, operation: Integer },
}

/// An [`IntegerOperation`] with numbers for names.
#[derive(Clone, Debug)]
pub(crate) struct Integer {
    pub operation: IntegerOperation,
    /// Which number it is about, where it names another one.
    pub other: Option<u32>,
}

impl State {
    /// Whether it asks, rather than does.
    pub fn is_test(&self) -> bool {
        match self {
            Self::Flow { kind, .. } | Self::Host { kind, .. } => {
                matches!(kind, BitKind::IsSet | BitKind::IsNotSet)
            }
            Self::Integer { operation, .. } => matches!(
                operation.operation,
                IntegerOperation::Test(..)
                    | IntegerOperation::Differs(_)
                    | IntegerOperation::IsSet
                    | IntegerOperation::IsNotSet
            ),
        }
    }
}

/// All names of a rule set.
#[derive(Default)]
pub(crate) struct Vocabulary {
    pub flow_bits: Names,
    pub host_bits: Names,
    pub integers: Names,
    pub sets: Names,
    /// Members that sets begin with, by number; with the reputation where they have one.
    pub members: Vec<HashMap<Box<[u8]>, u32>>,
}

impl Vocabulary {
    /// A rule's steps with numbers for names.
    pub fn steps(&mut self, rule: &Rule) -> Vec<State> {
        rule.state.iter().map(|step| self.step(step)).collect()
    }

    fn step(&mut self, step: &StateStep) -> State {
        let bits = |names: &mut Names, operation: &BitOperation| {
            operation
                .names
                .iter()
                .map(|name| names.number(name))
                .collect()
        };
        match step {
            StateStep::Flow(operation) => State::Flow {
                kind: operation.kind,
                bits: bits(&mut self.flow_bits, operation),
            },
            StateStep::Host {
                operation,
                track,
                expire_s,
            } => State::Host {
                kind: operation.kind,
                bits: bits(&mut self.host_bits, operation),
                track: *track,
                expire_s: *expire_s,
            },
            StateStep::Integer { name, operation } => {
                let value = match operation {
                    IntegerOperation::Test(_, value)
                    | IntegerOperation::Differs(value)
                    | IntegerOperation::Assign(value)
                    | IntegerOperation::Add(value)
                    | IntegerOperation::Subtract(value) => Some(value),
                    IntegerOperation::IsSet | IntegerOperation::IsNotSet => None,
                };
                let other = match value {
                    Some(IntegerValue::Named(other)) => Some(self.integers.number(other)),
                    _ => None,
                };
                State::Integer {
                    number: self.integers.number(name),
                    operation: Integer {
                        operation: operation.clone(),
                        other,
                    },
                }
            }
        }
    }

    /// Loads the sets that a rule's matchers name. `file` reads a file by the name in the rule.
    pub fn load_sets(
        &mut self,
        rule: &Rule,
        file: &dyn Fn(&str) -> std::io::Result<Vec<u8>>,
    ) -> Result<(), String> {
        let matchers = rule.groups.iter().flat_map(|group| &group.matchers);
        for matcher in matchers {
            let Matcher::Dataset(set) = matcher else {
                continue;
            };
            let number = self.sets.number(&set.name) as usize;
            if number < self.members.len() {
                continue;
            }
            let members = match &set.load {
                Some(name) => {
                    let bytes = file(name)
                        .map_err(|error| format!("its dataset {name} cannot be read: {error}"))?;
                    members(set, &bytes)?
                }
                None => HashMap::new(),
            };
            self.members.resize_with(number + 1, HashMap::new);
            self.members[number] = members;
        }
        Ok(())
    }
}

/// The members in a file: one a line, text as base64, sums in hexadecimal, addresses as they are
/// written; behind a comma the reputation.
fn members(set: &Dataset, bytes: &[u8]) -> Result<HashMap<Box<[u8]>, u32>, String> {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .enumerate()
        .map(|(index, line)| {
            let (value, reputation) = line.split_once(',').unwrap_or((line, "0"));
            let member = member(set.kind, value);
            match (member, reputation.trim().parse()) {
                (Some(member), Ok(reputation)) => Ok((member, reputation)),
                _ => Err(format!(
                    "line {} of its dataset {} is not understood",
                    index + 1,
                    set.name
                )),
            }
        })
        .collect()
}

fn member(kind: DatasetKind, value: &str) -> Option<Box<[u8]>> {
    match kind {
        DatasetKind::String => base64::engine::general_purpose::STANDARD
            .decode(value)
            .ok()
            .map(Vec::into_boxed_slice),
        DatasetKind::Md5 | DatasetKind::Sha1 | DatasetKind::Sha256 => {
            let pairs = value.as_bytes().chunks(2);
            pairs
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
                .collect()
        }
        DatasetKind::Address => match value.parse().ok()? {
            IpAddr::V4(address) => Some(address.octets().into()),
            IpAddr::V6(address) => Some(address.octets().into()),
        },
    }
}

/// Addresses and what is thought of them, by category.
#[derive(Clone, Debug, Default)]
pub struct Reputations(HashMap<(Arc<str>, IpAddr), u8>);

impl Reputations {
    /// Says of an address in a category: 0 (nothing is known) to 127 (certain).
    pub fn insert(&mut self, category: &str, address: IpAddr, score: u8) {
        self.0.insert((category.into(), address), score);
    }

    /// What is said of the address.
    pub fn score(&self, category: &Arc<str>, address: IpAddr) -> Option<u8> {
        self.0.get(&(category.clone(), address)).copied()
    }
}
