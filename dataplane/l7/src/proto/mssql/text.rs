//! UTF-16 to UTF-8, in fixed room.

use arrayvec::ArrayVec;

/// Appends the text in `bytes`, whose numbers stand with their lowest byte first; what does not
/// fit is left out. Blanks of any script become plain ones: the server takes them so.
pub(super) fn append<const N: usize>(bytes: &[u8], output: &mut ArrayVec<u8, N>) {
    let units = bytes.chunks_exact(2).map(|pair| match *pair {
        [low, high] => u16::from_le_bytes([low, high]),
        _ => 0,
    });
    for character in char::decode_utf16(units) {
        let character = match character {
            Ok(character) if character.is_whitespace() && character != '\n' => ' ',
            Ok('\u{feff}' | '\u{200b}') => ' ',
            Ok(character) => character,
            Err(_) => char::REPLACEMENT_CHARACTER,
        };
        let mut room = [0; 4];
        let encoded = character.encode_utf8(&mut room).as_bytes();
        if output.try_extend_from_slice(encoded).is_err() {
            return;
        }
    }
}

/// A name. One that does not fit is left empty: half a name could be somebody else's.
pub(super) fn name<const N: usize>(bytes: &[u8]) -> ArrayVec<u8, N> {
    let mut output = ArrayVec::new();
    if bytes.len() <= N {
        append(bytes, &mut output);
    }
    output
}

/// The front of a text.
pub(super) fn front<const N: usize>(bytes: &[u8]) -> ArrayVec<u8, N> {
    let mut output = ArrayVec::new();
    append(bytes, &mut output);
    output
}

pub(super) fn little_u16(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.first_chunk()?))
}

pub(super) fn little_u32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.first_chunk()?))
}
