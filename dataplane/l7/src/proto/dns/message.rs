//! A message: header, questions, records (RFC 1035, 4.1; RFC 6891; RFC 6762).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;

use super::name::{self, Name};
use super::{ADDRESS, ANSWER_NAME, CNAME, NAME, OPCODE, RCODE, TTL, TYPE};
use crate::cursor::Cursor;
use crate::{Event, EventKind, EventSink, Field, Value};

pub(super) const HEADER_BYTES: usize = 12;
/// No resolver asks more at once; multicast queries come near it.
const QUESTIONS_MAX: u16 = 64;
/// Answers told in one event; more come in further events.
const ANSWERS_PER_EVENT: usize = 12;

const TYPE_A: u16 = 1;
const TYPE_CNAME: u16 = 5;
const TYPE_AAAA: u16 = 28;
const TYPE_OPT: u16 = 41;
const TYPE_NIMLOC: u16 = 32;
const TYPE_SRV: u16 = 33;
const CLASS_IN: u16 = 1;
/// Multicast DNS uses the class's highest bit for itself (RFC 6762, 5.4 and 10.2).
const CLASS_MASK: u16 = 0x7fff;

const MALFORMED: &str = "a malformed DNS message";

/// The fixed part.
#[derive(Clone, Copy)]
pub(super) struct Header {
    flags: u16,
    questions: u16,
    answers: u16,
    authorities: u16,
    additionals: u16,
}

struct Question {
    name_at: usize,
    kind: u16,
}

struct Record<'a> {
    name_at: usize,
    kind: u16,
    class: u16,
    ttl_s: u32,
    data_at: usize,
    data: &'a [u8],
}

/// Walks a message; positions count from its start.
struct Walk<'a> {
    message: &'a [u8],
    cursor: Cursor<'a>,
}

impl Header {
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(message);
        let _id = cursor.u16()?;
        Some(Self {
            flags: cursor.u16()?,
            questions: cursor.u16()?,
            answers: cursor.u16()?,
            authorities: cursor.u16()?,
            additionals: cursor.u16()?,
        })
    }

    fn is_response(self) -> bool {
        self.flags & 0x8000 != 0
    }

    fn opcode(self) -> u16 {
        self.flags >> 11 & 0xf
    }

    /// Whether the fixed part could begin a message as resolvers send them.
    pub(super) fn is_plausible(self) -> bool {
        let rcode = self.flags & 0xf;
        let counts = match self.is_response() {
            true => self.questions <= QUESTIONS_MAX && self.questions + self.answers.min(1) > 0,
            false => (1..=QUESTIONS_MAX).contains(&self.questions) && rcode == 0,
        };
        let records = [self.answers, self.authorities, self.additionals];
        matches!(self.opcode(), 0 | 4 | 5)
            && rcode <= 11
            && counts
            && records.iter().all(|&count| count < 4_096)
    }
}

impl<'a> Walk<'a> {
    fn new(message: &'a [u8]) -> Option<(Header, Self)> {
        let header = Header::read(message)?;
        let cursor = Cursor::new(message.get(HEADER_BYTES..)?);
        Some((header, Self { message, cursor }))
    }

    fn position(&self) -> usize {
        self.message.len() - self.cursor.rest().len()
    }

    fn question(&mut self) -> Option<(Question, u16)> {
        let name_at = self.position();
        name::skip(&mut self.cursor)?;
        let kind = self.cursor.u16()?;
        let class = self.cursor.u16()? & CLASS_MASK;
        Some((Question { name_at, kind }, class))
    }

    fn record(&mut self) -> Option<Record<'a>> {
        let name_at = self.position();
        name::skip(&mut self.cursor)?;
        let kind = self.cursor.u16()?;
        let class = self.cursor.u16()?;
        let ttl_s = self.cursor.u32()?;
        let data = self.cursor.vector16()?.rest();
        let data_at = self.position() - data.len();
        Some(Record {
            name_at,
            kind,
            class,
            ttl_s,
            data_at,
            data,
        })
    }
}

/// Whether these bytes are one DNS message and nothing else: every name is followed, every record
/// walked, and nothing is left over.
pub(super) fn is_whole(message: &[u8]) -> bool {
    let Some((header, walk)) = Walk::new(message) else {
        return false;
    };
    header.is_plausible() && walk_all(header, walk).is_some()
}

fn walk_all(header: Header, mut walk: Walk<'_>) -> Option<()> {
    let mut name = Name::new();
    for _ in 0..header.questions {
        let (question, class) = walk.question()?;
        name::read(walk.message, question.name_at, &mut name)?;
        let sound = is_class(class) && question.kind != 0 && !is_netbios(question.kind, &name);
        sound.then_some(())?;
    }
    let records = [header.answers, header.authorities, header.additionals].map(u32::from);
    for _ in 0..records.iter().sum() {
        let record = walk.record()?;
        name::read(walk.message, record.name_at, &mut name)?;
        let sound = record.kind == TYPE_OPT || is_class(record.class & CLASS_MASK);
        (sound && !is_netbios(record.kind, &name)).then_some(())?;
    }
    // Windows ends a request for a zone with its mark.
    matches!(walk.cursor.rest(), b"" | b"MS").then_some(())
}

fn is_class(class: u16) -> bool {
    matches!(class, 1 | 3 | 4 | 254 | 255)
}

/// NetBIOS names travel in the same form: 32 letters from A to P (RFC 1001, 14.1).
fn is_netbios(kind: u16, name: &[u8]) -> bool {
    if !matches!(kind, TYPE_NIMLOC | TYPE_SRV) {
        return false;
    }
    let label = name.split(|&byte| byte == b'.').next().unwrap_or_default();
    label.len() == 32 && label.iter().all(|byte| (b'a'..=b'p').contains(byte))
}

/// Tells of a message. `whole` is false when its end is cut off: then of what is there.
pub(super) fn tell(
    message: &[u8],
    whole: bool,
    sink: &mut dyn EventSink,
) -> Result<(), &'static str> {
    let (header, walk) = Walk::new(message).ok_or(MALFORMED)?;
    let told = match header.is_response() {
        true => tell_response(header, walk, sink),
        false => tell_requests(header, walk, sink)?,
    };
    told.or((!whole).then_some(())).ok_or(MALFORMED)
}

/// One event for each question, since a policy judges each.
fn tell_requests(
    header: Header,
    mut walk: Walk<'_>,
    sink: &mut dyn EventSink,
) -> Result<Option<()>, &'static str> {
    if header.questions > QUESTIONS_MAX {
        return Err("more questions than anybody asks at once");
    }
    let opcode = name::word(name::opcode(header.opcode()), "OPCODE", header.opcode());
    let mut name = Name::new();
    for _ in 0..header.questions {
        let Some((question, _)) = walk.question() else {
            return Ok(None);
        };
        if name::read(walk.message, question.name_at, &mut name).is_none() {
            return Ok(None);
        }
        tell_request(
            &name,
            &name::word(name::record_type(question.kind), "TYPE", question.kind),
            &opcode,
            sink,
        );
    }
    if header.questions == 0 {
        tell_request(b"", b"", &opcode, sink);
    }
    Ok(Some(()))
}

fn tell_request(name: &[u8], kind: &[u8], opcode: &[u8], sink: &mut dyn EventSink) {
    let fields = [
        Field {
            index: NAME,
            value: Value::Bytes(name),
        },
        Field {
            index: TYPE,
            value: Value::Bytes(kind),
        },
        Field {
            index: OPCODE,
            value: Value::Bytes(opcode),
        },
    ];
    sink.event(&Event {
        kind: EventKind::Request,
        fields: &fields,
    });
}

/// An answer that tells of an address or another name.
struct Answer {
    name: Name,
    ttl_s: u32,
    /// None: it names `target`.
    address: Option<IpAddr>,
    target: Name,
}

fn tell_response(header: Header, mut walk: Walk<'_>, sink: &mut dyn EventSink) -> Option<()> {
    let mut name = Name::new();
    let mut kind = None;
    for number in 0..header.questions {
        let (question, _) = walk.question()?;
        if number == 0 {
            name::read(walk.message, question.name_at, &mut name)?;
            kind = Some(question.kind);
        }
    }
    let kind = kind.map(|kind| name::word(name::record_type(kind), "TYPE", kind));
    let rcode = rcode(header, &walk);
    let about = [
        Field {
            index: NAME,
            value: Value::Bytes(&name),
        },
        Field {
            index: TYPE,
            value: Value::Bytes(kind.as_deref().unwrap_or_default()),
        },
        Field {
            index: RCODE,
            value: Value::Bytes(&rcode),
        },
    ];
    let mut answers = ArrayVec::<Answer, ANSWERS_PER_EVENT>::new();
    let mut sound = Some(());
    let mut told = false;
    for _ in 0..header.answers {
        let Some(record) = walk.record() else {
            sound = None;
            break;
        };
        let Some(answer) = answer(&walk, &record) else {
            continue;
        };
        if answers.is_full() {
            tell_answers(&about, &answers, sink);
            answers.clear();
            told = true;
        }
        let _ = answers.try_push(answer);
    }
    if !told || !answers.is_empty() {
        tell_answers(&about, &answers, sink);
    }
    sound
}

fn answer(walk: &Walk<'_>, record: &Record<'_>) -> Option<Answer> {
    if record.class & CLASS_MASK != CLASS_IN {
        return None;
    }
    let mut target = Name::new();
    let address = match record.kind {
        TYPE_A => Some(Ipv4Addr::from(<[u8; 4]>::try_from(record.data).ok()?).into()),
        TYPE_AAAA => Some(Ipv6Addr::from(<[u8; 16]>::try_from(record.data).ok()?).into()),
        TYPE_CNAME => {
            name::read(walk.message, record.data_at, &mut target)?;
            None
        }
        _ => return None,
    };
    let mut name = Name::new();
    name::read(walk.message, record.name_at, &mut name)?;
    // The highest bit counts as zero (RFC 2181, 8).
    let ttl_s = if record.ttl_s > 0x7fff_ffff {
        0
    } else {
        record.ttl_s
    };
    Some(Answer {
        name,
        ttl_s,
        address,
        target,
    })
}

fn tell_answers(about: &[Field<'_>; 3], answers: &[Answer], sink: &mut dyn EventSink) {
    let mut fields = ArrayVec::<Field<'_>, { 3 + 3 * ANSWERS_PER_EVENT }>::new();
    fields.extend(*about);
    for answer in answers {
        let (index, value) = match answer.address {
            Some(address) => (ADDRESS, Value::Address(address)),
            None => (CNAME, Value::Bytes(&answer.target)),
        };
        fields.extend([
            Field {
                index: ANSWER_NAME,
                value: Value::Bytes(&answer.name),
            },
            Field { index, value },
            Field {
                index: TTL,
                value: Value::Number(answer.ttl_s.into()),
            },
        ]);
    }
    sink.event(&Event {
        kind: EventKind::Response,
        fields: &fields,
    });
}

/// The response code, with the upper bits that EDNS adds (RFC 6891, 6.1.3).
fn rcode(header: Header, walk: &Walk<'_>) -> ArrayVec<u8, 12> {
    let mut number = header.flags & 0xf;
    let mut ahead = Walk {
        message: walk.message,
        cursor: walk.cursor,
    };
    let records = [header.answers, header.authorities, header.additionals].map(u32::from);
    for _ in 0..records.iter().sum() {
        let Some(record) = ahead.record() else { break };
        if record.kind == TYPE_OPT {
            number |= (record.ttl_s >> 24 << 4) as u16;
            break;
        }
    }
    name::word(name::rcode(number), "RCODE", number)
}
