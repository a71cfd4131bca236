//! Building the fields of an event one after the other, absent ones left out.

use std::net::IpAddr;

use arrayvec::ArrayVec;

use crate::{Event, EventKind, EventSink, Field, Value};

/// At most `N` fields; what does not fit is left out.
pub(crate) struct Fields<'a, const N: usize>(ArrayVec<Field<'a>, N>);

impl<'a, const N: usize> Fields<'a, N> {
    pub(crate) fn new() -> Self {
        Self(ArrayVec::new())
    }

    pub(crate) fn bytes(&mut self, index: u8, value: &'a [u8]) -> &mut Self {
        self.push(index, Value::Bytes(value))
    }

    pub(crate) fn name(&mut self, index: u8, value: &'static str) -> &mut Self {
        self.push(index, Value::Name(value))
    }

    pub(crate) fn number(&mut self, index: u8, value: impl Into<u64>) -> &mut Self {
        self.push(index, Value::Number(value.into()))
    }

    pub(crate) fn address(&mut self, index: u8, value: IpAddr) -> &mut Self {
        self.push(index, Value::Address(value))
    }

    /// Bytes, where there are any.
    pub(crate) fn some_bytes(&mut self, index: u8, value: &'a [u8]) -> &mut Self {
        if !value.is_empty() {
            self.bytes(index, value);
        }
        self
    }

    /// A number, where there is one.
    pub(crate) fn some_number(&mut self, index: u8, value: Option<impl Into<u64>>) -> &mut Self {
        if let Some(value) = value {
            self.number(index, value);
        }
        self
    }

    /// An address, where there is one.
    pub(crate) fn some_address(&mut self, index: u8, value: Option<IpAddr>) -> &mut Self {
        if let Some(value) = value {
            self.address(index, value);
        }
        self
    }

    pub(crate) fn tell(&self, kind: EventKind, sink: &mut dyn EventSink) {
        sink.event(&Event {
            kind,
            fields: &self.0,
        });
    }

    fn push(&mut self, index: u8, value: Value<'a>) -> &mut Self {
        let _ = self.0.try_push(Field { index, value });
        self
    }
}
