//! Rego tests, run and told as `opa test` does: every rule `test_…` of the modules that is true has
//! passed; `todo_test_…` is skipped.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use regorus::Value;
use regorus::utils::limits::ExecutionTimerConfig;
use weir_model::Problem;

use crate::bundle::Bundle;
use crate::guardrail::{engine, on_large_stack};
use crate::module::{self, Declared};

/// A test may take this long.
pub const TEST_TIME_MAX: Duration = Duration::from_secs(5);
const STEPS: NonZeroU32 = NonZeroU32::new(256).unwrap();

/// A test that was run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// "data.weir.guardrail.no_any_test".
    pub package: String,
    /// "test_any_is_denied".
    pub name: String,
    /// The file that it stands in.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
    /// What it printed.
    pub printed: Vec<String>,
}

/// What came of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is true.
    Pass,
    /// It is false or undefined.
    Fail,
    /// It could not be evaluated.
    Error(String),
    /// It is still to be written.
    Skipped,
}

/// Runs the tests of bundles, directories or files, all of them together.
pub fn run(paths: &[PathBuf]) -> Result<Vec<Test>, Vec<Problem>> {
    let mut all = Bundle::default();
    let mut problems = Vec::new();
    for path in paths {
        match Bundle::read(path) {
            Ok(bundle) => {
                all.modules.extend(bundle.modules);
                let joined = all.add_data(bundle.data);
                problems.extend(joined.err().map(|message| {
                    Problem::of_file(&path.display().to_string(), message, "keep one of the two")
                }));
            }
            Err(more) => problems.extend(more),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    run_bundle(&all)
}

/// Runs the tests of a bundle.
pub fn run_bundle(bundle: &Bundle) -> Result<Vec<Test>, Vec<Problem>> {
    let failed = || Err(vec![Problem::of_file("", "a builtin failed", "")]);
    on_large_stack(|| {
        let parameters = serde_json::Value::Null;
        let (mut engine, declared) = engine(&bundle.modules, &bundle.data, &parameters)?;
        engine.set_execution_timer_config(ExecutionTimerConfig {
            limit: TEST_TIME_MAX,
            check_interval: STEPS,
        });
        let mut tests = Vec::new();
        for rule in declared.iter().filter(|it| !it.function) {
            if rule.name.starts_with("todo_test_") {
                tests.push(test(rule, Outcome::Skipped));
            } else if rule.name.starts_with("test_") {
                tests.push(run_one(&engine, rule));
            }
        }
        Ok(tests)
    })
    .unwrap_or_else(failed)
}

fn run_one(engine: &regorus::Engine, rule: &Declared) -> Test {
    let mut engine = engine.clone();
    let begin = Instant::now();
    let value = engine.eval_rule(rule.path.clone());
    let took = begin.elapsed();
    let outcome = match value {
        Ok(Value::Undefined | Value::Bool(false)) => Outcome::Fail,
        Ok(_) => Outcome::Pass,
        Err(error) => {
            let problem = module::problem(&rule.file, &error.to_string());
            Outcome::Error(problem.to_string())
        }
    };
    Test {
        took,
        printed: engine.take_prints().unwrap_or_default(),
        ..test(rule, outcome)
    }
}

fn test(rule: &Declared, outcome: Outcome) -> Test {
    Test {
        package: rule.package.clone(),
        name: rule.name.clone(),
        file: rule.file.clone(),
        line: rule.line,
        outcome,
        took: Duration::ZERO,
        printed: Vec::new(),
    }
}
