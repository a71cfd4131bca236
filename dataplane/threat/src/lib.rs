//! Attacks that show in packets, connections and messages, found without patterns.
//!
//! Trusts: that the stages before decoded, tracked and parsed what they hand over. Distrusts: every
//! value in it. Pure: time is an argument. Memory: allocated by [`Threats::new`], bounded; a table
//! that is full forgets by its own stated rule and never grows.
//!
//! Add a threat: one row in [`catalogue`], one file for its family.

pub mod catalogue;
mod config;
mod finding;
pub mod injection;
pub mod network;
pub mod protocols;
mod table;
mod watch;

use std::sync::Arc;

use weir_l7::{AppId, Buffer, BufferSet, Content, Event, Speaker};
use weir_wire::{Direction, Packet, Reason};

pub use catalogue::{Action, Threat};
pub use config::{Config, Settings, UnknownThreat};
pub use finding::{COUNTERS_MAX, EXCERPT_BYTES, Evidence, FINDINGS_MAX, Finding, Found};
use injection::Injection;
pub use watch::{Brief, Connection, Ending, Quiet, Watch};

/// The detectors of one worker.
pub struct Threats {
    config: Arc<Config>,
    network: network::Network,
    protocols: protocols::Protocols,
    injection: Injection,
}

impl Threats {
    /// Allocates every table. `shared` is the same for all workers of a node; `secret` keys the hashes of this
    /// worker's own tables.
    pub fn new(config: Arc<Config>, shared: Arc<network::Shared>, secret: [u64; 2]) -> Self {
        Self {
            network: network::Network::new(shared),
            protocols: protocols::Protocols::new(secret),
            injection: Injection::new(),
            config,
        }
    }

    /// The buffers that the detectors look into, by direction: injections go to servers.
    pub fn wants(&self) -> [BufferSet; 2] {
        let of_messages = self.protocols.wants();
        [
            of_messages.union(injection::WANTED),
            // What a server says of its own body is nobody's: 3 % of the instructions of HTTP.
            of_messages.intersection(protocols::OF_SERVERS),
        ]
    }

    /// What it looks by.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Looks by this configuration from now on.
    pub fn configure(&mut self, config: Arc<Config>) {
        self.config = config;
    }

    /// Shows where it is counted what a packet that would begin a connection does, to be loaded ahead for a whole
    /// burst of them. Together with one line a look-up in place of two and counts without locked instructions: a tenth
    /// of the time of churn.
    #[inline]
    pub fn ahead(&self, zone: u32, packet: &Packet, load: impl Fn(&network::Places)) {
        self.network.ahead(zone, packet, load);
    }

    /// A packet that would begin a connection, before there is memory for one: what drops it here
    /// costs no flow. `frame` is what `packet` describes.
    pub fn arriving(
        &mut self,
        zone: u32,
        packet: &Packet,
        frame: &[u8],
        now_us: u64,
        found: &mut Found,
    ) {
        self.network
            .arriving(&self.config, zone, packet, frame, now_us, found);
    }

    /// Whether a segment of a TCP connection is of no interest to [`Self::packet`], as nearly all are: then it need not
    /// be told, which costs four times as much and was 3 % of the instructions of HTTP. What is to be noted of
    /// one that is routine is noted here.
    #[inline]
    pub fn is_routine(
        &self,
        watch: &mut Watch,
        brief: &Brief,
        direction: Direction,
        packet: &Packet,
        frame: &[u8],
        now_us: u64,
    ) -> bool {
        self.network
            .is_routine(&self.config, &mut watch.network, direction, packet)
            && self.protocols.is_routine(
                &mut watch.protocols,
                brief,
                direction,
                packet.payload(frame),
                now_us,
            )
    }

    /// A packet of a connection: every one that is inspected, and every [`network::SAMPLE`]th of one
    /// that is settled.
    #[expect(
        clippy::too_many_arguments,
        reason = "what is known of a packet; a struct would be made for this call alone"
    )]
    pub fn packet(
        &mut self,
        watch: &mut Watch,
        connection: &Connection,
        direction: Direction,
        packet: &Packet,
        frame: &[u8],
        now_us: u64,
        found: &mut Found,
    ) {
        self.network.packet(
            &self.config,
            &mut watch.network,
            connection,
            direction,
            packet,
            frame,
            now_us,
            found,
        );
        self.protocols.packet(
            &self.config,
            watch,
            connection,
            direction,
            packet.payload(frame),
            now_us,
            found,
        );
    }

    /// A stage objected to a packet. Of one that could not be decoded only the addresses hold, and the flags
    /// of fragmentation.
    pub fn objection(
        &mut self,
        reason: Reason,
        zone: u32,
        packet: &Packet,
        now_us: u64,
        found: &mut Found,
    ) {
        self.network
            .objection(&self.config, reason, zone, packet, now_us, found);
    }

    /// An ICMP error says that the server of a connection cannot be reached, or not on this port.
    pub fn unreachable(
        &mut self,
        watch: &mut Watch,
        connection: &Connection,
        now_us: u64,
        found: &mut Found,
    ) {
        self.network
            .unreachable(&self.config, &mut watch.network, connection, now_us, found);
    }

    /// A message was parsed.
    pub fn message(
        &mut self,
        watch: &mut Watch,
        connection: &Connection,
        speaker: Speaker,
        message: &Event<'_>,
        now_us: u64,
        found: &mut Found,
    ) {
        self.protocols.message(
            &self.config,
            watch,
            connection,
            speaker,
            message,
            now_us,
            found,
        );
    }

    /// A piece of a buffer.
    pub fn content(
        &mut self,
        watch: &mut Watch,
        connection: &Connection,
        speaker: Speaker,
        content: &Content<'_>,
        now_us: u64,
        found: &mut Found,
    ) {
        if protocols::LOOKED_INTO.contains(content.buffer) {
            self.protocols.content(
                &self.config,
                watch,
                connection,
                speaker,
                content,
                now_us,
                found,
            );
        }
        self.look_into(connection, speaker, content, found);
    }

    /// Whether nothing was seen in this header of a request when it came by lately: then it need not be told.
    #[inline]
    pub fn is_clean_header(&self, line: &[u8]) -> bool {
        self.injection.is_clean_header(line)
    }

    /// What a client sends is looked into for attacks; what a server sends is its own.
    fn look_into(
        &mut self,
        connection: &Connection,
        speaker: Speaker,
        content: &Content<'_>,
        found: &mut Found,
    ) {
        let asks = speaker.direction == Direction::ToServer;
        // Mails have fields too, and say in them what they like.
        let is_read = content.buffer == Buffer::Statement || self.protocols.is_http(speaker.parser);
        if !asks || !is_read {
            return;
        }
        let piece = injection::Piece {
            source: injection::Source {
                connection: connection.number,
                stream: content.stream,
                buffer: content.buffer,
            },
            begins: content.begins.map(|form| form.media_type),
            bytes: content.bytes,
            ends: content.ends,
        };
        self.injection.content(&self.config, &piece, found);
    }

    /// Bytes contradicted their application.
    pub fn violation(
        &mut self,
        connection: &Connection,
        application: AppId,
        what: &'static str,
        found: &mut Found,
    ) {
        self.protocols
            .violation(&self.config, connection, application, what, found);
    }

    /// From now on these are the outside addresses that services claim for themselves.
    pub fn claim(&mut self, external: protocols::kubernetes::ExternalAddresses) {
        self.protocols.claim(external);
    }

    /// Time passed: some attacks are that nothing happens. To be called some times a second, also
    /// where no packet comes; what is found belongs to no connection at hand.
    pub fn tick(&mut self, now_us: u64, found: &mut Found) {
        self.protocols.tick(&self.config, now_us, found);
    }

    /// A connection is over.
    pub fn closed(
        &mut self,
        watch: &mut Watch,
        connection: &Connection,
        ending: &Ending,
        now_us: u64,
        found: &mut Found,
    ) {
        self.network.closed(
            &self.config,
            &mut watch.network,
            connection,
            ending,
            now_us,
            found,
        );
        self.protocols
            .closed(&self.config, watch, connection, ending, now_us, found);
    }
}
