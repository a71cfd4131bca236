//! From the text of a file to documents, and to every mistake in it with its place.

use serde::de::DeserializeOwned;

use crate::document::{API_VERSION, Document, Kind, Metadata, Resource};
use crate::name::Shortened;
use crate::yaml::{self, Node, ReadError, Value};
use crate::{Located, NamespaceSpec, Problem, check, did_you_mean};

/// More mistakes than this in one file are not listed.
const PROBLEMS_MAX: usize = 100;

/// Reads the documents of a file (YAML, several separated by `---`; JSON is YAML too). Documents
/// without mistakes are returned even where others have some: whether to use them then is the
/// caller's decision, and a source of policy does not.
pub fn parse_documents(file_name: &str, text: &str) -> (Vec<Located<Document>>, Vec<Problem>) {
    let (trees, mistake) = yaml::parse(file_name, text);
    let mut documents = Vec::new();
    let mut problems = Vec::new();
    for tree in trees {
        let mut reader = Reader {
            file: file_name,
            problems: &mut problems,
        };
        if let Some(document) = reader.document(&tree) {
            let located = Located::new(document, file_name, tree);
            let before = problems.len();
            check::document(&located, &mut problems);
            if problems.len() == before {
                documents.push(located);
            }
        }
        if problems.len() >= PROBLEMS_MAX {
            problems.truncate(PROBLEMS_MAX);
            problems.push(Problem::of_file(
                file_name,
                "there are more mistakes",
                "correct these first",
            ));
            return (documents, problems);
        }
    }
    problems.extend(mistake);
    (documents, problems)
}

/// Reads an object as an API server sends it: what stands in its metadata beside name, namespace,
/// labels and annotations is passed over, and so is a status that is not the document's body. Who
/// may write into one namespace of a cluster has no say in another, so the target of an object that
/// belongs to a namespace has to lie there; in files, which one operator writes, it need not.
/// `origin` stands for the file in messages.
pub fn from_object(
    object: &serde_json::Value,
    origin: &str,
) -> Result<Located<Document>, Vec<Problem>> {
    let tree = yaml::from_json(object)
        .map_err(|(message, next_step)| vec![Problem::of_file(origin, message, next_step)])?;
    let mut problems = Vec::new();
    let mut reader = Reader {
        file: origin,
        problems: &mut problems,
    };
    let located = reader
        .document(&tree)
        .map(|document| Located::new(document, origin, tree));
    if let Some(located) = &located {
        check::document(located, &mut problems);
        check::own_namespace(located, &mut problems);
    }
    match located.filter(|_| problems.is_empty()) {
        Some(located) => Ok(located),
        None => Err(problems),
    }
}

struct Reader<'a> {
    file: &'a str,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn problem(&mut self, place: (u32, u32), field: &str, message: String, next_step: String) {
        self.problems.push(Problem {
            file: self.file.to_owned(),
            line: place.0,
            column: place.1,
            field: field.to_owned(),
            message,
            next_step,
        });
    }

    /// One document; None after at least one problem was noted.
    fn document(&mut self, tree: &Node) -> Option<Document> {
        let place = (tree.line, tree.column);
        let Value::Mapping(entries) = &tree.value else {
            let next_step = "a document begins with apiVersion, kind, metadata and spec".to_owned();
            self.problem(place, "", "this is no document".to_owned(), next_step);
            return None;
        };
        let before = self.problems.len();
        self.api_version(tree);
        let kind = self.kind(tree);
        let fields = [
            "apiVersion",
            "kind",
            "metadata",
            kind.map_or("spec", Kind::body),
        ];
        for entry in entries
            .iter()
            .filter(|entry| !fields.contains(&entry.key.as_str()))
        {
            let next_step = match did_you_mean(&entry.key, fields) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("known here: {}", fields.join(", ")),
            };
            let message = format!("unknown field {:?}", Shortened(&entry.key));
            let field: String = entry.key.chars().take(80).collect();
            self.problem((entry.line, entry.column), &field, message, next_step);
        }
        if self.problems.len() > before {
            return None;
        }
        Some(match kind? {
            Kind::Workload => Document::Workload(self.resource(tree, Kind::Workload)?),
            Kind::Service => Document::Service(self.resource(tree, Kind::Service)?),
            Kind::Namespace => Document::Namespace(self.namespace(tree)?),
            Kind::Allowlist => Document::Allowlist(self.resource(tree, Kind::Allowlist)?),
            Kind::ClusterAllowlist => {
                Document::ClusterAllowlist(self.resource(tree, Kind::ClusterAllowlist)?)
            }
            Kind::Mode => Document::Mode(self.resource(tree, Kind::Mode)?),
            Kind::Settings => Document::Settings(self.resource(tree, Kind::Settings)?),
            Kind::Sensor => Document::Sensor(self.resource(tree, Kind::Sensor)?),
            Kind::ThreatPolicy => Document::ThreatPolicy(self.resource(tree, Kind::ThreatPolicy)?),
            Kind::ResponseRule => Document::ResponseRule(self.resource(tree, Kind::ResponseRule)?),
            Kind::Guardrail => Document::Guardrail(self.resource(tree, Kind::Guardrail)?),
            Kind::LearnedProfile => {
                Document::LearnedProfile(self.resource(tree, Kind::LearnedProfile)?)
            }
        })
    }

    /// A word of the envelope.
    fn word<'n>(
        &mut self,
        tree: &'n Node,
        field: &str,
        next_step: &str,
    ) -> Option<(&'n str, (u32, u32))> {
        let Some(entry) = tree.entry(field) else {
            self.problem(
                (tree.line, tree.column),
                field,
                "is missing".to_owned(),
                next_step.to_owned(),
            );
            return None;
        };
        match &entry.node.value {
            Value::Scalar { text, .. } => Some((text, (entry.line, entry.column))),
            _ => {
                self.problem(
                    (entry.line, entry.column),
                    field,
                    "expected a word".to_owned(),
                    next_step.to_owned(),
                );
                None
            }
        }
    }

    fn api_version(&mut self, tree: &Node) {
        let next_step = format!("write apiVersion: {API_VERSION}");
        let Some((version, place)) = self.word(tree, "apiVersion", &next_step) else {
            return;
        };
        if version != API_VERSION {
            let message = format!(
                "this version of Weir does not read {:?}",
                Shortened(version)
            );
            self.problem(place, "apiVersion", message, next_step);
        }
    }

    fn kind(&mut self, tree: &Node) -> Option<Kind> {
        let kinds = Kind::ALL.map(Kind::name);
        let known = format!("known are {}", kinds.join(", "));
        let (word, place) = self.word(tree, "kind", &known)?;
        let found = Kind::ALL.into_iter().find(|kind| kind.name() == word);
        if found.is_none() {
            let next_step = match did_you_mean(word, kinds) {
                Some(near) => format!("did you mean {near}?"),
                None => known,
            };
            self.problem(
                place,
                "kind",
                format!("unknown kind {:?}", Shortened(word)),
                next_step,
            );
        }
        found
    }

    /// Metadata and body; mistakes in both are told.
    fn resource<S: DeserializeOwned>(&mut self, tree: &Node, kind: Kind) -> Option<Resource<S>> {
        let metadata = self.metadata(tree, kind);
        let spec = self.part(tree, kind.body());
        Some(Resource {
            metadata: metadata?,
            spec: spec?,
        })
    }

    /// A namespace has nothing to say but its labels.
    fn namespace(&mut self, tree: &Node) -> Option<Resource<NamespaceSpec>> {
        let metadata = self.metadata(tree, Kind::Namespace);
        let spec = match tree.entry("spec") {
            Some(_) => self.part(tree, "spec"),
            None => Some(NamespaceSpec {}),
        };
        Some(Resource {
            metadata: metadata?,
            spec: spec?,
        })
    }

    fn metadata(&mut self, tree: &Node, kind: Kind) -> Option<Metadata> {
        let mut metadata: Metadata = self.part(tree, "metadata")?;
        if kind.is_namespaced() {
            return Some(metadata);
        }
        let written = tree
            .entry("metadata")
            .and_then(|entry| entry.node.entry("namespace"));
        // Settings were read with a namespace before there were kinds without one.
        if let Some(entry) = written.filter(|_| kind != Kind::Settings) {
            self.problem(
                (entry.line, entry.column),
                "metadata.namespace",
                format!("a {kind} belongs to no namespace"),
                "leave it out".to_owned(),
            );
            return None;
        }
        metadata.namespace.clear();
        // The namespace's own name is what selects it.
        if kind == Kind::Namespace
            && let Err(error) = crate::check_namespace(&metadata.name)
        {
            let place = tree.position("metadata.name");
            self.problem(place, "metadata.name", error.to_string(), String::new());
            return None;
        }
        Some(metadata)
    }

    fn part<T: DeserializeOwned>(&mut self, tree: &Node, field: &str) -> Option<T> {
        let Some(entry) = tree.entry(field) else {
            self.problem(
                (tree.line, tree.column),
                field,
                "is missing".to_owned(),
                "write it".to_owned(),
            );
            return None;
        };
        match yaml::read(&entry.node) {
            Ok(part) => Some(part),
            Err(error) => {
                let path = error.path(field);
                let ReadError {
                    message,
                    next_step,
                    place,
                    ..
                } = error;
                self.problem(
                    place.unwrap_or((entry.line, entry.column)),
                    &path,
                    message,
                    next_step,
                );
                None
            }
        }
    }
}
