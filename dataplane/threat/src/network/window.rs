//! Receive windows that are kept shut, so that the other end's memory stays in use (Sockstress, slow reading).
//!
//! Trusts: track's directions. Distrusts: the client's windows. Memory: three words of a connection.
//!
//! An honest reader who pauses shuts a window that was wide before; an honest stack never opens one by a
//! few bytes (RFC 9293, 3.8.6.2.2). So what counts is a window that was never wide and is shut
//! for some seconds in all, and one that stays open by a few bytes.

use weir_wire::tcp_flags::{ACK, RST, SYN};
use weir_wire::{Direction, Packet};

use crate::{Connection, Evidence, Found, Threat};

use super::Watch;
use super::clock::age_ms;
use super::handshake::{CLIENT_SYN, SCALES};
use super::shared::Scene;

/// Whether the client's windows are as they should be: then [`segment`] has only the widest to note, which is done here.
#[inline]
pub fn is_open(watch: &mut Watch, direction: Direction, packet: &Packet, small_bytes: u32) -> bool {
    if watch.marks & CLIENT_SYN == 0 {
        return true;
    }
    let told = told_bytes(watch, direction, packet);
    let is_open = watch.shut_since_ms == 0
        && watch.shut_ms == 0
        && told.is_none_or(|window_bytes| window_bytes >= small_bytes);
    if let (true, Some(window_bytes)) = (is_open, told) {
        watch.window_max_bytes = watch.window_max_bytes.max(window_bytes);
    }
    is_open
}

/// The window that the client tells, where it tells one.
#[inline]
fn told_bytes(watch: &Watch, direction: Direction, packet: &Packet) -> Option<u32> {
    let tells = direction == Direction::ToServer && packet.tcp.flags & (SYN | RST | ACK) == ACK;
    let scale = match watch.marks & SCALES != 0 {
        true => watch.scale,
        false => 0,
    };
    tells.then(|| u32::from(packet.tcp.window) << scale.min(14))
}

/// A segment of a connection whose SYN was seen, so that the scale of its windows is known.
#[inline]
pub fn segment(
    scene: &Scene<'_>,
    watch: &mut Watch,
    connection: &Connection,
    direction: Direction,
    packet: &Packet,
    found: &mut Found,
) {
    if watch.marks & CLIENT_SYN == 0 {
        return;
    }
    if let Some(window_bytes) = told_bytes(watch, direction, packet) {
        if window_bytes >= scene.settings().small_window_bytes {
            open(watch, window_bytes, scene.now_ms);
        } else {
            shut(watch, window_bytes, scene.now_ms);
        }
    }
    if watch.shut_since_ms != 0 || watch.shut_ms != 0 {
        judge(scene, watch, connection, found);
    }
}

#[inline]
fn open(watch: &mut Watch, window_bytes: u32, now_ms: u32) {
    watch.window_max_bytes = watch.window_max_bytes.max(window_bytes);
    if watch.shut_since_ms != 0 {
        watch.shut_ms = watch
            .shut_ms
            .saturating_add(age_ms(now_ms, watch.shut_since_ms));
        watch.shut_since_ms = 0;
    }
}

fn shut(watch: &mut Watch, window_bytes: u32, now_ms: u32) {
    if watch.shut_since_ms == 0 {
        watch.shut_since_ms = now_ms.max(1);
    }
    match window_bytes {
        0 => watch.crack_since_ms = 0,
        _ if watch.crack_since_ms == 0 => watch.crack_since_ms = now_ms.max(1),
        _ => {}
    }
}

fn judge(scene: &Scene<'_>, watch: &mut Watch, connection: &Connection, found: &mut Found) {
    let settings = scene.settings();
    let since = |since_ms| match since_ms {
        0 => 0,
        since_ms => age_ms(scene.now_ms, since_ms),
    };
    let shut_ms = watch.shut_ms.saturating_add(since(watch.shut_since_ms));
    let crack_ms = match watch.shut_since_ms {
        0 => 0,
        _ => since(watch.crack_since_ms),
    };
    let sign = if watch.window_max_bytes < settings.wide_window_bytes
        && shut_ms >= settings.shut_window_ms
    {
        "never wide and shut"
    } else if crack_ms >= settings.small_window_ms {
        "open by a few bytes"
    } else {
        return;
    };
    (watch.shut_ms, watch.shut_since_ms, watch.crack_since_ms) = (0, 0, 0);
    scene.tell(
        found,
        Threat::SmallWindow,
        connection.client,
        connection.server,
        || {
            Evidence::sign(sign)
                .counter("shut_ms", u64::from(shut_ms.max(crack_ms)))
                .counter("widest_bytes", u64::from(watch.window_max_bytes))
        },
    );
}
