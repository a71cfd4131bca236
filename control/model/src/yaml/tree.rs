//! A file as a tree of nodes, each with its line and column.
//!
//! Trusts: nothing. Bound: [`FILE_BYTES_MAX`], [`NODES_MAX`] with aliases expanded, [`DEPTH_MAX`].

use std::collections::{BTreeMap, HashMap};

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::{DEPTH_MAX, FILE_BYTES_MAX, NODES_MAX};
use crate::Problem;

/// A value and where it stands, both counted from 1.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) value: Value,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Text; `plain` when it was written without quotes and may stand for a number or nothing.
    Scalar {
        text: String,
        plain: bool,
    },
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// A key, where it stands, and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) node: Node,
}

/// Reads a file into one tree per document. After the first mistake of YAML itself nothing that
/// follows can be trusted, so reading stops there.
pub(crate) fn parse(file: &str, text: &str) -> (Vec<Node>, Option<Problem>) {
    if text.len() > FILE_BYTES_MAX {
        let message = format!(
            "the file has {} bytes, more than the {FILE_BYTES_MAX} that are read",
            text.len()
        );
        return (
            Vec::new(),
            Some(Problem::of_file(
                file,
                message,
                "split it into several files",
            )),
        );
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        nodes: 0,
    };
    let mut documents = Vec::new();
    loop {
        match builder.document() {
            Ok(Some(node)) if node.is_null() => {}
            Ok(Some(node)) => documents.push(node),
            Ok(None) => return (documents, None),
            Err(mistake) => return (documents, Some(mistake.into_problem(file))),
        }
    }
}

impl Node {
    /// Whether nothing was written: an empty value, `~` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        match &self.value {
            Value::Scalar { text, plain: true } => {
                matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        }
    }

    /// The entry of a mapping.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// Where a path ("spec.ingress[0].from[1]") stands, as far as it was written.
    pub(crate) fn position(&self, path: &str) -> (u32, u32) {
        let mut place = (self.line, self.column);
        let mut node = self;
        for segment in path.split(['.', '[']).filter(|segment| !segment.is_empty()) {
            let found = match (&node.value, segment.strip_suffix(']')) {
                (Value::Sequence(items), Some(index)) => index
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| items.get(index))
                    .map(|item| ((item.line, item.column), item)),
                (Value::Mapping(_), None) => node
                    .entry(segment)
                    .map(|entry| ((entry.line, entry.column), &entry.node)),
                _ => None,
            };
            let Some((at, next)) = found else { break };
            place = at;
            node = next;
        }
        place
    }

    fn size(&self) -> usize {
        1 + match &self.value {
            Value::Scalar { .. } => 0,
            Value::Sequence(items) => items.iter().map(Node::size).sum(),
            Value::Mapping(entries) => entries.iter().map(|entry| entry.node.size()).sum(),
        }
    }

    fn depth(&self) -> usize {
        1 + match &self.value {
            Value::Scalar { .. } => 0,
            Value::Sequence(items) => items.iter().map(Node::depth).max().unwrap_or(0),
            Value::Mapping(entries) => entries
                .iter()
                .map(|entry| entry.node.depth())
                .max()
                .unwrap_or(0),
        }
    }
}

struct Builder<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

struct Mistake {
    line: u32,
    column: u32,
    message: String,
    next_step: &'static str,
}

impl Mistake {
    fn new(span: &Span, message: impl Into<String>, next_step: &'static str) -> Self {
        let (line, column) = place(span);
        Self {
            line,
            column,
            message: message.into(),
            next_step,
        }
    }

    fn into_problem(self, file: &str) -> Problem {
        Problem {
            file: file.to_owned(),
            line: self.line,
            column: self.column,
            field: String::new(),
            message: self.message,
            next_step: self.next_step.to_owned(),
        }
    }
}

fn place(span: &Span) -> (u32, u32) {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    (
        count(span.start.line()).max(1),
        count(span.start.col()).saturating_add(1),
    )
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Mistake> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok(event)) => Ok(Some(event)),
            Some(Err(error)) => {
                let mark = *error.marker();
                let message = format!("this is not YAML: {}", error.info());
                Err(Mistake::new(
                    &Span::empty(mark),
                    message,
                    "correct the indentation, quotes or brackets here",
                ))
            }
        }
    }

    fn document(&mut self) -> Result<Option<Node>, Mistake> {
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamEnd => return Ok(None),
                Event::Nothing
                | Event::StreamStart
                | Event::DocumentStart(_)
                | Event::DocumentEnd => {
                    self.anchors.clear();
                }
                other => return self.node(other, &span, 1).map(Some),
            }
        }
        Ok(None)
    }

    fn count(&mut self, nodes: usize, span: &Span) -> Result<(), Mistake> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            let message = format!("the file holds more than {NODES_MAX} values, aliases expanded");
            return Err(Mistake::new(
                span,
                message,
                "split it, and write repeated parts out instead of using aliases",
            ));
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Result<Node, Mistake> {
        let (line, column) = place(span);
        if depth > DEPTH_MAX {
            let message = format!("values are nested deeper than {DEPTH_MAX} levels");
            return Err(Mistake::new(
                span,
                message,
                "no document of Weir is; look for a stray bracket",
            ));
        }
        self.count(1, span)?;
        let (value, anchor) = match event {
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => {
                return Err(Mistake::new(
                    span,
                    "a YAML tag (!…) is not used here",
                    "remove it",
                ));
            }
            Event::Scalar(text, style, anchor, None) => {
                let plain = style == ScalarStyle::Plain;
                (
                    Value::Scalar {
                        text: text.into_owned(),
                        plain,
                    },
                    anchor,
                )
            }
            Event::SequenceStart(anchor, None) => (self.sequence(span, depth)?, anchor),
            Event::MappingStart(anchor, None) => (self.mapping(span, depth)?, anchor),
            Event::Alias(anchor) => return self.alias(anchor, span, depth),
            _ => {
                return Err(Mistake::new(
                    span,
                    "this is not YAML: a value is missing",
                    "write one",
                ));
            }
        };
        let node = Node {
            line,
            column,
            value,
        };
        if anchor > 0 {
            self.count(node.size(), span)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    /// The anchored value again, as if written out here: the copy counts against the limits, so
    /// aliases of aliases cannot grow beyond them.
    fn alias(&mut self, anchor: usize, span: &Span, depth: usize) -> Result<Node, Mistake> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err(Mistake::new(
                span,
                "this alias names nothing written before it",
                "write the value out",
            ));
        };
        let size = anchored.size();
        if depth + anchored.depth() > DEPTH_MAX + 1 {
            let message = format!("values are nested deeper than {DEPTH_MAX} levels");
            return Err(Mistake::new(
                span,
                message,
                "write the value out instead of using an alias",
            ));
        }
        let mut node = anchored.clone();
        self.count(size, span)?;
        (node.line, node.column) = place(span);
        Ok(node)
    }

    fn sequence(&mut self, start: &Span, depth: usize) -> Result<Value, Mistake> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Some((Event::SequenceEnd, _)) => return Ok(Value::Sequence(items)),
                Some((event, span)) => items.push(self.node(event, &span, depth + 1)?),
                None => return Err(Mistake::new(start, "this list does not end", "close it")),
            }
        }
    }

    fn mapping(&mut self, start: &Span, depth: usize) -> Result<Value, Mistake> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut lines: BTreeMap<String, u32> = BTreeMap::new();
        loop {
            let (key, span) = match self.next()? {
                Some((Event::MappingEnd, _)) => return Ok(Value::Mapping(entries)),
                Some((Event::Scalar(text, _, _, None), span)) => (text.into_owned(), span),
                Some((_, span)) => {
                    return Err(Mistake::new(
                        &span,
                        "the name of a field must be plain text",
                        "write it out",
                    ));
                }
                None => {
                    return Err(Mistake::new(
                        start,
                        "these fields do not end",
                        "close the bracket",
                    ));
                }
            };
            let (line, column) = place(&span);
            if let Some(first) = lines.insert(key.clone(), line) {
                let message = format!(
                    "{:?} is given twice, first in line {first}",
                    crate::name::Shortened(&key)
                );
                return Err(Mistake::new(&span, message, "keep one of them"));
            }
            let Some((event, span)) = self.next()? else {
                return Err(Mistake::new(&span, "this field has no value", "write one"));
            };
            let node = self.node(event, &span, depth + 1)?;
            entries.push(Entry {
                key,
                line,
                column,
                node,
            });
        }
    }
}
