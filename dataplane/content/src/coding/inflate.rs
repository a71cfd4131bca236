//! gzip (RFC 1952) and what is called deflate: zlib (RFC 1950) by the standard, raw (RFC 1951) by many
//! servers. Both are read by what their first bytes are, as browsers do.
//!
//! 43 KiB each: the tables of the decoder and the window, out of which bytes are given without copying.

use std::ops::ControlFlow;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use super::Out;
use crate::Outcome;

const WINDOW_BYTES: usize = 32 << 10;

const HEADER_CRC: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;

/// What stands around the compressed data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Gzip,
    Deflate,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Of the fixed part of gzip's header.
    Header(u8),
    /// The low byte of the length of the extra field, then the high byte.
    ExtraLow,
    ExtraHigh(u8),
    Extra(u16),
    Name,
    Comment,
    HeaderCrc(u8),
    /// Of the header of zlib, if there is one.
    Zlib,
    ZlibSecond(u8),
    Data,
    Trailer(u8),
    /// After a member: another one, or nothing.
    Between,
    BetweenSecond,
    /// Content that was never compressed, as it stands.
    Plain,
    /// Nothing that a receiver reads.
    Garbage,
}

/// Undoes gzip and deflate.
pub(crate) struct Inflate {
    decoder: DecompressorOxide,
    window: [u8; WINDOW_BYTES],
    at: usize,
    framing: Framing,
    place: Place,
    flags: u8,
}

impl Inflate {
    pub(crate) fn boxed() -> Box<Self> {
        Box::new(Self {
            decoder: DecompressorOxide::new(),
            window: [0; WINDOW_BYTES],
            at: 0,
            framing: Framing::Gzip,
            place: Place::Header(0),
            flags: 0,
        })
    }

    /// Gets ready for another message.
    pub(crate) fn begin(&mut self, framing: Framing) {
        self.framing = framing;
        self.place = match framing {
            Framing::Gzip => Place::Header(0),
            Framing::Deflate => Place::Zlib,
        };
        self.begin_data();
    }

    /// Another stream of compressed data; what a distance may reach must not be an older message.
    fn begin_data(&mut self) {
        self.decoder.init();
        self.window.fill(0);
        self.at = 0;
    }

    /// Whether the input may end here.
    pub(crate) fn is_whole(&self) -> bool {
        match self.place {
            Place::Between | Place::Plain | Place::Garbage => true,
            // Only the checksum is missing, or all of it.
            Place::Header(0) | Place::Zlib | Place::Trailer(_) => true,
            _ => false,
        }
    }

    pub(crate) fn piece(&mut self, input: &[u8], out: &mut Out<'_>) -> ControlFlow<Outcome> {
        let mut rest = input;
        while let Some(byte) = rest.first() {
            match self.place {
                Place::Garbage => break,
                Place::Plain => return out(rest),
                Place::Data => rest = self.data(rest, out)?,
                Place::Extra(left) => {
                    let skipped = rest.len().min(left.into());
                    self.place = match usize::from(left) - skipped {
                        0 => self.after(EXTRA),
                        left => Place::Extra(left as u16),
                    };
                    rest = rest.get(skipped..).unwrap_or_default();
                }
                _ => {
                    let byte = *byte;
                    rest = rest.get(1..).unwrap_or_default();
                    self.place = self.step(byte, out)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// One byte of what stands around the data.
    fn step(&mut self, byte: u8, out: &mut Out<'_>) -> ControlFlow<Outcome, Place> {
        ControlFlow::Continue(match self.place {
            // What does not begin as gzip is shown as it is.
            Place::Header(0) if byte != 0x1f => {
                out(&[byte])?;
                Place::Plain
            }
            Place::Header(1) if byte != 0x8b => {
                out(&[0x1f, byte])?;
                Place::Plain
            }
            Place::Header(2) if byte != 8 => return wrong("method of gzip"),
            Place::Header(3) if byte & 0xe0 != 0 => return wrong("flags of gzip"),
            Place::Header(at) => {
                if at == 3 {
                    self.flags = byte;
                }
                match at {
                    9 => self.after(0),
                    _ => Place::Header(at + 1),
                }
            }
            Place::ExtraLow => Place::ExtraHigh(byte),
            Place::ExtraHigh(low) => match u16::from_le_bytes([low, byte]) {
                0 => self.after(EXTRA),
                length => Place::Extra(length),
            },
            Place::Name if byte == 0 => self.after(NAME),
            Place::Comment if byte == 0 => self.after(COMMENT),
            Place::HeaderCrc(0) => Place::HeaderCrc(1),
            Place::HeaderCrc(_) => Place::Data,
            Place::Zlib => return self.zlib_first(byte, out),
            Place::ZlibSecond(first) => return self.zlib_second(first, byte, out),
            Place::Trailer(left) if left > 1 => Place::Trailer(left - 1),
            Place::Trailer(_) if self.framing == Framing::Gzip => Place::Between,
            Place::Trailer(_) => Place::Garbage,
            Place::Between if byte == 0x1f => Place::BetweenSecond,
            Place::BetweenSecond if byte == 0x8b => {
                self.begin_data();
                Place::Header(2)
            }
            Place::Between | Place::BetweenSecond => Place::Garbage,
            place => place,
        })
    }

    /// What follows a part of gzip's header: the next one that its flags name.
    fn after(&self, part: u8) -> Place {
        let parts = [EXTRA, NAME, COMMENT, HEADER_CRC];
        let next = match parts.iter().position(|known| *known == part) {
            Some(at) => parts.get(at + 1..).unwrap_or_default(),
            None => &parts,
        };
        match next.iter().find(|part| self.flags & **part != 0) {
            Some(&EXTRA) => Place::ExtraLow,
            Some(&NAME) => Place::Name,
            Some(&COMMENT) => Place::Comment,
            Some(_) => Place::HeaderCrc(0),
            None => Place::Data,
        }
    }

    fn zlib_first(&mut self, byte: u8, out: &mut Out<'_>) -> ControlFlow<Outcome, Place> {
        if byte & 0x0f == 8 && byte >> 4 <= 7 {
            return ControlFlow::Continue(Place::ZlibSecond(byte));
        }
        self.raw(&[byte], out)
    }

    fn zlib_second(
        &mut self,
        first: u8,
        byte: u8,
        out: &mut Out<'_>,
    ) -> ControlFlow<Outcome, Place> {
        if !u16::from_be_bytes([first, byte]).is_multiple_of(31) {
            return self.raw(&[first, byte], out);
        }
        match byte & 0x20 {
            0 => ControlFlow::Continue(Place::Data),
            _ => wrong("dictionary of zlib"),
        }
    }

    /// There was no header: what was taken for one is data.
    fn raw(&mut self, bytes: &[u8], out: &mut Out<'_>) -> ControlFlow<Outcome, Place> {
        self.place = Place::Data;
        let rest = self.data(bytes, out)?;
        ControlFlow::Continue(match rest.is_empty() {
            true => self.place,
            false => Place::Garbage,
        })
    }

    /// Compressed data; returns what follows it.
    fn data<'a>(&mut self, input: &'a [u8], out: &mut Out<'_>) -> ControlFlow<Outcome, &'a [u8]> {
        let mut rest = input;
        loop {
            let flags = TINFL_FLAG_HAS_MORE_INPUT;
            let (status, read, written) =
                decompress(&mut self.decoder, rest, &mut self.window, self.at, flags);
            rest = rest.get(read..).unwrap_or_default();
            let given = self.window.get(self.at..self.at + written);
            self.at = (self.at + written) % WINDOW_BYTES;
            if let Some(given) = given.filter(|given| !given.is_empty()) {
                out(given)?;
            }
            match status {
                TINFLStatus::HasMoreOutput => {}
                TINFLStatus::NeedsMoreInput => return ControlFlow::Continue(rest),
                TINFLStatus::Done => {
                    self.place = Place::Trailer(match self.framing {
                        Framing::Gzip => 8,
                        Framing::Deflate => 4,
                    });
                    return ControlFlow::Continue(rest);
                }
                _ => return ControlFlow::Break(Outcome::Corrupt("deflate")),
            }
        }
    }
}

fn wrong<T>(what: &'static str) -> ControlFlow<Outcome, T> {
    ControlFlow::Break(Outcome::Corrupt(what))
}
