//! What the headers of one packet must be.

use weir_l7::Buffer;

use super::Argument::{Needed, None as Nothing};
use super::{Given, Keyword, row};
use crate::rule::ast::{Family, Transport};
use crate::rule::build::Builder;
use crate::rule::condition::{BitTest, PacketField, PacketTest};
use crate::rule::matcher::{Content, Matcher, Place, Range, Value};
use crate::rule::number::NumberTest;
use crate::rule::refusal::Mistake;
use crate::rule::word::Word;

pub(super) const KEYWORDS: &[Keyword] = &[
    row("dsize", Needed, number),
    row("ttl", Needed, number),
    row("tos", Needed, tos),
    row("id", Needed, number),
    row("fragoffset", Needed, number),
    row("ip_proto", Needed, ip_protocol),
    row("itype", Needed, number),
    row("icode", Needed, number),
    row("icmp_id", Needed, number),
    row("icmp_seq", Needed, number),
    row("icmpv6.mtu", Needed, number),
    row("seq", Needed, number),
    row("tcp.seq", Needed, number),
    row("ack", Needed, number),
    row("tcp.ack", Needed, number),
    row("window", Needed, number),
    row("tcp.window", Needed, number),
    row("tcp.mss", Needed, number),
    row("tcp.wscale", Needed, number),
    row("flags", Needed, tcp_flags),
    row("tcp.flags", Needed, tcp_flags),
    row("fragbits", Needed, fragment_bits),
    row("ipopts", Needed, ip_option),
    row("sameip", Nothing, same_address),
    row("l3_proto", Needed, network),
    row("rpc", Needed, rpc),
];

/// Numbers of headers: keyword, field, highest.
const NUMBERS: &[(&str, PacketField, u64)] = &[
    ("dsize", PacketField::PayloadSize, 65_535),
    ("ttl", PacketField::Ttl, 255),
    ("id", PacketField::Id, 65_535),
    ("fragoffset", PacketField::FragmentOffset, 65_535),
    ("itype", PacketField::IcmpType, 255),
    ("icode", PacketField::IcmpCode, 255),
    ("icmp_id", PacketField::IcmpId, 65_535),
    ("icmp_seq", PacketField::IcmpSequence, 65_535),
    ("icmpv6.mtu", PacketField::IcmpMtu, 0xffff_ffff),
    ("seq", PacketField::Sequence, 0xffff_ffff),
    ("tcp.seq", PacketField::Sequence, 0xffff_ffff),
    ("ack", PacketField::Acknowledgment, 0xffff_ffff),
    ("tcp.ack", PacketField::Acknowledgment, 0xffff_ffff),
    ("window", PacketField::Window, 65_535),
    ("tcp.window", PacketField::Window, 65_535),
    ("tcp.mss", PacketField::MaximumSegment, 65_535),
    ("tcp.wscale", PacketField::WindowScale, 255),
];

fn number(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let Some(&(_, field, highest)) = NUMBERS.iter().find(|row| row.0 == given.name) else {
        return Err(given.unsupported("no header has this number"));
    };
    let test = given.unquoted().test(highest)?;
    builder.rule.packet.push(PacketTest::Number(field, test));
    Ok(())
}

/// `tos` writes hexadecimal numbers as `x88`.
fn tos(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let (word, negated) = given.negated();
    let number = match word.strip_prefix("x") {
        Some(digits) => u64::from_str_radix(digits.text, 16)
            .ok()
            .filter(|&number| number <= 255),
        None => Some(word.number_to(255)?),
    };
    let number = number.ok_or_else(|| word.malformed("tos is 0 to 255, or x00 to xff"))?;
    let test = match negated {
        true => NumberTest::Outside(number, number),
        false => NumberTest::equals(number),
    };
    builder
        .rule
        .packet
        .push(PacketTest::Number(PacketField::Tos, test));
    Ok(())
}

/// Protocols by name, in lower case.
const PROTOCOLS: &[(&str, u64)] = &[
    ("icmp", 1),
    ("igmp", 2),
    ("ipv4", 4),
    ("ipip", 4),
    ("tcp", 6),
    ("egp", 8),
    ("igp", 9),
    ("udp", 17),
    ("ipv6", 41),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ipv6-icmp", 58),
    ("icmpv6", 58),
    ("eigrp", 88),
    ("ospf", 89),
    ("pim", 103),
    ("vrrp", 112),
    ("l2tp", 115),
    ("sctp", 132),
];

fn ip_protocol(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let (word, negated) = given.negated();
    let name = word.text.to_ascii_lowercase();
    let test = match PROTOCOLS.iter().find(|row| row.0 == name) {
        Some(&(_, number)) if negated => NumberTest::Outside(number, number),
        Some(&(_, number)) => NumberTest::equals(number),
        None => given.value.test(255)?,
    };
    let test = PacketTest::Number(PacketField::IpProtocol, test);
    builder.rule.packet.push(test);
    Ok(())
}

/// A modifier before, or as some write it behind, the bits.
fn bit_modifier(word: Word<'_>) -> (Word<'_>, BitTest) {
    const MODIFIERS: [(&str, BitTest); 5] = [
        ("+", BitTest::All),
        ("*", BitTest::Any),
        ("!", BitTest::NotAll),
        ("-", BitTest::NotAll),
        ("=", BitTest::Exactly),
    ];
    for (sign, how) in MODIFIERS {
        if let Some(rest) = word.strip_prefix(sign).or_else(|| word.strip_suffix(sign)) {
            return (rest, how);
        }
    }
    (word, BitTest::Exactly)
}

fn tcp_flags(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let (named, ignored) = match given.value.split_once(',') {
        Some((named, ignored)) => (named, Some(ignored)),
        None => (given.value, None),
    };
    let (named, how) = bit_modifier(named);
    let flags = flag_bits(named)?;
    // Without a flag "not all of them" would be nothing; it means that there is one.
    let (flags, how) = match (flags, how) {
        (0, BitTest::NotAll) => (0xff, BitTest::Any),
        other => other,
    };
    let ignored = ignored.map_or(Ok(0), flag_bits)?;
    builder.rule.packet.push(PacketTest::TcpFlags {
        flags,
        ignored,
        how,
    });
    Ok(())
}

fn flag_bits(word: Word<'_>) -> Result<u8, Mistake> {
    if word.text.is_empty() {
        return Err(word.malformed("flags are F S R P A U E C, or 0 for none"));
    }
    let mut bits = 0;
    for (index, letter) in word.text.char_indices() {
        bits |= match letter.to_ascii_uppercase() {
            'F' => 0x01,
            'S' => 0x02,
            'R' => 0x04,
            'P' => 0x08,
            'A' => 0x10,
            'U' => 0x20,
            'E' | '2' => 0x40,
            'C' | '1' => 0x80,
            '0' | ' ' => 0,
            _ => {
                let why = format!("{letter:?} is no flag of TCP: F S R P A U E C, or 0 for none");
                return Err(Mistake::malformed(word.at + index, why));
            }
        };
    }
    Ok(bits)
}

fn fragment_bits(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let (word, how) = bit_modifier(given.value);
    let mut bits = 0;
    for (index, letter) in word.text.char_indices() {
        bits |= match letter.to_ascii_uppercase() {
            'M' => 1,
            'D' => 2,
            'R' => 4,
            _ => {
                let why = format!("{letter:?} is no bit of fragments: M, D or R");
                return Err(Mistake::malformed(word.at + index, why));
            }
        };
    }
    if bits == 0 {
        return Err(word.malformed("a bit is missing: M, D or R"));
    }
    builder
        .rule
        .packet
        .push(PacketTest::FragmentBits { bits, how });
    Ok(())
}

fn ip_option(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let number = match given.value.text.to_ascii_lowercase().as_str() {
        "any" => None,
        "eol" => Some(0),
        "nop" => Some(1),
        "rr" => Some(7),
        "qs" => Some(25),
        "ts" => Some(68),
        "sec" => Some(130),
        "lsrr" | "lsrre" => Some(131),
        "esec" => Some(133),
        "cipso" => Some(134),
        "satid" => Some(136),
        "ssrr" => Some(137),
        "rtralt" => Some(148),
        _ => {
            return Err(given.value.malformed(
                "an option is rr, eol, nop, ts, sec, esec, lsrr, ssrr, satid, qs, rtralt, cipso or any",
            ));
        }
    };
    builder.rule.packet.push(PacketTest::IpOption(number));
    Ok(())
}

fn same_address(builder: &mut Builder, _: &Given<'_>) -> Result<(), Mistake> {
    builder.rule.packet.push(PacketTest::SameAddress);
    Ok(())
}

fn network(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let family = match given.value.text.to_ascii_lowercase().as_str() {
        "ipv4" | "ip4" | "ip" => Family::V4,
        "ipv6" | "ip6" => Family::V6,
        _ => return Err(given.value.malformed("l3_proto is ipv4 or ipv6")),
    };
    builder.rule.header.protocol.family = Some(family);
    Ok(())
}

/// The name of an event: letters, digits, full stops and underscores.
pub(super) fn event_name(word: Word<'_>) -> Result<&str, Mistake> {
    let letter = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if word.text.is_empty() || !word.text.chars().all(letter) {
        return Err(
            word.malformed("an event is named as in http.invalid_content_length_field_in_request")
        );
    }
    Ok(word.text)
}

/// `rpc:100000,2,*`: a call of ONC RPC of this program, version and procedure (RFC 5531, 9): contents
/// of the payload.
fn rpc(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let words: Vec<Word<'_>> = given.value.split(',').collect();
    if words.is_empty() || words.len() > 3 {
        return Err(given
            .value
            .malformed("rpc is PROGRAM,VERSION,PROCEDURE; * for any of the last two"));
    }
    // Over TCP a mark of four bytes stands before the message (RFC 5531, 11).
    let start = match builder.rule.header.protocol.transport {
        Transport::Tcp => 4,
        _ => 0,
    };
    let mut parts = vec![(4, 0)];
    for (index, word) in words.iter().enumerate() {
        if word.text == "*" && index > 0 {
            continue;
        }
        parts.push((
            12 + 4 * i64::try_from(index).unwrap_or(0),
            word.number_u32()?,
        ));
    }
    for (offset, number) in parts {
        let content = Content {
            bytes: number.to_be_bytes().to_vec(),
            nocase: false,
            negated: false,
            range: Range::Absolute {
                offset: Value::Number(start + offset),
                depth: Some(Value::Number(4)),
            },
            at_end: false,
            fast_pattern: None,
        };
        let place = Place::Buffer(Buffer::Payload);
        builder.push_at(given.keyword, place, Matcher::Content(content))?;
    }
    Ok(())
}
