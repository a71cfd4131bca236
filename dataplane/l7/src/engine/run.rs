//! Parse: hands bytes to the session's parser and does what its steps say.

use weir_wire::Direction;

use super::{AppEventSink, Limits, Outcome, Phase, Session};
use crate::pool::{Buffer, Pool};
use crate::registry::{self, Parser};
use crate::{AppId, Confidence, Event, EventSink, Step, Transport};

/// A connection that changes its application more often than this is not read further.
const CHANGES_MAX: u8 = 4;

const NO_MEMORY: &str = "no memory to keep a message that came in parts";

/// One call of the engine: the session with its reader, and the memory for what must wait.
pub(super) struct Turn<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) pool: &'a mut Pool,
}

/// The session and its parser, which never touch kept bytes.
pub(super) struct Reader<'a> {
    pub(super) session: &'a mut Session,
    pub(super) limits: &'a Limits,
    pub(super) identified: bool,
    violation: Option<&'static str>,
    sink: &'a mut dyn AppEventSink,
}

/// Gives the parser's events their application.
struct Named<'a> {
    app: AppId,
    sink: &'a mut dyn AppEventSink,
}

impl EventSink for Named<'_> {
    fn event(&mut self, event: &Event<'_>) {
        self.sink.event(self.app, event);
    }
}

impl<'a> Turn<'a> {
    pub(super) fn new(
        session: &'a mut Session,
        pool: &'a mut Pool,
        limits: &'a Limits,
        sink: &'a mut dyn AppEventSink,
    ) -> Self {
        let reader = Reader {
            session,
            limits,
            identified: false,
            violation: None,
            sink,
        };
        Self { reader, pool }
    }

    /// Gives back what an ended session held, and sums up.
    pub(super) fn finish(self, direction: Direction) -> Outcome {
        let Reader {
            session,
            identified,
            violation,
            ..
        } = self.reader;
        if session.phase == Phase::Over || session.sides.iter().all(|side| side.done) {
            session.end(self.pool);
        }
        Outcome {
            interest: session.interest(direction),
            identified,
            violation,
        }
    }

    /// Parses what was kept of a direction, without anything new.
    pub(super) fn feed_kept(&mut self, direction: Direction) {
        if !self.reader.session.side(direction).kept.is_empty() {
            self.feed(direction, &[]);
        }
    }

    /// Parses new bytes behind those that were kept.
    pub(super) fn feed(&mut self, direction: Direction, bytes: &[u8]) {
        let changes = self.reader.session.changes;
        self.feed_one(direction, bytes);
        if self.reader.session.changes != changes {
            // The other direction may wait with bytes that only the new parser understands.
            self.feed_kept(direction.reverse());
        }
    }

    fn feed_one(&mut self, direction: Direction, bytes: &[u8]) {
        let mut kept = std::mem::take(&mut self.reader.session.side(direction).kept);
        let bytes = match kept.is_empty() {
            true => bytes,
            false => self.feed_joined(direction, &mut kept, bytes),
        };
        if kept.is_empty() && !bytes.is_empty() {
            let used = self.reader.run(direction, bytes);
            let rest = bytes.get(used..).unwrap_or_default();
            if self.reader.reading(direction) && self.pool.append(&mut kept, rest) < rest.len() {
                self.reader.violate(NO_MEMORY);
            }
        }
        if self.reader.reading(direction) {
            self.reader.session.side(direction).kept = kept;
        } else {
            self.pool.release(&mut kept);
        }
    }

    /// Parses kept bytes and what follows them; returns what was not looked at, and then `kept`
    /// is empty.
    fn feed_joined<'b>(
        &mut self,
        direction: Direction,
        kept: &mut Buffer,
        mut bytes: &'b [u8],
    ) -> &'b [u8] {
        loop {
            let before = kept.len();
            let joined = self.pool.append(kept, bytes);
            let used = self.reader.run(direction, self.pool.bytes(kept));
            if !self.reader.reading(direction) {
                self.pool.release(kept);
                return &[];
            }
            if used >= before && joined < bytes.len() {
                self.pool.release(kept);
                return bytes.get(used - before..).unwrap_or_default();
            }
            self.pool.drop_front(kept, used);
            bytes = bytes.get(joined..).unwrap_or_default();
            if bytes.is_empty() {
                return bytes;
            }
            if used == 0 {
                self.reader.violate(NO_MEMORY);
                self.pool.release(kept);
                return &[];
            }
        }
    }
}

impl Reader<'_> {
    fn reading(&self, direction: Direction) -> bool {
        self.session.phase == Phase::Parsing && !self.session.sides[direction as usize].done
    }

    /// Parses until nothing more can be; returns how many bytes were used.
    fn run(&mut self, direction: Direction, input: &[u8]) -> usize {
        let stream = self.session.transport == Transport::Tcp;
        let mut used = 0;
        while self.reading(direction) {
            used += self.skip(direction, input.len() - used);
            let rest = &input[used..];
            if rest.is_empty() {
                break;
            }
            // What a parser may see at once is what can be kept: the same however it arrives.
            let end = if stream {
                rest.len().min(self.limits.pending_bytes)
            } else {
                rest.len()
            };
            let window = &rest[..end];
            let step = match self.call(direction, window, Parser::parse) {
                Step::Incomplete if !stream => Step::Violation("a message that ends too early"),
                Step::Incomplete if end < self.limits.pending_bytes => return used,
                Step::Incomplete => self.call(direction, window, Parser::overflow),
                step => step,
            };
            used += self.apply(direction, step, window.len());
            if !stream && self.violation.is_some() {
                return input.len();
            }
        }
        used
    }

    fn call(
        &mut self,
        direction: Direction,
        window: &[u8],
        method: fn(&mut Parser, Direction, &[u8], &mut dyn EventSink) -> Step,
    ) -> Step {
        let app = self.session.app.unwrap_or(AppId::UNKNOWN);
        let mut sink = Named {
            app,
            sink: self.sink,
        };
        method(&mut self.session.parser, direction, window, &mut sink)
    }

    /// Passes over bytes that nobody wants; returns how many of those that are here.
    fn skip(&mut self, direction: Direction, available: usize) -> usize {
        let side = self.session.side(direction);
        let skipped = usize::try_from(side.skip)
            .unwrap_or(usize::MAX)
            .min(available);
        side.skip -= skipped as u64;
        skipped
    }

    /// Does what a step says; returns how many bytes it used.
    fn apply(&mut self, direction: Direction, step: Step, length: usize) -> usize {
        match step {
            Step::Consumed(count) if (1..=length).contains(&count) => return count,
            Step::Skip(count) if count > 0 && self.session.transport != Transport::Tcp => {
                return usize::try_from(count).unwrap_or(usize::MAX).min(length);
            }
            Step::Skip(count) if count > 0 => self.session.side(direction).skip = count,
            Step::Done => self.session.side(direction).done = true,
            Step::Becomes(name) => self.change(name),
            Step::Violation(what) => self.violate(what),
            Step::Incomplete => self.violate("a message larger than is kept"),
            Step::Consumed(_) | Step::Skip(_) => self.violate("the parser made no progress"),
        }
        0
    }

    fn change(&mut self, name: &'static str) {
        let session = &mut *self.session;
        session.changes += 1;
        if session.changes > CHANGES_MAX {
            return self.violate("the application changes too often");
        }
        let app = registry::by_name(name).unwrap_or(AppId::UNKNOWN);
        session.carried = session.carried.or(session.app);
        session.app = Some(app);
        session.confidence = Confidence::Content;
        session.evidence = "what it began as turned into it";
        session.parser = Parser::open(app, session.transport);
        for side in &mut session.sides {
            side.done = false;
        }
        if app == AppId::UNKNOWN {
            session.phase = Phase::Over;
        }
        self.identified = true;
    }

    /// The bytes contradict the application: a name that only the port gave falls, any other
    /// stands and the caller is told. Of datagrams only this one is at fault.
    fn violate(&mut self, what: &'static str) {
        if self.session.confidence == Confidence::Port {
            self.session.app = Some(AppId::UNKNOWN);
            self.session.confidence = Confidence::None;
            self.session.evidence = "the port, until the bytes contradicted it";
            self.session.phase = Phase::Over;
            self.identified = true;
            return;
        }
        self.violation = Some(what);
        self.session.violation = Some(what);
        if self.session.transport == Transport::Tcp {
            self.session.phase = Phase::Over;
        }
    }
}
