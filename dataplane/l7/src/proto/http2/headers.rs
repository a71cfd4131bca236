//! The header fields that anybody asks for, out of a decoded block.
//!
//! Distrusts: names, their order and number: what a server of HTTP/1 behind a gateway could read as
//! another request is a violation (RFC 9113, 8.2 and 8.3). Memory: [`KEPT_BYTES`] on the stack.

use arrayvec::ArrayVec;

use super::hpack::Text;
use crate::proto::http::content::HEADERS_BYTES_MAX;
use crate::proto::http::names::Name;
use crate::proto::http::product::{Evidence, contains};
use crate::violation;

/// All values that are kept of one block.
const KEPT_BYTES: usize = 8_192;
/// One value other than the path; the rest is cut off.
const VALUE_BYTES_MAX: usize = 512;
/// Longest path, with its query.
const PATH_BYTES_MAX: usize = 4_096;

/// What is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Method,
    Authority,
    Host,
    Path,
    Status,
    ContentType,
    UserAgent,
    GrpcStatus,
    Length,
    Coding,
}

const KINDS: usize = 10;
/// Headers that may tell of a product.
const HINTS_MAX: usize = 12;

/// What was read of a block.
pub(super) struct Fields {
    bytes: ArrayVec<u8, KEPT_BYTES>,
    spans: [Option<(u16, u16)>; KINDS],
    /// Names and values for [`Evidence`].
    hints: ArrayVec<[u16; 3], HINTS_MAX>,
    strict: bool,
    regular: bool,
    /// Bytes of all fields.
    size: usize,
    /// Something referred to what was not seen.
    pub(super) lost: bool,
    /// The application whose client library it is from.
    pub(super) client: Option<&'static str>,
}

impl Fields {
    /// `strict` for requests.
    pub(super) fn new(strict: bool) -> Self {
        Self {
            bytes: ArrayVec::new(),
            spans: [None; KINDS],
            hints: ArrayVec::new(),
            strict,
            regular: false,
            size: 0,
            lost: false,
            client: None,
        }
    }

    pub(super) fn get(&self, kind: Kept) -> Option<&[u8]> {
        let (start, end) = self.spans[kind as usize]?;
        self.bytes.get(usize::from(start)..usize::from(end))
    }

    /// What the headers tell of the server.
    pub(super) fn evidence(&self) -> Evidence<'_> {
        let mut evidence = Evidence::default();
        for &[start, middle, end] in &self.hints {
            let [start, middle, end] = [start, middle, end].map(usize::from);
            if let (Some(name), Some(value)) =
                (self.bytes.get(start..middle), self.bytes.get(middle..end))
            {
                evidence.take(Name::of(name), value);
            }
        }
        evidence
    }

    /// The next field of the block.
    pub(super) fn take(&mut self, name: Text<'_>, value: Text<'_>) -> Result<(), &'static str> {
        let name = match name {
            Text::Bytes(name) => name,
            Text::Lost => {
                self.lost = true;
                return Ok(());
            }
            Text::TooLong => return Ok(()),
        };
        if self.strict {
            self.check(name, value)?;
            self.measure(name, value)?;
        }
        let pseudo = name.first() == Some(&b':');
        self.regular |= !pseudo;
        let kind = match name {
            b":method" => Kept::Method,
            b":authority" => Kept::Authority,
            b":path" => Kept::Path,
            b":status" => Kept::Status,
            b"host" => Kept::Host,
            b"content-type" => Kept::ContentType,
            b"user-agent" => Kept::UserAgent,
            b"grpc-status" => Kept::GrpcStatus,
            b"content-length" => Kept::Length,
            b"content-encoding" => Kept::Coding,
            _ => {
                self.hint(name, value);
                return Ok(());
            }
        };
        match value {
            Text::Bytes(value) => self.keep(kind, value),
            Text::Lost => {
                self.lost = true;
                Ok(())
            }
            Text::TooLong if kind == Kept::Path => Err(TOO_LONG),
            Text::TooLong => Ok(()),
        }
    }

    /// What nobody reads to its end could hide anything there.
    fn measure(&mut self, name: &[u8], value: Text<'_>) -> Result<(), &'static str> {
        let value = match value {
            Text::Bytes(value) => value.len(),
            Text::Lost | Text::TooLong => 0,
        };
        self.size += name.len() + value + LINE_BYTES;
        (self.size <= HEADERS_BYTES_MAX)
            .then_some(())
            .ok_or("more bytes of headers than anybody needs")
    }

    fn keep(&mut self, kind: Kept, value: &[u8]) -> Result<(), &'static str> {
        if self.spans[kind as usize].is_some() {
            return match self.strict && !matches!(kind, Kept::UserAgent | Kept::Coding) {
                true => Err("a header twice that may be there once"),
                false => Ok(()),
            };
        }
        let value = match kind {
            Kept::Path if value.len() > PATH_BYTES_MAX => return Err(TOO_LONG),
            Kept::Path => value,
            _ => value.get(..VALUE_BYTES_MAX).unwrap_or(value),
        };
        let start = self.bytes.len();
        if self.bytes.try_extend_from_slice(value).is_ok() {
            self.spans[kind as usize] = Some((start as u16, self.bytes.len() as u16));
        }
        Ok(())
    }

    /// A header that [`Evidence`] or policy may ask for.
    fn hint(&mut self, name: &[u8], value: Text<'_>) {
        let Text::Bytes(value) = value else { return };
        if self.strict {
            match name {
                b"x-elastic-client-meta" => self.client = Some("elasticsearch"),
                b"x-consul-token" => self.client = Some("consul"),
                b"accept" if contains(value, b"application/vnd.elasticsearch") => {
                    self.client = Some("elasticsearch");
                }
                _ => {}
            }
            return;
        }
        let of_interest = name.starts_with(b"x-") || matches!(name, b"server" | b"link");
        if !of_interest || value.len() > VALUE_BYTES_MAX || self.hints.is_full() {
            return;
        }
        let start = self.bytes.len();
        if self.bytes.try_extend_from_slice(name).is_ok()
            && self.bytes.try_extend_from_slice(value).is_ok()
        {
            let middle = start + name.len();
            // There is room: it was asked above.
            let _ = self
                .hints
                .try_push([start as u16, middle as u16, self.bytes.len() as u16]);
        }
    }

    fn check(&self, name: &[u8], value: Text<'_>) -> Result<(), &'static str> {
        let allowed = |byte: &u8| matches!(byte, 0x21..=0x7e) && !byte.is_ascii_uppercase();
        if name.is_empty() || !name.iter().all(allowed) {
            return Err(violation::HTTP_HEADER_NAME);
        }
        if let Text::Bytes(value) = value
            && value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n'))
        {
            return Err(violation::HTTP2_CONTROL);
        }
        match name {
            b"transfer-encoding" => Err(violation::HTTP2_CODING),
            b"connection" | b"keep-alive" | b"proxy-connection" | b"upgrade" => {
                Err(violation::HTTP2_CONNECTION)
            }
            b":method" | b":authority" | b":path" | b":scheme" | b":protocol" if self.regular => {
                Err("a pseudo-header behind a header")
            }
            b":method" | b":authority" | b":path" | b":scheme" | b":protocol" => Ok(()),
            [b':', ..] => Err("a pseudo-header that does not exist"),
            _ if name.contains(&b':') => Err(violation::HTTP_HEADER_NAME),
            _ => Ok(()),
        }
    }
}

/// What a line of HTTP/1 has besides name and value.
const LINE_BYTES: usize = 4;
const TOO_LONG: &str = "a path longer than is read";
