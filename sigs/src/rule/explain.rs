//! A rule in words: what must come together for it to fire, and what it then does.

mod condition;
mod matcher;

use super::ast::{Action, Endpoint, Family, Rule, Transport};
use super::condition::{BitKind, FlowCondition, StateStep, Toward, Unit};

/// One thing that a rule needs, or does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// What it is of: `connection`, `packet`, a buffer, `remembered`, `rate`, `then`.
    pub of: String,
    /// In words.
    pub what: String,
}

impl Rule {
    /// What it needs to fire, in the order in which it is asked, and what it then does.
    pub fn explain(&self) -> Vec<Need> {
        let mut needs = Needs::default();
        needs.add("connection", self.connection());
        for sentence in flow(&self.flow) {
            needs.add("connection", sentence);
        }
        for test in &self.session {
            needs.add("connection", condition::session(test));
        }
        for test in &self.packet {
            needs.add("packet", condition::packet(test));
        }
        for group in &self.groups {
            let of = matcher::place(group);
            for sentence in matcher::group(group, &self.variables) {
                needs.add(&of, sentence);
            }
        }
        if self.has_payload() {
            needs.add("payload", payload_unit(self.payload_unit()).to_owned());
        }
        let (tests, steps): (Vec<_>, Vec<_>) = self.state.iter().partition(|step| step.is_test());
        for step in tests {
            needs.add("remembered", condition::state(step));
        }
        if let Some(threshold) = &self.threshold {
            needs.add("rate", condition::threshold(threshold));
        }
        self.effects(&mut needs, &steps);
        needs.0
    }

    fn effects(&self, needs: &mut Needs, steps: &[&StateStep]) {
        needs.add("then", self.outcome().to_owned());
        for step in steps {
            needs.add("then", condition::state(step));
        }
        if let Some(tag) = &self.tag {
            needs.add("then", condition::tag(tag));
        }
        for note in &self.notes {
            needs.add("note", note.clone());
        }
    }

    fn outcome(&self) -> &'static str {
        if self.silent {
            return "nothing is told: it only remembers";
        }
        match self.action {
            Action::Pass => "nothing is told, and no other rule is asked",
            Action::Alert => "it is told",
            Action::Drop => "it is told; the packet and what follows on its connection are dropped",
            Action::Reject(_) => "it is told; the connection is dropped and its end is told so",
        }
    }

    fn connection(&self) -> String {
        let protocol = &self.header.protocol;
        let family = match protocol.family {
            Some(Family::V4) => " over IPv4",
            Some(Family::V6) => " over IPv6",
            None => "",
        };
        let transport = match (protocol.applications, protocol.transport) {
            (Some(_), Transport::Tcp) => " over TCP",
            (Some(_), Transport::Udp) => " over UDP",
            (Some(_), Transport::TcpOrUdp) => " over TCP or UDP",
            _ => "",
        };
        let ports = !matches!(
            protocol.transport,
            Transport::Any | Transport::Icmp | Transport::IcmpV4 | Transport::IcmpV6
        );
        let end = |endpoint: &Endpoint| {
            let addresses = match endpoint.addresses.is_none() {
                true => "no address".to_owned(),
                false => endpoint.addresses.to_string(),
            };
            match ports {
                true => format!("{addresses} port {}", endpoint.ports),
                false => addresses,
            }
        };
        let way = if self.header.both_ways {
            ", or the other way round"
        } else {
            ""
        };
        let name = match protocol.name {
            "ip" | "pkthdr" => "any protocol",
            name => name,
        };
        format!(
            "packets of {name}{transport}{family}, from {} to {}{way}",
            end(&self.header.source),
            end(&self.header.destination)
        )
    }

    /// Whether it looks into the payload of TCP, which is a stream and packets.
    fn has_payload(&self) -> bool {
        let transport = self.header.protocol.transport;
        let may_be_stream = matches!(
            transport,
            Transport::Any | Transport::Tcp | Transport::TcpOrUdp
        );
        may_be_stream && self.buffers().contains(weir_l7::Buffer::Payload)
    }
}

/// Needs while they are gathered.
#[derive(Default)]
struct Needs(Vec<Need>);

impl Needs {
    fn add(&mut self, of: &str, what: String) {
        self.0.push(Need {
            of: of.to_owned(),
            what,
        });
    }
}

fn flow(flow: &FlowCondition) -> Vec<String> {
    let mut sentences = Vec::new();
    match flow.direction {
        Some(Toward::Server) => sentences.push("the client sends".to_owned()),
        Some(Toward::Client) => sentences.push("the server sends".to_owned()),
        None => {}
    }
    match flow.established {
        Some(true) => sentences.push("the connection is established".to_owned()),
        Some(false) => sentences.push("the connection is not established yet".to_owned()),
        None => {}
    }
    match flow.fragmented {
        Some(true) => sentences.push("the packet was put together from fragments".to_owned()),
        Some(false) => sentences.push("the packet came whole, not in fragments".to_owned()),
        None => {}
    }
    sentences
}

const fn payload_unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Packet => "of one packet",
        Unit::Stream => "of the stream: the bytes of a direction in order, however they are cut",
        Unit::Either => "of the stream, or of one packet",
    }
}

/// "is set", and so on.
const fn bit(kind: BitKind) -> &'static str {
    match kind {
        BitKind::IsSet => "is set",
        BitKind::IsNotSet => "is not set",
        BitKind::Set => "is set from now on",
        BitKind::Unset => "is unset",
        BitKind::Toggle => "is turned round",
    }
}

#[cfg(test)]
mod tests {
    use crate::rule::{Options, parse_rule};

    #[test]
    fn a_rule_in_words() {
        let text = r#"drop http $HOME_NET any -> 10.0.0.0/8 [80,8000:8080] (msg:"x"; flow:established,to_server;
            http.uri; content:"/a|0d|"; nocase; startswith; content:!"b"; distance:2; within:9; bsize:>12;
            http.header_names; to_lowercase; pcre:"/^x/i"; flowbits:isset,login; flowbits:set,seen;
            detection_filter:track by_src, count 5, seconds 60; sid:1;)"#;
        let rule = parse_rule(&text.replace('\n', " "), &Options::default()).unwrap();
        let lines: Vec<String> = rule
            .explain()
            .iter()
            .map(|need| format!("{}: {}", need.of, need.what))
            .collect();
        assert_eq!(
            lines,
            [
                "connection: packets of http over TCP, from any port any to [10.0.0.0-10.255.255.255] port [80,8000:8080]",
                "connection: the client sends",
                "connection: the connection is established",
                "http.uri: contains \"/a|0d|\" in upper or lower case at its start",
                "http.uri: does not contain \"b\" behind the last match and 2 bytes, within 9 bytes",
                "http.uri: has at least 13 bytes",
                "http.header_names · to_lowercase: matches /^x/i",
                "remembered: the connection's bit login is set",
                "rate: it came more than 5 times in 60 s, counted by the source",
                "then: it is told; the packet and what follows on its connection are dropped",
                "then: the connection's bit seen is set from now on",
            ]
        );
    }
}
