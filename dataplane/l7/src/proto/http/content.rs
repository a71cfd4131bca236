//! From a head to the buffers that are looked into.
//!
//! Distrusts: every byte; a header may be folded, have no colon, or come again. Memory: on the stack,
//! [`HEADERS_BYTES_MAX`] for what must be put together; what is longer is cut off.

use arrayvec::ArrayVec;
use weir_wire::Direction;

use super::emit;
use super::head;
use super::path::{self, PathBuffer};
use crate::{Buffer, BufferSet, Content, EventSink, Form};

/// All headers of a message, written out.
pub(crate) const HEADERS_BYTES_MAX: usize = 65_536;

/// Room for a buffer that is put together.
type Scratch = ArrayVec<u8, HEADERS_BYTES_MAX>;

/// The buffers of a message.
pub(crate) const TOLD: BufferSet = OF_HEAD
    .with(Buffer::HttpHost)
    .with(Buffer::HttpRequestBody)
    .with(Buffer::HttpResponseBody);

/// The buffers that a head has.
const OF_HEAD: BufferSet = BufferSet::EMPTY
    .with(Buffer::HttpMethod)
    .with(Buffer::HttpUriRaw)
    .with(Buffer::HttpProtocol)
    .with(Buffer::HttpUri)
    .with(Buffer::HttpRequestLine)
    .with(Buffer::HttpResponseLine)
    .with(Buffer::HttpHeader)
    .with(Buffer::HttpHeaderRaw)
    .with(Buffer::HttpHeaderNames)
    .with(Buffer::HttpRequestHeader)
    .with(Buffer::HttpResponseHeader)
    .with(Buffer::HttpCookie)
    .with(Buffer::HttpUserAgent)
    .with(Buffer::HttpHostRaw)
    .with(Buffer::HttpReferer)
    .with(Buffer::HttpAccept)
    .with(Buffer::HttpAcceptEncoding)
    .with(Buffer::HttpAcceptLanguage)
    .with(Buffer::HttpConnection)
    .with(Buffer::HttpContentType)
    .with(Buffer::HttpContentLength)
    .with(Buffer::HttpStart)
    .with(Buffer::HttpServer)
    .with(Buffer::HttpLocation)
    .with(Buffer::HttpStatusCode)
    .with(Buffer::HttpStatusMessage)
    .with(Buffer::Http2HeaderName)
    .with(Buffer::Http2Header);

/// The buffers that a body is looked into for.
const OF_REQUEST_BODY: BufferSet = BufferSet::EMPTY
    .with(Buffer::HttpRequestBody)
    .with(Buffer::FileData)
    .with(Buffer::Form);
const OF_RESPONSE_BODY: BufferSet = BufferSet::EMPTY
    .with(Buffer::HttpResponseBody)
    .with(Buffer::FileData);

/// A head of whatever version, as HTTP/1 writes it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Told<'a> {
    pub(crate) is_request: bool,
    /// The first line, without its end; empty: trailers.
    pub(crate) first: &'a [u8],
    /// The header lines with their ends, and perhaps the empty one.
    pub(crate) lines: &'a [u8],
    /// All of it, as sent.
    pub(crate) start: &'a [u8],
    /// What HTTP/2 has before the headers, as lines.
    pub(crate) pseudo: &'a [u8],
    /// Where HTTP/2 has the host.
    pub(crate) authority: &'a [u8],
    /// The stream of HTTP/2.
    pub(crate) stream: u32,
}

/// Which buffers of a head somebody looks into.
pub(crate) fn wanted(sink: &dyn EventSink) -> BufferSet {
    sink.wanted().intersection(OF_HEAD)
}

/// The buffer of the bodies that go this way.
pub(crate) fn body(direction: Direction) -> Buffer {
    match direction {
        Direction::ToServer => Buffer::HttpRequestBody,
        Direction::ToClient => Buffer::HttpResponseBody,
    }
}

/// Whether somebody looks into the bodies that go this way.
pub(crate) fn wants_body(direction: Direction, sink: &dyn EventSink) -> bool {
    let looked = match direction {
        Direction::ToServer => OF_REQUEST_BODY,
        Direction::ToClient => OF_RESPONSE_BODY,
    };
    !sink.wanted().intersection(looked).is_empty()
}

/// The beginning of a body, of which nothing has come yet.
pub(crate) fn begin(buffer: Buffer, stream: u32, form: Form<'_>, sink: &mut dyn EventSink) {
    sink.content(&Content {
        buffer,
        stream,
        begins: Some(form),
        bytes: &[],
        ends: false,
    });
}

/// What comes of a body.
pub(crate) fn piece(
    buffer: Buffer,
    stream: u32,
    bytes: &[u8],
    ends: bool,
    sink: &mut dyn EventSink,
) {
    sink.content(&Content {
        buffer,
        stream,
        begins: None,
        bytes,
        ends,
    });
}

impl Told<'_> {
    /// Tells what is wanted of a head.
    pub(crate) fn tell(&self, wanted: BufferSet, sink: &mut dyn EventSink) {
        if !wanted.is_empty() {
            self.tell_wanted(wanted, sink);
        }
    }

    /// Apart, since it needs much of the stack.
    #[inline(never)]
    fn tell_wanted(&self, wanted: BufferSet, sink: &mut dyn EventSink) {
        let mut teller = Teller {
            wanted,
            stream: self.stream,
            sink,
        };
        match self.is_request {
            _ if self.first.is_empty() => {}
            true => self.request_line(&mut teller),
            false => self.status_line(&mut teller),
        }
        if !self.start.is_empty() {
            teller.tell(Buffer::HttpStart, self.start);
        }
        let mut scratch = Scratch::new();
        self.together(&mut teller, &mut scratch);
        self.each(&mut teller, &mut scratch);
        for header in headers(self.pseudo).chain(headers(self.lines)) {
            // HTTP/1 has neither.
            if self.stream > 0 {
                teller.tell(Buffer::Http2HeaderName, header.name);
                teller.line(Buffer::Http2Header, &header, &mut scratch);
            }
        }
    }

    fn request_line(&self, teller: &mut Teller<'_>) {
        teller.tell(Buffer::HttpRequestLine, self.first);
        let Some(space) = memchr::memchr(b' ', self.first) else {
            return;
        };
        let rest = &self.first[space + 1..];
        let end = memchr::memrchr(b' ', rest).unwrap_or(rest.len());
        let (method, target) = (&self.first[..space], &rest[..end]);
        teller.tell(Buffer::HttpMethod, method);
        teller.tell(Buffer::HttpUriRaw, target);
        teller.tell(
            Buffer::HttpProtocol,
            rest.get(end + 1..).unwrap_or_default(),
        );
        if !teller.wanted.contains(Buffer::HttpUri) {
            return;
        }
        let Ok((None | Some(_), path)) = emit::split_target(method, target) else {
            return;
        };
        let mut buffer = PathBuffer::new();
        match path::normalise(path, &mut buffer) {
            Some(path) if !path.is_empty() => {
                let mut uri = Scratch::new();
                append(&mut uri, path);
                if let Some(query) = memchr::memchr2(b'?', b'#', target) {
                    path::decode(&target[query..], &mut uri);
                }
                teller.tell(Buffer::HttpUri, &uri);
            }
            _ => teller.tell(Buffer::HttpUri, target),
        }
    }

    fn status_line(&self, teller: &mut Teller<'_>) {
        teller.tell(Buffer::HttpResponseLine, self.first);
        let mut parts = self.first.splitn(3, |&byte| byte == b' ');
        teller.tell(Buffer::HttpProtocol, parts.next().unwrap_or_default());
        teller.tell(Buffer::HttpStatusCode, parts.next().unwrap_or_default());
        if let Some(message) = parts.next() {
            teller.tell(Buffer::HttpStatusMessage, message);
        }
    }

    /// The buffers that hold all headers, or all of one name.
    fn together(&self, teller: &mut Teller<'_>, scratch: &mut Scratch) {
        if headers(self.lines).next().is_none() {
            return;
        }
        // What is not in a trailer is not missing from the message.
        let is_head = !self.first.is_empty();
        if is_head {
            teller.tell(Buffer::HttpHeaderRaw, self.lines);
        }
        if teller.wanted.contains(Buffer::HttpHeader) {
            scratch.clear();
            for header in headers(self.lines).filter(|header| !self.is_cookie(header)) {
                header.append(scratch);
                append(scratch, b"\r\n");
            }
            teller.tell(Buffer::HttpHeader, scratch);
        }
        if is_head && teller.wanted.contains(Buffer::HttpHeaderNames) {
            scratch.clear();
            append(scratch, b"\r\n");
            for header in headers(self.lines) {
                append(scratch, header.name);
                append(scratch, b"\r\n");
            }
            append(scratch, b"\r\n");
            teller.tell(Buffer::HttpHeaderNames, scratch);
        }
        if teller.wanted.contains(Buffer::HttpCookie) {
            scratch.clear();
            // HTTP/2 cuts cookies up, and says how they belong together (RFC 9113, 8.2.3).
            let between: &[u8] = if self.stream > 0 { b"; " } else { b", " };
            for header in headers(self.lines).filter(|header| self.is_cookie(header)) {
                if !scratch.is_empty() {
                    append(scratch, between);
                }
                header.append_value(scratch);
            }
            if !scratch.is_empty() {
                teller.tell(Buffer::HttpCookie, scratch);
            }
        }
    }

    /// The buffers that hold one header each.
    fn each(&self, teller: &mut Teller<'_>, scratch: &mut Scratch) {
        let mut hosts = 0;
        for header in headers(self.lines) {
            let line = match self.is_request {
                true => Buffer::HttpRequestHeader,
                false => Buffer::HttpResponseHeader,
            };
            teller.line(line, &header, scratch);
            if let Some(buffer) = self.buffer_of(&header) {
                hosts += usize::from(buffer == Buffer::HttpHostRaw);
                teller.value(buffer, &header, scratch);
            }
        }
        if hosts == 0 && !self.authority.is_empty() {
            teller.tell(Buffer::HttpHostRaw, self.authority);
        }
    }

    fn is_cookie(&self, header: &Header<'_>) -> bool {
        header.name.eq_ignore_ascii_case(match self.is_request {
            true => b"cookie",
            false => b"set-cookie",
        })
    }

    /// The buffer that this header alone is.
    fn buffer_of(&self, header: &Header<'_>) -> Option<Buffer> {
        let is = |name: &[u8]| header.name.eq_ignore_ascii_case(name);
        let buffer = match (header.name.len(), self.is_request) {
            (4, true) if is(b"host") => Buffer::HttpHostRaw,
            (6, true) if is(b"accept") => Buffer::HttpAccept,
            (7, true) if is(b"referer") => Buffer::HttpReferer,
            (10, true) if is(b"user-agent") => Buffer::HttpUserAgent,
            (15, true) if is(b"accept-encoding") => Buffer::HttpAcceptEncoding,
            (15, true) if is(b"accept-language") => Buffer::HttpAcceptLanguage,
            (6, false) if is(b"server") => Buffer::HttpServer,
            (8, false) if is(b"location") => Buffer::HttpLocation,
            (10, _) if is(b"connection") => Buffer::HttpConnection,
            (12, _) if is(b"content-type") => Buffer::HttpContentType,
            (14, _) if is(b"content-length") => Buffer::HttpContentLength,
            _ => return None,
        };
        Some(buffer)
    }
}

/// Tells buffers of one head.
struct Teller<'a> {
    wanted: BufferSet,
    stream: u32,
    sink: &'a mut dyn EventSink,
}

impl Teller<'_> {
    fn tell(&mut self, buffer: Buffer, bytes: &[u8]) {
        if self.wanted.contains(buffer) {
            self.sink
                .content(&Content::whole(buffer, self.stream, bytes));
        }
    }

    /// `Name: value`.
    fn line(&mut self, buffer: Buffer, header: &Header<'_>, scratch: &mut Scratch) {
        if self.wanted.contains(buffer) {
            scratch.clear();
            header.append(scratch);
            self.tell(buffer, scratch);
        }
    }

    fn value(&mut self, buffer: Buffer, header: &Header<'_>, scratch: &mut Scratch) {
        if self.wanted.contains(buffer) {
            scratch.clear();
            header.append_value(scratch);
            self.tell(buffer, scratch);
        }
    }
}

/// A header, perhaps folded over lines.
#[derive(Clone, Copy)]
struct Header<'a> {
    name: &'a [u8],
    /// With the ends of lines that it goes on behind; none where there is no colon.
    value: Option<&'a [u8]>,
}

impl Header<'_> {
    fn append(&self, text: &mut Scratch) {
        append(text, self.name);
        if self.value.is_some() {
            append(text, b": ");
            self.append_value(text);
        }
    }

    /// The value in one line.
    fn append_value(&self, text: &mut Scratch) {
        let lines = self.value.unwrap_or_default().split(|&byte| byte == b'\n');
        let mut first = true;
        for line in lines.map(<[u8]>::trim_ascii) {
            if !std::mem::take(&mut first) {
                append(text, b" ");
            }
            append(text, line);
        }
    }
}

/// The headers up to the empty line.
fn headers(mut lines: &[u8]) -> impl Iterator<Item = Header<'_>> {
    std::iter::from_fn(move || {
        let (line, mut rest) = head::line(lines)?;
        if line.is_empty() {
            return None;
        }
        let mut length = line.len();
        while let (Some(b' ' | b'\t'), Some((_, after))) = (rest.first(), head::line(rest)) {
            length = lines.len() - after.len();
            rest = after;
        }
        let whole = &lines[..length];
        lines = rest;
        // A name that HTTP/2 begins with a colon.
        let start = usize::from(whole.first() == Some(&b':'));
        Some(match memchr::memchr(b':', &line[start..]) {
            Some(colon) => Header {
                name: whole[..start + colon].trim_ascii_end(),
                value: Some(whole[start + colon + 1..].trim_ascii()),
            },
            None => Header {
                name: line,
                value: None,
            },
        })
    })
}

/// As much as there is room for.
fn append(text: &mut Scratch, bytes: &[u8]) {
    let fits = bytes.len().min(text.remaining_capacity());
    text.extend(bytes[..fits].iter().copied());
}
