//! Recognition, the server's greeting and the client's login (MySQL, Connection Phase).

use super::{
    AUTH_PLUGIN, CLIENT, COMPRESSED, DATABASE, FULL, HEADER, Mysql, Phase, SERVER_VERSION, USER,
    capability, header, little_u16, little_u32, name, string, until_zero,
};
use crate::sql::Kind;
use crate::{Event, EventKind, EventSink, Field, Probe, ProbeInput, Step};

/// A greeting is a version, some salt and a plugin's name.
const GREETING_MAX: usize = 511;
const VERSION_MAX: usize = 96;
/// How much of a login is looked at: attributes behind it may be cut.
const LOGIN_MAX: usize = 4_096;
/// Capabilities, packet size, character set and reserved bytes: also all of an SSLRequest.
const LOGIN_HEAD: usize = 32;

/// Errors that a server greets with: too many connections, host blocked or not allowed.
const GREETING_ERRORS: &[u16] = &[1040, 1129, 1130, 1203];

pub(super) fn probe(input: &ProbeInput<'_>) -> Probe {
    if !input.from_start {
        return picked_up(input);
    }
    match (
        login_probe(input.to_server),
        greeting_probe(input.to_client),
    ) {
        (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
        // The server speaks first; only where its side is not seen is there a login alone.
        (Probe::Certain, _) | (_, Probe::Certain) => Probe::Certain,
        _ => Probe::Unsure,
    }
}

fn greeting_probe(input: &[u8]) -> Probe {
    let Some((length, sequence)) = header(input) else {
        // The length's upper bytes are zero.
        let small =
            input.get(1).is_none_or(|&byte| byte < 2) && input.get(2).is_none_or(|&byte| byte == 0);
        return if small { Probe::Unsure } else { Probe::NotMine };
    };
    if sequence != 0 || !(10..=GREETING_MAX).contains(&length) {
        return Probe::NotMine;
    }
    let payload = input.get(HEADER..).unwrap_or_default();
    match payload {
        [] => Probe::Unsure,
        [0xff, rest @ ..] => match little_u16(Some(rest)) {
            Some(code) if GREETING_ERRORS.contains(&code) => whole_if(payload.len() >= length),
            None => Probe::Unsure,
            _ => Probe::NotMine,
        },
        [9 | 10, rest @ ..] => {
            let version = rest.split(|&byte| byte == 0).next().unwrap_or_default();
            let plausible = version.first().is_none_or(u8::is_ascii_digit)
                && version.len() <= VERSION_MAX
                && version.iter().all(|byte| (b' '..0x7f).contains(byte));
            let Some(behind) = rest.get(version.len() + 1..) else {
                return if plausible {
                    Probe::Unsure
                } else {
                    Probe::NotMine
                };
            };
            // Connection number, eight bytes of salt, a zero byte.
            let long_enough = length > version.len() + 14;
            match behind.get(12) {
                _ if !plausible || version.is_empty() || !long_enough => Probe::NotMine,
                Some(0) => Probe::Certain,
                Some(_) => Probe::NotMine,
                None => Probe::Unsure,
            }
        }
        _ => Probe::NotMine,
    }
}

fn login_probe(input: &[u8]) -> Probe {
    let Some((length, sequence)) = header(input) else {
        return Probe::Unsure;
    };
    if sequence != 1 || !(LOGIN_HEAD..FULL).contains(&length) {
        return Probe::NotMine;
    }
    let Some(head) = input.get(HEADER..HEADER + LOGIN_HEAD) else {
        return Probe::Unsure;
    };
    let reserved = head
        .get(9..28)
        .is_some_and(|bytes| bytes.iter().all(|&byte| byte == 0));
    let flags = u64::from(little_u32(head.get(..4)).unwrap_or_default());
    let modern = flags & capability::PROTOCOL_41 != 0 && flags & capability::SECURE_CONNECTION != 0;
    if reserved && modern {
        Probe::Certain
    } else {
        Probe::NotMine
    }
}

/// In the middle of a connection: a whole query and an answer that fits it, or a query that fills
/// what is there. A greeting or login may also follow a handshake that was not seen.
fn picked_up(input: &ProbeInput<'_>) -> Probe {
    if login_probe(input.to_server) == Probe::Certain
        || greeting_probe(input.to_client) == Probe::Certain
        || compressed_command(input.to_server)
    {
        return Probe::Certain;
    }
    let query = match header(input.to_server) {
        Some((length, 0)) => match input.to_server.get(HEADER..) {
            Some(command) if is_statement(command) && command.len() <= length => {
                if command.len() == length && plain(command) {
                    return Probe::Certain;
                }
                Probe::Certain
            }
            _ => Probe::NotMine,
        },
        Some(_) => Probe::NotMine,
        None => Probe::Unsure,
    };
    let answer = match header(input.to_client) {
        Some((length, 1)) if (1..4096).contains(&length) => match input.to_client.get(HEADER) {
            Some(0 | 0xff) if length >= 7 => Probe::Certain,
            Some(1..=0xfa) if length <= 2 => Probe::Certain,
            Some(_) => Probe::NotMine,
            None => Probe::Unsure,
        },
        Some(_) => Probe::NotMine,
        None => Probe::Unsure,
    };
    match (query, answer) {
        (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
        (Probe::Certain, Probe::Certain) => Probe::Certain,
        _ => Probe::Unsure,
    }
}

/// QUERY or STMT_PREPARE with a verb that is known.
fn is_statement(command: &[u8]) -> bool {
    let Some((3 | 0x16, text)) = command.split_first() else {
        return false;
    };
    let text = text.trim_ascii_start();
    let word = text
        .split(|byte| !byte.is_ascii_alphabetic())
        .next()
        .unwrap_or_default();
    let mut upper = [0; 16];
    upper.get_mut(..word.len()).is_some_and(|upper| {
        upper.copy_from_slice(word);
        upper.make_ascii_uppercase();
        Kind::of_word(upper).is_some()
    })
}

/// More than a word, and nothing but text behind the command's number.
fn plain(command: &[u8]) -> bool {
    let text = command.get(1..).unwrap_or_default();
    text.len() >= 8
        && text
            .iter()
            .all(|&byte| byte >= b' ' || byte.is_ascii_whitespace())
}

/// A small command of a compressed connection, which is not packed: a packet within a packet,
/// whose lengths tell of each other.
pub(super) fn compressed_command(input: &[u8]) -> bool {
    let Some((outer, 0)) = header(input) else {
        return false;
    };
    let inner = input.get(7..).and_then(header);
    input.get(HEADER..7) == Some(&[0; 3])
        && inner.is_some_and(|(length, sequence)| sequence == 0 && length + HEADER == outer)
        && input.get(7 + HEADER..).is_some_and(is_statement)
}

fn whole_if(whole: bool) -> Probe {
    if whole { Probe::Certain } else { Probe::Unsure }
}

impl Mysql {
    /// The server's first packet.
    pub(super) fn greeting(
        &mut self,
        input: &[u8],
        length: usize,
        sink: &mut dyn EventSink,
    ) -> Step {
        if length > GREETING_MAX {
            return Step::Violation("mysql: greeting too long");
        }
        let Some(payload) = input.get(HEADER..HEADER + length) else {
            return Step::Incomplete;
        };
        if payload.first() == Some(&0xff) {
            self.error(payload, true, sink);
            return Step::Consumed(HEADER + length);
        }
        let version = payload
            .strip_prefix(&[10])
            .or(payload.strip_prefix(&[9]))
            .and_then(until_zero);
        let Some((version, rest)) = version else {
            return Step::Violation("mysql: malformed greeting");
        };
        // Behind the connection number, salt and a zero byte.
        let flags = |at: usize| little_u16(rest.get(at..)).map_or(0, u64::from);
        let mut offered = flags(13) | flags(18) << 16;
        if offered & capability::LONG_PASSWORD == 0 {
            offered |= u64::from(little_u32(rest.get(27..)).unwrap_or_default()) << 32;
        }
        // Version 9 has no flags: nothing is known then.
        self.offered = if payload.first() == Some(&10) {
            offered
        } else {
            0
        };
        if self.client.logged_in && self.offered != 0 {
            self.capabilities &= self.offered;
        }
        self.server.greeted = true;
        self.status = little_u16(rest.get(16..)).unwrap_or_default();
        let salt = usize::from(rest.get(20).copied().unwrap_or_default())
            .saturating_sub(8)
            .max(13);
        let plugin = if offered & capability::PLUGIN_AUTH != 0 {
            rest.get(31 + salt..)
        } else {
            None
        };
        let plugin = plugin
            .unwrap_or_default()
            .split(|&byte| byte == 0)
            .next()
            .unwrap_or_default();
        let fields = [
            Field::bytes(SERVER_VERSION, version),
            Field::bytes(AUTH_PLUGIN, plugin),
        ];
        sink.event(&Event {
            kind: EventKind::Session,
            fields: &fields,
        });
        if self.phase == Phase::Greeting {
            self.phase = Phase::Login;
        }
        Step::Consumed(HEADER + length)
    }

    /// The client's first packet.
    pub(super) fn login(&mut self, input: &[u8], length: usize, sink: &mut dyn EventSink) -> Step {
        let kept = length.min(LOGIN_MAX);
        let Some(payload) = input.get(HEADER..HEADER + kept) else {
            return Step::Incomplete;
        };
        let Some(flags) = little_u16(Some(payload)) else {
            return Step::Violation("mysql: malformed login");
        };
        self.phase = Phase::Login;
        self.client.logged_in = true;
        let modern = u64::from(flags) & capability::PROTOCOL_41 != 0;
        let head = if modern { LOGIN_HEAD } else { 5 };
        if u64::from(flags) & capability::SSL != 0 && length == head {
            self.phase = Phase::Tls;
            return Step::Consumed(HEADER + length);
        }
        let read = if modern {
            self.modern_login(payload, sink)
        } else {
            self.old_login(payload, sink)
        };
        if read.is_none() {
            return Step::Violation("mysql: malformed login");
        }
        self.client.continues = length == FULL;
        Step::Skip((HEADER + length) as u64)
    }

    fn old_login(&mut self, payload: &[u8], sink: &mut dyn EventSink) -> Option<()> {
        self.capabilities = little_u16(Some(payload))?.into();
        let (user, rest) = until_zero(payload.get(5..)?).unwrap_or((payload.get(5..)?, &[]));
        let database = if self.can(capability::CONNECT_WITH_DB) {
            until_zero(rest).map(|(_, name)| name)
        } else {
            None
        };
        self.log_in(user, database.unwrap_or_default(), &[], &[], sink);
        Some(())
    }

    fn modern_login(&mut self, payload: &[u8], sink: &mut dyn EventSink) -> Option<()> {
        let mut flags = u64::from(little_u32(payload.get(..4))?);
        if flags & capability::LONG_PASSWORD == 0 {
            flags |= u64::from(little_u32(payload.get(28..LOGIN_HEAD))?) << 32;
        }
        // What the server did not offer it does not do, whatever the client says.
        self.capabilities = if self.offered == 0 {
            flags
        } else {
            flags & self.offered
        };
        self.client.several_statements = self.can(capability::MULTI_STATEMENTS);
        self.opaque_charset = hides_quotes(*payload.get(8)?);
        let (user, rest) = until_zero(payload.get(LOGIN_HEAD..)?)?;
        let rest = if flags & capability::PLUGIN_AUTH_LENENC != 0 {
            string(rest)?.1
        } else if flags & capability::SECURE_CONNECTION != 0 {
            let (&size, rest) = rest.split_first()?;
            rest.get(usize::from(size)..)?
        } else {
            until_zero(rest)?.1
        };
        // From here on clients differ in what they end with a zero byte, or leave out.
        let piece = |rest: &'_ [u8]| -> (usize, usize) {
            let end = rest
                .iter()
                .position(|&byte| byte == 0)
                .unwrap_or(rest.len());
            (end, (end + 1).min(rest.len()))
        };
        let (mut database, mut plugin, mut client, mut rest) = (&[][..], &[][..], &[][..], rest);
        if self.can(capability::CONNECT_WITH_DB) {
            let (end, next) = piece(rest);
            (database, rest) = (rest.get(..end)?, rest.get(next..)?);
        }
        if self.can(capability::PLUGIN_AUTH) {
            let (end, next) = piece(rest);
            (plugin, rest) = (rest.get(..end)?, rest.get(next..)?);
        }
        if self.can(capability::CONNECT_ATTRIBUTES) {
            client = client_name(rest).unwrap_or_default();
        }
        self.log_in(user, database, plugin, client, sink);
        Some(())
    }

    fn log_in(
        &mut self,
        user: &[u8],
        database: &[u8],
        plugin: &[u8],
        client: &[u8],
        sink: &mut dyn EventSink,
    ) {
        self.user = name(user);
        self.database = name(database);
        let compression = match () {
            () if self.can(capability::COMPRESS) => "zlib",
            () if self.can(capability::COMPRESS_ZSTD) => "zstd",
            () => "",
        };
        let fields = [
            Field::bytes(USER, user),
            Field::bytes(DATABASE, database),
            Field::bytes(AUTH_PLUGIN, plugin),
            Field::bytes(CLIENT, client),
            Field::name(COMPRESSED, compression),
        ];
        let count = if compression.is_empty() { 4 } else { 5 };
        sink.event(&Event {
            kind: EventKind::Session,
            fields: fields.get(..count).unwrap_or_default(),
        });
    }
}

/// The program's name among the attributes, else the library's.
fn client_name(attributes: &[u8]) -> Option<&[u8]> {
    let (_, mut rest) = super::number(attributes)?;
    let mut library = None;
    while let Some((key, tail)) = string(rest) {
        let Some((value, tail)) = string(tail) else {
            break;
        };
        match key {
            b"program_name" => return Some(value),
            b"_client_name" => library = Some(value),
            _ => {}
        }
        rest = tail;
    }
    library
}

/// Collations of big5, sjis, gbk, cp932 and gb18030, whose characters may end with a backslash.
pub(super) fn hides_quotes(collation: u8) -> bool {
    matches!(collation, 1 | 13 | 28 | 84 | 87 | 88 | 95 | 96 | 248..=250)
}
