//! The readings of a value: as it came, and as the layers behind will decode it.
//!
//! Applications decode more often than their makers think: the server once, the framework again, a
//! filter a third time. So each decoder that changes a value gives a reading of its own, until nothing
//! changes any more. A value without any escape has one reading and costs one look at its bytes.
//!
//! Trusts nothing. Bounds: [`FORM_BYTES`] a reading, [`MAX_FORMS`] readings; two buffers, made once.

use memchr::memmem;
use weir_content::piecewise::PercentRules;
use weir_content::transform::{
    Written, entities_decode, escapes_decode, percent_decode, utf8_canonical,
};

/// Longest value that is read in one piece.
pub(super) const FORM_BYTES: usize = 8 << 10;
/// Most readings of one value.
const MAX_FORMS: usize = 16;
/// Times that the decoders are tried in turn.
const MAX_ROUNDS: usize = 5;

/// What bytes a value has: which detectors need not look at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bytes(u32);

impl Bytes {
    pub(super) const QUOTE: Self = Self(1);
    pub(super) const BLANK: Self = Self(1 << 1);
    pub(super) const PARENTHESIS: Self = Self(1 << 2);
    /// `; | & \n` and the backtick.
    pub(super) const SEPARATOR: Self = Self(1 << 3);
    pub(super) const ANGLE: Self = Self(1 << 4);
    pub(super) const BRACE: Self = Self(1 << 5);
    pub(super) const DOLLAR: Self = Self(1 << 6);
    pub(super) const SLASH: Self = Self(1 << 7);
    pub(super) const COLON: Self = Self(1 << 8);
    pub(super) const EQUALS: Self = Self(1 << 9);
    pub(super) const PERCENT: Self = Self(1 << 10);
    pub(super) const AMPERSAND: Self = Self(1 << 11);
    pub(super) const BACKSLASH: Self = Self(1 << 12);
    pub(super) const PLUS: Self = Self(1 << 13);
    pub(super) const FOREIGN: Self = Self(1 << 14);
    pub(super) const DOT: Self = Self(1 << 15);
    pub(super) const STAR: Self = Self(1 << 16);

    /// One pass over the value: a load, a table look-up and an *or* a byte.
    pub(super) fn of(value: &[u8]) -> Self {
        Self(
            value
                .iter()
                .fold(0, |all, byte| all | CLASSES[usize::from(*byte)]),
        )
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether one of `other` is there.
    pub(super) const fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

static CLASSES: [u32; 256] = classes();

const fn classes() -> [u32; 256] {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = class(byte as u8).0;
        byte += 1;
    }
    classes
}

const fn class(byte: u8) -> Bytes {
    match byte {
        b'\'' | b'"' => Bytes::QUOTE,
        b'`' => Bytes::QUOTE.or(Bytes::SEPARATOR),
        b'\n' | b'\r' => Bytes::BLANK.or(Bytes::SEPARATOR),
        0..=b' ' => Bytes::BLANK,
        b'(' | b')' => Bytes::PARENTHESIS,
        b'|' | b';' => Bytes::SEPARATOR,
        b'&' => Bytes::SEPARATOR.or(Bytes::AMPERSAND),
        b'<' | b'>' => Bytes::ANGLE,
        b'{' | b'}' | b'[' => Bytes::BRACE,
        b'$' => Bytes::DOLLAR,
        b'/' => Bytes::SLASH,
        b'\\' => Bytes::BACKSLASH.or(Bytes::SLASH),
        b':' => Bytes::COLON,
        b'=' => Bytes::EQUALS,
        b'%' => Bytes::PERCENT,
        b'+' => Bytes::PLUS,
        b'.' => Bytes::DOT,
        b'*' => Bytes::STAR,
        0x80..=0xff => Bytes::FOREIGN,
        _ => Bytes(0),
    }
}

/// Where readings are written.
pub(super) struct Forms {
    front: Box<[u8]>,
    back: Box<[u8]>,
}

impl Forms {
    pub(super) fn new() -> Self {
        Self {
            front: vec![0; FORM_BYTES].into_boxed_slice(),
            back: vec![0; FORM_BYTES].into_boxed_slice(),
        }
    }

    /// Hands every reading of `value` to `judge`, until it says that it has seen enough.
    pub(super) fn each(&mut self, value: &[u8], mut judge: impl FnMut(&[u8], Bytes) -> bool) {
        let value = value.get(..FORM_BYTES).unwrap_or(value);
        let mut bytes = Bytes::of(value);
        if judge(value, bytes) || !bytes.any(ENCODED) {
            return;
        }
        let mut length = value.len();
        self.front[..length].copy_from_slice(value);
        let mut forms = 1;
        for round in 0..MAX_ROUNDS {
            let mut changed = false;
            for decoder in DECODERS {
                if !bytes.any(decoder.needs) || (decoder.once && round > 0) {
                    continue;
                }
                let written = (decoder.decode)(&self.front[..length], &mut self.back);
                if !written.changed {
                    continue;
                }
                changed = true;
                std::mem::swap(&mut self.front, &mut self.back);
                length = written.length;
                bytes = Bytes::of(&self.front[..length]);
                forms += 1;
                if judge(&self.front[..length], bytes) || forms == MAX_FORMS {
                    return;
                }
            }
            if !changed {
                return;
            }
        }
    }
}

const ENCODED: Bytes = Bytes::PERCENT
    .or(Bytes::AMPERSAND)
    .or(Bytes::BACKSLASH)
    .or(Bytes::PLUS)
    .or(Bytes::FOREIGN)
    .or(Bytes::STAR);

struct Decoder {
    needs: Bytes,
    /// A plus is a space in one layer only.
    once: bool,
    decode: fn(&[u8], &mut [u8]) -> Written,
}

const DECODERS: [Decoder; 7] = [
    Decoder {
        needs: Bytes::PLUS,
        once: true,
        decode: plus,
    },
    Decoder {
        needs: Bytes::PERCENT,
        once: false,
        decode: percent,
    },
    Decoder {
        needs: Bytes::FOREIGN,
        once: false,
        decode: utf8_canonical,
    },
    Decoder {
        needs: Bytes::FOREIGN,
        once: false,
        decode: fold,
    },
    Decoder {
        needs: Bytes::AMPERSAND,
        once: false,
        decode: entities_decode,
    },
    Decoder {
        needs: Bytes::BACKSLASH,
        once: true,
        decode: escapes_decode,
    },
    Decoder {
        needs: Bytes::STAR,
        once: false,
        decode: without_comments,
    },
];

fn percent(value: &[u8], out: &mut [u8]) -> Written {
    let rules = PercentRules {
        plus_is_space: false,
        unicode: true,
    };
    percent_decode(value, rules, out)
}

/// `un/**/ion`: filters that remove comments join what stood around them.
fn without_comments(value: &[u8], out: &mut [u8]) -> Written {
    let (mut rest, mut length) = (value, 0);
    let mut copy = |bytes: &[u8]| {
        let room = out.get_mut(length..).unwrap_or_default();
        let taken = bytes.len().min(room.len());
        room[..taken].copy_from_slice(&bytes[..taken]);
        length += taken;
    };
    while let Some(start) = memmem::find(rest, b"/*") {
        let Some(end) = memmem::find(&rest[start + 2..], b"*/") else {
            break;
        };
        copy(&rest[..start]);
        let behind = start + 2 + end + 2;
        // What MySQL runs is no comment.
        if rest[start + 2] == b'!' {
            copy(&rest[start..behind]);
        }
        rest = &rest[behind..];
    }
    copy(rest);
    Written {
        length,
        cut: false,
        changed: length != value.len(),
    }
}

fn plus(value: &[u8], out: &mut [u8]) -> Written {
    let mut changed = false;
    for (from, to) in value.iter().zip(out.iter_mut()) {
        *to = if *from == b'+' { b' ' } else { *from };
        changed |= *from == b'+';
    }
    Written {
        length: value.len().min(out.len()),
        cut: false,
        changed,
    }
}

/// Characters that some layer takes for one of ASCII: full-width forms, typographic quotes, digits in
/// circles, the full stops of other scripts.
fn fold(value: &[u8], out: &mut [u8]) -> Written {
    let (mut at, mut length, mut changed) = (0, 0, false);
    while let Some(&byte) = value.get(at) {
        let (folded, taken) = match value.get(at..).unwrap_or_default() {
            [0xef, 0xbc, low @ 0x81..=0xbf, ..] => (low - 0x60, 3),
            [0xef, 0xbd, low @ 0x80..=0x9e, ..] => (low - 0x20, 3),
            [0xe2, 0x80, 0x98 | 0x99 | 0xb2, ..] => (b'\'', 3),
            [0xca, 0xb9 | 0xbc, ..] => (b'\'', 2),
            [0xe2, 0x80, 0x9c | 0x9d | 0xb3, ..] => (b'"', 3),
            [0xe2, 0x91, low @ 0xa0..=0xa8, ..] => (low - 0xa0 + b'1', 3),
            [0xe2, 0x93, 0xaa, ..] => (b'0', 3),
            [0xe2, 0x88, 0x95, ..] | [0xe2, 0x81, 0x84, ..] => (b'/', 3),
            [0xe2, 0x88, 0x96, ..] => (b'\\', 3),
            [0xe3, 0x80, 0x82, ..] | [0xef, 0xbd, 0xa1, ..] => (b'.', 3),
            _ => (byte, 1),
        };
        changed |= taken > 1;
        at += taken;
        if let Some(place) = out.get_mut(length) {
            *place = folded;
            length += 1;
        }
    }
    Written {
        length,
        cut: false,
        changed,
    }
}
