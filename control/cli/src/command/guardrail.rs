//! `weir guardrail`: documents judged and Rego tests run, without a controller.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};
use weir_guardrail::bundle::Bundle;
use weir_guardrail::library::{self, SHIPPED};
use weir_guardrail::testing::{self, Outcome, Test};
use weir_guardrail::{Guardrail, Guardrails, input, judge};
use weir_model::{Document, Located, Problem, did_you_mean, parse_documents};

use crate::Answer;
use crate::args::GuardrailArguments;
use crate::command::status::ProblemView;
use crate::documents;
use crate::error::Failure;
use crate::output::{Output, Page, Tone, View};

/// As `opa test` prints its results.
#[derive(Serialize)]
#[serde(transparent)]
struct Tested {
    tests: Vec<Value>,
    #[serde(skip)]
    results: Vec<Test>,
    #[serde(skip)]
    verbose: bool,
}

#[derive(Serialize)]
struct Checked {
    documents: usize,
    guardrails: Vec<String>,
    problems: Vec<ProblemView>,
    refused: usize,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Listed {
    guardrails: Vec<ListedOne>,
}

#[derive(Serialize)]
struct ListedOne {
    name: &'static str,
    about: String,
}

/// Text that is the same in every format.
#[derive(Serialize)]
#[serde(transparent)]
struct Inputs(Vec<Value>);

impl View for Tested {
    fn table(&self, page: &mut Page) {
        let bar = "-".repeat(80);
        let count = |wanted: fn(&Outcome) -> bool| {
            let wanted = self.results.iter().filter(|test| wanted(&test.outcome));
            wanted.count()
        };
        let mut file = "";
        for test in &self.results {
            let passed = test.outcome == Outcome::Pass;
            if passed && !self.verbose {
                continue;
            }
            if test.file != file {
                file = &test.file;
                page.line(format!("{file}:"));
            }
            let (word, tone) = match &test.outcome {
                Outcome::Pass => ("PASS", Tone::Good),
                Outcome::Fail => ("FAIL", Tone::Bad),
                Outcome::Error(_) => ("ERROR", Tone::Bad),
                Outcome::Skipped => ("SKIPPED", Tone::Warning),
            };
            let mut line = format!("{}.{}: {word}", test.package, test.name);
            if test.outcome != Outcome::Skipped {
                line = format!("{line} ({:?})", test.took);
            }
            page.toned(tone, &line);
            if let Outcome::Error(why) = &test.outcome {
                page.line(format!("  {why}"));
            }
            for text in &test.printed {
                page.line(format!("  {text}"));
            }
        }
        let total = self.results.len();
        if total == 0 {
            return page.line("no tests: a test is a rule whose name begins with test_");
        }
        let skipped = count(|outcome| *outcome == Outcome::Skipped);
        let failed = count(|outcome| *outcome == Outcome::Fail);
        let errors = count(|outcome| matches!(outcome, Outcome::Error(_)));
        if self.verbose || failed + errors + skipped > 0 {
            page.line(bar);
        }
        let passed = count(|outcome| *outcome == Outcome::Pass);
        page.line(format!("PASS: {passed}/{total}"));
        for (word, number) in [("FAIL", failed), ("ERROR", errors), ("SKIPPED", skipped)] {
            if number > 0 {
                page.line(format!("{word}: {number}/{total}"));
            }
        }
    }
}

impl View for Checked {
    fn table(&self, page: &mut Page) {
        for problem in &self.problems {
            problem.print(page);
        }
        let warnings = self.problems.len() - self.refused;
        page.line(format!(
            "{} documents, {} guardrails: {} refusals, {warnings} warnings",
            self.documents,
            self.guardrails.len(),
            self.refused
        ));
    }
}

impl View for Listed {
    fn table(&self, page: &mut Page) {
        let row = |one: &ListedOne| (Tone::Plain, vec![one.name.to_owned(), one.about.clone()]);
        let rows = self.guardrails.iter().map(row).collect();
        page.columns(&["name", "what it says"], rows, "none");
    }
}

impl View for Inputs {
    fn table(&self, page: &mut Page) {
        for input in &self.0 {
            for line in format!("{input:#}").lines() {
                page.line(line);
            }
        }
    }
}

/// Runs Rego tests.
pub fn test(
    paths: &[PathBuf],
    verbose: bool,
    fail_on_empty: bool,
    output: &mut Output,
) -> Result<Answer, Failure> {
    let results = testing::run(paths).map_err(refused)?;
    let failed = |test: &Test| matches!(test.outcome, Outcome::Fail | Outcome::Error(_));
    let wrong = results.iter().any(failed) || (fail_on_empty && results.is_empty());
    output.print(&Tested {
        tests: results.iter().map(test_view).collect(),
        results,
        verbose,
    })?;
    Ok(if wrong {
        Answer::TestsFailed
    } else {
        Answer::Yes
    })
}

/// Judges documents.
pub fn check(
    files: &[PathBuf],
    arguments: &GuardrailArguments,
    old: &[PathBuf],
    output: &mut Output,
) -> Result<Answer, Failure> {
    let documents = read(files)?;
    let in_force = if old.is_empty() {
        Vec::new()
    } else {
        read(old)?
    };
    let guardrails = guardrails(arguments, &documents)?;
    if guardrails.is_empty() {
        return Err(Failure::Usage(
            "there are no guardrails; give --guardrails or --shipped, or name documents of kind \
             Guardrail"
                .to_owned(),
        ));
    }
    // Documents that are in force and not given are not meant to go: a file is no whole set.
    let given: Vec<_> = in_force
        .into_iter()
        .filter(|old| documents.iter().any(|new| same(&old.value, &new.value)))
        .collect();
    let judged = judge(&guardrails, &documents[..], &given, &documents, true);
    let view = |problem, warning| ProblemView::of_document(problem, warning);
    let refusals = judged.refused.iter().map(|it| view(it, false));
    let warnings = judged.warnings.iter().map(|it| view(it, true));
    let refused = judged.refused.len();
    output.print(&Checked {
        documents: documents.len(),
        guardrails: guardrails.iter().map(|it| it.name().to_owned()).collect(),
        problems: refusals.chain(warnings).collect(),
        refused,
    })?;
    Ok(if refused > 0 { Answer::No } else { Answer::Yes })
}

/// Prints what guardrails are asked.
pub fn input(files: &[PathBuf], old: &[PathBuf], output: &mut Output) -> Result<Answer, Failure> {
    let documents = read(files)?;
    let in_force = if old.is_empty() {
        Vec::new()
    } else {
        read(old)?
    };
    let governed = documents
        .iter()
        .filter(|it| weir_guardrail::governs(it.value.kind()));
    let inputs = governed.map(|new| {
        let old = in_force.iter().find(|old| same(&old.value, &new.value));
        input::show(&documents[..], old.map(|it| &it.value), Some(&new.value))
    });
    output.print(&Inputs(inputs.collect()))?;
    Ok(Answer::Yes)
}

/// Names the shipped ones.
pub fn list(output: &mut Output) -> Result<Answer, Failure> {
    let one = |shipped: &library::Shipped| ListedOne {
        name: shipped.name,
        about: shipped.summary(),
    };
    output.print(&Listed {
        guardrails: SHIPPED.iter().map(one).collect(),
    })?;
    Ok(Answer::Yes)
}

/// Prints a shipped one.
pub fn show(name: &str, rego: bool, output: &mut Output) -> Result<Answer, Failure> {
    let shipped = find(name)?;
    let text = if rego {
        let file = shipped.name.replace('-', "_");
        let (policy, tests) = (shipped.rego, shipped.tests);
        format!("# {file}.rego\n{policy}\n# {file}_test.rego\n{tests}")
    } else {
        shipped.document()
    };
    output.print_text(&text)?;
    Ok(Answer::Yes)
}

/// Those that the flags name, and those among the documents.
pub fn guardrails(
    arguments: &GuardrailArguments,
    documents: &[Located<Document>],
) -> Result<Guardrails, Failure> {
    let (written, problems) = Guardrails::of_documents(documents);
    let mut problems = problems;
    let mut all: Vec<Arc<Guardrail>> = written.iter().cloned().collect();
    for path in &arguments.guardrails {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        match Bundle::read(path).and_then(|bundle| bundle.guardrail(&name)) {
            Ok(guardrail) => all.push(Arc::new(guardrail)),
            Err(more) => problems.extend(more),
        }
    }
    for name in &arguments.shipped {
        match Guardrail::compile(find(name)?.definition()) {
            Ok(guardrail) => all.push(Arc::new(guardrail)),
            Err(more) => problems.extend(more),
        }
    }
    if problems.is_empty() {
        Ok(Guardrails::new(all))
    } else {
        Err(refused(problems))
    }
}

fn find(name: &str) -> Result<&'static library::Shipped, Failure> {
    library::find(name).ok_or_else(|| {
        let names = SHIPPED.iter().map(|shipped| shipped.name);
        let next = match did_you_mean(name, names) {
            Some(near) => format!("did you mean {near}?"),
            None => "weir guardrail list names them".to_owned(),
        };
        Failure::Usage(format!("no guardrail {name} comes with Weir; {next}"))
    })
}

fn read(paths: &[PathBuf]) -> Result<Vec<Located<Document>>, Failure> {
    let mut documents = Vec::new();
    let mut problems = Vec::new();
    for file in documents::read(paths, false)? {
        let (found, mistakes) = parse_documents(&file.name, &file.content);
        documents.extend(found);
        problems.extend(mistakes);
    }
    if problems.is_empty() {
        Ok(documents)
    } else {
        Err(refused(problems))
    }
}

fn same(old: &Document, new: &Document) -> bool {
    let key = |it: &Document| (it.kind(), it.metadata().full_name());
    key(old) == key(new)
}

fn refused(problems: Vec<Problem>) -> Failure {
    let lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
    Failure::Failed(lines.join("\n"))
}

fn test_view(test: &Test) -> Value {
    let file = Path::new(&test.file);
    let mut view = json!({
        "location": { "file": file, "row": test.line, "col": 1 },
        "package": test.package,
        "name": test.name,
        "duration": u64::try_from(test.took.as_nanos()).unwrap_or(u64::MAX),
    });
    match &test.outcome {
        Outcome::Pass => {}
        Outcome::Fail => view["fail"] = json!(true),
        Outcome::Skipped => view["skip"] = json!(true),
        Outcome::Error(message) => {
            view["error"] = json!({ "code": "rego_error", "message": message });
        }
    }
    view
}
