//! The detectors at messages that the engine reads, and at events made by hand: each with what it finds
//! and what is close to it and none.

mod dns;
mod http;
mod sessions;

use weir_l7::{
    AppEventSink, AppId, Buffer, Content, Engine, Event, EventKind, Field, Limits, SessionId,
    Speaker, Transport, registry,
};
use weir_wire::{Direction, from_ip_address};

use super::Protocols;
use crate::{Config, Connection, Ending, Evidence, Found, Threat, Watch};

pub(super) use Direction::{ToClient, ToServer};

/// One worker's detectors and engine, with one connection at a time.
pub(super) struct Bench {
    pub(super) protocols: Protocols,
    pub(super) config: Config,
    pub(super) connection: Connection,
    pub(super) now_us: u64,
    pub(super) told: Vec<(Threat, Evidence)>,
    pub(super) watch: Watch,
    engine: Engine,
    session: Option<SessionId>,
}

struct Ears<'a> {
    protocols: &'a mut Protocols,
    config: &'a Config,
    connection: Connection,
    watch: &'a mut Watch,
    found: &'a mut Found,
    now_us: u64,
}

impl AppEventSink for Ears<'_> {
    fn event(&mut self, speaker: Speaker, event: &Event<'_>) {
        let Self {
            config,
            watch,
            connection,
            found,
            now_us,
            ..
        } = self;
        self.protocols
            .message(config, watch, connection, speaker, event, *now_us, found);
    }

    fn wants(&self, buffer: Buffer) -> bool {
        self.protocols.wants().contains(buffer)
    }

    fn content(&mut self, speaker: Speaker, content: &Content<'_>) {
        let Self {
            config,
            watch,
            connection,
            found,
            now_us,
            ..
        } = self;
        self.protocols
            .content(config, watch, connection, speaker, content, *now_us, found);
    }
}

impl Bench {
    pub(super) fn new(server_port: u16) -> Self {
        let address = |text: &str| from_ip_address(text.parse().expect("an address"));
        Self {
            protocols: Protocols::new([1, 2]),
            config: Config::default().telling_everything(),
            connection: Connection {
                number: 0,
                zone: 0,
                client: address("10.0.0.1"),
                server: address("10.0.0.2"),
                client_port: 40_000,
                server_port,
                protocol: Transport::Tcp.protocol(),
                application: None,
                from_start: true,
                first_seen_us: 0,
                packets: [0; 2],
            },
            now_us: 1_000_000,
            told: Vec::new(),
            watch: Watch::default(),
            engine: Engine::new(Limits {
                sessions: 4,
                pending_pool_bytes: 1 << 20,
                blocks: 16,
                ..Limits::default()
            }),
            session: None,
        }
    }

    /// Begins another connection between the same hosts.
    pub(super) fn open(&mut self, transport: Transport) -> &mut Self {
        self.close([0; 2]);
        self.connection.number += 1;
        self.connection.client_port += 1;
        self.connection.protocol = transport.protocol();
        self.connection.application = None;
        self.connection.packets = [0; 2];
        self.watch = Watch::default();
        let ports = [self.connection.client_port, self.connection.server_port];
        self.session = self.engine.open(transport, ports, true);
        self
    }

    /// A packet with this payload.
    pub(super) fn packet(&mut self, direction: Direction, payload: &[u8]) -> &mut Self {
        self.connection.packets[direction as usize] += 1;
        let mut found = Found::new();
        let Self {
            protocols,
            config,
            connection,
            watch,
            now_us,
            engine,
            ..
        } = self;
        protocols.packet(
            config, watch, connection, direction, payload, *now_us, &mut found,
        );
        if let (Some(session), false) = (self.session, payload.is_empty()) {
            let mut ears = Ears {
                protocols,
                config,
                connection: *connection,
                watch,
                found: &mut found,
                now_us: *now_us,
            };
            let outcome = engine.data(session, direction, payload, &mut ears);
            connection.application = engine.identification(session).app;
            if let Some(what) = outcome.violation {
                let application = connection.application.unwrap_or(AppId::UNKNOWN);
                protocols.violation(config, connection, application, what, &mut found);
            }
        }
        self.hear(found)
    }

    /// An event of this application, made by hand: fields by their names.
    pub(super) fn event(
        &mut self,
        application: &str,
        kind: EventKind,
        fields: &[(&str, weir_l7::Value<'_>)],
    ) -> &mut Self {
        let app = registry::by_name(application).expect("an application");
        let fields: Vec<Field<'_>> = fields
            .iter()
            .map(|&(name, value)| {
                let field = registry::field(&format!("{application}.{name}"));
                let index = field.expect("a field").index;
                Field { index, value }
            })
            .collect();
        let direction = match kind {
            EventKind::Response => ToClient,
            EventKind::Request | EventKind::Session => ToServer,
        };
        let speaker = Speaker {
            parser: app,
            app,
            refinable: false,
            direction,
        };
        let event = Event {
            kind,
            fields: &fields,
        };
        self.connection.application = Some(app);
        let mut found = Found::new();
        let Self {
            protocols,
            config,
            connection,
            watch,
            now_us,
            ..
        } = self;
        protocols.message(
            config, watch, connection, speaker, &event, *now_us, &mut found,
        );
        self.hear(found)
    }

    /// The connection ends, after so many bytes each way.
    pub(super) fn close(&mut self, bytes: [u64; 2]) -> &mut Self {
        let mut found = Found::new();
        let ending = Ending {
            was_established: true,
            bytes,
        };
        let Self {
            protocols,
            config,
            connection,
            watch,
            now_us,
            ..
        } = self;
        protocols.closed(config, watch, connection, &ending, *now_us, &mut found);
        if let Some(session) = self.session.take() {
            self.engine.close(session);
        }
        self.hear(found)
    }

    pub(super) fn tick(&mut self) -> &mut Self {
        let mut found = Found::new();
        self.protocols.tick(&self.config, self.now_us, &mut found);
        self.hear(found)
    }

    pub(super) fn pass_ms(&mut self, milliseconds: u64) -> &mut Self {
        self.now_us += milliseconds * 1_000;
        self
    }

    fn hear(&mut self, mut found: Found) -> &mut Self {
        let heard = found
            .drain()
            .map(|finding| (finding.threat, finding.evidence));
        self.told.extend(heard);
        self
    }

    /// What was told since the last call.
    pub(super) fn threats(&mut self) -> Vec<Threat> {
        self.told.drain(..).map(|(threat, _)| threat).collect()
    }
}

#[test]
fn every_field_that_is_read_exists() {
    // In a debug build a field that does not exist is no small matter.
    let _ = Bench::new(80);
}

#[test]
fn nothing_is_allocated_at_messages() {
    let mut bench = Bench::new(80);
    bench.open(Transport::Tcp);
    let request =
        b"POST /api/v1/namespaces/a/services HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd";
    let answer = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
    bench.packet(ToServer, request).packet(ToClient, answer);
    let allocations = allocation_counter::measure(|| {
        for _ in 0..20 {
            bench.packet(ToServer, request).packet(ToClient, answer);
        }
    });
    assert_eq!(allocations.count_total, 0);
}
