//! DTLS 1.0 to 1.3: TLS over datagrams, what passes in the clear (RFC 4347, RFC 6347, RFC 9147).
//!
//! Trusts nothing. Distrusts: that a message comes in one piece, in order, or once. Told are the
//! hellos with their fingerprints, the certificates up to DTLS 1.2, and alerts; a direction is done
//! where its data begins. STUN and media that share the addresses (RFC 7983) are passed over.
//! Violations: a datagram that is neither. Memory: a block for messages in pieces, of up to
//! 4 KiB each way; without one, only whole messages are told.

use weir_wire::Direction;

use super::tls::certificate;
use super::tls::fields;
use super::tls::fingerprint::Carrier;
use super::tls::pieces::Pieces;
use super::tls::{self, hello};
use crate::read::cursor::Cursor;
use crate::{
    Application, Block, Blocks, BufferSet, ByteSet, EventSink, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport,
};

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const CONTENT_LAST: u8 = 26;
const HEADER_BYTES: usize = 13;
/// 2^14 and what encryption may add.
const RECORD_BYTES_MAX: usize = (1 << 14) + 2_048;
/// Of a connection's life, not of one that began long before: renegotiations are rare.
const EPOCH_MAX: u16 = 255;
/// The header of an encrypted record of DTLS 1.3 (RFC 9147, 4).
const UNIFIED_MASK: u8 = 0xe0;
const UNIFIED: u8 = 0x20;
const HALF: usize = 4_096;

/// The parser of one connection.
#[derive(Default)]
pub struct Dtls {
    sides: [Side; 2],
    block: Option<Box<Block>>,
}

#[derive(Default)]
struct Side {
    /// The first message that was not told.
    next: u16,
    /// The message whose pieces are kept.
    kept: Option<(u16, u8, usize)>,
    pieces: Pieces,
}

/// A record in the old form.
struct Record<'a> {
    kind: u8,
    epoch: u16,
    content: &'a [u8],
}

/// A handshake message, or a piece of it.
struct Fragment<'a> {
    kind: u8,
    length: usize,
    sequence: u16,
    offset: usize,
    content: &'a [u8],
}

impl Application for Dtls {
    const NAME: &'static str = "dtls";
    const ABOUT: &'static str = "Datagram Transport Layer Security 1.0 to 1.3, what passes in the clear (RFC 9147, RFC 6347)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Udp];
    const PORTS: &'static [u16] = &[4433, 5349, 5684];
    const FIELDS: &'static [FieldSpec] = fields::TLS;
    const CONTENTS: BufferSet = fields::CONTENTS;
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::NONE.and_range(CHANGE_CIPHER_SPEC, CONTENT_LAST),
        to_client: ByteSet::NONE.and_range(CHANGE_CIPHER_SPEC, CONTENT_LAST),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let sides = [input.to_server, input.to_client];
        let foreign = |side: &&[u8]| !side.is_empty() && !is_records(side);
        if sides.iter().any(foreign)
            || sender(input.to_server) == Some(Direction::ToClient)
            || sender(input.to_client) == Some(Direction::ToServer)
        {
            return Probe::NotMine;
        }
        match sides.iter().all(|side| side.is_empty()) {
            true => Probe::Unsure,
            false => Probe::Certain,
        }
    }

    fn open(_transport: Transport, blocks: &mut Blocks) -> Self {
        Self {
            sides: Default::default(),
            block: blocks.take(),
        }
    }

    fn close(&mut self, blocks: &mut Blocks) {
        if let Some(block) = self.block.take() {
            blocks.give(block);
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        match input.first() {
            Some(0..=3 | 64..=79 | 128..=191) => return Step::Consumed(input.len()),
            Some(first) if first & UNIFIED_MASK == UNIFIED => return Step::Done,
            _ => {}
        }
        let Some(record) = Record::read(input) else {
            return Step::Violation("dtls: no record");
        };
        match (record.kind, record.epoch) {
            (HANDSHAKE, 0) => {
                let mut rest = Cursor::new(record.content);
                while let Some(fragment) = Fragment::read(&mut rest) {
                    if let Err(what) = self.message(direction, &fragment, sink) {
                        return Step::Violation(what);
                    }
                }
            }
            (ALERT, 0) => {
                if let [level, description] = *record.content {
                    fields::alert(tls::side_name(direction), level, description, sink);
                }
            }
            (APPLICATION_DATA, 1..) => return Step::Done,
            _ => {}
        }
        Step::Consumed(HEADER_BYTES + record.content.len())
    }
}

impl Dtls {
    /// Tells of a message once it is whole; of one that came before nothing more.
    fn message(
        &mut self,
        direction: Direction,
        fragment: &Fragment<'_>,
        sink: &mut dyn EventSink,
    ) -> Result<(), &'static str> {
        let Some(side) = self.sides.get_mut(direction as usize) else {
            return Ok(());
        };
        let told = matches!(
            fragment.kind,
            tls::CLIENT_HELLO | tls::SERVER_HELLO | tls::CERTIFICATE
        );
        if fragment.sequence < side.next || !told {
            return Ok(());
        }
        if fragment.content.len() == fragment.length {
            side.next = fragment.sequence.saturating_add(1);
            return tell(direction, fragment.kind, fragment.content, sink);
        }
        let Some(block) = &mut self.block else {
            return Ok(());
        };
        let (client, server) = block.split_at_mut(HALF);
        let memory = match direction {
            Direction::ToServer => client,
            Direction::ToClient => server,
        };
        let identity = (fragment.sequence, fragment.kind, fragment.length);
        if side.kept != Some(identity) {
            side.kept = Some(identity);
            side.pieces.clear();
        }
        side.pieces
            .insert(memory, fragment.offset, fragment.content);
        if side.pieces.front() < fragment.length {
            return Ok(());
        }
        side.next = fragment.sequence.saturating_add(1);
        side.kept = None;
        let whole = memory.get(..fragment.length).unwrap_or_default();
        tell(direction, fragment.kind, whole, sink)
    }
}

fn tell(
    direction: Direction,
    kind: u8,
    body: &[u8],
    sink: &mut dyn EventSink,
) -> Result<(), &'static str> {
    match (kind, direction) {
        (tls::CLIENT_HELLO, Direction::ToServer) => {
            hello::client(body, Carrier::Datagrams, None, sink)
        }
        (tls::SERVER_HELLO, Direction::ToClient) => hello::server(body, None, sink).map(|_| ()),
        (tls::CERTIFICATE, _) => {
            certificate::tell_first(tls::side_name(direction), body, sink);
            Ok(())
        }
        _ => Ok(()),
    }
}

impl<'a> Record<'a> {
    fn read(input: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(input);
        let kind = cursor.u8()?;
        let version = cursor.u16()?;
        let epoch = cursor.u16()?;
        let _sequence = cursor.array::<6>()?;
        let content = cursor.vector16()?.rest();
        let sound = (CHANGE_CIPHER_SPEC..=CONTENT_LAST).contains(&kind)
            && matches!(version, 0xfeff | 0xfefd | 0x0100)
            && epoch <= EPOCH_MAX
            && (1..=RECORD_BYTES_MAX).contains(&content.len());
        sound.then_some(Self {
            kind,
            epoch,
            content,
        })
    }

    /// In the clear, its content is what its kind demands.
    fn is_plausible(&self) -> bool {
        match (self.kind, self.epoch) {
            (CHANGE_CIPHER_SPEC, 0) => matches!(self.content, [1] | [1, _, _]),
            (ALERT, 0) => matches!(self.content, [1 | 2, _, ..]),
            (HANDSHAKE, 0) => Fragment::read(&mut Cursor::new(self.content)).is_some(),
            (APPLICATION_DATA, 0) => false,
            // Encrypted: at least what proves it.
            (CHANGE_CIPHER_SPEC, _) => true,
            _ => self.content.len() > 16,
        }
    }
}

impl<'a> Fragment<'a> {
    fn read(rest: &mut Cursor<'a>) -> Option<Self> {
        let kind = rest.u8()?;
        let length = usize::try_from(rest.u24()?).ok()?;
        let sequence = rest.u16()?;
        let offset = usize::try_from(rest.u24()?).ok()?;
        let content_length = usize::try_from(rest.u24()?).ok()?;
        let content = rest.take(content_length)?;
        let sound = matches!(kind, 0..=8 | 11..=16 | 20..=26)
            && length < 1 << 18
            && offset.checked_add(content_length)? <= length;
        sound.then_some(Self {
            kind,
            length,
            sequence,
            offset,
            content,
        })
    }
}

/// Who alone sends the handshake message at the front, if there is one.
fn sender(datagram: &[u8]) -> Option<Direction> {
    let record = Record::read(datagram)?;
    if record.kind != HANDSHAKE || record.epoch != 0 {
        return None;
    }
    match Fragment::read(&mut Cursor::new(record.content))?.kind {
        // ClientHello, ClientKeyExchange.
        1 | 16 => Some(Direction::ToServer),
        // ServerHello, HelloVerifyRequest, ServerKeyExchange, CertificateRequest, ServerHelloDone.
        2 | 3 | 12..=14 => Some(Direction::ToClient),
        _ => None,
    }
}

/// Whether a datagram is records one behind the other, to its end.
pub(crate) fn is_records(datagram: &[u8]) -> bool {
    let mut rest = datagram;
    let mut count = 0;
    while !rest.is_empty() {
        if count > 0
            && rest
                .first()
                .is_some_and(|first| first & UNIFIED_MASK == UNIFIED)
        {
            return true;
        }
        match Record::read(rest) {
            Some(record) if record.is_plausible() => {
                rest = rest
                    .get(HEADER_BYTES + record.content.len()..)
                    .unwrap_or_default();
            }
            _ => return false,
        }
        count += 1;
    }
    count > 0
}
