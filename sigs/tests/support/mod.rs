//! Rules as text, bytes as a connection, and the numbers of what fired.
#![allow(dead_code)]

use std::sync::Arc;

use weir_l7::{Buffer, Content, Form};
use weir_sigs::compile::Options;
use weir_sigs::rule::{self, RuleReader, Variables};
use weir_sigs::scan::{Hit, Session};
use weir_sigs::{Facts, Hits, Limits, PacketFacts, RuleSet, ScanFlow, Scanner};
use weir_wire::Direction;
use weir_wire::Direction::{ToClient, ToServer};

/// Reads rules; every one must be understood.
pub fn rules(text: &str) -> Vec<rule::Rule> {
    let mut variables = Variables::default();
    for (name, value) in [("HOME_NET", "[10.0.0.0/8]"), ("EXTERNAL_NET", "!$HOME_NET")] {
        variables.set(name, value).unwrap();
    }
    let mut reader = RuleReader::new(rule::Options {
        variables,
        ..rule::Options::default()
    });
    reader.read("test.rules", text.as_bytes());
    let (rules, refused) = reader.finish();
    assert!(refused.is_empty(), "{}", refused[0]);
    rules
}

/// Compiles rules; every one must go.
pub fn compile(text: &str) -> Arc<RuleSet> {
    let (set, refused) = RuleSet::compile(rules(text), &Options::default()).unwrap();
    assert!(refused.is_empty(), "{}", refused[0]);
    Arc::new(set)
}

/// Small limits.
pub fn limits() -> Limits {
    Limits {
        flows: 4,
        streamed: 4,
        messages: 16,
        remembered: 64,
        counted: 256,
        told_per_second: 1_000,
        secret: [1, 2],
    }
}

/// One connection under rules.
pub struct Wire<'a> {
    pub scanner: Scanner,
    pub flow: ScanFlow,
    pub facts: Facts<'a>,
    pub now_us: u64,
    pub hits: Vec<Hit>,
}

/// A connection of TCP from 10.0.0.1:40000 to 192.0.2.1:80.
pub fn facts() -> Facts<'static> {
    Facts {
        client: "10.0.0.1".parse().unwrap(),
        server: "192.0.2.1".parse().unwrap(),
        client_port: 40_000,
        server_port: 80,
        protocol: 6,
        application: weir_l7::registry::by_name("http"),
        established: true,
        session: None,
    }
}

impl<'a> Wire<'a> {
    pub fn new(text: &str) -> Self {
        Self::with(compile(text))
    }

    pub fn with(set: Arc<RuleSet>) -> Self {
        let mut scanner = Scanner::new(set, &limits()).unwrap();
        let flow = scanner.open().unwrap();
        Self {
            scanner,
            flow,
            facts: facts(),
            now_us: 1_000_000,
            hits: Vec::new(),
        }
    }

    pub fn udp(mut self, port: u16) -> Self {
        (self.facts.protocol, self.facts.server_port) = (17, port);
        self
    }

    pub fn session(mut self, session: &'a dyn Session) -> Self {
        self.facts.session = Some(session);
        self
    }

    fn take(&mut self, hits: &Hits) {
        self.hits.extend(hits.iter().copied());
    }

    pub fn stream(&mut self, direction: Direction, bytes: &[u8]) -> &mut Self {
        let mut hits = Hits::new();
        let Self {
            scanner,
            flow,
            facts,
            now_us,
            ..
        } = self;
        scanner.stream(*flow, facts, direction, bytes, *now_us, &mut hits);
        self.take(&hits);
        self
    }

    pub fn packet(&mut self, direction: Direction, transport: &[u8], payload: &[u8]) -> &mut Self {
        let mut network = [0_u8; 20];
        network[0] = 0x45;
        network[8] = 64;
        let packet = PacketFacts {
            direction,
            network: &network,
            transport,
            payload_bytes: payload.len() as u32,
            fragmented: false,
        };
        let mut hits = Hits::new();
        let Self {
            scanner,
            flow,
            facts,
            now_us,
            ..
        } = self;
        scanner.packet(Some(*flow), facts, &packet, payload, *now_us, &mut hits);
        self.take(&hits);
        self
    }

    pub fn datagram(&mut self, payload: &[u8]) -> &mut Self {
        self.packet(ToServer, &[0; 8], payload)
    }

    pub fn message(&mut self, direction: Direction, stream: u32) -> &mut Self {
        let mut hits = Hits::new();
        let Self {
            scanner,
            flow,
            facts,
            now_us,
            ..
        } = self;
        scanner.message(*flow, facts, direction, stream, *now_us, &mut hits);
        self.take(&hits);
        self
    }

    pub fn content(&mut self, direction: Direction, content: &Content<'_>) -> &mut Self {
        let mut hits = Hits::new();
        let Self {
            scanner,
            flow,
            facts,
            now_us,
            ..
        } = self;
        scanner.buffer(*flow, facts, direction, content, *now_us, &mut hits);
        self.take(&hits);
        self
    }

    pub fn buffer(&mut self, direction: Direction, buffer: Buffer, bytes: &[u8]) -> &mut Self {
        self.content(direction, &Content::whole(buffer, 0, bytes))
    }

    /// A buffer in pieces.
    pub fn pieces(&mut self, direction: Direction, buffer: Buffer, pieces: &[&[u8]]) -> &mut Self {
        for (index, bytes) in pieces.iter().enumerate() {
            let content = Content {
                buffer,
                stream: 0,
                begins: (index == 0).then(Form::default),
                bytes,
                ends: index + 1 == pieces.len(),
            };
            self.content(direction, &content);
        }
        self
    }

    /// A request of HTTP with these buffers.
    pub fn request(&mut self, buffers: &[(Buffer, &str)]) -> &mut Self {
        self.message(ToServer, 0);
        for (buffer, text) in buffers {
            self.buffer(ToServer, *buffer, text.as_bytes());
        }
        self
    }

    pub fn close(&mut self) -> &mut Self {
        let mut hits = Hits::new();
        let Self {
            scanner,
            flow,
            facts,
            now_us,
            ..
        } = self;
        scanner.close(*flow, facts, *now_us, &mut hits);
        self.take(&hits);
        self.flow = self.scanner.open().unwrap();
        self
    }

    /// The numbers of the rules that were told since the last time, in order.
    pub fn sids(&mut self) -> Vec<u32> {
        let hits = std::mem::take(&mut self.hits);
        let told = hits.iter().filter(|hit| hit.told);
        told.map(|hit| self.scanner.rules().rule(hit.rule).unwrap().sid)
            .collect()
    }
}

/// What one rule's options say of a stream to the server, whole.
pub fn fires(options: &str, bytes: &[u8]) -> bool {
    fires_in(options, &[bytes])
}

/// What one rule's options say of a stream to the server, cut so.
pub fn fires_in(options: &str, pieces: &[&[u8]]) -> bool {
    let mut wire = Wire::new(&format!("alert tcp any any -> any any ({options} sid:1;)"));
    for piece in pieces {
        wire.stream(ToServer, piece);
    }
    wire.close();
    !wire.sids().is_empty()
}

/// The other direction.
pub const BACK: Direction = ToClient;
