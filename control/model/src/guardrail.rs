//! What no document may say, however it came: rules of the organisation, written in Rego.

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{Kind, LabelSelector, Resource};

/// A rule about documents (`kind: Guardrail`); it belongs to no namespace.
pub type Guardrail = Resource<GuardrailSpec>;

/// Which documents are looked at, and by what.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GuardrailSpec {
    /// For readers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// A module of Rego whose package is `weir.guardrail` or lies below it. Each text in its set
    /// `deny` says why a document is refused, each in `warn` why it is doubtful.
    pub rego: String,
    /// What the module finds under `input.parameters`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Parameters>,
    /// The documents that are looked at; without it, all.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matching: Option<GuardrailMatch>,
    /// What happens to a document that is refused; default deny.
    #[serde(default, skip_serializing_if = "Enforcement::is_deny")]
    pub enforcement: Enforcement,
}

/// Which documents a guardrail looks at. All that is written must hold.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GuardrailMatch {
    /// Of one of these kinds; empty: of any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<Kind>,
    /// In one of these namespaces; empty: in any, and in none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// In none of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded_namespaces: Vec<String>,
    /// In a namespace with these labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
}

/// What happens to a document that a guardrail refuses.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Enforcement {
    /// It is not taken.
    #[default]
    Deny,
    /// It is taken with a warning.
    Warn,
}

/// Any value, as JSON has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Parameters(pub Value);

/// By this name the reader knows that a plain `true`, `1.5` or nothing means what YAML says it means.
pub(crate) const ANY_VALUE: &str = "$weir_model::AnyValue";

impl GuardrailSpec {
    /// The longest module, in bytes.
    pub const REGO_BYTES_MAX: usize = 64 << 10;
}

impl Enforcement {
    fn is_deny(&self) -> bool {
        *self == Self::Deny
    }
}

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Outer;
        impl<'de> Visitor<'de> for Outer {
            type Value = Value;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("any value")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                deserializer: D,
            ) -> Result<Value, D::Error> {
                deserializer.deserialize_any(AnyVisitor)
            }
        }
        deserializer
            .deserialize_newtype_struct(ANY_VALUE, Outer)
            .map(Self)
    }
}

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Parameters(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = serde_json::Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let Parameters(value) = map.next_value()?;
            fields.insert(key, value);
        }
        Ok(Value::Object(fields))
    }
}
