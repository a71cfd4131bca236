//! What the server answers: versions, outcomes of logins, the current database, errors. Tokens are
//! read up to the first that belongs to a result.

use std::io::Write as _;

use super::text::{self, front, little_u16, little_u32};
use super::{
    ENCRYPTION, ERROR, ERROR_CODE, HEADER, Header, KEPT, LOGIN, Mssql, SERVER_VERSION, USER, packet,
};
use crate::read::cursor::Cursor;
use crate::told::Told;
use crate::{EventKind, EventSink, Step};

pub(super) mod token {
    pub(in super::super) const RETURN_STATUS: u8 = 0x79;
    pub(in super::super) const ORDER: u8 = 0xa9;
    pub(in super::super) const ERROR: u8 = 0xaa;
    pub(in super::super) const INFO: u8 = 0xab;
    pub(in super::super) const LOGIN_ACK: u8 = 0xad;
    pub(in super::super) const ENVIRONMENT: u8 = 0xe3;
    pub(in super::super) const SSPI: u8 = 0xed;
    pub(in super::super) const DONE: u8 = 0xfd;
    pub(in super::super) const DONE_IN_PROCEDURE: u8 = 0xff;
}

/// A change of the environment: the database.
const DATABASE_CHANGED: u8 = 1;

impl Mssql {
    pub(super) fn server_bytes(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if let Some(step) = self.record(input) {
            return step;
        }
        let header = match Header::read(input) {
            None => return Step::Incomplete,
            Some(Err(step)) => return step,
            Some(Ok(header)) => header,
        };
        let Some(body) = input.get(HEADER..HEADER + header.length.min(KEPT)) else {
            return Step::Incomplete;
        };
        let continues = std::mem::replace(&mut self.continues[1], !header.last);
        match header.kind {
            packet::RESPONSE if continues => {}
            packet::RESPONSE if body.first() == Some(&0) => prelogin(body, sink),
            packet::RESPONSE => {
                let mut cursor = Cursor::new(body);
                while self.token(&mut cursor, sink).is_some() {}
            }
            packet::PRELOGIN => self.tls |= body.first() == Some(&0x16),
            _ => return Step::Violation("mssql: unknown packet"),
        }
        header.step()
    }

    fn token(&mut self, cursor: &mut Cursor<'_>, sink: &mut dyn EventSink) -> Option<()> {
        let token = cursor.u8()?;
        match token {
            token::ERROR | token::INFO | token::LOGIN_ACK | token::ENVIRONMENT => {
                let length = u16::from_le_bytes(cursor.array()?);
                let mut body = Cursor::new(cursor.take(length.into())?);
                match token {
                    token::ERROR => drop(self.failed(&mut body, sink)),
                    token::LOGIN_ACK => drop(self.login_accepted(&mut body, sink)),
                    token::ENVIRONMENT => drop(self.environment(&mut body)),
                    _ => {}
                }
            }
            token::ORDER | token::SSPI => {
                let length = u16::from_le_bytes(cursor.array()?);
                cursor.take(length.into())?;
            }
            token::RETURN_STATUS => drop(cursor.take(4)?),
            token::DONE..=token::DONE_IN_PROCEDURE => {
                // Status, command, and a count of eight bytes, which were four before TDS 7.2.
                cursor.take(8)?;
                if matches!(cursor.rest(), [0, 0, 0, 0, ..]) {
                    cursor.take(4)?;
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// Number, state, class, message, …
    fn failed(&self, cursor: &mut Cursor<'_>, sink: &mut dyn EventSink) -> Option<()> {
        let code = u32::from_le_bytes(cursor.array()?);
        cursor.take(2)?;
        let length = u16::from_le_bytes(cursor.array()?);
        let message = cursor.take(2 * usize::from(length))?;
        let message = front::<512>(message);
        let told = Told::new()
            .number(ERROR_CODE, code.into())
            .known(ERROR, &message);
        let told = if self.accepted || self.picked_up {
            told
        } else {
            told.name(LOGIN, "failed").known(USER, &self.user)
        };
        told.send(EventKind::Response, sink);
        Some(())
    }

    /// Interface, version of the protocol, name, version of the server.
    fn login_accepted(&mut self, cursor: &mut Cursor<'_>, sink: &mut dyn EventSink) -> Option<()> {
        self.accepted = true;
        cursor.take(5)?;
        let length = cursor.u8()?;
        cursor.take(2 * usize::from(length))?;
        let version = Version::of(cursor.array()?);
        Told::new()
            .name(LOGIN, "accepted")
            .known(USER, &self.user)
            .bytes(SERVER_VERSION, version.text())
            .send(EventKind::Session, sink);
        Some(())
    }

    fn environment(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        if cursor.u8()? == DATABASE_CHANGED {
            let length = cursor.u8()?;
            self.database = text::name(cursor.take(2 * usize::from(length))?);
        }
        Some(())
    }
}

/// "16.0.1000".
struct Version {
    text: [u8; 16],
    left: usize,
}

impl Version {
    fn of([major, minor, high, low]: [u8; 4]) -> Self {
        let mut version = Self {
            text: [0; 16],
            left: 16,
        };
        let mut room = version.text.as_mut_slice();
        let build = u16::from_be_bytes([high, low]);
        // Thirteen bytes at most: it fits.
        let _ = write!(room, "{major}.{minor}.{build}");
        version.left = room.len();
        version
    }

    fn text(&self) -> &[u8] {
        self.text
            .get(..self.text.len() - self.left)
            .unwrap_or_default()
    }
}

/// The options of an answer to PRELOGIN: what each is, where it stands, how long it is.
fn prelogin(body: &[u8], sink: &mut dyn EventSink) {
    let mut cursor = Cursor::new(body);
    let (mut version, mut encryption) = (None, "");
    while let Some(option) = cursor.u8().filter(|option| *option != 0xff) {
        let (Some(start), Some(_)) = (cursor.u16(), cursor.u16()) else {
            break;
        };
        let value = body.get(usize::from(start)..).unwrap_or_default();
        match option {
            0 => version = value.first_chunk().copied().map(Version::of),
            1 => {
                encryption = match value.first() {
                    Some(0) => "off",
                    Some(1) => "on",
                    Some(2) => "none",
                    Some(3) => "required",
                    _ => "",
                }
            }
            _ => {}
        }
    }
    Told::new()
        .known(
            SERVER_VERSION,
            version.as_ref().map(Version::text).unwrap_or_default(),
        )
        .known_name(ENCRYPTION, encryption)
        .send(EventKind::Session, sink);
}

/// Whether a packet's tokens begin as they do in an answer; none: too short to tell.
pub(super) fn answers(body: &[u8], length: usize) -> Option<bool> {
    let mut at = 0;
    for _ in 0..2 {
        let rest = body.get(at..)?;
        let size = match *rest.first()? {
            token::ERROR | token::INFO | token::LOGIN_ACK | token::ENVIRONMENT | token::SSPI => {
                3 + usize::from(little_u16(rest.get(1..)?)?)
            }
            token::DONE..=token::DONE_IN_PROCEDURE if at > 0 => {
                return Some(length >= at + 9 && little_u32(rest.get(1..)?)? & 0xfc00 == 0);
            }
            _ => return Some(false),
        };
        if size < 6 || at + size > length {
            return Some(false);
        }
        at += size;
    }
    Some(true)
}
