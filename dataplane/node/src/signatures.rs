//! The signatures a node scans for: rule files, compiled once and shared by the workers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use tracing::{info, warn};
use weir_sigs::{Prepared, RuleSet};

use crate::inspection::scan_limits;
use crate::worker::Shared;

/// Where rules are, and what they are read with.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Weir's own rules as well.
    pub shipped: bool,
    /// Rule files, and directories of them (`*.rules`).
    pub paths: Vec<PathBuf>,
    /// Values of variables, by name.
    pub variables: BTreeMap<String, String>,
    /// Where compiled databases are kept; none: they are compiled anew each time.
    pub cache: Option<PathBuf>,
}

/// Compiles the rules; None where there are none. A rule that is not supported is named and left out.
pub fn load(source: &Source) -> Result<Option<Arc<RuleSet>>> {
    let mut files = match source.shipped {
        true => weir_sigs::shipped_rules(),
        false => Vec::new(),
    };
    files.extend(weir_sigs::read_files(&source.paths).context("signatures")?);
    if files.is_empty() {
        return Ok(None);
    }
    let mut reading = weir_sigs::rule::Options::default();
    for (name, value) in &source.variables {
        reading
            .variables
            .set(name, value)
            .with_context(|| format!("inspection.variables.{name}"))?;
    }
    let compiling = weir_sigs::Options {
        cache: source.cache.as_deref(),
        ..weir_sigs::Options::default()
    };
    let loaded = weir_sigs::load_files(&files, reading, &compiling).context("signatures")?;
    for refusal in &loaded.refused {
        warn!("{refusal}");
    }
    let report = loaded.rules.report();
    info!(refused = loaded.refused.len(), "signatures: {report}");
    Ok((!loaded.rules.is_empty()).then(|| Arc::new(loaded.rules)))
}

/// Reads and compiles the rules again, and hands them to the workers, which take them between bursts.
/// Where that fails the rules in force stay.
pub fn reload(source: &Source, sessions: usize, shared: &Shared) -> Result<()> {
    // Without rules there is nothing to be found.
    let rules = match load(source)? {
        Some(rules) => rules,
        None => Arc::new(RuleSet::compile(Vec::new(), &weir_sigs::Options::default())?.0),
    };
    for queue in &shared.signatures {
        let prepared = Prepared::new(Arc::clone(&rules), &scan_limits(sessions))?;
        // One that the worker has not taken yet is out of date.
        queue.force_push(prepared);
    }
    Ok(())
}
