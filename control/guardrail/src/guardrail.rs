//! One guardrail: compiled once, asked about many documents.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};
use weir_model::{Enforcement, GuardrailMatch, Kind, Problem};

use crate::finding::{self, Finding, Findings};
use crate::input::Change;
use crate::module::{self, Declared, Module};

/// One rule may take this long over one document.
pub const EVALUATION_TIME_MAX: Duration = Duration::from_millis(500);
/// The clock is looked at after this many steps.
const STEPS: NonZeroU32 = NonZeroU32::new(256).unwrap();
/// What an evaluation's stack may grow to: enough for [`module::RULES_MAX`] rules that ask each other.
const STACK_BYTES: usize = 256 << 20;
/// `numbers.range` gives no more than this.
const RANGE_MAX: i64 = 100_000;
/// The package that a guardrail's rules stand in, or below.
const PACKAGE: &str = "data.weir.guardrail";

/// What a guardrail is made of.
#[derive(Clone, Debug, Default)]
pub struct Definition {
    /// What it is called in messages.
    pub name: String,
    /// Its Rego.
    pub modules: Vec<Module>,
    /// What the modules find below `data`: an object.
    pub data: serde_json::Value,
    /// What they find as `data.parameters` and `input.parameters`.
    pub parameters: serde_json::Value,
    /// What becomes of a document that it refuses.
    pub enforcement: Enforcement,
    /// The documents that it is asked about.
    pub matching: GuardrailMatch,
    /// Whether a finding of `package weir.guardrail.no_any` bears the name `no-any` instead of the
    /// guardrail's.
    pub by_package: bool,
}

/// A guardrail that can be asked.
#[derive(Debug)]
pub struct Guardrail {
    name: String,
    enforcement: Enforcement,
    matching: GuardrailMatch,
    by_package: bool,
    parameters: Value,
    /// "data.weir.guardrail.deny", and whether it refuses.
    rules: Vec<(String, bool)>,
    /// Prepared; what is asked works on a copy.
    engine: Mutex<Engine>,
}

impl Guardrail {
    /// Reads and checks a definition.
    pub fn compile(definition: Definition) -> Result<Self, Vec<Problem>> {
        let Definition {
            name,
            modules,
            data,
            parameters,
            enforcement,
            matching,
            by_package,
        } = definition;
        let (engine, declared) = on_large_stack(|| engine(&modules, &data, &parameters))
            .unwrap_or_else(|| Err(vec![Problem::of_file(&name, "cannot be read", "")]))?;
        let rules = rules(&declared);
        if rules.is_empty() {
            let file = modules.first().map_or(name.as_str(), |it| it.path.as_str());
            let message = "nothing in it says deny, violation or warn";
            let next = "write package weir.guardrail, and a rule: deny contains msg if { … }";
            return Err(vec![Problem::of_file(file, message, next)]);
        }
        Ok(Self {
            parameters: or_empty(&parameters),
            name,
            by_package,
            enforcement,
            matching,
            rules,
            engine: Mutex::new(engine),
        })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What becomes of a document that it refuses.
    pub fn enforcement(&self) -> Enforcement {
        self.enforcement
    }

    /// Whether documents of this kind and namespace (empty: none) concern it. `labels_of` gives the
    /// labels that are known of a namespace.
    pub fn asks_about<'a>(
        &self,
        kind: Kind,
        namespace: &str,
        labels_of: impl FnOnce(&str) -> Option<&'a BTreeMap<String, String>>,
    ) -> bool {
        let GuardrailMatch {
            kinds,
            namespaces,
            excluded_namespaces,
            namespace_selector,
        } = &self.matching;
        let has = |names: &[String]| names.iter().any(|name| name == namespace);
        (kinds.is_empty() || kinds.contains(&kind))
            && (namespaces.is_empty() || has(namespaces))
            && !has(excluded_namespaces)
            && namespace_selector.as_ref().is_none_or(|selector| {
                !namespace.is_empty() && selector.matches_namespace(namespace, labels_of(namespace))
            })
    }

    /// Adds what it says of a change.
    pub(crate) fn evaluate(&self, change: &Change, findings: &mut Findings) {
        let engine = self.engine.lock();
        let mut engine = engine
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone();
        let input = change.input(&self.parameters);
        let said = on_large_stack(|| {
            engine.set_input(input);
            let ask = |(rule, refuses): &(String, bool)| (self.ask(&mut engine, rule), *refuses);
            self.rules.iter().map(ask).collect::<Vec<_>>()
        });
        // Only a builtin that panics comes here.
        let broken = || {
            let message = "could not be evaluated: a builtin failed".to_owned();
            vec![(vec![finding::plain(&self.name, message)], true)]
        };
        for (said, refuses) in said.unwrap_or_else(broken) {
            if refuses && self.enforcement == Enforcement::Deny {
                findings.refused.extend(said);
            } else {
                findings.warnings.extend(said);
            }
        }
    }

    /// One rule; that it could not answer is a finding too.
    fn ask(&self, engine: &mut Engine, rule: &str) -> Vec<Finding> {
        let (package, short) = rule.rsplit_once('.').unwrap_or(("", rule));
        let own = package.strip_prefix(PACKAGE).unwrap_or_default();
        let name = match own.strip_prefix('.') {
            Some(own) if self.by_package => own.replace(['.', '_'], "-"),
            _ => self.name.clone(),
        };
        match engine.eval_rule(rule.to_owned()) {
            Ok(value) => {
                let mut said = finding::read(&name, short, &value);
                said.sort_by(|a, b| (&a.field, &a.message).cmp(&(&b.field, &b.message)));
                said
            }
            Err(error) => {
                let problem = module::problem("", &error.to_string());
                let mut message = format!("{short} could not be evaluated: {}", problem.message);
                if problem.line > 0 {
                    let (file, line, column) = (problem.file, problem.line, problem.column);
                    message = format!("{message} ({file}:{line}:{column})");
                }
                vec![Finding {
                    next_step: "correct the guardrail, or take it away".to_owned(),
                    ..finding::plain(&name, message)
                }]
            }
        }
    }
}

/// An engine that is ready to be asked, and what its modules declare.
pub(crate) fn engine(
    modules: &[Module],
    data: &serde_json::Value,
    parameters: &serde_json::Value,
) -> Result<(Engine, Vec<Declared>), Vec<Problem>> {
    let mut engine = Engine::new();
    // What a rule prints is nothing that a daemon should.
    engine.set_gather_prints(true);
    engine.set_execution_timer_config(ExecutionTimerConfig {
        limit: EVALUATION_TIME_MAX,
        check_interval: STEPS,
    });
    let whole = |error: String| vec![module::problem("", &error)];
    engine
        .add_extension("numbers.range".to_owned(), 2, Box::new(range))
        .map_err(|error| whole(error.to_string()))?;
    let declared = module::load(&mut engine, modules)?;
    let added = engine.add_data(or_empty(data));
    added.map_err(|error| whole(format!("data: {error}")))?;
    if data.get("parameters").is_none() {
        let mut fields = serde_json::Map::new();
        if !parameters.is_null() {
            fields.insert("parameters".to_owned(), parameters.clone());
        }
        let added = engine.add_data(value(&serde_json::Value::Object(fields)));
        added.map_err(|error| whole(format!("parameters: {error}")))?;
    }
    // Variables that nothing binds come to light when the engine prepares itself.
    engine.set_input(Value::new_object());
    if let Some(first) = declared.iter().find(|it| !it.function) {
        let path = first.path.clone();
        if let Err(error) = engine.eval_rule(path)
            && error.to_string().contains("is unsafe")
        {
            return Err(whole(error.to_string()));
        }
    }
    Ok((engine, declared))
}

/// The rules that are asked, each once, and whether they refuse.
fn rules(declared: &[Declared]) -> Vec<(String, bool)> {
    let mut rules: Vec<(String, bool)> = declared
        .iter()
        .filter(|it| !it.function && within(&it.package))
        .filter_map(|it| Some((it.path.clone(), refuses(&it.name)?)))
        .collect();
    rules.sort();
    rules.dedup();
    rules
}

fn within(package: &str) -> bool {
    let rest = package.strip_prefix(PACKAGE);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// `deny`, `violation` and `warn`, or one of them with an underscore and more; Some(true) refuses.
fn refuses(name: &str) -> Option<bool> {
    let word = name.split_once('_').map_or(name, |(word, _)| word);
    match word {
        "deny" | "violation" => Some(true),
        "warn" => Some(false),
        _ => None,
    }
}

/// As the builtin, but bounded: the engine's clock does not look into it.
fn range(arguments: Vec<Value>) -> anyhow::Result<Value> {
    let number = |index: usize| match arguments.get(index) {
        Some(Value::Number(number)) => number.as_i64(),
        _ => None,
    };
    let (Some(from), Some(to)) = (number(0), number(1)) else {
        anyhow::bail!("numbers.range expects two whole numbers");
    };
    if from.abs_diff(to) >= RANGE_MAX.unsigned_abs() {
        anyhow::bail!("numbers.range gives at most {RANGE_MAX} numbers");
    }
    let numbers: Vec<Value> = if from <= to {
        (from..=to).map(Value::from).collect()
    } else {
        (to..=from).rev().map(Value::from).collect()
    };
    Ok(Value::from(numbers))
}

pub(crate) fn value(json: &serde_json::Value) -> Value {
    Value::from(json.clone())
}

/// What is left out is an object without fields, so that rules can look for one.
fn or_empty(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::new_object(),
        json => value(json),
    }
}

/// Rules ask each other on the stack, so they get one of their own. None if the body panics.
pub(crate) fn on_large_stack<T: Send>(body: impl FnOnce() -> T + Send) -> Option<T> {
    let run = || catch_unwind(AssertUnwindSafe(body)).ok();
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("guardrail".to_owned());
        let thread = builder
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, run)
            .ok()?;
        thread.join().ok().flatten()
    })
}
