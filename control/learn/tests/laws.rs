//! Merging by law: whatever the order, and however often, the same parts come to the same whole.

use std::net::IpAddr;

use proptest::prelude::*;
use weir_learn::{
    Confidence, Conversation, ConversationKey, DAY_US, Decision, Learned, Observation, Profile,
    Verdict, evidence, from_status, to_profiles,
};
use weir_model::LearnedStatus;

const NOW_US: u64 = 30_000 * DAY_US;

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

    #[test]
    fn an_object_brings_back_what_was_written_into_it(one in profiles(), two in profiles()) {
        for mut profile in merged(&[&one, &two]) {
            profile.formerly.insert("shop/before".into(), 7);
            profile.conversations.retain(|it| !it.seen.days.is_empty());
            let status = evidence(&profile);
            prop_assert_eq!((status.left_out, status.decisions_left_out), (0, 0));
            let text = serde_json::to_string(&status).unwrap();
            let again: LearnedStatus = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(from_status(&profile.workload, again, NOW_US), profile);
        }
    }

    /// However the writes of several controllers fall between each other, in the end all know what any of
    /// them knew, and so does the object.
    #[test]
    fn controllers_that_write_one_object_come_to_know_the_same(
        known in prop::collection::vec(profiles(), 2..4),
        steps in prop::collection::vec((0usize..3, any::<bool>()), 0..24),
    ) {
        let workload = "shop/client-1";
        let of = |profiles: &Vec<Profile>| {
            let own = profiles.iter().find(|it| it.workload == workload);
            let nothing = || Profile { workload: workload.into(), ..Profile::default() };
            let mut own = own.cloned().unwrap_or_else(nothing);
            own.conversations.retain(|it| !it.seen.days.is_empty());
            own
        };
        let mut own: Vec<Profile> = known.iter().map(of).collect();
        let mut whole = own[0].clone();
        own.iter().for_each(|it| whole.merge(it));
        // The object with its version, and the version that each has read.
        let (mut object, mut version) = (LearnedStatus::default(), 0);
        let mut read = vec![0; own.len()];
        let writers = own.len();
        let read_all = (0..writers).chain(0..writers).map(|index| (index, false));
        let end: Vec<_> = read_all.flat_map(|(index, _)| [(index, false), (index, true)]).collect();
        for (index, writes) in steps.into_iter().map(|(index, writes)| (index % writers, writes)).chain(end) {
            if !writes {
                own[index].merge(&from_status(workload, object.clone(), NOW_US));
                read[index] = version;
            } else if read[index] == version {
                object = evidence(&own[index]);
                version += 1;
                read[index] = version;
            }
        }
        prop_assert_eq!(from_status(workload, object, NOW_US), whole);
    }
}

/// A workload with so many conversations that not all find room.
fn crowded(salt: u64) -> Profile {
    let mut conversations = Vec::new();
    for number in 0..2_000_u16 {
        let mut seen = Conversation::default();
        for day in 0..30 {
            seen.merge(&Observation {
                node: format!("node-{}", day % 3),
                zone: 0,
                time_unix_us: (20_000 + day + u64::from(number) % 7 * salt) * DAY_US,
                client_address: IpAddr::from([10, 0, 0, day as u8]),
                connections: 1 + salt,
                unanswered: 0,
                bytes: 1,
                bytes_sent: 1,
                denied: 0,
                would_deny: 0,
                alerts: Vec::new(),
                resolved: None,
                confidence: Confidence::Content,
                from_start: true,
            });
        }
        let key = ConversationKey {
            client: "shop/web".into(),
            port: number,
            ..key(0)
        };
        conversations.push((key, seen));
    }
    let decided = Decision {
        at_us: 1,
        verdict: Verdict::Accepted,
        key: conversations[1_999].0.clone(),
        reason: String::new(),
        basis: Default::default(),
    };
    let all = conversations.iter().map(|(key, seen)| (key, seen));
    to_profiles(all, [&decided]).remove(0)
}

#[test]
fn an_object_takes_what_says_most_and_counts_the_rest() {
    let (one, two) = (crowded(1), crowded(2));
    let mut whole = one.clone();
    whole.merge(&two);
    let status = evidence(&whole);
    let bytes = serde_json::to_vec(&status).unwrap().len();
    assert!(bytes <= LearnedStatus::BYTES_MAX, "{bytes}");
    assert!(bytes > LearnedStatus::BYTES_MAX / 2, "{bytes}");
    let kept = status.conversations.len();
    println!("{kept} conversations of 30 days in {bytes} bytes");
    assert_eq!(kept as u64 + status.left_out, 2_000);
    assert_eq!(status.decisions.len(), 1);
    // What somebody decided of stays.
    assert!(status.conversations.iter().any(|it| it.port == 1_999));
    // Who reads it back writes the same, and so does who joined in another order.
    let back = from_status("shop/web", status.clone(), NOW_US);
    let again = evidence(&back);
    assert_eq!(again.conversations, status.conversations);
    let mut other = two;
    other.merge(&back);
    other.merge(&one);
    assert_eq!(evidence(&other).conversations, status.conversations);
}

#[test]
fn an_object_is_believed_about_its_own_workload_and_nothing_from_the_future() {
    let mut profile = crowded(1);
    profile.conversations.truncate(3);
    let mut status = evidence(&profile);
    status.conversations[0].client = "shop/other".into();
    status.conversations[1].last_seen_us = 50_000 * DAY_US;
    status.decisions[0].client = "shop/other".into();
    let believed = from_status("shop/web", status, NOW_US);
    let ports: Vec<u16> = believed
        .conversations
        .iter()
        .map(|Learned { key, .. }| key.port)
        .collect();
    assert_eq!((ports, believed.decisions.len()), (vec![2], 0));
}
