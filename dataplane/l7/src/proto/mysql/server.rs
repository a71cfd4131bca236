//! What the server sends: outcomes and errors; results are skipped packet by packet.

use super::client::{
    BINLOG_DUMP, BINLOG_DUMP_GTID, CHANGE_USER, FIELD_LIST, QUERY, STATISTICS, STMT_FETCH,
    STMT_PREPARE,
};
use super::{
    AUTH_PLUGIN, DATABASE, ERROR, ERROR_CODE, FULL, HEADER, LOCAL_FILE, LOGIN, Mysql, Phase,
    SQLSTATE, Stage, USER, capability, header, little_u16, little_u32, number, status,
};
use crate::{Event, EventKind, EventSink, Field, Step};

/// How much of a packet is looked at: an error's message.
const ANSWER_MAX: usize = 1_024;
/// An EOF packet is shorter; a row that begins like one is longer.
const EOF_BELOW: usize = 9;
/// MariaDB sends reports of progress in the shape of an error.
const PROGRESS: u16 = 0xffff;

impl Mysql {
    pub(super) fn server_bytes(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if matches!(self.phase, Phase::Compressed | Phase::PickedUp) || self.asked.lost() {
            self.settle_database();
            return Step::Done;
        }
        let Some((length, _)) = header(input) else {
            return Step::Incomplete;
        };
        if self.server.continues {
            self.server.continues = length == FULL;
            return Step::Skip((HEADER + length) as u64);
        }
        if !self.server.greeted && matches!(self.phase, Phase::Greeting | Phase::Login) {
            return self.greeting(input, length, sink);
        }
        if length == 0 {
            return Step::Consumed(HEADER);
        }
        let Some(&first) = input.get(HEADER) else {
            return Step::Incomplete;
        };
        // Rows and descriptions are known by their first byte; only outcomes are read.
        let outcome = self.phase == Phase::Login
            || self.server.stage == Stage::First
            || matches!(first, 0xfe | 0xff);
        let kept = if outcome {
            length.min(ANSWER_MAX)
        } else {
            length.min(1)
        };
        let Some(payload) = input.get(HEADER..HEADER + kept) else {
            return Step::Incomplete;
        };
        self.server.continues = length == FULL;
        let step = match self.phase {
            Phase::Login => self.login_answer(first, payload, sink),
            _ => self.answer(first, payload, length, sink),
        };
        step.unwrap_or(Step::Skip((HEADER + length) as u64))
    }

    fn login_answer(
        &mut self,
        first: u8,
        payload: &[u8],
        sink: &mut dyn EventSink,
    ) -> Option<Step> {
        match first {
            0x00 => {
                self.read_status(payload);
                let fields = [
                    Field::name(LOGIN, "accepted"),
                    Field::bytes(USER, &self.user),
                    Field::bytes(DATABASE, &self.database),
                ];
                sink.event(&Event {
                    kind: EventKind::Session,
                    fields: &fields,
                });
                let compressed = self.can(capability::COMPRESS | capability::COMPRESS_ZSTD);
                self.phase = if compressed {
                    Phase::Compressed
                } else {
                    Phase::Commands
                };
            }
            0xff => self.error(payload, true, sink),
            0xfe => {
                let plugin = payload
                    .get(1..)
                    .unwrap_or_default()
                    .split(|&byte| byte == 0)
                    .next()
                    .unwrap_or_default();
                sink.event(&Event {
                    kind: EventKind::Session,
                    fields: &[Field::bytes(AUTH_PLUGIN, plugin)],
                });
            }
            _ => {}
        }
        None
    }

    fn answer(
        &mut self,
        first: u8,
        payload: &[u8],
        length: usize,
        sink: &mut dyn EventSink,
    ) -> Option<Step> {
        match self.server.stage {
            Stage::First => return self.first_packet(first, payload, length, sink),
            Stage::Columns { left } => {
                let cursor = first == 0xfe
                    && length < EOF_BELOW
                    && little_u16(payload.get(3..))
                        .is_some_and(|flags| flags & status::CURSOR_EXISTS != 0);
                match left {
                    0 | 1 if cursor => self.end_answer(),
                    0 | 1 => self.server.stage = Stage::Rows,
                    _ => self.server.stage = Stage::Columns { left: left - 1 },
                }
            }
            Stage::Description { left } if left > 1 => {
                self.server.stage = Stage::Description { left: left - 1 }
            }
            Stage::Description { .. } => self.end_answer(),
            Stage::Rows => self.row(first, payload, length, sink),
        }
        None
    }

    fn row(&mut self, first: u8, payload: &[u8], length: usize, sink: &mut dyn EventSink) {
        let short = self.can(capability::DEPRECATE_EOF);
        if first == 0xff {
            self.failed(payload, sink);
        } else if first == 0xfe && length < if short { FULL } else { EOF_BELOW } {
            if short && length >= 7 {
                self.read_status(payload);
            } else if let Some(flags) = little_u16(payload.get(3..)) {
                self.status = flags;
            }
            self.end_result();
        }
    }

    fn first_packet(
        &mut self,
        first: u8,
        payload: &[u8],
        length: usize,
        sink: &mut dyn EventSink,
    ) -> Option<Step> {
        let Some((command, kind)) = self.asked.first() else {
            // Said unasked: that the server shuts down, or waited too long.
            if first == 0xff {
                self.error(payload, false, sink);
            }
            return None;
        };
        let bare_metadata = self.can(capability::OPTIONAL_METADATA) && length < 7;
        match (command, first) {
            (_, 0xff) => self.failed(payload, sink),
            (BINLOG_DUMP | BINLOG_DUMP_GTID, _) => return Some(Step::Done),
            (STATISTICS, _) => self.end_answer(),
            (STMT_PREPARE, 0x00) => {
                if let Some(id) = little_u32(payload.get(1..)) {
                    self.prepared.numbered(id, kind);
                }
                let group = |at: usize| {
                    let count = u32::from(little_u16(payload.get(at..)).unwrap_or_default());
                    let eof = !self.can(capability::DEPRECATE_EOF);
                    if count == 0 {
                        0
                    } else {
                        count + u32::from(eof)
                    }
                };
                match group(5) + group(7) {
                    0 => self.end_answer(),
                    left => self.server.stage = Stage::Description { left },
                }
            }
            (FIELD_LIST | STMT_FETCH, _) => {
                self.server.stage = Stage::Rows;
                self.row(first, payload, length, sink);
            }
            (CHANGE_USER, 0xfe | 0x01 | 0x02) => {}
            (_, 0x00) if !bare_metadata => {
                self.read_status(payload);
                self.settle_database();
                self.end_result();
            }
            (_, 0xfe) if length < EOF_BELOW => self.end_answer(),
            (QUERY, 0xfb) => {
                self.client.sends_file = true;
                let file = payload.get(1..).unwrap_or_default();
                sink.event(&Event {
                    kind: EventKind::Response,
                    fields: &[Field::bytes(LOCAL_FILE, file)],
                });
            }
            _ => self.result(payload),
        }
        None
    }

    /// A number of columns: their descriptions and rows follow.
    fn result(&mut self, payload: &[u8]) {
        let mut described = true;
        let mut rest = payload;
        if self.can(capability::OPTIONAL_METADATA) {
            described = payload.first() != Some(&0);
            rest = payload.get(1..).unwrap_or_default();
        }
        let (count, behind) = number(rest).unwrap_or_default();
        if self.can(capability::MARIADB_CACHE_METADATA) {
            described = behind.first() != Some(&0);
        }
        let descriptions = if described {
            u32::try_from(count).unwrap_or(u32::MAX - 1)
        } else {
            0
        };
        let left = descriptions.saturating_add(u32::from(!self.can(capability::DEPRECATE_EOF)));
        self.server.stage = if left == 0 {
            Stage::Rows
        } else {
            Stage::Columns { left }
        };
    }

    fn failed(&mut self, payload: &[u8], sink: &mut dyn EventSink) {
        if little_u16(payload.get(1..)) == Some(PROGRESS) {
            return;
        }
        self.error(payload, false, sink);
        self.wanted = None;
        self.client.sends_file = false;
        self.end_answer();
    }

    /// The result is over; the answer too, unless more results follow.
    fn end_result(&mut self) {
        self.server.stage = Stage::First;
        if self.status & status::MORE_RESULTS == 0 {
            self.end_answer();
        }
    }

    fn end_answer(&mut self) {
        self.server.stage = Stage::First;
        self.asked.answered();
    }

    /// The status flags of an OK packet.
    fn read_status(&mut self, payload: &[u8]) {
        let flags = payload
            .get(1..)
            .and_then(number)
            .and_then(|(_, rest)| number(rest));
        if let Some(flags) = flags.and_then(|(_, rest)| little_u16(Some(rest))) {
            self.status = flags;
        }
    }

    /// Tells an ERR packet.
    pub(super) fn error(&self, payload: &[u8], login: bool, sink: &mut dyn EventSink) {
        let payload = payload.get(..ANSWER_MAX).unwrap_or(payload);
        let code = little_u16(payload.get(1..)).unwrap_or_default();
        let rest = payload.get(3..).unwrap_or_default();
        let (state, message) = match rest.split_first() {
            Some((b'#', rest)) => rest.split_at_checked(5).unwrap_or_default(),
            _ => (&[][..], rest),
        };
        let fields = [
            Field::number(ERROR_CODE, code.into()),
            Field::bytes(SQLSTATE, state),
            Field::bytes(ERROR, message),
            Field::name(LOGIN, "failed"),
            Field::bytes(USER, &self.user),
        ];
        let count = if login { 5 } else { 3 };
        sink.event(&Event {
            kind: EventKind::Response,
            fields: fields.get(..count).unwrap_or_default(),
        });
    }
}
