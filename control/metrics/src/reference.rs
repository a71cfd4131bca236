//! The reference of a daemon's metrics, and whether it is still true.

use std::fmt::Write;
use std::path::Path;

use crate::{Metric, Table};

/// Holds the file's section `## DAEMON` to the table; with `UPDATE_EXPECTED` in the environment it is
/// written anew. Tells what to do where they differ.
pub fn check<T: Table>(file: &Path, daemon: &str) -> Result<(), String> {
    let before = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let after = replaced(&before, daemon, T::ALL)?;
    if before == after {
        return Ok(());
    }
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        return std::fs::write(file, after).map_err(|error| error.to_string());
    }
    Err(format!(
        "{} does not say what {daemon} tells; run the test again with UPDATE_EXPECTED=1",
        file.display()
    ))
}

/// What is wrong with the names of a table, by Prometheus' conventions.
pub fn misnamed<T: Table>(prefix: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut names: Vec<_> = T::ALL.iter().map(|metric| metric.name).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() != T::ALL.len() {
        wrong.push("a name is given twice".to_owned());
    }
    for metric in T::ALL {
        let well_formed = |it: &str| {
            let mut bytes = it.bytes();
            !it.is_empty()
                && bytes.all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_')
        };
        let total = metric.name.ends_with("_total");
        let fine = metric.name.starts_with(prefix)
            && well_formed(metric.name)
            && metric.labels.iter().all(|label| well_formed(label))
            && total == (metric.kind == crate::Kind::Counter)
            && metric.help.ends_with('.')
            && !metric.help.contains('|');
        if !fine {
            wrong.push(metric.name.to_owned());
        }
    }
    wrong
}

fn replaced(text: &str, daemon: &str, table: &[Metric]) -> Result<String, String> {
    let heading = format!("## {daemon}\n");
    let begin = text
        .find(&heading)
        .ok_or_else(|| format!("there is no section {daemon}"))?
        + heading.len();
    let rest = &text[begin..];
    let end = rest.find("\n## ").map_or(rest.len(), |end| end + 1);
    Ok(format!(
        "{}\n{}{}",
        &text[..begin],
        section(table),
        &tail(&rest[end..])
    ))
}

/// With an empty line between it and what came before.
fn tail(rest: &str) -> String {
    match rest.is_empty() {
        true => String::new(),
        false => format!("\n{rest}"),
    }
}

fn section(table: &[Metric]) -> String {
    let mut text = String::from("| metric | type | labels | what it says |\n|---|---|---|---|\n");
    for metric in table {
        let labels: Vec<_> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            metric.name,
            metric.kind.name(),
            labels.join(", "),
            metric.help
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_nothing_else() {
        let table = [Metric {
            name: "a_b",
            kind: crate::Kind::Gauge,
            labels: &["c"],
            help: "D.",
        }];
        let once = replaced("# X\n\n## one\nold\n\n## two\n\nstays\n", "one", &table).unwrap();
        let rows = "| metric | type | labels | what it says |\n|---|---|---|---|\n| `a_b` | gauge | `c` | D. |\n";
        assert_eq!(once, format!("# X\n\n## one\n\n{rows}\n## two\n\nstays\n"));
        assert_eq!(replaced(&once, "one", &table).unwrap(), once);
        let last = replaced("## two\n", "two", &table).unwrap();
        assert_eq!(last, format!("## two\n\n{rows}"));
        assert!(replaced("", "one", &table).is_err());
    }
}
