//! What rules go on asking of a connection when its application's parser tells no more of it: its stream,
//! its packets; how far into the stream, and which bytes at the start of it they demand.
//!
//! From this the scanner tells when a connection can be left alone. Pure; memory in proportion to the rules.

use super::chain::Chain;
use super::expression::looks_at_ends;
use super::names::State;
use super::plan::{Field, Plan, fields, lists};
use crate::rule::{
    BitKind, ByteTest, Content, Matcher, NumberForm, PacketHeader, Range, Rule, Value,
};

/// Bytes at the start of a stream that are kept for what counts from there.
pub(crate) const START: u64 = 1_024;
/// Lists of packets, see [`Plan`]: TCP, UDP, ICMP, other.
const LISTS: usize = 4;

/// By what a rule may still come to fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The first packet each way.
    Once,
    /// Any packet.
    Packets,
    /// The stream, in order.
    Stream,
}

/// One group of a rule over the stream.
pub(crate) struct StreamPart {
    /// What it demands of the first bytes, and how many of them that takes.
    pub start: Option<(Chain, u64)>,
    /// Bytes of the stream behind which it cannot come to hold any more.
    pub reach: Option<u64>,
    /// What passes in the other direction counts: it may come to hold because nothing more follows, when the
    /// other end answers, or the rule asks of the connection's last packet.
    pub waits: bool,
}

/// What outlasts the parser, of all rules.
#[derive(Default)]
pub(crate) struct Lasting {
    /// Some group over the stream waits.
    pub waits: bool,
    /// Some rule asks of the connection's last packet while its parser tells.
    pub tests_packets: bool,
    /// By list of packets: the rules, those of the most connections first.
    pub lists: [Vec<u32>; LISTS],
    /// By rule and list.
    by: Vec<[Option<By>; LISTS]>,
    /// By rule: its groups over the stream.
    parts: Vec<Box<[StreamPart]>>,
    /// By bit of the connection: the rules that may set it.
    setters: Vec<Vec<u32>>,
}

impl Lasting {
    /// Of these rules.
    pub fn new(
        rules: &[Rule],
        plans: &[Plan],
        packet_rules: &[Vec<u32>; LISTS],
        bits: usize,
    ) -> Self {
        let mut lasting = Self {
            by: rules.iter().map(of_groups).collect(),
            parts: rules.iter().map(stream_parts).collect(),
            setters: vec![Vec::new(); bits],
            ..Self::default()
        };
        for (list, listed) in packet_rules.iter().enumerate() {
            for &rule in listed {
                let once = plans.get(rule as usize).is_some_and(|plan| plan.once);
                lasting.by[rule as usize][list] = Some(if once { By::Once } else { By::Packets });
            }
        }
        lasting.waits = lasting
            .parts
            .iter()
            .any(|parts| parts.iter().any(|part| part.waits));
        lasting.tests_packets = rules
            .iter()
            .any(|rule| !rule.packet.is_empty() && !rule.groups.is_empty());
        for (rule, plan) in plans.iter().enumerate() {
            lasting.note_setter(rule as u32, plan);
        }
        for list in 0..LISTS {
            let mut listed: Vec<u32> = (0..rules.len() as u32)
                .filter(|&rule| lasting.by[rule as usize][list].is_some())
                .collect();
            listed.sort_by_key(|&rule| narrowness(&rules[rule as usize]));
            lasting.lists[list] = listed;
        }
        lasting
    }

    fn note_setter(&mut self, rule: u32, plan: &Plan) {
        for step in &plan.state {
            if let State::Flow {
                kind: BitKind::Set | BitKind::Toggle,
                bits,
            } = step
            {
                for &bit in bits {
                    if let Some(setters) = self.setters.get_mut(bit as usize) {
                        setters.push(rule);
                    }
                }
            }
        }
    }

    /// By what a rule may still fire on packets of this list.
    pub fn by(&self, rule: u32, list: usize) -> Option<By> {
        *self.by.get(rule as usize)?.get(list)?
    }

    /// A rule's groups over the stream.
    pub fn parts(&self, rule: u32) -> &[StreamPart] {
        self.parts.get(rule as usize).map_or(&[], |parts| parts)
    }

    /// The rules that may set a bit of the connection.
    pub fn setters(&self, bit: u32) -> &[u32] {
        self.setters.get(bit as usize).map_or(&[], |rules| rules)
    }
}

/// How many of the four sets of its header leave something out, and whether it names applications: rules that
/// look at most connections are asked first, since one is enough.
fn narrowness(rule: &Rule) -> usize {
    let header = &rule.header;
    let ends = [&header.source, &header.destination];
    let narrow = ends
        .iter()
        .map(|end| usize::from(!end.addresses.is_any()) + 2 * usize::from(!end.ports.is_all()));
    narrow.sum::<usize>()
        + 4 * usize::from(header.protocol.applications.is_some())
        + usize::from(!rule.state.is_empty())
}

/// By list: what the groups of a rule look into beside what the parser tells.
fn of_groups(rule: &Rule) -> [Option<By>; LISTS] {
    let mut by = [None; LISTS];
    for group in &rule.groups {
        for field in fields(rule, group) {
            for &list in lists(rule.header.protocol.transport) {
                by[list] = match (by[list], lives(field, list)) {
                    (Some(By::Packets), _) | (_, Some(By::Packets)) => Some(By::Packets),
                    (known, None) => known,
                    (_, found) => found,
                };
            }
        }
    }
    by
}

fn lives(field: Field, list: usize) -> Option<By> {
    let of = |lists: &[usize]| lists.contains(&list).then_some(By::Packets);
    match field {
        Field::Stream => (list == 0).then_some(By::Stream),
        Field::Segment => of(&[0]),
        Field::Datagram => of(&[1, 2, 3]),
        Field::Header(PacketHeader::Ipv4 | PacketHeader::Ipv6) => of(&[0, 1, 2, 3]),
        Field::Header(PacketHeader::Tcp) => of(&[0]),
        Field::Header(PacketHeader::Udp) => of(&[1]),
        Field::Header(PacketHeader::IcmpV4 | PacketHeader::IcmpV6) => of(&[2]),
        Field::Buffer(_) => None,
    }
}

fn stream_parts(rule: &Rule) -> Box<[StreamPart]> {
    let groups = rule
        .groups
        .iter()
        .filter(|group| fields(rule, group).contains(&Field::Stream));
    groups
        .map(|group| match group.transforms.is_empty() {
            true => StreamPart {
                start: start(&group.matchers),
                reach: reach(&group.matchers),
                waits: !rule.packet.is_empty() || group.matchers.iter().any(may_wait),
            },
            false => StreamPart {
                start: None,
                reach: None,
                waits: true,
            },
        })
        .collect()
}

/// Whether a matcher may hold because there are no more bytes.
fn may_wait(matcher: &Matcher) -> bool {
    match matcher {
        Matcher::Content(content) => content.negated || content.at_end,
        Matcher::Pcre(pcre) => pcre.negated || looks_at_ends(pcre).1,
        Matcher::ByteTest(test) => test.negated || matches!(test.read.form, NumberForm::Text(_)),
        _ => true,
    }
}

/// Those of the matchers that by themselves demand something of the first bytes. All matchers have to hold, so
/// that where one of these does not, the group never will.
fn start(matchers: &[Matcher]) -> Option<(Chain, u64)> {
    let ends = |matcher: &&Matcher| match matcher {
        Matcher::Content(content) => content_end(content),
        Matcher::ByteTest(test) => test_end(test),
        _ => None,
    };
    let fits = |matcher: &&Matcher| ends(matcher).is_some_and(|end| end <= START);
    let demands: Vec<Matcher> = matchers.iter().filter(fits).cloned().collect();
    let bytes = demands.iter().filter_map(|matcher| ends(&matcher)).max()?;
    let chain = Chain::new(&demands, &mut |_| Err(String::new())).ok()?;
    Some((chain, bytes))
}

/// Where a content from the start ends at the latest.
fn content_end(content: &Content) -> Option<u64> {
    let Range::Absolute {
        offset: Value::Number(offset),
        depth: Some(Value::Number(depth)),
    } = content.range
    else {
        return None;
    };
    let end = u64::try_from(offset)
        .ok()?
        .checked_add(u64::try_from(depth).ok()?)?;
    (!content.at_end).then_some(end)
}

/// Where a number from the start ends.
fn test_end(test: &ByteTest) -> Option<u64> {
    let read = &test.read;
    let (Value::Number(count), Value::Number(offset), Value::Number(_)) =
        (read.count, read.offset, test.value)
    else {
        return None;
    };
    let is_binary = matches!(read.form, NumberForm::Big | NumberForm::Little);
    let end = u64::try_from(offset)
        .ok()?
        .checked_add(u64::try_from(count).ok()?)?;
    (is_binary && !read.relative && (1..=8).contains(&count)).then_some(end)
}

/// Behind how many bytes contents cannot match any more, each within its bounds behind the one before. None: there is no
/// such place, or something else than contents is asked.
fn reach(matchers: &[Matcher]) -> Option<u64> {
    let (mut cursor, mut reach) = (0_i64, 0_i64);
    for matcher in matchers {
        let Matcher::Content(content) = matcher else {
            return None;
        };
        let end = match content.range {
            Range::Absolute {
                offset: Value::Number(offset),
                depth: Some(Value::Number(depth)),
            } => offset.checked_add(depth)?,
            Range::Relative {
                distance: Value::Number(distance),
                within: Some(Value::Number(within)),
            } => cursor.checked_add(distance)?.checked_add(within)?,
            _ => return None,
        };
        // That something is not there holds anew wherever that place is no more.
        if content.at_end || content.negated {
            return None;
        }
        reach = reach.max(end);
        cursor = end;
    }
    u64::try_from(reach).ok().filter(|_| !matchers.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{Options, RuleReader};

    fn rule(options: &str) -> Rule {
        let mut reader = RuleReader::new(Options::default());
        let text = format!("alert tcp-stream any any -> any any ({options} sid:1;)\n");
        reader.read("test", text.as_bytes());
        let (mut rules, refused) = reader.finish();
        assert!(refused.is_empty(), "{refused:?}");
        rules.remove(0)
    }

    fn part(options: &str) -> (Option<u64>, Option<u64>) {
        let parts = stream_parts(&rule(options));
        (
            parts[0].start.as_ref().map(|(_, bytes)| *bytes),
            parts[0].reach,
        )
    }

    #[test]
    fn the_start_and_the_reach_are_those_of_the_contents() {
        for (options, start, reach) in [
            ("content:\"abc\";", None, None),
            ("content:\"abc\"; startswith;", Some(3), Some(3)),
            ("content:\"abc\"; offset:4; depth:10;", Some(14), Some(14)),
            (
                "content:\"abc\"; depth:10; content:\"d\"; distance:0;",
                Some(10),
                None,
            ),
            (
                "content:\"abc\"; depth:10; content:\"d\"; distance:2; within:5;",
                Some(10),
                Some(17),
            ),
            ("content:\"abc\"; depth:4096;", None, Some(4096)),
            ("byte_test:4,<,8,2; content:\"abc\";", Some(6), None),
            ("content:\"abc\"; depth:10; pcre:\"/x/\";", Some(10), None),
        ] {
            assert_eq!(part(options), (start, reach), "{options}");
        }
    }
}
