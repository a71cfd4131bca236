//! Serde's way from a tree of nodes to a type. An error carries the path and the place of the
//! innermost thing that is wrong, and the word that was probably meant.

use std::fmt::Display;

use serde::de::value::StrDeserializer;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, Expected, Unexpected, Visitor};

use super::tree::{Entry, Node, Value};
use crate::did_you_mean;
use crate::guardrail::ANY_VALUE;
use crate::name::Shortened;

/// What does not fit, and where.
#[derive(Clone, Debug)]
pub(crate) struct ReadError {
    pub(crate) message: String,
    pub(crate) next_step: String,
    /// Innermost segment first.
    segments: Vec<String>,
    pub(crate) place: Option<(u32, u32)>,
}

/// Reads a type from a node.
pub(crate) fn read<'de, T: Deserialize<'de>>(node: &'de Node) -> Result<T, ReadError> {
    T::deserialize(Reader { node }).map_err(|error| error.at(node.line, node.column))
}

impl ReadError {
    fn new(message: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            next_step: next_step.into(),
            segments: Vec::new(),
            place: None,
        }
    }

    fn at(mut self, line: u32, column: u32) -> Self {
        self.place.get_or_insert((line, column));
        self
    }

    fn within(mut self, segment: String) -> Self {
        self.segments.push(segment);
        self
    }

    /// The path below `root`: "spec.ingress[0].from".
    pub(crate) fn path(&self, root: &str) -> String {
        let mut path = root.to_owned();
        for segment in self.segments.iter().rev() {
            if !segment.starts_with('[') && !path.is_empty() {
                path.push('.');
            }
            path.push_str(segment);
        }
        path
    }
}

impl Display for ReadError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: Display>(message: T) -> Self {
        // Messages of this crate put the next step after a semicolon.
        let text = message.to_string();
        match text.rsplit_once("; ") {
            Some((message, next_step)) => Self::new(message, next_step),
            None => Self::new(text, ""),
        }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(
            format!("expected {expected}, found {}", describe(found)),
            "",
        )
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(
            format!("unknown value {:?}", Shortened(variant)),
            hint(variant, expected),
        )
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(
            format!("unknown field {:?}", Shortened(field)),
            hint(field, expected),
        )
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new("is missing", "write it").within(field.to_owned())
    }
}

fn hint(word: &str, expected: &'static [&'static str]) -> String {
    let known = expected.join(", ");
    match did_you_mean(word, expected.iter().copied()) {
        Some(near) => format!("did you mean {near}? Known here: {known}"),
        None => format!("known here: {known}"),
    }
}

fn describe(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "fields".to_owned(),
        Unexpected::Str(text) => format!("the text {:?}", Shortened(text)),
        Unexpected::Unsigned(number) => format!("the number {number}"),
        Unexpected::Signed(number) => format!("the number {number}"),
        Unexpected::Float(number) => format!("the number {number}"),
        Unexpected::Bool(value) => format!("{value}"),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        other => other.to_string(),
    }
}

#[derive(Clone, Copy)]
struct Reader<'de> {
    node: &'de Node,
}

impl<'de> Reader<'de> {
    fn found(&self) -> Unexpected<'de> {
        match &self.node.value {
            Value::Sequence(_) => Unexpected::Seq,
            Value::Mapping(_) => Unexpected::Map,
            Value::Scalar { .. } if self.node.is_null() => Unexpected::Unit,
            Value::Scalar { text, .. } => Unexpected::Str(text),
        }
    }

    fn text(&self, expected: &dyn Expected) -> Result<&'de str, ReadError> {
        match &self.node.value {
            Value::Scalar { text, .. } if !self.node.is_null() => Ok(text),
            Value::Scalar { .. } => Err(ReadError::new(
                "has no value",
                "write one, or remove the field",
            )),
            _ => Err(de::Error::invalid_type(self.found(), expected)),
        }
    }

    fn integer<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let text = self.text(&"a whole number")?;
        let plain = matches!(self.node.value, Value::Scalar { plain: true, .. });
        match (plain, unsigned(text), text.parse::<i64>()) {
            (true, Some(number), _) => visitor.visit_u64(number),
            (true, None, Ok(number)) => visitor.visit_i64(number),
            _ => Err(de::Error::invalid_type(self.found(), &"a whole number")),
        }
    }
}

/// Whole numbers of the YAML 1.2 core schema: decimal, 0x…, 0o….
fn unsigned(text: &str) -> Option<u64> {
    let (digits, radix) = if let Some(digits) = text.strip_prefix("0x") {
        (digits, 16)
    } else if let Some(digits) = text.strip_prefix("0o") {
        (digits, 8)
    } else {
        (text, 10)
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

macro_rules! integers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            self.integer(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = ReadError;

    /// What may be text or a number.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Sequence(_) => self.deserialize_seq(visitor),
            Value::Mapping(_) => self.deserialize_map(visitor),
            Value::Scalar { text, plain } => match unsigned(text) {
                Some(number) if *plain => visitor.visit_u64(number),
                _ => self.deserialize_str(visitor),
            },
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match (self.text(&"true or false")?, &self.node.value) {
            ("true" | "True" | "TRUE", Value::Scalar { plain: true, .. }) => {
                visitor.visit_bool(true)
            }
            ("false" | "False" | "FALSE", Value::Scalar { plain: true, .. }) => {
                visitor.visit_bool(false)
            }
            _ => Err(de::Error::invalid_type(self.found(), &"true or false")),
        }
    }

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.text(&"a number")?.parse::<f64>() {
            Ok(number) => visitor.visit_f64(number),
            Err(_) => Err(de::Error::invalid_type(self.found(), &"a number")),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_borrowed_str(self.text(&"text")?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    /// A field that is written has a value: an empty one is a mistake, not its absence.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.node.is_null() {
            return visitor.visit_unit();
        }
        Err(de::Error::invalid_type(self.found(), &"nothing"))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if name == ANY_VALUE {
            return visitor.visit_newtype_struct(AnyReader(self));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Sequence(items) => visitor.visit_seq(Items { items, index: 0 }),
            _ => Err(ReadError::new(
                format!("expected a list, found {}", describe(self.found())),
                "write it as [ … ], or each entry on a line that begins with a hyphen",
            )),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Mapping(entries) => visitor.visit_map(Entries { entries, index: 0 }),
            _ => Err(ReadError::new(
                format!("expected fields, found {}", describe(self.found())),
                "",
            )),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_enum(StrDeserializer::new(self.text(&"a word")?))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }
}

/// Reads what may be anything: what is written plain means what the core schema of YAML 1.2 says.
struct AnyReader<'de>(Reader<'de>);

impl<'de> Deserializer<'de> for AnyReader<'de> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let (text, plain) = match &self.0.node.value {
            Value::Sequence(_) => return self.0.deserialize_seq(visitor),
            Value::Mapping(_) => return self.0.deserialize_map(visitor),
            Value::Scalar { text, plain } => (text, *plain),
        };
        if !plain {
            return visitor.visit_borrowed_str(text);
        }
        if self.0.node.is_null() {
            return visitor.visit_unit();
        }
        match text.as_str() {
            "true" | "True" | "TRUE" => return visitor.visit_bool(true),
            "false" | "False" | "FALSE" => return visitor.visit_bool(false),
            _ => {}
        }
        if let Some(number) = unsigned(text) {
            return visitor.visit_u64(number);
        }
        if let Ok(number) = text.parse::<i64>() {
            return visitor.visit_i64(number);
        }
        // What begins with a letter is text: `nan` and `infinity` are names here.
        let numeric =
            text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first));
        match text.parse::<f64>() {
            Ok(number) if numeric && number.is_finite() => visitor.visit_f64(number),
            _ => visitor.visit_borrowed_str(text),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

struct Items<'de> {
    items: &'de [Node],
    index: usize,
}

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let Some(node) = self.items.get(self.index) else {
            return Ok(None);
        };
        let index = self.index;
        self.index += 1;
        seed.deserialize(Reader { node })
            .map(Some)
            .map_err(|error| {
                error
                    .at(node.line, node.column)
                    .within(format!("[{index}]"))
            })
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.index)
    }
}

struct Entries<'de> {
    entries: &'de [Entry],
    index: usize,
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        let Some(entry) = self.entries.get(self.index) else {
            return Ok(None);
        };
        seed.deserialize(StrDeserializer::new(&entry.key))
            .map(Some)
            .map_err(|error: ReadError| {
                error
                    .at(entry.line, entry.column)
                    .within(segment(&entry.key))
            })
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ReadError> {
        let Some(entry) = self.entries.get(self.index) else {
            return Err(ReadError::new("has no value", "write one"));
        };
        self.index += 1;
        let node = &entry.node;
        seed.deserialize(Reader { node }).map_err(|error| {
            error
                .at(entry.line, entry.column)
                .within(segment(&entry.key))
        })
    }
}

/// A key as part of a path, no longer than a message bears.
fn segment(key: &str) -> String {
    key.chars().take(80).collect()
}
