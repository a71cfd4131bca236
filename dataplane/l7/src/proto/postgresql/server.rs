//! What the server sends: consent to encryption, outcomes and errors.

use super::{
    ERROR, Encryption, HEADER, LOGIN, MESSAGE_MAX, Phase, Postgresql, SERVER_VERSION, SEVERITY,
    SQLSTATE, USER, header, until_zero,
};
use crate::{Event, EventKind, EventSink, Field, Step};

/// How much of an error is looked at.
const ERROR_MAX: usize = 2_048;

impl Postgresql {
    pub(super) fn server_bytes(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if let (Some(encryption), Some(&answer)) = (self.offered, input.first())
            && answer != b'E'
        {
            self.offered = None;
            match (answer, encryption) {
                (b'N', _) => {}
                (b'S', Encryption::Tls) => self.phase = Phase::Tls,
                (b'G', Encryption::Gss) => self.phase = Phase::Over,
                _ => {
                    return Step::Violation("postgresql: unknown answer to an offer of encryption");
                }
            }
            return Step::Consumed(1);
        }
        let Some((kind, length)) = header(input) else {
            return Step::Incomplete;
        };
        if !(HEADER..=MESSAGE_MAX).contains(&length) {
            return Step::Violation("postgresql: message length out of bounds");
        }
        if !b"RKSZTDCEIN123ntsGHWdcfVvA".contains(&kind) {
            return Step::Violation("postgresql: unknown message");
        }
        if kind == b'Z' && !self.accepted && !self.user.is_empty() {
            self.accepted = true;
            let fields = [
                Field::name(LOGIN, "accepted"),
                Field::bytes(USER, &self.user),
            ];
            sink.event(&Event {
                kind: EventKind::Session,
                fields: &fields,
            });
        }
        if matches!(kind, b'E' | b'S') {
            let Some(body) = input.get(HEADER..length.min(HEADER + ERROR_MAX)) else {
                return Step::Incomplete;
            };
            match kind {
                b'E' => self.error(body, sink),
                b'S' => self.parameter(body, sink),
                _ => {}
            }
        }
        Step::Skip(length as u64)
    }

    fn parameter(&mut self, body: &[u8], sink: &mut dyn EventSink) {
        let Some((name, value)) = until_zero(body) else {
            return;
        };
        let value = value.split(|&byte| byte == 0).next().unwrap_or_default();
        match name {
            b"standard_conforming_strings" => self.escapes = value == b"off",
            b"server_version" => {
                sink.event(&Event {
                    kind: EventKind::Session,
                    fields: &[Field::bytes(SERVER_VERSION, value)],
                });
            }
            _ => {}
        }
    }

    fn error(&self, mut rest: &[u8], sink: &mut dyn EventSink) {
        let (mut severity, mut state, mut message) = (&[][..], &[][..], &[][..]);
        while let Some((&code, tail)) = rest.split_first() {
            let Some((value, tail)) = until_zero(tail) else {
                break;
            };
            match code {
                b'S' if severity.is_empty() => severity = value,
                // The one that is not translated.
                b'V' => severity = value,
                b'C' => state = value,
                b'M' => message = value,
                _ => {}
            }
            rest = tail;
        }
        let fields = [
            Field::bytes(SEVERITY, severity),
            Field::bytes(SQLSTATE, state),
            Field::bytes(ERROR, message),
            Field::name(LOGIN, "failed"),
            Field::bytes(USER, &self.user),
        ];
        let count = if self.accepted || self.user.is_empty() {
            3
        } else {
            5
        };
        sink.event(&Event {
            kind: EventKind::Response,
            fields: fields.get(..count).unwrap_or_default(),
        });
    }
}
