//! What the client sends: simple and extended queries.

use super::{HEADER, MESSAGE_MAX, Postgresql, QUERY_MAX, Scan, header, until_zero};
use crate::read::content;
use crate::sql::{Dialect, Found, Kind, Scanner, Statements};
use crate::{Buffer, EventSink, Step};

/// Longest name of a statement or portal that is read.
const NAME_MAX: usize = 1_024;

impl Postgresql {
    pub(super) fn client_bytes(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if self.left > 0 {
            return self.scan_on(input, sink);
        }
        let Some((kind, length)) = header(input) else {
            return Step::Incomplete;
        };
        if !(HEADER..=MESSAGE_MAX).contains(&length) {
            return Step::Violation("postgresql: message length out of bounds");
        }
        let wanted = match kind {
            b'Q' | b'P' => QUERY_MAX + NAME_MAX,
            b'B' => 2 * NAME_MAX,
            b'E' => NAME_MAX,
            b'F' => 0,
            b'D' | b'C' | b'S' | b'H' | b'X' | b'p' | b'd' | b'c' | b'f' => 0,
            _ => return Step::Violation("postgresql: unknown message"),
        };
        let Some(body) = input.get(HEADER..length.min(HEADER + wanted)) else {
            return Step::Incomplete;
        };
        match kind {
            b'Q' => return self.text("QUERY", None, body, 0, length, sink),
            b'P' => return self.parse_message(body, length, sink),
            b'B' => self.bind(body),
            b'E' => {
                let portal = until_zero(body).map(|(name, _)| self.portal(hash(name)));
                self.request("EXECUTE", portal.unwrap_or(Kind::OTHER), &[], &[], sink);
            }
            b'F' => self.request(
                "FUNCTION_CALL",
                Kind::of_word(b"CALL").unwrap_or(Kind::OTHER),
                &[],
                &[],
                sink,
            ),
            _ => {}
        }
        Step::Skip(length as u64)
    }

    fn parse_message(&mut self, body: &[u8], length: usize, sink: &mut dyn EventSink) -> Step {
        let Some((name, text)) = until_zero(body) else {
            return Step::Violation("postgresql: statement name too long");
        };
        if name.len() > NAME_MAX {
            return Step::Violation("postgresql: statement name too long");
        }
        self.text(
            "PARSE",
            Some(hash(name)),
            text,
            name.len() + 1,
            length,
            sink,
        )
    }

    /// A message whose body has SQL, `before` bytes behind its header.
    fn text(
        &mut self,
        command: &'static str,
        names: Option<u32>,
        body: &[u8],
        before: usize,
        length: usize,
        sink: &mut dyn EventSink,
    ) -> Step {
        let kept = body.get(..QUERY_MAX).unwrap_or(body);
        let text = kept.split(|&byte| byte == 0).next().unwrap_or_default();
        let end = HEADER + before + kept.len();
        // The text ends at its zero byte, or with the message.
        let whole = text.len() < kept.len() || end >= length;
        let mut scanner = Scanner::new(Dialect::PostgreSql, !self.escapes);
        let statements = Statements::read(&mut scanner, text, whole);
        let kind = statements.each(text, &mut |kind, tables| {
            self.request(command, kind, text, tables, sink)
        });
        if whole && kind.is_none() {
            self.request(command, Kind::EMPTY, text, &[], sink);
        }
        if let Some(name) = names {
            self.prepare(name, kind.unwrap_or(Kind::EMPTY));
        }
        let looked = sink.wants(Buffer::Statement);
        if looked {
            content::piece(Buffer::Statement, true, text, whole, sink);
        }
        self.looked = looked && !whole;
        let settled = names.is_some() && scanner.settled();
        if whole || settled && !looked {
            return Step::Skip(length as u64);
        }
        self.left = length - end;
        let told = kind.is_some();
        self.scan = (!settled).then_some(Scan {
            scanner,
            command,
            told,
            names: names.filter(|_| !told),
            ended: false,
        });
        Step::Consumed(end)
    }

    /// More of a text whose beginning was told.
    fn scan_on(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let used = self.left.min(input.len());
        self.left -= used;
        let piece = input.get(..used).unwrap_or_default();
        let text = piece.split(|&byte| byte == 0).next().unwrap_or_default();
        if self.looked {
            let ends = text.len() < piece.len() || self.left == 0;
            content::piece(Buffer::Statement, false, text, ends, sink);
            self.looked = !ends;
        }
        let Some(mut scan) = self.scan.take() else {
            return match self.looked {
                true => Step::Consumed(used),
                false => Step::Skip((used + std::mem::take(&mut self.left)) as u64),
            };
        };
        let mut first = None;
        let mut tell = |item: Found| {
            if let Found::Statement(kind) = item {
                scan.told = true;
                first = first.or(Some(kind));
                self.request(scan.command, kind, &[], &[], sink);
            }
        };
        if !scan.ended {
            scan.scanner.feed(text, &mut tell);
            if text.len() < piece.len() || self.left == 0 {
                scan.ended = true;
                scan.scanner.finish(&mut tell);
                if !scan.told {
                    self.request(scan.command, Kind::EMPTY, &[], &[], sink);
                }
            }
        }
        if let Some(kind) = first
            && let Some(name) = scan.names.take()
        {
            self.prepare(name, kind);
        }
        if self.left > 0 {
            self.scan = Some(scan);
        }
        Step::Consumed(used)
    }

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

    fn prepare(&mut self, name: u32, kind: Kind) {
        if name == hash(b"") {
            self.unnamed = kind;
        } else {
            self.prepared.sent(kind);
            self.prepared.numbered(name, kind);
        }
    }

    /// Portal and statement.
    fn bind(&mut self, body: &[u8]) {
        let Some((portal, rest)) = until_zero(body) else {
            return;
        };
        let kind = match until_zero(rest) {
            Some((b"", _)) => self.unnamed,
            Some((statement, _)) => self.prepared.kind(hash(statement)),
            None => Kind::OTHER,
        };
        let portal = hash(portal);
        self.portals.retain(|(known, _)| *known != portal);
        if self.portals.is_full() {
            self.portals.pop_at(0);
        }
        self.portals.push((portal, kind));
    }

    fn portal(&self, portal: u32) -> Kind {
        self.portals
            .iter()
            .find(|(known, _)| *known == portal)
            .map_or(Kind::OTHER, |(_, kind)| *kind)
    }
}

/// Never 0 and never all ones, which [`crate::sql::Prepared`] gives a meaning of their own.
fn hash(name: &[u8]) -> u32 {
    let hash = name.iter().fold(0x811c_9dc5_u32, |hash, &byte| {
        (hash ^ u32::from(byte))
            .wrapping_mul(0x0100_0193)
            .rotate_left(7)
    });
    hash.clamp(1, u32::MAX - 1)
}
