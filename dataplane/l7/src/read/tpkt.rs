//! ISO transport over TCP: packets with a length (TPKT, RFC 1006) that hold X.224 messages
//! (ITU-T X.224, RFC 905).

use crate::read::cursor::Cursor;

/// Version, reserved, length.
pub(crate) const HEAD: usize = 4;
/// The shortest packet: a head, a length indicator, a code and one octet more.
pub(crate) const PACKET_MIN: usize = 7;

/// An X.224 message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport<'a> {
    /// A connection request: its variable part.
    Request(&'a [u8]),
    /// A connection confirm: its variable part.
    Confirm(&'a [u8]),
    /// Data; `last` where it ends what the user sent.
    Data { last: bool, data: &'a [u8] },
    /// A disconnect or an error.
    Other,
}

/// The length of the packet that `bytes` begin with, head included; None where they begin none or
/// are too few.
pub(crate) fn length(bytes: &[u8]) -> Option<usize> {
    let [version, reserved, high, low] = Cursor::new(bytes).array()?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    (version == 3 && reserved == 0 && length >= PACKET_MIN).then_some(length)
}

/// What a whole packet holds.
pub(crate) fn open(packet: &[u8]) -> Option<Transport<'_>> {
    let mut cursor = Cursor::new(packet.get(HEAD..)?);
    let mut head = cursor.vector8()?;
    let code = head.u8()?;
    match code & 0xf0 {
        0xe0 | 0xd0 => {
            let _references = head.u32()?;
            let _class = head.u8()?;
            // What follows the head would be user data, which nobody sends in class 0.
            let options = head.rest();
            Some(match code & 0xf0 {
                0xe0 => Transport::Request(options),
                _ => Transport::Confirm(options),
            })
        }
        0xf0 => {
            let number = head.u8()?;
            head.is_empty().then_some(Transport::Data {
                last: number & 0x80 != 0,
                data: cursor.rest(),
            })
        }
        0x80 | 0x70 => Some(Transport::Other),
        _ => None,
    }
}

/// The option with this code of a variable part.
pub(crate) fn option(options: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut cursor = Cursor::new(options);
    while let Some(code) = cursor.u8() {
        let value = cursor.vector8()?;
        if code == wanted {
            return Some(value.rest());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_its_ends() {
        let packet = [
            3, 0, 0, 22, 17, 0xe0, 0, 0, 0, 7, 0, 0xc1, 2, 1, 0, 0xc2, 2, 1, 2, 0xc0, 1, 10,
        ];
        assert_eq!(length(&packet), Some(22));
        let Some(Transport::Request(options)) = open(&packet) else {
            panic!("a request");
        };
        assert_eq!(option(options, 0xc2), Some(&[1, 2][..]));
        assert_eq!(option(options, 0xc9), None);
    }

    #[test]
    fn data_is_what_stands_behind_the_head() {
        let packet = [3, 0, 0, 8, 2, 0xf0, 0x80, 0x32];
        let data = Transport::Data {
            last: true,
            data: &[0x32],
        };
        assert_eq!(open(&packet), Some(data));
        assert_eq!(length(&[3, 1, 0, 8]), None);
    }
}
