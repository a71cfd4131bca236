//! The server's messages: outcomes of commands and logins.

use arrayvec::ArrayVec;

use super::bson::{self, Element};
use super::client::Packed;
use super::opcode;
use super::{ERROR, ERROR_CODE, HEADER, LOGIN, Mongodb, SERVER_VERSION, Stage, UNPACKED_MAX, USER};
use crate::told::Told;
use crate::{EventKind, EventSink, Step};

/// AuthenticationFailed (MongoDB, error codes).
const AUTHENTICATION_FAILED: u64 = 18;
/// OP_REPLY: flags, cursor, position, count.
const REPLY_HEAD: usize = 20;
/// Flag of an OP_REPLY: its document tells what went wrong.
const QUERY_FAILURE: i32 = 2;

/// An outcome as far as it was read.
#[derive(Default)]
pub(super) struct Answer {
    failed: bool,
    code: u64,
    error: ArrayVec<u8, 160>,
    /// A login's last step.
    done: bool,
    conversation: bool,
}

impl Mongodb {
    pub(super) fn server_bytes(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        match self.server.stage {
            Stage::Header => self.server_header(input, sink),
            Stage::Sections => self.server.section(input),
            Stage::Body | Stage::Document => self.server_element(input, sink),
        }
    }

    fn server_header(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let header = match self.server.header(input) {
            None => return Step::Incomplete,
            Some(Err(step)) => return step,
            Some(Ok(header)) => header,
        };
        let length = header.length as usize;
        if header.opcode == opcode::COMPRESSED {
            return match Packed::read(input, length) {
                Ok(packed) => self.server_packed(&packed, sink),
                Err(step) => step,
            };
        }
        let head = match header.opcode {
            opcode::MSG => 4,
            opcode::REPLY => REPLY_HEAD + 4,
            _ => 0,
        };
        let Some(body) = input.get(HEADER..length.min(HEADER + head)) else {
            return Step::Incomplete;
        };
        self.server_body(header.opcode, body, HEADER)
    }

    fn server_body(&mut self, opcode: i32, body: &[u8], before: usize) -> Step {
        self.answer = Answer::default();
        match opcode {
            opcode::MSG => {
                self.server.stage = Stage::Sections;
                self.server.take(before + 4)
            }
            opcode::REPLY => {
                let failure = bson::little_i32(body).unwrap_or_default() & QUERY_FAILURE != 0;
                let size = body.get(REPLY_HEAD..).and_then(bson::little_i32);
                let size = usize::try_from(size.unwrap_or_default()).unwrap_or_default();
                self.answer.failed = failure;
                // Documents of a query are data.
                if size < 5 || !(failure || self.asked_command) {
                    return self.server.drop_rest();
                }
                if before + REPLY_HEAD + size > self.server.left {
                    return Step::Violation("mongodb: document length out of bounds");
                }
                self.server.begin(Stage::Document, size);
                self.server.take(before + REPLY_HEAD + 4)
            }
            opcode::COMMAND_REPLY => self.server.drop_rest(),
            _ => Step::Violation("mongodb: unknown opcode"),
        }
    }

    fn server_element(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        match bson::element(input) {
            Element::Partial => Step::Incomplete,
            Element::Bad => Step::Violation("mongodb: malformed document"),
            Element::End => {
                let step = self.server.end();
                if !matches!(step, Step::Violation(_)) {
                    self.tell_answer(sink);
                }
                step
            }
            Element::Read { length, .. } if length >= self.server.document => {
                Step::Violation("mongodb: malformed document")
            }
            Element::Read {
                kind,
                name,
                value,
                length,
                ..
            } => {
                self.answer_element(kind, name, value, sink);
                self.server.take_element(length)
            }
        }
    }

    fn answer_element(&mut self, kind: u8, name: &[u8], value: &[u8], sink: &mut dyn EventSink) {
        let answer = &mut self.answer;
        match name {
            b"ok" => answer.failed |= bson::number(kind, value) == Some(0),
            b"code" => answer.code = bson::number(kind, value).unwrap_or_default(),
            b"errmsg" | b"$err" => {
                let error = bson::text(kind, value).unwrap_or_default();
                let kept = error.iter().copied().take(answer.error.capacity());
                answer.error = kept.collect();
            }
            b"done" => answer.done = bson::number(kind, value) == Some(1),
            b"conversationId" => answer.conversation = true,
            b"version" if self.command.asks_build => {
                self.command.asks_build = false;
                if let Some(version) = bson::text(kind, value) {
                    Told::new()
                        .bytes(SERVER_VERSION, version)
                        .send(EventKind::Session, sink);
                }
            }
            b"writeErrors" => {
                let Some((_, _, first)) = bson::elements(value).next() else {
                    return;
                };
                let (mut code, mut error) = (0, &[][..]);
                for (kind, name, value) in bson::elements(first) {
                    match name {
                        b"code" => code = bson::number(kind, value).unwrap_or_default(),
                        b"errmsg" => error = bson::text(kind, value).unwrap_or_default(),
                        _ => {}
                    }
                }
                Told::new()
                    .number(ERROR_CODE, code)
                    .known(ERROR, error.get(..160).unwrap_or(error))
                    .send(EventKind::Response, sink);
            }
            _ => {}
        }
    }

    fn tell_answer(&mut self, sink: &mut dyn EventSink) {
        let answer = std::mem::take(&mut self.answer);
        if answer.failed {
            let told = Told::new()
                .number(ERROR_CODE, answer.code)
                .known(ERROR, &answer.error);
            let told = match answer.code {
                AUTHENTICATION_FAILED => told.name(LOGIN, "failed").known(USER, &self.user),
                _ => told,
            };
            told.send(EventKind::Response, sink);
        } else if answer.done && answer.conversation {
            Told::new()
                .name(LOGIN, "accepted")
                .known(USER, &self.user)
                .send(EventKind::Session, sink);
        }
    }

    /// As for the client's; what is cut off before its end tells nothing.
    fn server_packed(&mut self, packed: &Packed<'_>, sink: &mut dyn EventSink) -> Step {
        self.tell_compressor(1, packed.compressor, sink);
        let mut output = [0; UNPACKED_MAX];
        let count = packed.compressor.unpack(packed.bytes, &mut output);
        let unpacked = output.get(..count).unwrap_or_default();
        let outer = std::mem::take(&mut self.server);
        self.server.left = packed.size;
        let mut step = if count < REPLY_HEAD + 4 {
            Step::Incomplete
        } else {
            self.server_body(packed.opcode, unpacked, 0)
        };
        let mut at = 0;
        while let Step::Skip(taken) = step {
            at += usize::try_from(taken).unwrap_or(usize::MAX).min(count);
            let rest = unpacked.get(at..).unwrap_or_default();
            if rest.is_empty() || self.server.stage == Stage::Header {
                break;
            }
            step = self.server_bytes(rest, sink);
        }
        self.answer = Answer::default();
        self.server = outer;
        self.server.drop_rest()
    }
}
