//! Header compression (RFC 7541): from a header block to names and values.
//!
//! Distrusts: indexes, lengths, padding; a block that no decoder could read is a fault. Memory: a
//! string in Huffman code is read into a scratch of [`SCRATCH_BYTES`]; longer ones are counted only.

use std::ops::Range;

use arrayvec::ArrayVec;

use super::huffman;
use super::table::Table;

/// More than a block of the largest size that is read can hold.
const SCRATCH_BYTES: usize = 28 << 10;
/// Bytes of a number beyond its prefix.
const NUMBER_BYTES_MAX: usize = 5;
/// Header fields of one block: more are an attack (the bomb of one indexed field said often).
const FIELDS_MAX: usize = 1_024;

const MALFORMED: &str = "a malformed header block";

/// A name or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text<'a> {
    Bytes(&'a [u8]),
    /// Refers to an entry that was not seen.
    Lost,
    /// Longer than is read.
    TooLong,
}

/// A name and a value in a table.
type Entry<'a> = (&'a [u8], &'a [u8]);

/// Where a string is.
enum Place<'a> {
    Here(&'a [u8]),
    Scratch(Range<usize>),
    Lost,
    TooLong,
}

/// A block that is read, with the table that it refers to.
struct Reader<'b, 't> {
    rest: &'b [u8],
    table: &'t mut Table,
    memory: &'t mut [u8],
    scratch: ArrayVec<u8, SCRATCH_BYTES>,
}

/// Hands every header field of `block` to `take`; `memory` is the table's.
pub(super) fn decode(
    block: &[u8],
    table: &mut Table,
    memory: &mut [u8],
    take: &mut dyn FnMut(Text<'_>, Text<'_>) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    let mut reader = Reader {
        rest: block,
        table,
        memory,
        scratch: ArrayVec::new(),
    };
    let mut fields = 0;
    while let Some(&first) = reader.rest.first() {
        if first & 0xe0 == 0x20 {
            let size = reader.number(5).ok_or(MALFORMED)?;
            if fields > 0 {
                return Err("a header table resized amid a block");
            }
            reader.table.resize(reader.memory, size);
            continue;
        }
        fields += 1;
        if fields > FIELDS_MAX {
            return Err("more header fields than anybody needs");
        }
        match first {
            0x80.. => reader.indexed(take)?,
            0x40.. => reader.literal(6, true, take)?,
            _ => reader.literal(4, false, take)?,
        }
    }
    Ok(())
}

impl<'b> Reader<'b, '_> {
    fn indexed(
        &mut self,
        take: &mut dyn FnMut(Text<'_>, Text<'_>) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        let index = self.number(7).filter(|&index| index > 0).ok_or(MALFORMED)?;
        match self.entry(index)? {
            Some((name, value)) => take(Text::Bytes(name), Text::Bytes(value)),
            None => take(Text::Lost, Text::Lost),
        }
    }

    fn literal(
        &mut self,
        prefix_bits: u32,
        keep: bool,
        take: &mut dyn FnMut(Text<'_>, Text<'_>) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        let index = self.number(prefix_bits).ok_or(MALFORMED)?;
        self.scratch.clear();
        let name = match index {
            0 => self.string().ok_or(MALFORMED)?,
            _ => self.name(index)?,
        };
        let value = self.string().ok_or(MALFORMED)?;
        let scratch = &self.scratch;
        let text = |place| match place {
            Place::Here(bytes) => Text::Bytes(bytes),
            Place::Scratch(range) => scratch.get(range).map_or(Text::TooLong, Text::Bytes),
            Place::Lost => Text::Lost,
            Place::TooLong => Text::TooLong,
        };
        let (name, value) = (text(name), text(value));
        take(name, value)?;
        if !keep {
            return Ok(());
        }
        match (name, value) {
            (Text::Bytes(name), Text::Bytes(value)) => self.table.insert(self.memory, name, value),
            _ => self.table.forget(),
        }
        Ok(())
    }

    /// The entry of an index; none where it was not seen.
    fn entry(&self, index: u32) -> Result<Option<Entry<'_>>, &'static str> {
        let place = index.checked_sub(1).ok_or(MALFORMED)?;
        if let Some(&entry) = STATIC.get(place as usize) {
            return Ok(Some(entry));
        }
        match self.table.get(self.memory, place - STATIC.len() as u32) {
            None if !self.table.is_lossy() => Err("a header index that nobody gave"),
            entry => Ok(entry),
        }
    }

    /// The name of an index, out of the way of what the table does next.
    fn name(&mut self, index: u32) -> Result<Place<'b>, &'static str> {
        if let Some(&(name, _)) = STATIC.get(index as usize - 1) {
            return Ok(Place::Here(name));
        }
        let mut copy = ArrayVec::<u8, SCRATCH_BYTES>::new();
        match self.entry(index)? {
            None => return Ok(Place::Lost),
            Some((name, _)) if copy.try_extend_from_slice(name).is_err() => {
                return Ok(Place::TooLong);
            }
            Some(_) => {}
        }
        self.scratch = copy;
        Ok(Place::Scratch(0..self.scratch.len()))
    }

    /// RFC 7541, 5.1.
    fn number(&mut self, prefix_bits: u32) -> Option<u32> {
        let (&first, mut rest) = self.rest.split_first()?;
        let most = (1_u32 << prefix_bits) - 1;
        let mut number = u32::from(first) & most;
        if number == most {
            for place in 0..NUMBER_BYTES_MAX {
                let (&byte, after) = rest.split_first()?;
                rest = after;
                let digits = u64::from(byte & 0x7f) << (7 * place);
                number = u32::try_from(digits).ok()?.checked_add(number)?;
                if byte & 0x80 == 0 {
                    self.rest = rest;
                    return Some(number);
                }
            }
            return None;
        }
        self.rest = rest;
        Some(number)
    }

    /// RFC 7541, 5.2.
    fn string(&mut self) -> Option<Place<'b>> {
        let coded = self.rest.first()? & 0x80 != 0;
        let length = self.number(7)?;
        let (text, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        if !coded {
            return Some(Place::Here(text));
        }
        let start = self.scratch.len();
        let mut whole = true;
        let scratch = &mut self.scratch;
        huffman::decode(text, |byte| whole &= scratch.try_push(byte).is_ok())?;
        Some(match whole {
            true => Place::Scratch(start..self.scratch.len()),
            false => Place::TooLong,
        })
    }
}

/// RFC 7541, appendix A.
#[rustfmt::skip]
static STATIC: [Entry<'static>; 61] = [
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
];

#[cfg(test)]
mod tests;
