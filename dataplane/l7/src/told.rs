//! Putting an event together, field by field, without memory of its own.

use arrayvec::ArrayVec;

use crate::{Event, EventKind, EventSink, Field, Value};

/// More fields than any message of those that use it has.
const FIELDS_MAX: usize = 20;

/// The fields of an event; what does not fit is left out.
#[derive(Default)]
pub(crate) struct Told<'a>(ArrayVec<Field<'a>, FIELDS_MAX>);

impl<'a> Told<'a> {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn with(mut self, index: u8, value: Value<'a>) -> Self {
        // A full event keeps its first fields: conditions are told before all others.
        let _ = self.0.try_push(Field { index, value });
        self
    }

    /// Bytes, also none.
    pub(crate) fn bytes(self, index: u8, value: &'a [u8]) -> Self {
        self.with(index, Value::Bytes(value))
    }

    /// Bytes, unless there are none.
    pub(crate) fn known(self, index: u8, value: &'a [u8]) -> Self {
        if value.is_empty() {
            return self;
        }
        self.bytes(index, value)
    }

    /// A name of a closed list.
    pub(crate) fn name(self, index: u8, value: &'static str) -> Self {
        self.with(index, Value::Name(value))
    }

    /// A name of a closed list, unless it is empty.
    pub(crate) fn known_name(self, index: u8, value: &'static str) -> Self {
        if value.is_empty() {
            return self;
        }
        self.name(index, value)
    }

    pub(crate) fn number(self, index: u8, value: u64) -> Self {
        self.with(index, Value::Number(value))
    }

    /// The same field several times.
    pub(crate) fn each(mut self, index: u8, values: &[&'a [u8]]) -> Self {
        for value in values {
            self = self.bytes(index, value);
        }
        self
    }

    pub(crate) fn send(self, kind: EventKind, sink: &mut dyn EventSink) {
        sink.event(&Event {
            kind,
            fields: &self.0,
        });
    }
}
