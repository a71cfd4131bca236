//! From the text of a file to documents, and to every mistake in it with its place.

use serde::de::DeserializeOwned;

use crate::document::{API_VERSION, Document, Kind, Resource};
use crate::name::Shortened;
use crate::sensor;
use crate::yaml::{self, Node, ReadError, Value};
use crate::{Allowlist, Located, ModeDocument, Peer, Problem, did_you_mean};

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
            check(&located, &mut problems);
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
        const FIELDS: [&str; 4] = ["apiVersion", "kind", "metadata", "spec"];
        let before = self.problems.len();
        for entry in entries
            .iter()
            .filter(|entry| !FIELDS.contains(&entry.key.as_str()))
        {
            let next_step = match did_you_mean(&entry.key, FIELDS) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("known here: {}", FIELDS.join(", ")),
            };
            let message = format!("unknown field {:?}", Shortened(&entry.key));
            let field: String = entry.key.chars().take(80).collect();
            self.problem((entry.line, entry.column), &field, message, next_step);
        }
        self.api_version(tree);
        let kind = self.kind(tree);
        if self.problems.len() > before {
            return None;
        }
        match kind? {
            Kind::Workload => self.resource(tree).map(Document::Workload),
            Kind::Allowlist => self.resource(tree).map(Document::Allowlist),
            Kind::Mode => self.resource(tree).map(Document::Mode),
            Kind::Settings => self.resource(tree).map(Document::Settings),
            Kind::Service => self.resource(tree).map(Document::Service),
            Kind::Sensor => self.resource(tree).map(Document::Sensor),
        }
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

    /// Metadata and spec; mistakes in both are told.
    fn resource<S: DeserializeOwned>(&mut self, tree: &Node) -> Option<Resource<S>> {
        let metadata = self.part(tree, "metadata");
        let spec = self.part(tree, "spec");
        Some(Resource {
            metadata: metadata?,
            spec: spec?,
        })
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

/// What no single field can say of itself.
fn check(located: &Located<Document>, problems: &mut Vec<Problem>) {
    match &located.value {
        Document::Mode(document) => check_mode(located, document, problems),
        Document::Allowlist(document) => check_allowlist(located, document, problems),
        Document::Sensor(document) => sensor::check(located, document, problems),
        Document::Workload(_) | Document::Settings(_) | Document::Service(_) => {}
    }
}

fn check_mode(located: &Located<Document>, document: &ModeDocument, problems: &mut Vec<Problem>) {
    if document.spec.mode.is_none() && !document.spec.quarantine {
        problems.push(located.problem(
            "spec.mode",
            "the document sets nothing",
            "write mode: discover, monitor or protect, or quarantine: true",
        ));
    }
}

fn check_allowlist(located: &Located<Document>, document: &Allowlist, problems: &mut Vec<Problem>) {
    for (index, rule) in document.spec.ingress.iter().enumerate() {
        for (peer, _) in rule
            .peers
            .iter()
            .enumerate()
            .filter(|(_, peer)| matches!(peer, Peer::Domain(_)))
        {
            problems.push(located.problem(
                &format!("spec.ingress[{index}].from[{peer}].domain"),
                "a domain cannot be told from the addresses of those who connect",
                "use domain in egress, and cidr or workload here",
            ));
        }
    }
    let directions = [
        ("ingress", &document.spec.ingress),
        ("egress", &document.spec.egress),
    ];
    for (direction, rules) in directions {
        for (index, rule) in rules.iter().enumerate() {
            let portless = !rule.protocols.is_empty()
                && !rule.protocols.iter().any(|protocol| protocol.has_ports());
            if portless && !rule.ports.is_empty() {
                problems.push(located.problem(
                    &format!("spec.{direction}[{index}].ports"),
                    "none of the rule's protocols has ports",
                    "leave ports out, or name tcp, udp or sctp",
                ));
            }
        }
    }
}
