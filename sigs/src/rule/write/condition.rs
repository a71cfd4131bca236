//! Conditions as text.

use std::fmt;

use super::{apart, test};
use crate::rule::condition::{
    BitKind, BitOperation, BitTest, End, FlowCondition, IntegerOperation, IntegerValue,
    PacketField, PacketTest, SessionField, SessionTest, Side, StateStep, Tag, TagMetric, Target,
    Threshold, ThresholdKind, TlsState, Toward, Track, Unit,
};
use crate::rule::header::application_name;
use crate::rule::matcher::Comparison;
use crate::rule::number::NumberTest;

type Out<'a, 'b> = &'a mut fmt::Formatter<'b>;

pub(super) fn write_flow(out: Out<'_, '_>, flow: &FlowCondition) -> fmt::Result {
    let words = [
        flow.direction.map(|toward| match toward {
            Toward::Server => "to_server",
            Toward::Client => "to_client",
        }),
        flow.established.map(|established| match established {
            true => "established",
            false => "not_established",
        }),
        flow.unit.and_then(|unit| match unit {
            Unit::Packet => Some("no_stream"),
            Unit::Stream => Some("only_stream"),
            Unit::Either => None,
        }),
        flow.fragmented.map(|fragmented| match fragmented {
            true => "only_frag",
            false => "no_frag",
        }),
    ];
    let words: Vec<&str> = words.into_iter().flatten().collect();
    match words.is_empty() {
        true => Ok(()),
        false => write!(out, " flow:{};", words.join(",")),
    }
}

/// The keyword of a header's number.
pub(in crate::rule) const fn packet_field(field: PacketField) -> &'static str {
    match field {
        PacketField::PayloadSize => "dsize",
        PacketField::Ttl => "ttl",
        PacketField::Tos => "tos",
        PacketField::Id => "id",
        PacketField::FragmentOffset => "fragoffset",
        PacketField::IpProtocol => "ip_proto",
        PacketField::IcmpType => "itype",
        PacketField::IcmpCode => "icode",
        PacketField::IcmpId => "icmp_id",
        PacketField::IcmpSequence => "icmp_seq",
        PacketField::IcmpMtu => "icmpv6.mtu",
        PacketField::Sequence => "tcp.seq",
        PacketField::Acknowledgment => "tcp.ack",
        PacketField::Window => "tcp.window",
        PacketField::MaximumSegment => "tcp.mss",
        PacketField::WindowScale => "tcp.wscale",
    }
}

pub(super) fn write_packet(out: Out<'_, '_>, of: &PacketTest) -> fmt::Result {
    match of {
        PacketTest::Number(field, number) => {
            write!(out, " {}:{};", packet_field(*field), test(*number))
        }
        PacketTest::TcpFlags {
            flags,
            ignored,
            how,
        } => {
            write!(out, " tcp.flags:{}{}", sign(*how), flag_letters(*flags))?;
            match ignored {
                0 => out.write_str(";"),
                ignored => write!(out, ",{};", flag_letters(*ignored)),
            }
        }
        PacketTest::FragmentBits { bits, how } => {
            write!(out, " fragbits:{}{};", sign(*how), letters(*bits, "MDR"))
        }
        PacketTest::IpOption(number) => {
            let name = IP_OPTIONS.iter().find(|row| Some(row.0) == *number);
            write!(out, " ipopts:{};", name.map_or("any", |row| row.1))
        }
        PacketTest::SameAddress => out.write_str(" sameip;"),
    }
}

/// Options of IPv4 by number.
pub(in crate::rule) const IP_OPTIONS: [(u8, &str); 12] = [
    (0, "eol"),
    (1, "nop"),
    (7, "rr"),
    (25, "qs"),
    (68, "ts"),
    (130, "sec"),
    (131, "lsrr"),
    (133, "esec"),
    (134, "cipso"),
    (136, "satid"),
    (137, "ssrr"),
    (148, "rtralt"),
];

const fn sign(how: BitTest) -> &'static str {
    match how {
        BitTest::Exactly => "",
        BitTest::All => "+",
        BitTest::Any => "*",
        BitTest::NotAll => "!",
    }
}

/// The letters of the flags of TCP; 0 for none.
pub(in crate::rule) fn flag_letters(flags: u8) -> String {
    match flags {
        0 => "0".to_owned(),
        flags => letters(flags, "FSRPAUEC"),
    }
}

fn letters(bits: u8, names: &str) -> String {
    let set = names
        .chars()
        .enumerate()
        .filter(|(bit, _)| bits >> bit & 1 == 1);
    set.map(|(_, letter)| letter).collect()
}

/// The keyword of a number of the session, with the end that it is of.
pub(in crate::rule) fn session_field(field: SessionField) -> String {
    let end = |end| match end {
        End::Client => "toserver",
        End::Server => "toclient",
        End::Either => "either",
        End::Both => "both",
    };
    let name = match field {
        SessionField::FlowPackets(of) => return format!("flow.pkts:{},", end(of)),
        SessionField::FlowBytes(of) => return format!("flow.bytes:{},", end(of)),
        SessionField::StreamSize(of) => {
            let of = match of {
                End::Client => "client",
                End::Server => "server",
                End::Either => "either",
                End::Both => "both",
            };
            return format!("stream_size:{of},");
        }
        SessionField::FlowAge => "flow.age",
        SessionField::DnsOpcode => "dns.opcode",
        SessionField::DnsRcode => "dns.rcode",
        SessionField::DnsType => "dns.rrtype",
        SessionField::SnmpVersion => "snmp.version",
        SessionField::SnmpPdu => "snmp.pdu_type",
        SessionField::KerberosMessage => "krb5_msg_type",
        SessionField::KerberosError => "krb5_err_code",
        SessionField::MqttType => "mqtt.type",
        SessionField::MqttVersion => "mqtt.protocol_version",
        SessionField::MqttReason => "mqtt.reason_code",
    };
    format!("{name}:")
}

pub(super) fn write_session(out: Out<'_, '_>, of: &SessionTest) -> fmt::Result {
    let not = |negated: &bool| if *negated { "!" } else { "" };
    match of {
        SessionTest::Application {
            applications,
            negated,
        } => {
            let name = application_name(*applications).unwrap_or("unknown");
            write!(out, " app-layer-protocol:{}{name};", not(negated))
        }
        SessionTest::Event(name) => write!(out, " app-layer-event:{name};"),
        SessionTest::Number(field @ SessionField::StreamSize(_), number) => {
            write!(out, " {}{};", session_field(*field), apart(*number))
        }
        SessionTest::Number(field, number) => {
            write!(out, " {}{};", session_field(*field), test(*number))
        }
        SessionTest::TlsVersion { versions, negated } => {
            let names: Vec<&str> = versions
                .iter()
                .map(|&version| tls_version(version))
                .collect();
            write!(out, " ssl_version:{}{};", not(negated), names.join(","))
        }
        SessionTest::TlsState { states, negated } => {
            let names = states.iter().map(|&state| tls_state(state));
            let names: Vec<String> = names
                .map(|name| format!("{}{name}", not(negated)))
                .collect();
            write!(out, " ssl_state:{};", names.join("|"))
        }
        SessionTest::CertificateExpired(true) => out.write_str(" tls_cert_expired;"),
        SessionTest::CertificateExpired(false) => out.write_str(" tls_cert_valid;"),
        SessionTest::CertificateNotBefore(test) => {
            write!(out, " tls_cert_notbefore:{};", time_test(*test))
        }
        SessionTest::CertificateNotAfter(test) => {
            write!(out, " tls_cert_notafter:{};", time_test(*test))
        }
        SessionTest::DceInterface(uuid) => {
            write!(out, " dcerpc.iface:{};", uuid_text(uuid))
        }
        SessionTest::DceOperation(ranges) => {
            let text = |&(low, high): &(u16, u16)| match low == high {
                true => low.to_string(),
                false => format!("{low}-{high}"),
            };
            let ranges: Vec<String> = ranges.iter().map(text).collect();
            write!(out, " dcerpc.opnum:{};", ranges.join(","))
        }
        SessionTest::Reputation { of, category, test } => {
            let test = test.map_or_else(|| "isnotset".to_owned(), reputation);
            write!(out, " iprep:{},{category},{test};", side(*of))
        }
    }
}

fn reputation(test: NumberTest) -> String {
    match test {
        NumberTest::Within(0, u64::MAX) => "isset".to_owned(),
        test => apart(test),
    }
}

/// As written in rules.
pub(in crate::rule) const fn side(side: Side) -> &'static str {
    match side {
        Side::Any => "any",
        Side::Source => "src",
        Side::Destination => "dst",
        Side::Both => "both",
    }
}

/// As written in rules.
pub(in crate::rule) const fn tls_version(version: u16) -> &'static str {
    match version {
        0x0002 => "sslv2",
        0x0300 => "sslv3",
        0x0301 => "tls1.0",
        0x0302 => "tls1.1",
        0x0303 => "tls1.2",
        _ => "tls1.3",
    }
}

/// As written in rules.
pub(in crate::rule) const fn tls_state(state: TlsState) -> &'static str {
    match state {
        TlsState::ClientHello => "client_hello",
        TlsState::ServerHello => "server_hello",
    }
}

/// `367abb81-9844-35f1-ad32-98f038001003`.
pub(in crate::rule) fn uuid_text(uuid: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in uuid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// A test of a time, as the keywords of certificates write it.
pub(in crate::rule) fn time_test(test: NumberTest) -> String {
    match test {
        NumberTest::Within(low, high) if low == high => time(low),
        NumberTest::Within(low, u64::MAX) => format!(">{}", time(low.saturating_sub(1))),
        NumberTest::Within(0, high) => format!("<{}", time(high.saturating_add(1))),
        NumberTest::Within(low, high) => format!("{}<>{}", time(low - 1), time(high + 1)),
        NumberTest::Outside(low, _) => time(low),
        NumberTest::Masked { value, .. } => time(value),
    }
}

/// Seconds since 1970 as `2024-05-01 12:00:00`.
fn time(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // The civil calendar, counted in years that begin in March and eras of 400 of them.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = year + era * 400 + next;
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

pub(super) fn write_state(out: Out<'_, '_>, step: &StateStep) -> fmt::Result {
    match step {
        StateStep::Flow(operation) => write!(out, " flowbits:{};", bits(operation)),
        StateStep::Host {
            operation,
            track,
            expire_s,
        } => {
            let track = match track {
                Track::Destination => "ip_dst",
                Track::Pair => "ip_pair",
                _ => "ip_src",
            };
            let bits = bits(operation);
            write!(out, " xbits:{bits},track {track},expire {expire_s};")
        }
        StateStep::Integer { name, operation } => {
            write!(out, " flowint:{name},{};", integer(operation))
        }
    }
}

fn bits(operation: &BitOperation) -> String {
    let kind = match operation.kind {
        BitKind::IsSet => "isset",
        BitKind::IsNotSet => "isnotset",
        BitKind::Set => "set",
        BitKind::Unset => "unset",
        BitKind::Toggle => "toggle",
    };
    format!("{kind},{}", operation.names.join("|"))
}

/// Operator and value of a number of a connection.
pub(in crate::rule) fn integer(operation: &IntegerOperation) -> String {
    let value = |value: &IntegerValue| match value {
        IntegerValue::Number(number) => number.to_string(),
        IntegerValue::Named(name) => name.to_string(),
    };
    match operation {
        IntegerOperation::IsSet => "isset".to_owned(),
        IntegerOperation::IsNotSet => "isnotset".to_owned(),
        IntegerOperation::Assign(of) => format!("=,{}", value(of)),
        IntegerOperation::Add(of) => format!("+,{}", value(of)),
        IntegerOperation::Subtract(of) => format!("-,{}", value(of)),
        IntegerOperation::Differs(of) => format!("!=,{}", value(of)),
        IntegerOperation::Test(comparison, of) => {
            let operator = match comparison {
                Comparison::Less => "<",
                Comparison::LessOrEqual => "<=",
                Comparison::GreaterOrEqual => ">=",
                Comparison::Greater => ">",
                _ => "==",
            };
            format!("{operator},{}", value(of))
        }
    }
}

pub(super) fn write_threshold(out: Out<'_, '_>, threshold: &Threshold) -> fmt::Result {
    let track = match threshold.track {
        Track::Source => "by_src",
        Track::Destination => "by_dst",
        Track::Pair => "by_both",
        Track::Rule => "by_rule",
        Track::Flow => "by_flow",
    };
    let kind = match threshold.kind {
        ThresholdKind::Limit => "threshold:type limit, ",
        ThresholdKind::Threshold => "threshold:type threshold, ",
        ThresholdKind::Both => "threshold:type both, ",
        ThresholdKind::Backoff => "threshold:type backoff, ",
        ThresholdKind::Filter => "detection_filter:",
    };
    let (count, seconds) = (threshold.count, threshold.seconds);
    write!(
        out,
        " {kind}track {track}, count {count}, seconds {seconds}"
    )?;
    match threshold.kind {
        ThresholdKind::Backoff => write!(out, ", multiplier {};", threshold.multiplier),
        _ => out.write_str(";"),
    }
}

pub(super) fn write_tag(out: Out<'_, '_>, tag: &Tag) -> fmt::Result {
    let metric = match tag.metric {
        TagMetric::Packets => "packets",
        TagMetric::Seconds => "seconds",
        TagMetric::Bytes => "bytes",
    };
    let count = tag.count;
    match tag.host {
        None => write!(out, " tag:session,{count},{metric};"),
        Some(Track::Destination) => write!(out, " tag:host,{count},{metric},dst;"),
        Some(_) => write!(out, " tag:host,{count},{metric},src;"),
    }
}

/// As written in rules.
pub(in crate::rule) const fn target(target: Target) -> &'static str {
    match target {
        Target::Source => "src_ip",
        Target::Destination => "dest_ip",
    }
}
