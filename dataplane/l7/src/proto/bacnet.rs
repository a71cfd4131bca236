//! BACnet/IP, building automation (ANSI/ASHRAE 135, annex J; over IPv6 annex U).
//!
//! Trusts nothing. Each datagram states its length and holds a network header and a message of a
//! closed list; broadcasts of others are judged like questions. Violations: a length that is not
//! the datagram's. Memory: none.

use std::fmt::Write as _;

use arrayvec::{ArrayString, ArrayVec};
use weir_wire::Direction;

use crate::read::cursor::Cursor;
use crate::{
    Application, ByteSet, Event, EventKind, EventSink, Field, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport,
};

/// Virtual links over IPv4 and IPv6 (J.2, U.2).
const IPV4: u8 = 0x81;
const IPV6: u8 = 0x82;
const PORTS: [u16; 2] = [47_808, 47_809];

const SERVICE: u8 = 0;
const KIND: u8 = 1;
const OBJECT: u8 = 2;
const PROPERTY: u8 = 3;
const ERROR: u8 = 4;
const LINK: u8 = 5;

/// The parser: every datagram stands alone.
#[derive(Default)]
pub struct Bacnet;

/// What a datagram holds.
#[derive(Default)]
struct Message {
    link: &'static str,
    kind: &'static str,
    service: &'static str,
    object: Option<u32>,
    property: Option<u32>,
    error: Option<u32>,
}

impl Application for Bacnet {
    const NAME: &'static str = "bacnet";
    const ABOUT: &'static str = "BACnet/IP, building automation (ANSI/ASHRAE 135, annexes J and U)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Udp];
    const PORTS: &'static [u16] = &PORTS;
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "service",
            "Service: read_property, write_property, who_is … , or a network message (135, 21)",
        ),
        FieldSpec::text(
            "kind",
            "Kind of message: confirmed_request, simple_ack, error, network … (135, 20.1)",
        ),
        FieldSpec::text(
            "object",
            "First object that is named, type and instance: \"8:4194303\" (135, 12)",
        ),
        FieldSpec::number("property", "Property asked for (135, 21)"),
        FieldSpec::number(
            "error",
            "Error code, or reason of a reject or abort (135, 18)",
        ),
        FieldSpec::text(
            "link",
            "Function of the virtual link: original_unicast, forwarded … (135, J.2)",
        ),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[IPV4, IPV6]),
        to_client: ByteSet::of(&[IPV4, IPV6]),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let mut certain = false;
        for datagram in [input.to_server, input.to_client] {
            if datagram.is_empty() {
                continue;
            }
            match read(datagram) {
                None => return Probe::NotMine,
                Some(message) => {
                    certain |= !message.kind.is_empty() || PORTS.contains(&input.server_port);
                }
            }
        }
        match certain {
            true => Probe::Certain,
            false => Probe::Unsure,
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let Some(message) = read(input) else {
            return Step::Violation("bacnet: no message of BACnet");
        };
        message.tell(direction, sink);
        Step::Consumed(input.len())
    }
}

impl Message {
    fn tell(&self, direction: Direction, sink: &mut dyn EventSink) {
        let mut object = ArrayString::<16>::new();
        if let Some(number) = self.object {
            let _ = write!(object, "{}:{}", number >> 22, number & 0x3f_ffff);
        }
        let mut fields: ArrayVec<Field<'_>, 6> = ArrayVec::new();
        fields.push(Field::name(SERVICE, self.service));
        if !self.kind.is_empty() {
            fields.push(Field::name(KIND, self.kind));
        }
        if !object.is_empty() {
            fields.push(Field::bytes(OBJECT, object.as_bytes()));
        }
        if let Some(property) = self.property {
            fields.push(Field::number(PROPERTY, property.into()));
        }
        if let Some(error) = self.error {
            fields.push(Field::number(ERROR, error.into()));
        }
        fields.push(Field::name(LINK, self.link));
        let asks = matches!(
            self.kind,
            "confirmed_request" | "unconfirmed_request" | "network" | ""
        );
        // Each end may ask; what is no question is an answer, wherever it comes from.
        let kind = match direction {
            _ if asks => EventKind::Request,
            Direction::ToServer | Direction::ToClient => EventKind::Response,
        };
        sink.event(&Event {
            kind,
            fields: &fields,
        });
    }
}

fn read(datagram: &[u8]) -> Option<Message> {
    let mut cursor = Cursor::new(datagram);
    let [family, function] = cursor.array()?;
    if usize::from(cursor.u16()?) != datagram.len() {
        return None;
    }
    let mut message = Message {
        link: match family {
            IPV4 => link_name(function)?,
            IPV6 => link_name_ipv6(function)?,
            _ => return None,
        },
        ..Message::default()
    };
    let network = match (family, function) {
        (IPV4, 0x04) => {
            let _origin = cursor.take(6)?;
            true
        }
        (IPV4, 0x09..=0x0b) => true,
        (IPV6, 0x01) => {
            let _ends = cursor.take(6)?;
            true
        }
        (IPV6, 0x02 | 0x0c) => {
            let _source = cursor.take(3)?;
            true
        }
        (IPV6, 0x08) => {
            let _source = cursor.take(3 + 18)?;
            true
        }
        (IPV4, 0x00) => (cursor.rest().len() == 2).then_some(false)?,
        _ => false,
    };
    if network {
        read_network(&mut cursor, &mut message)?;
    } else {
        message.service = message.link;
    }
    Some(message)
}

/// A network's number and an address in it.
fn take_address(cursor: &mut Cursor<'_>) -> Option<()> {
    let _network = cursor.u16()?;
    cursor.vector8().map(|_| ())
}

/// Network header (135, 6.2).
fn read_network(cursor: &mut Cursor<'_>, message: &mut Message) -> Option<()> {
    let [1, control] = cursor.array()? else {
        return None;
    };
    // Reserved bits.
    if control & 0x50 != 0 {
        return None;
    }
    if control & 0x20 != 0 {
        take_address(cursor)?;
    }
    if control & 0x08 != 0 {
        take_address(cursor)?;
    }
    if control & 0x20 != 0 {
        let _hops = cursor.u8()?;
    }
    if control & 0x80 != 0 {
        message.kind = "network";
        message.service = network_name(cursor.u8()?)?;
        return Some(());
    }
    read_application(cursor, message)
}

/// A message (135, 20.1).
fn read_application(cursor: &mut Cursor<'_>, message: &mut Message) -> Option<()> {
    let head = cursor.u8()?;
    let segmented = head & 0x08 != 0;
    match head >> 4 {
        0 => {
            message.kind = "confirmed_request";
            let _sizes_and_id = cursor.u16()?;
            if segmented {
                let _sequence_and_window = cursor.u16()?;
            }
            message.service = confirmed_name(cursor.u8()?)?;
            read_tags(cursor, message);
        }
        1 => {
            message.kind = "unconfirmed_request";
            message.service = unconfirmed_name(cursor.u8()?)?;
            read_tags(cursor, message);
        }
        2 => {
            message.kind = "simple_ack";
            let _id = cursor.u8()?;
            message.service = confirmed_name(cursor.u8()?)?;
        }
        3 => {
            message.kind = "complex_ack";
            let _id = cursor.u8()?;
            if segmented {
                let _sequence_and_window = cursor.u16()?;
            }
            message.service = confirmed_name(cursor.u8()?)?;
            read_tags(cursor, message);
        }
        4 => message.kind = "segment_ack",
        5 => {
            message.kind = "error";
            let _id = cursor.u8()?;
            message.service = confirmed_name(cursor.u8()?)?;
            // Class and code, both enumerated.
            let _class = cursor.array::<2>();
            message.error = match cursor.array() {
                Some([0x91, code]) => Some(code.into()),
                _ => None,
            };
        }
        6 | 7 => {
            message.kind = match head >> 4 {
                6 => "reject",
                _ => "abort",
            };
            let _id = cursor.u8()?;
            message.error = cursor.u8().map(u32::from);
        }
        _ => return None,
    }
    Some(())
}

/// The first object and property that are named in context tags 0 and 1, or as application data.
fn read_tags(cursor: &mut Cursor<'_>, message: &mut Message) {
    let number = |cursor: &mut Cursor<'_>, length: u8| {
        let bytes = cursor.take(usize::from(length))?;
        Some(
            bytes
                .iter()
                .fold(0, |number, byte| number << 8 | u32::from(*byte)),
        )
    };
    match cursor.u8() {
        // An object identifier of four octets.
        Some(0x0c | 0xc4) => message.object = number(cursor, 4),
        _ => return,
    }
    match cursor.u8() {
        Some(tag @ 0x19..=0x1a) => message.property = number(cursor, tag & 0x07),
        // Lists of properties.
        Some(0x1e) => {
            if let Some(tag @ 0x09..=0x0a) = cursor.u8() {
                message.property = number(cursor, tag & 0x07);
            }
        }
        _ => {}
    }
}

fn link_name(function: u8) -> Option<&'static str> {
    const NAMES: [&str; 13] = [
        "result",
        "write_broadcast_table",
        "read_broadcast_table",
        "read_broadcast_table_ack",
        "forwarded",
        "register_foreign_device",
        "read_foreign_devices",
        "read_foreign_devices_ack",
        "delete_foreign_device",
        "distribute_broadcast",
        "original_unicast",
        "original_broadcast",
        "secure",
    ];
    NAMES.get(usize::from(function)).copied()
}

fn link_name_ipv6(function: u8) -> Option<&'static str> {
    const NAMES: [&str; 13] = [
        "result",
        "original_unicast",
        "original_broadcast",
        "address_resolution",
        "forwarded_address_resolution",
        "address_resolution_ack",
        "virtual_address_resolution",
        "virtual_address_resolution_ack",
        "forwarded",
        "register_foreign_device",
        "delete_foreign_device",
        "secure",
        "distribute_broadcast",
    ];
    NAMES.get(usize::from(function)).copied()
}

fn network_name(kind: u8) -> Option<&'static str> {
    const NAMES: [&str; 20] = [
        "who_is_router_to_network",
        "i_am_router_to_network",
        "i_could_be_router_to_network",
        "reject_message_to_network",
        "router_busy_to_network",
        "router_available_to_network",
        "initialize_routing_table",
        "initialize_routing_table_ack",
        "establish_connection_to_network",
        "disconnect_connection_to_network",
        "challenge_request",
        "security_payload",
        "security_response",
        "request_key_update",
        "update_key_set",
        "update_distribution_key",
        "request_master_key",
        "set_master_key",
        "what_is_network_number",
        "network_number_is",
    ];
    match kind {
        0x80.. => Some("proprietary"),
        kind => NAMES.get(usize::from(kind)).copied(),
    }
}

fn confirmed_name(service: u8) -> Option<&'static str> {
    const NAMES: [&str; 34] = [
        "acknowledge_alarm",
        "confirmed_cov_notification",
        "confirmed_event_notification",
        "get_alarm_summary",
        "get_enrollment_summary",
        "subscribe_cov",
        "atomic_read_file",
        "atomic_write_file",
        "add_list_element",
        "remove_list_element",
        "create_object",
        "delete_object",
        "read_property",
        "read_property_conditional",
        "read_property_multiple",
        "write_property",
        "write_property_multiple",
        "device_communication_control",
        "confirmed_private_transfer",
        "confirmed_text_message",
        "reinitialize_device",
        "vt_open",
        "vt_close",
        "vt_data",
        "authenticate",
        "request_key",
        "read_range",
        "life_safety_operation",
        "subscribe_cov_property",
        "get_event_information",
        "subscribe_cov_property_multiple",
        "confirmed_cov_notification_multiple",
        "confirmed_audit_notification",
        "audit_log_query",
    ];
    NAMES.get(usize::from(service)).copied()
}

fn unconfirmed_name(service: u8) -> Option<&'static str> {
    const NAMES: [&str; 15] = [
        "i_am",
        "i_have",
        "unconfirmed_cov_notification",
        "unconfirmed_event_notification",
        "unconfirmed_private_transfer",
        "unconfirmed_text_message",
        "time_synchronization",
        "who_has",
        "who_is",
        "utc_time_synchronization",
        "write_group",
        "unconfirmed_cov_notification_multiple",
        "unconfirmed_audit_notification",
        "who_am_i",
        "you_are",
    ];
    NAMES.get(usize::from(service)).copied()
}
