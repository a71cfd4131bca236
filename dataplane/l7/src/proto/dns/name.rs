//! Names, numbers and the words people use for them (RFC 1035, 3 and 4; IANA DNS Parameters).

use std::ops::Range;

use arrayvec::ArrayVec;

use crate::read::cursor::Cursor;
use crate::violation;

/// A name on the wire, with the length bytes and the root (RFC 1035, 2.3.4).
const WIRE_BYTES_MAX: usize = 255;
/// Twice that, since a dot within a label is written with a backslash.
pub(super) const NAME_BYTES_MAX: usize = 2 * WIRE_BYTES_MAX;

/// Pointers that a name is followed over: senders use one or two.
const POINTERS_MAX: usize = 16;
/// Pointers without a label between them: no sender has use for one.
const IDLE_POINTERS_MAX: usize = 3;

/// A name as text.
pub(super) type Name = ArrayVec<u8, NAME_BYTES_MAX>;

/// Passes over a name. None: it is malformed.
pub(super) fn skip(cursor: &mut Cursor<'_>) -> Option<()> {
    let mut length = 0;
    loop {
        match cursor.u8()? {
            0 => return Some(()),
            label @ 1..=63 => {
                cursor.take(label.into())?;
                length += usize::from(label) + 1;
                if length >= WIRE_BYTES_MAX {
                    return None;
                }
            }
            0xc0.. => return cursor.u8().map(|_| ()),
            _ => return None,
        }
    }
}

/// Reads the name at `at` as lower-case text without final dot; the root is ".". A dot or
/// backslash within a label gets a backslash before it (RFC 1035, 5.1), so that no label can
/// pass for several. Compression pointers only lead backwards, so that no name is a loop.
pub(super) fn read(message: &[u8], at: usize, text: &mut Name) -> Option<()> {
    text.clear();
    append(message, at, text).map(|_| ())
}

/// As [`read`], behind what `text` holds; returns where it lies there.
pub(super) fn append<const ROOM: usize>(
    message: &[u8],
    at: usize,
    text: &mut ArrayVec<u8, ROOM>,
) -> Option<Range<usize>> {
    let start = text.len();
    if plain(message, at, text).is_some() {
        return Some(start..text.len());
    }
    labels(message, at, |label| {
        if text.len() > start {
            text.try_push(b'.').ok()?;
        }
        push(label, text)
    })
    .ok()?;
    if text.len() == start {
        text.try_push(b'.').ok()?;
    }
    (text.len() - start <= NAME_BYTES_MAX).then_some(start..text.len())
}

/// The usual name: without a pointer but at its front, nothing to escape, all in one copy. Nothing is said of
/// others. A third of what label by label costs; 4 % of the instructions of new flows, half of them DNS.
fn plain<const ROOM: usize>(
    message: &[u8],
    at: usize,
    text: &mut ArrayVec<u8, ROOM>,
) -> Option<()> {
    let at = match *message.get(at)? {
        high @ 0xc0.. => {
            let target = u16::from_be_bytes([high & 0x3f, *message.get(at + 1)?]);
            Some(usize::from(target)).filter(|&target| target < at)?
        }
        _ => at,
    };
    let mut end = at;
    while let label @ 1..=63 = *message.get(end)? {
        end += usize::from(label) + 1;
        if end - at >= WIRE_BYTES_MAX {
            return None;
        }
    }
    if end == at || message.get(end) != Some(&0) {
        return None;
    }
    let run = message.get(at + 1..end)?;
    let escaped = run
        .iter()
        .fold(false, |any, &byte| any | (byte == b'.') | (byte == b'\\'));
    if escaped {
        return None;
    }
    let start = text.len();
    text.try_extend_from_slice(run).ok()?;
    let copy = text.get_mut(start..)?;
    // The lengths between the labels are no letters.
    copy.make_ascii_lowercase();
    let mut next = usize::from(*message.get(at)?);
    while let Some(length) = copy.get_mut(next) {
        next += usize::from(std::mem::replace(length, b'.')) + 1;
    }
    Some(())
}

/// What is wrong with the name at `at`.
pub(super) fn judge(message: &[u8], at: usize) -> Result<(), &'static str> {
    labels(message, at, |_| Some(()))
}

/// Hands over each label of the name at `at`.
fn labels(
    message: &[u8],
    at: usize,
    mut take: impl FnMut(&[u8]) -> Option<()>,
) -> Result<(), &'static str> {
    const MALFORMED: &str = violation::DNS_MALFORMED;
    let mut cursor = Cursor::new(message.get(at..).ok_or(MALFORMED)?);
    let mut start = at;
    let mut length = 0;
    let (mut pointers, mut idle) = (0, 0);
    loop {
        match cursor.u8().ok_or(MALFORMED)? {
            0 => return Ok(()),
            label @ 1..=63 => {
                length += usize::from(label) + 1;
                if length >= WIRE_BYTES_MAX {
                    return Err(violation::DNS_LONG_NAME);
                }
                idle = 0;
                let label = cursor.take(label.into()).ok_or(MALFORMED)?;
                take(label).ok_or(MALFORMED)?;
            }
            high @ 0xc0.. => {
                let low = cursor.u8().ok_or(MALFORMED)?;
                let target = usize::from(u16::from_be_bytes([high & 0x3f, low]));
                if target >= start {
                    return Err(violation::DNS_LOOP);
                }
                pointers += 1;
                idle += 1;
                if pointers > POINTERS_MAX || idle > IDLE_POINTERS_MAX {
                    return Err(violation::DNS_DEEP);
                }
                start = target;
                cursor = Cursor::new(message.get(target..).ok_or(MALFORMED)?);
            }
            _ => return Err(MALFORMED),
        }
    }
}

fn push<const ROOM: usize>(label: &[u8], text: &mut ArrayVec<u8, ROOM>) -> Option<()> {
    for byte in label {
        if matches!(byte, b'.' | b'\\') {
            text.try_push(b'\\').ok()?;
        }
        text.try_push(byte.to_ascii_lowercase()).ok()?;
    }
    Some(())
}

/// A word for a number, or the number behind a prefix as RFC 3597 writes it.
pub(super) fn word(known: Option<&'static str>, prefix: &str, number: u16) -> ArrayVec<u8, 12> {
    let mut word = ArrayVec::new();
    if known.is_some_and(|known| word.try_extend_from_slice(known.as_bytes()).is_ok()) {
        return word;
    }
    word.extend(prefix.bytes().take(6));
    let digits = [10_000, 1_000, 100, 10, 1].map(|scale| number / scale % 10);
    let zeros = digits
        .iter()
        .take(4)
        .take_while(|&&digit| digit == 0)
        .count();
    word.extend(digits[zeros..].iter().map(|&digit| b'0' + digit as u8));
    word
}

/// Types asked for most, which are looked at first.
const USUAL_TYPES: [u16; 8] = [1, 28, 65, 12, 15, 16, 33, 2];

/// The number that a record type's name stands for, as it is told: `AAAA`, `TYPE65280`.
pub fn record_type_number(word: &[u8]) -> Option<u16> {
    let named = |&number: &u16| record_type(number).is_some_and(|name| name.as_bytes() == word);
    let mut known = USUAL_TYPES
        .into_iter()
        .chain(1..=260)
        .chain(32_768..=32_769);
    numbered(word, "TYPE").or_else(|| known.find(named))
}

/// As [`record_type_number`], of a code of an answer.
pub fn rcode_number(word: &[u8]) -> Option<u16> {
    let named = |&number: &u16| rcode(number).is_some_and(|name| name.as_bytes() == word);
    numbered(word, "RCODE").or_else(|| (0..=23).find(named))
}

/// As [`record_type_number`], of a kind of query.
pub fn opcode_number(word: &[u8]) -> Option<u16> {
    let named = |&number: &u16| opcode(number).is_some_and(|name| name.as_bytes() == word);
    numbered(word, "OPCODE").or_else(|| (0..=15).find(named))
}

/// The number in a word that is none of the known ones.
fn numbered(word: &[u8], prefix: &str) -> Option<u16> {
    let digits = word.strip_prefix(prefix.as_bytes())?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

pub(super) fn opcode(number: u16) -> Option<&'static str> {
    Some(match number {
        0 => "QUERY",
        1 => "IQUERY",
        2 => "STATUS",
        4 => "NOTIFY",
        5 => "UPDATE",
        6 => "DSO",
        _ => return None,
    })
}

pub(super) fn rcode(number: u16) -> Option<&'static str> {
    Some(match number {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        11 => "DSOTYPENI",
        16 => "BADVERS",
        23 => "BADCOOKIE",
        _ => return None,
    })
}

pub(super) fn record_type(number: u16) -> Option<&'static str> {
    Some(match number {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        10 => "NULL",
        12 => "PTR",
        13 => "HINFO",
        15 => "MX",
        16 => "TXT",
        17 => "RP",
        18 => "AFSDB",
        24 => "SIG",
        25 => "KEY",
        28 => "AAAA",
        29 => "LOC",
        33 => "SRV",
        35 => "NAPTR",
        37 => "CERT",
        39 => "DNAME",
        41 => "OPT",
        43 => "DS",
        44 => "SSHFP",
        46 => "RRSIG",
        47 => "NSEC",
        48 => "DNSKEY",
        50 => "NSEC3",
        51 => "NSEC3PARAM",
        52 => "TLSA",
        53 => "SMIMEA",
        59 => "CDS",
        60 => "CDNSKEY",
        61 => "OPENPGPKEY",
        62 => "CSYNC",
        63 => "ZONEMD",
        64 => "SVCB",
        65 => "HTTPS",
        99 => "SPF",
        249 => "TKEY",
        250 => "TSIG",
        251 => "IXFR",
        252 => "AXFR",
        255 => "ANY",
        256 => "URI",
        257 => "CAA",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(message: &[u8], at: usize) -> Option<String> {
        let mut name = Name::new();
        read(message, at, &mut name)?;
        Some(String::from_utf8_lossy(&name).into_owned())
    }

    #[test]
    fn reads_compressed_names() {
        let message = b"\x03COM\x00\x07Example\xc0\x00\x03www\xc0\x05";
        assert_eq!(text(message, 15).as_deref(), Some("www.example.com"));
        assert_eq!(text(message, 4).as_deref(), Some("."));
    }

    #[test]
    fn no_name_is_followed_over_many_pointers() {
        let mut message = b"\x01a\x00".to_vec();
        for hop in 0..=IDLE_POINTERS_MAX as u16 {
            let target = if hop == 0 { 0 } else { 1 + 2 * hop };
            message.extend((0xc000 | target).to_be_bytes());
        }
        let last = message.len() - 2;
        assert_eq!(text(&message, last - 2).as_deref(), Some("a"));
        assert_eq!(judge(&message, last), Err(violation::DNS_DEEP));
    }

    #[test]
    fn a_label_cannot_pass_for_several() {
        assert_eq!(text(b"\x05a.b\\c\x00", 0).as_deref(), Some("a\\.b\\\\c"));
    }

    #[test]
    fn loops_and_forward_pointers_are_refused() {
        assert_eq!(text(b"\xc0\x00", 0), None);
        assert_eq!(text(b"\x01a\xc0\x00", 0), None);
        assert_eq!(text(b"\xc0\x02\x01a\x00", 0), None);
        assert_eq!(text(b"\x01a\xc0\x00\x01b\xc0\x02", 4), None);
    }

    #[test]
    fn the_longest_name_is_read_and_no_longer_one() {
        let mut message = Vec::new();
        for length in [63, 63, 63, 61] {
            message.push(length);
            message.extend(vec![b'.'; usize::from(length)]);
        }
        message.push(0);
        assert_eq!(message.len(), WIRE_BYTES_MAX);
        assert_eq!(text(&message, 0).map(|name| name.len()), Some(2 * 250 + 3));
        message[192] = 62;
        message.push(0);
        assert_eq!(text(&message, 0), None);
    }

    #[test]
    fn unknown_numbers_are_written_out() {
        assert_eq!(word(None, "TYPE", 65_280).as_slice(), b"TYPE65280");
        assert_eq!(word(None, "TYPE", 0).as_slice(), b"TYPE0");
        for number in 0..=u16::MAX {
            let told = word(record_type(number), "TYPE", number);
            assert_eq!(record_type_number(&told), Some(number));
        }
        for number in 0..=4095 {
            let told = word(rcode(number), "RCODE", number);
            assert_eq!(rcode_number(&told), Some(number));
        }
        assert_eq!(opcode_number(b"UPDATE"), Some(5));
        assert_eq!(word(Some("AAAA"), "TYPE", 28).as_slice(), b"AAAA");
    }
}
