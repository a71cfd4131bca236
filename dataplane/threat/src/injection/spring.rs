//! Spring4Shell: names of parameters that lead to a class loader (CVE-2022-22965, CVE-2010-1622).

use arrayvec::ArrayVec;

use super::sighting::Sighting;

/// Names are looked at up to this length.
const NAME_BYTES: usize = 256;

/// Whether the parameter's name reaches through `class` for what loads it.
pub(super) fn look(name: &[u8]) -> Option<Sighting> {
    // It takes two steps: most names are one.
    memchr::memchr3(b'.', b'[', b']', name)?;
    // One spelling for `a.b`, `a['b']`, `a["b"]`, `a[b]`.
    let plain: ArrayVec<u8, NAME_BYTES> = name
        .iter()
        .map(|byte| match byte {
            b'[' | b']' => b'.',
            byte => byte.to_ascii_lowercase(),
        })
        .filter(|byte| !matches!(byte, b'\'' | b'"' | 0..=b' '))
        .take(NAME_BYTES)
        .collect();
    let mut steps = plain
        .split(|byte| *byte == b'.')
        .filter(|step| !step.is_empty());
    steps.find(|step| *step == b"class")?;
    let reaches = match steps.next() {
        Some(b"module") => steps.next() == Some(b"classloader"),
        Some(b"classloader" | b"protectiondomain") => true,
        _ => false,
    };
    reaches.then(|| Sighting::new("parameter that reaches the class loader", 0, name.len()))
}
