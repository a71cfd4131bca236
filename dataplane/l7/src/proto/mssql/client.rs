//! What the client sends: logins, batches, calls.

use arrayvec::ArrayVec;

use super::text::{self, little_u16, little_u32};
use super::{
    COMMAND, DATABASE, HEADER, Header, KEPT, Mssql, QUERY, STATEMENT, Scan, TABLE, USER, packet,
};
use crate::read::content;
use crate::sql::{Dialect, Found, Kind, Scanner, Statements};
use crate::told::Told;
use crate::{Buffer, EventKind, EventSink, Step};

/// Bytes of a text that are read at once behind its front.
const PIECE: usize = 1_024;
/// A packet's text as UTF-8.
const TEXT_MAX: usize = KEPT / 2 * 3;

impl Mssql {
    pub(super) fn client_bytes(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if self.left > 0 {
            return self.text_on(input, sink);
        }
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
        let continues = std::mem::replace(&mut self.continues[0], !header.last);
        match header.kind {
            packet::BATCH => return self.batch(&header, body, continues, sink),
            // The rest of a message whose front was read.
            _ if continues => {}
            packet::RPC => self.calls(&header, body, sink),
            packet::BULK => self.request(b"BULK_LOAD", kind(b"BULK"), &[], &[], sink),
            packet::LOGIN => self.login(body, sink),
            packet::OLD_LOGIN => self.old_login(body, sink),
            packet::SSPI => self.sspi(body, sink),
            // TLS within packets: a handshake record.
            packet::PRELOGIN => self.tls |= body.first() == Some(&0x16),
            packet::ATTENTION | packet::FEDERATED | packet::TRANSACTION => {}
            _ => return Step::Violation("mssql: unknown packet"),
        }
        header.step()
    }

    /// A packet of a batch: in the first one headers stand before the text.
    fn batch(
        &mut self,
        header: &Header,
        body: &[u8],
        continues: bool,
        sink: &mut dyn EventSink,
    ) -> Step {
        if continues {
            self.left = header.length;
            self.settle(sink);
            return Step::Consumed(HEADER);
        }
        let text = body.get(headers(body)..).unwrap_or_default();
        // A character may be cut off at the end of what is kept.
        let text = text.get(..text.len() & !1).unwrap_or_default();
        let used = HEADER + headers(body) + text.len();
        let whole = header.last && used + 1 >= HEADER + header.length;
        let utf8: ArrayVec<u8, TEXT_MAX> = text::front(text);
        let mut scanner = Scanner::new(Dialect::SqlServer, true);
        let statements = Statements::read(&mut scanner, &utf8, whole);
        let kind = statements.each(&utf8, &mut |kind, tables| {
            self.request(b"BATCH", kind, &utf8, tables, sink)
        });
        if whole && kind.is_none() {
            self.request(b"BATCH", Kind::EMPTY, &utf8, &[], sink);
        }
        if sink.wants(Buffer::Statement) {
            content::piece(Buffer::Statement, true, &utf8, whole, sink);
        }
        if whole {
            return header.step();
        }
        self.scan = Some(Scan {
            scanner,
            half: None,
            told: kind.is_some(),
        });
        self.left = HEADER + header.length - used;
        Step::Consumed(used)
    }

    /// More of a text whose beginning was told.
    fn text_on(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let used = self.left.min(input.len()).min(PIECE);
        self.left -= used;
        let mut piece = input.get(..used).unwrap_or_default();
        let Some(mut scan) = self.scan.take() else {
            return Step::Consumed(used);
        };
        let mut utf8: ArrayVec<u8, { PIECE * 2 }> = ArrayVec::new();
        if let Some(half) = scan.half.take()
            && let Some((&first, rest)) = piece.split_first()
        {
            text::append(&[half, first], &mut utf8);
            piece = rest;
        }
        text::append(piece, &mut utf8);
        if piece.len() % 2 == 1 {
            scan.half = piece.last().copied();
        }
        if sink.wants(Buffer::Statement) {
            content::piece(Buffer::Statement, false, &utf8, false, sink);
        }
        scan.scanner.feed(&utf8, &mut |item| {
            if let Found::Statement(kind) = item {
                scan.told = true;
                self.request(b"BATCH", kind, &[], &[], sink);
            }
        });
        self.scan = Some(scan);
        self.settle(sink);
        Step::Consumed(used)
    }

    /// The text ends with the message's last packet.
    fn settle(&mut self, sink: &mut dyn EventSink) {
        if self.left > 0 || self.continues[0] {
            return;
        }
        let Some(mut scan) = self.scan.take() else {
            return;
        };
        if sink.wants(Buffer::Statement) {
            content::piece(Buffer::Statement, false, &[], true, sink);
        }
        scan.scanner.finish(&mut |item| {
            if let Found::Statement(kind) = item {
                scan.told = true;
                self.request(b"BATCH", kind, &[], &[], sink);
            }
        });
        if !scan.told {
            self.request(b"BATCH", Kind::EMPTY, &[], &[], sink);
        }
    }

    /// Tells a request with every field that a condition may name.
    pub(super) fn request(
        &self,
        command: &[u8],
        kind: Kind,
        query: &[u8],
        tables: &[&[u8]],
        sink: &mut dyn EventSink,
    ) {
        Told::new()
            .bytes(COMMAND, command)
            .name(STATEMENT, kind.name())
            .bytes(USER, &self.user)
            .bytes(DATABASE, &self.database)
            .known(QUERY, query)
            .each(TABLE, tables)
            .send(EventKind::Request, sink);
    }
}

pub(super) fn kind(word: &[u8]) -> Kind {
    Kind::of_word(word).unwrap_or(Kind::OTHER)
}

/// Bytes of the headers before a text or call, which TDS has since 7.2: their length, then each
/// with its own length and type.
pub(super) fn headers(body: &[u8]) -> usize {
    let read = (|| {
        let all = little_u32(body)?;
        let first = little_u32(body.get(4..)?)?;
        let kind = little_u16(body.get(8..)?)?;
        let fits = (10..=256).contains(&all) && (6..=all - 4).contains(&first);
        (fits && matches!(kind, 1..=3)).then_some(all as usize)
    })();
    read.unwrap_or(0)
}
