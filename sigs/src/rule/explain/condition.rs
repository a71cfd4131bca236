//! Conditions in words.

use super::bit;
use super::matcher::number_test;
use crate::rule::condition::{
    BitTest, IntegerOperation, PacketTest, SessionTest, Side, StateStep, Tag, TagMetric, Threshold,
    ThresholdKind, Track,
};
use crate::rule::header::application_name;
use crate::rule::write::{
    IP_OPTIONS, flag_letters, integer, packet_field, session_field, time_test, tls_state,
    tls_version, uuid_text,
};

pub(super) fn packet(test: &PacketTest) -> String {
    match test {
        PacketTest::Number(field, test) => {
            format!("{} is {}", packet_field(*field), number_test(*test))
        }
        PacketTest::TcpFlags {
            flags,
            ignored,
            how,
        } => {
            let aside = match ignored {
                0 => String::new(),
                ignored => format!(", leaving aside {}", flag_letters(*ignored)),
            };
            format!("{}{aside}", bits(*how, "flag", &flag_letters(*flags)))
        }
        PacketTest::FragmentBits { bits: of, how } => {
            let names = [(1, 'M'), (2, 'D'), (4, 'R')];
            let set = names.into_iter().filter(|(bit, _)| of & bit != 0);
            bits(
                *how,
                "fragment bit",
                &set.map(|(_, name)| name).collect::<String>(),
            )
        }
        PacketTest::IpOption(None) => "an option of IPv4 is there".to_owned(),
        PacketTest::IpOption(Some(number)) => {
            let name = IP_OPTIONS.iter().find(|row| row.0 == *number);
            let name = name.map_or_else(|| number.to_string(), |row| row.1.to_owned());
            format!("the option {name} of IPv4 is there")
        }
        PacketTest::SameAddress => "source and destination are one address".to_owned(),
    }
}

fn bits(how: BitTest, kind: &str, names: &str) -> String {
    match how {
        BitTest::Exactly => format!("exactly the {kind}s {names} are set"),
        BitTest::All => format!("the {kind}s {names} are set"),
        BitTest::Any => format!("one of the {kind}s {names} is set"),
        BitTest::NotAll => format!("not all of the {kind}s {names} are set"),
    }
}

pub(super) fn session(test: &SessionTest) -> String {
    let sense = |negated: &bool| if *negated { "none of" } else { "one of" };
    match test {
        SessionTest::Application {
            applications,
            negated,
        } => {
            let name = application_name(*applications).unwrap_or("unknown");
            let not = if *negated { "not " } else { "" };
            format!("the application is {not}{name}")
        }
        SessionTest::Event(name) => format!("the message is objected to: {name}"),
        SessionTest::Number(field, test) => {
            let field = session_field(*field);
            let field = field.trim_end_matches([':', ',']);
            format!("{field} is {}", number_test(*test))
        }
        SessionTest::TlsVersion { versions, negated } => {
            let names: Vec<&str> = versions
                .iter()
                .map(|&version| tls_version(version))
                .collect();
            format!("the version is {} {}", sense(negated), names.join(", "))
        }
        SessionTest::TlsState { states, negated } => {
            let names: Vec<&str> = states.iter().map(|&state| tls_state(state)).collect();
            format!(
                "the handshake has come to {} {}",
                sense(negated),
                names.join(", ")
            )
        }
        SessionTest::CertificateExpired(true) => "the certificate has expired".to_owned(),
        SessionTest::CertificateExpired(false) => "the certificate has not expired".to_owned(),
        SessionTest::CertificateNotBefore(test) => {
            format!("the certificate is valid from {}", time_test(*test))
        }
        SessionTest::CertificateNotAfter(test) => {
            format!("the certificate is valid up to {}", time_test(*test))
        }
        SessionTest::DceInterface(uuid) => {
            format!("the call is of the interface {}", uuid_text(uuid))
        }
        SessionTest::DceOperation(ranges) => {
            let range = |&(low, high): &(u16, u16)| match low == high {
                true => low.to_string(),
                false => format!("{low} to {high}"),
            };
            let ranges: Vec<String> = ranges.iter().map(range).collect();
            format!("the operation is {}", ranges.join(", "))
        }
        SessionTest::Reputation { of, category, test } => {
            let of = match of {
                Side::Any => "one end",
                Side::Source => "the source",
                Side::Destination => "the destination",
                Side::Both => "each end",
            };
            match test {
                Some(test) => format!(
                    "{of} has in {category} a reputation of {}",
                    number_test(*test)
                ),
                None => format!("{of} is not listed in {category}"),
            }
        }
    }
}

pub(super) fn state(step: &StateStep) -> String {
    match step {
        StateStep::Flow(operation) => format!(
            "the connection's bit {} {}",
            operation.names.join(" or "),
            bit(operation.kind)
        ),
        StateStep::Host {
            operation,
            track,
            expire_s,
        } => {
            let until = match step.is_test() {
                true => String::new(),
                false => format!(" for {expire_s} s"),
            };
            let names = operation.names.join(" or ");
            format!(
                "the bit {names} of {} {}{until}",
                tracked(*track),
                bit(operation.kind)
            )
        }
        StateStep::Integer { name, operation } => match operation {
            IntegerOperation::IsSet => format!("the connection's number {name} is there"),
            IntegerOperation::IsNotSet => format!("the connection's number {name} is not there"),
            operation => format!(
                "the connection's number {name} {}",
                integer(operation).replace(',', " ")
            ),
        },
    }
}

const fn tracked(track: Track) -> &'static str {
    match track {
        Track::Source => "the source",
        Track::Destination => "the destination",
        Track::Pair => "the pair of hosts",
        Track::Rule => "the rule",
        Track::Flow => "the connection",
    }
}

pub(super) fn threshold(of: &Threshold) -> String {
    let (count, seconds, track) = (of.count, of.seconds, tracked(of.track));
    match of.kind {
        ThresholdKind::Limit => {
            format!("it is told at most {count} times in {seconds} s, counted by {track}")
        }
        ThresholdKind::Threshold => {
            format!("each {count}th time in {seconds} s is told, counted by {track}")
        }
        ThresholdKind::Both => {
            format!(
                "it is told once in {seconds} s, when it came {count} times, counted by {track}"
            )
        }
        ThresholdKind::Backoff => format!(
            "it is told the {count}th time, then each {} times rarer, counted by {track}",
            of.multiplier
        ),
        ThresholdKind::Filter => {
            format!("it came more than {count} times in {seconds} s, counted by {track}")
        }
    }
}

pub(super) fn tag(tag: &Tag) -> String {
    let metric = match tag.metric {
        TagMetric::Packets => "packets",
        TagMetric::Seconds => "seconds",
        TagMetric::Bytes => "bytes",
    };
    let of = match tag.host {
        None => "the connection",
        Some(Track::Destination) => "the destination",
        Some(_) => "the source",
    };
    format!("{} {metric} of {of} are recorded", tag.count)
}
