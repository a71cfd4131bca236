//! What was decided lately: flows of one kind ask the same again and again.
//!
//! An answer follows from the ends, the protocol, the port, what the application may be, and which of the
//! conditions of the rules that concern all of that hold for the request at hand. A memo keeps, by the first
//! five, the rules whose conditions are still to be asked and the answers to the last requests; only the
//! conditions are asked anew. Nothing that is decided depends on it: a property holds it to
//! [`Snapshot::decide`].
//!
//! Memory: allocated by [`Memo::new`], [`PLACES`] places; a question takes the place of another one that
//! falls on the same. Whoever chooses questions can make it as slow as deciding without it, not slower.

use arrayvec::ArrayVec;

use crate::decide::{Watch, compare};
use crate::spec::End;
use crate::weigh::Outcome;
use crate::{Application, Decision, Question, Snapshot};

/// Questions that are kept.
const PLACES: usize = 1024;
/// Rules with conditions of one question; where there are more it is decided from scratch.
const CONDITIONAL_MAX: usize = 8;

/// The answers of one worker to what it asked lately, of one snapshot.
pub struct Memo(Box<[Option<Place>]>);

/// A question and its answers.
struct Place {
    asked: Asked,
    /// The answer while there is no request.
    plain: Decision,
    /// Rules whose conditions speak of the request, in the order in which they were asked.
    conditional: ArrayVec<u32, CONDITIONAL_MAX>,
    /// Which of them were met by the last request, and what followed.
    last: Option<(u8, Decision)>,
}

/// A question without its request.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Asked {
    client: u32,
    server: u32,
    server_port: u16,
    protocol: u8,
    application: Application,
}

impl Asked {
    #[inline]
    fn of(question: &Question<'_>) -> Self {
        Self {
            client: question.client,
            server: question.server,
            server_port: question.server_port,
            protocol: question.protocol,
            application: question.application,
        }
    }

    #[inline]
    fn place(&self) -> usize {
        let application = match self.application {
            Application::Known(app) => u64::from(app.number()),
            Application::OneOf(set) => set.digest() ^ 1 << 62,
            Application::Candidates(set) => set.digest() ^ 1 << 63,
        };
        let ends = u64::from(self.client) << 32 | u64::from(self.server);
        let service = u64::from(self.server_port) << 8 | u64::from(self.protocol);
        let product =
            u128::from(ends ^ 0x9e37_79b9_7f4a_7c15) * u128::from(application ^ service << 24 | 1);
        let product = product as u64 ^ (product >> 64) as u64;
        (product.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % PLACES
    }
}

/// Takes down the rules whose conditions speak of a request.
#[derive(Default)]
struct Conditional {
    rules: ArrayVec<u32, CONDITIONAL_MAX>,
    too_many: bool,
}

impl Watch for Conditional {
    fn considered(&mut self, rule: u32, _: End, outcome: Outcome) {
        if matches!(outcome, Outcome::Waits | Outcome::Condition(_)) {
            self.too_many |= self.rules.try_push(rule).is_err();
        }
    }
}

impl Default for Memo {
    fn default() -> Self {
        Self::new()
    }
}

impl Memo {
    /// Nothing was asked yet.
    pub fn new() -> Self {
        Self((0..PLACES).map(|_| None).collect())
    }

    /// Another snapshot is asked from now on.
    pub fn forget(&mut self) {
        self.0.fill_with(|| None);
    }

    /// What `snapshot` decides, the same one since [`Self::forget`].
    #[inline]
    pub fn decide(&mut self, snapshot: &Snapshot, question: &Question<'_>) -> Decision {
        let asked = Asked::of(question);
        let place = &mut self.0[asked.place()];
        let place = match place {
            Some(known) if known.asked == asked => known,
            other => {
                *other = Place::of(snapshot, question);
                match other {
                    Some(place) => place,
                    None => return snapshot.decide(question),
                }
            }
        };
        if question.request.is_none() || place.conditional.is_empty() {
            return place.plain;
        }
        place.judge(snapshot, question)
    }
}

impl Place {
    /// The place of a question. None: too many of its rules have conditions.
    #[cold]
    fn of(snapshot: &Snapshot, question: &Question<'_>) -> Option<Self> {
        let mut conditional = Conditional::default();
        let plain = Question {
            request: None,
            ..*question
        };
        let plain = snapshot.walk(&plain, &mut conditional);
        (!conditional.too_many).then(|| Self {
            asked: Asked::of(question),
            plain,
            conditional: conditional.rules,
            last: None,
        })
    }

    /// Asks the conditions; what follows from the same ones is known.
    fn judge(&mut self, snapshot: &Snapshot, question: &Question<'_>) -> Decision {
        let possible = question.application.possible();
        let mut met = 0u8;
        for (bit, &rule) in self.conditional.iter().enumerate() {
            let rule = snapshot.rules.get(rule as usize);
            let outcome = rule.map(|rule| compare(rule, question, possible));
            met |= u8::from(outcome == Some(Outcome::Applies)) << bit;
        }
        match self.last {
            Some((known, decision)) if known == met => decision,
            _ => {
                let decision = snapshot.decide(question);
                self.last = Some((met, decision));
                decision
            }
        }
    }
}
