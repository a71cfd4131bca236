//! Webhooks are asked before anything is written.

use serde_json::Value;

use crate::failure::Failure;
use crate::write::Write;

/// Asks mutating webhooks.
pub(crate) async fn mutate(
    _write: &Write<'_>,
    _old: Option<&Value>,
    _object: &mut Value,
    _warnings: &mut Vec<String>,
) -> Result<(), Failure> {
    Ok(())
}

/// Asks validating webhooks.
pub(crate) async fn validate(
    _write: &Write<'_>,
    _operation: &str,
    _old: Option<&Value>,
    _object: Option<&Value>,
    _warnings: &mut Vec<String>,
) -> Result<(), Failure> {
    Ok(())
}
