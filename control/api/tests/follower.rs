//! The node's side of the push protocol: which message makes which policy, what is answered, and that
//! whatever comes nothing older is put in force. Version 1 is held to bytes that were recorded when it
//! was the only one.

mod common;

use common::snapshot;
use proptest::prelude::*;
use prost::Message;
use weir_api::v1::node_message::Message as FromNode;
use weir_api::v1::wire::{self, controller_message::Message as FromController};
use weir_api::{Contents, Follower, ItemKey, Parts, Step, first, part_message, to_message, v1};

const SNAPSHOT: &[u8] = include_bytes!("first/snapshot.bin");
const DELTA: &[u8] = include_bytes!("first/delta.bin");
const AFTER: &[u8] = include_bytes!("first/after.bin");
const HELLO: &[u8] = include_bytes!("first/hello.bin");
const APPLIED: &[u8] = include_bytes!("first/applied.bin");
const REFUSED: &[u8] = include_bytes!("first/refused.bin");

fn follower() -> Follower {
    Follower::new("node-1", "test", 0, Contents::default())
}

fn message(message: FromController) -> wire::ControllerMessage {
    wire::ControllerMessage {
        message: Some(message),
    }
}

fn welcome() -> wire::ControllerMessage {
    message(FromController::Welcome(v1::Welcome {
        protocol: 2,
        software: "test".into(),
    }))
}

/// Takes a message and puts in force what it asks for; the answer.
fn take(follower: &mut Follower, message: wire::ControllerMessage) -> Option<FromNode> {
    let answer = match follower.take(message) {
        Step::Nothing => return None,
        Step::Answer(answer) | Step::Keep(answer) => answer,
        Step::Enforce => follower.enforced(),
        Step::Failed(failure) => panic!("{failure:?}"),
    };
    answer.message
}

fn applied(version: u64, contents: &Contents) -> Option<FromNode> {
    Some(FromNode::Applied(v1::Applied {
        version,
        checksum: contents.checksum(),
    }))
}

fn is_refused(answer: &Option<FromNode>, version: u64, enforced: u64) -> bool {
    matches!(answer, Some(FromNode::Refused(refused))
        if refused.version == version && refused.enforced_version == enforced)
}

fn example(letter: &str) -> Contents {
    let identity = |id| v1::Identity {
        id,
        name: format!("shop/{letter}-{id}"),
        mode: 1,
        managed: true,
        ..Default::default()
    };
    Contents::of_message(&v1::Snapshot {
        identities: vec![identity(1), identity(2)],
        ..Default::default()
    })
}

fn snapshot_of(contents: &Contents, version: u64) -> wire::ControllerMessage {
    message(FromController::Snapshot(contents.snapshot(version)))
}

fn delta_of(old: &Contents, base: u64, new: &Contents, version: u64) -> wire::ControllerMessage {
    let keys: Vec<ItemKey> = (old.items().chain(new.items()))
        .map(|(key, _)| key.clone())
        .collect();
    message(FromController::Delta(new.delta(base, version, &keys)))
}

#[test]
fn a_controller_of_version_1_is_understood() {
    let mut follower = follower();
    follower.hello();
    let recorded = |bytes| wire::ControllerMessage::decode(bytes).unwrap();
    let answer = take(&mut follower, recorded(SNAPSHOT));
    assert!(matches!(answer, Some(FromNode::Applied(applied)) if applied.version == 41));
    let answer = take(&mut follower, recorded(DELTA));
    assert!(matches!(answer, Some(FromNode::Applied(applied)) if applied.version == 42));
    let after = v1::Snapshot::decode(AFTER).unwrap();
    assert_eq!(follower.contents(), &Contents::of_message(&after));
    assert!(is_refused(&take(&mut follower, recorded(DELTA)), 42, 42));
}

#[test]
fn version_1_has_the_very_bytes_that_it_had() {
    let first = v1::ControllerMessage::decode(SNAPSHOT).unwrap();
    let Some(v1::controller_message::Message::Snapshot(old)) = first.message else {
        panic!("no snapshot");
    };
    // Through what this version keeps, with what only this version has.
    let mut now = Contents::of_message(&old).message(old.version).unwrap();
    now.identities[0].elsewhere = true;
    now.identities[0].service_account = Some("db".into());
    now.identities[0].services = vec!["shop/db".into()];
    now.bundle = Some(v1::SignedBundle::default());
    now.claims = Some(v1::Claims {
        claims: vec![v1::Claim {
            address: vec![8, 8, 8, 8],
            service: "shop/grab".into(),
        }],
    });
    assert_eq!(first::snapshot(now), old);
    let new = v1::Snapshot::decode(AFTER).unwrap();
    let delta = v1::controller_message::Message::Delta(first::delta(&old, &new));
    let delta = v1::ControllerMessage {
        message: Some(delta),
    };
    assert_eq!(delta.encode_to_vec(), DELTA);
}

#[test]
fn a_node_of_version_1_is_understood() {
    let read = |bytes| v1::NodeMessage::decode(bytes).unwrap().message.unwrap();
    assert_eq!(
        read(HELLO),
        FromNode::Hello(v1::Hello {
            node: "node-1".into(),
            protocol_min: 1,
            protocol_max: 1,
            enforced_version: 40,
            software: "0.1.0".into(),
            enforced_checksum: 0,
        })
    );
    assert!(matches!(read(APPLIED), FromNode::Applied(applied) if applied.version == 41));
    assert!(matches!(read(REFUSED), FromNode::Refused(refused)
        if (refused.version, refused.enforced_version) == (42, 41)));
}

#[test]
fn what_is_there_already_is_not_put_in_force_again() {
    let contents = example("a");
    let mut follower = Follower::new("node-1", "test", 5, contents.clone());
    let Some(FromNode::Hello(hello)) = follower.hello().message else {
        panic!("no hello");
    };
    assert_eq!((hello.enforced_version, hello.protocol_max), (5, 2));
    assert_eq!(hello.enforced_checksum, contents.checksum());
    take(&mut follower, welcome());
    let current = v1::Current {
        version: 9,
        checksum: contents.checksum(),
    };
    let step = follower.take(message(FromController::Current(current)));
    assert!(matches!(step, Step::Keep(answer) if answer.message == applied(9, &contents)));
    let step = follower.take(snapshot_of(&contents, 10));
    assert!(matches!(step, Step::Keep(answer) if answer.message == applied(10, &contents)));
    // What was said of something else.
    let other = v1::Current {
        version: 11,
        checksum: 1,
    };
    assert!(is_refused(
        &take(&mut follower, message(FromController::Current(other))),
        11,
        10
    ));
    let older = v1::Current {
        version: 9,
        ..current
    };
    assert!(is_refused(
        &take(&mut follower, message(FromController::Current(older))),
        9,
        10
    ));
}

#[test]
fn what_cannot_be_put_in_force_leaves_everything_as_it_was() {
    let (old, new) = (example("a"), example("b"));
    let mut follower = Follower::new("node-1", "test", 5, old.clone());
    take(&mut follower, welcome());
    for refused in [snapshot_of(&new, 6), delta_of(&old, 5, &new, 6)] {
        assert!(matches!(follower.take(refused), Step::Enforce));
        assert_eq!((follower.version(), follower.contents()), (6, &new));
        let answer = follower.refuse("no memory".into()).message;
        assert!(is_refused(&answer, 6, 5));
        assert_eq!((follower.version(), follower.contents()), (5, &old));
    }
    assert_eq!(
        take(&mut follower, delta_of(&old, 5, &new, 6)),
        applied(6, &new)
    );
}

#[test]
fn nothing_older_and_nothing_that_contradicts_is_put_in_force() {
    let (old, new) = (example("a"), example("b"));
    let mut follower = Follower::new("node-1", "test", 5, old.clone());
    take(&mut follower, welcome());
    for (wrong, version) in [
        (snapshot_of(&new, 4), 4),
        (snapshot_of(&new, 5), 5),
        (snapshot_of(&old, 4), 4),
        (delta_of(&old, 5, &new, 5), 5),
        (delta_of(&old, 4, &new, 6), 6),
    ] {
        assert!(is_refused(&take(&mut follower, wrong), version, 5));
        assert_eq!((follower.version(), follower.contents()), (5, &old));
    }
    let delta = delta_of(&old, 5, &new, 6);
    assert_eq!(take(&mut follower, delta.clone()), applied(6, &new));
    assert_eq!(
        take(&mut follower, delta),
        applied(6, &new),
        "it came twice"
    );
}

#[test]
fn a_large_policy_comes_in_parts_and_counts_as_a_whole() {
    let mut large = example("a");
    for id in 10..60 {
        let (key, item) = weir_api::Item::identity(&v1::Identity {
            id,
            name: "x".repeat(100_000),
            ..Default::default()
        });
        large.put(key, Some(item));
    }
    let parts: Vec<_> = Parts::of(&large, 3).map(part_message).collect();
    assert!(parts.len() > 3);
    let mut follower = follower();
    take(&mut follower, welcome());
    for part in &parts[..parts.len() - 1] {
        assert_eq!(take(&mut follower, part.clone()), None);
        assert_eq!(follower.version(), 0);
    }
    // The stream breaks; the next one begins anew.
    follower.hello();
    take(&mut follower, welcome());
    assert!(is_refused(
        &take(&mut follower, parts[parts.len() - 1].clone()),
        3,
        0
    ));
    let answers: Vec<_> = parts
        .iter()
        .filter_map(|part| take(&mut follower, part.clone()))
        .collect();
    assert_eq!(answers, [applied(3, &large).unwrap()]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever comes in whatever order: what is in force was sent, and its version never goes back.
    #[test]
    fn versions_never_go_back(
        specs in prop::collection::vec(snapshot(), 2..4),
        order in prop::collection::vec((0usize..9, 0usize..4, any::<bool>()), 1..20),
    ) {
        let all: Vec<Contents> = specs.iter().map(|spec| Contents::of_message(&to_message(spec))).collect();
        let mut sent = vec![(0, Contents::default())];
        for (index, contents) in all.iter().enumerate() {
            sent.push((index as u64 + 1, contents.clone()));
        }
        let mut follower = follower();
        take(&mut follower, welcome());
        for (from, to, whole) in order {
            let (base, old) = &sent[from % sent.len()];
            let (version, new) = &sent[to % sent.len()];
            let before = follower.version();
            take(&mut follower, match whole {
                true => snapshot_of(new, *version),
                false => delta_of(old, *base, new, *version),
            });
            prop_assert!(follower.version() >= before);
            prop_assert_eq!(follower.contents(), &sent[follower.version() as usize].1);
        }
    }
}
