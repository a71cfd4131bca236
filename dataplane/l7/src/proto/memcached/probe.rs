//! Recognition of all three dialects, over TCP and in UDP's frames.

use super::binary::{self, Header, magic};
use super::text::{self, Reply, Sight};
use super::{FRAME, Frame, Memcached};
use crate::{Application, Probe, ProbeInput, Transport};

pub(super) fn probe(input: &ProbeInput<'_>) -> Probe {
    let home = Memcached::PORTS.contains(&input.server_port);
    if input.transport == Transport::Udp {
        return datagram(input);
    }
    let client = client(input.to_server);
    let server = server(input.to_client);
    match (client, server) {
        (Sight::Certain, _) | (_, Sight::Certain) => Probe::Certain,
        (Sight::Foreign, _) | (_, Sight::Foreign) => Probe::NotMine,
        // Words that others know too: the answer tells, or the port.
        (Sight::Plausible, Sight::Plausible) => Probe::Certain,
        (Sight::Plausible, Sight::Partial) if home && input.from_start => Probe::Certain,
        _ => Probe::Unsure,
    }
}

/// Each datagram is a frame of its own; it must be whole.
fn datagram(input: &ProbeInput<'_>) -> Probe {
    let client = framed(input.to_server, true);
    let server = framed(input.to_client, false);
    match (client, server) {
        (Some(false), _) | (_, Some(false)) => Probe::NotMine,
        (Some(true), _) | (_, Some(true)) => Probe::Certain,
        _ => Probe::Unsure,
    }
}

/// None: nothing there.
fn framed(input: &[u8], asks: bool) -> Option<bool> {
    if input.is_empty() {
        return None;
    }
    let Some(frame) = Frame::read(input) else {
        return Some(false);
    };
    let body = input.get(FRAME..).unwrap_or_default();
    let sight = if asks { client(body) } else { server(body) };
    let alone = frame.place == 0 && (!asks || frame.count == 1);
    let clean = frame.reserved == 0;
    Some(alone && (sight == Sight::Certain || (clean && sight == Sight::Plausible)))
}

fn client(input: &[u8]) -> Sight {
    match input.first() {
        None => Sight::Partial,
        Some(&magic::REQUEST) => match Header::read(input) {
            Some(header) if request(&header) => Sight::Certain,
            Some(_) => Sight::Foreign,
            None => Sight::Partial,
        },
        Some(_) => text::ask(input),
    }
}

fn server(input: &[u8]) -> Sight {
    match input.first() {
        None => Sight::Partial,
        Some(&magic::RESPONSE) => match Header::read(input) {
            Some(header) if response(&header) => Sight::Certain,
            Some(_) => Sight::Foreign,
            None => Sight::Partial,
        },
        Some(_) => match text::reply(input) {
            Reply::Sight(sight) => sight,
            // A value begins nothing else than an answer.
            Reply::Value { .. } => Sight::Certain,
        },
    }
}

/// A request that memcached itself understands: of Couchbase's there is a part of a bucket.
fn request(header: &Header) -> bool {
    header.datatype == 0
        && header.detail == 0
        && binary::command(header.opcode).is_some_and(|shape| shape.fits(header))
}

fn response(header: &Header) -> bool {
    let known = binary::command(header.opcode).is_some();
    let failed = header.detail != 0;
    header.datatype == 0
        && known
        && binary::status_name(header.detail) != "OTHER"
        && header.detail < 0x88
        && matches!(header.extras, 0 | 4)
        && usize::from(header.key) <= binary::KEY_MAX
        && header.value().is_some()
        && (!failed || header.body < 1_024)
}
