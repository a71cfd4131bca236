//! Tunnels through DNS, by their traffic: how many names of a domain a client asks for, how they look,
//! of which types, and how much comes back. No tool is known by name.
//!
//! Memory: [`PARENTS`] pairs of client and domain.

use serde::Deserialize;

use super::super::Scene;
use super::{Message, names};
use crate::table::Table;
use crate::{Evidence, Threat};

/// Pairs of client and domain that are counted.
pub(super) const PARENTS: usize = 16_384;
/// Places in which names of a domain are counted without being kept.
const PLACES: usize = 512;
/// A domain's own part must be this random to be no words, in thousandths of a bit a byte.
const RANDOM_MILLIBITS: u32 = 3_400;

/// `[threats.protocols.dns.tunnel]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Seconds in which is counted, and in which a pair of client and domain is told once.
    pub window_s: u64,
    /// Different long and random names of a domain before it is told; a page of many images asks for
    /// a handful.
    pub names: u32,
    /// From how many bytes in front of the domain a name is long.
    pub name_bytes: usize,
    /// Different names of a domain of types that carry text before it is told; mail servers ask for
    /// one or two of a domain.
    pub text_names: u32,
    /// And bytes of questions and answers of such types.
    pub text_bytes: u64,
    /// From how many bytes on one name with bytes that no host name has is enough.
    pub odd_name_bytes: usize,
    /// Domains whose names carry data by their purpose: look-ups of files and senders.
    pub allowed: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let allowed = [
            "sophosxl.net",
            "sophosxl.com",
            "mcafee.com",
            "trellix.com",
            "trendmicro.com",
            "senderbase.org",
            "spamhaus.org",
            "spamhaus.net",
            "surbl.org",
            "uribl.com",
            "barracudacentral.org",
            "abuse.ch",
            "cymru.com",
            "bitdefender.net",
            "kaspersky.com",
            "eset.com",
            "e5.sk",
            "f-secure.com",
            "webrootcloudav.com",
            "avast.com",
            "avqs.net",
            "cloudfront.net",
            "akamaiedge.net",
            "akadns.net",
            "amazonaws.com",
            "azure.com",
            "windows.net",
            "googleusercontent.com",
            "googlevideo.com",
            "fbcdn.net",
        ];
        Self {
            window_s: 60,
            names: 20,
            name_bytes: 40,
            text_names: 10,
            text_bytes: 2_000,
            odd_name_bytes: 40,
            allowed: allowed.map(String::from).to_vec(),
        }
    }
}

/// What a client asks of a domain.
#[derive(Clone, Default)]
struct Parent {
    began_us: u64,
    told: bool,
    /// Which places were hit by a long and random name, or by one of a type that carries text.
    random: [u64; PLACES / 64],
    texts: [u64; PLACES / 64],
    text_bytes: u64,
    questions: u32,
    /// A name had bytes that no host name has.
    odd: bool,
    /// Text of a name of one label was asked for.
    lone: bool,
}

pub(super) struct Tunnels {
    parents: Table<Parent>,
    secret: u64,
}

impl Tunnels {
    pub(super) fn new(secret: [u64; 2]) -> Self {
        Self {
            parents: Table::new(PARENTS, secret),
            secret: secret[1],
        }
    }

    pub(super) fn asked(&mut self, scene: &mut Scene<'_>, message: &Message<'_>) {
        let settings = &scene.config.protocols.dns.tunnel;
        let text = carries_text(message.kind);
        let long_bytes = settings.name_bytes.min(settings.odd_name_bytes);
        // Most questions are for an address by a short name: 7 % of the instructions of new flows, half of
        // them DNS, went to comparing such names with lists of domains.
        if !text && message.name.len() < long_bytes {
            return;
        }
        let parts = names::parts(message.name);
        let lone = is_lone_text(message);
        if !lone && (parts.front.is_empty() || is_exempt(scene, message.name, parts)) {
            return;
        }
        let is_random = parts.front.len() >= long_bytes
            && parts.front.iter().any(u8::is_ascii_digit)
            && names::entropy_millibits(parts.front) >= RANDOM_MILLIBITS;
        let random = is_random && parts.front.len() >= settings.name_bytes;
        let odd = is_random
            && parts.front.len() >= settings.odd_name_bytes
            && names::odd_bytes(parts.front) > 0;
        if !(text || random || odd) {
            return;
        }
        let place = names::hash(self.secret, parts.front) as usize % PLACES;
        // All lone labels of a client count as one domain.
        let domain = if lone { b"" } else { parts.domain };
        let parent = self.parent(scene, domain);
        parent.questions += 1;
        parent.odd |= odd;
        parent.lone |= lone;
        if random {
            parent.random[place / 64] |= 1 << (place % 64);
        }
        if text {
            parent.texts[place / 64] |= 1 << (place % 64);
            parent.text_bytes += message.length;
        }
        judge(parent, scene, message.name);
    }

    pub(super) fn answered(&mut self, scene: &mut Scene<'_>, message: &Message<'_>) {
        if !carries_text(message.kind) {
            return;
        }
        let parts = names::parts(message.name);
        if parts.front.is_empty() || is_exempt(scene, message.name, parts) {
            return;
        }
        let parent = self.parent(scene, parts.domain);
        parent.text_bytes += message.length;
        judge(parent, scene, message.name);
    }

    fn parent(&mut self, scene: &Scene<'_>, domain: &[u8]) -> &mut Parent {
        let (connection, now_us) = (scene.connection, scene.now_us);
        let key = (connection.zone, connection.client, domain);
        let parent = self.parents.entry(key, now_us);
        let window_us = scene.config.protocols.dns.tunnel.window_s * 1_000_000;
        if parent.began_us == 0 || now_us.saturating_sub(parent.began_us) >= window_us {
            *parent = Parent {
                began_us: now_us.max(1),
                ..Parent::default()
            };
        }
        parent
    }
}

fn judge(parent: &mut Parent, scene: &mut Scene<'_>, name: &[u8]) {
    let settings = &scene.config.protocols.dns.tunnel;
    let (random, texts) = (estimate(&parent.random), estimate(&parent.texts));
    let sign = match () {
        () if parent.told => return,
        () if parent.odd => "a long name of bytes that no host name has",
        () if parent.lone => "text of a lone label",
        () if random >= settings.names => "many long random names",
        () if texts >= settings.text_names && parent.text_bytes >= settings.text_bytes => {
            "many names of records that carry text"
        }
        () => return,
    };
    parent.told = true;
    scene.note(Threat::DnsTunnel, || {
        Evidence::sign(sign)
            .bytes(name)
            .counter("random_names", random.into())
            .counter("text_names", texts.into())
            .counter("text_bytes", parent.text_bytes)
            .counter("questions", parent.questions.into())
    });
}

/// How many different names hit these places, by linear counting.
fn estimate(places: &[u64; PLACES / 64]) -> u32 {
    let free: u32 = places.iter().map(|word| word.count_zeros()).sum();
    let share = free.max(1) as f32 / PLACES as f32;
    (-(PLACES as f32) * share.ln()).round() as u32
}

/// Types whose records carry what their owner likes, and those that nobody has named.
fn carries_text(kind: &[u8]) -> bool {
    matches!(
        kind,
        b"TXT" | b"NULL" | b"CNAME" | b"MX" | b"SRV" | b"KEY" | b"HINFO"
    ) || kind.starts_with(b"TYPE65")
}

/// A text record of one label with digits is no domain's: what is asked names no owner. JNDI asks so.
fn is_lone_text(message: &Message<'_>) -> bool {
    matches!(message.kind, b"TXT" | b"NULL")
        && message.name.len() >= 4
        && !message.name.contains(&b'.')
        && message.name.iter().any(u8::is_ascii_digit)
}

fn is_exempt(scene: &Scene<'_>, name: &[u8], parts: names::Parts<'_>) -> bool {
    let dns = &scene.config.protocols.dns;
    let below = |domain: &String| names::is_below(name, domain.as_bytes());
    names::is_customary(parts.front)
        || dns.own_domains.iter().any(below)
        || dns.tunnel.allowed.iter().any(below)
}
