//! Values out of what carries several: queries and forms, cookies, JSON, multipart.
//!
//! Nothing is decoded here but boundaries found: readings are made of each value on its own. What is no
//! such thing is one value. Trusts nothing; linear; no memory.

use memchr::memmem;

/// How a body carries its values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Media {
    /// `name=value&…`
    Form,
    /// `name=value; …`
    Cookie,
    Json,
    Multipart,
    /// Pictures, archives: nothing that anybody interprets.
    Opaque,
    /// One value.
    #[default]
    Text,
}

impl Media {
    /// What a Content-Type says.
    pub(super) fn of(media_type: &[u8]) -> Self {
        let has = |what: &[u8]| {
            media_type
                .windows(what.len())
                .take(128)
                .any(|part| part.eq_ignore_ascii_case(what))
        };
        if has(b"x-www-form-urlencoded") {
            Self::Form
        } else if has(b"json") || has(b"graphql") {
            Self::Json
        } else if has(b"multipart/") {
            Self::Multipart
        } else if has(b"image/")
            || has(b"video/")
            || has(b"audio/")
            || has(b"octet-stream")
            || has(b"zip")
            || has(b"grpc")
            || has(b"protobuf")
        {
            Self::Opaque
        } else {
            Self::Text
        }
    }
}

/// Tells each value and its name. `continued` says that the front may be the rest of a value.
pub(super) fn values(
    media: Media,
    bytes: &[u8],
    continued: bool,
    tell: &mut dyn FnMut(&[u8], &[u8]),
) {
    match media {
        Media::Form => pairs(bytes, b'&', tell),
        Media::Cookie => pairs(bytes, b';', tell),
        Media::Json => json(bytes, tell),
        Media::Multipart => multipart(bytes, continued, tell),
        Media::Opaque => {}
        Media::Text => match guess(bytes) {
            Media::Text => tell(b"", bytes),
            Media::Form => {
                // `id=1 or 1=1` is as much a text.
                if memchr::memchr(b'&', bytes).is_none() {
                    tell(b"", bytes);
                }
                pairs(bytes, b'&', tell);
            }
            media => values(media, bytes, continued, tell),
        },
    }
}

/// What bytes are whose media type is not told: forms are sent under other names as well.
fn guess(bytes: &[u8]) -> Media {
    let start = bytes.trim_ascii_start();
    if matches!(start.first(), Some(b'{' | b'[')) {
        return Media::Json;
    }
    if start.starts_with(b"--") && memmem::find(start, b"ontent-").is_some() {
        return Media::Multipart;
    }
    let odd = bytes
        .iter()
        .filter(|byte| matches!(byte, 0..=8 | 14..=31 | 127))
        .count();
    if odd * 20 > bytes.len() {
        return Media::Opaque;
    }
    if is_form(start) {
        Media::Form
    } else {
        Media::Text
    }
}

/// `name=…`, without blanks.
fn is_form(text: &[u8]) -> bool {
    let name = text
        .iter()
        .take_while(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'[' | b']' | b'%')
        })
        .count();
    name > 0 && text.get(name) == Some(&b'=')
}

fn pairs(bytes: &[u8], separator: u8, tell: &mut dyn FnMut(&[u8], &[u8])) {
    for pair in bytes
        .split(|byte| *byte == separator)
        .filter(|pair| !pair.is_empty())
    {
        match memchr::memchr(b'=', pair) {
            Some(equals) => tell(pair[..equals].trim_ascii(), &pair[equals + 1..]),
            None => tell(b"", pair),
        }
    }
}

/// Every string of a JSON text; the name of a member goes with the string behind it.
fn json(bytes: &[u8], tell: &mut dyn FnMut(&[u8], &[u8])) {
    let mut name: &[u8] = b"";
    let mut at = 0;
    while let Some(quote) = bytes.get(at..).and_then(|rest| memchr::memchr(b'"', rest)) {
        let start = at + quote + 1;
        let end = end_of_string(bytes, start);
        let text = &bytes[start.min(bytes.len())..end];
        at = end + 1;
        let behind = bytes.get(at..).unwrap_or_default().trim_ascii_start();
        if behind.first() == Some(&b':') {
            name = text;
            if text
                .iter()
                .any(|byte| matches!(byte, b'\'' | b'$' | b'{' | b'(' | b'<'))
            {
                tell(b"", text);
            }
        } else {
            tell(name, text);
        }
    }
}

fn end_of_string(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(rest) = bytes.get(at..) {
        let Some(found) = memchr::memchr2(b'"', b'\\', rest) else {
            break;
        };
        at += found;
        if bytes[at] == b'"' {
            return at;
        }
        at += 2;
    }
    bytes.len()
}

/// The contents of each part; the lines of its head as well, where names of files stand.
fn multipart(bytes: &[u8], continued: bool, tell: &mut dyn FnMut(&[u8], &[u8])) {
    let mut rest = bytes;
    let mut in_head = !continued;
    loop {
        let (part, next) = match memmem::find(rest, b"\r\n--") {
            Some(boundary) => (&rest[..boundary], Some(&rest[boundary + 4..])),
            None => (rest, None),
        };
        let head_end = memmem::find(part, b"\r\n\r\n").filter(|_| in_head);
        let (head, content) = match head_end {
            Some(end) => (&part[..end], &part[end + 4..]),
            None => (&part[..0], part),
        };
        for line in head.split(|byte| *byte == b'\n') {
            let is_disposition =
                line.len() > 20 && line[..20].eq_ignore_ascii_case(b"content-disposition:");
            for quoted in line
                .split(|byte| *byte == b';')
                .skip(1)
                .filter(|_| is_disposition)
            {
                let value =
                    memchr::memchr(b'=', quoted).map_or(quoted, |equals| &quoted[equals + 1..]);
                tell(b"", unquote(value.trim_ascii()));
            }
        }
        if !is_file(head) {
            tell(b"", content);
        }
        in_head = true;
        match next {
            Some(next) => rest = next,
            None => return,
        }
    }
}

fn unquote(value: &[u8]) -> &[u8] {
    let value = value.strip_prefix(b"\"").unwrap_or(value);
    value.strip_suffix(b"\"").unwrap_or(value)
}

/// A part that is a file of a kind that is not text.
fn is_file(head: &[u8]) -> bool {
    head.split(|byte| *byte == b'\n').any(|line| {
        line.len() > 13
            && line[..13].eq_ignore_ascii_case(b"content-type:")
            && Media::of(line) == Media::Opaque
    })
}

/// `filename="…"` of a Content-Disposition.
pub(super) fn file_name(header: &[u8]) -> Option<&[u8]> {
    let at = memmem::find(header, b"filename")?;
    let rest = &header[at + 8..];
    let equals = memchr::memchr(b'=', rest)?;
    let value = rest[equals + 1..].trim_ascii_start();
    let value = value.strip_prefix(b"\"").unwrap_or(value);
    let end = memchr::memchr2(b'"', b';', value).unwrap_or(value.len());
    Some(&value[..end])
}

/// Ends of a path that may be a value, the last of them: behind each slash that is no comment's.
pub(super) fn tails(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    memchr::memrchr_iter(b'/', path)
        .filter(|at| {
            let after = path.get(at + 1);
            let before = at.checked_sub(1).and_then(|before| path.get(before));
            after != Some(&b'*') && before != Some(&b'*')
        })
        .take(6)
        .map(|at| &path[at + 1..])
}
