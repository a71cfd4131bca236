//! From documents to YAML that reads like written by hand.
//!
//! The text is written here and not by libyaml's emitter, which breaks lines at characters (U+0085,
//! U+2028) that YAML 1.2 does not take for line breaks: such text is read back changed.

use serde::{Serialize, Serializer};
use serde_yaml_ng::Value;

use crate::document::{API_VERSION, Document, Kind, Metadata, Resource};

/// What is at most this long and holds no more than [`LEVELS_ON_ONE_LINE_MAX`] is kept on its line.
const LINE_CHARS_MAX: usize = 76;

const LEVELS_ON_ONE_LINE_MAX: usize = 2;

/// Words that some reader of YAML takes for something other than text.
const RESERVED: [&str; 11] = [
    "null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf",
];

/// Writes a document. The order is that of the types, so equal documents have equal text, and
/// [`crate::parse_documents`] reads the same document back.
pub fn to_yaml(document: &Document) -> String {
    let value = serde_yaml_ng::to_value(document)
        .expect("text, numbers, lists and maps with text keys can always be written");
    let mut text = String::new();
    block(&value, 0, &mut text);
    text
}

/// Writes several documents into one text, separated by `---`.
pub fn to_yaml_stream<'a>(documents: impl IntoIterator<Item = &'a Document>) -> String {
    documents
        .into_iter()
        .map(to_yaml)
        .collect::<Vec<_>>()
        .join("---\n")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a, S> {
    api_version: &'static str,
    kind: &'static str,
    metadata: &'a Metadata,
    #[serde(skip_serializing_if = "Option::is_none")]
    spec: Option<&'a S>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a S>,
}

/// With `apiVersion` and `kind`, as it is read.
impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Document::Workload(resource) => write(self, resource, serializer),
            Document::Service(resource) => write(self, resource, serializer),
            Document::Namespace(resource) => write(self, resource, serializer),
            Document::Allowlist(resource) => write(self, resource, serializer),
            Document::ClusterAllowlist(resource) => write(self, resource, serializer),
            Document::Mode(resource) => write(self, resource, serializer),
            Document::Settings(resource) => write(self, resource, serializer),
            Document::Sensor(resource) => write(self, resource, serializer),
            Document::ThreatPolicy(resource) => write(self, resource, serializer),
            Document::ResponseRule(resource) => write(self, resource, serializer),
            Document::Guardrail(resource) => write(self, resource, serializer),
            Document::LearnedProfile(resource) => write(self, resource, serializer),
        }
    }
}

fn write<T: Serialize, S: Serializer>(
    document: &Document,
    resource: &Resource<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let kind = document.kind();
    let body = kind.body();
    let written = Written {
        api_version: API_VERSION,
        kind: kind.name(),
        metadata: &resource.metadata,
        spec: (body == "spec" && kind != Kind::Namespace).then_some(&resource.spec),
        status: (body == "status").then_some(&resource.spec),
    };
    written.serialize(serializer)
}

/// Writes fields or entries, each on lines of its own; the text stands at the indentation already.
fn block(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Mapping(fields) => {
            for (index, (key, value)) in fields.iter().enumerate() {
                next_line(index, indent, text);
                text.push_str(&inline(key));
                text.push(':');
                if fits(value, text) {
                    text.push(' ');
                    text.push_str(&inline(value));
                    text.push('\n');
                    continue;
                }
                text.push('\n');
                spaces(indent + 2, text);
                block(value, indent + 2, text);
            }
        }
        Value::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                next_line(index, indent, text);
                text.push_str("- ");
                if fits(item, text) {
                    text.push_str(&inline(item));
                    text.push('\n');
                    continue;
                }
                block(item, indent + 2, text);
            }
        }
        scalar => {
            text.push_str(&inline(scalar));
            text.push('\n');
        }
    }
}

fn next_line(index: usize, indent: usize, text: &mut String) {
    if index > 0 {
        spaces(indent, text);
    }
}

fn spaces(count: usize, text: &mut String) {
    text.extend(std::iter::repeat_n(' ', count));
}

fn fits(value: &Value, text: &str) -> bool {
    let column = text.len() - text.rfind('\n').map_or(0, |end| end + 1);
    levels(value) == 0
        || (levels(value) <= LEVELS_ON_ONE_LINE_MAX
            && column + inline(value).len() <= LINE_CHARS_MAX)
        || is_empty(value)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Mapping(fields) => fields.is_empty(),
        Value::Sequence(items) => items.is_empty(),
        _ => false,
    }
}

fn levels(value: &Value) -> usize {
    match value {
        Value::Mapping(fields) => 1 + fields.values().map(levels).max().unwrap_or(0),
        Value::Sequence(items) => 1 + items.iter().map(levels).max().unwrap_or(0),
        _ => 0,
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::Mapping(fields) => {
            let fields = fields
                .iter()
                .map(|(key, value)| format!("{}: {}", inline(key), inline(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        Value::Sequence(items) => format!(
            "[{}]",
            items.iter().map(inline).collect::<Vec<_>>().join(", ")
        ),
        Value::String(string) if is_plain(string) => string.clone(),
        Value::String(string) => quoted(string),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Tagged(_) => "null".to_owned(),
    }
}

/// Whether every reader takes the text for text without quotes.
fn is_plain(text: &str) -> bool {
    let address = |byte: u8| byte.is_ascii_digit() || byte == b'.' || byte == b'/';
    if text.bytes().all(address) && text.bytes().filter(|byte| *byte == b'.').count() == 3 {
        return true;
    }
    let first = text
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'/');
    let others = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
    first && others && !RESERVED.iter().any(|word| word.eq_ignore_ascii_case(text))
}

/// In double quotes, all on one line.
fn quoted(string: &str) -> String {
    let mut text = String::with_capacity(string.len() + 2);
    text.push('"');
    for character in string.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            '\0'..='\u{1f}' | '\u{7f}'..='\u{a0}' => {
                text.push_str(&format!("\\x{:02x}", u32::from(character)))
            }
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            other => text.push(other),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_documents;

    #[test]
    fn reads_like_written_by_hand() {
        let text = "\
apiVersion: weir.dev/v1alpha1
kind: Allowlist
metadata: {name: photo-db, namespace: shop}
spec:
  target: {workload: photo-db}
  ingress:
    - from: [{workload: ai-model}, {cidr: 10.0.0.0/8}, {cidr: \"fd91::/16\"}]
      applications: [mysql]
      ports: [3306, \"8000-8100\"]
      when:
        - {field: mysql.statement, in: [SELECT, INSERT]}
    - from: [{any: true}]
      protocols: [icmp, 253]
      action: deny
";
        let (documents, problems) = parse_documents("x.yaml", text);
        assert_eq!(problems, []);
        assert_eq!(to_yaml(&documents[0].value), text);
    }
}
