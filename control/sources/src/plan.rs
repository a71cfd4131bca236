//! What writing documents into a policy directory comes to, before it is done.
//!
//! A document that stands in the directory already is written where it stands, if the change has all
//! documents of that file; otherwise the change is refused, since the rest of the file is somebody
//! else's. A new document gets a file of its own below `applied/`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use weir_model::{
    Document, Kind, Located, Metadata, Mode, ModeDocument, ModeSpec, NameError, Problem, Reference,
    Resource, Selector, parse_documents, to_yaml_stream,
};

use crate::error::WriteError;
use crate::scan::{self, shown};
use crate::write;

/// A file that somebody wants to apply; its name is only for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFile {
    /// As the sender calls it.
    pub name: String,
    /// YAML.
    pub content: String,
}

/// A change of a policy directory that can be carried out.
#[derive(Clone, Debug)]
pub struct Plan {
    /// All documents of the directory as they would be, each with its file.
    documents: Vec<Located<Document>>,
    /// What the changed files will hold.
    files: BTreeMap<PathBuf, String>,
    /// "allowlist shop/photo-db", of the documents that change.
    changed: Vec<String>,
    directory: PathBuf,
}

type Key = (Kind, String, String);

impl Plan {
    /// Plans to write the documents of these files.
    pub fn apply(directory: &Path, files: &[PolicyFile]) -> Result<Self, WriteError> {
        let mut documents = Vec::new();
        let mut problems = Vec::new();
        for file in files {
            let (read, mistakes) = parse_documents(&file.name, &file.content);
            documents.extend(read);
            problems.extend(mistakes);
        }
        let mut places: BTreeMap<Key, String> = BTreeMap::new();
        for located in &documents {
            if let Some(first) = places.insert(key(&located.value), located.place()) {
                let message = format!("{} is given twice, first in {first}", located.value.title());
                problems.push(located.problem("metadata.name", message, "keep one of the two"));
            }
        }
        if documents.is_empty() && problems.is_empty() {
            let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
            let (names, message) = (names.join(", "), "there is no document in it");
            problems.push(Problem::of_file(
                &names,
                message,
                "name the files that have them",
            ));
        }
        if !problems.is_empty() {
            return Err(WriteError::Problems(problems));
        }
        Self::of(directory, documents)
    }

    /// Plans to give workloads a mode, each by a document that has its name. Another document may
    /// ask for a stricter mode, which then wins: look at what the plan's documents compile to.
    pub fn mode(directory: &Path, workloads: &[Reference], mode: Mode) -> Result<Self, WriteError> {
        let (existing, _) = scan::load(directory)?;
        let mut documents = Vec::with_capacity(workloads.len());
        let mut problems = Vec::new();
        for workload in workloads {
            match mode_document(&existing, workload, mode) {
                Ok(document) => {
                    documents.push(Located::unplaced(Document::Mode(document), "mode"));
                }
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(WriteError::Problems(problems));
        }
        Self::of(directory, documents)
    }

    /// All documents of the directory as they would be, to be compiled before the plan is carried
    /// out. Those that change have the file names and lines that the sender knows.
    pub fn documents(&self) -> &[Located<Document>] {
        &self.documents
    }

    /// The documents that change: "allowlist shop/photo-db".
    pub fn changed(&self) -> &[String] {
        &self.changed
    }

    /// Writes all files, or none. Returns their paths.
    pub fn write(&self) -> Result<Vec<PathBuf>, WriteError> {
        write::write_all(&self.directory, &self.files)?;
        Ok(self.files.keys().cloned().collect())
    }

    fn of(directory: &Path, news: Vec<Located<Document>>) -> Result<Self, WriteError> {
        let scan = scan::read(&scan::list(directory)?);
        let standing: BTreeMap<Key, &str> = scan
            .documents
            .iter()
            .map(|located| (key(&located.value), located.file.as_str()))
            .collect();
        let mut targets: BTreeMap<PathBuf, Vec<&Located<Document>>> = BTreeMap::new();
        for new in &news {
            let target = match standing.get(&key(&new.value)) {
                Some(file) => PathBuf::from(file),
                None => own_file(directory, &new.value, |path| {
                    let file = shown(path);
                    targets.contains_key(path)
                        || scan.documents.iter().any(|located| located.file == file)
                }),
            };
            targets.entry(target).or_default().push(new);
        }
        let mut problems = refuse_parts(&scan.documents, &targets);
        // A file with mistakes keeps the whole directory from being used, unless it is replaced.
        let replaced: BTreeSet<String> = targets.keys().map(|path| shown(path)).collect();
        problems.extend(
            scan.problems
                .into_iter()
                .filter(|problem| !replaced.contains(&problem.file)),
        );
        if !problems.is_empty() {
            return Err(WriteError::Problems(problems));
        }
        let changed = changed(&scan.documents, &news);
        let mut documents: Vec<Located<Document>> = scan
            .documents
            .into_iter()
            .filter(|located| !replaced.contains(&located.file))
            .collect();
        let mut files = BTreeMap::new();
        for (path, news) in targets {
            let text = to_yaml_stream(news.iter().map(|new| &new.value));
            let (_, mistakes) = parse_documents(&shown(&path), &text);
            // What was built in code may not be what can be read.
            if !mistakes.is_empty() {
                return Err(WriteError::Problems(mistakes));
            }
            files.insert(path, text);
        }
        documents.extend(news);
        documents.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        Ok(Self {
            documents,
            files,
            changed,
            directory: directory.to_owned(),
        })
    }
}

/// Documents that would be lost if a file were replaced by those of its documents that are given.
fn refuse_parts(
    standing: &[Located<Document>],
    targets: &BTreeMap<PathBuf, Vec<&Located<Document>>>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, news) in targets {
        let file = shown(path);
        let given: BTreeSet<Key> = news.iter().map(|new| key(&new.value)).collect();
        let Some(left) = standing
            .iter()
            .find(|old| old.file == file && !given.contains(&key(&old.value)))
        else {
            continue;
        };
        for new in news {
            problems.push(new.problem(
                "metadata.name",
                format!(
                    "{} stands in {file}, beside {} and perhaps more",
                    new.value.title(),
                    left.value.title()
                ),
                "edit that file, or apply all of its documents together",
            ));
        }
    }
    problems
}

fn changed(standing: &[Located<Document>], news: &[Located<Document>]) -> Vec<String> {
    let before: BTreeMap<Key, &Document> = standing
        .iter()
        .map(|located| (key(&located.value), &located.value))
        .collect();
    let differs = |new: &&Located<Document>| {
        before
            .get(&key(&new.value))
            .is_none_or(|old| **old != new.value)
    };
    news.iter()
        .filter(differs)
        .map(|new| new.value.title())
        .collect()
}

/// A file that is free. Names are DNS names, so these are plain file names; two pairs of names can
/// still look the same with a hyphen between them, and then an underscore stands there, which no
/// name has.
fn own_file(directory: &Path, document: &Document, taken: impl Fn(&Path) -> bool) -> PathBuf {
    let (kind, metadata) = (document.kind().lower(), document.metadata());
    let applied = directory.join("applied");
    if metadata.namespace.is_empty() {
        return applied.join(format!("{kind}_{}.yaml", metadata.name));
    }
    let usual = applied.join(format!(
        "{kind}-{}-{}.yaml",
        metadata.namespace, metadata.name
    ));
    if !taken(&usual) {
        return usual;
    }
    applied.join(format!(
        "{kind}-{}_{}.yaml",
        metadata.namespace, metadata.name
    ))
}

fn key(document: &Document) -> Key {
    let metadata = document.metadata();
    (
        document.kind(),
        metadata.namespace.clone(),
        metadata.name.clone(),
    )
}

/// The document that has the workload's name, or a new one, with this mode.
fn mode_document(
    existing: &[Located<Document>],
    workload: &Reference,
    mode: Mode,
) -> Result<ModeDocument, Problem> {
    let namespace = workload.namespace().unwrap_or("default");
    let new = || -> Result<ModeDocument, NameError> {
        Ok(Resource {
            metadata: Metadata::new(namespace, workload.name())?,
            spec: ModeSpec {
                target: Selector::Name(Reference::new(namespace, workload.name())?),
                mode: Some(mode),
                quarantine: false,
            },
        })
    };
    let new = new().map_err(|error| Problem::of_file("", error.to_string(), ""))?;
    let full_name = new.metadata.full_name();
    let standing = existing.iter().find_map(|located| match &located.value {
        Document::Mode(stands) if stands.metadata.full_name() == full_name => {
            Some((located, stands))
        }
        _ => None,
    });
    let Some((located, stands)) = standing else {
        return Ok(new);
    };
    let target = match &stands.spec.target {
        Selector::Name(name) => name.resolve(namespace),
        Selector::Labels { .. } => String::new(),
    };
    if target != full_name {
        let title = located.value.title();
        return Err(located.problem(
            "spec.target",
            format!("{title} is for other workloads than {full_name}"),
            "rename it, or set the mode there",
        ));
    }
    let mut document = stands.clone();
    document.spec.mode = Some(mode);
    Ok(document)
}
