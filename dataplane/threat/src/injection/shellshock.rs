//! Shellshock: a definition of a function where bash reads its environment (CVE-2014-6271 and kin).
//!
//! bash took any variable that begins with `() {` for a function and ran what followed it.

use super::sighting::Sighting;

/// Whether `value` begins as a definition of a function. Where an application is asked in the ordinary
/// way (`strict`), something has to follow the function as well.
pub(super) fn look(value: &[u8], strict: bool) -> Option<Sighting> {
    let start = value.len() - value.trim_ascii_start().len();
    let quoted = matches!(value.get(start), Some(b'"' | b'\''));
    let mut at = start + usize::from(quoted);
    for (place, expected) in b"(){".iter().enumerate() {
        while place > 0 && matches!(value.get(at), Some(b' ' | b'\t')) {
            at += 1;
        }
        if value.get(at) != Some(expected) {
            return None;
        }
        at += 1;
    }
    let body = value.get(at..).unwrap_or_default();
    if strict {
        let close = memchr::memchr(b'}', body)?;
        let behind = body.get(close + 1..)?.trim_ascii_start();
        let runs = matches!(behind.first(), Some(b';' | b'>' | b'|' | b'&'));
        if !runs || behind.len() < 3 {
            return None;
        }
    }
    Some(Sighting::new(
        "function for bash in the environment",
        start,
        value.len(),
    ))
}
