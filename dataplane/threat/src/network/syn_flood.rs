//! SYN floods, of one source and to one target, and how the flow table survives them.
//!
//! Trusts: that track sees both ways of a handshake. Distrusts: who a SYN says it is from. Memory:
//! [`SOURCE_WORDS`] words a source, the words of [`super::floods::Balance`] a target, and the SYNs turned away.
//!
//! What counts is handshakes begun against those finished, so that a crowd, however large, is none:
//!
//! * **Of a source**: its SYNs less its finished handshakes, over [`Settings::syn_patience_ms`], are at the
//!   threshold's rate; or there are [`Settings::syn_burst`] of them, however quickly.
//! * **To a target**: see [`super::floods::Balance`]: half a second is judged a quarter of a second after its end,
//!   which is what distant clients take to answer.
//!
//! While it lasts new SYNs are turned away before there is a flow for them, except
//!
//! * those of sources that finished a handshake lately (and do not flood themselves),
//! * those that come a second time, as every honest stack sends them and no spoofing one does (and fewer of
//!   these than would be a flood),
//! * a few chosen by time alone ([`Settings::syn_admit_per_s`]): what Katran does with new connections.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use weir_wire::Packet;

use crate::{Evidence, Found, Threat};

use super::clock::{Lasting, Rate, age_ms, halves, pack};
use super::floods::{self, Balance, Limits};
use super::key::{Kind, sender};
#[cfg(doc)]
use super::settings::Settings;
use super::shared::Scene;

/// SYNs less finished handshakes (low half) since when (high half).
const STREAK: usize = 0;
/// Whether it floods.
const FLOODS: usize = 1;
/// When it last finished a handshake (high half), and whether it ever did.
const KNOWN: usize = 2;
/// Connections it holds.
pub(super) const HELD: usize = 3;
/// Connections it begins.
pub(super) const BEGUN: usize = 4;
/// Counters of a source.
pub const SOURCE_WORDS: usize = 5;

/// A SYN comes again after a second (RFC 6298), or a little sooner; later tries are as good.
const AGAIN_MS: std::ops::Range<u32> = 200..15_000;

/// A SYN that would begin a connection.
pub fn begun(scene: &Scene<'_>, packet: &Packet, found: &mut Found) {
    if !scene.wants(Threat::SynFlood) {
        return;
    }
    let source = sender(packet.source);
    let key = scene.key(Kind::Source, source, 0, 0);
    let Some(entry) = scene.shared.sources.touch(key, scene.now_ms) else {
        return;
    };
    let (unfinished, source_floods) = follow_source(scene, entry.words());
    let target = floods::target(scene, packet.destination);
    let settings = scene.settings();
    let limits = Limits {
        on_per_s: settings.syn_on_per_s,
        off_per_s: settings.syn_off_per_s,
        at_once: settings.syn_burst.saturating_mul(2),
    };
    let (target_unfinished, target_flooded) = target.map_or((0, false), |target| {
        let balance = Balance::of(target.words(), floods::SYN);
        balance.begun(scene, limits)
    });
    if !source_floods && !target_flooded {
        return;
    }
    let known = !source_floods && is_known(scene, entry.word(KNOWN));
    if known || target.is_some_and(|target| admits(scene, target.words(), packet)) {
        return;
    }
    found.shed(scene.config, Threat::SynFlood);
    let (sign, count, who) = match target_flooded {
        true => ("of many sources", target_unfinished, 0),
        false => ("of one source", unfinished, source),
    };
    scene.tell(found, Threat::SynFlood, who, packet.destination, || {
        Evidence::sign(sign)
            .counter("unfinished", u64::from(count))
            .counter("threshold_per_s", u64::from(settings.syn_on_per_s))
    });
}

/// A client finished its handshake: it is who it says it is.
pub fn finished(scene: &Scene<'_>, client: u128, server: u128) {
    let key = scene.key(Kind::Source, sender(client), 0, 0);
    if let Some(entry) = scene.shared.sources.touch(key, scene.now_ms) {
        entry.keep(scene.now_ms);
        entry.word(KNOWN).store(pack(scene.now_ms, 1), Relaxed);
        let (since, count) = halves(entry.word(STREAK).load(Relaxed));
        entry
            .word(STREAK)
            .store(pack(since, count.saturating_sub(1)), Relaxed);
    }
    let key = scene.key(Kind::Target, server, 0, 0);
    if let Some(target) = scene.shared.targets.find(key) {
        Balance::of(target.words(), floods::SYN).finished(scene);
    }
}

/// Counts a source's SYN: how many are unfinished, and whether it floods.
fn follow_source(scene: &Scene<'_>, words: &[AtomicU64; SOURCE_WORDS]) -> (u32, bool) {
    let settings = scene.settings();
    let now_ms = scene.now_ms;
    let (mut since_ms, mut count) = halves(words[STREAK].load(Relaxed));
    if count == 0 || age_ms(now_ms, since_ms) > scene.hold_ms() {
        (since_ms, count) = (now_ms, 0);
    }
    count = count.saturating_add(1);
    words[STREAK].store(pack(since_ms, count), Relaxed);
    let lasts_ms = age_ms(now_ms, since_ms);
    let at = |per_s: u32| u64::from(count) * 1000 >= u64::from(per_s) * u64::from(lasts_ms);
    let patient = lasts_ms >= settings.syn_patience_ms;
    let begins = count >= settings.syn_burst || patient && at(settings.syn_on_per_s);
    let goes_on = patient && at(settings.syn_off_per_s);
    let floods = Lasting::judge(&words[FLOODS], begins, goes_on, now_ms, scene.hold_ms());
    (count, floods)
}

fn is_known(scene: &Scene<'_>, known: &AtomicU64) -> bool {
    let (last_ms, ever) = halves(known.load(Relaxed));
    ever != 0 && age_ms(scene.now_ms, last_ms) < scene.settings().syn_known_s.saturating_mul(1000)
}

/// Whether this very SYN was turned away a moment ago. If not it is remembered, in the place of another.
fn comes_again(scene: &Scene<'_>, packet: &Packet) -> bool {
    let number = u64::from(packet.source_port) << 48
        | u64::from(packet.destination_port) << 32
        | u64::from(packet.tcp.sequence);
    let key = scene.key(Kind::Opening, packet.source, packet.destination, number);
    let places = &scene.shared.turned_away;
    let place = &places[key as usize & (places.len() - 1)];
    let (tag, then_ms) = halves(place.load(Relaxed));
    let own = (key >> 32) as u32;
    let age = age_ms(scene.now_ms, then_ms);
    if tag == own && age < AGAIN_MS.end {
        return AGAIN_MS.contains(&age);
    }
    place.store(pack(own, scene.now_ms), Relaxed);
    false
}

/// A few pass whoever they are, and more of those that come again.
fn admits(scene: &Scene<'_>, target: &[AtomicU64; floods::TARGET_WORDS], packet: &Packet) -> bool {
    // A tenth of a second at a time, so that the first of each second have no advantage.
    const WINDOW_MS: u32 = 100;
    let below = |slot: usize, per_s: u32| {
        let level = Rate::add(&target[slot], 1, scene.now_ms, WINDOW_MS);
        level.current <= per_s / (1000 / WINDOW_MS)
    };
    let settings = scene.settings();
    comes_again(scene, packet) && below(floods::SYN_AGAIN, settings.syn_off_per_s / 2)
        || below(floods::SYN_ADMITTED, settings.syn_admit_per_s)
}
