//! From rules to databases.
//!
//! Compiling takes seconds and megabytes and belongs on a thread of its own; what comes of it,
//! [`RuleSet`], is immutable and shared by the workers. Memory: databases, counted and refused above
//! [`Options::memory_max_bytes`].

mod cache;
mod chain;
mod database;
mod expression;
mod fast;
mod joint;
mod lasting;
mod names;
mod plan;
mod required;

use std::fmt;
use std::path::Path;
use std::time::Instant;

use hyperscan::BlockDatabase;
use weir_l7::{Buffer, BufferSet};

use crate::rule::{Action, Cause, Matcher, Pcre, Refusal, Rule};
use database::{Built, Job};
use expression::Source;

pub(crate) use chain::{Chain, Needle, SLOTS, Step};
pub(crate) use expression::{Engine, Expression};
pub(crate) use fast::LONGEST as LITERAL_BYTES;
pub use fast::sought_first;
pub(crate) use joint::{Joints, Literal, Wire};
pub(crate) use lasting::{By, Lasting, START, StreamPart};
pub use names::Reputations;
pub(crate) use names::{Integer, State, Vocabulary};
pub(crate) use plan::{Condition, Databases, Field, Member, Plan};

/// Reads a file that a rule names.
pub type ReadFile<'a> = dyn Fn(&str) -> std::io::Result<Vec<u8>> + 'a;

/// How rules are compiled.
pub struct Options<'a> {
    /// Where built databases are kept; None: nowhere.
    pub cache: Option<&'a Path>,
    /// Databases may not take more.
    pub memory_max_bytes: usize,
    /// Threads that build.
    pub threads: usize,
    /// Reads the files of datasets by the name in the rule.
    pub file: &'a ReadFile<'a>,
    /// What is known of addresses.
    pub reputations: Reputations,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            cache: None,
            memory_max_bytes: 1 << 30,
            threads: 1,
            file: &|name| std::fs::read(name),
            reputations: Reputations::default(),
        }
    }
}

/// Why rules cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// They take more memory than they may.
    #[error(
        "the databases of {rules} rules take {bytes} bytes, {max_bytes} are allowed; load fewer rules or allow more memory"
    )]
    TooLarge {
        /// Rules.
        rules: usize,
        /// What they take.
        bytes: usize,
        /// What they may take.
        max_bytes: usize,
    },
    /// The library failed on what it takes otherwise.
    #[error("the databases cannot be made: {0}; is the library that was installed complete?")]
    Library(String),
}

/// What is wrong with a rule that was read.
pub(crate) type Flaw = (Cause, String);

/// What compiling took and gave.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// Rules.
    pub rules: usize,
    /// Different groups of matchers in them.
    pub conditions: usize,
    /// Databases of literals and expressions that are looked for first.
    pub databases: usize,
    /// Conditions in these without anything that must be there, asked of each buffer.
    pub always: usize,
    /// Different regular expressions.
    pub expressions: usize,
    /// Of these, evaluated by an engine that tracks back, within a limit.
    pub backtracking: usize,
    /// Memory of all databases.
    pub database_bytes: usize,
    /// Memory of the streaming state of one connection's two directions.
    pub stream_bytes: usize,
    /// How long it took.
    pub compile_ms: u64,
    /// The databases came from disk.
    pub cached: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rules,
            conditions,
            databases,
            expressions,
            ..
        } = self;
        write!(
            out,
            "{rules} rules: {conditions} conditions in {databases} databases ({} asked always), {expressions} expressions ({} tracking back), {} KiB, {} bytes a connection, {} in {} ms",
            self.always,
            self.backtracking,
            self.database_bytes / 1024,
            self.stream_bytes,
            if self.cached { "loaded" } else { "compiled" },
            self.compile_ms
        )
    }
}

/// Compiled rules. Immutable; shared by the workers.
pub struct RuleSet {
    rules: Vec<Rule>,
    pub(crate) plans: Vec<Plan>,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) groups: Vec<CompiledGroup>,
    pub(crate) joints: Joints,
    /// By field and direction: the groups.
    by_field: Vec<Vec<u16>>,
    pub(crate) expressions: Vec<Expression>,
    pub(crate) packet_rules: [Vec<u32>; 4],
    pub(crate) message_rules: Vec<u32>,
    /// What outlasts the application's parser.
    pub(crate) lasting: Lasting,
    /// Conditions of rules that have several.
    pub(crate) shared: u32,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) reputations: Reputations,
    /// By direction.
    wants: [BufferSet; 2],
    report: Report,
}

/// What is asked of one field in one direction, and its database for what is here whole.
pub(crate) struct CompiledGroup {
    pub asked: Databases,
    /// In fewer bytes the database finds nothing.
    pub shortest: usize,
    pub block: Option<BlockDatabase>,
}

impl fmt::Debug for RuleSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RuleSet")
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

impl RuleSet {
    /// Compiles rules. Those that cannot be compiled are left out and returned.
    pub fn compile(
        rules: Vec<Rule>,
        options: &Options<'_>,
    ) -> Result<(Self, Vec<Refusal>), CompileError> {
        let begun = Instant::now();
        let (mut planner, mut taken, mut refused) =
            (plan::Planner::default(), Vec::new(), Vec::new());
        for rule in rules {
            match expressions_go(&rule).and_then(|()| planner.add(&rule, options.file)) {
                Ok(()) => taken.push(rule),
                Err((cause, why)) => refused.push(Refusal::of(&rule, cause, why)),
            }
        }
        let jobs = jobs(&planner);
        let (built, cached) = build(&jobs, options);
        let impossible = impossible(&planner, &built);
        if !impossible.is_empty() {
            // Without the rules that have them all is planned again; what was built of the rest is
            // built again too, which happens once for a rule set, if ever.
            let (out, rest): (Vec<_>, Vec<_>) = taken
                .into_iter()
                .partition(|rule| has_one(rule, &impossible));
            let why = "its pcre is too large for every engine";
            refused.extend(
                out.iter()
                    .map(|rule| Refusal::of(rule, Cause::Expression, why)),
            );
            let (set, more) = Self::compile(rest, options)?;
            refused.extend(more);
            return Ok((set, refused));
        }
        let bytes = built.iter().map(|built| built.bytes.len()).sum();
        if bytes > options.memory_max_bytes {
            return Err(CompileError::TooLarge {
                rules: taken.len(),
                bytes,
                max_bytes: options.memory_max_bytes,
            });
        }
        let mut set = Self::assemble(taken, planner, built, options)?;
        set.report.cached = cached;
        set.report.compile_ms = begun.elapsed().as_millis() as u64;
        Ok((set, refused))
    }

    fn assemble(
        rules: Vec<Rule>,
        planner: plan::Planner,
        built: Vec<Built>,
        options: &Options<'_>,
    ) -> Result<Self, CompileError> {
        let library = |error: hyperscan::Error| CompileError::Library(error.to_string());
        let mut built = built.into_iter();
        let mut next = || built.next().unwrap_or_default();
        let mut joints = Joints::plan(&planner.databases).0;
        let mut groups = Vec::new();
        for mut asked in planner.databases {
            let block = asked.job().map(|_| next()).unwrap_or_default();
            if !block.why.is_empty() {
                return Err(CompileError::Library(block.why));
            }
            for &id in &block.left_out {
                asked.leave_out(id);
            }
            groups.push(CompiledGroup {
                shortest: asked.shortest(),
                asked,
                block: database::block(&block.bytes).map_err(library)?,
            });
        }
        joints.complete(&mut next, &mut groups)?;
        // Buffers are cut from heads: these are read first.
        let mut wants = planner.wants;
        for (wants, heads) in wants.iter_mut().zip(&joints.heads) {
            if heads.database.is_some() {
                *wants = wants.with(Buffer::HttpStart);
            }
        }
        let mut expressions = Vec::new();
        for pcre in &planner.expressions {
            let built = next();
            let rough = database::block(&built.bytes).map_err(library)?;
            let (looks_at_start, looks_at_end) = expression::looks_at_ends(pcre);
            let engine = match (built.approximate, rough) {
                (false, Some(database)) => Engine::Exact(database),
                (_, rough) => {
                    let regex = expression::backtracking(pcre).map_err(CompileError::Library)?;
                    Engine::Confirmed(rough, regex)
                }
            };
            expressions.push(Expression {
                engine,
                looks_at_start,
                looks_at_end,
            });
        }
        let mut by_field = vec![Vec::new(); 2 * Field::COUNT];
        for (index, group) in groups.iter().enumerate() {
            let field = group.asked.field.index() * 2 + group.asked.direction;
            by_field[field].push(index as u16);
        }
        let bits = planner.vocabulary.flow_bits.len();
        let lasting = Lasting::new(&rules, &planner.plans, &planner.packet_rules, bits);
        let mut set = Self {
            rules,
            lasting,
            plans: planner.plans,
            conditions: planner.conditions,
            groups,
            joints,
            by_field,
            expressions,
            packet_rules: planner.packet_rules,
            message_rules: planner.message_rules,
            shared: planner.shared,
            vocabulary: planner.vocabulary,
            reputations: options.reputations.clone(),
            wants,
            report: Report::default(),
        };
        set.report = set.count();
        Ok(set)
    }

    fn count(&self) -> Report {
        let size = |size: hyperscan::Result<usize>| size.unwrap_or(0);
        let engine = |expression: &Expression| match &expression.engine {
            Engine::Exact(database) => size(database.size()),
            Engine::Confirmed(database, _) => database.as_ref().map_or(0, |one| size(one.size())),
        };
        let blocks = self.groups.iter().flat_map(|group| &group.block);
        let blocks = blocks.chain(self.joints.heads.iter().flat_map(|heads| &heads.database));
        let streams = self.joints.wires.iter().flat_map(|wire| &wire.database);
        Report {
            rules: self.rules.len(),
            conditions: self.conditions.len(),
            databases: blocks.clone().count() + streams.clone().count(),
            always: self
                .groups
                .iter()
                .map(|group| group.asked.always.len())
                .sum(),
            expressions: self.expressions.len(),
            backtracking: self
                .expressions
                .iter()
                .filter(|expression| matches!(expression.engine, Engine::Confirmed(..)))
                .count(),
            database_bytes: blocks.map(|one| size(one.size())).sum::<usize>()
                + streams.clone().map(|one| size(one.size())).sum::<usize>()
                + self.expressions.iter().map(engine).sum::<usize>(),
            stream_bytes: streams.map(|one| size(one.stream_size())).sum(),
            ..Report::default()
        }
    }

    /// How many rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// A rule by its number, as a hit gives it.
    pub fn rule(&self, index: u32) -> Option<&Rule> {
        self.rules.get(index as usize)
    }

    /// What a rule does when it fires.
    pub fn action(&self, index: u32) -> Action {
        self.rule(index).map_or(Action::Alert, |rule| rule.action)
    }

    /// A rule in words: id and message.
    pub fn describe(&self, index: u32) -> String {
        self.rule(index)
            .map(|rule| format!("{} {}", rule.sid, rule.message))
            .unwrap_or_default()
    }

    /// The buffers that rules look into, by direction; [`weir_l7::Buffer::Payload`] where they look into streams.
    pub const fn wants(&self) -> [BufferSet; 2] {
        self.wants
    }

    /// What compiling took and gave.
    pub const fn report(&self) -> Report {
        self.report
    }

    /// The databases, a line each, for people.
    pub fn describe_groups(&self) -> Vec<String> {
        let line = |group: &CompiledGroup| {
            let asked = &group.asked;
            let block = group.block.as_ref().and_then(|one| one.size().ok());
            format!(
                "{:?} {} {:?}: {} conditions, {} always, {} literals, {} bytes",
                asked.field,
                if asked.direction == 0 {
                    "to server"
                } else {
                    "to client"
                },
                asked.transforms,
                asked.members.len(),
                asked.always.len(),
                asked.triggered.len(),
                block.unwrap_or(0),
            )
        };
        let wires = self.joints.wires.iter().zip(["to server", "to client"]);
        let wire = |(wire, way): (&Wire, &str)| {
            let database = wire.database.as_ref();
            format!(
                "all {way}: {} literals, {} bytes, {} a stream",
                wire.literals.len(),
                database.and_then(|one| one.size().ok()).unwrap_or(0),
                database.and_then(|one| one.stream_size().ok()).unwrap_or(0),
            )
        };
        self.groups
            .iter()
            .map(line)
            .chain(wires.map(wire))
            .collect()
    }

    /// Scratch that serves every database of the set.
    pub(crate) fn scratch(&self) -> hyperscan::Result<hyperscan::Scratch> {
        use hyperscan::{BlockDatabase, Builder, Pattern, Scratch};

        let smallest: BlockDatabase = Pattern::new("a")?.build()?;
        let mut scratch: Scratch = smallest.alloc_scratch()?;
        for group in &self.groups {
            if let Some(database) = &group.block {
                database.realloc_scratch(&mut scratch)?;
            }
        }
        for database in self.joints.wires.iter().flat_map(|wire| &wire.database) {
            database.realloc_scratch(&mut scratch)?;
        }
        for database in self.joints.heads.iter().flat_map(|heads| &heads.database) {
            database.realloc_scratch(&mut scratch)?;
        }
        for expression in &self.expressions {
            let (Engine::Exact(database) | Engine::Confirmed(Some(database), _)) =
                &expression.engine
            else {
                continue;
            };
            database.realloc_scratch(&mut scratch)?;
        }
        Ok(scratch)
    }

    /// Whether anything is looked for in headers of packets.
    pub(crate) fn asks_of_headers(&self) -> bool {
        let is_header = |group: &CompiledGroup| matches!(group.asked.field, Field::Header(_));
        self.groups.iter().any(is_header)
    }

    /// The groups of a field.
    pub(crate) fn groups_of(&self, field: Field, direction: usize) -> &[u16] {
        &self.by_field[field.index() * 2 + direction]
    }
}

/// The expressions of matchers, those within base64 included.
fn each_expression<'a>(matchers: &'a [Matcher], tell: &mut dyn FnMut(&'a Pcre)) {
    for matcher in matchers {
        match matcher {
            Matcher::Pcre(pcre) => tell(pcre),
            Matcher::Base64(base64) => each_expression(&base64.inside, tell),
            _ => {}
        }
    }
}

/// Whether every expression of a rule is one that some engine understands.
fn expressions_go(rule: &Rule) -> Result<(), Flaw> {
    let mut outcome = Ok(());
    for group in &rule.groups {
        each_expression(&group.matchers, &mut |pcre| {
            if outcome.is_ok() && !Source::of(pcre).is_understood() {
                outcome = expression::backtracking(pcre).map(drop).map_err(|why| {
                    let expression = &pcre.expression;
                    let why = format!("its pcre /{expression}/ is not understood: {why}");
                    (Cause::Expression, why)
                });
            }
        });
    }
    outcome
}

/// The expressions that no engine takes after all.
fn impossible(planner: &plan::Planner, built: &[Built]) -> Vec<Pcre> {
    let first = built.len() - planner.expressions.len();
    let pairs = planner.expressions.iter().zip(&built[first..]);
    pairs
        .filter(|(pcre, built)| built.approximate && expression::backtracking(pcre).is_err())
        .map(|(pcre, _)| pcre.clone())
        .collect()
}

fn has_one(rule: &Rule, expressions: &[Pcre]) -> bool {
    let mut found = false;
    for group in &rule.groups {
        each_expression(&group.matchers, &mut |pcre| {
            found |= expressions.contains(pcre);
        });
    }
    found
}

fn jobs(planner: &plan::Planner) -> Vec<Job> {
    let groups = planner.databases.iter().filter_map(Databases::job);
    let (_, joint) = Joints::plan(&planner.databases);
    let expressions = planner
        .expressions
        .iter()
        .map(|pcre| Job::Single(Source::of(pcre)));
    groups.chain(joint).chain(expressions).collect()
}

/// The built databases, and whether they came from disk.
fn build(jobs: &[Job], options: &Options<'_>) -> (Vec<Built>, bool) {
    let key = cache::key(jobs);
    if let Some(built) = options
        .cache
        .and_then(|folder| cache::load(folder, &key, jobs.len()))
    {
        return (built, true);
    }
    let built = database::build_all(jobs, options.threads);
    if let Some(folder) = options.cache {
        // Without a cache the next start takes longer, nothing else.
        let _ = cache::store(folder, &key, &built);
    }
    (built, false)
}
