//! What the connection and the message of its application must be.

use weir_l7::{AppId, AppSet};

use super::Argument::{Needed, None as Nothing};
use super::packet::event_name;
use super::{Given, Keyword, row};
use crate::rule::build::Builder;
use crate::rule::condition::{End, SessionField, SessionTest, Side, TlsState, Toward, Unit};
use crate::rule::event::objections;
use crate::rule::header::applications;
use crate::rule::number::NumberTest;
use crate::rule::refusal::Mistake;
use crate::rule::word::{Word, compare};

pub(super) const KEYWORDS: &[Keyword] = &[
    row("flow", Needed, flow),
    row("app-layer-protocol", Needed, application),
    row("app-layer-event", Needed, event),
    row("stream_size", Needed, stream_size),
    row("flow.age", Needed, number),
    row("flow.pkts", Needed, of_end),
    row("flow.bytes", Needed, of_end),
    row("flow.pkts_toserver", Needed, number),
    row("flow.pkts_toclient", Needed, number),
    row("flow.bytes_toserver", Needed, number),
    row("flow.bytes_toclient", Needed, number),
    row("dns.opcode", Needed, number),
    row("dns_opcode", Needed, number),
    row("dns.rcode", Needed, number),
    row("dns.rrtype", Needed, number),
    row("snmp.version", Needed, number),
    row("snmp.pdu_type", Needed, number),
    row("krb5_msg_type", Needed, number),
    row("krb5_err_code", Needed, number),
    row("mqtt.type", Needed, number),
    row("mqtt.protocol_version", Needed, number),
    row("mqtt.reason_code", Needed, number),
    row("ssl_version", Needed, tls_version),
    row("ssl_state", Needed, tls_state),
    row("tls_cert_expired", Nothing, certificate_state),
    row("tls_cert_valid", Nothing, certificate_state),
    row("tls_cert_notbefore", Needed, certificate_time),
    row("tls_cert_notafter", Needed, certificate_time),
    row("dce_iface", Needed, interface),
    row("dcerpc.iface", Needed, interface),
    row("dce_opnum", Needed, operation),
    row("dcerpc.opnum", Needed, operation),
    row("iprep", Needed, reputation),
];

/// A number that stands alone: keyword, field, highest.
const NUMBERS: &[(&str, SessionField, u64)] = &[
    ("flow.age", SessionField::FlowAge, 0xffff_ffff),
    (
        "flow.pkts_toserver",
        SessionField::FlowPackets(End::Client),
        0xffff_ffff,
    ),
    (
        "flow.pkts_toclient",
        SessionField::FlowPackets(End::Server),
        0xffff_ffff,
    ),
    (
        "flow.bytes_toserver",
        SessionField::FlowBytes(End::Client),
        u64::MAX,
    ),
    (
        "flow.bytes_toclient",
        SessionField::FlowBytes(End::Server),
        u64::MAX,
    ),
    ("dns.opcode", SessionField::DnsOpcode, 15),
    ("dns_opcode", SessionField::DnsOpcode, 15),
    ("dns.rcode", SessionField::DnsRcode, 65_535),
    ("dns.rrtype", SessionField::DnsType, 65_535),
    ("snmp.version", SessionField::SnmpVersion, 255),
    ("snmp.pdu_type", SessionField::SnmpPdu, 255),
    ("krb5_msg_type", SessionField::KerberosMessage, 255),
    ("krb5_err_code", SessionField::KerberosError, 0xffff_ffff),
    ("mqtt.type", SessionField::MqttType, 15),
    ("mqtt.protocol_version", SessionField::MqttVersion, 255),
    ("mqtt.reason_code", SessionField::MqttReason, 255),
];

/// Types of MQTT's packets that are told as messages; acknowledgements only where they refuse.
const MQTT_TOLD: [u64; 10] = [1, 2, 3, 4, 5, 8, 9, 10, 11, 14];

/// Names that numbers have, in lower case: field, name, number.
const NAMES: &[(SessionField, &[(&str, u64)])] = &[
    (
        SessionField::DnsRcode,
        &[
            ("noerror", 0),
            ("formerr", 1),
            ("servfail", 2),
            ("nxdomain", 3),
            ("notimp", 4),
            ("refused", 5),
            ("yxdomain", 6),
            ("yxrrset", 7),
            ("nxrrset", 8),
            ("notauth", 9),
            ("notzone", 10),
        ],
    ),
    (
        SessionField::DnsType,
        &[
            ("a", 1),
            ("ns", 2),
            ("cname", 5),
            ("soa", 6),
            ("null", 10),
            ("ptr", 12),
            ("hinfo", 13),
            ("mx", 15),
            ("txt", 16),
            ("aaaa", 28),
            ("srv", 33),
            ("naptr", 35),
            ("ds", 43),
            ("rrsig", 46),
            ("dnskey", 48),
            ("svcb", 64),
            ("https", 65),
            ("ixfr", 251),
            ("axfr", 252),
            ("any", 255),
        ],
    ),
    (
        SessionField::MqttType,
        &[
            ("connect", 1),
            ("connack", 2),
            ("publish", 3),
            ("puback", 4),
            ("pubrec", 5),
            ("pubrel", 6),
            ("pubcomp", 7),
            ("subscribe", 8),
            ("suback", 9),
            ("unsubscribe", 10),
            ("unsuback", 11),
            ("pingreq", 12),
            ("pingresp", 13),
            ("disconnect", 14),
            ("auth", 15),
        ],
    ),
    (
        SessionField::SnmpPdu,
        &[
            ("get_request", 0),
            ("get_next_request", 1),
            ("response", 2),
            ("set_request", 3),
            ("trap_v1", 4),
            ("get_bulk_request", 5),
            ("inform_request", 6),
            ("trap_v2", 7),
            ("report", 8),
        ],
    ),
];

fn flow(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    for word in given.value.split(',') {
        let flow = &mut builder.rule.flow;
        let clash = match word.text {
            "to_server" | "from_client" => replaced(&mut flow.direction, Toward::Server),
            "to_client" | "from_server" => replaced(&mut flow.direction, Toward::Client),
            "established" => replaced(&mut flow.established, true),
            "not_established" => replaced(&mut flow.established, false),
            "stateless" => flow.established.is_some(),
            "only_stream" => replaced(&mut flow.unit, Unit::Stream),
            "no_stream" => replaced(&mut flow.unit, Unit::Packet),
            "only_frag" => replaced(&mut flow.fragmented, true),
            "no_frag" => replaced(&mut flow.fragmented, false),
            "" => false,
            _ => {
                return Err(word.malformed(
                    "flow is to_server, to_client, from_server, from_client, established, not_established, stateless, only_stream, no_stream, only_frag, no_frag",
                ));
            }
        };
        if clash {
            let why = format!("{} contradicts what stands before it", word.text);
            return Err(Mistake::impossible(word.at, why));
        }
    }
    Ok(())
}

/// Sets what was not set; true if it was set to something else.
fn replaced<T: PartialEq + Copy>(place: &mut Option<T>, value: T) -> bool {
    let clash = place.is_some_and(|before| before != value);
    *place = Some(value);
    clash
}

fn application(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let (word, negated) = given.negated();
    if let Some((_, mode)) = word.split_once(',') {
        return Err(Mistake::unsupported(
            mode.at,
            "app-layer-protocol",
            "Weir names one application for both directions: leave the mode out",
        ));
    }
    let applications = match word.text {
        "failed" | "unknown" => AppSet::of(AppId::UNKNOWN),
        name => match applications(name) {
            Some((_, applications)) => applications,
            None => {
                let why = format!("no application of Weir is named {name:?}; weir apps lists them");
                return Err(Mistake::unsupported(word.at, "app-layer-protocol", why));
            }
        },
    };
    builder.rule.session.push(SessionTest::Application {
        applications,
        negated,
    });
    Ok(())
}

fn event(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let name = event_name(given.value)?;
    if !name.contains('.') {
        return Err(given.unsupported("an event is named with its application: http.invalid_…"));
    }
    if objections(name).is_none() {
        return Err(given.unsupported(format!("no parser of Weir objects to {name}")));
    }
    builder.rule.session.push(SessionTest::Event(name.into()));
    Ok(())
}

fn number(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let Some(&(_, field, highest)) = NUMBERS.iter().find(|row| row.0 == given.name) else {
        return Err(given.unsupported("no message has this number"));
    };
    let (word, negated) = given.negated();
    let name = word.text.to_ascii_lowercase();
    let names = NAMES.iter().find(|row| row.0 == field);
    let named = names.and_then(|row| row.1.iter().find(|row| row.0 == name));
    let test = match named {
        Some(&(_, number)) if negated => NumberTest::Outside(number, number),
        Some(&(_, number)) => NumberTest::equals(number),
        None => given.value.test(highest)?,
    };
    if field == SessionField::MqttType && !MQTT_TOLD.iter().any(|&kind| test.holds(kind)) {
        return Err(given.unsupported("packets that keep a connection alive are not told"));
    }
    builder.rule.session.push(SessionTest::Number(field, test));
    Ok(())
}

/// `flow.pkts:toserver,>10`.
fn of_end(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let wrong = || {
        given
            .value
            .malformed("it is toserver, toclient, either or both, a comma and a number")
    };
    let (end, test) = given.value.split_once(',').ok_or_else(wrong)?;
    let end = match end.text {
        "toserver" => End::Client,
        "toclient" => End::Server,
        "either" => End::Either,
        "both" => End::Both,
        _ => return Err(wrong()),
    };
    let field = match given.name {
        "flow.pkts" => SessionField::FlowPackets(end),
        _ => SessionField::FlowBytes(end),
    };
    let test = test.test(u64::MAX)?;
    builder.rule.session.push(SessionTest::Number(field, test));
    Ok(())
}

/// `stream_size:client,<,1000`.
fn stream_size(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let words: Vec<Word<'_>> = given.value.split(',').collect();
    let &[end, operator, size] = words.as_slice() else {
        return Err(given
            .value
            .malformed("stream_size is client, server, both or either, an operator and a number"));
    };
    let end = match end.text {
        "client" => End::Client,
        "server" => End::Server,
        "either" => End::Either,
        "both" => End::Both,
        _ => return Err(end.malformed("stream_size is of client, server, both or either")),
    };
    let test = comparison(operator, size, u64::MAX)?;
    let field = SessionField::StreamSize(end);
    builder.rule.session.push(SessionTest::Number(field, test));
    Ok(())
}

/// An operator and a number that stand apart.
pub(super) fn comparison(
    operator: Word<'_>,
    number: Word<'_>,
    highest: u64,
) -> Result<NumberTest, Mistake> {
    if !["<", "<=", "=", "==", "!", "!=", ">=", ">"].contains(&operator.text) {
        return Err(operator.malformed("an operator is < <= = != >= >"));
    }
    let value = number.number_to(highest)?;
    compare(operator.text, value).ok_or_else(|| {
        let why = format!("no number is {}{value}: it can never hold", operator.text);
        Mistake::impossible(number.at, why)
    })
}

fn tls_version(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let (mut versions, mut negations) = (Vec::new(), 0);
    for word in given.unquoted().split(',') {
        let word = match word.strip_prefix("!") {
            Some(rest) => {
                negations += 1;
                rest
            }
            None => word,
        };
        versions.push(match word.text.to_ascii_lowercase().as_str() {
            "sslv2" => 0x0002,
            "sslv3" => 0x0300,
            "tls1.0" => 0x0301,
            "tls1.1" => 0x0302,
            "tls1.2" => 0x0303,
            "tls1.3" => 0x0304,
            _ => {
                return Err(
                    word.malformed("a version is sslv2, sslv3, tls1.0, tls1.1, tls1.2 or tls1.3")
                );
            }
        });
    }
    // A mark before the first is of the whole list.
    if negations > 1 && negations != versions.len() {
        return Err(given.value.malformed("all versions are negated, or none"));
    }
    if negations == 1 && !given.unquoted().text.starts_with('!') {
        return Err(given.value.malformed("all versions are negated, or none"));
    }
    let negated = negations > 0;
    builder
        .rule
        .session
        .push(SessionTest::TlsVersion { versions, negated });
    Ok(())
}

fn tls_state(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let (mut states, mut negations) = (Vec::new(), 0);
    for list in given.unquoted().split(',') {
        for word in list.split('|') {
            let word = match word.strip_prefix("!") {
                Some(rest) => {
                    negations += 1;
                    rest
                }
                None => word,
            };
            states.push(match word.text {
                "client_hello" => TlsState::ClientHello,
                "server_hello" => TlsState::ServerHello,
                "client_keyx" | "server_keyx" | "unknown" => {
                    return Err(given.unsupported("of a handshake only the hellos are told apart"));
                }
                _ => {
                    return Err(word.malformed("a state is client_hello, server_hello, client_keyx, server_keyx or unknown"));
                }
            });
        }
    }
    let negated = negations > 0;
    if negated && negations != states.len() {
        return Err(given.value.malformed("all states are negated, or none"));
    }
    builder
        .rule
        .session
        .push(SessionTest::TlsState { states, negated });
    Ok(())
}

fn certificate_state(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let expired = given.name == "tls_cert_expired";
    let test = SessionTest::CertificateExpired(expired);
    builder.rule.session.push(test);
    Ok(())
}

fn certificate_time(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let word = given.unquoted();
    let test = if let Some(found) = word.text.find("<>") {
        let first = unix_time(word.before(found).trim())?;
        let last = unix_time(word.behind(found + 2).trim())?;
        if last <= first + 1 {
            return Err(Mistake::impossible(word.at, "no time lies between these"));
        }
        NumberTest::Within(first + 1, last - 1)
    } else if let Some(rest) = word.strip_prefix("<") {
        NumberTest::Within(0, unix_time(rest)?.saturating_sub(1))
    } else if let Some(rest) = word.strip_prefix(">") {
        NumberTest::Within(unix_time(rest)? + 1, u64::MAX)
    } else {
        NumberTest::equals(unix_time(word)?)
    };
    let test = match given.name {
        "tls_cert_notbefore" => SessionTest::CertificateNotBefore(test),
        _ => SessionTest::CertificateNotAfter(test),
    };
    builder.rule.session.push(test);
    Ok(())
}

/// `2024-05-01 12:00:00`, in UTC; what is left out at the end is the first there is.
fn unix_time(word: Word<'_>) -> Result<u64, Mistake> {
    let wrong =
        || word.malformed("a time is written 2024, 2024-05, 2024-05-01 or 2024-05-01 12:00:00");
    let mut parts = [1970_u64, 1, 1, 0, 0, 0];
    let separators = |letter: char| matches!(letter, '-' | ' ' | 'T' | ':');
    for (index, text) in word.text.split(separators).enumerate() {
        let digits =
            !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        let part = parts.get_mut(index).filter(|_| digits).ok_or_else(wrong)?;
        *part = text.parse().map_err(|_| wrong())?;
    }
    let [year, month, day, hour, minute, second] = parts;
    let valid = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 61;
    if !valid {
        return Err(wrong());
    }
    // Days since 1970 of the civil calendar, counted in years that begin in March.
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    let days = days.checked_sub(719_469).ok_or_else(wrong)?;
    Ok(((days * 24 + hour) * 60 + minute) * 60 + second)
}

fn interface(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let mut words = given.value.split(',');
    let word = words.next().unwrap_or(given.value);
    let uuid = parse_uuid(word.text).ok_or_else(|| {
        word.malformed("an interface is a UUID: 367abb81-9844-35f1-ad32-98f038001003")
    })?;
    // A call keeps its interface in all of its fragments.
    if words.any(|word| word.text != "any_frag") {
        return Err(given.unsupported("versions of an interface are not told: leave it out"));
    }
    builder.rule.session.push(SessionTest::DceInterface(uuid));
    Ok(())
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    if lengths != [8, 4, 4, 4, 12]
        || !text
            .bytes()
            .all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
    {
        return None;
    }
    u128::from_str_radix(&groups.concat(), 16)
        .ok()
        .map(u128::to_be_bytes)
}

fn operation(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let mut operations = Vec::new();
    for word in given.value.split(',') {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let short = |word: Word<'_>| {
            Ok::<u16, Mistake>(u16::try_from(word.number_to(65_535)?).unwrap_or(u16::MAX))
        };
        let (first, last) = (short(first)?, short(last)?);
        if first > last {
            return Err(word.malformed("the ends of a range are in order"));
        }
        operations.push((first, last));
    }
    builder
        .rule
        .session
        .push(SessionTest::DceOperation(operations));
    Ok(())
}

fn reputation(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let words: Vec<Word<'_>> = given.value.split(',').collect();
    let &[side, category, ref rest @ ..] = words.as_slice() else {
        return Err(given
            .value
            .malformed("iprep is any, src, dst or both, a category, an operator and 0 to 127"));
    };
    let of = match side.text {
        "any" => Side::Any,
        "src" => Side::Source,
        "dst" => Side::Destination,
        "both" => Side::Both,
        _ => return Err(side.malformed("iprep is of any, src, dst or both")),
    };
    if category.text.is_empty() {
        return Err(category.malformed("a category is missing"));
    }
    let test = match rest {
        [word] if word.text == "isset" => Some(NumberTest::Within(0, u64::MAX)),
        [word] if word.text == "isnotset" => None,
        [operator, number] => Some(comparison(*operator, *number, 127)?),
        _ => {
            return Err(given
                .value
                .malformed("behind the category stand an operator and 0 to 127, or isset"));
        }
    };
    builder.rule.session.push(SessionTest::Reputation {
        of,
        category: category.text.into(),
        test,
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let time = |text| unix_time(Word::new(text, 0)).ok();
        assert_eq!(time("1970"), Some(0));
        assert_eq!(time("2000-03-01"), Some(951_868_800));
        assert_eq!(time("2024-02-29 12:30:15"), Some(1_709_209_815));
        assert_eq!(time("2024-13"), None);
        assert_eq!(time("24:00:00:00:00:00:00"), None);
        assert_eq!(time("1969-12-31"), None);
    }
}
