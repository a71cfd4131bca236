//! NTLMSSP: who logs in, where another protocol carries its tokens (MS-NLMP, 2.2.1.3).
//!
//! Trusts nothing. The tokens ride in other envelopes (SPNEGO, an authentication trailer), so they
//! are looked for by their signature. Responses to challenges are never told. Memory: none of its
//! own.

use arrayvec::ArrayVec;

const SIGNATURE: &[u8] = b"NTLMSSP\0";
const AUTHENTICATE: [u8; 4] = [3, 0, 0, 0];
const UNICODE: u32 = 1;

/// Names of an authenticate message, as UTF-8. One that does not fit is left empty: half a name
/// could be somebody else's.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) domain: ArrayVec<u8, 64>,
    pub(crate) user: ArrayVec<u8, 64>,
    pub(crate) workstation: ArrayVec<u8, 64>,
}

/// The authenticate message somewhere in `envelope`.
pub(crate) fn login(envelope: &[u8]) -> Option<Login> {
    let at = envelope
        .windows(SIGNATURE.len() + 4)
        .position(|window| window.starts_with(SIGNATURE) && window.ends_with(&AUTHENTICATE))?;
    let message = envelope.get(at..)?;
    let flags = message.get(60..64).and_then(|bytes| bytes.first_chunk());
    let unicode = flags.is_none_or(|bytes| u32::from_le_bytes(*bytes) & UNICODE != 0);
    let text = |place: usize| {
        let mut text = ArrayVec::new();
        if let Some(bytes) = buffer(message, place) {
            if unicode {
                utf16(bytes, &mut text);
            } else if bytes.len() <= text.capacity() {
                text.extend(bytes.iter().copied());
            }
        }
        text
    };
    Some(Login {
        domain: text(28),
        user: text(36),
        workstation: text(44),
    })
}

/// Length, room and offset, and what they point at.
fn buffer(message: &[u8], place: usize) -> Option<&[u8]> {
    let &[low, high, _, _, a, b, c, d] = message.get(place..)?.first_chunk()?;
    let offset = usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?;
    let length = usize::from(u16::from_le_bytes([low, high]));
    message.get(offset..)?.get(..length)
}

/// Appends UTF-16, little-endian, as UTF-8, up to a zero; what does not fit empties the text.
pub(crate) fn utf16<const SIZE: usize>(bytes: &[u8], text: &mut ArrayVec<u8, SIZE>) {
    let units = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .take_while(|&unit| unit != 0);
    for character in char::decode_utf16(units) {
        let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
        let mut room = [0; 4];
        if text
            .try_extend_from_slice(character.encode_utf8(&mut room).as_bytes())
            .is_err()
        {
            text.clear();
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(user: &[u8], flags: u32) -> Vec<u8> {
        let mut message = b"NTLMSSP\0\x03\0\0\0".to_vec();
        for length in [0, 0, 0, user.len(), 0, 0] {
            let length = u16::try_from(length).expect("short").to_le_bytes();
            message.extend([length, length].concat());
            message.extend(64_u32.to_le_bytes());
        }
        message.extend(flags.to_le_bytes());
        message.extend(user);
        message
    }

    #[test]
    fn names_are_found_in_an_envelope() {
        let envelope = [&b"\x60\x82"[..], &message(b"a\0i\0", 1), b"rest"].concat();
        assert_eq!(login(&envelope).expect("a login").user.as_slice(), b"ai");
        let oem = message(b"ai", 2);
        assert_eq!(login(&oem).expect("a login").user.as_slice(), b"ai");
    }

    #[test]
    fn what_does_not_fit_is_nobody() {
        let long = message(&b"a\0".repeat(65), 1);
        assert!(login(&long).expect("a login").user.is_empty());
        let whole = message(b"a\0i\0", 1);
        for end in 0..whole.len() {
            assert!(login(&whole[..end]).is_none_or(|login| login.user.is_empty()));
        }
    }
}
