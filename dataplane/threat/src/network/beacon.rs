//! Beacons: a workload that calls the same place outside in equal intervals.
//!
//! Trusts: addresses of private networks to be inside. Distrusts: nothing else. Memory: [`WORDS`] words a
//! service outside that is called. Conservative: within the cluster everything is called in equal intervals by
//! probes and scrapes, so only public addresses are looked at; and only what tunnels out (TCP, QUIC), since names,
//! time, calls and games keep in touch by UDP.

use std::sync::atomic::Ordering::Relaxed;

use weir_wire::protocol;

use crate::{Connection, Evidence, Found, Threat};

use super::clock::{age_ms, halves, pack};
use super::key::{Kind, is_public};
use super::shared::Scene;

/// When it was last called, and the mean interval.
const CALLED: usize = 0;
/// How often in equal intervals.
const CALLS: usize = 1;
/// Counters of a service.
pub const WORDS: usize = 2;

/// Connections closer together belong to one call.
const ONE_CALL_MS: u32 = 1000;
const QUIC_PORT: u16 = 443;
/// Names: honest in any interval.
const HONEST_PORTS: [u16; 2] = [53, 853];

/// A connection was made.
pub fn opened(scene: &Scene<'_>, connection: &Connection, found: &mut Found) {
    let outside = is_public(connection.server) && !is_public(connection.client);
    let tunnels = match connection.protocol {
        protocol::TCP => true,
        protocol::UDP => connection.server_port == QUIC_PORT,
        _ => false,
    };
    if !outside
        || !tunnels
        || HONEST_PORTS.contains(&connection.server_port)
        || !scene.wants(Threat::Beacon)
    {
        return;
    }
    let number = u64::from(connection.server_port) << 8 | u64::from(connection.protocol);
    let key = scene.key(Kind::Service, connection.client, connection.server, number);
    let Some(entry) = scene.shared.services.touch(key, scene.now_ms) else {
        return;
    };
    let (called_ms, interval_ms) = halves(entry.word(CALLED).load(Relaxed));
    let calls = entry.word(CALLS).load(Relaxed);
    let since_ms = age_ms(scene.now_ms, called_ms);
    if calls == 0 {
        entry.word(CALLED).store(pack(scene.now_ms, 0), Relaxed);
        entry.word(CALLS).store(1, Relaxed);
        return;
    }
    if since_ms < ONE_CALL_MS {
        return;
    }
    let settings = scene.settings();
    let allowed_ms =
        (u64::from(interval_ms) * u64::from(settings.beacon_jitter_percent) / 100).max(1000);
    let equal = calls > 1 && u64::from(since_ms.abs_diff(interval_ms)) <= allowed_ms;
    let (interval_ms, calls) = match equal {
        // The mean follows by an eighth.
        true => (interval_ms - interval_ms / 8 + since_ms / 8, calls + 1),
        false => (since_ms, 2),
    };
    entry
        .word(CALLED)
        .store(pack(scene.now_ms, interval_ms), Relaxed);
    entry.word(CALLS).store(calls, Relaxed);
    if calls >= 4 {
        entry.keep(scene.now_ms);
    }
    // It is told at its beginning and then at every so manieth call.
    let connections = u64::from(settings.beacon_connections.max(3));
    if calls.is_multiple_of(connections)
        && interval_ms >= settings.beacon_min_s.saturating_mul(1000)
    {
        scene.tell(
            found,
            Threat::Beacon,
            connection.client,
            connection.server,
            || {
                Evidence::sign("equal intervals")
                    .counter("connections", calls)
                    .counter("interval_ms", u64::from(interval_ms))
                    .counter("port", u64::from(connection.server_port))
            },
        );
    }
}
