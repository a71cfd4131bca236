//! The path that a server will act on, whatever way the client wrote it.

use arrayvec::ArrayVec;

/// Longest path that is read, in bytes.
pub(super) const PATH_BYTES_MAX: usize = 4_096;

/// Holds a path that had to be rewritten.
pub(super) type PathBuffer = ArrayVec<u8, PATH_BYTES_MAX>;

/// The path without query and fragment, percent-decoded once, with `//`, `/./` and `/../`
/// resolved (RFC 3986, 5.2.4 and 6.2.2), so that a rule on `/api/` holds for `/%61pi/` and
/// `/x/../api/` too. None when it is longer than [`PATH_BYTES_MAX`].
pub(super) fn normalise<'a>(target: &'a [u8], buffer: &'a mut PathBuffer) -> Option<&'a [u8]> {
    let end = memchr::memchr2(b'?', b'#', target).unwrap_or(target.len());
    let path = &target[..end];
    if path.len() > PATH_BYTES_MAX {
        return None;
    }
    if is_plain(path) {
        return Some(path);
    }
    buffer.clear();
    decode(path, buffer);
    if buffer.first() == Some(&b'/') {
        let length = resolve(buffer);
        buffer.truncate(length);
    }
    Some(buffer)
}

/// Whether nothing has to be rewritten: the usual case.
fn is_plain(path: &[u8]) -> bool {
    let (plain, _) = path.iter().fold((true, false), |(plain, slash), &byte| {
        let rewritten = (byte == b'%') | slash & matches!(byte, b'/' | b'.');
        (plain & !rewritten, byte == b'/')
    });
    plain
}

/// Percent-decodes once, as far as there is room.
pub(super) fn decode<const ROOM: usize>(path: &[u8], buffer: &mut ArrayVec<u8, ROOM>) {
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        let (decoded, tail) = match (byte, tail) {
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, after),
                _ => (byte, tail),
            },
            _ => (byte, tail),
        };
        if buffer.try_push(decoded).is_err() {
            return;
        }
        rest = tail;
    }
}

pub(super) fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// Resolves the segments in place; what is written never overtakes what is read.
fn resolve(path: &mut [u8]) -> usize {
    let mut written = 0;
    let mut read = 0;
    while read < path.len() {
        // `read` is at a slash; the segment follows.
        let start = read + 1;
        let length = path[start..].iter().position(|&byte| byte == b'/');
        let end = length.map_or(path.len(), |length| start + length);
        let last = length.is_none();
        match &path[start..end] {
            b"" | b"." => {}
            b".." => {
                written = path[..written]
                    .iter()
                    .rposition(|&byte| byte == b'/')
                    .unwrap_or(0);
            }
            _ => {
                path.copy_within(read..end, written);
                written += end - read;
                read = end;
                continue;
            }
        }
        if last {
            path[written] = b'/';
            written += 1;
        }
        read = end;
    }
    written
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normalised(target: &str) -> String {
        let mut buffer = PathBuffer::new();
        let path = normalise(target.as_bytes(), &mut buffer).expect("short");
        String::from_utf8_lossy(path).into_owned()
    }

    /// Slow and obvious: decode, split, stack, join.
    fn oracle(target: &str) -> Vec<u8> {
        let path = target
            .split(['?', '#'])
            .next()
            .unwrap_or_default()
            .as_bytes();
        let mut decoded = Vec::new();
        let mut index = 0;
        while index < path.len() {
            let code = (path[index] == b'%')
                .then(|| path.get(index + 1..index + 3))
                .flatten()
                .filter(|code| code.iter().all(u8::is_ascii_hexdigit))
                .and_then(|code| std::str::from_utf8(code).ok())
                .and_then(|code| u8::from_str_radix(code, 16).ok());
            decoded.push(code.unwrap_or(path[index]));
            index += if code.is_some() { 3 } else { 1 };
        }
        if decoded.first() != Some(&b'/') {
            return decoded;
        }
        let segments: Vec<&[u8]> = decoded[1..].split(|&byte| byte == b'/').collect();
        let mut stack: Vec<&[u8]> = Vec::new();
        for segment in &segments {
            match *segment {
                b"" | b"." => {}
                b".." => drop(stack.pop()),
                segment => stack.push(segment),
            }
        }
        let mut joined = Vec::new();
        for segment in &stack {
            joined.push(b'/');
            joined.extend_from_slice(segment);
        }
        if matches!(segments.last(), Some(&(b"" | b"." | b".."))) {
            joined.push(b'/');
        }
        joined
    }

    #[test]
    fn writes_one_path_in_one_way() {
        for (written, meant) in [
            ("/", "/"),
            ("/a/b?c=/../d", "/a/b"),
            ("/%61pi/%2e%2E/x", "/x"),
            ("//a///b/", "/a/b/"),
            ("/a/./b/.", "/a/b/"),
            ("/a/b/..", "/a/"),
            ("/../../etc/passwd", "/etc/passwd"),
            ("/a%2fb", "/a/b"),
            ("/100%", "/100%"),
            ("/%zz%4", "/%zz%4"),
            ("/.hidden/..x", "/.hidden/..x"),
            ("*", "*"),
            ("/%252e%252e/x", "/%2e%2e/x"),
        ] {
            assert_eq!(normalised(written), meant, "{written}");
        }
    }

    #[test]
    fn a_longer_path_is_not_read() {
        let mut buffer = PathBuffer::new();
        assert!(normalise(&[b'/'; PATH_BYTES_MAX + 1], &mut buffer).is_none());
        assert!(normalise(&[b'/'; PATH_BYTES_MAX], &mut buffer).is_some());
    }

    proptest! {
        #[test]
        fn agrees_with_the_oracle(target in "(/|[a-c.%?]|\\.\\.|%2[eEfF5]|%61){0,24}") {
            let mut buffer = PathBuffer::new();
            let path = normalise(target.as_bytes(), &mut buffer).expect("short");
            prop_assert_eq!(path, oracle(&target), "{}", target);
        }
    }
}
