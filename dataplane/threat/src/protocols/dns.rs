//! DNS: zones that are asked for, records that only tunnels use, tunnels by their traffic, names that lead
//! inside, answers that nobody asked for. Malformed messages are violations.
//!
//! Distrusts: names, which their owners choose. Memory: [`tunnel::PARENTS`] domains of clients, and
//! [`ASKED_MAX`] questions of a connection.

mod names;
mod rebinding;
pub mod tunnel;

use std::net::IpAddr;

use serde::Deserialize;
use weir_l7::{AppId, Event, EventKind, registry};
use weir_wire::from_ip_address;

use super::fields::FieldPlace;
use super::{Memory as Remembered, Scene};
use crate::table::{Table, Window};
use crate::{Evidence, Threat};

/// Questions of a connection that are remembered until they are answered.
const ASKED_MAX: usize = 8;
/// Hosts to which answers come that they did not ask for.
const VICTIMS: usize = 1_024;

/// `[threats.protocols.dns]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Who may ask for whole zones: secondary servers.
    pub secondaries: Vec<IpAddr>,
    /// Domains of one's own: their names may lead inside and are no tunnels.
    pub own_domains: Vec<String>,
    /// Whether a resolver with an inside address may give inside addresses for any name, unless the
    /// same name led outside a moment ago: split horizon is common.
    pub trust_inside_resolvers: bool,
    /// Names of others that lead inside by intent.
    pub inside_names: Vec<String>,
    /// Answers without a question to one host within ten seconds before it is told: one may be late.
    pub unasked_answers: u32,
    /// Thresholds of tunnels.
    pub tunnel: tunnel::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        let own = [
            "cluster.local",
            "local",
            "internal",
            "localdomain",
            "localhost",
            "lan",
            "home",
            "corp",
            "intranet",
            "private",
            "home.arpa",
            "in-addr.arpa",
            "ip6.arpa",
        ];
        Self {
            secondaries: Vec::new(),
            own_domains: own.map(String::from).to_vec(),
            // Windows looks whether it has a way out: the answer is fixed.
            inside_names: vec!["dns.msftncsi.com".to_string()],
            trust_inside_resolvers: true,
            unasked_answers: 10,
            tunnel: tunnel::Settings::default(),
        }
    }
}

/// The questions of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// Hash of each question; 0: free.
    open: [u32; ASKED_MAX],
    /// Which of them was answered.
    answered: u8,
    next: u8,
    /// A question was forgotten before its answer: nothing can be said of answers any more.
    lost: bool,
    any: bool,
}

impl Asked {
    fn ask(&mut self, question: u32) {
        self.any = true;
        if self.open.contains(&question) {
            return;
        }
        let free = (0..ASKED_MAX).find(|&place| self.open[place] == 0);
        let place = free
            .or_else(|| (0..ASKED_MAX).find(|&place| self.answered & 1 << place != 0))
            .unwrap_or_else(|| {
                self.lost = true;
                usize::from(self.next) % ASKED_MAX
            });
        self.open[place] = question;
        self.answered &= !(1 << place);
        self.next = self.next.wrapping_add(1);
    }

    /// Whether this answers a question. An answer may come again.
    fn is_answer(&mut self, question: u32) -> bool {
        let place = self.open.iter().position(|&open| open == question);
        if let Some(place) = place {
            self.answered |= 1 << place;
        }
        place.is_some() || self.lost
    }
}

pub(super) struct Dns {
    dns: AppId,
    name: FieldPlace,
    kind: FieldPlace,
    id: FieldPlace,
    length: FieldPlace,
    address: FieldPlace,
    tunnels: tunnel::Tunnels,
    rebinding: rebinding::Rebinding,
    victims: Table<Window>,
    secret: u64,
}

/// A message, read.
struct Message<'a> {
    name: &'a [u8],
    kind: &'a [u8],
    length: u64,
}

impl Dns {
    pub(super) fn new(secret: [u64; 2]) -> Self {
        Self {
            dns: registry::by_name("dns").unwrap_or(AppId::UNKNOWN),
            name: FieldPlace::of("dns.name"),
            kind: FieldPlace::of("dns.type"),
            id: FieldPlace::of("dns.id"),
            length: FieldPlace::of("dns.length"),
            address: FieldPlace::of("dns.address"),
            tunnels: tunnel::Tunnels::new(secret),
            rebinding: rebinding::Rebinding::new(secret),
            victims: Table::new(VICTIMS, secret),
            secret: secret[0],
        }
    }

    pub(super) fn message(&mut self, scene: &mut Scene<'_>, event: &Event<'_>) {
        // Multicast and link-local names have the same fields: they are nobody's secret channel, and
        // answers to all need no question.
        if scene.speaker.parser != self.dns {
            return;
        }
        let message = Message {
            name: self.name.text(event),
            kind: self.kind.text(event),
            length: self.length.number(event).unwrap_or(0),
        };
        match message.kind {
            b"AXFR" | b"IXFR" if event.kind == EventKind::Request => transfer(scene, &message),
            b"NULL" => scene.once(Threat::DnsNullType, || {
                Evidence::sign("type NULL").bytes(message.name)
            }),
            _ => {}
        }
        let id = self.id.number(event).unwrap_or(0);
        let question = question(self.secret, id, message.name, message.kind);
        let mut asked = scene.watch.dns();
        match event.kind {
            EventKind::Request => {
                asked.ask(question);
                scene.watch.memory = Remembered::Dns(asked);
                self.tunnels.asked(scene, &message);
            }
            EventKind::Response => {
                let was_asked = asked.is_answer(question);
                scene.watch.memory = Remembered::Dns(asked);
                if !was_asked {
                    self.unasked(scene, &message, asked.any);
                }
                self.tunnels.answered(scene, &message);
                let addresses = self.address.all(event);
                self.rebinding.answered(scene, message.name, addresses);
            }
            EventKind::Session => {}
        }
    }

    fn unasked(&mut self, scene: &mut Scene<'_>, message: &Message<'_>, asked_other: bool) {
        // Without a question's section nothing can be compared. Multicast and link-local questions are
        // answered from their ports.
        let ports = [scene.connection.client_port, scene.connection.server_port];
        if message.name.is_empty() || ports.iter().any(|port| matches!(port, 5353 | 5355)) {
            return;
        }
        if asked_other {
            scene.once(Threat::DnsUnasked, || {
                Evidence::sign("number or name differ from what was asked").bytes(message.name)
            });
            return;
        }
        let client = scene.connection.client;
        let window = self
            .victims
            .entry((scene.connection.zone, client), scene.now_us);
        let limit = scene.config.protocols.dns.unasked_answers;
        if window.count(scene.now_us, 10_000_000, limit) {
            let count = window.total();
            scene.note(Threat::DnsUnasked, || {
                Evidence::sign("answers to nobody's question")
                    .bytes(message.name)
                    .counter("answers", count)
                    .target(client)
            });
        }
    }
}

/// A whole zone is asked for.
fn transfer(scene: &mut Scene<'_>, message: &Message<'_>) {
    let secondaries = &scene.settings().dns.secondaries;
    let client = scene.connection.client;
    if !secondaries
        .iter()
        .any(|&address| from_ip_address(address) == client)
    {
        let sign = match message.kind {
            b"IXFR" => "changes of a zone asked for",
            _ => "a zone asked for",
        };
        scene.once(Threat::DnsZoneTransfer, || {
            Evidence::sign(sign).bytes(message.name)
        });
    }
}

/// What joins an answer to its question; never 0.
fn question(secret: u64, id: u64, name: &[u8], kind: &[u8]) -> u32 {
    // Of few kinds the last bytes tell them apart: one hash does for all three.
    let kind = kind.iter().fold(0, |all, &byte| all << 8 | u64::from(byte));
    short_hash(secret ^ id ^ kind << 16, name).max(1)
}

/// A hash that nobody can aim who does not know the secret.
pub(super) fn short_hash(secret: u64, bytes: &[u8]) -> u32 {
    let hash = names::hash(secret, bytes);
    hash as u32 ^ (hash >> 32) as u32
}

impl super::Watch {
    fn dns(&self) -> Asked {
        match self.memory {
            Remembered::Dns(asked) => asked,
            _ => Asked::default(),
        }
    }
}
