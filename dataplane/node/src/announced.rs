//! Connections that another one has announced: FTP's data, TFTP's new port, the media of a call.
//!
//! Trusts: that the parser took the announcement from the end whose port it names, so that nobody
//! opens another's ports. Distrusts: the port (well-known ones are never opened this way) and the
//! number of announcements. An announced connection joins the same two hosts as the one that
//! announced it, and policy judges it as a part of that one. Memory: [`ANNOUNCEMENTS_MAX`] entries
//! for all workers together, since the announced flow may belong to another worker than the one
//! that read of it; the oldest gives way.
//!
//! The one thing that workers share and write: a lock, taken when an announcement is read, and by a
//! new flow while anything is announced.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use weir_l7::AppId;

/// Announcements that wait at a time.
pub const ANNOUNCEMENTS_MAX: usize = 4_096;
/// How long one waits for its connection.
const LIFETIME_US: u64 = 60_000_000;
/// Ports below are those of services: no announcement opens them.
const PORT_MIN: u16 = 1_024;

/// An address and a port of it.
pub type Endpoint = (u128, u16);

/// The connection that is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Zone of the flow key.
    pub zone: u32,
    /// IP protocol number.
    pub protocol: u8,
    /// Where it will arrive.
    pub at: Endpoint,
    /// The host it will come from.
    pub from: u128,
    /// Client of the connection that announced it; the other end is its server.
    pub client: u128,
    /// What it will speak.
    pub application: AppId,
    /// The connection that announced it.
    pub control: Control,
}

/// The connection that announced another, as policy is asked about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// IP protocol number.
    pub protocol: u8,
    /// The port at its server.
    pub server_port: u16,
    /// What it speaks.
    pub application: AppId,
}

/// What a flow remembers of its announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it speaks.
    pub application: AppId,
    /// The connection that announced it.
    pub control: Control,
    /// That one's client is this one's server.
    pub turned: bool,
}

/// What is announced to any worker.
#[derive(Clone, Default)]
pub struct Announced(Arc<Shared>);

#[derive(Default)]
struct Shared {
    count: AtomicUsize,
    ports: Ports,
    waiting: Mutex<VecDeque<(Expected, u64)>>,
}

/// Words of [`Ports`].
const PORT_WORDS: usize = 64;

/// A bit for the announced ports, many ports a bit: new flows of others need not take the lock, nor look
/// through the list, which was 2 % of the instructions of the mixture.
struct Ports([AtomicU64; PORT_WORDS]);

impl Default for Ports {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; PORT_WORDS])
    }
}

impl Ports {
    fn place(port: u16) -> (usize, u64) {
        (usize::from(port) / 64 % PORT_WORDS, 1 << (port % 64))
    }

    fn has(&self, port: u16) -> bool {
        let (word, bit) = Self::place(port);
        self.0[word].load(Ordering::Relaxed) & bit != 0
    }

    /// Whoever looks meanwhile sees each word as it was or as it will be.
    fn note(&self, waiting: &VecDeque<(Expected, u64)>) {
        let mut words = [0; PORT_WORDS];
        for (expected, _) in waiting {
            let (word, bit) = Self::place(expected.at.1);
            words[word] |= bit;
        }
        for (word, bits) in self.0.iter().zip(words) {
            word.store(bits, Ordering::Relaxed);
        }
    }
}

impl Announced {
    /// Nothing yet; all memory is allocated here.
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            count: AtomicUsize::new(0),
            ports: Ports::default(),
            waiting: Mutex::new(VecDeque::with_capacity(ANNOUNCEMENTS_MAX)),
        }))
    }

    /// A connection will follow.
    pub fn expect(&self, expected: Expected, now_us: u64) {
        if expected.at.1 < PORT_MIN {
            return;
        }
        self.with(|waiting| {
            waiting.retain(|(known, until_us)| *until_us > now_us && !known.is_same(&expected));
            if waiting.len() == ANNOUNCEMENTS_MAX {
                waiting.pop_front();
            }
            waiting.push_back((expected, now_us + LIFETIME_US));
        });
    }

    /// A new flow between these ends, the client's first: what it is a part of, once.
    pub fn take(&self, zone: u32, protocol: u8, ends: [Endpoint; 2], now_us: u64) -> Option<Part> {
        if self.0.count.load(Ordering::Relaxed) == 0
            || !ends.iter().any(|end| self.0.ports.has(end.1))
        {
            return None;
        }
        self.with(|waiting| {
            let found = waiting.iter().position(|(expected, until_us)| {
                *until_us > now_us
                    && (expected.zone, expected.protocol) == (zone, protocol)
                    && expected.joins(ends)
            })?;
            let (expected, _) = waiting.remove(found)?;
            Some(Part {
                application: expected.application,
                control: expected.control,
                turned: expected.client != ends[0].0,
            })
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut VecDeque<(Expected, u64)>) -> T) -> T {
        let mut waiting = self
            .0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let done = work(&mut waiting);
        self.0.ports.note(&waiting);
        self.0.count.store(waiting.len(), Ordering::Relaxed);
        done
    }
}

impl Expected {
    fn is_same(&self, other: &Self) -> bool {
        (self.zone, self.protocol, self.at, self.from)
            == (other.zone, other.protocol, other.at, other.from)
    }

    /// Media may begin from the end that was announced, everything else arrives there.
    fn joins(&self, ends: [Endpoint; 2]) -> bool {
        let [client, server] = ends;
        server == self.at && client.0 == self.from || client == self.at && server.0 == self.from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: u128 = 1;
    const SERVER: u128 = 2;

    fn expected(port: u16) -> Expected {
        let application = weir_l7::registry::by_name("http").expect("registered");
        Expected {
            zone: 0,
            protocol: 6,
            at: (SERVER, port),
            from: CLIENT,
            client: CLIENT,
            application,
            control: Control {
                protocol: 6,
                server_port: 21,
                application,
            },
        }
    }

    #[test]
    fn a_connection_is_expected_once_and_not_for_ever() {
        let announced = Announced::new();
        announced.expect(expected(5_000), 0);
        let ends = [(CLIENT, 4_000), (SERVER, 5_000)];
        let strangers = [(3, 4_000), (SERVER, 5_000)];
        assert_eq!(announced.take(0, 6, strangers, 1), None);
        assert_eq!(announced.take(0, 17, ends, 1), None);
        assert_eq!(announced.take(1, 6, ends, 1), None);
        assert_eq!(announced.take(0, 6, ends, LIFETIME_US), None);
        let found = announced.take(0, 6, ends, 1).expect("announced");
        assert_eq!((found.control.server_port, found.turned), (21, false));
        assert_eq!(announced.take(0, 6, ends, 1), None);
    }

    #[test]
    fn services_are_not_opened_and_memory_is_bounded() {
        let announced = Announced::new();
        announced.expect(expected(22), 0);
        assert_eq!(
            announced.take(0, 6, [(CLIENT, 4_000), (SERVER, 22)], 1),
            None
        );
        for port in 0..=u16::MAX {
            announced.expect(expected(port), 0);
        }
        let waiting = announced.0.waiting.lock().expect("unharmed");
        assert_eq!(
            (waiting.len(), waiting.capacity()),
            (ANNOUNCEMENTS_MAX, ANNOUNCEMENTS_MAX)
        );
    }
}
