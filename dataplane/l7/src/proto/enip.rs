//! EtherNet/IP: CIP, the Common Industrial Protocol, in its encapsulation (ODVA, The CIP Networks
//! Library, volumes 1 and 2).
//!
//! Trusts nothing. The head has a closed list of commands, and reserved octets; what it carries is a
//! list of items whose lengths add up. Violations: another command or a status that is none.
//! Memory: a flag each way.

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::read::cursor::Cursor;
use crate::read::framing::{Framing, Front, Look, count};
use crate::{
    Application, ByteSet, Event, EventKind, EventSink, Field, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport,
};

const PORT: u16 = 44_818;
/// Command, length, session, status, context, options (volume 2, 2-3.1).
const HEAD: usize = 24;
/// Of a message so much is read; the rest is skipped.
const READ_MAX: usize = 512;

const LIST_SERVICES: u16 = 0x04;
const LIST_IDENTITY: u16 = 0x63;
const LIST_INTERFACES: u16 = 0x64;
const REGISTER: u16 = 0x65;
const UNREGISTER: u16 = 0x66;
const SEND_REQUEST: u16 = 0x6f;
const SEND_UNIT: u16 = 0x70;

/// Items of a list (volume 2, 2-6.3).
const ITEM_IDENTITY: u16 = 0x0c;
const ITEM_CONNECTED: u16 = 0xb1;
const ITEM_UNCONNECTED: u16 = 0xb2;

/// CIP services that carry another within.
const UNCONNECTED_SEND: u8 = 0x52;

const COMMAND: u8 = 0;
const SERVICE: u8 = 1;
const CLASS: u8 = 2;
const INSTANCE: u8 = 3;
const STATUS: u8 = 4;
const PRODUCT: u8 = 5;
const PRODUCT_VERSION: u8 = 6;
const VENDOR: u8 = 7;
const SERIAL: u8 = 8;

/// The parser.
#[derive(Default)]
pub struct Enip {
    framing: Framing,
}

/// What stands in the head.
struct Head {
    command: u16,
    length: usize,
    status: u32,
}

/// A CIP message (volume 1, 2-4).
#[derive(Default)]
struct Message {
    service: u8,
    class: Option<u32>,
    instance: Option<u32>,
    /// General status of an answer.
    status: Option<u8>,
}

impl Application for Enip {
    const NAME: &'static str = "enip";
    const ABOUT: &'static str =
        "EtherNet/IP, the Common Industrial Protocol over TCP and UDP (ODVA, CIP Networks Library)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp, Transport::Udp];
    const PORTS: &'static [u16] = &[PORT];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "command",
            "Command of the encapsulation: register_session, send_rr_data … (volume 2, 2-3.2)",
        ),
        FieldSpec::condition(
            "service",
            "CIP service: get_attribute_single, write_tag, reset … or other (volume 1, appendix A)",
        ),
        FieldSpec::number("class", "Class of the object asked (volume 1, appendix C)"),
        FieldSpec::number("instance", "Instance of the object asked"),
        FieldSpec::number(
            "status",
            "Status other than success, of the encapsulation or of CIP",
        ),
        FieldSpec::text("product", "Product name of the device (volume 2, 2-4.3)"),
        FieldSpec::text("product_version", "Revision of the device, \"major.minor\""),
        FieldSpec::number("vendor", "Vendor number of the device (ODVA)"),
        FieldSpec::number("serial", "Serial number of the device"),
    ];
    const OPENINGS: Openings = Openings {
        to_server: COMMANDS,
        to_client: COMMANDS,
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let sides = [input.to_server, input.to_client];
        if sides.iter().any(|bytes| telling(bytes, input.server_port)) {
            return Probe::Certain;
        }
        match sides.iter().any(|bytes| count(bytes, front).broken) {
            true => Probe::NotMine,
            false => Probe::Unsure,
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let wrong = "enip: no encapsulation head";
        let length = match self.framing.next(direction, input, front, wrong) {
            Ok(length) => length,
            Err(step) => return step,
        };
        let Some(message) = input.get(..length.min(READ_MAX)) else {
            return Step::Incomplete;
        };
        if let Some(head) = Head::read(message) {
            head.tell(direction, message.get(HEAD..).unwrap_or_default(), sink);
        }
        Step::Skip(length as u64)
    }

    fn gap(&mut self, direction: Direction, _length: u64) -> bool {
        self.framing.lose(direction);
        true
    }
}

/// First octets of the commands.
const COMMANDS: ByteSet = ByteSet::of(&[
    0x00, 0x01, 0x04, 0x63, 0x64, 0x65, 0x66, 0x6f, 0x70, 0x72, 0x73,
]);

fn front(bytes: &[u8], _look: Look) -> Front {
    let command = |low: u8| command_name(low.into()).is_some();
    match bytes {
        [] => return Front::Partial,
        [low, 0, ..] | [low] if command(*low) => {}
        _ => return Front::Other,
    }
    if bytes.len() < HEAD {
        return Front::Partial;
    }
    match Head::read(bytes) {
        Some(head) => Front::Message(HEAD + head.length),
        None => Front::Other,
    }
}

/// Whether one of the messages that `bytes` begin with is hardly anything else.
fn telling(bytes: &[u8], server_port: u16) -> bool {
    let mut rest = bytes;
    while let Front::Message(length) = front(rest, Look::Searching) {
        let Some(message) = rest.get(..length) else {
            return false;
        };
        let data = message.get(HEAD..).unwrap_or_default();
        let tells = match Head::read(message).map(|head| (head.command, head.status)) {
            // Version 1 and no options (volume 2, 2-4.4).
            Some((REGISTER, _)) => data == [1, 0, 0, 0],
            Some((LIST_IDENTITY | LIST_SERVICES | LIST_INTERFACES, _)) if !data.is_empty() => {
                items(data).is_some()
            }
            Some((SEND_REQUEST | SEND_UNIT, _)) => {
                data.get(6..).is_some_and(|list| items(list).is_some())
            }
            Some(_) => server_port == PORT,
            None => false,
        };
        if tells {
            return true;
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    false
}

impl Head {
    /// None: no head, or too few bytes.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        let command = u16::from_le_bytes(cursor.array()?);
        let length = u16::from_le_bytes(cursor.array()?);
        let _session = cursor.u32()?;
        let status = u32::from_le_bytes(cursor.array()?);
        let _context: [u8; 8] = cursor.array()?;
        let options = cursor.u32()?;
        command_name(command)?;
        let fits = match command {
            REGISTER => length == 4,
            UNREGISTER => length == 0,
            // An interface, a timeout, and a list of items.
            SEND_REQUEST | SEND_UNIT => length >= 8 || status != 0,
            _ => true,
        };
        let known = matches!(status, 0..=3 | 0x64 | 0x65 | 0x69 | 0x6a);
        (options == 0 && known && fits).then_some(Self {
            command,
            length: length.into(),
            status,
        })
    }

    fn tell(&self, direction: Direction, data: &[u8], sink: &mut dyn EventSink) {
        let message = match self.command {
            SEND_REQUEST | SEND_UNIT => data.get(6..).and_then(cip),
            _ => None,
        };
        let identity = match self.command {
            LIST_IDENTITY => item(data, ITEM_IDENTITY).and_then(Identity::read),
            _ => None,
        };
        let version = identity.as_ref().map(Identity::version);
        let mut fields: ArrayVec<Field<'_>, 9> = ArrayVec::new();
        fields.push(Field::name(
            COMMAND,
            command_name(self.command).unwrap_or("other"),
        ));
        let service = message.as_ref().map(|message| message.service & 0x7f);
        fields.push(Field::name(SERVICE, service.map_or("", service_name)));
        let mut status = u64::from(self.status);
        if let Some(message) = message {
            if let Some(class) = message.class {
                fields.push(Field::number(CLASS, class.into()));
            }
            if let Some(instance) = message.instance {
                fields.push(Field::number(INSTANCE, instance.into()));
            }
            status = message.status.map_or(status, u64::from);
        }
        if status != 0 {
            fields.push(Field::number(STATUS, status));
        }
        if let (Some(identity), Some(version)) = (&identity, &version) {
            fields.push(Field::bytes(PRODUCT, identity.product));
            fields.push(Field::bytes(PRODUCT_VERSION, version.as_bytes()));
            fields.push(Field::number(VENDOR, identity.vendor.into()));
            fields.push(Field::number(SERIAL, identity.serial.into()));
        }
        let kind = match direction {
            Direction::ToServer => EventKind::Request,
            Direction::ToClient => EventKind::Response,
        };
        sink.event(&Event {
            kind,
            fields: &fields,
        });
    }
}

/// The items of a list, as far as they are there; None where their lengths do not add up.
fn items(list: &[u8]) -> Option<usize> {
    let mut cursor = Cursor::new(list);
    let count = u16::from_le_bytes(cursor.array()?);
    for _ in 0..count {
        let _kind = cursor.u16()?;
        let length = u16::from_le_bytes(cursor.array()?);
        cursor.take(length.into())?;
    }
    // Lists of identities may be empty; a list for CIP has an address and data.
    (cursor.is_empty() && count <= 16).then_some(count.into())
}

/// The first item of this kind, as far as it is there.
fn item(list: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut cursor = Cursor::new(list);
    let count = u16::from_le_bytes(cursor.array()?);
    for _ in 0..count {
        let kind = u16::from_le_bytes(cursor.array()?);
        let length = usize::from(u16::from_le_bytes(cursor.array()?));
        if kind == wanted {
            let rest = cursor.rest();
            return Some(rest.get(..length).unwrap_or(rest));
        }
        cursor.take(length)?;
    }
    None
}

/// The CIP message in a list of items.
fn cip(list: &[u8]) -> Option<Message> {
    if let Some(data) = item(list, ITEM_UNCONNECTED) {
        return Message::read(data);
    }
    // A sequence count stands before what a connection carries.
    Message::read(item(list, ITEM_CONNECTED)?.get(2..)?)
}

impl Message {
    fn read(data: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(data);
        let service = cursor.u8()?;
        if service & 0x80 != 0 {
            let [_reserved, status] = cursor.array()?;
            return Some(Self {
                service,
                status: Some(status),
                ..Self::default()
            });
        }
        let words = cursor.u8()?;
        let path = cursor.take(2 * usize::from(words))?;
        let outer = Self::asked(service, path);
        if service == UNCONNECTED_SEND {
            // A time, a timeout, and the message that a router passes on.
            let inner = cursor.u16().and_then(|_| {
                let length = u16::from_le_bytes(cursor.array()?);
                Self::read(cursor.take(length.into())?)
            });
            return Some(inner.unwrap_or(outer));
        }
        Some(outer)
    }

    /// By the logical segments of a path (volume 1, C-1.4.2).
    fn asked(service: u8, path: &[u8]) -> Self {
        let mut message = Self {
            service,
            ..Self::default()
        };
        let mut cursor = Cursor::new(path);
        while let Some(segment) = cursor.u8() {
            let value = match segment & 0x03 {
                0 => cursor.u8().map(u32::from),
                1 => cursor
                    .u8()
                    .and_then(|_| cursor.array())
                    .map(|two| u16::from_le_bytes(two).into()),
                _ => None,
            };
            match (segment & !0x03, value) {
                (0x20, Some(_)) => message.class = value,
                (0x24, Some(_)) => message.instance = value,
                (0x28 | 0x2c | 0x30, Some(_)) => {}
                _ => break,
            }
        }
        message
    }
}

/// What a device says of itself (volume 2, 2-4.3.3).
struct Identity<'a> {
    vendor: u16,
    revision: [u8; 2],
    serial: u32,
    product: &'a [u8],
}

impl<'a> Identity<'a> {
    fn read(item: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(item);
        let _version = cursor.u16()?;
        let _address = cursor.take(16)?;
        let vendor = u16::from_le_bytes(cursor.array()?);
        let _kind = cursor.u16()?;
        let _code = cursor.u16()?;
        let revision = cursor.array()?;
        let _status = cursor.u16()?;
        let serial = u32::from_le_bytes(cursor.array()?);
        Some(Self {
            vendor,
            revision,
            serial,
            product: cursor.vector8()?.rest(),
        })
    }

    fn version(&self) -> arrayvec::ArrayString<8> {
        use std::fmt::Write as _;
        let mut text = arrayvec::ArrayString::new();
        let [major, minor] = self.revision;
        let _ = write!(text, "{major}.{minor}");
        text
    }
}

fn command_name(command: u16) -> Option<&'static str> {
    Some(match command {
        0x00 => "nop",
        0x01 => "list_targets",
        LIST_SERVICES => "list_services",
        LIST_IDENTITY => "list_identity",
        LIST_INTERFACES => "list_interfaces",
        REGISTER => "register_session",
        UNREGISTER => "unregister_session",
        SEND_REQUEST => "send_rr_data",
        SEND_UNIT => "send_unit_data",
        0x72 => "indicate_status",
        0x73 => "cancel",
        _ => return None,
    })
}

fn service_name(service: u8) -> &'static str {
    match service {
        0x01 => "get_attributes_all",
        0x02 => "set_attributes_all",
        0x03 => "get_attribute_list",
        0x04 => "set_attribute_list",
        0x05 => "reset",
        0x06 => "start",
        0x07 => "stop",
        0x08 => "create",
        0x09 => "delete",
        0x0a => "multiple_service_packet",
        0x0d => "apply_attributes",
        0x0e => "get_attribute_single",
        0x10 => "set_attribute_single",
        0x11 => "find_next_object_instance",
        0x15 => "restore",
        0x16 => "save",
        0x17 => "no_operation",
        0x18 => "get_member",
        0x19 => "set_member",
        0x1a => "insert_member",
        0x1b => "remove_member",
        0x4b => "execute_pccc",
        0x4c => "read_tag",
        0x4d => "write_tag",
        0x4e => "forward_close",
        0x4f => "read_modify_write_tag",
        UNCONNECTED_SEND => "unconnected_send",
        0x53 => "write_tag_fragmented",
        0x54 => "forward_open",
        0x55 => "get_instance_attribute_list",
        0x56 => "get_connection_data",
        0x5a => "get_connection_owner",
        0x5b => "large_forward_open",
        _ => "other",
    }
}
