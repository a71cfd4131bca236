//! Writing several files as one: all new contents are on the disk before the first name changes, and
//! names that changed before a failure are changed back.
//!
//! A power cut between two renames can leave some files new and some old; every single file is whole
//! in any case.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use crate::error::WriteError;

/// Policy is no secret on the machine that enforces it.
const MODE_OF_NEW_FILES: u32 = 0o644;

struct Pending {
    path: PathBuf,
    content: NamedTempFile,
    /// A second name of what stands there, to go back to.
    before: Option<tempfile::TempPath>,
}

/// Writes all files below `directory`, or leaves all as they were.
pub(crate) fn write_all(
    directory: &Path,
    files: &BTreeMap<PathBuf, String>,
) -> Result<(), WriteError> {
    let mut pending = Vec::new();
    for (path, content) in files {
        let parent = path.parent().unwrap_or(directory);
        fs::create_dir_all(parent).map_err(|error| WriteError::file(parent, "created", error))?;
        let prepared = prepare(path, parent, content)
            .map_err(|error| WriteError::file(path, "written", error))?;
        pending.push(prepared);
    }
    let mut done: Vec<(PathBuf, Option<tempfile::TempPath>)> = Vec::new();
    for Pending {
        path,
        content,
        before,
    } in pending
    {
        if let Err(failure) = content.persist(&path) {
            let mut error = WriteError::file(&path, "renamed into place", failure.error);
            if let (Err(lost), WriteError::File { outcome, .. }) = (undo(done), &mut error) {
                *outcome = lost;
            }
            return Err(error);
        }
        done.push((path, before));
    }
    // The names are there; whether they would survive a power cut right now is all that this adds.
    for path in files.keys() {
        if let Some(parent) = path.parent() {
            let _ = File::open(parent).and_then(|parent| parent.sync_all());
        }
    }
    Ok(())
}

fn prepare(path: &Path, parent: &Path, content: &str) -> io::Result<Pending> {
    // A link is written through, not replaced.
    let path = match fs::canonicalize(path) {
        Ok(path) => path,
        Err(_) => path.to_owned(),
    };
    let standing = fs::metadata(&path).ok();
    let mode = standing.as_ref().map_or(MODE_OF_NEW_FILES, |metadata| {
        metadata.permissions().mode() & 0o7777
    });
    let parent = path.parent().unwrap_or(parent);
    let mut file = Builder::new()
        .prefix(".weir-")
        .suffix(".new")
        .tempfile_in(parent)?;
    file.write_all(content.as_bytes())?;
    file.as_file()
        .set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    let before = match standing {
        Some(metadata) if metadata.is_file() => Some(second_name(&path, parent)?),
        _ => None,
    };
    Ok(Pending {
        path,
        content: file,
        before,
    })
}

/// A second name for the file that stands at `path`, removed when dropped.
fn second_name(path: &Path, parent: &Path) -> io::Result<tempfile::TempPath> {
    let named = Builder::new()
        .prefix(".weir-")
        .suffix(".old")
        .make_in(parent, |name| fs::hard_link(path, name));
    match named {
        Ok(named) => Ok(named.into_temp_path()),
        // Some file systems have no second names.
        Err(_) => {
            let copy = Builder::new()
                .prefix(".weir-")
                .suffix(".old")
                .tempfile_in(parent)?;
            fs::copy(path, copy.path())?;
            Ok(copy.into_temp_path())
        }
    }
}

/// Changes names back; the error says which files could not be.
fn undo(done: Vec<(PathBuf, Option<tempfile::TempPath>)>) -> Result<(), String> {
    let mut lost = Vec::new();
    for (path, before) in done.into_iter().rev() {
        let undone = match before {
            Some(before) => before.persist(&path).map_err(|failure| failure.error),
            None => fs::remove_file(&path),
        };
        if let Err(error) = undone {
            lost.push(format!(
                "{} is the new one and could not be put back ({error})",
                path.display()
            ));
        }
    }
    if lost.is_empty() {
        Ok(())
    } else {
        Err(lost.join(", "))
    }
}
