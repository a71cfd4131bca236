//! SMB 1, 2 and 3: who logs in, which shares and files are asked for (MS-CIFS, MS-SMB, MS-SMB2),
//! directly over TCP, in NetBIOS sessions and in NetBIOS datagrams (RFC 1001, RFC 1002).
//!
//! Trusts nothing. Every message has a length and a header that is checked; contents of files are
//! skipped; of versions 2 and 3 they are handed on where somebody looks into files. Operations on open files are not told: what may be done with a file is asked for when
//! it is opened. Shares are known by numbers that the session gave them, so the parser gives up
//! after a gap. Violations: frames and messages that are none. Memory: a user's name, four shares.

mod datagram;
mod names;
mod version1;
mod version2;

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::read::content::{self, Run};
use crate::read::ntlmssp;
use crate::{
    Application, Blocks, Buffer, BufferSet, ByteSet, Event, EventKind, EventSink, Field, FieldSpec,
    Openings, Probe, ProbeInput, Seen, Step, Transport, violation,
};

/// NetBIOS session header (RFC 1002, 4.3.1; MS-SMB2, 2.1).
const FRAME: usize = 4;
/// How much of a message that names something is looked at.
const MESSAGE_MAX: usize = 4_096;
/// Header of an encrypted message.
const TRANSFORM: usize = 52;
/// Header of a compressed message.
const COMPRESSED: usize = 16;
/// More than any message holds that is not compressed: the largest read or write is 8 MiB.
const PLAIN_MAX: u32 = 16 << 20;
/// Shares known by their numbers.
const SHARES_MAX: usize = 4;
/// Called and calling name without scopes (RFC 1002, 4.3.2).
const SESSION_REQUEST: u8 = 68;

const DIALECT: u8 = 0;
const COMMAND: u8 = 1;
const SHARE: u8 = 2;
const FILE: u8 = 3;
const ACCESS: u8 = 4;
const USER: u8 = 5;
const DOMAIN: u8 = 6;
const HOST: u8 = 7;
const STATUS: u8 = 8;
const NOTE: u8 = 9;

/// A path or name as UTF-8; one that does not fit is left empty: half a name could be another's.
type Path = ArrayVec<u8, 512>;
type ShareName = ArrayVec<u8, 48>;

/// The parser.
#[derive(Default)]
pub struct Smb {
    datagrams: bool,
    sides: [Side; 2],
    user: ArrayVec<u8, 64>,
    /// The session that is the user's: a connection may carry several.
    session: u64,
    /// The session of the message at hand.
    current: u64,
    shares: ArrayVec<Share, SHARES_MAX>,
    /// That the client hides what it does was told.
    hidden: bool,
}

#[derive(Default)]
struct Side {
    /// Bytes of the frame at hand that are still to come.
    left: u32,
    /// Tree of the message before within the frame: related operations go on with it.
    tree: u32,
    /// What is read or written, where somebody looks into files.
    file: Run,
    /// What stands behind it in its message.
    behind: u32,
}

/// A share that was asked for, and its number once the server gave it one.
struct Share {
    name: ShareName,
    message: u64,
    tree: Option<u32>,
}

/// What a request asks for.
#[derive(Default)]
struct Request<'a> {
    command: &'static str,
    share: &'a [u8],
    file: &'a [u8],
    access: &'static str,
    login: Option<&'a ntlmssp::Login>,
    note: &'static str,
}

impl Application for Smb {
    const NAME: &'static str = "smb";
    const ABOUT: &'static str =
        "Server Message Block 1, 2 and 3, Windows file sharing (MS-CIFS, MS-SMB, MS-SMB2)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp, Transport::Udp];
    const PORTS: &'static [u16] = &[445, 139, 138];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::text(
            "dialect",
            "Dialect that the server chose: NT LM 0.12, 2.1, 3.1.1 … (MS-SMB2, 2.2.4)",
        ),
        FieldSpec::condition(
            "command",
            "What is asked for: session_setup, tree_connect, create, rename …; encrypted where nothing more can be read (MS-SMB2, 2.2.1)",
        ),
        FieldSpec::condition("share", "Share without its server (MS-SMB2, 2.2.9)"),
        FieldSpec::condition(
            "file",
            "Path within the share, at most 512 bytes (MS-SMB2, 2.2.13)",
        ),
        FieldSpec::condition(
            "access",
            "read or write, where a file is asked for (MS-SMB2, 2.2.13.1)",
        ),
        FieldSpec::condition("user", "User who logs in by NTLM (MS-NLMP, 2.2.1.3)"),
        FieldSpec::text("domain", "The user's domain (MS-NLMP, 2.2.1.3)"),
        FieldSpec::text("host", "The client's name of itself (MS-NLMP, 2.2.1.3)"),
        FieldSpec::text("status", "ok, or the error (MS-ERREF, 2.3)"),
        FieldSpec::text(
            "note",
            "compression only: the client negotiates that and no encryption (MS-SMB2, 2.2.3.1)",
        ),
    ];
    const CONTENTS: BufferSet = BufferSet::EMPTY
        .with(Buffer::SmbNamedPipe)
        .with(Buffer::SmbShare)
        .with(Buffer::SmbNtlmUser)
        .with(Buffer::SmbNtlmDomain)
        .with(Buffer::FileName)
        .with(Buffer::FileData);
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[0, 0x10, 0x11, 0x12, 0x81, 0x85]),
        to_client: ByteSet::of(&[0, 0x10, 0x11, 0x12, 0x82, 0x83, 0x84, 0x85]),
    };
    const SEEN: Seen = Seen::Live;

    fn probe(input: &ProbeInput<'_>) -> Probe {
        if input.transport != Transport::Tcp {
            return datagram::probe(input);
        }
        let client = probe_frame(input.to_server, true);
        let server = probe_frame(input.to_client, false);
        match (client, server) {
            // Picked up, a side may begin within a message.
            (Probe::Certain, Probe::NotMine) | (Probe::NotMine, Probe::Certain)
                if !input.from_start =>
            {
                Probe::Certain
            }
            (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
            (Probe::Certain, _) | (_, Probe::Certain) => Probe::Certain,
            _ => Probe::Unsure,
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
            return match datagram::tell(input, sink) {
                Some(()) => Step::Consumed(input.len()),
                None => Step::Violation("smb: datagram without a message"),
            };
        }
        let Some(side) = self.sides.get_mut(direction as usize) else {
            return Step::Done;
        };
        if side.file.goes_on() {
            return side.file.hand_on(Buffer::FileData, input, sink);
        }
        if side.behind > 0 {
            return Step::Skip(std::mem::take(&mut side.behind).into());
        }
        let left = side.left;
        if left == 0 {
            return self.frame(direction, input);
        }
        self.message(direction, input, left, sink)
            .unwrap_or(Step::Incomplete)
    }

    fn gap(&mut self, direction: Direction, length: u64) -> bool {
        let side = self.sides.get_mut(direction as usize);
        side.is_some_and(|side| side.file.covers(length))
    }
}

impl Smb {
    fn frame(&mut self, direction: Direction, input: &[u8]) -> Step {
        let Some(&[kind, a, b, c]) = input.first_chunk::<FRAME>() else {
            return Step::Incomplete;
        };
        let length = u32::from_be_bytes([0, a, b, c]);
        match kind {
            0 => {
                if let Some(side) = self.sides.get_mut(direction as usize) {
                    side.left = length;
                }
                Step::Consumed(FRAME)
            }
            // The NetBIOS session's own: request, answers, keepalive.
            0x81..=0x85 => Step::Skip(FRAME as u64 + u64::from(length)),
            _ => Step::Violation("smb: no frame"),
        }
    }

    /// Reads one message of a frame. None: too few bytes.
    fn message(
        &mut self,
        direction: Direction,
        input: &[u8],
        left: u32,
        sink: &mut dyn EventSink,
    ) -> Option<Step> {
        let whole = usize::try_from(left).ok()?;
        let mark = input.get(..whole.min(4))?;
        let used = match mark {
            b"\xffSMB" => self.version1(direction, input, whole, sink)?,
            b"\xfeSMB" => self.version2(direction, input, whole, sink)?,
            b"\xfcSMB" if compressed(input.get(..whole.min(COMPRESSED))?, whole) => {
                return Some(Step::Violation(violation::SMB_COMPRESSED));
            }
            b"\xfdSMB" | b"\xfcSMB" => {
                if direction == Direction::ToServer && !self.hidden {
                    // The transform's session (MS-SMB2, 2.2.41).
                    if let Some(session) = input.get(..whole.min(TRANSFORM))?.get(44..)
                        && let Some(session) = session.first_chunk()
                    {
                        self.current = u64::from_le_bytes(*session);
                    }
                    self.hidden = true;
                    let command = match mark.first() {
                        Some(0xfd) => "encrypted",
                        _ => "compressed",
                    };
                    self.ask(
                        &Request {
                            command,
                            ..Request::default()
                        },
                        sink,
                    );
                }
                Some(whole)
            }
            _ => None,
        };
        let Some(used) = used.filter(|used| (1..=whole).contains(used)) else {
            return Some(Step::Violation("smb: no message"));
        };
        let side = self.sides.get_mut(direction as usize)?;
        side.left = left.saturating_sub(u32::try_from(used).unwrap_or(u32::MAX));
        let data = match mark {
            b"\xfeSMB" => self.data2(direction, input, used, sink),
            _ => None,
        };
        let (Some(data), Some(side)) = (data, self.sides.get_mut(direction as usize)) else {
            return Some(Step::Skip(used as u64));
        };
        let length = data.len() as u64;
        side.file = Run::new(Buffer::FileData, length, (true, true), sink);
        side.behind = u32::try_from(used - data.end).unwrap_or(u32::MAX);
        Some(Step::Consumed(data.start))
    }

    /// Remembers that a share was asked for; the oldest goes when there are too many.
    fn connect(&mut self, message: u64, path: &[u8]) {
        if self.shares.is_full() {
            self.shares.remove(0);
        }
        let share = share_of(path);
        let mut name = ShareName::new();
        let _ = name.try_extend_from_slice(share);
        self.shares.push(Share {
            name,
            message,
            tree: None,
        });
    }

    /// The server's answer to the wish for a share.
    fn connected(&mut self, message: u64, tree: u32, status: u32, sink: &mut dyn EventSink) {
        let asked = |share: &Share| share.message == message && share.tree.is_none();
        let place = self.shares.iter().position(asked);
        let mut name = ShareName::new();
        if let Some(share) = place.and_then(|place| self.shares.get_mut(place)) {
            name = share.name.clone();
            share.tree = Some(tree);
        }
        if let (Some(place), true) = (place, status != 0) {
            self.shares.remove(place);
        }
        let fields = [
            Field::name(COMMAND, "tree_connect"),
            Field::bytes(SHARE, &name),
            Field::name(STATUS, names::status(status)),
        ];
        tell(EventKind::Response, &fields, !name.is_empty(), sink);
    }

    fn share(&self, tree: u32) -> ShareName {
        let known = self.shares.iter().find(|share| share.tree == Some(tree));
        known.map(|share| share.name.clone()).unwrap_or_default()
    }

    fn log_in(&mut self, login: &ntlmssp::Login) {
        self.user = login.user.clone();
        self.session = self.current;
    }

    fn log_out(&mut self) {
        if self.session == self.current {
            self.user.clear();
        }
    }

    /// The server's answer to a login, in this session: version 1 numbers it only now.
    fn logged_in(&mut self, session: u64, status: u32, sink: &mut dyn EventSink) {
        if status == names::MORE_PROCESSING {
            return;
        }
        let ours = !self.user.is_empty() && (self.session == session || self.session == 0);
        let fields = [
            Field::name(COMMAND, "session_setup"),
            Field::bytes(USER, &self.user),
            Field::name(STATUS, names::status(status)),
        ];
        tell(EventKind::Response, &fields, ours, sink);
        if ours && status == 0 {
            self.session = session;
        } else if ours {
            self.user.clear();
        }
    }

    fn ask(&self, request: &Request<'_>, sink: &mut dyn EventSink) {
        let mut fields: ArrayVec<Field<'_>, 8> = ArrayVec::new();
        fields.push(Field::name(COMMAND, request.command));
        fields.push(Field::bytes(SHARE, request.share));
        fields.push(Field::bytes(FILE, request.file));
        fields.push(Field::name(ACCESS, request.access));
        let user = match self.session == self.current {
            true => self.user.as_slice(),
            false => &[],
        };
        fields.push(Field::bytes(USER, user));
        if let Some(login) = request.login {
            fields.push(Field::bytes(DOMAIN, &login.domain));
            fields.push(Field::bytes(HOST, &login.workstation));
        }
        if !request.note.is_empty() {
            fields.push(Field::name(NOTE, request.note));
        }
        sink.event(&Event {
            kind: EventKind::Request,
            fields: &fields,
        });
        let file = match is_pipes(request.share) {
            true => Buffer::SmbNamedPipe,
            false => Buffer::FileName,
        };
        let share = match request.command {
            "tree_connect" => request.share,
            _ => b"",
        };
        let (user, domain) = request
            .login
            .map_or((&b""[..], &b""[..]), |login| (&login.user, &login.domain));
        for (buffer, text) in [
            (file, request.file),
            (Buffer::SmbShare, share),
            (Buffer::SmbNtlmUser, user),
            (Buffer::SmbNtlmDomain, domain),
        ] {
            if !text.is_empty() {
                content::whole(buffer, text, sink);
            }
        }
    }
}

/// Whether the sizes of a compressed message cannot be (MS-SMB2, 2.2.42; CVE-2020-0796).
fn compressed(header: &[u8], whole: usize) -> bool {
    const CHAINED: u16 = 1;
    let (Some(plain), Some(flags), Some(offset)) = (
        number32(header, 4),
        number16(header, 10),
        number32(header, 12),
    ) else {
        return true;
    };
    let beyond = usize::try_from(offset).is_ok_and(|offset| offset > whole - COMPRESSED);
    // The last number of a chain's first part is that part's length.
    plain > PLAIN_MAX || plain.checked_add(offset).is_none() || beyond && flags & CHAINED == 0
}

/// The share of named pipes, which are no files.
fn is_pipes(share: &[u8]) -> bool {
    share.eq_ignore_ascii_case(b"IPC$")
}

/// The share of "\\server\share".
fn share_of(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| matches!(byte, b'\\' | b'/'))
        .find(|part| !part.is_empty())
        .unwrap_or_default()
}

/// Tells without the field in the middle where that is not known.
fn tell(kind: EventKind, fields: &[Field<'_>; 3], known: bool, sink: &mut dyn EventSink) {
    let [first, second, third] = *fields;
    let all = [first, second, third];
    let some = [first, third];
    sink.event(&Event {
        kind,
        fields: if known { &all } else { &some },
    });
}

fn tell_error(command: &'static str, status: u32, sink: &mut dyn EventSink) {
    if status != 0 && status != names::PENDING {
        sink.event(&Event {
            kind: EventKind::Response,
            fields: &[
                Field::name(COMMAND, command),
                Field::name(STATUS, names::status(status)),
            ],
        });
    }
}

fn tell_dialect(dialect: &'static str, sink: &mut dyn EventSink) {
    sink.event(&Event {
        kind: EventKind::Session,
        fields: &[Field::name(DIALECT, dialect)],
    });
}

fn number16(message: &[u8], at: usize) -> Option<u16> {
    let bytes = message.get(at..)?.first_chunk()?;
    Some(u16::from_le_bytes(*bytes))
}

fn number32(message: &[u8], at: usize) -> Option<u32> {
    let bytes = message.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

/// Judges the frames at the front of a stream.
fn probe_frame(mut input: &[u8], to_server: bool) -> Probe {
    // A connection may idle before anybody says anything.
    while let Some(rest) = input.strip_prefix(&[0x85, 0, 0, 0]) {
        input = rest;
    }
    match (input, to_server) {
        ([] | [0x85] | [0x85, 0] | [0x85, 0, 0], _) => Probe::Unsure,
        ([0x81, rest @ ..], true) => probe_session_request(rest),
        // Accepted, refused with a reason, retargeted (RFC 1002, 4.3.3 to 4.3.5).
        ([0x82, rest @ ..], false) => like(rest, &[0, 0, 0]),
        ([0x83, rest @ ..], false) => like(rest, &[0, 0, 1]),
        ([0x84, rest @ ..], false) => like(rest, &[0, 0, 6]),
        ([0, rest @ ..], _) => probe_message(rest),
        _ => Probe::NotMine,
    }
}

/// Unsure while it begins alike: what answers a session request says nothing more.
fn like(input: &[u8], wanted: &[u8]) -> Probe {
    match input
        .iter()
        .zip(wanted)
        .all(|(byte, wanted)| byte == wanted)
    {
        true => Probe::Unsure,
        false => Probe::NotMine,
    }
}

/// A length of three bytes, then the message.
fn probe_message(rest: &[u8]) -> Probe {
    let Some((length, message)) = rest.split_first_chunk::<3>() else {
        return Probe::Unsure;
    };
    let [a, b, c] = *length;
    let length = u32::from_be_bytes([0, a, b, c]);
    let alike = message
        .iter()
        .take(4)
        .enumerate()
        .all(|(at, &byte)| match at {
            0 => matches!(byte, 0xfc..=0xff),
            _ => b"?SMB".get(at) == Some(&byte),
        });
    if !alike || length < 32 {
        return Probe::NotMine;
    }
    match message {
        // The header's size, as large as it has always been.
        [0xfe, _, _, _, 64, 0, ..] if length >= 64 => Probe::Certain,
        [0xfe, _, _, _, 64] | [0xfe, _, _, _] => Probe::Unsure,
        [0xff, _, _, _, ..] if length >= 33 => Probe::Certain,
        [0xfc | 0xfd, _, _, _, ..] => Probe::Certain,
        _ if message.len() < 4 => Probe::Unsure,
        _ => Probe::NotMine,
    }
}

/// Two names in NetBIOS' half-bytes.
fn probe_session_request(rest: &[u8]) -> Probe {
    let fits = rest
        .iter()
        .take(3 + 33)
        .enumerate()
        .all(|(at, byte)| match at {
            0 | 1 => *byte == 0,
            2 => *byte >= SESSION_REQUEST,
            3 => *byte == 32,
            _ => matches!(byte, b'A'..=b'P'),
        });
    match fits {
        false => Probe::NotMine,
        true if rest.len() >= 3 + usize::from(SESSION_REQUEST) => Probe::Certain,
        true => Probe::Unsure,
    }
}
