//! WHOIS (RFC 3912): one line asks, text answers, and the connection ends.
//!
//! Trusts nothing. A line and a text could be anybody's: besides its port a query must read like a
//! name, an address or a handle, and an answer like text of its own. Violations: a second line.
//! Memory: a flag.

use weir_wire::Direction;

use crate::fields::Fields;
use crate::read::sides::judge;
use crate::{
    Application, ByteSet, EventKind, EventSink, FieldSpec, Openings, Probe, ProbeInput, Step,
    Transport,
};

const PORT: u16 = 43;
const QUERY_MAX: usize = 255;
/// What is looked at of an answer.
const ANSWER_MIN: usize = 16;

const QUERY: u8 = 0;

/// The parser.
#[derive(Default)]
pub struct Whois {
    asked: bool,
}

impl Application for Whois {
    const NAME: &'static str = "whois";
    const ABOUT: &'static str = "WHOIS (RFC 3912)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[PORT];
    const FIELDS: &'static [FieldSpec] = &[FieldSpec::condition(
        "query",
        "What is asked for: a name, an address, a handle, with the server's options",
    )];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::NONE.and_range(b' ', b'~').and_range(0x80, 0xff),
        to_client: ByteSet::NONE
            .and_range(b' ', b'~')
            .and_range(0x80, 0xff)
            .and_range(9, 13),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        if input.server_port != PORT {
            return Probe::NotMine;
        }
        judge(input, probe_query, probe_answer)
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if direction == Direction::ToClient {
            return Step::Done;
        }
        if self.asked {
            return Step::Violation("whois: more than one query");
        }
        let Some(end) = line_end(input) else {
            return match input.len() > QUERY_MAX {
                true => Step::Violation("whois: query without an end"),
                false => Step::Incomplete,
            };
        };
        self.asked = true;
        let mut fields = Fields::<1>::new();
        let query = input.get(..end).unwrap_or_default().trim_ascii();
        fields.bytes(QUERY, query).tell(EventKind::Request, sink);
        Step::Consumed(end + 1)
    }
}

fn line_end(input: &[u8]) -> Option<usize> {
    input.iter().position(|&byte| byte == b'\n')
}

fn probe_query(input: &[u8]) -> Probe {
    let end = line_end(input);
    let line = input.get(..end.unwrap_or(input.len())).unwrap_or_default();
    let text = |&byte: &u8| {
        byte.is_ascii_alphanumeric() || b" .-_:/@,+=#!'*\r".contains(&byte) || byte >= 0x80
    };
    if line.len() > QUERY_MAX || !line.iter().all(text) {
        return Probe::NotMine;
    }
    match end {
        Some(_) => Probe::Certain,
        None => Probe::Unsure,
    }
}

fn probe_answer(input: &[u8]) -> Probe {
    let text = |&byte: &u8| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n' | 0x80..);
    match input.iter().take(ANSWER_MIN).all(text) {
        true if input.len() >= ANSWER_MIN => Probe::Certain,
        true => Probe::Unsure,
        false => Probe::NotMine,
    }
}
