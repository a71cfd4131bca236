//! Echo (RFC 862): what comes goes back, and nothing else.
//!
//! Trusts nothing. There is no form at all: the server's bytes must be the client's. Equal
//! greetings, banners and keep-alives are common elsewhere, so away from its port only a long
//! echo counts. Nothing is told but the name. Memory: none.

use weir_wire::Direction;

use crate::{Application, EventSink, FieldSpec, Probe, ProbeInput, Step, Transport};

const PORT: u16 = 7;
/// Longer than any greeting that two peers might share: version lines are at most 255 bytes.
const STREAM_MIN: usize = 512;
/// On its port, a few bytes that come back leave little doubt.
const STREAM_MIN_AT_HOME: usize = 4;
/// Longer than keep-alives and probes of games.
const DATAGRAM_MIN: usize = 128;

/// The parser.
#[derive(Default)]
pub struct Echo;

impl Application for Echo {
    const NAME: &'static str = "echo";
    const ABOUT: &'static str = "Echo: the same bytes come back (RFC 862)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp, Transport::Udp];
    const PORTS: &'static [u16] = &[PORT];
    const FIELDS: &'static [FieldSpec] = &[];

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let (sent, back) = (input.to_server, input.to_client);
        let at_home = input.server_port == PORT;
        if input.transport != Transport::Tcp {
            let least = if at_home { 1 } else { DATAGRAM_MIN };
            return match (sent.len() >= least, back) {
                (true, []) => Probe::Unsure,
                (true, back) if back == sent => Probe::Certain,
                _ => Probe::NotMine,
            };
        }
        // What comes first decides, however the stream is cut; a server that is ahead of its
        // client says something of its own.
        let least = if at_home {
            STREAM_MIN_AT_HOME
        } else {
            STREAM_MIN
        };
        let sent = sent.get(..least).unwrap_or(sent);
        let back = back.get(..least).unwrap_or(back);
        match sent.starts_with(back) {
            true if back.len() == least => Probe::Certain,
            true => Probe::Unsure,
            false => Probe::NotMine,
        }
    }

    fn parse(&mut self, _direction: Direction, input: &[u8], _sink: &mut dyn EventSink) -> Step {
        Step::Skip(input.len() as u64)
    }

    fn gap(&mut self, _direction: Direction, _length: u64) -> bool {
        true
    }
}
