//! Names of others that lead inside: a page of theirs could then reach what only hosts inside may.
//!
//! Memory: where [`NAMES`] names led last.

use std::net::IpAddr;

use weir_l7::Value;
use weir_wire::{Direction, to_ip_address};

use super::super::Scene;
use super::names;
use crate::table::Table;
use crate::{Evidence, Threat};

const NAMES: usize = 4_096;
/// How long a name that led outside is expected to.
const MEMORY_US: u64 = 600_000_000;

pub(super) struct Rebinding {
    /// When each name led outside last; 0: never.
    outside: Table<u64>,
}

impl Rebinding {
    pub(super) fn new(secret: [u64; 2]) -> Self {
        Self {
            outside: Table::new(NAMES, secret),
        }
    }

    pub(super) fn answered<'a>(
        &mut self,
        scene: &mut Scene<'_>,
        name: &[u8],
        addresses: impl Iterator<Item = Value<'a>>,
    ) {
        let (mut inside, mut outside) = (None, false);
        for address in addresses {
            let Value::Address(address) = address else {
                continue;
            };
            match is_inside(address) {
                true => inside = Some(address),
                false => outside |= !is_nowhere(address),
            }
        }
        if inside.is_none() && !outside || is_own(scene, name) {
            return;
        }
        let now_us = scene.now_us;
        let key = (scene.connection.zone, scene.connection.client, name);
        if inside.is_none() {
            *self.outside.entry(key, now_us) = now_us.max(1);
            return;
        }
        let led_outside = self
            .outside
            .get(key)
            .is_some_and(|&mut when_us| when_us > 0 && now_us.saturating_sub(when_us) < MEMORY_US);
        let resolver = to_ip_address(match scene.speaker.direction {
            Direction::ToClient => scene.connection.server,
            Direction::ToServer => scene.connection.client,
        });
        let trusted = scene.settings().dns.trust_inside_resolvers && is_inside(resolver);
        let sign = match () {
            () if outside => "outside and inside at once",
            () if led_outside => "outside before, inside now",
            () if !trusted => "an outside resolver leads inside",
            () => return,
        };
        scene.once(Threat::DnsRebinding, || Evidence::sign(sign).bytes(name));
    }
}

/// Names that may lead inside.
fn is_own(scene: &Scene<'_>, name: &[u8]) -> bool {
    let dns = &scene.settings().dns;
    let mut own = dns.own_domains.iter().chain(&dns.inside_names);
    // A lone word is completed by the host. Lists of bad senders answer with 127.0.0.x.
    !name.contains(&b'.')
        || names::is_customary(names::parts(name).front)
        || own.any(|domain| names::is_below(name, domain.as_bytes()))
}

/// What only hosts inside can reach.
fn is_inside(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            address.is_private() || address.is_loopback() || address.is_link_local()
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

/// What filters answer for names that they block.
fn is_nowhere(address: IpAddr) -> bool {
    address.is_unspecified() || address.is_multicast()
}
