//! From a head to an event.

use arrayvec::ArrayVec;

use super::fields::{
    CONTENT_TYPE, GRPC_METHOD, GRPC_SERVICE, GRPC_STATUS, HOST, METHOD, PATH, PRODUCT,
    PRODUCT_VERSION, SERVER, STATUS, STREAM, TARGET, USER_AGENT, VERSION,
};
use super::head::{Headers, RequestLine};
use super::path;
use super::product::Evidence;
use crate::{Buffer, Content, Event, EventKind, EventSink, Field, Value};

/// Longest host name (RFC 1035) with brackets or dot.
const HOST_BYTES_MAX: usize = 256;

/// A request, of whatever version.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a [u8],
    /// Of the target, where it has one.
    pub(crate) authority: Option<&'a [u8]>,
    /// The Host header.
    pub(crate) host: Option<&'a [u8]>,
    /// The path with its query, as sent.
    pub(crate) path: &'a [u8],
    pub(crate) target: &'a [u8],
    pub(crate) version: &'static str,
    pub(crate) user_agent: Option<&'a [u8]>,
    pub(crate) content_type: Option<&'a [u8]>,
    pub(crate) stream: Option<u32>,
}

/// A response, of whatever version; trailers have no status.
#[derive(Default)]
pub(crate) struct Response<'a> {
    pub(crate) status: Option<u16>,
    pub(crate) version: &'static str,
    pub(crate) content_type: Option<&'a [u8]>,
    pub(crate) evidence: Evidence<'a>,
    pub(crate) grpc_status: Option<u64>,
    pub(crate) stream: Option<u32>,
}

/// The parts of a request line.
pub(super) fn of_line<'a>(
    line: &RequestLine<'a>,
    headers: &Headers<'a>,
) -> Result<Request<'a>, &'static str> {
    let (authority, path) = split_target(line.method, line.target)?;
    Ok(Request {
        method: line.method,
        authority,
        host: headers.host,
        path,
        target: line.target,
        version: version(line.minor == 0),
        user_agent: headers.user_agent,
        content_type: headers.content_type,
        stream: None,
    })
}

pub(super) fn version(old: bool) -> &'static str {
    if old { "HTTP/1.0" } else { "HTTP/1.1" }
}

/// Tells of a request, or says why it could be read in two ways.
pub(crate) fn request(request: &Request<'_>, sink: &mut dyn EventSink) -> Result<(), &'static str> {
    let (mut first, mut second) = (ArrayVec::new(), ArrayVec::new());
    let of_target = request
        .authority
        .map(|authority| host(authority, &mut first))
        .transpose()?;
    let of_header = request
        .host
        .map(|header| host(header, &mut second))
        .transpose()?;
    if let (Some(one), Some(other)) = (of_target, of_header)
        && one != other
    {
        return Err("a target for another host than the Host header");
    }
    let mut buffer = path::PathBuffer::new();
    let path = path::normalise(request.path, &mut buffer).ok_or("a path longer than is read")?;
    let (service, method) = match request.content_type {
        Some(content_type) if is_grpc(content_type) => called(path),
        _ => (&b""[..], &b""[..]),
    };
    let mut fields = ArrayVec::<Field<'_>, 10>::new();
    let mut add = |index, value| {
        // As many as there is room for, by count.
        let _ = fields.try_push(Field { index, value });
    };
    add(METHOD, Value::Bytes(request.method));
    add(
        HOST,
        Value::Bytes(of_target.or(of_header).unwrap_or_default()),
    );
    add(PATH, Value::Bytes(path));
    add(TARGET, Value::Bytes(request.target));
    add(VERSION, Value::Name(request.version));
    if let Some(agent) = request.user_agent {
        add(USER_AGENT, Value::Bytes(agent));
    }
    if let Some(content_type) = request.content_type {
        add(CONTENT_TYPE, Value::Bytes(content_type));
    }
    add(GRPC_SERVICE, Value::Bytes(service));
    add(GRPC_METHOD, Value::Bytes(method));
    if let Some(stream) = request.stream {
        add(STREAM, Value::Number(stream.into()));
    }
    sink.event(&Event {
        kind: EventKind::Request,
        fields: &fields,
    });
    let host = of_target.or(of_header).unwrap_or_default();
    if !host.is_empty() && sink.wants(Buffer::HttpHost) {
        let stream = request.stream.unwrap_or(0);
        sink.content(&Content::whole(Buffer::HttpHost, stream, host));
    }
    Ok(())
}

/// Tells of a response.
pub(crate) fn response(response: &Response<'_>, sink: &mut dyn EventSink) {
    let mut fields = ArrayVec::<Field<'_>, 12>::new();
    let mut add = |index, value| {
        let _ = fields.try_push(Field { index, value });
    };
    if let Some(status) = response.status {
        add(STATUS, Value::Number(status.into()));
        add(VERSION, Value::Name(response.version));
    }
    if let Some(content_type) = response.content_type {
        add(CONTENT_TYPE, Value::Bytes(content_type));
    }
    if let Some(server) = response.evidence.server {
        add(SERVER, Value::Bytes(server));
    }
    for product in response.evidence.products() {
        add(PRODUCT, Value::Name(product.name));
        if let Some(version) = product.version {
            add(PRODUCT_VERSION, Value::Bytes(version));
        }
    }
    if let Some(status) = response.grpc_status {
        add(GRPC_STATUS, Value::Number(status));
    }
    if let Some(stream) = response.stream {
        add(STREAM, Value::Number(stream.into()));
    }
    sink.event(&Event {
        kind: EventKind::Response,
        fields: &fields,
    });
}

/// application/grpc, with whatever encodes the messages.
pub(crate) fn is_grpc(content_type: &[u8]) -> bool {
    let rest = content_type.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Service and method of a gRPC path: `/package.Service/Method`.
pub(crate) fn called(path: &[u8]) -> (&[u8], &[u8]) {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    match memchr::memrchr(b'/', path) {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (path, b""),
    }
}

/// The authority, where the target has one, and what follows it (RFC 9112, 3.2).
pub(super) fn split_target<'a>(
    method: &[u8],
    target: &'a [u8],
) -> Result<(Option<&'a [u8]>, &'a [u8]), &'static str> {
    if method == b"CONNECT" {
        return Ok((Some(target), b""));
    }
    if target.starts_with(b"/") || target == b"*" {
        return Ok((None, target));
    }
    let scheme = target.windows(3).position(|bytes| bytes == b"://");
    let Some(start) = scheme.map(|scheme| scheme + 3) else {
        return Err("a malformed request target");
    };
    let rest = &target[start..];
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    let (authority, path) = rest.split_at(end.unwrap_or(rest.len()));
    Ok((
        Some(authority),
        if path.starts_with(b"/") { path } else { b"/" },
    ))
}

/// The host of an authority: lower case, without user, port and final dot.
fn host<'a>(
    authority: &'a [u8],
    buffer: &'a mut ArrayVec<u8, HOST_BYTES_MAX>,
) -> Result<&'a [u8], &'static str> {
    let kinds = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |all, &byte| all | HOST_BYTES[usize::from(byte)])
    };
    let (mut host, mut known) = (authority, kinds(authority));
    if known & MARK != 0 {
        let start = memchr::memrchr(b'@', authority).map_or(0, |at| at + 1);
        let authority = &authority[start..];
        let end = match authority.first() {
            Some(b'[') => memchr::memchr(b']', authority).map(|end| end + 1),
            _ => memchr::memchr(b':', authority),
        };
        host = &authority[..end.unwrap_or(authority.len())];
        known = kinds(host);
    }
    let host = host.strip_suffix(b".").unwrap_or(host);
    if host.len() > HOST_BYTES_MAX || known & FOREIGN != 0 {
        return Err("a malformed host");
    }
    if known & UPPER == 0 {
        return Ok(host);
    }
    buffer.extend(host.iter().map(u8::to_ascii_lowercase));
    Ok(buffer)
}

/// A byte that no host has.
const FOREIGN: u8 = 1;
const UPPER: u8 = 2;
/// What user and port are told by, and addresses of IPv6.
const MARK: u8 = 4;

static HOST_BYTES: [u8; 256] = host_bytes();

const fn host_bytes() -> [u8; 256] {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        kinds[byte] = match byte as u8 {
            b'A'..=b'Z' => UPPER,
            b'a'..=b'z' | b'0'..=b'9' | 0x80.. => 0,
            b'-' | b'.' | b'_' | b'~' | b'%' => 0,
            b':' | b'[' | b']' => MARK,
            b'@' => MARK | FOREIGN,
            _ => FOREIGN,
        };
        byte += 1;
    }
    kinds
}
