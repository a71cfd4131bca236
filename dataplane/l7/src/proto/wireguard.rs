//! WireGuard: who begins a tunnel ("WireGuard: Next Generation Kernel Network Tunnel", Donenfeld
//! 2017, 5.4).
//!
//! Trusts nothing. Distrusts: data alone, which has but a few fixed bytes: it needs both sides, two
//! datagrams, or the port. All but the handshake's indexes is encrypted; a direction is done where
//! its data begins. Memory: none.

use weir_wire::Direction;

use crate::{
    Application, ByteSet, Event, EventKind, EventSink, Field, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport,
};

const PORT: u16 = 51_820;

const INITIATION: u8 = 1;
const RESPONSE: u8 = 2;
const COOKIE: u8 = 3;
const DATA: u8 = 4;
const INITIATION_BYTES: usize = 148;
const RESPONSE_BYTES: usize = 92;
const COOKIE_BYTES: usize = 64;
const DATA_BYTES_MIN: usize = 32;
/// The second code at the end of a handshake message: zero, unless the peer is under load.
const SECOND_CODE_BYTES: usize = 16;
/// Keys are renewed after two minutes: no counter comes near this one.
const COUNTER_MAX: u64 = 1 << 40;

const MESSAGE: u8 = 0;
const SENDER: u8 = 1;
const RECEIVER: u8 = 2;

/// The parser.
#[derive(Default)]
pub struct Wireguard;

/// A message of the right size with its reserved bytes zero.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Message {
    kind: u8,
    sender: Option<u32>,
    receiver: Option<u32>,
    /// The second code is zero.
    calm: bool,
    counter: u64,
}

impl Application for Wireguard {
    const NAME: &'static str = "wireguard";
    const ABOUT: &'static str = "WireGuard tunnels, their handshakes (Donenfeld 2017)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Udp];
    const PORTS: &'static [u16] = &[PORT];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::text("message", "initiation, response or cookie reply (5.4)"),
        FieldSpec::number("sender", "Index that the sender chose for itself (5.4.2)"),
        FieldSpec::number("receiver", "Index of the receiver (5.4.3)"),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[INITIATION, RESPONSE, COOKIE, DATA]),
        to_client: ByteSet::of(&[INITIATION, RESPONSE, COOKIE, DATA]),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let one = Message::read(input.to_server);
        let other = Message::read(input.to_client);
        let sides = [(input.to_server, one), (input.to_client, other)];
        if sides
            .iter()
            .any(|(bytes, read)| !bytes.is_empty() && read.is_none())
        {
            return Probe::NotMine;
        }
        let certain = match (one, other) {
            // Their sizes and their ends are fixed.
            (Some(message), None) | (None, Some(message)) => {
                let handshake = matches!(message.kind, INITIATION | RESPONSE) && message.calm;
                handshake || input.server_port == PORT && message.counter < COUNTER_MAX
            }
            (Some(asked), Some(answer)) => {
                asked.calm
                    || answer.calm
                    || asked.kind == INITIATION && asked.sender == answer.receiver
                    || asked.kind == DATA && answer.kind == DATA
            }
            (None, None) => false,
        };
        if certain {
            Probe::Certain
        } else {
            Probe::Unsure
        }
    }

    fn parse(&mut self, _direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let Some(message) = Message::read(input) else {
            return Step::Violation("wireguard: no message");
        };
        let (kind, name) = match message.kind {
            INITIATION => (EventKind::Request, "initiation"),
            RESPONSE => (EventKind::Response, "response"),
            COOKIE => (EventKind::Response, "cookie reply"),
            _ => return Step::Done,
        };
        let mut fields = [Field::name(MESSAGE, name); 3];
        let mut count = 1;
        for (index, value) in [(SENDER, message.sender), (RECEIVER, message.receiver)] {
            if let (Some(value), Some(field)) = (value, fields.get_mut(count)) {
                *field = Field::number(index, value.into());
                count += 1;
            }
        }
        sink.event(&Event {
            kind,
            fields: fields.get(..count).unwrap_or_default(),
        });
        Step::Consumed(input.len())
    }
}

impl Message {
    fn read(input: &[u8]) -> Option<Self> {
        let &[kind, 0, 0, 0, a, b, c, d, ref rest @ ..] = input else {
            return None;
        };
        let first = u32::from_le_bytes([a, b, c, d]);
        let second = rest.first_chunk().copied().map(u32::from_le_bytes)?;
        let calm = input
            .last_chunk::<SECOND_CODE_BYTES>()
            .is_some_and(|code| *code == [0; SECOND_CODE_BYTES]);
        let message = |sender, receiver, calm| Self {
            kind,
            sender,
            receiver,
            calm,
            counter: 0,
        };
        match (kind, input.len()) {
            (INITIATION, INITIATION_BYTES) => Some(message(Some(first), None, calm)),
            (RESPONSE, RESPONSE_BYTES) => Some(message(Some(first), Some(second), calm)),
            (COOKIE, COOKIE_BYTES) => Some(message(None, Some(first), false)),
            (DATA, DATA_BYTES_MIN..) if input.len().is_multiple_of(16) => {
                let counter = u64::from_le_bytes(*rest.first_chunk()?);
                (counter < COUNTER_MAX).then_some(Self {
                    counter,
                    ..message(None, Some(first), false)
                })
            }
            _ => None,
        }
    }
}
