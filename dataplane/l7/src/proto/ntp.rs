//! NTP: version, mode and stratum of each packet (RFC 5905; control messages RFC 9327).
//!
//! Trusts nothing. On its own port a strictly plausible packet is enough; on any other the answer
//! must carry the question's timestamp. Control and private messages (modes 6 and 7, used to
//! amplify floods) must have exactly the length that their counts tell. Violations: packets
//! shorter than their mode asks. Memory: none.

use weir_wire::Direction;

use crate::read::sides::kind;
use crate::{
    Application, ByteSet, Event, EventSink, Field, FieldKind, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport,
};

const PORT: u16 = 123;
/// The fixed header (RFC 5905, 7.3).
const HEADER: usize = 48;
/// The fixed header of a control message (RFC 9327, 2).
const CONTROL_HEADER: usize = 12;
/// The fixed header of ntpd's private messages (ntp_request.h).
const PRIVATE_HEADER: usize = 8;

const MODE_CONTROL: u8 = 6;
const MODE_PRIVATE: u8 = 7;

const VERSION: u8 = 0;
const MODE: u8 = 1;
const STRATUM: u8 = 2;
const OPERATION: u8 = 3;
const REFERENCE: u8 = 4;

/// First bytes of versions 1 to 4, whatever the leap indicator.
const FIRST: ByteSet = ByteSet::NONE
    .and_range(0x08, 0x27)
    .and_range(0x48, 0x67)
    .and_range(0x88, 0xa7)
    .and_range(0xc8, 0xe7);

/// The parser: every packet stands alone.
#[derive(Default)]
pub struct Ntp;

impl Application for Ntp {
    const NAME: &'static str = "ntp";
    const ABOUT: &'static str = "Network Time Protocol, versions 1 to 4 (RFC 5905)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Udp];
    const PORTS: &'static [u16] = &[PORT];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::number("version", "Version (RFC 5905, 7.3)"),
        FieldSpec {
            name: "mode",
            kind: FieldKind::Text,
            condition: true,
            buffer: None,
            about: "Mode: client, server, symmetric-active, symmetric-passive, broadcast, control, private (RFC 5905, 7.3)",
        },
        FieldSpec::number("stratum", "Stratum (RFC 5905, 7.3)"),
        FieldSpec::number(
            "operation",
            "Operation of a control message (RFC 9327, 2), or request code of a private one (42: monlist)",
        ),
        FieldSpec::text(
            "reference",
            "Reference clock of stratum 1, kiss code of stratum 0: GPS, RATE, ... (RFC 5905, 7.3)",
        ),
    ];
    const OPENINGS: Openings = Openings {
        to_server: FIRST,
        to_client: FIRST,
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let (question, answer) = (input.to_server, input.to_client);
        if question.is_empty() && answer.is_empty() {
            return Probe::Unsure;
        }
        if !(question.is_empty() || plausible(question))
            || !(answer.is_empty() || plausible(answer))
        {
            return Probe::NotMine;
        }
        // Where both ends use the port, a flow picked up may have its ends the wrong way round.
        if input.server_port == PORT {
            return Probe::Certain;
        }
        if question.first().is_some_and(|first| first & 7 == 4)
            || answer.first().is_some_and(|first| first & 7 == 3)
        {
            return Probe::NotMine;
        }
        let elsewhere = |packet: &[u8]| packet.first().is_none_or(|first| first & 7 < MODE_CONTROL);
        if !elsewhere(question) || !elsewhere(answer) {
            return Probe::NotMine;
        }
        match (question.get(40..HEADER), answer.get(24..32)) {
            (Some(sent), Some(origin)) if sent == origin && sent != [0; 8] => Probe::Certain,
            (Some(_), Some(_)) => Probe::NotMine,
            _ => Probe::Unsure,
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let Some((&[first, second, _, fourth], _)) = input.split_first_chunk::<4>() else {
            return Step::Violation("ntp: packet without its header");
        };
        let mode = first & 7;
        if input.len() < shortest(mode) {
            return Step::Violation("ntp: packet without its header");
        }
        let last = match mode {
            MODE_CONTROL => Field::number(OPERATION, (second & 31).into()),
            MODE_PRIVATE => Field::number(OPERATION, fourth.into()),
            _ => Field::number(STRATUM, second.into()),
        };
        // Letters, filled up with zeros, where a server has nobody above it.
        let reference = match (mode, second, input.get(12..16)) {
            (2 | 4 | 5, 0 | 1, Some(reference)) => text(reference),
            _ => &[],
        };
        let fields = [
            Field::number(VERSION, (first >> 3 & 7).into()),
            Field::name(MODE, mode_name(mode)),
            last,
            Field::bytes(REFERENCE, reference),
        ];
        let count = if reference.is_empty() { 3 } else { 4 };
        sink.event(&Event {
            kind: kind(direction),
            fields: fields.get(..count).unwrap_or_default(),
        });
        Step::Consumed(input.len())
    }

    fn gap(&mut self, _direction: Direction, _length: u64) -> bool {
        true
    }
}

fn shortest(mode: u8) -> usize {
    match mode {
        MODE_CONTROL => CONTROL_HEADER,
        MODE_PRIVATE => PRIVATE_HEADER,
        _ => HEADER,
    }
}

fn mode_name(mode: u8) -> &'static str {
    match mode {
        1 => "symmetric-active",
        2 => "symmetric-passive",
        3 => "client",
        4 => "server",
        5 => "broadcast",
        MODE_CONTROL => "control",
        MODE_PRIVATE => "private",
        _ => "reserved",
    }
}

fn plausible(packet: &[u8]) -> bool {
    let Some((&[first, second, third, fourth], _)) = packet.split_first_chunk::<4>() else {
        return false;
    };
    let (version, mode) = (first >> 3 & 7, first & 7);
    if !(1..=4).contains(&version) || packet.len() < shortest(mode) {
        return false;
    }
    match mode {
        1..=5 => {
            // Poll and precision are powers of two in seconds; simple clients leave them zero,
            // chrony's says 32.
            let poll = (-8..=17).contains(&third.cast_signed());
            let precision = (-40..=32).contains(&fourth.cast_signed());
            second <= 16
                && poll
                && precision
                && tail_plausible(version, packet.get(HEADER..).unwrap_or_default())
        }
        MODE_CONTROL => control_plausible(second, packet),
        MODE_PRIVATE => private_plausible(first, third, fourth, packet),
        _ => false,
    }
}

/// RFC 9327, 2: the data fill 32-bit words, which some tools leave out; an authenticator may
/// follow. Only answers tell of an error or of more to come.
fn control_plausible(second: u8, packet: &[u8]) -> bool {
    let count = match packet.get(10..12) {
        Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
        _ => return false,
    };
    let Some(tail) = packet.len().checked_sub(CONTROL_HEADER + count) else {
        return false;
    };
    let padding = count.wrapping_neg() % 4;
    let exact = tail == 0
        || tail
            .checked_sub(padding)
            .is_some_and(|left| matches!(left, 0 | 12 | 20 | 24));
    let asked = second & 0xe0 == 0;
    matches!(second & 31, 0..=12 | 31) && count <= 468 && exact && (asked || second & 0x80 != 0)
}

/// ntp_request.h: answers carry items that fill them, requests are filled up with zeros.
fn private_plausible(first: u8, third: u8, fourth: u8, packet: &[u8]) -> bool {
    let Some(&[error_high, items, zero_high, size]) = packet.get(4..8) else {
        return false;
    };
    let (error, zero) = (error_high >> 4, zero_high >> 4);
    let items = usize::from(error_high & 15) << 8 | usize::from(items);
    let size = usize::from(zero_high & 15) << 8 | usize::from(size);
    let length = PRIVATE_HEADER + items * size;
    let sound = match first & 0x80 != 0 {
        true => error <= 7 && packet.len() == length,
        false => error == 0 && packet.len() >= length && packet.len() <= 256,
    };
    sound && zero == 0 && matches!(third, 0 | 2 | 3) && fourth <= 46
}

/// What stands before the zeros, if it is text.
fn text(reference: &[u8]) -> &[u8] {
    let end = reference.iter().position(|&byte| byte == 0).unwrap_or(4);
    let text = reference.get(..end).unwrap_or_default();
    match text.iter().all(u8::is_ascii_graphic) {
        true => text,
        false => &[],
    }
}

/// Extension fields (version 4) and the authenticator behind the header.
fn tail_plausible(version: u8, mut tail: &[u8]) -> bool {
    loop {
        match tail.len() {
            0 | 4 | 20 | 24 => return true,
            12 if version <= 3 => return true,
            _ if version < 4 => return false,
            _ => {}
        }
        let length = match tail.get(2..4) {
            Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
            _ => return false,
        };
        if length < 16 || length % 4 != 0 {
            return false;
        }
        let Some(rest) = tail.get(length..) else {
            return false;
        };
        tail = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(first: u8, stratum: u8) -> [u8; 48] {
        let mut packet = [0; 48];
        (packet[0], packet[1], packet[2], packet[3]) = (first, stratum, 6, 0xe9);
        packet
    }

    fn probe(to_server: &[u8], to_client: &[u8], server_port: u16) -> Probe {
        Ntp::probe(&ProbeInput {
            to_server,
            to_client,
            previous: &[],
            from_start: true,
            server_port,
            transport: Transport::Udp,
        })
    }

    #[test]
    fn elsewhere_the_answer_must_carry_the_question() {
        let mut question = packet(0x23, 0);
        let mut answer = packet(0x24, 2);
        question[40..].copy_from_slice(b"12345678");
        assert_eq!(probe(&question, &[], 123), Probe::Certain);
        assert_eq!(probe(&question, &[], 4123), Probe::Unsure);
        assert_eq!(probe(&question, &answer, 4123), Probe::NotMine);
        answer[24..32].copy_from_slice(b"12345678");
        assert_eq!(probe(&question, &answer, 4123), Probe::Certain);
    }

    #[test]
    fn implausible_packets_are_not_mine() {
        assert_eq!(probe(&packet(0x23, 99), &[], 123), Probe::NotMine);
        assert_eq!(probe(&packet(0x3b, 0), &[], 123), Probe::NotMine);
        assert_eq!(probe(&packet(0x24, 1), &[], 124), Probe::NotMine);
        assert_eq!(probe(&packet(0x24, 1), &[], 123), Probe::Certain);
        assert_eq!(probe(&packet(0x23, 0)[..47], &[], 123), Probe::NotMine);
        let mut odd = packet(0x23, 0).to_vec();
        odd.extend([0; 7]);
        assert_eq!(probe(&odd, &[], 123), Probe::NotMine);
        assert_eq!(
            probe(&[0x16, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], &[], 123),
            Probe::Certain
        );
        assert_eq!(
            probe(&[0x17, 0, 3, 42, 0, 0, 0, 0], &[], 123),
            Probe::Certain
        );
        assert_eq!(
            probe(&[0x17, 0, 3, 42, 0, 0, 0, 0], &[], 124),
            Probe::NotMine
        );
    }

    #[test]
    fn extension_fields_and_authenticators_are_walked() {
        let mut tail = vec![1, 4, 0, 36];
        tail.extend([7; 32]);
        assert!(tail_plausible(4, &tail));
        tail.extend([1; 20]);
        assert!(tail_plausible(4, &tail));
        assert!(!tail_plausible(3, &tail));
        tail.extend([1; 4]);
        assert!(tail_plausible(4, &tail));
        tail.truncate(30);
        assert!(!tail_plausible(4, &tail));
    }
}
