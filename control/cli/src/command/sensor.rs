//! `weir sensor test`: sensors compiled and tried, without a controller.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use weir_compile::compile;
use weir_model::{
    Document, FILE_BYTES_MAX, Located, Metadata, SensorExamples, Workload, WorkloadSpec,
    parse_documents,
};
use weir_policy::spec::SensorSpec;
use weir_sigs::sensor::{SensorScanner, SensorSet};

use crate::Answer;
use crate::command::status::ProblemView;
use crate::documents;
use crate::error::Failure;
use crate::output::{Output, Page, Tone, View};

#[derive(Default, Serialize)]
struct Tested {
    problems: Vec<ProblemView>,
    sensors: Vec<SensorView>,
    /// What fires on the content that was given.
    hits: Vec<HitView>,
    /// Whether any was given.
    #[serde(skip)]
    tried: bool,
}

/// A sensor that compiles.
#[derive(Serialize)]
struct SensorView {
    name: String,
    patterns: usize,
    /// Of its own examples, how many came out as written.
    examples: usize,
    /// Those that did not.
    wrong: Vec<String>,
}

#[derive(Serialize)]
struct HitView {
    sensor: String,
    pattern: String,
    count: u32,
    excerpt: String,
}

impl View for Tested {
    fn table(&self, page: &mut Page) {
        for problem in &self.problems {
            problem.print(page);
        }
        for sensor in &self.sensors {
            let (name, patterns) = (&sensor.name, sensor.patterns);
            for wrong in &sensor.wrong {
                page.toned(Tone::Bad, &format!("FAILED  {name}: {wrong}"));
            }
            if sensor.wrong.is_empty() {
                let examples = sensor.examples;
                let line = format!("ok      {name}: {patterns} patterns, {examples} examples");
                page.toned(Tone::Good, &line);
            }
        }
        for hit in &self.hits {
            let (sensor, pattern) = (&hit.sensor, &hit.pattern);
            let line = format!("fires   {sensor}: {pattern} {:?}", hit.excerpt);
            page.toned(Tone::Warning, &line);
        }
        if self.tried && self.hits.is_empty() {
            page.line("nothing fires");
        }
    }
}

/// Compiles and tries; the answer is no if a sensor cannot be enforced, or an example comes out otherwise
/// than written.
pub fn run(
    paths: &[PathBuf],
    value: Option<String>,
    file: Option<&Path>,
    output: &mut Output,
) -> Result<Answer, Failure> {
    let content = match file {
        Some(file) => Some(read(file)?),
        None => value.map(String::into_bytes),
    };
    let mut tested = Tested {
        tried: content.is_some(),
        ..Tested::default()
    };
    let (specs, examples) = sensors(paths, &mut tested)?;
    let failed = |why: String| Failure::Failed(format!("the sensors cannot be tried: {why}"));
    if !specs.is_empty() {
        let set = SensorSet::compile(&specs).map_err(|refused| {
            let told: Vec<String> = refused.iter().map(ToString::to_string).collect();
            failed(told.join("; "))
        })?;
        let mut scanner = SensorScanner::new(Arc::new(set), 1, 0, 0)
            .map_err(|error| failed(error.to_string()))?;
        for (index, spec) in specs.iter().enumerate() {
            let view = try_examples(&mut scanner, index, spec, &examples[index]);
            tested.sensors.push(view);
        }
        if let Some(content) = content {
            tested.hits = hits(&mut scanner, &specs, &content);
        }
    }
    let wrong = tested.problems.iter().any(|problem| !problem.warning)
        || tested.sensors.iter().any(|sensor| !sensor.wrong.is_empty());
    output.print(&tested)?;
    Ok(if wrong { Answer::No } else { Answer::Yes })
}

/// The sensors that compile, each with its examples; of the others the problems. What they are attached
/// to is not asked.
fn sensors(
    paths: &[PathBuf],
    tested: &mut Tested,
) -> Result<(Vec<SensorSpec>, Vec<SensorExamples>), Failure> {
    let (mut specs, mut examples) = (Vec::new(), Vec::new());
    let mut names = BTreeSet::new();
    let mut problems = Vec::new();
    for file in documents::read(paths, false)? {
        let (read, mistakes) = parse_documents(&file.name, &file.content);
        problems.extend(mistakes);
        for mut located in read {
            let Document::Sensor(sensor) = &mut located.value else {
                continue;
            };
            sensor.spec.target = None;
            examples.push(sensor.spec.examples.take().unwrap_or_default());
            if !names.insert(located.value.title()) {
                let title = located.value.title();
                let message = format!("{title} is defined twice");
                problems.push(located.problem("metadata.name", message, "rename one of the two"));
                examples.pop();
                continue;
            }
            let anybody = anybody_in(&located.value.metadata().namespace);
            let compiled = compile(&[vec![located], anybody].concat(), None);
            problems.extend(compiled.problems);
            if compiled.spec.sensors.is_empty() {
                examples.pop();
            }
            // Texts are tried between ends that nobody knows.
            specs.extend(compiled.spec.sensors.into_iter().map(|one| SensorSpec {
                targets: Vec::new(),
                ..one
            }));
        }
    }
    let views = problems
        .iter()
        .map(|problem| ProblemView::of_document(problem, false));
    tested.problems = views.collect();
    Ok((specs, examples))
}

/// A workload for a sensor to be attached to.
fn anybody_in(namespace: &str) -> Vec<Located<Document>> {
    let metadata = Metadata::new(namespace, "anybody").ok();
    let workload = metadata.map(|metadata| Workload {
        metadata,
        spec: WorkloadSpec::default(),
    });
    let document = workload.map(Document::Workload);
    let located = document.map(|document| Located::unplaced(document, "sensor test"));
    located.into_iter().collect()
}

fn try_examples(
    scanner: &mut SensorScanner,
    index: usize,
    spec: &SensorSpec,
    examples: &SensorExamples,
) -> SensorView {
    let mut wrong = Vec::new();
    let mut try_all = |texts: &[String], expected: bool, what: &str| {
        for text in texts {
            let hits = scanner.trial(text.as_bytes());
            if hits.iter().any(|hit| usize::from(hit.sensor) == index) != expected {
                wrong.push(format!("{what} {text:?}"));
            }
        }
    };
    try_all(&examples.fires, true, "does not fire on");
    try_all(&examples.passes, false, "fires on");
    SensorView {
        name: spec.name.clone(),
        patterns: spec.patterns.len(),
        examples: examples.fires.len() + examples.passes.len() - wrong.len(),
        wrong,
    }
}

fn hits(scanner: &mut SensorScanner, specs: &[SensorSpec], content: &[u8]) -> Vec<HitView> {
    let told = scanner.trial(content);
    let view = |hit: &weir_sigs::sensor::SensorHit| {
        let sensor = specs.get(usize::from(hit.sensor))?;
        let pattern = sensor.patterns.get(usize::from(hit.pattern))?;
        Some(HitView {
            sensor: sensor.name.clone(),
            pattern: pattern.name.clone(),
            count: hit.count,
            excerpt: hit.excerpt.to_string(),
        })
    };
    told.iter().filter_map(view).collect()
}

/// No more than a document file may hold.
fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file);
    let limit = FILE_BYTES_MAX as u64;
    opened
        .and_then(|opened| opened.take(limit).read_to_end(&mut bytes))
        .map_err(|error| {
            let name = file.display();
            Failure::Failed(format!("cannot read {name}: {error}; check the path"))
        })?;
    Ok(bytes)
}
