//! Judging a connection by what each of its sides says.

use weir_wire::Direction;

use crate::{EventKind, Probe, ProbeInput};

/// What two judgements come to: one that declines decides, then one that is certain.
pub(crate) fn both(one: Probe, other: Probe) -> Probe {
    match (one, other) {
        (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
        (Probe::Certain, _) | (_, Probe::Certain) => Probe::Certain,
        _ => Probe::Unsure,
    }
}

/// Asks each side that has spoken.
pub(crate) fn judge(
    input: &ProbeInput<'_>,
    client: impl Fn(&[u8]) -> Probe,
    server: impl Fn(&[u8]) -> Probe,
) -> Probe {
    let ask = |bytes: &[u8], side: &dyn Fn(&[u8]) -> Probe| match bytes {
        [] => Probe::Unsure,
        bytes => side(bytes),
    };
    both(ask(input.to_server, &client), ask(input.to_client, &server))
}

/// Of protocols in which a client only asks and a server only answers.
pub(crate) fn kind(direction: Direction) -> EventKind {
    match direction {
        Direction::ToServer => EventKind::Request,
        Direction::ToClient => EventKind::Response,
    }
}

/// Input for the tests of a probe.
#[cfg(test)]
pub(crate) fn input<'a>(
    transport: crate::Transport,
    server_port: u16,
    to_server: &'a [u8],
    to_client: &'a [u8],
) -> ProbeInput<'a> {
    ProbeInput {
        to_server,
        to_client,
        previous: &[],
        from_start: true,
        server_port,
        transport,
    }
}
