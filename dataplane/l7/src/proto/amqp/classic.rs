//! AMQP 0-9-1 (and 0-9, 0-8, whose frames are the same).

use weir_wire::Direction;

use super::{
    ADDRESS, Amqp, CLIENT, ERROR, ERROR_CODE, EXCHANGE, FRAME_MAX, Fault, LOGIN, MECHANISM, METHOD,
    PRODUCT, PRODUCT_VERSION, Place, QUEUE, READ_MAX, ROUTING_KEY, Read, USER, VHOST, need,
    plain_user,
};
use crate::read::cursor::Cursor;
use crate::told::Told;
use crate::{EventKind, EventSink, Step};

/// Ends every frame.
pub(super) const END: u8 = 0xce;
/// Type, channel and length.
pub(super) const HEAD: usize = 7;

/// Types of frames.
pub(super) mod kind {
    pub(in super::super) const METHOD: u8 = 1;
    pub(in super::super) const HEADER: u8 = 2;
    pub(in super::super) const BODY: u8 = 3;
    pub(in super::super) const HEARTBEAT: u8 = 8;
}

/// Who sends a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Client,
    Server,
    Both,
}

use Sender::{Both, Client, Server};

/// Class, method, its name and who sends it.
const METHODS: &[(u16, u16, &str, Sender)] = &[
    (10, 10, "connection.start", Server),
    (10, 11, "connection.start-ok", Client),
    (10, 20, "connection.secure", Server),
    (10, 21, "connection.secure-ok", Client),
    (10, 30, "connection.tune", Server),
    (10, 31, "connection.tune-ok", Client),
    (10, 40, "connection.open", Client),
    (10, 41, "connection.open-ok", Server),
    (10, 50, "connection.close", Both),
    (10, 51, "connection.close-ok", Both),
    (10, 60, "connection.blocked", Both),
    (10, 61, "connection.unblocked", Both),
    (10, 70, "connection.update-secret", Client),
    (10, 71, "connection.update-secret-ok", Server),
    (20, 10, "channel.open", Client),
    (20, 11, "channel.open-ok", Server),
    (20, 20, "channel.flow", Both),
    (20, 21, "channel.flow-ok", Both),
    (20, 40, "channel.close", Both),
    (20, 41, "channel.close-ok", Both),
    (30, 10, "access.request", Client),
    (30, 11, "access.request-ok", Server),
    (40, 10, "exchange.declare", Client),
    (40, 11, "exchange.declare-ok", Server),
    (40, 20, "exchange.delete", Client),
    (40, 21, "exchange.delete-ok", Server),
    (40, 30, "exchange.bind", Client),
    (40, 31, "exchange.bind-ok", Server),
    (40, 40, "exchange.unbind", Client),
    (40, 51, "exchange.unbind-ok", Server),
    (50, 10, "queue.declare", Client),
    (50, 11, "queue.declare-ok", Server),
    (50, 20, "queue.bind", Client),
    (50, 21, "queue.bind-ok", Server),
    (50, 30, "queue.purge", Client),
    (50, 31, "queue.purge-ok", Server),
    (50, 40, "queue.delete", Client),
    (50, 41, "queue.delete-ok", Server),
    (50, 50, "queue.unbind", Client),
    (50, 51, "queue.unbind-ok", Server),
    (60, 10, "basic.qos", Client),
    (60, 11, "basic.qos-ok", Server),
    (60, 20, "basic.consume", Client),
    (60, 21, "basic.consume-ok", Server),
    (60, 30, "basic.cancel", Both),
    (60, 31, "basic.cancel-ok", Both),
    (60, 40, "basic.publish", Client),
    (60, 50, "basic.return", Server),
    (60, 60, "basic.deliver", Server),
    (60, 70, "basic.get", Client),
    (60, 71, "basic.get-ok", Server),
    (60, 72, "basic.get-empty", Server),
    (60, 80, "basic.ack", Both),
    (60, 90, "basic.reject", Client),
    (60, 100, "basic.recover-async", Client),
    (60, 110, "basic.recover", Client),
    (60, 111, "basic.recover-ok", Server),
    (60, 120, "basic.nack", Both),
    (85, 10, "confirm.select", Client),
    (85, 11, "confirm.select-ok", Server),
    (90, 10, "tx.select", Client),
    (90, 11, "tx.select-ok", Server),
    (90, 20, "tx.commit", Client),
    (90, 21, "tx.commit-ok", Server),
    (90, 30, "tx.rollback", Client),
    (90, 31, "tx.rollback-ok", Server),
];

/// Name of a method and who sends it.
pub(super) fn method(class: u16, method: u16) -> Option<(&'static str, Sender)> {
    METHODS
        .iter()
        .find(|row| (row.0, row.1) == (class, method))
        .map(|row| (row.2, row.3))
}

/// What a request is about.
#[derive(Clone, Copy, Default)]
struct About<'a> {
    exchange: &'a [u8],
    queue: &'a [u8],
    routing_key: &'a [u8],
}

impl Amqp {
    pub(super) fn classic(
        &mut self,
        direction: Direction,
        input: &[u8],
        sink: &mut dyn EventSink,
    ) -> Step {
        let mut cursor = Cursor::new(input);
        let (Some(kind), Some(_), Some(length)) = (cursor.u8(), cursor.u16(), cursor.u32()) else {
            return Step::Incomplete;
        };
        let known = matches!(
            kind,
            kind::METHOD | kind::HEADER | kind::BODY | kind::HEARTBEAT | 4
        );
        if !known || length > FRAME_MAX {
            return self.wrong("amqp: a frame that is none");
        }
        if kind == kind::METHOD {
            let kept = (length as usize).min(READ_MAX);
            let Some(payload) = cursor.take(kept) else {
                return Step::Incomplete;
            };
            match self.method(direction, payload, sink) {
                Ok(()) => {}
                Err(Fault::Short) => return self.wrong("amqp: arguments that do not add up"),
                Err(Fault::Wrong(what)) => return self.wrong(what),
            }
        }
        if let Some(place) = self.sides.get_mut(direction as usize) {
            *place = Place::End;
        }
        Step::Skip(HEAD as u64 + u64::from(length))
    }

    fn method(
        &mut self,
        direction: Direction,
        payload: &[u8],
        sink: &mut dyn EventSink,
    ) -> Read<()> {
        let mut cursor = Cursor::new(payload);
        let (class, number) = (need(cursor.u16())?, need(cursor.u16())?);
        let Some((name, sender)) = method(class, number) else {
            return Err(Fault::Wrong("amqp: a method that is none"));
        };
        let other = match direction {
            Direction::ToServer => Server,
            Direction::ToClient => Client,
        };
        if sender == other {
            return Err(Fault::Wrong("amqp: a method of the other side"));
        }
        match direction {
            Direction::ToServer => self.client_method(name, &mut cursor, sink),
            Direction::ToClient => server_method(name, &mut cursor, sink),
        }
    }

    fn client_method(
        &mut self,
        name: &'static str,
        cursor: &mut Cursor<'_>,
        sink: &mut dyn EventSink,
    ) -> Read<()> {
        let mut about = About::default();
        match name {
            "connection.start-ok" => return start_ok(name, cursor, sink),
            "connection.open" => {
                let vhost = text(cursor)?;
                self.vhost = vhost.try_into().unwrap_or_default();
                Told::new()
                    .name(METHOD, name)
                    .bytes(VHOST, vhost)
                    .send(EventKind::Session, sink);
                return Ok(());
            }
            "connection.close" | "channel.close" => return close(name, cursor, sink),
            "exchange.declare" | "exchange.delete" => {
                about.exchange = behind_ticket(cursor)?;
            }
            "exchange.bind" | "exchange.unbind" => {
                // From one exchange to another: a request about each.
                about.exchange = behind_ticket(cursor)?;
                let source = text(cursor)?;
                about.routing_key = text(cursor)?;
                self.request(name, &about, sink);
                about.exchange = source;
            }
            "queue.declare" | "queue.purge" | "queue.delete" | "basic.consume" | "basic.get" => {
                about.queue = behind_ticket(cursor)?;
            }
            "queue.bind" | "queue.unbind" => {
                about.queue = behind_ticket(cursor)?;
                about.exchange = text(cursor)?;
                about.routing_key = text(cursor)?;
            }
            "basic.publish" => {
                about.exchange = behind_ticket(cursor)?;
                about.routing_key = text(cursor)?;
            }
            _ => return Ok(()),
        }
        self.request(name, &about, sink);
        Ok(())
    }

    fn request(&self, name: &'static str, about: &About<'_>, sink: &mut dyn EventSink) {
        Told::new()
            .name(METHOD, name)
            .bytes(EXCHANGE, about.exchange)
            .bytes(QUEUE, about.queue)
            .bytes(ROUTING_KEY, about.routing_key)
            .bytes(VHOST, &self.vhost)
            .bytes(ADDRESS, &[])
            .send(EventKind::Request, sink);
    }
}

fn server_method(
    name: &'static str,
    cursor: &mut Cursor<'_>,
    sink: &mut dyn EventSink,
) -> Read<()> {
    match name {
        "connection.start" => {
            need(cursor.u16())?;
            let length = need(cursor.u32())? as usize;
            let table = need(cursor.take(length))?;
            let value = |key: &[u8]| entry(table, key).unwrap_or_default();
            Told::new()
                .bytes(PRODUCT, value(b"product"))
                .bytes(PRODUCT_VERSION, value(b"version"))
                .send(EventKind::Session, sink);
        }
        "connection.tune" => {
            Told::new()
                .name(LOGIN, "accepted")
                .send(EventKind::Session, sink);
        }
        "connection.close" | "channel.close" => close(name, cursor, sink)?,
        "basic.return" => {
            let code = need(cursor.u16())?;
            let error = text(cursor)?;
            let exchange = text(cursor)?;
            Told::new()
                .name(METHOD, name)
                .bytes(EXCHANGE, exchange)
                .bytes(ROUTING_KEY, text(cursor)?)
                .number(ERROR_CODE, code.into())
                .bytes(ERROR, error)
                .send(EventKind::Response, sink);
        }
        "basic.deliver" | "basic.get-ok" => {
            if name == "basic.deliver" {
                text(cursor)?;
            }
            need(cursor.take(9))?;
            let exchange = text(cursor)?;
            Told::new()
                .name(METHOD, name)
                .bytes(EXCHANGE, exchange)
                .bytes(ROUTING_KEY, text(cursor)?)
                .send(EventKind::Response, sink);
        }
        _ => {}
    }
    Ok(())
}

fn start_ok(name: &'static str, cursor: &mut Cursor<'_>, sink: &mut dyn EventSink) -> Read<()> {
    let length = need(cursor.u32())? as usize;
    let table = need(cursor.take(length))?;
    let mechanism = text(cursor)?;
    let length = need(cursor.u32())? as usize;
    let response = need(cursor.take(length))?;
    let user = match mechanism {
        b"PLAIN" => plain_user(response),
        b"AMQPLAIN" => entry(response, b"LOGIN").unwrap_or_default(),
        _ => &[],
    };
    Told::new()
        .name(METHOD, name)
        .bytes(USER, user)
        .bytes(MECHANISM, mechanism)
        .bytes(CLIENT, entry(table, b"product").unwrap_or_default())
        .send(EventKind::Session, sink);
    Ok(())
}

/// Of either side. 403 before the connection is open says that the login failed.
fn close(name: &'static str, cursor: &mut Cursor<'_>, sink: &mut dyn EventSink) -> Read<()> {
    let code = need(cursor.u16())?;
    let error = text(cursor)?;
    let told = Told::new()
        .name(METHOD, name)
        .number(ERROR_CODE, code.into())
        .bytes(ERROR, error);
    let told = match (name, code) {
        ("connection.close", 403) => told.name(LOGIN, "failed"),
        _ => told,
    };
    if code != 200 && code != 0 {
        told.send(EventKind::Response, sink);
    }
    Ok(())
}

/// A short text.
fn text<'a>(cursor: &mut Cursor<'a>) -> Read<&'a [u8]> {
    need(cursor.vector8()).map(|text| text.rest())
}

/// The first text of most methods, behind what was once an access ticket.
fn behind_ticket<'a>(cursor: &mut Cursor<'a>) -> Read<&'a [u8]> {
    need(cursor.u16())?;
    text(cursor)
}

/// A text of a field table.
fn entry<'a>(table: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let mut cursor = Cursor::new(table);
    loop {
        let key = cursor.vector8()?.rest();
        let kind = cursor.u8()?;
        let length = match kind {
            b'V' => 0,
            b't' | b'b' | b'B' => 1,
            b'U' | b's' | b'u' => 2,
            b'I' | b'i' | b'f' => 4,
            b'D' => 5,
            b'L' | b'l' | b'd' | b'T' => 8,
            b'S' | b'A' | b'F' | b'x' => cursor.u32()? as usize,
            _ => return None,
        };
        let value = cursor.take(length)?;
        if key == wanted && kind == b'S' {
            return Some(value);
        }
    }
}
