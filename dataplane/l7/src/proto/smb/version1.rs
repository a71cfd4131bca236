//! Messages of version 1 (MS-CIFS, 2.2; MS-SMB, 2.2).

use weir_wire::Direction;

use super::{MESSAGE_MAX, Path, Request, Smb, names, number16, number32, tell_dialect, tell_error};
use crate::EventSink;
use crate::read::ntlmssp;

const HEADER: usize = 32;
/// Where the parameter words begin: behind their count.
const WORDS: usize = 33;
/// Messages in one: a client may log in, connect and open at once.
const CHAIN_MAX: usize = 4;
const RESPONSE: u8 = 0x80;
const UNICODE: u16 = 0x8000;
const NO_MORE: u8 = 0xff;

const NEGOTIATE: u8 = 0x72;
const SESSION_SETUP: u8 = 0x73;
const TREE_CONNECT: u8 = 0x70;
const TREE_CONNECT_ANDX: u8 = 0x75;
const TREE_DISCONNECT: u8 = 0x71;
const LOGOFF: u8 = 0x74;
const OPEN_ANDX: u8 = 0x2d;
const NT_CREATE: u8 = 0xa2;
const TRANSACTION: u8 = 0x25;
const TRANSACTION2: u8 = 0x32;

/// A message within a frame, or one of its links.
struct Link<'a> {
    /// The whole frame's message, or as much of it as is looked at.
    message: &'a [u8],
    /// Where the count of parameter words is.
    at: usize,
    tree: u32,
    unicode: bool,
}

impl Smb {
    /// Reads the message at the front, and tells how long it is; inner none: it is none.
    pub(super) fn version1(
        &mut self,
        direction: Direction,
        input: &[u8],
        whole: usize,
        sink: &mut dyn EventSink,
    ) -> Option<Option<usize>> {
        if whole < WORDS {
            return Some(None);
        }
        let head = input.get(..WORDS)?;
        let command = head.get(4).copied()?;
        let answer = head.get(9).copied()? & RESPONSE != 0;
        let wanted = match (command, answer) {
            // Reads and writes: what they do was asked for when the file was opened.
            (0x04 | 0x0a..=0x0d | 0x1a..=0x1f | 0x2b | 0x2e | 0x2f, _) => WORDS,
            (NEGOTIATE, true) => whole.min(WORDS + 2),
            (_, true) => WORDS,
            _ => whole.min(MESSAGE_MAX),
        };
        let message = input.get(..wanted)?;
        match (direction, answer) {
            (Direction::ToServer, false) => self.request1(command, message, sink),
            (Direction::ToClient, true) => self.response1(command, message, sink),
            _ => {}
        }
        Some(Some(whole))
    }

    fn request1(&mut self, mut command: u8, message: &[u8], sink: &mut dyn EventSink) {
        self.current = number16(message, 28).unwrap_or_default().into();
        let mut link = Link {
            message,
            at: HEADER,
            tree: number16(message, 24).unwrap_or_default().into(),
            unicode: number16(message, 10).is_some_and(|flags| flags & UNICODE != 0),
        };
        let id = number16(message, 30).unwrap_or_default().into();
        for _ in 0..CHAIN_MAX {
            self.link(command, id, &link, sink);
            let chained = matches!(
                command,
                0x24 | OPEN_ANDX
                    | 0x2e
                    | 0x2f
                    | SESSION_SETUP
                    | LOGOFF
                    | TREE_CONNECT_ANDX
                    | NT_CREATE
            );
            let words = link.words().unwrap_or_default();
            let (Some(&next), Some(offset)) = (words.first(), number16(words, 2)) else {
                return;
            };
            // Only forward, or a chain might never end.
            if !chained || next == NO_MORE || usize::from(offset) <= link.at {
                return;
            }
            command = next;
            link.at = offset.into();
        }
    }

    fn link(&mut self, command: u8, id: u64, link: &Link<'_>, sink: &mut dyn EventSink) {
        match command {
            NEGOTIATE => self.ask1("negotiate", link, &[], "", sink),
            SESSION_SETUP => self.session_setup(link, sink),
            LOGOFF => {
                self.ask1("logoff", link, &[], "", sink);
                self.log_out();
            }
            TREE_CONNECT_ANDX => {
                let password = link.word(3).map_or(0, usize::from);
                let path = link.text(password);
                self.tree_connect(id, &path, sink);
            }
            TREE_CONNECT => {
                let path = link.text(1);
                self.tree_connect(id, &path, sink);
            }
            TREE_DISCONNECT => {
                self.ask1("tree_disconnect", link, &[], "", sink);
                self.shares.retain(|share| share.tree != Some(link.tree));
            }
            NT_CREATE => {
                let words = link.words().unwrap_or_default();
                let mask = number32(words, 15).unwrap_or(u32::MAX);
                let creates = number32(words, 35) != Some(1)
                    || number32(words, 39).is_none_or(|options| options & 0x1000 != 0);
                let file = link.text(0);
                self.ask1("create", link, &file, names::access(mask, creates), sink);
            }
            OPEN_ANDX => {
                // Read, write, both, execute (MS-CIFS, 2.2.4.41.1); then what to create.
                let reads = matches!(link.word(3).map(|mode| mode & 7), Some(0 | 3))
                    && link.word(8).is_some_and(|how| how & 0x13 == 1);
                let file = link.text(0);
                self.ask1("create", link, &file, read_or_write(reads), sink);
            }
            // One name, behind its format.
            0x00 => self.ask_name("create_directory", link, "write", sink),
            0x01 => self.ask_name("delete_directory", link, "write", sink),
            0x02 => {
                let reads = matches!(link.word(0).map(|mode| mode & 7), Some(0 | 3));
                self.ask_name("create", link, read_or_write(reads), sink);
            }
            0x03 | 0x0f => self.ask_name("create", link, "write", sink),
            0x06 => self.ask_name("delete", link, "write", sink),
            0x07 | 0xa5 => self.ask_name("rename", link, "write", sink),
            0x08 | 0x10 => self.ask_name("query_info", link, "read", sink),
            0x09 => self.ask_name("set_info", link, "write", sink),
            TRANSACTION => {
                let file = link.text(0);
                self.ask1("transaction", link, &file, "", sink);
            }
            TRANSACTION2 => self.transaction2(link, sink),
            _ => {}
        }
    }

    fn tree_connect(&mut self, id: u64, path: &[u8], sink: &mut dyn EventSink) {
        self.connect(id, path);
        self.ask(
            &Request {
                command: "tree_connect",
                share: super::share_of(path),
                ..Request::default()
            },
            sink,
        );
    }

    /// With a security blob, or with passwords followed by user and domain.
    fn session_setup(&mut self, link: &Link<'_>, sink: &mut dyn EventSink) {
        let count = link.message.get(link.at).copied();
        let passwords = match count {
            Some(13) => link
                .word(7)
                .zip(link.word(8))
                .map(|(oem, unicode)| usize::from(oem) + usize::from(unicode)),
            Some(10) => link.word(7).map(usize::from),
            _ => None,
        };
        let mut login = ntlmssp::login(link.message);
        if let (None, Some(passwords)) = (&login, passwords) {
            login = link.names(passwords);
        }
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

    /// MS-CIFS, 2.2.6: those that name a file.
    fn transaction2(&mut self, link: &Link<'_>, sink: &mut dyn EventSink) {
        let (command, skip, access) = match link.word(14) {
            Some(0) => ("create", 28, "write"),
            Some(1) => ("query_directory", 12, "read"),
            Some(5) => ("query_info", 6, "read"),
            Some(6) => ("set_info", 6, "write"),
            Some(13) => ("create_directory", 4, "write"),
            _ => return,
        };
        let offset = link.word(10).map_or(usize::MAX, usize::from);
        let file = link.text_at(offset.saturating_add(skip));
        self.ask1(command, link, &file, access, sink);
    }

    fn ask_name(
        &self,
        command: &'static str,
        link: &Link<'_>,
        access: &'static str,
        sink: &mut dyn EventSink,
    ) {
        let file = link.text(1);
        self.ask1(command, link, &file, access, sink);
        if command == "rename" {
            let mut second = link.bytes_at().unwrap_or(usize::MAX).saturating_add(1);
            second = link.behind(second).saturating_add(1);
            let file = link.text_at(second);
            self.ask1(command, link, &file, access, sink);
        }
    }

    fn ask1(
        &self,
        command: &'static str,
        link: &Link<'_>,
        file: &[u8],
        access: &'static str,
        sink: &mut dyn EventSink,
    ) {
        let share = self.share(link.tree);
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

    fn response1(&mut self, command: u8, message: &[u8], sink: &mut dyn EventSink) {
        let status = number32(message, 5).unwrap_or_default();
        match command {
            NEGOTIATE if status == 0 => {
                // Seventeen words: the newest; the server may also refuse all.
                let name = match message.get(HEADER) {
                    _ if number16(message, WORDS) == Some(u16::MAX) => "none",
                    Some(17) => "NT LM 0.12",
                    _ => "LANMAN",
                };
                tell_dialect(name, sink);
            }
            SESSION_SETUP => {
                let session = number16(message, 28).unwrap_or_default();
                self.logged_in(session.into(), status, sink);
            }
            TREE_CONNECT | TREE_CONNECT_ANDX => {
                let id = number16(message, 30).unwrap_or_default().into();
                let tree = number16(message, 24).unwrap_or_default().into();
                self.connected(id, tree, status, sink);
            }
            NT_CREATE | OPEN_ANDX => tell_error("create", status, sink),
            _ => {}
        }
    }
}

fn read_or_write(reads: bool) -> &'static str {
    if reads { "read" } else { "write" }
}

impl Link<'_> {
    fn words(&self) -> Option<&[u8]> {
        let count = usize::from(*self.message.get(self.at)?);
        self.message.get(self.at + 1..)?.get(..2 * count)
    }

    fn word(&self, place: usize) -> Option<u16> {
        number16(self.words()?, 2 * place)
    }

    /// Where the bytes behind the parameter words begin.
    fn bytes_at(&self) -> Option<usize> {
        Some(self.at + 1 + self.words()?.len() + 2)
    }

    /// Text so many bytes behind the parameter words.
    fn text(&self, skip: usize) -> Path {
        match self.bytes_at() {
            Some(at) => self.text_at(at.saturating_add(skip)),
            None => Path::new(),
        }
    }

    /// Text up to its zero; two-byte characters begin at even places.
    fn text_at(&self, at: usize) -> Path {
        let mut text = Path::new();
        let Some(bytes) = self.message.get(self.aligned(at)..) else {
            return text;
        };
        if self.unicode {
            ntlmssp::utf16(bytes, &mut text);
        } else {
            let end = bytes.iter().position(|&byte| byte == 0);
            let _ = text
                .try_extend_from_slice(bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default());
        }
        text
    }

    fn aligned(&self, at: usize) -> usize {
        at.saturating_add(usize::from(self.unicode) * (at & 1))
    }

    /// Where what follows the text at this place begins.
    fn behind(&self, at: usize) -> usize {
        let at = self.aligned(at);
        let rest = self.message.get(at..).unwrap_or_default();
        let length = match self.unicode {
            true => rest
                .chunks_exact(2)
                .position(|unit| unit == [0, 0])
                .map(|unit| 2 * unit + 2),
            false => rest.iter().position(|&byte| byte == 0).map(|end| end + 1),
        };
        length.map_or(usize::MAX, |length| at.saturating_add(length))
    }

    /// User and domain behind the passwords.
    fn names(&self, passwords: usize) -> Option<ntlmssp::Login> {
        let user = self.bytes_at()?.saturating_add(passwords);
        let domain = self.behind(user);
        let mut login = ntlmssp::Login::default();
        let _ = login.user.try_extend_from_slice(&self.text_at(user));
        let _ = login.domain.try_extend_from_slice(&self.text_at(domain));
        Some(login)
    }
}
