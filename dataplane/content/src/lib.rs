//! From what travels to what the application reads.
//!
//! An attacker chooses how a payload is written down: compressed, in parts, percent signs, entities,
//! escapes, base64. What is inspected has to be what the receiver will read, or a word list is all it
//! takes to pass. Everything here is total (any bytes give some answer), bounded, and gives the same
//! bytes whichever way the input was cut into pieces.
//!
//! * [`Decoders`]: the contents of messages, piece by piece, as [`Part`]s.
//! * [`transform`]: one buffer in, one buffer out; for rules, detectors and sensors.
//! * [`piecewise`]: the decoders of text below both, which go on where a piece ends.
//!
//! # Memory
//!
//! [`Decoders::new`] reserves all there is; [`Decoders::memory_bytes`] says how much. A message that
//! finds no decoder free is told to be [`Outcome::Undecoded`], which is for the caller to judge.

mod coding;
mod decoders;
mod message;
mod mime;
mod part;
pub mod piecewise;
mod readers;
pub mod transform;

pub use decoders::{ContentId, Decoders};

/// What decoding may cost, per worker and per message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Messages at the same time.
    pub messages: usize,
    /// Codings gzip and deflate at the same time; 43 KiB each.
    pub inflate: usize,
    /// Codings br at the same time; up to 3.4 MiB each, and their windows.
    pub brotli: usize,
    /// What the windows of all br may take together, roughly.
    pub brotli_window_bytes: usize,
    /// Codings zstd at the same time; a window each.
    pub zstd: usize,
    /// The largest window of a zstd; larger ones are not decoded.
    pub zstd_window_bytes: usize,
    /// A message may become so many times as large …
    pub ratio: u32,
    /// … once it is larger than this; beyond it is a bomb.
    pub ratio_from_bytes: u64,
    /// What a coded message may become at all; what follows is not decoded.
    pub decoded_bytes: u64,
}

impl Limits {
    /// What one worker usually has.
    pub const DEFAULT: Self = Self {
        messages: 512,
        inflate: 256,
        brotli: 32,
        brotli_window_bytes: 64 << 20,
        zstd: 16,
        zstd_window_bytes: 8 << 20,
        ratio: 200,
        ratio_from_bytes: 64 << 10,
        decoded_bytes: 64 << 20,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How a message describes its content; empty where it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form<'a> {
    /// The value of Content-Encoding: names, separated by commas, in the order applied.
    pub coding: &'a [u8],
    /// The value of Content-Type.
    pub media_type: &'a [u8],
}

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartKind {
    /// The whole content without its codings.
    Body,
    /// A key of JSON.
    Key,
    /// The value of a form's field, of a string or number in JSON, of a part that is no file.
    Field,
    /// A header line's value, of mail.
    Header,
    /// Text for people: markup with its references resolved, UTF-16 as UTF-8, a part of a mail.
    Text,
    /// A file in a form, or an attachment.
    File,
}

/// A piece of decoded content. Pieces of one part follow each other, only [`PartKind::Body`] goes on
/// beside all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// What it is a piece of.
    pub kind: PartKind,
    /// The name of the field, file or header line; cut to [`NAME_BYTES`].
    pub name: &'a [u8],
    /// The next bytes.
    pub bytes: &'a [u8],
    /// The part begins here.
    pub begins: bool,
    /// The part ends here.
    pub ends: bool,
}

/// So much of a name is told.
pub const NAME_BYTES: usize = 128;

/// Takes decoded parts.
pub trait Sink {
    /// The next piece.
    fn part(&mut self, part: &Part<'_>);

    /// Whether anything but the body is looked at; the answer holds for a whole message.
    fn wants_parts(&self) -> bool {
        true
    }

    /// Whether fields and texts are looked at, of which a content without attachments consists; the answer holds for a
    /// whole message.
    fn wants_fields(&self) -> bool {
        true
    }
}

impl<F: FnMut(&Part<'_>)> Sink for F {
    fn part(&mut self, part: &Part<'_>) {
        self(part);
    }
}

/// What became of a piece. All but [`Outcome::More`] are told once; then it is [`Outcome::Over`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it was decoded, and more may follow.
    More,
    /// The content ended as it should.
    Whole,
    /// The content cannot be decoded, for this reason; what was decoded before it was given.
    Undecoded(&'static str),
    /// It grows beyond [`Limits::ratio`].
    Bomb,
    /// It reached [`Limits::decoded_bytes`].
    Limit,
    /// It is not what it says it is; what was decoded before that was given. Where that shows in the first
    /// 4 KiB, the content was given as it stands as well, and this is told at its end.
    Corrupt(&'static str),
    /// It is over already.
    Over,
}
