//! The custom resources of Kubernetes, made of the types that the reader reads.
//!
//! An API server takes structural schemas only: [`schema`] rewrites what schemars makes of the
//! types into one, [`bounds`] bounds every list, text and map and says what no single field can say
//! (CEL), [`names`] tells how kubectl calls and shows each kind. Where the reader asks for more than
//! a schema can say, the admission webhook and the condition Accepted tell it.

mod bounds;
mod names;
mod scalars;
mod schema;

use serde_json::{Value, json};

use crate::document::{GROUP, Kind, VERSION};

/// A definition and the name of its file.
#[derive(Clone, Debug)]
pub struct Definition {
    /// "weir.dev_allowlists.yaml".
    pub file_name: String,
    /// The CustomResourceDefinition.
    pub object: Value,
}

/// The definitions of all kinds that a cluster keeps. A Namespace is Kubernetes' own.
pub fn definitions() -> Vec<Definition> {
    Kind::ALL
        .into_iter()
        .filter(|kind| *kind != Kind::Namespace)
        .map(|kind| Definition {
            file_name: format!("{GROUP}_{}.yaml", kind.plural()),
            object: definition(kind),
        })
        .collect()
}

impl Definition {
    /// As YAML, with keys in the order of the alphabet.
    pub fn to_yaml(&self) -> String {
        let text = serde_yaml_ng::to_string(&sorted(&self.object))
            .expect("what came from JSON can be written");
        format!("# Made from the types in control/model; see tests/crds.rs there.\n{text}")
    }
}

fn definition(kind: Kind) -> Value {
    let names = names::of(kind);
    let plural = kind.plural();
    let columns: Vec<Value> = names.columns.iter().map(names::Column::object).collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{GROUP}"),
            "labels": {"app.kubernetes.io/part-of": "weir"},
        },
        "spec": {
            "group": GROUP,
            "scope": if kind.is_namespaced() { "Namespaced" } else { "Cluster" },
            "names": {
                "kind": kind.name(),
                "listKind": format!("{}List", kind.name()),
                "plural": plural,
                "singular": names.singular,
                "shortNames": names.short,
                "categories": names.categories,
            },
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns,
                "schema": {"openAPIV3Schema": schema::of(kind)},
            }],
        },
    })
}

fn sorted(value: &Value) -> serde_yaml_ng::Value {
    use serde_yaml_ng::{Mapping, Value as Yaml};
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| key.as_str());
            let pairs = fields
                .into_iter()
                .map(|(key, value)| (Yaml::from(key.as_str()), sorted(value)));
            Yaml::Mapping(pairs.collect::<Mapping>())
        }
        Value::Array(items) => Yaml::Sequence(items.iter().map(sorted).collect()),
        Value::String(text) => Yaml::from(text.as_str()),
        Value::Bool(value) => Yaml::from(*value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Yaml::from(whole),
            (None, Some(number)) => Yaml::from(number),
            (None, None) => Yaml::Null,
        },
        Value::Null => Yaml::Null,
    }
}
