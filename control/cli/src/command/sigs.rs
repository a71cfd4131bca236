//! `weir sigs test` and `weir sigs why`: files of rules checked, and a rule explained, without a
//! controller.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use serde::Serialize;
use weir_sigs::compile::sought_first;
use weir_sigs::rule::{Cause, Classes, Options, Refusal, Rule, RuleReader, Variables};
use weir_sigs::{Report, RuleSet, read_files, shipped_rules};

use crate::Answer;
use crate::args::{SigsReading, SigsTestArguments};
use crate::error::Failure;
use crate::output::{Output, Page, Tone, View};
use crate::text;

#[derive(Serialize)]
struct Tested {
    rules: Vec<RuleView>,
    loaded: usize,
    refused: usize,
    /// Of the rules with a number of their own.
    share_percent: f64,
    /// Rules whose number a newer or earlier one has.
    superseded: usize,
    refused_by_reason: BTreeMap<String, usize>,
    /// Rules that are loaded and of which there is something to say.
    noted: usize,
    /// What compiling took and gave; None where only the language was checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    compiled: Option<CompiledView>,
}

#[derive(Serialize)]
struct CompiledView {
    compile_ms: u64,
    /// All databases.
    database_bytes: usize,
    /// What one connection takes.
    stream_bytes: usize,
    databases: usize,
    /// Different groups of matchers.
    conditions: usize,
    /// Of these, without anything to look for first.
    always: usize,
    expressions: usize,
    /// Of these, by an engine that tracks back, within a limit.
    backtracking: usize,
}

impl From<Report> for CompiledView {
    fn from(report: Report) -> Self {
        Self {
            compile_ms: report.compile_ms,
            database_bytes: report.database_bytes,
            stream_bytes: report.stream_bytes,
            databases: report.databases,
            conditions: report.conditions,
            always: report.always,
            expressions: report.expressions,
            backtracking: report.backtracking,
        }
    }
}

#[derive(Serialize)]
struct RuleView {
    file: String,
    line: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u32>,
    sid: Option<u32>,
    loaded: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    why: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

impl RuleView {
    fn loaded(rule: &Rule) -> Self {
        Self {
            file: rule.origin.file.to_string(),
            line: rule.origin.line,
            column: None,
            sid: Some(rule.sid),
            loaded: true,
            message: rule.message.clone(),
            reason: String::new(),
            why: String::new(),
            notes: rule.notes.clone(),
        }
    }

    fn refused(refusal: &Refusal) -> Self {
        Self {
            file: refusal.file.to_string(),
            line: refusal.line,
            column: Some(refusal.column),
            sid: refusal.sid,
            loaded: false,
            message: String::new(),
            reason: refusal.cause.label(),
            why: refusal.why.clone(),
            notes: Vec::new(),
        }
    }

    fn print(&self, page: &mut Page) {
        let place = match self.column {
            Some(column) => format!("{}:{}:{column}", self.file, self.line),
            None => format!("{}:{}", self.file, self.line),
        };
        let sid = self
            .sid
            .map_or_else(|| "-".to_owned(), |sid| sid.to_string());
        if self.loaded {
            page.toned(
                Tone::Good,
                &format!("loaded   {place}: {sid} {}", self.message),
            );
        } else {
            page.toned(Tone::Bad, &format!("REFUSED  {place}: {sid}: {}", self.why));
        }
        for note in &self.notes {
            page.toned(Tone::Warning, &format!("         note: {note}"));
        }
    }
}

impl View for Tested {
    fn table(&self, page: &mut Page) {
        for rule in &self.rules {
            rule.print(page);
        }
        page.gap();
        for (reason, count) in &self.refused_by_reason {
            page.line(format!("refused: {count} {reason}"));
        }
        if self.superseded > 0 {
            let rules = text::count(self.superseded as u64, "rule");
            page.line(format!("{rules} whose number another has"));
        }
        if self.noted > 0 {
            page.line(format!(
                "{} with a note",
                text::count(self.noted as u64, "rule")
            ));
        }
        if let Some(compiled) = &self.compiled {
            page.line(format!(
                "compiled in {:.1} s: {} databases of {}, {} a connection; {} expressions, {} tracking back; {} conditions, {} asked always",
                compiled.compile_ms as f64 / 1000.0,
                compiled.databases,
                text::bytes(compiled.database_bytes as u64),
                text::bytes(compiled.stream_bytes as u64),
                compiled.expressions,
                compiled.backtracking,
                compiled.conditions,
                compiled.always,
            ));
        }
        page.line(format!(
            "{} loaded, {} refused: {:.2} % loaded",
            self.loaded, self.refused, self.share_percent
        ));
    }
}

/// Checks rules; the answer is no if one is refused and `--strict` is given.
pub fn test(arguments: &SigsTestArguments, output: &mut Output) -> Result<Answer, Failure> {
    let (mut rules, mut refused) = read(&arguments.files, &arguments.reading)?;
    let mut compiled = None;
    if !arguments.syntax {
        let options = compile_options();
        let (set, uncompiled) = RuleSet::compile(rules.clone(), &options)
            .map_err(|error| Failure::Failed(error.to_string()))?;
        let gone: HashSet<_> = uncompiled.iter().map(|refusal| refusal.sid).collect();
        rules.retain(|rule| !gone.contains(&Some(rule.sid)));
        refused.extend(uncompiled);
        compiled = Some(set.report().into());
    }
    let is_superseded = |refusal: &&Refusal| refusal.cause == Cause::Superseded;
    let superseded = refused.iter().filter(is_superseded).count();
    let mut refused_by_reason = BTreeMap::new();
    for refusal in refused.iter().filter(|refusal| !is_superseded(refusal)) {
        *refused_by_reason.entry(refusal.cause.label()).or_default() += 1;
    }
    let lost = refused.len() - superseded;
    let noted = rules.iter().filter(|rule| !rule.notes.is_empty()).count();
    let mut views: Vec<RuleView> = refused.iter().map(RuleView::refused).collect();
    if !arguments.refused {
        views.extend(rules.iter().map(RuleView::loaded));
    }
    let tested = Tested {
        rules: views,
        loaded: rules.len(),
        refused: lost,
        share_percent: percent(rules.len(), rules.len() + lost),
        superseded,
        refused_by_reason,
        noted,
        compiled,
    };
    output.print(&tested)?;
    match arguments.strict && !refused.is_empty() {
        true => Ok(Answer::No),
        false => Ok(Answer::Yes),
    }
}

/// On every processor: nothing else waits.
fn compile_options() -> weir_sigs::Options<'static> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    weir_sigs::Options {
        threads,
        ..weir_sigs::Options::default()
    }
}

/// In hundredths of a percent, never rounded up: 100 means every one.
fn percent(part: usize, whole: usize) -> f64 {
    match (part * 10_000).checked_div(whole) {
        Some(hundredths) => hundredths as f64 / 100.0,
        None => 100.0,
    }
}

#[derive(Serialize)]
struct Explained {
    sid: u32,
    revision: u32,
    message: String,
    file: String,
    line: u32,
    rule: String,
    needs: Vec<NeedView>,
    references: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    priority: u8,
}

#[derive(Serialize)]
struct NeedView {
    of: String,
    what: String,
}

impl View for Explained {
    fn table(&self, page: &mut Page) {
        page.line(format!("{} {}", self.sid, self.message));
        page.line(format!(
            "{}:{}, revision {}",
            self.file, self.line, self.revision
        ));
        page.gap();
        let mut before = "";
        let mut rows = Vec::with_capacity(self.needs.len());
        for need in &self.needs {
            let of = match need.of == before {
                true => " ",
                false => need.of.as_str(),
            };
            before = &need.of;
            rows.push((Tone::Plain, vec![of.to_owned(), need.what.clone()]));
        }
        page.columns(&["of", "what"], rows, "it needs nothing");
        page.gap();
        let class = self.class.as_deref().unwrap_or("none");
        page.line(format!("class {class}, priority {}", self.priority));
        for reference in &self.references {
            page.line(format!("see {reference}"));
        }
        page.line(&self.rule);
    }
}

/// Explains a rule; the answer is no if it is not in the files.
pub fn why(
    sid: u32,
    files: &[PathBuf],
    reading: &SigsReading,
    output: &mut Output,
) -> Result<Answer, Failure> {
    let (rules, refused) = read(files, reading)?;
    if let Some(rule) = rules.iter().find(|rule| rule.sid == sid) {
        output.print(&Explained::of(rule))?;
        return Ok(Answer::Yes);
    }
    let refusal = refused.iter().find(|refusal| refusal.sid == Some(sid));
    Err(Failure::Failed(match refusal {
        Some(refusal) => refusal.to_string(),
        None => format!(
            "no rule has the number {sid}; {} were read, and --commented reads those behind # too",
            text::count(rules.len() as u64, "rule")
        ),
    }))
}

impl Explained {
    fn of(rule: &Rule) -> Self {
        let mut needs: Vec<NeedView> = Vec::new();
        for group in &rule.groups {
            needs.push(NeedView {
                of: "sought first".to_owned(),
                what: format!("{}: {}", group.place, sought_first(&group.matchers)),
            });
        }
        needs.extend(rule.explain().into_iter().map(|need| NeedView {
            of: need.of,
            what: need.what,
        }));
        let references = rule.references.iter();
        Self {
            sid: rule.sid,
            revision: rule.revision,
            message: rule.message.clone(),
            file: rule.origin.file.to_string(),
            line: rule.origin.line,
            rule: rule.to_string(),
            needs,
            references: references
                .map(|(kind, value)| format!("{kind} {value}"))
                .collect(),
            class: rule.class.clone(),
            priority: rule.priority,
        }
    }
}

fn read(paths: &[PathBuf], reading: &SigsReading) -> Result<(Vec<Rule>, Vec<Refusal>), Failure> {
    let mut options = Options {
        variables: Variables::default(),
        classes: Classes::default(),
        commented: reading.commented,
    };
    for (name, value) in &reading.variables {
        let set = options.variables.set(name, value);
        set.map_err(|error| Failure::Usage(error.to_string()))?;
    }
    for path in &reading.classification {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let path = path.display();
            Failure::Failed(format!("cannot read the classification {path}: {error}"))
        })?;
        let unread = options.classes.read(&text);
        if let Some(line) = unread.first() {
            return Err(Failure::Failed(format!(
                "{}:{line}: a line is `config classification: name,words,priority`",
                path.display()
            )));
        }
    }
    let files = match paths.is_empty() {
        true => shipped_rules(),
        false => read_files(paths).map_err(|error| Failure::Failed(error.to_string()))?,
    };
    if files.is_empty() {
        return Err(Failure::Failed(
            "no *.rules file is there; name files, or directories that have some".to_owned(),
        ));
    }
    let mut reader = RuleReader::new(options);
    for file in &files {
        reader.read(&file.name, &file.bytes);
    }
    Ok(reader.finish())
}
