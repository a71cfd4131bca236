//! NFS and what it needs: ONC RPC (RFC 5531) with the programs portmap/rpcbind (RFC 1833), mount
//! and NFS 2 and 3 (RFC 1094, RFC 1813), NFS 4 (RFC 7530, RFC 8881, RFC 7862), lock manager,
//! status monitor, access lists and quotas.
//!
//! Trusts nothing. A call is known by its version, program, procedure and credentials, all of them
//! closed lists; an answer alone needs the port. File contents are skipped by the record's length.
//! Violations: records that are no RPC. Memory: the last calls, to tell what an answer answers.

mod compound;
mod message;
mod programs;

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::read::cursor::Cursor;
use crate::{
    Application, Blocks, Event, EventKind, EventSink, Field, FieldSpec, Probe, ProbeInput, Step,
    Transport,
};
use compound::Walk;
use message::{Call, Kind};
use programs::{NFS, Program};

/// How much of a record is looked at; the data of a write begins within.
const RECORD_MAX: usize = 2_048;
/// Longest record: the largest transfer, and room for its head.
const RECORD_LENGTH_MAX: u32 = 16 << 20;
/// "This is the last fragment" (RFC 5531, 11).
const LAST: u32 = 1 << 31;
/// Calls that wait for their answers.
const WAITING: usize = 12;
const NFS_NAME: &str = "nfs";
const PORTS: [u16; 3] = [2_049, 111, 20_048];

const PROGRAM: u8 = 0;
const VERSION: u8 = 1;
const PROCEDURE: u8 = 2;
const PATH: u8 = 3;
const MACHINE: u8 = 4;
const UID: u8 = 5;
const STATUS: u8 = 6;

/// The parser.
#[derive(Default)]
pub struct Nfs {
    datagrams: bool,
    sides: [Side; 2],
    waiting: ArrayVec<Waiting, WAITING>,
}

#[derive(Default)]
struct Side {
    /// The fragment to come goes on with a record that was looked at.
    continues: bool,
    /// Begun in the middle, perhaps within a record.
    picked_up: bool,
    /// Bytes and operations of a compound behind a file's contents.
    tail: Option<(u32, u32)>,
}

/// A call that was not answered yet.
#[derive(Clone, Copy)]
struct Waiting {
    id: u32,
    /// Who called: over version 4's back channel the server does.
    from: Direction,
    program: &'static Program,
    version: u32,
    procedure: u32,
}

impl Application for Nfs {
    const NAME: &'static str = "nfs";
    const ABOUT: &'static str = "Network File System 2, 3 and 4 with mount, portmap and lock manager, over ONC RPC (RFC 1813, RFC 7530, RFC 8881, RFC 5531)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp, Transport::Udp];
    const PORTS: &'static [u16] = &PORTS;
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "program",
            "nfs, mount, portmap, nlm, status, acl, rquota or callback (RFC 5531, 8)",
        ),
        FieldSpec::number("version", "The program's version (RFC 5531, 9)"),
        FieldSpec::condition(
            "procedure",
            "Procedure; of version 4 each operation of a compound (RFC 1813, 3; RFC 8881, 18)",
        ),
        FieldSpec::condition(
            "path",
            "Path to mount, or name of a file within a directory (RFC 1813, 3)",
        ),
        FieldSpec::text(
            "machine",
            "The caller's name of itself (RFC 5531, appendix A)",
        ),
        FieldSpec::number("uid", "The caller's user id (RFC 5531, appendix A)"),
        FieldSpec::text("status", "ok, or the error (RFC 1813, 2.6; RFC 8881, 15)"),
    ];

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let stream = input.transport == Transport::Tcp;
        let client = message::look(input.to_server, stream);
        let server = message::look(input.to_client, stream);
        let port = PORTS.contains(&input.server_port);
        match (client, server) {
            (Kind::Call, Kind::Nothing | Kind::Part | Kind::Answer) => Probe::Certain,
            // Picked up, a side may begin within a record; the server may call back.
            (Kind::Call, _) if stream && !input.from_start => Probe::Certain,
            (Kind::Other, Kind::Answer) if stream && !input.from_start && port => Probe::Certain,
            // Answers say little: on these ports nobody else's look alike.
            (Kind::Nothing, Kind::Answer) if port => Probe::Certain,
            (Kind::Nothing, Kind::Nothing | Kind::Answer) => Probe::Unsure,
            (Kind::Nothing | Kind::Part, Kind::Nothing | Kind::Part | Kind::Answer) if stream => {
                Probe::Unsure
            }
            _ => Probe::NotMine,
        }
    }

    fn open(transport: Transport, _blocks: &mut Blocks) -> Self {
        Self {
            datagrams: transport != Transport::Tcp,
            ..Self::default()
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if self.datagrams {
            return match self.message(direction, input, sink) {
                Some(_) => Step::Consumed(input.len()),
                None => Step::Violation("nfs: no remote procedure call"),
            };
        }
        self.record(direction, input, sink)
            .unwrap_or(Step::Incomplete)
    }

    fn gap(&mut self, _direction: Direction, _length: u64) -> bool {
        // Within a conversation the next record's beginning would be a guess.
        let whole = |side: &Side| !side.continues && side.tail.is_none();
        let fresh = self.waiting.is_empty() && self.sides.iter().all(whole);
        for side in &mut self.sides {
            side.picked_up = true;
        }
        fresh
    }
}

impl Nfs {
    /// The operations behind a file's contents. None: too few bytes.
    fn tail(
        &mut self,
        direction: Direction,
        input: &[u8],
        (length, operations): (u32, u32),
        sink: &mut dyn EventSink,
    ) -> Option<Step> {
        let wanted = usize::try_from(length).ok()?.min(RECORD_MAX);
        let bytes = input.get(..wanted)?;
        let walked = compound::walk(Cursor::new(bytes), operations, &mut |operation, path| {
            tell(NFS_NAME, 4, None, operation, path, sink);
        });
        Some(Step::Skip(self.behind(direction, walked, wanted, length)))
    }

    /// How many bytes of a record are passed over; remembers what is left to walk.
    fn behind(&mut self, direction: Direction, walked: Walk, seen: usize, length: u32) -> u64 {
        let hidden = match walked {
            Walk::Within { hidden, left } => Some((hidden, left)),
            Walk::Over => None,
        };
        let rest = hidden.and_then(|(hidden, left)| {
            let passed = u32::try_from(seen.checked_add(hidden)?).ok()?;
            let rest = length.checked_sub(passed).filter(|rest| *rest > 0)?;
            Some((passed, (rest, left)))
        });
        if let Some(side) = self.sides.get_mut(direction as usize) {
            side.tail = rest.map(|(_, tail)| tail);
        }
        rest.map_or(length, |(passed, _)| passed).into()
    }

    /// None: too few bytes.
    fn record(
        &mut self,
        direction: Direction,
        input: &[u8],
        sink: &mut dyn EventSink,
    ) -> Option<Step> {
        let side = self.sides.get_mut(direction as usize)?;
        if let Some(tail) = side.tail {
            return self.tail(direction, input, tail, sink);
        }
        let mark = Cursor::new(input).u32()?;
        let length = mark & !LAST;
        let (continued, picked_up) = (side.continues, side.picked_up);
        let stray = match picked_up {
            true => Step::Done,
            false => Step::Violation("nfs: no remote procedure call"),
        };
        if length > RECORD_LENGTH_MAX {
            return Some(stray);
        }
        side.continues = mark & LAST == 0;
        let whole = mark & LAST != 0 && !continued;
        let mut passed = u64::from(length);
        if !continued {
            let wanted = usize::try_from(length).ok()?.min(RECORD_MAX);
            let Some(message) = input.get(4..).and_then(|rest| rest.get(..wanted)) else {
                side.continues = continued;
                return None;
            };
            side.picked_up = false;
            match self.message(direction, message, sink) {
                None => return Some(stray),
                Some(walked) if whole => passed = self.behind(direction, walked, wanted, length),
                Some(Walk::Within { .. }) => tell(NFS_NAME, 4, None, "other", &[], sink),
                Some(Walk::Over) => {}
            }
        }
        Some(Step::Skip(4 + passed))
    }

    /// Reads a message or as much of it as there is. None: it is none.
    fn message(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        sink: &mut dyn EventSink,
    ) -> Option<Walk> {
        match message::kind(bytes) {
            Kind::Call => {
                let call = message::call(bytes)?;
                return Some(self.called(direction, &call, sink));
            }
            Kind::Answer => self.answered(direction, bytes, sink),
            // Another program than those that are known, on the same connection.
            _ if matches!(bytes, [_, _, _, _, 0, 0, 0, 0, 0, 0, 0, 2, ..]) => {}
            _ => return None,
        }
        Some(Walk::Over)
    }

    fn called(&mut self, direction: Direction, call: &Call<'_>, sink: &mut dyn EventSink) -> Walk {
        if self.waiting.is_full() {
            self.waiting.remove(0);
        }
        self.waiting.push(Waiting {
            id: call.id,
            from: direction,
            program: call.program,
            version: call.version,
            procedure: call.procedure,
        });
        let mut tell = |procedure: &'static str, path: &[u8]| {
            tell(
                call.program.name,
                call.version,
                call.caller,
                procedure,
                path,
                sink,
            );
        };
        if call.program.number == NFS && call.version == 4 && call.procedure == 1 {
            return compound::begin(call.arguments, &mut tell);
        }
        let procedure = call.program.procedure(call.version, call.procedure);
        let [first, second] = call.paths();
        tell(procedure, first.unwrap_or_default());
        if let Some(second) = second {
            tell(procedure, second);
        }
        Walk::Over
    }

    fn answered(&mut self, direction: Direction, bytes: &[u8], sink: &mut dyn EventSink) {
        let id = Cursor::new(bytes).u32();
        let asked = |call: &Waiting| Some(call.id) == id && call.from != direction;
        let Some(place) = self.waiting.iter().position(asked) else {
            return;
        };
        let call = self.waiting.remove(place);
        let status = message::status(bytes, call.program, call.version, call.procedure);
        // A mount is a login of sorts; of anything else only errors are news.
        let news = status != "ok" || call.program.name == "mount" && call.procedure == 1;
        if !news {
            return;
        }
        let fields = [
            Field::name(PROGRAM, call.program.name),
            Field::number(VERSION, call.version.into()),
            Field::name(
                PROCEDURE,
                call.program.procedure(call.version, call.procedure),
            ),
            Field::name(STATUS, status),
        ];
        sink.event(&Event {
            kind: EventKind::Response,
            fields: &fields,
        });
    }
}

fn tell(
    program: &'static str,
    version: u32,
    caller: Option<(&[u8], u32)>,
    procedure: &'static str,
    path: &[u8],
    sink: &mut dyn EventSink,
) {
    let mut fields: ArrayVec<Field<'_>, 6> = ArrayVec::new();
    fields.push(Field::name(PROGRAM, program));
    fields.push(Field::number(VERSION, version.into()));
    fields.push(Field::name(PROCEDURE, procedure));
    fields.push(Field::bytes(PATH, path));
    if let Some((machine, uid)) = caller {
        fields.push(Field::bytes(MACHINE, machine));
        fields.push(Field::number(UID, uid.into()));
    }
    sink.event(&Event {
        kind: EventKind::Request,
        fields: &fields,
    });
}
