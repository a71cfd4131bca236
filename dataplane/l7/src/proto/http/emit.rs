//! From a head to an event.

use arrayvec::ArrayVec;

use super::head::{Headers, RequestLine};
use super::path;
use super::{CONTENT_TYPE, HOST, METHOD, PATH, SERVER, STATUS, TARGET, USER_AGENT, VERSION};
use crate::{Event, EventKind, EventSink, Field, Value};

/// Longest host name (RFC 1035) with brackets or dot.
const HOST_BYTES_MAX: usize = 256;

/// Tells of a request, or says why it could be read in two ways.
pub(super) fn request(
    line: &RequestLine<'_>,
    headers: &Headers<'_>,
    sink: &mut dyn EventSink,
) -> Result<(), &'static str> {
    let (authority, target_path) = split_target(line)?;
    let (mut first, mut second) = (ArrayVec::new(), ArrayVec::new());
    let of_target = authority
        .map(|authority| host(authority, &mut first))
        .transpose()?;
    let of_header = headers
        .host
        .map(|header| host(header, &mut second))
        .transpose()?;
    if let (Some(one), Some(other)) = (of_target, of_header)
        && one != other
    {
        return Err("a target for another host than the Host header");
    }
    let mut buffer = path::PathBuffer::new();
    let path = path::normalise(target_path, &mut buffer).ok_or("a path longer than is read")?;
    let mut fields = ArrayVec::<Field<'_>, 7>::new();
    let mut add = |index, value| {
        // As many as there is room for, by count.
        let _ = fields.try_push(Field { index, value });
    };
    add(METHOD, Value::Bytes(line.method));
    add(
        HOST,
        Value::Bytes(of_target.or(of_header).unwrap_or_default()),
    );
    add(PATH, Value::Bytes(path));
    add(TARGET, Value::Bytes(line.target));
    add(
        VERSION,
        Value::Name(if line.minor == 0 {
            "HTTP/1.0"
        } else {
            "HTTP/1.1"
        }),
    );
    if let Some(agent) = headers.user_agent {
        add(USER_AGENT, Value::Bytes(agent));
    }
    if let Some(content_type) = headers.content_type {
        add(CONTENT_TYPE, Value::Bytes(content_type));
    }
    sink.event(&Event {
        kind: EventKind::Request,
        fields: &fields,
    });
    Ok(())
}

/// Tells of a response.
pub(super) fn response(first: &[u8], status: u16, headers: &Headers<'_>, sink: &mut dyn EventSink) {
    let old = first.starts_with(b"HTTP/1.0");
    let mut fields = ArrayVec::<Field<'_>, 4>::new();
    let mut add = |index, value| {
        let _ = fields.try_push(Field { index, value });
    };
    add(STATUS, Value::Number(u64::from(status)));
    add(
        VERSION,
        Value::Name(if old { "HTTP/1.0" } else { "HTTP/1.1" }),
    );
    if let Some(content_type) = headers.content_type {
        add(CONTENT_TYPE, Value::Bytes(content_type));
    }
    if let Some(server) = headers.server {
        add(SERVER, Value::Bytes(server));
    }
    sink.event(&Event {
        kind: EventKind::Response,
        fields: &fields,
    });
}

/// The authority, where the target has one, and what follows it (RFC 9112, 3.2).
fn split_target<'a>(line: &RequestLine<'a>) -> Result<(Option<&'a [u8]>, &'a [u8]), &'static str> {
    let target = line.target;
    if line.method == b"CONNECT" {
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
    let start = authority
        .iter()
        .rposition(|&byte| byte == b'@')
        .map_or(0, |at| at + 1);
    let authority = &authority[start..];
    let end = match authority.first() {
        Some(b'[') => authority
            .iter()
            .position(|&byte| byte == b']')
            .map(|end| end + 1),
        _ => authority.iter().position(|&byte| byte == b':'),
    };
    let host = &authority[..end.unwrap_or(authority.len())];
    let host = host.strip_suffix(b".").unwrap_or(host);
    let allowed =
        |byte: &u8| byte.is_ascii_alphanumeric() || *byte >= 0x80 || b"-._~%:[]".contains(byte);
    if host.len() > HOST_BYTES_MAX || !host.iter().all(allowed) {
        return Err("a malformed host");
    }
    if !host.iter().any(u8::is_ascii_uppercase) {
        return Ok(host);
    }
    buffer.extend(host.iter().map(u8::to_ascii_lowercase));
    Ok(buffer)
}
