//! Recognition and the untyped packets that a connection begins with.

use super::{
    APPLICATION_NAME, DATABASE, Encryption, MESSAGE_MAX, Name, Phase, Postgresql, USER, header,
    until_zero,
};
use crate::sql::Kind;
use crate::{Application, Event, EventKind, EventSink, Field, Probe, ProbeInput, Step};

/// MAX_STARTUP_PACKET_LENGTH.
const STARTUP_MAX: usize = 10_000;
/// Length and code.
const HEAD: usize = 8;

const VERSION_2: u32 = 2;
const VERSION_3: u32 = 3;
const CANCEL: u32 = 80_877_102;
const SSL: u32 = 80_877_103;
const GSS: u32 = 80_877_104;

/// TLS's handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

pub(super) fn probe(input: &ProbeInput<'_>) -> Probe {
    if !input.from_start {
        return picked_up(input);
    }
    if !input
        .to_client
        .first()
        .is_none_or(|first| b"RENSGv".contains(first))
    {
        return Probe::NotMine;
    }
    match input.to_server.first() {
        Some(0) => probe_startup(input.to_server),
        Some(_) => Probe::NotMine,
        None => Probe::Unsure,
    }
}

/// In the middle of a connection: a query and an answer that fits it, or either alone where its
/// messages add up to what is there. A startup may also follow a handshake that was not seen.
fn picked_up(input: &ProbeInput<'_>) -> Probe {
    if input.to_server.first() == Some(&0) {
        return probe_startup(input.to_server);
    }
    let home = super::Postgresql::PORTS.contains(&input.server_port);
    match (probe_query(input.to_server), probe_answer(input.to_client)) {
        (Probe::Certain, Probe::Certain) => Probe::Certain,
        (Probe::Certain, _) if adds_up(input.to_server) => Probe::Certain,
        (Probe::NotMine, _) if home && adds_up(input.to_server) => Probe::Certain,
        (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
        // Whole messages that end with ReadyForQuery.
        (Probe::Unsure, Probe::Certain) if input.to_server.is_empty() => Probe::Certain,
        _ => Probe::Unsure,
    }
}

/// Whole messages of the client: a query, or several of the extended protocol that end with Sync.
fn adds_up(mut input: &[u8]) -> bool {
    let mut several = false;
    loop {
        let Some((kind, length)) = header(input) else {
            return false;
        };
        let Some(body) = input.get(super::HEADER..length) else {
            return false;
        };
        let text = |text: &[u8]| {
            text.iter()
                .all(|&byte| byte >= b' ' || byte.is_ascii_whitespace())
        };
        let fits = match kind {
            b'Q' => {
                matches!(body.split_last(), Some((0, query)) if !query.is_empty() && text(query))
            }
            b'P' | b'B' | b'D' | b'E' | b'C' => body.contains(&0),
            b'S' | b'H' => body.is_empty(),
            _ => false,
        };
        let behind = input.get(length..).unwrap_or_default();
        match (fits, kind, behind.is_empty()) {
            (false, ..) => return false,
            (_, b'Q', true) => return true,
            (_, b'S', true) => return several,
            (_, _, true) => return false,
            _ => {}
        }
        several = true;
        input = behind;
    }
}

fn probe_startup(input: &[u8]) -> Probe {
    let Some((length, code)) = head(input) else {
        return if input.get(1).is_none_or(|&byte| byte == 0) {
            Probe::Unsure
        } else {
            Probe::NotMine
        };
    };
    match (code, code >> 16) {
        (SSL | GSS, _) if length == HEAD => Probe::Certain,
        (CANCEL, _) if (16..=HEAD + 4 + 256).contains(&length) => Probe::Certain,
        (_, VERSION_3) if (HEAD + 7..=STARTUP_MAX).contains(&length) && code & 0xffff < 16 => {
            let end = input.len().min(length);
            probe_parameters(input.get(HEAD..end).unwrap_or_default(), end == length)
        }
        _ => Probe::NotMine,
    }
}

/// Pairs of texts, of which one is the user.
fn probe_parameters(mut rest: &[u8], whole: bool) -> Probe {
    let partial = if whole { Probe::NotMine } else { Probe::Unsure };
    for _ in 0..64 {
        if rest.is_empty() {
            return partial;
        }
        let name = rest.split(|&byte| byte == 0).next().unwrap_or_default();
        if name.is_empty()
            || !name
                .iter()
                .all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
        {
            return Probe::NotMine;
        }
        let Some((_, (value, tail))) =
            until_zero(rest).and_then(|(name, tail)| Some((name, until_zero(tail)?)))
        else {
            return partial;
        };
        if name == b"user" {
            return if value.is_empty() {
                Probe::NotMine
            } else {
                Probe::Certain
            };
        }
        rest = tail;
    }
    Probe::NotMine
}

/// In the middle of a connection: a query whose first word is known.
fn probe_query(input: &[u8]) -> Probe {
    let Some((kind, length)) = header(input) else {
        return Probe::Unsure;
    };
    let body = input.get(super::HEADER..).unwrap_or_default();
    let text = match kind {
        b'Q' => Some(body),
        b'P' => until_zero(body).map(|(_, text)| text),
        _ => return Probe::NotMine,
    };
    let text = text.unwrap_or_default().trim_ascii_start();
    let word = text
        .split(|byte| !byte.is_ascii_alphabetic())
        .next()
        .unwrap_or_default();
    let mut upper = [0; 16];
    let known = upper.get_mut(..word.len()).is_some_and(|upper| {
        upper.copy_from_slice(word);
        upper.make_ascii_uppercase();
        Kind::of_word(upper).is_some()
    });
    let sized = (7..MESSAGE_MAX).contains(&length) && (kind == b'P' || input.len() <= length);
    if known && sized {
        Probe::Certain
    } else {
        Probe::NotMine
    }
}

/// Whole messages up to ReadyForQuery.
fn probe_answer(mut input: &[u8]) -> Probe {
    while let Some((kind, length)) = header(input) {
        if !b"123CDEINSTZnstAGHdcWV".contains(&kind) || !(5..MESSAGE_MAX).contains(&length) {
            return Probe::NotMine;
        }
        let Some(message) = input.get(..length) else {
            return Probe::Unsure;
        };
        if let [b'Z', 0, 0, 0, 5, status] = message {
            return if b"ITE".contains(status) {
                Probe::Certain
            } else {
                Probe::NotMine
            };
        }
        input = input.get(length..).unwrap_or_default();
    }
    Probe::Unsure
}

fn head(input: &[u8]) -> Option<(usize, u32)> {
    let (&[a, b, c, d, e, f, g, h], _) = input.split_first_chunk::<HEAD>()?;
    Some((
        u32::from_be_bytes([a, b, c, d]) as usize,
        u32::from_be_bytes([e, f, g, h]),
    ))
}

impl Postgresql {
    /// The client's packets before its messages.
    pub(super) fn startup(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        match input.first() {
            Some(0) => {}
            // The server's consent may reach us behind the handshake it allows.
            Some(&TLS_HANDSHAKE) if self.offered == Some(Encryption::Tls) => {
                return Step::Incomplete;
            }
            // Picked up in the middle.
            _ => {
                self.phase = Phase::Messages;
                return self.client_bytes(input, sink);
            }
        }
        let Some((length, code)) = head(input) else {
            return Step::Incomplete;
        };
        if !(HEAD..=STARTUP_MAX).contains(&length) {
            return Step::Violation("postgresql: startup packet length out of bounds");
        }
        let Some(packet) = input.get(HEAD..length) else {
            return Step::Incomplete;
        };
        match (code, code >> 16) {
            (SSL, _) => self.offered = Some(Encryption::Tls),
            (GSS, _) => self.offered = Some(Encryption::Gss),
            (CANCEL, _) | (_, VERSION_2) => self.phase = Phase::Over,
            (_, VERSION_3) => self.parameters(packet, sink),
            _ => return Step::Violation("postgresql: unknown protocol version"),
        }
        Step::Consumed(length)
    }

    fn parameters(&mut self, mut rest: &[u8], sink: &mut dyn EventSink) {
        let (mut user, mut database, mut application) = (&[][..], &[][..], &[][..]);
        while let Some((key, tail)) = until_zero(rest) {
            let Some((value, tail)) = until_zero(tail) else {
                break;
            };
            match key {
                b"user" => user = value,
                b"database" => database = value,
                b"application_name" => application = value,
                _ => {}
            }
            rest = tail;
        }
        if database.is_empty() {
            database = user;
        }
        self.user = Name::try_from(user).unwrap_or_default();
        self.database = Name::try_from(database).unwrap_or_default();
        self.phase = Phase::Messages;
        let fields = [
            Field::bytes(USER, user),
            Field::bytes(DATABASE, database),
            Field::bytes(APPLICATION_NAME, application),
        ];
        let count = if application.is_empty() { 2 } else { 3 };
        sink.event(&Event {
            kind: EventKind::Session,
            fields: fields.get(..count).unwrap_or_default(),
        });
    }
}
