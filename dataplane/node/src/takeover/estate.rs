//! What a process leaves to the next one, and how it is shared out among that one's workers.

use weir_flow::{FlowKey, Life, TcpConnection};
use weir_l7::{AppId, Confidence};

use crate::announced::Part;
use crate::handover::owner_of;

/// What a process leaves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Estate {
    /// Its version, for people.
    pub version: String,
    /// Its ports with their roles, in order: zones are numbered by them.
    pub ports: Vec<String>,
    /// Of each worker.
    pub workers: Vec<Left>,
}

/// What a worker leaves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Left {
    /// Its number.
    pub worker: u16,
    /// The number of its newest flow.
    pub last_number: u64,
    /// Addresses that DNS answers gave to names.
    pub names: Vec<LeftName>,
    /// Its flows.
    pub flows: Vec<LeftFlow>,
}

/// An address that belongs to a name for some time yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeftName {
    /// The address.
    pub address: u128,
    /// The identity of the name.
    pub identity: u32,
    /// For so long.
    pub left_us: u64,
}

/// A flow.
#[derive(Clone, Debug)]
pub struct LeftFlow {
    /// Who speaks with whom.
    pub key: FlowKey,
    /// The key's low endpoint opened it.
    pub initiator_is_low: bool,
    /// How far its life has come.
    pub life: Life,
    /// Its number.
    pub number: u64,
    /// By direction.
    pub packets: [u64; 2],
    /// By direction.
    pub bytes: [u64; 2],
    /// Windows.
    pub tcp: TcpConnection,
    /// What is true of it: the marks of its connection.
    pub marks: u16,
    /// Alarms that were told.
    pub alarms: u16,
    /// How it stood.
    pub standing: LeftStanding,
    /// What it speaks.
    pub application: Option<AppId>,
    /// What it began as.
    pub carried: Option<AppId>,
    /// How sure that is.
    pub confidence: Option<Confidence>,
    /// The rule that allowed its last request.
    pub granted_by: Option<u32>,
    /// The connection that announced it.
    pub part_of: Option<Part>,
    /// Whose parser read it; None where none did any more.
    pub reader: Option<AppId>,
    /// The parser takes its client for the server.
    pub reversed: bool,
    /// By direction, in how many bytes the next message begins; None where nobody knows.
    pub rest_in: [Option<u64>; 2],
    /// The server has all that was read to it, so that none of it is sent again.
    pub acknowledged: bool,
    /// The byte that would have been read next, by direction.
    pub next: [Option<u32>; 2],
}

/// How a flow stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftStanding {
    /// It was looked into.
    Inspected,
    /// Its packets took the short way.
    Settled,
    /// Policy denied it.
    Denied,
    /// Something found in it did.
    Stopped,
}

impl PartialEq for LeftFlow {
    fn eq(&self, other: &Self) -> bool {
        bytes_of(self) == bytes_of(other)
    }
}

fn bytes_of(flow: &LeftFlow) -> Vec<u8> {
    let mut bytes = Vec::new();
    super::bytes::write_flow(flow, &mut bytes);
    bytes
}

/// What each worker of this process gets.
#[derive(Debug, Default)]
pub struct Share {
    /// By worker.
    pub workers: Vec<Left>,
    /// Flows that nobody gets: only the device knows whose they are now.
    pub ownerless: usize,
}

impl Estate {
    /// Shares it out among so many workers. With as many as before each gets what was its own. With others the
    /// owner is found as for a frame that is handed over, unless a device spreads flows by itself.
    pub fn share_out(self, workers: usize, spread_by_device: bool) -> Share {
        let names: Vec<LeftName> = match self.workers.first() {
            Some(first) => first.names.clone(),
            None => Vec::new(),
        };
        let last_number = self.workers.iter().map(|left| left.last_number);
        let last_number = last_number.map(|number| number & NUMBER_OF_WORKER).max();
        let mut share = Share::default();
        for worker in 0..workers {
            share.workers.push(Left {
                worker: worker as u16,
                last_number: last_number.unwrap_or(0),
                names: names.clone(),
                flows: Vec::new(),
            });
        }
        let same = self.workers.len() == workers;
        for left in self.workers {
            for flow in left.flows {
                let owner = match workers {
                    1 => Some(0),
                    _ if same && spread_by_device => Some(usize::from(left.worker)),
                    _ if spread_by_device => None,
                    _ => Some(owner_of(&flow.key, workers)),
                };
                match owner.and_then(|owner| share.workers.get_mut(owner)) {
                    Some(owner) => owner.flows.push(flow),
                    None => share.ownerless += 1,
                }
            }
        }
        share
    }

    /// How many flows there are.
    pub fn flows(&self) -> usize {
        self.workers.iter().map(|left| left.flows.len()).sum()
    }
}

/// The bits of a flow's number that the worker counts; the others name the worker.
pub const NUMBER_OF_WORKER: u64 = (1 << 56) - 1;
