//! SSH: the identification strings of both ends and the algorithms they offer (RFC 4253).
//!
//! Trusts nothing. What follows NEWKEYS is encrypted: each direction is done there. Violations: a
//! line or packet longer than the protocol allows. Memory: two small enums.

use arrayvec::ArrayVec;
use md5::{Digest as _, Md5};
use weir_wire::Direction;

use super::tls::fingerprint::{self, Ja3};
use crate::read::content;
use crate::{
    Application, Buffer, BufferSet, ByteSet, Event, EventKind, EventSink, Field, FieldSpec,
    Openings, Probe, ProbeInput, Step, Transport,
};

/// RFC 4253, 4.2: with carriage return and line feed.
const IDENTIFICATION_MAX: usize = 255;
/// Lines before the server's identification; the RFC leaves their length open.
const LINE_MAX: usize = 1024;
/// How many such lines are read.
const LINES_MAX: u8 = 100;
/// RFC 4253, 6.1 asks for 35,000 bytes at least; OpenSSH takes this much.
const PACKET_MAX: usize = 256 << 10;
/// A KEXINIT above this is skipped: real ones are below 3,000 bytes.
const KEXINIT_MAX: usize = 8_192;

const KEXINIT: u8 = 20;
const NEWKEYS: u8 = 21;

const SIDE: u8 = 0;
const VERSION: u8 = 1;
const SOFTWARE: u8 = 2;
const COMMENT: u8 = 3;
const KEX_ALGORITHMS: u8 = 4;
const HASSH: u8 = 9;
const HASSH_SERVER: u8 = 10;

/// The parser.
#[derive(Default)]
pub struct Ssh {
    sides: [Side; 2],
}

#[derive(Clone, Copy, Default)]
struct Side {
    stage: Stage,
    lines: u8,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Identification,
    Packets,
    Encrypted,
}

impl Application for Ssh {
    const NAME: &'static str = "ssh";
    const ABOUT: &'static str = "Secure Shell, until its encryption begins (RFC 4253)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[22];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::text("side", "Who sent it: client or server"),
        FieldSpec::text(
            "version",
            "Protocol version of the identification string (RFC 4253, 4.2)",
        )
        .looked_into_as(Buffer::SshProtocol),
        FieldSpec::text(
            "software",
            "Software version of the identification string (RFC 4253, 4.2)",
        )
        .looked_into_as(Buffer::SshSoftware),
        FieldSpec::text(
            "comment",
            "Comment of the identification string (RFC 4253, 4.2)",
        ),
        FieldSpec::text(
            "kex_algorithms",
            "Key exchange algorithms offered, by preference (RFC 4253, 7.1)",
        ),
        FieldSpec::text(
            "host_key_algorithms",
            "Host key algorithms offered (RFC 4253, 7.1)",
        ),
        FieldSpec::text(
            "encryption_algorithms",
            "Ciphers offered for what this side sends (RFC 4253, 7.1)",
        ),
        FieldSpec::text(
            "mac_algorithms",
            "Integrity algorithms offered for what this side sends (RFC 4253, 7.1)",
        ),
        FieldSpec::text(
            "compression_algorithms",
            "Compression offered for what this side sends (RFC 4253, 7.1)",
        ),
        FieldSpec::text(
            "hassh",
            "HASSH fingerprint of a client's algorithms (github.com/salesforce/hassh)",
        )
        .looked_into_as(Buffer::SshHassh),
        FieldSpec::text(
            "hassh_server",
            "HASSH fingerprint of a server's algorithms (github.com/salesforce/hassh)",
        )
        .looked_into_as(Buffer::SshHasshServer),
    ];
    const CONTENTS: BufferSet = BufferSet::EMPTY
        .with(Buffer::SshHasshString)
        .with(Buffer::SshHasshServerString);
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(b"S"),
        to_client: ByteSet::of(b"\r\n\t").and_range(b' ', 0xff),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let client = identification(input.to_server);
        let server = match identification(input.to_client) {
            // A server may greet with lines before its identification.
            Probe::NotMine if input.from_start => greeting(input.to_client),
            answer => answer,
        };
        match (client, server) {
            (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
            (Probe::Certain, _) | (_, Probe::Certain) => Probe::Certain,
            _ => Probe::Unsure,
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let Some(side) = self.sides.get_mut(direction as usize) else {
            return Step::Done;
        };
        match side.stage {
            Stage::Identification => side.line(direction, input, sink),
            Stage::Packets => side.packet(direction, input, sink),
            Stage::Encrypted => Step::Done,
        }
    }
}

impl Side {
    fn line(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let ours = input.starts_with(b"SSH-");
        let limit = if ours { IDENTIFICATION_MAX } else { LINE_MAX };
        let Some(end) = input.iter().take(limit).position(|&byte| byte == b'\n') else {
            return if input.len() < limit {
                Step::Incomplete
            } else {
                Step::Violation("ssh: line too long")
            };
        };
        let line = input.get(..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !ours {
            self.lines = self.lines.saturating_add(1);
            if direction == Direction::ToServer || self.lines > LINES_MAX {
                return Step::Violation("ssh: no identification string");
            }
            return Step::Consumed(end + 1);
        }
        let Some((version, rest)) = split(line.get(4..).unwrap_or_default(), b'-') else {
            return Step::Violation("ssh: identification without software version");
        };
        let (software, comment) = split(rest, b' ').unwrap_or((rest, b""));
        let fields = [
            side_field(direction),
            Field::bytes(VERSION, version),
            Field::bytes(SOFTWARE, software),
            Field::bytes(COMMENT, comment),
        ];
        let count = if comment.is_empty() { 3 } else { 4 };
        tell(fields.get(..count).unwrap_or_default(), sink);
        // SSH 1 has other packets: only its name is read.
        let second = version == b"2.0" || version == b"1.99";
        self.stage = if second {
            Stage::Packets
        } else {
            Stage::Encrypted
        };
        Step::Consumed(end + 1)
    }

    fn packet(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let Some((&[a, b, c, d, padding, message], _)) = input.split_first_chunk::<6>() else {
            return Step::Incomplete;
        };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if !(5..=PACKET_MAX).contains(&length) || usize::from(padding) + 2 > length {
            return Step::Violation("ssh: packet length out of bounds");
        }
        let total = length + 4;
        if message == KEXINIT && length <= KEXINIT_MAX {
            let Some(packet) = input.get(6..total - usize::from(padding)) else {
                return Step::Incomplete;
            };
            kexinit(direction, packet, sink);
        }
        if message == NEWKEYS {
            self.stage = Stage::Encrypted;
        }
        Step::Skip(total as u64)
    }
}

/// The name lists behind the 16 bytes of cookie.
fn kexinit(direction: Direction, packet: &[u8], sink: &mut dyn EventSink) {
    let mut rest = packet.get(16..).unwrap_or_default();
    let mut lists: [&[u8]; 8] = [&[]; 8];
    for list in &mut lists {
        let Some((length, tail)) = rest.split_first_chunk::<4>() else {
            return;
        };
        let length = u32::from_be_bytes(*length) as usize;
        let (Some(names), Some(tail)) = (tail.get(..length), tail.get(length..)) else {
            return;
        };
        *list = names;
        rest = tail;
    }
    // Pairs: client to server, server to client.
    let own = direction as usize;
    let pair = |first: usize| lists.get(first + own).copied().unwrap_or_default();
    let hashed = [lists[0], pair(2), pair(4), pair(6)];
    let fingerprint = hassh(hashed);
    let fingerprint_field = match direction {
        Direction::ToServer => HASSH,
        Direction::ToClient => HASSH_SERVER,
    };
    let fields = [
        side_field(direction),
        Field::bytes(KEX_ALGORITHMS, lists[0]),
        Field::bytes(KEX_ALGORITHMS + 1, lists[1]),
        Field::bytes(KEX_ALGORITHMS + 2, pair(2)),
        Field::bytes(KEX_ALGORITHMS + 3, pair(4)),
        Field::bytes(KEX_ALGORITHMS + 4, pair(6)),
        Field::bytes(fingerprint_field, &fingerprint),
    ];
    tell(&fields, sink);
    let buffer = match direction {
        Direction::ToServer => Buffer::SshHasshString,
        Direction::ToClient => Buffer::SshHasshServerString,
    };
    if sink.wants(buffer) {
        let mut text = ArrayVec::<u8, KEXINIT_MAX>::new();
        write_lists(hashed, |part| {
            // The lists were in a packet that is no longer.
            let _ = text.try_extend_from_slice(part);
        });
        content::whole(buffer, &text, sink);
    }
}

/// MD5 of the lists: key exchange, ciphers, integrity, compression.
fn hassh(lists: [&[u8]; 4]) -> Ja3 {
    let mut hash = Md5::new();
    write_lists(lists, |part| hash.update(part));
    fingerprint::digits(&hash.finalize().into())
}

fn write_lists(lists: [&[u8]; 4], mut write: impl FnMut(&[u8])) {
    let mut separator: &[u8] = b"";
    for list in lists {
        write(separator);
        write(list);
        separator = b";";
    }
}

fn identification(input: &[u8]) -> Probe {
    // Nobody speaks version 3; who claims it is to be seen doing so.
    for start in [
        &b"SSH-2.0-"[..],
        b"SSH-1.99-",
        b"SSH-1.5-",
        b"SSH-1.3-",
        b"SSH-3.",
    ] {
        if input.starts_with(start) {
            return Probe::Certain;
        }
        if start.starts_with(input) {
            return Probe::Unsure;
        }
    }
    Probe::NotMine
}

fn greeting(input: &[u8]) -> Probe {
    let mut rest = input;
    while let Some((line, tail)) = split(rest, b'\n') {
        if line.len() > LINE_MAX || !printable(line) {
            return Probe::NotMine;
        }
        match identification(tail) {
            Probe::NotMine => {}
            answer => return answer,
        }
        rest = tail;
    }
    if rest.len() <= LINE_MAX && printable(rest) {
        Probe::Unsure
    } else {
        Probe::NotMine
    }
}

fn printable(line: &[u8]) -> bool {
    line.iter()
        .all(|&byte| byte >= b' ' && byte != 0x7f || byte == b'\t' || byte == b'\r')
}

fn split(input: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = input.iter().position(|&byte| byte == at)?;
    Some((input.get(..place)?, input.get(place + 1..)?))
}

fn side_field(direction: Direction) -> Field<'static> {
    let name = if direction == Direction::ToServer {
        "client"
    } else {
        "server"
    };
    Field::name(SIDE, name)
}

fn tell(fields: &[Field<'_>], sink: &mut dyn EventSink) {
    sink.event(&Event {
        kind: EventKind::Session,
        fields,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

    struct Told(Vec<String>);

    impl EventSink for Told {
        fn event(&mut self, event: &Event<'_>) {
            let fields = event.fields.iter().map(|field| match field.value {
                Value::Bytes(value) => String::from_utf8_lossy(value).into_owned(),
                value => format!("{value:?}"),
            });
            self.0.push(fields.collect::<Vec<_>>().join(" "));
        }
    }

    fn probe(to_server: &[u8], to_client: &[u8]) -> Probe {
        let transport = Transport::Tcp;
        Ssh::probe(&ProbeInput {
            to_server,
            to_client,
            previous: &[],
            from_start: true,
            server_port: 2222,
            transport,
        })
    }

    #[test]
    fn only_identification_strings_are_certain() {
        assert_eq!(probe(b"SSH-2.0-x", b""), Probe::Certain);
        assert_eq!(probe(b"SSH-", b""), Probe::Unsure);
        assert_eq!(probe(b"SSH-3.0-x", b""), Probe::Certain);
        assert_eq!(probe(b"SSH-4.0-x", b""), Probe::NotMine);
        assert_eq!(probe(b"GET / HTTP/1.1", b"SSH-2.0-x"), Probe::NotMine);
        assert_eq!(
            probe(b"", b"Welcome\r\nto this\r\nSSH-2.0-OpenSSH\r\n"),
            Probe::Certain
        );
        assert_eq!(probe(b"", b"220 mail ESMTP\r\n"), Probe::Unsure);
        assert_eq!(probe(b"", b"\x4a\x00\x00\x00\x0a"), Probe::NotMine);
    }

    #[test]
    fn the_strings_and_algorithms_are_told_until_newkeys() {
        let mut stream = b"hello\r\nSSH-2.0-OpenSSH_9.2p1 Debian-2\r\n".to_vec();
        let mut kexinit = vec![0_u8; 16];
        for list in ["kex", "key", "c2s", "s2c", "m1", "m2", "z1", "z2", "", ""] {
            kexinit.extend((list.len() as u32).to_be_bytes());
            kexinit.extend(list.as_bytes());
        }
        kexinit.extend([0; 5]);
        stream.extend((kexinit.len() as u32 + 6).to_be_bytes());
        stream.extend([4, KEXINIT]);
        stream.extend(&kexinit);
        stream.extend([0; 4]);
        stream.extend([0, 0, 0, 12, 10, NEWKEYS, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        stream.extend([0xff; 40]);
        let mut told = Told(Vec::new());
        let mut ssh = Ssh::default();
        let mut at = 0;
        loop {
            match ssh.parse(Direction::ToClient, &stream[at..], &mut told) {
                Step::Consumed(used) => at += used,
                Step::Skip(used) => at += used as usize,
                Step::Done => break,
                step => panic!("{step:?}"),
            }
        }
        assert_eq!(at, stream.len() - 40);
        assert_eq!(
            told.0,
            [
                "Name(\"server\") 2.0 OpenSSH_9.2p1 Debian-2",
                "Name(\"server\") kex key s2c m2 z2 da712f90d069678de584723108cc30f1"
            ]
        );
    }

    #[test]
    fn endless_lines_are_refused() {
        let mut told = Told(Vec::new());
        let step = Ssh::default().parse(Direction::ToClient, &[b'x'; 2000], &mut told);
        assert!(matches!(step, Step::Violation(_)));
        let step = Ssh::default().parse(Direction::ToServer, b"GET /\r\n", &mut told);
        assert!(matches!(step, Step::Violation(_)));
    }
}
