//! Fields of a form (`application/x-www-form-urlencoded`): each name is a key, each value a field.

use memchr::{memchr, memchr2};

use crate::PartKind;
use crate::part::{Name, Named, Writer};
use crate::piecewise::{Percent, PercentRules, Piecewise, Through};

use super::Charset;

const RULES: PercentRules = PercentRules {
    plus_is_space: true,
    unicode: true,
};

/// Where in a pair reading is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Before,
    Name,
    Value,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    place: Place,
    percent: Percent,
    /// What percent signs stand for are bytes of this.
    charset: Charset,
    name: Name,
}

impl Fields {
    pub(super) fn new(charset: Charset) -> Self {
        Self {
            place: Place::Before,
            percent: Percent::new(RULES),
            charset: if charset.is_known() {
                charset
            } else {
                Charset::Bytes
            },
            name: Name::default(),
        }
    }

    pub(super) fn piece(&mut self, input: &[u8], writer: &mut Writer<'_>) {
        let mut rest = input;
        while let Some(first) = rest.first() {
            if self.place == Place::Before {
                if *first == b'&' {
                    rest = rest.get(1..).unwrap_or_default();
                    continue;
                }
                self.place = Place::Name;
                self.name.truncate(0);
                writer.open(PartKind::Key, b"");
            }
            let end = match self.place {
                Place::Name => memchr2(b'=', b'&', rest),
                _ => memchr(b'&', rest),
            };
            let (text, after) = rest.split_at(end.unwrap_or(rest.len()));
            self.text(text, writer);
            if let Some(delimiter) = after.first() {
                self.end_of(*delimiter, writer);
            }
            rest = after.get(1..).unwrap_or_default();
        }
    }

    fn text(&mut self, text: &[u8], writer: &mut Writer<'_>) {
        let name = &mut self.name;
        let decoder = &mut self.charset;
        match self.place {
            Place::Name => {
                let next = &mut Named { name, writer };
                self.percent.piece(text, &mut Through { decoder, next });
            }
            _ => {
                let next = writer;
                self.percent.piece(text, &mut Through { decoder, next });
            }
        }
    }

    /// The name or the value is over.
    fn end_of(&mut self, delimiter: u8, writer: &mut Writer<'_>) {
        let name = &mut self.name;
        let decoder = &mut self.charset;
        match self.place {
            Place::Name => {
                let next = &mut Named { name, writer };
                self.percent.end(&mut Through { decoder, next });
                self.charset.end(next);
            }
            _ => {
                let next = &mut *writer;
                self.percent.end(&mut Through { decoder, next });
                self.charset.end(next);
            }
        }
        if self.place == Place::Name && delimiter == b'=' {
            writer.open(PartKind::Field, self.name.as_slice());
            self.place = Place::Value;
        } else {
            writer.close();
            self.place = Place::Before;
        }
    }

    pub(super) fn end(&mut self, writer: &mut Writer<'_>) {
        if self.place != Place::Before {
            self.end_of(b'&', writer);
        }
    }
}
