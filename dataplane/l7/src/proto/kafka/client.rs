//! What the client sends: requests, and the SASL tokens of old clients.

use arrayvec::ArrayVec;

use super::api::{self, Api, Naming};
use super::reader::{Fault, Read, Reader};
use super::{
    API, Asked, BODY_MAX, CLIENT, GROUP, Kafka, MECHANISM, MESSAGE_MAX, SOFTWARE, SOFTWARE_VERSION,
    TEXT_MAX, TOPIC, TOPIC_ID, USER,
};
use crate::{Event, EventKind, EventSink, Field, Step};

/// Length of the length.
pub(super) const SIZE: usize = 4;
/// A SASL token without a header.
const TOKEN_MAX: usize = 4 << 10;

/// A Produce request that is being read.
pub(super) struct Produce {
    /// Bytes of it to come.
    left: u64,
    topics: u32,
    partitions: u32,
    place: Place,
    flexible: bool,
    by_id: bool,
    client: ArrayVec<u8, 64>,
}

/// What comes next in a Produce request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Topic,
    Partition,
    PartitionTags,
}

/// A request's header.
pub(super) struct Head<'a> {
    pub(super) key: u8,
    pub(super) version: u8,
    pub(super) correlation: u32,
    pub(super) client: &'a [u8],
    pub(super) api: Api,
    /// Bytes of the header, without the length before it.
    pub(super) used: usize,
}

impl Head<'_> {
    pub(super) fn flexible(&self) -> bool {
        self.version >= self.api.flexible
    }
}

/// Reads a request's header from behind its length.
pub(super) fn head(bytes: &[u8]) -> Read<Head<'_>> {
    let mut reader = Reader::new(bytes, false);
    let key = reader.i16()?;
    let api = api::of(key).ok_or(Fault::Bad)?;
    // A little room for versions to come; ApiVersions is asked in any.
    let version = u8::try_from(reader.i16()?).map_err(|_| Fault::Bad)?;
    if version > api.last.saturating_add(4) {
        return Err(Fault::Bad);
    }
    let correlation = reader.i32()?.cast_unsigned();
    let mut head = Head {
        key: u8::try_from(key).map_err(|_| Fault::Bad)?,
        version,
        correlation,
        client: &[],
        api,
        used: 0,
    };
    // ControlledShutdown alone had a header without a client's name.
    if (key, version) != (7, 0) {
        head.client = reader.text()?;
        reader.flexible = head.flexible();
        reader.tags()?;
    }
    head.used = bytes.len() - reader.left();
    Ok(head)
}

/// A topic: its name, and its id where it has one.
#[derive(Default)]
struct Topic<'a> {
    name: &'a [u8],
    id: &'a [u8],
}

fn topic<'a>(reader: &mut Reader<'a>, naming: Naming) -> Read<Topic<'a>> {
    let mut topic = Topic::default();
    match naming {
        Naming::Name => topic.name = reader.text()?,
        Naming::Id => topic.id = reader.take(16)?,
        Naming::IdAndName => {
            topic.id = reader.take(16)?;
            topic.name = reader.text()?;
        }
        Naming::NameAndId => {
            topic.name = reader.text()?;
            topic.id = reader.take(16)?;
        }
    }
    if topic.id.iter().all(|&byte| byte == 0) {
        topic.id = &[];
    }
    Ok(topic)
}

/// Tells one request.
fn tell(head: &Head<'_>, topic: &Topic<'_>, group: &[u8], sink: &mut dyn EventSink) {
    let mut digits = [0_u8; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(topic.id) {
        for (digit, half) in pair.iter_mut().zip([byte >> 4, byte & 15]) {
            *digit = if half < 10 {
                b'0' + half
            } else {
                b'a' + half - 10
            };
        }
    }
    let id = if topic.id.is_empty() {
        &[][..]
    } else {
        &digits
    };
    let fields = [
        Field::name(API, head.api.name),
        Field::bytes(TOPIC, topic.name),
        Field::bytes(TOPIC_ID, id),
        Field::bytes(GROUP, group),
        Field::bytes(CLIENT, head.client),
    ];
    let count = if head.client.is_empty() { 4 } else { 5 };
    sink.event(&Event {
        kind: EventKind::Request,
        fields: fields.get(..count).unwrap_or_default(),
    });
}

fn tell_session(fields: &[Field<'_>], sink: &mut dyn EventSink) {
    sink.event(&Event {
        kind: EventKind::Session,
        fields,
    });
}

impl Kafka {
    pub(super) fn client_bytes(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if let Some(produce) = &mut self.produce {
            if let Some(step) = produce.step(input, sink) {
                return step;
            }
            self.produce = None;
        }
        let Some(&size) = input.first_chunk::<SIZE>() else {
            return Step::Incomplete;
        };
        let size = u32::from_be_bytes(size);
        if size > MESSAGE_MAX {
            return self.wrong("kafka: a length that is none");
        }
        let bytes = input.get(SIZE..).unwrap_or_default();
        let bytes = bytes.get(..size as usize).unwrap_or(bytes);
        let whole = bytes.len() == size as usize;
        match head(bytes) {
            Ok(head) => {
                self.tokens = false;
                self.request(&head, bytes, size, sink)
            }
            Err(Fault::Short) if !whole => Step::Incomplete,
            _ if self.tokens => {
                let kept = bytes.get(..TOKEN_MAX).unwrap_or(bytes);
                if !whole && kept.len() < TOKEN_MAX {
                    return Step::Incomplete;
                }
                tell_user(kept, sink);
                Step::Skip(SIZE as u64 + u64::from(size))
            }
            Err(_) => self.wrong("kafka: a header that is none"),
        }
    }

    /// A request with what there is of it.
    fn request(
        &mut self,
        head: &Head<'_>,
        bytes: &[u8],
        size: u32,
        sink: &mut dyn EventSink,
    ) -> Step {
        let known = head.version <= head.api.last;
        let body = bytes.get(head.used..).unwrap_or_default();
        let mut reader = Reader::new(body, head.flexible());
        if head.key == api::PRODUCE && known {
            let begun = Produce::begin(head, &mut reader);
            return match begun {
                Err(Fault::Short) if bytes.len() < size as usize => Step::Incomplete,
                Err(_) => self.wrong("kafka: a produce request that is none"),
                Ok(mut produce) => {
                    let used = head.used + body.len() - reader.left();
                    produce.left = u64::from(size).saturating_sub(used as u64);
                    self.produce = Some(produce);
                    self.ask(head);
                    Step::Consumed(SIZE + used)
                }
            };
        }
        if bytes.len() < (size as usize).min(BODY_MAX) {
            return Step::Incomplete;
        }
        // However much of it came along: the same is read.
        let body = bytes.get(..BODY_MAX).unwrap_or(bytes);
        let mut reader = Reader::new(body.get(head.used..).unwrap_or_default(), head.flexible());
        if self.body(head, &mut reader, sink).is_err() {
            tell(head, &Topic::default(), &[], sink);
        }
        self.ask(head);
        Step::Skip(SIZE as u64 + u64::from(size))
    }

    /// Remembers what is to be answered.
    fn ask(&mut self, head: &Head<'_>) {
        if self.outstanding.is_full() {
            self.outstanding.remove(0);
        }
        self.outstanding.push(Asked {
            correlation: head.correlation,
            key: head.key,
            version: head.version,
        });
    }

    /// Tells what a request is about; a fault: not all of it could be told.
    fn body(
        &mut self,
        head: &Head<'_>,
        reader: &mut Reader<'_>,
        sink: &mut dyn EventSink,
    ) -> Read<()> {
        let name = Field::name(API, head.api.name);
        match head.key {
            api::API_VERSIONS => {
                let mut text = || match head.flexible() {
                    true => reader.text().unwrap_or_default(),
                    false => &[],
                };
                let (software, version) = (text(), text());
                tell_session(
                    &[
                        name,
                        Field::bytes(CLIENT, head.client),
                        Field::bytes(SOFTWARE, software),
                        Field::bytes(SOFTWARE_VERSION, version),
                    ],
                    sink,
                );
                return Ok(());
            }
            api::SASL_HANDSHAKE => {
                self.tokens = head.version == 0;
                let mechanism = reader.text().unwrap_or_default();
                tell_session(&[name, Field::bytes(MECHANISM, mechanism)], sink);
                return Ok(());
            }
            api::SASL_AUTHENTICATE => {
                let length = reader.bytes_length().unwrap_or_default() as usize;
                let token = reader.take(length.min(reader.left())).unwrap_or_default();
                tell_user(token, sink);
                return Ok(());
            }
            _ => {}
        }
        let Some(layout) = api::layout_of(head.key, head.version) else {
            let group = group(head, reader).unwrap_or_default();
            tell(head, &Topic::default(), group, sink);
            return Ok(());
        };
        let mut group: &[u8] = &[];
        let mut texts = 0;
        for piece in layout.before {
            if let api::Piece::Text = piece {
                let text = reader.text()?;
                texts += 1;
                if texts == layout.group {
                    group = text;
                }
            } else {
                api::pass(reader, std::slice::from_ref(piece))?;
            }
        }
        let count = reader.count()?;
        match count {
            // Metadata of no topic: the brokers alone. Version 0 knows no null: it means all.
            Some(0) if head.key == api::METADATA && head.version > 0 => {
                tell_session(&[name, Field::bytes(CLIENT, head.client)], sink);
                return Ok(());
            }
            Some(0) if head.key == api::FETCH && self.fetches => return Ok(()),
            None | Some(0) => {
                tell(head, &Topic::default(), group, sink);
                return Ok(());
            }
            Some(_) => {}
        }
        self.fetches |= head.key == api::FETCH;
        for _ in 0..count.unwrap_or_default() {
            let named = topic(reader, layout.naming)?;
            tell(head, &named, group, sink);
            api::pass(reader, layout.behind)?;
            if layout.structures {
                reader.tags()?;
            }
        }
        Ok(())
    }
}

/// The group of a request that names no topics.
fn group<'a>(head: &Head<'_>, reader: &mut Reader<'a>) -> Read<&'a [u8]> {
    match (head.key, head.version) {
        // FindCoordinator is about a group unless it says otherwise.
        (10, 0..=3) => {
            let name = reader.text()?;
            let other = head.version > 0 && reader.take(1)? != [0];
            Ok(if other { &[] } else { name })
        }
        // OffsetFetch lists groups.
        (9, 8..) if reader.count()? == Some(1) => reader.text(),
        (11..=14 | 76, _) => reader.text(),
        _ => Ok(&[]),
    }
}

/// The user of a PLAIN or SCRAM token (RFC 4616, RFC 5802).
fn tell_user(token: &[u8], sink: &mut dyn EventSink) {
    let scram = token
        .strip_prefix(b"n,")
        .or(token.strip_prefix(b"y,"))
        .and_then(|rest| {
            rest.split(|&byte| byte == b',')
                .find_map(|part| part.strip_prefix(b"n="))
        });
    let plain = || {
        let mut parts = token.split(|&byte| byte == 0);
        let (_, user) = (parts.next()?, parts.next()?);
        let readable = parts.next().is_some() && user.len() <= TEXT_MAX;
        (readable && std::str::from_utf8(user).is_ok()).then_some(user)
    };
    if let Some(user) = scram.or_else(plain) {
        tell_session(&[Field::bytes(USER, user)], sink);
    }
}

impl Produce {
    /// Reads up to the list of topics.
    fn begin(head: &Head<'_>, reader: &mut Reader<'_>) -> Read<Self> {
        if head.version >= 3 {
            reader.text()?;
        }
        // Acknowledgements and a timeout.
        reader.skip(6)?;
        Ok(Self {
            left: 0,
            topics: reader.count()?.unwrap_or_default(),
            partitions: 0,
            place: Place::Topic,
            flexible: head.flexible(),
            by_id: head.version >= 13,
            client: ArrayVec::try_from(head.client).unwrap_or_default(),
        })
    }

    /// The next step within the request; None: it is over.
    fn step(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Option<Step> {
        let window = usize::try_from(self.left).unwrap_or(usize::MAX);
        let window = input.get(..window).unwrap_or(input);
        let mut reader = Reader::new(window, self.flexible);
        while self.topics > 0 {
            let skipped = match self.advance(&mut reader, sink) {
                Ok(skipped) => u64::from(skipped),
                Err(Fault::Short) if (window.len() as u64) < self.left => {
                    return Some(Step::Incomplete);
                }
                Err(_) => return Some(self.give_up(sink)),
            };
            // Some parts are empty in old versions.
            let used = (window.len() - reader.left()) as u64 + skipped;
            if used > 0 {
                let Some(left) = self.left.checked_sub(used) else {
                    return Some(self.give_up(sink));
                };
                self.left = left;
                return Some(Step::Skip(used));
            }
        }
        (self.left > 0).then(|| Step::Skip(std::mem::take(&mut self.left)))
    }

    /// What cannot be read may be about any topic.
    fn give_up(&mut self, sink: &mut dyn EventSink) -> Step {
        self.topics = 0;
        self.tell(&Topic::default(), sink);
        match std::mem::take(&mut self.left) {
            0 => Step::Violation("kafka: a produce request that is none"),
            left => Step::Skip(left),
        }
    }

    fn tell(&self, topic: &Topic<'_>, sink: &mut dyn EventSink) {
        let head = Head {
            key: api::PRODUCE,
            version: 0,
            correlation: 0,
            client: &self.client,
            api: Api {
                name: "Produce",
                last: 0,
                flexible: 0,
            },
            used: 0,
        };
        tell(&head, topic, &[], sink);
    }

    /// Reads the next part; returns how many bytes of records follow it.
    fn advance(&mut self, reader: &mut Reader<'_>, sink: &mut dyn EventSink) -> Read<u32> {
        match self.place {
            Place::Topic => {
                let naming = if self.by_id { Naming::Id } else { Naming::Name };
                let named = topic(reader, naming)?;
                self.partitions = reader.count()?.unwrap_or_default();
                self.tell(&named, sink);
                self.place = Place::Partition;
            }
            Place::Partition if self.partitions > 0 => {
                reader.skip(4)?;
                let records = reader.bytes_length()?;
                self.partitions -= 1;
                self.place = Place::PartitionTags;
                return Ok(records);
            }
            Place::PartitionTags if self.flexible => {
                reader.tags()?;
                self.place = Place::Partition;
            }
            Place::PartitionTags => {
                self.place = Place::Partition;
                return self.advance(reader, sink);
            }
            Place::Partition => {
                reader.tags()?;
                self.topics -= 1;
                self.place = Place::Topic;
            }
        }
        Ok(0)
    }
}
