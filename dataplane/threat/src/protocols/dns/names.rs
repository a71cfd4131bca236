//! What a name shows: which domain it is of, and how its front looks.

/// Parts of a name: what the owner of a domain may choose, and the domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    /// In front of the domain, without the dot between.
    pub(super) front: &'a [u8],
    /// As it would be registered: two labels, three below registries such as `co.uk`.
    pub(super) domain: &'a [u8],
}

/// Second-level names below which others register, where the first level is a country.
const REGISTRIES: &[&[u8]] = &[
    b"ac", b"co", b"com", b"edu", b"gob", b"gov", b"ltd", b"mil", b"ne", b"net", b"nom", b"or",
    b"org", b"plc", b"sch",
];

/// Cuts a name.
pub(super) fn parts(name: &[u8]) -> Parts<'_> {
    let mut starts = [0; 3];
    let mut count = 0;
    let mut end = name.len();
    while count < 3 {
        let dot = last_dot(name.get(..end).unwrap_or_default());
        starts[count] = dot.map_or(0, |dot| dot + 1);
        count += 1;
        match dot {
            Some(dot) => end = dot,
            None => break,
        }
    }
    let label = |place: usize| {
        let end = match place {
            0 => name.len(),
            _ => starts[place - 1].saturating_sub(1),
        };
        name.get(starts[place]..end).unwrap_or_default()
    };
    let country = label(0).len() == 2;
    let labels = match count {
        3 if country && REGISTRIES.contains(&label(1)) => 3,
        other => other.min(2),
    };
    let start = starts[labels - 1];
    Parts {
        front: name.get(..start.saturating_sub(1)).unwrap_or_default(),
        domain: name.get(start..).unwrap_or_default(),
    }
}

/// The last dot that parts labels: one within a label has a backslash before it.
fn last_dot(name: &[u8]) -> Option<usize> {
    let mut dots = (0..name.len()).rev().filter(|&at| name[at] == b'.');
    dots.find(|&at| at == 0 || name[at - 1] != b'\\')
}

/// Whether `name` is `domain` or below it.
pub(super) fn is_below(name: &[u8], domain: &[u8]) -> bool {
    // Asked of dozens of domains a name: the last byte rules most of them out.
    name.last() == domain.last()
        && name
            .strip_suffix(domain)
            .is_some_and(|front| front.is_empty() || front.ends_with(b"."))
}

/// Shannon's entropy of the bytes, in thousandths of a bit each.
pub(super) fn entropy_millibits(bytes: &[u8]) -> u32 {
    let mut counts = [0_u16; 256];
    for &byte in bytes {
        let count = &mut counts[usize::from(byte)];
        *count = count.saturating_add(1);
    }
    let total = bytes.len() as f32;
    let bits: f32 = counts
        .iter()
        .filter(|&&count| count > 0)
        .map(|&count| {
            let share = f32::from(count) / total;
            -share * share.log2()
        })
        .sum();
    (bits * 1_000.0) as u32
}

/// Whether a front is a service, a reversed address or a lone word of many: names that many clients ask
/// for in great number.
pub(super) fn is_customary(front: &[u8]) -> bool {
    // Four numbers take seven bytes at least.
    if front.len() < 7 && front.first() != Some(&b'_') && !front.contains(&b'.') {
        return false;
    }
    let labels = || front.split(|&byte| byte == b'.');
    let is_number = |label: &[u8]| label.len() <= 3 && label.iter().all(u8::is_ascii_digit);
    let is_nibble = |label: &[u8]| matches!(label, [byte] if byte.is_ascii_hexdigit());
    let numbers = labels()
        .filter(|label| !label.is_empty() && is_number(label))
        .count();
    let nibbles = labels().filter(|label| is_nibble(label)).count();
    let service = labels().any(|label| label.first() == Some(&b'_')) && front.len() < 64;
    service || numbers >= 4 || nibbles >= 16
}

/// Bytes that no host name has.
pub(super) fn odd_bytes(front: &[u8]) -> usize {
    let is_odd = |&byte: &u8| !matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    front.iter().filter(|byte| is_odd(byte)).count()
}

/// A hash that nobody can aim who does not know the secret.
pub(super) fn hash(secret: u64, bytes: &[u8]) -> u64 {
    use std::hash::Hasher;
    let mut hasher = siphasher::sip::SipHasher13::new_with_keys(secret, !secret);
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(name: &str) -> (String, String) {
        let parts = parts(name.as_bytes());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(parts.front), text(parts.domain))
    }

    #[test]
    fn names_are_cut_where_they_are_registered() {
        let pair = |front: &str, domain: &str| (front.to_string(), domain.to_string());
        assert_eq!(cut("a.b.example.com"), pair("a.b", "example.com"));
        assert_eq!(cut("a.b.example.co.uk"), pair("a.b", "example.co.uk"));
        assert_eq!(cut("example.com"), pair("", "example.com"));
        assert_eq!(cut("lone"), pair("", "lone"));
        assert_eq!(cut("a\\.b.tun.test"), pair("a\\.b", "tun.test"));
        assert_eq!(cut(""), pair("", ""));
    }

    #[test]
    fn random_text_has_more_entropy_than_words() {
        assert_eq!(entropy_millibits(b"aaaa"), 0);
        assert_eq!(entropy_millibits(b"abcd"), 2_000);
        assert!(entropy_millibits(b"h4sicn03kqaa3rlc3qudhh0aavjycxwakjehelu5klu") > 3_800);
        assert!(entropy_millibits(b"images-static-content") < 3_700);
    }

    #[test]
    fn block_lists_and_services_are_customary() {
        assert!(is_customary(b"4.3.2.10"));
        assert!(is_customary(b"_sip._tcp"));
        assert!(!is_customary(b"aaaabbbbcccc"));
        assert_eq!(odd_bytes(b"4s2fgaaaa==-"), 2);
    }
}
