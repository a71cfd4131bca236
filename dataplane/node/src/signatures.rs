//! The signatures a node scans for: rule files, compiled once and shared by the workers.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use tracing::{info, warn};
use weir_sigs::RuleSet;

/// Compiles the rules in these files and directories (`*.rules`); None where there are none. A rule
/// that is not supported is named and left out.
pub fn load(paths: &[PathBuf]) -> Result<Option<Arc<RuleSet>>> {
    if paths.is_empty() {
        return Ok(None);
    }
    let loaded = weir_sigs::load_paths(
        paths,
        weir_sigs::rule::Options::default(),
        &weir_sigs::Options::default(),
    )
    .context("signatures")?;
    for refusal in &loaded.refused {
        warn!("{refusal}");
    }
    info!(
        rules = loaded.rules.len(),
        refused = loaded.refused.len(),
        "signatures compiled"
    );
    Ok((!loaded.rules.is_empty()).then(|| Arc::new(loaded.rules)))
}
