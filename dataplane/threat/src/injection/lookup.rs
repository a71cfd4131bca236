//! Log4Shell: what Log4j makes of nested lookups (CVE-2021-44228, CVE-2021-45046).
//!
//! `${${lower:j}${env:NOTHING:-n}di:ldap://…}` is evaluated as Log4j would, inside out, until it reads
//! `${jndi:` or is through. Trusts nothing. Time: linear, since what is evaluated is never longer than
//! what it was made of. Bounds: [`EVALUATED_BYTES`], [`MAX_DEPTH`].

use arrayvec::ArrayVec;

use super::sighting::Sighting;

const EVALUATED_BYTES: usize = 512;
const MAX_DEPTH: usize = 64;
/// Kept of a lookup's text at its front, where its name is.
const FRONT_BYTES: usize = 16;

/// An open lookup: where its text begins in the output, and where it began in the value.
#[derive(Clone, Copy)]
struct Open {
    out: usize,
    from: usize,
}

/// Whether `value` makes Log4j look something up by JNDI.
pub(super) fn look(value: &[u8]) -> Option<Sighting> {
    let first = memchr::memmem::find(value, b"${")?;
    let mut out: ArrayVec<u8, EVALUATED_BYTES> = ArrayVec::new();
    let mut open: ArrayVec<Open, MAX_DEPTH> = ArrayVec::new();
    let mut at = first;
    while let Some(&byte) = value.get(at) {
        match (byte, value.get(at + 1)) {
            (b'$', Some(b'$')) => {}
            (b'$', Some(b'{')) => {
                let lookup = Open {
                    out: out.len(),
                    from: at,
                };
                if open.try_push(lookup).is_err() {
                    return Some(Sighting::new("lookups nested beyond measure", first, at));
                }
                at += 2;
                continue;
            }
            (b'}', _) => {
                if let Some(lookup) = open.pop() {
                    if is_jndi(&out[lookup.out..]) {
                        return Some(Sighting::new(SIGN, lookup.from, at + 1));
                    }
                    evaluate(&mut out, lookup.out);
                }
            }
            _ if open.is_empty() => {
                // Nothing is open: on to the next lookup.
                let rest = value.get(at..).unwrap_or_default();
                at += memchr::memmem::find(rest, b"${")?;
                out.clear();
                continue;
            }
            _ => {
                if out.is_full() {
                    shorten(&mut out, &mut open);
                }
                let _ = out.try_push(byte);
            }
        }
        at += 1;
    }
    // Cut off or never closed: it was meant to be one.
    open.iter()
        .find(|lookup| is_jndi(&out[lookup.out..]))
        .map(|lookup| Sighting::new(SIGN, lookup.from, at.min(value.len())))
}

/// Makes room: the longest text of a lookup loses half of what lies behind its front.
fn shorten(out: &mut ArrayVec<u8, EVALUATED_BYTES>, open: &mut ArrayVec<Open, MAX_DEPTH>) {
    let end_of = |place: usize| open.get(place + 1).map_or(out.len(), |next| next.out);
    let longest = (0..open.len()).max_by_key(|place| end_of(*place) - open[*place].out);
    let Some(place) = longest else {
        return;
    };
    let (start, end) = (open[place].out, end_of(place));
    let from = (start + FRONT_BYTES).min(end);
    let removed = (end - from) / 2;
    out.drain(from..from + removed);
    for later in open.iter_mut().skip(place + 1) {
        later.out -= removed;
    }
}

const SIGN: &str = "lookup by JNDI";

fn is_jndi(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    text.get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"jndi:"))
}

/// Puts what a lookup gives in the place of its text.
fn evaluate(out: &mut ArrayVec<u8, EVALUATED_BYTES>, start: usize) {
    let text = &out[start..];
    let colon = memchr::memchr(b':', text);
    let (name, argument) = match colon {
        Some(colon) => (&text[..colon], colon + 1),
        None => (text, text.len()),
    };
    let case = [b"lower".as_slice(), b"upper"]
        .into_iter()
        .position(|known| name.eq_ignore_ascii_case(known));
    if let Some(case) = case {
        keep(out, start, start + argument);
        change_case(out, start, case == 1);
        return;
    }
    if name.eq_ignore_ascii_case(b"date") {
        // What stands in quotes in a format of dates stands for itself.
        keep(out, start, start + argument);
        out.retain(|byte| *byte != b'\'');
        return;
    }
    // Everything else is unknown here, and its default is taken; without one, nothing is left.
    match memchr::memmem::find(text, b":-") {
        Some(default) => keep(out, start, start + default + 2),
        None => out.truncate(start),
    }
}

/// Removes what lies between `start` and `from`.
fn keep(out: &mut ArrayVec<u8, EVALUATED_BYTES>, start: usize, from: usize) {
    let from = from.min(out.len());
    out.drain(start..from);
}

/// The dotless and the dotted i, the long s and the Kelvin sign become letters of ASCII on the way.
fn change_case(out: &mut ArrayVec<u8, EVALUATED_BYTES>, start: usize, upper: bool) {
    let (mut from, mut to) = (start, start);
    while from < out.len() {
        let (byte, taken) = match &out[from..] {
            [0xc4, 0xb0 | 0xb1, ..] => (b'i', 2),
            [0xc5, 0xbf, ..] => (b's', 2),
            [0xe2, 0x84, 0xaa, ..] => (b'k', 3),
            [byte, ..] => (*byte, 1),
            [] => return,
        };
        out[to] = if upper {
            byte.to_ascii_uppercase()
        } else {
            byte.to_ascii_lowercase()
        };
        from += taken;
        to += 1;
    }
    out.truncate(to);
}
