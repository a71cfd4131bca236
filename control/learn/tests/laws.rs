//! Merging by law: whatever the order, and however often, the same parts come to the same whole.

use std::net::IpAddr;

use proptest::prelude::*;
use weir_learn::{
    Confidence, Conversation, ConversationKey, DAY_US, Decision, Observation, Profile, Verdict,
    to_profiles,
};

fn observation() -> impl Strategy<Value = Observation> {
    let place = (0u8..40, 0u32..2, 0u64..200, 0u64..24);
    let who = (0u8..=255, 0u64..4, 0u64..3);
    let what = (0u64..3, 0u8..12, 0u8..20, any::<bool>());
    (place, who, what).prop_map(|(place, who, what)| {
        let (node, zone, day, hour) = place;
        let (replica, connections, denied) = who;
        let (would_deny, alert, name, from_start) = what;
        Observation {
            node: format!("node-{node}"),
            zone,
            time_unix_us: (20_000 + day) * DAY_US + hour * DAY_US / 24,
            client_address: IpAddr::from([10, 0, 0, replica]),
            connections,
            unanswered: 1,
            bytes: connections * 100,
            bytes_sent: connections * 7,
            denied,
            would_deny,
            alerts: (alert < 3)
                .then(|| format!("alert-{alert}"))
                .into_iter()
                .collect(),
            resolved: (name < 12).then(|| format!("{name}.example.com")),
            confidence: Confidence::Content,
            from_start,
        }
    })
}

/// What one controller saw: enough to reach the bounds now and then.
fn conversation() -> impl Strategy<Value = Conversation> {
    prop::collection::vec(observation(), 0..120).prop_map(|all| {
        let mut conversation = Conversation::default();
        all.iter().for_each(|seen| conversation.merge(seen));
        conversation
    })
}

fn joined<'a>(parts: impl IntoIterator<Item = &'a Conversation>) -> Conversation {
    let mut whole = Conversation::default();
    parts.into_iter().for_each(|part| whole.join(part));
    whole
}

fn key(port: u16) -> ConversationKey {
    ConversationKey {
        client: format!("shop/client-{}", port % 3),
        server: "shop/server".into(),
        application: "http".into(),
        port,
        protocol: 6,
    }
}

fn profiles() -> impl Strategy<Value = Vec<Profile>> {
    let learned = prop::collection::btree_map(0u16..5, conversation(), 0..3);
    let said = (any::<bool>(), 0u64..3, "[ab]?");
    let decided = prop::collection::btree_map(0u16..5, said, 0..4);
    (learned, decided).prop_map(|(learned, decided)| {
        let learned: Vec<_> = learned
            .into_iter()
            .map(|(port, seen)| (key(port), seen))
            .collect();
        let decisions: Vec<_> = decided
            .into_iter()
            .map(|(port, (yes, at_us, reason))| Decision {
                at_us,
                verdict: if yes {
                    Verdict::Accepted
                } else {
                    Verdict::Rejected
                },
                key: key(port),
                reason,
                basis: Default::default(),
            })
            .collect();
        to_profiles(learned.iter().map(|(key, seen)| (key, seen)), &decisions)
    })
}

fn merged(parts: &[&[Profile]]) -> Vec<Profile> {
    let mut whole: std::collections::BTreeMap<String, Profile> = Default::default();
    for profile in parts.iter().copied().flatten() {
        let known = whole
            .entry(profile.workload.clone())
            .or_insert_with(|| Profile {
                workload: profile.workload.clone(),
                ..Profile::default()
            });
        known.merge(profile);
    }
    whole.into_values().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn conversations_join_in_any_order_and_repeated(
        one in conversation(), two in conversation(), three in conversation()
    ) {
        let whole = joined([&one, &two, &three]);
        prop_assert_eq!(&joined([&three, &one, &two]), &whole);
        prop_assert_eq!(&joined([&two, &three, &two, &one, &three, &one]), &whole);
        let (left, right) = (joined([&one, &two]), joined([&two, &three]));
        prop_assert_eq!(&joined([&right, &left]), &whole);
        prop_assert_eq!(&joined([&whole, &one]), &whole);
        prop_assert!(whole.connections >= one.connections);
        prop_assert!(whole.days.is_empty() || whole.first_seen_us <= whole.last_seen_us);
    }

    /// A controller that took over goes on from what the other one wrote: nothing is lost, nothing counts
    /// twice.
    #[test]
    fn what_goes_on_from_a_state_absorbs_it(before in conversation(), more in prop::collection::vec(observation(), 0..9)) {
        let start = joined([&before]);
        let mut after = start.clone();
        more.iter().for_each(|seen| after.merge(seen));
        let whole = joined([&after, &start]);
        prop_assert_eq!(whole.connections, after.connections);
        prop_assert_eq!(whole.alerts, after.alerts);
        prop_assert_eq!(&whole.days, &after.days);
        prop_assert_eq!(&whole.activity, &after.activity);
    }

    #[test]
    fn profiles_merge_in_any_order_and_survive_writing(one in profiles(), two in profiles(), three in profiles()) {
        let whole = merged(&[&one, &two, &three]);
        prop_assert_eq!(&merged(&[&three, &two, &one, &two]), &whole);
        prop_assert_eq!(&merged(&[&merged(&[&three, &two]), &one]), &whole);
        let text = serde_json::to_string(&whole).unwrap();
        prop_assert_eq!(serde_json::from_str::<Vec<Profile>>(&text).unwrap(), whole);
    }
}
