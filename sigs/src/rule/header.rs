//! The part of a rule before the parenthesis: action, protocol, addresses, ports, direction.

use std::net::IpAddr;

use weir_l7::{AppId, AppSet, registry};

use super::ast::{Action, Endpoint, Family, Header, Protocol, RejectTo, Transport};
use super::condition::Unit;
use super::number::{AddressSet, Ordinal, PortSet, Ranges};
use super::refusal::{Cause, Mistake};
use super::variables::{DEPTH_MAX, Variables};
use super::word::Word;

/// What was read, and what is to be said of it all the same.
pub(super) struct ReadHeader {
    pub action: Action,
    pub header: Header,
    pub notes: Vec<String>,
}

/// Reads `alert tcp $HOME_NET any -> any [80,443]`.
pub(super) fn parse_header(text: Word<'_>, variables: &Variables) -> Result<ReadHeader, Mistake> {
    let words = words(text)?;
    let action = match words.first() {
        Some(word) => parse_action(*word)?,
        None => return Err(text.malformed("an action is missing: alert, drop, reject or pass")),
    };
    let &[
        _,
        protocol,
        source,
        source_ports,
        arrow,
        destination,
        destination_ports,
    ] = words.as_slice()
    else {
        let at = words
            .get(7)
            .map_or(text.at + text.text.len(), |word| word.at);
        return Err(Mistake::malformed(
            at,
            "a header is `action protocol address port -> address port`",
        ));
    };
    let both_ways = match arrow.text {
        "->" => false,
        "<>" => true,
        "<-" => {
            return Err(arrow.malformed("there is no <-: exchange the two ends and write ->"));
        }
        other => return Err(arrow.malformed(format!("{other:?} is no direction: write -> or <>"))),
    };
    let mut notes = Vec::new();
    let mut endpoint = |addresses: Word<'_>, ports: Word<'_>| -> Result<Endpoint, Mistake> {
        let (set, emptied) = parse_addresses(addresses, variables)?;
        if emptied {
            notes.push(format!(
                "it matches no address as long as what {} leaves out is any: set the variable",
                addresses.text
            ));
        }
        let (ports, _) = parse_ports(ports, variables)?;
        Ok(Endpoint {
            addresses: set,
            ports,
        })
    };
    let header = Header {
        protocol: parse_protocol(protocol)?,
        source: endpoint(source, source_ports)?,
        destination: endpoint(destination, destination_ports)?,
        both_ways,
    };
    Ok(ReadHeader {
        action,
        header,
        notes,
    })
}

/// The words; a list in brackets is one, white space in it or not.
fn words(text: Word<'_>) -> Result<Vec<Word<'_>>, Mistake> {
    let (mut words, mut start, mut depth) = (Vec::new(), None, 0_usize);
    for (index, letter) in text.text.char_indices() {
        match letter {
            '[' => depth += 1,
            ']' => {
                depth = depth.checked_sub(1).ok_or_else(|| {
                    Mistake::malformed(text.at + index, "this bracket closes nothing")
                })?;
            }
            _ => {}
        }
        if letter.is_whitespace() && depth == 0 {
            if let Some(start) = start.take() {
                words.push(text.before(index).behind(start));
            }
        } else if start.is_none() {
            start = Some(index);
        }
    }
    if let Some(start) = start {
        words.push(text.behind(start));
    }
    if depth > 0 {
        let last = words.last().copied().unwrap_or(text);
        return Err(last.malformed("a bracket is not closed"));
    }
    Ok(words)
}

fn parse_action(word: Word<'_>) -> Result<Action, Mistake> {
    Ok(match word.text {
        "alert" => Action::Alert,
        "drop" => Action::Drop,
        "pass" => Action::Pass,
        "reject" | "rejectsrc" => Action::Reject(RejectTo::Source),
        "rejectdst" => Action::Reject(RejectTo::Destination),
        "rejectboth" => Action::Reject(RejectTo::Both),
        other => {
            let why = match other {
                "config" => {
                    "config rules change how traffic is logged, which Weir's own configuration does"
                }
                "accept" => "accept is of Suricata's firewall mode: write an allowlist",
                "sdrop" | "log" | "activate" | "dynamic" => {
                    "this action is Snort's: write alert, drop, reject or pass"
                }
                _ => "it is no action: write alert, drop, reject, rejectdst, rejectboth or pass",
            };
            let cause = match other {
                "config" | "accept" | "sdrop" | "log" | "activate" | "dynamic" => {
                    Cause::Action(other.to_owned())
                }
                _ => Cause::Malformed,
            };
            return Err(Mistake::at(word.at, cause, format!("{other:?}: {why}")));
        }
    })
}

/// Protocols that name no application: name, version of IP, transport, what the payload is.
const CARRIERS: &[(&str, Option<Family>, Transport, Option<Unit>)] = &[
    ("ip", None, Transport::Any, None),
    ("ip4", Some(Family::V4), Transport::Any, None),
    ("ipv4", Some(Family::V4), Transport::Any, None),
    ("ip6", Some(Family::V6), Transport::Any, None),
    ("ipv6", Some(Family::V6), Transport::Any, None),
    ("pkthdr", None, Transport::Any, Some(Unit::Packet)),
    ("tcp", None, Transport::Tcp, None),
    ("tcp-pkt", None, Transport::Tcp, Some(Unit::Packet)),
    ("tcp-stream", None, Transport::Tcp, Some(Unit::Stream)),
    ("udp", None, Transport::Udp, None),
    ("icmp", None, Transport::Icmp, None),
    ("icmpv4", None, Transport::IcmpV4, None),
    ("icmpv6", None, Transport::IcmpV6, None),
    ("sctp", None, Transport::Sctp, None),
];

/// Applications by the names that rules have for them, where these are not Weir's.
const APPLICATIONS: &[(&str, &[&str])] = &[
    ("http", &["http", "http2"]),
    ("http1", &["http"]),
    ("ftp-data", &["ftp_data", "ftp-data"]),
    ("krb5", &["kerberos"]),
    ("rfb", &["vnc"]),
    ("pgsql", &["postgresql"]),
    ("jabber", &["xmpp"]),
    ("ikev2", &["ike"]),
    ("bittorrent-dht", &["bittorrent"]),
    ("nbns", &["netbios"]),
    ("ssl", &["tls"]),
    ("doh2", &["http2"]),
];

/// In rules these are over TCP only; some of their special cases Weir knows over UDP too.
const OVER_TCP: [&str; 4] = ["http", "http1", "http2", "doh2"];

fn parse_protocol(word: Word<'_>) -> Result<Protocol, Mistake> {
    if let Some(&(name, family, transport, unit)) =
        CARRIERS.iter().find(|carrier| carrier.0 == word.text)
    {
        return Ok(Protocol {
            name,
            family,
            transport,
            applications: None,
            unit,
        });
    }
    let Some((name, applications)) = applications(word.text) else {
        let why = format!(
            "the protocol {:?} is not known: write tcp, udp, icmp, ip or an application",
            word.text
        );
        return Err(Mistake::at(
            word.at,
            Cause::Protocol(word.text.to_owned()),
            why,
        ));
    };
    Ok(Protocol {
        name,
        family: None,
        transport: match OVER_TCP.contains(&name) {
            true => Transport::Tcp,
            false => transport_of(applications),
        },
        applications: Some(applications),
        unit: None,
    })
}

/// The applications of a name, each with its special cases.
pub(super) fn applications(name: &str) -> Option<(&'static str, AppSet)> {
    let with_cases = |app: AppId| registry::special_cases(app);
    if let Some(&(name, members)) = APPLICATIONS.iter().find(|row| row.0 == name) {
        let members = members
            .iter()
            .filter_map(|member| registry::by_name(member));
        let set = members.map(with_cases).fold(AppSet::EMPTY, AppSet::union);
        return (!set.is_empty()).then_some((name, set));
    }
    let app = registry::by_name(name).filter(|&app| app != AppId::UNKNOWN)?;
    Some((app.name(), with_cases(app)))
}

/// The name of a set of applications, where it has one.
pub(super) fn application_name(set: AppSet) -> Option<&'static str> {
    if set == AppSet::of(AppId::UNKNOWN) {
        return Some("unknown");
    }
    let named = APPLICATIONS.iter().map(|row| row.0);
    let own = registry::applications().iter().map(|row| row.name);
    let mut all = named.chain(own);
    all.find(|name| applications(name).is_some_and(|(_, members)| members == set))
}

fn transport_of(applications: AppSet) -> Transport {
    let carried = |transport| applications.intersects(registry::carried_by(transport));
    let tcp = carried(weir_l7::Transport::Tcp);
    let udp = carried(weir_l7::Transport::Udp);
    let icmp = carried(weir_l7::Transport::Icmp);
    match (tcp, udp, icmp) {
        (true, false, false) => Transport::Tcp,
        (false, true, false) => Transport::Udp,
        (true, true, false) => Transport::TcpOrUdp,
        (false, false, true) => Transport::IcmpV4,
        (false, false, false) if carried(weir_l7::Transport::Icmpv6) => Transport::IcmpV6,
        _ => Transport::Any,
    }
}

/// A set, and whether a negated variable that is `any` left nothing of it.
type Parsed<T> = Result<(T, bool), Mistake>;

/// Reads addresses: `any`, `$HOME_NET`, `10.0.0.0/8`, `1.2.3.4-1.2.3.9`, `[a,!b,[c,d]]`.
pub(super) fn parse_addresses(word: Word<'_>, variables: &Variables) -> Parsed<AddressSet> {
    parse_set(word, variables, 0)
}

/// Reads ports: `any`, `$HTTP_PORTS`, `80`, `1024:`, `:1023`, `[80,!81:90]`.
pub(super) fn parse_ports(word: Word<'_>, variables: &Variables) -> Parsed<PortSet> {
    parse_set(word, variables, 0)
}

/// What both kinds of sets can do.
trait Set: Sized {
    fn none() -> Self;
    fn any() -> Self;
    fn is_nothing(&self) -> bool;
    fn complement(&self) -> Self;
    fn union(&self, other: &Self) -> Self;
    fn intersection(&self, other: &Self) -> Self;
    fn variable(variables: &Variables, name: &str) -> Option<Self>;
    fn single(word: Word<'_>) -> Result<Self, Mistake>;
}

/// A list is the union of its members without the union of those negated.
fn parse_set<S: Set>(word: Word<'_>, variables: &Variables, depth: usize) -> Parsed<S> {
    if depth > DEPTH_MAX {
        return Err(word.malformed(format!("lists lie more than {DEPTH_MAX} deep")));
    }
    if word.text.is_empty() {
        return Err(word.malformed("a member of the list is missing"));
    }
    if let Some(rest) = word.strip_prefix("!") {
        let (set, _) = parse_set::<S>(rest, variables, depth + 1)?;
        let left = set.complement();
        if left.is_nothing() && !rest.text.contains('$') {
            let why = format!("{} matches nothing: it can never fire", word.text);
            return Err(Mistake::impossible(word.at, why));
        }
        let emptied = left.is_nothing();
        return Ok((left, emptied));
    }
    if let Some(list) = word.strip_prefix("[") {
        let Some(list) = list.strip_suffix("]") else {
            return Err(word.malformed("a bracket is not closed"));
        };
        return parse_list(list, variables, depth);
    }
    if word.text == "any" {
        return Ok((S::any(), false));
    }
    if let Some(name) = word.text.strip_prefix('$') {
        let Some(set) = S::variable(variables, name) else {
            let why =
                format!("the variable ${name} has no value: give it one with --variable {name}=…");
            return Err(Mistake::at(word.at, Cause::Variable(name.to_owned()), why));
        };
        let nothing = set.is_nothing();
        return Ok((set, nothing));
    }
    Ok((S::single(word)?, false))
}

fn parse_list<S: Set>(list: Word<'_>, variables: &Variables, depth: usize) -> Parsed<S> {
    let (mut wanted, mut left_out) = (None::<S>, S::none());
    for member in members(list) {
        if let Some(negated) = member.strip_prefix("!") {
            let (set, _) = parse_set::<S>(negated, variables, depth + 1)?;
            left_out = left_out.union(&set);
        } else {
            let (set, _) = parse_set::<S>(member, variables, depth + 1)?;
            wanted = Some(wanted.map_or(S::none(), |wanted| wanted).union(&set));
        }
    }
    let set = wanted.unwrap_or_else(S::any);
    let set = set.intersection(&left_out.complement());
    if set.is_nothing() && !list.text.contains('$') {
        let why = format!("[{}] matches nothing: it can never fire", list.text);
        return Err(Mistake::impossible(list.at, why));
    }
    let emptied = set.is_nothing();
    Ok((set, emptied))
}

/// The members of a list, split at commas outside of inner lists.
fn members(list: Word<'_>) -> Vec<Word<'_>> {
    let (mut members, mut start, mut depth) = (Vec::new(), 0, 0_i32);
    for (index, letter) in list.text.char_indices() {
        match letter {
            '[' => depth += 1,
            ']' => depth -= 1,
            ',' if depth == 0 => {
                members.push(list.before(index).behind(start).trim());
                start = index + 1;
            }
            _ => {}
        }
    }
    members.push(list.behind(start).trim());
    members
}

impl Set for AddressSet {
    fn none() -> Self {
        Self::none()
    }
    fn any() -> Self {
        Self::any()
    }
    fn is_nothing(&self) -> bool {
        self.is_none()
    }
    fn complement(&self) -> Self {
        self.complement()
    }
    fn union(&self, other: &Self) -> Self {
        self.union(other)
    }
    fn intersection(&self, other: &Self) -> Self {
        self.intersection(other)
    }
    fn variable(variables: &Variables, name: &str) -> Option<Self> {
        variables.addresses(name).cloned()
    }
    fn single(word: Word<'_>) -> Result<Self, Mistake> {
        let address = |word: Word<'_>| {
            word.text.parse::<IpAddr>().map_err(|_| {
                let text = word.text;
                word.malformed(format!(
                    "{text:?} is no address: write 10.0.0.1, 10.0.0.0/8, 2001:db8::/32, a variable, a list or any"
                ))
            })
        };
        let wrong = |why: &str| word.malformed(format!("{:?}: {why}", word.text));
        if let Some((first, last)) = word.split_once('-') {
            let set = Self::between(address(first)?, address(last)?);
            return set.ok_or_else(|| wrong("the ends of a range are in order and of one family"));
        }
        let Some((first, prefix)) = word.split_once('/') else {
            let address = address(word)?;
            return Self::between(address, address).ok_or_else(|| wrong("it is no address"));
        };
        let first = address(first)?;
        let bits = match prefix.text.parse::<IpAddr>() {
            Ok(IpAddr::V4(mask))
                if u32::from(mask).leading_ones() == u32::from(mask).count_ones() =>
            {
                u32::from(mask).leading_ones()
            }
            _ => prefix.number_u32()?,
        };
        Self::network(first, bits).ok_or_else(|| {
            prefix.malformed(format!(
                "the prefix of {:?} is longer than an address",
                word.text
            ))
        })
    }
}

impl Set for PortSet {
    fn none() -> Self {
        Self::none()
    }
    fn any() -> Self {
        Self::all()
    }
    fn is_nothing(&self) -> bool {
        self.is_none()
    }
    fn complement(&self) -> Self {
        Ranges::complement(self)
    }
    fn union(&self, other: &Self) -> Self {
        Ranges::union(self, other)
    }
    fn intersection(&self, other: &Self) -> Self {
        Ranges::intersection(self, other)
    }
    fn variable(variables: &Variables, name: &str) -> Option<Self> {
        variables.ports(name).cloned()
    }
    fn single(word: Word<'_>) -> Result<Self, Mistake> {
        let port = |word: Word<'_>| {
            word.text.parse::<u16>().map_err(|_| {
                let text = word.text;
                word.malformed(format!(
                    "{text:?} is no port: write 80, 1024:2048, a variable, a list or any"
                ))
            })
        };
        let (first, last) = match word.split_once(':') {
            None => {
                let port = port(word)?;
                (port, port)
            }
            Some((first, last)) => (
                if first.text.is_empty() {
                    u16::FIRST
                } else {
                    port(first)?
                },
                if last.text.is_empty() {
                    u16::LAST
                } else {
                    port(last)?
                },
            ),
        };
        if first > last {
            return Err(
                word.malformed(format!("{:?}: the ends of a range are in order", word.text))
            );
        }
        Ok([(first, last)].into_iter().collect())
    }
}
