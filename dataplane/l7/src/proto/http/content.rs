//! From a head to the buffers that are looked into.
//!
//! Distrusts: every byte; a header may be folded, have no colon, or come again. Memory: on the stack,
//! [`HEADERS_BYTES_MAX`] for what must be put together; what is longer is cut off.

use arrayvec::ArrayVec;
use weir_wire::Direction;

use super::emit;
use super::names::Name;
use super::path::{self, PathBuffer};
use super::rows::{Lines, Rows};
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
const OF_HEAD: BufferSet = OF_FIRST_LINE
    .union(TOGETHER)
    .union(ONE_HEADER)
    .union(OF_HTTP2)
    .with(Buffer::HttpStart);

/// Of these, those that the first line has.
const OF_FIRST_LINE: BufferSet = BufferSet::EMPTY
    .with(Buffer::HttpMethod)
    .with(Buffer::HttpUri)
    .with(Buffer::HttpUriRaw)
    .with(Buffer::HttpProtocol)
    .with(Buffer::HttpRequestLine)
    .with(Buffer::HttpResponseLine)
    .with(Buffer::HttpStatusCode)
    .with(Buffer::HttpStatusMessage);

/// Those that hold all headers, or all of one name.
const TOGETHER: BufferSet = BufferSet::EMPTY
    .with(Buffer::HttpHeader)
    .with(Buffer::HttpHeaderRaw)
    .with(Buffer::HttpHeaderNames)
    .with(Buffer::HttpCookie);

/// Those that hold the value of one header.
const VALUES: BufferSet = BufferSet::EMPTY
    .with(Buffer::HttpUserAgent)
    .with(Buffer::HttpHostRaw)
    .with(Buffer::HttpReferer)
    .with(Buffer::HttpAccept)
    .with(Buffer::HttpAcceptEncoding)
    .with(Buffer::HttpAcceptLanguage)
    .with(Buffer::HttpConnection)
    .with(Buffer::HttpContentType)
    .with(Buffer::HttpContentLength)
    .with(Buffer::HttpServer)
    .with(Buffer::HttpLocation);

/// Those that hold one header.
const ONE_HEADER: BufferSet = VALUES
    .with(Buffer::HttpRequestHeader)
    .with(Buffer::HttpResponseHeader);

/// Those of HTTP/2.
const OF_HTTP2: BufferSet = BufferSet::EMPTY
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
    /// Its lines, where it was cut into them.
    pub(crate) rows: Option<&'a Rows>,
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

impl<'a> Told<'a> {
    /// The header lines, up to the empty one.
    pub(super) fn header_lines(&self) -> Lines<'a> {
        match self.rows {
            Some(rows) => rows.lines(self.start),
            None => Lines::of(self.lines),
        }
    }

    /// Whether a zero byte or a CR that ends no line may be in the head.
    pub(super) fn may_be_odd(&self) -> bool {
        self.rows.is_none_or(Rows::may_be_odd)
    }

    /// Tells what is wanted of a head.
    pub(crate) fn tell(&self, wanted: BufferSet, sink: &mut dyn EventSink) {
        if wanted.is_empty() {
            return;
        }
        let mut teller = Teller {
            wanted,
            stream: self.stream,
            sink,
        };
        // First of all, since what follows is cut from it.
        if !self.start.is_empty() {
            teller.tell(Buffer::HttpStart, self.start);
        }
        match self.is_request {
            _ if self.first.is_empty() || wanted.intersection(OF_FIRST_LINE).is_empty() => {}
            true => self.request_line(&mut teller),
            false => self.status_line(&mut teller),
        }
        if !wanted.intersection(TOGETHER).is_empty() {
            self.together(&mut teller);
        }
        if !wanted.intersection(ONE_HEADER).is_empty() {
            self.each(&mut teller);
        }
        // HTTP/1 has neither.
        if self.stream > 0 && !wanted.intersection(OF_HTTP2).is_empty() {
            for header in headers(Lines::of(self.pseudo)).chain(headers(self.header_lines())) {
                teller.tell(Buffer::Http2HeaderName, header.name);
                teller.line(Buffer::Http2Header, &header);
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
        if teller.wanted.contains(Buffer::HttpUri) {
            uri(method, target, teller);
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

    /// The buffers that hold all headers, or all of one name. Apart, since it needs much of the stack.
    #[inline(never)]
    fn together(&self, teller: &mut Teller<'_>) {
        if self.header_lines().next().is_none() {
            return;
        }
        let scratch = &mut Scratch::new();
        // What is not in a trailer is not missing from the message.
        let is_head = !self.first.is_empty();
        if is_head {
            teller.tell(Buffer::HttpHeaderRaw, self.lines);
        }
        if teller.wanted.contains(Buffer::HttpHeader) {
            scratch.clear();
            for header in headers(self.header_lines()).filter(|header| !self.is_cookie(header)) {
                header.append(scratch);
                append(scratch, b"\r\n");
            }
            teller.tell(Buffer::HttpHeader, as_written(self.lines, scratch));
        }
        if is_head && teller.wanted.contains(Buffer::HttpHeaderNames) {
            scratch.clear();
            append(scratch, b"\r\n");
            for header in headers(self.header_lines()) {
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
            let mut cookie: &[u8] = b"";
            for header in headers(self.header_lines()).filter(|header| self.is_cookie(header)) {
                cookie = header.value.unwrap_or_default();
                if !scratch.is_empty() {
                    append(scratch, between);
                }
                header.append_value(scratch);
            }
            if !scratch.is_empty() {
                teller.tell(Buffer::HttpCookie, as_written(cookie, scratch));
            }
        }
    }

    /// The buffers that hold one header each.
    fn each(&self, teller: &mut Teller<'_>) {
        let wants_values = !teller.wanted.intersection(VALUES).is_empty();
        let mut hosts = 0;
        for header in headers(self.header_lines()) {
            let line = match self.is_request {
                true => Buffer::HttpRequestHeader,
                false => Buffer::HttpResponseHeader,
            };
            teller.line(line, &header);
            if wants_values && let Some(buffer) = self.buffer_of(&header) {
                hosts += usize::from(buffer == Buffer::HttpHostRaw);
                teller.value(buffer, &header);
            }
        }
        if hosts == 0 && !self.authority.is_empty() {
            teller.tell(Buffer::HttpHostRaw, self.authority);
        }
    }

    fn is_cookie(&self, header: &Header<'_>) -> bool {
        header.kind
            == match self.is_request {
                true => Name::Cookie,
                false => Name::SetCookie,
            }
    }

    /// The buffer that this header alone is.
    fn buffer_of(&self, header: &Header<'_>) -> Option<Buffer> {
        let buffer = match (header.kind, self.is_request) {
            (Name::Host, true) => Buffer::HttpHostRaw,
            (Name::Accept, true) => Buffer::HttpAccept,
            (Name::Referer, true) => Buffer::HttpReferer,
            (Name::UserAgent, true) => Buffer::HttpUserAgent,
            (Name::AcceptEncoding, true) => Buffer::HttpAcceptEncoding,
            (Name::AcceptLanguage, true) => Buffer::HttpAcceptLanguage,
            (Name::Server, false) => Buffer::HttpServer,
            (Name::Location, false) => Buffer::HttpLocation,
            (Name::Connection, _) => Buffer::HttpConnection,
            (Name::ContentType, _) => Buffer::HttpContentType,
            (Name::ContentLength, _) => Buffer::HttpContentLength,
            _ => return None,
        };
        Some(buffer)
    }
}

/// Apart, since it needs much of the stack.
#[inline(never)]
fn uri(method: &[u8], target: &[u8], teller: &mut Teller<'_>) {
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
            teller.tell(Buffer::HttpUri, as_written(target, &uri));
        }
        _ => teller.tell(Buffer::HttpUri, target),
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
    fn line(&mut self, buffer: Buffer, header: &Header<'_>) {
        if self.wanted.contains(buffer) {
            match header.as_written() {
                Some(line) => self.tell(buffer, line),
                None => self.put_together(buffer, &|text| header.append(text)),
            }
        }
    }

    fn value(&mut self, buffer: Buffer, header: &Header<'_>) {
        if self.wanted.contains(buffer) {
            match header.value_as_written() {
                Some(value) => self.tell(buffer, value),
                None => self.put_together(buffer, &|text| header.append_value(text)),
            }
        }
    }

    /// Apart, since it needs much of the stack.
    #[inline(never)]
    fn put_together(&mut self, buffer: Buffer, write: &dyn Fn(&mut Scratch)) {
        let mut text = Scratch::new();
        write(&mut text);
        self.tell(buffer, &text);
    }
}

/// A header, perhaps folded over lines.
#[derive(Clone, Copy)]
struct Header<'a> {
    /// All of it, without the end of its last line.
    whole: &'a [u8],
    folded: bool,
    kind: Name,
    name: &'a [u8],
    /// With the ends of lines that it goes on behind; none where there is no colon.
    value: Option<&'a [u8]>,
}

impl<'a> Header<'a> {
    /// `Name: value`, where it stands like that in the message, as nearly all do.
    fn as_written(&self) -> Option<&'a [u8]> {
        let value = self.value_as_written()?;
        let behind = self.whole.get(self.name.len()..)?;
        let is_written = behind.starts_with(b": ")
            && behind.len() == value.len() + 2
            && value.len() + self.name.len() + 2 <= HEADERS_BYTES_MAX;
        is_written.then_some(self.whole)
    }

    /// The value, where it is on one line.
    fn value_as_written(&self) -> Option<&'a [u8]> {
        let value = self.value.unwrap_or_default();
        (!self.folded && value.len() <= HEADERS_BYTES_MAX).then_some(value)
    }

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
fn headers<'a>(mut lines: Lines<'a>) -> impl Iterator<Item = Header<'a>> {
    std::iter::from_fn(move || {
        let (whole, line) = lines.next_folded()?;
        let folded = whole.len() != line.bytes.len();
        let kind = line.name;
        let colon = match line.bytes {
            // A name that HTTP/2 begins with a colon.
            [b':', rest @ ..] => rest.iter().position(|&byte| byte == b':').map(|at| at + 1),
            _ => line.colon,
        };
        let (name, value) = match colon {
            Some(colon) if line.is_token && !folded => (&whole[..colon], Some(line.value)),
            Some(colon) => (
                whole[..colon].trim_ascii_end(),
                Some(whole[colon + 1..].trim_ascii()),
            ),
            None => (line.bytes, None),
        };
        Some(Header {
            whole,
            folded,
            kind,
            name,
            value,
        })
    })
}

/// What was put together, where it stands in the message like that: at the end of `whole` or at its front.
fn as_written<'a>(whole: &'a [u8], made: &'a [u8]) -> &'a [u8] {
    let start = whole.len().wrapping_sub(made.len());
    match (whole.get(start..), whole.get(..made.len())) {
        (Some(last), _) if last == made => last,
        (_, Some(first)) if first == made => first,
        _ => made,
    }
}

/// As much as there is room for.
fn append(text: &mut Scratch, bytes: &[u8]) {
    let fits = bytes.len().min(text.remaining_capacity());
    // Never more than fits.
    let _ = text.try_extend_from_slice(&bytes[..fits]);
}
