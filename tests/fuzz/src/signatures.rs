//! Random rules over random bytes, cut at random: the matches are those of a plain reading of all the
//! bytes at once, and nothing panics.

use std::sync::Arc;

use bolero::check;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use weir_sigs::rule::{self, RuleReader};
use weir_sigs::{Facts, Hits, Limits, Options, RuleSet, Scanner};
use weir_wire::Direction::ToServer;

use crate::oracle::{Item, bytes, holds, items, options};
use crate::{ITERATIONS, TEST_TIME};

/// Rules, a text, and where it is cut.
type Case = (Vec<Vec<Item>>, Vec<u8>, Vec<usize>);

/// The case that these bytes stand for.
fn case(seed: &[u8]) -> Option<Case> {
    let mut key = [0; 32];
    for (index, byte) in seed.iter().enumerate() {
        key[index % 32] ^= byte;
    }
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &key);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let chains = prop::collection::vec(items(), 1..6);
    let cuts = prop::collection::vec(any::<usize>(), 0..8);
    let tree = (chains, bytes(1..60), cuts).new_tree(&mut runner).ok()?;
    Some(tree.current())
}

fn limits() -> Limits {
    Limits {
        flows: 1,
        streamed: 1,
        messages: 2,
        remembered: 8,
        counted: 64,
        told_per_second: u32::MAX,
        secret: [1, 2],
    }
}

/// The numbers of the rules that fire on the text, cut so.
fn fired(set: RuleSet, text: &[u8], cuts: &[usize]) -> Vec<u32> {
    let mut scanner = Scanner::new(Arc::new(set), &limits()).unwrap();
    let facts = Facts {
        client: [10, 0, 0, 1].into(),
        server: [192, 0, 2, 1].into(),
        client_port: 40_000,
        server_port: 80,
        protocol: 6,
        application: None,
        established: true,
        session: None,
    };
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    let (mut hits, mut found) = (Hits::new(), Vec::new());
    let flow = scanner.open().unwrap();
    for pair in cuts.windows(2) {
        scanner.stream(
            flow,
            &facts,
            ToServer,
            &text[pair[0]..pair[1]],
            1,
            &mut hits,
        );
        found.extend(hits.iter().map(|hit| hit.rule));
        hits.clear();
    }
    scanner.close(flow, &facts, 1, &mut hits);
    found.extend(hits.iter().map(|hit| hit.rule));
    let mut sids: Vec<u32> = found
        .into_iter()
        .map(|rule| scanner.rules().rule(rule).unwrap().sid)
        .collect();
    sids.sort_unstable();
    sids.dedup();
    sids
}

#[test]
fn signatures() {
    check!()
        .with_iterations(ITERATIONS)
        .with_test_time(TEST_TIME)
        .for_each(|seed: &[u8]| {
            let Some((chains, text, cuts)) = case(seed) else {
                return;
            };
            let mut reader = RuleReader::new(rule::Options::default());
            for (index, chain) in chains.iter().enumerate() {
                let sid = index + 1;
                let rule = format!(
                    "alert tcp-stream any any -> any any ({} sid:{sid};)\n",
                    options(chain)
                );
                reader.read("fuzz", rule.as_bytes());
            }
            let (rules, _) = reader.finish();
            let (set, _) = RuleSet::compile(rules, &Options::default()).unwrap();
            let loaded = (0..set.len() as u32).map(|index| set.rule(index).unwrap().sid);
            let mut wanted: Vec<u32> = loaded
                .filter(|sid| holds(&chains[*sid as usize - 1], &text))
                .collect();
            wanted.sort_unstable();
            assert_eq!(fired(set, &text, &cuts), wanted, "{chains:?} of {text:?}");
        });
}
