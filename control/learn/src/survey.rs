//! What can only be seen over all conversations at once: who a client's replicas are, what similar
//! workloads do, where something came in a burst or after an alert.
//!
//! Made in one pass, then asked for each conversation in logarithmic time.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use crate::days::{DAY_US, day_of};
use crate::replicas::Span;
use crate::workloads::family;
use crate::{Context, Conversation, ConversationKey, End};

const HOUR_US: u64 = DAY_US / 24;
/// How long after an alert what begins is suspected to follow from it.
const AFTERMATH_US: u64 = 3 * DAY_US;
/// A client is new for so long: everything it does begins then.
const BEGINNING_US: u64 = DAY_US;

/// From so many addresses on that were seen on one day only, each is taken for the run of a job.
const SHORT_LIVED_MIN: usize = 6;

/// What is known over all conversations.
pub(crate) struct Survey<'a> {
    clients: HashMap<&'a str, Client<'a>>,
    /// When each end was seen first, in whichever role.
    first_seen_us: HashMap<&'a str, u64>,
    /// When a server and port were asked first, and by how many clients.
    ports: HashMap<(&'a str, u16, u8), (u64, usize)>,
    /// When alerts were raised on conversations of a workload, at either end: first and last.
    alerts: HashMap<&'a str, Vec<(u64, u64, &'a ConversationKey)>>,
    /// The clients of a service that were seen on two days or more.
    services: HashMap<Service<'a>, BTreeSet<&'a str>>,
    /// The clients of one family that do the same with servers of one family.
    kin: HashMap<Kin<'a>, BTreeSet<&'a str>>,
    /// The number of each end's family.
    families: HashMap<&'a str, usize>,
}

type Service<'a> = (&'a str, &'a str, u16, u8);
type Kin<'a> = (usize, usize, &'a str, u16, u8);

/// A client over all of its conversations.
#[derive(Default)]
struct Client<'a> {
    replicas: HashMap<IpAddr, Span>,
    /// Whether DNS answers led it to anything.
    resolves: bool,
    /// When each of its conversations began, sorted.
    beginnings_us: Vec<u64>,
    /// Servers and ports that it met once and never again.
    fleeting: usize,
    /// Servers and ports that never answered it with data, and those that did.
    silent: BTreeSet<(&'a str, u16)>,
    answered: BTreeSet<(&'a str, u16)>,
}

impl<'a> Survey<'a> {
    pub(crate) fn of(
        conversations: &'a [(ConversationKey, Conversation)],
        context: &Context<'_>,
    ) -> Self {
        let mut survey = Self {
            clients: HashMap::new(),
            first_seen_us: HashMap::new(),
            ports: HashMap::new(),
            alerts: HashMap::new(),
            services: HashMap::new(),
            kin: HashMap::new(),
            families: HashMap::new(),
        };
        let mut numbers: HashMap<String, usize> = HashMap::new();
        for (key, seen) in conversations {
            survey.add_to_client(key, seen);
            let port = (key.server.as_str(), key.port, key.protocol);
            let port = survey.ports.entry(port).or_insert((seen.first_seen_us, 0));
            *port = (port.0.min(seen.first_seen_us), port.1 + 1);
            for end in [&key.client, &key.server] {
                let first = survey
                    .first_seen_us
                    .entry(end)
                    .or_insert(seen.first_seen_us);
                *first = (*first).min(seen.first_seen_us);
                survey.families.entry(end).or_insert_with(|| {
                    let next = numbers.len();
                    *numbers
                        .entry(family(end, context.workloads))
                        .or_insert(next)
                });
                if seen.alerts > 0 {
                    let times = (seen.first_alert_us, seen.last_alert_us, key);
                    survey.alerts.entry(end).or_default().push(times);
                }
            }
            // Unknown addresses are not one server.
            if key.application.is_empty() || key.server_end() == End::Unknown {
                continue;
            }
            if seen.days.count() > 1 {
                let clients = survey.services.entry(service(key)).or_default();
                clients.insert(&key.client);
            }
            let kin = survey.kin_of(key);
            survey.kin.entry(kin).or_default().insert(&key.client);
        }
        for client in survey.clients.values_mut() {
            client.beginnings_us.sort_unstable();
            client
                .silent
                .retain(|target| !client.answered.contains(target));
        }
        survey
    }

    fn add_to_client(&mut self, key: &'a ConversationKey, seen: &'a Conversation) {
        let client = self.clients.entry(&key.client).or_default();
        for (address, span) in seen.client_replicas.iter() {
            let known = client.replicas.entry(address).or_insert(span);
            known.first = known.first.min(span.first);
            known.last = known.last.max(span.last);
        }
        client.resolves |= seen.resolved > 0;
        client.beginnings_us.push(seen.first_seen_us);
        client.fleeting += usize::from(is_fleeting(seen));
        let target = (key.server.as_str(), key.port);
        match key.application.is_empty() {
            true => client.silent.insert(target),
            false => client.answered.insert(target),
        };
    }

    fn kin_of<'b>(&self, key: &'b ConversationKey) -> Kin<'b> {
        let family = |end: &str| self.families.get(end).copied().unwrap_or(usize::MAX);
        let (client, server) = (family(&key.client), family(&key.server));
        (client, server, &key.application, key.port, key.protocol)
    }

    /// Replicas of the client that took part, and all that it had meanwhile; none where that cannot be
    /// told.
    pub(crate) fn replicas(
        &self,
        key: &ConversationKey,
        seen: &Conversation,
    ) -> Option<(usize, usize)> {
        let client = self.clients.get(key.client.as_str())?;
        let last = day_of(seen.last_seen_us);
        // Long ago other replicas did it: only the last week of it counts.
        let week = Span {
            first: day_of(seen.first_seen_us).max(last.saturating_sub(6)),
            last,
        };
        let own = seen.client_replicas.within(week);
        let then = client.replicas.values().filter(|span| span.overlaps(week));
        let known = then.clone().count();
        // Each run of a job has an address of its own, and none does all that the others do. What one
        // address does on several days is no job's.
        let brief = then.filter(|span| span.first == span.last).count();
        let days = seen
            .days
            .newest_first()
            .filter(|day| *day >= week.first)
            .count();
        let by_runs = known >= SHORT_LIVED_MIN && brief * 4 >= known * 3 && own >= days;
        let can_tell = own > 0 && !by_runs && !seen.client_replicas.is_full();
        can_tell.then_some((own, known))
    }

    /// Whether the client finds servers by DNS, as far as nodes see.
    pub(crate) fn resolves(&self, client: &str) -> bool {
        self.clients
            .get(client)
            .is_some_and(|client| client.resolves)
    }

    /// Other clients of the same family that do the same.
    pub(crate) fn siblings(&self, key: &ConversationKey) -> usize {
        let Some(clients) = self.kin.get(&self.kin_of(key)) else {
            return 0;
        };
        clients.len() - usize::from(clients.contains(key.client.as_str()))
    }

    /// Other families whose workloads use the same service, on two days or more.
    pub(crate) fn other_users(&self, key: &ConversationKey) -> usize {
        let Some(clients) = self.services.get(&service(key)) else {
            return 0;
        };
        let own = self.families.get(key.client.as_str());
        // Enough to know: there are servers that everybody uses.
        let families: BTreeSet<_> = clients
            .iter()
            .take(64)
            .filter_map(|client| self.families.get(*client))
            .filter(|family| Some(*family) != own)
            .collect();
        families.len()
    }

    /// For how long an end had been known when the conversation began.
    fn age_us(&self, end: &str, seen: &Conversation) -> u64 {
        let first = self.first_seen_us.get(end);
        first.map_or(0, |first| seen.first_seen_us.saturating_sub(*first))
    }

    /// How old the client was when it began, in days.
    pub(crate) fn client_age_days(&self, key: &ConversationKey, seen: &Conversation) -> f64 {
        self.age_us(&key.client, seen) as f64 / DAY_US as f64
    }

    /// Whether it began with the client itself.
    pub(crate) fn began_with_client(&self, key: &ConversationKey, seen: &Conversation) -> bool {
        self.age_us(&key.client, seen) < BEGINNING_US
    }

    /// How long the server had been known, in days, when it was asked at this port for the first time,
    /// if nobody else asks there.
    pub(crate) fn new_port_days(&self, key: &ConversationKey, seen: &Conversation) -> Option<f64> {
        let (_, clients) = self
            .ports
            .get(&(key.server.as_str(), key.port, key.protocol))?;
        let age_us = self.age_us(&key.server, seen);
        (*clients <= 1 && age_us > BEGINNING_US).then_some(age_us as f64 / DAY_US as f64)
    }

    /// Whether it began with a new release: by all replicas of a generation that took the place of others
    /// just then.
    pub(crate) fn began_with_release(&self, key: &ConversationKey, seen: &Conversation) -> bool {
        let began = day_of(seen.first_seen_us);
        let Some(client) = self.clients.get(key.client.as_str()) else {
            return false;
        };
        let is_fresh = |span: &Span| span.first + 1 >= began && span.first <= began;
        let fresh = client.replicas.iter().filter(|(_, span)| is_fresh(span));
        let fresh: BTreeSet<IpAddr> = fresh.map(|(address, _)| *address).collect();
        let before = client.replicas.values().any(|span| span.first + 1 < began);
        let taking_part = seen
            .client_replicas
            .iter()
            .filter(|(address, _)| fresh.contains(address));
        let taking_part = taking_part.count();
        before && taking_part > 0 && taking_part * 4 >= fresh.len() * 3
    }

    /// How many conversations of the client began within an hour of this one; 1 is itself.
    pub(crate) fn burst(&self, key: &ConversationKey, seen: &Conversation) -> usize {
        let Some(client) = self.clients.get(key.client.as_str()) else {
            return 1;
        };
        if self.began_with_client(key, seen) {
            return 1;
        }
        let from = seen.first_seen_us.saturating_sub(HOUR_US);
        let until = seen.first_seen_us.saturating_add(HOUR_US);
        let place = |time: u64| client.beginnings_us.partition_point(|&began| began < time);
        place(until.saturating_add(1)) - place(from)
    }

    /// Servers and ports that never answered the client with data.
    pub(crate) fn silent(&self, client: &str) -> usize {
        self.clients
            .get(client)
            .map_or(0, |client| client.silent.len())
    }

    /// Conversations of the client that were seen once and never again.
    pub(crate) fn fleeting(&self, client: &str) -> usize {
        self.clients.get(client).map_or(0, |client| client.fleeting)
    }

    /// Hours from the alert on the client that this conversation followed, where there was one; the
    /// nearest of them. Alerts of its own do not count.
    pub(crate) fn hours_after_alert(
        &self,
        key: &ConversationKey,
        seen: &Conversation,
    ) -> Option<u64> {
        let times = self.alerts.get(key.client.as_str())?;
        let began = seen.first_seen_us;
        let others = times.iter().filter(|(.., alerted)| *alerted != key);
        let after = |&(first, last, _): &(u64, u64, &ConversationKey)| {
            // Of a long series only the ends are known.
            let nearest = if last <= began { last } else { first };
            let ago = began.checked_sub(nearest)?;
            (ago <= AFTERMATH_US).then_some(ago / HOUR_US)
        };
        others.filter_map(after).min()
    }
}

/// Whether it was seen once, or a second time at once, and not again.
pub(crate) fn is_fleeting(seen: &Conversation) -> bool {
    seen.connections <= 2 && seen.days.count() <= 1
}

fn service(key: &ConversationKey) -> Service<'_> {
    (&key.server, &key.application, key.port, key.protocol)
}
