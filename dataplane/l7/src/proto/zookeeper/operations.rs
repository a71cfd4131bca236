//! The operations, their paths, and the names of errors and watches (ZooDefs, KeeperException).

use super::string;
use crate::read::cursor::Cursor;

/// How many operations of a `multi` are told.
const MULTI_OPERATIONS: usize = 64;

pub(super) fn name(operation: i32) -> Option<&'static str> {
    Some(match operation {
        0 => "notification",
        1 => "create",
        2 => "delete",
        3 => "exists",
        4 => "getData",
        5 => "setData",
        6 => "getACL",
        7 => "setACL",
        8 => "getChildren",
        9 => "sync",
        11 => "ping",
        12 => "getChildren2",
        13 => "check",
        14 => "multi",
        15 => "create2",
        16 => "reconfig",
        17 => "checkWatches",
        18 => "removeWatches",
        19 => "createContainer",
        20 => "deleteContainer",
        21 => "createTTL",
        22 => "multiRead",
        100 => "auth",
        101 => "setWatches",
        102 => "sasl",
        103 => "getEphemerals",
        104 => "getAllChildrenNumber",
        105 => "setWatches2",
        106 => "addWatch",
        107 => "whoAmI",
        -10 => "createSession",
        -11 => "closeSession",
        _ => return None,
    })
}

/// The path of a request, which is its first field; a large one may be cut off.
pub(super) fn path<'a>(operation: &str, body: &'a [u8]) -> Option<&'a [u8]> {
    match operation {
        "reconfig" | "setWatches" | "setWatches2" | "whoAmI" | "notification" => None,
        _ => string(&mut Cursor::new(body)),
    }
}

/// MultiHeader (operation, done, error) and record, again and again.
pub(super) fn multi(body: &[u8], tell: &mut dyn FnMut(&'static str, &[u8])) {
    let mut cursor = Cursor::new(body);
    for _ in 0..MULTI_OPERATIONS {
        let read = (|| {
            let operation = name(cursor.u32()? as i32)?;
            let done = cursor.u8()?;
            cursor.u32()?;
            if done != 0 {
                return None;
            }
            let path = string(&mut cursor)?;
            tell(operation, path);
            match operation {
                "create" | "create2" | "createContainer" | "createTTL" => {
                    string(&mut cursor)?;
                    acl(&mut cursor)?;
                    cursor.u32()?;
                    if operation == "createTTL" {
                        cursor.take(8)?;
                    }
                }
                "delete" | "check" => drop(cursor.u32()?),
                "setData" => {
                    string(&mut cursor)?;
                    cursor.u32()?;
                }
                // A flag that asks for watches.
                "getData" | "getChildren" | "exists" => drop(cursor.u8()?),
                "deleteContainer" => {}
                _ => return None,
            }
            Some(())
        })();
        if read.is_none() {
            return;
        }
    }
}

/// A list of permissions, scheme and id.
fn acl(cursor: &mut Cursor<'_>) -> Option<()> {
    let count = cursor.u32()?;
    if count == u32::MAX {
        return Some(());
    }
    for _ in 0..count.min(64) {
        cursor.u32()?;
        string(cursor)?;
        string(cursor)?;
    }
    (count <= 64).then_some(())
}

pub(super) fn watch(kind: i32) -> &'static str {
    match kind {
        -1 => "session",
        1 => "created",
        2 => "deleted",
        3 => "changed",
        4 => "children",
        5 => "data-watch-removed",
        6 => "child-watch-removed",
        7 => "persistent-watch-removed",
        _ => "other",
    }
}

pub(super) fn error(code: i32) -> &'static str {
    match code {
        0 => "",
        -1 => "SYSTEMERROR",
        -2 => "RUNTIMEINCONSISTENCY",
        -3 => "DATAINCONSISTENCY",
        -4 => "CONNECTIONLOSS",
        -5 => "MARSHALLINGERROR",
        -6 => "UNIMPLEMENTED",
        -7 => "OPERATIONTIMEOUT",
        -8 => "BADARGUMENTS",
        -12 => "UNKNOWNSESSION",
        -13 => "NEWCONFIGNOQUORUM",
        -14 => "RECONFIGINPROGRESS",
        -100 => "APIERROR",
        -101 => "NONODE",
        -102 => "NOAUTH",
        -103 => "BADVERSION",
        -108 => "NOCHILDRENFOREPHEMERALS",
        -110 => "NODEEXISTS",
        -111 => "NOTEMPTY",
        -112 => "SESSIONEXPIRED",
        -113 => "INVALIDCALLBACK",
        -114 => "INVALIDACL",
        -115 => "AUTHFAILED",
        -118 => "SESSIONMOVED",
        -119 => "NOTREADONLY",
        -120 => "EPHEMERALONLOCALSESSION",
        -121 => "NOWATCHER",
        -122 => "REQUESTTIMEOUT",
        -123 => "RECONFIGDISABLED",
        -124 => "SESSIONCLOSEDREQUIRESASLAUTH",
        -125 => "QUOTAEXCEEDED",
        -127 => "THROTTLEDOP",
        _ => "OTHER",
    }
}
