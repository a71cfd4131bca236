//! `weir policy test`: documents checked and expectations run, without a controller.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use weir_api::v1;
use weir_model::{Problem, parse_documents};
use weir_policy::Snapshot;

use crate::Answer;
use crate::args::GuardrailArguments;
use crate::command::guardrail;
use crate::command::status::ProblemView;
use crate::documents;
use crate::error::Failure;
use crate::output::{Output, Page, Tone, View};

/// A *.test.yaml file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestFile {
    tests: Vec<Expectation>,
}

/// A connection, and what the policy must say of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    #[serde(default)]
    name: String,
    from: String,
    to: String,
    #[serde(default)]
    application: String,
    #[serde(default)]
    port: u16,
    #[serde(default)]
    protocol: Option<weir_model::Protocol>,
    #[serde(default)]
    fields: BTreeMap<String, String>,
    expect: Expected,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Expected {
    Allow,
    Deny,
}

#[derive(Serialize)]
struct Tested {
    documents: usize,
    problems: Vec<ProblemView>,
    tests: Vec<TestView>,
    passed: usize,
    failed: usize,
}

#[derive(Serialize)]
struct TestView {
    file: String,
    name: String,
    passed: bool,
    expected: Expected,
    /// What the policy says, or why it cannot say.
    got: String,
    decider: String,
    nearest: String,
}

impl View for Tested {
    fn table(&self, page: &mut Page) {
        for problem in &self.problems {
            problem.print(page);
        }
        for test in &self.tests {
            if test.passed {
                page.toned(Tone::Good, &format!("ok      {}", test.name));
                continue;
            }
            let mut why = format!("got {}", test.got);
            if !test.decider.is_empty() {
                why = format!("{why}, decided by {}", test.decider);
            }
            if !test.nearest.is_empty() {
                why = format!("{why}; nearest: {}", test.nearest);
            }
            page.toned(
                Tone::Bad,
                &format!("FAILED  {}: {why} ({})", test.name, test.file),
            );
        }
        let errors = self
            .problems
            .iter()
            .filter(|problem| !problem.warning)
            .count();
        let warnings = self.problems.len() - errors;
        page.line(format!(
            "{} documents, {errors} errors, {warnings} warnings; {} tests passed, {} failed",
            self.documents, self.passed, self.failed
        ));
    }
}

/// Checks and runs; the answer is no if anything is wrong.
pub fn run(
    paths: &[PathBuf],
    guardrails: &GuardrailArguments,
    output: &mut Output,
) -> Result<Answer, Failure> {
    let files = documents::read(paths, true)?;
    let (tests, documents): (Vec<_>, Vec<_>) = files
        .into_iter()
        .partition(|file| documents::is_test(&file.name));
    let mut problems = Vec::new();
    let mut parsed = Vec::new();
    for file in &documents {
        let (found, mistakes) = parse_documents(&file.name, &file.content);
        parsed.extend(found);
        problems.extend(mistakes);
    }
    let mut expectations = Vec::new();
    for file in &tests {
        match serde_yaml_ng::from_str::<TestFile>(&file.content) {
            Ok(test) => {
                expectations.extend(test.tests.into_iter().map(|it| (file.name.clone(), it)))
            }
            Err(error) => {
                let next =
                    "write tests: with from, to, application, port, fields, expect: allow or deny";
                problems.push(Problem::of_file(&file.name, error.to_string(), next));
            }
        }
    }
    // With some documents missing the others would be blamed for what they do not say.
    let parses = problems.is_empty();
    let mut views = Vec::new();
    if parses {
        let guardrails = guardrail::guardrails(guardrails, &parsed)?;
        let judged = weir_guardrail::judge(&guardrails, &parsed[..], &[], &parsed, false);
        let warnings = judged.warnings.iter();
        views.extend(warnings.map(|it| ProblemView::of_document(it, true)));
        problems.extend(judged.refused);
    }
    let compiled = parses.then(|| weir_compile::compile(&parsed, None));
    if let Some(compiled) = compiled {
        views.extend(
            compiled
                .warnings
                .iter()
                .map(|it| ProblemView::of_document(it, true)),
        );
        problems.extend(compiled.problems);
        if problems.is_empty() {
            let snapshot = Snapshot::build(compiled.spec);
            let snapshot = snapshot.map_err(|error| Failure::Failed(error.to_string()))?;
            let tests = expectations
                .into_iter()
                .map(|(file, it)| it.run(&snapshot, file));
            return finish(parsed.len(), views, tests.collect(), output);
        }
    }
    views.extend(
        problems
            .iter()
            .map(|it| ProblemView::of_document(it, false)),
    );
    finish(parsed.len(), views, Vec::new(), output)
}

impl Expectation {
    fn run(self, snapshot: &Snapshot, file: String) -> TestView {
        let name = if self.name.is_empty() {
            self.sentence()
        } else {
            self.name
        };
        let request = v1::WhatIfRequest {
            client: self.from,
            server: self.to,
            application: self.application,
            port: self.port.into(),
            protocol: self.protocol.map_or(0, |protocol| protocol.0.into()),
            fields: self.fields,
        };
        let expected = self.expect;
        match weir_api::what_if(snapshot, &request) {
            Ok(answer) => {
                let allowed = answer.rule_action() == v1::Action::Allow;
                TestView {
                    file,
                    name,
                    expected,
                    passed: allowed == (expected == Expected::Allow),
                    got: if allowed { "allow" } else { "deny" }.to_owned(),
                    decider: answer.decider,
                    nearest: answer.nearest,
                }
            }
            Err(error) => TestView {
                file,
                name,
                expected,
                passed: false,
                got: format!("no answer: {error}"),
                decider: String::new(),
                nearest: String::new(),
            },
        }
    }

    fn sentence(&self) -> String {
        let application = if self.application.is_empty() {
            "any bytes"
        } else {
            &self.application
        };
        let expect = if self.expect == Expected::Allow {
            "may"
        } else {
            "may not"
        };
        format!(
            "{} {expect} reach {} with {application} at port {}",
            self.from, self.to, self.port
        )
    }
}

fn finish(
    documents: usize,
    problems: Vec<ProblemView>,
    tests: Vec<TestView>,
    output: &mut Output,
) -> Result<Answer, Failure> {
    let failed = tests.iter().filter(|test| !test.passed).count();
    let wrong = failed > 0 || problems.iter().any(|problem| !problem.warning);
    let passed = tests.len() - failed;
    output.print(&Tested {
        documents,
        problems,
        tests,
        passed,
        failed,
    })?;
    Ok(if wrong { Answer::No } else { Answer::Yes })
}
