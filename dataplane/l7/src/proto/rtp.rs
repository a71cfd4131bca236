//! RTP and its control protocol RTCP (RFC 3550, RFC 3551), known by the control connection that
//! announces them, or by their own bytes.
//!
//! Trusts nothing. One datagram proves little: two in a row of one source, or a compound control
//! packet whose every part fits, do. What else shares the port (STUN, DTLS; RFC 7983) is left alone.
//! Violations: a datagram of this version that ends too early. Memory: the last source of each side.

use weir_wire::Direction;

use crate::read::cursor::Cursor;
use crate::told::Told;
use crate::{
    Application, ByteSet, EventKind, EventSink, FieldSpec, Openings, Probe, ProbeInput, Step,
    Transport,
};

/// Version 2 in the first two bits.
const FIRST: ByteSet = ByteSet::NONE.and_range(0x80, 0xbf);
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
/// Types of control packets (RFC 5761, 4): as media they would have the marker and types 64 to 95.
const CONTROL: std::ops::RangeInclusive<u8> = 192..=223;
/// More parts than this are nobody's.
const PARTS_MAX: usize = 16;
/// A report on a source, in words of four bytes.
const REPORT_WORDS: usize = 6;
/// Half a minute at the clock of video: two datagrams in a row are not further apart.
const TICKS_MAX: u32 = 30 * 90_000;
/// A datagram of the same source may be lost or come late.
const STEPS_MAX: u16 = 2;

const SSRC: u8 = 0;
const PAYLOAD_TYPE: u8 = 1;
const CNAME: u8 = 2;

/// The parser.
#[derive(Default)]
pub struct Rtp {
    sources: [Option<u32>; 2],
    named: [bool; 2],
}

/// The fixed header of a media datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Media {
    payload_type: u8,
    sequence: u16,
    timestamp: u32,
    source: u32,
}

/// A compound control packet whose lengths add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Control<'a> {
    source: u32,
    cname: &'a [u8],
    parts: usize,
    reports: bool,
}

impl Application for Rtp {
    const NAME: &'static str = "rtp";
    const ABOUT: &'static str = "Real-time Transport Protocol and its control protocol (RFC 3550)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Udp];
    const PORTS: &'static [u16] = &[];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::number("ssrc", "Source of the media (RFC 3550, 5.1)"),
        FieldSpec::number(
            "payload_type",
            "Payload type: 0 PCMU, 8 PCMA, 96 and above by agreement (RFC 3551, 6)",
        ),
        FieldSpec::text("cname", "Name of the source (RFC 3550, 6.5.1)"),
    ];
    const OPENINGS: Openings = Openings {
        to_server: FIRST,
        to_client: FIRST,
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let sides = [input.to_server, input.to_client];
        let mut certain = false;
        for bytes in sides.into_iter().filter(|bytes| !bytes.is_empty()) {
            certain |= match (Control::read(bytes), Media::read(bytes)) {
                (Some(control), _) => {
                    let again = Control::read(input.previous)
                        .is_some_and(|previous| previous.source == control.source);
                    control.reports
                        && (control.parts > 1 && !control.cname.is_empty()
                            || again && !same(bytes, input.previous) && control.source != 0)
                }
                (None, Some(media)) => {
                    media.is_assigned()
                        && Media::read(input.previous).is_some_and(|one| media.follows(one))
                }
                (None, None) => return Probe::NotMine,
            };
        }
        match certain {
            true => Probe::Certain,
            false => Probe::Unsure,
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let side = direction as usize;
        let kind = match direction {
            Direction::ToServer => EventKind::Session,
            Direction::ToClient => EventKind::Response,
        };
        match input.split_first() {
            Some((&first, _)) if FIRST.contains(first) => {}
            // STUN, DTLS, ZRTP, or what opens a way through a firewall.
            _ => return Step::Consumed(input.len()),
        }
        if let Some(control) = Control::read(input) {
            if let Some(named) = self.named.get_mut(side)
                && !control.cname.is_empty()
                && !std::mem::replace(named, true)
            {
                Told::new()
                    .number(SSRC, control.source.into())
                    .bytes(CNAME, control.cname)
                    .send(kind, sink);
            }
            return Step::Consumed(input.len());
        }
        let Some(media) = Media::read(input) else {
            return match input.get(1).is_some_and(|second| CONTROL.contains(second)) {
                // Encrypted (RFC 3711), or of a profile that is not known here.
                true => Step::Consumed(input.len()),
                false => Step::Violation("rtp: a datagram that ends too early"),
            };
        };
        if let Some(source) = self.sources.get_mut(side)
            && source.replace(media.source) != Some(media.source)
        {
            Told::new()
                .number(SSRC, media.source.into())
                .number(PAYLOAD_TYPE, media.payload_type.into())
                .send(kind, sink);
        }
        Step::Consumed(input.len())
    }
}

impl Media {
    fn read(input: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(input);
        let [first, second] = cursor.array()?;
        if first >> 6 != 2 || CONTROL.contains(&second) {
            return None;
        }
        let media = Self {
            payload_type: second & 0x7f,
            sequence: cursor.u16()?,
            timestamp: cursor.u32()?,
            source: cursor.u32()?,
        };
        cursor.take(usize::from(first & 15) * 4)?;
        if first & 0x10 != 0 {
            let [_, _, high, low] = cursor.array()?;
            cursor.take(usize::from(u16::from_be_bytes([high, low])) * 4)?;
        }
        if first & 0x20 != 0 {
            let padding = usize::from(*cursor.rest().last()?);
            if padding == 0 || padding > cursor.rest().len() {
                return None;
            }
        }
        Some(media)
    }

    /// Types that have a meaning, fixed or by agreement (RFC 3551, 6).
    fn is_assigned(self) -> bool {
        matches!(self.payload_type, 0..=34 | 96..=127) && self.source != 0
    }

    fn follows(self, previous: Self) -> bool {
        let steps = self.sequence.wrapping_sub(previous.sequence);
        let ticks = self.timestamp.wrapping_sub(previous.timestamp);
        // Pictures that are sent out of order go back a little.
        let ticks = ticks.min(ticks.wrapping_neg());
        self.source == previous.source
            && self.payload_type == previous.payload_type
            && (1..=STEPS_MAX).contains(&steps)
            && ticks <= TICKS_MAX
    }
}

impl<'a> Control<'a> {
    fn read(input: &'a [u8]) -> Option<Self> {
        let mut control = Self {
            source: 0,
            cname: &[],
            parts: 0,
            reports: false,
        };
        let mut cursor = Cursor::new(input);
        while !cursor.is_empty() {
            let [first, kind] = cursor.array()?;
            let words = usize::from(cursor.u16()?);
            let body = cursor.take(words * 4)?;
            if first >> 6 != 2 || !CONTROL.contains(&kind) || control.parts == PARTS_MAX {
                return None;
            }
            // Only the last part is padded.
            if first & 0x20 != 0 && !cursor.is_empty() {
                return None;
            }
            let count = usize::from(first & 31);
            let fits = match kind {
                SENDER_REPORT => words >= 6 + count * REPORT_WORDS,
                RECEIVER_REPORT => words > count * REPORT_WORDS,
                DESCRIPTION => words >= count * 2,
                BYE => words >= count,
                _ => words >= 1,
            };
            if !fits {
                return None;
            }
            if control.parts == 0 {
                control.reports = matches!(kind, SENDER_REPORT | RECEIVER_REPORT);
                control.source = Cursor::new(body).u32().unwrap_or_default();
            }
            if kind == DESCRIPTION && count > 0 {
                control.cname = cname(body)?;
            }
            control.parts += 1;
        }
        (control.parts > 0).then_some(control)
    }
}

/// The first item of the first source, which must be its name; empty for another item.
fn cname(body: &[u8]) -> Option<&[u8]> {
    let mut cursor = Cursor::new(body);
    cursor.u32()?;
    let kind = cursor.u8()?;
    if kind == 0 {
        return Some(&[]);
    }
    let name = cursor.vector8()?.rest();
    let text = name.iter().all(|&byte| byte >= b' ');
    match kind {
        1 if text => Some(name),
        1 => None,
        2..=8 => Some(&[]),
        _ => None,
    }
}

fn same(one: &[u8], other: &[u8]) -> bool {
    one == other
}
