//! MQTT: logins, publishes and subscriptions with their topics, what the server refuses.
//!
//! Read after MQTT 3.1, 3.1.1 and 5.0 (OASIS). Trusts nothing. Payloads are skipped by their
//! lengths. CONNECT is no request (a condition on topics would else cut every client off), but its
//! will is: the server publishes it in the client's name. Each topic filter of a subscription is a
//! request of its own. A topic that cannot be told (longer than [`TOPIC_MAX`], an alias that is
//! not known) is empty, so that an allowing condition on it fails. Passwords are never told.
//!
//! Violations: packet types and flags that are reserved, lengths that do not add up. Memory: the
//! latest topic aliases of the client.

mod probe;
#[cfg(test)]
mod tests;

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::read::content::{self, Run};
use crate::read::cursor::Cursor;
use crate::{
    Application, Buffer, BufferSet, ByteSet, Event, EventKind, EventSink, Field, FieldSpec,
    Openings, Probe, ProbeInput, Seen, Step, Transport,
};

/// A longer topic is not told.
const TOPIC_MAX: usize = 4_096;
/// What is kept of a CONNECT; the filters of a longer SUBSCRIBE are told as one empty topic.
const HEAD_MAX: usize = 12 << 10;
/// Aliases that are remembered, and how long their topics may be.
const ALIASES: usize = 4;
const ALIAS_TOPIC_MAX: usize = 48;

const TYPE: u8 = 0;
const TOPIC: u8 = 1;
const QOS: u8 = 2;
const CLIENT: u8 = 3;
const USER: u8 = 4;
const VERSION: u8 = 5;
const LOGIN: u8 = 6;
const REASON: u8 = 7;

/// Types of control packets (MQTT 5.0, 2.1.2).
mod kind {
    pub(super) const CONNECT: u8 = 1;
    pub(super) const CONNACK: u8 = 2;
    pub(super) const PUBLISH: u8 = 3;
    pub(super) const PUBACK: u8 = 4;
    pub(super) const PUBREC: u8 = 5;
    pub(super) const PUBREL: u8 = 6;
    pub(super) const PUBCOMP: u8 = 7;
    pub(super) const SUBSCRIBE: u8 = 8;
    pub(super) const SUBACK: u8 = 9;
    pub(super) const UNSUBSCRIBE: u8 = 10;
    pub(super) const UNSUBACK: u8 = 11;
    pub(super) const PINGREQ: u8 = 12;
    pub(super) const PINGRESP: u8 = 13;
    pub(super) const DISCONNECT: u8 = 14;
    pub(super) const AUTH: u8 = 15;
}

/// Property of a PUBLISH (MQTT 5.0, 3.3.2.3.4).
const TOPIC_ALIAS: u32 = 0x23;

/// The parser.
#[derive(Default)]
pub struct Mqtt {
    /// 3, 4 or 5; 0: the CONNECT was not seen.
    level: u8,
    picked_up: bool,
    aliases: ArrayVec<Alias, ALIASES>,
    /// The message at hand, each way.
    messages: [Run; 2],
}

struct Alias {
    number: u16,
    topic: ArrayVec<u8, ALIAS_TOPIC_MAX>,
}

/// The fixed header.
#[derive(Clone, Copy)]
struct Header {
    kind: u8,
    flags: u8,
    /// Bytes of the header.
    used: usize,
    /// Bytes behind it.
    length: usize,
}

enum Read {
    Whole(Header),
    Partial,
    Bad,
}

impl Application for Mqtt {
    const NAME: &'static str = "mqtt";
    const ABOUT: &'static str = "MQTT, versions 3.1, 3.1.1 and 5.0 (OASIS)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[1883];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "type",
            "PUBLISH, SUBSCRIBE, UNSUBSCRIBE, or WILL for what CONNECT leaves to be published",
        ),
        FieldSpec::condition("topic", "Topic, or topic filter of a subscription"),
        FieldSpec::number("qos", "Quality of service: 0 to 2"),
        FieldSpec::text("client", "Client identifier of CONNECT")
            .looked_into_as(Buffer::MqttClient),
        FieldSpec::text("user", "User name of CONNECT").looked_into_as(Buffer::MqttUser),
        FieldSpec::text("version", "Protocol version of CONNECT"),
        FieldSpec::text("login", "Outcome of CONNECT: accepted or failed"),
        FieldSpec::number(
            "reason",
            "Return or reason code of the server (MQTT 5.0, 2.4)",
        ),
    ];
    const CONTENTS: BufferSet = BufferSet::EMPTY
        .with(Buffer::MqttTopic)
        .with(Buffer::MqttSubscription)
        .with(Buffer::MqttMessage);
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[0x10, 0x40, 0x50, 0x62, 0x70, 0x82, 0xa2, 0xc0, 0xe0, 0xf0])
            .and_range(0x30, 0x3d),
        to_client: ByteSet::of(&[0x20, 0x40, 0x50, 0x62, 0x70, 0x90, 0xb0, 0xd0, 0xe0, 0xf0])
            .and_range(0x30, 0x3d),
    };
    const SEEN: Seen = Seen::Live;

    fn probe(input: &ProbeInput<'_>) -> Probe {
        probe::probe(input)
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if let Some(message) = self.messages.get_mut(direction as usize)
            && message.goes_on()
        {
            return message.hand_on(Buffer::MqttMessage, input, sink);
        }
        let header = match header(input) {
            Read::Whole(header) => header,
            Read::Partial => return Step::Incomplete,
            Read::Bad => return self.wrong("mqtt: a length that never ends"),
        };
        let body = input.get(header.used..).unwrap_or_default();
        let body = body.get(..header.length).unwrap_or(body);
        let packet = Packet { header, body };
        let mut front = 0;
        if header.kind == kind::PUBLISH && sink.wants(Buffer::MqttMessage) {
            front = match packet.front(self.level) {
                None if body.len() < header.length.min(HEAD_MAX) => return Step::Incomplete,
                front => front.unwrap_or(0),
            };
        }
        let read = match direction {
            Direction::ToServer => self.client(&packet, sink),
            Direction::ToClient => self.server(&packet, sink),
        };
        match read {
            Ok(()) if front > 0 => self.message(direction, &packet, front, sink),
            Ok(()) => Step::Skip((header.used + header.length) as u64),
            Err(Fault::Partial) if body.len() < header.length.min(HEAD_MAX) => Step::Incomplete,
            Err(Fault::Partial) => self.wrong("mqtt: lengths that do not add up"),
            Err(Fault::Wrong(what)) => self.wrong(what),
        }
    }

    fn overflow(
        &mut self,
        _direction: Direction,
        _input: &[u8],
        _sink: &mut dyn EventSink,
    ) -> Step {
        Step::Violation("mqtt: packet too long")
    }

    fn gap(&mut self, direction: Direction, length: u64) -> bool {
        let message = self.messages.get_mut(direction as usize);
        if message.is_some_and(|message| message.covers(length)) {
            return true;
        }
        self.picked_up = true;
        length == 0
    }
}

#[derive(Clone, Copy)]
struct Packet<'a> {
    header: Header,
    /// What there is of it.
    body: &'a [u8],
}

impl Packet<'_> {
    /// What stands before the message that is published; more than nothing.
    fn front(&self, level: u8) -> Option<usize> {
        let mut cursor = Cursor::new(self.body);
        cursor.vector16()?;
        if self.header.flags & 6 != 0 {
            cursor.u16()?;
        }
        if level >= 5 {
            let length = varint(&mut cursor)?;
            cursor.take(length as usize)?;
        }
        Some(self.body.len() - cursor.rest().len())
    }
}

enum Fault {
    /// More of the packet is needed, or it is shorter than it says.
    Partial,
    Wrong(&'static str),
}

/// What stands there, or a fault that more bytes may mend.
fn need<T>(value: Option<T>) -> Result<T, Fault> {
    value.ok_or(Fault::Partial)
}

impl Mqtt {
    /// Picked up, bytes may not be what they seem.
    fn wrong(&self, what: &'static str) -> Step {
        if self.picked_up {
            Step::Done
        } else {
            Step::Violation(what)
        }
    }

    /// What is published, behind the head that was told of.
    fn message(
        &mut self,
        direction: Direction,
        packet: &Packet<'_>,
        front: usize,
        sink: &mut dyn EventSink,
    ) -> Step {
        let header = packet.header;
        let length = (header.length - front) as u64;
        let run = Run::new(Buffer::MqttMessage, length, (true, true), sink);
        if let Some(message) = self.messages.get_mut(direction as usize) {
            *message = run;
        }
        Step::Consumed(header.used + front)
    }

    fn client(&mut self, packet: &Packet<'_>, sink: &mut dyn EventSink) -> Result<(), Fault> {
        let flags = packet.header.flags;
        match packet.header.kind {
            kind::CONNECT if flags == 0 => self.connect(packet, sink),
            kind::PUBLISH => {
                let (topic, qos) = self.published(packet)?;
                tell(EventKind::Request, "PUBLISH", &topic, qos, sink);
                Ok(())
            }
            kind::SUBSCRIBE if flags == 2 => self.filters(packet, "SUBSCRIBE", sink),
            kind::UNSUBSCRIBE if flags == 2 => self.filters(packet, "UNSUBSCRIBE", sink),
            kind::PUBREL if flags == 2 => Ok(()),
            kind::PUBACK
            | kind::PUBREC
            | kind::PUBCOMP
            | kind::PINGREQ
            | kind::DISCONNECT
            | kind::AUTH
                if flags == 0 =>
            {
                Ok(())
            }
            _ => Err(Fault::Wrong("mqtt: a packet that no client sends")),
        }
    }

    fn server(&mut self, packet: &Packet<'_>, sink: &mut dyn EventSink) -> Result<(), Fault> {
        let flags = packet.header.flags;
        match packet.header.kind {
            kind::CONNACK if flags == 0 => {
                let code = *need(packet.body.get(1))?;
                let login = if code == 0 { "accepted" } else { "failed" };
                sink.event(&Event {
                    kind: EventKind::Session,
                    fields: &[
                        Field::name(LOGIN, login),
                        Field::number(REASON, code.into()),
                    ],
                });
                Ok(())
            }
            kind::PUBLISH => {
                let (topic, qos) = publish(packet)?;
                let known = if topic.len() > TOPIC_MAX { &[] } else { topic };
                tell(EventKind::Response, "PUBLISH", known, qos, sink);
                Ok(())
            }
            kind::SUBACK | kind::UNSUBACK if flags == 0 => self.acknowledged(packet, sink),
            kind::PUBREL if flags == 2 => Ok(()),
            kind::PUBACK | kind::PUBREC | kind::DISCONNECT if flags == 0 => {
                let place = if packet.header.kind == kind::DISCONNECT {
                    0
                } else {
                    2
                };
                if packet.header.length > place {
                    let code = *need(packet.body.get(place))?;
                    refused(packet.header.kind, code, sink);
                }
                Ok(())
            }
            kind::PUBCOMP | kind::PINGRESP | kind::AUTH if flags == 0 => Ok(()),
            _ => Err(Fault::Wrong("mqtt: a packet that no server sends")),
        }
    }

    fn connect(&mut self, packet: &Packet<'_>, sink: &mut dyn EventSink) -> Result<(), Fault> {
        let length = packet.header.length;
        let whole = length.min(HEAD_MAX);
        let mut cursor = Cursor::new(need(packet.body.get(..whole))?);
        need(cursor.vector16())?;
        // Mosquitto's bridges set the upper bit.
        let level = need(cursor.u8())? & 0x7f;
        let flags = need(cursor.u8())?;
        need(cursor.u16())?;
        let properties = |cursor: &mut Cursor<'_>| -> Result<(), Fault> {
            if level >= 5 {
                let length = need(varint(cursor))?;
                need(cursor.take(length as usize))?;
            }
            Ok(())
        };
        properties(&mut cursor)?;
        let client = need(cursor.vector16())?.rest();
        let mut will = None;
        if flags & 0x04 != 0 {
            properties(&mut cursor)?;
            will = Some(need(cursor.vector16())?.rest());
        }
        let user = match user(cursor, flags) {
            Some(user) => user,
            // Behind a will that is larger than is kept.
            None if length > HEAD_MAX => &[],
            None => return Err(Fault::Partial),
        };
        self.level = level;
        let version = match level {
            3 => "3.1",
            4 => "3.1.1",
            5 => "5.0",
            _ => "",
        };
        sink.event(&Event {
            kind: EventKind::Session,
            fields: &[
                Field::name(TYPE, "CONNECT"),
                Field::bytes(CLIENT, client),
                Field::bytes(USER, user),
                Field::name(VERSION, version),
            ],
        });
        if let Some(topic) = will {
            let known = if topic.len() > TOPIC_MAX { &[] } else { topic };
            tell(EventKind::Request, "WILL", known, flags >> 3 & 3, sink);
        }
        Ok(())
    }

    /// The topic of a client's PUBLISH, an alias replaced by what it stands for.
    fn published(&mut self, packet: &Packet<'_>) -> Result<(Topic, u8), Fault> {
        let (topic, qos) = publish(packet)?;
        let mut known = Topic::new();
        if topic.len() <= TOPIC_MAX {
            known.extend(topic.iter().copied());
        }
        if self.level < 5 {
            return Ok((known, qos));
        }
        let identifier = if qos > 0 { 2 } else { 0 };
        let mut cursor = Cursor::new(packet.body);
        need(cursor.take(2 + topic.len() + identifier))?;
        let length = need(varint(&mut cursor))?;
        let properties = need(cursor.take(length as usize))?;
        if let Some(number) = topic_alias(properties) {
            self.alias(number, &mut known);
        }
        Ok((known, qos))
    }

    /// Remembers what an alias stands for, or looks it up for an empty topic.
    fn alias(&mut self, number: u16, topic: &mut Topic) {
        let place = self.aliases.iter().position(|alias| alias.number == number);
        if topic.is_empty() {
            if let Some(alias) = place.and_then(|place| self.aliases.get(place)) {
                topic.extend(alias.topic.iter().copied());
            }
            return;
        }
        if let Some(place) = place {
            self.aliases.remove(place);
        }
        if let Ok(topic) = ArrayVec::try_from(topic.as_slice()) {
            if self.aliases.is_full() {
                self.aliases.remove(0);
            }
            self.aliases.push(Alias { number, topic });
        }
    }

    fn filters(
        &mut self,
        packet: &Packet<'_>,
        name: &'static str,
        sink: &mut dyn EventSink,
    ) -> Result<(), Fault> {
        if packet.header.length > HEAD_MAX {
            tell(EventKind::Request, name, &[], 0, sink);
            return Ok(());
        }
        if packet.body.len() < packet.header.length {
            return Err(Fault::Partial);
        }
        let list = need(filter_list(packet.body, self.level >= 5))?;
        let options = name == "SUBSCRIBE";
        // All of it is read before any of it is told.
        let mut check = Cursor::new(list);
        while !check.is_empty() {
            need(filter(&mut check, options))?;
        }
        let mut cursor = Cursor::new(list);
        while let Some((topic, qos)) = filter(&mut cursor, options) {
            tell(EventKind::Request, name, topic, qos, sink);
        }
        Ok(())
    }

    fn acknowledged(&mut self, packet: &Packet<'_>, sink: &mut dyn EventSink) -> Result<(), Fault> {
        let length = packet.header.length;
        if length > HEAD_MAX {
            return Ok(());
        }
        if packet.body.len() < length {
            return Err(Fault::Partial);
        }
        let codes = need(filter_list(packet.body, self.level >= 5))?;
        for &code in codes {
            refused(packet.header.kind, code, sink);
        }
        Ok(())
    }
}

/// The user's name, behind what the will says.
fn user(mut cursor: Cursor<'_>, flags: u8) -> Option<&[u8]> {
    if flags & 0x04 != 0 {
        cursor.vector16()?;
    }
    match flags & 0x80 {
        0 => Some(&[]),
        _ => cursor.vector16().map(|user| user.rest()),
    }
}

type Topic = ArrayVec<u8, TOPIC_MAX>;

/// Topic and quality of service of a PUBLISH.
fn publish<'a>(packet: &Packet<'a>) -> Result<(&'a [u8], u8), Fault> {
    let qos = packet.header.flags >> 1 & 3;
    if qos == 3 {
        return Err(Fault::Wrong("mqtt: a quality of service that is none"));
    }
    let mut cursor = Cursor::new(packet.body);
    let length = usize::from(need(cursor.u16())?);
    let identifier = if qos > 0 { 2 } else { 0 };
    if 2 + length + identifier > packet.header.length {
        return Err(Fault::Wrong("mqtt: lengths that do not add up"));
    }
    // Of a topic that is not told not every byte is waited for.
    let shown = length.min(TOPIC_MAX + 1);
    Ok((need(cursor.take(shown))?, qos))
}

/// What follows the packet identifier and the properties.
fn filter_list(body: &[u8], properties: bool) -> Option<&[u8]> {
    let mut cursor = Cursor::new(body);
    cursor.u16()?;
    if properties {
        let length = varint(&mut cursor)?;
        cursor.take(length as usize)?;
    }
    Some(cursor.rest())
}

fn filter<'a>(cursor: &mut Cursor<'a>, options: bool) -> Option<(&'a [u8], u8)> {
    let topic = cursor.vector16()?.rest();
    let qos = if options { cursor.u8()? & 3 } else { 0 };
    Some((topic, qos))
}

/// The topic alias among the properties of a PUBLISH.
fn topic_alias(properties: &[u8]) -> Option<u16> {
    let mut cursor = Cursor::new(properties);
    loop {
        match varint(&mut cursor)? {
            TOPIC_ALIAS => return cursor.u16(),
            0x01 => drop(cursor.u8()?),
            0x02 => drop(cursor.u32()?),
            0x03 | 0x08 | 0x09 => drop(cursor.vector16()?),
            0x0b => drop(varint(&mut cursor)?),
            0x26 => {
                cursor.vector16()?;
                cursor.vector16()?;
            }
            _ => return None,
        }
    }
}

fn tell(kind: EventKind, name: &'static str, topic: &[u8], qos: u8, sink: &mut dyn EventSink) {
    sink.event(&Event {
        kind,
        fields: &[
            Field::name(TYPE, name),
            Field::bytes(TOPIC, topic),
            Field::number(QOS, qos.into()),
        ],
    });
    let buffer = match name {
        "SUBSCRIBE" => Buffer::MqttSubscription,
        "PUBLISH" => Buffer::MqttTopic,
        _ => return,
    };
    if !topic.is_empty() {
        content::whole(buffer, topic, sink);
    }
}

/// Tells a code that says no.
fn refused(packet: u8, code: u8, sink: &mut dyn EventSink) {
    let name = match packet {
        kind::SUBACK => "SUBACK",
        kind::UNSUBACK => "UNSUBACK",
        kind::PUBACK => "PUBACK",
        kind::PUBREC => "PUBREC",
        _ => "DISCONNECT",
    };
    if code >= 0x80 {
        sink.event(&Event {
            kind: EventKind::Response,
            fields: &[Field::name(TYPE, name), Field::number(REASON, code.into())],
        });
    }
}

fn header(input: &[u8]) -> Read {
    let Some((&first, rest)) = input.split_first() else {
        return Read::Partial;
    };
    let mut length = 0_usize;
    for (place, &byte) in rest.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Read::Whole(Header {
                kind: first >> 4,
                flags: first & 15,
                used: place + 2,
                length,
            });
        }
    }
    if rest.len() < 4 {
        Read::Partial
    } else {
        Read::Bad
    }
}

/// A variable byte integer (MQTT 5.0, 1.5.5).
fn varint(cursor: &mut Cursor<'_>) -> Option<u32> {
    let mut value = 0;
    for place in 0..4 {
        let byte = cursor.u8()?;
        value |= u32::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
