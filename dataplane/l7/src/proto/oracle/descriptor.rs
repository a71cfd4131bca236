//! Connect descriptors: `(KEY=value)`, where a value may be a list of such.

/// The value of the first `(KEY=…)`, wherever it stands; of a list, what is between its outer
/// parentheses.
pub(super) fn value<'a>(text: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let mut at = 0;
    while let Some(open) = memchr::memchr(b'(', text.get(at..)?) {
        at += open + 1;
        let rest = text.get(at..)?;
        let Some(behind) = rest
            .get(..key.len())
            .filter(|front| front.eq_ignore_ascii_case(key))
            .and_then(|_| rest.get(key.len()..))
        else {
            continue;
        };
        let behind = behind.trim_ascii_start();
        if let Some(value) = behind.strip_prefix(b"=") {
            return Some(enclosed(value.trim_ascii_start()));
        }
    }
    None
}

/// Up to the parenthesis that closes what was open before.
fn enclosed(text: &[u8]) -> &[u8] {
    let mut depth = 0_u32;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' if depth == 0 => return text.get(..at).unwrap_or_default(),
            b')' => depth -= 1,
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn values_are_found_by_their_keys() {
        let text = b"(DESCRIPTION=(ADDRESS=(HOST=db)(PORT=1521))(CONNECT_DATA=(service_name = shop)(CID=(PROGRAM=app)(HOST=pod)(USER=me))))";
        assert_eq!(value(text, b"SERVICE_NAME"), Some(&b"shop"[..]));
        let client = value(text, b"CID").expect("a client");
        assert_eq!(value(client, b"HOST"), Some(&b"pod"[..]));
        assert_eq!(value(text, b"HOST"), Some(&b"db"[..]));
        assert_eq!(value(text, b"SID"), None);
        assert_eq!(value(b"(ERR=12514", b"ERR"), Some(&b"12514"[..]));
        assert_eq!(value(b"(((", b"ERR"), None);
    }
}
