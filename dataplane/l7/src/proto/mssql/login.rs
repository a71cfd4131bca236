//! LOGIN7 and NTLM: who logs in, from where, with what ([MS-TDS] 2.2.6.4, [MS-NLMP] 2.2.1.3).

use super::text::{little_u16, little_u32, name};
use super::{CLIENT, CLIENT_HOST, COMMAND, DATABASE, Mssql, USER};
use crate::told::Told;
use crate::{EventKind, EventSink};

/// Where in a LOGIN7 the pairs of offset and length stand.
const HOST: usize = 36;
const LOGIN_USER: usize = 40;
const APPLICATION: usize = 48;
const LOGIN_DATABASE: usize = 68;

/// A text of a LOGIN7: offset and length in characters.
fn text(login: &[u8], place: usize) -> &[u8] {
    (|| {
        let start = usize::from(little_u16(login.get(place..)?)?);
        let length = usize::from(little_u16(login.get(place + 2..)?)?);
        login.get(start..start + 2 * length)
    })()
    .unwrap_or_default()
}

impl Mssql {
    pub(super) fn login(&mut self, login: &[u8], sink: &mut dyn EventSink) {
        self.user = name(text(login, LOGIN_USER));
        self.database = name(text(login, LOGIN_DATABASE));
        let client = name::<256>(text(login, APPLICATION));
        let host = name::<256>(text(login, HOST));
        Told::new()
            .name(COMMAND, "LOGIN")
            .bytes(USER, &self.user)
            .bytes(DATABASE, &self.database)
            .known(CLIENT, &client)
            .known(CLIENT_HOST, &host)
            .send(EventKind::Session, sink);
    }

    /// The login of TDS 4.2 and 5.0: texts of 30 bytes with their lengths behind them.
    pub(super) fn old_login(&mut self, login: &[u8], sink: &mut dyn EventSink) {
        let text = |place: usize| {
            let length = usize::from(login.get(place + 30).copied().unwrap_or_default());
            login.get(place..place + length.min(30)).unwrap_or_default()
        };
        self.user = text(31).try_into().unwrap_or_default();
        Told::new()
            .name(COMMAND, "LOGIN")
            .bytes(USER, &self.user)
            .known(CLIENT_HOST, text(0))
            .send(EventKind::Session, sink);
    }

    /// The last message of NTLM names the user.
    pub(super) fn sspi(&mut self, message: &[u8], sink: &mut dyn EventSink) {
        let user = (|| {
            let message = message.strip_prefix(b"NTLMSSP\0\x03\0\0\0")?;
            // Offsets count from the message's begin.
            let at = |place: usize| message.get(place - 12..);
            let length = usize::from(little_u16(at(36)?)?);
            let start = little_u32(at(40)?)? as usize;
            message.get(start.checked_sub(12)?..)?.get(..length)
        })();
        if let Some(user) = user {
            self.user = name(user);
            Told::new()
                .bytes(USER, &self.user)
                .send(EventKind::Session, sink);
        }
    }
}
