//! What is looked for in a buffer.
//!
//! The matchers of a group are asked in order over one buffer's bytes. A cursor stands behind what the
//! last one matched: at the start 0; behind the bytes of a content or pcre; where a jump leads; behind
//! the number that byte_test, byte_extract or byte_math read it stays where it was. What is relative
//! counts from the cursor, all else from the buffer's start. If a later relative matcher fails, an
//! earlier content or pcre is tried at its next place (as far as the scanner's bound allows). A negated
//! matcher holds where the positive would not, and leaves the cursor.

use std::fmt;
use std::sync::Arc;

use weir_l7::Buffer;

use super::number::NumberTest;

/// What one buffer must contain.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Which bytes.
    pub place: Place,
    /// What is done to them first, in order.
    pub transforms: Vec<Transform>,
    /// What they must contain; all of it, in order. `Absent` stands alone or first.
    pub matchers: Vec<Matcher>,
}

/// Where bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Content of the connection. [`Buffer::Payload`] where a rule names none.
    Buffer(Buffer),
    /// A header of one packet, as it stands in the packet.
    Header(PacketHeader),
}

impl fmt::Display for Place {
    /// The name that selects it; the payload by its own.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Buffer(Buffer::Payload) => out.pad("payload"),
            place => out.pad(super::keyword::sticky_name(*place)),
        }
    }
}

/// A header of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PacketHeader {
    /// `ipv4.hdr`, with options.
    Ipv4,
    /// `ipv6.hdr`, with extension headers.
    Ipv6,
    /// `tcp.hdr`, with options.
    Tcp,
    /// `udp.hdr`.
    Udp,
    /// `icmpv4.hdr`.
    IcmpV4,
    /// `icmpv6.hdr`.
    IcmpV6,
}

/// What makes other bytes of a buffer before they are looked into.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Transform {
    /// `to_lowercase`.
    ToLowercase,
    /// `to_uppercase`.
    ToUppercase,
    /// `to_md5`: the 16 bytes of the sum.
    ToMd5,
    /// `to_sha1`: 20 bytes.
    ToSha1,
    /// `to_sha256`: 32 bytes.
    ToSha256,
    /// `strip_whitespace`: space, tab, line feed, vertical tab, form feed, carriage return go.
    StripWhitespace,
    /// `compress_whitespace`: of several in a row the first stays.
    CompressWhitespace,
    /// `strip_pseudo_headers`: lines that begin with a colon go.
    StripPseudoHeaders,
    /// `header_lowercase`: the part of each line before the colon in lower case.
    HeaderLowercase,
    /// `dotprefix`: a full stop in front.
    DotPrefix,
    /// `url_decode`: percent decoded, plus is a space.
    UrlDecode,
    /// `xor`.
    Xor {
        /// What the bytes are combined with.
        key: XorKey,
        /// Bytes before this one stay as they are.
        offset: u32,
    },
    /// `subslice`: a part of the buffer.
    Subslice {
        /// Where it begins; below 0 counted from the end.
        offset: i32,
        /// How long it is; below 0: it ends so far before the end; None: up to the end.
        bytes: Option<i32>,
        /// What lies outside the buffer is cut off; else there is nothing.
        truncate: bool,
    },
    /// `from_base64`.
    FromBase64 {
        /// How many bytes of the buffer are read; all where none.
        bytes: Option<u32>,
        /// How many are skipped first.
        offset: u32,
        /// What is taken as base64.
        mode: Base64Mode,
    },
    /// `pcrexform:"…(…)…"`: what the first group captured.
    Capture(Pcre),
    /// `domain`: the registered domain of a name.
    Domain,
    /// `tld`: its public suffix.
    PublicSuffix,
    /// `gunzip`.
    Gunzip {
        /// The most bytes that come out.
        max_bytes: u32,
    },
    /// `zlib_deflate`.
    Inflate {
        /// The most bytes that come out.
        max_bytes: u32,
    },
}

/// What bytes are combined with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum XorKey {
    /// These bytes in turn. Not empty.
    Bytes(Vec<u8>),
    /// Bytes of the buffer itself.
    Within {
        /// Where they begin.
        offset: u32,
        /// How many; above 0.
        bytes: u32,
    },
}

/// What passes as base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Base64Mode {
    /// RFC 4648: padded, ends at the first byte that is none of the alphabet.
    Rfc4648,
    /// RFC 2045: other bytes are skipped.
    Rfc2045,
    /// Nothing else is allowed at all.
    Strict,
}

/// One thing that must hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Matcher {
    /// These bytes.
    Content(Content),
    /// This expression.
    Pcre(Pcre),
    /// That so much follows.
    IsDataAt(IsDataAt),
    /// A number in the bytes.
    ByteTest(ByteTest),
    /// The cursor moves by a number in the bytes.
    ByteJump(ByteJump),
    /// A number is put aside.
    ByteExtract(ByteExtract),
    /// A number, calculated with, is put aside.
    ByteMath(ByteMath),
    /// `bsize`, `urilen`: length of the whole buffer.
    Size(NumberTest),
    /// `dataset`, `datarep`: the whole buffer as a member of a set.
    Dataset(Dataset),
    /// `base64_decode` … `base64_data`: bytes from here, decoded, must contain this.
    Base64(Base64),
    /// `entropy`.
    Entropy(Entropy),
    /// `absent`: there is no such buffer; with `or_else` it may be there if the rest of the group holds.
    Absent {
        /// `or_else`.
        or_else: bool,
    },
}

/// A number: written, or put aside by an earlier matcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// As written.
    Number(i64),
    /// What was put aside there.
    Variable(Slot),
}

impl Value {
    /// The written number.
    pub const fn number(self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(number),
            Self::Variable(_) => None,
        }
    }
}

/// Where a number is put aside: an index into [`super::Rule::variables`], valid for the whole rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(pub u8);

/// `content`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// What is looked for; 1 to 255 bytes or more, never empty.
    pub bytes: Vec<u8>,
    /// Upper and lower case of ASCII are equal.
    pub nocase: bool,
    /// It must not be found in its range.
    pub negated: bool,
    /// Where it may lie.
    pub range: Range,
    /// `endswith`: its last byte is the buffer's last.
    pub at_end: bool,
    /// `fast_pattern`: the author's choice for the prefilter.
    pub fast_pattern: Option<FastPattern>,
}

impl Content {
    /// Whether its place is counted from the buffer's start.
    pub fn counts_from_start(&self) -> bool {
        matches!(self.range, Range::Absolute { offset, depth }
            if depth.is_some() || offset != Value::Number(0))
    }

    /// Whether its place is counted from the cursor.
    pub const fn is_relative(&self) -> bool {
        matches!(self.range, Range::Relative { .. })
    }
}

/// Where a content may lie. It lies in it whole: first and last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Range {
    /// From the buffer's start.
    Absolute {
        /// `offset`: so many bytes are passed over; 0 where nothing is said.
        offset: Value,
        /// `depth`: so many bytes from the offset on are looked at; None: all.
        depth: Option<Value>,
    },
    /// From the cursor.
    Relative {
        /// `distance`: so many bytes are passed over; may be negative; 0 where nothing is said.
        distance: Value,
        /// `within`: so many bytes from the distance on are looked at; None: all.
        within: Option<Value>,
    },
}

impl Range {
    /// Anywhere.
    pub const ANYWHERE: Self = Self::Absolute {
        offset: Value::Number(0),
        depth: None,
    };
}

/// `fast_pattern`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FastPattern {
    /// `only`: it need not be looked for again.
    pub only: bool,
    /// Only this part: first byte and length.
    pub part: Option<(u16, u16)>,
}

/// `pcre`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pcre {
    /// What stands between the slashes; `\/` is left as it is. Bytes, not text: `\xff` is one byte.
    pub expression: String,
    /// i: upper and lower case are equal.
    pub caseless: bool,
    /// s: the full stop matches line ends.
    pub dot_all: bool,
    /// m: `^` and `$` match at lines.
    pub multi_line: bool,
    /// x: white space and comments in it mean nothing.
    pub extended: bool,
    /// A: it begins where looking begins.
    pub anchored: bool,
    /// E: `$` is the very end, not before a last line feed.
    pub dollar_is_end: bool,
    /// G: quantifiers take as little as they can.
    pub ungreedy: bool,
    /// R: looking begins at the cursor.
    pub relative: bool,
    /// It must not match.
    pub negated: bool,
}

/// `isdataat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IsDataAt {
    /// Counted from the start: the buffer is longer than this. From the cursor: so many bytes follow.
    pub at: Value,
    /// From the cursor.
    pub relative: bool,
    /// They must not.
    pub negated: bool,
}

/// A number in the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByteRead {
    /// How many bytes it takes: 1 to 8, written as text up to 23; 0: as many digits as there are.
    pub count: Value,
    /// Where it begins; may be negative if relative.
    pub offset: Value,
    /// Counted from the cursor.
    pub relative: bool,
    /// How it is written.
    pub form: NumberForm,
    /// `bitmask`: these bits, shifted right until the mask's lowest bit is the lowest.
    pub bitmask: Option<u32>,
}

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NumberForm {
    /// Most significant byte first.
    Big,
    /// Least significant byte first.
    Little,
    /// As the header of this DCE/RPC message says.
    Dce,
    /// As text in this base: 8, 10 or 16.
    Text(u8),
}

/// `byte_test`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByteTest {
    /// The number.
    pub read: ByteRead,
    /// How it is compared.
    pub operator: Comparison,
    /// The outcome is turned round; bytes that are not there never hold.
    pub negated: bool,
    /// With what.
    pub value: Value,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `=`
    Equal,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
    /// `&`: they share a bit.
    And,
    /// `^`: they do not share a bit.
    Xor,
}

/// `byte_jump`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByteJump {
    /// The number; its count may be 0: nothing is read, the number is 0.
    pub read: ByteRead,
    /// `multiplier`: the number is multiplied by it; 1 where nothing is said.
    pub multiplier: u32,
    /// `align`: up to the next multiple of 4.
    pub align: bool,
    /// From where it jumps.
    pub from: JumpFrom,
    /// `post_offset`: and so much further; may be negative.
    pub post_offset: Value,
}

/// From where a jump counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JumpFrom {
    /// The end of the number.
    Here,
    /// `from_beginning`: the start of the buffer.
    Beginning,
    /// `from_end`: the end of the buffer.
    End,
}

/// `byte_extract`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByteExtract {
    /// The number.
    pub read: ByteRead,
    /// `multiplier`; 1 where nothing is said.
    pub multiplier: u32,
    /// `align`: up to the next multiple of 2 or 4; 0: not.
    pub align: u8,
    /// Where it is put.
    pub slot: Slot,
}

/// `byte_math`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByteMath {
    /// The number.
    pub read: ByteRead,
    /// What is done.
    pub operator: Arithmetic,
    /// With what. A written divisor is never 0.
    pub value: Value,
    /// Where the result is put.
    pub slot: Slot,
}

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`; by 0 the matcher does not hold.
    Divide,
    /// `<<`
    ShiftLeft,
    /// `>>`
    ShiftRight,
}

/// `dataset` and `datarep`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dataset {
    /// Its name; sets of one name are one set.
    pub name: Arc<str>,
    /// What its members are.
    pub kind: DatasetKind,
    /// What is asked or done.
    pub operation: DatasetOperation,
    /// `load`, `state`: the file that it begins with.
    pub load: Option<Arc<str>>,
    /// `match subdomain`: also if what follows a later full stop, with it, is a member.
    pub subdomains: bool,
}

/// `entropy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entropy {
    /// Of so many bytes; all where none.
    pub bytes: Option<u32>,
    /// Behind so many.
    pub offset: u32,
    /// Bits a byte, in thousandths: 0 to 8,000.
    pub test: NumberTest,
}

/// What members of a set are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DatasetKind {
    /// Any bytes.
    String,
    /// Their MD5.
    Md5,
    /// Their SHA-1.
    Sha1,
    /// Their SHA-256.
    Sha256,
    /// An address.
    Address,
}

/// What is done with a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DatasetOperation {
    /// It must be a member.
    IsSet,
    /// It must not be a member.
    IsNotSet,
    /// It becomes a member; holds always.
    Set,
    /// It is taken out; holds always.
    Unset,
    /// `datarep`: it must be a member with such a reputation.
    Reputation(NumberTest),
}

/// `base64_decode` and what `base64_data` looks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Base64 {
    /// How many bytes are decoded; all where none.
    pub bytes: Option<u32>,
    /// How many are skipped first.
    pub offset: u32,
    /// From the cursor.
    pub relative: bool,
    /// What the decoded bytes must contain; a cursor of their own. Empty: that something decodes.
    pub inside: Vec<Matcher>,
}
