//! Parse: hands bytes to the session's parser and does what its steps say.

use weir_wire::Direction;

use super::{AppEventSink, Limits, Outcome, Phase, Session, TURNED};
use crate::pool::{Kept, Pool};
use crate::registry::{self, Parser};
use crate::{
    Announcement, AppId, Blocks, Buffer, BufferSet, Confidence, Content, Event, EventSink, Speaker,
    Step, Transport,
};

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
    pub(super) blocks: &'a mut Blocks,
    pub(super) limits: &'a Limits,
    pub(super) identified: bool,
    violation: Option<&'static str>,
    sink: &'a mut dyn AppEventSink,
}

/// Gives the parser's events their application, and takes down what it finds that to be.
struct Named<'a> {
    speaker: Speaker,
    direction: Direction,
    reversed: bool,
    sink: &'a mut dyn AppEventSink,
}

impl EventSink for Named<'_> {
    fn event(&mut self, event: &Event<'_>) {
        self.sink.event(self.speaker, event);
    }

    fn wants(&self, buffer: Buffer) -> bool {
        self.sink.wants(buffer)
    }

    fn wanted(&self) -> BufferSet {
        self.sink.wanted(self.speaker.direction)
    }

    fn content(&mut self, content: &Content<'_>) {
        self.sink.content(self.speaker, content);
    }

    fn refine(&mut self, application: &'static str) {
        if let Some(app) = registry::by_name(application)
            && registry::refines(app, self.speaker.parser)
            && registry::refines(self.speaker.app, self.speaker.parser)
        {
            self.speaker.app = app;
            self.speaker.refinable = false;
        }
    }

    fn settle(&mut self) {
        self.speaker.refinable = false;
    }

    /// Only who has the port may announce it: nobody opens another's.
    fn announce(&mut self, announcement: &Announcement) {
        if announcement.side == self.direction {
            return;
        }
        let side = match self.reversed {
            true => announcement.side.reverse(),
            false => announcement.side,
        };
        self.sink.announce(&Announcement {
            side,
            ..*announcement
        });
    }
}

impl<'a> Turn<'a> {
    pub(super) fn new(
        session: &'a mut Session,
        pool: &'a mut Pool,
        blocks: &'a mut Blocks,
        limits: &'a Limits,
        sink: &'a mut dyn AppEventSink,
    ) -> Self {
        let reader = Reader {
            session,
            blocks,
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
            blocks,
            identified,
            violation,
            ..
        } = self.reader;
        if session.phase == Phase::Over || session.sides.iter().all(|side| side.done) {
            session.end(self.pool, blocks);
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

    /// Parses new bytes behind those that were kept. Where the application changes, the other
    /// direction's kept bytes, which only the new parser understands, go before the rest: the same
    /// order however the stream is cut.
    pub(super) fn feed(&mut self, direction: Direction, bytes: &[u8]) {
        let mut rest = bytes;
        loop {
            let changes = self.reader.session.changes;
            rest = self.feed_one(direction, rest);
            if self.reader.session.phase == Phase::Probing {
                // What both directions still hold belongs to the connection within.
                return self.identify(direction, rest);
            }
            if self.reader.session.changes == changes {
                return;
            }
            self.feed_kept(direction.reverse());
            let kept = &self.reader.session.side(direction).kept;
            if rest.is_empty() && kept.is_empty() {
                return;
            }
        }
    }

    /// Returns what was not looked at, which only a change of the application leaves.
    fn feed_one<'b>(&mut self, direction: Direction, bytes: &'b [u8]) -> &'b [u8] {
        let changes = self.reader.session.changes;
        let mut kept = std::mem::take(&mut self.reader.session.side(direction).kept);
        let mut bytes = match kept.is_empty() {
            true => bytes,
            false => self.feed_joined(direction, &mut kept, bytes),
        };
        let changed = self.reader.session.changes != changes;
        if !changed && kept.is_empty() && !bytes.is_empty() {
            let used = self.reader.run(direction, bytes);
            bytes = bytes.get(used..).unwrap_or_default();
            if self.reader.session.changes == changes {
                let wanted = self.reader.reading(direction);
                if wanted && self.pool.append(&mut kept, bytes) < bytes.len() {
                    self.reader.violate(NO_MEMORY);
                }
                bytes = &[];
            }
        }
        if self.reader.reading(direction) || self.reader.session.phase == Phase::Probing {
            self.reader.session.side(direction).kept = kept;
            return bytes;
        }
        self.pool.release(&mut kept);
        &[]
    }

    /// Parses kept bytes and what follows them; returns what was not looked at: then `kept` is
    /// empty, or the application has changed.
    fn feed_joined<'b>(
        &mut self,
        direction: Direction,
        kept: &mut Kept,
        mut bytes: &'b [u8],
    ) -> &'b [u8] {
        let changes = self.reader.session.changes;
        loop {
            let before = kept.len();
            let joined = self.pool.append(kept, bytes);
            let used = self.reader.run(direction, self.pool.bytes(kept));
            if self.reader.session.changes != changes {
                self.pool.drop_front(kept, used);
                return bytes.get(joined..).unwrap_or_default();
            }
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
            let changes = self.session.changes;
            used += self.apply(direction, step, window.len());
            if self.session.changes != changes {
                return used;
            }
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
        let session = &mut *self.session;
        let before = Speaker {
            parser: session.reader,
            app: session.app.unwrap_or(AppId::UNKNOWN),
            refinable: session.refinable,
            direction: match session.reversed {
                true => direction.reverse(),
                false => direction,
            },
        };
        let mut sink = Named {
            speaker: before,
            direction,
            reversed: session.reversed,
            sink: self.sink,
        };
        let step = method(&mut session.parser, direction, window, &mut sink);
        let after = sink.speaker;
        if after != before {
            session.app = Some(after.app);
            session.refinable = after.refinable;
            self.identified = true;
        }
        step
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
            Step::Becomes(name) => self.become_another(name),
            Step::StartTls => self.start_tls(),
            Step::Tunnel => self.begin_tunnel(),
            Step::Violation(what) => self.violate(what),
            Step::Incomplete => self.violate("a message larger than is kept"),
            Step::Consumed(_) | Step::Skip(_) => self.violate("the parser made no progress"),
        }
        0
    }

    /// Whether what is spoken may change once more.
    fn may_change(&mut self) -> bool {
        self.session.changes += 1;
        if self.session.changes > CHANGES_MAX {
            self.violate("the application changes too often");
        }
        self.session.changes <= CHANGES_MAX
    }

    fn become_another(&mut self, name: &'static str) {
        if !self.may_change() {
            return;
        }
        let app = registry::by_name(name).unwrap_or(AppId::UNKNOWN);
        let session = &mut *self.session;
        session.carried = session.carried.or(session.app);
        session.app = Some(app);
        session.confidence = Confidence::Content;
        session.evidence = TURNED;
        if app == AppId::UNKNOWN {
            session.phase = Phase::Over;
        }
        self.read_as(app);
        self.identified = true;
    }

    /// The name stays; what is read from here on is TLS.
    fn start_tls(&mut self) {
        if self.may_change() {
            let tls = registry::by_name("tls").unwrap_or(AppId::UNKNOWN);
            self.read_as(tls);
            self.session.refinable = false;
        }
    }

    /// What follows is judged by its own bytes, from its beginning.
    fn begin_tunnel(&mut self) {
        if !self.may_change() {
            return;
        }
        let session = &mut *self.session;
        session.parser.close(self.blocks);
        session.carried = session.carried.or(session.app);
        session.app = None;
        session.refinable = false;
        session.confidence = Confidence::None;
        session.evidence = "too few bytes within what carries it";
        session.candidates = registry::carried_by(session.transport).with(AppId::UNKNOWN);
        session.packets = 0;
        session.first = None;
        session.from_start = true;
        // The ports are those of what carries it, and say nothing of what is within.
        session.ports = [0; 2];
        session.phase = Phase::Probing;
        for side in &mut session.sides {
            side.done = false;
        }
    }

    /// Reads with this application's parser from here on.
    pub(super) fn read_as(&mut self, app: AppId) {
        let session = &mut *self.session;
        session.parser.close(self.blocks);
        session.parser = Parser::open(app, session.transport, self.blocks);
        session.reader = app;
        session.refinable = registry::info(app).is_some_and(|row| row.refinable);
        for side in &mut session.sides {
            side.done = false;
        }
    }

    /// The bytes contradict the application: a name that only the port gave falls, any other
    /// stands and the caller is told. Of datagrams only this one is at fault.
    fn violate(&mut self, what: &'static str) {
        if self.session.confidence == Confidence::Port {
            self.session.app = Some(AppId::UNKNOWN);
            self.session.confidence = Confidence::None;
            self.session.evidence = "the port, until the bytes contradicted it";
            self.session.refinable = false;
            self.session.phase = Phase::Over;
            self.identified = true;
            return;
        }
        self.violation = Some(what);
        self.session.violation = Some(what);
        self.session.refinable = false;
        if self.session.transport == Transport::Tcp {
            self.session.phase = Phase::Over;
        }
    }
}
