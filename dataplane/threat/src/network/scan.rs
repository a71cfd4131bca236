//! Scans: one source whose connections to many places fail.
//!
//! Trusts: that track knows which connections were answered. Distrusts: how fast or slowly a scanner goes: what
//! counts is places, not packets, over an hour. Memory: [`WORDS`] words for each source with failures, and for
//! each pair of source and target with failures.
//!
//! * **Vertical**: many ports of one target. **Horizontal**: few ports of many targets; with several ports it is
//!   a port scan as well.
//! * A place is a target's port. Each counts once, by the clearest of its signs: a stealth probe (flags that open
//!   nothing: Xmas, NUL, FIN), a refusal (RST, ICMP unreachable), a handshake that its client gives up at once,
//!   silence. Whoever gives up connections but fails none is a health check.
//! * Whoever is answered in more places than it fails in is no scanner: a monitoring system, a mesh with
//!   some dead peers, a crawler. Nor is one whose ports differ from target to target (a swarm of peers).
//! * UDP gets no answer for many honest reasons: its silence counts little, only towards one target, and not
//!   on the ports of traceroute.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use weir_wire::protocol;

use crate::{Evidence, Found, Threat};

use super::clock::{age_ms, halves, pack};
use super::key::{Kind, is_group, sender};
use super::shared::Scene;
use super::table::Entry;

/// How a connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Flags that open nothing.
    Stealth,
    /// Answered by a reset or as unreachable.
    Refused,
    /// Its client reset it before anything was said.
    GivenUp,
    /// Never answered.
    Silent,
}

/// A port of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub address: u128,
    pub port: u16,
    pub protocol: u8,
}

/// When the first failure was (high half), and points of failures.
const POINTS: usize = 0;
/// Bits of places that answered.
const ANSWERED: usize = 1;
/// Bits of ports that failed.
const PORTS: usize = 2;
/// Bits of hosts that failed.
const HOSTS: usize = 3;
/// Bits of places whose handshake was given up.
const GIVEN_UP: usize = 4;
/// Places that failed, four tags a word.
const PLACES: usize = 5;
const PLACE_WORDS: usize = 8;
/// Counters of a source or pair.
pub const WORDS: usize = PLACES + PLACE_WORDS;

/// Fewer hosts are no sweep.
const HOSTS_MIN: u32 = 5;
/// From so many points on it is worth being remembered.
const WORTH: u32 = 8;
/// Where traceroute sends to.
const TRACEROUTE: std::ops::RangeInclusive<u16> = 33_434..=33_690;

impl Failure {
    fn points(self, number: u8) -> u32 {
        match (self, number) {
            (Self::Stealth, _) => 16,
            (Self::Refused | Self::GivenUp, _) => 4,
            (Self::Silent, protocol::UDP) => 1,
            (Self::Silent, _) => 2,
        }
    }
}

/// A connection of this source failed there.
pub fn failed(scene: &Scene<'_>, source: u128, place: Place, failure: Failure, found: &mut Found) {
    let is_udp = place.protocol == protocol::UDP;
    if is_group(place.address) || is_udp && TRACEROUTE.contains(&place.port) {
        return;
    }
    if scene.wants(Threat::PortScan) {
        vertical(scene, source, place, failure, found);
    }
    if !(is_udp && failure == Failure::Silent) {
        horizontal(scene, source, place, failure, found);
    }
}

/// A connection of this source was answered there. Only told of sources with failures.
pub fn answered(scene: &Scene<'_>, source: u128, place: Place) {
    let shared = scene.shared;
    let bit = 1 << (tag(scene, place) & 63);
    let source = sender(source);
    let horizontal = shared.scanners.find(scene.key(Kind::Source, source, 0, 0));
    let vertical = shared
        .verticals
        .find(scene.key(Kind::Pair, source, place.address, 0));
    for entry in [horizontal, vertical].into_iter().flatten() {
        entry.word(ANSWERED).fetch_or(bit, Relaxed);
    }
}

fn vertical(scene: &Scene<'_>, source: u128, place: Place, failure: Failure, found: &mut Found) {
    let key = scene.key(Kind::Pair, sender(source), place.address, 0);
    let Some(entry) = scene.shared.verticals.touch(key, scene.now_ms) else {
        return;
    };
    let Some(tally) = count(scene, &entry, place, failure) else {
        return;
    };
    if tally.places >= 2 {
        scene.tell(found, Threat::PortScan, source, place.address, || {
            evidence(scene, &tally, "many ports of one target")
        });
    }
}

fn horizontal(scene: &Scene<'_>, source: u128, place: Place, failure: Failure, found: &mut Found) {
    let key = scene.key(Kind::Source, sender(source), 0, 0);
    let Some(entry) = scene.shared.scanners.touch(key, scene.now_ms) else {
        return;
    };
    let Some(tally) = count(scene, &entry, place, failure) else {
        return;
    };
    if tally.hosts < HOSTS_MIN || tally.ports * 3 > tally.places {
        return;
    }
    scene.tell(found, Threat::HostScan, source, 0, || {
        evidence(scene, &tally, "many targets")
    });
    if tally.ports > 1 {
        scene.tell(found, Threat::PortScan, source, 0, || {
            evidence(scene, &tally, "several ports of many targets")
        });
    }
}

/// What a source has gathered.
struct Tally {
    points: u32,
    places: u32,
    ports: u32,
    hosts: u32,
}

/// Counts a failure. Some: it is a new place, and there are enough of them.
fn count(
    scene: &Scene<'_>,
    entry: &Entry<'_, WORDS>,
    place: Place,
    failure: Failure,
) -> Option<Tally> {
    let words = entry.words();
    let settings = scene.settings();
    let (mut since_ms, mut points) = halves(words[POINTS].load(Relaxed));
    let window_ms = settings.scan_window_s.saturating_mul(1000);
    if points != 0 && age_ms(scene.now_ms, since_ms) > window_ms {
        words.iter().for_each(|word| word.store(0, Relaxed));
        points = 0;
    }
    if points == 0 {
        since_ms = scene.now_ms;
    }
    let tag = tag(scene, place);
    if failure == Failure::GivenUp {
        words[GIVEN_UP].fetch_or(1 << (tag & 63), Relaxed);
    } else if insert(&words[PLACES..], (tag >> 48) as u16) {
        points += failure.points(place.protocol);
    } else {
        return None;
    }
    words[POINTS].store(pack(since_ms, points), Relaxed);
    words[PORTS].fetch_or(1 << (place.port & 63), Relaxed);
    let host = scene.key(Kind::Place, place.address, 0, 0);
    words[HOSTS].fetch_or(1 << (host & 63), Relaxed);
    if points >= WORTH {
        entry.keep(scene.now_ms);
    }
    let given_up = words[GIVEN_UP].load(Relaxed).count_ones();
    // A handshake that is given up proves nothing by itself: it can but double what others prove.
    let points = points + points.min(given_up * Failure::GivenUp.points(place.protocol));
    let places = places(&words[PLACES..]);
    let answered = words[ANSWERED].load(Relaxed).count_ones();
    (points >= settings.scan_points && answered <= places).then(|| Tally {
        points,
        places: places + given_up,
        ports: words[PORTS].load(Relaxed).count_ones(),
        hosts: words[HOSTS].load(Relaxed).count_ones(),
    })
}

fn evidence(scene: &Scene<'_>, tally: &Tally, sign: &'static str) -> Evidence {
    Evidence::sign(sign)
        .counter("places", u64::from(tally.places))
        .counter("points", u64::from(tally.points))
        .counter("threshold", u64::from(scene.settings().scan_points))
}

fn tag(scene: &Scene<'_>, place: Place) -> u64 {
    let number = u64::from(place.port) << 8 | u64::from(place.protocol);
    scene.key(Kind::Place, place.address, 0, number)
}

/// Puts a tag among the others, four to a word. True when it is new and there is room.
fn insert(words: &[AtomicU64], tag: u16) -> bool {
    let tag = tag.max(1);
    for word in words {
        let known = word.load(Relaxed);
        for lane in (0..64).step_by(16) {
            match (known >> lane) as u16 {
                0 => {
                    let fresh = known | u64::from(tag) << lane;
                    return word
                        .compare_exchange(known, fresh, Relaxed, Relaxed)
                        .is_ok();
                }
                other if other == tag => return false,
                _ => {}
            }
        }
    }
    false
}

fn places(words: &[AtomicU64]) -> u32 {
    let lanes = words.iter().flat_map(|word| {
        let word = word.load(Relaxed);
        (0..64).step_by(16).map(move |lane| (word >> lane) as u16)
    });
    lanes.filter(|&tag| tag != 0).count() as u32
}
