//! Everything that a rule asks beside bytes: addresses, ports, flow, application, packet and session.

use std::net::IpAddr;

use weir_wire::Direction;

use super::facts::{Facts, PacketFacts, PacketNumbers};
use super::text::Answer;
use crate::compile::RuleSet;
use crate::rule::{
    End, Endpoint, Family, FlowCondition, Header, NumberTest, PacketTest, Rule, SessionField,
    SessionTest, Side, Toward, Transport, objections,
};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;

/// On what a rule is asked.
#[derive(Clone, Copy)]
pub(crate) struct Occasion<'a> {
    pub facts: &'a Facts<'a>,
    pub direction: Direction,
    pub now_us: u64,
    /// The packet, or the last one of the connection.
    pub packet: Option<PacketNumbers>,
    /// It is this packet that is asked about.
    pub this_packet: Option<&'a PacketFacts<'a>>,
}

/// Whether a rule's header and flow fit; open while the application is.
pub(crate) fn fits(rule: &Rule, on: &Occasion<'_>) -> Answer {
    if !flow_fits(&rule.flow, on) || !header_fits(&rule.header, on.facts, on.direction) {
        return Answer::No;
    }
    application_fits(rule, on.facts)
}

/// Whether a rule can fit anything that is still to come of a connection in this direction.
pub(crate) fn may_fit(rule: &Rule, set: &RuleSet, facts: &Facts<'_>, direction: Direction) -> bool {
    let on = Occasion {
        facts,
        direction,
        now_us: 0,
        packet: None,
        this_packet: None,
    };
    // What both ends have said once they will have said for ever.
    let established = rule.flow.established != Some(false) || !facts.established;
    let stays = |test: &SessionTest| match test {
        SessionTest::Application { .. } if facts.application.is_none() => true,
        SessionTest::Application { .. } | SessionTest::Reputation { .. } => {
            session_test(test, set, &on)
        }
        _ => true,
    };
    let same_address =
        |test: &PacketTest| !matches!(test, PacketTest::SameAddress) || packet_test(test, &on);
    established
        && direction_fits(&rule.flow, direction)
        && header_fits(&rule.header, facts, direction)
        && application_fits(rule, facts) != Answer::No
        && rule.session.iter().all(stays)
        && rule.packet.iter().all(same_address)
}

fn application_fits(rule: &Rule, facts: &Facts<'_>) -> Answer {
    let Some(applications) = rule.header.protocol.applications else {
        return Answer::Yes;
    };
    match facts.application {
        None => Answer::More,
        Some(application) if applications.contains(application) => Answer::Yes,
        Some(application) if applications.contains(weir_l7::registry::root(application)) => {
            Answer::Yes
        }
        Some(_) => Answer::No,
    }
}

fn direction_fits(flow: &FlowCondition, direction: Direction) -> bool {
    flow.direction
        .is_none_or(|toward| (toward == Toward::Server) == (direction == Direction::ToServer))
}

fn flow_fits(flow: &FlowCondition, on: &Occasion<'_>) -> bool {
    let fragments = flow
        .fragmented
        .is_none_or(|wanted| on.packet.is_some_and(|packet| packet.fragmented == wanted));
    direction_fits(flow, on.direction)
        && fragments
        && flow
            .established
            .is_none_or(|wanted| on.facts.established == wanted)
}

fn header_fits(header: &Header, facts: &Facts<'_>, direction: Direction) -> bool {
    let protocol = facts.protocol;
    let transport = match header.protocol.transport {
        Transport::Any => true,
        Transport::Tcp => protocol == TCP,
        Transport::Udp => protocol == UDP,
        Transport::TcpOrUdp => protocol == TCP || protocol == UDP,
        Transport::Icmp => protocol == ICMP || protocol == ICMPV6,
        Transport::IcmpV4 => protocol == ICMP,
        Transport::IcmpV6 => protocol == ICMPV6,
        Transport::Sctp => protocol == SCTP,
    };
    let family = match header.protocol.family {
        None => true,
        Some(Family::V4) => facts.client.is_ipv4(),
        Some(Family::V6) => facts.client.is_ipv6(),
    };
    if !transport || !family {
        return false;
    }
    let has_ports = matches!(protocol, TCP | UDP | SCTP);
    let (source, destination) = facts.ends(direction);
    let ends = |from: (IpAddr, u16), to: (IpAddr, u16)| {
        end_fits(&header.source, from, has_ports) && end_fits(&header.destination, to, has_ports)
    };
    ends(source, destination) || header.both_ways && ends(destination, source)
}

fn end_fits(end: &Endpoint, (address, port): (IpAddr, u16), has_ports: bool) -> bool {
    (!has_ports || end.ports.contains(port)) && end.addresses.contains(address)
}

/// Whether the tests of packet and session hold.
pub(crate) fn tests_hold(rule: &Rule, set: &RuleSet, on: &Occasion<'_>) -> bool {
    rule.packet.iter().all(|test| packet_test(test, on))
        && rule.session.iter().all(|test| session_test(test, set, on))
}

fn packet_test(test: &PacketTest, on: &Occasion<'_>) -> bool {
    if let PacketTest::SameAddress = test {
        return on.facts.client == on.facts.server;
    }
    let Some(packet) = &on.packet else {
        return false;
    };
    match test {
        PacketTest::Number(field, test) => {
            packet.get(*field).is_some_and(|number| test.holds(number))
        }
        PacketTest::TcpFlags {
            flags,
            ignored,
            how,
        } => packet
            .tcp
            .is_some_and(|tcp| how.holds(tcp.flags & !ignored, flags & !ignored)),
        PacketTest::FragmentBits { bits, how } => how.holds(packet.fragment_bits, *bits),
        PacketTest::IpOption(None) => packet.options[0] != 0,
        PacketTest::IpOption(Some(option)) => packet.options.contains(option),
        PacketTest::SameAddress => false,
    }
}

fn session_test(test: &SessionTest, set: &RuleSet, on: &Occasion<'_>) -> bool {
    let number =
        |number: Option<u64>, test: &NumberTest| number.is_some_and(|number| test.holds(number));
    let session = on.facts.session;
    match test {
        SessionTest::Application {
            applications,
            negated,
        } => on.facts.application.is_some_and(|application| {
            let named = applications.contains(application)
                || applications.contains(weir_l7::registry::root(application));
            named != *negated
        }),
        SessionTest::Event(name) => session
            .and_then(|session| session.objection())
            .is_some_and(|what| objections(name).is_some_and(|meant| meant.contains(&what))),
        SessionTest::Number(field, test) => {
            let of = |field| number(session.and_then(|session| session.number(field)), test);
            let (one, other, both) = sides(*field);
            match both {
                true => of(one) && of(other),
                false => of(one) || of(other),
            }
        }
        SessionTest::TlsVersion { versions, negated } => session
            .and_then(|session| session.tls_version())
            .is_some_and(|version| versions.contains(&version) != *negated),
        SessionTest::TlsState { states, negated } => session
            .and_then(|session| session.tls_state())
            .is_some_and(|state| states.contains(&state) != *negated),
        SessionTest::CertificateExpired(wanted) => session
            .and_then(|session| session.certificate_expired())
            .is_some_and(|expired| expired == *wanted),
        SessionTest::CertificateNotBefore(test) => {
            let validity = session.and_then(|session| session.certificate_validity());
            number(validity.map(|(from, _)| from), test)
        }
        SessionTest::CertificateNotAfter(test) => {
            let validity = session.and_then(|session| session.certificate_validity());
            number(validity.map(|(_, until)| until), test)
        }
        SessionTest::DceInterface(uuid) => {
            session.and_then(|session| session.dce_interface()) == Some(*uuid)
        }
        SessionTest::DceOperation(ranges) => session
            .and_then(|session| session.dce_operation())
            .is_some_and(|called| {
                ranges
                    .iter()
                    .any(|&(low, high)| low <= called && called <= high)
            }),
        SessionTest::Reputation { of, category, test } => {
            let ((source, _), (destination, _)) = on.facts.ends(on.direction);
            let passes = |address| {
                let score = set.reputations.score(category, address);
                match test {
                    Some(test) => number(score.map(u64::from), test),
                    None => score.is_none(),
                }
            };
            match of {
                Side::Source => passes(source),
                Side::Destination => passes(destination),
                Side::Any => passes(source) || passes(destination),
                Side::Both => passes(source) && passes(destination),
            }
        }
    }
}

/// The fields that a test of both ends, or of either, is about; and whether both must pass.
const fn sides(field: SessionField) -> (SessionField, SessionField, bool) {
    use SessionField::{FlowBytes, FlowPackets, StreamSize};
    let (client, server, end) = match field {
        StreamSize(end) => (StreamSize(End::Client), StreamSize(End::Server), end),
        FlowPackets(end) => (FlowPackets(End::Client), FlowPackets(End::Server), end),
        FlowBytes(end) => (FlowBytes(End::Client), FlowBytes(End::Server), end),
        other => return (other, other, false),
    };
    match end {
        End::Client => (client, client, false),
        End::Server => (server, server, false),
        End::Either => (client, server, false),
        End::Both => (client, server, true),
    }
}
