//! Versions of SSH: the first has no integrity to speak of, the third does not exist.

use weir_l7::Event;
use weir_wire::{Direction, protocol};

use super::fields::FieldPlace;
use super::{Scene, Watch};
use crate::{Config, Connection, Evidence, Found, Threat};

/// Packets each way in which a server may say who it is.
const FIRST_PACKETS: u64 = 16;
const BANNER: &[u8] = b"SSH-";

pub(super) struct Ssh {
    version: FieldPlace,
    software: FieldPlace,
}

impl Ssh {
    pub(super) fn new() -> Self {
        Self {
            version: FieldPlace::of("ssh.version"),
            software: FieldPlace::of("ssh.software"),
        }
    }

    pub(super) fn message(&self, scene: &mut Scene<'_>, message: &Event<'_>) {
        let version = self.version.text(message);
        let software = self.software.text(message);
        tell(scene.config, scene.watch, version, software, scene.found);
    }
}

/// Whether a payload so early in its direction says SSH.
#[inline]
pub(super) fn is_banner(packets: u64, payload: &[u8]) -> bool {
    packets <= FIRST_PACKETS && payload.starts_with(BANNER)
}

/// A packet's payload: who says SSH where another application began (a client of HTTP at SSH's port, a
/// server that gives its place to another) says so at the front of one.
pub(super) fn packet(
    config: &Config,
    watch: &mut Watch,
    connection: &Connection,
    direction: Direction,
    payload: &[u8],
    found: &mut Found,
) {
    let packets = connection.packets[direction as usize];
    if connection.protocol != protocol::TCP || !is_banner(packets, payload) {
        return;
    }
    let rest = &payload[BANNER.len()..];
    let mut parts = rest.splitn(2, |&byte| byte == b'-');
    let (version, software) = (parts.next(), parts.next());
    if let (Some(version), Some(software)) = (version, software) {
        let line = software.split(|&byte| matches!(byte, b'\r' | b'\n')).next();
        tell(config, watch, version, line.unwrap_or_default(), found);
    }
}

fn tell(config: &Config, watch: &mut Watch, version: &[u8], software: &[u8], found: &mut Found) {
    // 1.99 is a server that speaks both (RFC 4253, 5.1).
    let (threat, sign) = match version {
        b"1.99" => (Threat::SshVersion1, "version 1 accepted too"),
        [b'1', b'.', ..] => (Threat::SshVersion1, "version 1 offered"),
        [b'2', b'.', ..] => (Threat::SshVersion2, "version 2 used"),
        [b'3'..=b'9', b'.', ..] => (Threat::SshVersion3, "no such version"),
        _ => return,
    };
    watch.once(config, threat, found, || {
        Evidence::sign(sign).bytes(software)
    });
}
