//! Guessed passwords: logins that fail, whatever the protocol, and sessions of SSH that end so soon that
//! nobody worked in them.
//!
//! Trusts: servers, which say that a login failed. Memory: [`PAIRS`] pairs of client and server and
//! [`SERVERS`] servers, by application.

use serde::Deserialize;
use weir_l7::{AppId, Event, EventKind, Value, registry};

use super::fields::{FieldPlace, text_of};
use super::{Memory as Remembered, Scene, Watch};
use crate::table::{Table, Window};
use crate::{Config, Connection, Ending, Evidence, Found, Threat};

const PAIRS: usize = 8_192;
const SERVERS: usize = 1_024;

/// `[threats.protocols.logins]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Seconds in which failures are counted, and in which each is told once.
    pub window_s: u64,
    /// Failed logins of one client at one server: nobody mistypes so often within minutes.
    pub failures: u32,
    /// The same for HTTP and SIP, which refuse every first request to ask for a login.
    pub challenges: u32,
    /// Failed logins at one server, by whomever: many sources guess together.
    pub server_failures: u32,
    /// Sessions of SSH between two hosts that end after a few packets: their logins are encrypted.
    pub ssh_sessions: u32,
    /// Up to how many bytes either way, frames included, a session of SSH has but negotiated and failed.
    pub ssh_session_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            window_s: 300,
            failures: 10,
            challenges: 30,
            server_failures: 100,
            ssh_sessions: 10,
            ssh_session_bytes: 7_000,
        }
    }
}

/// What is remembered of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The last request was a login.
    asked: bool,
    /// Hash of the user's name.
    user: u32,
}

/// What a value must be.
#[derive(Clone, Copy)]
enum Is {
    Number(&'static [u64]),
    Word(&'static [&'static str]),
    Begins(&'static [&'static str]),
}

/// How a protocol says that a login failed: application, field and value; where answers do not say what
/// they answer, the field and values of a request that logs in.
struct Row {
    application: &'static str,
    field: &'static str,
    fails: Is,
    asks: Option<(&'static str, &'static [&'static str])>,
    user: &'static str,
    /// Every session begins with a refusal.
    challenges: bool,
}

const fn row(application: &'static str, field: &'static str, fails: Is) -> Row {
    Row {
        application,
        field,
        fails,
        asks: None,
        user: "",
        challenges: false,
    }
}

impl Row {
    const fn asked_by(self, field: &'static str, values: &'static [&'static str]) -> Self {
        Self {
            asks: Some((field, values)),
            ..self
        }
    }

    const fn of(self, user: &'static str) -> Self {
        Self { user, ..self }
    }

    const fn challenging(self) -> Self {
        Self {
            challenges: true,
            ..self
        }
    }
}

const FAILED: Is = Is::Word(&["failed"]);

const ROWS: &[Row] = &[
    row("ftp", "ftp.status", Is::Number(&[530, 430])).of("ftp.user"),
    row("smtp", "smtp.status", Is::Number(&[535])).of("smtp.user"),
    row("pop3", "pop3.status", Is::Word(&["-ERR"]))
        .asked_by("pop3.command", &["PASS", "APOP", "AUTH"])
        .of("pop3.user"),
    row("imap", "imap.status", Is::Word(&["NO"]))
        .asked_by("imap.command", &["LOGIN", "AUTHENTICATE"])
        .of("imap.user"),
    row("ldap", "ldap.result_code", Is::Number(&[49])).of("ldap.dn"),
    row("postgresql", "postgresql.login", FAILED).of("postgresql.user"),
    row("mysql", "mysql.login", FAILED).of("mysql.user"),
    row("mssql", "mssql.login", FAILED).of("mssql.user"),
    row("oracle", "oracle.login", FAILED).of("oracle.user"),
    row("mongodb", "mongodb.login", FAILED).of("mongodb.user"),
    row("cassandra", "cassandra.login", FAILED).of("cassandra.user"),
    row("couchbase", "couchbase.login", FAILED).of("couchbase.user"),
    row("memcached", "memcached.login", FAILED),
    row("voltdb", "voltdb.login", FAILED),
    row("zookeeper", "zookeeper.login", FAILED),
    row("kafka", "kafka.login", FAILED),
    row(
        "redis",
        "redis.error",
        Is::Begins(&["WRONGPASS", "ERR invalid password", "-WRONGPASS"]),
    )
    .of("redis.user"),
    row("mqtt", "mqtt.login", FAILED).of("mqtt.user"),
    row("amqp", "amqp.login", FAILED).of("amqp.user"),
    row("stomp", "stomp.login", FAILED).of("stomp.user"),
    row("activemq", "activemq.login", FAILED),
    row(
        "nats",
        "nats.error",
        Is::Begins(&["Authorization Violation", "'Authorization Violation"]),
    )
    .of("nats.user"),
    row("xmpp", "xmpp.login", FAILED),
    row("irc", "irc.login", FAILED),
    row("telnet", "telnet.login", FAILED).of("telnet.user"),
    row(
        "smb",
        "smb.status",
        Is::Word(&[
            "logon_failure",
            "wrong_password",
            "no_such_user",
            "account_locked_out",
        ]),
    )
    .of("smb.user"),
    // KDC_ERR_C_PRINCIPAL_UNKNOWN, KDC_ERR_CLIENT_REVOKED, KDC_ERR_PREAUTH_FAILED.
    row("kerberos", "kerberos.error_code", Is::Number(&[6, 18, 24])).of("kerberos.client"),
    row("radius", "radius.code", Is::Word(&["Access-Reject"])).of("radius.user"),
    row("vnc", "vnc.result", Is::Word(&["failed", "too-many"])),
    row("socks", "socks.status", Is::Word(&["login-failed"])).of("socks.user"),
    row("sip", "sip.status", Is::Number(&[401, 403, 407]))
        .asked_by("sip.method", &["REGISTER", "INVITE"])
        .challenging(),
    row("rtsp", "rtsp.status", Is::Number(&[401])).challenging(),
    row("http", "http.status", Is::Number(&[401])).challenging(),
];

/// A row, with its fields found.
#[derive(Clone, Copy)]
struct Known {
    row: &'static Row,
    field: FieldPlace,
    asks: Option<(FieldPlace, &'static [&'static str])>,
    user: Option<FieldPlace>,
}

#[derive(Clone, Default)]
struct Pair {
    failures: Window,
    sessions: Window,
    /// Which of 64 places the users' names hit.
    users: u64,
}

/// The failed logins.
pub(super) struct Logins {
    /// By the application's number.
    known: [Option<Known>; 128],
    pairs: Table<Pair>,
    servers: Table<Window>,
    mysql: AppId,
    mysql_error: FieldPlace,
    ssh: AppId,
    secret: u64,
}

impl Logins {
    pub(super) fn new(secret: [u64; 2]) -> Self {
        let mut known = [None; 128];
        for row in ROWS {
            let Some(application) = registry::by_name(row.application) else {
                continue;
            };
            for case in registry::special_cases(application).iter() {
                known[usize::from(case.number()) & 127] = Some(Known {
                    row,
                    field: FieldPlace::of(row.field),
                    asks: row
                        .asks
                        .map(|(field, values)| (FieldPlace::of(field), values)),
                    user: (!row.user.is_empty()).then(|| FieldPlace::of(row.user)),
                });
            }
        }
        Self {
            known,
            pairs: Table::new(PAIRS, secret),
            servers: Table::new(SERVERS, secret),
            mysql: registry::by_name("mysql").unwrap_or(AppId::UNKNOWN),
            mysql_error: FieldPlace::of("mysql.error_code"),
            ssh: registry::by_name("ssh").unwrap_or(AppId::UNKNOWN),
            secret: secret[0],
        }
    }

    pub(super) fn message(&mut self, scene: &mut Scene<'_>, message: &Event<'_>) {
        let number = usize::from(scene.speaker.parser.number()) & 127;
        let Some(known) = self.known[number] else {
            return;
        };
        if message.kind == EventKind::Request {
            self.asked(scene, &known, message);
            return;
        }
        if scene.speaker.parser == self.mysql && self.mysql_error.number(message) == Some(1045) {
            scene.once(Threat::MysqlDenied, || Evidence::sign("error 1045"));
        }
        let mut values = known.field.all(message);
        let memory = scene.watch.login();
        let is_answer = known.asks.is_none() || memory.asked;
        if !is_answer || !values.any(|value| known.row.fails.holds(value)) {
            return;
        }
        self.failed(scene, &known, memory.user);
    }

    /// Remembers who logs in, where answers do not say.
    fn asked(&self, scene: &mut Scene<'_>, known: &Known, message: &Event<'_>) {
        if known.asks.is_none() && known.user.is_none() {
            return;
        }
        let mut memory = scene.watch.login();
        if let Some((field, values)) = known.asks {
            let command = field.text(message);
            memory.asked = values
                .iter()
                .any(|value| command.eq_ignore_ascii_case(value.as_bytes()));
        }
        if let Some(user) = known.user {
            let user = user.text(message);
            if !user.is_empty() {
                memory.user = super::dns::short_hash(self.secret, user);
            }
        }
        scene.watch.memory = Remembered::Login(memory);
    }

    fn failed(&mut self, scene: &mut Scene<'_>, known: &Known, user: u32) {
        let settings = &scene.config.protocols.logins;
        let (connection, now_us) = (scene.connection, scene.now_us);
        let window_us = settings.window_s * 1_000_000;
        let limit = match known.row.challenges {
            true => settings.challenges,
            false => settings.failures,
        };
        let application = scene.speaker.parser;
        let pair = self.pairs.entry(pair_key(connection, application), now_us);
        pair.users |= 1 << (user % 64);
        if pair.failures.count(now_us, window_us, limit) {
            let (failures, users) = (pair.failures.total(), pair.users.count_ones().into());
            let sign = match users > failures / 2 {
                true => "many users of one client",
                false => "many failures of one client",
            };
            pair.users = 0;
            scene.note(Threat::BruteForce, || {
                Evidence::sign(sign)
                    .bytes(application.name().as_bytes())
                    .counter("failures", failures)
                    .counter("users", users)
            });
            return;
        }
        let key = (connection.zone, connection.server, application.number());
        let server = self.servers.entry(key, now_us);
        if !known.row.challenges && server.count(now_us, window_us, settings.server_failures) {
            let failures = server.total();
            scene.note(Threat::BruteForce, || {
                Evidence::sign("many failures at one server")
                    .bytes(application.name().as_bytes())
                    .counter("failures", failures)
                    .target(connection.server)
            });
        }
    }

    /// A connection is over: how long an encrypted one was is all that shows.
    pub(super) fn closed(
        &mut self,
        config: &Config,
        _watch: &Watch,
        connection: &Connection,
        ending: &Ending,
        now_us: u64,
        found: &mut Found,
    ) {
        let Some(application) = connection.application else {
            return;
        };
        if application != self.ssh || !connection.from_start {
            return;
        }
        let settings = &config.protocols.logins;
        // A login needs a key exchange and an answer; less is a scan.
        let is_short = ending
            .bytes
            .iter()
            .all(|&bytes| (1_500..settings.ssh_session_bytes).contains(&bytes));
        if !is_short {
            return;
        }
        let pair = self.pairs.entry(pair_key(connection, application), now_us);
        if pair
            .sessions
            .count(now_us, settings.window_s * 1_000_000, settings.ssh_sessions)
        {
            let sessions = pair.sessions.total();
            found.note(config, Threat::BruteForce, || {
                Evidence::sign("many short sessions of one client")
                    .bytes(application.name().as_bytes())
                    .counter("sessions", sessions)
            });
        }
    }
}

impl Is {
    fn holds(self, value: Value<'_>) -> bool {
        let text = text_of(value).unwrap_or_default();
        match (self, value) {
            (Self::Number(numbers), Value::Number(number)) => numbers.contains(&number),
            (Self::Number(_), _) => false,
            (Self::Word(words), _) => words
                .iter()
                .any(|word| text.eq_ignore_ascii_case(word.as_bytes())),
            (Self::Begins(words), _) => words.iter().any(|word| text.starts_with(word.as_bytes())),
        }
    }
}

impl Watch {
    fn login(&self) -> Memory {
        match self.memory {
            Remembered::Login(memory) => memory,
            _ => Memory::default(),
        }
    }
}

fn pair_key(connection: &Connection, application: AppId) -> (u32, u128, u128, u8) {
    let Connection {
        zone,
        client,
        server,
        ..
    } = *connection;
    (zone, client, server, application.number())
}
