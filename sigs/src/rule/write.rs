//! A rule written as text again, in one spelling for each meaning: what is read from it is the rule.

mod condition;
mod matcher;

use std::fmt;

use super::ast::{Action, Family, Header, RejectTo, Rule};
use super::matcher::Place;
use super::number::NumberTest;

pub(super) use condition::{
    IP_OPTIONS, flag_letters, integer, packet_field, session_field, time_test, tls_state,
    tls_version, uuid_text,
};
pub(super) use matcher::{arithmetic, comparison, transform_text};
pub(crate) use matcher::{pcre_text, quoted_bytes};

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} (", action(self.action), self.header)?;
        write!(out, "msg:\"{}\";", escaped(&self.message))?;
        self.write_family(out)?;
        condition::write_flow(out, &self.flow)?;
        for test in &self.packet {
            condition::write_packet(out, test)?;
        }
        for test in &self.session {
            condition::write_session(out, test)?;
        }
        for group in &self.groups {
            matcher::write_group(out, group, &self.variables)?;
        }
        for step in &self.state {
            condition::write_state(out, step)?;
        }
        if let Some(threshold) = &self.threshold {
            condition::write_threshold(out, threshold)?;
        }
        if let Some(tag) = &self.tag {
            condition::write_tag(out, tag)?;
        }
        self.write_about(out)
    }
}

impl Rule {
    /// `l3_proto`, where the protocol's name does not say the version of IP.
    fn write_family(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = &self.header.protocol;
        match protocol.family {
            Some(Family::V4) if !protocol.name.ends_with('4') => out.write_str(" l3_proto:ipv4;"),
            Some(Family::V6) if !protocol.name.ends_with('6') => out.write_str(" l3_proto:ipv6;"),
            _ => Ok(()),
        }
    }

    /// What the rule says of itself.
    fn write_about(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.silent {
            out.write_str(" noalert;")?;
        }
        if let Some(target) = self.target {
            write!(out, " target:{};", condition::target(target))?;
        }
        for (kind, value) in &self.references {
            write!(out, " reference:{kind},{value};")?;
        }
        if let Some(class) = &self.class {
            write!(out, " classtype:{class};")?;
        }
        write!(out, " priority:{};", self.priority)?;
        if !self.metadata.is_empty() {
            let entries = self
                .metadata
                .iter()
                .map(|(key, value)| format!("{key} {value}"));
            let entries: Vec<String> = entries.collect();
            write!(out, " metadata:{};", entries.join(", "))?;
        }
        if self.gid != 1 {
            write!(out, " gid:{};", self.gid)?;
        }
        write!(out, " sid:{}; rev:{};)", self.sid, self.revision)
    }

    /// The buffers that its groups look into.
    pub fn buffers(&self) -> weir_l7::BufferSet {
        let places = self.groups.iter().map(|group| group.place);
        let buffers = places.filter_map(|place| match place {
            Place::Buffer(buffer) => Some(buffer),
            Place::Header(_) => None,
        });
        buffers.collect()
    }
}

impl fmt::Display for Header {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = if self.both_ways { "<>" } else { "->" };
        write!(
            out,
            "{} {} {} {arrow} {} {}",
            self.protocol.name,
            self.source.addresses,
            self.source.ports,
            self.destination.addresses,
            self.destination.ports
        )
    }
}

/// As written in rules.
pub(super) const fn action(action: Action) -> &'static str {
    match action {
        Action::Pass => "pass",
        Action::Drop => "drop",
        Action::Reject(RejectTo::Source) => "reject",
        Action::Reject(RejectTo::Destination) => "rejectdst",
        Action::Reject(RejectTo::Both) => "rejectboth",
        Action::Alert => "alert",
    }
}

/// With a backslash before what would end it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '"' | ';' | '\\') {
            out.push('\\');
        }
        out.push(letter);
    }
    out
}

/// A test as `bsize` and its kin write it.
pub(super) fn test(test: NumberTest) -> String {
    match test {
        NumberTest::Within(low, high) if low == high => low.to_string(),
        NumberTest::Within(low, u64::MAX) => format!(">={low}"),
        NumberTest::Within(0, high) => format!("<={high}"),
        NumberTest::Within(low, high) => format!("{}<>{}", low - 1, high + 1),
        NumberTest::Outside(low, high) if low == high => format!("!{low}"),
        NumberTest::Outside(low, high) => {
            format!("!{}-{}", low.saturating_sub(1), high.saturating_add(1))
        }
        NumberTest::Masked { mask, value, equal } => {
            let operator = if equal { "=" } else { "!=" };
            format!("&{mask}{operator}{value}")
        }
    }
}

/// Operator and number apart, as `stream_size` and its kin write it.
fn apart(test: NumberTest) -> String {
    match test {
        NumberTest::Within(low, high) if low == high => format!("=,{low}"),
        NumberTest::Within(low, u64::MAX) => format!(">=,{low}"),
        NumberTest::Within(_, high) => format!("<=,{high}"),
        NumberTest::Outside(low, _) => format!("!=,{low}"),
        NumberTest::Masked { value, .. } => format!("=,{value}"),
    }
}
