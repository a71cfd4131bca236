//! Files that someone names on the command line.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use weir_api::MESSAGE_BYTES_MAX;
use weir_api::v1::PolicyFile;
use weir_model::FILE_BYTES_MAX;

use crate::error::Failure;

/// Directories are looked through this deep.
const DEPTH_MAX: usize = 16;
/// Files with expectations, not documents.
pub const TEST_SUFFIXES: [&str; 2] = [".test.yaml", ".test.yml"];

/// Reads files, and all *.yaml and *.yml below directories, sorted; - is standard input. Test files
/// are left out unless `tests`.
pub fn read(paths: &[PathBuf], tests: bool) -> Result<Vec<PolicyFile>, Failure> {
    let mut found = Vec::new();
    for path in paths {
        find(path, tests, 0, &mut found)?;
    }
    found.dedup();
    if found.is_empty() {
        let names: Vec<_> = paths
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        return Err(Failure::Failed(format!(
            "no *.yaml or *.yml file is in {}; name files or directories that have some",
            names.join(", ")
        )));
    }
    let mut bytes_left = MESSAGE_BYTES_MAX;
    let mut files = Vec::with_capacity(found.len());
    for path in found {
        let content = read_text(&path)?;
        bytes_left = bytes_left.checked_sub(content.len()).ok_or_else(|| {
            Failure::Failed(format!(
                "the files up to {} hold more than the {MESSAGE_BYTES_MAX} bytes that fit into one change; \
                 give fewer at a time",
                path.display()
            ))
        })?;
        files.push(PolicyFile {
            name: path.display().to_string(),
            content,
        });
    }
    Ok(files)
}

/// No more than a document file may hold: what is named may be endless.
fn read_text(path: &Path) -> Result<String, Failure> {
    let limit = FILE_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(limit).read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    read.map_err(|error| unreadable(path, &error))?;
    let wrong = |what: &str| Failure::Failed(format!("{} {what}", path.display()));
    if bytes.len() > FILE_BYTES_MAX {
        return Err(wrong(&format!(
            "holds more than the {FILE_BYTES_MAX} bytes that are read of one file; split it into several"
        )));
    }
    String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8 text; save it as UTF-8"))
}

/// Whether a file holds expectations.
pub fn is_test(name: &str) -> bool {
    TEST_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

fn find(path: &Path, tests: bool, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    if path == Path::new("-") {
        found.push(path.to_owned());
        return Ok(());
    }
    let unreadable = |error| unreadable(path, &error);
    if !fs::metadata(path).map_err(unreadable)?.is_dir() {
        if tests || depth == 0 || !is_test(&path.to_string_lossy()) {
            found.push(path.to_owned());
        }
        return Ok(());
    }
    if depth >= DEPTH_MAX {
        let name = path.display();
        return Err(Failure::Failed(format!(
            "{name} lies too deep; name it by itself"
        )));
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        entries.push(entry.map_err(unreadable)?.path());
    }
    entries.sort();
    for entry in entries {
        let name = entry
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let yaml = name.ends_with(".yaml") || name.ends_with(".yml");
        if !name.starts_with('.') && (yaml || entry.is_dir()) {
            find(&entry, tests, depth + 1, found)?;
        }
    }
    Ok(())
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Failed(format!(
        "cannot read {}: {error}; check the path and its permissions",
        path.display()
    ))
}
