//! VNC: the remote framebuffer protocol's handshake (RFC 6143; VeNCrypt and the numbers of other
//! security types as in the RFB community's specification).
//!
//! Trusts nothing. Both ends move in lockstep: a side whose next message depends on one of the
//! other's that was not seen waits. The screen itself is not read: each direction is done there.
//! Violations: messages that the handshake does not allow. Memory: a few numbers.

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::read::cursor::Cursor;
use crate::{
    Application, Buffer, ByteSet, Event, EventKind, EventSink, Field, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport, Value,
};

/// "RFB 003.008\n" (RFC 6143, 7.1.1).
const VERSION_LENGTH: usize = 12;
/// Width, height, pixel format, length of the name (RFC 6143, 7.3.2).
const SERVER_INIT: usize = 24;
/// How much of a name or a reason is told.
const TEXT_MAX: usize = 512;
const DES_LENGTH: usize = 16;

const NONE: u8 = 1;
const DES: u8 = 2;
const VENCRYPT: u8 = 19;
const VENCRYPT_PLAIN: u32 = 256;

const VERSION: u8 = 0;
const SECURITY: u8 = 1;
const RESULT: u8 = 2;
const REASON: u8 = 3;
const DESKTOP: u8 = 4;
const WIDTH: u8 = 5;
const HEIGHT: u8 = 6;

/// The parser.
#[derive(Default)]
pub struct Vnc {
    client: Stage,
    server: Stage,
    /// "003.008" of the client; it is what both then speak.
    version: Option<[u8; 7]>,
    /// The security type that both agreed on.
    security: Option<u8>,
    /// Of VeNCrypt.
    subtype: Option<u32>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Version,
    Security,
    Chosen,
    Challenge,
    VencryptVersion,
    VencryptList,
    VencryptChosen,
    VencryptPlain,
    Result,
    Reason,
    Init,
    Tls,
    Over,
}

/// The version as a number: 3.8 is 3008.
fn number(version: &[u8; 7]) -> u32 {
    version
        .iter()
        .filter(|byte| byte.is_ascii_digit())
        .fold(0, |number, byte| number * 10 + u32::from(byte - b'0'))
}

impl Application for Vnc {
    const NAME: &'static str = "vnc";
    const ABOUT: &'static str = "VNC remote framebuffer, its handshake (RFC 6143)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[5900, 5901, 5902, 5903];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition("version", "Protocol version, as 003.008 (RFC 6143, 7.1.1)"),
        FieldSpec::condition(
            "security",
            "Security type that was chosen: none, vnc, tls, vencrypt, … (RFC 6143, 7.1.2)",
        ),
        FieldSpec::text("result", "ok, failed or too-many (RFC 6143, 7.1.3)"),
        FieldSpec::text(
            "reason",
            "Why the server refused, at most 512 bytes (RFC 6143, 7.1.3)",
        ),
        FieldSpec::text(
            "desktop",
            "Name of the desktop, at most 512 bytes (RFC 6143, 7.3.2)",
        )
        .looked_into_as(Buffer::RfbName),
        FieldSpec::number("width", "Width of the screen in pixels (RFC 6143, 7.3.2)"),
        FieldSpec::number("height", "Height of the screen in pixels (RFC 6143, 7.3.2)"),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(b"R"),
        to_client: ByteSet::of(b"R"),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        match (
            probe_version(input.to_server),
            probe_version(input.to_client),
        ) {
            (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
            (Probe::Certain, _) | (_, Probe::Certain) => Probe::Certain,
            _ => Probe::Unsure,
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let step = match direction {
            Direction::ToServer => self.client(input, sink),
            Direction::ToClient => self.server(input, sink),
        };
        step.unwrap_or(Step::Incomplete)
    }
}

/// Whether these bytes begin as "RFB ddd.ddd\n".
fn probe_version(input: &[u8]) -> Probe {
    let fits = input
        .iter()
        .take(VERSION_LENGTH)
        .enumerate()
        .all(|(at, &byte)| match at {
            0..4 => b"RFB ".get(at) == Some(&byte),
            7 => byte == b'.',
            11 => byte == b'\n',
            _ => byte.is_ascii_digit(),
        });
    match fits {
        false => Probe::NotMine,
        true if input.len() >= VERSION_LENGTH => Probe::Certain,
        true => Probe::Unsure,
    }
}

/// None: too few bytes, or what the other side says must come first.
impl Vnc {
    fn client(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Option<Step> {
        let mut cursor = Cursor::new(input);
        Some(match self.client {
            Stage::Version => {
                let line = cursor.array::<VERSION_LENGTH>()?;
                let Some(version) = version(&line) else {
                    return Some(Step::Violation("vnc: no version"));
                };
                self.version = Some(version);
                self.client = Stage::Security;
                Step::Consumed(VERSION_LENGTH)
            }
            Stage::Security if self.old() => match self.security? {
                NONE => self.client_init(),
                DES => {
                    self.client = Stage::Challenge;
                    self.client(input, sink)?
                }
                _ => Step::Done,
            },
            Stage::Security => {
                let chosen = cursor.u8()?;
                self.choose(chosen, sink);
                self.client = match chosen {
                    NONE => Stage::Init,
                    DES => Stage::Challenge,
                    VENCRYPT => Stage::VencryptVersion,
                    _ => Stage::Over,
                };
                Step::Consumed(1)
            }
            Stage::Challenge => {
                cursor.take(DES_LENGTH)?;
                self.client = Stage::Init;
                Step::Consumed(DES_LENGTH)
            }
            Stage::VencryptVersion => {
                cursor.take(2)?;
                self.client = Stage::VencryptChosen;
                Step::Consumed(2)
            }
            Stage::VencryptChosen => {
                let subtype = cursor.u32()?;
                self.subtype = Some(subtype);
                self.client = match subtype {
                    VENCRYPT_PLAIN => Stage::VencryptPlain,
                    257..=262 => Stage::Tls,
                    _ => Stage::Over,
                };
                Step::Consumed(4)
            }
            Stage::VencryptPlain => {
                let (user, password) = (cursor.u32()?, cursor.u32()?);
                self.client = Stage::Init;
                Step::Skip(8 + u64::from(user) + u64::from(password))
            }
            Stage::Init => self.client_init(),
            // Bytes of the other side that wait to be understood must not be taken for TLS.
            Stage::Tls if self.client == Stage::Tls && self.server == Stage::Tls => Step::StartTls,
            Stage::Tls => return None,
            _ => Step::Done,
        })
    }

    /// One byte: whether others may watch. Then come keys and clicks.
    fn client_init(&mut self) -> Step {
        self.client = Stage::Over;
        Step::Consumed(1)
    }

    fn server(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Option<Step> {
        let mut cursor = Cursor::new(input);
        Some(match self.server {
            Stage::Version => {
                let line = cursor.array::<VERSION_LENGTH>()?;
                let Some(version) = version(&line) else {
                    return Some(Step::Violation("vnc: no version"));
                };
                tell(EventKind::Session, &[Field::bytes(VERSION, &version)], sink);
                self.server = Stage::Security;
                Step::Consumed(VERSION_LENGTH)
            }
            Stage::Security => {
                self.version?;
                self.offers(&mut cursor, sink)?
            }
            Stage::Chosen => {
                self.server = self.after_choice(self.security?);
                self.server(input, sink)?
            }
            Stage::Challenge => {
                cursor.take(DES_LENGTH)?;
                self.server = Stage::Result;
                Step::Consumed(DES_LENGTH)
            }
            Stage::VencryptVersion => {
                cursor.take(2)?;
                self.server = Stage::VencryptList;
                Step::Consumed(2)
            }
            // Whether the version suits, then the subtypes.
            Stage::VencryptList => {
                if cursor.u8()? != 0 {
                    return Some(Step::Done);
                }
                let length = 4 * usize::from(cursor.u8()?);
                cursor.take(length)?;
                self.server = Stage::VencryptChosen;
                Step::Consumed(2 + length)
            }
            Stage::VencryptChosen => match self.subtype? {
                VENCRYPT_PLAIN => {
                    self.server = Stage::Result;
                    self.server(input, sink)?
                }
                257..=262 => {
                    self.server = Stage::Tls;
                    Step::Consumed(1)
                }
                _ => Step::Done,
            },
            Stage::Result => self.result(&mut cursor, sink)?,
            Stage::Reason => self.reason(&mut cursor, sink)?,
            Stage::Init => server_init(&mut cursor, sink)?,
            // Bytes of the other side that wait to be understood must not be taken for TLS.
            Stage::Tls if self.client == Stage::Tls && self.server == Stage::Tls => Step::StartTls,
            Stage::Tls => return None,
            Stage::VencryptPlain | Stage::Over => Step::Done,
        })
    }

    /// Before 3.7 the server decides on the security type (RFC 6143, appendix A).
    fn old(&self) -> bool {
        self.version.is_some_and(|version| number(&version) < 3_007)
    }

    fn offers(&mut self, cursor: &mut Cursor<'_>, sink: &mut dyn EventSink) -> Option<Step> {
        if self.old() {
            let chosen = u8::try_from(cursor.u32()?).unwrap_or(u8::MAX);
            self.server = if chosen == 0 {
                Stage::Reason
            } else {
                self.choose(chosen, sink);
                self.after_choice(chosen)
            };
            return Some(Step::Consumed(4));
        }
        let count = cursor.u8()?;
        cursor.take(count.into())?;
        self.server = if count == 0 {
            Stage::Reason
        } else {
            Stage::Chosen
        };
        Some(Step::Consumed(1 + usize::from(count)))
    }

    fn after_choice(&self, chosen: u8) -> Stage {
        let result = self
            .version
            .is_some_and(|version| number(&version) >= 3_008);
        match chosen {
            NONE if result => Stage::Result,
            NONE => Stage::Init,
            DES => Stage::Challenge,
            VENCRYPT => Stage::VencryptVersion,
            _ => Stage::Over,
        }
    }

    fn choose(&mut self, chosen: u8, sink: &mut dyn EventSink) {
        self.security = Some(chosen);
        let version = self.version.unwrap_or_default();
        let fields = [
            Field::bytes(VERSION, &version),
            Field::name(SECURITY, security(chosen)),
        ];
        tell(EventKind::Request, &fields, sink);
    }

    fn result(&mut self, cursor: &mut Cursor<'_>, sink: &mut dyn EventSink) -> Option<Step> {
        let name = match cursor.u32()? {
            0 => "ok",
            1 if self
                .version
                .is_some_and(|version| number(&version) >= 3_008) =>
            {
                self.server = Stage::Reason;
                return Some(Step::Consumed(4));
            }
            1 => "failed",
            2 => "too-many",
            _ => return Some(Step::Violation("vnc: no result of the login")),
        };
        let result = Field::name(RESULT, name);
        tell(EventKind::Response, &[result], sink);
        self.server = if name == "ok" {
            Stage::Init
        } else {
            Stage::Over
        };
        Some(Step::Consumed(4))
    }

    fn reason(&mut self, cursor: &mut Cursor<'_>, sink: &mut dyn EventSink) -> Option<Step> {
        let length = cursor.u32()?;
        let kept = usize::try_from(length).unwrap_or(TEXT_MAX).min(TEXT_MAX);
        let reason = cursor.take(kept)?;
        let result = Field::name(RESULT, "failed");
        tell(
            EventKind::Response,
            &[result, Field::bytes(REASON, reason)],
            sink,
        );
        self.server = Stage::Over;
        Some(Step::Skip(4 + u64::from(length)))
    }
}

fn server_init(cursor: &mut Cursor<'_>, sink: &mut dyn EventSink) -> Option<Step> {
    let mut head = Cursor::new(cursor.take(SERVER_INIT)?);
    let (width, height) = (head.u16()?, head.u16()?);
    head.take(16)?;
    let length = usize::try_from(head.u32()?).unwrap_or(TEXT_MAX);
    let name = cursor.take(length.min(TEXT_MAX))?;
    let fields = [
        Field::bytes(DESKTOP, name),
        Field::number(WIDTH, width.into()),
        Field::number(HEIGHT, height.into()),
    ];
    tell(EventKind::Response, &fields, sink);
    Some(Step::Done)
}

fn version(line: &[u8; VERSION_LENGTH]) -> Option<[u8; 7]> {
    let certain = probe_version(line) == Probe::Certain;
    certain
        .then(|| line.get(4..11)?.first_chunk().copied())
        .flatten()
}

fn tell(kind: EventKind, fields: &[Field<'_>], sink: &mut dyn EventSink) {
    let fields: ArrayVec<Field<'_>, 4> = fields
        .iter()
        .filter(|field| kind == EventKind::Request || field.value != Value::Bytes(&[]))
        .copied()
        .collect();
    sink.event(&Event {
        kind,
        fields: &fields,
    });
}

/// RFC 6143, 8.1.1, and the registry of the RFB community.
fn security(number: u8) -> &'static str {
    match number {
        NONE => "none",
        DES => "vnc",
        5 | 6 | 129 | 130 | 133 | 134 => "ra2",
        16 => "tight",
        17 => "ultra",
        18 => "tls",
        VENCRYPT => "vencrypt",
        20 => "sasl",
        21 => "md5",
        22 => "xvp",
        30..=36 => "apple",
        113 | 114 => "mslogon",
        _ => "other",
    }
}
