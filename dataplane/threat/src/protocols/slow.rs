//! Requests that never end (Slowloris, slow body): told per server, when many connections of it are held
//! by heads or bodies that do not come to their end.
//!
//! Memory: [`SERVERS`] servers with [`HELD_MAX`] connections each; more are not told apart.

use arrayvec::ArrayVec;
use serde::Deserialize;

use crate::table::Table;
use crate::{Config, Connection, Evidence, Found, Threat};

const SERVERS: usize = 256;
/// Connections that are followed of a server.
const HELD_MAX: usize = 64;
/// Places of the table that one tick looks at.
const PLACES_PER_TICK: usize = 64;

/// `[threats.protocols.slow]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Seconds after which a head that is not complete counts as held open. Heads are a few packets
    /// that are sent at once; three seconds allow for a lost one to be sent again twice.
    pub head_s: u64,
    /// Seconds without a byte of it after which a body that was announced counts as held open.
    pub body_s: u64,
    /// Bytes a second below which a body that has been coming for `body_s` counts as held open.
    pub body_rate: u64,
    /// Connections of one server that are held open before it is told: a few bad links are no attack.
    pub connections: u32,
    /// Seconds in which a server is told once.
    pub window_s: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            head_s: 3,
            body_s: 30,
            body_rate: 20,
            connections: 10,
            window_s: 60,
        }
    }
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Head,
    Body,
}

#[derive(Clone, Default)]
struct Server {
    held: ArrayVec<Held, HELD_MAX>,
    address: u128,
    /// When it was told last, by part; 0: never.
    told_us: [u64; 2],
}

#[derive(Clone, Copy)]
struct Held {
    number: u64,
    client: u128,
    part: Part,
    since_us: u64,
    bytes: u64,
    last_us: u64,
}

/// The servers whose requests hang.
pub(super) struct Slow {
    servers: Table<Server>,
    next: usize,
}

impl Slow {
    pub(super) fn new(secret: [u64; 2]) -> Self {
        Self {
            servers: Table::new(SERVERS, secret),
            next: 0,
        }
    }

    /// A request of this connection has been incomplete since `since_us`, and this many bytes of it
    /// came since.
    pub(super) fn holds(
        &mut self,
        config: &Config,
        connection: &Connection,
        (part, since_us): (Part, u64),
        bytes: u64,
        now_us: u64,
        found: &mut Found,
    ) {
        let server = self.servers.entry(key(connection), now_us);
        server.address = connection.server;
        let known = server.held.iter_mut();
        let known = known
            .into_iter()
            .find(|held| held.number == connection.number);
        match known {
            Some(held) if held.part == part && held.since_us == since_us => {
                if bytes > held.bytes {
                    held.last_us = now_us;
                }
                held.bytes = bytes;
            }
            Some(held) => {
                *held = Held {
                    part,
                    since_us,
                    bytes,
                    last_us: now_us,
                    ..*held
                }
            }
            None => {
                let _ = server.held.try_push(Held {
                    number: connection.number,
                    client: connection.client,
                    part,
                    since_us,
                    bytes,
                    last_us: now_us,
                });
            }
        }
        server.judge(config, now_us, found);
    }

    /// Its request is complete, or it is over.
    pub(super) fn lets_go(&mut self, connection: &Connection) {
        if let Some(server) = self.servers.get(key(connection)) {
            server.held.retain(|held| held.number != connection.number);
        }
    }

    /// Time passed: what is held and silent is seen by nothing else.
    pub(super) fn tick(&mut self, config: &Config, now_us: u64, found: &mut Found) {
        let (servers, next) = self.servers.walk(self.next, PLACES_PER_TICK);
        for server in servers {
            server.judge(config, now_us, found);
        }
        self.next = next;
    }
}

impl Server {
    fn judge(&mut self, config: &Config, now_us: u64, found: &mut Found) {
        let settings = &config.protocols.slow;
        for part in [Part::Head, Part::Body] {
            let told_us = &mut self.told_us[part as usize];
            let again_us = told_us.saturating_add(settings.window_s * 1_000_000);
            if *told_us > 0 && now_us < again_us {
                continue;
            }
            let slow = self.held.iter().filter(|held| held.part == part);
            let slow = slow.filter(|held| held.is_slow(settings, now_us));
            let count = slow.clone().count();
            if count < settings.connections as usize || count == 0 {
                continue;
            }
            *told_us = now_us.max(1);
            let longest = slow
                .clone()
                .map(|held| now_us.saturating_sub(held.since_us))
                .max();
            // One source, where all are of one.
            let mut sources = slow.map(|held| held.client);
            let first = sources.next();
            let source = first.filter(|&first| sources.all(|other| other == first));
            let (threat, sign) = match part {
                Part::Head => (Threat::Slowloris, "heads that do not end"),
                Part::Body => (Threat::SlowBody, "bodies that hardly come"),
            };
            let target = self.address;
            found.note(config, threat, || Evidence {
                source,
                ..Evidence::sign(sign)
                    .counter("connections", count as u64)
                    .counter("longest_ms", longest.unwrap_or(0) / 1_000)
                    .target(target)
            });
        }
    }
}

impl Held {
    fn is_slow(&self, settings: &Settings, now_us: u64) -> bool {
        let open_us = now_us.saturating_sub(self.since_us);
        let silent_us = now_us.saturating_sub(self.last_us);
        match self.part {
            Part::Head => open_us >= settings.head_s * 1_000_000,
            Part::Body => {
                let patience_us = settings.body_s * 1_000_000;
                let rate = self.bytes.saturating_mul(1_000_000) / open_us.max(1);
                silent_us >= patience_us || open_us >= patience_us && rate < settings.body_rate
            }
        }
    }
}

fn key(connection: &Connection) -> (u32, u128, u16) {
    (connection.zone, connection.server, connection.server_port)
}
