//! Proposals: what speaks for and against, and that evidence only ever raises them.

use std::net::IpAddr;

use proptest::prelude::*;
use weir_learn::{
    Ageing, Confidence, Context, Conversation, ConversationKey, DAY_US, Decision, Evidence,
    Observation, Proposal, Traits, Verdict, Workloads,
};

const TODAY: u64 = 20_007;

fn propose_with(
    conversations: &[(ConversationKey, Conversation)],
    workloads: &Workloads,
) -> Vec<Proposal> {
    let context = Context {
        now_us: TODAY * DAY_US,
        workloads,
        ageing: Ageing::default(),
    };
    weir_learn::propose(conversations, &context)
}

fn propose(conversations: &[(ConversationKey, Conversation)]) -> Vec<Proposal> {
    propose_with(conversations, &Workloads::new())
}

fn against(proposal: &Proposal) -> Vec<&str> {
    proposal.reasons_against().collect()
}

fn has(proposal: &Proposal, evidence: Evidence) -> bool {
    proposal
        .reasons
        .iter()
        .any(|reason| reason.evidence == evidence)
}

fn key(client: &str, server: &str, application: &str, port: u16) -> ConversationKey {
    let (client, server, application) = (client.into(), server.into(), application.into());
    ConversationKey {
        client,
        server,
        application,
        port,
        protocol: 6,
    }
}

fn observation(replica: u8, day: u64) -> Observation {
    Observation {
        node: "node-1".into(),
        zone: 0,
        time_unix_us: (20_000 + day) * 86_400_000_000,
        client_address: IpAddr::from([10, 0, 0, replica]),
        connections: 1,
        unanswered: 0,
        bytes: 1000,
        bytes_sent: 500,
        denied: 0,
        would_deny: 0,
        alerts: Vec::new(),
        resolved: None,
        confidence: Confidence::Content,
        from_start: true,
    }
}

fn seen(observations: impl IntoIterator<Item = Observation>) -> Conversation {
    let mut conversation = Conversation::default();
    observations
        .into_iter()
        .for_each(|one| conversation.merge(&one));
    conversation
}

fn often() -> Conversation {
    seen((0..100u8).map(|number| observation(number % 3, u64::from(number / 20))))
}

fn single(key: ConversationKey, conversation: Conversation) -> Proposal {
    propose(&[(key, conversation)]).remove(0)
}

#[test]
fn what_is_sure_says_why() {
    let proposal = single(
        key("shop/ai-model", "shop/photo-db", "mysql", 3306),
        often(),
    );
    assert!(proposal.confidence > 0.85, "{}", proposal.confidence);
    assert_eq!(
        proposal.reasons_for().collect::<Vec<_>>(),
        [
            "seen 100 times",
            "on 5 days",
            "it comes back daily",
            "by all 3 replicas of the client",
            "mysql by its content",
            "port 3306 is customary for mysql",
            "both ends are in namespace shop",
            "it began with the client"
        ]
    );
    assert!(against(&proposal).is_empty());
}

#[test]
fn what_is_doubtful_says_why() {
    let mut odd = seen([observation(1, 0)]);
    (odd.denied, odd.alerts, odd.from_start, odd.confidence) = (4, 2, false, Confidence::None);
    let all = [
        (key("shop/ai-model", "unknown", "unknown", 4444), odd),
        (
            key("shop/ai-model", "shop/photo-db", "mysql", 3306),
            often(),
        ),
    ];
    let proposals = propose(&all);
    assert_eq!(proposals[0].key.application, "mysql");
    assert!(proposals[1].confidence < 0.05);
    assert_eq!(
        against(&proposals[1]),
        [
            "seen only once",
            "by only 1 of 3 replicas of the client",
            "the application was not recognised",
            "nobody knows the server's address",
            "denied 4 times before",
            "2 alerts were raised on it",
            "never seen from the start of a connection"
        ]
    );
    let misplaced = single(
        key("shop/ai-model", "shop/photo-db", "redis", 3306),
        often(),
    );
    assert_eq!(
        against(&misplaced),
        ["port 3306 is customary for mysql, not for redis"]
    );
    assert!(misplaced.confidence < proposals[0].confidence);
    let outside = single(
        key("[203.0.113.0/24]", "shop/frontend", "http", 80),
        often(),
    );
    assert_eq!(
        against(&outside),
        ["the client [203.0.113.0/24] is outside"]
    );
}

#[test]
fn what_cannot_be_written_is_not_proposed() {
    let all = [
        (key("shop/a", "shop/b", "http", 80), often()),
        (key("shop/a", "shop/b", "", 81), often()),
        (key("unknown", "[10.0.0.0/8]", "http", 80), often()),
        (key("[api.example.com]", "shop/b", "http", 80), often()),
    ];
    let proposals = propose(&all);
    assert_eq!(
        proposals
            .iter()
            .map(|proposal| &proposal.key)
            .collect::<Vec<_>>(),
        [&all[0].0]
    );
}

fn any_observation() -> impl Strategy<Value = Observation> {
    (0u8..5, 0u64..6, 0u64..3, any::<bool>(), 0u8..3).prop_map(
        |(replica, day, connections, from_start, confidence)| {
            let confidence =
                [Confidence::None, Confidence::Port, Confidence::Content][usize::from(confidence)];
            Observation {
                connections,
                from_start,
                confidence,
                ..observation(replica, day)
            }
        },
    )
}

fn any_key() -> impl Strategy<Value = ConversationKey> {
    let ends = || prop::sample::select(vec!["shop/a", "shop/b", "unknown", "[10.0.0.0/8]"]);
    let application = prop::sample::select(vec!["http", "mysql", "unknown"]);
    (
        ends(),
        ends(),
        application,
        prop::sample::select(vec![80u16, 3306, 4000]),
    )
        .prop_map(|(client, server, application, port)| key(client, server, application, port))
}

/// Of one client, beside a day of its usual work: what else it does from the fourth day on.
fn later(others: Vec<(ConversationKey, Conversation)>) -> Vec<Proposal> {
    let usual = key("shop/web", "shop/api", "http", 8080);
    let mut all = vec![(usual, often())];
    all.extend(others);
    propose(&all)
}

fn of<'a>(proposals: &'a [Proposal], server: &str) -> &'a Proposal {
    let found = proposals
        .iter()
        .find(|proposal| proposal.key.server == server);
    found.unwrap()
}

#[test]
fn a_burst_of_new_peers_and_silence_speak_against_a_scan() {
    let mut all = Vec::new();
    for number in 0..20 {
        let server = format!("shop/db-{number}");
        let (application, connections) = if number == 0 { ("mysql", 1) } else { ("", 0) };
        let probe = Observation {
            connections,
            unanswered: 1 - connections,
            ..observation(0, 4)
        };
        all.push((key("shop/web", &server, application, 3306), seen([probe])));
    }
    let proposals = later(all);
    let probe = of(&proposals, "shop/db-0");
    for evidence in [Evidence::Burst, Evidence::Unanswered, Evidence::Late] {
        assert!(has(probe, evidence), "{evidence:?}: {probe:?}");
    }
    assert!(probe.confidence < 0.1, "{probe:?}");
    assert!(of(&proposals, "shop/api").confidence > 0.8);
}

#[test]
fn what_follows_an_alert_on_the_client_is_suspected() {
    let attack = Observation {
        alerts: vec!["sql-injection".into()],
        ..observation(9, 4)
    };
    let attacked = (key("unknown", "shop/web", "http", 80), seen([attack]));
    let after = Observation {
        time_unix_us: (20_004 * 24 + 5) * DAY_US / 24,
        ..observation(0, 4)
    };
    let back = key("shop/web", "shop/db", "mysql", 3306);
    let alone = later(vec![(back.clone(), seen([after.clone()]))]);
    let proposals = later(vec![attacked, (back, seen([after]))]);
    let suspected = of(&proposals, "shop/db");
    let told = "it began 5 hours after an alert on the client";
    assert!(against(suspected).contains(&told), "{suspected:?}");
    assert!(suspected.confidence < of(&alone, "shop/db").confidence);
    // What was there before is not suspected.
    assert!(!has(of(&proposals, "shop/api"), Evidence::AfterAlert));
    let web = of(&proposals, "shop/web");
    assert!(against(web).contains(&"an alert was raised on it"));
}

#[test]
fn similar_workloads_that_do_the_same_speak_for_it() {
    let wanted = key("team-a/web", "team-a/db", "mysql", 3306);
    let other = key("team-b/web-v2", "team-b/db", "mysql", 3306);
    let all = [(wanted.clone(), often()), (other, often())];
    let proposals = propose(&all);
    assert!(
        has(of(&proposals, "team-a/db"), Evidence::Siblings),
        "by their names"
    );
    let labelled = |kind: &str| Traits {
        labels: [("app".to_owned(), kind.to_owned())].into(),
        ..Traits::default()
    };
    let workloads: Workloads = [
        ("team-a/web".to_owned(), labelled("shop")),
        ("team-b/web-v2".to_owned(), labelled("blog")),
    ]
    .into();
    let proposals = propose_with(&all, &workloads);
    assert!(
        !has(of(&proposals, "team-a/db"), Evidence::Siblings),
        "labels say more"
    );
}

#[test]
fn a_name_that_was_looked_up_speaks_for_a_server_outside() {
    let found = Observation {
        resolved: Some("api.example.com".into()),
        ..observation(0, 0)
    };
    let (one, two) = (
        key("shop/web", "[api.example.com]", "tls", 443),
        key("shop/web", "unknown", "tls", 443),
    );
    let proposals = propose(&[(one, seen([found])), (two, often())]);
    let named = of(&proposals, "[api.example.com]");
    let told = "the client looked it up before, as api.example.com";
    assert!(
        named.reasons_for().any(|reason| reason == told),
        "{named:?}"
    );
    assert!(has(of(&proposals, "unknown"), Evidence::NotResolved));
}

#[test]
fn what_is_not_seen_any_more_fades() {
    let all = [(key("shop/web", "shop/db", "mysql", 3306), often())];
    let at = |day: u64| {
        let context = Context {
            now_us: day * DAY_US,
            workloads: &Workloads::new(),
            ageing: Ageing::default(),
        };
        weir_learn::propose(&all, &context)[0].confidence
    };
    assert!(at(20_004) > 0.9);
    assert!((at(20_004 + 33) / at(20_004) - 0.5).abs() < 0.01);
}

#[test]
fn a_rejection_holds_until_evidence_of_another_kind_comes() {
    let wanted = key("shop/web", "[api.example.com]", "tls", 443);
    let one = single(wanted.clone(), seen([observation(0, 0), observation(0, 0)]));
    let rejected = Decision::on(&one, Verdict::Rejected, "not ours", 1);
    let more = single(wanted.clone(), seen((0..50).map(|_| observation(0, 0))));
    assert!(rejected.news(&more).is_empty(), "more of the same");
    let found = Observation {
        resolved: Some("api.example.com".into()),
        ..observation(0, 0)
    };
    let resolved = single(wanted, seen([found]));
    assert_eq!(rejected.news(&resolved), ["now resolved"]);
}

proptest! {
    #[test]
    fn evidence_never_lowers_and_doubts_never_raise(
        wanted in any_key(),
        before in prop::collection::vec(any_observation(), 0..20),
        others in prop::collection::vec((any_key(), prop::collection::vec(any_observation(), 1..5)), 0..4),
        replica in 0u8..5,
        connections in 0u64..3,
        denied in 0u64..3,
        alerts in 0u64..3,
    ) {
        let others = others.into_iter().filter(|other| other.0 != wanted).map(|(key, list)| (key, seen(list)));
        let mut all: Vec<_> = others.collect();
        all.push((wanted.clone(), seen(before.clone())));
        let confidence = |all: &[(ConversationKey, Conversation)]| {
            let found = propose(all).into_iter().find(|proposal| proposal.key == wanted);
            found.map(|proposal| proposal.confidence)
        };
        let Some(first) = confidence(&all) else { return Ok(()) };
        prop_assert!((0.0..=1.0).contains(&first));
        // More of it at the moment when it was seen last: what a day adds also shows who was missing.
        let last = &mut all.last_mut().unwrap().1;
        if last.days.is_empty() { return Ok(()) }
        let more = Observation { time_unix_us: last.last_seen_us, connections, ..observation(replica, 0) };
        last.merge(&more);
        let second = confidence(&all).unwrap();
        prop_assert!(second >= first, "{} after {}", second, first);
        let last = &mut all.last_mut().unwrap().1;
        last.denied += denied;
        last.alerts += alerts;
        prop_assert!(confidence(&all).unwrap() <= second);
    }

    #[test]
    fn the_surest_come_first(all in prop::collection::vec((any_key(), prop::collection::vec(any_observation(), 0..20)), 0..8)) {
        let all: Vec<_> = all.into_iter().map(|(key, list)| (key, seen(list))).collect();
        let proposals = propose(&all);
        prop_assert!(proposals.is_sorted_by(|a, b| a.confidence >= b.confidence));
    }
}
