//! The IP header of a datagram put together from fragments.

use weir_wire::Reason;
use weir_wire::protocol::{AH, DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP, ROUTING};

const IPV4_HEADER_BYTES: usize = 20;
const IPV6_HEADER_BYTES: usize = 40;
const IPV6_FRAGMENT_HEADER_BYTES: usize = 8;

/// Makes the first fragment's header (all that comes before its payload) that of the whole datagram,
/// but for lengths and checksum.
pub(super) fn undo_fragmentation(header: &mut Vec<u8>, is_ipv4: bool) -> Result<(), Reason> {
    if is_ipv4 {
        let fields = header
            .get_mut(..IPV4_HEADER_BYTES)
            .ok_or(Reason::FragmentMalformed)?;
        // Of flags and offset only "don't fragment" stays.
        fields[6] &= 0x40;
        fields[7] = 0;
        return Ok(());
    }
    let fragment_at = header
        .len()
        .checked_sub(IPV6_FRAGMENT_HEADER_BYTES)
        .filter(|&at| at >= IPV6_HEADER_BYTES)
        .ok_or(Reason::FragmentMalformed)?;
    let announces = announcing_byte(header, fragment_at).ok_or(Reason::FragmentMalformed)?;
    header[announces] = header[fragment_at];
    header.truncate(fragment_at);
    Ok(())
}

/// The position of the Next Header byte that announces the fragment header.
fn announcing_byte(header: &[u8], fragment_at: usize) -> Option<usize> {
    let (mut announces, mut at) = (6, IPV6_HEADER_BYTES);
    loop {
        let kind = *header.get(announces)?;
        if at == fragment_at {
            return (kind == FRAGMENT).then_some(announces);
        }
        let length = usize::from(*header.get(at + 1)?);
        announces = at;
        at += match kind {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => (length + 1) * 8,
            AH => (length + 2) * 4,
            _ => return None,
        };
        if at > fragment_at {
            return None;
        }
    }
}

/// Sets the length, and for IPv4 the header checksum, of a datagram that is together.
pub(super) fn set_length(datagram: &mut [u8], is_ipv4: bool) -> Result<(), Reason> {
    let counted = if is_ipv4 {
        datagram.len()
    } else {
        datagram.len().saturating_sub(IPV6_HEADER_BYTES)
    };
    let length = u16::try_from(counted).map_err(|_| Reason::FragmentTooBig)?;
    let length_at = if is_ipv4 { 2 } else { 4 };
    let field = datagram
        .get_mut(length_at..length_at + 2)
        .ok_or(Reason::FragmentMalformed)?;
    field.copy_from_slice(&length.to_be_bytes());
    if is_ipv4 {
        set_ipv4_checksum(datagram)?;
    }
    Ok(())
}

fn set_ipv4_checksum(datagram: &mut [u8]) -> Result<(), Reason> {
    let header_bytes = datagram
        .first()
        .map_or(0, |first| usize::from(first & 0x0f) * 4);
    let header = datagram
        .get_mut(..header_bytes)
        .filter(|header| header.len() >= IPV4_HEADER_BYTES)
        .ok_or(Reason::FragmentMalformed)?;
    header[10..12].fill(0);
    let sum: u32 = header
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    // Sixty bytes at most: folding twice is enough.
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    Ok(())
}
