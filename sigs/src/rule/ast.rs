//! A rule, read: what its text means, in one form whatever way it was written.
//!
//! Older and newer spellings end in the same tree: `content:"a"; http_uri;`, `http.uri; content:"a";`,
//! `uricontent:"a";` and the letter U of `pcre` are all a [`Group`] of [`weir_l7::Buffer::HttpUri`];
//! `urilen` is a [`Matcher::Size`] there; `filename` and `fileext` are contents of the file's name;
//! `startswith` is an offset of 0 with a depth as long as the content.
//!
//! A rule fires when its header and flow fit, every test of [`Rule::packet`], [`Rule::session`] and
//! [`Rule::state`] holds and every group matches. All that a rule names is here, or the rule was refused.

use std::sync::Arc;

use weir_l7::AppSet;

use super::condition::{
    FlowCondition, PacketTest, SessionTest, StateStep, Tag, Target, Threshold, Unit,
};
use super::matcher::{Group, Matcher, Place};
use super::number::{AddressSet, PortSet};

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Where it stands.
    pub origin: Origin,
    /// What it does when it fires.
    pub action: Action,
    /// Which connections it looks at.
    pub header: Header,
    /// `sid`: its number; above 0.
    pub sid: u32,
    /// `gid`: whose number it is; 1 where nothing is said.
    pub gid: u32,
    /// `rev`: of several with a number the highest revision counts; 0 where nothing is said.
    pub revision: u32,
    /// `msg`: for people.
    pub message: String,
    /// `classtype`: by its short name.
    pub class: Option<String>,
    /// `priority`, else that of the class, else 3; 1 is the most urgent.
    pub priority: u8,
    /// `reference`: kind (`cve`, `url` …) and value.
    pub references: Vec<(String, String)>,
    /// `metadata`: key and value.
    pub metadata: Vec<(String, String)>,
    /// `target`: which end is attacked.
    pub target: Option<Target>,
    /// `flow`: state and direction of the connection.
    pub flow: FlowCondition,
    /// What the headers of one packet must be; all of them.
    pub packet: Vec<PacketTest>,
    /// What the connection and its application must be; all of them.
    pub session: Vec<SessionTest>,
    /// What its buffers must contain; all of them. A group is complete in itself.
    pub groups: Vec<Group>,
    /// Names of the values that matchers put aside, by [`super::matcher::Slot`].
    pub variables: Vec<String>,
    /// `flowbits`, `xbits`, `hostbits`, `flowint` in the order written: tests first ask, steps then set.
    pub state: Vec<StateStep>,
    /// `threshold` or `detection_filter`.
    pub threshold: Option<Threshold>,
    /// `tag`: more packets of this to be recorded after it fired.
    pub tag: Option<Tag>,
    /// `noalert`: it only sets state.
    pub silent: bool,
    /// What it asks for beyond the alert and does not get, in words; detection is not touched by it.
    pub notes: Vec<String>,
}

/// Where a rule stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// The file.
    pub file: Arc<str>,
    /// Its first line, from 1.
    pub line: u32,
}

/// What a rule does, in the order in which several that fire take precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Nothing more is looked for in this packet or, with `flow`, connection; nothing is told.
    Pass,
    /// It is told; the packet and what follows it on the connection do not get through.
    Drop,
    /// As `Drop`; and these ends are told.
    Reject(RejectTo),
    /// It is told.
    Alert,
}

/// Who is told by a reset or an unreachable message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RejectTo {
    /// `reject`, `rejectsrc`: the sender of the packet.
    Source,
    /// `rejectdst`: its receiver.
    Destination,
    /// `rejectboth`.
    Both,
}

/// The part of a rule before the parenthesis. Variables are resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What is spoken.
    pub protocol: Protocol,
    /// The sender of the packet.
    pub source: Endpoint,
    /// The receiver of the packet.
    pub destination: Endpoint,
    /// `<>`: or the other way round.
    pub both_ways: bool,
}

/// One end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its addresses.
    pub addresses: AddressSet,
    /// Its ports; asked only of TCP, UDP and SCTP.
    pub ports: PortSet,
}

/// The protocol of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// As written: `http`, `tcp-pkt` …
    pub name: &'static str,
    /// Version of IP, where one is demanded.
    pub family: Option<Family>,
    /// What is above IP.
    pub transport: Transport,
    /// The applications that it means; None where it names none.
    pub applications: Option<AppSet>,
    /// `tcp-pkt`, `tcp-stream`: what its payload is.
    pub unit: Option<Unit>,
}

/// A version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// 4.
    V4,
    /// 6.
    V6,
}

/// What is above IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Anything.
    Any,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// TCP or UDP: applications that are spoken over both.
    TcpOrUdp,
    /// ICMP of either version.
    Icmp,
    /// ICMP for IPv4.
    IcmpV4,
    /// ICMP for IPv6.
    IcmpV6,
    /// SCTP.
    Sctp,
}

impl Rule {
    /// What the payload ([`weir_l7::Buffer::Payload`]) of this rule is: for TCP the stream, one segment
    /// or either of them. Where nothing is said it is the stream, and each segment as well if a content
    /// counts from the start; a test of a packet's headers or size asks for the segment.
    pub fn payload_unit(&self) -> Unit {
        if let Some(unit) = self.header.protocol.unit.or(self.flow.unit) {
            return unit;
        }
        if !self.packet.is_empty() {
            return Unit::Packet;
        }
        let payload = self.groups.iter().filter(|group| {
            group.place == Place::Buffer(weir_l7::Buffer::Payload) && group.transforms.is_empty()
        });
        let from_start = payload.flat_map(|group| &group.matchers).any(
            |matcher| matches!(matcher, Matcher::Content(content) if content.counts_from_start()),
        );
        if from_start {
            Unit::Either
        } else {
            Unit::Stream
        }
    }
}
