//! Reading BER and DER (X.690): definite lengths, tags of one byte, nothing kept.
//!
//! SNMP, LDAP and Kerberos are written in it.

use crate::read::cursor::Cursor;

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTETS: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const SEQUENCE: u8 = 0x30;

/// Elements one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ber<'a>(Cursor<'a>);

/// The front of an element, for streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// Tag, bytes up to the content, bytes of the content.
    Whole { tag: u8, head: usize, length: usize },
    /// More bytes will tell.
    Partial,
    /// Not BER as these protocols use it.
    Bad,
}

impl Head {
    /// Reads tag and length.
    pub(crate) fn read(input: &[u8]) -> Self {
        let (tag, first) = match *input {
            [] => return Self::Partial,
            [tag, ..] if tag & 0x1f == 0x1f => return Self::Bad,
            [_] => return Self::Partial,
            [tag, first, ..] => (tag, first),
        };
        if first < 0x80 {
            return Self::Whole {
                tag,
                head: 2,
                length: first.into(),
            };
        }
        let count = usize::from(first & 0x7f);
        if !(1..=4).contains(&count) {
            return Self::Bad;
        }
        let Some(bytes) = input.get(2..2 + count) else {
            return Self::Partial;
        };
        let length = bytes
            .iter()
            .fold(0_usize, |length, &byte| length << 8 | usize::from(byte));
        Self::Whole {
            tag,
            head: 2 + count,
            length,
        }
    }
}

impl<'a> Ber<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(Cursor::new(bytes))
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0.rest()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tag of the next element.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.0.rest().first().copied()
    }

    /// The next element, whatever it is.
    pub(crate) fn element(&mut self) -> Option<(u8, &'a [u8])> {
        let Head::Whole { tag, head, length } = Head::read(self.0.rest()) else {
            return None;
        };
        self.0.take(head)?;
        Some((tag, self.0.take(length)?))
    }

    /// The next element, which must have this tag: its content.
    pub(crate) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        match self.element()? {
            (found, content) if found == tag => Some(content),
            _ => None,
        }
    }

    /// Content of the next element, as elements.
    pub(crate) fn enter(&mut self, tag: u8) -> Option<Self> {
        self.expect(tag).map(Self::new)
    }

    /// As [`Self::enter`], content that is cut off included.
    pub(crate) fn enter_cut(&mut self, tag: u8) -> Option<Self> {
        match Head::read(self.0.rest()) {
            Head::Whole {
                tag: found,
                head,
                length,
            } if found == tag => {
                self.0.take(head)?;
                let length = length.min(self.0.rest().len());
                self.0.take(length).map(Self::new)
            }
            _ => None,
        }
    }

    pub(crate) fn integer(&mut self) -> Option<i64> {
        self.expect(INTEGER).and_then(integer)
    }

    pub(crate) fn enumerated(&mut self) -> Option<i64> {
        self.expect(ENUMERATED).and_then(integer)
    }
}

/// The value of an integer's content.
pub(crate) fn integer(content: &[u8]) -> Option<i64> {
    let (&first, rest) = content.split_first()?;
    if rest.len() > 7 {
        return None;
    }
    let start = i64::from(first.cast_signed());
    Some(
        rest.iter()
            .fold(start, |value, &byte| value << 8 | i64::from(byte)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_or_waited_for() {
        let whole = |tag, head, length| Head::Whole { tag, head, length };
        assert_eq!(Head::read(&[0x30, 5]), whole(0x30, 2, 5));
        assert_eq!(Head::read(&[0x30, 0x82, 1, 2]), whole(0x30, 4, 258));
        assert_eq!(Head::read(&[0x30, 0x82, 1]), Head::Partial);
        assert_eq!(Head::read(&[0x30]), Head::Partial);
        for bad in [&[0x30, 0x80][..], &[0x30, 0x85, 0, 0, 0, 0, 1], &[0x1f, 1]] {
            assert_eq!(Head::read(bad), Head::Bad);
        }
    }

    #[test]
    fn integers_are_signed() {
        assert_eq!(integer(&[0x7f]), Some(127));
        assert_eq!(integer(&[0xff]), Some(-1));
        assert_eq!(integer(&[0, 0x80]), Some(128));
        assert_eq!(integer(&[]), None);
        assert_eq!(integer(&[1; 9]), None);
    }
}
