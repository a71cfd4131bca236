//! The handshake of Google's QUIC before it was TLS: what the client says of itself (QUIC Crypto,
//! Langley and Chang 2016).

use crate::read::cursor::Cursor;

/// A client's hello is cut into its tags; the values that are told.
#[derive(Default)]
pub(super) struct Hello<'a> {
    pub(super) server_name: Option<&'a [u8]>,
    pub(super) user_agent: Option<&'a [u8]>,
}

/// Reads a CHLO: pairs of a name and where its value ends, then the values.
pub(super) fn hello(message: &[u8]) -> Option<Hello<'_>> {
    let mut cursor = Cursor::new(message);
    if cursor.array()? != *b"CHLO" {
        return None;
    }
    let count = u16::from_le_bytes(cursor.array()?);
    cursor.array::<2>()?;
    let mut index = Cursor::new(cursor.take(usize::from(count) * 8)?);
    let values = cursor.rest();
    let mut hello = Hello::default();
    let mut start = 0;
    while let (Some(name), Some(end)) = (index.array::<4>(), index.array().map(u32::from_le_bytes))
    {
        let end = usize::try_from(end).ok()?;
        // What lies in a later packet is not seen.
        let Some(value) = values.get(start..end) else {
            break;
        };
        match &name {
            b"SNI\0" => hello.server_name = Some(value),
            b"UAID" => hello.user_agent = Some(value),
            _ => {}
        }
        start = end;
    }
    Some(hello)
}
