//! Reading the fields of events by name, resolved once.

use weir_l7::{Event, Value, registry};

/// Stands for a field that its application does not have.
const ABSENT: u8 = u8::MAX;

/// The place of a field in its application's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FieldPlace(u8);

impl FieldPlace {
    /// "dns.name", resolved.
    pub(super) fn of(name: &str) -> Self {
        let field = registry::field(name);
        debug_assert!(field.is_some(), "there is no field {name}");
        Self(field.map_or(ABSENT, |field| field.index))
    }

    /// Every value of the field in a message.
    pub(super) fn all<'e>(self, message: &'e Event<'_>) -> impl Iterator<Item = Value<'e>> {
        let fields = message.fields.iter();
        let ours = fields.filter(move |field| field.index == self.0);
        ours.map(|field| field.value)
    }

    /// The first value, as text; empty without one.
    pub(super) fn text<'e>(self, message: &'e Event<'_>) -> &'e [u8] {
        self.all(message).find_map(text_of).unwrap_or_default()
    }

    /// The first value, as a number.
    pub(super) fn number(self, message: &Event<'_>) -> Option<u64> {
        self.all(message).find_map(|value| match value {
            Value::Number(number) => Some(number),
            _ => None,
        })
    }
}

/// The value's text, where it is one.
pub(super) fn text_of(value: Value<'_>) -> Option<&[u8]> {
    match value {
        Value::Bytes(bytes) => Some(bytes),
        Value::Name(name) => Some(name.as_bytes()),
        Value::Number(_) | Value::Address(_) => None,
    }
}
