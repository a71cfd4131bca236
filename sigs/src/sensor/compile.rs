//! From specifications to databases.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use arrayvec::ArrayVec;
use hyperscan::{Builder, Pattern, PatternFlags, Patterns, StreamingDatabase};
use weir_l7::{Buffer, BufferSet};
use weir_policy::spec::{SensorDirection, SensorPatternSpec, SensorSpec, SensorWhat};
use weir_wire::Direction;

use super::check::{self, Check};
use super::expression::{Expression, Finder, WINDOW_BYTES};
use super::{place, places};

/// Expressions and texts of all sensors together.
pub const EXPRESSIONS_MAX: usize = 65_536;

/// Sensors, ready to be looked for. Immutable; shared by the workers.
pub struct SensorSet {
    pub(super) sensors: Vec<SensorSpec>,
    pub(super) traits: Vec<SensorTraits>,
    pub(super) patterns: Vec<CompiledPattern>,
    /// By the number that Hyperscan gives with a match.
    pub(super) expressions: Vec<(u32, Finder)>,
    pub(super) groups: Vec<Group>,
    /// By number of the buffer.
    group_of: Vec<Option<u16>>,
    attached: Attachments,
}

/// What is known of a sensor as a whole.
pub(super) struct SensorTraits {
    pub(super) buffers: BufferSet,
    /// Only the end of the message tells whether it fires.
    pub(super) waits: bool,
    /// Fires from so many in a flow; None: not by flow.
    pub(super) flow_matches: Option<u32>,
}

pub(super) struct CompiledPattern {
    pub(super) sensor: u16,
    pub(super) index: u16,
    pub(super) checks: Vec<Check>,
    /// Whether its matches count towards thresholds.
    pub(super) counts: bool,
    /// What its matches have to be one of, sorted; empty: anything. In lower case where case is
    /// ignored.
    dataset: Vec<Vec<u8>>,
    ignore_case: bool,
}

/// One database: the expressions that several buffers are searched for.
pub(super) struct Group {
    /// For streams; whole buffers are read as streams that end at once.
    pub(super) database: StreamingDatabase,
    /// The buffers are streams.
    pub(super) is_streamed: bool,
}

/// A set of sensors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SensorBits([u64; SensorSpec::SENSORS_MAX / 64]);

/// Which sensors an end of a connection brings with it.
#[derive(Default)]
struct Attachments {
    everyone: SensorBits,
    /// By identity: what is looked for in content to it, from it.
    targets: HashMap<u32, [SensorBits; 2]>,
}

/// Why a sensor cannot be enforced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {field}: {why}; {next_step}")]
pub struct SensorRefusal {
    /// Its place in the list.
    pub sensor: usize,
    /// Its name.
    pub name: String,
    /// "patterns[1].regex"; empty for the whole sensor.
    pub field: String,
    /// What is wrong.
    pub why: String,
    /// What to do.
    pub next_step: String,
}

impl fmt::Debug for SensorSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SensorSet")
            .field("sensors", &self.sensors.len())
            .field("expressions", &self.expressions.len())
            .field("databases", &self.groups.len())
            .finish_non_exhaustive()
    }
}

impl SensorSet {
    /// Compiles sensors. All that cannot be enforced are told.
    pub fn compile(sensors: &[SensorSpec]) -> Result<Self, Vec<SensorRefusal>> {
        let mut compiler = Compiler::default();
        for (index, sensor) in sensors.iter().enumerate() {
            compiler.sensor(index, sensor);
        }
        if !compiler.refused.is_empty() {
            return Err(compiler.refused);
        }
        let (groups, group_of) = compiler.groups().map_err(|refusal| vec![refusal])?;
        Ok(Self {
            sensors: sensors.to_vec(),
            traits: compiler.traits,
            patterns: compiler.patterns,
            expressions: compiler
                .expressions
                .into_iter()
                .map(|one| (one.pattern, one.finder))
                .collect(),
            groups,
            group_of,
            attached: Attachments::of(sensors),
        })
    }

    /// The sensors it was compiled from.
    pub fn sensors(&self) -> &[SensorSpec] {
        &self.sensors
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sensors.is_empty()
    }

    /// How many expressions and texts are looked for, in how many databases.
    pub fn size(&self) -> (usize, usize) {
        (self.expressions.len(), self.groups.len())
    }

    /// What any of them looks into.
    pub fn all_buffers(&self) -> BufferSet {
        let all = self.traits.iter().map(|one| one.buffers);
        all.fold(BufferSet::EMPTY, BufferSet::union)
    }

    pub(super) fn group_of(&self, buffer: Buffer) -> Option<u16> {
        self.group_of.get(buffer as usize).copied().flatten()
    }

    pub(super) fn pattern_spec(&self, pattern: &CompiledPattern) -> &SensorPatternSpec {
        &self.sensors[usize::from(pattern.sensor)].patterns[usize::from(pattern.index)]
    }

    /// The sensors for content of a connection between these identities, by its direction.
    pub(super) fn attached(&self, client: u32, server: u32) -> [SensorBits; 2] {
        let none = [SensorBits::default(); 2];
        let of = |identity| self.attached.targets.get(&identity).unwrap_or(&none);
        let ([to_client, from_client], [to_server, from_server]) = (of(client), of(server));
        let everyone = self.attached.everyone;
        let mut attached = [everyone; 2];
        attached[Direction::ToServer as usize] = everyone.union(*to_server).union(*from_client);
        attached[Direction::ToClient as usize] = everyone.union(*to_client).union(*from_server);
        attached
    }

    pub(super) fn buffers(&self, sensors: SensorBits) -> BufferSet {
        let traits = self.traits.iter().enumerate();
        traits
            .filter(|(index, _)| sensors.contains(*index))
            .fold(BufferSet::EMPTY, |set, (_, one)| set.union(one.buffers))
    }
}

impl SensorBits {
    pub(super) fn contains(&self, sensor: usize) -> bool {
        self.0
            .get(sensor / 64)
            .is_some_and(|word| word & 1 << (sensor % 64) != 0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0 == [0; SensorSpec::SENSORS_MAX / 64]
    }

    fn insert(&mut self, sensor: usize) {
        if let Some(word) = self.0.get_mut(sensor / 64) {
            *word |= 1 << (sensor % 64);
        }
    }

    fn union(mut self, other: Self) -> Self {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word |= other;
        }
        self
    }
}

impl Attachments {
    fn of(sensors: &[SensorSpec]) -> Self {
        let mut attached = Self::default();
        for (index, sensor) in sensors.iter().enumerate() {
            if sensor.targets.is_empty() {
                attached.everyone.insert(index);
            }
            for target in &sensor.targets {
                let [to, from] = attached.targets.entry(*target).or_default();
                if sensor.direction != SensorDirection::From {
                    to.insert(index);
                }
                if sensor.direction != SensorDirection::To {
                    from.insert(index);
                }
            }
        }
        attached
    }
}

#[derive(Default)]
struct Compiler {
    traits: Vec<SensorTraits>,
    patterns: Vec<CompiledPattern>,
    expressions: Vec<One>,
    refused: Vec<SensorRefusal>,
    name: String,
    sensor: usize,
}

/// One expression and where it is looked for.
struct One {
    pattern: u32,
    hyperscan: String,
    finder: Finder,
    buffers: BufferSet,
    /// One match in a content tells everything.
    once: bool,
}

impl Compiler {
    fn refuse(
        &mut self,
        field: impl Into<String>,
        why: impl Into<String>,
        next_step: impl Into<String>,
    ) {
        self.refused.push(SensorRefusal {
            sensor: self.sensor,
            name: self.name.clone(),
            field: field.into(),
            why: why.into(),
            next_step: next_step.into(),
        });
    }

    fn sensor(&mut self, index: usize, sensor: &SensorSpec) {
        self.sensor = index;
        self.name.clone_from(&sensor.name);
        if index >= SensorSpec::SENSORS_MAX {
            let why = format!("there are more than {} sensors", SensorSpec::SENSORS_MAX);
            return self.refuse("", why, "put patterns that go together into one");
        }
        let has_expression =
            |pattern: &SensorPatternSpec| matches!(pattern.what, SensorWhat::Expression(_));
        let any_expression = sensor.patterns.iter().any(has_expression);
        // Without any threshold the first match suffices.
        let flow_matches = sensor.flow_matches.or(sensor.source.is_none().then_some(1));
        let at_once = flow_matches == Some(1) && sensor.source.is_none();
        let mut buffers = BufferSet::EMPTY;
        for (place, pattern) in sensor.patterns.iter().enumerate() {
            let counts = !any_expression || has_expression(pattern);
            let looks = self.pattern(place, pattern, counts, at_once);
            buffers = buffers.union(looks);
        }
        self.traits.push(SensorTraits {
            buffers,
            waits: sensor.combination.has_not(),
            flow_matches,
        });
    }

    fn pattern(
        &mut self,
        index: usize,
        pattern: &SensorPatternSpec,
        counts: bool,
        at_once: bool,
    ) -> BufferSet {
        let field = format!("patterns[{index}]");
        let mut buffers = BufferSet::EMPTY;
        for (place, word) in pattern.places.iter().enumerate() {
            match place::buffers(word) {
                Some(more) => buffers = buffers.union(more),
                None => {
                    let known: Vec<&str> = places().map(|(word, _)| word).collect();
                    let next_step = format!("write {} or the name of a buffer", known.join(", "));
                    let why = format!("there is no place {word:?}");
                    self.refuse(format!("{field}.where[{place}]"), why, next_step);
                }
            }
        }
        let mut checks = Vec::new();
        for (place, name) in pattern.checks.iter().enumerate() {
            match check::by_name(name) {
                Some(check) => checks.push(check),
                None => {
                    let known: Vec<&str> = check::checks().map(|check| check.name).collect();
                    let next_step = format!("known are {}", known.join(", "));
                    let why = format!("there is no check {name:?}");
                    self.refuse(format!("{field}.checks[{place}]"), why, next_step);
                }
            }
        }
        let selective =
            !checks.is_empty() || pattern.entropy_millibits > 0 || !pattern.dataset.is_empty();
        let number = u32::try_from(self.patterns.len()).unwrap_or(u32::MAX);
        self.patterns.push(CompiledPattern {
            sensor: u16::try_from(self.sensor).unwrap_or(u16::MAX),
            index: u16::try_from(index).unwrap_or(u16::MAX),
            checks,
            counts,
            dataset: dataset(pattern),
            ignore_case: pattern.ignore_case,
        });
        let mut add = |expression: Expression| {
            self.expressions.push(One {
                pattern: number,
                hyperscan: expression.hyperscan,
                finder: expression.finder,
                buffers,
                once: at_once && !selective,
            });
        };
        match &pattern.what {
            SensorWhat::Expression(text) => match Expression::parse(text, pattern.ignore_case) {
                Ok(expression) if expression.is_long && selective => {
                    let why = format!(
                        "may match more than {} bytes, which no check could look at",
                        WINDOW_BYTES
                    );
                    let next_step = "bound its repetitions";
                    self.refuse(format!("{field}.regex"), why, next_step);
                }
                Ok(expression) => add(expression),
                Err((why, next_step)) => self.refuse(format!("{field}.regex"), why, next_step),
            },
            SensorWhat::Literals(texts) | SensorWhat::Words(texts) => {
                let whole_words = matches!(pattern.what, SensorWhat::Words(_));
                for text in texts.iter().filter(|text| !text.is_empty()) {
                    add(Expression::text(text, whole_words, pattern.ignore_case));
                }
            }
        }
        if self.expressions.len() > EXPRESSIONS_MAX {
            self.expressions.truncate(EXPRESSIONS_MAX);
            let why = format!("all sensors together look for more than {EXPRESSIONS_MAX} texts");
            self.refuse(field, why, "look for fewer");
        }
        buffers
    }

    /// One database for all buffers that are searched for the same; by buffer, which one.
    fn groups(&self) -> Result<(Vec<Group>, Vec<Option<u16>>), SensorRefusal> {
        let mut wanted: BTreeMap<(bool, Vec<usize>), Vec<Buffer>> = BTreeMap::new();
        for &buffer in Buffer::ALL {
            let looks = |(index, one): (usize, &One)| one.buffers.contains(buffer).then_some(index);
            let ids: Vec<usize> = self
                .expressions
                .iter()
                .enumerate()
                .filter_map(looks)
                .collect();
            if !ids.is_empty() {
                wanted
                    .entry((buffer.is_streamed(), ids))
                    .or_default()
                    .push(buffer);
            }
        }
        let mut groups = Vec::new();
        let mut group_of = vec![None; Buffer::ALL.len()];
        for ((streamed, ids), buffers) in wanted {
            let number = u16::try_from(groups.len()).unwrap_or(u16::MAX);
            for buffer in &buffers {
                group_of[*buffer as usize] = Some(number);
            }
            let database = self.database(&ids).map_err(|error| SensorRefusal {
                sensor: 0,
                name: "all sensors".to_owned(),
                field: String::new(),
                why: format!("do not compile into one database: {error}"),
                next_step: "look for fewer or simpler patterns".to_owned(),
            })?;
            groups.push(Group {
                database,
                is_streamed: streamed,
            });
        }
        Ok((groups, group_of))
    }

    fn database(&self, ids: &[usize]) -> hyperscan::Result<StreamingDatabase> {
        let patterns = ids.iter().map(|&id| {
            let one = &self.expressions[id];
            let mut flags = PatternFlags::empty();
            flags.set(PatternFlags::SINGLEMATCH, one.once);
            let mut pattern = Pattern::with_flags(one.hyperscan.clone(), flags)?;
            pattern.id = Some(id);
            Ok(pattern)
        });
        Patterns(patterns.collect::<hyperscan::Result<Vec<_>>>()?).build()
    }
}

impl CompiledPattern {
    /// Whether a match is in the dataset, where there is one.
    pub(super) fn has(&self, value: &[u8]) -> bool {
        let mut lower: ArrayVec<u8, WINDOW_BYTES> = ArrayVec::new();
        if self.ignore_case {
            lower.extend(value.iter().take(WINDOW_BYTES).map(u8::to_ascii_lowercase));
        }
        let value = if self.ignore_case { &lower } else { value };
        let found = self
            .dataset
            .binary_search_by(|known| known.as_slice().cmp(value));
        self.dataset.is_empty() || found.is_ok()
    }
}

fn dataset(pattern: &SensorPatternSpec) -> Vec<Vec<u8>> {
    let texts = pattern
        .dataset
        .iter()
        .map(|text| match pattern.ignore_case {
            true => text.to_ascii_lowercase().into_bytes(),
            false => text.clone().into_bytes(),
        });
    let mut texts: Vec<Vec<u8>> = texts.collect();
    texts.sort_unstable();
    texts
}

impl SensorTraits {
    /// Whether the first match suffices.
    pub(super) fn at_once(&self, sensor: &SensorSpec) -> bool {
        self.flow_matches == Some(1) && sensor.source.is_none()
    }
}
