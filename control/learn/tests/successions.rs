//! A workload that goes on under another name is suggested, and only that.

use weir_learn::{
    Ageing, Confidence, Context, Conversation, ConversationKey, DAY_US, Observation, Succession,
    Traits, Workloads, successions,
};

fn seen(days: std::ops::Range<u64>) -> Conversation {
    let mut conversation = Conversation::default();
    for day in days {
        conversation.merge(&Observation {
            node: "node-1".into(),
            zone: 0,
            time_unix_us: (20_000 + day) * DAY_US,
            client_address: [10, 0, 0, 1].into(),
            connections: 4,
            unanswered: 0,
            bytes: 0,
            bytes_sent: 0,
            denied: 0,
            would_deny: 0,
            alerts: Vec::new(),
            resolved: None,
            confidence: Confidence::Content,
            from_start: true,
        });
    }
    conversation
}

/// What a web server does: asks a database and a cache, and is asked by the ingress.
fn web(name: &str, days: std::ops::Range<u64>) -> Vec<(ConversationKey, Conversation)> {
    [
        (name, "shop/db", "mysql", 3306),
        (name, "shop/cache", "redis", 6379),
        ("edge/ingress", name, "http", 8080),
    ]
    .map(|(client, server, application, port)| {
        let key = ConversationKey {
            client: client.into(),
            server: server.into(),
            application: application.into(),
            port,
            protocol: 6,
        };
        (key, seen(days.clone()))
    })
    .to_vec()
}

fn found(all: &[Vec<(ConversationKey, Conversation)>], workloads: &Workloads) -> Vec<Succession> {
    let context = Context {
        now_us: 20_020 * DAY_US,
        workloads,
        ageing: Ageing::default(),
    };
    successions(&all.concat(), &context)
}

fn there(names: &[(&str, &str)]) -> Workloads {
    let traits = |kind: &str| Traits {
        labels: [("app".to_owned(), kind.to_owned())].into(),
        ..Traits::default()
    };
    names
        .iter()
        .map(|(name, kind)| ((*name).to_owned(), traits(kind)))
        .collect()
}

#[test]
fn a_renamed_deployment_is_suggested_by_name_and_behaviour() {
    let all = [web("shop/web", 0..10), web("shop/web-v2", 10..20)];
    let found = found(&all, &there(&[("shop/web-v2", "web")]));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].old.as_str(), found[0].new.as_str()),
        ("shop/web", "shop/web-v2")
    );
    assert_eq!(found[0].similarity, 1.0);
    assert_eq!(
        found[0].because,
        [
            "3 of 3 conversations are the same",
            "the names differ as those of releases do",
            "shop/web is no longer there"
        ]
    );
}

#[test]
fn a_name_of_another_kind_is_suggested_where_labels_are_the_same() {
    let all = [web("shop/frontend", 0..10), web("shop/storefront", 10..20)];
    let alike = there(&[("shop/frontend", "web"), ("shop/storefront", "web")]);
    assert_eq!(found(&all, &alike).len(), 1);
    let other = there(&[("shop/frontend", "web"), ("shop/storefront", "blog")]);
    assert!(found(&all, &other).is_empty());
}

#[test]
fn what_lives_beside_it_or_does_something_else_is_no_successor() {
    let names = there(&[("shop/web", "web"), ("shop/web-v2", "web")]);
    let beside = [web("shop/web", 0..20), web("shop/web-v2", 10..20)];
    assert!(found(&beside, &names).is_empty(), "both are there");
    let mut other = web("shop/web-v2", 10..20);
    for (key, _) in &mut other {
        key.port += 1;
    }
    let gone = there(&[("shop/web-v2", "web")]);
    assert!(found(&[web("shop/web", 0..10), other], &gone).is_empty());
}
