//! The media that a session description announces (RFC 8866), as SIP carries it. Memory: none.

use std::net::IpAddr;

use weir_wire::Direction;

use crate::read::lines;
use crate::{Announcement, EventSink, Transport};

/// Media lines that are looked at.
const MEDIA_MAX: usize = 8;
const LINES_MAX: usize = 256;

/// Announces RTP and RTCP for each stream of media in `body`; the ports are those of the side
/// that wrote it.
pub(crate) fn announce(body: &[u8], side: Direction, sink: &mut dyn EventSink) {
    let mut tell = |port: u16, address| {
        for port in [Some(port), port.checked_add(1)].into_iter().flatten() {
            sink.announce(&Announcement {
                application: "rtp",
                transport: Transport::Udp,
                port,
                side,
                address,
            });
        }
    };
    let mut address = None;
    let mut media: Option<(u16, Option<IpAddr>)> = None;
    let mut left = MEDIA_MAX;
    for text in lines::whole(body).take(LINES_MAX) {
        if let Some(told) = connection(text) {
            match &mut media {
                // Within a stream it holds for that one alone.
                Some((_, of_media)) => *of_media = Some(told),
                None => address = Some(told),
            }
        }
        if text.starts_with(b"m=") {
            if let Some((port, address)) = media.take() {
                tell(port, address);
            }
            media = rtp_port(text)
                .filter(|_| left > 0)
                .map(|port| (port, address));
            left = left.saturating_sub(1);
        }
    }
    if let Some((port, address)) = media {
        tell(port, address);
    }
}

/// `c=IN IP4 192.0.2.1`, with or without `/ttl`.
fn connection(text: &[u8]) -> Option<IpAddr> {
    let rest = text.strip_prefix(b"c=IN IP")?;
    let (_, address) = lines::word(rest);
    let address = address.split(|&byte| byte == b'/').next()?;
    std::str::from_utf8(address.trim_ascii()).ok()?.parse().ok()
}

/// `m=audio 49170 RTP/AVP 0`; port 0 refuses the stream.
fn rtp_port(text: &[u8]) -> Option<u16> {
    let (_, rest) = lines::word(text);
    let (port, rest) = lines::word(rest);
    let (port, _) = lines::number(port)?;
    let (profile, _) = lines::word(rest);
    let port = u16::try_from(port).ok().filter(|&port| port > 0)?;
    lines::find(profile, b"rtp/").map(|_| port)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Heard(Vec<(u16, Option<IpAddr>)>);

    impl EventSink for Heard {
        fn event(&mut self, _event: &crate::Event<'_>) {}

        fn announce(&mut self, announcement: &Announcement) {
            self.0.push((announcement.port, announcement.address));
        }
    }

    #[test]
    fn each_stream_has_its_ports() {
        let body = b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\n\
            m=video 5000 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP6 2001:db8::1\r\nm=image 6000 udptl t38\r\n\
            m=audio 0 RTP/AVP 8\r\n";
        let mut heard = Heard(Vec::new());
        announce(body, Direction::ToClient, &mut heard);
        let one: Option<IpAddr> = "192.0.2.1".parse().ok();
        let other: Option<IpAddr> = "2001:db8::1".parse().ok();
        assert_eq!(
            heard.0,
            [(4_000, one), (4_001, one), (5_000, other), (5_001, other)]
        );
    }
}
