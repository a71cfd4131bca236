//! The data connections that commands and replies announce.

use std::net::{IpAddr, Ipv4Addr};

use weir_wire::Direction;

use crate::read::lines::{self, Reply};
use crate::{Announcement, EventSink, Transport};

/// PORT (RFC 959, 4.1.2) and EPRT (RFC 2428, 2): the client listens.
pub(super) fn active(command: &[u8], argument: &[u8], sink: &mut dyn EventSink) {
    let told = match command {
        b"PORT" => six(argument),
        _ => extended(argument),
    };
    if let Some((_, port)) = told {
        announce(Direction::ToClient, port, sink);
    }
}

/// The replies to PASV and EPSV: the server listens.
pub(super) fn passive(reply: Reply<'_>, sink: &mut dyn EventSink) {
    let told = match reply.code {
        // Not every server writes the parentheses (RFC 1123, 4.1.2.6).
        227 => numbers(reply.text).and_then(six),
        229 => reply
            .text
            .iter()
            .position(|&byte| byte == b'(')
            .and_then(|at| extended(reply.text.get(at + 1..)?)),
        _ => None,
    };
    if let Some((_, port)) = told {
        announce(Direction::ToServer, port, sink);
    }
}

/// Between the same two hosts: an address that was told may be one from before a translation, and
/// one of somebody else's would have data sent there (RFC 2577, 2).
fn announce(side: Direction, port: u16, sink: &mut dyn EventSink) {
    if port > 0 {
        sink.announce(&Announcement {
            application: "ftp-data",
            transport: Transport::Tcp,
            port,
            side,
            address: None,
        });
    }
}

/// From the first digit that a comma follows, past other digits, on.
fn numbers(text: &[u8]) -> Option<&[u8]> {
    let comma = text.iter().position(|&byte| byte == b',')?;
    let front = text.get(..comma)?;
    let digits = front.iter().rev().take_while(|byte| byte.is_ascii_digit());
    text.get(comma - digits.count()..)
}

/// `h1,h2,h3,h4,p1,p2`.
pub(super) fn six(text: &[u8]) -> Option<(Option<IpAddr>, u16)> {
    let mut bytes = [0_u8; 6];
    let mut rest = text;
    for (place, byte) in bytes.iter_mut().enumerate() {
        if place > 0 {
            rest = rest.strip_prefix(b",")?;
        }
        let (number, after) = lines::number(rest.trim_ascii_start())?;
        *byte = u8::try_from(number).ok()?;
        rest = after;
    }
    let [a, b, c, d, high, low] = bytes;
    let address = Ipv4Addr::new(a, b, c, d);
    Some((Some(IpAddr::V4(address)), u16::from_be_bytes([high, low])))
}

/// `|family|address|port|`, with any delimiter; EPSV leaves the first two empty.
pub(super) fn extended(text: &[u8]) -> Option<(Option<IpAddr>, u16)> {
    let (&delimiter, rest) = text.split_first()?;
    if !(33..=126).contains(&delimiter) || delimiter.is_ascii_alphanumeric() {
        return None;
    }
    let mut parts = rest.split(|&byte| byte == delimiter);
    let family = parts.next()?;
    let address = parts.next()?;
    let (port, b"") = lines::number(parts.next()?)? else {
        return None;
    };
    // The delimiter closes the port too.
    parts.next()?;
    let port = u16::try_from(port).ok()?;
    match (family, address) {
        (b"", b"") => Some((None, port)),
        (b"1" | b"2" | b"", _) => {
            let address = std::str::from_utf8(address).ok()?.parse().ok()?;
            Some((Some(address), port))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_in_all_four_forms() {
        let four = Some("10.0.0.1".parse().expect("an address"));
        let six_ = Some("2001:db8::1".parse().expect("an address"));
        assert_eq!(six(b"10,0,0,1,4,1"), Some((four, 1_025)));
        assert_eq!(six(b"10,0,0,256,4,1"), None);
        assert_eq!(six(b"10,0,0,1,4"), None);
        assert_eq!(extended(b"|1|10.0.0.1|1025|"), Some((four, 1_025)));
        assert_eq!(extended(b"|2|2001:db8::1|1025|"), Some((six_, 1_025)));
        assert_eq!(extended(b"|||1025|)"), Some((None, 1_025)));
        assert_eq!(extended(b"|||1025"), None);
        assert_eq!(extended(b"|||65536|"), None);
        for text in [
            &b"Entering Passive Mode (10,0,0,1,4,1)."[..],
            b"Entering passive mode 10,0,0,1,4,1",
            b"=10,0,0,1,4,1",
        ] {
            assert_eq!(numbers(text).and_then(six), Some((four, 1_025)));
        }
    }
}
