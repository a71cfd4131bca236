//! A policy as it travels: deltas lead exactly to what the sender has, whatever does not fit changes
//! nothing, fields of later versions survive, and large messages come in parts.

mod common;

use bytes::Bytes;
use common::snapshot;
use proptest::prelude::*;
use prost::Message;
use sha2::{Digest, Sha256};
use weir_api::v1::wire::{self, controller_message};
use weir_api::{
    ApplyError, Assembled, Assembly, Contents, Item, ItemKey, PART_BYTES_MAX, Parts, checksum, cut,
    to_message, v1,
};
use weir_policy::spec::SnapshotSpec;

fn contents(spec: &SnapshotSpec) -> Contents {
    Contents::of_message(&to_message(spec))
}

fn keys(one: &Contents, other: &Contents) -> Vec<ItemKey> {
    let both = one.items().chain(other.items());
    both.map(|(key, _)| key.clone()).collect()
}

/// The checksum as the contract words it, over the encoded message.
fn slow_checksum(message: &v1::Snapshot) -> u64 {
    let mut sum = 0u64;
    let mut add = |tag: u8, item: Vec<u8>| {
        let digest = Sha256::digest([&[tag], item.as_slice()].concat());
        sum = sum.wrapping_add(u64::from_le_bytes(digest[..8].try_into().unwrap()));
    };
    message
        .identities
        .iter()
        .for_each(|it| add(3, it.encode_to_vec()));
    message
        .addresses
        .iter()
        .for_each(|it| add(4, it.encode_to_vec()));
    message
        .names
        .iter()
        .for_each(|it| add(5, it.encode_to_vec()));
    message
        .rules
        .iter()
        .for_each(|it| add(6, it.encode_to_vec()));
    message
        .unknown
        .iter()
        .for_each(|it| add(7, it.encode_to_vec()));
    message
        .link
        .iter()
        .for_each(|it| add(8, it.encode_to_vec()));
    if message.deny_style != 0 {
        add(9, vec![message.deny_style as u8]);
    }
    message
        .sensors
        .iter()
        .for_each(|it| add(10, it.encode_to_vec()));
    message
        .bundle
        .iter()
        .for_each(|it| add(11, it.encode_to_vec()));
    message
        .threat_policies
        .iter()
        .for_each(|it| add(12, it.encode_to_vec()));
    message
        .claims
        .iter()
        .for_each(|it| add(14, it.encode_to_vec()));
    sum
}

fn bundle(payload: &[u8]) -> v1::SignedBundle {
    v1::SignedBundle {
        payload: payload.into(),
        signatures: vec![v1::Signature {
            key_id: "sha256:00".into(),
            signature: vec![1, 2],
        }],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_checksum_is_the_one_of_the_contract(spec in snapshot(), signed in any::<bool>()) {
        let mut message = to_message(&spec);
        message.bundle = signed.then(|| bundle(b"{}"));
        prop_assert_eq!(checksum(&message), slow_checksum(&message));
    }

    #[test]
    fn what_travels_has_the_bytes_of_the_message(spec in snapshot()) {
        let message = to_message(&spec);
        let travelling = contents(&spec).snapshot(message.version);
        prop_assert_eq!(travelling.encode_to_vec(), message.encode_to_vec());
        let read = Contents::of_snapshot(&travelling).unwrap();
        prop_assert_eq!(read.message(message.version).unwrap(), message);
    }

    #[test]
    fn a_delta_leads_exactly_to_what_the_sender_has(old in snapshot(), new in snapshot()) {
        let (mut ours, theirs) = (contents(&old), contents(&new));
        let before = ours.clone();
        let delta = theirs.delta(3, 4, &keys(&ours, &theirs));
        // Over the wire and through the typed message alike.
        let typed = v1::Delta::decode(delta.encode_to_vec().as_slice()).unwrap();
        prop_assert_eq!(typed.encode_to_vec(), delta.encode_to_vec());
        let undo = ours.apply(3, &delta).unwrap();
        prop_assert_eq!(&ours, &theirs);
        ours.undo(undo);
        prop_assert_eq!(ours, before);
    }

    #[test]
    fn a_delta_that_does_not_fit_changes_nothing(old in snapshot(), other in snapshot(), new in snapshot()) {
        let (old, mut other, new) = (contents(&old), contents(&other), contents(&new));
        let delta = new.delta(3, 4, &keys(&old, &new));
        let before = other.clone();
        let wrong_base = matches!(other.apply(2, &delta), Err(ApplyError::Base { .. }));
        prop_assert!(wrong_base);
        match other.apply(3, &delta) {
            Ok(_) => prop_assert_eq!(other, new),
            Err(_) => prop_assert_eq!(other, before),
        }
    }

    #[test]
    fn parts_put_together_are_the_message(spec in snapshot(), filler in 0usize..2) {
        let mut whole = contents(&spec);
        for id in 0..filler * 25 {
            let name = "x".repeat(50_000);
            let (key, item) = Item::identity(&v1::Identity { id: 1000 + id as u32, name, ..Default::default() });
            whole.put(key, Some(item));
        }
        let snapshot = wire::ControllerMessage {
            message: Some(controller_message::Message::Snapshot(whole.snapshot(9))),
        };
        let parts = Parts::of(&whole, 9);
        prop_assert_eq!(parts.total_bytes(), snapshot.encoded_len() as u64);
        let parts: Vec<v1::Part> = parts.collect();
        prop_assert!(parts.iter().all(|part| part.piece.len() <= PART_BYTES_MAX));
        prop_assert_eq!(&assemble(parts), &snapshot);
        let parts = cut(9, snapshot.clone()).into_iter().filter_map(|message| match message.message {
            Some(controller_message::Message::Part(part)) => Some(part),
            _ => None,
        });
        let parts: Vec<v1::Part> = parts.collect();
        if !parts.is_empty() {
            prop_assert_eq!(&assemble(parts), &snapshot);
        }
    }
}

fn assemble(parts: Vec<v1::Part>) -> wire::ControllerMessage {
    let mut assembly = Assembly::default();
    let last = parts.len() - 1;
    for (index, part) in parts.into_iter().enumerate() {
        match assembly.take(part) {
            Assembled::More => assert!(index < last),
            Assembled::Whole(whole) => {
                assert_eq!(index, last);
                return *whole;
            }
            Assembled::Broken(why) => panic!("{why}"),
        }
    }
    panic!("the last part ended nothing");
}

#[test]
fn parts_out_of_place_end_the_message_once_and_the_next_one_begins_anew() {
    let part = |index: u32, last| v1::Part {
        version: 5,
        index,
        last,
        total_bytes: 4,
        piece: Bytes::from_static(&[10, 0]),
    };
    let mut assembly = Assembly::default();
    assert!(matches!(assembly.take(part(0, false)), Assembled::More));
    let Assembled::Broken(why) = assembly.take(part(2, false)) else {
        panic!("a part is missing");
    };
    assert_eq!(why, "part 2 came instead of part 1");
    assert!(
        matches!(assembly.take(part(1, true)), Assembled::More),
        "told once"
    );
    assert!(matches!(assembly.take(part(0, false)), Assembled::More));
    assert!(matches!(assembly.take(part(1, true)), Assembled::Whole(_)));
    let huge = v1::Part {
        total_bytes: u64::MAX,
        ..part(0, false)
    };
    assert!(matches!(assembly.take(huge), Assembled::Broken(_)));
    assert!(matches!(assembly.take(part(0, false)), Assembled::More));
    assert!(matches!(assembly.take(part(1, false)), Assembled::More));
    let Assembled::Broken(why) = assembly.take(part(2, true)) else {
        panic!("more than was promised");
    };
    assert!(why.contains("larger than 4 bytes"), "{why}");
}

#[test]
fn fields_and_values_of_later_versions_survive() {
    let mut later = v1::Identity {
        id: 7,
        name: "shop/db".into(),
        mode: 9,
        ..Default::default()
    }
    .encode_to_vec();
    // Field 31, a string.
    later.extend([0xfa, 0x01, 3, b'n', b'e', b'w']);
    let sent = wire::Snapshot {
        version: 1,
        identities: vec![later.clone().into()],
        deny_style: 77,
        ..Default::default()
    };
    let checksum = slow_sum(&[(3, &later), (9, &[77])]);
    let sent = wire::Snapshot { checksum, ..sent };
    let contents = Contents::of_snapshot(&sent).unwrap();
    let kept = contents.snapshot(1).encode_to_vec();
    assert_eq!(kept, sent.encode_to_vec(), "also on disk and back");
    let understood = contents.message(1).unwrap();
    assert_eq!(
        (understood.identities[0].mode, understood.deny_style),
        (9, 77)
    );
    let refused = weir_api::from_message(&understood).unwrap_err();
    assert!(
        refused.to_string().contains("not known to this version") || refused.field == "unknown"
    );
}

fn slow_sum(items: &[(u8, &[u8])]) -> u64 {
    items.iter().fold(0, |sum: u64, (tag, item)| {
        let digest = Sha256::digest([&[*tag], *item].concat());
        sum.wrapping_add(u64::from_le_bytes(digest[..8].try_into().unwrap()))
    })
}

#[test]
fn a_key_that_comes_twice_and_an_item_that_cannot_be_read_are_refused() {
    let item: Bytes = v1::Rule {
        id: 3,
        ..Default::default()
    }
    .encode_to_vec()
    .into();
    let twice = wire::Snapshot {
        rules: vec![item.clone(), item],
        ..Default::default()
    };
    let error = Contents::of_snapshot(&twice).unwrap_err().to_string();
    assert!(error.contains("rules[1] has the key of another"), "{error}");
    let spoilt = wire::Snapshot {
        rules: vec![Bytes::from_static(&[0xff; 4])],
        ..Default::default()
    };
    let error = Contents::of_snapshot(&spoilt).unwrap_err().to_string();
    assert!(error.contains("rules[0] cannot be read"), "{error}");
}

#[test]
fn a_bundle_comes_stays_and_goes() {
    let mut message = to_message(&SnapshotSpec::default());
    let without = Contents::of_message(&message);
    message.bundle = Some(bundle(b"{}"));
    let with = Contents::of_message(&message);
    let mut ours = without.clone();
    for (next, keys) in [
        (&with, vec![ItemKey::Bundle]),
        (&with, vec![]),
        (&without, vec![ItemKey::Bundle]),
    ] {
        ours.apply(1, &next.delta(1, 2, &keys)).unwrap();
        assert_eq!(&ours, next);
    }
}
