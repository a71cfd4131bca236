//! HTTP: requests that hang, writes of Kubernetes services, metadata services by name, malware's requests.
//! What is wrong with a message itself is a violation.

use weir_l7::{AppSet, Buffer, Content, Event, EventKind, registry};
use weir_wire::{Direction, protocol};

use super::fields::FieldPlace;
use super::slow::{Part, Slow};
use super::{Memory as Remembered, Scene, Watch, kubernetes, malware, metadata};
use crate::{Brief, Config, Connection, Evidence, Found, Threat};

/// What is remembered of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    state: State,
    /// It is known to the table of those that hang.
    held: bool,
    /// Bytes since that state began.
    sent: u32,
    /// When the table was told last, in 2^18 microseconds.
    noted: u16,
    /// The request at hand writes a service: what was seen of its body.
    claim: Option<kubernetes::Claim>,
    /// The last request was for no program, of an address.
    hides: bool,
}

/// Where the client is in its requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Between them.
    #[default]
    Idle,
    /// Bytes came that are no whole head yet.
    Head { since_us: u64 },
    /// A body has begun.
    Body { since_us: u64 },
}

impl Memory {
    /// Nothing is held by it, and nothing was asked that an answer is waited for: where nothing more is read, it
    /// says nothing. The first bytes of every connection may be a head; of most they are not.
    pub(super) fn is_at_rest(&self) -> bool {
        !self.held && self.claim.is_none() && !self.hides
    }
}

pub(super) struct Http {
    method: FieldPlace,
    host: FieldPlace,
    target: FieldPlace,
    /// Where one request follows the other: not of HTTP/2, whose clients speak while they wait.
    in_turn: AppSet,
    slow: Slow,
    marks: malware::Requests,
}

impl Http {
    pub(super) fn new(secret: [u64; 2]) -> Self {
        let cases = |name| {
            registry::by_name(name)
                .map(registry::special_cases)
                .unwrap_or_default()
        };
        let mut in_turn = cases("http");
        for other in ["http2", "websocket"] {
            cases(other).iter().for_each(|case| in_turn.remove(case));
        }
        Self {
            in_turn,
            method: FieldPlace::of("http.method"),
            host: FieldPlace::of("http.host"),
            target: FieldPlace::of("http.target"),
            slow: Slow::new(secret),
            marks: malware::Requests::new(),
        }
    }

    /// Whether [`Self::packet`] has nothing to do but to note that a request begins, which is done here.
    #[inline]
    pub(super) fn is_routine(
        &self,
        watch: &mut Watch,
        brief: &Brief,
        direction: Direction,
        payload_bytes: usize,
        now_us: u64,
    ) -> bool {
        let in_turn = brief
            .application
            .is_none_or(|case| self.in_turn.contains(case));
        if !in_turn || !brief.from_start {
            return true;
        }
        let is_idle = match &watch.memory {
            Remembered::Http(memory) => memory.state == State::Idle,
            _ => true,
        };
        if is_idle && direction == Direction::ToServer && payload_bytes > 0 {
            let state = State::Head { since_us: now_us };
            match &mut watch.memory {
                Remembered::Http(memory) => memory.state = state,
                other => {
                    *other = Remembered::Http(Memory {
                        state,
                        ..Memory::default()
                    });
                }
            }
        }
        is_idle || brief.application.is_none()
    }

    /// Called before the packet's bytes are read.
    #[expect(clippy::too_many_arguments, reason = "as in Threats")]
    pub(super) fn packet(
        &mut self,
        config: &Config,
        watch: &mut Watch,
        connection: &Connection,
        direction: Direction,
        payload_bytes: usize,
        now_us: u64,
        found: &mut Found,
    ) {
        // The first bytes come before it is known whose they are.
        let undecided = connection.application.is_none();
        let in_turn = undecided
            || connection
                .application
                .is_some_and(|case| self.in_turn.contains(case));
        if !in_turn || connection.protocol != protocol::TCP || !connection.from_start {
            return;
        }
        let mut memory = watch.http();
        let sent = match direction {
            Direction::ToServer => payload_bytes as u64,
            Direction::ToClient => 0,
        };
        let part = match memory.state {
            State::Idle if sent > 0 => {
                memory.state = State::Head { since_us: now_us };
                watch.memory = Remembered::Http(memory);
                return;
            }
            State::Idle => return,
            _ if undecided => return,
            // It did not end with the packet that began it.
            State::Head { since_us } => (Part::Head, since_us),
            State::Body { since_us } => (Part::Body, since_us),
        };
        // A body that is uploaded at full speed costs four look-ups a second.
        let noted = (now_us >> 18) as u16;
        let is_due = !memory.held || memory.noted != noted || part.0 == Part::Head;
        memory.sent = memory
            .sent
            .saturating_add(u32::try_from(sent).unwrap_or(u32::MAX));
        (memory.held, memory.noted) = (true, noted);
        watch.memory = Remembered::Http(memory);
        if is_due {
            let bytes = memory.sent.into();
            self.slow
                .holds(config, connection, part, bytes, now_us, found);
        }
    }

    pub(super) fn message(&mut self, scene: &mut Scene<'_>, message: &Event<'_>) {
        // Who answers has what it waited for.
        self.arrive(scene.watch, scene.connection, State::Idle);
        if message.kind != EventKind::Request {
            return;
        }
        let (method, target) = (self.method.text(message), self.target.text(message));
        let mut memory = scene.watch.http();
        memory.claim = kubernetes::writes_service(method, target).then(Default::default);
        memory.hides = self.marks.hides_program(message);
        scene.watch.memory = Remembered::Http(memory);
        let host = self.host.text(message);
        if metadata::is_host(host) {
            scene.once(Threat::MetadataAccess, || {
                Evidence::sign("name").bytes(host)
            });
        }
        self.marks.message(scene, message);
    }

    pub(super) fn content(&mut self, scene: &mut Scene<'_>, content: &Content<'_>) {
        if content.buffer == Buffer::HttpContentLength {
            let announced = scene.speaker.direction == Direction::ToServer
                && content.stream == 0
                && content.bytes != b"0";
            if announced {
                let since_us = scene.now_us;
                self.arrive(scene.watch, scene.connection, State::Body { since_us });
            }
            return;
        }
        match content.buffer {
            Buffer::HttpRequestBody => {}
            Buffer::HttpResponseBody => {
                let hides = scene.watch.http().hides;
                return malware::body(scene, hides, content);
            }
            _ => return,
        }
        let since_us = match scene.watch.http().state {
            State::Body { since_us } => since_us,
            _ => scene.now_us,
        };
        let state = match content.ends || content.stream != 0 {
            true => State::Idle,
            false => State::Body { since_us },
        };
        self.arrive(scene.watch, scene.connection, state);
        if let Some(mut claim) = scene.watch.http().claim {
            kubernetes::body(scene, &mut claim, content);
            let mut memory = scene.watch.http();
            memory.claim = (!content.ends).then_some(claim);
            scene.watch.memory = Remembered::Http(memory);
        }
    }

    /// See [`super::Protocols::tick`].
    pub(super) fn tick(&mut self, config: &Config, now_us: u64, found: &mut Found) {
        self.slow.tick(config, now_us, found);
    }

    /// See [`super::Protocols::closed`].
    pub(super) fn closed(&mut self, watch: &mut Watch, connection: &Connection) {
        if matches!(watch.memory, Remembered::Http(_)) {
            self.arrive(watch, connection, State::Idle);
        }
    }

    /// The client is here in its requests.
    fn arrive(&mut self, watch: &mut Watch, connection: &Connection, state: State) {
        let mut memory = watch.http();
        let was_held = memory.held;
        if memory.state != state {
            memory.sent = 0;
        }
        memory.state = state;
        memory.held &= state != State::Idle;
        watch.memory = Remembered::Http(memory);
        if was_held && !memory.held {
            self.slow.lets_go(connection);
        }
    }
}

impl Watch {
    fn http(&self) -> Memory {
        match self.memory {
            Remembered::Http(memory) => memory,
            _ => Memory::default(),
        }
    }
}
