//! Proposals: what speaks for and against, and that evidence only ever raises them.

use std::net::IpAddr;

use proptest::prelude::*;
use weir_learn::{Confidence, Conversation, ConversationKey, Observation, Proposal, propose};

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
        bytes: 1000,
        denied: 0,
        would_deny: 0,
        alerts: 0,
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
        proposal.reasons_for,
        [
            "seen 100 times",
            "on 5 days",
            "by all 3 replicas of the client",
            "mysql by its content",
            "port 3306 is customary for mysql"
        ]
    );
    assert!(proposal.reasons_against.is_empty());
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
        proposals[1].reasons_against,
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
        misplaced.reasons_against,
        ["port 3306 is customary for mysql, not for redis"]
    );
    assert!(misplaced.confidence < proposals[0].confidence);
    let outside = single(
        key("[203.0.113.0/24]", "shop/frontend", "http", 80),
        often(),
    );
    assert_eq!(
        outside.reasons_against,
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

proptest! {
    #[test]
    fn evidence_never_lowers_and_doubts_never_raise(
        wanted in any_key(),
        before in prop::collection::vec(any_observation(), 0..20),
        others in prop::collection::vec((any_key(), prop::collection::vec(any_observation(), 1..5)), 0..4),
        more in any_observation(),
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
        all.last_mut().unwrap().1.merge(&more);
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
