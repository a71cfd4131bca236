//! QUIC 1 and 2, their drafts, and Google's before them (RFC 9000, RFC 9001, RFC 9369).
//!
//! Trusts nothing. Distrusts: that a hello is in one frame, one packet, one datagram, or in order.
//! Initial packets are decrypted, which everybody can; told are the hellos in them, as TLS's. A
//! direction is done with its first packet of data. Violations: none, since datagrams stand alone.
//! Memory: a block for hellos in pieces; without one, only whole ones are told.

mod google;
mod header;
mod keys;

use arrayvec::ArrayVec;
use weir_wire::Direction;

use self::header::{Form, Kind, Long};
use super::tls::fields;
use super::tls::fingerprint::Carrier;
use super::tls::hello::{self, host_name};
use super::tls::pieces::Pieces;
use super::tls::{CLIENT_HELLO, SERVER_HELLO};
use crate::read::cursor::Cursor;
use crate::{
    Application, Block, Blocks, Buffer, BufferSet, ByteSet, EventKind, EventSink, Field, FieldSpec,
    Openings, Probe, ProbeInput, Step, Transport,
};

/// Of the block, the client's share; the server's hello is short.
const CLIENT_BYTES: usize = 6_144;
const MESSAGE_HEADER_BYTES: usize = 4;
/// How many Initial packets of a connection are decrypted at most.
const OPENED_MAX: u8 = 48;
/// How many packets of Google's public header are looked at for a hello.
const GOOGLE_PACKETS_MAX: u8 = 16;

const MESSAGE: u8 = 7;
const USER_AGENT: u8 = 8;

const PADDING: u64 = 0;
const PING: u64 = 1;
const ACK: u64 = 2;
const ACK_COUNTED: u64 = 3;
const CRYPTO: u64 = 6;
const GOOGLE_CRYPTO: u64 = 8;

/// The parser of one connection.
#[derive(Default)]
pub struct Quic {
    block: Option<Box<Block>>,
    sides: [Side; 2],
    /// The id that the client chose for the server: the keys come from it.
    connection: ArrayVec<u8, 20>,
    opened: u8,
    google: u8,
}

#[derive(Default)]
struct Side {
    pieces: Pieces,
    told: bool,
    announced: bool,
}

impl Application for Quic {
    const NAME: &'static str = "quic";
    const ABOUT: &'static str =
        "QUIC 1 and 2, their drafts and Google's, their hellos (RFC 9000, RFC 9001, RFC 9369)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Udp];
    const PORTS: &'static [u16] = &[443, 784, 853, 4433, 8443];
    const FIELDS: &'static [FieldSpec] = &[
        fields::SNI_SPEC,
        fields::ALPN_SPEC,
        FieldSpec::text("version", "QUIC 1, QUIC 2, QUIC draft, gQUIC or mvfst.")
            .looked_into_as(Buffer::QuicVersion),
        fields::CIPHER_SPEC,
        fields::JA3_SPEC,
        fields::JA3S_SPEC,
        fields::JA4_SPEC,
        FieldSpec::text(
            "message",
            "retry (RFC 9000, 17.2.5) or version negotiation (RFC 9000, 17.2.1).",
        ),
        FieldSpec::text("user_agent", "What Google's QUIC calls its client (UAID).")
            .looked_into_as(Buffer::QuicUserAgent),
    ];
    const CONTENTS: BufferSet = BufferSet::EMPTY
        .with(Buffer::TlsAlpn)
        .with(Buffer::TlsVersion)
        .with(Buffer::Ja3String)
        .with(Buffer::Ja3sString);
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::NONE
            .and_range(0x08, 0x3f)
            .and_range(0x40, 0x7f)
            .and_range(0xc0, 0xff),
        to_client: ByteSet::ANY,
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let client = header::probe(input.to_server, false);
        let server = header::probe(input.to_client, true);
        match (client, server) {
            (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
            (Probe::Certain, _) | (_, Probe::Certain) => Probe::Certain,
            _ => Probe::Unsure,
        }
    }

    fn open(_transport: Transport, blocks: &mut Blocks) -> Self {
        Self {
            block: blocks.take(),
            ..Self::default()
        }
    }

    fn close(&mut self, blocks: &mut Blocks) {
        if let Some(block) = self.block.take() {
            blocks.give(block);
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let all = Step::Consumed(input.len());
        let first = input.first().copied().unwrap_or_default();
        if first & header::LONG == 0 {
            // Google's public header has the fixed bit of all others unset.
            if first & header::FIXED != 0 || self.google >= GOOGLE_PACKETS_MAX {
                return Step::Done;
            }
            self.google += 1;
            self.google_hello(direction, input, sink);
            return all;
        }
        if Long::is_negotiation(input) {
            return self.announce(direction, "version negotiation", all, sink);
        }
        let Some(packet) = Long::read(input) else {
            self.google_hello(direction, input, sink);
            return all;
        };
        match packet.kind {
            Kind::Initial => self.initial(direction, input, &packet, sink),
            Kind::Retry => {
                // The client goes on with the id that the server chose.
                self.connection = packet.source.iter().copied().collect();
                return self.announce(direction, "retry", all, sink);
            }
            Kind::EarlyData | Kind::Handshake => {}
        }
        Step::Consumed(packet.end)
    }
}

impl Quic {
    fn announce(
        &mut self,
        direction: Direction,
        message: &'static str,
        step: Step,
        sink: &mut dyn EventSink,
    ) -> Step {
        let side = self.sides.get_mut(direction as usize);
        if let Some(side) = side.filter(|side| !side.announced) {
            side.announced = true;
            fields::tell(EventKind::Session, &[Field::name(MESSAGE, message)], sink);
        }
        step
    }

    /// Decrypts an Initial packet and reads its frames.
    fn initial(
        &mut self,
        direction: Direction,
        datagram: &[u8],
        packet: &Long<'_>,
        sink: &mut dyn EventSink,
    ) {
        let from_server = direction == Direction::ToClient;
        let told = self
            .sides
            .get(direction as usize)
            .is_none_or(|side| side.told);
        if told || self.opened >= OPENED_MAX || from_server && self.connection.is_empty() {
            return;
        }
        self.opened += 1;
        let known = match self.connection.is_empty() {
            true => None,
            false => keys::open(datagram, packet, &self.connection, from_server),
        };
        let clear = match known {
            Some(clear) => clear,
            // A new beginning, or the first packet.
            None if !from_server => {
                let Some(clear) = keys::open(datagram, packet, packet.destination, false) else {
                    return;
                };
                self.connection = packet.destination.iter().copied().take(20).collect();
                clear
            }
            None => return,
        };
        if packet.version.to_be_bytes() == *b"Q050" {
            self.google_hello(direction, &clear, sink);
            return;
        }
        self.frames(direction, &clear, packet, sink);
    }

    /// The frames that Initial packets may have (RFC 9000, 12.4).
    fn frames(
        &mut self,
        direction: Direction,
        content: &[u8],
        packet: &Long<'_>,
        sink: &mut dyn EventSink,
    ) {
        let google = packet.form == Form::GoogleEncrypted;
        let mut cursor = Cursor::new(content);
        while let Some(kind) = header::number(&mut cursor) {
            match kind {
                PADDING | PING => {}
                ACK | ACK_COUNTED if !google => {
                    if acknowledgement(&mut cursor, kind == ACK_COUNTED).is_none() {
                        return;
                    }
                }
                CRYPTO | GOOGLE_CRYPTO if (kind == GOOGLE_CRYPTO) == google => {
                    let Some((offset, piece)) = crypto(&mut cursor) else {
                        return;
                    };
                    self.piece(direction, offset, piece, packet.version, sink);
                }
                // Nothing behind the end of a connection, and nothing that is not known.
                _ => return,
            }
        }
    }

    /// A part of the handshake's stream: tells of the hello when it is whole.
    fn piece(
        &mut self,
        direction: Direction,
        offset: usize,
        piece: &[u8],
        version: u32,
        sink: &mut dyn EventSink,
    ) {
        let Some(side) = self
            .sides
            .get_mut(direction as usize)
            .filter(|side| !side.told)
        else {
            return;
        };
        if offset == 0
            && let Some((kind, body)) = message(piece)
        {
            side.told = true;
            return tell(direction, kind, body, version, sink);
        }
        let Some(block) = &mut self.block else {
            return;
        };
        let (client, server) = block.split_at_mut(CLIENT_BYTES);
        let memory = match direction {
            Direction::ToServer => client,
            Direction::ToClient => server,
        };
        side.pieces.insert(memory, offset, piece);
        let front = memory.get(..side.pieces.front()).unwrap_or_default();
        if let Some((kind, body)) = message(front) {
            side.told = true;
            tell(direction, kind, body, version, sink);
        }
    }

    /// A hello of Google's own, in the clear.
    fn google_hello(&mut self, direction: Direction, content: &[u8], sink: &mut dyn EventSink) {
        let side = self.sides.get_mut(direction as usize);
        let Some(side) = side.filter(|side| !side.told && direction == Direction::ToServer) else {
            return;
        };
        let Some(hello) = header::google_message(content).and_then(google::hello) else {
            return;
        };
        let Ok(server_name) = host_name(hello.server_name) else {
            return;
        };
        // A first hello may lack what a later one has.
        side.told = hello.server_name.is_some();
        let mut told = ArrayVec::<Field<'_>, 4>::new();
        told.push(Field::bytes(fields::SNI, &server_name));
        told.push(Field::bytes(fields::ALPN, b""));
        told.push(Field::name(fields::VERSION, "gQUIC"));
        if let Some(agent) = hello.user_agent {
            told.push(Field::bytes(USER_AGENT, agent));
        }
        fields::tell(EventKind::Request, &told, sink);
    }
}

/// Type and body of the handshake message at the front, when it is all there.
fn message(content: &[u8]) -> Option<(u8, &[u8])> {
    let mut cursor = Cursor::new(content.get(..MESSAGE_HEADER_BYTES)?);
    let kind = cursor.u8()?;
    let length = usize::try_from(cursor.u24()?).ok()?;
    let body = content.get(MESSAGE_HEADER_BYTES..MESSAGE_HEADER_BYTES + length)?;
    Some((kind, body))
}

/// A malformed hello is not told: nobody can act on it.
fn tell(direction: Direction, kind: u8, body: &[u8], version: u32, sink: &mut dyn EventSink) {
    let version = Some(header::version_name(version));
    let _malformed = match (direction, kind) {
        (Direction::ToServer, CLIENT_HELLO) => {
            hello::client(body, Carrier::Quic, version, sink).err()
        }
        (Direction::ToClient, SERVER_HELLO) => hello::server(body, version, sink).err(),
        _ => None,
    };
}

/// Passes over an acknowledgement (RFC 9000, 19.3).
fn acknowledgement(cursor: &mut Cursor<'_>, counted: bool) -> Option<()> {
    header::number(cursor)?;
    header::number(cursor)?;
    let ranges = header::number(cursor)?;
    header::number(cursor)?;
    for _ in 0..ranges {
        header::number(cursor)?;
        header::number(cursor)?;
    }
    if counted {
        for _ in 0..3 {
            header::number(cursor)?;
        }
    }
    Some(())
}

/// Offset and bytes of a CRYPTO frame (RFC 9000, 19.6).
fn crypto<'a>(cursor: &mut Cursor<'a>) -> Option<(usize, &'a [u8])> {
    let offset = usize::try_from(header::number(cursor)?).ok()?;
    let length = usize::try_from(header::number(cursor)?).ok()?;
    Some((offset, cursor.take(length)?))
}
