//! The literals of several groups in one database, so that bytes which are looked at for all of them are read once: what
//! goes one way as stream, segments and bodies; and the head of a message, which buffers are cut from.
//!
//! Memory: a literal that several ask for is held once.

use std::collections::HashMap;

use hyperscan::{BlockDatabase, StreamingDatabase};

use super::database::{self, Built, Job};
use super::expression::Source;
use super::plan::Databases;
use super::{CompileError, CompiledGroup};

/// The literals of a direction, and the database that finds them.
pub(crate) struct Joint<D> {
    /// None where nothing is looked for.
    pub database: Option<D>,
    pub literals: Vec<Literal>,
    /// By number of the group: all of its literals are among them.
    takes: Vec<bool>,
}

/// Of streams, segments and bodies.
pub(crate) type Wire = Joint<StreamingDatabase>;
/// Of the buffers that are cut from heads.
pub(crate) type Heads = Joint<BlockDatabase>;

/// A literal, and who asks for it: group, and its number there.
pub(crate) struct Literal {
    pub length: u32,
    pub asked: Vec<(u16, u32)>,
}

impl<D> Joint<D> {
    /// What groups that belong to it ask for of a direction, and what has to be built.
    pub fn plan(
        groups: &[Databases],
        direction: usize,
        belongs: impl Fn(&Databases) -> bool,
    ) -> (Self, Vec<(u32, Source)>) {
        let mut joint = Self {
            database: None,
            literals: Vec::new(),
            takes: vec![false; groups.len()],
        };
        let mut numbers = HashMap::new();
        let mut sources: Vec<(u32, Source)> = Vec::new();
        for (group, databases) in groups.iter().enumerate() {
            if databases.direction != direction || !belongs(databases) {
                continue;
            }
            joint.takes[group] = true;
            for (literal, source) in databases.sought() {
                let next = joint.literals.len() as u32;
                let number = *numbers.entry(source.clone()).or_insert(next);
                if number == next {
                    joint.literals.push(Literal {
                        length: source.literal_bytes(),
                        asked: Vec::new(),
                    });
                    sources.push((number, source.clone()));
                }
                joint.literals[number as usize]
                    .asked
                    .push((group as u16, literal));
            }
        }
        (joint, sources)
    }

    /// Whether what this group looks for is found along the way.
    pub fn takes(&self, group: u16) -> bool {
        self.takes[usize::from(group)]
    }

    /// What could not be taken in is asked always by who asked for it.
    fn leave_out(&self, left_out: &[u32], groups: &mut [CompiledGroup]) {
        for &id in left_out {
            for &(group, literal) in &self.literals[id as usize].asked {
                groups[usize::from(group)].asked.leave_out(literal);
            }
        }
    }
}

/// All of a rule set, by direction.
pub(crate) struct Joints {
    pub wires: [Wire; 2],
    pub heads: [Heads; 2],
}

impl Joints {
    /// What groups ask for; and what has to be built for it, in the order in which [`Self::complete`] takes it.
    pub fn plan(groups: &[Databases]) -> (Self, Vec<Job>) {
        let wires = [0, 1].map(|way| Wire::plan(groups, way, Databases::is_on_wire));
        let heads = [0, 1].map(|way| Heads::plan(groups, way, Databases::is_of_head));
        let mut jobs = Vec::new();
        let wires = wires.map(|(wire, sources)| {
            jobs.extend((!sources.is_empty()).then_some(Job::Stream(sources)));
            wire
        });
        let heads = heads.map(|(heads, sources)| {
            jobs.extend((!sources.is_empty()).then_some(Job::Block(sources)));
            heads
        });
        (Self { wires, heads }, jobs)
    }

    /// Takes what was built.
    pub fn complete(
        &mut self,
        mut built: impl FnMut() -> Built,
        groups: &mut [CompiledGroup],
    ) -> Result<(), CompileError> {
        let library = |error: hyperscan::Error| CompileError::Library(error.to_string());
        let mut next = |is_empty: bool| match is_empty {
            true => Ok(Built::default()),
            false => {
                let built = built();
                match built.why.is_empty() {
                    true => Ok(built),
                    false => Err(CompileError::Library(built.why)),
                }
            }
        };
        for wire in &mut self.wires {
            let built = next(wire.literals.is_empty())?;
            wire.leave_out(&built.left_out, groups);
            wire.database = database::streaming(&built.bytes).map_err(library)?;
        }
        for heads in &mut self.heads {
            let built = next(heads.literals.is_empty())?;
            heads.leave_out(&built.left_out, groups);
            heads.database = database::block(&built.bytes).map_err(library)?;
        }
        Ok(())
    }
}
