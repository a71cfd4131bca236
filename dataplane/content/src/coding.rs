//! Content codings (RFC 9110, section 8.4): what a message went through, undone piece by piece.
//!
//! Distrusts everything: a coding may expand without end, name a window of gigabytes, or lie about
//! being one. What a stage gives is counted against what came in ([`Bounds`]), so that a bomb costs no
//! more than its bound, and the count does not depend on how the input was cut. What was decoded before
//! a fault is given. Checksums are not verified: the receiver has read the bytes by then. What turns out
//! within [`BLOCK_BYTES`] not to be what it says is given as it stands too, since a server that ignores
//! the coding reads that.

mod brotli;
mod inflate;
mod store;
mod zstd;

use std::ops::ControlFlow;

use arrayvec::ArrayVec;

use crate::{Limits, Outcome};
pub(crate) use inflate::Inflate;

/// So many codings one on top of the other are undone.
const STAGES: usize = 3;
/// The share of the input that expansion is measured against, so that it never depends on the cut.
const BLOCK_BYTES: u64 = 4096;

/// Where decoded bytes go; breaking off ends the decoding.
pub(crate) type Out<'a> = dyn FnMut(&[u8]) -> ControlFlow<Outcome> + 'a;

/// A coding by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// Decoders that nobody uses at the moment.
pub(crate) struct Codecs {
    inflate: Vec<Box<Inflate>>,
    brotli: Vec<Box<brotli::Brotli>>,
    zstd: Vec<zstd::Zstd>,
    memory_bytes: usize,
}

enum Codec {
    Inflate(Box<Inflate>),
    Brotli(Box<brotli::Brotli>),
    Zstd(zstd::Zstd),
}

/// One coding of a message, and what it gave.
struct Stage {
    codec: Codec,
    given: u64,
}

/// How much a message may become.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// What every stage may give by now.
    ratio: u64,
    /// What every stage may give at all.
    decoded: u64,
}

/// The codings of one message, the outermost first.
#[derive(Default)]
pub(crate) struct Chain {
    stages: ArrayVec<Stage, STAGES>,
    encoded: u64,
    /// The first block as it came.
    first: ArrayVec<u8, { BLOCK_BYTES as usize }>,
    /// The fault after which the message is given as it stands.
    plain: Option<&'static str>,
}

impl Codecs {
    pub(crate) fn new(limits: &Limits) -> Self {
        let inflate = (0..limits.inflate).map(|_| Inflate::boxed()).collect();
        let stores = brotli::Stores::new(limits.brotli, limits.brotli_window_bytes);
        let brotli: Vec<_> = (0..limits.brotli)
            .map(|_| Box::new(brotli::Brotli::new(&stores)))
            .collect();
        let zstd: Vec<_> = (0..limits.zstd)
            .filter_map(|_| zstd::Zstd::new(limits.zstd_window_bytes))
            .collect();
        let zstd_bytes: usize = zstd.iter().map(|zstd| zstd.memory_bytes()).sum();
        let memory_bytes = limits.inflate * size_of::<Inflate>()
            + limits.brotli * size_of::<brotli::Brotli>()
            + stores.memory_bytes()
            + zstd_bytes;
        Self {
            inflate,
            brotli,
            zstd,
            memory_bytes,
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// The decoders for the value of Content-Encoding.
    pub(crate) fn chain(&mut self, value: &[u8]) -> Result<Chain, Outcome> {
        let mut chain = Chain::default();
        // Codings are listed in the order in which they were applied.
        for name in value.rsplit(|byte| *byte == b',') {
            let taken = match known(name.trim_ascii()) {
                Ok(None) => continue,
                Ok(Some(_)) if chain.stages.is_full() => {
                    Err(Outcome::Undecoded("too many codings"))
                }
                Ok(Some(coding)) => self.take(coding),
                Err(outcome) => Err(outcome),
            };
            match taken {
                Ok(codec) => chain.stages.push(Stage { codec, given: 0 }),
                Err(outcome) => {
                    self.give_back(chain);
                    return Err(outcome);
                }
            }
        }
        Ok(chain)
    }

    pub(crate) fn give_back(&mut self, chain: Chain) {
        for stage in chain.stages {
            match stage.codec {
                Codec::Inflate(codec) => self.inflate.push(codec),
                Codec::Brotli(mut codec) => {
                    codec.release();
                    self.brotli.push(codec);
                }
                Codec::Zstd(codec) => self.zstd.push(codec),
            }
        }
    }

    fn take(&mut self, coding: Coding) -> Result<Codec, Outcome> {
        let codec = match coding {
            Coding::Gzip | Coding::Deflate => self.inflate.pop().map(|mut codec| {
                codec.begin(match coding {
                    Coding::Gzip => inflate::Framing::Gzip,
                    _ => inflate::Framing::Deflate,
                });
                Codec::Inflate(codec)
            }),
            Coding::Brotli => self.brotli.pop().map(|mut codec| {
                codec.begin();
                Codec::Brotli(codec)
            }),
            Coding::Zstd => self.zstd.pop().map(|mut codec| {
                codec.begin();
                Codec::Zstd(codec)
            }),
        };
        codec.ok_or(Outcome::Undecoded("no decoder free"))
    }
}

/// The coding of this name; none where nothing was done to the content.
fn known(name: &[u8]) -> Result<Option<Coding>, Outcome> {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    match () {
        () if is("") || is("identity") || is("none") => Ok(None),
        () if is("gzip") || is("x-gzip") => Ok(Some(Coding::Gzip)),
        () if is("deflate") => Ok(Some(Coding::Deflate)),
        () if is("br") => Ok(Some(Coding::Brotli)),
        () if is("zstd") => Ok(Some(Coding::Zstd)),
        () => Err(Outcome::Undecoded("unknown coding")),
    }
}

impl Codec {
    fn piece(&mut self, input: &[u8], out: &mut Out<'_>) -> ControlFlow<Outcome> {
        match self {
            Self::Inflate(codec) => codec.piece(input, out),
            Self::Brotli(codec) => codec.piece(input, out),
            Self::Zstd(codec) => codec.piece(input, out),
        }
    }

    /// Whether the input may end here.
    fn is_whole(&self) -> bool {
        match self {
            Self::Inflate(codec) => codec.is_whole(),
            Self::Brotli(codec) => codec.is_whole(),
            Self::Zstd(codec) => codec.is_whole(),
        }
    }
}

impl Chain {
    /// Decodes the next piece of the message; returns how much of it was read.
    pub(crate) fn piece(
        &mut self,
        input: &[u8],
        limits: &Limits,
        out: &mut Out<'_>,
    ) -> (ControlFlow<Outcome>, usize) {
        if self.stages.is_empty() || self.plain.is_some() {
            return (out(input), input.len());
        }
        let mut read = 0;
        while let Some(rest) = input.get(read..).filter(|rest| !rest.is_empty()) {
            let to_block = BLOCK_BYTES - self.encoded % BLOCK_BYTES;
            let (block, _) = rest.split_at(rest.len().min(to_block as usize));
            let seen = (self.encoded / BLOCK_BYTES + 1) * BLOCK_BYTES;
            let ratio = seen.saturating_mul(limits.ratio.into());
            let bounds = Bounds {
                ratio: ratio.max(limits.ratio_from_bytes),
                decoded: limits.decoded_bytes,
            };
            if self.encoded < BLOCK_BYTES {
                // The first block fits, so this cannot fail.
                let _ = self.first.try_extend_from_slice(block);
            }
            self.encoded += block.len() as u64;
            read += block.len();
            let done = run(&mut self.stages, block, bounds, out);
            if done.is_break() {
                return (done, read);
            }
        }
        (ControlFlow::Continue(()), read)
    }

    /// The message ends: whether all of its codings do.
    pub(crate) fn end(&self) -> ControlFlow<Outcome> {
        if let Some(why) = self.plain {
            return ControlFlow::Break(Outcome::Corrupt(why));
        }
        match self.stages.iter().all(|stage| stage.codec.is_whole()) {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(Outcome::Corrupt("truncated")),
        }
    }

    /// A fault within the first block may mean that nothing was encoded, and most servers do not look at
    /// the coding of a request. From here on the message is given as it stands; returns what came so far.
    pub(crate) fn read_plain(&mut self, fault: Outcome) -> Option<&[u8]> {
        let Outcome::Corrupt(why) = fault else {
            return None;
        };
        if self.plain.is_some() || self.stages.is_empty() || self.encoded > BLOCK_BYTES {
            return None;
        }
        self.plain = Some(why);
        Some(&self.first)
    }
}

/// Sends `input` through the stages.
fn run(
    stages: &mut [Stage],
    input: &[u8],
    bounds: Bounds,
    out: &mut Out<'_>,
) -> ControlFlow<Outcome> {
    let Some((stage, rest)) = stages.split_first_mut() else {
        return out(input);
    };
    let Stage { codec, given } = stage;
    codec.piece(input, &mut |piece| {
        let allowed = bounds.ratio.min(bounds.decoded).saturating_sub(*given);
        let taken = piece
            .len()
            .min(usize::try_from(allowed).unwrap_or(usize::MAX));
        let (within, beyond) = piece.split_at(taken);
        *given += taken as u64;
        if !within.is_empty() {
            run(rest, within, bounds, out)?;
        }
        match beyond {
            [] => ControlFlow::Continue(()),
            _ if bounds.ratio < bounds.decoded => ControlFlow::Break(Outcome::Bomb),
            _ => ControlFlow::Break(Outcome::Limit),
        }
    })
}
