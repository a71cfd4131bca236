//! Floods of ICMP, UDP, DNS and DHCP: more than a threshold in a second, or more begun than answered.
//!
//! Trusts: that track tells answers from questions. Distrusts: the addresses. Memory: [`TARGET_WORDS`] words a
//! target, [`PAIR_WORDS`] a pair. Answers to what the target itself asked are never counted against it, so
//! that a host that monitors thousands is not flooded by their answers.

use std::sync::atomic::AtomicU64;

use weir_wire::Packet;

use crate::{Evidence, Found, Threat};

use super::clock::{Lasting, Rate};
use super::key::{Kind, is_group, sender};
use super::shared::Scene;
use super::table::Entry;

/// Three words of a [`Balance`] of handshakes.
pub(super) const SYN: usize = 0;
/// Unknown sources admitted during a flood.
pub(super) const SYN_ADMITTED: usize = 3;
/// Three words of a [`Balance`] of UDP flows.
const UDP: usize = 4;
const UDP_ONE_WAY: usize = 7;
const UDP_ONE_WAY_LASTS: usize = 8;
const ICMP: usize = 9;
const ICMP_LASTS: usize = 10;
const DNS: usize = 11;
const DNS_LASTS: usize = 12;
/// Datagrams whose fragments did not all arrive.
pub(super) const INCOMPLETE: usize = 13;
/// SYNs admitted since they came again.
pub(super) const SYN_AGAIN: usize = 14;
/// Counters of a target.
pub const TARGET_WORDS: usize = 15;
/// Counters of a pair: rate, and whether it lasts.
pub const PAIR_WORDS: usize = 2;

const SECOND_MS: u32 = 1000;
pub(super) const DNS_PORT: u16 = 53;
const DHCP_SERVER_PORT: u16 = 67;
const DHCP_WINDOW_MS: u32 = 5000;

/// The counters of a target.
pub(super) fn target<'a>(scene: &Scene<'a>, address: u128) -> Option<Entry<'a, TARGET_WORDS>> {
    let key = scene.key(Kind::Target, address, 0, 0);
    scene.shared.targets.touch(key, scene.now_ms)
}

/// What was begun towards a target against what was finished.
///
/// Begun ones are counted by half seconds. The half second before this one is judged once a quarter of a second
/// has passed since its end, against everything finished since its beginning: an honest crowd's
/// are finished by then, whatever their number and however suddenly it came. Only what is far too many at
/// once is judged before.
pub(super) struct Balance<'a> {
    begun: &'a AtomicU64,
    finished: &'a AtomicU64,
    lasts: &'a AtomicU64,
}

const HALF_MS: u32 = 500;

/// From when to when unfinished ones are a flood.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub on_per_s: u32,
    pub off_per_s: u32,
    /// So many are one before they could be judged.
    pub at_once: u32,
}

impl<'a> Balance<'a> {
    pub fn of(words: &'a [AtomicU64; TARGET_WORDS], first: usize) -> Self {
        Self {
            begun: &words[first],
            finished: &words[first + 1],
            lasts: &words[first + 2],
        }
    }

    /// One is begun: how many are unfinished by half seconds, and whether there is a flood.
    pub fn begun(&self, scene: &Scene<'_>, limits: Limits) -> (u32, bool) {
        let now_ms = scene.now_ms;
        let begun = Rate::add_exactly(self.begun, 1, now_ms, HALF_MS);
        let finished = Rate::level(self.finished, now_ms, HALF_MS);
        let finished = finished.current + finished.previous;
        let settled = match begun.is_late() {
            true => begun.previous.saturating_sub(finished),
            false => 0,
        };
        let at_once = (begun.previous + begun.current).saturating_sub(finished);
        let begins = settled >= limits.on_per_s / 2 || at_once >= limits.at_once;
        // What is turned away is begun too, so that a flood ends only when it does.
        let goes_on = settled >= limits.off_per_s / 2;
        let lasts = Lasting::judge(self.lasts, begins, goes_on, now_ms, scene.hold_ms());
        (settled.max(at_once), lasts)
    }

    /// One is finished.
    pub fn finished(&self, scene: &Scene<'_>) {
        Rate::add_exactly(self.finished, 1, scene.now_ms, HALF_MS);
    }
}

/// A UDP datagram that would begin a flow.
pub fn udp_begun(scene: &Scene<'_>, packet: &Packet, found: &mut Found) {
    if !scene.wants(Threat::UdpFlood) || is_group(packet.destination) {
        return;
    }
    let settings = scene.settings();
    let Some(target) = target(scene, packet.destination) else {
        return;
    };
    let on = settings.udp_unanswered_per_s;
    let balance = Balance::of(target.words(), UDP);
    let limits = Limits {
        on_per_s: on,
        off_per_s: on / 4 * 3,
        at_once: on / 4 * 5,
    };
    let (unanswered, lasts) = balance.begun(scene, limits);
    if lasts {
        scene.tell(found, Threat::UdpFlood, 0, packet.destination, || {
            Evidence::sign("flows without answer")
                .counter("unanswered", u64::from(unanswered))
                .counter("threshold_per_s", u64::from(on))
        });
        found.shed(scene.config, Threat::UdpFlood);
    }
}

/// A UDP flow was answered for the first time.
pub fn udp_answered(scene: &Scene<'_>, server: u128) {
    let key = scene.key(Kind::Target, server, 0, 0);
    if let Some(target) = scene.shared.targets.find(key) {
        Balance::of(target.words(), UDP).finished(scene);
    }
}

/// So many more datagrams to a server that never answered on their flow.
pub fn udp_one_way(scene: &Scene<'_>, server: u128, count: u32, found: &mut Found) {
    if !scene.wants(Threat::UdpFlood) || is_group(server) {
        return;
    }
    let Some(target) = target(scene, server) else {
        return;
    };
    let limit = scene.settings().udp_one_way_per_s;
    let words = [target.word(UDP_ONE_WAY), target.word(UDP_ONE_WAY_LASTS)];
    if let Some(rate) = exceeds(scene, words, count, limit) {
        scene.tell(found, Threat::UdpFlood, 0, server, || {
            Evidence::sign("datagrams without answer")
                .counter("per_s", u64::from(rate))
                .counter("threshold_per_s", u64::from(limit))
        });
        found.shed(scene.config, Threat::UdpFlood);
    }
}

/// An ICMP message that answers nothing. `count` stands for those that were not looked at.
pub fn icmp(scene: &Scene<'_>, packet: &Packet, count: u32, found: &mut Found) {
    let settings = scene.settings();
    let limits = [settings.icmp_pair_per_s, settings.icmp_target_per_s];
    let slots = [ICMP, ICMP_LASTS];
    let ends = (packet.source, packet.destination);
    flood(
        scene,
        Threat::IcmpFlood,
        Kind::PairIcmp,
        ends,
        slots,
        limits,
        count,
        found,
    );
}

/// A datagram towards a server, by what listens there: questions to DNS, requests to DHCP.
pub fn udp_question(scene: &Scene<'_>, packet: &Packet, count: u32, found: &mut Found) {
    match packet.destination_port {
        DNS_PORT => dns_question(scene, packet, count, found),
        DHCP_SERVER_PORT => dhcp_request(scene, count, found),
        _ => {}
    }
}

fn dns_question(scene: &Scene<'_>, packet: &Packet, count: u32, found: &mut Found) {
    let settings = scene.settings();
    let limits = [settings.dns_pair_per_s, settings.dns_target_per_s];
    let slots = [DNS, DNS_LASTS];
    let ends = (packet.source, packet.destination);
    flood(
        scene,
        Threat::DnsFlood,
        Kind::PairDns,
        ends,
        slots,
        limits,
        count,
        found,
    );
}

/// Clients have no address yet and ask everybody: counted by network.
fn dhcp_request(scene: &Scene<'_>, count: u32, found: &mut Found) {
    if !scene.wants(Threat::DhcpFlood) {
        return;
    }
    let key = scene.key(Kind::Dhcp, 0, 0, 0);
    let Some(entry) = scene.shared.pairs.touch(key, scene.now_ms) else {
        return;
    };
    entry.keep(scene.now_ms);
    let limit = scene.settings().dhcp_per_s;
    let level = Rate::add(entry.word(0), count, scene.now_ms, DHCP_WINDOW_MS).sliding();
    let begins = level >= limit.saturating_mul(DHCP_WINDOW_MS / 1000);
    if Lasting::judge(entry.word(1), begins, begins, scene.now_ms, scene.hold_ms()) {
        scene.tell(found, Threat::DhcpFlood, 0, 0, || {
            Evidence::sign("requests")
                .counter("in_5_s", u64::from(level))
                .counter("threshold_per_s", u64::from(limit))
        });
        found.shed(scene.config, Threat::DhcpFlood);
    }
}

/// Counts by pair and by target, and tells where either is over its limit.
#[expect(
    clippy::too_many_arguments,
    reason = "one place for what differs only by them"
)]
fn flood(
    scene: &Scene<'_>,
    threat: Threat,
    kind: Kind,
    (source, destination): (u128, u128),
    slots: [usize; 2],
    [pair_limit, target_limit]: [u32; 2],
    count: u32,
    found: &mut Found,
) {
    if !scene.wants(threat) {
        return;
    }
    let source = sender(source);
    let key = scene.key(kind, source, destination, 0);
    let pair = scene
        .shared
        .pairs
        .touch(key, scene.now_ms)
        .and_then(|pair| exceeds(scene, [pair.word(0), pair.word(1)], count, pair_limit));
    let all = target(scene, destination).and_then(|target| {
        exceeds(
            scene,
            slots.map(|slot| target.word(slot)),
            count,
            target_limit,
        )
    });
    let (sign, who, rate, limit) = match (pair, all) {
        (Some(rate), _) => ("of one source", source, rate, pair_limit),
        (None, Some(rate)) => ("of many sources", 0, rate, target_limit),
        (None, None) => return,
    };
    scene.tell(found, threat, who, destination, || {
        Evidence::sign(sign)
            .counter("per_s", u64::from(rate))
            .counter("threshold_per_s", u64::from(limit))
    });
    found.shed(scene.config, threat);
}

/// Counts in a second's window: the rate, where it is over the limit or was lately and is still over three
/// quarters of it.
fn exceeds(
    scene: &Scene<'_>,
    [rate, lasts]: [&AtomicU64; 2],
    count: u32,
    limit: u32,
) -> Option<u32> {
    let level = Rate::add(rate, count, scene.now_ms, SECOND_MS).sliding();
    let goes_on = level > limit / 4 * 3;
    let on = Lasting::judge(lasts, level > limit, goes_on, scene.now_ms, scene.hold_ms());
    (on && goes_on).then_some(level)
}
