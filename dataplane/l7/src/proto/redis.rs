//! redis: not read yet; nothing is taken for it.

use weir_wire::Direction;

use crate::{Application, EventSink, FieldSpec, Probe, ProbeInput, Step, Transport};

/// The parser.
#[derive(Default)]
pub struct Redis;

impl Application for Redis {
    const NAME: &'static str = "redis";
    const ABOUT: &'static str = "redis";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[];
    const FIELDS: &'static [FieldSpec] = &[];

    fn probe(_input: &ProbeInput<'_>) -> Probe {
        Probe::NotMine
    }

    fn parse(&mut self, _direction: Direction, _input: &[u8], _sink: &mut dyn EventSink) -> Step {
        Step::Done
    }
}
