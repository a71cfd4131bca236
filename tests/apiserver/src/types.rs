//! Reads `types/*.txt`, where the types that every cluster has are written down.
//!
//! A type is a name at the start of a line; its fields follow, indented: `name: type`, `name*: type`
//! (written whenever given), `name!: type` (always written), with ` = default` where absent means
//! something. Types: a scalar, another type, `[T]` (replaced as one), `[T key,key]` (told apart by
//! keys), `[T :set]`, `{T}` (a map), `T!atomic` (merged as one). `...` keeps fields without a name.
//!
//! Trusts its files: they are part of the crate, and a test reads them all.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use crate::shape::{Field, Merge, Presence, Scalar, Shape};

const FILES: [&str; 4] = [
    include_str!("../types/meta.txt"),
    include_str!("../types/pods.txt"),
    include_str!("../types/workloads.txt"),
    include_str!("../types/cluster.txt"),
];

static TYPES: LazyLock<HashMap<String, Arc<Shape>>> = LazyLock::new(read);

/// The shape of a type of the API.
pub(crate) fn shape_of(name: &str) -> Arc<Shape> {
    TYPES
        .get(name)
        .map_or_else(|| Arc::new(Shape::Any), Arc::clone)
}

/// Lines of a type, before the types that it names are known.
struct Draft<'a> {
    fields: Vec<(&'a str, Presence, &'a str, Option<Value>)>,
    open: bool,
}

fn read() -> HashMap<String, Arc<Shape>> {
    let mut drafts: BTreeMap<&str, Draft> = BTreeMap::new();
    let mut current = "";
    for line in FILES.iter().flat_map(|file| file.lines()) {
        let line = line.split(" #").next().unwrap_or_default();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if !line.starts_with(' ') {
            current = line.trim();
            drafts.insert(
                current,
                Draft {
                    fields: Vec::new(),
                    open: false,
                },
            );
            continue;
        }
        let draft = drafts
            .get_mut(current)
            .expect("a field stands below a type");
        let line = line.trim();
        if line == "..." {
            draft.open = true;
        } else {
            draft.fields.push(read_field(line));
        }
    }
    let mut done = HashMap::new();
    for name in drafts.keys() {
        resolve(name, &drafts, &mut done);
    }
    done
}

fn read_field(line: &str) -> (&str, Presence, &str, Option<Value>) {
    let (name, rest) = line
        .split_once(": ")
        .unwrap_or_else(|| panic!("no type in {line:?}"));
    let (kind, default) = match rest.split_once(" = ") {
        Some((kind, default)) => (
            kind,
            Some(serde_yaml_ng::from_str(default).expect("a default is YAML")),
        ),
        None => (rest, None),
    };
    match (name.strip_suffix('*'), name.strip_suffix('!')) {
        (Some(name), _) => (name, Presence::WhenGiven, kind.trim(), default),
        (_, Some(name)) => (name, Presence::Always, kind.trim(), default),
        _ => (name, Presence::WhenFilled, kind.trim(), default),
    }
}

fn resolve(
    name: &str,
    drafts: &BTreeMap<&str, Draft>,
    done: &mut HashMap<String, Arc<Shape>>,
) -> Arc<Shape> {
    if let Some(shape) = done.get(name) {
        return Arc::clone(shape);
    }
    let draft = drafts
        .get(name)
        .unwrap_or_else(|| panic!("no type {name:?}"));
    let fields = draft
        .fields
        .iter()
        .map(|(field, presence, kind, default)| {
            let shape = resolve_kind(kind, drafts, done);
            // An empty structure is no empty value to the encoder of the API.
            let presence = match (&*shape, presence) {
                (Shape::Object { .. }, Presence::WhenFilled) => Presence::Always,
                _ => *presence,
            };
            (
                (*field).to_owned(),
                Field {
                    shape,
                    presence,
                    default: default.clone(),
                },
            )
        })
        .collect();
    let shape = Arc::new(Shape::Object {
        fields,
        open: draft.open,
        atomic: false,
    });
    done.insert(name.to_owned(), Arc::clone(&shape));
    shape
}

fn resolve_kind(
    kind: &str,
    drafts: &BTreeMap<&str, Draft>,
    done: &mut HashMap<String, Arc<Shape>>,
) -> Arc<Shape> {
    if let Some(inner) = kind
        .strip_prefix('[')
        .and_then(|kind| kind.strip_suffix(']'))
    {
        let (inner, merge) = match inner.split_once(' ') {
            Some((inner, ":set")) => (inner, Merge::Set),
            Some((inner, keys)) => (
                inner,
                Merge::Keys(keys.split(',').map(str::to_owned).collect()),
            ),
            None => (inner, Merge::Atomic),
        };
        return Arc::new(Shape::List {
            item: resolve_kind(inner, drafts, done),
            merge,
        });
    }
    if let Some(inner) = kind
        .strip_prefix('{')
        .and_then(|kind| kind.strip_suffix('}'))
    {
        return Arc::new(Shape::Map {
            value: resolve_kind(inner, drafts, done),
            atomic: false,
        });
    }
    if let Some(inner) = kind.strip_suffix("!atomic") {
        return match &*resolve_kind(inner, drafts, done) {
            Shape::Object { fields, open, .. } => Arc::new(Shape::Object {
                fields: fields.clone(),
                open: *open,
                atomic: true,
            }),
            Shape::Map { value, .. } => Arc::new(Shape::Map {
                value: Arc::clone(value),
                atomic: true,
            }),
            other => Arc::new(other.clone()),
        };
    }
    let scalar = match kind {
        "string" => Scalar::String,
        "int" => Scalar::Integer,
        "float" => Scalar::Number,
        "bool" => Scalar::Boolean,
        "intstr" | "quantity" => Scalar::IntegerOrString,
        "time" => Scalar::Time,
        "microtime" => Scalar::MicroTime,
        "any" => return Arc::new(Shape::Any),
        _ => return resolve(kind, drafts, done),
    };
    Arc::new(Shape::Scalar(scalar))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_types_are_read_and_a_pod_has_its_containers_by_name() {
        let pod = shape_of("Pod");
        let containers = pod.child("spec").child("containers");
        assert!(
            matches!(&*containers, Shape::List { merge: Merge::Keys(keys), .. } if keys == &["name"])
        );
        assert_eq!(pod.zero()["spec"]["containers"], Value::Null);
    }
}
