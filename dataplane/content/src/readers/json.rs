//! Strings, numbers and keys of JSON (RFC 8259), and of what only looks like it.
//!
//! A value is named by the keys that lead to it (`user.name`), as far as that fits. Nothing is refused:
//! several documents in a row, single quotes, comments or missing commas are read as well as they can be.

use memchr::memchr2;

use crate::PartKind;
use crate::part::{Name, Named, Writer};
use crate::piecewise::{Emit, Escapes, Piecewise};

/// Containers of which it is known what they are and which keys lead to them.
const DEPTH: usize = 64;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Between,
    Key,
    String,
    /// A number, a literal, or anything else without quotes.
    Bare,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Json {
    place: Place,
    escapes: Escapes,
    /// The last byte of the string was a backslash that counts.
    escaped: bool,
    /// The next string is a key.
    expects_key: bool,
    depth: usize,
    /// A bit for each container that is an object.
    objects: u64,
    path: Name,
    /// How long the path was when each container began.
    bases: [u8; DEPTH],
}

impl Default for Json {
    fn default() -> Self {
        Self {
            place: Place::Between,
            escapes: Escapes::default(),
            escaped: false,
            expects_key: false,
            depth: 0,
            objects: 0,
            path: Name::default(),
            bases: [0; DEPTH],
        }
    }
}

impl Json {
    pub(super) fn piece(&mut self, input: &[u8], writer: &mut Writer<'_>) {
        let mut rest = input;
        while let Some(first) = rest.first() {
            let taken = match self.place {
                Place::Between => self.token(*first, writer),
                Place::Bare => {
                    let end = rest.iter().position(|byte| ends_bare(*byte));
                    let (text, _) = rest.split_at(end.unwrap_or(rest.len()));
                    writer.bytes(text);
                    if end.is_some() {
                        writer.close();
                        self.place = Place::Between;
                    }
                    text.len()
                }
                Place::Key | Place::String => self.string(rest, writer),
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
    }

    pub(super) fn end(&mut self, writer: &mut Writer<'_>) {
        if matches!(self.place, Place::Key | Place::String) {
            self.end_string(writer);
        }
        writer.close();
    }

    /// A byte between strings; returns whether it was taken.
    fn token(&mut self, byte: u8, writer: &mut Writer<'_>) -> usize {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'{' => self.begin_container(true),
            b'[' => self.begin_container(false),
            b'}' | b']' => self.end_container(),
            b',' => self.expects_key = self.is_object(),
            b':' => self.expects_key = false,
            b'"' if self.expects_key => {
                self.place = Place::Key;
                self.path.truncate(self.base());
                if !self.path.is_empty() {
                    self.path.byte(b'.');
                }
                writer.open(PartKind::Key, b"");
            }
            b'"' => {
                self.place = Place::String;
                writer.open(PartKind::Field, self.path.as_slice());
            }
            _ => {
                self.place = Place::Bare;
                writer.open(PartKind::Field, self.path.as_slice());
                return 0;
            }
        }
        1
    }

    /// Within a string; returns how much was taken.
    fn string(&mut self, rest: &[u8], writer: &mut Writer<'_>) -> usize {
        if std::mem::take(&mut self.escaped) {
            self.text(rest.get(..1).unwrap_or_default(), writer);
            return 1;
        }
        let Some(end) = memchr2(b'"', b'\\', rest) else {
            self.text(rest, writer);
            return rest.len();
        };
        let (text, after) = rest.split_at(end);
        self.text(text, writer);
        match after.first() {
            Some(b'\\') => {
                self.text(b"\\", writer);
                self.escaped = true;
            }
            _ => self.end_string(writer),
        }
        end + 1
    }

    fn text(&mut self, text: &[u8], writer: &mut Writer<'_>) {
        let name = &mut self.path;
        match self.place {
            Place::Key => self.escapes.piece(text, &mut Named { name, writer }),
            _ => self.escapes.piece(text, writer),
        }
    }

    fn end_string(&mut self, writer: &mut Writer<'_>) {
        let name = &mut self.path;
        match self.place {
            Place::Key => self.escapes.end(&mut Named { name, writer }),
            _ => self.escapes.end(writer),
        }
        writer.close();
        self.expects_key = false;
        self.place = Place::Between;
    }

    fn begin_container(&mut self, object: bool) {
        if let Some(base) = self.bases.get_mut(self.depth) {
            *base = self.path.len() as u8;
            let bit = 1 << self.depth;
            self.objects = (self.objects & !bit) | if object { bit } else { 0 };
        }
        self.depth += 1;
        self.expects_key = object;
    }

    fn end_container(&mut self) {
        self.path.truncate(self.base());
        self.depth = self.depth.saturating_sub(1);
        self.expects_key = false;
    }

    /// How long the path of the innermost container is.
    fn base(&self) -> usize {
        let innermost = self.depth.checked_sub(1);
        let base = innermost.and_then(|depth| self.bases.get(depth));
        match (innermost, base) {
            (None, _) => 0,
            (_, Some(base)) => (*base).into(),
            // Too deep to say: it stays as it is.
            (_, None) => self.path.len(),
        }
    }

    fn is_object(&self) -> bool {
        match self.depth {
            0 => false,
            depth @ 1..=DEPTH => self.objects & 1 << (depth - 1) != 0,
            _ => true,
        }
    }
}

fn ends_bare(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'\t' | b'\r' | b'\n' | b',' | b':' | b'"' | b'{' | b'}' | b'[' | b']'
    )
}
