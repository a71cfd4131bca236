//! What shows in the messages of applications: weak versions, malformed messages, tunnels, guessing.
//!
//! Trusts: that a parser read the fields it tells. Distrusts: their values. Memory: the tables of the
//! families, allocated by [`Protocols::new`]; 48 bytes of each connection.
//!
//! Add a family: one file below, one line in [`Protocols::message`].

pub mod dns;
mod fields;
pub mod http;
pub mod kubernetes;
pub mod login;
pub mod malware;
pub mod metadata;
pub mod slow;
mod smb;
mod ssh;
#[cfg(test)]
mod tests;
mod tls;

use serde::Deserialize;
use weir_l7::{AppId, AppSet, Buffer, BufferSet, Content, Event, Speaker, registry, violation};
use weir_wire::Direction;

use crate::{Brief, Config, Connection, Ending, Evidence, Found, Threat};

/// `[threats.protocols]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Tunnels, rebinding, zone transfers.
    pub dns: dns::Settings,
    /// Failed logins.
    pub logins: login::Settings,
    /// Requests that never end.
    pub slow: slow::Settings,
    /// The metadata services of clouds.
    pub metadata: metadata::Settings,
    /// Marks of malware.
    pub malware: malware::Settings,
}

/// The buffers that some family looks into.
pub const LOOKED_INTO: BufferSet = BufferSet::EMPTY
    .with(Buffer::HttpRequestBody)
    .with(Buffer::HttpResponseBody)
    .with(Buffer::HttpContentLength)
    .with(Buffer::TlsSerial);

/// Of these, what servers send.
pub const OF_SERVERS: BufferSet = BufferSet::EMPTY
    .with(Buffer::HttpResponseBody)
    .with(Buffer::TlsSerial);

/// What is remembered of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {
    /// Which threats were told of it, by their place in the catalogue.
    told: u128,
    memory: Memory,
}

const _: () = assert!(Threat::ALL.len() <= 128);

impl Watch {
    /// What counts of it where nothing more is read.
    pub fn at_rest(&self) -> Self {
        match &self.memory {
            Memory::Http(memory) if memory.is_at_rest() => Self {
                memory: Memory::Nothing,
                ..*self
            },
            _ => *self,
        }
    }

    /// Nothing was told, and nothing is remembered that the default does not say as well.
    pub fn is_empty(&self) -> bool {
        self.told == 0
            && match &self.memory {
                Memory::Nothing => true,
                Memory::Tls(memory) => *memory == tls::Memory::default(),
                Memory::Login(memory) => *memory == login::Memory::default(),
                Memory::Dns(_) | Memory::Http(_) => false,
            }
    }
}

/// What the family that reads the connection remembers of it.
#[derive(Clone, Copy, Debug, Default)]
enum Memory {
    #[default]
    Nothing,
    Dns(dns::Asked),
    Http(http::Memory),
    Tls(tls::Memory),
    Login(login::Memory),
}

/// Who reads the messages of an application.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    None,
    Dns,
    Ssh,
    /// TLS, and QUIC with its hellos.
    Tls,
    /// HTTP/1 and HTTP/2, and what is spoken in them.
    Http,
    Smb,
}

/// What is known at a message.
struct Scene<'a> {
    config: &'a Config,
    connection: &'a Connection,
    speaker: Speaker,
    now_us: u64,
    watch: &'a mut Watch,
    found: &'a mut Found,
}

impl Scene<'_> {
    /// Tells a threat once of the connection.
    fn once(&mut self, threat: Threat, evidence: impl FnOnce() -> Evidence) {
        self.watch.once(self.config, threat, self.found, evidence);
    }

    /// Tells a threat each time.
    fn note(&mut self, threat: Threat, evidence: impl FnOnce() -> Evidence) {
        self.found.note(self.config, threat, evidence);
    }

    fn settings(&self) -> &Settings {
        &self.config.protocols
    }
}

impl Watch {
    fn once(
        &mut self,
        config: &Config,
        threat: Threat,
        found: &mut Found,
        evidence: impl FnOnce() -> Evidence,
    ) {
        let bit = 1 << threat as u8;
        if self.told & bit == 0 {
            self.told |= bit;
            found.note(config, threat, evidence);
        }
    }
}

/// The detectors of one worker.
pub struct Protocols {
    /// By the application's number.
    families: [Family; 128],
    /// Whose parsers read HTTP, of whatever version.
    http_parsers: AppSet,
    dns: dns::Dns,
    ssh: ssh::Ssh,
    tls: tls::Tls,
    http: http::Http,
    smb: smb::Smb,
    logins: login::Logins,
    external: kubernetes::ExternalAddresses,
}

impl Protocols {
    /// Allocates what it will use.
    pub fn new(secret: [u64; 2]) -> Self {
        let mut families = [Family::None; 128];
        for row in registry::applications() {
            families[usize::from(row.id.number())] = match registry::name(registry::root(row.id)) {
                "dns" => Family::Dns,
                "ssh" => Family::Ssh,
                "tls" | "quic" => Family::Tls,
                "http" => Family::Http,
                "smb" => Family::Smb,
                _ => Family::None,
            };
        }
        let rows = registry::applications().iter();
        let http_parsers = rows.filter(|row| row.name.starts_with("http"));
        Self {
            families,
            http_parsers: http_parsers.map(|row| row.id).collect(),
            dns: dns::Dns::new(secret),
            ssh: ssh::Ssh::new(),
            tls: tls::Tls::new(),
            http: http::Http::new(secret),
            smb: smb::Smb::new(),
            logins: login::Logins::new(secret),
            external: kubernetes::ExternalAddresses::default(),
        }
    }

    /// The buffers that are looked into. Of others some are, where somebody else wants them: a
    /// program in a response is no reason to read all of them.
    pub fn wants(&self) -> BufferSet {
        BufferSet::EMPTY
            .with(Buffer::HttpRequestBody)
            .with(Buffer::HttpContentLength)
            .with(Buffer::TlsSerial)
    }

    /// From now on these are the addresses that services claim for themselves.
    pub fn claim(&mut self, external: kubernetes::ExternalAddresses) {
        self.external = external;
    }

    /// See [`crate::Threats::is_routine`].
    #[inline]
    pub fn is_routine(
        &self,
        watch: &mut Watch,
        brief: &Brief,
        direction: Direction,
        payload: &[u8],
        now_us: u64,
    ) -> bool {
        brief.packets[0] + brief.packets[1] > 1
            && !ssh::is_banner(brief.packets[direction as usize], payload)
            && self
                .http
                .is_routine(watch, brief, direction, payload.len(), now_us)
    }

    /// See [`crate::Threats::packet`].
    #[expect(clippy::too_many_arguments, reason = "as in Threats")]
    pub fn packet(
        &mut self,
        config: &Config,
        watch: &mut crate::Watch,
        connection: &Connection,
        direction: Direction,
        payload: &[u8],
        now_us: u64,
        found: &mut Found,
    ) {
        let watch = &mut watch.protocols;
        if connection.packets[0] + connection.packets[1] <= 1 {
            metadata::opened(config, watch, connection, found);
            kubernetes::opened(config, &self.external, watch, connection, found);
        }
        ssh::packet(config, watch, connection, direction, payload, found);
        self.http.packet(
            config,
            watch,
            connection,
            direction,
            payload.len(),
            now_us,
            found,
        );
    }

    /// See [`crate::Threats::message`].
    #[expect(clippy::too_many_arguments, reason = "as in Threats")]
    pub fn message(
        &mut self,
        config: &Config,
        watch: &mut crate::Watch,
        connection: &Connection,
        speaker: Speaker,
        message: &Event<'_>,
        now_us: u64,
        found: &mut Found,
    ) {
        let mut scene = Scene {
            config,
            connection,
            speaker,
            now_us,
            watch: &mut watch.protocols,
            found,
        };
        match self.family(speaker.parser) {
            Family::None => {}
            Family::Dns => self.dns.message(&mut scene, message),
            Family::Ssh => self.ssh.message(&mut scene, message),
            Family::Tls => self.tls.message(&mut scene, message),
            Family::Http => self.http.message(&mut scene, message),
            Family::Smb => self.smb.message(&mut scene, message),
        }
        self.logins.message(&mut scene, message);
    }

    /// See [`crate::Threats::content`].
    #[expect(clippy::too_many_arguments, reason = "as in Threats")]
    pub fn content(
        &mut self,
        config: &Config,
        watch: &mut crate::Watch,
        connection: &Connection,
        speaker: Speaker,
        content: &Content<'_>,
        now_us: u64,
        found: &mut Found,
    ) {
        let mut scene = Scene {
            config,
            connection,
            speaker,
            now_us,
            watch: &mut watch.protocols,
            found,
        };
        match self.family(speaker.parser) {
            Family::Http => self.http.content(&mut scene, content),
            Family::Tls => tls::content(&mut scene, content),
            _ => {}
        }
    }

    /// See [`crate::Threats::violation`].
    pub fn violation(
        &mut self,
        config: &Config,
        _connection: &Connection,
        _application: AppId,
        what: &'static str,
        found: &mut Found,
    ) {
        let threat = match what {
            violation::HTTP_NEGATIVE_LENGTH => Threat::NegativeContentLength,
            violation::DNS_LOOP => Threat::DnsCompressionLoop,
            violation::DNS_LONG_NAME | violation::DNS_LONG_RECORD | violation::DNS_DEEP => {
                Threat::DnsOverflow
            }
            violation::TLS_CIPHERS => Threat::TlsCipherOverflow,
            violation::SMB_COMPRESSED => Threat::SmbGhost,
            _ if violation::HTTP_SMUGGLING.contains(&what) => Threat::Smuggling,
            _ => return,
        };
        found.note(config, threat, || Evidence::sign(what));
    }

    /// See [`crate::Threats::tick`].
    pub fn tick(&mut self, config: &Config, now_us: u64, found: &mut Found) {
        self.http.tick(config, now_us, found);
    }

    /// See [`crate::Threats::closed`].
    pub fn closed(
        &mut self,
        config: &Config,
        watch: &mut crate::Watch,
        connection: &Connection,
        ending: &Ending,
        now_us: u64,
        found: &mut Found,
    ) {
        let watch = &mut watch.protocols;
        self.http.closed(watch, connection);
        self.logins
            .closed(config, watch, connection, ending, now_us, found);
    }

    /// Whether this parser reads HTTP.
    pub fn is_http(&self, parser: AppId) -> bool {
        self.http_parsers.contains(parser)
    }

    fn family(&self, application: AppId) -> Family {
        self.families[usize::from(application.number()) & 127]
    }
}
