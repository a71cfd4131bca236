//! OpenWire's encodings: loose, where every truth value is a byte before what it is about, and
//! tight, where all of them are bits in front of the fields.

use crate::read::cursor::Cursor;

/// Types of destinations.
pub(super) const QUEUE: u8 = 100;
pub(super) const TOPIC: u8 = 101;
pub(super) const TEMPORARY_QUEUE: u8 = 102;
pub(super) const TEMPORARY_TOPIC: u8 = 103;

/// The fields of a command.
pub(super) struct Wire<'a> {
    fields: Cursor<'a>,
    /// The bits of the tight encoding, and how many were read.
    bits: Option<(&'a [u8], usize)>,
    cache: bool,
}

/// A destination as it is written.
pub(super) enum Destination<'a> {
    None,
    /// Written out; with an index it is also put into the cache.
    Known {
        index: Option<u16>,
        kind: u8,
        name: &'a [u8],
    },
    /// To be found in the cache.
    Cached(u16),
}

impl<'a> Wire<'a> {
    pub(super) fn new(bytes: &'a [u8], tight: bool, cache: bool) -> Option<Self> {
        let mut fields = Cursor::new(bytes);
        let bits = match tight {
            true => {
                let length = match fields.u8()? {
                    0xc0 => fields.u8()?.into(),
                    0x80 => fields.u16()?,
                    length => length.into(),
                };
                Some((fields.take(length.into())?, 0))
            }
            false => None,
        };
        Some(Self {
            fields,
            bits,
            cache,
        })
    }

    fn truth(&mut self) -> Option<bool> {
        match &mut self.bits {
            None => Some(self.fields.u8()? != 0),
            Some((bits, at)) => {
                let byte = bits.get(*at / 8)?;
                let bit = byte >> (*at % 8) & 1;
                *at += 1;
                Some(bit != 0)
            }
        }
    }

    pub(super) fn number(&mut self) -> Option<u32> {
        self.fields.u32()
    }

    /// A text; none counts as empty.
    pub(super) fn text(&mut self) -> Option<&'a [u8]> {
        if !self.truth()? {
            return Some(&[]);
        }
        if self.bits.is_some() {
            // Whether it is ASCII only.
            self.truth()?;
        }
        Some(self.fields.vector16()?.rest())
    }

    /// A number of up to eight bytes.
    fn skip_long(&mut self) -> Option<()> {
        let length = match self.bits.is_some() {
            false => 8,
            true => match (self.truth()?, self.truth()?) {
                (true, true) => 8,
                (true, false) => 4,
                (false, true) => 2,
                (false, false) => 0,
            },
        };
        self.fields.take(length).map(drop)
    }

    /// What every command begins with; returns its number.
    pub(super) fn command(&mut self) -> Option<u32> {
        let number = self.number()?;
        self.truth()?;
        Some(number)
    }

    /// The index in the cache, and whether what belongs there follows.
    fn cached(&mut self) -> Option<(Option<u16>, bool)> {
        if !self.cache {
            return Some((None, true));
        }
        let follows = self.truth()?;
        Some((Some(self.fields.u16()?), follows))
    }

    /// The type of an object; None: there is none.
    fn object(&mut self) -> Option<Option<u8>> {
        match self.truth()? {
            true => self.fields.u8().map(Some),
            false => Some(None),
        }
    }

    /// An id of a connection, session, consumer or producer.
    pub(super) fn skip_cached(&mut self) -> Option<()> {
        if !self.cached()?.1 {
            return Some(());
        }
        let longs = match self.object()? {
            None => return Some(()),
            Some(120 | 124) => 0,
            Some(121) => 1,
            Some(122 | 123) => 2,
            Some(_) => return None,
        };
        self.text()?;
        for _ in 0..longs {
            self.skip_long()?;
        }
        Some(())
    }

    /// The destination behind an id, and behind a truth value between them.
    pub(super) fn destination(&mut self, truth_between: bool) -> Option<Destination<'a>> {
        self.skip_cached()?;
        if truth_between {
            self.truth()?;
        }
        let (index, follows) = self.cached()?;
        if !follows {
            return index.map(Destination::Cached);
        }
        match self.object()? {
            None => Some(Destination::None),
            Some(kind @ QUEUE..=TEMPORARY_TOPIC) => Some(Destination::Known {
                index,
                kind,
                name: self.text()?,
            }),
            Some(_) => None,
        }
    }

    /// The message of an exception.
    pub(super) fn exception(&mut self) -> Option<&'a [u8]> {
        if !self.truth()? {
            return Some(&[]);
        }
        self.text()?;
        self.text()
    }
}

/// A truth value or text among the properties of a WireFormatInfo.
pub(super) fn property<'a>(map: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let mut cursor = Cursor::new(map);
    for _ in 0..cursor.u32()? {
        let key = cursor.vector16()?.rest();
        let value = match cursor.u8()? {
            0 => &[],
            1 | 2 => cursor.take(1)?,
            3 | 4 => cursor.take(2)?,
            5 | 8 => cursor.take(4)?,
            6 | 7 => cursor.take(8)?,
            9 => cursor.vector16()?.rest(),
            10 | 13 => {
                let length = cursor.u32()? as usize;
                cursor.take(length)?
            }
            _ => return None,
        };
        if key == wanted {
            return Some(value);
        }
    }
    None
}
