//! Kafka's primitive types, in their old and their compact form (KIP-482).

use crate::read::cursor::Cursor;

/// Why something cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The bytes end before it does.
    Short,
    /// It is nothing that Kafka sends.
    Bad,
}

pub(super) type Read<T> = Result<T, Fault>;

/// What is left of a message.
#[derive(Clone)]
pub(super) struct Reader<'a> {
    cursor: Cursor<'a>,
    /// Compact lengths, and tags behind every structure.
    pub(super) flexible: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], flexible: bool) -> Self {
        Self {
            cursor: Cursor::new(bytes),
            flexible,
        }
    }

    pub(super) fn left(&self) -> usize {
        self.cursor.rest().len()
    }

    pub(super) fn skip(&mut self, length: usize) -> Read<()> {
        self.take(length).map(drop)
    }

    pub(super) fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        self.cursor.take(length).ok_or(Fault::Short)
    }

    pub(super) fn i16(&mut self) -> Read<i16> {
        self.cursor
            .array()
            .map(i16::from_be_bytes)
            .ok_or(Fault::Short)
    }

    pub(super) fn i32(&mut self) -> Read<i32> {
        self.cursor
            .array()
            .map(i32::from_be_bytes)
            .ok_or(Fault::Short)
    }

    /// An unsigned number of up to five bytes, the lowest seven bits first.
    pub(super) fn varint(&mut self) -> Read<u32> {
        let mut value = 0_u32;
        for place in 0..5 {
            let byte = self.cursor.u8().ok_or(Fault::Short)?;
            if place == 4 && byte > 15 {
                break;
            }
            value |= u32::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Fault::Bad)
    }

    /// How many elements follow; None: the list is null.
    pub(super) fn count(&mut self) -> Read<Option<u32>> {
        if self.flexible {
            return Ok(self.varint()?.checked_sub(1));
        }
        match self.i32()? {
            -1 => Ok(None),
            count => u32::try_from(count).map(Some).map_err(|_| Fault::Bad),
        }
    }

    /// Bytes; null counts as empty.
    pub(super) fn bytes_length(&mut self) -> Read<u32> {
        Ok(self.count()?.unwrap_or_default())
    }

    /// A text; null counts as empty.
    pub(super) fn text(&mut self) -> Read<&'a [u8]> {
        let length = match self.flexible {
            true => self.varint()?.saturating_sub(1) as usize,
            false => match self.i16()? {
                -1 => 0,
                length => usize::try_from(length).map_err(|_| Fault::Bad)?,
            },
        };
        if length > super::TEXT_MAX {
            return Err(Fault::Bad);
        }
        self.take(length)
    }

    /// Tags behind a structure, where the version has them.
    pub(super) fn tags(&mut self) -> Read<()> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.varint()? {
            self.varint()?;
            let length = self.varint()? as usize;
            self.skip(length)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let mut old = Reader::new(b"\0\x01a\xff\xff\0\0\0\x02\xff\xff\xff\xff", false);
        assert_eq!(old.text(), Ok(&b"a"[..]));
        assert_eq!(old.text(), Ok(&b""[..]));
        assert_eq!((old.count(), old.count()), (Ok(Some(2)), Ok(None)));
        assert_eq!((old.tags(), old.count()), (Ok(()), Err(Fault::Short)));
        let mut new = Reader::new(b"\x02a\0\x03\0\x01\x05\x02xy\x80\x80\x80\x80\x10", true);
        assert_eq!(new.text(), Ok(&b"a"[..]));
        assert_eq!(new.text(), Ok(&b""[..]));
        assert_eq!((new.count(), new.count()), (Ok(Some(2)), Ok(None)));
        assert_eq!((new.tags(), new.varint()), (Ok(()), Err(Fault::Bad)));
    }
}
