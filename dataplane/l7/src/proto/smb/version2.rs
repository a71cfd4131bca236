//! Messages of versions 2 and 3 (MS-SMB2, 2.2).

use std::ops::Range;

use weir_wire::Direction;

use super::{MESSAGE_MAX, Path, Request, Smb, names, number16, number32, tell_dialect, tell_error};
use crate::read::ntlmssp;
use crate::{Buffer, EventSink};

const HEADER: usize = 64;
/// MS-SMB2, 2.2.1.2.
const RESPONSE: u32 = 1;
const ASYNC: u32 = 2;
const RELATED: u32 = 4;

const NEGOTIATE: u16 = 0;
const SESSION_SETUP: u16 = 1;
const LOGOFF: u16 = 2;
const TREE_CONNECT: u16 = 3;
const TREE_DISCONNECT: u16 = 4;
const CREATE: u16 = 5;
const READ: u16 = 8;
const WRITE: u16 = 9;
const SET_INFO: u16 = 17;
/// What tells where the data are, behind the header (MS-SMB2, 2.2.20 and 2.2.21).
const DATA_PLACE: usize = 8;
/// Where the data begin at the latest.
const DATA_FRONT: usize = 64;
/// Also the server's own notification.
const COMMAND_LAST: u16 = 19;

/// FileRenameInformation, FileDispositionInformation, FileLinkInformation, and the extended
/// disposition and rename (MS-FSCC, 2.4).
const RENAME: [u8; 2] = [10, 65];
const DISPOSITION: [u8; 2] = [13, 64];
const LINK: u8 = 11;

/// The parts of a header that are needed.
struct Header {
    status: u32,
    command: u16,
    flags: u32,
    message: u64,
    tree: u32,
    session: u64,
}

impl Smb {
    /// Reads the message at the front, and tells how long it is; inner none: it is none.
    pub(super) fn version2(
        &mut self,
        direction: Direction,
        input: &[u8],
        whole: usize,
        sink: &mut dyn EventSink,
    ) -> Option<Option<usize>> {
        if whole < HEADER {
            return Some(None);
        }
        let Some((header, next)) = header(input.get(..HEADER)?) else {
            return Some(None);
        };
        let length = if next == 0 { whole } else { next };
        if length < HEADER || length > whole {
            return Some(None);
        }
        let answer = header.flags & RESPONSE != 0;
        let wanted = match (header.command, answer) {
            (NEGOTIATE | SESSION_SETUP | TREE_CONNECT | CREATE | SET_INFO, false) => {
                length.min(MESSAGE_MAX)
            }
            (NEGOTIATE, true) => length.min(HEADER + 8),
            (WRITE, false) | (READ, true) if sink.wants(Buffer::FileData) => {
                length.min(HEADER + DATA_FRONT)
            }
            _ => HEADER,
        };
        let message = input.get(..wanted)?;
        // Who speaks is told by the flag: a packet picked up is never taken for its opposite.
        match (direction, answer) {
            (Direction::ToServer, false) => self.request2(&header, message, sink),
            (Direction::ToClient, true) => self.response2(&header, message, sink),
            _ => {}
        }
        Some(Some(length))
    }

    /// Where in a message of this length what is read or written stands.
    pub(super) fn data2(
        &self,
        direction: Direction,
        message: &[u8],
        length: usize,
        sink: &mut dyn EventSink,
    ) -> Option<Range<usize>> {
        if !sink.wants(Buffer::FileData) {
            return None;
        }
        let (header, _) = header(message.get(..HEADER)?)?;
        let answer = header.flags & RESPONSE != 0;
        let start = match (header.command, direction, answer) {
            (WRITE, Direction::ToServer, false) => usize::from(number16(message, HEADER + 2)?),
            (READ, Direction::ToClient, true) if header.status == 0 => {
                usize::from(*message.get(HEADER + 2)?)
            }
            _ => return None,
        };
        let end = start.checked_add(usize::try_from(number32(message, HEADER + 4)?).ok()?)?;
        let sound = (DATA_PLACE..=DATA_FRONT).contains(&(start.saturating_sub(HEADER)))
            && start < end
            && end <= length;
        (sound && !super::is_pipes(&self.share(header.tree))).then_some(start..end)
    }

    fn request2(&mut self, header: &Header, message: &[u8], sink: &mut dyn EventSink) {
        self.current = header.session;
        let side = &mut self.sides[Direction::ToServer as usize];
        if header.flags & RELATED == 0 || header.tree != u32::MAX {
            side.tree = header.tree;
        }
        let tree = side.tree;
        match header.command {
            NEGOTIATE => {
                let note = match offers_compression_only(message) {
                    true => "compression only",
                    false => "",
                };
                self.ask(
                    &Request {
                        command: "negotiate",
                        note,
                        ..Request::default()
                    },
                    sink,
                );
            }
            SESSION_SETUP => {
                let login = ntlmssp::login(message);
                if let Some(login) = &login {
                    self.log_in(login);
                }
                self.ask(
                    &Request {
                        command: "session_setup",
                        login: login.as_ref(),
                        ..Request::default()
                    },
                    sink,
                );
            }
            LOGOFF => {
                self.ask2("logoff", None, &[], "", sink);
                self.log_out();
            }
            TREE_CONNECT => {
                let path = buffer(message, 64 + 4);
                self.connect(header.message, &path);
                let share = super::share_of(&path);
                self.ask(
                    &Request {
                        command: "tree_connect",
                        share,
                        ..Request::default()
                    },
                    sink,
                );
            }
            TREE_DISCONNECT => {
                self.ask2("tree_disconnect", Some(tree), &[], "", sink);
                self.shares.retain(|share| share.tree != Some(tree));
            }
            CREATE => {
                let mask = number32(message, 64 + 24).unwrap_or(u32::MAX);
                let disposition = number32(message, 64 + 36);
                let options = number32(message, 64 + 40);
                // Anything but to open what is there; or to delete it when closed.
                let creates =
                    disposition != Some(1) || options.is_none_or(|options| options & 0x1000 != 0);
                let file = buffer(message, 64 + 44);
                self.ask2(
                    "create",
                    Some(tree),
                    &file,
                    names::access(mask, creates),
                    sink,
                );
            }
            SET_INFO => self.set_info(tree, message, sink),
            _ => {}
        }
    }

    /// MS-SMB2, 2.2.39: what is done to an open file. Its name was told when it was opened.
    fn set_info(&mut self, tree: u32, message: &[u8], sink: &mut dyn EventSink) {
        let class = match message.get(64 + 2..64 + 4) {
            Some(&[1, class]) => class,
            _ => return,
        };
        let offset = number16(message, 64 + 8).map_or(usize::MAX, usize::from);
        let command = match class {
            _ if RENAME.contains(&class) => "rename",
            _ if DISPOSITION.contains(&class) => "delete",
            LINK => "link",
            _ => return,
        };
        let mut file = Path::new();
        if command != "delete"
            && let Some(information) = message.get(offset..)
            && let Some(length) = number32(information, 16)
            && let Ok(length) = usize::try_from(length)
            && let Some(name) = information.get(20..).and_then(|rest| rest.get(..length))
        {
            ntlmssp::utf16(name, &mut file);
        }
        self.ask2(command, Some(tree), &file, "write", sink);
    }

    fn ask2(
        &self,
        command: &'static str,
        tree: Option<u32>,
        file: &[u8],
        access: &'static str,
        sink: &mut dyn EventSink,
    ) {
        let share = tree.map(|tree| self.share(tree)).unwrap_or_default();
        self.ask(
            &Request {
                command,
                share: &share,
                file,
                access,
                ..Request::default()
            },
            sink,
        );
    }

    fn response2(&mut self, header: &Header, message: &[u8], sink: &mut dyn EventSink) {
        match header.command {
            NEGOTIATE if header.status == 0 => {
                if let Some(dialect) = number16(message, 64 + 4) {
                    tell_dialect(names::dialect(dialect), sink);
                }
            }
            SESSION_SETUP => self.logged_in(header.session, header.status, sink),
            TREE_CONNECT if header.flags & ASYNC == 0 => {
                self.connected(header.message, header.tree, header.status, sink);
            }
            CREATE => tell_error("create", header.status, sink),
            _ => {}
        }
    }
}

/// A header, and where the next message of the frame begins; 0: there is none.
fn header(bytes: &[u8]) -> Option<(Header, usize)> {
    let command = number16(bytes, 12)?;
    let next = usize::try_from(number32(bytes, 20)?).ok()?;
    let message = *bytes.get(24..)?.first_chunk()?;
    let session = *bytes.get(40..)?.first_chunk()?;
    let header = Header {
        status: number32(bytes, 8)?,
        command,
        flags: number32(bytes, 16)?,
        message: u64::from_le_bytes(message),
        tree: number32(bytes, 36)?,
        session: u64::from_le_bytes(session),
    };
    (number16(bytes, 4)? == 64 && command <= COMMAND_LAST).then_some((header, next))
}

/// UTF-16 that an offset, from the header on, and a length point at.
fn buffer(message: &[u8], place: usize) -> Path {
    let mut text = Path::new();
    if let (Some(offset), Some(length)) = (number16(message, place), number16(message, place + 2))
        && let Some(bytes) = message
            .get(usize::from(offset)..)
            .and_then(|rest| rest.get(..usize::from(length)))
    {
        ntlmssp::utf16(bytes, &mut text);
    }
    text
}

/// Whether a negotiation offers to compress and not to encrypt (MS-SMB2, 2.2.3.1).
fn offers_compression_only(message: &[u8]) -> bool {
    const CONTEXTS_MAX: u16 = 16;
    const ENCRYPTION: u16 = 2;
    const COMPRESSION: u16 = 3;
    const HEAD: usize = 8;
    let body = HEADER;
    let contexts = || {
        let dialects = usize::from(number16(message, body + 2)?);
        let list = message.get(body + 36..)?;
        let list = list.get(..2 * dialects)?;
        // Only of 3.1.1 is what follows a list of contexts.
        let newest = list.chunks_exact(2).any(|dialect| dialect == [0x11, 0x03]);
        let at = usize::try_from(number32(message, body + 28)?).ok()?;
        newest.then_some((at, number16(message, body + 32)?))
    };
    let Some((mut at, count)) = contexts() else {
        return false;
    };
    let mut compresses = false;
    for _ in 0..count.min(CONTEXTS_MAX) {
        let (Some(kind), Some(length)) = (number16(message, at), number16(message, at + 2)) else {
            return false;
        };
        match kind {
            ENCRYPTION => return false,
            COMPRESSION => compresses = true,
            _ => {}
        }
        at += (HEAD + usize::from(length)).next_multiple_of(8);
    }
    compresses
}
