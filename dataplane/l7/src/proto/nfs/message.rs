//! Calls and answers of ONC RPC (RFC 5531, 9), and the paths that calls of version 2 and 3 name.

use super::programs::{MOUNT, NFS, Program};
use super::{LAST, RECORD_LENGTH_MAX};
use crate::read::cursor::Cursor;

/// Longest credentials and verifiers (RFC 5531, 8.2).
const OPAQUE_MAX: u32 = 400;
/// Longest file handle (RFC 8881, 3.1).
const HANDLE_MAX: u32 = 128;
/// Longer names are nobody's: no file system has them.
const NAME_MAX: u32 = 255;
/// MNTPATHLEN (RFC 1813, 5.1.1).
const PATH_MAX: u32 = 1_024;
/// Version 2's handles (RFC 1094, 2.3.3).
const HANDLE_2: usize = 32;

/// What bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// There are none.
    Nothing,
    /// Too few to tell.
    Part,
    /// A call of a program that is known.
    Call,
    Answer,
    Other,
}

/// A call's header, and what follows it.
pub(super) struct Call<'a> {
    pub(super) id: u32,
    pub(super) program: &'static Program,
    pub(super) version: u32,
    pub(super) procedure: u32,
    /// Machine and user, where the caller tells.
    pub(super) caller: Option<(&'a [u8], u32)>,
    pub(super) arguments: Cursor<'a>,
}

/// Judges the front of a stream, or a datagram.
pub(super) fn look(input: &[u8], stream: bool) -> Kind {
    if input.is_empty() {
        return Kind::Nothing;
    }
    if !stream {
        return match kind(input) {
            Kind::Part => Kind::Other,
            kind => kind,
        };
    }
    let Some((mark, message)) = input.split_first_chunk::<4>() else {
        // The longest record there is.
        return match input {
            [0 | 1 | 0x80 | 0x81, ..] => Kind::Part,
            _ => Kind::Other,
        };
    };
    let mark = u32::from_be_bytes(*mark);
    let length = mark & !LAST;
    if !(24..=RECORD_LENGTH_MAX).contains(&length) {
        return Kind::Other;
    }
    let whole = usize::try_from(length).unwrap_or(usize::MAX);
    match kind(message.get(..whole).unwrap_or(message)) {
        // A record that ends within its header.
        Kind::Part | Kind::Nothing if message.len() >= whole => Kind::Other,
        Kind::Nothing => Kind::Part,
        // Only a call that carries much comes in several fragments.
        Kind::Answer if mark & LAST == 0 && length < 64 => Kind::Other,
        kind => kind,
    }
}

/// Judges a message, or the part of one that is there.
pub(super) fn kind(message: &[u8]) -> Kind {
    if message.is_empty() {
        return Kind::Nothing;
    }
    let answer = match message.get(4..8) {
        Some([0, 0, 0, 0]) => false,
        Some([0, 0, 0, 1]) => true,
        Some(_) => return Kind::Other,
        None => return Kind::Part,
    };
    match answer {
        false => call_kind(message),
        true => answer_kind(message),
    }
    .unwrap_or(Kind::Part)
}

fn call_kind(message: &[u8]) -> Option<Kind> {
    let mut cursor = Cursor::new(message);
    cursor.take(8)?;
    if cursor.u32()? != 2 {
        return Some(Kind::Other);
    }
    let Some(program) = Program::find(cursor.u32()?) else {
        return Some(Kind::Other);
    };
    let (version, procedure) = (cursor.u32()?, cursor.u32()?);
    if !program.has(version, procedure) {
        return Some(Kind::Other);
    }
    for _ in 0..2 {
        // None, system, short, DH, Kerberos, GSS, TLS (RFC 9289).
        let flavour = cursor.u32()?;
        let length = cursor.u32()?;
        if !matches!(flavour, 0..=4 | 6 | 7) || length > OPAQUE_MAX || flavour == 0 && length > 0 {
            return Some(Kind::Other);
        }
        opaque_body(&mut cursor, length)?;
    }
    Some(Kind::Call)
}

fn answer_kind(message: &[u8]) -> Option<Kind> {
    let mut cursor = Cursor::new(message);
    cursor.take(8)?;
    let fits = match cursor.u32()? {
        // Accepted: verifier, then how.
        0 => {
            let (flavour, length) = (cursor.u32()?, cursor.u32()?);
            if !matches!(flavour, 0..=3 | 6 | 7) || length > OPAQUE_MAX {
                return Some(Kind::Other);
            }
            opaque_body(&mut cursor, length)?;
            cursor.u32()? <= 5
        }
        // Denied: versions, or why the credentials do not do.
        1 => match cursor.u32()? {
            0 => cursor.u32()? <= cursor.u32()?,
            1 => cursor.u32()? <= 14,
            _ => false,
        },
        _ => false,
    };
    Some(if fits { Kind::Answer } else { Kind::Other })
}

/// Bytes of this length, with their padding.
pub(super) fn opaque_body<'a>(cursor: &mut Cursor<'a>, length: u32) -> Option<&'a [u8]> {
    let length = usize::try_from(length).ok()?;
    let body = cursor.take(length)?;
    cursor.take(length.wrapping_neg() % 4)?;
    Some(body)
}

/// Bytes behind their length, at most so many (RFC 4506, 4.10).
pub(super) fn opaque<'a>(cursor: &mut Cursor<'a>, most: u32) -> Option<&'a [u8]> {
    let length = cursor.u32()?;
    if length > most {
        return None;
    }
    opaque_body(cursor, length)
}

/// A file's name.
pub(super) fn file_name<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    opaque(cursor, NAME_MAX)
}

/// A file handle of version 3 or 4.
pub(super) fn handle<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    opaque(cursor, HANDLE_MAX)
}

/// Reads a message that is one.
pub(super) fn call(message: &[u8]) -> Option<Call<'_>> {
    let mut cursor = Cursor::new(message);
    let id = cursor.u32()?;
    cursor.take(8)?;
    let program = Program::find(cursor.u32()?)?;
    let (version, procedure) = (cursor.u32()?, cursor.u32()?);
    let flavour = cursor.u32()?;
    let credentials = opaque(&mut cursor, OPAQUE_MAX)?;
    cursor.u32()?;
    opaque(&mut cursor, OPAQUE_MAX)?;
    Some(Call {
        id,
        program,
        version,
        procedure,
        caller: (flavour == 1).then(|| caller(credentials)).flatten(),
        arguments: cursor,
    })
}

/// RFC 5531, appendix A: stamp, machine, user, groups.
fn caller(credentials: &[u8]) -> Option<(&[u8], u32)> {
    let mut cursor = Cursor::new(credentials);
    cursor.u32()?;
    let machine = opaque(&mut cursor, NAME_MAX)?;
    Some((machine, cursor.u32()?))
}

impl<'a> Call<'a> {
    /// What a call of mount, or of NFS 2 or 3, names.
    pub(super) fn paths(&self) -> [Option<&'a [u8]>; 2] {
        let mut cursor = self.arguments;
        let name = self.program.procedure(self.version, self.procedure);
        match (self.program.number, name) {
            (MOUNT, "mnt" | "umnt") => [opaque(&mut cursor, PATH_MAX), None],
            (NFS, "lookup" | "create" | "remove" | "mkdir" | "rmdir" | "symlink" | "mknod") => {
                [self.entry(&mut cursor), None]
            }
            (NFS, "rename") => [self.entry(&mut cursor), self.entry(&mut cursor)],
            (NFS, "link") => {
                self.directory(&mut cursor);
                [self.entry(&mut cursor), None]
            }
            _ => [None, None],
        }
    }

    fn directory(&self, cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
        match self.version {
            2 => cursor.take(HANDLE_2),
            _ => handle(cursor),
        }
    }

    /// A directory, and a name in it.
    fn entry(&self, cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
        self.directory(cursor)?;
        file_name(cursor)
    }
}

/// What an answer to this call says.
pub(super) fn status(
    message: &[u8],
    program: &Program,
    version: u32,
    procedure: u32,
) -> &'static str {
    read_status(message, program, version, procedure).unwrap_or("other")
}

fn read_status(
    message: &[u8],
    program: &Program,
    version: u32,
    procedure: u32,
) -> Option<&'static str> {
    let mut cursor = Cursor::new(message);
    cursor.take(8)?;
    if cursor.u32()? == 1 {
        return Some(match cursor.u32()? {
            0 => "rpc-mismatch",
            _ => "auth-error",
        });
    }
    cursor.u32()?;
    opaque(&mut cursor, OPAQUE_MAX)?;
    match cursor.u32()? {
        0 => {}
        1 => return Some("program-unavailable"),
        2 => return Some("program-mismatch"),
        3 => return Some("procedure-unavailable"),
        4 => return Some("garbage-arguments"),
        _ => return Some("system-error"),
    }
    let named = match (program.number, program.procedure(version, procedure)) {
        (_, "null") => false,
        (NFS, "root" | "writecache") => false,
        (NFS, _) | (MOUNT, "mnt") => true,
        _ => false,
    };
    match named {
        true => Some(error(cursor.u32()?)),
        false => Some("ok"),
    }
}

/// RFC 1813, 2.6; RFC 7530, 13; RFC 8881, 15.
fn error(status: u32) -> &'static str {
    match status {
        0 => "ok",
        1 => "perm",
        2 => "noent",
        5 => "io",
        6 => "nxio",
        13 => "access",
        17 => "exist",
        18 => "xdev",
        19 => "nodev",
        20 => "notdir",
        21 => "isdir",
        22 => "inval",
        27 => "fbig",
        28 => "nospc",
        30 => "rofs",
        31 => "mlink",
        63 => "nametoolong",
        66 => "notempty",
        69 => "dquot",
        70 => "stale",
        71 => "remote",
        10_001 => "badhandle",
        10_002 => "not-sync",
        10_003 => "bad-cookie",
        10_004 => "notsupp",
        10_005 => "toosmall",
        10_006 => "serverfault",
        10_007 => "badtype",
        10_008 => "delay",
        10_010 => "denied",
        10_011 => "expired",
        10_012 => "locked",
        10_013 => "grace",
        10_016 => "wrongsec",
        10_020 => "nofilehandle",
        10_021 => "minor-vers-mismatch",
        10_022 => "stale-clientid",
        10_023 => "stale-stateid",
        10_024 => "old-stateid",
        10_025 => "bad-stateid",
        10_026 => "bad-seqid",
        10_052 => "badsession",
        _ => "other",
    }
}
