//! Link-local multicast name resolution (RFC 4795): DNS messages with one question.
//!
//! Trusts nothing. Nothing in a message tells it from DNS, so its port must agree. Memory: none
//! of its own, see [`super::dns`].

use weir_wire::Direction;

use super::dns::{self, Dns, Form};
use crate::{
    Application, Buffer, BufferSet, EventSink, FieldSpec, Probe, ProbeInput, Step, Transport,
};

pub(super) const PORT: u16 = 5355;

/// The parser: DNS by another name.
#[derive(Default)]
pub struct Llmnr(Dns);

impl Application for Llmnr {
    const NAME: &'static str = "llmnr";
    const ABOUT: &'static str = "Link-local multicast name resolution (RFC 4795)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Udp];
    const PORTS: &'static [u16] = &[PORT];
    const FIELDS: &'static [FieldSpec] = Dns::FIELDS;
    const CONTENTS: BufferSet = BufferSet::EMPTY.with(Buffer::DnsQuery);
    const REFINES: Option<&'static str> = Some(Dns::NAME);

    fn probe(input: &ProbeInput<'_>) -> Probe {
        dns::probe_datagrams(input, Form::LinkLocal)
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        self.0.parse(direction, input, sink)
    }
}
