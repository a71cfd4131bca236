//! What the client asks for: gathered element by element, told at the document's end.

use arrayvec::ArrayVec;

use super::{
    CLIENT, COLLECTION, COMMAND, DATABASE, MECHANISM, Mongodb, USER,
    bson::{self, kind},
};
use crate::told::Told;
use crate::{EventKind, EventSink};

/// A command as far as it was read. Names that do not fit are left empty: half a name could be
/// somebody else's.
#[derive(Default)]
pub(super) struct Command {
    pub(super) name: ArrayVec<u8, 40>,
    pub(super) database: ArrayVec<u8, 64>,
    pub(super) collection: ArrayVec<u8, 128>,
    mechanism: ArrayVec<u8, 24>,
    pub(super) logs_in: bool,
    pub(super) asks_build: bool,
}

/// Commands that neither read nor change data.
const SESSION: &[&[u8]] = &[
    b"authenticate",
    b"buildInfo",
    b"buildinfo",
    b"endSessions",
    b"getnonce",
    b"hello",
    b"isMaster",
    b"ismaster",
    b"logout",
    b"ping",
    b"saslContinue",
    b"saslStart",
];

impl Command {
    /// Makes room for the next; what its answer will tell stays.
    pub(super) fn forget(&mut self) {
        let asks_build = self.asks_build;
        *self = Self::default();
        self.asks_build = asks_build;
    }
}

impl Mongodb {
    /// An element of the command's document.
    pub(super) fn command_element(
        &mut self,
        (kind, name, value): (u8, &[u8], &[u8]),
        first: bool,
        sink: &mut dyn EventSink,
    ) {
        let command = &mut self.command;
        if first {
            command.name = ArrayVec::try_from(name).unwrap_or_default();
            let collection = bson::text(kind, value).unwrap_or_default();
            command.collection = ArrayVec::try_from(collection).unwrap_or_default();
            command.logs_in = matches!(name, b"saslStart" | b"authenticate");
            command.asks_build = matches!(name, b"buildInfo" | b"buildinfo");
            if command.logs_in {
                self.user.clear();
            }
            return;
        }
        match name {
            b"$db" => {
                let database = bson::text(kind, value).unwrap_or_default();
                command.database = ArrayVec::try_from(database).unwrap_or_default();
            }
            // getMore names its collection later.
            b"collection" if command.name.as_slice() == b"getMore" => {
                let collection = bson::text(kind, value).unwrap_or_default();
                command.collection = ArrayVec::try_from(collection).unwrap_or_default();
            }
            b"client" if kind == kind::DOCUMENT => client(value, sink),
            b"speculativeAuthenticate" if kind == kind::DOCUMENT => {
                command.logs_in = true;
                for (kind, name, value) in bson::elements(value) {
                    self.login_element(kind, name, value);
                }
            }
            _ if command.logs_in => self.login_element(kind, name, value),
            _ => {}
        }
    }

    fn login_element(&mut self, kind: u8, name: &[u8], value: &[u8]) {
        match name {
            b"mechanism" => {
                let mechanism = bson::text(kind, value).unwrap_or_default();
                self.command.mechanism = ArrayVec::try_from(mechanism).unwrap_or_default();
            }
            b"user" => self.log_in(bson::text(kind, value).unwrap_or_default()),
            b"payload" => {
                let payload = bson::binary(kind, value).unwrap_or_default();
                if self.command.mechanism.as_slice() == b"PLAIN" {
                    // Authorization name, name, password.
                    self.log_in(payload.split(|&byte| byte == 0).nth(1).unwrap_or_default());
                } else if let Some(user) = payload
                    .split(|&byte| byte == b',')
                    .find_map(|attribute| attribute.strip_prefix(b"n="))
                {
                    self.log_in(user);
                }
            }
            _ => {}
        }
    }

    fn log_in(&mut self, user: &[u8]) {
        self.user = ArrayVec::try_from(user).unwrap_or_default();
    }

    /// Tells the command, whose document has ended.
    pub(super) fn tell_command(&mut self, sink: &mut dyn EventSink) {
        let command = std::mem::take(&mut self.command);
        self.command.asks_build = command.asks_build;
        self.asked_command = true;
        let told = Told::new()
            .bytes(COMMAND, &command.name)
            .bytes(DATABASE, &command.database);
        if SESSION.contains(&command.name.as_slice()) {
            let told = match command.logs_in {
                true => told
                    .known(USER, &self.user)
                    .known(MECHANISM, &command.mechanism),
                false => told,
            };
            told.send(EventKind::Session, sink);
            return;
        }
        told.bytes(COLLECTION, &command.collection)
            .bytes(USER, &self.user)
            .send(EventKind::Request, sink);
    }

    /// Tells a request of before OP_MSG, or one that cannot be read.
    pub(super) fn tell_request(
        &self,
        command: &'static str,
        namespace: &[u8],
        sink: &mut dyn EventSink,
    ) {
        let (database, collection) = split(namespace);
        Told::new()
            .name(COMMAND, command)
            .bytes(DATABASE, database)
            .bytes(COLLECTION, collection)
            .bytes(USER, &self.user)
            .send(EventKind::Request, sink);
    }
}

/// Database and collection.
pub(super) fn split(namespace: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'.', namespace) {
        Some(dot) => (
            namespace.get(..dot).unwrap_or_default(),
            namespace.get(dot + 1..).unwrap_or_default(),
        ),
        None => (namespace, &[]),
    }
}

/// `client`: `application.name`, else `driver.name`.
fn client(document: &[u8], sink: &mut dyn EventSink) {
    let mut client: &[u8] = &[];
    for (kind, name, value) in bson::elements(document) {
        let application = name == b"application";
        if kind != kind::DOCUMENT || !(application || name == b"driver") {
            continue;
        }
        let told = bson::elements(value)
            .find(|(_, name, _)| *name == b"name")
            .and_then(|(kind, _, value)| bson::text(kind, value));
        if application || client.is_empty() {
            client = told.unwrap_or(client);
        }
    }
    if !client.is_empty() {
        Told::new()
            .bytes(CLIENT, client)
            .send(EventKind::Session, sink);
    }
}
