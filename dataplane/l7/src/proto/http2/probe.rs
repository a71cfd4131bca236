//! Whether bytes are HTTP/2: the client's preface, the server's settings, or frames without doubt.

use super::{PREFACE, frames};
use crate::{Probe, ProbeInput};

/// So much of the preface nobody else sends: its first line and the one that is empty.
const PREFACE_BYTES_CERTAIN: usize = 18;
/// What a run of frames must be worth where its beginning was not seen.
const POINTS_CERTAIN: u32 = 4;

/// Both sides of a connection, from wherever it was first seen.
pub(super) fn probe(input: &ProbeInput<'_>) -> Probe {
    let client = preface(input.to_server);
    if client == Probe::Certain {
        return Probe::Certain;
    }
    if !input.from_start {
        return probe_midway(input);
    }
    let server = settings(input.to_client);
    match (client, server) {
        (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
        (_, Probe::Certain) if input.to_server.is_empty() => Probe::Certain,
        _ => Probe::Unsure,
    }
}

fn preface(bytes: &[u8]) -> Probe {
    let seen = bytes.len().min(PREFACE_BYTES_CERTAIN);
    match bytes[..seen] == PREFACE[..seen] {
        false => Probe::NotMine,
        true if seen == PREFACE_BYTES_CERTAIN => Probe::Certain,
        true => Probe::Unsure,
    }
}

/// What a server begins with: its settings, and one that tells something.
fn settings(bytes: &[u8]) -> Probe {
    if bytes.len() < frames::HEAD_BYTES {
        // The length's first byte is zero, as is nearly everything that follows.
        let mut usual = bytes.iter().zip(0..);
        let fits = usual.all(|(&byte, place)| match place {
            0 => byte == 0,
            3 => byte == frames::SETTINGS,
            4..=8 => byte == 0,
            _ => true,
        });
        return if fits { Probe::Unsure } else { Probe::NotMine };
    }
    let Some(head) = frames::head(bytes) else {
        return Probe::Unsure;
    };
    let fits = head.kind == frames::SETTINGS && head.flags == 0 && head.is_usual();
    let Some(payload) = bytes.get(frames::HEAD_BYTES..) else {
        return Probe::Unsure;
    };
    let known = payload.get(..head.length);
    match known {
        _ if !fits || head.length > 96 => Probe::NotMine,
        None => Probe::Unsure,
        Some([]) if frames::run(bytes).broken => Probe::NotMine,
        Some([]) if frames::run(bytes).points >= POINTS_CERTAIN => Probe::Certain,
        Some([]) => Probe::Unsure,
        Some(known) if frames::settings(known) => Probe::Certain,
        Some(_) => Probe::NotMine,
    }
}

fn probe_midway(input: &ProbeInput<'_>) -> Probe {
    let [client, server] = [input.to_server, input.to_client].map(frames::run);
    let points = |run: frames::Run| if run.broken { 0 } else { run.points };
    match points(client) + points(server) {
        POINTS_CERTAIN.. => Probe::Certain,
        // Within a frame nothing can be told, and would not be read either.
        _ if (client.broken || input.to_server.is_empty())
            && (server.broken || input.to_client.is_empty()) =>
        {
            Probe::NotMine
        }
        _ => Probe::Unsure,
    }
}
