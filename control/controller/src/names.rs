//! Who had an address, and what name led a client to it.
//!
//! Nodes send DNS answers as records of the application dns with the fields `dns.name` and
//! `dns.address`. Trusts an answer only from a server that is known: a stolen container that asks its
//! own server names nothing. Distrusts their number.
//!
//! Memory bound: [`ANSWERS_MAX`] answers, and [`NAMED_MAX`] names for each of [`CLIENTS_MAX`] clients.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use weir_api::{Verdict, v1};
use weir_learn::End;
use weir_model::DomainPattern;
use weir_policy::Snapshot;
use weir_policy::spec::UNKNOWN_IDENTITY;

use crate::flows::ip_address;
use crate::source::Source;

/// Answers that are remembered; the oldest gives way.
const ANSWERS_MAX: usize = 65_536;
/// Names of servers outside that are told apart for one client; who looks up more gets `unknown`.
const NAMED_MAX: usize = 64;
/// Clients with such names.
const CLIENTS_MAX: usize = 16_384;
/// An answer leads to connections for so long: clients keep addresses longer than they should.
const HOLDS_US: u64 = 24 * 60 * 60 * 1_000_000;
/// Longest domain name (RFC 1035).
const NAME_BYTES_MAX: usize = 253;

/// Who had an address at a time. A node is told of the identities that its workloads can meet; the
/// others are found here.
pub trait WhoHad: Debug + Send + Sync {
    /// "namespace/workload"; none where nobody is known to have had it.
    fn who_had(&self, address: IpAddr, zone: u32, time_unix_us: u64) -> Option<String>;
}

/// The policy that is published knows who has an address now.
impl WhoHad for Snapshot {
    fn who_had(&self, address: IpAddr, zone: u32, _time_unix_us: u64) -> Option<String> {
        let address = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        match self.identity_of(zone, u128::from(address)) {
            UNKNOWN_IDENTITY => None,
            identity => Some(self.identity_name(identity).to_owned()),
        }
    }
}

/// A cluster's addresses change hands: its source remembers who had them. Those of files are in the
/// policy.
impl WhoHad for Source {
    fn who_had(&self, address: IpAddr, _zone: u32, time_unix_us: u64) -> Option<String> {
        let Self::Kubernetes(source) = self else {
            return None;
        };
        let time = UNIX_EPOCH.checked_add(Duration::from_micros(time_unix_us))?;
        source.who_had(address, time).map(|name| name.to_string())
    }
}

/// The name of an end: as the node's identity says, else by its address then.
pub fn end_name(
    identity: u32,
    address: &[u8],
    record: &v1::FlowRecord,
    snapshot: &Snapshot,
    history: &dyn WhoHad,
) -> String {
    let name = snapshot.identity_name(identity);
    if identity != UNKNOWN_IDENTITY && snapshot.identity(identity).is_some() {
        return name.to_owned();
    }
    let Some(address) = ip_address(address) else {
        return name.to_owned();
    };
    let (zone, time) = (record.zone, record.first_seen_unix_us);
    history
        .who_had(address, zone, time)
        .or_else(|| snapshot.who_had(address, zone, time))
        .unwrap_or_else(|| name.to_owned())
}

/// What an answer leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Target {
    Address(IpAddr),
    /// The workload behind a service's address.
    Workload(String),
}

#[derive(Clone, Debug)]
struct Answer {
    name: String,
    time_unix_us: u64,
}

/// DNS answers, by who got them.
#[derive(Debug, Default)]
pub struct Answers {
    by_client: HashMap<(String, Target), Answer>,
    order: VecDeque<(String, Target)>,
    named: HashMap<String, HashSet<String>>,
}

impl Answers {
    /// Takes what a record tells, if it is an answer.
    pub fn take(&mut self, view: &v1::FlowView, snapshot: &Snapshot) {
        let Some(record) = &view.record else { return };
        if record.application != "dns" || record.verdict() == Verdict::Denied {
            return;
        }
        let field = |name: &str| record.fields.get(name).filter(|value| !value.is_empty());
        let (Some(name), Some(addresses)) = (field("dns.name"), field("dns.address")) else {
            return;
        };
        if End::of(&view.server) == End::Unknown || name.len() > NAME_BYTES_MAX {
            return;
        }
        let Some(client) = client(view, record) else {
            return;
        };
        let addresses = addresses
            .split([',', ' '])
            .filter_map(|text| text.parse().ok());
        for address in addresses.take(16) {
            let target = match snapshot.who_had(address, record.zone, record.time_unix_us) {
                Some(workload) => Target::Workload(workload),
                None => Target::Address(address),
            };
            let answer = Answer {
                name: name.clone(),
                time_unix_us: record.time_unix_us,
            };
            self.insert((client.clone(), target), answer);
        }
    }

    /// The name that led the client of this record to its server, if an answer did so shortly before.
    pub fn name_for(&self, view: &v1::FlowView) -> Option<String> {
        let record = view.record.as_ref()?;
        let client = client(view, record)?;
        let find = |target: Target| {
            let answer = self.by_client.get(&(client.clone(), target))?;
            let age_us = record
                .first_seen_unix_us
                .saturating_sub(answer.time_unix_us);
            (age_us <= HOLDS_US).then(|| answer.name.clone())
        };
        let by_address = ip_address(&record.server_address).map(Target::Address);
        find(Target::Workload(view.server.clone())).or_else(|| find(by_address?))
    }

    /// How a server that nobody knows is called in conversations of this client: by the name that led
    /// to it, in brackets, as policy names it. None where it has none, or the client has too many.
    pub fn outside(&mut self, client: &str, name: &str) -> Option<String> {
        name.parse::<DomainPattern>().ok()?;
        if !self.named.contains_key(client) && self.named.len() >= CLIENTS_MAX {
            return None;
        }
        let named = self.named.entry(client.to_owned()).or_default();
        if !named.contains(name) {
            if named.len() >= NAMED_MAX {
                return None;
            }
            named.insert(name.to_owned());
        }
        Some(format!("[{name}]"))
    }

    fn insert(&mut self, key: (String, Target), answer: Answer) {
        if self.by_client.insert(key.clone(), answer).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > ANSWERS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_client.remove(&oldest);
        }
    }
}

/// Replicas of a workload share a resolver's cache often enough; others go by their address.
fn client(view: &v1::FlowView, record: &v1::FlowRecord) -> Option<String> {
    match End::of(&view.client) {
        End::Workload(..) => Some(view.client.clone()),
        _ => ip_address(&record.client_address).map(|address| address.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(server: &str, server_address: [u8; 4], application: &str) -> v1::FlowView {
        let record = v1::FlowRecord {
            client_address: vec![10, 0, 0, 1],
            server_address: server_address.to_vec(),
            application: application.into(),
            time_unix_us: 5,
            first_seen_unix_us: 5,
            ..Default::default()
        };
        v1::FlowView {
            client: "shop/web".into(),
            server: server.into(),
            record: Some(record),
            ..Default::default()
        }
    }

    fn answer(server: &str, name: &str, address: &str) -> v1::FlowView {
        let mut view = view(server, [10, 0, 0, 9], "dns");
        let fields = [("dns.name", name), ("dns.address", address)];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        view.record.as_mut().unwrap().fields.extend(fields);
        view
    }

    #[test]
    fn an_answer_names_what_its_client_then_asks() {
        let (mut answers, snapshot) = (Answers::default(), Snapshot::empty());
        let told = answer(
            "kube-system/coredns",
            "api.example.com",
            "192.0.2.1, 192.0.2.2",
        );
        answers.take(&told, &snapshot);
        let mut asked = view("unknown", [192, 0, 2, 2], "tls");
        assert_eq!(answers.name_for(&asked).as_deref(), Some("api.example.com"));
        asked.record.as_mut().unwrap().first_seen_unix_us = HOLDS_US + 6;
        assert_eq!(answers.name_for(&asked), None, "long ago");
        let mut other = view("unknown", [192, 0, 2, 2], "tls");
        other.client = "shop/db".into();
        assert_eq!(answers.name_for(&other), None, "another client");
    }

    #[test]
    fn who_asks_a_server_that_nobody_knows_names_nothing() {
        let mut answers = Answers::default();
        let told = answer("unknown", "api.example.com", "192.0.2.1");
        answers.take(&told, &Snapshot::empty());
        assert_eq!(
            answers.name_for(&view("unknown", [192, 0, 2, 1], "tls")),
            None
        );
    }

    #[test]
    fn memory_is_bounded() {
        let mut answers = Answers::default();
        for number in 0..ANSWERS_MAX as u32 + 100 {
            let address = std::net::Ipv4Addr::from(number).to_string();
            answers.take(
                &answer("a/dns", "x.example.com", &address),
                &Snapshot::empty(),
            );
        }
        assert_eq!(answers.by_client.len(), ANSWERS_MAX);
        assert_eq!(answers.order.len(), ANSWERS_MAX);
        let named = (0..1000)
            .filter_map(|number| answers.outside("a/b", &format!("h{number}.example.com")));
        assert_eq!(named.count(), NAMED_MAX);
        assert_eq!(answers.outside("a/b", "no name"), None);
    }
}
