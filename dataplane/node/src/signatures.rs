//! The signatures a node scans for: rule files, compiled once and shared by the workers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

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

/// What came of the rules.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Compiled; None where there are none.
    pub rules: Option<Arc<RuleSet>>,
    /// So many were left out, each named in the log.
    pub refused: usize,
}

impl Loaded {
    /// Lets others know how many there are.
    pub fn count(&self, shared: &Shared) {
        let loaded = self.rules.as_ref().map_or(0, |rules| rules.len());
        for (count, value) in shared.signature_counts.iter().zip([loaded, self.refused]) {
            count.store(value as u64, Ordering::Relaxed);
        }
    }
}

/// Compiles the rules; None where there are none. A rule that is not supported is named and left out.
pub fn load(source: &Source) -> Result<Loaded> {
    let mut files = match source.shipped {
        true => weir_sigs::shipped_rules(),
        false => Vec::new(),
    };
    files.extend(weir_sigs::read_files(&source.paths).context("signatures")?);
    if files.is_empty() {
        return Ok(Loaded::default());
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
    Ok(Loaded {
        refused: loaded.refused.len(),
        rules: (!loaded.rules.is_empty()).then(|| Arc::new(loaded.rules)),
    })
}

/// Reads and compiles the rules again, and hands them to the workers, which take them between bursts.
/// Where that fails the rules in force stay.
pub fn reload(source: &Source, sessions: usize, shared: &Shared) -> Result<()> {
    let loaded = load(source)?;
    // Without rules there is nothing to be found.
    let rules = match &loaded.rules {
        Some(rules) => Arc::clone(rules),
        None => Arc::new(RuleSet::compile(Vec::new(), &weir_sigs::Options::default())?.0),
    };
    for queue in &shared.signatures {
        let prepared = Prepared::new(Arc::clone(&rules), &scan_limits(sessions))?;
        // One that the worker has not taken yet is out of date.
        queue.force_push(prepared);
    }
    loaded.count(shared);
    Ok(())
}
