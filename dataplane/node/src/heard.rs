//! What a parser tells, on its way to those who listen: policy's findings, threat detectors, signatures.
//!
//! Trusts: the parsers' words for where a message begins. Distrusts: what is in it. Memory: none of its own.

use weir_l7::{
    Announcement, AppEventSink, Buffer, BufferSet, Content, Event as Message,
    EventKind as MessageKind, Speaker, registry,
};
use weir_sigs::{Facts, Hits, ScanFlow, Scanner};
use weir_threat::{Found, Threats};
use weir_wire::Direction;

use crate::content::{ContentDecoding, Owner};
use crate::inspection::{Findings, Listener};
use crate::session::Known;
use crate::stage::sense::Sensing;

/// Findings, and those who look into what they are made from.
pub struct Heard<'a, 'f> {
    /// The findings.
    pub findings: &'a mut Findings<'f>,
    /// Who listens.
    pub listener: Option<&'a mut Box<dyn Listener>>,
    /// Decodes content for those who look into it.
    pub decoding: &'a mut ContentDecoding,
    /// Those who look.
    pub lookers: Lookers<'a>,
    /// The number of the flow.
    pub flow: u64,
    /// Content was decoded.
    pub decoded: bool,
    /// Why content could not be decoded, and the way it went.
    pub unreadable: Option<(&'static str, Direction)>,
}

/// Those who look into messages and content.
pub struct Lookers<'a> {
    /// Who looks for threats.
    pub watcher: Option<Watcher<'a>>,
    /// Who looks for signatures.
    pub searcher: Option<Searcher<'a>>,
    /// Who looks for sensors.
    pub sensing: Option<Sensing<'a>>,
}

/// The threat detectors at one flow.
pub struct Watcher<'a> {
    /// The detectors.
    pub threats: &'a mut Threats,
    /// What they remember of the flow.
    pub watch: &'a mut weir_threat::Watch,
    /// The flow.
    pub connection: weir_threat::Connection,
    /// What they find.
    pub found: &'a mut Found,
    /// Microseconds.
    pub now_us: u64,
}

/// The signatures at one flow.
pub struct Searcher<'a> {
    /// Looks for them.
    pub scanner: &'a mut Scanner,
    /// The flow as it knows it.
    pub flow: ScanFlow,
    /// The flow as rules ask for it, but for [`Self::known`].
    pub facts: Facts<'a>,
    /// What its application says, and the flow's counts.
    pub known: &'a mut Known,
    /// What is found.
    pub hits: &'a mut Hits,
    /// Microseconds.
    pub now_us: u64,
}

impl Searcher<'_> {
    fn message(&mut self, speaker: Speaker, message: &Message<'_>, news: bool) {
        let facts = Facts {
            session: Some(&*self.known),
            ..self.facts
        };
        let direction = speaker.direction;
        if message.kind != MessageKind::Session {
            self.scanner
                .message(self.flow, &facts, direction, 0, self.now_us, self.hits);
        } else if news {
            // What is told of a session goes with all of its messages.
            self.scanner
                .told(self.flow, &facts, direction, self.now_us, self.hits);
        }
    }

    fn content(&mut self, speaker: Speaker, content: &Content<'_>) {
        // Much is told for threat detectors alone.
        let wanted = self.scanner.wants()[speaker.direction as usize];
        if !wanted.contains(content.buffer) {
            return;
        }
        let facts = Facts {
            session: Some(&*self.known),
            ..self.facts
        };
        self.scanner.buffer(
            self.flow,
            &facts,
            speaker.direction,
            content,
            self.now_us,
            self.hits,
        );
    }
}

impl Heard<'_, '_> {
    /// The fields of a message that are buffers somebody looks into.
    fn look_into_fields(&mut self, speaker: Speaker, message: &Message<'_>) {
        let wanted = self.decoding.fields(speaker.parser);
        let specs = registry::info(speaker.parser).map_or(&[][..], |info| info.fields);
        for field in message.fields {
            let index = usize::from(field.index);
            if wanted >> (index & 127) & 1 != 0
                && let Some(buffer) = specs.get(index).and_then(|spec| spec.buffer)
                && let Some(bytes) = field.value.as_bytes()
                && !bytes.is_empty()
            {
                self.look_into(speaker, &Content::whole(buffer, 0, bytes));
            }
        }
    }

    /// A piece of content, decoded, to all who look.
    fn look_into(&mut self, speaker: Speaker, content: &Content<'_>) {
        if !ContentDecoding::decodes(content.buffer) {
            return self.lookers.content(speaker, content);
        }
        let owner = Owner {
            flow: self.flow,
            direction: speaker.direction,
        };
        let lookers = &mut self.lookers;
        let whole = content.buffer;
        let unreadable = self.decoding.content(owner, content, &mut |decoded| {
            // Rules about files look into bodies themselves.
            let is_told = whole == Buffer::HttpResponseBody && decoded.buffer == Buffer::FileData;
            let searcher = lookers.searcher.take_if(|_| is_told);
            lookers.content(speaker, decoded);
            if is_told {
                lookers.searcher = searcher;
            }
        });
        self.decoded = true;
        if let Some(why) = unreadable {
            self.unreadable.get_or_insert((why, speaker.direction));
        }
    }
}

impl AppEventSink for Heard<'_, '_> {
    fn event(&mut self, speaker: Speaker, message: &Message<'_>) {
        if let Some(listener) = &mut self.listener {
            listener.message(self.flow, speaker.parser, message);
        }
        self.lookers.message(speaker, message);
        self.findings.event(speaker, message);
        if self.decoding.fields(speaker.parser) != 0 {
            self.look_into_fields(speaker, message);
        }
    }

    fn wants(&self, buffer: Buffer) -> bool {
        self.decoding.wants(buffer)
    }

    fn wanted(&self, direction: Direction) -> BufferSet {
        self.decoding.needed(direction)
    }

    fn content(&mut self, speaker: Speaker, content: &Content<'_>) {
        self.look_into(speaker, content);
    }

    fn announce(&mut self, announcement: &Announcement) {
        self.findings.announce(announcement);
    }
}

impl Lookers<'_> {
    fn message(&mut self, speaker: Speaker, message: &Message<'_>) {
        if let Some(watcher) = &mut self.watcher {
            watcher.connection.application = Some(speaker.app);
            watcher.threats.message(
                watcher.watch,
                &watcher.connection,
                speaker,
                message,
                watcher.now_us,
                watcher.found,
            );
        }
        if let Some(searcher) = &mut self.searcher {
            searcher.facts.application = Some(speaker.app);
            let news = searcher.known.told.take(speaker.parser, message);
            searcher.message(speaker, message, news);
        }
        if let Some(sensing) = &mut self.sensing
            && message.kind != MessageKind::Session
        {
            sensing.message(speaker.direction);
        }
    }

    fn content(&mut self, speaker: Speaker, content: &Content<'_>) {
        // A header that was clean when it came by lately is not told again: a tenth of the instructions of HTTP with 1,000
        // signatures.
        let watcher = self.watcher.as_mut().filter(|watcher| {
            content.buffer != Buffer::HttpRequestHeader
                || !watcher.threats.is_clean_header(content.bytes)
        });
        if let Some(watcher) = watcher {
            watcher.threats.content(
                watcher.watch,
                &watcher.connection,
                speaker,
                content,
                watcher.now_us,
                watcher.found,
            );
        }
        if let Some(searcher) = &mut self.searcher {
            searcher.content(speaker, content);
        }
        if let Some(sensing) = &mut self.sensing {
            sensing.content(speaker.direction, content);
        }
    }
}
