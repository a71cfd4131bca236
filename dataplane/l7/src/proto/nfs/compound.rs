//! The operations of a compound (RFC 7530, 16; RFC 8881, 18; RFC 7862, 15; RFC 8276, 8).
//!
//! Each operation's arguments must be walked to find the next. One that is not understood ends the
//! walk; what follows it is told as "other", so that no rule takes it for what came before.

use super::message::{file_name, handle, opaque};
use crate::read::cursor::Cursor;

/// Longer tags are nobody's.
const TAG_MAX: u32 = 1_024;
/// Words of a bitmap of attributes.
const BITMAP_MAX: u32 = 8;
/// Owners, verifiers, addresses (NFS4_OPAQUE_LIMIT).
const OPAQUE_MAX: u32 = 1_024;
/// Attributes that come with a new file: access lists may be long.
const ATTRIBUTES_MAX: u32 = 64 << 10;

/// What an argument is made of.
#[derive(Clone, Copy)]
enum Part {
    Bytes(usize),
    Opaque,
    Handle,
    Name,
    Bitmap,
    Attributes,
    /// Contents of a file: what follows is out of sight.
    Contents,
    /// Depends on what it says.
    Open,
    Create,
    Lock,
    /// Arguments of an operation that stands alone in its compound (RFC 8881, 18.35, 18.36).
    Last,
    /// Not understood.
    Unread,
}

use Part::{
    Attributes, Bitmap, Bytes, Contents, Create, Handle, Last, Lock, Name, Opaque, Open, Unread,
};

/// How a walk ended.
pub(super) enum Walk {
    /// At the last operation, or at one that is not understood.
    Over,
    /// Within the contents of a file: this many bytes of it are out of sight, and this many
    /// operations follow.
    Within { hidden: usize, left: u32 },
}

/// Takes an operation, and the name it is about.
pub(super) type Tell<'a> = &'a mut dyn FnMut(&'static str, &[u8]);

/// Walks the arguments of a compound.
pub(super) fn begin(mut cursor: Cursor<'_>, tell: Tell<'_>) -> Walk {
    let mut head = || {
        opaque(&mut cursor, TAG_MAX)?;
        let _minor = cursor.u32()?;
        cursor.u32()
    };
    match head() {
        Some(0) => {
            tell("compound", &[]);
            Walk::Over
        }
        Some(count) => walk(cursor, count, tell),
        None => {
            tell("other", &[]);
            Walk::Over
        }
    }
}

/// Walks so many operations.
pub(super) fn walk(mut cursor: Cursor<'_>, count: u32, tell: Tell<'_>) -> Walk {
    let mut told = false;
    for at in 0..count {
        let Some((name, parts)) = cursor.u32().and_then(operation) else {
            tell("other", &[]);
            return Walk::Over;
        };
        let mut paths = [None, None];
        let mut arguments = Argument::Passed;
        for part in parts {
            arguments = argument(*part, &mut cursor, &mut paths).unwrap_or(Argument::Unread);
            if !matches!(arguments, Argument::Passed) {
                break;
            }
        }
        let last = at + 1 == count;
        if !HOUSEKEEPING.contains(&name) || last && !told {
            told = true;
            let [first, second] = paths;
            tell(name, first.unwrap_or_default());
            if let Some(second) = second {
                tell(name, second);
            }
        }
        match arguments {
            Argument::Passed => {}
            _ if last => {}
            Argument::Unread => {
                tell("other", &[]);
                return Walk::Over;
            }
            Argument::Within(hidden) => {
                let left = count - at - 1;
                return Walk::Within { hidden, left };
            }
        }
    }
    Walk::Over
}

/// Operations that only name a file for the next, or ask for what everybody asks.
const HOUSEKEEPING: [&str; 8] = [
    "putfh",
    "putrootfh",
    "putpubfh",
    "getfh",
    "savefh",
    "restorefh",
    "sequence",
    "getattr",
];

enum Argument {
    Passed,
    /// It goes on out of sight for so many bytes.
    Within(usize),
    Unread,
}

/// Passes over one argument. None: it does not fit.
fn argument<'a>(
    part: Part,
    cursor: &mut Cursor<'a>,
    paths: &mut [Option<&'a [u8]>; 2],
) -> Option<Argument> {
    match part {
        Bytes(count) => {
            cursor.take(count)?;
        }
        Opaque => {
            opaque(cursor, OPAQUE_MAX)?;
        }
        Handle => {
            handle(cursor)?;
        }
        Name => {
            let name = file_name(cursor)?;
            let [first, second] = paths;
            *if first.is_none() { first } else { second } = Some(name);
        }
        Bitmap => bitmap(cursor)?,
        Attributes => {
            bitmap(cursor)?;
            opaque(cursor, ATTRIBUTES_MAX)?;
        }
        Contents => {
            let length = usize::try_from(cursor.u32()?).ok()?;
            let padded = length.checked_add(length.wrapping_neg() % 4)?;
            let visible = cursor.rest().len();
            if padded > visible {
                return Some(Argument::Within(padded - visible));
            }
            cursor.take(padded)?;
        }
        Open => open(cursor, paths)?,
        Create => {
            match cursor.u32()? {
                3 | 4 => drop(cursor.take(8)?),
                5 => drop(opaque(cursor, 4_096)?),
                _ => {}
            }
            *paths = [Some(file_name(cursor)?), None];
            return argument(Attributes, cursor, paths);
        }
        Lock => match cursor.u32()? {
            0 => drop(cursor.take(20)?),
            _ => {
                cursor.take(4 + 16 + 4 + 8)?;
                opaque(cursor, OPAQUE_MAX)?;
            }
        },
        Last | Unread => return None,
    }
    Some(Argument::Passed)
}

fn bitmap(cursor: &mut Cursor<'_>) -> Option<()> {
    let words = cursor.u32()?;
    if words > BITMAP_MAX {
        return None;
    }
    cursor.take(4 * usize::try_from(words).ok()?)?;
    Some(())
}

/// RFC 8881, 18.16.1: sequence, access, denial, owner, how, what.
fn open<'a>(cursor: &mut Cursor<'a>, paths: &mut [Option<&'a [u8]>; 2]) -> Option<()> {
    cursor.take(12 + 8)?;
    opaque(cursor, OPAQUE_MAX)?;
    if cursor.u32()? == 1 {
        match cursor.u32()? {
            0 | 1 => {
                argument(Attributes, cursor, paths)?;
            }
            2 => drop(cursor.take(8)?),
            3 => {
                cursor.take(8)?;
                argument(Attributes, cursor, paths)?;
            }
            _ => return None,
        }
    }
    match cursor.u32()? {
        // By name; by name, with a delegation.
        0 | 3 => *paths = [Some(file_name(cursor)?), None],
        1 => drop(cursor.take(4)?),
        2 => {
            cursor.take(16)?;
            *paths = [Some(file_name(cursor)?), None];
        }
        4 | 6 => {}
        5 => drop(cursor.take(16)?),
        _ => return None,
    }
    Some(())
}

/// Name and arguments of an operation.
fn operation(number: u32) -> Option<(&'static str, &'static [Part])> {
    let place = usize::try_from(number.checked_sub(3)?).ok()?;
    OPERATIONS.get(place).copied()
}

/// From number 3 on.
static OPERATIONS: &[(&str, &[Part])] = &[
    ("access", &[Bytes(4)]),
    ("close", &[Bytes(20)]),
    ("commit", &[Bytes(12)]),
    ("create", &[Create]),
    ("delegpurge", &[Bytes(8)]),
    ("delegreturn", &[Bytes(16)]),
    ("getattr", &[Bitmap]),
    ("getfh", &[]),
    ("link", &[Name]),
    ("lock", &[Bytes(24), Lock]),
    ("lockt", &[Bytes(28), Opaque]),
    ("locku", &[Bytes(40)]),
    ("lookup", &[Name]),
    ("lookupp", &[]),
    ("nverify", &[Attributes]),
    ("open", &[Open]),
    ("openattr", &[Bytes(4)]),
    ("open-confirm", &[Bytes(20)]),
    ("open-downgrade", &[Bytes(28)]),
    ("putfh", &[Handle]),
    ("putpubfh", &[]),
    ("putrootfh", &[]),
    ("read", &[Bytes(28)]),
    ("readdir", &[Bytes(24), Bitmap]),
    ("readlink", &[]),
    ("remove", &[Name]),
    ("rename", &[Name, Name]),
    ("renew", &[Bytes(8)]),
    ("restorefh", &[]),
    ("savefh", &[]),
    ("secinfo", &[Name]),
    ("setattr", &[Bytes(16), Attributes]),
    (
        "setclientid",
        &[Bytes(8), Opaque, Bytes(4), Opaque, Opaque, Bytes(4)],
    ),
    ("setclientid-confirm", &[Bytes(16)]),
    ("verify", &[Attributes]),
    ("write", &[Bytes(28), Contents]),
    ("release-lockowner", &[Bytes(8), Opaque]),
    ("backchannel-ctl", &[Unread]),
    ("bind-conn-to-session", &[Bytes(24)]),
    ("exchange-id", &[Last]),
    ("create-session", &[Last]),
    ("destroy-session", &[Bytes(16)]),
    ("free-stateid", &[Bytes(16)]),
    ("get-dir-delegation", &[Unread]),
    ("getdeviceinfo", &[Bytes(24), Bitmap]),
    ("getdevicelist", &[Bytes(24)]),
    ("layoutcommit", &[Unread]),
    ("layoutget", &[Bytes(56)]),
    ("layoutreturn", &[Unread]),
    ("secinfo-no-name", &[Bytes(4)]),
    ("sequence", &[Bytes(32)]),
    ("set-ssv", &[Opaque, Opaque]),
    ("test-stateid", &[Unread]),
    ("want-delegation", &[Unread]),
    ("destroy-clientid", &[Bytes(8)]),
    ("reclaim-complete", &[Bytes(4)]),
    ("allocate", &[Bytes(32)]),
    ("copy", &[Unread]),
    ("copy-notify", &[Unread]),
    ("deallocate", &[Bytes(32)]),
    ("io-advise", &[Bytes(32), Bitmap]),
    ("layouterror", &[Unread]),
    ("layoutstats", &[Unread]),
    ("offload-cancel", &[Bytes(16)]),
    ("offload-status", &[Bytes(16)]),
    ("read-plus", &[Bytes(28)]),
    ("seek", &[Bytes(28)]),
    ("write-same", &[Unread]),
    ("clone", &[Bytes(56)]),
    ("getxattr", &[Name]),
    ("setxattr", &[Bytes(4), Name, Contents]),
    ("listxattrs", &[Bytes(12)]),
    ("removexattr", &[Name]),
];
