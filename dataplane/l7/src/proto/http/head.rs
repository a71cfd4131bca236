//! The head of a message: its first line and headers (RFC 9112, 2 to 7).
//!
//! Written by hand, since a policy needs what general parsers do not tell: whether two servers
//! could read the same head in two ways.

use super::content::Told;
use super::names::Name;
use super::product::{Evidence, contains};
use super::rows::Line;
use crate::{ByteSet, violation};

/// What the headers say, as far as anybody asks.
#[derive(Default)]
pub(super) struct Headers<'a> {
    pub(super) host: Option<&'a [u8]>,
    pub(super) upgrade: Option<&'a [u8]>,
    pub(super) content_type: Option<&'a [u8]>,
    /// What the body is written in: Content-Encoding, else what Transfer-Encoding names before the
    /// chunks.
    pub(super) content_coding: Option<&'a [u8]>,
    pub(super) user_agent: Option<&'a [u8]>,
    /// Of a response: what software it is from.
    pub(super) evidence: Evidence<'a>,
    /// Of a request: the application whose client library it is from.
    pub(super) client: Option<&'static str>,
    pub(super) length: Option<u64>,
    pub(super) coding: Coding,
}

/// What Transfer-Encoding says of the body's end.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Coding {
    #[default]
    None,
    Chunked,
    /// Until the connection closes.
    Other,
}

/// A request line.
pub(super) struct RequestLine<'a> {
    pub(super) method: &'a [u8],
    pub(super) target: &'a [u8],
    /// The digit behind "HTTP/1.".
    pub(super) minor: u8,
}

/// A status line.
pub(super) struct StatusLine {
    pub(super) status: u16,
}

/// The next line without its end, and what follows. Ends with LF; a CR before it belongs to it.
pub(super) fn line(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let newline = memchr::memchr(b'\n', input)?;
    let line = &input[..newline];
    Some((
        line.strip_suffix(b"\r").unwrap_or(line),
        &input[newline + 1..],
    ))
}

/// `method SP target SP HTTP/1.x`.
pub(super) fn request_line(line: &[u8]) -> Option<RequestLine<'_>> {
    let space = memchr::memchr(b' ', line)?;
    let (method, rest) = (&line[..space], &line[space + 1..]);
    let space = memchr::memrchr(b' ', rest)?;
    let (target, version) = (&rest[..space], &rest[space + 1..]);
    let &[
        b'H',
        b'T',
        b'T',
        b'P',
        b'/',
        b'1',
        b'.',
        minor @ b'0'..=b'9',
    ] = version
    else {
        return None;
    };
    let whole = !method.is_empty() && method.iter().all(|&byte| is_token(byte));
    // Without an early end, which lets sixteen bytes be looked at at a time.
    let unseen = target.iter().fold(false, |unseen, &byte| {
        unseen | (byte <= b' ') | (byte == 0x7f)
    });
    let visible = !target.is_empty() && !unseen;
    (whole && visible).then_some(RequestLine {
        method,
        target,
        minor: minor - b'0',
    })
}

/// `HTTP/1.x SP 3DIGIT [SP reason]`.
pub(super) fn status_line(line: &[u8]) -> Option<StatusLine> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let (&[b'0'..=b'9', b' ', a @ b'1'..=b'9', b, c], rest) = rest.split_first_chunk::<5>()? else {
        return None;
    };
    let digits = [a, b, c];
    if !digits.iter().all(u8::is_ascii_digit) || !matches!(rest.first(), None | Some(b' ')) {
        return None;
    }
    let status = digits
        .iter()
        .fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    Some(StatusLine { status })
}

/// Reads the headers up to the empty line. `strict` for requests: what servers must refuse
/// (RFC 9112, 5 and 6) is refused, since it is how requests are smuggled past a middle box. Of
/// responses, which some servers send with two lengths, the coding counts (RFC 9112, 6.3).
pub(super) fn headers<'a>(told: &Told<'a>, strict: bool) -> Result<Headers<'a>, &'static str> {
    let mut headers = Headers::default();
    let mut framing = true;
    let odd = told.may_be_odd();
    for line in told.header_lines() {
        if line.is_fold() {
            match framing && strict {
                true => return Err(violation::HTTP_FOLDED),
                false => continue,
            }
        }
        if strict && odd && line.bytes.iter().any(|byte| matches!(byte, 0 | b'\r')) {
            return Err(violation::HTTP_CONTROL);
        }
        framing = match line.colon {
            Some(_) => take(&mut headers, &line, strict)?,
            None if strict => return Err(violation::HTTP_NO_COLON),
            None => false,
        };
    }
    match (headers.length, headers.coding) {
        (_, Coding::Other) if strict => Err(violation::HTTP_AMBIGUOUS_CODING),
        (Some(_), Coding::Chunked) if strict => Err(violation::HTTP_LENGTH_AND_CODING),
        _ => Ok(headers),
    }
}

/// Takes one header; returns whether it says where the message goes or ends.
fn take<'a>(
    headers: &mut Headers<'a>,
    line: &Line<'a>,
    strict: bool,
) -> Result<bool, &'static str> {
    if strict && !line.is_token {
        return Err(violation::HTTP_HEADER_NAME);
    }
    let value = line.value;
    if !strict {
        headers.evidence.take(line.name, value);
    }
    match line.name {
        Name::Host => {
            if strict && headers.host.is_some() {
                return Err("more than one Host");
            }
            headers.host = Some(value);
            return Ok(true);
        }
        Name::Accept if contains(value, b"application/vnd.elasticsearch") => {
            headers.client = Some("elasticsearch");
        }
        Name::Upgrade => headers.upgrade = Some(value),
        Name::UserAgent => headers.user_agent = Some(value),
        Name::ConsulToken => headers.client = Some("consul"),
        Name::ElasticClient => headers.client = Some("elasticsearch"),
        Name::ContentType => headers.content_type = Some(value),
        Name::ContentLength => {
            let length = length(value)?;
            if headers.length.is_some_and(|other| other != length) {
                return Err(violation::HTTP_TWO_LENGTHS);
            }
            headers.length = Some(length);
            return Ok(true);
        }
        Name::ContentEncoding => headers.content_coding = Some(value),
        Name::TransferEncoding => {
            if strict && headers.coding != Coding::None {
                return Err(violation::HTTP_AMBIGUOUS_CODING);
            }
            headers.coding = coding(value, strict);
            if let Some(comma) = memchr::memrchr(b',', value) {
                headers.content_coding = headers.content_coding.or(Some(&value[..comma]));
            }
            return Ok(true);
        }
        _ => {}
    }
    Ok(false)
}

/// The value of Content-Length: digits, or the same digits several times in a list (RFC 9110, 8.6).
pub(crate) fn length(value: &[u8]) -> Result<u64, &'static str> {
    let mut first = None;
    for part in value.split(|&byte| byte == b',') {
        let part = part.trim_ascii();
        let length = match (decimal(part), part.split_first()) {
            (Some(length), _) => length,
            (None, Some((b'-', digits))) if decimal(digits).is_some() => {
                return Err(violation::HTTP_NEGATIVE_LENGTH);
            }
            _ => return Err(violation::HTTP_MALFORMED_LENGTH),
        };
        if first.is_some_and(|first| first != length) {
            return Err(violation::HTTP_TWO_LENGTHS);
        }
        first = Some(length);
    }
    first.ok_or(violation::HTTP_MALFORMED_LENGTH)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

fn coding(value: &[u8], strict: bool) -> Coding {
    let mut codings = value.rsplit(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let last = codings.next().unwrap_or_default();
    if last.eq_ignore_ascii_case(b"chunked") {
        let twice = codings.any(|other| other.eq_ignore_ascii_case(b"chunked"));
        return if twice {
            Coding::Other
        } else {
            Coding::Chunked
        };
    }
    match last.eq_ignore_ascii_case(b"identity") && !strict {
        true => Coding::None,
        false => Coding::Other,
    }
}

/// RFC 9110, 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

static TOKEN: [bool; 256] = token();

const fn token() -> [bool; 256] {
    let marks = ByteSet::of(b"!#$%&'*+-.^_`|~");
    let mut token = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        token[byte] = (byte as u8).is_ascii_alphanumeric() || marks.contains(byte as u8);
        byte += 1;
    }
    token
}
