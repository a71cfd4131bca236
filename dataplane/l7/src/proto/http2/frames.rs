//! Frames of HTTP/2 (RFC 9113, 4 and 6): their heads, what may stand in them, and whether bytes are
//! a run of them.

/// Bytes of a frame's head.
pub(super) const HEAD_BYTES: usize = 9;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
/// RFC 7838 and RFC 8336.
const ALTSVC: u8 = 10;
const ORIGIN: u8 = 12;
/// RFC 9218.
const PRIORITY_UPDATE: u8 = 16;

const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITISED: u8 = 0x20;
const ACK: u8 = 1;

/// A frame says that it holds more padding than it holds.
pub(super) const PADDING: &str = "padding beyond the frame";

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    /// A bit that nobody sets.
    pub(super) reserved: bool,
}

/// The head at the front of `input`, when it is all there.
pub(super) fn head(input: &[u8]) -> Option<Head> {
    let &[a, b, c, kind, flags, d, e, f, g] = input.first_chunk::<HEAD_BYTES>()?;
    Some(Head {
        length: u32::from_be_bytes([0, a, b, c]) as usize,
        kind,
        flags,
        stream: u32::from_be_bytes([d & 0x7f, e, f, g]),
        reserved: d & 0x80 != 0,
    })
}

impl Head {
    /// What contradicts the protocol: a length or stream that the kind does not allow.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let on_connection = self.stream == 0;
        let placed = match self.kind {
            DATA | HEADERS | PRIORITY | RST_STREAM | PUSH_PROMISE | CONTINUATION => !on_connection,
            SETTINGS | PING | GOAWAY => on_connection,
            _ => true,
        };
        if !placed {
            return Some("a frame on the wrong stream");
        }
        let measured = match self.kind {
            PRIORITY => self.length == 5,
            RST_STREAM | WINDOW_UPDATE => self.length == 4,
            SETTINGS if self.flags & ACK != 0 => self.length == 0,
            SETTINGS => self.length.is_multiple_of(6),
            PING => self.length == 8,
            GOAWAY => self.length >= 8,
            PUSH_PROMISE => self.length >= 4,
            _ => true,
        };
        (!measured).then_some("a frame of the wrong length")
    }

    /// Whether it is the stream's last of its direction.
    pub(super) fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    /// Whether there is padding, and its length before the content.
    pub(super) fn is_padded(&self) -> bool {
        self.flags & PADDED != 0
    }

    /// How many bytes of a DATA frame are the body's, by the byte behind the head: None where that
    /// must be known and is not.
    pub(super) fn data_length(&self, next: Option<&u8>) -> Option<Result<usize, &'static str>> {
        if self.flags & PADDED == 0 {
            return Some(Ok(self.length));
        }
        if self.length == 0 {
            return Some(Err(PADDING));
        }
        let padding = 1 + usize::from(*next?);
        Some(self.length.checked_sub(padding).ok_or(PADDING))
    }

    /// The part of a HEADERS, PUSH_PROMISE or CONTINUATION frame that is the header block.
    pub(super) fn fragment<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        let mut rest = payload;
        let mut padding = 0;
        if self.kind != CONTINUATION && self.flags & PADDED != 0 {
            let (&length, after) = rest.split_first()?;
            (padding, rest) = (usize::from(length), after);
        }
        if self.kind == HEADERS && self.flags & PRIORITISED != 0 {
            rest = rest.get(5..)?;
        }
        if self.kind == PUSH_PROMISE {
            rest = rest.get(4..)?;
        }
        rest.get(..rest.len().checked_sub(padding)?)
    }

    /// Whether anybody would send this: all that is known of the kind is as it must be.
    pub(super) fn is_usual(&self) -> bool {
        let flags = match self.kind {
            DATA => 0x09,
            HEADERS => 0x2d,
            SETTINGS | PING => 0x01,
            PUSH_PROMISE => 0x0c,
            CONTINUATION => 0x04,
            PRIORITY | RST_STREAM | GOAWAY | WINDOW_UPDATE | ALTSVC | ORIGIN | PRIORITY_UPDATE => 0,
            _ => return false,
        };
        self.flags & !flags == 0
            && !self.reserved
            && self.length <= 1 << 20
            && self.fault().is_none()
    }
}

/// What a run of frames is worth as evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    /// How much speaks for it; see [`run`].
    pub(super) points: u32,
    /// Something is no frame, or one that nobody would send.
    pub(super) broken: bool,
}

/// Walks the frames at the front of `bytes`. A frame whose content is as closed as its head is
/// worth two points, a header block that reads as one three; of bodies only the first counts, one.
pub(super) fn run(bytes: &[u8]) -> Run {
    let mut run = Run::default();
    let mut rest = bytes;
    let mut bodies = 0;
    while let Some(head) = head(rest) {
        if !head.is_usual() {
            run.broken = true;
            return run;
        }
        let Some(payload) = rest.get(HEAD_BYTES..HEAD_BYTES + head.length) else {
            return run;
        };
        let worth = match head.kind {
            DATA => {
                bodies += 1;
                Some(u32::from(bodies == 1))
            }
            HEADERS => head.fragment(payload).map(header_block),
            SETTINGS => settings(payload).then_some(2),
            PING => Some(2),
            WINDOW_UPDATE => (payload != [0; 4]).then_some(2),
            RST_STREAM => known_error(payload).then_some(2),
            GOAWAY => payload.get(4..8).is_some_and(known_error).then_some(2),
            _ => Some(0),
        };
        match worth {
            Some(points) => run.points += points,
            None => {
                run.broken = true;
                return run;
            }
        }
        rest = &rest[HEAD_BYTES + head.length..];
    }
    run
}

/// A block that begins like one: a pseudo-header of the static table, whole or with a literal
/// value, or a reference to an entry of the other table.
fn header_block(block: &[u8]) -> u32 {
    match block {
        [0x82..=0x8e, next, ..] if *next >= 0x80 || *next & 0x40 != 0 || *next <= 0x1f => 3,
        [0x88..=0x8e] => 2,
        [0x41 | 0x44 | 0x48 | 0x01..=0x08, length, ..] if *length != 0 => 2,
        _ => 0,
    }
}

/// Settings that exist, with values that they may have (RFC 9113, 6.5.2; RFC 8441; RFC 9218).
pub(super) fn settings(payload: &[u8]) -> bool {
    payload.chunks(6).all(|setting| match *setting {
        [0, identifier, a, b, c, d] => {
            let value = u32::from_be_bytes([a, b, c, d]);
            match identifier {
                1 | 3 | 6 => true,
                2 | 8 | 9 => value <= 1,
                4 => value <= 0x7fff_ffff,
                5 => (0x4000..0x100_0000).contains(&value),
                _ => false,
            }
        }
        // Private ones, of gRPC among others.
        [0xfe, ..] => true,
        _ => false,
    })
}

fn known_error(code: &[u8]) -> bool {
    matches!(code, [0, 0, 0, 0..=13])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    #[test]
    fn a_run_is_worth_what_is_in_it() {
        let request = frame(HEADERS, 5, 1, &[0x82, 0x86, 0x84, 0x41, 0x01, b'a']);
        let update = frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0xff, 0xff]);
        for (bytes, points, broken) in [
            (Vec::new(), 0, false),
            (request.clone(), 3, false),
            ([request.clone(), update.clone()].concat(), 5, false),
            (frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]), 2, false),
            (frame(SETTINGS, 0, 0, &[0, 99, 0, 0, 0, 100]), 0, true),
            (frame(SETTINGS, 0, 1, &[]), 0, true),
            (frame(PING, 0, 0, &[0; 7]), 0, true),
            (vec![0; 64], 0, true),
            (
                [frame(DATA, 0, 1, b"a"), frame(DATA, 1, 1, b"b")].concat(),
                1,
                false,
            ),
        ] {
            assert_eq!(run(&bytes), Run { points, broken }, "{bytes:?}");
        }
    }

    #[test]
    fn padding_and_priority_are_taken_off() {
        let head = |flags, kind, length| Head {
            length,
            kind,
            flags,
            stream: 1,
            reserved: false,
        };
        let padded = [2, 0, 0, 0, 0, 9, 0x82, 0, 0];
        let headers = head(PADDED | PRIORITISED, HEADERS, padded.len());
        assert_eq!(headers.fragment(&padded), Some(&[0x82][..]));
        assert_eq!(head(PADDED, HEADERS, 2).fragment(&[3, 0]), None);
        assert_eq!(head(PRIORITISED, HEADERS, 2).fragment(&[3, 0]), None);
    }
}
