//! What the client sends: commands (MySQL, Command Phase).

use arrayvec::ArrayVec;

use super::login::compressed_command;
use super::{
    COMMAND, ClientSide, FULL, HEADER, Kind, Mysql, Phase, QUERY_MAX, Scan, capability, header,
    little_u16, little_u32, name, number, status, string, until_zero,
};
use crate::read::content;
use crate::sql::{self, Dialect, Found, Scanner, Statements};
use crate::{Buffer, Event, EventKind, EventSink, Field, Step};

pub(super) const QUIT: u8 = 0x01;
pub(super) const INIT_DB: u8 = 0x02;
pub(super) const QUERY: u8 = 0x03;
pub(super) const FIELD_LIST: u8 = 0x04;
pub(super) const STATISTICS: u8 = 0x09;
pub(super) const CHANGE_USER: u8 = 0x11;
pub(super) const BINLOG_DUMP: u8 = 0x12;
pub(super) const STMT_PREPARE: u8 = 0x16;
const STMT_EXECUTE: u8 = 0x17;
const STMT_SEND_LONG_DATA: u8 = 0x18;
const STMT_CLOSE: u8 = 0x19;
const SET_OPTION: u8 = 0x1b;
pub(super) const STMT_FETCH: u8 = 0x1c;
pub(super) const BINLOG_DUMP_GTID: u8 = 0x1e;
const RESET_CONNECTION: u8 = 0x1f;
const STMT_BULK_EXECUTE: u8 = 0xfa;

/// Name, and the statement that does the same: a command with one is a request.
fn known(code: u8) -> Option<(&'static str, Option<&'static str>)> {
    Some(match code {
        0x00 => ("SLEEP", None),
        QUIT => ("QUIT", None),
        INIT_DB => ("INIT_DB", Some("USE")),
        QUERY => ("QUERY", None),
        FIELD_LIST => ("FIELD_LIST", Some("SHOW")),
        0x05 => ("CREATE_DB", Some("CREATE")),
        0x06 => ("DROP_DB", Some("DROP")),
        0x07 => ("REFRESH", Some("FLUSH")),
        0x08 => ("SHUTDOWN", Some("SHUTDOWN")),
        STATISTICS => ("STATISTICS", Some("SHOW")),
        0x0a => ("PROCESS_INFO", Some("SHOW")),
        0x0b => ("CONNECT", None),
        0x0c => ("PROCESS_KILL", Some("KILL")),
        0x0d => ("DEBUG", Some("OTHER")),
        0x0e => ("PING", None),
        0x0f => ("TIME", None),
        0x10 => ("DELAYED_INSERT", Some("INSERT")),
        CHANGE_USER => ("CHANGE_USER", None),
        BINLOG_DUMP => ("BINLOG_DUMP", Some("OTHER")),
        0x13 => ("TABLE_DUMP", Some("OTHER")),
        0x14 => ("CONNECT_OUT", Some("OTHER")),
        0x15 => ("REGISTER_SLAVE", Some("OTHER")),
        STMT_PREPARE => ("STMT_PREPARE", None),
        STMT_EXECUTE => ("STMT_EXECUTE", Some("OTHER")),
        STMT_SEND_LONG_DATA => ("STMT_SEND_LONG_DATA", None),
        STMT_CLOSE => ("STMT_CLOSE", None),
        0x1a => ("STMT_RESET", None),
        SET_OPTION => ("SET_OPTION", None),
        STMT_FETCH => ("STMT_FETCH", None),
        0x1d => ("DAEMON", Some("OTHER")),
        BINLOG_DUMP_GTID => ("BINLOG_DUMP_GTID", Some("OTHER")),
        RESET_CONNECTION => ("RESET_CONNECTION", None),
        0x20 => ("CLONE", Some("CLONE")),
        0x21 => ("SUBSCRIBE_GROUP_REPLICATION_STREAM", Some("OTHER")),
        STMT_BULK_EXECUTE => ("STMT_BULK_EXECUTE", Some("OTHER")),
        0xfb..=0xff => ("OTHER", Some("OTHER")),
        _ => return None,
    })
}

impl Mysql {
    pub(super) fn client_bytes(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if self.client.left > 0 {
            return self.scan_on(input, sink);
        }
        if self.picked_up && self.phase == Phase::Greeting && compressed_command(input) {
            self.phase = Phase::Compressed;
        }
        if self.phase == Phase::Compressed {
            self.request("COMPRESSED", "OTHER", &[], &[], sink);
            return Step::Done;
        }
        let Some((length, sequence)) = header(input) else {
            return Step::Incomplete;
        };
        if self.client.continues {
            return self.continued(length, sink);
        }
        if self.client.sends_file {
            self.client.sends_file = length > 0;
            return Step::Skip((HEADER + length) as u64);
        }
        match (self.phase, sequence) {
            (Phase::Greeting, 0) => self.phase = Phase::PickedUp,
            (Phase::Greeting | Phase::Login, _) if !self.client.logged_in => {
                return self.login(input, length, sink);
            }
            // Sent without waiting for the login's outcome.
            (Phase::Login, 0) if self.can(capability::COMPRESS | capability::COMPRESS_ZSTD) => {
                self.phase = Phase::Compressed;
                return self.client_bytes(input, sink);
            }
            (Phase::Commands | Phase::Login, 0) => {}
            (Phase::PickedUp, 0) => {}
            (Phase::Commands, _) if !self.asked.contains(CHANGE_USER) => {
                return Step::Violation("mysql: packet out of order");
            }
            _ => return Step::Skip((HEADER + length) as u64),
        }
        self.command(input, length, sink)
    }

    fn command(&mut self, input: &[u8], length: usize, sink: &mut dyn EventSink) -> Step {
        let kept = length.min(QUERY_MAX);
        let Some(payload) = input.get(HEADER..HEADER + kept) else {
            return Step::Incomplete;
        };
        let Some((&code, body)) = payload.split_first() else {
            return Step::Violation("mysql: empty command");
        };
        let Some((command, same_as)) = known(code) else {
            return Step::Violation("mysql: unknown command");
        };
        if !matches!(code, QUIT | STMT_CLOSE | STMT_SEND_LONG_DATA) {
            self.asked.push(code, Kind::OTHER);
        }
        match code {
            QUERY | STMT_PREPARE => return self.text(code, command, body, length, sink),
            INIT_DB => self.want_database(body),
            CHANGE_USER => self.change_user(body),
            SET_OPTION => self.client.several_statements = little_u16(Some(body)) == Some(0),
            _ => {}
        }
        match (code, same_as) {
            (STMT_EXECUTE | STMT_BULK_EXECUTE, _) => {
                let kind = little_u32(Some(body)).map_or(Kind::OTHER, |id| self.prepared.kind(id));
                self.request(command, kind.name(), &[], &[], sink);
            }
            (_, Some(statement)) => self.request(command, statement, &[], &[], sink),
            _ => {
                let fields = [Field::name(COMMAND, command)];
                sink.event(&Event {
                    kind: EventKind::Session,
                    fields: &fields,
                });
            }
        }
        self.client.continues = length == FULL;
        Step::Skip((HEADER + length) as u64)
    }

    /// A command whose body is SQL.
    fn text(
        &mut self,
        code: u8,
        command: &'static str,
        body: &[u8],
        length: usize,
        sink: &mut dyn EventSink,
    ) -> Step {
        let attributes = code == QUERY && self.can(capability::QUERY_ATTRIBUTES);
        let text = if attributes {
            behind_attributes(body)
        } else {
            Some(body)
        };
        // Attributes that fill the whole prefix hide the text.
        let hidden = text.is_none() || self.opaque_charset;
        let text = text.unwrap_or_default();
        let several =
            code == QUERY && (self.client.several_statements || self.phase == Phase::PickedUp);
        let whole = length <= QUERY_MAX;
        let mut scanner = Scanner::new(
            Dialect::MySql,
            self.status & status::NO_BACKSLASH_ESCAPES != 0,
        );
        let statements = Statements::read(&mut scanner, text, whole);
        if code == QUERY
            && let Some(database) = used_database(text)
        {
            self.want_database(database);
        }
        let mut kind = statements.each(text, &mut |kind, tables| {
            self.request(command, kind.name(), text, tables, sink)
        });
        if hidden {
            self.request(command, Kind::OTHER.name(), text, &[], sink);
            kind = kind.or(Some(Kind::OTHER));
        }
        if whole && kind.is_none() {
            self.request(command, Kind::EMPTY.name(), text, &[], sink);
        }
        if code == STMT_PREPARE {
            let kind = kind.unwrap_or(Kind::OTHER);
            self.asked.set_kind(kind);
            self.prepared.sent(kind);
        }
        self.client.continues = length == FULL;
        let looked = sink.wants(Buffer::Statement);
        self.client.looked = looked && !whole;
        if looked {
            let text = if text.is_empty() { body } else { text };
            content::piece(Buffer::Statement, true, text, whole, sink);
        }
        let settled = (!several && scanner.settled()) || hidden;
        if whole || settled && !looked {
            return Step::Skip((HEADER + length) as u64);
        }
        self.client.left = length - QUERY_MAX;
        self.client.scan = (!settled).then_some(Scan {
            scanner,
            command,
            told: kind.is_some(),
        });
        Step::Consumed(HEADER + QUERY_MAX)
    }

    /// More of a text whose beginning was told.
    fn scan_on(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let used = self.client.left.min(input.len());
        self.client.left -= used;
        let last = self.client.left == 0 && !self.client.continues;
        self.scan(input.get(..used).unwrap_or_default(), last, sink);
        if self.client.scan.is_none() && !self.client.looked {
            // The rest was looked into, until some of it was lost.
            return Step::Skip((used + std::mem::take(&mut self.client.left)) as u64);
        }
        Step::Consumed(used)
    }

    /// The next packet of a command that does not fit into one.
    fn continued(&mut self, length: usize, sink: &mut dyn EventSink) -> Step {
        self.client.continues = length == FULL;
        if self.client.scan.is_none() && !self.client.looked {
            return Step::Skip((HEADER + length) as u64);
        }
        self.client.left = length;
        if length == 0 {
            self.scan(&[], true, sink);
        }
        Step::Consumed(HEADER)
    }

    fn scan(&mut self, text: &[u8], last: bool, sink: &mut dyn EventSink) {
        if self.client.looked {
            content::piece(Buffer::Statement, false, text, last, sink);
            self.client.looked = !last;
        }
        let Some(mut scan) = self.client.scan.take() else {
            return;
        };
        let mut tell = |item: Found| {
            if let Found::Statement(kind) = item {
                scan.told = true;
                self.request(scan.command, kind.name(), &[], &[], sink);
            }
        };
        scan.scanner.feed(text, &mut tell);
        if last {
            scan.scanner.finish(&mut tell);
            if !scan.told {
                self.request(scan.command, Kind::EMPTY.name(), &[], &[], sink);
            }
        } else {
            self.client.scan = Some(scan);
        }
    }

    fn want_database(&mut self, database: &[u8]) {
        self.wanted = Some(name(database));
        if self.phase == Phase::PickedUp || self.asked.lost() {
            self.settle_database();
        }
    }

    fn change_user(&mut self, body: &[u8]) {
        let Some((user, rest)) = until_zero(body) else {
            return;
        };
        self.user = name(user);
        let rest = match rest.split_first() {
            Some((&size, rest)) if self.can(capability::SECURE_CONNECTION) => {
                rest.get(usize::from(size)..)
            }
            _ => until_zero(rest).map(|(_, rest)| rest),
        };
        if let Some((database, rest)) = rest.and_then(until_zero) {
            self.want_database(database);
            self.opaque_charset |= rest
                .first()
                .is_some_and(|&charset| super::login::hides_quotes(charset));
        }
    }
}

impl ClientSide {
    /// Whether all that was lost is of a text that is only looked into.
    pub(super) fn within_text(&mut self, lost: u64) -> bool {
        let left = usize::try_from(lost)
            .ok()
            .and_then(|lost| self.left.checked_sub(lost));
        let Some(left) = left.filter(|_| self.scan.is_none()) else {
            return false;
        };
        self.left = left;
        self.looked = false;
        true
    }
}

/// The database of `USE shop`.
fn used_database(text: &[u8]) -> Option<&[u8]> {
    let text = text.trim_ascii_start();
    let (word, rest) = text.split_at_checked(3)?;
    if !word.eq_ignore_ascii_case(b"USE")
        || !rest.first()?.is_ascii_whitespace() && rest.first() != Some(&b'`')
    {
        return None;
    }
    let name = sql::identifier(rest)?;
    Some(
        name.strip_prefix(b"`")
            .and_then(|name| name.strip_suffix(b"`"))
            .unwrap_or(name),
    )
}

/// The text behind a QUERY's attributes (MySQL 8, COM_QUERY).
fn behind_attributes(body: &[u8]) -> Option<&[u8]> {
    let (count, rest) = number(body)?;
    let (_, rest) = number(rest)?;
    if count == 0 {
        return Some(rest);
    }
    let count = usize::try_from(count).ok().filter(|count| *count <= 64)?;
    let (nulls, rest) = rest.split_at_checked(count.div_ceil(8))?;
    let (_, mut rest) = rest.split_first()?;
    let mut types: ArrayVec<u8, 64> = ArrayVec::new();
    for _ in 0..count {
        types.push(*rest.first()?);
        rest = string(rest.get(2..)?)?.1;
    }
    for (place, kind) in types.iter().enumerate() {
        let null = nulls
            .get(place / 8)
            .is_some_and(|byte| byte >> (place % 8) & 1 == 1);
        let size = match kind {
            _ if null => 0,
            6 => 0,
            1 => 1,
            2 | 13 => 2,
            3 | 4 | 9 => 4,
            5 | 8 => 8,
            7 | 10 | 11 | 12 => 1 + usize::from(*rest.first()?),
            _ => {
                rest = string(rest)?.1;
                continue;
            }
        };
        rest = rest.get(size..)?;
    }
    Some(rest)
}
