//! From objects of a cluster to workloads, hosts and services, case by case.

mod common;

use common::*;
use weir_kubernetes::{
    Claim, ClaimAction, Event, ExternalAddresses, Meta, Note, Object, ObjectName, OwnerKind,
    Watched,
};
use weir_model::Document;

fn address(text: &str) -> std::net::IpAddr {
    text.parse().unwrap()
}

fn of_set(name: &str) -> Option<weir_kubernetes::Owner> {
    owner(OwnerKind::ReplicaSet, name, 50)
}

#[test]
fn pods_of_one_deployment_are_one_workload_whichever_comes_first() {
    let mut cluster = Cluster::new();
    let mut first = pod("web-1-a", 1, of_set("web-1"), &["10.1.0.1", "fd00::1"]);
    first.labels = labels(&[("app", "web"), ("version", "1"), ("pod-template-hash", "1")]);
    let mut second = pod(
        "web-2-b",
        2,
        owner(OwnerKind::ReplicaSet, "web-2", 51),
        &["10.1.0.2"],
    );
    second.labels = labels(&[("app", "web"), ("version", "2"), ("pod-template-hash", "2")]);
    second.node = Some("worker-2".to_owned());
    first.images = ["web:1".to_owned()].into();
    second.images = ["web:2".to_owned(), "side:1".to_owned()].into();
    cluster.pod(first);
    cluster.pod(second);
    assert_eq!(cluster.owners(), ["shop/web: 10.1.0.1 10.1.0.2 fd00::1"]);
    let deployment = || owner(OwnerKind::Deployment, "web", 9);
    cluster.upsert(Object::Step(step(
        OwnerKind::ReplicaSet,
        "web-1",
        50,
        deployment(),
    )));
    cluster.upsert(Object::Step(step(
        OwnerKind::ReplicaSet,
        "web-2",
        51,
        deployment(),
    )));
    assert_eq!(cluster.tell(), 0, "the owners say what was guessed");
    let workload = cluster.workload("shop/web");
    let account = ("weir.dev/service-account", "web");
    assert_eq!(workload.metadata.labels, labels(&[("app", "web"), account]));
    assert_eq!(workload.spec.service_account.as_deref(), Some("web"));
    let note = |key: &str| workload.metadata.annotations.get(key).map(String::as_str);
    assert_eq!(workload.spec.owner.as_deref(), Some("Deployment"));
    assert_eq!(workload.spec.nodes, ["worker-1", "worker-2"]);
    assert_eq!(workload.spec.images, ["side:1", "web:1", "web:2"]);
    assert_eq!(
        note("weir.dev/spiffe-id"),
        Some("spiffe://cluster.local/ns/shop/sa/web")
    );
    // A Rollout instead: the same pods, another owner.
    let rollout = || owner(OwnerKind::Other("Rollout".into()), "front", 9);
    cluster.upsert(Object::Step(step(
        OwnerKind::ReplicaSet,
        "web-2",
        51,
        rollout(),
    )));
    assert_eq!(
        cluster.owners(),
        ["shop/front: 10.1.0.2", "shop/web: 10.1.0.1 fd00::1"]
    );
}

#[test]
fn a_reused_address_is_the_later_pods_and_never_both() {
    let mut cluster = Cluster::new();
    let old = pod("old", 1, None, &["10.1.0.1"]);
    cluster.pod(old.clone());
    cluster.now_us = 2_000_000;
    cluster.tell();
    // The new pod appears before the old one is reported gone; its clock is behind.
    let mut new = pod("new", 2, None, &["10.1.0.1"]);
    (new.meta.created_us, new.bound_us) = (0, 0);
    cluster.pod(new);
    assert_eq!(cluster.owners(), ["shop/new: 10.1.0.1", "shop/old"]);
    let notes = cluster.world.notes();
    let [Note::Overlap { holder, other, .. }] = &notes[..] else {
        panic!("{notes:?}");
    };
    assert_eq!((&**holder, &**other), ("shop/new", "shop/old"));
    assert_eq!(cluster.world.counts().overlaps, 1);
    // What the old one's kubelet still says of it takes nothing back.
    let mut ending = old;
    ending.terminating = true;
    cluster.pod(ending);
    assert_eq!(cluster.owners(), ["shop/new: 10.1.0.1", "shop/old"]);
    cluster.remove(Watched::Pod, "old");
    assert_eq!(cluster.owners(), ["shop/new: 10.1.0.1"]);
    let who = |time_us| {
        let who = cluster.world.who_had(address("10.1.0.1"), time_us);
        who.map(|who| who.to_string())
    };
    assert_eq!(who(1_999_999).as_deref(), Some("shop/old"));
    assert_eq!(who(2_000_010).as_deref(), Some("shop/new"));
    assert_eq!(who(0), None);
}

#[test]
fn within_one_list_time_decides_and_who_ends_loses() {
    let mut cluster = Cluster::new();
    let mut ending = pod("a", 1, None, &["10.1.0.1"]);
    (ending.terminating, ending.bound_us) = (true, 900);
    let lasting = pod("b", 2, None, &["10.1.0.1"]);
    let mut early = pod("c", 3, None, &["10.1.0.2"]);
    early.bound_us = 5;
    let mut late = pod("d", 4, None, &["10.1.0.2"]);
    late.bound_us = u64::MAX; // A clock in the future.
    for order in [[0, 1, 2, 3], [3, 2, 1, 0]] {
        let pods = [&ending, &lasting, &early, &late];
        let pods = order.map(|index| Object::Pod(pods[index].clone()));
        let mut cluster = Cluster::new();
        cluster.list(Watched::Pod, pods);
        let owners = cluster.owners();
        assert_eq!(
            owners,
            ["shop/a", "shop/b: 10.1.0.1", "shop/c", "shop/d: 10.1.0.2"]
        );
        let who = cluster.world.who_had(address("10.1.0.2"), cluster.now_us);
        assert_eq!(
            who.as_deref(),
            Some("shop/d"),
            "nobody has it only in the future"
        );
    }
    cluster.pod(ending);
    cluster.tell();
}

#[test]
fn pods_give_addresses_up_when_they_have_finished_and_not_before() {
    let mut cluster = Cluster::new();
    let mut job = pod("n-1-x", 1, owner(OwnerKind::Job, "n-1", 50), &["10.1.0.1"]);
    let cron = owner(OwnerKind::CronJob, "n", 60);
    cluster.upsert(Object::Step(step(OwnerKind::Job, "n-1", 50, cron)));
    cluster.pod(job.clone());
    assert_eq!(cluster.owners(), ["shop/n: 10.1.0.1"]);
    job.terminating = true;
    cluster.pod(job.clone());
    assert_eq!(cluster.owners(), ["shop/n: 10.1.0.1"]);
    job.finished = true;
    cluster.pod(job.clone());
    assert_eq!(cluster.owners(), ["shop/n"]);
    // The job is deleted before its pods are: they stay what they were.
    cluster.remove(Watched::Job, "n-1");
    assert_eq!(cluster.owners(), ["shop/n"]);
    cluster.remove(Watched::Pod, "n-1-x");
    assert!(cluster.owners().is_empty());
    assert_eq!(cluster.world.counts(), Default::default());
}

#[test]
fn the_hosts_addresses_are_the_hosts() {
    let mut cluster = Cluster::new();
    let mut proxy = pod("proxy", 1, None, &["192.0.2.1"]);
    proxy.host_network = true;
    cluster.pod(proxy);
    // A pod whose status claims a node's address does not get it, in whatever order.
    cluster.pod(pod("liar", 2, None, &["192.0.2.1", "10.1.0.1"]));
    let host = node(
        "worker-1.example.internal",
        3,
        &["192.0.2.1", "2001:db8::1"],
    );
    cluster.upsert(Object::Node(host));
    cluster.pod(pod("liar-2", 4, None, &["192.0.2.1"]));
    let owners = cluster.owners();
    let host = "nodes/worker-1.example.internal: 192.0.2.1 2001:db8::1";
    assert!(owners.contains(&host.to_owned()), "{owners:?}");
    assert!(
        owners.contains(&"shop/liar: 10.1.0.1".to_owned()),
        "{owners:?}"
    );
    assert!(owners.contains(&"shop/liar-2".to_owned()), "{owners:?}");
    let proxy = cluster.workload("shop/proxy");
    assert!(
        proxy
            .metadata
            .annotations
            .contains_key("weir.dev/host-network")
    );
    cluster.remove(Watched::Node, "worker-1.example.internal");
    let owners = cluster.owners();
    assert_eq!(
        owners,
        [
            "shop/liar: 10.1.0.1",
            "shop/liar-2: 192.0.2.1",
            "shop/proxy"
        ]
    );
}

#[test]
fn a_namesake_takes_nobodys_name() {
    let mut cluster = Cluster::new();
    let set = owner(OwnerKind::StatefulSet, "db", 10);
    cluster.upsert(Object::Template(template(OwnerKind::StatefulSet, "db", 10)));
    cluster.pod(pod("db-0", 11, set, &["10.1.0.1"]));
    cluster.tell();
    cluster.upsert(Object::Template(template(OwnerKind::Deployment, "db", 20)));
    cluster.pod(pod(
        "x",
        21,
        owner(OwnerKind::Deployment, "db", 20),
        &["10.1.0.2"],
    ));
    let owners = cluster.owners();
    assert_eq!(owners.len(), 2, "{owners:?}");
    assert_eq!(owners[0], "shop/db: 10.1.0.1");
    assert!(owners[1].starts_with("shop/db-deployment-"), "{owners:?}");
    // When the first is gone its name is free.
    cluster.remove(Watched::Pod, "db-0");
    cluster.remove(Watched::StatefulSet, "db");
    assert_eq!(cluster.owners(), ["shop/db: 10.1.0.2"]);
    // A namespace that is called as the hosts' is: the host keeps its name.
    let mut guest = pod("worker-1", 1, None, &["10.1.0.3"]);
    guest.meta.name.namespace = "nodes".to_owned();
    cluster.pod(guest);
    cluster.upsert(Object::Node(node("worker-1", 99, &["192.0.2.1"])));
    let owners = cluster.owners();
    assert!(
        owners.contains(&"nodes/worker-1: 192.0.2.1".to_owned()),
        "{owners:?}"
    );
}

#[test]
fn a_list_anew_is_no_deletion_and_what_it_lacks_is_gone() {
    let mut cluster = Cluster::new();
    let pods: Vec<Object> = (1..=3_u8)
        .map(|n| {
            Object::Pod(pod(
                &format!("p{n}"),
                n.into(),
                None,
                &[&format!("10.1.0.{n}")],
            ))
        })
        .collect();
    cluster.list(Watched::Pod, pods.clone());
    assert_eq!(cluster.tell(), 3);
    cluster.apply(Event::ListBegins(Watched::Pod));
    assert_eq!(cluster.tell(), 0);
    cluster.upsert(pods[0].clone());
    assert_eq!(cluster.tell(), 0);
    // It broke off and began again.
    cluster.apply(Event::ListBegins(Watched::Pod));
    for object in &pods[..2] {
        cluster.upsert(object.clone());
    }
    assert_eq!(cluster.tell(), 0);
    cluster.apply(Event::ListEnds(Watched::Pod));
    assert_eq!(cluster.tell(), 1);
    assert_eq!(cluster.owners(), ["shop/p1: 10.1.0.1", "shop/p2: 10.1.0.2"]);
    // The same name, another pod, and the deletion was never heard of.
    cluster.list(
        Watched::Pod,
        [Object::Pod(pod("p1", 9, None, &["10.1.0.9"]))],
    );
    assert_eq!(cluster.owners(), ["shop/p1: 10.1.0.9"]);
}

#[test]
fn workloads_without_pods_stay_while_their_controller_does() {
    let mut cluster = Cluster::new();
    let mut deployment = template(OwnerKind::Deployment, "web", 9);
    deployment.service_account = Some("web".to_owned());
    cluster.upsert(Object::Template(deployment));
    let workload = cluster.workload("shop/web");
    let account = ("weir.dev/service-account", "web");
    assert_eq!(workload.metadata.labels, labels(&[("app", "web"), account]));
    assert_eq!(workload.spec.service_account.as_deref(), Some("web"));
    cluster.pod(pod(
        "web-x",
        1,
        owner(OwnerKind::Deployment, "web", 9),
        &["10.1.0.1"],
    ));
    cluster.remove(Watched::Pod, "web-x");
    assert_eq!(cluster.owners(), ["shop/web"]);
    cluster.remove(Watched::Deployment, "web");
    assert!(cluster.owners().is_empty());
}

#[test]
fn services_lead_to_who_answers() {
    let mut cluster = Cluster::new();
    cluster.upsert(Object::Service(service(
        "db",
        5,
        &[("app", "db")],
        &["10.96.0.5"],
    )));
    assert_eq!(
        cluster.owners(),
        ["shop/db: 10.96.0.5"],
        "nobody answers yet"
    );
    let set = || owner(OwnerKind::StatefulSet, "db", 10);
    let mut first = pod("db-0", 11, set(), &["10.1.0.1"]);
    first.labels = labels(&[("app", "db")]);
    cluster.pod(first);
    assert_eq!(
        cluster.owners(),
        ["shop/db: 10.1.0.1", "shop/db: 10.96.0.5"]
    );
    // Without a selector: who has the endpoints' addresses, whenever they come to have them.
    cluster.upsert(Object::Service(service("legacy", 6, &[], &["10.96.0.6"])));
    cluster.upsert(Object::Slice(slice(
        "legacy-1",
        7,
        "legacy",
        &["10.1.0.9", "198.51.100.1"],
    )));
    assert_eq!(cluster.owners().len(), 3);
    cluster.pod(pod("old", 12, None, &["10.1.0.9"]));
    let expected = [
        "shop/db: 10.1.0.1",
        "shop/old: 10.1.0.9",
        "shop/db: 10.96.0.5",
        "shop/legacy: 10.96.0.6",
    ];
    assert_eq!(cluster.owners(), expected);
    // The address goes to another: so does the service.
    cluster.pod(pod("young", 13, None, &["10.1.0.9"]));
    let answers = |cluster: &mut Cluster, name: &str| {
        cluster.tell();
        let mut found = cluster.told.values().filter_map(|document| match document {
            Document::Service(it) if it.metadata.name == name => {
                let names = it.spec.workloads.iter().map(ToString::to_string);
                Some(names.collect::<Vec<_>>().join(" "))
            }
            _ => None,
        });
        found.next()
    };
    // Several answer: the one with the most endpoints first.
    let both = ["10.1.0.1", "10.1.0.9", "198.51.100.1"];
    cluster.upsert(Object::Slice(slice("db-1", 8, "db", &both)));
    let canary = answers(&mut cluster, "db");
    assert_eq!(canary.as_deref(), Some("shop/db shop/young"));
    assert_eq!(
        answers(&mut cluster, "legacy").as_deref(),
        Some("shop/young")
    );
    // The pod stays where it is and is adopted: the service leads to its new owner.
    let adopted = owner(OwnerKind::StatefulSet, "adult", 14);
    cluster.pod(pod("young", 13, adopted, &["10.1.0.9"]));
    assert_eq!(
        answers(&mut cluster, "legacy").as_deref(),
        Some("shop/adult")
    );
    cluster.remove(Watched::EndpointSlice, "legacy-1");
    assert_eq!(answers(&mut cluster, "legacy").as_deref(), Some(""));
    cluster.remove(Watched::EndpointSlice, "db-1");
    cluster.remove(Watched::Service, "legacy");
    cluster.remove(Watched::Service, "db");
    assert_eq!(cluster.owners().len(), 3);
    assert_eq!(cluster.world.counts().services, 0);
}

/// What service shop/grab claims of others, as nodes are told.
fn disputed(cluster: &Cluster) -> Vec<String> {
    let mut grab = cluster.told.values().filter_map(|document| match document {
        Document::Service(service) if service.metadata.name == "grab" => Some(service),
        _ => None,
    });
    let addresses = &grab.next().expect("it is there").spec.disputed_addresses;
    addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn a_workload_says_by_which_account_it_runs_and_whether_that_is_there() {
    let account = |name: &str| {
        Object::Account(Meta {
            name: ObjectName {
                namespace: "shop".to_owned(),
                name: name.to_owned(),
            },
            uid: 1,
            created_us: 0,
        })
    };
    let mut cluster = Cluster::new();
    let mut liar = pod("liar", 1, None, &["10.1.0.1"]);
    liar.service_account = Some("web".to_owned());
    liar.labels = labels(&[("weir.dev/service-account", "admin")]);
    cluster.pod(liar);
    cluster.tell();
    let gone = |cluster: &mut Cluster| {
        let workload = cluster.workload("shop/liar");
        let label = workload.metadata.labels.get("weir.dev/service-account");
        assert_eq!(label.map(String::as_str), Some("web"));
        let notes = &workload.metadata.annotations;
        assert_eq!(
            notes["weir.dev/spiffe-id"],
            "spiffe://cluster.local/ns/shop/sa/web"
        );
        notes.contains_key("weir.dev/service-account-gone")
    };
    // As long as accounts have not been seen, or may not be, each is taken to be there.
    assert!(!gone(&mut cluster));
    cluster.list(Watched::ServiceAccount, vec![account("other")]);
    cluster.tell();
    assert!(gone(&mut cluster));
    cluster.upsert(account("web"));
    cluster.tell();
    assert!(!gone(&mut cluster));
    cluster.remove(Watched::ServiceAccount, "web");
    assert_eq!(cluster.tell(), 1);
    assert!(gone(&mut cluster));
}

#[test]
fn services_do_not_get_what_is_others() {
    let claims = |cluster: &mut Cluster| -> Vec<String> {
        let claims = cluster.world.claims().expect("they changed");
        assert_eq!(cluster.world.claims(), None);
        claims.iter().map(Claim::to_string).collect()
    };
    for action in [ClaimAction::Refuse, ClaimAction::Alert] {
        let mut cluster = Cluster::with(ExternalAddresses {
            allowed: vec!["203.0.113.0/24".parse().unwrap()],
            action,
        });
        cluster.pod(pod("db", 1, None, &["10.1.0.1"]));
        let mut hostile = service("grab", 9, &[("app", "web")], &["10.96.0.9"]);
        hostile.external_addresses =
            addresses(&["8.8.8.8", "10.1.0.1", "203.0.113.1", "203.0.113.2"]);
        cluster.upsert(Object::Service(hostile));
        let taken = match action {
            ClaimAction::Refuse => "",
            ClaimAction::Alert => "8.8.8.8 ",
        };
        let owners = cluster.owners();
        let expected = format!("shop/grab: 10.96.0.9 {taken}203.0.113.1 203.0.113.2");
        assert_eq!(owners, ["shop/db: 10.1.0.1".to_owned(), expected]);
        assert_eq!(claims(&mut cluster).len(), 2);
        // Nodes are told of both, whatever becomes of the claim.
        assert_eq!(disputed(&cluster), ["8.8.8.8", "10.1.0.1"]);
        // An older service of the same address has it, whichever came first.
        let mut own = service("own", 2, &[("app", "web")], &[]);
        own.balancer_addresses = addresses(&["203.0.113.1"]);
        cluster.upsert(Object::Service(own));
        assert!(
            cluster
                .owners()
                .contains(&"shop/own: 203.0.113.1".to_owned())
        );
        let told = claims(&mut cluster);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(
            told.iter()
                .any(|it| it.contains("an address of service shop/own"))
        );
        cluster.remove(Watched::Service, "grab");
        cluster.tell();
        assert!(claims(&mut cluster).is_empty());
    }
}
