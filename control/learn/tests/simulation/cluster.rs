//! What is legitimate: applications of three tiers with caches, queues and jobs, and what serves all
//! of them.

use weir_learn::{Confidence, ConversationKey, Traits};

use super::{Cluster, Flow, Schedule, Service, Who};

const FOREVER: u64 = u64::MAX;
const DATABASES: [(&str, u16); 3] = [("mysql", 3306), ("postgresql", 5432), ("mongodb", 27_017)];
const QUEUES: [(&str, u16); 3] = [("kafka", 9092), ("amqp", 5672), ("nats", 4222)];
const PARTNERS: [&str; 8] = [
    "api.stripe.com",
    "hooks.slack.com",
    "api.twilio.com",
    "maps.example.com",
    "sentry.example.com",
    "api.github.com",
    "login.example.com",
    "push.example.com",
];

/// What serves everybody.
struct Common {
    ingress: usize,
    prometheus: usize,
    backup: usize,
    billing: usize,
    bastion: usize,
    logging: usize,
}

pub fn build(cluster: &mut Cluster, applications: usize, days: u64) {
    let common = Common {
        ingress: add(cluster, "ingress/nginx", "nginx", 3, 30),
        prometheus: add(cluster, "monitoring/prometheus", "prometheus", 1, 0),
        backup: job(cluster, "backup/nightly"),
        billing: job(cluster, "finance/billing"),
        bastion: add(cluster, "ops/bastion", "bastion", 1, 0),
        logging: add(cluster, "logging/fluentd", "fluentd", 6, 0),
    };
    add(cluster, "kube-system/coredns", "coredns", 2, 0);
    add(cluster, "logging/elasticsearch", "elasticsearch", 3, 0);
    add(cluster, "mail/relay", "postfix", 1, 0);
    let (ingress, logging) = (common.ingress, common.logging);
    for (application, port) in [("tls", 443), ("http", 80)] {
        let public = outside("ingress/nginx", application, port, 5_000);
        cluster.flows.push(Flow {
            alert: (0.01, "sql-injection"),
            ..public
        });
    }
    link(
        cluster,
        logging,
        "logging/elasticsearch",
        "elasticsearch",
        9200,
        Schedule::Chance(0.5),
    );
    link(
        cluster,
        ingress,
        "kube-system/coredns",
        "dns",
        53,
        Schedule::Chance(0.5),
    );
    for number in 0..applications {
        application(cluster, number, &common, days);
    }
    false_alarms(cluster);
}

/// One application in a namespace of its own; some are instances of the same product.
fn application(cluster: &mut Cluster, number: usize, common: &Common, days: u64) {
    // Every fourth is one of a few products that run in several namespaces.
    let product = match number % 4 {
        0 => format!("blog{}", number / 4 % 3),
        _ => format!("app{number}"),
    };
    let space = format!("team-{number}");
    let release = cluster.random.between(5, 20);
    let part = |name: &str| format!("{space}/{name}");
    let replicas = |cluster: &mut Cluster| cluster.random.between(2, 6) as usize;
    let kind = |name: &str| format!("{product}-{name}");
    let (many_web, many_api) = (replicas(cluster), replicas(cluster));
    let web = add(cluster, &part("web"), &kind("web"), many_web, release);
    let api = add(cluster, &part("api"), &kind("api"), many_api, release);
    let worker = add(cluster, &part("worker"), &kind("worker"), 2, release);
    let (database, database_port) = *cluster.random.pick(&DATABASES);
    let (queue, queue_port) = *cluster.random.pick(&QUEUES);
    let db = add(cluster, &part("db"), database, 1, 0);
    add(cluster, &part("cache"), "redis", 1, 0);
    add(cluster, &part("queue"), queue, 2, 0);
    let steady = || Schedule::Chance(0.5);
    let ingress = common.ingress;
    link(cluster, ingress, &part("web"), "http", 8080, steady());
    // Its health is asked for by the node.
    cluster.flows.push(Flow {
        connections: 10,
        ..outside(&part("web"), "http", 8080, 4)
    });
    let inner = if number.is_multiple_of(2) {
        ("http", 8080)
    } else {
        ("grpc", 50_051)
    };
    link(cluster, web, &part("api"), inner.0, inner.1, steady());
    link(cluster, api, &part("db"), database, database_port, steady());
    link(cluster, api, &part("cache"), "redis", 6379, steady());
    link(
        cluster,
        api,
        &part("queue"),
        queue,
        queue_port,
        Schedule::Chance(0.3),
    );
    link(cluster, worker, &part("queue"), queue, queue_port, steady());
    link(
        cluster,
        worker,
        &part("db"),
        database,
        database_port,
        Schedule::Chance(0.3),
    );
    for own in [web, api, worker] {
        link(
            cluster,
            own,
            "kube-system/coredns",
            "dns",
            53,
            Schedule::Chance(0.4),
        );
    }
    for name in ["web", "api", "worker", "db", "cache", "queue"] {
        link(
            cluster,
            common.prometheus,
            &part(name),
            "http",
            9090,
            steady(),
        );
    }
    beyond(cluster, number, (web, api, worker, db));
    jobs(
        cluster,
        number,
        &part("db"),
        (database, database_port),
        common,
    );
    releases(cluster, number, api, days);
    canary(cluster, &space, &kind("web"), inner, days);
}

/// External servers: by name for the most part, some by address, seldom in a protocol of their own.
fn beyond(
    cluster: &mut Cluster,
    number: usize,
    (web, api, worker, db): (usize, usize, usize, usize),
) {
    for _ in 0..cluster.random.between(0, 2) {
        let name = *cluster.random.pick(&PARTNERS);
        let chance = [0.4, 0.1, 0.01][cluster.random.below(3) as usize];
        named(cluster, api, name, 443, chance, Who::Any);
    }
    if cluster.random.chance(0.3) {
        // A partner by address, as old contracts have it.
        let flow = to(cluster, api, "unknown", "tls", 443, Schedule::Chance(0.2));
        cluster.flows.push(flow);
    }
    if cluster.random.chance(0.2) {
        let mut flow = to(
            cluster,
            worker,
            &format!("team-{number}/db"),
            "unknown",
            7000,
            Schedule::Chance(0.3),
        );
        flow.confidence = Confidence::None;
        cluster.flows.push(flow);
    }
    if cluster.random.chance(0.4) {
        // A rare way through the code: one replica writes a mail.
        let mut flow = to(
            cluster,
            worker,
            "mail/relay",
            "smtp",
            25,
            Schedule::Chance(0.006),
        );
        (flow.who, flow.connections) = (Who::One, 1);
        cluster.flows.push(flow);
    }
    for client in [web, db] {
        let mut flow = to(
            cluster,
            client,
            "[pool.ntp.org]",
            "ntp",
            123,
            Schedule::Chance(0.1),
        );
        (flow.connections, flow.resolved) = (1, Some("pool.ntp.org".to_owned()));
        cluster.flows.push(flow);
    }
}

/// What comes by the hour, the day, the week and the month, and by hand.
fn jobs(
    cluster: &mut Cluster,
    number: usize,
    db: &str,
    (database, port): (&'static str, u16),
    common: &Common,
) {
    let space = format!("team-{number}");
    let hourly = job(cluster, &format!("{space}/sync"));
    let daily = job(cluster, &format!("{space}/cleanup"));
    let at = cluster.random.below(24);
    let weekday = cluster.random.below(7);
    let mut flows = vec![
        to(
            cluster,
            hourly,
            &format!("{space}/api"),
            "http",
            8080,
            Schedule::Chance(0.95),
        ),
        to(cluster, daily, db, database, port, Schedule::Daily(at)),
        to(
            cluster,
            common.backup,
            db,
            database,
            port,
            Schedule::Daily(2),
        ),
        to(
            cluster,
            common.billing,
            db,
            database,
            port,
            Schedule::Monthly(5),
        ),
    ];
    if number.is_multiple_of(3) {
        let weekly = job(cluster, &format!("{space}/report"));
        flows.push(to(
            cluster,
            weekly,
            db,
            database,
            port,
            Schedule::Weekly(weekday, at),
        ));
        flows.push(to(
            cluster,
            weekly,
            "mail/relay",
            "smtp",
            25,
            Schedule::Weekly(weekday, at),
        ));
    }
    flows.iter_mut().for_each(|flow| flow.connections = 3);
    cluster.flows.extend(flows);
    if number == 0 {
        named(cluster, common.backup, "s3.example.com", 443, 0.0, Who::Any);
        if let Some(flow) = cluster.flows.last_mut() {
            (flow.schedule, flow.bytes_sent) = (Schedule::Daily(2), 500_000_000);
        }
    }
    // An operator looks into the database or the machine now and then.
    for (application, port) in [(database, port), ("ssh", 22)] {
        let mut flow = to(
            cluster,
            common.bastion,
            db,
            application,
            port,
            Schedule::Office(0.004),
        );
        flow.connections = 2;
        cluster.flows.push(flow);
    }
}

/// Releases that bring something new: another team's service, another partner.
fn releases(cluster: &mut Cluster, number: usize, api: usize, days: u64) {
    if !cluster.random.chance(0.5) {
        return;
    }
    let release = cluster.services[api].release_days;
    let nth = cluster.random.between(1, (days / release.max(1)).max(1));
    let from_hour = nth * release * 24 + 10;
    let other = cluster.random.below(number as u64 + 1);
    let mut flow = to(
        cluster,
        api,
        &format!("team-{other}/api"),
        "http",
        8080,
        Schedule::Chance(0.4),
    );
    flow.from_hour = from_hour;
    cluster.flows.push(flow);
    let name = *cluster.random.pick(&PARTNERS);
    named(cluster, api, name, 443, 0.2, Who::Any);
    if let Some(flow) = cluster.flows.last_mut() {
        flow.from_hour = from_hour;
    }
}

/// A new version tried beside the old one for some days.
fn canary(cluster: &mut Cluster, space: &str, kind: &str, inner: (&'static str, u16), days: u64) {
    if !cluster.random.chance(0.4) {
        return;
    }
    let from = cluster.random.below(days.max(1)) * 24;
    let until = from + cluster.random.between(12, 96);
    let canary = add(cluster, &format!("{space}/web-canary"), kind, 1, 0);
    let mut flows = vec![
        to(
            cluster,
            canary,
            &format!("{space}/api"),
            inner.0,
            inner.1,
            Schedule::Chance(0.5),
        ),
        to(
            cluster,
            canary,
            "kube-system/coredns",
            "dns",
            53,
            Schedule::Chance(0.4),
        ),
        to(
            cluster,
            0,
            &format!("{space}/web-canary"),
            "http",
            8080,
            Schedule::Chance(0.5),
        ),
        to(
            cluster,
            1,
            &format!("{space}/web-canary"),
            "http",
            9090,
            Schedule::Chance(0.5),
        ),
    ];
    flows
        .iter_mut()
        .for_each(|flow| (flow.from_hour, flow.until_hour) = (from, until));
    cluster.flows.extend(flows);
}

/// A signature that is wrong about something, once in a while.
fn false_alarms(cluster: &mut Cluster) {
    for place in 0..cluster.flows.len() {
        if cluster.random.chance(0.01) {
            cluster.flows[place].alert = (0.01, "suspicious-payload");
        }
    }
}

pub fn add(
    cluster: &mut Cluster,
    name: &str,
    kind: &str,
    wanted: usize,
    release_days: u64,
) -> usize {
    let labels = [("app.kubernetes.io/name".to_owned(), kind.to_owned())].into();
    let traits = Traits {
        labels,
        ..Traits::default()
    };
    cluster.workloads.insert(name.to_owned(), traits);
    cluster.services.push(Service {
        name: name.to_owned(),
        replicas: Vec::new(),
        wanted,
        release_days,
        is_job: false,
        released_day: 0,
    });
    cluster.services.len() - 1
}

fn job(cluster: &mut Cluster, name: &str) -> usize {
    let kind = name.replace('/', "-");
    let place = add(cluster, name, &kind, 1, 0);
    cluster.services[place].is_job = true;
    place
}

/// Something that a workload does; inside, found by name nearly always.
pub fn to(
    cluster: &Cluster,
    client: usize,
    server: &str,
    application: &str,
    port: u16,
    schedule: Schedule,
) -> Flow {
    let datagrams = matches!(application, "dns" | "ntp");
    Flow {
        client: Some(client),
        key: ConversationKey {
            client: cluster.services[client].name.clone(),
            server: server.to_owned(),
            application: application.to_owned(),
            port,
            protocol: if datagrams { 17 } else { 6 },
        },
        schedule,
        who: Who::Any,
        connections: 20,
        bytes: 20_000,
        bytes_sent: 3_000,
        // Servers by configuration, as a resolver is, are not looked up.
        resolved: (!datagrams && server.contains('/') && application != "ssh")
            .then(|| server.replace('/', ".")),
        confidence: Confidence::Content,
        answered: true,
        alert: (0.0, ""),
        from_hour: 0,
        until_hour: FOREVER,
    }
}

fn link(
    cluster: &mut Cluster,
    client: usize,
    server: &str,
    application: &str,
    port: u16,
    schedule: Schedule,
) {
    let mut flow = to(cluster, client, server, application, port, schedule);
    // Who finds servers by the API's addresses, as monitoring does, asks no resolver.
    if flow.key.client.starts_with("monitoring/") || flow.key.client.starts_with("ingress/") {
        flow.resolved = None;
    }
    cluster.flows.push(flow);
}

fn named(cluster: &mut Cluster, client: usize, name: &str, port: u16, chance: f64, who: Who) {
    let mut flow = to(
        cluster,
        client,
        &format!("[{name}]"),
        "tls",
        port,
        Schedule::Chance(chance),
    );
    (flow.who, flow.resolved) = (who, Some(name.to_owned()));
    flow.connections = 5;
    cluster.flows.push(flow);
}

fn outside(server: &str, application: &str, port: u16, many: u64) -> Flow {
    Flow {
        client: None,
        key: ConversationKey {
            client: "unknown".to_owned(),
            server: server.to_owned(),
            application: application.to_owned(),
            port,
            protocol: 6,
        },
        schedule: Schedule::Chance(0.8),
        who: Who::Outside(many),
        connections: 200,
        bytes: 50_000,
        bytes_sent: 2_000,
        resolved: None,
        confidence: Confidence::Content,
        answered: true,
        alert: (0.0, ""),
        from_hour: 0,
        until_hour: FOREVER,
    }
}
