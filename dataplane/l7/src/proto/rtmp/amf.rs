//! Values of AMF 0 ("Action Message Format -- AMF 0", 2.2 to 2.18), read from the front.

use crate::read::cursor::Cursor;

/// Members of objects that are looked at.
const MEMBERS_MAX: usize = 128;
/// Stands where a value would, behind an empty name: the object ends.
const END: u8 = 9;

/// What is left to read; what cannot be read ends it.
pub(super) struct Amf<'a>(Cursor<'a>);

pub(super) enum Value<'a> {
    Text(&'a [u8]),
    /// Members follow.
    Object,
    Other,
}

impl<'a> Amf<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(Cursor::new(bytes))
    }

    /// The next value; of an object only what stands before its members.
    pub(super) fn value(&mut self) -> Option<Value<'a>> {
        let cursor = &mut self.0;
        let rest = match cursor.u8()? {
            0 => 8,
            1 => 1,
            2 => return cursor.vector16().map(|text| Value::Text(text.rest())),
            3 => return Some(Value::Object),
            5 | 6 => 0,
            7 => 2,
            8 => {
                cursor.u32()?;
                return Some(Value::Object);
            }
            11 => 10,
            12 | 15 => {
                let length = usize::try_from(cursor.u32()?).ok()?;
                return cursor.take(length).map(Value::Text);
            }
            16 => {
                cursor.vector16()?;
                return Some(Value::Object);
            }
            _ => return None,
        };
        cursor.take(rest).map(|_| Value::Other)
    }

    pub(super) fn text(&mut self) -> Option<&'a [u8]> {
        match self.value()? {
            Value::Text(text) => Some(text),
            Value::Object | Value::Other => None,
        }
    }

    /// The next value, and where it is an object its texts, those of objects within left out.
    pub(super) fn members(&mut self, mut tell: impl FnMut(&'a [u8], &'a [u8])) {
        let mut depth = match self.value() {
            Some(Value::Object) => 1,
            _ => return,
        };
        for _ in 0..MEMBERS_MAX {
            let Some(name) = self.0.vector16() else {
                return;
            };
            if name.is_empty() && self.0.rest().first() == Some(&END) {
                self.0.u8();
                depth -= 1;
            } else {
                match self.value() {
                    Some(Value::Text(text)) if depth == 1 => tell(name.rest(), text),
                    Some(Value::Object) => depth += 1,
                    Some(_) => {}
                    None => return,
                }
            }
            if depth == 0 {
                return;
            }
        }
    }
}
