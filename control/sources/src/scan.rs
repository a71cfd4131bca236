//! Reading a directory of YAML files, once.
//!
//! Trusts the names of files only as names. Bounds: [`FILES_MAX`], [`TOTAL_BYTES_MAX`],
//! [`DEPTH_MAX`], and [`weir_model::FILE_BYTES_MAX`] for each file. Only regular files are opened: a
//! pipe that somebody put there would be waited for.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use weir_model::{Document, FILE_BYTES_MAX, Located, Problem, parse_documents};

use crate::error::{SourceError, next_step};

/// A directory with more policy files than this is refused.
pub const FILES_MAX: usize = 10_000;

/// A directory whose policy files hold more than this together is refused.
pub const TOTAL_BYTES_MAX: u64 = 256 << 20;

/// Directories nested deeper than this are refused.
pub const DEPTH_MAX: usize = 16;

/// One reading of a directory.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) documents: Vec<Located<Document>>,
    pub(crate) problems: Vec<Problem>,
    /// Of names and contents: equal readings have equal ones.
    pub(crate) contents: u64,
}

/// The files that are there, and what tells that they changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) files: Vec<(PathBuf, Stamp)>,
    pub(crate) problems: Vec<Problem>,
}

/// Size, device, inode and times of last change, in whole and fractions of seconds.
pub(crate) type Stamp = (u64, u64, u64, i64, i64, i64, i64);

/// Reads all documents of a directory, or of one file. The problems are those of files and of what
/// is written in them; where there are any, the documents are only a part of what was meant.
pub fn load(path: &Path) -> Result<(Vec<Located<Document>>, Vec<Problem>), SourceError> {
    let scan = if path.is_file() {
        read(&Listing {
            files: vec![(path.to_owned(), Stamp::default())],
            problems: Vec::new(),
        })
    } else {
        read(&list(path)?)
    };
    Ok((scan.documents, scan.problems))
}

/// Lists the policy files below a directory, sorted by path.
pub(crate) fn list(directory: &Path) -> Result<Listing, SourceError> {
    let mut listing = Listing::default();
    let entries = fs::read_dir(directory).map_err(|error| SourceError::io(directory, &error))?;
    walk(entries, directory, 1, &mut listing);
    listing.files.sort();
    if listing.files.len() > FILES_MAX {
        let what = format!(
            "holds {} policy files, more than {FILES_MAX}",
            listing.files.len()
        );
        return Err(SourceError::new(
            directory,
            what,
            "put several documents into one file",
        ));
    }
    let total: u64 = listing.files.iter().map(|(_, stamp)| stamp.0).sum();
    if total > TOTAL_BYTES_MAX {
        let what = format!("holds {total} bytes of policy files, more than {TOTAL_BYTES_MAX}");
        return Err(SourceError::new(
            directory,
            what,
            "move what is no policy out of it",
        ));
    }
    Ok(listing)
}

fn walk(entries: fs::ReadDir, directory: &Path, depth: usize, listing: &mut Listing) {
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                listing.problems.push(unreadable(directory, &error));
                return;
            }
        };
        let path = entry.path();
        let name = entry.file_name();
        // What editors, version control and mounted volumes keep for themselves.
        if name.as_encoded_bytes().starts_with(b".") || name.as_encoded_bytes().starts_with(b"#") {
            continue;
        }
        // A link to a directory is not followed: it could lead back here.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if depth >= DEPTH_MAX {
                let message = format!("directories are nested deeper than {DEPTH_MAX}");
                listing.problems.push(Problem::of_file(
                    &shown(&path),
                    message,
                    "move the files up",
                ));
                continue;
            }
            match fs::read_dir(&path) {
                Ok(entries) => walk(entries, &path, depth + 1, listing),
                Err(error) => listing.problems.push(unreadable(&path, &error)),
            }
            continue;
        }
        if !path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml")
        {
            continue;
        }
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => listing.files.push((path, stamp(&metadata))),
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => {
                let message = "this is not a regular file, so it is not read";
                listing.problems.push(Problem::of_file(
                    &shown(&path),
                    message,
                    "move it out of the policy directory",
                ));
            }
            // A file that vanished between listing and looking is a file that is not there.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !path.is_symlink() => {}
            Err(error) => listing.problems.push(unreadable(&path, &error)),
        }
    }
}

/// Reads and parses what was listed.
pub(crate) fn read(listing: &Listing) -> Scan {
    let mut scan = Scan {
        problems: listing.problems.clone(),
        ..Scan::default()
    };
    let mut hasher = DefaultHasher::new();
    for (path, _) in &listing.files {
        path.hash(&mut hasher);
        match read_text(path) {
            Ok(text) => {
                text.hash(&mut hasher);
                let (documents, problems) = parse_documents(&shown(path), &text);
                scan.documents.extend(documents);
                scan.problems.extend(problems);
            }
            Err(problem) => scan.problems.push(problem),
        }
    }
    scan.problems.hash(&mut hasher);
    scan.contents = hasher.finish();
    scan
}

fn read_text(path: &Path) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    let limit = FILE_BYTES_MAX as u64 + 1;
    let file = fs::File::open(path).map_err(|error| unreadable(path, &error))?;
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(path, &error))?;
    if bytes.len() > FILE_BYTES_MAX {
        let message = format!("the file is larger than the {FILE_BYTES_MAX} bytes that are read");
        return Err(Problem::of_file(
            &shown(path),
            message,
            "split it into several files",
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error
            .as_bytes()
            .get(..error.utf8_error().valid_up_to())
            .unwrap_or_default();
        let lines = good.iter().filter(|byte| **byte == b'\n').count();
        let column = good.iter().rev().take_while(|byte| **byte != b'\n').count();
        Problem {
            line: u32::try_from(lines).unwrap_or(u32::MAX).saturating_add(1),
            column: u32::try_from(column).unwrap_or(u32::MAX).saturating_add(1),
            ..Problem::of_file(
                &shown(path),
                "the file is not UTF-8 text",
                "save it as UTF-8",
            )
        }
    })
}

fn stamp(metadata: &fs::Metadata) -> Stamp {
    (
        metadata.size(),
        metadata.dev(),
        metadata.ino(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    )
}

fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    Problem::of_file(
        &shown(path),
        format!("cannot be read: {error}"),
        next_step(error),
    )
}

/// A path as messages and [`Located::file`] show it.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}
