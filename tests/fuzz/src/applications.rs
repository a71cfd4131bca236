//! Every application of the registry, by families: its samples, harmed and gone on with anything. Nothing panics,
//! closing gives all memory back, every event is as declared, and how a stream is cut changes nothing.
//!
//! `WEIR_FUZZ_APPLICATION=mysql` keeps to one of them.

use std::sync::OnceLock;

use bolero::{TypeGenerator, check};
use weir_l7::{AppId, Transport};
use weir_samples::Sample;
use weir_wire::Direction;

use crate::{FAMILY_TIME, ITERATIONS};

/// What becomes of a sample.
#[derive(Clone, Debug, TypeGenerator)]
struct Story {
    sample: u16,
    /// Only so many of its pieces.
    pieces: u8,
    #[generator(bolero::generator::produce_with::<Vec<Harm>>().len(0usize..5))]
    harms: Vec<Harm>,
    /// What comes after it.
    #[generator(bolero::generator::produce_with::<Vec<(bool, Vec<u8>)>>().len(0usize..4))]
    more: Vec<(bool, Vec<u8>)>,
    /// Lengths of the pieces in which it comes the second time, over and over.
    cuts: [u8; 4],
}

#[derive(Clone, Debug, TypeGenerator)]
struct Harm {
    piece: u8,
    place: u16,
    way: Way,
}

#[derive(Clone, Debug, TypeGenerator)]
enum Way {
    Set(u8),
    Flip(u8),
    Cut(u8),
    Repeat {
        length: u8,
        times: u8,
    },
    Insert(#[generator(bolero::generator::produce_with::<Vec<u8>>().len(1usize..24))] Vec<u8>),
    /// A number of one, two, four or eight bytes, at the end of its range.
    Extreme {
        bytes: u8,
        high: bool,
    },
    Turn,
}

type Piece = (Direction, Vec<u8>);

/// Applications that are alike, so that each kind has its time: by their numbers in the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Web,
    Encrypted,
    Data,
    Messaging,
    Infrastructure,
    Media,
    Files,
    Industrial,
}

impl Family {
    /// Every number has one, so that no application is left out.
    fn of(app: AppId) -> Self {
        match app.number() {
            1 | 11..=19 => Self::Web,
            2 | 4 | 20..=29 => Self::Encrypted,
            5..=7 | 30..=39 => Self::Data,
            40..=49 => Self::Messaging,
            3 | 8..=10 | 50..=69 => Self::Infrastructure,
            70..=72 => Self::Media,
            73..=89 => Self::Files,
            _ => Self::Industrial,
        }
    }

    /// Its samples, or those of the one application that is wanted: none where that is another's.
    fn samples(self) -> Vec<Sample> {
        let only = std::env::var("WEIR_FUZZ_APPLICATION").ok();
        let mut samples = weir_samples::all();
        assert!(
            only.as_ref()
                .is_none_or(|name| samples.iter().any(|sample| name == sample.app.name())),
            "no samples of {only:?} in dataplane/l7/tests/samples"
        );
        samples.retain(|sample| {
            Self::of(sample.app) == self
                && only.as_ref().is_none_or(|name| name == sample.app.name())
        });
        samples
    }
}

impl Harm {
    fn apply(&self, pieces: &mut [Piece]) {
        let count = pieces.len().max(1);
        let Some((direction, bytes)) = pieces.get_mut(usize::from(self.piece) % count) else {
            return;
        };
        let place = usize::from(self.place) % (bytes.len() + 1);
        let end = |length: u8| (place + usize::from(length)).min(bytes.len());
        match &self.way {
            Way::Set(value) => bytes
                .iter_mut()
                .skip(place)
                .take(1)
                .for_each(|byte| *byte = *value),
            Way::Flip(mask) => bytes
                .iter_mut()
                .skip(place)
                .take(1)
                .for_each(|byte| *byte ^= mask),
            Way::Cut(length) => {
                bytes.drain(place..end(*length));
            }
            Way::Repeat { length, times } => {
                let again = bytes[place..end(*length)].repeat(usize::from(*times));
                bytes.splice(place..place, again);
            }
            Way::Insert(inserted) => {
                bytes.splice(place..place, inserted.iter().copied());
            }
            Way::Extreme { bytes: width, high } => {
                let value = if *high { 0xff } else { 0x00 };
                bytes
                    .iter_mut()
                    .skip(place)
                    .take(1 << (width % 4))
                    .for_each(|byte| *byte = value);
            }
            Way::Turn => *direction = direction.reverse(),
        }
    }
}

impl Story {
    fn pieces(&self, sample: &Sample) -> Vec<Piece> {
        let kept = usize::from(self.pieces) % (sample.pieces.len() + 1);
        let kept = if kept == 0 { sample.pieces.len() } else { kept };
        let mut pieces = sample.pieces[..kept].to_vec();
        for harm in &self.harms {
            harm.apply(&mut pieces);
        }
        pieces.extend(self.more.iter().map(|(to_server, bytes)| {
            (
                if *to_server {
                    Direction::ToServer
                } else {
                    Direction::ToClient
                },
                bytes.clone(),
            )
        }));
        pieces
    }

    /// The pieces, cut further.
    fn cut<'a>(&self, pieces: &'a [Piece]) -> Vec<(Direction, &'a [u8])> {
        let mut lengths = self
            .cuts
            .iter()
            .map(|length| usize::from(*length).max(1))
            .cycle();
        let mut cut = Vec::new();
        for (direction, bytes) in pieces {
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(lengths.next().unwrap_or(1).min(rest.len()));
                cut.push((*direction, piece));
                rest = behind;
            }
        }
        cut
    }
}

fn run(samples: &[Sample], story: &Story) {
    let Some(sample) = samples.get(usize::from(story.sample) % samples.len().max(1)) else {
        return;
    };
    let pieces = story.pieces(sample);
    let whole: Vec<_> = pieces
        .iter()
        .map(|(direction, bytes)| (*direction, bytes.as_slice()))
        .collect();
    let heard = weir_samples::hear(sample, &whole, false);
    if sample.transport != Transport::Tcp {
        return;
    }
    for obey in [false, true] {
        let again = weir_samples::hear(sample, &story.cut(&pieces), obey);
        let context = format!("{}, obey: {obey}", sample.path.display());
        weir_samples::assert_consistent(&heard, &again, &context);
    }
}

/// A target for each family, with its samples.
macro_rules! targets {
    ($($target:ident => $family:ident),* $(,)?) => {$(
        #[test]
        fn $target() {
            static SAMPLES: OnceLock<Vec<Sample>> = OnceLock::new();
            let samples = SAMPLES.get_or_init(|| Family::$family.samples());
            if samples.is_empty() {
                return;
            }
            check!()
                .with_type::<Story>()
                .with_test_time(FAMILY_TIME)
                .with_iterations(ITERATIONS)
                .for_each(|story| run(samples, story));
        }
    )*};
}

targets! {
    web => Web,
    encrypted => Encrypted,
    data => Data,
    messaging => Messaging,
    infrastructure => Infrastructure,
    media => Media,
    files => Files,
    industrial => Industrial,
}
