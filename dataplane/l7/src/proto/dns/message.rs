//! A message: header, questions, records (RFC 1035, 4.1; RFC 6891; RFC 6762).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use arrayvec::ArrayVec;

use super::fault;
use super::name::{self, Name};
use super::{
    ADDRESS, ANSWER_NAME, CNAME, ID, LENGTH, NAME, OPCODE, RCODE, TARGET, TEXT, TTL, TYPE,
};
use crate::read::content;
use crate::read::cursor::Cursor;
use crate::{Buffer, Event, EventKind, EventSink, Field, Value, violation};

pub(super) const HEADER_BYTES: usize = 12;
/// No resolver asks more at once; multicast queries come near it.
const QUESTIONS_MAX: u16 = 64;
/// Answers told in one event; more come in further events.
const ANSWERS_PER_EVENT: usize = 12;

/// What is told of a TXT answer.
const TEXT_BYTES_MAX: usize = 64;

const TYPE_A: u16 = 1;
const TYPE_NS: u16 = 2;
const TYPE_CNAME: u16 = 5;
const TYPE_PTR: u16 = 12;
const TYPE_MX: u16 = 15;
const TYPE_TXT: u16 = 16;
const TYPE_DNAME: u16 = 39;
const TYPE_AAAA: u16 = 28;
const TYPE_OPT: u16 = 41;
const TYPE_NIMLOC: u16 = 32;
const TYPE_SRV: u16 = 33;
const CLASS_IN: u16 = 1;
/// Multicast DNS uses the class's highest bit for itself (RFC 6762, 5.4 and 10.2).
const CLASS_MASK: u16 = 0x7fff;

const MALFORMED: &str = violation::DNS_MALFORMED;

/// The fixed part.
#[derive(Clone, Copy)]
pub(super) struct Header {
    id: u16,
    flags: u16,
    questions: u16,
    answers: u16,
    authorities: u16,
    additionals: u16,
}

pub(super) struct Question {
    name_at: usize,
    kind: u16,
}

pub(super) struct Record<'a> {
    name_at: usize,
    pub(super) kind: u16,
    class: u16,
    ttl_s: u32,
    pub(super) data_at: usize,
    data: &'a [u8],
}

/// Walks a message; positions count from its start.
pub(super) struct Walk<'a> {
    message: &'a [u8],
    cursor: Cursor<'a>,
    /// The last record's data go beyond the message.
    in_data: bool,
}

impl Header {
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(message);
        Some(Self {
            id: cursor.u16()?,
            flags: cursor.u16()?,
            questions: cursor.u16()?,
            answers: cursor.u16()?,
            authorities: cursor.u16()?,
            additionals: cursor.u16()?,
        })
    }

    /// Questions, and records of all sections.
    pub(super) fn counts(self) -> (u32, u32) {
        let records = [self.answers, self.authorities, self.additionals].map(u32::from);
        (self.questions.into(), records.iter().sum())
    }

    /// Whether the sender cut it to fit.
    fn is_cut(self) -> bool {
        self.flags & 0x0200 != 0
    }

    fn is_response(self) -> bool {
        self.flags & 0x8000 != 0
    }

    fn opcode(self) -> u16 {
        self.flags >> 11 & 0xf
    }

    /// Whether recursion is asked for or offered.
    pub(super) fn is_recursive(self) -> bool {
        self.id != 0 && self.flags & 0x0180 != 0
    }

    /// RFC 4795, 2.1.1: one question, and no bits that are reserved.
    pub(super) fn is_link_local(self) -> bool {
        self.opcode() == 0 && self.flags & 0x00f0 == 0 && self.questions == 1
    }

    /// RFC 6762, 18: no id, no recursion; all bits of a query but TC are zero.
    pub(super) fn is_multicast(self) -> bool {
        self.id == 0 && matches!(self.flags & !0x0200, 0 | 0x8400)
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
    pub(super) fn new(message: &'a [u8]) -> Option<(Header, Self)> {
        let header = Header::read(message)?;
        let cursor = Cursor::new(message.get(HEADER_BYTES..)?);
        let walk = Self {
            message,
            cursor,
            in_data: false,
        };
        Some((header, walk))
    }

    pub(super) fn position(&self) -> usize {
        self.message.len() - self.cursor.rest().len()
    }

    pub(super) fn question(&mut self) -> Option<(Question, u16)> {
        let name_at = self.position();
        name::skip(&mut self.cursor)?;
        let kind = self.cursor.u16()?;
        let class = self.cursor.u16()? & CLASS_MASK;
        Some((Question { name_at, kind }, class))
    }

    /// Whether the record at which reading stopped goes beyond the message: its length was read.
    pub(super) fn is_cut_in_data(&self) -> bool {
        self.in_data
    }

    pub(super) fn record(&mut self) -> Option<Record<'a>> {
        let name_at = self.position();
        name::skip(&mut self.cursor)?;
        let kind = self.cursor.u16()?;
        let class = self.cursor.u16()?;
        let ttl_s = self.cursor.u32()?;
        let length = self.cursor.u16()?;
        let Some(data) = self.cursor.take(length.into()) else {
            self.in_data = true;
            return None;
        };
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

/// Whether header and first question are sound, whatever follows them.
pub(super) fn is_recognisable(message: &[u8]) -> bool {
    let Some((header, mut walk)) = Walk::new(message) else {
        return false;
    };
    let mut name = Name::new();
    let mut question = || {
        let (question, class) = walk.question()?;
        name::read(walk.message, question.name_at, &mut name)?;
        (is_class(class) && question.kind != 0 && !is_netbios(question.kind, &name)).then_some(())
    };
    header.is_plausible() && header.questions > 0 && question().is_some()
}

/// Whether the first name is one of the link's own (RFC 6762, 3 and 4).
pub(super) fn is_local(message: &[u8]) -> bool {
    let mut name = Name::new();
    name::read(message, HEADER_BYTES, &mut name).is_some()
        && (name.ends_with(b".local") || name.as_slice() == b"local")
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
    let (questions, records) = header.counts();
    // Every name of it was read: there is none left to be wrong.
    let read = told.is_some() && records == 0 && (questions <= 1 || !header.is_response());
    if !whole || read {
        return Ok(());
    }
    match (told, fault::find(message)) {
        (None, fault) => Err(fault.err().unwrap_or(MALFORMED)),
        // What nobody here reads may still be meant to harm who does.
        (Some(()), Err(fault)) if !header.is_cut() && fault != MALFORMED => Err(fault),
        (Some(()), _) => Ok(()),
    }
}

/// Whether the data of such a record begin with a name.
pub(super) fn has_name(kind: u16) -> bool {
    matches!(kind, TYPE_NS | TYPE_CNAME | TYPE_PTR | TYPE_DNAME)
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
    let about = about(header, walk.message);
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
            about,
            sink,
        );
    }
    if header.questions == 0 {
        tell_request(b"", b"", &opcode, about, sink);
    }
    Ok(Some(()))
}

/// What is told of a message as a whole.
fn about(header: Header, message: &[u8]) -> [Field<'static>; 2] {
    [
        Field::number(ID, header.id.into()),
        Field::number(LENGTH, message.len() as u64),
    ]
}

fn tell_request(
    name: &[u8],
    kind: &[u8],
    opcode: &[u8],
    [id, length]: [Field<'static>; 2],
    sink: &mut dyn EventSink,
) {
    let fields = [
        Field::bytes(NAME, name),
        Field::bytes(TYPE, kind),
        Field::bytes(OPCODE, opcode),
        id,
        length,
    ];
    sink.event(&Event {
        kind: EventKind::Request,
        fields: &fields,
    });
    content::whole(Buffer::DnsQuery, name, sink);
}

/// Names of answers, one behind the other.
type Names = ArrayVec<u8, { 2 * ANSWERS_PER_EVENT * name::NAME_BYTES_MAX }>;

/// An answer whose data is told; its names lie in [`Names`].
struct Answer<'a> {
    name: Range<usize>,
    ttl_s: u32,
    data: Data<'a>,
}

enum Data<'a> {
    Address(IpAddr),
    /// The field it belongs to, and a name.
    Name(u8, Range<usize>),
    Text(&'a [u8]),
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
    let [id, length] = about(header, walk.message);
    let about = [
        Field::bytes(NAME, &name),
        Field::bytes(TYPE, kind.as_deref().unwrap_or_default()),
        Field::bytes(RCODE, &rcode),
        id,
        length,
    ];
    let mut names = Names::new();
    let mut answers = ArrayVec::<Answer<'_>, ANSWERS_PER_EVENT>::new();
    let mut sound = Some(());
    let mut told = false;
    for _ in 0..header.answers {
        let Some(record) = walk.record() else {
            sound = None;
            break;
        };
        if answers.is_full() {
            tell_answers(&about, &answers, &names, sink);
            answers.clear();
            names.clear();
            told = true;
        }
        if let Some(answer) = answer(&walk, &record, &mut names) {
            let _ = answers.try_push(answer);
        }
    }
    if !told || !answers.is_empty() {
        tell_answers(&about, &answers, &names, sink);
    }
    sound
}

fn answer<'a>(walk: &Walk<'a>, record: &Record<'a>, names: &mut Names) -> Option<Answer<'a>> {
    if record.class & CLASS_MASK != CLASS_IN {
        return None;
    }
    let before = names.len();
    let answer = read_answer(walk, record, names);
    if answer.is_none() {
        names.truncate(before);
    }
    answer
}

fn read_answer<'a>(walk: &Walk<'a>, record: &Record<'a>, names: &mut Names) -> Option<Answer<'a>> {
    let mut target = |field: u8, skipped: usize| {
        let target = name::append(walk.message, record.data_at + skipped, names)?;
        Some(Data::Name(field, target))
    };
    let data = match record.kind {
        TYPE_A => Data::Address(Ipv4Addr::from(<[u8; 4]>::try_from(record.data).ok()?).into()),
        TYPE_AAAA => Data::Address(Ipv6Addr::from(<[u8; 16]>::try_from(record.data).ok()?).into()),
        TYPE_CNAME => target(CNAME, 0)?,
        TYPE_NS | TYPE_PTR | TYPE_DNAME => target(TARGET, 0)?,
        // Behind a preference; behind priority, weight and port.
        TYPE_MX => target(TARGET, 2)?,
        TYPE_SRV => target(TARGET, 6)?,
        TYPE_TXT => {
            let text = Cursor::new(record.data).vector8()?.rest();
            Data::Text(text.get(..TEXT_BYTES_MAX).unwrap_or(text))
        }
        _ => return None,
    };
    let name = name::append(walk.message, record.name_at, names)?;
    // The highest bit counts as zero (RFC 2181, 8).
    let ttl_s = if record.ttl_s > 0x7fff_ffff {
        0
    } else {
        record.ttl_s
    };
    Some(Answer { name, ttl_s, data })
}

fn tell_answers(
    about: &[Field<'_>; 5],
    answers: &[Answer<'_>],
    names: &Names,
    sink: &mut dyn EventSink,
) {
    let named = |range: &Range<usize>| names.get(range.clone()).unwrap_or_default();
    let mut fields = ArrayVec::<Field<'_>, { 5 + 3 * ANSWERS_PER_EVENT }>::new();
    fields.extend(*about);
    for answer in answers {
        let (index, value) = match &answer.data {
            Data::Address(address) => (ADDRESS, Value::Address(*address)),
            Data::Name(index, name) => (*index, Value::Bytes(named(name))),
            Data::Text(text) => (TEXT, Value::Bytes(text)),
        };
        fields.extend([
            Field::bytes(ANSWER_NAME, named(&answer.name)),
            Field { index, value },
            Field::number(TTL, answer.ttl_s.into()),
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
    let mut ahead = Walk { ..*walk };
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
