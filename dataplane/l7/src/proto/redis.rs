//! Redis: the commands of a client, and the errors it gets (RESP2 and RESP3).
//!
//! Trusts nothing. Arguments beyond the first are skipped by their lengths, so a large value costs
//! nothing. Violations: bytes that are no command. Memory: two counters and the user's name.

mod probe;

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::read::content::{self, Run};
use crate::{
    Application, Buffer, BufferSet, ByteSet, Event, EventKind, EventSink, Field, FieldSpec,
    Openings, Probe, ProbeInput, Step, Transport,
};

/// Longest command name that is read; Redis has none above 20.
const COMMAND_MAX: usize = 32;
/// How much of the first argument is told.
const KEY_MAX: usize = 512;
/// PROTO_INLINE_MAX_SIZE is 64 KiB; what is kept of a line is less.
const INLINE_MAX: usize = 4_096;
/// An error or another simple line of the server.
const LINE_MAX: usize = 4_096;
/// "*2147483647\r\n" and "$536870912\r\n" fit.
const LENGTH_LINE_MAX: usize = 24;
/// proto-max-bulk-len may be raised up to this many bytes in practice.
const BULK_MAX: u64 = 1 << 40;
const ARGUMENTS_MAX: u64 = i32::MAX as u64;
/// Words of a command that are read ahead: command, user or key, password, …
const WORDS: usize = 5;

const COMMAND: u8 = 0;
const KEY: u8 = 1;
const USER: u8 = 2;
const ERROR: u8 = 3;
const PROTOCOL: u8 = 4;

/// The parser.
#[derive(Default)]
pub struct Redis {
    /// Arguments of the command at hand that are still to come.
    arguments: u64,
    user: ArrayVec<u8, 64>,
    /// The client asked to become a replica: what follows from the server is no reply.
    replicating: bool,
    /// The argument at hand of a command that somebody looks into.
    argument: Run,
    /// Behind it, before the end of its line.
    line_end: bool,
    /// How much of the command was handed on.
    told: Told,
}

/// How much of a command was handed on.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Told {
    /// Nothing is.
    #[default]
    Never,
    Nothing,
    Begun,
}

/// The first words of a command.
struct Command<'a> {
    words: ArrayVec<&'a [u8], WORDS>,
}

/// A length prefix: the number, and the bytes it took.
enum Length {
    Read { number: i64, used: usize },
    Partial,
    Bad,
}

impl Application for Redis {
    const NAME: &'static str = "redis";
    const ABOUT: &'static str =
        "Redis serialization protocol, versions 2 and 3 (redis.io, protocol specification)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[6379];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition("command", "Command in upper case (redis.io, commands)"),
        FieldSpec::condition(
            "key",
            "First argument, at most 512 bytes: the key of most commands",
        ),
        FieldSpec::condition(
            "user",
            "User of the last AUTH or HELLO with a name, whether or not it succeeded",
        ),
        FieldSpec::text("error", "Error reply (RESP simple and bulk errors)"),
        FieldSpec::text("protocol", "Protocol version asked for with HELLO"),
    ];
    const CONTENTS: BufferSet = BufferSet::EMPTY.with(Buffer::RedisCommand);
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(b"*")
            .and_range(b'A', b'Z')
            .and_range(b'a', b'z'),
        to_client: ByteSet::of(b"+-:$*_#,(!=%~>|"),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        probe::probe(input)
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        match direction {
            Direction::ToServer => self.client(input, sink),
            Direction::ToClient => self.server(input, sink),
        }
    }

    fn overflow(&mut self, direction: Direction, _input: &[u8], _sink: &mut dyn EventSink) -> Step {
        match direction {
            Direction::ToServer => Step::Violation("redis: command head too long"),
            Direction::ToClient => Step::Done,
        }
    }

    fn gap(&mut self, direction: Direction, length: u64) -> bool {
        let covered = direction == Direction::ToServer && self.argument.covers(length);
        if covered {
            self.told = Told::Never;
        }
        covered
    }
}

impl Redis {
    fn client(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if self.argument.goes_on() {
            return self.argument.hand_on(Buffer::RedisCommand, input, sink);
        }
        if std::mem::take(&mut self.line_end) {
            return Step::Skip(2);
        }
        if self.arguments > 0 {
            return match length(input, b'$') {
                Length::Read { number, used }
                    if self.told != Told::Never && (0..BULK_MAX as i64).contains(&number) =>
                {
                    self.argument(number.unsigned_abs(), used, sink)
                }
                Length::Read { number, used } if (0..BULK_MAX as i64).contains(&number) => {
                    self.arguments -= 1;
                    Step::Skip(used as u64 + number.unsigned_abs() + 2)
                }
                Length::Partial => Step::Incomplete,
                _ => Step::Violation("redis: argument without a length"),
            };
        }
        match input {
            [b'*', ..] => self.array(input, sink),
            _ => self.inline(input, sink),
        }
    }

    fn array(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let (count, mut at) = match length(input, b'*') {
            Length::Read { number, used } if number <= ARGUMENTS_MAX as i64 => {
                (number.max(0).unsigned_abs(), used)
            }
            Length::Partial => return Step::Incomplete,
            _ => return Step::Violation("redis: array without a count"),
        };
        let head = at;
        let mut command = Command {
            words: ArrayVec::new(),
        };
        // Words are read ahead while they are short; the rest is skipped by its lengths.
        let ahead = usize::try_from(count).unwrap_or(WORDS).min(WORDS);
        for place in 0..ahead {
            let (size, used) = match length(input.get(at..).unwrap_or_default(), b'$') {
                Length::Read { number, used } if (0..BULK_MAX as i64).contains(&number) => {
                    (number as usize, used)
                }
                Length::Partial => return Step::Incomplete,
                _ => return Step::Violation("redis: argument without a length"),
            };
            let start = at + used;
            if place == 0 && size > COMMAND_MAX {
                return Step::Violation("redis: command name too long");
            }
            let kept = size.min(KEY_MAX);
            let Some(word) = input.get(start..start + kept) else {
                return Step::Incomplete;
            };
            command.words.push(word);
            at = start.saturating_add(size).saturating_add(2);
            if size > KEY_MAX || !command.wants_more() {
                break;
            }
        }
        self.arguments = count - command.words.len() as u64;
        if command.words.is_empty() {
            return Step::Skip(at as u64);
        }
        let secret = command.is_secret();
        self.tell(&command, sink);
        self.told = Told::Never;
        if secret || !sink.wants(Buffer::RedisCommand) {
            return Step::Skip(at as u64);
        }
        self.told = Told::Nothing;
        self.arguments = count;
        Step::Consumed(head)
    }

    /// An argument that somebody looks into: its length was read.
    fn argument(&mut self, size: u64, used: usize, sink: &mut dyn EventSink) -> Step {
        self.arguments -= 1;
        let (begins, ends) = (self.told == Told::Nothing, self.arguments == 0);
        if !begins {
            content::piece(Buffer::RedisCommand, false, b" ", false, sink);
        }
        self.told = match ends {
            true => Told::Never,
            false => Told::Begun,
        };
        self.argument = Run::new(Buffer::RedisCommand, size, (begins, ends), sink);
        self.line_end = true;
        Step::Consumed(used)
    }

    fn inline(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let Some(end) = input
            .iter()
            .take(INLINE_MAX)
            .position(|&byte| byte == b'\n')
        else {
            return if input.len() < INLINE_MAX {
                Step::Incomplete
            } else {
                Step::Violation("redis: line too long")
            };
        };
        let line = input.get(..end).unwrap_or_default();
        let words = line
            .split(|byte| byte.is_ascii_whitespace())
            .filter(|word| !word.is_empty())
            .take(WORDS);
        let command = Command {
            words: words.collect(),
        };
        // The server would take quotes and escapes off a command's name; no honest client uses them.
        let honest = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
        if command
            .words
            .first()
            .is_some_and(|word| word.len() > COMMAND_MAX || !word.iter().all(honest))
        {
            return Step::Violation("redis: no command");
        }
        if !command.words.is_empty() {
            self.tell(&command, sink);
            if !command.is_secret() {
                content::whole(Buffer::RedisCommand, line.trim_ascii(), sink);
            }
        }
        Step::Consumed(end + 1)
    }

    fn tell(&mut self, command: &Command<'_>, sink: &mut dyn EventSink) {
        let name: ArrayVec<u8, COMMAND_MAX> = command
            .word(0)
            .iter()
            .take(COMMAND_MAX)
            .map(u8::to_ascii_uppercase)
            .collect();
        self.replicating |= matches!(name.as_slice(), b"SYNC" | b"PSYNC" | b"MONITOR");
        let mut protocol: &[u8] = &[];
        match name.as_slice() {
            b"AUTH" if command.words.len() > 2 => self.log_in(command.word(1)),
            b"AUTH" => self.log_in(b"default"),
            b"HELLO" => {
                protocol = command.word(1);
                if command.word(2).eq_ignore_ascii_case(b"AUTH") {
                    self.log_in(command.word(3));
                }
            }
            _ => {}
        }
        let key = if command.is_secret() {
            &[][..]
        } else {
            command.word(1)
        };
        let fields = [
            Field::bytes(COMMAND, &name),
            Field::bytes(KEY, key.get(..KEY_MAX).unwrap_or(key)),
            Field::bytes(USER, &self.user),
            Field::bytes(PROTOCOL, protocol),
        ];
        let count = if protocol.is_empty() { 3 } else { 4 };
        sink.event(&Event {
            kind: EventKind::Request,
            fields: fields.get(..count).unwrap_or_default(),
        });
    }

    fn log_in(&mut self, user: &[u8]) {
        self.user.clear();
        // A name that does not fit is left empty: half a name could be somebody else's.
        if user.len() <= self.user.capacity() {
            self.user.extend(user.iter().copied());
        }
    }

    fn server(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if self.replicating {
            return Step::Done;
        }
        match input.first() {
            Some(b'$' | b'=' | b'!') => {
                match length(input, input.first().copied().unwrap_or_default()) {
                    // RESP2's nil.
                    Length::Read { number: -1, used } => Step::Consumed(used),
                    Length::Read { number, used } if (0..BULK_MAX as i64).contains(&number) => {
                        bulk_reply(input, number.unsigned_abs(), used, sink)
                    }
                    Length::Partial => Step::Incomplete,
                    _ => Step::Done,
                }
            }
            // Aggregates: their members follow and are read like replies of their own.
            Some(
                b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' | b'*' | b'%' | b'~' | b'>' | b'|',
            ) => {
                let Some(end) = input.iter().take(LINE_MAX).position(|&byte| byte == b'\n') else {
                    return if input.len() < LINE_MAX {
                        Step::Incomplete
                    } else {
                        Step::Done
                    };
                };
                if let Some((b'-', line)) = input.get(..end).and_then(|line| line.split_first()) {
                    error(line.strip_suffix(b"\r").unwrap_or(line), sink);
                }
                Step::Consumed(end + 1)
            }
            // Picked up within a reply, or none at all: only errors are lost.
            _ => Step::Done,
        }
    }
}

fn bulk_reply(input: &[u8], size: u64, used: usize, sink: &mut dyn EventSink) -> Step {
    if input.first() == Some(&b'!') {
        let kept = usize::try_from(size).unwrap_or(LINE_MAX).min(LINE_MAX);
        let Some(message) = input.get(used..used + kept) else {
            return Step::Incomplete;
        };
        error(message, sink);
    }
    Step::Skip(used as u64 + size + 2)
}

impl Command<'_> {
    fn word(&self, place: usize) -> &[u8] {
        self.words.get(place).copied().unwrap_or_default()
    }

    /// A password is nobody's business.
    fn is_secret(&self) -> bool {
        let name = self.word(0);
        name.eq_ignore_ascii_case(b"AUTH") || name.eq_ignore_ascii_case(b"HELLO")
    }

    /// Two words say all of most commands; a login needs the user's name.
    fn wants_more(&self) -> bool {
        self.words.len() < if self.is_secret() { 4 } else { 2 }
    }
}

fn error(message: &[u8], sink: &mut dyn EventSink) {
    sink.event(&Event {
        kind: EventKind::Response,
        fields: &[Field::bytes(ERROR, message)],
    });
}

/// Reads `<mark><number>\r\n`.
fn length(input: &[u8], mark: u8) -> Length {
    let Some((&first, rest)) = input.split_first() else {
        return Length::Partial;
    };
    if first != mark {
        return Length::Bad;
    }
    let head = rest.get(..LENGTH_LINE_MAX).unwrap_or(rest);
    let end = head.iter().position(|&byte| byte == b'\r');
    let digits = head.get(..end.unwrap_or(head.len())).unwrap_or_default();
    if !digits
        .iter()
        .all(|&byte| byte.is_ascii_digit() || byte == b'-')
    {
        return Length::Bad;
    }
    let Some(end) = end else {
        return if rest.len() < LENGTH_LINE_MAX {
            Length::Partial
        } else {
            Length::Bad
        };
    };
    match rest.get(end + 1) {
        Some(b'\n') => {}
        Some(_) => return Length::Bad,
        None => return Length::Partial,
    }
    let number = std::str::from_utf8(digits)
        .ok()
        .and_then(|text| text.parse().ok());
    number.map_or(Length::Bad, |number| Length::Read {
        number,
        used: end + 3,
    })
}

#[cfg(test)]
mod tests;
