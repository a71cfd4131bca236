//! The laws that hold for every application, run over every row of the registry.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use weir_l7::{AppId, AppSet, Confidence, Engine, Probe, ProbeInput, Transport, registry};
use weir_samples::{Heard, Listener, Sample, Whole};
use weir_wire::Direction;

type Pieces<'a> = Vec<(Direction, &'a [u8])>;

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    })
}

fn whole(sample: &Sample) -> Pieces<'_> {
    sample
        .pieces
        .iter()
        .map(|(direction, piece)| (*direction, piece.as_slice()))
        .collect()
}

/// The pieces of a stream, cut at these offsets of the whole conversation.
fn cut<'a>(sample: &'a Sample, offsets: &[usize]) -> Pieces<'a> {
    let mut pieces = Pieces::new();
    let mut start = 0;
    for (direction, piece) in &sample.pieces {
        let mut last = 0;
        for at in 1..piece.len() {
            if offsets.contains(&(start + at)) {
                pieces.push((*direction, &piece[last..at]));
                last = at;
            }
        }
        pieces.push((*direction, &piece[last..]));
        start += piece.len();
    }
    pieces
}

fn length(sample: &Sample) -> usize {
    sample.pieces.iter().map(|(_, piece)| piece.len()).sum()
}

fn streams() -> Vec<Sample> {
    weir_samples::all()
        .into_iter()
        .filter(|sample| sample.transport == Transport::Tcp)
        .collect()
}

#[test]
fn every_sample_gives_its_events() {
    for sample in weir_samples::all() {
        let heard = weir_samples::hear_whole(&sample);
        if std::env::var_os("UPDATE_SAMPLES").is_some() {
            weir_samples::update(&sample, &heard);
            continue;
        }
        let name = sample.path.display();
        assert_eq!(heard.identification.app, Some(sample.ends_as), "{name}");
        assert_eq!(
            heard.identification.confidence,
            Confidence::Content,
            "{name}"
        );
        let began_as = heard.identification.carried.or(heard.identification.app);
        // What only its carrier tells begins as that.
        let begun = began_as.is_some_and(|began_as| registry::refines(sample.app, began_as));
        assert!(begun, "{name} began as {began_as:?}");
        assert_eq!(heard.events, sample.events, "{name}");
        if let Some(contents) = &sample.contents {
            let told: Vec<_> = heard.contents.iter().map(Whole::to_string).collect();
            assert_eq!(&told, contents, "{name}");
        }
        assert_eq!(heard.violation, sample.violation, "{name}");
    }
}

#[test]
fn every_application_has_samples() {
    for row in registry::applications() {
        assert!(
            !weir_samples::of(row.id).is_empty(),
            "{}: no samples",
            row.name
        );
    }
}

fn assert_same(sample: &Sample, pieces: &Pieces<'_>, expected: &Heard) {
    let heard = weir_samples::hear(sample, pieces, false);
    let lengths: Vec<_> = pieces.iter().map(|(_, piece)| piece.len()).collect();
    let name = sample.path.display();
    assert_eq!(
        heard.events, expected.events,
        "{name} in pieces of {lengths:?}"
    );
    assert_eq!(
        heard.contents, expected.contents,
        "{name} in pieces of {lengths:?}"
    );
    assert_eq!(
        heard.violation, expected.violation,
        "{name} in pieces of {lengths:?}"
    );
    assert_eq!(
        heard.identification.app, expected.identification.app,
        "{name} in {lengths:?}"
    );
}

#[test]
fn any_cut_in_two_gives_the_same_events() {
    for sample in streams() {
        let expected = weir_samples::hear_whole(&sample);
        // Of a long one every so many, since most cuts are alike.
        for at in (1..length(&sample)).step_by(1 + length(&sample) / 2_048) {
            assert_same(&sample, &cut(&sample, &[at]), &expected);
        }
    }
}

#[test]
fn byte_by_byte_gives_the_same_events() {
    for sample in streams() {
        let every: Vec<_> = (1..length(&sample)).collect();
        assert_same(
            &sample,
            &cut(&sample, &every),
            &weir_samples::hear_whole(&sample),
        );
    }
}

#[test]
fn any_chunking_gives_the_same_events() {
    for sample in streams() {
        let expected = weir_samples::hear_whole(&sample);
        let offsets = prop::collection::vec(1..length(&sample).max(2), 1..12);
        runner(24)
            .run(&offsets, |offsets| {
                assert_same(&sample, &cut(&sample, &offsets), &expected);
                Ok(())
            })
            .expect("the same events");
    }
}

#[test]
fn what_need_not_be_fed_is_not_needed() {
    for sample in streams() {
        let expected = weir_samples::hear_whole(&sample);
        for size in [1, 7, 1460] {
            let pieces: Pieces<'_> = whole(&sample)
                .into_iter()
                .flat_map(|(direction, piece)| {
                    piece.chunks(size).map(move |chunk| (direction, chunk))
                })
                .collect();
            let heard = weir_samples::hear(&sample, &pieces, true);
            assert_eq!(heard.events, expected.events, "{}", sample.path.display());
        }
    }
}

/// Where every first byte of both sides was seen, nobody else may be certain at any point.
#[test]
fn nobody_is_certain_on_anothers_sample() {
    for sample in weir_samples::all() {
        let mut seen: [Vec<u8>; 2] = Default::default();
        for (direction, piece) in &sample.pieces {
            let side = *direction as usize;
            if sample.transport != Transport::Tcp {
                seen[side].clear();
            }
            let before = seen[side].len();
            seen[side].extend_from_slice(piece);
            let ends: Vec<_> = match sample.transport {
                Transport::Tcp => (before + 1..=seen[side].len()).collect(),
                _ => vec![seen[side].len()],
            };
            for end in ends {
                let mut sides = [seen[0].as_slice(), seen[1].as_slice()];
                sides[side] = &sides[side][..end];
                assert_nobody_else(&sample, sides);
            }
            if seen[side].len() > 2_048 {
                break;
            }
        }
    }
}

fn assert_nobody_else(sample: &Sample, [to_server, to_client]: [&[u8]; 2]) {
    for row in registry::applications() {
        let carried = row.transports.contains(&sample.transport);
        // What carries it, and what it may be a case of, are no others.
        if registry::refines(sample.app, row.id) || !carried {
            continue;
        }
        for from_start in [true, false] {
            let input = ProbeInput {
                to_server,
                to_client,
                previous: &[],
                from_start,
                server_port: sample.port,
                transport: sample.transport,
            };
            assert_ne!(
                registry::probe(row.id, &input),
                Probe::Certain,
                "{} is certain on {} (from start: {from_start}) after {} and {} bytes",
                row.name,
                sample.path.display(),
                to_server.len(),
                to_client.len(),
            );
        }
    }
}

/// What a hostile peer may do to a conversation.
#[derive(Clone, Debug)]
enum Harm {
    Flip(usize, u8),
    Cut(usize, usize),
    Repeat(usize, usize),
    Insert(usize, Vec<u8>),
    Turn(usize),
}

fn harm() -> impl Strategy<Value = Harm> {
    let at = any::<usize>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Harm::Flip(at, byte)),
        (at(), 1..64_usize).prop_map(|(at, length)| Harm::Cut(at, length)),
        (at(), 1..64_usize).prop_map(|(at, length)| Harm::Repeat(at, length)),
        (at(), prop::collection::vec(any::<u8>(), 1..32))
            .prop_map(|(at, bytes)| Harm::Insert(at, bytes)),
        at().prop_map(Harm::Turn),
    ]
}

fn harmed(sample: &Sample, harms: &[Harm]) -> Vec<(Direction, Vec<u8>)> {
    let mut pieces = sample.pieces.clone();
    let count = pieces.len().max(1);
    for harm in harms {
        let (at, harm) = match harm {
            Harm::Flip(at, _)
            | Harm::Cut(at, _)
            | Harm::Repeat(at, _)
            | Harm::Insert(at, _)
            | Harm::Turn(at) => (*at, harm),
        };
        let Some((direction, piece)) = pieces.get_mut(at % count) else {
            continue;
        };
        let place = at / count % piece.len().max(1);
        let end = |length: usize| (place + length).min(piece.len());
        match harm {
            Harm::Flip(_, byte) => piece
                .iter_mut()
                .skip(place)
                .take(1)
                .for_each(|old| *old ^= byte),
            Harm::Cut(_, length) => drop(piece.drain(place..end(*length))),
            Harm::Repeat(_, length) => {
                let again = piece[place..end(*length)].to_vec();
                piece.splice(place..place, again);
            }
            Harm::Insert(_, bytes) => drop(piece.splice(place..place, bytes.iter().copied())),
            Harm::Turn(_) => *direction = direction.reverse(),
        }
    }
    pieces
}

/// More bytes may settle what was unsure, but never take back what was said: else how a stream
/// is cut would decide what it is. Who declined is not asked again, nor who was certain.
#[test]
fn probes_never_take_back() {
    for sample in streams() {
        runner(16)
            .run(&prop::collection::vec(harm(), 0..4), |harms| {
                let mut seen: [Vec<u8>; 2] = Default::default();
                let mut unsure = registry::carried_by(Transport::Tcp);
                for (direction, piece) in harmed(&sample, &harms) {
                    let asked = unsure;
                    for byte in piece.iter().take(2_048) {
                        seen[direction as usize].push(*byte);
                        for app in asked.iter() {
                            ask_again(&sample, app, &seen, &mut unsure);
                        }
                    }
                }
                Ok(())
            })
            .expect("nothing taken back");
    }
}

fn ask_again(sample: &Sample, app: AppId, seen: &[Vec<u8>; 2], unsure: &mut AppSet) {
    let input = ProbeInput {
        to_server: &seen[0],
        to_client: &seen[1],
        previous: &[],
        from_start: true,
        server_port: 1,
        transport: Transport::Tcp,
    };
    let now = registry::probe(app, &input);
    assert!(
        now != Probe::Unsure || unsure.contains(app),
        "{app} is unsure again with to_server=\"{}\" to_client=\"{}\" ({})",
        seen[0].escape_ascii(),
        seen[1].escape_ascii(),
        sample.path.display(),
    );
    if now != Probe::Unsure {
        unsure.remove(app);
    }
}

#[test]
fn no_bytes_harm_a_parser() {
    for sample in weir_samples::all() {
        let harms = (prop::collection::vec(harm(), 1..6), 1..200_usize);
        runner(64)
            .run(&harms, |(harms, size)| {
                let pieces = harmed(&sample, &harms);
                let one: Pieces<'_> = pieces
                    .iter()
                    .map(|(way, piece)| (*way, piece.as_slice()))
                    .collect();
                weir_samples::hear(&sample, &one, false);
                let many: Pieces<'_> = one
                    .iter()
                    .flat_map(|(way, piece)| piece.chunks(size).map(|chunk| (*way, chunk)))
                    .collect();
                if sample.transport == Transport::Tcp {
                    let whole = weir_samples::hear(&sample, &one, false);
                    let cut = weir_samples::hear(&sample, &many, false);
                    let context = format!("{} in pieces of {size}", sample.path.display());
                    weir_samples::assert_consistent(&whole, &cut, &context);
                }
                Ok(())
            })
            .expect("no harm");
    }
}

/// Parsers are also entered directly, as after a change of application: with any bytes at all.
#[test]
fn no_bytes_harm_a_parser_from_its_first() {
    let bytes = prop::collection::vec(
        (any::<bool>(), prop::collection::vec(any::<u8>(), 0..300)),
        1..6,
    );
    for row in registry::applications() {
        let Some(sample) = weir_samples::of(row.id).pop() else {
            continue;
        };
        runner(64)
            .run(&bytes, |pieces| {
                let mut script = whole(&sample);
                script.truncate(2);
                for (to_server, piece) in &pieces {
                    let way = if *to_server {
                        Direction::ToServer
                    } else {
                        Direction::ToClient
                    };
                    script.push((way, piece));
                }
                weir_samples::hear(&sample, &script, false);
                Ok(())
            })
            .expect("no harm");
    }
}

/// With bytes lost, what is told is still true: a part of what is told without the loss.
#[test]
fn a_gap_hides_but_never_lies() {
    for sample in streams() {
        let whole = weir_samples::hear_whole(&sample);
        if whole.violation.is_some() {
            // What follows a violation is not told, whether it is true or not.
            continue;
        }
        let gaps = (1..length(&sample).max(2), 1..400_usize, 1..40_usize);
        runner(96)
            .run(&gaps, |(at, lost, size)| {
                let heard = hear_with_gap(&sample, at, lost, size);
                let mut left = whole.events.clone();
                for event in &heard.events {
                    let Some(found) = left.iter().position(|other| other == event) else {
                        panic!(
                            "{}: a gap of {lost} at {at}: {event}",
                            sample.path.display()
                        );
                    };
                    left.swap_remove(found);
                }
                for content in heard.contents() {
                    assert!(
                        whole.contents.iter().any(|other| is_part(content, other)),
                        "{}: a gap of {lost} at {at}: {content}",
                        sample.path.display()
                    );
                }
                Ok(())
            })
            .expect("no lie");
    }
}

/// The beginning of what is told without the loss; how many events went before may have changed.
fn is_part(content: &Whole, other: &Whole) -> bool {
    let content = Whole {
        event: other.event,
        ..content.clone()
    };
    content.begins(other)
}

fn hear_with_gap(sample: &Sample, at: usize, lost: usize, size: usize) -> Listener {
    let mut engine = Engine::new(weir_samples::limits());
    let id = engine
        .open(sample.transport, [1, sample.probed_port()], true)
        .expect("a session");
    let mut listener = Listener::looking();
    let mut start = 0;
    for (direction, piece) in &sample.pieces {
        let from = at.saturating_sub(start).min(piece.len());
        let until = (at + lost).saturating_sub(start).min(piece.len());
        for chunk in piece[..from].chunks(size) {
            engine.data(id, *direction, chunk, &mut listener);
        }
        if until > from {
            engine.gap(id, *direction, (until - from) as u64);
        }
        for chunk in piece[until..].chunks(size) {
            engine.data(id, *direction, chunk, &mut listener);
        }
        start += piece.len();
    }
    listener
}

#[test]
fn names_and_numbers_are_unique_and_plain() {
    let rows = registry::applications();
    for (index, row) in rows.iter().enumerate() {
        assert!(
            row.name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        );
        assert!(
            rows[..index]
                .iter()
                .all(|other| other.id < row.id && other.name != row.name)
        );
        assert_eq!(registry::by_name(row.name), Some(row.id));
        assert_eq!(AppId::from_number(row.id.number()), Some(row.id));
        for (field, spec) in row.fields.iter().enumerate() {
            let found = registry::field(&format!("{}.{}", row.name, spec.name)).expect("a field");
            assert_eq!((found.app, usize::from(found.index)), (row.id, field));
        }
    }
}
