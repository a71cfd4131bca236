//! What is not legitimate: campaigns of intruders, quick and slow. An alert is raised on some of them
//! only; what a stolen container does ends with the container.

use weir_learn::Confidence;

use super::cluster::{add, to};
use super::{Cluster, Flow, Schedule, Who};

/// Ports that are asked of everybody.
const PORTS: [u16; 8] = [22, 80, 445, 3306, 5432, 6379, 8080, 27_017];

/// A container that an intruder has, from that hour on.
struct Foothold {
    campaign: usize,
    service: usize,
    hour: u64,
    days: u64,
}

pub fn plan(cluster: &mut Cluster, campaigns: usize, days: u64) {
    let workloads: Vec<usize> = (0..cluster.services.len())
        .filter(|&place| {
            let service = &cluster.services[place];
            service.name.starts_with("team-") && !service.is_job && service.wanted > 0
        })
        .collect();
    for number in 0..campaigns {
        let foothold = Foothold {
            campaign: number,
            service: *cluster.random.pick(&workloads),
            hour: cluster
                .random
                .between(30, (days * 24).saturating_sub(24).max(31)),
            days: cluster.random.between(2, 14),
        };
        match number % 10 {
            0 => scan(cluster, &foothold),
            1 => slow_scan(cluster, &foothold),
            2 => lateral(cluster, &foothold),
            3 => beacon(cluster, &foothold, 0.9),
            4 => beacon(cluster, &foothold, 1.0 / 24.0),
            5 => exfiltration(cluster, &foothold),
            6 => miner(cluster, &foothold),
            7 => webshell(cluster, &foothold),
            8 => stuffing(cluster, &foothold),
            _ => theft_of_tokens(cluster, &foothold),
        }
    }
}

/// What the stolen container does: from the foothold on, as long as it lives.
fn stolen(
    cluster: &Cluster,
    foothold: &Foothold,
    server: &str,
    application: &str,
    port: u16,
    schedule: Schedule,
) -> Flow {
    Flow {
        who: Who::Stolen(foothold.campaign),
        connections: 2,
        bytes: 4_000,
        bytes_sent: 1_000,
        resolved: None,
        from_hour: foothold.hour,
        until_hour: foothold.hour + foothold.days * 24,
        ..to(
            cluster,
            foothold.service,
            server,
            application,
            port,
            schedule,
        )
    }
}

/// Server, application and port of something that is there, near or anywhere.
fn victims(cluster: &mut Cluster, foothold: &Foothold, many: u64) -> Vec<(String, String, u16)> {
    let own = cluster.services[foothold.service].name.clone();
    let space = own.split('/').next().unwrap_or_default().to_owned();
    let mut offered: Vec<(String, String, u16)> = cluster
        .legitimate
        .iter()
        .filter(|key| key.server_end().is_workload() && key.server != own)
        .map(|key| (key.server.clone(), key.application.clone(), key.port))
        .collect();
    offered.sort();
    offered.dedup();
    let near: Vec<_> = offered
        .iter()
        .filter(|offer| offer.0.starts_with(&format!("{space}/")))
        .cloned()
        .collect();
    let pick = |cluster: &mut Cluster| match cluster.random.chance(0.5) && !near.is_empty() {
        true => cluster.random.pick(&near).clone(),
        false => cluster.random.pick(&offered).clone(),
    };
    (0..many).map(|_| pick(cluster)).collect()
}

/// Where the intruder listens: a name of the campaign's own, or an address.
fn staging(cluster: &mut Cluster, foothold: &Foothold) -> String {
    match cluster.random.chance(0.6) {
        true => format!("[cdn{}.example]", foothold.campaign),
        false => "unknown".to_owned(),
    }
}

fn scan(cluster: &mut Cluster, foothold: &Foothold) {
    let many = cluster.random.between(30, 80);
    let flows = sweep(cluster, foothold, many, |_, hour| vec![hour]);
    cluster.flows.extend(flows);
}

fn slow_scan(cluster: &mut Cluster, foothold: &Foothold) {
    let many = cluster.random.between(10, 25);
    let flows = sweep(cluster, foothold, many, |nth, hour| vec![hour + nth * 11]);
    let flows = flows.into_iter().map(|flow| Flow {
        until_hour: u64::MAX,
        alert: (0.02, "port-scan"),
        ..flow
    });
    cluster.flows.extend(flows);
}

/// Asks many servers at many ports; few answer.
fn sweep(
    cluster: &mut Cluster,
    foothold: &Foothold,
    many: u64,
    when: impl Fn(u64, u64) -> Vec<u64>,
) -> Vec<Flow> {
    let there = victims(cluster, foothold, many);
    let mut flows = Vec::new();
    for (nth, (victim, application, port)) in there.into_iter().enumerate() {
        let schedule = Schedule::At(when(nth as u64, foothold.hour));
        // Most ports that are asked have nobody behind them.
        let answered = cluster.random.chance(0.3);
        let (application, port) = match answered {
            true => (application, port),
            false => (String::new(), *cluster.random.pick(&PORTS)),
        };
        flows.push(Flow {
            connections: 1,
            answered,
            alert: (if nth == 9 { 0.6 } else { 0.0 }, "port-scan"),
            ..stolen(cluster, foothold, &victim, &application, port, schedule)
        });
    }
    flows
}

/// Takes what is near: databases, caches, shells.
fn lateral(cluster: &mut Cluster, foothold: &Foothold) {
    let many = cluster.random.between(2, 6);
    let victims = victims(cluster, foothold, many);
    let mut flows = Vec::new();
    for (victim, application, port) in victims {
        let start = foothold.hour + cluster.random.below(12);
        let last = cluster.random.between(1, 6);
        let mut flow = stolen(
            cluster,
            foothold,
            &victim,
            &application,
            port,
            Schedule::At((start..start + last).collect()),
        );
        flow.connections = 10;
        flow.alert = (0.1, "brute-force");
        if cluster.random.chance(0.4) {
            flow.resolved = Some(victim.replace('/', "."));
        }
        flows.push(flow);
    }
    cluster.flows.extend(flows);
}

/// Calls home, every hour or once a day.
fn beacon(cluster: &mut Cluster, foothold: &Foothold, chance: f64) {
    let server = staging(cluster, foothold);
    let odd = cluster.random.chance(0.3);
    let (application, port) = match odd {
        true => ("unknown", *cluster.random.pick(&[4444, 8443, 53_000])),
        false => ("tls", 443),
    };
    let mut flow = stolen(
        cluster,
        foothold,
        &server,
        application,
        port,
        Schedule::Chance(chance),
    );
    flow.until_hour = foothold.hour + cluster.random.between(3, 25) * 24;
    name(&mut flow, &server);
    if odd {
        flow.confidence = Confidence::None;
    }
    flow.alert = (0.002, "beacon");
    cluster.flows.push(flow);
}

fn exfiltration(cluster: &mut Cluster, foothold: &Foothold) {
    let server = staging(cluster, foothold);
    let (application, port) = *cluster
        .random
        .pick(&[("tls", 443), ("ssh", 22), ("http", 8000)]);
    let start = foothold.hour;
    let step = cluster.random.between(1, 24);
    let hours = (0..cluster.random.between(1, 5)).map(|nth| start + nth * step);
    let mut flow = stolen(
        cluster,
        foothold,
        &server,
        application,
        port,
        Schedule::At(hours.collect()),
    );
    flow.bytes_sent = cluster.random.between(20_000_000, 900_000_000);
    flow.until_hour = u64::MAX;
    flow.alert = (0.05, "exfiltration");
    name(&mut flow, &server);
    cluster.flows.push(flow);
}

/// A miner in one container, or in the image of all of them.
fn miner(cluster: &mut Cluster, foothold: &Foothold) {
    let in_image = cluster.random.chance(0.3);
    let (is_named, port) = *cluster
        .random
        .pick(&[(true, 3333), (false, 14_444), (true, 443)]);
    let server = match is_named {
        true => format!("[pool{}.example]", foothold.campaign),
        false => "unknown".to_owned(),
    };
    let application = if port == 443 { "tls" } else { "unknown" };
    let mut flow = stolen(
        cluster,
        foothold,
        &server,
        application,
        port,
        Schedule::Chance(0.9),
    );
    if in_image {
        flow.who = Who::Any;
        flow.from_hour = foothold.hour / 24 * 24 + 10;
    }
    if port != 443 {
        flow.confidence = Confidence::None;
    }
    flow.alert = (0.01, "cryptominer");
    name(&mut flow, &server);
    cluster.flows.push(flow);
}

/// In by a legitimate way, with an alert; then commands out of the server.
fn webshell(cluster: &mut Cluster, foothold: &Foothold) {
    let victims = victims(cluster, foothold, 4);
    let back = to(
        cluster,
        foothold.service,
        "unknown",
        "unknown",
        4444,
        Schedule::At(vec![foothold.hour, foothold.hour + 1]),
    );
    let mut flows = vec![Flow {
        who: Who::Stolen(foothold.campaign),
        connections: 1,
        confidence: Confidence::None,
        resolved: None,
        alert: (0.5, "reverse-shell"),
        ..back
    }];
    for (victim, application, port) in victims {
        let hour = foothold.hour + cluster.random.between(1, 40);
        let mut flow = stolen(
            cluster,
            foothold,
            &victim,
            &application,
            port,
            Schedule::At(vec![hour]),
        );
        flow.alert = (0.1, "path-traversal");
        flows.push(flow);
    }
    cluster.flows.extend(flows);
}

/// Tries passwords inside: many connections within an hour.
fn stuffing(cluster: &mut Cluster, foothold: &Foothold) {
    let victims = victims(cluster, foothold, 2);
    let mut flows = Vec::new();
    for (victim, application, port) in victims {
        let mut flow = stolen(
            cluster,
            foothold,
            &victim,
            &application,
            port,
            Schedule::At(vec![foothold.hour]),
        );
        (flow.connections, flow.alert) = (800, (0.7, "brute-force"));
        flows.push(flow);
    }
    cluster.flows.extend(flows);
}

/// Asks the cloud's metadata and the cluster's API.
fn theft_of_tokens(cluster: &mut Cluster, foothold: &Foothold) {
    if !cluster.workloads.contains_key("default/kubernetes") {
        add(cluster, "default/kubernetes", "kubernetes", 0, 0);
    }
    let start = foothold.hour;
    let mut flows = Vec::new();
    for (server, application, port) in [("unknown", "http", 80), ("default/kubernetes", "tls", 443)]
    {
        let hours = vec![start, start + cluster.random.between(1, 30)];
        let mut flow = stolen(
            cluster,
            foothold,
            server,
            application,
            port,
            Schedule::At(hours),
        );
        flow.connections = 6;
        flows.push(flow);
    }
    cluster.flows.extend(flows);
}

/// Servers that have a name are looked up, but for what has the address built in.
fn name(flow: &mut Flow, server: &str) {
    flow.resolved = server
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .map(str::to_owned);
}
