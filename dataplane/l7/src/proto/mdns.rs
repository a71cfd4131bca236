//! Multicast DNS (RFC 6762): DNS messages to everybody on the link.
//!
//! Trusts nothing. Known on its port by the form of DNS, elsewhere by an id of zero, no recursion
//! and a name under `.local`. Memory: none of its own, see [`super::dns`].

use weir_wire::Direction;

use super::dns::{self, Dns, Form};
use crate::{
    Application, Buffer, BufferSet, EventSink, FieldSpec, Probe, ProbeInput, Step, Transport,
};

pub(super) const PORT: u16 = 5353;

/// The parser: DNS by another name.
#[derive(Default)]
pub struct Mdns(Dns);

impl Application for Mdns {
    const NAME: &'static str = "mdns";
    const ABOUT: &'static str =
        "Multicast DNS and DNS-based service discovery (RFC 6762, RFC 6763)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Udp];
    const PORTS: &'static [u16] = &[PORT];
    const FIELDS: &'static [FieldSpec] = Dns::FIELDS;
    const CONTENTS: BufferSet = BufferSet::EMPTY.with(Buffer::DnsQuery);
    const REFINES: Option<&'static str> = Some(Dns::NAME);

    fn probe(input: &ProbeInput<'_>) -> Probe {
        dns::probe_datagrams(input, Form::Multicast)
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        self.0.parse(direction, input, sink)
    }
}
