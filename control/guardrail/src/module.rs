//! A Rego file: read as v1 or v0, its mistakes told with line and column.
//!
//! Distrusts the text: its size, its number of rules, functions that call themselves (which would
//! take the stack with them) and builtins that reach out are refused before anything runs.

use std::num::{NonZeroU32, NonZeroUsize};
use std::str::FromStr;

use regorus::unstable::{Expr, Parser, Ref, Rule, RuleHead};
use regorus::{Engine, PolicyLengthConfig};
use weir_model::Problem;

use crate::names;

/// A module may hold this much text.
pub const MODULE_BYTES_MAX: usize = 256 << 10;
/// The modules of a guardrail may define this many rules and functions, so that a chain of them
/// that ask each other fits the stack.
pub const RULES_MAX: usize = 1_000;
const COLUMNS_MAX: NonZeroU32 = NonZeroU32::new(4_096).unwrap();
const LINES_MAX: NonZeroUsize = NonZeroUsize::new(20_000).unwrap();

/// The text of a Rego file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// As messages name it.
    pub path: String,
    /// The Rego.
    pub text: String,
}

/// A rule as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Declared {
    /// "data.weir.guardrail.deny".
    pub path: String,
    /// "data.weir.guardrail".
    pub package: String,
    /// "deny".
    pub name: String,
    /// The module's path.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// Whether it takes arguments.
    pub function: bool,
}

/// Adds the modules to an engine; what they declare, in their order.
pub(crate) fn load(engine: &mut Engine, modules: &[Module]) -> Result<Vec<Declared>, Vec<Problem>> {
    engine.set_policy_length_config(PolicyLengthConfig {
        max_col: COLUMNS_MAX,
        max_file_bytes: NonZeroUsize::new(MODULE_BYTES_MAX).unwrap_or(NonZeroUsize::MIN),
        max_lines: LINES_MAX,
    });
    let mut problems = Vec::new();
    for module in modules {
        problems.extend(add(engine, module).err());
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let declared = declared(engine).map_err(|problem| vec![problem])?;
    if declared.len() > RULES_MAX {
        let message = format!(
            "there are {} rules and functions, more than the {RULES_MAX} of one guardrail",
            declared.len()
        );
        let next = "split it into several guardrails";
        return Err(vec![Problem::of_file(&declared[0].file, message, next)]);
    }
    let problems = names::check(engine, &declared);
    if problems.is_empty() {
        Ok(declared)
    } else {
        Err(problems)
    }
}

/// As v1; a module that only lacks the keywords of v1 is read as v0.
fn add(engine: &mut Engine, module: &Module) -> Result<(), Problem> {
    if module.text.len() > MODULE_BYTES_MAX {
        let message = format!("holds more than the {MODULE_BYTES_MAX} bytes of one module");
        return Err(Problem::of_file(
            &module.path,
            message,
            "split it into several files",
        ));
    }
    let text = module.text.clone();
    engine.set_rego_v0(false);
    let Err(error) = engine.add_policy(module.path.clone(), text.clone()) else {
        return Ok(());
    };
    let problem = problem(&module.path, &error.to_string());
    if !problem.message.contains("keyword is required") {
        return Err(problem);
    }
    engine.set_rego_v0(true);
    let added = engine.add_policy(module.path.clone(), text);
    engine.set_rego_v0(false);
    added.map(|_| ()).map_err(|_| problem)
}

fn declared(engine: &mut Engine) -> Result<Vec<Declared>, Problem> {
    let mut all = Vec::new();
    for module in engine.get_modules() {
        let file = module.package.span.source.get_path().clone();
        let unreadable = |error: String| problem(&file, &error);
        let package = components(&module.package.refr).map_err(unreadable)?;
        let package = format!("data.{}", package.join("."));
        for rule in &module.policy {
            let (refr, function) = head(rule);
            let name = components(refr).map_err(unreadable)?;
            let name = name.into_iter().next().unwrap_or_default();
            all.push(Declared {
                path: format!("{package}.{name}"),
                package: package.clone(),
                name,
                file: file.clone(),
                line: rule.span().line,
                function,
            });
        }
    }
    Ok(all)
}

/// What a rule is called, and whether it takes arguments.
pub(crate) fn head(rule: &Rule) -> (&Ref<Expr>, bool) {
    match rule {
        Rule::Spec { head, .. } => match head {
            RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. } => (refr, false),
            RuleHead::Func { refr, .. } => (refr, true),
        },
        Rule::Default { refr, args, .. } => (refr, !args.is_empty()),
    }
}

pub(crate) fn components(refr: &Ref<Expr>) -> Result<Vec<String>, String> {
    let spans = Parser::get_path_ref_components(refr).map_err(|error| error.to_string())?;
    Ok(spans.iter().map(|span| span.text().to_owned()).collect())
}

/// The engine draws its errors (`--> file:line:column`, the line, `error: message`); this takes
/// them apart.
pub(crate) fn problem(file: &str, drawn: &str) -> Problem {
    let mut problem = Problem::of_file(file, "", "");
    let mut lines = drawn.lines();
    let place = lines
        .by_ref()
        .find_map(|line| line.trim_start().strip_prefix("--> "));
    if let Some(place) = place {
        let mut parts = place.rsplitn(3, ':');
        let mut number = || parts.next().and_then(|text| u32::from_str(text).ok());
        (problem.column, problem.line) = (number().unwrap_or(0), number().unwrap_or(0));
        if let Some(file) = parts.next() {
            problem.file = file.to_owned();
        }
    }
    let told = drawn
        .lines()
        .find_map(|line| line.strip_prefix("error: "))
        .unwrap_or_else(|| drawn.trim());
    problem.message = told.to_owned();
    if told.contains("keyword is required") {
        problem.next_step = "write it as Rego v1: deny contains msg if { … }".to_owned();
    } else if told.contains("is unsafe") {
        problem.next_step = "declare it, or name the rule or import that is meant".to_owned();
    } else if told.contains("time limit") {
        problem.message = "takes too long to answer".to_owned();
        problem.next_step =
            "make the rule cheaper: index instead of nesting loops over the same list".to_owned();
    }
    problem
}
