//! A cluster that is simulated hour by hour: what its nodes would tell, with a label for what is
//! legitimate. The same seed gives the same cluster. Shared by the benchmark (`perf/learning`) and the
//! test that holds a floor under it.

#![allow(dead_code)] // Each of its users takes a part.

pub mod cluster;
pub mod intrusion;
pub mod random;
pub mod score;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use weir_learn::{Confidence, Conversation, ConversationKey, DAY_US, Observation, Workloads};

use random::Random;

const HOUR_US: u64 = DAY_US / 24;
/// A Monday.
const START_US: u64 = 20_003 * DAY_US;

/// How large a simulation is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Applications of about six services each.
    pub applications: usize,
    /// Campaigns of intruders.
    pub intrusions: usize,
}

/// A workload.
#[derive(Clone, Debug)]
pub struct Service {
    pub name: String,
    pub replicas: Vec<IpAddr>,
    /// Replicas by day, of which fewer run at night.
    pub wanted: usize,
    /// Days between releases; 0 for never.
    pub release_days: u64,
    /// It has a new address at each run.
    pub is_job: bool,
    released_day: u64,
}

/// When something happens.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// In each hour with this chance.
    Chance(f64),
    /// By day only, on working days mostly.
    Office(f64),
    /// Each day in this hour.
    Daily(u64),
    /// On this day of the week in this hour.
    Weekly(u64, u64),
    /// At the end of each month in this hour.
    Monthly(u64),
    /// In these hours since the start.
    At(Vec<u64>),
}

/// Which replicas of the client take part.
#[derive(Clone, Debug)]
pub enum Who {
    /// Any of them, each time others.
    Any,
    /// One at random each time.
    One,
    /// The one that this campaign stole, as long as it lives.
    Stolen(usize),
    /// A client that is no workload: one of so many addresses.
    Outside(u64),
}

/// Something that a client does.
#[derive(Clone, Debug)]
pub struct Flow {
    pub client: Option<usize>,
    pub key: ConversationKey,
    pub schedule: Schedule,
    pub who: Who,
    /// Connections each time, at most.
    pub connections: u64,
    pub bytes: u64,
    pub bytes_sent: u64,
    pub resolved: Option<String>,
    pub confidence: Confidence,
    pub answered: bool,
    /// The chance of an alert each time, and its name.
    pub alert: (f64, &'static str),
    pub from_hour: u64,
    pub until_hour: u64,
}

/// A cluster and what happens in it.
pub struct Cluster {
    pub random: Random,
    pub services: Vec<Service>,
    pub workloads: Workloads,
    pub flows: Vec<Flow>,
    /// What is legitimate.
    pub legitimate: HashSet<ConversationKey>,
    /// The container that each campaign has, once it has one.
    stolen: HashMap<usize, IpAddr>,
    next_address: u32,
    hour: u64,
    conversations: HashMap<ConversationKey, Conversation>,
}

impl Cluster {
    pub fn new(seed: u64, size: Size, days: u64) -> Self {
        let mut cluster = Self {
            random: Random::new(seed),
            services: Vec::new(),
            workloads: Workloads::new(),
            flows: Vec::new(),
            legitimate: HashSet::new(),
            stolen: HashMap::new(),
            next_address: 0x0a00_0001,
            hour: 0,
            conversations: HashMap::new(),
        };
        cluster::build(&mut cluster, size.applications, days);
        cluster.legitimate = cluster.flows.iter().map(|flow| flow.key.clone()).collect();
        intrusion::plan(&mut cluster, size.intrusions, days);
        cluster
    }

    /// Lives until the end of that day.
    pub fn run_until(&mut self, day: u64) {
        while self.hour < day * 24 {
            self.release();
            for place in 0..self.flows.len() {
                self.step(place);
            }
            self.hour += 1;
        }
    }

    pub fn now_us(&self) -> u64 {
        START_US + self.hour * HOUR_US
    }

    /// Everything that was seen, sorted.
    pub fn seen(&self) -> Vec<(ConversationKey, Conversation)> {
        let mut seen: Vec<_> = self
            .conversations
            .iter()
            .map(|(key, seen)| (key.clone(), seen.clone()))
            .collect();
        seen.sort_by(|one, other| one.0.cmp(&other.0));
        seen
    }

    pub fn address(&mut self) -> IpAddr {
        self.next_address += 1;
        IpAddr::from(self.next_address.to_be_bytes())
    }

    /// New replicas where a release is due, and more or fewer of them by the hour.
    fn release(&mut self) {
        let (day, hour) = (self.hour / 24, self.hour % 24);
        for place in 0..self.services.len() {
            let service = self.services[place].clone();
            let due = service.release_days > 0
                && day >= service.released_day + service.release_days
                && hour == 10;
            if due {
                self.services[place].replicas.clear();
                self.services[place].released_day = day;
            }
            let by_night = !(7..20).contains(&hour);
            let wanted = match by_night {
                true => service.wanted.div_ceil(2),
                false => service.wanted,
            };
            while self.services[place].replicas.len() < wanted {
                let address = self.address();
                self.services[place].replicas.push(address);
            }
            self.services[place].replicas.truncate(wanted.max(1));
        }
    }

    fn step(&mut self, place: usize) {
        let flow = &self.flows[place];
        let live = (flow.from_hour..flow.until_hour).contains(&self.hour);
        if !live || !is_due(&flow.schedule, self.hour, &mut self.random) {
            return;
        }
        let flow = flow.clone();
        for address in self.addresses(&flow) {
            self.observe(&flow, address);
        }
    }

    /// From which addresses it happens this time.
    fn addresses(&mut self, flow: &Flow) -> Vec<IpAddr> {
        let service = flow.client.map(|client| self.services[client].clone());
        match (&flow.who, service) {
            (Who::Outside(many), _) => {
                let number = u32::try_from(self.random.below(*many)).unwrap_or(0);
                vec![IpAddr::from((0xc633_6400 + number).to_be_bytes())]
            }
            (_, None) => Vec::new(),
            (Who::Stolen(campaign), Some(service)) => {
                // Those of the night stay by day too.
                let steady = service.wanted.div_ceil(2) as u64;
                let place = self.random.below(steady) as usize;
                let address = *self
                    .stolen
                    .entry(*campaign)
                    .or_insert(service.replicas[place]);
                match service.replicas.contains(&address) {
                    true => vec![address],
                    false => Vec::new(),
                }
            }
            (_, Some(service)) if service.is_job => {
                // A run an hour, each with an address of its own.
                let run = flow.client.unwrap_or(0) as u64 * 1_000 + self.hour % 1_000;
                vec![IpAddr::from((0x0b00_0000 + run as u32).to_be_bytes())]
            }
            (Who::One, Some(service)) => {
                let place = self.random.below(service.replicas.len() as u64);
                vec![service.replicas[place as usize]]
            }
            (Who::Any, Some(service)) => {
                // Two of them an hour are enough for all to have shown soon.
                let mut replicas = service.replicas;
                while replicas.len() > 2 {
                    let place = self.random.below(replicas.len() as u64);
                    replicas.swap_remove(place as usize);
                }
                replicas
            }
        }
    }

    fn observe(&mut self, flow: &Flow, client_address: IpAddr) {
        let many = 1 + self.random.below(flow.connections.max(1));
        let alert = self.random.chance(flow.alert.0);
        let time_unix_us = START_US + self.hour * HOUR_US + self.random.below(HOUR_US);
        let seen = Observation {
            node: format!("node-{}", client_address.is_ipv4()),
            zone: 0,
            time_unix_us,
            client_address,
            connections: if flow.answered { many } else { 0 },
            unanswered: if flow.answered { 0 } else { many },
            bytes: (flow.bytes + flow.bytes_sent) * many,
            bytes_sent: flow.bytes_sent * many,
            denied: 0,
            would_deny: 0,
            alerts: alert.then(|| flow.alert.1.to_owned()).into_iter().collect(),
            resolved: flow.resolved.clone(),
            confidence: flow.confidence,
            from_start: true,
        };
        self.conversations
            .entry(flow.key.clone())
            .or_default()
            .merge(&seen);
    }
}

fn is_due(schedule: &Schedule, hour: u64, random: &mut Random) -> bool {
    let (day, of_day) = (hour / 24, hour % 24);
    match schedule {
        Schedule::Chance(chance) => random.chance(*chance),
        Schedule::Office(chance) => {
            let at_work = day % 7 < 5 && (8..18).contains(&of_day);
            random.chance(if at_work { *chance } else { chance / 10.0 })
        }
        Schedule::Daily(at) => of_day == *at,
        Schedule::Weekly(weekday, at) => day % 7 == *weekday && of_day == *at,
        Schedule::Monthly(at) => matches!(day % 30, 26 | 27) && of_day == *at,
        Schedule::At(hours) => hours.contains(&hour),
    }
}
